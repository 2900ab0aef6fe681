"""Which VMs cannot migrate now by what a Fleet has no column for: what the pool of the inventory would answer.

Planners leave such VMs where they are. Amounts do not occur.
"""

from collections.abc import Sequence

from xenmem.datamodel.errors import VM_LACKS_FEATURE
from xenmem.fleet import Fleet
from xenmem.xenapi import Pool, Session
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import MESSAGES
from xenmem.xenapi.rules import operations


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
    found: dict[int, str] = {}
    row_of = {(ref, int(pool)): row for row, (ref, pool) in enumerate(zip(fleet.vms.ref, fleet.vms.pool, strict=True))}
    for number, inventory in enumerate(inventories):
        if inventory == "-":
            continue
        pool = Pool(inventory, lenient=lenient)
        session = Session(pool)
        session.login_with_password("root", "")
        call = Call(pool, MESSAGES["VM.pool_migrate"], pool.login(session.handle or ""))
        knows_guests = len(pool.database.VM_guest_metrics) > 0
        for vm in pool.database.VM:
            row = row_of.get((vm.ref, number), -1)
            if row < 0 or row in found or not fleet.vms.is_guest[row] or fleet.vms.resident_on[row] < 0:
                continue
            reason = operations.reason_against(call, vm, "pool_migrate")
            if reason is not None and (knows_guests or reason.details[0] != VM_LACKS_FEATURE.name):
                found[row] = reason.details[0]
    return found
