"""Arrays to Arrow and back: what a column holds, its type in Arrow, and the conversion, without a copy where it allows.

Numbers share their memory with Arrow; flags are bits there, codes are dictionaries of their names, and what Python
objects hold is copied, each distinct tuple or map once. pyarrow is imported when it is needed. Knows no table.
"""

from collections.abc import Callable, Mapping
from enum import Enum, auto
from itertools import pairwise
from typing import Annotated, Any, Final, NamedTuple, get_args, get_origin

import numpy as np
from numpy.typing import NDArray

_SAMPLE: Final = 1000
"""Rows by which is told whether a column's texts repeat."""


class Cell(Enum):
    """What a column of objects holds in each row."""

    TEXT = auto()
    TEXTS = auto()  # a tuple
    NUMBERS = auto()  # a tuple
    MAP = auto()  # of text to text


class Spelled(NamedTuple):
    """A column of codes: what each is called, by code."""

    names: tuple[str, ...]


class Held(NamedTuple):
    """What a column holds.

    Attributes
    ----------
    dtype : of the array
    cell : of a column of objects
    names : of codes; empty for other columns
    target : the table whose rows it holds; empty for other columns
    nullable : a row may hold None
    """

    dtype: "np.dtype[Any]"
    cell: Cell | None = None
    names: tuple[str, ...] = ()
    target: str = ""
    nullable: bool = False


def held(annotation: Any) -> Held:
    """What a column of this type holds: an array, perhaps annotated by a Cell, a Spelled, the name of a table, None.

    A column of objects that is annotated by the name of a table holds tuples of its rows; None allows None in a row.
    """
    marks: tuple[Any, ...] = ()
    if get_origin(annotation) is Annotated:
        annotation, *rest = get_args(annotation)
        marks = tuple(rest)
    dtype = np.dtype(get_args(get_args(annotation)[1])[0])
    target = next((mark for mark in marks if isinstance(mark, str)), "")
    return Held(
        dtype,
        next((mark for mark in marks if isinstance(mark, Cell)), Cell.NUMBERS if target and dtype.hasobject else None),
        next((mark.names for mark in marks if isinstance(mark, Spelled)), ()),
        target,
        None in marks,
    )


def library(what: str = "Arrow and Parquet") -> Any:
    """pyarrow.

    Raises
    ------
    ValueError : it is not installed; names the extra that brings it
    """
    try:
        import pyarrow
    except ImportError:
        raise ValueError(f"{what}: pyarrow is not installed: pip install 'xenmem[arrow]' brings it") from None
    return pyarrow


def type_of(column: Held) -> Any:
    """The Arrow type of a column."""
    pa = library()
    if column.cell is Cell.TEXT:
        return pa.string()
    if column.cell is Cell.TEXTS:
        return pa.list_(pa.string())
    if column.cell is Cell.NUMBERS:
        return pa.list_(pa.int32() if column.target else pa.int64())
    if column.cell is Cell.MAP:
        return pa.map_(pa.string(), pa.string())
    if column.names:
        return pa.dictionary(pa.uint8(), pa.string())
    return pa.from_numpy_dtype(column.dtype)


def schema_of(columns: Mapping[str, Held], metadata: Mapping[str, str]) -> Any:
    """The Arrow schema of columns."""
    pa = library()
    found = [pa.field(name, type_of(column), nullable=column.nullable) for name, column in columns.items()]
    return pa.schema(found, metadata=dict(metadata))


# ------------------------------------------------------------------------------------------------------------ to Arrow


def to_array(values: NDArray[Any], column: Held) -> Any:
    """A column as an Arrow array.

    Raises
    ------
    ValueError : a row holds None, or what the column does not hold
    """
    pa = library()
    kind = type_of(column)
    try:
        if column.names:
            made = pa.DictionaryArray.from_arrays(pa.array(values), pa.array(column.names, pa.string()))
        elif column.cell in (None, Cell.TEXT):
            made = pa.array(values, kind)
        else:
            made = _repeated(values, column, kind)
    except (pa.ArrowException, UnicodeEncodeError, TypeError) as error:
        raise ValueError(str(error)) from None
    if made.null_count and not column.nullable:
        raise ValueError(f"row {_first_null(made)} is None")
    return made


