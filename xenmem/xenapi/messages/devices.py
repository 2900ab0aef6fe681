"""Disks, images, interfaces and networks: rows that clients make, change and remove; there is no storage behind.

Source: xapi-project/xen-api, ocaml/xapi/xapi_vbd.ml, xapi_vdi.ml, xapi_vif.ml, xapi_network.ml, xapi_vbd_helpers.ml.
"""

from typing import Annotated, Any, Final

from xenmem.datamodel import enum, errors
from xenmem.datamodel.types import NULL, RecordType, RefType
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import Int, NetworkRef, String, StringMap, Strings, VMRef, message
from xenmem.xenapi.rules import device_rows, devices, reach
from xenmem.xenapi.rules.agility import assert_agile_with_disk, assert_agile_with_network

VBDRef = Annotated[str, RefType("VBD")]
VDIRef = Annotated[str, RefType("VDI")]
VIFRef = Annotated[str, RefType("VIF")]
SRRef = Annotated[str, RefType("SR")]
VBDRecord = Annotated[dict[str, Any], RecordType("VBD")]
VDIRecord = Annotated[dict[str, Any], RecordType("VDI")]
VIFRecord = Annotated[dict[str, Any], RecordType("VIF")]
NetworkRecord = Annotated[dict[str, Any], RecordType("network")]
IPv4Mode = Annotated[str, enum("vif_ipv4_configuration_mode")]
IPv6Mode = Annotated[str, enum("vif_ipv6_configuration_mode")]

_UNSHARED: Final = errors.HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED
_MADE: Final = (errors.HANDLE_INVALID, errors.INTERNAL_ERROR)
_ATTACHED: Final = (errors.HANDLE_INVALID, errors.VM_BAD_POWER_STATE)


def _row(call: Call, class_name: str, ref: str) -> Any:
    return call.db.tables[class_name][ref]


# ----------------------------------------------------------------------------------------------------------------- VDI


@message("VDI", name="create", errors=_MADE)
def create_image(call: Call, args: VDIRecord) -> VDIRef:
    """A new image in a storage repository, from a struct of its fields."""
    values = device_rows.constructed(call, "VDI", args)
    _row(call, "SR", values["SR"])
    made = call.db.new_row("VDI", **values, location=call.db.new_uuid(), managed=True)
    call.db.create(made)
    device_rows.account(call, made, made.virtual_size)
    return str(made.ref)


@message("VDI", name="destroy", errors=(errors.HANDLE_INVALID, errors.VDI_IN_USE))
def destroy_image(call: Call, self: VDIRef) -> None:
    """Remove an image that no running VM has, with the disks that are made of it."""
    image = _row(call, "VDI", self)
    disks = [row for ref in image.VBDs if (row := call.db.tables["VBD"].get(ref)) is not None]
    if any(disk.currently_attached for disk in disks):
        raise errors.VDI_IN_USE(self, "destroy")
    for disk in disks:
        call.db.destroy(disk)
    device_rows.account(call, image, -image.virtual_size)
    call.db.destroy(image)


@message("VDI", errors=(errors.HANDLE_INVALID,))
def resize(call: Call, vdi: VDIRef, size: Int) -> None:
    """Give an image another size in bytes."""
    image = _row(call, "VDI", vdi)
    device_rows.account(call, image, size - image.virtual_size)
    call.db.write(image, "virtual_size", size)


@message("VDI", name="clone", errors=(errors.HANDLE_INVALID,))
def clone_image(call: Call, vdi: VDIRef, driver_params: StringMap = {}) -> VDIRef:  # noqa: B006
    """A copy of an image in the same storage repository."""
    return device_rows.copy_image(call, _row(call, "VDI", vdi))


@message("VDI", name="snapshot", errors=(errors.HANDLE_INVALID,))
def snapshot_image(call: Call, vdi: VDIRef, driver_params: StringMap = {}) -> VDIRef:  # noqa: B006
    """A snapshot of an image."""
    return device_rows.snapshot_image(call, _row(call, "VDI", vdi))


