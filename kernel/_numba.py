"""The numba backend: the formulas of scalar.py over arrays, with the checks of csrc/xenmem.h.

Each function takes contiguous arrays of one length and answers whether every element was in the valid domain; if not,
the outputs are undefined. One flag is gathered for all elements, so that the loops vectorise.
"""

import numpy as np
import numpy.typing as npt

from . import scalar
from ._jit import inlined, jit
from ._limits import DOMAIN_TYPES, MAX_BYTES, MAX_SHADOW_MULTIPLIER, MAX_USED_BYTES, MAX_VCPUS, NO_ROW
from .model import OverheadModel

Bytes = npt.NDArray[np.int64]
DomainTypes = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int32]
VCPUs = npt.NDArray[np.int32]
Multipliers = npt.NDArray[np.float64]


@inlined
def _is_amount(amount: int) -> bool:
    return (amount >= 0) & (amount <= MAX_BYTES)


@inlined
def _is_domain_type(domain_type: int) -> bool:
    return domain_type < DOMAIN_TYPES


@inlined
def _is_vcpus(vcpus_max: int) -> bool:
    return (vcpus_max >= 0) & (vcpus_max <= MAX_VCPUS)


@inlined
def _is_multiplier(shadow_multiplier: float) -> bool:
    return (shadow_multiplier >= 0.0) & (shadow_multiplier <= MAX_SHADOW_MULTIPLIER)


@jit
def overhead(
    model: OverheadModel,
    domain_type: DomainTypes,
    static_max: Bytes,
    vcpus_max: VCPUs,
    shadow_multiplier: Multipliers,
    out: Bytes,
) -> bool:
    good = True
    for n in range(len(out)):
        good &= _is_domain_type(domain_type[n]) & _is_amount(static_max[n])
        good &= _is_vcpus(vcpus_max[n]) & _is_multiplier(shadow_multiplier[n])
        out[n] = scalar.overhead(model, domain_type[n], static_max[n], int(vcpus_max[n]), shadow_multiplier[n])
    return good


@jit
def required_memory(
    model: OverheadModel,
    domain_type: DomainTypes,
    static_max: Bytes,
    target: Bytes,
    vcpus_max: VCPUs,
    shadow_multiplier: Multipliers,
    normal: Bytes,
    shadow: Bytes,
) -> bool:
    good = True
    for n in range(len(normal)):
        good &= _is_domain_type(domain_type[n]) & _is_amount(static_max[n]) & _is_amount(target[n])
        good &= _is_vcpus(vcpus_max[n]) & _is_multiplier(shadow_multiplier[n])
        normal[n], shadow[n] = scalar.required_memory(
            model, domain_type[n], static_max[n], target[n], int(vcpus_max[n]), shadow_multiplier[n]
        )
    return good


@jit
def maximise_memory(
    model: OverheadModel,
    domain_type: DomainTypes,
    vcpus_max: VCPUs,
    shadow_multiplier: Multipliers,
    total: Bytes,
    out: Bytes,
) -> bool:
    good = True
    for n in range(len(out)):
        good &= _is_domain_type(domain_type[n]) & _is_vcpus(vcpus_max[n])
        good &= _is_multiplier(shadow_multiplier[n]) & _is_amount(total[n])
        out[n] = scalar.maximise_memory(model, domain_type[n], int(vcpus_max[n]), shadow_multiplier[n], total[n])
    return good


@jit
def build_memory(
    model: OverheadModel,
    domain_type: DomainTypes,
    static_max: Bytes,
    target: Bytes,
    video: Bytes,
    build_max: Bytes,
    build_start: Bytes,
    xen_max: Bytes,
    claim_pages: npt.NDArray[np.int64],
) -> bool:
    good = True
    for n in range(len(build_max)):
        good &= _is_domain_type(domain_type[n]) & _is_amount(static_max[n])
        good &= _is_amount(target[n]) & _is_amount(video[n])
        build_max[n], build_start[n], xen_max[n], claim_pages[n] = scalar.build_memory(
            model, domain_type[n], static_max[n], target[n], video[n]
        )
    return good


@jit
def used_memory(memory: Bytes, overhead: Bytes, resident_on: Rows, scheduled_on: Rows, used: Bytes) -> bool:
    hosts = len(used)
    good = True
    for n in range(len(memory)):
        amount = memory[n] + overhead[n]
        resident, scheduled = resident_on[n], scheduled_on[n]
        good &= _is_amount(memory[n]) & _is_amount(overhead[n])
        good &= (resident >= NO_ROW) & (resident < hosts) & (scheduled >= NO_ROW) & (scheduled < hosts)
        if not good:
            break
        if resident != NO_ROW:
            used[resident] = min(used[resident] + amount, MAX_USED_BYTES)
        if scheduled != NO_ROW:
            used[scheduled] = min(used[scheduled] + amount, MAX_USED_BYTES)
    return good
