"""The array API: the memory arithmetic of xapi over arrays of VMs, by the C backend or by numba, equal bit for bit.

Amounts are bytes in int64. Arguments broadcast like NumPy's; any integer dtype, byte order, stride and layout that
holds the values is accepted, and nothing is truncated silently. The valid domain is checked: amounts 0..2**50 bytes,
``vcpus_max`` 0..65535, finite shadow multipliers 0..1024. This package knows arrays only and imports nothing of xenmem.
"""

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ._limits import DOMAIN_TYPES, MAX_BYTES, MAX_SHADOW_MULTIPLIER, MAX_VCPUS, NO_ROW
from ._threads import in_parts, set_threads, threads
from .model import (
    APPROXIMATE_VCPUS,
    DEFAULT_MODEL,
    MODELS,
    PRODUCTS,
    DomainType,
    OverheadModel,
    model_for,
    model_name_for,
    newest_build,
    valid_model,
)

__all__ = [
    "DEFAULT_MODEL",
    "MAX_BYTES",
    "MAX_SHADOW_MULTIPLIER",
    "MAX_VCPUS",
    "MODELS",
    "PRODUCTS",
    "DomainType",
    "OverheadModel",
    "backends",
    "build_memory",
    "free_memory",
    "maximise_memory",
    "model_for",
    "model_name_for",
    "newest_build",
    "overhead",
    "required_memory",
    "set_simd",
    "set_threads",
    "simd",
    "simd_levels",
    "threads",
]

Integers = npt.NDArray[np.int64]
Model = str | OverheadModel


class _Argument(NamedTuple):
    """An array argument: the dtype the kernels take and the valid domain."""

    name: str
    dtype: np.dtype[Any]
    low: int
    high: int


_INT64: Final = np.dtype(np.int64)
_INT32: Final = np.dtype(np.int32)

_DOMAIN_TYPE = _Argument("domain_type", np.dtype(np.uint8), 0, DOMAIN_TYPES - 1)
_STATIC_MAX = _Argument("static_max", _INT64, 0, MAX_BYTES)
_TARGET = _Argument("target", _INT64, 0, MAX_BYTES)
_VCPUS_MAX = _Argument("vcpus_max", _INT32, 0, MAX_VCPUS)
_SHADOW_MULTIPLIER = _Argument("shadow_multiplier", np.dtype(np.float64), 0, MAX_SHADOW_MULTIPLIER)
_TOTAL = _Argument("total", _INT64, 0, MAX_BYTES)
_VIDEO = _Argument("video", _INT64, 0, MAX_BYTES)
_AVAILABLE = _Argument("available", _INT64, -MAX_BYTES, MAX_BYTES)
_MEMORY = _Argument("memory", _INT64, 0, MAX_BYTES)
_OVERHEAD = _Argument("overhead", _INT64, 0, MAX_BYTES)

_OVERHEAD_ARGUMENTS = (_DOMAIN_TYPE, _STATIC_MAX, _VCPUS_MAX, _SHADOW_MULTIPLIER)
_REQUIRED_ARGUMENTS = (_DOMAIN_TYPE, _STATIC_MAX, _TARGET, _VCPUS_MAX, _SHADOW_MULTIPLIER)
_MAXIMISE_ARGUMENTS = (_DOMAIN_TYPE, _VCPUS_MAX, _SHADOW_MULTIPLIER, _TOTAL)
_BUILD_ARGUMENTS = (_DOMAIN_TYPE, _STATIC_MAX, _TARGET, _VIDEO)


# ------------------------------------------------------------------------------------------------------------ backends


@cache
def backends() -> tuple[str, ...]:
    """The backends of this installation, preferred first: "c" where a compiler was there, and "numba"."""
    return tuple(name for name, module in (("c", "_ffi"), ("numba", "_numba")) if find_spec(f".{module}", __name__))


@cache
def _backend(name: str | None) -> Any:
    chosen = backends()[0] if name is None else name
    if chosen not in backends():
        raise ValueError(f"backend: {chosen!r} is not here; there is {', '.join(backends())}")
    return import_module(f"._{chosen}", __name__)


