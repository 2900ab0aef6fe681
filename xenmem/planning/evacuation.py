"""Can this host be emptied: its guests migrated to the other hosts of the pool, others moved only if it must be.

Amounts are bytes. What the pool itself would do is planning.xapi.evacuation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

import numpy as np
import numpy.typing as npt

from xenmem.planning.constraints import Constraints, question_of_fleet
from xenmem.planning.packing import Report, solve
from xenmem.planning.plan import Effort, Plan

if TYPE_CHECKING:
    from xenmem.fleet import Fleet


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
    if not 0 <= host < len(fleet.hosts):
        raise ValueError(f"host: there is no host {host}")
    effort = Effort(time_limit, seed, progress)
    wanted = np.arange(len(fleet.hosts)) if hosts is None else np.asarray(hosts)
    if hosts is not None and (wanted == host).any():
        raise ValueError(f"hosts: {host} is the host to be emptied")
    others = wanted[(wanted != host) & (fleet.hosts.pool[wanted] == fleet.hosts.pool[host])]
    running = guests_on_hosts(fleet)
    here = (fleet.vms.resident_on[running] == host) | (fleet.vms.scheduled_to_be_resident_on[running] == host)
    alone = _named(constraints, running[here])
    plan = None
    if alone is not None:
        question = question_of_fleet(fleet, running[here], others, policy, alone)
        plan = solve(question, "fewest-migrations", effort)
        if plan.status != "infeasible" or effort.over():
            return plan
    pool = running[fleet.vms.pool[running] == fleet.hosts.pool[host]]
    # VMs on hosts that may not take any stay where they are
    pool = pool[here[np.isin(running, pool)] | np.isin(fleet.vms.resident_on[pool], others)]
    question = question_of_fleet(fleet, pool, others, policy, constraints)
    wider = solve(question, "fewest-migrations", effort)
    if plan is not None and (wider.status == "infeasible" or wider.blocked):
        return plan
    if plan is not None and wider.value == len(plan.vms) + 1 and "cannot all" in plan.reason:
        wider = replace(wider, status="optimal", bound=wider.value, reason="")
    return wider


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
