"""The rows of a pool as columns that are changed in place: a Fleet is assembled anew of them in little time.

Each class keeps its rows as they were read, and its columns in the order of references; what changed since the last
Fleet is converted when the next one is asked for. Amounts are bytes. Knows no server.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xenmem.columns import Note, Tables
from xenmem.inventory.assemble import COLUMNS, Origin
from xenmem.inventory.error import InventoryError
from xenmem.inventory.records import RecordsCodec, row_maker
from xenmem.inventory.schema import TABLES, TableSchema
from xenmem.inventory.table import RawTable
from xenmem.mirror.changes import Change

Row = tuple[Any, ...]

_SPARE: Final = 4096
"""References to rows that are gone are kept until there are so many, and as many as others."""


class LiveTable(RawTable):
    """One class; see RawTable. Its columns are those of the rows that `update` was given last."""

    def __init__(self, schema: TableSchema, codec: RecordsCodec, source: str, *, lenient: bool) -> None:
        super().__init__(schema, codec, source, lenient=lenient)
        self._arrays = {column.result: RawTable.column(self, column.result) for column in self.columns}
        self._lacking: dict[str, dict[str, None]] = {}
        self._bad: dict[str, InventoryError] = {}
        self._places = {column.result: place for place, column in enumerate(self.columns, 1)}

    def update(self, rows: Iterable[Row], gone: Collection[str]) -> None:
        """Take in rows that are new or changed, and leave out others.

        Parameters
        ----------
        rows : as `RawTable.add`
        gone : references

        Raises
        ------
        InventoryError : a row is bad, unless reading is lenient; then nothing is taken in
        """
        self._found_bad: dict[str, InventoryError] = {}
        fresh, arrays, missing = self._converted(list(rows))
        refs = [row[0] for row in fresh]
        gone = [*gone, *self._found_bad]
        for ref in (*refs, *gone):
            self._bad.pop(ref, None)
        self._bad.update(self._found_bad)
        for names in self._lacking.values():
            for ref in (*refs, *gone):
                names.pop(ref, None)
        for name in missing:
            place = self._places[name]
            self._lacking.setdefault(name, {}).update((row[0], None) for row in fresh if row[place] is None)
        known = [number for number, ref in enumerate(refs) if ref in self.rows]
        places = [self.rows[refs[number]] for number in known]
        new = [number for number, ref in enumerate(refs) if ref not in self.rows]
        lost = [self.rows[ref] for ref in gone if ref in self.rows]
        for name, array in self._arrays.items() if fresh else ():
            array[places] = arrays[name][known]
        if new or lost:
            self._rearrange([refs[number] for number in new], {n: array[new] for n, array in arrays.items()}, lost)
        self._forget_references()

    def ready(self, given: bool) -> "LiveTable":
        """Itself, to be assembled once more."""
        self.given = given
        self.missing = {name: (len(refs), min(refs)) for name, refs in self._lacking.items() if refs}
        self.skipped = len(self._bad)
        self.first_skipped = next((error.problem for error in self._bad.values()), "")
        return self

    def column(self, name: str) -> NDArray[Any]:
        """A copy of a column."""
        return self._arrays[name].copy()

    def where(self, row: int) -> str:
        """Records have no place."""
        return ""

    def _converted(self, rows: list[Row]) -> tuple[list[Row], Mapping[str, NDArray[Any]], Iterable[str]]:
        """Rows that are good, their columns, and which of these have no value in some row."""
        if not rows:
            return [], {}, ()
        try:
            return rows, *self._convert(rows)
        except ValueError:
            return self._converted([row for row in rows if self._can_be_read(row)])

    def _can_be_read(self, row: Row) -> bool:
        try:
            self._convert([row])
        except ValueError as problem:
            error = InventoryError(self.source, "", f"{self.named(row[0])}: {problem}")
            if not self.lenient:
                raise error from None
            self._found_bad[row[0]] = error
            return False
        return True

    def _rearrange(self, new: list[str], arrays: Mapping[str, NDArray[Any]], lost: list[int]) -> None:
        """Put rows in and take others out, in the order of references."""
        keep = np.ones(len(self.rows), np.bool_)
        keep[lost] = False
        refs = [ref for ref, kept in zip(self.rows, keep.tolist(), strict=True) if kept] + new
        order = np.array(sorted(range(len(refs)), key=refs.__getitem__), np.intp)
        for name, array in self._arrays.items():
            kept = array[keep]
            self._arrays[name] = (np.concatenate([kept, arrays[name]]) if new else kept)[order]
        self.rows = {refs[place]: row for row, place in enumerate(order.tolist())}

    def _forget_references(self) -> None:
        """Columns of references hold numbers of them, also of those to which no row refers any more."""
        for name, index in self._references.items():
            if len(index) > _SPARE + 2 * len(self.rows):
                texts, codes = self.references(name), self._arrays[name]
                used = np.unique(codes[codes >= 0])
                self._arrays[name] = np.where(codes >= 0, np.searchsorted(used, codes), codes).astype(codes.dtype)
                nulls = {ref: code for ref, code in index.items() if code < 0}
                self._references[name] = nulls | {texts[code]: number for number, code in enumerate(used.tolist())}
        if len(self._shared) > _SPARE + 16 * len(self.rows):
            self._shared.clear()


class PoolTables:
    """The rows of a pool.

    Parameters
    ----------
    source : what messages call the pool
    notes : what is to be said of it
    lenient : skip bad rows
    """

    def __init__(self, source: str, notes: tuple[Note, ...], *, lenient: bool) -> None:
        self._origin = Origin(source, lenient=lenient, notes=notes)
        self._codec = RecordsCodec()
        self._classes = {name.lower(): name for name in TABLES}
        self._given: Collection[str] = ()
        self._clear()
        self._rows: dict[str, dict[str, Row]] = {name: {} for name in TABLES}
        self._make = {name: row_maker(table) for name, table in self._tables.items()}

    def _clear(self) -> None:
        self._tables = {
            name: LiveTable(schema, self._codec, self._origin.source, lenient=self._origin.lenient)
            for name, schema in TABLES.items()
        }
        self._stale: dict[str, set[str]] = {name: set() for name in TABLES}

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    def class_named(self, name: str) -> str | None:
        """The class, as it is spelled, that events call by this name; None if it is not kept."""
        return self._classes.get(name.lower())

    def row(self, class_name: str, ref: str, record: Any) -> Row:
        """A row of a record.

        Raises
        ------
        ValueError : it is none
        """
        return self._make[class_name](ref, record)

    def get(self, class_name: str, field: str) -> list[Any]:
        """A field of all rows of a class, as it was read."""
        place = self._tables[class_name].fields.index(field) + 1
        return [row[place] for row in self._rows[class_name].values()]

    def count(self, class_name: str) -> int:
        """How many rows a class has."""
        return len(self._rows[class_name])

    def apply(self, pool: str, rows: Iterable[tuple[str, str, Row | None]], given: Collection[str]) -> list[Change]:
        """Take in rows, None for one that is gone; the changes that were any.

        Parameters
        ----------
        pool : its uuid
        rows : class, reference and row
        given : names in lower case of the classes that the server has
        """
        self._given = given
        changes = []
        for class_name, ref, row in rows:
            mine = self._rows[class_name]
            before = mine.get(ref)
            if row == before:
                continue
            if row is None:
                del mine[ref]
            else:
                mine[ref] = row
            self._stale[class_name].add(ref)
            operation = "del" if row is None else "add" if before is None else "mod"
            changes.append(Change(pool, class_name, operation, ref))
        return changes

    def replaced_by(self, rows: Mapping[str, Mapping[str, Row]]) -> Iterable[tuple[str, str, Row | None]]:
        """What `apply` takes for these rows to be all there are."""
        for class_name, mine in self._rows.items():
            wanted = rows.get(class_name, {})
            yield from ((class_name, ref, None) for ref in [*mine] if ref not in wanted)
            yield from ((class_name, ref, row) for ref, row in wanted.items())

    def records(self) -> dict[str, dict[str, dict[str, Any]]]:
        """What `Fleet.from_records` makes the same of."""
        return {
            name: {
                ref: {
                    field: value
                    for field, value in zip(self._tables[name].fields, row[1:], strict=True)
                    if value is not None
                }
                for ref, row in sorted(rows.items())
            }
            for name, rows in self._rows.items()
            if rows or name.lower() in self._given
        }

    def assembled(self) -> Tables:
        """The columns of now.

        Raises
        ------
        InventoryError : a row is bad, or does not go with others
        """
        try:
            for name, stale in self._stale.items():
                if stale:
                    rows = self._rows[name]
                    changed = [rows[ref] for ref in sorted(stale) if ref in rows]
                    self._tables[name].update(changed, [ref for ref in stale if ref not in rows])
                    stale.clear()
            ready = {
                name: table.ready(bool(table.rows) or name.lower() in self._given)
                for name, table in self._tables.items()
            }
            return COLUMNS.assemble(ready, self._codec, self._origin)
        except InventoryError:
            self._clear()
            for name, rows in self._rows.items():
                self._stale[name].update(rows)
            raise
