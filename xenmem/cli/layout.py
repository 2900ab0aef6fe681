"""Tables that fit a width: one unit and fixed decimals in a column, names shortened in the middle, columns that leave.

Pure functions from cells to lines of text. Widths are those of terminals. Knows neither streams nor what is shown.
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from xenmem.text import printable
from xenmem.units import GIB, KIB, MIB, TIB

Kind = Literal["name", "text", "size", "number"]
Cell = str | int | None

_GAP: Final = 2
_FLOORS: Final = ({"name": 18, "text": 24}, {"name": 9, "text": 12})
"""Least widths of names and texts: while other columns may leave instead, and then."""

_LONG_WORD: Final = 40
"""A text is as wide as its longest word, unless that is longer: such a word is broken."""

_UNITS: Final = ((10 * TIB, "TiB", TIB), (GIB, "GiB", GIB), (MIB, "MiB", MIB), (KIB, "KiB", KIB), (0, "B", 1))
"""From what largest amount on a column has which unit."""


class Column(NamedTuple):
    """A column of a table.

    Attributes
    ----------
    heading : folded where it has newlines
    kind : ``name``, shortened in the middle where room lacks; ``text``, folded at blanks; ``size``, of bytes as ints,
        in one unit, which the heading gets; ``number``, as it is. The latter two stand at the right
    rank : 0 stays; the others leave where room lacks, the highest first
    """

    heading: str
    kind: Kind = "size"
    rank: int = 0


class Laid(NamedTuple):
    """A table as lines: heading, body rows and the last one, each several lines at most; and the columns that left."""

    heading: list[str]
    rows: list[list[str]]
    left_out: list[str]
    width: int


def laid_out(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int | None, ellipsis: str = "\u2026"
) -> Laid:
    """A table at most so wide, if numbers allow; None for any width."""
    headings = [column.heading for column in columns]
    cells: list[list[str]] = [[] for _ in rows]
    for number, column in enumerate(columns):
        found = [row[number] for row in rows]
        if column.kind == "size":
            texts, unit = sizes(found)
            headings[number] += f"\n{unit}" if unit else ""
        else:
            texts = ["" if value is None else printable(str(value)) for value in found]
        for row, text in zip(cells, texts, strict=True):
            row.append(text)
    shown = list(range(len(columns)))
    left: list[int] = []

    def naturals() -> list[int]:
        return [
            max([_heading_width(heading), *(cell_len(row[number]) for row in cells)])
            for number, heading in enumerate(headings)
        ]

    def least(number: int, floors: dict[str, int]) -> int:
        kind = columns[number].kind
        floor = max(floors.get(kind, natural[number]), _heading_width(headings[number]))
        if kind == "text":
            words = (cell_len(word) for row in cells for word in row[number].split(" "))
            floor = max(floor, min(_LONG_WORD, max(words, default=0)))
        return min(natural[number], floor)

    def needed(widths: Sequence[int]) -> int:
        return sum(widths) + _GAP * (len(widths) - 1)

    widths = natural = naturals()
    if width is not None and needed(widths) > width:
        for number in shown:
            if columns[number].kind == "name":
                for row, text in zip(cells, without_common_suffix([row[number] for row in cells]), strict=True):
                    row[number] = text
        natural = naturals()
        while needed([least(number, _FLOORS[0]) for number in shown]) > width:
            rank = max(columns[number].rank for number in shown)
            if rank == 0:
                break
            last = max(number for number in shown if columns[number].rank == rank)
            shown.remove(last)
            left.append(last)
        widths = [natural[number] for number in shown]
        floors = [least(number, _FLOORS[0]) for number in shown]
        if needed(floors) > width:
            floors = [least(number, _FLOORS[1]) for number in shown]
        widths = _shrunk(widths, floors, width - _GAP * (len(shown) - 1))

    def line(number: int, text: str, room: int) -> list[str]:
        kind = columns[number].kind
        if kind == "name":
            return [shortened(text, room, ellipsis)]
        if kind == "text":
            return [part for line in wrapped(text, room) for part in _broken(line, room)]
        return [text]

    def joined(parts: Sequence[list[str]], at_bottom: bool) -> list[str]:
        height = max(map(len, parts), default=0)
        lines = []
        for level in range(height):
            text = ""
            for place, (number, part) in enumerate(zip(shown, parts, strict=True)):
                at = level - (height - len(part)) if at_bottom else level
                piece = part[at] if 0 <= at < len(part) else ""
                blanks = " " * max(0, widths[place] - cell_len(piece))
                is_right = columns[number].kind in ("size", "number")
                text += (blanks + piece if is_right else piece + blanks) + " " * _GAP
            lines.append(text.rstrip())
        return lines

    return Laid(
        heading=joined([headings[number].split("\n") for number in shown], at_bottom=True),
        rows=[
            joined([line(number, row[number], room) for number, room in zip(shown, widths, strict=True)], False)
            for row in cells
        ],
        left_out=[columns[number].heading.replace("-\n", "").replace("\n", " ") for number in sorted(left)],
        width=needed(widths),
    )


def cell_len(text: str) -> int:
    """How many columns of a terminal a text takes; rich knows it, which only unusual characters need to import."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len as width

    return width(text)


