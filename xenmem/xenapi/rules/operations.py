"""Whether an operation on a VM may begin: the one table of checks that every message on a VM goes through, in order.

Source: docs/reference/messages.md, 1 (xapi-project/xen-api, ocaml/xapi/xapi_vm_lifecycle.ml: check_operation_error;
ocaml/xapi/xapi_vm_helpers.ml: with_vm_operation). Where the server would wait for another operation to end, up to two
hours, the failure is given at once.
"""

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from xenmem.datamodel import enum, errors
from xenmem.datamodel.errors import Failure
from xenmem.rules.guest import CANNOT_SUSPEND, has_drivers, has_feature
from xenmem.rules.mobility.guest import has_foreign_pci, has_pinned_vgpu
from xenmem.rules.mobility.storage import resets_with_cache
from xenmem.rules.upgrade import is_truthy
from xenmem.xenapi.rules import boot, devices
from xenmem.xenapi.world.features import Feature, is_enabled

if TYPE_CHECKING:
    from xenmem.xenapi.calls.call import Call
    from xenmem.xenapi.store import rows
    from xenmem.xenapi.store.database import Database


REASONS: Final = (
    errors.OPERATION_BLOCKED,
    errors.VM_BAD_POWER_STATE,
    errors.OTHER_OPERATION_IN_PROGRESS,
    errors.VM_IS_SNAPSHOT,
    errors.VM_IS_TEMPLATE,
    errors.PROVISION_ONLY_ALLOWED_ON_TEMPLATE,
    errors.REVERT_ONLY_ALLOWED_ON_SNAPSHOT,
    errors.VM_IS_IMMOBILE,
    errors.VM_IS_USING_NESTED_VIRT,
    errors.OPERATION_NOT_ALLOWED,
    errors.VM_NON_SUSPENDABLE,
    errors.VM_LACKS_FEATURE,
    errors.VM_HAS_VUSBS,
    errors.VM_HAS_PCI_ATTACHED,
    errors.VTPM_MAX_AMOUNT_REACHED,
    errors.VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED,
    errors.NOT_SUPPORTED_DURING_UPGRADE,
)
"""What `reason_against` answers, of some operation."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_POWER_STATES: Final = {
    "Halted": """changing_VCPUs changing_static_range changing_memory_limits changing_shadow_memory changing_NVRAM
        make_into_template provision start start_on create_vtpm clone copy""",
    "Halted Running": "changing_dynamic_range",
    "Running": """changing_memory_live awaiting_memory_live
    changing_shadow_memory_live changing_VCPUs_live clean_shutdown
        clean_reboot pause pool_migrate suspend data_source_op call_plugin send_sysrq send_trigger snapshot_with_quiesce
        sysprep""",
    "Paused": "unpause",
    "Suspended": "resume resume_on csvm",
    "Paused Running": "hard_reboot",
    "Paused Suspended Running": "hard_shutdown shutdown checkpoint get_boot_record",
    "Halted Suspended Running": "migrate_send",
    "Halted Suspended": "destroy export create_template",
    "Halted Paused Suspended Running": """snapshot revert reverting power_state_reset metadata_export
        assert_operation_valid update_allowed_operations query_services""",
    "": "import",
}
_ALLOWED_IN: Final = {
    operation: tuple(states.split()) for states, operations in _POWER_STATES.items() for operation in operations.split()
}
_ALSO_RUNNING_FOR_CONTROL_DOMAINS: Final = frozenset(
    ("changing_VCPUs", "changing_static_range", "changing_memory_limits")
)
_ON_TEMPLATES: Final = _words(
    """changing_dynamic_range changing_static_range changing_memory_limits changing_shadow_memory changing_VCPUs
    changing_NVRAM clone copy export metadata_export provision"""
)
_ON_OWN_TEMPLATES: Final = frozenset(("destroy", "migrate_send"))
_ON_SNAPSHOTS: Final = frozenset(("revert", "clone", "copy", "export", "destroy", "hard_shutdown", "metadata_export"))
_MOVING: Final = frozenset(("suspend", "checkpoint", "pool_migrate", "migrate_send"))
_NOT_WITH_VUSBS: Final = _MOVING | {"snapshot"}
_NOT_WITH_RESET: Final = frozenset(("suspend", "checkpoint", "snapshot"))
_NOT_ON_DOMAIN_ZERO: Final = frozenset(("changing_VCPUs", "destroy"))
_ON_CONTROL_DOMAINS: Final = _words(
    """data_source_op changing_memory_live awaiting_memory_live metadata_export changing_dynamic_range
    changing_memory_limits changing_static_range start start_on changing_VCPUs destroy"""
)
_DURING_UPGRADE: Final = _words(
    """assert_operation_valid changing_memory_live changing_shadow_memory_live changing_VCPUs_live clean_reboot
    clean_shutdown clone copy csvm destroy export get_boot_record hard_reboot hard_shutdown import make_into_template
    migrate_send pause pool_migrate power_state_reset provision resume resume_on send_sysrq send_trigger start start_on
    suspend unpause update_allowed_operations"""
)
"""xapi_globs.ml: rpu_allowed_vm_operations."""

_NEEDED_FEATURES: Final = {
    "clean_shutdown": ("feature-shutdown", "feature-poweroff"),
    "clean_reboot": ("feature-shutdown", "feature-reboot"),
    "changing_VCPUs_live": ("feature-vcpu-hotplug",),
    **dict.fromkeys(_MOVING, ("feature-suspend",)),
}
_FEATURES: Final = tuple(dict.fromkeys(key for keys in _NEEDED_FEATURES.values() for key in keys))
"""What counts of VM_guest_metrics.other beside CANNOT_SUSPEND."""

_CONCURRENT: Final = (
    frozenset(("clone", "copy", "export")),
    frozenset(("snapshot", "checkpoint")),
    frozenset(("get_boot_record",)),
)
_DURING_MIGRATE_SEND: Final = frozenset(("metadata_export", "clean_shutdown", "clean_reboot"))
_SHOWN: Final = {
    "assert_operation_valid": "assertoperationvalid",
    "data_source_op": "data_sources_op",
    **dict.fromkeys(
        ("changing_memory_limits", "changing_VCPUs", "query_services", "create_template"), "(unknown operation)"
    ),
}


def shown(operation: str) -> str:
    """An operation's name as failures print it (record_util.ml: vm_operation_to_string)."""
    return _SHOWN.get(operation, operation)


