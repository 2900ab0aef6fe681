"""Checks of many VMs at once, as xapi makes them one at a time: the order of memory limits, and what may boot where.

Amounts are bytes over all of int64: the API stores any limits that are in order. Arrays in, arrays out; nothing here
knows what a row stands for. Source: xapi-project/xen-api, ocaml/xapi/xapi_vm_memory_constraints.ml
(assert_valid_for_current_context), xapi_vm_helpers.ml (assert_can_boot_here).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ._jit import jit

Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]


@jit
def _limits_valid(
    static_min: Integers,
    dynamic_min: Integers,
    dynamic_max: Integers,
    static_max: Integers,
    pinned: Bools,
    out: Bools,
) -> None:
    for n in range(len(out)):
        low, high = dynamic_min[n], static_max[n]
        in_order = (static_min[n] <= low) & (low <= dynamic_max[n]) & (dynamic_max[n] <= high)
        out[n] = in_order & ((not pinned[n]) | (low == high))


@jit
def _may_boot(
    needed: Integers,
    vcpus: Integers,
    row: npt.NDArray[np.int32],
    allowed: Bools,
    free: Integers,
    cpus: Integers,
    out: Bools,
) -> None:
    for n in range(len(needed)):
        least, wanted, kind = needed[n], vcpus[n], row[n]
        for h in range(len(free)):
            out[n, h] = allowed[kind, h] & (least <= free[h]) & (wanted <= cpus[h])


def limits_valid(static_min: Any, static_max: Any, dynamic_min: Any, dynamic_max: Any, pinned: Any = False) -> Bools:
    """Whether memory limits may be stored together.

    Parameters
    ----------
    static_min, static_max, dynamic_min, dynamic_max : integer arrays that broadcast together, bytes
    pinned : bool array; whether dynamic_min, dynamic_max and static_max must be one amount

    Returns
    -------
    bool array, of the shape to which all broadcast

    Raises
    ------
    ValueError : an argument holds something else than integers of 64 bits
    """
    named = {"static_min": static_min, "dynamic_min": dynamic_min, "dynamic_max": dynamic_max, "static_max": static_max}
    columns = [_integers(name, given) for name, given in named.items()]
    pins = np.asarray(pinned, np.bool_)
    shape = np.broadcast_shapes(pins.shape, *(column.shape for column in columns))
    out = np.empty(shape, np.bool_)
    low, dynamic_low, dynamic_high, high = (_spread(column, shape) for column in columns)
    _limits_valid(low, dynamic_low, dynamic_high, high, _spread(pins, shape), out.reshape(-1))
    return out


def _spread(array: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The array in this shape, flat, and read-only whoever made it: so that one compiled function takes them all."""
    flat = np.ascontiguousarray(np.broadcast_to(array, shape)).reshape(-1).view()
    flat.flags.writeable = False
    return flat


def _integers(name: str, given: Any) -> Integers:
    array = np.asarray(given)
    if array.dtype.kind not in "iu" or (array.dtype == np.uint64 and np.any(array > np.iinfo(np.int64).max)):
        raise ValueError(f"{name}: holds something else than integers of 64 bits")
    return array.astype(np.int64, copy=False)


def may_boot(
    needed: Integers, vcpus: Integers, kind: npt.NDArray[np.int32], allowed: Bools, free: Integers, cpus: Integers
) -> Bools:
    """Which VMs may boot on which hosts.

    Parameters
    ----------
    needed : int64[vms], bytes that a VM needs to start
    vcpus : int64[vms]; the least integer for a VM that may have more than its host
    kind : int32[vms], row of `allowed`
    allowed : bool[kinds, hosts], what speaks for a host beside memory and CPUs
    free : int64[hosts], bytes
    cpus : int64[hosts]; the least integer where the number is unknown

    Returns
    -------
    bool array, shape (vms, hosts)
    """
    out = np.empty((len(needed), len(free)), np.bool_)
    _may_boot(needed, vcpus, kind, allowed, free, cpus, out)
    return out
