"""Text and tables for people: the verdict first, at most as wide as the terminal, 80 columns elsewhere.

Prose is folded at blanks on a terminal and stays whole elsewhere. Knows no command's result.
"""

import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

import click

from xenmem.answers.naming import Answer, PoolHead
from xenmem.cli.display import display
from xenmem.cli.layout import Cell, Column, laid_out, wrapped
from xenmem.fleet import POLICIES
from xenmem.text import counted, printable
from xenmem.units import format_size

POLICY_LINES: Final = tuple(policy.replace("_", "\n") for policy in POLICIES)
"""The names of the policies, folded for the headings of columns."""

EARLY: Final = "The search ended early: this is the best so far."

_WIDTH: Final = 80
_FEW_POOLS: Final = 3
MOST_ROWS: Final = 40
"""A table with more shows the first and the last of them, unless it is to show all."""
_FIRST: Final = 20
_LAST: Final = 10
_BAR: Final = 10
_STYLES: Final[dict[str, dict[str, Any]]] = {
    "": {},
    "bold": {"bold": True},
    "yellow": {"fg": "yellow"},
    "red": {"fg": "red"},
    "yes": {"bold": True},
    "no": {"fg": "red", "bold": True},
    "unknown": {"fg": "yellow", "bold": True},
}
"""Colour says something: yellow is worth a look, red is what is wrong."""


class Page:
    """What is to be printed, for the kind of standard output there is.

    Attributes
    ----------
    draws_bars : whether a share may be shown as a bar: to people at a terminal that has the characters
    """

    def __init__(self) -> None:
        asked = display()
        to_file = asked.output not in (None, "-")
        is_terminal = not to_file and sys.stdout is not None and sys.stdout.isatty()
        columns = os.environ.get("COLUMNS", "")
        told = int(columns) if columns.isascii() and columns.isdigit() else 0
        seen = os.get_terminal_size(sys.stdout.fileno()).columns if is_terminal else 0
        width = told or seen or _WIDTH
        self._width = None if asked.wide else width
        self._prose = width if is_terminal or told else None
        self._all = asked.all
        self._encoding = "utf-8" if to_file else (sys.stdout and sys.stdout.encoding) or "utf-8"
        self._is_unicode = self._encoding.lower().startswith("utf")
        dumb = os.environ.get("TERM") == "dumb"
        self.draws_bars = is_terminal and self._is_unicode and not dumb
        self._styled = asked.color == "always" or (asked.color == "auto" and is_terminal and not dumb)
        self._colored = asked.color == "always" or not os.environ.get("NO_COLOR")
        self._lines: list[str] = []
        self._left_out: list[str] = []

    def _add(self, text: str, style: str = "") -> None:
        options = {name: value for name, value in _STYLES[style].items() if name != "fg" or self._colored}
        self._lines.append(click.style(text, **options) if self._styled and options and text else text)

    def line(self, text: str = "", style: str = "", indent: str = "") -> None:
        """A line of prose; on a terminal folded, with this indent from the second line on."""
        for part in wrapped(printable(text), self._prose, indent):
            self._add(part, style)

    def verdict(self, answer: Answer) -> None:
        """The sentence that answers the question, and an empty line."""
        self.line(answer.verdict, answer.outcome)
        self.line()

    def bullets(self, heading: str, lines: Iterable[str], style: str = "") -> None:
        """A heading and lines below it; nothing where there are no lines, and not all where there are many."""
        found = list(lines)
        shown = found if self._all or len(found) <= MOST_ROWS else found[:_FIRST]
        if shown:
            self.line()
            self.line(heading, "bold")
            for text in shown:
                self.line(f"  {text}", style, "    ")
            if len(shown) < len(found):
                self.line(f"  and {len(found) - len(shown)} more (--all)")

    def command(self, text: str) -> None:
        """A command to paste, in one piece."""
        self._add(f"    {printable(text)}")

    def next(self, commands: Iterable[tuple[str, str]]) -> None:
        """What to do next.

        Parameters
        ----------
        commands : for each, what it is for, and the command to paste, which stays in one piece
        """
        shown = list(commands)
        if shown:
            self.line()
            self.line("Next", "bold")
        for purpose, command in shown:
            self.line(f"  {purpose}:", indent="    ")
            self.command(command)

    def table(
        self,
        headings: Sequence[str | Column],
        rows: Iterable[Sequence[Cell]],
        *,
        last: Sequence[Cell] = (),
        noun: str = "row",
        styles: Sequence[str] = (),
        every: bool = False,
    ) -> None:
        """A table: the most important columns that fit, and of many rows the first and the last.

        Parameters
        ----------
        headings : a text stands for a name in the first column, and else for a text with a `<` before it, or a number
        rows : in an order in which the middle matters least
        last : the row of sums
        noun : what a row is
        styles : of each row
        every : of many rows, too
        """
        columns = [
            heading if isinstance(heading, Column) else Column(heading.removeprefix("<"), _kind(number, heading))
            for number, heading in enumerate(headings)
        ]
        body = list(rows)
        marks = [*styles, *[""] * (len(body) - len(styles))]
        omitted = 0 if every or self._all or len(body) <= MOST_ROWS else len(body) - _FIRST - _LAST
        if omitted:
            body = [*body[:_FIRST], *body[_FIRST + omitted :]]
            marks = [*marks[:_FIRST], *marks[_FIRST + omitted :]]
        table = laid_out(
            columns, [*body, *([last] if last else [])], self._width, "\u2026" if self._is_unicode else "~"
        )
        rule = ("\u2500" if self._is_unicode else "-") * table.width
        for text in table.heading:
            self._add(text, "bold")
        self._add(rule)
        for number, lines in enumerate(table.rows):
            if number == len(body):
                self._add("")
            if omitted and number == _FIRST:
                self._add(f"... {omitted} more ...")
            for text in lines:
                self._add(text, marks[number] if number < len(body) else "")
        if omitted:
            self.line(f"{counted(omitted, noun)} in the middle left out: --all shows all.")
        if table.left_out:
            self.line(f"Left out for width: {', '.join(table.left_out)}; --wide shows all.")

    def bytes(self) -> bytes:
        """The page in the encoding of standard output."""
        lines = [line.rstrip() for line in self._lines]
        while lines and not lines[-1]:
            lines.pop()
        text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines).lstrip("\n"))
        return f"{text}\n".encode(self._encoding, errors="backslashreplace")


