"""The constants of xapi's memory model, as data: one OverheadModel per range of versions, and which version has which.

Both backends and the scalar formulas receive an OverheadModel; no constant of the model stands anywhere else.
Tuples are indexed by DomainType. Source: xapi-project/xen-api, ocaml/xapi-idl/memory/memory.ml and, for the reserve of
hosts, ocaml/squeezed/src/squeeze_xen.ml.
"""

import re
from collections.abc import Mapping
from enum import IntEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from ._limits import MAX_MODEL_CONSTANT, PROVED_MIN_SHADOW_MIB, PROVED_SHADOW_PAGES_PER_MIB

PerDomainType = tuple[int, int, int, int]


class DomainType(IntEnum):
    """``VM.domain_type``, by the value that arrays hold."""

    HVM = 0
    PV = 1
    PV_IN_PVH = 2
    PVH = 3


class OverheadModel(NamedTuple):
    """The constants of one xapi version; usable as an argument and as a global of jitted functions.

    ``host_reserve_mib`` is what squeezed never gives out (its slush and its emergency pool): no part of a VM's
    overhead, but of ``host.memory_overhead`` as soon as a host has started its toolstack.
    """

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
    has_shadow: PerDomainType
    host_reserve_mib: int


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
    has_shadow=(1, 1, 1, 1),
    host_reserve_mib=9,
)

MODELS: Final[Mapping[str, OverheadModel]] = MappingProxyType(
    {
        "26.3": _PRE_26_3._replace(xen_pages_per_vcpu=38, host_reserve_mib=72),
        "pre-26.3": _PRE_26_3,
        "pre-8.1": _PRE_26_3._replace(shim_base_mib=(0, 0, 20, 0), shim_divisor=(0, 0, 110, 0)),
        "pre-6.0": _PRE_26_3._replace(has_shadow=(1, 0, 1, 1)),
    }
)
"""By name, the newest first: xapi from 26.3.0 on; from 1.214 (8.1) to 26.2, and 6.0 to 7.4, which have no pv_in_pvh;
7.5 to 8.0, whose shim is smaller (xapi-project/xcp-idl, pull requests 207 and 284); 5.6, where pv has no shadow
(xapi-project/xen-api, b5ab210332)."""
DEFAULT_MODEL: Final = "26.3"
SINCE: Final = (((26, 3), "26.3"), ((1, 214), "pre-26.3"), ((1, 78), "pre-8.1"), ((0, 0), "pre-26.3"))
"""From which major and minor version of xapi on which model holds, the newest first."""

_BUILDS: Final = {
    "xenserver": {
        "5.6": "pre-6.0",
        **dict.fromkeys(("6.0", "6.1", "6.2", "6.5", "7.0", "7.1", "7.2", "7.3", "7.4"), "pre-26.3"),
        "7.5": "1.90.6",
        "7.6": "1.110.1",
        "8": "26.1.19",
        "9": "26.4.0",
    },
    "citrix-hypervisor": {"8.0": "1.160.2", "8.1": "1.214.1", "8.2": "1.249.41"},
    "xcp-ng": {
        "7.4": "pre-26.3",
        "7.5": "1.90.6",
        "7.6": "1.110.1",
        "8.0": "1.160.2",
        "8.1": "1.214.1",
        "8.2": "1.249.41",
        "8.3": "26.1.4",
        "9": "26.4.0",
    },
}
PRODUCTS: Final[Mapping[str, str]] = MappingProxyType(
    {f"{product}-{version}": build for product, builds in _BUILDS.items() for version, build in builds.items()}
)
"""Products by name (``xcp-ng-8.3``): the xapi version of the newest build, or a model where xapi tells none apart."""
_ANY_PRODUCT: Final = {version: build for builds in _BUILDS.values() for version, build in builds.items()}

APPROXIMATE_VCPUS: Final = 64
"""``VM.maximise_memory`` with ``approximate`` takes this many vCPUs (xapi_vm.ml: maximise_memory)."""

_PRODUCT = re.compile(r"(?:([a-z -]+)[ -])?(\d+)(?:\.(\d+)(?:\.\d+)*)?", re.ASCII)
_VERSION = re.compile(r"(\d{1,9})(?:\.(\d{1,9})(?:[.\-+~]\S*)?)?", re.ASCII)


def model_for(version: str) -> OverheadModel:
    """The model that a xapi of this version, or of this product, computes with.

    Parameters
    ----------
    version : of xapi, ``major.minor`` with anything after it, as in ``host.software_version``: "23.31.0", "26.17",
        "1.20"; or a product, with or without its name: "xcp-ng-8.3", "XenServer 9", "8.2.1"; or a key in MODELS

    Raises
    ------
    ValueError : it is none of these; lists what there is
    """
    return MODELS[model_name_for(version)]


def model_name_for(version: str) -> str:
    """The key in MODELS of ``model_for(version)``; same parameter and errors."""
    if version in MODELS:
        return version
    build = newest_build(version)
    if build in MODELS:
        return build
    match = _VERSION.fullmatch(build or version)
    if match is None or 2 <= int(match[1]) <= 20:  # xapi has been 0.x, 1.x, and the year from 21 on
        raise ValueError(
            f"version: {version!r} is no version of xapi (such as 26.4.0), no model ({', '.join(MODELS)})"
            f" and no product ({', '.join(PRODUCTS)})"
        )
    xapi = int(match[1]), int(match[2] or 0)
    return next(model for first, model in SINCE if xapi >= first)


def newest_build(product: str) -> str:
    """What stands for a product in PRODUCTS, whose version may be longer than there and may lack its name; else ""."""
    match = _PRODUCT.fullmatch(product.lower())
    if match is None:
        return ""
    builds = _BUILDS.get(match[1].replace(" ", "-"), {}) if match[1] else _ANY_PRODUCT
    return builds.get(f"{match[2]}.{match[3]}") or builds.get(match[2], "")


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
    for name in ("required_at_unit_multiplier", "has_shadow"):
        if not set(getattr(model, name)) <= {0, 1}:
            raise ValueError(f"model: {name} {getattr(model, name)} has others than 0 and 1")
    if not 1 <= (pages := model.p2m_pages_per_mib + model.resident_pages_per_mib) <= PROVED_SHADOW_PAGES_PER_MIB:
        raise ValueError(f"model: {pages} shadow pages per MiB are outside 1..{PROVED_SHADOW_PAGES_PER_MIB}")
    if model.min_shadow_mib > PROVED_MIN_SHADOW_MIB:
        raise ValueError(f"model: min_shadow_mib {model.min_shadow_mib} is outside 0..{PROVED_MIN_SHADOW_MIB}")
    return model
