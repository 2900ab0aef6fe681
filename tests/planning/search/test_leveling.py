"""A few migrations off the fullest hosts: every answer against all ways there are."""

from itertools import combinations, product

import numpy as np
import pytest

from xenmem.planning.effort import Effort
from xenmem.planning.question import question_of_sizes
from xenmem.planning.search.leveling import levelled
from xenmem.planning.search.problem import Problem, problems

FAR = 1 << 40


def pool(seed: int, groups: int = 0) -> Problem:
    random = np.random.default_rng(seed)
    hosts, vms = int(random.integers(2, 5)), int(random.integers(2, 8))
    sizes, origin = random.integers(1, 12, vms), random.integers(0, hosts, vms)
    room = int(np.bincount(origin, sizes, hosts).max()) + int(random.integers(0, 4))
    apart = [random.choice(vms, 2, replace=False).tolist() for _ in range(groups)]
    (problem,) = problems(question_of_sizes(sizes, np.full(hosts, room), origin, {"anti_affinity": apart}))
    return problem


def most_on_the_fullest(problem: Problem, migrations: int) -> int:
    """By every set of VMs and every place for them."""
    hosts = range(len(problem.hosts))
    best = problem.least_free(problem.origin)
    for number in range(1, migrations + 1):
        for moving in combinations(range(len(problem.sizes)), number):
            for targets in product(hosts, repeat=number):
                on = problem.origin.copy()
                on[list(moving)] = targets
                best = max(best, problem.least_free(on))
    return best


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("migrations", [1, 2, 3])
def test_all_ways_with_few_migrations(seed: int, migrations: int) -> None:
    problem = pool(seed)
    found, seen = levelled(problem, problem.origin, migrations, FAR, Effort())
    assert seen
    assert (found != problem.origin).sum() <= migrations
    assert problem.least_free(found) == most_on_the_fullest(problem, migrations)


@pytest.mark.parametrize("seed", range(60))
def test_vms_apart_stay_apart_and_nothing_is_proved(seed: int) -> None:
    problem = pool(seed, groups=2)
    found, seen = levelled(problem, problem.origin, 2, FAR, Effort())
    assert not seen or not len(problem.group_of)
    before = problem.occupied(problem.origin)[1]
    after = problem.occupied(found)[1]
    assert (after <= np.maximum(before, 1)).all()
    assert problem.least_free(found) >= problem.least_free(problem.origin)


def test_moves_that_are_left_bring_the_hosts_together() -> None:
    # no migration relieves both full hosts, but one evens out the other two
    problem = problems(question_of_sizes([9, 9, 4, 2], [10, 10, 10, 10], [0, 1, 2, 2], {}))[0]
    found, seen = levelled(problem, problem.origin, 1, FAR, Effort())
    assert seen
    assert problem.least_free(found) == 1
    assert sorted(problem.occupied(found)[0].tolist()) in ([1, 1, 6, 8], [1, 1, 8, 6])
