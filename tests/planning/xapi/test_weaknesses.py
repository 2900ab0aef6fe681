"""The examples of spec planning, section 8: what the pool's planners answer where they are wrong or over-cautious.

The better answers to the same questions are tested with xenmem.planning.
"""

import numpy as np
import pytest
from planning.xapi.golden import plan_pairs
from planning.xapi.ha import ha_pool
from planning.xapi.naive import HAVM, HAHost

from xenmem.planning.xapi import balloon, binpack, evacuation, failover, placement
from xenmem.planning.xapi.errors import CannotFreeError, EvacuationDataCorruptedError
from xenmem.planning.xapi.failover import Outcome
from xenmem.units import GIB


def configuration(
    free: list[int], sizes: list[int], on_host: list[int], num_failures: int, total_hosts: int | None = None
) -> binpack.Configuration:
    vms = list(range(len(sizes)))
    hosts = list(range(len(free)))
    return binpack.Configuration(hosts, free, vms, sizes, vms, on_host, total_hosts or len(free), num_failures)


def both_checks(config: binpack.Configuration) -> tuple[bool, bool]:
    return binpack.exhaustive_plan_always_possible(config), binpack.approximate_plan_always_possible(config)


class TestPacking:
    def test_a_vm_is_left_out_although_all_fit(self) -> None:
        plan = binpack.biggest_fit_decreasing([5, 3, 3], [6, 5])
        assert plan_pairs(plan, ["a", "b", "c"], ["A", "B"]) == [["b", "B"], ["a", "A"]]


class TestFailover:
    def test_no_although_the_vms_of_the_failed_host_fit(self) -> None:
        assert both_checks(configuration([0, 6, 5], [5, 3, 3], [0, 0, 0], 1)) == (False, False)

    def test_no_although_a_better_first_move_survives(self) -> None:
        assert not binpack.plan_always_possible(configuration([3, 2, 1, 3], [2, 1, 1], [3, 1, 3], 2))

    def test_the_estimate_says_no_where_the_check_says_yes(self) -> None:
        sizes, on_host = [90, 10, *[10] * 7], [0, *range(8)]
        for failures, answer in ((4, True), (5, False)):
            config = configuration([100] * 8, sizes, on_host, failures)
            assert both_checks(config) == (True, False)
            assert binpack.plan_always_possible(config) is answer

    def test_one_more_host_turns_yes_into_no(self) -> None:
        for hosts, answer in ((32, True), (33, False)):
            free = [256 * GIB] * 3 + [128 * GIB] * (hosts - 3)
            sizes = [32 * GIB] * (12 * hosts) + [160 * GIB]
            config = configuration(free, sizes, [*np.repeat(np.arange(hosts), 12), 3], 1)
            assert binpack.plan_always_possible(config) is answer
            assert binpack.exhaustive_plan_always_possible(config)

    def test_sizes_are_static_max_but_not_in_the_failover_plan_message(self) -> None:
        hosts = [host(0, 0), host(1, 100)]
        vms = [vm(ref, size, on=0) for ref, size in enumerate((60, 50, 10))]
        assert failover.compute_max_host_failures_to_tolerate(ha_pool(hosts, vms)) == 0
        asked = question([100], [10, 10, 5], [-1, -1, -1], total_hosts=2)
        assert len(evacuation.compute_evacuation_plan(asked).vms) == 3

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

    def test_free_memory_is_clamped_before_a_vm_leaves(self) -> None:
        clamped = max(0, 100 - 60 - 50 - 10)
        change = failover.ConfigurationChange(leaving=(failover.Move(0, 2, 10, 10),))
        restart = failover.compute_restart_plan(ha_pool([host(0, clamped)], [vm(2, 10, on=0)]), 0, change=change)
        assert plan_pairs(restart.plan) == [[2, 0]]  # it is started again in the 10 that are not there
        assert restart.configuration.free.tolist() == [0]


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
    def test_internal_error_although_a_plan_exists(self) -> None:
        asked = question([6, 8, 7], [6, 3, 1, 3, 7], [0] * 5)
        with pytest.raises(EvacuationDataCorruptedError) as raised:
            evacuation.compute_evacuation_plan(asked)
        assert raised.value.details == ("INTERNAL_ERROR", "Data corrupted during host evacuation.")
        assert len(binpack.biggest_fit_decreasing(asked.sizes, asked.free).vms) == 5

    def test_internal_error_in_its_simplest_form(self) -> None:
        with pytest.raises(EvacuationDataCorruptedError):
            evacuation.compute_evacuation_plan(question([10, 10], [12, 13], [0, 0]))
        partial = evacuation.compute_evacuation_plan(question([10, 10], [9, 12], [0, 0]))
        assert partial.vms.tolist() == [0]


class TestPlacement:
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
    def test_targets_exceed_the_memory_there_is(self) -> None:
        domains = [domain(1, 4, 8, 1), domain(2, 1, 4, 3)]
        targets = balloon.compute_target_adjustments(balloon.Host(domains, GIB_IN_KIB + SLUSH), SLUSH)
        assert dict(targets) == {1: 5_991_858, 2: 2_396_741}
        assert sum(dict(targets).values()) > GIB_IN_KIB + sum(d.memory_actual_kib for d in domains) == 5_242_880

    def test_growth_goes_on_while_memory_is_freed(self) -> None:
        domains = [domain(1, 1, 6, 1, target=5), domain(2, 1, 6, 6)]
        host, wanted = balloon.Host(domains, GIB_IN_KIB // 2 + SLUSH), 4 * GIB_IN_KIB + SLUSH
        assert dict(balloon.compute_target_adjustments(host, wanted)) == {1: 1_835_004, 2: 1_835_004}
        found = balloon.Squeezer().iterate(host, wanted, 0.0, lambda free: free >= wanted)
        assert found.action == balloon.Adjust((balloon.Target(2, 1_835_004),))

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
