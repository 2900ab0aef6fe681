"""Plans that the pool in memory accepts: asked for, carried out there, and asked for anew around what it refuses.

Rows of a Fleet and planning's own plans; names come later, in move_verdicts.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from xenmem import planning
from xenmem.answers.explain import host_obstacles
from xenmem.answers.move_plan import OF_THE_GUEST, OwnPlan, in_words
from xenmem.answers.naming import (
    Finding,
    QuestionError,
    as_question,
    listed,
    refs,
)
from xenmem.answers.replay import OF_THE_MOMENT, Refusal, Replay, Step
from xenmem.columns import Bools
from xenmem.fleet import Fleet, PowerState
from xenmem.planning.stopping import forgetting, stopped
from xenmem.rules.migration import whereabouts
from xenmem.text import counted
from xenmem.units import format_size

REPLANS: Final = 50
"""Plans that are asked for in all where the pool in memory refuses steps."""


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


class WorkedOut(NamedTuple):
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


def work_out(
    fleet: Fleet,
    ask: Callable[[Fleet, planning.Constraints], planning.Plan],
    constraints: dict[str, Any],
    stops: Sequence[tuple[int, Literal["shutdown", "suspend"]]] = (),
    emptied: int = -1,
) -> WorkedOut:
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
            return WorkedOut(_weakened(plan, first, barred), [], held, [], [], blocked, interrupted, None, replays)
        waits = is_nowhere(after)[plan.vms] & (plan.host >= 0)
        is_stopped = np.isin(plan.vms, [vm for vm, _ in stops])
        starting = list(
            zip(plan.vms[waits & ~is_stopped].tolist(), plan.host[waits & ~is_stopped].tolist(), strict=True)
        )
        refusal = _refusal(fleet, replays, stops, emptied, migrations, starting)
        if refusal is None:
            return WorkedOut(
                _weakened(plan, first, barred), list(stops), held, migrations, starting, "", interrupted, None, replays
            )
        if refusal.vm is None or refusal.action in ("shutdown", "suspend") or attempt == REPLANS - 1:
            break
        assert refusal.host is not None, "a VM goes somewhere"
        vm, host = int(fleet.vms.find(refusal.vm.ref)[0]), int(fleet.hosts.find(refusal.host.ref)[0])
        if vm in constraints.get("pinned", {}):
            break
        barred.setdefault(vm, {})[host] = refusal.code
    return WorkedOut(plan, [], held, [], [], "", interrupted, refusal, replays)


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
    done += [Step(starts(fleet, vm), vm, host) for vm, host in starting]
    for step in done:
        steps.setdefault(int(fleet.vms.pool[step.vm]), []).append(step)
    for pool, wanted in steps.items():
        if pool not in replays:
            replays[pool] = Replay(fleet, pool)
        refusal = replays[pool].refusal(wanted)
        if refusal is not None:
            return refusal
    return None


def starts(fleet: Fleet, vm: int) -> Literal["start", "resume"]:
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


def check_hosts(fleet: Fleet, hosts: Sequence[int] | None, emptied: int = -1) -> None:
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


def warning(fleet: Fleet, kind: str, vms: Mapping[int, str]) -> list[Finding]:
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


def pools_own_plan(fleet: Fleet, host: int, worked_out: WorkedOut) -> OwnPlan:
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


def is_nowhere(fleet: Fleet) -> Bools:
    """The VMs that are on no host."""
    return whereabouts(fleet.vms) < 0
