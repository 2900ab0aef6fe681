"""How long a pool still survives host failures, or takes VMs of a shape, by the trend of what there was day by day.

What is followed is accounted, never measured. Rules and a worked example: docs/reference/use.md, 6. Amounts are bytes,
times UTC. Knows no folder: snapshots come one after the other, and each is forgotten once it is accounted.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from math import floor, inf, isfinite
from typing import Final, NamedTuple

from xenmem import kernel, planning
from xenmem.answers.capacity import Wanted
from xenmem.answers.explain import Shape, requirement
from xenmem.answers.failover import counted_in, restart_pool
from xenmem.answers.naming import (
    Answer,
    NamedHost,
    Outcome,
    PoolHead,
    QuestionError,
    Result,
    label,
    listed,
    named,
    pool_head,
)
from xenmem.fleet import Fleet
from xenmem.history.trend import MIN_DAYS, MIN_POINTS, MOST_POINTS, Trend, daily, days_left, last_break, trend
from xenmem.text import counted
from xenmem.units import MIB, format_size

PER_DAY: Final = 8
"""Snapshots of a day that are accounted: their median stands for the day."""
TIME_LIMIT: Final = 10.0
_DAY: Final = 86_400
_TO_COMPILE: Final = 120.0
"""Seconds for the first question: it may have to be compiled."""


class Point(Result, frozen=True):
    """A day.

    Attributes
    ----------
    date : in UTC
    value : the median of the day's snapshots
    fitted : the line at the day; None where there is none
    low, high : of the band around it, at 90 %
    counts : it belongs to the series: it comes after the last break
    """

    date: str
    value: float
    fitted: float | None
    low: float | None
    high: float | None
    counts: bool


class Slope(Result, frozen=True):
    """A trend, by day.

    Attributes
    ----------
    a_day, low, high : of the line, and between what it is at 90 %; None where the record does not bound it
    s, z : of Mann-Kendall
    is_shrinking : there is a trend, and it goes down
    """

    a_day: float
    low: float | None
    high: float | None
    s: int
    z: float
    is_shrinking: bool


class PoolRunway(Result, frozen=True):
    """One pool.

    Attributes
    ----------
    counted : which VMs are to run again
    first, last : the days of the series
    days : what it covers
    points : every day, also those before the last break
    broken : why the series begins where it does; empty if nothing broke it
    value, fitted : on the last day, measured and by the line; None where there is none
    trend : None where there are too few points
    runway, runway_low, runway_high : days from the last one on; None where nothing ends, or later than can be said
    date, date_low, date_high : these as dates
    at_least : days for which it lasts in any case that can be said: twice what the series covers; None where it ends
        before
    preliminary : the record is too short to rely on
    worst : the hosts whose failure is survived the least
    reason : what there is, why, and until when, in a sentence
    skipped : snapshots in which it could not be told
    """

    pool: PoolHead
    counted: str
    first: str
    last: str
    days: float
    points: list[Point]
    broken: str
    value: float
    fitted: float | None
    trend: Slope | None
    runway: float | None
    runway_low: float | None
    runway_high: float | None
    date: str | None
    date_low: str | None
    date_high: str | None
    at_least: float | None
    preliminary: bool
    worst: list[NamedHost]
    reason: str
    skipped: int


class Runway(Answer, frozen=True):
    """How long it lasts.

    Attributes
    ----------
    num_failures : hosts that may fail together
    policy : which amount counts as the memory of a VM
    memory, VCPUs_max : of the shape that is to fit; None where the question is of the VMs that there are
    unit : of the values: ``bytes`` that every host could lose, or ``VMs`` that still fit
    """

    num_failures: int
    policy: str
    memory: int | None
    VCPUs_max: int | None
    unit: str
    pools: list[PoolRunway]


class _Seen(NamedTuple):
    """What a snapshot said of a pool."""

    when: float
    value: float
    hosts: frozenset[str]
    model: str


class _Record:
    """A pool over time."""

    def __init__(self) -> None:
        self.seen: list[_Seen] = []
        self.skipped = 0
        self.last: tuple[Fleet, int] | None = None


def chosen(dates: Iterable[datetime]) -> list[datetime]:
    """The snapshots to look at: of the last 400 days, and of a day with many evenly some.

    Parameters
    ----------
    dates : in any order
    """
    by_day: dict[date, list[datetime]] = {}
    for moment in sorted(set(dates)):
        by_day.setdefault(moment.astimezone(UTC).date(), []).append(moment)
    found = []
    for day in sorted(by_day)[-MOST_POINTS:]:
        moments = by_day[day]
        if len(moments) > PER_DAY:
            moments = [moments[round(k * (len(moments) - 1) / (PER_DAY - 1))] for k in range(PER_DAY)]
        found += moments
    return found


def runway(
    snapshots: Iterable[tuple[datetime, Fleet]],
    shape: Wanted | None = None,
    num_failures: int = 1,
    *,
    restart: str | None = None,
    policy: str = "static_max",
    time_limit: float = TIME_LIMIT,
    progress: Callable[[int], None] = lambda done: None,
) -> Runway:
    """How many days until so many host failures are no longer survived, or until a VM of a shape no longer fits.

    Parameters
    ----------
    snapshots : when, and the fleet as it was then; in the order of time, each of any number of pools
    shape : of the VM that is to fit while so many hosts may still fail; None asks of the VMs that there are
    num_failures : hosts that may fail
    restart, policy : as for failover
    time_limit : seconds for each snapshot of a pool
    progress : called with the number of snapshots that are done

    Raises
    ------
    QuestionError : there is no snapshot, or the question contradicts itself
    """
    if num_failures < 0:
        raise QuestionError(f"{num_failures} hosts cannot fail")
    if shape is None and num_failures == 0:
        raise QuestionError("without failures the question is of a shape of VMs: give memory and vCPUs")
    if shape is not None and shape.memory <= 0:
        raise QuestionError(f"memory: {shape.memory} makes no VM")
    account = _Account(shape, num_failures, restart, policy, time_limit)
    records: dict[str, _Record] = {}
    for done, (when, fleet) in enumerate(snapshots, 1):
        for pool in range(len(fleet.pools)):
            record = records.setdefault(fleet.pools.uuid[pool] or fleet.pools.ref[pool], _Record())
            value = account.value(fleet, pool)
            if value is None:
                record.skipped += 1
                continue
            hosts = frozenset(fleet.hosts.uuid[fleet.hosts.pool == pool].tolist())
            record.seen.append(_Seen(when.timestamp(), value, hosts, fleet.pools.model[pool]))
            record.last = fleet, pool
        progress(done)
    if not records:
        raise QuestionError("there is no snapshot")
    found = [_pool(record, account) for record in records.values() if record.last is not None]
    if not found:
        raise QuestionError("of no snapshot it can be told: no host takes VMs, or there is no VM to run again")
    first = min(found, key=_urgency)
    return Runway(
        verdict=_verdict(found, first),
        outcome=_outcome(first, account.level),
        num_failures=num_failures,
        policy=policy,
        memory=None if shape is None else shape.memory,
        VCPUs_max=None if shape is None else shape.vcpus,
        unit="bytes" if shape is None else "VMs",
        pools=found,
    )


class _Account:
    """What is followed, of one pool at one time; equal pools are accounted once."""

    def __init__(
        self, shape: Wanted | None, num_failures: int, restart: str | None, policy: str, time_limit: float
    ) -> None:
        self.shape, self.num_failures, self.restart = shape, num_failures, restart
        self._policy, self._time_limit = policy, time_limit
        self._known: dict[tuple[object, ...], float | None] = {}

    @property
    def level(self) -> float:
        """Below this it is lost: nothing left of memory, or less than one VM."""
        return 0.0 if self.shape is None else 1.0

    def _restart_pool(self, fleet: Fleet, pool: int) -> planning.RestartPool | None:
        try:
            found = restart_pool(fleet, pool, self.restart, self._policy)
        except QuestionError:
            counted_in(fleet, pool, self.restart)  # which is a mistake of whoever asks
            return None
        return found if self.num_failures <= len(found.free) else None

    def _needed(self, fleet: Fleet, pool: int) -> int:
        assert self.shape is not None
        shape = Shape(kernel.DomainType.HVM, self.shape.memory, self.shape.vcpus, 1.0)
        return requirement(shape, self.shape.memory, fleet.pools.model[pool]).total

    def value(self, fleet: Fleet, pool: int) -> float | None:
        """Bytes that every host could lose, or VMs that still fit; None where that cannot be told."""
        found = self._restart_pool(fleet, pool)
        if found is None:
            return None
        needed = 0 if self.shape is None else self._needed(fleet, pool)
        allowed = None if found.allowed is None else found.allowed.tobytes()
        key = (found.free.tobytes(), found.size.tobytes(), found.resident_on.tobytes(), allowed, needed)
        if key not in self._known:
            self._known[key] = self._asked(found, needed)
        return self._known[key]

    def _asked(self, pool: planning.RestartPool, needed: int) -> float | None:
        seconds = self._time_limit if self._known else max(self._time_limit, _TO_COMPILE)
        if self.shape is None:
            return planning.margin(pool, self.num_failures, time_limit=seconds)
        answer = planning.capacity(pool, [needed], num_failures=self.num_failures, time_limit=seconds)
        return None if answer.now.answer == "unknown" else answer.count

    def worst(self, fleet: Fleet, pool: int) -> list[NamedHost]:
        """The hosts whose failure is the first that is no longer survived, if every host loses more and more."""
        found = self._restart_pool(fleet, pool)
        if found is None or self.num_failures == 0:
            return []
        margin = planning.margin(found, self.num_failures, time_limit=self._time_limit)
        if margin is None:
            return []
        beyond = planning.RestartPool(
            found.free - margin - MIB, found.size, found.resident_on, found.allowed, found.hosts, found.vms
        )
        answer = planning.failover(beyond, self.num_failures, time_limit=self._time_limit)
        return [host for row in answer.failed_hosts if (host := named(fleet.hosts, row)) is not None]


def _pool(record: _Record, account: _Account) -> PoolRunway:
    assert record.last is not None
    fleet, pool = record.last
    days, values = daily([one.when for one in record.seen], [one.value for one in record.seen])
    days, values = days[-MOST_POINTS:], values[-MOST_POINTS:]
    start, broken = _start(record.seen, days, values, 0.0 if account.shape is None else 1.0)
    x, y = days[start:], values[start:]
    line = trend(x, y) if len(x) > 1 else None
    today = days[-1]
    band = _band(line, x)
    covered = float(x[-1] - x[0])
    if values[-1] < account.level:
        left = (0.0, 0.0, 0.0)
    elif line is not None and line.is_shrinking:
        left = days_left(line, today, account.level)
    else:
        left = (inf, inf, inf)
    said = [one if one <= 2 * covered or one == 0 else None for one in left]
    worst = account.worst(fleet, pool)
    preliminary = line is None or line.is_preliminary
    return PoolRunway(
        pool=pool_head(fleet, pool),
        counted=counted_in(fleet, pool, account.restart),
        first=_date(x[0]),
        last=_date(today),
        days=covered,
        points=[
            Point(
                date=_date(day),
                value=value,
                fitted=None if place < start or line is None else line.at(day),
                low=None if place < start or band is None else band[place - start][0],
                high=None if place < start or band is None else band[place - start][1],
                counts=place >= start,
            )
            for place, (day, value) in enumerate(zip(days, values, strict=True))
        ],
        broken=broken,
        value=values[-1],
        fitted=None if line is None else line.at(today),
        trend=None if line is None else _slope(line),
        runway=said[0],
        runway_low=said[1],
        runway_high=said[2],
        date=_after(today, said[0]),
        date_low=_after(today, said[1]),
        date_high=_after(today, said[2]),
        at_least=2 * covered if said[0] is None and isfinite(left[0]) else None,
        preliminary=preliminary,
        worst=worst,
        reason=_reason(account, line, left, values[-1], covered, len(x), worst),
        skipped=record.skipped,
    )


def _start(seen: Sequence[_Seen], days: Sequence[int], values: Sequence[float], least: float) -> tuple[int, str]:
    """Where the series begins, and what broke it there; a change by no more than the least does not."""
    at_end = {int(one.when // _DAY): one for one in seen}
    start, broken = 0, ""
    for place in range(1, len(days)):
        before, after = at_end[days[place - 1]], at_end[days[place]]
        added, gone = after.hosts - before.hosts, before.hosts - after.hosts
        if added or gone:
            parts = [f"{counted(len(added), 'host')} added"] if added else []
            parts += [f"{counted(len(gone), 'host')} removed"] if gone else []
            start, broken = place, ", ".join(parts)
        elif before.model != after.model:
            start, broken = place, f"model {after.model} instead of {before.model}"
    jump = last_break(days[start:], values[start:], least)
    if jump:
        start, broken = start + jump, "a change by more than 20 % in a day"
    return start, f"{_date(days[start])}: {broken}" if broken else ""


def _band(line: Trend | None, days: Sequence[int]) -> list[tuple[float, float]] | None:
    """Around the line, by the interval of its slope, which turns about the middle of the series."""
    if line is None or not (isfinite(line.slope_low) and isfinite(line.slope_high)):
        return None
    middle = (days[0] + days[-1]) / 2
    band = []
    for day in days:
        ends = [line.at(middle) + slope * (day - middle) for slope in (line.slope_low, line.slope_high)]
        band.append((min(ends), max(ends)))
    return band


def _slope(line: Trend) -> Slope:
    return Slope(
        a_day=line.slope,
        low=line.slope_low if isfinite(line.slope_low) else None,
        high=line.slope_high if isfinite(line.slope_high) else None,
        s=line.s,
        z=line.z,
        is_shrinking=line.is_shrinking,
    )


def _date(day: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


def _after(day: int, days: float | None) -> str | None:
    return None if days is None else _date(day + floor(days))


# --------------------------------------------------------------------------------------------------------------- words


def _reason(
    account: _Account,
    line: Trend | None,
    left: tuple[float, float, float],
    value: float,
    covered: float,
    points: int,
    worst: Sequence[NamedHost],
) -> str:
    what = _amount(account, value)
    because = ""
    if worst:
        fail = "fails" if len(worst) == 1 else "fail"
        because = f" (least if {listed([label(host) for host in worst])} {fail})"
    if value < account.level:
        how = "it is lost already"
    elif line is None or not line.is_shrinking:
        how = "no shrinking trend"
    elif left[0] > 2 * covered:
        how = f"it shrinks by {_rate(account, -line.slope)}, and lasts for more than {_days(2 * covered)}"
    else:
        how = f"it shrinks by {_rate(account, -line.slope)}, and lasts for {_days(left[0])}, {_interval(left, covered)}"
    short = (
        f"; preliminary: {counted(points, 'day')} over {_days(covered)}, and {MIN_POINTS} over {MIN_DAYS:g} are needed"
    )
    return f"{what}{because}: {how}{short if line is None or line.is_preliminary else ''}"


def _interval(left: tuple[float, float, float], covered: float) -> str:
    most = _days(left[2]) if left[2] <= 2 * covered else f"more than {_days(2 * covered)}"
    return f"at 90 % {floor(left[1])} to {most}"


def _amount(account: _Account, value: float) -> str:
    if account.shape is None:
        if value < 0:
            return f"every host lacks {format_size(-int(value))}"
        return f"every host could lose {format_size(int(value))}"
    return f"{counted(floor(value), 'VM')} of the shape {'fits' if floor(value) == 1 else 'fit'}"


def _rate(account: _Account, rate: float) -> str:
    return f"{format_size(int(rate))} a day" if account.shape is None else f"{rate:.2g} VMs a day"


def _days(days: float) -> str:
    return counted(floor(days), "day")


def _urgency(pool: PoolRunway) -> tuple[float, float]:
    runway = inf if pool.runway is None else pool.runway
    return runway, inf if pool.at_least is None else pool.at_least


def _outcome(first: PoolRunway, level: float) -> Outcome:
    if first.value < level:
        return "no"
    return "unknown" if first.trend is None else "yes"


def _verdict(pools: Sequence[PoolRunway], first: PoolRunway) -> str:
    name = f"Of {len(pools)} pools {label(first.pool)} first: " if len(pools) > 1 else ""
    text = first.reason
    if first.runway and first.date is not None:
        text = text.replace("and lasts for", f"and lasts until {first.date}, for", 1)
    text = f"{name}{text}"
    return f"{text[0].upper()}{text[1:]}."
