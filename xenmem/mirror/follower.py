"""One pool that is followed: it is read once, and then told of changes, whatever happens in between.

What goes wrong is gone over: events that were lost, or rows that should be there and are not, by reading all again; a
session that ended, or a coordinator that is another one, by a new session and reading all again, for the generations of
another database are others; a connection that broke, or an answer that ended too early, by asking again with the same
token, for a batch is taken in whole or not at all. Pauses grow, and no two mirrors keep the same ones.
Time is that of a clock that nobody sets.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from xenmem.columns import Tables
from xenmem.inventory.error import InventoryError, OutOfReachError
from xenmem.inventory.live.connection import Batch, RefusedError
from xenmem.inventory.schema import TABLES
from xenmem.mirror.changes import Change
from xenmem.mirror.feeds import Feed
from xenmem.mirror.tables import PoolTables, Row

_CLASSES: Final = tuple(TABLES)
_LOST: Final = ("EVENTS_LOST", "EVENT_FROM_TOKEN_PARSE_FAILURE")
_SESSION_GONE: Final = "SESSION_INVALID"
_ELSEWHERE: Final = "HOST_IS_SLAVE"
_FIRST_BATCHES: Final = 4
"""After all was read, so many batches are asked for at once, until one is empty and what was read is of one moment."""

_TRIES: Final = 3
"""What may pass by itself is waited for so often: rows that do not add up, until all are read again; a coordinator that
does not answer, until another one is looked for; a refusal, until it is asked about seldom."""

FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 60.0
LOCKED_OUT_PAUSE: Final = 30.0
"""Seconds; the last after a refusal, such as of a password, which asking soon and often makes worse."""

BATCHING: Final = 0.1
"""Seconds within which a server that is asked tells of a change (xapi_event.ml: two pauses of 50 ms)."""

_log = logging.getLogger("xenmem")


def now() -> float:
    """Seconds of a clock that nobody sets, and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class ChangedPoolError(InventoryError):
    """Where a pool was, there is another one now."""


