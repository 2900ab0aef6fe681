"""The messages of the class host. Amounts are bytes.

Source: docs/reference/messages.md, 2.3, 3 and 7 (xapi-project/xen-api, ocaml/xapi/xapi_host.ml, message_forwarding.ml).
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Annotated, Final

from xenmem.datamodel import enum, errors
from xenmem.datamodel.errors import HANDLE_INVALID, Failure
from xenmem.datamodel.types import NULL
from xenmem.kernel import MODELS
from xenmem.rules.hosts import model_name
from xenmem.units import KIB, MIB
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import (
    MESSAGES,
    Bool,
    Date,
    Float,
    HostRef,
    Int,
    NetworkRef,
    String,
    VMRef,
    VMRefs,
    VMRefToStrings,
    message,
)
from xenmem.xenapi.calls.process import Process
from xenmem.xenapi.rules import boot, evacuation, ha, host_operations, lifecycle, reach
from xenmem.xenapi.store import accounting

if TYPE_CHECKING:
    from xenmem.xenapi.store import rows

NUMAPolicy = Annotated[str, enum("host_numa_affinity_policy")]


@message("host", errors=(HANDLE_INVALID,))
def compute_free_memory(call: Call, host: HostRef) -> Int:
    """The memory of a host that is not spoken for if every guest shrinks to its dynamic_min.

    Notes
    -----
    Counts stored overheads, and VMs scheduled to the host as well as those resident; never below 0.
    Source: xapi_host.ml: compute_free_memory.
    """
    row = call.db.host[host]
    return accounting.free_memory(row, call.db.host_metrics[row.metrics])


@message("host", errors=(HANDLE_INVALID,))
def compute_memory_overhead(call: Call, host: HostRef) -> Int:
    """The memory that the hypervisor takes on a host, as sampled when it booted. Source: memory_check.ml."""
    return call.db.host[host].memory_overhead


@message("host", errors=(HANDLE_INVALID,))
def allocate_resources_for_vm(call: Call, self: HostRef, vm: VMRef, live: Bool) -> None:
    """Keep memory for a VM on a host, unchecked even whether there is such a host, until the VM starts, moves or halts.

    Notes
    -----
    Source: message_forwarding.ml: Host.allocate_resources_for_vm.
    """
    call.db.write(call.db.VM[vm], "scheduled_to_be_resident_on", self)


@message(
    "host",
    errors=(HANDLE_INVALID, errors.HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN, errors.HOST_OFFLINE),
)
def disable(call: Call, host: HostRef, auto_enable: Bool = True) -> None:
    """Let no more VMs start on a host; those that run go on. With auto_enable a restart of the host enables it again.

    Notes
    -----
    Source: xapi_host.ml: disable.
    """
    row = call.db.host[host]
    ha.assert_host_can_go(call, row)
    boot.assert_reachable(call.db, host)
    call.db.write(row, "enabled", False)
    if auto_enable:
        call.world.kept_disabled.discard(host)
    else:
        call.world.kept_disabled.add(host)


@message(
    "host",
    errors=(
        HANDLE_INVALID,
        errors.OTHER_OPERATION_IN_PROGRESS,
        errors.HOST_OFFLINE,
        errors.HOST_STILL_BOOTING,
        errors.HOST_PENDING_MANDATORY_GUIDANCE_NOT_EMPTY,
        errors.HOST_DISABLED_UNTIL_REBOOT,
    ),
)
def enable(call: Call, host: HostRef) -> None:
    """Let VMs start on a host; an overcommitted pool with HA plans anew.

    Notes
    -----
    Source: xapi_host.ml: enable, assert_safe_to_reenable.
    """
    row = call.db.host[host]
    host_operations.begin(call, row, "enable")
    boot.assert_reachable(call.db, host)
    if row.enabled:
        return
    call.hooks.assert_host_ready(row)
    if row.pending_guidances:
        raise errors.HOST_PENDING_MANDATORY_GUIDANCE_NOT_EMPTY(host)
    call.hooks.assert_safe_to_reenable(row)
    call.db.write(row, "enabled", True)
    call.world.kept_disabled.discard(host)
    pool = call.db.the_pool
    if pool.ha_enabled and pool.ha_overcommitted:
        ha.update_status(call)


@message("host", errors=(HANDLE_INVALID, errors.CANNOT_EVACUATE_HOST))
def assert_can_evacuate(call: Call, host: HostRef) -> None:
    """Fail with every reason why a VM of a host could not move away.

    Notes
    -----
    The order of the reasons is no contract. Source: xapi_host.ml: assert_can_evacuate.
    """
    failures = evacuation.plan(call, call.db.host[host]).failures
    if failures:
        raise errors.CANNOT_EVACUATE_HOST("|".join(",".join(failure.details) for failure in failures.values()))


@message("host", errors=(HANDLE_INVALID,))
def get_vms_which_prevent_evacuation(call: Call, self: HostRef) -> VMRefToStrings:
    """The VMs of a host that could not move away, and why. Source: xapi_host.ml: get_vms_which_prevent_evacuation."""
    failures = evacuation.plan(call, call.db.host[self]).failures
    return {vm: tuple(failure.details) for vm, failure in failures.items()}


@message(
    "host",
    errors=(
        HANDLE_INVALID,
        errors.HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN,
        *evacuation.REASONS,
        *reach.NETWORK_ERRORS,
        errors.VMS_FAILED_TO_COOPERATE,
        errors.TASK_CANCELLED,
    ),
)
def evacuate(
    call: Call, host: HostRef, network: NetworkRef = NULL, evacuate_batch_size: Int = 0
) -> Generator[float, None, None]:
    """Move every VM of a host away; if one cannot go, none does. The host stays enabled.

    Notes
    -----
    The server moves ten VMs at a time, or as many as it is told; here one follows the other, in the order of the plan.
    Which of several reasons is answered is no contract. Source: xapi_host.ml: evacuate.
    """
    row = call.db.host[host]
    ha.assert_host_can_go(call, row)
    host_operations.begin(call, row, "evacuate")
    departures = evacuation.plan(call, row)
    for failure in departures.failures.values():
        raise failure
    if network != NULL:
        for target in dict.fromkeys(departures.migrations.values()):
            reach.assert_migration_network(call.db, target, network)
    options = {"live": "true", **({"network": network} if network != NULL else {})}
    for vm, target in departures.migrations.items():
        try:
            yield from _move(call, vm, target, options)
        except Failure as failure:
            if failure.details[0] != "VM_BAD_POWER_STATE":
                raise
    left = sum(not call.db.VM[ref].is_control_domain for ref in row.resident)
    if left:
        raise errors.INTERNAL_ERROR(f'Failure("evacuate: {left} VMs are left on the host")')


def _move(call: Call, vm: str, target: str, options: dict[str, str]) -> Generator[float, None, None]:
    """Another VM.pool_migrate, for the same user and in the same task."""
    message = MESSAGES["VM.pool_migrate"]
    part = call.part(message)
    part.run_in(call.task)
    process = Process(part, message.body(part, vm, target, options))
    while (seconds := process.step()) is not None:
        try:
            yield seconds
        except Failure:
            part.cancelled = True


@message("host", errors=(HANDLE_INVALID,))
def get_servertime(call: Call, host: HostRef) -> Date:
    """The time of the pool, in UTC. Source: xapi_host.ml: get_servertime."""
    call.db.host[host]
    return call.clock.date()


@message("host")
def get_uncooperative_resident_VMs(call: Call, self: HostRef) -> VMRefs:  # noqa: N802  (the name of the message)
    """No VMs. Deprecated. Source: xapi_host.ml: get_uncooperative_resident_VMs."""
    return ()


@message("host", errors=(HANDLE_INVALID,))
def set_numa_affinity_policy(call: Call, self: HostRef, value: NUMAPolicy) -> None:
    """Set how the VMs of a host are spread over its NUMA nodes, from their next start on. Source: xapi_host.ml."""
    call.db.write(call.db.host[self], "numa_affinity_policy", value)


@message("host", errors=(HANDLE_INVALID, errors.HOST_OFFLINE))
def restart_agent(call: Call, host: HostRef) -> None:
    """Restart the toolstack of a host, which enables it and samples its memory_overhead; its VMs go on.

    Notes
    -----
    Source: xapi_host.ml: restart_agent; dbsync_slave.ml; xapi_host_helpers.ml: consider_enabling_host_nolock.
    """
    boot.assert_reachable(call.db, host)
    _start_toolstack(call, call.db.host[host], "restart_toolstack")


_LEAVING: Final = (
    HANDLE_INVALID,
    errors.OTHER_OPERATION_IN_PROGRESS,
    errors.HOST_NOT_DISABLED,
    errors.HOST_OFFLINE,
)


@message("host", errors=_LEAVING)
def reboot(call: Call, host: HostRef) -> None:
    """Reboot a disabled host, which ends the VMs that are still there; here it is up again, and enabled, at once.

    Notes
    -----
    It stays disabled if it was disabled so, or while mandatory guidances are pending. Source: xapi_host.ml: reboot;
    xapi_host_helpers.ml: consider_enabling_host_nolock.
    """
    _start(call, _stop(call, host, "reboot"))


@message("host", errors=_LEAVING)
def shutdown(call: Call, host: HostRef) -> None:
    """Switch a disabled host off, which ends the VMs that are still there. Source: xapi_host.ml: shutdown."""
    _stop(call, host, "shutdown")


@message("host", errors=(HANDLE_INVALID, errors.HOST_IS_LIVE, errors.HOST_POWER_ON_MODE_DISABLED))
def power_on(call: Call, host: HostRef) -> None:
    """Switch on a host that is down; here it is up, and takes VMs, at once. Source: xapi_host.ml: power_on."""
    row = call.db.host[host]
    host_operations.begin(call, row, "power_on")
    _start(call, row)


def _stop(call: Call, ref: str, operation: str) -> "rows.host":
    """The host, which is down. Inferred: what ran there is Halted."""
    host = call.db.host[ref]
    host_operations.begin(call, host, operation)
    boot.assert_reachable(call.db, ref)
    _halt_vms(call, host)
    metrics = call.db.host_metrics.get(host.metrics)
    if metrics is not None:
        call.db.write(metrics, "live", False)
    return host


def _start(call: Call, host: "rows.host") -> None:
    _start_toolstack(call, host, *enum("update_guidances").members)


def _start_toolstack(call: Call, host: "rows.host", *done: str) -> None:
    """What a toolstack writes when it starts; guidances are done by it. Inferred: which ones."""
    database = call.db
    values = lifecycle.without_guidances(host, *done)
    metrics = database.host_metrics.get(host.metrics)
    if metrics is not None:
        database.write(metrics, "live", True)
        if host.boot_free_mem > 0:
            model = MODELS.get(model_name(host.software_version), database.model)
            values["memory_overhead"] = metrics.memory_total - host.boot_free_mem + model.host_reserve_mib * MIB
    if host.ref not in call.world.kept_disabled and not values.get("pending_guidances"):
        values["enabled"] = True
    database.update(host, values)
    for ref in host.resident_VMs:
        vm = database.VM[ref]
        if vm.is_control_domain:
            database.write(vm, "requires_reboot", False)
    if host.enabled and database.the_pool.ha_enabled:
        ha.update_status(call)


def _halt_vms(call: Call, host: "rows.host") -> None:
    for ref in host.resident_VMs:
        vm = call.db.VM[ref]
        if not vm.is_control_domain:
            lifecycle.halt(call, vm)


_GONE: Final = (HANDLE_INVALID, errors.HOST_IS_LIVE)


@message("host", errors=_GONE)
def declare_dead(call: Call, host: HostRef) -> None:
    """Say that a host that is down will not come back with its VMs: they are halted, and the host is disabled.

    Notes
    -----
    Source: xapi_host.ml: declare_dead.
    """
    row = call.db.host[host]
    _assert_gone(call, row)
    _halt_vms(call, row)
    call.db.write(row, "enabled", False)


@message("host", errors=(*_GONE, errors.HA_IS_ENABLED, errors.HOST_HAS_RESIDENT_VMS))
def destroy(call: Call, self: HostRef) -> None:
    """Remove a host that is down for ever, with its control domains, metrics, storage and network links.

    Notes
    -----
    Source: xapi_host.ml: destroy; db_gc.ml.
    """
    database = call.db
    row = database.host[self]
    _assert_gone(call, row)
    if database.the_pool.ha_enabled:
        raise errors.HA_IS_ENABLED()
    resident = [database.VM[ref] for ref in row.resident_VMs]
    if not all(vm.is_control_domain for vm in resident):
        raise errors.HOST_HAS_RESIDENT_VMS(self)
    links = [link for name in ("PBD", "PIF") for link in database.tables[name] if link.host == self]
    metrics = database.host_metrics.get(row.metrics)
    for gone in (*resident, *links, *(() if metrics is None else (metrics,)), row):
        database.destroy(gone)


def _assert_gone(call: Call, host: "rows.host") -> None:
    """xapi_host.ml: precheck_destroy_declare_dead."""
    if boot.is_live(call.db, host) or host.ref == call.db.the_pool.master:
        raise errors.HOST_IS_LIVE(host.ref)


@message("host", errors=(HANDLE_INVALID, errors.HOST_OFFLINE, errors.INTERNAL_ERROR))
def query_data_source(call: Call, host: HostRef, data_source: String) -> Float:
    """The memory of a host as measured: memory_total_kib, or memory_free_kib, which no domain has; nothing else.

    Notes
    -----
    Inferred: what is free is what control domains' dynamic_min and the memory of other VMs leave, overheads taken off,
    and what squeezed keeps back. Source: xapi_host.ml: query_data_source; rrdd_server.ml: query_host_ds.
    """
    database = call.db
    row = database.host[host]
    boot.assert_reachable(database, host)
    metrics = database.host_metrics.get(row.metrics)
    total = 0 if metrics is None else max(0, metrics.memory_total)
    match data_source:
        case "memory_total_kib":
            return total / KIB
        case "memory_free_kib":
            return max(0, total - row.memory_overhead + database.model.host_reserve_mib * MIB - _held(call, row)) / KIB
    raise errors.INTERNAL_ERROR("Not_found")


def _held(call: Call, host: "rows.host") -> int:
    """Bytes that the domains of a host have, overheads included."""
    held = 0
    for ref in host.resident_VMs:
        vm = call.db.VM[ref]
        held += vm.memory_overhead
        held += vm.memory_dynamic_min if vm.is_control_domain else _measured(call, vm)
    return held


def _measured(call: Call, vm: "rows.VM") -> int:
    metrics = call.db.VM_metrics.get(vm.metrics)
    return 0 if metrics is None else metrics.memory_actual
