"""planning.failover and max_failures: exact answers, beside the pool's own planner."""

from functools import cache

import numpy as np

from xenmem import planning

from . import fleets

LIMIT = 20
"""Seconds of a search near the limit."""


class Failures:
    """How long does the exact answer take for 64 hosts and 2,000 VMs, and for 16 and 320 beside the pool's planner?"""

    params = ([1, 2, 3],)
    param_names = ("failures",)
    timeout = 300

    def setup(self, failures: int) -> None:
        self.pool, self.small, self.configuration = asked(failures)

    def time_exact(self, failures: int) -> None:
        planning.failover(self.pool, failures)

    def time_exact_of_few(self, failures: int) -> None:
        planning.failover(self.small, failures)

    def time_as_xapi_does_for_few(self, failures: int) -> None:
        planning.xapi.binpack.plan_always_possible(self.configuration)


@cache
def asked(failures: int) -> tuple[planning.RestartPool, planning.RestartPool, planning.xapi.Configuration]:
    """A pool, a small one, and the small one as the pool's own planner takes it; what that survives, survives."""
    large, small = fleets.restart_pool(64, 2_000), fleets.restart_pool(16, 320)
    vms, hosts = np.arange(len(small.size), dtype=np.int32), np.arange(len(small.free), dtype=np.int32)
    configuration = planning.xapi.Configuration(
        hosts, small.free, vms, small.size, vms, small.resident_on, len(hosts), failures
    )
    own, exact = planning.xapi.binpack.plan_always_possible(configuration), planning.failover(small, failures)
    if own and exact.answer != "survives":
        raise AssertionError(f"the pool's planner finds restarts, and the exact one says {exact.answer}")
    planning.failover(large, failures)
    return large, small, configuration


class NearTheLimit:
    """64 hosts, 2,000 VMs and three failures where the answer is about to change: is it still exact, and how soon?

    60 hosts are nearly full, and four are spare. `free` is all free memory in thousandths of what three hosts run.
    """

    params = ([1000, 1080, 1085, 1090, 1095, 1100, 1150],)
    param_names = ("free",)
    rounds = 1
    timeout = 300

    def setup(self, free: int) -> None:
        self.pool, self.decided = near_the_limit(free)

    def time_failover(self, free: int) -> None:
        planning.failover(self.pool, 3, time_limit=LIMIT)

    def time_max_failures(self, free: int) -> None:
        planning.max_failures(self.pool, time_limit=LIMIT)

    def track_decided(self, free: int) -> int:
        """1 if the answer is exact."""
        return int(self.decided)


@cache
def near_the_limit(free: int) -> tuple[planning.RestartPool, bool]:
    rng = np.random.default_rng(4)
    size, resident = fleets.vm_sizes(2_000), rng.permutation(2_000) % 60 + 4
    load = np.bincount(resident, weights=size, minlength=64).astype(np.int64)
    share = np.concatenate([np.full(4, 30.0), rng.random(60)])
    room = (share / share.sum() * np.sort(load)[-3:].sum() * free / 1_000).astype(np.int64)
    pool = planning.RestartPool.from_arrays(room, size, resident)
    return pool, planning.failover(pool, 3, time_limit=LIMIT).answer != "unknown"