@message("VDI", name="copy", errors=(errors.HANDLE_INVALID,))
def copy_image(call: Call, vdi: VDIRef, sr: SRRef = NULL, base_vdi: VDIRef = NULL, into_vdi: VDIRef = NULL) -> VDIRef:
    """A copy of an image in a storage repository, or the image that is copied into."""
    image = _row(call, "VDI", vdi)
    if into_vdi != NULL:
        return str(_row(call, "VDI", into_vdi).ref)
    return device_rows.copy_image(call, image, SR=_row(call, "SR", sr).ref)


@message("VDI", name="forget", errors=(errors.HANDLE_INVALID,))
def forget_image(call: Call, vdi: VDIRef) -> None:
    """Remove an image's row."""
    call.db.destroy(_row(call, "VDI", vdi))


# ----------------------------------------------------------------------------------------------------------------- VBD


@message(
    "VBD",
    name="create",
    errors=(
        *_MADE,
        errors.VBD_CDS_MUST_BE_READONLY,
        errors.VDI_READONLY,
        errors.DEVICE_ALREADY_EXISTS,
        errors.INVALID_DEVICE,
        errors.HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED,
    ),
)
def create_disk(call: Call, args: VBDRecord) -> VBDRef:
    """A new disk or drive of a VM; the place `autodetect` is the first that is free."""
    values = device_rows.constructed(call, "VBD", args)
    vm = call.db.VM[values["VM"]]
    image = None if values.get("empty") else call.db.VDI[values["VDI"]]
    if values["type"] == "CD" and values["mode"] != "RO":
        raise errors.VBD_CDS_MUST_BE_READONLY()
    if image is not None and values["mode"] == "RW" and image.read_only:
        raise errors.VDI_READONLY(image.ref)
    free = device_rows.free_numbers(_taken(call, "VBD", "userdevice", vm.VBDs), device_rows.MAX_VBDS)
    place = values["userdevice"]
    if place == "autodetect":
        if not free:
            raise errors.INVALID_DEVICE(place)
        values["userdevice"] = free[0]
    elif place.isdecimal() and place not in free:
        raise errors.DEVICE_ALREADY_EXISTS(place)
    if image is None:
        values["VDI"] = NULL
    else:
        assert_agile_with_disk(call, vm, image)
    made = call.db.new_row("VBD", **values)
    call.db.create(made)
    return str(made.ref)


def _taken(call: Call, class_name: str, field: str, refs: "tuple[str, ...]") -> list[str]:
    table = call.db.tables[class_name]
    return [getattr(row, field) for ref in refs if (row := table.get(ref)) is not None]


@message("VBD", name="destroy", errors=(errors.HANDLE_INVALID, errors.OPERATION_NOT_ALLOWED))
def destroy_disk(call: Call, self: VBDRef) -> None:
    """Remove a disk that is not attached; the image stays."""
    disk = _row(call, "VBD", self)
    if disk.currently_attached:
        raise errors.OPERATION_NOT_ALLOWED(f"VBD '{disk.uuid}' still attached to '{disk.VM}'")
    call.db.destroy(disk)


def _attach(call: Call, class_name: str, ref: str, attached: bool) -> None:
    device = _row(call, class_name, ref)
    vm = call.db.VM[device.VM]
    if vm.power_state not in ("Running", "Paused"):
        raise errors.VM_BAD_POWER_STATE(vm.ref, "running", vm.power_state.lower())
    if device.currently_attached == attached:
        raise (errors.DEVICE_ALREADY_ATTACHED if attached else errors.DEVICE_ALREADY_DETACHED)(ref)
    call.db.write(device, "currently_attached", attached)


