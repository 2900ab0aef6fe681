"""The messages that make and remove VMs, and set what is no memory of theirs. Delays are seconds.

Source: docs/reference/messages.md, 5.2 and 10.3 (xapi-project/xen-api, ocaml/xapi/xapi_vm.ml, xapi_vm_helpers.ml).
"""

import math
from typing import Annotated, Any, Final

from xenmem.datamodel import CLASSES, Qualifier, enum, errors
from xenmem.datamodel.types import NULL, STRING, MapType, shown_float
from xenmem.rules.start import RESTART, RESTART_PRIORITIES
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import MESSAGES, Bool, Int, String, StringMap, VMGroupRefs, VMRecord, VMRef, message
from xenmem.xenapi.rules import boot, device_rows, ha, lifecycle, operations
from xenmem.xenapi.rules.agility import Agility
from xenmem.xenapi.world.features import Feature, assert_enabled

Operation = Annotated[str, enum("vm_operations")]
OnCrash = Annotated[str, enum("on_crash_behaviour")]
OperationToString = Annotated[dict[str, str], MapType(enum("vm_operations"), STRING)]

_OPERATION: Final = (
    errors.HANDLE_INVALID,
    errors.OPERATION_BLOCKED,
    errors.VM_BAD_POWER_STATE,
    errors.OTHER_OPERATION_IN_PROGRESS,
    errors.OPERATION_NOT_ALLOWED,
)
_FIELDS: Final = CLASSES["VM"].fields
_IGNORED: Final = (
    *("blocked_operations", "protection_policy", "snapshot_schedule"),
    *("is_snapshot_from_vmpp", "is_vmss_snapshot"),
)
_OF_SUSPENDED: Final = ("last_booted_record", "last_boot_CPU_flags", "suspend_VDI")
_CONSTRUCTED: Final = tuple(
    field for field in _FIELDS.values() if field.qualifier is not Qualifier.DYNAMIC and field.name not in _IGNORED
)


@message("VM", errors=(errors.VM_BAD_POWER_STATE, errors.INTERNAL_ERROR, errors.INVALID_VALUE))
def create(call: Call, args: VMRecord) -> VMRef:
    """A new VM, from a struct of its fields.

    Notes
    -----
    Neither memory nor vCPUs are checked. Halted, unless it comes as Suspended with all that belongs to it, which a
    halted one loses; fields that clients cannot set are ignored, as are some others. With a vendor device, which it has
    unless told otherwise, it needs version 2 of the virtual hardware. Source: xapi_vm.ml: create.
    """
    values = {}
    for field in _CONSTRUCTED:
        if field.name in args:
            values[field.name] = field.type.accept(args[field.name])
        elif field.required:
            raise errors.INTERNAL_ERROR(f'Failure("The field {field.name} is missing")')
    multiplier = values.get("HVM_shadow_multiplier", 1.0)
    if not math.isfinite(multiplier):
        raise errors.INVALID_VALUE("HVM_shadow_multiplier", shown_float(multiplier))
    vm = call.db.new_row("VM", **values)
    if vm.power_state == "Suspended":
        if not vm.last_booted_record or not vm.last_boot_CPU_flags or vm.suspend_VDI == NULL:
            raise errors.VM_BAD_POWER_STATE(vm.ref, "halted", "suspended")
    else:
        vm.power_state = "Halted"
        for name in _OF_SUSPENDED:
            setattr(vm, name, _FIELDS[name].default)
    if vm.domain_type == "unspecified":
        vm.domain_type = lifecycle.derived_domain_type(vm.HVM_boot_policy)
    vm.other_config = {"mac_seed": call.db.new_uuid(), **vm.other_config}
    kind = vm.domain_type if vm.power_state == "Suspended" else "unspecified"
    metrics = call.db.new_row("VM_metrics", current_domain_type=kind)
    call.db.create(metrics)
    vm.metrics = metrics.ref
    call.db.create(vm)
    lifecycle.update_memory_overhead(call, vm)
    lifecycle.require_hardware(call, vm)
    return str(vm.ref)


@message("VM", errors=(*_OPERATION, errors.VM_IS_TEMPLATE, errors.VM_CANNOT_DELETE_DEFAULT_TEMPLATE))
def destroy(call: Call, self: VMRef) -> None:
    """Remove a halted or suspended VM, its metrics and what its guest reported. Source: xapi_vm_helpers.ml: destroy."""
    vm = call.db.VM[self]
    operations.begin(call, vm, "destroy")
    if vm.other_config.get("default_template") == "true":
        raise errors.VM_CANNOT_DELETE_DEFAULT_TEMPLATE()
    for row in (call.db.VM_metrics.get(vm.metrics), call.db.VM_guest_metrics.get(vm.guest_metrics)):
        if row is not None:
            call.db.destroy(row)
    device_rows.remove_devices(call, vm)
    call.db.destroy(vm)


