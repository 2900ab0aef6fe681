"""Disks, images, interfaces and networks: rows that clients make, change and remove."""

from collections.abc import Callable
from typing import Any

import pytest
from small_pool import row

from xenmem.units import GIB
from xenmem.xenapi import Failure, Pool, Session

NULL = "OpaqueRef:NULL"


@pytest.fixture
def storage(pool: Pool, session: Session) -> Any:
    """A storage repository."""
    pool.database.load("SR", [row(pool.database, "SR", "sr", name_label="sr", virtual_allocation=0)])
    pool.database.load("PBD", [row(pool.database, "PBD", "pbd", SR="sr", host="h1", currently_attached=True)])
    return session.xenapi


def image(api: Any, **values: Any) -> str:
    record = {"SR": "sr", "virtual_size": str(GIB), "type": "user", "sharable": False, "read_only": False}
    return str(api.VDI.create({**record, "other_config": {}, "name_label": "disk", **values}))


def disk(api: Any, vm: str, vdi: str, **values: Any) -> str:
    record = {"VM": vm, "VDI": vdi, "userdevice": "autodetect", "bootable": True, "mode": "RW", "type": "Disk"}
    rest = {"empty": False, "other_config": {}, "qos_algorithm_type": "", "qos_algorithm_params": {}}
    return str(api.VBD.create({**record, **rest, **values}))


def interface(api: Any, vm: str, network: str, **values: Any) -> str:
    record = {"VM": vm, "network": network, "device": "0", "MAC": "", "MTU": "1500", "other_config": {}}
    return str(api.VIF.create({**record, "qos_algorithm_type": "", "qos_algorithm_params": {}, **values}))


def fails(send: Callable[..., Any], *parameters: Any, **named: Any) -> list[str]:
    with pytest.raises(Failure) as raised:
        send(*parameters, **named)
    details: list[str] = raised.value.details
    return details


def test_a_disk_from_its_image_to_its_end(storage: Any, pool: Pool, add_vm: Callable[..., Any]) -> None:
    add_vm(power_state="Running")
    vdi = image(storage)
    assert pool.database.tables["SR"]["sr"].virtual_allocation == GIB
    vbd = disk(storage, "vm", vdi)
    assert storage.VM.get_VBDs("vm") == storage.VDI.get_VBDs(vdi) == [vbd]
    assert storage.VBD.get_userdevice(vbd) == "0"
    assert storage.VM.get_allowed_VBD_devices("vm")[0] == "1"
    storage.VBD.plug(vbd)
    assert fails(storage.VBD.plug, vbd) == ["DEVICE_ALREADY_ATTACHED", vbd]
    assert fails(storage.VDI.destroy, vdi) == ["VDI_IN_USE", vdi, "destroy"]
    assert fails(storage.VBD.destroy, vbd)[0] == "OPERATION_NOT_ALLOWED"
    storage.VDI.resize(vdi, str(2 * GIB))
    assert pool.database.tables["SR"]["sr"].virtual_allocation == 2 * GIB
    storage.VBD.unplug(vbd)
    assert fails(storage.VBD.unplug, vbd) == ["DEVICE_ALREADY_DETACHED", vbd]
    storage.VDI.destroy(vdi)
    assert storage.VM.get_VBDs("vm") == []
    assert pool.database.tables["SR"]["sr"].virtual_allocation == 0


def test_a_drive(storage: Any, add_vm: Callable[..., Any]) -> None:
    add_vm()
    vdi = image(storage, type="system")
    cd = {"type": "CD", "mode": "RO", "empty": True, "userdevice": "3"}
    drive = disk(storage, "vm", NULL, **cd)
    assert fails(disk, storage, "vm", NULL, **cd) == ["DEVICE_ALREADY_EXISTS", "3"]
    assert fails(disk, storage, "vm", NULL, **cd | {"mode": "RW"}) == ["VBD_CDS_MUST_BE_READONLY"]
    assert fails(storage.VBD.eject, drive) == ["VBD_IS_EMPTY", drive]
    storage.VBD.insert(drive, vdi)
    assert (storage.VBD.get_VDI(drive), storage.VBD.get_empty(drive)) == (vdi, False)
    assert fails(storage.VBD.insert, drive, vdi) == ["VBD_NOT_EMPTY", drive]
    storage.VBD.eject(drive)
    assert (storage.VBD.get_VDI(drive), storage.VBD.get_empty(drive)) == (NULL, True)
    plain = disk(storage, "vm", vdi)
    assert fails(storage.VBD.eject, plain) == ["VBD_NOT_REMOVABLE_MEDIA", plain]
    assert fails(storage.VBD.plug, plain) == ["VM_BAD_POWER_STATE", "vm", "running", "halted"]


