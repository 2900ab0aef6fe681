"""Starting, stopping, suspending and moving VMs: success in each allowed power state, each failure, order of checks."""

import json
from collections.abc import Callable, Generator
from typing import Any

import pytest
from small_pool import (
    OTHER_VENDOR,
    build_database,
    disk,
    everything,
    gpu,
    limits,
    other_cpu,
    refused,
    row,
    storage,
    vgpu,
    vm_row,
)

from xenmem.units import GIB, MIB
from xenmem.xenapi import Clock, Failure, Guests, Pace, Pool, Session
from xenmem.xenapi.world.hooks import Hooks

AddVM = Callable[..., Any]
NULL = "OpaqueRef:NULL"
EPOCH = "19700101T00:00:00Z"

POWER_STATES = ("Halted", "Paused", "Running", "Suspended")
SENT: dict[str, tuple[Any, ...]] = {
    "start": (False, False),
    "start_on": ("h2", False, False),
    "resume": (False, False),
    "resume_on": ("h2", False, False),
    "suspend": (),
    "pause": (),
    "unpause": (),
    "clean_shutdown": (),
    "hard_shutdown": (),
    "pool_migrate": ("h2", {}),
}
ALLOWED = {
    "start": ("Halted",),
    "start_on": ("Halted",),
    "resume": ("Suspended",),
    "resume_on": ("Suspended",),
    "suspend": ("Running",),
    "pause": ("Running",),
    "unpause": ("Paused",),
    "clean_shutdown": ("Running",),
    "hard_shutdown": ("Paused", "Suspended", "Running"),
    "pool_migrate": ("Running",),
}
AFTER = {
    "start": "Running",
    "start_on": "Running",
    "resume": "Running",
    "resume_on": "Running",
    "suspend": "Suspended",
    "pause": "Paused",
    "unpause": "Running",
    "clean_shutdown": "Halted",
    "hard_shutdown": "Halted",
    "pool_migrate": "Running",
}
NEED_A_HOST = ("start", "resume", "start_on", "resume_on", "pool_migrate")


@pytest.fixture
def make(pool: Pool, add_vm: AddVM) -> AddVM:
    """A VM that could do everything: a PV guest as far as its features go, and with an image if it is suspended."""

    def build(ref: str = "vm", **values: Any) -> Any:
        if values.get("power_state") == "Suspended":
            values.setdefault("suspend_VDI", "image")
        vm = add_vm(ref, **values)
        metrics = pool.database.VM_metrics[vm.metrics]
        metrics.current_domain_type = "unspecified" if vm.power_state == "Halted" else "pvh"
        return vm

    return build


def send(session: Session, message: str, vm: str = "vm") -> Any:
    return getattr(session.xenapi.VM, message)(vm, *SENT[message])


@pytest.mark.parametrize("message", SENT)
def test_power_states(pool: Pool, session: Session, make: AddVM, message: str) -> None:
    for state in POWER_STATES:
        vm = make(state, power_state=state)
        limits = (vm.memory_static_min, vm.memory_dynamic_min, vm.memory_dynamic_max, vm.memory_static_max)
        if state not in ALLOWED[message]:
            expected = ["VM_BAD_POWER_STATE", state, ", ".join(ALLOWED[message]).lower(), state.lower()]
            assert refused(pool, lambda: send(session, message, state)) == expected  # noqa: B023
            continue
        assert send(session, message, state) == ""
        assert vm.power_state == AFTER[message]
        assert (vm.memory_static_min, vm.memory_dynamic_min, vm.memory_dynamic_max, vm.memory_static_max) == limits
        assert (vm.resident_on in pool.database.host) == (vm.power_state in ("Running", "Paused"))
        assert (vm.domid == -1) == (vm.power_state in ("Halted", "Suspended") or message in ("pause", "unpause"))
        assert vm.scheduled_to_be_resident_on == NULL
        assert vm.current_operations == {}


@pytest.mark.parametrize("message", SENT)
def test_no_such_vm(pool: Pool, session: Session, message: str) -> None:
    assert refused(pool, lambda: send(session, message, "x")) == ["HANDLE_INVALID", "VM", "x"]


@pytest.mark.parametrize("message", SENT)
def test_operation_checks_in_order(pool: Pool, session: Session, make: AddVM, message: str) -> None:
    """Blocked, power state, other operation, template or snapshot, immobile, control domain, features."""
    wrong = "Halted" if "Halted" not in ALLOWED[message] else "Running"
    vm = make(
        power_state=wrong,
        is_a_template=True,
        is_control_domain=True,
        blocked_operations={message: "not now"},
        current_operations={"t1": "hard_shutdown"},
    )
    metrics = pool.database.VM_metrics["vmm"]
    metrics.nomigrate = True

    def details() -> list[str]:
        return refused(pool, lambda: send(session, message))

    assert details() == ["OPERATION_BLOCKED", "vm", "not now"]
    vm.blocked_operations = {}
    assert details()[0] == "VM_BAD_POWER_STATE"
    vm.power_state = ALLOWED[message][-1]
    pool.database.write(vm, "resident_on", "h1" if vm.power_state in ("Running", "Paused") else NULL)
    assert details() == ["OTHER_OPERATION_IN_PROGRESS", "VM", "vm", "hard_shutdown", "t1"]
    vm.current_operations = {}
    assert details() == ["VM_IS_TEMPLATE", "vm", message]
    if message != "hard_shutdown":
        vm.is_a_snapshot = True
        assert details() == ["VM_IS_SNAPSHOT", "vm", message]
    vm.is_a_snapshot = vm.is_a_template = False
    if message in ("suspend", "pool_migrate"):
        assert details() == ["VM_IS_IMMOBILE", "vm"]
    metrics.nomigrate = False
    if message not in ("start", "start_on"):
        assert details() == ["OPERATION_NOT_ALLOWED", "This operation is not allowed on a control domain"]
    vm.is_control_domain = False
    metrics.current_domain_type = "hvm"
    if message in ("suspend", "pool_migrate", "clean_shutdown"):
        assert details() == ["VM_LACKS_FEATURE", "vm"]
    metrics.current_domain_type = "pv"
    vm.suspend_VDI = "image"
    send(session, message)
    assert vm.power_state == AFTER[message]


