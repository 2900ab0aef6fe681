"""The examples of docs/reference/planning.md, 7, each answered twice: as the pool's planners do, and better.

The first answer is wrong or over-cautious and comes from planning.xapi, the second from planning. GiB where it says so.
"""

import numpy as np
import pytest
from golden import plan_pairs
from ha_pools import ha_pool
from pools import pool
from twins.naive import HAVM, HAHost

from xenmem import kernel, planning
from xenmem.planning import RestartPool, fair_targets, squeeze
from xenmem.planning.xapi import balloon, binpack, evacuation, failover, placement
from xenmem.planning.xapi.errors import CannotFreeError, EvacuationDataCorruptedError
from xenmem.planning.xapi.failover import Outcome
from xenmem.units import GIB, MIB


def configuration(
    free: list[int], sizes: list[int], on_host: list[int], num_failures: int, total_hosts: int | None = None
) -> binpack.Configuration:
    vms = list(range(len(sizes)))
    hosts = list(range(len(free)))
    return binpack.Configuration(hosts, free, vms, sizes, vms, on_host, total_hosts or len(free), num_failures)


def restart_pool(config: binpack.Configuration) -> RestartPool:
    """The same pool for the exact planner; every VM of these examples is placed."""
    return RestartPool.from_arrays(config.free, config.sizes, config.placed_hosts)


def both_checks(config: binpack.Configuration) -> tuple[bool, bool]:
    return binpack.exhaustive_plan_always_possible(config), binpack.approximate_plan_always_possible(config)


class TestPacking:
    """planning.md, 7.1."""

    def test_a_vm_is_left_out_although_all_fit(self) -> None:
        plan = binpack.biggest_fit_decreasing([5, 3, 3], [6, 5])
        assert plan_pairs(plan, ["a", "b", "c"], ["A", "B"]) == [["b", "B"], ["a", "A"]]
        better = planning.pack_sizes([5, 3, 3], [6, 5])
        assert (better.status, better.host.tolist()) == ("optimal", [1, 0, 0])

    def test_pools_filled_to_95_percent(self) -> None:
        """One to three VMs on each of eight hosts of 32 to 96 GiB: four in ten such pools lose a VM."""
        misses = 0
        for seed in range(40):
            rng = np.random.default_rng(seed)
            free = rng.integers(32, 97, 8) * 1024
            sizes = np.concatenate([_shares(rng, int(room * 0.95)) for room in free])
            misses += len(binpack.biggest_fit_decreasing(sizes, free).vms) < len(sizes)
            plan = planning.pack_sizes(sizes, free)
            planning.verify(plan, sizes=sizes, free=free)
            assert plan.status == "optimal"
        assert misses >= 10

    def test_affinity_priority_and_current_location_are_ignored(self) -> None:
        (placed,), _ = binpack.biggest_fit_decreasing([3, 3], [3])
        assert planning.pack_sizes([3, 3], [3], priority={1 - int(placed): 1}).host[placed] == -1
        assert plan_pairs(binpack.biggest_fit_decreasing([3, 3], [6, 6])) == [[1, 1], [0, 0]]
        assert planning.pack_sizes([3, 3], [6, 6], affinity={0: [1], 1: [1]}).host.tolist() == [1, 1]
        stays = planning.pack_sizes([3, 3], [6, 6], "fewest-migrations", origin=[1, 0])
        assert (stays.value, stays.host.tolist()) == (0, [1, 0])