@message(
    "VM",
    errors=(*_OPERATION, errors.VM_IS_TEMPLATE, errors.VM_IS_SNAPSHOT, errors.VM_IS_PROTECTED),
)
def set_is_a_template(call: Call, self: VMRef, value: Bool) -> None:
    """Make a VM a template, which takes its metrics and groups, or a template a VM, which is always allowed.

    Notes
    -----
    A VM without metrics, as one is that was a template before, fails last with HANDLE_INVALID, and stays what it was.
    Source: xapi_vm_helpers.ml: set_is_a_template.
    """
    vm = call.db.VM[self]
    metrics = call.db.VM_metrics.get(vm.metrics)
    if not value:
        if metrics is not None:
            call.db.write(metrics, "install_time", call.clock.date())
        call.db.write(vm, "is_a_template", False)
        return
    operations.begin(call, vm, "make_into_template")
    if call.db.the_pool.ha_enabled and ha.is_protected(vm):
        raise errors.VM_IS_PROTECTED(self)
    call.db.write(vm, "ha_always_run", False)
    call.db.write(vm, "groups", ())
    call.db.write(vm, "VUSBs", ())
    call.db.destroy(call.db.VM_metrics[vm.metrics])
    call.db.write(vm, "metrics", NULL)
    call.db.write(vm, "is_a_template", True)


_NON_NEGATIVE: Final = (errors.HANDLE_INVALID, errors.INVALID_VALUE)


@message("VM", errors=_NON_NEGATIVE)
def set_order(call: Call, self: VMRef, value: Int) -> None:
    """Set the place of the VM in the order of starts. Source: xapi_vm.ml: set_order."""
    _set_non_negative(call, self, "order", value)


@message("VM", errors=_NON_NEGATIVE)
def set_start_delay(call: Call, self: VMRef, value: Int) -> None:
    """Set how long a start takes after the VM is up. Source: xapi_vm.ml: set_start_delay."""
    _set_non_negative(call, self, "start_delay", value)


@message("VM", errors=_NON_NEGATIVE)
def set_shutdown_delay(call: Call, self: VMRef, value: Int) -> None:
    """Set how long a clean shutdown takes after the VM is down. Source: xapi_vm.ml: set_shutdown_delay."""
    _set_non_negative(call, self, "shutdown_delay", value)


def _set_non_negative(call: Call, ref: str, field: str, value: int) -> None:
    if value < 0:
        raise errors.INVALID_VALUE(f"{field} must be non-negative", value)
    call.db.write(call.db.VM[ref], field, value)


@message(
    "VM",
    errors=(
        errors.HANDLE_INVALID,
        errors.LICENCE_RESTRICTION,
        errors.OPERATION_NOT_ALLOWED,
        errors.TOO_MANY_GROUPS,
    ),
)
def set_groups(call: Call, self: VMRef, value: VMGroupRefs) -> None:
    """Set the groups of the VM: one, or none. Source: xapi_vm.ml: set_groups."""
    vm = call.db.VM[self]
    assert_enabled(call.db, Feature.VM_GROUPS)
    if vm.is_control_domain or vm.is_a_template or vm.is_a_snapshot:
        raise errors.OPERATION_NOT_ALLOWED("Control domains, templates, and snapshots cannot be added to VM groups.")
    if len(value) > 1:
        raise errors.TOO_MANY_GROUPS()
    for group in value:
        call.db.VM_group[group]
    call.db.write(vm, "groups", value)


@message("VM", errors=(errors.HANDLE_INVALID,))
def set_platform(call: Call, self: VMRef, value: StringMap) -> None:
    """Set the platform of the VM."""
    call.db.write(call.db.VM[self], "platform", value)


@message("VM", errors=(errors.HANDLE_INVALID, errors.MAP_DUPLICATE_KEY))
def add_to_platform(call: Call, self: VMRef, key: String, value: String) -> None:
    """Add an entry to the platform of the VM."""
    _add_to(call, self, "platform", key, value)


@message("VM", errors=(errors.HANDLE_INVALID,))
def remove_from_platform(call: Call, self: VMRef, key: String) -> None:
    """Remove an entry from the platform of the VM, if it is there."""
    _remove_from(call, self, "platform", key)


@message("VM", errors=(errors.HANDLE_INVALID,))
def set_blocked_operations(call: Call, self: VMRef, value: OperationToString) -> None:
    """Set which operations on the VM are refused, and what the failure says."""
    call.db.write(call.db.VM[self], "blocked_operations", value)


@message("VM", errors=(errors.HANDLE_INVALID, errors.MAP_DUPLICATE_KEY))
def add_to_blocked_operations(call: Call, self: VMRef, key: Operation, value: String) -> None:
    """Refuse an operation on the VM."""
    _add_to(call, self, "blocked_operations", key, value)


