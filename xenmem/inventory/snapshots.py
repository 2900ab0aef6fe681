"""Snapshots of pools in a folder: ``pool=UUID/date=YYYY-MM-DDTHHMMSSZ/`` with a Parquet file for each table.

A snapshot is written beside its place and takes it when it is whole. It is that of one pool, so its files leave out the
column ``pool``, which readers of such folders take from the path. Reading many at once reads each column once, through
pyarrow's data sets. Times are UTC, in whole seconds.
"""

import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xenmem.arrow import library
from xenmem.columns import ROW, TABLE_TYPES, Tables, arrow_schema, check_rows
from xenmem.inventory.arrow import COLUMNS, check_version, column_of, ordered
from xenmem.inventory.error import InventoryError
from xenmem.inventory.joining import separated, shifted
from xenmem.inventory.parquet import READ_OPTIONS, Part, deferred, in_order, reading, write_table
from xenmem.replacing import sync_folder

_DATE: Final = "%Y-%m-%dT%H%M%SZ"
_POOL_FOLDER: Final = re.compile(r"pool=([0-9A-Za-z._:-]+)")
_DATE_FOLDER: Final = re.compile(r"date=(\d{4}-\d\d-\d\dT\d{6}Z)")
_SAVING: Final = ".saving-"
"""Begins the names of folders of which the snapshots are still written."""


def pools_of(folder: Path) -> list[str]:
    """The uuids of the pools of which a folder holds snapshots, in ascending order.

    Raises
    ------
    InventoryError : it cannot be read
    """
    return sorted(found[1] for name in _names(folder) if (found := _POOL_FOLDER.fullmatch(name)))


def dates_of(folder: Path, pool: str) -> list[datetime]:
    """The times of the snapshots of a pool, in ascending order.

    Raises
    ------
    InventoryError : there is no such pool, or the folder cannot be read
    """
    return [_time(name) for name in _snapshots(folder, pool)]


def _snapshots(folder: Path, pool: str) -> list[str]:
    names = _names(_folder_of(folder, pool)) if _POOL_FOLDER.fullmatch(f"pool={pool}") else []
    found = sorted(name for name in names if _DATE_FOLDER.fullmatch(name))
    if not found:
        raise InventoryError(str(folder), "", f"holds no snapshot of pool {pool}")
    return found


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        if folder.parent.is_dir():
            return []
        raise InventoryError(str(folder), "", os.strerror(2)) from None
    except OSError as error:
        raise InventoryError(str(folder), "", error.strerror or str(error)) from None


def _folder_of(folder: Path, pool: str) -> Path:
    return folder / f"pool={pool}"


def _time(name: str) -> datetime:
    return datetime.strptime(name.removeprefix("date="), _DATE).replace(tzinfo=UTC)


def _name(at: datetime) -> str:
    if at.tzinfo is None:
        raise ValueError(f"at: {at} has no time zone")
    return at.astimezone(UTC).strftime(f"date={_DATE}")


# ------------------------------------------------------------------------------------------------------------- reading


def read(folder: Path, pools: Sequence[str] | None = None, at: datetime | None = None) -> Tables:
    """The latest snapshot of each pool, whose columns are read when they are asked for.

    Parameters
    ----------
    pools : uuids, each once; by default all of which there is a snapshot at that time
    at : of several snapshots of a pool the latest that is not later than this; by default the latest

    Raises
    ------
    InventoryError : there is no such snapshot, or it is damaged; also when a column is asked for
    ValueError : a pool is named twice, or the time has no zone
    """
    library()
    latest = None if at is None else _name(at)
    named = pools_of(folder) if pools is None else list(pools)
    if len(set(named)) != len(named):
        raise ValueError("pools: one is named twice")
    chosen = []
    for pool in named:
        names = [name for name in _snapshots(folder, pool) if latest is None or name <= latest]
        if names:
            chosen.append(_folder_of(folder, pool) / names[-1])
        elif pools is not None:
            raise InventoryError(
                str(folder), "", f"holds no snapshot of pool {pool} at or before {at:%Y-%m-%d %H:%M:%SZ}"
            )
    if not chosen:
        when = "" if at is None else f" at or before {at:%Y-%m-%d %H:%M:%SZ}"
        raise InventoryError(str(folder), "", f"holds no snapshot of any pool{when}")
    return _opened(folder, chosen)


