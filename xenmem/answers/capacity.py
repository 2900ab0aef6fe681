"""How many more VMs of given shapes a pool takes while it still survives host failures, and on which hosts.

Amounts are bytes. Planning answers; here its rows become names. Only memory decides: hosts with too few CPUs for a
shape are told of, but counted all the same, unless the question is that of `fit`.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from xenmem import kernel, planning
from xenmem.answers.explain import Shape, host_obstacles, requirement
from xenmem.answers.failover import MOMENT, check_failures, counted_in, restart_pools
from xenmem.answers.fit import FitInPool, fit
from xenmem.answers.naming import (
    HOLD_POLICY,
    NOT_CHECKED,
    START_POLICY,
    Answer,
    Named,
    PoolHead,
    QuestionError,
    Result,
    identity,
    label,
    pool_head,
    written,
)
from xenmem.fleet import Fleet
from xenmem.planning.failures.capacity import Capacity
from xenmem.text import counted
from xenmem.units import format_size

TIME_LIMIT: Final = 10.0


class Wanted(NamedTuple):
    """A shape of VMs.

    Attributes
    ----------
    memory : bytes of each; all its limits are this
    vcpus : VCPUs_max of each
    proportion : how often it comes, beside the other shapes
    """

    memory: int
    vcpus: int
    proportion: int = 1


class ShapeCount(Result, frozen=True):
    """One shape in a pool.

    Attributes
    ----------
    required : what one needs to start, and then takes
    count : how many more
    """

    memory: int
    VCPUs_max: int
    proportion: int
    required: int
    count: int


class HostCapacity(Named, frozen=True):
    """A host that takes new VMs.

    Attributes
    ----------
    free, free_after : what its VMs leave, and what the new ones leave; below 0 where the host is overcommitted
    counts : new VMs of each shape
    reasons : why VMs of some shape would not start there
    """

    free: int
    count: int
    counts: list[int]
    free_after: int
    reasons: list[str]


class PoolCapacity(Result, frozen=True):
    """One pool.

    Attributes
    ----------
    count, bound : so many for certain, and not more for certain
    status : ``optimal`` if these are equal, else ``feasible``
    reason : what limits the count, in a sentence
    now : whether the pool survives the failures without any new VM: ``survives``, ``loses`` or ``unknown``
    """

    pool: PoolHead
    model: str
    count: int
    bound: int
    status: str
    reason: str
    now: str
    shapes: list[ShapeCount]
    hosts: list[HostCapacity]


class CapacityReport(Answer, frozen=True):
    """How many more VMs the pools of a fleet take.

    Attributes
    ----------
    num_failures : hosts that may fail together in each pool
    counted : which VMs are to run again then: see survival
    policy : which amount counts as the memory of a VM that is there
    count, bound : over all pools
    not_checked : what the pool checks besides before it starts a VM
    """

    num_failures: int
    counted: str
    policy: str
    domain_type: str
    HVM_shadow_multiplier: float
    count: int
    bound: int
    pools: list[PoolCapacity]
    not_checked: list[str]


def capacity(
    fleet: Fleet,
    shapes: Sequence[Wanted],
    num_failures: int = 0,
    *,
    domain_type: kernel.DomainType = kernel.DomainType.HVM,
    shadow_multiplier: float = 1.0,
    restart: str | None = None,
    policy: str | None = None,
    time_limit: float = TIME_LIMIT,
    progress: Callable[[planning.Progress], None] | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> CapacityReport:
    """How many more VMs fit such that the pool still survives any so many hosts failing together, pool by pool.

    Of one shape, and without failures, it is what `fit` answers.

    Parameters
    ----------
    shapes : one or more
    num_failures : hosts that fail; the new VMs are to run again as well as those that are counted
    domain_type, shadow_multiplier : of all shapes
    restart : as for failover
    policy : as for failover; by default HOLD_POLICY with failures, and START_POLICY without
    time_limit : seconds for each pool
    progress : as for planning.capacity
    interrupted : as for failover

    Raises
    ------
    QuestionError : a shape has no memory, no VM of the kind would start anywhere, or see failover.restart_pools
    ValueError : an amount is out of range
    """
    for wanted in shapes:
        if wanted.memory <= 0 or wanted.proportion <= 0:
            what = "memory" if wanted.memory <= 0 else "proportion"
            raise QuestionError(f"{what}: {getattr(wanted, what)} makes no VM")
    if not shapes:
        raise QuestionError("there is no shape of VMs to ask about")
    if shadow_multiplier < 1:
        raise QuestionError(f"HVM_shadow_multiplier: {shadow_multiplier:g} is below 1: such a VM does not start")
    if policy is None:
        policy = HOLD_POLICY if num_failures else START_POLICY
    pools = restart_pools(fleet, restart, policy)
    check_failures(fleet, pools, num_failures)
    counted_vms = " or ".join(dict.fromkeys(counted_in(fleet, row, restart) for row in range(len(fleet.pools))))
    if num_failures == 0 and len(shapes) == 1:
        (wanted,) = shapes
        now = fit(
            fleet,
            wanted.memory,
            wanted.vcpus,
            domain_type=domain_type,
            shadow_multiplier=shadow_multiplier,
            policy=policy,
        )
        same = [_as_fits(fleet, pool, there, wanted) for pool, there in zip(pools, now.pools, strict=True)]
        return _report(same, 0, counted_vms, policy, domain_type, shadow_multiplier)
    found = []
    for row, pool in enumerate(pools):
        model = fleet.pools.model[row]
        sizes = [
            requirement(Shape(domain_type, wanted.memory, wanted.vcpus, shadow_multiplier), wanted.memory, model).total
            for wanted in shapes
        ]
        answer = planning.capacity(
            pool,
            sizes,
            proportions=[wanted.proportion for wanted in shapes],
            num_failures=num_failures,
            time_limit=MOMENT if interrupted() else time_limit,
            progress=progress,
        )
        found.append(
            written(
                PoolCapacity,
                fleet,
                answer,
                pool=pool_head(fleet, row),
                model=model,
                now=answer.now.answer,
                shapes=[
                    ShapeCount(wanted.memory, wanted.vcpus, wanted.proportion, size, count)
                    for wanted, size, count in zip(shapes, sizes, answer.counts, strict=True)
                ],
                hosts=[
                    _there(fleet, int(host), int(free), shapes, sizes, answer)
                    for host, free in zip(pool.hosts, pool.free, strict=True)
                ],
            )
        )
    return _report(found, num_failures, counted_vms, policy, domain_type, shadow_multiplier)


def joined(parts: Sequence[CapacityReport]) -> CapacityReport:
    """What all pools take, from what some each do."""
    first = parts[0]
    return _report(
        [pool for part in parts for pool in part.pools],
        first.num_failures,
        " or ".join(dict.fromkeys(kind for part in parts for kind in part.counted.split(" or "))),
        first.policy,
        kernel.DomainType[first.domain_type.upper()],
        first.HVM_shadow_multiplier,
    )


def _as_fits(fleet: Fleet, pool: planning.RestartPool, fits: FitInPool, wanted: Wanted) -> PoolCapacity:
    """Where no host fails the question is that of `fit`, and so is the answer."""
    there = {host.ref: host for host in fits.hosts}
    hosts = []
    for row, free in zip(pool.hosts.tolist(), pool.free.tolist(), strict=True):
        host = there[fleet.hosts.ref[row]]
        hosts.append(
            HostCapacity(
                **identity(fleet.hosts, row),
                free=free,
                count=host.count,
                counts=[host.count],
                free_after=free - host.count * fits.used,
                reasons=host.reasons,
            )
        )
    return PoolCapacity(
        pool=fits.pool,
        model=fits.model,
        count=fits.count,
        bound=fits.count,
        status="optimal",
        reason="one after the other, on each host what it has free",
        now="survives",
        shapes=[ShapeCount(wanted.memory, wanted.vcpus, wanted.proportion, fits.required, fits.count)],
        hosts=hosts,
    )


def _report(
    found: list[PoolCapacity],
    num_failures: int,
    counted_vms: str,
    policy: str,
    domain_type: kernel.DomainType,
    shadow_multiplier: float,
) -> CapacityReport:
    count, bound = sum(pool.count for pool in found), sum(pool.bound for pool in found)
    kind = "" if domain_type == kernel.DomainType.HVM else f"{domain_type.name.lower()} "
    shapes = found[0].shapes if found else []
    one = f" of {format_size(shapes[0].memory)} and {counted(shapes[0].VCPUs_max, 'vCPU')}" if len(shapes) == 1 else ""
    noun = counted(count, f"more {kind}VM") if count else f"No {kind}VM"
    fit_text = f"{'fits' if count < 2 else 'fit'}{_surviving(num_failures)}"
    under = f"counted as {policy}"
    lost = [pool for pool in found if pool.now == "loses"]
    if count == 0 and lost:
        why = f": {label(lost[0].pool)} does not survive that as it is"
    else:
        why = "" if bound == count else f", and no more than {bound}"
    return CapacityReport(
        verdict=f"{noun}{one} {fit_text}{why} ({under}).",
        outcome="yes" if count else "no" if bound == 0 else "unknown",
        num_failures=num_failures,
        counted=counted_vms,
        policy=policy,
        domain_type=domain_type.name.lower(),
        HVM_shadow_multiplier=shadow_multiplier,
        count=count,
        bound=bound,
        pools=found,
        not_checked=list(NOT_CHECKED),
    )


def _surviving(num_failures: int) -> str:
    return f" such that any {counted(num_failures, 'host')} may fail" if num_failures else ""


def _there(
    fleet: Fleet, host: int, free: int, shapes: Sequence[Wanted], sizes: Sequence[int], answer: Capacity
) -> HostCapacity:
    counts = np.bincount(answer.shape[answer.host == host], minlength=len(sizes)).tolist()
    reasons = [reason for vcpus in sorted({s.vcpus for s in shapes}) for reason in host_obstacles(fleet, host, vcpus)]
    return HostCapacity(
        **identity(fleet.hosts, host),
        free=free,
        count=sum(counts),
        counts=counts,
        free_after=free - sum(count * size for count, size in zip(counts, sizes, strict=True)),
        reasons=list(dict.fromkeys(reasons)),
    )
