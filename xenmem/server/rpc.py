"""The messages of a pool over the network: admission as in the process, and what must not block the event loop.

What waits is gone on with when it is due, who waits for events is in the hub, passwords are hashed elsewhere, and no
answer leaves before what it tells of is kept. Source of what members answer: ocaml/xapi/session_check.ml,
xapi_session.ml.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol

from xenmem.datamodel import errors
from xenmem.server.gate import Gate
from xenmem.server.http import CORS, LOCAL, Answer, Request, page
from xenmem.server.hub import Hub
from xenmem.server.members import Members
from xenmem.xenapi import Failure, Pace, Pool, User
from xenmem.xenapi.calls import process
from xenmem.xenapi.door import wire
from xenmem.xenapi.door.pool import carry_out
from xenmem.xenapi.messages.event import LISTENERS

if TYPE_CHECKING:
    from xenmem.xenapi.calls.call import Call
    from xenmem.xenapi.calls.message import Message

LOG_IN: Final = "session.login_with_password"
LOG_IN_HERE: Final = "session.slave_local_login_with_password"


class Keeper(Protocol):
    """What keeps the changes of a pool beyond the process."""

    @property
    def is_behind(self) -> bool:
        """Whether there are changes that are not kept yet."""

    def kept(self) -> Awaitable[None]:
        """Come back when all changes of now are kept; a Failure if they could not be, and were undone."""

    def watch(self, calls: "Callable[[], Iterator[Call]]") -> None:
        """Say which calls run in tasks."""

    def begin(self, call: "Call") -> None:
        """A call goes on over some time: what it changes is undone if it does not end."""

    def end(self, call: "Call") -> None:
        """It has ended."""


class Endpoint:
    """The messages of one pool.

    Parameters
    ----------
    pool : which
    members : its hosts by address
    gate : checks passwords
    keeper : keeps changes; None if they live in memory
    local : whoever comes through a socket in the file system: no password is asked there

    Attributes
    ----------
    hub : who waits for events
    counts : answers by message and by ``Success`` or the failure's code
    """

    def __init__(
        self, pool: Pool, members: Members, gate: Gate, keeper: Keeper | None = None, local: User | None = None
    ) -> None:
        self.pool = pool
        self.members = members
        self.gate = gate
        self.keeper = keeper
        if keeper is not None:
            keeper.watch(lambda: iter(pool.running.values()))
        self.hub = Hub(pool)
        self.counts: Counter[tuple[str, str]] = Counter()
        self._loop = asyncio.get_running_loop()
        self._local: dict[str, str] = {}
        self._at_socket = local
        pool.sessions.on_end.append(self._forget)

    def _forget(self, session: str) -> None:
        self._local.pop(session, None)

    def answer_xml(self, request: Request) -> Answer | Awaitable[Answer]:
        """The answer to an XML-RPC request."""
        return self._http(request, wire.read_xml, "text/xml")

    def answer_json(self, request: Request) -> Answer | Awaitable[Answer]:
        """The answer to a JSON-RPC request."""
        return self._http(request, wire.read_json, "application/json")

    def _http(
        self, request: Request, read: Callable[[bytes], wire.Question], content_type: str
    ) -> Answer | Awaitable[Answer]:
        try:
            question = read(request.body)
        except wire.WireError as error:
            return page(500, str(error))
        body = self.ask(question, request.local, request.peer)
        if isinstance(body, bytes):
            return _answer(content_type, body)
        return _later(content_type, body)

    def ask(self, question: wire.Question, local: str, peer: str) -> bytes | Awaitable[bytes]:
        """The body of the answer to a call, now or later.

        Parameters
        ----------
        question : the call
        local, peer : the address that was asked, and the one that asks
        """
        name = question.method
        try:
            known = wire.answer_without_pool(question)
            if known is not None:
                return known
            message, is_async = self.pool.resolve(name, question.parameters)
            name = message.full_name
            self._check_host(message, question.parameters, local)
            if name in (LOG_IN, LOG_IN_HERE) and not is_async:
                return self._log_in(question, message, local, peer)
            body = self._carry_out(question, message, is_async)
        except Exception as error:
            failure = self._failure(name, error)
            body = question.encode_failure(failure)
        if self.keeper is not None and (self.keeper.is_behind or not isinstance(body, bytes)):
            return self._kept(question, body)
        return body

    def _carry_out(self, question: wire.Question, message: "Message", is_async: bool) -> bytes | Awaitable[bytes]:
        pool, sent = self.pool, question.parameters
        if is_async:
            ref = pool.perform_async(message, sent, question.method)
            return self._success(question, message, True, ref)
        call, arguments = pool.admit(message, sent)
        listens = LISTENERS.get(message.full_name)
        if listens is not None:
            self.counts[message.full_name, "Success"] += 1
            return self.hub.wait(question, message, listens(call, *arguments))
        if message.waits and pool.clock.pace is Pace.REAL:
            return self._go_on(question, call, arguments)
        return self._success(question, message, False, carry_out(call, arguments))

    def _success(self, question: wire.Question, message: "Message", is_async: bool, value: Any) -> bytes:
        body = wire.encode_result(question, message, is_async, value)
        self.counts[message.full_name, "Success"] += 1
        return body

    def _failure(self, name: str, error: Exception) -> Failure:
        failure = wire.as_failure(error)
        code = failure.details[0]
        if code == "INTERNAL_ERROR" and not isinstance(error, Failure):
            self._loop.call_exception_handler({"message": f"{name} failed", "exception": error})
        self.counts["" if code == "MESSAGE_METHOD_UNKNOWN" else name, code] += 1
        return failure

    def _go_on(self, question: wire.Question, call: "Call", arguments: list[Any]) -> Awaitable[bytes]:
        """Carry out a message that waits, in the pool's own time; it goes on when the client does not wait for it."""
        done: asyncio.Future[bytes] = self._loop.create_future()
        if self.keeper is not None:
            self.keeper.begin(call)

        def answer(make: Callable[[], bytes]) -> None:
            if self.keeper is not None:
                self.keeper.end(call)
            body = make()
            if not done.done():
                done.set_result(body)

        process.run(
            call,
            arguments,
            lambda value: answer(lambda: self._success(question, call.message, False, value)),
            lambda failure: answer(lambda: question.encode_failure(self._failure(call.message.full_name, failure))),
        )
        call.clock.settle(done.done)
        return done

    async def _kept(self, question: wire.Question, body: bytes | Awaitable[bytes]) -> bytes:
        if not isinstance(body, bytes):
            body = await body
        if self.keeper is not None and self.keeper.is_behind:
            try:
                await self.keeper.kept()
            except Failure as failure:
                return question.encode_failure(failure)
        return body

    # ------------------------------------------------------------------------------------------------------- sessions

    def _check_host(self, message: "Message", sent: Any, local: str) -> None:
        """What a member answers: it sends everybody to the coordinator but who is logged in to it alone."""
        name = message.full_name
        is_coordinator = self.members.is_coordinator(local)
        if name == LOG_IN and not is_coordinator:
            raise errors.HOST_IS_SLAVE(self.members.coordinator_address)
        if not message.has_session or not sent or type(sent[0]) is not str:
            return
        if (sent[0] in self._local) if is_coordinator else True:
            login = self.pool.sessions.login(sent[0])
            if not login.is_local:
                raise errors.HOST_IS_SLAVE(self.members.coordinator_address)
            if self._local.get(login.ref) != self.members.host(local):
                raise errors.SESSION_INVALID(login.ref)

    async def _log_in(self, question: wire.Question, message: "Message", local: str, peer: str) -> bytes:
        sessions = self.pool.sessions
        try:
            user, password, *more = message.accept(question.parameters)
            if peer == LOCAL and self._at_socket is not None:
                known = self._at_socket
            else:
                known = await self.gate.known(sessions, user, password, peer)
            is_local = message.full_name == LOG_IN_HERE
            ref = sessions.open(user, known, more[1] if len(more) > 1 else "", is_local=is_local)
            if is_local:
                self._local[ref] = self.members.host(local)
            return self._success(question, message, False, ref)
        except Failure as failure:
            return question.encode_failure(self._failure(message.full_name, failure))


def _answer(content_type: str, body: bytes) -> Answer:
    return Answer(200, content_type, body, CORS, compressible=True)


async def _later(content_type: str, body: Awaitable[bytes]) -> Answer:
    return _answer(content_type, await body)
