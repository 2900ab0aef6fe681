"""Tables in Parquet: all of a fleet in one file, or a file for each table; columns are read when they are asked for.

Files are written beside their place and take it when they are whole. Rows are in their order, and say so; a file that
does not is put in order. Knows neither folders nor dates.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any, Final

from numpy.typing import NDArray

from xenmem.arrow import library
from xenmem.columns import ROW, TABLE_TYPES, DeferredNotes, Note, Table, Tables, arrow_schema, check_rows
from xenmem.inventory.arrow import (
    COLUMNS,
    TABLE,
    check_version,
    column_of,
    from_arrow,
    notes_to_arrow,
    ordered,
    same,
    stream,
    stream_schema,
)
from xenmem.inventory.error import InventoryError
from xenmem.replacing import replacing

MAGIC: Final = b"PAR1"
_GROUP_ROWS: Final = 1 << 20
"""Rows of a row group: what is decoded by one thread, and the least that is read of a column."""
READ_OPTIONS: Final = {"page_checksum_verification": True}


@contextmanager
def reading(name: str) -> Iterator[None]:
    """What pyarrow says of a file as an InventoryError."""
    pa = library()
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise InventoryError(name, "", _told(error)) from None


def _told(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    is_unread = isinstance(error, OSError) and error.errno is not None
    return text if is_unread else f"the Parquet file is damaged or cut short: {text}"


# ------------------------------------------------------------------------------------------------------------- writing


def write(tables: Tables, target: str | os.PathLike[str] | IO[bytes]) -> None:
    """All tables into one file.

    Parameters
    ----------
    target : a path, whose file is replaced when the new one is whole, or a binary file

    Raises
    ------
    ValueError : pyarrow is not installed, or a column holds what Parquet does not
    OSError : the file cannot be written
    """
    if isinstance(target, (str, os.PathLike)):
        with replacing(target) as file:
            write(tables, file)
        return
    with _writer(target, stream_schema()) as writer:
        for _, table in stream(tables):
            if len(table):
                writer.write_table(table, row_group_size=_GROUP_ROWS)


def write_table(tables: Tables, name: str, file: IO[bytes], columns: Sequence[str]) -> None:
    """Some columns of a table into a file."""
    table = notes_to_arrow(tables.notes) if name == "notes" else getattr(tables, name).to_arrow()
    part = table.select([ROW, *columns])
    with _writer(file, part.schema) as writer:
        writer.write_table(part, row_group_size=_GROUP_ROWS)


def _writer(file: IO[bytes], schema: Any) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        use_dictionary=[path for field in schema if field.name != ROW for path in _leaves(field)],
        column_encoding={ROW: "DELTA_BINARY_PACKED"},
        sorting_columns=[pq.SortingColumn(schema.get_field_index(ROW))],
        write_page_checksum=True,
    )


def _leaves(field: Any) -> list[str]:
    types = library().types
    if types.is_map(field.type):
        return [f"{field.name}.key_value.{part}" for part in ("key", "value")]
    return [f"{field.name}.list.element"] if types.is_list(field.type) else [field.name]


# ------------------------------------------------------------------------------------------------------------- reading


def read(source: str | os.PathLike[str] | IO[bytes], name: str) -> Tables:
    """The tables of a single file, whose columns are read when they are asked for.

    Parameters
    ----------
    source : a path or a binary file that can be sought in; it stays open as long as columns may be asked for
    name : what messages call it

    Raises
    ------
    InventoryError : it is damaged, or holds no tables; also when a column is asked for
    """
    import pyarrow.parquet as pq

    library()
    with reading(name):
        file = pq.ParquetFile(source, **READ_OPTIONS)
    check_version(file.schema_arrow.metadata, name)
    groups = _groups(file)
    if groups is None:  # others wrote it, row groups of which are not of one table
        with reading(name):
            return from_arrow(file.read(), name)
    parts = {table: _Groups(file, groups.get(table, []), table, name) for table in COLUMNS}
    return deferred(parts)


def _groups(file: Any) -> dict[str, list[int]] | None:
    """The row groups of each table, where each row group is of one and tells it; else None."""
    found: dict[str, list[int]] = {}
    if TABLE not in file.schema_arrow.names:
        return None
    place = file.schema_arrow.names.index(TABLE)
    metadata = file.metadata
    for group in range(metadata.num_row_groups):
        chunk = metadata.row_group(group).column(place)
        if chunk.path_in_schema != TABLE or not chunk.is_stats_set or not chunk.statistics.has_min_max:
            return None
        low, high = chunk.statistics.min, chunk.statistics.max
        if low != high or low not in COLUMNS:
            return None
        found.setdefault(low, []).append(group)
    return found


class Part:
    """One table, in one file or several: how many rows it has, and its columns, when they are asked for.

    Attributes
    ----------
    table, name : of which table it is, and what messages call the file
    """

    def __init__(self, table: str, name: str) -> None:
        self.table = table
        self.name = name

    def count(self) -> int:
        """How many rows it has."""
        raise NotImplementedError

    def load(self, columns: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Columns, checked, in the order of the rows."""
        raise NotImplementedError


