"""The command `place`."""

from typing import Final

import click

from xenmem import answers
from xenmem.answers.naming import find_host, find_vm
from xenmem.answers.place import Placement, PossibleHost, actions, heading
from xenmem.cli.arguments import (
    again,
    command,
    emit_option,
    emitted,
    format_option,
    inventory_argument,
    lenient_option,
    policy_option,
    read_fleet,
    to_option,
    vm_argument,
)
from xenmem.cli.layout import Column
from xenmem.cli.page import Page, head, name_of, not_checked, whether
from xenmem.cli.show import show
from xenmem.cli.streams import Output


@command
@inventory_argument
@vm_argument
@click.option("--host", metavar="HOST", help="The host for --emit, instead of the one that leaves the most room.")
@policy_option("dynamic_min")
@to_option
@emit_option
@lenient_option
@format_option("table", "json", "csv")
def place(
    inventory: str, vm: str, host: str | None, policy: str, writer: str | None, lenient: bool, form: str
) -> Output:
    """On which hosts a VM could start now, which of them the pool would take, and which leaves the most room.

    The pool draws from a category of hosts, by chance but preferring the best. VM is a name, a uuid or a reference.
    """
    fleet = read_fleet([inventory], lenient)
    row = None if host is None else find_host(fleet, host)
    result = answers.place(fleet, find_vm(fleet, vm), host=row, policy=policy)
    if writer is not None:
        return emitted(writer, heading(result), actions(result))
    return show(result, form, _table, PossibleHost, [(result.pool, result.hosts)])


_CATEGORIES: Final = {
    "affinity": "the VM's affinity host",
    "definite": "from the hosts with room even if all VMs take static_max (category definite)",
    "probable": "from the hosts with room even if all VMs take dynamic_max (category probable)",
    "possible": "from the hosts with room once VMs are squeezed (category possible)",
}


def _table(page: Page, result: Placement) -> None:
    """Where a VM would start."""
    head(page, result.pool)
    page.table(
        (
            Column("host", "name"),
            Column("required", rank=3),
            Column("available", rank=1),
            Column("free\nafter"),
            Column("rank", "number", rank=2),
            Column("chance", "number"),
            Column(f"{result.operation}?", "text"),
        ),
        [
            (
                name_of(host),
                host.required,
                host.available,
                host.free_after,
                host.rank,
                "unknown" if host.chance is None else f"{host.chance:.1%}",
                whether(host, result.obstacles),
            )
            for host in result.hosts
        ],
        noun="host",
    )
    page.bullets("It starts nowhere", result.obstacles, style="yellow")
    page.line()
    if result.category:
        without = "" if result.memory_checked else ", without its memory check, which no host passes"
        page.line(f"The pool draws {_CATEGORIES[result.category]}{without}: rank 1 is the best.")
    else:
        page.line("The pool itself would answer NO_HOSTS_AVAILABLE.")
    if result.most_room is not None:
        page.line(f"Most is free afterwards on {name_of(result.most_room)}, under {result.policy}.")
    page.line(not_checked(result))
    if result.chosen is not None:
        page.next([(f"{result.operation.capitalize()} it on {name_of(result.chosen)}", again("--emit", "xe"))])
