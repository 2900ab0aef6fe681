"""What becomes of a VM's rows when it gets a domain, loses it, or moves.

Memory limits never change with the power state. Amounts are bytes. Source: docs/reference/messages.md, 2.3 and 5
(xapi-project/xen-api, ocaml/xapi/xapi_vm_lifecycle.ml: force_state_reset_keep_current_operations;
message_forwarding.ml: allocate_vm_to_host; xapi_xenops.ml).
"""

from collections.abc import Generator
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import msgspec

from xenmem.datamodel import errors
from xenmem.datamodel.errors import Failure
from xenmem.datamodel.types import NULL
from xenmem.rules.upgrade import is_truthy
from xenmem.xenapi.rules import devices, host_operations
from xenmem.xenapi.store import accounting
from xenmem.xenapi.store.rows import stored_fields

if TYPE_CHECKING:
    from xenmem.xenapi.calls.call import Call
    from xenmem.xenapi.store import rows
    from xenmem.xenapi.store.rows import Row


def update_memory_overhead(call: "Call", vm: "rows.VM") -> None:
    """Store the overhead that the record now has (xapi_vm_helpers.ml: update_memory_overhead)."""
    call.db.write(vm, "memory_overhead", accounting.overhead(call.db.model, vm))


def derived_domain_type(boot_policy: str) -> str:
    """What a VM is whose domain_type is unspecified (xapi_vm_helpers.ml: derive_domain_type)."""
    return "hvm" if boot_policy else "pv"


def reserve(call: "Call", vm: "rows.VM", host: "rows.host", operation: str) -> None:
    """Keep the memory of a VM on the host where it is going, and hold an operation there until the call ends.

    Parameters
    ----------
    call : the database must be locked
    vm, host : who goes where
    operation : vm_start, vm_resume or vm_migrate

    Raises
    ------
    Failure : VGPU_TYPE_NO_LONGER_SUPPORTED, OTHER_OPERATION_IN_PROGRESS, and what `devices.reserve` raises
    """
    if vm.VGPUs:
        devices.assert_types_supported(call, vm)
    host_operations.begin(call, host, operation)
    call.db.write(vm, "scheduled_to_be_resident_on", host.ref)
    if not vm.VGPUs and not vm.VIFs:
        return
    try:
        devices.reserve(call, vm, host)
    except Failure:
        call.db.write(vm, "scheduled_to_be_resident_on", NULL)
        raise


def cancel_reservation(call: "Call", vm: "rows.VM") -> None:
    """Give back what `reserve` kept, unless the VM arrived or is gone."""
    if vm.ref in call.db.VM:
        call.db.write(vm, "scheduled_to_be_resident_on", NULL)
        devices.release(call, vm)


def build_domain(
    call: "Call", vm: "rows.VM", host: "rows.host", *, paused: bool, resumed: bool = False
) -> Generator[float, None, None]:
    """Give a VM, whose memory is reserved, a domain.

    Parameters
    ----------
    call : the database must be locked
    vm, host : who gets one where
    paused : leave the VM Paused
    resumed : it ran before, and keeps when it started

    Raises
    ------
    Failure : HOST_NOT_ENOUGH_FREE_MEMORY, VMS_FAILED_TO_COOPERATE

    Notes
    -----
    Inferred: hvm is true of whatever needs the hardware for it.
    """
    memory = call.world.guests.start(vm, host)
    if not isinstance(memory, int):
        memory = yield from memory
    values: dict[str, Any] = {
        "power_state": "Paused" if paused else "Running",
        "HVM_shadow_multiplier": actual_shadow_multiplier(call, vm, vm.HVM_shadow_multiplier),
    }
    values_of_metrics = {
        "current_domain_type": vm.domain_type,
        "hvm": vm.domain_type != "pv",
        **_flags(vm),
        "VCPUs_number": vm.VCPUs_at_startup,
    }
    if not resumed:
        values["last_boot_CPU_flags"] = call.world.sight.boot_flags(host, vm.domain_type)
        values_of_metrics["start_time"] = call.clock.date()
        if not vm.bios_strings:
            values["bios_strings"] = _BIOS_STRINGS
    settle(call, vm, host, memory, values, values_of_metrics)
    if vm.VBDs or vm.VIFs or vm.VGPUs or vm.VUSBs:
        devices.attach(call, vm)


