"""What links to storage, GPUs, USB devices and virtual functions do to where a VM can run, message by message."""

from collections.abc import Callable
from typing import Any

import pytest
from small_pool import disk, functions, gpu, network, row, storage, usb, vgpu, vif

from xenmem.xenapi import Failure, Pool, Session

NULL = "OpaqueRef:NULL"
AddVM = Callable[..., Any]


def fails(send: Callable[..., Any], *parameters: Any) -> list[str]:
    with pytest.raises(Failure) as raised:
        send(*parameters)
    return list(raised.value.details)


def test_a_link_to_storage(pool: Pool, session: Session, add_vm: AddVM) -> None:
    """A host sees an SR once its PBD is plugged; it is not unplugged under a running VM."""
    api = session.xenapi
    add_vm()
    storage(pool.database, "h1")
    disk(pool.database, "vm")
    assert api.VM.get_possible_hosts("vm") == ["h1"]
    pbd = api.PBD.create({"SR": "sr", "host": "h2", "device_config": {}})
    assert fails(api.PBD.create, {"SR": "sr", "host": "h2", "device_config": {}}) == ["PBD_EXISTS", "sr", "h2", pbd]
    assert api.VM.get_possible_hosts("vm") == ["h1"]
    api.PBD.plug(pbd)
    assert api.VM.get_possible_hosts("vm") == ["h2", "h1"]
    assert fails(api.PBD.destroy, pbd) == ["OPERATION_NOT_ALLOWED", "PBD is currently attached"]
    api.VM.start_on("vm", "h2", False, False)
    assert fails(api.PBD.unplug, pbd) == ["VDI_IN_USE", "vm-disk"]
    api.VM.hard_shutdown("vm")
    api.PBD.unplug(pbd)
    api.PBD.destroy(pbd)
    assert api.VM.get_possible_hosts("vm") == ["h1"]


def test_an_interface_of_a_host_that_is_down(pool: Pool, session: Session, add_vm: AddVM) -> None:
    """It is seen all the same."""
    api = session.xenapi
    add_vm()
    network(pool.database, "h2")
    vif(pool.database, "vm")
    api.PIF.unplug("net-h2")
    assert not pool.database.tables["PIF"]["net-h2"].currently_attached
    assert api.VM.get_possible_hosts("vm") == ["h2"]
    api.PIF.plug("net-h2")


def test_a_whole_gpu(pool: Pool, session: Session, add_vm: AddVM) -> None:
    """One VM has it until it halts; it does not migrate meanwhile."""
    api, database = session.xenapi, pool.database
    for name in ("vm", "other"):
        add_vm(name)
        pool.database.VM[name].platform = {"device-model": "qemu-upstream-compat"}
    gpu(database, "h1")
    for name in ("vm", "other"):
        api.VGPU.create(name, "gpus", "0", {}, "passthrough")
    api.VM.start_on("vm", "h1", False, False)
    (ref,) = api.VM.get_VGPUs("vm")
    assert (api.VGPU.get_resident_on(ref), api.VM.get_attached_PCIs("vm")) == ("h1-gpu", ["h1-pci"])
    assert api.PGPU.get_resident_VGPUs("h1-gpu") == [ref]
    assert fails(api.VM.start_on, "other", "h1", False, False) == ["VM_REQUIRES_GPU", "other", "gpus"]
    assert fails(api.VM.start, "other", False, False) == ["NO_HOSTS_AVAILABLE"]
    assert fails(api.VM.pool_migrate, "vm", "h2", {"force": "true"}) == ["VM_HAS_PCI_ATTACHED", "vm"]
    assert fails(api.VGPU.destroy, ref) == ["OPERATION_NOT_ALLOWED", "vGPU currently attached to a running VM"]
    api.VM.hard_shutdown("vm")
    assert (api.VGPU.get_resident_on(ref), api.VM.get_attached_PCIs("vm")) == (NULL, [])
    api.VM.start("other", False, False)
    assert api.VM.get_resident_on("other") == "h1"
    api.VGPU.destroy(ref)
    assert api.VM.get_VGPUs("vm") == []


