"""kernel.free_memory: sums per host."""

from collections.abc import Callable
from functools import cache

import numpy as np

from xenmem import kernel

from . import arrays, numpy_ways

VMS = 1_000_000


class FreeMemory:
    """Free memory of 10,000 hosts from 1,000,000 VMs in random order: beside the two np.bincount that it replaces,
    and the copy of the same bytes."""

    params = ([*kernel.backends(), "bincount", "copy"],)
    param_names = ("way",)

    def setup(self, way: str) -> None:
        self.run = prepared(way)

    def time_call(self, way: str) -> None:
        self.run()


@cache
def prepared(way: str) -> Callable[[], object]:
    """The call, on one thread; bincount and the kernel agree."""
    if way == "copy":
        return arrays.copy_of(arrays.bytes_moved("free_memory", VMS))
    kernel.set_threads(1)
    columns = (arrays.available(), *arrays.columns("free_memory", VMS))
    ways: dict[str, Callable[[], object]] = {
        name: lambda name=name: kernel.free_memory(*columns, backend=name) for name in kernel.backends()
    }
    ways["bincount"] = lambda: numpy_ways.free_memory(*columns)
    if not np.array_equal(ways[way](), ways["bincount"]()):
        raise AssertionError(f"{way} gives another answer than np.bincount")
    return ways[way]
