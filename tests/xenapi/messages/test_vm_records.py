"""Making, copying and removing VMs, and setting what is no memory of theirs."""

from collections.abc import Callable
from typing import Any

import pytest
from small_pool import disk, everything, refused, row, storage

from xenmem.units import GIB, MIB
from xenmem.xenapi import Failure, Pool, Session

AddVM = Callable[..., Any]
NULL = "OpaqueRef:NULL"

ARGUMENTS: dict[str, Any] = {
    "user_version": "1",
    "is_a_template": False,
    "affinity": NULL,
    "memory_static_max": str(4 * GIB),
    "memory_dynamic_max": str(3 * GIB),
    "memory_dynamic_min": str(2 * GIB),
    "memory_static_min": str(1 * GIB),
    "VCPUs_params": {},
    "VCPUs_max": "2",
    "VCPUs_at_startup": "2",
    "actions_after_shutdown": "destroy",
    "actions_after_reboot": "restart",
    "actions_after_crash": "Restart",
    "PV_bootloader": "",
    "PV_kernel": "",
    "PV_ramdisk": "",
    "PV_args": "",
    "PV_bootloader_args": "",
    "PV_legacy_args": "",
    "HVM_boot_policy": "BIOS order",
    "HVM_boot_params": {},
    "platform": {"nested-virt": "false"},
    "PCI_bus": "",
    "other_config": {"key": "value"},
    "recommendations": "",
}


class TestCreate:
    def test_create(self, pool: Pool, session: Session) -> None:
        ref = session.xenapi.VM.create(
            {**ARGUMENTS, "name_label": "new", "blocked_operations": {"start": "no"}, "power_state": "Running", "x": 1}
        )
        vm = pool.database.VM[ref]
        assert (vm.name_label, vm.power_state, vm.domain_type, vm.memory_overhead) == ("new", "Halted", "hvm", 37 * MIB)
        assert (vm.actions_after_crash, vm.blocked_operations, vm.resident_on) == ("restart", {}, NULL)
        assert (vm.other_config["key"], len(vm.other_config["mac_seed"])) == ("value", 36)
        assert vm.metrics in pool.database.VM_metrics
        assert (vm.is_control_domain, vm.is_a_snapshot, vm.domid) == (False, False, -1)
        assert session.xenapi.VM.get_by_name_label("new") == [ref]
        assert (vm.has_vendor_device, vm.hardware_platform_version) == (True, 2)
        for host in pool.database.host:
            host.virtual_hardware_platform_versions = (0, 1, 2)
        session.xenapi.VM.start(ref, False, False)

    def test_what_is_not_taken_over(self, pool: Pool, session: Session) -> None:
        """A halted VM has no image and no boot record; schedules and their flags are messages' own."""
        given = {
            **ARGUMENTS,
            **{"last_booted_record": "x", "last_boot_CPU_flags": {"vendor": "v"}, "suspend_VDI": "image"},
            **{"protection_policy": "p", "snapshot_schedule": "s", "is_snapshot_from_vmpp": True},
            **{"is_vmss_snapshot": True, "has_vendor_device": False, "hardware_platform_version": "1"},
        }
        vm = pool.database.VM[session.xenapi.VM.create(given)]
        assert (vm.last_booted_record, vm.last_boot_CPU_flags, vm.suspend_VDI) == ("", {}, NULL)
        assert (vm.protection_policy, vm.snapshot_schedule) == (NULL, NULL)
        assert (vm.is_snapshot_from_vmpp, vm.is_vmss_snapshot) == (False, False)
        assert (vm.has_vendor_device, vm.hardware_platform_version) == (False, 1)
        suspended = {**given, "power_state": "Suspended", "domain_type": "pvh"}
        vm = pool.database.VM[session.xenapi.VM.create(suspended)]
        assert (vm.last_booted_record, vm.suspend_VDI) == ("x", "image")
        assert pool.database.VM_metrics[vm.metrics].current_domain_type == "pvh"

    @pytest.mark.parametrize(("policy", "kind"), [("", "pv"), ("BIOS order", "hvm")])
    def test_domain_type(self, pool: Pool, session: Session, policy: str, kind: str) -> None:
        ref = session.xenapi.VM.create({**ARGUMENTS, "HVM_boot_policy": policy})
        assert pool.database.VM[ref].domain_type == kind
        ref = session.xenapi.VM.create({**ARGUMENTS, "HVM_boot_policy": policy, "domain_type": "pvh"})
        assert pool.database.VM[ref].domain_type == "pvh"

    @pytest.mark.parametrize("missing", ARGUMENTS)
    def test_missing_field(self, pool: Pool, session: Session, missing: str) -> None:
        given = {name: value for name, value in ARGUMENTS.items() if name != missing}
        assert refused(pool, lambda: session.xenapi.VM.create(given))[0] == "INTERNAL_ERROR"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("memory_static_max", 1.5),
            ("memory_static_max", str(2**63)),
            ("is_a_template", "false"),
            ("platform", []),
            ("actions_after_crash", "explode"),
            ("name_label", "x" * 400_000),
        ],
    )
    def test_wrong_type(self, pool: Pool, session: Session, name: str, value: Any) -> None:
        assert refused(pool, lambda: session.xenapi.VM.create({**ARGUMENTS, name: value}))[0] == "INTERNAL_ERROR"

    def test_multiplier_that_is_no_number(self, pool: Pool, session: Session) -> None:
        given = {**ARGUMENTS, "HVM_shadow_multiplier": float("nan")}
        expected = ["INVALID_VALUE", "HVM_shadow_multiplier", "nan"]
        assert refused(pool, lambda: session.xenapi.VM.create(given)) == expected

    def test_suspended(self, pool: Pool, session: Session) -> None:
        image = {"suspend_VDI": "image", "last_booted_record": "()", "last_boot_CPU_flags": {"vendor": "v"}}
        for missing in image:
            given = {**ARGUMENTS, "power_state": "Suspended", **{k: v for k, v in image.items() if k != missing}}
            details = refused(pool, lambda: session.xenapi.VM.create(given))  # noqa: B023
            assert (details[0], details[2:]) == ("VM_BAD_POWER_STATE", ["halted", "suspended"])
        ref = session.xenapi.VM.create({**ARGUMENTS, "power_state": "suspended", **image})
        assert pool.database.VM[ref].power_state == "Suspended"


