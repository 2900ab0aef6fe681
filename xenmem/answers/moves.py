"""Where VMs go, and the migrations that lead there: pack, evacuate, consolidate and rebalance, asked by names.

Amounts are bytes. The searches are planning's; what they find is told here in names, sentences and as actions.
"""

import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from xenmem import notebook, planning
from xenmem.answers import script
from xenmem.answers.explain import host_obstacles, vm_obstacles
from xenmem.answers.failover import MOMENT
from xenmem.answers.naming import (
    NOT_CHECKED,
    Answer,
    Finding,
    Named,
    NamedHost,
    NamedVM,
    Outcome,
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
    untold,
    written,
)
from xenmem.answers.replay import OF_THE_MOMENT, Refusal, Replay, Step
from xenmem.columns import Bools, Bytes
from xenmem.fleet import Fleet, PowerState
from xenmem.planning.stopping import LeastStopped, forgetting, least_stopped, stopped
from xenmem.rules.migration import whereabouts
from xenmem.text import counted, titled
from xenmem.units import format_size

BANDWIDTH: Final = 1 << 30
"""Bytes a second that migrations are taken to copy, unless the caller knows better."""

REPLANS: Final = 50
"""Plans that are asked for in all where the pool in memory refuses steps."""
LEAST_STOPPED_SECONDS: Final = 5.0
"""For the least that is to be stopped, where no limit is given."""

_CHECKED: Final = (
    "memory at every step",
    "versions, vCPUs and VM groups",
    "what hinders a VM from migrating",
    "the HA plan",
    "each step by the pool in memory",
)
"""What a plan is always held against."""
_NEVER_CHECKED: Final = ("load", "what changes meanwhile")

