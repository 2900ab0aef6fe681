"""Inventories of every format to the pool database, through the readers of xenmem.inventory with all columns.

A field that the file lacks gets the schema's default; what a server computes when it first starts on an older database
(domain types, overheads) is computed here. Operations under way are left behind, for their tasks are, and nothing would
ever end them; what they reserved is kept. Tables and fields that the data model does not know are kept as they come.
"""

import gc
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import repeat
from typing import Any, Final

import numpy as np

from xenmem.columns import Tables, Unknown
from xenmem.datamodel import CLASSES, ClassSchema, Field
from xenmem.datamodel.types import (
    INT64_MAX,
    INT64_MIN,
    NULL,
    STRING_MAP,
    BoolType,
    EnumType,
    FloatType,
    IntType,
    MapType,
    RefType,
    SetType,
    StringType,
    Type,
)
from xenmem.fleet import Fleet, PowerState
from xenmem.inventory.assemble import Origin, Target
from xenmem.inventory.error import InventoryError
from xenmem.inventory.schema import Column, Kind, TableSchema
from xenmem.inventory.source import Source, read_pools
from xenmem.inventory.table import Codec, RawTable
from xenmem.kernel import DomainType
from xenmem.rules import upgrade
from xenmem.rules.guest import ANNOUNCED, CANNOT_SUSPEND, FEATURE_SUSPEND
from xenmem.rules.hosts import Model, assumed_model
from xenmem.rules.mobility.cpu import FEATURES, VENDOR
from xenmem.rules.mobility.networks import SHARED_BY_FLAG
from xenmem.xenapi.store import accounting
from xenmem.xenapi.store.database import Database
from xenmem.xenapi.store.rows import ROW_CLASSES, Row, filler, stored_fields

_KINDS: Final[dict[type[Type[Any]], Kind]] = {
    IntType: Kind.INT,
    FloatType: Kind.FLOAT,
    BoolType: Kind.BOOL,
    SetType: Kind.REFS,
    MapType: Kind.MAP,
}
_NULLS: Final = ("", "<not in database>", "<invalid reference>")
_FLEET_FIELDS: Final = (
    "uuid name_label is_control_domain is_a_template is_a_snapshot memory_static_max memory_dynamic_max"
    " memory_dynamic_min memory_static_min memory_overhead VCPUs_max VCPUs_at_startup HVM_shadow_multiplier"
    " ha_always_run ha_restart_priority order start_delay"
)
_BOOT_POLICY: Final = "BIOS order"
_LEFT_BEHIND: Final = ("allowed_operations", "current_operations")
_LACKED: Final = {
    Unknown.STORAGE: ("SR", "PBD", "VDI", "VBD"),
    Unknown.NETWORKS: ("VIF", "network", "PIF"),
    Unknown.DEVICES: ("PCI", "PGPU", "VGPU", "PUSB", "VUSB"),
}
"""The classes of which a Fleet says nothing where it does not know these needs."""
_CPUS_ENOUGH: Final = 1 << 20
_HVM: Final = ("hvm-3.0-x86_64",)
_DRIVERS: Final = {"major": "1", "minor": "0"}


def _column(field: Field) -> Column:
    kind = _KINDS.get(type(field.type), Kind.TEXT)
    low, high = (-sys.float_info.max, sys.float_info.max) if kind is Kind.FLOAT else (INT64_MIN, INT64_MAX)
    return Column(
        field.path,
        kind,
        default=field.default,
        low=low,
        high=high,
        xe=field.xe,
    )


def _presence(path: str) -> Column:
    return Column(path, Kind.PRESENT, name=f"has_{path.replace('/', '_')}")


_LIMITS: Final = (
    ("memory/dynamic_max", "memory_static_max"),
    ("memory/dynamic_min", "memory_dynamic_max"),
    ("VCPUs/at_startup", "VCPUs_max"),
)
"""Fields that a file may lack, and what is taken for them, as a Fleet does."""
_PRESENCES: Final = {
    "VM": tuple(
        map(
            _presence,
            ("domain_type", "memory/overhead", "requires_reboot", "HVM/boot_policy", *(path for path, _ in _LIMITS)),
        )
    )
}


def _table_schema(schema: ClassSchema) -> TableSchema:
    columns = tuple(_column(schema.fields[name]) for name in stored_fields(schema.name) if name not in _LEFT_BEHIND)
    return TableSchema(schema.name, columns + _PRESENCES.get(schema.name, ()), schema.signature)


_SCHEMAS: Final = {
    name: _table_schema(row_class.schema) for name, row_class in ROW_CLASSES.items() if row_class.schema.persistent
}


