"""The commands about moving: where VMs go, and the migrations that lead there; each asks xenmem.answers one question.

Four of them share their options, and how their answer is shown.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from xenmem.cli.arguments import (
    Command,
    Decorator,
    bandwidth_option,
    command,
    emit_option,
    emitted,
    format_option,
    host_argument,
    inventories_argument,
    inventory_argument,
    lenient_option,
    policy_option,
    read_fleet,
    reported,
    seed_option,
    size,
    time_limit_option,
    vm_argument,
)
from xenmem.cli.streams import Search
from xenmem.units import format_size

if TYPE_CHECKING:
    from xenmem.answers.move_plan import MovePlan
    from xenmem.fleet import Fleet
    from xenmem.planning import Progress

hosts_option: Decorator = click.option("--hosts", "host_rows", is_flag=True, help="With csv: hosts instead of moves.")


def plan_options(policy: str) -> Decorator:
    """What must hold of a plan, how it is found and how it is shown."""
    options = (
        click.option("--host", "host_names", metavar="HOST", multiple=True, help="A host that may take VMs; repeat."),
        click.option("--pin", metavar="VM=HOST", multiple=True, help="A VM that may be on this host only; repeat."),
        click.option("--together", metavar="VM,VM", multiple=True, help="VMs that share a host; repeat."),
        click.option("--apart", metavar="VM,VM", multiple=True, help="VMs of which no two share a host; repeat."),
        click.option(
            "--headroom", metavar="SIZE", callback=size, default="0", show_default=True, help="Keep free on each host."
        ),
        click.option("--no-vm-groups", is_flag=True, help="Let VMs share a host although a VM group keeps them apart."),
        policy_option(policy),
        bandwidth_option,
        time_limit_option,
        seed_option,
        emit_option,
        hosts_option,
        lenient_option,
        format_option("table", "json", "csv"),
    )

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _rows(find: "Callable[[Fleet, str], int]", fleet: "Fleet", names: Sequence[str]) -> list[int]:
    return list(dict.fromkeys(find(fleet, name) for name in names))


def _constraints(
    fleet: "Fleet",
    host_names: Sequence[str],
    pin: Sequence[str],
    together: Sequence[str],
    apart: Sequence[str],
    headroom: int,
    no_vm_groups: bool,
) -> dict[str, Any]:
    """The options as arguments of the question, with rows for names."""
    from xenmem.answers.naming import QuestionError, find_host, find_vm

    pinned: dict[int, int] = {}
    for text in pin:
        vm, equals, host = text.rpartition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} is not VM=HOST", click.get_current_context(), param_hint="'--pin'")
        row = find_vm(fleet, vm)
        if row in pinned:
            raise QuestionError(f"--pin {text}: the VM is pinned twice")
        pinned[row] = find_host(fleet, host)

    def groups(option: str, texts: Sequence[str]) -> list[list[int]]:
        found = [_rows(find_vm, fleet, text.split(",")) for text in texts]
        for text, rows in zip(texts, found, strict=True):
            if len(rows) < 2:
                raise click.BadParameter(
                    f"{text!r} is not several VMs", click.get_current_context(), param_hint=f"'{option}'"
                )
        return found

    return {
        "hosts": _rows(find_host, fleet, host_names) or None,
        "pinned": pinned,
        "same_host": groups("--together", together),
        "anti_affinity": groups("--apart", apart),
        "headroom": headroom,
        "vm_groups": not no_vm_groups,
    }


def _described(in_bytes: bool) -> "Callable[[Progress], str]":
    def text(progress: "Progress") -> str:
        shown = format_size if in_bytes else str
        value, bound = shown(progress.value), shown(progress.bound)
        return f"{progress.seconds:.0f} s, {value} found, {bound} not excluded, gap {progress.gap:.1%}"

    return text


def _described_update(progress: "Progress") -> str:
    least = format_size(progress.bound)
    found = f"{format_size(progress.value)} to copy, gap {progress.gap:.1%}" if progress.value else "no plan yet"
    return f"{progress.seconds:.0f} s, {found}, at least {least}"


def _shown(result: "MovePlan", form: str, writer: str | None, host_rows: bool) -> bytes:
    from xenmem.answers.move_plan import HostChange, Move, actions, heading
    from xenmem.cli import values

    if writer is not None:
        with reported():
            return emitted(writer, heading(result), actions(result))
    if form == "json":
        return values.to_json(result)
    if form == "csv" and host_rows:
        return values.to_csv(HostChange, ((pool.pool, pool.hosts) for pool in result.pools))
    if form == "csv":
        return values.to_csv(Move, ((pool.pool, pool.moves) for pool in result.pools))
    from xenmem.cli import plan_tables

    return plan_tables.moves(result)


def _answer(
    ask: "Callable[..., MovePlan]",
    inventories: Sequence[str],
    *,
    policy: str,
    bandwidth: int,
    time_limit: float | None,
    seed: int,
    writer: str | None,
    host_rows: bool,
    lenient: bool,
    form: str,
    in_bytes: bool = False,
    **constraints: Any,
) -> bytes:
    """The answer to one of the questions that share `plan_options`.

    Parameters
    ----------
    ask : the question, of a fleet and the keywords of planning
    in_bytes : whether the value of the objective is an amount
    """
    fleet = read_fleet(inventories, lenient)
    with reported(ValueError), Search(_described(in_bytes)) as search:
        result = ask(
            fleet,
            policy=policy,
            bandwidth=bandwidth,
            time_limit=time_limit,
            seed=seed,
            progress=search,
            **_constraints(fleet, **constraints),
        )
    return search.answer(_shown(result, form, writer, host_rows))


@command("Where a VM would start, by the pool's choice and by room.")
@inventory_argument
@vm_argument
@click.option("--host", metavar="HOST", help="The host for --emit, instead of the one that leaves the most room.")
@policy_option("dynamic_min")
@emit_option
@lenient_option
@format_option("table", "json", "csv")
def place(
    inventory: str, vm: str, host: str | None, policy: str, writer: str | None, lenient: bool, form: str
) -> bytes:
    """On which hosts a VM could start now, which of them the pool would take, and which leaves the most room.

    The pool draws from a category of hosts, by chance but preferring the best. VM is a name, a uuid or a reference.
    """
    fleet = read_fleet([inventory], lenient)
    from xenmem import answers
    from xenmem.answers.naming import find_host, find_vm
    from xenmem.answers.place import PossibleHost, actions, heading
    from xenmem.cli import values

    with reported():
        row = None if host is None else find_host(fleet, host)
        result = answers.place(fleet, find_vm(fleet, vm), host=row, policy=policy)
        if writer is not None:
            return emitted(writer, heading(result), actions(result))
    if form == "json":
        return values.to_json(result)
    if form == "csv":
        return values.to_csv(PossibleHost, [(result.pool, result.hosts)])
    from xenmem.cli import plan_tables

    return plan_tables.placement(result)


@command("A place for every VM, by an objective.")
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
) -> bytes:
    """A host for each VM, halted ones included, and the migrations and starts that lead there.

    Objectives: all VMs have a place, the fewest hosts run guests, the fullest host has the most free, or the fewest VMs
    move. No VM leaves its pool. Where not all fit, as many as possible do, and the answer says what is in the way.
    """
    if vm_names and running:
        raise click.UsageError("--vm and --running exclude each other", click.get_current_context())

    def ask(fleet: "Fleet", **question: Any) -> "MovePlan":
        from xenmem import answers
        from xenmem.answers.naming import find_vm

        return answers.pack(
            fleet, _rows(find_vm, fleet, vm_names) or None, objective=objective, running=running, **question
        )

    return _answer(ask, inventories, in_bytes=objective == "even", **options)


@command("How to empty a host.")
@inventory_argument
@host_argument
@plan_options("dynamic_min")
def evacuate(inventory: str, host: str, **options: Any) -> bytes:
    """The migrations that empty a host, each of which fits at its moment, and what the pool itself would do.

    Other VMs move only where nothing else makes room. HOST is a name, a hostname, a uuid or a reference.
    """

    def ask(fleet: "Fleet", **question: Any) -> "MovePlan":
        from xenmem import answers
        from xenmem.answers.naming import find_host

        return answers.evacuate(fleet, find_host(fleet, host), **question)

    return _answer(ask, [inventory], **options)


@command("Which hosts can be emptied.")
@inventories_argument
@plan_options("dynamic_min")
def consolidate(inventories: tuple[str, ...], **options: Any) -> bytes:
    """The migrations after which the most hosts run no guest: few of them, and small ones."""

    def ask(fleet: "Fleet", **question: Any) -> "MovePlan":
        from xenmem import answers

        return answers.consolidate(fleet, **question)

    return _answer(ask, inventories, **options)


@command("The best balance for a number of migrations.")
@inventories_argument
@click.option(
    "--migrations",
    metavar="K",
    type=click.IntRange(min=0),
    required=True,
    help="How many VMs of a pool may move; temporary moves come on top.",
)
@plan_options("dynamic_min")
def rebalance(inventories: tuple[str, ...], migrations: int, **options: Any) -> bytes:
    """The migrations, at most so many, after which the fullest host has the most memory free."""

    def ask(fleet: "Fleet", **question: Any) -> "MovePlan":
        from xenmem import answers

        return answers.rebalance(fleet, migrations, **question)

    return _answer(ask, inventories, in_bytes=True, **options)


@command("A rolling pool update, planned before it starts.", "rolling-update")
@inventory_argument
@click.option("--order", metavar="HOST,HOST...", multiple=True, help="Restart all hosts in this order.")
@click.option(
    "--to",
    metavar="MODEL",
    help="The model, xapi version or product (xcp-ng-9) of hosts after their restart; by default the newest model.",
)
@bandwidth_option
@time_limit_option
@emit_option
@hosts_option
@lenient_option
@format_option("table", "json", "csv")
def rolling_update(
    inventory: str,
    order: tuple[str, ...],
    to: str | None,
    bandwidth: int,
    time_limit: float | None,
    writer: str | None,
    host_rows: bool,
    lenient: bool,
    form: str,
) -> bytes:
    """When each host restarts, where its VMs wait meanwhile, and when each comes home.

    Every migration fits at its moment, each host counting by the model of the version that it runs then.
    """
    fleet = read_fleet([inventory], lenient)
    from xenmem import answers, kernel
    from xenmem.answers.naming import find_host
    from xenmem.answers.rolling_update import RestartedHost, UpdateStep, actions, heading
    from xenmem.cli import values
    from xenmem.planning.updating.rolling_update import DEFAULT_TIME_LIMIT

    with reported(ValueError), Search(_described_update) as search:
        result = answers.rolling_update(
            fleet,
            [find_host(fleet, name) for text in order for name in text.split(",")] or None,
            to=kernel.DEFAULT_MODEL if to is None else to,
            bandwidth=bandwidth,
            time_limit=time_limit or DEFAULT_TIME_LIMIT,
            progress=search,
        )
    if writer is not None:
        with reported():
            return search.answer(emitted(writer, heading(result), actions(result)))
    if form == "json":
        return search.answer(values.to_json(result))
    if form == "csv":
        rows = result.hosts if host_rows else result.steps
        return search.answer(values.to_csv(RestartedHost if host_rows else UpdateStep, [(result.pool, rows)]))
    from xenmem.cli import plan_tables

    return search.answer(plan_tables.rolling(result))
