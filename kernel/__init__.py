"""The array API: the memory arithmetic of xapi over arrays of VMs, by the C backend or by numba, equal bit for bit.

Amounts are bytes in int64. Arguments broadcast like NumPy's; any integer dtype, byte order, stride and layout that
holds the values is accepted, and nothing is truncated silently. The valid domain is checked: amounts 0..2**50 bytes,
``vcpus_max`` 0..65535, finite shadow multipliers 0..1024. This package knows arrays only and imports nothing of xenmem.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ._backends import backends, function_of, function_of_one, set_simd, simd, simd_levels
from ._limits import MAX_BYTES, MAX_SHADOW_MULTIPLIER, MAX_VCPUS
from ._threads import in_parts, set_threads, threads
from .arguments import (
    ARGUMENTS,
    AVAILABLE,
    DOMAIN_TYPES_BY_NAME,
    NUMBERS,
    Integers,
    Model,
    check_out,
    checked_model,
    empties,
    first_error,
    of_residents,
    out_of_domain,
    prepare,
)
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


def _evaluate(
    function: str,
    given: tuple[Any, ...],
    outputs: int,
    model: Model,
    backend: str | None,
    out: Sequence[Integers] | None,
) -> Sequence[Integers]:
    constants = checked_model(model)
    if isinstance(given[0], str) and (kind := DOMAIN_TYPES_BY_NAME.get(given[0])) is not None:
        given = (kind, *given[1:])
    # the look at the first alone, since arrays should not pay for numbers
    if out is None and isinstance(given[0], int) and NUMBERS.issuperset(map(type, given)):
        of_one = function_of_one(backend, function)
        if of_one and (ones := of_one(constants, given)):
            return ones
    compute, arguments = function_of(backend, function), ARGUMENTS[function]
    shape, arrays = prepare(arguments, given)
    in_place = out is not None and check_out(out, outputs, shape, arrays)
    results = out if out is not None and in_place else empties(shape, outputs)
    columns = [*arrays, *results] if len(shape) == 1 else [array.reshape(-1) for array in (*arrays, *results)]

    if not in_parts(compute, columns, constants):
        raise first_error(arguments, given, arrays)
    if out is None or in_place:
        return results
    for target, result in zip(out, results, strict=True):
        np.copyto(target, result)
    return out


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
    domain_type : integers or texts
        DomainType values, or the names that VM.domain_type has, such as "hvm".
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
    return _evaluate("overhead", given, 1, model, backend, outs)[0]


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
    static_max :
        As for ``overhead``.
    target : integers
        Bytes the guest is to be given, 0..2**50: the field that the accounting policy names.
    vcpus_max, shadow_multiplier, model, backend :
        As for ``overhead``.
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
    normal, shadow = _evaluate("required_memory", given, 2, model, backend, out)
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
    domain_type, vcpus_max, shadow_multiplier :
        As for ``overhead``.
    total : integers
        Bytes to be filled, 0..2**50.
    approximate : bool
        Take 64 vCPUs for every VM, as the message's parameter of that name does.
    model, backend, out :
        As for ``overhead``.

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
    return _evaluate("maximise_memory", given, 1, model, backend, outs)[0]


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
    domain_type :
        As for ``overhead``.
    static_max, target : integers
        Bytes, 0..2**50; rounded up to MiB.
    video : integers
        Bytes of video RAM, 0..2**50; rounded up to MiB.
    model, backend :
        As for ``overhead``.
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
    results = _evaluate("build_memory", given, 4, model, backend, out)
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
    backend, out :
        As for ``overhead``.

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
    shape, (limit,) = prepare((AVAILABLE,), (available,))
    if len(shape) != 1:
        raise ValueError(f"available: one dimension is needed, not shape {shape}")
    if error := out_of_domain(AVAILABLE, limit):
        raise error[1]
    hosts = limit.size
    arguments = of_residents(hosts)
    given = (memory, overhead, resident_on, scheduled_on)
    shape, columns = prepare(arguments, given)
    if len(shape) != 1:
        raise ValueError(f"the VMs' arguments: one dimension is needed, not shape {shape}")
    used_memory = function_of(backend, "used_memory")
    used_by_part: list[Integers] = []

    def add_up(*part: npt.NDArray[Any]) -> bool:
        used = np.zeros(hosts, np.int64)
        used_by_part.append(used)
        return used_memory(*part, used)

    if not in_parts(add_up, columns):
        raise first_error(arguments, given, columns)
    free: Integers = np.maximum(limit - np.sum(used_by_part, axis=0), 0)
    if out is None:
        return free
    check_out((out,), 1, free.shape, ())
    np.copyto(out, free)
    return out
