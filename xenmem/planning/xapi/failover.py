"""High availability as the pool plans it: who is restarted where, and how many host failures it believes to survive.

HAPool holds what the planner reads of one pool, in bytes; it can be made from a Fleet or from plain columns. Everything
is named by the row numbers in HAPool.hosts and HAPool.vms (of a Fleet: its rows). Nothing is changed anywhere: what the
pool would write to its database is returned.
Source: docs/reference/planning.md, 3 (xapi-project/xen-api, ocaml/xapi/xapi_ha_vm_failover.ml, "HAF").
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from xenmem.columns import Bools, Bytes, Objects, Rows
from xenmem.fleet import Fleet
from xenmem.planning.checks import as_amounts, as_rows
from xenmem.planning.xapi.binpack import (
    Configuration,
    Plan,
    account,
    apply_plan,
    get_specific_plan,
    plan_always_possible,
    positions,
)
from xenmem.planning.xapi.errors import ConfigurationError, FailoverPlanBrokenError, PlanningError, RestartPriorityError
from xenmem.rules.mobility.guest import Agility
from xenmem.rules.mobility.matrix import is_allowed
from xenmem.rules.start import RESTART, RESTART_PRIORITIES, is_protected

_LAST: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class HAPool:
    """What HA planning reads of one pool; hosts and VMs in the order of the pool's database.

    Attributes
    ----------
    hosts : int32 array, shape (hosts,), row numbers
    host_uuid : object array, str
    host_enabled, host_live : bool arrays; live as the metrics say, False where they are unreadable
    host_free : int64 array, free memory under static_max, as the pool computes it: never below 0
    cluster_enabled : bool array, which hosts have an enabled Cluster_host; None without a Cluster object
    vms : int32 array, shape (vms,), row numbers of all VM records
    vm_uuid : object array, str
    protected : bool array
    resident_on, scheduled_to_be_resident_on : int32 arrays, row numbers of hosts, -1 for none
    size : int64 array, memory to start each VM at static_max
    agile : bool array, the VM may run on every enabled host
    bootable_hosts : the hosts, as row numbers, on which a VM that is not agile passes every boot check but memory and
        CPU features
    """

    hosts: Rows
    host_uuid: Objects
    host_enabled: Bools
    host_live: Bools
    host_free: Bytes
    cluster_enabled: Bools | None
    vms: Rows
    vm_uuid: Objects
    protected: Bools
    resident_on: Rows
    scheduled_to_be_resident_on: Rows
    size: Bytes
    agile: Bools
    bootable_hosts: Callable[[int], Iterable[int]]

    @classmethod
    def from_fleet(
        cls,
        fleet: Fleet,
        pool: int = 0,
        *,
        agile: npt.ArrayLike | None = None,
        bootable_hosts: Callable[[int], Iterable[int]] | None = None,
        cluster_enabled: npt.ArrayLike | None = None,
    ) -> "HAPool":
        """One pool of a Fleet.

        Parameters
        ----------
        fleet : any inventory
        pool : row of the pool
        agile : bool array, shape (vms of the fleet,); None: as the inventory tells, and what it does not tell is shared
        bootable_hosts : see the attribute; None: the enabled and live hosts of the pool that have its storage,
            networks and devices, as far as the inventory tells
        cluster_enabled : bool array, shape (hosts of the fleet,); None: the pool has no Cluster object

        Raises
        ------
        ValueError : the fleet has no such pool

        Notes
        -----
        Source: planning.md, 1, 3.1, 3.3 and 3.4.
        """
        hosts, vms = rows_of_pool(fleet, pool)

        able = fleet.hosts.enabled[hosts] & fleet.hosts.live[hosts]
        if agile is None:
            agile = fleet.agile_errors() == Agility.AGILE

        def enabled_and_live(vm: int) -> Iterable[int]:
            part = fleet.mobility.pool(pool)
            steps = part.first_step(with_cpu=False)[part.kind_of[np.searchsorted(part.vms, vm)]]
            return iter(hosts[able & is_allowed(steps)])

        return cls(
            hosts=hosts,
            host_uuid=fleet.hosts.uuid[hosts],
            host_enabled=fleet.hosts.enabled[hosts],
            host_live=fleet.hosts.live[hosts],
            host_free=fleet.free_memory("static_max")[hosts],
            cluster_enabled=None if cluster_enabled is None else np.asarray(cluster_enabled, np.bool_)[hosts],
            vms=vms,
            vm_uuid=fleet.vms.uuid[vms],
            protected=is_protected(fleet.vms.ha_always_run, fleet.vms.ha_restart_priority)[vms],
            resident_on=fleet.vms.resident_on[vms],
            scheduled_to_be_resident_on=fleet.vms.scheduled_to_be_resident_on[vms],
            size=fleet.start_memory("static_max")[vms],
            agile=np.asarray(agile, np.bool_)[vms],
            bootable_hosts=bootable_hosts or enabled_and_live,
        )

    def protecting(self, vms: npt.ArrayLike) -> "HAPool":
        """The same pool with exactly these VMs protected."""
        return replace(self, protected=np.isin(self.vms, as_rows("vms", vms)))


def rows_of_pool(fleet: Fleet, pool: int) -> tuple[Rows, Rows]:
    """The rows of a pool's hosts and of its VM records, in the order of the inventory.

    Parameters
    ----------
    fleet : any inventory
    pool : row of the pool

    Raises
    ------
    ValueError : the fleet has no such pool
    """
    if not 0 <= pool < len(fleet.pools):
        raise ValueError(f"pool: {pool} is outside 0..{len(fleet.pools) - 1}")
    hosts, vms = (np.flatnonzero(table.pool == pool).astype(np.int32) for table in (fleet.hosts, fleet.vms))
    return hosts, vms


class Move(NamedTuple):
    """A VM that hypothetically arrives at a host or leaves it.

    Attributes
    ----------
    host, vm : row numbers
    memory : bytes that the host loses or gains: memory to start the VM at static_max, or at dynamic_max for a control
        domain
    size : bytes to start the VM that arrives at its static_max; may differ from HAPool.size if its record does
    """

    host: int
    vm: int
    memory: int
    size: int


@dataclass(frozen=True)
class ConfigurationChange:
    """What is about to be different in the pool.

    Attributes
    ----------
    leaving, arriving : VMs that leave or come to a host
    hosts_to_disable : row numbers
    num_failures : failures to survive, instead of the number asked for
    new_vms_to_protect : row numbers of VMs

    Notes
    -----
    Source: planning.md, 3.5; HAF, ``configuration_change``.
    """

    leaving: tuple[Move, ...] = ()
    arriving: tuple[Move, ...] = ()
    hosts_to_disable: tuple[int, ...] = ()
    num_failures: int | None = None
    new_vms_to_protect: tuple[int, ...] = ()


NO_CHANGE: Final = ConfigurationChange()


def vm_arrives(fleet: Fleet, vm: int, host: int) -> ConfigurationChange:
    """The change that VM.start, start_on, resume, resume_on and a migration within the pool are checked with.

    Parameters
    ----------
    fleet : any inventory
    vm, host : rows; the host that was chosen

    Returns
    -------
    the VM becomes protected, if it has the priority to restart and did not have to run always; else it arrives there.
    No VM leaves: a migrating VM counts on both hosts

    Notes
    -----
    Source: planning.md, 3.5; ocaml/xapi/message_forwarding.ml, ``check_vm_preserves_ha_plan``.
    """
    if fleet.vms.ha_restart_priority[vm] == RESTART and not fleet.vms.ha_always_run[vm]:
        return ConfigurationChange(new_vms_to_protect=(vm,))
    policy = "dynamic_max" if fleet.vms.is_control_domain[vm] else "static_max"
    memory, size = (int(fleet.start_memory(name)[vm]) for name in (policy, "static_max"))
    return ConfigurationChange(arriving=(Move(host, vm, memory, size),))


class RestartPlan(NamedTuple):
    """Where protected VMs that do not run are started, and the pool after that.

    Attributes
    ----------
    plan : VMs that are not agile first, then the agile ones in the order of the packing
    configuration : of the agile VMs, with the plan carried out: the starting point for failures to come
    not_restarted : int32 array, row numbers of the VMs for which there is no host, and of all that do not run and are
        not agile
    non_agile_protected_vms_exist : such VMs are to be ensured running
    """

    plan: Plan
    configuration: Configuration
    not_restarted: Rows
    non_agile_protected_vms_exist: bool


class Outcome(StrEnum):
    """What the pool says about a number of host failures (HAF: result)."""

    PLAN_EXISTS_FOR_ALL_VMS = "plan_exists_for_all_vms"
    PLAN_EXISTS_EXCLUDING_NON_AGILE_VMS = "plan_exists_excluding_non_agile_vms"
    NO_PLAN_EXISTS = "no_plan_exists"


class PoolStatus(NamedTuple):
    """The fields of the pool that a planner would write.

    Attributes
    ----------
    ha_overcommitted, ha_plan_exists_for : their new values
    alert : fewer failures are survivable than before, and the pool says so
    """

    ha_overcommitted: bool
    ha_plan_exists_for: int
    alert: bool


def get_live_set(pool: HAPool) -> Rows:
    """The hosts that are enabled and live: int32 array of row numbers, in the order of the database (HAF).

    Parameters
    ----------
    pool : see host_enabled and host_live

    Notes
    -----
    The HA daemon passes its own live set to the planner instead. Source: planning.md, 3.3.
    """
    return pool.hosts[pool.host_enabled & pool.host_live]


def _by_uuid(uuids: Objects) -> list[int]:
    return sorted(range(len(uuids)), key=lambda row: str(uuids[row]))


def compute_restart_plan(
    pool: HAPool,
    num_failures: int,
    *,
    live_set: npt.ArrayLike | None = None,
    change: ConfigurationChange = NO_CHANGE,
) -> RestartPlan:
    """Where the protected VMs that do not run are started now, and the configuration after that.

    Parameters
    ----------
    pool : the pool before the change
    num_failures : goes into the configuration
    live_set : row numbers of the hosts that HA takes to be alive; None: get_live_set
    change : what is about to be different

    Raises
    ------
    ConfigurationError : num_failures is negative or above the number of hosts; a row number is unknown
    ValueError : a free amount could leave the range of int64

    Notes
    -----
    Source: planning.md, 3.4; HAF, ``compute_restart_plan``.
    """
    num_failures = num_failures if change.num_failures is None else change.num_failures
    newly_protected = _places("new_vms_to_protect", pool.vms, change.new_vms_to_protect)
    row = np.concatenate([np.flatnonzero(pool.protected), newly_protected])
    vms, size, resident_on = pool.vms[row], pool.size[row], pool.resident_on[row]
    for move in change.leaving:
        resident_on[vms == move.vm] = -1
    for move in reversed(change.arriving):
        resident_on[vms == move.vm] = move.host
        size[vms == move.vm] = move.size

    order = np.array(_by_uuid(pool.host_uuid), np.int64)
    alive = pool.host_enabled & pool.host_live & ~np.isin(pool.hosts, as_rows("hosts", change.hosts_to_disable))
    alive &= np.isin(pool.hosts, get_live_set(pool) if live_set is None else as_rows("live_set", live_set))
    live = order[alive[order]]
    live_hosts = pool.hosts[live]
    sign = [(1, move) for move in change.leaving] + [(-1, move) for move in change.arriving]
    free = pool.host_free[live]
    for gain, move in sign:
        free[live_hosts == move.host] += gain * move.memory

    by_uuid = np.array(_by_uuid(pool.vm_uuid[row]), np.int64)
    row, vms, size, resident_on = row[by_uuid], vms[by_uuid], size[by_uuid], resident_on[by_uuid]
    scheduled_on = pool.scheduled_to_be_resident_on[row]
    accounted = np.where(
        np.isin(resident_on, live_hosts), resident_on, np.where(np.isin(scheduled_on, live_hosts), scheduled_on, -1)
    )
    agile, placed = pool.agile[row], accounted >= 0

    pins = [(vm, _pin(pool, order, int(vm))) for vm in vms[~agile & ~placed]]
    non_agile_plan = Plan(
        np.array([vm for vm, host in pins if host is not None], np.int32),
        np.array([host for _, host in pins if host is not None], np.int32),
    )
    everybody = Configuration(live_hosts, free, vms, size, vms[:0], vms[:0], len(pool.hosts), num_failures)
    configuration = replace(
        everybody,
        free=account(everybody, non_agile_plan),
        vms=vms[agile],
        sizes=size[agile],
        placed_vms=vms[agile & placed],
        placed_hosts=accounted[agile & placed],
    )
    configuration.check()
    agile_plan = get_specific_plan(configuration, vms[agile & ~placed])
    not_restarted = vms[~placed & ~np.isin(vms, agile_plan.vms)]
    configuration = apply_plan(configuration, agile_plan)
    configuration.check()
    plan = Plan(*(np.concatenate(parts) for parts in zip(non_agile_plan, agile_plan, strict=True)))
    return RestartPlan(plan, configuration, not_restarted, not bool(agile.all()))


def _pin(pool: HAPool, order: NDArray[np.int64], vm: int) -> int | None:
    """The first host by uuid that can boot a VM which is not agile."""
    bootable = set(pool.bootable_hosts(vm))
    return next((int(host) for host in pool.hosts[order] if int(host) in bootable), None)


def _places(name: str, table: Rows, wanted: Sequence[int]) -> NDArray[np.int64]:
    rows = as_rows(name, wanted)
    place = positions(table, rows)
    if (place < 0).any():
        index = int(np.argmin(place))
        raise ConfigurationError(f"{name}: {rows[index]} at index {index} is no row of the pool")
    return place


def plan_for_n_failures(
    pool: HAPool,
    num_failures: int,
    *,
    live_set: npt.ArrayLike | None = None,
    change: ConfigurationChange = NO_CHANGE,
) -> Outcome:
    """What the pool says about this many host failures.

    Parameters
    ----------
    pool, num_failures, live_set, change : as for compute_restart_plan

    Returns
    -------
    Outcome; whatever goes wrong while planning means that there is no plan

    Notes
    -----
    Source: planning.md, 3.6; HAF, ``plan_for_n_failures``.
    """
    try:
        restart = compute_restart_plan(pool, num_failures, live_set=live_set, change=change)
        if len(restart.not_restarted) or not plan_always_possible(restart.configuration):
            return Outcome.NO_PLAN_EXISTS
    except PlanningError:
        return Outcome.NO_PLAN_EXISTS
    if restart.non_agile_protected_vms_exist:
        return Outcome.PLAN_EXISTS_EXCLUDING_NON_AGILE_VMS
    return Outcome.PLAN_EXISTS_FOR_ALL_VMS


def plan_exists_for_all(pool: HAPool, num_failures: int, *, live_set: npt.ArrayLike | None = None) -> bool:
    """What ``pool.ha_failover_plan_exists`` answers: True only if all protected VMs are restarted.

    Parameters
    ----------
    pool, num_failures, live_set : as for compute_restart_plan

    Notes
    -----
    Source: planning.md, 3.8; xapi_pool.ml, ``ha_failover_plan_exists``.
    """
    return plan_for_n_failures(pool, num_failures, live_set=live_set) is Outcome.PLAN_EXISTS_FOR_ALL_VMS


def compute_max_host_failures_to_tolerate(pool: HAPool, *, live_set: npt.ArrayLike | None = None) -> int:
    """The largest number of host failures that the pool says it survives.

    Parameters
    ----------
    pool, live_set : as for compute_restart_plan

    Returns
    -------
    found by bisection, as if an answer "no" stayed so for every larger number; 0 also where not even 0 is survivable

    Notes
    -----
    What ``pool.ha_compute_max_host_failures_to_tolerate`` answers.
    Source: planning.md, 3.7; HAF, ``compute_max_host_failures_to_tolerate``; xapi_clustering.ml,
    ``compute_corosync_max_host_failures``.
    """
    hosts = len(pool.hosts)
    upper = hosts
    if pool.cluster_enabled is not None:
        disabled = int(np.count_nonzero(~pool.cluster_enabled))
        upper = int((hosts - disabled - 1) / 2) + disabled
    lower = 0
    while upper - lower >= 2:
        middle = (lower + upper) // 2
        if plan_exists_for_all(pool, middle, live_set=live_set):
            lower = middle
        else:
            upper = middle
    return upper if plan_exists_for_all(pool, upper, live_set=live_set) else lower


def compute_hypothetical_max_host_failures_to_tolerate(
    pool: HAPool, configuration: Mapping[int, str], *, live_set: npt.ArrayLike | None = None
) -> int:
    """The same for other restart priorities than the VMs have.

    Parameters
    ----------
    pool : as for compute_restart_plan
    configuration : row number of a VM to its restart priority; the VMs with ``restart`` are protected, no others
    live_set : as for compute_restart_plan

    Raises
    ------
    RestartPriorityError : a priority does not exist

    Notes
    -----
    Source: planning.md, 3.8; xapi_pool.ml, ``ha_compute_hypothetical_max_host_failures_to_tolerate``.
    """
    for priority in configuration.values():
        if priority not in RESTART_PRIORITIES:
            raise RestartPriorityError(priority)
    protected = [vm for vm, priority in configuration.items() if priority == RESTART]
    return compute_max_host_failures_to_tolerate(pool.protecting(protected), live_set=live_set)


def update_pool_status(
    pool: HAPool,
    ha_host_failures_to_tolerate: int,
    ha_plan_exists_for: int,
    *,
    live_set: npt.ArrayLike | None = None,
) -> PoolStatus:
    """The pool's fields after a status update.

    Parameters
    ----------
    pool : as for compute_restart_plan
    ha_host_failures_to_tolerate, ha_plan_exists_for : the fields before
    live_set : as for compute_restart_plan

    Notes
    -----
    Source: planning.md, 3.8; HAF, ``update_pool_status``.
    """
    if plan_exists_for_all(pool, ha_host_failures_to_tolerate, live_set=live_set):
        return PoolStatus(False, ha_host_failures_to_tolerate, False)
    survivable = compute_max_host_failures_to_tolerate(pool, live_set=live_set)
    return _limited(ha_host_failures_to_tolerate, ha_plan_exists_for, survivable)._replace(ha_overcommitted=True)


def status_after_computing_max(
    ha_host_failures_to_tolerate: int, ha_plan_exists_for: int, survivable: int
) -> PoolStatus:
    """The pool's fields after ``pool.ha_compute_max_host_failures_to_tolerate`` answered `survivable`, with HA on.

    Parameters
    ----------
    ha_host_failures_to_tolerate, ha_plan_exists_for : the fields before
    survivable : the answer

    Notes
    -----
    Source: planning.md, 3.8; xapi_pool.ml, ``ha_compute_max_host_failures_to_tolerate``; HAF,
    ``mark_pool_as_overcommitted``.
    """
    return _limited(ha_host_failures_to_tolerate, ha_plan_exists_for, survivable)


def _limited(to_tolerate: int, plan_exists_for: int, survivable: int) -> PoolStatus:
    changes = plan_exists_for != survivable
    return PoolStatus(
        ha_overcommitted=to_tolerate > survivable,
        ha_plan_exists_for=min(to_tolerate, survivable) if changes else plan_exists_for,
        alert=survivable < plan_exists_for,
    )


def assert_configuration_change_preserves_ha_plan(
    pool: HAPool,
    change: ConfigurationChange,
    *,
    ha_enabled: bool,
    ha_allow_overcommit: bool,
    ha_plan_exists_for: int,
    live_set: npt.ArrayLike | None = None,
) -> None:
    """Refuse what would break the pool's failover plan.

    Parameters
    ----------
    pool : as for compute_restart_plan
    change : what is about to happen
    ha_enabled, ha_allow_overcommit, ha_plan_exists_for : fields of the pool; the last is the number of failures
    live_set : as for compute_restart_plan

    Raises
    ------
    FailoverPlanBrokenError : there is a plan for all VMs now, and none after the change

    Notes
    -----
    Source: planning.md, 3.5; HAF, ``assert_configuration_change_preserves_ha_plan``.
    """
    if not ha_enabled or ha_allow_overcommit or not plan_exists_for_all(pool, ha_plan_exists_for, live_set=live_set):
        return
    after = plan_for_n_failures(pool, ha_plan_exists_for, live_set=live_set, change=change)
    if after is not Outcome.PLAN_EXISTS_FOR_ALL_VMS:
        raise FailoverPlanBrokenError


class StartGroup(NamedTuple):
    """VMs whose starts are issued together; the next group waits until all of them have ended.

    Attributes
    ----------
    order : VM.order of the group; the maximum of int64 stands for every negative one
    vms : int32 array, row numbers, in the order in which the starts are issued
    hosts : int32 array, the planned hosts; -1 where VM.start chooses
    """

    order: int
    vms: Rows
    hosts: Rows


def group_by_order(plan: Plan, order: npt.ArrayLike) -> list[StartGroup]:
    """The VMs of a plan by their ``order``: ascending, the negative ones last, list order within a group.

    Parameters
    ----------
    plan : in the order in which the starts would be issued
    order : integer array, ``VM.order`` by row number of the VM; a Fleet's column vms.order

    Notes
    -----
    Source: planning.md, 3.9; HAF, ``restart_auto_run_vms``; helpers.ml, ``group_by``.
    """
    keys = as_amounts("order", order)[plan.vms]
    keys = np.where(keys < 0, _LAST, keys)
    return [StartGroup(int(key), plan.vms[keys == key], plan.hosts[keys == key]) for key in np.unique(keys)]


def restart_order(
    restart: RestartPlan | None, halted_protected: npt.ArrayLike, order: npt.ArrayLike
) -> list[StartGroup]:
    """The starts that HA issues after failures, group by group.

    Parameters
    ----------
    restart : the plan; None if the planner failed
    halted_protected : row numbers of the protected VMs that are Halted, in the order of the database
    order : as for group_by_order

    Returns
    -------
    the plan, if every VM has a host in it; else the plan is thrown away whole and VM.start chooses host by host

    Notes
    -----
    Within a group the starts run in parallel, and a group lasts as long as its slowest boot plus start_delay.
    Source: planning.md, 3.9; HAF, ``restart_auto_run_vms``.
    """
    if restart is not None and not len(restart.not_restarted):
        return group_by_order(restart.plan, order)
    vms = as_rows("halted_protected", halted_protected)
    return group_by_order(Plan(vms, np.full(len(vms), -1, np.int32)), order)
