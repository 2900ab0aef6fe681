"""What must hold of a placement, as arrays: the sizes, the room, and which VM may go where and with whom.

Everything is checked here, before any search: a Question that exists does not contradict itself. Its VMs and hosts are
numbered from 0; `vms` and `hosts` say which rows of the fleet they are. Amounts are bytes. Does not search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from xenmem.columns import Bools, Bytes, Rows
from xenmem.planning.checks import LARGEST_AMOUNT, as_amounts, as_rows, check_range, check_total, integer
from xenmem.planning.plan import listed
from xenmem.planning.pool_view import able_hosts, memory_to_start, place_in, room
from xenmem.rules.hosts import version_classes
from xenmem.rules.migration import refusals, too_wide, whereabouts

if TYPE_CHECKING:
    from xenmem.fleet import Fleet

Kinds = tuple[Rows, list[Bools]]
"""The kind of each VM, and for each kind to which hosts it may go."""


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
    vm_groups : whether the fleet's VM groups with placement anti_affinity count. By default they do as in the pool:
        their VMs are kept apart where that is possible, else spread evenly, else as it comes, and no more of them share
        a host by choice than do now. ``strict``: they hold like anti_affinity
    spread : groups of VMs that are kept apart where that is possible, else spread evenly, else as it comes, wherever
        they are now; whoever does not take part counts where it is
    together : groups of VMs that share a host like same_host, as far as they take part and can move
    vcpus : whether a VM needs a host with at least VCPUs_max logical CPUs, unless it is vcpu_unrestricted or may, by
        pinned or affinity, be only on the host that it is on; by default it does. Storage, networks, CPUs and devices
        always decide where it may be (rules.mobility)
    immovable : VM to why it cannot migrate: it stays where it is, like VMs that are paused, migrate already, are on a
        host that is not live, or have more vCPUs than their host has CPUs
    """

    pinned: Mapping[int, int]
    affinity: Mapping[int, Sequence[int]]
    anti_affinity: Sequence[Sequence[int]]
    same_host: Sequence[Sequence[int]]
    headroom: int | Sequence[int] | Bytes
    priority: Mapping[int, int]
    vm_groups: bool | Literal["strict"]
    spread: Sequence[Sequence[int]]
    together: Sequence[Sequence[int]]
    vcpus: bool
    immovable: Mapping[int, str]