OF_THE_GUEST: Final = {
    "OPERATION_BLOCKED": "it is blocked",
    "VM_IS_IMMOBILE": "it is not to migrate",
    "VM_NON_SUSPENDABLE": "its guest refuses to be suspended",
    "VM_LACKS_FEATURE": "no guest tools",
    "VM_HAS_PCI_ATTACHED": "it has a PCI device",
    "VM_HAS_VGPU": "it has a vGPU",
    "VM_HAS_VUSBS": "it has a USB device",
}
"""What hinders a VM from migrating and from being suspended alike, in words."""

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
    action : ``migrate``; ``start`` or ``resume`` where the VM is on no host; ``shutdown`` or ``suspend`` of one that is
        in the way
    source : the host that it leaves
    target : where it goes; None for nowhere
    copied : by a live migration
    seconds : that the copy takes, without what the guest writes meanwhile
    temporary : the VM moves on later
    """

    number: int
    action: str
    vm: Named
    source: Named | None
    target: Named | None
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


class HeldVM(Named, frozen=True):
    """A VM that stands in the way and cannot move, and why."""

    why: str


class Stopped(Result, frozen=True):
    """The least that is to be stopped for a plan to exist.

    Attributes
    ----------
    vms : the VMs
    memory : that they use; bound : no VMs that use less do, for all that is proved
    """

    vms: list[Named]
    memory: int
    bound: int


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


class MovePlan(Answer, frozen=True):
    """A plan.

    Attributes
    ----------
    title : what was asked, in words
    objective : of planning.pack: what is best
    policy : which amount counts as a VM's memory
    status : ``optimal``, ``feasible`` or ``infeasible``
    value, bound, gap : what is reached, what is proved that no plan does better than, and the distance relative to it
    proof : what is proved of the plan, in a sentence
    reason : what limits the plan; empty if nothing does
    blocked : why no order of the moves was found; there are then none
    refusal : the step that the pool in memory refuses whatever is planned around it; there are then no moves
    interrupted : the search ended early, at its time limit or by Ctrl-C
    obstacle : for an infeasible plan
    held : VMs that cannot move and are in the way; the moves are then those of the others
    stopped : the least that is to be stopped, where memory lacks and that would do
    migrations, copied, seconds : in all
    bandwidth : bytes a second, from which the seconds follow
    disabled : the host that the plan empties
    own_plan : what the pool itself would do, where that was asked
    warnings : what an operator should know beside
    checked, not_checked : what the plan was held against, and what the pool checks besides
    """

    title: str
    objective: str
    policy: str
    status: str
    value: int
    bound: int
    gap: float
    proof: str
    reason: str
    blocked: str
    refusal: Refusal | None
    interrupted: bool
    obstacle: Contradiction | None
    held: list[HeldVM]
    stopped: Stopped | None
    migrations: int
    copied: int
    seconds: float
    bandwidth: int
    pools: list[PoolMoves]
    disabled: Named | None
    own_plan: OwnPlan | None
    warnings: list[Finding]
    checked: list[str]
    not_checked: list[str]

    def _repr_html_(self) -> str:
        """For notebooks: the sentence and the first moves."""
        moves = [move for pool in self.pools for move in pool.moves]
        rows = (
            (
                move.number,
                move.action,
                label(move.vm),
                move.source and label(move.source),
                move.target and label(move.target),
                notebook.Size(move.copied),
            )
            for move in moves
        )
        return notebook.shown(self.verdict, ("", "what", "VM", "from", "to", "copied"), rows, len(moves))


# ----------------------------------------------------------------------------------------------------------- questions


class Selection(NamedTuple):
    """VMs that somebody names: rows, and whether all that cannot move are meant as well."""

    rows: Container[int] = frozenset()
    immobile: bool = False

    def has(self, vm: int, is_held: bool = False) -> bool:
        """Whether the VM is meant; `is_held`: it cannot move."""
        return vm in self.rows or (self.immobile and is_held)


NOBODY: Final = Selection()


class Leave(NamedTuple):
    """What may become of VMs that stand in the way: stopped, suspended, or left where they are, which then is no
    matter."""

    may_stop: Selection = NOBODY
    may_suspend: Selection = NOBODY
    ignore: Selection = NOBODY


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

    def ask(fleet: Fleet, more: planning.Constraints) -> planning.Plan:
        return planning.pack(fleet, taking_part, hosts, objective, policy, **search(), **more)

    search = _searching(time_limit, seed, progress)
    title = f"Place {counted(len(taking_part), 'VM')}, objective {objective}"
    worked_out = _worked_out(fleet, ask, constraints)
    plan = worked_out.plan
    warnings = [*_warning(fleet, "stays", plan.stays), *_warning(fleet, "cannot-start", dead)]
    return _answer_of(fleet, worked_out, title, _packed, policy, bandwidth, warnings=warnings)


def evacuate(
    fleet: Fleet,
    host: int,
    hosts: Sequence[int] | None = None,
    policy: str = "dynamic_min",
    *,
    leave: Leave = Leave(),  # noqa: B008  (it never changes)
    bandwidth: int = BANDWIDTH,
    time_limit: float | None = None,
    seed: int = 0,
    progress: Callable[[planning.Progress], None] | None = None,
    **constraints: Any,
) -> MovePlan:
    """How a host is emptied, and what the pool itself would do.

    Where VMs of it cannot move, the plan is that of the others. What may be stopped or suspended is, where a VM cannot
    move; and where room lacks, the least memory that will do.

    Parameters
    ----------
    host : row of the host
    hosts, policy : as for planning.evacuate
    leave : what may become of VMs that stand in the way
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
    here = np.flatnonzero(fleet.vms.is_guest & (whereabouts(fleet.vms) == host)).tolist()
    search = _searching(time_limit, seed, progress)
    left = {vm for vm in here if leave.ignore.has(vm)}
    alone = {
        vm: "it is to be left alone"
        for vm in np.flatnonzero(fleet.vms.is_guest & (whereabouts(fleet.vms) >= 0)).tolist()
        if leave.ignore.has(vm) and vm not in left
    }
    constraints["immovable"] = alone | constraints.get("immovable", {})

    def ask(fleet: Fleet, more: planning.Constraints) -> planning.Plan:
        return planning.evacuate(stopped(fleet, left), host, hosts, policy, **search(), **forgetting(more, left))

    worked_out = _worked_out(fleet, ask, constraints, emptied=host)
    held = {vm: why for vm, why in worked_out.plan.stays.items() if vm in here}
    left |= {vm for vm in held if leave.ignore.has(vm, True)}
    stops = stops_of(fleet, held.keys() - left, held, leave)
    if stops or left.intersection(held):
        worked_out = _worked_out(fleet, ask, constraints, stops, emptied=host)
    advice = None
    if not worked_out.plan.is_complete and not worked_out.held and worked_out.refusal is None:
        able = [vm for vm in here if vm not in left and vm not in dict(stops)]
        may_stop = [vm for vm in able if leave.may_stop.has(vm) or leave.may_suspend.has(vm)]
        gone = stopped(fleet, [vm for vm, _ in stops])
        quick = _searching(search()["time_limit"], seed, None)

        def ask_quickly(fleet: Fleet) -> planning.Plan:
            gone = {*left, *np.flatnonzero(is_nowhere(fleet)).tolist()}
            more = forgetting(constraints, gone)
            return planning.evacuate(stopped(fleet, left), host, hosts, policy, **quick(), **more)

        advice = least_stopped(
            gone, may_stop or able, ask_quickly, over=_after(search()["time_limit"] or LEAST_STOPPED_SECONDS)
        )
        if advice is not None and may_stop:
            stops = [*stops, *stops_of(fleet, advice.vms, {}, leave)]
            worked_out = _worked_out(fleet, ask, constraints, stops, emptied=host)
    return _answer_of(
        fleet,
        worked_out,
        f"Evacuate host {fleet.hosts.label(host)}",
        partial(_emptied, host, advice, bool(left.intersection(here))),
        policy,
        bandwidth,
        disabled=host,
        own_plan=_own_plan(fleet, host, worked_out),
        least=advice,
        warnings=_warning(fleet, "ignored", dict.fromkeys(left & set(here), "as asked")),
    )


