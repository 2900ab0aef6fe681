"""The time of a pool: simulated, so that an hour of waiting takes no time unless somebody asks for real time.

A message that waits is a generator that yields seconds; the clock says when it goes on. Seconds since 1970 (UTC).
Knows neither database nor messages.
"""

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Final

__all__ = ["Clock", "Pace"]


class Pace(Enum):
    """What makes time pass.

    Attributes
    ----------
    JUMP : a wait moves the clock to its end at once, whatever else is due before then happening in order
    DRIVEN : only `Clock.advance`; a synchronous call that waits blocks its thread until another thread advances
    REAL : the computer's clock; a wait sleeps
    """

    JUMP = auto()
    DRIVEN = auto()
    REAL = auto()


class Clock:
    """The time of a pool.

    Parameters
    ----------
    start : the time it shows at first; by default the present
    pace : what makes it go on
    """

    def __init__(self, start: float | None = None, pace: Pace = Pace.JUMP) -> None:
        self.pace = pace
        self._offset = 0.0 if start is None else start - time.time()
        self._now = time.time() if start is None else start
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._changed: Final = threading.Condition()

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time() + self._offset if self.pace is Pace.REAL else self._now

    def date(self) -> str:
        """The time as rows hold it, such as 20260821T02:00:23Z."""
        return datetime.fromtimestamp(self.now(), UTC).strftime("%Y%m%dT%H:%M:%SZ")

    def call_at(self, moment: float, action: Callable[[], None]) -> None:
        """Call something when the time has come; it is called without locks."""
        with self._changed:
            heapq.heappush(self._due, (moment, next(self._number), action))
            self._changed.notify_all()

    def next_due(self) -> float | None:
        """When something is next due."""
        with self._changed:
            return self._due[0][0] if self._due else None

    def advance(self, seconds: float) -> None:
        """Let this much time pass, and what falls due in it happen in order.

        Raises
        ------
        ValueError : time does not go back
        """
        if not seconds >= 0:
            raise ValueError(f"seconds: {seconds} is negative")
        self._advance_to(self.now() + seconds)

    def settle(self, is_done: Callable[[], bool]) -> None:
        """Where time jumps, let what is due happen until something is done; else only what is due by now."""
        while self.pace is Pace.JUMP and not is_done() and (moment := self.next_due()) is not None:
            self._advance_to(max(moment, self.now()))
        self._advance_to(self.now())

    def wait(self, seconds: float) -> None:
        """Come back when this much time has passed."""
        end = self.now() + max(0.0, seconds)
        if self.pace is Pace.JUMP:
            self._advance_to(end)
        elif self.pace is Pace.REAL:
            while (left := end - self.now()) > 0:
                moment = self.next_due()
                time.sleep(left if moment is None else max(0.0, min(left, moment - self.now())))
                self._advance_to(self.now())
        else:
            with self._changed:
                self._changed.wait_for(lambda: self._now >= end)

    def _advance_to(self, end: float) -> None:
        while True:
            with self._changed:
                if not self._due or self._due[0][0] > end:
                    self._now = max(self._now, end)
                    self._changed.notify_all()
                    return
                moment, _, action = heapq.heappop(self._due)
                self._now = max(self._now, moment)
                self._changed.notify_all()
            action()
