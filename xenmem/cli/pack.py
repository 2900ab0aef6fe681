"""The command `pack`."""

from typing import Any

import click

from xenmem import answers
from xenmem.answers.move_plan import MovePlan
from xenmem.answers.naming import find_vm
from xenmem.cli.arguments import command, inventories_argument
from xenmem.cli.moves import plan_options, planned, rows
from xenmem.cli.streams import Output
from xenmem.fleet import Fleet


@command
@inventories_argument
@click.option(
    "--objective",
    type=click.Choice(("all", "fewest-hosts", "even", "fewest-migrations")),
    default="all",
    show_default=True,
    help="What the plan is to be best at.",
)
@click.option("--vm", "vm_names", metavar="VM", multiple=True, help="A VM to place; repeat. All guests by default.")
@click.option("--running", is_flag=True, help="Place only VMs that are on a host.")
@plan_options("static_max")
def pack(
    inventories: tuple[str, ...], objective: str, vm_names: tuple[str, ...], running: bool, **options: Any
) -> Output:
    """A host for each VM, halted ones included, and the migrations and starts that lead there.

    Objectives: all VMs have a place, the fewest hosts run guests, the fullest host has the most free, or the fewest VMs
    move. No VM leaves its pool. Where not all fit, as many as possible do, and the answer says what is in the way.
    """
    if vm_names and running:
        raise click.UsageError("--vm and --running exclude each other", click.get_current_context())

    def ask(fleet: Fleet, **question: Any) -> MovePlan:
        vms = rows(find_vm, fleet, vm_names) or None
        return answers.pack(fleet, vms, objective=objective, running=running, **question)

    return planned(ask, inventories, in_bytes=objective == "even", moves_few=False, **options)
