"""What runs the searches of compiled/: C, translated from these files when xenmem was built, or else numba.

The extension module says from which texts it was made; with other texts, as while they are worked on, numba compiles
them. Both give equal answers. XENMEM_SEARCHES=numba chooses numba.
"""

import hashlib
import os
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

COMPILED = Path(__file__).with_name("compiled")


@cache
def _c() -> Any:
    """The extension module, if it is here, is wanted, and is of these texts."""
    if os.environ.get("XENMEM_SEARCHES") == "numba":
        return None
    try:
        _c = import_module("xenmem.planning.search.compiled._c")
        texts = b"".join(path.read_bytes() for path in sorted(COMPILED.glob("*.py")))
    except (ImportError, OSError):
        return None
    made_of = _c.ffi.string(_c.lib.xm_digest()).decode()
    return _c if made_of == hashlib.sha256(texts).hexdigest() else None


def engine() -> str:
    """What runs the searches here: "c" or "numba"."""
    return "c" if _c() else "numba"


if TYPE_CHECKING:
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")

    def jit(function: Callable[P, R]) -> Callable[P, R]: ...

else:

    def jit(function):
        """A function of compiled/, by the engine that is here."""
        if (module := _c()) is not None:
            name = f"search_{function.__module__.rpartition('.')[2]}_{function.__name__}"
            return _Call(function, module, getattr(module.lib, name, None))
        from xenmem.kernel._jit import jit as compile_it  # numba takes a second to be imported

        return compile_it(function)


class _Call:
    """A search in C, called with arrays as numba's would be.

    An array of another type, or whose elements do not lie one behind the other, is copied there and back.
    """

    def __init__(self, py_func: Callable[..., Any], module: Any, function: Any) -> None:
        self.py_func, self._function, self._ffi = py_func, function, module.ffi
        self.__doc__, self.__name__, self.__module__ = py_func.__doc__, py_func.__name__, py_func.__module__
        if function is None:
            return  # for other searches only
        signature = module.ffi.typeof(function)
        self._members = [name for name, _ in signature.result.fields] if signature.result.kind == "struct" else []
        self._plan: list[tuple[Any, np.dtype[Any] | None, int]] = []
        for kind in signature.args:
            if kind.kind == "pointer":
                self._plan.append((module.ffi.typeof(f"{kind.item.cname}[]"), _DTYPES[kind.item.cname], 0))
            elif kind.cname == "size_t":
                pointer, dtype, extents = self._plan[-1]
                self._plan[-1] = pointer, dtype, extents + 1
            else:
                self._plan.append((_SCALARS[kind.cname], None, 0))

    def __call__(self, *given: Any) -> Any:
        arguments: list[Any] = []
        copies: list[tuple[npt.NDArray[Any], npt.NDArray[Any]]] = []
        from_buffer = self._ffi.from_buffer
        for value, (kind, dtype, extents) in zip(_flat(given), self._plan, strict=True):
            if dtype is None:
                arguments.append(kind(value))
                continue
            array = value
            if array.dtype is not dtype or not array.flags.c_contiguous:
                array = np.ascontiguousarray(value, dtype)
                copies.append((value, array))
            if array.ndim != extents:
                raise TypeError(f"{self.__name__}: an array of {extents} dimensions is needed, not {array.ndim}")
            arguments.append(from_buffer(kind, array))
            arguments += array.shape
        result = self._function(*arguments)
        if self._ffi.errno:
            raise MemoryError
        for original, array in copies:
            if array is not original and original.flags.writeable:
                original[...] = array
        return tuple(getattr(result, member) for member in self._members) if self._members else result


_SCALARS: dict[str, Callable[[Any], Any]] = {"int64_t": int, "double": float, "_Bool": bool}
_DTYPES = {
    name: np.dtype(kind)
    for name, kind in {
        "int32_t": np.int32,
        "int64_t": np.int64,
        "uint64_t": np.uint64,
        "double": np.float64,
        "_Bool": np.bool_,
    }.items()
}


def _flat(given: tuple[Any, ...]) -> list[Any]:
    """The arguments, with the fields of each NamedTuple in its place."""
    flat: list[Any] = []
    for value in given:
        if isinstance(value, tuple):
            flat += value
        else:
            flat.append(value)
    return flat
