"""The command `upgrade-check`."""

from typing import Any

import click

from xenmem import answers
from xenmem.answers.upgrade_check import HostUpgrade, UpgradeCheck
from xenmem.cli.arguments import (
    again,
    cluster_option,
    command,
    format_option,
    inventories_argument,
    lenient_option,
    read_fleet,
    spread,
)
from xenmem.cli.layout import Cell, Column
from xenmem.cli.page import Page, are_many, head, name_of, target
from xenmem.cli.show import show
from xenmem.cli.streams import Output
from xenmem.units import format_size


@command
@inventories_argument
@click.option(
    "--to", metavar="MODEL", required=True, help="A model (26.3), a xapi version (26.4.0) or a product (xcp-ng-9)."
)
@cluster_option
@lenient_option
@format_option("table", "json", "csv")
def upgrade_check(inventories: tuple[str, ...], to: str, cluster: str | None, lenient: bool, form: str) -> Output:
    """What another version of xapi makes of overheads and free memory, and what no longer starts or fits."""
    if cluster is None:
        result = answers.upgrade_check(read_fleet(inventories, lenient), to)
    else:
        result = spread(inventories, cluster, "upgrade-check", to=to)
    return show(result, form, _table, HostUpgrade, ((pool.pool, pool.hosts) for pool in result.pools))


def _table(page: Page, result: UpgradeCheck) -> None:
    """What the target model changes, pool by pool."""
    if are_many(result.pools):
        page.table(
            (
                Column("pool", "name"),
                Column("hosts", "number"),
                Column("VMs that\nno longer\nstart", "number"),
                Column("hosts newly\novercommitted", "number"),
                Column("more\noverhead"),
            ),
            [
                (
                    name_of(pool.pool),
                    len(pool.hosts),
                    len(pool.no_longer_start),
                    len(pool.newly_overcommitted),
                    pool.target.memory_overhead - pool.stored.memory_overhead,
                )
                for pool in sorted(result.pools, key=lambda pool: -len(pool.no_longer_start))
            ],
            noun="pool",
        )
        page.next([("Every pool, host by host", again("--all"))])
    for pool in [] if are_many(result.pools) else result.pools:
        head(page, pool.pool, target(result.to, result.to_build, result.to_model))
        if len(result.pools) > 1:
            page.line(pool.verdict)
            page.line()
        if not pool.hosts:
            continue
        cases = (("stored", 4), (pool.model, 2), (pool.to_model, 0))
        page.table(
            (
                Column("host", "name"),
                *(Column(f"overhead\n{case}", rank=rank) for case, rank in cases),
                *(Column(f"free\ndynamic\nmin\n{case}", rank=rank) for case, rank in cases),
                *(Column(f"free\nstatic\nmax\n{case}", rank=rank and rank - 1) for case, rank in cases),
            ),
            [_row(name_of(host), host) for host in pool.hosts],
            last=_row("in all", pool),
            noun="host",
            styles=["red" if host.target.overcommitted.static_max else "" for host in pool.hosts],
        )
        page.bullets(
            f"VMs that no longer start where they are under {pool.to_model}",
            (
                f"{name_of(vm)} on {name_of(vm.host)}: needs {format_size(vm.required)},"
                f" has {format_size(vm.available)}"
                f" (now {format_size(vm.required_now)} of {format_size(vm.available_now)})"
                for vm in pool.no_longer_start
            ),
            style="yellow",
        )
        new = {host.ref for host in pool.newly_overcommitted}
        page.line()
        page.bullets(
            f"Hosts overcommitted under {pool.to_model}",
            (
                f"{name_of(host)}: by {format_size(host.target.overcommitted.static_max)} under static_max"
                + (
                    f", by {format_size(host.target.overcommitted.dynamic_min)} under dynamic_min"
                    if host.target.overcommitted.dynamic_min
                    else ""
                )
                + (" (new)" if host.ref in new else "")
                for host in pool.hosts
                if host.target.overcommitted.static_max or host.target.overcommitted.dynamic_min
            ),
            style="yellow",
        )


def _row(name: str, item: Any) -> list[Cell]:
    cases = (item.stored, item.present, item.target)
    return [
        name,
        *(case.memory_overhead for case in cases),
        *(case.free.dynamic_min for case in cases),
        *(case.free.static_max for case in cases),
    ]
