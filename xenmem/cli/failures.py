"""The commands about survival and room: each asks one question of xenmem.answers, and returns the bytes to print."""

from typing import TYPE_CHECKING, Any

import click

from xenmem.cli.arguments import (
    Decorator,
    command,
    domain_type_of,
    emit_option,
    emitted,
    format_option,
    inventories_argument,
    inventory_argument,
    lenient_option,
    policy_option,
    read_fleet,
    reported,
    size,
    time_limit_option,
    vm_argument,
)
from xenmem.cli.streams import Search

if TYPE_CHECKING:
    from xenmem.answers import Wanted
    from xenmem.kernel import DomainType

vms_option: Decorator = click.option(
    "--vms",
    type=click.Choice(("protected", "running")),
    default="protected",
    show_default=True,
    help="Which VMs must run again: those that HA protects, or all that run now.",
)


def _only_one(writer: str | None, form: str) -> None:
    if writer is not None and form != "table":
        raise click.UsageError("--emit and --format exclude each other", click.get_current_context())


# ------------------------------------------------------------------------------------------------------------ failover


@command("Whether all VMs run again after host failures.")
@inventories_argument
@click.option("--failures", metavar="N", type=click.IntRange(min=0), help="Hosts that fail; else: how many may.")
@click.option("--one-by-one", is_flag=True, help="One after another, with restarts in between, instead of together.")
@click.option("--remedy", is_flag=True, help="Also what would make the pool survive so many failures.")
@vms_option
@policy_option("static_max")
@time_limit_option
@emit_option
@lenient_option
@format_option("table", "json", "csv")
def failover(
    inventories: tuple[str, ...],
    failures: int | None,
    one_by_one: bool,
    remedy: bool,
    vms: str,
    policy: str,
    time_limit: float | None,
    writer: str | None,
    lenient: bool,
    form: str,
) -> bytes:
    """Whether all VMs run again after any hosts of a pool have failed, exactly, and what the pool itself would say.

    Without --failures the answer is how many may fail. --remedy says which memory to add, and which VMs to unprotect or
    to shrink; --emit writes the unprotecting as a script.
    """
    _only_one(writer, form)
    context = click.get_current_context()
    if remedy and failures is None:
        raise click.UsageError("--remedy is for a number of --failures", context)
    if remedy and one_by_one:
        raise click.UsageError("--remedy and --one-by-one exclude each other", context)
    if writer is not None and not remedy:
        raise click.UsageError("--emit writes what --remedy finds", context)
    fleet = read_fleet(inventories, lenient)
    from xenmem import answers
    from xenmem.answers.failover import TIME_LIMIT, Verdict
    from xenmem.answers.naming import counted
    from xenmem.cli import values

    def describe(report: Any) -> str:
        if failures is None:
            return f"survives {max(report.value, 0)} failures, {report.bound} not excluded"
        return f"{report.value} of {report.bound} decided"

    with reported(), Search(describe) as search:
        result = answers.failover(
            fleet,
            failures,
            one_by_one=one_by_one,
            vms=vms,
            policy=policy,
            remedies=remedy,
            time_limit=TIME_LIMIT if time_limit is None else time_limit,
            progress=search,
            interrupted=lambda: search.interrupted,
        )
        actions = None if writer is None else answers.unprotecting(result)
    if writer is not None and actions is not None:
        heading = f"HA protects these VMs no more, so that the pool survives {counted(failures or 0, 'host failure')}."
        return search.answer(emitted(writer, [heading], actions))
    if form == "json":
        return search.answer(values.to_json(result))
    if form == "csv":
        return search.answer(values.to_csv(Verdict, ((pool.pool, [pool.verdict]) for pool in result.pools)))
    from xenmem.cli import failure_tables

    return search.answer(failure_tables.survival(result))


# ------------------------------------------------------------------------------------------------------------ capacity


