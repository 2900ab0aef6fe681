"""What the pool says about host failures, the fields that follow, and what it refuses for the sake of its plan."""

from collections.abc import Callable
from typing import Any

import pytest
from small_pool import disk, limits, refused, row, storage

from xenmem.units import GIB, MIB
from xenmem.xenapi import Pool, Session

AddVM = Callable[..., Any]
RESTART = {"ha_restart_priority": "restart", "ha_always_run": True}
BREAKS = ["HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN"]


@pytest.fixture
def protect(pool: Pool, add_vm: AddVM) -> AddVM:
    """A protected VM that runs; its size is its static_max and 37 MiB or more."""

    def build(ref: str, size: int, **values: Any) -> Any:
        vm = add_vm(ref, **{"power_state": "Running", **RESTART, **limits(size), **values})
        pool.database.VM_metrics[vm.metrics].current_domain_type = "pvh"
        return vm

    return build


@pytest.fixture
def enable_ha(pool: Pool) -> Callable[[int], None]:
    def enable(planned: int) -> None:
        values = {"ha_enabled": True, "ha_plan_exists_for": planned, "ha_host_failures_to_tolerate": planned}
        pool.database.update(pool.database.the_pool, values)

    return enable


def status(pool: Pool) -> tuple[int, int, bool]:
    row = pool.database.the_pool
    return row.ha_host_failures_to_tolerate, row.ha_plan_exists_for, row.ha_overcommitted


@pytest.mark.compiled
class TestQuestions:
    def test_plan_exists(self, session: Session, protect: AddVM) -> None:
        protect("a", 20 * GIB)
        protect("b", 20 * GIB, resident_on="h2")
        assert [session.xenapi.pool.ha_failover_plan_exists(str(n)) for n in (-1, 0, 1, 2, 3)] == [
            False,
            True,
            True,
            False,
            False,
        ]
        assert session.xenapi.pool.ha_compute_max_host_failures_to_tolerate() == "1"

    def test_nothing_is_written_without_ha(self, pool: Pool, session: Session, protect: AddVM) -> None:
        protect("a", 20 * GIB)
        session.xenapi.pool.ha_compute_max_host_failures_to_tolerate()
        assert status(pool) == (0, 0, False)

    @pytest.mark.parametrize(("wanted", "planned", "after"), [(2, 2, (2, 1, True)), (0, 0, (0, 0, False))])
    def test_with_ha_the_fields_follow(
        self,
        pool: Pool,
        session: Session,
        protect: AddVM,
        enable_ha: Callable[[int], None],
        wanted: int,
        planned: int,
        after: tuple[int, int, bool],
    ) -> None:
        protect("a", 20 * GIB)
        enable_ha(planned)
        pool.database.the_pool.ha_host_failures_to_tolerate = wanted
        assert session.xenapi.pool.ha_compute_max_host_failures_to_tolerate() == "1"
        assert status(pool) == after

    def test_hypothetical(self, pool: Pool, session: Session, protect: AddVM) -> None:
        protect("a", 20 * GIB)
        protect("b", 61 * GIB - 2 * GIB, resident_on="h2", ha_always_run=False)
        ask = session.xenapi.pool.ha_compute_hypothetical_max_host_failures_to_tolerate
        assert ask({}) == "2"
        assert ask({"a": "restart", "b": "best-effort"}) == "0"  # there is no room next to b
        pool.database.update(pool.database.VM["b"], limits(10 * GIB))
        assert ask({"a": "restart", "b": "restart"}) == "1"
        expected = ["INVALID_VALUE", "ha_restart_priority", "always"]
        assert refused(pool, lambda: ask({"a": "always"})) == expected
        assert refused(pool, lambda: ask({"x": "restart"})) == ["HANDLE_INVALID", "VM", "x"]

    def test_a_vm_that_is_not_agile(self, pool: Pool, session: Session, protect: AddVM) -> None:
        protect("a", 20 * GIB)
        storage(pool.database, "h1", "h2", shared=False)
        disk(pool.database, "a")
        assert not session.xenapi.pool.ha_failover_plan_exists("0")
        plan = session.xenapi.pool.ha_compute_vm_failover_plan([], ["a"])
        assert plan == {"a": {"host": "h2"}}
        pool.database.VM["a"].memory_dynamic_min = 100 * GIB
        plan = session.xenapi.pool.ha_compute_vm_failover_plan(["h1"], ["a"])
        assert plan == {"a": {"error_code": "HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED"}}

    def test_cluster(self, pool: Pool, session: Session) -> None:
        database = pool.database
        database.load("Cluster", [row(database, "Cluster", "cluster")])
        members = [row(database, "Cluster_host", f"{host}c", host=host, enabled=True) for host in ("h1", "h2")]
        database.load("Cluster_host", members)
        assert session.xenapi.pool.ha_compute_max_host_failures_to_tolerate() == "0"

    def test_memory_that_cannot_be_computed_is_no_plan(self, session: Session, protect: AddVM) -> None:
        protect("a", 20 * GIB, domain_type="unspecified")
        assert not session.xenapi.pool.ha_failover_plan_exists("0")
        assert session.xenapi.pool.ha_compute_max_host_failures_to_tolerate() == "0"

    def test_failover_plan(self, pool: Pool, session: Session, protect: AddVM) -> None:
        protect("a", 20 * GIB)
        protect("b", 70 * GIB, power_state="Halted")
        plan = session.xenapi.pool.ha_compute_vm_failover_plan(["h1"], ["b", "a"])
        assert plan == {"b": {"error_code": "HOST_NOT_ENOUGH_FREE_MEMORY"}, "a": {"host": "h2"}}
        assert list(plan) == ["b", "a"]
        ask = session.xenapi.pool.ha_compute_vm_failover_plan
        assert refused(pool, lambda: ask([], ["x"])) == ["HANDLE_INVALID", "VM", "x"]
        assert ask(["h1", "h2"], ["a"]) == {"a": {"error_code": "HOST_NOT_ENOUGH_FREE_MEMORY"}}