@message("VBD", name="plug", errors=(*_ATTACHED, errors.DEVICE_ALREADY_ATTACHED, *reach.DISK_ERRORS))
def plug_disk(call: Call, self: VBDRef) -> None:
    """Attach a disk to its running VM."""
    disk = call.db.VBD[self]
    vm = call.db.VM[disk.VM]
    if vm.power_state in ("Running", "Paused") and not disk.currently_attached:
        failure = reach.reason_against_disk(call, vm, disk)
        if failure is not None:
            raise failure
    _attach(call, "VBD", self, True)


@message("VBD", name="unplug", errors=(*_ATTACHED, errors.DEVICE_ALREADY_DETACHED))
def unplug_disk(call: Call, self: VBDRef) -> None:
    """Detach a disk from its running VM."""
    _attach(call, "VBD", self, False)


@message("VBD", name="unplug_force", errors=(*_ATTACHED, errors.DEVICE_ALREADY_DETACHED))
def unplug_disk_by_force(call: Call, self: VBDRef) -> None:
    """Detach a disk whatever its guest says."""
    _attach(call, "VBD", self, False)


@message(
    "VBD",
    errors=(
        errors.HANDLE_INVALID,
        errors.VBD_NOT_REMOVABLE_MEDIA,
        errors.VBD_NOT_EMPTY,
        errors.HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED,
    ),
)
def insert(call: Call, vbd: VBDRef, vdi: VDIRef) -> None:
    """Put an image into an empty drive."""
    drive = _drive(call, vbd)
    if not drive.empty:
        raise errors.VBD_NOT_EMPTY(vbd)
    image = call.db.VDI[vdi]
    assert_agile_with_disk(call, call.db.VM[drive.VM], image)
    call.db.update(drive, {"VDI": image.ref, "empty": False})


@message("VBD", errors=(errors.HANDLE_INVALID, errors.VBD_NOT_REMOVABLE_MEDIA, errors.VBD_IS_EMPTY))
def eject(call: Call, vbd: VBDRef) -> None:
    """Take the image out of a drive."""
    drive = _drive(call, vbd)
    if drive.empty:
        raise errors.VBD_IS_EMPTY(vbd)
    call.db.update(drive, {"VDI": NULL, "empty": True})


def _drive(call: Call, ref: str) -> Any:
    drive = _row(call, "VBD", ref)
    if drive.type == "Disk":
        raise errors.VBD_NOT_REMOVABLE_MEDIA(ref)
    return drive


# ----------------------------------------------------------------------------------------------------------------- VIF


@message("VIF", name="create", errors=(*_MADE, errors.DEVICE_ALREADY_EXISTS, errors.MAC_INVALID, _UNSHARED))
def create_interface(call: Call, args: VIFRecord) -> VIFRef:
    """A new interface of a VM; an empty MAC is made up."""
    values = device_rows.constructed(call, "VIF", args)
    vm = call.db.VM[values["VM"]]
    _row(call, "network", values["network"])
    assert_agile_with_network(call, vm, values["network"])
    if values["device"] in _taken(call, "VIF", "device", vm.VIFs):
        raise errors.DEVICE_ALREADY_EXISTS(values["device"])
    made_up = not values["MAC"]
    made = call.db.new_row("VIF", **values, MAC_autogenerated=made_up)
    if made_up:
        made.MAC = device_rows.new_mac(call)
    call.db.create(made)
    return str(made.ref)


@message("VIF", name="destroy", errors=(errors.HANDLE_INVALID, errors.OPERATION_NOT_ALLOWED))
def destroy_interface(call: Call, self: VIFRef) -> None:
    """Remove an interface that is not attached."""
    interface = _row(call, "VIF", self)
    if interface.currently_attached:
        raise errors.OPERATION_NOT_ALLOWED(f"VIF '{interface.uuid}' still attached to '{interface.VM}'")
    call.db.destroy(interface)


@message("VIF", name="plug", errors=(*_ATTACHED, errors.DEVICE_ALREADY_ATTACHED))
def plug_interface(call: Call, self: VIFRef) -> None:
    """Attach an interface to its running VM."""
    _attach(call, "VIF", self, True)