def nothing(count: int, column: Held | None, kind: Any) -> Any:
    """So many nulls in place of a column; those of codes have the dictionary that their column has elsewhere."""
    pa = library()
    if column is None or not column.names:
        return pa.nulls(count, kind)
    return pa.DictionaryArray.from_arrays(pa.nulls(count, pa.uint8()), pa.array(column.names, pa.string()))


def _repeated(values: NDArray[Any], column: Held, kind: Any) -> Any:
    """Tuples or maps, of which each distinct one is converted once."""
    pa = library()
    rows = values.tolist()
    if column.cell is Cell.MAP:
        rows = [None if row is None else tuple(row.items()) for row in rows]
    numbers = {row: number for number, row in enumerate(dict.fromkeys(rows))}
    distinct = pa.array(list(numbers), kind)
    return distinct.take(pa.array(np.fromiter(map(numbers.__getitem__, rows), np.int32, len(rows))))


# ---------------------------------------------------------------------------------------------------------- from Arrow


def from_array(array: Any, column: Held) -> NDArray[Any]:
    """A column as a read-only array, from an Arrow array or one in chunks.

    Raises
    ------
    ValueError : it is of another type, a value does not fit, or a row is null where none may be
    """
    pa = library()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks == 1 else array.combine_chunks()
        if isinstance(array, pa.ChunkedArray):  # what combining leaves in chunks is empty, or beyond 2 GiB of text
            array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if array.null_count and not column.nullable:
        raise ValueError(f"row {_first_null(array)} is null")
    try:
        made = _FROM[_family(column)](array, column)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        problem = str(error).splitlines()[0]
        raise ValueError(f"{array.type} where {type_of(column)} is needed: {problem}") from None
    made.flags.writeable = False
    return made


def without_views(column: Any) -> Any:
    """A column with plain texts in place of views of text, which few of pyarrow's functions take."""
    pa = library()
    kind = column.type
    if pa.types.is_dictionary(kind) and pa.types.is_string_view(kind.value_type):
        chunks = [
            pa.DictionaryArray.from_arrays(chunk.indices, chunk.dictionary.cast(pa.string())) for chunk in column.chunks
        ]
        return pa.chunked_array(chunks, pa.dictionary(kind.index_type, pa.string())).unify_dictionaries()
    plain = _plain(kind)
    return column if plain == kind else column.cast(plain)


def _plain(kind: Any) -> Any:
    pa = library()
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_map(kind):
        return pa.map_(_plain(kind.key_type), _plain(kind.item_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _plain(field.type)) for field in kind])
    return kind


def _family(column: Held) -> str:
    if column.names:
        return "codes"
    if column.cell is not None:
        return column.cell.name
    return {"b": "flags", "f": "floats"}.get(column.dtype.kind, "integers")


def _refuse(array: Any, column: Held) -> ValueError:
    return ValueError(f"{array.type} where {type_of(column)} is needed")


def _integers(array: Any, column: Held) -> NDArray[Any]:
    pa = library()
    if not pa.types.is_integer(array.type):
        raise _refuse(array, column)
    return _numbers(array, column)


def _floats(array: Any, column: Held) -> NDArray[Any]:
    pa = library()
    if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        raise _refuse(array, column)
    return _numbers(array, column)


def _numbers(array: Any, column: Held) -> NDArray[Any]:
    kind = type_of(column)
    made: NDArray[Any] = (array if array.type == kind else array.cast(kind)).to_numpy(zero_copy_only=True)
    return made


def _flags(array: Any, column: Held) -> NDArray[Any]:
    if not library().types.is_boolean(array.type):
        raise _refuse(array, column)
    made: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return made


