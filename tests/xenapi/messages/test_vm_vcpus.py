"""vCPUs, shadow memory and domain type of a VM: effects, each failure, and the order of checks."""

from collections.abc import Callable
from typing import Any

import pytest
from small_pool import refused

from xenmem.units import GIB, MIB
from xenmem.xenapi import Pool, Session

AddVM = Callable[..., Any]

POWER_STATES = ("Halted", "Paused", "Running", "Suspended")
SENT: dict[str, tuple[Any, ...]] = {
    "set_VCPUs_max": ("4",),
    "set_VCPUs_number_live": ("1",),
    "set_HVM_shadow_multiplier": (2.0,),
    "set_shadow_multiplier_live": (2.0,),
}
OPERATION = {
    "set_VCPUs_max": "changing_VCPUs",
    "set_VCPUs_number_live": "changing_VCPUs_live",
    "set_HVM_shadow_multiplier": "changing_shadow_memory",
    "set_shadow_multiplier_live": "changing_shadow_memory_live",
}
SHOWN = {"changing_VCPUs": "(unknown operation)"}
MUST_SATISFY = "VCPU values must satisfy: 0 < VCPUs_at_startup \u2264 VCPUs_max"


def state_of(message: str) -> str:
    return "Running" if "live" in message else "Halted"


@pytest.fixture(autouse=True)
def licence(pool: Pool) -> None:
    restrictions = {"restrict_dmc": "false", "restrict_set_vcpus_number_live": "false"}
    pool.database.write(pool.database.the_pool, "restrictions", restrictions)


@pytest.fixture
def with_features(pool: Pool) -> Callable[[Any], None]:
    def give(vm: Any) -> None:
        guest = pool.database.new_row("VM_guest_metrics", PV_drivers_version={"major": "9", "minor": "3"})
        pool.database.load("VM_guest_metrics", [guest])
        vm.guest_metrics = guest.ref

    return give


@pytest.mark.parametrize("message", SENT)
def test_power_states(pool: Pool, session: Session, add_vm: AddVM, message: str) -> None:
    for state in POWER_STATES:
        if state != state_of(message):
            add_vm(state, power_state=state)
            expected = ["VM_BAD_POWER_STATE", state, state_of(message).lower(), state.lower()]
            assert refused(pool, lambda: getattr(session.xenapi.VM, message)(state, *SENT[message])) == expected  # noqa: B023


@pytest.mark.parametrize("message", [*SENT, "set_VCPUs_at_startup", "set_domain_type", "set_HVM_boot_policy"])
def test_no_such_vm(pool: Pool, session: Session, message: str) -> None:
    sent = SENT.get(message, ("hvm",) if message != "set_VCPUs_at_startup" else ("1",))
    assert refused(pool, lambda: getattr(session.xenapi.VM, message)("x", *sent)) == ["HANDLE_INVALID", "VM", "x"]


@pytest.mark.parametrize("message", SENT)
def test_operation_checks_in_order(
    pool: Pool, session: Session, add_vm: AddVM, with_features: Callable[[Any], None], message: str
) -> None:
    operation = OPERATION[message]
    vm = add_vm(
        power_state="Paused",
        is_a_template=True,
        is_a_snapshot=True,
        blocked_operations={operation: "not now"},
        current_operations={"t1": "clone"},
    )

    def details() -> list[str]:
        return refused(pool, lambda: getattr(session.xenapi.VM, message)("vm", *SENT[message]))

    assert details() == ["OPERATION_BLOCKED", "vm", "not now"]
    vm.blocked_operations = {}
    assert details()[0] == "VM_BAD_POWER_STATE"
    vm.power_state = state_of(message)
    assert details() == ["OTHER_OPERATION_IN_PROGRESS", "VM", "vm", "clone", "t1"]
    vm.current_operations = {}
    assert details() == ["VM_IS_SNAPSHOT", "vm", SHOWN.get(operation, operation)]
    vm.is_a_snapshot = False
    if "live" in message:
        assert details() == ["VM_IS_TEMPLATE", "vm", operation]
    vm.is_a_template = False
    if message == "set_VCPUs_number_live":
        assert details() == ["VM_LACKS_FEATURE", "vm"]
        with_features(vm)
    getattr(session.xenapi.VM, message)("vm", *SENT[message])


