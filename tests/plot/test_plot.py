"""Pictures: what they show is what the answers say, the same answer gives the same bytes, and grey is enough."""

import io
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pools
import pytest
from twins import reference

from xenmem import Fleet, answers, plot, read
from xenmem.answers.layers import LAYERS
from xenmem.plot.canvas import LAYER_INKS

ROOT = Path(__file__).resolve().parents[2]
GIB = 1 << 30
STARTS = {"png": b"\x89PNG\r\n", "svg": b"<?xml", "pdf": b"%PDF-"}


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    """The example pool."""
    return read(ROOT / "examples" / "pool.xml.gz")


def many() -> Fleet:
    """A hundred hosts of 64 GiB, the first with a VM of 80 GiB and the second with one of 32 GiB."""
    hosts = {"name": [f"host-{number}" for number in range(100)], "memory_total": [64 * GIB] * 100}
    return Fleet.from_columns({"name": ["a", "b"], "memory": [80 * GIB, 32 * GIB], "host": ["host-0", "host-1"]}, hosts)


@pytest.mark.parametrize("suffix", plot.SUFFIXES)
def test_the_same_answer_gives_the_same_bytes(fleet: Fleet, suffix: str) -> None:
    first, second = (plot.encoded(plot.hosts(answers.report(fleet)), suffix) for _ in range(2))
    assert first == second
    assert first.startswith(STARTS[suffix])
    assert str(ROOT).encode() not in first


def test_bars_are_what_the_report_says(fleet: Fleet) -> None:
    report = answers.report(fleet)
    (axes,) = plot.hosts(report).axes
    hosts = report.pools[0].hosts
    shown = {bars.get_label(): [bar.get_width() for bar in bars] for bars in axes.containers}
    assert axes.get_xlabel() == "GiB"
    assert shown["hypervisor"] == pytest.approx([host.memory_overhead / GIB for host in hosts])
    assert shown["overhead of VMs"] == pytest.approx([host.vms.memory_overhead / GIB for host in hosts])
    assert shown["free"] == pytest.approx([host.free.static_max / GIB for host in hosts])
    assert shown["beyond what there is"] == pytest.approx([host.overcommitted.static_max / GIB for host in hosts])
    wide = [sum(shown[layer.label][place] for layer in LAYERS) for place in range(len(hosts))]
    there = [(host.memory_total or 0) + host.overcommitted.static_max for host in hosts]
    assert wide == pytest.approx([amount / GIB for amount in there])


def test_many_hosts_are_one_area_the_fullest_first() -> None:
    (axes,) = plot.hosts(answers.report(many())).axes
    assert axes.get_xlabel() == "100 hosts, the fullest first"
    guests = next(area for area in axes.collections if area.get_label() == "VMs at dynamic_min")
    tops = guests.get_paths()[0].vertices[:, 1]
    assert tops.max() == pytest.approx(100, abs=1)


def test_the_heat_map_shows_shares_and_marks_what_is_beyond() -> None:
    axes = plot.heat(answers.report(many())).axes[0]
    shares = axes.collections[0].get_array().ravel()
    assert shares[0] == 100
    assert shares[1] == pytest.approx(50.4, abs=0.3)  # 32 GiB and the overhead of it
    assert shares[2] == 0
    assert [text.get_text() for text in axes.texts[:3]] == ["100\u00d7", "50", "0"]


def test_a_plan_shows_both_sides() -> None:
    plan = answers.evacuate(read(ROOT / "examples" / "four-hosts.json"), 3)
    (axes,) = plot.moves(plan).axes
    shown = {bars.get_label(): [bar.get_width() for bar in bars] for bars in axes.containers}
    hosts = plan.pools[0].hosts
    assert shown["before"] == pytest.approx([host.before.memory / GIB for host in hosts])
    assert shown["after"] == pytest.approx([host.after.memory / GIB for host in hosts])
    assert [text.get_text() for text in axes.texts][-1] == f"{hosts[3].before.vms} \u2192 0 VMs"


@pytest.mark.slow
@pytest.mark.compiled
def test_a_rolling_update_is_as_long_as_its_steps() -> None:
    plan = answers.rolling_update(read(ROOT / "examples" / "four-hosts.json"), time_limit=20)
    (axes,) = plot.timeline(plan).axes
    restarts = next(bars for bars in axes.collections if bars.get_label() == "the host restarts")
    assert restarts.get_paths()[0].get_extents().width == pytest.approx(10)
    ends = [path.get_extents().x1 for bars in axes.collections for path in bars.get_paths()]
    assert max(ends) == pytest.approx((plan.seconds + 600 * len(plan.hosts)) / 60, rel=0.02)


