"""Where VMs go, and the migrations that lead there: pack, evacuate, consolidate and rebalance, asked by names.

Amounts are bytes. The searches are planning's; what they find is told by move_plan.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np

from xenmem import planning
from xenmem.answers.explain import host_obstacles, vm_obstacles
from xenmem.answers.immovable import standing_still, too_wide
from xenmem.answers.move_plan import MovePlan, OwnPlan, answer_of, is_nowhere
from xenmem.answers.naming import Finding, QuestionError, counted, host_label, listed, named, refs, vm_label
from xenmem.answers.report import kind_of
from xenmem.fleet import Fleet
from xenmem.planning.evacuation import guests_on_hosts
from xenmem.rules.hosts import version_classes
from xenmem.units import format_size

Report = Callable[[planning.Progress], None]

BANDWIDTH: Final = 1 << 30
"""Bytes a second that migrations are taken to copy, unless the caller knows better."""


def pack(
    fleet: Fleet,
    vms: Sequence[int] | None = None,
    hosts: Sequence[int] | None = None,
    objective: str = "all",
    policy: str = "static_max",
    *,
    running: bool = False,
    immovable: Mapping[int, str] | None = None,
    bandwidth: int = BANDWIDTH,
    time_limit: float | None = None,
    seed: int = 0,
    progress: Report | None = None,
    **constraints: Any,
) -> MovePlan:
    """A place for each of these VMs, and what leads there.

    VMs that cannot migrate stay where they are, and VMs that would not start are left out.

    Parameters
    ----------
    vms, hosts, objective, policy : as for planning.pack
    running : without vms, only the guests that are on a host
    immovable : VMs that cannot migrate, and why, as immovable.refused_migrations gives them; by default those that do
        not run
    bandwidth : bytes that migrations copy in a second, > 0
    time_limit, seed, progress : as for planning.pack
    constraints : the keywords of planning.Constraints

    Raises
    ------
    QuestionError : the question contradicts itself, or something in it does not exist
    """
    still = _still(fleet, immovable)
    for vm in vms or ():
        if not fleet.vms.is_guest[vm]:
            raise QuestionError(f"VM {vm_label(fleet, vm)} takes no part: {_why_not(fleet, vm, still)}")
    if vms is None:
        vms = (guests_on_hosts(fleet) if running else np.flatnonzero(fleet.vms.is_guest)).tolist()
    kept = {vm: still[vm] for vm in vms if vm in still}
    nowhere = is_nowhere(fleet)
    dead = {vm: found[0] for vm in vms if nowhere[vm] and (found := vm_obstacles(fleet, vm))}
    taking_part = [vm for vm in vms if vm not in kept and vm not in dead]
    _check(fleet, taking_part, hosts, constraints, still)
    plan = planning.pack(
        fleet, taking_part, hosts, objective, policy, time_limit=time_limit, seed=seed, progress=progress, **constraints
    )
    title = f"Place {counted(len(taking_part), 'VM')}, objective {objective}"
    warnings = [*_warning(fleet, "stays", kept), *_warning(fleet, "cannot-start", dead)]
    return answer_of(fleet, plan, title, policy, bandwidth, warnings=warnings)


def evacuate(
    fleet: Fleet,
    host: int,
    hosts: Sequence[int] | None = None,
    policy: str = "dynamic_min",
    *,
    immovable: Mapping[int, str] | None = None,
    bandwidth: int = BANDWIDTH,
    time_limit: float | None = None,
    seed: int = 0,
    progress: Report | None = None,
    **constraints: Any,
) -> MovePlan:
    """How a host is emptied, and what the pool itself would do.

    Parameters
    ----------
    host : row of the host
    hosts, policy : as for planning.evacuate
    immovable : VMs that cannot migrate, and why, as immovable.refused_migrations gives them; by default those that do
        not run
    bandwidth : bytes that migrations copy in a second, > 0
    time_limit, seed, progress : as for planning.pack
    constraints : the keywords of planning.Constraints

    Raises
    ------
    QuestionError : the question contradicts itself, or there is no other host
    """
    if np.count_nonzero(fleet.hosts.pool == fleet.hosts.pool[host]) == 1:
        raise QuestionError(f"host {host_label(fleet, host)} is the only one of its pool: its VMs have nowhere to go")
    unable = standing_still(fleet) if immovable is None else immovable
    still = {**{vm: why for vm, why in too_wide(fleet).items() if not _is_on(fleet, vm, host)}, **unable}
    movable = [vm for vm in guests_on_hosts(fleet).tolist() if vm not in still]
    _check(fleet, movable, hosts, constraints, still, emptied=host)
    held = {vm: why for vm, why in unable.items() if _is_on(fleet, vm, host)}
    if held:
        plan = _held(fleet, host, held)
    else:
        pool = np.flatnonzero(fleet.hosts.pool == fleet.hosts.pool[host]).tolist()
        taking = (_able(fleet) if hosts is None else set(hosts)) & set(pool) - {host}
        plan = planning.evacuate(
            fleet,
            host,
            hosts,
            policy,
            time_limit=time_limit,
            seed=seed,
            progress=progress,
            **_with_pins(fleet, constraints, still, taking),
        )
    return answer_of(
        fleet,
        plan,
        f"Evacuate host {host_label(fleet, host)}",
        policy,
        bandwidth,
        disabled=named(fleet.hosts, host),
        own_plan=_own_plan(fleet, host, still),
    )


def consolidate(
    fleet: Fleet,
    hosts: Sequence[int] | None = None,
    policy: str = "dynamic_min",
    *,
    immovable: Mapping[int, str] | None = None,
    bandwidth: int = BANDWIDTH,
    time_limit: float | None = None,
    seed: int = 0,
    progress: Report | None = None,
    **constraints: Any,
) -> MovePlan:
    """The most hosts emptied, with few and small migrations; arguments as for planning.consolidate.

    Raises
    ------
    QuestionError : the question contradicts itself
    """
    still = _still(fleet, immovable)
    pinned = _checked(fleet, hosts, constraints, still)
    plan = planning.consolidate(fleet, hosts, policy, time_limit=time_limit, seed=seed, progress=progress, **pinned)
    warnings = _warning(fleet, "stays", still)
    return answer_of(fleet, plan, "Consolidate onto the fewest hosts", policy, bandwidth, warnings=warnings)


def rebalance(
    fleet: Fleet,
    migrations: int,
    hosts: Sequence[int] | None = None,
    policy: str = "dynamic_min",
    *,
    immovable: Mapping[int, str] | None = None,
    bandwidth: int = BANDWIDTH,
    time_limit: float | None = None,
    seed: int = 0,
    progress: Report | None = None,
    **constraints: Any,
) -> MovePlan:
    """The most free memory on the fullest host after so many migrations; arguments as for planning.rebalance.

    Raises
    ------
    QuestionError : the question contradicts itself
    """
    still = _still(fleet, immovable)
    pinned = _checked(fleet, hosts, constraints, still)
    plan = planning.rebalance(
        fleet, migrations, hosts, policy, time_limit=time_limit, seed=seed, progress=progress, **pinned
    )
    warnings = _warning(fleet, "stays", still)
    return answer_of(
        fleet, plan, f"Rebalance by at most {counted(migrations, 'migration')}", policy, bandwidth, warnings=warnings
    )


def _still(fleet: Fleet, immovable: Mapping[int, str] | None) -> dict[int, str]:
    """The VMs that are left where they are, and why."""
    return {**too_wide(fleet), **(standing_still(fleet) if immovable is None else immovable)}


def _is_on(fleet: Fleet, vm: int, host: int) -> bool:
    return host in (fleet.vms.resident_on[vm], fleet.vms.scheduled_to_be_resident_on[vm])


def _able(fleet: Fleet) -> set[int]:
    return set(np.flatnonzero(fleet.hosts.enabled & fleet.hosts.live).tolist())


def _with_pins(
    fleet: Fleet, constraints: Mapping[str, Any], still: Mapping[int, str], taking: Collection[int]
) -> dict[str, Any]:
    """The constraints, and each VM that cannot migrate bound to its host, if that is among those that take VMs."""
    resident = fleet.vms.resident_on
    bound = {vm: int(resident[vm]) for vm in still if int(resident[vm]) in taking}
    return {**constraints, "pinned": {**constraints.get("pinned", {}), **bound}}


def _checked(
    fleet: Fleet, hosts: Sequence[int] | None, constraints: Mapping[str, Any], still: Mapping[int, str]
) -> dict[str, Any]:
    """The constraints of a question about all VMs that run, found free of contradictions, and those that stay bound."""
    _check(fleet, [vm for vm in guests_on_hosts(fleet).tolist() if vm not in still], hosts, constraints, still)
    return _with_pins(fleet, constraints, still, _able(fleet) if hosts is None else set(hosts))


def _warning(fleet: Fleet, kind: str, vms: Mapping[int, str]) -> list[Finding]:
    """That VMs are left where they are, or left out."""
    if not vms:
        return []
    what = {"stays": "stay where they are", "cannot-start": "would not start anywhere"}
    names = listed([f"{vm_label(fleet, vm)}: {why}" for vm, why in sorted(vms.items())])
    return [Finding(kind=kind, text=f"{counted(len(vms), 'VM')} {what[kind]} ({names})", vms=refs(fleet.vms, vms))]


def _held(fleet: Fleet, host: int, held: Mapping[int, str]) -> planning.Plan:
    """The answer where VMs of the host to be emptied cannot migrate."""
    vms = np.array([vm for vm in guests_on_hosts(fleet).tolist() if _is_on(fleet, vm, host)], np.int32)
    names = listed([f"{vm_label(fleet, vm)} ({why})" for vm, why in sorted(held.items())])
    return planning.Plan(
        objective="fewest-migrations",
        status="infeasible",
        vms=vms,
        host=np.full(len(vms), -1, np.int32),
        value=0,
        bound=0,
        reason=f"{counted(len(held), 'VM')} of {host_label(fleet, host)} cannot migrate: {names}",
        obstacle=planning.Obstacle(tuple(sorted(held)), (host,)),
    )


def _own_plan(fleet: Fleet, host: int, still: Mapping[int, str]) -> OwnPlan:
    """What host.evacuate would do."""
    vms = fleet.vms
    class_of, may_follow = version_classes(fleet.hosts.software_version, fleet.hosts.pool, fleet.pools.master)

    def boot_error(vm: int, target: int) -> tuple[str, ...] | None:
        obstacles = host_obstacles(
            fleet, target, int(vms.VCPUs_max[vm]), vcpu_unrestricted=bool(vms.vcpu_unrestricted[vm])
        )
        return (f"{host_label(fleet, target)}: {obstacles[0]}",) if obstacles else None

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
    refusals = [f"{vm_label(fleet, vm)}: {error[0]}" for vm, error in departures.errors.items()]
    if refusals:
        text = f"The pool itself would move nothing: {listed(refusals)}."
    else:
        count = counted(len(departures.migrations), "migration")
        text = f"The pool's own plan: {count}, {format_size(copied)} to copy."
    return OwnPlan(len(departures.migrations), copied, refusals, text)


def _check(
    fleet: Fleet,
    vms: Sequence[int],
    hosts: Sequence[int] | None,
    constraints: Mapping[str, Any],
    still: Mapping[int, str],
    emptied: int = -1,
) -> None:
    """What planning would refuse by row numbers, refused by names.

    Parameters
    ----------
    vms : that take part
    hosts : that are to take VMs, None for all that can
    still : VMs that cannot migrate, and why
    emptied : a host that takes none
    """
    for host in hosts or ():
        if host not in _able(fleet):
            raise QuestionError(f"host {host_label(fleet, host)} takes no VMs: {host_obstacles(fleet, host, 0)[0]}")
        if host == emptied:
            raise QuestionError(f"host {host_label(fleet, host)} is to be emptied, and takes no VMs")
    taking = _able(fleet) if hosts is None else set(hosts)
    taking.discard(emptied)
    known = {int(vm) for vm in vms}
    pinned: Mapping[int, int] = constraints.get("pinned", {})
    together = [set(group) for group in constraints.get("same_host", ())]
    apart = [set(group) for group in constraints.get("anti_affinity", ())]
    for vm in [*pinned, *(vm for group in (*together, *apart) for vm in sorted(group))]:
        if vm not in known:
            raise QuestionError(f"VM {vm_label(fleet, vm)} takes no part: {_why_not(fleet, vm, still)}")
    for vm, host in pinned.items():
        pin = f"VM {vm_label(fleet, vm)} cannot be pinned to host {host_label(fleet, host)}"
        if fleet.vms.pool[vm] != fleet.hosts.pool[host]:
            raise QuestionError(f"{pin}, which is in another pool")
        if host not in taking:
            raise QuestionError(f"{pin}, which is not among the hosts that take VMs")
    for group in together:
        names = listed([vm_label(fleet, vm) for vm in sorted(group)])
        if len({int(fleet.vms.pool[vm]) for vm in group}) > 1:
            raise QuestionError(f"VMs {names} cannot share a host: they are in different pools")
        homes = sorted({pinned[vm] for vm in group if vm in pinned})
        if len(homes) > 1:
            where = listed([host_label(fleet, host) for host in homes])
            raise QuestionError(f"VMs {names} cannot share a host: they are pinned to {where}")
        for other in apart:
            if len(both := sorted(group & other)) > 1:
                raise QuestionError(f"VMs {listed([vm_label(fleet, vm) for vm in both])} are to be together and apart")
    for group in apart:
        homes = sorted(pinned[vm] for vm in group if vm in pinned)
        twice = next((host for host in homes if homes.count(host) > 1), None)
        if twice is not None:
            names = listed([vm_label(fleet, vm) for vm in sorted(group) if pinned.get(vm) == twice])
            raise QuestionError(f"VMs {names} are to be apart, and are pinned to host {host_label(fleet, twice)}")


def _why_not(fleet: Fleet, vm: int, still: Mapping[int, str]) -> str:
    kind = kind_of(fleet, vm)
    if kind != "guest":
        return f"it is a {kind.replace('_', ' ')}"
    if vm in still:
        return f"it stays where it is, {still[vm]}"
    return "it is on no host" if is_nowhere(fleet)[vm] else "it is not among the VMs to be placed"
