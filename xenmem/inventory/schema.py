"""The tables and columns that xenmem reads, with type, default and valid range: all there is to know of a column.

One declaration serves every format: a field's path gives its name in the API, in the database and in xe text
(docs/reference/inventories.md, 2.6, 3 and 7.2). Knows neither files nor arrays. Amounts are bytes.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from xenmem.columns import PowerState
from xenmem.kernel import MAX_BYTES, MAX_SHADOW_MULTIPLIER, MAX_VCPUS, DomainType
from xenmem.rules.guest import CANNOT_SUSPEND, FEATURE_SUSPEND, has_drivers
from xenmem.rules.mobility.cpu import FEATURES, VENDOR
from xenmem.rules.mobility.devices import NVIDIA_METADATA, WHOLE_GPU
from xenmem.rules.mobility.networks import SHARED_BY_FLAG

UNSPECIFIED: Final = 255
"""Code of a domain type that is still to be derived."""

MAX_NAME: Final = 1 << 16
"""Most characters of a reference, a uuid or a name: whatever shows it must not be drowned by it."""

_INT64_MAX: Final = 2**63 - 1


class Kind(Enum):
    """How a value is written, and what it becomes."""

    TEXT = auto()
    FILLED = auto()  # a text, of which only counts whether it is empty
    PRESENT = auto()  # a column, of which only counts whether the row has it
    INT = auto()
    FLOAT = auto()
    BOOL = auto()
    ENUM = auto()
    REF = auto()
    REFS = auto()
    MAP = auto()
    ENTRY = auto()  # one entry of a map, as text
    BOOT_RECORD = auto()
    TOLD = auto()  # what a map tells: true or false
    OPERATIONS = auto()  # a map of task to operation, of which the operations


@dataclass(frozen=True, slots=True)
class Column:
    """One field.

    Attributes
    ----------
    path : the field's path in the data model, `/` between namespace and name
    default : what a missing field becomes; None and not optional: no overhead can be computed without it
    optional : a missing field becomes None
    low, high : the valid range of a number; most characters of a text
    members : spelling to code of an enumeration
    key : which entry of the map
    tells : what is told of the map
    target : the table that a reference points into
    xe : the parameter's name in xe text where it is not the field's with dashes; empty where there is none
    last_schema : the column is read from dumps up to this minor schema version only
    name : what the column is called once it is read, where that is not the field's API name
    """

    path: str
    kind: Kind
    default: object = None
    optional: bool = False
    low: float = 0
    high: float = _INT64_MAX
    members: Mapping[str, int] | None = None
    key: str = ""
    tells: Callable[[Mapping[str, str]], bool] | None = None
    target: str = ""
    xe: str | None = None
    last_schema: int | None = None
    name: str = ""

    @property
    def api(self) -> str:
        """The field's name in API records."""
        return self.path.replace("/", "_")

    @property
    def database(self) -> str:
        """The column's name in a database dump."""
        return self.path.replace("/", "__")

    @property
    def parameter(self) -> str:
        """The parameter's name in xe text, empty if there is none."""
        return self.api.replace("_", "-") if self.xe is None else self.xe

    @property
    def result(self) -> str:
        """The name of the column once it is read."""
        return self.name or self.api


@dataclass(frozen=True, slots=True)
class TableSchema:
    """One class.

    Attributes
    ----------
    name : of the class, and of its table in the database
    columns : those that are read, without `ref`
    signature : API names of fields by which a lone record is known to be of this class
    of_old : every server has the class
    """

    name: str
    columns: tuple[Column, ...]
    signature: frozenset[str]
    of_old: bool = True


def _text(path: str, **more: object) -> Column:
    return Column(path, Kind.TEXT, default="", high=MAX_NAME, **more)  # type: ignore[arg-type]


def _amount(path: str, default: int | None, *, low: int = 0, xe: str | None = None) -> Column:
    return Column(path, Kind.INT, default=default, low=low, high=MAX_BYTES, xe=xe)


def _flag(path: str, *, default: bool = False, xe: str | None = None) -> Column:
    return Column(path, Kind.BOOL, default=default, xe=xe)


def _entry(path: str, key: str, name: str, *, xe: str | None = None) -> Column:
    return Column(path, Kind.ENTRY, optional=True, key=key, name=name, xe=xe)


def _presence(path: str, *, xe: str | None = None) -> Column:
    return Column(path, Kind.PRESENT, xe=xe, name=f"has_{path}")


def _refs(path: str, target: str, *, xe: str | None = None) -> Column:
    return Column(path, Kind.REFS, default=(), target=target, xe=xe)


def _reference(path: str, target: str, *, xe: str | None = None) -> Column:
    return Column(path, Kind.REF, default=-1, target=target, xe=xe)


