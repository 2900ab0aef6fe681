"""The one way in which xenmem compiles a function: exact floating point, no GIL, kept on disk where that is possible.

Fast-math stays off everywhere: the shadow term is one IEEE product, truncated, and every answer is exact. ``inlined``
is for the formulas, without which the loops around them would not vectorise; large searches compile faster without.
The first compilation of a process is announced in the log ``xenmem``, at level INFO; what the disk keeps needs none.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numba
from numba.core import event

from xenmem.kernel._cache import Cache

LOG = logging.getLogger("xenmem")


def is_of_xenmem(event: Any) -> bool:
    """Whether a function of this package is being compiled: numba has some of its own, others may have, too."""
    return bool(event.data["dispatcher"].py_func.__module__.startswith("xenmem."))


class _Announcement(event.Listener):
    """Says once that functions of xenmem are being compiled, and how not to wait for it.

    Attributes
    ----------
    is_made : it has been said, or need not be
    """

    def __init__(self) -> None:
        self.is_made = False

    def on_start(self, event: Any) -> None:
        if self.is_made or not is_of_xenmem(event):
            return
        self.is_made = True
        if event.data["dispatcher"].stats.cache_path is None:
            LOG.info(
                "compiling, in every process anew: no folder can keep what is compiled (NUMBA_CACHE_DIR names one)"
            )
        else:
            LOG.info("compiling, once: some seconds for each question; `xenmem warm-up` does all of it ahead of time")

    def on_end(self, event: Any) -> None:
        """Nothing to say."""


ANNOUNCEMENT = _Announcement()
event.register("numba:compile", ANNOUNCEMENT)  # type: ignore[no-untyped-call]

if TYPE_CHECKING:
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")

    def jit(function: Callable[P, R]) -> Callable[P, R]: ...

    def inlined(function: Callable[P, R]) -> Callable[P, R]: ...

else:

    def _compiled(function, **options):
        compiled = numba.njit(nogil=True, error_model="numpy", fastmath=False, **options)(function)
        with suppress(RuntimeError):  # neither the folder of the package nor one of the user's can be written to
            compiled._cache = Cache(function)
        return compiled

    def jit(function):
        return _compiled(function)

    def inlined(function):
        return _compiled(function, forceinline=True)
