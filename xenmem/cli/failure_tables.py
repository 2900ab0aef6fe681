"""Tables for people about survival and room: failover, capacity, balloon. Amounts are rounded; nothing is computed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from xenmem.answers.naming import counted
from xenmem.cli.page import Page, head, name_of, not_checked
from xenmem.units import format_size

if TYPE_CHECKING:
    from xenmem.answers.balloon import Squeeze, SqueezedVM
    from xenmem.answers.capacity import PoolRoom, Room, ShapeCount
    from xenmem.answers.failover import OwnPlanner, PoolSurvival, Remedies, Survival, Verdict, VMToRun


def _heads(page: Page, number: int) -> None:
    if number:
        page.line()


# ------------------------------------------------------------------------------------------------------------ failover


def survival(result: Survival) -> bytes:
    """What each pool survives."""
    page = Page()
    for number, pool in enumerate(result.pools):
        _heads(page, number)
        head(page, pool.pool)
        _survival_of(page, pool, result)
    page.line()
    page.line(f"Memory counts as {result.policy}. {not_checked(result)}")
    return page.bytes()


def _survival_of(page: Page, pool: PoolSurvival, result: Survival) -> None:
    verdict = pool.verdict
    kind = "HA protects" if result.counted == "protected" else "run now"
    page.line(
        f"{counted(len(pool.hosts), 'host')}; to run again: {counted(verdict.vms, 'VM')} that {kind}, "
        f"{format_size(verdict.memory)} to start."
    )
    if not verdict.vms and result.counted == "protected":
        page.line("To ask about all VMs that run now: --vms running.", style="yellow")
    page.line()
    page.table(
        ("host", "VMs\nto run\nagain", "memory\nto start\nthem", "free", "<fails"),
        (
            (
                name_of(host),
                str(host.vms),
                format_size(host.memory),
                format_size(host.free),
                "yes" if host.fails else "",
            )
            for host in pool.hosts
        ),
    )
    page.line()
    if verdict.at_least is not None and verdict.at_most is not None:
        page.line(_limits(verdict.at_least, verdict.at_most), style="bold")
    page.line(f"{verdict.answer}: {verdict.reason}", style="bold" if verdict.at_least is None else "")
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
        page.bullets(f"What would make it survive {_failures(verdict)}", _remedies(pool.remedies))
        undecided = (name.replace("_", " ") for name in pool.remedies.undecided)
        page.bullets("Not decided in time", undecided, style="yellow")


def _failures(verdict: Verdict) -> str:
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
        yield f"or {format_size(remedies.memory_each_host)} more in every host"
    if remedies.host is not None and remedies.memory_one_host is not None:
        yield f"or {format_size(remedies.memory_one_host)} more in {name_of(remedies.host)} alone"
    if remedies.memory_new_host is not None:
        yield f"or one more host with {format_size(remedies.memory_new_host)} for VMs"
    if remedies.unprotect:
        fewest = "the fewest" if remedies.unprotect_is_least else "fewer are not excluded"
        yield f"or no protection for {counted(len(remedies.unprotect), 'VM')} ({fewest}):"
        yield from (f"  {_vm(vm)}" for vm in remedies.unprotect)
    if remedies.shrink:
        yield f"or less memory_static_max for {counted(len(remedies.shrink), 'VM')}:"
        yield from (
            f"  {name_of(vm)}: {format_size(vm.memory_static_max)} to {format_size(vm.to)}" for vm in remedies.shrink
        )


# ------------------------------------------------------------------------------------------------------------ capacity


def room(result: Room) -> bytes:
    """How many more VMs each pool takes."""
    page = Page()
    for number, pool in enumerate(result.pools):
        _heads(page, number)
        head(page, pool.pool)
        _room_of(page, pool)
    page.line()
    survived = f" such that any {counted(result.num_failures, 'host')} may fail" if result.num_failures else ""
    more = "" if result.bound == result.count else f", and no more than {result.bound}"
    fit = "fits" if result.count == 1 else "fit"
    page.line(f"{counted(result.count, f'more {result.domain_type} VM')} {fit}{survived}{more}.", style="bold")
    page.line(not_checked(result))
    return page.bytes()


def _room_of(page: Page, pool: PoolRoom) -> None:
    many = len(pool.shapes) > 1
    but = ["<but"] if any(host.reasons for host in pool.hosts) else []
    page.table(
        (
            "host",
            "free",
            "new",
            *(f"of\n{_shape(shape)}" for shape in pool.shapes if many),
            "free after",
            *but,
        ),
        (
            (
                name_of(host),
                format_size(host.free),
                str(host.count),
                *(str(count) for count in host.counts if many),
                format_size(host.free_after),
                *("; ".join(host.reasons) for _ in but),
            )
            for host in pool.hosts
        ),
        last=(
            "in all",
            "",
            str(pool.count),
            *(str(shape.count) for shape in pool.shapes if many),
            "",
            *("" for _ in but),
        ),
    )
    page.line()
    for shape in pool.shapes:
        share = f"; {shape.proportion} of {sum(s.proportion for s in pool.shapes)} VMs" if many else ""
        page.line(f"{_shape(shape)}: each needs {format_size(shape.required)}, model {pool.model}{share}.")
    page.line(f"{_room_text(pool)}: {pool.reason}.")
    if but:
        page.line("Only memory decides here: VMs are counted on hosts with too few CPUs for them, too.")


def _room_text(pool: PoolRoom) -> str:
    if pool.now == "loses":
        return "Even without them hosts may not fail"
    if pool.status == "optimal":
        return f"{counted(pool.count, 'VM')}, which is the most"
    return f"{counted(pool.count, 'VM')}, {pool.bound} are not excluded"


def _shape(shape: ShapeCount) -> str:
    return f"{format_size(shape.memory)}, {counted(shape.VCPUs_max, 'vCPU')}"


# ------------------------------------------------------------------------------------------------------------- balloon


def squeeze(result: Squeeze) -> bytes:
    """What starting a VM does to those on a host."""
    page = Page()
    head(page, result.pool)
    page.line(f"VM {name_of(result)} starts on {name_of(result.host)}", style="bold")
    page.line(
        f"{result.power_state}, {format_size(result.memory_dynamic_min)} to {format_size(result.memory_dynamic_max)}"
        f" and {format_size(result.memory_overhead)} of overhead"
    )
    page.line()
    page.table(
        (
            "VM",
            "dynamic\nmin",
            "dynamic\nmax",
            "target\nnow",
            "to make\nroom",
            "once it\nruns",
            "fair\ntarget",
        ),
        (_targets(vm) for vm in result.vms if vm.memory_dynamic_min < vm.memory_dynamic_max),
        last=_targets(result.newcomer),
    )
    page.line()
    fixed = sum(vm.memory_dynamic_min == vm.memory_dynamic_max for vm in result.vms)
    if fixed:
        page.line(f"{counted(fixed, 'other VM')} there {'keeps its' if fixed == 1 else 'keep their'} memory.")
    page.line(f"{result.reason[0].upper()}{result.reason[1:]}.", style="bold")
    return page.bytes()


def _targets(vm: SqueezedVM) -> list[str]:
    amounts = (vm.memory_dynamic_min, vm.memory_dynamic_max, vm.target, vm.squeezed, vm.balanced, vm.fair)
    return [name_of(vm), *("" if amount is None else format_size(amount) for amount in amounts)]
