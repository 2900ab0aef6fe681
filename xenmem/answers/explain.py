"""One VM's memory piece by piece, and on which hosts it could start now.

Amounts are bytes. The pieces are differences between what the kernel computes with a model and with parts of it set to
zero, so that no formula is written again here.
"""

from typing import Final, NamedTuple

import numpy as np

from xenmem import kernel
from xenmem.answers import caveats
from xenmem.answers.naming import (
    Answer,
    Named,
    PoolHead,
    Result,
    free_without,
    identity,
    known_totals,
    named,
    pool_head,
    untold,
)
from xenmem.answers.report import kind_of
from xenmem.fleet import POLICIES, Fleet, PowerState
from xenmem.rules.mobility.matrix import Step
from xenmem.rules.start import start_policy
from xenmem.text import counted
from xenmem.units import MIB, format_size

AT_START: Final = ("licences", "HA plan")
"""What xapi checks before a VM starts, and no answer looks at."""

_NONE: Final = (0, 0, 0, 0)


class Shadow(Result, frozen=True):
    """Shadow memory: pages of 4096 bytes, filled up to whole MiB, times the VM's multiplier.

    Attributes
    ----------
    unscaled : bytes of the pages in whole MiB
    memory : bytes, after the multiplier
    """

    vcpu_pages: int
    p2m_pages: int
    resident_pages: int
    unscaled: int
    HVM_shadow_multiplier: float
    memory: int


class Pieces(Result, frozen=True):
    """The overhead as a model computes it; the amounts add up to ``total``.

    Attributes
    ----------
    xen_vcpu_pages, xen_vcpu : hypervisor structures of the vCPUs beside the shadow
    shim : hypervisor inside a pv_in_pvh domain
    extra_internal, extra_external : fixed, inside and outside the domain's own limit
    """

    model: str
    shadow: Shadow
    xen_vcpu_pages: int
    xen_vcpu: int
    shim: int
    extra_internal: int
    extra_external: int
    total: int


class Requirement(Result, frozen=True):
    """What the VM needs to start with the amount that a policy names; ``total`` is normal and shadow together."""

    target: int
    normal: int
    shadow: int
    total: int


class Requirements(Result, frozen=True):
    """By policy."""

    static_max: Requirement
    dynamic_max: Requirement
    dynamic_min: Requirement


class HostFit(Named, frozen=True):
    """Whether the VM could start on a host.

    Attributes
    ----------
    required, available : bytes; spare is their difference, negative where memory lacks
    fits : None where that is not known
    reasons : why it could not; empty if it could
    not_known : what the inventory does not tell of it; empty if nothing
    """

    enabled: bool
    live: bool
    required: int
    available: int
    spare: int
    fits: bool | None
    reasons: list[str]
    not_known: str


class Explanation(Answer, frozen=True):
    """One VM.

    Attributes
    ----------
    memory_static_max, VCPUs_max, HVM_shadow_multiplier, domain_type : what the server computes with
    video_ram : bytes, part of the domain's own memory
    memory_overhead : as stored
    stored_overhead_model : which model that belongs to; empty if none
    boot_policy : which requirement decides whether the VM fits on a host
    operation : what the question about the hosts is: start, resume or migrate
    obstacles : why it would start nowhere
    not_checked : what xapi checks besides
    caveats : what makes the free memory doubtful
    """

    pool: PoolHead
    ref: str
    uuid: str
    name_label: str
    kind: str
    power_state: str
    domain_type: str
    resident_on: Named | None
    VCPUs_max: int
    HVM_shadow_multiplier: float
    memory_static_max: int
    memory_dynamic_max: int
    memory_dynamic_min: int
    memory_static_min: int
    video_ram: int
    memory_overhead: int
    stored_overhead_model: str
    overhead: Pieces
    required: Requirements
    boot_policy: str
    operation: str
    obstacles: list[str]
    hosts: list[HostFit]
    not_checked: list[str]
    caveats: list[str]


class Shape(NamedTuple):
    """What the kernel must know of a VM, beside the amount it is to be given."""

    domain_type: int
    static_max: int
    vcpus_max: int
    shadow_multiplier: float


def shape_of(fleet: Fleet, vm: int) -> Shape:
    """What the server computes with for a VM."""
    vms = fleet.vms
    return Shape(
        int(vms.accounted_domain_type[vm]),
        int(vms.accounted_static_max[vm]),
        int(vms.accounted_VCPUs_max[vm]),
        float(vms.accounted_shadow_multiplier[vm]),
    )