class TestClone:
    def test_clone(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        source = add_vm(
            memory_overhead=7,
            memory_target=11,
            platform={"a": "b"},
            affinity="h2",
            ha_restart_priority="restart",
            ha_always_run=True,
            order=3,
            start_delay=4,
            shutdown_delay=5,
            groups=("g",),
            requires_reboot=True,
            scheduled_to_be_resident_on="h1",
            blocked_operations={"start": "no"},
            other_config={"mac_seed": "old", "default_template": "true", "kept": "1"},
            is_default_template=True,
            is_a_template=True,
        )
        pool.database.VM_metrics["vmm"].memory_actual = 17
        before = everything(pool)
        ref = session.xenapi.VM.clone("vm", "copy")
        after = everything(pool)
        assert all(after[key] == value for key, value in before.items())
        vm = pool.database.VM[ref]
        assert (vm.name_label, vm.memory_overhead, vm.platform, vm.affinity) == ("copy", 7, {"a": "b"}, "h2")
        assert (vm.memory_target, vm.memory_static_min, vm.memory_static_max) == (11, 1 * GIB, 4 * GIB)
        assert (vm.memory_dynamic_min, vm.VCPUs_max, vm.ha_restart_priority) == (2 * GIB, 2, "restart")
        assert (vm.ha_always_run, vm.order, vm.start_delay, vm.shutdown_delay, vm.groups) == (False, 0, 0, 0, ())
        assert (vm.requires_reboot, vm.scheduled_to_be_resident_on, vm.blocked_operations) == (False, NULL, {})
        assert vm.other_config["kept"] == "1"
        assert vm.other_config["mac_seed"] not in ("old", "")
        assert pool.database.VM_metrics[vm.metrics].memory_actual == 17
        assert vm.metrics != source.metrics
        assert (vm.uuid != source.uuid, vm.is_a_template, vm.is_default_template) == (True, True, False)
        session.xenapi.VM.destroy(ref)

    @pytest.mark.parametrize("state", ["Running", "Paused", "Suspended"])
    def test_power_states(self, pool: Pool, session: Session, add_vm: AddVM, state: str) -> None:
        add_vm(power_state=state, suspend_VDI="image")
        expected = ["VM_BAD_POWER_STATE", "vm", "halted", state.lower()]
        assert refused(pool, lambda: session.xenapi.VM.clone("vm", "copy")) == expected
        pool.database.the_pool.other_config = {"allow_clone_suspended_vm": "true"}
        if state == "Suspended":
            ref = session.xenapi.VM.clone("vm", "copy")
            assert pool.database.VM[ref].power_state == "Suspended"
            session.xenapi.VM.resume(ref, False, False)
        else:
            expected[2] = "halted, suspended"
            assert refused(pool, lambda: session.xenapi.VM.clone("vm", "copy")) == expected

    def test_suspended_snapshot(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm(power_state="Suspended", is_a_snapshot=True, is_a_template=True)
        vm = pool.database.VM[session.xenapi.VM.clone("vm", "copy")]
        assert (vm.power_state, vm.is_a_snapshot, vm.is_a_template) == ("Halted", False, True)

    def test_without_storage(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm(blocked_operations={"clone": "no"})
        storage(pool.database)
        disk(pool.database, "vm")
        assert refused(pool, lambda: session.xenapi.VM.clone("vm", "copy")) == ["OPERATION_BLOCKED", "vm", "no"]
        pool.database.VM["vm"].blocked_operations = {}
        assert refused(pool, lambda: session.xenapi.VM.clone("vm", "copy")) == ["NO_HOSTS_AVAILABLE"]

    def test_without_a_live_host(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm()
        for name in ("h1m", "h2m"):
            pool.database.host_metrics[name].live = False
        assert refused(pool, lambda: session.xenapi.VM.clone("vm", "copy")) == ["NO_HOSTS_AVAILABLE"]
        pool.database.host_metrics["h2m"].live = True
        session.xenapi.VM.clone("vm", "copy")


class TestDestroy:
    @pytest.mark.parametrize("state", ["Halted", "Suspended"])
    def test_destroy(self, pool: Pool, session: Session, add_vm: AddVM, state: str) -> None:
        guest = row(pool.database, "VM_guest_metrics", "guest")
        pool.database.load("VM_guest_metrics", [guest])
        add_vm(power_state=state, guest_metrics="guest", scheduled_to_be_resident_on="h1")
        session.xenapi.VM.destroy("vm")
        assert "vm" not in pool.database.VM
        assert "vmm" not in pool.database.VM_metrics
        assert "guest" not in pool.database.VM_guest_metrics
        assert session.xenapi.host.compute_free_memory("h1") == str(61 * GIB)

    @pytest.mark.parametrize("state", ["Running", "Paused"])
    def test_power_states(self, pool: Pool, session: Session, add_vm: AddVM, state: str) -> None:
        add_vm(power_state=state)
        expected = ["VM_BAD_POWER_STATE", "vm", "halted, suspended", state.lower()]
        assert refused(pool, lambda: session.xenapi.VM.destroy("vm")) == expected

    def test_domain_zero(self, pool: Pool, session: Session) -> None:
        pool.database.VM["h1dom0"].power_state = "Halted"
        expected = ["OPERATION_NOT_ALLOWED", "This operation is not allowed on dom0"]
        assert refused(pool, lambda: session.xenapi.VM.destroy("h1dom0")) == expected

    def test_templates(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        vm = add_vm(is_a_template=True, is_default_template=True)
        for value in ("true", "1"):
            vm.other_config = {"default_template": value}
            vm.is_default_template = False
            assert refused(pool, lambda: session.xenapi.VM.destroy("vm")) == ["VM_IS_TEMPLATE", "vm", "destroy"]
        vm.is_a_template = False
        session.xenapi.VM.set_other_config("vm", {"default_template": "true"})
        assert refused(pool, lambda: session.xenapi.VM.destroy("vm")) == ["VM_CANNOT_DELETE_DEFAULT_TEMPLATE"]
        vm.is_a_template, vm.is_default_template, vm.other_config = True, True, {}
        assert refused(pool, lambda: session.xenapi.VM.destroy("vm")) == ["VM_IS_TEMPLATE", "vm", "destroy"]
        vm.is_default_template = False
        session.xenapi.VM.destroy("vm")


class TestTemplates:
    def test_to_a_template_and_back(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        vm = add_vm(ha_always_run=True, groups=("g",), VUSBs=("usb",))
        session.xenapi.VM.set_is_a_template("vm", True)
        assert (vm.is_a_template, vm.ha_always_run, vm.groups, vm.metrics) == (True, False, (), NULL)
        assert vm.VUSBs == ()
        assert "vmm" not in pool.database.VM_metrics
        session.xenapi.VM.set_is_a_template("vm", False)
        assert not vm.is_a_template

    def test_false_is_always_allowed(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm(power_state="Running", blocked_operations={"make_into_template": "no"})
        session.xenapi.VM.set_is_a_template("vm", False)
        assert pool.database.VM_metrics["vmm"].install_time == pool.clock.date()

    def test_protected(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        vm = add_vm(power_state="Running", ha_always_run=True, ha_restart_priority="restart")
        pool.database.the_pool.ha_enabled = True
        send = session.xenapi.VM.set_is_a_template
        assert refused(pool, lambda: send("vm", True)) == ["VM_BAD_POWER_STATE", "vm", "halted", "running"]
        vm.power_state = "Halted"
        assert refused(pool, lambda: send("vm", True)) == ["VM_IS_PROTECTED", "vm"]
        pool.database.the_pool.ha_enabled = False
        send("vm", True)
        assert refused(pool, lambda: send("vm", True)) == ["VM_IS_TEMPLATE", "vm", "make_into_template"]


class TestSetters:
    @pytest.mark.parametrize("field", ["order", "start_delay", "shutdown_delay"])
    def test_not_negative(self, pool: Pool, session: Session, add_vm: AddVM, field: str) -> None:
        vm = add_vm(power_state="Paused")
        send = getattr(session.xenapi.VM, f"set_{field}")
        send("vm", "7")
        assert getattr(vm, field) == 7
        assert refused(pool, lambda: send("vm", "-1")) == ["INVALID_VALUE", f"{field} must be non-negative", "-1"]
        assert refused(pool, lambda: send("x", "-1"))[0] == "INVALID_VALUE"
        assert refused(pool, lambda: send("x", "1")) == ["HANDLE_INVALID", "VM", "x"]

    def test_groups(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        vm = add_vm(is_a_template=True)
        for name in ("g1", "g2"):
            pool.database.load("VM_group", [row(pool.database, "VM_group", name)])
        send = session.xenapi.VM.set_groups
        assert refused(pool, lambda: send("nothing", ["g1"])) == ["HANDLE_INVALID", "VM", "nothing"]
        assert refused(pool, lambda: send("vm", ["g1", "g2"])) == ["LICENCE_RESTRICTION", "VM_groups"]
        pool.database.the_pool.restrictions = {"restrict_vm_groups": "false"}
        assert refused(pool, lambda: send("vm", ["g1", "g2"])) == [
            "OPERATION_NOT_ALLOWED",
            "Control domains, templates, and snapshots cannot be added to VM groups.",
        ]
        vm.is_a_template = False
        assert refused(pool, lambda: send("vm", ["g1", "g2"])) == ["TOO_MANY_GROUPS"]
        assert refused(pool, lambda: send("vm", ["x"])) == ["HANDLE_INVALID", "VM_group", "x"]
        send("vm", ["g1"])
        assert session.xenapi.VM_group.get_VMs("g1") == ["vm"]
        send("vm", [])
        assert session.xenapi.VM_group.get_VMs("g1") == []

    @pytest.mark.parametrize("field", ["platform", "blocked_operations"])
    def test_maps(self, pool: Pool, session: Session, add_vm: AddVM, field: str) -> None:
        vm = add_vm()
        setter, add, remove = (
            getattr(session.xenapi.VM, f"{verb}_{field}") for verb in ("set", "add_to", "remove_from")
        )
        setter("vm", {"start": "1"})
        add("vm", "suspend", "2")
        assert getattr(vm, field) == {"start": "1", "suspend": "2"}
        assert refused(pool, lambda: add("vm", "start", "1")) == ["MAP_DUPLICATE_KEY", "VM", field, "vm", "start"]
        remove("vm", "start")
        remove("vm", "resume")
        assert getattr(vm, field) == {"suspend": "2"}

    def test_blocked_operations_are_operations(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm()
        with pytest.raises(Failure, match="Unknown tag"):
            session.xenapi.VM.add_to_blocked_operations("vm", "dance", "no")


def test_a_vm_that_was_a_template_becomes_none_again(pool: Pool, session: Session, add_vm: AddVM) -> None:
    """Its metrics are gone since it was one (Db.VM_metrics.destroy of NULL)."""
    vm = add_vm()
    session.xenapi.VM.set_is_a_template("vm", True)
    session.xenapi.VM.set_is_a_template("vm", False)
    send = session.xenapi.VM.set_is_a_template
    assert refused(pool, lambda: send("vm", True)) == ["HANDLE_INVALID", "VM_metrics", NULL]
    assert not vm.is_a_template


@pytest.mark.parametrize("priority", ["restart", "best-effort", ""])
def test_setting_the_priority_that_is_set_changes_nothing(session: Session, add_vm: AddVM, priority: str) -> None:
    vm = add_vm(power_state="Running", ha_restart_priority=priority, ha_always_run=priority != "restart")
    session.xenapi.VM.set_ha_restart_priority("vm", priority)
    assert vm.ha_always_run == (priority != "restart")


@pytest.mark.parametrize("flag", ["true", "TRUE", "1"])
def test_a_clone_of_a_default_template(pool: Pool, session: Session, add_vm: AddVM, flag: str) -> None:
    config = {"default_template": flag, "xensource_internal": "x", "disks": "d", "mac_seed": "m"}
    add_vm(is_a_template=True, other_config=config, generation_id="1:2")
    copy = pool.database.VM[session.xenapi.VM.clone("vm", "copy")]
    assert copy.other_config == {
        **{"disks": "d", "base_template_name": "vm"},
        "mac_seed": copy.other_config["mac_seed"],
    }
    assert copy.other_config["mac_seed"] != "m"
    assert copy.generation_id != "1:2"
    assert all(-(2**63) <= int(part) < 2**63 for part in copy.generation_id.split(":"))


def test_a_clone_keeps_what_the_guest_reported(pool: Pool, session: Session, add_vm: AddVM) -> None:
    guest = row(pool.database, "VM_guest_metrics", "guest", other={"feature-suspend": "1"})
    pool.database.load("VM_guest_metrics", [guest])
    add_vm(guest_metrics="guest", generation_id="")
    copy = pool.database.VM[session.xenapi.VM.clone("vm", "copy")]
    assert copy.guest_metrics not in ("guest", NULL)
    assert pool.database.VM_guest_metrics[copy.guest_metrics].other == {"feature-suspend": "1"}
    assert copy.generation_id == ""


def test_setters_of_single_fields(pool: Pool, session: Session, add_vm: AddVM) -> None:
    vm = add_vm(domain_type="pv", has_vendor_device=False)
    session.xenapi.VM.set_actions_after_crash("vm", "coredump_and_restart")
    assert vm.actions_after_crash == "coredump_and_restart"
    pool.database.the_pool.restrictions |= {"restrict_pci_device_for_auto_update": "false"}
    session.xenapi.VM.set_has_vendor_device("vm", True)
    assert (vm.has_vendor_device, vm.hardware_platform_version) == (True, 2)
    session.xenapi.VM.set_ha_always_run("vm", True)
    assert vm.ha_restart_priority == "restart"
    session.xenapi.VM.set_ha_always_run("vm", False)
    assert vm.ha_restart_priority == ""
    session.xenapi.VM.update_allowed_operations("vm")
    session.xenapi.VM.assert_agile("vm")
    session.xenapi.VM.assert_operation_valid("vm", "start")
    expected = ["VM_BAD_POWER_STATE", "vm", "running", "halted"]
    assert refused(pool, lambda: session.xenapi.VM.assert_operation_valid("vm", "suspend")) == expected


def test_groups_are_made_and_removed(pool: Pool, session: Session, add_vm: AddVM) -> None:
    add_vm()
    pool.database.the_pool.restrictions = {"restrict_vm_groups": "false"}
    group = session.xenapi.VM_group.create({"name_label": "g", "name_description": "d", "placement": "anti_affinity"})
    session.xenapi.VM.set_groups("vm", [group])
    record = session.xenapi.VM_group.get_record(group)
    assert (record["name_label"], record["placement"], record["VMs"]) == ("g", "anti_affinity", ["vm"])
    session.xenapi.VM_group.destroy(group)
    assert session.xenapi.VM_group.get_all() == []


def test_the_boot_record_is_the_present_one(pool: Pool, session: Session, add_vm: Callable[..., Any]) -> None:
    vm = add_vm(power_state="Running", last_booted_record="(struct)")
    record = session.xenapi.VM.get_boot_record("vm")
    own = {"current_operations": {}, "allowed_operations": record["allowed_operations"]}
    assert record | own == session.xenapi.VM.get_record("vm") | own
    assert session.api.VM.get_boot_record("vm")["memory_static_max"] == 4 * GIB
    vm.power_state = "Halted"
    expected = ["VM_BAD_POWER_STATE", "vm", "paused, suspended, running", "halted"]
    assert refused(pool, lambda: session.xenapi.VM.get_boot_record("vm")) == expected
