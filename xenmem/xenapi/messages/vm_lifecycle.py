"""The messages that start, stop and move VMs. Amounts are bytes, delays seconds.

Source: docs/reference/messages.md, 2.4, 5 and 6 (xapi-project/xen-api, ocaml/xapi/message_forwarding.ml, xapi_vm.ml,
xapi_vm_migrate.ml).
"""

from collections.abc import Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from xenmem.datamodel import errors
from xenmem.datamodel.errors import Failure
from xenmem.datamodel.types import NULL
from xenmem.rules.start import RESTART
from xenmem.rules.upgrade import is_truthy
from xenmem.units import MIB
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import Bool, HostRef, HostRefs, StringMap, VMRef, message
from xenmem.xenapi.rules import boot, devices, ha, lifecycle, operations, placement, reach
from xenmem.xenapi.world.features import Feature, assert_enabled

if TYPE_CHECKING:
    from xenmem.xenapi.store import rows

_CANCELLED_BY_FORCE: Final = frozenset(
    ("clean_shutdown", "clean_reboot", "hard_reboot", "pool_migrate", "call_plugin", "shutdown", "suspend")
)

_OPERATION: Final = (
    errors.HANDLE_INVALID,
    errors.OPERATION_BLOCKED,
    errors.VM_BAD_POWER_STATE,
    errors.OTHER_OPERATION_IN_PROGRESS,
    errors.VM_IS_TEMPLATE,
    errors.VM_IS_SNAPSHOT,
    errors.OPERATION_NOT_ALLOWED,
)
_BUILDING: Final = (
    *_OPERATION,
    errors.HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN,
    errors.HOST_OFFLINE,
    errors.HOST_NOT_ENOUGH_FREE_MEMORY,
    errors.VMS_FAILED_TO_COOPERATE,
    errors.TASK_CANCELLED,
    errors.VGPU_TYPE_NO_LONGER_SUPPORTED,
    *reach.DISK_ERRORS,
    *devices.RESERVATION_ERRORS,
)
_STARTING: Final = (
    *_BUILDING,
    errors.MEMORY_CONSTRAINT_VIOLATION_MAXPIN,
    errors.INVALID_VALUE,
)
_LEAVING: Final = (*_OPERATION, errors.HOST_OFFLINE)
_MOVING: Final = (
    *_LEAVING,
    errors.VM_IS_IMMOBILE,
    errors.VM_LACKS_FEATURE,
    errors.VM_NON_SUSPENDABLE,
    errors.VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION,
    errors.VM_HAS_PCI_ATTACHED,
    errors.VM_HAS_VGPU,
    errors.VM_HAS_VUSBS,
)


def _all(*groups: tuple[errors.ErrorCode, ...]) -> tuple[errors.ErrorCode, ...]:
    return tuple(dict.fromkeys(code for group in groups for code in group))


def _without(group: tuple[errors.ErrorCode, ...], *codes: errors.ErrorCode) -> tuple[errors.ErrorCode, ...]:
    return tuple(code for code in group if code not in codes)


_ON_A_HOST: Final = (*boot.ERRORS, errors.NOT_SUPPORTED_DURING_UPGRADE)
"""What a host that a client names is asked."""


Building = Generator[float, None, None]


# ---------------------------------------------------------------------------------------------------------- questions


@message("VM", errors=(*boot.ERRORS, errors.VM_HOST_INCOMPATIBLE_VERSION))
def assert_can_boot_here(call: Call, self: VMRef, host: HostRef) -> None:
    """Fail with the first reason why the VM could not boot on the host now.

    Notes
    -----
    Templates are not refused, and a host that does not exist is not live. A running VM asked about its own host is
    counted there, and needs its memory again. Source: xapi_vm_helpers.ml: assert_can_boot_here.
    """
    boot.assert_can_boot_here(call, call.db.VM[self], host, version=True)


@message("VM", errors=(errors.HANDLE_INVALID,))
def get_possible_hosts(call: Call, vm: VMRef) -> HostRefs:
    """The hosts on which the VM could boot now, but for their CPUs; if memory is kept for it on one, that alone.

    Notes
    -----
    The host that keeps memory is not checked. Source: xapi_vm_helpers.ml: get_possible_hosts_for_vm.
    """
    row = call.db.VM[vm]
    if row.scheduled_to_be_resident_on in call.db.host:
        return (row.scheduled_to_be_resident_on,)
    return tuple(ref for ref in call.db.host.refs() if boot.reason_against(call, row, ref, cpu=False) is None)


# ------------------------------------------------------------------------------------------------------------ starting


