"""The command `capacity`."""

from typing import Any

import click

from xenmem import answers
from xenmem.answers.capacity import TIME_LIMIT, CapacityReport, HostCapacity, PoolCapacity, ShapeCount, Wanted
from xenmem.cli.arguments import (
    COUNT,
    again,
    cluster_option,
    command,
    domain_type_option,
    format_option,
    inventories_argument,
    lenient_option,
    policy_option,
    read_fleet,
    restart_option,
    shadow_multiplier_option,
    size,
    spread,
    time_limit_option,
    to_option,
)
from xenmem.cli.layout import Column
from xenmem.cli.page import Page, are_many, head, name_of, not_checked
from xenmem.cli.show import show
from xenmem.cli.streams import Output, Search
from xenmem.kernel import DomainType
from xenmem.planning import Progress
from xenmem.text import counted
from xenmem.units import format_size


def shapes_of(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> list[Wanted]:
    """MEMORY:VCPUS or MEMORY:VCPUS:PROPORTION."""
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


@command
@inventories_argument
@click.option("--memory", metavar="SIZE", callback=size, help="Memory of each new VM.")
@click.option("--vcpus", metavar="N", type=COUNT, help="VCPUs_max of each new VM.")
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
@domain_type_option
@shadow_multiplier_option
@restart_option
@policy_option(None, "static_max with --failures, else dynamic_min")
@to_option
@time_limit_option
@cluster_option
@lenient_option
@format_option("table", "json", "csv")
def capacity(
    inventories: tuple[str, ...],
    memory: int | None,
    vcpus: int | None,
    shapes: list[Wanted],
    failures: int,
    domain_type: DomainType,
    shadow_multiplier: float,
    restart: str | None,
    policy: str | None,
    time_limit: float | None,
    cluster: str | None,
    lenient: bool,
    form: str,
) -> Output:
    """How many more VMs of a shape, or of a mix, each pool takes such that any so many hosts may still fail.

    The new VMs must run again after failures, too. Without failures it is how many fit.
    """
    context = click.get_current_context()
    if shapes and (memory is not None or vcpus is not None):
        raise click.UsageError("--shape and --memory with --vcpus exclude each other", context)
    if not shapes:
        if memory is None or vcpus is None:
            raise click.UsageError(f"Missing option '{'--memory' if memory is None else '--vcpus'}'", context)
        shapes = [Wanted(memory, vcpus)]
    keywords: dict[str, Any] = {
        "shapes": shapes,
        "num_failures": failures,
        "domain_type": domain_type,
        "shadow_multiplier": shadow_multiplier,
        "restart": restart,
        "policy": policy,
        "time_limit": TIME_LIMIT if time_limit is None else time_limit,
    }
    fleet = None if cluster is not None else read_fleet(inventories, lenient)
    with Search(_described) as search:
        if fleet is None:
            result = spread(inventories, cluster or "", "capacity", **keywords)
        else:
            result = answers.capacity(fleet, **keywords, progress=search, interrupted=lambda: search.interrupted)
    return search.answer(show(result, form, _table, HostCapacity, ((pool.pool, pool.hosts) for pool in result.pools)))


def _described(progress: Progress) -> str:
    return f"{progress.value} VMs have room, {progress.bound} not excluded"


def _table(page: Page, result: CapacityReport) -> None:
    """Where they fit, pool by pool."""
    if are_many(result.pools):
        page.table(
            (Column("pool", "name"), Column("hosts", "number"), Column("new", "number"), Column("because", "text")),
            [
                (name_of(pool.pool), len(pool.hosts), pool.count, pool.reason)
                for pool in sorted(result.pools, key=lambda pool: -pool.count)
            ],
            noun="pool",
        )
        page.next([("Every pool, host by host", again("--all"))])
        page.line()
    for pool in [] if are_many(result.pools) else result.pools:
        head(page, pool.pool)
        _room_of(page, pool, result)
        page.line()
    page.line(not_checked(result))


def _room_of(page: Page, pool: PoolCapacity, result: CapacityReport) -> None:
    many = len(pool.shapes) > 1
    but = [Column("but", "text")] if any(host.reasons for host in pool.hosts) else []
    page.table(
        (
            Column("host", "name"),
            Column("free"),
            Column("new", "number"),
            *(Column(f"of\n{_shape(shape)}", "number") for shape in pool.shapes if many),
            Column("free\nafter", rank=1),
            *but,
        ),
        [
            (
                name_of(host),
                host.free,
                host.count,
                *(host.counts if many else ()),
                host.free_after,
                *("; ".join(host.reasons) for _ in but),
            )
            for host in pool.hosts
        ],
        last=(
            "in all",
            "",
            pool.count,
            *(shape.count for shape in pool.shapes if many),
            "",
            *("" for _ in but),
        ),
        noun="host",
    )
    page.line()
    for shape in pool.shapes:
        share = f"; {shape.proportion} of {sum(s.proportion for s in pool.shapes)} VMs" if many else ""
        page.line(f"{_shape(shape)}: each needs {format_size(shape.required)}, model {pool.model}{share}.")
    page.line(f"{_room_text(pool)}: {pool.reason}.")
    if but and (many or result.num_failures):
        page.line("Only memory decides here: VMs are counted on hosts with too few CPUs for them, too.")


def _room_text(pool: PoolCapacity) -> str:
    if pool.now == "loses":
        return "Even without them hosts may not fail"
    if pool.status == "optimal":
        return f"{counted(pool.count, 'VM')}, which is the most"
    return f"{counted(pool.count, 'VM')}, {pool.bound} are not excluded"


def _shape(shape: ShapeCount) -> str:
    return f"{format_size(shape.memory)}, {counted(shape.VCPUs_max, 'vCPU')}"
