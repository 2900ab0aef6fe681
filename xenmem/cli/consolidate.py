"""The command `consolidate`."""

from typing import Any

from xenmem import answers
from xenmem.cli.arguments import command, inventories_argument
from xenmem.cli.moves import leave_options, plan_options, planned
from xenmem.cli.streams import Output


@command
@inventories_argument
@leave_options
@plan_options("dynamic_min")
def consolidate(
    inventories: tuple[str, ...],
    may_stop: tuple[str, ...],
    may_suspend: tuple[str, ...],
    ignore: tuple[str, ...],
    **options: Any,
) -> Output:
    """The migrations after which the most hosts run no guest: few of them, and small ones."""
    return planned(answers.consolidate, inventories, leave=(may_stop, may_suspend, ignore), **options)
