"""Who is logged in: users, sessions, and when a session ends.

Source: docs/reference/messages.md, 9.4 (xapi-project/xen-api, ocaml/xapi/xapi_session.ml, session_check.ml,
db_gc_util.ml).
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from xenmem.datamodel import Role, errors
from xenmem.datamodel.types import NULL
from xenmem.xenapi.world.roles import permissions_of

if TYPE_CHECKING:
    from xenmem.xenapi.store.database import Database
    from xenmem.xenapi.world.clock import Clock

SESSION_SECONDS: Final = 24 * 3600
"""A session that was not used for so long is gone (xapi_globs.ml)."""

MAX_SESSIONS: Final = 500
"""Sessions of one originator or one user; the one unused for longest goes first (db_gc_util.ml)."""

MAX_ALL_SESSIONS: Final = 10_000
"""Sessions of all together; the tenth unused for longest goes when there are more."""

MAX_BYTES: Final = 1 << 24
"""What the names of users and originators of all sessions may take; the same holds."""

_REFRESH_SECONDS: Final = 600


class User:
    """Somebody who may log in. Of the password only a salted hash is kept.

    Parameters
    ----------
    password : theirs; None takes any
    role : what they may do

    Attributes
    ----------
    role : as given
    """

    __slots__ = ("_digest", "_salt", "role")

    def __init__(self, password: str | None = None, role: Role = Role.POOL_ADMIN) -> None:
        self.role: Final = role
        self._salt: Final = secrets.token_bytes(16)
        self._digest: Final = None if password is None else _digest(password, self._salt)

    def __repr__(self) -> str:
        return f"<User {self.role.name}>"

    def is_known_by(self, password: str) -> bool:
        """Whether this is the password; that takes as long whatever it is."""
        return self._digest is None or hmac.compare_digest(_digest(password, self._salt), self._digest)


def _digest(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, n=1 << 12, r=8, p=1)


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

    @property
    def size(self) -> int:
        """Characters of its texts."""
        return len(self.user) + len(self.originator)


NOBODY: Final = Login(NULL, "", "", Role.POOL_ADMIN, 0.0)
"""Who has not logged in yet."""


_ANYBODY: Final = User()


@cache
def _stranger() -> User:
    """Who does not exist, and is refused as slowly as who does."""
    return User(secrets.token_hex())


class Sessions:
    """The sessions of a pool.

    Parameters
    ----------
    database : holds their rows
    clock : the pool's time
    users : who may log in; None lets in anybody with any password as pool-admin, as the server's own local socket does
    ended : called with a session that has ended, the database locked

    Attributes
    ----------
    on_end : called likewise, after `ended`; whoever wants to know adds to it
    """

    def __init__(
        self, database: "Database", clock: "Clock", users: Mapping[str, User] | None, ended: Callable[[str], None]
    ) -> None:
        self._database = database
        self._clock = clock
        self._users = users
        self._stranger = _ANYBODY if users is None else _stranger()
        self.on_end: Final = [ended]
        self._logins: dict[str, Login] = {}
        self._groups: dict[tuple[str, str], dict[str, Login]] = {}
        self._bytes = 0

    def log_in(self, user: str, password: str, originator: str = "", *, is_local: bool = False) -> str:
        """A new session.

        Returns
        -------
        str : its reference

        Raises
        ------
        Failure : SESSION_AUTHENTICATION_FAILED
        """
        return self.open(user, self.known(user, password), originator, is_local=is_local)

    def admit(self, users: Mapping[str, User]) -> None:
        """Let others log in from now on; who is logged in stays so."""
        self._users, self._stranger = users, _stranger()

    def known(self, user: str, password: str) -> User:
        """Who may log in by a name and a password. It takes some 10 ms, and may be asked in any thread.

        Raises
        ------
        Failure : SESSION_AUTHENTICATION_FAILED
        """
        known = self._stranger if self._users is None else self._users.get(user, self._stranger)
        if not known.is_known_by(password):
            raise errors.SESSION_AUTHENTICATION_FAILED(user, "Authentication failure")
        return known

    def change_password(self, user: str, old: str, new: str) -> None:
        """Let somebody in by another password from now on; who is logged in stays so.

        Raises
        ------
        Failure : SESSION_AUTHENTICATION_FAILED, the old one is wrong
        """
        known = self.known(user, old)
        if self._users is not None:
            self._users = {**self._users, user: User(new, known.role)}

    def open(self, user: str, known: User, originator: str = "", *, is_local: bool = False) -> str:
        """A new session of somebody who is known; answers its reference."""
        database = self._database
        with database.lock:
            now, date = self._clock.now(), self._clock.date()
            row = database.new_row(
                "session",
                this_host=database.the_pool.master,
                last_active=date,
                validation_time=date,
                is_local_superuser=known.role is Role.POOL_ADMIN,
                rbac_permissions=permissions_of(known.role),
                auth_user_name=user,
                originator=originator,
            )
            database.create(row)
            self._remember(Login(row.ref, user, originator, known.role, now, is_local))
        return str(row.ref)

    def log_out(self, session: str) -> None:
        """End a session."""
        with self._database.lock:
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
        now = self._clock.now()
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
        login.used = self._clock.now()

    def _refresh(self, login: Login, now: float) -> None:
        with self._database.lock:
            if now - login.used > SESSION_SECONDS:
                self._forget(login.ref)
                raise errors.SESSION_INVALID(login.ref)
            login.used = now
            row = self._database.session.get(login.ref)
            if row is not None:
                self._database.write(row, "last_active", self._clock.date())

    def _remember(self, login: Login) -> None:
        self._logins[login.ref] = login
        self._bytes += login.size
        same = self._groups.setdefault(login.group, {})
        same[login.ref] = login
        if len(same) > MAX_SESSIONS:
            self._forget(min(same.values(), key=lambda login: login.used).ref)
        if len(self._logins) > MAX_ALL_SESSIONS or self._bytes > MAX_BYTES:
            others = sorted(self._logins.values(), key=lambda login: login.used)
            for one in others[: max(1, len(others) // 10)]:
                if one is not login:
                    self._forget(one.ref)

    def _forget(self, session: str) -> None:
        login = self._logins.pop(session, None)
        if login is not None:
            self._bytes -= login.size
            same = self._groups[login.group]
            del same[session]
            if not same:
                del self._groups[login.group]
            for ended in self.on_end:
                ended(session)
            self._database.destroy(self._database.session[session])
