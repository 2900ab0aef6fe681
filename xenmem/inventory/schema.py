"""The tables and columns that xenmem reads, with type, default and valid range: all there is to know of a column.

One declaration serves every format: a field's path gives its name in the API, in the database and in xe text
(docs/reference/inventories.md, 2.6, 3 and 7.2). Knows neither files nor arrays. Amounts are bytes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from xenmem.columns import PowerState
from xenmem.kernel import MAX_BYTES, MAX_SHADOW_MULTIPLIER, MAX_VCPUS, DomainType
from xenmem.rules.guest import CANNOT_SUSPEND, FEATURE_SUSPEND, has_drivers

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
    NUMBER = auto()  # of a set, how many it holds
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


def _reference(path: str, target: str, *, xe: str | None = None) -> Column:
    return Column(path, Kind.REF, default=-1, target=target, xe=xe)


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
                _entry("blocked_operations", "pool_migrate", "migration_block"),
                Column("current_operations", Kind.OPERATIONS, default=()),
                Column("VUSBs", Kind.NUMBER, default=0, xe=""),
                Column("VGPUs", Kind.NUMBER, default=0, xe=""),
                Column("attached_PCIs", Kind.NUMBER, default=0, xe=""),
                _reference("resident_on", "host"),
                _reference("scheduled_to_be_resident_on", "host", xe=""),
                _reference("affinity", "host"),
                _flag("ha_always_run"),
                _text("ha_restart_priority"),
                Column("order", Kind.INT, default=0, low=-_INT64_MAX),
                Column("start_delay", Kind.INT, default=0, low=-_INT64_MAX),
                Column("groups", Kind.REFS, default=(), target="VM_group"),
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
                _entry("cpu_info", "cpu_count", "cpu_count", xe="cpu_info"),
                _reference("metrics", "host_metrics"),
                _reference("control_domain", "VM", xe="control-domain-uuid"),
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
                _entry("restrictions", "restrict_dmc", "restrict_dmc"),
                _entry("other_config", "auto_poweron", "auto_poweron"),
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
    )
}
