"""How long a search may go on, who is told how far it has come, and its random numbers; times are seconds.

One question has one Effort; each of the searches that it takes has a part of it. Ctrl-C ends a search as the time
limit does, with what it has found, and all the others of the question with it. Knows nothing of what is searched for.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from math import inf
from threading import Event
from time import monotonic
from typing import NamedTuple

import numpy as np

from xenmem.planning.checks import integer

Told = Callable[[int, int], None]


class Progress(NamedTuple):
    """How far a search has come: seconds since it began, the best value so far and the bound on any."""

    seconds: float
    value: int
    bound: int

    @property
    def gap(self) -> float:
        """How far the value can be from the best, relative to the bound."""
        return gap_between(self.value, self.bound)


def gap_between(value: int, bound: int) -> float:
    """The distance of a value from the bound on any, relative to the bound."""
    return abs(value - bound) / max(abs(bound), 1)


Report = Callable[[Progress], None]


class TimeOverError(Exception):
    """A search is not finished, and an answer depends on it."""


def nobody(value: int, bound: int) -> None:
    """Whom a search within a search tells."""


class Effort:
    """How long a search may go on, and who is told about it.

    Parameters
    ----------
    time_limit : seconds, > 0; None for none, or for a fixed number of steps, so that the answer depends on the input
        alone
    seed : of all random choices
    progress : called with a Progress every now and then; what it raises ends the search

    Attributes
    ----------
    state : of the random numbers
    interrupted : something ended the search before it was done: the time limit, or Ctrl-C
    stopped : it was Ctrl-C, in this search or in another one of the question

    Raises
    ------
    ValueError, TypeError : the time limit is not positive, or the seed is negative or no integer
    """

    def __init__(self, time_limit: float | None = None, seed: int = 0, progress: Report | None = None) -> None:
        if time_limit is not None and not time_limit > 0:
            raise ValueError(f"time_limit: {time_limit} is not positive")
        if integer("seed", seed) < 0:
            raise ValueError(f"seed: {seed} is negative")
        self.began = monotonic()
        self.time_limit = time_limit
        self.state = np.array([(int(seed) + 1) * 0x9E3779B97F4A7C15 % (1 << 64) or 1], np.uint64)
        self.interrupted = False
        self._progress = progress
        self._stop = Event()
        self._told: Told | None = None

    def part(self, share: float = 1.0, told: Told = nobody) -> Effort:
        """The effort for one search of several, beginning now: with the same random numbers, and ended by stop, too.

        Parameters
        ----------
        share : of the time that is left
        told : called with value and bound instead of progress; by default nobody is
        """
        return self.limited(None if self.time_limit is None else self.seconds_left() * share, told)

    def limited(self, seconds: float | None, told: Told = nobody) -> Effort:
        """The effort for a search that has its own limit, None for none; otherwise as a part."""
        part = copy(self)
        part.began = monotonic()
        part.time_limit = seconds
        part.state = self.state.copy()
        part._told = told
        return part

    @property
    def stopped(self) -> bool:
        """See the attributes."""
        return self._stop.is_set()

    def seconds_left(self) -> float:
        """Until the time limit; 0 once it is over, infinite without one."""
        return inf if self.time_limit is None else max(0.0, self.began + self.time_limit - monotonic())

    def affords(self, seconds: float) -> bool:
        """There is so much time left."""
        return not self.stopped and self.seconds_left() >= seconds

    def stop(self) -> None:
        """End this search and all others of the question: somebody pressed Ctrl-C."""
        self._stop.set()
        self.interrupted = True

    def over(self) -> bool:
        """Whether the search has to end now."""
        late = self.time_limit is not None and monotonic() - self.began > self.time_limit
        if late or self.stopped:
            self.interrupted = True
        return self.interrupted

    def tell(self, value: int, bound: int) -> None:
        """Report the best value and the bound, if somebody wants to know."""
        if self._told is not None:
            self._told(value, bound)
        elif self._progress is not None:
            self._progress(Progress(monotonic() - self.began, value, bound))

    @property
    def why(self) -> str:
        """What ended a search that is over."""
        return "the search was interrupted" if self.stopped else "the time limit ended the search"
