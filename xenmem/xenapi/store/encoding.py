"""Values as the XML-RPC text that the server writes: in answers, in results of tasks, and to measure events."""

from collections.abc import Iterable
from typing import Any, Final
from xml.sax.saxutils import escape

from xenmem.datamodel.types import (
    AnyType,
    BoolType,
    DateTimeType,
    FloatType,
    Int32Type,
    MapType,
    RecordType,
    SetType,
    Type,
)

_DROPPED: Final = dict.fromkeys({*range(32), 0xFFFE, 0xFFFF} - set(map(ord, "\t\n\r")))
QUOTE: Final = {'"': "&quot;"}
"""What is to be escaped within an attribute beside what is everywhere."""


def value_xml(type: Type[Any], value: Any) -> str:
    """A value as the XML-RPC text `<value>...</value>` that the server writes; integers are untyped.

    Parameters
    ----------
    type : of the value
    value : as rows hold it
    """
    if isinstance(type, BoolType):
        return f"<value><boolean>{int(value)}</boolean></value>"
    if isinstance(type, Int32Type):
        return f"<value><i4>{value}</i4></value>"
    if isinstance(type, FloatType):
        return f"<value><double>{value:.16g}</double></value>"
    if isinstance(type, DateTimeType):
        return f"<value><dateTime.iso8601>{value}</dateTime.iso8601></value>"
    if isinstance(type, SetType):
        return f"<value><array><data>{''.join(value_xml(type.of, item) for item in value)}</data></array></value>"
    if isinstance(type, MapType):
        key = type.key.database_text
        return _struct((key(name), value_xml(type.value, item)) for name, item in value.items())
    if isinstance(type, RecordType):
        return _struct((name, value_xml(type.fields[name], item)) for name, item in value.items())
    if isinstance(type, AnyType):
        return value_xml(*value)
    return f"<value>{text_xml(type.database_text(value))}</value>"


def text_xml(text: str) -> str:
    """Text without what XML cannot hold, and escaped."""
    return escape(text.translate(_DROPPED), QUOTE)


def _struct(members: Iterable[tuple[str, str]]) -> str:
    inner = "".join(f"<member><name>{text_xml(name)}</name>{value}</member>" for name, value in members)
    return f"<value><struct>{inner}</struct></value>"
