"""Answers as tables of Arrow: each list of results in an answer is one, a nested result a column for each field.

Types come from the declarations of the results, not from what is in them: a table without rows has the same columns.
Amounts stay bytes. Knows no answer.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec

from xenmem.arrow import library

_PLAIN: Final = {bool: "bool_", int: "int64", float: "float64", str: "string"}
"""By Python's type, the name of Arrow's."""
_POOL: Final = {"pool_uuid": "uuid", "pool_name_label": "name_label"}
"""The columns that lead a table of rows of pools, and what of the head of the pool each is."""


def columns(row_type: type[msgspec.Struct]) -> dict[str, tuple[str, ...]]:
    """Column names of a type of results, and the attributes that lead to each."""
    return {name: path for name, (path, _) in _fields(row_type).items()}


def cell(row: Any, path: Sequence[str]) -> Any:
    """A value of a row; None where something on the way to it is."""
    return reduce(lambda value, name: None if value is None else getattr(value, name), path, row)


def to_arrow(row_type: type[msgspec.Struct], pools: Iterable[tuple[Any, Sequence[Any]]]) -> Any:
    """Rows of several pools as a ``pyarrow.Table``, each led by the uuid and name of its pool.

    Parameters
    ----------
    pools : head and rows of each pool

    Raises
    ------
    ValueError : pyarrow is not installed, or a number is too large for it
    """
    pa = library()
    found = [(head, row) for head, rows in pools for row in rows]
    made = {name: pa.array([getattr(head, of) for head, _ in found], pa.string()) for name, of in _POOL.items()}
    return pa.table(made | _arrays(row_type, [row for _, row in found]))


def tables(answer: msgspec.Struct) -> dict[str, Any]:
    """The lists of results in an answer, each as a ``pyarrow.Table``: those of its pools, and its own.

    Returns
    -------
    dict of the name of the list to a table; an answer without lists is one row of ``answer``

    Raises
    ------
    ValueError : pyarrow is not installed, or a number is too large for it
    """
    pa = library()
    made: dict[str, Any] = {}
    for field in msgspec.structs.fields(type(answer)):
        row_type = _row_type(field.type)
        rows = getattr(answer, field.name)
        if row_type is None or rows is msgspec.UNSET:
            continue
        made[field.name] = pa.table(_arrays(row_type, rows))
        for inner in msgspec.structs.fields(row_type):
            kind = _row_type(inner.type)
            parts = [(row, getattr(row, inner.name)) for row in rows]
            if kind is None or not hasattr(row_type, "pool") or any(part is msgspec.UNSET for _, part in parts):
                continue
            made[inner.name] = to_arrow(kind, [(row.pool, part or []) for row, part in parts])
    return made or {"answer": pa.table(_arrays(type(answer), [answer]))}


def _arrays(row_type: type[msgspec.Struct], rows: Sequence[Any]) -> dict[str, Any]:
    pa = library()
    arrays = {}
    for name, (path, annotation) in _fields(row_type).items():
        values = [_plain(cell(row, path), annotation) for row in rows]
        try:
            arrays[name] = pa.array(values, _type(annotation))
        except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
            raise ValueError(f"{name}: {error}") from None
    return arrays


def _fields(row_type: type[msgspec.Struct]) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Of each column the attributes that lead to it, and its type."""
    paths: dict[str, tuple[tuple[str, ...], Any]] = {}
    for field in msgspec.structs.fields(row_type):
        kind = _bare(field.type)
        if not _is_struct(kind):
            paths[field.name] = ((field.name,), field.type)
        else:
            for name, (path, annotation) in _fields(kind).items():
                paths[f"{field.name}_{name}"] = ((field.name, *path), annotation)
    return paths


def _bare(annotation: Any) -> Any:
    """A type without what annotates it, and without None and UNSET; of several others the annotation as it is."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(annotation) if kind not in (NoneType, msgspec.UnsetType)]
        return _bare(kinds[0]) if len(kinds) == 1 else annotation
    return annotation


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _row_type(annotation: Any) -> type[msgspec.Struct] | None:
    """Of a list of results, which results."""
    kind = _bare(annotation)
    if get_origin(kind) is not list:
        return None
    (of,) = get_args(kind)
    found: type[msgspec.Struct] | None = _bare(of) if _is_struct(_bare(of)) else None
    return found


def _type(annotation: Any) -> Any:
    """The type of Arrow; what has none is text, as JSON."""
    pa = library()
    kind = _bare(annotation)
    if kind in _PLAIN:
        return getattr(pa, _PLAIN[kind])()
    if get_origin(kind) is Literal:
        return pa.string()
    if get_origin(kind) is list:
        return pa.list_(_type(get_args(kind)[0]))
    if get_origin(kind) is dict:
        key, value = get_args(kind)
        return pa.map_(_type(key), _type(value))
    if _is_struct(kind):
        return pa.struct([(field.name, _type(field.type)) for field in msgspec.structs.fields(kind)])
    return pa.string()


def _plain(value: Any, annotation: Any) -> Any:
    """A value as Arrow takes it for that type."""
    kind = _bare(annotation)
    if value is None or value is msgspec.UNSET:
        return None
    if kind in _PLAIN or get_origin(kind) is Literal:
        return value
    if get_origin(kind) is list:
        (of,) = get_args(kind)
        return [_plain(one, of) for one in value]
    if isinstance(value, Mapping) and get_origin(kind) is dict:
        key, of = get_args(kind)
        return [(_plain(name, key), _plain(one, of)) for name, one in value.items()]
    if _is_struct(kind):
        fields = msgspec.structs.fields(kind)
        return {field.name: _plain(getattr(value, field.name), field.type) for field in fields}
    return msgspec.json.encode(value).decode()
