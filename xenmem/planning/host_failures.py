"""Does the pool survive n host failures: exactly, for every set of n hosts, or for every order in which they fail.

RestartPool holds what the question reads of one pool, in bytes; it is made from a Fleet or from bare arrays. The pool's
own, more cautious answer is planning.xapi.failover's. Nothing is changed anywhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from math import comb
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from xenmem.kernel import threads
from xenmem.planning import _failures, _one_by_one
from xenmem.planning._failures import LOSES, STOPPED, SURVIVES
from xenmem.planning._repack import repack
from xenmem.planning.feasibility import NO, UNDECIDED, YES, best_fit, pack
from xenmem.planning.xapi.failover import RESTART, rows_of_pool
from xenmem.units import MIB, format_size

if TYPE_CHECKING:
    from xenmem.fleet import Fleet

Bytes = NDArray[np.int64]
Rows = NDArray[np.int32]
Bools = NDArray[np.bool_]

DEFAULT_TIME_LIMIT: Final = 60.0
MOST_BYTES: Final = 1 << 52
MOST_BYTES_IN_ALL: Final = 1 << 60
"""Amounts beyond these are refused, so that no sum of a pool leaves int64."""

_WALK_NODES: Final = 200
_FIRST_NODES: Final = 2_000
_REPACK_STEPS: Final = 2_000
_SETS_AT_ONCE: Final = 1_000
_HARD_SETS: Final = 200
_MOST_SETS_BY_RULES: Final = 20_000
_BOUNDS: Final = 256
_BOUND_CELLS: Final = 4_000_000


@dataclass(frozen=True, eq=False)
class RestartPool:
    """Hosts that may fail, and the VMs that must run again afterwards.

    Attributes
    ----------
    free : int64 array, shape (hosts,), bytes; below 0 where the host is overcommitted
    size : int64 array, shape (vms,), bytes that a VM needs to be started, and that it then takes from the host
    resident_on : int32 array, shape (vms,), place in `free` of the host that it runs on; -1 for one that runs nowhere
        and is to be started along with those of the failed hosts
    allowed : bool array, shape (vms, hosts), where each VM may be started; None: everywhere
    hosts, vms : int32 arrays, the row numbers under which answers name them
    """

    free: Bytes
    size: Bytes
    resident_on: Rows
    allowed: Bools | None
    hosts: Rows
    vms: Rows

    @classmethod
    def from_arrays(
        cls,
        free: npt.ArrayLike,
        size: npt.ArrayLike,
        resident_on: npt.ArrayLike,
        *,
        allowed: npt.ArrayLike | None = None,
    ) -> RestartPool:
        """A pool from bare arrays: see the attributes; hosts and VMs are named by their place.

        Raises
        ------
        ValueError : there are no hosts, lengths differ, or a value is out of range; names argument, index and value
        """
        free_, size_, host = (np.asarray(a) for a in (free, size, resident_on))
        for name, values in (("free", free_), ("size", size_), ("resident_on", host)):
            if values.ndim != 1:
                raise ValueError(f"{name}: {values.ndim} dimensions where there must be one")
            if len(values) and values.dtype.kind not in "iu":
                raise ValueError(f"{name}: {values.dtype} where integers are needed")
        if not len(free_):
            raise ValueError("free: there are no hosts")
        if len(size_) != len(host):
            raise ValueError(f"resident_on: {len(host)} entries for {len(size_)} VMs")
        _check_range("free", free_, -MOST_BYTES, MOST_BYTES)
        _check_range("size", size_, 0, MOST_BYTES)
        _check_range("resident_on", host, -1, len(free_) - 1)
        if float(np.abs(free_).sum(dtype=float) + size_.sum(dtype=float)) > MOST_BYTES_IN_ALL:
            raise ValueError(f"free, size: more than {MOST_BYTES_IN_ALL} bytes in all")
        where = None
        if allowed is not None:
            where = np.ascontiguousarray(allowed, np.bool_)
            if where.shape != (len(size_), len(free_)):
                raise ValueError(f"allowed: shape {where.shape} where ({len(size_)}, {len(free_)}) is needed")
        return cls(
            free_.astype(np.int64),
            size_.astype(np.int64),
            host.astype(np.int32),
            where,
            np.arange(len(free_), dtype=np.int32),
            np.arange(len(size_), dtype=np.int32),
        )

    @classmethod
    def from_fleet(
        cls,
        fleet: Fleet,
        pool: int = 0,
        *,
        policy: str = "static_max",
        protected: npt.ArrayLike | None = None,
        allowed: npt.ArrayLike | None = None,
    ) -> RestartPool:
        """One pool of a Fleet: its enabled and live hosts, and the VMs that are to run.

        Parameters
        ----------
        fleet : any inventory
        pool : row of the pool
        policy : the memory that counts, of running VMs and of those to be started; HA plans with ``static_max``
        protected : bool array, shape (vms of the fleet,); None: as HA does, the VMs that always run and have the
            restart priority ``restart``. A protected VM on a host that is not enabled and live is to be started
        allowed : bool array, shape (vms of the fleet, hosts of the fleet), where a VM may be started, such as False on
            hosts without its storage; None: everywhere

        Raises
        ------
        ValueError : the fleet has no such pool; the pool has no enabled and live host, or the memory of one is unknown

        Notes
        -----
        Unlike the pool's own planner this keeps the free memory of an overcommitted host below 0.
        Source: planning.md 1.1, 1.3, 3.1, 3.3 and 3.4.
        """
        hosts, vms = rows_of_pool(fleet, pool)
        hosts = hosts[fleet.hosts.enabled[hosts] & fleet.hosts.live[hosts]]
        if not len(hosts):
            raise ValueError(f"pool: {pool} has no host that is enabled and live")
        unknown = hosts[fleet.hosts.memory_total[hosts] < 0]
        if len(unknown):
            raise ValueError(f"memory_total of host {fleet.hosts.name_label[unknown[0]]} is unknown")
        place = np.full(len(fleet.hosts) + 1, -1, np.int32)
        place[hosts] = np.arange(len(hosts), dtype=np.int32)

        used = fleet.amount(policy) + fleet.vms.memory_overhead
        free = fleet.hosts.available
        for column in (fleet.vms.resident_on, fleet.vms.scheduled_to_be_resident_on):
            there = column >= 0
            np.subtract.at(free, column[there], used[there])
        if protected is None:
            wanted = fleet.vms.ha_always_run & (fleet.vms.ha_restart_priority == RESTART)
        else:
            wanted = np.asarray(protected, np.bool_)
            if wanted.shape != (len(fleet.vms),):
                raise ValueError(f"protected: shape {wanted.shape} where ({len(fleet.vms)},) is needed")
        vms = vms[wanted[vms]]
        resident, scheduled = place[fleet.vms.resident_on[vms]], place[fleet.vms.scheduled_to_be_resident_on[vms]]
        bare = cls.from_arrays(
            free[hosts],
            fleet.start_memory(policy)[vms],
            np.where(resident >= 0, resident, scheduled),
            allowed=None if allowed is None else np.asarray(allowed, np.bool_)[np.ix_(vms, hosts)],
        )
        return replace(bare, hosts=hosts, vms=vms)

    def without(self, vms: Iterable[int]) -> RestartPool:
        """The same pool with some VMs, by row number, no longer protected: they keep their memory while they run."""
        keep = ~np.isin(self.vms, np.fromiter(vms, np.int32))
        return replace(
            self,
            size=self.size[keep],
            resident_on=self.resident_on[keep],
            allowed=None if self.allowed is None else self.allowed[keep],
            vms=self.vms[keep],
        )

    def shrunk(self, size: Bytes) -> RestartPool:
        """The same pool with smaller VMs; what they give up is free on their hosts."""
        free = self.free.copy()
        runs = self.resident_on >= 0
        np.add.at(free, self.resident_on[runs], (self.size - size)[runs])
        return replace(self, free=free, size=size)

    @property
    def overcommitted(self) -> Rows:
        """Row numbers of the hosts whose VMs have more memory than there is."""
        return self.hosts[self.free < 0]

    @cached_property
    def prepared(self) -> Prepared:
        """The pool as the searches want it."""
        return Prepared.of(self)


def _check_range(name: str, values: NDArray[Any], low: int, high: int) -> None:
    bad = (values < low) | (values > high)
    if bad.any():
        index = int(np.argmax(bad))
        raise ValueError(f"{name}: {values[index]} at index {index} is outside {low}..{high}")


class Prepared(NamedTuple):
    """A RestartPool with the hosts in the order in which they are tried: those whose failure costs most come first.

    Attributes
    ----------
    order : int64 array, the place in the pool of each host
    vm : int64 array, the place in the pool of each VM: by host, those that run nowhere last, largest first
    size, rule : of the VMs in that order
    rules : bool array, shape (rules, hosts)
    first : int32 array, shape (hosts + 2,); VMs first[h]:first[h + 1] run on host h, the last group nowhere
    free : of the hosts in that order
    """

    order: NDArray[np.int64]
    vm: NDArray[np.int64]
    size: Bytes
    rule: Rows
    rules: Bools
    first: Rows
    free: Bytes

    @classmethod
    def of(cls, pool: RestartPool) -> Prepared:
        """Sort a pool."""
        hosts = len(pool.free)
        load = np.zeros(hosts + 1, np.int64)
        np.add.at(load, pool.resident_on, pool.size)
        order = np.lexsort((np.arange(hosts), -load[:-1], -(load[:-1] + pool.free)))
        place = np.empty(hosts + 1, np.int64)
        place[order] = np.arange(hosts)
        place[hosts] = hosts
        group = place[pool.resident_on]
        vm = np.lexsort((-pool.size, group))
        first = np.zeros(hosts + 2, np.int32)
        first[1:] = np.cumsum(np.bincount(group, minlength=hosts + 1))
        rule = np.full(len(vm), -1, np.int32)
        rules = np.zeros((0, hosts), np.bool_)
        if pool.allowed is not None:
            restricted = np.flatnonzero(~pool.allowed.all(axis=1))
            if len(restricted):
                unique, which = np.unique(pool.allowed[restricted], axis=0, return_inverse=True)
                rules = np.ascontiguousarray(unique[:, order])
                rule[restricted] = which.reshape(-1)
        return cls(order, vm, pool.size[vm], rule[vm], rules, first, pool.free[order])


class RestartedVM(NamedTuple):
    """A VM, and the host on which it is started: row numbers."""

    vm: int
    host: int


@dataclass(frozen=True, eq=False)
class Failover:
    """Whether every protected VM runs again after host failures.

    Attributes
    ----------
    answer : ``survives``, ``loses``, or ``unknown`` where the time limit ended the search
    num_failures : how many hosts fail
    one_by_one : they fail one after another, with restarts in between, instead of together
    failed_hosts : row numbers of hosts whose failure the pool does not survive; empty unless it loses. One by one in
        the order in which they fail, `inevitable` of them whatever the restarts before, the rest after the best known
    inevitable : see failed_hosts
    stays_down : row numbers of VMs that then stay down; started in full, the others leave no room for any of them
    overcommitted : row numbers of hosts that already have too little memory for their VMs; they take no other
    tried, total : sets (or orders) of hosts that were looked at, and how many there are; those between follow from
        others, or from a bound
    undecided : sets or first failures that the search could not decide
    reason : the answer in a sentence
    policy : one by one, how to restart so that it survives; None otherwise
    """

    answer: str
    num_failures: int
    one_by_one: bool
    failed_hosts: tuple[int, ...]
    inevitable: int
    stays_down: tuple[int, ...]
    overcommitted: tuple[int, ...]
    tried: int
    total: int
    undecided: int
    reason: str
    policy: RestartPolicy | None = None

    @property
    def survives(self) -> bool:
        """The answer is ``survives``."""
        return self.answer == "survives"


class RestartPolicy:
    """Where to restart VMs, failure after failure, such that the pool survives them all.

    Parameters
    ----------
    pool : the pool
    plan : from the hosts that failed, in order and as places in the prepared pool, to the host of each of its VMs
    """

    def __init__(self, pool: RestartPool, plan: Callable[[tuple[int, ...]], NDArray[np.int64]]) -> None:
        self._pool = pool
        self._plan = plan

    def restart(self, failed_hosts: Sequence[int]) -> list[RestartedVM]:
        """What to restart, and where, once the last of these hosts has failed, after the others, in this order.

        Parameters
        ----------
        failed_hosts : row numbers, at most as many as the answer is about; none: what is started before any fails
        """
        prepared = self._pool.prepared
        place = {int(self._pool.hosts[host]): k for k, host in enumerate(prepared.order)}
        failed = tuple(place[int(host)] for host in failed_hosts)
        hosts = len(prepared.free)
        runs_on = np.repeat(np.arange(hosts + 1), np.diff(prepared.first))
        before = self._plan(failed[:-1]) if failed else np.where(runs_on < hosts, runs_on, -1)
        after = self._plan(failed)
        moved = np.flatnonzero(before != after)
        return [
            RestartedVM(int(self._pool.vms[prepared.vm[k]]), int(self._pool.hosts[prepared.order[after[k]]]))
            for k in moved
        ]


def _one_pool(pool: RestartPool | Fleet) -> RestartPool:
    if isinstance(pool, RestartPool):
        return pool
    if len(pool.pools) != 1:
        raise ValueError(f"the fleet has {len(pool.pools)} pools: use RestartPool.from_fleet, or failover_of_pools")
    return RestartPool.from_fleet(pool)


def check_failures(pool: RestartPool, num_failures: int) -> int:
    """The number of failures, if the pool can have so many.

    Raises
    ------
    ValueError : it is negative, or above the number of hosts
    """
    if num_failures < 0:
        raise ValueError(f"num_failures: {num_failures} is negative")
    if num_failures > len(pool.free):
        raise ValueError(f"num_failures: {num_failures} hosts cannot fail where there are {len(pool.free)}")
    return int(num_failures)


def failover(
    pool: RestartPool | Fleet,
    num_failures: int,
    *,
    one_by_one: bool = False,
    time_limit: float | None = DEFAULT_TIME_LIMIT,
) -> Failover:
    """Whether every protected VM can run again after any `num_failures` hosts have failed.

    Parameters
    ----------
    pool : a pool, or a Fleet of one pool
    num_failures : hosts that fail
    one_by_one : False: they fail together; then VMs of all of them, and those that run nowhere, are started on the
        free memory of the others; no running VM is moved. True: one after another, and after each failure VMs are
        restarted before the next, without knowing which that will be
    time_limit : seconds; None: none

    Raises
    ------
    ValueError : num_failures is negative or larger than the pool, or see RestartPool.from_fleet

    Notes
    -----
    Exact: `survives` means that there is a full restart for every set (a policy for every order), `loses` that there is
    none for failed_hosts. A set is not looked at where another that is looked at is at least as hard, or where a bound
    shows that any packing, largest first, succeeds.
    """
    pool = _one_pool(pool)
    n = check_failures(pool, num_failures)
    deadline = None if time_limit is None else time.monotonic() + time_limit
    together = _together(pool, n, deadline)
    if not one_by_one or together.answer != "survives" or n == 0:
        if one_by_one and together.answer == "loses":
            return replace(together, one_by_one=True, inevitable=n)
        return replace(together, one_by_one=one_by_one)
    return _in_order(pool, n, deadline)


def failover_of_pools(
    fleet: Fleet,
    num_failures: int,
    *,
    one_by_one: bool = False,
    policy: str = "static_max",
    time_limit: float | None = DEFAULT_TIME_LIMIT,
) -> list[Failover]:
    """failover of each pool of a Fleet, in its order, pools in parallel; parameters and errors as there."""
    pools = [RestartPool.from_fleet(fleet, pool, policy=policy) for pool in range(len(fleet.pools))]
    for pool in pools:
        check_failures(pool, num_failures)

    def ask(pool: RestartPool) -> Failover:
        return failover(pool, num_failures, one_by_one=one_by_one, time_limit=time_limit)

    with ThreadPoolExecutor(threads()) as executor:
        return list(executor.map(ask, pools))


class Bounds(NamedTuple):
    """What proves whole families of sets of failing hosts: see _failures.weights."""

    weight: Bytes
    heaviest: Bytes
    room: Bytes


def bounds_of(prepared: Prepared, n: int, *, whole_load: bool = False) -> Bounds:
    """The bounds for n failures; sizes that are close to each other share one if there are very many."""
    hosts = len(prepared.free)
    down = slice(prepared.first[hosts], prepared.first[hosts + 1])
    sizes = np.unique(prepared.size)
    groups = max(1, min(len(sizes), _BOUNDS, _BOUND_CELLS // ((hosts + 1) * (n + 1))))
    parts = np.array_split(sizes, groups)
    low, high = np.array([part[0] for part in parts]), np.array([part[-1] for part in parts])
    weight = np.empty((groups, hosts), np.int64)
    _failures.weights(prepared.size, prepared.rule, prepared.first, prepared.free, low, high, whole_load, weight)
    heaviest = np.empty((groups, hosts + 1, n + 1), np.int64)
    _failures.heaviest_after(weight, n, heaviest)
    spare = np.maximum(0, prepared.free[np.newaxis, :] - high[:, np.newaxis] + 1).sum(axis=1)
    waiting = prepared.size[down]
    load = np.array([waiting.sum() if whole_load else waiting[waiting >= limit].sum() for limit in low])
    room = low + spare - load
    if (prepared.rule[down] >= 0).any():
        room[:] = -1
    return Bounds(weight, heaviest, room)


def is_late(deadline: float | None) -> bool:
    """The time is over."""
    return deadline is not None and time.monotonic() > deadline


def _together(pool: RestartPool, n: int, deadline: float | None) -> Failover:
    prepared = pool.prepared
    total = comb(len(pool.free), n)
    counts = np.zeros(3, np.int64)
    if not len(pool.size):
        return _survives(pool, n, counts, total, "no VM is protected")
    if int(prepared.size.sum()) == 0 and not len(prepared.rules) and n < len(pool.free) and (pool.free >= 0).all():
        return _survives(pool, n, counts, total, "no VM needs memory")
    earlier = _failures.dominators(prepared.size, prepared.rule, prepared.rules, prepared.first, prepared.free)
    bounds = bounds_of(prepared, n)
    chosen = np.full(n, -1, np.int32)
    hard = np.empty((_HARD_SETS, n), np.int32)
    undecided = 0
    status = STOPPED
    while status == STOPPED:
        status = _failures.walk(
            prepared.size,
            prepared.rule,
            prepared.rules,
            prepared.first,
            prepared.free,
            earlier,
            *bounds,
            chosen,
            _WALK_NODES,
            _SETS_AT_ONCE,
            hard,
            counts,
        )
        if status == LOSES:
            return _loses(pool, n, chosen, counts, total)
        if status != STOPPED or counts[2] == len(hard):
            for failing in hard[: counts[2]]:
                answer = decide(prepared, failing, deadline)
                if answer == NO:
                    return _loses(pool, n, failing, counts, total)
                undecided += answer == UNDECIDED
            counts[2] = 0
        if is_late(deadline) and status == STOPPED:
            undecided += int(counts[2])
            return _unknown(pool, n, counts, total, undecided, "the time limit ended the search")
    if undecided:
        return _unknown(pool, n, counts, total, undecided, f"{undecided} sets could not be decided in time")
    return _survives(pool, n, counts, total, "every set of them leaves room for a full restart")


def surely_survives(pool: RestartPool, n: int) -> bool:
    """True only if the pool survives n hosts failing together; found by the rules of packing and bounds, quickly."""
    prepared = pool.prepared
    if not len(pool.size):
        return True
    earlier = _failures.dominators(prepared.size, prepared.rule, prepared.rules, prepared.first, prepared.free)
    hosts = len(prepared.free)
    if n <= 1:
        no_bound = np.full((1, hosts), _failures.ALWAYS_LOSING, np.int64)
        bounds = Bounds(no_bound, np.full((1, hosts + 1, n + 1), _failures.ALWAYS_LOSING), np.zeros(1, np.int64))
    else:
        bounds = bounds_of(prepared, n)
    chosen, hard, counts = np.full(n, -1, np.int32), np.empty((1, n), np.int32), np.zeros(3, np.int64)
    arrays = (prepared.size, prepared.rule, prepared.rules, prepared.first, prepared.free, earlier, *bounds)
    status = _failures.walk(*arrays, chosen, 0, _MOST_SETS_BY_RULES, hard, counts)
    return bool(status == SURVIVES and counts[2] == 0)


def decide(prepared: Prepared, failing: Rows, deadline: float | None) -> int:
    """Search one set of failing hosts, places of the prepared pool, until it is decided or the time is over."""
    vms, host_of = np.empty((2, len(prepared.size)), np.int32)
    arrays = (prepared.size, prepared.rule, prepared.rules, prepared.first, prepared.free)
    nodes, state = _FIRST_NODES, np.array([1], np.uint64)
    before, turn = time.monotonic(), 0.0
    while deadline is None or before + turn < deadline:
        if _repacked(prepared, failing, state):
            return YES
        answer, _ = _failures.restart(*arrays, failing, nodes, vms, host_of)
        if answer != UNDECIDED:
            return int(answer)
        nodes *= 2
        turn = 2 * (time.monotonic() - before)
        before += turn / 2
    return UNDECIDED


def _repacked(prepared: Prepared, failing: Rows, state: NDArray[np.uint64]) -> bool:
    """Local search for a restart: it often finds one where a tight packing is lost among very many others."""
    vms = np.empty(len(prepared.size), np.int32)
    vms = vms[: _failures.failed_vms(prepared.size, prepared.rule, prepared.first, failing, vms)]
    takes = prepared.free >= 0
    takes[failing] = False
    size, free = prepared.size[vms], prepared.free[takes]
    allowed = np.ascontiguousarray(np.concatenate([prepared.rules, np.ones((1, len(takes)), np.bool_)])[:, takes])
    kind = np.where(prepared.rule[vms] >= 0, prepared.rule[vms], len(prepared.rules)).astype(np.int32)
    host_of = np.empty(len(vms), np.int32)
    best_fit(size, kind, allowed, free, host_of)
    no_group = np.zeros(len(vms) + 1, np.int32)
    nobody = np.zeros((0, len(free)), np.int32)
    return repack(size, kind, allowed, no_group, no_group[:0], nobody, free, host_of, state, _REPACK_STEPS) == 0


def _answer(
    pool: RestartPool,
    n: int,
    counts: NDArray[np.int64],
    total: int,
    answer: str,
    reason: str,
    *,
    failed_hosts: tuple[int, ...] = (),
    stays_down: tuple[int, ...] = (),
    undecided: int = 0,
) -> Failover:
    crowded = tuple(pool.overcommitted.tolist())
    if crowded:
        reason = f"{reason}; {len(crowded)} overcommitted {'host' if len(crowded) == 1 else 'hosts'} can take no VM"
    return Failover(
        answer=answer,
        num_failures=n,
        one_by_one=False,
        failed_hosts=failed_hosts,
        inevitable=0,
        stays_down=stays_down,
        overcommitted=crowded,
        tried=int(counts[0]),
        total=total,
        undecided=undecided,
        reason=reason,
    )


def _survives(pool: RestartPool, n: int, counts: NDArray[np.int64], total: int, why: str) -> Failover:
    return _answer(pool, n, counts, total, "survives", f"{_failures_text(n)}: {why}")


def _unknown(pool: RestartPool, n: int, counts: NDArray[np.int64], total: int, undecided: int, why: str) -> Failover:
    far = f"{why} after {counts[0]} of {total} sets; none of them loses a VM for certain"
    return _answer(pool, n, counts, total, "unknown", f"{_failures_text(n)}: {far}", undecided=undecided)


def _loses(pool: RestartPool, n: int, failing: Rows, counts: NDArray[np.int64], total: int) -> Failover:
    down = stays_down(pool, failing)
    place = {int(row): k for k, row in enumerate(pool.vms)}
    memory = sum(int(pool.size[place[vm]]) for vm in down)
    text = f"{len(down)} {'VM stays' if len(down) == 1 else 'VMs stay'} down, {format_size(memory)} in all"
    return _answer(
        pool,
        n,
        counts,
        total,
        "loses",
        f"{_failures_text(n)}: {text}",
        failed_hosts=tuple(sorted(pool.hosts[pool.prepared.order[failing]].tolist())),
        stays_down=down,
    )


def _failures_text(n: int) -> str:
    return f"{n} host {'failure' if n == 1 else 'failures'}"


def stays_down(pool: RestartPool, failing: Rows) -> tuple[int, ...]:
    """VMs that cannot all run again, so few that none of them fits once the others are started: row numbers."""
    prepared = pool.prepared
    vms = np.empty(len(prepared.size), np.int32)
    count = _failures.failed_vms(prepared.size, prepared.rule, prepared.first, failing, vms)
    vms = vms[:count]
    free = prepared.free.copy()
    free[failing] = -1
    host_of = np.empty(count, np.int32)
    best_fit(prepared.size[vms], prepared.rule[vms], prepared.rules, free.copy(), host_of)
    started = host_of >= 0
    for k in np.flatnonzero(~started)[::-1]:
        started[k] = True
        some = vms[started]
        found = np.empty(len(some), np.int32)
        started[k] = pack(prepared.size[some], prepared.rule[some], prepared.rules, free, found, _FIRST_NODES) == YES
    return tuple(sorted(pool.vms[prepared.vm[vms[~started]]].tolist()))


def restart_plan(
    pool: RestartPool, failed_hosts: Sequence[int], *, time_limit: float | None = DEFAULT_TIME_LIMIT
) -> list[RestartedVM] | None:
    """A full restart once these hosts have failed together.

    Parameters
    ----------
    failed_hosts : row numbers
    time_limit : seconds; None: none

    Returns
    -------
    every VM of theirs, and every VM that runs nowhere, with its host; None if there is no full restart

    Raises
    ------
    ValueError : a row is not of the pool
    TimeoutError : the time limit ended the search
    """
    prepared = pool.prepared
    place = {int(pool.hosts[host]): k for k, host in enumerate(prepared.order)}
    for index, host in enumerate(failed_hosts):
        if int(host) not in place:
            raise ValueError(f"failed_hosts: {host} at index {index} is no host of the pool")
    failing = np.array([place[int(host)] for host in failed_hosts], np.int32)
    deadline = None if time_limit is None else time.monotonic() + time_limit
    vms, host_of = np.empty((2, len(prepared.size)), np.int32)
    arrays = (prepared.size, prepared.rule, prepared.rules, prepared.first, prepared.free)
    nodes = _FIRST_NODES
    while True:
        answer, count = _failures.restart(*arrays, failing, nodes, vms, host_of)
        if answer == NO:
            return None
        if answer == YES:
            return [
                RestartedVM(int(pool.vms[prepared.vm[vm]]), int(pool.hosts[prepared.order[host]]))
                for vm, host in zip(vms[:count], host_of[:count], strict=True)
            ]
        if is_late(deadline):
            raise TimeoutError(f"no restart plan was found within {time_limit} seconds, and none was excluded")
        nodes *= 2


def _in_order(pool: RestartPool, n: int, deadline: float | None) -> Failover:
    prepared = pool.prepared
    total = 1
    for k in range(n):
        total *= len(pool.free) - k
    counts = np.zeros(3, np.int64)
    if not len(pool.size):
        return replace(
            _survives(pool, n, counts, total, "no VM is protected"),
            one_by_one=True,
            policy=RestartPolicy(pool, lambda _: np.empty(0, np.int64)),
        )
    bounds = bounds_of(prepared, n, whole_load=True)
    proved = bool((bounds.heaviest[:, 0, n] < bounds.room).all())
    game = _one_by_one.Game(prepared, n, deadline, any_fit_wins=proved)
    outcome = game.play()
    counts[0] = game.looked
    if outcome.wins:
        why = "restarting by a rule survives every order" if outcome.rule else "a restart policy survives every order"
        return replace(_survives(pool, n, counts, total, why), one_by_one=True, policy=RestartPolicy(pool, game.plan))
    if outcome.loses:
        order = tuple(pool.hosts[prepared.order[list(outcome.order)]].tolist())
        down = tuple(sorted(pool.vms[prepared.vm[list(outcome.down)]].tolist()))
        if outcome.inevitable:
            why = "whatever is restarted where, some next failures find no room"
        else:
            why = "the VMs that run nowhere cannot be started so that every order is survived"
        return replace(
            _answer(
                pool,
                n,
                counts,
                total,
                "loses",
                f"{_failures_text(n)}, one by one: {why}",
                failed_hosts=order,
                stays_down=down,
            ),
            one_by_one=True,
            inevitable=outcome.inevitable,
        )
    text = f"the time limit ended the search with {game.decided} of {len(pool.free)} first failures decided"
    return replace(
        _answer(
            pool,
            n,
            counts,
            total,
            "unknown",
            f"{_failures_text(n)}, one by one: {text}",
            undecided=len(pool.free) - game.decided,
        ),
        one_by_one=True,
    )


class MaxFailures(NamedTuple):
    """How many failures a pool survives.

    Attributes
    ----------
    at_least : so many are survived, for certain; -1 if already now not every protected VM can run
    at_most : more are lost, for certain; equal to at_least unless a time limit ended the search
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
    pool: RestartPool | Fleet, *, one_by_one: bool = False, time_limit: float | None = DEFAULT_TIME_LIMIT
) -> MaxFailures:
    """The largest number of host failures that the pool survives.

    Parameters
    ----------
    pool, one_by_one : as for failover
    time_limit : seconds for the whole search; None: none

    Notes
    -----
    Whoever survives n failures survives fewer. Hence the search goes up from 0, and ends at the first loss.
    """
    pool = _one_pool(pool)
    deadline = None if time_limit is None else time.monotonic() + time_limit
    at_least, hosts = -1, len(pool.free)
    for n in range(hosts + 1):
        left = None if deadline is None else max(0.01, deadline - time.monotonic())
        answer = failover(pool, n, one_by_one=one_by_one, time_limit=left)
        if answer.survives:
            at_least = n
        elif answer.answer == "loses":
            return MaxFailures(at_least, n - 1, answer)
        else:
            return MaxFailures(at_least, *_least_loss(pool, n + 1))
    return MaxFailures(at_least, hosts, None)


