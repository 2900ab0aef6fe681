"""Emptying a host as the pool does it: the plan with its anti-affinity phases, and what stands in its way.

The planner works on columns and names hosts and VMs by position; the questions of the API work on a Fleet and name
them by its rows. What an inventory cannot tell (boot checks, allowed operations) comes in as functions.
Amounts are bytes. Nothing is changed anywhere.
Source: docs/reference/planning.md, 4 (xapi-project/xen-api, ocaml/xapi/xapi_ha_vm_failover.ml, "HAF").
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from xenmem.columns import Bytes, Rows
from xenmem.fleet import Fleet, PowerState
from xenmem.planning.checks import as_amounts, as_rows, as_sizes, refuse
from xenmem.planning.pool_view import memory_to_leave
from xenmem.planning.xapi.binpack import Configuration, Plan, account, get_specific_plan
from xenmem.planning.xapi.errors import EvacuationDataCorruptedError
from xenmem.planning.xapi.failover import rows_of_pool
from xenmem.rules.hosts import names_unprotected, version_classes
from xenmem.rules.start import is_protected

Counts = NDArray[np.int64]
Error = tuple[str, ...]
"""Error code and parameters, as XenAPI reports them."""

SMALLEST_POOL_WITH_ANTI_AFFINITY: Final = 3
HOSTS_WITHOUT_BREACH: Final = 2
"""A group does not breach its anti-affinity once its VMs run on this many hosts."""
ANTI_AFFINITY: Final = "anti_affinity"


@dataclass(frozen=True, eq=False)
class Evacuation:
    """VMs that have to leave a host, and the hosts that may take them.

    Attributes
    ----------
    total_hosts : all hosts of the pool, the evacuated one included
    host_refs : the references of the target hosts; ties are broken by them
    free : int64 array, shape (hosts,), free memory of the targets under dynamic_min
    sizes : int64 array, shape (vms,), memory the planner reserves for each VM, >= 0
    group : int32 array, shape (vms,), each VM's anti-affinity group, -1 for none
    group_count : int64 array, shape (groups, hosts), how many VMs of each group are on each target
    vm_groups_enabled : the feature is licensed

    Raises
    ------
    TypeError, ValueError : a column has the wrong shape or type, or a value is out of range
    """

    total_hosts: int
    host_refs: Sequence[str]
    free: Bytes
    sizes: Bytes
    group: Rows
    group_count: Counts
    vm_groups_enabled: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "free", as_amounts("free", self.free))
        object.__setattr__(self, "sizes", as_sizes("sizes", self.sizes))
        object.__setattr__(self, "group", as_rows("group", self.group))
        count = np.asarray(self.group_count, np.int64)
        object.__setattr__(self, "group_count", count)
        if len(self.host_refs) != len(self.free):
            raise ValueError(f"host_refs: length {len(self.host_refs)} where free has {len(self.free)}")
        if len(self.group) != len(self.sizes):
            raise ValueError(f"group: length {len(self.group)} where sizes has {len(self.sizes)}")
        if count.ndim != 2 or count.shape[1] != len(self.free):
            raise ValueError(f"group_count: shape {count.shape} where free has {len(self.free)}")
        outside = (self.group < -1) | (self.group >= len(count))
        refuse("group", self.group, outside, f"is outside -1..{len(count) - 1}")

    def configuration(self) -> Configuration:
        """The packing problem without anti-affinity; hosts and VMs are named by position."""
        none = np.empty(0, np.int32)
        hosts, vms = (np.arange(len(column), dtype=np.int32) for column in (self.free, self.sizes))
        return Configuration(hosts, self.free, vms, self.sizes, none, none, self.total_hosts, num_failures=1)

    def anti_affine(self) -> Rows:
        """The VMs subject to anti-affinity, in the order given."""
        there = self.group >= 0 if self.vm_groups_enabled else np.zeros(len(self.group), np.bool_)
        return np.flatnonzero(there).astype(np.int32)


class _Queues:
    """For each group the hosts that it may still use, taken in the order of (its VMs there, free memory, reference).

    The reference keeps the free memory in every queue; since all queues that have a host change it together, one number
    per host does. It also drops a host that is too small from its group's queue for good; since the VMs come smallest
    first, such a host is too small for all that follow.
    """

    def __init__(self, evacuation: Evacuation, only_empty: bool) -> None:
        self.free = evacuation.free.tolist()
        self.count = evacuation.group_count.tolist()
        self.refs = evacuation.host_refs
        self.hosts = [
            [host for host, there in enumerate(counts) if there == 0 or not only_empty] for counts in self.count
        ]

    def first_with_room(self, group: int, size: int) -> int | None:
        """The first host of the group's queue with room for `size`."""
        count = self.count[group]
        with_room = [host for host in self.hosts[group] if size <= self.free[host]]
        return min(with_room, key=lambda host: (count[host], self.free[host], self.refs[host]), default=None)