def test_a_disk_that_others_have(storage: Any, add_vm: Callable[..., Any]) -> None:
    """VM.start asks before it looks for a host; a disk that may be shared, or is only read, is attached twice."""
    vdi = image(storage)
    for vm in ("vm", "other"):
        add_vm(vm)
        disk(storage, vm, vdi)
    storage.VM.start("other", False, False)
    assert fails(storage.VM.start, "vm", False, False) == ["VDI_IN_USE", vdi]
    (vbd,) = storage.VM.get_VBDs("vm")
    assert fails(storage.VBD.assert_attachable, vbd) == ["VDI_IN_USE", vdi]
    storage.VDI.set_sharable(vdi, True)
    storage.VM.start("vm", False, False)
    assert storage.VBD.get_currently_attached(vbd)
    storage.VM.hard_shutdown("vm")
    assert not storage.VBD.get_currently_attached(vbd)


def test_a_protected_vm_stays_agile(storage: Any, pool: Pool, add_vm: Callable[..., Any]) -> None:
    """With HA a protected VM gets no disk and no interface that not every enabled host has."""
    add_vm(ha_always_run=True, ha_restart_priority="restart")
    pool.database.the_pool.ha_enabled = True
    vdi = image(storage)
    assert fails(disk, storage, "vm", vdi) == ["HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED", "sr"]
    drive = disk(storage, "vm", NULL, type="CD", mode="RO", empty=True)
    assert fails(storage.VBD.insert, drive, vdi) == ["HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED", "sr"]
    network = storage.network.create({"name_label": "new", "other_config": {}})
    assert fails(interface, storage, "vm", network) == ["HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED", network]
    pool.database.the_pool.ha_allow_overcommit = True
    storage.VBD.insert(drive, vdi)
    interface(storage, "vm", network)


def test_an_interface(storage: Any, add_vm: Callable[..., Any]) -> None:
    add_vm()
    network = storage.network.create({"name_label": "new", "name_description": "", "MTU": "9000", "other_config": {}})
    assert storage.network.get_bridge(network) == "xapi0"
    vif = interface(storage, "vm", network)
    octets = storage.VIF.get_MAC(vif).split(":")
    assert (len(octets), int(octets[0], 16) & 3) == (6, 2)
    assert storage.VIF.get_MAC_autogenerated(vif) is True
    assert fails(interface, storage, "vm", network) == ["DEVICE_ALREADY_EXISTS", "0"]
    assert fails(storage.network.destroy, network) == ["NETWORK_CONTAINS_VIF", vif]
    storage.VIF.configure_ipv4(vif, "Static", "10.0.0.2/24", "10.0.0.1")
    assert storage.VIF.get_ipv4_addresses(vif) == ["10.0.0.2/24"]
    other = storage.network.create({"name_label": "other", "other_config": {}})
    storage.VIF.move(vif, other)
    assert storage.network.get_VIFs(other) == [vif]
    storage.VIF.destroy(vif)
    storage.network.destroy(network)
    assert storage.network.get_by_name_label("new") == []


def test_a_copy_has_devices_of_its_own(storage: Any, add_vm: Callable[..., Any]) -> None:
    add_vm()
    vdi = image(storage)
    disk(storage, "vm", vdi)
    network = storage.network.create({"name_label": "new", "other_config": {}})
    vif = interface(storage, "vm", network, MAC="00:16:3e:00:00:01")
    made = storage.VM.clone("vm", "copy")
    (vbd,), (copied,) = storage.VM.get_VBDs(made), storage.VM.get_VIFs(made)
    assert storage.VBD.get_VDI(vbd) not in (vdi, NULL)
    assert storage.VDI.get_virtual_size(storage.VBD.get_VDI(vbd)) == str(GIB)
    assert storage.VIF.get_MAC(copied) != storage.VIF.get_MAC(vif)
    assert storage.VIF.get_network(copied) == network
    storage.VM.destroy(made)
    assert storage.network.get_VIFs(network) == [vif]
    snapshot = storage.VM.snapshot("vm", "before")
    assert storage.VM.get_snapshots("vm") == [snapshot]
    assert storage.VM.get_is_a_snapshot(snapshot) is True


@pytest.mark.parametrize(
    "name", ["VBD.plug", "VBD.unplug", "VBD.unplug_force", "VBD.destroy", "VBD.eject", "VIF.plug", "VIF.unplug_force"]
)
def test_handles(storage: Any, name: str) -> None:
    class_name, message = name.split(".")
    assert fails(getattr(getattr(storage, class_name), message), "x") == ["HANDLE_INVALID", class_name, "x"]
