"""What is left when hosts fail: the margin by the number of failures, and whether all run again. Amounts are bytes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from xenmem.answers.failover import Survival
from xenmem.answers.naming import label
from xenmem.plot.canvas import GREEN, ORANGE, VERMILION, Ink, figure, scale, styled
from xenmem.text import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INKS: Final = {
    "survives": ("all run again", Ink(GREEN, "", "black")),
    "loses": ("not all run again", Ink(VERMILION, "xxxx", "black")),
    "unknown": ("not found out", Ink(ORANGE, "...", "black")),
}


@styled
def failures(survivals: Sequence[Survival], margins: Sequence[int | None]) -> "Figure":
    """The margin of a pool after 0, 1, 2 ... failures, and what is proved of each.

    Parameters
    ----------
    survivals : of one pool, for 0, 1, 2 ... failures
    margins : for the same what planning.margin answers, in bytes; None where it does not
    """
    pools = [survival.pools[0] for survival in survivals]
    known = [0 if margin is None else margin for margin in margins]
    unit, factor = scale(known)
    made, axes = figure(7, 3.6, f"{label(pools[0].pool)}: {survivals[0].pools[0].verdict.counted} VMs when hosts fail")
    for answer, (text, ink) in _INKS.items():
        chosen = [number for number, pool in enumerate(pools) if pool.verdict.answer == answer]
        if chosen:
            axes.bar(chosen, [known[number] / factor for number in chosen], width=0.6, label=text, **ink.of_bar())
    axes.axhline(0, color="black", linewidth=0.8)
    for number, (pool, margin) in enumerate(zip(pools, margins, strict=True)):
        value = known[number] / factor
        text = "no margin" if margin is None else f"{value:.1f}"
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
    axes.set_xticks(range(len(pools)))
    axes.set_xlabel("hosts that fail, the worst ones")
    axes.set_ylabel(f"what every host could lose, {unit}")
    axes.margins(y=0.2)
    axes.grid(axis="y")
    axes.legend(loc="best")
    return made
