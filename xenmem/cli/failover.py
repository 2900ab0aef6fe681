"""The command `failover`."""

from collections.abc import Iterator
from typing import Any

import click

from xenmem import answers
from xenmem.answers.failover import TIME_LIMIT, OwnPlanner, PoolSurvival, PoolVerdict, Remedies, Survival, VMToRun
from xenmem.cli.arguments import (
    cluster_option,
    command,
    emit_option,
    emitted,
    format_option,
    inventories_argument,
    lenient_option,
    policy_option,
    read_fleet,
    restart_option,
    spread,
    time_limit_option,
    to_option,
)
from xenmem.cli.layout import Column
from xenmem.cli.page import Page, head, name_of, not_checked
from xenmem.cli.show import show
from xenmem.cli.streams import Output, Search
from xenmem.planning import Progress
from xenmem.text import counted
from xenmem.units import format_size


@command
@inventories_argument
@click.option("--failures", metavar="N", type=click.IntRange(min=0), help="Hosts that fail; else: how many may.")
@click.option("--one-by-one", is_flag=True, help="One after another, with restarts in between, instead of together.")
@click.option("--remedy", is_flag=True, help="Also what would make the pool survive so many failures.")
@restart_option
@policy_option("static_max")
@to_option
@time_limit_option
@emit_option
@cluster_option
@lenient_option
@format_option("table", "json", "csv")
def failover(
    inventories: tuple[str, ...],
    failures: int | None,
    one_by_one: bool,
    remedy: bool,
    restart: str | None,
    policy: str,
    time_limit: float | None,
    writer: str | None,
    cluster: str | None,
    lenient: bool,
    form: str,
) -> Output:
    """Whether all VMs run again after any hosts of a pool have failed, exactly, and what the pool itself would say.

    Without --failures the answer is how many may fail. --remedy says which memory to add, and which VMs to unprotect or
    to shrink; --emit writes the unprotecting as a script.
    """
    context = click.get_current_context()
    if remedy and failures is None:
        raise click.UsageError("--remedy is for a number of --failures", context)
    if remedy and one_by_one:
        raise click.UsageError("--remedy and --one-by-one exclude each other", context)
    if writer is not None and not remedy:
        raise click.UsageError("--emit writes what --remedy finds", context)

    def describe(progress: Progress) -> str:
        if failures is None:
            return f"survives {max(progress.value, 0)} failures, {progress.bound} not excluded"
        return f"{progress.value} of {progress.bound} decided"

    keywords: dict[str, Any] = {
        "num_failures": failures,
        "one_by_one": one_by_one,
        "restart": restart,
        "policy": policy,
        "remedies": remedy,
        "time_limit": TIME_LIMIT if time_limit is None else time_limit,
    }
    fleet = None if cluster is not None else read_fleet(inventories, lenient)
    with Search(describe) as search:
        if fleet is None:
            result = spread(inventories, cluster or "", "failover", **keywords)
        else:
            result = answers.failover(fleet, **keywords, progress=search, interrupted=lambda: search.interrupted)
    if writer is not None:
        heading = f"HA protects these VMs no more, so that the pool survives {counted(failures or 0, 'host failure')}."
        return search.answer(emitted(writer, [heading], answers.unprotecting(result)))
    verdicts = ((pool.pool, [pool.verdict]) for pool in result.pools)
    return search.answer(show(result, form, _table, PoolVerdict, verdicts))


def _table(page: Page, result: Survival) -> None:
    """What each pool survives."""
    for number, pool in enumerate(result.pools):
        if number:
            page.line()
        head(page, pool.pool)
        _survival_of(page, pool, result)
    page.line()
    page.line(f"Memory counts as {result.policy}. {not_checked(result)}")