@message("VIF", name="unplug", errors=(*_ATTACHED, errors.DEVICE_ALREADY_DETACHED))
def unplug_interface(call: Call, self: VIFRef) -> None:
    """Detach an interface from its running VM, which gives back the virtual function that it has."""
    _attach(call, "VIF", self, False)
    devices.give_back(call, self)


@message("VIF", name="unplug_force", errors=(*_ATTACHED, errors.DEVICE_ALREADY_DETACHED))
def unplug_interface_by_force(call: Call, self: VIFRef) -> None:
    """Detach an interface whatever its guest says."""
    _attach(call, "VIF", self, False)


@message("VIF", errors=(errors.HANDLE_INVALID,))
def move(call: Call, self: VIFRef, network: NetworkRef) -> None:
    """Put an interface on another network."""
    call.db.write(_row(call, "VIF", self), "network", _row(call, "network", network).ref)


@message("VIF", errors=(errors.HANDLE_INVALID,))
def configure_ipv4(call: Call, self: VIFRef, mode: IPv4Mode, address: String = "", gateway: String = "") -> None:
    """Say which IPv4 address the guest is to have."""
    values = {"ipv4_configuration_mode": mode, "ipv4_addresses": _addresses(address), "ipv4_gateway": gateway}
    call.db.update(_row(call, "VIF", self), values)


@message("VIF", errors=(errors.HANDLE_INVALID,))
def configure_ipv6(call: Call, self: VIFRef, mode: IPv6Mode, address: String = "", gateway: String = "") -> None:
    """Say which IPv6 address the guest is to have."""
    values = {"ipv6_configuration_mode": mode, "ipv6_addresses": _addresses(address), "ipv6_gateway": gateway}
    call.db.update(_row(call, "VIF", self), values)


def _addresses(address: str) -> tuple[str, ...]:
    return (address,) if address else ()


# ------------------------------------------------------------------------------------------------------------- network


@message("network", name="create", errors=_MADE)
def create_network(call: Call, args: NetworkRecord) -> NetworkRef:
    """A new network without interfaces of hosts; an empty bridge is named as the server names it."""
    made = call.db.new_row("network", **device_rows.constructed(call, "network", args))
    if not made.bridge:
        taken = {row.bridge for row in call.db.tables["network"]}
        made.bridge = next(name for number in range(1 << 20) if (name := f"xapi{number}") not in taken)
    call.db.create(made)
    return str(made.ref)


@message(
    "network", name="destroy", errors=(errors.HANDLE_INVALID, errors.NETWORK_CONTAINS_PIF, errors.NETWORK_CONTAINS_VIF)
)
def destroy_network(call: Call, self: NetworkRef) -> None:
    """Remove a network on which nothing is."""
    network = _row(call, "network", self)
    if network.PIFs:
        raise errors.NETWORK_CONTAINS_PIF(*network.PIFs[:1])
    if network.VIFs:
        raise errors.NETWORK_CONTAINS_VIF(*network.VIFs[:1])
    call.db.destroy(network)


# ------------------------------------------------------------------------------------------------------------------ VM


@message("VM", errors=(errors.HANDLE_INVALID,))
def get_allowed_VBD_devices(call: Call, vm: VMRef) -> Strings:  # noqa: N802  (the message's own name)
    """The places where a disk may be added."""
    return device_rows.free_numbers(_taken(call, "VBD", "userdevice", call.db.VM[vm].VBDs), 16)


@message("VM", errors=(errors.HANDLE_INVALID,))
def get_allowed_VIF_devices(call: Call, vm: VMRef) -> Strings:  # noqa: N802  (the message's own name)
    """The places where an interface may be added."""
    return device_rows.free_numbers(_taken(call, "VIF", "device", call.db.VM[vm].VIFs), device_rows.MAX_VIFS)
