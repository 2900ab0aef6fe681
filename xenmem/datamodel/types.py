"""The types of XenAPI: what the API accepts for a value of each, what rows hold, and what clients are given.

Rows hold int, float, bool, str, tuple (sets) and dict (maps); dates are text such as 20260821T02:00:23Z. Values of rows
are never changed in place. Accepting is as strict as the server (docs/reference/messages.md, 9.3), within 64 bits.
Knows no field.
"""

import math
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from xenmem.datamodel import errors, sexpr
from xenmem.datamodel.files import ENUMS

if TYPE_CHECKING:
    from xmlrpc.client import DateTime as WireDateTime

T = TypeVar("T")

INT64_MAX: Final = 2**63 - 1
INT64_MIN: Final = -(2**63)
NULL: Final = "OpaqueRef:NULL"
EPOCH: Final = "19700101T00:00:00Z"
MAX_TEXT: Final = 300 * 1024
"""Longest text of a parameter in characters: the server reads no larger request (messages.md, 9.1 step 1)."""

_INTEGER: Final = re.compile(
    "([-+]?)(?:0[xX]([0-9a-fA-F][0-9a-fA-F_]*)|0[oO]([0-7][0-7_]*)|0[bB]([01][01_]*)|(?:0[uU])?([0-9][0-9_]*))",
    re.ASCII,
)
_BASES: Final = {2: 16, 3: 8, 4: 2, 5: 10}
_FLOAT: Final = re.compile(
    r"[-+]?(?:(0x[0-9a-f_.]+(?:p[-+]?[0-9_]+)?)|[0-9.][0-9_.]*(?:e[-+]?[0-9_]+)?|nan|inf|infinity)",
    re.ASCII | re.IGNORECASE,
)
_DATE: Final = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)T(\d\d):?(\d\d):?(\d\d)(?:\.\d+)?(?:(Z)|([-+])(\d\d):?(\d\d)?)?", re.ASCII
)


def int64(value: int) -> int:
    """The value as the server's 64-bit arithmetic leaves it."""
    return value if INT64_MIN <= value <= INT64_MAX else (value + 2**63) % 2**64 - 2**63


def quotient(dividend: int, divisor: int) -> int:
    """Integer division that truncates toward zero."""
    return dividend // divisor if dividend >= 0 else -(-dividend // divisor)


def shown_float(value: float) -> str:
    """A float as the server prints it in the parameters of failures (messages.md, 0)."""
    text = f"{value:.12g}"
    return f"{text}." if text.lstrip("-").isdigit() else text


def wrong_type(expected: str, value: object) -> "errors.Failure":
    """The failure of a value of another type: an exception's text, as the server prints it."""
    return errors.INTERNAL_ERROR(f"""Failure("Expected {expected}, got '{_rpc_shown(value)}'")""")


def _rpc_shown(value: object) -> str:
    match value:
        case None:
            return "N"
        case bool():
            return f"B({str(value).lower()})"
        case int():
            return f"I({value})" if INT64_MIN <= value <= INT64_MAX else "I(out of range)"
        case float():
            return f"F({value:g})"
        case str():
            return f"S({value[:80]})"
        case bytes():
            return f"Base64({len(value)} bytes)"
        case Mapping():
            return "Dict(...)"
        case Sequence():
            return "Enum(...)"
        case _:
            return f"DateTime({value})" if _is_wire_date(value) else type(value).__name__


@cache
def _wire_date() -> "type[WireDateTime]":
    """The class of dates of xmlrpc.client, which is imported for the first date that is given."""
    from xmlrpc.client import DateTime

    return DateTime


def _is_wire_date(value: object) -> bool:
    """Whether a value is a date as xmlrpc.client makes it; that module is not imported for the question."""
    return type(value).__name__ == "DateTime" and type(value).__module__ == "xmlrpc.client"


class Type(Generic[T]):
    """One type of the API.

    Attributes
    ----------
    name : as the API's documentation spells it
    python : the annotation of a value in the typed facade
    neutral : what a field without a default starts as
    """

    name: str
    python: str
    neutral: T

    @abstractmethod
    def accept(self, value: Any) -> T:
        """A parameter's value as rows hold it.

        Raises
        ------
        Failure : INTERNAL_ERROR, as the server's conversion fails
        """

    def give(self, value: T) -> Any:
        """A row's value as Python's XML-RPC client makes it of the server's answer."""
        return value

    def give_python(self, value: T) -> Any:
        """A row's value for the typed facade."""
        return value

    @abstractmethod
    def database_text(self, value: T) -> str:
        """A row's value as the pool database spells it, before whitespace protection (inventories.md, 2.6)."""

    def load(self, value: Any) -> T:
        """A value of an inventory, whatever its format made of it.

        Raises
        ------
        ValueError : it is none
        """
        try:
            return self.accept(value)
        except errors.Failure as failure:
            raise ValueError(failure.details[1]) from None

    def __repr__(self) -> str:
        return f"<Type {self.name}>"


