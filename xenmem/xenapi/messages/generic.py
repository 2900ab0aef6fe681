"""The messages that follow from the fields of a class: get_record, get_all and their kin, and those of one field.

Which there are, for whom, and with which parameters, is the data model's (xenmem/datamodel); here is what they do.
A message that was removed is known, and answers so. Source: xapi-project/xen-api, ocaml/idl/datamodel_utils.ml.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial
from operator import attrgetter
from typing import Any, Final

import msgspec

from xenmem.datamodel import CLASSES, ClassSchema, Field, MessageSchema, parse
from xenmem.datamodel.errors import HANDLE_INVALID, INVALID_VALUE, MAP_DUPLICATE_KEY, UUID_INVALID, ErrorCode
from xenmem.datamodel.types import MapType, RecordType, RefType, SetType, Type
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import REQUIRED, Message, Parameter, register
from xenmem.xenapi.rules import host_operations, operations
from xenmem.xenapi.store import filters
from xenmem.xenapi.store.rows import Row

COMPUTED: Final[dict[tuple[str, str], Callable[[Call, Any], Any]]] = {
    ("VM", "allowed_operations"): operations.allowed,
    ("host", "allowed_operations"): host_operations.allowed,
    ("pool", "allowed_operations"): host_operations.allowed_of_pool,
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


class _Bodies:
    """What the messages of one class do.

    Attributes
    ----------
    by_kind : body, first line of documentation and own errors by what a message is generated as
    """

    def __init__(self, schema: ClassSchema) -> None:
        self.schema = schema
        self.name = schema.name
        fields = {field.name: field.type for field in schema.fields.values() if not field.internal}
        self.read = record_reader(schema.name, tuple(fields))
        self.record = RecordType(schema.name, fields)
        self.by_kind = dict(self._of_rows())

    def _of_rows(self) -> Iterator[tuple[str, tuple[Body, str, tuple[ErrorCode, ...]]]]:
        schema, class_name, record = self.schema, self.name, self.read

        def get_record(call: Call, self: str) -> dict[str, Any]:
            return record(call, call.db.tables[class_name][self])

        def get_by_uuid(call: Call, uuid: str) -> str:
            return str(call.db.tables[class_name].by_uuid(uuid).ref)

        def get_by_name_label(call: Call, label: str) -> tuple[str, ...]:
            return tuple(call.db.tables[class_name].by_name_label(label))

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

        every, order = f"Every {class_name}", "in descending order of reference"
        yield "object get_record", (get_record, f"All fields of a {class_name}.", (HANDLE_INVALID,))
        yield "object get_by_uuid", (get_by_uuid, f"The {class_name} of a uuid.", (UUID_INVALID,))
        yield "object get_by_label", (get_by_name_label, f"{every} of a name; there may be several, and none.", ())
        yield "object get_all", (get_all, f"{every}, {order}.", ())
        yield "object get_all_records", (get_all_records, f"{every} with its fields.", ())
        let_through = f"{every} that a filter lets through"
        yield "object get_all_where", (get_all_where, f"{let_through}, {order}.", (INVALID_VALUE,))
        yield (
            "object get_all_records_where",
            (get_all_records_where, f"{let_through}, with its fields.", (INVALID_VALUE,)),
        )

    def of_field(self, kind: str, field: Field) -> tuple[Body, str, tuple[ErrorCode, ...], bool]:
        """Body, documentation, own errors and whether it is called with the database locked.

        Parameters
        ----------
        kind : getter, setter, add or remove
        field : which is read or set
        """
        name, is_map = field.name, isinstance(field.type, MapType)
        match kind:
            case "getter":
                doc = f"The field {name}: {field.doc}." if field.doc else f"The field {name}."
                is_computed = (self.name, name) in COMPUTED
                return self._getter(name, is_computed), doc, (HANDLE_INVALID,), is_computed
            case "setter":
                return self._setter(name), f"Set the field {name}.", (HANDLE_INVALID,), True
            case "add" if is_map:
                errors = (HANDLE_INVALID, MAP_DUPLICATE_KEY)
                return self._add_to(name), f"Add an entry to {name}.", errors, True
            case "add":
                return self._add(name), f"Add a value to {name}, unless it is there.", (HANDLE_INVALID,), True
            case _ if is_map:
                doc = f"Remove an entry from {name}, if it is there."
                return self._remove_from(name), doc, (HANDLE_INVALID,), True
        return self._remove(name), f"Remove a value from {name}, if it is there.", (HANDLE_INVALID,), True

    def _getter(self, name: str, is_computed: bool) -> Body:
        class_name = self.name

        def get(call: Call, self: str) -> Any:
            row = call.db.tables[class_name].rows.get(self)
            if row is None:
                raise HANDLE_INVALID(class_name, self)
            return getattr(row, name)

        def compute(call: Call, self: str) -> Any:
            return COMPUTED[class_name, name](call, call.db.tables[class_name][self])

        return compute if is_computed else get

    def _setter(self, name: str) -> Body:
        class_name = self.name

        def set_field(call: Call, self: str, value: Any) -> None:
            call.db.write(call.db.tables[class_name][self], name, value)

        return set_field

    def _add_to(self, name: str) -> Body:
        class_name = self.name

        def add_to(call: Call, self: str, key: Any, value: Any) -> None:
            row = call.db.tables[class_name][self]
            entries = getattr(row, name)
            if key in entries:
                raise MAP_DUPLICATE_KEY(class_name, name, self, key)
            call.db.write(row, name, {**entries, key: value})

        return add_to

    def _remove_from(self, name: str) -> Body:
        class_name = self.name

        def remove_from(call: Call, self: str, key: Any) -> None:
            row = call.db.tables[class_name][self]
            entries = getattr(row, name)
            call.db.write(row, name, {other: value for other, value in entries.items() if other != key})

        return remove_from

    def _add(self, name: str) -> Body:
        class_name = self.name

        def add(call: Call, self: str, value: Any) -> None:
            row = call.db.tables[class_name][self]
            items = getattr(row, name)
            if value not in items:
                call.db.write(row, name, (*items, value))

        return add

    def _remove(self, name: str) -> Body:
        class_name = self.name

        def remove(call: Call, self: str, value: Any) -> None:
            row = call.db.tables[class_name][self]
            call.db.write(row, name, tuple(item for item in getattr(row, name) if item != value))

        return remove


_OF_THEIR_OWN: Final = ("VM", "host", "pool", "session", "task")
"""Classes whose own setters do more than set."""

_PLAIN_OF_THEIR_OWN: Final = frozenset(("set_other_config", "add_to_other_config", "remove_from_other_config"))


def _plain(schema: ClassSchema, message: MessageSchema) -> str:
    """As `plain_kind`, where nothing else comes of it."""
    if schema.name in _OF_THEIR_OWN and message.name not in _PLAIN_OF_THEIR_OWN:
        return ""
    return plain_kind(schema, message)


def plain_kind(schema: ClassSchema, message: MessageSchema) -> str:
    """What a message could have been generated as that the reference has by hand: to check, or to tell a host of it."""
    if message.kind != "custom" or message.role is None:
        return ""
    for verb, kind, of, count in _CHANGES:
        field = schema.fields.get(message.name.removeprefix(verb))
        if field is not None and message.name.startswith(verb) and isinstance(field.type, of):
            return f"{kind} {field.name}" if len(message.parameters) == count else ""
    return ""


_CHANGES: Final = (
    ("add_to_", "add", MapType, 3),
    ("remove_from_", "remove", MapType, 2),
    ("add_", "add", SetType, 2),
    ("remove_", "remove", SetType, 2),
    ("set_", "setter", Type, 2),
)
"""Beginning of a message's name, what it is generated as, for fields of which type, and its number of parameters."""