def _opened(folder: Path, snapshots: Sequence[Path]) -> Tables:
    parts: dict[str, _Files] = {}
    for table in COLUMNS:
        parts[table] = _Files(folder, snapshots, table, parts)
    return deferred(parts)


def read_path(path: Path) -> Tables:
    """The latest snapshots of a data set, of one of its pools, or one snapshot: whose folder it is shows from its name.

    Raises
    ------
    InventoryError : the folder is none of these, or damaged
    """
    whole = path.resolve()
    if _DATE_FOLDER.fullmatch(whole.name):
        library()
        return _opened(path, [whole])
    if found := _POOL_FOLDER.fullmatch(whole.name):
        return read(whole.parent, [found[1]])
    if not pools_of(whole):
        raise InventoryError(str(path), "", "is a folder without snapshots of pools (pool=UUID/date=...)")
    return read(path)


class _Files(Part):
    """A table of several snapshots, the rows of which follow each other."""

    def __init__(self, folder: Path, snapshots: Sequence[Path], table: str, siblings: "Mapping[str, _Files]") -> None:
        super().__init__(table, str(folder))
        self._siblings = siblings
        self._paths = [str(snapshot / f"{table}.parquet") for snapshot in snapshots]

    @cached_property
    def _dataset(self) -> Any:
        """All files as one data set of pyarrow, which reads them in parallel and in order."""
        import pyarrow.dataset as ds
        from pyarrow.fs import LocalFileSystem

        options = ds.ParquetFragmentScanOptions(**READ_OPTIONS)
        form = ds.ParquetFileFormat(default_fragment_scan_options=options)
        system = LocalFileSystem()
        schema = arrow_schema(self.table, COLUMNS[self.table])
        with reading(self.name):
            fragments = [form.make_fragment(path, filesystem=system) for path in self._paths]
            return ds.FileSystemDataset(fragments, schema, form, filesystem=system)

    @cached_property
    def _footers(self) -> tuple[NDArray[np.int64], bool]:
        """How many rows each file has, and whether all say that theirs are in order; the footers are not kept."""
        counts, are_in_order = [], True
        with reading(self.name):
            for fragment, path in zip(self._dataset.get_fragments(), self._paths, strict=True):
                metadata = fragment.metadata
                check_version(metadata.metadata, path)
                counts.append(metadata.num_rows)
                are_in_order = are_in_order and in_order(metadata, range(metadata.num_row_groups))
        return np.array(counts, np.int64), are_in_order

    @property
    def _counts(self) -> NDArray[np.int64]:
        return self._footers[0]

    @property
    def _are_in_order(self) -> bool:
        return self._footers[1]

    def count(self) -> int:
        return len(self._paths) if self.table == "pools" else int(self._counts.sum())

    def read(self, columns: Sequence[str]) -> Any:
        pa = library()
        wanted = [column for column in columns if column != "pool"]
        for fragment, path in zip(self._dataset.get_fragments(), self._paths, strict=True):
            missing = set(wanted).difference(fragment.physical_schema.names)
            if missing:
                raise InventoryError(path, self.table, f"there is no column {min(missing)}")
        if self._are_in_order:
            found = self._dataset.to_table(columns=wanted) if wanted else pa.table({})
        else:
            schema = self._dataset.schema
            fragments = zip(self._dataset.get_fragments(), self._paths, strict=True)
            tables = [
                ordered(
                    fragment.to_table(schema=schema, columns=[*{ROW: 0, **dict.fromkeys(wanted)}]), path, self.table
                )
                for fragment, path in fragments
            ]
            found = pa.concat_tables(tables)
        if "pool" not in columns:
            return found
        pools = np.repeat(np.arange(len(self._paths), dtype=np.int32), self._counts)
        return found.append_column("pool", [pa.array(pools)]) if wanted else pa.table({"pool": pools})

    def load(self, columns: Sequence[str]) -> dict[str, NDArray[Any]]:
        with reading(self.name):
            found = self.read(columns)
        held = COLUMNS[self.table]
        made = {}
        for column in columns:  # each is let go once it is an array: both would take twice the memory
            made[column] = column_of(found, column, held[column], self.name, self.table)
            found = found.drop_columns(column)
        for column, target in TABLE_TYPES[self.table].references().items() if self.table in TABLE_TYPES else ():
            if column in made and column != "pool":
                made[column] = self._shifted(column, made[column], self._siblings[target])
        return made

    def _shifted(self, column: str, rows: NDArray[Any], target: "_Files") -> NDArray[Any]:
        """Rows of the target's files as rows of all of them."""
        counts = target._counts
        starts = np.cumsum(counts) - counts
        if rows.dtype != object:
            if (rows >= np.repeat(counts.astype(np.int32), self._counts)).any():
                self._refuse(column, rows, target)
            made = np.repeat(starts.astype(np.int32), self._counts)
            made += rows
            made[rows < 0] = -1
            return made
        pieces = np.split(rows, np.cumsum(self._counts)[:-1])
        for piece, count in zip(pieces, counts.tolist(), strict=True):
            if any(items and max(items) >= count for items in set(piece.tolist())):
                self._refuse(column, rows, target)
        return np.concatenate([shifted(piece, start) for piece, start in zip(pieces, starts.tolist(), strict=True)])

    def _refuse(self, column: str, rows: NDArray[Any], target: "_Files") -> None:
        """Name the file of which a row points beyond the target's."""
        ends = np.cumsum(self._counts)
        for path, start, end, count in zip(self._paths, ends - self._counts, ends, target._counts, strict=True):
            try:
                check_rows(self.table, column, rows[start:end], int(count))
            except ValueError as error:
                raise InventoryError(path, "", str(error)) from None


