"""The memory of one VM and of one host, for whatever the rows hold: in the server's 64-bit arithmetic,
except that sums do not wrap, but stay at the end of int64 that they reach.

The array kernels answer for their domain only (no negative amounts, up to 2**50 bytes), and the API stores whatever
is in order: so one VM at a time, over all of int64, is computed here, from the kernel's constants. Amounts are bytes.
Source: docs/reference/memory-model.md, 3 to 5 (xapi-project/xen-api, ocaml/xapi/memory_check.ml).
"""

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from xenmem.datamodel.errors import INTERNAL_ERROR
from xenmem.datamodel.types import INT64_MAX, INT64_MIN, int64, quotient
from xenmem.kernel import DomainType, OverheadModel
from xenmem.kernel.model import APPROXIMATE_VCPUS
from xenmem.units import MIB

if TYPE_CHECKING:
    from xenmem.xenapi.store import rows


class Policy(NamedTuple):
    """Which limit of a VM counts: the field of a VM, and the sum that a host row keeps of it."""

    amount: str
    used: str


STATIC_MAX: Final = Policy("memory_static_max", "used_static_max")
DYNAMIC_MAX: Final = Policy("memory_dynamic_max", "used_dynamic_max")
DYNAMIC_MIN: Final = Policy("memory_dynamic_min", "used_dynamic_min")

_PAGES_PER_MIB: Final = 256
_DOMAIN_TYPES: Final = {kind.name.lower(): kind for kind in DomainType}


def domain_type(name: str) -> DomainType:
    """The domain type that the model is applied to.

    Raises
    ------
    Failure : INTERNAL_ERROR where it is not specified (helpers.ml: check_domain_type)
    """
    kind = _DOMAIN_TYPES.get(name)
    if kind is None:
        raise INTERNAL_ERROR("unspecified domain type")
    return kind


def has_overhead(vm: "rows.VM") -> bool:
    """Whether the overhead of a VM can be computed: its domain type is specified."""
    return vm.domain_type in _DOMAIN_TYPES