class TestSetting:
    def test_failures_to_tolerate(
        self, pool: Pool, session: Session, protect: AddVM, enable_ha: Callable[[int], None]
    ) -> None:
        protect("a", 20 * GIB)
        enable_ha(0)
        send = session.xenapi.pool.set_ha_host_failures_to_tolerate
        assert refused(pool, lambda: send("p", "-1")) == ["INVALID_VALUE", "ha_host_failures_to_tolerate", "-1"]
        assert refused(pool, lambda: send("x", "-1"))[0] == "INVALID_VALUE"
        assert refused(pool, lambda: send("x", "1")) == ["HANDLE_INVALID", "pool", "x"]
        send("p", "1")
        assert status(pool) == (1, 1, False)
        assert refused(pool, lambda: send("p", "2")) == BREAKS
        pool.database.the_pool.ha_allow_overcommit = True
        send("p", "2")
        assert status(pool) == (2, 1, True)

    def test_failures_beyond_a_plan_for_none(
        self, pool: Pool, session: Session, protect: AddVM, enable_ha: Callable[[int], None]
    ) -> None:
        """Where nothing is planned for yet, more may be asked for than there is room for."""
        protect("a", 20 * GIB)
        enable_ha(0)
        session.xenapi.pool.set_ha_host_failures_to_tolerate("p", "2")
        assert status(pool) == (2, 1, True)

    def test_restart_priority(
        self, pool: Pool, session: Session, protect: AddVM, enable_ha: Callable[[int], None]
    ) -> None:
        a = protect("a", 40 * GIB, ha_restart_priority="", ha_always_run=False)
        b = protect("b", 40 * GIB, resident_on="h2", ha_restart_priority="", ha_always_run=False)
        halted = protect("halted", 40 * GIB, power_state="Halted", ha_restart_priority="", ha_always_run=False)
        enable_ha(1)
        pool.database.update(b, limits(1 * GIB))
        send = session.xenapi.VM.set_ha_restart_priority
        for ref in ("a", "nothing"):
            details = refused(pool, lambda: send(ref, "always"))  # noqa: B023
            assert details == ["INVALID_VALUE", "ha_restart_priority", "always"]
        assert refused(pool, lambda: send("nothing", "restart")) == ["HANDLE_INVALID", "VM", "nothing"]
        send("a", "restart")
        assert (a.ha_restart_priority, a.ha_always_run) == ("restart", True)
        send("a", "best-effort")
        assert (a.ha_restart_priority, a.ha_always_run) == ("best-effort", False)
        pool.database.update(b, limits(40 * GIB))
        assert refused(pool, lambda: send("a", "restart")) == BREAKS
        send("halted", "restart")
        assert (halted.ha_restart_priority, halted.ha_always_run) == ("restart", False)


