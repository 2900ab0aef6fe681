"""What follows a change of the pool database: sums of memory per host, derived sets, indexes, what is out of date.

An effect is called after the field is set, with what it was and is; an arrival after a row came (1) or went (-1).
Amounts are bytes. Knows no message and no file.
"""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, cast

from xenmem.datamodel import CLASSES
from xenmem.datamodel import RELATIONS as DECLARED
from xenmem.datamodel.types import NULL, SetType
from xenmem.xenapi.store.rows import ROW_CLASSES, stored_fields

if TYPE_CHECKING:
    from xenmem.xenapi.store import rows
    from xenmem.xenapi.store.database import Database
    from xenmem.xenapi.store.rows import Row


def _count(database: "Database", host: "rows.host", vm: "rows.VM") -> None:
    overhead = vm.memory_overhead  # as accounting.used_memory, which would cost most of a start
    host.used_static_max += vm.memory_static_max + overhead
    host.used_dynamic_max += vm.memory_dynamic_max + overhead
    host.used_dynamic_min += vm.memory_dynamic_min + overhead
    database.recount(host.ref)


def _discount(database: "Database", host: "rows.host", vm: "rows.VM") -> None:
    overhead = vm.memory_overhead
    host.used_static_max -= vm.memory_static_max + overhead
    host.used_dynamic_max -= vm.memory_dynamic_max + overhead
    host.used_dynamic_min -= vm.memory_dynamic_min + overhead
    database.recount(host.ref)


def leave(database: "Database", vm: "rows.VM", old: str) -> None:
    """A VM is resident on a host no longer."""
    host = database.host.rows.get(old)
    if host is not None:
        del host.resident[vm.ref]
        _discount(database, host, vm)
        database.touched(host)


def _move_resident(database: "Database", vm: "rows.VM", old: str, new: str) -> None:
    leave(database, vm, old)
    host = database.host.rows.get(new)
    if host is not None:
        host.resident[vm.ref] = None
        _count(database, host, vm)
        database.touched(host)


def _move_scheduled(database: "Database", vm: "rows.VM", old: str, new: str) -> None:
    hosts = database.host.rows
    host = hosts.get(old)
    if host is not None:
        del host.scheduled[vm.ref]
        _discount(database, host, vm)
    host = hosts.get(new)
    if host is not None:
        host.scheduled[vm.ref] = None
        _count(database, host, vm)


def _configure(database: "Database", vm: "rows.VM", old: Mapping[str, str], new: Mapping[str, str]) -> None:
    database.configured = database.generation


def _grow(*sums: str) -> "Callable[[Database, rows.VM, int, int], None]":
    def effect(database: "Database", vm: "rows.VM", old: int, new: int) -> None:
        for ref in (vm.resident_on, vm.scheduled_to_be_resident_on):
            host = database.host.get(ref)
            if host is not None:
                for name in sums:
                    setattr(host, name, getattr(host, name) + new - old)
                database.recount(ref)

    return effect


def _join_groups(database: "Database", vm: "rows.VM", old: tuple[str, ...], new: tuple[str, ...]) -> None:
    for ref in old:
        group = database.VM_group.get(ref)
        if group is not None:
            group.members.pop(vm.ref, None)
            database.touched(group)
    for ref in new:
        group = database.VM_group.get(ref)
        if group is not None:
            group.members[vm.ref] = None
            database.touched(group)


def _arrive_vm(database: "Database", vm: "rows.VM", sign: int) -> None:
    if sign > 0:
        database.configured = database.generation
        _move_resident(database, vm, NULL, vm.resident_on)
        _move_scheduled(database, vm, NULL, vm.scheduled_to_be_resident_on)
        _join_groups(database, vm, (), vm.groups)
    else:
        _move_resident(database, vm, vm.resident_on, NULL)
        _move_scheduled(database, vm, vm.scheduled_to_be_resident_on, NULL)
        _join_groups(database, vm, vm.groups, ())


def _arrive_host(database: "Database", host: "rows.host", sign: int) -> None:
    database.forget_model()
    database.regroupings += 1
    database.recount(host.ref)
    host.resident.clear()
    host.scheduled.clear()
    host.used_static_max = host.used_dynamic_max = host.used_dynamic_min = 0
    if sign > 0:
        for vm in database.VM:
            if vm.resident_on == host.ref:
                _move_resident(database, vm, NULL, host.ref)
            if vm.scheduled_to_be_resident_on == host.ref:
                _move_scheduled(database, vm, NULL, host.ref)


def _arrive_host_metrics(database: "Database", metrics: "rows.host_metrics", sign: int) -> None:
    database.regroupings += 1


def _arrive_group(database: "Database", group: "rows.VM_group", sign: int) -> None:
    group.members.clear()
    if sign > 0:
        group.members.update({vm.ref: None for vm in database.VM if group.ref in vm.groups})


def _arrive_task(database: "Database", task: "rows.task", sign: int) -> None:
    session = database.session.get(task.session)
    if session is not None and sign > 0:
        session.begun[task.ref] = None
    elif session is not None:
        session.begun.pop(task.ref, None)


def _measure(database: "Database", metrics: "rows.host_metrics", old: int, new: int) -> None:
    for host in database.host:
        if host.metrics == metrics.ref:
            database.recount(host.ref)


def _resize(database: "Database", host: "rows.host", old: Any, new: Any) -> None:
    database.recount(host.ref)


