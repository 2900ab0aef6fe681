"""A pool that answers messages: database, time, users and sessions, and the way of a call through them.

The steps of a call and their failures are those of xenapi-messages, C.1 to C.4 (xapi-project/xen-api,
ocaml/idl/ocaml_backend/gen_server.ml; ocaml/xapi/server_helpers.ml, session_check.ml). Knows no wire.
"""

import itertools
import os
import random
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

from xenmem.datamodel import Role, errors
from xenmem.datamodel.errors import Failure
from xenmem.datamodel.types import NULL, STRING
from xenmem.fleet import Fleet
from xenmem.xenapi.calls import tasks
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import Message, find
from xenmem.xenapi.rules.placement import Ranking
from xenmem.xenapi.store import loading
from xenmem.xenapi.store.database import Database
from xenmem.xenapi.store.rows import Row
from xenmem.xenapi.world import events
from xenmem.xenapi.world.clock import Clock, Pace
from xenmem.xenapi.world.guests import BallooningGuests, Guests
from xenmem.xenapi.world.hooks import Hooks

Inventory = Fleet | Database | str | os.PathLike[str] | IO[bytes]

SESSION_SECONDS: Final = 24 * 3600
"""A session that was not used for so long is gone (xapi_globs.ml)."""

MAX_SESSIONS: Final = 500
"""Sessions of one originator or one user; the one unused for longest goes first (db_gc_util.ml)."""

_REFRESH_SECONDS: Final = 600
DENIED: Final = "No permission in user session"
"""The text of RBAC_PERMISSION_DENIED."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may log in.

    Attributes
    ----------
    password : theirs; None takes any
    role : what they may do
    """

    password: str | None = None
    role: Role = Role.POOL_ADMIN


@dataclass(slots=True)
class Login:
    """A session that is logged in.

    Attributes
    ----------
    ref : the session
    user, originator, role : who, by which program, and what they may do
    used : when it was last used, seconds since 1970
    is_local : good for this host alone
    """

    ref: str
    user: str
    originator: str
    role: Role
    used: float
    is_local: bool = False

    @property
    def group(self) -> tuple[str, str]:
        """Those with whom it shares a limit: of the same originator, or where it names none, of the same user."""
        return ("originator", self.originator) if self.originator else ("user", self.user)


