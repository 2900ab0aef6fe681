"""The command `rightsize`."""

from fractions import Fraction

import click

from xenmem import answers
from xenmem.answers.rightsize import TIME_LIMIT, PoolSizing, Rightsizing, Sizing, Survives
from xenmem.cli.arguments import (
    command,
    format_option,
    inventories_argument,
    lenient_option,
    read_fleet,
    time_limit_option,
)
from xenmem.cli.layout import Column
from xenmem.cli.page import Page, head, name_of
from xenmem.cli.show import show
from xenmem.cli.streams import Output
from xenmem.fleet import POLICIES
from xenmem.history.evidence import Terms
from xenmem.text import counted
from xenmem.units import format_size


def percentile_of(context: click.Context, parameter: click.Parameter, text: str) -> Fraction:
    """A number above 0, up to 100."""
    try:
        found = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise click.BadParameter(f"{text!r} is not a number such as 99 or 99.5") from None
    if not 0 < found <= 100 or len(text) > 20:
        raise click.BadParameter(f"{text!r} is outside 0..100")
    return found


@command
@inventories_argument
@click.option(
    "--use",
    "paths",
    metavar="PATH",
    multiple=True,
    required=True,
    help="What was measured: RRDs, answers of /rrd_updates, a bug report, or a folder of these. Give it for each.",
)
@click.option("--keep", metavar="FILE", help="Write what was read to FILE as Parquet, which --use reads faster.")
@click.option(
    "--percentile",
    metavar="P",
    default="99",
    show_default=True,
    callback=percentile_of,
    help="Of what a VM used, that it is to have.",
)
@click.option(
    "--headroom",
    metavar="PERCENT",
    type=click.IntRange(0, 1000),
    default=25,
    show_default=True,
    help="That it is to have above.",
)
@click.option(
    "--window",
    metavar="DAYS",
    type=click.IntRange(1, 3660),
    default=30,
    show_default=True,
    help="Days that count, back from the last row of a VM.",
)
@click.option("--ranges", is_flag=True, help="Also in which range each VM could balloon.")
@time_limit_option
@lenient_option
@format_option("table", "json", "csv")
def rightsize(
    inventories: tuple[str, ...],
    paths: tuple[str, ...],
    keep: str | None,
    percentile: Fraction,
    headroom: int,
    window: int,
    ranges: bool,
    time_limit: float | None,
    lenient: bool,
    form: str,
) -> Output:
    """Which VMs use far less or more memory than they have, what they need, and what that would do to their hosts.

    Beyond two hours a pool keeps hourly means alone, which hide peaks: collect minutes, or read what is said of it.
    """
    from xenmem.inventory import use

    fleet = read_fleet(list(inventories), lenient)
    uses = use.read_use(paths)
    result = answers.rightsize(
        fleet,
        use.keep(uses, keep) if keep is not None else uses,
        terms=Terms(percentile, headroom, window),
        ranges=ranges,
        time_limit=TIME_LIMIT if time_limit is None else time_limit,
    )
    return show(result, form, _table, Sizing, ((pool.pool, pool.vms) for pool in result.pools))


def _table(page: Page, result: Rightsizing) -> None:
    """The VMs of each pool that something is to be said of."""
    for pool in result.pools:
        head(page, pool.pool)
        shown = [vm for vm in pool.vms if vm.kind in ("over", "under", "idle") or vm.range is not None]
        ranged = any(vm.range is not None for vm in shown)
        if shown:
            page.table(
                (
                    Column("VM", "name"),
                    Column("is", "name"),
                    Column("has"),
                    Column(f"P{result.percentile:g}\nused"),
                    Column("needs"),
                    Column("advised"),
                    Column("its host\ngains", rank=2),
                    *([Column("balloon\nfrom")] if ranged else []),
                    Column("by", "text", 1),
                ),
                [
                    (
                        name_of(vm),
                        vm.kind,
                        vm.memory_static_max,
                        vm.measured.percentile if vm.measured is not None else None,
                        vm.need,
                        "" if vm.recommended is None else vm.recommended,
                        "" if vm.gains is None else vm.gains.static_max,
                        *(["" if vm.range is None else vm.range.dynamic_min] if ranged else []),
                        _evidence(vm),
                    )
                    for vm in shown
                ],
                noun="VM",
            )
        _rest(page, pool)
        page.line()
    page.bullets("But", result.caveats, style="yellow")
    if result.strangers:
        page.line()
        page.line(f"{counted(result.strangers, 'VM')} that were measured are not in the inventory.")


def _evidence(vm: Sizing) -> str:
    found = vm.measured
    if found is None:
        return ""
    what = {"minutes": "minutes", "hourly": "hourly means", "daily": "daily means"}[found.resolution]
    return f"{found.days:.1f} d of {what}{', preliminary' if vm.quality == 'preliminary' else ''}"


def _rest(page: Page, pool: PoolSizing) -> None:
    """What all of it does, and of whom nothing is known."""
    page.line()
    advised = [vm for vm in pool.vms if vm.recommended is not None]
    if advised:
        amounts = ", ".join(f"{format_size(getattr(pool.gains, policy))} by {policy}" for policy in POLICIES)
        page.line(f"All of it: the hosts gain {amounts}.")
        page.line(f"Any one host may fail: {_survives(pool.survives)}; then: {_survives(pool.survives_after)}.")
        if pool.margin is not None and pool.margin_after is not None:
            before, after = format_size(pool.margin), format_size(pool.margin_after)
            page.line(f"What every host could lose until then: {before}; then: {after}.")
    right = pool.kinds["right"]
    if right:
        page.line(f"{counted(right, 'VM')} {'has' if right == 1 else 'have'} the right size.")
    page.bullets(
        "Of these the record does not tell",
        (f"{name_of(vm)}: {'; '.join(vm.caveats)}" for vm in pool.vms if vm.kind == "unknown"),
    )
    page.bullets(
        "These are not to balloon",
        (f"{name_of(vm)}: {'; '.join(vm.not_to_balloon)}" for vm in pool.vms if vm.not_to_balloon),
    )


def _survives(found: Survives) -> str:
    """By policy, in words; one where all are alike."""
    words = {True: "yes", False: "no", None: "not known"}
    answers = {policy: words[getattr(found, policy)] for policy in POLICIES}
    if len(set(answers.values())) == 1:
        return answers["static_max"]
    return ", ".join(f"{answer} by {policy}" for policy, answer in answers.items())
