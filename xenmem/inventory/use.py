"""What VMs were measured to use, from any number of files: saved RRDs, answers of /rrd_updates, and Parquet.

VM after VM in the order of their uuids, so that of Parquet one VM at a time is in memory; what else is read is kept
while it is sorted, up to a limit. Amounts are bytes. Knows neither Fleet nor what the numbers say.
"""

import gzip
import heapq
import io
import os
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xenmem.inventory import rrd
from xenmem.inventory.error import InventoryError, shown
from xenmem.inventory.head import HEAD_BYTES
from xenmem.inventory.packed import each_file
from xenmem.replacing import replacing

VERSION: Final = "1"
"""Of the Parquet files: it grows when a column goes away or changes its meaning."""

MAX_NUMBERS: Final = 1 << 26
"""Most numbers of files other than Parquet that are kept at a time."""

_MOST_BYTES: Final = 1 << 50
_GROUP_ROWS: Final = 1 << 17
_BUFFER_BYTES: Final = 1 << 20
_SCALES: Final = {"memory": 1, "memory_target": 1, "memory_internal_free": 1024, "cpu_usage": 1}
"""Of each data source, how many bytes its unit is (docs/reference/use.md, 1)."""
_COLUMNS: Final = tuple(_SCALES)
_PARQUET: Final = b"PAR1"

Values = NDArray[np.float64]


class Rows(NamedTuple):
    """What was measured of a VM, row by row; each column has shape (rows,), and NaN is unknown.

    Attributes
    ----------
    times : int64, seconds since 1970 at which each row ends, ascending, none twice
    memory, memory_target, memory_internal_free : bytes
    cpu_usage : share of its vCPUs that a VM used, 0 to 1
    """

    times: NDArray[np.int64]
    memory: Values
    memory_target: Values
    memory_internal_free: Values
    cpu_usage: Values

    def part(self, rows: slice) -> "Rows":
        """Some of the rows."""
        return Rows(self.times[rows], *(getattr(self, name)[rows] for name in _COLUMNS))


class Use(NamedTuple):
    """What was measured of a VM.

    Attributes
    ----------
    uuid : of the VM
    rows : by seconds from one row to the next
    """

    uuid: str
    rows: dict[int, Rows]


def read_use(paths: Iterable[str | os.PathLike[str]], progress: Callable[[int], None] | None = None) -> Iterator[Use]:
    """What files tell of the use of VMs, VM after VM in the order of their uuids.

    Parameters
    ----------
    paths : files, and folders of files: saved RRDs and answers of /rrd_updates as XML or JSON, each also packed or in
        an archive such as a bug report; or Parquet that `keep` wrote. What is in a folder or an archive and is none of
        these is passed over
    progress : called with the number of files read so far

    Raises
    ------
    InventoryError : a file cannot be read, holds nothing of VMs, or there is more than can be kept
    """
    collected = _Collected()
    parquet: list[Path] = []
    done = 0
    for path in map(Path, paths):
        before = collected.files + len(parquet)
        files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        for file in files:
            if _is_parquet(file):
                parquet.append(file)
            else:
                _read_file(file, collected, must=not path.is_dir())
            done += 1
            if progress is not None:
                progress(done)
        if collected.files + len(parquet) == before:
            raise InventoryError(str(path), "", "holds neither RRDs nor answers of rrd_updates")
    return _merged([collected.uses(), *(_from_parquet(file) for file in parquet)])


def _merged(streams: Sequence[Iterator[Use]]) -> Iterator[Use]:
    current: Use | None = None
    for use in heapq.merge(*streams, key=lambda use: use.uuid):
        if current is not None and current.uuid == use.uuid:
            parts = {
                step: [rows[step] for rows in (current.rows, use.rows) if step in rows]
                for step in sorted({*current.rows, *use.rows})
            }
            current = Use(use.uuid, {step: together(rows) for step, rows in parts.items()})
            continue
        if current is not None:
            yield current
        current = use
    if current is not None:
        yield current


def together(parts: Sequence[Rows]) -> Rows:
    """Rows of one step in the order of time; where parts overlap, what is known of each row."""
    if len(parts) == 1:
        return parts[0]
    times = np.concatenate([part.times for part in parts])
    different, place = np.unique(times, return_inverse=True)
    columns = []
    for name in _COLUMNS:
        values = np.concatenate([getattr(part, name) for part in parts])
        known = ~np.isnan(values)
        column = np.full(len(different), np.nan)
        column[place[known]] = values[known]
        columns.append(column)
    return Rows(different, *columns)


# ---------------------------------------------------------------------------------------------------- RRDs and answers


def _is_wanted(kind: str, name: str) -> bool:
    return kind in ("", "vm") and (name in _SCALES or _is_cpu(name))


def _is_cpu(name: str) -> bool:
    return name.startswith("cpu") and name[3:].isascii() and name[3:].isdigit()


