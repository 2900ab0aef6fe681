"""Can this host be emptied: its guests migrated to the other hosts of the pool, others moved only if it must be.

Amounts are bytes. What the pool itself would do is planning.xapi.evacuation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple, Unpack

import numpy as np
import numpy.typing as npt

from xenmem.planning._limits import integer
from xenmem.planning.packing import Report, plan_of, solve
from xenmem.planning.plan import Effort, Plan, Status
from xenmem.planning.question import Constraints, Question, distinct_rows, question_of_fleet
from xenmem.planning.search import exact
from xenmem.planning.search.compiled.branch_and_bound import NEVER
from xenmem.planning.search.displaced import crowd_of, displaced_bound, fewest_displaced
from xenmem.planning.search.fewest_moves import fewest_migrations
from xenmem.planning.search.greedy import stay
from xenmem.planning.search.problem import Problem, problems

if TYPE_CHECKING:
    from xenmem.fleet import Fleet

Rows = npt.NDArray[np.int32]

SMALL: Final = 2000
"""VMs times hosts up to which what is not proved is left to the exact search of packing."""
PACKING_SHARE: Final = 0.1
"""Of the steps of a search for any packing at all, where no way of displacing VMs was found."""


def guests_on_hosts(fleet: Fleet) -> npt.NDArray[np.int64]:
    """Rows of the guests that are on a host, or reserved for one."""
    vms = fleet.vms
    return np.flatnonzero(vms.is_guest & ((vms.resident_on >= 0) | (vms.scheduled_to_be_resident_on >= 0)))


def evacuate(
    fleet: Fleet,
    host: int,
    hosts: npt.ArrayLike | None = None,
    policy: str = "dynamic_min",
    *,
    time_limit: float | None = None,
    seed: int = 0,
    progress: Report | None = None,
    **constraints: Unpack[Constraints],
) -> Plan:
    """Where the guests of a host go, and in which order, with the fewest migrations.

    Parameters
    ----------
    fleet : is not changed
    host : row of the host to be emptied; it may be disabled
    hosts : rows of hosts that may take VMs, by default all others of the pool that are enabled and live
    policy : ``dynamic_min`` is what the pool asks for when a VM migrates
    time_limit, seed, progress : as for pack

    Returns
    -------
    Plan : its objective is ``fewest-migrations``. First the other VMs stay where they are; if that is impossible, they
        move as well, and `vms` are then all guests of the pool

    Raises
    ------
    ValueError, TypeError : an argument is out of range or contradicts another; names argument, index and value
    """
    if not 0 <= integer("host", host) < len(fleet.hosts):
        raise ValueError(f"host: there is no host {host}")
    effort = Effort(time_limit, seed, progress)
    rows = np.arange(len(fleet.hosts)) if hosts is None else hosts
    wanted = distinct_rows("hosts", rows, len(fleet.hosts))
    if hosts is not None and (wanted == host).any():
        raise ValueError(f"hosts: {host} is the host to be emptied")
    others = wanted[(wanted != host) & (fleet.hosts.pool[wanted] == fleet.hosts.pool[host])]
    running = guests_on_hosts(fleet)
    here = (fleet.vms.resident_on[running] == host) | (fleet.vms.scheduled_to_be_resident_on[running] == host)
    own = _named(constraints, running[here])
    alone = None if own is None else question_of_fleet(fleet, running[here], others, policy, own)
    if alone is not None:
        if not len(alone.vms):
            return solve(alone, "fewest-migrations", effort)
        plan = _displacing(alone, effort).plan
        if plan is not None:
            return plan
    pool = running[fleet.vms.pool[running] == fleet.hosts.pool[host]]
    # VMs on hosts that may not take any stay where they are
    pool = pool[here[np.isin(running, pool)] | np.isin(fleet.vms.resident_on[pool], others)]
    everybody = question_of_fleet(fleet, pool, others, policy, constraints)
    plan, why_not = _displacing(everybody, effort)
    if alone is None:
        return plan or solve(everybody, "fewest-migrations", effort)
    if plan is None and not why_not:
        plan = solve(everybody, "fewest-migrations", effort)
    if plan is not None:
        why_not = f"if others move as well, {plan.reason if plan.status == 'infeasible' else plan.blocked}"
        if plan.status != "infeasible" and not plan.blocked:
            return plan
    plan = solve(alone, "fewest-migrations", effort)
    return replace(plan, reason=f"{plan.reason}; {why_not}", bound=len(plan.vms))


class _Found(NamedTuple):
    """A plan, or in a sentence why there is none; neither: that is for a wider search."""

    plan: Plan | None
    why_not: str


def _displacing(question: Question, effort: Effort) -> _Found:
    """All stay but those without a host and whom they displace."""
    pools = problems(question)
    if len(pools) != 1 or not len(pools[0].hosts):
        return _Found(None, "")
    (problem,) = pools
    everything = np.arange(len(problem.sizes))
    at_home = stay(problem, everything)
    if ((at_home[problem.item_of] < 0) & (question.origin[problem.vms] >= 0)).any():
        return _Found(None, "")
    found, displaced = fewest_displaced(crowd_of(problem, at_home), effort)
    is_small = len(problem.sizes) * len(problem.hosts) <= SMALL
    if found is None and (is_small or (at_home < 0).all()):
        return _Found(None, "")
    if displaced >= NEVER:
        return _Found(None, "others that move aside make no room: there is too little in the whole pool")
    if found is None:
        found = _anew(problem, effort)
    if found is None:
        return _Found(None, "no way to make room by moving others aside was found, and none is excluded")
    place = np.empty(len(question.vms), np.int64)
    place[problem.vms] = problem.vm_hosts(found)
    value = int((place != question.origin).sum())
    waiting = int(problem.weight[at_home < 0].sum())
    bound = waiting + displaced
    if (question.need > question.used).any():
        (lenient,) = problems(replace(question, sizes=question.used))
        bound = waiting + displaced_bound(crowd_of(lenient, stay(lenient, everything)))
    if value > bound and is_small:
        return _Found(None, "")
    status: Status = "optimal" if value == bound else "feasible"
    reason = "" if value == bound else f"the best known value is {value}, and {bound} is not excluded"
    return _Found(plan_of(question, place, effort, "fewest-migrations", status, value, bound, reason), "")


def _anew(problem: Problem, effort: Effort) -> Rows | None:
    """Any packing at all, from which as many VMs go back as possible."""
    quiet = effort.part(1.0, lambda value, bound: None)
    start, _ = exact.place_all(problem, quiet, PACKING_SHARE)
    return None if start is None else fewest_migrations(problem, start, quiet)[0]


def _named(constraints: Constraints, vms: npt.NDArray[np.int64]) -> Constraints | None:
    """The constraints of these VMs alone; None if they tie them to others."""
    known = set(vms.tolist())
    own = constraints.copy()
    if "pinned" in constraints:
        own["pinned"] = {vm: host for vm, host in constraints["pinned"].items() if vm in known}
    if "affinity" in constraints:
        own["affinity"] = {vm: hosts for vm, hosts in constraints["affinity"].items() if vm in known}
    if "priority" in constraints:
        own["priority"] = {vm: value for vm, value in constraints["priority"].items() if vm in known}
    apart, together = constraints.get("anti_affinity", ()), constraints.get("same_host", ())
    if any(len(known.intersection(group)) not in (0, len(set(group))) for group in (*apart, *together)):
        return None
    own["anti_affinity"] = [group for group in apart if known.intersection(group)]
    own["same_host"] = [group for group in together if known.intersection(group)]
    return own
