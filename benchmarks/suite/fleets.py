"""Arrays and inventories that the benchmarks measure with, and the ways of computing that they compare with.

Made from fixed seeds. Amounts are bytes. ``numpy_overhead`` and the others are the expressions a NumPy user would write
after some thought; the naive model is tests/twins/reference.py.
"""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from xenmem import kernel
from xenmem.kernel import scalar

Array = npt.NDArray[Any]
ROOT = Path(__file__).resolve().parents[2]
COMMAND = str(Path(sys.executable).parent / "xenmem")
MIB = 1 << 20


class VMArrays(NamedTuple):
    """The columns of n VMs, in the dtypes that the kernels take."""

    domain_type: Array
    static_max: Array
    target: Array
    vcpus_max: Array
    shadow_multiplier: Array
    total: Array
    video: Array
    overhead: Array
    resident_on: Array
    scheduled_on: Array


def vm_arrays(n: int, hosts: int = 10_000) -> VMArrays:
    """VMs of all types on hosts in random order; one in a hundred is scheduled on a second host."""
    rng = np.random.default_rng(20_26)
    static_max = rng.integers(64 * MIB, 512 << 30, n)
    return VMArrays(
        domain_type=rng.integers(0, 4, n).astype(np.uint8),
        static_max=static_max,
        target=(static_max * rng.uniform(0.25, 1.0, n)).astype(np.int64),
        vcpus_max=rng.integers(1, 65, n).astype(np.int32),
        shadow_multiplier=np.where(rng.random(n) < 0.9, 1.0, rng.uniform(1.0, 4.0, n)),
        total=rng.integers(64 * MIB, 512 << 30, n),
        video=np.full(n, 8 * MIB),
        overhead=rng.integers(4, 600, n) * MIB,
        resident_on=rng.integers(0, hosts, n).astype(np.int32),
        scheduled_on=np.where(rng.random(n) < 0.01, rng.integers(0, hosts, n), -1).astype(np.int32),
    )


def available(hosts: int = 10_000) -> Array:
    return np.random.default_rng(1).integers(64 << 30, 2 << 40, hosts)


COLUMNS = {
    "overhead": ("domain_type", "static_max", "vcpus_max", "shadow_multiplier"),
    "required_memory": ("domain_type", "static_max", "target", "vcpus_max", "shadow_multiplier"),
    "maximise_memory": ("domain_type", "vcpus_max", "shadow_multiplier", "total"),
    "build_memory": ("domain_type", "static_max", "target", "video"),
}


def columns(function: str, vms: VMArrays) -> list[Array]:
    """The columns that the kernel function of that name takes."""
    return [getattr(vms, name) for name in COLUMNS[function]]


def call(function: str, vms: VMArrays, backend: str, **options: Any) -> Any:
    return getattr(kernel, function)(*columns(function, vms), backend=backend, **options)


BYTES_MOVED = {"overhead": 21 + 8, "required_memory": 29 + 16, "maximise_memory": 21 + 8, "build_memory": 25 + 32}
"""Bytes that a kernel must read and write for each VM."""

RESULTS = {"overhead": 1, "required_memory": 2, "maximise_memory": 1, "build_memory": 4}


