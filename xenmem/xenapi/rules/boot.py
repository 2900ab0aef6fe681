"""Whether a VM could boot on a host now: the checks of VM.assert_can_boot_here, in the server's order.

Every start, resume, migration and evacuation asks them, some without the CPU or the memory. Amounts are bytes.
Source: docs/reference/messages.md, 2.4 (xapi-project/xen-api, ocaml/xapi/message_forwarding.ml, xapi_vm_helpers.ml:
assert_can_boot_here).
"""

from typing import TYPE_CHECKING, Final

from xenmem.datamodel import errors
from xenmem.datamodel.errors import Failure
from xenmem.datamodel.types import INT, NULL, shown_float
from xenmem.rules import hosts
from xenmem.rules.hosts import highest, migration_keys, upgrade_keys, versions_of
from xenmem.rules.mobility import platform
from xenmem.rules.mobility.storage import first_unseen
from xenmem.rules.start import starts_with_static_max
from xenmem.rules.upgrade import is_truthy
from xenmem.xenapi.rules import devices, reach
from xenmem.xenapi.store import accounting
from xenmem.xenapi.world.features import Feature, assert_enabled

if TYPE_CHECKING:
    from xenmem.xenapi.calls.call import Call
    from xenmem.xenapi.store import rows
    from xenmem.xenapi.store.database import Database

ERRORS: Final = (
    errors.HANDLE_INVALID,
    errors.LICENCE_RESTRICTION,
    errors.VGPU_TYPE_NO_LONGER_SUPPORTED,
    errors.INVALID_VALUE,
    errors.VALUE_NOT_SUPPORTED,
    errors.MEMORY_CONSTRAINT_VIOLATION,
    errors.HOST_NOT_LIVE,
    errors.OPERATION_NOT_ALLOWED,
    errors.HOST_DISABLED,
    errors.VM_HOST_INCOMPATIBLE_VIRTUAL_HARDWARE_PLATFORM_VERSION,
    errors.VM_INCOMPATIBLE_WITH_THIS_HOST,
    errors.VM_REQUIRES_SR,
    errors.VM_REQUIRES_NETWORK,
    errors.HOST_CANNOT_ATTACH_NETWORK,
    errors.VM_REQUIRES_IOMMU,
    errors.VM_REQUIRES_GPU,
    errors.VM_REQUIRES_VGPU,
    errors.NETWORK_SRIOV_INSUFFICIENT_CAPACITY,
    errors.VM_HVM_REQUIRED,
    errors.HOST_NOT_ENOUGH_FREE_MEMORY,
    errors.HOST_NOT_ENOUGH_PCPUS,
)
"""What the checks answer."""

_AFFINITY: Final = "Cannot boot a control domain on a host different from its affinity"
_LEAKS: Final = "option would leak a domain; VMs and not domains are managed by this API"
_NO_COREDUMP: Final = "cannot invoke a coredump of an HVM, PVH or PV-in-PVH domain"


