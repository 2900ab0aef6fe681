"""The rows about messages: what each costs in a pool of 1,000 hosts and 100,000 VMs, and what arrays save.

Messages are timed in batches, the collector off: its passes over a database of this size would hide what they cost.
"""

import gc
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from suite import bench_xenapi, pools

from ratios.table import best_times, row
from xenmem import Fleet
from xenmem.xenapi import Pool
from xenmem.xenapi.door.batch import Batch
from xenmem.xenapi.store.saving import save

HOSTS, VMS = bench_xenapi.POOLS[-1]
FEW_HOSTS, FEW_VMS = bench_xenapi.POOLS[0]
CALLS = 400
TARGETS = {
    "VM.get_memory_static_max": "≤ 3 µs",
    "host.compute_free_memory": "≤ 5 µs",
    "VM.set_memory_dynamic_range": "≤ 30 µs",
    "VM.start": "≤ 30 µs",
    "VM.hard_shutdown": "≤ 30 µs",
}


def microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.3g} µs"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"


def best_batch(send: Callable[[int], object], undo: Callable[[], object], rounds: int = 7) -> float:
    """Seconds of one message: the best of some rounds of many, each from the same pool."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        for number in range(CALLS):
            send(number)
        best = min(best, (time.perf_counter() - start) / CALLS)
        undo()
    return best


def message_times(hosts: int, vms: int) -> dict[str, float]:
    """Seconds of each message."""
    times = {}
    for message in bench_xenapi.MESSAGES:
        case = bench_xenapi.Message()
        case.setup(message, (hosts, vms))
        database = case.session.pool.database
        gc.collect()
        gc.disable()
        times[message] = best_batch(case.send, lambda d=database, c=case: d.restore(c.start))
        gc.enable()
    return times


def recomputed(hosts: int, vms: int) -> float:
    """Seconds of what a script without the sums would do: one host's free memory from the records of the pool."""
    session = pools.session(hosts, vms)
    records = {name: getattr(session.xenapi, name).get_all_records() for name in ("host", "host_metrics", "VM", "pool")}
    return best_times({"sum": lambda: Fleet.from_records(records).free_memory("dynamic_min")}, 1, 1)["sum"]


def messages() -> None:
    """Messages, the boot matrix, limits, loading."""
    few, many = message_times(FEW_HOSTS, FEW_VMS), message_times(HOSTS, VMS)
    for message, seconds in many.items():
        small = f"{FEW_HOSTS} hosts, {FEW_VMS:,} VMs: {microseconds(few[message])}"
        row(message, microseconds(seconds), small, seconds / few[message], TARGETS.get(message, ""))
    seconds = recomputed(FEW_HOSTS, FEW_VMS)
    free = few["host.compute_free_memory"]
    what = f"free memory from all records, {FEW_VMS:,} VMs"
    row(what, milliseconds(seconds), f"host.compute_free_memory, {microseconds(free)}", seconds / free, "")
    matrix()
    limits()
    loading()


def matrix() -> None:
    case = bench_xenapi.Boot()
    case.setup(VMS)
    vms = case.session.xenapi.VM.get_all()[:20]
    hosts = case.session.xenapi.host.get_all()[:100]
    reason = Batch(case.session).reason
    seconds = best_times(
        {
            "kept": lambda: case.time_known(VMS),
            "kept, after a message": lambda: case.time_after_a_message(VMS),
            "new": lambda: case.time_anew(VMS),
            "one by one": lambda: [reason("VM.assert_can_boot_here", vm, host) for vm in vms for host in hosts],
        },
        5,
        1,
    )
    single = seconds["one by one"] / (len(vms) * len(hosts)) * 10_000 * 1_000
    for name in ("kept", "kept, after a message", "new"):
        what = f"boot matrix, 10,000 VMs x 1,000 hosts, Batch {name}"
        row(what, milliseconds(seconds[name]), f"pair by pair, {single:.3g} s", single / seconds[name], "≤ 50 ms")


def limits() -> None:
    case = bench_xenapi.Limits()
    case.setup()
    columns = [column[:10_000].tolist() for column in (*case.limits, case.pinned)]

    def loop() -> object:
        return [
            0 <= low <= bottom <= top <= high and (not pinned or bottom == top == high)
            for low, bottom, top, high, pinned in zip(*columns, strict=True)
        ]

    seconds = best_times({"kernel": case.time_kernel, "loop": loop}, 5)
    plain = seconds["loop"] * 100
    what = "a million set_memory_limits validated"
    kernel = seconds["kernel"]
    row(what, milliseconds(kernel), f"plain Python, {milliseconds(plain)}", plain / kernel, "≤ 10 ms")


def loading() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pool.json"
        save(pools.database(HOSTS, VMS), path)
        seconds = best_times(
            {"load": lambda: Pool(path), "decode": lambda: msgspec.json.decode(path.read_bytes())}, 2, 1
        )
    load, decode = (f"{seconds[name]:.3g} s" for name in ("load", "decode"))
    what = f"{VMS:,} VM records into the database"
    row(what, load, f"bare decoding, {decode}", seconds["load"] / seconds["decode"], "≤ 5")
