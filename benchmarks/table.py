"""Prints the tables of docs/explanation/speed.md out of asv's own results: the newest, or the newest of a commit.

    python table.py [COMMIT]

Knows benchmarks by name and measures nothing. A row whose benchmarks have not been run is left out. Times are asv's,
the medians of its samples, in seconds.
"""

import sys
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Final, NamedTuple

from asv.config import Config
from asv.results import iter_results

HERE = Path(__file__).resolve().parent
THOUSAND, HUNDRED_THOUSAND, MILLION, TEN_MILLION = 1_000, 100_000, 1_000_000, 10_000_000
LEVELS: Final = ("scalar", "avx2", "avx512")
Values = Mapping[tuple[str, ...], float]


class Of(NamedTuple):
    """A result of asv: a benchmark, its parameters, and by what the value is multiplied."""

    name: str
    parameters: tuple[object, ...] = ()
    times: float = 1

    def __call__(self, values: Values) -> float:
        return values[self.name, *map(repr, self.parameters)] * self.times


class Row(NamedTuple):
    """What is measured; in words, with {} for the other value, what it is compared with; and what we set out to reach.

    The ratio says how many times more it is than the other value, or (`saves`) how many times less; `ratio` takes other
    values for it. `more` are further values for the words.
    """

    what: str
    measured: Of
    beside: str
    other: Of | float
    target: str = ""
    saves: bool = False
    ratio: tuple[Of, Of] | None = None
    more: tuple[Of, ...] = ()

    def text(self, values: Values) -> str:
        measured = self.measured(values)
        other = self.other(values) if isinstance(self.other, Of) else self.other
        more = [of(values) for of in self.more]
        over, under = (other, measured) if self.saves else (measured, other)
        if self.ratio:
            over, under = (of(values) for of in self.ratio)
        beside = self.beside.format(duration(other), *map(duration, more), more=more)
        what = self.what.format(more=more)
        return f"| {what} | {duration(measured)} | {beside} | {over / under:.3g} | {self.target} |"


def duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def elementwise(name: str, function: str, widest: str, targets: dict[str, str]) -> Iterator[Row]:
    """Nanoseconds a VM: C beside the copy of the same bytes, other ways beside the widest C; targets by label."""

    def of(way: str, vms: int) -> Of:
        return Of(f"{name}.time_call", (way, vms), 1 / vms)

    def row(label: str, way: str, other: str, beside: str, vms: int = MILLION) -> Row:
        label += "" if vms == MILLION else f", {vms:,} VMs"
        return Row(f"{function}, {label}", of(way, vms), f"{beside}, {{}}", of(other, vms), targets.get(label, ""))

    for level in LEVELS:
        yield row(f"C {level}", f"c-{level}", "copy", "copy of the same bytes")
    for vms in (HUNDRED_THOUSAND, TEN_MILLION):
        yield row(widest, f"c-{widest[2:]}", "copy", "copy of the same bytes", vms)
    yield row("numba", "numba", f"c-{widest[2:]}", widest)
    yield row("NumPy", "numpy", f"c-{widest[2:]}", widest)
    yield row("plain Python", "python", f"c-{widest[2:]}", widest, THOUSAND)


def numbers(widest: str) -> Iterator[Row]:
    """The kernels, the command and reading. 1,000,000 VMs and one thread unless a row says otherwise."""
    targets = {"C avx2": "≤ 1.6", "C avx512": "≤ 1.2", "numba": "≤ 1.5", "NumPy": "≥ 20"}
    targets[f"{widest}, 10,000,000 VMs"] = "≤ 1.05"
    yield from elementwise("overhead.Overhead", "overhead", widest, targets)
    targets = {"C avx2": "≤ 1.3", "C avx512": "≤ 1.3", "numba": "≤ 1.5"}
    yield from elementwise("required_memory.RequiredMemory", "required_memory", widest, targets)
    yield from elementwise("maximise.Maximise", "maximise_memory", widest, {"numba": "≤ 1.5"})
    closed = Of("maximise.Maximise.time_call", (f"c-{widest[2:]}", HUNDRED_THOUSAND), 1 / HUNDRED_THOUSAND)
    bisected = Of("maximise.Bisection.time_compiled", (), 1 / HUNDRED_THOUSAND)
    yield Row("maximise_memory, compiled bisection of 100,000", bisected, f"{widest}, {{}}", closed, "≥ 300")
    yield from elementwise("build_memory.BuildMemory", "build_memory", widest, {"numba": "≤ 1.5"})
    bincount, numba, c, copy = (
        Of("free_memory.FreeMemory.time_call", (way,), 1 / MILLION) for way in ("bincount", "numba", "c", "copy")
    )
    yield Row("free_memory, np.bincount with weights", bincount, "C, {}", c, "≥ 5")
    yield Row("free_memory, numba", numba, "C, {}", c, "≤ 1.5")
    yield Row("free_memory, C", c, "copy of the same bytes, {}", copy)
    for what, label, target in (("overhead", "overhead", "≥ 1.6"), ("copy", "the copy of the same bytes", "")):
        one, two = (Of("overhead.Threads.time_call", (what, TEN_MILLION, n), 1 / TEN_MILLION) for n in (1, 2))
        yield Row(f"{label}, 10,000,000 VMs, one thread", one, "two threads, {}", two, target)
    yield Row("overhead of one VM, arrays of one", Of("overhead.OneVM.time_arrays"), "{}", 2e-6, "≤ 1")
    yield Row("overhead of one VM, plain numbers", Of("overhead.OneVM.time_numbers"), "{}", 2e-6)
    jitted = Of("overhead.Scalar.time_jitted_loop", (), 1 / MILLION)
    yield Row("overhead of one VM, njit scalar in a jitted loop", jitted, "{}", 10e-9, "≤ 1")
    report, python = (Of("command.Start.time_process", (name,)) for name in ("report", "nothing"))
    yield Row("`xenmem report`, whole process", report, "{} (Python alone: {})", 0.3, "≤ 1", more=(python,))
    read, bare, size = (
        Of(f"inventory.Read.{name}", ("statedb", 5_000)) for name in ("time_read", "time_bare", "track_mb")
    )
    yield Row("reading a dump of 5,000 VMs, {more[0]:.0f} MB", read, "bare expat, {}", bare, "≤ 1.5", more=(size,))


