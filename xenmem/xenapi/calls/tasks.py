"""Tasks: calls that answer at once and are carried out in the pool's own time.

Source: xenapi-messages, C.9 (xapi-project/xen-api, ocaml/xapi/taskHelper.ml, server_helpers.ml). A task's row is no
part of the pool's inventory: it is neither journaled nor restored.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from xenmem.datamodel.errors import INTERNAL_ERROR, Failure
from xenmem.xenapi.door import wire

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
    return row


def show(call: "Call") -> None:
    """A call waits: its task can be cancelled, and if it is synchronous it has a row from now on until it ends."""
    row = call.db.task.get(call.task)
    if row is None:
        if call.is_async:
            return
        row = create(call, call.message.full_name, ref=call.task)
        call.pool.running[row.ref] = call
    call.db.write(row, "allowed_operations", ("cancel",))


def hide(call: "Call") -> None:
    """A call has ended: if it is synchronous, nothing is left of its task."""
    if not call.is_async and call.pool.running.pop(call.task, None) is not None:
        row = call.db.task.get(call.task)
        if row is not None:
            call.db.destroy(row)


def start(call: "Call", arguments: Sequence[Any], method: str, denied: Failure | None) -> str:
    """Begin a call in a task.

    Parameters
    ----------
    call, arguments : the call, its session checked
    method : as sent; names the task
    denied : why its user may not; then that is all the task does

    Returns
    -------
    str : the task's reference
    """
    from xenmem.xenapi.door.pool import Process

    database, clock = call.db, call.pool.clock
    with database.lock:
        row = create(call, method)
    call.run_in(row.ref)
    call.pool.running[row.ref] = call
    process: Process | None = None

    def go_on() -> None:
        nonlocal process
        try:
            if denied is not None:
                raise denied
            if call.message.waits:
                process = process or Process(call, call.message.body(call, *arguments))
                seconds = process.step()
                if seconds is not None:
                    clock.call_at(clock.now() + max(0.0, seconds), go_on)
                    return
                result = process.result
            else:
                result = call.pool.carry_out(call, arguments)
        except Failure as failure:
            _fail(call, failure)
        except Exception as error:
            _fail(call, INTERNAL_ERROR(f"{type(error).__name__}: {error}"))
            raise
        else:
            _succeed(call, result)

    clock.call_at(clock.now(), go_on)
    with database.waiting(call):
        clock.settle(lambda: row.ref not in call.pool.running)
    return str(row.ref)


def _succeed(call: "Call", result: Any) -> None:
    text = wire.value_xml(call.message.result, result)
    _finish(call, allowed_operations=(), finished=call.clock.date(), progress=1.0, result=text, status="success")


def _fail(call: "Call", failure: Failure) -> None:
    code, *_ = details = tuple(failure.details)
    status = "cancelled" if code == "TASK_CANCELLED" else "failure"
    _finish(call, progress=1.0, error_info=details, finished=call.clock.date(), allowed_operations=(), status=status)


def _finish(call: "Call", **values: Any) -> None:
    """Write the end of a task, field by field in the server's order."""
    database: Database = call.db
    task = call.task
    with database.lock:
        call.pool.running.pop(task, None)
        row = database.task.get(task)
        if row is not None:
            for field, value in values.items():
                database.write(row, field, value)
    call.clock.call_at(call.clock.now() + COMPLETED_SECONDS, lambda: _purge(database, task))


def _purge(database: "Database", task: str) -> None:
    with database.lock:
        row = database.task.get(task)
        if row is not None:
            database.destroy(row)
