"""The classes of the data model with their fields and messages: all that is said of any of them is said once.

A field's path (`memory/static_max`) gives its name in the API (`memory_static_max`) and in the database
(`memory__static_max`). Messages that read, set or list follow from the fields, by the rules of xapi-project/xen-api,
ocaml/idl/datamodel_utils.ml: messages_of_obj; the others are in the class's file. Knows no rows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cached_property
from typing import Any, Final

import msgspec

from xenmem.datamodel.files import RELATIONS, ClassFacts, FieldFacts, MessageFacts, class_names, read_class
from xenmem.datamodel.types import MapType, RefType, SetType, Type, parse


class Role(IntEnum):
    """Who may do it; each role may do what those before it may."""

    READ_ONLY = 0
    VM_OPERATOR = 1
    VM_ADMIN = 2
    VM_POWER_ADMIN = 3
    POOL_OPERATOR = 4
    POOL_ADMIN = 5

    @classmethod
    def named(cls, name: str) -> "Role":
        """The role that the data model calls so: `vm-power-admin`."""
        return cls[name.upper().replace("-", "_")]

    @property
    def spelling(self) -> str:
        """As the data model calls it."""
        return self.name.lower().replace("_", "-")


class Qualifier(StrEnum):
    """How a client sets a field: RW by constructor and setter, static by constructor, dynamic by neither."""

    RW = "RW"
    STATIC = "StaticRO"
    DYNAMIC = "DynamicRO"


class KeyRoles:
    """Roles of single keys of a map; a key that ends in `*` stands for all that begin so.

    Parameters
    ----------
    roles : role by key
    """

    __slots__ = ("_prefixes", "declared")

    def __init__(self, roles: Mapping[str, Role]) -> None:
        self.declared = dict(roles)
        self._prefixes = tuple((key, role) for key, role in roles.items() if key.endswith("*"))

    def find(self, key: str) -> tuple[str, Role] | None:
        """Of a key what it fits and that one's role, None if it has the field's (ocaml/xapi/rbac.ml)."""
        role = self.declared.get(key)
        if role is not None:
            return key, role
        return next((fit for fit in self._prefixes if key.startswith(fit[0][:-1])), None)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a class.

    Attributes
    ----------
    path : in the data model
    type : of its values
    spelling : of the type, as the data model has it
    qualifier : how clients set it
    default : what a row has where nothing says otherwise
    declared : the data model's default as JSON has it; UNSET if it has none: then a constructor must be given the field
    inverse : the field of the other class that points back here, if that is a reference: the value is derived from it
    internal : in the database only, absent from records and without messages
    since, deprecated, removed : releases; reading a removed field by itself answers MESSAGE_REMOVED
    persistent : a server that starts keeps the value of the dump
    role, reader : who may use the generated setter, None if no role is enough; and the getter
    key_roles : roles of single keys of the map, None if all are the field's
    xe : the parameter's name in xe text where it is not the field's with dashes; empty where there is none
    doc : one line, empty where the name says it all
    """

    path: str
    type: Type[Any]
    spelling: str
    qualifier: Qualifier
    default: Any
    declared: Any
    inverse: tuple[str, str] | None
    internal: bool
    since: str
    deprecated: str
    removed: str
    persistent: bool
    role: Role | None
    reader: Role
    key_roles: KeyRoles | None
    xe: str | None
    doc: str

    @property
    def name(self) -> str:
        """In the API."""
        return self.path.replace("/", "_")

    @property
    def database(self) -> str:
        """In a database dump."""
        return self.path.replace("/", "__")

    @property
    def parameter(self) -> str:
        """In xe text, empty if there is none."""
        return self.name.replace("_", "-") if self.xe is None else self.xe

    @property
    def required(self) -> bool:
        """A constructor must be given it."""
        return self.declared is msgspec.UNSET and self.qualifier is not Qualifier.DYNAMIC


@dataclass(frozen=True, slots=True)
class ParameterSchema:
    """One parameter of a message, the session apart.

    Attributes
    ----------
    name, spelling : and its type, as the data model has it
    default : as JSON has it; UNSET if it must be sent
    """

    name: str
    spelling: str
    default: Any = msgspec.UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSchema:
    """One message.

    Attributes
    ----------
    name : without the class
    kind : `custom`, or what it is generated as: `object get_record`, `getter name_label`, `setter name_label`, ...
    parameters, result : the result as the data model spells its type
    role : who may send it; None if no role is enough: the server's own root and other hosts alone may
    since, deprecated, removed : releases; a removed message answers MESSAGE_REMOVED
    is_async : there is an asynchronous form
    errors : the codes that the data model declares
    has_session : the first thing sent is a session
    hidden : not documented
    client : there is a form for clients
    pool_internal : for hosts of the pool among themselves
    key_roles : as of Field
    """

    name: str
    kind: str
    parameters: tuple[ParameterSchema, ...]
    result: str
    role: Role | None
    since: str
    is_async: bool = False
    errors: tuple[str, ...] = ()
    has_session: bool = True
    deprecated: str = ""
    removed: str = ""
    hidden: bool = False
    client: bool = True
    pool_internal: bool = False
    key_roles: KeyRoles | None = None