def _least_loss(pool: RestartPool, n: int) -> tuple[int, Failover | None]:
    """The first number from n on for which the heaviest hosts alone show a loss."""
    for more in range(n, len(pool.free) + 1):
        failing = np.arange(more, dtype=np.int32)
        if _loses_for_certain(pool.prepared, failing):
            return more - 1, _loses(pool, more, failing, np.ones(3, np.int64), comb(len(pool.free), more))
    return len(pool.free), None


def _loses_for_certain(prepared: Prepared, failing: Rows) -> bool:
    vms, host_of = np.empty((2, len(prepared.size)), np.int32)
    arrays = (prepared.size, prepared.rule, prepared.rules, prepared.first, prepared.free)
    return _failures.restart(*arrays, failing, _FIRST_NODES, vms, host_of)[0] == NO


@dataclass(frozen=True, eq=False)
class Remedy:
    """What would make a pool survive a number of failures.

    Attributes
    ----------
    num_failures : the number
    memory_each_host : bytes, the least that is to be added to every host; None if no amount helps
    host, memory_one_host : the host, by row number, to which the fewest bytes need to be added if it is to be one
        alone, and how many; None if no single host helps
    memory_new_host : bytes, the least free memory that one more host must bring; None if no amount helps
    unprotect : row numbers of the fewest VMs that would have to give up protection, and among those found the smallest
    unprotect_is_least : it is proved that fewer do not do
    shrink : row numbers and new sizes in bytes; None if no sizes to shrink to were given, or they do not suffice
    """

    num_failures: int
    memory_each_host: int | None
    host: int | None
    memory_one_host: int | None
    memory_new_host: int | None
    unprotect: tuple[int, ...]
    unprotect_is_least: bool
    shrink: tuple[tuple[int, int], ...] | None


