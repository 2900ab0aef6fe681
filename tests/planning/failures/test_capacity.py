"""Capacity: the largest number on small pools, by enumeration; bound and count on larger ones."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from twins import exhaustive

from xenmem.planning import Mix, RestartPool, capacity, failover
from xenmem.units import GIB, MIB


def largest_by_enumeration(plain: exhaustive.Pool, sizes: list[int], n: int) -> int:
    """The number of new VMs, shape by shape in the order of the mix, for which some distribution survives."""
    mix, count = Mix(sizes), 0
    while True:
        new = [sizes[shape] for shape in mix.shapes(count + 1)]
        for hosts in exhaustive.packings(new, plain[0]):
            free = list(plain[0])
            for vm, host in zip(new, hosts, strict=True):
                free[host] -= vm
            if exhaustive.survives_together((free, plain[1] + new, plain[2] + hosts), n):
                break
        else:
            return count
        count += 1


@pytest.mark.parametrize("seed", range(2))
def test_equals_enumeration(seed: int) -> None:
    random = np.random.default_rng(seed)
    counts = []
    for _ in range(60):
        hosts, vms = int(random.integers(2, 4)), int(random.integers(0, 4))
        plain = (
            random.integers(0, 8, hosts).tolist(),
            random.integers(1, 5, vms).tolist(),
            random.integers(0, hosts, vms).tolist(),
        )
        sizes = random.integers(2, 5, int(random.integers(1, 3))).tolist()
        n = int(random.integers(0, 2))
        answer = capacity(RestartPool.from_arrays(*(np.array(c, np.int64) for c in plain)), sizes, num_failures=n)
        if not exhaustive.survives_together(plain, n):
            assert (answer.count, answer.bound, answer.now.answer) == (0, 0, "loses")
            continue
        expected = largest_by_enumeration(plain, sizes, n)
        assert answer.count <= expected <= answer.bound
        assert answer.status == "optimal"
        counts.append(answer.count)
    assert len(counts) > 20
    assert len(set(counts)) > 2


def test_no_failures_fills_every_hole() -> None:
    pool = RestartPool.from_arrays([7, 5, -3, 9], [4], [0])
    answer = capacity(pool, [2])
    assert (answer.count, answer.bound, answer.status) == (3 + 2 + 4, 9, "optimal")
    assert np.bincount(answer.host, minlength=4).tolist() == [3, 2, 0, 4]


def test_empty_pool_keeps_one_host_in_reserve() -> None:
    answer = capacity(RestartPool.from_arrays([10] * 5, [], []), [3], num_failures=1)
    assert (answer.count, answer.status) == (12, "optimal")


def test_with_the_new_vms_the_pool_survives() -> None:
    random = np.random.default_rng(3)
    size = np.exp(random.uniform(np.log(1024), np.log(32768), 900)).astype(np.int64) * MIB
    host = np.argsort(np.argsort(-size)) % 30
    pool = RestartPool.from_arrays(np.full(30, 60 * GIB), size, host)
    for sizes, proportions in (([4 * GIB], None), ([2 * GIB, 8 * GIB], [3, 1])):
        for n in (1, 2):
            answer = capacity(pool, sizes, proportions=proportions, num_failures=n)
            assert 0 < answer.count <= answer.bound <= 1.05 * answer.count
            assert sum(answer.counts) == answer.count
            new = np.array(sizes)[answer.shape]
            free = pool.free.copy()
            np.subtract.at(free, answer.host, new)
            assert (free >= 0).all()
            grown = RestartPool.from_arrays(free, np.append(size, new), np.append(host, answer.host))
            assert failover(grown, n).survives
    assert answer.counts[0] - 3 * answer.counts[1] in range(-2, 4)


def test_mix_keeps_proportions_and_grows() -> None:
    mix = Mix([1, 1, 1], [5, 3, 1])
    for count in range(1, 60):
        shapes = mix.shapes(count)
        assert shapes[:-1].tolist() == mix.shapes(count - 1).tolist()
        for shape, weight in enumerate((5, 3, 1)):
            assert abs((shapes == shape).sum() * 9 - weight * count) < 9


def test_a_pool_that_loses_now_takes_none() -> None:
    answer = capacity(RestartPool.from_arrays([1, 1], [5], [0]), [1], num_failures=1)
    assert (answer.count, answer.bound, answer.now.answer) == (0, 0, "loses")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": []}, "sizes: there is no shape"),
        ({"sizes": [0]}, "sizes: 0 at index 0 is outside 1"),
        ({"sizes": [1], "proportions": [0]}, "proportions: 0 at index 0 is outside 1"),
        ({"sizes": [1, 2], "proportions": [1]}, "proportions: 1 entries for 2 shapes"),
        ({"sizes": [1], "num_failures": 3}, "num_failures: 3 hosts cannot fail where there are 2"),
    ],
)
def test_bad_input_is_named(arguments: dict[str, list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        capacity(RestartPool.from_arrays([1, 1], [1], [0]), **arguments)


def test_the_bound_is_one_even_where_very_many_fit() -> None:
    found = capacity(RestartPool.from_arrays([1 << 40], [], []), [1])
    assert (found.count, found.bound, found.status) == (1 << 20, 1 << 40, "feasible")


@pytest.mark.parametrize("seed", range(3))
def test_the_most_of_a_mix(seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(50):
        shapes = int(random.integers(1, 4))
        mix = Mix([1] * shapes, random.integers(1, 5, shapes).tolist())
        units = random.integers(0, 4, shapes)
        units[random.integers(shapes)] += 1
        limit = int(random.integers(0, 60))
        most = mix.most(units, limit)
        assert units @ mix.counts(most) <= limit < units @ mix.counts(most + 1)


@pytest.mark.parametrize("value", [1.5, True, "3"])
def test_shapes_and_proportions_are_not_rounded(value: Any) -> None:
    with pytest.raises(TypeError, match=f"sizes: {value!r} is no integer"):
        Mix([value])
    with pytest.raises(TypeError, match=f"proportions: {value!r} is no integer"):
        Mix([1], [value])


def test_a_pool_that_loses_already_takes_nothing_for_certain() -> None:
    found = capacity(RestartPool.from_arrays([0, 4, 4], [5], [0]), [1], num_failures=1)
    assert (found.count, found.bound, found.status, found.now.answer) == (0, 0, "optimal", "loses")


def test_new_vms_that_may_go_everywhere_need_no_matrix() -> None:
    """33,000 hosts and half a million new VMs would be 17 GB; here 2,000 of each are 4 MB, were it made."""
    hosts = 2000
    pool = RestartPool.from_arrays(np.full(hosts, 100), np.full(hosts, 10), np.arange(hosts))
    tracemalloc.start()
    try:
        answer = capacity(pool, [40], num_failures=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.count > 0
    assert peak < 3 << 20