class Copy:
    """The copy that moves as many bytes as a kernel must: half of them read, half of them written."""

    def __init__(self, bytes_moved: int) -> None:
        self.source = np.ones(bytes_moved // 2, np.uint8)
        self.target = np.ones(bytes_moved // 2, np.uint8)

    def __call__(self) -> None:
        np.copyto(self.target, self.source)


def copies_at_once(whole: Copy) -> Callable[[], None]:
    """The same copy by two threads, one half each: what memory bandwidth leaves for a second thread."""
    middle = len(whole.source) // 2
    halves = [slice(0, middle), slice(middle, None)]
    pool = ThreadPoolExecutor(2)

    def run() -> None:
        list(pool.map(lambda half: np.copyto(whole.target[half], whole.source[half]), halves))

    return run


MODEL = kernel.MODELS[kernel.DEFAULT_MODEL]
_EXTRAS = np.add(MODEL.extra_internal_mib, MODEL.extra_external_mib)


def _numpy_shim_mib(domain_type: Array, static_max_mib: Array) -> Array:
    pv_in_pvh = kernel.DomainType.PV_IN_PVH
    grown = MODEL.shim_base_mib[pv_in_pvh] + static_max_mib // MODEL.shim_divisor[pv_in_pvh]
    return np.where(domain_type == pv_in_pvh, grown, 0)


def _numpy_shadow_mib(static_max_mib: Array, vcpus_max: Array, multiplier: Array) -> Array:
    pages = vcpus_max.astype(np.int64) * MODEL.vcpu_shadow_pages + 2 * static_max_mib
    return np.maximum(MODEL.min_shadow_mib, ((pages + 255 >> 8) * multiplier).astype(np.int64))


def numpy_overhead(domain_type: Array, static_max: Array, vcpus_max: Array, shadow_multiplier: Array) -> Array:
    static_max_mib = static_max + (MIB - 1) >> 20
    total = _numpy_shadow_mib(static_max_mib, vcpus_max, shadow_multiplier)
    total += _EXTRAS[domain_type]
    total += vcpus_max * MODEL.xen_pages_per_vcpu + 255 >> 8
    total += _numpy_shim_mib(domain_type, static_max_mib)
    total <<= 20
    return total


def numpy_required_memory(
    domain_type: Array, static_max: Array, target: Array, vcpus_max: Array, shadow_multiplier: Array
) -> tuple[Array, Array]:
    multiplier = np.where(domain_type == kernel.DomainType.PV, 1.0, shadow_multiplier)
    static_max_mib = static_max + (MIB - 1) >> 20
    shadow = _numpy_shadow_mib(static_max_mib, vcpus_max, multiplier)
    normal = target + (MIB - 1) >> 20
    normal += _EXTRAS[domain_type]
    normal += vcpus_max * MODEL.xen_pages_per_vcpu + 255 >> 8
    normal += _numpy_shim_mib(domain_type, static_max_mib)
    normal <<= 20
    shadow <<= 20
    return normal, shadow


def numpy_maximise_memory(domain_type: Array, vcpus_max: Array, shadow_multiplier: Array, total: Array) -> Array:
    """All VMs bisected at once, over MiB."""
    low, high = np.zeros(len(total), np.int64), total >> 20
    while np.any(high - low >= 2):
        middle = low + high >> 1
        normal, shadow = numpy_required_memory(domain_type, middle << 20, middle << 20, vcpus_max, shadow_multiplier)
        fits = normal + shadow <= total
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    return low << 20


def bincount_free_memory(limit: Array, memory: Array, overhead: Array, resident: Array, scheduled: Array) -> Array:
    """Free memory by np.bincount: sums in doubles, exact only below 2**53 bytes a host."""
    used = (memory + overhead).astype(np.float64)
    total = np.bincount(resident + 1, weights=used, minlength=len(limit) + 1)
    total += np.bincount(scheduled + 1, weights=used, minlength=len(limit) + 1)
    return np.maximum(0, limit - total[1:].astype(np.int64))


@numba.njit(error_model="numpy")
def bisected_maximise_memory(domain_type: Array, vcpus_max: Array, shadow_multiplier: Array, total: Array) -> Array:
    """maximise_memory as the reference finds it, compiled: bisection over bytes in [0, total]."""
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


@numba.njit(error_model="numpy")
def jitted_total_overhead(domain_type: Array, static_max: Array, vcpus_max: Array, shadow_multiplier: Array) -> int:
    """A user's own jitted loop over the public scalar."""
    total = 0
    for n in range(len(static_max)):
        total += scalar.overhead(MODEL, domain_type[n], static_max[n], vcpus_max[n], shadow_multiplier[n])
    return total


def inventory(path: Path, vms: int, inventory_format: str = "statedb") -> Path:
    """A generated pool of that many VMs, in that format, at that path."""
    generator = ROOT / "tests" / "data" / "make_pool_dump.py"
    hosts = max(1, vms // 100)
    options = ["--vms", str(vms), "--hosts", str(hosts), "--format", inventory_format, "--out", str(path)]
    subprocess.run([sys.executable, str(generator), *options], check=True)
    return path