def _shares(rng: np.random.Generator, room: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
    """One to three sizes that add up to the room."""
    cuts = np.sort(rng.integers(1, room, int(rng.integers(0, 3))))
    sizes = np.diff(np.concatenate([[0], cuts, [room]]))
    return sizes[sizes > 0]


class TestFailover:
    """planning.md, 7.2."""

    def test_no_although_the_vms_of_the_failed_host_fit(self) -> None:
        config = configuration([0, 6, 5], [5, 3, 3], [0, 0, 0], 1)
        assert both_checks(config) == (False, False)
        assert planning.failover(restart_pool(config), 1).survives
        restart = planning.restart_plan(restart_pool(config), [0])
        assert restart is not None
        assert dict(restart) == {0: 2, 1: 1, 2: 1}

    def test_no_although_a_better_first_move_survives(self) -> None:
        config = configuration([3, 2, 1, 3], [2, 1, 1], [3, 1, 3], 2)
        assert not binpack.plan_always_possible(config)
        answer = planning.failover(restart_pool(config), 2, one_by_one=True)
        assert answer.survives
        assert answer.policy is not None
        assert dict(answer.policy.restart([3]))[0] == 1

    def test_the_estimate_says_no_where_the_check_says_yes(self) -> None:
        sizes, on_host = [90, 10, *[10] * 7], [0, *range(8)]
        for failures, answer in ((4, True), (5, False)):
            config = configuration([100] * 8, sizes, on_host, failures)
            assert both_checks(config) == (True, False)
            assert binpack.plan_always_possible(config) is answer
            assert planning.failover(restart_pool(config), failures).survives
            assert planning.failover(restart_pool(config), failures, one_by_one=True).survives

    def test_one_more_host_turns_yes_into_no(self) -> None:
        for hosts, answer in ((32, True), (33, False)):
            free = [256 * GIB] * 3 + [128 * GIB] * (hosts - 3)
            sizes = [32 * GIB] * (12 * hosts) + [160 * GIB]
            config = configuration(free, sizes, [*np.repeat(np.arange(hosts), 12), 3], 1)
            assert binpack.plan_always_possible(config) is answer
            assert binpack.exhaustive_plan_always_possible(config)
            assert planning.failover(restart_pool(config), 1).survives

    def test_the_estimate_admits_few_of_the_pools_that_survive(self) -> None:
        """40 hosts of 256, 80 % full: one failure is survivable in every such pool."""
        admitted = 0
        for seed in range(10):
            rng = np.random.default_rng(seed)
            free, sizes, on_host = [256] * 40, [], []
            while sum(free) > 0.2 * 40 * 256:
                size, target = int(np.exp(rng.uniform(0, np.log(64)))), int(rng.integers(40))
                if size <= free[target]:
                    free[target] -= size
                    sizes.append(size)
                    on_host.append(target)
            config = configuration(free, sizes, on_host, 1)
            admitted += binpack.plan_always_possible(config)
            assert planning.failover(restart_pool(config), 1).survives
        assert admitted < 5

    def test_sizes_are_static_max_but_not_in_the_failover_plan_message(self) -> None:
        hosts = [host(0, 0), host(1, 100)]
        vms = [vm(ref, size, on=0) for ref, size in enumerate((60, 50, 10))]
        assert failover.compute_max_host_failures_to_tolerate(ha_pool(hosts, vms)) == 0
        asked = question([100], [10, 10, 5], [-1, -1, -1], total_hosts=2)
        assert len(evacuation.compute_evacuation_plan(asked).vms) == 3
        # the same planner with either policy
        assert planning.max_failures(RestartPool.from_arrays([-20, 100], [60, 50, 10], [0, 0, 0])).at_least == 0
        assert planning.max_failures(RestartPool.from_arrays([75, 100], [10, 10, 5], [0, 0, 0])).at_least == 1

    def test_one_small_vm_that_is_not_agile(self) -> None:
        hosts = [host(ref, 256 - (ref < 2)) for ref in range(3)]
        agile = vm(0, 1, on=0)
        assert failover.compute_max_host_failures_to_tolerate(ha_pool(hosts, [agile])) == 2
        running = vm(1, 1, on=1)._replace(agile=False, bootable_hosts=(1,))
        pool = ha_pool(hosts, [agile, running])
        assert failover.compute_max_host_failures_to_tolerate(pool) == 0
        assert failover.plan_for_n_failures(pool, 1) is Outcome.PLAN_EXISTS_EXCLUDING_NON_AGILE_VMS
        halted = running._replace(resident_on=None)
        pool = ha_pool(hosts, [agile, halted])
        assert plan_pairs(failover.compute_restart_plan(pool, 0).plan) == [[1, 1]]
        assert failover.plan_for_n_failures(pool, 0) is Outcome.NO_PLAN_EXISTS
        # the exact planner names the VM that stays down, and says what the pool survives without it
        tied = RestartPool.from_arrays([256] * 3, [1, 1], [0, 1], allowed=[[True] * 3, [False, True, False]])
        answer = planning.failover(tied, 1)
        assert (answer.answer, answer.failed_hosts, answer.stays_down) == ("loses", (1,), (1,))
        assert planning.max_failures(tied.without([1])).at_least == 2
        started = RestartPool.from_arrays([256] * 3, [1, 1], [0, -1], allowed=[[True] * 3, [False, True, False]])
        assert planning.failover(started, 0).survives

    def test_free_memory_is_clamped_before_a_vm_leaves(self) -> None:
        clamped = max(0, 100 - 60 - 50 - 10)
        change = failover.ConfigurationChange(leaving=(failover.Move(0, 2, 10, 10),))
        restart = failover.compute_restart_plan(ha_pool([host(0, clamped)], [vm(2, 10, on=0)]), 0, change=change)
        assert plan_pairs(restart.plan) == [[2, 0]]  # it is started again in the 10 that are not there
        assert restart.configuration.free.tolist() == [0]
        assert not planning.failover(RestartPool.from_arrays([100 - 60 - 50], [10], [-1]), 0).survives


def host(ref: int, free: int) -> HAHost:
    return HAHost(ref, f"h{ref}", True, True, free, True)


def vm(ref: int, size: int, on: int) -> HAVM:
    return HAVM(ref, f"v{ref}", True, on, None, size, True, ())


def question(free: list[int], sizes: list[int], group: list[int], total_hosts: int = 4) -> evacuation.Evacuation:
    return evacuation.Evacuation(
        total_hosts=total_hosts,
        host_refs=[f"h{place}" for place in range(len(free))],
        free=np.array(free),
        sizes=np.array(sizes),
        group=np.array(group),
        group_count=np.zeros((1, len(free)), np.int64),
    )


class TestEvacuation:
    """planning.md, 7.3."""

    def test_internal_error_although_a_plan_exists(self) -> None:
        asked = question([6, 8, 7], [6, 3, 1, 3, 7], [0] * 5)
        with pytest.raises(EvacuationDataCorruptedError) as raised:
            evacuation.compute_evacuation_plan(asked)
        assert raised.value.details == ("INTERNAL_ERROR", "Data corrupted during host evacuation.")
        assert len(binpack.biggest_fit_decreasing(asked.sizes, asked.free).vms) == 5
        vms = [(6000, 3), (3000, 3), (1000, 3), (3000, 3), (7000, 3)]
        fleet = pool([6000, 8000, 7000, 30000], vms, groups=[range(5)])
        plan = planning.evacuate(fleet, 3, vm_groups=False)
        planning.verify(plan, fleet, hosts=[0, 1, 2], policy="dynamic_min", vm_groups=False)
        assert (plan.status, plan.value, len(plan.migrations)) == ("optimal", 5, 5)

    def test_internal_error_in_its_simplest_form(self) -> None:
        with pytest.raises(EvacuationDataCorruptedError):
            evacuation.compute_evacuation_plan(question([10, 10], [12, 13], [0, 0]))
        partial = evacuation.compute_evacuation_plan(question([10, 10], [9, 12], [0, 0]))
        assert partial.vms.tolist() == [0]
        fleet = pool([10000, 10000, 40000], [(12000, 2), (13000, 2)], groups=[[0, 1]])
        plan = planning.evacuate(fleet, 2)
        assert (plan.status, plan.value, plan.obstacle) == ("infeasible", 0, ((0,), (0, 1)))

    def test_one_vm_that_does_not_fit_stops_all(self) -> None:
        fleet = pool([10000, 40000], [(12000, 1), (4000, 1), (5000, 1)])
        hosts, vms = np.array([0], np.int32), np.array([0, 1, 2], np.int32)
        asked = evacuation.evacuation_of(fleet, hosts, vms, 2, vm_groups_enabled=True)
        assert len(evacuation.compute_evacuation_plan(asked).vms) < 3
        plan = planning.evacuate(fleet, 1)
        planning.verify(plan, fleet, hosts=[0], policy="dynamic_min")
        assert (plan.status, plan.host.tolist()) == ("infeasible", [-1, 0, 0])
        assert sorted(move.vm for move in plan.migrations) == [1, 2]

    def test_no_vm_of_a_target_moves_aside(self) -> None:
        """6000 fits nowhere until the 3000 of host 0 goes to host 1."""
        fleet = pool([8000, 5000, 9000], [(3000, 0), (1000, 1), (6000, 2)])
        asked = evacuation.evacuation_of(
            fleet, np.array([0, 1], np.int32), np.array([2], np.int32), 3, vm_groups_enabled=True
        )
        assert len(evacuation.compute_evacuation_plan(asked).vms) == 0
        plan = planning.evacuate(fleet, 2)
        planning.verify(plan, fleet, hosts=[0, 1], policy="dynamic_min")
        assert [(move.vm, move.source, move.target) for move in plan.migrations] == [(0, 0, 1), (2, 2, 0)]


class TestPlacement:
    """planning.md, 7.4."""

    def test_worst_fit_leaves_no_hole_for_a_large_vm(self) -> None:
        on_host: list[int] = []

        def guests(count: int, size: int) -> placement.Guests:
            return placement.Guests(np.zeros(count, np.int64), *[np.full(count, size)] * 4)

        def choose(size: int) -> int | None:
            there = guests(len(on_host), 8 * GIB)
            summary = placement.summarise([64 * GIB] * 4, [0] * 4, there, on_host, guests(1, size))
            values = placement.category_values(summary, [], [])
            return placement.select_host(values, lambda _host: True, placement.zero)

        for _ in range(8):
            chosen = choose(8 * GIB)
            assert chosen is not None
            on_host.append(chosen)
        assert np.bincount(on_host).tolist() == [2, 2, 2, 2]
        assert choose(56 * GIB) is None
        plan = planning.pack_sizes([8 * GIB] * 8, [64 * GIB] * 4, "fewest-hosts")
        assert (plan.status, plan.value) == ("optimal", 1)
        together = planning.pack_sizes([8 * GIB] * 8 + [56 * GIB], [64 * GIB] * 4)
        assert together.status == "optimal"


GIB_IN_KIB = GIB // 1024
SLUSH = balloon.SLUSH_FUND_KIB


def domain(domid: int, low: float, high: float, actual: float, target: float | None = None) -> balloon.Domain:
    wanted = actual if target is None else target
    amounts = [int(amount * GIB_IN_KIB) for amount in (low, wanted, high, actual, wanted)]
    return balloon.Domain(domid, True, *amounts, balloon.INACCURACY_KIB)


class FollowingHost:
    """A host whose domains do at once what they are told."""

    def __init__(self, domains: list[balloon.Domain], free_kib: int) -> None:
        self.domains, self.free_kib, self.time = domains, free_kib, 0.0

    def snapshot(self) -> balloon.Host:
        return balloon.Host(tuple(self.domains), self.free_kib)

    def set_maxmem(self, domid: int, kib: int) -> None:
        self.set_target(domid, kib)

    def set_target(self, domid: int, kib: int) -> None:
        self.domains = [d._replace(target_kib=kib) if d.domid == domid else d for d in self.domains]

    def wait(self, seconds: float) -> None:
        self.time += seconds
        for place, there in enumerate(self.domains):
            step = there.memory_actual_kib - there.target_kib
            step = max(0, abs(step) - there.inaccuracy_kib) * (1 if step > 0 else -1)
            self.domains[place] = there._replace(memory_actual_kib=there.memory_actual_kib - step)
            self.free_kib += step

    def now(self) -> float:
        return self.time


class TestBallooning:
    """planning.md, 7.5."""

    def test_targets_exceed_the_memory_there_is(self) -> None:
        domains = [domain(1, 4, 8, 1), domain(2, 1, 4, 3)]
        targets = balloon.compute_target_adjustments(balloon.Host(domains, GIB_IN_KIB + SLUSH), SLUSH)
        assert dict(targets) == {1: 5_991_858, 2: 2_396_741}
        assert sum(dict(targets).values()) > GIB_IN_KIB + sum(d.memory_actual_kib for d in domains) == 5_242_880
        fair = fair_targets(balloon.Host(domains, GIB_IN_KIB + SLUSH)).targets
        assert dict(fair) == {1: 4 * GIB_IN_KIB, 2: GIB_IN_KIB}

    def test_growth_goes_on_while_memory_is_freed(self) -> None:
        domains = [domain(1, 1, 6, 1, target=5), domain(2, 1, 6, 6)]
        host, wanted = balloon.Host(domains, GIB_IN_KIB // 2 + SLUSH), 4 * GIB_IN_KIB + SLUSH
        assert dict(balloon.compute_target_adjustments(host, wanted)) == {1: 1_835_004, 2: 1_835_004}
        found = balloon.Squeezer().iterate(host, wanted, 0.0, lambda free: free >= wanted)
        assert found.action == balloon.Adjust((balloon.Target(2, 1_835_004),))
        fair = fair_targets(host, (4 * GIB_IN_KIB, 4 * GIB_IN_KIB))
        assert dict(fair.targets) == {1: 1_835_008, 2: 1_835_008}
        assert [dict(step.targets) for step in fair.steps] == [{1: GIB_IN_KIB, 2: 1_835_008}, {1: 1_835_008}]

    def test_a_range_takes_more_than_its_share(self) -> None:
        host = FollowingHost([domain(1, 1, 4, 4)], SLUSH)
        assert balloon.free_memory_range(host, GIB_IN_KIB, 4 * GIB_IN_KIB) == int(2.5 * GIB_IN_KIB)
        assert host.domains[0].target_kib == int(1.5 * GIB_IN_KIB) - 4
        host = FollowingHost([domain(1, 1, 4, 4)], SLUSH)
        assert balloon.free_memory_range(host, int(2.5 * GIB_IN_KIB), 4 * GIB_IN_KIB) == 3_145_724
        assert host.domains[0].target_kib == GIB_IN_KIB

    def test_an_exact_fit_fails(self) -> None:
        host = FollowingHost([domain(1, 1, 4, 4)], SLUSH)
        with pytest.raises(CannotFreeError) as raised:
            balloon.free_memory(host, 3 * GIB_IN_KIB)
        assert raised.value.needed_kib - raised.value.free_kib == 4
        host = FollowingHost([domain(1, 1, 4, 4)], SLUSH)
        balloon.free_memory(host, 3 * GIB_IN_KIB - 12)
        assert squeeze(balloon.Host([domain(1, 1, 4, 4)], SLUSH), 3 * GIB_IN_KIB, 3 * GIB_IN_KIB).granted_kib is None

    @pytest.mark.parametrize(
        ("newcomer", "granted", "fair"),
        [
            ((1, 4), int(2.5 * GIB_IN_KIB), (2 * GIB_IN_KIB, 2 * GIB_IN_KIB)),
            ((2.5, 4), 3_145_724, (1_398_102, 2_796_202)),
            ((3, 3), None, (GIB_IN_KIB, 3 * GIB_IN_KIB)),
        ],
    )
    def test_a_fair_share_at_once(
        self, newcomer: tuple[float, float], granted: int | None, fair: tuple[int, int]
    ) -> None:
        there = balloon.Host([domain(1, 1, 4, 4)], SLUSH)
        low, high = (int(amount * GIB_IN_KIB) for amount in newcomer)
        assert squeeze(there, low, high).granted_kib == granted
        answer = fair_targets(there, (low, high))
        assert (answer.targets[0].target_kib, answer.granted_kib) == fair


class TestSingleAmounts:
    """planning.md, 7.6."""

    @pytest.mark.parametrize(
        ("vcpus", "exact", "beyond"), [(128, 68_031_610_880, 76_546_048), (288, None, 269_484_032)]
    )
    def test_the_approximate_maximum_is_too_much(self, vcpus: int, exact: int | None, beyond: int) -> None:
        hvm, total = kernel.DomainType.HVM, 64 * GIB
        largest = kernel.maximise_memory(hvm, vcpus, 1.0, total).item()
        rough = kernel.maximise_memory(hvm, vcpus, 1.0, total, approximate=True).item()
        needs = [size + kernel.overhead(hvm, size, vcpus, 1.0).item() for size in (largest, largest + MIB, rough)]
        assert needs[0] <= total < needs[1]
        assert needs[2] - total == beyond
        assert exact in (None, largest)

    def test_the_maximum_is_0_where_nothing_fits(self) -> None:
        assert kernel.maximise_memory(kernel.DomainType.HVM, 1, 1.0, 3 * MIB).item() == 0
        assert kernel.overhead(kernel.DomainType.HVM, 0, 1, 1.0).item() == 4 * MIB
        plan = planning.pack_sizes([4 * MIB], [3 * MIB])
        assert (plan.status, plan.obstacle) == ("infeasible", ((0,), (0,)))

    def test_stored_overhead_hides_memory(self) -> None:
        """100 VMs of 32 vCPUs stored under the older model hide 500 MiB."""
        stored, now = (
            kernel.overhead(kernel.DomainType.HVM, 4 * GIB, 32, 1.0, model=model).item()
            for model in ("pre-26.3", "26.3")
        )
        assert 100 * (now - stored) == 500 * MIB

    def test_the_multiplier_of_a_pvh_vm(self) -> None:
        """xapi counts with the VM's shadow multiplier, the host daemon with 1.0."""
        amounts = [kernel.overhead(kernel.DomainType.PVH, 64 * GIB, 4, factor).item() for factor in (4.0, 1.0)]
        assert amounts == [2_167_406_592, 544_210_944]
