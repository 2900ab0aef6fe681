"""The messages of the class event: what changed in the pool. Source: messages.md, 9.10 (xapi_event.ml)."""

import math
from typing import Annotated, Any, Final

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
"""What event.from waits where the timeout is negative or not finite (*inferred*)."""

Events = Annotated[list[Any], events.EVENTS]
EventBatch = Annotated[
    dict[str, Any],
    RecordType("event batch", {"events": events.EVENTS, "valid_ref_counts": MapType(STRING, INT32), "token": STRING}),
]


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
    subscriptions = [events.subscription(text) for text in classes]
    since = events.token(token)
    world, session = call.world, call.login.ref
    found: list[events.Event] = []
    last = since

    def look() -> bool:
        nonlocal found, last
        world.sessions.keep(session)
        found, last = world.events.batch(subscriptions, since)
        return bool(found)

    with call.db.lock, call.db.waiting(call):
        world.wait_for(look, call.clock.now() + (timeout if 0 <= timeout < math.inf else DAY_SECONDS))
        return {"events": found, "valid_ref_counts": events.row_counts(call.db), "token": str(last)}


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
    world, session = call.world, call.login.ref
    found: list[events.Event] = []

    def look() -> bool:
        world.sessions.keep(session)
        found.extend(world.events.read(session))
        return bool(found)

    with call.db.lock, call.db.waiting(call):
        world.wait_for(look, math.inf)
        return found


@message("event")
def get_current_id(call: Call) -> Int:
    """The number of the next event of event.next. Deprecated."""
    return call.world.events.next_number
