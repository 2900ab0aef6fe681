"""The searches over one pool: greedy rules, bounds against them, then local and exact search while it is worth it.

Amounts are bytes. Every function gives the best placement found and what is proved about it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xenmem.columns import Rows
from xenmem.planning.effort import Effort
from xenmem.planning.search import bounds
from xenmem.planning.search.branching import (
    BRANCH_CELLS,
    BRANCH_SLICES,
    Branching,
    exact_is_possible,
    nodes_in_a_slice,
    slices,
)
from xenmem.planning.search.compiled.arrays import NEVER
from xenmem.planning.search.compiled.first_fit import closest_fit, first_fit
from xenmem.planning.search.compiled.repack import repack
from xenmem.planning.search.compiled.triplets import triplets
from xenmem.planning.search.cutting import Cutting
from xenmem.planning.search.greedy import filled, greedy
from xenmem.planning.search.problem import Problem
from xenmem.planning.xapi.binpack import biggest_fit_decreasing

REPACK_NODES: Final = 150_000
"""Nodes of the local search between two looks at the clock, some 5 ms, and how many such slices without a clock."""
REPACK_SLICES: Final = 400
TRIPLET_NODES: Final = 600
"""Nodes of one try of the triplet search, some 5 ms; it either succeeds soon or begins again, TRIPLET_TRIES times."""
TRIPLET_TRIES: Final = 200
LARGE: Final = 50_000
"""VMs from which on, without a clock, the greedy rules have the last word."""
ROOMY_TURNS: Final = 6
ROOMY_SHARE: Final = 0.02
"""How often fewer hosts are tried without a clock, and what share of the steps, or time, the first of them takes."""
PATTERNS_AFTER: Final = 20
"""Slices of the local search after which packings by patterns are tried, and between two of them."""
EVEN_TRIES: Final = 5
"""Levels of free memory that may be given up without a proof, and the share of the steps, or time, for each."""
EVEN_SHARE: Final = 0.03
EVEN_SHARE_OF_TIME: Final = 0.15


def impossible(problem: Problem) -> bool:
    """Whether a bound alone shows that not all items fit."""
    if not len(problem.sizes):
        return False
    if not len(problem.hosts):
        return True
    if bounds.hosts_needed(problem.sizes, problem.free, np.zeros(len(problem.hosts), np.bool_)) > len(problem.hosts):
        return True
    if bounds.oversized(problem.sizes, problem.free) is not None or homeless(problem) is not None:
        return True
    return crowded_group(problem) is not None


def homeless(problem: Problem) -> int | None:
    """The smallest item that fits no host that it is allowed on, even alone."""
    reach = np.where(problem.allowed, problem.free, -1).max(axis=1, initial=-1)
    alone = np.flatnonzero(reach[problem.kind_of] < problem.sizes)
    if len(alone):
        return int(alone[-1])
    for item in np.flatnonzero(np.diff(problem.group_start) > 0):
        groups = problem.group_of[problem.group_start[item] : problem.group_start[item + 1]]
        open_to_it = problem.allowed[problem.kind_of[item]] & (problem.taken[groups] <= 0).all(axis=0)
        if not (problem.free[open_to_it] >= problem.sizes[item]).any():
            return int(item)
    return None


def crowded_group(problem: Problem) -> tuple[NDArray[np.int64], int] | None:
    """The items of an anti-affinity group that has more of them than hosts, and the number of its hosts."""
    items = np.repeat(np.arange(len(problem.sizes)), np.diff(problem.group_start))
    for group in np.unique(problem.group_of):
        members = items[problem.group_of == group]
        hosts = int(
            np.maximum(1 - problem.taken[group], 0)[problem.allowed[problem.kind_of[members]].any(axis=0)].sum()
        )
        if len(members) > hosts:
            return members, hosts
    return None


def place_all(problem: Problem, effort: Effort, share: float = 1.0) -> tuple[Rows | None, bool]:
    """A placement of all items, or none and whether that is proved.

    Parameters
    ----------
    problem : the pool
    effort : how long to search
    share : of the steps or of the time that is left
    """
    if not len(problem.sizes):
        return np.empty(0, np.int32), False
    if impossible(problem):
        return None, True
    best = greedy(problem)
    if (best >= 0).all():
        return best, False
    solved, none = _three_a_host(problem, effort, share)
    if solved is not None or none:
        return solved, none
    free, taken = problem.occupied(best)
    exact = Branching.of_places(problem) if exact_is_possible(problem) else None
    cutting: Cutting | None = None
    for turn in slices(effort, REPACK_SLICES, share):
        if turn == PATTERNS_AFTER:
            cutting = Cutting.of(problem, effort)
            if cutting is not None and cutting.bound > len(problem.hosts):
                return None, True
        if cutting is not None and turn % PATTERNS_AFTER == 0:
            best = cutting.dive(effort)
            if (best >= 0).all():
                return best, False
            free, taken = problem.occupied(best)
        early = effort.time_limit is not None or turn < max(int(BRANCH_SLICES * share), 1)
        if exact is not None and early and exact.run(nodes_in_a_slice(problem), 0):
            return (exact.best, False) if exact.found else (None, True)
        if repack(problem.sizes, problem.where(taken), free, best, effort.state, REPACK_NODES) == 0:
            return best, False
    return None, False


def _three_a_host(problem: Problem, effort: Effort, share: float) -> tuple[Rows | None, bool]:
    """For equal hosts that are full with three VMs each: all items placed, or none and whether that is proved."""
    items, hosts = len(problem.sizes), len(problem.hosts)
    capacity = int(problem.free[0])
    if (
        items < 4
        or not 3 * hosts - hosts // 8 <= items <= 3 * hosts
        or not problem.plain
        or (problem.free != capacity).any()
        or hosts * capacity - problem.sizes.sum() >= capacity
    ):
        return None, False
    padded = np.concatenate([problem.sizes, np.zeros(3 * hosts - items, np.int64)])
    host_of = np.full(3 * hosts, -1, np.int32)
    for _ in slices(effort, 2 * TRIPLET_TRIES, share / 2):
        outcome = triplets(padded, capacity, host_of, effort.state, TRIPLET_NODES)
        if outcome >= 0:
            # a fourth VM beside three small ones is beyond this search: then it proves nothing
            return (host_of[:items], False) if outcome else (None, bool(problem.sizes[-4:].sum() > capacity))
    return None, False


def place_most(problem: Problem, effort: Effort) -> tuple[Rows, int, bool]:
    """The placement of the most VMs, higher priorities first; a bound on the number; whether it is proved the best."""
    order = problem.by_priority
    low, high = 0, len(order)
    best = greedy(problem, order)
    while low < high:
        middle = (low + high + 1) // 2
        trial = greedy(problem, np.sort(order[:middle]))
        if (trial[order[:middle]] >= 0).all():
            low, best = middle, filled(problem, trial)
        else:
            high = middle - 1
    bound = bounds.vms_placed(problem.sizes, problem.free) if (problem.weight == 1).all() else int(problem.weight.sum())
    if not problem.ranked or not exact_is_possible(problem):
        return best, bound, False
    lost = int(problem.rank[best < 0].sum())
    exact = Branching(
        problem,
        problem.rank,
        np.zeros(len(problem.hosts), np.int64),
        lost,
    )
    for _ in slices(effort, BRANCH_SLICES):
        proved = exact.run(nodes_in_a_slice(problem))
        if exact.found:
            best = exact.best.copy()
        placed = int(problem.weight[best >= 0].sum())
        effort.tell(placed, bound)
        if proved:
            # by priority fewer VMs can be the better placement
            most = placed if (problem.rank == problem.weight).all() else bound
            return best, most, True
    return best, bound, False


def fewest_hosts(problem: Problem, start: Rows, effort: Effort) -> tuple[Rows, int]:
    """The placement on the fewest hosts, and a bound on their number.

    Parameters
    ----------
    problem : the pool
    start : a placement of all items
    effort : how long to search
    """
    already = int(problem.in_use.sum())
    bound = bounds.hosts_needed(problem.sizes, problem.free, problem.in_use)
    roomy = np.lexsort((-problem.free, ~problem.in_use))
    trial = np.full(len(problem.sizes), -1, np.int32)
    everything = np.arange(len(problem.sizes))
    first_fit(everything, roomy, problem.sizes, problem.where(problem.taken.copy()), problem.free.copy(), trial)
    best = start
    if (trial >= 0).all() and problem.hosts_in_use(trial) < problem.hosts_in_use(best):
        best = trial
    if problem.plain:
        large = effort.time_limit is None and len(problem.sizes) > LARGE
        return (best, bound) if large else _fewest_roomy(problem, roomy, best, bound, effort)
    if bound == problem.hosts_in_use(best) or not exact_is_possible(problem):
        return best, bound
    exact = Branching(
        problem,
        np.full(len(problem.sizes), NEVER),
        (~problem.in_use).astype(np.int64),
        problem.hosts_in_use(best) - already,
    )
    try:
        for _ in slices(effort, BRANCH_SLICES):
            proved = exact.run(nodes_in_a_slice(problem), bound - already)
            if exact.found:
                best = exact.best.copy()
            effort.tell(problem.hosts_in_use(best), bound)
            if proved:
                return best, problem.hosts_in_use(best)
    except KeyboardInterrupt:  # what was found before is the answer
        effort.stop()
    return best, bound


def _fewest_roomy(
    problem: Problem, roomy: NDArray[np.int64], best: Rows, bound: int, effort: Effort
) -> tuple[Rows, int]:
    """As `fewest_hosts`, where memory alone decides: if any set of so many hosts takes all, then the roomiest does.

    By turns a packing by patterns, and one host less than the best known; first the bound itself, which is often met.
    """
    already = int(problem.in_use.sum())
    cutting: Cutting | None = None
    target = bound
    try:
        for turn in slices(effort, ROOMY_TURNS):
            hosts = problem.hosts_in_use(best)
            if bound >= hosts:
                break
            effort.tell(hosts, bound)
            share = ROOMY_SHARE * (1 + turn)
            found, none = _on_hosts(problem, roomy[: max(target, already)], effort, min(share, 0.5))
            if found is not None:
                best = found
            elif none:
                bound = max(bound, target + 1)
            elif turn == 0:
                cutting = Cutting.of(problem, effort)
                bound = max(bound, 0 if cutting is None else cutting.bound)
            if cutting is not None and bound < problem.hosts_in_use(best):
                trial = cutting.dive(effort)
                if (trial >= 0).all() and problem.hosts_in_use(trial) < problem.hosts_in_use(best):
                    best = trial
            target = max(problem.hosts_in_use(best) - 1, bound)
    except KeyboardInterrupt:  # what was found before is the answer
        effort.stop()
    return best, min(bound, problem.hosts_in_use(best))


def _on_hosts(problem: Problem, chosen: NDArray[np.int64], effort: Effort, share: float) -> tuple[Rows | None, bool]:
    """All items on these hosts only, or none and whether that is proved."""
    hosts = np.sort(chosen)
    smaller = replace(
        problem,
        hosts=problem.hosts[hosts],
        origin=np.full(len(problem.sizes), -1, np.int32),
        scattered=problem.scattered[:0],
        gathering=problem.gathering[:0, hosts],
        free=problem.free[hosts],
        in_use=problem.in_use[hosts],
        allowed=np.ascontiguousarray(problem.allowed[:, hosts]),
        taken=np.ascontiguousarray(problem.taken[:, hosts]),
    )
    found, none = place_all(smaller, effort, share)
    return (None, none) if found is None else (hosts[found].astype(np.int32), False)


def level_not_excluded(problem: Problem, low: int, high: int, effort: Effort) -> int:
    """The most that can be left on the fullest host as far as bounds tell.

    Parameters
    ----------
    problem : the pool, with at least one host
    low, high : bytes; `low` is known to be possible, more than `high` to be impossible
    effort : how long to look
    """
    while low < high and not effort.over():
        level = low + (high - low + 1) // 2
        if impossible(replace(problem, free=problem.free - level)):
            high = level - 1
        else:
            low = level
    return high


def most_even(problem: Problem, start: Rows, effort: Effort) -> tuple[Rows, int]:
    """The placement whose fullest host has the most memory left, and a bound on that memory.

    Parameters
    ----------
    problem : the pool, with at least one host
    start : a placement of all items
    effort : how long to search
    """
    best = start
    trial = np.full(len(problem.sizes), -1, np.int32)
    if problem.plain:
        vms, hosts = biggest_fit_decreasing(problem.sizes, problem.free)
        trial[vms] = hosts
    else:
        order = np.arange(len(problem.sizes))
        closest_fit(order, problem.sizes, problem.where(problem.taken.copy()), problem.free.copy(), trial, True)
    if (trial >= 0).all() and problem.least_free(trial) > problem.least_free(best):
        best = trial
    bound = bounds.least_free(problem.sizes, problem.free)
    if len(problem.sizes) * len(problem.hosts) > 10 * BRANCH_CELLS or not len(problem.sizes):
        return best, bound
    low = problem.least_free(best)
    effort.tell(low, bound)
    bound = level_not_excluded(problem, low, bound, effort)
    unproved = 0
    share = EVEN_SHARE if effort.time_limit is None else EVEN_SHARE_OF_TIME
    tries = EVEN_TRIES if effort.time_limit is None or exact_is_possible(problem) else len(problem.sizes)
    # the first guess is the bound itself, which round sizes often reach
    level = high = bound
    try:
        while low < high and unproved < tries and not effort.over():
            effort.tell(low, bound)
            found, none = place_all(replace(problem, free=problem.free - level), effort, share)
            if found is not None:
                best, low = found, problem.least_free(found)
            else:
                high = level - 1
                unproved += not none
                bound = high if none else bound
            level = low + (high - low + 1) // 2
    except KeyboardInterrupt:  # what was found before is the answer
        effort.stop()
    if exact_is_possible(problem):
        best, proved = _a_little_more(problem, best, bound, effort)
        bound = problem.least_free(best) if proved else bound
    return best, max(bound, problem.least_free(best))


def _a_little_more(problem: Problem, best: Rows, bound: int, effort: Effort) -> tuple[Rows, bool]:
    """The exact search for anything better, again and again, and whether nothing better exists."""
    exact = None
    try:
        for _ in slices(effort, BRANCH_SLICES):
            low = problem.least_free(best)
            if low >= bound:
                return best, True
            if exact is None:
                level = bounds.next_level(low, problem.sizes, problem.free)
                exact = Branching.of_places(replace(problem, free=problem.free - level))
            effort.tell(low, bound)
            if exact.run(nodes_in_a_slice(problem), 0):
                if not exact.found:
                    return best, True
                best, exact = exact.best, None
    except KeyboardInterrupt:  # what was found before is the answer
        effort.stop()
    return best, False
