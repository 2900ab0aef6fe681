"""The command `rolling-update`."""

import click

from xenmem import answers, kernel
from xenmem.answers.naming import find_host
from xenmem.answers.rolling_update import RestartedHost, RollingPlan, UpdateStep, actions, heading
from xenmem.cli.arguments import (
    bandwidth_option,
    command,
    emit_option,
    emitted,
    format_option,
    hosts_option,
    inventory_argument,
    lenient_option,
    read_fleet,
    time_limit_option,
)
from xenmem.cli.page import EARLY, Page, duration, head, name_of, not_checked, target
from xenmem.cli.show import show
from xenmem.cli.streams import Output, Search
from xenmem.planning import Progress
from xenmem.planning.updating.rolling_update import DEFAULT_TIME_LIMIT
from xenmem.text import counted
from xenmem.units import format_size


@command
@inventory_argument
@click.option("--order", metavar="HOST,HOST...", multiple=True, help="Restart all hosts in this order.")
@click.option(
    "--to",
    metavar="MODEL",
    help="The model, xapi version or product (xcp-ng-9) of hosts after their restart; by default the newest model.",
)
@bandwidth_option
@time_limit_option
@emit_option
@hosts_option
@lenient_option
@format_option("table", "json", "csv")
def rolling_update(
    inventory: str,
    order: tuple[str, ...],
    to: str | None,
    bandwidth: int,
    time_limit: float | None,
    writer: str | None,
    host_rows: bool,
    lenient: bool,
    form: str,
) -> Output:
    """When each host restarts, where its VMs wait meanwhile, and when each comes home.

    Every migration fits at its moment, each host counting by the model of the version that it runs then.
    """
    fleet = read_fleet([inventory], lenient)
    with Search(_described) as search:
        result = answers.rolling_update(
            fleet,
            [find_host(fleet, name) for text in order for name in text.split(",")] or None,
            to=kernel.DEFAULT_MODEL if to is None else to,
            bandwidth=bandwidth,
            time_limit=time_limit or DEFAULT_TIME_LIMIT,
            progress=search,
        )
    if writer is not None:
        return search.answer(emitted(writer, heading(result), actions(result)))
    if host_rows:
        return search.answer(show(result, form, _table, RestartedHost, [(result.pool, result.hosts)]))
    return search.answer(show(result, form, _table, UpdateStep, [(result.pool, result.steps)]))


def _described(progress: Progress) -> str:
    least = format_size(progress.bound)
    found = f"{format_size(progress.value)} to copy, gap {progress.gap:.1%}" if progress.value else "no plan yet"
    return f"{progress.seconds:.0f} s, {found}, at least {least}"


def _table(page: Page, result: RollingPlan) -> None:
    """A rolling update: the restarts, then every step."""
    head(page, result.pool, target(result.to, result.to_build, result.to_model))
    if result.steps:
        page.table(
            ("", "<restarts", "migrations\nbefore", "copied\nbefore"),
            (
                (str(host.position), name_of(host), str(host.migrations), format_size(host.copied))
                for host in result.hosts
            ),
        )
        page.line()
        page.table(
            ("", "<step", "<from", "<to", "copied", "time", "<"),
            (
                (
                    str(step.number),
                    "restart" if step.vm is None else name_of(step.vm),
                    "" if step.vm is None else name_of(step.source) or "-",
                    name_of(step.host),
                    "" if step.vm is None else format_size(step.copied),
                    "" if step.vm is None else duration(step.seconds),
                    "only makes room" if step.temporary else "",
                )
                for step in result.steps
            ),
        )
        page.line()
    page.line("Rolling update.", style="bold")
    page.line(result.verdict)
    if result.steps:
        home = f"{result.homecoming} of them after the last restart"
        speed = f"{duration(result.seconds)} at {format_size(result.bandwidth)} a second"
        page.line(f"{counted(result.migrations, 'migration')}, {home}: {speed}, beside the restarts.")
    if result.interrupted:
        page.line(EARLY, style="yellow")
    if result.shortage is not None:
        page.bullets(f"VMs that {name_of(result.shortage.host)} waits for", map(name_of, result.shortage.vms))
    page.line(not_checked(result))
    page.bullets("Warnings", (warning.text for warning in result.warnings), style="yellow")