def test_a_vgpu_that_migrates(pool: Pool, session: Session, add_vm: AddVM) -> None:
    api, database = session.xenapi, pool.database
    database.the_pool.restrictions = {"restrict_vgpu": "false"}
    add_vm()
    for host in ("h1", "h2"):
        gpu(database, host, "nvidia", size=1 << 18)
        database.tables["PGPU"][f"{host}-gpu"].compatibility_metadata = {"nvidia": "x"}
    vgpu(database, "vm", "nvidia")
    api.VM.start_on("vm", "h1", False, False)
    assert api.PGPU.get_remaining_capacity("h1-gpu", "nvidia") == "3"
    api.VM.pool_migrate("vm", "h2", {"force": "true"})
    assert (api.VGPU.get_resident_on("vm-vgpu"), api.VGPU.get_scheduled_to_be_resident_on("vm-vgpu")) == (
        "h2-gpu",
        NULL,
    )
    assert api.PGPU.get_remaining_capacity("h1-gpu", "nvidia") == "4"


def test_virtual_functions(pool: Pool, session: Session, add_vm: AddVM) -> None:
    """A VIF on an SR-IOV network holds one while its VM runs, and until it is unplugged."""
    api, database = session.xenapi, pool.database
    database.the_pool.restrictions = {"restrict_network_sriov": "false"}
    functions(database, "h1", 1)
    for name in ("vm", "other"):
        add_vm(name)
        vif(database, name, "sriov")
    api.VM.start("vm", False, False)
    assert (api.VM.get_resident_on("vm"), api.VM.get_attached_PCIs("vm")) == ("h1", ["sriov-vf0"])
    assert database.VIF["vm-vif"].reserved_pci == "sriov-vf0"
    assert fails(api.VM.start_on, "other", "h1", False, False) == ["NETWORK_SRIOV_INSUFFICIENT_CAPACITY", "sriov"]
    assert fails(api.VM.pool_migrate, "vm", "h2", {"force": "true"}) == ["VM_HAS_PCI_ATTACHED", "vm"]
    api.VIF.unplug("vm-vif")
    assert api.VM.get_attached_PCIs("vm") == []
    api.VM.start_on("other", "h1", False, False)
    api.VM.hard_shutdown("other")
    assert database.VIF["other-vif"].reserved_pci == NULL


def test_a_usb_device(pool: Pool, session: Session, add_vm: AddVM) -> None:
    api, database = session.xenapi, pool.database
    add_vm()
    usb(database, "vm", "h2")
    assert api.VM.get_possible_hosts("vm") == ["h2"]
    assert fails(api.VUSB.create, "vm", "usbs") == ["USB_GROUP_CONFLICT", "usbs"]
    api.VUSB.destroy("vm-vusb")
    assert api.VM.get_possible_hosts("vm") == ["h2", "h1"]
    vusb = api.VUSB.create("vm", "usbs")
    assert api.VM.get_VUSBs("vm") == [vusb]
    assert api.VM.get_possible_hosts("vm") == ["h2"]


def test_an_image_is_where_it_was_written(pool: Pool, session: Session, add_vm: AddVM) -> None:
    """A suspended VM resumes where its suspend SR is seen; the image goes when it has resumed."""
    api, database = session.xenapi, pool.database
    vm = add_vm(power_state="Running", suspend_SR="sr")
    database.VM_metrics["vmm"].current_domain_type = "pvh"
    storage(database, "h1")
    api.VM.suspend("vm")
    image = vm.suspend_VDI
    assert (api.VDI.get_SR(image), api.VDI.get_type(image)) == ("sr", "suspend")
    assert fails(api.VM.resume_on, "vm", "h2", False, False) == ["VM_REQUIRES_SR", "vm", "sr"]
    api.VM.resume("vm", False, False)
    assert (vm.resident_on, vm.suspend_VDI) == ("h1", NULL)
    assert image not in database.VDI


def test_a_dangling_usb_group(pool: Pool, session: Session, add_vm: AddVM) -> None:
    """Whatever is wrong with a USB device, the host lacks it."""
    add_vm()
    pool.database.load("VUSB", [row(pool.database, "VUSB", "vusb", VM="vm", USB_group="gone")])
    expected = ["OPERATION_NOT_ALLOWED", "VUSB vusb is not available on Host h1"]
    assert fails(session.xenapi.VM.assert_can_boot_here, "vm", "h1") == expected


def test_a_disk_that_is_nowhere(pool: Pool, session: Session, add_vm: AddVM) -> None:
    """Asked for one host the missing image is named; where a host is chosen, there is none."""
    add_vm()
    storage(pool.database, "h1", "h2")
    disk(pool.database, "vm")
    pool.database.VBD["vm-vbd"].VDI = "gone"
    assert fails(session.xenapi.VM.assert_can_boot_here, "vm", "h1") == ["HANDLE_INVALID", "VDI", "gone"]
    assert session.xenapi.VM.get_possible_hosts("vm") == []
    assert fails(session.xenapi.VM.clone, "vm", "copy") == ["NO_HOSTS_AVAILABLE"]
