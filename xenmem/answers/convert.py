"""An inventory written in another format, and what of it that format cannot hold.

What is lost is found, not declared: records are counted by class, and an inventory of records is read back and compared
column by column. Knows how no format looks.
"""

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xenmem.answers.naming import Answer, QuestionError, Result
from xenmem.arrow import Cell
from xenmem.columns import TABLE_TYPES, Table
from xenmem.datamodel import CLASSES
from xenmem.dataset import DataSet
from xenmem.fleet import Fleet, read
from xenmem.inventory import arrow, parquet
from xenmem.inventory.assemble import Origin, Target
from xenmem.inventory.schema import Column, Kind, TableSchema
from xenmem.inventory.source import columns_format, read_pools
from xenmem.inventory.table import Codec, RawTable
from xenmem.text import counted
from xenmem.xenapi.store import loading, saving

FORMATS: Final[Mapping[str, str]] = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow-stream",
    ".json": "records",
    ".xml": "statedb",
}
"""The format of a file by the end of its name; a folder is a data set."""
DATA_SET: Final = "data-set"

_HELD: Final = frozenset({"VM", "VM_group", "SR", "host", "network", "pool"})
"""The classes of which a Fleet has a table."""


class Lost(Result, frozen=True):
    """What the new format does not hold.

    Attributes
    ----------
    of : a class of XenAPI, or a table of the Fleet
    column : of the table; empty for whole records
    rows : how many have it, or have another value
    text : the same for people
    """

    of: str
    column: str
    rows: int
    text: str


class Conversion(Answer, frozen=True):
    """An inventory that was written.

    Attributes
    ----------
    output, format : what was written
    pools, hosts, vms : numbers of rows
    at : the time of a snapshot in a data set, ISO 8601; None of others
    lost : what it does not hold of the inventory
    """

    output: str
    format: str
    pools: int
    hosts: int
    vms: int
    at: str | None
    lost: list[Lost]


def format_of(path: str, form: str | None = None) -> str:
    """The format that a file of this name is written in.

    Raises
    ------
    QuestionError : its name says none, or xenmem writes none such
    """
    if form is None:
        form = DATA_SET if path.endswith(os.sep) or Path(path).is_dir() else FORMATS.get(Path(path).suffix.lower())
    if form is None:
        endings = ", ".join(FORMATS)
        raise QuestionError(f"{path}: is no folder, and its name ends in none of {endings}: name a format by --to")
    return form


def convert(
    fleet: Fleet, source: str, path: str, *, to: str | None = None, at: datetime | None = None, lenient: bool = False
) -> Conversion:
    """Write a fleet in another format.

    Parameters
    ----------
    fleet : what was read
    source : the file it was read from; its records are kept where both formats are of records
    path : to write; a file is replaced when the new one is whole
    to : ``parquet``, ``arrow``, ``arrow-stream``, ``records``, ``statedb`` or ``data-set``; by default what the name of
        the file says
    at : the time of the snapshot in a data set
    lenient : as the fleet was read

    Raises
    ------
    QuestionError : the format does not show, or cannot hold this fleet
    OSError : it cannot be written
    """
    form = format_of(path, to)
    is_of_records = form in ("records", "statedb")
    lost = [] if is_of_records else _beyond_columns(fleet, source, lenient)
    if form == DATA_SET:
        if at is None:
            raise QuestionError("a snapshot in a data set has a time")
        _write_snapshot(fleet, path, at)
    elif is_of_records:
        _write_records(fleet, source, path, form, lenient)
    else:
        _WRITERS[form](fleet, path)
    if is_of_records:
        lost = _changed(fleet, path)
    where = "" if at is None or form != DATA_SET else f" as of {at:%Y-%m-%d %H:%M:%SZ}"
    numbers = [(len(fleet.pools), "pool"), (len(fleet.hosts), "host"), (len(fleet.vms), "VM")]
    sizes = ", ".join(counted(number, noun) for number, noun in numbers)
    return Conversion(
        verdict=f"{path} holds {sizes}{where}{', all that was read' if not lost else ', and lacks what is listed'}.",
        outcome="yes",
        output=path,
        format=form,
        pools=len(fleet.pools),
        hosts=len(fleet.hosts),
        vms=len(fleet.vms),
        at=at.isoformat() if at is not None and form == DATA_SET else None,
        lost=lost,
    )


