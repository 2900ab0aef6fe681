"""Where VMs go, and the migrations that lead there: pack, evacuate, consolidate and rebalance, asked by names.

Amounts are bytes. The searches are planning's; what they find is told by move_plan.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from xenmem import planning
from xenmem.answers.explain import host_obstacles, vm_obstacles
from xenmem.answers.move_plan import MovePlan, OwnPlan, answer_of, is_nowhere
from xenmem.answers.naming import Finding, QuestionError, host_label, listed, named, refs, vm_label
from xenmem.fleet import Fleet
from xenmem.planning.versions import version_ranks
from xenmem.rules.migration import refusals, whereabouts
from xenmem.text import counted
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
    immovable : VMs that cannot migrate, and why, beside those of which planning knows it
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
    with _told_by_name():
        plan = planning.pack(
            fleet,
            taking_part,
            hosts,
            objective,
            policy,
            time_limit=time_limit,
            seed=seed,
            progress=progress,
            immovable=immovable or {},
            **constraints,
        )
    title = f"Place {counted(len(plan.vms), 'VM')}, objective {objective}"
    warnings = [*_warning(fleet, "stays", plan.stays), *_warning(fleet, "cannot-start", dead)]
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
    immovable : VMs that cannot migrate, and why, beside those of which planning knows it
    bandwidth : bytes that migrations copy in a second, > 0
    time_limit, seed, progress : as for planning.pack
    constraints : the keywords of planning.Constraints

    Raises
    ------
    QuestionError : the question contradicts itself, or there is no other host
    """
    if np.count_nonzero(fleet.hosts.pool == fleet.hosts.pool[host]) == 1:
        raise QuestionError(f"host {host_label(fleet, host)} is the only one of its pool: its VMs have nowhere to go")
    _check_hosts(fleet, hosts, emptied=host)
    with _told_by_name():
        plan = planning.evacuate(
            fleet,
            host,
            hosts,
            policy,
            time_limit=time_limit,
            seed=seed,
            progress=progress,
            immovable=immovable or {},
            **constraints,
        )
    return answer_of(
        fleet,
        plan,
        f"Evacuate host {host_label(fleet, host)}",
        policy,
        bandwidth,
        disabled=named(fleet.hosts, host),
        own_plan=_own_plan(fleet, host, {**refusals(fleet.vms, fleet.hosts), **(immovable or {})}),
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
    _check_hosts(fleet, hosts)
    asked = {"time_limit": time_limit, "seed": seed, "progress": progress, "immovable": immovable or {}, **constraints}
    with _told_by_name():
        plan = planning.consolidate(fleet, hosts, policy, **asked)
    warnings = _warning(fleet, "stays", plan.stays)
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
    _check_hosts(fleet, hosts)
    asked = {"time_limit": time_limit, "seed": seed, "progress": progress, "immovable": immovable or {}, **constraints}
    with _told_by_name():
        plan = planning.rebalance(fleet, migrations, hosts, policy, **asked)
    warnings = _warning(fleet, "stays", plan.stays)
    return answer_of(
        fleet, plan, f"Rebalance by at most {counted(migrations, 'migration')}", policy, bandwidth, warnings=warnings
    )


@contextmanager
def _told_by_name() -> Iterator[None]:
    """What planning refuses, as a question that cannot be answered: it names VMs and hosts as people do."""
    try:
        yield
    except ValueError as error:
        raise QuestionError(str(error)) from None


def _check_hosts(fleet: Fleet, hosts: Sequence[int] | None, emptied: int = -1) -> None:
    """Refuse a host that is named to take VMs and cannot; planning leaves it out.

    Parameters
    ----------
    hosts : that are to take VMs, None for all that can
    emptied : a host that takes none
    """
    for host in hosts or ():
        if not (fleet.hosts.enabled[host] and fleet.hosts.live[host]):
            raise QuestionError(f"host {host_label(fleet, host)} takes no VMs: {host_obstacles(fleet, host, 0)[0]}")
        if host == emptied:
            raise QuestionError(f"host {host_label(fleet, host)} is to be emptied, and takes no VMs")


def _warning(fleet: Fleet, kind: str, vms: Mapping[int, str]) -> list[Finding]:
    """That VMs are left where they are, or left out."""
    if not vms:
        return []
    what = {"stays": "stay where they are", "cannot-start": "would not start anywhere"}
    names = listed([f"{vm_label(fleet, vm)}: {why}" for vm, why in sorted(vms.items())])
    return [Finding(kind=kind, text=f"{counted(len(vms), 'VM')} {what[kind]} ({names})", vms=refs(fleet.vms, vms))]


def _own_plan(fleet: Fleet, host: int, still: Mapping[int, str]) -> OwnPlan:
    """What host.evacuate would do."""
    vms = fleet.vms
    version = version_ranks(fleet.hosts)

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
            version_not_lower=lambda source, target: bool(version[target] >= version[source]),
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
