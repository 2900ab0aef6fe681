"""The messages that follow from the schema: get_record, get_all and their kin, and those that read or set one field.

Source: xenapi-messages, C.6 (xapi-project/xen-api, ocaml/idl/datamodel_utils.ml: messages_of_obj).
"""

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any, Final

from xenmem.datamodel.errors import HANDLE_INVALID, INVALID_VALUE, MAP_DUPLICATE_KEY, UUID_INVALID, ErrorCode
from xenmem.datamodel.types import STRING, VOID, MapType, RecordType, RefType, SetType, Type
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import Message, Parameter, register
from xenmem.xenapi.rules import operations
from xenmem.xenapi.schema import CLASSES, ClassSchema, Field, Qualifier, Role
from xenmem.xenapi.store import filters
from xenmem.xenapi.store.rows import Row

CUSTOM_SETTERS: Final = frozenset({("VM", "is_a_template")})
"""Fields that clients set, but through a message of its own."""

COMPUTED: Final[dict[tuple[str, str], Callable[[Call, Any], Any]]] = {
    ("VM", "allowed_operations"): operations.allowed,
}
"""Fields that no row holds: what is asked for them, with the database locked."""

Body = Callable[..., Any]
Reader = Callable[[Call, Row], dict[str, Any]]


def record_reader(class_name: str, names: tuple[str, ...]) -> Reader:
    """What gives the fields of a row by name, as rows hold values."""
    values = attrgetter(*names)
    computed = [(name, compute) for (of, name), compute in COMPUTED.items() if of == class_name]

    def read(call: Call, row: Row) -> dict[str, Any]:
        record = dict(zip(names, values(row), strict=True))
        for name, compute in computed:
            record[name] = compute(call, row)
        return record

    return read


