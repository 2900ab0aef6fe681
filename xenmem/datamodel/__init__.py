"""Every class of XenAPI with its fields and messages, every enumeration and error: as data, once, for all rooms.

The names below are imported when they are first used, and a class's file is read when it is first asked for.
"""

from typing import TYPE_CHECKING

from xenmem._lazy import attach

if TYPE_CHECKING:
    from xenmem.datamodel.errors import CODES, ErrorCode
    from xenmem.datamodel.files import ENUMS, RELATIONS
    from xenmem.datamodel.schema import (
        CLASSES,
        ClassSchema,
        Field,
        KeyRoles,
        MessageSchema,
        ParameterSchema,
        Qualifier,
        Role,
        is_derived,
    )
    from xenmem.datamodel.types import Type, enum, parse

__all__ = [
    "CLASSES",
    "CODES",
    "ENUMS",
    "RELATIONS",
    "ClassSchema",
    "ErrorCode",
    "Field",
    "KeyRoles",
    "MessageSchema",
    "ParameterSchema",
    "Qualifier",
    "Role",
    "Type",
    "enum",
    "is_derived",
    "parse",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "errors": "CODES ErrorCode",
        "files": "ENUMS RELATIONS",
        "schema": "CLASSES ClassSchema Field KeyRoles MessageSchema ParameterSchema Qualifier Role is_derived",
        "types": "Type enum parse",
    },
)
