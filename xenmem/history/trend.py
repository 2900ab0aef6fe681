"""The trend of a number that has one value a day at most: its slope, whether there is one at all, how long it lasts.

Theil-Sen for the slope, Mann-Kendall for whether it is one; 29 % of outliers do no harm. Times are days. Knows no pool.
"""

from collections.abc import Sequence
from math import ceil, floor, inf, sqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_POINTS: Final = 400
"""Pairs grow with the square: so many points have 79,800."""
MIN_POINTS: Final = 14
MIN_DAYS: Final = 14.0
"""Fewer points, or over fewer days, are a preliminary answer."""
QUANTILE: Final = 1.64
"""Of the normal distribution: a trend, and its interval, at 90 %."""
BREAK: Final = 0.2
"""A change in a day by more than this share of the level restarts the series, unless it is gone the day after."""

Floats = NDArray[np.float64]


class Trend(NamedTuple):
    """A line through points, and how sure it is.

    Attributes
    ----------
    slope, intercept : of the line, by days and at day 0
    slope_low, slope_high : between these the slope is, at 90 %
    s, variance, z : of Mann-Kendall
    points : how many there are
    days : from the first to the last
    """

    slope: float
    intercept: float
    slope_low: float
    slope_high: float
    s: int
    variance: float
    z: float
    points: int
    days: float

    @property
    def is_shrinking(self) -> bool:
        """There is a trend, and it goes down."""
        return self.z <= -QUANTILE and self.slope < 0

    @property
    def is_preliminary(self) -> bool:
        """The record is too short to rely on."""
        return self.points < MIN_POINTS or self.days < MIN_DAYS

    def at(self, day: float) -> float:
        """The line at a day."""
        return self.intercept + self.slope * day


def trend(days: Sequence[float] | Floats, values: Sequence[float] | Floats) -> Trend:
    """The line through points.

    Parameters
    ----------
    days : shape (n,), ascending, none twice; 2 to MOST_POINTS of them
    values : shape (n,)

    Raises
    ------
    ValueError : there are too few or too many points, or days do not ascend
    """
    x, y = np.asarray(days, np.float64), np.asarray(values, np.float64)
    if x.shape != y.shape or not 2 <= len(x) <= MOST_POINTS:
        raise ValueError(f"days, values: {len(x)} and {len(y)} points where 2 to {MOST_POINTS} pairs are needed")
    if not (np.diff(x) > 0).all():
        raise ValueError("days: they do not ascend")
    first, second = np.triu_indices(len(x), 1)
    rises = y[second] - y[first]
    slopes = np.sort(rises / (x[second] - x[first]))
    slope = float(np.median(slopes))
    s = int(np.sign(rises).sum())
    variance = _variance(y)
    z = 0.0 if s == 0 or variance == 0 else (s - np.sign(s)) / sqrt(variance)
    reach = QUANTILE * sqrt(variance)
    low, high = floor((len(slopes) - reach) / 2), ceil((len(slopes) + reach) / 2 + 1)
    return Trend(
        slope=slope,
        intercept=float(np.median(y - slope * x)),
        slope_low=float(slopes[low - 1]) if low >= 1 else -inf,
        slope_high=float(slopes[high - 1]) if high <= len(slopes) else inf,
        s=s,
        variance=variance,
        z=float(z),
        points=len(x),
        days=float(x[-1] - x[0]),
    )


def _variance(values: Floats) -> float:
    """Of Mann-Kendall's S, with what ties take away."""
    n = len(values)
    _, counts = np.unique(values, return_counts=True)
    ties = int((counts * (counts - 1) * (2 * counts + 5)).sum())
    return (n * (n - 1) * (2 * n + 5) - ties) / 18


def days_left(line: Trend, day: float, level: float = 0.0) -> tuple[float, float, float]:
    """Days from a day until the line is down at a level, and the fewest and the most by the interval of its slope.

    Returns
    -------
    0 where it is there already, infinity where a slope does not lead there
    """
    above = line.at(day) - level

    def until(slope: float) -> float:
        return 0.0 if above <= 0 else above / -slope if slope < 0 else inf

    return until(line.slope), until(line.slope_low), until(line.slope_high)


def daily(times: Sequence[float], values: Sequence[float]) -> tuple[list[int], list[float]]:
    """The median of each day's values.

    Parameters
    ----------
    times : seconds since 1970
    values : one each

    Returns
    -------
    days since 1970 in ascending order, and the medians
    """
    by_day: dict[int, list[float]] = {}
    for moment, value in zip(times, values, strict=True):
        by_day.setdefault(int(moment // 86_400), []).append(value)
    days = sorted(by_day)
    return days, [float(np.median(by_day[day])) for day in days]


def last_break(days: Sequence[float], values: Sequence[float], least: float = 0.0) -> int:
    """Where the series begins that has no break: the place of its first point, 0 if there is none.

    Parameters
    ----------
    least : a change by so much, or less, is no break

    Notes
    -----
    A break is a change in a day by more than BREAK of the highest level since the one before: near 0 every step is a
    large share of little. It is also more than three times the median change in a day: what falls steadily, however
    fast, does not break. A value that is off for one day is none, for an outlier does no harm; so is one on the last
    day, of which it is not known yet whether it stays.
    """
    if len(values) < 2:
        return 0
    changes = np.abs(np.diff(np.asarray(values, np.float64)) / np.diff(np.asarray(days, np.float64)))
    usual = max(least, 3 * float(np.median(changes)))
    start = level = 0
    scale = 0.0
    for place in range(1, len(values)):
        scale = max(scale, abs(values[level]))
        limit = max(BREAK * scale, usual)
        if abs(values[place] - values[level]) / (days[place] - days[level]) <= limit:
            level = place
        elif place + 1 < len(values) and abs(values[place + 1] - values[level]) > limit:
            start = level = place
            scale = 0.0
    return start
