"""Failover near its limit: tight pools against plain enumeration and HiGHS; the proofs that no restart exists; Ctrl-C.

Pools are made so that the failed VMs fill what is left almost or just not: there the fast rules fail and the searches
and proofs decide.
"""

from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from numpy.random import Generator
from twins import exhaustive, solver

from xenmem.planning import Progress, RestartPool, failover, max_failures, restart_plan
from xenmem.planning.failures.together import STOPPED, _Walk, bounds_of
from xenmem.planning.search.compiled.patterns import compare, fill, packets_of, proves_none, smallest_with


def tight_pool(random: Generator) -> tuple[exhaustive.Pool, int]:
    """A pool and a number of failures: after the worst of them the room is that of the VMs, give or take a little."""
    hosts = int(random.integers(3, 7))
    vms = int(random.integers(hosts, 13))
    n = int(random.integers(1, min(3, hosts - 1) + 1))
    size = random.choice([[1, 2, 4, 8], [3, 5, 7, 11], range(5, 30)][random.integers(3)], vms)
    host = random.integers(0, hosts, vms)
    load = np.bincount(host, weights=size, minlength=hosts).astype(int)
    worst = np.argsort(-load)[:n]
    left = np.setdiff1d(np.arange(hosts), worst)
    shares = np.sort(random.integers(0, load[worst].sum() + 1, len(left) - 1))
    free = random.integers(0, 12, hosts)
    free[left] = np.diff([0, *shares, load[worst].sum()]) + random.integers(-1, 5, len(left))
    return (np.maximum(free, 0).tolist(), size.tolist(), host.tolist()), n


def survives_by_states(plain: exhaustive.Pool, n: int) -> bool:
    free, size, host = plain
    for failed in combinations(range(len(free)), n):
        moving = [vm for vm, where in zip(size, host, strict=True) if where in failed]
        if not exhaustive.fits_by_states(moving, [room for h, room in enumerate(free) if h not in failed]):
            return False
    return True


@pytest.mark.parametrize("seed", range(4))
def test_tight_pools_equal_enumeration(seed: int) -> None:
    random = np.random.default_rng(seed)
    answers = []
    for _ in range(1000):
        plain, n = tight_pool(random)
        answer = failover(RestartPool.from_arrays(*plain), n, time_limit=None)
        assert answer.survives == survives_by_states(plain, n), (plain, n)
        answers.append(answer.answer)
    assert answers.count("survives") > 100
    assert answers.count("loses") > 100


def test_tight_pools_equal_highs() -> None:
    """The set that is said to lose has no packing; if none is, one at random has."""
    random = np.random.default_rng(7)
    answers = []
    for _ in range(300):
        plain, n = tight_pool(random)
        free, size, host = plain
        answer = failover(RestartPool.from_arrays(*plain), n, time_limit=None)
        failed = answer.failed_hosts or tuple(random.permutation(len(free))[:n].tolist())
        moving = [vm for vm, where in zip(size, host, strict=True) if where in failed]
        holes = [room for h, room in enumerate(free) if h not in failed]
        placed = solver.best(moving, holes, "all") if moving else 0
        assert (placed == len(moving)) == answer.survives
        answers.append(answer.survives)
    assert 30 < sum(answers) < 270


def test_a_planted_packing_is_never_disproved() -> None:
    """40 holes cut into sizes without a rest: however hard that is to find, it exists."""
    random = np.random.default_rng(3)
    for parts in (1, 2, 3, 4, 6):
        free = random.integers(40, 4000, 40)
        size = np.concatenate(
            [np.diff([0, *np.sort(random.integers(1, room, random.integers(0, parts))), room]) for room in free]
        )
        different, most = np.unique(size[size > 0], return_counts=True)
        everywhere = np.ones((len(different), len(free)), bool)
        assert not proves_none(different, most, everywhere, free, np.ones(len(free), int), 5_000, 3_000)
        most[0] += int(random.integers(1, 3))
        assert proves_none(different, most, everywhere, free, np.ones(len(free), int), 5_000, 3_000)