def _ascending(evacuation: Evacuation) -> Iterable[tuple[int, int, int]]:
    """(VM, its group, its size) of the anti-affine VMs, smallest first."""
    vms = evacuation.anti_affine()
    for vm in vms[np.argsort(evacuation.sizes[vms], kind="stable")].tolist():
        yield vm, int(evacuation.group[vm]), int(evacuation.sizes[vm])


def _plan(assigned: list[tuple[int, int]]) -> Plan:
    pairs = np.array(assigned[::-1], np.int32).reshape(-1, 2)
    return Plan(pairs[:, 0], pairs[:, 1])


def spread_evenly_plan(evacuation: Evacuation) -> Plan:
    """Phase 1: each group evenly over the hosts; the anti-affine VMs only.

    Parameters
    ----------
    evacuation : the question

    Returns
    -------
    Plan by position, last assigned first; empty if the last VM fits nowhere

    Raises
    ------
    EvacuationDataCorruptedError : a VM that is not the last fits nowhere; a defect of the reference

    Notes
    -----
    Source: planning.md, 4.1; HAF, ``compute_spread_evenly_plan``, ``select_host_for_anti_aff_evac_plan``.
    """
    queues = _Queues(evacuation, only_empty=False)
    assigned: list[tuple[int, int]] = []
    stuck = False
    for vm, group, size in _ascending(evacuation):
        if stuck:
            raise EvacuationDataCorruptedError
        host = queues.first_with_room(group, size)
        if host is None:
            stuck = True
            continue
        queues.count[group][host] += 1
        queues.free[host] -= size
        assigned.append((vm, host))
    return _plan([] if stuck else assigned)


class NoBreachPlan(NamedTuple):
    """What phase 2 places.

    Attributes
    ----------
    plan : by position, last assigned first
    not_planned : int32 array, the other anti-affine VMs, the last considered first
    """

    plan: Plan
    not_planned: Rows


def no_breach_plan(evacuation: Evacuation) -> NoBreachPlan:
    """Phase 2: each group onto just as many hosts as keep it from a breach; the anti-affine VMs only.

    Parameters
    ----------
    evacuation : the question

    Notes
    -----
    Source: planning.md, 4.1; HAF, ``compute_no_breach_plan``.
    """
    queues = _Queues(evacuation, only_empty=True)
    used = np.count_nonzero(evacuation.group_count, axis=1).tolist()
    assigned: list[tuple[int, int]] = []
    not_planned: list[int] = []
    for vm, group, size in _ascending(evacuation):
        host = None if used[group] >= HOSTS_WITHOUT_BREACH else queues.first_with_room(group, size)
        if host is None:
            not_planned.append(vm)
            continue
        queues.hosts[group].remove(host)
        queues.free[host] -= size
        used[group] += 1
        assigned.append((vm, host))
    return NoBreachPlan(_plan(assigned), np.array(not_planned[::-1], np.int32))


def _completed(configuration: Configuration, phase: Plan, rest: Rows) -> Plan | None:
    """The plan of a phase and the packing of all other VMs; None if there is no plan or the others do not all fit."""
    if not len(phase.vms):
        return None
    after = replace(configuration, free=account(configuration, phase))
    packed = get_specific_plan(after, rest)
    if len(packed.vms) != len(rest):
        return None
    return Plan(np.concatenate([phase.vms, packed.vms]), np.concatenate([phase.hosts, packed.hosts]))


def compute_evacuation_plan(evacuation: Evacuation) -> Plan:
    """Where the VMs of a host go.

    Parameters
    ----------
    evacuation : the question

    Returns
    -------
    Plan by position in the reference's order; VMs without a place are not in it

    Raises
    ------
    ConfigurationError : total_hosts is 0
    EvacuationDataCorruptedError : phase 1 stumbles over its own defect, whether or not a plan exists

    Notes
    -----
    Source: planning.md, 4.1; HAF, ``compute_evacuation_plan``, ``compute_anti_aff_evac_plan``.
    """
    configuration = evacuation.configuration()
    configuration.check()
    everybody = configuration.vms
    if evacuation.total_hosts >= SMALLEST_POOL_WITH_ANTI_AFFINITY and evacuation.vm_groups_enabled:
        others = everybody[~np.isin(everybody, evacuation.anti_affine())]
        spread = _completed(configuration, spread_evenly_plan(evacuation), others)
        if spread is not None:
            return spread
        plan, not_planned = no_breach_plan(evacuation)
        unbroken = _completed(configuration, plan, np.concatenate([others, not_planned]))
        if unbroken is not None:
            return unbroken
    return get_specific_plan(configuration, everybody)


