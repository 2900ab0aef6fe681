"""The messages that ask for and set the memory of a VM. Amounts are bytes.

Source: docs/reference/messages.md, 2.1 and 3 (xapi-project/xen-api, ocaml/xapi/xapi_vm.ml, message_forwarding.ml,
xapi_vm_memory_constraints.ml). No message here asks whether high availability survives it: nor does the server.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xenmem.datamodel import errors
from xenmem.datamodel.errors import Failure
from xenmem.datamodel.types import quotient
from xenmem.units import KIB, MIB
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import Bool, Float, Int, String, VMRef, message
from xenmem.xenapi.rules import boot, lifecycle, operations
from xenmem.xenapi.store import accounting

if TYPE_CHECKING:
    from xenmem.xenapi.store import rows

TARGET_WAIT_SECONDS: Final = 256
"""Polls, a second apart, after which wait_memory_target_live gives up (xapi_globs.ml: wait_memory_target_timeout)."""

_BEFORE_LOCKING: Final = 0.0
"""Seconds between reading the other limit and taking the lock: none, but others may come between, as on a server."""

_SETTING: Final = (
    errors.HANDLE_INVALID,
    errors.OPERATION_BLOCKED,
    errors.VM_BAD_POWER_STATE,
    errors.OTHER_OPERATION_IN_PROGRESS,
    errors.VM_IS_SNAPSHOT,
    errors.HOST_OFFLINE,
    errors.MEMORY_CONSTRAINT_VIOLATION_MAXPIN,
    errors.MEMORY_CONSTRAINT_VIOLATION_ORDER,
    errors.NOT_SUPPORTED_DURING_UPGRADE,
)
_SETTING_DYNAMIC: Final = (*_SETTING, errors.VM_IS_USING_NESTED_VIRT, errors.HOST_NOT_ENOUGH_FREE_MEMORY)
_LIVE: Final = (
    errors.HANDLE_INVALID,
    errors.OPERATION_BLOCKED,
    errors.VM_BAD_POWER_STATE,
    errors.OTHER_OPERATION_IN_PROGRESS,
    errors.VM_IS_TEMPLATE,
    errors.VM_IS_SNAPSHOT,
    errors.HOST_OFFLINE,
)


@dataclass(frozen=True, slots=True)
class _Limits:
    """The four limits that a setter would leave."""

    static_min: int
    dynamic_min: int
    dynamic_max: int
    static_max: int

    def are_in_order(self) -> bool:
        return self.static_min <= self.dynamic_min <= self.dynamic_max <= self.static_max

    def are_pinned_at_static_max(self) -> bool:
        return self.static_min <= self.dynamic_min == self.dynamic_max == self.static_max


def _assert_valid(call: Call, vm: "rows.VM", limits: _Limits) -> None:
    """messages.md, 2.1 (xapi_vm_memory_constraints.ml: assert_valid_for_current_context)."""
    reason = operations.pin_reason(call.db, vm)
    if reason and not limits.are_pinned_at_static_max():
        raise errors.MEMORY_CONSTRAINT_VIOLATION_MAXPIN(reason)
    if not limits.are_in_order():
        raise errors.MEMORY_CONSTRAINT_VIOLATION_ORDER()


def _begin(call: Call, vm: "rows.VM", operation: str) -> None:
    """Hold an operation, and pass the message on to the host of a running VM."""
    operations.begin(call, vm, operation)
    if vm.power_state == "Running":
        boot.assert_reachable(call.db, vm.resident_on)


def _finish_static(call: Call, vm: "rows.VM") -> None:
    """What follows a change of static limits: the overhead, domain 0's command line, and a reboot to wait for."""
    lifecycle.update_memory_overhead(call, vm)
    if vm.is_control_domain:
        if operations.is_domain_zero(call.db, vm):
            call.hooks.update_hypervisor_command_line(vm)
        if vm.power_state == "Running":
            call.db.write(vm, "requires_reboot", True)


@message("VM", errors=(errors.HANDLE_INVALID,))
def compute_memory_overhead(call: Call, vm: VMRef) -> Int:
    """The memory that Xen takes for a VM on top of the guest's own, computed from its record; nothing is stored.

    Notes
    -----
    Source: xapi_vm_helpers.ml: compute_memory_overhead.
    """
    return accounting.overhead(call.db.model, call.db.VM[vm])


@message("VM")
def get_cooperative(call: Call, self: VMRef) -> Bool:
    """Whether the guest balloons as told. Deprecated: always true, even for a VM that does not exist.

    Notes
    -----
    Source: xapi_vm.ml: get_cooperative.
    """
    return True


