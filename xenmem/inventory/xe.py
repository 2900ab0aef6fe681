"""The text of `xe ... params=all`: lists of pools, hosts, VMs and VM groups, one after the other.

Values are raw and may span lines; records are cut by the column of their labels (docs/reference/inventories.md, 7.1),
or by the labels alone where a paste has lost its indentation. References are uuids. Read line by line; positions are
line numbers. Knows nothing of arrays.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BufferedReader
from typing import Any, Final

from xenmem.inventory.assemble import Origin, T, Target
from xenmem.inventory.boot_record import parse_boot_record
from xenmem.inventory.error import InventoryError
from xenmem.inventory.head import BYTE_ORDER_MARK
from xenmem.inventory.schema import TABLES, Column, Kind, recognised
from xenmem.inventory.table import CHUNK_ROWS, BootRecord, RawTable, check_size

MAX_LINE_BYTES: Final = 16 << 20
"""Longest line; and most text in one record's values."""

MAX_VALUE_LINES: Final = 1 << 16
"""Most lines of one value: each costs some 60 bytes, however short it is."""

_FIRST: Final = re.compile(r"uuid \( RO\) *(?=: [0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12} *$)")
_LABEL: Final = re.compile(r" *([A-Za-z][A-Za-z0-9_-]*) \((?: RO| RW|SRO|SRW|MRO|MRW)\)(?: \[DEPRECATED\])?")
_PASTED: Final = re.compile(_LABEL.pattern + r":(?: |$)")
_UNKNOWN: Final = frozenset(
    ("<not in database>", "<unknown>", "<unknown time>", "<expensive field>", "<invalid reference>")
)
_TARGET_UNKNOWN: Final = "-1"


class XeCodec:
    """How xe prints values."""

    format = "xe"

    def place(self, position: int) -> str:
        """The line where the record starts."""
        return f"line {position}"

    def field(self, column: Column) -> str:
        """The parameter's name."""
        return column.parameter

    def spell(self, member: str) -> str:
        """In lower case, with dashes."""
        return member.lower().replace("_", "-")

    def text(self, value: str) -> str:
        """As it is."""
        return value

    def mapping(self, value: str) -> Mapping[str, str]:
        """``key: value; key: value``."""
        pairs = (item.partition(": ") for item in self.items(value))
        return {key: entry for key, separator, entry in pairs if separator}

    def entry(self, value: str, key: str) -> str | None:
        """One entry of a map."""
        return self.mapping(value).get(key)

    def items(self, value: str) -> Sequence[str]:
        """``item; item``."""
        return value.split("; ") if value else ()

    def operations(self, value: str) -> Iterable[str]:
        """The operations alone, of hosts with a dot."""
        return self.items(value)

    def boot_record(self, value: str) -> BootRecord | None:
        """Raw, as it is in the record."""
        return parse_boot_record(value)


def read(file: BufferedReader, target: Target[T], *, source: str, lenient: bool = False) -> list[T]:
    """The pool of a text of xe.

    Parameters
    ----------
    file : any number of ``params=all`` lists of one pool, in any order
    target : what to read, and what to make of it
    source : the file's name for messages
    lenient : skip bad records

    Raises
    ------
    InventoryError : no such text, or a record is bad
    """
    codec = XeCodec()
    origin = Origin(source, lenient=lenient)
    tables = target.raw_tables(codec, origin)
    batches: dict[str, tuple[list[tuple[Any, ...]], list[int]]] = {name: ([], []) for name in tables}
    wanted = frozenset(field for table in tables.values() for field in table.fields) | _SIGNING

    def flush() -> None:
        for name, (rows, lines) in batches.items():
            tables[name].add(rows, lines)
            rows.clear()
            lines.clear()

    count = size = 0
    for line, record in _records(file, source, wanted):
        count += 1
        size += sum(map(len, record.values()))
        record["metrics"] = record["guest_metrics"] = record["uuid"]
        if record.get("PV-drivers-version") in _UNKNOWN:  # no guest metrics
            del record["PV-drivers-version"]
        for name in _classes(record):
            rows, lines = batches[name]
            rows.append(_row(tables[name], record))
            lines.append(line)
        if count % CHUNK_ROWS == 0 or size > MAX_LINE_BYTES:
            flush()
            size = 0
    flush()
    if not count:
        raise InventoryError(source, "", "no text of xe: there each record begins with its uuid")
    if not len(tables["VM"]) and not len(tables["host"]) and not any(table.skipped for table in tables.values()):
        shown_by = " or ".join(f"{name}s ({', '.join(sorted(_SIGNATURES[name]))})" for name in ("VM", "host"))
        raise InventoryError(
            source, "", f"none of its {count} records shows what tells {shown_by}: list with params=all"
        )
    return [target.assemble(tables, codec, origin)]


