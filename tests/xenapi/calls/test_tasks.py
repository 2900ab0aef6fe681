"""Tasks: their life, their cancellation, and those of synchronous calls (docs/reference/messages.md, 9.9)."""

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from small_pool import build_database, refused

from xenmem.units import GIB
from xenmem.xenapi import Clock, Failure, Pace, Pool, Role, Session, User
from xenmem.xenapi.calls import tasks
from xenmem.xenapi.calls.tasks import COMPLETED_SECONDS, PENDING_SECONDS
from xenmem.xenapi.world.clock import LONGEST_WAIT

AddVM = Callable[..., Any]


@pytest.fixture
def pool() -> Pool:
    return Pool(build_database(), clock=Clock(1_790_000_000.0, Pace.DRIVEN))


@pytest.fixture
def waiting(session: Session, add_vm: AddVM) -> str:
    """The task of a wait that does not end by itself."""
    add_vm(power_state="Running", memory_target=3 * GIB)
    return str(session.xenapi.Async.VM.wait_memory_target_live("vm"))


def test_pending(pool: Pool, session: Session, waiting: str) -> None:
    task = session.xenapi.task.get_record(waiting)
    assert (task["status"], task["progress"], task["result"]) == ("pending", 0.0, "")
    assert (task["allowed_operations"], task["finished"].value) == (["cancel"], "19700101T00:00:00Z")
    assert (task["name_label"], task["type"], task["resident_on"]) == (
        "Async.VM.wait_memory_target_live",
        "<none/>",
        "h1",
    )
    assert "session" not in task
    assert session.xenapi.VM.get_current_operations("vm") == {waiting: "awaiting_memory_live"}
    assert session.xenapi.session.get_tasks(session.handle) == [waiting]


def test_cancel(pool: Pool, session: Session, waiting: str) -> None:
    session.xenapi.task.cancel(waiting)
    assert list(session.xenapi.task.get_current_operations(waiting).values()) == ["cancel"]
    assert session.xenapi.task.get_status(waiting) == "pending"
    pool.clock.advance(1)
    task = session.xenapi.task.get_record(waiting)
    assert (task["status"], task["progress"], task["error_info"]) == ("cancelled", 1.0, ["TASK_CANCELLED", waiting])
    assert (task["allowed_operations"], task["result"]) == ([], "")
    assert session.xenapi.VM.get_current_operations("vm") == {}
    session.xenapi.task.cancel(waiting)
    assert session.xenapi.task.get_status(waiting) == "cancelled"


def test_destroy_of_a_pending_task_is_only_a_wish(pool: Pool, session: Session, waiting: str) -> None:
    session.xenapi.task.destroy(waiting)
    assert session.xenapi.task.get_current_operations(waiting) == {"task": "destroy"}
    pool.clock.advance(300)
    assert session.xenapi.task.get_status(waiting) == "failure"
    session.xenapi.task.destroy(waiting)
    assert refused(pool, lambda: session.xenapi.task.get_record(waiting)) == ["HANDLE_INVALID", "task", waiting]
    assert session.xenapi.session.get_tasks(session.handle) == []


def test_purged_after_65_minutes(pool: Pool, session: Session, waiting: str) -> None:
    pool.clock.advance(257)
    assert session.xenapi.task.get_error_info(waiting) == ["VM_MEMORY_TARGET_WAIT_TIMEOUT", waiting]
    pool.clock.advance(COMPLETED_SECONDS - 1)
    session.xenapi.task.get_record(waiting)
    pool.clock.advance(1)
    assert waiting not in pool.database.task


def test_order_of_writes(pool: Pool, session: Session, waiting: str) -> None:
    writes: list[tuple[str, tuple[str, ...]]] = []
    before = {name: getattr(pool.database.task[waiting], name) for name in pool.database.task.schema.fields}

    def observe(operation: str, row: Any) -> None:
        if row.ref == waiting:
            changed = tuple(name for name, value in before.items() if getattr(row, name) != value)
            writes.append((operation, changed))
            before.update({name: getattr(row, name) for name in changed})

    pool.database.observers.append(observe)
    vm = pool.database.VM["vm"]
    pool.database.write(pool.database.VM_metrics[vm.metrics], "memory_actual", 3 * GIB)
    pool.clock.advance(1)
    fields = ["allowed_operations", "finished", "progress", "result", "status"]
    assert writes == [("mod", (name,)) for name in fields]


def test_own_tasks_only(pool: Pool) -> None:
    users = {"a": User(None, Role.VM_OPERATOR), "b": User(None, Role.VM_OPERATOR), "op": User(None, Role.POOL_OPERATOR)}
    pool = Pool(build_database(), users=users)
    sessions = {}
    for name in users:
        sessions[name] = Session(pool)
        sessions[name].login_with_password(name, "")
    task = sessions["a"].xenapi.task.create("mine", "for a while")
    for send in (sessions["b"].xenapi.task.cancel, sessions["b"].xenapi.task.destroy):
        assert refused(pool, lambda: send(task))[:2] == ["RBAC_PERMISSION_DENIED", "task.destroy/any"]  # noqa: B023
    sessions["a"].xenapi.task.cancel(task)
    sessions["op"].xenapi.task.cancel(task)
    record = sessions["b"].xenapi.task.get_record(task)
    assert (record["name_label"], record["name_description"], record["status"]) == ("mine", "for a while", "pending")


@pytest.mark.parametrize("message", ["cancel", "destroy"])
def test_invalid(pool: Pool, session: Session, message: str) -> None:
    send = getattr(session.xenapi.task, message)
    assert refused(pool, lambda: send("none")) == ["HANDLE_INVALID", "task", "none"]


