"""The placement with the fewest migrations, among equals with the least to copy: exact, and by changes to a few hosts.

Amounts are bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import comb
from typing import Final

import numpy as np
from numpy.typing import NDArray

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
from xenmem.planning.search.compiled.arrays import MOVE, draw
from xenmem.planning.search.greedy import greedy, stay
from xenmem.planning.search.problem import Problem

Rows = NDArray[np.int32]

LOCAL_VMS: Final = 14
LOCAL_NODES: Final = 3000
LOCAL_ROUNDS: Final = 300
PUSHED_OUT_SETS: Final = 1000
"""Sets of VMs of one host that are looked at to make room for another VM, and how many are then tried."""
PUSHED_OUT_TRIES: Final = 200


def fewest_migrations(problem: Problem, start: Rows, effort: Effort, share: float = 1.0) -> tuple[Rows, int]:
    """The placement with the fewest migrations, among equals with the least to copy, and a bound on their number.

    Parameters
    ----------
    problem : the pool
    start : a placement of all items
    effort : how long to search
    share : of the steps or of the time that is left
    """
    trial = greedy(problem)
    best = trial if (trial >= 0).all() and problem.cost_of_moves(trial) < problem.cost_of_moves(start) else start
    if len(problem.sizes) * len(problem.hosts) <= 10 * BRANCH_CELLS:
        trial = with_room_made(problem)
        if (trial >= 0).all() and problem.cost_of_moves(trial) < problem.cost_of_moves(best):
            best = trial
    bound = fewest_at_least(problem)
    exact = Branching.of_moves(problem, problem.cost_of_moves(best)) if exact_is_possible(problem) else None
    for turn in slices(effort, LOCAL_ROUNDS, share):
        cost = problem.cost_of_moves(best)
        if cost <= problem.least_cost:
            return best, cost // MOVE
        if exact is None and cost // MOVE <= bound:
            return best, bound
        if exact is not None and (effort.time_limit is not None or turn < BRANCH_SLICES):
            exact.beat(cost)
            proved = exact.run(nodes_in_a_slice(problem))
            if exact.cost < cost:
                best, cost = exact.best.copy(), exact.cost
            if proved:
                return best, max(bound, cost // MOVE)
        astray = problem.astray(best)
        if len(astray):
            best = _replaced(problem, best, astray, effort)
        effort.tell(problem.cost_of_moves(best) // MOVE, bound)
    return best, bound


def fewest_at_least(problem: Problem) -> int:
    """A bound on the migrations: VMs that may not stay, hosts that hold too much, scattered VMs.

    Parameters
    ----------
    problem : the pool
    """
    off_limits = np.zeros(len(problem.sizes), np.bool_)
    there = np.flatnonzero(problem.origin >= 0)
    off_limits[there] = ~problem.allowed[problem.kind_of[there], problem.origin[there]]
    may_stay = ~off_limits
    leaving = bounds.fewest_leaving(
        problem.sizes[may_stay], problem.weight[may_stay], problem.origin[may_stay], problem.free
    )
    return int(problem.weight[off_limits].sum()) + leaving + problem.least_cost // MOVE


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
                        options.append((new // MOVE, size, host, out))
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


def _replaced(problem: Problem, host_of: Rows, astray: NDArray[np.int64], effort: Effort) -> Rows:
    """An item that is not at home, its old and new host and one more: their items placed again at the least cost."""
    item = astray[draw(effort.state, len(astray))]
    hosts = {problem.home(int(item)), int(host_of[item]), draw(effort.state, len(problem.hosts))}
    near = np.flatnonzero(np.isin(host_of, list(hosts)))
    while len(near) > LOCAL_VMS:
        out = draw(effort.state, len(near))
        if near[out] != item:
            near = np.delete(near, out)
    part = problem.part(near, host_of)
    exact = Branching.of_moves(part, part.cost_of_moves(host_of[near]))
    exact.run(LOCAL_NODES)
    if not exact.found:
        return host_of
    better = host_of.copy()
    better[near] = exact.best
    return better
