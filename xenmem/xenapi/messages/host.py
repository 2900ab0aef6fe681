"""The messages of the class host. Amounts are bytes.

Source: docs/reference/messages.md, 2.3, 3 and 7 (xapi-project/xen-api, ocaml/xapi/xapi_host.ml, message_forwarding.ml).
"""

from collections.abc import Generator

from xenmem.datamodel import errors
from xenmem.datamodel.errors import HANDLE_INVALID, Failure
from xenmem.datamodel.types import NULL
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import MESSAGES, Bool, HostRef, Int, NetworkRef, VMRef, VMRefToStrings, message
from xenmem.xenapi.calls.process import Process
from xenmem.xenapi.rules import boot, evacuation, ha, host_operations
from xenmem.xenapi.store import accounting


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
    """Let no more VMs start on a host; those that run go on.

    Notes
    -----
    Whether a restart of the host enables it again is not simulated. Source: xapi_host.ml: disable.
    """
    row = call.db.host[host]
    ha.assert_host_can_go(call, row)
    boot.assert_reachable(call.db, host)
    call.db.write(row, "enabled", False)


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