def _mib_used(amount: int, unit: int) -> int:
    return -(-amount // unit) if amount >= 0 else quotient(amount + unit - 1, unit)


def _truncated(value: float) -> int:
    """A double as the server's processor converts it to an integer: what does not fit gives the smallest."""
    return int(value) if math.isfinite(value) and -(2.0**63) <= value < 2.0**63 else INT64_MIN


def _shadow_mib(model: OverheadModel, kind: DomainType, static_max: int, vcpus: int, multiplier: float) -> int:
    if not model.has_shadow[kind]:
        return 0
    pages = int64(
        model.vcpu_shadow_pages * vcpus
        + (model.p2m_pages_per_mib + model.resident_pages_per_mib) * _mib_used(static_max, MIB)
    )
    return max(model.min_shadow_mib, _truncated(float(_mib_used(pages, _PAGES_PER_MIB)) * multiplier))


@lru_cache(maxsize=65536)
def _overhead_mib(model: OverheadModel, kind: DomainType, static_max: int, vcpus: int, multiplier: float) -> int:
    static_max_mib = _mib_used(static_max, MIB)
    shadow_mib = _shadow_mib(model, kind, static_max, vcpus, multiplier)
    xen_vcpu_mib = _mib_used(int64(model.xen_pages_per_vcpu * vcpus), _PAGES_PER_MIB)
    divisor = model.shim_divisor[kind]
    shim_mib = model.shim_base_mib[kind] + (quotient(static_max_mib, divisor) if divisor else 0)
    return model.extra_internal_mib[kind] + model.extra_external_mib[kind] + shadow_mib + xen_vcpu_mib + shim_mib


def overhead(model: OverheadModel, vm: "rows.VM") -> int:
    """The overhead of a VM, computed from its record: what VM.compute_memory_overhead answers.

    Raises
    ------
    Failure : the domain type is unspecified
    """
    kind = domain_type(vm.domain_type)
    return int64(_overhead_mib(model, kind, vm.memory_static_max, vm.VCPUs_max, vm.HVM_shadow_multiplier) * MIB)


def shadow_memory(model: OverheadModel, vm: "rows.VM", multiplier: float) -> int:
    """The shadow memory of a VM's domain under a multiplier, as HVM guests have it whatever the VM's type."""
    return _shadow_mib(model, DomainType.HVM, vm.memory_static_max, vm.VCPUs_max, multiplier) * MIB


def required_memory(
    model: OverheadModel, vm: "rows.VM", target: int, *, static_max: int | None = None, vcpus: int | None = None
) -> int:
    """The memory that a VM needs to be given `target` bytes.

    Parameters
    ----------
    model, vm : what to compute with, and whose record
    target : bytes of the guest
    static_max, vcpus : instead of the record's

    Raises
    ------
    Failure : the domain type is unspecified
    """
    kind = domain_type(vm.domain_type)
    overhead_mib = _overhead_mib(
        model,
        kind,
        vm.memory_static_max if static_max is None else static_max,
        vm.VCPUs_max if vcpus is None else vcpus,
        1.0 if model.required_at_unit_multiplier[kind] else vm.HVM_shadow_multiplier,
    )
    needed = (_mib_used(target, MIB) + overhead_mib) * MIB
    return needed if 0 <= needed <= INT64_MAX else max(INT64_MIN, min(INT64_MAX, needed))


def start_memory(model: OverheadModel, vm: "rows.VM", policy: Policy = DYNAMIC_MIN) -> int:
    """The memory that a VM needs to start under a policy.

    Raises
    ------
    Failure : the domain type is unspecified
    """
    return required_memory(model, vm, getattr(vm, policy.amount))


def maximise_memory(model: OverheadModel, vm: "rows.VM", total: int, *, approximate: bool) -> int:
    """The largest static_max that a VM can start with in `total` bytes, whole MiB: VM.maximise_memory.

    Raises
    ------
    Failure : total is negative, or the domain type is unspecified

    Notes
    -----
    The server's own bisection, because it is defined for every record: the lower end is taken without being tried
    (xapi_vm.ml: maximise_memory; helpers.ml: bisect).
    """
    if total < 0:
        raise INTERNAL_ERROR("Assert_failure")
    vcpus = APPROXIMATE_VCPUS if approximate else vm.VCPUs_max

    def fits(static_max: int) -> bool:
        return required_memory(model, vm, static_max, static_max=static_max, vcpus=vcpus) <= total

    lower, upper = 0, total
    while upper - lower >= 2:
        middle = (lower + upper) // 2
        if fits(middle):
            lower = middle
        else:
            upper = middle
    return quotient(upper if fits(upper) else lower, MIB) * MIB


def used_memory(vm: "rows.VM", policy: Policy = DYNAMIC_MIN) -> int:
    """What a VM counts for on its host: the policy's limit and the stored overhead, without rounding."""
    amount: int = getattr(vm, policy.amount)
    return amount + vm.memory_overhead


def free_memory(
    host: "rows.host", metrics: "rows.host_metrics", policy: Policy = DYNAMIC_MIN, ignored: "rows.VM | None" = None
) -> int:
    """The free memory of a host.

    Parameters
    ----------
    host, metrics : the host and its metrics
    policy : which limit of each VM counts
    ignored : a VM that does not count where it is scheduled; where it is resident it does

    Notes
    -----
    memory_check.ml: host_compute_free_memory_with_policy, host_compute_free_memory_with_maximum_compression.
    """
    used: int = getattr(host, policy.used)
    if ignored is not None and ignored.scheduled_to_be_resident_on == host.ref:
        used -= used_memory(ignored, policy)
    free = metrics.memory_total - host.memory_overhead - used
    return free if 0 <= free <= INT64_MAX else max(0, min(INT64_MAX, free))
