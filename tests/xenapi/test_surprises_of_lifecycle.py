"""Behaviour of the server that surprises, one test each, named after its number in docs/reference/messages.md, 12."""

from collections.abc import Callable
from typing import Any

import pytest
from small_pool import limits, refused

from xenmem.units import GIB, MIB
from xenmem.xenapi import Failure, Guests, Pool, Session
from xenmem.xenapi.world.hooks import Hooks

AddVM = Callable[..., Any]
NULL = "OpaqueRef:NULL"


@pytest.fixture
def run(pool: Pool, add_vm: AddVM) -> AddVM:
    def build(ref: str = "vm", **values: Any) -> Any:
        vm = add_vm(ref, **{"power_state": "Running", **values})
        pool.database.VM_metrics[vm.metrics].current_domain_type = "pvh"
        return vm

    return build


def test_4_static_setters_never_adjust_dynamic_limits(pool: Pool, session: Session, add_vm: AddVM) -> None:
    vm = add_vm()
    expected = ["MEMORY_CONSTRAINT_VIOLATION_ORDER"]
    assert refused(pool, lambda: session.xenapi.VM.set_memory_static_max("vm", str(3 * GIB - 1))) == expected
    session.xenapi.VM.set_memory_static_max("vm", str(3 * GIB))
    assert (vm.memory_dynamic_min, vm.memory_dynamic_max) == (2 * GIB, 3 * GIB)


def test_5_no_memory_setter_asks_high_availability(pool: Pool, session: Session, run: AddVM) -> None:
    protected = {"ha_always_run": True, "ha_restart_priority": "restart"}
    run(**protected)
    halted = run("halted", power_state="Halted", **protected)
    pool.database.update(pool.database.the_pool, {"ha_enabled": True, "ha_plan_exists_for": 1})
    assert session.xenapi.pool.ha_failover_plan_exists("1")
    session.xenapi.VM.set_memory_static_max("halted", str(100 * GIB))
    assert halted.memory_static_max == 100 * GIB
    assert not session.xenapi.pool.ha_failover_plan_exists("1")


def test_6_order_of_the_parameters_of_set_memory_limits(session: Session, add_vm: AddVM) -> None:
    vm = add_vm()
    session.xenapi.VM.set_memory_limits("vm", "1", "4", "2", "3")
    found = (vm.memory_static_min, vm.memory_static_max, vm.memory_dynamic_min, vm.memory_dynamic_max)
    assert found == (1, 4, 2, 3)


@pytest.mark.parametrize("message", ["clean_shutdown", "hard_shutdown", "suspend"])
def test_7_target_is_what_squeezed_gives_and_0_after_a_halt(session: Session, run: AddVM, message: str) -> None:
    """The message stores dynamic_min, and the host's next event what its guest is told: all it may have."""
    vm = run()
    session.xenapi.VM.set_memory_dynamic_range("vm", str(1 * GIB), str(3 * GIB))
    assert vm.memory_target == 3 * GIB
    getattr(session.xenapi.VM, message)("vm")
    assert vm.memory_target == 0


def test_8_nested_virt_of_the_platform(pool: Pool, session: Session, add_vm: AddVM) -> None:
    vm = add_vm(platform={"nested-virt": "true", "device-model": "m"})
    session.xenapi.VM.set_memory_dynamic_range("vm", str(1 * GIB), str(2 * GIB))
    expected = ["MEMORY_CONSTRAINT_VIOLATION_MAXPIN", "nested virt"]
    assert refused(pool, lambda: session.xenapi.VM.start("vm", False, False)) == expected
    pool.database.the_pool.restrictions |= {"restrict_nested_virt": "false"}
    session.xenapi.VM.start("vm", False, True)
    session.xenapi.VM.hard_shutdown("vm")
    session.xenapi.VM.set_is_a_template("vm", True)
    assert vm.metrics == NULL
    assert refused(pool, lambda: session.xenapi.VM.set_memory_static_max("vm", str(8 * GIB))) == expected


def test_9_two_codes_for_nested_virt(pool: Pool, session: Session, run: AddVM) -> None:
    vm = run()
    pool.database.VM_metrics["vmm"].nested_virt = True
    send = session.xenapi.VM.set_memory_dynamic_range
    assert refused(pool, lambda: send("vm", "1", "1")) == ["VM_IS_USING_NESTED_VIRT", "vm"]
    vm.power_state = "Halted"
    session.xenapi.VM.set_memory("vm", str(4 * GIB))  # pinned is what it asks for
    send_limits = session.xenapi.VM.set_memory_limits
    expected = ["MEMORY_CONSTRAINT_VIOLATION_MAXPIN", "nested virt"]
    assert refused(pool, lambda: send_limits("vm", "1", "4", "2", "3")) == expected


