"""Tasks: calls that answer at once and are carried out in the pool's own time.

Source: xenapi-messages, C.9 (xapi-project/xen-api, ocaml/xapi/taskHelper.ml, server_helpers.ml). A task's row is no
part of the pool's inventory: it is neither journaled nor restored.
"""

from typing import TYPE_CHECKING, Any, Final

from xenmem.datamodel.errors import Failure
from xenmem.xenapi.store.encoding import value_xml

if TYPE_CHECKING:
    from xenmem.xenapi.calls.call import Call
    from xenmem.xenapi.store import rows
    from xenmem.xenapi.store.database import Database

COMPLETED_SECONDS: Final = 65 * 60
"""A completed task is purged after so long (xapi_globs.ml: completed_task_timeout)."""


COMPLETED: Final = frozenset(("success", "failure", "cancelled"))
"""The states in which a task ends."""


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
    session = database.session.get(row.session)
    if session is not None:
        database.write(session, "tasks", (*session.tasks, row.ref))
    return row


def destroy(database: "Database", task: "rows.task") -> None:
    """Remove a task's row; the database must be locked."""
    database.destroy(task)
    session = database.session.get(task.session)
    if session is not None:
        database.write(session, "tasks", tuple(ref for ref in session.tasks if ref != task.ref))


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
            destroy(call.db, row)


def succeed(call: "Call", result: Any) -> None:
    """A call that runs in a task has come to its end."""
    text = value_xml(call.message.result, result)
    _finish(call, allowed_operations=(), finished=call.clock.date(), progress=1.0, result=text, status="success")


def fail(call: "Call", failure: Failure) -> None:
    """A call that runs in a task has failed, or was cancelled."""
    code, *_ = details = tuple(failure.details)
    status = "cancelled" if code == "TASK_CANCELLED" else "failure"
    _finish(call, progress=1.0, error_info=details, finished=call.clock.date(), allowed_operations=(), status=status)


def _finish(call: "Call", **values: Any) -> None:
    """Write the end of a task, field by field in the server's order."""
    database: Database = call.db
    task = call.task
    with database.lock:
        call.world.running.pop(task, None)
        row = database.task.get(task)
        if row is not None:
            for field, value in values.items():
                database.write(row, field, value)
    call.clock.call_at(call.clock.now() + COMPLETED_SECONDS, lambda: _purge(database, task))


def _purge(database: "Database", task: str) -> None:
    with database.lock:
        row = database.task.get(task)
        if row is not None:
            destroy(database, row)
