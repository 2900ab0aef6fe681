"""The messages that set vCPUs, shadow memory and domain type of a VM, and with them its overhead. Amounts are bytes.

Source: docs/reference/messages.md, 4 (xapi-project/xen-api, ocaml/xapi/xapi_vm.ml, xapi_vm_helpers.ml, xapi_xenops.ml).
"""

import math
from typing import Final

from xenmem.datamodel import errors
from xenmem.datamodel.types import shown_float
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import DomainTypeName, Float, Int, String, VMRef, message
from xenmem.xenapi.rules import boot, lifecycle, operations
from xenmem.xenapi.store import accounting
from xenmem.xenapi.world.features import Feature, assert_enabled

_OPERATION: Final = (
    errors.HANDLE_INVALID,
    errors.OPERATION_BLOCKED,
    errors.VM_BAD_POWER_STATE,
    errors.OTHER_OPERATION_IN_PROGRESS,
    errors.VM_IS_SNAPSHOT,
    errors.OPERATION_NOT_ALLOWED,
    errors.INVALID_VALUE,
)
_MUST_SATISFY: Final = "VCPU values must satisfy: 0 < VCPUs_at_startup ≤ VCPUs_max"
_MUST_SATISFY_LIVE: Final = "VCPU values must satisfy: 0 < VCPUs ≤ VCPUs_max"


@message("VM", errors=(*_OPERATION, errors.NOT_SUPPORTED_DURING_UPGRADE))
def set_VCPUs_max(call: Call, self: VMRef, value: Int) -> None:  # noqa: N802  (the name of the message)
    """Set the most vCPUs of a halted VM, or of a running control domain, which then waits for a reboot.

    Notes
    -----
    Source: xapi_vm.ml: set_VCPUs_max.
    """
    vm = call.db.VM[self]
    operations.begin(call, vm, "changing_VCPUs")
    if value < 1 or value < vm.VCPUs_at_startup:
        raise errors.INVALID_VALUE(_MUST_SATISFY, value)
    call.db.write(vm, "VCPUs_max", value)
    lifecycle.update_memory_overhead(call, vm)
    if vm.is_control_domain and vm.power_state == "Running":
        call.db.write(vm, "requires_reboot", True)


@message(
    "VM",
    errors=(errors.HANDLE_INVALID, errors.OPERATION_NOT_ALLOWED, errors.INVALID_VALUE),
)
def set_VCPUs_at_startup(call: Call, self: VMRef, value: Int) -> None:  # noqa: N802  (the name of the message)
    """Set the vCPUs with which the VM starts, in any power state, even of snapshots.

    Notes
    -----
    Source: xapi_vm.ml: set_VCPUs_at_startup.
    """
    vm = call.db.VM[self]
    if operations.is_domain_zero(call.db, vm):
        raise errors.OPERATION_NOT_ALLOWED("set_VCPUs_at_startup is not allowed on dom0")
    if value < 1 or value > vm.VCPUs_max:
        raise errors.INVALID_VALUE(_MUST_SATISFY, value)
    call.db.write(vm, "VCPUs_at_startup", value)
    lifecycle.update_memory_overhead(call, vm)


@message(
    "VM",
    errors=(
        *_OPERATION,
        errors.VM_IS_TEMPLATE,
        errors.VM_LACKS_FEATURE,
        errors.HOST_OFFLINE,
        errors.LICENCE_RESTRICTION,
    ),
)
def set_VCPUs_number_live(call: Call, self: VMRef, nvcpu: Int) -> None:  # noqa: N802  (the name of the message)
    """Set the number of vCPUs of a running VM.

    Notes
    -----
    The failure names VCPUs_max, not the number (xenops_server.ml: Invalid_vcpus). Source: xapi_vm.ml:
    set_VCPUs_number_live; xapi_xenops.ml: set_vcpus.
    """
    vm = call.db.VM[self]
    operations.begin(call, vm, "changing_VCPUs_live")
    boot.assert_reachable(call.db, vm.resident_on)
    assert_enabled(call.db, Feature.LIVE_SET_VCPUS)
    if not 0 < nvcpu <= vm.VCPUs_max:
        raise errors.INVALID_VALUE(_MUST_SATISFY_LIVE, vm.VCPUs_max)
    call.db.write(vm, "VCPUs_at_startup", nvcpu)
    metrics = call.db.VM_metrics.get(vm.metrics)
    if metrics is not None:
        call.db.write(metrics, "VCPUs_number", nvcpu)
    lifecycle.update_memory_overhead(call, vm)


