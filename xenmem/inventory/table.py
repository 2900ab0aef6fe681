"""Rows as a format spells them, turned into numpy columns chunk by chunk, so that memory grows with the columns only.

A Codec knows how one format spells values; everything else about a value (type, range, default) is in the schema.
A chunk is converted column by column in bulk; only if that fails are its rows tried one by one, to name the bad one.
Amounts are bytes. Knows no file and no reference between tables.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from xenmem.columns import Note, Rows
from xenmem.inventory.error import InventoryError, named, shown
from xenmem.inventory.schema import MAX_NAME, Column, Kind, TableSchema
from xenmem.text import counted

CHUNK_ROWS: Final = 2048
"""Rows that are converted at a time: enough for bulk conversion, few enough to keep the raw values small."""

MAX_ROWS: Final = 1 << 20
"""Most rows of one class in one inventory; the largest pools have some ten thousand VMs."""

MAX_ENTRIES: Final = 1 << 22
"""Most entries in all sets or maps of one column: what is kept of each is some 100 bytes, however short it is."""

NULL: Final = -1
"""Code of a reference that points nowhere; other codes index RawTable.references."""

_NULL_REFERENCES: Final = ("OpaqueRef:NULL", "", "<not in database>", "<invalid reference>")
_MAX_DIGITS: Final = 20
_FLOAT: Final = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_LISTS: Final = frozenset((list, tuple))
_DICTS: Final = frozenset((dict,))
_TEXT: Final = frozenset((str,))
_SCALARS: Final = frozenset((str, int, float))
_BOOLS: Final = {"true": True, "false": False, True: True, False: False}

_DTYPES: Final[Mapping[Kind, type[np.generic]]] = {
    Kind.TEXT: np.object_,
    Kind.FILLED: np.bool_,
    Kind.PRESENT: np.bool_,
    Kind.FLOAT: np.float64,
    Kind.BOOL: np.bool_,
    Kind.ENUM: np.uint8,
    Kind.REF: np.int32,
    Kind.REFS: np.object_,
    Kind.MAP: np.object_,
    Kind.ENTRY: np.object_,
    Kind.BOOT_RECORD: np.object_,
    Kind.TOLD: np.bool_,
    Kind.OPERATIONS: np.object_,
}


class BootRecord(NamedTuple):
    """What the server kept of the VM when it last booted; None where the record does not say."""

    static_max: int | None
    vcpus_max: int | None
    shadow_multiplier: float | None
    has_boot_policy: bool | None


class Codec(Protocol):
    """How one format spells values. A method gets a raw value that is not None and raises ValueError if it is bad."""

    format: str

    def place(self, position: int) -> str:
        """Where in the file a row is, for messages; may be empty."""

    def field(self, column: Column) -> str:
        """What the format calls the column; empty if it cannot tell it."""

    def spell(self, member: str) -> str:
        """How the format spells a member of an enumeration."""

    def text(self, value: str) -> str:
        """A text value decoded."""

    def mapping(self, value: Any) -> Mapping[str, Any]:
        """A map decoded."""

    def entry(self, value: Any, key: str) -> Any:
        """One entry of a map, None if it is not there."""

    def items(self, value: Any) -> Sequence[str]:
        """A set decoded."""

    def operations(self, value: Any) -> Iterable[str]:
        """The operations of a map of task to operation."""

    def boot_record(self, value: str) -> BootRecord | None:
        """A last_booted_record decoded; None if it does not parse."""


FREE_ROWS: Final = 1 << 16
ROW_BYTES: Final = 512
"""Of the rows of a dump or a text so many are free, the others have so much text on average, which is a quarter of what
xapi writes: the columns of a VM take some 1,000 bytes, however few of them its row has."""


def check_size(source: str, place: str, rows: int, size: int) -> None:
    """Refuse an inventory whose columns would take many times its text, which has so many bytes up to here."""
    if rows > FREE_ROWS + size // ROW_BYTES:
        raise InventoryError(
            source, place, f"more than {FREE_ROWS:,} rows, and of less than {ROW_BYTES} bytes on average"
        )


def check_count(source: str, place: str, table: str, count: int) -> None:
    """Refuse an inventory of more rows than any pool has."""
    if count > MAX_ROWS:
        raise InventoryError(source, place, f"more than {MAX_ROWS:,} {table} rows")


class RawTable:
    """The columns of one class of one inventory, as far as they are read.

    Parameters
    ----------
    schema, codec : what to read, and how it is spelled
    source : the file's name for messages
    lenient : skip bad rows instead of raising
    schema_minor : minor schema version of a database dump

    Attributes
    ----------
    rows : row number by reference
    references : per reference column, the references by code
    missing : per column, how many rows lacked it and the first of them
    given : the inventory has the class, though there may be no rows
    skipped : how many rows were bad, and the error of the first
    """

    def __init__(
        self, schema: TableSchema, codec: Codec, source: str, *, lenient: bool, schema_minor: int | None = None
    ) -> None:
        self.schema = schema
        self.codec = codec
        self.source = source
        self.lenient = lenient
        self.columns = tuple(
            column
            for column in schema.columns
            if column.last_schema is None or schema_minor is None or schema_minor <= column.last_schema
        )
        self.fields = tuple(codec.field(column) for column in self.columns)
        self.rows: dict[str, int] = {}
        self.missing: dict[str, tuple[int, str]] = {}
        self.given = False
        self.skipped = 0
        self.first_skipped = ""
        self._references: dict[str, dict[str, int]] = {
            column.result: dict.fromkeys(_NULL_REFERENCES, NULL) for column in self.columns if column.kind is Kind.REF
        }
        self._chunks: dict[str, list[NDArray[Any]]] = {column.result: [] for column in self.columns}
        self._positions: list[NDArray[np.int64]] = []
        self._shared: dict[str, str] = {}
        self._uuids: set[str] = set()
        self._entries_of: Counter[str] = Counter()
        self._members = {
            column.result: {codec.spell(member): code for member, code in column.members.items()}
            for column in self.columns
            if column.members is not None
        }
        self._converters: dict[Kind, Callable[[Column, Sequence[Any]], NDArray[Any]]] = {
            Kind.TEXT: self._texts,
            Kind.FILLED: self._filled,
            Kind.INT: self._integers,
            Kind.FLOAT: self._floats,
            Kind.BOOL: self._bools,
            Kind.ENUM: self._enums,
            Kind.REF: self._refs,
            Kind.REFS: self._sets,
            Kind.MAP: self._maps,
            Kind.ENTRY: self._entries,
            Kind.BOOT_RECORD: self._boot_records,
            Kind.TOLD: self._told,
            Kind.OPERATIONS: self._operations,
        }

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, rows: Sequence[tuple[Any, ...]], positions: Sequence[int]) -> None:
        """Convert some rows.

        Parameters
        ----------
        rows : tuples of the reference and the raw value of each of `columns`, None where the row has no such field
        positions : where each row is in the file

        Raises
        ------
        InventoryError : a row is bad, unless reading is lenient
        """
        self.given |= bool(rows)
        try:
            self._add(rows, positions)
        except ValueError:
            good = [number for number in range(len(rows)) if self._is_good(rows[number], positions[number])]
            self._add([rows[number] for number in good], [positions[number] for number in good])

    def column(self, name: str) -> NDArray[Any]:
        """A column of all rows so far, as an array that belongs to the caller."""
        chunks = self._chunks.pop(name)
        if not chunks:
            return np.zeros(0, _dtype(next(column for column in self.columns if column.result == name)))
        return np.concatenate(chunks) if len(chunks) > 1 else chunks[0]

    def references(self, name: str) -> list[str]:
        """What the codes of a reference column stand for."""
        return list(self._references[name])[len(_NULL_REFERENCES) :]

    def where(self, row: int) -> str:
        """The place of a row for messages."""
        return self.codec.place(int(np.concatenate(self._positions)[row])) if self._positions else ""

    def named(self, ref: object) -> str:
        """A row for messages, by its reference."""
        return named(self.schema.name, ref)

    def notes(self) -> Iterable[Note]:
        """What reading this table assumed by itself."""
        if self.skipped:
            rows = f"bad {self.schema.name} row"
            text = f"{counted(self.skipped, f'{rows} was', f'{rows}s were')} skipped"
            yield Note(self.source, "skipped", text, self.skipped, self.first_skipped)

    def skip(self, problem: InventoryError) -> None:
        """Count a row as skipped, or raise the error if reading is not lenient."""
        if not self.lenient:
            raise problem
        if not self.skipped:
            self.first_skipped = ": ".join(part for part in (problem.place, problem.problem) if part)
        self.skipped += 1

    def _is_good(self, row: tuple[Any, ...], position: int) -> bool:
        """Whether the row can be converted by itself, and its ref and uuid are new; the row is remembered as seen."""
        ref = row[0]
        try:
            if not isinstance(ref, str) or not ref:
                raise ValueError(f"{self.schema.name} row without ref")
            try:
                _check_length("ref", [ref], MAX_NAME)
                arrays, _ = self._convert([row])
            except ValueError as problem:
                raise ValueError(f"{self.named(ref)}: {problem}") from None
            if ref in self.rows or ref in self._seen:
                raise ValueError(f"{self.named(ref)}: duplicate ref")
            uuids = _uuids(arrays)
            for uuid in uuids:
                if uuid in self._uuids or uuid in self._seen_uuids:
                    raise ValueError(f"{self.named(ref)}: uuid: {shown(uuid)} is that of another row")
        except ValueError as problem:
            self.skip(InventoryError(self.source, self.codec.place(position), str(problem)))
            return False
        self._seen.add(ref)
        self._seen_uuids.update(uuids)
        return True

    def _add(self, rows: Sequence[tuple[Any, ...]], positions: Sequence[int]) -> None:
        self._seen: set[str] = set()
        self._seen_uuids: set[str] = set()
        if not rows:
            return
        refs = [row[0] for row in rows]
        if not all(isinstance(ref, str) and ref for ref in refs):
            raise ValueError("row without ref")
        if len(set(refs)) != len(refs) or not self.rows.keys().isdisjoint(refs):
            raise ValueError("duplicate ref")
        _check_length("ref", refs, MAX_NAME)
        arrays, missing = self._convert(rows)
        uuids = _uuids(arrays)
        if len(set(uuids)) != len(uuids) or not self._uuids.isdisjoint(uuids):
            raise ValueError("duplicate uuid")
        self._bound(len(rows), arrays, positions[-1])
        self._uuids.update(uuids)
        for name, array in arrays.items():
            self._chunks[name].append(array)
        for name, (count, first) in missing.items():
            before, example = self.missing.get(name, (0, refs[first]))
            self.missing[name] = before + count, example
        self.rows.update(zip(refs, range(len(self.rows), len(self.rows) + len(refs)), strict=True))
        self._positions.append(np.array(positions, dtype=np.int64))

    def _bound(self, rows: int, arrays: Mapping[str, NDArray[Any]], position: int) -> None:
        """Refuse an inventory of more rows or entries than any pool has."""
        check_count(self.source, self.codec.place(position), self.schema.name, len(self.rows) + rows)
        for column in self.columns:
            if column.kind in (Kind.MAP, Kind.REFS, Kind.OPERATIONS):
                self._entries_of[column.result] += sum(map(len, filter(None, arrays[column.result])))
                if self._entries_of[column.result] > MAX_ENTRIES:
                    problem = f"{self.schema.name}: {column.api}: more than {MAX_ENTRIES:,} entries in all"
                    raise InventoryError(self.source, self.codec.place(position), problem)

    def _convert(self, rows: Sequence[tuple[Any, ...]]) -> tuple[dict[str, NDArray[Any]], dict[str, tuple[int, int]]]:
        arrays: dict[str, NDArray[Any]] = {}
        missing: dict[str, tuple[int, int]] = {}
        for column, field, values in zip(self.columns, self.fields, list(zip(*rows, strict=True))[1:], strict=True):
            name = column.result
            if column.kind is Kind.PRESENT:
                arrays[name] = np.array([value is not None for value in values], dtype=np.bool_)
                continue
            try:
                arrays[name], first_missing = self._values(column, values)
            except ValueError as problem:
                raise ValueError(f"{field or column.api}: {problem}") from None
            if first_missing is not None:
                missing[name] = values.count(None), first_missing
        return arrays, missing

    def _values(self, column: Column, values: Sequence[Any]) -> tuple[NDArray[Any], int | None]:
        """The column's array, and the first row that has no value, which is looked for only when conversion fails.

        In a dump no value is missing, and comparing each with None would take its time.
        """
        convert = self._converters[column.kind]
        try:
            return convert(column, values), None
        except ValueError:
            if None not in values:
                raise
        if column.default is None and not column.optional:
            raise ValueError("missing, and no overhead can be computed without it")
        if column.kind in (Kind.MAP, Kind.REFS, Kind.OPERATIONS):
            filled = np.fromiter((column.default for _ in values), object, len(values))
        else:
            filled = np.full(len(values), column.default, dtype=_dtype(column))
        present = [row for row, value in enumerate(values) if value is not None]
        filled[present] = convert(column, [values[row] for row in present])
        return filled, values.index(None)

    def _texts(self, column: Column, values: Sequence[Any]) -> NDArray[Any]:
        joined = _joined(values)
        if len(joined) > column.high:
            _check_length("", values, column.high)  # of the raw text, which is no shorter
        texts = list(map(self.codec.text, values)) if "%" in joined else values
        return np.fromiter(texts, object, len(values))

    def _filled(self, column: Column, values: Sequence[Any]) -> NDArray[Any]:
        _joined(values)
        return np.fromiter(map(bool, values), np.bool_, len(values))

    def _integers(self, column: Column, values: Sequence[Any]) -> NDArray[Any]:
        numbers = np.array(_decoded(values, _integer), dtype=np.int64)
        outside = (numbers < column.low) | (numbers > column.high)
        if outside.any():
            value = numbers[outside.argmax()]
            raise ValueError(f"{value} is outside {column.low}..{column.high}")
        return numbers.astype(_dtype(column), copy=False)

    def _floats(self, column: Column, values: Sequence[Any]) -> NDArray[Any]:
        numbers = np.array(_decoded(values, _number), dtype=np.float64)
        inside = (numbers >= column.low) & (numbers <= column.high)
        if not inside.all():
            value = numbers[inside.argmin()]
            raise ValueError(f"{value} is outside {column.low}..{column.high}")
        return numbers

    def _bools(self, column: Column, values: Sequence[Any]) -> NDArray[Any]:
        return np.array(_looked_up(values, _BOOLS, "true or false"), dtype=np.bool_)

    def _enums(self, column: Column, values: Sequence[Any]) -> NDArray[Any]:
        members = self._members[column.result]
        return np.array(_looked_up(values, members, f"one of {', '.join(members)}"), dtype=np.uint8)

    def _refs(self, column: Column, values: Sequence[Any]) -> NDArray[Any]:
        joined = _joined(values)
        refs = map(self.codec.text, values) if "%" in joined else values
        index = self._references[column.result]
        nulls = len(_NULL_REFERENCES)
        codes = [index.setdefault(ref, len(index) - nulls) for ref in refs]
        return np.array(codes, dtype=np.int32)

    def _sets(self, column: Column, values: Sequence[Any]) -> NDArray[Any]:
        kinds = _kinds(values)
        if kinds <= _LISTS and set(map(type, chain.from_iterable(values))) <= _TEXT:
            return np.fromiter(map(tuple, values), object, len(values))
        return np.fromiter(_each(values, lambda value: tuple(self.codec.items(value))), object, len(values))

    def _maps(self, column: Column, values: Sequence[Any]) -> NDArray[Any]:
        kinds = _kinds(values)
        if kinds <= _DICTS and set(map(type, chain.from_iterable(map(dict.values, values)))) <= _TEXT:
            return np.fromiter(map(dict, values), object, len(values))
        maps = [_of_texts(self.codec.mapping(value)) for value in values]
        return np.fromiter(maps, object, len(maps))

    def _entries(self, column: Column, values: Sequence[Any]) -> NDArray[Any]:
        entry, key, shared = self.codec.entry, column.key, self._shared

        def found(value: Any) -> str | None:
            text = entry(value, key)
            return None if text is None else shared.setdefault(str(text), str(text))

        return np.fromiter(_each(values, found), object, len(values))

    def _boot_records(self, column: Column, values: Sequence[Any]) -> NDArray[Any]:
        _joined(values)
        records = np.full(len(values), None, dtype=object)
        for row, value in enumerate(values):
            if value:
                records[row] = self.codec.boot_record(value)
        return records

    def _told(self, column: Column, values: Sequence[Any]) -> NDArray[Any]:
        tells = column.tells or bool
        return np.array(_each(values, lambda value: tells(_of_texts(self.codec.mapping(value)))), dtype=np.bool_)

    def _operations(self, column: Column, values: Sequence[Any]) -> NDArray[Any]:
        return np.fromiter(_each(values, lambda value: tuple(self.codec.operations(value))), object, len(values))


def gather(column: NDArray[Any], rows: Rows, neutral: object) -> NDArray[Any]:
    """The values of another table's column, the neutral value where there is no row."""
    if not len(column):
        return np.full(len(rows), neutral, column.dtype)
    gathered = column[np.maximum(rows, 0)]
    gathered[rows < 0] = neutral
    return gathered


