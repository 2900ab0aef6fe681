"""Operations on hosts: disable, enable, evacuate and what stands in its way."""

from collections.abc import Callable, Generator
from typing import Any

import pytest
from small_pool import everything, limits, network, refused, row

from xenmem.units import GIB, MIB
from xenmem.xenapi import Failure, Guests, Pool, Session
from xenmem.xenapi.world.hooks import Hooks

AddVM = Callable[..., Any]

MESSAGES: dict[str, tuple[Any, ...]] = {
    "disable": (),
    "enable": (),
    "evacuate": (),
    "assert_can_evacuate": (),
    "get_vms_which_prevent_evacuation": (),
    "compute_free_memory": (),
    "allocate_resources_for_vm": ("h1dom0", True),
}


@pytest.fixture
def run(pool: Pool, add_vm: AddVM) -> AddVM:
    """A running VM that can migrate."""

    def build(ref: str = "vm", **values: Any) -> Any:
        vm = add_vm(ref, **{"power_state": "Running", **values})
        pool.database.VM_metrics[vm.metrics].current_domain_type = "pvh"
        return vm

    return build


@pytest.mark.parametrize("message", sorted(MESSAGES.keys() - {"allocate_resources_for_vm"}))
def test_no_such_host(pool: Pool, session: Session, message: str) -> None:
    send = getattr(session.xenapi.host, message)
    assert refused(pool, lambda: send("x", *MESSAGES[message])) == ["HANDLE_INVALID", "host", "x"]


def test_memory_is_kept_on_whatever_host(session: Session, add_vm: AddVM) -> None:
    """The reference is stored, and nobody looks whether there is such a host (Host.allocate_resources_for_vm)."""
    vm = add_vm()
    session.xenapi.host.allocate_resources_for_vm("x", "vm", True)
    assert vm.scheduled_to_be_resident_on == "x"


class TestDisable:
    def test_vms_go_on(self, pool: Pool, session: Session, run: AddVM) -> None:
        vm = run()
        for _ in range(2):
            assert session.xenapi.host.disable("h1") == ""
            assert (pool.database.host["h1"].enabled, vm.power_state) == (False, "Running")
        session.xenapi.host.enable("h1")
        session.xenapi.host.disable("h1", False)
        assert not pool.database.host["h1"].enabled

    def test_offline(self, pool: Pool, session: Session) -> None:
        for name in ("h1m", "h2m"):
            pool.database.host_metrics[name].live = False
        assert refused(pool, lambda: session.xenapi.host.disable("h2")) == ["HOST_OFFLINE", "h2"]
        session.xenapi.host.disable("h1")  # the coordinator


class TestEnable:
    def test_enable(self, pool: Pool, session: Session) -> None:
        h1 = pool.database.host["h1"]
        h1.enabled = False
        session.xenapi.host.enable("h1")
        session.xenapi.host.enable("h1")
        assert h1.enabled

    def test_failures_in_order(self, pool: Pool, session: Session) -> None:
        class Booting(Hooks):
            def assert_host_ready(self, host: Any) -> None:
                raise Failure(["HOST_STILL_BOOTING"])

        class Unsafe(Hooks):
            def assert_safe_to_reenable(self, host: Any) -> None:
                raise Failure(["HOST_DISABLED_UNTIL_REBOOT", host.ref])

        h1 = pool.database.host["h1"]
        h1.enabled = False
        h1.pending_guidances = ("reboot_host",)
        h1.current_operations = {"t": "apply_updates"}
        pool.hooks = Booting()

        def details() -> list[str]:
            return refused(pool, lambda: session.xenapi.host.enable("h1"))

        assert details() == ["OTHER_OPERATION_IN_PROGRESS", "host", "h1", "apply_updates", "t"]
        h1.current_operations = {"t": "evacuate"}
        assert details() == ["HOST_STILL_BOOTING"]
        pool.hooks = Unsafe()
        assert details() == ["HOST_PENDING_MANDATORY_GUIDANCE_NOT_EMPTY", "h1"]
        h1.pending_guidances = ()
        assert details() == ["HOST_DISABLED_UNTIL_REBOOT", "h1"]
        pool.hooks = Hooks()
        session.xenapi.host.enable("h1")

    def test_offline(self, pool: Pool, session: Session) -> None:
        """Also where nothing is to be done; but an operation that excludes it goes first."""
        h2 = pool.database.host["h2"]
        for name in ("h1m", "h2m"):
            pool.database.host_metrics[name].live = False
        assert refused(pool, lambda: session.xenapi.host.enable("h2")) == ["HOST_OFFLINE", "h2"]
        h2.current_operations = {"t": "apply_updates"}
        assert refused(pool, lambda: session.xenapi.host.enable("h2"))[0] == "OTHER_OPERATION_IN_PROGRESS"
        session.xenapi.host.enable("h1")  # the coordinator