def messages() -> Iterator[Row]:
    """Messages in a pool of 1,000 hosts and 100,000 VMs, the collector off."""
    targets = {
        **dict.fromkeys(("VM.get_record", "VM.set_memory", "VM.start_on", "VM.suspend", "VM.pool_migrate"), ""),
        **{"VM.get_memory_static_max": "≤ 3 µs", "host.compute_free_memory": "≤ 5 µs"},
        **dict.fromkeys(("VM.set_memory_dynamic_range", "VM.start", "VM.hard_shutdown"), "≤ 30 µs"),
    }
    for name, target in targets.items():
        few, many = (Of("messages.Message.time_400", (name, vms), 1 / 400) for vms in (1_600, HUNDRED_THOUSAND))
        yield Row(name, many, "16 hosts, 1,600 VMs: {}", few, target)
    free = Of("messages.Message.time_400", ("host.compute_free_memory", 1_600), 1 / 400)
    recomputed = Of("messages.Recomputed.time_free_memory")
    yield Row("free memory from all records, 1,600 VMs", recomputed, "host.compute_free_memory, {}", free)
    for name, label in (("kept", "kept"), ("kept_after_a_message", "kept, after a message"), ("new", "new")):
        batch, pairs = Of(f"batch.BootMatrix.time_{name}"), Of("batch.BootMatrix.time_pair_by_pair", (), 5_000)
        what = f"boot matrix, 10,000 VMs x 1,000 hosts, Batch {label}"
        yield Row(what, batch, "pair by pair, {}", pairs, "≤ 50 ms", saves=True)
    kernel, plain = Of("batch.Limits.time_kernel"), Of("batch.Limits.time_plain_python", (), 100)
    yield Row("a million set_memory_limits validated", kernel, "plain Python, {}", plain, "≤ 10 ms", saves=True)
    load, bare = (Of(f"loading.Load.time_{name}", (HUNDRED_THOUSAND,)) for name in ("load", "bare_decoding"))
    yield Row("100,000 VM records into the database", load, "bare decoding, {}", bare, "≤ 5")


def plans() -> Iterator[Row]:
    """Plans; searches are compiled before."""
    own, fewest, heap, sort, gap = (
        Of(f"packing.Packing.{name}", (10_000,))
        for name in (
            "time_as_xapi_does",
            "time_fewest_hosts",
            "time_heap_of_hosts",
            "time_sort",
            "track_gap_of_fewest_hosts",
        )
    )
    yield Row("1,000,000 VMs x 10,000 hosts as the pool does", own, "a heap, {}", heap, "≤ 0.5 s", saves=True)
    yield Row("1,000,000 VMs x 10,000 hosts as the pool does", own, "a sort, {}", sort)
    what = "1,000,000 VMs onto fewest hosts, gap {more[0]:.2g}"
    yield Row(what, fewest, "a sort, {}", sort, "≤ 2 s, 0.001", more=(gap,))
    exact, left_out = (
        Of("packing.KnownOptimum.time_pack_12", (), 1 / 12),
        Of("packing.KnownOptimum.track_left_out_by_xapi"),
    )
    what, rule = "120 VMs onto 40 hosts without slack", "{}; the pool's rule leaves out {more[0]:.2g} of the VMs"
    yield Row(what, exact, rule, 1.0, "≤ 1", more=(left_out,))
    for count, target in ((1, ""), (2, "≤ 1 s"), (3, "≤ 10 s")):
        large, few, xapi = (
            Of(f"failover.Failures.time_{name}", (count,)) for name in ("exact", "exact_of_few", "as_xapi_does_for_few")
        )
        beside = "16 hosts, 320 VMs: the pool's planner {}, exact {}"
        what = f"failover, {count} of 64 hosts, 2,000 VMs"
        yield Row(what, large, beside, xapi, target, ratio=(xapi, few), more=(few,))
    capacity = Of("capacity.Capacity.time_capacity", (1,))
    yield Row("capacity that survives a failure, 200 hosts", capacity, "{}", 0.05, "≤ 1")
    for fill in (0.8, 0.9, 0.95, 0.97):
        seconds, made, least = (
            Of(f"evacuation.Evacuation.{name}", (fill,))
            for name in ("time_evacuate", "track_migrations", "track_fewest_migrations")
        )
        what = f"evacuation of one of 64 hosts, 1,000 VMs, {fill:.0%} full".replace("%", " %")
        beside = "{more[0]:.0f} migrations, at least {more[1]:.0f}"
        yield Row(what, seconds, beside, 0.1, "≤ 100 ms", ratio=(made, least), more=(made, least))
    for fill in (0.85, 0.93):
        seconds, copied, plain = (
            Of(f"rolling_update.RollingUpdate.{name}", (fill,))
            for name in ("time_rolling_update", "track_gib_copied", "track_gib_of_plain_evacuations")
        )
        what = f"rolling update of 16 hosts, 300 VMs, {fill:.0%} full".replace("%", " %")
        yield Row(what, seconds, "bytes of the plain evacuations", 5.0, "≤ 5 s, 1.2", ratio=(copied, plain))


