"""The command `report`."""

import time
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Final, TypeVar

import click
import msgspec

from xenmem import answers
from xenmem.answers.layers import stack
from xenmem.answers.report import HostReport, PoolReport, Report, Usage, VMReport
from xenmem.answers.tables import columns
from xenmem.cli import values
from xenmem.cli.arguments import (
    again,
    cluster_option,
    command,
    format_option,
    inventories_argument,
    lenient_option,
    model_option,
    read_fleet,
    sizes_option,
    spread,
)
from xenmem.cli.display import display, write_to
from xenmem.cli.layout import Column
from xenmem.cli.page import MOST_ROWS, POLICY_LINES, Page, are_many, bar, by_policy, head, host_name, name_of
from xenmem.cli.show import show
from xenmem.cli.streams import Output
from xenmem.fleet import POLICIES
from xenmem.text import counted

Row = TypeVar("Row")


_SHORT: Final = {
    HostReport: {
        "free": "free_dynamic_min",
        "memory": "memory_total",
        "name": "name_label",
        "vms": "vms_count",
        "overcommitted": "overcommitted_static_max",
    },
    VMReport: {
        "memory": "memory_static_max",
        "name": "name_label",
        "host": "resident_on_name_label",
        "vcpus": "VCPUs_max",
        "overhead": "memory_overhead",
    },
}
"""Short names of the columns that one sorts by."""


