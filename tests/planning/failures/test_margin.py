"""The margin of a pool: the most that every host could lose, against plain enumeration of every amount."""

import numpy as np
import pytest
from twins import exhaustive

from xenmem.planning import RestartPool, margin
from xenmem.units import MIB


def by_enumeration(plain: exhaustive.Pool, n: int) -> int | None:
    """The largest amount in MiB with which the pool still survives; None if none or all do."""
    free, size, host = plain
    found = [
        exhaustive.survives_together(([room - less for room in free], size, host), n)
        for less in range(-sum(size) - 3, max(free) + 2)
    ]
    if all(found) or not any(found):
        return None
    assert found == sorted(found, reverse=True)
    return found.count(True) - 1 - sum(size) - 3


@pytest.mark.parametrize("seed", range(2))
def test_margins_equal_enumeration(seed: int) -> None:
    random = np.random.default_rng(seed)
    signs = set()
    for _ in range(40):
        hosts, vms = int(random.integers(1, 4)), int(random.integers(1, 6))
        size = random.integers(1, 6, vms).tolist()
        where = random.integers(-1 if random.random() < 0.2 else 0, hosts, vms).tolist()
        free = random.integers(-1, 16, hosts).tolist()
        n = int(random.integers(0, hosts + 1))
        pool = RestartPool.from_arrays(np.array(free) * MIB, np.array(size) * MIB, where)
        expected = by_enumeration((free, size, where), n)
        assert margin(pool, n) == (None if expected is None else expected * MIB)
        signs.add(None if expected is None else np.sign(expected))
    assert {None, -1, 1} <= signs


def test_the_margin_is_rounded_down() -> None:
    """A host of 10 MiB less a byte can lose 5 MiB when 4 MiB must find room there."""
    pool = RestartPool.from_arrays([0, 10 * MIB - 1], [4 * MIB], [0])
    assert margin(pool, 1) == 5 * MIB


def test_time_that_is_over_is_no_answer() -> None:
    pool = RestartPool.from_arrays([0, 10 * MIB], [4 * MIB], [0])
    assert margin(pool, 1, time_limit=1e-9) in (None, 6 * MIB)


@pytest.mark.parametrize("n", [-1, 3])
def test_a_number_of_failures_that_cannot_be_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match="num_failures"):
        margin(RestartPool.from_arrays([0, MIB], [MIB], [0]), n)
