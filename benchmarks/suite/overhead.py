"""kernel.overhead: arrays from 1 to 10,000,000 VMs, layouts, threads, one VM."""

from collections.abc import Callable
from functools import cache

import numba
import numpy as np
from twins import reference

from xenmem import kernel
from xenmem.kernel import scalar

from . import arrays, elementwise

MODEL = kernel.MODELS[kernel.DEFAULT_MODEL]


class Overhead(elementwise.Elementwise):
    """How near is each way to the copy of the same bytes, in the caches (100,000 VMs are 2.9 MB) and out of them?"""

    function = "overhead"


def _strided(array: arrays.Array) -> arrays.Array:
    return np.repeat(array, 2)[::2]


def _byte_swapped(array: arrays.Array) -> arrays.Array:
    return array.astype(array.dtype.newbyteorder()) if array.dtype.itemsize > 1 else array


class Layout:
    """What does an array cost that has to be converted first, beside one that has not?"""

    params = (["contiguous", "strided", "byte-swapped"],)
    param_names = ("layout",)

    def setup(self, layout: str) -> None:
        kernel.set_threads(1)
        self.columns, self.out = laid_out(layout)

    def time_call(self, layout: str) -> None:
        kernel.overhead(*self.columns, out=self.out)


@cache
def laid_out(layout: str) -> tuple[list[arrays.Array], arrays.Array]:
    """The columns of 1,000,000 VMs in that layout, and room for the result."""
    plain = arrays.columns("overhead", 1_000_000)
    change = {"contiguous": np.asarray, "strided": _strided, "byte-swapped": _byte_swapped}[layout]
    columns, out = [change(column) for column in plain], arrays.outputs("overhead", 1_000_000)
    if not np.array_equal(kernel.overhead(*columns), kernel.overhead(*plain)):
        raise AssertionError(f"{layout} arrays give another answer")
    return columns, out


class Threads:
    """What does a second thread bring, from the size where the work is first split, and what does it bring a copy?"""

    params = (["overhead", "copy"], [1 << 17, 1 << 20, 10_000_000], [1, 2])
    param_names = ("what", "vms", "threads")

    def setup(self, what: str, vms: int, threads: int) -> None:
        kernel.set_threads(threads)
        self.run = on_threads(what, vms, threads)

    def time_call(self, what: str, vms: int, threads: int) -> None:
        self.run()


@cache
def on_threads(what: str, vms: int, threads: int) -> Callable[[], object]:
    if what == "copy":
        return arrays.copy_of(arrays.bytes_moved("overhead", vms), threads)
    columns, out = arrays.columns("overhead", vms), arrays.outputs("overhead", vms)
    return lambda: kernel.overhead(*columns, out=out)


class OneVM:
    """What does one VM cost through the array API, all of it call and no work? Beside it: the naive twin."""

    def setup_cache(self) -> list[arrays.Array]:
        columns = arrays.columns("overhead", 1)
        elementwise.check("overhead", "the array API", kernel.overhead(*columns), columns)
        return columns

    def time_arrays(self, columns: list[arrays.Array]) -> None:
        kernel.overhead(*columns)

    def time_numbers(self, columns: list[arrays.Array]) -> None:
        kernel.overhead(0, 4 << 30, 2, 1.0)

    def time_plain_python(self, columns: list[arrays.Array]) -> None:
        reference.overhead("hvm", 4 << 30, 2, 1.0)


@numba.njit(error_model="numpy")
def total_overhead(
    domain_type: arrays.Array, static_max: arrays.Array, vcpus_max: arrays.Array, shadow_multiplier: arrays.Array
) -> int:
    """A user's own jitted loop over the public scalar."""
    total = 0
    for n in range(len(static_max)):
        total += scalar.overhead(MODEL, domain_type[n], static_max[n], vcpus_max[n], shadow_multiplier[n])
    return total


class Scalar:
    """The njit scalar inlined in a user's own loop, over 1,000,000 VMs."""

    def setup(self) -> None:
        self.columns = checked_columns()

    def time_jitted_loop(self) -> None:
        total_overhead(*self.columns)


@cache
def checked_columns() -> list[arrays.Array]:
    columns = arrays.columns("overhead", 1_000_000)
    if total_overhead(*columns) != kernel.overhead(*columns).sum():
        raise AssertionError("the scalar gives another answer than the arrays")
    return columns