class _Collected:
    """What files told so far, by VM and step."""

    def __init__(self) -> None:
        self.files = 0
        self.numbers = 0
        self.parts: dict[str, dict[int, list[Rows]]] = defaultdict(lambda: defaultdict(list))

    def add(self, found: Iterable[rrd.Measured], source: str) -> None:
        """The archives of a file."""
        self.files += 1
        for measured in found:
            by_vm: dict[str, list[int]] = defaultdict(list)
            for place, of in enumerate(measured.sources):
                by_vm[of.uuid].append(place)
            self.numbers += len(measured.times) * len(by_vm) * (1 + len(_COLUMNS))
            if self.numbers > MAX_NUMBERS:
                raise InventoryError(
                    source, "", f"more than {MAX_NUMBERS} numbers: keep them as Parquet in parts first"
                )
            for uuid, places in by_vm.items():
                rows = _rows(measured, places, source)
                if rows is not None:
                    self.parts[uuid][measured.step].append(rows)

    def uses(self) -> Iterator[Use]:
        """VM after VM."""
        for uuid in sorted(self.parts):
            steps = self.parts[uuid]
            yield Use(uuid, {step: together(steps[step]) for step in sorted(steps)})


def _rows(measured: rrd.Measured, places: list[int], source: str) -> Rows | None:
    """The rows of one VM that tell its memory; None if none does."""
    named = {measured.sources[place].name: measured.values[:, place] for place in places}
    if "memory" not in named:
        return None
    columns = {}
    for name, scale in _SCALES.items():
        values = named.get(name)
        if name == "cpu_usage" and values is None:
            cpus = [share for cpu, share in named.items() if _is_cpu(cpu)]
            values = np.mean(cpus, axis=0) if cpus else None
        if values is None:
            columns[name] = np.full(len(measured.times), np.nan)
            continue
        column = values * scale
        with np.errstate(invalid="ignore"):
            bad = np.flatnonzero((column < 0) | (column > _MOST_BYTES))
        if len(bad):
            of = f"{name} of VM {measured.sources[places[0]].uuid}"
            raise InventoryError(source, f"{of} at {measured.times[bad[0]]}", f"{values[bad[0]]:g} is out of range")
        columns[name] = column
    known = ~np.isnan(columns["memory"])
    if not known.any():
        return None
    times, first = np.unique(measured.times, return_index=True)
    return Rows(times, *(np.ascontiguousarray(columns[name][first]) for name in _COLUMNS))


