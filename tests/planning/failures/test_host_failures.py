"""Failover: exact on small pools against enumeration, on larger ones against HiGHS."""

from collections.abc import Iterator
from itertools import combinations, permutations
from typing import Any

import highspy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twins import exhaustive

from xenmem.planning import Progress, RestartPool, capacity, failover, max_failures, remedy, restart_plan
from xenmem.planning.failures.results import Failover
from xenmem.units import GIB, MIB


def random_pool(random: np.random.Generator, most_hosts: int = 6, most_vms: int = 9) -> exhaustive.Pool:
    hosts = int(random.integers(2, most_hosts + 1))
    vms = int(random.integers(1, most_vms + 1))
    size = random.integers(1, 8, vms).tolist()
    host = random.integers(-1 if random.random() < 0.2 else 0, hosts, vms).tolist()
    free = random.integers(-1 if random.random() < 0.1 else 0, 12, hosts).tolist()
    return free, size, host


def full_restart_is_valid(pool: RestartPool, failed: tuple[int, ...]) -> None:
    """What restart_plan says, counted afresh."""
    plan = restart_plan(pool, failed)
    assert plan is not None
    left = pool.free.tolist()
    down = [vm for vm, host in enumerate(pool.resident_on.tolist()) if host in failed or host < 0]
    assert sorted(vm for vm, _ in plan) == down
    for vm, host in plan:
        assert host not in failed
        left[host] -= int(pool.size[vm])
        assert left[host] >= 0


def losing_set_is_minimal(pool: RestartPool, answer: Failover) -> None:
    """With the VMs that stay down left out there is a full restart; with any of them back in, there is none."""
    assert answer.stays_down
    assert restart_plan(pool.without(answer.stays_down), answer.failed_hosts) is not None
    for vm in answer.stays_down:
        assert restart_plan(pool.without(set(answer.stays_down) - {vm}), answer.failed_hosts) is None


@pytest.mark.parametrize("seed", range(4))
def test_together_equals_enumeration(seed: int) -> None:
    random = np.random.default_rng(seed)
    answers = []
    for _ in range(700):
        plain = random_pool(random)
        may = None
        if random.random() < 0.3:
            may = (random.random((len(plain[1]), len(plain[0]))) < 0.7).tolist()
        n = int(random.integers(0, len(plain[0]) + 1))
        pool = RestartPool.from_arrays(*plain, allowed=may)
        answer = failover(pool, n, time_limit=None)
        expected = exhaustive.survives_together(plain, n, may)
        assert answer.answer == ("survives" if expected else "loses"), (plain, n, may)
        answers.append(expected)
        if not expected:
            assert not exhaustive.survives_set(plain, answer.failed_hosts, may)
            losing_set_is_minimal(pool, answer)
    assert 50 < sum(answers) < 650


@pytest.mark.parametrize("seed", range(3))
def test_one_by_one_equals_enumeration(seed: int) -> None:
    random = np.random.default_rng(seed)
    answers = []
    for _ in range(250):
        plain = random_pool(random, 4, 6)
        n = int(random.integers(1, min(3, len(plain[0])) + 1))
        pool = RestartPool.from_arrays(*plain)
        answer = failover(pool, n, one_by_one=True, time_limit=None)
        expected = exhaustive.survives_one_by_one(plain, n)
        assert answer.answer == ("survives" if expected else "loses"), (plain, n)
        answers.append(expected)
        if expected:
            policy_survives_every_order(pool, answer)
        else:
            assert len(answer.failed_hosts) == len(set(answer.failed_hosts)) == n
    assert 25 < sum(answers) < 225


