"""Where a mirror's events come from: a pool on the network, or a session that somebody else opened."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from xenmem.columns import Note
from xenmem.inventory.error import InventoryError, OutOfReachError
from xenmem.inventory.live.connection import Batch, Connection, Event, RefusedError
from xenmem.inventory.live.reading import LivePool

if TYPE_CHECKING:
    import XenAPI

_LOCAL: Final = "session"


class Feed(Protocol):
    """What brings events.

    Attributes
    ----------
    name : what messages call the pool
    notes : what is to be said of what it brings
    pause : seconds to let pass before the next question
    """

    name: str
    notes: tuple[Note, ...]
    pause: float

    def events(self, classes: Sequence[str], token: str, seconds: float) -> Batch:
        """What changed since a token, as `Connection.events`."""

    def know(self, hosts: Collection[str]) -> None:
        """Take note of the addresses of the pool's hosts: one of them may be the coordinator next."""

    def renew(self) -> None:
        """The session is gone."""

    def follow(self, host: str) -> None:
        """The coordinator is another host now."""

    def drop(self) -> None:
        """The connection is no good; the session may be."""

    def interrupt(self) -> None:
        """Let a question that waits fail; called by another thread."""

    def close(self) -> None:
        """It is over."""


class NetworkFeed:
    """A pool on the network; connections are made when they are needed."""

    def __init__(self, pool: LivePool, pause: float) -> None:
        self.name, self.notes, self.pause = pool.name, pool.notes, pause
        self._pool = pool
        self._connection: Connection | None = None
        self._hosts: tuple[str, ...] = ()

    def events(self, classes: Sequence[str], token: str, seconds: float) -> Batch:
        if self._connection is None:
            self._connection = self._connected()
        return self._connection.events(classes, token, seconds)

    def _connected(self) -> Connection:
        try:
            return self._pool.connect()
        except OutOfReachError as problem:
            for host in self._hosts:
                address = self._pool.addresses[0].at(host)
                if address not in self._pool.addresses:
                    try:
                        return Connection(address, self._pool.access)
                    except InventoryError:  # it is not there either, or nobody has said that it is to be trusted
                        continue
            raise problem
        finally:  # whoever could be asked, could be asked at the beginning
            self._pool = replace(self._pool, access=replace(self._pool.access, confirm=None))

    def know(self, hosts: Collection[str]) -> None:
        self._hosts = tuple(host for host in hosts if host)

    def renew(self) -> None:
        self.drop()
        self._connection = None

    def follow(self, host: str) -> None:
        self.renew()
        address = self._pool.addresses[0].at(host)
        others = (one for one in self._pool.addresses if one != address)
        self._pool = replace(self._pool, addresses=(address, *others))

    def drop(self) -> None:
        if self._connection is not None:
            self._connection.hang_up()

    def interrupt(self) -> None:
        connection = self._connection
        if connection is not None:
            connection.interrupt()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class SessionFeed:
    """A session that is logged in, which stays so; it is asked again and again, and never waits."""

    def __init__(self, session: "XenAPI.Session") -> None:
        self.name, self.pause = _LOCAL, 0.2
        self.notes: tuple[Note, ...] = ()
        self._session = session

    def events(self, classes: Sequence[str], token: str, seconds: float) -> Batch:
        import XenAPI

        try:
            value: Any = self._session.xenapi_request("event.from", (list(classes), token, 0.0))
        except XenAPI.Failure as failure:
            code, *parameters = map(str, failure.details)
            raise RefusedError(self.name, code, parameters) from None
        except OSError as error:
            raise OutOfReachError(self.name, "", error.strerror or str(error)) from None
        events = [
            Event(one["operation"], one["ref"], one["class"], one.get("snapshot", msgspec.Raw()))
            for one in value["events"]
        ]
        return Batch(events, value["token"], {name: int(count) for name, count in value["valid_ref_counts"].items()})

    def know(self, hosts: Collection[str]) -> None:
        pass

    def renew(self) -> None:
        pass

    def follow(self, host: str) -> None:
        pass

    def drop(self) -> None:
        pass

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        pass
