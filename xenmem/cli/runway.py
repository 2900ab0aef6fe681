"""The command `runway`."""

import click

from xenmem import answers
from xenmem.answers.capacity import Wanted
from xenmem.answers.runway import TIME_LIMIT, Point, PoolRunway, Runway, chosen
from xenmem.cli.arguments import COUNT, command, format_option, policy_option, restart_option, size, time_limit_option
from xenmem.cli.dataset import dates_of, opened, snapshots
from xenmem.cli.layout import Cell, Column
from xenmem.cli.page import Page, head
from xenmem.cli.show import show
from xenmem.cli.streams import Output


@command
@click.argument("folder", metavar="FOLDER")
@click.option("--memory", metavar="SIZE", callback=size, help="Until a VM of this size no longer fits; with --vcpus.")
@click.option("--vcpus", metavar="N", type=COUNT, help="VCPUs_max of that VM.")
@click.option(
    "--failures", metavar="N", type=click.IntRange(min=0), default=1, show_default=True, help="Hosts that may fail."
)
@click.option("--pool", "pools", metavar="UUID", multiple=True, help="Of this pool only; the beginning does.")
@restart_option
@policy_option("static_max")
@time_limit_option
@format_option("table", "json", "csv")
def runway(
    folder: str,
    memory: int | None,
    vcpus: int | None,
    failures: int,
    pools: tuple[str, ...],
    restart: str | None,
    policy: str,
    time_limit: float | None,
    form: str,
) -> Output:
    """How many days until host failures are no longer survived, or until a VM of a size no longer fits.

    FOLDER holds snapshots of pools. The trend is robust, and what a record is too short for is not said.
    """
    if (memory is None) != (vcpus is None):
        missing = "--memory" if memory is None else "--vcpus"
        raise click.UsageError(f"Missing option '{missing}'", click.get_current_context())
    data = opened(folder)
    dates = {uuid: chosen(moments) for uuid, moments in dates_of(data, pools).items()}
    result = answers.runway(
        snapshots(data, dates),
        None if memory is None or vcpus is None else Wanted(memory, vcpus),
        failures,
        restart=restart,
        policy=policy,
        time_limit=TIME_LIMIT if time_limit is None else time_limit,
    )
    return show(result, form, _table, Point, ((pool.pool, pool.points) for pool in result.pools))


def _table(page: Page, result: Runway) -> None:
    """The series of each pool, and what is said of it."""
    for pool in result.pools:
        head(page, pool.pool)
        if len(result.pools) > 1:
            page.line(f"{pool.reason[0].upper()}{pool.reason[1:]}.")
        if pool.broken:
            page.line(f"The series begins anew at {pool.broken}.")
        if pool.skipped:
            page.line(f"Of {pool.skipped} snapshots it could not be told.")
        page.line()
        page.table(
            (
                Column("day", "name"),
                Column("every host\ncould lose") if result.unit == "bytes" else Column("more fit", "number"),
                Column("line") if result.unit == "bytes" else Column("line", "number"),
                Column("", "name"),
            ),
            [_row(pool, point, result.unit) for point in pool.points],
            noun="day",
        )
        page.line()
    counts = f"Counted as {result.policy}; {' or '.join(dict.fromkeys(pool.counted for pool in result.pools))} VMs"
    page.line(f"{counts} are to run again.")


def _row(pool: PoolRunway, point: Point, unit: str) -> tuple[Cell, ...]:
    fitted: Cell = None
    fitted = "" if point.fitted is None else round(point.fitted) if unit == "bytes" else f"{point.fitted:.1f}"
    value: Cell = round(point.value) if unit == "bytes" else f"{point.value:g}"
    return point.date, value, fitted, "" if point.counts else "before the break"
