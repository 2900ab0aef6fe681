"""Where the memory of hosts is: bars in layers, and the fleet as a heat map. Amounts are bytes."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from xenmem.answers.layers import LAYERS, Stack, fullness, stack
from xenmem.answers.naming import label
from xenmem.answers.report import HostReport, Report
from xenmem.plot.canvas import BEYOND, LAYER_INKS, MOST_NAMES, VERMILION, figure, plain, scale, styled
from xenmem.text import counted
from xenmem.units import format_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELLS: Final = 24
"""Hosts in a row of the heat map, unless there are very many."""

_TALL: Final = 100
"""Rows of the heat map that are as high as a number; more are lower, and have none."""

_DARK: Final = 45
"""Shares above are drawn dark."""


@styled
def hosts(report: Report) -> "Figure":
    """A bar for each host, in layers up to what there is; of many hosts, all as one area, the fullest first."""
    found = [host for pool in report.pools for host in pool.hosts]
    stacks = [stack(host) for host in found]
    many = len(found) > MOST_NAMES
    made, axes = figure(9, 4.5 if many else 1.9 + 0.28 * len(found), report.verdict)
    if many:
        _area(axes, sorted(stacks, key=fullness))
    else:
        _bars(axes, found, stacks)
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.24 if many else -0.12 - 0.4 / max(len(found), 1)), ncols=4)
    return made


def _bars(axes: "Axes", found: Sequence[HostReport], stacks: Sequence[Stack]) -> None:
    unit, factor = scale([one.height for one in stacks])
    places = np.arange(len(stacks))
    start = np.zeros(len(stacks))
    for number, layer in enumerate(LAYERS):
        amounts = np.array([one.amounts[number] for one in stacks]) / factor
        axes.barh(places, amounts, left=start, height=0.7, label=layer.label, **LAYER_INKS[layer.key].of_bar())
        start += amounts
    totals = np.array([one.height if one.total is None else one.total for one in stacks]) / factor
    beyond = start - np.minimum(totals, start)
    if beyond.any():
        axes.barh(places, beyond, left=start - beyond, height=0.7, label="beyond what there is", **BEYOND.of_bar())
    for place, host, end, excess in zip(places, found, start, beyond, strict=True):
        text = f"{format_size(host.free.dynamic_min)} free"
        if excess:
            text = f"{format_size(host.overcommitted.static_max)} too little"
        axes.annotate(text, (end, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(places, [plain(label(host)) for host in found])
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.margins(x=0.18)
    axes.set_xlim(left=0)
    axes.grid(axis="x")


def _area(axes: "Axes", stacks: Sequence[Stack]) -> None:
    heights = np.array([max(one.height, 1) for one in stacks], np.float64)
    edges = np.arange(len(stacks) + 1)
    low = np.zeros(len(stacks))
    for number, layer in enumerate(LAYERS):
        high = low + np.array([one.amounts[number] for one in stacks]) / heights
        ink = LAYER_INKS[layer.key]
        axes.fill_between(
            edges,
            100 * np.append(low, low[-1]),
            100 * np.append(high, high[-1]),
            step="post",
            label=layer.label,
            facecolor=ink.fill,
            hatch=ink.hatch,
            edgecolor=ink.line,
            linewidth=0,
        )
        low = high
    totals = np.array([one.height if one.total is None else one.total for one in stacks])
    over = np.count_nonzero(totals < heights)
    if over:
        limit = 100 * np.minimum(1, totals / heights)
        axes.step(
            edges, np.append(limit, limit[-1]), where="post", color=VERMILION, linewidth=1.2, label="what there is"
        )
    axes.set_xlim(0, len(stacks))
    axes.set_ylim(0, 100)
    axes.set_xlabel(f"{counted(len(stacks), 'host')}, the fullest first")
    axes.set_ylabel("% of the host")


@styled
def heat(report: Report) -> "Figure":
    """Every host as a cell, as dark as it is full under static_max; a cross where its VMs may take more than it has."""
    pools = [pool for pool in report.pools if pool.hosts]
    wide = max(_CELLS, math.isqrt(sum(len(pool.hosts) for pool in pools)))
    rows: list[tuple[str, list[HostReport]]] = []
    for pool in pools:
        for first in range(0, len(pool.hosts), wide):
            name = "" if first else label(pool.pool)
            rows.append((name, pool.hosts[first : first + wide]))
    columns = max((len(row) for _, row in rows), default=1)
    shares = np.full((max(len(rows), 1), columns), np.nan)
    crowded: set[tuple[int, int]] = set()
    for number, (_, row) in enumerate(rows):
        for place, host in enumerate(row):
            if host.memory_total:
                shares[number, place] = 100 * (1 - host.free.static_max / host.memory_total)
            if host.overcommitted.static_max:
                crowded.add((number, place))
    made, axes = figure(9, 1.9 + 0.32 * min(len(rows), _TALL), report.verdict)
    drawn = axes.pcolormesh(shares, cmap="viridis_r", vmin=0, vmax=100, edgecolors="white", linewidth=1)
    with_numbers = columns <= _CELLS and len(rows) <= _TALL
    for number, place in zip(*np.nonzero(~np.isnan(shares) & with_numbers), strict=True):
        text = f"{shares[number, place]:.0f}" + ("\u00d7" if (number, place) in crowded else "")
        ink = "white" if shares[number, place] > _DARK else "black"
        axes.annotate(text, (place + 0.5, number + 0.5), ha="center", va="center", color=ink, fontsize=7)
    axes.set_xlim(0, max(columns, _CELLS // 2))
    axes.set_yticks(np.arange(len(rows)) + 0.5, [plain(name) for name, _ in rows])
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.set_frame_on(False)
    axes.invert_yaxis()
    axes.set_xlabel("each cell a host; \u00d7: its VMs may take more than it has; blank: not known")
    made.colorbar(drawn, ax=axes, label="% taken, static_max", pad=0.02)
    return made
