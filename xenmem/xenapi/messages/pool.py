"""The messages of the class pool: what high availability survives, and which host coordinates.

Source: docs/reference/messages.md, 7.5 and 8.1 (xapi-project/xen-api, ocaml/xapi/xapi_pool.ml, xapi_ha_vm_failover.ml,
xapi_pool_license.ml).
"""

from typing import TYPE_CHECKING, Final

from xenmem.datamodel import errors
from xenmem.datamodel.errors import Failure
from xenmem.rules.start import RESTART, RESTART_PRIORITIES
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import (
    Bool,
    HostRef,
    HostRefs,
    Int,
    PoolRef,
    SRRefs,
    String,
    StringMap,
    VMRefs,
    VMRefToString,
    VMRefToStringMap,
    message,
)
from xenmem.xenapi.rules import boot, evacuation, ha
from xenmem.xenapi.rules.agility import Agility

if TYPE_CHECKING:
    from xenmem.xenapi.store import rows


@message("pool")
def ha_failover_plan_exists(call: Call, n: Int) -> Bool:
    """Whether every protected VM survives so many host failures, whether or not HA is enabled.

    Notes
    -----
    False also if only the VMs survive that may run anywhere. Source: xapi_pool.ml: ha_failover_plan_exists.
    """
    return ha.plan_exists(call, n)


@message("pool")
def ha_compute_max_host_failures_to_tolerate(call: Call) -> Int:
    """The largest number of host failures that the pool says it survives; with HA enabled its fields follow.

    Notes
    -----
    Found by bisection; 0 even where 0 is not survivable. Source: xapi_pool.ml.
    """
    from xenmem.planning.xapi.failover import status_after_computing_max

    survivable = ha.max_host_failures(call)
    pool = call.db.the_pool
    if pool.ha_enabled:
        wanted, planned = pool.ha_host_failures_to_tolerate, pool.ha_plan_exists_for
        ha.write_status(call, status_after_computing_max(wanted, planned, survivable))
    return survivable


@message("pool", errors=(errors.INVALID_VALUE, errors.HANDLE_INVALID))
def ha_compute_hypothetical_max_host_failures_to_tolerate(call: Call, configuration: VMRefToString) -> Int:
    """The same if exactly the VMs with the priority `restart` in a map were protected; nothing is stored."""
    for priority in configuration.values():
        if priority not in RESTART_PRIORITIES:
            raise errors.INVALID_VALUE("ha_restart_priority", priority)
    protected = {vm for vm, priority in configuration.items() if priority == RESTART}
    for vm in protected:
        call.db.VM[vm]
    return ha.max_host_failures(call, protected=lambda vm: vm.ref in protected)


@message("pool", errors=(errors.HANDLE_INVALID,))
def ha_compute_vm_failover_plan(call: Call, failed_hosts: HostRefs, failed_vms: VMRefs) -> VMRefToStringMap:
    """Where VMs would go if hosts failed, or why nowhere; hosts that are disabled take VMs, too.

    Notes
    -----
    Packs as an evacuation does, not as HA does. A VM that is not agile but has a place shows its place.
    Source: xapi_pool.ml: ha_compute_vm_failover_plan.
    """
    database = call.db
    hosts = [
        host
        for ref in database.host.refs()
        if ref not in failed_hosts and boot.is_live(database, host := database.host[ref])
    ]
    vms = [database.VM[ref] for ref in failed_vms]
    placed = evacuation.pack(call, hosts, vms)
    agility = Agility(call)
    without = {vm.ref: {"error_code": _why_not(agility, vm)} for vm in vms if vm.ref not in placed}
    return without | {vm: {"host": host} for vm, host in placed.items()}


def _why_not(agility: Agility, vm: "rows.VM") -> str:
    try:
        agility.assert_agile(vm)
    except Failure as failure:
        if failure.details[0] in evacuation.NO_API_ERRORS:
            raise
        return str(failure.details[0])
    return errors.HOST_NOT_ENOUGH_FREE_MEMORY.name


