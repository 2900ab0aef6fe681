"""xenmem.planning: how long does a plan take, from the pool's own rule to exact searches?"""

import runpy

import numpy as np

import xenmem
from xenmem import kernel, planning

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


def known_optimum(seed: int) -> tuple[fleets.Array, fleets.Array]:
    """Sizes and hosts of an instance whose 120 VMs, three by three, fill the hosts without a rest."""
    _, capacity, sizes, hosts = runpy.run_path(str(fleets.ROOT / "tests" / "known_optima.py"))["triplets"](120, seed)
    return np.array(sizes), np.full(hosts, capacity)


class KnownOptimum:
    """How long does the optimum of 120 items take, which the pool's own rule misses by a tenth of the VMs?"""

    def setup(self) -> None:
        self.sizes, self.free = known_optimum(0)
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


class FailuresNearTheLimit:
    """64 hosts, 2,000 VMs and three failures where the answer is about to change: is it still exact, and how soon?

    60 hosts are nearly full, and four are spare. `free` is all free memory in thousandths of what three hosts run.
    """

    params = ([1000, 1080, 1085, 1090, 1095, 1100, 1150],)
    param_names = ("free",)
    timeout = 300

    def setup(self, free: int) -> None:
        rng = np.random.default_rng(4)
        size, resident = vm_sizes(2_000), rng.permutation(2_000) % 60 + 4
        load = np.bincount(resident, weights=size, minlength=64).astype(np.int64)
        share = np.concatenate([np.full(4, 30.0), rng.random(60)])
        room = (share / share.sum() * np.sort(load)[-3:].sum() * free / 1_000).astype(np.int64)
        self.pool = planning.RestartPool.from_arrays(room, size, resident)
        planning.failover(self.pool, 3, time_limit=20)
        planning.max_failures(self.pool, time_limit=20)

    def time_failover(self, free: int) -> None:
        planning.failover(self.pool, 3, time_limit=20)

    def time_max_failures(self, free: int) -> None:
        planning.max_failures(self.pool, time_limit=20)

    def track_decided(self, free: int) -> int:
        """1 if the answer is exact."""
        return int(planning.failover(self.pool, 3, time_limit=20).answer != "unknown")


def pool_of(hosts: int, vms: int, fill: float, name: str = "pool") -> xenmem.Fleet:
    """One pool, each VM started on the host with the most room, as xapi would."""
    static_max = vm_sizes(vms) // fleets.MIB
    overhead = kernel.overhead(kernel.DomainType.HVM, static_max * fleets.MIB, 2, 1.0) // fleets.MIB
    sizes = static_max + overhead
    capacity = int(sizes.sum() / hosts / fill)
    resident = np.zeros(vms, np.int64)
    load = np.zeros(hosts, np.int64)
    for vm in np.argsort(-sizes):
        resident[vm] = load.argmin()
        load[resident[vm]] += sizes[vm]
    records: dict[str, dict[str, dict[str, object]]] = {
        "pool": {name: {"uuid": name, "name_label": name, "master": "host-0"}},
        "host": {},
        "host_metrics": {},
        "VM": {},
    }
    for host in range(hosts):
        ref = f"host-{host}"
        records["host"][ref] = {
            "uuid": ref,
            "name_label": ref,
            "metrics": f"{ref}-metrics",
            "enabled": True,
            "memory_overhead": "0",
            "software_version": {"xapi_build": "26.3.0"},
        }
        total = max(capacity, int(load[host])) * fleets.MIB
        records["host_metrics"][f"{ref}-metrics"] = {"uuid": ref, "memory_total": str(total), "live": True}
    for vm in range(vms):
        ref = f"vm-{vm}"
        limits = ("static_max", "dynamic_max", "dynamic_min", "static_min", "target")
        records["VM"][ref] = {
            "uuid": ref,
            "name_label": ref,
            "power_state": "Running",
            "resident_on": f"host-{resident[vm]}",
            "domain_type": "hvm",
            **{f"memory_{limit}": str(int(static_max[vm]) * fleets.MIB) for limit in limits},
            "memory_overhead": str(int(overhead[vm]) * fleets.MIB),
            "VCPUs_max": "2",
            "VCPUs_at_startup": "2",
            "HVM_shadow_multiplier": 1.0,
        }
    return xenmem.Fleet.from_records(records)


