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


def has_drivers(version: Mapping[str, str]) -> bool:
    """Whether a PV_drivers_version is one: major and minor, and micro and build if present, are integers."""
    needed = "major" in version and "minor" in version
    return needed and all(_is_integer(version[key]) for key in ("major", "minor", "micro", "build") if key in version)


def has_feature(other: Mapping[str, str], feature: str) -> bool:
    """Whether a guest announces a feature in `other`."""
    return other.get(feature) == ANNOUNCED


def _is_integer(text: str) -> bool:
    """Whether OCaml's int_of_string reads it, of the decimal numbers that drivers write."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    return digits.isascii() and digits[:1] != "_" and digits.replace("_", "0").isdecimal()
