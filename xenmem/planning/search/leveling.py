"""A few migrations that leave the most on the fullest host and, among equals, bring the hosts nearest together.

Amounts are bytes. The searches themselves are compiled: compiled/leveling.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from xenmem.columns import Rows
from xenmem.planning.effort import Effort
from xenmem.planning.search.compiled.leveling import even_out, every_way
from xenmem.planning.search.problem import Problem

WAYS: Final = 2_000_000
"""Ways that are looked at, some 100 ns each; all of them where two migrations are asked for, or a pool is small."""
WAYS_IN_A_SECOND: Final = 4_000_000
STEPS: Final = 2_000
"""Moves that bring hosts nearer together, each the best of all VMs and hosts."""


def levelled(problem: Problem, start: Rows, migrations: int, limit: int, effort: Effort) -> tuple[Rows, bool]:
    """A placement at least as good as the one given, and whether none leaves more on the fullest host.

    Parameters
    ----------
    problem : the pool; every item has an origin
    start : a placement of all items
    migrations : so many VMs are not at their origin, at most
    limit : bytes; no placement leaves more on the fullest host
    effort : how long to search
    """
    if not len(problem.sizes) or not migrations:
        return start, False
    best = start.copy()
    items = (problem.sizes, problem.weight)
    deep = min(migrations, len(problem.sizes))
    nodes = int(min(WAYS, effort.seconds_left() / 4 * WAYS_IN_A_SECOND))
    seen = every_way(
        *items, problem.where(problem.taken.copy()), problem.free, problem.origin, deep, limit, best, nodes
    ) and not len(problem.group_of)
    value = problem.least_free(best)
    candidates = [best]
    for on, floor in ((best, value), (problem.origin, problem.least_free(problem.origin))):
        trial = on.copy()
        where = problem.where(problem.taken.copy())
        even_out(*items, where, problem.free, problem.origin, migrations, floor, trial, STEPS)
        candidates.append(trial)
    return max(candidates, key=lambda host_of: (problem.least_free(host_of), -_spread(problem, host_of))), seen


def _spread(problem: Problem, host_of: Rows) -> float:
    """How far what is left on the hosts lies apart."""
    return float(np.std(problem.occupied(host_of)[0]))
