"""An independent look at a plan: plain loops over the inventory's own columns, nothing shared with the planners.

The first violation found is raised. Amounts are bytes. Only the Plan's shape is taken from the planning package.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xenmem.fleet import PowerState

if TYPE_CHECKING:
    from xenmem.fleet import Fleet
    from xenmem.planning.plan import Plan


class Violation(Exception):  # noqa: N818  (what was found in a plan, not a failure of the program)
    """A plan breaks a rule.

    Attributes
    ----------
    rule : which: ``shape``, ``immovable``, ``host``, ``pool``, ``memory``, ``vcpus``, ``version``, ``pinned``,
        ``affinity``, ``anti_affinity``, ``same_host``, ``migrations``, ``value`` or ``status``
    """

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(f"{rule}: {text}")
        self.rule = rule


class _World:
    """What the checks need to know, by rows: dictionaries of plain integers."""

    def __init__(self) -> None:
        self.room: dict[int, int] = {}
        self.need: dict[int, int] = {}
        self.used: dict[int, int] = {}
        self.now: dict[int, int] = {}
        self.vm_pool: dict[int, int] = {}
        self.host_pool: dict[int, int] = {}
        self.vcpus: dict[int, int] = {}
        self.cpus: dict[int, int] = {}
        self.version: dict[int, list[list[int]]] = {}
        self.groups: list[set[int]] = []
        self.fixed: dict[int, int] = {}
        self.held: set[int] = set()
        self.guests_elsewhere: set[int] = set()


def verify(
    plan: Plan,
    fleet: Fleet | None = None,
    *,
    sizes: npt.ArrayLike | None = None,
    free: npt.ArrayLike | None = None,
    origin: npt.ArrayLike | None = None,
    hosts: npt.ArrayLike | None = None,
    policy: str = "static_max",
    pinned: Mapping[int, int] | None = None,
    affinity: Mapping[int, Sequence[int]] | None = None,
    anti_affinity: Sequence[Sequence[int]] = (),
    same_host: Sequence[Sequence[int]] = (),
    headroom: npt.ArrayLike = 0,
    priority: Mapping[int, int] | None = None,
    vm_groups: bool | str = True,
    vcpus: bool = True,
    immovable: Mapping[int, str] | None = None,
) -> None:
    """Check a plan against what was asked: the placement, every single migration, and what the plan says of itself.

    Parameters
    ----------
    plan : of any planner of this package
    fleet : the one that was planned for; None for a plan of bare sizes
    sizes, free, origin : what pack_sizes was given; None with a fleet
    hosts, policy : as they were given to the planner, its default policy included
    pinned, affinity, anti_affinity, same_host, headroom, priority, vm_groups, vcpus, immovable : as they were given

    Raises
    ------
    Violation : the first rule that the plan breaks
    ValueError : neither a fleet nor sizes and free are given

    Notes
    -----
    That a better plan does not exist cannot be checked here; that the value is what the placement gives, can. Of a plan
    for balance, VMs that do not move may go on to share a host with others of their VM group, or to have more vCPUs
    than it has CPUs; and a host to which nobody goes may stay overcommitted.
    """
    if fleet is not None:
        world = _fleet_world(plan, fleet, hosts, policy, vm_groups, vcpus)
    elif sizes is not None and free is not None:
        world = _bare_world(sizes, free, origin)
    else:
        raise ValueError("fleet: give it, or sizes and free")
    kept = np.asarray(headroom)
    for host in world.room:
        world.room[host] -= int(kept if kept.ndim == 0 else kept[host])
    vms = [int(vm) for vm in plan.vms]
    if len(vms) != len(plan.host) or len(set(vms)) != len(vms):
        raise Violation("shape", f"{len(vms)} VMs, {len(set(vms))} of them different, and {len(plan.host)} hosts")
    if sizes is not None and len(vms) != len(world.need):
        raise Violation("shape", f"{len(vms)} VMs where {len(world.need)} sizes were given")
    target = {vm: int(host) for vm, host in zip(vms, plan.host, strict=True)}
    world.held |= set(immovable or ()) & {vm for vm, host in world.now.items() if host >= 0}
    for vm in sorted(world.held):
        if target[vm] not in (-1, world.now[vm]):
            raise Violation("immovable", f"VM {vm} leaves host {world.now[vm]} and cannot migrate now")
    balances = plan.objective == "even"
    _check_hosts(world, target, pinned or {}, affinity or {}, balances=balances)
    for group in same_host:
        together = {target[vm] for vm in group}
        if len(together) > 1:
            raise Violation("same_host", f"the VMs {sorted(group)} are on the hosts {sorted(together)}")
    company = {**world.fixed, **{vm: host for vm, host in target.items() if host >= 0}}
    moving = {vm for vm, host in target.items() if host != world.now[vm]} if balances else set(target)
    asked = [set(group) for group in anti_affinity]
    _check_company(asked, company, set(target))
    if vm_groups == "strict":
        _check_company(world.groups, company, moving)
        world.groups += asked
    else:
        _check_no_worse(world.groups, company, {**world.fixed, **world.now})
        world.groups = asked
    _check_memory(world, target, stays_over=balances and plan.value < 0)
    _check_migrations(world, plan, target)
    _check_claims(world, plan, target)


def _fleet_world(
    plan: Plan, fleet: Fleet, hosts: npt.ArrayLike | None, policy: str, vm_groups: bool | str, vcpus: bool
) -> _World:
    world = _World()
    table, machines = fleet.vms, fleet.hosts
    wanted = range(len(machines)) if hosts is None else [int(host) for host in np.asarray(hosts)]
    chosen = {int(vm) for vm in plan.vms}
    if not chosen <= set(range(len(table))):
        raise Violation("shape", f"there is no VM {min(chosen - set(range(len(table))))}")
    amount = {
        "static_max": table.accounted_static_max,
        "dynamic_max": table.memory_dynamic_max,
        "dynamic_min": table.memory_dynamic_min,
    }[policy]
    start = fleet.start_memory(policy)
    largest = fleet.start_memory("static_max")
    overhead = fleet.overhead()
    for host, software in enumerate(machines.software_version):
        master = int(fleet.pools.master[machines.pool[host]])
        entries = ["platform_version", "xapi_build", "xen"]
        if master >= 0 and (own := _numbers(machines.xapi_version[master])) and own < [25, 31]:
            entries = ["platform_version"]
        world.version[host] = [_numbers(software.get(entry, "0.0.0")) for entry in entries]
    for host in wanted:
        if machines.enabled[host] and machines.live[host]:
            world.room[host] = int(machines.memory_total[host]) - int(machines.memory_overhead[host])
            world.host_pool[host] = int(machines.pool[host])
            world.cpus[host] = int(machines.cpu_count[host]) if vcpus else 0
    for vm in range(len(table)):
        resident, scheduled = int(table.resident_on[vm]), int(table.scheduled_to_be_resident_on[vm])
        rests = table.power_state[vm] in (PowerState.HALTED, PowerState.SUSPENDED) and not table.current_operations[vm]
        waits = resident < 0 and rests
        if vm in chosen:
            world.now[vm] = -1 if waits else resident if resident >= 0 else scheduled
            halted = world.now[vm] < 0
            world.used[vm] = int(amount[vm]) + int(overhead[vm] if halted else table.memory_overhead[vm])
            shim = int(table.accounted_domain_type[vm]) == 2
            world.need[vm] = int(largest[vm] if shim else start[vm])
            world.vm_pool[vm] = int(table.pool[vm])
            world.vcpus[vm] = 0 if table.vcpu_unrestricted[vm] else int(table.VCPUs_max[vm])
            if resident >= 0 and scheduled in world.room:  # a migration is under way
                world.room[scheduled] -= world.used[vm]
            if world.now[vm] >= 0 and (
                table.power_state[vm] != PowerState.RUNNING
                or scheduled >= 0
                or not (machines.live[resident] or machines.is_coordinator[resident])
            ):
                world.held.add(vm)
            continue
        for host in (resident, scheduled):
            if host in world.room:
                world.room[host] -= int(amount[vm]) + int(table.memory_overhead[vm])
                world.fixed[vm] = host
                if not (waits or table.is_a_template[vm] or table.is_a_snapshot[vm] or table.is_control_domain[vm]):
                    world.guests_elsewhere.add(host)
    if vm_groups:
        for group, placement in enumerate(fleet.vm_groups.placement):
            if placement == "anti_affinity":
                guests = np.flatnonzero(table.is_guest)
                world.groups.append({int(vm) for vm in guests if group in table.groups[vm]})
    return world


def _numbers(text: str) -> list[int]:
    return [
        int(part) for part in re.split(r"[.-]", "-".join(text.split("-", 2)[:2])) if re.fullmatch("[0-9]{1,18}", part)
    ]


def _is_older(world: _World, host: int, than: int) -> bool:
    return any(own < other for own, other in zip(world.version[host], world.version[than], strict=True))


def _bare_world(sizes: npt.ArrayLike, free: npt.ArrayLike, origin: npt.ArrayLike | None) -> _World:
    world = _World()
    amounts = [int(size) for size in np.asarray(sizes)]
    world.need = dict(enumerate(amounts))
    world.used = dict(enumerate(amounts))
    world.now = dict(enumerate([-1] * len(amounts) if origin is None else [int(h) for h in np.asarray(origin)]))
    world.room = {host: int(room) for host, room in enumerate(np.asarray(free))}
    world.version = {host: [] for host in world.room}
    world.vm_pool = dict.fromkeys(world.need, 0)
    world.host_pool = dict.fromkeys(world.room, 0)
    world.vcpus = dict.fromkeys(world.need, 0)
    world.cpus = dict.fromkeys(world.room, 0)
    return world


def _check_hosts(
    world: _World,
    target: dict[int, int],
    pinned: Mapping[int, int],
    affinity: Mapping[int, Sequence[int]],
    *,
    balances: bool,
) -> None:
    for vm, host in target.items():
        if host == -1:
            continue
        if host not in world.room:
            raise Violation("host", f"VM {vm} is on host {host}, which takes no part")
        if world.vm_pool[vm] != world.host_pool[host]:
            raise Violation("pool", f"VM {vm} leaves its pool for host {host}")
        choice = {pinned[vm]} if vm in pinned else set(affinity.get(vm, ())) & world.room.keys()
        stays = host == world.now[vm] and (balances or choice == {host})
        if not stays and world.cpus[host] and world.vcpus[vm] > world.cpus[host]:
            raise Violation("vcpus", f"VM {vm} has {world.vcpus[vm]} vCPUs, host {host} {world.cpus[host]} CPUs")
        if world.now[vm] >= 0 and _is_older(world, host, world.now[vm]):
            raise Violation("version", f"VM {vm} goes from host {world.now[vm]} to the older host {host}")
        if vm in pinned and host != pinned[vm]:
            raise Violation("pinned", f"VM {vm} is on host {host} instead of {pinned[vm]}")
        if vm in affinity and host not in set(affinity[vm]):
            raise Violation("affinity", f"VM {vm} is on host {host}, which its affinity excludes")


def _check_company(groups: list[set[int]], on: dict[int, int], ours: set[int]) -> None:
    for group in groups:
        seen: dict[int, int] = {}
        for vm in sorted(group & on.keys()):
            other = seen.setdefault(on[vm], vm)
            if other != vm and (vm in ours or other in ours):
                raise Violation("anti_affinity", f"VMs {other} and {vm} share host {on[vm]}")


def _check_no_worse(groups: list[set[int]], on: dict[int, int], before: dict[int, int]) -> None:
    """No host gets several VMs of a VM group that has not as many now."""
    for group in groups:
        crowds = Counter(on[vm] for vm in group & on.keys())
        known = Counter(before[vm] for vm in group & before.keys())
        for host, count in sorted(crowds.items()):
            if count > max(1, known[host]):
                raise Violation("anti_affinity", f"{count} VMs of a group share host {host}, and {known[host]} do now")


def _check_memory(world: _World, target: dict[int, int], *, stays_over: bool) -> None:
    """What stays or arrives live counts as used; what starts is admitted after it, the most demanding first.

    With `stays_over` the plan says that a host stays overcommitted: one may, to which nobody goes.
    """
    left = dict(world.room)
    arriving: dict[int, list[int]] = defaultdict(list)
    for vm, host in target.items():
        if host == -1:
            continue
        if world.now[vm] < 0:
            arriving[host].append(vm)
        else:
            left[host] -= world.used[vm]
    for host in {host for host in target.values() if host >= 0}:
        for vm in sorted(arriving[host], key=lambda vm: world.used[vm] - world.need[vm]):
            if left[host] < world.need[vm]:
                raise Violation(
                    "memory", f"host {host} has {left[host]} left for VM {vm}, which needs {world.need[vm]}"
                )
            left[host] -= world.used[vm]
        joined = any(on == host != world.now[vm] for vm, on in target.items())
        if left[host] < 0 and (joined or not stays_over):
            raise Violation("memory", f"host {host} is over its memory by {-left[host]}")


def _check_migrations(world: _World, plan: Plan, target: dict[int, int]) -> None:
    on = {vm: host for vm, host in world.now.items() if host >= 0}
    left = dict(world.room)
    for vm, host in on.items():
        if host in left:
            left[host] -= world.used[vm]
    for number, (vm, source, host, _, temporary) in enumerate(plan.migrations):
        where = f"migration {number} of VM {vm} from host {source} to host {host}"
        if on.get(vm) != source:
            raise Violation("migrations", f"{where}: it is on {on.get(vm, 'no host')}")
        if host not in left or world.host_pool[host] != world.vm_pool[vm]:
            raise Violation("migrations", f"{where}: the host takes no part, or is in another pool")
        if host == source:
            raise Violation("migrations", f"{where}: it is there already")
        if _is_older(world, host, source):
            raise Violation("version", f"{where}: that runs an older version")
        if left[host] < max(world.need[vm], world.used[vm]):
            raise Violation("migrations", f"{where}: {left[host]} is free, {world.need[vm]} is needed")
        for group in world.groups:
            if vm in group:
                for other in group - {vm}:
                    if on.get(other, world.fixed.get(other)) == host:
                        raise Violation("migrations", f"{where}: VM {other} of its anti-affinity group is there")
        home = target[vm] if target[vm] >= 0 else world.now[vm]
        if temporary == (host == home):
            raise Violation("migrations", f"{where}: it is {'not ' * (not temporary)}said to be temporary")
        left[host] -= world.used[vm]
        if source in left:
            left[source] += world.used[vm]
        on[vm] = host
    if plan.blocked:
        return
    for vm, host in target.items():
        if vm in on and host >= 0 and on[vm] != host:
            raise Violation("migrations", f"VM {vm} ends on host {on[vm]} instead of {host}")
        if vm in on and host < 0 and on[vm] != world.now[vm]:
            raise Violation("migrations", f"VM {vm} is not placed, and yet leaves host {world.now[vm]}")


def _check_claims(world: _World, plan: Plan, target: dict[int, int]) -> None:
    placed = sum(host >= 0 for host in target.values())
    complete = plan.status in ("optimal", "feasible")
    if complete != (placed == len(target)):
        raise Violation("status", f"{plan.status} with {placed} of {len(target)} VMs placed")
    value: Any = placed
    lower_is_better = False
    if complete:
        if plan.objective == "fewest-hosts":
            value = len(set(target.values()) | world.guests_elsewhere)
            lower_is_better = True
        elif plan.objective == "fewest-migrations":
            value = sum(world.now[vm] >= 0 and world.now[vm] != host for vm, host in target.items())
            lower_is_better = True
        elif plan.objective == "even":
            pools = {world.vm_pool[vm] for vm in target} or set(world.host_pool.values())
            left = {host: room for host, room in world.room.items() if world.host_pool[host] in pools}
            for vm, host in target.items():
                left[host] -= world.used[vm]
            value = min(left.values(), default=0)
    if plan.value != value:
        raise Violation("value", f"the plan says {plan.value}, the placement gives {value}")
    if plan.bound > plan.value if lower_is_better else plan.bound < plan.value:
        raise Violation("value", f"the value {plan.value} is better than the bound {plan.bound}")
    if complete and (plan.status == "optimal") != (plan.bound == plan.value):
        raise Violation("status", f"{plan.status} with value {plan.value} and bound {plan.bound}")