def endpoint() -> Iterator[Row]:
    """What is served over sockets, beside the standard library's server in the same run."""
    standard = "SimpleXMLRPCServer"
    for connections, target in ((1, "≥ 3"), (64, "≥ 5")):
        for way in ("json", "xml"):
            ours, other = (Of("serve.Getters.time_getters", (one, connections), 1 / 400) for one in (way, standard))
            what = f"a getter, {way.upper()}, connections: {connections}"
            yield Row(what, ours, f"{standard}, {{}}", other, target, saves=True)
    for way, target in (("json", "≥ 10"), ("xml", "≥ 3")):
        ours, other = (Of("serve.Records.time_records", (one,)) for one in (way, standard))
        what = f"VM.get_all_records of 10,000 VMs, {way.upper()}"
        yield Row(what, ours, f"{standard}, {{}}", other, target, saves=True)
    last, kept, first = (
        Of("serve.Events.track_thousand_clients"),
        Of("serve.Durable.time_changes", (), 1 / 400),
        Of("serve.Start.track_first_answer"),
    )
    yield Row("a change at the last of 1,000 waiting clients", last, "{}", 0.25, "≤ 1")
    yield Row("a change that is kept, connections: 64", kept, "{}", 0.0005, "≤ 1")
    yield Row("first answer from a dump of 2,000 VMs", first, "{}", 1.5, "≤ 1")


def live() -> Iterator[Row]:
    """Pools that run, over TLS."""
    report, official, bare = (Of("mirror.Report.time_process", (one,)) for one in ("xenmem report", "XenAPI", "json"))
    what = "`xenmem report https://...`, 64 hosts, 2,000 VMs"
    yield Row(what, report, "PyPI's XenAPI fetches the same records, {}", official, "≤ 1.5")
    yield Row(what, report, "a bare client of JSON-RPC, {}", bare, "")
    yield Row("a mirror's lag, 500 changes a second", Of("mirror.Load.track_lag"), "{}", 0.2, "≤ 1")
    yield Row("CPU of the mirror in each second of it", Of("mirror.Load.track_cpu"), "{}", 0.3, "≤ 1")


def newest(commit: str) -> Values:
    """Values by benchmark and parameters, of the newest run of a commit whose hash begins so."""
    folder = HERE / Config.load(str(HERE / "asv.conf.json")).results_dir
    found = [one for one in iter_results(str(folder)) if one.started_at and one.commit_hash.startswith(commit)]
    if not found:
        raise SystemExit(f"table: no results of {commit or 'any commit'} in {folder}; `make bench` measures")
    results = max(found, key=lambda one: max(one.started_at.values()))
    print(f"Commit {results.commit_hash[:8]}, {results.params['cpu']}, {results.params['num_cpu']} CPUs")
    values = {}
    for name in results.get_all_result_keys():
        parameters = results.get_result_params(name)
        for key, value in zip(product(*parameters), results.get_result_value(name, parameters), strict=True):
            if value is not None and value == value:  # neither failed nor skipped
                values[name, *key] = value
    return values


def main() -> None:
    values = newest(*sys.argv[1:2] or [""])
    measured = (f"C {level}" for level in LEVELS[::-1] if any(f"'c-{level}'" in key for key in values))
    widest = next(measured, "C scalar")
    for table in (numbers(widest), messages(), plans(), endpoint(), live()):
        print("\n| what | measured | compared with | ratio | target |\n| --- | --- | --- | --- | --- |")
        for row in table:
            try:
                print(row.text(values))
            except KeyError:
                continue


if __name__ == "__main__":
    main()
