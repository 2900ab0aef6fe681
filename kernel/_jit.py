"""The one way in which xenmem compiles a function: exact floating point, no GIL, cached on disk.

Fast-math stays off everywhere: the shadow term is one IEEE product, truncated, and every answer is exact.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")

    def jit(function: Callable[P, R]) -> Callable[P, R]: ...

else:
    import numba

    jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False, forceinline=True)