def policy_survives_every_order(pool: RestartPool, answer: Failover) -> None:
    assert answer.policy is not None
    for order in permutations(range(len(pool.free)), answer.num_failures):
        left, host_of = pool.free.tolist(), pool.resident_on.tolist()
        for done in range(len(order) + 1):
            failed = set(order[:done])
            for vm, host in answer.policy.restart(order[:done]):
                assert host not in failed
                assert host_of[vm] < 0 or host_of[vm] == order[done - 1]
                host_of[vm] = host
                left[host] -= int(pool.size[vm])
                assert left[host] >= 0
            assert not failed & set(host_of)
            assert -1 not in host_of


def highs_packs(size: np.ndarray[Any, Any], free: np.ndarray[Any, Any]) -> bool:
    """Whether all fit, as a mixed integer program."""
    model = highspy.Highs()
    model.setOptionValue("output_flag", False)
    goes = [[model.addBinary() for _ in free] for _ in size]
    for row in goes:
        model.addConstr(sum(row[1:], row[0]) == 1)
    for hole, room in enumerate(free.tolist()):
        used = [int(size[item]) * goes[item][hole] for item in range(len(size))]
        model.addConstr(sum(used[1:], used[0]) <= max(0, room))
    model.solve()
    status = model.getModelStatus()
    assert status in (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kInfeasible)
    return bool(status == highspy.HighsModelStatus.kOptimal)


def test_tight_sets_equal_highs() -> None:
    """One failure; a planted packing, with a little taken away or not, decides."""
    random = np.random.default_rng(11)
    answers = []
    for _ in range(120):
        holes = int(random.integers(3, 6))
        parts = [np.diff(np.sort([0, *random.integers(1, 60, int(random.integers(1, 3))), 60])) for _ in range(holes)]
        size = np.concatenate(parts)
        size = size[size > 0]
        free = np.array([0, *(60 - random.integers(-1, 3, holes))])
        pool = RestartPool.from_arrays(free, size, np.zeros(len(size), int))
        survives = restart_plan(pool, [0], time_limit=None) is not None
        assert survives == highs_packs(size, free[1:])
        answers.append(survives)
    assert 10 < sum(answers) < 110


@st.composite
def pools(draw: st.DrawFn) -> exhaustive.Pool:
    free = draw(st.lists(st.integers(-3, 20), min_size=1, max_size=5))
    vms = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(-1, len(free) - 1)), max_size=7))
    return free, [size for size, _ in vms], [host for _, host in vms]


@given(pools(), st.data())
@settings(max_examples=300)
def test_any_pool(plain: exhaustive.Pool, data: st.DataObject) -> None:
    n = data.draw(st.integers(0, len(plain[0])))
    pool = RestartPool.from_arrays(*(np.array(column, np.int64) for column in plain))
    answer = failover(pool, n, time_limit=None)
    assert answer.survives == exhaustive.survives_together(plain, n)
    assert answer.overcommitted == tuple(host for host, free in enumerate(plain[0]) if free < 0)
    if answer.survives:
        for failed in combinations(range(len(plain[0])), n):
            full_restart_is_valid(pool, failed)


@given(pools())
@settings(max_examples=100)
def test_max_failures_is_the_last_survived(plain: exhaustive.Pool) -> None:
    answer = max_failures(RestartPool.from_arrays(*(np.array(column, np.int64) for column in plain)))
    assert answer.exact
    for n in range(len(plain[0]) + 1):
        assert (n <= answer.at_least) == exhaustive.survives_together(plain, n)


def test_large_pool_is_decided_quickly_and_consistently() -> None:
    """64 hosts, 2000 VMs: what is said to be lost is lost, what is said to survive has restarts for the worst sets."""
    random = np.random.default_rng(5)
    size = np.exp(random.uniform(np.log(1024), np.log(65536), 2000)).astype(np.int64) * MIB
    host = np.argsort(np.argsort(-size)) % 64
    load = np.bincount(host, weights=size, minlength=64).astype(np.int64)
    for spare in (20, 40, 90):
        pool = RestartPool.from_arrays(np.full(64, spare * GIB), size, host)
        for n in (1, 2, 3):
            answer = failover(pool, n)
            assert answer.answer in ("survives", "loses")
            worst = tuple(np.argsort(-load, kind="stable")[:n].tolist())
            if answer.survives:
                full_restart_is_valid(pool, worst)
            else:
                assert restart_plan(pool, answer.failed_hosts) is None