@message("VM", errors=(errors.HANDLE_INVALID,))
def maximise_memory(call: Call, self: VMRef, total: Int, approximate: Bool) -> Int:
    """The largest static_max in whole MiB with which the VM starts in `total` bytes; approximately: as with 64 vCPUs.

    Notes
    -----
    0 where nothing fits. Source: xapi_vm.ml: maximise_memory.
    """
    return accounting.maximise_memory(call.db.model, call.db.VM[self], total, approximate=approximate)


@message("VM", errors=_SETTING)
def set_memory(call: Call, self: VMRef, value: Int) -> None:
    """Set dynamic_min, dynamic_max and static_max of a halted VM to one value.

    Notes
    -----
    As set_memory_limits with the stored static_min. Source: xapi_vm.ml: set_memory.
    """
    vm = call.db.VM[self]
    _set_limits(call, vm, _Limits(vm.memory_static_min, value, value, value))


@message("VM", errors=_SETTING)
def set_memory_limits(
    call: Call, self: VMRef, static_min: Int, static_max: Int, dynamic_min: Int, dynamic_max: Int
) -> None:
    """Set all limits of a halted VM, or of a running control domain, which then waits for a reboot.

    Notes
    -----
    Source: xapi_vm.ml: set_memory_limits.
    """
    _set_limits(call, call.db.VM[self], _Limits(static_min, dynamic_min, dynamic_max, static_max))


def _set_limits(call: Call, vm: "rows.VM", limits: _Limits) -> None:
    _begin(call, vm, "changing_memory_limits")
    _assert_valid(call, vm, limits)
    write = call.db.write
    write(vm, "memory_static_min", limits.static_min)
    write(vm, "memory_dynamic_min", limits.dynamic_min)
    write(vm, "memory_target", limits.dynamic_min)
    write(vm, "memory_dynamic_max", limits.dynamic_max)
    write(vm, "memory_static_max", limits.static_max)
    _finish_static(call, vm)


@message("VM", errors=_SETTING)
def set_memory_static_range(call: Call, self: VMRef, min: Int, max: Int) -> None:
    """Set static_min and static_max of a halted VM; the dynamic limits stay, and must lie within.

    Notes
    -----
    Source: xapi_vm.ml: set_memory_static_range.
    """
    _set_static_range(call, call.db.VM[self], min, max)


@message("VM", errors=_SETTING)
def set_memory_static_max(call: Call, self: VMRef, value: Int) -> Generator[float, None, None]:
    """Set static_max of a halted VM; as set_memory_static_range with the stored static_min."""
    other = call.db.VM[self].memory_static_min
    yield _BEFORE_LOCKING
    _set_static_range(call, call.db.VM[self], other, value)


@message("VM", errors=_SETTING)
def set_memory_static_min(call: Call, self: VMRef, value: Int) -> Generator[float, None, None]:
    """Set static_min of a halted VM; as set_memory_static_range with the stored static_max."""
    other = call.db.VM[self].memory_static_max
    yield _BEFORE_LOCKING
    _set_static_range(call, call.db.VM[self], value, other)


def _set_static_range(call: Call, vm: "rows.VM", static_min: int, static_max: int) -> None:
    _begin(call, vm, "changing_static_range")
    _assert_valid(call, vm, _Limits(static_min, vm.memory_dynamic_min, vm.memory_dynamic_max, static_max))
    call.db.write(vm, "memory_static_min", static_min)
    call.db.write(vm, "memory_static_max", static_max)
    _finish_static(call, vm)


@message("VM", errors=_SETTING_DYNAMIC)
def set_memory_dynamic_range(call: Call, self: VMRef, min: Int, max: Int) -> None:
    """Set dynamic_min and dynamic_max; a running VM's host must have the memory by which dynamic_min grows.

    Notes
    -----
    Where the memory is missing, the failure has KiB: the growth, and what is free. It comes before the order of the
    limits is looked at. Where dynamic_min grew and the host then fails, both limits are put back, the target is not;
    where it did not grow, nothing is. Source: message_forwarding.ml: reserve_memory_for_dynamic_change.
    """
    _set_dynamic_range(call, call.db.VM[self], min, max)


@message("VM", errors=_SETTING_DYNAMIC)
def set_memory_dynamic_max(call: Call, self: VMRef, value: Int) -> Generator[float, None, None]:
    """Set dynamic_max; as set_memory_dynamic_range with the stored dynamic_min."""
    other = call.db.VM[self].memory_dynamic_min
    yield _BEFORE_LOCKING
    _set_dynamic_range(call, call.db.VM[self], other, value)


