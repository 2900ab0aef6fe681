"""Where VMs go, and the migrations that lead there: pack, evacuate, consolidate and rebalance, asked by names.

Amounts are bytes. The searches are planning's; what they find is told here in names, sentences and as actions.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from xenmem import planning
from xenmem.answers import script
from xenmem.answers.explain import host_obstacles, vm_obstacles
from xenmem.answers.naming import (
    NOT_CHECKED,
    Finding,
    Named,
    NamedHost,
    NamedVM,
    PoolHead,
    QuestionError,
    Result,
    as_question,
    at_hosts,
    identity,
    known_totals,
    label,
    listed,
    name_of,
    named,
    overcommitted,
    pool_head,
    refs,
    written,
)
from xenmem.columns import Bools, Bytes
from xenmem.fleet import Fleet, PowerState
from xenmem.rules.hosts import version_classes
from xenmem.rules.migration import refusals, whereabouts
from xenmem.text import counted
from xenmem.units import format_size

BANDWIDTH: Final = 1 << 30
"""Bytes a second that migrations are taken to copy, unless the caller knows better."""

_VALUES: Final = {
    "all": ("{value} of {vms} VMs have a place", "at most {bound}"),
    "fewest-hosts": ("{hosts} in use", "at least {bound}"),
    "even": ("{value} free on the fullest host", "at most {bound}"),
    "fewest-migrations": ("{moves}", "at least {bound}"),
}


class Load(Result, frozen=True):
    """What is on a host.

    Attributes
    ----------
    vms : guests
    memory : what all its VMs use under the policy of the plan, control domains included
    free : what they leave; below 0 where the host is overcommitted, None where its memory is unknown
    """

    vms: int
    memory: int
    free: int | None


class HostChange(Named, frozen=True):
    """A host before the plan and after it."""

    enabled: bool
    live: bool
    before: Load
    after: Load


class PlannedMove(Result, frozen=True):
    """One step of a plan.

    Attributes
    ----------
    number : from 1
    action : ``migrate``; ``start`` or ``resume`` where the VM is on no host
    source : the host that it leaves
    copied : by a live migration
    seconds : that the copy takes, without what the guest writes meanwhile
    temporary : the VM moves on later
    """

    number: int
    action: str
    vm: Named
    source: Named | None
    target: Named
    copied: int
    seconds: float
    temporary: bool


class PoolMoves(Result, frozen=True):
    """One pool of a plan.

    Attributes
    ----------
    unplaced : VMs without a place in the plan
    emptied : hosts that run guests before the plan and none after it
    """

    pool: PoolHead
    hosts: list[HostChange]
    moves: list[PlannedMove]
    unplaced: list[Named]
    emptied: list[Named]


class Contradiction(Result, frozen=True):
    """The smallest set found of VMs and hosts that contradict each other."""

    vms: list[NamedVM]
    hosts: list[NamedHost]


class OwnPlan(Result, frozen=True):
    """What the pool itself would do: host.evacuate.

    Attributes
    ----------
    migrations, copied : of its plan
    refusals : code and parameters for each VM that stands against it; if there is one, nothing is moved
    text : the same in a sentence
    """

    migrations: int
    copied: int
    refusals: list[str]
    text: str


class MovePlan(Result, frozen=True):
    """A plan.

    Attributes
    ----------
    title : what was asked, in words
    objective : of planning.pack: what is best
    policy : which amount counts as a VM's memory
    status : ``optimal``, ``feasible`` or ``infeasible``
    value, bound, gap : what is reached, what is proved that no plan does better than, and the distance relative to it
    verdict : the same in a sentence
    reason : what limits the plan; empty if nothing does
    blocked : why no order of the moves was found; they are then cut short
    interrupted : the search ended early, at its time limit or by Ctrl-C
    obstacle : for an infeasible plan
    migrations, copied, seconds : in all
    bandwidth : bytes a second, from which the seconds follow
    disabled : the host that the plan empties
    own_plan : what the pool itself would do, where that was asked
    warnings : what an operator should know beside
    not_checked : what the pool checks besides
    """

    title: str
    objective: str
    policy: str
    status: str
    value: int
    bound: int
    gap: float
    verdict: str
    reason: str
    blocked: str
    interrupted: bool
    obstacle: Contradiction | None
    migrations: int
    copied: int
    seconds: float
    bandwidth: int
    pools: list[PoolMoves]
    disabled: Named | None
    own_plan: OwnPlan | None
    warnings: list[Finding]
    not_checked: list[str]


# ----------------------------------------------------------------------------------------------------------- questions


def pack(
    fleet: Fleet,
    vms: Sequence[int] | None = None,
    hosts: Sequence[int] | None = None,
    objective: str = "all",
    policy: str = "static_max",
    *,
    running: bool = False,
    bandwidth: int = BANDWIDTH,
    time_limit: float | None = None,
    seed: int = 0,
    progress: Callable[[planning.Progress], None] | None = None,
    **constraints: Any,
) -> MovePlan:
    """A place for each of these VMs, and what leads there.

    VMs that cannot migrate stay where they are, and VMs that would not start are left out.

    Parameters
    ----------
    vms, hosts, objective, policy : as for planning.pack
    running : without vms, only the guests that are on a host
    bandwidth : bytes that migrations copy in a second, > 0
    time_limit, seed, progress : as for planning.pack
    constraints : the keywords of planning.Constraints

    Raises
    ------
    QuestionError : the question contradicts itself, or something in it does not exist
    """
    if vms is None:
        is_asked = fleet.vms.is_guest & ((whereabouts(fleet.vms) >= 0) | (not running))
        vms = np.flatnonzero(is_asked).tolist()
    waits = fleet.vms.is_guest & is_nowhere(fleet)
    dead = {vm: found[0] for vm in vms if waits[vm] and (found := vm_obstacles(fleet, vm))}
    taking_part = [vm for vm in vms if vm not in dead]
    _check_hosts(fleet, hosts)
    with as_question():
        plan = planning.pack(
            fleet,
            taking_part,
            hosts,
            objective,
            policy,
            time_limit=time_limit,
            seed=seed,
            progress=progress,
            **constraints,
        )
    title = f"Place {counted(len(plan.vms), 'VM')}, objective {objective}"
    warnings = [*_warning(fleet, "stays", plan.stays), *_warning(fleet, "cannot-start", dead)]
    return _answer_of(fleet, plan, title, policy, bandwidth, warnings=warnings)


def evacuate(
    fleet: Fleet,
    host: int,
    hosts: Sequence[int] | None = None,
    policy: str = "dynamic_min",
    *,
    bandwidth: int = BANDWIDTH,
    time_limit: float | None = None,
    seed: int = 0,
    progress: Callable[[planning.Progress], None] | None = None,
    **constraints: Any,
) -> MovePlan:
    """How a host is emptied, and what the pool itself would do.

    Parameters
    ----------
    host : row of the host
    hosts, policy : as for planning.evacuate
    bandwidth : bytes that migrations copy in a second, > 0
    time_limit, seed, progress : as for planning.pack
    constraints : the keywords of planning.Constraints

    Raises
    ------
    QuestionError : the question contradicts itself, or there is no other host
    """
    if np.count_nonzero(fleet.hosts.pool == fleet.hosts.pool[host]) == 1:
        raise QuestionError(f"host {fleet.hosts.label(host)} is the only one of its pool: its VMs have nowhere to go")
    _check_hosts(fleet, hosts, emptied=host)
    with as_question():
        plan = planning.evacuate(
            fleet,
            host,
            hosts,
            policy,
            time_limit=time_limit,
            seed=seed,
            progress=progress,
            **constraints,
        )
    return _answer_of(
        fleet,
        plan,
        f"Evacuate host {fleet.hosts.label(host)}",
        policy,
        bandwidth,
        disabled=named(fleet.hosts, host),
        own_plan=_own_plan(fleet, host),
    )


def consolidate(
    fleet: Fleet,
    hosts: Sequence[int] | None = None,
    policy: str = "dynamic_min",
    *,
    bandwidth: int = BANDWIDTH,
    time_limit: float | None = None,
    seed: int = 0,
    progress: Callable[[planning.Progress], None] | None = None,
    **constraints: Any,
) -> MovePlan:
    """The most hosts emptied, with few and small migrations; arguments as for planning.consolidate.

    Raises
    ------
    QuestionError : the question contradicts itself
    """
    _check_hosts(fleet, hosts)
    asked = {"time_limit": time_limit, "seed": seed, "progress": progress, **constraints}
    with as_question():
        plan = planning.consolidate(fleet, hosts, policy, **asked)
    warnings = _warning(fleet, "stays", plan.stays)
    return _answer_of(fleet, plan, "Consolidate onto the fewest hosts", policy, bandwidth, warnings=warnings)


def rebalance(
    fleet: Fleet,
    migrations: int,
    hosts: Sequence[int] | None = None,
    policy: str = "dynamic_min",
    *,
    bandwidth: int = BANDWIDTH,
    time_limit: float | None = None,
    seed: int = 0,
    progress: Callable[[planning.Progress], None] | None = None,
    **constraints: Any,
) -> MovePlan:
    """The most free memory on the fullest host after so many migrations; arguments as for planning.rebalance.

    Raises
    ------
    QuestionError : the question contradicts itself
    """
    _check_hosts(fleet, hosts)
    asked = {"time_limit": time_limit, "seed": seed, "progress": progress, **constraints}
    with as_question():
        plan = planning.rebalance(fleet, migrations, hosts, policy, **asked)
    warnings = _warning(fleet, "stays", plan.stays)
    return _answer_of(
        fleet, plan, f"Rebalance by at most {counted(migrations, 'migration')}", policy, bandwidth, warnings=warnings
    )


def _check_hosts(fleet: Fleet, hosts: Sequence[int] | None, emptied: int = -1) -> None:
    """Refuse a host that is named to take VMs and cannot; planning leaves it out.

    Parameters
    ----------
    hosts : that are to take VMs, None for all that can
    emptied : a host that takes none
    """
    for host in hosts or ():
        if not (fleet.hosts.enabled[host] and fleet.hosts.live[host]):
            raise QuestionError(f"host {fleet.hosts.label(host)} takes no VMs: {host_obstacles(fleet, host, 0)[0]}")
        if host == emptied:
            raise QuestionError(f"host {fleet.hosts.label(host)} is to be emptied, and takes no VMs")


def _warning(fleet: Fleet, kind: str, vms: Mapping[int, str]) -> list[Finding]:
    """That VMs are left where they are, or left out."""
    if not vms:
        return []
    what = {"stays": "stay where they are", "cannot-start": "would not start anywhere"}
    names = listed([f"{fleet.vms.label(vm)}: {why}" for vm, why in sorted(vms.items())])
    return [Finding(kind=kind, text=f"{counted(len(vms), 'VM')} {what[kind]} ({names})", vms=refs(fleet.vms, vms))]


def _own_plan(fleet: Fleet, host: int) -> OwnPlan:
    """What host.evacuate would do."""
    vms = fleet.vms
    still = refusals(vms, fleet.hosts)
    class_of, may_follow = version_classes(fleet.hosts.software_version, fleet.hosts.pool, fleet.pools.master)

    def boot_error(vm: int, target: int) -> tuple[str, ...] | None:
        obstacles = host_obstacles(
            fleet, target, int(vms.VCPUs_max[vm]), vcpu_unrestricted=bool(vms.vcpu_unrestricted[vm])
        )
        return (f"{fleet.hosts.label(target)}: {obstacles[0]}",) if obstacles else None

    try:
        departures = planning.xapi.plan_host_evacuation(
            fleet,
            host,
            boot_error=boot_error,
            migrate_error=lambda vm: (still[vm],) if vm in still else None,
            version_not_lower=lambda source, target: bool(may_follow[class_of[source], class_of[target]]),
        )
    except planning.xapi.PlanningError as error:
        return OwnPlan(0, 0, [str(error)], f"The pool itself would fail: {error}.")
    copied = sum(int(vms.memory_dynamic_min[vm]) for vm in departures.migrations)
    refused = [f"{fleet.vms.label(vm)}: {error[0]}" for vm, error in departures.errors.items()]
    if refused:
        text = f"The pool itself would move nothing: {listed(refused)}."
    else:
        count = counted(len(departures.migrations), "migration")
        text = f"The pool's own plan: {count}, {format_size(copied)} to copy."
    return OwnPlan(len(departures.migrations), copied, refused, text)


# ------------------------------------------------------------------------------------------------------------- answers


def _answer_of(
    fleet: Fleet,
    plan: planning.Plan,
    title: str,
    policy: str,
    bandwidth: int,
    *,
    disabled: Named | None = None,
    own_plan: OwnPlan | None = None,
    warnings: Iterable[Finding] = (),
) -> MovePlan:
    """What a Plan means.

    Parameters
    ----------
    title : what was asked, in words
    policy, bandwidth : as asked
    disabled : the host to be disabled before the moves
    own_plan : what the pool itself would do
    warnings : beside those about overcommitted hosts
    """
    interrupted = plan.interrupted
    try:
        migrations, blocked = plan.migrations, plan.blocked
    except KeyboardInterrupt:
        migrations, blocked, interrupted = [], "the search for an order was interrupted", True
    loads = _loads(fleet, plan, policy)
    moves: list[list[PlannedMove]] = [[] for _ in range(len(fleet.pools))]

    def add(vm: int, action: str, source: int, target: int, copied: int, temporary: bool) -> None:
        there = moves[int(fleet.vms.pool[vm])]
        there.append(
            PlannedMove(
                number=len(there) + 1,
                action=action,
                vm=Named(**identity(fleet.vms, vm)),
                source=named(fleet.hosts, source),
                target=Named(**identity(fleet.hosts, target)),
                copied=copied,
                seconds=copied / bandwidth,
                temporary=temporary,
            )
        )

    for migration in migrations:
        add(migration.vm, "migrate", *migration[1:])
    starting = plan.vms[is_nowhere(fleet)[plan.vms] & (plan.host >= 0)]
    target_of = dict(zip(plan.vms.tolist(), plan.host.tolist(), strict=True))
    for vm in starting.tolist() if not blocked else []:
        suspended = fleet.vms.power_state[vm] == PowerState.SUSPENDED
        add(vm, "resume" if suspended else "start", -1, target_of[vm], 0, False)

    shown = sorted({*fleet.vms.pool[plan.vms].tolist()}) or range(len(fleet.pools))
    copied = sum(migration.copied for migration in migrations)
    return written(
        MovePlan,
        fleet,
        plan,
        title=title,
        policy=policy,
        verdict=_verdict(plan),
        blocked=blocked,
        interrupted=interrupted,
        obstacle=None if plan.obstacle is None else written(Contradiction, fleet, plan.obstacle),
        migrations=len(migrations),
        copied=copied,
        seconds=copied / bandwidth,
        bandwidth=bandwidth,
        pools=[
            _pool_moves(
                fleet, pool, [loads[host] for host in np.flatnonzero(fleet.hosts.pool == pool)], moves[pool], plan
            )
            for pool in shown
        ],
        disabled=disabled,
        own_plan=own_plan,
        warnings=[*overcommitments(fleet, policy), *ha_refusals(fleet, shown), *warnings],
        not_checked=list(NOT_CHECKED),
    )


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


def is_nowhere(fleet: Fleet) -> Bools:
    """The VMs that are on no host."""
    return whereabouts(fleet.vms) < 0


def _verdict(plan: planning.Plan) -> str:
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


def _loads(fleet: Fleet, plan: planning.Plan, policy: str) -> list[HostChange]:
    """Every host before and after."""
    vms, hosts = fleet.vms, fleet.hosts
    moves = (plan.host >= 0) & (plan.host != vms.resident_on[plan.vms])
    moved, target = plan.vms[moves], plan.host[moves]
    stays = np.ones(len(vms), np.bool_)
    stays[moved] = False
    uses = fleet.amount(policy) + vms.memory_overhead
    starting = is_nowhere(fleet)[moved]
    anew = (fleet.amount(policy) + fleet.overhead())[moved] if starting.any() else uses[moved]
    before: Bytes = at_hosts(fleet, uses)
    after: Bytes = at_hosts(fleet, uses, stays)
    np.add.at(after, target, np.where(starting, anew, uses[moved]))
    guests_before = _guests_at(fleet, vms.is_guest)
    guests_after = _guests_at(fleet, vms.is_guest & stays)
    np.add.at(guests_after, target, 1)
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
            text=f"pool {label(pool_head(fleet, pool))} has HA enabled, and refuses what would break its failover plan",
        )
        for pool in pools
        if fleet.pools.ha_enabled[pool]
    ]


# ------------------------------------------------------------------------------------------------------------- actions


def actions(plan: MovePlan) -> list[script.Action]:
    """What carries a plan out, in its order.

    Raises
    ------
    QuestionError : the plan is not whole, concerns several pools, or a VM or host of it has no uuid
    """
    if plan.status in ("infeasible", "unknown") or plan.blocked:
        raise QuestionError(f"there is no whole plan to write: {plan.blocked or plan.reason}")
    if sum(bool(pool.moves) for pool in plan.pools) > 1:
        raise QuestionError("the plan concerns several pools: write it for one inventory at a time")
    steps = [] if plan.disabled is None else [script.disable(plan.disabled)]
    for pool in plan.pools:
        for move in pool.moves:
            match move.action:
                case "migrate":
                    steps.append(script.migrate(move.vm, move.target))
                case "start":
                    steps.append(script.start(move.vm, move.target))
                case _:
                    steps.append(script.resume(move.vm, move.target))
    return steps


def heading(plan: MovePlan) -> list[str]:
    """What a script says of the plan that it carries out."""
    pools = [pool for pool in plan.pools if pool.moves] or plan.pools
    return [f"{plan.title}. {label(pool.pool)}, {pool.pool.source}." for pool in pools] + [plan.verdict]
