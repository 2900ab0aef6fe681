"""Where one VM would start: on which hosts it can, which of them the pool would take, and which leaves the most room.

Amounts are bytes. The pool's choice is planning.xapi's.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from xenmem import planning
from xenmem.answers import script
from xenmem.answers.explain import (
    AT_START,
    host_fits,
    host_obstacles,
    requirement,
    shape_of,
    vm_obstacles,
)
from xenmem.answers.naming import (
    Answer,
    Named,
    PoolHead,
    QuestionError,
    at_hosts,
    identity,
    known_totals,
    label,
    listed,
    name_of,
    pool_head,
    untold,
)
from xenmem.answers.report import kind_of
from xenmem.fleet import Fleet, PowerState
from xenmem.planning.xapi.placement import Candidates, chances, host_candidates
from xenmem.rules.start import start_policy
from xenmem.text import counted


class _Draw(NamedTuple):
    """Rank, value and chance of a host from which the pool may draw."""

    rank: int | None = None
    value: int | None = None
    chance: float | None = 0.0


class PossibleHost(Named, frozen=True):
    """One host, as a place for the VM.

    Attributes
    ----------
    fits : the VM can start there now; None where that is not known
    reasons : why not, the first that xapi would find
    not_known : what the inventory does not tell of it; empty if nothing
    available, required : free memory that counts for the start, and what the start asks for
    free_after : what would be free under the policy then; below 0 where the host is overcommitted
    rank : among the hosts from which the pool draws, 1 being the best; None for the others
    value : by which they are ranked: bytes of slack, or per mille of the range of ballooning that remains
    chance : that the pool takes this host; None where too many hosts of the rank cannot take the VM
    """

    fits: bool | None
    reasons: list[str]
    not_known: str
    available: int
    required: int
    free_after: int | None
    rank: int | None
    value: int | None
    chance: float | None


class Placement(Answer, frozen=True):
    """Where a VM would start.

    Attributes
    ----------
    operation : start, or resume for a suspended VM
    policy : under which free_after counts
    obstacles : why it would start nowhere
    category : of hosts, from which the pool draws: ``affinity``, ``definite``, ``probable`` or ``possible``; empty if
        it would find none
    memory_checked : the pool draws after its memory check; if no host passed it, it draws without
    most_room : the host that has most free afterwards; None if the VM starts nowhere
    chosen : the host that a script takes: the one asked for, else most_room
    not_checked : what xapi checks besides
    """

    pool: PoolHead
    ref: str
    uuid: str
    name_label: str
    power_state: str
    operation: str
    policy: str
    obstacles: list[str]
    category: str
    memory_checked: bool
    most_room: Named | None
    chosen: Named | None
    hosts: list[PossibleHost]
    not_checked: list[str]


def place(fleet: Fleet, vm: int, *, host: int | None = None, policy: str = "dynamic_min") -> Placement:
    """Where a VM would start now.

    Parameters
    ----------
    vm : row of a VM that is halted or suspended
    host : row of the host that a script is to take; by default the one that leaves the most room
    policy : what counts as free afterwards

    Raises
    ------
    QuestionError : the VM is no guest, or runs; or it cannot start on the host
    """
    vms = fleet.vms
    kind = kind_of(fleet, vm)
    if kind != "guest":
        raise QuestionError(f"VM {fleet.vms.label(vm)} is a {kind.replace('_', ' ')}: it does not start")
    operation = {PowerState.HALTED: "start", PowerState.SUSPENDED: "resume"}.get(vms.power_state[vm])
    if operation is None:
        state = PowerState(vms.power_state[vm]).name.capitalize()
        raise QuestionError(f"VM {fleet.vms.label(vm)} is {state}: it is on a host already")
    if operation == "start":
        fleet = _with_fresh_overhead(fleet, vm)
    pool = int(vms.pool[vm])
    required = requirement(
        shape_of(fleet, vm),
        int(fleet.amount(start_policy(int(vms.accounted_domain_type[vm])))[vm]),
        fleet.pools.model[pool],
    ).total
    obstacles = vm_obstacles(fleet, vm)
    candidates = None if obstacles else _candidates(fleet, vm)
    drawn = _drawn(candidates)
    uses = fleet.amount(policy) + fleet.vms.memory_overhead
    free = fleet.hosts.available - at_hosts(fleet, uses) - uses[vm]
    rows = np.flatnonzero(fleet.hosts.pool == pool).tolist()
    hosts = [
        PossibleHost(
            **identity(fleet.hosts, row),
            fits=fit.fits,
            reasons=fit.reasons[:1],
            not_known=fit.not_known,
            available=fit.available,
            required=fit.required,
            free_after=int(free[row]) if known_totals(fleet)[row] else None,
            rank=draw.rank,
            value=draw.value,
            chance=draw.chance,
        )
        for row, fit in zip(rows, host_fits(fleet, vm, required, bool(obstacles)), strict=True)
        for draw in [drawn.get(row, _Draw())]
    ]
    able = [there for there in hosts if there.fits] or [there for there in hosts if there.fits is None]
    best = max(able, key=lambda there: there.free_after or 0, default=None)
    most_room = None if best is None else name_of(best)
    chosen = most_room
    if host is not None:
        chosen = _chosen(fleet, vm, host, hosts[rows.index(host)] if host in rows else None, obstacles)
    return Placement(
        verdict=_verdict(fleet.vms.label(vm), operation, hosts, obstacles, most_room),
        outcome="yes" if able else "no",
        pool=pool_head(fleet, pool),
        **identity(vms, vm),
        power_state=PowerState(vms.power_state[vm]).name.capitalize(),
        operation=operation,
        policy=policy,
        obstacles=obstacles,
        category=candidates.category if candidates else "",
        memory_checked=candidates.with_memory if candidates else True,
        most_room=most_room,
        chosen=chosen,
        hosts=hosts,
        not_checked=[*untold(fleet, [vm]), *AT_START],
    )


def _verdict(
    name: str, operation: str, hosts: Sequence[PossibleHost], obstacles: Sequence[str], most_room: Named | None
) -> str:
    able, unknown = (sum(there.fits is fit for there in hosts) for fit in (True, None))
    if most_room is None:
        why = obstacles or [f"{label(there)}: {reason}" for there in hosts for reason in there.reasons]
        return f"VM {name} can {operation} nowhere: {listed(why)}."
    where = f"{able} of {counted(len(hosts), 'host')}{f', and of {unknown} it is not known' if unknown else ''}"
    return f"VM {name} can {operation} on {where}; {label(most_room)} leaves the most room."


def actions(result: Placement) -> list[script.Action]:
    """The start of the VM on the chosen host.

    Raises
    ------
    QuestionError : it starts nowhere, or VM or host has no uuid
    """
    if result.chosen is None:
        raise QuestionError(f"VM {label(result)} starts nowhere: there is nothing to write")
    vm = name_of(result)
    return [(script.start if result.operation == "start" else script.resume)(vm, result.chosen)]


def heading(result: Placement) -> list[str]:
    """What a script says of the placement that it carries out."""
    where = "" if result.chosen is None else f" on {label(result.chosen)}"
    return [f"{result.operation.capitalize()} VM {label(result)}{where}. {label(result.pool)}, {result.pool.source}."]


def _with_fresh_overhead(fleet: Fleet, vm: int) -> Fleet:
    """As VM.start leaves it before it looks for a host: the VM's overhead recomputed (planning.md, 7.4)."""
    overhead = fleet.vms.memory_overhead.copy()
    overhead[vm] = fleet.overhead()[vm]
    return fleet.replace(vms=replace(fleet.vms, memory_overhead=overhead))


