"""Naive twins of the statistics of history: loops over Python numbers, by the definitions."""

import math
from collections.abc import Sequence
from fractions import Fraction
from statistics import median


def slopes(days: Sequence[float], values: Sequence[float]) -> list[float]:
    """Of every pair of points."""
    found = []
    for i in range(len(days)):
        for j in range(i + 1, len(days)):
            found.append((values[j] - values[i]) / (days[j] - days[i]))
    return sorted(found)


def theil_sen(days: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Slope and intercept."""
    slope = median(slopes(days, values))
    return slope, median([y - slope * x for x, y in zip(days, values, strict=True)])


def mann_kendall(values: Sequence[float]) -> tuple[int, Fraction]:
    """S and its variance."""
    s = 0
    for i in range(len(values)):
        for j in range(i + 1, len(values)):
            s += (values[j] > values[i]) - (values[j] < values[i])
    n = len(values)
    total = n * (n - 1) * (2 * n + 5)
    for value in set(values):
        t = list(values).count(value)
        total -= t * (t - 1) * (2 * t + 5)
    return s, Fraction(total, 18)


def nearest_rank(values: Sequence[float], percent: Fraction) -> float:
    """The value at ceil(p / 100 * n), counted from 1."""
    return sorted(values)[math.ceil(percent / 100 * len(values)) - 1]