class TestFeatures:
    """What the guest agent says (messages.md, 1 row 10)."""

    NEEDED = (
        ("suspend", "feature-suspend"),
        ("pool_migrate", "feature-suspend"),
        ("clean_shutdown", "feature-shutdown"),
        ("clean_shutdown", "feature-poweroff"),
    )

    def guest(self, pool: Pool, vm: Any, **values: Any) -> Any:
        guest = pool.database.new_row("VM_guest_metrics", **values)
        pool.database.load("VM_guest_metrics", [guest])
        vm.guest_metrics = guest.ref
        pool.database.VM_metrics[vm.metrics].current_domain_type = "hvm"
        return guest

    @pytest.mark.parametrize(("message", "feature"), NEEDED)
    def test_needed(self, pool: Pool, session: Session, make: AddVM, message: str, feature: str) -> None:
        vm = make(power_state="Running")
        guest = self.guest(pool, vm, other={"feature-vcpu-hotplug": "1"}, PV_drivers_version={"major": "9"})
        assert refused(pool, lambda: send(session, message)) == ["VM_LACKS_FEATURE", "vm"]
        guest.other = {feature: "1"}
        send(session, message)

    @pytest.mark.parametrize("message", ["suspend", "pool_migrate", "clean_shutdown"])
    def test_implied_by_drivers(self, pool: Pool, session: Session, make: AddVM, message: str) -> None:
        self.guest(pool, make(power_state="Running"), PV_drivers_version={"major": "9", "minor": "0"})
        send(session, message)

    @pytest.mark.parametrize("message", ["suspend", "pool_migrate", "clean_shutdown"])
    @pytest.mark.parametrize("kind", ["pv", "pv_in_pvh", "pvh"])
    def test_implied_by_the_record_where_metrics_do_not_tell(
        self, pool: Pool, session: Session, make: AddVM, message: str, kind: str
    ) -> None:
        vm = make(power_state="Running", domain_type=kind)
        pool.database.VM_metrics[vm.metrics].current_domain_type = "unspecified"
        send(session, message)

    @pytest.mark.parametrize("message", ["suspend", "pool_migrate"])
    def test_not_suspendable(self, pool: Pool, session: Session, make: AddVM, message: str) -> None:
        """Whatever else it has, and even if it is forced."""
        other = {"data-cant-suspend-reason": "busy", "feature-suspend": "1"}
        self.guest(pool, make(power_state="Running"), other=other)
        assert refused(pool, lambda: send(session, message)) == ["VM_NON_SUSPENDABLE", "vm", "busy"]
        if message == "pool_migrate":
            forced = {"force": "true"}
            details = refused(pool, lambda: session.xenapi.VM.pool_migrate("vm", "h2", forced))
            assert details == ["VM_NON_SUSPENDABLE", "vm", "busy"]

    def test_force_needs_no_features(self, pool: Pool, session: Session, make: AddVM) -> None:
        vm = make(power_state="Running")
        self.guest(pool, vm)
        for text in ("1", "TRUE", "yes"):
            assert refused(pool, lambda: session.xenapi.VM.pool_migrate("vm", "h2", {"force": text}))  # noqa: B023
        session.xenapi.VM.pool_migrate("vm", "h2", {"force": "true"})
        assert vm.resident_on == "h2"


@pytest.mark.parametrize("message", NEED_A_HOST)
def test_without_room(pool: Pool, session: Session, make: AddVM, message: str) -> None:
    """A host that the client names says what is missing; a choice of hosts says that there is none."""
    make(power_state=ALLOWED[message][0])
    for host in ("h1", "h2"):
        make(f"big{host}", power_state="Running", resident_on=host, **limits(61 * GIB - 100 * MIB))
    free = session.api.host.compute_free_memory("h2")
    expected = ["HOST_NOT_ENOUGH_FREE_MEMORY", str(2 * GIB + 37 * MIB), str(free)]
    if message in ("start", "resume"):
        expected = ["NO_HOSTS_AVAILABLE"]
    assert refused(pool, lambda: send(session, message)) == expected


