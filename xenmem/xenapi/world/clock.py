"""The time of a pool: simulated, so that an hour of waiting takes no time unless somebody asks for real time.

A message that waits is a generator that yields seconds; the clock says when it goes on. Seconds since 1970 (UTC).
Knows neither database nor messages.
"""

import heapq
import itertools
import math
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Final

__all__ = ["LONGEST_WAIT", "Clock", "Pace"]

LONGEST_WAIT: Final = float(2**31)
"""Seconds that a wait lasts at most, whatever is asked for: a delay is any integer, and time stays a date."""

_LAST_SECOND: Final = 253_402_300_799
"""The end of the year 9999, the last that a date can have."""


class Pace(Enum):
    """What makes time pass.

    Attributes
    ----------
    JUMP : a wait moves the clock to its end at once, whatever else is due before then happening in order
    DRIVEN : only `Clock.advance`; a synchronous call that waits blocks its thread until another thread advances
    REAL : the computer's clock; a wait sleeps, and a thread of the clock's own does what falls due
    """

    JUMP = auto()
    DRIVEN = auto()
    REAL = auto()


_REAL: Final = Pace.REAL


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
        self._dated, self._date = -1, ""
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._changed: Final = threading.Condition()
        self._driver: threading.Thread | None = None

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time() + self._offset if self.pace is _REAL else self._now

    def date(self) -> str:
        """The time as rows hold it, such as 20260821T02:00:23Z."""
        second = int(min(self.now(), _LAST_SECOND))
        if second != self._dated:
            self._date = datetime.fromtimestamp(second, UTC).strftime("%Y%m%dT%H:%M:%SZ")
            self._dated = second
        return self._date

    def call_at(self, moment: float, action: Callable[[], None]) -> None:
        """Call something when the time has come; it is called without locks."""
        moment = min(moment, self.now() + LONGEST_WAIT)
        with self._changed:
            heapq.heappush(self._due, (moment, next(self._number), action))
            self._changed.notify_all()
            self._rouse()

    def _rouse(self) -> None:
        """Something is to fall due: have it happen when it does; a subclass that has an event loop asks that."""
        if self.pace is Pace.REAL and self._driver is None:
            self._driver = threading.Thread(target=self._drive, name="xenmem clock", daemon=True)
            self._driver.start()

    def _move(self, moment: float) -> None:
        """It is this late now, or later."""
        self._now = max(self._now, moment)

    def _drive(self) -> None:
        """Let what is due happen when it is, as long as something will be."""
        try:
            while True:
                with self._changed:
                    if not self._due:
                        self._driver = None
                        return
                    left = self._due[0][0] - self.now()
                    if left > 0:
                        self._changed.wait(min(left, threading.TIMEOUT_MAX))
                        continue
                self._advance_to(self.now())
        except BaseException:
            with self._changed:
                self._driver = None
            raise

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
        if not 0 <= seconds < math.inf:
            raise ValueError(f"seconds: {seconds} is {'negative' if seconds < 0 else 'not finite'}")
        self._advance_to(self.now() + seconds)

    def settle(self, is_done: Callable[[], bool]) -> None:
        """Where time jumps, let what is due happen until something is done; else only what is due by now."""
        while self.pace is Pace.JUMP and not is_done() and (moment := self.next_due()) is not None:
            self._advance_to(max(moment, self.now()))
        self._advance_to(self.now())

    def wait(self, seconds: float) -> None:
        """Come back when this much time has passed."""
        end = self.now() + min(max(0.0, seconds), LONGEST_WAIT)
        if self.pace is Pace.JUMP:
            self._advance_to(end)
        elif self.pace is Pace.REAL:
            while (left := end - self.now()) > 0:
                time.sleep(min(left, threading.TIMEOUT_MAX))
        else:
            with self._changed:
                self._changed.wait_for(lambda: self._now >= end)

    def wait_for(self, changed: threading.Condition, is_done: Callable[[], bool], deadline: float) -> None:
        """Come back when something is done, or it is too late.

        Parameters
        ----------
        changed : held by the caller, and let go of while it waits; notified when it may be done
        is_done : whether it is
        deadline : seconds since 1970, or infinity. Where time jumps, it jumps to what is next due, and with nothing due
            to the deadline; without one it is then too late, for nothing will ever happen
        """

        def too_late() -> None:
            with changed:
                changed.notify_all()

        if deadline < math.inf:
            deadline = min(deadline, self.now() + LONGEST_WAIT)
            if self.pace is Pace.DRIVEN:
                self.call_at(deadline, too_late)
        while not is_done() and (now := self.now()) < deadline:
            if self.pace is Pace.JUMP:
                due = self.next_due()
                moment = deadline if due is None else min(deadline, due)
                if moment == math.inf:
                    return
                self._advance_to(max(moment, now))
            elif self.pace is Pace.REAL:
                changed.wait(min(deadline - now, threading.TIMEOUT_MAX))
            else:
                changed.wait()

    def _advance_to(self, end: float) -> None:
        while True:
            with self._changed:
                if not self._due or self._due[0][0] > end:
                    self._move(end)
                    self._changed.notify_all()
                    return
                moment, _, action = heapq.heappop(self._due)
                self._move(moment)
                self._changed.notify_all()
            action()