class Pool:
    """A pool in memory.

    Parameters
    ----------
    inventory : a Fleet, a Database, or a file in any format that `xenmem.read` knows
    users : who may log in; by default anybody with any password as pool-admin, as on the server's own local socket
    clock : the pool's time; by default simulated and jumping
    hooks : what the inventory does not tell
    guests : how the guests of running VMs balloon; by default as their other_config says
    seed : makes the references that the pool gives, and the hosts that it chooses, repeatable
    lenient : skip bad rows of the inventory

    Attributes
    ----------
    database, clock, hooks, guests : as given or made
    ranking : its hosts by free memory
    draw : gives the numbers in [0, 1) that decide between hosts
    running : the calls that run in a task, by its reference
    events : what event.next has to tell

    Raises
    ------
    InventoryError : the inventory cannot be read
    """

    def __init__(
        self,
        inventory: Inventory,
        *,
        users: Mapping[str, User] | None = None,
        clock: Clock | None = None,
        hooks: Hooks | None = None,
        guests: Guests | None = None,
        seed: int | None = None,
        lenient: bool = False,
    ) -> None:
        if isinstance(inventory, Database):
            self.database = inventory
        elif isinstance(inventory, Fleet):
            self.database = loading.from_fleet(inventory, seed=seed)
        else:
            self.database = loading.read(inventory, lenient=lenient, seed=seed)
        self.users: Final = users
        self.clock: Final = clock or Clock()
        self.hooks: Final = hooks or Hooks()
        self.guests: Final = guests or BallooningGuests(self.database, self.clock)
        self.ranking: Final = Ranking(self.database)
        self.draw: Callable[[], float] = (random.Random(seed) if seed is not None else random.SystemRandom()).random
        self.running: Final[dict[str, Call]] = {}
        self.events: Final = events.Queue()
        self._domids: Iterator[int] | None = None
        self._logins: dict[str, Login] = {}

    def new_domid(self) -> int:
        """The number of a domain that is built: no other has had it."""
        if self._domids is None:
            self._domids = itertools.count(max(0, *(vm.domid for vm in self.database.VM)) + 1)
        return next(self._domids)

    # ------------------------------------------------------------------------------------------------------- sessions

    def log_in(self, user: str, password: str, originator: str = "", *, is_local: bool = False) -> str:
        """A new session.

        Returns
        -------
        str : its reference

        Raises
        ------
        Failure : SESSION_AUTHENTICATION_FAILED
        """
        known = User() if self.users is None else self.users.get(user)
        if known is None or known.password not in (None, password):
            raise errors.SESSION_AUTHENTICATION_FAILED(user, "Authentication failure")
        database = self.database
        with database.lock:
            now, date = self.clock.now(), self.clock.date()
            row = database.new_row(
                "session",
                this_host=database.the_pool.master,
                last_active=date,
                validation_time=date,
                is_local_superuser=known.role is Role.POOL_ADMIN,
                auth_user_name=user,
                originator=originator,
            )
            database.create(row)
            self._logins[row.ref] = Login(row.ref, user, originator, known.role, now, is_local)
            self._expire(self._logins[row.ref])
        return str(row.ref)

    def log_out(self, session: str) -> None:
        """End a session."""
        with self.database.lock:
            self._forget(session)

    def login(self, session: str) -> Login:
        """What is known of a session.

        Raises
        ------
        Failure : SESSION_INVALID
        """
        login = self._logins.get(session)
        if login is None:
            raise errors.SESSION_INVALID(session)
        now = self.clock.now()
        if now - login.used > _REFRESH_SECONDS:
            self._refresh(login, now)
        else:
            login.used = now
        return login

    def keep(self, session: str) -> None:
        """Look whether a session that waits is still logged in; it is in use, however long it waits.

        Raises
        ------
        Failure : SESSION_INVALID
        """
        login = self._logins.get(session)
        if login is None:
            raise errors.SESSION_INVALID(session)
        login.used = self.clock.now()

    def _refresh(self, login: Login, now: float) -> None:
        with self.database.lock:
            if now - login.used > SESSION_SECONDS:
                self._forget(login.ref)
                raise errors.SESSION_INVALID(login.ref)
            login.used = now
            row = self.database.session.get(login.ref)
            if row is not None:
                self.database.write(row, "last_active", self.clock.date())

    def _expire(self, newcomer: Login) -> None:
        same = [one for one in self._logins.values() if one.group == newcomer.group]
        if len(same) > MAX_SESSIONS:
            self._forget(min(same, key=lambda login: login.used).ref)

    def _forget(self, session: str) -> None:
        if self._logins.pop(session, None) is not None:
            self.events.forget(session, self.database)
            self.database.destroy(self.database.session[session])

    def wait_for(self, is_done: Callable[[], bool], deadline: float) -> None:
        """Come back when something is done, or it is too late; the database is locked by the caller.

        Parameters
        ----------
        is_done : asked now and after each change of the database
        deadline : seconds since 1970, or infinity
        """
        changed = threading.Condition(self.database.lock)

        def wake(operation: str, row: Row) -> None:
            changed.notify_all()

        self.database.observers.append(wake)
        try:
            self.clock.wait_for(changed, is_done, deadline)
        finally:
            self.database.observers.remove(wake)

    # ---------------------------------------------------------------------------------------------------------- calls

    def dispatch(self, method: str, sent: Sequence[Any]) -> tuple[Message, bool, Any]:
        """Carry out a call by the name of its method.

        Parameters
        ----------
        method : in either spelling, with or without `Async.`
        sent : what the client sent, the session first

        Returns
        -------
        The message, whether it was asked for asynchronously, and the value: the message's result as rows hold values,
        or the task's reference.

        Raises
        ------
        Failure : any of the API's
        """
        message, is_async, name = find(method)
        if message is None:
            raise self._unknown(name, sent)
        if is_async:
            return message, True, self.perform_async(message, sent, method)
        return message, False, self.perform(message, sent)

    def perform(self, message: Message, sent: Sequence[Any]) -> Any:
        """Carry out a call; parameters and failures as of `dispatch`, the result as rows hold values."""
        call, arguments = self._admit(message, sent)
        if call.login.role < message.gate:
            self._check_role(call.login, message, arguments)
        if not message.locked:
            return message.body(call, *arguments)
        return self.carry_out(call, arguments)

    def perform_async(self, message: Message, sent: Sequence[Any], method: str) -> str:
        """Begin a call in a task.

        Parameters
        ----------
        message, sent : what to do
        method : as sent, which names the task

        Returns
        -------
        str : the task's reference
        """
        call, arguments = self._admit(message, sent)
        if not message.is_async:
            raise errors.FAULT(f"No async mode for this operation (rpc: {message.full_name})")
        denied: Failure | None = None
        try:
            self._check_role(call.login, message, arguments)
        except Failure as failure:
            denied = failure
        return tasks.start(call, arguments, method, denied)

    def carry_out(self, call: Call, arguments: Iterable[Any]) -> Any:
        """Run the body of an admitted call to its end, with time passing where it waits."""
        message = call.message
        if message.waits:
            process = Process(call, message.body(call, *arguments))
            while (seconds := process.step()) is not None:
                with self.database.waiting(call):
                    self.clock.wait(seconds)
            return process.result
        database = self.database
        with database.lock:
            outer, database.author = database.author, call
            try:
                return message.body(call, *arguments)
            finally:
                database.author = outer

    def _admit(self, message: Message, sent: Sequence[Any]) -> tuple[Call, list[Any]]:
        """Steps 5 to 8 of C.1."""
        arguments = message.accept(sent)
        login = self.login(sent[0]) if message.has_session else _NOBODY
        if message.removed:
            raise errors.MESSAGE_REMOVED()
        return Call(self, message, login), arguments

    def _check_role(self, login: Login, message: Message, arguments: Sequence[Any]) -> None:
        """Step 10 of C.1; a key of a map may have a role of its own (ocaml/xapi/rbac.ml: permission_of_action)."""
        role, permission = message.role, message.full_name.lower()
        if message.key_roles is not None:
            key = next(value for one, value in zip(message.parameters, arguments, strict=True) if one.name == "key")
            if (found := message.key_roles.find(key)) is not None:
                pattern, role = found
                permission = f"{permission}/key:{pattern.lower()}"
        if login.role < role and not login.is_local:
            raise errors.RBAC_PERMISSION_DENIED(permission, DENIED)

    def _unknown(self, name: str, sent: Sequence[Any]) -> Failure:
        """What a method answers that does not exist (C.2)."""
        if not sent:
            return errors.MESSAGE_METHOD_UNKNOWN(name)
        try:
            login = self.login(STRING.accept(sent[0]))
        except Failure as failure:
            return failure
        if login.role < Role.POOL_ADMIN:
            return errors.RBAC_PERMISSION_DENIED("host.call_extension", DENIED)
        return errors.MESSAGE_METHOD_UNKNOWN(name)


_NOBODY: Final = Login(NULL, "", "", Role.POOL_ADMIN, 0.0)


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
        self._has_waited = True
        with database.lock:
            outer, database.author = database.author, call
            try:
                seconds = self._body.throw(errors.TASK_CANCELLED(call.task)) if call.cancelled else next(self._body)
            except StopIteration as end:
                self.result = end.value
                self._end()
                return None
            except BaseException:
                self._end()
                raise
            else:
                if call.message.is_async:
                    self._has_task = True
                    tasks.show(call)
                call.publish_operations()
                return seconds
            finally:
                database.author = outer

    def _end(self) -> None:
        self._call.withdraw_operations()
        if self._has_task:
            tasks.hide(self._call)


__all__ = ["Clock", "Inventory", "Login", "Pace", "Pool", "Process", "User"]
