"""XML-RPC calls, answers and values to Python values, without trust: no document type, no entities, bounded depth.

Untyped values are text, as xapi sends ints (docs/reference/inventories.md, 6). Dates stay text. Knows no class or
field.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from sys import getsizeof
from typing import Any, Final
from xml.parsers import expat

from xenmem.inventory.error import shown

_MAX_DEPTH: Final = 64
_FREE_BYTES: Final = 16 << 20
_MOST_TIMES: Final = 2.25
"""So many times the text the values of a document may take, beside the text itself and what is free."""

_ITEM_BYTES: Final = 8
_MEMBER_BYTES: Final = 64
_EMPTY_BYTES: Final = 64
"""What a list keeps of each item and a struct of each member while they grow, and either of itself."""

_NOTHING: Final = object()
_SCALARS: Final = frozenset(("string", "int", "i4", "i8", "double", "boolean", "nil", "dateTime.iso8601", "base64"))
_WITH_TEXT: Final = _SCALARS | {"value", "name", "methodName"}
_PARENTS: Final = {
    "methodResponse": ("",),
    "methodCall": ("",),
    "methodName": ("methodCall",),
    "params": ("methodResponse", "methodCall"),
    "param": ("params",),
    "fault": ("methodResponse",),
    "value": ("", "param", "fault", "member", "data"),
    "struct": ("value",),
    "member": ("struct",),
    "name": ("member",),
    "array": ("value",),
    "data": ("array",),
} | dict.fromkeys(_SCALARS, ("value",))


class XMLRPCError(ValueError):
    """The text is not XML-RPC, or is a fault."""


def parse_response(document: bytes | bytearray) -> Any:
    """What a ``<methodResponse>`` answers.

    Raises
    ------
    XMLRPCError : not well-formed, not an answer, or a fault
    """
    builder = _Builder()
    builder.feed(document)
    if builder.is_fault:
        fault = builder.result
        text = fault.get("faultString", fault) if isinstance(fault, dict) else fault
        raise XMLRPCError(f"the answer is a fault: {shown(text)}")
    return builder.result


def parse_value(text: str) -> Any:
    """What a ``<value>`` is.

    Raises
    ------
    XMLRPCError : not well-formed, or not a value
    """
    builder = _Builder()
    builder.feed(text.encode())
    return builder.result


def parse_call(document: bytes | bytearray, scalar: Callable[[str, str], Any]) -> tuple[str, list[Any]]:
    """The method and the parameters of a ``<methodCall>``.

    Parameters
    ----------
    document : the request
    scalar : makes a value of the name of its type (``value`` if untyped) and its text

    Raises
    ------
    XMLRPCError : not well-formed, or not a call
    """
    plain = _PLAIN_CALL.fullmatch(document)
    if plain is not None:
        return plain[1].decode(), [text.decode() for text in _PLAIN_TEXT.findall(plain[2])]
    return _parsed_call(document, scalar)


def _parsed_call(document: bytes | bytearray, scalar: Callable[[str, str], Any]) -> tuple[str, list[Any]]:
    """As `parse_call`, whatever the call is made of."""
    builder = _Builder(scalar)
    builder.feed(document)
    if builder.method is None:
        raise XMLRPCError("not an XML-RPC call")
    return builder.method, builder.parameters


_SPACE: Final = rb"[ \t\r\n]*+"
_TEXT: Final = rb"[ !-%'-;=?-~]*+"
_VALUE: Final = rb"<value>(?:<string>" + _TEXT + rb"</string>|" + _TEXT + rb")</value>"
_PLAIN_CALL: Final = re.compile(
    _SPACE.join(
        (
            rb"(?:<\?xml version=(?:'1\.0'|\"1\.0\")\?>)?",
            rb"<methodCall>",
            rb"<methodName>([\w.]+)</methodName>",
            rb"<params>((?:" + _SPACE.join((b"", rb"<param>", _VALUE, rb"</param>")) + rb")*+)",
            rb"</params>",
            rb"</methodCall>",
            b"",
        )
    )
)
"""What most calls are: texts of ASCII without entities. Those need no parser."""
_PLAIN_TEXT: Final = re.compile(rb"<value>(?:<string>)?(" + _TEXT + rb")<")


@dataclass(slots=True)
class _Element:
    name: str
    text: list[str] = field(default_factory=list)
    value: Any = _NOTHING
    key: str = ""


class _Builder:
    def __init__(self, scalar: Callable[[str, str], Any] | None = None) -> None:
        self.is_fault = False
        self.method: str | None = None
        self.parameters: list[Any] = []
        self._scalar = scalar or _scalar
        self._result: Any = _NOTHING
        self._open: list[_Element] = []
        self._names: dict[str, str] = {}
        self._left = 0.0
        self._parser = parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = _refuse_doctype

    @property
    def result(self) -> Any:
        if self._result is _NOTHING:
            raise XMLRPCError("not an XML-RPC value")
        return self._result

    def feed(self, document: bytes | bytearray) -> None:
        self._left = _FREE_BYTES + _MOST_TIMES * len(document)
        try:
            self._parser.Parse(document, True)
        except expat.ExpatError as error:
            raise XMLRPCError(f"not well-formed XML-RPC: {error}") from None

    def _start(self, name: str, attributes: object) -> None:
        parent = self._open[-1].name if self._open else ""
        if parent not in _PARENTS.get(name, ()):
            raise XMLRPCError(f"<{name[:40]}> within <{parent}> is not XML-RPC")
        if len(self._open) >= _MAX_DEPTH:
            raise XMLRPCError("XML-RPC nests too deep")
        self.is_fault |= name == "fault"
        initial: Any = {} if name == "struct" else [] if name == "data" else _NOTHING
        if initial is not _NOTHING:
            self._take(_EMPTY_BYTES)
        self._open.append(_Element(name, value=initial))

    def _characters(self, text: str) -> None:
        if self._open[-1].name in _WITH_TEXT:
            self._open[-1].text.append(text)

    def _end(self, name: str) -> None:
        element = self._open.pop()
        text = "".join(element.text)
        if name in _SCALARS or (name == "value" and element.value is _NOTHING):
            element.value = self._scalar(name, text)
            self._take(getsizeof(element.value))
        elif name == "methodName":
            self.method = text
        elif name == "param":
            if element.value is _NOTHING:
                raise XMLRPCError("a parameter has no value")
            self.parameters.append(element.value)
        if not self._open:
            self._result = element.value
            return
        parent = self._open[-1]
        if name == "name":
            known = self._names.get(text)
            parent.key = self._remember(text) if known is None else known
        elif name == "member":
            parent.value[_member_name(element)] = element.value
            self._take(_MEMBER_BYTES)
        elif parent.name == "data":
            parent.value.append(element.value)
            self._take(_ITEM_BYTES)
        else:
            parent.value = element.value

    def _take(self, size: int) -> None:
        """Take memory into account that is kept."""
        self._left -= size
        if self._left < 0:
            raise XMLRPCError(f"the values take more than {_MOST_TIMES} times their text: no records")

    def _remember(self, name: str) -> str:
        """A member's name, which the members of other structs share."""
        self._take(getsizeof(name) + _MEMBER_BYTES)
        return self._names.setdefault(name, name)


def _member_name(member: _Element) -> str:
    if member.value is _NOTHING:
        raise XMLRPCError(f"member {shown(member.key)} has no value")
    return member.key


def _scalar(name: str, text: str) -> Any:
    if name == "nil":
        return None
    if name == "boolean":
        if text.strip() not in ("0", "1"):
            raise XMLRPCError(f"{shown(text)} is not a boolean")
        return text.strip() == "1"
    return text


def _refuse_doctype(*declaration: object) -> None:
    raise XMLRPCError("a document type declaration is refused")