def test_a_synchronous_call_that_waits_has_a_task(pool: Pool, session: Session, add_vm: AddVM) -> None:
    add_vm(power_state="Running", memory_target=3 * GIB)
    failures: list[list[str]] = []

    def wait() -> None:
        with pytest.raises(Failure) as raised:
            session.xenapi.VM.wait_memory_target_live("vm")
        failures.append(raised.value.details)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    for _ in range(1000):
        if len(pool.database.task):
            break
        time.sleep(0.005)
    (task,) = session.xenapi.task.get_all()
    assert session.xenapi.VM.get_current_operations("vm") == {task: "awaiting_memory_live"}
    assert session.xenapi.task.get_name_label(task) == "VM.wait_memory_target_live"
    refusal = refused(pool, lambda: session.xenapi.VM.clean_shutdown("vm"))
    assert refusal == ["OTHER_OPERATION_IN_PROGRESS", "VM", "vm", "awaiting_memory_live", task]
    session.xenapi.task.cancel(task)
    for _ in range(1000):
        pool.clock.advance(1)
        if failures:
            break
        time.sleep(0.005)
    thread.join(10)
    assert failures == [["TASK_CANCELLED", task]]
    assert session.xenapi.task.get_all() == []
    assert pool.running == {}
    assert session.xenapi.session.get_tasks(session.handle) == []


@pytest.mark.parametrize("pace", [Pace.JUMP, Pace.DRIVEN])
def test_no_wait_leads_beyond_what_a_date_can_tell(pool: Pool, add_vm: AddVM, pace: Pace) -> None:
    """A start delay is any integer, and a timeout any float; afterwards the pool still tells the time."""
    pool.clock.pace = pace
    session = Session(pool)
    session.login_with_password("root", "")
    vm = add_vm(start_delay=2**63 - 1)
    task = session.xenapi.Async.VM.start("vm", False, False)
    if pace is Pace.DRIVEN:
        assert session.xenapi.task.get_status(task) == "pending"
        pool.clock.advance(LONGEST_WAIT)
    assert (vm.power_state, vm.current_operations) == ("Running", {})
    began = pool.clock.now()
    assert began == 1_790_000_000 + LONGEST_WAIT
    if pace is Pace.JUMP:
        session.xenapi.VM.hard_shutdown("vm")
        session.xenapi.VM.start("vm", False, False)
        assert session.xenapi.event_from([], "", 1e300)["events"] == []
        assert pool.clock.now() == began + LONGEST_WAIT + 86_400  # a timeout of 2^53 ns or more is a day
    session.xenapi.VM.set_name_label("vm", "x")
    assert pool.database.journal()[-1].origin.when == pool.clock.now()


def test_a_clock_at_the_end_of_dates() -> None:
    clock = Clock(0.0)
    clock.advance(1e12)
    assert clock.date() == "99991231T23:59:59Z"
    for seconds in (-1, math.inf, math.nan):
        with pytest.raises(ValueError, match="seconds"):
            clock.advance(seconds)


def test_real_time_finishes_tasks_by_itself(add_vm: AddVM) -> None:
    pool = Pool(build_database(), clock=Clock(pace=Pace.REAL))
    done = threading.Event()
    pool.clock.call_at(pool.clock.now() + 0.02, done.set)
    assert done.wait(10)
    again = threading.Event()
    pool.clock.call_at(pool.clock.now(), again.set)
    assert again.wait(10)


class TestBounds:
    """However many there are, tasks take so much memory and no more, and the next costs what the first did."""

    @pytest.fixture
    def pool(self) -> Pool:
        return Pool(build_database(), clock=Clock(1_790_000_000.0))

    def test_completed(self, pool: Pool, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tasks, "MAX_TASKS", 10)
        made = [session.xenapi.Async.VM.get_cooperative("x") for _ in range(50)]
        assert set(session.xenapi.task.get_all()) == set(made[-9:])
        assert set(session.xenapi.session.get_tasks(session.handle)) == set(made[-9:])
        assert len(pool.clock._due) == 1
        pool.clock.advance(COMPLETED_SECONDS)
        assert session.xenapi.task.get_all() == []
        assert pool.clock._due == []

    def test_by_their_texts(self, pool: Pool, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tasks, "MAX_BYTES", 100_000)
        for _ in range(50):
            session.xenapi.Async.VM.clone("x" * 10_000, "y")
        assert 1 <= len(pool.database.task) <= 10

    def test_destroyed_ones_do_not_count(self, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tasks, "MAX_TASKS", 10)
        kept = session.xenapi.Async.VM.get_cooperative("x")
        for _ in range(50):
            session.xenapi.task.destroy(session.xenapi.Async.VM.get_cooperative("x"))
        assert session.xenapi.task.get_all() == [kept]

    def test_of_clients(self, pool: Pool, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tasks, "MAX_TASKS", 10)
        for _ in range(10):
            session.xenapi.task.create("mine", "")
        for send in (lambda: session.xenapi.task.create("x", ""), lambda: session.xenapi.Async.VM.get_cooperative("x")):
            assert refused(pool, send) == ["TOO_MANY_PENDING_TASKS"]
        pool.clock.advance(PENDING_SECONDS)
        assert session.xenapi.task.get_all() == []
        session.xenapi.task.create("mine", "")

    def test_pending(self, pool: Pool, session: Session, add_vm: AddVM, monkeypatch: pytest.MonkeyPatch) -> None:
        pool.clock.pace = Pace.DRIVEN
        monkeypatch.setattr(tasks, "MAX_TASKS", 1)
        add_vm(power_state="Running", memory_target=3 * GIB)
        session.xenapi.Async.VM.wait_memory_target_live("vm")
        assert refused(pool, lambda: session.xenapi.Async.VM.get_cooperative("x")) == ["TOO_MANY_PENDING_TASKS"]
