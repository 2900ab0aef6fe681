"""The pool that planning of host failures asks about: what each host has left, and the VMs that must run again.

RestartPool is made from a Fleet or from bare arrays, and checked here; amounts are bytes. Prepared is the same pool
sorted for the searches. Nothing is searched here, and nothing is changed anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from xenmem.columns import Bools, Bytes, Rows
from xenmem.planning.checks import LARGEST_AMOUNT, check_range, check_total, integer
from xenmem.planning.pool_view import able_hosts_of_pool, memory_to_start, place_in, room
from xenmem.rules.mobility.matrix import is_allowed
from xenmem.rules.start import is_protected

if TYPE_CHECKING:
    from xenmem.fleet import Fleet


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
        check_range("free", free_, -LARGEST_AMOUNT, LARGEST_AMOUNT)
        check_range("size", size_, 0, LARGEST_AMOUNT)
        check_range("resident_on", host, -1, len(free_) - 1)
        check_total("free, size", free_, size_)
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
        allowed : bool array, shape (vms of the fleet, hosts of the fleet), where a VM may be started at most; None:
            everywhere. Its storage, networks and devices are asked besides, its CPU is not: it boots anew

        Raises
        ------
        ValueError : the fleet has no such pool; the pool has no enabled and live host, or the memory of one is unknown

        Notes
        -----
        Unlike the pool's own planner this keeps the free memory of an overcommitted host below 0. A VM that starts with
        its static_max whatever the policy (pv_in_pvh) counts with that on the host where it is restarted.
        Source: memory-model.md, 5; planning.md, 1, 3.1, 3.3 and 3.4.
        """
        hosts, vms = able_hosts_of_pool(fleet, pool)
        place = place_in(hosts, len(fleet.hosts))
        if protected is None:
            wanted = is_protected(fleet.vms.ha_always_run, fleet.vms.ha_restart_priority)
        else:
            wanted = np.asarray(protected, np.bool_)
            if wanted.shape != (len(fleet.vms),):
                raise ValueError(f"protected: shape {wanted.shape} where ({len(fleet.vms)},) is needed")
        vms = vms[wanted[vms]]
        resident, scheduled = place[fleet.vms.resident_on[vms]], place[fleet.vms.scheduled_to_be_resident_on[vms]]
        bare = cls.from_arrays(
            room(fleet, policy)[hosts],
            memory_to_start(fleet, policy)[vms],
            np.where(resident >= 0, resident, scheduled),
            allowed=_may_boot(fleet, pool, vms, hosts, allowed),
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


def _may_boot(fleet: Fleet, pool: int, vms: Rows, hosts: Rows, allowed: npt.ArrayLike | None) -> Bools | None:
    """Where VMs can be started as far as that is known, by mobility and by what is asked; None: everywhere."""
    # who runs on a network without PIFs holds the others there, and is gone when the host is
    loose = replace(fleet.networks, is_pinning=np.zeros(len(fleet.networks), np.bool_))
    part = (fleet.replace(networks=loose) if fleet.networks.is_pinning.any() else fleet).mobility.pool(pool)
    kind_of = part.kind_of[np.searchsorted(part.vms, vms)]
    may_be: Bools = is_allowed(part.first_step(with_cpu=False)[:, np.searchsorted(part.hosts, hosts)])
    anywhere = bool(may_be[np.unique(kind_of)].all())
    if allowed is None:
        return None if anywhere else may_be[kind_of]
    asked = np.asarray(allowed, np.bool_)[np.ix_(vms, hosts)]
    return asked if anywhere else asked & may_be[kind_of]


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


def one_pool(pool: RestartPool | Fleet) -> RestartPool:
    """The pool itself, or that of a Fleet which has just one.

    Raises
    ------
    ValueError : the fleet has another number of pools, or see RestartPool.from_fleet
    """
    if isinstance(pool, RestartPool):
        return pool
    if len(pool.pools) != 1:
        raise ValueError(f"the fleet has {len(pool.pools)} pools: use RestartPool.from_fleet, or failover_of_pools")
    return RestartPool.from_fleet(pool)


def check_failures(pool: RestartPool, num_failures: int) -> int:
    """The number of failures, if the pool can have so many.

    Raises
    ------
    ValueError, TypeError : it is negative, above the number of hosts, or no integer
    """
    if integer("num_failures", num_failures) < 0:
        raise ValueError(f"num_failures: {num_failures} is negative")
    if num_failures > len(pool.free):
        raise ValueError(f"num_failures: {num_failures} hosts cannot fail where there are {len(pool.free)}")
    return int(num_failures)