def test_a_halted_vm_is_started_with_the_others() -> None:
    assert failover(RestartPool.from_arrays([4, 4], [4, 3], [-1, -1]), 0).survives
    assert failover(RestartPool.from_arrays([4, 4], [4, 3], [-1, -1]), 1).stays_down == (1,)


# ------------------------------------------------------------------------------------------------------------ remedies


@pytest.mark.parametrize("seed", range(3))
def test_remedies_suffice_and_nothing_less_does(seed: int) -> None:
    random = np.random.default_rng(seed)
    seen, closed, best = 0, 0, 0
    for _ in range(40):
        free, size, host = random_pool(random, 4, 5)
        plain = ([room * MIB for room in free], [vm * MIB for vm in size], host)
        n = int(random.integers(1, len(free)))
        if exhaustive.survives_together(plain, n):
            continue
        seen += 1
        pool = RestartPool.from_arrays(*plain)
        answer = remedy(pool, n, smallest=np.full(len(size), MIB), time_limit=None)

        def with_more(amounts: list[int], n: int = n, plain: exhaustive.Pool = plain) -> bool:
            more = [room + amount for room, amount in zip(plain[0], amounts, strict=True)]
            return exhaustive.survives_together((more, *plain[1:]), n)

        each = answer.memory_each_host
        assert each is not None
        assert with_more([each] * len(free))
        assert not with_more([each - MIB] * len(free))
        for place in range(len(free)):
            less = (20 + 9 * len(size)) * MIB if answer.memory_one_host is None else answer.memory_one_host - MIB
            assert not with_more([less if other == place else 0 for other in range(len(free))])
        assert answer.memory is not None
        spread = [dict(answer.memory).get(place, 0) for place in range(len(free))]
        assert with_more(spread)
        for place, amount in answer.memory:
            assert not with_more([more - MIB * (other == place) for other, more in enumerate(spread)])
            assert amount > 0
        least = least_sum(plain, n, sum(spread))
        assert answer.memory_bound <= least <= sum(spread)
        closed += answer.memory_bound == sum(spread)
        best += least == sum(spread)
        if answer.host is not None:
            assert answer.memory_one_host is not None
            assert with_more([answer.memory_one_host if other == answer.host else 0 for other in range(len(free))])
        assert answer.unprotect_is_least
        assert failover(pool.without(answer.unprotect), n).survives
        for fewer in combinations(range(len(size)), len(answer.unprotect) - 1):
            assert not failover(pool.without(fewer), n).survives
        if answer.shrink is not None:
            smaller = pool.size.copy()
            for vm, amount in answer.shrink:
                smaller[vm] = amount
            assert failover(pool.shrunk(smaller), n).survives
            for vm, _ in answer.shrink:
                back = smaller.copy()
                back[vm] += MIB
                assert not failover(pool.shrunk(back), n).survives
    assert seen > 10
    assert best > 0.9 * seen
    assert closed > 0.4 * seen


def least_sum(plain: exhaustive.Pool, n: int, most: int) -> int:
    """The least that is to be added in all, up to `most`, wherever it is; by enumeration, in MiB."""

    def additions(total: int, hosts: int) -> Iterator[list[int]]:
        if hosts == 1:
            yield [total]
            return
        for here in range(0, total + MIB, MIB):
            for rest in additions(total - here, hosts - 1):
                yield [here, *rest]

    free, size, host = plain
    for total in range(0, most, MIB):
        for more in additions(total, len(free)):
            if exhaustive.survives_together(([room + m for room, m in zip(free, more, strict=True)], size, host), n):
                return total
    return most


