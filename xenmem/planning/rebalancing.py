"""The best balance for at most k migrations: the fullest host is left with the most memory.

Amounts are bytes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from xenmem.planning import bounds, search
from xenmem.planning.constraints import Constraints, question_of_fleet
from xenmem.planning.evacuation import guests_on_hosts
from xenmem.planning.packing import Report, plan_of
from xenmem.planning.plan import Effort, Plan, Status

if TYPE_CHECKING:
    from xenmem.fleet import Fleet

Rows = NDArray[np.int32]


def rebalance(
    fleet: Fleet,
    migrations: int,
    hosts: npt.ArrayLike | None = None,
    policy: str = "dynamic_min",
    *,
    time_limit: float | None = None,
    seed: int = 0,
    progress: Report | None = None,
    **constraints: Unpack[Constraints],
) -> Plan:
    """At most so many migrations in every pool, after which the fullest host has the most memory free.

    Parameters
    ----------
    fleet : is not changed
    migrations : >= 0, the most VMs that may change their host in a pool; temporary moves come on top
    hosts : rows, by default every host that is enabled and live; guests on others stay where they are
    policy : ``static_max``, ``dynamic_max`` or ``dynamic_min``: what is to be balanced
    time_limit, seed, progress : as for pack

    Returns
    -------
    Plan : its objective is ``even``, its value the free memory of the fullest host of any pool

    Raises
    ------
    ValueError, TypeError : an argument is out of range or contradicts another, or the VMs as they are violate the
        constraints; names argument, index and value
    """
    if migrations < 0:
        raise ValueError(f"migrations: {migrations} is negative")
    effort = Effort(time_limit, seed, progress)
    running = guests_on_hosts(fleet)
    if hosts is not None:
        running = running[np.isin(fleet.vms.resident_on[running], np.asarray(hosts))]
    able = fleet.hosts.enabled & fleet.hosts.live
    running = running[able[np.maximum(fleet.vms.resident_on[running], 0)] & (fleet.vms.resident_on[running] >= 0)]
    question = question_of_fleet(fleet, running, hosts, policy, constraints)
    place = question.origin.astype(np.int64)
    value, bound = [], []
    for problem in search.problems(question):
        if (problem.origin < 0).any():
            raise ValueError("same_host: VMs that are to share a host are on several; pack them first")
        best, limit = problem.origin.copy(), _most_free(problem, migrations)
        try:
            best = _level(problem, migrations, limit, effort)
        except KeyboardInterrupt:
            effort.interrupted = True
        place[problem.vms] = problem.vm_hosts(best)
        value.append(int(problem.occupied(best)[0].min()))
        bound.append(max(limit, value[-1]))
    worst, limit = min(value, default=0), min(bound, default=0)
    if (question.need > question.used).any():
        limit = max(limit, int(question.free.max(initial=0)))
    status: Status = "optimal" if worst == limit else "feasible"
    reason = "" if worst == limit else f"the fullest host is left with {worst}, and {limit} is not excluded"
    return plan_of(question, place, effort, "even", status, worst, limit, reason)


def _most_free(problem: search.Problem, migrations: int) -> int:
    """No plan leaves more on the fullest host: level hosts, or hosts that gave away their largest VMs."""
    now = int(problem.occupied(problem.origin)[0].min())
    low, high = now, max(now, bounds.least_free(problem.sizes, problem.free))
    while low < high:
        level = low + (high - low + 1) // 2
        if bounds.fewest_leaving(problem.sizes, problem.origin, problem.free - level) <= migrations:
            low = level
        else:
            high = level - 1
    return low


def _level(problem: search.Problem, migrations: int, limit: int, effort: Effort) -> Rows:
    best = problem.origin.copy()
    low, high = int(problem.occupied(best)[0].min()), limit
    while low < high and not effort.over():
        effort.tell(low, limit)
        level = high if high == limit else low + (high - low + 1) // 2
        found = _with_at_least(problem, level, migrations, effort)
        if found is None:
            high = level - 1
        else:
            best, low = found, int(problem.occupied(found)[0].min())
    return best


def _with_at_least(problem: search.Problem, level: int, migrations: int, effort: Effort) -> Rows | None:
    """A placement that leaves every host so much within the number of migrations, if one is found."""
    raised = replace(problem, free=problem.free - level)
    start, _ = search.place_all(raised, effort, 0.02)
    if start is None:
        return None
    found, _ = search.fewest_migrations(raised, start, effort)
    moved = int(problem.weight[found != problem.origin].sum())
    return found if moved <= migrations else None
