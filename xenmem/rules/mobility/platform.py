"""Whether a host has the hardware that a VM's domain needs: virtual hardware version, HVM, IOMMU and CPUs.

Source: xapi-project/xen-api, ocaml/xapi/xapi_vm_helpers.ml (assert_hardware_platform_support, assert_host_has_iommu,
assert_enough_pcpus), helpers.ml (host_supports_hvm).
"""

from collections.abc import Collection, Iterable
from typing import Final

NEEDS_HVM: Final = frozenset(("hvm", "pvh", "pv_in_pvh"))
"""The domain types that need the CPU's own virtualisation."""


def offers(versions: Collection[int], needed: int) -> bool:
    """Whether a host offers the version of the virtual hardware that a VM wants."""
    return needed in versions


def has_hvm(capabilities: Iterable[str]) -> bool:
    """Whether a host builds domains that need the CPU's own virtualisation."""
    return any("hvm" in capability for capability in capabilities)


def has_iommu(chipset_info: str | None) -> bool | None:
    """Whether a host passes PCI functions through, by chipset_info:iommu; None where it does not say."""
    return None if chipset_info is None else chipset_info == "true"


def has_cpus(vcpus_max: int, cpu_count: int, *, unrestricted: bool) -> bool:
    """Whether a host has as many CPUs as a VM may have vCPUs, unless platform:vcpu-unrestricted is set."""
    return unrestricted or vcpus_max <= cpu_count
