"""Trends: the worked example to the letter, definitions by the naive twin, breaks, and what has no trend."""

from math import inf, isclose, sqrt
from random import Random

import pytest
from twins import statistics

from xenmem.history.trend import daily, days_left, last_break, trend

DAYS = [0, 7, 14, 21, 28, 35, 42]
MARGIN = [96, 92, 95, 84, 20, 74, 70]
"""The 20 is a day with a host down."""


def test_the_worked_example() -> None:
    """Least squares would say -0.9643 a day, and 59.8 days."""
    line = trend(DAYS, MARGIN)
    assert round(line.slope, 6) == -0.628571
    assert round(line.intercept, 6) == 96.4
    assert round(line.at(42), 6) == 70.0
    assert (line.s, round(line.variance, 2), round(line.z, 2)) == (-15, 44.33, -2.10)
    assert line.is_shrinking
    assert line.is_preliminary
    left, fewest, most = days_left(line, 42)
    assert round(left, 2) == 111.36
    assert fewest < left < most
    assert last_break(DAYS, MARGIN) == 0


def test_the_interval_of_the_worked_example() -> None:
    """Of 21 slopes those at ranks (21 - 1.64 * 6.658) / 2 = 5.04 and (21 + 1.64 * 6.658) / 2 + 1 = 16.96."""
    every = statistics.slopes(DAYS, MARGIN)
    line = trend(DAYS, MARGIN)
    assert (line.slope_low, line.slope_high) == (every[5 - 1], every[17 - 1])


@pytest.mark.parametrize("seed", range(20))
def test_as_the_naive_twin(seed: int) -> None:
    random = Random(seed)
    n = random.randrange(2, 30)
    days = sorted(random.sample(range(400), n))
    values = [float(random.randrange(-20, 20 if seed % 2 else 1 << 40)) for _ in days]
    line = trend(days, values)
    slope, intercept = statistics.theil_sen(days, values)
    s, variance = statistics.mann_kendall(values)
    assert isclose(line.slope, slope, rel_tol=1e-12, abs_tol=1e-9)
    assert isclose(line.intercept, intercept, rel_tol=1e-9, abs_tol=1e-6)
    assert (line.s, line.variance) == (s, float(variance))
    expected = 0.0 if not s or not variance else (s - (1 if s > 0 else -1)) / sqrt(variance)
    assert isclose(line.z, expected)
    assert line.slope_low <= line.slope <= line.slope_high


def test_a_constant_is_no_trend() -> None:
    line = trend(range(30), [5.0] * 30)
    assert (line.slope, line.s, line.z, line.variance) == (0, 0, 0, 0)
    assert not line.is_shrinking
    assert days_left(line, 29) == (inf, inf, inf)


def test_a_steady_decline_is_exact() -> None:
    line = trend(range(30), [100.0 - day for day in range(30)])
    assert (line.slope, line.slope_low, line.slope_high) == (-1, -1, -1)
    assert not line.is_preliminary
    assert days_left(line, 29) == (71, 71, 71)
    assert days_left(line, 29, 61.0) == (10, 10, 10)
    assert days_left(line, 29, 90.0) == (0, 0, 0)


def test_growth_is_no_shrinking() -> None:
    assert not trend(range(30), list(range(30))).is_shrinking


def test_two_points_know_no_interval() -> None:
    line = trend([0, 1], [5, 4])
    assert (line.slope_low, line.slope_high) == (-inf, inf)
    assert not line.is_shrinking


@pytest.mark.parametrize(
    ("values", "start"),
    [
        ([100, 99, 98, 97, 96], 0),
        ([100, 99, 140, 139, 138], 2),  # a host was added
        ([100, 99, 20, 97, 96], 0),  # a host was down for a day
        ([100, 99, 20, 21, 96, 95, 94], 4),  # for two
        ([100, 99, 98, 97, 20], 0),  # since today: whether it stays is not known
        ([100, 99, 79, 78], 0),  # 20 % of 100
        ([100, 99, 78, 77], 2),  # 21 %
        ([100, 75, 50, 25, 0], 0),  # steadily
        ([100, 75, 50, 25, 0, 200, 175, 150], 5),
        ([10, 8, 6, 4, 2, 1], 0),  # a step is a large share of little
        ([0, 0, 0], 0),
        ([-100, -99, -60, -60], 2),
        ([7], 0),
        ([], 0),
    ],
)
def test_where_a_series_begins(values: list[float], start: int) -> None:
    assert last_break(range(len(values)), values) == start


def test_a_change_by_a_single_vm_is_no_break() -> None:
    assert last_break(range(6), [2, 2, 2, 1, 1, 1]) == 3
    assert last_break(range(6), [2, 2, 2, 1, 1, 1], least=1) == 0


def test_one_value_a_day() -> None:
    times = [0, 3600, 86399, 86400, 3 * 86400, 3 * 86400 + 1]
    assert daily(times, [3, 1, 50, 7, 2, 4]) == ([0, 1, 3], [3.0, 7.0, 3.0])


@pytest.mark.parametrize(("days", "values"), [([], []), ([1], [1]), (range(401), range(401)), ([1, 1], [1, 2])])
def test_points_that_make_no_line(days: list[float], values: list[float]) -> None:
    with pytest.raises(ValueError, match="days"):
        trend(days, values)
