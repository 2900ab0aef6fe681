"""The question of a rolling pool update as arrays: hosts to restart, the VMs on them, and where these are to end.

Amounts are bytes. Each host counts VMs by the model of the version it runs at the moment: [before, after] its restart.
Everything is checked here. Fleets are only read; searches for nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from xenmem import kernel
from xenmem.columns import Bools, Bytes, Rows
from xenmem.planning.checks import LARGEST_AMOUNT, check_range, check_total, integer
from xenmem.planning.pool_view import able_hosts_of_pool, memory_to_start, place_in, room
from xenmem.planning.question import cannot_move
from xenmem.rules.hosts import version_classes
from xenmem.rules.migration import whereabouts

if TYPE_CHECKING:
    from xenmem.fleet import Fleet


@dataclass(frozen=True, eq=False)
class UpdateProblem:
    """Hosts to restart, and the VMs that run on them.

    Attributes
    ----------
    capacity : int64 array, shape (hosts, 2), bytes for VMs before and after the restart
    need : int64 array, shape (vms, 2), bytes that each VM takes on a host before and after the host's restart
    asked : int64 array, shape (vms, 2), bytes that must be free there for it to arrive, at least `need`
    copied : int64 array, shape (vms,), bytes that one migration of it copies
    home : int32 array, shape (vms,), where each VM is to be in the end
    start : int32 array, shape (vms,), where each is now
    updated : bool array, shape (hosts,), hosts that need no restart any more
    may_follow : bool array, shape (hosts, hosts), [a, b]: before their restarts b is not older than a, so that VMs may
        migrate from a to b; restarted hosts are the newest
    first : the host that has to be restarted first; -1 for none
    allowed : bool array, shape (vms, hosts), where each VM can run; None: everywhere
    held : VM to why it cannot migrate: it is allowed where it is only
    hosts, vms : int32 arrays, the row numbers under which answers name them
    host_names, vm_names : for sentences
    """

    capacity: Bytes
    need: Bytes
    asked: Bytes
    copied: Bytes
    home: Rows
    start: Rows
    updated: Bools
    may_follow: Bools
    first: int
    allowed: Bools | None
    held: Mapping[int, str]
    hosts: Rows
    vms: Rows
    host_names: tuple[str, ...]
    vm_names: tuple[str, ...]

    @classmethod
    def from_arrays(
        cls,
        capacity: npt.ArrayLike,
        need: npt.ArrayLike,
        home: npt.ArrayLike,
        *,
        asked: npt.ArrayLike | None = None,
        copied: npt.ArrayLike | None = None,
        start: npt.ArrayLike | None = None,
        updated: npt.ArrayLike | None = None,
        version: npt.ArrayLike | None = None,
        first: int = -1,
        allowed: npt.ArrayLike | None = None,
        held: Mapping[int, str] | None = None,
    ) -> UpdateProblem:
        """A problem from bare arrays: see the attributes; hosts and VMs are named by their place.

        Parameters
        ----------
        capacity, need : with one column, as asked, too, the same before and after
        asked : None: what the VM takes; what is below that counts as that
        copied : None: what the VM needs before
        start : None: every VM is at home
        updated : None: all hosts are to be restarted
        version : ranks of hosts before the restart: no VM migrates to a lower one; None: the same everywhere
        held : None: every VM can migrate

        Raises
        ------
        ValueError, TypeError : there are no hosts, shapes differ, or a value is out of range or no integer; names
            argument, index and value
        """
        capacity_, need_ = (_two_columns(name, a) for name, a in (("capacity", capacity), ("need", need)))
        asked_ = need_ if asked is None else np.maximum(need_, _two_columns("asked", asked))
        hosts, vms = len(capacity_), len(need_)
        if not hosts:
            raise ValueError("capacity: there are no hosts")
        home_ = _column("home", home, vms, 0, hosts - 1).astype(np.int32)
        start_ = home_ if start is None else _column("start", start, vms, 0, hosts - 1).astype(np.int32)
        copied_ = need_[:, 0] if copied is None else _column("copied", copied, vms, 0, LARGEST_AMOUNT)
        done = np.zeros(hosts, np.bool_) if updated is None else np.asarray(updated, np.bool_)
        if done.shape != (hosts,):
            raise ValueError(f"updated: shape {done.shape} where ({hosts},) is needed")
        for name, amounts in (("capacity", capacity_), ("need", need_), ("asked", asked_), ("copied", copied_)):
            check_total(name, amounts)
        ranks = np.zeros(hosts, np.int64) if version is None else _column("version", version, hosts, 0, 1 << 30)
        if not -1 <= integer("first", first) < hosts:
            raise ValueError(f"first: {first} is outside -1..{hosts - 1}")
        where = None if allowed is None else np.asarray(allowed, np.bool_)
        if where is not None and where.shape != (vms, hosts):
            raise ValueError(f"allowed: shape {where.shape} where ({vms}, {hosts}) is needed")
        still = list(held or {})
        if still:
            where = np.ones((vms, hosts), np.bool_) if where is None else where.copy()
            where[still] = False
            where[still, start_[still]] = True
        return cls(
            capacity_,
            need_,
            asked_,
            copied_.astype(np.int64),
            home_,
            start_,
            done,
            ranks[None, :] >= ranks[:, None],
            first,
            where,
            held or {},
            np.arange(hosts, dtype=np.int32),
            np.arange(vms, dtype=np.int32),
            tuple(f"host {row}" for row in range(hosts)),
            tuple(f"VM {row}" for row in range(vms)),
        )

    @classmethod
    def from_fleet(
        cls,
        fleet: Fleet,
        pool: int = 0,
        *,
        model: str = kernel.DEFAULT_MODEL,
        home: npt.ArrayLike | None = None,
        updated: npt.ArrayLike | None = None,
        allowed: npt.ArrayLike | None = None,
        immovable: Mapping[int, str] | None = None,
        down: Collection[int] = (),
    ) -> UpdateProblem:
        """One pool of a Fleet: its enabled and live hosts, and the guests that run there.

        Parameters
        ----------
        pool : row of the pool; its coordinator is restarted first
        model : name of the kernel model that hosts compute with after their restart
        home : int32 array, shape (vms of the fleet,), rows of hosts, -1 for where the VM is; None: all are at home
        updated : bool array, shape (hosts of the fleet,); None: none is updated yet
        allowed : bool array, shape (vms of the fleet, hosts of the fleet): to which hosts VMs may go at most; None:
            wherever their storage, networks, devices and CPUs are, which is asked besides
        immovable : VM to why it cannot migrate, beside those that are paused, migrate already, or have more vCPUs than
            their host has CPUs and so could not come back
        down : rows of VMs that are stopped while their host restarts, and start there again: they do not move

        Raises
        ------
        ValueError : the fleet has no such pool, no host of it is enabled and live, the memory of one is unknown, or the
            model does not exist

        Notes
        -----
        After its restart a host has less for VMs by what its own overhead grows. A control domain keeps its overhead.
        A VM takes its memory_dynamic_min, to which it is ballooned before it migrates, and its overhead: the larger of
        stored and recomputed. A host that it comes to is asked for what the VM needs to start. A halted VM for which a
        host keeps memory is not on it, but the memory is not free.
        Source: memory-model.md, 5; planning.md, 1, 4.2 and 6.6.
        """
        hosts, vms = able_hosts_of_pool(fleet, pool)
        place = place_in(hosts, len(fleet.hosts))
        now = whereabouts(fleet.vms)
        here = vms[(place[now[vms]] >= 0) & fleet.vms.is_guest[vms]]
        waiting = np.isin(here, np.fromiter(down, np.int64, len(down)))
        guests = here[~waiting]
        moving = np.zeros(len(fleet.vms), np.bool_)
        moving[guests] = True
        before = room(fleet, "dynamic_min", moving)
        capacity = np.column_stack([before, before - fleet.host_overhead_growth(model)])[hosts]
        stored = fleet.vms.memory_overhead

        def needed(name: str | None) -> Bytes:
            counted = fleet.vms.memory_dynamic_min + np.maximum(stored, fleet.overhead(name))
            return np.maximum(counted, fleet.start_memory("dynamic_min", name))[guests]

        # who waits for its host keeps its place there, which is larger if the host then counts it with more
        stays = here[waiting]
        counted_now = (fleet.vms.memory_dynamic_min + stored)[stays]
        grown = np.maximum(memory_to_start(fleet, model=model)[stays] - counted_now, 0)
        np.subtract.at(capacity[:, 1], place[now[stays]], grown)
        need = np.column_stack([needed(None), needed(model)])
        asked = np.column_stack([memory_to_start(fleet, model=name)[guests] for name in (None, model)])
        target = now[guests]
        if home is not None:
            given = np.asarray(home)[guests]
            target = np.where(given >= 0, given, target)
        still = cannot_move(fleet, {"immovable": immovable or {}}, place)
        master = int(fleet.pools.master[pool])
        bare = cls.from_arrays(
            capacity,
            need,
            place[target],
            asked=asked,
            copied=fleet.vms.memory_dynamic_min[guests],
            start=place[now[guests]],
            updated=None if updated is None else np.asarray(updated, np.bool_)[hosts],
            first=int(place[master]) if master >= 0 else -1,
            allowed=_may_run(fleet, guests, hosts, place[now[guests]], allowed),
            held={at: still[vm] for at, vm in enumerate(guests.tolist()) if vm in still},
        )
        return replace(
            bare,
            may_follow=_may_follow(fleet, hosts, model),
            hosts=hosts,
            vms=guests,
            host_names=tuple(map(fleet.hosts.label, hosts)),
            vm_names=tuple(map(fleet.vms.label, guests)),
        )


def _may_run(fleet: Fleet, vms: Rows, hosts: Rows, at: Rows, allowed: npt.ArrayLike | None) -> Bools | None:
    """Where each VM may run, memory apart, by mobility and by what is asked; it may stay. None: everywhere."""
    kind_of, masks = fleet.mobility.kinds(vms, hosts)
    everywhere = all(mask.all() for mask in masks)
    if allowed is None and everywhere:
        return None
    may = np.array(masks, np.bool_).reshape(len(masks), len(hosts))[kind_of]
    if allowed is not None:
        may &= np.asarray(allowed, np.bool_)[np.ix_(vms, hosts)]
    may[np.arange(len(vms)), at] = True
    return may


def _may_follow(fleet: Fleet, hosts: Rows, model: str) -> Bools:
    """Which hosts VMs may go to, as the coordinator sees it once it has been restarted, which it is first."""
    is_newest = model == kernel.DEFAULT_MODEL
    coordinator = np.full_like(fleet.pools.master, -1) if is_newest else fleet.pools.master
    class_of, may_follow = version_classes(fleet.hosts.software_version, fleet.hosts.pool, coordinator)
    answer: Bools = may_follow[np.ix_(class_of[hosts], class_of[hosts])]
    return answer


def _two_columns(name: str, values: npt.ArrayLike) -> Bytes:
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"{name}: {array.dtype} where integers are needed")
    if array.ndim == 1:
        array = np.column_stack([array, array])
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"{name}: shape {array.shape} where (rows,) or (rows, 2) is needed")
    bad = (array < (-LARGEST_AMOUNT if name == "capacity" else 0)) | (array > LARGEST_AMOUNT)
    if bad.any():
        row, column = (int(k) for k in np.argwhere(bad)[0])
        raise ValueError(f"{name}: {array[row, column]} at index {row} is out of range")
    return array.astype(np.int64)


def _column(name: str, values: npt.ArrayLike, rows: int, low: int, high: int) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.shape != (rows,):
        raise ValueError(f"{name}: shape {array.shape} where ({rows},) is needed")
    if rows and array.dtype.kind not in "iu":
        raise ValueError(f"{name}: {array.dtype} where integers are needed")
    check_range(name, array, low, high)
    return array.astype(np.int64)
