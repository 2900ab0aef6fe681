"""The placement with the fewest migrations, among equals with the least to copy: exact, and by changes to a few hosts.

Amounts are bytes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from xenmem.columns import Rows
from xenmem.planning.effort import Effort
from xenmem.planning.search import bounds
from xenmem.planning.search.branching import (
    BRANCH_SLICES,
    Branching,
    exact_is_possible,
    nodes_in_a_slice,
    slices,
)
from xenmem.planning.search.compiled.arrays import MOVE, NEVER, draw
from xenmem.planning.search.displaced import DIVES, crowd_of, fewest_displaced
from xenmem.planning.search.greedy import greedy, stay
from xenmem.planning.search.problem import Problem

LOCAL_VMS: Final = 14
LOCAL_NODES: Final = 3000
LOCAL_ROUNDS: Final = 300


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
    found, bound = at_home(problem, effort.part(share), DIVES)
    if found is not None and problem.cost_of_moves(found) < problem.cost_of_moves(best):
        best = found
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


def at_home(problem: Problem, effort: Effort, dives: int | None = None) -> tuple[Rows | None, int]:
    """Everybody at home but those who find no room there, and those whom they displace elsewhere.

    Gives the host of each item, None if no such way was found; and so many VMs on a host move at least.

    Parameters
    ----------
    problem : the pool
    effort : how long to search
    dives : as for `fewest_displaced`
    """
    if not len(problem.hosts):
        return None, 0
    home = stay(problem, np.arange(len(problem.sizes)))
    leaving = (home < 0) & (problem.origin >= 0)
    found, displaced = fewest_displaced(crowd_of(problem, home), effort, dives)
    bound = fewest_at_least(problem)
    # who of several has to leave is a choice, so that the displaced are counted only where nobody has to
    if not leaving.any() and displaced < NEVER:
        bound = max(bound, displaced + problem.least_cost // MOVE)
    return found, bound


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