@message(
    "pool",
    errors=(errors.HANDLE_INVALID, errors.INVALID_VALUE, errors.HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN),
)
def set_ha_host_failures_to_tolerate(call: Call, self: PoolRef, value: Int) -> None:
    """Set how many host failures the pool is to survive, and plan for them. Source: xapi_pool.ml."""
    if value < 0:
        raise errors.INVALID_VALUE("ha_host_failures_to_tolerate", value)
    pool = call.db.pool[self]
    if pool.ha_plan_exists_for > 0:
        ha.assert_failures_can_be_tolerated(call, value)
    call.db.write(pool, "ha_host_failures_to_tolerate", value)
    ha.update_status(call)


@message("pool", errors=(errors.HA_IS_ENABLED, errors.NOT_SUPPORTED_DURING_UPGRADE))
def enable_ha(call: Call, heartbeat_srs: SRRefs, configuration: StringMap) -> None:
    """Turn HA on, and plan for as many host failures as ha_host_failures_to_tolerate says.

    Notes
    -----
    Neither the heartbeat's storage nor its network is looked at. Source: xapi_ha.ml: enable.
    """
    pool = call.db.the_pool
    if boot.is_upgrading(call.db):
        raise errors.NOT_SUPPORTED_DURING_UPGRADE()
    if pool.ha_enabled:
        raise errors.HA_IS_ENABLED()
    call.db.update(pool, {"ha_enabled": True, "ha_configuration": configuration})
    ha.update_status(call)


@message("pool", errors=(errors.HA_NOT_ENABLED,))
def disable_ha(call: Call) -> None:
    """Turn HA off; which VMs it is to restart stays as it is. Source: xapi_ha.ml: disable."""
    pool = call.db.the_pool
    if not pool.ha_enabled:
        raise errors.HA_NOT_ENABLED()
    call.db.update(pool, {"ha_enabled": False, "ha_overcommitted": False, "ha_plan_exists_for": 0})


@message("pool", errors=(errors.HANDLE_INVALID, errors.HOST_OFFLINE, errors.HA_IS_ENABLED))
def designate_new_master(call: Call, host: HostRef) -> None:
    """Make a host the pool's coordinator: its version decides, and VMs are rather started elsewhere.

    Notes
    -----
    Nothing happens if it is already. Source: xapi_pool.ml: designate_new_master.
    """
    pool = call.db.the_pool
    boot.assert_reachable(call.db, call.db.host[host].ref)
    if host == pool.master:
        return
    if pool.ha_enabled:
        raise errors.HA_IS_ENABLED()
    call.db.write(pool, "master", host)


@message("pool", errors=(errors.HANDLE_INVALID,))
def get_license_state(call: Call, self: PoolRef) -> StringMap:
    """The edition of the coordinator, and when the first licence of a host of that edition ends: a date, or `never`.

    Notes
    -----
    On the server the edition is the lowest of all hosts, by an order that only its licence daemon knows. Source:
    xapi_pool.ml: get_license_state; xapi_pool_license.ml: get_lowest_edition_with_expiry.
    """
    coordinator = call.db.host.get(call.db.pool[self].master)
    edition = "" if coordinator is None else coordinator.edition
    dates = (host.license_params.get("expiry", _NEVER) for host in call.db.host if host.edition == edition)
    return {"edition": edition, "expiry": min((date for date in dates if date != _NEVER), default=_NEVER)}


@message("pool", errors=(errors.HANDLE_INVALID, errors.V6D_FAILURE))
def apply_edition(call: Call, self: PoolRef, edition: String) -> None:
    """License every host for an edition; what one of them may not do the pool may not.

    Notes
    -----
    Which editions there are and what they allow the licence daemon says, which the hooks stand for. Source:
    xapi_pool_license.ml: apply_edition_with_rollback; pool_features.ml: update_pool_features.
    """
    database = call.db
    pool = database.pool[self]
    hosts = [database.host[ref] for ref in database.host.refs()]
    granted = [call.hooks.apply_edition(host, edition) for host in hosts]
    for host, params in zip(hosts, granted, strict=True):
        database.update(host, {"edition": edition, "license_params": host.license_params | params})
    restrictions = dict(pool.restrictions)
    for params in granted:
        for key, value in params.items():
            if key.startswith("restrict_"):
                restrictions[key] = value if all(one.get(key) == "false" for one in granted) else "true"
    database.write(pool, "restrictions", restrictions)


_NEVER: Final = "never"
