"""The kernels as expressions that a NumPy user would write after some thought. Amounts are bytes."""

import numpy as np

from xenmem import kernel

from .arrays import MIB, Array

MODEL = kernel.MODELS[kernel.DEFAULT_MODEL]
_EXTRAS = np.add(MODEL.extra_internal_mib, MODEL.extra_external_mib)


def _shim_mib(domain_type: Array, static_max_mib: Array) -> Array:
    pv_in_pvh = kernel.DomainType.PV_IN_PVH
    grown = MODEL.shim_base_mib[pv_in_pvh] + static_max_mib // MODEL.shim_divisor[pv_in_pvh]
    return np.where(domain_type == pv_in_pvh, grown, 0)


def _shadow_mib(static_max_mib: Array, vcpus_max: Array, multiplier: Array) -> Array:
    pages = vcpus_max.astype(np.int64) * MODEL.vcpu_shadow_pages + 2 * static_max_mib
    return np.maximum(MODEL.min_shadow_mib, ((pages + 255 >> 8) * multiplier).astype(np.int64))


def overhead(domain_type: Array, static_max: Array, vcpus_max: Array, shadow_multiplier: Array) -> Array:
    static_max_mib = static_max + (MIB - 1) >> 20
    total = _shadow_mib(static_max_mib, vcpus_max, shadow_multiplier)
    total += _EXTRAS[domain_type]
    total += vcpus_max * MODEL.xen_pages_per_vcpu + 255 >> 8
    total += _shim_mib(domain_type, static_max_mib)
    total <<= 20
    return total


def required_memory(
    domain_type: Array, static_max: Array, target: Array, vcpus_max: Array, shadow_multiplier: Array
) -> tuple[Array, Array]:
    multiplier = np.where(domain_type == kernel.DomainType.PV, 1.0, shadow_multiplier)
    static_max_mib = static_max + (MIB - 1) >> 20
    shadow = _shadow_mib(static_max_mib, vcpus_max, multiplier)
    normal = target + (MIB - 1) >> 20
    normal += _EXTRAS[domain_type]
    normal += vcpus_max * MODEL.xen_pages_per_vcpu + 255 >> 8
    normal += _shim_mib(domain_type, static_max_mib)
    normal <<= 20
    shadow <<= 20
    return normal, shadow


def maximise_memory(domain_type: Array, vcpus_max: Array, shadow_multiplier: Array, total: Array) -> Array:
    """All VMs bisected at once, over MiB."""
    low, high = np.zeros(len(total), np.int64), total >> 20
    while np.any(high - low >= 2):
        middle = low + high >> 1
        normal, shadow = required_memory(domain_type, middle << 20, middle << 20, vcpus_max, shadow_multiplier)
        fits = normal + shadow <= total
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    return low << 20


def build_memory(domain_type: Array, static_max: Array, target: Array, video: Array) -> tuple[Array, ...]:
    static_max_mib, target_mib, video_mib = (amount + (MIB - 1) >> 20 for amount in (static_max, target, video))
    shim_of_max = _shim_mib(domain_type, static_max_mib)
    build_max = static_max_mib - video_mib + shim_of_max
    build_start = target_mib - video_mib + _shim_mib(domain_type, target_mib)
    xen_max = static_max_mib + np.array(MODEL.extra_internal_mib)[domain_type] + shim_of_max
    return build_max << 20, build_start << 20, xen_max << 20, build_start << 8


def free_memory(limit: Array, memory: Array, overhead: Array, resident: Array, scheduled: Array) -> Array:
    """By np.bincount with weights: sums in doubles, exact only below 2**53 bytes a host."""
    used = (memory + overhead).astype(np.float64)
    total = np.bincount(resident + 1, weights=used, minlength=len(limit) + 1)
    total += np.bincount(scheduled + 1, weights=used, minlength=len(limit) + 1)
    return np.maximum(0, limit - total[1:].astype(np.int64))