def _arrive_pool(database: "Database", pool: "rows.pool", sign: int) -> None:
    _choose_coordinator(database, pool, None, pool.master)
    if sign > 0:
        database.the_pool = pool


def _choose_coordinator(database: "Database", pool: "rows.pool", old: str | None, new: str) -> None:
    database.forget_model()
    database.regroupings += 1


def _change_cpu(database: "Database", host: "rows.host", old: Any, new: Any) -> None:
    database.regroupings += 1


def _forget_model(database: "Database", row: "Row", old: Any, new: Any) -> None:
    database.forget_model()


def _rename(database: "Database", row: "Row", old: str, new: str) -> None:
    database.tables[row.table].reindex_label(row, old, new)


def _change_uuid(database: "Database", row: "Row", old: str, new: str) -> None:
    database.tables[row.table].reindex_uuid(row, old, new)


Effect = Callable[["Database", Any, Any, Any], None]

Arrival = Callable[["Database", Any, int], None]


class Relation:
    """References of one class to another, which lists the rows that point to each of its own.

    Parameters
    ----------
    source, field : the class and its field: a reference, or a set of them
    target, many : the class that it points to, and the field with the references of those who do, the newest first

    Notes
    -----
    What an inventory lists keeps its order, and what it leaves out comes first, in descending order of reference, as
    the server loads it. Source: xapi-project/xen-api, ocaml/database/db_cache_types.ml (add_to_set, reindex).
    """

    def __init__(self, source: str, field: str, target: str, many: str) -> None:
        self.source = source
        self.field = field
        self.target = target
        self.many = many
        self._is_set = isinstance(CLASSES[source].fields[field].type, SetType)

    def targets(self, row: "Row") -> tuple[str, ...]:
        """What a row points to."""
        value = getattr(row, self.field)
        return value if self._is_set else (value,)

    def effect(self, database: "Database", row: "Row", old: Any, new: Any) -> None:
        """The field got another value."""
        self.change(database, row, *((old, new) if self._is_set else ((old,), (new,))))

    def change(self, database: "Database", row: "Row", old: tuple[str, ...], new: tuple[str, ...]) -> None:
        """A row points to others than before."""
        if old != new:
            for ref in old:
                self._list(database, ref, row.ref, False)
            for ref in new:
                self._list(database, ref, row.ref, True)

    def rebuild(self, database: "Database") -> None:
        """List anew who points to each row; where nobody could, what an inventory says stands."""
        sources, many = database.tables[self.source], attrgetter(self.many)
        if not sources:
            return
        pointing: dict[str, list[str]] = {}
        for row in sources:
            for ref in self.targets(row):
                pointing.setdefault(ref, []).append(row.ref)
        for row in database.tables[self.target]:
            listed, told = pointing.get(row.ref, ()), many(row)
            if len(told) != len(listed) or not set(told).issuperset(listed):
                unlisted = sorted(set(listed).difference(told), reverse=True)
                setattr(row, self.many, (*unlisted, *(ref for ref in dict.fromkeys(told) if ref in set(listed))))

    def _list(self, database: "Database", target: str, ref: str, belongs: bool) -> None:
        row = database.tables[self.target].get(target)
        if row is None:
            return
        listed: tuple[str, ...] = getattr(row, self.many)
        if belongs != (ref in listed):
            wanted = (ref, *listed) if belongs else tuple(other for other in listed if other != ref)
            setattr(row, self.many, wanted)
            database.followed(row, self.many, listed, wanted)


RELATIONS: Final = tuple(
    Relation(*relation)
    for relation in DECLARED
    if relation[:2] != relation[2:]
    and relation[3] in stored_fields(relation[2])
    and CLASSES[relation[2]].fields[relation[3]].inverse is not None
)
"""Those whose other side is held by rows; hosts and VM groups count who points to them by themselves."""

RELATIONS_FROM: Final = {
    name: tuple(relation for relation in RELATIONS if relation.source == name) for name in ROW_CLASSES
}

EFFECTS: Final[dict[str, dict[str, Effect]]] = {
    name: {"uuid": _change_uuid, "name_label": _rename}
    | {relation.field: relation.effect for relation in RELATIONS_FROM[name]}
    for name in ROW_CLASSES
}
EFFECTS["VM"] |= {
    "resident_on": _move_resident,
    "scheduled_to_be_resident_on": _move_scheduled,
    "other_config": _configure,
    "memory_static_max": _grow("used_static_max"),
    "memory_dynamic_max": _grow("used_dynamic_max"),
    "memory_dynamic_min": _grow("used_dynamic_min"),
    "memory_overhead": _grow("used_static_max", "used_dynamic_max", "used_dynamic_min"),
    "groups": _join_groups,
}
EFFECTS["pool"]["master"] = _choose_coordinator
EFFECTS["host"] |= {
    "software_version": _forget_model,
    "memory_overhead": _resize,
    "metrics": _resize,
    "cpu_info": _change_cpu,
    "chipset_info": _change_cpu,
}
EFFECTS["host_metrics"]["memory_total"] = _measure

ARRIVALS: Final = cast(
    dict[str, Arrival],
    {
        "VM": _arrive_vm,
        "VM_group": _arrive_group,
        "host": _arrive_host,
        "host_metrics": _arrive_host_metrics,
        "pool": _arrive_pool,
        "task": _arrive_task,
    },
)
