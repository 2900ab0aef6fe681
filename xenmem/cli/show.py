"""The end of every command: its answer as a table for people, as JSON, as CSV or as lines of JSON, and its status."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click
import msgspec

from xenmem.answers.naming import Answer
from xenmem.cli import values
from xenmem.cli.page import Page
from xenmem.cli.status import OF_OUTCOME, Status
from xenmem.cli.streams import Output

Shown = TypeVar("Shown", bound=msgspec.Struct)


def show(
    result: Shown,
    form: str,
    table: Callable[[Page, Shown], None],
    row_type: type[msgspec.Struct] = msgspec.Struct,
    pools: Iterable[tuple[Any, Sequence[Any]]] = (),
) -> Output:
    """An answer in the form that was asked for, with the status that its outcome comes to.

    Parameters
    ----------
    form : ``table``, ``json``, ``csv``, ``ndjson``, ``parquet`` or ``arrow``
    table : writes on a page what stands below the verdict
    row_type, pools : of all but table and json: as for ``values.to_csv``
    """
    status = OF_OUTCOME[result.outcome] if isinstance(result, Answer) else Status.YES
    if form == "json":
        return Output(values.to_json(result, click.get_current_context().info_name or ""), status)
    if form == "csv":
        return Output(values.to_csv(row_type, pools), status)
    if form == "ndjson":
        return Output(values.to_ndjson(row_type, pools), status)
    if form in ("parquet", "arrow"):
        return Output(values.to_columns(row_type, pools, form), status, is_text=False)
    page = Page()
    if isinstance(result, Answer):
        page.verdict(result)
    table(page, result)
    return Output(page.bytes(), status)
