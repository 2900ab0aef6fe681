"""What the benchmarks of the elementwise kernels share: every way of computing one function, with its answer checked.

The ways: the C backend at each SIMD level of this machine, numba, NumPy's expressions, plain Python (the naive twin),
and the copy of as many bytes as must be read and written, which no way can beat once arrays are larger than the caches.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from twins import reference

from xenmem import kernel

from . import arrays, numpy_ways

C_WAYS = [f"c-{level}" for level in kernel.simd_levels()]
WAYS = [*C_WAYS, "numba", "numpy", "python", "copy"]
VMS = [1_000, 100_000, 1_000_000, 10_000_000]
MOST_VMS = {"numpy": 1_000_000, "python": 1_000}
CHECKED = 100


class Elementwise(ABC):
    """A subclass for each function names it; then one benchmark has every way and every number of VMs."""

    params: Any = (WAYS, VMS)
    param_names: Any = ("way", "vms")
    timeout = 300

    @property
    @abstractmethod
    def function(self) -> str:
        """The name that it has in xenmem.kernel and in the twins."""

    def setup(self, way: str, vms: int) -> None:
        if vms > MOST_VMS.get(way, vms):
            raise NotImplementedError
        self.run = prepared(self.function, way, vms)

    def time_call(self, way: str, vms: int) -> None:
        self.run()


@cache
def prepared(function: str, way: str, vms: int) -> Callable[[], object]:
    """A call over that many VMs, on one thread; its first answers are those of the naive twin."""
    if way == "copy":
        return arrays.copy_of(arrays.bytes_moved(function, vms))
    kernel.set_threads(1)
    if way.startswith("c-"):
        kernel.set_simd(way.removeprefix("c-"))
    few = [column[:CHECKED] for column in arrays.columns(function, max(vms, CHECKED))]
    check(function, way, evaluate(function, way, few), few)
    columns = arrays.columns(function, vms)
    if way in ("numpy", "python"):
        return lambda: evaluate(function, way, columns)
    out = arrays.outputs(function, vms)
    return lambda: evaluate(function, way, columns, out=out)


def evaluate(function: str, way: str, columns: list[arrays.Array], **options: Any) -> Any:
    """The results as this way gives them."""
    if way == "numpy":
        return getattr(numpy_ways, function)(*columns)
    if way == "python":
        names = [kernel.DomainType(code).name.lower() for code in columns[0]]
        return [
            getattr(reference, function)(*row) for row in zip(names, *(c.tolist() for c in columns[1:]), strict=True)
        ]
    return getattr(kernel, function)(*columns, backend=way.partition("-")[0], **options)


def check(function: str, way: str, found: Any, columns: list[arrays.Array]) -> None:
    """Fails if a way answers otherwise than the naive twin."""
    wanted = np.array(evaluate(function, "python", columns)).T
    if not np.array_equal(np.array(found).T if way == "python" else np.array(found), wanted):
        raise AssertionError(f"{function}: {way} gives another answer than the naive twin")