def are_many(pools: Sequence[Any]) -> bool:
    """Whether a line for each pool is to stand for its tables."""
    return len(pools) > _FEW_POOLS and not display().all


def _kind(number: int, heading: str) -> Any:
    return "text" if heading.startswith("<") else "number" if number else "name"


def amount(size: int | None) -> str:
    """An amount, or that it is unknown."""
    return "unknown" if size is None else format_size(size)


def bar(part: int, whole: int | None) -> str:
    """A share as a bar, full where it is more than there is; nothing where that is unknown."""
    if not whole:
        return ""
    filled = min(_BAR, (2 * _BAR * part + whole) // (2 * whole))
    return "\u2588" * filled + "\u2591" * (_BAR - filled)


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


def host_name(host: Any) -> str:
    """A host in a row, with its state where that keeps it from taking VMs."""
    return name_of(host) + ("" if host.enabled else " (disabled)") + ("" if host.live else " (not live)")


def whether(host: Any, obstacles: Sequence[str]) -> str:
    """Whether a VM can go to a host: yes, no and why, or what is not known of it."""
    if host.fits is None:
        return f"not known: {host.not_known}"
    return "yes" if host.fits else f"no: {'; '.join(host.reasons or obstacles)}"


def by_policy(amounts: Any) -> list[int]:
    """The amounts under each policy, for columns of sizes."""
    return [getattr(amounts, policy) for policy in POLICIES]


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
    name = name_of(pool) or "(no pool record)"
    page.line(f"{name if name.lower().startswith('pool') else f'Pool {name}'}{uuid}", style="bold")
    version = f"xapi {pool.xapi_version}" if pool.xapi_version else "xapi version unknown"
    kind = f"{pool.format} {pool.schema}".strip()
    page.line(", ".join((version, f"model {pool.model}", f"{kind} from {pool.source}", *more)))
    page.line()
