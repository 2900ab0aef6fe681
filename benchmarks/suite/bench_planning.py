"""xenmem.planning: how long does a plan take, from the pool's own rule to exact searches?"""

import numpy as np

from xenmem import planning

from . import fleets

GIB = 1 << 30
SIZES = np.array([1, 2, 4, 8, 16, 32, 64])


def vm_sizes(n: int, seed: int = 1) -> fleets.Array:
    """A mix with the overheads that make no two sizes quite alike."""
    rng = np.random.default_rng(seed)
    shares = np.array([8, 14, 23, 21, 14, 7, 3]) / 90
    return rng.choice(SIZES, n, p=shares) * GIB + rng.integers(8, 600, n) * fleets.MIB


class Packing:
    """Is packing a million VMs a matter of a second?"""

    params = ([(10_000, 100), (1_000_000, 10_000)],)
    param_names = ("VMs and hosts",)
    timeout = 300

    def setup(self, size: tuple[int, int]) -> None:
        vms, hosts = size
        self.sizes = vm_sizes(vms)
        self.free = np.full(hosts, int(self.sizes.sum() * 1.2) // hosts)
        few = vm_sizes(100)
        planning.xapi.biggest_fit_decreasing(few, self.free)
        planning.pack_sizes(few, self.free, "fewest-hosts")

    def time_as_xapi_does(self, size: tuple[int, int]) -> None:
        planning.xapi.biggest_fit_decreasing(self.sizes, self.free)

    def time_fewest_hosts(self, size: tuple[int, int]) -> None:
        planning.pack_sizes(self.sizes, self.free, "fewest-hosts")

    def track_gap_of_fewest_hosts(self, size: tuple[int, int]) -> float:
        """The share of hosts beyond the lower bound."""
        return float(planning.pack_sizes(self.sizes, self.free, "fewest-hosts").gap)


class KnownOptimum:
    """How long does the optimum of 120 items take, which the pool's own rule misses by a fifth of the VMs?"""

    def setup(self) -> None:
        path = fleets.ROOT / "tests" / "data" / "binpacking" / "t120_00.txt"
        items, capacity, *sizes = map(int, path.read_text().split())
        self.sizes = np.array(sizes)
        self.free = np.full(items // 3, capacity)
        if np.any(planning.pack_sizes(self.sizes, self.free).host < 0):
            raise AssertionError("the optimum was not found")

    def time_pack(self) -> None:
        planning.pack_sizes(self.sizes, self.free)


class Failures:
    """Exact failover of 64 hosts and 2,000 VMs, and capacity of 200 hosts that still survive one failure."""

    params = ([1, 2, 3],)
    param_names = ("failures",)
    timeout = 300

    def setup(self, failures: int) -> None:
        self.pool = self.pool_of(64, 2_000)
        self.large = self.pool_of(200, 4_000)
        planning.failover(self.pool, failures)
        planning.capacity(self.large, [16 * GIB], num_failures=1)

    @staticmethod
    def pool_of(hosts: int, vms: int) -> planning.RestartPool:
        rng = np.random.default_rng(2)
        size, resident = vm_sizes(vms), rng.integers(0, hosts, vms)
        load = np.bincount(resident, weights=size, minlength=hosts).astype(np.int64)
        free = np.maximum(0, int(load.max() * 1.25) - load)
        return planning.RestartPool.from_arrays(free, size, resident)

    def time_failover(self, failures: int) -> None:
        planning.failover(self.pool, failures)

    def time_capacity_with_one_failure(self, failures: int) -> None:
        planning.capacity(self.large, [16 * GIB], num_failures=1)