@cache
def _kernel(backend: str | None, function: str) -> Callable[..., bool]:
    kernel: Callable[..., bool] = getattr(_backend(backend), function)
    return kernel


def simd_levels() -> tuple[str, ...]:
    """The SIMD levels of this machine that the C backend can use, narrowest first; empty without the C backend."""
    if "c" not in backends():
        return ()
    c = _backend("c")
    return tuple(c.SIMD_LEVELS[: c.simd_supported() + 1])


def simd() -> str | None:
    """The SIMD level in force ("scalar", "avx2", "avx512"); None without the C backend."""
    if "c" not in backends():
        return None
    c = _backend("c")
    return str(c.SIMD_LEVELS[c.simd_in_force()])


def set_simd(level: str) -> None:
    """Make the C backend use this SIMD level from the next call on, in all threads.

    Raises
    ------
    ValueError : the level is unknown, or this machine or installation does not have it
    """
    if level not in simd_levels():
        raise ValueError(f"level: {level!r} is not here; there is {', '.join(simd_levels()) or 'no C backend'}")
    c = _backend("c")
    c.set_simd(c.SIMD_LEVELS.index(level))


# ------------------------------------------------------------------------------------------------------------- checks


def _model(model: Model) -> OverheadModel:
    if isinstance(model, OverheadModel):
        return valid_model(model)
    if model not in MODELS:
        raise ValueError(f"model: {model!r} is unknown; there is {', '.join(MODELS)}")
    return MODELS[model]


def _out_of_domain(argument: _Argument, array: npt.NDArray[Any]) -> tuple[int, ValueError] | None:
    """The flat index of the first element outside the argument's domain, and the error that says so."""
    bad = ~((array >= argument.low) & (array <= argument.high))
    if not np.any(bad):
        return None
    first = int(np.argmax(bad))
    index = tuple(int(i) for i in np.unravel_index(first, array.shape))
    where = f" at index {index[0] if len(index) == 1 else index}" if index else ""
    message = f"{argument.name}: {array.flat[first]}{where} is outside {argument.low}..{argument.high}"
    return first, ValueError(message)


def _convert(argument: _Argument, given: Any) -> npt.NDArray[Any]:
    """Any array-like as a contiguous, native array of the argument's dtype; values are checked if they may not fit."""
    plain = type(given) is int or (type(given) is float and argument.dtype.kind == "f")
    if plain and argument.low <= given <= argument.high:
        return np.array(given, argument.dtype)
    array = np.asarray(given)
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
        if error := _out_of_domain(argument, array):
            raise error[1]
    return np.require(array, argument.dtype, ["C_CONTIGUOUS", "ALIGNED"]).reshape(array.shape)


def _prepare(
    arguments: tuple[_Argument, ...], given: tuple[npt.ArrayLike, ...]
) -> tuple[tuple[int, ...], list[npt.NDArray[Any]]]:
    """The broadcast shape of the arguments, and each of them as a contiguous array of that shape."""
    arrays: list[npt.NDArray[Any]] = []
    shapes = set()
    for argument, value in zip(arguments, given, strict=True):
        if (
            isinstance(value, np.ndarray)
            and value.dtype is argument.dtype
            and (flags := value.flags).c_contiguous
            and flags.aligned
        ):
            array = value
        else:
            array = _convert(argument, value)
        arrays.append(array)
        shapes.add(array.shape)
    if len(shapes) == 1:
        return arrays[0].shape, arrays
    shapes.discard(())
    if len(shapes) == 1:
        (shape,) = shapes
    else:
        try:
            shape = np.broadcast_shapes(*shapes)
        except ValueError:
            names = ", ".join(f"{a.name} {array.shape}" for a, array in zip(arguments, arrays, strict=True))
            raise ValueError(f"shapes do not broadcast: {names}") from None
    return shape, [array if array.shape == shape else _spread(array, shape) for array in arrays]


