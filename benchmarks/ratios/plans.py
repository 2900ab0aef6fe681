"""The rows about plans: beside the pool's own planners, a heap of hosts in plain Python, and a sort of the sizes.

A sort is the limit of packing: every size has to be looked at, and in order.
"""

import heapq
import time

import numpy as np
from suite import bench_planning, fleets
from twins import stepwise

from ratios.table import best_times, row
from xenmem import planning


def duration(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def plans() -> None:
    """Packing, failover, capacity, evacuation, rolling update."""
    packing()
    known_optimum()
    failures()
    evacuation()
    rolling_update()


def heap_of_hosts(sizes: fleets.Array, free: fleets.Array) -> list[tuple[int, int]]:
    """Each VM, by falling size, onto the host with most free memory: what one would write in a scheduler."""
    hosts = [(-amount, host) for host, amount in enumerate(free.tolist())]
    heapq.heapify(hosts)
    placed = []
    for vm in np.argsort(-sizes, kind="stable").tolist():
        amount, host = hosts[0]
        size = int(sizes[vm])
        if -amount >= size:
            heapq.heapreplace(hosts, (amount + size, host))
            placed.append((vm, host))
    return placed


def packing() -> None:
    case = bench_planning.Packing()
    size = (1_000_000, 10_000)
    case.setup(size)
    seconds = best_times(
        {
            "xapi": lambda: case.time_as_xapi_does(size),
            "fewest": lambda: case.time_fewest_hosts(size),
            "heap": lambda: heap_of_hosts(case.sizes, case.free),
            "sort": lambda: np.sort(case.sizes),
        },
        3,
        1,
    )
    heap, sort = (f"{what}, {duration(seconds[name])}" for name, what in (("heap", "a heap"), ("sort", "a sort")))
    what = "1,000,000 VMs x 10,000 hosts as the pool does"
    row(what, duration(seconds["xapi"]), heap, seconds["heap"] / seconds["xapi"], "≤ 0.5 s")
    row(what, duration(seconds["xapi"]), sort, seconds["xapi"] / seconds["sort"], "")
    gap = case.track_gap_of_fewest_hosts(size)
    what = f"1,000,000 VMs onto fewest hosts, gap {100 * gap:.2g} %"
    row(what, duration(seconds["fewest"]), sort, seconds["fewest"] / seconds["sort"], "≤ 2 s, 0.1 %")


def known_optimum() -> None:
    times, left_out = [], []
    for seed in range(20):
        sizes, free = bench_planning.known_optimum(seed)
        start = time.perf_counter()
        placed = planning.pack_sizes(sizes, free).host >= 0
        times.append(time.perf_counter() - start)
        if not placed.all():
            raise AssertionError("an optimum was not found")
        left_out.append(1 - len(planning.xapi.biggest_fit_decreasing(sizes, free)[0]) / len(sizes))
    rule = f"the pool's rule leaves out {100 * np.mean(left_out):.0f} % of the VMs"
    what = f"{len(times)} packings without slack, the slowest"
    row(what, duration(max(times)), rule, max(times), "≤ 1 s")


def as_the_pool_sees(pool: planning.RestartPool, failures: int) -> planning.xapi.Configuration:
    """The question of `failover`, one host after another, as the pool's own planner takes it."""
    vms = np.arange(len(pool.size), dtype=np.int32)
    hosts = np.arange(len(pool.free), dtype=np.int32)
    return planning.xapi.Configuration(hosts, pool.free, vms, pool.size, vms, pool.resident_on, len(hosts), failures)


def failures() -> None:
    for count, target in ((1, ""), (2, "≤ 1 s"), (3, "≤ 10 s")):
        case = bench_planning.Failures()
        case.setup(count)
        seconds = best_times({"exact": lambda case=case, count=count: case.time_failover(count)}, 3, 1)["exact"]
        small = bench_planning.Failures.pool_of(16, 320)
        configuration = as_the_pool_sees(small, count)
        both = best_times(
            {
                "exact": lambda small=small, count=count: planning.failover(small, count),
                "own": lambda asked=configuration: planning.xapi.binpack.plan_always_possible(asked),
            },
            2,
            1,
        )
        what = f"failover, {count} of 64 hosts, 2,000 VMs"
        compared = f"16 hosts, 320 VMs: the pool's planner {duration(both['own'])}, exact {duration(both['exact'])}"
        row(what, duration(seconds), compared, both["own"] / both["exact"], target)
    seconds = best_times({"capacity": lambda: case.time_capacity_with_one_failure(1)}, 3, 1)["capacity"]
    row("capacity that survives a failure, 200 hosts", duration(seconds), "50 ms", seconds / 0.05, "≤ 1")


def evacuation() -> None:
    for fill in (0.8, 0.9, 0.95, 0.97):
        case = bench_planning.Evacuation()
        case.setup(fill)
        seconds = best_times({"evacuate": lambda case=case, fill=fill: case.time_evacuate(fill)}, 5, 1)["evacuate"]
        plan = planning.evacuate(case.fleet, 0)
        what = f"evacuation of one of 64 hosts, 1,000 VMs, {100 * fill:.0f} % full"
        row(what, duration(seconds), f"{plan.value} migrations, at least {plan.bound}", plan.gap + 1, "≤ 100 ms")


def rolling_update() -> None:
    for fill in (0.85, 0.93):
        case = bench_planning.RollingUpdate()
        case.setup(fill)
        seconds = best_times({"update": lambda case=case, fill=fill: case.time_rolling_update(fill)}, 3, 1)["update"]
        plan = planning.rolling_update(case.problem)
        plain = stepwise.plain_evacuations(case.problem, list(plan.order))
        what = f"rolling update of 16 hosts, 300 VMs, {100 * fill:.0f} % full"
        row(what, duration(seconds), "bytes of the plain evacuations", plan.copied / plain, "≤ 5 s, 1.2")
