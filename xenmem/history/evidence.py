"""What the use of a VM says about its size: percentiles of what it used, how good the record is, and what it needs.

Amounts are bytes, in whole numbers. Rules and their reasons: docs/reference/use.md, 5. Knows no pool.
"""

from fractions import Fraction
from math import ceil
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xenmem.inventory.use import Rows, Use
from xenmem.units import MIB

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86_400

STEP_BYTES: Final = 256 * MIB
"""Sizes are advised in whole multiples of this."""
LEAST_BYTES: Final = 512 * MIB
HOURLY_PERCENT: Final = 115
"""Of the largest hourly mean: what its peaks may be."""
LEAST_KNOWN: Final = Fraction(1, 2)
LEAST_DAYS: Final = 7
OVER: Final = Fraction(3, 4)
"""A VM has too much if what is advised is at most this share of what it has."""
TIGHT: Final = Fraction(9, 10)
"""A VM has too little if P95 of what it used is more than this share of its memory."""
LOW_FREE: Final = 0.05
"""Likewise if less than this share of its memory was free in more than this share of rows."""
IDLE_CPU: Final = 0.02
CONSTANT: Final = 0.05
RANGE_PERCENT: Final = 110
_CHANGED: Final = 0.1

Floats = NDArray[np.float64]
Kind = Literal["over", "under", "idle", "right"]


class Terms(NamedTuple):
    """What advice is made by.

    Attributes
    ----------
    percentile : of what was used that a VM is to have
    headroom : percent that it is to have above
    days : how far the window reaches back from the last row
    """

    percentile: Fraction = Fraction(99)
    headroom: int = 25
    days: int = 30


class Evidence(NamedTuple):
    """What a record says of the use of a VM.

    Attributes
    ----------
    step : seconds from row to row: 60 or less for minutes, up to 3600 for hourly means
    first, last : seconds since 1970, of the rows that are used
    rows, known : that there could be in between, and those that tell what was used
    memory : that the VM had in the last of them
    p50, p95, percentile, most : bytes used; `percentile` is that of the terms
    most_seen : the most that was used in any row of any step
    low_free : share of rows with less than 5 % free
    cpu : P95 of the share of its vCPUs that it used; None if it is not known
    constant : what it used stayed within 5 %
    changed : seconds since 1970 since when its memory is what it is, where rows before were left out for that
    """

    step: int
    first: int
    last: int
    rows: int
    known: int
    memory: int
    p50: int
    p95: int
    percentile: int
    most: int
    most_seen: int
    low_free: float
    cpu: float | None
    constant: bool
    changed: int | None

    @property
    def days(self) -> float:
        """From the beginning of the first row to the end of the last."""
        return (self.last - self.first + self.step) / DAY

    @property
    def share(self) -> Fraction:
        """Of the rows, those that are known."""
        return Fraction(self.known, self.rows)

    @property
    def is_of_minutes(self) -> bool:
        """Peaks of a minute are in it."""
        return self.step <= MINUTE

    @property
    def lacks(self) -> str:
        """Why it says nothing about a size; empty if it does."""
        if self.step > HOUR:
            return "there are daily means alone"
        if self.share < LEAST_KNOWN:
            return f"of {self.rows} rows {self.known} are known"
        return ""

    @property
    def is_preliminary(self) -> bool:
        """It is shorter than a week."""
        return self.days < LEAST_DAYS


def nearest_rank(values: Floats, percent: Fraction | int) -> float:
    """The value at place ceil(percent / 100 * n) of the values in ascending order, counted from 1.

    Parameters
    ----------
    values : shape (n,), n >= 1, all known
    percent : above 0, up to 100
    """
    place = ceil(Fraction(percent) * len(values) / 100) - 1
    return float(np.partition(values, place)[place])


def used(rows: Rows) -> Floats:
    """What was used in each row: memory less what was free, at least 0; NaN where either is not known."""
    return np.clip(rows.memory - rows.memory_internal_free, 0, rows.memory)


def last_change(rows: Rows, least: int | None = None, most: int | None = None) -> int:
    """The first row since memory last changed by more than 10 % without a target that explains it; 0 if it never did.

    Parameters
    ----------
    least, most : limits of ballooning as they are, if they are known: a target beyond them was of other limits

    Notes
    -----
    A target explains a change if memory came nearer to it. Rows whose memory is not known are passed over.
    """
    known = np.flatnonzero(~np.isnan(rows.memory))
    before, after = rows.memory[known[:-1]], rows.memory[known[1:]]
    target, old_target = rows.memory_target[known[1:]], rows.memory_target[known[:-1]]
    changed = np.abs(after - before) > _CHANGED * before
    explained = np.abs(after - target) < np.abs(before - target)  # NaN explains nothing
    if least is not None and most is not None:
        low, high = least * (1 - _CHANGED), most * (1 + _CHANGED)
        for one in (target, old_target):
            explained &= np.isnan(one) | ((one >= low) & (one <= high))
    places = np.flatnonzero(changed & ~explained)
    return int(known[places[-1] + 1]) if len(places) else 0