@dataclass(frozen=True)
class ClassSchema:
    """One class.

    Attributes
    ----------
    name : as the API spells it
    doc : one line
    since, deprecated, removed : releases
    in_database : it has rows
    lists : get_all and its kin exist
    role, reader : who may set its fields, None if no role is enough; and read whole rows
    constructor : clients may use the generated create and destroy
    has_events : clients are told of its rows' changes; of sessions they are not, for a reference is all that it takes
        to be somebody else (datamodel.ml: gen_events)
    persistent : its rows are written to files; those of others are no part of the pool's inventory
    signature : fields by which a lone record is known to be of this class
    fields : all, in byte order of their API names
    """

    name: str
    doc: str
    since: str
    deprecated: str
    removed: str
    in_database: bool
    lists: bool
    role: Role | None
    reader: Role
    constructor: bool
    has_events: bool
    persistent: bool
    signature: frozenset[str]
    fields: Mapping[str, Field]

    @cached_property
    def by_column(self) -> Mapping[str, Field]:
        """The fields by their names in a database dump."""
        return {field.database: field for field in self.fields.values()}

    @cached_property
    def messages(self) -> Mapping[str, MessageSchema]:
        """All messages by name."""
        declared = {name: _declared(name, facts) for name, facts in read_class(self.name).messages.items()}
        return {message.name: message for message in _generated(self)} | declared


class _Classes(Mapping[str, ClassSchema]):
    """Every class by name; a class's file is read when it is first asked for."""

    def __init__(self) -> None:
        self._schemas: dict[str, ClassSchema | None] = dict.fromkeys(class_names())

    def __getitem__(self, name: str) -> ClassSchema:
        schema = self._schemas[name]
        if schema is None:
            schema = self._schemas[name] = _class(name, read_class(name))
        return schema

    def __iter__(self) -> Iterator[str]:
        return iter(self._schemas)

    def __len__(self) -> int:
        return len(self._schemas)


CLASSES: Final[Mapping[str, ClassSchema]] = _Classes()
"""Every class by its name, in byte order."""

_INVERSES: Final = {(target, many): (source, field) for source, field, target, many in RELATIONS}


def _class(name: str, facts: ClassFacts) -> ClassSchema:
    role = _role(facts.role)
    fields = [_field(name, role, path, field) for path, field in facts.fields.items()]
    return ClassSchema(
        name,
        facts.doc,
        facts.since,
        facts.deprecated,
        facts.removed,
        facts.in_database,
        facts.in_database and facts.get_all,
        role,
        Role.named(facts.reader),
        facts.constructor,
        facts.events,
        facts.persist,
        frozenset(facts.signature),
        {field.name: field for field in sorted(fields, key=lambda field: field.name)},
    )


def _role(name: str) -> Role | None:
    return None if name == "none" else Role.named(name)


def _field(class_name: str, role: Role | None, path: str, facts: FieldFacts) -> Field:
    type = parse(facts.type)
    name = path.replace("/", "_")
    own_role = Role.POOL_ADMIN if name == "uuid" else _role(facts.role) if facts.role else role
    return Field(
        path,
        type,
        facts.type,
        Qualifier(facts.qualifier),
        _default(type, facts),
        facts.default,
        None if facts.ignore_foreign_key else _inverse(class_name, name, type),
        facts.internal,
        facts.since,
        facts.deprecated,
        facts.removed,
        facts.persist,
        own_role,
        Role.named(facts.reader),
        _key_roles(facts.key_roles),
        facts.xe,
        facts.doc,
    )


def _default(type: Type[Any], facts: FieldFacts) -> Any:
    declared = facts.default if facts.neutral is msgspec.UNSET else facts.neutral
    if declared is msgspec.UNSET or (isinstance(type, RefType) and not declared):
        return type.neutral
    return type.load(declared)


def _inverse(class_name: str, name: str, type: Type[Any]) -> tuple[str, str] | None:
    """Of a set of references, the field that it is the other side of."""
    return _INVERSES.get((class_name, name)) if isinstance(type, SetType) else None


def _key_roles(names: Mapping[str, str]) -> KeyRoles | None:
    return KeyRoles({key: Role.named(role) for key, role in names.items()}) if names else None


