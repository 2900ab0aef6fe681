"""One call of a message while it is carried out, and the world it is carried out in: what the body needs to know."""

import itertools
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from xenmem.datamodel import Role
from xenmem.datamodel.errors import RBAC_PERMISSION_DENIED, Failure
from xenmem.xenapi.calls import tasks
from xenmem.xenapi.calls.message import MESSAGES
from xenmem.xenapi.store.database import Database, Origin
from xenmem.xenapi.world import events
from xenmem.xenapi.world.clock import Clock
from xenmem.xenapi.world.guests import BallooningGuests, Guests
from xenmem.xenapi.world.hooks import Hooks
from xenmem.xenapi.world.ranking import Ranking
from xenmem.xenapi.world.sessions import NOBODY, Login, Sessions, User
from xenmem.xenapi.world.sight import Sight

if TYPE_CHECKING:
    from xenmem.datamodel.types import RecordType
    from xenmem.xenapi.calls.message import Message
    from xenmem.xenapi.store import rows
    from xenmem.xenapi.store.rows import Row


def denied(permission: str, least: Role) -> Failure:
    """The failure of a session whose role lacks a permission.

    Parameters
    ----------
    permission : the message in lower case, maybe with a key
    least : the first role that has it

    Notes
    -----
    The order of the roles is no contract. Source: rbac.ml: check.
    """
    roles = ", ".join(role.spelling for role in reversed(Role) if role >= least)
    return RBAC_PERMISSION_DENIED(permission, f"No permission in user session. (Roles with this permission: {roles})")


class World:
    """All that a pool in memory is, but for the way in.

    Parameters
    ----------
    database : its rows
    users : who may log in; by default anybody with any password as pool-admin, as on the server's own local socket
    clock : the pool's time; by default simulated and jumping
    hooks : what the inventory does not tell
    guests : how the guests of running VMs balloon; by default as their other_config says
    seed : makes the hosts that are chosen repeatable

    Attributes
    ----------
    database, clock, hooks, guests : as given or made
    sessions : who is logged in
    ranking : the hosts by free memory
    sight : which SRs and networks they see
    draw : gives the numbers in [0, 1) that decide between hosts
    running : the calls that run in a task, by its reference
    ended, made : the tasks that have ended, and those that clients made for themselves
    events : what event.from and event.next have to tell
    kept_disabled : the hosts that a restart does not enable again
    """

    def __init__(
        self,
        database: Database,
        *,
        users: Mapping[str, User] | None = None,
        clock: Clock | None = None,
        hooks: Hooks | None = None,
        guests: Guests | None = None,
        seed: int | None = None,
    ) -> None:
        self.database: Final = database
        self.clock: Final = clock or Clock()
        self.hooks: Final = hooks or Hooks()
        self.guests: Guests = guests or BallooningGuests(database, self.clock)
        self.ranking: Final = Ranking(database)
        self.sight: Final = Sight(database)
        self.draw: Callable[[], float] = (random.Random(seed) if seed is not None else random.SystemRandom()).random
        self.running: Final[dict[str, Call]] = {}
        self.kept_disabled: Final[set[str]] = set()
        self.ended: Final = tasks.Shelf(database, self.clock, tasks.COMPLETED_SECONDS)
        self.made: Final = tasks.Shelf(database, self.clock, tasks.PENDING_SECONDS)
        self.events: Final = events.Queue(database, self.clock, self._record)
        self.sessions: Final = Sessions(database, self.clock, users, lambda session: self.events.forget(session))
        self._domids: Iterator[int] | None = None

    def _record(self, row: "Row") -> "tuple[RecordType, dict[str, Any]]":
        """What get_record answers of a row, to whomever."""
        message = MESSAGES[f"{row.table}.get_record"]
        return message.result, message.body(Call(self, message, NOBODY), row.ref)  # type: ignore[return-value]

    def new_domid(self) -> int:
        """The number of a domain that is built: no other has had it."""
        if self._domids is None:
            self._domids = itertools.count(max(0, *(vm.domid for vm in self.database.VM)) + 1)
        return next(self._domids)

    def wait_for(self, is_done: Callable[[], bool], deadline: float) -> None:
        """Come back when something is done, or it is too late; the database is locked by the caller.

        Parameters
        ----------
        is_done : asked now and after each change of the database
        deadline : seconds since 1970, or infinity
        """
        changed = threading.Condition(self.database.lock)

        def wake(operation: str, row: "Row") -> None:
            changed.notify_all()

        self.database.observers.append(wake)
        try:
            self.clock.wait_for(changed, is_done, deadline)
        finally:
            self.database.observers.remove(wake)


class Call:
    """One call.

    Parameters
    ----------
    world, message, login : where, what, and for whom

    Attributes
    ----------
    db : the pool's database
    clock : the pool's time
    hooks : what the inventory does not tell
    cancelled : somebody cancelled the task; a body that waits gets TASK_CANCELLED where it does
    is_async : the client has the task, and does not wait for the answer
    """

    __slots__ = (
        "_operations",
        "_origin",
        "_task",
        "cancelled",
        "clock",
        "db",
        "hooks",
        "is_async",
        "login",
        "message",
        "world",
    )

    def __init__(self, world: World, message: "Message", login: Login) -> None:
        self.world: Final = world
        self.db: Final = world.database
        self.clock: Final = world.clock
        self.hooks: Final = world.hooks
        self.message: Final = message
        self.login: Final = login
        self.cancelled = False
        self.is_async = False
        self._task = ""
        self._origin: Origin | None = None
        self._operations: list[tuple[rows.VM | rows.host, str]] = []

    @property
    def task(self) -> str:
        """The reference of the call's task; of a synchronous call it has a row only while the call waits."""
        if not self._task:
            self._task = self.db.new_ref()
        return self._task

    def part(self, message: "Message") -> "Call":
        """A call that this one makes: the journal takes both for one."""
        made = Call(self.world, message, self.login)
        made._origin = self.origin
        return made

    def run_in(self, task: str) -> None:
        """Say which row of the class task stands for the call."""
        self._task = task
        self.is_async = True

    @property
    def origin(self) -> Origin:
        """What the journal says of the call."""
        if self._origin is None:
            self._origin = Origin(self.login.user, self.clock.now(), self.message.full_name, self.db.journaled)
        return self._origin

    def begin(self, row: "rows.VM | rows.host", operation: str) -> None:
        """Hold an operation on a row until the call ends.

        Others see it among the row's current operations only if the call waits: what takes no time is never under way.
        """
        self._operations.append((row, operation))

    def publish_operations(self) -> None:
        """Show what is held; the database must be locked."""
        for row, operation in self._operations:
            if self.task not in row.current_operations:
                self.db.write(row, "current_operations", {**row.current_operations, self.task: operation})

    def withdraw_operations(self) -> None:
        """Let go of what was shown; the database must be locked."""
        if self._task:
            for row, _ in self._operations:
                if self._task in row.current_operations:
                    left = {task: other for task, other in row.current_operations.items() if task != self._task}
                    self.db.write(row, "current_operations", left)
