"""One class of Python objects per class of the database: a row is slots, named as the API names the fields.

Rows are read freely and written by Database alone, which keeps sums, indexes, events and journal in step; the values
are never changed in place. rows.pyi tells type checkers the fields; it is generated from the schema (stubs.py).
"""

from typing import Any, ClassVar, Final, Self

from xenmem.xenapi.schema import CLASSES, ClassSchema


class Row:
    """A row of the database.

    Attributes
    ----------
    ref : the row's opaque reference
    ctime, mtime : generations of the database in which the row was made and last changed
    """

    __slots__ = ("ctime", "mtime", "ref")
    schema: ClassVar[ClassSchema]
    class_name: ClassVar[str]

    ref: str
    ctime: int
    mtime: int

    def __init__(self, ref: str) -> None:
        self._begin(ref)
        for name, default in self._defaults:
            setattr(self, name, default)

    _defaults: ClassVar[tuple[tuple[str, Any], ...]] = ()

    @classmethod
    def unfilled(cls, ref: str) -> Self:
        """A row of which no field is set; whoever reads an inventory sets each of them."""
        row = cls.__new__(cls)
        row._begin(ref)
        return row

    def _begin(self, ref: str) -> None:
        self.ref = ref
        self.ctime = self.mtime = 0

    def __repr__(self) -> str:
        return f"<{self.class_name} {self.ref}>"


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
    stored = [field for field in schema.fields.values() if field.inverse is None]
    return type(
        schema.name,
        (_BASES.get(schema.name, Row),),
        {
            "__slots__": tuple(field.name for field in stored),
            "__module__": __name__,
            "__doc__": schema.doc,
            "schema": schema,
            "class_name": schema.name,
            "_defaults": tuple((field.name, field.default) for field in stored),
        },
    )


ROW_CLASSES: Final[dict[str, type[Row]]] = {name: _row_class(schema) for name, schema in CLASSES.items()}
"""Row class by name of the class."""

globals().update(ROW_CLASSES)
__all__ = ["ROW_CLASSES", "HostRow", "Row", "SessionRow", "VMGroupRow", *ROW_CLASSES]