def shapes_of(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> "list[Wanted]":
    """MEMORY:VCPUS or MEMORY:VCPUS:PROPORTION."""
    from xenmem.answers import Wanted

    found = []
    for text in texts:
        memory, *numbers = text.split(":")
        if not 1 <= len(numbers) <= 2 or not all(number.isascii() and number.isdigit() for number in numbers):
            raise click.BadParameter(f"{text!r} is not MEMORY:VCPUS or MEMORY:VCPUS:PROPORTION, such as 16GiB:4:2")
        amount = size(context, parameter, memory)
        assert amount is not None
        found.append(Wanted(amount, *map(int, numbers)))
        if 0 in (amount, *found[-1][1:]):
            raise click.BadParameter(f"{text!r} makes no VM")
    return found


@command("How many more VMs fit while hosts may still fail.")
@inventories_argument
@click.option("--memory", metavar="SIZE", callback=size, help="Memory of each new VM.")
@click.option("--vcpus", metavar="N", type=click.IntRange(min=1), help="VCPUs_max of each new VM.")
@click.option(
    "--shape",
    "shapes",
    metavar="SHAPE",
    multiple=True,
    callback=shapes_of,
    help="Instead, for a mix: MEMORY:VCPUS:PROPORTION, such as 16GiB:4:2. Give it for each shape.",
)
@click.option(
    "--failures", metavar="N", type=click.IntRange(min=0), default=0, show_default=True, help="Hosts that may fail."
)
@click.option(
    "--domain-type",
    metavar="TYPE",
    callback=domain_type_of,
    default="hvm",
    show_default=True,
    help="hvm, pv, pv_in_pvh or pvh.",
)
@click.option(
    "--shadow-multiplier", metavar="FACTOR", type=float, default=1.0, show_default=True, help="HVM_shadow_multiplier."
)
@vms_option
@policy_option("static_max")
@time_limit_option
@lenient_option
@format_option("table", "json", "csv")
def capacity(
    inventories: tuple[str, ...],
    memory: int | None,
    vcpus: int | None,
    shapes: "list[Wanted]",
    failures: int,
    domain_type: "DomainType",
    shadow_multiplier: float,
    vms: str,
    policy: str,
    time_limit: float | None,
    lenient: bool,
    form: str,
) -> bytes:
    """How many more VMs of a shape, or of a mix, each pool takes such that any so many hosts may still fail.

    The new VMs must run again after failures, too. Without failures it is how many fit.
    """
    context = click.get_current_context()
    if shapes and (memory is not None or vcpus is not None):
        raise click.UsageError("--shape and --memory with --vcpus exclude each other", context)
    if not shapes:
        if memory is None or vcpus is None:
            raise click.UsageError(f"Missing option '{'--memory' if memory is None else '--vcpus'}'", context)
        from xenmem.answers import Wanted

        shapes = [Wanted(memory, vcpus)]
    fleet = read_fleet(inventories, lenient)
    from xenmem import answers
    from xenmem.answers.capacity import TIME_LIMIT, RoomThere
    from xenmem.cli import values

    def describe(report: Any) -> str:
        return f"{report.value} VMs have room, {report.bound} not excluded"

    with reported(ValueError), Search(describe) as search:
        result = answers.room_for(
            fleet,
            shapes,
            failures,
            domain_type=domain_type,
            shadow_multiplier=shadow_multiplier,
            vms=vms,
            policy=policy,
            time_limit=TIME_LIMIT if time_limit is None else time_limit,
            progress=search,
            interrupted=lambda: search.interrupted,
        )
    if form == "json":
        return search.answer(values.to_json(result))
    if form == "csv":
        return search.answer(values.to_csv(RoomThere, ((pool.pool, pool.hosts) for pool in result.pools)))
    from xenmem.cli import failure_tables

    return search.answer(failure_tables.room(result))


# ------------------------------------------------------------------------------------------------------------- balloon


@command("Where other VMs are squeezed to when one starts.")
@inventory_argument
@vm_argument
@click.option("--host", metavar="HOST", help="Start it there; else where the pool ranks first for a start now.")
@emit_option
@lenient_option
@format_option("table", "json", "csv")
def balloon(inventory: str, vm: str, host: str | None, writer: str | None, lenient: bool, form: str) -> bytes:
    """The targets of the VMs on a host once another one starts there: as the pool sets them, and fair ones.

    VM is a name, a uuid or a reference. --emit writes a script that starts it with the fair targets.
    """
    _only_one(writer, form)
    fleet = read_fleet([inventory], lenient)
    from xenmem import answers
    from xenmem.answers.balloon import SqueezedVM
    from xenmem.answers.naming import find_host, find_vm, label
    from xenmem.cli import values

    with reported():
        result = answers.balloon(fleet, find_vm(fleet, vm), None if host is None else find_host(fleet, host))
        actions = None if writer is None else answers.with_fair_targets(result)
    if writer is not None and actions is not None:
        return emitted(writer, [f"Start VM {label(result)} on {label(result.host)} with fair targets."], actions)
    if form == "json":
        return values.to_json(result)
    if form == "csv":
        return values.to_csv(SqueezedVM, [(result.pool, [*result.vms, result.newcomer])])
    from xenmem.cli import failure_tables

    return failure_tables.squeeze(result)
