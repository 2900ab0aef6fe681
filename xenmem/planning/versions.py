"""Which of two hosts runs the older software: no VM migrates there (planning.md, 4.2).

A version is the entries of software_version that make it up, as numbers; two of them compare as tuples do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from xenmem.fleet import Hosts

Version = tuple[tuple[int, ...], ...]

_VERSIONED_BY: Final = ("platform_version", "xapi_build", "xapi")


def version_of(software_version: Mapping[str, str]) -> Version:
    """The version of a host's software, to compare. Inferred: the entries of software_version that make it up.

    Parameters
    ----------
    software_version : as host.software_version; what it lacks is older than anything
    """
    return tuple(
        tuple(int(part) for part in software_version.get(key, "").split(".") if part.isdecimal())
        for key in _VERSIONED_BY
    )


def version_ranks(hosts: Hosts) -> NDArray[np.int32]:
    """The rank of each host's version among all of them: equal for equal ones, lower for older ones.

    Parameters
    ----------
    hosts : of any number of pools

    Returns
    -------
    int32 array, shape (hosts,)
    """
    entries = [tuple(software.get(key, "") for key in _VERSIONED_BY) for software in hosts.software_version]
    versions = {entry: version_of(dict(zip(_VERSIONED_BY, entry, strict=True))) for entry in set(entries)}
    ranks = {version: rank for rank, version in enumerate(sorted(set(versions.values())))}
    return np.array([ranks[versions[entry]] for entry in entries], np.int32)