@message("VM", errors=(*_without(_STARTING, errors.OPERATION_NOT_ALLOWED), errors.NO_HOSTS_AVAILABLE))
def start(call: Call, vm: VMRef, start_paused: Bool, force: Bool) -> Building:
    """Start a halted VM on the host that the pool chooses.

    Notes
    -----
    Where memory is missing everywhere, the failure is NO_HOSTS_AVAILABLE. A VM of the restart priority has to run
    always from here on, even if the start fails afterwards. Inferred: a guest that reported before reports the same
    again, at once. Source: message_forwarding.ml: VM.start; xapi_vm.ml: start.
    """
    assert_enabled(call.db, Feature.VM_START)
    row = call.db.VM[vm]
    devices.assert_types_supported(call, row)
    operations.begin(call, row, "start")
    reach.assert_disks_attachable(call, row)
    _prepare_start(call, row)
    host = _chosen_host(call, row, "vm_start")
    yield from _start_on(call, row, host, start_paused, force)


@message(
    "VM",
    errors=_without(
        _all(_STARTING, _ON_A_HOST, (errors.HOST_EVACUATE_IN_PROGRESS,)),
        errors.VM_INCOMPATIBLE_WITH_THIS_HOST,
        errors.HOST_OFFLINE,
    ),
)
def start_on(call: Call, vm: VMRef, host: HostRef, start_paused: Bool, force: Bool) -> Building:
    """Start a halted VM on a host.

    Notes
    -----
    Sleeps start_delay twice. Source: message_forwarding.ml: VM.start_on.
    """
    _assert_highest_version(call, host)
    assert_enabled(call.db, Feature.VM_START)
    row = call.db.VM[vm]
    boot.assert_affinity_of_control_domain(row, host)
    if "evacuate" in call.db.host[host].current_operations.values():
        raise errors.HOST_EVACUATE_IN_PROGRESS(host)
    operations.begin(call, row, "start_on")
    reach.assert_disks_attachable(call, row)
    _prepare_start(call, row)
    target = _given_host(call, row, host, "vm_start")
    yield from _start_on(call, row, target, start_paused, force)
    if row.start_delay > 0:
        yield float(row.start_delay)


def _prepare_start(call: Call, vm: "rows.VM") -> None:
    _derive_domain_type(call, vm)
    lifecycle.update_memory_overhead(call, vm)


def _chosen_host(call: Call, vm: "rows.VM", operation: str) -> "rows.host":
    """The host of a VM that may go anywhere, with its memory reserved there."""
    database = call.db
    ref = vm.scheduled_to_be_resident_on
    if ref not in database.host.rows:
        ref = placement.choose_host(call, vm)
    ha.assert_vm_can_come(call, vm, ref)
    host = database.host.rows[ref]
    lifecycle.reserve(call, vm, host, operation)
    return host


def _given_host(call: Call, vm: "rows.VM", ref: str, operation: str) -> "rows.host":
    """The host that a client names, with the VM's memory reserved there."""
    boot.assert_can_boot_here(call, vm, ref, cpu=False)
    ha.assert_vm_can_come(call, vm, ref)
    host = call.db.host[ref]
    lifecycle.reserve(call, vm, host, operation)
    return host


def _start_on(call: Call, vm: "rows.VM", host: "rows.host", start_paused: bool, force: bool) -> Building:
    """What happens on the host, once memory is reserved."""
    try:
        boot.assert_reachable(call.db, host.ref)
        _protect(call, vm)
        if vm.domain_type == "hvm" and vm.platform.get("device-model", "qemu-trad") == "qemu-trad":
            firmware = "uefi" if vm.HVM_boot_params.get("firmware") == "uefi" else "compat"
            call.db.write(vm, "platform", {**vm.platform, "device-model": f"qemu-upstream-{firmware}"})
        _assert_devices_allowed(call, vm, host)
        _assert_platform_allowed(call, vm, force)
        reported = lifecycle.forget_guest(call, vm) if vm.guest_metrics != NULL else None
        yield from lifecycle.build_domain(call, vm, host, paused=start_paused)
        if reported is not None:
            call.db.write(vm, "guest_metrics", lifecycle.copied(call, reported))
    except BaseException:
        lifecycle.cancel_reservation(call, vm)
        raise
    if vm.start_delay > 0:
        yield float(vm.start_delay)


def _protect(call: Call, vm: "rows.VM") -> None:
    if vm.ha_restart_priority == RESTART:
        call.db.write(vm, "ha_always_run", True)


