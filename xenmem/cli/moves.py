"""What pack, evacuate, consolidate and rebalance share: options, and how a plan is asked for and shown."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import click
import msgspec

from xenmem import planning
from xenmem.answers.move_attempts import Leave, Selection
from xenmem.answers.move_plan import HeldVM, HostChange, MovePlan, PlannedMove, PoolMoves, actions, heading
from xenmem.answers.naming import Finding, Named, QuestionError, find_host, find_vm
from xenmem.cli.arguments import (
    Command,
    Decorator,
    again,
    bandwidth_option,
    emit_option,
    emitted,
    format_option,
    hosts_option,
    is_given,
    lenient_option,
    policy_option,
    read_fleet,
    seed_option,
    size,
    time_limit_option,
    to_option,
)
from xenmem.cli.layout import Column
from xenmem.cli.page import EARLY, Page, duration, head, name_of, not_checked
from xenmem.cli.show import show
from xenmem.cli.streams import Output, Search
from xenmem.fleet import Fleet
from xenmem.planning import Progress, Tags, tag_rules
from xenmem.text import counted
from xenmem.units import format_size


def plan_options(policy: str) -> Decorator:
    """What must hold of a plan, how it is found and how it is shown."""
    options: tuple[Decorator, ...] = (
        click.option("--host", "host_names", metavar="HOST", multiple=True, help="A host that may take VMs; repeat."),
        click.option("--pin", metavar="VM=HOST", multiple=True, help="A VM that may be on this host only; repeat."),
        click.option("--together", metavar="VM,VM", multiple=True, help="VMs that share a host; repeat."),
        click.option("--apart", metavar="VM,VM", multiple=True, help="VMs of which no two share a host; repeat."),
        click.option(
            "--headroom", metavar="SIZE", callback=size, default="0", show_default=True, help="Keep free on each host."
        ),
        click.option(
            "--vm-groups",
            type=click.Choice(("apart", "strict", "ignored")),
            default="apart",
            show_default=True,
            help="VM groups: apart as far as can be, as the pool has it; as a rule; or of no matter.",
        ),
        *tag_options(),
        policy_option(policy),
        bandwidth_option,
        to_option,
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


def tag_options() -> tuple[Decorator, ...]:
    """Which tags mean something."""
    return (
        click.option(
            "--anti-affinity-tag",
            metavar="TAG",
            multiple=True,
            help="VMs with it are apart, else spread evenly; repeat.",
        ),
        click.option("--affinity-tag", metavar="TAG", multiple=True, help="VMs with it share a host; repeat."),
        click.option(
            "--ignore-tag", metavar="TAG", multiple=True, help="VMs with it stay, unless their host is emptied; repeat."
        ),
        click.option(
            "--tags-from",
            metavar="FILE",
            help="The configuration of Xen Orchestra's load balancer, as JSON, with such tags.",
        ),
    )


def tags_of(affinity: Sequence[str], anti_affinity: Sequence[str], ignore: Sequence[str], path: str | None) -> Tags:
    """The options as the question has them."""
    found = Tags()
    if path is not None:
        try:
            configuration = json.loads(Path(path).read_bytes())
            if not isinstance(configuration, dict):
                raise ValueError("is no JSON object")
            found = Tags.of_load_balancer(configuration)
        except (ValueError, RecursionError) as error:
            raise click.ClickException(f"{path}: {error}") from None
    return Tags(found.affinity.union(affinity), found.anti_affinity.union(anti_affinity), found.ignore.union(ignore))


def leave_options(command: Command) -> Command:
    """What may become of VMs that stand in the way."""
    for name, what in (
        ("--ignore", "May stay where it is"),
        ("--may-suspend", "May be suspended"),
        ("--may-stop", "May be shut down"),
    ):
        text = f"{what}: a VM, all with a tag, or `immobile`, those that cannot move; repeat."
        command = click.option(name, metavar="VM|TAG|immobile", multiple=True, help=text)(command)
    return command


def leave_of(fleet: Fleet, may_stop: Sequence[str], may_suspend: Sequence[str], ignore: Sequence[str]) -> Leave:
    """The options as the question has them."""
    return Leave(*(_selection(fleet, names) for names in (may_stop, may_suspend, ignore)))


def _selection(fleet: Fleet, names: Sequence[str]) -> Selection:
    found: set[int] = set()
    for name in names:
        tagged = {row for row, tags in enumerate(fleet.vms.tags) if name in tags}
        if name != "immobile":
            found |= tagged or {find_vm(fleet, name)}
    return Selection(frozenset(found), "immobile" in names)


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
    vm_groups: str,
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
        "vm_groups": {"apart": True, "strict": "strict", "ignored": False}[vm_groups],
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
    affinity_tag: Sequence[str],
    anti_affinity_tag: Sequence[str],
    ignore_tag: Sequence[str],
    tags_from: str | None,
    in_bytes: bool = False,
    emptied: str | None = None,
    moves_few: bool = True,
    leave: tuple[Sequence[str], Sequence[str], Sequence[str]] | None = None,
    **constraints: Any,
) -> Output:
    """The answer to one of the questions that share `plan_options`.

    Parameters
    ----------
    ask : the question, of a fleet and the keywords of planning
    in_bytes : whether the value of the objective is an amount
    emptied : the host that is, if it is one
    moves_few : VMs that tags want together, and are not, are left so
    leave : of a question that takes them, the values of `leave_options`
    """
    tags = tags_of(affinity_tag, anti_affinity_tag, ignore_tag, tags_from)
    fleet = read_fleet(inventories, lenient)
    host = None if emptied is None else find_host(fleet, emptied)
    found, warnings = tag_rules(fleet, tags, emptied=host, moves_few=moves_few)
    with Search(_described(in_bytes)) as search:

        def asked(rules: planning.Constraints) -> MovePlan:
            return ask(
                fleet,
                policy=policy,
                bandwidth=bandwidth,
                time_limit=time_limit,
                seed=seed,
                progress=search,
                **({} if leave is None else {"leave": leave_of(fleet, *leave)}),
                **_constraints(fleet, **constraints),
                **rules,
            )

        result = asked(found)
        if result.outcome != "yes" and "together" in found:
            apart = asked({name: rule for name, rule in found.items() if name != "together"})  # type: ignore[arg-type]
            if apart.outcome == "yes":
                result = apart
                warnings = (*warnings, "VMs that tags want together are not: there is no plan that keeps them so")
    if warnings:
        more = [Finding(kind="tags", text=text) for text in warnings]
        result = msgspec.structs.replace(result, warnings=[*result.warnings, *more])
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
    """What stands in the way, who moves, what that changes; then what is proved, was checked, and what to do next."""
    _in_the_way(page, result)
    for pool in result.pools:
        head(page, pool.pool)
        if pool.moves:
            _move_table(page, pool)
            page.line()
        _host_table(page, pool, result.policy)
        page.bullets("Without a place", _without_a_place(result, pool), style="yellow")
        page.line()
    page.line(result.proof)
    if result.migrations:
        speed = f"at {format_size(result.bandwidth)} a second"
        page.line(f"{format_size(result.copied)} are copied, in {duration(result.seconds)} {speed}.")
    if result.own_plan is not None:
        page.line(result.own_plan.text)
    if result.interrupted:
        page.line(EARLY, style="yellow")
    page.line(f"Checked: {', '.join(result.checked)}.")
    page.line(not_checked(result))
    page.bullets("Warnings", (warning.text for warning in result.warnings), style="yellow")
    page.next(_next(result))


def _in_the_way(page: Page, result: MovePlan) -> None:
    """Who cannot move or is to be stopped, and the commands that free the host."""
    cannot_move(page, result.held)
    if not result.held and result.stopped is not None and result.outcome == "no":
        least = result.stopped
        sure = "less" if least.memory == least.bound else f"less than {format_size(least.bound)}"
        _shut_down(page, f"Shut down first: {format_size(least.memory)} in all, {sure} does not do", least.vms)


def cannot_move(page: Page, held: Sequence[HeldVM]) -> None:
    """VMs that stand in the way, why, and the commands that shut them down; nothing where there are none."""
    if held:
        page.bullets("Cannot move", (f"{name_of(vm)}: {vm.why}" for vm in held), style="yellow")
        page.line()
        _shut_down(page, "Shut down first", held)


def _shut_down(page: Page, heading: str, vms: Sequence[Named]) -> None:
    page.line(heading, style="bold")
    for vm in vms:
        if vm.uuid:
            page.command(f"xe vm-shutdown uuid={quote(vm.uuid)}  # {name_of(vm)}")
    page.line()


def _next(result: MovePlan) -> Iterator[tuple[str, str]]:
    if result.held:
        ways = (("shut down first what cannot move", "--may-stop"), ("leave it where it is", "--ignore"))
        yield from ((why, again(way, "immobile")) for why, way in ways if not is_given(way, "immobile"))
    elif result.stopped is not None and result.outcome == "no":
        names = [word for vm in result.stopped.vms for word in ("--may-stop", vm.uuid or vm.name_label)]
        yield "shut down first what is in the way", again(*names)
    if result.outcome == "yes" and any(pool.moves for pool in result.pools):
        yield "the plan as a script", again("--emit", "xe", "-o", "plan.sh")


def _without_a_place(result: MovePlan, pool: PoolMoves) -> list[str]:
    held = {vm.ref for vm in result.held}
    return [name_of(vm) for vm in pool.unplaced if vm.ref not in held]


def _host_table(page: Page, pool: PoolMoves, policy: str) -> None:
    """The hosts that the plan changes; all where it changes none."""
    changed = [host for host in pool.hosts if host.before != host.after]
    times = ("before", "after")
    page.table(
        (
            "host",
            *(Column(f"VMs\n{time}", "number") for time in times),
            *(Column(f"free\n{policy}\n{time}") for time in times),
            *(Column(f"used\n{policy}\n{time}", rank=1) for time in times),
        ),
        (
            (
                name_of(host) + ("" if host.enabled else " (disabled)") + ("" if host.live else " (not live)"),
                *(str(load.vms) for load in (host.before, host.after)),
                *(load.free for load in (host.before, host.after)),
                *(load.memory for load in (host.before, host.after)),
            )
            for host in (changed or pool.hosts)
        ),
        noun="host",
    )
    left = len(pool.hosts) - len(changed)
    if changed and left:
        page.line(f"{counted(left, 'host')} unchanged.")


def _move_table(page: Page, pool: PoolMoves) -> None:
    notes = ["<"] if any(move.temporary or move.action != "migrate" for move in pool.moves) else []
    page.table(
        (
            Column("", "number"),
            Column("VM", "name"),
            Column("from", "name"),
            Column("to", "name"),
            Column("copied"),
            Column("time", "number", rank=1),
            *notes,
        ),
        (
            (
                str(move.number),
                name_of(move.vm),
                name_of(move.source) or "-",
                name_of(move.target) or "-",
                move.copied if move.action == "migrate" else "",
                duration(move.seconds) if move.action == "migrate" else "",
                *("for a while" if move.temporary else "" if move.action == "migrate" else move.action for _ in notes),
            )
            for move in pool.moves
        ),
        noun="move",
    )
