"""kernel.maximise_memory: the closed form beside bisection."""

from functools import cache

import numba
import numpy as np

from xenmem import kernel
from xenmem.kernel import scalar

from . import arrays, elementwise

MODEL = kernel.MODELS[kernel.DEFAULT_MODEL]


class Maximise(elementwise.Elementwise):
    """How near is the closed form to the copy of the same bytes? NumPy and plain Python bisect."""

    function = "maximise_memory"


@numba.njit(error_model="numpy")
def bisected(
    domain_type: arrays.Array, vcpus_max: arrays.Array, shadow_multiplier: arrays.Array, total: arrays.Array
) -> arrays.Array:
    """maximise_memory as xapi finds it, compiled: bisection over bytes in [0, total]."""
    out = np.empty(len(total), np.int64)
    for n in range(len(total)):
        low, high = 0, total[n]
        while high - low >= 2:
            middle = (low + high) // 2
            normal, shadow = scalar.required_memory(
                MODEL, domain_type[n], middle, middle, vcpus_max[n], shadow_multiplier[n]
            )
            if normal + shadow <= total[n]:
                low = middle
            else:
                high = middle
        out[n] = low >> 20 << 20
    return out


class Bisection:
    """What does the closed form save a compiled program that bisects, as xapi does? 100,000 VMs."""

    def setup(self) -> None:
        self.columns = checked_columns()

    def time_compiled(self) -> None:
        bisected(*self.columns)


@cache
def checked_columns() -> list[arrays.Array]:
    columns = arrays.columns("maximise_memory", 100_000)
    if not np.array_equal(bisected(*columns), kernel.maximise_memory(*columns)):
        raise AssertionError("bisection gives another answer than the closed form")
    return columns