def requirement(shape: Shape, target: int, model: str) -> Requirement:
    """What a VM needs to start with ``target`` bytes."""
    domain_type, static_max, vcpus_max, shadow_multiplier = shape
    parts = kernel.required_memory(domain_type, static_max, target, vcpus_max, shadow_multiplier, model=model)
    normal, shadow = (int(part) for part in parts)
    return Requirement(target=target, normal=normal, shadow=shadow, total=normal + shadow)


def pieces(shape: Shape, model: str) -> Pieces:
    """The overhead of a VM, taken apart."""
    domain_type, static_max, vcpus_max, multiplier = shape
    whole = kernel.MODELS[model]
    only_shadow = whole._replace(
        xen_pages_per_vcpu=0,
        extra_internal_mib=_NONE,
        extra_external_mib=_NONE,
        shim_base_mib=_NONE,
        shim_divisor=_NONE,
    )

    def overhead(constants: kernel.OverheadModel, shadow_multiplier: float = multiplier) -> int:
        return int(kernel.overhead(domain_type, static_max, vcpus_max, shadow_multiplier, model=constants))

    shadow = overhead(only_shadow)
    static_max_mib = -(-static_max // MIB)
    return Pieces(
        model=model,
        shadow=Shadow(
            vcpu_pages=whole.vcpu_shadow_pages * vcpus_max,
            p2m_pages=whole.p2m_pages_per_mib * static_max_mib,
            resident_pages=whole.resident_pages_per_mib * static_max_mib,
            unscaled=overhead(only_shadow, 1.0),
            HVM_shadow_multiplier=multiplier,
            memory=shadow,
        ),
        xen_vcpu_pages=whole.xen_pages_per_vcpu * vcpus_max,
        xen_vcpu=overhead(only_shadow._replace(xen_pages_per_vcpu=whole.xen_pages_per_vcpu)) - shadow,
        shim=overhead(only_shadow._replace(shim_base_mib=whole.shim_base_mib, shim_divisor=whole.shim_divisor))
        - shadow,
        extra_internal=overhead(only_shadow._replace(extra_internal_mib=whole.extra_internal_mib)) - shadow,
        extra_external=overhead(only_shadow._replace(extra_external_mib=whole.extra_external_mib)) - shadow,
        total=overhead(whole),
    )


def explain(fleet: Fleet, vm: int, *, model: str | None = None) -> Explanation:
    """One VM's memory, and where it could start now.

    Parameters
    ----------
    vm : row of the VM; see ``find_vm``
    model : name of the kernel model; by default the pool's own

    Raises
    ------
    ValueError : the model does not exist
    """
    vms = fleet.vms
    pool = int(vms.pool[vm])
    name = fleet.pools.model[pool] if model is None else model
    shape = shape_of(fleet, vm)
    overhead = pieces(shape, name)
    required = Requirements(**{policy: requirement(shape, int(fleet.amount(policy)[vm]), name) for policy in POLICIES})
    policy = start_policy(int(vms.accounted_domain_type[vm]))
    obstacles = vm_obstacles(fleet, vm)
    stored = int(vms.memory_overhead[vm])
    operation = {PowerState.HALTED: "start", PowerState.SUSPENDED: "resume"}.get(vms.power_state[vm], "migrate")
    fits = host_fits(fleet, vm, getattr(required, policy).total, bool(obstacles))
    able, unknown = (sum(there.fits is fit for there in fits) for fit in (True, None))
    return Explanation(
        verdict=(
            f"VM {vms.label(vm)} takes {format_size(shape.static_max + overhead.total)}, "
            f"{format_size(overhead.total)} of it overhead; it could {operation} "
            f"{'to' if operation == 'migrate' else 'on'} {able} of {counted(len(fits), 'host')}"
            f"{f', and of {unknown} it is not known' if unknown else ''}."
        ),
        outcome="yes",
        pool=pool_head(fleet, pool),
        **identity(vms, vm),
        kind=kind_of(fleet, vm),
        power_state=PowerState(vms.power_state[vm]).name.capitalize(),
        domain_type=kernel.DomainType(shape.domain_type).name.lower(),
        resident_on=named(fleet.hosts, int(vms.resident_on[vm])),
        VCPUs_max=shape.vcpus_max,
        HVM_shadow_multiplier=shape.shadow_multiplier,
        memory_static_max=shape.static_max,
        memory_dynamic_max=int(vms.memory_dynamic_max[vm]),
        memory_dynamic_min=int(vms.memory_dynamic_min[vm]),
        memory_static_min=int(vms.memory_static_min[vm]),
        video_ram=int(vms.video_ram[vm]),
        memory_overhead=stored,
        stored_overhead_model=name if overhead.total == stored else fleet.stored_overhead_model()[vm],
        overhead=overhead,
        required=required,
        boot_policy=policy,
        operation=operation,
        obstacles=obstacles,
        hosts=fits,
        not_checked=[*untold(fleet, [vm]), *AT_START],
        caveats=caveats.of_hosts(fleet, np.flatnonzero(fleet.hosts.pool == fleet.vms.pool[vm])),
    )


def vm_obstacles(fleet: Fleet, vm: int) -> list[str]:
    """Why xapi starts the VM nowhere, as far as its record tells."""
    vms = fleet.vms
    kind = kind_of(fleet, vm)
    most, at_startup = int(vms.VCPUs_max[vm]), int(vms.VCPUs_at_startup[vm])
    multiplier = float(vms.HVM_shadow_multiplier[vm])
    coercible = (
        vms.memory_static_min[vm] <= vms.memory_static_max[vm]
        and vms.memory_dynamic_min[vm] <= vms.memory_dynamic_max[vm]
    )
    checks = (
        (kind in ("guest", "control_domain"), f"it is a {kind}"),
        (most >= 1, f"VCPUs_max is {most}"),
        (1 <= at_startup <= most, f"VCPUs_at_startup {at_startup} is not in 1..{most}"),
        (coercible, "its memory limits contradict each other"),
        (multiplier >= 1, f"HVM_shadow_multiplier {multiplier:g} is below 1"),
    )
    return [text for passes, text in checks if not passes]


def host_fits(fleet: Fleet, vm: int, required: int, has_obstacles: bool) -> list[HostFit]:
    """Whether a VM that needs so much fits on each host of its pool, and why not."""
    hosts, vms = fleet.hosts, fleet.vms
    free = free_without(fleet, vm)
    fits = []
    for row in range(len(hosts)):
        if hosts.pool[row] != vms.pool[vm]:
            continue
        there = int(free[row])
        reasons = host_obstacles(
            fleet,
            row,
            int(vms.VCPUs_max[vm]),
            vcpu_unrestricted=bool(vms.vcpu_unrestricted[vm]),
            is_control_domain=bool(vms.is_control_domain[vm]),
        )
        part = fleet.mobility.of(vm)
        step = part.step(vm, row)
        if step not in (Step.PCPUS, Step.UNDECIDED) and (why := part.reason(vm, row)):
            reasons.append(f"it {why}")
        if vms.resident_on[vm] == row:
            reasons.append("resident there already")
        if vms.is_control_domain[vm] and vms.affinity[vm] not in (-1, row):
            reasons.append("a control domain starts on its affinity host only")
        if known_totals(fleet)[row] and there < required:
            reasons.append(f"needs {format_size(required - there)} more memory")
        fits.append(
            HostFit(
                **identity(hosts, row),
                enabled=bool(hosts.enabled[row]),
                live=bool(hosts.live[row]),
                required=required,
                available=there,
                spare=there - required,
                fits=False if reasons or has_obstacles else None if part.unknown(vm, row) else True,
                reasons=reasons,
                not_known="" if reasons or has_obstacles else part.unknown(vm, row),
            )
        )
    return fits


def host_obstacles(
    fleet: Fleet, host: int, vcpus_max: int, *, vcpu_unrestricted: bool = False, is_control_domain: bool = False
) -> list[str]:
    """Why no VM of so many vCPUs starts on a host, memory aside.

    Parameters
    ----------
    vcpu_unrestricted : the VM may have more vCPUs than the host has CPUs
    is_control_domain : the VM starts on a disabled host, too

    Notes
    -----
    Source: xapi-project/xen-api, ocaml/xapi/xapi_vm_helpers.ml, ``assert_can_boot_here``.
    """
    hosts = fleet.hosts
    cpus = int(hosts.cpu_count[host])
    checks = (
        (hosts.live[host], "not live"),
        (hosts.enabled[host] or is_control_domain, "disabled"),
        (vcpu_unrestricted or cpus == 0 or vcpus_max <= cpus, f"has {cpus} CPUs for {vcpus_max} vCPUs"),
        (known_totals(fleet)[host], "memory_total unknown"),
    )
    return [text for passes, text in checks if not passes]
