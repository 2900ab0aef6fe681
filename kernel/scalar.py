"""The formulas of xapi's memory model, one VM at a time, as jitted functions that a user's own jitted loop can inline.

``function.py_func`` is the same formula as plain Python: the executable specification. Amounts are bytes unless a name
ends in _mib or _pages. Nothing is checked here: arguments must lie in the domain that the array API checks
(bytes 0..2**50, vCPUs 0..65535, multipliers 0..1024). Give signed integers: numba computes uint64 with int64 in floats.
Source: xapi-project/xen-api, ocaml/xapi-idl/memory/memory.ml; docs/reference/memory-model.md.

>>> import numba
>>> from xenmem.kernel import DomainType, MODELS, scalar
>>> MODEL = MODELS["26.3"]
>>> @numba.njit
... def total_overhead(static_max, vcpus_max):
...     total = 0
...     for n in range(len(static_max)):
...         total += scalar.overhead(MODEL, DomainType.HVM, static_max[n], vcpus_max[n], 1.0)
...     return total
"""

from ._jit import inlined
from .model import OverheadModel, PerDomainType

MIB_SHIFT = 20
PAGE_SHIFT = 12
PAGES_PER_MIB_SHIFT = MIB_SHIFT - PAGE_SHIFT
PAGES_PER_MIB = float(1 << PAGES_PER_MIB_SHIFT)


@inlined
def mib_used(amount: int) -> int:
    """Bytes in MiB, rounded up (memory.ml: mib_of_bytes_used)."""
    return (amount + ((1 << MIB_SHIFT) - 1)) >> MIB_SHIFT


@inlined
def mib_used_of_pages(pages: int) -> int:
    """Pages of 4096 bytes in MiB, rounded up (memory.ml: mib_of_pages_used)."""
    return (pages + ((1 << PAGES_PER_MIB_SHIFT) - 1)) >> PAGES_PER_MIB_SHIFT


@inlined
def of_type(constants: PerDomainType, domain_type: int) -> int:
    """The constant of a domain type; written as choices so that loops over it vectorise."""
    if domain_type == 0:
        return constants[0]
    if domain_type == 1:
        return constants[1]
    if domain_type == 2:
        return constants[2]
    return constants[3]


@inlined
def shadow_mib(
    model: OverheadModel, domain_type: int, static_max_mib: int, vcpus_max: int, shadow_multiplier: float
) -> int:
    """Shadow memory in MiB (memory.ml: shadow_mib): one double product, truncated, at least the model's minimum."""
    pages_per_mib = model.p2m_pages_per_mib + model.resident_pages_per_mib
    pages = model.vcpu_shadow_pages * vcpus_max + pages_per_mib * static_max_mib
    multiplied = int(float(mib_used_of_pages(pages)) * shadow_multiplier)
    return max(model.min_shadow_mib, multiplied) * of_type(model.has_shadow, domain_type)


@inlined
def xen_vcpu_mib(model: OverheadModel, vcpus_max: int) -> int:
    """Hypervisor memory per vCPU beside the shadow, in MiB; 0 before 26.3."""
    return mib_used_of_pages(model.xen_pages_per_vcpu * vcpus_max)


@inlined
def shim_divisor(model: OverheadModel, domain_type: int) -> int:
    """MiB of guest memory for which the PV shim grows by one MiB; beyond any amount if it does not grow."""
    divisor = of_type(model.shim_divisor, domain_type)
    return divisor if divisor else 1 << 40


@inlined
def quotient(amount_mib: int, divisor: int) -> int:
    """amount_mib / divisor, truncated: exact in doubles for amounts below 2**36, and quick over arrays."""
    return int(float(amount_mib) / float(divisor))


@inlined
def shim_mib(model: OverheadModel, domain_type: int, amount_mib: int) -> int:
    """Memory of the PV shim around ``amount_mib`` of guest memory, in MiB (memory.ml: shim_mib)."""
    return of_type(model.shim_base_mib, domain_type) + quotient(amount_mib, shim_divisor(model, domain_type))


@inlined
def overhead_beside_shadow_mib(model: OverheadModel, domain_type: int, static_max_mib: int, vcpus_max: int) -> int:
    """Overhead without its shadow part, in MiB."""
    return (
        of_type(model.extra_internal_mib, domain_type)
        + of_type(model.extra_external_mib, domain_type)
        + xen_vcpu_mib(model, vcpus_max)
        + shim_mib(model, domain_type, static_max_mib)
    )


@inlined
def overhead(model: OverheadModel, domain_type: int, static_max: int, vcpus_max: int, shadow_multiplier: float) -> int:
    """Memory overhead in bytes: what ``VM.compute_memory_overhead`` answers (memory.ml: overhead_mib)."""
    static_max_mib = mib_used(static_max)
    return (
        overhead_beside_shadow_mib(model, domain_type, static_max_mib, vcpus_max)
        + shadow_mib(model, domain_type, static_max_mib, vcpus_max, shadow_multiplier)
    ) << MIB_SHIFT


