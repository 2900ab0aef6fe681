"""What is left when hosts fail: the margin by the number of failures, and whether all run again. Amounts are bytes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from xenmem.answers.failover import PoolSurvival, Survival
from xenmem.answers.naming import label
from xenmem.plot.canvas import GREEN, ORANGE, VERMILION, Ink, figure, plain, scale, styled
from xenmem.text import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INKS: Final = {
    "survives": ("all run again", Ink(GREEN, "", "black")),
    "loses": ("not all run again", Ink(VERMILION, "xxxx", "black")),
    "unknown": ("not found out", Ink(ORANGE, "...", "black")),
}


def margin(pool: PoolSurvival, num_failures: int) -> int:
    """What the other hosts have free, less what the VMs of the failed ones need, whichever so many fail; bytes.

    Below 0 not all run again. Above, VMs may still be too large for what is free on each host.
    """
    free = [max(0, host.free) for host in pool.hosts]
    losses = sorted((room + host.memory for room, host in zip(free, pool.hosts, strict=True)), reverse=True)
    return sum(free) - sum(losses[:num_failures]) - sum(vm.memory for vm in pool.waiting)


@styled
def failures(survivals: Sequence[Survival]) -> "Figure":
    """The margin of a pool after 0, 1, 2 ... failures, and what is proved of each.

    Parameters
    ----------
    survivals : of one pool, for 0, 1, 2 ... failures
    """
    pools = [survival.pools[0] for survival in survivals]
    margins = [margin(pool, number) for number, pool in enumerate(pools)]
    unit, factor = scale(margins)
    made, axes = figure(7, 3.6, f"{label(pools[0].pool)}: what is left when hosts fail")
    for answer, (text, ink) in _INKS.items():
        chosen = [number for number, pool in enumerate(pools) if pool.verdict.answer == answer]
        if chosen:
            axes.bar(chosen, [margins[number] / factor for number in chosen], width=0.6, label=text, **ink.of_bar())
    axes.axhline(0, color="black", linewidth=0.8)
    for number, pool in enumerate(pools):
        value = margins[number] / factor
        text = f"{value:.1f}"
        if down := len(pool.verdict.stays_down):
            text += f"\n{counted(down, 'VM')} down"
        axes.annotate(
            text,
            (number, value),
            (0, 3 if value >= 0 else -3),
            textcoords="offset points",
            ha="center",
            va="bottom" if value >= 0 else "top",
            fontsize=8,
        )
    axes.set_xticks(np.arange(len(pools)))
    axes.set_xlabel("hosts that fail, the worst ones")
    axes.set_ylabel(f"free beyond what is to restart, {unit}")
    axes.margins(y=0.2)
    axes.grid(axis="y")
    axes.legend(title=plain(f"{pools[0].verdict.counted} VMs"), loc="best")
    return made