@message("VM", errors=(errors.HANDLE_INVALID,))
def remove_from_blocked_operations(call: Call, self: VMRef, key: Operation) -> None:
    """Refuse an operation on the VM no longer."""
    _remove_from(call, self, "blocked_operations", key)


def _add_to(call: Call, ref: str, field: str, key: str, value: str) -> None:
    vm = call.db.VM[ref]
    entries: dict[str, str] = getattr(vm, field)
    if key in entries:
        raise errors.MAP_DUPLICATE_KEY("VM", field, ref, key)
    call.db.write(vm, field, {**entries, key: value})


def _remove_from(call: Call, ref: str, field: str, key: str) -> None:
    vm = call.db.VM[ref]
    entries: dict[str, str] = getattr(vm, field)
    call.db.write(vm, field, {other: value for other, value in entries.items() if other != key})


@message(
    "VM",
    errors=(errors.HANDLE_INVALID, errors.INVALID_VALUE, errors.HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN),
)
def set_ha_restart_priority(call: Call, self: VMRef, value: String) -> None:
    """Say whether HA restarts the VM: `restart`, `best-effort` or not at all. Source: xapi_vm.ml."""
    if value not in RESTART_PRIORITIES:
        raise errors.INVALID_VALUE("ha_restart_priority", value)
    vm = call.db.VM[self]
    if vm.ha_restart_priority == value:
        return
    if value == RESTART:
        if vm.power_state != "Halted":
            ha.assert_vm_can_be_protected(call, vm)
        if call.db.the_pool.ha_enabled:
            ha.update_status(call)
    call.db.write(vm, "ha_restart_priority", value)
    if vm.power_state == "Running":
        call.db.write(vm, "ha_always_run", value == RESTART)


@message("VM", errors=(errors.HANDLE_INVALID, errors.HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN))
def set_ha_always_run(call: Call, self: VMRef, value: Bool) -> None:
    """Say whether HA restarts the VM, as set_ha_restart_priority does. Deprecated. Source: xapi_vm.ml."""
    set_ha_restart_priority(call, self, RESTART if value else "")


@message("VM", errors=(errors.HANDLE_INVALID, errors.VALUE_NOT_SUPPORTED, errors.INTERNAL_ERROR))
def set_actions_after_crash(call: Call, self: VMRef, value: OnCrash) -> None:
    """Set what becomes of the VM after it crashed; only PV guests leave a core dump. Source: xapi_vm_helpers.ml."""
    vm = call.db.VM[self]
    boot.assert_action_after_crash(call.db, vm, value)
    call.db.write(vm, "actions_after_crash", value)


@message("VM", errors=(errors.HANDLE_INVALID, errors.VM_BAD_POWER_STATE, errors.LICENCE_RESTRICTION))
def set_has_vendor_device(call: Call, self: VMRef, value: Bool) -> None:
    """Set whether a halted VM has the device by which Windows updates its drivers. Source: xapi_vm.ml."""
    vm = call.db.VM[self]
    if vm.power_state != "Halted":
        raise errors.VM_BAD_POWER_STATE(self, "halted", vm.power_state.lower())
    if value:
        assert_enabled(call.db, Feature.VENDOR_DEVICE)
    call.db.write(vm, "has_vendor_device", value)
    lifecycle.require_hardware(call, vm)


@message("VM", errors=(errors.HANDLE_INVALID,))
def update_allowed_operations(call: Call, self: VMRef) -> None:
    """Does nothing: allowed_operations are computed when they are asked for."""
    call.db.VM[self]


@message("VM", errors=(*_OPERATION, errors.VM_IS_TEMPLATE, errors.VM_IS_SNAPSHOT))
def get_boot_record(call: Call, self: VMRef) -> VMRecord:
    """The present record of a VM that is not halted. Source: xapi_vm.ml: get_boot_record."""
    operations.begin(call, call.db.VM[self], "get_boot_record")
    record: dict[str, Any] = MESSAGES["VM.get_record"].body(call, self)
    return record


@message("VM", errors=(errors.HANDLE_INVALID, *operations.REASONS))
def assert_operation_valid(call: Call, self: VMRef, op: Operation) -> None:
    """Fail with the first reason why an operation could not begin now. Source: xapi_vm_lifecycle.ml."""
    failure = operations.reason_against(call, call.db.VM[self], op)
    if failure is not None:
        raise failure


@message(
    "VM",
    errors=(
        errors.HANDLE_INVALID,
        errors.VM_HAS_VGPU,
        errors.VM_HAS_VUSBS,
        errors.HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED,
        errors.HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED,
        errors.VM_HAS_SRIOV_VIF,
    ),
)
def assert_agile(call: Call, self: VMRef) -> None:
    """Fail unless any enabled host could run the VM. Source: agility.ml: vm_assert_agile."""
    Agility(call).assert_agile(call.db.VM[self])