def _assert_devices_allowed(call: Call, vm: "rows.VM", host: "rows.host") -> None:
    """What a start looks at of devices (xapi_vm.ml: start; vm_platform.ml: check_restricted_device_model)."""
    model = vm.platform.get("device-model", "")
    if vm.VUSBs and not model.startswith("qemu-upstream"):
        raise errors.INVALID_VALUE("platform:device-model when vm has VUSBs", model)
    if vm.VIFs and devices.has_sriov_vif(call, vm, host.ref):
        assert_enabled(call.db, Feature.NETWORK_SRIOV)


def _assert_platform_allowed(call: Call, vm: "rows.VM", force: bool) -> None:
    """What a start looks at; whether the memory is pinned, unless it is forced.

    Source: xapi_vm.ml: start; vm_platform.ml: check_restricted_flags.
    """
    value = vm.platform.get("nested-virt")
    nested_virt = is_truthy(value)
    pinned = vm.memory_static_min <= vm.memory_dynamic_min == vm.memory_dynamic_max == vm.memory_static_max
    if not force and not pinned:
        if nested_virt:
            raise errors.MEMORY_CONSTRAINT_VIOLATION_MAXPIN("nested virt")
        if vm.VGPUs and devices.has_sriov_vgpu(call.db, vm):
            raise errors.MEMORY_CONSTRAINT_VIOLATION_MAXPIN("SRIOV vGPU")
    if value is not None and value.lower() not in ("true", "1", "false", "0"):
        raise errors.INVALID_VALUE("platform:nested-virt", value)
    if nested_virt:
        assert_enabled(call.db, Feature.NESTED_VIRT)


def _assert_highest_version(call: Call, host: str) -> None:
    """During a rolling upgrade VMs start on hosts of the highest version only."""
    if boot.is_upgrading(call.db) and not boot.has_highest_version(call.db, call.db.host[host]):
        raise errors.NOT_SUPPORTED_DURING_UPGRADE()


# ------------------------------------------------------------------------------------------------ suspending, resuming


@message("VM", errors=(*_MOVING, errors.VM_NO_SUSPEND_SR))
def suspend(call: Call, vm: VMRef) -> None:
    """Write a running VM to disk; its host counts its memory no longer.

    Notes
    -----
    The VM no longer has to run always, even if the suspension fails. Source: xapi_vm.ml: suspend.
    """
    row = call.db.VM[vm]
    operations.begin(call, row, "suspend")
    boot.assert_reachable(call.db, row.resident_on)
    call.db.write(row, "ha_always_run", False)
    size = row.memory_static_max * 120 // 100 * 105 // 100 + 100 * MIB
    sr = lifecycle.suspend_sr(call, row)
    call.hooks.create_suspend_image(row, size)
    lifecycle.suspend(call, row, sr, size)


@message("VM", errors=(*_BUILDING, errors.NO_HOSTS_AVAILABLE, errors.VM_HAS_NO_SUSPEND_VDI))
def resume(call: Call, vm: VMRef, start_paused: Bool, force: Bool) -> Building:
    """Resume a suspended VM on the host that the pool chooses; its overhead is not computed anew.

    Notes
    -----
    Without start_delay. Source: message_forwarding.ml: VM.resume; xapi_vm.ml: resume.
    """
    row = call.db.VM[vm]
    devices.assert_types_supported(call, row)
    operations.begin(call, row, "resume")
    reach.assert_disks_attachable(call, row)
    _derive_domain_type(call, row)
    host = _chosen_host(call, row, "vm_resume")
    yield from _resume_on(call, row, host, start_paused, force)


@message(
    "VM",
    errors=_without(_all(_BUILDING, _ON_A_HOST, (errors.VM_HAS_NO_SUSPEND_VDI,)), errors.HOST_OFFLINE),
)
def resume_on(call: Call, vm: VMRef, host: HostRef, start_paused: Bool, force: Bool) -> Building:
    """Resume a suspended VM on a host.

    Notes
    -----
    Without start_delay. Source: message_forwarding.ml: VM.resume_on.
    """
    _assert_highest_version(call, host)
    row = call.db.VM[vm]
    devices.assert_types_supported(call, row)
    operations.begin(call, row, "resume_on")
    reach.assert_disks_attachable(call, row)
    _derive_domain_type(call, row)
    target = _given_host(call, row, host, "vm_resume")
    yield from _resume_on(call, row, target, start_paused, force)


def _derive_domain_type(call: Call, vm: "rows.VM") -> None:
    if vm.domain_type == "unspecified":
        call.db.write(vm, "domain_type", lifecycle.derived_domain_type(vm.HVM_boot_policy))


