"""Which VMs cannot migrate now, and why: from a Fleet their power state, from the inventory what the pool would answer.

Planners leave such VMs where they are. Amounts do not occur.
"""

from collections.abc import Sequence

import numpy as np

from xenmem.answers.naming import host_label
from xenmem.datamodel.errors import VM_LACKS_FEATURE
from xenmem.fleet import Fleet, PowerState
from xenmem.xenapi import Pool, Session
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import MESSAGES
from xenmem.xenapi.rules import operations


def standing_still(fleet: Fleet) -> dict[int, str]:
    """The guests on a host that do not run or are migrating, by row, each with what it does instead."""
    vms = fleet.vms
    resident, scheduled = vms.resident_on, vms.scheduled_to_be_resident_on
    still = {}
    for row in np.flatnonzero(vms.is_guest & ((resident >= 0) | (scheduled >= 0))).tolist():
        if resident[row] < 0:
            still[row] = f"it is to come to {host_label(fleet, int(scheduled[row]))}"
        elif scheduled[row] >= 0:
            still[row] = f"it is migrating to {host_label(fleet, int(scheduled[row]))}"
        elif vms.power_state[row] != PowerState.RUNNING:
            still[row] = f"it is {PowerState(vms.power_state[row]).name.capitalize()}"
    return still


def too_wide(fleet: Fleet) -> dict[int, str]:
    """The guests with more vCPUs than their host has CPUs, by row: once away, they could not come back."""
    vms, cpus = fleet.vms, fleet.hosts.cpu_count
    has = cpus[np.maximum(vms.resident_on, 0)] if len(cpus) else vms.VCPUs_max
    wide = vms.is_guest & (vms.resident_on >= 0) & ~vms.vcpu_unrestricted & (has > 0) & (vms.VCPUs_max > has)
    return {row: f"{vms.VCPUs_max[row]} vCPUs on {has[row]} CPUs" for row in np.flatnonzero(wide).tolist()}


def refused_migrations(fleet: Fleet, inventories: Sequence[str], *, lenient: bool = False) -> dict[int, str]:
    """The guests that cannot migrate now, by row, each with the reason.

    Parameters
    ----------
    inventories : the files that the fleet was read from, each of one pool; `-` is left aside, having been read
    lenient : skip bad rows of the inventories

    Notes
    -----
    VM.pool_migrate refuses an HVM guest without drivers, for one. An inventory without any VM_guest_metrics cannot
    tell that.
    """
    found = standing_still(fleet)
    row_of = {(ref, int(pool)): row for row, (ref, pool) in enumerate(zip(fleet.vms.ref, fleet.vms.pool, strict=True))}
    for number, inventory in enumerate(inventories):
        if inventory == "-":
            continue
        pool = Pool(inventory, lenient=lenient)
        session = Session(pool)
        session.login_with_password("root", "")
        call = Call(pool, MESSAGES["VM.pool_migrate"], pool.sessions.login(session.handle or ""))
        knows_guests = len(pool.database.VM_guest_metrics) > 0
        for vm in pool.database.VM:
            row = row_of.get((vm.ref, number), -1)
            if row < 0 or row in found or not fleet.vms.is_guest[row] or fleet.vms.resident_on[row] < 0:
                continue
            reason = operations.reason_against(call, vm, "pool_migrate")
            if reason is not None and (knows_guests or reason.details[0] != VM_LACKS_FEATURE.name):
                found[row] = reason.details[0]
    return found
