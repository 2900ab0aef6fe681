"""The command `history`."""

from datetime import datetime
from pathlib import Path

import click

from xenmem import Fleet, answers
from xenmem.answers.history import Changes, HostChange, PoolChange, PoolThen, VMChange
from xenmem.cli.arguments import command, format_option, lenient_option, policy_option, read_fleet, rows_of_csv
from xenmem.cli.dataset import MOMENT, dates_of, opened
from xenmem.cli.layout import Cell, Column
from xenmem.cli.page import Page, head, name_of
from xenmem.cli.show import show
from xenmem.cli.streams import Output
from xenmem.fleet import POLICIES


@command
@click.argument("before", metavar="FOLDER")
@click.argument("after", metavar="[INVENTORY]", required=False)
@click.option(
    "--from", "start", metavar="TIME", type=MOMENT, help="The first moment: 2026-11-01, or 7d for so long ago."
)
@click.option("--to", "end", metavar="TIME", type=MOMENT, help="The second one; by default the latest snapshot.")
@click.option("--pool", "pools", metavar="UUID", multiple=True, help="Of this pool only; the beginning does.")
@click.option("--hosts", "host_rows", is_flag=True, callback=rows_of_csv, help="With csv: hosts instead of VMs.")
@policy_option("static_max")
@lenient_option
@format_option("table", "json", "csv")
def history(
    before: str,
    after: str | None,
    start: datetime | None,
    end: datetime | None,
    pools: tuple[str, ...],
    host_rows: bool,
    policy: str,
    lenient: bool,
    form: str,
) -> Output:
    """What changed between two moments: hosts, VMs, their memory, what is free, and the margin of host failures.

    FOLDER holds snapshots of pools; of all of them the first and the last are compared unless times are given. Or give
    two inventories, the older one first.
    """
    if after is not None:
        if start is not None or end is not None or pools:
            raise click.UsageError("--from, --to and --pool are of a folder of snapshots", click.get_current_context())
        older, newer = read_fleet([before], lenient), read_fleet([after], lenient)
        result = answers.history(older, newer, policy=policy)
    else:
        if not Path(before).is_dir():
            raise click.UsageError("one file is not compared with anything: give a folder, or two inventories")
        result = _of_folder(before, start, end, pools, policy)
    hosts = ((pool.pool, pool.hosts) for pool in result.pools)
    vms = ((pool.pool, pool.vms) for pool in result.pools)
    return show(result, form, _table, HostChange if host_rows else VMChange, hosts if host_rows else vms)


def _of_folder(
    folder: str, start: datetime | None, end: datetime | None, pools: tuple[str, ...], policy: str
) -> Changes:
    data = opened(folder)
    dates = dates_of(data, pools)
    first, last = min(moments[0] for moments in dates.values()), max(moments[-1] for moments in dates.values())
    sides: list[tuple[Fleet, datetime]] = []
    for asked, other in ((start, first), (end, last)):
        moment = asked or other
        there = [uuid for uuid, moments in dates.items() if moments[0] <= moment]
        if not there:
            raise click.ClickException(f"{folder}: there is no snapshot before {moment:%Y-%m-%dT%H:%M:%SZ}")
        at = max(max(when for when in dates[uuid] if when <= moment) for uuid in there)
        sides.append((data.fleet(there, at=moment), at))
    (older, when), (newer, then) = sides
    return answers.history(older, newer, when, then, policy=policy)


def _table(page: Page, result: Changes) -> None:
    """Each pool at both moments, and then hosts and VMs that are not as they were."""
    for pool in result.pools:
        head(page, pool.pool)
        moments = [side for side in (pool.before, pool.after) if side is not None]
        page.table(
            (
                Column("", "name"),
                Column("hosts", "number"),
                Column("VMs", "number"),
                Column("running", "number"),
                Column("memory"),
                Column("taken\n(static)"),
                *(Column(f"free\n{policy.replace('_', ' ')}", rank=1) for policy in POLICIES),
                Column("margin"),
            ),
            [_moment(side, "before" if side is pool.before else "after") for side in moments],
            every=True,
        )
        _hosts(page, pool)
        _vms(page, pool)
        page.line()
    page.line(f"The margin is what every host could lose such that any one may still fail, counted as {result.policy}.")


def _moment(side: PoolThen, otherwise: str) -> tuple[Cell, ...]:
    return (
        side.at or otherwise,
        side.hosts,
        side.vms,
        side.running,
        side.memory_total,
        side.taken.static_max,
        *(getattr(side.free, policy) for policy in POLICIES),
        "not known" if side.margin is None else side.margin,
    )


def _hosts(page: Page, pool: PoolChange) -> None:
    if not pool.hosts:
        return
    page.line()
    page.table(
        (
            Column("host", "name"),
            Column("what", "text"),
            Column("memory\nbefore"),
            Column("after"),
            Column("free (static)\nbefore", rank=1),
            Column("after", rank=1),
        ),
        [
            (
                name_of(host),
                ", ".join(host.what),
                "" if host.before is None else host.before.memory_total,
                "" if host.after is None else host.after.memory_total,
                "" if host.before is None else host.before.free.static_max,
                "" if host.after is None else host.after.free.static_max,
            )
            for host in pool.hosts
        ],
        noun="host",
    )


def _vms(page: Page, pool: PoolChange) -> None:
    if not pool.vms:
        return
    page.line()
    page.table(
        (
            Column("VM", "name"),
            Column("what", "text"),
            Column("static max\nbefore", rank=1),
            Column("after", rank=1),
            Column("takes\nmore"),
            Column("was on", "name", 2),
            Column("is on", "name", 2),
        ),
        [
            (
                name_of(vm),
                ", ".join(vm.what),
                "" if vm.before is None else vm.before.memory_static_max,
                "" if vm.after is None else vm.after.memory_static_max,
                vm.memory or "",
                "" if vm.before is None else vm.before.host,
                "" if vm.after is None else vm.after.host,
            )
            for vm in pool.vms
        ],
        noun="VM",
    )
