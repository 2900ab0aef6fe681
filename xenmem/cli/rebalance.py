"""The command `rebalance`."""

from functools import partial
from typing import Any

import click

from xenmem import answers
from xenmem.cli.arguments import command, inventories_argument
from xenmem.cli.moves import plan_options, planned
from xenmem.cli.streams import Output


@command
@inventories_argument
@click.option(
    "--migrations",
    metavar="K",
    type=click.IntRange(min=0),
    required=True,
    help="How many VMs of a pool may move; temporary moves come on top.",
)
@plan_options("dynamic_min")
def rebalance(inventories: tuple[str, ...], migrations: int, **options: Any) -> Output:
    """The migrations, at most so many, after which the fullest host has the most memory free."""
    ask = partial(answers.rebalance, migrations=migrations)
    return planned(ask, inventories, in_bytes=True, **options)