@pytest.mark.parametrize("sizes", [("0", "0", "0", "0"), ("-4", "-1", "-3", "-2")])
def test_13_zero_and_negative_sizes(pool: Pool, session: Session, add_vm: AddVM, sizes: tuple[str, ...]) -> None:
    vm = add_vm()
    session.xenapi.VM.set_memory_limits("vm", *sizes)
    record = session.xenapi.VM.get_record("vm")
    made = pool.database.VM[session.xenapi.VM.create(record)]
    names = ("static_min", "static_max", "dynamic_min", "dynamic_max")
    assert tuple(str(getattr(made, f"memory_{name}")) for name in names) == sizes
    assert made.memory_overhead == vm.memory_overhead


def test_16_multiplier_of_pv_guests(pool: Pool, session: Session, add_vm: AddVM) -> None:
    """(4096 MiB, 2): 36 MiB without the multiplier, 53 with it."""
    vm = add_vm(domain_type="pv", HVM_shadow_multiplier=1.5)
    assert session.api.VM.compute_memory_overhead("vm") == 53 * MIB
    pool.database.update(vm, {"memory_dynamic_min": 100 * GIB, "memory_dynamic_max": 100 * GIB})
    details = refused(pool, lambda: session.xenapi.VM.assert_can_boot_here("vm", "h1"))
    assert details[:2] == ["HOST_NOT_ENOUGH_FREE_MEMORY", str(100 * GIB + 36 * MIB)]


def test_17_pvh_in_a_boot_check_and_in_an_evacuation(pool: Pool, session: Session, run: AddVM) -> None:
    run(domain_type="pvh", memory_static_max=62 * GIB)
    session.xenapi.VM.assert_can_boot_here("vm", "h2")
    prevented = session.xenapi.host.get_vms_which_prevent_evacuation("h1")
    assert prevented == {"vm": ["HOST_NOT_ENOUGH_FREE_MEMORY", "vm"]}
    pool.database.VM["vm"].domain_type = "hvm"
    assert session.xenapi.host.get_vms_which_prevent_evacuation("h1") == {}


def test_18_stale_overhead(pool: Pool, session: Session, add_vm: AddVM) -> None:
    vm = add_vm()
    session.xenapi.VM.set_domain_type("vm", "pv_in_pvh")
    assert vm.memory_overhead == 37 * MIB
    copy = pool.database.VM[session.xenapi.VM.clone("vm", "copy")]
    assert copy.memory_overhead == 37 * MIB
    session.xenapi.VM.start(copy.ref, False, False)
    assert copy.memory_overhead == 105 * MIB
    pool.database.update(copy, {"memory_overhead": 1})
    session.xenapi.VM.suspend(copy.ref)
    session.xenapi.VM.resume(copy.ref, False, False)
    assert copy.memory_overhead == 1


def test_19_resident_and_scheduled_on_one_host_counts_twice(pool: Pool, session: Session, run: AddVM) -> None:
    run(memory_overhead=0, memory_dynamic_min=31 * GIB, memory_dynamic_max=31 * GIB, memory_static_max=31 * GIB)
    details = refused(pool, lambda: session.xenapi.VM.assert_can_boot_here("vm", "h1"))
    assert (details[0], details[2]) == ("HOST_NOT_ENOUGH_FREE_MEMORY", str(30 * GIB))
    session.xenapi.host.allocate_resources_for_vm("h1", "vm", True)
    assert session.xenapi.host.compute_free_memory("h1") == "0"
    pool.database.update(pool.database.VM["vm"], limits(10 * GIB))
    assert session.xenapi.host.compute_free_memory("h1") == str(41 * GIB)


def test_20_an_overcommitted_host_reports_0(session: Session, run: AddVM) -> None:
    vm = run(memory_dynamic_min=500 * GIB, memory_dynamic_max=500 * GIB, memory_static_max=500 * GIB)
    assert session.xenapi.host.compute_free_memory("h1") == "0"
    session.xenapi.VM.set_memory_dynamic_min("vm", str(400 * GIB))
    assert vm.memory_dynamic_min == 400 * GIB


def test_21_a_host_that_does_not_exist_is_not_live(pool: Pool, session: Session, add_vm: AddVM) -> None:
    add_vm(is_a_template=True)
    assert refused(pool, lambda: session.xenapi.VM.assert_can_boot_here("vm", "x")) == ["HOST_NOT_LIVE"]
    session.xenapi.VM.assert_can_boot_here("vm", "h1")


def test_22_a_reserved_host_is_the_only_possible_one(pool: Pool, session: Session, add_vm: AddVM) -> None:
    add_vm()
    session.xenapi.host.allocate_resources_for_vm("h2", "vm", False)
    pool.database.host_metrics["h2m"].live = False
    assert session.xenapi.VM.get_possible_hosts("vm") == ["h2"]