@pytest.mark.parametrize("message", ["start_on", "resume_on", "pool_migrate"])
def test_what_the_named_host_is_asked(pool: Pool, session: Session, make: AddVM, message: str) -> None:
    make(power_state=ALLOWED[message][0])
    h2, metrics = pool.database.host["h2"], pool.database.host_metrics["h2m"]
    h2.enabled = metrics.live = False

    def details() -> list[str]:
        return refused(pool, lambda: send(session, message))

    assert details() == ["HOST_NOT_LIVE"]
    metrics.live = True
    assert details() == ["HOST_DISABLED", "h2"]
    h2.enabled = True
    h2.capabilities = ()
    assert details() == ["VM_HVM_REQUIRED", "vm"]
    h2.capabilities = ("hvm",)
    h2.cpu_info = {"cpu_count": "1"}
    assert details() == ["HOST_NOT_ENOUGH_PCPUS", "2", "1"]
    h2.cpu_info = {"cpu_count": "2"}
    send(session, message)
    assert pool.database.VM["vm"].resident_on == "h2"


@pytest.mark.parametrize("message", ["start_on", "resume_on", "pool_migrate"])
def test_no_such_host(pool: Pool, session: Session, make: AddVM, message: str) -> None:
    make(power_state=ALLOWED[message][0])
    expected = ["HOST_NOT_LIVE"] if message == "resume_on" else ["HANDLE_INVALID", "host", "x"]
    sent = ("x", *SENT[message][1:])
    assert refused(pool, lambda: getattr(session.xenapi.VM, message)("vm", *sent)) == expected


def test_no_such_host_for_a_forced_migration(pool: Pool, session: Session, make: AddVM) -> None:
    make(power_state="Running")
    assert refused(pool, lambda: session.xenapi.VM.pool_migrate("vm", "x", {"force": "true"})) == ["HOST_NOT_LIVE"]


@pytest.mark.parametrize("message", ["start", "start_on", "resume", "resume_on"])
def test_builds_a_domain(pool: Pool, session: Session, make: AddVM, message: str) -> None:
    vm = make(
        power_state=ALLOWED[message][0],
        domain_type="unspecified",
        HVM_boot_policy="BIOS order",
        platform={"nested-virt": "false", "nomigrate": "1"},
        memory_overhead=1,
        guest_metrics="guest",
        last_boot_CPU_flags={"vendor": "v", "features": "0"},
    )
    guest = pool.database.new_row("VM_guest_metrics", other={"feature-balloon": "1"})
    guest.ref = "guest"
    pool.database.load("VM_guest_metrics", [guest])
    cpu_info = {"cpu_count": "16", "vendor": "v", "features_hvm": "f", "features_pv": "e"}
    for host in ("h1", "h2"):
        pool.database.write(pool.database.host[host], "cpu_info", cpu_info)
    pool.database.write(pool.database.the_pool, "cpu_info", {"features_hvm_host": "7", "features_pv_host": "6"})
    paused = (*SENT[message][:-2], True, False)
    getattr(session.xenapi.VM, message)("vm", *paused)
    metrics = pool.database.VM_metrics["vmm"]
    assert (vm.power_state, vm.domain_type, vm.domid > 0) == ("Paused", "hvm", True)
    assert (metrics.current_domain_type, metrics.hvm, metrics.nested_virt, metrics.nomigrate) == (
        "hvm",
        True,
        False,
        True,
    )
    assert metrics.VCPUs_number == 2
    assert vm.memory_target == 3 * GIB, "dynamic_max, since there is enough (planning.md, 6.6)"
    assert vm.suspend_VDI == NULL
    starts = message.startswith("start")
    assert vm.last_boot_CPU_flags == {"vendor": "v", "features": "7" if starts else "0"}
    assert vm.memory_overhead == (37 * MIB if starts else 1)
    assert metrics.start_time == (pool.clock.date() if starts else EPOCH), "a resumed VM keeps when it started"
    assert (vm.guest_metrics == "guest") == (not starts)
    assert list(pool.database.VM_guest_metrics.rows) == [vm.guest_metrics], "the guest reports what it reported before"
    assert pool.database.VM_guest_metrics[vm.guest_metrics].other == {"feature-balloon": "1"}
    assert (vm.bios_strings.get("bios-vendor"), vm.bios_strings.get("oem-1")) == (
        ("Xen", "Xen") if starts else (None, None)
    )


@pytest.mark.parametrize(("kind", "hvm"), [("hvm", True), ("pvh", True), ("pv_in_pvh", True), ("pv", False)])
def test_domain_types(pool: Pool, session: Session, make: AddVM, kind: str, hvm: bool) -> None:
    make(domain_type=kind)
    send(session, "start")
    metrics = pool.database.VM_metrics["vmm"]
    assert (metrics.current_domain_type, metrics.hvm) == (kind, hvm)


@pytest.mark.parametrize(
    ("platform", "boot", "expected"),
    [
        ({}, {}, "qemu-upstream-compat"),
        ({}, {"firmware": "uefi"}, "qemu-upstream-uefi"),
        ({"device-model": "qemu-trad"}, {"firmware": "bios"}, "qemu-upstream-compat"),
        ({"device-model": "qemu-trad"}, {"firmware": "uefi"}, "qemu-upstream-uefi"),
        ({"device-model": "qemu-upstream-compat"}, {"firmware": "uefi"}, "qemu-upstream-compat"),
    ],
)
def test_device_model(
    session: Session, make: AddVM, platform: dict[str, str], boot: dict[str, str], expected: str
) -> None:
    vm = make(platform=platform, HVM_boot_params=boot)
    send(session, "start")
    assert vm.platform["device-model"] == expected


