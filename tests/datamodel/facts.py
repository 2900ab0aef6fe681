"""The data model in the form in which it was dumped from the reference's own: what tests compare."""

import json
from hashlib import sha256
from typing import Any

import msgspec

from xenmem.datamodel import CLASSES, CODES, ENUMS, RELATIONS, ClassSchema, Field, KeyRoles, MessageSchema

_NOBODY = {"object private": None}
"""What the dump has for a message that no role may send."""


def class_facts(schema: ClassSchema) -> dict[str, Any]:
    """A class with its fields and messages."""
    return {
        "since": schema.since,
        "in_database": schema.in_database,
        "get_all": schema.lists,
        **_present(deprecated=schema.deprecated, removed=schema.removed),
        "fields": {name: _field(field) for name, field in schema.fields.items()},
        "messages": {name: _message(message) for name, message in schema.messages.items()},
    }


def _field(field: Field) -> dict[str, Any]:
    return {
        "type": field.spelling,
        "qualifier": str(field.qualifier),
        "column": field.database,
        "since": field.since,
        **({} if field.declared is msgspec.UNSET else {"default": field.declared}),
        **_present(
            deprecated=field.deprecated,
            removed=field.removed,
            internal=field.internal,
            key_roles=_roles(field.key_roles),
        ),
        **({} if field.persistent else {"persist": False}),
    }


def _message(message: MessageSchema) -> dict[str, Any]:
    return {
        "kind": message.kind,
        "params": [
            [one.name, one.spelling, *([] if one.default is msgspec.UNSET else [one.default])]
            for one in message.parameters
        ],
        "result": message.result,
        "role": message.role.spelling if message.role is not None else _NOBODY.get(message.kind, "none"),
        "since": message.since,
        **({} if message.is_async else {"async": False}),
        **({} if message.has_session else {"session": False}),
        **({} if message.client else {"client": False}),
        **_present(
            errors=list(message.errors),
            deprecated=message.deprecated,
            removed=message.removed,
            hidden=message.hidden,
            pool_internal=message.pool_internal,
            key_roles=_roles(message.key_roles),
        ),
    }


def _roles(roles: KeyRoles | None) -> dict[str, str]:
    return {key: role.spelling for key, role in roles.declared.items()} if roles else {}


def _present(**facts: Any) -> dict[str, Any]:
    return {name: fact for name, fact in facts.items() if fact}


def parts() -> dict[str, Any]:
    """Every class by its name, and the rest of the data model."""
    classes = {name: class_facts(schema) for name, schema in CLASSES.items()}
    errors = {name: list(code.declared) for name, code in CODES.items() if code.declared is not None}
    rest = {
        "enums": {name: list(members) for name, members in ENUMS.items()},
        "errors": errors,
        "relations": [list(relation) for relation in RELATIONS],
    }
    return classes | rest


def digest(facts: Any) -> str:
    """What tells two parts apart."""
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
