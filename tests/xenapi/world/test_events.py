"""event.from, inject, and the older register and next (docs/reference/messages.md, 9.10)."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from small_pool import build_database, refused, row, vm_row

from xenmem.datamodel import CLASSES
from xenmem.xenapi import Clock, Failure, Pace, Pool, Session
from xenmem.xenapi.messages.event import DAY_SECONDS
from xenmem.xenapi.world.events import MAX_SUBSCRIPTION_BYTES, MAX_SUBSCRIPTIONS, Queue

AddVM = Callable[..., Any]


def take(session: Session, classes: list[str], token: str = "", timeout: float = 0.0) -> dict[str, Any]:
    answer: dict[str, Any] = session.xenapi.event_from(classes, token, timeout)
    return answer


def brief(answer: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(event["operation"], event["class"], event["ref"]) for event in answer["events"]]


def test_from_the_beginning(session: Session, add_vm: AddVM) -> None:
    add_vm()
    answer = take(session, ["VM"])
    assert sorted(brief(answer)) == [("add", "vm", "h1dom0"), ("add", "vm", "h2dom0"), ("add", "vm", "vm")]
    counts = answer["valid_ref_counts"]
    assert counts.keys() == {
        name.lower() for name, schema in CLASSES.items() if schema.in_database and schema.has_events
    }
    assert {name: count for name, count in counts.items() if count} == {
        "vm": 3,
        "vm_metrics": 3,
        "host": 2,
        "host_metrics": 2,
        "pool": 1,
    }
    event = next(event for event in answer["events"] if event["ref"] == "vm")
    assert event["snapshot"] == session.xenapi.VM.get_record("vm")
    assert event.keys() == {"id", "timestamp", "class", "operation", "ref", "snapshot"}
    assert event["timestamp"] == "0.0"
    assert take(session, ["VM"], answer["token"])["events"] == []


def test_token(pool: Pool, session: Session, add_vm: AddVM) -> None:
    add_vm()
    token = take(session, ["*"])["token"]
    session.xenapi.VM.set_name_label("vm", "x")
    answer = take(session, ["vm"], token)
    (event,) = answer["events"]
    assert (event["operation"], event["snapshot"]["name_label"]) == ("mod", "x")
    assert event["id"] == str(pool.database.generation)
    assert answer["token"] == f"{pool.database.generation:020d},{0:020d}"
    assert answer["token"] > token
    session.xenapi.VM.set_name_label("vm", "y")
    seen = pool.database.generation
    session.xenapi.host.set_name_label("h1", "z")
    assert take(session, ["VM"], token)["token"] == f"{seen:020d},{0:020d}"
    token = take(session, ["*"])["token"]
    session.xenapi.VM.set_name_label("vm", "z")
    assert take(session, ["host"], token)["token"] == token, "what was not asked for does not count"


@pytest.mark.parametrize("token", ["x", "1", "1,", ",1", "1,2,3", "1.5,2", " 1,2", "99999999999999999999,0"])
def test_bad_tokens(pool: Pool, session: Session, token: str) -> None:
    assert refused(pool, lambda: take(session, ["*"], token)) == ["EVENT_FROM_TOKEN_PARSE_FAILURE", token]


def test_one_event_for_each_row(pool: Pool, session: Session, add_vm: AddVM) -> None:
    vm, other = add_vm(), add_vm("other")
    token = take(session, ["*"])["token"]
    database = pool.database
    session.xenapi.VM.set_name_label("vm", "a")
    session.xenapi.VM.set_name_label("vm", "b")
    session.xenapi.VM.set_name_label("vm", "b")
    made = vm_row(database, "made")
    database.create(made)
    database.write(made, "name_label", "m")
    brief_one = vm_row(database, "brief")
    database.create(brief_one)
    database.destroy(brief_one)
    database.destroy(other)
    answer = take(session, ["VM"], token)
    assert brief(answer) == [("add", "vm", "made"), ("mod", "vm", "vm"), ("del", "vm", "other")]
    assert answer["events"][1]["snapshot"]["name_label"] == "b"
    assert "snapshot" not in answer["events"][2]
    assert take(session, ["VM"], answer["token"])["events"] == []
    assert vm.name_label == "b"


@pytest.mark.parametrize(
    ("classes", "refs"),
    [
        (["*"], {"vm", "h1"}),
        (["VM"], {"vm"}),
        (["vM", "HOST"], {"vm", "h1"}),
        (["vm/vm"], {"vm"}),
        (["VM/VM"], set()),
        (["vm/other", "host/h1"], {"h1"}),
        (["VM/"], set()),
        (["nothing"], set()),
        ([], set()),
    ],
)
def test_subscriptions(pool: Pool, session: Session, add_vm: AddVM, classes: list[str], refs: set[str]) -> None:
    vm = add_vm()
    token = take(session, ["*"])["token"]
    pool.database.write(vm, "resident_on", "h1")
    assert {event["ref"] for event in take(session, classes, token)["events"]} == refs


def test_counterparts(pool: Pool, session: Session, add_vm: AddVM) -> None:
    """Both hosts change when a VM moves, and the group that it joins; its schedule has no counterpart."""
    vm = add_vm(power_state="Running")
    database = pool.database
    database.load("VM_group", [row(database, "VM_group", "g")])
    token = take(session, ["*"])["token"]
    database.write(vm, "resident_on", "h2")
    assert {ref for _, _, ref in brief(take(session, ["host"], token))} == {"h1", "h2"}
    token = take(session, ["*"])["token"]
    database.write(vm, "scheduled_to_be_resident_on", "h1")
    database.write(vm, "groups", ("g",))
    assert sorted(brief(take(session, ["*"], token))) == [("mod", "vm", "vm"), ("mod", "vm_group", "g")]


def test_deleted_rows_are_forgotten_in_the_end(pool: Pool, session: Session) -> None:
    database = pool.database
    rows = [vm_row(database, f"v{number}") for number in range(512)]
    database.load("VM", rows)
    token = take(session, ["*"])["token"]
    for one in rows:
        database.destroy(one)
    answer = take(session, ["VM"], token)
    assert len(answer["events"]) == 256
    assert answer["valid_ref_counts"]["vm"] == 2


def test_what_was_undone(pool: Pool, session: Session, add_vm: AddVM) -> None:
    vm = add_vm()
    snapshot = pool.database.snapshot()
    token = take(session, ["*"])["token"]
    pool.database.destroy(vm)
    answer = take(session, ["VM"], token)
    assert brief(answer) == [("del", "vm", "vm")]
    pool.database.restore(snapshot)
    assert brief(take(session, ["VM"], answer["token"])) == [("add", "vm", "vm")]


def test_what_was_undone_and_goes_for_good(pool: Pool, session: Session, add_vm: AddVM) -> None:
    """Whoever knew a row is told that it went, however often it was put back in between."""
    add_vm(is_a_template=False)
    token = take(session, ["VM"])["token"]
    for _ in range(2):
        session.xenapi.VM.destroy("vm")
        pool.database.undo()
    between = take(session, ["VM"], token)
    assert [ref for _, _, ref in brief(between)] == ["vm"]
    session.xenapi.VM.destroy("vm")
    assert brief(take(session, ["VM"], token)) == [("del", "vm", "vm")]
    assert brief(take(session, ["VM"], between["token"])) == [("del", "vm", "vm")]


class TestWaiting:
    def test_until_the_timeout(self, pool: Pool, session: Session) -> None:
        token = take(session, ["*"])["token"]
        start = pool.clock.now()
        assert take(session, ["VM"], token, 30.0)["events"] == []
        assert pool.clock.now() == start + 30

    @pytest.mark.parametrize("timeout", [-1.0, float("inf"), float("nan"), float("-inf")])
    def test_a_day(self, pool: Pool, session: Session, timeout: float) -> None:
        token = take(session, ["*"])["token"]
        start = pool.clock.now()
        take(session, ["VM"], token, timeout)
        assert pool.clock.now() == start + DAY_SECONDS

    def test_a_session_that_waits_is_in_use(self, pool: Pool, session: Session) -> None:
        handle = session.handle
        take(session, [], timeout=3 * DAY_SECONDS)
        assert session.handle == handle
        pool.dispatch("VM.get_all", (handle,))

    def test_for_what_falls_due(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        vm = add_vm()
        token = take(session, ["*"])["token"]
        start = pool.clock.now()
        pool.clock.call_at(start + 7, lambda: pool.database.write(vm, "name_label", "x"))
        assert brief(take(session, ["VM"], token, 30.0)) == [("mod", "vm", "vm")]
        assert pool.clock.now() == start + 7

    @pytest.mark.parametrize("pace", [Pace.DRIVEN, Pace.REAL])
    def test_for_another_thread(self, pace: Pace) -> None:
        session, answers, thread = self.waiting(pace, 60.0)
        time.sleep(0.05)
        session.xenapi.VM.set_name_label("h1dom0", "x")
        thread.join(10)
        assert brief(answers[0]) == [("mod", "vm", "h1dom0")]
        assert not session.pool.database.observers

    @pytest.mark.parametrize("pace", [Pace.DRIVEN, Pace.REAL])
    def test_logout_wakes(self, pace: Pace) -> None:
        session, answers, thread = self.waiting(pace, 60.0)
        handle = session.handle
        time.sleep(0.05)
        session.logout()
        thread.join(10)
        assert answers == [["SESSION_INVALID", handle]]

    def test_driven_timeout(self) -> None:
        session, answers, thread = self.waiting(Pace.DRIVEN, 60.0)
        time.sleep(0.05)
        session.pool.clock.advance(59)
        thread.join(0.05)
        assert thread.is_alive()
        session.pool.clock.advance(1)
        thread.join(10)
        assert answers[0]["events"] == []

    def test_real_timeout(self) -> None:
        _, answers, thread = self.waiting(Pace.REAL, 0.05)
        thread.join(10)
        assert answers[0]["events"] == []

    def waiting(self, pace: Pace, timeout: float) -> tuple[Session, list[Any], threading.Thread]:
        pool = Pool(build_database(), clock=Clock(pace=pace))
        session = Session(pool)
        session.login_with_password("root", "")
        token = take(session, ["*"])["token"]
        answers: list[Any] = []
        sent = (session.handle, ["VM"], token, timeout)

        def wait() -> None:
            try:
                message, _, value = pool.dispatch("event.from", sent)
                answers.append(message.result.give(value))
            except Failure as failure:
                answers.append(failure.details)

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        return session, answers, thread


class TestInject:
    def test_the_token_is_less(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm()
        token = take(session, ["*"])["token"]
        injected = session.xenapi.event.inject("VM", "vm")
        answer = take(session, ["VM"], token)
        assert brief(answer) == [("mod", "vm", "vm")]
        assert token <= injected < answer["token"]

    @pytest.mark.parametrize(("class_name", "ref"), [("vm", "vm"), ("VM", "none"), ("nothing", "vm"), ("VM", "h1")])
    def test_exact_class(self, pool: Pool, session: Session, add_vm: AddVM, class_name: str, ref: str) -> None:
        add_vm()
        details = refused(pool, lambda: session.xenapi.event.inject(class_name, ref))
        assert details == ["HANDLE_INVALID", class_name, ref]


@pytest.mark.parametrize("asked", ["*", "session", "SESSION"])
def test_sessions_are_told_to_nobody(pool: Pool, session: Session, asked: str) -> None:
    """Whoever knows the reference of a session is its user; datamodel.ml says of the class: gen_events:false."""
    session.xenapi.event.register([asked])
    other = Session(pool)
    other.login_with_password("root", "")
    assert not any(event["class"] == "session" for event in take(session, [asked])["events"])
    answer = take(session, [asked, f"session/{other.handle}"], "", 0.0)
    assert other.handle not in {event["ref"] for event in answer["events"]}
    other.logout()
    session.xenapi.host.set_name_label("h1", "x")
    session.xenapi.event.register(["host"])
    session.xenapi.host.set_name_label("h1", "y")
    assert {event["class"] for event in session.xenapi.event.next()} == {"host"}


class TestNext:
    def test_registering_again_keeps_no_more(self, pool: Pool, session: Session) -> None:
        for _ in range(3):
            session.xenapi.event.register(["VM", "host", "vm"])
        assert len(pool.events._registrations[str(session.handle)].subscriptions) == 2

    def test_every_change(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        vm = add_vm()
        event = session.xenapi.event
        event.register(["vm", "host/h1"])
        assert event.get_current_id() == "0"
        session.xenapi.VM.set_name_label("vm", "a")
        session.xenapi.VM.set_name_label("vm", "b")
        pool.database.write(vm, "resident_on", "h2")
        pool.database.destroy(vm)
        events = event.next()
        assert [(one["operation"], one["id"]) for one in events] == [
            ("mod", "0"),
            ("mod", "1"),
            ("mod", "2"),
            ("del", "3"),
        ]
        assert [one["snapshot"]["name_label"] for one in events[:3]] == ["a", "b", "b"]
        assert {one["timestamp"] for one in events} == {str(int(pool.clock.now()))}
        assert event.get_current_id() == "4"

    def test_unregistered(self, pool: Pool, session: Session) -> None:
        details = refused(pool, lambda: session.xenapi.event.next())
        assert details[0] == "SESSION_NOT_REGISTERED"
        assert details[1].startswith("trackid=")

    def test_unregister(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm()
        event = session.xenapi.event
        event.register(["VM", "host"])
        event.unregister(["vm"])
        session.xenapi.VM.set_name_label("vm", "a")
        session.xenapi.host.set_name_label("h1", "b")
        assert [one["ref"] for one in event.next()] == ["h1"]

    def test_lost(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        pool = Pool(pool.database, clock=pool.clock)
        pool.events = Queue(pool.database, pool.clock, pool._record, 20_000)
        session = Session(pool)
        session.login_with_password("root", "")
        add_vm()
        event = session.xenapi.event
        event.register(["vm"])
        for number in range(10):
            session.xenapi.VM.set_name_label("vm", f"{number}")
        assert refused(pool, lambda: event.next()) == ["EVENTS_LOST"]
        session.xenapi.VM.set_name_label("vm", "last")
        assert [one["snapshot"]["name_label"] for one in event.next()] == ["last"]

    def test_waits_for_what_falls_due(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        vm = add_vm()
        session.xenapi.event.register(["vm"])
        pool.clock.call_at(pool.clock.now() + 5, lambda: pool.database.write(vm, "name_label", "x"))
        assert len(session.xenapi.event.next()) == 1

    def test_does_not_wait_for_what_will_never_happen(self, pool: Pool, session: Session) -> None:
        session.xenapi.event.register(["vm"])
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(session.xenapi.event.next()), daemon=True)
        thread.start()
        thread.join(10)
        assert answers == [[]]

    def test_waits_for_another_thread(self) -> None:
        pool = Pool(build_database(), clock=Clock(pace=Pace.REAL))
        session = Session(pool)
        session.login_with_password("root", "")
        session.xenapi.event.register(["host"])
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(session.xenapi.event.next()), daemon=True)
        thread.start()
        time.sleep(0.05)
        assert answers == []
        session.xenapi.host.set_name_label("h1", "x")
        thread.join(10)
        assert [event["ref"] for event in answers[0]] == ["h1"]

    def test_nothing_is_kept_for_sessions_that_ended(self, pool: Pool, session: Session) -> None:
        session.xenapi.event.register(["*"])
        assert pool.database.observers
        session.logout()
        assert not pool.database.observers


def test_many_subscriptions_become_those_of_classes(pool: Pool, session: Session, add_vm: AddVM) -> None:
    """No event is lost for it, and what a client names costs no more than a bounded amount."""
    add_vm()
    session.xenapi.event.register([f"VM/{number}" for number in range(MAX_SUBSCRIPTIONS)])
    session.xenapi.event.register(["host/h1", "no class/x"])
    session.xenapi.VM.set_name_label("vm", "other")
    session.xenapi.host.set_name_label("h2", "other")
    assert [event["ref"] for event in session.xenapi.event.next()] == ["vm", "h2"]
    registration = pool.events._registrations[session.handle]
    assert {tuple(one) for one in registration.subscriptions} == {("vm", None), ("host", None)}
    session.xenapi.event.register([f"pool/{number}{'y' * (MAX_SUBSCRIPTION_BYTES // 4)}" for number in range(4)])
    assert {tuple(one) for one in registration.subscriptions} == {("vm", None), ("host", None), ("pool", None)}
