"""The command `report`."""

from collections.abc import Iterable

import click
import msgspec

from xenmem import answers
from xenmem.answers.report import HostReport, PoolReport, Report, Usage, VMReport
from xenmem.cli import values
from xenmem.cli.arguments import command, format_option, inventories_argument, lenient_option, model_option, read_fleet
from xenmem.cli.page import POLICY_LINES, Page, amount, by_policy, head, name_of
from xenmem.cli.show import show
from xenmem.fleet import POLICIES
from xenmem.text import counted
from xenmem.units import format_size


@command
@inventories_argument
@click.option("--vms", is_flag=True, help="The table of VMs instead of the table of hosts.")
@click.option("--sort", metavar="COLUMN", help="Sort by a column of the csv format: amounts from the largest.")
@model_option
@lenient_option
@format_option("table", "json", "csv")
def report(
    inventories: tuple[str, ...], vms: bool, sort: str | None, model: str | None, lenient: bool, form: str
) -> bytes:
    """Where the memory of each pool's hosts is, what is free under each policy, and what is amiss.

    Free memory counts the overheads that are stored in the inventory, as xapi does. With --model, what is computed
    anew changes: the VMs' overhead and start memory, and the warnings that compare stored overheads with these.
    """
    result = answers.report(read_fleet(inventories, lenient), model=model, vms=vms)
    row_type = VMReport if vms else HostReport
    rows = "vms" if vms else "hosts"
    if sort is not None:
        known = values.columns(row_type)
        if sort not in known:
            raise click.BadParameter(
                f"{sort!r} is none of {', '.join(known)}", click.get_current_context(), param_hint="'--sort'"
            )
        pools = [
            msgspec.structs.replace(pool, **{rows: values.ordered(row_type, getattr(pool, rows), sort)})
            for pool in result.pools
        ]
        result = msgspec.structs.replace(result, pools=pools)
    return show(result, form, _table, row_type, ((pool.pool, getattr(pool, rows)) for pool in result.pools))


def _table(page: Page, result: Report) -> None:
    """The report of every pool, and the notes of reading."""
    for number, pool in enumerate(result.pools):
        if number:
            page.line()
        coordinator = [f"coordinator {name_of(host)}" for host in pool.hosts if host.is_coordinator]
        head(page, pool.pool, *coordinator)
        if isinstance(pool.vms, list):
            _vm_table(page, pool.vms)
        else:
            _host_table(page, pool)
        page.bullets("Warnings", (warning.text for warning in pool.warnings), style="yellow")
    page.bullets("Notes on reading", map(str, result.notes))


def _host_table(page: Page, pool: PoolReport) -> None:
    total = pool.total
    page.table(
        (
            "host",
            "total",
            "host\noverhead",
            "control\ndomain",
            "VMs",
            "VM\nmemory\n(static)",
            "VM\noverhead",
            *(f"free\n{policy}" for policy in POLICY_LINES),
            "free\nas\nmeasured",
        ),
        (
            (
                name_of(host),
                amount(host.memory_total),
                format_size(host.memory_overhead),
                *_usages(host.control_domains, host.vms),
                *by_policy(host.free),
                amount(host.memory_free),
            )
            for host in pool.hosts
        ),
        last=(
            counted(total.hosts, "host"),
            format_size(total.memory_total),
            format_size(total.memory_overhead),
            *_usages(total.control_domains, total.vms),
            *by_policy(total.free),
            format_size(total.memory_free),
        ),
    )


def _usages(control_domains: Usage, vms: Usage) -> tuple[str, ...]:
    return (
        format_size(control_domains.memory.static_max + control_domains.memory_overhead),
        str(vms.count),
        format_size(vms.memory.static_max),
        format_size(vms.memory_overhead),
    )


def _vm_table(page: Page, vms: Iterable[VMReport]) -> None:
    page.table(
        (
            "VM",
            "<state",
            "<type",
            "<host",
            "vCPUs",
            *POLICY_LINES,
            "overhead\nstored",
            "overhead\ncomputed",
            "to start\ndynamic\nmin",
        ),
        (
            (
                name_of(vm),
                vm.power_state,
                vm.domain_type,
                " -> ".join(
                    dict.fromkeys(name_of(host) for host in (vm.resident_on, vm.scheduled_to_be_resident_on) if host)
                ),
                str(vm.VCPUs_max),
                *(format_size(getattr(vm, f"memory_{policy}")) for policy in POLICIES),
                format_size(vm.memory_overhead),
                format_size(vm.compute_memory_overhead),
                format_size(vm.start_memory.dynamic_min),
            )
            for vm in vms
        ),
    )
