"""What pack, evacuate, consolidate and rebalance share: options, and how a plan is asked for and shown."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from xenmem.answers.moves import HostChange, MovePlan, PlannedMove, PoolMoves, actions, heading
from xenmem.answers.naming import QuestionError, find_host, find_vm
from xenmem.answers.script import shutdown
from xenmem.cli.arguments import (
    Command,
    Decorator,
    bandwidth_option,
    emit_option,
    emitted,
    format_option,
    hosts_option,
    lenient_option,
    policy_option,
    read_fleet,
    seed_option,
    size,
    time_limit_option,
)
from xenmem.cli.page import EARLY, Page, amount, duration, head, name_of, not_checked
from xenmem.cli.show import show
from xenmem.cli.streams import Output, Search
from xenmem.fleet import Fleet
from xenmem.planning import Progress
from xenmem.text import counted
from xenmem.units import format_size


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


def rows(find: Callable[[Fleet, str], int], fleet: Fleet, names: Sequence[str]) -> list[int]:
    """The rows of these names, each once."""
    return list(dict.fromkeys(find(fleet, name) for name in names))


def _constraints(
    fleet: Fleet,
    host_names: Sequence[str],
    pin: Sequence[str],
    together: Sequence[str],
    apart: Sequence[str],
    headroom: int,
    no_vm_groups: bool,
) -> dict[str, Any]:
    """The options as arguments of the question, with rows for names."""
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
        found = [rows(find_vm, fleet, text.split(",")) for text in texts]
        for text, group in zip(texts, found, strict=True):
            if len(group) < 2:
                raise click.BadParameter(
                    f"{text!r} is not several VMs", click.get_current_context(), param_hint=f"'{option}'"
                )
        return found

    return {
        "hosts": rows(find_host, fleet, host_names) or None,
        "pinned": pinned,
        "same_host": groups("--together", together),
        "anti_affinity": groups("--apart", apart),
        "headroom": headroom,
        "vm_groups": not no_vm_groups,
    }


def planned(
    ask: Callable[..., MovePlan],
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
) -> Output:
    """The answer to one of the questions that share `plan_options`.

    Parameters
    ----------
    ask : the question, of a fleet and the keywords of planning
    in_bytes : whether the value of the objective is an amount
    """
    fleet = read_fleet(inventories, lenient)
    with Search(_described(in_bytes)) as search:
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


def _described(in_bytes: bool) -> Callable[[Progress], str]:
    def text(progress: Progress) -> str:
        shown = format_size if in_bytes else str
        value, bound = shown(progress.value), shown(progress.bound)
        return f"{progress.seconds:.0f} s, {value} found, {bound} not excluded, gap {progress.gap:.1%}"

    return text


def _shown(result: MovePlan, form: str, writer: str | None, host_rows: bool) -> Output:
    if writer is not None:
        return emitted(writer, heading(result), actions(result))
    if host_rows:
        return show(result, form, _table, HostChange, ((pool.pool, pool.hosts) for pool in result.pools))
    return show(result, form, _table, PlannedMove, ((pool.pool, pool.moves) for pool in result.pools))


def _table(page: Page, result: MovePlan) -> None:
    """A plan of moves: the answer, what stands in the way, then pool by pool who moves and what that changes."""
    _in_the_way(page, result)
    for pool in result.pools:
        page.line()
        head(page, pool.pool)
        _host_table(page, pool, result.policy)
        _move_table(page, pool)
        page.bullets("Without a place", _without_a_place(result, pool), style="yellow")
    page.line()
    page.line(result.proof)
    copied = f"{format_size(result.copied)} to copy: {duration(result.seconds)}"
    if result.migrations:
        page.line(f"{counted(result.migrations, 'migration')}, {copied} at {format_size(result.bandwidth)} a second.")
    emptied = [name_of(host) for pool in result.pools for host in pool.emptied]
    if emptied and result.disabled is None:
        page.line(f"Left without guests: {', '.join(emptied)}.")
    if result.own_plan is not None:
        page.line(result.own_plan.text)
    if result.interrupted:
        page.line(EARLY, style="yellow")
    page.line(f"Checked: {', '.join(result.checked)}.")
    page.line(not_checked(result))
    page.bullets("Warnings", (warning.text for warning in result.warnings), style="yellow")


def _in_the_way(page: Page, result: MovePlan) -> None:
    """Who cannot move, why, and the commands that free the host."""
    if result.held:
        page.bullets("Cannot move", (f"{name_of(vm)}: {vm.why}" for vm in result.held), style="yellow")
        page.bullets("Shut down first, or --may-stop immobile", (shutdown(vm).command for vm in result.held if vm.uuid))
    if result.stopped is not None and result.outcome == "no":
        least = result.stopped
        sure = "no less memory does" if least.memory == least.bound else f"{format_size(least.bound)} at least"
        page.bullets(
            f"Shut down first ({format_size(least.memory)}, {sure}), or name them with --may-stop",
            (shutdown(vm).command for vm in least.vms if vm.uuid),
        )


def _without_a_place(result: MovePlan, pool: PoolMoves) -> list[str]:
    held = {vm.ref for vm in result.held}
    return [name_of(vm) for vm in pool.unplaced if vm.ref not in held]


def _host_table(page: Page, pool: PoolMoves, policy: str) -> None:
    """The hosts that the plan changes; all where it changes none."""
    changed = [host for host in pool.hosts if host.before != host.after]
    page.table(
        (
            "host",
            *(f"VMs\n{time}" for time in ("before", "after")),
            *(f"{what}\n{policy}\n{time}" for what in ("memory", "free") for time in ("before", "after")),
        ),
        (
            (
                name_of(host) + ("" if host.enabled else " (disabled)") + ("" if host.live else " (not live)"),
                *(str(load.vms) for load in (host.before, host.after)),
                *(format_size(load.memory) for load in (host.before, host.after)),
                *(amount(load.free) for load in (host.before, host.after)),
            )
            for host in (changed or pool.hosts)
        ),
    )
    left = len(pool.hosts) - len(changed)
    if changed and left:
        page.line(f"{counted(left, 'host')} unchanged.")


def _move_table(page: Page, pool: PoolMoves) -> None:
    if not pool.moves:
        return
    page.line()
    notes = ["<"] if any(move.temporary or move.action != "migrate" for move in pool.moves) else []
    page.table(
        ("", "<VM", "<from", "<to", "copied", "time", *notes),
        (
            (
                str(move.number),
                name_of(move.vm),
                name_of(move.source) or "-",
                name_of(move.target) or "-",
                format_size(move.copied) if move.action == "migrate" else "",
                duration(move.seconds) if move.action == "migrate" else "",
                *("for a while" if move.temporary else "" if move.action == "migrate" else move.action for _ in notes),
            )
            for move in pool.moves
        ),
    )
