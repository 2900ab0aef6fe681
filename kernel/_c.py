"""The C backend: hands contiguous arrays to libxenmem (csrc/), compiled into the extension module _ffi.

The same functions and signatures as _numba.py, and more for one VM; only this file imports _ffi. Calls release the GIL.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ._ffi import ffi, lib
from .arguments import INT64
from .model import OverheadModel

Array = npt.NDArray[Any]
OfOne = Callable[[OverheadModel, tuple[Any, ...]], list[Array] | None]

_STRUCTS: dict[int, tuple[OverheadModel, object]] = {}
"""By identity of the model, which the entry keeps alive: hashing the constants would take longer than a small call."""


_FIELDS = [name for name, _ in ffi.typeof("xenmem_model").fields]
"""What the library computes with; a model has more, which callers do."""


def _struct(model: OverheadModel) -> object:
    entry = _STRUCTS.get(id(model))
    if entry is None:
        if len(_STRUCTS) >= 64:
            _STRUCTS.clear()
        entry = _STRUCTS[id(model)] = (
            model,
            ffi.new("xenmem_model *", {name: getattr(model, name) for name in _FIELDS}),
        )
    return entry[1]


def _elementwise(function: Callable[..., int]) -> Callable[..., bool]:
    """A call of ``(model, n, columns..., bad)``; the header's declaration tells the columns' types."""
    types = ffi.typeof(function).args[2:-1]
    from_buffer = ffi.from_buffer

    def call(model: OverheadModel, *columns: Array) -> bool:
        return function(_struct(model), len(columns[0]), *map(from_buffer, types, columns), [0]) == 0

    return call


def _of_one(function: Callable[..., Any]) -> OfOne:
    """A call for one VM given as Python numbers, which takes less time than making arrays."""
    returned = ffi.typeof(function).result
    members = [name for name, _ in returned.fields] if returned.kind == "struct" else []

    def call(model: OverheadModel, given: tuple[Any, ...]) -> list[Array] | None:
        try:
            result = function(_struct(model), *given)
        except (OverflowError, TypeError):  # not of the argument's C type
            return None
        if members:
            values = [getattr(result, name) for name in members]
            return None if values[0] == _NOTHING else [_array(value, INT64) for value in values]
        return None if result == _NOTHING else [_array(result, INT64)]

    return call


_array = np.array
_NOTHING: Final = -(1 << 63)
"""A number was outside the domain."""

overhead = _elementwise(lib.xenmem_overhead)
required_memory = _elementwise(lib.xenmem_required_memory)
maximise_memory = _elementwise(lib.xenmem_maximise_memory)
build_memory = _elementwise(lib.xenmem_build_memory)

OF_ONE: Final[dict[str, OfOne]] = {
    "overhead": _of_one(lib.overhead_of_one),
    "required_memory": _of_one(lib.required_memory_of_one),
    "maximise_memory": _of_one(lib.maximise_memory_of_one),
    "build_memory": _of_one(lib.build_memory_of_one),
}
"""By function: the results as 0-d arrays, or None where a number is outside the domain."""


def used_memory(memory: Array, overhead: Array, resident_on: Array, scheduled_on: Array, used: Array) -> bool:
    columns = map(ffi.from_buffer, _USED_MEMORY_TYPES[1:5], (memory, overhead, resident_on, scheduled_on))
    out = ffi.from_buffer(_USED_MEMORY_TYPES[6], used)
    return bool(lib.xenmem_used_memory(memory.size, *columns, used.size, out, ffi.new("size_t *")) == 0)


_USED_MEMORY_TYPES = ffi.typeof(lib.xenmem_used_memory).args

SIMD_LEVELS = ("scalar", "avx2", "avx512")
"""By the values of the enum xenmem_simd."""


def simd_supported() -> int:
    return int(lib.xenmem_simd_supported())


def simd_in_force() -> int:
    return int(lib.xenmem_simd_in_force())


def set_simd(level: int) -> None:
    lib.xenmem_set_simd(level)