def test_remedies_that_are_not_found_in_time_are_named() -> None:
    pool = RestartPool.from_arrays([0, 6, 5], [5, 3, 7], [0, 0, 0])
    answer = remedy(pool, 1, smallest=[1, 1, 1], time_limit=1e-9)
    assert answer.undecided == (
        "memory_each_host",
        "memory_one_host",
        "memory_new_host",
        "unprotect",
        "shrink",
        "memory",
    )
    assert (answer.memory, answer.memory_bound) == (None, MIB)
    assert (answer.unprotect, answer.unprotect_is_least) == ((), False)
    heard: list[Progress] = []
    assert remedy(pool, 1, progress=heard.append).undecided == ()
    assert [(report.value, report.bound) for report in heard] == [(done, 5) for done in range(1, 6)]


# ----------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "n", "message"),
    [
        (([], [], []), 1, "free: there are no hosts"),
        (([1, 1], [1], [0]), -1, "num_failures: -1 is negative"),
        (([1, 1], [1], [0]), 3, "num_failures: 3 hosts cannot fail where there are 2"),
        (([1, 1], [1, -2], [0, 0]), 1, "size: -2 at index 1 is outside 0"),
        (([1, 1], [1], [2]), 1, "resident_on: 2 at index 0 is outside -1..1"),
        (([1, 1], [1], [0, 1]), 1, "resident_on: 2 entries for 1 VMs"),
        (([1.5, 1], [1], [0]), 1, "free: float64 where integers are needed"),
    ],
)
def test_bad_input_is_named(arguments: tuple[list[int], list[int], list[int]], n: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        failover(RestartPool.from_arrays(*arguments), n)


def test_an_overcommitted_host_is_named_and_the_pool_still_answered() -> None:
    answer = failover(RestartPool.from_arrays([-5, 4, 9], [4, 4], [0, 0]), 1)
    assert answer.survives
    assert answer.overcommitted == (0,)
    assert "1 overcommitted host can take no VM" in answer.reason


@pytest.mark.parametrize("time_limit", [0, -1.0, float("nan")])
def test_a_time_limit_is_positive(time_limit: float) -> None:
    pool = RestartPool.from_arrays([9, 9], [1], [0])
    for ask in (
        lambda: failover(pool, 1, time_limit=time_limit),
        lambda: failover(pool, 1, one_by_one=True, time_limit=time_limit),
        lambda: max_failures(pool, time_limit=time_limit),
        lambda: remedy(pool, 1, time_limit=time_limit),
        lambda: restart_plan(pool, [0], time_limit=time_limit),
        lambda: capacity(pool, [1], time_limit=time_limit),
    ):
        with pytest.raises(ValueError, match=f"time_limit: {time_limit} is not positive"):
            ask()


@pytest.mark.parametrize("number", [1.5, True, "1", None, float("nan")])
def test_failures_and_rows_are_not_rounded(number: Any) -> None:
    pool = RestartPool.from_arrays([9, 9], [1], [0])
    for ask in (failover, remedy):
        with pytest.raises(TypeError, match=f"num_failures: {number!r} is no integer"):
            ask(pool, number)
    with pytest.raises(TypeError, match=f"failed_hosts: {number!r} is no integer"):
        restart_plan(pool, [number])


def test_a_host_fails_once() -> None:
    pool = RestartPool.from_arrays([9, 9], [1], [0])
    with pytest.raises(ValueError, match="failed_hosts: 0 at index 1 stands there twice"):
        restart_plan(pool, [0, 0])


def test_a_vm_of_no_size_needs_a_host_all_the_same() -> None:
    confined = RestartPool.from_arrays([5, 5], [0, 1], [0, 0], allowed=[[True, False], [True, True]])
    assert restart_plan(confined, [0]) is None
    assert restart_plan(RestartPool.from_arrays([5], [0], [0]), [0]) is None
