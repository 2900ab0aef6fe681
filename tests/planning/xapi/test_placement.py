"""Host choice: the random functions, and what bad numbers get."""

import numpy as np
import pytest

from xenmem.planning.xapi import placement


def values(count: int) -> placement.CategoryValues:
    nobody = np.full(count, -1)
    return placement.CategoryValues(nobody, np.arange(count)[::-1], nobody, nobody)


def test_random_functions_repeat_by_seed() -> None:
    for function in (placement.uniform, placement.biased):
        draws = [function(5)() for _ in range(3)]
        assert draws[0] == draws[1] == draws[2]
        draw = function(np.random.default_rng(5))
        assert draw() == draws[0]
        assert draw() != draws[0]
    assert placement.biased(5)() == placement.uniform(5)() ** 2
    assert placement.zero() == 0.0


def test_the_best_of_n_is_drawn_first_with_probability_one_by_the_root_of_n() -> None:
    """The best of 16 is taken when r * r * 16 < 1, that is for r < 1/4."""
    assert placement.select_host(values(16), lambda _host: True, lambda: float(np.nextafter(0.25, 0)) ** 2) == 0
    assert placement.select_host(values(16), lambda _host: True, lambda: 0.25**2) == 1


@pytest.mark.parametrize("draw", [1.0, -0.1, float("nan")])
def test_draws_outside_the_range(draw: float) -> None:
    with pytest.raises(ValueError, match=r"random: .* is outside \[0, 1\)"):
        placement.select_host(values(2), lambda _host: True, lambda: draw)


def test_no_hosts() -> None:
    assert placement.select_host(values(0), lambda _host: True, placement.zero) is None
