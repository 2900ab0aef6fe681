"""How long there is room: the worked example, pools that grow day by day, what breaks a series, and honest words."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pools
import pytest

import xenmem
from xenmem import planning
from xenmem.answers import QuestionError, runway
from xenmem.answers.capacity import Wanted
from xenmem.answers.runway import PER_DAY, PoolRunway, Runway, _Account, chosen
from xenmem.units import GIB

FIRST = datetime(2026, 3, 1, 4, tzinfo=UTC)


def day(number: float) -> datetime:
    return FIRST + timedelta(days=number)


def growing(loads: Sequence[int], hosts: int = 3, name: str = "p") -> Iterator[tuple[datetime, xenmem.Fleet]]:
    """A pool of hosts of 64 GiB whose first VM has so many GiB, day by day."""
    for number, load in enumerate(loads):
        vms: list[tuple[int, int | None]] = [(load * 1024, 0), (8 * 1024, 1), (8 * 1024, 2)]
        yield day(number), pools.pool([64 * 1024] * hosts, vms, name=name)


def only(result: Runway) -> PoolRunway:
    (pool,) = result.pools
    return pool


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Values that snapshots have, instead of those of their pools."""
    values: list[float] = []
    given = iter(values)
    monkeypatch.setattr(_Account, "value", lambda *_: next(given))
    return values


def test_the_worked_example(told: list[float]) -> None:
    """111 days would be more than twice what 42 days cover, so they are not said; seven points are preliminary."""
    told += [one * GIB for one in (96, 92, 95, 84, 20, 74, 70)]
    fleet = pools.pool([64 * 1024] * 2, [(8 * 1024, 0)])
    result = runway([(day(7 * number), fleet) for number in range(7)])
    pool = only(result)
    assert pool.trend is not None
    assert pool.fitted is not None
    assert round(pool.trend.a_day / GIB, 6) == -0.628571
    assert round(pool.fitted / GIB, 6) == 70.0
    assert (pool.trend.s, round(pool.trend.z, 2), pool.trend.is_shrinking) == (-15, -2.10, True)
    assert (pool.runway, pool.date, pool.at_least, pool.preliminary) == (None, None, 84, True)
    assert result.verdict == (
        "Every host could lose 70GiB (least if p-h0 fails): it shrinks by 643.66MiB a day, and lasts for more than"
        " 84 days; preliminary: 7 days over 42 days, and 14 over 14 are needed."
    )
    assert [point.value / GIB for point in pool.points] == [96, 92, 95, 84, 20, 74, 70]
    assert [round((point.fitted or 0) / GIB, 3) for point in pool.points][::6] == [96.4, 70.0]
    for point in pool.points:
        assert point.low is not None
        assert point.high is not None
        assert point.fitted is not None
        assert point.low <= point.high


def test_a_pool_that_grows() -> None:
    """Its first VM gets a GiB a day: the day on which N+1 is lost is that on which it really is."""
    loads = [30 + number for number in range(20)]
    result = runway(growing(loads))
    pool = only(result)
    assert pool.trend is not None
    margins = []
    for _, fleet in growing(loads):
        found = planning.RestartPool.from_fleet(fleet, protected=fleet.vms.resident_on >= 0)
        margins.append(planning.margin(found, 1))
    assert [point.value for point in pool.points] == margins
    assert pool.trend.a_day == -GIB
    assert not pool.preliminary
    assert pool.runway is not None
    lost = next(
        number
        for number, (_, fleet) in enumerate(growing(range(30, 70)))
        if not planning.failover(
            planning.RestartPool.from_fleet(fleet, protected=fleet.vms.resident_on >= 0), 1
        ).survives
    )
    assert 19 + pool.runway <= lost <= 19 + pool.runway + 1
    assert (pool.runway_low, pool.runway_high) == (pool.runway, pool.runway)
    assert pool.date == (day(19) + timedelta(days=int(pool.runway))).date().isoformat()
    assert [host.name_label for host in pool.worst] == ["p-h0"]
    assert (result.outcome, result.unit) == ("yes", "bytes")
    assert result.verdict.startswith("Every host could lose 7GiB (least if p-h0 fails): it shrinks by 1GiB a day,")
    assert f"and lasts until {pool.date}, for 7 days, at 90 % 7 to 7 days" in result.verdict


def test_a_shape_that_no_longer_fits() -> None:
    result = runway(growing([2 * number for number in range(1, 16)]), Wanted(4 * GIB, 1))
    pool = only(result)
    assert result.unit == "VMs"
    fits = [
        planning.capacity(
            planning.RestartPool.from_fleet(fleet, protected=fleet.vms.resident_on >= 0),
            [int(xenmem.Fleet.from_columns({"memory": [4 * GIB]}, {"memory_total": [GIB]}).start_memory()[0])],
            num_failures=1,
        ).count
        for _, fleet in growing([2 * number for number in range(1, 16)])
    ]
    assert [point.value for point in pool.points] == fits
    assert pool.trend is not None
    assert pool.trend.is_shrinking
    assert pool.fitted is not None
    assert (pool.fitted - 1) / -pool.trend.a_day > 28
    assert (pool.runway, pool.at_least) == (None, 28)
    assert "VMs of the shape fit" in result.verdict


