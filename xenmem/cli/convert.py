"""The command `convert`."""

import os
from datetime import UTC, datetime
from pathlib import Path

import click

from xenmem import DataSet, answers
from xenmem.answers.convert import DATA_SET, FORMATS, Conversion, format_of
from xenmem.cli.arguments import command, format_option, inventory_argument, lenient_option, read_fleet
from xenmem.cli.page import Page
from xenmem.cli.show import show
from xenmem.cli.streams import Output


def _time(context: click.Context, parameter: click.Parameter, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no time such as 2026-11-28T12:00:00Z") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


@command
@inventory_argument
@click.argument("out", metavar="OUT")
@click.option(
    "--to", type=click.Choice((*FORMATS.values(), DATA_SET)), help="The format, where OUT does not end in it."
)
@click.option(
    "--at",
    metavar="TIME",
    callback=_time,
    help="Of a data set: when the snapshot is of, in UTC; of one that is read, the latest that is not later.",
)
@lenient_option
@format_option("table", "json")
def convert(inventory: str, out: str, to: str | None, at: datetime | None, lenient: bool, form: str) -> Output:
    """Write an inventory in another format: .parquet, .arrow, .arrows (a stream), .json, .xml, a folder of snapshots.

    What the format cannot hold is listed. A folder, named with a slash at its end where it is not there yet, gets a
    snapshot of each pool, by default as of when the file was last changed, or of now. Text of `xe` is read, not
    written: it has no references.
    """
    kind = format_of(out, to)
    if at is not None and os.path.isdir(inventory):  # noqa: PTH112 - `-` is no folder, whatever is called so
        fleet = DataSet(inventory).fleet(at=at)
    elif at is not None and kind != DATA_SET:
        raise click.UsageError("--at is of data sets", click.get_current_context())
    else:
        fleet = read_fleet([inventory], lenient)
    if kind == DATA_SET and at is None:
        is_file = inventory != "-" and Path(inventory).is_file()
        at = datetime.fromtimestamp(Path(inventory).stat().st_mtime, UTC) if is_file else datetime.now(UTC)
    result = answers.convert(fleet, inventory, out, to=kind, at=at, lenient=lenient)
    return show(result, form, _table)


def _table(page: Page, result: Conversion) -> None:
    """What the format does not hold."""
    page.bullets("Not in it", (lost.text for lost in result.lost))