def _removed(call: Call, *values: Any) -> None:
    """The body of a message that is never carried out."""


def _declare(bodies: _Bodies, message: MessageSchema) -> None:
    kind, _, name = (_plain(bodies.schema, message) or message.kind).partition(" ")
    locked = True
    body: Body
    errors: tuple[ErrorCode, ...]
    if message.kind in bodies.by_kind:
        body, doc, errors = bodies.by_kind[message.kind]
    elif kind in ("getter", "setter", "add", "remove"):
        body, doc, errors, locked = bodies.of_field(kind, bodies.schema.fields[name])
    elif message.removed:
        body, doc, errors = _removed, f"Removed in {message.removed}.", ()
    else:
        return
    register(
        Message.of_schema(
            bodies.name,
            message,
            [
                Parameter(one.name, parse(one.spelling), default_of(parse(one.spelling), one.default))
                for one in message.parameters
            ],
            _result(bodies, message),
            body,
            doc=doc,
            errors=errors,
            locked=locked,
            generated=True,
        )
    )


def default_of(type: Type[Any], declared: Any) -> Any:
    """A parameter's default as rows hold it, of how the data model declares it."""
    if declared is msgspec.UNSET:
        return REQUIRED
    return type.neutral if declared == [] else type.load(declared)  # host.create declares [] for an enumeration


def _result(bodies: _Bodies, message: MessageSchema) -> Type[Any]:
    """The type of the answer; records with the types of their fields."""
    declared = parse(message.result)
    if isinstance(declared, RecordType):
        return bodies.record
    if isinstance(declared, MapType) and isinstance(declared.value, RecordType):
        return MapType(RefType(bodies.name), bodies.record)
    return declared


@cache
def bodies_of(class_name: str) -> _Bodies:
    """What the messages of a class with rows do."""
    return _Bodies(CLASSES[class_name])


for _schema in CLASSES.values():
    if _schema.in_database:
        _bodies = bodies_of(_schema.name)
        for _message in _schema.messages.values():
            if _message.client:
                _declare(_bodies, _message)