class TestEvacuate:
    def test_everything_goes(self, pool: Pool, session: Session, run: AddVM) -> None:
        vms = [run(f"vm{number}") for number in range(3)]
        halted = run("halted", power_state="Halted")
        assert session.xenapi.host.assert_can_evacuate("h1") == ""
        assert session.xenapi.host.get_vms_which_prevent_evacuation("h1") == {}
        assert session.xenapi.host.evacuate("h1") == ""
        assert {vm.resident_on for vm in vms} == {"h2"}
        assert all(vm.current_operations == {} for vm in vms)
        assert (halted.power_state, pool.database.host["h1"].resident_VMs) == ("Halted", ("h1dom0",))

    def test_parameters_with_defaults(self, pool: Pool, session: Session, run: AddVM) -> None:
        vm = run()
        network(pool.database, "h2")
        evacuate = session.xenapi.host.evacuate
        assert refused(pool, lambda: evacuate("h1", "other", "5")) == ["PIF_NOT_PRESENT", "h2", "other"]
        assert refused(pool, lambda: evacuate("h1", "net", "5")) == ["INTERFACE_HAS_NO_IP", "net-h2"]
        pool.database.write(pool.database.tables["PIF"]["net-h2"], "IP", "192.0.2.2")
        session.xenapi.host.evacuate("h1", "net", "5", "surplus")
        assert vm.resident_on == "h2"

    def test_is_one_message_for_the_journal(self, pool: Pool, session: Session, run: AddVM) -> None:
        for number in range(3):
            run(f"vm{number}")
        before = everything(pool)
        session.xenapi.host.evacuate("h1")
        pool.database.undo()
        assert everything(pool) == before

    def test_no_target(self, pool: Pool, session: Session, run: AddVM) -> None:
        run()
        session.xenapi.host.disable("h2")
        expected = ["NO_HOSTS_AVAILABLE", "vm"]
        assert refused(pool, lambda: session.xenapi.host.evacuate("h1")) == expected
        assert session.xenapi.host.get_vms_which_prevent_evacuation("h1") == {"vm": expected}
        details = refused(pool, lambda: session.xenapi.host.assert_can_evacuate("h1"))
        assert details == ["CANNOT_EVACUATE_HOST", "NO_HOSTS_AVAILABLE,vm"]

    def test_older_hosts_are_no_targets(self, session: Session, pool: Pool, run: AddVM) -> None:
        run()
        pool.database.host["h2"].software_version = {"xapi_build": "26.16.0"}
        assert session.xenapi.host.get_vms_which_prevent_evacuation("h1") == {"vm": ["NO_HOSTS_AVAILABLE", "vm"]}

    @pytest.mark.parametrize(
        ("build", "older", "stays"),
        [
            ("26.17.0", {"xen": "4.17.5-19"}, True),  # a newer xapi does not outweigh an older Xen
            ("26.17.0", {"xen": "4.17.5-20.abcd", "xapi": "1.0"}, False),
            ("26.17.0-29-ge2ee48d", {"xapi_build": "26.17.0-28-gffffff"}, True),
            ("26.17.0-29-ge2ee48d", {"xapi_build": "26.17.0-29-g0"}, False),
            ("24.19.2", {"xapi_build": "24.19.1", "xen": "4.13"}, False),  # compares the platform alone
            ("24.19.2", {"platform_version": "3.3.9"}, True),
        ],
    )
    def test_versions_are_compared_one_by_one(
        self, session: Session, pool: Pool, run: AddVM, build: str, older: dict[str, str], stays: bool
    ) -> None:
        run()
        hosts = pool.database.host
        software = {"platform_version": "3.4.0", "xapi_build": build, "xapi": "26.17", "xen": "4.17.5-20"}
        pool.database.write(hosts["h1"], "software_version", software)
        pool.database.write(hosts["h2"], "software_version", software | older)
        expected = {"vm": ["NO_HOSTS_AVAILABLE", "vm"]} if stays else {}
        assert session.xenapi.host.get_vms_which_prevent_evacuation("h1") == expected
        pool.database.write(pool.database.the_pool, "other_config", {"rolling_upgrade_in_progress": ""})
        if stays:
            with pytest.raises(Failure, match="NOT_SUPPORTED_DURING_UPGRADE"):
                session.xenapi.VM.pool_migrate("vm", "h2", {})
        else:
            session.xenapi.VM.pool_migrate("vm", "h2", {})

    def test_not_protected(self, session: Session, pool: Pool, run: AddVM) -> None:
        run()
        run("protected", ha_always_run=True, ha_restart_priority="restart")
        pool.database.the_pool.ha_enabled = True
        expected = {"vm": ["HOST_EVACUATE_VM_NOT_HA_PROTECTED", "vm"]}
        assert session.xenapi.host.get_vms_which_prevent_evacuation("h1") == expected
        for host in ("h1", "h2"):  # before 26.17 the pool said of such a VM what it says of one that finds no room
            pool.database.write(pool.database.host[host], "software_version", {"xapi_build": "26.16.9"})
        expected = {"vm": ["HOST_NOT_ENOUGH_FREE_MEMORY", "vm"]}
        assert session.xenapi.host.get_vms_which_prevent_evacuation("h1") == expected

    def test_an_operation_that_is_not_allowed_goes_before_a_boot_check(
        self, session: Session, pool: Pool, run: AddVM
    ) -> None:
        run("paused", power_state="Paused")
        run("big", VCPUs_max=99)
        pool.database.VM_metrics[run("immobile", VCPUs_max=99).metrics].nomigrate = True
        assert session.xenapi.host.get_vms_which_prevent_evacuation("h1") == {
            "paused": ["VM_BAD_POWER_STATE", "paused", "running", "paused"],
            "big": ["HOST_NOT_ENOUGH_PCPUS", "99", "16"],
            "immobile": ["VM_IS_IMMOBILE", "immobile"],
        }
        details = refused(pool, lambda: session.xenapi.host.assert_can_evacuate("h1"))
        assert sorted(details[1].split("|")) == [
            "HOST_NOT_ENOUGH_PCPUS,99,16",
            "VM_BAD_POWER_STATE,paused,running,paused",
            "VM_IS_IMMOBILE,immobile",
        ]

    def test_one_without_a_place_blocks_all(self, session: Session, pool: Pool, run: AddVM) -> None:
        run("small")
        run("big", **limits(62 * GIB))
        expected = ["HOST_NOT_ENOUGH_FREE_MEMORY", "big"]
        assert refused(pool, lambda: session.xenapi.host.evacuate("h1")) == expected

    def test_conflicting_operations(self, session: Session, pool: Pool, run: AddVM) -> None:
        run()
        h1 = pool.database.host["h1"]
        for operation, shown in (("vm_resume", "VM.resume"), ("vm_migrate", "VM.migrate"), ("provision", "provision")):
            h1.current_operations = {"t": operation}
            expected = ["OTHER_OPERATION_IN_PROGRESS", "host", "h1", shown, "t"]
            assert refused(pool, lambda: session.xenapi.host.evacuate("h1")) == expected

    def test_a_vm_that_is_halted_meanwhile_is_no_failure(self, session: Session, pool: Pool, run: AddVM) -> None:
        class Slow(Guests):
            def start(self, vm: Any, host: Any) -> Generator[float, None, int]:
                session.xenapi.VM.hard_shutdown("b" if vm.ref == "a" else "a")
                yield 1.0
                return int(vm.memory_dynamic_min)

        a, b = run("a"), run("b")
        pool.guests = Slow(pool.database)
        session.xenapi.host.evacuate("h1")
        assert {(vm.power_state, vm.resident_on) for vm in (a, b)} == {("Running", "h2"), ("Halted", "OpaqueRef:NULL")}

    def test_cancelled(self, session: Session, pool: Pool, run: AddVM) -> None:
        class Slow(Guests):
            def start(self, vm: Any, host: Any) -> Generator[float, None, int]:
                calls = list(pool.running.values())
                calls[-1].cancelled = True
                yield 1.0
                return int(vm.memory_dynamic_min)

        vm = run()
        pool.guests = Slow(pool.database)
        task = session.xenapi.Async.host.evacuate("h1")
        assert session.xenapi.task.get_error_info(task) == ["TASK_CANCELLED", task]
        assert (vm.resident_on, vm.scheduled_to_be_resident_on, vm.current_operations) == ("h1", "OpaqueRef:NULL", {})
        assert pool.database.host["h1"].current_operations == {}

    def test_anti_affinity_is_planned_for(self, session: Session, pool: Pool, run: AddVM) -> None:
        """With three hosts and the licence, VMs of a group spread; without, they all go where there is most room."""
        database = pool.database
        h2 = database.host["h2"]
        database.load("host_metrics", [row(database, "host_metrics", "h3m", memory_total=640 * GIB, live=True)])
        more = {"metrics": "h3m", "cpu_info": h2.cpu_info, "capabilities": h2.capabilities}
        database.load("host", [row(database, "host", "h3", software_version=h2.software_version, **more)])
        database.load("VM_group", [row(database, "VM_group", "g", placement="anti_affinity")])
        vms = [run(f"vm{number}", groups=("g",)) for number in range(4)]
        before = database.snapshot()
        session.xenapi.host.evacuate("h1")
        assert {vm.resident_on for vm in vms} == {"h3"}
        database.restore(before)
        database.the_pool.restrictions = {"restrict_vm_groups": "false"}
        session.xenapi.host.evacuate("h1")
        assert sorted(vm.resident_on for vm in vms) == ["h2", "h2", "h3", "h3"]

    def test_the_planner_stumbles(self, session: Session, pool: Pool, run: AddVM) -> None:
        """A defect of the server: a VM of a group fits nowhere, and another one follows."""
        database = pool.database
        database.load("host_metrics", [row(database, "host_metrics", "h3m", memory_total=64 * GIB, live=True)])
        h2 = database.host["h2"]
        more = {"metrics": "h3m", "cpu_info": h2.cpu_info, "capabilities": h2.capabilities}
        database.load("host", [row(database, "host", "h3", software_version=h2.software_version, **more)])
        database.load("VM_group", [row(database, "VM_group", "g", placement="anti_affinity")])
        database.the_pool.restrictions = {"restrict_vm_groups": "false"}
        for number in range(2):
            run(f"vm{number}", groups=("g",), **limits((70 + number) * GIB))
        expected = ["INTERNAL_ERROR", "Data corrupted during host evacuation."]
        assert refused(pool, lambda: session.xenapi.host.evacuate("h1")) == expected


