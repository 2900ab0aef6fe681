"""Which hosts can be emptied: the fewest hosts for the guests that run, then the fewest and smallest migrations.

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
from xenmem.planning.packing import Report, plan_of, solve
from xenmem.planning.plan import Effort, Plan, Status

if TYPE_CHECKING:
    from xenmem.fleet import Fleet

Rows = NDArray[np.int32]


def consolidate(
    fleet: Fleet,
    hosts: npt.ArrayLike | None = None,
    policy: str = "dynamic_min",
    *,
    time_limit: float | None = None,
    seed: int = 0,
    progress: Report | None = None,
    **constraints: Unpack[Constraints],
) -> Plan:
    """The plan after which the most hosts run no guest, found with few and small migrations.

    Parameters
    ----------
    fleet : is not changed
    hosts : rows, by default every host that is enabled and live; guests on others stay where they are
    policy : ``dynamic_min`` is what the pool asks for when a VM migrates
    time_limit, seed, progress : as for pack

    Returns
    -------
    Plan : its objective is ``fewest-hosts``, its value the hosts in use; `emptied` are the hosts that become free.
        Optimal says that no plan needs fewer hosts; the migrations are few, not proved the fewest

    Raises
    ------
    ValueError, TypeError : an argument is out of range or contradicts another; names argument, index and value
    """
    effort = Effort(time_limit, seed, progress)
    running = guests_on_hosts(fleet)
    if hosts is not None:
        running = running[np.isin(fleet.vms.resident_on[running], np.asarray(hosts))]
    able = fleet.hosts.enabled & fleet.hosts.live
    running = running[able[np.maximum(fleet.vms.resident_on[running], 0)] & (fleet.vms.resident_on[running] >= 0)]
    question = question_of_fleet(fleet, running, hosts, policy, constraints)
    place = np.full(len(running), -1, np.int64)
    value = bound = 0
    for problem in search.problems(question):
        stay = search.stay(problem, np.arange(len(problem.sizes)))
        if (stay < 0).any():
            # where the VMs are now does not satisfy the constraints: there is nothing to start from
            return solve(question, "fewest-hosts", effort)
        best, limit = stay, bounds.hosts_needed(problem.sizes, problem.free, problem.in_use)
        try:
            best, limit = _fewest(problem, stay, effort)
        except KeyboardInterrupt:
            effort.interrupted = True
        place[problem.vms] = problem.vm_hosts(best)
        value += search.hosts_in_use(problem, best)
        bound += limit
    unused = ~np.isin(question.host_pool, question.vm_pool)
    value, bound = value + int(question.in_use[unused].sum()), bound + int(question.in_use[unused].sum())
    if (question.need > question.used).any():
        bound = int(question.in_use.sum())
    status: Status = "optimal" if value == bound else "feasible"
    reason = "" if status == "optimal" else f"{value} hosts remain in use, and {bound} are not excluded"
    return plan_of(question, place, effort, "fewest-hosts", status, value, bound, reason)


def _fewest(problem: search.Problem, stay: Rows, effort: Effort) -> tuple[Rows, int]:
    best = stay
    bound = bounds.hosts_needed(problem.sizes, problem.free, problem.in_use)
    for host in _light_first(problem, stay):
        if search.hosts_in_use(problem, best) <= bound or effort.over():
            break
        best = _without(problem, best, host, effort)
        effort.tell(search.hosts_in_use(problem, best), bound)
    if search.hosts_in_use(problem, best) > bound and not effort.over():
        anew, bound = search.fewest_hosts(problem, best, effort)
        if search.hosts_in_use(problem, anew) < search.hosts_in_use(problem, best):
            best = anew
    used = problem.in_use.copy()
    used[best] = True
    if effort.over():
        return best, bound
    confined = replace(problem, allowed=problem.allowed & used)
    fewer, _ = search.fewest_migrations(confined, best, effort)
    return fewer, bound


def _light_first(problem: search.Problem, stay: Rows) -> list[int]:
    """Hosts that could be emptied, the ones that cost the least first."""
    cost = np.zeros(len(problem.hosts), np.int64)
    np.add.at(cost, stay, problem.move_cost)
    order = np.argsort(cost, kind="stable")
    return [int(host) for host in order if cost[host] > 0 and not problem.in_use[host]]


def _without(problem: search.Problem, host_of: Rows, host: int, effort: Effort) -> Rows:
    """The same with one host less, if its VMs fit on the others in use as they are."""
    items = np.flatnonzero(host_of == host)
    used = problem.in_use.copy()
    used[host_of] = True
    used[host] = False
    if not len(items) or not used.any():
        return host_of
    part = problem.part(items, host_of)
    part = replace(part, allowed=part.allowed & used, origin=np.full(len(items), -1, np.int32))
    found, _ = search.place_all(part, effort, 0.02)
    if found is None:
        return host_of
    better = host_of.copy()
    better[items] = found
    return better
