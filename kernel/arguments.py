"""What a caller of the array functions gives, made what the kernels take: validation, conversion, the order of errors.

Knows shapes, dtypes and domains; neither a function's formula nor a backend. An error names the argument, the index and
the value. What needs a conversion is checked before it, argument by argument; the kernels check the rest.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ._limits import DOMAIN_TYPES, MAX_BYTES, MAX_SHADOW_MULTIPLIER, MAX_VCPUS, NO_ROW
from .model import MODELS, DomainType, OverheadModel, valid_model

Integers = npt.NDArray[np.int64]
Model = str | OverheadModel


class Argument(NamedTuple):
    """An array argument: the dtype the kernels take, the valid domain, the types of Python numbers that fit."""

    name: str
    dtype: np.dtype[Any]
    low: int
    high: int
    types: tuple[type, ...] = (int,)


INT64: Final = np.dtype(np.int64)
INT32: Final = np.dtype(np.int32)
UINT8: Final = np.dtype(np.uint8)
FLOAT64: Final = np.dtype(np.float64)

DOMAIN_TYPES_BY_NAME: Final = {kind.name.lower(): kind for kind in DomainType}
"""By the names that VM.domain_type has."""
_DOMAIN_TYPE = Argument("domain_type", UINT8, 0, DOMAIN_TYPES - 1, (int, DomainType))
_STATIC_MAX = Argument("static_max", INT64, 0, MAX_BYTES)
_TARGET = Argument("target", INT64, 0, MAX_BYTES)
_VCPUS_MAX = Argument("vcpus_max", INT32, 0, MAX_VCPUS)
_SHADOW_MULTIPLIER = Argument("shadow_multiplier", FLOAT64, 0, MAX_SHADOW_MULTIPLIER, (float, int))
_TOTAL = Argument("total", INT64, 0, MAX_BYTES)
_VIDEO = Argument("video", INT64, 0, MAX_BYTES)
AVAILABLE = Argument("available", INT64, -MAX_BYTES, MAX_BYTES)
_MEMORY = Argument("memory", INT64, 0, MAX_BYTES)
_OVERHEAD = Argument("overhead", INT64, 0, MAX_BYTES)

ARGUMENTS: Final = {
    "overhead": (_DOMAIN_TYPE, _STATIC_MAX, _VCPUS_MAX, _SHADOW_MULTIPLIER),
    "required_memory": (_DOMAIN_TYPE, _STATIC_MAX, _TARGET, _VCPUS_MAX, _SHADOW_MULTIPLIER),
    "maximise_memory": (_DOMAIN_TYPE, _VCPUS_MAX, _SHADOW_MULTIPLIER, _TOTAL),
    "build_memory": (_DOMAIN_TYPE, _STATIC_MAX, _TARGET, _VIDEO),
}
"""Of each element-wise function, in the order in which the kernels take them."""


NUMBERS: Final = frozenset((int, float, DomainType))
"""The types of Python numbers that a call for one VM may have; the call itself refuses a float for an integer."""


def of_residents(hosts: int) -> tuple[Argument, ...]:
    """The VMs' arguments of free_memory."""
    return (
        _MEMORY,
        _OVERHEAD,
        Argument("resident_on", INT32, NO_ROW, hosts - 1),
        Argument("scheduled_on", INT32, NO_ROW, hosts - 1),
    )


def checked_model(model: Model) -> OverheadModel:
    if isinstance(model, OverheadModel):
        return valid_model(model)
    found = MODELS.get(model)
    if found is None:
        raise ValueError(f"model: {model!r} is unknown; there is {', '.join(MODELS)}")
    return found


def out_of_domain(argument: Argument, array: npt.NDArray[Any]) -> tuple[int, ValueError] | None:
    """The flat index of the first element outside the argument's domain, and the error that says so."""
    bad = ~((array >= argument.low) & (array <= argument.high))
    if not np.any(bad):
        return None
    first = int(np.argmax(bad))
    index = tuple(int(i) for i in np.unravel_index(first, array.shape))
    where = f" at index {index[0] if len(index) == 1 else index}" if index else ""
    message = f"{argument.name}: {array.flat[first]}{where} is outside {argument.low}..{argument.high}"
    return first, ValueError(message)


