"""Those who wait for events: one object for each, no thread and no task, woken together a moment after a change.

Listeners of the same key find the same, and where their answers are spelled alike it is encoded once. Pauses are those
of xapi_event.ml. Called in the event loop.
"""

import asyncio
import math
from collections.abc import Hashable
from typing import TYPE_CHECKING

from xenmem.xenapi import Pool
from xenmem.xenapi.door import wire
from xenmem.xenapi.messages.event import Listener

if TYPE_CHECKING:
    from xenmem.xenapi.calls.message import Message
    from xenmem.xenapi.store.rows import Row


class _Waiter:
    """A client that waits: its answer is the result of `answer`."""

    __slots__ = ("answer", "deadline", "listener", "message", "question")

    def __init__(
        self, question: wire.Question, message: "Message", listener: Listener, answer: "asyncio.Future[bytes]"
    ) -> None:
        self.question = question
        self.message = message
        self.listener = listener
        self.answer = answer
        self.deadline: asyncio.TimerHandle | None = None


class Hub:
    """Who waits for the events of a pool.

    Parameters
    ----------
    pool : whose
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._waiters: dict[_Waiter, None] = {}
        self._changed: dict[str, set[str]] = {}
        self._is_due = False
        pool.database.observers.append(self._observe)
        pool.sessions.on_end.append(self._session_ended)

    def __len__(self) -> int:
        return len(self._waiters)

    def wait(self, question: wire.Question, message: "Message", listener: Listener) -> "asyncio.Future[bytes]":
        """The body of the answer, once there are events or it is too late; cancelled, it is waited for no longer."""
        waiter = _Waiter(question, message, listener, self._loop.create_future())
        waiter.answer.add_done_callback(lambda _: self._leave(waiter))
        self._waiters[waiter] = None
        if listener.timeout < math.inf:
            waiter.deadline = self._loop.call_later(max(listener.timeout, listener.first), self._too_late, waiter)
        if listener.first:
            self._loop.call_later(listener.first, self._look, [waiter])
        else:
            self._look([waiter])
        return waiter.answer

    def release(self) -> None:
        """Answer all that wait, as if their time were over: the server ends."""
        for waiter in tuple(self._waiters):
            self._too_late(waiter)

    def _leave(self, waiter: _Waiter) -> None:
        self._waiters.pop(waiter, None)
        if waiter.deadline is not None:
            waiter.deadline.cancel()

    def _observe(self, operation: str, row: "Row") -> None:
        if self._waiters and row.schema.has_events:
            self._changed.setdefault(row.table.lower(), set()).add(row.ref)
            self._look_later()

    def _session_ended(self, session: str) -> None:
        if self._waiters:
            self._loop.call_soon(self._look, list(self._waiters))

    def _look_later(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._loop.call_later(0.05, self._look_at_changes)

    def _look_at_changes(self) -> None:
        self._is_due = False
        changed, self._changed = self._changed, {}
        self._look([waiter for waiter in self._waiters if waiter.listener.concerns(changed)])

    def _too_late(self, waiter: _Waiter) -> None:
        if not waiter.answer.done():
            self._look([waiter])
        if not waiter.answer.done():
            self._answer(waiter, waiter.listener)

    def _look(self, waiters: list[_Waiter]) -> None:
        """Answer those for whom there are events; each key is looked for once, as each session is."""
        found: dict[Hashable, Listener | None] = {}
        encoded: dict[tuple[Hashable, Hashable], bytes] = {}
        for waiter in waiters:
            if waiter.answer.done():
                continue
            listener = waiter.listener
            try:
                if listener.key not in found:
                    with self._pool.database.lock:
                        found[listener.key] = listener if listener.look() else None
                else:
                    listener.keep()
            except Exception as error:
                waiter.answer.set_result(waiter.question.encode_failure(wire.as_failure(error)))
                continue
            finder = found[listener.key]
            if finder is not None:
                self._answer(waiter, finder, encoded)

    def _answer(
        self, waiter: _Waiter, finder: Listener, encoded: "dict[tuple[Hashable, Hashable], bytes] | None" = None
    ) -> None:
        key = (finder.key, waiter.question.spelling)
        body = encoded.get(key) if encoded is not None else None
        if body is None:
            body = wire.encode_result(waiter.question, waiter.message, False, finder.answer())
            if encoded is not None:
                encoded[key] = body
        waiter.answer.set_result(body)