class _Counting(io.RawIOBase):
    """A file, and how much of it was read."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.done = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        count = self._file.readinto(buffer) or 0
        self.done += count
        return int(count)


def _read_file(path: Path, collected: _Collected, *, must: bool) -> None:
    """Add what a file holds; one that is none of those that are read is passed over, unless it must be one."""
    name = str(path)
    try:
        with ExitStack() as closing, path.open("rb", buffering=0) as file:
            counting = _Counting(file)
            stream: io.BufferedReader = io.BufferedReader(counting, _BUFFER_BYTES)
            for piece, member in each_file(stream, file, name, lambda: counting.done, closing):
                if (must and not member) or rrd.looks_measured(piece.peek(HEAD_BYTES)):
                    label = f"{name}/{member}" if member else name
                    collected.add(rrd.read(piece, _is_wanted, source=label), label)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InventoryError(name, "", f"is damaged or cut short: {error}") from None
    except OSError as error:
        raise InventoryError(name, "", error.strerror or str(error)) from None


# ------------------------------------------------------------------------------------------------------------- Parquet


def _is_parquet(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == _PARQUET
    except OSError as error:
        raise InventoryError(str(path), "", error.strerror or str(error)) from None


def _pyarrow(path: object) -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise InventoryError(str(path), "", "Parquet needs the extra `arrow`: pip install 'xenmem[arrow]'") from None
    return pyarrow


def _schema(pyarrow: Any) -> Any:
    return pyarrow.schema(
        [
            ("vm_uuid", pyarrow.dictionary(pyarrow.int32(), pyarrow.string())),
            ("step", pyarrow.int32()),
            ("time", pyarrow.timestamp("s", "UTC")),
            *((name, pyarrow.float64()) for name in _COLUMNS),
        ],
        metadata={"xenmem_use_version": VERSION},
    )


def keep(uses: Iterable[Use], path: str | os.PathLike[str]) -> Iterator[Use]:
    """Write what was measured as Parquet while it goes by; the file is there when all of it has.

    Parameters
    ----------
    uses : in the order of uuids, as read_use gives them
    path : of the file; one that is there is replaced

    Raises
    ------
    InventoryError : the file cannot be written, or pyarrow is missing
    """
    pyarrow = _pyarrow(path)
    schema = _schema(pyarrow)
    try:
        with replacing(path) as file, pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            tables: list[Any] = []
            for use in uses:
                tables += [_table(pyarrow, schema, use.uuid, step, rows) for step, rows in use.rows.items()]
                if sum(table.num_rows for table in tables) >= _GROUP_ROWS:
                    writer.write_table(pyarrow.concat_tables(tables).unify_dictionaries())
                    tables = []
                yield use
            if tables:
                writer.write_table(pyarrow.concat_tables(tables).unify_dictionaries())
    except OSError as error:
        raise InventoryError(str(path), "", error.strerror or str(error)) from None


def _table(pyarrow: Any, schema: Any, uuid: str, step: int, rows: Rows) -> Any:
    whose = pyarrow.DictionaryArray.from_arrays(np.zeros(len(rows.times), np.int32), [uuid])
    columns = [pyarrow.array(getattr(rows, name), from_pandas=True) for name in _COLUMNS]
    times = pyarrow.array(rows.times, pyarrow.int64()).cast(pyarrow.timestamp("s")).cast(schema.field("time").type)
    return pyarrow.Table.from_arrays(
        [whose, pyarrow.array(np.full(len(rows.times), step, np.int32)), times, *columns], schema=schema
    )


def _from_parquet(path: Path) -> Iterator[Use]:
    """One VM after the other; a VM's rows are next to each other, and VMs in the order of their uuids."""
    pyarrow = _pyarrow(path)
    source = str(path)
    try:
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
            schema = _schema(pyarrow)
            for field in schema:
                if field.name not in file.schema_arrow.names:
                    raise InventoryError(source, "", f"has no column {field.name}: no file that --keep wrote")
            version = (file.schema_arrow.metadata or {}).get(b"xenmem_use_version", b"").decode(errors="replace")
            if version != VERSION:
                told = f"is of version {shown(version)}" if version else "tells no version"
                raise InventoryError(source, "", f"{told} where {VERSION} is read: read its sources again")
            before = ""
            open_use: tuple[str, dict[int, list[Rows]]] | None = None
            for batch in file.iter_batches(_GROUP_ROWS, columns=schema.names):
                for uuid, step, rows in _runs(pyarrow, batch, schema, source):
                    if open_use is not None and open_use[0] == uuid:
                        open_use[1].setdefault(step, []).append(rows)
                        continue
                    if open_use is not None:
                        yield _closed(open_use)
                    if uuid <= before:
                        raise InventoryError(
                            source, f"VM {shown(uuid)}", "is out of order: sort by vm_uuid, step, time"
                        )
                    before, open_use = uuid, (uuid, {step: [rows]})
            if open_use is not None:
                yield _closed(open_use)
    except pyarrow.ArrowException as error:
        raise InventoryError(source, "", f"the Parquet file cannot be read: {str(error).splitlines()[0]}") from None
    except OSError as error:
        text = (error.strerror or str(error)).splitlines()[0]
        raise InventoryError(source, "", f"the Parquet file cannot be read: {text}") from None


def _closed(open_use: tuple[str, dict[int, list[Rows]]]) -> Use:
    uuid, steps = open_use
    found = {}
    for step, parts in sorted(steps.items()):
        rows = parts[0] if len(parts) == 1 else Rows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
        found[step] = rows if (np.diff(rows.times) > 0).all() else together([rows, rows.part(slice(0))])
    return Use(uuid, found)


def _runs(pyarrow: Any, batch: Any, schema: Any, source: str) -> Iterator[tuple[str, int, Rows]]:
    """The rows of a batch by VM and step."""
    if not batch.num_rows:
        return
    columns = {field.name: batch.column(field.name) for field in schema}
    for name in ("vm_uuid", "step", "time"):
        if columns[name].null_count:
            raise InventoryError(source, name, "null, where none may be")
    whose = columns["vm_uuid"]
    if not pyarrow.types.is_dictionary(whose.type):
        whose = whose.dictionary_encode()
    codes = whose.indices.to_numpy(zero_copy_only=False)
    names = whose.dictionary.to_pylist()
    steps = columns["step"].cast(pyarrow.int64()).to_numpy(zero_copy_only=False)
    times = columns["time"].cast(pyarrow.timestamp("s", "UTC")).cast(pyarrow.int64()).to_numpy(zero_copy_only=False)
    values = [
        np.asarray(columns[name].cast(pyarrow.float64()).to_numpy(zero_copy_only=False), np.float64)
        for name in _COLUMNS
    ]
    if int(steps.min()) < 1:
        raise InventoryError(source, "step", f"{steps.min()} is below 1")
    for name, column in zip(_COLUMNS, values, strict=True):
        ends = np.fmin.reduce(column), np.fmax.reduce(column)
        if ends[0] < 0 or ends[1] > _MOST_BYTES:
            raise InventoryError(source, name, f"{ends[0] if ends[0] < 0 else ends[1]:g} is out of range")
    starts = np.flatnonzero(np.r_[True, (np.diff(codes) != 0) | (np.diff(steps) != 0)]).tolist()
    for start, end in zip(starts, [*starts[1:], len(steps)], strict=True):
        part = slice(start, end)
        yield str(names[codes[start]]), int(steps[start]), Rows(times[part], *(column[part] for column in values))
