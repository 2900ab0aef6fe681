"""Several inventories as one, and some pools of one by themselves: rows follow each other, and references them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xenmem.columns import TABLE_TYPES, Table, Tables
from xenmem.inventory.error import InventoryError


def concatenated(pools: Sequence[Tables]) -> Tables:
    """The tables of several inventories one after the other.

    Raises
    ------
    InventoryError : two of them hold the same pool or host
    """
    if len(pools) == 1:
        return pools[0]
    check_once(pools)
    offsets = dict.fromkeys(TABLE_TYPES, 0)
    parts: dict[str, list[dict[str, NDArray[Any]]]] = {name: [] for name in offsets}
    for tables in pools:
        for name in offsets:
            table: Table = getattr(tables, name)
            columns = table.columns()
            for column, target in table.references().items():
                columns[column] = shifted(columns[column], offsets[target])
            parts[name].append(columns)
        for name in offsets:
            offsets[name] += len(getattr(tables, name))
    joined: dict[str, Any] = {name: kind(**_join(parts[name])) for name, kind in TABLE_TYPES.items()}
    return Tables(**joined, notes=tuple(note for tables in pools for note in tables.notes))


def check_once(pools: Sequence[Tables]) -> None:
    """No pool and no host is there twice.

    Raises
    ------
    InventoryError : one is; its memory would count twice
    """
    seen: dict[tuple[str, str], str] = {}
    for tables in pools:
        sources = tables.pools.source.tolist()
        named = [("pool", uuid, source) for uuid, source in zip(tables.pools.uuid, sources, strict=True)]
        named += [
            ("host", uuid, sources[pool]) for uuid, pool in zip(tables.hosts.uuid, tables.hosts.pool, strict=True)
        ]
        for name, uuid, source in named:
            if uuid and (name, uuid) in seen:
                raise InventoryError(source, "", f"{name} {uuid} was already read from {seen[name, uuid]}")
            seen[name, uuid] = source


def shifted(rows: NDArray[Any], offset: int) -> NDArray[Any]:
    """References, or tuples of them, to a table before which so many rows of others have come."""
    if offset == 0:
        return rows
    if rows.dtype == object:
        shifted = {group: group and tuple(row + offset for row in group) for group in set(rows.tolist())}
        return np.fromiter((shifted[group] for group in rows), object, len(rows))
    return np.where(rows >= 0, rows + np.int32(offset), rows).astype(np.int32)


def _join(parts: list[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """One column per name; columns that are one array in every part stay one array."""
    joined: dict[tuple[int, ...], NDArray[Any]] = {}
    columns = {}
    for name in parts[0]:
        pieces = [part[name] for part in parts]
        key = tuple(map(id, pieces))
        if key not in joined:
            joined[key] = np.concatenate(pieces)
        columns[name] = joined[key]
    return columns


def separated(tables: Tables, pools: Sequence[int]) -> Tables:
    """The tables of some pools, in this order, and the notes of the files that they were read from.

    Parameters
    ----------
    pools : rows in pools, each once

    Raises
    ------
    ValueError : there is no such pool, or a row of one of them points into another pool
    """
    if len(set(pools)) != len(pools) or any(not 0 <= pool < len(tables.pools) for pool in pools):
        raise ValueError(f"pools: {list(pools)} are not different rows of pools, which has {len(tables.pools)}")
    rows = {name: _rows_of(getattr(tables, name), name, pools) for name in TABLE_TYPES}
    if all(np.array_equal(kept, np.arange(len(getattr(tables, name)))) for name, kept in rows.items()):
        return tables
    numbers = {name: _numbers(kept, len(getattr(tables, name))) for name, kept in rows.items()}
    made: dict[str, Any] = {}
    for name, kind in TABLE_TYPES.items():
        table: Table = getattr(tables, name)
        taken: dict[int, NDArray[Any]] = {}  # columns that are one array stay one
        columns = table.columns()
        for column, values in columns.items():
            columns[column] = taken.setdefault(id(values), values[rows[name]])
        for column, target in table.references().items():
            columns[column] = _renumbered(f"{name}: {column}", columns[column], numbers[target])
        made[name] = kind(**columns)
    sources = dict.fromkeys(made["pools"].source.tolist())
    notes = tuple(note for source in sources for note in tables.notes if note.source == source)
    return Tables(**made, notes=notes)


def _rows_of(table: Table, name: str, pools: Sequence[int]) -> NDArray[np.int64]:
    if name == "pools":
        return np.array(pools, np.int64)
    of: NDArray[np.int32] = table.columns()["pool"]
    return np.concatenate([np.flatnonzero(of == pool) for pool in pools] or [np.zeros(0, np.int64)])


def _numbers(kept: NDArray[np.int64], count: int) -> NDArray[np.int32]:
    """The new number of each row, and at the end that of no row."""
    numbers = np.full(count + 1, -1, np.int32)
    numbers[kept] = np.arange(len(kept), dtype=np.int32)
    return numbers


def _renumbered(name: str, rows: NDArray[Any], numbers: NDArray[np.int32]) -> NDArray[Any]:
    if rows.dtype == object:
        known = {items: items and tuple(numbers[list(items)].tolist()) for items in set(rows.tolist())}
        lost = any(items and -1 in items for items in known.values())
        made = np.fromiter((known[items] for items in rows), object, len(rows))
    else:
        made = numbers[rows]
        lost = bool(((made < 0) & (rows >= 0)).any())
    if lost:
        raise ValueError(f"{name}: a row points into another pool")
    return made
