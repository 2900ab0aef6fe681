"""Whether a VM can move with its disks to another host of its pool, and what becomes of the disks that do.

Source: xapi-project/xen-api, ocaml/xapi/xapi_vm_migrate.ml (assert_can_migrate, assert_can_migrate_sender,
migrate_send'), smint.ml (Feature.has_capability).
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from xenmem.datamodel import errors
from xenmem.datamodel.types import NULL
from xenmem.rules.mobility import devices as device_rules
from xenmem.rules.mobility.storage import MIGRATE_FROM, MIGRATE_TO, missing_features
from xenmem.xenapi.rules import boot, devices, lifecycle
from xenmem.xenapi.world.features import Feature, assert_enabled

if TYPE_CHECKING:
    from xenmem.xenapi.calls.call import Call
    from xenmem.xenapi.store import rows
    from xenmem.xenapi.store.database import Database

ERRORS: Final = (
    errors.LICENCE_RESTRICTION,
    errors.CANNOT_CONTACT_HOST,
    errors.VDI_NOT_IN_MAP,
    errors.NOT_SUPPORTED_DURING_UPGRADE,
    errors.SR_DOES_NOT_SUPPORT_MIGRATION,
    errors.OPERATION_NOT_ALLOWED,
    errors.VDI_CBT_ENABLED,
    errors.VDI_IS_ENCRYPTED,
)
"""What a storage motion answers beside what VM.assert_can_boot_here does."""

_NO_VIF_MAP: Final = "VIF mapping is not allowed for intra-pool migration -all VIFs must be on the same network"


def destination(database: "Database", dest: Mapping[str, str]) -> "rows.host":
    """The host of this pool that `host.migrate_receive` answered for.

    Raises
    ------
    Failure : INTERNAL_ERROR if something is missing; CANNOT_CONTACT_HOST if it is of another pool, which is not here
    """
    for key in ("master", "xenops", "session_id", "host"):
        if key not in dest:
            raise errors.INTERNAL_ERROR("Not_found")
    host = database.host.get(dest["host"])
    if host is None:
        raise errors.CANNOT_CONTACT_HOST(dest["master"])
    return host


def disks_of(database: "Database", vm: "rows.VM") -> "list[rows.VDI]":
    """The disks of a VM that move with it: of VBDs that are neither empty nor CD drives.

    Raises
    ------
    Failure : HANDLE_INVALID
    """
    vbds = (database.VBD.rows.get(ref) for ref in vm.VBDs)
    return [database.VDI[vbd.VDI] for vbd in vbds if vbd is not None and not vbd.empty and vbd.type != "CD"]


def changes(database: "Database", vdi_map: Mapping[str, str]) -> "list[tuple[rows.VDI, str]]":
    """The disks of a map that change their SR, and to which."""
    return [(vdi, sr) for ref, sr in vdi_map.items() if database.SR[sr].ref != (vdi := database.VDI[ref]).SR]


def assert_can_migrate(
    call: "Call",
    vm: "rows.VM",
    host: "rows.host",
    vdi_map: Mapping[str, str],
    vif_map: Mapping[str, str],
    *,
    force: bool,
) -> None:
    """Raise the first reason why a VM cannot move to a host of its pool with disks to SRs.

    Parameters
    ----------
    call : the database must be locked
    vm, host : who would move where
    vdi_map, vif_map : SR of each disk, network of each VIF
    force : do not compare CPUs

    Notes
    -----
    Whether the host sees SRs of disks that stay is not asked, as the server does not; memory is asked of it even where
    the VM is halted, or runs there already.
    """
    database = call.db
    devices.assert_types_supported(call, vm)
    assert_enabled(database, Feature.STORAGE_MOTION)
    for vdi in disks_of(database, vm):
        if vdi.ref not in vdi_map:
            raise errors.VDI_NOT_IN_MAP(vdi.ref)
    source = database.host.get(vm.resident_on) or database.host[database.the_pool.master]
    if not boot.is_not_older(database, host, than=source):
        raise errors.NOT_SUPPORTED_DURING_UPGRADE()
    moving = changes(database, vdi_map)
    for vdi, _ in moving:
        _assert_able(call, vdi.SR, MIGRATE_FROM, target=False)
    for _, sr in moving:
        _assert_able(call, sr, MIGRATE_TO, target=True)
    boot.assert_can_boot_here(call, vm, host.ref, cpu=not force, storage=False)
    if vif_map:
        raise errors.OPERATION_NOT_ALLOWED(_NO_VIF_MAP)
    for vdi, _ in moving:
        if vdi.cbt_enabled:
            raise errors.VDI_CBT_ENABLED(vdi.ref)
        if "key_hash" in vdi.sm_config:
            raise errors.VDI_IS_ENCRYPTED(vdi.ref)
    if vm.power_state != "Halted":
        _assert_gpus_there(database, vm, host.ref)


def _assert_able(call: "Call", ref: str, needed: tuple[str, ...], *, target: bool) -> None:
    """SR_DOES_NOT_SUPPORT_MIGRATION [sr; missing] by the driver of an SR's type; a target's must be the only one."""
    database = call.db
    if "SM" in database.lacks:
        return
    drivers: list[rows.SM] = [sm for sm in database.tables["SM"] if sm.type == database.SR[ref].type]
    told = None if not drivers or (target and len(drivers) > 1) else drivers[0].features
    missing = missing_features(told, needed)
    if missing:
        raise errors.SR_DOES_NOT_SUPPORT_MIGRATION(ref, ";".join(missing))


def _assert_gpus_there(database: "Database", vm: "rows.VM", host: str) -> None:
    """VM_REQUIRES_GPU [vm; group] unless a host has a GPU of the same kind for each of Nvidia's vGPUs."""
    groups: dict[str, rows.GPU_group] = database.tables["GPU_group"].rows
    of_host = {pgpu.GPU_group for pgpu in database.tables["PGPU"] if pgpu.host == host}
    there = {tuple(sorted(groups[ref].GPU_types)) for ref in of_host & groups.keys()}
    for vgpu in devices.vgpus_of(database, vm):
        group = database.tables["GPU_group"][vgpu.GPU_group]
        kind = devices.gpu_type(database, vgpu)
        if kind.implementation in device_rules.NVIDIA and tuple(sorted(group.GPU_types)) not in there:
            raise errors.VM_REQUIRES_GPU(vm.ref, group.ref)


def move_disks(call: "Call", vm: "rows.VM", moving: "Iterable[tuple[rows.VDI, str]]") -> dict[str, str]:
    """Let disks be on other SRs, as new VDIs, and eject what a drive holds that would change its SR.

    Parameters
    ----------
    call : the database must be locked
    vm : whose they are
    moving : disks, and the SRs that they come to

    Returns
    -------
    dict : the new VDI of each

    Raises
    ------
    Failure : VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION
    """
    database = call.db
    whole = list(moving)
    if any(vdi.on_boot == "reset" for vdi, _ in whole):
        raise errors.VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION()
    made: dict[str, str] = {}
    for vdi, sr in whole:
        drives = [vbd for ref in vdi.VBDs if (vbd := database.VBD.get(ref)) is not None]
        if any(vbd.type == "CD" for vbd in drives):
            for vbd in drives:
                database.update(vbd, {"VDI": NULL, "empty": True})
            continue
        copy = database.new_row("VDI", **lifecycle.stored(vdi) | {"uuid": database.new_uuid(), "SR": sr, "VBDs": ()})
        database.create(copy)
        for vbd in drives:
            database.write(vbd, "VDI", copy.ref)
        database.destroy(vdi)
        made[vdi.ref] = copy.ref
    return made