@dataclass(frozen=True, eq=False)
class Question:
    """VMs to be placed, hosts to take them, and what must hold.

    Attributes
    ----------
    vms, hosts : int32 arrays, rows of the fleet (or of the arrays given)
    vm_label, host_label : what messages call a row
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
    stays : rows of VMs that are asked for and cannot move, each with the reason; they are none of the VMs
    bar : why the VM of a row cannot run on hosts of its pool, in words that follow its name; empty if it can on all
    """

    vms: Rows
    hosts: Rows
    vm_label: Callable[[int], str]
    host_label: Callable[[int], str]
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
    stays: dict[int, str]
    bar: Callable[[int, Rows], str]

    def vm_name(self, vm: int) -> str:
        """What a message calls the VM: its name, or its row."""
        return f"VM {self.vm_label(int(self.vms[vm]))}"

    def host_name(self, host: int) -> str:
        """What a message calls the host: its name, or its row."""
        return f"host {self.host_label(int(self.hosts[host]))}"

    def bars(self, vm: int) -> str:
        """Why the VM cannot run on hosts of its pool, in words that follow its name; empty if it can on all."""
        return self.bar(int(self.vms[vm]), self.hosts[self.host_pool == self.vm_pool[vm]])


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
    amounts, left = as_amounts("sizes", sizes), as_amounts("free", free)
    check_range("sizes", amounts, 1, LARGEST_AMOUNT)
    check_range("free", left, -LARGEST_AMOUNT, LARGEST_AMOUNT)
    home = np.full(len(amounts), -1, np.int32) if origin is None else as_rows("origin", origin)
    if len(home) != len(amounts):
        raise ValueError(f"origin: length {len(home)} where sizes has {len(amounts)}")
    check_range("origin", home, -1, len(left) - 1)
    for name in ("vm_groups", "spread", "together", "vcpus", "immovable"):
        if name in constraints:
            raise ValueError(f"{name}: bare sizes have none")
    part = _Part(
        vms=np.arange(len(amounts), dtype=np.int32),
        hosts=np.arange(len(left), dtype=np.int32),
        vm_label=str,
        host_label=str,
        vm_at=place_in(np.arange(len(amounts), dtype=np.int32), len(amounts)),
        host_at=place_in(np.arange(len(left), dtype=np.int32), len(left)),
        where=home,
        versions=(np.zeros(len(left), np.int32), np.ones((1, 1), np.bool_)),
        vm_pool=np.zeros(len(amounts), np.int32),
        host_pool=np.zeros(len(left), np.int32),
        stays={},
        why_not=str,
        bar=lambda vm, hosts: "",
    )
    one_kind = np.zeros(len(amounts), np.int32), [np.ones(len(left), np.bool_)]
    return _question(
        part, amounts, amounts, amounts, left, np.zeros(len(left), np.bool_), one_kind, [], [], constraints
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
    vms : rows, by default every guest; those that cannot migrate stay where they are
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
    asked = _guests(fleet, vms)
    wanted = np.arange(len(machines), dtype=np.int32) if hosts is None else distinct_rows("hosts", hosts, len(machines))
    wanted = able_hosts(fleet, wanted)
    host_at = place_in(wanted, len(machines))
    where = whereabouts(table)
    still = cannot_move(fleet, constraints, host_at, asked)
    vcpus = bool(constraints.get("vcpus", True))
    rows = asked[~np.isin(asked, list(still))] if still else asked
    part = _Part(
        vms=rows,
        hosts=wanted,
        vm_label=table.label,
        host_label=machines.label,
        vm_at=place_in(rows, len(table)),
        host_at=host_at,
        where=where,
        versions=version_classes(machines.software_version, machines.pool, fleet.pools.master),
        vm_pool=table.pool[rows],
        host_pool=machines.pool[wanted],
        stays={vm: still[vm] for vm in asked.tolist() if vm in still},
        why_not=partial(_why_not, fleet, still),
        bar=partial(_bar, fleet, vcpus),
    )
    need = memory_to_start(fleet, policy)[rows]
    check_range("vms", need, 1, LARGEST_AMOUNT)
    overhead = table.memory_overhead
    if (part.away < 0).any():
        overhead = np.where(where >= 0, overhead, fleet.overhead())
    selected = part.vm_at[:-1] >= 0
    stays = table.is_guest & ~selected
    in_use = np.zeros(len(machines), np.bool_)
    for column in (where, table.scheduled_to_be_resident_on):
        in_use[column[stays & (where >= 0) & (column >= 0)]] = True
    groups: list[Rows] = []
    outside: list[Rows] = []
    for members in soft_groups(fleet, constraints):
        inside, others = part.vm_at[members], members[~selected[members]]
        groups.append(np.sort(inside[inside >= 0]))
        outside.append(np.concatenate([c[others] for c in (table.resident_on, table.scheduled_to_be_resident_on)]))
    kinds = _at_home(fleet.mobility.kinds(rows, wanted, pcpus=vcpus), host_at[part.away])
    return _question(
        part,
        need,
        fleet.amount(policy)[rows] + overhead[rows],
        table.memory_dynamic_min[rows],
        room(fleet, policy, selected)[wanted],
        in_use[wanted],
        kinds,
        groups,
        outside,
        constraints,
    )


def cannot_move(fleet: Fleet, constraints: Constraints, host_at: Rows, among: Rows | None = None) -> dict[int, str]:
    """The guests on a host that stay there whatever is asked, by row, each with the reason.

    Parameters
    ----------
    fleet, constraints : as for a Question
    host_at : place_in of the hosts that take part: a VM with more vCPUs than its host has CPUs is not kept on others
    among : rows of VMs that are asked about, by default all; the answer may name others besides
    """
    found = {}
    if constraints.get("vcpus", True):
        found = {
            vm: why for vm, why in too_wide(fleet.vms, fleet.hosts).items() if host_at[fleet.vms.resident_on[vm]] >= 0
        }
    found |= refusals(fleet.vms, fleet.hosts)
    here = whereabouts(fleet.vms)
    for row, why in held_by_needs(fleet).items():
        if here[row] >= 0:
            found.setdefault(row, why)
    for row, why in confined(fleet, host_at, bool(constraints.get("vcpus", True)), among).items():
        found.setdefault(row, why)
    for row, why in constraints.get("immovable", {}).items():
        if not 0 <= integer("immovable", row) < len(fleet.vms):
            raise ValueError(f"immovable: there is no VM {row}")
        if here[row] >= 0:
            found.setdefault(int(row), why)
    return found


def held_by_needs(fleet: Fleet) -> dict[int, str]:
    """The guests whose needs hold them where they are, by row, each with the reason.

    Those that run on a network without PIFs, which is on no other host; and those of which it is not known where they
    can run, though the inventory has the records that should tell it.
    """
    held: dict[int, str] = {}
    for row in np.flatnonzero(fleet.vms.is_guest & (fleet.vms.undecided > 0)).tolist():
        held[row] = fleet.mobility.of(row).undecided(row)
    if fleet.networks.is_pinning.any():
        for pool in range(len(fleet.pools)):
            for row, network in fleet.mobility.pool(pool).pinned.items():
                held.setdefault(row, f"its network {fleet.networks.label(network)} has no PIF, and is on no other host")
    return held


def confined(fleet: Fleet, host_at: Rows, vcpus: bool, among: Rows | None = None) -> dict[int, str]:
    """The guests on a host that could run on no other of those that take part, by row, each with the reason.

    Parameters
    ----------
    host_at : place_in of the hosts that take part
    vcpus : whether a VM needs as many CPUs as it has vCPUs
    among : rows of VMs, by default all
    """
    vms, hosts = fleet.vms, np.flatnonzero(host_at[:-1] >= 0).astype(np.int32)
    here = whereabouts(vms)
    rows = np.flatnonzero(vms.is_guest & (here >= 0)).astype(np.int32)
    if among is not None:
        rows = rows[np.isin(rows, among)]
    if not len(hosts) or not len(rows):
        return {}
    kind_of, masks = fleet.mobility.kinds(rows, hosts, pcpus=vcpus)
    of_pool = fleet.hosts.pool[hosts] == np.arange(len(fleet.pools))[:, None]
    may = np.array(masks, np.bool_)
    home = place_in(hosts, len(fleet.hosts))[here[rows]]
    is_here, pool = home >= 0, vms.pool[rows]
    elsewhere = (may.astype(np.int32) @ of_pool.T.astype(np.int32))[kind_of, pool]
    elsewhere -= is_here & may[kind_of, np.maximum(home, 0)]
    others = of_pool.sum(axis=1)[pool] - is_here
    found = {}
    for vm in rows[(elsewhere == 0) & (others > 0)].tolist():
        away = hosts[(fleet.hosts.pool[hosts] == vms.pool[vm]) & (hosts != here[vm])]
        found[vm] = f"it {_bar(fleet, vcpus, vm, away)}"
    return found


def _bar(fleet: Fleet, vcpus: bool, vm: int, hosts: Rows) -> str:
    """Why a VM cannot run on hosts in a line, vCPUs aside if they do not count: of each need the first reason."""
    reasons = fleet.mobility.of(vm).reasons(vm, hosts, pcpus=vcpus)
    more = [f" (nor {count - 1} more host{'s' if count > 2 else ''})" if count > 1 else "" for _, count in reasons]
    return listed([f"{reason}{others}" for (reason, _), others in zip(reasons, more, strict=True)])


def _guests(fleet: Fleet, vms: npt.ArrayLike | None) -> Rows:
    """The rows asked for, every guest by default; each is a guest with memory."""
    table = fleet.vms
    if vms is None:
        rows = np.flatnonzero(table.is_guest).astype(np.int32)
    else:
        rows = distinct_rows("vms", vms, len(table))
        wrong = ~table.is_guest[rows]
        if wrong.any():
            first = rows[np.argmax(wrong)]
            raise ValueError(f"vms: VM {table.label(first)} takes no part: {_why_not(fleet, {}, first)}")
    empty = rows[table.memory_static_max[rows] <= 0]
    if len(empty):
        size = table.memory_static_max[empty[0]]
        raise ValueError(f"vms: VM {table.label(empty[0])} has no memory: memory_static_max is {size}")
    return rows


def _why_not(fleet: Fleet, still: Mapping[int, str], row: int) -> str:
    """Why a VM takes no part."""
    table = fleet.vms
    for is_so, what in (
        (table.is_a_snapshot, "a snapshot"),
        (table.is_a_template, "a template"),
        (table.is_control_domain, "a control domain"),
    ):
        if is_so[row]:
            return f"it is {what}"
    if row in still:
        return f"it stays where it is, {still[row]}"
    return "it is on no host" if whereabouts(table)[row] < 0 else "it is not among the VMs asked for"


def soft_groups(fleet: Fleet, constraints: Constraints) -> list[Rows]:
    """The groups that are kept apart as far as can be, those of spread last; equal ones once.

    Raises
    ------
    ValueError, TypeError : a row of spread is no guest
    """
    groups = [np.sort(_guests(fleet, rows)) for rows in constraints.get("spread", ())]
    groups += anti_affinity_groups(fleet) if constraints.get("vm_groups", True) else []
    return list({members.tobytes(): members for members in groups}.values())[::-1]


def anti_affinity_groups(fleet: Fleet) -> list[Rows]:
    """The guests of each VM group whose placement is anti_affinity, in ascending order."""
    members: dict[int, list[int]] = {
        group: [] for group in np.flatnonzero(fleet.vm_groups.placement == "anti_affinity").tolist()
    }
    if members:
        for vm in np.flatnonzero(fleet.vms.is_guest).tolist():
            for group in set(fleet.vms.groups[vm]) & members.keys():
                members[group].append(vm)
    return [np.array(vms, np.int32) for vms in members.values()]


class _Part(NamedTuple):
    """Who takes part, and where everybody is.

    Attributes
    ----------
    vms, hosts, vm_label, host_label, vm_pool, host_pool, stays : as in Question
    vm_at, host_at : place_in of these
    where : int32 array, the row of the host that each VM is on, -1 for none, also of those that take no part
    versions : version_classes of every host, also of those that take no part
    why_not : why a VM, by row, takes no part
    bar : as in Question
    """

    vms: Rows
    hosts: Rows
    vm_label: Callable[[int], str]
    host_label: Callable[[int], str]
    vm_at: Rows
    host_at: Rows
    where: Rows
    versions: tuple[Rows, Bools]
    vm_pool: Rows
    host_pool: Rows
    stays: dict[int, str]
    why_not: Callable[[int], str]
    bar: Callable[[int, Rows], str]

    def vm(self, name: str, row: int) -> int:
        """The place of a VM that a constraint names."""
        if not 0 <= integer(name, row) < len(self.vm_at) - 1:
            raise ValueError(f"{name}: there is no VM {row}")
        if self.vm_at[row] < 0:
            raise ValueError(f"{name}: VM {self.vm_label(row)} takes no part: {self.why_not(row)}")
        return int(self.vm_at[row])

    def host(self, name: str, row: int) -> int:
        """The place of a host that a constraint names, -1 if it takes no part."""
        if not 0 <= integer(name, row) < len(self.host_at) - 1:
            raise ValueError(f"{name}: there is no host {row}")
        return int(self.host_at[row])

    def is_satisfied(self, row: int, hosts: Iterable[int]) -> bool:
        """Whether a VM that stays where it is may be there by a constraint that names these hosts."""
        return row in self.stays and int(self.where[row]) in hosts

    @property
    def away(self) -> Rows:
        """See Question."""
        return self.where[self.vms]

    def named(self, vms: Iterable[int]) -> str:
        """VMs, by their places, in a sentence."""
        return ", ".join(self.vm_label(int(self.vms[vm])) for vm in vms)


def _question(
    part: _Part,
    need: Bytes,
    used: Bytes,
    copied: Bytes,
    free: Bytes,
    in_use: Bools,
    kinds: Kinds,
    groups: list[Rows],
    outside: list[Rows],
    constraints: Constraints,
) -> Question:
    """The Question of those who take part; groups are those of the inventory, with the hosts of members outside."""
    unknown = set(constraints) - set(Constraints.__annotations__)
    if unknown:
        raise TypeError(f"{min(unknown)}: no such constraint; there are {', '.join(Constraints.__annotations__)}")
    sizes = np.maximum(need, used)
    check_total("sizes", sizes)
    check_total("free", free)
    class_of, may_follow = part.versions
    version = class_of[part.hosts]
    version_left = np.where(part.away >= 0, class_of[part.away] if len(class_of) else -1, -1).astype(np.int32)
    special = _affinity(part, constraints)
    kind_of, masks = _kinds_of_affinity(part, special, _no_older(*kinds, version, version_left, may_follow))
    shared = [_members(part, "same_host", rows) for rows in constraints.get("same_host", ())]
    for wanted in constraints.get("together", ()):
        members = part.vm_at[distinct_rows("together", wanted, len(part.vm_at) - 1)]
        shared.append(np.unique(members[members >= 0]).astype(np.int32))
    same_host = _merged([members for members in shared if len(members)])
    _check_together(part, same_host, kind_of, masks)
    apart = [_members(part, "anti_affinity", rows) for rows in constraints.get("anti_affinity", ())]
    groups = [*groups, *apart]
    _check_apart(part, groups, same_host, special)
    taken = np.zeros((len(groups), len(part.hosts)), np.int32)
    for group, rows in enumerate(outside):
        places = part.host_at[rows]
        np.add.at(taken[group], places[places >= 0], 1)
    return Question(
        vms=part.vms,
        hosts=part.hosts,
        vm_label=part.vm_label,
        host_label=part.host_label,
        sizes=sizes,
        need=need,
        used=used,
        copied=copied,
        free=free - _headroom(constraints.get("headroom", 0), len(part.host_at) - 1)[part.hosts],
        origin=part.host_at[part.away],
        away=part.away,
        in_use=in_use,
        version=version,
        version_left=version_left,
        may_follow=may_follow,
        vm_pool=part.vm_pool,
        host_pool=part.host_pool,
        priority=_priorities(part, constraints),
        kind_of=kind_of,
        allowed=np.array(masks, dtype=np.bool_).reshape(len(masks), len(part.hosts)),
        groups=groups,
        taken=taken,
        same_host=same_host,
        stays=part.stays,
        bar=part.bar,
    )


def staying_as_used(question: Question) -> Question:
    """The same for VMs that stay where they are: those count with what they use, not with what they would ask for.

    What a VM that leaves asks for counts as given back, so that its host may be given too much: `admits` tells.
    """
    free, here = question.free.copy(), question.origin >= 0
    np.add.at(free, question.origin[here], (question.sizes - question.used)[here])
    return replace(question, free=free)


def admits(question: Question, place: NDArray[np.int64]) -> bool:
    """Whether each host has room for the VMs that come to it, beside those that stay: as they are now, it may lack it.

    Parameters
    ----------
    place : int64 array, shape (vms,), the host of each, -1 for none
    """
    stays = place == question.origin
    free = question.free.copy()
    placed = place >= 0
    np.subtract.at(free, place[placed], np.where(stays, question.used, question.sizes)[placed])
    return bool((free[place[placed & ~stays]] >= 0).all())


def free_after(question: Question, place: NDArray[np.int64]) -> Bytes:
    """Bytes that each host of the Question has left once the VMs are where `place` says: int64 array."""
    free = question.free.copy()
    placed = place >= 0
    np.subtract.at(free, place[placed], question.used[placed])
    return free


def least_free(question: Question) -> int:
    """What the fullest host has left without the VMs of the Question; 0 if there are no hosts."""
    return int(question.free.min()) if len(question.free) else 0


def misplaced(question: Question, constraints: Constraints, vms: NDArray[np.int64] | None = None) -> str | None:
    """In a sentence, which VM is now where pinned, affinity or anti_affinity do not let it be; None if none is.

    Parameters
    ----------
    vms : places of the Question to look at, by default all
    """
    everybody = np.arange(len(question.vms)) if vms is None else vms
    restricted = {*constraints.get("pinned", {}), *constraints.get("affinity", {})}
    for vm in everybody[np.isin(question.vms[everybody], list(restricted))].tolist():
        host = int(question.origin[vm])
        if not question.allowed[question.kind_of[vm], host]:
            return f"{question.vm_name(vm)} is on {question.host_name(host)}, where pinned, affinity or vcpus forbid it"
    for group in constraints.get("anti_affinity", ()):
        met: set[int] = set()
        for vm in everybody[np.isin(question.vms[everybody], list(group))].tolist():
            host = int(question.origin[vm])
            if host in met:
                name = question.vm_name(vm)
                return f"anti_affinity: {name} shares {question.host_name(host)} with a VM of its group"
            met.add(host)
    return None


def _at_home(kinds: Kinds, origin: Rows) -> Kinds:
    """VMs told apart by where they are, too, if they could not come there: nobody asks that of one that stays."""
    kind_of, masks = kinds[0].copy(), list(kinds[1])
    may = np.array(masks, np.bool_)
    if not may.size:
        return kinds
    known: dict[tuple[int, int], int] = {}
    strange = (origin >= 0) & ~may[kind_of, np.maximum(origin, 0)]
    for vm in np.flatnonzero(strange).tolist():
        key = int(kind_of[vm]), int(origin[vm])
        if key not in known:
            mask = masks[key[0]].copy()
            mask[key[1]] = True
            known[key] = len(masks)
            masks.append(mask)
        kind_of[vm] = known[key]
    return kind_of, masks


def _no_older(kind_of: Rows, masks: list[Bools], version: Rows, version_left: Rows, may_follow: Bools) -> Kinds:
    """The kinds of VMs, told apart by which hosts are too old for them, and where each kind may go."""
    if may_follow.all():
        return kind_of, masks
    kinds, told_apart = np.unique(np.column_stack([kind_of, version_left]), axis=0, return_inverse=True)
    return (
        told_apart.reshape(-1).astype(np.int32),
        [masks[kind] & may_follow[left, version] if left >= 0 else masks[kind] for kind, left in kinds.tolist()],
    )


def _kinds_of_affinity(part: _Part, special: dict[int, frozenset[int]], kinds: Kinds) -> Kinds:
    """VMs told apart by where pinned and affinity let them be, too."""
    kind_of, masks = kinds[0].copy(), list(kinds[1])
    known: dict[tuple[int | None, frozenset[int]], int] = {}
    for vm, targets in special.items():
        # a VM that may only be where it is stays there: the pool does not check again whether it may run there
        stays = part.away[vm] >= 0 and targets == {int(part.host_at[part.away[vm]])}
        key = (None if stays else int(kind_of[vm]), targets)
        if key not in known:
            mask = np.zeros(len(part.hosts), np.bool_)
            mask[list(targets)] = True
            known[key] = len(masks)
            masks.append(mask if key[0] is None else mask & masks[key[0]])
        kind_of[vm] = known[key]
    return kind_of, masks


def _affinity(part: _Part, constraints: Constraints) -> dict[int, frozenset[int]]:
    """By place, the hosts to which affinity and pinned confine a VM."""
    allowed: dict[int, frozenset[int]] = {}
    for row, targets in constraints.get("affinity", {}).items():
        places = {part.host("affinity", target) for target in targets} - {-1}
        if part.is_satisfied(row, targets):
            continue
        vm = part.vm("affinity", row)
        if not places:
            raise ValueError(f"affinity: VM {part.vm_label(row)} may be on none of the hosts that take part")
        allowed[vm] = frozenset(places)
    for row, target in constraints.get("pinned", {}).items():
        host = part.host("pinned", target)
        if part.is_satisfied(row, (target,)):
            continue
        vm = part.vm("pinned", row)
        pin = f"pinned: VM {part.vm_label(row)} cannot be pinned to host {part.host_label(target)}"
        if host < 0:
            raise ValueError(f"{pin}, which is not among the hosts that take VMs")
        if part.host_pool[host] != part.vm_pool[vm]:
            raise ValueError(f"{pin}, which is in another pool")
        if vm in allowed and host not in allowed[vm]:
            raise ValueError(f"{pin}, which its affinity excludes")
        allowed[vm] = frozenset({host})
    return allowed


def _members(part: _Part, name: str, rows: Iterable[int]) -> Rows:
    """The places of the VMs of a group, in ascending order."""
    return np.array(sorted({part.vm(name, row) for row in rows}), np.int32)


def _check_together(part: _Part, same_host: list[Rows], kind_of: Rows, masks: list[Bools]) -> None:
    """Raise ValueError if VMs that are to share a host never can."""
    for members in same_host:
        if len(np.unique(part.vm_pool[members])) > 1:
            raise ValueError(f"same_host: VMs {part.named(members)} cannot share a host: they are in different pools")
        own = [masks[kind_of[vm]] for vm in members]
        if not np.logical_and.reduce(own).any() and all(mask.any() for mask in own):
            why = "no host is allowed for all of them"
            homes = {int(mask.argmax()) for mask in own if mask.sum() == 1}
            if len(homes) > 1:
                why = (
                    f"they are pinned to {', '.join(part.host_label(int(part.hosts[home])) for home in sorted(homes))}"
                )
            raise ValueError(f"same_host: VMs {part.named(members)} cannot share a host: {why}")


def _check_apart(part: _Part, groups: list[Rows], same_host: list[Rows], special: dict[int, frozenset[int]]) -> None:
    """Raise ValueError if VMs that are to be apart are to share a host, or are confined to too few."""
    together = np.arange(len(part.vms))
    for members in same_host:
        together[members] = members[0]
    for members in groups:
        meeting = together[members]
        values, counts = np.unique(meeting, return_counts=True)
        if (counts > 1).any():
            both = members[meeting == values[np.argmax(counts > 1)]][:2]
            raise ValueError(f"anti_affinity, same_host: VMs {part.named(both)} are to be together and apart")
        restricted = [(vm, special[vm]) for vm in members.tolist() if vm in special]
        for targets in {targets for _, targets in restricted}:
            crowd = [vm for vm, own in restricted if own <= targets]
            if len(crowd) > len(targets):
                where = f"may be on {len(targets)} hosts only"
                if len(targets) == 1:
                    where = f"are pinned to host {part.host_label(int(part.hosts[min(targets)]))}"
                raise ValueError(f"anti_affinity: VMs {part.named(crowd)} are to be apart, and {where}")


def _priorities(part: _Part, constraints: Constraints) -> Bytes:
    priority = np.zeros(len(part.vms), np.int64)
    for row, value in constraints.get("priority", {}).items():
        if not -LARGEST_AMOUNT <= integer("priority", value) <= LARGEST_AMOUNT:
            raise ValueError(f"priority: {value} of VM {row} is outside {-LARGEST_AMOUNT}..{LARGEST_AMOUNT}")
        priority[part.vm("priority", row)] = value
    return priority


def _headroom(value: Any, hosts: int) -> Bytes:
    kept = np.asarray(value)
    if kept.dtype.kind not in "iu":
        raise TypeError(f"headroom: integers are needed, not {kept.dtype}")
    if kept.ndim > 0 and kept.shape != (hosts,):
        raise ValueError(f"headroom: shape {kept.shape} where there are {hosts} hosts")
    every = np.broadcast_to(kept, hosts)
    check_range("headroom", every, 0, LARGEST_AMOUNT)
    return every.astype(np.int64)


def _merged(sets: list[Rows]) -> list[Rows]:
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
    check_range(name, rows, 0, length - 1)
    ordered, first = np.unique(rows, return_index=True)
    if len(ordered) < len(rows):
        again = int(np.setdiff1d(np.arange(len(rows)), first)[0])
        raise ValueError(f"{name}: {rows[again]} at index {again} stands there twice")
    return rows