def consolidate(
    fleet: Fleet,
    hosts: Sequence[int] | None = None,
    policy: str = "dynamic_min",
    *,
    leave: Leave = Leave(),  # noqa: B008  (it never changes)
    bandwidth: int = BANDWIDTH,
    time_limit: float | None = None,
    seed: int = 0,
    progress: Callable[[planning.Progress], None] | None = None,
    **constraints: Any,
) -> MovePlan:
    """The most hosts emptied, with few and small migrations; arguments as for planning.consolidate.

    Parameters
    ----------
    leave : what may become of VMs that stand in the way: one that may be stopped is where that frees its host

    Raises
    ------
    QuestionError : the question contradicts itself
    """
    _check_hosts(fleet, hosts)
    search = _searching(time_limit, seed, progress)
    on_hosts = np.flatnonzero(fleet.vms.is_guest & (whereabouts(fleet.vms) >= 0)).tolist()
    alone = {vm: "it is to be left alone" for vm in on_hosts if leave.ignore.has(vm)}
    constraints["immovable"] = alone | constraints.get("immovable", {})

    def ask(fleet: Fleet, more: planning.Constraints) -> planning.Plan:
        return planning.consolidate(fleet, hosts, policy, **search(), **more)

    worked_out = _worked_out(fleet, ask, constraints)
    stays = worked_out.plan.stays
    stops = stops_of(fleet, [vm for vm in on_hosts if vm not in alone], stays, leave)
    if stops:
        rows = [vm for vm, _ in stops]
        most = ask(stopped(fleet, rows), forgetting(constraints, rows))
        freed = {*most.emptied, *whereabouts(fleet.vms)[rows].tolist()} - _in_use(fleet, most)
        needed = [(vm, action) for vm, action in stops if int(whereabouts(fleet.vms)[vm]) in freed]
        if needed:
            with_stops = _worked_out(fleet, ask, constraints, needed)
            if with_stops.plan.is_complete and with_stops.plan.value < worked_out.plan.value:
                worked_out = with_stops
    warnings = _warning(fleet, "stays", worked_out.plan.stays)
    return _answer_of(
        fleet, worked_out, "Consolidate onto the fewest hosts", _freed, policy, bandwidth, warnings=warnings
    )


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
    search = _searching(time_limit, seed, progress)

    def ask(fleet: Fleet, more: planning.Constraints) -> planning.Plan:
        return planning.rebalance(fleet, migrations, hosts, policy, **search(), **more)

    worked_out = _worked_out(fleet, ask, constraints)
    warnings = _warning(fleet, "stays", worked_out.plan.stays)
    title = f"Rebalance by at most {counted(migrations, 'migration')}"
    return _answer_of(fleet, worked_out, title, _levelled, policy, bandwidth, warnings=warnings)