def _codes(array: Any, column: Held) -> NDArray[Any]:
    pa = library()
    if pa.types.is_integer(array.type):
        codes: NDArray[Any] = _numbers(array, column._replace(names=()))
        if len(codes) and int(codes.max()) >= len(column.names):
            raise ValueError(f"row {codes.argmax()}: {codes.max()} is outside 0..{len(column.names) - 1}")
        return codes
    encoded = _encoded(array, column)
    spelled = encoded.dictionary.to_pylist()
    known = {name: code for code, name in enumerate(column.names)}
    unknown = [name for name in spelled if name not in known]
    indices: NDArray[Any] = encoded.indices.to_numpy()
    if spelled == list(column.names) and indices.dtype == np.uint8:
        return indices
    codes = np.array([known.get(name, 255) for name in spelled], np.uint8)[indices]
    if unknown and (codes == 255).any():
        row = int((codes == 255).argmax())
        raise ValueError(f"row {row}: {array[row].as_py()!r} is none of {', '.join(column.names)}")
    return codes


def _texts(array: Any, column: Held) -> NDArray[Any]:
    pa = library()
    if not pa.types.is_dictionary(array.type):
        _check_text(array, column)
        beginning = array[:_SAMPLE]
        if 2 * len(beginning.unique()) > len(beginning):
            made: NDArray[Any] = array.to_numpy(zero_copy_only=False)
            return made.astype(object, copy=False)
    return _of_distinct(array, column, lambda distinct: distinct.to_pylist())


def _of_distinct(array: Any, column: Held, convert: Callable[[Any], list[Any]]) -> NDArray[Any]:
    """Rows of which each distinct one is made once."""
    encoded = _encoded(array, column)
    distinct = np.array([*convert(encoded.dictionary), None], object)
    indices = encoded.indices.fill_null(len(distinct) - 1) if encoded.null_count else encoded.indices
    made: NDArray[Any] = distinct[indices.to_numpy()]
    return made


def _encoded(array: Any, column: Held) -> Any:
    if library().types.is_dictionary(array.type):
        _check_text(array.dictionary, column)
        return array
    _check_text(array, column)
    return array.dictionary_encode()


def _check_text(array: Any, column: Held) -> None:
    types = library().types
    kind = array.type
    if not (types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind)):
        raise _refuse(array, column)


def _tuples(array: Any, column: Held) -> NDArray[Any]:
    pa = library()
    array = array.cast(type_of(column))
    if array.values.null_count and pa.compute.any(pa.compute.is_null(array.flatten())).as_py():
        raise ValueError("a list holds a null")
    return _sliced(array, array.values.to_pylist() if len(array) else [])


def _sliced(array: Any, values: list[Any]) -> NDArray[Any]:
    """The lists of an array as tuples; equal ones are one."""
    offsets = array.offsets.to_numpy().tolist()
    if not values:
        rows = np.fromiter(((),) * len(array), object, len(array))
    else:
        known: dict[Any, Any] = {}
        keys = (tuple(values[start:end]) for start, end in pairwise(offsets))
        rows = np.fromiter((known.setdefault(key, key) for key in keys), object, len(array))
    if array.null_count:
        rows[array.is_null().to_numpy(zero_copy_only=False)] = None
    return rows


def _maps(array: Any, column: Held) -> NDArray[Any]:
    """Maps, or what they become where there are none: lists of entries, or structures, whose nulls are missing keys."""
    pa = library()
    kind = array.type
    if pa.types.is_struct(kind):
        rows = [tuple((key, value) for key, value in row.items() if value is not None) for row in array.to_pylist()]
        if any(not isinstance(value, str) for row in set(rows) for _, value in row):
            raise _refuse(array, column)
    elif pa.types.is_map(kind):
        rows = [tuple(row) for row in array.cast(type_of(column)).to_pylist()]
    else:
        entries = pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())]))
        rows = [tuple((entry["key"], entry["value"]) for entry in row) for row in array.cast(entries).to_pylist()]
    known = {row: dict(row) for row in set(rows)}
    if any(None in (key, value) for row in known for key, value in row):
        raise ValueError("a map holds a null")
    return np.fromiter((known[row] for row in rows), object, len(rows))


def _first_null(array: Any) -> int:
    return int(array.is_null().to_numpy(zero_copy_only=False).argmax())


_FROM: Final[dict[str, Callable[[Any, Held], NDArray[Any]]]] = {
    "integers": _integers,
    "floats": _floats,
    "flags": _flags,
    "codes": _codes,
    "TEXT": _texts,
    "TEXTS": _tuples,
    "NUMBERS": _tuples,
    "MAP": _maps,
}
