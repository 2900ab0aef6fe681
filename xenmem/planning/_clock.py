"""How long a search about host failures may go on, and who is told how far it has come; times are seconds.

A search asks `late()` between its slices and says `tell()`; Ctrl-C anywhere in between ends it as the time limit does.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from xenmem.planning.plan import Progress


class TimeOverError(Exception):
    """A search is not finished, and an answer depends on it."""


class Clock:
    """The time of one question, shared by all the searches that it takes.

    Parameters
    ----------
    time_limit : seconds, > 0; None: none
    progress : called with a Progress every now and then; what it raises ends the search
    whole : the clock of a question that this is a part of: Ctrl-C ends both

    Attributes
    ----------
    deadline : as time.monotonic; None: none

    Raises
    ------
    ValueError : the time limit is not positive
    """

    def __init__(
        self,
        time_limit: float | None,
        progress: Callable[[Progress], None] | None = None,
        whole: Clock | None = None,
    ) -> None:
        if time_limit is not None and not time_limit > 0:
            raise ValueError(f"time_limit: {time_limit} is not positive")
        self._began = monotonic()
        self._progress = progress
        self._whole = whole
        self._interrupted = False
        self.deadline = None if time_limit is None else self._began + time_limit

    @property
    def interrupted(self) -> bool:
        """By Ctrl-C; then it is late."""
        return self._interrupted or (self._whole is not None and self._whole.interrupted)

    def interrupt(self) -> None:
        """Ctrl-C: this search ends, and the one that it is part of."""
        self._interrupted = True
        if self._whole is not None:
            self._whole.interrupt()

    def late(self) -> bool:
        """The time is over."""
        return self.interrupted or (self.deadline is not None and monotonic() > self.deadline)

    def affords(self, seconds: float) -> bool:
        """There is so much time left."""
        return not self.interrupted and (self.deadline is None or monotonic() + seconds <= self.deadline)

    def tell(self, value: int, bound: int) -> None:
        """Report how far the search is, if somebody wants to know."""
        if self._progress is not None:
            self._progress(Progress(monotonic() - self._began, value, bound))

    def part(self, share: float = 1.0) -> Clock:
        """A clock for one search of several: it ends after this share of the time that is left, and tells nobody."""
        part = Clock(None, whole=self)
        if self.deadline is not None:
            part.deadline = part._began + share * max(0.0, self.deadline - part._began)
        return part

    @property
    def why(self) -> str:
        """What ended a search that is late."""
        return "the search was interrupted" if self.interrupted else "the time limit ended the search"