@pytest.mark.parametrize("message", ["clean_shutdown", "hard_shutdown", "suspend"])
def test_a_vm_without_domain_has_no_vcpus(pool: Pool, session: Session, make: AddVM, message: str) -> None:
    """xenopsd's halted_vm; guidances that are followed by losing the domain are gone (force_state_reset)."""
    guidances = ("restart_vm", "restart_device_model", "reboot_host")
    vm = make(power_state="Running", pending_guidances=guidances, pending_guidances_full=guidances)
    metrics = pool.database.VM_metrics["vmm"]
    metrics.VCPUs_number, metrics.numa_nodes, metrics.numa_optimised = 2, 1, True
    send(session, message)
    assert (metrics.VCPUs_number, metrics.numa_nodes, metrics.numa_optimised) == (0, 0, False)
    left = ("restart_vm", "reboot_host") if message == "suspend" else ("reboot_host",)
    assert (vm.pending_guidances, vm.pending_guidances_full) == (left, left)


def test_a_suspended_vm_keeps_what_xenopsd_knows(pool: Pool, session: Session, make: AddVM) -> None:
    """With it, and the image, a VM may be created as Suspended."""
    vm = make(power_state="Running", last_booted_record="(struct)", last_boot_CPU_flags={"vendor": "v"})
    refused_before = session.xenapi.VM.get_record("vm") | {"power_state": "Suspended"}
    assert refused(pool, lambda: session.xenapi.VM.create(refused_before))[0] == "VM_BAD_POWER_STATE"
    send(session, "suspend")
    assert json.loads(vm.last_booted_record) == {"nomigrate": False, "nested_virt": False}
    copy = session.xenapi.VM.create(session.xenapi.VM.get_record("vm"))
    assert session.xenapi.VM.get_last_booted_record(copy) == vm.last_booted_record
    send(session, "resume")
    assert vm.last_booted_record, "it stays"


@pytest.mark.parametrize(("state", "seconds"), [("Running", 30.0), ("Paused", 30.0), ("Suspended", 0.0)])
def test_hard_shutdown_sleeps_shutdown_delay(
    pool: Pool, session: Session, make: AddVM, state: str, seconds: float
) -> None:
    make(power_state=state, shutdown_delay=30)
    began = pool.clock.now()
    send(session, "hard_shutdown")
    assert pool.clock.now() - began == seconds


@pytest.mark.parametrize("message", ["suspend", "clean_shutdown", "hard_shutdown"])
def test_leaves_its_host(pool: Pool, session: Session, make: AddVM, message: str) -> None:
    vm = make(power_state="Running", ha_always_run=True, requires_reboot=True, memory_target=2 * GIB)
    metrics = pool.database.VM_metrics["vmm"]
    metrics.hvm = True
    metrics.memory_actual = 2 * GIB
    send(session, message)
    free = 61 * GIB
    assert session.xenapi.host.compute_free_memory("h1") == str(free)
    assert (vm.resident_on, vm.domid, vm.ha_always_run, vm.memory_target) == (NULL, -1, False, 0)
    assert vm.requires_reboot == (message == "suspend")
    assert metrics.current_domain_type == ("pvh" if message == "suspend" else "unspecified")
    assert (metrics.hvm, metrics.memory_actual) == (False, 2 * GIB)
    assert (vm.suspend_VDI != NULL) == (message == "suspend")


@pytest.mark.parametrize("message", ["suspend", "clean_shutdown", "hard_shutdown", "pause", "pool_migrate"])
def test_host_is_offline(pool: Pool, session: Session, make: AddVM, message: str) -> None:
    """The coordinator need not be live to be reached."""
    vm = make(power_state="Running", resident_on="h2")
    pool.database.host_metrics["h2m"].live = False
    sent = ("h1", {}) if message == "pool_migrate" else ()
    before = everything(pool)
    with pytest.raises(Failure) as raised:
        getattr(session.xenapi.VM, message)("vm", *sent)
    assert raised.value.details == ["HOST_OFFLINE", "h2"]
    assert everything(pool) == before
    pool.database.host_metrics["h1m"].live = False
    if message != "pool_migrate":
        make("other", power_state="Running")
        send(session, message, "other")
    assert vm.power_state == "Running"


