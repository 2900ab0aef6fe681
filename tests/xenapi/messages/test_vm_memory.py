"""The memory messages of a VM: success in each allowed power state, every failure, and the order of checks."""

from collections.abc import Callable
from typing import Any

import pytest
from small_pool import everything, refused

from xenmem.units import GIB, MIB
from xenmem.xenapi import Failure, Guests, Pool, Session

POWER_STATES = ("Halted", "Paused", "Running", "Suspended")

AddVM = Callable[..., Any]

SETTERS: dict[str, tuple[Any, ...]] = {
    "set_memory": (str(2 * GIB),),
    "set_memory_limits": (str(1 * GIB), str(8 * GIB), str(2 * GIB), str(4 * GIB)),
    "set_memory_static_range": (str(2 * GIB), str(8 * GIB)),
    "set_memory_static_max": (str(8 * GIB),),
    "set_memory_static_min": (str(2 * GIB),),
    "set_memory_dynamic_range": (str(1 * GIB), str(4 * GIB)),
    "set_memory_dynamic_max": (str(4 * GIB),),
    "set_memory_dynamic_min": (str(1 * GIB),),
}
OPERATION = {
    **dict.fromkeys(("set_memory", "set_memory_limits"), "changing_memory_limits"),
    **dict.fromkeys(
        ("set_memory_static_range", "set_memory_static_max", "set_memory_static_min"), "changing_static_range"
    ),
    **dict.fromkeys(
        ("set_memory_dynamic_range", "set_memory_dynamic_max", "set_memory_dynamic_min"), "changing_dynamic_range"
    ),
}
SHOWN = {"changing_memory_limits": "(unknown operation)"}


def limits_of(vm: Any) -> tuple[int, int, int, int, int]:
    """In GiB: static_min, dynamic_min, target, dynamic_max, static_max."""
    return (
        vm.memory_static_min // GIB,
        vm.memory_dynamic_min // GIB,
        vm.memory_target // GIB,
        vm.memory_dynamic_max // GIB,
        vm.memory_static_max // GIB,
    )


@pytest.mark.parametrize(
    ("message", "after"),
    [
        ("set_memory", (1, 2, 2, 2, 2)),
        ("set_memory_limits", (1, 2, 2, 4, 8)),
        ("set_memory_static_range", (2, 2, 0, 3, 8)),
        ("set_memory_static_max", (1, 2, 0, 3, 8)),
        ("set_memory_static_min", (2, 2, 0, 3, 4)),
        ("set_memory_dynamic_range", (1, 1, 1, 4, 4)),
        ("set_memory_dynamic_max", (1, 2, 2, 4, 4)),
        ("set_memory_dynamic_min", (1, 1, 1, 3, 4)),
    ],
)
def test_sets_a_halted_vm(session: Session, add_vm: AddVM, message: str, after: tuple[int, ...]) -> None:
    vm = add_vm()
    assert getattr(session.xenapi.VM, message)("vm", *SETTERS[message]) == ""
    assert limits_of(vm) == after
    assert session.xenapi.VM.get_memory_overhead("vm") == session.xenapi.VM.compute_memory_overhead("vm")


@pytest.mark.parametrize("message", [name for name in SETTERS if "dynamic" in name])
def test_sets_a_running_vm(session: Session, add_vm: AddVM, message: str) -> None:
    vm = add_vm(power_state="Running")
    overhead = vm.memory_overhead
    getattr(session.xenapi.VM, message)("vm", *SETTERS[message])
    assert vm.memory_target == vm.memory_dynamic_max, "the host has it, and squeezed gives it (planning.md, 6.4)"
    assert vm.memory_overhead == overhead


@pytest.mark.parametrize("message", SETTERS)
def test_power_states(pool: Pool, session: Session, add_vm: AddVM, message: str) -> None:
    allowed = ("Halted", "Running") if "dynamic" in message else ("Halted",)
    for state in POWER_STATES:
        if state not in allowed:
            add_vm(state, power_state=state)
            expected = ["VM_BAD_POWER_STATE", state, ", ".join(allowed).lower(), state.lower()]
            assert refused(pool, lambda: getattr(session.xenapi.VM, message)(state, *SETTERS[message])) == expected  # noqa: B023


