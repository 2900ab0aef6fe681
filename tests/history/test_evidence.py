"""Evidence for sizes: the worked example, percentiles by definition, quality, changes of memory, and each class."""

import math
from collections.abc import Sequence
from fractions import Fraction
from random import Random

import numpy as np
import pytest
from twins import statistics

from xenmem.history.evidence import DAY, Evidence, Size, Terms, evidence, last_change, nearest_rank, size_of, used
from xenmem.inventory.use import Rows, Use
from xenmem.units import GIB, MIB

NAN = math.nan


def rows(
    memory: Sequence[float], free: Sequence[float], step: int = 60, *, target: Sequence[float] = (), cpu: float = NAN
) -> Rows:
    """Amounts in GiB."""
    times = np.arange(len(memory), dtype=np.int64) * step + DAY * 365
    amounts = [np.array(values, float) * GIB for values in (memory, target or [NAN] * len(memory), free)]
    return Rows(times, *amounts, np.full(len(memory), cpu))


def of_used(values: Sequence[float], size: float = 16.0, step: int = 60, **more: float) -> Use:
    return Use("vm", {step: rows([size] * len(values), [size - value for value in values], step, **more)})


def judged(use: Use, static_max: float = 16.0, terms: Terms = Terms(), **more: int) -> tuple[Evidence, Size]:  # noqa: B008
    found = evidence(use, terms)
    assert found is not None
    return found, size_of(found, terms, int(static_max * GIB), **more)  # type: ignore[arg-type]


WORKED = [3.0] * 10 + [3.5] * 6 + [4.0] * 3 + [6.0]


def test_the_worked_example() -> None:
    found, size = judged(of_used(WORKED))
    assert (found.p50, found.p95, found.percentile) == (3 * GIB, 4 * GIB, 6 * GIB)
    assert size.need == 6 * GIB  # and a quarter are 7.5 GiB, but half of what there is is more
    assert (size.kind, size.recommended) == ("over", 8 * GIB)
    assert size.dynamic_min == int(4.5 * GIB)


@pytest.mark.parametrize("seed", range(20))
def test_nearest_ranks(seed: int) -> None:
    random = Random(seed)
    values = [float(random.randrange(100)) for _ in range(random.randrange(1, 60))]
    for percent in (Fraction(1, 1000), Fraction(1), Fraction(50), Fraction(95), Fraction("99.9"), Fraction(100)):
        assert nearest_rank(np.array(values), percent) == statistics.nearest_rank(values, percent)


def test_what_is_used_is_known_only_where_both_are() -> None:
    """A source that is absent is not known, and never 0 free; what a guest tells is held to be within its memory."""
    found = used(rows([4, 4, NAN, 4, 4], [1, NAN, 1, 5, 0]))
    assert np.array_equal(found / GIB, [3, NAN, NAN, 0, 4], equal_nan=True)


def test_hourly_means_hide_peaks() -> None:
    """Of means the largest counts and 15 %, whatever the percentile says; and what minutes showed, if that is more."""
    week = [3.0] * 167 + [6.0]
    found, size = judged(of_used(week, step=3600))
    assert (found.step, found.days, found.is_preliminary, found.is_of_minutes) == (3600, 7, False, False)
    assert size.need == math.ceil(6.9 * GIB)
    both = Use("vm", of_used(week, step=3600).rows | of_used([9.0] * 120).rows)
    found, size = judged(both)
    assert (found.step, size.need) == (3600, 9 * GIB)


def test_minutes_are_taken_where_they_suffice() -> None:
    minutes = of_used([3.0] * (7 * 1440))
    found, _ = judged(Use("vm", minutes.rows | of_used([9.0] * 24 * 30, step=3600).rows))
    assert (found.step, found.days, found.is_preliminary) == (60, 7, False)
    few = of_used([3.0] * (7 * 1440 - 1))
    found, _ = judged(Use("vm", few.rows | of_used([9.0] * 24 * 30, step=3600).rows))
    assert found.step == 3600
    found, _ = judged(few)
    assert (found.step, found.is_preliminary) == (60, True)


def test_daily_means_say_nothing() -> None:
    found = evidence(of_used([3.0] * 300, step=DAY), Terms(days=365))
    assert found is not None
    assert found.lacks == "there are daily means alone"