class TestVCPUs:
    @pytest.mark.parametrize("value", [0, -1, 1, -(2**63)])
    def test_max_out_of_range(self, pool: Pool, session: Session, add_vm: AddVM, value: int) -> None:
        add_vm()
        expected = ["INVALID_VALUE", MUST_SATISFY, str(value)]
        for at_startup in (2, -1) if value < 1 else (2,):
            pool.database.VM["vm"].VCPUs_at_startup = at_startup
            assert refused(pool, lambda: session.xenapi.VM.set_VCPUs_max("vm", str(value))) == expected

    def test_max_changes_the_overhead(self, session: Session, add_vm: AddVM) -> None:
        vm = add_vm()
        session.xenapi.VM.set_VCPUs_max("vm", "8")
        assert (vm.VCPUs_max, vm.VCPUs_at_startup, vm.requires_reboot) == (8, 2, False)
        assert vm.memory_overhead == session.api.VM.compute_memory_overhead("vm") > 37 * MIB

    def test_running_driver_domain_waits_for_a_reboot(self, session: Session, add_vm: AddVM) -> None:
        vm = add_vm(is_control_domain=True, power_state="Running")
        session.xenapi.VM.set_VCPUs_max("vm", "8")
        assert vm.requires_reboot

    def test_domain_zero(self, pool: Pool, session: Session) -> None:
        expected = ["OPERATION_NOT_ALLOWED", "This operation is not allowed on dom0"]
        assert refused(pool, lambda: session.xenapi.VM.set_VCPUs_max("h1dom0", "8")) == expected
        expected = ["OPERATION_NOT_ALLOWED", "set_VCPUs_at_startup is not allowed on dom0"]
        assert refused(pool, lambda: session.xenapi.VM.set_VCPUs_at_startup("h1dom0", "0")) == expected

    @pytest.mark.parametrize("value", [0, -1, 3])
    def test_at_startup_out_of_range(self, pool: Pool, session: Session, add_vm: AddVM, value: int) -> None:
        add_vm()
        expected = ["INVALID_VALUE", MUST_SATISFY, str(value)]
        assert refused(pool, lambda: session.xenapi.VM.set_VCPUs_at_startup("vm", str(value))) == expected

    def test_at_startup_computes_the_overhead_anew(self, session: Session, add_vm: AddVM) -> None:
        vm = add_vm(memory_overhead=1)
        session.xenapi.VM.set_VCPUs_at_startup("vm", "1")
        assert (vm.VCPUs_at_startup, vm.memory_overhead) == (1, 37 * MIB)

    def test_unspecified_domain_type_keeps_the_value_written_before(self, session: Session, add_vm: AddVM) -> None:
        vm = add_vm(domain_type="unspecified")
        with pytest.raises(Exception, match="unspecified domain type"):
            session.xenapi.VM.set_VCPUs_max("vm", "8")
        assert vm.VCPUs_max == 8

    def test_number_live(
        self, pool: Pool, session: Session, add_vm: AddVM, with_features: Callable[[Any], None]
    ) -> None:
        vm = add_vm(power_state="Running", memory_overhead=0)
        with_features(vm)
        session.xenapi.VM.set_VCPUs_number_live("vm", "1")
        metrics = pool.database.VM_metrics["vmm"]
        assert (vm.VCPUs_at_startup, metrics.VCPUs_number, vm.memory_overhead) == (1, 1, 37 * MIB)
        expected = ["INVALID_VALUE", "VCPU values must satisfy: 0 < VCPUs \u2264 VCPUs_max", "2"]
        assert refused(pool, lambda: session.xenapi.VM.set_VCPUs_number_live("vm", "3")) == expected
        pool.database.the_pool.restrictions = {}
        expected = ["LICENCE_RESTRICTION", "Live_set_vcpus"]
        assert refused(pool, lambda: session.xenapi.VM.set_VCPUs_number_live("vm", "3")) == expected


