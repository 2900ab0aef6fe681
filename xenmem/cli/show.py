"""The end of every command: its answer as a table for people, as JSON, or as CSV."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from xenmem.cli import values
from xenmem.cli.page import Page

Answer = TypeVar("Answer", bound=msgspec.Struct)


def show(
    result: Answer,
    form: str,
    table: Callable[[Page, Answer], None],
    row_type: type[msgspec.Struct] = msgspec.Struct,
    pools: Iterable[tuple[Any, Sequence[Any]]] = (),
) -> bytes:
    """An answer in the form that was asked for.

    Parameters
    ----------
    form : ``table``, ``json`` or ``csv``
    table : writes the answer on a page
    row_type, pools : of csv: as for ``values.to_csv``
    """
    if form == "json":
        return values.to_json(result)
    if form == "csv":
        return values.to_csv(row_type, pools)
    page = Page()
    table(page, result)
    return page.bytes()
