"""Inventories of every format to the pool database, through the readers of xenmem.inventory with all columns.

A field that the file lacks gets the schema's default; what a server computes when it first starts on an older database
(domain types, overheads) is computed here. Operations under way are left behind, for their tasks are, and nothing would
ever end them; what they reserved is kept. Tables and fields that the data model does not know are kept as they come.
"""

import gc
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, Final

import numpy as np

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
from xenmem.inventory.source import read_pools
from xenmem.inventory.table import Codec, RawTable
from xenmem.kernel import DomainType
from xenmem.rules import upgrade
from xenmem.rules.hosts import Model, assumed_model
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
_LEFT_BEHIND: Final = ("allowed_operations", "current_operations")


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


_PRESENCES: Final = {"VM": (_presence("domain_type"), _presence("memory/overhead"), _presence("requires_reboot"))}


def _table_schema(schema: ClassSchema) -> TableSchema:
    columns = tuple(_column(schema.fields[name]) for name in stored_fields(schema.name) if name not in _LEFT_BEHIND)
    return TableSchema(schema.name, columns + _PRESENCES.get(schema.name, ()), schema.signature)


_SCHEMAS: Final = {
    name: _table_schema(row_class.schema) for name, row_class in ROW_CLASSES.items() if row_class.schema.persistent
}


def read(source: str | os.PathLike[str] | IO[bytes], *, lenient: bool = False, seed: int | None = None) -> Database:
    """The database of the pool in an inventory.

    Parameters
    ----------
    source : a path, ``-`` or a binary file, in any format that `xenmem.read` knows
    lenient : skip bad rows
    seed : see Database

    Raises
    ------
    InventoryError : it cannot be read, or holds several pools
    """

    def build(tables: Mapping[str, RawTable], codec: Codec, origin: Origin) -> Database:
        return _build(tables, codec, origin, seed)

    with _collector_resting():
        pools = read_pools(source, Target(_SCHEMAS, build, known=CLASSES), lenient=lenient)
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


def from_fleet(fleet: Fleet, *, seed: int | None = None) -> Database:
    """The database of a Fleet of one pool: what a Fleet does not hold has the schema's defaults.

    Parameters
    ----------
    fleet : of one pool
    seed : see Database

    Raises
    ------
    ValueError : the fleet has several pools
    """
    if len(fleet.pools) != 1:
        raise ValueError(f"fleet: has {len(fleet.pools)} pools, and a database is that of one")
    database = Database(seed=seed)
    database.assume(Model(fleet.pools.model[0]))
    hosts, vms, groups = fleet.hosts, fleet.vms, fleet.vm_groups
    host_refs, group_refs = hosts.ref.tolist(), groups.ref.tolist()
    vm_refs = vms.ref.tolist()

    def refs(column: Any, names: list[str]) -> list[str]:
        named = [*names, NULL]
        return [named[row] for row in column.tolist()]

    _load_columns(
        database,
        "VM_group",
        group_refs,
        {"uuid": groups.uuid, "name_label": groups.name_label, "placement": groups.placement},
    )
    metrics = [f"{ref}/metrics" for ref in host_refs]
    _load_columns(
        database,
        "host_metrics",
        metrics,
        {"uuid": hosts.uuid, "memory_total": hosts.memory_total, "memory_free": hosts.memory_free, "live": hosts.live},
    )
    _load_columns(
        database,
        "host",
        host_refs,
        {
            "uuid": hosts.uuid,
            "name_label": hosts.name_label,
            "hostname": hosts.hostname,
            "address": hosts.address,
            "memory_overhead": hosts.memory_overhead,
            "boot_free_mem": hosts.boot_free_mem,
            "enabled": hosts.enabled,
            "software_version": hosts.software_version,
            "cpu_info": [{"cpu_count": str(count)} if count else {} for count in hosts.cpu_count.tolist()],
            "metrics": metrics,
            "control_domain": refs(hosts.control_domain, vm_refs),
        },
    )
    _load_columns(
        database,
        "pool",
        fleet.pools.ref.tolist() if fleet.pools.ref[0] else [database.new_ref()],
        {
            "uuid": fleet.pools.uuid,
            "name_label": fleet.pools.name_label,
            "master": refs(fleet.pools.master, host_refs),
            "ha_enabled": fleet.pools.ha_enabled,
            "ha_host_failures_to_tolerate": fleet.pools.ha_host_failures_to_tolerate,
            "ha_plan_exists_for": fleet.pools.ha_plan_exists_for,
            "ha_allow_overcommit": fleet.pools.ha_allow_overcommit,
            "restrictions": [{"restrict_dmc": str(bool(value)).lower()} for value in fleet.pools.restrict_dmc],
        },
    )
    vm_metrics = [f"{ref}/metrics" for ref in vm_refs]
    _load_columns(
        database,
        "VM_metrics",
        vm_metrics,
        {"uuid": vms.uuid, "memory_actual": vms.memory_actual, "nested_virt": vms.nested_virt},
    )
    power_states = {state.value: state.name.capitalize() for state in PowerState}
    domain_types = {kind.value: kind.name.lower() for kind in DomainType}
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
            "resident_on": refs(vms.resident_on, host_refs),
            "scheduled_to_be_resident_on": refs(vms.scheduled_to_be_resident_on, host_refs),
            "affinity": refs(vms.affinity, host_refs),
            "groups": [tuple(group_refs[row] for row in rows) for rows in vms.groups],
            "metrics": vm_metrics,
        },
    )
    return database


def _load_columns(database: Database, class_name: str, refs: list[str], columns: Mapping[str, Any]) -> None:
    row_class = ROW_CLASSES[class_name]
    loaded = [row_class(ref) for ref in refs]
    for name, column in columns.items():
        values = column.tolist() if isinstance(column, np.ndarray) else column
        for row, value in zip(loaded, values, strict=True):
            setattr(row, name, value)
    database.load(class_name, loaded)


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
    no_type, no_overhead, old = (
        lacks[name] for name in ("has_domain_type", "has_memory_overhead", "has_requires_reboot")
    )
    database.assume(assumed_model([not lacking for lacking in no_type]))
    for number, vm in enumerate(loaded):
        if no_type[number]:
            always_pv = vm.is_control_domain and upgrade.is_up_to_7_0(origin.schema_minor, old[number])
            vm.domain_type = "hvm" if upgrade.derives_hvm(bool(vm.HVM_boot_policy), always_pv) else "pv"
        if no_overhead[number] and vm.domain_type != "unspecified":
            vm.memory_overhead = accounting.overhead(database.model, vm)