@pytest.mark.parametrize(("holes", "parts", "slack"), [(20, 3, 8), (30, 4, 6), (40, 3, 10)])
def test_a_planted_restart_is_found(holes: int, parts: int, slack: int) -> None:
    """One that takes several turns: the fast rules and the first searches do not find it, and nothing excludes it."""
    for seed in range(4):
        random = np.random.default_rng(seed)
        free = random.integers(200, 4000, holes)
        size = np.concatenate(
            [np.diff([0, *np.sort(random.integers(1, room, random.integers(0, parts))), room]) for room in free]
        )
        free += random.integers(0, slack, holes)
        pool = RestartPool.from_arrays([0, *free], size[size > 0], np.zeros((size > 0).sum(), int))
        assert failover(pool, 1, time_limit=None).survives
        plan = restart_plan(pool, [0], time_limit=None)
        assert plan is not None
        assert sorted(vm for vm, _ in plan) == list(range(len(pool.size)))
        used = np.bincount([host for _, host in plan], weights=pool.size[[vm for vm, _ in plan]], minlength=holes + 1)
        assert (used <= pool.free).all()


def test_no_worths_disprove_what_fits() -> None:
    """Whatever the linear program comes to, holes that are full to the last byte are worth what is in them."""
    random = np.random.default_rng(8)
    nothing = np.zeros((0, 1), int), np.zeros(0, int)
    for _ in range(200):
        free = random.integers(4, 60, 6)
        size = np.concatenate([np.diff([0, *np.sort(random.integers(1, room, 2)), room]) for room in free])
        different, most = np.unique(size[size > 0], return_counts=True)
        arrays = (different, most, np.ones((len(different), 6), bool), free, np.ones(6, int))
        for worth in (different / different.max(), random.random(len(different)), random.random() ** -(different / 60)):
            dual = np.concatenate([worth / worth.max(), np.zeros(6)])
            for largest in (1, 7, 1 << 11):
                assert compare(dual, largest, *arrays, *nothing, 0) == (False, 0)
        assert compare(np.concatenate([different / 60, np.zeros(6)]), 60, *arrays, *nothing, 0) == (False, 0)
        most[-1] += 1
        assert compare(np.concatenate([different / 60, np.zeros(6)]), 60, *arrays, *nothing, 0) == (True, 0)


# -------------------------------------------------------------------------------------------------- what holes can hold


