"""The command `maximise`."""

import click

from xenmem import answers
from xenmem.answers.fit import Maximum, MaximumThere
from xenmem.answers.naming import find_host, find_vm
from xenmem.cli.arguments import (
    command,
    format_option,
    inventory_argument,
    lenient_option,
    model_option,
    read_fleet,
    size,
    to_option,
    vm_argument,
)
from xenmem.cli.layout import Column
from xenmem.cli.page import Page, head, name_of
from xenmem.cli.show import show
from xenmem.cli.streams import Output
from xenmem.text import counted
from xenmem.units import format_size


@command
@inventory_argument
@vm_argument
@click.option("--host", metavar="HOST", help="Fill this host only.")
@click.option("--total", metavar="SIZE", callback=size, help="Fill this amount instead of a host's free memory.")
@click.option("--approximate", is_flag=True, help="Take 64 vCPUs for the VM's own, as VM.maximise_memory can.")
@model_option
@to_option
@lenient_option
@format_option("table", "json", "csv")
def maximise(
    inventory: str,
    vm: str,
    host: str | None,
    total: int | None,
    approximate: bool,
    model: str | None,
    lenient: bool,
    form: str,
) -> Output:
    """The largest memory_static_max with which a VM still starts, on each host of its pool.

    Filled is what is free now under dynamic_min, and on its own host also what the VM has: it grows with a restart.
    """
    if host is not None and total is not None:
        raise click.UsageError("--host and --total exclude each other", click.get_current_context())
    fleet = read_fleet([inventory], lenient)
    result = answers.maximise(
        fleet,
        find_vm(fleet, vm),
        host=None if host is None else find_host(fleet, host),
        total=total,
        approximate=approximate,
        model=model,
    )
    return show(result, form, _table, MaximumThere, [(result.pool, result.hosts)])


def _table(page: Page, result: Maximum) -> None:
    """The largest VM on each host."""
    head(page, result.pool)
    page.line(
        f"{result.domain_type}, {counted(result.VCPUs_max, 'vCPU')}, "
        f"HVM_shadow_multiplier {result.HVM_shadow_multiplier:g}, model {result.model}"
        + (", approximate: as if it had 64 vCPUs" if result.approximate else "")
    )
    page.line()
    home = result.resident_on.ref if result.resident_on else None
    but = [Column("but", "text")] if any(there.reasons for there in result.hosts) else []
    page.table(
        (
            Column("host", "name"),
            Column("room"),
            Column("memory_\nstatic_max"),
            Column("required", rank=1),
            Column("spare", rank=1),
            *but,
        ),
        [
            (
                (name_of(there) or "any") + (" (where it is)" if there.ref and there.ref == home else ""),
                there.total,
                there.memory_static_max,
                there.required,
                there.spare,
                *("; ".join(there.reasons) for _ in but),
            )
            for there in result.hosts
        ],
        noun="host",
    )
    page.bullets(
        "Warnings",
        (
            f"{name_of(there) or 'total'}: "
            + (
                f"this does not fit: it needs {format_size(-there.spare)} more than {format_size(there.total)}"
                if there.memory_static_max
                else "nothing fits"
            )
            for there in result.hosts
            if there.spare < 0
        ),
        style="yellow",
    )