class TestShadow:
    @pytest.mark.parametrize(
        ("value", "shown"), [(0.5, "0.5"), (0, "0."), (-1, "-1."), ("1e-7", "1e-07"), ("nan", "nan"), ("inf", "inf")]
    )
    def test_out_of_range(self, pool: Pool, session: Session, add_vm: AddVM, value: Any, shown: str) -> None:
        add_vm("halted")
        add_vm("running", power_state="Running")
        expected = ["INVALID_VALUE", "multiplier", shown]
        assert refused(pool, lambda: session.xenapi.VM.set_HVM_shadow_multiplier("halted", value)) == expected
        assert refused(pool, lambda: session.xenapi.VM.set_shadow_multiplier_live("running", value)) == expected

    def test_halted(self, session: Session, add_vm: AddVM) -> None:
        vm = add_vm()
        session.xenapi.VM.set_HVM_shadow_multiplier("vm", 1.5)
        assert (vm.HVM_shadow_multiplier, vm.memory_overhead) == (1.5, 54 * MIB)

    def test_control_domain(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm(is_control_domain=True)
        expected = ["OPERATION_NOT_ALLOWED", "This operation is not allowed on a control domain"]
        assert refused(pool, lambda: session.xenapi.VM.set_HVM_shadow_multiplier("vm", 2.0)) == expected

    def test_live_becomes_what_the_domain_has(self, session: Session, add_vm: AddVM) -> None:
        """34 MiB by default; 1.3 times as many are 44 whole MiB."""
        vm = add_vm(power_state="Running")
        session.xenapi.VM.set_shadow_multiplier_live("vm", 1.3)
        assert vm.HVM_shadow_multiplier == 44 / 34
        assert vm.memory_overhead == session.api.VM.compute_memory_overhead("vm")

    def test_live_on_a_host_that_is_offline(
        self, pool: Pool, session: Session, add_vm: AddVM, with_features: Callable[[Any], None]
    ) -> None:
        """The host looks at the value and at the licence, and is asked first."""
        with_features(add_vm(power_state="Running", resident_on="h2"))
        pool.database.host_metrics["h2m"].live = False
        pool.database.the_pool.restrictions = {}
        for message, value in (("set_shadow_multiplier_live", 0.5), ("set_VCPUs_number_live", "1")):
            send = getattr(session.xenapi.VM, message)
            assert refused(pool, lambda: send("vm", value)) == ["HOST_OFFLINE", "h2"]  # noqa: B023

    def test_live_pv_ignores_it(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        vm = add_vm(power_state="Running", domain_type="pv", memory_overhead=5)
        session.xenapi.VM.set_shadow_multiplier_live("vm", 3.0)
        assert (vm.HVM_shadow_multiplier, vm.memory_overhead) == (1.0, 5)

    def test_live_takes_all_that_is_free(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        """34 MiB by default, and as many again."""
        vm = add_vm(power_state="Running")
        free = session.api.host.compute_free_memory("h1")
        h1 = pool.database.host["h1"]
        pool.database.write(h1, "memory_overhead", h1.memory_overhead + free - 34 * MIB + 1)
        expected = ["HOST_NOT_ENOUGH_FREE_MEMORY", str(34 * MIB), str(34 * MIB - 1)]
        assert refused(pool, lambda: session.xenapi.VM.set_shadow_multiplier_live("vm", 2.0)) == expected
        pool.database.write(h1, "memory_overhead", h1.memory_overhead - 1)
        session.xenapi.VM.set_shadow_multiplier_live("vm", 2.0)
        assert (vm.HVM_shadow_multiplier, session.api.host.compute_free_memory("h1")) == (2.0, 0)

    def test_live_beyond_what_is_free(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm(power_state="Running")
        free = session.api.host.compute_free_memory("h1")
        details = refused(pool, lambda: session.xenapi.VM.set_shadow_multiplier_live("vm", 1e4))
        assert details == ["HOST_NOT_ENOUGH_FREE_MEMORY", str((340000 - 34) * MIB), str(free)]


class TestDomainType:
    @pytest.mark.parametrize("state", POWER_STATES)
    @pytest.mark.parametrize(
        ("value", "policy"), [("hvm", "BIOS order"), ("pv", ""), ("pv_in_pvh", ""), ("pvh", ""), ("PVH", "")]
    )
    def test_in_any_power_state(self, session: Session, add_vm: AddVM, state: str, value: str, policy: str) -> None:
        vm = add_vm(power_state=state)
        session.xenapi.VM.set_domain_type("vm", value)
        assert (vm.domain_type, vm.HVM_boot_policy, vm.memory_overhead) == (value.lower(), policy, 37 * MIB)

    def test_unspecified(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm()
        expected = ["INVALID_VALUE", "domain_type", "unspecified"]
        assert refused(pool, lambda: session.xenapi.VM.set_domain_type("vm", "unspecified")) == expected
        assert refused(pool, lambda: session.xenapi.VM.set_domain_type("x", "unspecified")) == expected

    @pytest.mark.parametrize("state", POWER_STATES)
    @pytest.mark.parametrize(("policy", "value"), [("BIOS order", "hvm"), ("", "pv"), ("anything", "hvm")])
    def test_boot_policy(self, session: Session, add_vm: AddVM, state: str, policy: str, value: str) -> None:
        vm = add_vm(power_state=state, domain_type="pvh")
        session.xenapi.VM.set_HVM_boot_policy("vm", policy)
        assert (vm.domain_type, vm.HVM_boot_policy, vm.memory_overhead) == (value, policy, 37 * MIB)


def test_limits_are_left_alone(session: Session, add_vm: AddVM) -> None:
    vm = add_vm()
    session.xenapi.VM.set_VCPUs_max("vm", "8")
    session.xenapi.VM.set_HVM_shadow_multiplier("vm", 2.0)
    assert (vm.memory_static_max, vm.memory_dynamic_min, vm.memory_target) == (4 * GIB, 2 * GIB, 0)
