"""The rows about numbers: the kernels beside copies, NumPy and plain Python; the command; reading beside expat.

One thread, 1,000,000 VMs unless the row says otherwise.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from suite import bench_inventory, fleets
from twins import reference

import xenmem
from ratios.table import Contender, best_times, row
from xenmem import kernel

N = 1_000_000
NAIVE_N = 2_000
BISECTED_N = 100_000


def nanoseconds(seconds: float, elements: int = N) -> str:
    return f"{seconds / elements * 1e9:.3g} ns"


def at_level(level: str, contender: Contender) -> Contender:
    def run() -> object:
        kernel.set_simd(level)
        return contender()

    return run


def kernel_contenders(function: str, vms: fleets.VMArrays) -> dict[str, Contender]:
    """A kernel at every SIMD level and by numba, into results that have been touched, and the copy of as many bytes."""
    results = tuple(np.ones(N, np.int64) for _ in range(fleets.RESULTS[function]))
    out = results if len(results) > 1 else results[0]
    contenders: dict[str, Contender] = {"copy": fleets.Copy(fleets.BYTES_MOVED[function] * N)}
    for level in kernel.simd_levels():
        contenders[level] = at_level(level, lambda: fleets.call(function, vms, "c", out=out))
    contenders["numba"] = lambda: fleets.call(function, vms, "numba", out=out)
    return contenders


def elementwise(function: str, vms: fleets.VMArrays, twin: Contender, naive: Contender, targets: dict[str, str]) -> str:
    """Rows of one function; answers the widest SIMD level."""
    seconds = best_times(kernel_contenders(function, vms) | {"NumPy": twin})
    seconds |= {"plain Python": best_times({"naive": naive}, 1, 1)["naive"] * N / NAIVE_N}
    levels = kernel.simd_levels()
    copy = f"copy of the same bytes, {nanoseconds(seconds['copy'])}"
    for level in levels:
        ratio = seconds[level] / seconds["copy"]
        row(f"{function}, C {level}", nanoseconds(seconds[level]), copy, ratio, targets.get(level, ""))
    widest = levels[-1]
    fastest = f"C {widest}, {nanoseconds(seconds[widest])}"
    for other in ("numba", "NumPy", "plain Python"):
        ratio = seconds[other] / seconds[widest]
        row(f"{function}, {other}", nanoseconds(seconds[other]), fastest, ratio, targets.get(other, ""))
    return widest


def kernels(vms: fleets.VMArrays) -> None:
    overhead = fleets.columns("overhead", vms)
    required = fleets.columns("required_memory", vms)
    maximise = fleets.columns("maximise_memory", vms)
    elementwise(
        "overhead",
        vms,
        lambda: fleets.numpy_overhead(*overhead),
        naive("overhead", overhead),
        {"avx512": "≤ 1.2", "avx2": "≤ 1.6", "NumPy": "≥ 20", "numba": "≤ 1.5"},
    )
    elementwise(
        "required_memory",
        vms,
        lambda: fleets.numpy_required_memory(*required),
        naive("required_memory", required),
        {"avx512": "≤ 1.3", "avx2": "≤ 1.3", "numba": "≤ 1.5"},
    )
    widest = elementwise(
        "maximise_memory",
        vms,
        lambda: fleets.numpy_maximise_memory(*maximise),
        naive("maximise_memory", maximise),
        {"avx512": "", "numba": "≤ 1.5"},
    )
    kernel.set_simd(widest)
    few = fleets.vm_arrays(BISECTED_N)
    out = np.ones(BISECTED_N, np.int64)
    columns = fleets.columns("maximise_memory", few)
    seconds = best_times(
        {
            "c": lambda: kernel.maximise_memory(*columns, backend="c", out=out),
            "bisection": lambda: fleets.bisected_maximise_memory(*columns),
        }
    )
    c, bisection = (nanoseconds(seconds[name], BISECTED_N) for name in ("c", "bisection"))
    ratio = seconds["bisection"] / seconds["c"]
    row(f"maximise_memory, compiled bisection of {BISECTED_N:,}", bisection, f"C {widest}, {c}", ratio, "≥ 300")


def naive(function: str, columns: list[fleets.Array]) -> Contender:
    """tests/twins/reference.py over the first rows."""
    names = [kernel.DomainType(code).name.lower() for code in columns[0][:NAIVE_N]]
    rows = list(zip(names, *(column[:NAIVE_N].tolist() for column in columns[1:]), strict=True))
    one = getattr(reference, function)
    return lambda: [one(*values) for values in rows]


def free_memory(vms: fleets.VMArrays) -> None:
    columns = (fleets.available(), vms.static_max, vms.overhead, vms.resident_on, vms.scheduled_on)
    contenders: dict[str, Contender] = {
        name: (lambda name=name: kernel.free_memory(*columns, backend=name)) for name in kernel.backends()
    }
    contenders["bincount"] = lambda: fleets.bincount_free_memory(*columns)
    contenders["copy"] = fleets.Copy(24 * N)
    seconds = best_times(contenders)
    c = f"C, {nanoseconds(seconds['c'])}"
    row("free_memory, np.bincount", nanoseconds(seconds["bincount"]), c, seconds["bincount"] / seconds["c"], "≥ 5")
    row("free_memory, numba", nanoseconds(seconds["numba"]), c, seconds["numba"] / seconds["c"], "≤ 1.5")
    row(
        "free_memory, C",
        nanoseconds(seconds["c"]),
        f"copy of the same bytes, {nanoseconds(seconds['copy'])}",
        seconds["c"] / seconds["copy"],
        "",
    )


def threads() -> None:
    many = 10 * N
    vms = fleets.vm_arrays(many)
    out = np.ones(many, np.int64)
    twice = fleets.Copy(fleets.BYTES_MOVED["overhead"] * many)

    def on(count: int) -> Contender:
        def run() -> object:
            kernel.set_threads(count)
            return fleets.call("overhead", vms, "c", out=out)

        return run

    seconds = best_times({"1": on(1), "2": on(2), "copy": twice, "two copies": fleets.copies_at_once(twice)}, 5)
    kernel.set_threads(1)
    one, two = (nanoseconds(seconds[count], many) for count in "12")
    row("overhead, 10,000,000 VMs, one thread", one, f"two threads, {two}", seconds["1"] / seconds["2"], "≥ 1.6")
    one, two = (nanoseconds(seconds[name], many) for name in ("copy", "two copies"))
    row(
        "the copy of the same bytes, one thread",
        one,
        f"two threads, {two}",
        seconds["copy"] / seconds["two copies"],
        "",
    )


def one_vm() -> None:
    columns = fleets.columns("overhead", fleets.vm_arrays(1))
    calls = 10_000
    seconds = best_times({"call": lambda: [kernel.overhead(*columns) for _ in range(calls)]})["call"] / calls
    row("overhead of one VM, array API", f"{seconds * 1e6:.3g} µs", "5 µs", seconds / 5e-6, "≤ 1")
    many = fleets.columns("overhead", fleets.vm_arrays(N))
    seconds = best_times({"loop": lambda: fleets.jitted_total_overhead(*many)})["loop"] / N
    row("overhead of one VM, njit scalar in a jitted loop", f"{seconds * 1e9:.3g} ns", "10 ns", seconds / 10e-9, "≤ 1")


def command() -> None:
    example = str(fleets.ROOT / "examples" / "pool.xml.gz")

    def process(*arguments: str) -> Contender:
        return lambda: subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)

    seconds = best_times(
        {"report": process(fleets.COMMAND, "report", example), "python": process(sys.executable, "-c", "")}
    )
    report, python = (f"{seconds[name]:.3f} s" for name in ("report", "python"))
    row("`xenmem report`, whole process", report, f"0.3 s (Python alone: {python})", seconds["report"] / 0.3, "≤ 1")


def reading(vms: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = fleets.inventory(Path(folder) / "pool.xml", vms)
        size = path.stat().st_size / 1e6
        rounds = 5 if size < 200 else 2
        contenders: dict[str, Contender] = {
            "read": lambda: xenmem.read(path),
            "expat": lambda: bench_inventory.bare_parse(path),
        }
        seconds = best_times(contenders, rounds, calls=1)
    read, bare = (f"{size / seconds[name]:.0f} MB/s" for name in ("read", "expat"))
    what = f"reading a dump of {vms:,} VMs, {size:,.0f} MB"
    row(what, read, f"bare expat, {bare}", seconds["read"] / seconds["expat"], "≤ 1.5")


def numbers(vms_in_dump: int) -> None:
    """The kernels, the command and reading."""
    kernel.set_threads(1)
    vms = fleets.vm_arrays(N)
    kernels(vms)
    free_memory(vms)
    threads()
    one_vm()
    command()
    reading(vms_in_dump)
