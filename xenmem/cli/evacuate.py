"""The command `evacuate`."""

from typing import Any

from xenmem import answers
from xenmem.answers.naming import find_host
from xenmem.cli.arguments import command, host_argument, inventory_argument
from xenmem.cli.moves import leave_options, plan_options, planned
from xenmem.cli.streams import Output


@command
@inventory_argument
@host_argument
@leave_options
@plan_options("dynamic_min")
def evacuate(
    inventory: str,
    host: str,
    may_stop: tuple[str, ...],
    may_suspend: tuple[str, ...],
    ignore: tuple[str, ...],
    **options: Any,
) -> Output:
    """The migrations that empty a host, each of which fits at its moment, and what the pool itself would do.

    Other VMs move only where nothing else makes room. Where some cannot move, the plan is that of the others. What may
    be stopped is where it cannot move, and where room lacks the least memory that does. HOST is a name, a hostname, a
    uuid or a reference.
    """
    return planned(
        lambda fleet, **question: answers.evacuate(fleet, find_host(fleet, host), **question),
        [inventory],
        emptied=host,
        leave=(may_stop, may_suspend, ignore),
        **options,
    )
