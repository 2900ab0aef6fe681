"""The files of the data model: where they are and how they are read. Knows no type.

One file per class, a line for each field and each message that does more than read or set a field; the others follow
from the fields (schema.py). What stands nowhere is the common case: `since` rio, a result `void`, a message with an
asynchronous form. Source: xapi-project/xen-api at e2ee48d688, ocaml/idl/datamodel*.ml.
"""

from pathlib import Path
from typing import Any, Final

import msgspec

_FOLDER: Final = Path(__file__).parent


class FieldFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a line says of a field; see schema.Field.

    Attributes
    ----------
    default : in the form of JSON
    ignore_foreign_key : the other side of a relation, and yet held by itself
    neutral : what a row has where nothing says otherwise, if the data model has no default and the type's is wrong
    """

    type: str
    qualifier: str
    default: Any = msgspec.UNSET
    neutral: Any = msgspec.UNSET
    since: str = "rio"
    deprecated: str = ""
    removed: str = ""
    internal: bool = False
    ignore_foreign_key: bool = False
    persist: bool = True
    role: str = ""
    reader: str = "read-only"
    key_roles: dict[str, str] = {}
    xe: str | None = None
    doc: str = ""


class MessageFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a line says of a message; see schema.MessageSchema."""

    role: str
    parameters: list[list[Any]] = []  # name, type and, where it may be left out, default
    result: str = "void"
    since: str = "rio"
    is_async: bool = msgspec.field(name="async", default=True)
    errors: tuple[str, ...] = ()
    has_session: bool = msgspec.field(name="session", default=True)
    deprecated: str = ""
    removed: str = ""
    hidden: bool = False
    client: bool = True
    pool_internal: bool = False
    key_roles: dict[str, str] = {}


class ClassFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file says of a class; see schema.ClassSchema."""

    doc: str
    fields: dict[str, FieldFacts]
    messages: dict[str, MessageFacts]
    since: str = "rio"
    deprecated: str = ""
    removed: str = ""
    in_database: bool = True
    get_all: bool = True
    role: str = "pool-admin"
    reader: str = "read-only"
    constructor: bool = True
    events: bool = True
    persist: bool = True
    signature: tuple[str, ...] = ()


_CLASS: Final = msgspec.json.Decoder(ClassFacts)


def class_names() -> list[str]:
    """Every class, in byte order."""
    return sorted(path.stem for path in (_FOLDER / "classes").iterdir())


def read_class(name: str) -> ClassFacts:
    """The file of a class."""
    return _CLASS.decode((_FOLDER / "classes" / f"{name}.json").read_bytes())


ENUMS: Final[dict[str, tuple[str, ...]]] = msgspec.json.decode(
    (_FOLDER / "enums.json").read_bytes(), type=dict[str, tuple[str, ...]]
)
"""The members of every enumeration, in the data model's order."""

RELATIONS: Final = msgspec.json.decode((_FOLDER / "relations.json").read_bytes(), type=list[tuple[str, str, str, str]])
"""Class and field that point to a class, and that class with the field that lists those who point to it."""