def test_half_of_the_rows_must_be_known() -> None:
    found = evidence(of_used([*[3.0, NAN] * 100, NAN, 3.0]), Terms())
    assert found is not None
    assert (found.rows, found.known, found.lacks) == (202, 101, "")
    less = evidence(of_used([3.0, NAN, NAN, 3.0, NAN, NAN, 3.0]), Terms())
    assert less is not None
    assert less.lacks == "of 7 rows 3 are known"
    assert evidence(of_used([NAN] * 5), Terms()) is None
    assert evidence(Use("vm", {}), Terms()) is None


def test_the_window() -> None:
    """What is older than the window does not count."""
    values = [9.0] * (31 * 24) + [3.0] * (30 * 24)
    found, _ = judged(of_used(values, step=3600))
    assert (found.most, found.days) == (3 * GIB, 30)
    found, _ = judged(of_used(values, step=3600), terms=Terms(days=31))
    assert found.most == 9 * GIB


@pytest.mark.parametrize(
    ("memory", "target", "limits", "since"),
    [
        ([8, 8, 16, 16], [], (None, None), 2),
        ([8, 8, 8.7, 8.7], [], (None, None), 0),
        ([8, 8, 16, 16], [8, 8, 8, 8], (None, None), 2),
        ([8, 8, 4, 4], [8, 4, 4, 4], (None, None), 0),  # ballooned
        ([8, 7.5, 4, 4], [8, 4, 4, 4], (None, None), 0),  # in two steps
        ([8, 8, 16, 16], [8, 8, 16, 16], (16, 16), 2),  # resized: then it had other limits
        ([8, 8, 4, 4], [8, 4, 4, 4], (4, 8), 0),
        ([8, NAN, NAN, 16], [], (None, None), 3),
        ([8, NAN, NAN, 8], [], (None, None), 0),  # rebooted
        ([8, 4, 8, 8], [], (None, None), 2),
        ([NAN, NAN], [], (None, None), 0),
    ],
)
def test_rows_before_a_change_of_memory(
    memory: list[float], target: list[float], limits: tuple[float | None, float | None], since: int
) -> None:
    least, most = (None if limit is None else int(limit * GIB) for limit in limits)
    assert last_change(rows(memory, memory, target=target), least, most) == since


def test_rows_before_a_change_do_not_count() -> None:
    use = Use("vm", {60: rows([8.0] * 50 + [16.0] * 50, [1.0] * 50 + [10.0] * 50)})
    found, _ = judged(use)
    assert (found.known, found.most, found.changed) == (50, 6 * GIB, int(use.rows[60].times[50]))


@pytest.mark.parametrize(
    ("values", "cpu", "kind"),
    [
        ([6.0] * 100, NAN, "over"),  # 8 of 16
        ([9.5] * 100, NAN, "over"),  # 12 of 16
        ([9.7] * 100, NAN, "right"),  # 12.25
        ([9.7] * 100, 0.019, "idle"),
        ([9.7] * 100, 0.02, "right"),
        ([9.7] * 50 + [10.3] * 50, 0.0, "right"),
        ([14.375] * 100, NAN, "right"),
        ([14.5] * 100, NAN, "under"),
        ([13.0] * 94 + [15.5] * 6, NAN, "under"),  # less than 5 % free in more than 5 % of rows
        ([13.0] * 95 + [15.5] * 5, NAN, "right"),
    ],
)
def test_classes(values: list[float], cpu: float, kind: str) -> None:
    assert judged(of_used(values, cpu=cpu))[1].kind == kind


def test_a_ballooned_vm_that_is_full_has_not_too_much() -> None:
    """16 GiB of static_max, of which it has 4 and uses them: what it would use is not known."""
    found, size = judged(of_used([3.9] * 100, size=4.0))
    assert found.memory == 4 * GIB
    assert size.kind == "under"


def test_bounds_of_advice() -> None:
    assert judged(of_used([0.1] * 100), 1.0)[1].recommended == 512 * MIB
    assert judged(of_used([0.1] * 100), 0.75)[1].recommended == 512 * MIB
    assert judged(of_used([0.1] * 100), least=9 * GIB)[1].recommended == 9 * GIB
    assert judged(of_used([0.1] * 100), 15.9)[1].recommended == 8 * GIB  # half is 7.95 GiB
    seen = [3.0] * 199 + [11.9]
    assert judged(of_used(seen))[1].recommended == 8 * GIB
    assert judged(of_used(seen), counts_caches=1)[1].recommended == 12 * GIB
    assert judged(of_used(WORKED), least=5 * GIB)[1].dynamic_min == 5 * GIB
    assert judged(of_used([0.1] * 9))[1].dynamic_min == 4 * GIB
