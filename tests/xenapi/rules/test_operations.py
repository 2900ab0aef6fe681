"""VM.allowed_operations against the checks themselves: what VMs in the same situation share is what each may do."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from small_pool import build_database, row, usb, vgpu, vm_row

from xenmem.datamodel import enum
from xenmem.xenapi import Clock, Database, Pool, Session
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import MESSAGES
from xenmem.xenapi.rules import operations

AddVM = Callable[..., Any]
NULL = "OpaqueRef:NULL"
DRIVERS = ({}, {"major": "9"}, {"major": "9", "minor": "3"}, {"major": "9", "minor": "3", "build": "proto"})
FEATURES = (
    "feature-shutdown",
    "feature-reboot",
    "feature-poweroff",
    "feature-suspend",
    "feature-vcpu-hotplug",
    "data-cant-suspend-reason",
    "platform-feature",
)


def build_pool(seed: int) -> Pool:
    """VMs that differ in all that decides on what may begin, most of them in one thing only."""
    dice = random.Random(seed)
    database = build_database()
    database.the_pool.other_config = {
        key: value
        for key, value in {"rolling_upgrade_in_progress": "", "allow_clone_suspended_vm": "true"}.items()
        if dice.random() < 0.3
    }
    for number in range(200):
        ref, unusual = f"vm{number}", lambda: dice.random() < 0.15
        vm = vm_row(database, ref, power_state=dice.choice(enum("vm_power_state").members), is_control_domain=unusual())
        vm.domain_type = dice.choice(("hvm", "hvm", "hvm", "pv", "pvh"))
        vm.is_a_template, vm.is_a_snapshot = unusual(), unusual()
        vm.is_default_template = unusual()
        vm.other_config = dice.choice(({}, {}, {"default_template": "true"}, {"default_template": "no"}))
        vm.platform = dice.choice(({}, {}, {"nested-virt": "1"}, {"nomigrate": "true"}, {"nested-virt": "0"}))
        if vm.power_state == "Running":
            vm.resident_on = dice.choice(("h1", "h2"))
        if unusual():
            vm.metrics = NULL
        else:
            metrics = database.VM_metrics[vm.metrics]
            metrics.nested_virt, metrics.nomigrate = unusual(), unusual()
            metrics.current_domain_type = dice.choice(("unspecified", "hvm", "pv", "pvh"))
        if dice.random() < 0.7:
            other = {key: "1" for key in FEATURES if dice.random() < 0.3}
            guest = row(database, "VM_guest_metrics", f"{ref}g", other=other, PV_drivers_version=dice.choice(DRIVERS))
            database.load("VM_guest_metrics", [guest])
            vm.guest_metrics = guest.ref
        if unusual():
            vm.blocked_operations = {dice.choice(enum("vm_operations").members): "no"}
        if unusual():
            vm.current_operations = {"task": dice.choice(("clone", "snapshot", "migrate_send", "hard_shutdown"))}
        database.load("VM", [vm])
        give_devices(database, ref, dice)
    return Pool(database, clock=Clock(0.0))


def give_devices(database: Database, vm: str, dice: random.Random) -> None:
    """Sometimes a disk that is reset at boot, a PCI device, a vGPU that migrates or does not, a USB device."""
    match dice.randrange(12):
        case 0 | 1:
            config = dice.choice(({}, {"caching": "true"})) | {"on_boot": "reset"}
            database.load("VDI", [row(database, "VDI", f"{vm}-disk", sm_config=config)])
            database.load("VBD", [row(database, "VBD", f"{vm}-vbd", VM=vm, VDI=f"{vm}-disk")])
        case 2:
            database.load("PCI", [row(database, "PCI", f"{vm}-pci", attached_VMs=(vm,))])
        case 3 | 4:
            metadata = dice.choice(({}, {"nvidia": "x"}))
            database.load("PGPU", [row(database, "PGPU", f"{vm}-gpu", compatibility_metadata=metadata)])
            database.load("VGPU_type", [row(database, "VGPU_type", "nvidia", implementation="nvidia")])
            vgpu(database, vm, "nvidia", resident_on=f"{vm}-gpu")
        case 5:
            usb(database, vm, "h1")


@pytest.mark.parametrize("seed", range(10))
def test_each_vm_may_do_what_the_checks_let_through(seed: int) -> None:
    pool = build_pool(seed)
    session = Session(pool)
    session.login_with_password("root", "")
    assert session.handle is not None
    call = Call(pool, MESSAGES["VM.get_record"], pool.sessions.login(session.handle))
    records = session.xenapi.VM.get_all_records()
    seen = set()
    for vm in pool.database.VM:
        allowed = records[vm.ref]["allowed_operations"]
        named = [
            operation
            for operation in operations.ADVISED[vm.power_state]
            if not operations.reason_against(call, vm, operation)
        ]
        assert allowed == named == session.xenapi.VM.get_allowed_operations(vm.ref)
        seen.add(tuple(allowed))
    assert len(seen) > 20


def test_domain_0_is_not_in_the_situation_of_other_control_domains(session: Session, pool: Pool, add_vm: AddVM) -> None:
    for ref in ("a", "b"):
        add_vm(ref, is_control_domain=True, resident_on="h1")
    assert "destroy" in session.xenapi.VM.get_allowed_operations("a")
    pool.database.host["h1"].control_domain = "b"
    assert "destroy" not in session.xenapi.VM.get_allowed_operations("b")
    assert "destroy" in session.xenapi.VM.get_allowed_operations("a")


def test_what_a_client_gets_is_its_own() -> None:
    session = Session(build_pool(1))
    session.login_with_password("root", "")
    for api in (session.xenapi, session.api):
        first = api.VM.get_all_records()
        for record in first.values():
            record["allowed_operations"].append("everything")
            record["other_config"]["mine"] = "yes"
            record["VBDs"].append("vbd")
        second = api.VM.get_all_records()
        assert first.keys() == second.keys()
        for record in second.values():
            assert "everything" not in record["allowed_operations"]
            assert "mine" not in record["other_config"]
            assert "vbd" not in record["VBDs"]


@pytest.mark.parametrize(
    ("other", "drivers", "may"),
    [
        ({"feature-suspend": "1"}, {}, True),
        ({"feature-suspend": "0"}, {}, False),
        ({"feature-suspend": ""}, {}, False),
        ({}, {"major": "9", "minor": "3"}, True),
        ({}, {"major": "9", "minor": "3", "micro": "0", "build": "50"}, True),
        ({}, {"major": "1", "minor": "0", "build": "proto"}, False),
        ({}, {"major": "1", "minor": "0", "micro": ""}, False),
        ({}, {"major": "9", "minor": "x"}, False),
        ({"feature-suspend": "1", "data-cant-suspend-reason": "x"}, {"major": "9", "minor": "3"}, False),
    ],
)
def test_what_a_guest_announces(other: dict[str, str], drivers: dict[str, str], may: bool) -> None:
    """A feature is there if it is 1, drivers if the parts of their version are integers (xapi_pv_driver_version.ml)."""
    database = build_database()
    database.load("VM_guest_metrics", [row(database, "VM_guest_metrics", "g", other=other, PV_drivers_version=drivers)])
    vm = vm_row(database, "vm", power_state="Running", resident_on="h1", guest_metrics="g")
    database.load("VM", [vm])
    session = Session(Pool(database, clock=Clock(1_790_000_000.0)))
    session.login_with_password("root", "")
    assert ("pool_migrate" in session.xenapi.VM.get_allowed_operations("vm")) == may


def test_what_a_rolling_upgrade_leaves() -> None:
    """xapi_globs.ml: rpu_allowed_vm_operations; everything else is refused, snapshots too."""
    database = build_database()
    database.the_pool.other_config = {"rolling_upgrade_in_progress": "true"}
    for state in ("Halted", "Running"):
        resident = "h1" if state == "Running" else NULL
        vm = vm_row(database, state, power_state=state, domain_type="pvh", resident_on=resident)
        database.load("VM", [vm])
    session = Session(Pool(database, clock=Clock(1_790_000_000.0)))
    session.login_with_password("root", "")
    assert set(session.xenapi.VM.get_allowed_operations("Halted")) == {
        *("clone", "copy", "destroy", "export", "make_into_template", "migrate_send", "start", "start_on"),
    }
    assert set(session.xenapi.VM.get_allowed_operations("Running")) == {
        *("clean_reboot", "clean_shutdown", "hard_reboot", "hard_shutdown", "migrate_send", "pause", "pool_migrate"),
        *("suspend", "changing_VCPUs_live"),
    }


@pytest.mark.parametrize(
    ("devices", "refused"),
    [
        ("VUSBs", {"suspend": "VM_HAS_VUSBS", "pool_migrate": "VM_HAS_VUSBS", "snapshot": "VM_HAS_VUSBS"}),
        ("attached_PCIs", {"suspend": "VM_HAS_PCI_ATTACHED", "pool_migrate": "VM_HAS_PCI_ATTACHED"}),
    ],
)
def test_devices_of_the_record(devices: str, refused: dict[str, str]) -> None:
    """A VM with a passed-through device stays, and its host cannot be emptied."""
    database = build_database()
    vm = vm_row(database, "vm", power_state="Running", domain_type="pvh", resident_on="h1")
    database.load("VM", [vm])
    pool = Pool(database, clock=Clock(1_790_000_000.0))
    session = Session(pool)
    session.login_with_password("root", "")
    before = set(session.xenapi.VM.get_allowed_operations("vm"))
    database.write(vm, devices, ("device",))
    assert before - set(session.xenapi.VM.get_allowed_operations("vm")) >= refused.keys()
    call = Call(pool, MESSAGES["VM.get_record"], pool.sessions.login(str(session.handle)))
    for operation, code in refused.items():
        failure = operations.reason_against(call, vm, operation)
        assert failure is not None
        assert failure.details == [code, "vm"]
    prevented = session.xenapi.host.get_vms_which_prevent_evacuation("h1")
    assert prevented == {"vm": [refused["pool_migrate"], "vm"]}


def test_what_may_begin_on_hosts_and_pools() -> None:
    database = build_database()
    pool = Pool(database, clock=Clock(1_790_000_000.0))
    session = Session(pool)
    session.login_with_password("root", "")
    enabled = {"provision", "evacuate", "vm_start", "vm_resume", "vm_migrate", "enable"}
    allowed = session.xenapi.host.get_allowed_operations
    assert set(allowed("h1")) == enabled
    assert set(session.xenapi.host.get_record("h1")["allowed_operations"]) == enabled
    session.xenapi.host.disable("h1")
    assert set(allowed("h1")) == enabled | {"shutdown", "reboot", "apply_updates"}
    database.write(database.host["h1"], "current_operations", {"t": "evacuate"})
    assert {"vm_migrate", "vm_resume", "provision"}.isdisjoint(allowed("h1"))
    database.host_metrics["h2m"].live = False
    database.host["h2"].power_on_mode = "wake-on-lan"
    assert "power_on" in allowed("h2")
    assert "ha_enable" in session.xenapi.pool.get_allowed_operations("p")
    database.the_pool.ha_enabled = True
    operations_of_pool = set(session.xenapi.pool.get_record("p")["allowed_operations"])
    assert "ha_disable" in operations_of_pool
    assert {"ha_enable", "cluster_create"}.isdisjoint(operations_of_pool)
    database.the_pool.other_config = {"rolling_upgrade_in_progress": ""}
    assert set(allowed("h2")) == {"provision", "evacuate"}
