"""What a plan of moves means, in names and sentences: the verdict, its proof, hosts before and after, warnings.

Amounts are bytes. Searches nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np

from xenmem import planning
from xenmem.answers.move_attempts import WorkedOut, starts
from xenmem.answers.move_plan import (
    Contradiction,
    HeldVM,
    HostChange,
    Load,
    MovePlan,
    OwnPlan,
    PlannedMove,
    PoolMoves,
    Stopped,
    in_words,
)
from xenmem.answers.naming import (
    NOT_CHECKED,
    Finding,
    Named,
    Outcome,
    at_hosts,
    identity,
    known_totals,
    label,
    listed,
    name_of,
    named,
    overcommitted,
    pool_head,
    untold,
    written,
)
from xenmem.columns import Bools, Bytes
from xenmem.fleet import Fleet
from xenmem.planning.stopping import LeastStopped
from xenmem.rules.migration import whereabouts
from xenmem.text import counted, titled
from xenmem.units import format_size

_CHECKED: Final = (
    "memory at every step",
    "versions, vCPUs and VM groups",
    "what hinders a VM from migrating",
    "the HA plan",
    "each step by the pool in memory",
)
"""What a plan is always held against."""


_NEVER_CHECKED: Final = ("load", "what changes meanwhile")


_VALUES: Final = {
    "all": ("{value} of {vms} VMs have a place", "at most {bound}"),
    "fewest-hosts": ("{hosts} in use", "at least {bound}"),
    "even": ("{value} free on the fullest host", "at most {bound}"),
    "fewest-migrations": ("{moves}", "at least {bound}"),
}


def answer_of(
    fleet: Fleet,
    worked_out: WorkedOut,
    title: str,
    answer: Callable[[Fleet, WorkedOut], tuple[Outcome, str]],
    policy: str,
    bandwidth: int,
    *,
    disabled: int = -1,
    own_plan: OwnPlan | None = None,
    least: LeastStopped | None = None,
    warnings: Iterable[Finding] = (),
) -> MovePlan:
    """What a Plan means.

    Parameters
    ----------
    title : what was asked, in words
    answer : to that, and whether it is yes, no or unknown, in this order
    policy, bandwidth : as asked
    disabled : the host to be disabled before the moves
    own_plan : what the pool itself would do
    least : the least that is to be stopped
    warnings : beside those about overcommitted hosts
    """
    plan = worked_out.plan
    at = {vm: int(host) for vm, host in enumerate(whereabouts(fleet.vms).tolist())}
    moves: list[list[PlannedMove]] = [[] for _ in range(len(fleet.pools))]

    def add(vm: int, action: str, target: int, copied: int = 0, temporary: bool = False) -> None:
        there = moves[int(fleet.vms.pool[vm])]
        there.append(
            PlannedMove(
                number=len(there) + 1,
                action=action,
                vm=Named(**identity(fleet.vms, vm)),
                source=named(fleet.hosts, at[vm]),
                target=named(fleet.hosts, target),
                copied=copied,
                seconds=copied / bandwidth,
                temporary=temporary,
            )
        )
        at[vm] = target

    for vm, action in worked_out.stops:
        add(vm, action, -1)
    for migration in worked_out.migrations:
        add(migration.vm, "migrate", migration.target, migration.copied, migration.temporary)
    for vm, host in worked_out.starting:
        add(vm, starts(fleet, vm), host)

    loads = _loads(fleet, at, policy)
    shown = sorted({*fleet.vms.pool[plan.vms].tolist()}) or range(len(fleet.pools))
    copied = sum(migration.copied for migration in worked_out.migrations)
    outcome, sentence = answer(fleet, worked_out)
    checked, not_checked = checks(fleet, shown)
    refused = worked_out.refusal
    return written(
        MovePlan,
        fleet,
        plan,
        verdict=sentence,
        outcome=outcome,
        title=title,
        policy=policy,
        status=plan.status if refused is None else "unknown" if refused.vm else "infeasible",
        proof=_proof(plan) if refused is None else f"{refused.text[0].upper()}{refused.text[1:]}.",
        reason=plan.reason if refused is None else refused.text,
        blocked=worked_out.blocked,
        refusal=refused,
        interrupted=worked_out.interrupted,
        obstacle=None if plan.obstacle is None else written(Contradiction, fleet, plan.obstacle),
        held=[HeldVM(**identity(fleet.vms, vm), why=in_words(why)) for vm, why in sorted(worked_out.held.items())],
        stopped=None
        if least is None
        else Stopped([Named(**identity(fleet.vms, vm)) for vm in least.vms], least.memory, least.bound),
        migrations=len(worked_out.migrations),
        copied=copied,
        seconds=copied / bandwidth,
        bandwidth=bandwidth,
        pools=[
            _pool_moves(
                fleet, pool, [loads[host] for host in np.flatnonzero(fleet.hosts.pool == pool)], moves[pool], plan
            )
            for pool in shown
        ],
        disabled=named(fleet.hosts, disabled),
        own_plan=own_plan,
        warnings=[*overcommitments(fleet, policy), *ha_refusals(fleet, shown), *warnings],
        checked=checked,
        not_checked=not_checked,
    )


def _moved(worked_out: WorkedOut) -> str:
    """How much is moved, in words."""
    copied = sum(migration.copied for migration in worked_out.migrations)
    parts = []
    if worked_out.stops:
        parts.append(f"{counted(len(worked_out.stops), 'VM is', 'VMs are')} stopped first")
    parts.append(f"{counted(len(worked_out.migrations), 'migration')}, {format_size(copied)} to copy")
    if worked_out.starting:
        parts.append(counted(len(worked_out.starting), "start"))
    return ", ".join(parts)


def _refused(what: str, worked_out: WorkedOut) -> tuple[Outcome, str] | None:
    """The answer where the plan cannot be carried out or is not known."""
    if worked_out.refusal is not None:
        return ("no" if worked_out.refusal.vm is None else "unknown"), f"{what}: {worked_out.refusal.text}."
    if worked_out.blocked:
        return "unknown", f"{what}: {worked_out.blocked}."
    return None


def evacuated(
    host: int, least: LeastStopped | None, is_left: bool, fleet: Fleet, worked_out: WorkedOut
) -> tuple[Outcome, str]:
    name = fleet.hosts.label(host)
    refused = _refused(f"{name} cannot be emptied as things are", worked_out)
    plan = worked_out.plan
    if refused is not None:
        return refused
    if worked_out.held:
        here = np.flatnonzero(fleet.vms.is_guest & (whereabouts(fleet.vms) == host))
        leaving = len({migration.vm for migration in worked_out.migrations}.intersection(here.tolist()))
        names = listed([fleet.vms.label(vm) for vm in sorted(worked_out.held)])
        return "no", f"{name} cannot be emptied: {leaving} of {len(here)} VMs can move; shut down first: {names}."
    if not plan.is_complete:
        if plan.status == "unknown":
            return "unknown", f"Whether {name} can be emptied is not known: {plan.reason}."
        way_out = ""
        if least is not None:
            names = listed([fleet.vms.label(vm) for vm in least.vms])
            way_out = f"; it could, were {names} ({format_size(least.memory)}) stopped"
        lost = counted(int((plan.host < 0).sum()), "VM finds", "VMs find")
        return "no", f"{name} cannot be emptied: {lost} no place{way_out}."
    what = f"All that is to leave {name} can" if is_left else f"{name} can be emptied"
    if not worked_out.migrations and not worked_out.stops:
        return "yes", f"Nothing to do: {name} runs no VM that is to leave."
    return "yes", f"{what}: {_moved(worked_out)}."


def packed(fleet: Fleet, worked_out: WorkedOut) -> tuple[Outcome, str]:
    refused = _refused("No way to these places was found", worked_out)
    plan = worked_out.plan
    if refused is not None and plan.is_complete:
        return refused
    if not plan.is_complete:
        lost = int((plan.host < 0).sum())
        sure = "find no place" if plan.status == "infeasible" else "found no place, and one is not excluded"
        return ("no" if plan.status == "infeasible" else "unknown"), f"{lost} of {len(plan.vms)} VMs {sure}."
    if not worked_out.migrations and not worked_out.starting:
        return "yes", f"Nothing to do: {counted(len(plan.vms), 'VM has', 'VMs have')} a place where they are."
    return "yes", f"{counted(len(plan.vms), 'VM has', 'VMs have')} a place: {_moved(worked_out)}."


def consolidated(fleet: Fleet, worked_out: WorkedOut) -> tuple[Outcome, str]:
    refused = _refused("No way to empty hosts was found", worked_out)
    plan = worked_out.plan
    if refused is not None:
        return refused
    if not plan.is_complete:
        return ("no" if plan.status == "infeasible" else "unknown"), f"{_proof(plan)}"
    if not plan.emptied:
        sure = "can be emptied" if plan.status == "optimal" else "that can be emptied was found"
        return "yes", f"Nothing to do: no host {sure}, {counted(plan.value, 'remains', 'remain')} in use."
    names = listed([fleet.hosts.label(host) for host in plan.emptied])
    return "yes", f"{counted(len(plan.emptied), 'host')} can be emptied, {names}: {_moved(worked_out)}."


def levelled(fleet: Fleet, worked_out: WorkedOut) -> tuple[Outcome, str]:
    refused = _refused("No way to balance the hosts was found", worked_out)
    if refused is not None:
        return refused
    value = format_size(worked_out.plan.value)
    if not worked_out.migrations:
        return "yes", f"Nothing to do: the fullest host keeps {value} free."
    return "yes", f"The fullest host gets {value} free: {_moved(worked_out)}."


def _pool_moves(
    fleet: Fleet, pool: int, hosts: list[HostChange], moves: list[PlannedMove], plan: planning.Plan
) -> PoolMoves:
    unplaced = [vm for vm in plan.vms[plan.host < 0].tolist() if fleet.vms.pool[vm] == pool]
    return PoolMoves(
        pool=pool_head(fleet, pool),
        hosts=hosts,
        moves=moves,
        unplaced=[Named(**identity(fleet.vms, vm)) for vm in unplaced],
        emptied=[name_of(host) for host in hosts if host.before.vms and not host.after.vms],
    )


def _proof(plan: planning.Plan) -> str:
    """Status, value and bound in a sentence."""
    if not plan.is_complete:
        return f"{plan.status.capitalize()}: {plan.reason}."
    reached, limit = _VALUES[plan.objective]
    in_bytes = plan.objective == "even"
    value, bound = (format_size(amount) if in_bytes else str(amount) for amount in (plan.value, plan.bound))
    text = reached.format(
        value=value,
        vms=len(plan.vms),
        hosts=counted(plan.value, "host"),
        moves=counted(plan.value, "VM moves", "VMs move"),
    )
    if plan.status == "optimal":
        more = f", but {plan.reason}" if plan.objective == "fewest-migrations" and plan.reason else ""
        return f"Optimal: {text}; no plan does better{more}."
    return f"Feasible: {text}; {limit.format(bound=bound)} is proved, a gap of {100 * plan.gap:.3g} %."


def _loads(fleet: Fleet, at: Mapping[int, int], policy: str) -> list[HostChange]:
    """Every host before, and once each VM is on the host `at`, -1 for none."""
    vms, hosts = fleet.vms, fleet.hosts
    here = whereabouts(vms)
    then = np.fromiter((at[vm] for vm in range(len(vms))), np.int64, len(vms))
    moved = np.flatnonzero(then != here)
    stays = then == here
    uses = fleet.amount(policy) + vms.memory_overhead
    starting = here[moved] < 0
    anew = (fleet.amount(policy) + fleet.overhead())[moved] if starting.any() else uses[moved]
    amounts, goes = np.where(starting, anew, uses[moved]), then[moved] >= 0
    before: Bytes = at_hosts(fleet, uses)
    after: Bytes = at_hosts(fleet, uses, stays)
    np.add.at(after, then[moved][goes], amounts[goes])
    guests_before = _guests_at(fleet, vms.is_guest)
    guests_after = _guests_at(fleet, vms.is_guest & stays)
    np.add.at(guests_after, then[moved][goes], 1)
    known = known_totals(fleet)

    def load(row: int, memory: Bytes, guests: Bytes) -> Load:
        used = int(memory[row])
        return Load(int(guests[row]), used, int(hosts.available[row]) - used if known[row] else None)

    return [
        HostChange(
            **identity(hosts, row),
            enabled=bool(hosts.enabled[row]),
            live=bool(hosts.live[row]),
            before=load(row, before, guests_before),
            after=load(row, after, guests_after),
        )
        for row in range(len(hosts))
    ]


def checks(fleet: Fleet, pools: Iterable[int]) -> tuple[list[str], list[str]]:
    """What a plan for these pools is held against, and what it is not: an inventory need not tell all."""
    guests = np.flatnonzero(fleet.vms.is_guest & np.isin(fleet.vms.pool, list(pools))).tolist()
    lacking = untold(fleet, guests)
    return [*_CHECKED, *(name for name in NOT_CHECKED if name not in lacking)], [*lacking, *_NEVER_CHECKED]


def _guests_at(fleet: Fleet, which: Bools) -> Bytes:
    """How many of these VMs are on each host or reserved for it, each once."""
    vms = fleet.vms
    counts = np.zeros(len(fleet.hosts), np.int64)
    np.add.at(counts, vms.resident_on[which & (vms.resident_on >= 0)], 1)
    coming = which & (vms.scheduled_to_be_resident_on >= 0) & (vms.scheduled_to_be_resident_on != vms.resident_on)
    np.add.at(counts, vms.scheduled_to_be_resident_on[coming], 1)
    return counts


def overcommitments(fleet: Fleet, policy: str) -> list[Finding]:
    """The hosts whose VMs exceed them before anything is moved."""
    excess = overcommitted(fleet, policy)
    return [
        Finding(
            kind="overcommitted",
            text=f"{fleet.hosts.label(row)} is overcommitted now, by {format_size(int(excess[row]))} under {policy}",
            hosts=[fleet.hosts.ref[row]],
            memory=int(excess[row]),
        )
        for row in np.flatnonzero(excess).tolist()
    ]


def ha_refusals(fleet: Fleet, pools: Iterable[int]) -> list[Finding]:
    """That high availability may refuse moves, which no plan takes into account."""
    return [
        Finding(
            kind="high-availability",
            text=f"{titled('pool', label(pool_head(fleet, pool)))} has HA enabled, and refuses what would break its"
            " failover plan",
        )
        for pool in pools
        if fleet.pools.ha_enabled[pool]
    ]
