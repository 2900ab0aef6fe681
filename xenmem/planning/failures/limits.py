"""How many host failures a pool survives: the largest number, or bounds on it when the time is over; bytes and rows.

It asks failover for one number after another; what is proved for one number holds for all below, or above.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from xenmem.columns import Rows
from xenmem.planning.effort import Effort, Progress
from xenmem.planning.failures.host_failures import DEFAULT_TIME_LIMIT, failover_until, loss_of, survives_by_bounds
from xenmem.planning.failures.restart_pool import RestartPool, one_pool
from xenmem.planning.failures.results import Failover
from xenmem.planning.failures.together import heaviest_sets, losing_at_once

if TYPE_CHECKING:
    from xenmem.fleet import Fleet


FIRST_SHARE: Final = 0.2
"""Of the time that is left, for each number in the first round; those that resist get the rest in the second."""


class MaxFailures(NamedTuple):
    """How many failures a pool survives.

    Attributes
    ----------
    at_least : so many are survived, for certain; -1 if already now not every protected VM can run
    at_most : more are lost, for certain; equal to at_least unless a time limit or Ctrl-C ended the search
    losing : the answer for at_most + 1; None if all hosts may fail
    """

    at_least: int
    at_most: int
    losing: Failover | None

    @property
    def exact(self) -> bool:
        """The number is known."""
        return self.at_least == self.at_most


def max_failures(
    pool: RestartPool | Fleet,
    *,
    one_by_one: bool = False,
    time_limit: float | None = DEFAULT_TIME_LIMIT,
    progress: Callable[[Progress], None] | None = None,
) -> MaxFailures:
    """The largest number of host failures that the pool survives.

    Parameters
    ----------
    pool, one_by_one : as for failover
    time_limit : seconds for the whole search; None: none
    progress : called now and then with at_least (as value) and at_most (as bound), as far as they are known

    Notes
    -----
    Whoever survives n failures survives fewer. Bounds on whole families of sets give a number that is survived and,
    with the heaviest hosts for each size of VM, one that is lost; failover decides those between.
    """
    pool = one_pool(pool)
    effort = Effort(time_limit, progress=progress)
    search = _Search(pool, effort, one_by_one)
    try:
        search.bisect()
        for share in (FIRST_SHARE, 1.0):
            search.rise(share)
            search.fall(share)
    except KeyboardInterrupt:
        effort.stop()
    return MaxFailures(search.at_least, search.at_most, search.losing)


class _Search:
    """What is known of the number, and how it becomes more."""

    def __init__(self, pool: RestartPool, effort: Effort, one_by_one: bool) -> None:
        self._pool, self._effort, self._one_by_one = pool, effort, one_by_one
        self.at_least, self.at_most = -1, len(pool.free)
        self._losing: Failover | Rows | None = None

    @property
    def losing(self) -> Failover | None:
        """The answer for at_most + 1."""
        if isinstance(self._losing, np.ndarray):
            return loss_of(self._pool, self.at_most + 1, self._losing, one_by_one=self._one_by_one)
        return self._losing

    def bisect(self) -> None:
        """What follows without a search. That is not monotone, but each answer is true."""
        low, high = -1, self.at_most + 1
        while high - low > 1 and not self._effort.over():
            n = (low + high) // 2
            if survives_by_bounds(self._pool, n, one_by_one=self._one_by_one):
                low = self.at_least = n
            else:
                high = n
        low, high = self.at_least, self.at_most + 1
        while high - low > 1 and not self._effort.over():
            n = (low + high) // 2
            losing = losing_at_once(self._pool.prepared, heaviest_sets(self._pool.prepared, n))
            if losing is None:
                low = n
                continue
            high = n
            self.at_most, self._losing = n - 1, losing

    def rise(self, share: float) -> None:
        """Ask for one failure more, until one is not survived; each may take a share of the time that is left."""
        while self._goes_on and self._ask(self.at_least + 1, share).survives:
            pass

    def fall(self, share: float) -> None:
        """Ask for the most that may be survived, until it is; likewise."""
        while self._goes_on and self._ask(self.at_most, share).answer == "loses":
            pass

    @property
    def _goes_on(self) -> bool:
        return self.at_least < self.at_most and not self._effort.over()

    def _ask(self, n: int, share: float) -> Failover:
        answer = failover_until(self._pool, n, self._effort.part(share), one_by_one=self._one_by_one)
        if answer.survives:
            self.at_least = n
        elif answer.answer == "loses":
            self.at_most, self._losing = n - 1, answer
        self._effort.tell(self.at_least, self.at_most)
        return answer