def _resume_on(call: Call, vm: "rows.VM", host: "rows.host", start_paused: bool, force: bool) -> Building:
    try:
        boot.assert_reachable(call.db, host.ref)
        _protect(call, vm)
        if not force:
            reach.assert_cpu_compatible(call, vm, host, boot.live_domain_type(call.db, vm))
        if vm.suspend_VDI == NULL:
            lifecycle.halt(call, vm)
            raise errors.VM_HAS_NO_SUSPEND_VDI("VM", vm.ref)
        yield from lifecycle.build_domain(call, vm, host, paused=start_paused, resumed=True)
    except BaseException:
        lifecycle.cancel_reservation(call, vm)
        raise
    image = vm.suspend_VDI
    call.db.write(vm, "suspend_VDI", NULL)
    lifecycle.forget_image(call, image)


@message("VM", errors=_LEAVING)
def pause(call: Call, vm: VMRef) -> None:
    """Stop the vCPUs of a running VM; it stays on its host and counts there. Source: xapi_vm.ml: pause."""
    _set_power_state(call, vm, "pause", "Paused")


@message("VM", errors=_LEAVING)
def unpause(call: Call, vm: VMRef) -> None:
    """Let the vCPUs of a paused VM run again. Source: xapi_vm.ml: unpause."""
    _set_power_state(call, vm, "unpause", "Running")


def _set_power_state(call: Call, vm: str, operation: str, power_state: str) -> None:
    row = call.db.VM[vm]
    operations.begin(call, row, operation)
    boot.assert_reachable(call.db, row.resident_on)
    call.db.write(row, "power_state", power_state)


# ------------------------------------------------------------------------------------------------------- shutting down


@message(
    "VM",
    errors=(
        *_LEAVING,
        errors.VM_LACKS_FEATURE,
        errors.VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT,
        errors.VM_SHUTDOWN_TIMEOUT,
        errors.TASK_CANCELLED,
    ),
)
def clean_shutdown(call: Call, vm: VMRef) -> Building:
    """Ask the guest of a running VM to shut down; then sleep shutdown_delay.

    Notes
    -----
    The VM no longer has to run always, even if the guest does not answer. Source: xapi_vm.ml: clean_shutdown.
    """
    row = call.db.VM[vm]
    operations.begin(call, row, "clean_shutdown")
    boot.assert_reachable(call.db, row.resident_on)
    call.db.write(row, "ha_always_run", False)
    call.hooks.shut_down_guest(row)
    lifecycle.halt(call, row)
    if row.shutdown_delay > 0:
        yield float(row.shutdown_delay)


@message("VM", errors=(*_without(_LEAVING, errors.VM_IS_SNAPSHOT), errors.NO_HOSTS_AVAILABLE, errors.TASK_CANCELLED))
def hard_shutdown(call: Call, vm: VMRef) -> Building:
    """Destroy the domain of a running or paused VM, then sleep shutdown_delay; or the image of a suspended one.

    Notes
    -----
    Cancels what else is being done to stop or move the VM. Source: message_forwarding.ml: VM.hard_shutdown; xapi_vm.ml:
    hard_shutdown.
    """
    row = call.db.VM[vm]
    operations.begin(call, row, "hard_shutdown")
    _cancel_others(call, row)
    yield from shut_down_hard(call, row)


def shut_down_hard(call: Call, vm: "rows.VM") -> Building:
    """What hard_shutdown does to a VM, once it may: for other messages that shut VMs down."""
    delay = 0.0
    if vm.power_state == "Suspended":
        if not boot.some_live_host_has_storage(call, vm):
            raise errors.NO_HOSTS_AVAILABLE()
    else:
        boot.assert_reachable(call.db, vm.resident_on)
        delay = float(vm.shutdown_delay)
    call.db.write(vm, "ha_always_run", False)
    lifecycle.halt(call, vm)
    if delay > 0:
        yield delay


@message("VM", errors=(*_LEAVING, errors.NO_HOSTS_AVAILABLE, errors.TASK_CANCELLED))
def shutdown(call: Call, vm: VMRef) -> Building:
    """Ask the guest of a running VM to shut down, and destroy the domain if it does not; as hard_shutdown for others.

    Notes
    -----
    Source: xapi_vm.ml: shutdown.
    """
    row = call.db.VM[vm]
    operations.begin(call, row, "shutdown")
    delay = 0.0
    if row.power_state == "Suspended":
        if not boot.some_live_host_has_storage(call, row):
            raise errors.NO_HOSTS_AVAILABLE()
    else:
        boot.assert_reachable(call.db, row.resident_on)
        delay = float(row.shutdown_delay)
    call.db.write(row, "ha_always_run", False)
    if row.power_state == "Running":
        with suppress(Failure):
            call.hooks.shut_down_guest(row)
    lifecycle.halt(call, row)
    if delay > 0:
        yield delay


