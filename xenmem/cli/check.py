"""The command `check`."""

from typing import Any

import click

from xenmem import answers
from xenmem.answers.check import DEFAULT_TIME_LIMIT, Check, CheckFinding, FailOn, Settings
from xenmem.cli.arguments import (
    again,
    cluster_option,
    command,
    format_option,
    inventories_argument,
    lenient_option,
    positive_size,
    read_fleet,
    seconds,
    spread,
)
from xenmem.cli.layout import Column
from xenmem.cli.page import Page, name_of
from xenmem.cli.show import show
from xenmem.cli.streams import Output
from xenmem.text import counted

_STYLES = {"E": "red", "W": "yellow", "I": ""}


@command
@inventories_argument
@lenient_option
@click.option(
    "--rule", "only", metavar="RULE", multiple=True, help="Only this rule, such as M04, or all of a letter; repeat."
)
@click.option(
    "--use",
    "paths",
    metavar="PATH",
    multiple=True,
    help="What VMs were measured to use, for M08 and M09: as for rightsize. Give it for each.",
)
@click.option("--without", metavar="RULE", multiple=True, help="Not this rule; repeat.")
@click.option(
    "--fail-on",
    type=click.Choice(("E", "W", "I", "never")),
    default="E",
    show_default=True,
    help="The exit status is 1 if there are errors; or also warnings, or remarks; or never.",
)
@click.option(
    "--hvm-limit",
    metavar="SIZE",
    callback=positive_size,
    default="1536GiB",
    show_default=True,
    help="Most memory that the product supports for an HVM guest (M16).",
)
@click.option(
    "--dom0-memory",
    metavar="SIZE",
    callback=positive_size,
    default="4GiB",
    show_default=True,
    help="Least memory of a control domain on hosts between 24 and 128 GiB (H01).",
)
@click.option(
    "--time-limit",
    metavar="SECONDS",
    type=float,
    callback=seconds,
    default=DEFAULT_TIME_LIMIT,
    show_default=True,
    help="Let the planners that some rules ask take so long in all.",
)
@cluster_option
@format_option("table", "json", "csv")
def check(
    inventories: tuple[str, ...],
    lenient: bool,
    only: tuple[str, ...],
    paths: tuple[str, ...],
    without: tuple[str, ...],
    fail_on: FailOn,
    hvm_limit: int,
    dom0_memory: int,
    time_limit: float | None,
    cluster: str | None,
    form: str,
) -> Output:
    """What is amiss in the inventories, will fail or wastes memory: by rule, with consequence and remedy.

    E is an error, W a warning, I information. A tag such as `xenmem:ignore=M04,A02` on a VM, host or pool silences
    rules for it. What the inventory does not tell is not guessed: such a rule is not run, and said not to be.
    """
    from xenmem.inventory.use import read_use

    keywords: dict[str, Any] = {
        "only": only,
        "without": without,
        "settings": Settings(hvm_limit=hvm_limit, dom0_memory=dom0_memory),
        "fail_on": fail_on,
        "time_limit": time_limit,
    }
    if cluster is None:
        use = read_use(paths) if paths else None
        result = answers.check(read_fleet(list(inventories), lenient), use=use, **keywords)
    elif paths:
        raise click.UsageError("--cluster excludes --rrd", click.get_current_context())
    else:
        result = spread(inventories, cluster, "check", **keywords)
    rows = [(part.pool, part.findings) for part in result.pools]
    return show(result, form, _by_object if only else _by_rule, CheckFinding, rows)


def _by_rule(page: Page, result: Check) -> None:
    """A line for each rule that found something, then what follows and what to do, once for each."""
    first: dict[str, CheckFinding] = {}
    for part in result.pools:
        for finding in part.findings:
            first.setdefault(finding.rule, finding)
    broken = sorted((rule for rule in result.rules if rule.findings), key=lambda rule: "EWI".index(rule.severity))
    if broken:
        page.table(
            (
                Column("rule", "text"),
                Column("", "text"),
                Column("what", "text"),
                Column("objects", "number"),
                Column("such as", "name"),
            ),
            [
                (rule.rule, rule.severity, rule.title, rule.findings, name_of(first[rule.rule]) or first[rule.rule].ref)
                for rule in broken
            ],
            noun="rule",
            styles=[_STYLES[rule.severity] for rule in broken],
            every=True,
        )
    for rule in broken:
        if rule.severity != "I":
            _paragraph(page, first[rule.rule])
    _rest(page, result)
    if broken:
        page.next([(f"every object of {broken[0].rule}", again("--rule", broken[0].rule))])


def _paragraph(page: Page, example: CheckFinding) -> None:
    """What a rule says of one object."""
    page.line()
    page.line(f"{example.rule}: {example.title}", "bold")
    page.line(f"  {name_of(example) or example.ref}: {example.text}", indent="    ")
    page.line(f"  consequence: {example.consequence}", indent="    ")
    page.line(f"  remedy: {example.remedy}", indent="    ")


def _by_object(page: Page, result: Check) -> None:
    """Every object of the rules that were asked for."""
    rows = [finding for part in result.pools for finding in part.findings]
    if rows:
        page.table(
            (
                Column("rule", "text"),
                Column("", "text"),
                Column("object", "name"),
                Column("values", "text"),
                Column("remedy", "text", 1),
            ),
            [(row.rule, row.severity, name_of(row) or row.ref, row.text, row.remedy) for row in rows],
            noun="object",
            styles=[_STYLES[row.severity] for row in rows],
        )
    for example in {row.rule: row for row in reversed(rows)}.values():
        _paragraph(page, example)
    _rest(page, result)


def _rest(page: Page, result: Check) -> None:
    ignored = sum(rule.ignored for rule in result.rules)
    if ignored:
        page.line()
        page.line(f"{counted(ignored, 'object')} left out, as their tags say.")
    reasons: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for one in result.not_run:
        reasons.setdefault((one.reason, tuple(one.pools)), []).append(one.rule)
    page.bullets(
        "Not run",
        [
            f"{', '.join(dict.fromkeys(names))}: {reason}" + (f" ({', '.join(pools)})" if pools else "")
            for (reason, pools), names in reasons.items()
        ],
    )