@pytest.mark.compiled
def test_margins_stand_beside_what_is_proved() -> None:
    fleet = read(ROOT / "examples" / "three-hosts.json")
    survivals = [answers.failover(fleet, number) for number in (1, 2, 3)]
    (axes,) = plot.failures(survivals, [GIB, -2 * GIB, None]).axes
    marks = {"survives": "\u2713", "loses": "\u2717", "unknown": "?"}
    answered = [survival.pools[0].verdict.answer for survival in survivals]
    assert answered[:2] == ["survives", "loses"]
    texts = [text.get_text().splitlines()[0] for text in axes.texts]
    assert texts == ["\u2713 1.0", "\u2717 -2.0", f"{marks[answered[2]]} not known"]
    heights = {bar.get_x() + 0.3: bar.get_height() for bars in axes.containers for bar in bars}
    assert heights == pytest.approx({1: 1, 2: -2, 3: 0})


@pytest.mark.compiled
def test_a_runway_ends_where_it_is_said_to() -> None:
    """A VM that gets a GiB and sometimes two a day, in a pool of three hosts."""

    def days() -> Iterator[tuple[datetime, Fleet]]:
        for number in range(20):
            vms: list[tuple[int, int | None]] = [((20 + number + number % 3 // 2) * 1024, 0), (8192, 1), (8192, 2)]
            yield datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=number), pools.pool([64 * 1024] * 3, vms)

    found = answers.runway(days())
    (axes,) = plot.runway(found).axes
    (pool,) = found.pools
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert list(lines["a day"].get_ydata()) == [point.value / GIB for point in pool.points]
    assert list(lines[f"until {pool.date}"].get_ydata())[-1] == 0
    assert lines[f"until {pool.date}"].get_xdata()[-1].isoformat() == pool.date
    assert axes.get_ylabel() == "what every host could lose, GiB"


def test_overheads_are_the_models(fleet: Fleet) -> None:
    left, right = plot.overheads(fleet).axes
    newest = right.get_lines()[0]
    assert newest.get_label() == "26.3"
    by_vcpus = dict(zip(newest.get_xdata(), newest.get_ydata(), strict=True))
    expected = [reference.overhead("hvm", 16 * GIB, vcpus, 1.0, "26.3") >> 20 for vcpus in (1, 4, 64)]
    assert [by_vcpus[vcpus] for vcpus in (1, 4, 64)] == expected
    assert len(left.get_lines()[-1].get_xdata()) == 84


def test_grey_is_enough() -> None:
    """Neighbours in a bar differ in lightness, or one of them is hatched."""

    def lightness(colour: str) -> float:
        red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    inks = [LAYER_INKS[layer.key] for layer in LAYERS]
    for one, other in pairwise(inks):
        assert one.hatch != other.hatch or abs(lightness(one.fill) - lightness(other.fill)) > 0.08


def test_names_are_text_in_a_picture() -> None:
    name = "$x$ <b>&amp; \\frac"
    hosts = {"name": [name], "memory_total": [64 * GIB]}
    drawn = plot.encoded(
        plot.hosts(answers.report(Fleet.from_columns({"name": [name], "memory": [GIB]}, hosts))), "svg"
    )
    texts = [element.text for element in ElementTree.parse(io.BytesIO(drawn)).iter("{http://www.w3.org/2000/svg}text")]
    assert name in texts
    assert not re.search(rb"<script|href=\"http", drawn)


def test_a_picture_needs_no_state_of_matplotlib(fleet: Fleet) -> None:
    import matplotlib as mpl

    before = plot.encoded(plot.hosts(answers.report(fleet)), "svg")
    with mpl.rc_context({"font.size": 30, "axes.grid": True, "legend.frameon": True}):
        assert plot.encoded(plot.hosts(answers.report(fleet)), "svg") == before
    assert "matplotlib.pyplot" not in sys.modules


def test_another_suffix_is_refused(fleet: Fleet) -> None:
    with pytest.raises(ValueError, match="suffix: 'gif' is none of png, svg, pdf"):
        plot.encoded(plot.hosts(answers.report(fleet)), "gif")
