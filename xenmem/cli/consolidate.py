"""The command `consolidate`."""

from typing import Any

from xenmem import answers
from xenmem.cli.arguments import command, inventories_argument
from xenmem.cli.moves import plan_options, planned
from xenmem.cli.streams import Output


@command
@inventories_argument
@plan_options("dynamic_min")
def consolidate(inventories: tuple[str, ...], **options: Any) -> Output:
    """The migrations after which the most hosts run no guest: few of them, and small ones."""
    return planned(answers.consolidate, inventories, **options)