class Follower:
    """A pool, and the thread that follows it.

    Parameters
    ----------
    feed : brings events
    lenient : skip bad rows
    wait : seconds that a question waits for changes
    tell : is given changes, in the follower's thread

    Attributes
    ----------
    uuid : of the pool; empty until it was read
    seen_at : when it was last known to be as it is here, by `now`; None until it was read
    lag : seconds by which the last changes came late, at most
    error : what is wrong now; None while all is well
    fatal : nothing is followed any more
    readings : how often all was read
    """

    def __init__(self, feed: Feed, *, lenient: bool, wait: float, tell: Callable[[list[Change]], None]) -> None:
        self.feed = feed
        self.uuid = ""
        self.seen_at: float | None = None
        self.lag = 0.0
        self.error: InventoryError | None = None
        self.fatal = False
        self.readings = 0
        self.version = 0
        self.ready = threading.Event()
        self._lenient = lenient
        self._wait = wait
        self._tell = tell
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._pool = PoolTables(feed.name, feed.notes, lenient=lenient)
        self._assembled: tuple[int, Tables] | None = None
        self._token = ""
        self._given: frozenset[str] = frozenset()
        self._failures = 0
        self._miscounts = 0
        self._unsettled = 0
        self._never_add_up: frozenset[str] = frozenset()
        self._answered_at = now()
        self._thread = threading.Thread(target=self._run, name=f"xenmem mirror of {feed.name}", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def close(self) -> None:
        """End, and log out."""
        self._ended.set()
        while self._thread.is_alive():
            self.feed.interrupt()
            self._thread.join(0.05)
        self.feed.close()

    def tables(self) -> Tables:
        """The columns of now; the same ones as long as nothing changes.

        Raises
        ------
        InventoryError : a row is bad, or does not go with others
        """
        with self._lock:
            if self._assembled is None or self._assembled[0] != self.version:
                self._assembled = self.version, self._pool.assembled()
            return self._assembled[1]

    def records(self) -> dict[str, dict[str, dict[str, object]]]:
        """The records of now, as far as they are read."""
        with self._lock:
            return self._pool.records()

    # ------------------------------------------------------------------------------------------------------ following

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._step()
            except ChangedPoolError as error:
                self.error, self.fatal = error, True
                self.ready.set()
                return
            except InventoryError as error:
                if self._ended.is_set():
                    return
                self._pause(error)
            except Exception as error:  # an answer that nobody thought of; the pool is followed all the same
                _log.exception("%s: following it failed", self.feed.name)
                self._pause(InventoryError(self.feed.name, "", f"following it failed: {error!r}"))

    def _pause(self, error: InventoryError) -> None:
        """After a failure, a while that grows. What is part of a pool's life is no error the first time."""
        expected = isinstance(error, RefusedError) and error.code in (*_LOST, _SESSION_GONE, _ELSEWHERE)
        self.error = None if expected and not self._failures else error
        if isinstance(error, RefusedError):
            if error.code in _LOST:
                self._token = ""
            elif error.code == _SESSION_GONE:
                self._token = ""
                self.feed.renew()
            elif error.code == _ELSEWHERE and error.parameters:
                self._token = ""
                self.feed.follow(error.parameters[0])
        elif isinstance(error, OutOfReachError) and self._failures >= _TRIES:
            self._token = ""
            self.feed.renew()  # another host may be the coordinator by now
        else:
            self.feed.drop()
        if self.seen_at is None:
            self.ready.set()
        shut_out = not expected and not isinstance(error, OutOfReachError) and self._failures >= _TRIES
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures, 20))
        self._failures += 1
        self._ended.wait(max(pause, LOCKED_OUT_PAUSE if shut_out else 0.0) * random.uniform(0.5, 1.5))

    def _step(self) -> None:
        """Ask once, and take in what is answered."""
        before, asked_at, is_whole = self._answered_at, now(), not self._token
        is_settling = is_whole or self._miscounts or self._unsettled
        batch = self.feed.events(_CLASSES, self._token, 0.0 if is_settling else self._wait)
        self._answered_at = now()
        changes = self._take(batch, is_whole)
        self._token = batch.token
        self._failures = 0
        self.error = None
        taken_at = now()
        if is_whole:
            self.readings += 1
            self.lag = taken_at - asked_at
            self.feed.know([host for host in self._pool.get("host", "address") if isinstance(host, str)])
        elif batch.events:
            self.lag = min(taken_at - before, BATCHING + (asked_at - before) + (taken_at - self._answered_at))
        self._add_up(batch, is_whole)
        self._tell(changes)
        self.seen_at = self._answered_at
        self._unsettled = _FIRST_BATCHES if is_whole else self._unsettled - 1 if batch.events and self._unsettled else 0
        if not self._unsettled:
            self.ready.set()
        if self.feed.pause and not is_settling:
            self._ended.wait(self.feed.pause)

    def _take(self, batch: Batch, is_whole: bool) -> list[Change]:
        rows: list[tuple[str, str, Row | None]] = []
        try:
            for event in batch.events:
                name = self._pool.class_named(event.class_name)
                if name is None or not event.ref:
                    continue
                if event.operation == "del":
                    rows.append((name, event.ref, None))
                elif event.snapshot:
                    rows.append((name, event.ref, self._pool.row(name, event.ref, event.snapshot)))
        except ValueError as error:
            raise InventoryError(self.feed.name, "", str(error)) from None
        if is_whole:
            self._check_identity(rows)
            by_class: dict[str, dict[str, Row]] = {name: {} for name in _CLASSES}
            for name, ref, row in rows:
                if row is not None:
                    by_class[name][ref] = row
        with self._lock:
            wanted: Iterable[tuple[str, str, Row | None]] = self._pool.replaced_by(by_class) if is_whole else rows
            changes = self._pool.apply(self.uuid, wanted, frozenset(batch.counts))
            if changes or self.version == 0:
                self.version += 1
        return changes

    def _check_identity(self, rows: Iterable[tuple[str, str, Row | None]]) -> None:
        """The pool is the one that it was."""
        uuids = [row[1] for name, _, row in rows if name == "pool" and row is not None]
        if len(uuids) != 1 or not uuids[0]:
            raise InventoryError(self.feed.name, "", f"has {len(uuids)} pools where there is one, with a uuid")
        if self.uuid not in ("", uuids[0]):
            problem = f"is the pool {uuids[0]} now, and was {self.uuid}: nothing of it is followed any more"
            raise ChangedPoolError(self.feed.name, "", problem)
        self.uuid = uuids[0]

    def _add_up(self, batch: Batch, is_whole: bool) -> None:
        """Compare the number of rows of each class with what the server has; read all again where they stay apart."""
        apart = frozenset(
            name
            for name in _CLASSES
            if self._pool.count(name) != batch.counts.get(name.lower(), self._pool.count(name))
        )
        if is_whole:
            self._never_add_up = apart if self._miscounts >= _TRIES else frozenset()
            self._miscounts = 0
            return
        self._never_add_up &= apart
        if apart <= self._never_add_up:
            self._miscounts = 0
            return
        self._miscounts += 1
        if self._miscounts >= _TRIES:
            self._token = ""
