"""A pool that answers messages: who may come in, and which message is meant.

The steps of a call and their failures are those of docs/reference/messages.md, 9.1 to 9.4 (xapi-project/xen-api,
ocaml/idl/ocaml_backend/gen_server.ml; ocaml/xapi/server_helpers.ml, session_check.ml). Knows no wire.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from xenmem.datamodel import Role, errors
from xenmem.datamodel.errors import Failure
from xenmem.datamodel.types import STRING
from xenmem.fleet import Fleet
from xenmem.inventory.source import Source
from xenmem.xenapi.calls import process
from xenmem.xenapi.calls.call import Call, World, denied
from xenmem.xenapi.calls.message import Message, find
from xenmem.xenapi.store import loading
from xenmem.xenapi.store.database import Database
from xenmem.xenapi.world.clock import Clock
from xenmem.xenapi.world.guests import Guests
from xenmem.xenapi.world.hooks import Hooks
from xenmem.xenapi.world.sessions import NOBODY, Login, User

Inventory = Fleet | Database | Source


def carry_out(call: Call, arguments: Sequence[Any]) -> Any:
    """The result of an admitted call, as rows hold values, with time passing where it waits."""
    if not call.message.locked:
        return call.message.body(call, *arguments)
    return process.carry_out(call, arguments)


class Pool(World):
    """A pool in memory.

    Parameters
    ----------
    inventory : a Fleet, a Database, or a file in any format that `xenmem.read` knows
    users, clock, hooks, guests : see World
    seed : makes the references that the pool gives, and the hosts that it chooses, repeatable
    lenient : skip bad rows of the inventory

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
            database = inventory
        elif isinstance(inventory, Fleet):
            database = loading.from_fleet(inventory, seed=seed)
        else:
            database = loading.read(inventory, lenient=lenient, seed=seed)
        super().__init__(database, users=users, clock=clock, hooks=hooks, guests=guests, seed=seed)

    def log_in(self, user: str, password: str, originator: str = "") -> str:
        """A new session's reference, as session.login_with_password answers it; failures as of `Sessions.log_in`."""
        return self.sessions.log_in(user, password, originator)

    def log_out(self, session: str) -> None:
        """End a session."""
        self.sessions.log_out(session)

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
        message, is_async = self.resolve(method, sent)
        if is_async:
            return message, True, self.perform_async(message, sent, method)
        return message, False, self.perform(message, sent)

    def resolve(self, method: str, sent: Sequence[Any]) -> tuple[Message, bool]:
        """The message that is meant, and whether it is asked for asynchronously; parameters and failures as of
        `dispatch`."""
        message, is_async, name = find(method)
        if message is None:
            raise self._unknown(name, sent)
        return message, is_async

    def perform(self, message: Message, sent: Sequence[Any]) -> Any:
        """Carry out a call; parameters and failures as of `dispatch`, the result as rows hold values."""
        call, arguments = self.admit(message, sent)
        return carry_out(call, arguments)

    def admit(self, message: Message, sent: Sequence[Any]) -> tuple[Call, list[Any]]:
        """A call that may be carried out, with its arguments as rows hold values; failures as of `dispatch`."""
        call, arguments = self._admit(message, sent)
        if call.login.role < message.gate:
            self._check_role(call.login, message, arguments)
        return call, arguments

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
        refused: Failure | None = None
        try:
            self._check_role(call.login, message, arguments)
        except Failure as failure:
            refused = failure
        return process.start(call, arguments, method, refused)

    def _admit(self, message: Message, sent: Sequence[Any]) -> tuple[Call, list[Any]]:
        """messages.md, 9.1 steps 5 to 8."""
        arguments = message.accept(sent)
        login = self.sessions.login(sent[0]) if message.has_session else NOBODY
        if message.removed:
            raise errors.MESSAGE_REMOVED()
        return Call(self, message, login), arguments

    def _check_role(self, login: Login, message: Message, arguments: Sequence[Any]) -> None:
        """messages.md, 9.1 step 10 and 9.4: a key may have a role of its own (rbac.ml: permission_of_action)."""
        role, permission = message.role, message.full_name.lower()
        if message.key_roles is not None:
            key = next(value for one, value in zip(message.parameters, arguments, strict=True) if one.name == "key")
            if (found := message.key_roles.find(key)) is not None:
                pattern, role = found
                permission = f"{permission}/key:{pattern.lower()}"
        if login.role < role and not login.is_local:
            raise denied(permission, role)

    def _unknown(self, name: str, sent: Sequence[Any]) -> Failure:
        """What a method answers that does not exist (messages.md, 9.2)."""
        if not sent:
            return errors.MESSAGE_METHOD_UNKNOWN(name)
        try:
            login = self.sessions.login(STRING.accept(sent[0]))
        except Failure as failure:
            return failure
        if login.role < Role.POOL_ADMIN:
            return denied("host.call_extension", Role.POOL_ADMIN)
        return errors.MESSAGE_METHOD_UNKNOWN(name)