def small_items(random: Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = int(random.integers(1, 6))
    return random.integers(0, 30, count), random.integers(1, 15, count), random.integers(1, 4, count)


def test_fill_and_table_equal_enumeration() -> None:
    random = np.random.default_rng(5)
    for _ in range(400):
        worth, size, most = small_items(random)
        room = int(random.integers(0, 40))
        every = [
            (sum(c * w for c, w in zip(counts, worth.tolist(), strict=True)), used)
            for counts in product(*(range(m + 1) for m in most))
            if (used := sum(c * s for c, s in zip(counts, size.tolist(), strict=True))) <= room
        ]
        expected = max(value for value, _ in every)
        order = np.argsort(-(worth / size))
        best = np.zeros(len(size), int)
        assert fill(order, worth, size, most, room, 10_000, best) == (expected, expected)
        assert (best * worth).sum() == expected
        assert (best <= most).all()
        assert (best * size).sum() <= room
        few = np.empty(len(size), int)
        count, packets, limit = packets_of(worth, size, most, np.ones((len(size), 1), bool), 0, room, few)
        smallest, taken = np.empty(limit + 1, int), np.zeros((packets, limit + 1), bool)
        items, counts = np.empty(packets, int), np.empty(packets, int)
        smallest_with(few[:count], worth, size, most, room, smallest, taken, items, counts)
        for value in range(len(smallest)):
            needed = min((used for other, used in every if other >= value), default=room + 1)
            assert smallest[value] == needed
            if needed <= room:
                filling, rest = np.zeros(len(size), int), value
                for packet in reversed(range(len(items))):
                    if taken[packet, rest]:
                        filling[items[packet]] += counts[packet]
                        rest = max(0, rest - counts[packet] * worth[items[packet]])
                assert (filling * size).sum() == needed
                assert (filling * worth).sum() >= value
                assert (filling <= most).all()
        assert expected < len(smallest)


def test_fill_that_is_cut_off_bounds_the_worth() -> None:
    random = np.random.default_rng(6)
    for _ in range(300):
        worth, size, most = small_items(random)
        room = int(random.integers(0, 40))
        order = np.argsort(-(worth / size))
        best = np.zeros(len(size), int)
        exact, _ = fill(order, worth, size, most, room, 10_000, best)
        found, limit = fill(order, worth, size, most, room, int(random.integers(1, 5)), best)
        assert found <= exact <= limit


def test_proofs_are_right_and_frequent() -> None:
    """Sizes and holes with rules on who may go where: a proof only where enumeration finds nothing, and there often."""
    random = np.random.default_rng(9)
    none, proved = 0, 0
    for _ in range(1500):
        holes = random.integers(3, 25, int(random.integers(1, 5)))
        size, most = np.unique(random.integers(2, 14, int(random.integers(2, 9))), return_counts=True)
        may = random.random((len(size), len(holes))) < 0.85
        items = np.repeat(np.arange(len(size)), most)
        exists = exhaustive.fits(size[items].tolist(), holes.tolist(), may[items].tolist())
        proof = proves_none(size, most, may, holes, np.ones(len(holes), int), 1_000, 500)
        assert not (exists and proof)
        none += not exists
        proved += proof
    assert none > 300
    assert proved > 0.9 * none


# ------------------------------------------------------------------------------------------------ how far a search came


def wide_pool() -> RestartPool:
    """One whose sets all need a look, since on every host there is a VM that may not go everywhere."""
    random = np.random.default_rng(1)
    size, host = random.integers(40, 56, 48), np.arange(48) % 24
    allowed = np.ones((48, 24), bool)
    allowed[np.arange(24), (host[:24] + 1) % 24] = False
    return RestartPool.from_arrays(random.integers(50, 70, 24), size, host, allowed=allowed)


def test_a_walk_in_slices_is_the_same_walk() -> None:
    prepared = wide_pool().prepared
    for n in (1, 2, 3):
        whole = _Walk(prepared, n, bounds_of(prepared, n), 200, 1 << 14)
        hard = whole.go_on(1 << 40)
        parts = _Walk(prepared, n, bounds_of(prepared, n), 200, 5)
        found, behind = [], [0]
        while parts.status == STOPPED:
            found += parts.go_on(50)
            behind.append(parts.behind if parts.status == STOPPED else comb(24, n))
        assert (parts.status, parts.looked) == (whole.status, whole.looked)
        assert [failing.tolist() for failing in found] == [failing.tolist() for failing in hard]
        assert behind == sorted(behind)
        assert behind[-1] <= comb(24, n)


def test_progress_counts_the_sets_that_are_behind() -> None:
    heard: list[Progress] = []
    answer = failover(wide_pool(), 3, progress=heard.append)
    assert answer.survives
    assert len(heard) > 1
    assert [report.value for report in heard] == sorted(report.value for report in heard)
    assert {report.bound for report in heard} == {comb(24, 3)}
    assert heard[-1].value == comb(24, 3)


def test_ctrl_c_ends_the_search_with_what_is_known() -> None:
    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    answer = failover(wide_pool(), 3, progress=interrupt)
    assert answer.answer == "unknown"
    assert "the search was interrupted with" in answer.reason
    in_order = RestartPool.from_arrays([3, 2, 1, 3], [2, 1, 1], [3, 1, 3])
    assert failover(in_order, 2, one_by_one=True).survives
    answer = failover(in_order, 2, one_by_one=True, progress=interrupt)
    assert answer.answer == "unknown"
    assert answer.reason.endswith("one by one: the search was interrupted with 0 of 4 first failures decided")
    limits = max_failures(wide_pool(), progress=interrupt)
    exact = max_failures(wide_pool())
    assert limits.at_least <= exact.at_least
    assert exact.at_most <= limits.at_most
    assert exact.exact


@pytest.mark.parametrize("one_by_one", [False, True])
def test_max_failures_without_time_still_bounds_the_number(one_by_one: bool) -> None:
    random = np.random.default_rng(2)
    survives = exhaustive.survives_one_by_one if one_by_one else exhaustive.survives_together
    decided = 0
    for _ in range(40):
        hosts = int(random.integers(2, 5))
        size, host = random.integers(1, 9, 5).tolist(), random.integers(0, hosts, 5).tolist()
        plain = (random.integers(0, 20, hosts).tolist(), size, host)
        most = max((n for n in range(hosts + 1) if survives(plain, n)), default=-1)
        pool = RestartPool.from_arrays(*plain)
        hurried, exact = (max_failures(pool, one_by_one=one_by_one, time_limit=limit) for limit in (1e-9, None))
        assert exact.at_least == exact.at_most == most
        assert hurried.at_least <= most <= hurried.at_most
        assert exact.losing is None or exact.losing.num_failures == most + 1
        decided += hurried.exact
    assert decided < 40
