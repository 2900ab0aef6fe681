"""Tasks: calls that answer at once and are carried out in the pool's own time.

Source: docs/reference/messages.md, 9.9 (xapi-project/xen-api, ocaml/xapi/taskHelper.ml, server_helpers.ml). A task's
row is no part of the pool's inventory: it is neither journaled nor restored.
"""

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from xenmem.datamodel.errors import TOO_MANY_PENDING_TASKS, Failure
from xenmem.xenapi.store.database import weight_of_row
from xenmem.xenapi.store.encoding import value_xml

if TYPE_CHECKING:
    from xenmem.xenapi.calls.call import Call, World
    from xenmem.xenapi.store import rows
    from xenmem.xenapi.store.database import Database
    from xenmem.xenapi.world.clock import Clock

COMPLETED_SECONDS: Final = 65 * 60
"""A completed task is purged after so long (xapi_globs.ml: completed_task_timeout)."""

PENDING_SECONDS: Final = 24 * 3600
"""A client's own task, which nothing ever completes, is purged after so long (xapi_globs.ml: pending_task_timeout)."""

MAX_TASKS: Final = 10_000
"""Completed tasks that are kept, the latest; and pending ones that there may be. The server, which looks now and then,
keeps 200 (xapi_globs.ml: max_tasks)."""

MAX_BYTES: Final = 1 << 26
"""What the texts of either may take."""

COMPLETED: Final = frozenset(("success", "failure", "cancelled"))
"""The states in which a task ends."""


class Shelf:
    """Tasks that are kept for some time, those put there first going first.

    Parameters
    ----------
    database, clock : whose tasks, and its time
    seconds : for so long each is kept
    """

    def __init__(self, database: "Database", clock: "Clock", seconds: float) -> None:
        self._database = database
        self._clock = clock
        self._seconds = seconds
        self._kept: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._bytes = 0
        self._is_awake = False

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def is_full(self) -> bool:
        """Whether there are more than are kept, or they are larger."""
        return len(self._kept) >= MAX_TASKS or self._bytes >= MAX_BYTES

    def put(self, task: "rows.task") -> None:
        """Keep a task; the database must be locked."""
        size = weight_of_row(task)
        self._kept[task.ref] = self._clock.now() + self._seconds, size
        self._bytes += size
        self._wake_up_in_time()

    def take(self, ref: str) -> None:
        """A task is gone; the database must be locked."""
        _, size = self._kept.pop(ref, (0.0, 0))
        self._bytes -= size

    def purge_oldest(self) -> None:
        """Remove the task that has been here for longest."""
        ref = next(iter(self._kept))
        self.take(ref)
        row = self._database.task.get(ref)
        if row is not None:
            self._database.destroy(row)

    def _wake_up_in_time(self) -> None:
        if self._kept and not self._is_awake:
            self._is_awake = True
            self._clock.call_at(next(iter(self._kept.values()))[0], self._purge)

    def _purge(self) -> None:
        with self._database.lock:
            self._is_awake = False
            while self._kept and next(iter(self._kept.values()))[0] <= self._clock.now():
                self.purge_oldest()
            self._wake_up_in_time()


def create(call: "Call", label: str, description: str = "", ref: str | None = None) -> "rows.task":
    """A pending task of a call's session.

    Parameters
    ----------
    call : the database must be locked
    label, description : its names
    ref : its reference, if it has one
    """
    database = call.db
    row: rows.task = database.new_row(
        "task",
        name_label=label,
        name_description=description,
        created=call.clock.date(),
        resident_on=database.the_pool.master,
        session=call.login.ref,
        status="pending",
    )
    if ref is not None:
        row.ref = ref
    database.create(row)
    return row


def create_for_client(call: "Call", label: str, description: str) -> "rows.task":
    """A task of the client's own; the database must be locked.

    Raises
    ------
    Failure : TOO_MANY_PENDING_TASKS
    """
    assert_room(call)
    row = create(call, label, description)
    call.world.made.put(row)
    return row


def assert_room(call: "Call") -> None:
    """Raise TOO_MANY_PENDING_TASKS if no further task may begin."""
    if call.world.made.is_full or len(call.world.running) + len(call.world.made) >= MAX_TASKS:
        raise TOO_MANY_PENDING_TASKS()


def destroy(call: "Call", task: "rows.task") -> None:
    """Remove a task's row; the database must be locked."""
    call.world.ended.take(task.ref)
    call.world.made.take(task.ref)
    call.db.destroy(task)


def show(call: "Call") -> None:
    """A call waits: its task can be cancelled, and if it is synchronous it has a row from now on until it ends."""
    row = call.db.task.get(call.task)
    if row is None:
        if call.is_async:
            return
        row = create(call, call.message.full_name, ref=call.task)
        call.world.running[row.ref] = call
    call.db.write(row, "allowed_operations", ("cancel",))


def hide(call: "Call") -> None:
    """A call has ended: if it is synchronous, nothing is left of its task."""
    if not call.is_async and call.world.running.pop(call.task, None) is not None:
        row = call.db.task.get(call.task)
        if row is not None:
            destroy(call, row)


def succeed(call: "Call", result: Any) -> None:
    """A call that runs in a task has come to its end."""
    text = value_xml(call.message.result, result)
    _finish(call, allowed_operations=(), finished=call.clock.date(), progress=1.0, result=text, status="success")


def fail(call: "Call", failure: Failure) -> None:
    """A call that runs in a task has failed, or was cancelled."""
    code, *_ = details = tuple(failure.details)
    status = "cancelled" if code == "TASK_CANCELLED" else "failure"
    _finish(call, progress=1.0, error_info=details, finished=call.clock.date(), allowed_operations=(), status=status)


def end_of_client(world: "World", task: str, failure: Failure | None) -> None:
    """A client's own task has come to its end outside of the messages: with no result, or by a failure.

    Source: ocaml/xapi/xapi_http.ml: with_context. A task that is not there, or has ended, is left alone.
    """
    row = world.database.task.get(task)
    if row is None or row.status in COMPLETED or task in world.running:
        return
    ending = {"finished": world.clock.date(), "progress": 1.0, "allowed_operations": ()}
    if failure is None:
        _end(world, task, **ending, status="success")
    else:
        _end(world, task, **ending, error_info=tuple(failure.details), status="failure")


def _finish(call: "Call", **values: Any) -> None:
    _end(call.world, call.task, **values)


def _end(world: "World", task: str, **values: Any) -> None:
    """Write the end of a task, field by field in the server's order."""
    database = world.database
    with database.lock:
        world.running.pop(task, None)
        row = database.task.get(task)
        if row is not None:
            world.made.take(task)
            for field, value in values.items():
                database.write(row, field, value)
            ended = world.ended
            ended.put(row)
            while ended.is_full:
                ended.purge_oldest()
