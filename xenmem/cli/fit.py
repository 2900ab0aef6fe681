"""The command `fit`."""

from collections.abc import Iterator

import click

from xenmem import answers
from xenmem.answers.fit import Fit, FitThere
from xenmem.answers.naming import START_POLICY
from xenmem.cli.arguments import (
    COUNT,
    again,
    command,
    domain_type_option,
    format_option,
    inventories_argument,
    lenient_option,
    model_option,
    policy_option,
    read_fleet,
    shadow_multiplier_option,
    size,
    to_option,
)
from xenmem.cli.layout import Column
from xenmem.cli.page import Page, are_many, head, name_of
from xenmem.cli.show import show
from xenmem.cli.streams import Output
from xenmem.kernel import DomainType
from xenmem.units import format_size


@command
@inventories_argument
@click.option("--memory", metavar="SIZE", callback=size, required=True, help="Memory of each VM.")
@click.option("--vcpus", metavar="N", type=COUNT, required=True, help="VCPUs_max of each VM.")
@domain_type_option
@shadow_multiplier_option
@click.option("--vcpu-unrestricted", is_flag=True, help="Also on hosts of fewer CPUs, by platform:vcpu-unrestricted.")
@click.option("--count", metavar="N", type=COUNT, help="How many are wanted: show where they go.")
@policy_option(START_POLICY)
@model_option
@to_option
@lenient_option
@format_option("table", "json", "csv")
def fit(
    inventories: tuple[str, ...],
    memory: int,
    vcpus: int,
    domain_type: DomainType,
    shadow_multiplier: float,
    vcpu_unrestricted: bool,
    count: int | None,
    policy: str,
    model: str | None,
    lenient: bool,
    form: str,
) -> Output:
    """How many more VMs of a size fit on each enabled, live host.

    With --count, each VM in turn goes to the host with most free memory, which levels free memory as xapi does.
    """
    result = answers.fit(
        read_fleet(inventories, lenient),
        memory,
        vcpus,
        domain_type=domain_type,
        shadow_multiplier=shadow_multiplier,
        vcpu_unrestricted=vcpu_unrestricted,
        count=count,
        policy=policy,
        model=model,
    )
    return show(result, form, _table, FitThere, ((pool.pool, pool.hosts) for pool in result.pools))


def _table(page: Page, result: Fit) -> None:
    """How many more VMs fit, pool by pool."""
    if are_many(result.pools):
        page.table(
            (Column("pool", "name"), Column("hosts", "number"), Column("free"), Column("more fit", "number")),
            [
                (name_of(pool.pool), len(pool.hosts), sum(host.free for host in pool.hosts), pool.count)
                for pool in sorted(result.pools, key=lambda pool: -pool.count)
            ],
            noun="pool",
        )
    for pool in [] if are_many(result.pools) else result.pools:
        head(page, pool.pool)
        page.line(
            f"Each needs {format_size(pool.required)} to start and takes {format_size(pool.used)}, model {pool.model}."
        )
        page.line()
        placed = [Column("placed", "number")] if result.wanted is not None else []
        but = [Column("but", "text")] if any(host.reasons for host in pool.hosts) else []
        page.table(
            (
                Column("host", "name"),
                Column("free"),
                Column("more fit", "number"),
                *placed,
                Column("free\nafter", rank=1),
                *but,
            ),
            [
                (
                    name_of(host),
                    host.free,
                    host.count,
                    *(host.placed for _ in placed),
                    host.free_after,
                    *("; ".join(host.reasons) for _ in but),
                )
                for host in pool.hosts
            ],
            last=(
                "in all",
                "",
                pool.count,
                *(sum(host.placed or 0 for host in pool.hosts) for _ in placed),
                "",
                *("" for _ in but),
            ),
            noun="host",
        )
        page.line()
    if result.wanted is not None:
        page.line("Each VM goes to the host with most free memory, as xapi levels it.")
    page.bullets("But", result.caveats, style="yellow")
    page.next(_next(result))


def _next(result: Fit) -> Iterator[tuple[str, str]]:
    if are_many(result.pools):
        yield "Every pool, host by host", again("--all")
    if result.count:
        shape = ("--memory", format_size(result.memory), "--vcpus", str(result.VCPUs_max))
        yield "And while any one host may fail", again(*shape, "--failures", "1", command="capacity")
    elif any(sum(host.free for host in pool.hosts) >= pool.required for pool in result.pools):
        yield "There is room on several hosts together; to bring it together", again(command="consolidate")