# ------------------------------------------------------------------------------------------------------------ messages


def _declared(name: str, facts: MessageFacts) -> MessageSchema:
    return MessageSchema(
        name=name,
        kind="custom",
        parameters=tuple(ParameterSchema(*parameter) for parameter in facts.parameters),
        result=facts.result,
        role=_role(facts.role),
        since=facts.since,
        is_async=facts.is_async,
        errors=facts.errors,
        has_session=facts.has_session,
        deprecated=facts.deprecated,
        removed=facts.removed,
        hidden=facts.hidden,
        client=facts.client,
        pool_internal=facts.pool_internal,
        key_roles=_key_roles(facts.key_roles),
    )


def _generated(schema: ClassSchema) -> Iterator[MessageSchema]:
    """What messages_of_obj makes of a class; a declared message of the same name comes in its place."""
    if schema.in_database:
        yield from _of_rows(schema)
        for field in schema.fields.values():
            yield from _of_field(schema, field)


def _of_rows(schema: ClassSchema) -> Iterator[MessageSchema]:
    name, ref, record = schema.name, f"Ref {schema.name}", f"Record {schema.name}"
    self = ParameterSchema("self", ref)
    expr = ParameterSchema("expr", "String")

    def message(
        name: str, parameters: tuple[ParameterSchema, ...], result: str, role: Role | None = schema.reader, **more: Any
    ) -> MessageSchema:
        return MessageSchema(
            name=name,
            parameters=parameters,
            result=result,
            role=role,
            since=schema.since,
            deprecated=schema.deprecated,
            removed=schema.removed,
            kind=more.pop("kind", f"object {name}"),
            **more,
        )

    hidden = {"kind": "object private", "hidden": True, "client": False}
    yield message("get_record", (self,), record)
    yield message("get_record_internal", (self,), record, None, **hidden)
    yield message("get_by_uuid", (ParameterSchema("uuid", "String"),), ref)
    changes = {"is_async": True, "client": schema.constructor}
    yield message("create", (ParameterSchema("args", record),), ref, schema.role, kind="object make", **changes)
    yield message("destroy", (self,), "void", schema.role, kind="object delete", **changes)
    label = schema.fields.get("name_label")
    if label is not None and label.path == "name/label":
        kind = "object get_by_label"
        yield message("get_by_name_label", (ParameterSchema("label", "String"),), f"Set({ref})", kind=kind)
    if schema.lists:
        yield message("get_all", (), f"Set({ref})")
        yield message("get_all_records", (), f"Map({ref},Record {name})")
        yield message("get_all_where", (expr,), f"Set({ref})", hidden=True)
        yield message("get_all_records_where", (expr,), f"Map({ref},Record {name})", hidden=True)
    else:
        yield message("get_all", (), f"Set({ref})", None, **hidden)


def _of_field(schema: ClassSchema, field: Field) -> Iterator[MessageSchema]:
    name, type = field.name, field.type
    self, value = ParameterSchema("self", f"Ref {schema.name}"), ParameterSchema("value", field.spelling)
    sets = field.qualifier is Qualifier.RW and not field.internal

    def message(verb: str, kind: str, *parameters: ParameterSchema, **more: Any) -> MessageSchema:
        return MessageSchema(
            name=f"{verb}_{name}",
            kind=f"{kind} {name}",
            parameters=(self, *parameters),
            since=field.since,
            deprecated=field.deprecated,
            removed=field.removed,
            **more,
        )

    def change(verb: str, kind: str, *parameters: ParameterSchema, **more: Any) -> MessageSchema:
        return message(verb, kind, *parameters, result="void", role=field.role, client=sets, **more)

    yield message("get", "getter", result=field.spelling, role=field.reader, client=not field.internal)
    if is_derived(field):
        return
    yield change("set", "setter", value)
    if isinstance(type, MapType):
        key_type, item_type = _inner(field.spelling)
        key, item = ParameterSchema("key", key_type), ParameterSchema("value", item_type)
        yield change("add_to", "add", key, item, key_roles=field.key_roles)
        yield change("remove_from", "remove", key, key_roles=field.key_roles)
    elif isinstance(type, SetType):
        item = ParameterSchema("value", _inner(field.spelling)[0])
        yield change("add", "add", item)
        yield change("remove", "remove", item)


def _inner(spelling: str) -> list[str]:
    """What is between the parentheses of a set or a map."""
    return spelling.partition("(")[2][:-1].split(",", 1)


def is_derived(field: Field) -> bool:
    """Whether a field lists the rows whose reference points here: nothing sets it."""
    if field.inverse is None:
        return False
    class_name, name = field.inverse
    return isinstance(CLASSES[class_name].fields[name].type, RefType)
