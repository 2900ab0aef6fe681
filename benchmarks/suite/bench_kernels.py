"""xenmem.kernel: how long an array call takes, and what its time is to be compared with."""

from typing import Any

import numpy as np
import numpy.typing as npt

from xenmem import kernel

from . import fleets

FUNCTIONS = ["overhead", "required_memory", "maximise_memory", "build_memory"]
BACKENDS = [f"c-{level}" for level in kernel.simd_levels()] + ["numba"]


def use(backend: str) -> str:
    """Put a backend's SIMD level in force, on one thread; answers the name that the API knows."""
    name, _, level = backend.partition("-")
    if level:
        kernel.set_simd(level)
    kernel.set_threads(1)
    return name


def laid_out(array: npt.NDArray[Any], layout: str) -> npt.NDArray[Any]:
    if layout == "strided":
        return np.repeat(array, 2)[::2]
    if layout == "byte-swapped" and array.dtype.itemsize > 1:
        return array.astype(array.dtype.newbyteorder())
    return array


class Elementwise:
    """How does the time of a call grow, and what do other layouts cost? From one VM (the call itself) to 10**6."""

    params = (FUNCTIONS, BACKENDS, [1, 1_000, 1_000_000], ["contiguous", "strided", "byte-swapped"])
    param_names = ("function", "backend", "vms", "layout")

    def setup(self, function: str, backend: str, vms: int, layout: str) -> None:
        self.vms = fleets.VMArrays(*(laid_out(column, layout) for column in fleets.vm_arrays(vms)))
        self.backend = use(backend)
        small = fleets.VMArrays(*(column[:100] for column in self.vms))
        wanted = fleets.call(function, small, kernel.backends()[-1])
        if not np.array_equal(fleets.call(function, small, self.backend), wanted):
            raise AssertionError(f"{function}: {backend} gives another answer than {kernel.backends()[-1]}")

    def time_call(self, function: str, backend: str, vms: int, layout: str) -> None:
        fleets.call(function, self.vms, self.backend)


class Floor:
    """The limit: the copy of as many bytes as the kernel must read and write for 10**6 VMs."""

    params = (FUNCTIONS,)
    param_names = ("function",)

    def setup(self, function: str) -> None:
        self.copy = fleets.Copy(fleets.BYTES_MOVED[function] * 1_000_000)

    def time_copy(self, function: str) -> None:
        self.copy()


class Threads:
    """What does a second thread bring, from the size where the work is first split?"""

    params = ([1 << 17, 1 << 18, 1 << 20, 10_000_000], [1, 2])
    param_names = ("vms", "threads")

    def setup(self, vms: int, threads: int) -> None:
        self.vms = fleets.vm_arrays(vms)
        self.out = np.ones(vms, np.int64)
        kernel.set_threads(threads)

    def teardown(self, vms: int, threads: int) -> None:
        kernel.set_threads(1)

    def time_overhead(self, vms: int, threads: int) -> None:
        fleets.call("overhead", self.vms, kernel.backends()[0], out=self.out)


class FreeMemory:
    """Free memory of 10,000 hosts from 10**6 VMs in random order, beside the two np.bincount that it replaces."""

    params = ([*kernel.backends(), "bincount"],)
    param_names = ("way",)

    def setup(self, way: str) -> None:
        kernel.set_threads(1)
        self.vms = fleets.vm_arrays(1_000_000)
        self.available = fleets.available()

    def time_free_memory(self, way: str) -> None:
        vms = self.vms
        columns = (self.available, vms.static_max, vms.overhead, vms.resident_on, vms.scheduled_on)
        if way == "bincount":
            fleets.bincount_free_memory(*columns)
        else:
            kernel.free_memory(*columns, backend=way)


class Scalar:
    """The njit scalar inlined in a user's own loop, over 10**6 VMs."""

    def setup(self) -> None:
        self.columns = fleets.columns("overhead", fleets.vm_arrays(1_000_000))
        fleets.jitted_total_overhead(*self.columns)

    def time_jitted_loop(self) -> None:
        fleets.jitted_total_overhead(*self.columns)