def assert_can_boot_here(
    call: "Call",
    vm: "rows.VM",
    host_ref: str,
    *,
    cpu: bool = True,
    storage: bool = True,
    memory: bool = True,
    version: bool = False,
) -> None:
    """Raise the first reason why a VM could not boot on a host.

    Parameters
    ----------
    call : the database must be locked
    vm, host_ref : what is to boot where; a host that does not exist is not live
    cpu, storage, memory : ask these as well
    version : in a rolling upgrade, ask whether the host runs what the coordinator does, as only the message itself does

    Raises
    ------
    Failure : the reason
    """
    database = call.db
    if vm.power_state == "Halted":
        assert_enabled(database, Feature.VM_START)
    if version and is_upgrading(database) and not is_as_new_as_coordinator(database, database.host[host_ref]):
        raise errors.VM_HOST_INCOMPATIBLE_VERSION(host_ref, vm.ref)
    if vm.VGPUs:
        devices.assert_types_supported(call, vm)
    assert_record_bootable(database, vm)
    host = database.host.rows.get(host_ref)
    metrics = database.host_metrics.rows.get(host.metrics) if host is not None else None
    if host is None or metrics is None or not metrics.live:
        raise errors.HOST_NOT_LIVE()
    assert_affinity_of_control_domain(vm, host_ref)
    if not (host.enabled or vm.is_control_domain or (vm.power_state == "Running" and vm.resident_on == host_ref)):
        raise errors.HOST_DISABLED(host_ref)
    if not platform.offers(host.virtual_hardware_platform_versions, vm.hardware_platform_version):
        versions = "; ".join(map(str, host.virtual_hardware_platform_versions))
        raise errors.VM_HOST_INCOMPATIBLE_VIRTUAL_HARDWARE_PLATFORM_VERSION(
            host_ref, f"[{versions}]", vm.ref, vm.hardware_platform_version
        )
    kind = live_domain_type(database, vm)
    if cpu:
        reach.assert_cpu_compatible(call, vm, host, kind)
    if storage and (vm.VBDs or vm.power_state == "Suspended"):
        reach.assert_storage_visible(call, vm, host_ref)
    if vm.VIFs:
        reach.assert_networks_attachable(call, vm, host_ref)
    if vm.VGPUs:
        devices.assert_gpus_available(call, vm, host)
    if vm.VUSBs:
        devices.assert_usbs_available(call, vm, host_ref)
    if vm.VIFs and database.tables["network_sriov"].rows:
        devices.assert_functions_available(call, vm, host_ref)
    if not cpu:
        accounting.domain_type(kind)
    if kind in platform.NEEDS_HVM and not platform.has_hvm(host.capabilities):
        raise errors.VM_HVM_REQUIRED(vm.ref)
    if memory:
        needed = needed_memory(database, vm)
        available = accounting.free_memory(host, metrics, ignored=vm)
        if available < needed:
            raise errors.HOST_NOT_ENOUGH_FREE_MEMORY(needed, available)
    count = host.cpu_info.get("cpu_count")
    if count is None:
        raise errors.INTERNAL_ERROR("Not_found")
    unrestricted = is_truthy(vm.platform.get("vcpu-unrestricted"))
    if not platform.has_cpus(vm.VCPUs_max, INT.accept(count), unrestricted=unrestricted):
        raise errors.HOST_NOT_ENOUGH_PCPUS(vm.VCPUs_max, count)


def reason_against(
    call: "Call", vm: "rows.VM", host_ref: str, *, cpu: bool = True, memory: bool = True, version: bool = False
) -> Failure | None:
    """The first reason why a VM could not boot on a host, None if it could; parameters as of `assert_can_boot_here`."""
    try:
        assert_can_boot_here(call, vm, host_ref, cpu=cpu, memory=memory, version=version)
    except Failure as failure:
        return failure
    return None


def assert_record_bootable(database: "Database", vm: "rows.VM") -> None:
    """What is wrong with the VM on any host (xapi_vm_helpers.ml: validate_basic_parameters)."""
    if vm.VCPUs_max < 1:
        raise errors.INVALID_VALUE("VCPUs_max", vm.VCPUs_max)
    if vm.VCPUs_at_startup < 1:
        raise errors.INVALID_VALUE("VCPUs-at-startup", vm.VCPUs_at_startup)
    if vm.VCPUs_at_startup > vm.VCPUs_max:
        raise errors.VALUE_NOT_SUPPORTED("VCPUs-at-startup", vm.VCPUs_at_startup, "value greater than VCPUs-max")
    if vm.memory_static_max < vm.memory_static_min or vm.memory_dynamic_max < vm.memory_dynamic_min:
        raise errors.MEMORY_CONSTRAINT_VIOLATION()
    if vm.HVM_shadow_multiplier < 1.0:
        raise errors.INVALID_VALUE("HVM_shadow_multiplier", shown_float(vm.HVM_shadow_multiplier))
    assert_action_after_crash(database, vm, vm.actions_after_crash)