@pytest.mark.parametrize("message", [name for name in SETTERS if "dynamic" not in name])
def test_power_states_of_control_domains(pool: Pool, session: Session, add_vm: AddVM, message: str) -> None:
    add_vm(power_state="Paused", is_control_domain=True)
    expected = ["VM_BAD_POWER_STATE", "vm", "halted, running", "paused"]
    assert refused(pool, lambda: getattr(session.xenapi.VM, message)("vm", *SETTERS[message])) == expected


@pytest.mark.parametrize("message", SETTERS)
@pytest.mark.parametrize("ref", ["nothing", "OpaqueRef:NULL", "", "h1"])
def test_no_such_vm(pool: Pool, session: Session, message: str, ref: str) -> None:
    expected = ["HANDLE_INVALID", "VM", ref]
    assert refused(pool, lambda: getattr(session.xenapi.VM, message)(ref, *SETTERS[message])) == expected


@pytest.mark.parametrize("message", SETTERS)
def test_operation_checks_in_order(pool: Pool, session: Session, add_vm: AddVM, message: str) -> None:
    operation = OPERATION[message]
    vm = add_vm(
        power_state="Suspended",
        is_a_template=True,
        is_a_snapshot=True,
        blocked_operations={operation: "not now"},
        current_operations={"t1": "clone"},
    )
    pool.database.the_pool.other_config = {"rolling_upgrade_in_progress": ""}

    def details() -> list[str]:
        return refused(pool, lambda: getattr(session.xenapi.VM, message)("vm", *SETTERS[message]))

    assert details() == ["OPERATION_BLOCKED", "vm", "not now"]
    vm.blocked_operations = {}
    assert details()[0] == "VM_BAD_POWER_STATE"
    vm.power_state = "Halted"
    assert details() == ["OTHER_OPERATION_IN_PROGRESS", "VM", "vm", "clone", "t1"]
    vm.current_operations = {"t1": "clone", "t2": "copy"}
    assert details() == ["OTHER_OPERATION_IN_PROGRESS", "VM", "vm", "{clone,copy}", "{t1,t2}"]
    vm.current_operations = {}
    assert details() == ["VM_IS_SNAPSHOT", "vm", SHOWN.get(operation, operation)]
    vm.is_a_snapshot = False
    assert details() == ["NOT_SUPPORTED_DURING_UPGRADE"]
    pool.database.the_pool.other_config = {}
    getattr(session.xenapi.VM, message)("vm", *SETTERS[message])


@pytest.mark.parametrize("message", SETTERS)
def test_out_of_order(pool: Pool, session: Session, add_vm: AddVM, message: str) -> None:
    add_vm()
    wrong = {
        "set_memory": (str(1 * GIB - 1),),
        "set_memory_limits": (str(2 * GIB), str(8 * GIB), str(2 * GIB - 1), str(4 * GIB)),
        "set_memory_static_range": (str(2 * GIB + 1), str(8 * GIB)),
        "set_memory_static_max": (str(3 * GIB - 1),),
        "set_memory_static_min": (str(2 * GIB + 1),),
        "set_memory_dynamic_range": (str(2 * GIB), str(2 * GIB - 1)),
        "set_memory_dynamic_max": (str(2 * GIB - 1),),
        "set_memory_dynamic_min": (str(3 * GIB + 1),),
    }[message]
    expected = ["MEMORY_CONSTRAINT_VIOLATION_ORDER"]
    assert refused(pool, lambda: getattr(session.xenapi.VM, message)("vm", *wrong)) == expected


