"""The in-process client: the surface of XenAPI.Session over a Pool in the same process, without a wire between.

    session = xenmem.connect("pool.xml")
    session.xenapi.VM.set_memory(ref, "1073741824")

Values are what Python's XML-RPC client makes of the server's answers: 64-bit integers are text. `session.api` is the
typed facade: the same messages and failures with int, float, bool and datetime.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast
from xmlrpc.client import Fault

from xenmem.datamodel.errors import Failure
from xenmem.xenapi import messages
from xenmem.xenapi.calls.message import MESSAGES, find
from xenmem.xenapi.door.pool import Inventory, Pool

if TYPE_CHECKING:
    from xenmem.xenapi.api import API

__all__ = ["Session", "connect", "messages"]

_SENDS: Final = 3
_INITIAL_VERSION: Final = "1.1"


def connect(inventory: Inventory, user: str = "root", password: str = "", **options: Any) -> "Session":
    """A session, logged in, with a pool in memory.

    Parameters
    ----------
    inventory : a Fleet, a Database, a Pool's file in any format that `xenmem.read` knows
    user, password : who logs in
    **options : of `Pool`: users, clock, hooks, guests, seed, lenient

    Raises
    ------
    InventoryError : the inventory cannot be read
    Failure : SESSION_AUTHENTICATION_FAILED
    """
    session = Session(Pool(inventory, **options))
    session.login_with_password(user, password)
    return session


class Session:
    """A client of a pool; as XenAPI.Session, but for the first parameter.

    Parameters
    ----------
    pool : to talk to

    Attributes
    ----------
    pool : as given
    xenapi : sends messages: `session.xenapi.VM.start(...)`, `session.xenapi.Async.VM.start(...)`
    api : sends messages with Python's own types
    last_login_method, last_login_params : to log in again when the session is lost
    """

    def __init__(self, pool: Pool) -> None:
        self.pool: Final = pool
        self._session: str | None = None
        self.last_login_method: str | None = None
        self.last_login_params: tuple[Any, ...] = ()
        self._api_version: str | None = _INITIAL_VERSION
        self.xenapi: Final = _Root(self, _as_wire)
        self.api: Final = cast("API", _Root(self, _as_python))

    @property
    def handle(self) -> str | None:
        """The reference of the session, None if it is not logged in."""
        return self._session

    @property
    def API_version(self) -> str:  # noqa: N802  (the surface of XenAPI.Session)
        """The server's version of the API, as `2.23`; 1.1 until somebody has logged in."""
        if self._api_version is None:
            pool = self.xenapi.pool.get_all()[0]
            host = self.xenapi.pool.get_master(pool)
            major, minor = self.xenapi.host.get_API_version_major(host), self.xenapi.host.get_API_version_minor(host)
            self._api_version = f"{major}.{minor}"
        return self._api_version

    def login_with_password(self, *parameters: Any) -> None:
        """Log in, and remember how."""
        self._login("login_with_password", parameters)

    def slave_local_login_with_password(self, *parameters: Any) -> None:
        """Log in to the host alone, and remember how."""
        self._login("slave_local_login_with_password", parameters)

    def logout(self) -> None:
        """End the session, and forget it whatever happens.

        Raises
        ------
        AttributeError : nobody is logged in
        """
        if self.last_login_method is None:
            raise AttributeError("'NoneType' object has no attribute 'startswith'")
        method = "local_logout" if self.last_login_method.startswith("slave_local") else "logout"
        try:
            self.pool.dispatch(f"session.{method}", (self._session,))
        finally:
            self._session = None
            self.last_login_method = None
            self.last_login_params = ()
            self._api_version = _INITIAL_VERSION

    def xenapi_request(self, methodname: str, params: tuple[Any, ...]) -> Any:
        """Send a message by its name, as XenAPI.Session does."""
        if methodname.startswith(("login", "slave_local")):
            return self._login(methodname, params)
        if methodname in ("logout", "session.logout"):
            return self.logout()
        return _as_wire(self, methodname)(*params)

    def _login(self, method: str, parameters: tuple[Any, ...]) -> None:
        try:
            _, _, self._session = self.pool.dispatch(f"session.{method}", parameters)
        except Failure as failure:
            if failure.details[0] == "SESSION_INVALID":
                raise Fault(500, "Received SESSION_INVALID when logging in") from None
            raise
        self.last_login_method, self.last_login_params = method, parameters
        self._api_version = None

    def _again(self, send: Callable[[], Any], failure: Failure) -> Any:
        """What to do with a failure: after SESSION_INVALID log in again and retry."""
        for sent in range(1, _SENDS + 1):
            if failure.details[0] != "SESSION_INVALID":
                raise failure
            if self.last_login_method is None:
                raise Fault(401, "You must log in")
            self._login(self.last_login_method, self.last_login_params)
            if sent == _SENDS:
                break
            try:
                return send()
            except Failure as again:
                failure = again
        raise Fault(500, f"Tried {_SENDS} times to get a valid session, but failed")


