"""What a host is to every question: able to take VMs, of known memory, of which model, and older than another or not.

Takes values of fields, or columns of them; knows neither Fleet nor database. Versions are a partial order: a host with
a newer xapi and an older Xen is neither older nor newer than another.
Source: xapi-project/xen-api, ocaml/xapi/helpers.ml (module Checks).
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from xenmem import kernel
from xenmem.columns import Bools, Bytes, Objects, Rows

SoftwareVersion = Mapping[str, str]
Version = tuple[int, ...]
Versions = tuple[Version, ...]
"""One for each of the keys compared."""

_PLATFORM: Final = ("platform_version",)
MIGRATION_KEYS: Final = ("platform_version", "xapi_build", "xen")
"""What must not decrease where a VM migrates (Checks.Migration)."""
UPGRADE_KEYS: Final = ("platform_version", "xapi")
"""What tells the hosts of a rolling upgrade apart (Checks.RPU)."""
_MISSING: Final = "0.0.0"
_MOST_DIGITS: Final = 18


# ---------------------------------------------------------------------------------------------------------- able, known


def able(enabled: Bools, live: Bools) -> Bools:
    """Which hosts take VMs: those that are enabled and live."""
    return enabled & live


def is_known(memory_total: Bytes) -> Bools:
    """Of which hosts the memory is known; xapi's 0 for a host that it has not measured yet is none."""
    known: Bools = memory_total > 0
    return known


# ---------------------------------------------------------------------------------------------------------------- model


def xapi_version(software_version: SoftwareVersion) -> str:
    """The version of the xapi on a host: that of its build, where it tells it; else empty."""
    return software_version.get("xapi_build") or software_version.get("xapi") or ""


def model_name(software_version: SoftwareVersion) -> str:
    """The kernel model that a host of these versions computes with; empty if they do not tell.

    Before 6.0 xapi's number, the same for many releases, does not tell it, but the product's does.
    """
    product = version_of(software_version.get("product_version", ""))
    if software_version.get("product_brand") == "XenServer" and () < product < (6,):
        return "pre-6.0"
    try:
        return kernel.model_name_for(xapi_version(software_version))
    except ValueError:
        return ""


class Model(NamedTuple):
    """The kernel model of a pool, and why it is that one: empty where the coordinator's version tells it."""

    name: str
    because: str = ""


CURRENT: Final = Model(kernel.DEFAULT_MODEL, "the current one")


def assumed_model(names_domain_type: Sequence[bool]) -> Model:
    """The model of a pool none of whose hosts tells it.

    Parameters
    ----------
    names_domain_type : of each VM, whether its record has the field domain_type
    """
    if len(names_domain_type) and not any(names_domain_type):
        return Model("pre-26.3", "VMs without domain_type are of a server before 7.5")
    return CURRENT


def pool_model(coordinator: str, hosts: Iterable[str], assumed: Model) -> Model:
    """The model that a pool computes with: that of its coordinator, else of its hosts if they agree.

    Parameters
    ----------
    coordinator, hosts : model_name of the pool's master, and of all hosts; empty if unknown
    assumed : of neither
    """
    if coordinator:
        return Model(coordinator)
    known = set(hosts) - {""}
    return Model(known.pop(), "the version of the other hosts") if len(known) == 1 else assumed


# ------------------------------------------------------------------------------------------------------------- versions


@lru_cache(maxsize=1024)
def version_of(text: str) -> Version:
    """The numbers of a version: of its first two parts between dashes, whatever is no number of 63 bits left out."""
    parts = ".".join(text.split("-")[:2]).split(".")
    return tuple(int(part) for part in parts if part.isascii() and part.isdecimal() and len(part) <= _MOST_DIGITS)


def versions_of(software_version: SoftwareVersion, keys: Sequence[str] = MIGRATION_KEYS) -> Versions:
    """The version of each of the keys; one that is missing is 0.0.0."""
    return tuple(version_of(software_version.get(key, _MISSING)) for key in keys)


def is_not_older(host: Versions, than: Versions) -> bool:
    """Whether a host is at least as new as another in each of the keys."""
    return all(own >= other for own, other in zip(host, than, strict=True))


def migration_keys(coordinator: SoftwareVersion) -> tuple[str, ...]:
    """What a coordinator compares where VMs migrate: before 25.31.0 the platform alone.

    An unknown version is taken for a current one. Source: xapi-project/xen-api, cb8fad42ec.
    """
    return _PLATFORM if _is_before(coordinator, (25, 31)) else MIGRATION_KEYS


def upgrade_keys(coordinator: SoftwareVersion) -> tuple[str, ...]:
    """What a coordinator compares in a rolling upgrade where VMs start; as for migrations up to 25.32."""
    if _is_before(coordinator, (25, 31)):
        return _PLATFORM
    return MIGRATION_KEYS if _is_before(coordinator, (25, 33)) else UPGRADE_KEYS


def highest(versions: Sequence[Versions]) -> Versions:
    """What the hosts are measured by in a rolling upgrade (helpers.ml: assert_host_has_highest_version_in_pool).

    Parameters
    ----------
    versions : of all hosts, in descending order of their references, which counts if not all are comparable
    """
    most = versions[0]
    for version in versions[1:]:
        if not is_not_older(most, version):
            most = version
    return most


def version_classes(software_version: Objects, pool: Rows, coordinator: Rows) -> tuple[Rows, Bools]:
    """Hosts of equal versions in one class, and which classes VMs may migrate between.

    Parameters
    ----------
    software_version : object array, shape (hosts,)
    pool : int32 array, shape (hosts,)
    coordinator : int32 array, shape (pools,), rows of hosts, whose versions tell what is compared; -1 if unknown

    Returns
    -------
    (class_of, may_follow) : int32 array, shape (hosts,), and bool array, shape (classes, classes): class b is not older
    than class a
    """
    keys = [migration_keys(software_version[row] if row >= 0 else {}) for row in coordinator.tolist()]
    versions = [versions_of(software, keys[row]) for software, row in zip(software_version, pool.tolist(), strict=True)]
    distinct = {version: number for number, version in enumerate(dict.fromkeys(versions))}
    class_of = np.array([distinct[version] for version in versions], np.int32)
    compared = np.array([len(version) for version in distinct])
    may_follow: Bools = compared[:, None] == compared[None, :]
    for key in range(len(MIGRATION_KEYS)):
        own = [version[key] if key < len(version) else () for version in distinct]
        rank_of = {version: rank for rank, version in enumerate(sorted(set(own)))}
        rank = np.array([rank_of[version] for version in own])
        may_follow &= rank[None, :] >= rank[:, None]
    return class_of, may_follow


def names_unprotected(coordinator: SoftwareVersion) -> bool:
    """Whether an evacuation says of VMs that HA does not protect that they are so, not that memory is missing.

    Source: xapi-project/xen-api, 3b63bc07a7 (26.17.0).
    """
    return not _is_before(coordinator, (26, 17))


def _is_before(coordinator: SoftwareVersion, version: Version) -> bool:
    own = version_of(xapi_version(coordinator))
    return bool(own) and own < version
