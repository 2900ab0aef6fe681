"""The C backend: hands contiguous arrays to libxenmem (csrc/), compiled into the extension module _ffi.

The same functions and signatures as _numba.py; only this file imports _ffi. Calls release the GIL.
"""

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from ._ffi import ffi, lib
from .model import OverheadModel

Array = npt.NDArray[Any]

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

    def call(model: OverheadModel, *columns: Array) -> bool:
        pointers = map(ffi.from_buffer, types, columns)
        return function(_struct(model), columns[0].size, *pointers, ffi.new("size_t *")) == 0

    return call


overhead = _elementwise(lib.xenmem_overhead)
required_memory = _elementwise(lib.xenmem_required_memory)
maximise_memory = _elementwise(lib.xenmem_maximise_memory)
build_memory = _elementwise(lib.xenmem_build_memory)


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
