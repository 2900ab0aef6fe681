"""The tables of plans: where a VM would start, which VMs move where, and the steps of a rolling update."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from xenmem.answers.naming import counted
from xenmem.cli.page import Page, amount, duration, head, name_of, not_checked, target
from xenmem.units import format_size

if TYPE_CHECKING:
    from xenmem.answers.move_plan import MovePlan, PoolMoves
    from xenmem.answers.naming import Named
    from xenmem.answers.place import Placement
    from xenmem.answers.rolling_update import RollingPlan

_EARLY = "The search ended early: this is the best so far."


def placement(result: Placement) -> bytes:
    """Where a VM would start."""
    page = Page()
    page.line(f"VM {name_of(result)} ({result.uuid or result.ref}), {result.power_state}", style="bold")
    head(page, result.pool)
    page.table(
        ("host", "needed", "available", "free after", "rank", "chance", f"<{result.operation}?"),
        (
            (
                name_of(host),
                format_size(host.needed),
                format_size(host.available),
                amount(host.free_after),
                "" if host.rank is None else str(host.rank),
                "unknown" if host.chance is None else f"{host.chance:.1%}",
                "yes" if host.fits else "no: " + "; ".join(host.reasons or result.obstacles),
            )
            for host in result.hosts
        ),
    )
    page.bullets("It starts nowhere", result.obstacles, style="yellow")
    page.line()
    if result.category:
        without = "" if result.memory_checked else ", without its memory check, which no host passes"
        page.line(f"The pool draws from the hosts of its category {result.category}{without}: rank 1 is the best.")
    else:
        page.line("The pool itself would answer NO_HOSTS_AVAILABLE.")
    if result.most_room is not None:
        page.line(f"Most is free afterwards on {name_of(result.most_room)}, under {result.policy}.")
    page.line(not_checked(result))
    return page.bytes()


def moves(result: MovePlan) -> bytes:
    """A plan of moves, pool by pool."""
    page = Page()
    for pool in result.pools:
        head(page, pool.pool)
        _host_table(page, pool, result.policy)
        _move_table(page, pool)
        page.bullets("Without a place", map(name_of, pool.unplaced), style="yellow")
        page.line()
    page.line(f"{result.title}.", style="bold")
    page.line(result.verdict)
    copied = f"{format_size(result.copied)} to copy: {duration(result.seconds)}"
    page.line(f"{counted(result.migrations, 'migration')}, {copied} at {format_size(result.bandwidth)} a second.")
    emptied = [name_of(host) for pool in result.pools for host in pool.emptied]
    if emptied and result.disabled is None:
        page.line(f"Left without guests: {', '.join(emptied)}.")
    if result.own_plan is not None:
        page.line(result.own_plan.text)
    if result.interrupted:
        page.line(_EARLY, style="yellow")
    if result.blocked:
        page.line(f"The migrations stop short: {result.blocked}.", style="yellow")
    page.line(not_checked(result))
    page.bullets("Warnings", (warning.text for warning in result.warnings), style="yellow")
    return page.bytes()


def _host_table(page: Page, pool: PoolMoves, policy: str) -> None:
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
            for host in pool.hosts
        ),
    )


def _move_table(page: Page, pool: PoolMoves) -> None:
    if not pool.moves:
        return
    page.line()
    notes = ["<"] if any(move.temporary or move.source is None for move in pool.moves) else []
    page.table(
        ("", "<VM", "<from", "<to", "copied", "time", *notes),
        (
            (
                str(move.number),
                name_of(move.vm),
                _source(move.source),
                name_of(move.target),
                format_size(move.copied),
                duration(move.seconds),
                *("for a while" if move.temporary else "" if move.source else move.action for _ in notes),
            )
            for move in pool.moves
        ),
    )


def _source(source: Named | None) -> str:
    return name_of(source) if source is not None else "-"


def rolling(result: RollingPlan) -> bytes:
    """A rolling update: the restarts, then every step."""
    page = Page()
    head(page, result.pool, target(result.to, result.to_build, result.to_model))
    if result.steps:
        page.table(
            ("", "<restarts", "migrations\nbefore", "copied\nbefore"),
            (
                (str(host.position), name_of(host), str(host.migrations), format_size(host.copied))
                for host in result.hosts
            ),
        )
        page.line()
        page.table(
            ("", "<step", "<from", "<to", "copied", "time", "<"),
            (
                (
                    str(step.number),
                    "restart" if step.vm is None else name_of(step.vm),
                    "" if step.vm is None else _source(step.source),
                    name_of(step.host),
                    "" if step.vm is None else format_size(step.copied),
                    "" if step.vm is None else duration(step.seconds),
                    "only makes room" if step.temporary else "",
                )
                for step in result.steps
            ),
        )
        page.line()
    page.line("Rolling update.", style="bold")
    page.line(result.verdict)
    if result.steps:
        home = f"{result.homecoming} of them after the last restart"
        speed = f"{duration(result.seconds)} at {format_size(result.bandwidth)} a second"
        page.line(f"{counted(result.migrations, 'migration')}, {home}: {speed}, beside the restarts.")
    if result.interrupted:
        page.line(_EARLY, style="yellow")
    if result.shortage is not None:
        page.bullets(f"VMs that {name_of(result.shortage.host)} waits for", map(name_of, result.shortage.vms))
    page.line(not_checked(result))
    page.bullets("Warnings", _texts(result), style="yellow")
    return page.bytes()


def _texts(result: RollingPlan) -> Iterable[str]:
    return (warning.text for warning in result.warnings)