CPU_KEYS: Final = ("cpu_count", VENDOR, FEATURES, "features_hvm", "features_pv")
"""Of host.cpu_info."""

_POWER_STATES: Final = {state.name.capitalize(): state.value for state in PowerState}
_DOMAIN_TYPES: Final = {kind.name.lower(): kind.value for kind in DomainType} | {"unspecified": UNSPECIFIED}

TABLES: Final[Mapping[str, TableSchema]] = {
    table.name: table
    for table in (
        TableSchema(
            "VM",
            (
                _text("uuid"),
                _text("name/label"),
                Column("power_state", Kind.ENUM, default=PowerState.HALTED.value, members=_POWER_STATES),
                Column("domain_type", Kind.ENUM, default=UNSPECIFIED, members=_DOMAIN_TYPES),
                Column("domain_type", Kind.PRESENT, name="has_domain_type"),
                Column("HVM/boot_policy", Kind.FILLED, default=True, name="has_boot_policy"),
                Column("requires_reboot", Kind.PRESENT, name="has_requires_reboot"),
                Column("domid", Kind.INT, default=-1, low=-1, xe="dom-id"),
                _flag("is_control_domain"),
                _flag("is_a_template"),
                _flag("is_a_snapshot"),
                _amount("memory/static_max", None),
                _amount("memory/dynamic_max", -1),
                _amount("memory/dynamic_min", -1),
                _amount("memory/static_min", 0),
                _amount("memory/target", 0, low=-1, xe=""),
                _amount("memory/overhead", -1),
                Column("VCPUs/max", Kind.INT, high=MAX_VCPUS),
                Column("VCPUs/at_startup", Kind.INT, default=-1, high=MAX_VCPUS),
                Column("HVM/shadow_multiplier", Kind.FLOAT, default=1.0, high=MAX_SHADOW_MULTIPLIER),
                _entry("platform", "videoram", "videoram"),
                _entry("platform", "vcpu-unrestricted", "vcpu_unrestricted"),
                _entry("platform", "nomigrate", "platform_nomigrate"),
                _entry("platform", "nested-virt", "platform_nested_virt"),
                _entry("platform", "exp-nested-hvm", "platform_nested_hvm"),
                _entry("blocked_operations", "pool_migrate", "migration_block"),
                Column("current_operations", Kind.OPERATIONS, default=()),
                Column("VBDs", Kind.REFS, optional=True, target="VBD"),
                Column("VIFs", Kind.REFS, optional=True, target="VIF"),
                _refs("VUSBs", "VUSB", xe=""),
                _refs("VGPUs", "VGPU", xe=""),
                _refs("attached_PCIs", "PCI", xe=""),
                _reference("suspend_VDI", "VDI", xe="suspend-VDI-uuid"),
                Column("hardware_platform_version", Kind.INT, default=0),
                _entry("last_boot_CPU_flags", VENDOR, "cpu_vendor"),
                _entry("last_boot_CPU_flags", FEATURES, "cpu_features"),
                _reference("resident_on", "host"),
                _reference("scheduled_to_be_resident_on", "host", xe=""),
                _reference("affinity", "host"),
                _flag("ha_always_run"),
                _text("ha_restart_priority"),
                Column("order", Kind.INT, default=0, low=-_INT64_MAX),
                Column("start_delay", Kind.INT, default=0, low=-_INT64_MAX),
                _refs("groups", "VM_group"),
                Column("tags", Kind.REFS, default=()),
                _entry("other_config", "auto_poweron", "auto_poweron"),
                _reference("metrics", "VM_metrics"),
                _reference("guest_metrics", "VM_guest_metrics", xe="guest_metrics"),
                Column("last_booted_record", Kind.BOOT_RECORD, optional=True, xe="last-boot-record", last_schema=120),
            ),
            signature=frozenset({"power_state", "memory_static_max"}),
        ),
        TableSchema(
            "VM_metrics",
            (
                _amount("memory/actual", 0, low=-1),
                _flag("hvm"),
                _flag("nested_virt"),
                _flag("nomigrate"),
                Column("current_domain_type", Kind.ENUM, default=UNSPECIFIED, members=_DOMAIN_TYPES),
            ),
            signature=frozenset({"memory_actual"}),
        ),
        TableSchema(
            "VM_guest_metrics",
            (
                Column("PV_drivers_version", Kind.TOLD, default=False, tells=has_drivers, name="has_pv_drivers"),
                _entry("other", FEATURE_SUSPEND, "feature_suspend"),
                _entry("other", CANNOT_SUSPEND, "cannot_suspend"),
                _flag("PV_drivers_detected"),
                _entry("os_version", "distro", "os_distro"),
                _entry("os_version", "major", "os_major"),
                _entry("PV_drivers_version", "build", "agent_build"),
            ),
            signature=frozenset({"PV_drivers_version"}),
        ),
        TableSchema(
            "host",
            (
                _text("uuid"),
                _text("name/label"),
                _text("hostname"),
                _text("address"),
                _amount("memory/overhead", 0),
                _amount("boot_free_mem", 0, low=-1, xe=""),
                _flag("enabled", default=True),
                Column("software_version", Kind.MAP, default={}),
                *(_entry("cpu_info", key, f"cpu_{key.removeprefix('cpu_')}", xe="cpu_info") for key in CPU_KEYS),
                _entry("chipset_info", "iommu", "iommu"),
                Column("capabilities", Kind.REFS, optional=True),
                Column("virtual_hardware_platform_versions", Kind.REFS, default=("0",)),
                Column("current_operations", Kind.OPERATIONS, default=()),
                _reference("metrics", "host_metrics"),
                _reference("control_domain", "VM", xe="control-domain-uuid"),
                Column("tags", Kind.REFS, default=()),
                Column("other_config", Kind.MAP, default={}),
            ),
            signature=frozenset({"hostname", "software_version"}),
        ),
        TableSchema(
            "host_metrics",
            (
                _amount("memory/total", None, low=-1),
                _amount("memory/free", -1, low=-1),
                _flag("live", xe="host-metrics-live"),
            ),
            signature=frozenset({"memory_total", "live"}),
        ),
        TableSchema(
            "pool",
            (
                _text("uuid"),
                _text("name_label"),
                _reference("master", "host"),
                _flag("ha_enabled"),
                Column("ha_host_failures_to_tolerate", Kind.INT, default=0),
                Column("ha_plan_exists_for", Kind.INT, default=0),
                _flag("ha_allow_overcommit"),
                _flag("ha_overcommitted"),
                _entry("restrictions", "restrict_dmc", "restrict_dmc"),
                _entry("other_config", "cpuid_feature_mask", "cpuid_feature_mask"),
                _entry("other_config", "auto_poweron", "auto_poweron"),
                _entry("other_config", "xo:migrationNetwork", "migration_network"),
                Column("cpu_info", Kind.MAP, default={}, xe="cpu_info"),
                Column("tags", Kind.REFS, default=()),
            ),
            signature=frozenset({"master"}),
        ),
        TableSchema(
            "VM_group",
            (
                _text("uuid"),
                _text("name/label"),
                Column("placement", Kind.ENUM, default=0, members={"normal": 0, "anti_affinity": 1}),
            ),
            signature=frozenset({"placement"}),
            of_old=False,
        ),
        TableSchema(
            "SR",
            (_text("uuid"), _text("name/label"), _flag("shared"), _text("type")),
            signature=frozenset({"shared", "type"}),
        ),
        TableSchema(
            "PBD",
            (
                _reference("SR", "SR", xe="sr-uuid"),
                _reference("host", "host", xe="host-uuid"),
                _flag("currently_attached"),
            ),
            signature=frozenset({"SR", "currently_attached"}),
        ),
        TableSchema(
            "VDI",
            (
                _reference("SR", "SR", xe="sr-uuid"),
                _entry("sm_config", "caching", "caching"),
                _entry("sm_config", "on_boot", "on_boot"),
            ),
            signature=frozenset({"SR", "sm_config"}),
        ),
        TableSchema(
            "VBD",
            (
                _reference("VM", "VM", xe="vm-uuid"),
                _reference("VDI", "VDI", xe="vdi-uuid"),
                _flag("empty"),
            ),
            signature=frozenset({"VDI", "empty"}),
        ),
        TableSchema(
            "VIF",
            (
                _reference("VM", "VM", xe="vm-uuid"),
                _reference("network", "network", xe="network-uuid"),
                _reference("reserved_pci", "PCI"),
            ),
            signature=frozenset({"VM", "network"}),
        ),
        TableSchema(
            "network",
            (
                _text("uuid"),
                _text("name/label"),
                _flag("managed", default=True),
                _entry("other_config", SHARED_BY_FLAG, "shared_by_flag"),
                _presence("PIFs", xe="PIF-uuids"),
                _presence("VIFs", xe="VIF-uuids"),
            ),
            signature=frozenset({"PIFs", "VIFs"}),
        ),
        TableSchema(
            "PIF",
            (
                _reference("network", "network", xe="network-uuid"),
                _reference("host", "host", xe="host-uuid"),
                _reference("bond_slave_of", "Bond"),
                _reference("VLAN_master_of", "VLAN", xe="vlan-master-of"),
                _reference("PCI", "PCI"),
                _presence("physical"),
                _flag("management"),
                _reference("metrics", "PIF_metrics"),
            ),
            signature=frozenset({"bond_slave_of", "physical"}),
        ),
        TableSchema(
            "PIF_metrics",
            (Column("speed", Kind.INT, default=0, low=-1),),
            signature=frozenset({"carrier", "pci_bus_path"}),
            of_old=False,  # nothing rests on it
        ),
        TableSchema(
            "Bond", (_presence("master"), _presence("slaves")), signature=frozenset({"master", "slaves"}), of_old=False
        ),
        TableSchema(
            "VLAN",
            (_reference("tagged_PIF", "PIF"), _presence("untagged_PIF")),
            signature=frozenset({"tagged_PIF", "untagged_PIF"}),
            of_old=False,
        ),
        TableSchema(
            "network_sriov",
            (_reference("physical_PIF", "PIF"), _reference("logical_PIF", "PIF")),
            signature=frozenset({"logical_PIF", "physical_PIF"}),
            of_old=False,
        ),
        TableSchema(
            "PCI",
            (
                _reference("physical_function", "PCI"),
                _refs("attached_VMs", "VM"),
                _reference("scheduled_to_be_attached_to", "VM"),
                _presence("class_id"),
                _presence("pci_id"),
            ),
            signature=frozenset({"class_id", "pci_id"}),
            of_old=False,
        ),
        TableSchema(
            "PGPU",
            (
                _reference("PCI", "PCI"),
                _reference("GPU_group", "GPU_group", xe="gpu-group-uuid"),
                _reference("host", "host", xe="host-uuid"),
                _refs("supported_VGPU_types", "VGPU_type"),
                _refs("enabled_VGPU_types", "VGPU_type"),
                Column("size", Kind.INT, default=WHOLE_GPU, high=WHOLE_GPU),
                Column("supported_VGPU_max_capacities", Kind.MAP, default={}),
                _entry("compatibility_metadata", NVIDIA_METADATA, "nvidia"),
            ),
            signature=frozenset({"GPU_group", "supported_VGPU_types"}),
            of_old=False,
        ),
        TableSchema(
            "GPU_group",
            (_text("uuid"), _text("name/label"), _refs("PGPUs", "PGPU"), _text("allocation_algorithm")),
            signature=frozenset({"PGPUs", "allocation_algorithm"}),
            of_old=False,
        ),
        TableSchema(
            "VGPU",
            (
                _reference("VM", "VM", xe="vm-uuid"),
                _reference("GPU_group", "GPU_group", xe="gpu-group-uuid"),
                _reference("type", "VGPU_type"),
                _reference("resident_on", "PGPU"),
                _reference("scheduled_to_be_resident_on", "PGPU"),
                _text("PCI"),
            ),
            signature=frozenset({"GPU_group", "VM"}),
            of_old=False,
        ),
        TableSchema(
            "VGPU_type",
            (
                _text("implementation"),
                Column("size", Kind.INT, default=-1, low=-1, high=WHOLE_GPU),
                Column("compatible_types_on_pgpu", Kind.REFS, optional=True, target="VGPU_type"),
                _text("vendor_name"),
                _text("model_name"),
            ),
            signature=frozenset({"model_name", "vendor_name"}),
            of_old=False,
        ),
        TableSchema(
            "PUSB",
            (_reference("USB_group", "USB_group", xe="usb-group-uuid"), _reference("host", "host", xe="host-uuid")),
            signature=frozenset({"USB_group", "host"}),
            of_old=False,
        ),
        TableSchema(
            "VUSB",
            (_reference("USB_group", "USB_group", xe="usb-group-uuid"), _reference("VM", "VM", xe="vm-uuid")),
            signature=frozenset({"USB_group", "VM"}),
            of_old=False,
        ),
        TableSchema(
            "USB_group",
            (
                _text("uuid"),
                _text("name/label"),
                _refs("PUSBs", "PUSB", xe="PUSB-uuids"),
                _presence("VUSBs", xe="VUSB-uuids"),
            ),
            signature=frozenset({"PUSBs", "VUSBs"}),
            of_old=False,
        ),
    )
}


def recognised(names: Collection[str], signatures: Mapping[str, Collection[str]]) -> list[str]:
    """The classes of a lone record, by what it shows: of those whose signature includes another's, not that other.

    Parameters
    ----------
    names : of the record's fields
    signatures : by class, names of fields
    """
    fit = [name for name, signature in signatures.items() if all(field in names for field in signature)]
    return [name for name in fit if not any(set(signatures[name]) < set(signatures[other]) for other in fit)]