_UNADVISED: Final = _words(
    """changing_memory_live awaiting_memory_live changing_memory_limits changing_shadow_memory_live changing_VCPUs
    shutdown data_source_op call_plugin get_boot_record csvm power_state_reset create_template send_sysrq send_trigger
    query_services assert_operation_valid update_allowed_operations import reverting"""
)
_PERHAPS_ALSO: Final = {"Running": _ALSO_RUNNING_FOR_CONTROL_DOMAINS, "Suspended": frozenset(("clone", "copy"))}
ADVISED: Final = {
    state: tuple(
        operation
        for operation in reversed(enum("vm_operations").members)
        if operation not in _UNADVISED
        and (state in _ALLOWED_IN[operation] or operation in _PERHAPS_ALSO.get(state, frozenset()))
    )
    for state in enum("vm_power_state").members
}
"""By power state, the operations that may be named, the last declared first."""


def allowed(call: "Call", vm: "rows.VM") -> tuple[str, ...]:
    """The value of VM.allowed_operations: what may begin now, the last declared first; some are never named.

    Notes
    -----
    VMs in the same situation may do the same. Source: xapi_vm_lifecycle.ml: update_allowed_operations, ignored_ops.
    """
    if vm.current_operations or vm.blocked_operations:
        return _allowed(call, vm)
    situation = _situation(call.db, vm)
    operations = _ALLOWED_WHERE.get(situation)
    if operations is None:
        operations = _ALLOWED_WHERE[situation] = _allowed(call, vm)
    return operations


def _allowed(call: "Call", vm: "rows.VM") -> tuple[str, ...]:
    return tuple(
        operation for operation in ADVISED.get(vm.power_state, ()) if reason_against(call, vm, operation) is None
    )


_ALLOWED_WHERE: Final[dict[tuple[Hashable, ...], tuple[str, ...]]] = {}


def _situation(database: "Database", vm: "rows.VM") -> tuple[Hashable, ...]:
    """All that `reason_against` looks at of a VM of which nothing is under way or blocked: a few bits."""
    guest = database.VM_guest_metrics.rows.get(vm.guest_metrics)
    return (
        vm.power_state if vm.power_state in ADVISED else "",
        vm.is_a_snapshot,
        vm.is_a_template,
        vm.is_a_template and _is_own_template(vm),
        vm.is_control_domain,
        is_domain_zero(database, vm),
        is_immobile(database, vm),
        has_nested_virt(database, vm),
        _is_paravirtual(database, vm),
        guest is not None and has_drivers(guest.PV_drivers_version),
        None if guest is None else _announced(guest.other),
        *_devices(database, vm),
        bool(vm.VTPMs),
        _may_clone_suspended(database),
        boot.is_upgrading(database),
    )


def is_domain_zero(database: "Database", vm: "rows.VM") -> bool:
    """Whether a VM is domain 0 of its host (helpers.ml: is_domain_zero)."""
    host = database.host.get(vm.resident_on) if vm.is_control_domain else None
    return host is not None and host.control_domain == vm.ref