class IntType(Type[int]):
    """A signed integer of 64 bits; on the XML-RPC wire it is text."""

    name = "int"
    python = "int"
    neutral = 0

    def accept(self, value: Any) -> int:
        if type(value) is str:
            if len(value) < 19 and value.isdecimal() and value.isascii():
                return int(value)
            return self._parse(value)
        if type(value) is int and INT64_MIN <= value <= INT64_MAX:
            return value
        raise wrong_type("int64", value)

    def _parse(self, text: str) -> int:
        match = _INTEGER.fullmatch(text) if len(text) <= MAX_TEXT else None
        if match is not None and match.lastindex is not None:
            digits = match[match.lastindex].replace("_", "").lstrip("0") or "0"
            if len(digits) <= 64:
                number = int(match[1] + digits, _BASES[match.lastindex])
                if INT64_MIN <= number <= INT64_MAX:
                    return number
        raise errors.INTERNAL_ERROR('Failure("Int64.of_string")')

    def give(self, value: int) -> str:
        return str(value)

    def database_text(self, value: int) -> str:
        return str(value)


class Int32Type(IntType):
    """A signed integer of 32 bits: the one kind of integer that the XML-RPC wire types."""

    name = "int32"

    def give(self, value: int) -> Any:
        return value


class FloatType(Type[float]):
    """A double."""

    name = "float"
    python = "float"
    neutral = 0.0

    def accept(self, value: Any) -> float:
        if type(value) is float:
            return value
        if type(value) is int and INT64_MIN <= value <= INT64_MAX:
            return float(value)
        if type(value) is str:
            return self._parse(value)
        raise wrong_type("float", value)

    def _parse(self, text: str) -> float:
        match = _FLOAT.fullmatch(text) if len(text) <= 400 else None
        if match is not None:
            try:
                return (float.fromhex if match[1] else float)(text.replace("_", ""))
            except (ValueError, OverflowError):
                pass
        raise errors.INTERNAL_ERROR('Failure("float_of_string")')

    def database_text(self, value: float) -> str:
        return f"{value:.18g}"

    def load(self, value: Any) -> float:
        number = super().load(value)
        if not math.isfinite(number):
            raise ValueError(f"{number} is not finite")
        return number


class BoolType(Type[bool]):
    """True or false; no text stands for either."""

    name = "bool"
    python = "bool"
    neutral = False

    def accept(self, value: Any) -> bool:
        if value is True or value is False:
            return bool(value)
        raise wrong_type("bool", value)

    def database_text(self, value: bool) -> str:
        return "true" if value else "false"

    def load(self, value: Any) -> bool:
        return {"true": True, "false": False}[value] if value in ("true", "false") else super().load(value)


class StringType(Type[str]):
    """A text."""

    name = "string"
    python = "str"
    neutral = ""

    def accept(self, value: Any) -> str:
        if type(value) is not str:
            raise wrong_type("string", value)
        if len(value) > MAX_TEXT:
            raise errors.INTERNAL_ERROR(f'Failure("a text of {len(value)} characters")')
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                shown = value[:80].encode("utf-8", "backslashreplace").decode()
                raise errors.INVALID_VALUE("Invalid UTF-8 string in parameter", shown) from None
        return value

    def database_text(self, value: str) -> str:
        return value


class DateTimeType(Type[str]):
    """A date in UTC to the second, held as text such as 20260821T02:00:23Z."""

    name = "datetime"
    python = "datetime"
    neutral = EPOCH

    def accept(self, value: Any) -> str:
        if type(value) is str and len(value) == 18 and value[-1] == "Z":
            text = value
        elif isinstance(value, datetime):
            text = (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).strftime("%Y%m%dT%H:%M:%SZ")
        elif type(value) is str or _is_wire_date(value):
            text = str(value)
        else:
            raise wrong_type("datetime", value)
        match = _DATE.fullmatch(text)
        if match is None:
            raise errors.INTERNAL_ERROR(f'Invalid_argument("date.ml:of_iso8601_opt: {text[:40]}")')
        if match[7] and len(text) == 18:
            return text
        return self._in_utc(match)

    def _in_utc(self, match: re.Match[str]) -> str:
        zone = "+0000" if match[8] is None else f"{match[8]}{match[9]}{match[10] or '00'}"
        digits = "".join(match.group(1, 2, 3, 4, 5, 6))
        try:
            moment = datetime.strptime(f"{digits}{zone}", "%Y%m%d%H%M%S%z")
        except ValueError:
            raise errors.INTERNAL_ERROR(f'Invalid_argument("date.ml:of_iso8601_opt: {match[0]}")') from None
        return moment.astimezone(UTC).strftime("%Y%m%dT%H:%M:%SZ")

    def give(self, value: str) -> "WireDateTime":
        return _wire_date()(value)

    def give_python(self, value: str) -> datetime:
        return datetime.strptime(value, "%Y%m%dT%H:%M:%SZ").replace(tzinfo=UTC)

    def database_text(self, value: str) -> str:
        return value


