"""Compile ahead of time whatever numba compiles when it is first used: its backend of the kernel, and the searches if
they were not compiled when xenmem was built.

Each public planner is asked small made-up questions that lead through all of its searches; the disk keeps what is
compiled then. Amounts are bytes, times seconds; reads no inventory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import Any, Final, NamedTuple

import numpy as np
from numba.core import event

from xenmem import kernel, planning
from xenmem.fleet import Fleet
from xenmem.kernel import _cache, _numba, checks
from xenmem.kernel._jit import ANNOUNCEMENT, is_of_xenmem
from xenmem.planning import xapi
from xenmem.planning.search.engine import engine
from xenmem.units import GIB

_TIME_LIMIT: Final = 0.1
_ROUNDS: Final = 3
_LIMITS: Final = ("static_max", "dynamic_max", "dynamic_min", "static_min")


class Compiled(NamedTuple):
    """A function, by its full name, and the seconds that its compilation took, without those of what it calls."""

    function: str
    seconds: float


class WarmUp(NamedTuple):
    """What was compiled.

    Attributes
    ----------
    compiled : in the order in which it was; empty if nothing was left to compile
    seconds : for all of it, questions included
    folder : where the results are kept
    """

    compiled: tuple[Compiled, ...]
    seconds: float
    folder: str


def warm_up(progress: Callable[[str, int], None] | None = None) -> WarmUp:
    """Compile what has not been compiled yet, so that no later question waits for it: little, where C searches.

    Parameters
    ----------
    progress : called when a function begins to be compiled, with its name and how many were before it

    Raises
    ------
    RuntimeError : no folder can keep what is compiled
    OSError : the folder cannot keep all of it

    Notes
    -----
    The questions are asked again until none of them compiles anything: on the way there, compiling uses up the time
    that a search has for getting to its next function.
    """
    began = perf_counter()
    folder = _folder()
    if folder is None:
        raise RuntimeError(
            "no folder can keep what is compiled: make that of the package writable, or name one by NUMBA_CACHE_DIR"
        )
    ANNOUNCEMENT.is_made = True  # nobody has to be told of what was asked for
    recorder = _Recorder(progress)
    with event.install_listener("numba:compile", recorder):
        for _ in range(_ROUNDS):
            before = len(recorder.compiled)
            for question in _questions():
                question()
            if len(recorder.compiled) == before:
                break
    if (failure := _cache.failure()) is not None:
        raise failure
    return WarmUp(tuple(recorder.compiled), perf_counter() - began, folder)


def _folder() -> str | None:
    """Where all that is compiled is kept."""
    functions: list[Any] = [_numba.overhead]
    if engine() == "numba":
        from xenmem.planning.search.compiled import feasibility

        functions.append(feasibility.pack)
    folders = [function.stats.cache_path for function in functions]
    return None if None in folders else os.path.commonpath(folders)


class _Recorder(event.Listener):
    """Takes the time of each compilation; one may begin within another, and what numba compiles of its own is part."""

    def __init__(self, progress: Callable[[str, int], None] | None) -> None:
        self.compiled: list[Compiled] = []
        self._progress = progress
        self._began: list[float] = []
        self._inner = [0.0]

    def on_start(self, event: Any) -> None:
        if is_of_xenmem(event):
            if self._progress is not None:
                self._progress(_name(event), len(self.compiled))
            self._began.append(perf_counter())
            self._inner.append(0.0)

    def on_end(self, event: Any) -> None:
        if is_of_xenmem(event):
            seconds = perf_counter() - self._began.pop()
            own = seconds - self._inner.pop()
            self._inner[-1] += seconds
            self.compiled.append(Compiled(_name(event), own))


def _name(event: Any) -> str:
    function = event.data["dispatcher"].py_func
    return f"{function.__module__}.{function.__name__}"


# ----------------------------------------------------------------------------------------------------------- questions


def _questions() -> Iterator[Callable[[], object]]:
    yield _kernel
    if engine() == "c":
        return
    for objective in planning.OBJECTIVES:
        yield partial(_pack, objective)
    yield from (_migrate, _failover, _rolling_update, _as_the_pool_does)


def _kernel() -> None:
    """The second backend, and the checks, which have no other."""
    size, vcpus, kind = np.array([GIB]), np.array([1]), kernel.DomainType.HVM
    kernel.overhead(kind, size, vcpus, 1.0, backend="numba")
    kernel.required_memory(kind, size, size, vcpus, 1.0, backend="numba")
    kernel.maximise_memory(kind, vcpus, 1.0, size, backend="numba")
    kernel.build_memory(kind, size, size, 0, backend="numba")
    kernel.free_memory(size, size, size, [0], [-1], backend="numba")
    checks.limits_valid(0, size, size, size)
    checks.may_boot(size, vcpus, np.zeros(1, np.int32), np.ones((1, 1), np.bool_), size, vcpus)


def _pack(objective: str) -> None:
    """From loose to impossible, some that fit to the last byte, and three or six VMs on each host: searches apart."""
    draw = np.random.default_rng(0)
    ask = partial(planning.pack_sizes, objective=objective, time_limit=_TIME_LIMIT)
    sizes, origin = draw.integers(3, 30, 14), draw.integers(-1, 4, 14)
    for free in (40, 60, 80):
        ask(sizes, np.full(4, free), origin=origin)
        ask(sizes, [free, free + 1, free + 3, free + 7], origin=origin, anti_affinity=[[1, 2, 3]], priority={4: 2})
    sizes = draw.integers(30, 300, 30)
    ask(sizes, [sizes[host::4].sum() for host in range(4)])
    cuts = draw.integers(260, 370, (20, 2))
    ask(np.column_stack([cuts, 1000 - cuts.sum(axis=1)]).ravel(), np.full(20, 1000))
    ask(draw.integers(150, 201, 100), np.full(24, 1000))


def _migrate() -> None:
    """A host that can be emptied only if the VM of another moves aside."""
    hosts, vms = (8, 5, 9), ((3, 0), (1, 1), (6, 2))
    records: dict[str, dict[str, dict[str, object]]] = {
        "pool": {"pool": {"uuid": "pool", "name_label": "", "master": "0"}},
        "host": {
            str(row): {"uuid": str(row), "metrics": str(row), "enabled": True, "memory_overhead": 0}
            for row in range(len(hosts))
        },
        "host_metrics": {
            str(row): {"uuid": str(row), "memory_total": total * GIB, "live": True} for row, total in enumerate(hosts)
        },
        "VM": {
            str(row): {
                "uuid": str(row),
                "power_state": "Running",
                "resident_on": str(host),
                "domain_type": "hvm",
                "HVM_shadow_multiplier": 1.0,
                "VCPUs_max": 1,
                "VCPUs_at_startup": 1,
                **{f"memory_{limit}": size * GIB for limit in _LIMITS},
            }
            for row, (size, host) in enumerate(vms)
        },
    }
    fleet = Fleet.from_records(records)
    planning.evacuate(fleet, 2, time_limit=_TIME_LIMIT)
    planning.consolidate(fleet, time_limit=_TIME_LIMIT)
    planning.rebalance(fleet, 2, time_limit=_TIME_LIMIT)


def _failover() -> None:
    """Pools that survive and pools that do not, with and without rules on where VMs may go."""
    home = [3, 0, 1, 3, 0, 3, 0, 1]
    sizes = [8, 9, 10, 5, 3, 5, 5, 10]
    anywhere = np.ones((8, 4), np.bool_)
    for free in ([5, 4, 6, 5], [23, 17, 18, 22], [60, 60, 60, 60]):
        for allowed in (None, anywhere & (np.arange(8)[:, np.newaxis] != 2 * np.arange(4))):
            pool = planning.RestartPool.from_arrays(free, sizes, home, allowed=allowed)
            for failures in (1, 2):
                for one_by_one in (False, True):
                    planning.failover(pool, failures, one_by_one=one_by_one, time_limit=_TIME_LIMIT)
            planning.max_failures(pool, time_limit=_TIME_LIMIT)
            planning.capacity(pool, [4, 9], num_failures=1, time_limit=_TIME_LIMIT)
            with suppress(TimeoutError):
                planning.restart_plan(pool, [0], time_limit=_TIME_LIMIT)
    tiny = planning.RestartPool.from_arrays([5, 0, 4], [3, 3, 6], [0, 1, -1])
    with suppress(TimeoutError):
        planning.remedy(tiny, 1, smallest=[1, 1, 4], time_limit=_TIME_LIMIT)


def _rolling_update() -> None:
    """One in which a VM has to move aside."""
    planning.rolling_update(
        planning.UpdateProblem.from_arrays([10, 10, 10], [6, 3, 2, 3, 3], [0, 1, 1, 2, 2]), time_limit=_TIME_LIMIT
    )


def _as_the_pool_does() -> None:
    """One VM on each host."""
    rows = np.arange(4, dtype=np.int32)
    sizes = np.full(4, GIB)
    xapi.biggest_fit_decreasing(sizes, sizes)
    xapi.binpack.exhaustive_plan_always_possible(
        xapi.Configuration(rows, 2 * sizes, rows, sizes, rows, rows, total_hosts=4, num_failures=2)
    )