def _survival_of(page: Page, pool: PoolSurvival, result: Survival) -> None:
    verdict = pool.verdict
    kind = "HA protects" if verdict.counted == "protected" else "run now"
    page.line(
        f"{counted(len(pool.hosts), 'host')}; to run again: {counted(verdict.vms, 'VM')} that {kind}, "
        f"{format_size(verdict.memory)} to start."
    )
    page.line()
    page.table(
        (
            Column("host", "name"),
            Column("VMs\nto run\nagain", "number"),
            Column("memory\nto start\nthem"),
            Column("free"),
            Column("fails", "text"),
        ),
        [(name_of(host), host.vms, host.memory, host.free, "yes" if host.fails else "") for host in pool.hosts],
        noun="host",
        styles=["red" if host.free < 0 else "" for host in pool.hosts],
    )
    page.line()
    if verdict.at_least is not None and verdict.at_most is not None:
        page.line(_limits(verdict.at_least, verdict.at_most), style="bold")
    page.line(f"{verdict.reason}.", style="bold" if verdict.at_least is None else "")
    page.line(_own(verdict.own, verdict.num_failures))
    if verdict.one_by_one and verdict.failed_hosts:
        page.bullets("Hosts, in the order in which they fail", map(name_of, verdict.failed_hosts))
    page.bullets("VMs that then stay down", map(_vm, verdict.stays_down), style="yellow")
    page.bullets("VMs that run nowhere, and are to be started as well", map(_vm, pool.waiting))
    page.bullets("Hosts that are left out: not enabled and live", map(name_of, verdict.left_out), style="yellow")
    page.bullets(
        "Hosts that are overcommitted now, and take no VM", map(name_of, verdict.overcommitted), style="yellow"
    )
    if pool.remedies is not None:
        page.bullets(f"What would make it survive {_failures(verdict)}", _alternatives(_remedies(pool.remedies)))
        undecided = (name.replace("_", " ") for name in pool.remedies.undecided)
        page.bullets("Not decided in time", undecided, style="yellow")


def _failures(verdict: PoolVerdict) -> str:
    return counted(verdict.num_failures, "host failure")


def _limits(at_least: int, at_most: int) -> str:
    if at_most < 0:
        return "Not all of them can run even now."
    if at_least < at_most:
        return f"At most {counted(at_most, 'host')} may fail; that {max(at_least, 0)} may is {_proof(at_least)}."
    return f"{counted(at_least, 'host')} may fail, and no more." if at_least else "No host may fail."


def _proof(at_least: int) -> str:
    return "proved" if at_least >= 0 else "not proved either"


def _own(own: OwnPlanner, num_failures: int) -> str:
    outcome = {
        "plan_exists_for_all_vms": "has a plan",
        "plan_exists_excluding_non_agile_vms": "has a plan, but not for VMs that can run on some hosts only",
        "no_plan_exists": "has no plan",
    }[own.outcome]
    most = f"computes {own.max_failures} as the largest number to tolerate"
    return f"The pool's own planner {outcome} for {counted(num_failures, 'failure')}, and {most}."


def _vm(vm: VMToRun) -> str:
    where = f", now on {name_of(vm.host)}" if vm.host is not None else ""
    return f"{name_of(vm)}: {format_size(vm.memory)}{where}"


def _alternatives(lines: Iterator[str]) -> Iterator[str]:
    """All but the first begin with "or"; what is indented belongs to the one before."""
    for number, line in enumerate(lines):
        yield line if not number or line.startswith(" ") else f"or {line}"


def _remedies(remedies: Remedies) -> Iterator[str]:
    if remedies.memory == []:
        yield "nothing: it does"
        return
    if remedies.memory is not None:
        total = sum(host.memory for host in remedies.memory)
        bound = remedies.memory_bound
        least = "the least" if total == bound else f"at least {format_size(bound)} is needed"
        places = ", ".join(f"{format_size(host.memory)} in {name_of(host)}" for host in remedies.memory)
        yield f"{format_size(total)} more memory ({least}): {places}"
    if remedies.memory_each_host is not None:
        yield f"{format_size(remedies.memory_each_host)} more in every host"
    if remedies.host is not None and remedies.memory_one_host is not None:
        yield f"{format_size(remedies.memory_one_host)} more in {name_of(remedies.host)} alone"
    if remedies.memory_new_host is not None:
        yield f"one more host with {format_size(remedies.memory_new_host)} for VMs"
    if remedies.unprotect:
        fewest = "the fewest" if remedies.unprotect_is_least else "fewer are not excluded"
        yield f"no protection for {counted(len(remedies.unprotect), 'VM')} ({fewest}):"
        yield from (f"  {_vm(vm)}" for vm in remedies.unprotect)
    if remedies.shrink:
        yield f"less memory_static_max for {counted(len(remedies.shrink), 'VM')}:"
        yield from (
            f"  {name_of(vm)}: {format_size(vm.memory_static_max)} to {format_size(vm.to)}" for vm in remedies.shrink
        )
