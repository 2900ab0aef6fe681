"""Whether a VM that has a domain finds the CPU that it booted with on another host: vendor and feature sets.

A feature set is words of 32 bits. The verdict of Xen's own library, which current servers ask first, is in no database:
where it may differ from the rule that is left, the answer is UNDECIDED, which a server is taken to let pass.
Source: xapi-project/xen-api, ocaml/xapi/cpuid_helpers.ml (assert_vm_is_compatible), ocaml/libs/cpuid/cpuid.ml,
ocaml/xenopsd/xc/xenops_server_xen.ml (HOST.is_compatible).
"""

import re
from collections.abc import Iterable, Mapping
from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple

from xenmem.rules.hosts import SoftwareVersion, version_of, xapi_version

FeatureSet = tuple[int, ...]

_WORDS: Final = re.compile(r"[0-9a-fA-F]{1,8}(?:-[0-9a-fA-F]{1,8})*")
_ALL_BITS: Final = 0xFFFFFFFF
_EXTENDED_WORDS: Final = 4

VENDOR: Final = "vendor"
FEATURES: Final = "features"
"""The key of VM.last_boot_CPU_flags; before 7.0 that of host.cpu_info as well."""


class Verdict(IntEnum):
    """What a comparison says; the positive ones refuse."""

    UNDECIDED = -1
    COMPATIBLE = 0
    OTHER_VENDOR = 1
    LACKS_FEATURES = 2
    NO_KEYS = 3


REASONS: Final = {
    Verdict.OTHER_VENDOR: "VM last booted on a host which had a CPU from a different vendor.",
    Verdict.LACKS_FEATURES: "VM last booted on a CPU with features this host's CPU does not have.",
    Verdict.NO_KEYS: "Host does not have new leveling feature keys - not comparing VM's flags",
}
"""The third parameter of VM_INCOMPATIBLE_WITH_THIS_HOST."""


class Levelling(IntEnum):
    """How a server compares, by age."""

    MASKED = 0
    """Before 7.0: one key for all domain types, both sets masked by the pool."""
    LENIENT = 1
    """7.0 to 1.211: a host without keys passes, and a set of at most four words is extended by the host's."""
    EXTENDED = 2
    """1.212 to 22.6: a host without keys fails."""
    CURRENT = 3


@lru_cache(maxsize=4096)
def features_of(text: str) -> FeatureSet:
    """The words of a feature set.

    Raises
    ------
    ValueError : it is none: what a server answers with INTERNAL_ERROR
    """
    if not text:
        return ()
    if _WORDS.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no feature set: words of 1 to 8 hexadecimal digits joined by dashes")
    return tuple(int(word, 16) for word in text.split("-"))


def text_of(features: FeatureSet) -> str:
    """A feature set as it is written."""
    return "-".join(f"{word:08x}" for word in features)


def extended(features: FeatureSet, by: FeatureSet) -> FeatureSet:
    """As many words as the second has: those of the first, and then the second's (CLIB: extend)."""
    return (*features[: len(by)], *by[len(features) :])


def zero_extended(features: FeatureSet, length: int) -> FeatureSet:
    """So many words, of which those that are not there are 0."""
    return extended(features, (0,) * length)


def intersection(first: FeatureSet, second: FeatureSet) -> FeatureSet:
    """What both have; an empty set takes nothing away, and a shorter one lacks the rest."""
    if not first or not second:
        return first or second
    length = max(len(first), len(second))
    pairs = zip(zero_extended(first, length), zero_extended(second, length), strict=True)
    return tuple(one & other for one, other in pairs)


def pool_features(sets: Iterable[FeatureSet]) -> FeatureSet:
    """What a VM that boots now gets: what the hosts have in common (create_misc.ml: create_pool_cpuinfo)."""
    common: FeatureSet = ()
    for features in sets:
        common = intersection(common, features)
    return common


def is_subset(features: FeatureSet, of: FeatureSet) -> bool:
    """Whether a host has the features of a VM, word by word of the host's; what the VM has beyond does not count."""
    return not any(word & ~other & _ALL_BITS for word, other in zip(zero_extended(features, len(of)), of, strict=True))


def has_more_words(features: FeatureSet, than: FeatureSet) -> bool:
    """Whether a VM has features in words that a host does not know: what the rule ignores, and Xen may not."""
    return any(features[len(than) :])


class CPU(NamedTuple):
    """What is compared of a host or of a VM; None where the key is missing."""

    vendor: str | None
    features: str | None


def levelling(coordinator: SoftwareVersion) -> Levelling:
    """How a coordinator of these versions compares; one that does not tell is taken for a current one."""
    product = version_of(coordinator.get("product_version", ""))
    if () < product < (7,):
        return Levelling.MASKED
    xapi = version_of(xapi_version(coordinator))
    if not xapi or xapi >= (22, 7):
        return Levelling.CURRENT
    return Levelling.LENIENT if xapi < (1, 212) else Levelling.EXTENDED


def guest_cpu(last_boot_flags: Mapping[str, str]) -> CPU:
    """What a VM booted with."""
    return CPU(last_boot_flags.get(VENDOR), last_boot_flags.get(FEATURES))


def host_cpu(cpu_info: Mapping[str, str], domain_type: str, server: Levelling = Levelling.CURRENT) -> CPU:
    """What a host offers to a VM that arrives as a domain of some type."""
    if server is Levelling.MASKED:
        return CPU(cpu_info.get(VENDOR), cpu_info.get(FEATURES))
    return CPU(cpu_info.get(VENDOR), cpu_info.get("features_pv" if domain_type == "pv" else "features_hvm"))


@lru_cache(maxsize=65536)
def compare(guest: CPU, host: CPU, server: Levelling = Levelling.CURRENT, mask: str = "") -> Verdict:
    """Whether a VM finds its CPU on a host, the reference's questions in its order.

    Parameters
    ----------
    guest, host : as of `guest_cpu` and `host_cpu`
    server : how the coordinator compares
    mask : a feature set: before 7.0 pool.other_config:cpuid_feature_mask, empty if there is none

    Raises
    ------
    ValueError : a feature set that is needed is none
    """
    if host.vendor is None or host.features is None:
        return Verdict.NO_KEYS if server >= Levelling.EXTENDED else Verdict.COMPATIBLE
    if guest.vendor is not None and guest.vendor != host.vendor:
        return Verdict.OTHER_VENDOR
    if guest.features is None:
        return Verdict.COMPATIBLE
    wanted, offered = features_of(guest.features), features_of(host.features)
    if server is Levelling.MASKED:
        kept = features_of(mask)
        wanted, offered = intersection(wanted, kept), intersection(offered, kept)
    elif server <= Levelling.EXTENDED and len(wanted) <= _EXTENDED_WORDS:
        wanted = extended(wanted, offered)
    if not is_subset(wanted, offered):
        return Verdict.LACKS_FEATURES
    return Verdict.UNDECIDED if has_more_words(wanted, offered) else Verdict.COMPATIBLE


def next_boot(pool_cpu_info: Mapping[str, str], host_cpu_info: Mapping[str, str], domain_type: str) -> CPU:
    """What a VM that boots on a host now will have booted with: the pool's common features, the host's vendor.

    Where the pool tells no common features, what the host offers. Source: cpuid_helpers.ml: next_boot_cpu_features.
    """
    key = "features_pv" if domain_type == "pv" else "features_hvm"
    features = pool_cpu_info.get(f"{key}_host", pool_cpu_info.get(key))
    if features is None:
        features = host_cpu_info.get(key, host_cpu_info.get(FEATURES))
    return CPU(host_cpu_info.get(VENDOR), features)