def _candidates(fleet: Fleet, vm: int) -> Candidates | None:
    """The hosts from which the pool draws; None if it would answer NO_HOSTS_AVAILABLE."""

    def can_boot(vm: int, host: int) -> bool:
        unrestricted = bool(fleet.vms.vcpu_unrestricted[vm])
        obstacles = host_obstacles(fleet, host, int(fleet.vms.VCPUs_max[vm]), vcpu_unrestricted=unrestricted)
        return not obstacles and not fleet.mobility.of(vm).reason(vm, host)

    try:
        return host_candidates(fleet, vm, can_boot=can_boot)
    except planning.xapi.PlanningError:
        return None


def _drawn(candidates: Candidates | None) -> dict[int, _Draw]:
    """The hosts from which the pool draws, by row."""
    if candidates is None:
        return {}
    probable: Sequence[float | None] = chances(candidates.is_valid) or [None] * len(candidates.hosts)
    ranked = zip(candidates.hosts, candidates.values, probable, strict=True)
    return {row: _Draw(rank, value, chance) for rank, (row, value, chance) in enumerate(ranked, 1)}


def _chosen(fleet: Fleet, vm: int, host: int, there: PossibleHost | None, obstacles: list[str]) -> Named:
    name = f"VM {fleet.vms.label(vm)} does not start on host {fleet.hosts.label(host)}"
    if there is None:
        raise QuestionError(f"{name}, which is in another pool")
    if there.fits is False:
        raise QuestionError(f"{name}: {(there.reasons or obstacles)[0]}")
    return name_of(there)
