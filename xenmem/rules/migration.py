"""Why a VM cannot migrate now, as far as its own record and its host's tell: what needs no session and no other VM.

Takes columns; nothing says here where a VM could go.
Source: xapi-project/xen-api, ocaml/xapi/xapi_vm_lifecycle.ml (check_operation_error), xapi_host.ml.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from xenmem.columns import PowerState, Unknown
from xenmem.kernel import DomainType

if TYPE_CHECKING:
    from xenmem.columns import Bools, Hosts, Rows, VMs


def whereabouts(vms: "VMs") -> "Rows":
    """The row of the host that each VM is on or on its way to, -1 for none: int32 array, shape (vms,).

    A reservation alone is not a place: a VM that is halted or suspended may keep one that nobody has taken back, and is
    not on the host, which counts its memory all the same; unless an operation on it is under way.
    """
    where: Rows = np.where(vms.resident_on >= 0, vms.resident_on, vms.scheduled_to_be_resident_on).astype(np.int32)
    waits = (vms.resident_on < 0) & np.isin(vms.power_state, (PowerState.HALTED, PowerState.SUSPENDED))
    for row in np.flatnonzero(waits & (where >= 0)).tolist():
        if not vms.current_operations[row]:
            where[row] = -1
    return where


def refusals(vms: "VMs", hosts: "Hosts") -> dict[int, str]:
    """The guests on a host that cannot migrate now, by row, each with the reason: a sentence, or the pool's error.

    Parameters
    ----------
    vms, hosts : of any number of pools

    Notes
    -----
    What the guest says counts where the inventory tells it.
    """
    here = whereabouts(vms)
    known = (vms.not_told & Unknown.GUEST) == 0
    paravirtual = np.isin(vms.current_domain_type, (DomainType.PV, DomainType.PV_IN_PVH, DomainType.PVH))
    resident, scheduled = vms.resident_on, vms.scheduled_to_be_resident_on
    # the coordinator reaches itself, whatever its metrics say
    is_live = (hosts.live | hosts.is_coordinator)[here] if len(hosts) else np.ones(len(vms), np.bool_)
    busy = np.fromiter(map(bool, vms.current_operations), np.bool_, len(vms))
    lacking = known & ~(paravirtual | vms.has_pv_drivers | vms.has_feature_suspend)
    # in the order in which the pool looks
    reasons: list[tuple[Bools, Callable[[int], str] | str]] = [
        (resident < 0, lambda row: f"it is to come to {hosts.label(scheduled[row])}"),
        (scheduled >= 0, lambda row: f"it is migrating to {hosts.label(scheduled[row])}"),
        (vms.is_migration_blocked, "OPERATION_BLOCKED"),
        (vms.power_state != PowerState.RUNNING, lambda row: _state(vms.power_state[row])),
        (~is_live, lambda row: f"its host {hosts.label(resident[row])} is not live"),
        (busy, "OTHER_OPERATION_IN_PROGRESS"),
        (vms.is_immobile, "VM_IS_IMMOBILE"),
        (vms.refuses_suspend, "VM_NON_SUSPENDABLE"),
        (lacking, "VM_LACKS_FEATURE"),
        (vms.has_reset_disk, "VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION"),
        (vms.has_foreign_pci, "VM_HAS_PCI_ATTACHED"),
        (vms.has_pinned_vgpu, "VM_HAS_VGPU"),
        (vms.VUSBs > 0, "VM_HAS_VUSBS"),
    ]
    found: dict[int, str] = {}
    left = vms.is_guest & (here >= 0)
    for is_so, why in reasons:
        for row in np.flatnonzero(left & is_so).tolist():
            found[row] = why if isinstance(why, str) else why(row)
        left = left & ~is_so
    return found


def _state(power_state: int) -> str:
    return f"it is {PowerState(power_state).name.capitalize()}"


def too_wide(vms: "VMs", hosts: "Hosts") -> dict[int, str]:
    """The guests with more vCPUs than their host has CPUs, by row: once away, they could not come back.

    Source: xapi_vm_helpers.ml, ``assert_enough_pcpus``.
    """
    if not len(hosts):
        return {}
    has = hosts.cpu_count[np.maximum(vms.resident_on, 0)]
    wide = vms.is_guest & (vms.resident_on >= 0) & ~vms.vcpu_unrestricted & (has > 0) & (vms.VCPUs_max > has)
    return {row: f"{vms.VCPUs_max[row]} vCPUs on {has[row]} CPUs" for row in np.flatnonzero(wide).tolist()}
