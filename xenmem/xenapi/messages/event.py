"""The messages of the class event: what changed in the pool. Source: messages.md, 9.10 (xapi_event.ml)."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from typing import Annotated, Any, Final, Protocol, TypeVar

from xenmem.datamodel.errors import (
    EVENT_FROM_TOKEN_PARSE_FAILURE,
    EVENTS_LOST,
    HANDLE_INVALID,
    SESSION_INVALID,
    SESSION_NOT_REGISTERED,
)
from xenmem.datamodel.types import INT32, STRING, MapType, RecordType
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import Float, Int, String, Strings, message
from xenmem.xenapi.world import events

DAY_SECONDS: Final = 86_400.0
"""What event.from waits where the timeout is negative, not finite, or no span of time."""

_LONGEST_SECONDS: Final = 2**53 / 1e9

Events = Annotated[list[Any], events.EVENTS]
EventBatch = Annotated[
    dict[str, Any],
    RecordType("event batch", {"events": events.EVENTS, "valid_ref_counts": MapType(STRING, INT32), "token": STRING}),
]


class Listener(Protocol):
    """A call that waits for events.

    Attributes
    ----------
    timeout : seconds after which it answers that there are none; infinity if it goes on waiting
    first, between : seconds that the server lets pass before it first looks, and from a change until it looks again
    key : listeners of equal keys find the same
    """

    timeout: float
    first: float
    between: float
    key: Hashable

    def look(self) -> bool:
        """Whether there are events; the database is locked. Failures as of the message."""

    def keep(self) -> None:
        """Look only whether the session is still logged in; fails if it is not."""

    def concerns(self, changed: Mapping[str, Set[str]]) -> bool:
        """Whether changes of rows, their references by class in lower case, may bring events."""

    def answer(self) -> Any:
        """The result of the message, after `look`."""


class _From:
    """What event.from waits for. Source: xapi_event.ml: from_inner."""

    def __init__(self, call: Call, classes: Sequence[str], token: str, timeout: float) -> None:
        self._call = call
        self._subscriptions = tuple(events.subscription(text) for text in classes)
        self._since = self._last = events.token(token)
        self._found: list[events.Event] = []
        self.timeout = timeout if 0 <= timeout < _LONGEST_SECONDS else DAY_SECONDS
        only_tasks = all(one.class_name == "task" for one in self._subscriptions)
        self.first, self.between = (0.0 if only_tasks else 0.05), 0.05
        self.key: Hashable = (self._subscriptions, self._since)

    def keep(self) -> None:
        self._call.world.sessions.keep(self._call.login.ref)

    def look(self) -> bool:
        self.keep()
        self._found, self._last = self._call.world.events.batch(self._subscriptions, self._since)
        return bool(self._found)

    def concerns(self, changed: Mapping[str, Set[str]]) -> bool:
        for class_name, ref in self._subscriptions:
            if class_name is None or (class_name in changed and (ref is None or ref in changed[class_name])):
                return True
        return False

    def answer(self) -> dict[str, Any]:
        counts = events.row_counts(self._call.db)
        return {"events": self._found, "valid_ref_counts": counts, "token": str(self._last)}


class _Next:
    """What event.next waits for."""

    timeout = math.inf
    first, between = 0.2, 0.05

    def __init__(self, call: Call) -> None:
        self._call = call
        self._found: list[events.Event] = []
        self.key: Hashable = self

    def keep(self) -> None:
        self._call.world.sessions.keep(self._call.login.ref)

    def look(self) -> bool:
        self.keep()
        self._found.extend(self._call.world.events.read(self._call.login.ref))
        return bool(self._found)

    def concerns(self, changed: Mapping[str, Set[str]]) -> bool:
        return True

    def answer(self) -> list[Any]:
        return self._found


LISTENERS: Final[Mapping[str, Callable[..., Listener]]] = {"event.from": _From, "event.next": _Next}
"""What makes a listener of an admitted call and its arguments, by the message's name."""


L = TypeVar("L", bound=Listener)


def _listen(call: Call, listener: L) -> L:
    with call.db.lock, call.db.waiting(call):
        call.world.wait_for(listener.look, call.clock.now() + listener.timeout)
        return listener


@message(
    "event",
    name="from",
    errors=(EVENT_FROM_TOKEN_PARSE_FAILURE, SESSION_INVALID),
    locked=False,
)
def from_(call: Call, classes: Strings, token: String, timeout: Float) -> EventBatch:
    """What changed since a token, as soon as anything did; nothing after `timeout` seconds.

    Notes
    -----
    Classes are `*`, `class` or `class/ref`; the token is that of the last answer, empty at first. One event for each
    row, with its present state. The server's delay of 50 ms for more to happen is left out.
    """
    return _listen(call, _From(call, classes, token, timeout)).answer()


@message("event", errors=(HANDLE_INVALID,))
def inject(call: Call, class_: String, ref: String) -> String:
    """Let a row count as changed; answers a token less than that of the event.from that tells of it.

    Notes
    -----
    The class is spelled exactly as its messages spell it, and not in any case as for event.from.
    """
    table = call.db.tables.get(class_)
    row = table.get(ref) if table is not None else None
    if row is None:
        raise HANDLE_INVALID(class_, ref)
    before = events.Token(call.db.generation, 0)
    call.db.touch(row)
    return str(before)


@message("event")
def register(call: Call, classes: Strings) -> None:
    """Have the events of classes kept for event.next. Deprecated: event.from needs no registration."""
    call.world.events.register(call.login.ref, classes)


@message("event")
def unregister(call: Call, classes: Strings) -> None:
    """Have the events of classes no longer kept for event.next. Deprecated."""
    call.world.events.unregister(call.login.ref, classes)


@message(
    "event",
    errors=(SESSION_NOT_REGISTERED, EVENTS_LOST, SESSION_INVALID),
    locked=False,
)
def next(call: Call) -> Events:
    """Wait for events of the classes that the session registered for: each change, not only the last. Deprecated.

    Notes
    -----
    Where time jumps and nothing is due, there is nothing to wait for, and no events are answered.
    """
    return _listen(call, _Next(call)).answer()


@message("event")
def get_current_id(call: Call) -> Int:
    """The number of the next event of event.next. Deprecated."""
    return call.world.events.next_number
