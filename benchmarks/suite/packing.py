"""planning.pack_sizes: from the pool's own rule to exact searches, beside what no packing can do without."""

import heapq
from functools import cache

import numpy as np
from known_optima import triplets

from xenmem import planning

from . import fleets
from .arrays import Array

HOSTS = [100, 10_000]


def heap_of_hosts(sizes: Array, free: Array) -> list[tuple[int, int]]:
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


class Packing:
    """Is packing a million VMs a matter of a second? 100 VMs a host; beside it a heap of hosts in plain Python, and a
    sort of the sizes, which is the limit: each has to be looked at, and in order."""

    params = (HOSTS,)
    param_names = ("hosts",)
    timeout = 300

    def setup_cache(self) -> dict[int, tuple[Array, Array, float]]:
        """Sizes, free memory, and the share of hosts beyond the lower bound."""
        made = {}
        for hosts in HOSTS:
            sizes = fleets.vm_sizes(100 * hosts)
            free = np.full(hosts, int(sizes.sum() * 1.2) // hosts)
            plan = planning.pack_sizes(sizes, free, "fewest-hosts")
            planning.verify(plan, sizes=sizes, free=free)
            planning.xapi.biggest_fit_decreasing(sizes, free)
            made[hosts] = sizes, free, float(plan.gap)
        return made

    setup_cache.timeout = 600  # type: ignore[attr-defined]

    def time_as_xapi_does(self, made: dict[int, tuple[Array, Array, float]], hosts: int) -> None:
        planning.xapi.biggest_fit_decreasing(*made[hosts][:2])

    def time_fewest_hosts(self, made: dict[int, tuple[Array, Array, float]], hosts: int) -> None:
        planning.pack_sizes(*made[hosts][:2], "fewest-hosts")

    def time_heap_of_hosts(self, made: dict[int, tuple[Array, Array, float]], hosts: int) -> None:
        heap_of_hosts(*made[hosts][:2])

    def time_sort(self, made: dict[int, tuple[Array, Array, float]], hosts: int) -> None:
        np.sort(made[hosts][0])

    def track_gap_of_fewest_hosts(self, made: dict[int, tuple[Array, Array, float]], hosts: int) -> float:
        return made[hosts][2]


class KnownOptimum:
    """How long does the optimum of 120 VMs take that fill 40 hosts, three on each, without a rest? Twelve such."""

    def setup(self) -> None:
        self.instances, self.left_out = without_slack()

    def time_pack_12(self) -> None:
        for sizes, free in self.instances:
            planning.pack_sizes(sizes, free)

    def track_left_out_by_xapi(self) -> float:
        return self.left_out


@cache
def without_slack() -> tuple[list[tuple[Array, Array]], float]:
    """Twelve instances, and the share of all their VMs that the pool's rule leaves out."""
    made, placed = [], 0
    for seed in range(12):
        instance = triplets(120, seed)
        sizes, free = np.array(instance.sizes), np.full(instance.bins, instance.capacity)
        if np.any(planning.pack_sizes(sizes, free).host < 0):
            raise AssertionError("the optimum was not found")
        placed += len(planning.xapi.biggest_fit_decreasing(sizes, free)[0])
        made.append((sizes, free))
    return made, 1 - placed / (12 * 120)