class RefType(Type[str]):
    """A reference to a row of a class: any text; whether there is such a row is asked when it is used."""

    python = "str"
    neutral = NULL

    def __init__(self, target: str) -> None:
        self.target = target
        self.name = f"{target} ref"

    def accept(self, value: Any) -> str:
        if type(value) is str and len(value) <= MAX_TEXT and value.isascii():
            return value
        return STRING.accept(value)

    def database_text(self, value: str) -> str:
        return value


class EnumType(Type[str]):
    """One of some names; accepted in any case."""

    python = "str"

    def __init__(self, name: str, *members: str) -> None:
        self.name = name
        self.members = members
        self.neutral = members[0]
        self._members = {member.lower(): member for member in members}

    def accept(self, value: Any) -> str:
        if type(value) is not str:
            raise wrong_type("string", value)
        member = self._members.get(value.lower()) if len(value) <= 80 else None
        if member is None:
            raise errors.INTERNAL_ERROR('Failure("Unknown tag/contents")')
        return member

    def load(self, value: Any) -> str:
        """Names that a newer server has are kept as they are."""
        return self._members.get(value.lower(), value) if type(value) is str else super().load(value)

    def database_text(self, value: str) -> str:
        return value


class SetType(Type[tuple[Any, ...]]):
    """A set of values of one type; rows hold a tuple."""

    neutral: tuple[Any, ...] = ()

    def __init__(self, of: Type[Any]) -> None:
        self.of = of
        self.name = f"{of.name} set"
        self.python = f"list[{of.python}]"

    def accept(self, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)):
            raise wrong_type("list", value)
        return tuple(map(self.of.accept, value))

    def give(self, value: tuple[Any, ...]) -> list[Any]:
        return list(map(self.of.give, value)) if value else []

    def give_python(self, value: tuple[Any, ...]) -> list[Any]:
        return list(map(self.of.give_python, value)) if value else []

    def database_text(self, value: tuple[Any, ...]) -> str:
        return f"({' '.join(map(_quoted, map(self.of.database_text, value)))})"

    def load(self, value: Any) -> tuple[Any, ...]:
        if isinstance(value, str):
            value = sexpr.parse_set(value)
        if not value:
            return ()
        return tuple(map(self.of.load, value))


class MapType(Type[dict[Any, Any]]):
    """A map from values of one type to values of another."""

    def __init__(self, key: Type[Any], value: Type[Any]) -> None:
        self.key = key
        self.value = value
        self.name = f"({key.name} -> {value.name}) map"
        self.python = f"dict[{key.python}, {value.python}]"
        self.neutral: dict[Any, Any] = {}

    def accept(self, value: Any) -> dict[Any, Any]:
        if not isinstance(value, Mapping):
            raise wrong_type("dictionary", value)
        key, inner = self.key.accept, self.value.accept
        return {key(name): inner(item) for name, item in value.items()}

    def give(self, value: dict[Any, Any]) -> dict[str, Any]:
        if not value:
            return {}
        give = self.value.give
        return {str(name): give(item) for name, item in value.items()}

    def give_python(self, value: dict[Any, Any]) -> dict[Any, Any]:
        return {name: self.value.give_python(item) for name, item in value.items()}

    def database_text(self, value: dict[Any, Any]) -> str:
        key, inner = self.key.database_text, self.value.database_text
        return f"({' '.join(f'({_quoted(key(name))} {_quoted(inner(item))})' for name, item in value.items())})"

    def load(self, value: Any) -> dict[Any, Any]:
        if isinstance(value, str):
            value = sexpr.parse_map(value)
        if not value:
            return {}
        if not isinstance(value, Mapping):
            raise ValueError(f"{value!r:.60} is not a map")
        key, inner = self.key.load, self.value.load
        return {key(name): inner(item) for name, item in value.items()}