def remedy(
    pool: RestartPool,
    num_failures: int,
    *,
    smallest: npt.ArrayLike | None = None,
    time_limit: float | None = DEFAULT_TIME_LIMIT,
) -> Remedy:
    """What would make the pool survive this many hosts failing together: memory to add, or VMs to shrink or unprotect.

    Parameters
    ----------
    num_failures : hosts that fail
    smallest : int64 array, shape (vms of the pool,), bytes to which each VM can be shrunk; see RestartPool.size
    time_limit : seconds for each search

    Raises
    ------
    ValueError : num_failures is negative or larger than the pool, or smallest is out of range
    TimeoutError : the time limit ended a search that an answer depends on

    Notes
    -----
    Every amount is the least in whole MiB, since more memory never hurts: survival is monotone in it.
    """
    n = check_failures(pool, num_failures)

    def survives(candidate: RestartPool) -> bool:
        answer = failover(candidate, n, time_limit=time_limit)
        if answer.answer == "unknown":
            raise TimeoutError(answer.reason)
        return answer.survives

    shrink = None
    if smallest is not None:
        sizes = np.asarray(smallest)
        if sizes.shape != pool.size.shape:
            raise ValueError(f"smallest: shape {sizes.shape} where {pool.size.shape} is needed")
        _check_range("smallest", sizes, 0, MOST_BYTES)
        shrink = _shrink(pool, np.minimum(sizes.astype(np.int64), pool.size), survives)

    def added(places: slice | int) -> Callable[[int], bool]:
        def enough(amount: int) -> bool:
            free = pool.free.copy()
            free[places] += amount
            return survives(replace(pool, free=free))

        return enough

    most = int(pool.size.sum()) + int(np.maximum(0, -pool.free).sum())
    best_host: int | None = None
    best: int | None = None
    for place in range(len(pool.free)):
        limit = most if best is None else best - MIB
        amount = _least(added(place), limit) if limit >= 0 else None
        if amount is not None:
            best_host, best = int(pool.hosts[place]), amount

    def with_new_host(amount: int) -> bool:
        grown = replace(
            pool,
            free=np.append(pool.free, amount),
            hosts=np.append(pool.hosts, np.int32(-1)),
            allowed=None if pool.allowed is None else np.column_stack([pool.allowed, pool.allowed.all(axis=1)]),
        )
        return survives(grown)

    unprotect, proved = _unprotect(pool, n, time_limit)
    return Remedy(
        num_failures=n,
        memory_each_host=_least(added(slice(None)), most),
        host=best_host,
        memory_one_host=best,
        memory_new_host=_least(with_new_host, most),
        unprotect=unprotect,
        unprotect_is_least=proved,
        shrink=shrink,
    )


