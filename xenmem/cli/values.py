"""Results as rows of named columns: JSON, lines of JSON, CSV, Parquet, Arrow and sorting.

A nested result gives one column for each of its fields, the names joined by an underscore. Amounts stay bytes. Texts
come from inventories and may hold anything: neither form steers a terminal, and no cell of CSV is a formula.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from xenmem.answers.naming import FORMAT_VERSION
from xenmem.answers.tables import cell, columns, to_arrow
from xenmem.arrow import library
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


def to_columns(row_type: type[msgspec.Struct], pools: Iterable[tuple[Any, Sequence[Any]]], form: str) -> bytes:
    """The rows of ``to_csv`` with their types, as a Parquet file or a stream of Arrow.

    Parameters
    ----------
    form : ``parquet`` or ``arrow``

    Raises
    ------
    ValueError : pyarrow is not installed, or a number is too large for it
    """
    pa = library()
    table = to_arrow(row_type, pools)
    sink = pa.BufferOutputStream()
    if form == "parquet":
        import pyarrow.parquet

        pyarrow.parquet.write_table(table, sink, compression="zstd")
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


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
