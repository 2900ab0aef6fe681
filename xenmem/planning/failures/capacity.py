"""How many more VMs a pool takes while it still survives n host failures; amounts are bytes.

The question is asked of a RestartPool: the new VMs are protected as those of the pool are. Only memory counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from xenmem import kernel
from xenmem.columns import Bytes, Rows
from xenmem.planning._pools import in_parallel
from xenmem.planning.checks import LARGEST_AMOUNT, LARGEST_TOTAL, integer
from xenmem.planning.effort import Effort, Progress
from xenmem.planning.failures.host_failures import failover_until
from xenmem.planning.failures.restart_pool import RestartPool, check_failures
from xenmem.planning.failures.results import Failover
from xenmem.planning.failures.together import surely_survives
from xenmem.planning.search.compiled.feasibility import best_fit, worst_fit

if TYPE_CHECKING:
    from xenmem.fleet import Fleet


DEFAULT_TIME_LIMIT: Final = 10.0
MOST_VMS: Final = 1 << 20
"""More new VMs than this are not looked for in one pool."""

_PARTS: Final = 8
_DISTRIBUTIONS: Final = 300
_MOST_TO_DISTRIBUTE: Final = 30
_MOST_HOSTS_TO_DISTRIBUTE: Final = 8


@dataclass(frozen=True, eq=False)
class Capacity:
    """How many more VMs of a mix a pool takes.

    Attributes
    ----------
    count : so many, for certain
    counts : of each shape
    bound : no more than so many, for certain
    status : ``optimal`` if count is the bound, else ``feasible``
    num_failures : host failures that are survived with them
    host : int32 array, shape (count,), row number of the host that each new VM is started on
    shape : int32 array, shape (count,), the shape of each
    reason : what limits the count, in a sentence
    now : whether the failures are survived without any new VM
    """

    count: int
    counts: tuple[int, ...]
    bound: int
    status: str
    num_failures: int
    host: Rows
    shape: Rows
    reason: str
    now: Failover


class Mix:
    """Shapes of VMs in proportions: of any number of VMs, how many have each shape.

    Parameters
    ----------
    sizes : bytes that a VM of each shape needs, >= 1
    proportions : how often each comes, positive integers; None: all alike

    Raises
    ------
    ValueError, TypeError : there are no shapes, or a value is no integer or out of range; names argument and value

    Notes
    -----
    Each next VM has the shape that is furthest behind its proportion (the divisor method with odd divisors), so that
    a larger number of VMs contains every smaller one. It repeats after as many VMs as the proportions sum to.
    """

    def __init__(self, sizes: Sequence[int], proportions: Sequence[int] | None = None) -> None:
        if not len(sizes):
            raise ValueError("sizes: there is no shape")
        weights = [1] * len(sizes) if proportions is None else list(proportions)
        if len(weights) != len(sizes):
            raise ValueError(f"proportions: {len(weights)} entries for {len(sizes)} shapes")
        for name, values in (("sizes", sizes), ("proportions", weights)):
            for index, value in enumerate(values):
                if not 1 <= integer(name, value) <= LARGEST_AMOUNT:
                    raise ValueError(f"{name}: {value} at index {index} is outside 1..{LARGEST_AMOUNT}")
        self.sizes = np.array(sizes, np.int64)
        self._weights = weights
        self._proportions = np.array(weights, np.int64)
        self._period = sum(weights)
        self._counts = [0] * len(weights)
        self._sequence: list[int] = []

    def shapes(self, count: int) -> Rows:
        """The shapes of the first `count` VMs."""
        part = self._first(min(count, self._period))
        return np.tile(part, -(-count // max(1, len(part))))[:count]

    def counts(self, count: int) -> Bytes:
        """How many of the first `count` VMs have each shape."""
        periods, rest = divmod(count, self._period)
        return periods * self._proportions + np.bincount(self._first(rest), minlength=len(self.sizes))

    def _first(self, count: int) -> Rows:
        while len(self._sequence) < count:
            best = 0
            for shape in range(1, len(self._weights)):
                ahead = self._weights[shape] * (2 * self._counts[best] + 1)
                if ahead > self._weights[best] * (2 * self._counts[shape] + 1):
                    best = shape
            self._counts[best] += 1
            self._sequence.append(best)
        return np.array(self._sequence[:count], np.int32)

    def most(self, units: Bytes, limit: int) -> int:
        """The largest number of VMs of which shape k takes units[k] each and all together at most `limit`."""
        if limit < 0:
            return -1
        if not units.any():
            return LARGEST_TOTAL
        each = int(units @ self._proportions.astype(object))
        periods, left = divmod(limit, each)
        low, high = 0, self._period
        while high - low > 1:
            middle = (low + high) // 2
            if int(units @ self.counts(middle)) <= left:
                low = middle
            else:
                high = middle
        return periods * self._period + low


def capacity(
    pool: RestartPool,
    sizes: Sequence[int],
    *,
    proportions: Sequence[int] | None = None,
    num_failures: int = 0,
    time_limit: float = DEFAULT_TIME_LIMIT,
    progress: Callable[[Progress], None] | None = None,
) -> Capacity:
    """How many more VMs a pool takes such that it still survives any `num_failures` hosts failing together.

    Parameters
    ----------
    pool : the pool
    sizes : bytes that a VM of each shape needs to start, and then takes
    proportions : how often each shape comes, positive integers; None: all alike
    num_failures : host failures to survive
    time_limit : seconds after which the best number so far is the answer, as it is after Ctrl-C
    progress : called with the number found (as value) and the bound on any

    Raises
    ------
    ValueError : a size or proportion is not positive, or num_failures is negative or larger than the pool

    Notes
    -----
    The bound: if any hosts fail, the new VMs and those to be restarted share what the others have free, and so they do
    if every amount is replaced by how many whole parts of some size it holds; the worst hosts are those with the
    largest sums. In between, distributions of the new VMs are tried; in small pools all of them.
    """
    n = check_failures(pool, num_failures)
    return _capacity(pool, Mix(sizes, proportions), n, Effort(time_limit, progress=progress))


def _capacity(pool: RestartPool, mix: Mix, n: int, effort: Effort) -> Capacity:
    def surely(hosts: Rows, shapes: Rows) -> bool:
        return surely_survives(_with_new(pool, mix, hosts, shapes), n)

    def survives(hosts: Rows, shapes: Rows) -> bool:
        return failover_until(_with_new(pool, mix, hosts, shapes), n, effort).survives

    now = failover_until(pool, n, effort)
    nothing = np.empty(0, np.int32)
    if not now.survives:
        bound = 0 if now.answer == "loses" else max(0, _bound(pool, mix, n))
        status = "optimal" if bound == 0 else "feasible"
        return Capacity(0, (0,) * len(mix.sizes), bound, status, n, nothing, nothing, now.reason, now)

    bound = max(0, _bound(pool, mix, n))
    best = (nothing, nothing)
    try:
        for better in _by_rules(pool, mix, bound, surely, effort):
            best = better
            effort.tell(len(best[0]), bound)
        while len(best[0]) < bound and not effort.over():
            found, complete = _exhaustively(pool, mix, len(best[0]) + 1, survives, effort)
            if found is not None:
                best = found
            elif complete:
                bound = len(best[0])
            else:
                break
            effort.tell(len(best[0]), bound)
    except KeyboardInterrupt:
        effort.stop()
    hosts, shapes = best
    counts = tuple(np.bincount(shapes, minlength=len(mix.sizes)).tolist())
    if len(hosts) == bound:
        status, reason = "optimal", "one more would leave too little room" + (" for the restarts" if n else "")
    else:
        status, reason = "feasible", f"for more than {bound} there is no room; between the two nothing is proved"
    return Capacity(len(hosts), counts, bound, status, n, pool.hosts[hosts], shapes, reason, now)


def capacity_of_pools(
    fleet: Fleet,
    *,
    static_max: Sequence[int],
    vcpus_max: int | Sequence[int] = 1,
    domain_type: npt.ArrayLike = kernel.DomainType.HVM,
    shadow_multiplier: npt.ArrayLike = 1.0,
    proportions: Sequence[int] | None = None,
    num_failures: int = 0,
    policy: str = "static_max",
    time_limit: float = DEFAULT_TIME_LIMIT,
) -> list[Capacity]:
    """capacity of each pool of a Fleet, in its order, pools in parallel; the fleet takes their sum.

    Parameters
    ----------
    static_max, vcpus_max, domain_type, shadow_multiplier : the shapes, as kernel.required_memory takes them
    proportions, num_failures : as for capacity
    policy : the memory that counts of the VMs that are there
    time_limit : as for capacity

    Raises
    ------
    ValueError : as for capacity and RestartPool.from_fleet
    """
    pools = [RestartPool.from_fleet(fleet, pool, policy=policy) for pool in range(len(fleet.pools))]
    questions = []
    for row, pool in enumerate(pools):
        check_failures(pool, num_failures)
        amount = np.asarray(static_max, np.int64)
        normal, shadow = kernel.required_memory(
            domain_type, amount, amount, vcpus_max, shadow_multiplier, model=fleet.pools.model[row]
        )
        questions.append((pool, np.atleast_1d(normal + shadow).tolist()))

    whole = Effort(time_limit)

    def ask(question: tuple[RestartPool, list[int]]) -> Capacity:
        pool, sizes = question
        return _capacity(pool, Mix(sizes, proportions), int(num_failures), whole.limited(time_limit))

    return in_parallel(ask, questions, stop=whole.stop)


def _with_new(pool: RestartPool, mix: Mix, hosts: Rows, shapes: Rows) -> RestartPool:
    new = mix.sizes[shapes]
    free = pool.free.copy()
    np.subtract.at(free, hosts, new)
    allowed = pool.allowed
    if allowed is not None:  # else there may be far too many of both for a matrix
        allowed = np.concatenate([allowed, np.ones((len(new), len(free)), np.bool_)])
    return replace(
        pool,
        free=free,
        size=np.concatenate([pool.size, new]),
        resident_on=np.concatenate([pool.resident_on, hosts]).astype(np.int32),
        allowed=allowed,
        vms=np.concatenate([pool.vms, np.full(len(new), -1, np.int32)]),
    )


def _bound(pool: RestartPool, mix: Mix, n: int) -> int:
    """Below 0: not even the VMs that are there have room."""
    runs = pool.resident_on >= 0
    best = LARGEST_TOTAL
    parts = {1} | {max(1, int(size) // k) for size in mix.sizes for k in range(1, _PARTS + 1)}
    for part in sorted(parts):
        room = np.maximum(0, pool.free) // part
        units = pool.size // part
        load = np.zeros(len(room), np.int64)
        np.add.at(load, pool.resident_on[runs], units[runs])
        worst = np.sort(room + load)[len(room) - n :].sum()
        best = min(best, mix.most(mix.sizes // part, int(room.sum() - units[~runs].sum() - worst)))
    return best


def _by_rules(
    pool: RestartPool, mix: Mix, bound: int, survives: Callable[[Rows, Rows], bool], effort: Effort
) -> Iterator[tuple[Rows, Rows]]:
    """Ever larger numbers, by bisection, for which one of the rules of distribution survives."""
    no_rules = np.empty((0, len(pool.free)), np.bool_)

    def attempt(shapes: Rows) -> Rows | None:
        count, sizes = len(shapes), mix.sizes[shapes]
        for fit in (worst_fit, best_fit):
            hosts = np.empty(count, np.int32)
            left_out = fit(sizes, np.full(count, -1, np.int32), no_rules, pool.free.copy(), hosts)
            if left_out == 0 and survives(hosts, shapes):
                return hosts
        return None

    low, high, step = 0, min(bound, MOST_VMS) + 1, 1
    while high - low > 1 and not effort.over():
        count = max(low + 1, high - step)
        shapes = mix.shapes(count)
        shapes = shapes[np.argsort(-mix.sizes[shapes], kind="stable")]
        hosts = attempt(shapes)
        if hosts is None:
            high = count
            step *= 2
        else:
            yield hosts, shapes
            low = count
            step = max(1, (high - low) // 2)


def _exhaustively(
    pool: RestartPool, mix: Mix, count: int, survives: Callable[[Rows, Rows], bool], effort: Effort
) -> tuple[tuple[Rows, Rows] | None, bool]:
    """Every distribution of so many new VMs, if they are few: one that survives, and whether all were tried."""
    if count > _MOST_TO_DISTRIBUTE or len(pool.free) > _MOST_HOSTS_TO_DISTRIBUTE:
        return None, False
    shapes = mix.shapes(count)
    shapes = shapes[np.argsort(-mix.sizes[shapes], kind="stable")]
    for tried, hosts in enumerate(_distributions(pool.free, mix.sizes[shapes])):
        if tried == _DISTRIBUTIONS:
            return None, False
        if survives(hosts, shapes):
            return (hosts, shapes), True
        if effort.over():
            return None, False
    return None, True


def _distributions(free: Bytes, sizes: Bytes) -> Iterator[Rows]:
    """Every way to put VMs, equal ones next to each other, onto hosts; equal VMs are not told apart."""
    left = free.tolist()
    hosts = np.zeros(len(sizes), np.int32)

    def place(at: int) -> Iterator[Rows]:
        if at == len(sizes):
            yield hosts.copy()
            return
        first = int(hosts[at - 1]) if at and sizes[at] == sizes[at - 1] else 0
        for host in range(first, len(left)):
            if left[host] >= sizes[at]:
                left[host] -= int(sizes[at])
                hosts[at] = host
                yield from place(at + 1)
                left[host] += int(sizes[at])

    yield from place(0)