def _least(enough: Callable[[int], bool], most: int) -> int | None:
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


_UNPROTECT_QUESTIONS: Final = 2_000


def _unprotect(pool: RestartPool, n: int, time_limit: float | None) -> tuple[tuple[int, ...], bool]:
    """The fewest VMs to unprotect: each losing set must lose one of its VMs, so the search branches over these."""
    asked = 0

    def losing(without: tuple[int, ...]) -> Failover | None:
        nonlocal asked
        asked += 1
        answer = failover(pool.without(without), n, time_limit=time_limit)
        if answer.answer == "unknown":
            raise TimeoutError(answer.reason)
        return None if answer.survives else answer

    greedy: tuple[int, ...] = ()
    loss = losing(greedy)
    while loss is not None:
        greedy += loss.stays_down
        loss = losing(greedy)
    size = {int(vm): int(amount) for vm, amount in zip(pool.vms, pool.size, strict=True)}
    for vm in sorted(greedy, key=lambda vm: -size[vm]):
        fewer = tuple(other for other in greedy if other != vm)
        if losing(fewer) is None:
            greedy = fewer

    def within(chosen: tuple[int, ...], count: int) -> tuple[int, ...] | None:
        loss = losing(chosen)
        if loss is None:
            return chosen
        if count == 0:
            return None
        failed = np.isin(pool.resident_on, np.flatnonzero(np.isin(pool.hosts, loss.failed_hosts)))
        candidates = pool.vms[(failed | (pool.resident_on < 0)) & ~np.isin(pool.vms, chosen)]
        for vm in sorted(candidates.tolist(), key=lambda vm: size[vm]):
            if asked > _UNPROTECT_QUESTIONS:
                return None
            found = within((*chosen, vm), count - 1)
            if found is not None:
                return found
        return None

    for count in range(1, len(greedy)):
        found = within((), count)
        if found is not None:
            return tuple(sorted(found)), True
        if asked > _UNPROTECT_QUESTIONS:
            return tuple(sorted(greedy)), False
    return tuple(sorted(greedy)), True


def _shrink(
    pool: RestartPool, smallest: Bytes, survives: Callable[[RestartPool], bool]
) -> tuple[tuple[int, int], ...] | None:
    """VMs to shrink, so few that none can stay as it is; the last of them only as far as needed."""
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

        amount = _least(enough, int(pool.size[vm] - smallest[vm]))
        size[vm] = smallest[vm] if amount is None else max(int(smallest[vm]), int(pool.size[vm]) - amount)
    changed = np.flatnonzero(size < pool.size)
    return tuple((int(pool.vms[vm]), int(size[vm])) for vm in changed)