def test_23_too_little_memory_anywhere_is_no_memory_error(pool: Pool, session: Session, add_vm: AddVM) -> None:
    add_vm(memory_overhead=37 * MIB, memory_dynamic_min=62 * GIB, memory_dynamic_max=62 * GIB)
    pool.database.VM["vm"].memory_static_max = 62 * GIB
    pool.database.VM["vm"].memory_overhead = session.api.VM.compute_memory_overhead("vm")
    assert refused(pool, lambda: session.xenapi.VM.start("vm", False, False)) == ["NO_HOSTS_AVAILABLE"]


@pytest.mark.parametrize("state", ["Halted", "Paused", "Running", "Suspended"])
@pytest.mark.parametrize("is_a_snapshot", [False, True])
def test_24_setters_for_any_power_state(session: Session, add_vm: AddVM, state: str, is_a_snapshot: bool) -> None:
    vm = add_vm(power_state=state, is_a_snapshot=is_a_snapshot, is_a_template=is_a_snapshot)
    session.xenapi.VM.set_VCPUs_at_startup("vm", "1")
    session.xenapi.VM.set_domain_type("vm", "pv")
    assert (vm.VCPUs_at_startup, vm.domain_type) == (1, "pv")


def test_25_ha_always_run_is_written_before_it_can_fail(pool: Pool, session: Session, add_vm: AddVM) -> None:
    class Deaf(Hooks):
        def shut_down_guest(self, vm: Any) -> None:
            raise Failure(["VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT", vm.ref])

    class Full(Guests):
        def start(self, vm: Any, host: Any) -> int:
            raise Failure(["HOST_NOT_ENOUGH_FREE_MEMORY", "2", "1"])

    vm = add_vm(ha_restart_priority="restart")
    simple, pool.guests = pool.guests, Full(pool.database)
    with pytest.raises(Failure, match="HOST_NOT_ENOUGH_FREE_MEMORY"):
        session.xenapi.VM.start("vm", False, False)
    assert (vm.ha_always_run, vm.power_state, vm.scheduled_to_be_resident_on) == (True, "Halted", NULL)
    pool.guests = simple
    session.xenapi.VM.start("vm", False, False)
    pool.hooks = Deaf()
    pool.database.VM_metrics["vmm"].current_domain_type = "pvh"
    with pytest.raises(Failure, match="ACKNOWLEDGMENT"):
        session.xenapi.VM.clean_shutdown("vm")
    assert (vm.ha_always_run, vm.power_state) == (False, "Running")


@pytest.mark.parametrize(
    ("message", "seconds"), [("start", 30.0), ("start_on", 60.0), ("resume", 0.0), ("resume_on", 0.0)]
)
def test_26_start_on_sleeps_start_delay_twice(
    pool: Pool, session: Session, add_vm: AddVM, message: str, seconds: float
) -> None:
    state = "Halted" if message.startswith("start") else "Suspended"
    vm = add_vm(power_state=state, suspend_VDI="image", start_delay=30)
    began = pool.clock.now()
    sent = ("h2", False, False) if message.endswith("_on") else (False, False)
    getattr(session.xenapi.VM, message)("vm", *sent)
    assert pool.clock.now() - began == seconds
    assert vm.current_operations == {}


def test_27_expected_power_states(pool: Pool, session: Session, add_vm: AddVM) -> None:
    add_vm("paused", power_state="Paused")
    add_vm("halted")
    details = refused(pool, lambda: session.xenapi.VM.set_memory_dynamic_range("paused", "1", "1"))
    assert details == ["VM_BAD_POWER_STATE", "paused", "halted, running", "paused"]
    details = refused(pool, lambda: session.xenapi.VM.hard_shutdown("halted"))
    assert details == ["VM_BAD_POWER_STATE", "halted", "paused, suspended, running", "halted"]


def test_28_unknown_operation(pool: Pool, session: Session, add_vm: AddVM) -> None:
    add_vm(is_a_snapshot=True, is_a_template=True)
    expected = ["VM_IS_SNAPSHOT", "vm", "(unknown operation)"]
    assert refused(pool, lambda: session.xenapi.VM.set_memory("vm", "1")) == expected
    assert refused(pool, lambda: session.xenapi.VM.set_VCPUs_max("vm", "3")) == expected


def test_29_another_operation_is_answered_at_once(pool: Pool, session: Session, add_vm: AddVM) -> None:
    """The server would block for up to two hours; that it does not is documented."""
    add_vm(current_operations={"t": "start"})
    began = pool.clock.now()
    expected = ["OTHER_OPERATION_IN_PROGRESS", "VM", "vm", "start", "t"]
    assert refused(pool, lambda: session.xenapi.VM.start("vm", False, False)) == expected
    assert pool.clock.now() == began


