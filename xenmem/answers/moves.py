"""Where VMs go, and the migrations that lead there: pack, evacuate, consolidate and rebalance, asked by names.

Amounts are bytes. The searches are planning's; move_attempts tries them in the pool in memory, and move_verdicts
tells of them.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from xenmem import planning
from xenmem.answers.explain import vm_obstacles
from xenmem.answers.failover import MOMENT
from xenmem.answers.move_attempts import Leave, check_hosts, is_nowhere, pools_own_plan, stops_of, warning, work_out
from xenmem.answers.move_plan import BANDWIDTH, MovePlan
from xenmem.answers.move_verdicts import answer_of, consolidated, evacuated, levelled, packed
from xenmem.answers.naming import (
    QuestionError,
)
from xenmem.fleet import Fleet
from xenmem.planning.stopping import forgetting, least_stopped, stopped
from xenmem.rules.migration import whereabouts
from xenmem.text import counted

LEAST_STOPPED_SECONDS: Final = 5.0
"""For the least that is to be stopped, where no limit is given."""


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
    check_hosts(fleet, hosts)

    def ask(fleet: Fleet, more: planning.Constraints) -> planning.Plan:
        return planning.pack(fleet, taking_part, hosts, objective, policy, **search(), **more)

    search = _searching(time_limit, seed, progress)
    title = f"Place {counted(len(taking_part), 'VM')}, objective {objective}"
    worked_out = work_out(fleet, ask, constraints)
    plan = worked_out.plan
    warnings = [*warning(fleet, "stays", plan.stays), *warning(fleet, "cannot-start", dead)]
    return answer_of(fleet, worked_out, title, packed, policy, bandwidth, warnings=warnings)


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
    check_hosts(fleet, hosts, emptied=host)
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

    worked_out = work_out(fleet, ask, constraints, emptied=host)
    held = {vm: why for vm, why in worked_out.plan.stays.items() if vm in here}
    left |= {vm for vm in held if leave.ignore.has(vm, True)}
    stops = stops_of(fleet, held.keys() - left, held, leave)
    if stops or left.intersection(held):
        worked_out = work_out(fleet, ask, constraints, stops, emptied=host)
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
            worked_out = work_out(fleet, ask, constraints, stops, emptied=host)
    return answer_of(
        fleet,
        worked_out,
        f"Evacuate host {fleet.hosts.label(host)}",
        partial(evacuated, host, advice, bool(left.intersection(here))),
        policy,
        bandwidth,
        disabled=host,
        own_plan=pools_own_plan(fleet, host, worked_out),
        least=advice,
        warnings=warning(fleet, "ignored", dict.fromkeys(left & set(here), "as asked")),
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
    check_hosts(fleet, hosts)
    search = _searching(time_limit, seed, progress)
    on_hosts = np.flatnonzero(fleet.vms.is_guest & (whereabouts(fleet.vms) >= 0)).tolist()
    alone = {vm: "it is to be left alone" for vm in on_hosts if leave.ignore.has(vm)}
    constraints["immovable"] = alone | constraints.get("immovable", {})

    def ask(fleet: Fleet, more: planning.Constraints) -> planning.Plan:
        return planning.consolidate(fleet, hosts, policy, **search(), **more)

    worked_out = work_out(fleet, ask, constraints)
    stays = worked_out.plan.stays
    stops = stops_of(fleet, [vm for vm in on_hosts if vm not in alone], stays, leave)
    if stops:
        rows = [vm for vm, _ in stops]
        most = ask(stopped(fleet, rows), forgetting(constraints, rows))
        freed = {*most.emptied, *whereabouts(fleet.vms)[rows].tolist()} - _in_use(fleet, most)
        needed = [(vm, action) for vm, action in stops if int(whereabouts(fleet.vms)[vm]) in freed]
        if needed:
            with_stops = work_out(fleet, ask, constraints, needed)
            if with_stops.plan.is_complete and with_stops.plan.value < worked_out.plan.value:
                worked_out = with_stops
    warnings = warning(fleet, "stays", worked_out.plan.stays)
    return answer_of(
        fleet, worked_out, "Consolidate onto the fewest hosts", consolidated, policy, bandwidth, warnings=warnings
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
    check_hosts(fleet, hosts)
    search = _searching(time_limit, seed, progress)

    def ask(fleet: Fleet, more: planning.Constraints) -> planning.Plan:
        return planning.rebalance(fleet, migrations, hosts, policy, **search(), **more)

    worked_out = work_out(fleet, ask, constraints)
    warnings = warning(fleet, "stays", worked_out.plan.stays)
    title = f"Rebalance by at most {counted(migrations, 'migration')}"
    return answer_of(fleet, worked_out, title, levelled, policy, bandwidth, warnings=warnings)


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