@message(
    "VM",
    errors=(
        *_LEAVING,
        errors.VM_LACKS_FEATURE,
        errors.VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT,
        errors.VM_SHUTDOWN_TIMEOUT,
    ),
)
def clean_reboot(call: Call, vm: VMRef) -> None:
    """Ask the guest of a running VM to reboot: it gets another domain on its host. Source: xapi_vm.ml: clean_reboot."""
    row = call.db.VM[vm]
    operations.begin(call, row, "clean_reboot")
    boot.assert_reachable(call.db, row.resident_on)
    call.hooks.shut_down_guest(row)
    lifecycle.reboot(call, row)


@message("VM", errors=_LEAVING)
def hard_reboot(call: Call, vm: VMRef) -> None:
    """Destroy the domain of a running or paused VM, and build another on its host.

    Notes
    -----
    Cancels what else is being done to stop or move the VM. Source: message_forwarding.ml: VM.hard_reboot.
    """
    row = call.db.VM[vm]
    operations.begin(call, row, "hard_reboot")
    _cancel_others(call, row)
    boot.assert_reachable(call.db, row.resident_on)
    lifecycle.reboot(call, row)


@message("VM", errors=(*_without(_OPERATION, errors.VM_BAD_POWER_STATE), errors.HOST_IS_LIVE))
def power_state_reset(call: Call, vm: VMRef) -> None:
    """Let a VM count as Halted that was lost with its host; nothing is done to a domain, so its host must be dead.

    Notes
    -----
    Source: xapi_vm.ml: power_state_reset.
    """
    row = call.db.VM[vm]
    operations.begin(call, row, "power_state_reset")
    if row.power_state in ("Running", "Paused"):
        host = call.db.host.get(row.resident_on)
        if host is not None and (host.ref == call.db.the_pool.master or boot.is_live(call.db, host)):
            raise errors.HOST_IS_LIVE(host.ref)
    lifecycle.halt(call, row)


def _cancel_others(call: Call, vm: "rows.VM") -> None:
    for task, operation in vm.current_operations.items():
        under_way = call.world.running.get(task)
        if under_way is not None and operation in _CANCELLED_BY_FORCE:
            under_way.cancelled = True


# -------------------------------------------------------------------------------------------------------------- moving


@message(
    "VM",
    errors=_all(
        _MOVING,
        _without(boot.ERRORS, errors.VGPU_TYPE_NO_LONGER_SUPPORTED, errors.VM_REQUIRES_GPU),
        (
            errors.NOT_SUPPORTED_DURING_UPGRADE,
            errors.HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN,
            errors.VMS_FAILED_TO_COOPERATE,
            errors.TASK_CANCELLED,
            errors.NVIDIA_TOOLS_ERROR,
            *reach.NETWORK_ERRORS,
            *devices.RESERVATION_ERRORS,
        ),
    ),
)
def pool_migrate(call: Call, vm: VMRef, host: HostRef, options: StringMap) -> Building:
    """Move a running VM to a host of the pool, maybe its own.

    Notes
    -----
    While it moves, the VM counts on both hosts; what it leaves behind is not credited. The option force skips the CPU's
    features and whatever a guest can be forced to. Source: message_forwarding.ml: VM.pool_migrate;
    xapi_vm_migrate.ml: pool_migrate.
    """
    database = call.db
    row = database.VM[vm]
    force = options.get("force") == "true"
    if not force:
        reach.assert_cpu_compatible(call, row, database.host[host], boot.live_domain_type(database, row))
    operations.begin(call, row, "pool_migrate", strict=not force)
    source = row.resident_on
    if boot.is_upgrading(database) and not boot.is_not_older(database, database.host[host], than=database.host[source]):
        raise errors.NOT_SUPPORTED_DURING_UPGRADE()
    target = _given_host(call, row, host, "vm_migrate")
    try:
        boot.assert_reachable(database, source)
        assert_enabled(database, Feature.XEN_MOTION)
        if "network" in options:
            reach.assert_migration_network(database, host, options["network"])
        devices.assert_destination_known(database, row, host)
        memory = call.world.guests.start(row, target)
        if not isinstance(memory, int):
            memory = yield from memory
        if row.power_state != "Running" or row.resident_on != source:
            raise errors.VM_BAD_POWER_STATE(vm, "running", row.power_state.lower())
    except BaseException:
        lifecycle.cancel_reservation(call, row)
        raise
    lifecycle.settle(call, row, target, memory, {}, {})
    devices.move(call, row)
    if source != target.ref:
        call.world.guests.left(row, source)