def _heading_width(heading: str) -> int:
    return max(map(cell_len, heading.split("\n")))


def _shrunk(widths: list[int], floors: list[int], room: int) -> list[int]:
    """Widths that are in all at most the room, none below its floor: the widest give first."""
    widths = list(widths)
    while sum(widths) > room:
        open_ = [place for place, (width, floor) in enumerate(zip(widths, floors, strict=True)) if width > floor]
        if not open_:
            break
        widths[max(open_, key=lambda place: widths[place])] -= 1
    return widths


def sizes(amounts: Sequence[Cell]) -> tuple[list[str], str]:
    """Amounts in one unit with the decimals that they need, two at most; and the unit, which is the largest one's.

    Texts stay, None is unknown. What is not nothing never looks like nothing.
    """
    known = [abs(int(amount)) for amount in amounts if amount is not None and not isinstance(amount, str)]
    largest = max(known, default=0)
    _, unit, factor = next(entry for entry in _UNITS if largest >= entry[0])
    hundredths = [(200 * amount + factor) // (2 * factor) for amount in known]
    rest = [value for value, amount in zip(hundredths, known, strict=True) if value or not amount]
    decimals = 0 if all(value % 100 == 0 for value in rest) and len(rest) == len(known) else 2

    def text(amount: Cell) -> str:
        if amount is None:
            return "unknown"
        if isinstance(amount, str):
            return amount
        sign = "-" if amount < 0 else ""
        value = (200 * abs(int(amount)) + factor) // (2 * factor)
        if amount and not value:
            return f"{'>-' if amount < 0 else '<'}0.01"
        return sign + (f"{value // 100}.{value % 100:02}" if decimals else str(value // 100))

    return [text(amount) for amount in amounts], unit if known and largest else ""


def without_common_suffix(names: Sequence[str]) -> list[str]:
    """Names without the labels of a domain that all of them end in; one name stays as it is."""
    different = {name for name in names if "." in name}
    if len(different) < 2 or any("." not in name for name in names if name and " " not in name):
        return list(names)
    labels = [name.split(".")[::-1] for name in different]
    shared = 0
    while all(len(parts) > shared + 1 for parts in labels) and len({parts[shared] for parts in labels}) == 1:
        shared += 1
    return [".".join(name.split(".")[:-shared]) if shared and name in different else name for name in names]


def shortened(name: str, width: int, ellipsis: str = "\u2026") -> str:
    """A name with its middle left out where it is too wide."""
    if cell_len(name) <= width:
        return name
    room = max(0, width - cell_len(ellipsis))
    tail = room // 2
    head = room - tail
    start, end = name, name
    while cell_len(start) > head:
        start = start[:-1]
    while cell_len(end) > tail:
        end = end[1:]
    return start + ellipsis + end


def _broken(line: str, width: int) -> list[str]:
    """A line of one word in pieces that are no wider."""
    pieces = []
    while cell_len(line) > width > 0:
        end = width
        while cell_len(line[:end]) > width:
            end -= 1
        end = max(end, 1)
        pieces.append(line[:end])
        line = line[end:]
    return [*pieces, line]


def wrapped(text: str, width: int | None, indent: str = "") -> list[str]:
    """Text in lines at most so wide, broken at blanks; a longer word has a line of its own."""
    if width is None or cell_len(text) <= width:
        return [text]
    lines: list[str] = []
    words = text.split(" ")
    current = words[0]
    for word in words[1:]:
        if cell_len(current) + 1 + cell_len(word) <= width:
            current += f" {word}"
        else:
            lines.append(current)
            current = indent + word
    return [*lines, current]
