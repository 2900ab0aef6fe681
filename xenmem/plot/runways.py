"""How long it lasts: the days of a record, the line through them, its band, and when it comes to nothing."""

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from xenmem.answers.naming import label
from xenmem.answers.runway import PoolRunway, Runway
from xenmem.plot.canvas import BLUE, ORANGE, SKY, VERMILION, figure_of, scale, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@styled
def runway(found: Runway) -> "Figure":
    """Each pool's days, the line and the band at 90 %, and where the line ends."""
    made, axes = figure_of(1, 9, 1 + 2.8 * len(found.pools), found.verdict, len(found.pools))
    for one, pool in zip(axes, found.pools, strict=True):
        _pool(one, pool, found.unit)
    return made


def _pool(axes: "Axes", pool: PoolRunway, unit: str) -> None:
    from matplotlib import dates

    if unit == "bytes":
        shown, factor = scale([point.value for point in pool.points])
        what = f"what every host could lose, {shown}"
    else:
        factor, what = 1, "VMs that still fit"
    days = [date.fromisoformat(point.date) for point in pool.points]
    plot: Any = axes.plot
    for counts, style, name in ((True, "o", "a day"), (False, "x", "before the last break")):
        chosen = [
            (day, point.value / factor) for day, point in zip(days, pool.points, strict=True) if point.counts is counts
        ]
        if chosen:
            plot(*zip(*chosen, strict=True), style, color=BLUE, markersize=4, label=name)
    fitted = [
        (day, point.fitted / factor, point.low, point.high)
        for day, point in zip(days, pool.points, strict=True)
        if point.fitted is not None
    ]
    if fitted:
        plot([day for day, *_ in fitted], [value for _, value, *_ in fitted], "-", color="black", label="the line")
        band = [
            (day, low / factor, high / factor) for day, _, low, high in fitted if low is not None and high is not None
        ]
        if band:
            draw: Any = axes.fill_between
            draw(*zip(*band, strict=True), color=SKY, alpha=0.4, linewidth=0, hatch="////", label="its band, 90 %")
        if pool.runway is not None:
            last, value = fitted[-1][:2]
            end = days[-1] + timedelta(days=pool.runway)
            plot([last, end], [value, 0], "--", color="black", label=f"until {pool.date}")
        if pool.date_low is not None and pool.date_high is not None:
            first, final = (date.fromisoformat(text) for text in (pool.date_low, pool.date_high))
            axes.axvspan(first, final, color=ORANGE, alpha=0.25, label=f"{pool.date_low} to {pool.date_high}")  # type: ignore[arg-type]
    axes.axhline(0, color=VERMILION, linewidth=1)
    typed: Any = dates
    locator = typed.AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(typed.ConciseDateFormatter(locator))
    axes.set_ylabel(what)
    axes.set_title(label(pool.pool), fontsize=9)
    axes.grid()
    axes.legend(loc="best", fontsize=8)
