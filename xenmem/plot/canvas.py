"""Figures, their colours, and the bytes that they become. Knows no answer.

Colours are those of Okabe and Ito, which the colour-blind tell apart; what is alike in grey has a hatch.
"""

import io
from collections.abc import Callable, Sequence
from functools import wraps
from textwrap import fill
from typing import TYPE_CHECKING, Any, Final, NamedTuple, ParamSpec

from xenmem.units import GIB, MIB, TIB

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Asked = ParamSpec("Asked")

SUFFIXES: Final = ("png", "svg", "pdf")
"""What a picture can be."""

SKY: Final = "#56b4e9"
BLUE: Final = "#0072b2"
GREEN: Final = "#009e73"
ORANGE: Final = "#e69f00"
VERMILION: Final = "#d55e00"
GREY: Final = "#333333"
PALE: Final = "#f2f2f2"

_LETTERS_PER_INCH: Final = 13

MOST_NAMES: Final = 40
"""Bars that have a name each."""


class Ink(NamedTuple):
    """How an area is filled: colour, hatch, and the hatch's colour."""

    fill: str
    hatch: str = ""
    line: str = "#ffffff"

    def of_bar(self) -> dict[str, Any]:
        """As matplotlib's bars take it."""
        return {"color": self.fill, "hatch": self.hatch, "edgecolor": self.line, "linewidth": 0.4}


LAYER_INKS: Final = {
    "hypervisor": Ink(GREY),
    "control": Ink(BLUE),
    "guests": Ink(SKY),
    "overhead": Ink(ORANGE, "////", "#6b4a00"),
    "to-dynamic-max": Ink(PALE, "\\\\\\\\\\", "#0f6ea8"),
    "to-static-max": Ink(PALE, "\\\\", "#0f6ea8"),
    "free": Ink(PALE, "", "#9a9a9a"),
}
BEYOND: Final = Ink("none", "xxxx", VERMILION)

_STYLE: Final[Any] = {
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.axisbelow": True,
    "grid.color": "#d9d9d9",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.8,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "xenmem",
    "pdf.fonttype": 42,
}


def figure(width: float, height: float, title: str) -> "tuple[Figure, Axes]":
    """An empty figure, in inches, with one pair of axes, below a sentence that says what is to be seen."""
    made, (axes,) = figure_of(1, width, height, title)
    return made, axes


def figure_of(count: int, width: float, height: float, title: str, below: int = 1) -> "tuple[Figure, list[Axes]]":
    """The same with so many axes side by side, and so many below each other."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    lines = fill(title, round(width * _LETTERS_PER_INCH))
    made.suptitle(plain(lines), x=0.01, ha="left", fontsize=10)
    return made, list(made.subplots(below, count, squeeze=False).flat)


def styled(draw: Callable[Asked, "Figure"]) -> Callable[Asked, "Figure"]:
    """A function that draws, in the style of all figures whatever the process has set."""

    @wraps(draw)
    def drawn(*arguments: Asked.args, **more: Asked.kwargs) -> "Figure":
        from matplotlib import style

        with style.context(["default", _STYLE]):
            return draw(*arguments, **more)

    return drawn


def plain(text: str) -> str:
    """Text that is not read as mathematics: names may hold dollars."""
    return text.replace("$", r"\$")


def scale(amounts: Sequence[float]) -> tuple[str, int]:
    """The unit in which these amounts are best shown, and its bytes."""
    most = max(map(abs, amounts), default=0)
    return ("TiB", TIB) if most >= 10 * TIB else ("GiB", GIB) if most >= GIB else ("MiB", MIB)


def encoded(made: "Figure", suffix: str) -> bytes:
    """A figure as a file: the same figure gives the same bytes.

    Parameters
    ----------
    suffix : one of SUFFIXES

    Raises
    ------
    ValueError : it is none of them
    """
    if suffix not in SUFFIXES:
        raise ValueError(f"suffix: {suffix!r} is none of {', '.join(SUFFIXES)}")
    from matplotlib import style

    undated: dict[str, Any] = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    file = io.BytesIO()
    with style.context(["default", _STYLE]):
        made.savefig(file, format=suffix, dpi=144, metadata=undated[suffix])
    return file.getvalue()
