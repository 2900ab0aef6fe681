"""How large a VM can be, and how many more of a size fit: on each host, and in all.

Amounts are bytes. Rules of the memory check: docs/reference/planning.md, 1. Every answer holds for one VM after the
other, each with its stored overhead counted once it is there.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from xenmem import kernel
from xenmem.answers import caveats
from xenmem.answers.explain import Shape, host_obstacles, requirement, shape_of
from xenmem.answers.naming import (
    START_POLICY,
    Answer,
    Named,
    PoolHead,
    QuestionError,
    Result,
    at_hosts,
    free_without,
    identity,
    known_totals,
    label,
    labels,
    listed,
    named,
    pool_head,
)
from xenmem.columns import Bytes
from xenmem.fleet import Fleet
from xenmem.text import counted
from xenmem.units import format_size


class MaximumThere(Named, frozen=True):
    """The largest memory_static_max for an amount of memory.

    Attributes
    ----------
    ref, uuid, name_label : the host whose free memory it is; empty for an amount given
    total : bytes to be filled
    memory_static_max : bytes, whole MiB; 0 where nothing fits
    required : what the VM needs to start with that, with its own number of vCPUs
    spare : total - required; negative where the answer does not fit
    reasons : why the VM would not start on the host, however small
    """

    total: int
    memory_static_max: int
    required: int
    spare: int
    reasons: list[str]


class Maximum(Answer, frozen=True):
    """The largest memory_static_max that a VM can have.

    Attributes
    ----------
    resident_on : where it is now
    memory_static_max : what it has now
    approximate : the answer takes 64 vCPUs for the VM's own
    hosts : one entry for each host asked about, or one for the amount given
    """

    pool: PoolHead
    ref: str
    uuid: str
    name_label: str
    model: str
    domain_type: str
    VCPUs_max: int
    HVM_shadow_multiplier: float
    resident_on: Named | None
    memory_static_max: int
    approximate: bool
    hosts: list[MaximumThere]


def maximise(
    fleet: Fleet,
    vm: int,
    *,
    host: int | None = None,
    total: int | None = None,
    approximate: bool = False,
    model: str | None = None,
) -> Maximum:
    """The largest memory_static_max with which a VM still starts: what ``VM.maximise_memory`` answers.

    Parameters
    ----------
    vm : row of the VM
    host : row of the one host to fill; by default each host of the VM's pool. Filled is the free memory under
        dynamic_min, and what the VM itself uses where it is resident: it gets the new memory with a restart
    total : bytes to fill instead
    approximate : take 64 vCPUs, as the message does to leave room for more of them
    model : name of the kernel model; by default the pool's own

    Raises
    ------
    QuestionError : both host and total are given, the host is of another pool, or there are no hosts
    ValueError : the total is out of range, or the model does not exist
    """
    pool = int(fleet.vms.pool[vm])
    name = fleet.pools.model[pool] if model is None else model
    shape = shape_of(fleet, vm)
    rows = _rows_to_fill(fleet, pool, host, total)
    totals = _free_beside(fleet, vm)[rows] if total is None else np.array([total])
    largest = kernel.maximise_memory(
        shape.domain_type, shape.vcpus_max, shape.shadow_multiplier, totals, approximate=approximate, model=name
    )
    unrestricted = bool(fleet.vms.vcpu_unrestricted[vm])
    there = []
    for number, (amount, static_max) in enumerate(zip(totals.tolist(), largest.tolist(), strict=True)):
        required = requirement(shape._replace(static_max=static_max), static_max, name).total
        names = identity(fleet.hosts, rows[number]) if rows else dict.fromkeys(("ref", "uuid", "name_label"), "")
        reasons = host_obstacles(fleet, rows[number], shape.vcpus_max, vcpu_unrestricted=unrestricted) if rows else []
        there.append(
            MaximumThere(
                **names,
                total=amount,
                memory_static_max=static_max,
                required=required,
                spare=amount - required,
                reasons=reasons,
            )
        )
    home = int(fleet.vms.resident_on[vm])
    able = [one for one in there if one.memory_static_max and one.spare >= 0 and not one.reasons]
    return Maximum(
        verdict=_verdict_of_maximum(fleet, vm, able, total),
        outcome="yes" if able else "no",
        pool=pool_head(fleet, pool),
        **identity(fleet.vms, vm),
        model=name,
        domain_type=kernel.DomainType(shape.domain_type).name.lower(),
        VCPUs_max=shape.vcpus_max,
        HVM_shadow_multiplier=shape.shadow_multiplier,
        resident_on=named(fleet.hosts, home),
        memory_static_max=int(fleet.vms.memory_static_max[vm]),
        approximate=approximate,
        hosts=there,
    )


def _free_beside(fleet: Fleet, vm: int) -> Bytes:
    """Free memory of each host without the VM, wherever it is."""
    home = int(fleet.vms.resident_on[vm])
    free = free_without(fleet, vm)
    if home < 0 or not known_totals(fleet)[home]:
        return free
    used = fleet.amount("dynamic_min") + fleet.vms.memory_overhead
    others = at_hosts(fleet, used)[home] - used[vm] * (1 + int(fleet.vms.scheduled_to_be_resident_on[vm] == home))
    free[home] = max(0, int(fleet.hosts.available[home] - others))
    return free


def _verdict_of_maximum(fleet: Fleet, vm: int, able: Sequence[MaximumThere], total: int | None) -> str:
    name = fleet.vms.label(vm)
    if not able:
        where = "on any of these hosts" if total is None else f"within {format_size(total)}"
        return f"VM {name} does not start {where}, however small."
    if total is not None:
        return f"VM {name} can have {format_size(able[0].memory_static_max)} within {format_size(total)}."
    best = max(able, key=lambda one: one.memory_static_max)
    text = f"VM {name} can have at most {format_size(best.memory_static_max)}, on {label(best)}"
    home = int(fleet.vms.resident_on[vm])
    here = [one for one in able if home >= 0 and one.ref == fleet.hosts.ref[home]]
    if home >= 0 and best not in here:
        most = format_size(here[0].memory_static_max) if here else "nothing"
        text += f"; {most} on {fleet.hosts.label(home)}, where it is"
    return f"{text}; it has {format_size(int(fleet.vms.memory_static_max[vm]))} now."


def _rows_to_fill(fleet: Fleet, pool: int, host: int | None, total: int | None) -> list[int]:
    if host is not None and total is not None:
        raise QuestionError("a host and a total exclude each other")
    if total is not None:
        return []
    if host is not None:
        if fleet.hosts.pool[host] != pool:
            raise QuestionError(f"host {labels(fleet.hosts, [host])} is not of the VM's pool")
        return [host]
    rows: list[int] = np.flatnonzero(fleet.hosts.pool == pool).tolist()
    if not rows:
        raise QuestionError("the inventory has no hosts: give a total")
    return rows


class FitThere(Named, frozen=True):
    """How many more VMs of the size fit on a host.

    Attributes
    ----------
    free : bytes now, under the policy; what the control domains and VMs there leave
    count : how many more fit there
    placed : how many of those wanted go there; None if no number was wanted
    free_after : bytes once these, or else all that fit, are there
    reasons : why none starts there, memory aside
    """

    free: int
    count: int
    placed: int | None
    free_after: int
    reasons: list[str]


class FitInPool(Result, frozen=True):
    """The hosts of a pool, and what one such VM takes there.

    Attributes
    ----------
    required : bytes a host must have free for one to start
    used : bytes that one takes once it is there
    """

    pool: PoolHead
    model: str
    required: int
    used: int
    hosts: list[FitThere]
    count: int


class Fit(Answer, frozen=True):
    """How many more VMs of a size fit.

    Attributes
    ----------
    policy : what counts as the memory of the VMs that are there
    count : how many more fit in all
    wanted, placed : how many were asked for, and how many of these fit; None if no number was wanted
    fits : whether all that were asked for fit; whether one fits, if no number was
    caveats : what makes the free memory doubtful
    """

    policy: str
    memory: int
    VCPUs_max: int
    domain_type: str
    HVM_shadow_multiplier: float
    count: int
    wanted: int | None
    placed: int | None
    fits: bool
    pools: list[FitInPool]
    caveats: list[str]


def fit(
    fleet: Fleet,
    memory: int,
    vcpus: int,
    *,
    domain_type: kernel.DomainType = kernel.DomainType.HVM,
    shadow_multiplier: float = 1.0,
    vcpu_unrestricted: bool = False,
    count: int | None = None,
    policy: str = START_POLICY,
    model: str | None = None,
) -> Fit:
    """How many more VMs of a size fit on each enabled, live host, one started after the other.

    Parameters
    ----------
    memory : bytes of each; all its limits are this
    vcpus : VCPUs_max of each
    vcpu_unrestricted : platform:vcpu-unrestricted of each: hosts of fewer CPUs will do
    count : how many are wanted: each goes to the host with most free memory, the first in the inventory among equals,
        so that free memory is levelled as xapi does
    policy : what counts as the memory of the VMs that are there
    model : name of the kernel model; by default each pool's own

    Raises
    ------
    ValueError : an amount is out of range, or the model does not exist
    QuestionError : no VM of the size would start anywhere
    """
    shape = Shape(domain_type, memory, vcpus, shadow_multiplier)
    free: list[int] = fleet.free_memory(policy).tolist()
    models = [pool_model if model is None else model for pool_model in fleet.pools.model]
    required = [requirement(shape, memory, name).total for name in models]
    if memory == 0:
        raise QuestionError("memory: 0 bytes make no VM")
    if shadow_multiplier < 1:
        raise QuestionError(f"HVM_shadow_multiplier: {shadow_multiplier:g} is below 1: such a VM does not start")
    used = [memory + int(kernel.overhead(*shape, model=name)) for name in models]
    pool_of: list[int] = fleet.hosts.pool.tolist()
    reasons = [host_obstacles(fleet, row, vcpus, vcpu_unrestricted=vcpu_unrestricted) for row in range(len(free))]
    room = [
        0 if why or there < required[pool] else 1 + (there - required[pool]) // used[pool]
        for there, pool, why in zip(free, pool_of, reasons, strict=True)
    ]
    placed = None if count is None else levelled(free, [used[pool] for pool in pool_of], room, count)
    there = [
        FitThere(
            **identity(fleet.hosts, row),
            free=free[row],
            count=room[row],
            placed=None if placed is None else placed[row],
            free_after=max(0, free[row] - used[pool_of[row]] * (room if placed is None else placed)[row]),
            reasons=reasons[row],
        )
        for row in range(len(free))
    ]
    pools = []
    for pool, name in enumerate(models):
        hosts = [host for host, of in zip(there, pool_of, strict=True) if of == pool]
        pools.append(
            FitInPool(
                pool=pool_head(fleet, pool),
                model=name,
                required=required[pool],
                used=used[pool],
                hosts=hosts,
                count=sum(host.count for host in hosts),
            )
        )
    fits = sum(room) >= (1 if count is None else count)
    result = Fit(
        verdict="",
        outcome="yes" if fits else "no",
        policy=policy,
        memory=memory,
        VCPUs_max=vcpus,
        domain_type=domain_type.name.lower(),
        HVM_shadow_multiplier=shadow_multiplier,
        count=sum(room),
        wanted=count,
        placed=None if placed is None else sum(placed),
        fits=fits,
        pools=pools,
        caveats=caveats.of_hosts(fleet, np.arange(len(fleet.hosts))),
    )
    return msgspec.structs.replace(result, verdict=_verdict(result))


def _verdict(result: Fit) -> str:
    kind = "" if result.domain_type == "hvm" else f"{result.domain_type} "
    size = f"of {format_size(result.memory)} and {counted(result.VCPUs_max, 'vCPU')}"
    hosts = [host for pool in result.pools for host in pool.hosts]
    taking = [
        (number, f"{number} on {label(host)}")
        for host in hosts
        for number in [host.count if result.placed is None else host.placed or 0]
        if number
    ]
    if len(result.pools) > 1:
        by_pool = [
            (sum(host.count if result.placed is None else host.placed or 0 for host in pool.hosts), pool.pool)
            for pool in result.pools
        ]
        taking = [(number, f"{number} in {label(pool)}") for number, pool in by_pool if number]
    where = listed([text for _, text in sorted(taking, key=lambda one: -one[0])])
    under = f"counted as {result.policy}"
    if result.count == 0:
        able = [host for host in hosts if not host.reasons]
        most = max(able, key=lambda host: host.free, default=None)
        found = f"the most free is {format_size(most.free)}, on {label(most)}" if most else "no host takes VMs"
        required = min((pool.required for pool in result.pools), default=0)
        return f"No {kind}VM {size} fits: it needs {format_size(required)}, and {found} ({under})."
    if result.wanted is None:
        fit = "fits" if result.count == 1 else "fit"
        return f"{counted(result.count, f'more {kind}VM')} {size} {fit}: {where} ({under})."
    if result.fits:
        all_ = "The VM" if result.wanted == 1 else f"All {result.wanted} {kind}VMs"
        return f"{all_} {size} {'fits' if result.wanted == 1 else 'fit'}: {where} ({under})."
    return f"Only {result.placed} of {result.wanted} {kind}VMs {size} fit: {where} ({under})."


def levelled(free: Sequence[int], used: Sequence[int], room: Sequence[int], count: int) -> list[int]:
    """How many of ``count`` equal VMs go to each host when each in turn goes to the one with most free memory.

    Parameters
    ----------
    free, used, room : per host: bytes free, bytes that a VM takes there (> 0), and how many fit at most

    Notes
    -----
    The k-th VM on a host finds ``free - (k - 1) * used`` bytes there, so the walk takes the ``count`` largest of these
    numbers over all hosts. A bisection finds the smallest that is taken; among equals the first host comes first.
    """
    hosts = range(len(free))

    def taken_above(level: int) -> list[int]:
        return [min(room[h], max(0, -(-(free[h] - level) // used[h]))) for h in hosts]

    low, high = -1, max(free, default=0)  # all that fit are above low; fewer than count, or none, are above high
    while high - low > 1:
        middle = (low + high) // 2
        if sum(taken_above(middle)) >= count:
            low = middle
        else:
            high = middle
    placed = taken_above(high)
    for h in hosts:
        if sum(placed) < count and placed[h] < room[h] and free[h] - placed[h] * used[h] == high:
            placed[h] += 1
    return placed
