"""The C backend: hands contiguous arrays to libxenmem (csrc/), compiled into the extension module _ffi.

The same functions and signatures as _numba.py; only this file imports _ffi. Calls release the GIL.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ._ffi import ffi, lib
from .model import OverheadModel

Array = npt.NDArray[Any]

_CTYPES = {
    np.dtype(np.uint8): ffi.typeof("uint8_t[]"),
    np.dtype(np.int32): ffi.typeof("int32_t[]"),
    np.dtype(np.int64): ffi.typeof("int64_t[]"),
    np.dtype(np.float64): ffi.typeof("double[]"),
}


_STRUCTS: dict[int, tuple[OverheadModel, object]] = {}
"""By identity of the model, which the entry keeps alive: hashing the constants would take longer than a small call."""


def _struct(model: OverheadModel) -> object:
    entry = _STRUCTS.get(id(model))
    if entry is None:
        if len(_STRUCTS) >= 64:
            _STRUCTS.clear()
        entry = _STRUCTS[id(model)] = (model, ffi.new("xenmem_model *", model._asdict()))
    return entry[1]


def _pointer(array: Array) -> object:
    return ffi.from_buffer(_CTYPES[array.dtype], array)


def _elementwise(function: Callable[..., int]) -> Callable[..., bool]:
    def call(model: OverheadModel, *arrays: Array) -> bool:
        bad = ffi.new("size_t *")
        return function(_struct(model), arrays[0].size, *map(_pointer, arrays), bad) == 0

    return call


overhead = _elementwise(lib.xenmem_overhead)
required_memory = _elementwise(lib.xenmem_required_memory)
maximise_memory = _elementwise(lib.xenmem_maximise_memory)
build_memory = _elementwise(lib.xenmem_build_memory)


def used_memory(memory: Array, overhead: Array, resident_on: Array, scheduled_on: Array, used: Array) -> bool:
    bad = ffi.new("size_t *")
    arrays = map(_pointer, (memory, overhead, resident_on, scheduled_on))
    return bool(lib.xenmem_used_memory(memory.size, *arrays, used.size, _pointer(used), bad) == 0)


SIMD_LEVELS = ("scalar", "avx2", "avx512")
"""By the values of the enum xenmem_simd."""


def simd_supported() -> int:
    return int(lib.xenmem_simd_supported())


def simd_in_force() -> int:
    return int(lib.xenmem_simd_in_force())


def set_simd(level: int) -> None:
    lib.xenmem_set_simd(level)
