"""Whether a host has what a VM's disks and VIFs need, and its CPU: the rules of xenmem.rules.mobility over rows.

What an inventory does not tell refuses nothing: of a class that it lacks, or of CPU features that no host has.
Source: xapi-project/xen-api, ocaml/xapi/xapi_vm_helpers.ml, xapi_network_attach_helpers.ml, cpuid_helpers.ml.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from xenmem.datamodel import errors
from xenmem.datamodel.errors import Failure
from xenmem.datamodel.types import NULL
from xenmem.rules.mobility import cpu, networks, storage
from xenmem.xenapi.store import accounting

if TYPE_CHECKING:
    from xenmem.xenapi.calls.call import Call, World
    from xenmem.xenapi.store import rows
    from xenmem.xenapi.store.database import Database

_FEATURE_MASK: Final = "cpuid_feature_mask"

DISK_ERRORS: Final = (errors.VDI_NOT_MANAGED, errors.VDI_IN_USE, errors.VDI_READONLY)
"""Why a disk cannot be attached, beside what is under way."""
NETWORK_ERRORS: Final = (errors.PIF_NOT_PRESENT, errors.REQUIRED_PIF_IS_UNPLUGGED, errors.INTERFACE_HAS_NO_IP)
"""Why a VM cannot come to a host over a network."""


# -------------------------------------------------------------------------------------------------------------- storage


def needed_srs(database: "Database", vm: "rows.VM", *, image: bool = True) -> list[str]:
    """The SRs of a VM's disks and drives that are not empty, in the order of its VBDs, and of its image if suspended.

    Parameters
    ----------
    database : must be locked
    vm : whose disks they are
    image : count that of a suspended VM

    Raises
    ------
    Failure : HANDLE_INVALID where a VBD names a VDI, or that an SR, which there is not

    Notes
    -----
    An image without a row needs no SR: suspending here makes such images where there is no SR for them.
    """
    vbds, vdis, srs = database.VBD.rows, database.VDI.rows, database.SR.rows
    found = []
    for ref in vm.VBDs:
        vbd = vbds.get(ref)
        if vbd is not None and storage.needs_disk(vbd.empty):
            vdi = vdis.get(vbd.VDI)
            if vdi is None:
                raise errors.HANDLE_INVALID("VDI", vbd.VDI)
            if vdi.SR not in srs:
                raise errors.HANDLE_INVALID("SR", vdi.SR)
            found.append(vdi.SR)
    if image and vm.suspend_VDI in vdis and storage.needs_suspend_image(vm.power_state, True):
        found.append(vdis[vm.suspend_VDI].SR)
    return found


def assert_storage_visible(call: "Call", vm: "rows.VM", host: str) -> None:
    """VM_REQUIRES_SR [vm; SR] for the first SR that a host does not see."""
    sight = call.world.sight
    if sight.knows_storage:
        visible = sight.srs(host)
        for sr in needed_srs(call.db, vm):
            if sr not in visible:
                raise errors.VM_REQUIRES_SR(vm.ref, sr)


def assert_disks_attachable(call: "Call", vm: "rows.VM") -> None:
    """Whether each disk of a VM that starts or resumes can be attached, before it is asked where.

    Raises
    ------
    Failure : OTHER_OPERATION_IN_PROGRESS, VDI_NOT_MANAGED [vbd], VDI_IN_USE [vdi], VDI_READONLY [vdi]

    Notes
    -----
    Source: message_forwarding.ml: with_vbds_marked; xapi_vbd_helpers.ml: valid_operations.
    """
    vbds, vdis = call.db.VBD.rows, call.db.VDI.rows
    for ref in vm.VBDs:
        vbd = vbds.get(ref)
        if vbd is None or (vbd.empty and not vbd.current_operations):
            continue
        vdi = vdis.get(vbd.VDI)
        odd = vdi is None or len(vdi.VBDs) > 1 or vdi.read_only or not vdi.managed or vdi.current_operations
        if odd or vbd.current_operations:
            failure = reason_against_disk(call, vm, vbd)
            if failure is not None:
                raise failure


def reason_against_disk(call: "Call", vm: "rows.VM", vbd: "rows.VBD") -> "Failure | None":
    """Why a VBD cannot be attached to its VM now, None if it can."""
    for task, operation in vbd.current_operations.items():
        return errors.OTHER_OPERATION_IN_PROGRESS("VBD", vbd.ref, operation, task)
    if vbd.empty or not call.world.sight.knows_storage:
        return None
    vdi = call.db.VDI.rows.get(vbd.VDI)
    if vdi is None:
        return errors.HANDLE_INVALID("VDI", vbd.VDI)
    if not vdi.managed and call.world.sight.tells_managed:
        return errors.VDI_NOT_MANAGED(vbd.ref)
    for task, operation in vdi.current_operations.items():
        if operation not in ("mirror", "copy"):
            return errors.OTHER_OPERATION_IN_PROGRESS("VDI", vdi.ref, operation, task)
    if vbd.currently_attached:
        return None
    if len(vdi.VBDs) > 1 and not vm.is_control_domain:
        others = [other.mode for other in _others_with(call.db, vdi, vbd.ref)]
        if storage.is_in_use(vdi.sharable, vbd.mode, others):
            return errors.VDI_IN_USE(vdi.ref)
    return errors.VDI_READONLY(vdi.ref) if vdi.read_only and vbd.mode == "RW" else None


def _others_with(database: "Database", vdi: "rows.VDI", but: str) -> "Iterator[rows.VBD]":
    """The other VBDs of a disk that have it: those of suspended VMs and of control domains do not."""
    for ref in vdi.VBDs:
        vbd = database.VBD.rows.get(ref)
        if vbd is None or ref == but or not (vbd.currently_attached or vbd.reserved or vbd.current_operations):
            continue
        owner = database.VM.rows.get(vbd.VM)
        if owner is None or (owner.power_state != "Suspended" and not owner.is_control_domain):
            yield vbd


# ------------------------------------------------------------------------------------------------------------- networks


def vifs_of(database: "Database", vm: "rows.VM") -> "Iterator[rows.VIF]":
    """The VIFs of a VM, in its order; those without a row are left out."""
    for ref in vm.VIFs:
        vif = database.VIF.rows.get(ref)
        if vif is not None:
            yield vif


def assert_networks_attachable(call: "Call", vm: "rows.VM", host: str) -> None:
    """VM_REQUIRES_NETWORK [vm; network] for any network that a host lacks, or HOST_CANNOT_ATTACH_NETWORK."""
    database, sight = call.db, call.world.sight
    if not sight.knows_networks:
        return
    links, vifs, enslaved = sight.links(host), database.VIF.rows, None
    for ref in vm.VIFs:
        vif = vifs.get(ref)
        if vif is None:
            continue
        pif = links.get(vif.network)
        if pif is None:
            if not _is_visible_elsewhere(call.world, vif.network, host):
                raise errors.VM_REQUIRES_NETWORK(vm.ref, vif.network)
        elif enslaved is None and networks.is_enslaved(pif.bond_slave_of, NULL):
            enslaved = vif.network
    if enslaved is not None:  # asked only once all are visible
        raise errors.HOST_CANNOT_ATTACH_NETWORK(host, enslaved)


def pins(world: "World", ref: str) -> bool:
    """Whether a network holds together the VMs that run on it.

    Raises
    ------
    Failure : HANDLE_INVALID
    """
    network = world.database.network[ref]
    shared = network.other_config.get(networks.SHARED_BY_FLAG) == "true"
    return networks.is_pinning(world.sight.has_pifs(ref), shared, network.managed)


def _is_visible_elsewhere(world: "World", ref: str, host: str) -> bool:
    """Whether a host has a network on which it has no PIF."""
    has_pifs = world.sight.has_pifs(ref)
    held = not has_pifs and pins(world, ref)
    members = _hosts_of_members(world.database, ref) if held else set()
    return networks.is_visible(host, (), has_pifs=has_pifs, pins=held, members_on=members)


def _hosts_of_members(database: "Database", network: str) -> set[str]:
    vms = (database.VM.rows.get(vif.VM) for ref in database.network[network].VIFs if (vif := database.VIF.get(ref)))
    return {vm.resident_on for vm in vms if vm is not None and vm.power_state == "Running"}


def assert_migration_network(database: "Database", host: str, network: str) -> None:
    """PIF_NOT_PRESENT, REQUIRED_PIF_IS_UNPLUGGED or INTERFACE_HAS_NO_IP if a VM cannot come to a host over a network.

    Notes
    -----
    Source: xapi_network_attach_helpers.ml, xapi_host.ml: migrate_receive.
    """
    pifs = [pif for pif in database.tables["PIF"] if pif.host == host and pif.network == network]
    if not pifs:
        raise errors.PIF_NOT_PRESENT(host, network)
    pif: rows.PIF = pifs[0]
    if not pif.currently_attached:
        raise errors.REQUIRED_PIF_IS_UNPLUGGED(pif.ref)
    if not pif.IP and not any(pif.IPv6):
        raise errors.INTERFACE_HAS_NO_IP(pif.ref)


# ------------------------------------------------------------------------------------------------------------------ CPU


def assert_cpu_compatible(call: "Call", vm: "rows.VM", host: "rows.host", kind: str) -> None:
    """VM_INCOMPATIBLE_WITH_THIS_HOST [vm; host; reason] if a VM that has a domain does not find its CPU there.

    Parameters
    ----------
    call : the database must be locked
    vm, host : who would come where; a halted VM finds any CPU
    kind : the domain type that the VM has now
    """
    accounting.domain_type(kind)
    if vm.power_state == "Halted":
        return
    try:
        verdict = _compared(call.world, host, kind, cpu.guest_cpu(vm.last_boot_CPU_flags))
    except ValueError as error:
        raise errors.INTERNAL_ERROR(str(error)) from None
    if verdict > 0:
        raise errors.VM_INCOMPATIBLE_WITH_THIS_HOST(vm.ref, host.ref, cpu.REASONS[verdict])


def has_cpu(world: "World", host: "rows.host", kind: str, guest: cpu.CPU) -> bool:
    """Whether what has a domain of some type finds the CPU that it booted with on a host."""
    try:
        return _compared(world, host, kind, guest) <= 0
    except ValueError:
        return False


def _compared(world: "World", host: "rows.host", kind: str, guest: cpu.CPU) -> cpu.Verdict:
    if not world.sight.levels_cpus:
        return cpu.Verdict.COMPATIBLE
    server = cpu.levelling(world.database.software_version)
    mask = world.database.the_pool.other_config.get(_FEATURE_MASK, "") if server is cpu.Levelling.MASKED else ""
    return cpu.compare(guest, cpu.host_cpu(host.cpu_info, kind, server), server, mask)
