"""Guests that balloon in the pool's time: ranges, waits, what a start squeezes (messages.md, 3.4, 3.5, 5)."""

from collections.abc import Callable
from typing import Any

import pytest
from small_pool import everything, limits, refused, vm_row

from xenmem.planning.xapi import balloon
from xenmem.units import GIB, KIB, MIB
from xenmem.xenapi import Clock, Failure, Pace, Pool, Session
from xenmem.xenapi.world.guests import GUEST, RATE, Behaviour, behaviour

AddVM = Callable[..., Any]

OVERHEAD = 37 * MIB
ROOM = 61 * GIB
"""What h1 has for guests and their overheads."""


def ranged(low: int, high: int, **values: Any) -> dict[str, Any]:
    """A running VM that has dynamic_max."""
    return {
        "power_state": "Running",
        "memory_static_min": 0,
        "memory_dynamic_min": low,
        "memory_dynamic_max": high,
        "memory_static_max": high,
        "memory_target": high,
    } | values


@pytest.fixture
def add_vm(pool: Pool) -> AddVM:
    """Put a VM into the pool; a running one has the memory that it is told to have, and drivers without an agent."""

    def add(ref: str = "vm", **values: Any) -> Any:
        if values.get("power_state") == "Running":
            values.setdefault("resident_on", "h1")
        vm = vm_row(pool.database, ref, **values)
        pool.database.load("VM", [vm])
        metrics = pool.database.VM_metrics[vm.metrics]
        pool.database.write(metrics, "memory_actual", vm.memory_target)
        pool.database.write(metrics, "current_domain_type", "pvh")
        return vm

    return add


def actual(session: Session, ref: str) -> int:
    return int(session.api.VM_metrics.get_memory_actual(f"{ref}m"))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, (Behaviour.COOPERATIVE, GIB)),
        ({GUEST: "cooperative"}, (Behaviour.COOPERATIVE, GIB)),
        ({GUEST: "cooperative", RATE: "1048576"}, (Behaviour.COOPERATIVE, MIB)),
        ({GUEST: "slow"}, (Behaviour.SLOW, 4 * MIB)),
        ({GUEST: "slow", RATE: "0x1000"}, (Behaviour.SLOW, 4096)),
        ({GUEST: "stuck", RATE: "5"}, (Behaviour.STUCK, 0)),
        ({GUEST: "absent"}, (Behaviour.ABSENT, 0)),
    ],
)
def test_behaviour(add_vm: AddVM, config: dict[str, str], expected: Any) -> None:
    assert behaviour(add_vm(other_config=config)) == expected


@pytest.mark.parametrize(
    ("config", "key", "value"),
    [
        ({GUEST: "lazy"}, GUEST, "lazy"),
        ({GUEST: ""}, GUEST, ""),
        ({GUEST: "slow", RATE: "0"}, RATE, "0"),
        ({GUEST: "slow", RATE: "-1"}, RATE, "-1"),
        ({GUEST: "slow", RATE: "fast"}, RATE, "fast"),
    ],
)
def test_what_is_no_behaviour(
    pool: Pool, session: Session, add_vm: AddVM, config: dict[str, str], key: str, value: str
) -> None:
    add_vm(power_state="Running", other_config=config)
    expected = ["INVALID_VALUE", f"other_config:{key}", value]
    assert refused(pool, lambda: session.xenapi.VM.wait_memory_target_live("vm")) == expected


def test_what_is_no_behaviour_hinders_no_other_message(pool: Pool, session: Session, add_vm: AddVM) -> None:
    """A guest whose other_config says something else while it is squeezed does nothing from then on."""
    add_vm("other", other_config={GUEST: "slow"}, **ranged(GIB, 2 * GIB))
    vm = add_vm(**ranged(GIB, 2 * GIB) | {"power_state": "Halted"})
    session.xenapi.VM.start_on("vm", "h1", False, False)
    session.xenapi.VM.set_other_config("other", {GUEST: "lazy"})
    pool.clock.advance(60)
    session.xenapi.VM.set_memory_dynamic_range("vm", str(GIB), str(GIB))
    session.xenapi.VM.wait_memory_target_live("vm")
    pool.clock.advance(60)
    session.xenapi.VM.hard_shutdown("vm")
    session.xenapi.VM.start_on("vm", "h1", False, False)
    assert (vm.power_state, vm.current_operations) == ("Running", {})
    expected = ["INVALID_VALUE", f"other_config:{GUEST}", "lazy"]
    assert refused(pool, lambda: session.xenapi.VM.wait_memory_target_live("other")) == expected


