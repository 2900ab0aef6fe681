"""The messages of the class task that do more than read a field. Source: messages.md, 9.9 (xapi_task.ml)."""

from typing import TYPE_CHECKING, Final

from xenmem.datamodel import Role
from xenmem.datamodel.errors import HANDLE_INVALID, RBAC_PERMISSION_DENIED, TOO_MANY_PENDING_TASKS
from xenmem.xenapi.calls import tasks
from xenmem.xenapi.calls.call import Call, denied
from xenmem.xenapi.calls.message import String, TaskRef, message

if TYPE_CHECKING:
    from xenmem.xenapi.store import rows

_MINE: Final = (HANDLE_INVALID, RBAC_PERMISSION_DENIED)


def _own(call: Call, ref: str) -> "rows.task":
    """The task, if the caller may end it: it is one of their own, or they are pool-operators."""
    task = call.db.task[ref]
    session = call.db.session.get(task.session)
    is_mine = session is not None and session.auth_user_name == call.login.user
    if not is_mine and call.login.role < Role.POOL_OPERATOR:
        raise denied("task.destroy/any", Role.POOL_OPERATOR)
    return task


@message("task", errors=(TOO_MANY_PENDING_TASKS,))
def create(call: Call, label: String, description: String) -> TaskRef:
    """A task of the client's own, pending until it is destroyed, for a day at most."""
    return tasks.create_for_client(call, label, description).ref


@message("task", errors=_MINE)
def destroy(call: Call, self: TaskRef) -> None:
    """Remove a completed task; of one that is pending only the wish is noted, and nothing comes of it."""
    task = _own(call, self)
    if task.status in tasks.COMPLETED:
        tasks.destroy(call, task)
    else:
        call.db.write(task, "current_operations", {**task.current_operations, "task": "destroy"})


@message("task", errors=_MINE)
def cancel(call: Call, task: TaskRef) -> None:
    """Ask a task to end: where it next waits or looks, it fails with TASK_CANCELLED. A completed one is not changed."""
    row = _own(call, task)
    call.db.write(row, "current_operations", {call.task: "cancel"})
    running = call.world.running.get(task)
    if running is not None:
        running.cancelled = True
