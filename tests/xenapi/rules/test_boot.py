"""VM.assert_can_boot_here: each check, its failure, their order; and VM.get_possible_hosts."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from small_pool import (
    OTHER_VENDOR,
    disk,
    everything,
    functions,
    gpu,
    network,
    other_cpu,
    refused,
    row,
    storage,
    usb,
    vgpu,
    vif,
)

from xenmem.datamodel.types import NULL
from xenmem.units import GIB, MIB
from xenmem.xenapi import Failure, Pool, Session
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import MESSAGES
from xenmem.xenapi.rules import boot
from xenmem.xenapi.world.hooks import Hooks

AddVM = Callable[..., Any]


@pytest.fixture
def ask(pool: Pool, session: Session) -> Callable[..., list[str]]:
    def details(vm: str = "vm", host: str = "h1") -> list[str]:
        return refused(pool, lambda: session.xenapi.VM.assert_can_boot_here(vm, host))

    return details


@pytest.mark.parametrize("state", ["Halted", "Paused", "Running", "Suspended"])
def test_every_power_state(pool: Pool, session: Session, add_vm: AddVM, state: str) -> None:
    add_vm(power_state=state)
    before = everything(pool)
    assert session.xenapi.VM.assert_can_boot_here("vm", "h1") == ""
    assert session.xenapi.VM.get_possible_hosts("vm") == ["h2", "h1"]
    assert everything(pool) == before


def test_checks_in_order(pool: Pool, session: Session, add_vm: AddVM, ask: Callable[..., list[str]]) -> None:
    """Everything is wrong; what is answered is put right, and the next thing must be answered."""
    database = pool.database
    h1, metrics, the_pool = database.host["h1"], database.host_metrics["h1m"], database.the_pool
    vm = add_vm(
        VCPUs_max=0,
        VCPUs_at_startup=0,
        memory_static_max=0,
        HVM_shadow_multiplier=0.5,
        actions_after_crash="rename_restart",
        is_control_domain=True,
        affinity="h2",
        hardware_platform_version=3,
        domain_type="unspecified",
        memory_dynamic_min=100 * GIB,
    )

    class Newer(Hooks):
        def supports_gvt_g(self) -> bool:
            return False

    pool.hooks = Newer()
    storage(database, "h2")
    disk(database, "vm")
    network(database, "h2")
    vif(database, "vm")
    functions(database, "h1", 0)
    database.load("VIF", [row(database, "VIF", "vm-function", VM="vm", network="sriov")])
    gpu(database, "h1")
    gpu(database, "h2", "gvt_g")
    vgpu(database, "vm")
    database.load("VGPU", [row(database, "VGPU", "old", VM="vm", GPU_group="gpus", type="gvt_g")])
    database.write(h1, "chipset_info", {"iommu": "false"})
    usb(database, "vm", "h2")
    the_pool.restrictions = {"restrict_vm_start": "true"}
    the_pool.other_config = {"rolling_upgrade_in_progress": ""}
    h1.virtual_hardware_platform_versions = (0, 1, 2)
    h1.enabled = metrics.live = False
    h1.capabilities = ()
    h1.cpu_info = {"vendor": "GenuineIntel", "features_hvm": "f"}
    vm.last_boot_CPU_flags = {"vendor": "AuthenticAMD"}

    assert ask("nothing") == ["HANDLE_INVALID", "VM", "nothing"]
    assert ask() == ["LICENCE_RESTRICTION", "VM_start"]
    the_pool.restrictions = {}
    the_pool.master = "h2"
    h1.software_version = {"xapi_build": "26.17.0", "xapi": "26.1"}
    assert ask() == ["VM_HOST_INCOMPATIBLE_VERSION", "h1", "vm"]
    the_pool.other_config = {}
    assert ask() == ["VGPU_TYPE_NO_LONGER_SUPPORTED", "V: M"]
    pool.hooks = Hooks()
    database.destroy(database.tables["VGPU"]["old"])
    assert ask() == ["INVALID_VALUE", "VCPUs_max", "0"]
    vm.VCPUs_max = 20
    assert ask() == ["INVALID_VALUE", "VCPUs-at-startup", "0"]
    vm.VCPUs_at_startup = 21
    assert ask() == ["VALUE_NOT_SUPPORTED", "VCPUs-at-startup", "21", "value greater than VCPUs-max"]
    vm.VCPUs_at_startup = 1
    assert ask() == ["MEMORY_CONSTRAINT_VIOLATION"]
    vm.memory_static_max = 200 * GIB
    assert ask() == ["MEMORY_CONSTRAINT_VIOLATION"]  # dynamic_max is below dynamic_min
    vm.memory_dynamic_max = 200 * GIB
    assert ask() == ["INVALID_VALUE", "HVM_shadow_multiplier", "0.5"]
    vm.HVM_shadow_multiplier = float("nan")
    leaks = "option would leak a domain; VMs and not domains are managed by this API"
    assert ask() == ["VALUE_NOT_SUPPORTED", "VM.actions_after_crash", "rename_restart", leaks]
    vm.HVM_shadow_multiplier = 1.0
    vm.actions_after_crash = "coredump_and_restart"
    assert ask() == ["INTERNAL_ERROR", "unspecified domain type"]
    no_coredump = "cannot invoke a coredump of an HVM, PVH or PV-in-PVH domain"
    for kind in ("hvm", "pvh", "pv_in_pvh"):
        vm.domain_type = kind
        assert ask() == ["VALUE_NOT_SUPPORTED", "VM.actions_after_crash", "coredump_and_restart", no_coredump]
    vm.domain_type = "pv"
    assert ask() == ["HOST_NOT_LIVE"]
    vm.domain_type = "unspecified"
    vm.actions_after_crash = "destroy"
    assert ask() == ["HOST_NOT_LIVE"]
    metrics.live = True
    assert ask() == [
        "OPERATION_NOT_ALLOWED",
        "Cannot boot a control domain on a host different from its affinity",
    ]
    vm.affinity = "h1"
    assert ask()[0] == "VM_HOST_INCOMPATIBLE_VIRTUAL_HARDWARE_PLATFORM_VERSION"  # control domains boot where it is off
    vm.is_control_domain = False
    assert ask() == ["HOST_DISABLED", "h1"]
    h1.enabled = True
    assert ask() == ["VM_HOST_INCOMPATIBLE_VIRTUAL_HARDWARE_PLATFORM_VERSION", "h1", "[0; 1; 2]", "vm", "3"]
    vm.hardware_platform_version = 2
    assert ask() == ["INTERNAL_ERROR", "unspecified domain type"]
    vm.domain_type = "hvm"
    vm.power_state = "Suspended"
    assert ask() == ["VM_INCOMPATIBLE_WITH_THIS_HOST", "vm", "h1", OTHER_VENDOR]
    vm.power_state = "Halted"
    h1.cpu_info = {}
    assert ask() == ["VM_REQUIRES_SR", "vm", "sr"]
    database.load("PBD", [row(database, "PBD", "pbd", SR="sr", host="h1", currently_attached=True)])
    assert ask() == ["VM_REQUIRES_NETWORK", "vm", "net"]
    pif = row(database, "PIF", "pif", network="net", host="h1", physical=True, bond_slave_of="gone")
    database.load("PIF", [pif])
    assert ask() == ["HOST_CANNOT_ATTACH_NETWORK", "h1", "net"]
    database.write(pif, "bond_slave_of", NULL)
    assert ask() == ["VM_REQUIRES_IOMMU", "h1"]
    database.write(h1, "chipset_info", {"iommu": "true"})
    database.write(database.tables["PCI"]["h1-pci"], "attached_VMs", ("h1dom0",))
    assert ask() == ["VM_REQUIRES_GPU", "vm", "gpus"]
    database.write(database.tables["PCI"]["h1-pci"], "attached_VMs", ())
    assert ask() == ["OPERATION_NOT_ALLOWED", "VUSB vm-vusb is not available on Host h1"]
    database.write(database.tables["PUSB"]["pusb"], "host", "h1")
    assert ask() == ["NETWORK_SRIOV_INSUFFICIENT_CAPACITY", "sriov"]
    database.load("PCI", [row(database, "PCI", "vf", physical_function="sriov-pf")])
    assert ask() == ["VM_HVM_REQUIRED", "vm"]
    h1.capabilities = ("xen-3.0-x86_64", "hvm-3.0-x86_32")
    needed = 100 * GIB + pool.database.VM["vm"].memory_overhead
    assert ask()[0] == "HOST_NOT_ENOUGH_FREE_MEMORY"
    assert int(ask()[1]) > needed
    assert int(ask()[2]) == 61 * GIB
    database.write(vm, "memory_dynamic_min", GIB)
    assert ask()[0] == "INTERNAL_ERROR"
    h1.cpu_info = {"cpu_count": "many"}
    assert ask()[0] == "INTERNAL_ERROR"
    h1.cpu_info = {"cpu_count": "19"}
    assert ask() == ["HOST_NOT_ENOUGH_PCPUS", "20", "19"]
    vm.platform = {"vcpu-unrestricted": "True"}
    session.xenapi.VM.assert_can_boot_here("vm", "h1")


@pytest.mark.parametrize("kind", ["hvm", "pvh", "pv_in_pvh", "pv"])
def test_needed_memory(pool: Pool, session: Session, add_vm: AddVM, ask: Callable[..., list[str]], kind: str) -> None:
    """To the byte; dynamic_min counts, but static_max for pv_in_pvh."""
    vm = add_vm(domain_type=kind)
    overhead = {"hvm": 37, "pvh": 37, "pv_in_pvh": 105, "pv": 36}[kind] * MIB
    needed = (4 * GIB if kind == "pv_in_pvh" else 2 * GIB) + overhead
    other = add_vm("other", resident_on="h1", power_state="Running", memory_overhead=0)
    pool.database.write(other, "memory_dynamic_min", 61 * GIB - needed)
    session.xenapi.VM.assert_can_boot_here("vm", "h1")
    pool.database.write(other, "memory_dynamic_min", 61 * GIB - needed + 1)
    assert ask() == ["HOST_NOT_ENOUGH_FREE_MEMORY", str(needed), str(needed - 1)]
    assert session.xenapi.VM.get_possible_hosts("vm") == ["h2"]
    pool.database.write(vm, "scheduled_to_be_resident_on", "h1")  # its own reservation does not stand in its way
    assert ask() == ["HOST_NOT_ENOUGH_FREE_MEMORY", str(needed), str(needed - 1)]


def test_a_running_vm_may_stay_on_its_disabled_host(pool: Pool, session: Session, add_vm: AddVM) -> None:
    add_vm(power_state="Running")
    session.xenapi.host.disable("h1")
    session.xenapi.VM.assert_can_boot_here("vm", "h1")


@pytest.mark.parametrize("state", ["Halted", "Paused", "Suspended"])
def test_no_other_may(pool: Pool, session: Session, add_vm: AddVM, ask: Callable[..., list[str]], state: str) -> None:
    add_vm(power_state=state, resident_on="h1")
    session.xenapi.host.disable("h1")
    assert ask() == ["HOST_DISABLED", "h1"]


def test_upgrade_of_a_pool_whose_coordinator_is_unknown(pool: Pool, session: Session, add_vm: AddVM) -> None:
    """There is no version to compare with."""
    add_vm()
    the_pool = pool.database.the_pool
    pool.database.update(the_pool, {"master": "gone", "other_config": {"rolling_upgrade_in_progress": ""}})
    session.xenapi.VM.assert_can_boot_here("vm", "h1")


def test_other_builds_during_an_upgrade(
    pool: Pool, session: Session, add_vm: AddVM, ask: Callable[..., list[str]]
) -> None:
    """What xapi calls itself tells hosts apart, not its build: a mere hotfix is no upgrade."""
    add_vm()
    database = pool.database
    database.the_pool.other_config = {"rolling_upgrade_in_progress": ""}
    database.host["h2"].software_version = {"xapi_build": "26.16.9", "xapi": "26.17"}
    session.xenapi.VM.assert_can_boot_here("vm", "h2")
    database.host["h2"].software_version = {"xapi_build": "26.17.0", "xapi": "26.16"}
    with pytest.raises(Failure, match="VM_HOST_INCOMPATIBLE_VERSION"):
        session.xenapi.VM.assert_can_boot_here("vm", "h2")


def test_disabled_and_dead_hosts_are_not_possible(pool: Pool, session: Session, add_vm: AddVM) -> None:
    add_vm()
    session.xenapi.host.disable("h1")
    assert session.xenapi.VM.get_possible_hosts("vm") == ["h2"]
    pool.database.host_metrics["h2m"].live = False
    assert session.xenapi.VM.get_possible_hosts("vm") == []


def test_possible_hosts_are_not_asked_for_their_cpus(pool: Pool, session: Session, add_vm: AddVM) -> None:
    other_cpu(pool.database, add_vm(power_state="Suspended"))
    assert session.xenapi.VM.get_possible_hosts("vm") == ["h2", "h1"]
    assert session.xenapi.VM.get_possible_hosts("vm") == ["h2", "h1"]


def test_a_domain_type_is_asked_for_whatever_else_is_not(pool: Pool, session: Session, add_vm: AddVM) -> None:
    vm = add_vm(domain_type="unspecified")
    assert session.handle is not None
    call = Call(pool, MESSAGES["VM.assert_can_boot_here"], pool.sessions.login(session.handle))
    for cpu, memory in itertools.product((False, True), (False, True)):
        reason = boot.reason_against(call, vm, "h1", cpu=cpu, memory=memory)
        assert reason is not None
        assert reason.details == ["INTERNAL_ERROR", "unspecified domain type"]