class Evacuation:
    """Is one of 64 hosts emptied in a tenth of a second, however full the pool is?"""

    params = ([0.5, 0.8, 0.9, 0.95, 0.97],)
    param_names = ("fill",)
    timeout = 120

    def setup(self, fill: float) -> None:
        self.fleet = pool_of(64, 1_000, fill)
        if planning.evacuate(self.fleet, 0).blocked:
            raise AssertionError("no order of the migrations was found")

    def time_evacuate(self, fill: float) -> None:
        planning.evacuate(self.fleet, 0)

    def track_gap(self, fill: float) -> float:
        """The share of migrations beyond their lower bound."""
        return float(planning.evacuate(self.fleet, 0).gap)


class Leveling:
    """How long does it take to empty as many of 64 hosts as possible, or to level them by 20 migrations?"""

    params = ([0.5, 0.8],)
    param_names = ("fill",)
    timeout = 120

    def setup(self, fill: float) -> None:
        self.fleet = pool_of(64, 1_000, fill)
        planning.consolidate(self.fleet)
        planning.rebalance(self.fleet, 20)

    def time_consolidate(self, fill: float) -> None:
        planning.consolidate(self.fleet)

    def track_moves_of_consolidate(self, fill: float) -> float:
        """The share of migrations beyond their lower bound."""
        plan = planning.consolidate(self.fleet)
        moves = sum(not move.temporary for move in plan.migrations)
        return moves / max(plan.fewest_moves, 1) - 1

    def time_rebalance(self, fill: float) -> None:
        planning.rebalance(self.fleet, 20)


class ManyPools:
    """What do a hundred pools of 8 hosts gain from being searched side by side?"""

    params = ([1, 2, 4], list(planning.OBJECTIVES))
    param_names = ("threads", "objective")
    timeout = 120

    def setup(self, threads: int, objective: str) -> None:
        self.before = kernel.threads()
        kernel.set_threads(threads)
        self.fleet = xenmem.Fleet.concatenate([pool_of(8, 120, 0.96, f"pool-{number}") for number in range(100)])
        planning.pack(self.fleet, objective=objective, policy="dynamic_min")

    def teardown(self, threads: int, objective: str) -> None:
        kernel.set_threads(self.before)

    def time_pack(self, threads: int, objective: str) -> None:
        planning.pack(self.fleet, objective=objective, policy="dynamic_min")


class RollingUpdate:
    """How long does it take to plan the update of 16 hosts with 300 VMs? At 93.75 % the other 15 would be full."""

    params = ([0.5, 0.85, 0.9, 0.93],)
    param_names = ("fill",)
    timeout = 120

    def setup(self, fill: float) -> None:
        random = np.random.default_rng(1)
        size = np.exp(random.uniform(np.log(1024), np.log(65536), 300)).astype(np.int64) * fleets.MIB
        home = np.zeros(300, np.int32)
        load = np.zeros(16, np.int64)
        for vm in np.argsort(-size):
            home[vm] = load.argmin()
            load[home[vm]] += size[vm]
        capacity = np.full(16, int(size.sum() / 16 / fill))
        need = np.column_stack([size, size + size // 256])
        self.problem = planning.UpdateProblem.from_arrays(capacity, need, home, copied=size)
        if not planning.rolling_update(self.problem).steps:
            raise AssertionError("no plan was found")

    def time_rolling_update(self, fill: float) -> None:
        planning.rolling_update(self.problem)

    def track_copied(self, fill: float) -> float:
        """The share of bytes beyond their lower bound."""
        plan = planning.rolling_update(self.problem)
        return plan.copied / plan.bound - 1
