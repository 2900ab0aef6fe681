"""The messages that move VMs together with their disks, within the pool. Amounts are bytes.

A move to another pool is not carried out: the pool in memory is the only one there is. Source: xapi-project/xen-api,
ocaml/xapi/xapi_vm_migrate.ml, message_forwarding.ml (VM.migrate_send, VDI.pool_migrate), xapi_host.ml
(migrate_receive).
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Annotated, Final

from xenmem.datamodel import errors
from xenmem.datamodel.types import NULL, STRING, MapType, RefType
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import Bool, HostRef, NetworkRef, StringMap, VMRef, message
from xenmem.xenapi.rules import boot, devices, ha, lifecycle, motion, operations, placement, reach

if TYPE_CHECKING:
    from xenmem.xenapi.store import rows

VDIRef = Annotated[str, RefType("VDI")]
SRRef = Annotated[str, RefType("SR")]
VDIToSR = Annotated[dict[str, str], MapType(RefType("VDI"), RefType("SR"))]
VIFToNetwork = Annotated[dict[str, str], MapType(RefType("VIF"), RefType("network"))]
VGPUToGroup = Annotated[dict[str, str], MapType(RefType("VGPU"), RefType("GPU_group"))]
VDIToFormat = Annotated[dict[str, str], MapType(RefType("VDI"), STRING)]

_NO_MAP: Final[dict[str, str]] = {}
_AT_ONCE: Final = 3
"""Storage motions that a host sends at a time."""

_ASKED: Final = tuple(dict.fromkeys(code for code in (*motion.ERRORS, *boot.ERRORS) if code != errors.VM_REQUIRES_SR))
"""What VM.assert_can_migrate answers: the storage of a host is not asked."""
_OF_THE_VM: Final = (
    errors.OPERATION_BLOCKED,
    errors.VM_BAD_POWER_STATE,
    errors.OTHER_OPERATION_IN_PROGRESS,
    errors.VM_IS_TEMPLATE,
    errors.VM_IS_SNAPSHOT,
    errors.VM_IS_IMMOBILE,
    errors.VM_NON_SUSPENDABLE,
    errors.VM_LACKS_FEATURE,
    errors.VM_HAS_PCI_ATTACHED,
    errors.VM_HAS_VGPU,
    errors.VM_HAS_VUSBS,
    errors.VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION,
    errors.NO_HOSTS_AVAILABLE,
)
_MASKED: Final = (errors.VGPU_TYPE_NO_LONGER_SUPPORTED, errors.VM_REQUIRES_GPU)
"""What a vGPU that does not migrate is refused for before."""
_MOVING: Final = tuple(code for code in _ASKED if code not in _MASKED)
_NOT_OF_DISKS: Final = (
    errors.CANNOT_CONTACT_HOST,
    errors.VDI_NOT_IN_MAP,
    errors.NOT_SUPPORTED_DURING_UPGRADE,
    errors.HOST_DISABLED,
)


@message("host", errors=(errors.HANDLE_INVALID, *reach.NETWORK_ERRORS))
def migrate_receive(call: Call, host: HostRef, network: NetworkRef, options: StringMap) -> StringMap:
    """What VM.migrate_send needs to know of a host that a VM is to come to over a network. Source: xapi_host.ml."""
    database = call.db
    address = database.host[host].address
    coordinator = database.host[database.the_pool.master].address
    database.network[network]
    reach.assert_migration_network(database, host, network)
    session = call.login.ref
    return {
        "SM": f"http://{address}/services/SM?session_id={session}",
        "host": host,
        "xenops": f"http://{address}/services/xenops?session_id={session}",
        "session_id": session,
        "master": f"http://{coordinator}/",
    }


@message("VM", errors=_ASKED)
def assert_can_migrate(
    call: Call,
    vm: VMRef,
    dest: StringMap,
    live: Bool,
    vdi_map: VDIToSR,
    vif_map: VIFToNetwork,
    options: StringMap,
    vgpu_map: VGPUToGroup = _NO_MAP,
) -> None:
    """Fail with the first reason why a VM could not move, with its disks, to where host.migrate_receive was asked."""
    host = motion.destination(call.db, dest)
    motion.assert_can_migrate(call, call.db.VM[vm], host, vdi_map, vif_map, force=options.get("force") == "true")


@message(
    "VM",
    errors=(*_MOVING, *_OF_THE_VM, errors.TOO_MANY_STORAGE_MIGRATES),
)
def migrate_send(
    call: Call,
    vm: VMRef,
    dest: StringMap,
    live: Bool,
    vdi_map: VDIToSR,
    vif_map: VIFToNetwork,
    options: StringMap,
    vgpu_map: VGPUToGroup = _NO_MAP,
    vdi_format_map: VDIToFormat = _NO_MAP,
) -> Generator[float, None, VMRef]:
    """Move a VM with its disks to another host of the pool; a halted or suspended one only its disks.

    Notes
    -----
    Even then a host must have room to start it. A running VM is reserved on the destination without a check of the HA
    plan. Disks that move are new VDIs. Source: xapi_vm_migrate.ml: migrate_send'.
    """
    database = call.db
    row, host = database.VM[vm], motion.destination(database, dest)
    operations.begin(call, row, "migrate_send")
    motion.assert_can_migrate(call, row, host, vdi_map, vif_map, force=options.get("force") == "true")
    _assert_free(call, row)
    moving = motion.changes(database, vdi_map)
    if any(vdi.on_boot == "reset" for vdi, _ in moving):
        raise errors.VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION()
    if row.power_state in ("Halted", "Suspended"):
        placement.choose_host(call, row)
    elif host.ref != row.resident_on:
        yield from _arrive(call, row, host)
    motion.move_disks(call, row, moving)
    if row.suspend_SR not in call.world.sight.srs(host.ref):
        database.write(row, "suspend_SR", NULL)
    return vm


def _assert_free(call: Call, vm: "rows.VM") -> None:
    """TOO_MANY_STORAGE_MIGRATES ["3"] if a host sends as many VMs as it can already."""
    others = (call.db.VM.rows[ref] for ref in call.db.host[vm.resident_on].resident) if vm.resident_on != NULL else ()
    if sum("migrate_send" in other.current_operations.values() for other in others if other is not vm) >= _AT_ONCE:
        raise errors.TOO_MANY_STORAGE_MIGRATES(_AT_ONCE)


def _arrive(call: Call, vm: "rows.VM", host: "rows.host") -> Generator[float, None, None]:
    source = vm.resident_on
    call.db.write(vm, "scheduled_to_be_resident_on", host.ref)
    try:
        devices.reserve(call, vm, host)
        memory = call.world.guests.start(vm, host)
        if not isinstance(memory, int):
            memory = yield from memory
    except BaseException:
        lifecycle.cancel_reservation(call, vm)
        raise
    lifecycle.settle(call, vm, host, memory, {}, {})
    devices.move(call, vm)
    call.world.guests.left(vm, source)


@message(
    "VDI",
    errors=(
        *(code for code in _MOVING if code not in _NOT_OF_DISKS),
        *_OF_THE_VM,
        errors.VM_REQUIRES_SR,
        errors.VDI_NEEDS_VM_FOR_MIGRATE,
        errors.HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN,
        errors.VDI_INCOMPATIBLE_TYPE,
    ),
    name="pool_migrate",
)
def vdi_pool_migrate(call: Call, vdi: VDIRef, sr: SRRef, options: StringMap) -> VDIRef:
    """Move a disk to another SR; the answer is the new VDI.

    Notes
    -----
    The VM's memory must be free on a host although it runs there, and on the one that copies as well. Source:
    message_forwarding.ml: VDI.pool_migrate; xapi_vm_migrate.ml: vdi_pool_migrate.
    """
    database = call.db
    disk, force = database.VDI[vdi], options.get("force") == "true"
    database.SR[sr]
    owners = [vbd for ref in disk.VBDs if (vbd := database.VBD.get(ref)) is not None]
    if not owners:
        raise errors.VDI_NEEDS_VM_FOR_MIGRATE(vdi)
    vm = database.VM[owners[0].VM]
    operations.begin(call, vm, "migrate_send")
    host = _keeper(call, vm, sr, force=force)
    boot.assert_can_boot_here(call, vm, host, cpu=False)
    ha.assert_vm_can_come(call, vm, host)
    if disk.type == "cbt_metadata":
        raise errors.VDI_INCOMPATIBLE_TYPE(vdi, disk.type)
    if disk.cbt_enabled:
        raise errors.VDI_CBT_ENABLED(vdi)
    needed = {one.SR for one in motion.disks_of(database, vm)} | {sr}
    target = host if needed <= call.world.sight.srs(host) else _drawn(call, _live_with(call, needed))
    vdi_map = {one.ref: one.SR for one in motion.disks_of(database, vm)} | {vdi: sr}
    motion.assert_can_migrate(call, vm, database.host[target], vdi_map, {}, force=force)
    moved = motion.move_disks(call, vm, motion.changes(database, {vdi: sr}))
    return moved.get(vdi, vdi)


def _keeper(call: Call, vm: "rows.VM", sr: str, *, force: bool) -> str:
    """The host on which the VM's memory is kept while its disk moves."""
    database = call.db
    if vm.power_state in ("Running", "Paused"):
        return vm.resident_on
    if vm.scheduled_to_be_resident_on in database.host:
        return vm.scheduled_to_be_resident_on
    possible = [ref for ref in _live_with(call, {sr}) if boot.reason_against(call, vm, ref, cpu=not force) is None]
    return _drawn(call, possible)


def _live_with(call: Call, srs: set[str]) -> list[str]:
    """The live hosts that see some SRs."""
    hosts = call.db.host
    return [ref for ref in hosts.refs() if boot.is_live(call.db, hosts.rows[ref]) and srs <= call.world.sight.srs(ref)]


def _drawn(call: Call, hosts: list[str]) -> str:
    if not hosts:
        raise errors.NO_HOSTS_AVAILABLE()
    return hosts[int(call.world.draw() * len(hosts))]