# ------------------------------------------------------------------------------------------------------------- writing


def write(tables: Tables, folder: Path, at: datetime) -> None:
    """A snapshot of each pool: all of them, or none if one cannot be written.

    Parameters
    ----------
    folder : is made if it is not there
    at : the time that the tables are of, with its time zone; parts of a second are dropped

    Raises
    ------
    ValueError : a pool has no uuid, or the time no zone
    OSError : a snapshot cannot be written, or there is one of that pool and time
    """
    library()
    date = _name(at)
    uuids = tables.pools.uuid.tolist()
    unfit = [uuid for uuid in uuids if not _POOL_FOLDER.fullmatch(f"pool={uuid}")]
    if unfit:
        what = f"uuid {unfit[0]!r}" if unfit[0] else "no uuid"
        raise ValueError(f"pools: a pool has {what}, and a data set keeps pools by their uuids")
    targets = [_folder_of(folder, uuid) / date for uuid in uuids]
    for target in targets:
        if target.exists():
            raise FileExistsError(errno.EEXIST, "there is a snapshot of this pool and time", str(target))
    folder.mkdir(parents=True, exist_ok=True)
    done: list[Path] = []
    with _temporary(folder) as temporary:
        parts = [temporary / str(number) for number in range(len(targets))]
        for number, part in enumerate(parts):
            part.mkdir()
            _write_one(separated(tables, [number]), part)
        try:
            for part, target in zip(parts, targets, strict=True):
                target.parent.mkdir(exist_ok=True)
                part.rename(target)
                done.append(target)
                sync_folder(target.parent)
        except BaseException:
            for target in done:
                shutil.rmtree(target, ignore_errors=True)
            raise
        sync_folder(folder)


def _write_one(tables: Tables, folder: Path) -> None:
    for name, columns in COLUMNS.items():
        with (folder / f"{name}.parquet").open("xb") as file:
            write_table(tables, name, file, [column for column in columns if column != "pool"])
            file.flush()
            os.fsync(file.fileno())
    sync_folder(folder)


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """A locked folder in another, which is removed at the end; what killed processes left of such is removed before."""
    for left in folder.glob(f"{_SAVING}*"):
        with suppress(OSError), _locked(left):
            shutil.rmtree(left, ignore_errors=True)
    temporary = folder / f"{_SAVING}{secrets.token_hex(8)}"
    temporary.mkdir()
    try:
        with _locked(temporary):
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