def reboot(call: "Call", vm: "rows.VM") -> None:
    """Give a VM another domain where it is: its memory is not reserved anew, its record stays (CA-31903)."""
    host = call.db.host.rows.get(vm.resident_on)
    flags = {} if host is None else {"last_boot_CPU_flags": call.world.sight.boot_flags(host, vm.domain_type)}
    call.db.update(vm, {"power_state": "Running", "domid": call.world.new_domid(), **flags})
    metrics = call.db.VM_metrics.get(vm.metrics)
    if metrics is not None:
        started = {"start_time": call.clock.date(), "VCPUs_number": vm.VCPUs_at_startup}
        call.db.update(metrics, started | _flags(vm))


def _flags(vm: "rows.VM") -> dict[str, bool]:
    platform = vm.platform
    return {
        "nomigrate": is_truthy(platform.get("nomigrate")),
        "nested_virt": is_truthy(platform.get("nested-virt")),
    }


def settle(
    call: "Call",
    vm: "rows.VM",
    host: "rows.host",
    memory: int,
    values: dict[str, Any],
    values_of_metrics: dict[str, Any],
) -> None:
    """Make a VM resident where it was scheduled to be, with a domain; others see all of it or nothing.

    Parameters
    ----------
    call : the database must be locked
    vm, host : who has arrived where
    memory : what its domain was built with
    values, values_of_metrics : of fields that change with it; these dicts are taken over

    Notes
    -----
    Source: message_forwarding.ml: VM.atomic_set_resident_on.
    """
    database = call.db
    values["domid"] = call.world.new_domid()
    values["memory_target"] = memory
    database.settle(vm, host, values)
    metrics = database.VM_metrics.rows.get(vm.metrics)
    if metrics is not None:
        values_of_metrics["memory_actual"] = memory
        database.update(metrics, values_of_metrics)


def actual_shadow_multiplier(call: "Call", vm: "rows.VM", multiplier: float) -> float:
    """The multiplier that the hypervisor reports: whole MiB that a domain has, as a part of what it has by default."""
    if vm.domain_type == "pv" or multiplier == 1.0:
        return 1.0
    model = call.db.model
    return accounting.shadow_memory(model, vm, multiplier) / accounting.shadow_memory(model, vm, 1.0)


def halt(call: "Call", vm: "rows.VM") -> None:
    """Make a VM Halted. Inferred: nested_virt, nomigrate, hvm and memory_target are reset; memory_actual stays."""
    image = vm.suspend_VDI
    _leave(call, vm, _HALTED, _METRICS_HALTED, "restart_vm", "restart_device_model")
    if image != NULL:
        forget_image(call, image)


def suspend_sr(call: "Call", vm: "rows.VM") -> str | None:
    """Where the image of a VM that is suspended goes; None in a pool of which no SR is known.

    Raises
    ------
    Failure : VM_NO_SUSPEND_SR

    Notes
    -----
    Source: helpers.ml: choose_suspend_sr.
    """
    database = call.db
    if not len(database.SR) or not call.world.sight.knows_storage:
        return None
    host = database.host[vm.resident_on]
    linked = {pbd.SR for ref in host.PBDs if (pbd := database.tables["PBD"].get(ref)) is not None}
    for sr in (vm.suspend_SR, database.the_pool.suspend_image_SR, host.suspend_image_sr):
        if sr in linked and sr in database.SR:
            return sr
    raise errors.VM_NO_SUSPEND_SR(vm.ref)


def suspend(call: "Call", vm: "rows.VM", sr: str | None, size: int) -> None:
    """Make a VM Suspended: it has no domain, but keeps its domain type and whether it waits for a reboot.

    Parameters
    ----------
    call : the database must be locked
    vm : what is suspended
    sr, size : where its image goes, of so many bytes; where no SR is known, the image has no row

    Notes
    -----
    Source: xapi_xenops.ml: update_vm_internal.
    """
    suspended = {
        **_WITHOUT_DOMAIN,
        "power_state": "Suspended",
        "suspend_VDI": _image(call, sr, size),
        "last_booted_record": kept_while_suspended(call, vm),
    }
    _leave(call, vm, suspended, _METRICS_WITHOUT_DOMAIN, "restart_device_model")


def _image(call: "Call", sr: str | None, size: int) -> str:
    if sr is None:
        return call.db.new_ref()
    image = call.db.new_row("VDI", SR=sr, type="suspend", virtual_size=size, managed=True, name_label="Suspend image")
    call.db.create(image)
    return str(image.ref)