@pytest.mark.parametrize("message", SETTERS)
def test_pinned(pool: Pool, session: Session, add_vm: AddVM, message: str) -> None:
    """DMC disabled goes before control domain, and that before nested virtualisation; a missing entry disables DMC."""
    vm = add_vm(is_control_domain=True)
    metrics = pool.database.VM_metrics["vmm"]
    metrics.nested_virt = True
    pool.database.the_pool.restrictions = {}
    if message == "set_memory":
        session.xenapi.VM.set_memory("vm", str(2 * GIB))
        assert limits_of(vm) == (1, 2, 2, 2, 2)
        return

    def details() -> list[str]:
        return refused(pool, lambda: getattr(session.xenapi.VM, message)("vm", *SETTERS[message]))

    nested = OPERATION[message] == "changing_dynamic_range"
    if nested:
        assert details() == ["VM_IS_USING_NESTED_VIRT", "vm"]
        metrics.nested_virt = False
    assert details() == ["MEMORY_CONSTRAINT_VIOLATION_MAXPIN", "DMC disabled"]
    pool.database.the_pool.restrictions = {"restrict_dmc": "false"}
    assert details() == ["MEMORY_CONSTRAINT_VIOLATION_MAXPIN", "control domain"]
    vm.is_control_domain = False
    if not nested:
        assert details() == ["MEMORY_CONSTRAINT_VIOLATION_MAXPIN", "nested virt"]
    metrics.nested_virt = False
    getattr(session.xenapi.VM, message)("vm", *SETTERS[message])


def test_pinned_vm_out_of_order(pool: Pool, session: Session, add_vm: AddVM) -> None:
    add_vm(is_control_domain=True)
    send = session.xenapi.VM.set_memory_limits
    assert refused(pool, lambda: send("vm", str(3 * GIB), str(2 * GIB), str(2 * GIB), str(2 * GIB))) == [
        "MEMORY_CONSTRAINT_VIOLATION_MAXPIN",
        "control domain",
    ]


def test_nested_virt_of_the_platform_counts_without_metrics_only(pool: Pool, session: Session, add_vm: AddVM) -> None:
    vm = add_vm(platform={"nested-virt": "True"})
    session.xenapi.VM.set_memory_dynamic_range("vm", str(1 * GIB), str(2 * GIB))
    vm.metrics = "OpaqueRef:NULL"
    vm.is_a_template = True
    send = session.xenapi.VM.set_memory_dynamic_range
    assert refused(pool, lambda: send("vm", "1", "1")) == ["VM_IS_USING_NESTED_VIRT", "vm"]
    send_static = session.xenapi.VM.set_memory_static_max
    assert refused(pool, lambda: send_static("vm", str(8 * GIB)))[1] == "nested virt"


def test_zero_and_negative_sizes(session: Session, add_vm: AddVM) -> None:
    vm = add_vm()
    session.xenapi.VM.set_memory_limits("vm", "-3", "0", "-2", "-1")
    assert (vm.memory_static_min, vm.memory_dynamic_min, vm.memory_dynamic_max, vm.memory_static_max) == (-3, -2, -1, 0)
    session.xenapi.VM.set_memory_limits("vm", str(-(2**63)), str(2**63 - 1), str(-(2**63)), str(2**63 - 1))
    assert -(2**63) <= vm.memory_overhead < 2**63


