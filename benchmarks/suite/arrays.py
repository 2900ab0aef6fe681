"""Columns of VMs for the benchmarks of the kernels, from fixed seeds, and the copy that is their limit. In bytes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
MIB = 1 << 20
HOSTS = 10_000
BLOCK = 1_000_000  # longer columns repeat their first million rows


def _shadow_multiplier(rng: np.random.Generator, n: int) -> Array:
    return np.where(rng.random(n) < 0.9, 1.0, rng.uniform(1.0, 4.0, n))


def _scheduled_on(rng: np.random.Generator, n: int) -> Array:
    """One VM in a hundred is scheduled on a second host."""
    return np.where(rng.random(n) < 0.01, rng.integers(0, HOSTS, n), -1).astype(np.int32)


_MAKERS: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "domain_type": lambda rng, n: rng.integers(0, 4, n).astype(np.uint8),
    "static_max": lambda rng, n: rng.integers(64 * MIB, 512 << 30, n),
    "target": lambda rng, n: rng.integers(64 * MIB, 512 << 30, n),
    "vcpus_max": lambda rng, n: rng.integers(1, 65, n).astype(np.int32),
    "shadow_multiplier": _shadow_multiplier,
    "total": lambda rng, n: rng.integers(64 * MIB, 512 << 30, n),
    "video": lambda rng, n: np.full(n, 8 * MIB),
    "memory": lambda rng, n: rng.integers(64 * MIB, 512 << 30, n),
    "overhead": lambda rng, n: rng.integers(4, 600, n) * MIB,
    "resident_on": lambda rng, n: rng.integers(0, HOSTS, n).astype(np.int32),
    "scheduled_on": _scheduled_on,
}

PARAMETERS = {
    "overhead": ("domain_type", "static_max", "vcpus_max", "shadow_multiplier"),
    "required_memory": ("domain_type", "static_max", "target", "vcpus_max", "shadow_multiplier"),
    "maximise_memory": ("domain_type", "vcpus_max", "shadow_multiplier", "total"),
    "build_memory": ("domain_type", "static_max", "target", "video"),
    "free_memory": ("memory", "overhead", "resident_on", "scheduled_on"),
}
RESULTS = {"overhead": 1, "required_memory": 2, "maximise_memory": 1, "build_memory": 4, "free_memory": 0}


@cache
def column(name: str, vms: int) -> Array:
    """A column of that many VMs, in the dtype that the kernels take."""
    made = _MAKERS[name](np.random.default_rng([20_26, *name.encode()]), min(vms, BLOCK))
    return np.resize(made, vms)


def columns(function: str, vms: int) -> list[Array]:
    """The columns of VMs that the kernel function of that name takes, in its order."""
    return [column(name, vms) for name in PARAMETERS[function]]


def available() -> Array:
    """What the hosts have for VMs."""
    return np.random.default_rng(1).integers(64 << 30, 2 << 40, HOSTS)


def outputs(function: str, vms: int) -> Any:
    """Arrays for the results, touched before, as `out=` takes them."""
    made = tuple(np.ones(vms, np.int64) for _ in range(RESULTS[function]))
    return made if len(made) > 1 else made[0]


def bytes_moved(function: str, vms: int) -> int:
    """Bytes that a kernel must read and write."""
    read = sum(column(name, 1).itemsize for name in PARAMETERS[function])
    return (read + 8 * RESULTS[function]) * vms


def copy_of(count: int, threads: int = 1) -> Callable[[], None]:
    """The copy that moves as many bytes: half of them read, half of them written, in equal parts by the threads."""
    source, target = np.ones(count // 2, np.uint8), np.ones(count // 2, np.uint8)
    if threads == 1:
        return lambda: np.copyto(target, source)
    edges = np.linspace(0, len(source), threads + 1).astype(int)
    parts = [slice(low, high) for low, high in pairwise(edges)]
    workers = ThreadPoolExecutor(threads)

    def run() -> None:
        list(workers.map(lambda part: np.copyto(target[part], source[part]), parts))

    return run