@message("VM", errors=_SETTING_DYNAMIC)
def set_memory_dynamic_min(call: Call, self: VMRef, value: Int) -> Generator[float, None, None]:
    """Set dynamic_min; as set_memory_dynamic_range with the stored dynamic_max."""
    other = call.db.VM[self].memory_dynamic_max
    yield _BEFORE_LOCKING
    _set_dynamic_range(call, call.db.VM[self], value, other)


def _set_dynamic_range(call: Call, vm: "rows.VM", dynamic_min: int, dynamic_max: int) -> None:
    operations.begin(call, vm, "changing_dynamic_range")
    if vm.power_state != "Running":
        _write_dynamic_range(call, vm, dynamic_min, dynamic_max)
        return
    write = call.db.write
    old_min, old_max = vm.memory_dynamic_min, vm.memory_dynamic_max
    host = call.db.host[vm.resident_on]
    available = accounting.free_memory(host, call.db.host_metrics[host.metrics])
    growth = dynamic_min - old_min
    if available < growth:
        raise errors.HOST_NOT_ENOUGH_FREE_MEMORY(quotient(growth, KIB), quotient(available, KIB))
    grows = growth > 0
    if grows:
        write(vm, "memory_dynamic_min", dynamic_min)
        write(vm, "memory_dynamic_max", dynamic_max)
    try:
        boot.assert_reachable(call.db, host.ref)
        _write_dynamic_range(call, vm, dynamic_min, dynamic_max)
        call.world.guests.set_dynamic_range(vm, old_max)
    except Failure:
        if grows:
            write(vm, "memory_dynamic_min", old_min)
            write(vm, "memory_dynamic_max", old_max)
        raise


def _write_dynamic_range(call: Call, vm: "rows.VM", dynamic_min: int, dynamic_max: int) -> None:
    _assert_valid(call, vm, _Limits(vm.memory_static_min, dynamic_min, dynamic_max, vm.memory_static_max))
    call.db.write(vm, "memory_target", dynamic_min)
    call.db.write(vm, "memory_dynamic_min", dynamic_min)
    call.db.write(vm, "memory_dynamic_max", dynamic_max)


@message("VM", errors=_LIVE)
def set_memory_target_live(call: Call, self: VMRef, target: Int) -> None:
    """Does nothing to a running VM, whatever the target. Deprecated.

    Notes
    -----
    Source: xapi_vm.ml: set_memory_target_live.
    """
    _begin(call, call.db.VM[self], "changing_memory_live")


@message(
    "VM",
    errors=(
        *_LIVE,
        errors.NOT_SUPPORTED_DURING_UPGRADE,
        errors.VM_MEMORY_TARGET_WAIT_TIMEOUT,
        errors.TASK_CANCELLED,
    ),
)
def wait_memory_target_live(call: Call, self: VMRef) -> Generator[float, None, None]:
    """Wait until a running VM has the memory that it is told to have, within a MiB. Deprecated.

    Notes
    -----
    Asks once a second; after the 257th time it fails, naming the task. Source: xapi_vm.ml: wait_memory_target_live.
    """
    vm = call.db.VM[self]
    _begin(call, vm, "awaiting_memory_live")
    metrics = call.db.VM_metrics[vm.metrics]
    for _ in range(TARGET_WAIT_SECONDS + 1):
        actual, target = call.world.guests.live_memory(vm)
        if abs(actual - target) <= MIB:
            call.db.write(metrics, "memory_actual", actual)
            return
        yield 1.0
    raise errors.VM_MEMORY_TARGET_WAIT_TIMEOUT(call.task)


@message(
    "VM",
    errors=(errors.HANDLE_INVALID, errors.VM_BAD_POWER_STATE, errors.HOST_OFFLINE, errors.INTERNAL_ERROR),
)
def query_data_source(call: Call, self: VMRef, data_source: String) -> Float:
    """The memory of a running or paused VM as measured: memory, or memory_target, in bytes; nothing else is.

    Notes
    -----
    Source: message_forwarding.ml: VM.query_data_source; rrdd_server.ml: query_vm_ds.
    """
    vm = call.db.VM[self]
    if vm.power_state not in ("Running", "Paused"):
        raise errors.VM_BAD_POWER_STATE(self, "running, paused", vm.power_state.lower())
    boot.assert_reachable(call.db, vm.resident_on)
    if data_source not in ("memory", "memory_target"):
        raise errors.INTERNAL_ERROR("Not_found")
    actual, target = call.world.guests.live_memory(vm)
    return float(actual if data_source == "memory" else target)
