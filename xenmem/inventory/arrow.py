"""The tables of a fleet in Arrow, each by itself or all in one stream, and back: nothing a fleet answers changes by it.

The stream is what Arrow files and single Parquet files hold: rows of all tables one after the other, led by the name of
the table, with nulls in the columns that are not the table's (docs/reference/columns.md). What comes from elsewhere is
checked as inventories are. Knows no file.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from xenmem.arrow import Cell, Held, from_array, library, nothing, schema_of, to_array, without_views
from xenmem.columns import ROW, SCHEMA_VERSION, TABLE_TYPES, Note, Table, Tables, arrow_schema, check_references
from xenmem.inventory.error import InventoryError, shown
from xenmem.inventory.joining import check_once
from xenmem.inventory.schema import TABLES, Kind
from xenmem.kernel import MODELS
from xenmem.replacing import replacing

MAGIC: Final = b"ARROW1"
"""Begins a file with an index."""
STREAM_MAGIC: Final = b"\xff\xff\xff\xff"
"""Begins a stream without one."""

TABLE: Final = "table"
"""The column that leads the stream."""

_TEXT: Final = Held(np.dtype(object), Cell.TEXT)
NOTES: Final = {
    "source": _TEXT,
    "kind": _TEXT,
    "text": _TEXT,
    "count": Held(np.dtype(np.int64)),
    "example": _TEXT,
}
"""The columns of the notes, in Arrow a table like the others."""

COLUMNS: Final[Mapping[str, Mapping[str, Held]]] = {
    **{name: kind.held() for name, kind in TABLE_TYPES.items()},
    "notes": NOTES,
}
"""By table, what each column holds."""

_READ_AS: Final = {
    "vms": {
        "accounted_static_max": "memory_static_max",
        "accounted_VCPUs_max": "VCPUs_max",
        "accounted_shadow_multiplier": "HVM_shadow_multiplier",
        "accounted_domain_type": "domain_type",
    }
}
"""Columns that have the values of others, where they are not the same array."""
_CLASSES: Final = {
    "vms": ("VM", "VM_metrics"),
    "hosts": ("host", "host_metrics"),
    "pools": ("pool",),
    "vm_groups": ("VM_group",),
    "srs": ("SR",),
    "networks": ("network",),
}
"""The classes of XenAPI of which a table is made."""
_OWN_LIMITS: Final[dict[tuple[str, str], tuple[float, float]]] = {
    ("vms", "not_told"): (0, 31),
    ("vms", "undecided"): (0, 31),
    ("hosts", "hvm"): (-1, 1),
    ("hosts", "iommu"): (-1, 1),
}
_NAMED: Final = {
    ("pools", "model"): frozenset(MODELS),
    ("hosts", "model"): frozenset([*MODELS, ""]),
    ("vm_groups", "placement"): frozenset(TABLES["VM_group"].columns[-1].members or ()),
}
"""Columns of text that hold one of these."""


# ------------------------------------------------------------------------------------------------------------ to Arrow


def to_arrow(tables: Tables) -> dict[str, Any]:
    """The tables and the notes, each a ``pyarrow.Table``.

    Raises
    ------
    ValueError : pyarrow is not installed, or a column holds what Arrow does not; names table and column
    """
    made: dict[str, Any] = {name: getattr(tables, name).to_arrow() for name in TABLE_TYPES}
    return made | {"notes": notes_to_arrow(tables.notes)}


def notes_to_arrow(notes: Sequence[Note]) -> Any:
    """Notes as a ``pyarrow.Table``."""
    pa = library()
    made = [
        to_array(np.array([getattr(note, name) for note in notes], column.dtype), column)
        for name, column in NOTES.items()
    ]
    rows = pa.array(np.arange(len(notes), dtype=np.int32))
    return pa.Table.from_arrays([rows, *made], schema=arrow_schema("notes", NOTES))


@cache
def stream_schema() -> Any:
    """The Arrow schema of all tables in one stream."""
    pa = library()
    columns = {name: column for held in COLUMNS.values() for name, column in held.items()}
    flat = schema_of(columns, {})
    led = [pa.field(TABLE, pa.dictionary(pa.uint8(), pa.string()), nullable=False)]
    led += [pa.field(ROW, pa.int32(), nullable=False), *(field.with_nullable(True) for field in flat)]
    return pa.schema(led, metadata={"xenmem.schema": str(SCHEMA_VERSION)})


def stream(tables: Tables) -> Iterator[tuple[str, Any]]:
    """The tables one after the other as tables of the one schema of the stream, each with its name."""
    pa = library()
    schema = stream_schema()
    held = {name: column for columns in COLUMNS.values() for name, column in columns.items()}
    for number, (name, table) in enumerate(to_arrow(tables).items()):
        count = len(table)
        code = pa.array(np.full(count, number, np.uint8))
        lead = pa.DictionaryArray.from_arrays(code, pa.array(COLUMNS, pa.string()))
        columns = [lead]
        for field in list(schema)[1:]:
            there = field.name in table.column_names
            columns.append(table.column(field.name) if there else nothing(count, held.get(field.name), field.type))
        yield name, pa.Table.from_arrays(columns, schema=schema)


def reader(tables: Tables) -> Any:
    """The stream as a ``pyarrow.RecordBatchReader``."""
    pa = library()
    batches = (batch for _, table in stream(tables) for batch in table.to_batches())
    return pa.RecordBatchReader.from_batches(stream_schema(), batches)


def write(tables: Tables, target: str | os.PathLike[str] | IO[bytes], *, as_stream: bool = False) -> None:
    """The stream into a file in Arrow's own format, packed by zstd.

    Parameters
    ----------
    target : a path, whose file is replaced when the new one is whole, or a binary file
    as_stream : for readers that do not seek, without the index at the end

    Raises
    ------
    ValueError : pyarrow is not installed, or a column holds what Arrow does not
    OSError : the file cannot be written
    """
    pa = library()
    if isinstance(target, (str, os.PathLike)):
        with replacing(target) as file:
            write(tables, file, as_stream=as_stream)
        return
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    made = (pa.ipc.new_stream if as_stream else pa.ipc.new_file)(target, stream_schema(), options=options)
    with made as writer:
        for _, table in stream(tables):
            writer.write_table(table)


# ---------------------------------------------------------------------------------------------------------- from Arrow


def read(source: str | os.PathLike[str] | IO[bytes], name: str) -> Tables:
    """The tables of a file in Arrow's own format, with or without an index.

    Parameters
    ----------
    source : a path or a binary file
    name : what messages call it

    Raises
    ------
    InventoryError : it is damaged, or holds no such tables
    """
    pa = library()
    try:
        with pa.memory_map(os.fspath(source)) if isinstance(source, (str, os.PathLike)) else source as file:
            data = pa.py_buffer(file.read_buffer() if hasattr(file, "read_buffer") else file.read())
        made = pa.ipc.open_file(data) if data[:6].to_pybytes() == MAGIC else pa.ipc.open_stream(data)
        whole = made.read_all()
        whole.validate(full=True)
        return from_arrow(whole, name)
    except pa.ArrowException as error:
        problem = f"the Arrow file is damaged or cut short: {str(error).splitlines()[0]}"
        raise InventoryError(name, "", problem) from None


def from_arrow(source: object, name: str = "<arrow>") -> Tables:
    """Tables from what has them in Arrow.

    Parameters
    ----------
    source : by name of the table, or for the stream of all of them by itself, what has ``__arrow_c_stream__``
    name : what messages call it

    Raises
    ------
    InventoryError : a table or a column is missing, of another type or schema version, or holds what it may not
    """
    if isinstance(source, Mapping):
        parts = {table: imported(part, name, table) for table, part in source.items()}
    else:
        whole = imported(source, name, "")
        if TABLE not in whole.column_names:
            problem = f"there is no column {TABLE}: {', '.join(TABLE_TYPES)} are wanted, one stream or each by its name"
            raise InventoryError(name, "", problem)
        parts = parted(whole, name)
    missing = [table for table in TABLE_TYPES if table not in parts]
    if missing:
        raise InventoryError(name, "", f"there is no table {missing[0]}")
    made: dict[str, Any] = {table: _made(parts[table], table, name) for table in TABLE_TYPES}
    tables = Tables(**made, notes=notes_of(parts["notes"], name) if "notes" in parts else ())
    check_once([tables])
    try:
        check_references(tables)
    except ValueError as error:
        raise InventoryError(name, "", str(error)) from None
    return tables


def imported(source: object, name: str, table: str) -> Any:
    """What has ``__arrow_c_stream__`` as a ``pyarrow.Table`` of this version.

    Raises
    ------
    InventoryError : it has not, or is of another version
    """
    pa = library()
    if not (hasattr(source, "__arrow_c_stream__") or hasattr(source, "__arrow_c_array__")):
        raise InventoryError(name, table, f"a {type(source).__name__} is no table of Arrow: no __arrow_c_stream__")
    found = pa.table(source)
    check_version(found.schema.metadata, name)
    columns = [without_views(column) for column in found.columns]
    return pa.Table.from_arrays(columns, names=found.column_names)


def check_version(metadata: Mapping[bytes, bytes] | None, name: str) -> None:
    """A table of this version; one that does not tell is taken for it, and its columns are checked as ever.

    Raises
    ------
    InventoryError : it is of another one
    """
    version = (metadata or {}).get(b"xenmem.schema", str(SCHEMA_VERSION).encode())
    if version != str(SCHEMA_VERSION).encode():
        problem = f"schema version {version.decode(errors='replace')}, and this xenmem knows {SCHEMA_VERSION}"
        raise InventoryError(name, "", problem)


def parted(whole: Any, name: str) -> dict[str, Any]:
    """The tables of a stream, by name; those of no rows as well."""
    try:
        lead = from_array(whole.column(TABLE), _TEXT)
    except ValueError as error:
        raise InventoryError(name, TABLE, str(error)) from None
    unknown = [text for text in dict.fromkeys(lead.tolist()) if text not in COLUMNS]
    if unknown:
        raise InventoryError(name, TABLE, f"{shown(unknown[0])} is none of {', '.join(COLUMNS)}")
    return {table: _rows(whole, np.flatnonzero(lead == table)) for table in COLUMNS}


def _rows(whole: Any, rows: NDArray[np.int64]) -> Any:
    """Rows of a table, without a copy where they follow each other."""
    first = int(rows[0]) if len(rows) else 0
    if not len(rows) or rows[-1] - first + 1 == len(rows):
        return whole.slice(first, len(rows))
    return whole.take(library().array(rows))


def ordered(table: Any, name: str, label: str) -> Any:
    """A table in the order that its rows had, if it tells.

    Raises
    ------
    InventoryError : its rows are not those from 0 on, each once; or it does not tell, and holds one twice
    """
    count = len(table)
    if ROW not in table.column_names:
        distinct = len(table.column("ref").unique()) if "ref" in table.column_names else count
        if distinct < count:
            raise InventoryError(name, f"{label}: ref", f"{count} rows have {distinct} references")
        return table
    rows = column_of(table, ROW, Held(np.dtype(np.int32)), name, label)
    expected = np.arange(count, dtype=np.int32)
    if np.array_equal(rows, expected):
        return table
    order = np.argsort(rows, kind="stable")
    if not np.array_equal(rows[order], expected):
        problem = (
            f"not each of 0..{count - 1} once: rows are missing or there twice, and others point to them by number"
        )
        raise InventoryError(name, f"{label}: {ROW}", problem)
    return table.take(library().array(order))


def column_of(table: Any, column: str, held: Held, name: str, label: str) -> NDArray[Any]:
    """A column of a table of Arrow, checked.

    Raises
    ------
    InventoryError : it is missing, of another type, or holds what it may not
    """
    if column not in table.column_names:
        raise InventoryError(name, label, f"there is no column {column}")
    try:
        values = from_array(table.column(column), held)
        check(label, column, values)
    except ValueError as error:
        raise InventoryError(name, f"{label}: {column}", str(error)) from None
    return values


def check(table: str, column: str, values: NDArray[Any]) -> None:
    """What a column holds is what the readers of inventories would let pass.

    Raises
    ------
    ValueError : it is not; names the row
    """
    if not len(values):
        return
    limits = _limits().get((table, column))
    if limits is not None:
        low, high = limits
        if not (values.min() >= low and values.max() <= high):  # NaN is not
            row = int((~((values >= low) & (values <= high))).argmax())
            raise ValueError(f"row {row}: {values[row]} is outside {low:g}..{high:g}")
    known = _NAMED.get((table, column))
    if known is not None and not known.issuperset(values.tolist()):
        row, text = next((row, text) for row, text in enumerate(values.tolist()) if text not in known)
        raise ValueError(f"row {row}: {shown(text)} is none of {', '.join(sorted(known - {''}))}")


@cache
def _limits() -> dict[tuple[str, str], tuple[float, float]]:
    """By table and column the range of its numbers."""
    found = dict(_OWN_LIMITS)
    for table, classes in _CLASSES.items():
        columns = {column.result: column for name in classes for column in TABLES[name].columns}
        for name, held in COLUMNS[table].items():
            column = columns.get(_READ_AS.get(table, {}).get(name, name))
            if column is not None and column.kind in (Kind.INT, Kind.FLOAT) and held.dtype.kind in "if":
                found[table, name] = column.low, column.high
    return found


def same(table: str, columns: dict[str, NDArray[Any]]) -> None:
    """Columns that have the values of others become the same array."""
    for name, original in _READ_AS.get(table, {}).items():
        if name in columns and original in columns and np.array_equal(columns[name], columns[original]):
            columns[name] = columns[original]


def _made(part: Any, table: str, name: str) -> Table:
    found = ordered(part, name, table)
    columns = {column: column_of(found, column, held, name, table) for column, held in COLUMNS[table].items()}
    same(table, columns)
    return TABLE_TYPES[table](**columns)


def notes_of(part: Any, name: str) -> tuple[Note, ...]:
    """The notes of a table of Arrow.

    Raises
    ------
    InventoryError : a column is missing, of another type, or holds what it may not
    """
    found = ordered(part, name, "notes")
    columns = [column_of(found, column, held, name, "notes").tolist() for column, held in NOTES.items()]
    return tuple(Note(*row) for row in zip(*columns, strict=True))
