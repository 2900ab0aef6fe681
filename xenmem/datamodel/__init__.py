"""Every class of XenAPI with its fields and messages, every enumeration and error: as data, once, for all rooms."""

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