def _assert_multiplier(value: float) -> None:
    if value < 1.0 or not math.isfinite(value):
        raise errors.INVALID_VALUE("multiplier", shown_float(value))


@message("VM", errors=(*_OPERATION, errors.NOT_SUPPORTED_DURING_UPGRADE))
def set_HVM_shadow_multiplier(call: Call, self: VMRef, value: Float) -> None:  # noqa: N802  (the name of the message)
    """Set the factor of the shadow memory of a halted VM.

    Notes
    -----
    The server takes what is no number; here it is refused, as is infinity. Source: xapi_vm_helpers.ml:
    set_HVM_shadow_multiplier.
    """
    vm = call.db.VM[self]
    operations.begin(call, vm, "changing_shadow_memory")
    _assert_multiplier(value)
    call.db.write(vm, "HVM_shadow_multiplier", value)
    lifecycle.update_memory_overhead(call, vm)


@message(
    "VM",
    errors=(*_OPERATION, errors.VM_IS_TEMPLATE, errors.HOST_OFFLINE, errors.HOST_NOT_ENOUGH_FREE_MEMORY),
)
def set_shadow_multiplier_live(call: Call, self: VMRef, multiplier: Float) -> None:
    """Set the factor of the shadow memory of a running VM; PV guests have none, and nothing happens.

    Notes
    -----
    The field shows what the domain then has, in whole MiB, as a part of what it has by default. Inferred: that the
    hypervisor can free what the database says is free. Source: xapi_xenops.ml: set_shadow_multiplier.
    """
    vm = call.db.VM[self]
    operations.begin(call, vm, "changing_shadow_memory_live")
    boot.assert_reachable(call.db, vm.resident_on)
    _assert_multiplier(multiplier)
    if boot.live_domain_type(call.db, vm) == "pv":
        return
    model = call.db.model
    needed = accounting.shadow_memory(model, vm, multiplier) - accounting.shadow_memory(
        model, vm, vm.HVM_shadow_multiplier
    )
    host = call.db.host[vm.resident_on]
    free = accounting.free_memory(host, call.db.host_metrics[host.metrics])
    if needed > free:
        raise errors.HOST_NOT_ENOUGH_FREE_MEMORY(needed, free)
    call.db.write(vm, "HVM_shadow_multiplier", lifecycle.actual_shadow_multiplier(call, vm, multiplier))
    lifecycle.update_memory_overhead(call, vm)


@message("VM", errors=(errors.HANDLE_INVALID, errors.INVALID_VALUE))
def set_domain_type(call: Call, self: VMRef, value: DomainTypeName) -> None:
    """Set what the VM is built as, in any power state; the stored overhead stays as it was. Source: xapi_vm.ml."""
    if value == "unspecified":
        raise errors.INVALID_VALUE("domain_type", value)
    vm = call.db.VM[self]
    call.db.write(vm, "domain_type", value)
    call.db.write(vm, "HVM_boot_policy", "BIOS order" if value == "hvm" else "")


@message("VM", errors=(errors.HANDLE_INVALID,))
def set_HVM_boot_policy(call: Call, self: VMRef, value: String) -> None:  # noqa: N802  (the name of the message)
    """Set what the VM is built as: pv if the text is empty, else hvm. Deprecated. Source: xapi_vm.ml."""
    vm = call.db.VM[self]
    call.db.write(vm, "domain_type", lifecycle.derived_domain_type(value))
    call.db.write(vm, "HVM_boot_policy", value)