class TestStart:
    def test_licence(self, pool: Pool, session: Session, make: AddVM) -> None:
        make(power_state="Paused")
        pool.database.the_pool.restrictions = {"restrict_vm_start": "true"}
        expected = ["LICENCE_RESTRICTION", "VM_start"]
        for vm in ("vm", "nothing"):
            assert refused(pool, lambda: send(session, "start", vm)) == expected  # noqa: B023
            assert refused(pool, lambda: send(session, "start_on", vm)) == expected  # noqa: B023

    def test_order_of_start_on(self, pool: Pool, session: Session, make: AddVM) -> None:
        database = pool.database
        make(power_state="Running", is_control_domain=True, affinity="h1")
        database.the_pool.other_config = {"rolling_upgrade_in_progress": ""}
        database.the_pool.restrictions = {"restrict_vm_start": "true"}
        database.host["h2"].current_operations = {"t": "evacuate"}
        database.host["h2"].software_version = {"xapi": "26.16"}

        def details() -> list[str]:
            return refused(pool, lambda: send(session, "start_on"))

        assert details() == ["NOT_SUPPORTED_DURING_UPGRADE"]
        assert refused(pool, lambda: send(session, "resume_on")) == ["NOT_SUPPORTED_DURING_UPGRADE"]
        for message in ("start_on", "resume_on"):
            assert refused(pool, lambda: send(session, message, "nothing")) == ["NOT_SUPPORTED_DURING_UPGRADE"]  # noqa: B023
        database.the_pool.other_config = {}
        assert details() == ["LICENCE_RESTRICTION", "VM_start"]
        assert refused(pool, lambda: send(session, "resume_on"))[0] == "VM_BAD_POWER_STATE", "not for its affinity"
        database.the_pool.restrictions = {}
        assert details()[0] == "OPERATION_NOT_ALLOWED"
        database.VM["vm"].affinity = NULL
        assert details() == ["HOST_EVACUATE_IN_PROGRESS", "h2"]
        database.host["h2"].current_operations = {}
        assert details()[0] == "VM_BAD_POWER_STATE"

    @pytest.mark.parametrize("message", ["start_on", "resume_on"])
    def test_hosts_of_the_highest_version_start_vms_during_an_upgrade(
        self, pool: Pool, session: Session, make: AddVM, message: str
    ) -> None:
        vm = make(power_state="Suspended" if message == "resume_on" else "Halted")
        database = pool.database
        database.the_pool.other_config = {"rolling_upgrade_in_progress": ""}
        database.host["h1"].software_version = {"xapi": "26.17", "xen": "4.20", "platform_version": "3.4.0"}
        database.host["h2"].software_version = {"xapi": "26.17", "xen": "4.17", "platform_version": "3.3.9"}
        assert refused(pool, lambda: send(session, message)) == ["NOT_SUPPORTED_DURING_UPGRADE"]
        database.host["h2"].software_version["platform_version"] = "3.4.0"
        send(session, message)
        assert vm.resident_on == "h2"

    @pytest.mark.parametrize("message", ["start", "start_on"])
    def test_nested_virtualisation(self, pool: Pool, session: Session, make: AddVM, message: str) -> None:
        """Pinned memory, then a flag that is one, then the licence; the VM is not left behind on a host."""
        vm = make(platform={"nested-virt": "TRUE", "device-model": "m"})

        def details() -> list[str]:
            return refused(pool, lambda: send(session, message))

        assert details() == ["MEMORY_CONSTRAINT_VIOLATION_MAXPIN", "nested virt"]
        for field in ("memory_dynamic_min", "memory_dynamic_max"):
            pool.database.write(vm, field, 4 * GIB)
        assert details() == ["LICENCE_RESTRICTION", "Nested_virt"]
        vm.platform = {"nested-virt": "maybe", "device-model": "m"}
        assert details() == ["INVALID_VALUE", "platform:nested-virt", "maybe"]
        vm.platform = {"nested-virt": "1", "device-model": "m"}
        pool.database.the_pool.restrictions = {"restrict_nested_virt": "false"}
        send(session, message)
        assert pool.database.VM_metrics["vmm"].nested_virt

    def test_force_skips_the_check_of_pinned_memory_alone(self, pool: Pool, session: Session, make: AddVM) -> None:
        vm = make(platform={"nested-virt": "maybe", "device-model": "m"})
        start = session.xenapi.VM.start
        assert refused(pool, lambda: start("vm", False, True)) == ["INVALID_VALUE", "platform:nested-virt", "maybe"]
        vm.platform = {"nested-virt": "true", "device-model": "m"}
        assert refused(pool, lambda: start("vm", False, True)) == ["LICENCE_RESTRICTION", "Nested_virt"]
        pool.database.the_pool.restrictions = {"restrict_nested_virt": "false"}
        start("vm", False, True)
        assert vm.power_state == "Running"

    def test_sriov_vgpu(self, pool: Pool, session: Session, make: AddVM) -> None:
        make(platform={"device-model": "m"})
        gpu(pool.database, "h1", "nvidia_sriov")
        pool.database.load("PCI", [row(pool.database, "PCI", "vf", physical_function="h1-pci")])
        vgpu(pool.database, "vm", "nvidia_sriov")
        for host in ("h1", "h2"):
            pool.database.write(pool.database.host[host], "chipset_info", {"iommu": "true"})
        pool.database.the_pool.restrictions = {"restrict_vgpu": "false"}
        expected = ["MEMORY_CONSTRAINT_VIOLATION_MAXPIN", "SRIOV vGPU"]
        assert refused(pool, lambda: send(session, "start")) == expected

    def test_a_reserved_host_is_taken_unchecked(self, pool: Pool, session: Session, make: AddVM) -> None:
        vm = make()
        session.xenapi.host.allocate_resources_for_vm("h2", "vm", True)
        pool.database.host["h2"].enabled = False
        send(session, "start")
        assert vm.resident_on == "h2"

    @pytest.mark.parametrize("message", ["start", "resume"])
    def test_a_reserved_host_that_is_offline(self, pool: Pool, session: Session, make: AddVM, message: str) -> None:
        """The reservation is given back; nothing has become of the VM."""
        vm = make(power_state=ALLOWED[message][0], ha_restart_priority="restart")
        session.xenapi.host.allocate_resources_for_vm("h2", "vm", True)
        pool.database.host_metrics["h2m"].live = False
        with pytest.raises(Failure) as raised:
            send(session, message)
        assert raised.value.details == ["HOST_OFFLINE", "h2"]
        assert (vm.power_state, vm.scheduled_to_be_resident_on) == (ALLOWED[message][0], NULL)
        assert (vm.ha_always_run, vm.resident_on, vm.domid) == (False, NULL, -1)
        assert pool.database.host["h2"].scheduled == {}

    def test_guests_that_do_not_shrink(self, pool: Pool, session: Session, make: AddVM) -> None:
        class Stuck(Guests):
            def start(self, vm: Any, host: Any) -> Generator[float, None, int]:
                assert vm.scheduled_to_be_resident_on == host.ref
                yield 30.0
                raise Failure(["VMS_FAILED_TO_COOPERATE", "other"])

        pool.guests = Stuck(pool.database)
        vm = make(platform={"device-model": "m"})
        assert refused(pool, lambda: send(session, "start")) == ["VMS_FAILED_TO_COOPERATE", "other"]
        assert (vm.current_operations, pool.database.host["h1"].current_operations) == ({}, {})

    def test_domain_numbers_are_new(self, session: Session, make: AddVM) -> None:
        make("old", power_state="Running", domid=17)
        numbers = []
        for name in ("a", "b"):
            vm = make(name)
            send(session, "start", name)
            numbers.append(vm.domid)
        assert numbers == [18, 19]

    def test_shadow_multiplier_is_what_the_domain_has(self, session: Session, make: AddVM) -> None:
        vm = make(HVM_shadow_multiplier=1.3)
        pv = make("pv", HVM_shadow_multiplier=1.3, domain_type="pv")
        send(session, "start")
        send(session, "start", "pv")
        assert (vm.HVM_shadow_multiplier, pv.HVM_shadow_multiplier) == (44 / 34, 1.0)


