"""The command `rolling-update`."""

from collections.abc import Iterator

import click

from xenmem import answers, kernel
from xenmem.answers.naming import find_host
from xenmem.answers.rolling_update import RestartedHost, RollingPlan, UpdateStep, actions, heading
from xenmem.cli.arguments import (
    again,
    bandwidth_option,
    command,
    emit_option,
    emitted,
    format_option,
    hosts_option,
    inventory_argument,
    is_given,
    lenient_option,
    read_fleet,
    time_limit_option,
)
from xenmem.cli.layout import Column
from xenmem.cli.moves import cannot_move, leave_of, leave_options
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
@leave_options
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
    may_stop: tuple[str, ...],
    may_suspend: tuple[str, ...],
    ignore: tuple[str, ...],
    bandwidth: int,
    time_limit: float | None,
    writer: str | None,
    host_rows: bool,
    lenient: bool,
    form: str,
) -> Output:
    """When each host restarts, where its VMs wait meanwhile, and when each comes home.

    Every migration fits at its moment, each host counting by the model of the version that it runs then. VMs that may
    be stopped or suspended are while their own host restarts; the host of a VM that is ignored is not updated.
    """
    fleet = read_fleet([inventory], lenient)
    with Search(_described) as search:
        result = answers.rolling_update(
            fleet,
            [find_host(fleet, name) for text in order for name in text.split(",")] or None,
            to=kernel.DEFAULT_MODEL if to is None else to,
            leave=leave_of(fleet, may_stop, may_suspend, ignore),
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
    """A rolling update: what stands in the way, the restarts, then every step."""
    cannot_move(page, result.held)
    head(page, result.pool, target(result.to, result.to_build, result.to_model))
    if result.steps:
        page.table(
            (
                Column("", "number"),
                Column("restarts", "name"),
                Column("migrations\nbefore", "number"),
                Column("copied\nbefore"),
            ),
            ((str(host.position), name_of(host), str(host.migrations), host.copied) for host in result.hosts),
            noun="host",
        )
        page.line()
        page.table(
            (
                Column("", "number"),
                Column("step", "name"),
                Column("from", "name"),
                Column("to", "name"),
                Column("copied"),
                Column("time", "number", rank=1),
                "<",
            ),
            (
                (
                    str(step.number),
                    "restart" if step.vm is None else name_of(step.vm),
                    name_of(step.source) or ("" if step.vm is None else "-"),
                    name_of(step.host),
                    step.copied if step.action == "migrate" else "",
                    duration(step.seconds) if step.action == "migrate" else "",
                    "makes room"
                    if step.temporary
                    else ""
                    if step.vm is None or step.action == "migrate"
                    else step.action,
                )
                for step in result.steps
            ),
            noun="step",
        )
        page.line()
    page.line(result.proof)
    if result.steps:
        home = f"{result.homecoming} of them after the last restart"
        speed = f"{duration(result.seconds)} at {format_size(result.bandwidth)} a second"
        page.line(f"{counted(result.migrations, 'migration')}, {home}: {speed}, beside the restarts.")
    if result.interrupted:
        page.line(EARLY, style="yellow")
    if result.shortage is not None and not result.held:
        page.bullets(f"VMs that {name_of(result.shortage.host)} waits for", map(name_of, result.shortage.vms))
    page.line(f"Checked: {', '.join(result.checked)}.")
    page.line(not_checked(result))
    page.bullets("Warnings", (warning.text for warning in result.warnings), style="yellow")
    page.next(_next(result))


def _next(result: RollingPlan) -> Iterator[tuple[str, str]]:
    if result.held:
        ways = (
            ("stop what cannot move while its host restarts", "--may-stop"),
            ("leave out the hosts of what cannot move", "--ignore"),
        )
        yield from ((why, again(way, "immobile")) for why, way in ways if not is_given(way, "immobile"))
    if result.steps:
        yield "the plan as a script", again("--emit", "xe", "-o", "update.sh")