Sender = Callable[..., Any]


def _as_wire(session: Session, method: str) -> Sender:
    """A function that sends a message and answers as the XML-RPC client would."""
    message, is_async, _ = find(method)
    pool = session.pool
    if message is None or is_async or not message.has_session:
        return _by_name(session, method)
    perform, give = pool.perform, message.result.give

    def send(*parameters: Any) -> Any:
        try:
            return give(perform(message, (session._session, *parameters)))
        except Failure as failure:
            if failure.details[0] != "SESSION_INVALID":
                raise
            return session._again(lambda: give(perform(message, (session._session, *parameters))), failure)

    return send


def _by_name(session: Session, method: str) -> Sender:
    def send(*parameters: Any) -> Any:
        def once() -> Any:
            message, is_async, value = session.pool.dispatch(method, (session._session, *parameters))
            return value if is_async else message.result.give(value)

        try:
            return once()
        except Failure as failure:
            return session._again(once, failure)

    return send


def _as_python(session: Session, method: str) -> Sender:
    """A function that sends a message and answers with Python's own types; parameters may be given by name."""
    message, is_async, name = find(method)
    if message is None:
        raise AttributeError(f"there is no message {name}")
    if is_async and not message.is_async:
        raise AttributeError(f"{name} has no asynchronous form")
    pool = session.pool
    names = [parameter.name for parameter in message.parameters]
    defaults = {parameter.name: parameter.default for parameter in message.parameters}

    def send(*parameters: Any, **named: Any) -> Any:
        if named:
            missing = [name for name in names[len(parameters) :] if name not in named]
            unknown = named.keys() - set(names[len(parameters) :])
            if unknown:
                raise TypeError(f"{name} has no further parameter {', '.join(sorted(unknown))}")
            named |= {name: defaults[name] for name in missing}
            parameters += tuple(named[name] for name in names[len(parameters) :])
        sent = (session._session, *parameters) if message.has_session else parameters
        if is_async:
            return pool.perform_async(message, sent, method)
        return message.result.give_python(pool.perform(message, sent))

    return send


class _Root:
    """`session.xenapi`: classes by their names, each made when it is first used."""

    def __init__(self, session: Session, sender: Callable[[Session, str], Sender], prefix: str = "") -> None:
        self._session = session
        self._sender = sender
        self._prefix = prefix

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made: Any
        if name == "Async" and not self._prefix:
            made = _Root(self._session, self._sender, "Async.")
        elif name.startswith(("login", "slave_local")):
            made = getattr(self._session, name)
        elif name == "logout":
            made = self._session.logout
        elif "_" in name and find(name)[0] is not None:
            made = self._sender(self._session, self._prefix + name)
        else:
            made = _Class(self._session, self._sender, f"{self._prefix}{name}")
        setattr(self, name, made)
        return made


class _Class:
    """`session.xenapi.VM`: messages by their names, each made when it is first used."""

    def __init__(self, session: Session, sender: Callable[[Session, str], Sender], name: str) -> None:
        self._session = session
        self._sender = sender
        self._name = name

    def __repr__(self) -> str:
        return f"<messages of {self._name}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made: Any
        if self._name == "session" and name == "logout":
            made = self._session.logout
        else:
            method = f"{self._name}.{name.removesuffix('_')}"
            made = self._sender(self._session, method)
        setattr(self, name, made)
        return made

    def __dir__(self) -> list[str]:
        return [name.partition(".")[2] for name in MESSAGES if name.startswith(f"{self._name.rpartition('.')[2]}.")]