# --------------------------------------------------------------------------------------------- questions about a Fleet


def anti_affinity_group(fleet: Fleet, vm: int) -> int:
    """The row of a VM's first group that wants its VMs apart, -1 if none (xapi_vm_helpers.ml: vm_has_anti_affinity)."""
    return next((group for group in fleet.vms.groups[vm] if fleet.vm_groups.placement[group] == ANTI_AFFINITY), -1)


def host_to_vm_count(fleet: Fleet, group: int) -> Counts:
    """How many VMs of a group each host has: int64 array, shape (hosts of the fleet,).

    Parameters
    ----------
    fleet : any inventory
    group : row of vm_groups

    Notes
    -----
    A VM counts where it is scheduled, else where it is resident if it is Running; paused VMs do not count.
    Source: planning.md, 4.1; ocaml/xapi/xapi_vm_helpers.ml, ``host_to_vm_count_map``.
    """
    member = np.fromiter((group in groups for groups in fleet.vms.groups), np.bool_, len(fleet.vms))
    running = np.where(fleet.vms.power_state == PowerState.RUNNING, fleet.vms.resident_on, -1)
    scheduled = fleet.vms.scheduled_to_be_resident_on
    host = np.where(scheduled >= 0, scheduled, running)[member]
    return np.bincount(host[host >= 0], minlength=len(fleet.hosts))


def evacuation_of(fleet: Fleet, hosts: Rows, vms: Rows, total_hosts: int, vm_groups_enabled: bool) -> Evacuation:
    """The planner's question for VMs and target hosts of a Fleet, given by row; positions are places in these two.

    Parameters
    ----------
    fleet : any inventory
    hosts : rows of the targets
    vms : rows of the VMs
    total_hosts : all hosts of the pool
    vm_groups_enabled : the pool has the feature of VM groups
    """
    vm_group = [anti_affinity_group(fleet, vm) for vm in vms.tolist()]
    groups = sorted(set(vm_group) - {-1})
    counts = [host_to_vm_count(fleet, group)[hosts] for group in groups]
    return Evacuation(
        total_hosts=total_hosts,
        host_refs=[str(ref) for ref in fleet.hosts.ref[hosts]],
        free=fleet.free_memory("dynamic_min")[hosts],
        sizes=memory_to_leave(fleet)[vms],
        group=np.array([groups.index(group) if group >= 0 else -1 for group in vm_group], np.int32),
        group_count=np.array(counts, np.int64).reshape(len(groups), len(hosts)),
        vm_groups_enabled=vm_groups_enabled,
    )


class Departures(NamedTuple):
    """What becomes of each VM of a host that is evacuated, by row of the fleet.

    Attributes
    ----------
    migrations : VM to host, in the order of the plan
    errors : VM to error code and parameters, in the order of the database
    """

    migrations: dict[int, int]
    errors: dict[int, Error]


def no_error(_vm: int, _host: int) -> Error | None:
    """The boot check for callers that know no obstacle."""
    return None


