"""Results as rows of named columns: JSON, lines of JSON, CSV and sorting.

A nested result gives one column for each of its fields, the names joined by an underscore. Amounts stay bytes. Texts
come from inventories and may hold anything: neither form steers a terminal, and no cell of CSV is a formula.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from functools import reduce
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec

from xenmem.answers.naming import FORMAT_VERSION
from xenmem.text import printable

_UNUSUAL: Final = re.compile(r"[^ -~\n]+")
_FORMULA: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Spreadsheets take a cell that begins so for a formula, unless an apostrophe leads it."""


def to_json(result: msgspec.Struct, command: str) -> bytes:
    """A result as indented JSON with a newline at the end, led by the version of the format and the command.

    Characters that do not print are escaped.
    """
    encoded = msgspec.json.format(msgspec.json.encode(_led(result, command)), indent=2) + b"\n"
    return _UNUSUAL.sub(_escaped, encoded.decode()).encode()


def to_line(result: msgspec.Struct, command: str) -> bytes:
    """As `to_json`, on one line."""
    return _UNUSUAL.sub(_escaped, msgspec.json.encode(_led(result, command)).decode()).encode() + b"\n"


def _led(result: msgspec.Struct, command: str) -> dict[str, Any]:
    return _set({"format_version": FORMAT_VERSION, "command": command, **msgspec.structs.asdict(result)})


def _set(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not msgspec.UNSET}


def to_ndjson(row_type: type[msgspec.Struct], pools: Iterable[tuple[Any, Sequence[Any]]]) -> bytes:
    """The rows of ``to_csv`` as JSON, one a line, nested and with their types."""
    encode = msgspec.json.encode
    lines = (
        encode({"pool_uuid": head.uuid, "pool_name_label": head.name_label, **_set(msgspec.structs.asdict(row))})
        for head, rows in pools
        for row in rows
    )
    return b"".join(_UNUSUAL.sub(_escaped, line.decode()).encode() + b"\n" for line in lines)


def _escaped(unusual: re.Match[str]) -> str:
    return unusual[0] if unusual[0].isprintable() else "".join(json.dumps(c)[1:-1] for c in unusual[0])


def columns(row_type: type[msgspec.Struct]) -> dict[str, tuple[str, ...]]:
    """Column names of a type of results, and the attributes that lead to each."""
    paths: dict[str, tuple[str, ...]] = {}
    for field in msgspec.structs.fields(row_type):
        nested = _struct(field.type)
        if nested is None:
            paths[field.name] = (field.name,)
        else:
            for name, path in columns(nested).items():
                paths[f"{field.name}_{name}"] = (field.name, *path)
    return paths


def _struct(annotation: Any) -> type[msgspec.Struct] | None:
    if get_origin(annotation) is Annotated:
        return _struct(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
        return _struct(kinds[0]) if len(kinds) == 1 else None
    return annotation if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct) else None


def cell(row: Any, path: Sequence[str]) -> Any:
    """A value of a row; None where something on the way to it is."""
    return reduce(lambda value, name: None if value is None else getattr(value, name), path, row)


def to_csv(row_type: type[msgspec.Struct], pools: Iterable[tuple[Any, Sequence[Any]]]) -> bytes:
    """Rows of several pools as CSV, each led by the uuid and name of its pool.

    Parameters
    ----------
    pools : head and rows of each pool
    """
    paths = columns(row_type)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["pool_uuid", "pool_name_label", *paths])
    for head, rows in pools:
        for row in rows:
            writer.writerow(map(_text, [head.uuid, head.name_label, *(cell(row, path) for path in paths.values())]))
    return text.getvalue().encode(errors="backslashreplace")


def _text(value: Any) -> Any:
    match value:
        case bool():
            return "true" if value else "false"
        case list():
            return _text("; ".join(_reference(one) if isinstance(one, msgspec.Struct) else str(one) for one in value))
        case dict():
            return _text("; ".join(f"{key}={one}" for key, one in value.items()))
        case str():
            return printable(f"'{value}" if value.startswith(_FORMULA) else value)
        case _:
            return value


def _reference(item: Any) -> str:
    return str(item.uuid or item.ref)


def ordered(row_type: type[msgspec.Struct], rows: Iterable[Any], column: str) -> list[Any]:
    """Rows by a column: amounts and numbers from the largest, text from A, unknown values last.

    Raises
    ------
    KeyError : there is no such column
    """
    path = columns(row_type)[column]

    def key(row: Any) -> tuple[bool, Any]:
        value = cell(row, path)
        if value is None:
            return True, 0
        return False, value.casefold() if isinstance(value, str) else -value

    return sorted(rows, key=key)