def test_30_a_start_does_not_conflict_with_an_evacuation(pool: Pool, session: Session, add_vm: AddVM) -> None:
    """In the table of operations it does not, so that a VM with a reservation starts; a choice and start_on look."""
    for host in pool.database.host:
        host.current_operations = {"t": "evacuate"}
    add_vm("a", platform={"device-model": "m"})
    assert refused(pool, lambda: session.xenapi.VM.start("a", False, False)) == ["NO_HOSTS_AVAILABLE"]
    expected = ["HOST_EVACUATE_IN_PROGRESS", "h1"]
    assert refused(pool, lambda: session.xenapi.VM.start_on("a", "h1", False, False)) == expected
    session.xenapi.host.allocate_resources_for_vm("h1", "a", False)
    session.xenapi.VM.start("a", False, False)
    assert pool.database.VM["a"].resident_on == "h1"


def test_31_an_enabled_dead_host_blocks_the_evacuation(pool: Pool, session: Session, run: AddVM) -> None:
    for number in range(2):
        run(f"vm{number}")
    session.xenapi.host.evacuate("h1")
    assert pool.database.host["h1"].enabled
    pool.database.host_metrics["h1m"].live = False
    assert session.xenapi.host.get_vms_which_prevent_evacuation("h2") == {
        "vm0": ["HOST_NOT_LIVE"],
        "vm1": ["HOST_NOT_LIVE"],
    }
    assert refused(pool, lambda: session.xenapi.host.evacuate("h2")) == ["HOST_NOT_LIVE"]


def test_32_not_enough_memory_for_an_evacuation_has_one_parameter(pool: Pool, session: Session, run: AddVM) -> None:
    run(**limits(62 * GIB))
    assert refused(pool, lambda: session.xenapi.host.evacuate("h1")) == ["HOST_NOT_ENOUGH_FREE_MEMORY", "vm"]


def test_33_failures_to_tolerate(session: Session, run: AddVM) -> None:
    assert session.xenapi.pool.ha_compute_max_host_failures_to_tolerate() == "2"
    run("a", power_state="Halted", ha_always_run=True, ha_restart_priority="restart", **limits(62 * GIB))
    assert not session.xenapi.pool.ha_failover_plan_exists("0")
    assert session.xenapi.pool.ha_compute_max_host_failures_to_tolerate() == "0"


def test_34_the_plan_check_uses_what_is_planned_for(pool: Pool, session: Session, run: AddVM) -> None:
    run(ha_always_run=True, ha_restart_priority="restart", **limits(20 * GIB))
    values = {"ha_enabled": True, "ha_host_failures_to_tolerate": 1, "ha_plan_exists_for": 0}
    pool.database.update(pool.database.the_pool, values)
    session.xenapi.host.disable("h2")
    session.xenapi.host.enable("h2")
    pool.database.update(pool.database.the_pool, {"ha_plan_exists_for": 1})
    assert refused(pool, lambda: session.xenapi.host.disable("h2")) == ["HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN"]
    pool.database.update(pool.database.the_pool, {"ha_plan_exists_for": 2})
    session.xenapi.host.disable("h2")  # there is no plan for two any more: nothing to break


def test_35_a_failover_plan_takes_disabled_hosts(session: Session, run: AddVM) -> None:
    run()
    session.xenapi.host.disable("h2")
    assert session.xenapi.pool.ha_compute_vm_failover_plan(["h1"], ["vm"]) == {"vm": {"host": "h2"}}


def test_36_surplus_is_ignored_where_there_are_defaults(pool: Pool, session: Session) -> None:
    session.xenapi.host.disable("h2", True, "surplus")
    assert not pool.database.host["h2"].enabled
    expected = ["MESSAGE_PARAMETER_COUNT_MISMATCH", "host.disable", "1", "0"]
    assert refused(pool, lambda: session.xenapi.host.disable()) == expected
    assert refused(pool, lambda: pool.dispatch("host.disable", ())) == [*expected[:3], "-1"]
    expected = ["MESSAGE_PARAMETER_COUNT_MISMATCH", "host.enable", "1", "2"]
    assert refused(pool, lambda: session.xenapi.host.enable("h1", "surplus")) == expected
    assert refused(pool, lambda: pool.dispatch("host.disable", ("bad session", 17)))[0] == "INTERNAL_ERROR"
    assert refused(pool, lambda: pool.dispatch("host.disable", ("bad session", "h1"))) == [
        "SESSION_INVALID",
        "bad session",
    ]
