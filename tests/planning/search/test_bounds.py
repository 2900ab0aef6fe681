"""The bounds bound: never beyond what the solver finds, and as sharp as a hand can check."""

import numpy as np
import pytest
from twins import solver

from xenmem.planning.search import bounds

NOT_IN_USE = np.zeros(4, np.bool_)


@pytest.mark.parametrize("seed", range(80))
def test_never_beyond_the_best(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 20, int(rng.integers(1, 10)))
    equal = np.full(4, int(rng.integers(15, 30)))
    origin = rng.integers(-1, 4, len(sizes)).astype(np.int32)
    for free in (equal, rng.integers(0, 40, 4)):
        rows = sizes.tolist(), free.tolist()
        assert bounds.vms_placed(sizes, free) >= (solver.best(*rows, "all") or 0)
        fewest = solver.best(*rows, "fewest-hosts")
        if fewest is None:
            continue
        assert bounds.hosts_needed(sizes, free, NOT_IN_USE) <= fewest
        assert bounds.oversized(sizes, free) is None
        assert bounds.least_free(sizes, free) >= (solver.best(*rows, "even") or 0)
        least = solver.best(*rows, "fewest-migrations", origin=origin.tolist())
        assert least is not None
        assert bounds.fewest_leaving(sizes, np.ones_like(sizes), origin, free) <= least


def test_hosts_needed() -> None:
    free = np.array([10, 10, 10, 10])
    assert bounds.hosts_needed(np.array([5, 5, 5]), free, NOT_IN_USE) == 2
    # VMs over half a host do not share one
    assert bounds.hosts_needed(np.array([6, 6, 6]), free, NOT_IN_USE) == 3
    # nor do those over a third fit three times
    assert bounds.hosts_needed(np.array([4, 4, 4, 4, 4]), free, NOT_IN_USE) == 3
    assert bounds.hosts_needed(np.array([4, 1]), np.array([4, 3, 1, 1]), NOT_IN_USE) == 2
    # 10 are free and 8 needed, but only one host has room for a VM of 4
    assert bounds.hosts_needed(np.array([4, 4]), np.array([5, 3, 1, 1]), NOT_IN_USE) == 5
    # counted in units of 3, there is room for 1 + 1 + 0 + 0
    assert bounds.hosts_needed(np.array([3, 6]), np.array([5, 5, 2, 2]), NOT_IN_USE) == 5
    # a host in use counts, and what it has left is taken first
    assert bounds.hosts_needed(np.array([5]), np.array([6, 9]), np.array([True, False])) == 1
    assert bounds.hosts_needed(np.array([9, 9, 9]), np.array([9, -5]), NOT_IN_USE[:2]) == 3


def test_vms_placed() -> None:
    assert bounds.vms_placed(np.array([1, 2, 3]), np.array([3, 0])) == 2
    assert bounds.vms_placed(np.array([6, 6, 6]), np.array([10, 10])) == 2
    assert bounds.vms_placed(np.array([6, 6, 1]), np.array([-5, 10])) == 2


def test_least_free() -> None:
    assert bounds.least_free(np.array([4, 4]), np.array([10, 10])) == 6
    assert bounds.least_free(np.array([4, 4]), np.array([3, 90])) == 3
    assert bounds.least_free(np.array([5]), np.array([0, 2])) == -3
    # level, both would be left with 5; but what is left is even
    assert bounds.least_free(np.array([4, 6]), np.array([10, 10])) == 4


def test_next_level() -> None:
    assert bounds.next_level(4, np.array([4, 6]), np.array([10, 10])) == 6
    assert bounds.next_level(4, np.array([4, 6]), np.array([10, 11])) == 5
    assert bounds.next_level(-3, np.array([3]), np.array([3])) == 0


def test_oversized() -> None:
    assert bounds.oversized(np.array([6, 6, 6, 1]), np.array([10, 10])) == (6, 2)
    assert bounds.oversized(np.array([6, 6, 1]), np.array([10, 10])) is None


def test_fewest_leaving() -> None:
    sizes, origin = np.array([5, 4, 3, 9]), np.array([0, 0, 0, 1], np.int32)
    alone = np.ones_like(sizes)
    assert bounds.fewest_leaving(sizes, alone, origin, np.array([12, 9])) == 0
    assert bounds.fewest_leaving(sizes, alone, origin, np.array([7, 9])) == 1
    assert bounds.fewest_leaving(sizes, alone, origin, np.array([6, 8])) == 3
    assert bounds.fewest_leaving(sizes, alone, origin, np.array([-1, 9])) == 3
    # three VMs that stay together make less room for each than two alone
    together = np.array([3, 1, 1, 1])
    assert bounds.fewest_leaving(sizes, together, origin, np.array([7, 9])) == 2
    assert bounds.fewest_leaving(sizes, together, origin, np.array([4, 9])) == 3