def test_less_than_one_vm_is_none(told: list[float]) -> None:
    """From 21 to 2 in 19 days: on the day after the next there is none."""
    told += [float(21 - number) for number in range(20)]
    fleet = pools.pool([64 * 1024] * 2, [(8 * 1024, 0)])
    pool = only(runway([(day(number), fleet) for number in range(20)], Wanted(4 * GIB, 1)))
    assert (pool.value, pool.runway) == (2, 1)


def test_without_failures_room_is_what_fits() -> None:
    pool = only(runway(growing([10, 11]), Wanted(4 * GIB, 1), 0))
    assert pool.worst == []
    assert pool.value is not None
    assert pool.value > 30


def test_no_trend_is_said() -> None:
    result = runway(growing([30] * 20))
    assert only(result).runway is None
    assert only(result).at_least is None
    assert result.verdict.endswith(": no shrinking trend.")


def test_it_may_be_lost_already() -> None:
    result = runway(growing([60] * 20))
    assert only(result).runway == 0
    assert result.outcome == "no"
    assert result.verdict.startswith("Every host lacks 4GiB (least if p-h0 fails): it is lost already.")


def test_a_single_snapshot_is_no_series() -> None:
    result = runway(growing([30]))
    pool = only(result)
    assert (pool.trend, pool.runway, pool.preliminary, result.outcome) == (None, None, True, "unknown")
    assert result.verdict.endswith("no shrinking trend; preliminary: 1 day over 0 days, and 14 over 14 are needed.")


def test_a_host_that_is_added_begins_anew() -> None:
    snapshots = [*growing([30 + number for number in range(20)])]
    snapshots += [(when + timedelta(days=20), fleet) for when, fleet in growing([30] * 3, hosts=4)]
    pool = only(runway(snapshots))
    assert pool.broken == "2026-03-21: 1 host added"
    assert (pool.first, pool.days, pool.preliminary) == ("2026-03-21", 2, True)
    assert [point.counts for point in pool.points] == [False] * 20 + [True] * 3
    assert pool.points[0].fitted is None


def test_another_model_begins_anew() -> None:
    snapshots = [*growing([30] * 5)]
    older = pools.pool([64 * 1024] * 3, [(30 * 1024, 0)], builds=["25.6.0"] * 3)
    pool = only(runway([(day(-2), older), (day(-1), older), *snapshots]))
    assert pool.broken == "2026-03-01: model 26.3 instead of pre-26.3"


def test_a_jump_begins_anew_and_a_day_off_does_not(told: list[float]) -> None:
    fleet = pools.pool([64 * 1024] * 2, [(8 * 1024, 0)])
    values = [100.0, 99, 98, 20, 97, 96, 60, 59, 58]
    told += [value * GIB for value in values]
    pool = only(runway([(day(number), fleet) for number in range(len(values))]))
    assert pool.broken == "2026-03-07: a change by more than 20 % in a day"


def test_several_snapshots_of_a_day_are_one_value(told: list[float]) -> None:
    told += [5, 1, 100, 7]
    fleet = pools.pool([64 * 1024] * 2, [(8 * 1024, 0)])
    pool = only(runway([(day(0.1 * number), fleet) for number in range(3)] + [(day(1), fleet)]))
    assert [point.value for point in pool.points] == [5, 7]


def test_only_the_last_days_count(told: list[float]) -> None:
    told += [float(1000 - number) * GIB for number in range(410)]
    fleet = pools.pool([64 * 1024] * 2, [(8 * 1024, 0)])
    pool = only(runway([(day(number), fleet) for number in range(410)]))
    assert (len(pool.points), pool.days) == (400, 399)
    assert pool.runway == pytest.approx(591)


def test_which_snapshots_are_looked_at() -> None:
    many = [day(0) + timedelta(minutes=minute) for minute in range(0, 20 * 60, 5)]
    found = chosen([*many[::-1], day(3)])
    assert len(found) == PER_DAY + 1
    assert (found[0], found[PER_DAY - 1], found[-1]) == (many[0], many[-1], day(3))
    long = [day(number) for number in range(500)]
    assert chosen(long) == long[100:]


def test_several_pools() -> None:
    """The one that is lost first is told of."""
    one = list(growing([30] * 20, name="calm"))
    other = list(growing([30 + number for number in range(20)], name="busy"))
    both = [(when, xenmem.Fleet.concatenate([a, b])) for (when, a), (_, b) in zip(one, other, strict=True)]
    result = runway(both)
    assert [pool.pool.name_label for pool in result.pools] == ["calm", "busy"]
    assert result.verdict.startswith("Of 2 pools busy first: every host could lose 7GiB")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"num_failures": -1}, "-1 hosts cannot fail"),
        ({"num_failures": 0}, "without failures the question is of a shape of VMs: give memory and vCPUs"),
        ({"shape": Wanted(0, 1)}, "memory: 0 makes no VM"),
        ({"restart": "all"}, "'all' is none of protected, running"),
        ({"num_failures": 4}, "of no snapshot it can be told"),
    ],
)
def test_questions_that_make_no_sense(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(QuestionError, match=problem):
        runway(growing([30] * 2), **arguments)


def test_no_snapshot() -> None:
    with pytest.raises(QuestionError, match="there is no snapshot"):
        runway([])
    with pytest.raises(QuestionError, match="no host takes VMs, or there is no VM to run again"):
        runway([(FIRST, pools.pool([64 * 1024], [], disabled=[0]))])