_WRITERS: Final[Mapping[str, Callable[[Fleet, str], None]]] = {
    "parquet": lambda fleet, path: parquet.write(fleet.tables, path),
    "arrow": lambda fleet, path: arrow.write(fleet.tables, path),
    "arrow-stream": lambda fleet, path: arrow.write(fleet.tables, path, as_stream=True),
}


def _write_snapshot(fleet: Fleet, path: str, at: datetime) -> None:
    try:
        DataSet(path).append(fleet, at)
    except ValueError as error:
        raise QuestionError(str(error)) from None


def _write_records(fleet: Fleet, source: str, path: str, form: str, lenient: bool) -> None:
    if len(fleet.pools) != 1:
        raise QuestionError(
            f"{form} holds one pool, and {source} has {len(fleet.pools)}: parquet and arrow hold several"
        )
    is_file = Path(source).is_file() and columns_format(source) is None
    database = loading.read(source, lenient=lenient) if is_file else loading.from_fleet(fleet)
    saving.save(database, path, form)


def _beyond_columns(fleet: Fleet, source: str, lenient: bool) -> list[Lost]:
    """The records of an inventory that are in no table of a Fleet."""
    if Path(source).is_dir() or columns_format(source) is not None:
        return []
    lost = [
        Lost(
            of="VM, host, pool, VM_group, SR, network",
            column="",
            rows=len(fleet.vms) + len(fleet.hosts) + len(fleet.pools),
            text="of their records the columns of a Fleet are kept (docs/reference/columns.md), no other field",
        )
    ]
    if not Path(source).is_file():
        return lost
    counts: dict[str, int] = {}

    def count(tables: Mapping[str, RawTable], codec: Codec, origin: Origin) -> None:
        for name, table in tables.items():
            counts[name] = counts.get(name, 0) + len(table)

    uuid = Column("uuid", Kind.TEXT, default="")
    schemas = {
        name: TableSchema(name, (uuid,), schema.signature) for name, schema in CLASSES.items() if schema.persistent
    }
    read_pools(source, Target(schemas, count, lambda tables: None), lenient=lenient)
    for name, number in counts.items():
        if number and name not in _HELD:
            text = f"{counted(number, 'record')} of {name}, but for what the columns tell of them"
            lost.append(Lost(of=name, column="", rows=number, text=text))
    return lost


def _changed(fleet: Fleet, path: str) -> list[Lost]:
    """The columns of a fleet that an inventory has otherwise once it is read back."""
    back = read(path)
    lost = []
    for name in TABLE_TYPES:
        table, other = getattr(fleet, name), getattr(back, name)
        rows = {ref: row for row, ref in enumerate(other.ref.tolist())}
        found = np.array([rows.get(ref, -1) for ref in table.ref.tolist()], np.int64)
        if name == "pools":
            found = np.zeros(1, np.int64)  # a pool without a reference got one
        missing = int((found < 0).sum())
        if missing:
            lost.append(Lost(of=name, column="", rows=missing, text=f"{counted(missing, 'row')} of {name}"))
        for column in table.columns():
            if (name, column) in _OF_THE_FILE:
                continue
            before = _by_reference(fleet, table, name, column)[found >= 0]
            after = _by_reference(back, other, name, column)[found[found >= 0]]
            number = int(np.count_nonzero(np.fromiter(map(_differ, before, after), bool, len(before))))
            if number:
                text = f"{name}.{column} has another value in {counted(number, 'row')}"
                lost.append(Lost(of=name, column=column, rows=number, text=text))
    return lost


_OF_THE_FILE: Final = frozenset(("pools", name) for name in ("ref", "source", "format", "schema"))


def _differ(one: object, other: object) -> bool:
    return one != other


def _by_reference(fleet: Fleet, table: Table, name: str, column: str) -> NDArray[Any]:
    """A column with the references of the rows that it holds, which are not in the same order in another file."""
    values: NDArray[Any] = getattr(table, column)
    held = table.held()[column]
    if not held.target or held.target == "pools":
        return values.astype(object) if held.target != "pools" else np.zeros(len(values), object)
    refs = np.array([*getattr(fleet, held.target).ref.tolist(), None], object)
    if held.cell is not Cell.NUMBERS:
        named: NDArray[Any] = refs[values]
        return named
    known = {rows: rows and frozenset(refs[list(rows)]) for rows in set(values.tolist())}
    sets: NDArray[Any] = np.fromiter((known[rows] for rows in values), object, len(values))
    return sets