@inlined
def required_multiplier(model: OverheadModel, domain_type: int, shadow_multiplier: float) -> float:
    """The multiplier that required memory uses: the VM's, but always 1.0 for ``pv`` (memory_check.ml)."""
    return 1.0 if of_type(model.required_at_unit_multiplier, domain_type) else shadow_multiplier


@inlined
def required_memory(
    model: OverheadModel, domain_type: int, static_max: int, target: int, vcpus_max: int, shadow_multiplier: float
) -> tuple[int, int]:
    """(normal, shadow) bytes needed to start with ``target`` bytes (memory_check.ml: vm_compute_required_memory)."""
    static_max_mib = mib_used(static_max)
    multiplier = required_multiplier(model, domain_type, shadow_multiplier)
    shadow = shadow_mib(model, domain_type, static_max_mib, vcpus_max, multiplier)
    normal = mib_used(target) + overhead_beside_shadow_mib(model, domain_type, static_max_mib, vcpus_max)
    return normal << MIB_SHIFT, shadow << MIB_SHIFT


@inlined
def maximise_memory(
    model: OverheadModel, domain_type: int, vcpus_max: int, shadow_multiplier: float, total: int
) -> int:
    """The largest whole-MiB static_max in bytes that needs at most ``total``; 0 if none (xapi_vm.ml: maximise_memory).

    Before the multiplier, shadow is a step function of static_max. The last step that fits is where the requirement
    without its roundings reaches ``total``, or the step before; csrc/maximise.h has the proof.
    """
    has_shadow = of_type(model.has_shadow, domain_type)
    multiplier = required_multiplier(model, domain_type, shadow_multiplier) * has_shadow
    min_shadow_mib = model.min_shadow_mib * has_shadow
    vcpu_pages = model.vcpu_shadow_pages * vcpus_max
    pages_per_mib = model.p2m_pages_per_mib + model.resident_pages_per_mib
    budget = (total >> MIB_SHIFT) - overhead_beside_shadow_mib(model, domain_type, 0, vcpus_max)

    mib_per_page = 1.0 / pages_per_mib  # exact, as there are one or two
    shim_share = 1.0 / (shim_divisor(model, domain_type) + 1)
    guest_share = 1.0 - shim_share
    mib_per_step = PAGES_PER_MIB * mib_per_page
    vcpu_steps = float(vcpu_pages) * (1.0 / PAGES_PER_MIB)
    estimate = (budget * guest_share + (vcpu_steps + 1.0) * mib_per_step) / (mib_per_step + multiplier * guest_share)
    step = int(estimate + 0.625)
    largest = max(
        _largest_under_shadow(min_shadow_mib, budget, multiplier, vcpu_pages, mib_per_page, shim_share, step),
        _largest_under_shadow(min_shadow_mib, budget, multiplier, vcpu_pages, mib_per_page, shim_share, step - 1),
    )
    return max(0, largest) << MIB_SHIFT


@inlined
def _largest_under_shadow(
    min_shadow_mib: int,
    budget: int,
    multiplier: float,
    vcpu_pages: int,
    mib_per_page: float,
    shim_share: float,
    unscaled_shadow_mib: int,
) -> int:
    """The largest static_max in MiB that takes at most that shadow, and fits beside it and its own shim.

    The shim takes one of every shim_divisor + 1 MiB that are full. What lifts the product is far below shim_share, the
    least by which a part that is not full falls short, and far above the rounding.
    """
    shadowed = int(float((unscaled_shadow_mib << PAGES_PER_MIB_SHIFT) - vcpu_pages) * mib_per_page)
    left = budget - max(min_shadow_mib, int(float(unscaled_shadow_mib) * multiplier))
    return min(shadowed, left - int(float(left + 1) * shim_share + 2.0**-18))


@inlined
def build_memory(
    model: OverheadModel, domain_type: int, static_max: int, target: int, video: int
) -> tuple[int, int, int, int]:
    """(build_max, build_start, xen_max) bytes and claim_pages of a domain build (memory.ml: full_config)."""
    static_max_mib, target_mib, video_mib = mib_used(static_max), mib_used(target), mib_used(video)
    shim_of_static_max = shim_mib(model, domain_type, static_max_mib)
    build_max = static_max_mib - video_mib + shim_of_static_max
    build_start = target_mib - video_mib + shim_mib(model, domain_type, target_mib)
    xen_max = static_max_mib + of_type(model.extra_internal_mib, domain_type) + shim_of_static_max
    return build_max << MIB_SHIFT, build_start << MIB_SHIFT, xen_max << MIB_SHIFT, build_start << PAGES_PER_MIB_SHIFT
