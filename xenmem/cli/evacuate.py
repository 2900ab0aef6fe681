"""The command `evacuate`."""

from typing import Any

from xenmem import answers
from xenmem.answers.naming import find_host
from xenmem.cli.arguments import command, host_argument, inventory_argument
from xenmem.cli.moves import plan_options, planned
from xenmem.cli.streams import Output


@command
@inventory_argument
@host_argument
@plan_options("dynamic_min")
def evacuate(inventory: str, host: str, **options: Any) -> Output:
    """The migrations that empty a host, each of which fits at its moment, and what the pool itself would do.

    Other VMs move only where nothing else makes room. HOST is a name, a hostname, a uuid or a reference.
    """
    return planned(
        lambda fleet, **question: answers.evacuate(fleet, find_host(fleet, host), **question), [inventory], **options
    )