def _spread(array: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    spread = np.empty(shape, array.dtype)
    spread[...] = array
    return spread


def _evaluate(
    function: str,
    arguments: tuple[_Argument, ...],
    given: tuple[npt.ArrayLike, ...],
    outputs: int,
    model: Model,
    backend: str | None,
    out: Sequence[Integers] | None,
) -> Sequence[Integers]:
    constants = _model(model)
    kernel = _kernel(backend, function)
    shape, arrays = _prepare(arguments, given)
    in_place = out is not None and _check_out(out, outputs, shape, arrays)
    results = out if out is not None and in_place else [np.empty(shape, np.int64) for _ in range(outputs)]
    columns = [*arrays, *results] if len(shape) == 1 else [array.reshape(-1) for array in (*arrays, *results)]

    if not in_parts(kernel, columns, constants):
        raise _first_error(arguments, given, arrays)
    if out is None or in_place:
        return results
    for target, result in zip(out, results, strict=True):
        np.copyto(target, result)
    return out


def _first_error(
    arguments: tuple[_Argument, ...], given: tuple[npt.ArrayLike, ...], arrays: list[npt.NDArray[Any]]
) -> ValueError:
    """Of all elements outside the domain the one with the smallest index; of several arguments there, the first."""
    own = (np.asarray(value) if np.ndim(value) == 0 else array for value, array in zip(given, arrays, strict=True))
    errors = (_out_of_domain(argument, array) for argument, array in zip(arguments, own, strict=True))
    return min((error for error in errors if error), key=lambda error: error[0])[1]


def _check_out(
    out: Sequence[Integers], outputs: int, shape: tuple[int, ...], inputs: Sequence[npt.NDArray[Any]]
) -> bool:
    """Whether a kernel may write into ``out`` itself; raises if the results do not belong there at all."""
    if len(out) != outputs:
        raise ValueError(f"out: {len(out)} arrays for {outputs} results")
    for array in out:
        if not isinstance(array, np.ndarray) or array.dtype.newbyteorder("=") != _INT64:
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


# ---------------------------------------------------------------------------------------------------------- functions


def overhead(
    domain_type: npt.ArrayLike,
    static_max: npt.ArrayLike,
    vcpus_max: npt.ArrayLike,
    shadow_multiplier: npt.ArrayLike,
    *,
    model: Model = DEFAULT_MODEL,
    backend: str | None = None,
    out: Integers | None = None,
) -> Integers:
    """Memory that Xen takes for each VM on top of the guest's own RAM: what VM.compute_memory_overhead answers.

    Parameters
    ----------
    domain_type : integers
        DomainType values.
    static_max : integers
        VM.memory_static_max in bytes, 0..2**50.
    vcpus_max : integers
        VM.VCPUs_max, 0..65535.
    shadow_multiplier : real numbers
        VM.HVM_shadow_multiplier, 0..1024.
    model : str or OverheadModel
        Constants of a xapi version: a key of MODELS or a model itself.
    backend : str or None
        "c" or "numba"; the preferred one if None.
    out : int64 array or None
        Where to put the result, of the result's shape; it may share memory with an argument.

    Returns
    -------
    int64 array
        Bytes, whole MiB, of the shape that the arguments broadcast to.

    Raises
    ------
    ValueError
        A value is out of range (names the argument, the first index and the value), shapes do not broadcast, or the
        model or backend does not exist.
    TypeError
        An argument does not hold integers, or real numbers where those are needed.

    Notes
    -----
    Source: xapi-project/xen-api, ocaml/xapi-idl/memory/memory.ml, ``overhead_mib``; ocaml/xapi/memory_check.ml,
    ``vm_compute_memory_overhead``.
    """
    given = (domain_type, static_max, vcpus_max, shadow_multiplier)
    outs = None if out is None else (out,)
    return _evaluate("overhead", _OVERHEAD_ARGUMENTS, given, 1, model, backend, outs)[0]


def required_memory(
    domain_type: npt.ArrayLike,
    static_max: npt.ArrayLike,
    target: npt.ArrayLike,
    vcpus_max: npt.ArrayLike,
    shadow_multiplier: npt.ArrayLike,
    *,
    model: Model = DEFAULT_MODEL,
    backend: str | None = None,
    out: tuple[Integers, Integers] | None = None,
) -> tuple[Integers, Integers]:
    """Memory needed to start, resume or receive each VM that is to be given ``target`` bytes.

    Parameters
    ----------
    domain_type : integers
        DomainType values; for PV the shadow multiplier counts as 1.0, as in xapi.
    static_max : integers
        VM.memory_static_max in bytes, 0..2**50.
    target : integers
        Bytes the guest is to be given, 0..2**50: the field that the accounting policy names.
    vcpus_max : integers
        VM.VCPUs_max, 0..65535.
    shadow_multiplier : real numbers
        VM.HVM_shadow_multiplier, 0..1024.
    model : str or OverheadModel
        Constants of a xapi version: a key of MODELS or a model itself.
    backend : str or None
        "c" or "numba"; the preferred one if None.
    out : two int64 arrays or None
        Where to put normal and shadow, as for ``overhead``.

    Returns
    -------
    normal, shadow : int64 arrays
        Bytes, whole MiB; the requirement is their sum.

    Raises
    ------
    ValueError, TypeError
        As ``overhead``.

    Notes
    -----
    Source: xapi-project/xen-api, ocaml/xapi/memory_check.ml, ``vm_compute_required_memory``.
    """
    given = (domain_type, static_max, target, vcpus_max, shadow_multiplier)
    normal, shadow = _evaluate("required_memory", _REQUIRED_ARGUMENTS, given, 2, model, backend, out)
    return normal, shadow


def maximise_memory(
    domain_type: npt.ArrayLike,
    vcpus_max: npt.ArrayLike,
    shadow_multiplier: npt.ArrayLike,
    total: npt.ArrayLike,
    *,
    approximate: bool = False,
    model: Model = DEFAULT_MODEL,
    backend: str | None = None,
    out: Integers | None = None,
) -> Integers:
    """The largest static_max whose start requirement under policy static_max is at most ``total``.

    Parameters
    ----------
    domain_type : integers
        DomainType values.
    vcpus_max : integers
        VM.VCPUs_max, 0..65535.
    shadow_multiplier : real numbers
        VM.HVM_shadow_multiplier, 0..1024.
    total : integers
        Bytes to be filled, 0..2**50.
    approximate : bool
        Take 64 vCPUs for every VM, as the message's parameter of that name does.
    model : str or OverheadModel
        Constants of a xapi version: a key of MODELS or a model itself.
    backend : str or None
        "c" or "numba"; the preferred one if None.
    out : int64 array or None
        Where to put the result, as for ``overhead``.

    Returns
    -------
    int64 array
        Bytes, whole MiB, at most ``total``; 0 where nothing fits, which does not say that 0 itself fits.

    Raises
    ------
    ValueError, TypeError
        As ``overhead``.

    Notes
    -----
    A closed form instead of the reference's bisection, with the same answers.
    Source: xapi-project/xen-api, ocaml/xapi/xapi_vm.ml, ``maximise_memory``; ocaml/xapi/helpers.ml, ``bisect``.
    """
    vcpus = np.broadcast_to(np.int32(APPROXIMATE_VCPUS), np.shape(vcpus_max)) if approximate else vcpus_max
    given = (domain_type, vcpus, shadow_multiplier, total)
    outs = None if out is None else (out,)
    return _evaluate("maximise_memory", _MAXIMISE_ARGUMENTS, given, 1, model, backend, outs)[0]


def build_memory(
    domain_type: npt.ArrayLike,
    static_max: npt.ArrayLike,
    target: npt.ArrayLike,
    video: npt.ArrayLike,
    *,
    model: Model = DEFAULT_MODEL,
    backend: str | None = None,
    out: tuple[Integers, Integers, Integers, Integers] | None = None,
) -> tuple[Integers, Integers, Integers, Integers]:
    """The quantities with which a domain is built.

    Parameters
    ----------
    domain_type : integers
        DomainType values.
    static_max, target : integers
        Bytes, 0..2**50; rounded up to MiB.
    video : integers
        Bytes of video RAM, 0..2**50; rounded up to MiB.
    model : str or OverheadModel
        Constants of a xapi version: a key of MODELS or a model itself.
    backend : str or None
        "c" or "numba"; the preferred one if None.
    out : four int64 arrays or None
        Where to put the results, as for ``overhead``.

    Returns
    -------
    build_max, build_start, xen_max : int64 arrays
        Bytes; the first two are negative where the video RAM exceeds the guest's memory.
    claim_pages : int64 array
        Pages of 4096 bytes that the builder claims (xapi 26.3 and later).

    Raises
    ------
    ValueError, TypeError
        As ``overhead``.

    Notes
    -----
    Source: xapi-project/xen-api, ocaml/xapi-idl/memory/memory.ml, ``full_config``.
    """
    given = (domain_type, static_max, target, video)
    results = _evaluate("build_memory", _BUILD_ARGUMENTS, given, 4, model, backend, out)
    build_max, build_start, xen_max, claim_pages = results
    return build_max, build_start, xen_max, claim_pages


def free_memory(
    available: npt.ArrayLike,
    memory: npt.ArrayLike,
    overhead: npt.ArrayLike,
    resident_on: npt.ArrayLike,
    scheduled_on: npt.ArrayLike,
    *,
    backend: str | None = None,
    out: Integers | None = None,
) -> Integers:
    """Free memory of each host: what its VMs leave of what is available, at least 0.

    Parameters
    ----------
    available : integers, shape (hosts,)
        host_metrics.memory_total - host.memory_overhead in bytes, -2**50..2**50.
    memory : integers, shape (vms,) or broadcastable
        Bytes that each VM may use, 0..2**50: the field that the accounting policy names.
    overhead : integers, shape (vms,) or broadcastable
        VM.memory_overhead as stored, in bytes, 0..2**50.
    resident_on, scheduled_on : integers, shape (vms,) or broadcastable
        Row of the host that a VM is resident on, or scheduled to be; -1 for none. A VM counts once for each.
    backend : str or None
        "c" or "numba"; the preferred one if None.
    out : int64 array or None
        Where to put the result, as for ``overhead``.

    Returns
    -------
    int64 array, shape (hosts,)
        Bytes, exact for any number of VMs.

    Raises
    ------
    ValueError, TypeError
        As ``overhead``; also ValueError for a row that is no host's.

    Notes
    -----
    Source: xapi-project/xen-api, ocaml/xapi/memory_check.ml, ``host_compute_free_memory_with_policy``.
    """
    shape, (limit,) = _prepare((_AVAILABLE,), (available,))
    if len(shape) != 1:
        raise ValueError(f"available: one dimension is needed, not shape {shape}")
    if error := _out_of_domain(_AVAILABLE, limit):
        raise error[1]
    hosts = limit.size
    rows = (_Argument("resident_on", _INT32, NO_ROW, hosts - 1), _Argument("scheduled_on", _INT32, NO_ROW, hosts - 1))
    arguments = (_MEMORY, _OVERHEAD, *rows)
    given = (memory, overhead, resident_on, scheduled_on)
    shape, columns = _prepare(arguments, given)
    if len(shape) != 1:
        raise ValueError(f"the VMs' arguments: one dimension is needed, not shape {shape}")
    used_memory = _kernel(backend, "used_memory")
    used_by_part: list[Integers] = []

    def add_up(*part: npt.NDArray[Any]) -> bool:
        used = np.zeros(hosts, np.int64)
        used_by_part.append(used)
        return used_memory(*part, used)

    if not in_parts(add_up, columns):
        raise _first_error(arguments, given, columns)
    free: Integers = np.maximum(limit - np.sum(used_by_part, axis=0), 0)
    if out is None:
        return free
    _check_out((out,), 1, free.shape, ())
    np.copyto(out, free)
    return out