class TestDeadHosts:
    def test_declared_dead_and_destroyed(self, pool: Pool, session: Session, run: AddVM) -> None:
        vm = run(resident_on="h2")
        database = pool.database
        dom0 = next(one.ref for one in database.VM if one.is_control_domain and one.resident_on == "h2")
        assert refused(pool, lambda: session.xenapi.host.declare_dead("h2")) == ["HOST_IS_LIVE", "h2"]
        database.host_metrics["h2m"].live = False
        assert refused(pool, lambda: session.xenapi.host.destroy("h2")) == ["HOST_HAS_RESIDENT_VMS", "h2"]
        session.xenapi.host.declare_dead("h2")
        assert (vm.power_state, vm.resident_on, database.host["h2"].enabled) == ("Halted", "OpaqueRef:NULL", False)
        database.the_pool.ha_enabled = True
        assert refused(pool, lambda: session.xenapi.host.destroy("h2")) == ["HA_IS_ENABLED"]
        database.the_pool.ha_enabled = False
        database.host_metrics["h1m"].live = False
        for message in (session.xenapi.host.declare_dead, session.xenapi.host.destroy):
            assert refused(pool, lambda: message("h1")) == ["HOST_IS_LIVE", "h1"]  # noqa: B023
        database.host_metrics["h1m"].live = True
        session.xenapi.host.destroy("h2")
        assert session.xenapi.host.get_all() == ["h1"]
        assert dom0 not in database.VM
        assert "h2m" not in database.host_metrics
        session.xenapi.VM.start("vm", False, False)
        assert vm.resident_on == "h1"

    def test_switched_on(self, pool: Pool, session: Session) -> None:
        host = pool.database.host["h2"]
        pool.database.host_metrics["h2m"].live = host.enabled = False
        assert refused(pool, lambda: session.xenapi.host.power_on("h2")) == ["HOST_POWER_ON_MODE_DISABLED"]
        host.power_on_mode = "DRAC"
        session.xenapi.host.power_on("h2")
        assert (host.enabled, pool.database.host_metrics["h2m"].live) == (True, True)