def evidence(use: Use, terms: Terms, least: int | None = None, most: int | None = None) -> Evidence | None:
    """What a record says; None if no row tells what was used.

    Parameters
    ----------
    least, most : as for last_change

    Notes
    -----
    Minutes are taken if they are of a week, or of no less time than hourly means; daily means only if there is nothing
    else.
    """
    found = {step: _of_rows(step, rows, terms, least, most) for step, rows in use.rows.items()}
    known = [one for one in found.values() if one is not None]
    if not known:
        return None

    def best(low: int, high: float) -> Evidence | None:
        return max((one for one in known if low < one.step <= high), key=lambda one: (one.days, one.step), default=None)

    minutes, hours = best(0, MINUTE), best(MINUTE, HOUR)
    enough = minutes is not None and (minutes.days >= LEAST_DAYS or hours is None or minutes.days >= hours.days)
    chosen = minutes if enough else hours or best(HOUR, float("inf"))
    assert chosen is not None
    return chosen._replace(most_seen=max(one.most for one in known))


def _of_rows(step: int, rows: Rows, terms: Terms, least: int | None, most: int | None) -> Evidence | None:
    rows = rows.part(slice(int(np.searchsorted(rows.times, rows.times[-1] - terms.days * DAY, "right")), None))
    since = last_change(rows, least, most)
    rows = rows.part(slice(since, None))
    amounts = used(rows)
    known = np.flatnonzero(~np.isnan(amounts))
    if not len(known):
        return None
    amounts, memory = amounts[known], rows.memory[known]
    times, cpu = rows.times[known], rows.cpu_usage[known]
    cpu = cpu[~np.isnan(cpu)]
    top = float(amounts.max())
    return Evidence(
        step=step,
        first=int(times[0]),
        last=int(times[-1]),
        rows=max(len(known), int(times[-1] - times[0]) // step + 1),
        known=len(known),
        memory=ceil(memory[-1]),
        p50=ceil(nearest_rank(amounts, 50)),
        p95=ceil(nearest_rank(amounts, 95)),
        percentile=ceil(nearest_rank(amounts, terms.percentile)),
        most=ceil(top),
        most_seen=ceil(top),
        low_free=float(np.mean(memory - amounts < LOW_FREE * memory)),
        cpu=nearest_rank(cpu, 95) if len(cpu) else None,
        constant=top - float(amounts.min()) <= CONSTANT * top,
        changed=int(rows.times[0]) if since else None,
    )


class Size(NamedTuple):
    """What a VM is to have.

    Attributes
    ----------
    kind : ``over``, ``under``, ``idle`` or ``right``
    need : the percentile of what it used; of hourly means the largest and 15 %, or what finer rows showed
    wanted : that with headroom, a multiple of 256 MiB
    recommended : the same, but not less than half of what it has, its least and 512 MiB; multiple of 256 MiB
    dynamic_min : the least to which it could be ballooned
    """

    kind: Kind
    need: int
    wanted: int
    recommended: int
    dynamic_min: int


def size_of(found: Evidence, terms: Terms, static_max: int, least: int = 0, *, counts_caches: bool = False) -> Size:
    """The size that evidence asks for.

    Parameters
    ----------
    static_max : what the VM has
    least : below which its template does not let it go
    counts_caches : its agent may count caches as used, so that this is an upper bound: then no less than was seen
    """
    need = found.percentile if found.is_of_minutes else max(percent_of(found.most, HOURLY_PERCENT), found.most_seen)
    wanted = in_steps(percent_of(need, 100 + terms.headroom))
    seen = found.most_seen if counts_caches else 0
    recommended = max(wanted, in_steps(max(LEAST_BYTES, least, half_of(static_max), seen)))
    kind: Kind
    if found.p95 > TIGHT * found.memory or found.low_free > LOW_FREE:
        kind = "under"
    elif recommended <= OVER * static_max:
        kind = "over"
    elif found.cpu is not None and found.cpu < IDLE_CPU and found.constant:
        kind = "idle"
    else:
        kind = "right"
    floor = max(in_steps(percent_of(found.p95, RANGE_PERCENT)), -(-static_max // 4), least)
    return Size(kind, need, wanted, recommended, floor)


def half_of(amount: int) -> int:
    """As far as one step goes down, rounded up."""
    return -(-amount // 2)


def percent_of(amount: int, percent: int) -> int:
    """A share of an amount, rounded up."""
    return -(-amount * percent // 100)


def in_steps(amount: int) -> int:
    """An amount rounded up to STEP_BYTES."""
    return -(-amount // STEP_BYTES) * STEP_BYTES