class TestPlanCheck:
    @pytest.mark.parametrize("message", ["disable", "evacuate"])
    def test_hosts(
        self, pool: Pool, session: Session, protect: AddVM, enable_ha: Callable[[int], None], message: str
    ) -> None:
        protect("a", 20 * GIB)
        enable_ha(1)
        send = getattr(session.xenapi.host, message)
        assert refused(pool, lambda: send("h2")) == BREAKS
        pool.database.the_pool.ha_plan_exists_for = 0
        send("h2")

    @pytest.mark.parametrize("message", ["start", "start_on", "resume", "resume_on", "pool_migrate"])
    def test_vms_that_arrive(
        self, pool: Pool, session: Session, protect: AddVM, enable_ha: Callable[[int], None], message: str
    ) -> None:
        """A VM of no priority takes memory that the plan needs; one of the priority is planned for itself."""
        state = {"start": "Halted", "resume": "Suspended", "pool": "Running"}[message.split("_")[0]]
        protect("a", 30 * GIB)
        vm = protect("vm", 40 * GIB, power_state=state, ha_restart_priority="", ha_always_run=False, resident_on="h1")
        where = {"Halted": "OpaqueRef:NULL", "Suspended": "OpaqueRef:NULL"}.get(state, "h1")
        pool.database.update(vm, {"resident_on": where, "platform": {"device-model": "m"}, "suspend_VDI": "image"})
        vm.memory_overhead = session.api.VM.compute_memory_overhead("vm")
        if state == "Running":
            pool.database.update(vm, limits(25 * GIB))
            pool.database.update(pool.database.VM["a"], limits(37 * GIB - GIB))
            vm.memory_overhead = session.api.VM.compute_memory_overhead("vm")
        enable_ha(1)
        arguments = {"start": (False, False), "resume": (False, False), "pool_migrate": ("h2", {})}
        sent = arguments.get(message, ("h2", False, False))
        send = getattr(session.xenapi.VM, message)
        assert refused(pool, lambda: send("vm", *sent)) == BREAKS
        pool.database.the_pool.ha_allow_overcommit = True
        send("vm", *sent)
        assert vm.power_state == "Running"

    def test_a_start_that_protects(
        self, pool: Pool, session: Session, protect: AddVM, enable_ha: Callable[[int], None]
    ) -> None:
        protect("a", 30 * GIB)
        vm = protect("vm", 40 * GIB, power_state="Halted", ha_always_run=False, platform={"device-model": "m"})
        vm.memory_overhead = session.api.VM.compute_memory_overhead("vm")
        enable_ha(1)
        assert refused(pool, lambda: session.xenapi.VM.start("vm", False, False)) == BREAKS
        assert not vm.ha_always_run
        pool.database.update(vm, limits(20 * GIB))
        session.xenapi.VM.start("vm", False, False)
        assert vm.ha_always_run

    def test_enabling_a_host_plans_anew(
        self, pool: Pool, session: Session, protect: AddVM, enable_ha: Callable[[int], None]
    ) -> None:
        protect("a", 20 * GIB)
        session.xenapi.host.disable("h2")
        enable_ha(1)
        assert session.xenapi.pool.ha_compute_max_host_failures_to_tolerate() == "0"
        assert status(pool) == (1, 0, True)
        session.xenapi.host.enable("h2")
        assert status(pool) == (1, 1, False)

    def test_enabling_a_host_of_a_pool_that_is_not_overcommitted(
        self, pool: Pool, session: Session, protect: AddVM, enable_ha: Callable[[int], None]
    ) -> None:
        protect("a", 20 * GIB)
        session.xenapi.host.disable("h2")
        enable_ha(0)
        pool.database.the_pool.ha_host_failures_to_tolerate = 1
        session.xenapi.host.enable("h2")
        assert status(pool) == (1, 0, False)

    @pytest.mark.parametrize("is_control_domain", [False, True])
    def test_what_arrives_of_a_control_domain(
        self,
        pool: Pool,
        session: Session,
        protect: AddVM,
        enable_ha: Callable[[int], None],
        is_control_domain: bool,
    ) -> None:
        """Its dynamic_max; of any other VM its static_max."""
        protect("a", 20 * GIB)
        vm = protect("vm", 1 * GIB, power_state="Halted", ha_restart_priority="", ha_always_run=False)
        pool.database.update(vm, {"memory_static_max": 50 * GIB, "is_control_domain": is_control_domain})
        vm.platform = {"device-model": "m"}
        vm.memory_overhead = session.api.VM.compute_memory_overhead("vm")
        enable_ha(1)
        if not is_control_domain:
            assert refused(pool, lambda: session.xenapi.VM.start_on("vm", "h2", False, False)) == BREAKS
        else:
            session.xenapi.VM.start_on("vm", "h2", False, False)


def test_to_the_mib(pool: Pool, session: Session, protect: AddVM) -> None:
    """A VM that just fits into the other host survives; a MiB more, and it does not."""
    vm = protect("a", 30 * GIB)
    most = session.api.VM.maximise_memory("a", 61 * GIB, False)
    for size, exists in ((most, True), (most + MIB, False)):
        pool.database.update(vm, limits(size))
        assert session.xenapi.pool.ha_failover_plan_exists("1") == exists


def test_ha_is_turned_on_and_off(pool: Pool, session: Session) -> None:
    session.xenapi.pool.set_ha_host_failures_to_tolerate("p", "1")
    session.xenapi.pool.enable_ha([], {"timeout": "60"})
    assert pool.database.the_pool.ha_enabled
    assert pool.database.the_pool.ha_configuration == {"timeout": "60"}
    assert status(pool) == (1, 1, False)
    session.xenapi.pool.disable_ha()
    assert (pool.database.the_pool.ha_enabled, status(pool)) == (False, (1, 0, False))