def stops_of(
    fleet: Fleet, vms: Iterable[int], held: Mapping[int, str], leave: Leave
) -> list[tuple[int, Literal["shutdown", "suspend"]]]:
    """What is done to those of the VMs that may be suspended or stopped; a guest that cannot migrate cannot suspend."""
    found: list[tuple[int, Literal["shutdown", "suspend"]]] = []
    for vm in sorted(vms):
        if leave.may_suspend.has(vm, vm in held) and held.get(vm) not in OF_THE_GUEST:
            found.append((vm, "suspend"))
        elif leave.may_stop.has(vm, vm in held):
            found.append((vm, "shutdown"))
    return found


def _in_use(fleet: Fleet, plan: planning.Plan) -> set[int]:
    """The hosts with guests after a plan of all guests that are on a host."""
    return {*plan.host[plan.host >= 0].tolist(), *whereabouts(fleet.vms)[list(plan.stays)].tolist()}


def _searching(
    time_limit: float | None, seed: int, progress: Callable[[planning.Progress], None] | None
) -> Callable[[], dict[str, Any]]:
    """The keywords of each of several searches, which have one time limit together."""
    end = time.monotonic() + (time_limit or 0.0)
    common = {"seed": seed, "progress": progress}
    return lambda: common | {"time_limit": None if time_limit is None else max(end - time.monotonic(), MOMENT)}


