"""The host that a start takes: the sorted lists against the planner that looks at every host, and the whole choice."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_pool import limits, refused, row, vm_row

from xenmem.planning.xapi import placement as planning
from xenmem.units import GIB
from xenmem.xenapi import Database, Failure, Pool, Session
from xenmem.xenapi.world.ranking import Ranking, disfavoured

AddVM = Callable[..., Any]

amount = st.integers(-3, 12)


def build(sizes: list[int], vms: list[tuple[int, int, int, int]], master: int) -> Database:
    """Hosts of a few bytes each, with VMs on them: where, and dynamic_min, dynamic_max and static_max."""
    database = Database(seed=0)
    for number, size in enumerate(sizes):
        name = f"h{number}"
        database.load("host_metrics", [row(database, "host_metrics", f"{name}m", memory_total=size, live=True)])
        database.load("host", [row(database, "host", name, metrics=f"{name}m", memory_overhead=1)])
    database.load("pool", [row(database, "pool", "p", master=f"h{master}")])
    for number, (host, least, middle, most) in enumerate(vms):
        database.load("VM", [tiny(database, f"v{number}", least, middle, most, resident_on=f"h{host}")])
    return database


def tiny(database: Database, ref: str, least: int, middle: int, most: int, **values: Any) -> Any:
    sizes = {"memory_dynamic_min": least, "memory_dynamic_max": middle, "memory_static_max": most}
    return vm_row(database, ref, memory_overhead=1, **sizes, **values)


def naive(
    database: Database, vm: Any, bias: bool, is_valid: Callable[[str], bool], draw: Callable[[], float]
) -> str | None:
    """xenmem.planning.xapi.placement, asked about every host of the pool."""
    refs = database.host.refs()
    guests = [guest for guest in database.VM if guest.ref != vm.ref]

    def columns(of: list[Any]) -> planning.Guests:
        return planning.Guests(
            *(
                [getattr(guest, f"memory_{name}") for guest in of]
                for name in ("overhead", "static_min", "dynamic_min", "dynamic_max", "static_max")
            )
        )

    places: list[tuple[Any, int]] = []
    for guest in guests:
        for host in (guest.resident_on, guest.scheduled_to_be_resident_on):
            if host in refs:
                places.append((guest, refs.index(host)))
    hosts = [database.host[ref] for ref in refs]
    summary = planning.summarise(
        [database.host_metrics[host.metrics].memory_total for host in hosts],
        [host.memory_overhead for host in hosts],
        columns([guest for guest, _ in places]),
        [place for _, place in places],
        columns([vm]),
    )
    master = database.the_pool.master
    values = planning.category_values(
        summary,
        [place for place, ref in enumerate(refs) if ref == vm.affinity],
        [place for place, ref in enumerate(refs) if bias and ref == master],
    )
    chosen = planning.select_host(values, lambda place: is_valid(refs[place]), draw)
    return None if chosen is None else refs[chosen]


@settings(max_examples=300)
@given(data=st.data())
def test_sorted_lists_equal_the_planner(data: st.DataObject) -> None:
    """The same hosts are asked about in the same order and the same one is chosen, change after change."""
    sizes = data.draw(st.lists(st.integers(0, 40), min_size=1, max_size=7))
    host = st.integers(0, len(sizes) - 1)
    vms = data.draw(st.lists(st.tuples(host, amount, amount, amount), max_size=8))
    database = build(sizes, vms, data.draw(host))
    ranking = Ranking(database)
    for number in range(data.draw(st.integers(1, 5))):
        match data.draw(st.integers(0, 4)):
            case 0 if vms:
                moved = database.VM[f"v{data.draw(st.integers(0, len(vms) - 1))}"]
                database.write(moved, "scheduled_to_be_resident_on", f"h{data.draw(host)}")
            case 1 if vms:
                grown = database.VM[f"v{data.draw(st.integers(0, len(vms) - 1))}"]
                database.write(grown, "memory_dynamic_max", data.draw(amount))
            case 2:
                database.write(database.host_metrics[f"h{data.draw(host)}m"], "memory_total", data.draw(amount))
            case 3:
                database.write(database.the_pool, "master", f"h{data.draw(host)}")
            case 4:
                database.write(database.host[f"h{data.draw(host)}"], "memory_overhead", data.draw(amount))
        affinity = data.draw(st.sampled_from(["OpaqueRef:NULL", *database.host.refs()]))
        vm = tiny(database, f"new{number}", *data.draw(st.tuples(amount, amount, amount)), affinity=affinity)
        bad = data.draw(st.sets(st.sampled_from(database.host.refs())))
        seed, bias = data.draw(st.integers(0, 99)), data.draw(st.booleans())
        answers = []
        for select in ("naive", "ranking"):
            asked: list[str] = []

            def is_valid(ref: str, asked: list[str] = asked) -> bool:
                asked.append(ref)
                return ref not in bad  # noqa: B023

            draw = random.Random(seed).random
            if select == "naive":
                chosen = naive(database, vm, bias, is_valid, draw)
            else:
                chosen = ranking.select(vm, bias=bias, is_valid=is_valid, draw=draw)
            answers.append((chosen, asked, draw()))
        assert answers[0] == answers[1]


@given(st.integers(-(2**60), 2**60))
def test_disfavoured_truncates_toward_zero(value: int) -> None:
    expected = abs(value - 1) // 2 * (1 if value > 1 else -1)
    assert disfavoured(value) == expected


def test_hosts_that_come_and_go(pool: Pool, session: Session, add_vm: AddVM) -> None:
    add_vm("a")
    session.xenapi.VM.start("a", False, False)
    database = pool.database
    snapshot = database.snapshot()
    metrics = row(database, "host_metrics", "h3m", memory_total=640 * GIB, live=True)
    h2 = database.host["h2"]
    host = row(database, "host", "h3", metrics="h3m", cpu_info=h2.cpu_info, capabilities=h2.capabilities)
    database.create(metrics)
    database.create(host)
    pool.draw = lambda: 0.0
    add_vm("b")
    session.xenapi.VM.start("b", False, False)
    assert database.VM["b"].resident_on == "h3"
    database.restore(snapshot)
    session.xenapi.VM.start("b", False, False)
    assert database.VM["b"].resident_on in ("h1", "h2")


def test_sorted_lists_follow_hosts_metrics_and_coordinator(pool: Pool, session: Session, add_vm: AddVM) -> None:
    """Each change after the lists were in use; a VM that fits on the newcomer alone tells whether they know of it."""
    pool.draw = lambda: 0.0
    database = pool.database
    big = add_vm("big", **limits(100 * GIB))

    def start(vm: str) -> str:
        try:
            session.xenapi.VM.start(vm, False, False)
        except Failure as failure:
            return str(failure.details[0])
        place = str(session.xenapi.VM.get_resident_on(vm))
        session.xenapi.VM.hard_shutdown(vm)
        return place

    assert start("big") == "NO_HOSTS_AVAILABLE"
    h1 = database.host["h1"]
    values = {"cpu_info": h1.cpu_info, "capabilities": h1.capabilities, "software_version": h1.software_version}
    h3 = row(database, "host", "h3", metrics="h3m", **values)
    database.create(h3)
    assert start("big") == "NO_HOSTS_AVAILABLE"
    metrics = row(database, "host_metrics", "h3m", memory_total=512 * GIB, live=True)
    database.create(metrics)
    assert start("big") == "h3"
    database.destroy(metrics)
    assert start("big") == "NO_HOSTS_AVAILABLE"
    database.create(metrics)
    assert start("big") == "h3"
    database.destroy(h3)
    assert start("big") == "NO_HOSTS_AVAILABLE"
    database.write(big, "memory_dynamic_min", 0)
    add_vm("small")
    assert start("small") == "h2", "h1 is the coordinator"
    database.write(database.the_pool, "master", "h2")
    assert start("small") == "h1"


class TestWholeChoice:
    def test_the_coordinator_is_disfavoured(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        pool.draw = lambda: 0.0
        add_vm("there", power_state="Running", resident_on="h2", **limits(20 * GIB))
        for name in ("a", "b"):
            add_vm(name)
        session.xenapi.VM.start("a", False, False)
        pool.database.write(pool.database.the_pool, "coordinator_bias", False)
        session.xenapi.VM.start("b", False, False)
        assert (pool.database.VM["a"].resident_on, pool.database.VM["b"].resident_on) == ("h2", "h1")

    def test_the_worst_host_is_drawn_by_a_large_number(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        """The square of the number counts: below the square root of a half, the first of two."""
        pool.database.write(pool.database.the_pool, "coordinator_bias", False)
        add_vm("there", power_state="Running", resident_on="h2", **limits(20 * GIB))
        for name, number, expected in (("a", 0.70, "h1"), ("b", 0.71, "h2")):
            pool.draw = lambda number=number: number
            add_vm(name)
            session.xenapi.VM.start(name, False, False)
            assert pool.database.VM[name].resident_on == expected

    def test_affinity(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        pool.draw = lambda: 0.0
        vm = add_vm(affinity="h1")
        session.xenapi.VM.start("vm", False, False)
        assert vm.resident_on == "h1"
        other = add_vm("other", affinity="h1")
        session.xenapi.host.disable("h1")
        session.xenapi.VM.start("other", False, False)
        assert other.resident_on == "h2"

    @pytest.mark.parametrize(
        "spoil",
        [
            {"enabled": False},
            {"current_operations": {"t": "evacuate"}},
            {"cpu_info": {}},
            {"metrics": "OpaqueRef:NULL"},
        ],
    )
    def test_hosts_that_are_not_valid(self, pool: Pool, session: Session, add_vm: AddVM, spoil: dict[str, Any]) -> None:
        add_vm(platform={"device-model": "m"})
        for host in pool.database.host:
            for field, value in spoil.items():
                pool.database.write(host, field, value)
        assert refused(pool, lambda: session.xenapi.VM.start("vm", False, False)) == ["NO_HOSTS_AVAILABLE"]

    def test_control_domains_start_on_disabled_hosts(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        vm = add_vm(is_control_domain=True, affinity="h2")
        session.xenapi.host.disable("h1")
        session.xenapi.host.disable("h2")
        session.xenapi.VM.start("vm", False, False)
        assert vm.resident_on == "h2"

    def test_only_the_newest_hosts_during_an_upgrade(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        pool.database.write(pool.database.the_pool, "other_config", {"rolling_upgrade_in_progress": ""})
        pool.database.write(pool.database.host["h1"], "software_version", {"xapi": "26.18"})
        for name in "abcdef":
            vm = add_vm(name)
            session.xenapi.VM.start(name, False, False)
            assert vm.resident_on == "h1"

    def test_without_the_memory_check_the_category_still_counts(
        self, pool: Pool, session: Session, add_vm: AddVM
    ) -> None:
        """A guest of a PVH container needs static_max at first, and in the second round what it may shrink to."""
        pool.draw = lambda: 0.0
        for host in ("h1", "h2"):
            add_vm(f"on{host}", power_state="Running", resident_on=host, **limits(56 * GIB))
        vm = add_vm(domain_type="pv_in_pvh", memory_static_max=6 * GIB, memory_dynamic_max=6 * GIB)
        session.xenapi.VM.start("vm", False, False)
        assert vm.power_state == "Running"


class TestAntiAffinity:
    @pytest.fixture(autouse=True)
    def group(self, pool: Pool) -> None:
        database = pool.database
        database.write(database.the_pool, "restrictions", {"restrict_dmc": "false", "restrict_vm_groups": "false"})
        database.load("VM_group", [row(database, "VM_group", "g", placement="anti_affinity")])

    def test_hosts_with_fewer_of_the_group_go_first(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        pool.draw = lambda: 0.99
        for number in range(6):
            add_vm(f"vm{number}", groups=("g",))
            session.xenapi.VM.start(f"vm{number}", False, False)
        hosts = [vm.resident_on for vm in pool.database.VM if vm.groups]
        assert all({hosts[place], hosts[place + 1]} == {"h1", "h2"} for place in (0, 2, 4))

    def test_affinity_goes_before_the_group(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        for number in range(3):
            vm = add_vm(f"vm{number}", groups=("g",), affinity="h1")
            session.xenapi.VM.start(f"vm{number}", False, False)
            assert vm.resident_on == "h1"

    def test_paused_vms_do_not_count(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm("paused", power_state="Paused", resident_on="h1", groups=("g",))
        add_vm("running", power_state="Running", resident_on="h2", groups=("g",))
        vm = add_vm(groups=("g",))
        session.xenapi.VM.start("vm", False, False)
        assert vm.resident_on == "h1"

    def test_full_hosts_are_passed_over(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm("big", power_state="Running", resident_on="h1", **limits(60 * GIB))
        add_vm("running", power_state="Running", resident_on="h2", groups=("g",))
        vm = add_vm(groups=("g",), platform={"device-model": "m"})
        session.xenapi.VM.start("vm", False, False)
        assert vm.resident_on == "h2"
        huge = add_vm("huge", groups=("g",), platform={"device-model": "m"}, **limits(2**62))
        huge.memory_overhead = session.api.VM.compute_memory_overhead("huge")
        details = refused(pool, lambda: session.xenapi.VM.start("huge", False, False))
        assert details == ["NO_HOSTS_AVAILABLE"]

    def test_without_the_licence(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        pool.draw = lambda: 0.0
        pool.database.write(pool.database.the_pool, "restrictions", {"restrict_dmc": "false"})
        add_vm("running", power_state="Running", resident_on="h2", groups=("g",))
        vm = add_vm(groups=("g",))
        session.xenapi.VM.start("vm", False, False)
        assert vm.resident_on == "h2"