def _columns(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    kind = VMReport if context.params.get("vms") else HostReport
    return [name for name in (*_SHORT[kind], *columns(kind)) if name.startswith(incomplete)]


def _column(kind: type[HostReport] | type[VMReport], name: str) -> str:
    known = columns(kind)
    found = _SHORT[kind].get(name, name)
    if found not in known:
        near = get_close_matches(name, known, 3)
        hint = f"; near it are {', '.join(near)}" if near else "; the columns are those of --format csv"
        problem = f"{name!r} is none of {', '.join(_SHORT[kind])}{hint}"
        raise click.BadParameter(problem, _context(), param_hint="'--sort'")
    return found


@command
@inventories_argument
@click.option("--vms", is_flag=True, help="The table of VMs instead of the table of hosts.")
@click.option(
    "--sort",
    metavar="COLUMN",
    shell_complete=_columns,
    help="Sort by free, memory, name, vms or a column of csv: amounts from the largest.",
)
@sizes_option
@click.option(
    "--html", metavar="FILE", help="Write one page that needs nothing else: pictures, and tables to sort and filter."
)
@model_option
@cluster_option
@lenient_option
@format_option("table", "json", "csv", "openmetrics")
def report(
    inventories: tuple[str, ...],
    vms: bool,
    sort: str | None,
    sizes: tuple[tuple[int, int], ...],
    html: str | None,
    model: str | None,
    cluster: str | None,
    lenient: bool,
    form: str,
) -> Output:
    """Where the memory of each pool's hosts is, what is free under each policy, and what is amiss.

    Free memory counts the overheads that are stored in the inventory, as xapi does. With --model, what is computed
    anew changes: the VMs' overhead and start memory, and the warnings that compare stored overheads with these.
    With --format openmetrics it is what Prometheus reads of a file; --vms then adds series for each VM.
    """
    if cluster is not None and (form == "openmetrics" or html is not None):
        raise click.UsageError("--cluster excludes --html and --format openmetrics", _context())
    if form == "openmetrics":
        return _openmetrics(inventories, lenient, vms, sizes)
    if sizes:
        raise click.UsageError("--size chooses what --format openmetrics counts the room for", _context())
    if html is not None:
        return _page(html, inventories, lenient, model)
    if cluster is None:
        result = answers.report(read_fleet(inventories, lenient), model=model, vms=vms)
    else:
        result = spread(inventories, cluster, "report", model=model, vms=vms)
    row_type = VMReport if vms else HostReport
    rows = "vms" if vms else "hosts"
    if sort is not None:
        sort = _column(row_type, sort)
        pools = [
            msgspec.structs.replace(pool, **{rows: values.ordered(row_type, getattr(pool, rows), sort)})
            for pool in result.pools
        ]
        result = msgspec.structs.replace(result, pools=pools)
    return show(result, form, _table, row_type, ((pool.pool, getattr(pool, rows)) for pool in result.pools))


def _openmetrics(inventories: Sequence[str], lenient: bool, per_vm: bool, sizes: Sequence[tuple[int, int]]) -> Output:
    """Metrics instead of a report; a file was read from its pool when it was last written."""
    for name in ("sort", "model"):
        if _context().params[name] is not None:
            raise click.UsageError(f"--{name} and --format openmetrics exclude each other", _context())
    from xenmem.exporter.metrics import Asked, Size, openmetrics

    fleet = read_fleet(inventories, lenient)
    asked = Asked(sizes=tuple(Size(*size) for size in sizes) or Asked().sizes, per_vm=per_vm)
    files = map(Path, fleet.pools.source)
    read_at = [file.stat().st_mtime if file.is_file() else time.time() for file in files]
    return Output(openmetrics(fleet, read_at, asked).encode())


def _context() -> click.Context:
    return click.get_current_context()


def _page(path: str, inventories: tuple[str, ...], lenient: bool, model: str | None) -> Output:
    """The answer as a page, to be written to a file."""
    context = click.get_current_context()
    for name in ("vms", "sort", "form"):
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            option = next(one.opts[0] for one in context.command.params if one.name == name)
            raise click.UsageError(f"--html and {option} exclude each other", context)
    if display().output is not None:
        raise click.UsageError("--html and --output exclude each other", context)
    from datetime import UTC, datetime

    from xenmem import page

    write_to(path)
    return Output(page.report(read_fleet(inventories, lenient), model, datetime.now(UTC)).encode())


def _table(page: Page, result: Report) -> None:
    """The report of every pool, and the notes of reading."""
    if are_many(result.pools):
        _overview(page, result.pools)
    else:
        for pool in result.pools:
            _pool(page, pool)
    page.bullets("Notes on reading", map(str, result.notes))
    page.next(_next(result))


def _pool(page: Page, pool: PoolReport) -> None:
    coordinator = [f"coordinator {name_of(host)}" for host in pool.hosts if host.is_coordinator]
    head(page, pool.pool, *coordinator)
    if isinstance(pool.vms, list):
        _vm_table(page, pool.vms)
    else:
        _host_table(page, pool)
    page.bullets("Warnings", (warning.text for warning in pool.warnings), style="yellow")
    page.line()


def _next(result: Report) -> Iterator[tuple[str, str]]:
    if are_many(result.pools):
        yield "Every pool, host by host", again("--all")
    if any(pool.total.overcommitted.static_max for pool in result.pools):
        yield "Which migrations would help", again("--migrations", "5", command="rebalance")


def _overview(page: Page, pools: Sequence[PoolReport]) -> None:
    shown = sorted(pools, key=lambda pool: pool.total.free.static_max - pool.total.overcommitted.static_max)
    page.table(
        (
            Column("pool", "name"),
            Column("hosts", "number"),
            Column("VMs", "number"),
            Column("total", rank=2),
            *(Column(f"free\n{policy}", rank=rank) for policy, rank in zip(POLICY_LINES, (0, 3, 0), strict=True)),
            Column("over-\ncommitted"),
            Column("warnings", "number", rank=1),
        ),
        [
            (
                name_of(pool.pool),
                pool.total.hosts,
                pool.total.vms.count,
                pool.total.memory_total,
                *by_policy(pool.total.free),
                pool.total.overcommitted.static_max,
                len(pool.warnings),
            )
            for pool in shown
        ],
        noun="pool",
        styles=["red" if pool.total.overcommitted.static_max else "" for pool in shown],
    )


def _host_table(page: Page, pool: PoolReport) -> None:
    total = pool.total
    hosts = _shown(pool.hosts, _room)
    page.table(
        (
            Column("host", "name"),
            Column("VMs", "number"),
            Column("total"),
            *([Column("taken", "text", rank=2)] if page.draws_bars else []),
            Column("host\nitself", rank=3),
            Column("control\ndomain", rank=3),
            Column("VMs\n(static)", rank=1),
            Column("VM over-\nhead", rank=2),
            *(Column(f"free\n{policy}", rank=rank) for policy, rank in zip(POLICY_LINES, (0, 4, 0), strict=True)),
            Column("free\nas mea-\nsured", rank=5),
        ),
        [
            (
                host_name(host),
                host.vms.count,
                host.memory_total,
                *([bar(_taken(host), host.memory_total)] if page.draws_bars else []),
                host.memory_overhead,
                *_usages(host.control_domains, host.vms),
                *by_policy(host.free),
                host.memory_free,
            )
            for host in hosts
        ],
        last=(
            counted(total.hosts, "host"),
            total.vms.count,
            total.memory_total,
            *([bar(sum(map(_taken, pool.hosts)), total.memory_total)] if page.draws_bars else []),
            total.memory_overhead,
            *_usages(total.control_domains, total.vms),
            *by_policy(total.free),
            total.memory_free,
        ),
        noun="host",
        styles=[
            "red" if host.overcommitted.static_max else "" if host.enabled and host.live else "yellow" for host in hosts
        ],
    )


def _taken(host: HostReport) -> int:
    """What a host has given away if every VM takes its most."""
    return sum(stack(host).amounts[:-1])


def _room(host: HostReport) -> int:
    return host.free.dynamic_min - host.overcommitted.static_max


def _shown(rows: list[Row], key: Callable[[Row], int]) -> list[Row]:
    """Many rows in an order whose middle matters least, unless one was asked for."""
    asked = _context().params["sort"] is not None
    return rows if asked or len(rows) <= MOST_ROWS else sorted(rows, key=key)


def _usages(control_domains: Usage, vms: Usage) -> tuple[int, ...]:
    return (
        control_domains.memory.static_max + control_domains.memory_overhead,
        vms.memory.static_max,
        vms.memory_overhead,
    )


def _vm_table(page: Page, vms: list[VMReport]) -> None:
    page.table(
        (
            Column("VM", "name"),
            Column("state", "text"),
            Column("type", "text", rank=3),
            Column("host", "name"),
            Column("vCPUs", "number", rank=2),
            *(Column(policy, rank=rank) for policy, rank in zip(POLICY_LINES, (0, 4, 1), strict=True)),
            Column("over-\nhead\nstored", rank=0),
            Column("over-\nhead\ncomputed", rank=1),
            Column("to start\ndynamic\nmin", rank=2),
        ),
        [
            (
                name_of(vm),
                vm.power_state,
                vm.domain_type,
                " -> ".join(
                    dict.fromkeys(name_of(host) for host in (vm.resident_on, vm.scheduled_to_be_resident_on) if host)
                ),
                vm.VCPUs_max,
                *(getattr(vm, f"memory_{policy}") for policy in POLICIES),
                vm.memory_overhead,
                vm.compute_memory_overhead,
                vm.start_memory.dynamic_min,
            )
            for vm in _shown(vms, lambda vm: -vm.memory_static_max)
        ],
        noun="VM",
    )
