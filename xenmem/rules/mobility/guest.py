"""Whether a VM may leave its host at all, and whether HA can restart it anywhere: the devices' and the guest's part.

The order is the reference's; state, blocked operations and templates come before, and are the asker's.
Source: xapi-project/xen-api, ocaml/xapi/xapi_vm_lifecycle.ml (check_op_for_feature, check_vgpu, check_operation_error),
agility.ml (vm_assert_agile).
"""

from collections.abc import Collection, Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple

from xenmem.rules.guest import CANNOT_SUSPEND, FEATURE_SUSPEND, has_drivers, has_feature
from xenmem.rules.mobility import devices

PARAVIRTUAL = frozenset(("pv", "pv_in_pvh", "pvh"))
"""The domain types whose guests know that they run on Xen."""


class Obstacle(IntEnum):
    """Why a VM cannot migrate, in the order in which it is asked; the names are those of the errors."""

    NONE = 0
    OPERATION_BLOCKED = 1
    VM_IS_IMMOBILE = 5
    VM_NON_SUSPENDABLE = 7
    VM_LACKS_FEATURE = 8
    VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION = 9
    VM_HAS_PCI_ATTACHED = 10
    VM_HAS_VGPU = 11
    VM_HAS_VUSBS = 12


class Agility(IntEnum):
    """Why HA could not restart a VM on any enabled host, in the order in which it is asked."""

    AGILE = 0
    VM_HAS_VGPU = 1
    VM_HAS_VUSBS = 2
    HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED = 3
    HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED = 4
    VM_HAS_SRIOV_VIF = 5


def supports_suspend(domain_type: str, drivers: Mapping[str, str] | None) -> bool:
    """Whether a live VM can be suspended without announcing it: its domain type, or its drivers, say so.

    Parameters
    ----------
    domain_type : what it was built as
    drivers : PV_drivers_version; None if it has no guest metrics
    """
    return domain_type in PARAVIRTUAL or (drivers is not None and has_drivers(drivers))


def feature_obstacle(
    domain_type: str, drivers: Mapping[str, str] | None, other: Mapping[str, str], *, strict: bool = True
) -> Obstacle:
    """What the guest of a live VM says against a migration.

    Parameters
    ----------
    domain_type, drivers : as of `supports_suspend`
    other : VM_guest_metrics.other, empty if there is none
    strict : without force
    """
    if CANNOT_SUSPEND in other:
        return Obstacle.VM_NON_SUSPENDABLE
    if strict and not supports_suspend(domain_type, drivers) and not has_feature(other, FEATURE_SUSPEND):
        return Obstacle.VM_LACKS_FEATURE
    return Obstacle.NONE


class LiveGPU(NamedTuple):
    """A vGPU as a migration sees it.

    Attributes
    ----------
    implementation : of its type
    pci : VGPU.PCI
    has_metadata : it is resident on a GPU whose compatibility_metadata are Nvidia's
    """

    implementation: str
    pci: str
    has_metadata: bool


def has_foreign_pci(attached: Collection[str], vgpus: Iterable[LiveGPU]) -> bool:
    """Whether a VM has PCI devices but the virtual functions of Nvidia's vGPUs; missing rows count as well."""
    return bool(set(attached).difference(vgpu.pci for vgpu in vgpus if vgpu.implementation == devices.SRIOV))


def has_pinned_vgpu(vgpus: Iterable[LiveGPU]) -> bool:
    """Whether one of a VM's vGPUs is none that migrates live."""
    return not all(vgpu.implementation in devices.NVIDIA and vgpu.has_metadata for vgpu in vgpus)


def device_obstacle(attached: Collection[str], vgpus: Collection[LiveGPU], vusbs: int, *, halted: bool) -> Obstacle:
    """What the devices of a VM say against a migration.

    Parameters
    ----------
    attached : VM.attached_PCIs
    vgpus : all of the VM's
    vusbs : how many it has, plugged or not
    halted : it has no domain, nor an image of one: its vGPUs do not matter
    """
    if has_foreign_pci(attached, vgpus):
        return Obstacle.VM_HAS_PCI_ATTACHED
    if vgpus and not halted and has_pinned_vgpu(vgpus):
        return Obstacle.VM_HAS_VGPU
    return Obstacle.VM_HAS_VUSBS if vusbs else Obstacle.NONE
