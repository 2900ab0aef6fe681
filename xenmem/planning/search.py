"""The searches over one pool: greedy rules, bounds against them, then local and exact search while it is worth it.

A Problem is one pool of a Question, with the VMs that share a host made into one item. Amounts are bytes. Every
function gives the best placement found and what is proved about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from itertools import count as endless
from math import comb
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xenmem.planning import bounds
from xenmem.planning._branch import NEVER, branch
from xenmem.planning._fit import closest_fit, first_fit
from xenmem.planning._repack import draw, repack
from xenmem.planning._triplets import triplets
from xenmem.planning.constraints import Question
from xenmem.planning.plan import Effort
from xenmem.planning.xapi.binpack import biggest_fit_decreasing

Rows = NDArray[np.int32]
Bytes = NDArray[np.int64]
Bools = NDArray[np.bool_]

REPACK_NODES: Final = 150_000
"""Nodes of the local search between two looks at the clock, some 5 ms, and how many such slices without a clock."""
REPACK_SLICES: Final = 400
BRANCH_NODES: Final = 20_000
"""Nodes of the exact search between two looks at the clock for a small pool, and the slices without a clock."""
BRANCH_WORK: Final = 1_000_000
"""The same in rows looked at, which limits the nodes for a large one: some 5 ms."""
BRANCH_SLICES: Final = 60
BRANCH_CELLS: Final = 200_000
"""VMs times hosts up to which the exact search is tried at all."""
SCAN_CELLS: Final = 200_000_000
"""VMs times hosts up to which every host is looked at for every VM."""
TRIPLET_NODES: Final = 600
"""Nodes of one try of the triplet search, some 5 ms; it either succeeds soon or begins again, TRIPLET_TRIES times."""
TRIPLET_TRIES: Final = 200
LARGE: Final = 50_000
"""VMs from which on, without a clock, the greedy rules have the last word."""
LOCAL_VMS: Final = 14
LOCAL_NODES: Final = 3000
LOCAL_ROUNDS: Final = 300
EVEN_TRIES: Final = 6
"""Levels of free memory that may be given up without a proof."""
PUSHED_OUT_SETS: Final = 1000
"""Sets of VMs of one host that are looked at to make room for another VM, and how many are then tried."""
PUSHED_OUT_TRIES: Final = 200
MOVE: Final = 1 << 40
"""One migration in the cost of a move; the MiB that it copies come on top and decide between equal numbers."""


@dataclass(frozen=True, eq=False)
class Problem:
    """One pool in the terms of the compiled searches; items in descending order of size.

    Attributes
    ----------
    vms, hosts : int64 arrays, rows of the Question that belong to the pool
    item_of : int64 array, shape (vms,), the item that stands for the VM
    sizes, weight : int64 arrays, shape (items,): bytes; number of VMs
    rank : int64 array, shape (items,), what a placed item is worth: one VM outweighs all of lower priority
    ranked : whether rank holds that (very many priorities would leave int64; then it is the weight)
    by_priority : int64 array, the items by descending priority, small ones first
    origin : int32 array, the host that the item is on, -1 for none (also for VMs that share a host from now on only)
    move_cost : int64 array, what it costs not to stay at origin, MOVE per VM
    free, in_use : shape (hosts,)
    kind_of, allowed, group_start, group_of, taken : as in _repack
    """

    vms: NDArray[np.int64]
    hosts: NDArray[np.int64]
    item_of: NDArray[np.int64]
    sizes: Bytes
    weight: Bytes
    rank: Bytes
    ranked: bool
    by_priority: NDArray[np.int64]
    origin: Rows
    move_cost: Bytes
    free: Bytes
    in_use: Bools
    kind_of: Rows
    allowed: Bools
    group_start: Rows
    group_of: Rows
    taken: Rows

    @property
    def plain(self) -> bool:
        """Whether memory is all that decides."""
        return len(self.group_of) == 0 and bool(self.allowed[np.unique(self.kind_of)].all())

    def vm_hosts(self, host_of: Rows) -> NDArray[np.int64]:
        """For each of `vms` its host in the Question, -1 for none."""
        if not len(self.hosts):
            return np.full(len(self.vms), -1)
        places = np.where(host_of >= 0, self.hosts[np.maximum(host_of, 0)], -1)
        return places[self.item_of]

    def occupied(self, host_of: Rows) -> tuple[Bytes, Rows]:
        """Room and group counts once the items are where host_of says."""
        free, taken = self.free.copy(), self.taken.copy()
        there = host_of >= 0
        np.subtract.at(free, host_of[there], self.sizes[there])
        for item in np.flatnonzero(there & (np.diff(self.group_start) > 0)):
            taken[self.group_of[self.group_start[item] : self.group_start[item + 1]], host_of[item]] += 1
        return free, taken

    def part(self, items: NDArray[np.int64], host_of: Rows) -> Problem:
        """The same pool with only these items to be placed, ascending, and the others where host_of says."""
        others = host_of.copy()
        others[items] = -1
        free, taken = self.occupied(others)
        lengths = np.diff(self.group_start)[items]
        start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        pieces = [self.group_of[self.group_start[item] : self.group_start[item + 1]] for item in items]
        in_use = self.in_use.copy()
        in_use[others[others >= 0]] = True
        return replace(
            self,
            vms=items,
            item_of=np.arange(len(items)),
            sizes=self.sizes[items],
            weight=self.weight[items],
            rank=self.rank[items],
            by_priority=np.arange(len(items)),
            origin=self.origin[items],
            move_cost=self.move_cost[items],
            free=free,
            in_use=in_use,
            kind_of=self.kind_of[items],
            group_start=start,
            group_of=np.concatenate(pieces).astype(np.int32) if pieces else self.group_of[:0],
            taken=taken,
        )


def problems(question: Question) -> list[Problem]:
    """One Problem for each pool that has VMs to be placed."""
    return [_problem(question, pool) for pool in np.unique(question.vm_pool)]


def _problem(question: Question, pool: int) -> Problem:
    vms = np.flatnonzero(question.vm_pool == pool)
    hosts = np.flatnonzero(question.host_pool == pool)
    leader = np.arange(len(question.vms))
    for members in question.same_host:
        leader[members] = members[0]
    leaders, item_of = (
        (vms, np.arange(len(vms))) if not question.same_host else np.unique(leader[vms], return_inverse=True)
    )
    total = len(leaders)
    sizes = np.zeros(total, np.int64)
    np.add.at(sizes, item_of, question.sizes[vms])
    order = np.argsort(-sizes, kind="stable")
    place = np.empty(total, np.int64)
    place[order] = np.arange(total)
    leaders, sizes, item_of = leaders[order], sizes[order], place[item_of]
    weight = np.bincount(item_of, minlength=total)
    copied_mib = np.zeros(total, np.int64)
    np.add.at(copied_mib, item_of, -(-question.copied[vms] >> 20))
    priority = np.full(total, np.iinfo(np.int64).min)
    np.maximum.at(priority, item_of, question.priority[vms])
    local = np.full(len(question.hosts) + 1, -1, np.int32)
    local[hosts] = np.arange(len(hosts))
    origin = local[question.origin[leaders]]
    kind_of = question.kind_of[leaders]
    masks = list(question.allowed[:, hosts])
    for members in question.same_host:
        if question.vm_pool[members[0]] == pool:
            item = place[np.searchsorted(np.sort(leaders), members[0])]
            masks.append(np.logical_and.reduce([question.allowed[question.kind_of[vm], hosts] for vm in members]))
            kind_of[item] = len(masks) - 1
            if len(np.unique(question.origin[members])) > 1:
                origin[item] = -1
    rank, ranked = _ranks(priority, weight)
    starts, group_of = _groups(question, vms, item_of, total)
    return Problem(
        vms=vms,
        hosts=hosts,
        item_of=item_of,
        sizes=sizes,
        weight=weight,
        rank=rank,
        ranked=ranked,
        by_priority=np.lexsort((sizes, -priority)),
        origin=origin,
        move_cost=np.where(origin >= 0, weight * MOVE + copied_mib, 0),
        free=question.free[hosts],
        in_use=question.in_use[hosts],
        kind_of=kind_of,
        allowed=np.array(masks, np.bool_).reshape(len(masks), len(hosts)),
        group_start=starts,
        group_of=group_of,
        taken=np.ascontiguousarray(question.taken[:, hosts]),
    )


def _ranks(priority: Bytes, weight: Bytes) -> tuple[Bytes, bool]:
    rank = np.empty(len(weight), np.int64)
    base = 1
    below = 0
    for value in np.unique(priority):
        base = below + 1
        members = priority == value
        below += base * int(weight[members].sum())
        if below >= NEVER:
            return weight, False
        rank[members] = base * weight[members]
    return rank, True


def _groups(question: Question, vms: NDArray[np.int64], item_of: NDArray[np.int64], total: int) -> tuple[Rows, Rows]:
    if not question.groups:
        return np.zeros(total + 1, np.int32), np.zeros(0, np.int32)
    item_at = np.full(len(question.vms), -1)
    item_at[vms] = item_of
    pairs = [
        (item, group)
        for group, members in enumerate(question.groups)
        for item in item_at[members].tolist()
        if item >= 0
    ]
    pairs.sort()
    lengths = np.bincount([item for item, _ in pairs], minlength=total) if pairs else np.zeros(total, int)
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return start, np.array([group for _, group in pairs], np.int32)


class Branching:
    """The exact search over a Problem, run slice by slice.

    Parameters
    ----------
    problem : its items are few enough
    skip_cost, open_cost, move_cost : as in _branch
    below : a cost that has to be beaten
    """

    def __init__(self, problem: Problem, skip_cost: Bytes, open_cost: Bytes, move_cost: Bytes, below: int) -> None:
        items, hosts = len(problem.sizes), len(problem.hosts)
        homes = problem.origin[move_cost > 0]
        kind = np.unique(np.vstack([problem.allowed, open_cost, problem.taken]), axis=1, return_inverse=True)[1]
        kind = kind.reshape(-1).astype(np.int32)
        kind[homes] = hosts + homes
        columns = np.column_stack([problem.sizes, problem.kind_of, problem.origin, skip_cost, move_cost])
        same = np.zeros(items, np.bool_)
        same[1:] = (columns[1:] == columns[:-1]).all(axis=1)
        same &= np.diff(problem.group_start) == 0
        same[1:] &= ~(np.diff(problem.group_start) > 0)[:-1]
        self.best: Rows = np.full(items, -1, np.int32)
        self.progress = np.array([0, below])
        self.below = below
        self._arguments = (
            problem.sizes,
            problem.kind_of,
            problem.allowed,
            problem.group_start,
            problem.group_of,
            problem.taken.copy(),
            problem.free.copy(),
            skip_cost,
            open_cost,
            problem.origin,
            move_cost,
            same,
            kind,
            np.argsort(skip_cost / problem.sizes, kind="stable"),
            np.argsort(-problem.free, kind="stable"),
            np.concatenate([np.cumsum(problem.sizes[::-1])[::-1], [0]]),
            np.empty((items, hosts + 1), np.int32),
            np.zeros(items, np.int32),
            np.full(items, -1, np.int32),
            np.zeros(hosts, np.int32),
            np.zeros(items + 1, np.int64),
            self.progress,
            self.best,
        )

    @property
    def found(self) -> bool:
        """Whether something cheaper than `below` was found."""
        return bool(self.progress[1] < self.below)

    @property
    def cost(self) -> int:
        """Of the best placement found."""
        return int(self.progress[1])

    def run(self, nodes: int, enough: int = -1) -> bool:
        """Go on; true when the search is over."""
        arguments: tuple[Any, ...] = (*self._arguments, enough, nodes)
        return branch(*arguments)


def _slices(effort: Effort, most: int) -> Iterator[int]:
    """As long as the effort lasts: a fixed number of slices, or as many as the time limit has room for."""
    for turn in endless():
        if effort.over() or (effort.time_limit is None and turn == most):
            return
        yield turn


def _nodes(problem: Problem) -> int:
    return min(BRANCH_NODES, BRANCH_WORK // (len(problem.sizes) + len(problem.hosts)))


def _exact_is_possible(problem: Problem) -> bool:
    return 0 < len(problem.sizes) * len(problem.hosts) <= BRANCH_CELLS


def greedy(problem: Problem, order: NDArray[np.int64] | None = None) -> Rows:
    """The best of the greedy placements: the one that leaves out the least memory.

    Parameters
    ----------
    problem : the pool
    order : of the items; by default large ones first
    """
    items = np.arange(len(problem.sizes)) if order is None else order
    rows = (problem.sizes, problem.kind_of, problem.allowed, problem.group_start, problem.group_of)
    best = np.full(len(problem.sizes), -1, np.int32)
    best_missing = int(problem.sizes.sum()) + 1
    scan = len(items) * len(problem.hosts) <= SCAN_CELLS
    rules = ("stay", "best", "worst") if scan else ("stay", "first")
    for rule in rules:
        host_of = np.full(len(problem.sizes), -1, np.int32)
        if rule == "stay":
            if not (problem.origin[items] >= 0).any():
                continue
            host_of = stay(problem, items)
        free, taken = problem.occupied(host_of) if rule == "stay" else (problem.free.copy(), problem.taken.copy())
        rest = items[host_of[items] < 0]
        if scan:
            closest_fit(rest, *rows, taken, free, host_of, rule == "worst")
        else:
            first_fit(rest, np.argsort(free, kind="stable"), *rows, taken, free, host_of)
        missing = int(problem.sizes[items[host_of[items] < 0]].sum())
        if missing < best_missing:
            best, best_missing = host_of, missing
        if missing == 0:
            break
    return best


def stay(problem: Problem, items: NDArray[np.int64]) -> Rows:
    """Every item where it is, as far as that is allowed and fits: small ones first, so that most stay."""
    host_of = np.full(len(problem.sizes), -1, np.int32)
    at_home = items[problem.origin[items] >= 0]
    at_home = at_home[problem.allowed[problem.kind_of[at_home], problem.origin[at_home]]]
    order = at_home[np.lexsort((problem.sizes[at_home], problem.origin[at_home]))]
    homes = problem.origin[order]
    running = np.cumsum(problem.sizes[order])
    begins = np.searchsorted(homes, homes)
    used = running - np.concatenate([[0], running])[begins]
    keep = order[used <= problem.free[homes]]
    host_of[keep] = problem.origin[keep]
    if len(problem.group_of):
        taken = problem.taken.copy()
        for item in keep:
            groups = problem.group_of[problem.group_start[item] : problem.group_start[item + 1]]
            if (taken[groups, host_of[item]] > 0).any():
                host_of[item] = -1
            else:
                taken[groups, host_of[item]] += 1
    return host_of


def impossible(problem: Problem) -> bool:
    """Whether a bound alone shows that not all items fit."""
    if not len(problem.sizes):
        return False
    if not len(problem.hosts):
        return True
    if bounds.hosts_needed(problem.sizes, problem.free, np.zeros(len(problem.hosts), np.bool_)) > len(problem.hosts):
        return True
    return bounds.oversized(problem.sizes, problem.free) is not None or homeless(problem) is not None


def homeless(problem: Problem) -> int | None:
    """The smallest item that fits no host that it is allowed on, even alone."""
    reach = np.where(problem.allowed, problem.free, -1).max(axis=1, initial=-1)
    alone = np.flatnonzero(reach[problem.kind_of] < problem.sizes)
    if len(alone):
        return int(alone[-1])
    for item in np.flatnonzero(np.diff(problem.group_start) > 0):
        groups = problem.group_of[problem.group_start[item] : problem.group_start[item + 1]]
        open_to_it = problem.allowed[problem.kind_of[item]] & (problem.taken[groups] == 0).all(axis=0)
        if not (problem.free[open_to_it] >= problem.sizes[item]).any():
            return int(item)
    return None


def place_all(problem: Problem, effort: Effort, share: float = 1.0) -> tuple[Rows | None, bool]:
    """A placement of all items, or none and whether that is proved.

    Parameters
    ----------
    problem : the pool
    effort : how long to search
    share : of the number of steps that a search without a clock has
    """
    if not len(problem.sizes):
        return np.empty(0, np.int32), False
    if impossible(problem):
        return None, True
    best = greedy(problem)
    if (best >= 0).all():
        return best, False
    solved, none = _three_a_host(problem, effort)
    if solved is not None or none:
        return solved, none
    free, taken = problem.occupied(best)
    rows = (problem.sizes, problem.kind_of, problem.allowed, problem.group_start, problem.group_of)
    exact = None
    if _exact_is_possible(problem):
        exact = Branching(
            problem,
            np.full(len(problem.sizes), NEVER),
            np.zeros(len(problem.hosts), np.int64),
            np.zeros(len(problem.sizes), np.int64),
            1,
        )
    for turn in _slices(effort, max(int(REPACK_SLICES * share), 1)):
        early = effort.time_limit is not None or turn < max(int(BRANCH_SLICES * share), 1)
        if exact is not None and early and exact.run(_nodes(problem), 0):
            return (exact.best, False) if exact.found else (None, True)
        if repack(*rows, taken, free, best, effort.state, REPACK_NODES) == 0:
            return best, False
    return None, False


def _three_a_host(problem: Problem, effort: Effort) -> tuple[Rows | None, bool]:
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
    for _ in _slices(effort, TRIPLET_TRIES):
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
            low, best = middle, _filled(problem, trial)
        else:
            high = middle - 1
    bound = bounds.vms_placed(problem.sizes, problem.free) if (problem.weight == 1).all() else int(problem.weight.sum())
    if not problem.ranked or not _exact_is_possible(problem):
        return best, bound, False
    lost = int(problem.rank[best < 0].sum())
    exact = Branching(
        problem,
        problem.rank,
        np.zeros(len(problem.hosts), np.int64),
        np.zeros(len(problem.sizes), np.int64),
        lost,
    )
    for _ in _slices(effort, BRANCH_SLICES):
        proved = exact.run(_nodes(problem))
        if exact.found:
            best = exact.best.copy()
        placed = int(problem.weight[best >= 0].sum())
        effort.tell(placed, bound)
        if proved:
            return best, placed, True
    return best, bound, False


def _filled(problem: Problem, host_of: Rows) -> Rows:
    """The items that have no place yet wherever there is still room, in the order of their priority."""
    filled = host_of.copy()
    free, taken = problem.occupied(filled)
    rest = problem.by_priority[filled[problem.by_priority] < 0]
    rows = (problem.sizes, problem.kind_of, problem.allowed, problem.group_start, problem.group_of)
    first_fit(rest, np.argsort(free, kind="stable"), *rows, taken, free, filled)
    return filled


def hosts_in_use(problem: Problem, host_of: Rows) -> int:
    """Hosts that run a guest."""
    used = problem.in_use.copy()
    used[host_of[host_of >= 0]] = True
    return int(used.sum())


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
    rows = (problem.sizes, problem.kind_of, problem.allowed, problem.group_start, problem.group_of)
    trial = np.full(len(problem.sizes), -1, np.int32)
    everything = np.arange(len(problem.sizes))
    first_fit(everything, roomy, *rows, problem.taken.copy(), problem.free.copy(), trial)
    best = start
    if (trial >= 0).all() and hosts_in_use(problem, trial) < hosts_in_use(problem, best):
        best = trial
    large = effort.time_limit is None and len(problem.sizes) > LARGE
    # if any set of so many hosts takes all, and memory is all that decides, then the roomiest does
    while problem.plain and not large and bound < hosts_in_use(problem, best) and not effort.over():
        effort.tell(hosts_in_use(problem, best), bound)
        found, none = _on_hosts(problem, roomy[: max(bound, already)], effort, 1.0)
        if found is not None:
            return found, bound
        if not none:
            best = _fewer_hosts(problem, roomy, bound, best, effort)
            break
        bound += 1
    if bound == hosts_in_use(problem, best) or not _exact_is_possible(problem) or problem.plain:
        return best, bound
    exact = Branching(
        problem,
        np.full(len(problem.sizes), NEVER),
        (~problem.in_use).astype(np.int64),
        np.zeros(len(problem.sizes), np.int64),
        hosts_in_use(problem, best) - already,
    )
    for _ in _slices(effort, BRANCH_SLICES):
        proved = exact.run(_nodes(problem), bound - already)
        if exact.found:
            best = exact.best.copy()
        effort.tell(hosts_in_use(problem, best), bound)
        if proved:
            return best, hosts_in_use(problem, best)
    return best, bound


def _on_hosts(problem: Problem, chosen: NDArray[np.int64], effort: Effort, share: float) -> tuple[Rows | None, bool]:
    """All items on these hosts only, or none and whether that is proved."""
    hosts = np.sort(chosen)
    smaller = replace(
        problem,
        hosts=problem.hosts[hosts],
        origin=np.full(len(problem.sizes), -1, np.int32),
        free=problem.free[hosts],
        in_use=problem.in_use[hosts],
        allowed=np.ascontiguousarray(problem.allowed[:, hosts]),
        taken=np.ascontiguousarray(problem.taken[:, hosts]),
    )
    found, none = place_all(smaller, effort, share)
    return (None, none) if found is None else (hosts[found].astype(np.int32), False)


def _fewer_hosts(problem: Problem, roomy: NDArray[np.int64], bound: int, best: Rows, effort: Effort) -> Rows:
    """Where the bound itself is out of reach: the numbers of hosts between it and the best known."""
    for hosts in range(bound + 1, hosts_in_use(problem, best)):
        found, _ = _on_hosts(problem, roomy[:hosts], effort, 0.25)
        if found is not None:
            return found
        if effort.over():
            break
    return best


def most_even(problem: Problem, start: Rows, effort: Effort) -> tuple[Rows, int]:
    """The placement whose fullest host has the most memory left, and a bound on that memory.

    Parameters
    ----------
    problem : the pool, with at least one host
    start : a placement of all items
    effort : how long to search
    """
    rows = (problem.sizes, problem.kind_of, problem.allowed, problem.group_start, problem.group_of)
    best = start
    trial = np.full(len(problem.sizes), -1, np.int32)
    if problem.plain:
        vms, hosts = biggest_fit_decreasing(problem.sizes, problem.free)
        trial[vms] = hosts
    else:
        order = np.arange(len(problem.sizes))
        closest_fit(order, *rows, problem.taken.copy(), problem.free.copy(), trial, True)
    if (trial >= 0).all() and problem.occupied(trial)[0].min() > problem.occupied(best)[0].min():
        best = trial
    bound = bounds.least_free(problem.sizes, problem.free)
    if len(problem.sizes) * len(problem.hosts) > 10 * BRANCH_CELLS:
        return best, bound
    unproved = 0
    low = int(problem.occupied(best)[0].min())
    high = bound
    while low < high and unproved < EVEN_TRIES and not effort.over():
        effort.tell(low, bound)
        # the first guess is the bound itself, which round sizes often reach
        level = high if high == bound and not unproved else low + (high - low + 1) // 2
        found, none = place_all(replace(problem, free=problem.free - level), effort, 0.05)
        if found is not None:
            best, low = found, int(problem.occupied(found)[0].min())
            continue
        high = level - 1
        if none and not unproved:
            bound = high
        else:
            unproved += 1
    return best, max(bound, low)


def moves(problem: Problem, host_of: Rows) -> int:
    """The cost of the moves."""
    return int(problem.move_cost[(host_of != problem.origin) & (problem.origin >= 0)].sum())


def fewest_migrations(problem: Problem, start: Rows, effort: Effort) -> tuple[Rows, int]:
    """The placement with the fewest migrations, among equals with the least to copy, and a bound on their number.

    Parameters
    ----------
    problem : the pool
    start : a placement of all items
    effort : how long to search
    """
    trial = greedy(problem)
    best = trial if (trial >= 0).all() and moves(problem, trial) < moves(problem, start) else start
    if len(problem.sizes) * len(problem.hosts) <= 10 * BRANCH_CELLS:
        trial = with_room_made(problem)
        if (trial >= 0).all() and moves(problem, trial) < moves(problem, best):
            best = trial
    at_home = np.where(problem.origin >= 0, problem.origin, -1)
    off_limits = np.zeros(len(at_home), np.bool_)
    known = at_home >= 0
    off_limits[known] = ~problem.allowed[problem.kind_of[known], at_home[known]]
    bound = int(problem.weight[off_limits].sum())
    if (problem.weight == 1).all():
        bound += bounds.fewest_leaving(problem.sizes[~off_limits], at_home[~off_limits].astype(np.int32), problem.free)
    if moves(problem, best) >> 40 <= bound and not _exact_is_possible(problem):
        return best, bound
    exact = None
    if _exact_is_possible(problem):
        exact = _cheapest_moves(problem, moves(problem, best))
    for turn in _slices(effort, LOCAL_ROUNDS):
        if exact is not None and (effort.time_limit is not None or turn < BRANCH_SLICES):
            proved = exact.run(_nodes(problem))
            if exact.found and exact.cost < moves(problem, best):
                best = exact.best.copy()
            if proved:
                return best, max(bound, moves(problem, best) >> 40)
        if not (moved := np.flatnonzero((best != problem.origin) & (problem.origin >= 0))).size:
            return best, 0
        best = _replaced(problem, best, moved, effort)
        if exact is not None and moves(problem, best) < exact.cost:
            exact.progress[1] = moves(problem, best)
        effort.tell(moves(problem, best) >> 40, bound)
    return best, bound


def with_room_made(problem: Problem) -> Rows:
    """Everybody at home as far as possible; who has to leave goes where there is room, or where one or two make it."""
    everything = np.arange(len(problem.sizes))
    host_of = stay(problem, everything)
    free, taken = problem.occupied(host_of)
    members = [set(np.flatnonzero(host_of == host).tolist()) for host in range(len(problem.hosts))]

    def groups(item: int) -> Rows:
        return problem.group_of[problem.group_start[item] : problem.group_start[item + 1]]

    def settle(item: int, host: int, change: int) -> None:
        free[host] -= change * problem.sizes[item]
        taken[groups(item), host] += change
        (members[host].add if change > 0 else members[host].discard)(item)
        host_of[item] = host if change > 0 else -1

    def closest(item: int, apart_from: int) -> int:
        room = np.where(problem.allowed[problem.kind_of[item]], free, -1)
        room[(taken[groups(item)] > 0).any(axis=0)] = -1
        if apart_from >= 0:
            room[apart_from] = -1
        room[room < problem.sizes[item]] = np.iinfo(np.int64).max
        host = int(room.argmin())
        return host if room[host] < np.iinfo(np.int64).max else -1

    def push_out(item: int, host: int, out: tuple[int, ...]) -> bool:
        """Put the item in the place of others and these elsewhere, or leave all as it is."""
        for other in out:
            settle(other, host, -1)
        moved: list[int] = []
        if free[host] >= problem.sizes[item] and not (taken[groups(item), host] > 0).any():
            settle(item, host, 1)
            for other in out:
                target = closest(other, host)
                if target < 0:
                    break
                settle(other, target, 1)
                moved.append(other)
            if len(moved) == len(out):
                return True
            settle(item, host, -1)
        for other in moved:
            settle(other, int(host_of[other]), -1)
        for other in out:
            settle(other, host, 1)
        return False

    def ways(item: int) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Sets of VMs that would make room, those that cost the least first."""
        options = []
        for host in np.flatnonzero(problem.allowed[problem.kind_of[item]]).tolist():
            short = int(problem.sizes[item] - free[host])
            inside = sorted(members[host])
            for number in (1, 2):
                if comb(len(inside), number) > PUSHED_OUT_SETS:
                    break
                for out in combinations(inside, number):
                    size = int(problem.sizes[list(out)].sum()) if number > 1 else int(problem.sizes[out[0]])
                    if size >= short:
                        new = sum(int(problem.move_cost[other]) for other in out if problem.origin[other] == host)
                        options.append((new >> 40, size, host, out))
        options.sort()
        for _, _, host, out in options[:PUSHED_OUT_TRIES]:
            yield host, out

    for item in np.flatnonzero(host_of < 0).tolist():
        host = closest(item, -1)
        if host >= 0:
            settle(item, host, 1)
        elif not any(push_out(item, host, out) for host, out in ways(item)):
            break
    return host_of


def _cheapest_moves(problem: Problem, below: int) -> Branching:
    return Branching(
        problem,
        np.full(len(problem.sizes), NEVER),
        np.zeros(len(problem.hosts), np.int64),
        problem.move_cost,
        below,
    )


def _replaced(problem: Problem, host_of: Rows, moved: NDArray[np.int64], effort: Effort) -> Rows:
    """A moved item, its old and new host and one more: their items placed again at the least cost."""
    item = moved[draw(effort.state, len(moved))]
    hosts = {int(problem.origin[item]), int(host_of[item]), draw(effort.state, len(problem.hosts))}
    near = np.flatnonzero(np.isin(host_of, list(hosts)))
    while len(near) > LOCAL_VMS:
        out = draw(effort.state, len(near))
        if near[out] != item:
            near = np.delete(near, out)
    part = problem.part(near, host_of)
    exact = _cheapest_moves(part, moves(part, host_of[near]))
    exact.run(LOCAL_NODES)
    if not exact.found:
        return host_of
    better = host_of.copy()
    better[near] = exact.best
    return better