def assert_action_after_crash(database: "Database", vm: "rows.VM", action: str) -> None:
    """Raise VALUE_NOT_SUPPORTED if a VM cannot do that after a crash (validate_actions_after_crash)."""
    if action == "rename_restart":
        raise errors.VALUE_NOT_SUPPORTED("VM.actions_after_crash", action, _LEAKS)
    if action.startswith("coredump"):
        kind = live_domain_type(database, vm)
        accounting.domain_type(kind)
        if kind != "pv":
            raise errors.VALUE_NOT_SUPPORTED("VM.actions_after_crash", action, _NO_COREDUMP)


def assert_affinity_of_control_domain(vm: "rows.VM", host_ref: str) -> None:
    """Raise OPERATION_NOT_ALLOWED if a control domain belongs to another host."""
    if vm.is_control_domain and vm.affinity not in (NULL, host_ref):
        raise errors.OPERATION_NOT_ALLOWED(_AFFINITY)


def needed_memory(database: "Database", vm: "rows.VM") -> int:
    """The memory that a host must have free for a VM to start (xapi_vm_helpers.ml: assert_enough_memory_available)."""
    kind = accounting.domain_type(vm.domain_type)
    target = vm.memory_static_max if starts_with_static_max(kind) else vm.memory_dynamic_min
    return accounting.required_memory(database.model, vm, target)


def live_domain_type(database: "Database", vm: "rows.VM") -> str:
    """What a VM is built as now, or will be (helpers.ml: domain_type).

    Where an inventory does not tell it of a VM with a domain, what its record says.
    """
    if vm.power_state != "Halted":
        metrics = database.VM_metrics.get(vm.metrics)
        if metrics is not None and metrics.current_domain_type != "unspecified":
            return metrics.current_domain_type
    return vm.domain_type


def is_live(database: "Database", host: "rows.host") -> bool:
    """Whether the coordinator believes that a host is up; without metrics it is not."""
    metrics = database.host_metrics.rows.get(host.metrics)
    return metrics is not None and metrics.live


def assert_reachable(database: "Database", host_ref: str) -> None:
    """Raise HOST_OFFLINE if a message cannot be passed to a host: neither coordinator nor live (messages.md, 1.5)."""
    if host_ref != database.the_pool.master and not is_live(database, database.host[host_ref]):
        raise errors.HOST_OFFLINE(host_ref)


def some_live_host_has_storage(call: "Call", vm: "rows.VM") -> bool:
    """Whether a live host sees the storage of a VM's disks, to copy or remove them there (messages.md, 5.2)."""
    if not call.world.sight.knows_storage:
        return any(is_live(call.db, host) for host in call.db.host)
    try:
        needed = reach.needed_srs(call.db, vm)
    except Failure:  # a disk that is nowhere is seen by nobody
        return False
    return any(
        is_live(call.db, host) and first_unseen(needed, call.world.sight.srs(host.ref)) is None for host in call.db.host
    )


def is_upgrading(database: "Database") -> bool:
    """Whether a rolling upgrade is under way (helpers.ml: rolling_upgrade_in_progress)."""
    return "rolling_upgrade_in_progress" in database.the_pool.other_config


def is_not_older(database: "Database", host: "rows.host", than: "rows.host") -> bool:
    """Whether VMs may migrate to a host from another one (helpers.ml: Checks.Migration)."""
    keys = migration_keys(database.software_version)
    return hosts.is_not_older(versions_of(host.software_version, keys), versions_of(than.software_version, keys))


def is_as_new_as_coordinator(database: "Database", host: "rows.host") -> bool:
    """Whether a host runs what the coordinator does (helpers.ml: assert_host_versions_are_same_on_master)."""
    coordinator = database.software_version
    keys = upgrade_keys(coordinator)
    return not coordinator or versions_of(host.software_version, keys) == versions_of(coordinator, keys)


def has_highest_version(database: "Database", host: "rows.host") -> bool:
    """Whether a host is as new as any of the pool (helpers.ml: assert_host_has_highest_version_in_pool)."""
    keys = upgrade_keys(database.software_version)
    most = highest([versions_of(database.host[ref].software_version, keys) for ref in database.host.refs()])
    return hosts.is_not_older(versions_of(host.software_version, keys), most)
