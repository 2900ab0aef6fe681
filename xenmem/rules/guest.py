"""What a guest's agent says of it in VM_guest_metrics: whether it has drivers, and which features it announces.

Source: xapi-project/xen-api, ocaml/xapi/xapi_pv_driver_version.ml, ocaml/xapi/xapi_vm_lifecycle.ml (has_feature).
"""

from collections.abc import Mapping
from typing import Final

CANNOT_SUSPEND: Final = "data-cant-suspend-reason"
"""The key of `other` by which a guest refuses to be suspended or migrated, whatever it says there."""

FEATURE_SUSPEND: Final = "feature-suspend"
ANNOUNCED: Final = "1"
"""The value in `other` of a feature that the guest has."""


NO_BALLOON_DRIVER: Final = frozenset(
    ("rhel", "centos", "rocky", "alma", "almalinux", "oracle", "scientific", "sl", "ol")
)
"""RHEL and what is made of it, by os_version:distro."""
RELEASES_WITHOUT: Final = frozenset(("8", "9"))


def lacks_balloon_driver(distro: str | None, major: str | None) -> bool:
    """Whether the kernel of a guest has no balloon driver, by its os_version."""
    return distro is not None and distro.lower() in NO_BALLOON_DRIVER and major in RELEASES_WITHOUT


def has_drivers(version: Mapping[str, str]) -> bool:
    """Whether a PV_drivers_version is one: major and minor, and micro and build if present, are integers."""
    needed = "major" in version and "minor" in version
    return needed and all(_is_integer(version[key]) for key in ("major", "minor", "micro", "build") if key in version)


def may_count_caches(agent_build: str | None) -> bool:
    """Whether what a guest says is free may be MemFree, of which caches are no part: xen-guest-agent, as it was first.

    Notes
    -----
    Source: xcp-ng/xen-guest-agent, publishers/publisher-xenstore/src/std.rs, ``publish_osinfo``.
    """
    return agent_build is not None and agent_build.startswith("proto-")


def has_feature(other: Mapping[str, str], feature: str) -> bool:
    """Whether a guest announces a feature in `other`."""
    return other.get(feature) == ANNOUNCED


def _is_integer(text: str) -> bool:
    """Whether OCaml's int_of_string reads it, of the decimal numbers that drivers write."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    return digits.isascii() and digits[:1] != "_" and digits.replace("_", "0").isdecimal()
