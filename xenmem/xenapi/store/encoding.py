"""Values as the XML-RPC text that the server writes: in answers, in results of tasks, and to measure events."""

import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final
from xml.sax.saxutils import escape

from xenmem.datamodel.types import (
    AnyType,
    BoolType,
    DateTimeType,
    FloatType,
    Int32Type,
    IntType,
    MapType,
    RecordType,
    SetType,
    Type,
)

_DROPPED: Final = dict.fromkeys({*range(32), 0xFFFE, 0xFFFF} - set(map(ord, "\t\n\r")))
_SPECIAL: Final = re.compile("[^ !#-%'-;=?-~\u00a0-\ud7ff]")
"""What may need a change within text: most has nothing of it."""
QUOTE: Final = {'"': "&quot;"}
"""What is to be escaped within an attribute beside what is everywhere."""


def value_xml(type: Type[Any], value: Any) -> str:
    """A value as the XML-RPC text `<value>...</value>` that the server writes; integers are untyped.

    Parameters
    ----------
    type : of the value
    value : as rows hold it
    """
    return _writer(type)(value)


@cache
def _writer(type: Type[Any]) -> Callable[[Any], str]:
    """What writes values of a type: chosen once, for a record of a hundred fields is written by a hundred of them."""
    match type:
        case BoolType():
            return lambda value: f"<value><boolean>{int(value)}</boolean></value>"
        case Int32Type():
            return lambda value: f"<value><i4>{value}</i4></value>"
        case IntType():
            return lambda value: f"<value>{value}</value>"
        case FloatType():
            return lambda value: f"<value><double>{value:.16g}</double></value>"
        case DateTimeType():
            return lambda value: f"<value><dateTime.iso8601>{value}</dateTime.iso8601></value>"
        case SetType():
            item = _writer(type.of)
            return lambda value: f"<value><array><data>{''.join(map(item, value))}</data></array></value>"
        case MapType():
            return _map_writer(type.key.database_text, _writer(type.value))
        case RecordType():
            return _record_writer(type)
        case AnyType():
            return lambda value: value_xml(*value)
    text = type.database_text
    return lambda value: f"<value>{text_xml(text(value))}</value>"


def _map_writer(key: Callable[[Any], str], item: Callable[[Any], str]) -> Callable[[Any], str]:
    def write(value: dict[Any, Any]) -> str:
        members = [f"<member><name>{text_xml(key(name))}</name>{item(one)}</member>" for name, one in value.items()]
        return f"<value><struct>{''.join(members)}</struct></value>"

    return write


def _record_writer(type: RecordType) -> Callable[[Any], str]:
    fields = {name: (f"<member><name>{name}</name>", _writer(of)) for name, of in type.fields.items()}

    def write(value: dict[str, Any]) -> str:
        members = []
        for name, one in value.items():
            head, item = fields[name]
            members.append(f"{head}{item(one)}</member>")
        return f"<value><struct>{''.join(members)}</struct></value>"

    return write


def text_xml(text: str) -> str:
    """Text without what XML cannot hold, and escaped."""
    return escape(text.translate(_DROPPED), QUOTE) if _SPECIAL.search(text) else text
