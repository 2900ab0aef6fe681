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
    "survives": ("\u2713 all run again", Ink(GREEN, "", "black")),
    "loses": ("\u2717 not all run again", Ink(VERMILION, "xxxx", "black")),
    "unknown": ("? not found out", Ink(ORANGE, "...", "black")),
}


@styled
def failures(survivals: Sequence[Survival], margins: Sequence[int | None]) -> "Figure":
    """The margin of a pool by the number of failures, and what is proved of each.

    Parameters
    ----------
    survivals : of one pool, each for another number of failures
    margins : for the same what planning.margin answers, in bytes; None where it does not
    """
    verdicts = [survival.pools[0].verdict for survival in survivals]
    known = [0 if margin is None else margin for margin in margins]
    unit, factor = scale(known)
    title = f"{label(survivals[0].pools[0].pool)}: {verdicts[0].counted} VMs when hosts fail"
    made, axes = figure(7, 3.6, title)
    for answer, (text, ink) in _INKS.items():
        chosen = [place for place, verdict in enumerate(verdicts) if verdict.answer == answer]
        if chosen:
            places = [verdicts[place].num_failures for place in chosen]
            axes.bar(places, [known[place] / factor for place in chosen], width=0.6, label=text, **ink.of_bar())
    axes.axhline(0, color="black", linewidth=0.8)
    for verdict, margin in zip(verdicts, margins, strict=True):
        value = 0 if margin is None else margin / factor
        text = f"{_INKS[verdict.answer][0][0]} {'not known' if margin is None else f'{value:.1f}'}"
        if down := len(verdict.stays_down):
            text += f"\n{counted(down, 'VM')} down"
        axes.annotate(
            text,
            (verdict.num_failures, value),
            (0, 3 if value >= 0 else -3),
            textcoords="offset points",
            ha="center",
            va="bottom" if value >= 0 else "top",
            fontsize=8,
        )
    axes.set_xticks([verdict.num_failures for verdict in verdicts])
    axes.set_xlabel("hosts that fail, the worst ones")
    axes.set_ylabel(f"what every host could lose, {unit}")
    axes.margins(y=0.2)
    axes.grid(axis="y")
    axes.legend(loc="best")
    return made
