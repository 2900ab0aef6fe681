"""Values as the XML-RPC text that the server writes: in answers, in results of tasks, and to measure events."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Final
from xml.sax.saxutils import escape

from xenmem.datamodel.types import (
    AnyType,
    BoolType,
    DateTimeType,
    EnumType,
    FloatType,
    Int32Type,
    IntType,
    MapType,
    RecordType,
    RefType,
    SetType,
    StringType,
    Type,
)

_DROPPED: Final = dict.fromkeys({*range(32), 0xFFFE, 0xFFFF} - set(map(ord, "\t\n\r")))
_is_special: Final = re.compile("[^ !#-%'-;=?-~\u00a0-\ud7ff]").search
"""What may need a change within text: most has nothing of it."""
_MOST_KNOWN: Final = 4096
_OF_FEW: Final = (BoolType, Int32Type, IntType, EnumType, DateTimeType)
"""Types of whose values the same ones come again and again."""
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


def pieces_xml(type: Type[Any], value: Any) -> Iterator[str]:
    """The same text in pieces, those of many records one by one: no copy is made of all of it."""
    if not (isinstance(type, MapType) and isinstance(type.value, RecordType)):
        yield value_xml(type, value)
        return
    key, item = type.key.database_text, _writer(type.value)
    yield "<value><struct>"
    for name, one in value.items():
        yield f"<member><name>{text_xml(key(name))}</name>{item(one)}</member>"
    yield "</struct></value>"


class _Known(dict[Any, str]):
    """The texts of values that were written before, of one type, of which few different ones are to be expected."""

    def __init__(self, write: Callable[[Any], str]) -> None:
        self._write = write

    def __missing__(self, value: Any) -> str:
        if len(self) > _MOST_KNOWN:
            self.clear()
        text = self[value] = self._write(value)
        return text


@cache
def _writer(type: Type[Any]) -> Callable[[Any], str]:
    """What writes values of a type: chosen once, for a record of a hundred fields is written by a hundred of them."""
    write = _fresh(type)
    return _Known(write).__getitem__ if isinstance(type, _OF_FEW) else write


def _fresh(type: Type[Any]) -> Callable[[Any], str]:
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
            return _set_writer(_writer(type.of))
        case MapType():
            return _map_writer(type.key.database_text, _writer(type.value))
        case RecordType():
            return _record_writer(type)
        case AnyType():
            return lambda value: value_xml(*value)
        case StringType() | RefType():
            return lambda value: f"<value>{text_xml(value) if _is_special(value) else value}</value>"
    text = type.database_text
    return lambda value: f"<value>{text_xml(text(value))}</value>"


def _set_writer(item: Callable[[Any], str]) -> Callable[[Any], str]:
    def write(value: Sequence[Any]) -> str:
        if not value:
            return "<value><array><data></data></array></value>"
        return f"<value><array><data>{''.join(map(item, value))}</data></array></value>"

    return write


def _map_writer(key: Callable[[Any], str], item: Callable[[Any], str]) -> Callable[[Any], str]:
    names = _Known(lambda name: f"<member><name>{text_xml(key(name))}</name>")

    def write(value: dict[Any, Any]) -> str:
        if not value:
            return "<value><struct></struct></value>"
        members = [f"{names[name]}{item(one)}</member>" for name, one in value.items()]
        return f"<value><struct>{''.join(members)}</struct></value>"

    return write


def _record_writer(type: RecordType) -> Callable[[Any], str]:
    fields = {name: (f"<member><name>{name}</name>", _writer(of)) for name, of in type.fields.items()}
    names, writers = tuple(fields), tuple(item for _, item in fields.values())
    members = "".join(f"{head}%s</member>" for head, _ in fields.values())
    whole = f"<value><struct>{members}</struct></value>"

    def write(value: dict[str, Any]) -> str:
        if tuple(value) == names:
            return whole % tuple([item(one) for item, one in zip(writers, value.values(), strict=True)])
        found = [(fields[name], one) for name, one in value.items()]
        members = [f"{head}{item(one)}</member>" for (head, item), one in found]
        return f"<value><struct>{''.join(members)}</struct></value>"

    return write


def text_xml(text: str) -> str:
    """Text without what XML cannot hold, and escaped."""
    return escape(text.translate(_DROPPED), QUOTE) if _is_special(text) else text