def has_nested_virt(database: "Database", vm: "rows.VM") -> bool:
    """Whether nested virtualisation pins the VM: its metrics say so if there are any, else its platform."""
    metrics = database.VM_metrics.get(vm.metrics)
    return metrics.nested_virt if metrics is not None else is_truthy(vm.platform.get("nested-virt"))


def pin_reason(database: "Database", vm: "rows.VM") -> str:
    """Why the dynamic limits of a VM must be its static_max; empty if they need not."""
    if not is_enabled(database, Feature.DMC):
        return "DMC disabled"
    if vm.is_control_domain:
        return "control domain"
    return "nested virt" if has_nested_virt(database, vm) else ""


def is_immobile(database: "Database", vm: "rows.VM") -> bool:
    """Whether the VM may not move: by the same rule, nomigrate or nested virtualisation."""
    metrics = database.VM_metrics.get(vm.metrics)
    if metrics is not None:
        return metrics.nomigrate or metrics.nested_virt
    return is_truthy(vm.platform.get("nomigrate")) or is_truthy(vm.platform.get("nested-virt"))


def allowed_power_states(database: "Database", vm: "rows.VM", operation: str) -> tuple[str, ...]:
    """The power states in which the operation is allowed, in the order in which failures print them."""
    states = _ALLOWED_IN[operation]
    if vm.is_control_domain and operation in _ALSO_RUNNING_FOR_CONTROL_DOMAINS:
        return (*states, "Running")
    if operation in ("clone", "copy") and (vm.is_a_snapshot or _may_clone_suspended(database)):
        return (*states, "Suspended")
    return states


def _is_own_template(vm: "rows.VM") -> bool:
    """Whether a template is none of those that come with the server."""
    return not (vm.is_default_template or is_default_template(vm))


def is_default_template(vm: "rows.VM") -> bool:
    """Whether other_config says that a template came with the server, in any case of letters."""
    return is_truthy(vm.other_config.get("default_template"))


def _is_paravirtual(database: "Database", vm: "rows.VM") -> bool:
    return boot.live_domain_type(database, vm) in ("pv", "pv_in_pvh", "pvh")


def _announced(other: Mapping[str, str]) -> tuple[bool, ...]:
    return CANNOT_SUSPEND in other, *(has_feature(other, feature) for feature in _FEATURES)


def _may_clone_suspended(database: "Database") -> bool:
    return database.the_pool.other_config.get("allow_clone_suspended_vm") == "true"


def begin(call: "Call", vm: "rows.VM", operation: str, *, strict: bool = True) -> None:
    """Raise the first reason why an operation may not begin; if it may, the VM has it for as long as the message waits.

    Parameters
    ----------
    call : the database must be locked
    vm, operation : what is to be done to what
    strict : also look at what a guest could be forced to

    Raises
    ------
    Failure : the reason
    """
    failure = reason_against(call, vm, operation, strict=strict)
    if failure is not None:
        raise failure
    call.begin(vm, operation)


def reason_against(call: "Call", vm: "rows.VM", operation: str, *, strict: bool = True) -> Failure | None:
    """The first reason why an operation may not begin, None if it may."""
    database, ref = call.db, vm.ref
    if operation in vm.blocked_operations:
        return errors.OPERATION_BLOCKED(ref, vm.blocked_operations[operation])
    states = _ALLOWED_IN[operation]
    if vm.power_state not in states:
        states = allowed_power_states(database, vm, operation)
        if vm.power_state not in states:
            return errors.VM_BAD_POWER_STATE(ref, ", ".join(states).lower(), vm.power_state.lower())
    if vm.current_operations and not _may_join(operation, vm.current_operations):
        names, refs = [shown(current) for current in vm.current_operations.values()], list(vm.current_operations)
        return errors.OTHER_OPERATION_IN_PROGRESS("VM", ref, _listed(names), _listed(refs))
    if vm.is_a_snapshot:
        if operation not in _ON_SNAPSHOTS:
            return errors.VM_IS_SNAPSHOT(ref, shown(operation))
    elif (
        vm.is_a_template
        and operation not in _ON_TEMPLATES
        and not (operation in _ON_OWN_TEMPLATES and _is_own_template(vm))
    ):
        return errors.VM_IS_TEMPLATE(ref, shown(operation))
    if operation == "provision" and not vm.is_a_template:
        return errors.PROVISION_ONLY_ALLOWED_ON_TEMPLATE()
    if operation == "revert" and not vm.is_a_snapshot:
        return errors.REVERT_ONLY_ALLOWED_ON_SNAPSHOT()
    if strict and operation in _MOVING and is_immobile(database, vm):
        return errors.VM_IS_IMMOBILE(ref)
    if strict and operation == "changing_dynamic_range" and has_nested_virt(database, vm):
        return errors.VM_IS_USING_NESTED_VIRT(ref)
    if vm.is_control_domain:
        if operation in _NOT_ON_DOMAIN_ZERO and is_domain_zero(database, vm):
            return errors.OPERATION_NOT_ALLOWED("This operation is not allowed on dom0")
        if operation not in _ON_CONTROL_DOMAINS:
            return errors.OPERATION_NOT_ALLOWED("This operation is not allowed on a control domain")
    if operation in _NEEDED_FEATURES:
        failure = _lacking_feature(database, vm, operation, strict)
        if failure is not None:
            return failure
    if operation == "snapshot_with_quiesce":
        return errors.VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED(ref, "")
    if operation in _NOT_WITH_VUSBS:
        failure = _held_by_devices(database, vm, operation)
        if failure is not None:
            return failure
    if vm.VTPMs and operation == "create_vtpm":
        return errors.VTPM_MAX_AMOUNT_REACHED(1)
    if operation not in _DURING_UPGRADE and boot.is_upgrading(database):
        return errors.NOT_SUPPORTED_DURING_UPGRADE()
    return None


