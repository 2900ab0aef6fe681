"""The command `fit`."""

import click

from xenmem import answers
from xenmem.answers.fit import Fit, FitThere
from xenmem.cli.arguments import (
    command,
    domain_type_option,
    format_option,
    inventories_argument,
    lenient_option,
    model_option,
    read_fleet,
    shadow_multiplier_option,
    size,
)
from xenmem.cli.page import Page, head, name_of
from xenmem.cli.show import show
from xenmem.cli.streams import Output
from xenmem.kernel import DomainType
from xenmem.text import counted
from xenmem.units import format_size


@command
@inventories_argument
@click.option("--memory", metavar="SIZE", callback=size, required=True, help="Memory of each VM.")
@click.option("--vcpus", metavar="N", type=click.IntRange(min=1), required=True, help="VCPUs_max of each VM.")
@domain_type_option
@shadow_multiplier_option
@click.option("--vcpu-unrestricted", is_flag=True, help="Also on hosts of fewer CPUs, by platform:vcpu-unrestricted.")
@click.option("--count", metavar="N", type=click.IntRange(min=1), help="How many are wanted: show where they go.")
@model_option
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
        model=model,
    )
    return show(result, form, _table, FitThere, ((pool.pool, pool.hosts) for pool in result.pools))


def _table(page: Page, result: Fit) -> None:
    """How many more VMs fit, pool by pool."""
    for pool in result.pools:
        head(page, pool.pool)
        page.line(
            f"Each needs {format_size(pool.required)} to start and takes {format_size(pool.used)}, model {pool.model}."
        )
        page.line()
        placed = ["placed"] if result.wanted is not None else []
        but = ["<but"] if any(host.reasons for host in pool.hosts) else []
        page.table(
            ("host", "free", "more fit", *placed, "free after", *but),
            (
                (
                    name_of(host),
                    format_size(host.free),
                    str(host.count),
                    *(str(host.placed) for _ in placed),
                    format_size(host.free_after),
                    *("; ".join(host.reasons) for _ in but),
                )
                for host in pool.hosts
            ),
            last=(
                "in all",
                "",
                str(pool.count),
                *(str(sum(host.placed or 0 for host in pool.hosts)) for _ in placed),
                "",
                *("" for _ in but),
            ),
        )
        page.line()
    size = f"{result.domain_type} VMs of {format_size(result.memory)} and {counted(result.VCPUs_max, 'vCPU')}"
    if result.wanted is None:
        page.line(f"{result.count} more {size} fit.")
    else:
        verdict = "all fit" if result.fits else f"{result.wanted - (result.placed or 0)} do not fit"
        page.line(
            f"{result.placed} of {result.wanted} {size} placed, on the host with most free memory each time: {verdict}."
        )
