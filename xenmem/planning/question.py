"""What must hold of a placement, as arrays: the sizes, the room, and which VM may go where and with whom.

Everything is checked here, before any search: a Question that exists does not contradict itself. Its VMs and hosts are
numbered from 0; `vms` and `hosts` say which rows of the fleet they are. Amounts are bytes. Does not search.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypedDict

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from xenmem import kernel
from xenmem.planning._limits import integer
from xenmem.planning.xapi.binpack import as_amounts, as_rows
from xenmem.rules.hosts import version_classes
from xenmem.rules.start import memory_to_start

if TYPE_CHECKING:
    from xenmem.fleet import Fleet

Rows = NDArray[np.int32]
Bytes = NDArray[np.int64]
Bools = NDArray[np.bool_]

LARGEST_AMOUNT: Final = 1 << 50
LARGEST_TOTAL: Final = 1 << 61


class Constraints(TypedDict, total=False):
    """The constraints that every planner takes as keywords. VMs and hosts are rows.

    Attributes
    ----------
    pinned : VM to the only host it may be on
    affinity : VM to the hosts it may be on
    anti_affinity : groups of VMs of which no two may share a host
    same_host : groups of VMs that share a host
    headroom : bytes to leave free on every host, or one amount per host
    priority : VM to an integer, 0 where it is missing: if not all fit, the higher priorities come first
    vm_groups : whether the fleet's VM groups with placement anti_affinity hold like anti_affinity; by default they do
    vcpus : whether a VM needs a host with at least VCPUs_max logical CPUs, unless it is vcpu_unrestricted or may, by
        pinned or affinity, be only on the host that it is on; by default it does
    """

    pinned: Mapping[int, int]
    affinity: Mapping[int, Sequence[int]]
    anti_affinity: Sequence[Sequence[int]]
    same_host: Sequence[Sequence[int]]
    headroom: int | Sequence[int] | Bytes
    priority: Mapping[int, int]
    vm_groups: bool
    vcpus: bool


@dataclass(frozen=True, eq=False)
class Question:
    """VMs to be placed, hosts to take them, and what must hold.

    Attributes
    ----------
    vms, hosts : int32 arrays, rows of the fleet (or of the arrays given)
    vm_names, host_names : object arrays, what messages call them
    sizes : int64 array, shape (vms,), bytes that count on the host: the larger of what admission asks for and what the
        VM then uses
    need, used : int64 arrays, shape (vms,), bytes to be admitted, and bytes used from then on
    copied : int64 array, shape (vms,), bytes that a live migration copies
    free : int64 array, shape (hosts,), bytes left without these VMs and without the headroom; negative if overcommitted
    origin : int32 array, shape (vms,), the host in `hosts` that the VM is on, -1 if none of them
    away : int32 array, shape (vms,), the row of the host that the VM is on, -1 if on none at all
    in_use : bool array, shape (hosts,), hosts that run other guests
    version : int32 array, shape (hosts,), classes of hosts of equal versions
    version_left : int32 array, shape (vms,), the class of the host that the VM is on, -1 if on none
    may_follow : bool array, shape (classes, classes), [a, b]: b is not older than a; else no VM migrates from a to b
    vm_pool, host_pool : int32 arrays
    priority : int64 array, shape (vms,)
    kind_of, allowed : VM v may go to host h if allowed[kind_of[v], h]
    groups : anti-affinity groups, arrays of VMs in ascending order
    taken : int32 array, shape (groups, hosts): members that stay on a host without being among the VMs
    same_host : arrays of VMs that share a host
    """

    vms: Rows
    hosts: Rows
    vm_names: NDArray[np.object_]
    host_names: NDArray[np.object_]
    sizes: Bytes
    need: Bytes
    used: Bytes
    copied: Bytes
    free: Bytes
    origin: Rows
    away: Rows
    in_use: Bools
    version: Rows
    version_left: Rows
    may_follow: Bools
    vm_pool: Rows
    host_pool: Rows
    priority: Bytes
    kind_of: Rows
    allowed: Bools
    groups: list[Rows]
    taken: Rows
    same_host: list[Rows]

    def vm_name(self, vm: int) -> str:
        """What a message calls the VM: its name, or its row."""
        return f"VM {self.vm_names[vm] or self.vms[vm]}" if len(self.vm_names) else f"VM {self.vms[vm]}"

    def host_name(self, host: int) -> str:
        """What a message calls the host: its name, or its row."""
        return (
            f"host {self.host_names[host] or self.hosts[host]}" if len(self.host_names) else f"host {self.hosts[host]}"
        )


def question_of_sizes(
    sizes: npt.ArrayLike,
    free: npt.ArrayLike,
    origin: npt.ArrayLike | None,
    constraints: Constraints,
) -> Question:
    """The Question of bare arrays.

    Parameters
    ----------
    sizes : integers, shape (vms,), bytes, > 0
    free : integers, shape (hosts,), bytes without these VMs; negative for an overcommitted host
    origin : the host that each VM is on, -1 for none; by default none is on any
    constraints : as Constraints; there are no VM groups and vCPUs

    Raises
    ------
    ValueError, TypeError : an argument is out of range or contradicts another; names argument, index and value
    """
    amounts = _checked_sizes("sizes", as_amounts("sizes", sizes))
    room = as_amounts("free", free)
    _limit("free", room, -LARGEST_AMOUNT, LARGEST_AMOUNT)
    home = np.full(len(amounts), -1, np.int32) if origin is None else as_rows("origin", origin)
    if len(home) != len(amounts):
        raise ValueError(f"origin: length {len(home)} where sizes has {len(amounts)}")
    _limit("origin", home, -1, len(room) - 1)
    for name in ("vm_groups", "vcpus"):
        if name in constraints:
            raise ValueError(f"{name}: bare sizes have none")
    return _question(
        vms=np.arange(len(amounts), dtype=np.int32),
        hosts=np.arange(len(room), dtype=np.int32),
        vm_names=np.empty(0, object),
        host_names=np.empty(0, object),
        need=amounts,
        used=amounts,
        copied=amounts,
        free=room,
        away=home,
        in_use=np.zeros(len(room), np.bool_),
        versions=(np.zeros(len(room), np.int32), np.ones((1, 1), np.bool_)),
        vm_pool=np.zeros(len(amounts), np.int32),
        host_pool=np.zeros(len(room), np.int32),
        vcpus=None,
        cpus=None,
        groups=[],
        outside=[],
        constraints=constraints,
        all_vms=len(amounts),
        all_hosts=len(room),
    )


def question_of_fleet(
    fleet: Fleet,
    vms: npt.ArrayLike | None,
    hosts: npt.ArrayLike | None,
    policy: str,
    constraints: Constraints,
) -> Question:
    """The Question of a fleet: where these VMs, wherever they are now, could be on these hosts.

    Parameters
    ----------
    fleet : is not changed
    vms : rows, by default every guest
    hosts : rows, by default every host; only those that are enabled and live take part
    policy : ``static_max``, ``dynamic_max`` or ``dynamic_min``
    constraints : as Constraints

    Raises
    ------
    ValueError, TypeError : an argument is out of range or contradicts another; names argument, index and value

    Notes
    -----
    What admission asks for and what counts afterwards: memory-model.md, 4 and 5; planning.md, 1. A VM on a host counts
    with its stored overhead; a halted one gets its overhead recomputed when it starts.
    """
    table, machines = fleet.vms, fleet.hosts
    rows = np.flatnonzero(table.is_guest).astype(np.int32) if vms is None else distinct_rows("vms", vms, len(table))
    wrong = ~table.is_guest[rows]
    if wrong.any():
        index = int(np.argmax(wrong))
        raise ValueError(f"vms: {rows[index]} at index {index} is a template, a snapshot or a control domain")
    empty = table.memory_static_max[rows] <= 0
    if empty.any():
        row = rows[np.argmax(empty)]
        raise ValueError(
            f"vms: VM {table.name_label[row] or row} has no memory: memory_static_max is {table.memory_static_max[row]}"
        )
    wanted = np.arange(len(machines), dtype=np.int32) if hosts is None else distinct_rows("hosts", hosts, len(machines))
    wanted = wanted[machines.enabled[wanted] & machines.live[wanted]]
    without = machines.memory_total[wanted] <= 0
    if without.any():
        row = wanted[np.argmax(without)]
        raise ValueError(f"hosts: host {machines.name_label[row] or row} has no memory: {machines.memory_total[row]}")
    selected = np.zeros(len(table), np.bool_)
    selected[rows] = True
    resident = np.where(selected, -1, table.resident_on).astype(np.int32)
    scheduled = np.where(selected, -1, table.scheduled_to_be_resident_on).astype(np.int32)
    # what a migration under way has reserved is not free before it has ended
    reserved = np.where(selected & (table.resident_on < 0), -1, table.scheduled_to_be_resident_on).astype(np.int32)
    everything = np.full(len(machines), LARGEST_AMOUNT)
    taken_up = everything - kernel.free_memory(
        everything, fleet.amount(policy), table.memory_overhead, resident, reserved
    )
    free = machines.available - taken_up
    away = np.where(table.resident_on[rows] >= 0, table.resident_on[rows], table.scheduled_to_be_resident_on[rows])
    amount = fleet.amount(policy)[rows]
    overhead = np.where(away >= 0, table.memory_overhead[rows], 0)
    if (away < 0).any():
        overhead = np.where(away >= 0, overhead, fleet.overhead()[rows])
    need = memory_to_start(fleet, policy)[rows]
    occupied = np.zeros(len(machines), np.bool_)
    stays = table.is_guest & ~selected
    for column in (resident, scheduled):
        occupied[column[stays & (column >= 0)]] = True
    groups: list[Rows] = []
    outside: list[Rows] = []
    if constraints.get("vm_groups", True):
        at = _places(rows, len(table))
        for members in _anti_affinity_groups(fleet):
            inside = at[members]
            groups.append(np.sort(inside[inside >= 0]))
            outside.append(np.concatenate([c[members][c[members] >= 0] for c in (resident, scheduled)]))
    with_vcpus = constraints.get("vcpus", True)
    return _question(
        vms=rows,
        hosts=wanted,
        vm_names=table.name_label[rows],
        host_names=machines.name_label[wanted],
        need=_checked_sizes("vms", need),
        used=amount + overhead,
        copied=table.memory_dynamic_min[rows],
        free=free[wanted],
        away=away.astype(np.int32),
        in_use=occupied[wanted],
        versions=version_classes(machines.software_version, machines.pool, fleet.pools.master),
        vm_pool=table.pool[rows],
        host_pool=machines.pool[wanted],
        vcpus=np.where(table.vcpu_unrestricted, 0, table.VCPUs_max)[rows] if with_vcpus else None,
        cpus=machines.cpu_count[wanted] if with_vcpus else None,
        groups=groups,
        outside=outside,
        constraints=constraints,
        all_vms=len(table),
        all_hosts=len(machines),
    )


def _anti_affinity_groups(fleet: Fleet) -> list[Rows]:
    """The guests of each VM group whose placement is anti_affinity, in ascending order."""
    members: dict[int, list[int]] = {
        group: [] for group in np.flatnonzero(fleet.vm_groups.placement == "anti_affinity").tolist()
    }
    if members:
        for vm in np.flatnonzero(fleet.vms.is_guest).tolist():
            for group in set(fleet.vms.groups[vm]) & members.keys():
                members[group].append(vm)
    return [np.array(vms, np.int32) for vms in members.values()]


def _question(
    *,
    vms: Rows,
    hosts: Rows,
    vm_names: NDArray[np.object_],
    host_names: NDArray[np.object_],
    need: Bytes,
    used: Bytes,
    copied: Bytes,
    free: Bytes,
    away: Rows,
    in_use: Bools,
    versions: tuple[Rows, Bools],
    vm_pool: Rows,
    host_pool: Rows,
    vcpus: NDArray[Any] | None,
    cpus: NDArray[Any] | None,
    groups: list[Rows],
    outside: list[Rows],
    constraints: Constraints,
    all_vms: int,
    all_hosts: int,
) -> Question:
    unknown = set(constraints) - set(Constraints.__annotations__)
    if unknown:
        raise TypeError(f"{min(unknown)}: no such constraint; there are {', '.join(Constraints.__annotations__)}")
    sizes = np.maximum(need, used)
    if len(sizes) and float(sizes.astype(np.float64).sum()) > LARGEST_TOTAL:
        raise ValueError(f"sizes: their sum is above {LARGEST_TOTAL}")
    if float(np.abs(free.astype(np.float64)).sum()) > LARGEST_TOTAL:
        raise ValueError(f"free: the sum is above {LARGEST_TOTAL}")
    vm_at = _places(vms, all_vms)
    host_at = _places(hosts, all_hosts)
    kept = _headroom(constraints.get("headroom", 0), all_hosts)[hosts]

    kind_of = np.zeros(len(vms), np.int32)
    masks = [np.ones(len(hosts), np.bool_)]
    if vcpus is not None and cpus is not None:
        steps = np.unique(cpus[cpus > 0])
        kind_of = np.searchsorted(steps, vcpus).astype(np.int32)
        masks = [(cpus == 0) | (cpus >= step) for step in steps] + [cpus == 0]
    class_of, may_follow = versions
    version = class_of[hosts]
    version_left = np.where(away >= 0, class_of[np.maximum(away, 0)] if all_hosts else -1, -1).astype(np.int32)
    kind_of, masks = _no_older(kind_of, masks, version, version_left, may_follow)
    special = _affinity(constraints, vm_at, host_at, all_vms, all_hosts, vms)
    known: dict[tuple[int, frozenset[int]], int] = {}
    for vm, targets in special.items():
        stays = away[vm] >= 0 and targets == {int(host_at[away[vm]])}  # nobody asks again whether it may be there
        key = (-1 if stays else int(kind_of[vm]), targets)
        if key not in known:
            mask = np.zeros(len(hosts), np.bool_)
            mask[list(targets)] = True
            known[key] = len(masks)
            masks.append(mask if stays else mask & masks[key[0]])
        kind_of[vm] = known[key]

    same_host = _merged(_vm_sets("same_host", constraints.get("same_host", ()), vm_at, all_vms), len(vms))
    given = _vm_sets("anti_affinity", constraints.get("anti_affinity", ()), vm_at, all_vms)
    groups = [*groups, *given]
    outside = [*outside, *(np.empty(0, np.int32) for _ in given)]
    together = np.arange(len(vms))
    for members in same_host:
        together[members] = members[0]
    for members in groups:
        meeting = together[members]
        values, counts = np.unique(meeting, return_counts=True)
        if (counts > 1).any():
            pair = vms[members[meeting == values[np.argmax(counts > 1)]]][:2]
            raise ValueError(f"anti_affinity: VMs {pair[0]} and {pair[1]} must share a host by same_host")
        restricted = [(vm, special[vm]) for vm in members.tolist() if vm in special]
        for targets in {targets for _, targets in restricted}:
            crowd = [int(vms[vm]) for vm, own in restricted if own <= targets]
            if len(crowd) > len(targets):
                where = "by pinned and affinity may be on" + (
                    " one host" if len(targets) == 1 else f" {len(targets)} hosts"
                )
                raise ValueError(f"anti_affinity: the VMs {', '.join(map(str, crowd))} of a group {where} only")
    for members in same_host:
        if not np.logical_and.reduce([masks[kind_of[vm]] for vm in members]).any() and all(
            masks[kind_of[vm]].any() for vm in members
        ):
            raise ValueError(f"same_host: no host is allowed for all of the VMs {', '.join(map(str, vms[members]))}")
        if len(np.unique(vm_pool[members])) > 1:
            raise ValueError(f"same_host: the VMs {', '.join(map(str, vms[members]))} are in different pools")
    taken = np.zeros((len(groups), len(hosts)), np.int32)
    for group, rows in enumerate(outside):
        places = host_at[rows]
        np.add.at(taken[group], places[places >= 0], 1)

    priority = np.zeros(len(vms), np.int64)
    for row, value in constraints.get("priority", {}).items():
        if not -LARGEST_AMOUNT <= integer("priority", value) <= LARGEST_AMOUNT:
            raise ValueError(f"priority: {value} of VM {row} is outside {-LARGEST_AMOUNT}..{LARGEST_AMOUNT}")
        priority[_one("priority", row, vm_at, all_vms, "VM")] = value
    origin = np.where(away >= 0, host_at[np.maximum(away, 0)] if all_hosts else -1, -1).astype(np.int32)
    return Question(
        vms=vms,
        hosts=hosts,
        vm_names=vm_names,
        host_names=host_names,
        sizes=sizes,
        need=need,
        used=used,
        copied=copied,
        free=free - kept,
        origin=origin,
        away=away,
        in_use=in_use,
        version=version,
        version_left=version_left,
        may_follow=may_follow,
        vm_pool=vm_pool,
        host_pool=host_pool,
        priority=priority,
        kind_of=kind_of,
        allowed=np.array(masks, dtype=np.bool_).reshape(len(masks), len(hosts)),
        groups=groups,
        taken=taken,
        same_host=same_host,
    )


def _no_older(
    kind_of: Rows, masks: list[Bools], version: Rows, version_left: Rows, may_follow: Bools
) -> tuple[Rows, list[Bools]]:
    """The kinds of VMs, told apart by which hosts are too old for them, and where each kind may go."""
    if may_follow.all():
        return kind_of, masks
    kinds, told_apart = np.unique(np.column_stack([kind_of, version_left]), axis=0, return_inverse=True)
    return (
        told_apart.reshape(-1).astype(np.int32),
        [masks[kind] & may_follow[left, version] if left >= 0 else masks[kind] for kind, left in kinds.tolist()],
    )


def distinct_rows(name: str, values: npt.ArrayLike, length: int) -> Rows:
    """The rows that a caller selects from a table.

    Parameters
    ----------
    name : of the argument, for messages
    values : integers, shape (rows,)
    length : of the table

    Raises
    ------
    ValueError, TypeError : no integers, a row that is not there, or one that stands there twice
    """
    rows = as_rows(name, values)
    _limit(name, rows, 0, length - 1)
    ordered, first = np.unique(rows, return_index=True)
    if len(ordered) < len(rows):
        again = int(np.setdiff1d(np.arange(len(rows)), first)[0])
        raise ValueError(f"{name}: {rows[again]} at index {again} stands there twice")
    return rows


def _limit(name: str, values: NDArray[Any], low: int, high: int) -> None:
    bad = (values < low) | (values > high)
    if bad.any():
        index = int(np.argmax(bad))
        raise ValueError(f"{name}: {values[index]} at index {index} is outside {low}..{high}")


def _checked_sizes(name: str, sizes: Bytes) -> Bytes:
    _limit(name, sizes, 1, LARGEST_AMOUNT)
    return sizes


def _places(rows: Rows, length: int) -> Rows:
    places = np.full(length, -1, np.int32)
    places[rows] = np.arange(len(rows), dtype=np.int32)
    return places


def _one(name: str, row: int, places: Rows, length: int, what: str) -> int:
    if not 0 <= integer(name, row) < length:
        raise ValueError(f"{name}: there is no {what} {row}")
    if places[row] < 0:
        raise ValueError(f"{name}: {what} {row} takes no part")
    return int(places[row])


def _headroom(value: Any, hosts: int) -> Bytes:
    kept = np.asarray(value)
    if kept.dtype.kind not in "iu":
        raise TypeError(f"headroom: integers are needed, not {kept.dtype}")
    if kept.ndim > 0 and kept.shape != (hosts,):
        raise ValueError(f"headroom: shape {kept.shape} where there are {hosts} hosts")
    every = np.broadcast_to(kept, hosts)
    _limit("headroom", every, 0, LARGEST_AMOUNT)
    return every.astype(np.int64)


def _affinity(
    constraints: Constraints, vm_at: Rows, host_at: Rows, all_vms: int, all_hosts: int, vms: Rows
) -> dict[int, frozenset[int]]:
    allowed: dict[int, frozenset[int]] = {}
    for row, targets in constraints.get("affinity", {}).items():
        vm = _one("affinity", row, vm_at, all_vms, "VM")
        for target in targets:
            if not 0 <= integer("affinity", target) < all_hosts:
                raise ValueError(f"affinity: there is no host {target}")
        allowed[vm] = frozenset(int(host_at[target]) for target in targets if host_at[target] >= 0)
        if not allowed[vm]:
            raise ValueError(f"affinity: VM {row} may be on none of the hosts that take part")
    for row, target in constraints.get("pinned", {}).items():
        vm = _one("pinned", row, vm_at, all_vms, "VM")
        if not 0 <= integer("pinned", target) < all_hosts:
            raise ValueError(f"pinned: there is no host {target}")
        if host_at[target] < 0:
            raise ValueError(f"pinned: VM {vms[vm]} is pinned to host {target}, which takes no part")
        host = int(host_at[target])
        if vm in allowed and host not in allowed[vm]:
            raise ValueError(f"pinned: VM {vms[vm]} is pinned to host {target}, which its affinity excludes")
        allowed[vm] = frozenset({host})
    return allowed


def _vm_sets(name: str, sets: Iterable[Sequence[int]], vm_at: Rows, all_vms: int) -> list[Rows]:
    found = []
    for rows in sets:
        members = sorted({_one(name, row, vm_at, all_vms, "VM") for row in rows})
        found.append(np.array(members, np.int32))
    return found


def _merged(sets: list[Rows], count: int) -> list[Rows]:
    """The sets, those with a common VM united; sets of one VM say nothing."""
    leader: dict[int, int] = {}
    parts: dict[int, set[int]] = {}
    for members in sets:
        union = {int(vm) for vm in members}
        for first in {leader[vm] for vm in union if vm in leader}:
            union |= parts.pop(first)
        if len(union) > 1:
            parts[min(union)] = union
            leader.update(dict.fromkeys(union, min(union)))
    return [np.array(sorted(part), np.int32) for _, part in sorted(parts.items())]