def _after(seconds: float) -> Callable[[], bool]:
    """Whether so many seconds have passed."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


# ------------------------------------------------------------------------------------------------------ working it out


class _WorkedOut(NamedTuple):
    """A plan that the pool in memory accepts, or what it refuses whatever is planned around it.

    Attributes
    ----------
    plan : of the VMs that are not stopped
    stops : VM and what is done to it first
    held : VMs that cannot move and are in the way; the plan is for the others
    migrations, starting : of the plan, if there is advice in it: the latter are rows, with their hosts
    blocked, interrupted : as in MovePlan
    refusal : see MovePlan
    replays : the pools in memory that were made for it
    """

    plan: planning.Plan
    stops: list[tuple[int, Literal["shutdown", "suspend"]]]
    held: dict[int, str]
    migrations: list[planning.Migration]
    starting: list[tuple[int, int]]
    blocked: str
    interrupted: bool
    refusal: Refusal | None
    replays: dict[int, Replay]


def _worked_out(
    fleet: Fleet,
    ask: Callable[[Fleet, planning.Constraints], planning.Plan],
    constraints: dict[str, Any],
    stops: Sequence[tuple[int, Literal["shutdown", "suspend"]]] = (),
    emptied: int = -1,
) -> _WorkedOut:
    """Ask for a plan and carry it out in the pool in memory; what that refuses is barred, and a plan asked for anew.

    Parameters
    ----------
    ask : of the fleet as it is after the stops, and constraints
    emptied : the host that is disabled first
    """
    after = stopped(fleet, [vm for vm, _ in stops]) if stops else fleet
    barred: dict[int, dict[int, str]] = {}
    replays: dict[int, Replay] = {}
    first: planning.Plan | None = None
    for attempt in range(REPLANS):
        with as_question():
            plan = ask(after, forgetting(_barred(fleet, constraints, barred), dict(stops)))
        first = first or plan
        interrupted = plan.interrupted
        try:
            migrations, blocked = plan.migrations, plan.blocked
        except KeyboardInterrupt:
            migrations, blocked, interrupted = [], "the search for an order was interrupted", True
        lost = plan.vms[plan.host < 0].tolist()
        held = {vm: plan.stays[vm] for vm in lost if vm in plan.stays}
        if blocked or len(held) < len(lost):
            return _WorkedOut(_weakened(plan, first, barred), [], held, [], [], blocked, interrupted, None, replays)
        waits = is_nowhere(after)[plan.vms] & (plan.host >= 0)
        is_stopped = np.isin(plan.vms, [vm for vm, _ in stops])
        starting = list(
            zip(plan.vms[waits & ~is_stopped].tolist(), plan.host[waits & ~is_stopped].tolist(), strict=True)
        )
        refusal = _refusal(fleet, replays, stops, emptied, migrations, starting)
        if refusal is None:
            return _WorkedOut(
                _weakened(plan, first, barred), list(stops), held, migrations, starting, "", interrupted, None, replays
            )
        if refusal.vm is None or refusal.action in ("shutdown", "suspend") or attempt == REPLANS - 1:
            break
        assert refusal.host is not None, "a VM goes somewhere"
        vm, host = int(fleet.vms.find(refusal.vm.ref)[0]), int(fleet.hosts.find(refusal.host.ref)[0])
        if vm in constraints.get("pinned", {}):
            break
        barred.setdefault(vm, {})[host] = refusal.code
    return _WorkedOut(plan, [], held, [], [], "", interrupted, refusal, replays)


def _refusal(
    fleet: Fleet,
    replays: dict[int, Replay],
    stops: Sequence[tuple[int, Literal["shutdown", "suspend"]]],
    emptied: int,
    migrations: Sequence[planning.Migration],
    starting: Sequence[tuple[int, int]],
) -> Refusal | None:
    """What the pools in memory refuse of a plan; each is made once, and only where there is something to do."""
    steps: dict[int, list[Step]] = {}
    if emptied >= 0:
        steps[int(fleet.hosts.pool[emptied])] = [Step("disable", -1, emptied)]
    done = [Step(action, vm, -1) for vm, action in stops]
    done += [Step("migrate", migration.vm, migration.target) for migration in migrations]
    done += [Step(_starts(fleet, vm), vm, host) for vm, host in starting]
    for step in done:
        steps.setdefault(int(fleet.vms.pool[step.vm]), []).append(step)
    for pool, wanted in steps.items():
        if pool not in replays:
            replays[pool] = Replay(fleet, pool)
        refusal = replays[pool].refusal(wanted)
        if refusal is not None:
            return refusal
    return None


def _starts(fleet: Fleet, vm: int) -> Literal["start", "resume"]:
    return "resume" if fleet.vms.power_state[vm] == PowerState.SUSPENDED else "start"


def _barred(fleet: Fleet, constraints: dict[str, Any], barred: Mapping[int, Mapping[int, str]]) -> dict[str, Any]:
    """The constraints, and that VMs do not go where the pool does not let them; who can go nowhere stays."""
    if not barred:
        return constraints
    affinity, immovable = dict(constraints.get("affinity", {})), dict(constraints.get("immovable", {}))
    here, able = whereabouts(fleet.vms), fleet.hosts.enabled & fleet.hosts.live
    for vm, hosts in barred.items():
        among = affinity.get(vm, np.flatnonzero(fleet.hosts.pool == fleet.vms.pool[vm]).tolist())
        left = [host for host in among if host not in hosts]
        if any(able[host] and host != here[vm] for host in left) or here[vm] < 0:
            affinity[vm] = left
        else:
            immovable[vm] = ", ".join(dict.fromkeys(hosts.values()))
            affinity.pop(vm, None)
    return {**constraints, "affinity": affinity, "immovable": immovable}


def _weakened(plan: planning.Plan, first: planning.Plan, barred: Mapping[int, Mapping[int, str]]) -> planning.Plan:
    """Less is proved where the pool refused moves that it may accept at another moment."""
    codes = {code for hosts in barred.values() for code in hosts.values()}
    if codes.isdisjoint(OF_THE_MOMENT):
        return plan
    why = f"what the pool refuses at its moment was planned around ({', '.join(sorted(codes & OF_THE_MOMENT))})"
    reason = f"{plan.reason}; {why}" if plan.reason else why
    if plan.is_complete:
        status: Literal["optimal", "feasible", "unknown"] = "optimal" if plan.value == first.bound else "feasible"
        return replace(plan, status=status, bound=first.bound, reason=reason)
    return replace(plan, status="unknown", reason=reason)


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
    what = {
        "stays": ("VM stays where it is", "VMs stay where they are"),
        "cannot-start": ("VM would not start anywhere", "VMs would not start anywhere"),
        "ignored": ("VM is left on the host", "VMs are left on the host"),
    }
    names = listed([f"{fleet.vms.label(vm)} ({in_words(why)})" for vm, why in sorted(vms.items())])
    return [Finding(kind=kind, text=f"{counted(len(vms), *what[kind])}: {names}", vms=refs(fleet.vms, vms))]


def _own_plan(fleet: Fleet, host: int, worked_out: _WorkedOut) -> OwnPlan:
    """What host.evacuate does in the pool in memory."""
    vms, pool = fleet.vms, int(fleet.hosts.pool[host])
    if pool not in worked_out.replays:
        worked_out.replays[pool] = Replay(fleet, pool)
    found = worked_out.replays[pool].evacuate(host)
    copied = sum(int(vms.memory_dynamic_min[vm]) for vm, _ in found.migrations)
    refused = [f"{vms.label(vm)}: {code}" if vm >= 0 else code for vm, code in found.refusals.items()]
    if refused:
        text = f"The pool itself would move nothing: {listed(refused)}."
    else:
        count = counted(len(found.migrations), "migration")
        text = f"The pool's own plan: {count}, {format_size(copied)} to copy."
    return OwnPlan(len(found.migrations), copied, refused, text)


# ------------------------------------------------------------------------------------------------------------- answers


def _answer_of(
    fleet: Fleet,
    worked_out: _WorkedOut,
    title: str,
    answer: Callable[[Fleet, _WorkedOut], tuple[Outcome, str]],
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
        add(vm, _starts(fleet, vm), host)

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


def _moved(worked_out: _WorkedOut) -> str:
    """How much is moved, in words."""
    copied = sum(migration.copied for migration in worked_out.migrations)
    parts = []
    if worked_out.stops:
        parts.append(f"{counted(len(worked_out.stops), 'VM is', 'VMs are')} stopped first")
    parts.append(f"{counted(len(worked_out.migrations), 'migration')}, {format_size(copied)} to copy")
    if worked_out.starting:
        parts.append(counted(len(worked_out.starting), "start"))
    return ", ".join(parts)


def _refused(what: str, worked_out: _WorkedOut) -> tuple[Outcome, str] | None:
    """The answer where the plan cannot be carried out or is not known."""
    if worked_out.refusal is not None:
        return ("no" if worked_out.refusal.vm is None else "unknown"), f"{what}: {worked_out.refusal.text}."
    if worked_out.blocked:
        return "unknown", f"{what}: {worked_out.blocked}."
    return None


def _emptied(
    host: int, least: LeastStopped | None, is_left: bool, fleet: Fleet, worked_out: _WorkedOut
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


def _packed(fleet: Fleet, worked_out: _WorkedOut) -> tuple[Outcome, str]:
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


def _freed(fleet: Fleet, worked_out: _WorkedOut) -> tuple[Outcome, str]:
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


def _levelled(fleet: Fleet, worked_out: _WorkedOut) -> tuple[Outcome, str]:
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


def is_nowhere(fleet: Fleet) -> Bools:
    """The VMs that are on no host."""
    return whereabouts(fleet.vms) < 0


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


def in_words(why: str) -> str:
    """Why a VM cannot move, in words beside the pool's code."""
    return f"{OF_THE_GUEST[why]}, {why}" if why in OF_THE_GUEST else why


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