class _Groups(Part):
    """The row groups of a table in a file of all."""

    def __init__(self, file: Any, groups: list[int], table: str, name: str) -> None:
        super().__init__(table, name)
        self._file = file
        self._groups = groups

    def count(self) -> int:
        return sum(self._file.metadata.row_group(group).num_rows for group in self._groups)

    def load(self, columns: Sequence[str]) -> dict[str, NDArray[Any]]:
        held = COLUMNS[self.table]
        is_ordered = in_order(self._file.metadata, self._groups)
        if self._groups:
            with reading(self.name):
                found = self._file.read_row_groups(self._groups, columns=[*columns, *([] if is_ordered else [ROW])])
            found = found if is_ordered else ordered(found, self.name, self.table)
        else:
            found = arrow_schema(self.table, held).empty_table()
        return {column: column_of(found, column, held[column], self.name, self.table) for column in columns}


def in_order(metadata: Any, groups: Sequence[int]) -> bool:
    """Whether the row groups of a file say that they hold the rows from 0 on in ascending order."""
    expected = 0
    for number in groups:
        group = metadata.row_group(number)
        place = next((n for n in range(group.num_columns) if group.column(n).path_in_schema == ROW), None)
        if place is None or [(key.column_index, key.descending) for key in group.sorting_columns] != [(place, False)]:
            return False
        statistics = group.column(place).statistics
        if statistics is None or not statistics.has_min_max:
            return False
        if (statistics.min, statistics.max) != (expected, expected + group.num_rows - 1):
            return False
        expected += group.num_rows
    return True


def deferred(parts: Mapping[str, Part]) -> Tables:
    """Tables whose columns are read when they are asked for, and then checked."""
    made: dict[str, Any] = {}
    for name, kind in TABLE_TYPES.items():
        made[name] = kind.deferred(parts[name].count, _loader(parts, name, made))

    def notes() -> tuple[Note, ...]:
        columns = parts["notes"].load(list(COLUMNS["notes"]))
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        return tuple(dict.fromkeys(Note(*row) for row in rows))  # pools of one file have the same

    return Tables(**made, notes=DeferredNotes(notes))


def _loader(
    parts: Mapping[str, Part], name: str, tables: Mapping[str, Table]
) -> Callable[[Sequence[str]], dict[str, NDArray[Any]]]:
    def load(columns: Sequence[str]) -> dict[str, NDArray[Any]]:
        part = parts[name]
        found = part.load(columns)
        for column, target in TABLE_TYPES[name].references().items():
            if column in found:
                try:
                    check_rows(name, column, found[column], len(tables[target]))
                except ValueError as error:
                    raise InventoryError(part.name, "", str(error)) from None
        same(name, found)
        return found

    return load
