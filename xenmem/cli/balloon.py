"""The command `balloon`."""

import click

from xenmem import answers
from xenmem.answers.balloon import BalloonReport, SqueezedVM
from xenmem.answers.naming import find_host, find_vm, label
from xenmem.cli.arguments import (
    again,
    command,
    emit_option,
    emitted,
    format_option,
    inventory_argument,
    lenient_option,
    read_fleet,
    to_option,
    vm_argument,
)
from xenmem.cli.layout import Cell, Column
from xenmem.cli.page import Page, head, name_of
from xenmem.cli.show import show
from xenmem.cli.streams import Output
from xenmem.text import counted
from xenmem.units import format_size


@command
@inventory_argument
@vm_argument
@click.option("--host", metavar="HOST", help="Start it there; else where the pool ranks first for a start now.")
@to_option
@emit_option
@lenient_option
@format_option("table", "json", "csv")
def balloon(inventory: str, vm: str, host: str | None, writer: str | None, lenient: bool, form: str) -> Output:
    """The targets of the VMs on a host once another one starts there: as the pool sets them, and fair ones.

    VM is a name, a uuid or a reference. --emit writes a script that starts it with the fair targets.
    """
    fleet = read_fleet([inventory], lenient)
    result = answers.balloon(fleet, find_vm(fleet, vm), None if host is None else find_host(fleet, host))
    if writer is not None:
        heading = f"Start VM {label(result)} on {label(result.host)} with fair targets."
        return emitted(writer, [heading], answers.with_fair_targets(result))
    return show(result, form, _table, SqueezedVM, [(result.pool, [*result.vms, result.newcomer])])


def _table(page: Page, result: BalloonReport) -> None:
    """What starting a VM does to those on a host."""
    head(page, result.pool)
    page.line(
        f"{result.power_state}, {format_size(result.memory_dynamic_min)} to {format_size(result.memory_dynamic_max)}"
        f" and {format_size(result.memory_overhead)} of overhead"
    )
    page.line()
    page.table(
        (
            Column("VM", "name"),
            Column("dynamic\nmin", rank=2),
            Column("dynamic\nmax", rank=2),
            Column("target\nnow"),
            Column("to make\nroom", rank=1),
            Column("once it\nruns"),
            Column("fair\ntarget"),
        ),
        [_targets(vm) for vm in result.vms if vm.memory_dynamic_min < vm.memory_dynamic_max],
        last=_targets(result.newcomer),
        noun="VM",
    )
    fixed = sum(vm.memory_dynamic_min == vm.memory_dynamic_max for vm in result.vms)
    if fixed:
        page.line()
        page.line(f"{counted(fixed, 'other VM')} there {'keeps its' if fixed == 1 else 'keep their'} memory.")
    page.bullets("But", result.caveats, style="yellow")
    if not result.missing:
        page.next([("Start it so, with fair targets", again("--emit", "xe"))])


def _targets(vm: SqueezedVM) -> list[Cell]:
    amounts = (vm.memory_dynamic_min, vm.memory_dynamic_max, vm.target, vm.squeezed, vm.balanced, vm.fair)
    return [name_of(vm), *("" if amount is None else amount for amount in amounts)]
