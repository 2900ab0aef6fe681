"""What the pool's licence allows: features, switched by the entries of pool.restrictions.

Source: docs/reference/messages.md, 10.4 (xapi-project/xen-api, ocaml/xapi-types/features.ml: of_assoc_list).
"""

from enum import Enum
from typing import TYPE_CHECKING

from xenmem.datamodel.errors import LICENCE_RESTRICTION

if TYPE_CHECKING:
    from xenmem.xenapi.store.database import Database


class Feature(Enum):
    """A feature: its name in failures, its key in pool.restrictions, and whether it is on where the key is missing."""

    DMC = ("DMC", "restrict_dmc", False)
    VM_GROUPS = ("VM_groups", "restrict_vm_groups", False)
    VM_START = ("VM_start", "restrict_vm_start", True)
    XEN_MOTION = ("Xen_motion", "restrict_xen_motion", True)
    NESTED_VIRT = ("Nested_virt", "restrict_nested_virt", False)
    NETWORK_SRIOV = ("Network_sriov", "restrict_network_sriov", False)
    VENDOR_DEVICE = ("PCI_device_for_auto_update", "restrict_pci_device_for_auto_update", False)
    VGPU = ("VGPU", "restrict_vgpu", False)
    STORAGE_MOTION = ("Storage_motion", "restrict_storage_xen_motion", False)
    CHECKPOINT = ("Checkpoint", "restrict_checkpoint", False)
    LIVE_SET_VCPUS = ("Live_set_vcpus", "restrict_set_vcpus_number_live", False)


def is_enabled(database: "Database", feature: Feature) -> bool:
    """Whether the pool has a feature: its restriction is `false`, or says nothing and the feature is on anyway."""
    _, key, otherwise = feature._value_
    restricted = database.the_pool.restrictions.get(key)
    return restricted == "false" or (otherwise and restricted != "true")


def assert_enabled(database: "Database", feature: Feature) -> None:
    """Raise LICENCE_RESTRICTION unless the pool has a feature."""
    if not is_enabled(database, feature):
        raise LICENCE_RESTRICTION(feature.value[0])
