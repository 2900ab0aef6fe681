"""One call of a message while it is carried out: what its body needs to know, and what it holds for its duration."""

from typing import TYPE_CHECKING, Final

from xenmem.xenapi.store.database import Database, Origin

if TYPE_CHECKING:
    from xenmem.xenapi.calls.message import Message
    from xenmem.xenapi.door.pool import Login, Pool
    from xenmem.xenapi.store import rows
    from xenmem.xenapi.world.clock import Clock
    from xenmem.xenapi.world.hooks import Hooks


class Call:
    """One call.

    Parameters
    ----------
    pool, message, login : where, what, and for whom

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
        "pool",
    )

    def __init__(self, pool: "Pool", message: "Message", login: "Login") -> None:
        self.pool: Final = pool
        self.db: Final[Database] = pool.database
        self.clock: Final[Clock] = pool.clock
        self.hooks: Final[Hooks] = pool.hooks
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
        made = Call(self.pool, message, self.login)
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
