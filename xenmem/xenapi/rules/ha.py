"""High availability: what the failover planner reads of the database, and the fields of the pool that follow.

The planner is xenmem.planning.xapi.failover. Of the VMs it is given those that are protected, and those that a question
names; to find them every VM is looked at, so that messages on a pool with HA enabled take time with its size. Source:
docs/reference/messages.md, 8; docs/reference/planning.md, 3 (xapi-project/xen-api, ocaml/xapi/xapi_ha_vm_failover.ml).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xenmem.datamodel import errors
from xenmem.datamodel.errors import Failure
from xenmem.rules import start
from xenmem.xenapi.rules import boot
from xenmem.xenapi.rules.agility import Agility
from xenmem.xenapi.store import accounting

if TYPE_CHECKING:
    from xenmem.planning.xapi.failover import ConfigurationChange, HAPool, PoolStatus
    from xenmem.xenapi.calls.call import Call
    from xenmem.xenapi.store import rows
    from xenmem.xenapi.store.database import Database


def is_protected(vm: "rows.VM") -> bool:
    """Whether HA restarts a VM."""
    return start.is_protected(vm.ha_always_run, vm.ha_restart_priority)


def clusters(database: "Database", hosts: "Iterable[rows.host]") -> list[bool] | None:
    """Whether the Cluster_host of each host is enabled; None if the pool has no corosync cluster.

    Notes
    -----
    Source: xapi_clustering.ml: compute_corosync_max_host_failures.
    """
    if not len(database.tables["Cluster"]):
        return None
    enabled = {member.host for member in database.tables["Cluster_host"] if member.enabled}
    return [host.ref in enabled for host in hosts]


@dataclass(frozen=True, slots=True)
class Question:
    """A pool as the planner sees it.

    Attributes
    ----------
    pool : what it reads
    hosts, vms : places in its columns, by reference
    """

    pool: "HAPool"
    hosts: Mapping[str, int]
    vms: Mapping[str, int]


def ask(
    call: "Call", named: Iterable["rows.VM"] = (), protected: "Callable[[rows.VM], bool]" = is_protected
) -> Question:
    """What the planner reads of the pool.

    Parameters
    ----------
    call : the database must be locked
    named : VMs that it is to know whether or not they are protected
    protected : whether a VM is

    Raises
    ------
    Failure : the memory of a VM cannot be computed
    """
    from xenmem.planning.xapi.failover import HAPool

    database, model = call.db, call.db.model
    hosts = [database.host[ref] for ref in database.host.refs()]
    vms = {vm.ref: vm for vm in database.VM if protected(vm)} | {vm.ref: vm for vm in named}
    live = [boot.is_live(database, host) for host in hosts]
    place = {host.ref: row for row, host in enumerate(hosts)}
    clustered = clusters(database, hosts)
    by_row = list(vms.values())
    agility = Agility(call)

    def bootable_hosts(row: int) -> Iterable[int]:
        vm = by_row[row]
        for ref, host in place.items():
            if boot.reason_against(call, vm, ref, cpu=False, memory=False) is None:
                yield host

    def free(host: "rows.host", is_live: bool) -> int:
        metrics = database.host_metrics.get(host.metrics)
        return accounting.free_memory(host, metrics, accounting.STATIC_MAX) if is_live and metrics is not None else 0

    pool = HAPool(
        hosts=np.arange(len(hosts), dtype=np.int32),
        host_uuid=np.array([host.uuid for host in hosts], np.object_),
        host_enabled=np.array([host.enabled for host in hosts], np.bool_),
        host_live=np.array(live, np.bool_),
        host_free=np.array([free(host, alive) for host, alive in zip(hosts, live, strict=True)], np.int64),
        cluster_enabled=None if clustered is None else np.array(clustered, np.bool_),
        vms=np.arange(len(vms), dtype=np.int32),
        vm_uuid=np.array([vm.uuid for vm in by_row], np.object_),
        protected=np.array([protected(vm) for vm in by_row], np.bool_),
        resident_on=np.array([place.get(vm.resident_on, -1) for vm in by_row], np.int32),
        scheduled_to_be_resident_on=np.array(
            [place.get(vm.scheduled_to_be_resident_on, -1) for vm in by_row], np.int32
        ),
        size=np.array([accounting.start_memory(model, vm, accounting.STATIC_MAX) for vm in by_row], np.int64),
        agile=np.array([agility.is_agile(vm) for vm in by_row], np.bool_),
        bootable_hosts=bootable_hosts,
    )
    return Question(pool, place, {ref: row for row, ref in enumerate(vms)})


def plan_exists(call: "Call", failures: int) -> bool:
    """Whether all protected VMs survive so many host failures; whatever goes wrong while planning means no."""
    from xenmem.planning.xapi import failover

    try:
        return failover.plan_exists_for_all(ask(call).pool, failures)
    except (Failure, ValueError):
        return False


def max_host_failures(call: "Call", protected: "Callable[[rows.VM], bool]" = is_protected) -> int:
    """The largest number of host failures that the pool says it survives; 0 if planning goes wrong."""
    from xenmem.planning.xapi import failover

    try:
        return failover.compute_max_host_failures_to_tolerate(ask(call, protected=protected).pool)
    except (Failure, ValueError):
        return 0


def write_status(call: "Call", status: "PoolStatus") -> None:
    """Store what a planner says of the pool."""
    pool = call.db.the_pool
    call.db.write(pool, "ha_overcommitted", status.ha_overcommitted)
    call.db.write(pool, "ha_plan_exists_for", status.ha_plan_exists_for)


def update_status(call: "Call") -> None:
    """Plan anew for ha_host_failures_to_tolerate, and store the outcome (HAF: update_pool_status)."""
    from xenmem.planning.xapi.failover import PoolStatus, status_after_computing_max

    pool = call.db.the_pool
    wanted, planned = pool.ha_host_failures_to_tolerate, pool.ha_plan_exists_for
    if plan_exists(call, wanted):
        write_status(call, PoolStatus(False, wanted, False))
    else:
        status = status_after_computing_max(wanted, planned, max_host_failures(call))
        write_status(call, status._replace(ha_overcommitted=True))


def _assert_preserved(
    call: "Call", named: Iterable["rows.VM"], change_of: "Callable[[Question], ConfigurationChange]"
) -> None:
    """The plan check (messages.md, 8.2; HAF: assert_configuration_change_preserves_ha_plan)."""
    pool = call.db.the_pool
    if not pool.ha_enabled or pool.ha_allow_overcommit:
        return
    from xenmem.planning.xapi import PlanningError, failover

    if not plan_exists(call, pool.ha_plan_exists_for):
        return
    try:
        question = ask(call, named)
        outcome = failover.plan_for_n_failures(question.pool, pool.ha_plan_exists_for, change=change_of(question))
    except (Failure, ValueError, PlanningError):
        outcome = failover.Outcome.NO_PLAN_EXISTS
    if outcome is not failover.Outcome.PLAN_EXISTS_FOR_ALL_VMS:
        raise errors.HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN()


def assert_host_can_go(call: "Call", host: "rows.host") -> None:
    """Raise HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN if the plan needs a host that is to be disabled or emptied."""

    def without_host(question: Question) -> "ConfigurationChange":
        from xenmem.planning.xapi.failover import ConfigurationChange

        return ConfigurationChange(hosts_to_disable=(question.hosts[host.ref],))

    _assert_preserved(call, (), without_host)


def assert_vm_can_come(call: "Call", vm: "rows.VM", host_ref: str) -> None:
    """Raise the same if it breaks when a VM starts, resumes or arrives on a host (MF: check_vm_preserves_ha_plan)."""
    if not call.db.the_pool.ha_enabled:
        return
    if vm.ha_restart_priority == start.RESTART and not vm.ha_always_run:
        assert_vm_can_be_protected(call, vm)
        return

    def arriving(question: Question) -> "ConfigurationChange":
        from xenmem.planning.xapi.failover import ConfigurationChange, Move

        policy = accounting.DYNAMIC_MAX if vm.is_control_domain else accounting.STATIC_MAX
        memory = accounting.start_memory(call.db.model, vm, policy)
        size = accounting.start_memory(call.db.model, vm, accounting.STATIC_MAX)
        return ConfigurationChange(arriving=(Move(question.hosts[host_ref], question.vms[vm.ref], memory, size),))

    _assert_preserved(call, (vm,), arriving)


def assert_vm_can_be_protected(call: "Call", vm: "rows.VM") -> None:
    """Raise the same if it breaks when a VM is protected as well."""

    def protecting(question: Question) -> "ConfigurationChange":
        from xenmem.planning.xapi.failover import ConfigurationChange

        return ConfigurationChange(new_vms_to_protect=(question.vms[vm.ref],))

    _assert_preserved(call, (vm,), protecting)


def assert_failures_can_be_tolerated(call: "Call", failures: int) -> None:
    """Raise the same if the plan does not hold for so many failures."""

    def more(_: Question) -> "ConfigurationChange":
        from xenmem.planning.xapi.failover import ConfigurationChange

        return ConfigurationChange(num_failures=failures)

    _assert_preserved(call, (), more)