_SIGNATURES: Final = {
    name: frozenset(column.parameter for column in schema.columns if column.api in schema.signature)
    for name, schema in TABLES.items()
}
_SIGNING: Final = frozenset().union(*_SIGNATURES.values())


def _classes(record: Mapping[str, str]) -> list[str]:
    """The classes whose fields a record shows: a VM shows its metrics, too, and a host likewise."""
    return recognised(record.keys(), _SIGNATURES)


def _row(table: RawTable, record: Mapping[str, str]) -> tuple[Any, ...]:
    values: list[str | None] = [record["uuid"]]
    for column, field in zip(table.columns, table.fields, strict=True):
        value = record.get(field)
        if column.path == "memory/target":
            value = _TARGET_UNKNOWN
        elif value in _UNKNOWN and column.kind not in (Kind.TEXT, Kind.REF):
            value = None
        values.append(value)
    return tuple(values)


def _lines(file: BufferedReader, source: str) -> Iterator[tuple[int, str, bool]]:
    """Number and text of each line, and whether the line has an end."""
    number = 0
    is_crlf = False
    while data := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(data) > MAX_LINE_BYTES:
            raise InventoryError(source, f"line {number}", f"longer than {MAX_LINE_BYTES >> 20} MiB")
        if number == 1:
            is_crlf = data.endswith(b"\r\n")
        try:
            text = data.removesuffix(b"\n").removesuffix(b"\r" if is_crlf else b"").decode()
        except UnicodeDecodeError as error:
            raise InventoryError(source, f"line {number}", f"not UTF-8: byte {data[error.start]:#04x}") from None
        yield number, text.removeprefix(BYTE_ORDER_MARK.decode()) if number == 1 else text, data.endswith(b"\n")


def _records(file: BufferedReader, source: str, wanted: frozenset[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and wanted parameters of each record."""
    start = width = size = count = position = 0
    pasted = False
    record: dict[str, list[str]] = {}
    value: list[str] | None = None
    for number, line, has_end in _lines(file, source):
        position += len(line) + 1
        first = _FIRST.match(line)
        if first:
            count += 1
            check_size(source, f"line {number}", count, position)
            if record:
                yield start, _joined(record, value)
            start, width, size = number, first.end(), 0
            value = [line[width + 2 :].rstrip()]
            record = {"uuid": value}
            continue
        if not record:
            continue
        label = _LABEL.fullmatch(line, 0, width) if line[width : width + 2] in (": ", ":") else None
        if number == start + 1:  # a uuid has one line, so that this is a parameter, wherever it stands
            pasted = label is None
        if pasted:
            label = _PASTED.match(line)
        if label:
            value = [line[label.end() if pasted else width + 2 :]] if label[1] in wanted else None
            if value is not None:
                if label[1] in record:
                    raise InventoryError(source, f"line {number}", f"{label[1]} is there twice in one record")
                record[label[1]] = value
        elif value is not None:
            value.append(line)
            if len(value) > MAX_VALUE_LINES:
                raise InventoryError(source, f"line {start}", f"a value of more than {MAX_VALUE_LINES:,} lines")
        size += len(line) + 1 if value is not None else 0
        if size > MAX_LINE_BYTES:
            raise InventoryError(source, f"line {start}", f"a record of more than {MAX_LINE_BYTES >> 20} MiB")
        if not has_end:
            raise InventoryError(source, f"line {number}", "the text is cut short: xe ends every line")
    if record:
        yield start, _joined(record, value)


def _joined(record: Mapping[str, list[str]], last: list[str] | None) -> dict[str, str]:
    """The values in one piece each; the empty lines between records are not part of the last."""
    while last is not None and len(last) > 1 and not last[-1]:
        last.pop()
    return {name: "\n".join(lines) for name, lines in record.items()}
