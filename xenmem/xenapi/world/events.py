"""What changed since a client last looked: subscriptions and tokens of event.from, and the queue of event.next.

event.from needs no queue: tables know in which generation each row was made, changed or destroyed. What an event shows
of a row whoever makes the pool says. Source: docs/reference/messages.md, 9.10 (xapi-project/xen-api,
ocaml/xapi/xapi_event.ml). Called with the database locked.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from xenmem.datamodel.errors import EVENT_FROM_TOKEN_PARSE_FAILURE, EVENTS_LOST, SESSION_NOT_REGISTERED, Failure
from xenmem.datamodel.types import ANY, INT, STRING, RecordType, SetType, Type
from xenmem.xenapi.store.database import Database, Table
from xenmem.xenapi.store.encoding import value_xml

if TYPE_CHECKING:
    from xenmem.xenapi.store.rows import Row
    from xenmem.xenapi.world.clock import Clock

MAX_QUEUE: Final = 10_000_000
"""Characters of encoded events that the queue of event.next keeps (xapi_event.ml: max_queue_size)."""

EVENTS: Final[SetType] = SetType(ANY)

_EVENT_FIELDS: Final = dict.fromkeys(("id", "timestamp", "class", "operation", "ref"), STRING)
_GONE: Final = RecordType("event", _EVENT_FIELDS)

Event = tuple[Type[Any], dict[str, Any]]

Record = tuple[RecordType, dict[str, Any]]
"""The fields of a row by name, and the type of such a record."""


class Subscription(NamedTuple):
    """What a client wants to know of.

    Attributes
    ----------
    class_name : in lower case; None for every class
    ref : the one row; None for every row
    """

    class_name: str | None
    ref: str | None


_ALL: Final = Subscription(None, None)


def subscription(text: str) -> Subscription:
    """A subscription as clients spell it: `*`, `class` or `class/ref`."""
    if text == "*":
        return _ALL
    class_name, slash, ref = text.partition("/")
    return Subscription(class_name.lower(), ref if slash else None)


MAX_SUBSCRIPTIONS: Final = 10_000
"""Of one session to single rows; with more it gets the events of all rows of their classes."""

MAX_SUBSCRIPTION_BYTES: Final = 1 << 20
"""What their names may take; the same holds."""


def _size(one: "Subscription") -> int:
    return len(one.class_name or "") + len(one.ref or "")


class Token(NamedTuple):
    """How far a client has read: generations of the database, and of messages, of which there are none here."""

    generation: int
    message: int

    def __str__(self) -> str:
        return f"{self.generation:020d},{self.message:020d}"


def token(text: str) -> Token:
    """A token as clients give it back; the empty text stands for the beginning.

    Raises
    ------
    Failure : EVENT_FROM_TOKEN_PARSE_FAILURE
    """
    if not text:
        return Token(0, 0)
    generation, comma, message = text.partition(",")
    try:
        if comma:
            return Token(INT.accept(generation), INT.accept(message))
    except Failure:
        pass
    raise EVENT_FROM_TOKEN_PARSE_FAILURE(text)


def _wanted(table: Table[Any], subscriptions: Iterable[Subscription]) -> frozenset[str] | None:
    """The rows of a table that are asked for: none of it None, all of it empty."""
    if not table.schema.has_events:
        return None
    name = table.schema.name.lower()
    mine = [one for one in subscriptions if one.class_name in (None, name)]
    if not mine:
        return None
    return (
        frozenset()
        if any(one.ref is None for one in mine)
        else frozenset(one.ref for one in mine if one.ref is not None)
    )


def _changed(table: Table[Any], wanted: frozenset[str], start: int) -> "Iterator[Row]":
    if not wanted:
        yield from table.changed_since(start)
        return
    for ref in wanted:
        row = table.get(ref)
        if row is not None and row.mtime > start:
            yield row


def _event(table: Table[Any], row: "Row", record: Record, operation: str, number: int, timestamp: str = "0.0") -> Event:
    of, values = record
    fields = _fields(table, row.ref, operation, number, timestamp)
    fields["snapshot"] = values
    return _with_snapshot(of), fields


@cache
def _with_snapshot(of: RecordType) -> RecordType:
    return RecordType("event", {**_EVENT_FIELDS, "snapshot": of})


def _fields(table: Table[Any], ref: str, operation: str, number: int, timestamp: str = "0.0") -> dict[str, Any]:
    return {
        "id": str(number),
        "timestamp": timestamp,
        "class": table.schema.name.lower(),
        "operation": operation,
        "ref": ref,
    }


def row_counts(database: Database) -> dict[str, int]:
    """The number of rows of every table of which there are events, by the class in lower case."""
    return {name.lower(): len(table) for name, table in database.tables.items() if table.schema.has_events}


@dataclass(slots=True)
class _Registration:
    """What a session registered for, and the number of the first event that it has not seen."""

    next_number: int
    subscriptions: set[Subscription] = field(default_factory=set)

    def covers(self, class_name: str, ref: str) -> bool:
        all_or_some = (_ALL, (class_name, None), (class_name, ref))
        return any(one in self.subscriptions for one in all_or_some)


class Queue:
    """The events of event.from, and of event.next: for this each change that some session registered for is kept, the
    oldest forgotten when there are many.

    Parameters
    ----------
    database, clock : whose changes, and when
    record : what an event shows of a row
    max_length : characters of encoded events that are kept
    """

    def __init__(
        self, database: Database, clock: "Clock", record: "Callable[[Row], Record]", max_length: int = MAX_QUEUE
    ) -> None:
        self.next_number = 0
        self._database = database
        self._clock = clock
        self._record = record
        self._max_length = max_length
        self._length = 0
        self._events: deque[tuple[int, int, Event]] = deque()
        self._first_kept = 0
        self._registrations: dict[str, _Registration] = {}

    def batch(self, subscriptions: Sequence[Subscription], since: Token) -> tuple[list[Event], Token]:
        """One event for each row that changed, with what it is now: those made, those changed, those destroyed.

        Parameters
        ----------
        subscriptions : what is asked for
        since : how far the client has read

        Returns
        -------
        The events, and how far the client has then read: to the last generation that it asked for

        Notes
        -----
        What was made and destroyed in between is left out. The order within each of the three kinds is *inferred*.
        """
        adds: list[Event] = []
        mods: list[Event] = []
        dels: list[Event] = []
        start = last = since.generation
        for table in self._database.tables.values():
            wanted = _wanted(table, subscriptions)
            if wanted is None:
                continue
            for row in _changed(table, wanted, start):
                last = max(last, row.mtime)
                if row.ctime > start:
                    adds.append(_event(table, row, self._record(row), "add", row.mtime))
                else:
                    mods.append(_event(table, row, self._record(row), "mod", row.mtime))
            for ref, (made, destroyed) in table.deleted.items():
                if destroyed > start and (not wanted or ref in wanted):
                    last = max(last, destroyed)
                    if made <= start:
                        dels.append((_GONE, _fields(table, ref, "del", destroyed)))
        return [*adds, *mods, *dels], Token(last, since.message)

    def register(self, session: str, classes: Iterable[str]) -> None:
        """Let a session have the events of classes from now on."""
        mine = self._registration(session)
        mine.subscriptions.update(map(subscription, classes))
        if len(mine.subscriptions) > MAX_SUBSCRIPTIONS or sum(map(_size, mine.subscriptions)) > MAX_SUBSCRIPTION_BYTES:
            known = {name.lower() for name in self._database.tables} | {None}
            mine.subscriptions = {
                Subscription(one.class_name, None) for one in mine.subscriptions if one.class_name in known
            }

    def unregister(self, session: str, classes: Iterable[str]) -> None:
        """Let a session have no events of classes any more; it stays registered."""
        mine = self._registration(session)
        mine.subscriptions.difference_update(map(subscription, classes))

    def forget(self, session: str) -> None:
        """A session has ended."""
        if self._registrations.pop(session, None) and not self._registrations:
            self._database.observers.remove(self._observe)
            self._events.clear()
            self._length = 0

    def read(self, session: str) -> list[Event]:
        """The events that a session has not seen.

        Raises
        ------
        Failure : SESSION_NOT_REGISTERED, EVENTS_LOST
        """
        mine = self._registrations.get(session)
        if mine is None:
            digest = hashlib.md5(session.encode(), usedforsecurity=False).hexdigest()
            raise SESSION_NOT_REGISTERED(f"trackid={digest}")
        start, mine.next_number = mine.next_number, self.next_number
        if start < self._first_kept:
            raise EVENTS_LOST()
        return [
            event
            for number, _, event in self._events
            if number >= start and mine.covers(event[1]["class"], event[1]["ref"])
        ]

    def _registration(self, session: str) -> _Registration:
        if not self._registrations:
            self._database.observers.append(self._observe)
        return self._registrations.setdefault(session, _Registration(self.next_number))

    def _observe(self, operation: str, row: "Row") -> None:
        class_name = row.table.lower()
        if not row.schema.has_events:
            return
        if not any(one.covers(class_name, row.ref) for one in self._registrations.values()):
            return
        table, timestamp = self._database.tables[row.table], str(int(self._clock.now()))
        if operation == "del":
            event: Event = (_GONE, _fields(table, row.ref, operation, self.next_number, timestamp))
        else:
            event = _event(table, row, self._record(row), operation, self.next_number, timestamp)
        length = len(value_xml(*event))
        self._events.append((self.next_number, length, event))
        self.next_number += 1
        self._length += length
        while self._length > self._max_length:
            number, length, _ = self._events.popleft()
            self._length -= length
            self._first_kept = number + 1
