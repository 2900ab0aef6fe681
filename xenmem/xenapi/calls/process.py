"""Calls while they run: the body of a message to its end, with time passing where it waits, at once or in a task."""

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

from xenmem.datamodel import errors
from xenmem.datamodel.errors import INTERNAL_ERROR, Failure
from xenmem.xenapi.calls import tasks
from xenmem.xenapi.calls.call import Call


def carry_out(call: Call, arguments: Iterable[Any]) -> Any:
    """Run the body of an admitted call to its end, with time passing where it waits."""
    message, database = call.message, call.db
    if message.waits:
        process = Process(call, message.body(call, *arguments))
        while (seconds := process.step()) is not None:
            with database.waiting(call):
                call.clock.wait(seconds)
        return process.result
    with database.lock:
        outer, database.author = database.author, call
        try:
            return message.body(call, *arguments)
        finally:
            database.author = outer


def start(call: Call, arguments: Sequence[Any], method: str, denied: Failure | None) -> str:
    """Begin a call in a task.

    Parameters
    ----------
    call, arguments : the call, its session checked
    method : as sent; names the task
    denied : why its user may not; then that is all the task does

    Returns
    -------
    str : the task's reference

    Raises
    ------
    Failure : TOO_MANY_PENDING_TASKS
    """
    database, clock = call.db, call.world.clock
    with database.lock:
        tasks.assert_room(call)
        row = tasks.create(call, method)
    call.run_in(row.ref)
    call.world.running[row.ref] = call
    run(call, arguments, lambda result: tasks.succeed(call, result), lambda failure: tasks.fail(call, failure), denied)
    with database.waiting(call):
        clock.settle(lambda: row.ref not in call.world.running)
    return str(row.ref)


def run(
    call: Call,
    arguments: Sequence[Any],
    succeed: Callable[[Any], None],
    fail: Callable[[Failure], None],
    denied: Failure | None = None,
) -> None:
    """Carry out a call in the pool's own time, each step when it is due; nothing waits for it.

    Parameters
    ----------
    call, arguments : the call, admitted
    succeed, fail : called at the end, once, one of them
    denied : why its user may not; then that is all there is
    """
    clock = call.clock
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
                result = carry_out(call, arguments)
        except Failure as failure:
            fail(failure)
        except Exception as error:
            fail(INTERNAL_ERROR(f"{type(error).__name__}: {error}"))
            raise
        else:
            succeed(result)

    clock.call_at(clock.now(), go_on)


class Process:
    """The body of a message that waits, while it runs.

    Parameters
    ----------
    call : what it is the body of
    body : the generator; it yields seconds

    Attributes
    ----------
    result : what it returned, once `step` has answered None
    """

    __slots__ = ("_body", "_call", "_has_task", "_has_waited", "result")

    def __init__(self, call: Call, body: Generator[float, None, Any]) -> None:
        call.origin  # noqa: B018  (the message begins here, before it changes anything)
        self._call = call
        self._body = body
        self._has_task = False
        self._has_waited = False
        self.result: Any = None

    def step(self) -> float | None:
        """Run with the database locked until it waits or ends; a session whose message waited was in use.

        Returns
        -------
        float : the seconds to wait; None at the end

        Raises
        ------
        Failure : the message failed
        """
        call = self._call
        database = call.db
        if self._has_waited:
            call.login.used = call.clock.now()
        with database.lock:
            outer, database.author = database.author, call
            try:
                seconds = self._body.throw(errors.TASK_CANCELLED(call.task)) if call.cancelled else next(self._body)
            except StopIteration as end:
                self.result = end.value
                if self._has_waited:
                    self._end()
                return None
            except BaseException:
                if self._has_waited:
                    self._end()
                raise
            else:
                self._has_waited = True
                if call.message.is_async:
                    self._has_task = True
                    tasks.show(call)
                call.publish_operations()
                return seconds
            finally:
                database.author = outer

    def _end(self) -> None:
        """Let go of what others saw while the message waited."""
        self._call.withdraw_operations()
        if self._has_task:
            tasks.hide(self._call)
