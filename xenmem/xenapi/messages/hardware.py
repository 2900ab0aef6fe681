"""The messages of what hosts have, and of what a VM has of one host: links to storage and networks, GPUs, USB devices.

Nothing is attached in truth: what would be is what the rows say. Source: xapi-project/xen-api, ocaml/xapi/xapi_pbd.ml,
xapi_pif.ml, xapi_pgpu.ml, xapi_vgpu.ml, xapi_vusb.ml.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

from xenmem.datamodel import errors
from xenmem.datamodel.types import NULL, RecordType, RefType
from xenmem.rules.start import RESTART
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import Int, String, StringMap, VMRef, message
from xenmem.xenapi.rules import boot, devices, reach
from xenmem.xenapi.rules.agility import is_kept_agile
from xenmem.xenapi.rules.device_rows import constructed

if TYPE_CHECKING:
    from xenmem.xenapi.store import rows

PGPURef = Annotated[str, RefType("PGPU")]
PBDRef = Annotated[str, RefType("PBD")]
PBDRecord = Annotated[dict[str, Any], RecordType("PBD")]
PIFRef = Annotated[str, RefType("PIF")]
VBDRef = Annotated[str, RefType("VBD")]
VGPURef = Annotated[str, RefType("VGPU")]
GPUGroupRef = Annotated[str, RefType("GPU_group")]
VUSBRef = Annotated[str, RefType("VUSB")]
USBGroupRef = Annotated[str, RefType("USB_group")]
VGPUTypeRef = Annotated[str, RefType("VGPU_type")]

_NOTHING: Final[dict[str, str]] = {}
_MOST_USBS: Final = 6


# ----------------------------------------------------------------------------------------------------------------- GPUs


@message("PGPU", errors=(errors.HANDLE_INVALID,))
def get_remaining_capacity(call: Call, self: PGPURef, vgpu_type: VGPUTypeRef) -> Int:
    """How many more vGPUs of a type a GPU could carry; none if it cannot carry them. Source: xapi_pgpu.ml."""
    call.db.tables["VGPU_type"][vgpu_type]
    return devices.remaining_capacity(call.db, call.db.tables["PGPU"][self], vgpu_type)


# ------------------------------------------------------------------------------------------------------- storage links


@message("PBD", name="create", errors=(errors.HANDLE_INVALID, errors.INTERNAL_ERROR, errors.PBD_EXISTS))
def create_pbd(call: Call, args: PBDRecord) -> PBDRef:
    """Link an SR with a host, which does not see it yet."""
    database = call.db
    made: rows.PBD = database.new_row("PBD", **constructed(call, "PBD", args))
    sr, host = database.SR[made.SR], database.host[made.host]
    for ref in sr.PBDs:
        pbd = database.tables["PBD"].get(ref)
        if pbd is not None and pbd.host == host.ref:
            raise errors.PBD_EXISTS(sr.ref, host.ref, ref)
    database.create(made)
    return made.ref


@message("PBD", name="destroy", errors=(errors.HANDLE_INVALID, errors.OPERATION_NOT_ALLOWED))
def destroy_pbd(call: Call, self: PBDRef) -> None:
    """Remove the link of a host with an SR that it does not see."""
    pbd: rows.PBD = call.db.tables["PBD"][self]
    if pbd.currently_attached:
        raise errors.OPERATION_NOT_ALLOWED("PBD is currently attached")
    call.db.destroy(pbd)


@message("PBD", name="plug", errors=(errors.HANDLE_INVALID, errors.HOST_OFFLINE, errors.SR_NOT_SHARABLE))
def plug_pbd(call: Call, self: PBDRef) -> None:
    """Let a host see an SR. Inferred: that the storage is there."""
    database = call.db
    pbd: rows.PBD = database.tables["PBD"][self]
    boot.assert_reachable(database, pbd.host)
    sr = database.SR[pbd.SR]
    if not pbd.currently_attached and not sr.shared:
        for ref in sr.PBDs:
            other = database.tables["PBD"].get(ref)
            if other is not None and other.currently_attached and other.host != pbd.host:
                raise errors.SR_NOT_SHARABLE(sr.ref, other.host)
    database.write(pbd, "currently_attached", True)


@message(
    "PBD",
    name="unplug",
    errors=(
        errors.HANDLE_INVALID,
        errors.HOST_OFFLINE,
        errors.HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED,
        errors.VDI_IN_USE,
    ),
)
def unplug_pbd(call: Call, self: PBDRef) -> None:
    """Let a host see an SR no longer, from which nothing is in use there."""
    database = call.db
    pbd: rows.PBD = database.tables["PBD"][self]
    boot.assert_reachable(database, pbd.host)
    if not pbd.currently_attached:
        return
    if database.host[pbd.host].enabled:
        for vm in database.VM:
            if is_kept_agile(call, vm) and any(vdi.SR == pbd.SR for _, vdi in _disks(call, vm)):
                raise errors.HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED(pbd.SR)
    for ref in database.host[pbd.host].resident:
        for vbd, vdi in _disks(call, database.VM.rows[ref]):
            if vdi.SR == pbd.SR and (vbd.currently_attached or vbd.reserved):
                raise errors.VDI_IN_USE(vdi.ref)
    database.write(pbd, "currently_attached", False)


def _disks(call: Call, vm: "rows.VM") -> "Iterator[tuple[rows.VBD, rows.VDI]]":
    """What is in the drives of a VM, as far as there are rows."""
    for ref in vm.VBDs:
        vbd = call.db.VBD.get(ref)
        vdi = None if vbd is None or vbd.empty else call.db.VDI.get(vbd.VDI)
        if vbd is not None and vdi is not None:
            yield vbd, vdi


# ------------------------------------------------------------------------------------------------------ network links


@message("PIF", name="plug", errors=(errors.HANDLE_INVALID, errors.HOST_OFFLINE, errors.CANNOT_PLUG_BOND_SLAVE))
def plug_pif(call: Call, self: PIFRef) -> None:
    """Bring a network interface of a host up. Source: xapi_pif.ml: plug."""
    pif: rows.PIF = call.db.tables["PIF"][self]
    boot.assert_reachable(call.db, pif.host)
    if pif.bond_slave_of in call.db.tables["Bond"]:
        raise errors.CANNOT_PLUG_BOND_SLAVE(self)
    call.db.write(pif, "currently_attached", True)


@message(
    "PIF",
    name="unplug",
    errors=(
        errors.HANDLE_INVALID,
        errors.HOST_OFFLINE,
        errors.PIF_IS_MANAGEMENT_INTERFACE,
        errors.PIF_DOES_NOT_ALLOW_UNPLUG,
    ),
)
def unplug_pif(call: Call, self: PIFRef) -> None:
    """Take a network interface of a host down: VMs see its network all the same. Source: xapi_pif.ml: unplug."""
    pif: rows.PIF = call.db.tables["PIF"][self]
    boot.assert_reachable(call.db, pif.host)
    if pif.management:
        raise errors.PIF_IS_MANAGEMENT_INTERFACE(self)
    if pif.disallow_unplug:
        raise errors.PIF_DOES_NOT_ALLOW_UNPLUG(self)
    call.db.write(pif, "currently_attached", False)


# ---------------------------------------------------------------------------------------------------------- vGPUs, USB


@message(
    "VGPU",
    name="create",
    errors=(errors.HANDLE_INVALID, errors.VM_BAD_POWER_STATE, errors.INVALID_DEVICE, errors.DEVICE_ALREADY_EXISTS),
)
def create_vgpu(
    call: Call,
    VM: VMRef,
    GPU_group: GPUGroupRef,  # noqa: N803
    device: String = "0",
    other_config: StringMap = _NOTHING,
    type: VGPUTypeRef = NULL,
) -> VGPURef:
    """Give a halted VM a vGPU; without a type, a whole GPU."""
    database = call.db
    vm = database.VM[VM]
    database.tables["GPU_group"][GPU_group]
    if vm.power_state != "Halted":
        raise errors.VM_BAD_POWER_STATE(VM, "halted", vm.power_state.lower())
    if not device.isdecimal():
        raise errors.INVALID_DEVICE(device)
    if any(vgpu.device == device for vgpu in devices.vgpus_of(database, vm)):
        raise errors.DEVICE_ALREADY_EXISTS(device)
    values = {"VM": VM, "GPU_group": GPU_group, "device": device, "other_config": other_config, "type": type}
    made: rows.VGPU = database.new_row("VGPU", **values)
    database.create(made)
    return made.ref


@message("VGPU", name="destroy", errors=(errors.HANDLE_INVALID, errors.OPERATION_NOT_ALLOWED))
def destroy_vgpu(call: Call, self: VGPURef) -> None:
    """Take a vGPU from its VM, which must not run."""
    vgpu: rows.VGPU = call.db.tables["VGPU"][self]
    if call.db.VM[vgpu.VM].power_state == "Running":
        raise errors.OPERATION_NOT_ALLOWED("vGPU currently attached to a running VM")
    call.db.destroy(vgpu)


@message(
    "VUSB",
    name="create",
    errors=(errors.HANDLE_INVALID, errors.USB_GROUP_CONFLICT, errors.TOO_MANY_VUSBS, errors.OPERATION_NOT_ALLOWED),
)
def create_vusb(
    call: Call,
    VM: VMRef,
    USB_group: USBGroupRef,  # noqa: N803
    other_config: StringMap = _NOTHING,
) -> VUSBRef:
    """Give a VM the USB device of a group, which nobody has; from then on it stays on the device's host."""
    database = call.db
    vm, group = database.VM[VM], database.tables["USB_group"][USB_group]
    if vm.ha_restart_priority == RESTART:
        raise errors.OPERATION_NOT_ALLOWED("HA enabled on VM, cannot attach USB devices")
    if group.VUSBs:
        raise errors.USB_GROUP_CONFLICT(USB_group)
    if len(vm.VUSBs) >= _MOST_USBS:
        raise errors.TOO_MANY_VUSBS(_MOST_USBS)
    made: rows.VUSB = database.new_row("VUSB", VM=VM, USB_group=USB_group, other_config=other_config)
    database.create(made)
    return made.ref


@message("VUSB", name="destroy", errors=(errors.HANDLE_INVALID, errors.OPERATION_NOT_ALLOWED))
def destroy_vusb(call: Call, self: VUSBRef) -> None:
    """Take a USB device that is not attached from its VM."""
    vusb: rows.VUSB = call.db.tables["VUSB"][self]
    if vusb.currently_attached:
        raise errors.OPERATION_NOT_ALLOWED(f"VUSB '{vusb.uuid}' still attached to '{call.db.VM[vusb.VM].uuid}'")
    call.db.destroy(vusb)


# ---------------------------------------------------------------------------------------------------------------- disks


@message("VBD", errors=(errors.HANDLE_INVALID, errors.OTHER_OPERATION_IN_PROGRESS, *reach.DISK_ERRORS))
def assert_attachable(call: Call, self: VBDRef) -> None:
    """Fail if a disk could not be attached to its VM when that starts. Source: xapi_vbd_helpers.ml."""
    vbd = call.db.VBD[self]
    failure = reach.reason_against_disk(call, call.db.VM[vbd.VM], vbd)
    if failure is not None:
        raise failure
