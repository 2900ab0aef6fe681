"""What notebooks show of an object: a sentence and a table of bounded size, as HTML in which every text is escaped.

Knows no object of the package.
"""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import islice
from typing import Any, Final

from xenmem.text import printable
from xenmem.units import format_size

ROWS: Final = 20
"""Rows that are shown; of more it is said how many there are."""


class Size(int):
    """An amount in bytes, shown as one."""


def shown(caption: str, headings: Sequence[str] = (), rows: Iterable[Sequence[Any]] = (), count: int = 0) -> str:
    """A caption, and a table of the first rows.

    Parameters
    ----------
    headings : of the columns; without any there is no table
    rows : of as many values; sizes and numbers stand at the right
    count : rows that there are in all
    """
    paragraph = f"<p><b>{_text(caption)}</b></p>"
    if not headings:
        return paragraph
    head = "".join(f"<th>{_text(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in islice(rows, ROWS))
    more = f"<p>and {count - ROWS} more</p>" if count > ROWS else ""
    return f"{paragraph}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _cell(value: Any) -> str:
    if isinstance(value, Size):
        return f'<td style="text-align: right">{"unknown" if value < 0 else format_size(value)}</td>'
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f'<td style="text-align: left">{_text("" if value is None else str(value))}</td>'
    return f'<td style="text-align: right">{value}</td>'


def _text(text: str) -> str:
    return escape(printable(text))
