"""The constants of xapi's memory model, as data: one OverheadModel per range of xapi versions.

Both backends and the scalar formulas receive an OverheadModel; no constant of the model stands anywhere else.
Tuples are indexed by DomainType. Source: spec "memory model", sections "Constants by domain type" and "Model versions"
(xapi-project/xen-api, ocaml/xapi-idl/memory/memory.ml).
"""

import re
from collections.abc import Mapping
from enum import IntEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from ._limits import MAX_MIN_SHADOW_MIB, MAX_MODEL_CONSTANT, MAX_SHADOW_PAGES_PER_MIB

PerDomainType = tuple[int, int, int, int]


class DomainType(IntEnum):
    """``VM.domain_type``, by the value that arrays hold."""

    HVM = 0
    PV = 1
    PV_IN_PVH = 2
    PVH = 3


class OverheadModel(NamedTuple):
    """The constants of one xapi version; usable as an argument and as a global of jitted functions."""

    vcpu_shadow_pages: int
    p2m_pages_per_mib: int
    resident_pages_per_mib: int
    min_shadow_mib: int
    xen_pages_per_vcpu: int
    extra_internal_mib: PerDomainType
    extra_external_mib: PerDomainType
    shim_base_mib: PerDomainType
    shim_divisor: PerDomainType
    required_at_unit_multiplier: PerDomainType


_PRE_26_3 = OverheadModel(
    vcpu_shadow_pages=256,
    p2m_pages_per_mib=1,
    resident_pages_per_mib=1,
    min_shadow_mib=1,
    xen_pages_per_vcpu=0,
    extra_internal_mib=(1, 0, 1, 1),
    extra_external_mib=(1, 1, 1, 1),
    shim_base_mib=(0, 0, 23, 0),
    shim_divisor=(0, 0, 90, 0),
    required_at_unit_multiplier=(0, 1, 0, 0),
)

MODELS: Final[Mapping[str, OverheadModel]] = MappingProxyType(
    {"26.3": _PRE_26_3._replace(xen_pages_per_vcpu=38), "pre-26.3": _PRE_26_3}
)
DEFAULT_MODEL: Final = "26.3"

APPROXIMATE_VCPUS: Final = 64
"""``VM.maximise_memory`` with ``approximate`` takes this many vCPUs (xapi_vm.ml: maximise_memory)."""

_VERSION = re.compile(r"(\d{1,9})(?:\.(\d{1,9})(?:[.\-+~]\S*)?)?", re.ASCII)


def model_for(xapi_version: str) -> OverheadModel:
    """The model that a xapi of this version computes with.

    Parameters
    ----------
    xapi_version : ``major.minor`` with anything after it, as in ``host.software_version``: "23.31.0", "26.17", "1.20"

    Raises
    ------
    ValueError : the text does not begin with a version number
    """
    return MODELS[model_name_for(xapi_version)]


def model_name_for(xapi_version: str) -> str:
    """The key in MODELS of ``model_for(xapi_version)``; same parameter and errors."""
    match = _VERSION.fullmatch(xapi_version)
    if match is None:
        raise ValueError(f"xapi_version: {xapi_version!r} is not a version such as '26.3.0'")
    return "26.3" if (int(match[1]), int(match[2] or 0)) >= (26, 3) else "pre-26.3"


@lru_cache
def valid_model(model: OverheadModel) -> OverheadModel:
    """The model itself, if the kernels can compute with it.

    Raises
    ------
    ValueError : a constant is out of range; names it and its value
    """
    for name, value in model._asdict().items():
        for constant in value if isinstance(value, tuple) else (value,):
            if not isinstance(constant, int):
                raise ValueError(f"model: {name} {constant} is not an integer")
            if not 0 <= constant <= MAX_MODEL_CONSTANT:
                raise ValueError(f"model: {name} {constant} is outside 0..{MAX_MODEL_CONSTANT}")
    if not 1 <= (pages := model.p2m_pages_per_mib + model.resident_pages_per_mib) <= MAX_SHADOW_PAGES_PER_MIB:
        raise ValueError(f"model: {pages} shadow pages per MiB are outside 1..{MAX_SHADOW_PAGES_PER_MIB}")
    if model.min_shadow_mib > MAX_MIN_SHADOW_MIB:
        raise ValueError(f"model: min_shadow_mib {model.min_shadow_mib} is outside 0..{MAX_MIN_SHADOW_MIB}")
    return model
