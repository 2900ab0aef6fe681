"""Why a VM cannot migrate now, as far as its own record and its host's tell: what needs no session and no other VM.

Takes columns; nothing says here where a VM could go.
Source: xapi-project/xen-api, ocaml/xapi/xapi_vm_lifecycle.ml (check_operation_error), xapi_host.ml.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from xenmem.fleet import PowerState

if TYPE_CHECKING:
    from xenmem.fleet import Bools, Hosts, Rows, VMs


def whereabouts(vms: "VMs") -> "Rows":
    """The row of the host that each VM is on, -1 for none: int32 array, shape (vms,).

    A reservation alone is not a place: a VM that is halted or suspended and has one, kept from before it was halted
    or made for a start under way, is not on the host, which counts its memory all the same.
    """
    is_nowhere = np.isin(vms.power_state, (PowerState.HALTED, PowerState.SUSPENDED))
    reserved = np.where(is_nowhere, -1, vms.scheduled_to_be_resident_on)
    return np.where(vms.resident_on >= 0, vms.resident_on, reserved).astype(np.int32)


def refusals(vms: "VMs", hosts: "Hosts") -> dict[int, str]:
    """The guests on a host that cannot migrate now, by row, each with the reason.

    Parameters
    ----------
    vms, hosts : of any number of pools
    """
    here = whereabouts(vms)
    found = {}
    for row in np.flatnonzero(vms.is_guest & (here >= 0) & _may_be_refused(vms, hosts, here)).tolist():
        resident, scheduled = int(vms.resident_on[row]), int(vms.scheduled_to_be_resident_on[row])
        if resident < 0:
            found[row] = f"it is to come to {hosts.label(scheduled)}"
        elif scheduled >= 0:
            found[row] = f"it is migrating to {hosts.label(scheduled)}"
        elif vms.power_state[row] != PowerState.RUNNING:
            found[row] = f"it is {PowerState(vms.power_state[row]).name.capitalize()}"
        else:
            found[row] = f"its host {hosts.label(resident)} is not live"
    return found


def _may_be_refused(vms: "VMs", hosts: "Hosts", here: "Rows") -> "Bools":
    settled: Bools = (vms.power_state == PowerState.RUNNING) & (vms.scheduled_to_be_resident_on < 0)
    settled &= vms.resident_on >= 0
    return ~settled | ~hosts.live[here] if len(hosts) else ~settled


def too_wide(vms: "VMs", hosts: "Hosts") -> dict[int, str]:
    """The guests with more vCPUs than their host has CPUs, by row: once away, they could not come back.

    Source: xapi_vm_helpers.ml, ``assert_enough_pcpus``.
    """
    if not len(hosts):
        return {}
    has = hosts.cpu_count[np.maximum(vms.resident_on, 0)]
    wide = vms.is_guest & (vms.resident_on >= 0) & ~vms.vcpu_unrestricted & (has > 0) & (vms.VCPUs_max > has)
    return {row: f"{vms.VCPUs_max[row]} vCPUs on {has[row]} CPUs" for row in np.flatnonzero(wide).tolist()}


def has_drivers(version: Mapping[str, str]) -> bool:
    """Whether a guest's PV_drivers_version is that of drivers: major and minor, and micro and build if present, are
    integers (xapi_pv_driver_version.ml)."""
    needed = all(key in version for key in ("major", "minor"))
    return needed and all(_is_integer(version[key]) for key in ("major", "minor", "micro", "build") if key in version)


def has_feature(other: Mapping[str, str], feature: str) -> bool:
    """Whether a guest announces a feature in VM_guest_metrics.other (xapi_vm_lifecycle.ml: has_feature)."""
    return other.get(feature) == "1"


def _is_integer(text: str) -> bool:
    """Whether OCaml's int_of_string reads it, for the decimal numbers that drivers write."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    return digits.isascii() and digits[:1] != "_" and digits.replace("_", "0").isdecimal()
