"""Packings by patterns: every bound against enumeration, every packing against sums."""

import numpy as np
import pytest
from twins import enumeration

from xenmem.planning.effort import Effort
from xenmem.planning.question import question_of_sizes
from xenmem.planning.search.compiled.cutting import best_filling
from xenmem.planning.search.cutting import Cutting
from xenmem.planning.search.problem import Problem, problems


def problem_of(sizes: list[int], free: list[int]) -> Problem:
    (problem,) = problems(question_of_sizes(sizes, free, None, {}))
    return problem


@pytest.mark.parametrize("seed", range(40))
def test_bound_and_packing_of_few_vms(seed: int) -> None:
    random = np.random.default_rng(seed)
    sizes = random.integers(2, 12, random.integers(2, 8)).tolist()
    free = random.choice([9, 12, 15], random.integers(1, 5)).tolist()
    cutting = Cutting.of(problem_of(sizes, free), Effort())
    best = enumeration.best(sizes, free, "fewest-hosts")
    if max(sizes) > max(free):
        assert cutting is None
        return
    assert cutting is not None
    assert cutting.bound <= (len(free) + 1 if best is None else best)
    for _ in range(6):
        host_of = cutting.dive(Effort(seed=seed))
        placed = host_of >= 0
        held = np.bincount(host_of[placed], np.sort(sizes)[::-1][placed], len(free))
        assert (held <= free).all()
        if placed.all():
            assert best is not None
            assert cutting.bound <= best <= len(set(host_of.tolist()))


def test_bound_counts_what_patterns_can_hold() -> None:
    # by sums three hosts would do; two VMs of 34 leave no room that any other fits
    cutting = Cutting.of(problem_of([34] * 9, [100] * 9), Effort())
    assert cutting is not None
    assert cutting.bound == 5
    assert len(set(cutting.dive(Effort()).tolist())) == 5


def test_bound_says_where_hosts_run_out() -> None:
    cutting = Cutting.of(problem_of([34] * 9, [100, 100, 101, 60]), Effort())
    assert cutting is not None
    assert cutting.bound == 5
    assert (cutting.dive(Effort()) < 0).sum() == 2


@pytest.mark.parametrize("cells", [0, 1 << 20])
def test_best_filling_by_search_and_by_table(cells: int) -> None:
    random = np.random.default_rng(3)
    for _ in range(50):
        size = np.unique(random.integers(2, 9, 5)).astype(np.int64)
        worth = random.integers(0, 20, len(size)).astype(np.int64)
        most = random.integers(1, 4, len(size)).astype(np.int64)
        room = int(random.integers(0, 25))
        best = np.zeros(len(size), np.int64)
        found, limit = best_filling(worth, size, most, room, 1, cells, best)
        amounts = np.stack(np.meshgrid(*[np.arange(count + 1) for count in most]), -1).reshape(-1, len(size))
        expected = max(int(amount @ worth) for amount in amounts if amount @ size <= room)
        assert found == limit == expected == best @ worth
        assert best @ size <= room