def read(source: Source, *, lenient: bool = False, seed: int | None = None) -> Database:
    """The database of the pool in an inventory.

    Parameters
    ----------
    source : a path, ``-``, a binary file, or a pool that runs: whatever `xenmem.read` takes of one pool
    lenient : skip bad rows
    seed : see Database

    Raises
    ------
    InventoryError : it cannot be read, or holds several pools
    """

    def build(tables: Mapping[str, RawTable], codec: Codec, origin: Origin) -> Database:
        return _build(tables, codec, origin, seed)

    def of_tables(tables: Tables) -> Database:
        if len(tables.pools) != 1:
            raise InventoryError(str(source), "", f"holds {len(tables.pools)} pools, and a database is that of one")
        return from_fleet(Fleet(*tables), seed=seed)

    with _collector_resting():
        pools = read_pools(source, Target(_SCHEMAS, build, of_tables, known=CLASSES), lenient=lenient)
    if len(pools) != 1:
        raise InventoryError(str(source), "", f"holds {len(pools)} pools, and a database is that of one")
    return pools[0]


@contextmanager
def _collector_resting() -> Iterator[None]:
    """Millions of objects come and none goes: the cyclic collector would look at all of them over and over."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def from_fleet(fleet: Fleet, pool: int | None = None, *, seed: int | None = None) -> Database:
    """The database of one pool of a Fleet: what a Fleet does not hold has the schema's defaults.

    Parameters
    ----------
    fleet : any
    pool : its row; by default the only one
    seed : see Database

    Raises
    ------
    ValueError : the fleet has several pools, and none is named

    Notes
    -----
    Hosts of which a Fleet does not tell it run HVM guests, have CPUs enough, and suspend VMs to an SR that they see.
    What decides of guests is told by rows that say the same: their metrics, and as many devices as they have.
    Operations under way are left behind.
    """
    if pool is None:
        if len(fleet.pools) != 1:
            raise ValueError(f"fleet: has {len(fleet.pools)} pools, and a database is that of one")
        pool = 0
    with _collector_resting():
        return _from_fleet(fleet, pool, seed)


def _from_fleet(fleet: Fleet, pool: int, seed: int | None) -> Database:
    database = Database(seed=seed)
    database.assume(Model(fleet.pools.model[pool]))
    told = np.bitwise_or.reduce(fleet.vms.not_told[fleet.vms.pool == pool], initial=0)
    database.lacks = frozenset(name for unknown, names in _LACKED.items() if told & unknown for name in names)
    database.has_internal_fields = False
    tables = (fleet.hosts, fleet.vms, fleet.vm_groups, fleet.srs, fleet.networks)
    hosts, vms, groups, srs, networks = (_Chosen(table, np.flatnonzero(table.pool == pool)) for table in tables)
    all_hosts, all_vms = [*fleet.hosts.ref.tolist(), NULL], [*fleet.vms.ref.tolist(), NULL]
    all_groups = fleet.vm_groups.ref.tolist()

    def refs(column: Any, named: list[str]) -> list[str]:
        return [named[row] for row in column.tolist()]

    _load_columns(
        database,
        "VM_group",
        groups.ref.tolist(),
        {"uuid": groups.uuid, "name_label": groups.name_label, "placement": groups.placement},
    )
    metrics = [f"{ref}/metrics" for ref in hosts.ref.tolist()]
    _load_columns(
        database,
        "host_metrics",
        metrics,
        {"uuid": hosts.uuid, "memory_total": hosts.memory_total, "memory_free": hosts.memory_free, "live": hosts.live},
    )
    _load_columns(
        database,
        "host",
        hosts.ref.tolist(),
        {
            "uuid": hosts.uuid,
            "name_label": hosts.name_label,
            "hostname": hosts.hostname,
            "address": hosts.address,
            "memory_overhead": hosts.memory_overhead,
            "boot_free_mem": hosts.boot_free_mem,
            "enabled": hosts.enabled,
            "software_version": hosts.software_version,
            "cpu_info": [
                {**told, "cpu_count": str(count or _CPUS_ENOUGH)}
                for told, count in zip(hosts.cpu_info, hosts.cpu_count.tolist(), strict=True)
            ],
            "capabilities": [_HVM if is_so else () for is_so in hosts.hvm.tolist()],
            "chipset_info": [
                {} if is_so < 0 else {"iommu": str(bool(is_so)).lower()} for is_so in hosts.iommu.tolist()
            ],
            "virtual_hardware_platform_versions": hosts.virtual_hardware_platform_versions,
            "metrics": metrics,
            "control_domain": refs(hosts.control_domain, all_vms),
            "tags": hosts.tags,
            "suspend_image_sr": [fleet.srs.ref[seen[0]] if seen else NULL for seen in hosts.attached_srs],
        },
    )
    pools = _Chosen(fleet.pools, np.array([pool]))
    _load_columns(
        database,
        "pool",
        pools.ref.tolist() if pools.ref[0] else [database.new_ref()],
        {
            "uuid": pools.uuid,
            "name_label": pools.name_label,
            "master": refs(pools.master, all_hosts),
            "ha_enabled": pools.ha_enabled,
            "ha_host_failures_to_tolerate": pools.ha_host_failures_to_tolerate,
            "ha_plan_exists_for": pools.ha_plan_exists_for,
            "ha_allow_overcommit": pools.ha_allow_overcommit,
            "ha_overcommitted": pools.ha_overcommitted,
            "tags": pools.tags,
            "other_config": [{"auto_poweron": "true"} if is_so else {} for is_so in pools.auto_poweron.tolist()],
            "restrictions": [{"restrict_dmc": str(bool(value)).lower()} for value in pools.restrict_dmc],
        },
    )
    power_states = {state.value: state.name.capitalize() for state in PowerState}
    domain_types = {kind.value: kind.name.lower() for kind in DomainType}
    vm_refs = vms.ref.tolist()
    vm_metrics = [f"{ref}/metrics" for ref in vm_refs]
    _load_columns(
        database,
        "VM_metrics",
        vm_metrics,
        {
            "uuid": vms.uuid,
            "memory_actual": vms.memory_actual,
            "nested_virt": vms.nested_virt,
            "nomigrate": vms.is_immobile & ~vms.nested_virt,
            "current_domain_type": [domain_types[code] for code in vms.current_domain_type.tolist()],
        },
    )
    told = vms.has_guest_metrics.any()
    reported = np.flatnonzero(vms.has_guest_metrics if told else vms.resident_on >= 0)
    suspends = vms.has_feature_suspend if told else np.ones(len(vm_refs), np.bool_)
    guests = {int(row): f"{vm_refs[row]}/guest_metrics" for row in reported.tolist()}
    _load_columns(
        database,
        "VM_guest_metrics",
        list(guests.values()),
        {
            "uuid": vms.uuid[reported],
            "PV_drivers_version": [_DRIVERS if has else {} for has in vms.has_pv_drivers[reported].tolist()],
            "other": [
                ({FEATURE_SUSPEND: ANNOUNCED} if suspend else {}) | ({CANNOT_SUSPEND: ""} if refuses else {})
                for suspend, refuses in zip(
                    suspends[reported].tolist(), vms.refuses_suspend[reported].tolist(), strict=True
                )
            ],
        },
    )
    _load_reach(fleet, database, hosts, vms, srs, networks)
    suspended = (vms.power_state == PowerState.SUSPENDED).tolist()
    same = _FLEET_FIELDS.split()
    _load_columns(
        database,
        "VM",
        vm_refs,
        {
            **{name: getattr(vms, name) for name in same},
            "memory_target": np.maximum(vms.memory_target, 0),
            "power_state": [power_states[code] for code in vms.power_state.tolist()],
            "domain_type": [domain_types[code] for code in vms.domain_type.tolist()],
            "resident_on": refs(vms.resident_on, all_hosts),
            "scheduled_to_be_resident_on": refs(vms.scheduled_to_be_resident_on, all_hosts),
            "affinity": refs(vms.affinity, all_hosts),
            "groups": [tuple(all_groups[row] for row in rows) for rows in vms.groups],
            "platform": [{"vcpu-unrestricted": "true"} if may else {} for may in vms.vcpu_unrestricted.tolist()],
            "blocked_operations": [{"pool_migrate": ""} if is_so else {} for is_so in vms.is_migration_blocked],
            "suspend_VDI": [
                f"{ref}/suspend_VDI" if is_so else NULL for ref, is_so in zip(vm_refs, suspended, strict=True)
            ],
            "tags": vms.tags,
            "hardware_platform_version": vms.hardware_platform_version,
            "last_boot_CPU_flags": [
                {} if vendor is None else {VENDOR: vendor, FEATURES: features or ""}
                for vendor, features in zip(vms.cpu_vendor, vms.cpu_features, strict=True)
            ],
            "other_config": [{"auto_poweron": "true"} if is_so else {} for is_so in vms.auto_poweron.tolist()],
            "metrics": vm_metrics,
            "guest_metrics": [guests.get(row, NULL) for row in range(len(vm_refs))],
        },
    )
    return database


def _load_reach(fleet: Fleet, database: Database, hosts: Any, vms: Any, srs: Any, networks: Any) -> None:
    """What decides where VMs can run, as rows that say the same: a disk for each SR that a VM needs, and so on."""
    sr_refs, network_refs = fleet.srs.ref.tolist(), fleet.networks.ref.tolist()
    host_refs, vm_refs = hosts.ref.tolist(), vms.ref.tolist()
    _load_columns(
        database,
        "SR",
        srs.ref.tolist(),
        {"uuid": srs.uuid, "name_label": srs.name_label, "shared": srs.shared, "type": srs.type},
    )
    _load_columns(
        database,
        "network",
        networks.ref.tolist(),
        {
            "uuid": networks.uuid,
            "name_label": networks.name_label,
            "other_config": [
                {SHARED_BY_FLAG: "true"} if shared else {}
                for shared in (~networks.has_pifs & ~networks.is_pinning).tolist()
            ],
        },
    )

    def load(class_name: str, of: list[str], needed: Any, refs: list[str], **fields: Any) -> list[tuple[str, str]]:
        """A row for each of those that an object has; gives of whom it is and what it has."""
        pairs = [(owner, refs[row]) for owner, rows in zip(of, needed, strict=True) for row in rows]
        made = [f"{owner}/{class_name}/{other}" for owner, other in pairs]
        columns = {name: value(pairs, made) for name, value in fields.items()}
        _load_columns(database, class_name, made, {"uuid": made, **columns})
        return pairs

    def first(pairs: list[tuple[str, str]], _: list[str]) -> list[str]:
        return [owner for owner, _ in pairs]

    def second(pairs: list[tuple[str, str]], _: list[str]) -> list[str]:
        return [other for _, other in pairs]

    def attached(pairs: list[tuple[str, str]], _: list[str]) -> list[bool]:
        return [True] * len(pairs)

    load("PBD", host_refs, hosts.attached_srs, sr_refs, host=first, SR=second, currently_attached=attached)
    slaves = {
        (host, network_refs[row]) for host, rows in zip(host_refs, hosts.enslaved_networks, strict=True) for row in rows
    }
    load(
        "PIF",
        host_refs,
        hosts.networks,
        network_refs,
        host=first,
        network=second,
        currently_attached=attached,
        physical=attached,
        bond_slave_of=lambda pairs, made: [
            f"{ref}/Bond" if pair in slaves else NULL for pair, ref in zip(pairs, made, strict=True)
        ],
    )
    reset = {ref for ref, is_so in zip(vm_refs, vms.has_reset_disk.tolist(), strict=True) if is_so}
    load(
        "VDI",
        vm_refs,
        vms.needed_srs,
        sr_refs,
        SR=second,
        managed=attached,
        sm_config=lambda pairs, _: [{"on_boot": "reset", "caching": "true"} if vm in reset else {} for vm, _ in pairs],
    )
    load(
        "VBD",
        vm_refs,
        vms.needed_srs,
        sr_refs,
        VM=first,
        VDI=lambda pairs, _: [f"{vm}/VDI/{sr}" for vm, sr in pairs],
    )
    load("VIF", vm_refs, vms.needed_networks, network_refs, VM=first, network=second)
    gpus = np.where(vms.has_pinned_vgpu, vms.VGPUs, 0)
    group, kind = ("a GPU", "a type of vGPU") if gpus.any() else (NULL, NULL)
    if gpus.any():
        _load_columns(database, "GPU_group", [group], {"uuid": [group]})
        _load_columns(database, "VGPU_type", [kind], {"uuid": [kind]})
    for class_name, counts, link, more in (
        ("VUSB", vms.VUSBs, "VM", {}),
        ("VGPU", gpus, "VM", {"GPU_group": repeat(group), "type": repeat(kind)}),
        ("PCI", np.where(vms.has_foreign_pci, vms.attached_PCIs, 0), "attached_VMs", {}),
    ):
        owners = [vm_refs[row] for row in np.flatnonzero(counts).tolist() for _ in range(int(counts[row]))]
        linked = [(owner,) for owner in owners] if class_name == "PCI" else owners
        devices = [f"{owner}/{class_name}/{at}" for at, owner in enumerate(owners)]
        _load_columns(database, class_name, devices, {"uuid": devices, link: linked, **more})


class _Chosen:
    """Some rows of a table."""

    def __init__(self, table: Any, rows: Any) -> None:
        self._table = table
        self._rows = None if len(rows) == len(table) else rows

    def __getattr__(self, name: str) -> Any:
        column = getattr(self._table, name)
        return column if self._rows is None else column[self._rows]


def _load_columns(database: Database, class_name: str, refs: list[str], columns: Mapping[str, Any]) -> None:
    """Take rows of these fields in; the others have their defaults."""
    if not refs:
        return
    fields = CLASSES[class_name].fields
    values = [
        column.tolist() if isinstance(column := columns.get(name, repeat(fields[name].default)), np.ndarray) else column
        for name in stored_fields(class_name)
    ]
    database.load(class_name, list(map(filler(class_name), refs, *values)))


def _build(tables: Mapping[str, RawTable], codec: Codec, origin: Origin, seed: int | None) -> Database:
    if not len(tables["VM"]) and not len(tables["host"]):
        raise InventoryError(origin.source, "", "holds neither VMs nor hosts")
    if len(tables["pool"]) > 1:
        raise InventoryError(origin.source, "", f"holds {len(tables['pool'])} pool records")
    database = Database(seed=seed)
    if codec.format != "statedb":
        database.lacks = frozenset(name for name, table in tables.items() if not len(table))
        database.has_internal_fields = False
    loaded = {name: _rows(CLASSES[name], table, codec, origin) for name, table in tables.items()}
    database.load_all({name: rows for name, rows in loaded.items() if name != "VM"})
    lacks = {column.result: (~tables["VM"].column(column.result)).tolist() for column in _PRESENCES["VM"]}
    _upgrade(database, loaded["VM"], lacks, origin)
    database.load("VM", loaded["VM"])
    for name, kept in origin.unknown.items():
        table = database.tables.get(name)
        if table is None:
            database.unknown[name] = kept
            continue
        for ref, values in kept.items():
            if (row := table.get(ref)) is not None:
                row.unknown = values
    if not len(database.pool):
        master = next((host.ref for host in database.host), NULL)
        database.load("pool", [database.new_row("pool", master=master)])
    return database


def _rows(schema: ClassSchema, table: RawTable, codec: Codec, origin: Origin) -> list[Row]:
    columns: list[list[Any]] = []
    for name in stored_fields(schema.name):
        field = schema.fields[name]
        if name in _LEFT_BEHIND:
            values = [field.default] * len(table)
        else:
            values = table.column(name).tolist()
            try:
                values = _converted(field.type, values, codec)
            except (ValueError, TypeError) as problem:
                raise InventoryError(origin.source, "", f"{schema.name}: {name}: {problem}") from None
        columns.append(values)
    return list(map(filler(schema.name), table.rows, *columns))


def _converted(type: Type[Any], values: list[Any], codec: Codec) -> list[Any]:
    """Values as the readers give them, as rows hold them; most already are."""
    if isinstance(type, (IntType, FloatType, BoolType, StringType)) or type is STRING_MAP:
        return values
    if isinstance(type, SetType) and isinstance(type.of, (RefType, StringType)):
        return values
    if isinstance(type, (SetType, MapType)):
        return list(map(type.load, values))
    distinct = set(values)
    if isinstance(type, RefType):
        return values if distinct.isdisjoint(_NULLS) else [NULL if value in _NULLS else value for value in values]
    known: dict[str, Any] = {}
    if isinstance(type, EnumType):
        if distinct <= set(type.members) and codec.format != "xe":
            return values
        known = {codec.spell(member): member for member in type.members}
        if codec.format == "xe":
            known |= dict.fromkeys(_NULLS, type.neutral)
    known |= {value: type.load(value) for value in distinct - known.keys()}
    return [known[value] for value in values]


def _upgrade(database: Database, loaded: list[Any], lacks: Mapping[str, list[bool]], origin: Origin) -> None:
    """What a server does with the VMs of an older database (inventories.md, 5; xapi_db_upgrade.ml)."""
    no_type, no_overhead, old, no_policy = (
        lacks[name] for name in ("has_domain_type", "has_memory_overhead", "has_requires_reboot", "has_HVM_boot_policy")
    )
    limits = [(path.replace("/", "_"), above) for path, above in _LIMITS]
    database.assume(assumed_model([not lacking for lacking in no_type]))
    for number, vm in enumerate(loaded):
        for name, above in limits:
            if lacks[f"has_{name}"][number]:
                setattr(vm, name, getattr(vm, above))
        if no_type[number]:
            always_pv = vm.is_control_domain and upgrade.is_up_to_7_0(origin.schema_minor, old[number])
            if no_policy[number] and not always_pv:
                vm.HVM_boot_policy = _BOOT_POLICY
            vm.domain_type = "hvm" if upgrade.derives_hvm(bool(vm.HVM_boot_policy), always_pv) else "pv"
        if no_overhead[number] and vm.domain_type != "unspecified":
            vm.memory_overhead = accounting.overhead(database.model, vm)