class TestResume:
    @pytest.mark.parametrize("message", ["resume", "resume_on"])
    def test_without_an_image(self, pool: Pool, session: Session, make: AddVM, message: str) -> None:
        vm = make(power_state="Suspended", suspend_VDI=NULL)
        with pytest.raises(Failure) as raised:
            send(session, message)
        assert raised.value.details == ["VM_HAS_NO_SUSPEND_VDI", "VM", "vm"]
        assert (vm.power_state, vm.scheduled_to_be_resident_on) == ("Halted", NULL)

    def test_cpus(self, pool: Pool, session: Session, make: AddVM) -> None:
        """Asked on the host as well, unless forced; a host that the client names is not asked before."""
        vm = make(power_state="Suspended")
        other_cpu(pool.database, vm)
        assert refused(pool, lambda: send(session, "resume")) == ["NO_HOSTS_AVAILABLE"]
        expected = ["VM_INCOMPATIBLE_WITH_THIS_HOST", "vm", "h2", OTHER_VENDOR]
        assert refused(pool, lambda: send(session, "resume_on")) == expected
        session.xenapi.VM.resume_on("vm", "h2", False, True)
        assert vm.power_state == "Running"

    def test_after_suspend(self, pool: Pool, session: Session, make: AddVM) -> None:
        vm = make(power_state="Running")
        send(session, "suspend")
        send(session, "resume")
        assert (vm.power_state, vm.suspend_VDI, vm.memory_target) == ("Running", NULL, 3 * GIB)


