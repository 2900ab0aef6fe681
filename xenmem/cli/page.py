"""Text and tables for people, with rich: sizes as 16GiB, at most as wide as the terminal, plain text elsewhere.

Nothing is cut off: what does not fit is folded. The only module that imports rich, once a page begins. Knows no
command's result.
"""

import io
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from xenmem.answers.naming import PoolHead
from xenmem.fleet import POLICIES
from xenmem.text import printable
from xenmem.units import format_size

POLICY_LINES: Final = tuple(policy.replace("_", "\n") for policy in POLICIES)
"""The names of the policies, folded for the headings of columns."""

EARLY: Final = "The search ended early: this is the best so far."
_UNBOUNDED: Final = 10_000
_HEIGHT: Final = 25  # of no effect, but without it rich takes 80 columns for any dumb terminal
_ROOMY: Final = 120
_FOLDED: Final = 8


class Page:
    """What is to be printed, for the kind of standard output there is."""

    def __init__(self) -> None:
        from rich.box import ASCII, SIMPLE_HEAD
        from rich.console import Console

        self._is_terminal = sys.stdout is not None and sys.stdout.isatty()
        columns = os.environ.get("COLUMNS", "")
        if columns.isascii() and columns.isdigit() and int(columns) > 0:
            width = int(columns)
        else:
            width = os.get_terminal_size(sys.stdout.fileno()).columns if self._is_terminal else _UNBOUNDED
        self._encoding = (sys.stdout and sys.stdout.encoding) or "utf-8"
        self._box = SIMPLE_HEAD if self._encoding.lower().startswith("utf") else ASCII
        self._text = io.StringIO()
        self._width = width or _UNBOUNDED
        self._gap = int(self._width >= _ROOMY)
        self._console = Console(
            file=self._text,
            width=self._width,
            height=_HEIGHT,
            force_terminal=self._is_terminal,
            color_system="auto" if self._is_terminal else None,
            no_color=None if self._is_terminal else True,
            highlight=False,
            legacy_windows=False,
        )

    def line(self, text: str = "", style: str = "") -> None:
        """One line, however wide."""
        from rich.text import Text

        self._console.print(Text(printable(text), style=style), soft_wrap=True)

    def bullets(self, heading: str, lines: Iterable[str], style: str = "") -> None:
        """A heading and lines below it; nothing where there are no lines."""
        shown = list(lines)
        if shown:
            self.line()
            self.line(heading, style="bold")
            for text in shown:
                self.line(f"  {text}", style=style)

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str]], *, last: Sequence[str] = ()) -> None:
        """A table: its first column, and those whose heading begins with `<`, are text, others amounts.

        Text is folded where room lacks. Amounts never are: a terminal too narrow for them wraps the lines.
        """
        from rich.cells import cell_len
        from rich.table import Table
        from rich.text import Text

        body = [[printable(value) for value in row] for row in [*rows, last] if row]
        table = Table(box=self._box, pad_edge=False, padding=(0, self._gap, 0, 0), show_edge=False)
        needed = 0
        for number, heading in enumerate(headings):
            is_text = number == 0 or heading.startswith("<")
            heading = heading.removeprefix("<")
            widest = max(map(cell_len, [*heading.split("\n"), *(row[number] for row in body)]))
            needed += self._gap + 1 + (min(widest, _FOLDED) if is_text else widest)
            table.add_column(
                Text(heading),
                justify="left" if is_text else "right",
                overflow="fold",
                no_wrap=not is_text,
                vertical="bottom",
            )
        for row in body:
            if last and row is body[-1]:
                table.add_section()
            table.add_row(*map(Text, row))
        self._console.width = max(needed, self._width)
        self._console.print(table)

    def bytes(self) -> bytes:
        """The page in the encoding of standard output."""
        lines = self._text.getvalue().removesuffix("\n").split("\n")
        shown = lines if self._is_terminal else [line.rstrip() for line in lines]
        return "".join(f"{line}\n" for line in shown).encode(self._encoding, errors="backslashreplace")


def amount(size: int | None) -> str:
    """An amount, or that it is unknown."""
    return "unknown" if size is None else format_size(size)


def duration(seconds: float) -> str:
    """A time for people to read: ``12 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def name_of(item: Any) -> str:
    """What a table calls an object of the inventory; nothing for None."""
    return item.name_label or item.uuid or item.ref if item is not None else ""


def by_policy(amounts: Any) -> list[str]:
    """The amounts under each policy."""
    return [format_size(getattr(amounts, policy)) for policy in POLICIES]


def not_checked(result: Any) -> str:
    """The line about what an answer does not know."""
    return f"Not checked: {', '.join(result.not_checked)}."


def target(to: str, build: str, model: str) -> str:
    """What version a question is about: as it was asked for, and as what it was taken."""
    taken = f", taken as xapi {build}" if build else ""
    return f"to {to}{taken}" + ("" if to == model else f", model {model}")


def head(page: Page, pool: PoolHead, *more: str) -> None:
    """Which pool what follows is about."""
    uuid = f" ({pool.uuid})" if pool.uuid and pool.name_label else ""
    page.line(f"Pool {name_of(pool) or '(no pool record)'}{uuid}", style="bold")
    version = f"xapi {pool.xapi_version}" if pool.xapi_version else "xapi version unknown"
    kind = f"{pool.format} {pool.schema}".strip()
    page.line(", ".join((version, f"model {pool.model}", f"{kind} from {pool.source}", *more)))
    page.line()
