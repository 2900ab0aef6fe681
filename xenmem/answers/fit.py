"""How large a VM can be, and how many more of a size fit: on each host, and in all.

Amounts are bytes. Rules of the memory check: docs/reference/planning.md, 1. Every answer holds for one VM after the
other, each with its stored overhead counted once it is there.
"""

from collections.abc import Sequence

import numpy as np

from xenmem import kernel
from xenmem.answers.explain import Shape, host_obstacles, requirement, shape_of
from xenmem.answers.naming import Named, PoolHead, QuestionError, Result, free_without, identity, labels, pool_head
from xenmem.fleet import Fleet


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


class Maximum(Result, frozen=True):
    """The largest memory_static_max that a VM can have.

    Attributes
    ----------
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
        dynamic_min, as it is now: a VM's own memory counts as used on the host it is resident on
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
    totals = free_without(fleet, vm)[rows] if total is None else np.array([total])
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
    return Maximum(
        pool=pool_head(fleet, pool),
        **identity(fleet.vms, vm),
        model=name,
        domain_type=kernel.DomainType(shape.domain_type).name.lower(),
        VCPUs_max=shape.vcpus_max,
        HVM_shadow_multiplier=shape.shadow_multiplier,
        approximate=approximate,
        hosts=there,
    )


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
    free : bytes now, under dynamic_min
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


class Fit(Result, frozen=True):
    """How many more VMs of a size fit.

    Attributes
    ----------
    count : how many more fit in all
    wanted, placed : how many were asked for, and how many of these fit; None if no number was wanted
    fits : whether all that were asked for fit; whether one fits, if no number was
    """

    memory: int
    VCPUs_max: int
    domain_type: str
    HVM_shadow_multiplier: float
    count: int
    wanted: int | None
    placed: int | None
    fits: bool
    pools: list[FitInPool]


def fit(
    fleet: Fleet,
    memory: int,
    vcpus: int,
    *,
    domain_type: kernel.DomainType = kernel.DomainType.HVM,
    shadow_multiplier: float = 1.0,
    vcpu_unrestricted: bool = False,
    count: int | None = None,
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
    model : name of the kernel model; by default each pool's own

    Raises
    ------
    ValueError : an amount is out of range, or the model does not exist
    QuestionError : no VM of the size would start anywhere
    """
    shape = Shape(domain_type, memory, vcpus, shadow_multiplier)
    free: list[int] = fleet.free_memory("dynamic_min").tolist()
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
    return Fit(
        memory=memory,
        VCPUs_max=vcpus,
        domain_type=domain_type.name.lower(),
        HVM_shadow_multiplier=shadow_multiplier,
        count=sum(room),
        wanted=count,
        placed=None if placed is None else sum(placed),
        fits=sum(room) >= (1 if count is None else count),
        pools=pools,
    )


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