def test_without_a_word_targets_are_reached_at_once(pool: Pool, session: Session, add_vm: AddVM) -> None:
    add_vm(**ranged(GIB, 2 * GIB))
    session.xenapi.VM.set_memory_dynamic_range("vm", str(GIB), str(GIB))
    assert actual(session, "vm") == GIB
    start = pool.clock.now()
    session.xenapi.VM.wait_memory_target_live("vm")
    assert pool.clock.now() == start


def test_a_word_that_comes_later_counts_from_then_on(session: Session, add_vm: AddVM) -> None:
    add_vm(**ranged(GIB, 2 * GIB))
    session.api.VM.set_memory_dynamic_range("vm", GIB, GIB)
    assert actual(session, "vm") == GIB
    session.api.VM.add_to_other_config("vm", GUEST, "stuck")
    session.api.VM.set_memory_dynamic_range("vm", 2 * GIB, 2 * GIB)
    assert actual(session, "vm") == GIB


def level(room: int, ranges: dict[str, tuple[int, int]]) -> dict[str, int]:
    """Where a host settles (planning.md, 6.7): bytes by VM.

    Parameters
    ----------
    room : KiB for all of them, overheads taken off
    ranges : dynamic_min and dynamic_max of each in KiB
    """
    spare = room - sum(low for low, _ in ranges.values()) - 8 * len(ranges)
    part = min(1.0, max(0, spare) / sum(high - low for low, high in ranges.values()))
    return {ref: (low + int(part * (high - low))) * KIB for ref, (low, high) in ranges.items()}


