"""Where to begin: placements by rule, item after item, in one look at every host or less.

Amounts are bytes. The rules themselves are compiled: compiled/first_fit.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from xenmem.columns import Rows
from xenmem.planning.search.compiled.first_fit import closest_fit, first_fit
from xenmem.planning.search.problem import Problem

SCAN_CELLS: Final = 200_000_000
"""VMs times hosts up to which every host is looked at for every VM."""


def greedy(problem: Problem, order: NDArray[np.int64] | None = None) -> Rows:
    """The best of the greedy placements: the one that leaves out the least memory.

    Parameters
    ----------
    problem : the pool
    order : of the items; by default large ones first
    """
    items = np.arange(len(problem.sizes)) if order is None else order
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
            closest_fit(rest, problem.sizes, problem.where(taken), free, host_of, rule == "worst")
        else:
            first_fit(rest, np.argsort(free, kind="stable"), problem.sizes, problem.where(taken), free, host_of)
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


def filled(problem: Problem, host_of: Rows) -> Rows:
    """The items that have no place yet wherever there is still room, in the order of their priority."""
    full = host_of.copy()
    free, taken = problem.occupied(full)
    rest = problem.by_priority[full[problem.by_priority] < 0]
    first_fit(rest, np.argsort(free, kind="stable"), problem.sizes, problem.where(taken), free, full)
    return full