# ------------------------------------------------------------------------------------------------------------- actions


def actions(plan: MovePlan) -> list[script.Action]:
    """What carries a plan out, in its order.

    Raises
    ------
    QuestionError : the plan is not whole, concerns several pools, or a VM or host of it has no uuid
    """
    if plan.status in ("infeasible", "unknown") or plan.blocked:
        hint = "; --may-stop immobile shuts down first what cannot move" if plan.held else ""
        raise QuestionError(f"there is no whole plan to write: {plan.blocked or plan.reason}{hint}")
    if sum(bool(pool.moves) for pool in plan.pools) > 1:
        raise QuestionError("the plan concerns several pools: write it for one inventory at a time")
    steps = [] if plan.disabled is None else [script.disable(plan.disabled)]
    for pool in plan.pools:
        steps += [_action(move) for move in pool.moves]
    return steps


def _action(move: PlannedMove) -> script.Action:
    if move.target is None:
        return script.shutdown(move.vm) if move.action == "shutdown" else script.suspend(move.vm)
    if move.action == "migrate":
        return script.migrate(move.vm, move.target, move.source)
    return (script.start if move.action == "start" else script.resume)(move.vm, move.target)


def heading(plan: MovePlan) -> list[str]:
    """What a script says of the plan that it carries out."""
    pools = [pool for pool in plan.pools if pool.moves] or plan.pools
    return [f"{plan.title}. {label(pool.pool)}, {pool.pool.source}." for pool in pools] + [plan.proof]
