"""The one way in which xenmem compiles a function: exact floating point, no GIL, cached on disk.

Fast-math stays off everywhere: the shadow term is one IEEE product, truncated, and every answer is exact. ``inlined``
is for the formulas, without which the loops around them would not vectorise; large searches compile faster without.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")

    def jit(function: Callable[P, R]) -> Callable[P, R]: ...

    def inlined(function: Callable[P, R]) -> Callable[P, R]: ...

else:
    import numba

    _EXACT = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": False}
    jit = numba.njit(**_EXACT)
    inlined = numba.njit(forceinline=True, **_EXACT)