def _each(values: Sequence[Any], function: Callable[[Any], Any]) -> list[Any]:
    """What a function makes of each value; of texts, which repeat, and of what is empty once."""
    _none_missing(values)
    if set(map(type, values)) == _TEXT:
        known = {value: function(value) for value in set(values)}
        return [known[value] for value in values]
    empty = next((function(value) for value in values if not value), None)
    return [function(value) if value else empty for value in values]


def _dtype(column: Column) -> type[np.generic]:
    if column.kind is Kind.INT:
        return np.int32 if column.high < 2**31 else np.int64
    return _DTYPES[column.kind]


def _joined(values: Sequence[Any]) -> str:
    try:
        return "".join(values)
    except TypeError:
        value = next(value for value in values if not isinstance(value, str))
        raise ValueError(f"{shown(value)} is not text") from None


def _of_texts(entries: Mapping[Any, Any]) -> dict[str, str]:
    """A map with its values as texts; JSON gives ints as numbers."""
    kinds = set(map(type, entries.values()))
    if kinds <= _TEXT:
        return dict(entries)
    if not kinds <= _SCALARS:
        raise ValueError(f"{shown(entries)} is not a map of texts")
    return {key: str(value) for key, value in entries.items()}


def _check_length(field: str, texts: Sequence[str], most: float) -> None:
    longest = max(map(len, texts))
    if longest > most:
        prefix = f"{field}: " if field else ""
        raise ValueError(f"{prefix}a text of {longest:,} characters, more than {most:,}")