class RecordType(Type[dict[str, Any]]):
    """The fields of a row by name; as a parameter, a struct whose keys the constructor looks up itself.

    Parameters
    ----------
    of : the class
    fields : type of each field, for giving records
    """

    python = "dict[str, Any]"

    def __init__(self, of: str, fields: Mapping[str, Type[Any]] | None = None) -> None:
        self.of = of
        self.fields = fields or {}
        self.name = f"{of} record"
        self.neutral: dict[str, Any] = {}
        self._given = _conversions(self.fields, "give")
        self._python = _conversions(self.fields, "give_python")

    def accept(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise wrong_type("dictionary", value)
        return dict(value)

    def give(self, value: dict[str, Any]) -> dict[str, Any]:
        return _converted(value, self._given)

    def give_python(self, value: dict[str, Any]) -> dict[str, Any]:
        return _converted(value, self._python)

    def database_text(self, value: dict[str, Any]) -> str:
        raise TypeError("no field holds a record")


_Conversions = tuple[tuple[str, Callable[[Any], Any]], ...]


def _conversions(fields: Mapping[str, Type[Any]], method: str) -> _Conversions:
    """What is to be done to the fields of a record that clients get otherwise than rows hold them."""
    return tuple((name, _conversion(type, method)) for name, type in fields.items() if _changes(type, method))


def _conversion(type: Type[Any], method: str) -> Callable[[Any], Any]:
    """The method, or for the most frequent types a built-in that does the same."""
    if isinstance(type, SetType) and not _changes(type.of, method):
        return list
    if isinstance(type, MapType) and type.key.python == "str" and not _changes(type.value, method):
        return dict
    if type is INT:
        return str
    bound: Callable[[Any], Any] = getattr(type, method)
    return bound


def _changes(type: Type[Any], method: str) -> bool:
    """Whether a type gives something else than what rows hold; by far the most fields are as they are."""
    return getattr(type.__class__, method) is not getattr(Type, method)


def _converted(record: dict[str, Any], conversions: _Conversions) -> dict[str, Any]:
    given = dict(record)
    for name, give in conversions:
        given[name] = give(given[name])
    return given


class AnyType(Type[tuple[Type[Any], Any]]):
    """A value of any type, held together with its type: a result only."""

    name = "any"
    python = "Any"

    def accept(self, value: Any) -> tuple[Type[Any], Any]:
        raise TypeError("no parameter is of any type")

    def give(self, value: tuple[Type[Any], Any]) -> Any:
        return value[0].give(value[1])

    def give_python(self, value: tuple[Type[Any], Any]) -> Any:
        return value[0].give_python(value[1])

    def database_text(self, value: tuple[Type[Any], Any]) -> str:
        raise TypeError("no field is of any type")


class VoidType(Type[None]):
    """The result of a message that answers nothing."""

    name = "void"
    python = "None"
    neutral = None

    def accept(self, value: Any) -> None:
        raise TypeError("no parameter is void")

    def give(self, value: None) -> str:
        return ""

    def database_text(self, value: None) -> str:
        return ""


INT: Final = IntType()
INT32: Final = Int32Type()
ANY: Final = AnyType()
FLOAT: Final = FloatType()
BOOL: Final = BoolType()
STRING: Final = StringType()
DATETIME: Final = DateTimeType()
VOID: Final = VoidType()
STRING_MAP: Final = MapType(STRING, STRING)
STRINGS: Final = SetType(STRING)

_NAMED: Final[Mapping[str, Type[Any]]] = {
    "String": STRING,
    "SecretString": STRING,
    "Int": INT,
    "Float": FLOAT,
    "Bool": BOOL,
    "DateTime": DATETIME,
    "void": VOID,
    "Set(String)": STRINGS,
    "Map(String,String)": STRING_MAP,
}


@cache
def parse(spelling: str) -> Type[Any]:
    """The type that the data model spells so: `Int`, `Ref VM`, `Map(Ref VM,Set(Enum vm_operations))`.

    Notes
    -----
    An option is a set of none or one, as the database holds it; records are those of clients, without their fields.

    Raises
    ------
    ValueError : there is none
    """
    if spelling in _NAMED:
        return _NAMED[spelling]
    kind, _, name = spelling.partition(" ")
    if kind == "Ref" and name:
        return RefType(name)
    if kind == "Record" and name:
        return RecordType(name)
    if kind == "Enum" and name in ENUMS:
        return EnumType(name, *ENUMS[name])
    if not spelling.endswith(")"):
        raise ValueError(f"{spelling!r} is no type")
    outer, _, inner = spelling[:-1].partition("(")
    if outer == "Map":
        key, _, value = inner.partition(",")  # no key has a comma
        return MapType(parse(key), parse(value))
    if outer not in ("Set", "Option"):
        raise ValueError(f"{spelling!r} is no type")
    return SetType(parse(inner))


def enum(name: str) -> EnumType:
    """An enumeration of the data model."""
    found = parse(f"Enum {name}")
    assert isinstance(found, EnumType)
    return found


def _quoted(text: str) -> str:
    return "'{}'".format(text.replace("\\", "\\\\").replace("'", "\\'"))
