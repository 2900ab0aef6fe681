"""Fleets made from others, and from plain columns: with a VM more, less, elsewhere or of another size.

Nothing is changed in place, and columns that stay are shared. Amounts are bytes. What a column is not given gets what
the reader gives a record that does not have the field.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xenmem import kernel
from xenmem.columns import TABLE_TYPES, Hosts, PowerState, Rows, Table, Tables, Unknown, VMs
from xenmem.inventory.records import read_tables
from xenmem.kernel.model import model_name_for
from xenmem.rules.mobility.cpu import FEATURES, VENDOR

_LIMITS: Final = ("memory_static_max", "memory_dynamic_max", "memory_dynamic_min")
_ALSO: Final = {"name": "name_label", "vcpus": "VCPUs_max", "host": "resident_on"}
"""Short names of columns."""
_FOLLOWS: Final = {
    "VCPUs_at_startup": "VCPUs_max",
    "current_domain_type": "domain_type",
    "accounted_static_max": "memory_static_max",
    "accounted_VCPUs_max": "VCPUs_max",
    "accounted_shadow_multiplier": "HVM_shadow_multiplier",
    "accounted_domain_type": "domain_type",
    "memory_target": "memory_dynamic_max",
}
"""Columns that are another one where they are not given."""


def row_of(table: Table, name: int | str, what: str) -> int:
    """The row that is meant: a row, or the one whose reference, uuid or name is given.

    Raises
    ------
    ValueError : there is none, or several are called so
    """
    if isinstance(name, str):
        rows = table.find(name)
        if len(rows) != 1:
            raise ValueError(
                f"{what}: {'no' if not len(rows) else len(rows)} row{'s' * (len(rows) > 1)} named {name!r}"
            )
        return int(rows[0])
    if not 0 <= name < len(table):
        raise ValueError(f"{what}: row {name} is outside 0..{len(table) - 1}")
    return int(name)


def moved(tables: Tables, places: Mapping[int | str, int | str | None]) -> VMs:
    """See Fleet.moved."""
    vms = tables.vms
    changing = ("resident_on", "power_state", "memory_overhead", "cpu_vendor", "cpu_features", "not_told")
    columns = {name: getattr(vms, name).copy() for name in changing}
    scheduled = vms.scheduled_to_be_resident_on.copy()
    for vm, host in places.items():
        row = row_of(vms, vm, "vm")
        target = -1 if host is None else row_of(tables.hosts, host, "host")
        if target >= 0 and tables.hosts.pool[target] != vms.pool[row]:
            raise ValueError(f"host: {tables.hosts.label(target)} is in another pool than {vms.label(row)}")
        if columns["resident_on"][row] < 0 or target < 0:  # it starts next, or now
            columns["memory_overhead"][row] = _overhead(tables, row, int(vms.memory_static_max[row]))
        if vms.power_state[row] == PowerState.HALTED and target >= 0:
            _boot(tables, row, columns)
        columns["resident_on"][row] = target
        columns["power_state"][row] = PowerState.HALTED if target < 0 else PowerState.RUNNING
        scheduled[row] = -1
    return replace(vms, scheduled_to_be_resident_on=scheduled, **columns)


def _boot(tables: Tables, row: int, columns: Mapping[str, NDArray[Any]]) -> None:
    """A VM that boots gets what all hosts of its pool have of CPU features, where the pool tells it."""
    level = tables.pools.cpu_info[tables.vms.pool[row]]
    is_pv = tables.vms.domain_type[row] == kernel.DomainType.PV
    features = level.get("features_pv" if is_pv else "features_hvm", level.get(FEATURES))
    columns["cpu_vendor"][row], columns["cpu_features"][row] = level.get(VENDOR), features
    if features is None:
        columns["not_told"][row] |= np.uint8(Unknown.CPU)


def resized(tables: Tables, sizes: Mapping[int | str, int]) -> VMs:
    """See Fleet.resized."""
    vms = tables.vms
    columns = {name: getattr(vms, name).copy() for name in (*_LIMITS, "memory_overhead", "accounted_static_max")}
    for vm, memory in sizes.items():
        row = row_of(vms, vm, "vm")
        if not 0 < memory <= kernel.MAX_BYTES:
            raise ValueError(f"memory: {memory} of {vms.label(row)} is outside 1..{kernel.MAX_BYTES}")
        for name in (*_LIMITS, "accounted_static_max"):
            columns[name][row] = memory
        columns["memory_overhead"][row] = _overhead(tables, row, memory)
    static_min = np.minimum(vms.memory_static_min, columns["memory_static_max"])
    return replace(vms, memory_static_min=static_min, **columns)


def _overhead(tables: Tables, row: int, static_max: int) -> int:
    vms = tables.vms
    model = tables.pools.model[vms.pool[row]]
    kind, multiplier = vms.domain_type[row], vms.HVM_shadow_multiplier[row]
    return int(kernel.overhead(kind, static_max, vms.VCPUs_max[row], multiplier, model=model))


def without(tables: Tables, vms: Iterable[int | str]) -> dict[str, Table]:
    """See Fleet.without_vm."""
    keep = np.ones(len(tables.vms), np.bool_)
    keep[[row_of(tables.vms, vm, "vm") for vm in vms]] = False
    number = np.append(np.where(keep, np.cumsum(keep) - 1, -1), -1).astype(np.int32)
    changed: dict[str, Table] = {"vms": type(tables.vms)(**{n: c[keep] for n, c in tables.vms.columns().items()})}
    for name in TABLE_TYPES:
        table = changed.get(name, getattr(tables, name))
        pointing = {column: number[getattr(table, column)] for column, of in table.references().items() if of == "vms"}
        if pointing:
            changed[name] = replace(table, **pointing)
    return changed


def with_vms(tables: Tables, columns: Mapping[str, Any]) -> VMs:
    """See Fleet.with_vm."""
    more = _vms(tables, columns)
    old = tables.vms.columns()
    return VMs(**{name: np.concatenate([old[name], column]) for name, column in more.columns().items()})


def from_columns(vms: Mapping[str, Any], hosts: Mapping[str, Any], version: str) -> Tables:
    """See Fleet.from_columns."""
    blank = _blank()
    pools = replace(blank.pools, model=np.array([model_name_for(version)], object), master=np.array([-1], np.int32))
    empty = {name: kind(**{n: c[:0] for n, c in getattr(blank, name).columns().items()}) for name, kind in _REST}
    tables = Tables(vms=blank.vms, hosts=_hosts(blank, hosts), pools=pools, **empty)  # type: ignore[arg-type]
    return tables._replace(vms=_vms(tables, vms))


_REST: Final = [(name, kind) for name, kind in TABLE_TYPES.items() if name not in ("vms", "hosts", "pools")]


@cache
def _blank() -> Tables:
    """A pool of one host and one VM of which nothing is said."""
    vm = {"uuid": "v", "memory_static_max": 0, "memory_overhead": 0, "domain_type": "hvm", "VCPUs_max": 1}
    host = {"uuid": "h", "memory_overhead": 0, "enabled": True}
    return read_tables({"pool": {"p": {"master": ""}}, "host": {"h": host}, "VM": {"v": vm}}, source="columns")


def _given(columns: Mapping[str, Any], known: Iterable[str], what: str) -> tuple[dict[str, NDArray[Any]], int]:
    """The columns by their names in the table, and how long they are."""
    given: dict[str, NDArray[Any]] = {}
    for name in columns.keys():  # noqa: SIM118  (data frames have keys)
        column = np.asarray(columns[name])
        full = _ALSO.get(name, name)
        if full not in known:
            raise ValueError(f"{what}: there is no column {name}")
        given[full] = column if column.ndim else column.reshape(1)
    lengths = {len(column) for column in given.values()}
    if len(lengths) > 1:
        raise ValueError(f"{what}: columns of {' and '.join(map(str, sorted(lengths)))} rows")
    return given, lengths.pop() if lengths else 0


def _filled(blank: Table, given: Mapping[str, NDArray[Any]], number: int, what: str) -> dict[str, NDArray[Any]]:
    """All columns of a table: those given, with their types, and for the rest what a record without the field has."""
    filled = {}
    for name, column in blank.columns().items():
        if name not in given:
            filled[name] = np.repeat(column[:1], number)
            continue
        value = given[name]
        if column.dtype.kind in "iu" and value.dtype.kind not in "iub":
            raise ValueError(f"{what}: {name}: whole numbers are needed, not {value.dtype}")
        if column.dtype.kind in "iu" and len(value):
            limits = np.iinfo(column.dtype)
            if value.min() < limits.min or value.max() > limits.max:
                raise ValueError(f"{what}: {name}: a value is outside {limits.min}..{limits.max}")
        filled[name] = value.astype(column.dtype)
    for name in ("ref", "uuid"):
        if name not in given:
            filled[name] = np.array([f"{what}-{row}" for row in range(number)], object)
    if "name_label" not in given:
        filled["name_label"] = filled["ref"].copy()
    return filled


def _hosts(blank: Tables, columns: Mapping[str, Any]) -> Hosts:
    given, number = _given(columns, blank.hosts.columns(), "hosts")
    if "memory_total" not in given:
        raise ValueError("hosts: there is no column memory_total")
    given = {"live": np.ones(number, np.bool_), "enabled": np.ones(number, np.bool_)} | given
    filled = _filled(blank.hosts, given, number, "hosts")
    filled["pool"] = np.zeros(number, np.int32)
    filled["control_domain"] = np.full(number, -1, np.int32)
    return Hosts(**filled)


def _vms(tables: Tables, columns: Mapping[str, Any]) -> VMs:
    blank = _blank().vms
    memory = columns["memory"] if "memory" in columns.keys() else None  # noqa: SIM118
    rest = {name: columns[name] for name in columns.keys() if name != "memory"}  # noqa: SIM118
    given, number = _given(rest if memory is None else {**rest, "memory_static_max": memory}, blank.columns(), "vms")
    if "memory_static_max" not in given:
        raise ValueError("vms: there is no column memory")
    for name in _LIMITS[1:]:
        given.setdefault(name, given["memory_static_max"])
    on = given.get("resident_on")
    if on is not None and on.dtype.kind in "OU":
        given["resident_on"] = _named_hosts(tables.hosts, on)
    given.setdefault("VCPUs_max", np.ones(number, np.int64))
    given.setdefault("HVM_shadow_multiplier", np.ones(number))
    given.setdefault("domain_type", np.full(number, int(kernel.DomainType.HVM)))
    for name, source in _FOLLOWS.items():
        given.setdefault(name, given[source])
    running = given.get("resident_on", np.full(number, -1)) >= 0
    given.setdefault("power_state", np.where(running, PowerState.RUNNING, PowerState.HALTED))
    filled = _filled(blank, given, number, "vms")
    filled["pool"] = np.zeros(number, np.int32)
    hosted = filled["resident_on"]
    if running.any() and len(tables.hosts):
        filled["pool"][running] = tables.hosts.pool[np.minimum(hosted[running], len(tables.hosts) - 1)]
    if "memory_overhead" not in given:
        filled["memory_overhead"] = _overheads(tables, filled)
    return VMs(**filled)


def _overheads(tables: Tables, filled: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    answer = np.empty(len(filled["ref"]), np.int64)
    models = tables.pools.model[filled["pool"]]
    names = ("domain_type", "memory_static_max", "VCPUs_max", "HVM_shadow_multiplier")
    for model in dict.fromkeys(models.tolist()):
        rows = models == model
        answer[rows] = kernel.overhead(*(filled[name][rows] for name in names), model=model)
    return answer


def _named_hosts(hosts: Hosts, names: NDArray[Any]) -> Rows:
    """The rows of hosts by name; none for what is empty."""
    different, places = np.unique(names.astype(str), return_inverse=True)
    nowhere = ("", "None", "nan")
    rows = [-1 if name in nowhere else row_of(hosts, name, "host") for name in different.tolist()]
    return np.array(rows, np.int32)[places]