def _uuids(arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    """The uuids of some rows, without those that are empty or are not read."""
    return list(filter(None, arrays["uuid"].tolist())) if "uuid" in arrays else []


def _none_missing(values: Sequence[Any]) -> None:
    if None in values:
        raise ValueError("missing")


def _kinds(values: Sequence[Any]) -> set[type]:
    """The types of sets or maps, of which none is missing; most are of one, and can then be looked at all together."""
    kinds = set(map(type, values))
    if type(None) in kinds:
        raise ValueError("missing")
    return kinds


def _looked_up(values: Sequence[Any], meanings: Mapping[Any, Any], expected: str) -> list[Any]:
    try:
        return [meanings[value] for value in values]
    except (KeyError, TypeError):
        value = next(value for value in values if not isinstance(value, (str, bool)) or value not in meanings)
        raise ValueError(f"{shown(value)} is not {expected}") from None


def _decoded(values: Sequence[Any], decode: Callable[[Any], float]) -> list[float]:
    """What each value means; sizes and counts repeat, so each text is decoded once."""
    try:
        distinct = set(values)
    except TypeError:  # a list or a map among them, which decode refuses
        distinct = {None}
    if all(type(value) is str for value in distinct):
        known = {value: decode(value) for value in distinct}
        return [known[value] for value in values]
    return [decode(value) for value in values]


def _integer(value: Any) -> int:
    if isinstance(value, str):
        digits = value.removeprefix("-")
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= _MAX_DIGITS):
            raise ValueError(f"{shown(value)} is not an integer")
        number = int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        raise ValueError(f"{shown(value)} is not an integer")
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{value} does not fit 64 bits")
    return number


def _number(value: Any) -> float:
    if isinstance(value, str) and _FLOAT.fullmatch(value):
        number = float(value)
    elif isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool)):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    else:
        raise ValueError(f"{shown(value)} is not a number")
    if not math.isfinite(number):
        raise ValueError(f"{shown(value)} is not finite")
    return number


def integer_or_none(value: object) -> int | None:
    """The integer that a value of some map spells, None if it spells none."""
    try:
        return _integer(value)
    except ValueError:
        return None


def number_or_none(value: object) -> float | None:
    """The finite number that a value of some record spells, None if it spells none."""
    try:
        return _number(value)
    except ValueError:
        return None