def plan_host_evacuation(
    fleet: Fleet,
    host: int,
    *,
    vm_groups_enabled: bool = True,
    boot_error: Callable[[int, int], Error | None] = no_error,
    migrate_error: Callable[[int], Error | None] = lambda _vm: None,
    version_not_lower: Callable[[int, int], bool] | None = None,
) -> Departures:
    """Where each VM of a host goes when it is evacuated, or why it cannot go.

    Parameters
    ----------
    fleet, host : the host, as a row
    vm_groups_enabled : the pool has the feature of VM groups
    boot_error : of a VM and a host, as rows: the error of the first boot check that fails, all but memory
    migrate_error : of a VM: why it cannot be migrated now
    version_not_lower : of this host and a target: the target's version is not lower; None: as the records tell

    Returns
    -------
    Departures. host.evacuate refuses if there is any error; host.get_vms_which_prevent_evacuation lists the errors

    Raises
    ------
    ConfigurationError, EvacuationDataCorruptedError : as for compute_evacuation_plan
    ValueError : the fleet has no such host

    Notes
    -----
    Source: planning.md, 4.2; ocaml/xapi/xapi_host.ml, ``compute_evacuation_plan_no_wlb``.
    """
    if not 0 <= host < len(fleet.hosts):
        raise ValueError(f"host: {host} is outside 0..{len(fleet.hosts) - 1}")
    pool = int(fleet.hosts.pool[host])
    hosts, vms = rows_of_pool(fleet, pool)
    vms = vms[(fleet.vms.resident_on[vms] == host) & ~fleet.vms.is_control_domain[vms]]
    class_of, may_follow = version_classes(fleet.hosts.software_version, fleet.hosts.pool, fleet.pools.master)
    targets = [
        target
        for target in hosts[fleet.hosts.enabled[hosts]].tolist()
        if target != host
        and (
            may_follow[class_of[host], class_of[target]]
            if version_not_lower is None
            else version_not_lower(host, target)
        )
    ]
    errors: dict[int, Error] = {}

    if not targets:
        for vm in vms.tolist():
            errors[vm] = ("NO_HOSTS_AVAILABLE", str(fleet.vms.ref[vm]))
        return Departures({}, errors)

    master = int(fleet.pools.master[pool])
    named = names_unprotected(fleet.hosts.software_version[master] if master >= 0 else {})
    unprotected = "HOST_EVACUATE_VM_NOT_HA_PROTECTED" if named else "HOST_NOT_ENOUGH_FREE_MEMORY"
    protected = is_protected(fleet.vms.ha_always_run, fleet.vms.ha_restart_priority)
    migratable = []
    for vm in vms.tolist():
        if fleet.pools.ha_enabled[pool] and not protected[vm]:
            errors[vm] = (unprotected, str(fleet.vms.ref[vm]))
            continue
        boot_errors = [error for target in targets if (error := boot_error(vm, target)) is not None]
        if boot_errors:
            errors[vm] = boot_errors[0]
        else:
            migratable.append(vm)
    for vm in vms.tolist():
        if (error := migrate_error(vm)) is not None:
            errors[vm] = error

    places, hosts_taken = compute_evacuation_plan(
        evacuation_of(fleet, np.array(targets, np.int32), np.array(migratable, np.int32), len(hosts), vm_groups_enabled)
    )
    planned = {migratable[place]: targets[taken] for place, taken in zip(places, hosts_taken, strict=True)}
    for vm in migratable:
        if vm not in planned:
            errors[vm] = ("HOST_NOT_ENOUGH_FREE_MEMORY", str(fleet.vms.ref[vm]))
    migrations = {vm: target for vm, target in planned.items() if vm not in errors}
    return Departures(migrations, {vm: errors[vm] for vm in vms.tolist() if vm in errors})


def compute_vm_failover_plan(
    fleet: Fleet,
    failed_hosts: npt.ArrayLike,
    failed_vms: npt.ArrayLike,
    *,
    pool: int = 0,
    vm_groups_enabled: bool = True,
    agility_error: Callable[[int], str | None] = lambda _vm: None,
) -> dict[int, int | str]:
    """Where VMs of failed hosts would go: what ``pool.ha_compute_vm_failover_plan`` answers.

    Parameters
    ----------
    fleet : any inventory
    failed_hosts : rows; the other live hosts take the VMs, enabled or not
    failed_vms : rows, in the order in which equal ones are placed
    pool : row of the pool
    vm_groups_enabled : the pool has the feature of VM groups
    agility_error : of a VM: the error code that says why it is not agile

    Returns
    -------
    VM to its host's row, or to an error code; those without a host come first

    Raises
    ------
    ConfigurationError, EvacuationDataCorruptedError : as for compute_evacuation_plan

    Notes
    -----
    Uses the sizes and the free memory of an evacuation, not those of HA planning, so that the two can disagree.
    Source: planning.md, 3.8; ocaml/xapi/xapi_pool.ml, ``ha_compute_vm_failover_plan``.
    """
    hosts, _ = rows_of_pool(fleet, pool)
    live = hosts[fleet.hosts.live[hosts] & ~np.isin(hosts, as_rows("failed_hosts", failed_hosts))]
    vms = as_rows("failed_vms", failed_vms)
    places, taken = compute_evacuation_plan(evacuation_of(fleet, live, vms, len(hosts), vm_groups_enabled))
    planned = dict(zip(vms[places].tolist(), live[taken].tolist(), strict=True))
    answer: dict[int, int | str] = {
        vm: agility_error(vm) or "HOST_NOT_ENOUGH_FREE_MEMORY" for vm in vms.tolist() if vm not in planned
    }
    return answer | planned