def forget_image(call: "Call", ref: str) -> None:
    """Destroy the image of a VM that is suspended no longer."""
    image = call.db.VDI.get(ref)
    if image is not None:
        call.db.destroy(image)


def kept_while_suspended(call: "Call", vm: "rows.VM") -> str:
    """The value of last_booted_record: what xenopsd keeps of a domain, as far as rows tell.

    Notes
    -----
    It has defaults for the rest. Source: xenops_server_xen.ml: VmExtra.
    """
    metrics = call.db.VM_metrics.get(vm.metrics)
    kept = _flags(vm) if metrics is None else {name: getattr(metrics, name) for name in ("nomigrate", "nested_virt")}
    return msgspec.json.encode(kept).decode()


def without_guidances(row: "rows.VM | rows.host", *done: str) -> dict[str, Any]:
    """What is left of the guidances of a VM or a host once some are followed, by field; nothing if there were none."""
    guidances = _guidances(row)
    if not any(guidances):
        return {}
    left = (tuple(one for one in some if one not in done) for some in guidances)
    return dict(zip(_GUIDANCES, left, strict=True))


def _leave(
    call: "Call", vm: "rows.VM", values: dict[str, Any], values_of_metrics: dict[str, Any], *guidances: str
) -> None:
    """Write what becomes of a VM that has lost its domain; the guidances that this follows are taken off it."""
    database, host = call.db, vm.resident_on
    database.update(vm, values | without_guidances(vm, *guidances))
    if vm.VBDs or vm.VIFs or vm.VGPUs or vm.VUSBs or vm.attached_PCIs:
        devices.detach(call, vm, suspended=vm.power_state == "Suspended")
    call.world.guests.left(vm, host)
    metrics = database.VM_metrics.rows.get(vm.metrics)
    if metrics is not None:
        database.update(metrics, values_of_metrics)


def stored(row: "Row") -> dict[str, Any]:
    """The fields of a row that rows hold, as they are."""
    return {name: getattr(row, name) for name in stored_fields(row.table)}


def copied(call: "Call", row: "Row") -> str:
    """A new row with what another one has, but for its uuid; the reference."""
    made = call.db.new_row(row.table, **stored(row) | {"uuid": call.db.new_uuid()})
    call.db.create(made)
    return str(made.ref)


def forget_guest(call: "Call", vm: "rows.VM") -> "rows.VM_guest_metrics | None":
    """Destroy what a VM's guest reported; the row, if there is one."""
    guest = call.db.VM_guest_metrics.get(vm.guest_metrics)
    if guest is not None:
        call.db.destroy(guest)
    call.db.write(vm, "guest_metrics", NULL)
    return guest


def require_hardware(call: "Call", vm: "rows.VM") -> None:
    """A vendor device needs version 2 of the virtual hardware (update_vm_virtual_hardware_platform_version)."""
    if vm.has_vendor_device and vm.hardware_platform_version < _VENDOR_DEVICE:
        call.db.write(vm, "hardware_platform_version", _VENDOR_DEVICE)


_VENDOR_DEVICE: Final = 2
_BIOS_STRINGS: Final = {
    "bios-vendor": "Xen",
    "bios-version": "",
    "system-manufacturer": "Xen",
    "system-product-name": "HVM domU",
    "system-version": "",
    "system-serial-number": "",
    "hp-rombios": "",
    "oem-1": "Xen",
    "oem-2": "MS_VM_CERT/SHA1/bdbeb6e0a816d43fa6d3fe8aaef04c2bad9d3e3d",
}
"""What a VM without BIOS strings gets when it starts (xapi_globs.ml: generic_bios_strings)."""
_WITHOUT_DOMAIN: Final = {
    "resident_on": NULL,
    "scheduled_to_be_resident_on": NULL,
    "domid": -1,
    "memory_target": 0,
}
_HALTED: Final = {**_WITHOUT_DOMAIN, "power_state": "Halted", "requires_reboot": False, "suspend_VDI": NULL}
_METRICS_WITHOUT_DOMAIN: Final = {
    "hvm": False,
    "nested_virt": False,
    "nomigrate": False,
    "VCPUs_number": 0,
    "numa_nodes": 0,
    "numa_optimised": False,
}
_METRICS_HALTED: Final = {**_METRICS_WITHOUT_DOMAIN, "current_domain_type": "unspecified"}
_GUIDANCES: Final = ("pending_guidances", "pending_guidances_recommended", "pending_guidances_full")
_guidances: Final = attrgetter(*_GUIDANCES)