class TestRunning:
    """dynamic_min of a running VM, against the free memory of its host."""

    FREE = 64 * GIB - 1 * GIB - 2 * GIB - 2 * GIB - 37 * MIB

    def test_free_memory(self, session: Session, add_vm: AddVM) -> None:
        add_vm(power_state="Running")
        assert session.api.host.compute_free_memory("h1") == self.FREE

    def test_grows_into_what_is_free_and_no_further(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        vm = add_vm(power_state="Running", memory_static_max=100 * GIB)
        send = session.xenapi.VM.set_memory_dynamic_range
        most = 2 * GIB + self.FREE
        expected = ["HOST_NOT_ENOUGH_FREE_MEMORY", str((self.FREE + 1024) // 1024), str(self.FREE // 1024)]
        assert refused(pool, lambda: send("vm", str(most + 1024), str(most + 1024))) == expected
        send("vm", str(most), str(most))
        assert vm.memory_dynamic_min == most
        assert session.xenapi.host.compute_free_memory("h1") == "0"

    def test_kib_are_truncated(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm(power_state="Running", memory_static_max=100 * GIB)
        send = session.xenapi.VM.set_memory_dynamic_min
        details = refused(pool, lambda: send("vm", str(2 * GIB + self.FREE + 1)))
        assert details == ["HOST_NOT_ENOUGH_FREE_MEMORY", str(self.FREE // 1024), str(self.FREE // 1024)]

    def test_memory_goes_before_order(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm(power_state="Running")
        send = session.xenapi.VM.set_memory_dynamic_range
        assert refused(pool, lambda: send("vm", str(99 * GIB), str(1 * GIB)))[0] == "HOST_NOT_ENOUGH_FREE_MEMORY"

    def test_dynamic_max_plays_no_part(self, session: Session, add_vm: AddVM) -> None:
        vm = add_vm(power_state="Running", memory_static_max=100 * GIB)
        session.xenapi.VM.set_memory_dynamic_max("vm", str(100 * GIB))
        assert vm.memory_dynamic_max == 100 * GIB

    def test_overcommitted_host_still_allows_shrinking(self, session: Session, add_vm: AddVM) -> None:
        vm = add_vm(power_state="Running")
        add_vm("big", power_state="Running", memory_dynamic_min=500 * GIB)
        assert session.xenapi.host.compute_free_memory("h1") == "0"
        session.xenapi.VM.set_memory_dynamic_min("vm", str(1 * GIB))
        assert vm.memory_dynamic_min == 1 * GIB

    def test_dangling_host(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm(power_state="Running", resident_on="gone")
        send = session.xenapi.VM.set_memory_dynamic_min
        assert refused(pool, lambda: send("vm", "1")) == ["HANDLE_INVALID", "host", "gone"]

    def test_host_fails_after_the_early_write(self, pool: Pool, add_vm: AddVM) -> None:
        """When dynamic_min grew, both limits are put back and the target is not; when it shrank, nothing is."""

        class Broken(Guests):
            def set_dynamic_range(self, vm: Any, before: int) -> None:
                raise Failure(["INTERNAL_ERROR", "no domain"])

        vm = add_vm(power_state="Running", memory_target=5)
        session = Session(Pool(pool.database, guests=Broken(pool.database)))
        session.login_with_password("root", "")
        for growth, change, after in (
            (1, 1, (2 * GIB, 3 * GIB)),
            (0, 1, (2 * GIB, 3 * GIB + 1)),
            (-1, -1, (2 * GIB - 1, 3 * GIB - 1)),
        ):
            with pytest.raises(Failure, match="no domain"):
                session.xenapi.VM.set_memory_dynamic_range("vm", str(2 * GIB + growth), str(3 * GIB + change))
            assert (vm.memory_dynamic_min, vm.memory_dynamic_max) == after
            assert vm.memory_target == 2 * GIB + growth


class TestOffline:
    """A message on a running VM goes to its host; the coordinator need not be live for it."""

    @pytest.mark.parametrize("message", [*(name for name in SETTERS if "dynamic" in name), "set_memory_target_live"])
    @pytest.mark.parametrize("grows", [False, True])
    def test_running_vm(self, pool: Pool, session: Session, add_vm: AddVM, message: str, grows: bool) -> None:
        """Also where dynamic_min grew, and was written before its host was asked."""
        vm = add_vm(power_state="Running", resident_on="h2")
        pool.database.host_metrics["h2m"].live = False
        value = str(3 * GIB if grows else 2 * GIB)
        sent = (value, str(4 * GIB)) if message == "set_memory_dynamic_range" else (value,)
        assert refused(pool, lambda: getattr(session.xenapi.VM, message)("vm", *sent)) == ["HOST_OFFLINE", "h2"]
        pool.database.write(vm, "resident_on", "h1")
        pool.database.host_metrics["h1m"].live = False
        assert getattr(session.xenapi.VM, message)("vm", *sent) == ""

    def test_missing_memory_goes_first(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm(power_state="Running", resident_on="h2")
        pool.database.host_metrics["h2m"].live = False
        send = session.xenapi.VM.set_memory_dynamic_min
        assert refused(pool, lambda: send("vm", str(99 * GIB)))[0] == "HOST_NOT_ENOUGH_FREE_MEMORY"
        assert refused(pool, lambda: send("vm", str(4 * GIB))) == ["HOST_OFFLINE", "h2"]  # and then their order

    def test_waiting(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm(power_state="Running", resident_on="h2")
        pool.database.host_metrics["h2m"].live = False
        assert refused(pool, lambda: session.xenapi.VM.wait_memory_target_live("vm")) == ["HOST_OFFLINE", "h2"]

    @pytest.mark.parametrize("message", [name for name in SETTERS if "dynamic" not in name])
    def test_running_control_domain(self, pool: Pool, session: Session, message: str) -> None:
        pool.database.host_metrics["h2m"].live = False
        send = getattr(session.xenapi.VM, message)
        assert refused(pool, lambda: send("h2dom0", *SETTERS[message])) == ["HOST_OFFLINE", "h2"]

    @pytest.mark.parametrize("message", SETTERS)
    def test_halted_vm_needs_no_host(self, pool: Pool, session: Session, add_vm: AddVM, message: str) -> None:
        add_vm()
        for metrics in pool.database.host_metrics:
            metrics.live = False
        assert getattr(session.xenapi.VM, message)("vm", *SETTERS[message]) == ""


class TestControlDomains:
    def test_running_domain_zero_waits_for_a_reboot(self, pool: Pool, session: Session) -> None:
        told = []

        class Hypervisor(type(pool.hooks)):  # type: ignore[misc]
            def update_hypervisor_command_line(self, vm: Any) -> None:
                told.append(vm.memory_static_max)

        session = Session(Pool(pool.database, hooks=Hypervisor()))
        session.login_with_password("root", "")
        session.xenapi.VM.set_memory("h1dom0", str(4 * GIB))
        dom0 = pool.database.VM["h1dom0"]
        assert (dom0.memory_static_max, dom0.requires_reboot) == (4 * GIB, True)
        assert told == [4 * GIB]

    def test_hypervisor_that_does_not_listen(self, pool: Pool) -> None:
        """The limits stay written; the reboot is not waited for."""

        class Deaf(type(pool.hooks)):  # type: ignore[misc]
            def update_hypervisor_command_line(self, vm: Any) -> None:
                raise Failure(["INTERNAL_ERROR", "Failed to update dom0 memory"])

        session = Session(Pool(pool.database, hooks=Deaf()))
        session.login_with_password("root", "")
        with pytest.raises(Failure, match="Failed to update dom0 memory"):
            session.xenapi.VM.set_memory("h1dom0", str(4 * GIB))
        dom0 = pool.database.VM["h1dom0"]
        assert (dom0.memory_static_max, dom0.memory_target, dom0.requires_reboot) == (4 * GIB, 4 * GIB, False)

    def test_halted_driver_domain_does_not(self, session: Session, add_vm: AddVM) -> None:
        vm = add_vm(is_control_domain=True)
        session.xenapi.VM.set_memory("vm", str(4 * GIB))
        assert not vm.requires_reboot


class TestReading:
    def test_compute_memory_overhead_stores_nothing(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        vm = add_vm(memory_overhead=7)
        assert session.xenapi.VM.compute_memory_overhead("vm") == str(37 * MIB)
        assert vm.memory_overhead == 7

    def test_unspecified_domain_type(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm(domain_type="unspecified")
        expected = ["INTERNAL_ERROR", "unspecified domain type"]
        assert refused(pool, lambda: session.xenapi.VM.compute_memory_overhead("vm")) == expected
        assert refused(pool, lambda: session.xenapi.VM.maximise_memory("vm", "0", False)) == expected

    def test_cooperative_even_if_it_does_not_exist(self, session: Session) -> None:
        assert session.xenapi.VM.get_cooperative("nothing") is True

    @pytest.mark.parametrize("message", ["compute_memory_overhead", "wait_memory_target_live"])
    def test_no_such_vm(self, pool: Pool, session: Session, message: str) -> None:
        assert refused(pool, lambda: getattr(session.xenapi.VM, message)("x")) == ["HANDLE_INVALID", "VM", "x"]

    def test_maximise_memory(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        vm = add_vm()
        most = int(session.xenapi.VM.maximise_memory("vm", str(10 * GIB), False))
        assert most % MIB == 0
        needed = most + session.api.VM.compute_memory_overhead("vm")
        assert needed < 10 * GIB
        session.xenapi.VM.set_memory("vm", str(most))
        assert most + vm.memory_overhead <= 10 * GIB < most + MIB + vm.memory_overhead
        assert int(session.xenapi.VM.maximise_memory("vm", str(10 * GIB), True)) < most
        assert session.xenapi.VM.maximise_memory("vm", "0", False) == "0"
        assert refused(pool, lambda: session.xenapi.VM.maximise_memory("vm", "-1", False))[0] == "INTERNAL_ERROR"


class TestLive:
    def test_set_memory_target_live_changes_nothing(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm(power_state="Running")
        before = everything(pool)
        assert session.xenapi.VM.set_memory_target_live("vm", "-17") == ""
        assert everything(pool) == before

    @pytest.mark.parametrize("state", ["Halted", "Paused", "Suspended"])
    def test_needs_a_running_vm(self, pool: Pool, session: Session, add_vm: AddVM, state: str) -> None:
        add_vm(power_state=state)
        expected = ["VM_BAD_POWER_STATE", "vm", "running", state.lower()]
        assert refused(pool, lambda: session.xenapi.VM.set_memory_target_live("vm", "0")) == expected
        assert refused(pool, lambda: session.xenapi.VM.wait_memory_target_live("vm")) == expected

    def test_wait_succeeds_within_a_mib(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm(power_state="Running", memory_target=2 * GIB)
        metrics = pool.database.VM_metrics["vmm"]
        metrics.memory_actual = 2 * GIB - MIB
        began = pool.clock.now()
        assert session.xenapi.VM.wait_memory_target_live("vm") == ""
        assert (metrics.memory_actual, pool.clock.now()) == (2 * GIB - MIB, began)

    def test_wait_stores_what_the_domain_has(self, pool: Pool, add_vm: AddVM) -> None:
        """What the hypervisor says is not what the row says before."""

        class Measured(Guests):
            def live_memory(self, vm: Any) -> tuple[int, int]:
                return 2 * GIB + MIB, 2 * GIB

        pool = Pool(pool.database, clock=pool.clock, guests=Measured(pool.database))
        session = Session(pool)
        session.login_with_password("root", "")
        add_vm(power_state="Running")
        session.xenapi.VM.wait_memory_target_live("vm")
        assert pool.database.VM_metrics["vmm"].memory_actual == 2 * GIB + MIB

    def test_wait_times_out_after_257_polls_and_names_the_task(self, pool: Pool, add_vm: AddVM) -> None:
        polls = []

        class Stuck(Guests):
            def live_memory(self, vm: Any) -> tuple[int, int]:
                polls.append(pool.clock.now())
                return 0, 2 * GIB

        pool = Pool(pool.database, clock=pool.clock, guests=Stuck(pool.database))
        session = Session(pool)
        session.login_with_password("root", "")
        add_vm(power_state="Running")
        task = session.xenapi.Async.VM.wait_memory_target_live("vm")
        assert polls == [polls[0] + second for second in range(257)]
        assert session.xenapi.task.get_status(task) == "failure"
        assert session.xenapi.task.get_error_info(task) == ["VM_MEMORY_TARGET_WAIT_TIMEOUT", task]
        assert pool.database.VM["vm"].current_operations == {}
