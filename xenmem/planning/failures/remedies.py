"""What would make a pool survive a number of host failures: memory to add, or VMs to shrink or to unprotect; bytes.

Every candidate is put to failover, which knows; what is said to be the least is proved to be so. More memory never
hurts, so bisection finds the least of one amount.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from xenmem.columns import Bytes
from xenmem.planning.checks import LARGEST_AMOUNT, check_range
from xenmem.planning.effort import Effort, Progress, TimeOverError
from xenmem.planning.failures.host_failures import DEFAULT_TIME_LIMIT, failover_until
from xenmem.planning.failures.restart_pool import RestartPool, check_failures
from xenmem.planning.failures.results import Failover
from xenmem.planning.search.compiled.feasibility import best_fit
from xenmem.units import MIB

Added = tuple[tuple[int, int], ...]
Found = TypeVar("Found")

UNPROTECT_QUESTIONS: Final = 2_000
SPREAD_ROUNDS: Final = 500


@dataclass(frozen=True, eq=False)
class Remedy:
    """What would make a pool survive a number of failures. Memory is in whole MiB.

    Attributes
    ----------
    num_failures : the number
    memory : row numbers of hosts and bytes to add to each, which together suffice: the least sum that was found, and no
        amount of it can be smaller while the others stay; empty if nothing is needed, None if nothing was found
    memory_bound : bytes; additions with a smaller sum do not suffice, wherever they are
    memory_each_host : bytes, the least that is to be added to every host; None if no amount helps
    host, memory_one_host : the host, by row number, to which the fewest bytes need to be added if it is to be one
        alone, and how many; None if no single host helps
    memory_new_host : bytes, the least free memory that one more host must bring, on which only VMs that may be started
        everywhere are started; None if no amount helps
    unprotect : row numbers of the fewest VMs that would have to give up protection, and among those found the smallest
    unprotect_is_least : it is proved that fewer do not do
    shrink : row numbers and new sizes in bytes; None if no sizes to shrink to were given, or they do not suffice
    undecided : names of the attributes for which the time was not enough; they are None or empty
    """

    num_failures: int
    memory: Added | None
    memory_bound: int
    memory_each_host: int | None
    host: int | None
    memory_one_host: int | None
    memory_new_host: int | None
    unprotect: tuple[int, ...]
    unprotect_is_least: bool
    shrink: Added | None
    undecided: tuple[str, ...]


def remedy(
    pool: RestartPool,
    num_failures: int,
    *,
    smallest: npt.ArrayLike | None = None,
    time_limit: float | None = DEFAULT_TIME_LIMIT,
    progress: Callable[[Progress], None] | None = None,
) -> Remedy:
    """What would make the pool survive this many hosts failing together: memory to add, or VMs to shrink or unprotect.

    Parameters
    ----------
    num_failures : hosts that fail
    smallest : int64 array, shape (vms of the pool,), bytes to which each VM can be shrunk; see RestartPool.size
    time_limit : seconds for all of it; what is not found by then is named in `undecided`, also after Ctrl-C
    progress : called with the number of remedies that are found (as value), and how many are looked for (as bound)

    Raises
    ------
    ValueError : num_failures is negative or larger than the pool, or smallest is out of range

    Notes
    -----
    The bound on additions that may be spread: if so much on every host is not enough, the same sum spread over them is
    not either; and what the worst hosts run must find room on the others, wherever the additions are.
    """
    n = check_failures(pool, num_failures)
    sizes = None
    if smallest is not None:
        given = np.asarray(smallest)
        if given.shape != pool.size.shape:
            raise ValueError(f"smallest: shape {given.shape} where {pool.size.shape} is needed")
        check_range("smallest", given, 0, LARGEST_AMOUNT)
        sizes = np.minimum(given.astype(np.int64), pool.size)
    search = _Search(pool, n, Effort(time_limit, progress=progress), 5 if sizes is None else 6)

    each = search.part("memory_each_host", search.each_host, None)
    one = search.part("memory_one_host", search.one_host, None)
    new = search.part("memory_new_host", search.new_host, None)
    nobody: tuple[tuple[int, ...], bool] = ((), False)
    unprotect, proved = search.part("unprotect", search.unprotected, nobody)
    shrink = None if sizes is None else search.part("shrink", lambda: search.shrunk(sizes), None)
    memory = search.part("memory", lambda: search.spread(each, one), None)
    return Remedy(
        num_failures=n,
        memory=memory,
        memory_bound=max(each or 0, search.missing()),
        memory_each_host=each,
        host=None if one is None else one[0],
        memory_one_host=None if one is None else one[1],
        memory_new_host=new,
        unprotect=unprotect,
        unprotect_is_least=proved,
        shrink=shrink,
        undecided=tuple(search.undecided),
    )


class _Search:
    """The remedies of one pool, one by one."""

    def __init__(self, pool: RestartPool, n: int, effort: Effort, parts: int) -> None:
        self._pool, self._n, self._effort = pool, n, effort
        self._most = int(pool.size.sum()) + int(np.maximum(0, -pool.free).sum())
        self._parts, self._done = parts, 0
        self._now = effort
        self.undecided: list[str] = []

    def part(self, name: str, search: Callable[[], Found], otherwise: Found) -> Found:
        """One remedy; it may take its share of the time that is left."""
        self._now = self._effort.part(1 / (self._parts - self._done))
        self._done += 1
        try:
            found = search()
        except KeyboardInterrupt:
            self._effort.stop()
        except TimeOverError:
            pass
        else:
            self._effort.tell(self._done - len(self.undecided), self._parts)
            return found
        self.undecided.append(name)
        return otherwise

    def _ask(self, candidate: RestartPool) -> Failover:
        answer = failover_until(candidate, self._n, self._now)
        if answer.answer == "unknown":
            raise TimeOverError
        return answer

    def _survives(self, candidate: RestartPool) -> bool:
        return self._ask(candidate).survives

    # ----------------------------------------------------------------------------------------------------- more memory

    def _with(self, more: Bytes) -> RestartPool:
        return replace(self._pool, free=self._pool.free + more)

    def each_host(self) -> int | None:
        """The least for every host."""
        each = np.ones(len(self._pool.free), np.int64)
        return least(lambda amount: self._survives(self._with(amount * each)), self._most)

    def one_host(self) -> tuple[int, int] | None:
        """The host that needs least alone, and how much."""
        best: tuple[int, int] | None = None
        for place in range(len(self._pool.free)):

            def enough(amount: int, place: int = place) -> bool:
                alone = np.zeros(len(self._pool.free), np.int64)
                alone[place] = amount
                return self._survives(self._with(alone))

            limit = self._most if best is None else best[1] - MIB
            amount = least(enough, limit) if limit >= 0 else None
            if amount is not None:
                best = int(self._pool.hosts[place]), amount
        return best

    def new_host(self) -> int | None:
        """The least that one more host must have."""
        pool = self._pool
        allowed = None if pool.allowed is None else np.column_stack([pool.allowed, pool.allowed.all(axis=1)])
        hosts = np.append(pool.hosts, np.int32(-1))

        def enough(amount: int) -> bool:
            return self._survives(replace(pool, free=np.append(pool.free, amount), hosts=hosts, allowed=allowed))

        return least(enough, self._most)

    def missing(self) -> int:
        """The least sum with which what the worst hosts run goes into the room of the others, however it is cut.

        What is added to a host fails with it. So it is best added where load and room are least: the hosts there are
        filled up to one level.
        """
        pool = self._pool
        room, runs = np.maximum(0, pool.free), pool.resident_on >= 0
        stake = room.copy()
        np.add.at(stake, pool.resident_on[runs], pool.size[runs])
        stake.sort()
        spare = int(room.sum() - pool.size[~runs].sum())

        def enough(amount: int) -> bool:
            filled, left = 1, amount
            while filled < len(stake) and left >= filled * int(stake[filled] - stake[filled - 1]):
                left -= filled * int(stake[filled] - stake[filled - 1])
                filled += 1
            level = int(stake[filled - 1]) + left // filled
            return int(np.sort(np.maximum(stake, level))[len(stake) - self._n :].sum()) <= spare + amount

        found = least(enough, self._most)
        return self._most if found is None else found

    def spread(self, each: int | None, one: tuple[int, int] | None) -> Added | None:
        """Additions with a small sum, none of which can be smaller."""
        hosts = len(self._pool.free)
        starts = [self._as_needed()]
        if each is not None:
            starts.append(np.full(hosts, each, np.int64))
        best: Bytes | None = None
        if one is not None:
            best = np.where(self._pool.hosts == one[0], one[1], 0).astype(np.int64)
        for start in starts:
            more = None if start is None else self._reduced(start)
            if more is not None and (best is None or more.sum() < best.sum()):
                best = more
        if best is None:
            return None
        return tuple((int(self._pool.hosts[place]), int(best[place])) for place in np.flatnonzero(best))

    def _as_needed(self) -> Bytes | None:
        """For one losing set after the other, as much as its VMs lack where they lack least."""
        more = np.zeros(len(self._pool.free), np.int64)
        for _ in range(SPREAD_ROUNDS):
            candidate = self._with(more)
            answer = self._ask(candidate)
            if answer.survives:
                return more
            failed = np.isin(candidate.hosts, answer.failed_hosts)
            left = np.where(failed, -1, candidate.free)
            moving = np.flatnonzero((candidate.resident_on < 0) | failed[candidate.resident_on])
            moving = moving[np.argsort(-candidate.size[moving], kind="stable")]
            may = (
                np.ones((len(candidate.size), len(left)), np.bool_) if candidate.allowed is None else candidate.allowed
            )
            rows = np.arange(len(moving), dtype=np.int32)
            host_of = np.empty(len(moving), np.int32)
            best_fit(candidate.size[moving], rows, may[moving], left, host_of)
            for vm in moving[host_of < 0]:
                open_to_it = may[vm] & ~failed
                if not open_to_it.any():
                    return None
                place = int(np.argmax(np.where(open_to_it, left, np.iinfo(np.int64).min)))
                lacking = -(-int(candidate.size[vm] - left[place]) // MIB) * MIB
                more[place] += max(0, lacking)
                left[place] += max(0, lacking) - candidate.size[vm]
        return None

    def _reduced(self, more: Bytes) -> Bytes:
        """The same additions, each as small as the others allow; on the hosts whose failure costs most first."""
        more = more.copy()
        for place in self._pool.prepared.order:
            if more[place]:

                def enough(amount: int, place: int = int(place)) -> bool:
                    less = more.copy()
                    less[place] = amount
                    return self._survives(self._with(less))

                amount = least(enough, int(more[place]))
                assert amount is not None
                more[place] = amount
        return more

    # ------------------------------------------------------------------------------------------------------- fewer VMs

    def unprotected(self) -> tuple[tuple[int, ...], bool]:
        """The fewest VMs to unprotect: each losing set must lose one of its VMs, so the search branches over these."""
        pool, asked = self._pool, 0

        def losing(without: tuple[int, ...]) -> Failover | None:
            nonlocal asked
            asked += 1
            answer = self._ask(pool.without(without))
            return None if answer.survives else answer

        greedy: tuple[int, ...] = ()
        loss = losing(greedy)
        while loss is not None:
            greedy += loss.stays_down
            loss = losing(greedy)
        size = {int(vm): int(amount) for vm, amount in zip(pool.vms, pool.size, strict=True)}

        def within(chosen: tuple[int, ...], count: int) -> tuple[int, ...] | None:
            loss = losing(chosen)
            if loss is None:
                return chosen
            if count == 0:
                return None
            failed = np.isin(pool.resident_on, np.flatnonzero(np.isin(pool.hosts, loss.failed_hosts)))
            candidates = pool.vms[(failed | (pool.resident_on < 0)) & ~np.isin(pool.vms, chosen)]
            for vm in sorted(candidates.tolist(), key=lambda vm: size[vm]):
                if asked > UNPROTECT_QUESTIONS:
                    return None
                found = within((*chosen, vm), count - 1)
                if found is not None:
                    return found
            return None

        try:
            for vm in sorted(greedy, key=lambda vm: -size[vm]):
                fewer = tuple(other for other in greedy if other != vm)
                if losing(fewer) is None:
                    greedy = fewer
            for count in range(1, len(greedy)):
                found = within((), count)
                if found is not None:
                    return tuple(sorted(found)), True
                if asked > UNPROTECT_QUESTIONS:
                    return tuple(sorted(greedy)), False
        except TimeOverError:
            return tuple(sorted(greedy)), False
        return tuple(sorted(greedy)), True

    def shrunk(self, smallest: Bytes) -> Added | None:
        """VMs to shrink, so few that none can stay as it is; the last of them only as far as needed."""
        pool, survives = self._pool, self._survives
        if not survives(pool.shrunk(smallest)):
            return None
        if survives(pool):
            return ()
        size = smallest.copy()
        shrunk = np.flatnonzero(smallest < pool.size)
        for vm in shrunk[np.argsort((pool.size - smallest)[shrunk], kind="stable")]:
            size[vm] = pool.size[vm]
            if survives(pool.shrunk(size)):
                continue

            def enough(amount: int, vm: int = int(vm)) -> bool:
                size[vm] = max(int(smallest[vm]), int(pool.size[vm]) - amount)
                return survives(pool.shrunk(size))

            amount = least(enough, int(pool.size[vm] - smallest[vm]))
            size[vm] = smallest[vm] if amount is None else max(int(smallest[vm]), int(pool.size[vm]) - amount)
        changed = np.flatnonzero(size < pool.size)
        return tuple((int(pool.vms[vm]), int(size[vm])) for vm in changed)


def least(enough: Callable[[int], bool], most: int) -> int | None:
    """The least whole number of MiB, up to `most` rounded up, that is enough, by bisection."""
    if enough(0):
        return 0
    low, high = 0, -(-most // MIB)
    if high == 0 or not enough(high * MIB):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if enough(middle * MIB):
            high = middle
        else:
            low = middle
    return high * MIB