class TestShutdown:
    def test_guest_does_not_answer(self, pool: Pool, session: Session, make: AddVM) -> None:
        class Deaf(Hooks):
            def shut_down_guest(self, vm: Any) -> None:
                raise Failure(["VM_SHUTDOWN_TIMEOUT", vm.ref, "1200."])

        pool.hooks = Deaf()
        make(power_state="Running")
        assert refused(pool, lambda: send(session, "clean_shutdown")) == ["VM_SHUTDOWN_TIMEOUT", "vm", "1200."]

    def test_suspended_without_storage(self, pool: Pool, session: Session, make: AddVM) -> None:
        make(power_state="Suspended")
        storage(pool.database)
        disk(pool.database, "vm")
        assert refused(pool, lambda: send(session, "hard_shutdown")) == ["NO_HOSTS_AVAILABLE"]
        make("running", power_state="Running")
        send(session, "hard_shutdown", "running")

    def test_suspended_without_a_live_host(self, pool: Pool, session: Session, make: AddVM) -> None:
        vm = make(power_state="Suspended")
        for name in ("h1m", "h2m"):
            pool.database.host_metrics[name].live = False
        assert refused(pool, lambda: send(session, "hard_shutdown")) == ["NO_HOSTS_AVAILABLE"]
        pool.database.host_metrics["h2m"].live = True
        send(session, "hard_shutdown")
        assert vm.power_state == "Halted"

    def test_hard_shutdown_lets_others_wait(self, make: AddVM) -> None:
        """It cancels what moves or stops the VM, and nothing else."""
        pool = Pool(build_database(), clock=Clock(0.0, Pace.DRIVEN))
        session = Session(pool)
        session.login_with_password("root", "")
        vm = vm_row(pool.database, "vm", power_state="Running", resident_on="h1", memory_target=9 * GIB)
        pool.database.load("VM", [vm])
        task = session.xenapi.Async.VM.wait_memory_target_live("vm")
        pool.database.write(pool.database.VM_metrics["vmm"], "memory_actual", 2 * GIB)
        session.xenapi.VM.hard_shutdown("vm")
        pool.clock.advance(2)
        assert session.xenapi.task.get_status(task) == "pending"

    def test_shutdown_delay(self, pool: Pool, session: Session, make: AddVM) -> None:
        vm = make(power_state="Running", shutdown_delay=40)
        began = pool.clock.now()
        send(session, "clean_shutdown")
        assert (vm.power_state, pool.clock.now() - began) == ("Halted", 40.0)

    def test_suspend_image(self, pool: Pool, session: Session, make: AddVM) -> None:
        sizes = []

        class Full(Hooks):
            def create_suspend_image(self, vm: Any, size: int) -> None:
                sizes.append(size)
                raise Failure(["SR_FULL"])

        pool.hooks = Full()
        make(power_state="Running")
        assert refused(pool, lambda: send(session, "suspend")) == ["SR_FULL"]
        assert sizes == [(4 * GIB * 120 // 100) * 105 // 100 + 100 * MIB]


class TestMigrate:
    def test_counts_on_both_hosts(self, pool: Pool, session: Session, make: AddVM) -> None:
        seen = []

        class Slow(Guests):
            def start(self, vm: Any, host: Any) -> Generator[float, None, int]:
                yield 1.0
                seen.append([session.api.host.compute_free_memory(ref) for ref in ("h1", "h2")])
                return int(vm.memory_dynamic_min)

        pool.guests = Slow(pool.database)
        vm = make(power_state="Running")
        send(session, "pool_migrate")
        used = 2 * GIB + 37 * MIB
        assert seen == [[61 * GIB - used, 61 * GIB - used]]
        assert [session.api.host.compute_free_memory(ref) for ref in ("h1", "h2")] == [61 * GIB, 61 * GIB - used]
        assert (vm.resident_on, vm.scheduled_to_be_resident_on) == ("h2", NULL)

    def test_operations_are_shown_while_it_lasts(self, make: AddVM) -> None:
        clock = Clock(0.0)
        database = build_database()

        class Slow(Guests):
            def start(self, vm: Any, host: Any) -> Generator[float, None, int]:
                shown.append((dict(vm.current_operations), dict(host.current_operations)))
                yield 1.0
                shown.append((dict(vm.current_operations), dict(host.current_operations)))
                return int(vm.memory_dynamic_min)

        shown: list[Any] = []
        pool = Pool(database, clock=clock, guests=Slow(database))
        session = Session(pool)
        session.login_with_password("root", "")
        database.load("VM", [vm_row(database, "vm", power_state="Running", resident_on="h1", domain_type="pv")])
        database.VM_metrics["vmm"].current_domain_type = "pv"
        task = session.xenapi.Async.VM.pool_migrate("vm", "h2", {})
        assert shown == [({}, {}), ({task: "pool_migrate"}, {task: "vm_migrate"})]
        assert (database.VM["vm"].current_operations, database.host["h2"].current_operations) == ({}, {})

    def test_licence_and_cpus(self, pool: Pool, session: Session, make: AddVM) -> None:
        pool.database.the_pool.restrictions = {"restrict_xen_motion": "true"}
        vm = make(power_state="Running", blocked_operations={"pool_migrate": "no"})
        other_cpu(pool.database, vm)
        expected = ["VM_INCOMPATIBLE_WITH_THIS_HOST", "vm", "h2", OTHER_VENDOR]
        assert refused(pool, lambda: send(session, "pool_migrate")) == expected
        forced = {"force": "true"}
        assert refused(pool, lambda: session.xenapi.VM.pool_migrate("vm", "h2", forced))[0] == "OPERATION_BLOCKED"
        pool.database.VM["vm"].blocked_operations = {}
        expected = ["LICENCE_RESTRICTION", "Xen_motion"]
        assert refused(pool, lambda: session.xenapi.VM.pool_migrate("vm", "h2", forced)) == expected

    def test_force_moves_what_is_immobile(self, pool: Pool, session: Session, make: AddVM) -> None:
        vm = make(power_state="Running")
        pool.database.VM_metrics["vmm"].nomigrate = True
        assert refused(pool, lambda: send(session, "pool_migrate")) == ["VM_IS_IMMOBILE", "vm"]
        session.xenapi.VM.pool_migrate("vm", "h2", {"force": "true"})
        assert vm.resident_on == "h2"

    def test_not_to_an_older_host_during_an_upgrade(self, pool: Pool, session: Session, make: AddVM) -> None:
        make(power_state="Running")
        pool.database.the_pool.other_config = {"rolling_upgrade_in_progress": ""}
        pool.database.host["h2"].software_version = {"xapi_build": "26.16.9"}
        assert refused(pool, lambda: send(session, "pool_migrate")) == ["NOT_SUPPORTED_DURING_UPGRADE"]
        pool.database.host["h2"].software_version = pool.database.host["h1"].software_version
        send(session, "pool_migrate")

    def test_cpus_of_a_halted_vm_are_not_asked_for(self, pool: Pool, session: Session, make: AddVM) -> None:
        other_cpu(pool.database, make())
        assert refused(pool, lambda: send(session, "pool_migrate"))[0] == "VM_BAD_POWER_STATE"

    def test_a_host_that_is_emptied_takes_nothing(self, pool: Pool, session: Session, make: AddVM) -> None:
        make(power_state="Running")
        make("suspended", power_state="Suspended")
        pool.database.host["h2"].current_operations = {"t": "evacuate"}
        expected = ["OTHER_OPERATION_IN_PROGRESS", "host", "h2", "evacuate", "t"]
        assert refused(pool, lambda: send(session, "pool_migrate")) == expected
        assert refused(pool, lambda: send(session, "resume_on", "suspended")) == expected

    def test_to_its_own_host(self, pool: Pool, session: Session, make: AddVM) -> None:
        vm = make(power_state="Running", memory_overhead=0, **limits(30 * GIB))
        session.xenapi.VM.pool_migrate("vm", "h1", {})
        assert (vm.resident_on, vm.scheduled_to_be_resident_on) == ("h1", NULL)
        pool.database.update(vm, limits(31 * GIB))
        details = refused(pool, lambda: session.xenapi.VM.pool_migrate("vm", "h1", {}))
        assert details[0] == "HOST_NOT_ENOUGH_FREE_MEMORY"
        assert int(details[2]) == 30 * GIB

    def test_shut_down_while_it_moves(self, pool: Pool, session: Session, make: AddVM) -> None:
        """A hard shutdown wins: the migration is cancelled and its reservation given back."""

        class Slow(Guests):
            def start(self, vm: Any, host: Any) -> Generator[float, None, int]:
                pool.clock.call_at(pool.clock.now() + 1, lambda: session.xenapi.VM.hard_shutdown("vm"))
                yield 2.0
                return int(vm.memory_dynamic_min)

        pool.guests = Slow(pool.database)
        vm = make(power_state="Running")
        task = session.xenapi.Async.VM.pool_migrate("vm", "h2", {})
        assert session.xenapi.task.get_status(task) == "cancelled"
        assert session.xenapi.task.get_error_info(task) == ["TASK_CANCELLED", task]
        assert (vm.power_state, vm.scheduled_to_be_resident_on, vm.current_operations) == ("Halted", NULL, {})
        assert pool.database.host["h2"].scheduled == {}


class TestReboot:
    @pytest.mark.parametrize(("message", "state"), [("clean_reboot", "Running"), ("hard_reboot", "Paused")])
    def test_another_domain_on_the_same_host(
        self, pool: Pool, session: Session, make: AddVM, message: str, state: str
    ) -> None:
        """Whatever the record says now: no memory is reserved anew (CA-31903)."""
        vm = make(power_state=state, domid=7, memory_target=2 * GIB, VCPUs_at_startup=1)
        metrics = pool.database.VM_metrics["vmm"]
        metrics.VCPUs_number = 2
        pool.clock.advance(60)
        free = session.xenapi.host.compute_free_memory("h1")
        getattr(session.xenapi.VM, message)("vm")
        assert (vm.power_state, vm.resident_on, vm.memory_target) == ("Running", "h1", 2 * GIB)
        assert vm.domid > 7
        assert (metrics.VCPUs_number, metrics.start_time) == (1, pool.clock.date())
        assert session.xenapi.host.compute_free_memory("h1") == free

    def test_shutdown_does_not_depend_on_the_guest(self, pool: Pool, session: Session, make: AddVM) -> None:
        class Deaf(Hooks):
            def shut_down_guest(self, vm: Any) -> None:
                raise Failure(["VM_SHUTDOWN_TIMEOUT", vm.ref, "1200"])

        pool = Pool(pool.database, clock=pool.clock, hooks=Deaf())
        session = Session(pool)
        session.login_with_password("root", "")
        vm = make(power_state="Running", shutdown_delay=30, ha_always_run=True)
        began = pool.clock.now()
        session.xenapi.VM.shutdown("vm")
        assert (vm.power_state, vm.ha_always_run, vm.resident_on) == ("Halted", False, NULL)
        assert pool.clock.now() - began == 30

    def test_power_state_reset(self, pool: Pool, session: Session, make: AddVM) -> None:
        vm = make(power_state="Running", resident_on="h2")
        assert refused(pool, lambda: session.xenapi.VM.power_state_reset("vm")) == ["HOST_IS_LIVE", "h2"]
        pool.database.host_metrics["h2m"].live = False
        session.xenapi.VM.power_state_reset("vm")
        assert (vm.power_state, vm.resident_on) == ("Halted", NULL)