class _Devices(NamedTuple):
    """What the devices of a VM say against its operations, one bit each."""

    resets: bool
    resets_with_cache: bool
    has_foreign_pci: bool
    has_pinned_vgpu: bool
    has_vusbs: bool


_NO_DEVICES: Final = _Devices(False, False, False, False, False)


def _devices(database: "Database", vm: "rows.VM") -> _Devices:
    if not (vm.VBDs or vm.attached_PCIs or vm.VGPUs or vm.VUSBs):
        return _NO_DEVICES
    vgpus = devices.live_gpus(database, vm) if vm.VGPUs else []
    vbds = (database.VBD.rows.get(ref) for ref in vm.VBDs)
    vdis = (database.VDI.rows.get(vbd.VDI) for vbd in vbds if vbd is not None)
    configs = [vdi.sm_config for vdi in vdis if vdi is not None]
    return _Devices(
        any(config.get("on_boot") == "reset" for config in configs),
        any(map(resets_with_cache, configs)),
        has_foreign_pci(vm.attached_PCIs, vgpus),
        has_pinned_vgpu(vgpus),
        bool(vm.VUSBs),
    )


def _held_by_devices(database: "Database", vm: "rows.VM", operation: str) -> Failure | None:
    """What the devices of a VM say against an operation that moves it, or takes a snapshot."""
    found = _devices(database, vm)
    if found is _NO_DEVICES:
        return None
    if (found.resets and operation in _NOT_WITH_RESET) or (found.resets_with_cache and operation == "pool_migrate"):
        return errors.VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION()
    if found.has_foreign_pci and operation in _MOVING:
        return errors.VM_HAS_PCI_ATTACHED(vm.ref)
    without_domain = {"migrate_send": "Halted", "checkpoint": "Suspended"}.get(operation)
    if found.has_pinned_vgpu and operation in _MOVING and vm.power_state != without_domain:
        return errors.VM_HAS_VGPU(vm.ref)
    return errors.VM_HAS_VUSBS(vm.ref) if found.has_vusbs else None


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{{{','.join(items)}}}"


def _may_join(operation: str, current: dict[str, str]) -> bool:
    running = set(current.values())
    if any(operation in together and running <= together for together in _CONCURRENT):
        return True
    if operation == "hard_shutdown":
        return "hard_shutdown" not in running
    if operation == "hard_reboot":
        return running.isdisjoint(("hard_shutdown", "hard_reboot"))
    return running == {"migrate_send"} and operation in _DURING_MIGRATE_SEND


def _lacking_feature(database: "Database", vm: "rows.VM", operation: str, strict: bool) -> Failure | None:
    """What the guest agent of a live VM says against it (messages.md, 1 row 10)."""
    if vm.power_state not in ("Running", "Paused"):
        return None
    guest = database.VM_guest_metrics.get(vm.guest_metrics)
    other = guest.other if guest is not None else {}
    if operation in _MOVING and CANNOT_SUSPEND in other:
        return errors.VM_NON_SUSPENDABLE(vm.ref, other[CANNOT_SUSPEND])
    if not strict and operation != "changing_VCPUs_live":
        return None
    if _is_paravirtual(database, vm) or (guest is not None and has_drivers(guest.PV_drivers_version)):
        return None
    if any(has_feature(other, feature) for feature in _NEEDED_FEATURES[operation]):
        return None
    return errors.VM_LACKS_FEATURE(vm.ref)