class TestAtOnce:
    """Nobody says how a guest balloons: all is done when the message answers."""

    BIG, NEW = (10 * GIB // KIB, 40 * GIB // KIB), (10 * GIB // KIB, 60 * GIB // KIB)

    def told(self, session: Session, *refs: str) -> dict[str, int]:
        """What VMs are told to have, which they have."""
        assert all(actual(session, ref) == session.api.VM.get_memory_target(ref) for ref in refs)
        return {ref: session.api.VM.get_memory_target(ref) for ref in refs}

    @pytest.fixture
    def scene(self, add_vm: AddVM) -> None:
        """A VM with all that it may have on h1, and one to come that shares with it."""
        add_vm("big", **ranged(10 * GIB, 40 * GIB))
        values = {"power_state": "Halted", "memory_target": 0, "domain_type": "pvh"}
        add_vm("new", **ranged(10 * GIB, 60 * GIB, **values))

    def room(self, session: Session) -> int:
        return (ROOM - OVERHEAD - session.api.VM.get_memory_overhead("new")) // KIB

    def test_enough_for_dynamic_max(self, session: Session, add_vm: AddVM) -> None:
        add_vm("other", **ranged(GIB, 2 * GIB, memory_target=GIB))
        add_vm(**ranged(GIB, 2 * GIB + 1, power_state="Halted", memory_target=0))
        session.xenapi.VM.start_on("vm", "h1", False, False)
        assert self.told(session, "vm", "other") == {"vm": 2 * GIB, "other": GIB}, "whole KiB; nobody else is looked at"

    def test_a_start_squeezes_the_others(self, pool: Pool, session: Session, scene: None) -> None:
        """Public case 45, and the newcomer's own range."""
        start = pool.clock.now()
        session.xenapi.VM.start_on("new", "h1", False, False)
        told = self.told(session, "big", "new")
        assert told == level(self.room(session), {"big": self.BIG, "new": self.NEW})
        used = sum(told.values()) + OVERHEAD + session.api.VM.get_memory_overhead("new")
        assert 0 <= ROOM - used < MIB, "a state that a host can be in"
        assert pool.clock.now() == start

    def test_one_without_a_range_squeezes_them_too(self, session: Session, scene: None, add_vm: AddVM) -> None:
        add_vm("fixed", **limits(30 * GIB))
        session.xenapi.VM.start_on("fixed", "h1", False, False)
        assert self.told(session, "fixed") == {"fixed": 30 * GIB}
        room = (ROOM - 30 * GIB - OVERHEAD - session.api.VM.get_memory_overhead("fixed")) // KIB
        assert self.told(session, "big") == level(room, {"big": self.BIG})

    @pytest.mark.parametrize("message", ["hard_shutdown", "suspend", "pool_migrate"])
    def test_who_goes_gives_back(self, session: Session, scene: None, message: str) -> None:
        session.xenapi.VM.start_on("new", "h1", False, False)
        getattr(session.xenapi.VM, message)("new", *(("h2", {}) if message == "pool_migrate" else ()))
        assert self.told(session, "big") == {"big": 40 * GIB}
        assert session.api.VM.get_memory_target("new") == (60 * GIB if message == "pool_migrate" else 0)

    def test_a_range_that_grows_and_shrinks(self, session: Session, scene: None) -> None:
        session.xenapi.VM.start_on("new", "h1", False, False)
        session.xenapi.VM.set_memory_dynamic_range("new", str(10 * GIB), str(20 * GIB))
        assert self.told(session, "big", "new") == {"big": 40 * GIB, "new": 20 * GIB}
        session.xenapi.VM.set_memory_dynamic_range("new", str(10 * GIB), str(60 * GIB))
        assert self.told(session, "big", "new") == level(self.room(session), {"big": self.BIG, "new": self.NEW})

    def test_what_is_reserved_is_kept_free(self, session: Session, scene: None, add_vm: AddVM) -> None:
        add_vm("to come", **limits(5 * GIB), memory_overhead=0, scheduled_to_be_resident_on="h1")
        session.xenapi.VM.start_on("new", "h1", False, False)
        room = self.room(session) - 5 * GIB // KIB
        assert self.told(session, "big", "new") == level(room, {"big": self.BIG, "new": self.NEW})

    def test_a_control_domain_takes_no_part(self, session: Session) -> None:
        session.xenapi.VM.set_memory_dynamic_range("h1dom0", str(2 * GIB), str(2 * GIB))
        assert session.api.VM.get_memory_target("h1dom0") == 2 * GIB

    def test_is_undone_with_the_message(self, pool: Pool, session: Session, scene: None) -> None:
        before = everything(pool)
        session.xenapi.VM.start_on("new", "h1", False, False)
        pool.database.undo()
        assert everything(pool) == before


class TestMigration:
    """The sender squeezes who migrates for up to 120 s, and sends what is left (planning.md, 6.6)."""

    @pytest.fixture
    def scene(self, add_vm: AddVM) -> Callable[[str], None]:
        def build(kind: str) -> None:
            add_vm("mover", **ranged(GIB, 5 * GIB, resident_on="h2", other_config={GUEST: kind}))
            add_vm("full", **ranged(57 * GIB, 57 * GIB))

        return build

    @pytest.mark.parametrize(("kind", "seconds"), [("stuck", 180), ("absent", 60)])
    def test_who_does_not_balloon_needs_all_that_it_has(
        self, pool: Pool, session: Session, scene: Callable[[str], None], kind: str, seconds: int
    ) -> None:
        """Public case 35: 4 GiB less would fit."""
        scene(kind)
        start = pool.clock.now()
        with pytest.raises(Failure) as raised:
            session.xenapi.VM.pool_migrate("mover", "h1", {})
        needed, free = 5 * GIB + OVERHEAD, ROOM - 57 * GIB - OVERHEAD
        assert raised.value.details == ["HOST_NOT_ENOUGH_FREE_MEMORY", str(needed), str(free)]
        assert pool.clock.now() == start + seconds, "120 s for its driver, if it has one, and 60 s for the memory"
        assert session.xenapi.VM.get_resident_on("mover") == "h2"
        assert (actual(session, "mover"), session.api.VM.get_memory_target("mover")) == (5 * GIB, 5 * GIB)

    def test_who_balloons_arrives_small(self, pool: Pool, session: Session, scene: Callable[[str], None]) -> None:
        scene("cooperative")
        start = pool.clock.now()
        session.xenapi.VM.pool_migrate("mover", "h1", {})
        assert pool.clock.now() == start + 4, "4 GiB at 1 GiB per second"
        assert actual(session, "mover") == GIB
        pool.clock.advance(60)
        room = (ROOM - 57 * GIB - 2 * OVERHEAD) // KIB
        assert abs(actual(session, "mover") // KIB - room) <= 16

    def test_a_slow_guest_gets_as_far_as_it_gets(
        self, pool: Pool, session: Session, scene: Callable[[str], None]
    ) -> None:
        scene("slow")
        start = pool.clock.now()
        session.xenapi.VM.pool_migrate("mover", "h2", {})
        assert (pool.clock.now(), actual(session, "mover")) == (start, 5 * GIB), (
            "within a host it stays as large as it is"
        )
        for field in ("memory_dynamic_min", "memory_dynamic_max", "memory_target"):
            pool.database.write(pool.database.VM["full"], field, 30 * GIB)
        pool.database.write(pool.database.VM_metrics["fullm"], "memory_actual", 30 * GIB)
        session.xenapi.VM.pool_migrate("mover", "h1", {})
        assert pool.clock.now() == start + 120
        assert actual(session, "mover") == 5 * GIB - 120 * 4 * MIB


class TestRange:
    def test_slow_guest(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        """100 MiB at 4 MiB per second; the wait ends a MiB before: after 25 polls, a second apart."""
        add_vm(**ranged(GIB, GIB + 100 * MIB, other_config={GUEST: "slow"}))
        session.xenapi.VM.set_memory_dynamic_range("vm", str(GIB), str(GIB))
        assert session.api.VM.get_memory_target("vm") == GIB
        assert actual(session, "vm") == GIB + 100 * MIB
        start = pool.clock.now()
        assert session.xenapi.VM.wait_memory_target_live("vm") == ""
        assert pool.clock.now() == start + 25
        assert actual(session, "vm") == GIB

    def test_too_slow_a_guest(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm(**ranged(GIB, 2 * GIB + 100 * MIB, other_config={GUEST: "slow"}))
        session.xenapi.VM.set_memory_dynamic_range("vm", str(GIB), str(GIB))
        start = pool.clock.now()
        task = session.xenapi.Async.VM.wait_memory_target_live("vm")
        assert session.xenapi.task.get_error_info(task) == ["VM_MEMORY_TARGET_WAIT_TIMEOUT", task]
        assert pool.clock.now() == start + 257
        assert actual(session, "vm") == 2 * GIB + 100 * MIB - 257 * 4 * MIB
        assert session.xenapi.VM.wait_memory_target_live("vm") == ""

    def test_stuck_guest(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        vm = add_vm(**ranged(GIB, 2 * GIB, other_config={GUEST: "stuck"}))
        session.xenapi.VM.set_memory_dynamic_range("vm", str(GIB), str(GIB))
        with pytest.raises(Failure) as raised:
            session.xenapi.VM.wait_memory_target_live("vm")
        assert raised.value.details[0] == "VM_MEMORY_TARGET_WAIT_TIMEOUT"
        assert actual(session, "vm") == 2 * GIB
        session.api.VM.set_other_config("vm", {GUEST: "cooperative"})
        session.xenapi.VM.wait_memory_target_live("vm")
        assert actual(session, "vm") == GIB
        assert vm.memory_target == GIB

    def test_cancelled_wait(self, pool: Pool, add_vm: AddVM) -> None:
        pool = Pool(pool.database, clock=Clock(0.0, Pace.DRIVEN))
        session = Session(pool)
        session.login_with_password("root", "")
        add_vm(**ranged(GIB, 2 * GIB, other_config={GUEST: "stuck"}))
        session.xenapi.VM.set_memory_dynamic_range("vm", str(GIB), str(GIB))
        task = session.xenapi.Async.VM.wait_memory_target_live("vm")
        pool.clock.advance(10)
        session.xenapi.task.cancel(task)
        pool.clock.advance(1)
        assert session.xenapi.task.get_error_info(task) == ["TASK_CANCELLED", task]
        assert session.xenapi.task.get_status(task) == "cancelled"

    def test_a_wider_range_gives_what_is_free(self, session: Session, add_vm: AddVM) -> None:
        add_vm(**ranged(GIB, GIB, memory_static_max=4 * GIB, other_config={GUEST: "cooperative"}))
        session.xenapi.VM.set_memory_dynamic_range("vm", str(GIB), str(4 * GIB))
        session.xenapi.VM.wait_memory_target_live("vm")
        assert session.api.VM.get_memory_target("vm") == 4 * GIB
        assert actual(session, "vm") == 4 * GIB

    def test_memory_is_shared_as_squeezed_shares_it(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        """Two guests on a full host: each keeps the same part of its range, as planning.xapi computes it."""
        add_vm("a", **ranged(10 * GIB, 30 * GIB, memory_target=10 * GIB, other_config={GUEST: "cooperative"}))
        add_vm("b", **ranged(20 * GIB, 60 * GIB, memory_target=20 * GIB))
        session.xenapi.VM.set_memory_dynamic_range("a", str(10 * GIB), str(30 * GIB))
        pool.clock.advance(100)
        free = (ROOM - 2 * OVERHEAD - 30 * GIB) // KIB + balloon.SLUSH_FUND_KIB
        domains = [
            balloon.Domain(1, True, 10 * GIB // KIB, 0, 30 * GIB // KIB, 10 * GIB // KIB, 0, 4),
            balloon.Domain(2, True, 20 * GIB // KIB, 0, 60 * GIB // KIB, 20 * GIB // KIB, 0, 4),
        ]
        targets = dict(balloon.compute_target_adjustments(balloon.Host(domains, free), balloon.SLUSH_FUND_KIB))
        for domid, ref in ((1, "a"), (2, "b")):
            assert abs(session.api.VM.get_memory_target(ref) // KIB - targets[domid]) <= 16
            assert abs(actual(session, ref) // KIB - targets[domid]) <= 16


class TestStart:
    def start(self, session: Session, ref: str = "new") -> None:
        session.xenapi.VM.start_on(ref, "h1", False, False)

    def test_squeezes_the_others(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm("big", **ranged(10 * GIB, 58 * GIB, other_config={GUEST: "cooperative"}))
        add_vm("new", **limits(20 * GIB))
        start = pool.clock.now()
        self.start(session)
        took = pool.clock.now() - start
        assert 17 <= took <= 19, "17 GiB and more at 1 GiB per second"
        assert session.xenapi.VM.get_power_state("new") == "Running"
        assert (actual(session, "new"), session.api.VM.get_memory_target("new")) == (20 * GIB, 20 * GIB)
        pool.clock.advance(60)
        used = actual(session, "big") + actual(session, "new") + session.api.VM.get_memory_overhead("new") + OVERHEAD
        assert 0 <= ROOM - used < MIB
        session.xenapi.VM.hard_shutdown("new")
        assert session.api.VM.get_memory_target("new") == 0
        pool.clock.advance(60)
        assert actual(session, "big") == 58 * GIB

    def test_a_newcomer_shares(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm("big", **ranged(10 * GIB, 60 * GIB, other_config={GUEST: "cooperative"}))
        add_vm("new", **ranged(10 * GIB, 60 * GIB, power_state="Halted", memory_target=0))
        self.start(session)
        pool.clock.advance(120)
        assert abs(actual(session, "big") - actual(session, "new")) < MIB

    def test_what_does_not_fit(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        """A guest without a driver keeps what it has: there is room by the accounts of the database, but not here."""
        add_vm("big", **ranged(10 * GIB, 58 * GIB, other_config={GUEST: "absent"}))
        new = add_vm("new", **limits(20 * GIB))
        start = pool.clock.now()
        with pytest.raises(Failure) as raised:
            self.start(session)
        code, needed, free = raised.value.details
        assert code == "HOST_NOT_ENOUGH_FREE_MEMORY"
        assert int(needed) == 20 * GIB + new.memory_overhead
        assert int(free) == ROOM - 58 * GIB - OVERHEAD
        assert pool.clock.now() >= start + 60
        assert session.xenapi.VM.get_power_state("new") == "Halted"
        assert session.xenapi.VM.get_scheduled_to_be_resident_on("new") == "OpaqueRef:NULL"
        assert session.xenapi.VM.get_current_operations("new") == {}

    def test_who_does_not_cooperate(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm("big", **ranged(10 * GIB, 58 * GIB, other_config={GUEST: "stuck"}))
        add_vm("new", **limits(20 * GIB))
        with pytest.raises(Failure) as raised:
            self.start(session)
        assert raised.value.details == ["VMS_FAILED_TO_COOPERATE", "big"]

    def test_two_at_once(self, add_vm: AddVM, pool: Pool) -> None:
        """The squeezer does one thing at a time: together they get what each would."""
        pool = Pool(pool.database, clock=Clock(0.0, Pace.DRIVEN))
        session = Session(pool)
        session.login_with_password("root", "")
        add_vm("big", **ranged(10 * GIB, 58 * GIB, other_config={GUEST: "cooperative"}))
        tasks = []
        for ref in ("one", "two"):
            add_vm(ref, **limits(15 * GIB))
            tasks.append(session.xenapi.Async.VM.start_on(ref, "h1", False, False))
        pool.clock.advance(120)
        assert [session.xenapi.task.get_status(task) for task in tasks] == ["success"] * 2
        total = sum(actual(session, ref) + pool.database.VM[ref].memory_overhead for ref in ("big", "one", "two"))
        assert 0 <= ROOM - total < MIB

    def test_waits_until_the_squeezer_is_free(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm("big", **ranged(GIB, GIB + 100 * MIB, other_config={GUEST: "slow"}))
        add_vm("new", **limits(GIB))
        session.xenapi.VM.set_memory_dynamic_range("big", str(GIB), str(GIB))
        start = pool.clock.now()
        self.start(session)
        assert 25 <= pool.clock.now() - start <= 28, "100 MiB at 4 MiB per second"

    def test_nobody_grows_beyond_what_is_free(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm("other", **ranged(40 * GIB, 40 * GIB))
        fast = add_vm(**ranged(GIB, 60 * GIB, other_config={GUEST: "cooperative", RATE: str(100 * GIB)}))
        pool.database.write(pool.database.VM_metrics["vmm"], "memory_actual", GIB)
        pool.guests.live_memory(fast)
        pool.clock.advance(1)
        free = ROOM - 2 * OVERHEAD - 40 * GIB + balloon.SLUSH_FUND_KIB * KIB
        assert pool.guests.live_memory(fast) == (free, 60 * GIB)

    def test_a_guest_without_driver_is_not_counted_on(self, session: Session, add_vm: AddVM) -> None:
        """What the newcomer gets is what planning.xapi says, with the driverless guest's memory fixed."""
        add_vm("fixed", **ranged(GIB, 40 * GIB, other_config={GUEST: "absent"}))
        add_vm("big", **ranged(GIB, 19 * GIB))
        new = add_vm("new", **ranged(5 * GIB, 20 * GIB, power_state="Halted", memory_target=0))
        self.start(session)
        domains = [
            balloon.Domain(domid, True, low * GIB // KIB, 0, high * GIB // KIB, high * GIB // KIB, 0, 4)
            for domid, low, high in ((1, 40, 40), (2, 1, 19))
        ]
        free = (ROOM - 2 * OVERHEAD - 59 * GIB) // KIB + balloon.SLUSH_FUND_KIB
        overhead = new.memory_overhead // KIB
        low, high = 5 * GIB // KIB + overhead, 20 * GIB // KIB + overhead
        ideal = balloon.ideal_kib(balloon.Host(domains, free), low, high)
        assert abs(actual(session, "new") // KIB - (ideal - overhead)) <= 16

    def test_cancelled(self, add_vm: AddVM, pool: Pool) -> None:
        pool = Pool(pool.database, clock=Clock(0.0, Pace.DRIVEN))
        session = Session(pool)
        session.login_with_password("root", "")
        add_vm("big", **ranged(10 * GIB, 58 * GIB, other_config={GUEST: "slow"}))
        add_vm("new", **limits(20 * GIB))
        task = session.xenapi.Async.VM.start_on("new", "h1", False, False)
        pool.clock.advance(5)
        assert session.xenapi.VM.get_current_operations("new") == {task: "start_on"}
        session.xenapi.task.cancel(task)
        pool.clock.advance(1)
        assert session.xenapi.task.get_error_info(task) == ["TASK_CANCELLED", task]
        assert session.xenapi.VM.get_power_state("new") == "Halted"
        before = actual(session, "big")
        pool.clock.advance(100)
        assert actual(session, "big") == 58 * GIB > before, "what was squeezed out is given back"

    def test_migration_brings_dynamic_min(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm("mover", **ranged(GIB, 2 * GIB, resident_on="h2"))
        add_vm("big", **ranged(10 * GIB, 58 * GIB, other_config={GUEST: "cooperative"}))
        session.xenapi.VM.pool_migrate("mover", "h1", {})
        assert session.xenapi.VM.get_resident_on("mover") == "h1"
        assert actual(session, "mover") == GIB


def test_a_restored_pool_has_its_memory_back(pool: Pool, session: Session, add_vm: AddVM) -> None:
    add_vm(**ranged(GIB, 2 * GIB, other_config={GUEST: "cooperative"}))
    session.xenapi.VM.wait_memory_target_live("vm")
    snapshot = pool.database.snapshot()
    session.xenapi.VM.set_memory_dynamic_range("vm", str(GIB), str(GIB))
    session.xenapi.VM.wait_memory_target_live("vm")
    assert actual(session, "vm") == GIB
    pool.database.restore(snapshot)
    session.xenapi.VM.wait_memory_target_live("vm")
    assert (actual(session, "vm"), session.api.VM.get_memory_target("vm")) == (2 * GIB, 2 * GIB)


def test_the_journal_says_who_squeezed(pool: Pool, session: Session, add_vm: AddVM) -> None:
    """A message's own changes are its author's; what the host does later, in its own time, is squeezed's."""
    add_vm("big", **ranged(10 * GIB, 58 * GIB, other_config={GUEST: "slow"}))
    start, author = pool.database.snapshot(), pool.database.author
    session.xenapi.VM.set_memory_dynamic_range("big", str(10 * GIB), str(57 * GIB))
    by_message = pool.database.journal(start)
    pool.clock.advance(100)
    later = pool.database.journal(start)[len(by_message) :]
    assert {(change.origin.who, change.origin.message) for change in by_message} == {
        ("root", "VM.set_memory_dynamic_range")
    }
    assert {(change.origin.who, change.origin.message) for change in later} == {("squeezed", "")}
    assert {change.field for change in later} == {"memory_actual"}
    moments = [change.origin.when for change in later]
    assert pool.database.author is author
    assert moments == sorted(moments)
    assert moments[0] < moments[-1] <= pool.clock.now()
    before = pool.database.VM_metrics["bigm"].memory_actual
    session.xenapi.VM.set_order("big", "1")
    assert pool.database.journal()[-1].origin.who == "root"
    pool.database.undo(2)
    assert pool.database.VM_metrics["bigm"].memory_actual == later[-1].old > before


class TestUndo:
    """What one message changed is undone as a whole, although squeezed writes in between."""

    @pytest.fixture
    def scene(self, add_vm: AddVM) -> None:
        add_vm("big", **ranged(10 * GIB, 58 * GIB, other_config={GUEST: "cooperative"}))
        add_vm("mover", **ranged(18 * GIB, 18 * GIB, resident_on="h2"))
        add_vm("new", **limits(20 * GIB))

    @pytest.mark.parametrize(
        ("method", "parameters"),
        [
            ("VM.start", ("new", False, False)),
            ("VM.start_on", ("new", "h1", False, False)),
            ("VM.pool_migrate", ("mover", "h1", {})),
            ("host.evacuate", ("h2",)),
            ("event.from", (["VM/new"], "", 60.0)),
            ("Async.VM.start", ("new", False, False)),
            ("Async.host.evacuate", ("h2",)),
        ],
    )
    def test_a_message(self, pool: Pool, session: Session, scene: None, method: str, parameters: Any) -> None:
        pool.database.write(pool.database.host["h2"], "enabled", False)
        session.xenapi.VM.set_memory_dynamic_range("big", str(10 * GIB), str(57 * GIB))
        if method == "event.from":
            parameters = (parameters[0], session.xenapi.event_from(parameters[0], "", 0.0)["token"], parameters[2])
        start, before = pool.database.snapshot(), everything(pool)
        session.xenapi_request(method, parameters)
        assert everything(pool) != before
        assert "squeezed" in {change.origin.who for change in pool.database.journal(start)}
        pool.database.undo()
        assert everything(pool) == before

    def test_one_message_of_two_that_wait(self, add_vm: AddVM, pool: Pool, scene: None) -> None:
        """What began later is undone alone, if it ended last."""
        pool = Pool(pool.database, clock=Clock(pool.clock.now(), Pace.DRIVEN))
        session = Session(pool)
        session.login_with_password("root", "")
        session.xenapi.Async.VM.start_on("new", "h1", False, False)
        pool.clock.advance(1)
        before = everything(pool)
        session.xenapi.VM.set_name_label("mover", "x")
        pool.database.undo()
        assert everything(pool) == before
