"""Plans: hosts before and after the moves, and a rolling update as a timeline. Amounts are bytes, times seconds."""

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xenmem.answers.move_plan import HostChange, MovePlan
from xenmem.answers.naming import QuestionError, label
from xenmem.answers.rolling_update import RollingPlan
from xenmem.plot.canvas import BLUE, MOST_NAMES, ORANGE, PALE, SKY, VERMILION, figure, plain, scale, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESTART_SECONDS: Final = 600.0
"""That a restart is drawn to take: how long it takes is not in any record."""


@styled
def moves(plan: MovePlan) -> "Figure":
    """What VMs use of each host before a plan and after it; of many hosts, those that it changes most."""
    hosts = [host for pool in plan.pools for host in pool.hosts]
    left_out = max(0, len(hosts) - MOST_NAMES)
    if left_out:
        hosts = sorted(hosts, key=_change)[left_out:]
    amounts = {"before": [host.before.memory for host in hosts], "after": [host.after.memory for host in hosts]}
    unit, factor = scale([*amounts["before"], *amounts["after"]])
    made, axes = figure(9, 1.7 + 0.42 * len(hosts), plan.verdict)
    places = np.arange(len(hosts))
    inks: tuple[tuple[str, float, dict[str, Any]], ...] = (
        ("before", -0.2, {"color": PALE, "edgecolor": BLUE, "hatch": "////"}),
        ("after", 0.2, {"color": SKY, "edgecolor": BLUE}),
    )
    for name, offset, ink in inks:
        values = np.array(amounts[name]) / factor
        axes.barh(places + offset, values, height=0.36, label=name, linewidth=0.6, **ink)
    rooms = [host.before.memory + host.before.free if host.before.free is not None else None for host in hosts]
    known = [(place, room / factor) for place, room in zip(places, rooms, strict=True) if room is not None]
    if known:
        where, ends = zip(*known, strict=True)
        axes.vlines(ends, np.array(where) - 0.45, np.array(where) + 0.45, color="black", label="room for VMs")
    for place, host in zip(places, hosts, strict=True):
        text = f"{host.before.vms} \u2192 {host.after.vms} VMs"
        end = max(host.before.memory, host.after.memory, rooms[place] or 0) / factor
        axes.annotate(text, (end, place), (6, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(places, [plain(label(host)) for host in hosts])
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlim(left=0)
    axes.set_xlabel(
        f"{unit}, {plan.policy}" + (f"; {left_out} hosts that change less are left out" if left_out else "")
    )
    axes.grid(axis="x")
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.1 - 0.35 / max(len(hosts), 1)), ncols=3)
    return made


def _change(host: HostChange) -> int:
    return abs(host.after.memory - host.before.memory)


@styled
def timeline(plan: RollingPlan) -> "Figure":
    """Which host restarts when, and the migrations to and from each; restarts are drawn as ten minutes.

    Raises
    ------
    QuestionError : there is no plan
    """
    if not plan.steps:
        raise QuestionError(f"there is no plan to draw: {plan.verdict}")
    names = [label(host) for host in plan.hosts]
    rows = {host.ref: row for row, host in enumerate(plan.hosts)}
    for step in plan.steps:
        for host in filter(None, (step.source, step.host)):
            if host.ref not in rows:
                rows[host.ref] = len(names)
                names.append(label(host))
    made, axes = figure(9, 2.0 + 0.3 * len(names), plan.verdict)
    inks = {
        "leaves": {"facecolors": PALE, "edgecolors": BLUE, "hatch": "////", "label": "a VM leaves"},
        "arrives": {"facecolors": SKY, "edgecolors": BLUE, "label": "a VM arrives"},
        "other": {"facecolors": ORANGE, "edgecolors": "black", "label": "a VM stops or starts"},
        "restart": {"facecolors": VERMILION, "edgecolors": "black", "label": "the host restarts"},
    }
    bars: dict[str, dict[int, list[tuple[float, float]]]] = {name: {} for name in inks}
    now = 0.0
    for step in plan.steps:
        long = RESTART_SECONDS if step.action == "restart" else max(step.seconds, 1.0)
        span = (now / 60, long / 60)
        if step.action == "migrate":
            bars["arrives"].setdefault(rows[step.host.ref], []).append(span)
            if step.source is not None:
                bars["leaves"].setdefault(rows[step.source.ref], []).append(span)
        else:
            name = "restart" if step.action == "restart" else "other"
            bars[name].setdefault(rows[step.host.ref], []).append(span)
        now += long
    for name, of_rows in bars.items():
        ink = dict(inks[name])
        for row, spans in of_rows.items():
            axes.broken_barh(spans, (row - 0.35, 0.7), linewidth=0.4, **ink)  # type: ignore[arg-type]
            ink.pop("label", None)
    axes.set_yticks(range(len(names)), [plain(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"minutes; a restart is drawn as {RESTART_SECONDS / 60:.0f}")
    axes.grid(axis="x")
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.16 - 0.4 / max(len(names), 1)), ncols=4)
    return made