class _Declarer:
    """Declares the messages of one class."""

    def __init__(self, schema: ClassSchema) -> None:
        self.schema = schema
        self.fields = tuple(field for field in schema.fields.values() if not field.internal)
        self.names = tuple(field.name for field in self.fields)
        self.read = record_reader(schema.name, self.names)
        self.ref: Type[Any] = RefType(schema.name)
        self.record = RecordType(schema.name, {field.name: field.type for field in self.fields})
        self.self = Parameter("self", self.ref)

    def declare(
        self,
        name: str,
        parameters: tuple[Parameter, ...],
        result: Type[Any],
        body: Body,
        doc: str,
        *,
        role: Role = Role.READ_ONLY,
        errors: tuple[ErrorCode, ...] = (HANDLE_INVALID,),
        removed: bool = False,
        locked: bool = True,
        since: str = "",
    ) -> None:
        register(
            Message(
                self.schema.name,
                name,
                parameters,
                result,
                body,
                role=role,
                doc=doc,
                errors=errors,
                removed=removed,
                locked=locked,
                since=since,
                generated=True,
            )
        )

    def declare_all(self) -> None:
        self.of_rows()
        if self.schema.lists:
            self.of_lists()
        for field in self.fields:
            self.getter(field)
            if field.qualifier is Qualifier.RW and (self.schema.name, field.name) not in CUSTOM_SETTERS:
                self.setters(field)

    def of_rows(self) -> None:
        class_name, record = self.schema.name, self.read

        def get_record(call: Call, self: str) -> dict[str, Any]:
            return record(call, call.db.tables[class_name][self])

        def get_by_uuid(call: Call, uuid: str) -> str:
            return str(call.db.tables[class_name].by_uuid(uuid).ref)

        def get_by_name_label(call: Call, label: str) -> tuple[str, ...]:
            return tuple(call.db.tables[class_name].by_name_label(label))

        self.declare("get_record", (self.self,), self.record, get_record, f"All fields of a {class_name}.")
        uuid, label = Parameter("uuid", STRING), Parameter("label", STRING)
        self.declare(
            "get_by_uuid", (uuid,), self.ref, get_by_uuid, f"The {class_name} of a uuid.", errors=(UUID_INVALID,)
        )
        if "name_label" in self.names:
            doc = f"Every {class_name} of a name; there may be several, and none."
            self.declare("get_by_name_label", (label,), SetType(self.ref), get_by_name_label, doc, errors=())

    def of_lists(self) -> None:
        schema, record = self.schema, self.read
        class_name = schema.name

        def get_all(call: Call) -> tuple[str, ...]:
            return call.db.tables[class_name].refs()

        def get_all_records(call: Call) -> dict[str, dict[str, Any]]:
            table = call.db.tables[class_name]
            return {ref: record(call, table.rows[ref]) for ref in table.refs()}

        def matching(call: Call, expression: str) -> list[Row]:
            computed = {name: partial(compute, call) for (of, name), compute in COMPUTED.items() if of == class_name}
            matches = filters.parse(expression, schema, computed)
            table = call.db.tables[class_name]
            return [row for ref in table.refs() if matches(row := table.rows[ref])]

        def get_all_where(call: Call, expr: str) -> tuple[str, ...]:
            return tuple(row.ref for row in matching(call, expr))

        def get_all_records_where(call: Call, expr: str) -> dict[str, dict[str, Any]]:
            return {row.ref: record(call, row) for row in matching(call, expr)}

        expr = Parameter("expr", STRING)
        records: Type[Any] = MapType(self.ref, self.record)
        order = "in descending order of reference"
        self.declare("get_all", (), SetType(self.ref), get_all, f"Every {class_name}, {order}.", errors=())
        self.declare("get_all_records", (), records, get_all_records, f"Every {class_name} with its fields.", errors=())
        self.declare(
            "get_all_where",
            (expr,),
            SetType(self.ref),
            get_all_where,
            f"Every {class_name} that a filter lets through, {order}.",
            errors=(INVALID_VALUE,),
            since="24.20.0",
        )
        self.declare(
            "get_all_records_where",
            (expr,),
            records,
            get_all_records_where,
            f"Every {class_name} that a filter lets through, with its fields.",
            errors=(INVALID_VALUE,),
        )

    def getter(self, field: Field) -> None:
        class_name, name = self.schema.name, field.name

        def get(call: Call, self: str) -> Any:
            row = call.db.tables[class_name].rows.get(self)
            if row is None:
                raise HANDLE_INVALID(class_name, self)
            return getattr(row, name)

        def compute(call: Call, self: str) -> Any:
            return COMPUTED[class_name, name](call, call.db.tables[class_name][self])

        is_computed = (class_name, name) in COMPUTED
        body = compute if is_computed else get
        doc = f"The field {name}: {field.doc}." if field.doc else f"The field {name}."
        self.declare(f"get_{name}", (self.self,), field.type, body, doc, removed=field.removed, locked=is_computed)

    def setters(self, field: Field) -> None:
        class_name, name = self.schema.name, field.name
        role = field.role if field.role is not None else self.schema.role

        def set_field(call: Call, self: str, value: Any) -> None:
            call.db.write(call.db.tables[class_name][self], name, value)

        def add_to(call: Call, self: str, key: Any, value: Any) -> None:
            row = call.db.tables[class_name][self]
            entries = getattr(row, name)
            if key in entries:
                raise MAP_DUPLICATE_KEY(class_name, name, self, key)
            call.db.write(row, name, {**entries, key: value})

        def remove_from(call: Call, self: str, key: Any) -> None:
            row = call.db.tables[class_name][self]
            entries = getattr(row, name)
            call.db.write(row, name, {other: value for other, value in entries.items() if other != key})

        def add(call: Call, self: str, value: Any) -> None:
            row = call.db.tables[class_name][self]
            items = getattr(row, name)
            if value not in items:
                call.db.write(row, name, (*items, value))

        def remove(call: Call, self: str, value: Any) -> None:
            row = call.db.tables[class_name][self]
            call.db.write(row, name, tuple(item for item in getattr(row, name) if item != value))

        def declare(verb: str, parameters: tuple[Parameter, ...], body: Body, doc: str, *errors: ErrorCode) -> None:
            self.declare(verb, (self.self, *parameters), VOID, body, doc, role=role, errors=(HANDLE_INVALID, *errors))

        declare(f"set_{name}", (Parameter("value", field.type),), set_field, f"Set the field {name}.")
        if isinstance(field.type, MapType):
            key, value = Parameter("key", field.type.key), Parameter("value", field.type.value)
            declare(f"add_to_{name}", (key, value), add_to, f"Add an entry to {name}.", MAP_DUPLICATE_KEY)
            declare(f"remove_from_{name}", (key,), remove_from, f"Remove an entry from {name}, if it is there.")
        elif isinstance(field.type, SetType):
            item = Parameter("value", field.type.of)
            declare(f"add_{name}", (item,), add, f"Add a value to {name}, unless it is there.")
            declare(f"remove_{name}", (item,), remove, f"Remove a value from {name}, if it is there.")


for _schema in CLASSES.values():
    _Declarer(_schema).declare_all()
