"""The time of a pool that is served: what falls due happens in the event loop, and nothing ever blocks it."""

import asyncio
import time

from xenmem.xenapi.world.clock import Clock, Pace


class ServedClock(Clock):
    """The computer's time, ahead of it by what waits have been jumped over where time jumps.

    Parameters
    ----------
    loop : where what falls due happens
    pace : REAL or JUMP

    Raises
    ------
    ValueError : another pace
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, pace: Pace) -> None:
        if pace is Pace.DRIVEN:
            raise ValueError("pace: nobody drives the time of a pool that is served")
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        super().__init__(pace=pace)

    def now(self) -> float:
        return time.time() + self._offset

    def _move(self, moment: float) -> None:
        if self.pace is Pace.JUMP:
            self._offset += max(0.0, moment - self.now())

    def _rouse(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(max(0.0, self._due[0][0] - self.now()), self._happen)

    def _happen(self) -> None:
        self._timer = None
        try:
            self._advance_to(self.now())
        finally:
            with self._changed:
                if self._due and self._timer is None:
                    self._rouse()