class TestRestarts:
    @pytest.mark.parametrize("message", ["reboot", "shutdown"])
    def test_a_disabled_host_is_emptied(self, pool: Pool, session: Session, run: AddVM, message: str) -> None:
        database = pool.database
        vm, host, metrics = run(resident_on="h2"), database.host["h2"], database.host_metrics["h2m"]
        send = getattr(session.xenapi.host, message)
        assert refused(pool, lambda: send("h2")) == ["HOST_NOT_DISABLED"]
        session.xenapi.host.disable("h2")
        host.current_operations = {"t": "vm_migrate"}
        assert refused(pool, lambda: send("h2")) == ["OTHER_OPERATION_IN_PROGRESS", "host", "h2", "VM.migrate", "t"]
        host.current_operations = {}
        before = database.snapshot()
        send("h2")
        assert (vm.power_state, vm.resident_on) == ("Halted", "OpaqueRef:NULL")
        assert host.resident_VMs == ("h2dom0",)
        assert metrics.live == host.enabled == (message == "reboot")
        lives = [change.new for change in database.journal(before) if change.field == "live"]
        assert lives == [False, True][: 1 + metrics.live]
        if message == "shutdown":
            assert refused(pool, lambda: send("h2")) == ["HOST_OFFLINE", "h2"]

    @pytest.mark.parametrize("message", ["reboot", "restart_agent"])
    def test_whether_it_is_enabled_again(self, pool: Pool, session: Session, message: str) -> None:
        host = pool.database.host["h2"]
        restart = getattr(session.xenapi.host, message)
        session.xenapi.host.disable("h2", False)
        restart("h2")
        assert not host.enabled
        session.xenapi.host.enable("h2")
        session.xenapi.host.disable("h2", True)
        pool.database.write(host, "pending_guidances", ("reboot_host", "restart_toolstack"))
        restart("h2")
        assert host.pending_guidances == (() if message == "reboot" else ("reboot_host",))
        assert host.enabled == (message == "reboot")

    @pytest.mark.parametrize(("build", "reserved"), [("26.17.0", 72 * MIB), ("26.2.0", 9 * MIB)])
    def test_the_toolstack_samples_the_overhead(
        self, pool: Pool, session: Session, run: AddVM, build: str, reserved: int
    ) -> None:
        """And the control domain need not reboot any more; what it cannot sample stays."""
        vm, host = run(resident_on="h2"), pool.database.host["h2"]
        pool.database.write(pool.database.VM["h2dom0"], "requires_reboot", True)
        session.xenapi.host.restart_agent("h2")
        assert (host.memory_overhead, vm.power_state) == (1 * GIB, "Running")
        assert not pool.database.VM["h2dom0"].requires_reboot
        pool.database.write(host, "software_version", {"xapi_build": build})
        host.boot_free_mem = 63 * GIB
        free = int(session.xenapi.host.compute_free_memory("h2"))
        session.xenapi.host.restart_agent("h2")
        assert session.xenapi.host.compute_memory_overhead("h2") == str(1 * GIB + reserved)
        assert session.xenapi.host.compute_free_memory("h2") == str(free - reserved)
        pool.database.host_metrics["h2m"].live = False
        assert refused(pool, lambda: session.xenapi.host.restart_agent("h2")) == ["HOST_OFFLINE", "h2"]


def test_what_clients_ask_of_a_host(pool: Pool, session: Session) -> None:
    assert session.xenapi.host.get_servertime("h1").value == pool.clock.date()
    assert session.xenapi.host.get_uncooperative_resident_VMs("h1") == []
    session.xenapi.host.set_numa_affinity_policy("h1", "best_effort")
    assert pool.database.host["h1"].numa_affinity_policy == "best_effort"