def _convert(argument: Argument, given: Any) -> npt.NDArray[Any]:
    """Any array-like as a contiguous, native array of the argument's dtype; values are checked if they may not fit."""
    if type(given) in argument.types and argument.low <= given <= argument.high:
        return np.array(given, argument.dtype)
    array = np.asarray(given)
    if array.dtype.kind == "U" and argument is _DOMAIN_TYPE:
        array = given = _of_names(argument, array)
    if array.dtype != argument.dtype:
        if not isinstance(given, np.ndarray):
            if array.size == 0:
                return array.astype(argument.dtype)
            if array.dtype.kind == "f":  # NumPy's choice for a list of integers beyond 64 bits
                exact = np.asarray(given, dtype=object)
                array = exact if all(type(value) is int for value in exact.flat) else array
        integers = array.dtype.kind in "iu" or (array.dtype == object and all(type(v) is int for v in array.flat))
        if not integers and not (argument.dtype.kind == array.dtype.kind == "f"):
            wanted = "real numbers" if argument.dtype.kind == "f" else "integers"
            raise TypeError(f"{argument.name}: {wanted} are needed, not {array.dtype}")
        if error := out_of_domain(argument, array):
            raise error[1]
    return np.require(array, argument.dtype, ["C_CONTIGUOUS", "ALIGNED"]).reshape(array.shape)


def _of_names(argument: Argument, names: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Domain types by the names that VM.domain_type has."""
    values = [DOMAIN_TYPES_BY_NAME.get(name) for name in names.flat]
    if None in values:
        first = values.index(None)
        where = f" at index {first}" if names.ndim else ""
        raise ValueError(
            f"{argument.name}: {str(names.flat[first])!r}{where} is none of {', '.join(DOMAIN_TYPES_BY_NAME)}"
        )
    return np.array(values, argument.dtype).reshape(names.shape)


def prepare(
    arguments: tuple[Argument, ...], given: tuple[npt.ArrayLike, ...]
) -> tuple[tuple[int, ...], list[npt.NDArray[Any]]]:
    """The broadcast shape of the arguments, and each of them as a contiguous array of that shape."""
    arrays: list[npt.NDArray[Any]] = []
    shape, is_of_one_shape = None, True
    for number, value in enumerate(given):  # each step weighs in a call for one VM: no zip, no set, first the one flag
        if (
            isinstance(value, np.ndarray)
            and value.dtype is arguments[number].dtype
            and ((flags := value.flags).carray or (flags.c_contiguous and flags.aligned))
        ):
            array = value
        else:
            array = _convert(arguments[number], value)
        arrays.append(array)
        if shape is None:
            shape = array.shape
        elif array.shape != shape:
            is_of_one_shape = False
    if shape is not None and is_of_one_shape:
        return shape, arrays
    shapes = {array.shape for array in arrays} - {()}
    if len(shapes) == 1:
        (shape,) = shapes
    else:
        try:
            shape = np.broadcast_shapes(*shapes)
        except ValueError:
            names = ", ".join(f"{a.name} {array.shape}" for a, array in zip(arguments, arrays, strict=True))
            raise ValueError(f"shapes do not broadcast: {names}") from None
    return shape, [array if array.shape == shape else _spread(array, shape) for array in arrays]


def empties(shape: tuple[int, ...], count: int) -> list[Integers]:
    """Room for results; the first apart, since a comprehension would take longer than the array."""
    results: list[Integers] = [np.empty(shape, INT64)]
    if count > 1:
        results += [np.empty(shape, INT64) for _ in range(count - 1)]
    return results


def _spread(array: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    spread = np.empty(shape, array.dtype)
    spread[...] = array
    return spread


def first_error(
    arguments: tuple[Argument, ...], given: tuple[npt.ArrayLike, ...], arrays: list[npt.NDArray[Any]]
) -> ValueError:
    """Of all elements outside the domain the one with the smallest index; of several arguments there, the first."""
    alone = ((np.ndim(value) == 0 and not isinstance(value, str)) for value in given)
    own = (
        np.asarray(value) if is_alone else array for value, array, is_alone in zip(given, arrays, alone, strict=True)
    )
    errors = (out_of_domain(argument, array) for argument, array in zip(arguments, own, strict=True))
    return min((error for error in errors if error), key=lambda error: error[0])[1]


def check_out(
    out: Sequence[Integers], outputs: int, shape: tuple[int, ...], inputs: Sequence[npt.NDArray[Any]]
) -> bool:
    """Whether a kernel may write into ``out`` itself; raises if the results do not belong there at all."""
    if len(out) != outputs:
        raise ValueError(f"out: {len(out)} arrays for {outputs} results")
    for array in out:
        if not isinstance(array, np.ndarray) or array.dtype.newbyteorder("=") != INT64:
            raise TypeError("out: an int64 array is needed")
        if array.shape != shape:
            raise ValueError(f"out: shape {array.shape} is not that of the result, {shape}")
        if not array.flags.writeable:
            raise ValueError("out: the array is read-only")
    for number, array in enumerate(out):
        if any(np.may_share_memory(array, other) for other in out[:number]):
            raise ValueError("out: two of the arrays share memory")
    return all(
        array.flags.carray and array.dtype.isnative and not any(np.may_share_memory(array, other) for other in inputs)
        for array in out
    )
