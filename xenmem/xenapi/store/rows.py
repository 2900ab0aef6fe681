"""One class of Python objects per class of the database: a row is slots, named as the API names the fields.

Rows are read freely and written by Database alone, which keeps sums, indexes, events and journal in step; the values
are never changed in place. rows.pyi tells type checkers the fields; it is generated from the schema (stubs.py).
"""

from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, Final

from xenmem.datamodel import CLASSES, ClassSchema


class Row:
    """A row of the database.

    Attributes
    ----------
    schema, table : its class, and the class's name
    ref : the row's opaque reference
    ctime, mtime : generations of the database in which the row was made and last changed
    unknown : what an inventory says of the row that the data model does not know, by the inventory's name, as it came
    """

    __slots__ = ("ctime", "mtime", "ref", "unknown")
    schema: ClassVar[ClassSchema]
    table: ClassVar[str]

    ref: str
    ctime: int
    mtime: int
    unknown: dict[str, Any] | None

    def __init__(self, ref: str) -> None:
        self._begin(ref)
        for name, default in self._defaults:
            setattr(self, name, default)

    _defaults: ClassVar[tuple[tuple[str, Any], ...]] = ()

    def _begin(self, ref: str) -> None:
        self.ref = ref
        self.ctime = self.mtime = 0
        self.unknown = None

    def __repr__(self) -> str:
        return f"<{self.table} {self.ref}>"


class HostRow(Row):
    """What a host row has beside its fields: the sums that make free memory a matter of a subtraction.

    Attributes
    ----------
    resident, scheduled : refs of the VMs that are resident here, and that are scheduled to be; the values mean nothing
    used_static_max, used_dynamic_max, used_dynamic_min : bytes of both, by policy, stored overheads included
    """

    __slots__ = ("resident", "scheduled", "used_dynamic_max", "used_dynamic_min", "used_static_max")

    resident: dict[str, None]
    scheduled: dict[str, None]
    used_static_max: int
    used_dynamic_max: int
    used_dynamic_min: int

    def _begin(self, ref: str) -> None:
        super()._begin(ref)
        self.resident = {}
        self.scheduled = {}
        self.used_static_max = self.used_dynamic_max = self.used_dynamic_min = 0

    @property
    def resident_VMs(self) -> tuple[str, ...]:  # noqa: N802  (the field's own name)
        """Derived from VM.resident_on."""
        return tuple(sorted(self.resident))


class VMGroupRow(Row):
    """What a VM group has beside its fields.

    Attributes
    ----------
    members : refs of its VMs; the values mean nothing
    """

    __slots__ = ("members",)

    members: dict[str, None]

    def _begin(self, ref: str) -> None:
        super()._begin(ref)
        self.members = {}

    @property
    def VMs(self) -> tuple[str, ...]:
        """Derived from VM.groups."""
        return tuple(sorted(self.members))


class SessionRow(Row):
    """What a session has beside its fields.

    Attributes
    ----------
    begun : refs of the tasks that it began; the values mean nothing
    """

    __slots__ = ("begun",)

    begun: dict[str, None]

    def _begin(self, ref: str) -> None:
        super()._begin(ref)
        self.begun = {}

    @property
    def tasks(self) -> tuple[str, ...]:
        """Derived from task.session."""
        return tuple(sorted(self.begun))


_BASES: Final[dict[str, type[Row]]] = {"host": HostRow, "VM_group": VMGroupRow, "session": SessionRow}


def _row_class(schema: ClassSchema) -> type[Row]:
    base = _BASES.get(schema.name, Row)
    stored = [field for name, field in schema.fields.items() if not hasattr(base, name)]
    return type(
        schema.name,
        (base,),
        {
            "__slots__": tuple(field.name for field in stored),
            "__module__": __name__,
            "__doc__": schema.doc,
            "schema": schema,
            "table": schema.name,
            "_defaults": tuple((field.name, field.default) for field in stored),
        },
    )


ROW_CLASSES: Final[dict[str, type[Row]]] = {
    name: _row_class(schema) for name, schema in CLASSES.items() if schema.in_database
}
"""Row class by name of the class."""


def stored_fields(class_name: str) -> tuple[str, ...]:
    """The fields of a class that its rows hold, in the order of the schema; the others follow from other rows."""
    return tuple(name for name, _ in ROW_CLASSES[class_name]._defaults)


@cache
def filler(class_name: str) -> Callable[..., Row]:
    """What makes a row of its reference and of the value of each stored field: an assignment each, as one function.

    Setting the fields by name, one after another, would take half of the time in which an inventory is loaded.
    """
    row_class, names = ROW_CLASSES[class_name], stored_fields(class_name)
    lines = [
        f"def fill(ref, {', '.join(names)}):",
        "    row = new(row_class)",
        "    row._begin(ref)",
        *(f"    row.{name} = {name}" for name in names),
        "    return row",
    ]
    scope: dict[str, Any] = {"new": row_class.__new__, "row_class": row_class}
    exec("\n".join(lines), scope)
    made: Callable[..., Row] = scope["fill"]
    return made


globals().update(ROW_CLASSES)
__all__ = ["ROW_CLASSES", "HostRow", "Row", "SessionRow", "VMGroupRow", "filler", "stored_fields", *ROW_CLASSES]
