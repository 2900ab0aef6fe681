"""The devices of a VM on a host: whether there is room for its vGPUs, USB devices and virtual functions, and its picks.

The rules are those of xenmem.rules.mobility.devices, over rows. What another server's library decides of vGPUs that
were suspended or migrate is taken to be compatible.
Source: xapi-project/xen-api, ocaml/xapi/xapi_vm_helpers.ml, vgpuops.ml, xapi_pgpu_helpers.ml, xapi_pci.ml,
xapi_network_sriov_helpers.ml.
"""

from typing import TYPE_CHECKING, Final

from xenmem.datamodel import errors
from xenmem.datamodel.errors import Failure
from xenmem.datamodel.types import NULL
from xenmem.rules.mobility import devices
from xenmem.rules.mobility.devices import GPU, GPUType
from xenmem.rules.mobility.guest import LiveGPU
from xenmem.rules.mobility.networks import Logical, PIFKind, pif_kind
from xenmem.xenapi.rules.reach import vifs_of
from xenmem.xenapi.world.features import Feature, assert_enabled

if TYPE_CHECKING:
    from xenmem.xenapi.calls.call import Call
    from xenmem.xenapi.store import rows
    from xenmem.xenapi.store.database import Database

RESERVATION_ERRORS: Final = (errors.FEATURE_REQUIRES_HVM, errors.LICENCE_RESTRICTION)
"""Why the devices of a VM are not reserved, beside what the check before has answered."""
_UNTYPED: Final = GPUType(NULL, devices.PASSTHROUGH, 0, frozenset())


# ----------------------------------------------------------------------------------------------------------------- GPUs


def vgpus_of(database: "Database", vm: "rows.VM") -> "list[rows.VGPU]":
    """The vGPUs of a VM, in its order; those without a row are left out."""
    table = database.tables["VGPU"].rows
    return [table[ref] for ref in vm.VGPUs if ref in table]


def gpu_type(database: "Database", vgpu: "rows.VGPU") -> GPUType:
    """The type of a vGPU; one that has none, as before 6.2 SP1, is a whole GPU.

    Raises
    ------
    Failure : HANDLE_INVALID
    """
    return _UNTYPED if vgpu.type == NULL else _type(database, vgpu.type)


def _type(database: "Database", ref: str) -> GPUType:
    row: rows.VGPU_type = database.tables["VGPU_type"][ref]
    compatible = frozenset(row.compatible_types_on_pgpu) or devices.compatible_types(ref, row.implementation)
    return GPUType(ref, row.implementation, row.size or _told_size(database, ref), compatible)


def _told_size(database: "Database", kind: str) -> int:
    """The size that the most of a type on some GPU tells; 0 if none does."""
    told = (pgpu.supported_VGPU_max_capacities.get(kind, 0) for pgpu in database.tables["PGPU"])
    return devices.size_for(next(filter(None, told), 0))


def _gpu(database: "Database", pgpu: "rows.PGPU") -> GPU:
    table: dict[str, rows.VGPU] = database.tables["VGPU"].rows
    pci = database.tables["PCI"].rows.get(pgpu.PCI)
    return GPU(
        pgpu.ref,
        pgpu.size,
        pgpu.supported_VGPU_types,
        pgpu.enabled_VGPU_types,
        [gpu_type(database, table[ref]) for ref in pgpu.resident_VGPUs if ref in table],
        [gpu_type(database, vgpu) for vgpu in table.values() if vgpu.scheduled_to_be_resident_on == pgpu.ref],
        pci is not None and bool(pci.attached_VMs),
    )


def remaining_capacity(database: "Database", pgpu: "rows.PGPU", kind: str) -> int:
    """How many more vGPUs of a type a GPU could carry; none if something about it is wrong."""
    try:
        return devices.remaining_capacity(_gpu(database, pgpu), _type(database, kind))
    except Failure:
        return 0


def _gpus(database: "Database", group: "rows.GPU_group", host: str) -> list[GPU]:
    """The GPUs of a group on a host, in the group's order."""
    table: dict[str, rows.PGPU] = database.tables["PGPU"].rows
    there = (table[ref] for ref in group.PGPUs if ref in table)
    return [_gpu(database, pgpu) for pgpu in there if pgpu.host == host]


def assert_types_supported(call: "Call", vm: "rows.VM") -> None:
    """VGPU_TYPE_NO_LONGER_SUPPORTED ["vendor: model"] of Intel's vGPUs, where the server is set not to support them."""
    if vm.VGPUs and not call.hooks.supports_gvt_g():
        types: dict[str, rows.VGPU_type] = call.db.tables["VGPU_type"].rows
        for vgpu in vgpus_of(call.db, vm):
            kind = types.get(vgpu.type)
            if kind is not None and kind.implementation == devices.RETIRED:
                raise errors.VGPU_TYPE_NO_LONGER_SUPPORTED(f"{kind.vendor_name}: {kind.model_name}")


def assert_gpus_available(call: "Call", vm: "rows.VM", host: "rows.host") -> None:
    """VM_REQUIRES_IOMMU [host], VM_REQUIRES_GPU [vm; group], VM_REQUIRES_VGPU [vm; group; type]."""
    database = call.db
    vgpus = vgpus_of(database, vm)
    if any(devices.passes_function(gpu_type(database, vgpu).implementation) for vgpu in vgpus):
        iommu = host.chipset_info.get("iommu")
        if iommu is None and call.world.sight.tells_iommu:
            raise errors.INTERNAL_ERROR("Not_found")
        if iommu not in (None, "true"):
            raise errors.VM_REQUIRES_IOMMU(host.ref)
    assert_types_supported(call, vm)
    pgpus = database.tables["PGPU"]
    if any(vgpu.scheduled_to_be_resident_on not in pgpus for vgpu in vgpus):
        pick_gpus(database, vm, host.ref)


def pick_gpus(database: "Database", vm: "rows.VM", host: str) -> dict[str, str]:
    """The GPU of a host that each vGPU of a VM would get.

    Raises
    ------
    Failure : VM_REQUIRES_GPU, VM_REQUIRES_VGPU, HANDLE_INVALID
    """
    vgpus = vgpus_of(database, vm)
    wanted = [(vgpu.GPU_group, gpu_type(database, vgpu)) for vgpu in vgpus]
    groups = {}
    for ref, _ in wanted:
        group: rows.GPU_group = database.tables["GPU_group"][ref]
        groups[ref] = (_gpus(database, group, host), group.allocation_algorithm)
    picks = devices.allocate(wanted, groups)
    if picks.failed >= 0:
        group_ref, kind = wanted[picks.failed]
        if kind.implementation == devices.PASSTHROUGH:
            raise errors.VM_REQUIRES_GPU(vm.ref, group_ref)
        raise errors.VM_REQUIRES_VGPU(vm.ref, group_ref, kind.ref)
    return {vgpu.ref: gpu for vgpu, gpu in zip(vgpus, picks.gpus, strict=True)}


def live_gpus(database: "Database", vm: "rows.VM") -> list[LiveGPU]:
    """The vGPUs of a VM as a migration sees them; those without a row are none that migrate."""
    found = []
    for ref in vm.VGPUs:
        vgpu = database.tables["VGPU"].rows.get(ref)
        kind = None if vgpu is None else database.tables["VGPU_type"].rows.get(vgpu.type)
        if vgpu is None or kind is None:
            found.append(LiveGPU(devices.PASSTHROUGH, NULL, False))
            continue
        pgpu = database.tables["PGPU"].rows.get(vgpu.resident_on)
        metadata = pgpu is not None and devices.NVIDIA_METADATA in pgpu.compatibility_metadata
        found.append(LiveGPU(kind.implementation, vgpu.PCI, metadata))
    return found


def has_sriov_vgpu(database: "Database", vm: "rows.VM") -> bool:
    """Whether a vGPU of a VM pins its memory."""
    return any(vgpu.implementation == devices.SRIOV for vgpu in live_gpus(database, vm))


def assert_destination_known(database: "Database", vm: "rows.VM", host: str) -> None:
    """NVIDIA_TOOLS_ERROR [host] if a GPU that a live vGPU is to move to has no metadata of Nvidia's."""
    pgpus: dict[str, rows.PGPU] = database.tables["PGPU"].rows
    for vgpu in vgpus_of(database, vm):
        if vgpu.scheduled_to_be_resident_on in pgpus and gpu_type(database, vgpu).implementation in devices.NVIDIA:
            metadata = pgpus[vgpu.scheduled_to_be_resident_on].compatibility_metadata
            if devices.NVIDIA_METADATA not in metadata:
                raise errors.NVIDIA_TOOLS_ERROR(host)


# ------------------------------------------------------------------------------------------------------------------ USB


def assert_usbs_available(call: "Call", vm: "rows.VM", host: str) -> None:
    """OPERATION_NOT_ALLOWED [text] unless the device behind each of a VM's VUSBs is on a host."""
    tables = call.db.tables
    for ref in vm.VUSBs:
        vusb = tables["VUSB"].rows.get(ref)
        if vusb is None:
            continue
        group = tables["USB_group"].rows.get(vusb.USB_group)
        pusbs = [tables["PUSB"].rows.get(pusb) for pusb in (() if group is None else group.PUSBs)]
        if devices.usb_host(["" if pusb is None else pusb.host for pusb in pusbs]) != host:
            raise errors.OPERATION_NOT_ALLOWED(f"VUSB {ref} is not available on Host {host}")


# --------------------------------------------------------------------------------------------------------------- SR-IOV


def kind_of(pif: "rows.PIF") -> PIFKind:
    """What a PIF is.

    Raises
    ------
    Failure : INTERNAL_ERROR if it is nothing that there is
    """
    kind = pif_kind(
        tunnel_access=bool(pif.tunnel_access_PIF_of),
        vlan_master=pif.VLAN_master_of != NULL,
        sriov_logical=bool(pif.sriov_logical_PIF_of),
        bond_master=bool(pif.bond_master_of),
        physical=pif.physical,
    )
    if kind is None:
        raise errors.INTERNAL_ERROR(f"PIF type calculation failed: {pif.ref}")
    return kind


def sriov_of(database: "Database", pif: "rows.PIF") -> "rows.network_sriov | None":
    """The network_sriov that a PIF, or the one that its VLAN tags, belongs to.

    Raises
    ------
    Failure : HANDLE_INVALID, INTERNAL_ERROR
    """
    kind = kind_of(pif)
    if kind is PIFKind.VLAN:
        tagged: rows.PIF = database.tables["PIF"][database.tables["VLAN"][pif.VLAN_master_of].tagged_PIF]
        if kind_of(tagged) is not PIFKind.SRIOV_LOGICAL:
            return None
        pif = tagged
    elif kind is not PIFKind.SRIOV_LOGICAL:
        return None
    sriov: rows.network_sriov = database.tables["network_sriov"][pif.sriov_logical_PIF_of[0]]
    return sriov


def idle_functions(database: "Database", sriov: "rows.network_sriov") -> "list[rows.PCI]":
    """The virtual functions of an SR-IOV network that nobody has, by ascending PCI address.

    Raises
    ------
    Failure : HANDLE_INVALID
    """
    physical: rows.PIF = database.tables["PIF"][sriov.physical_PIF]
    return idle_functions_of(database, database.tables["PCI"][physical.PCI])


def idle_functions_of(database: "Database", function: "rows.PCI") -> "list[rows.PCI]":
    """The virtual functions of a physical one that nobody has, by ascending PCI address."""
    table: dict[str, rows.PCI] = database.tables["PCI"].rows
    functions = (table[ref] for ref in function.virtual_functions if ref in table)
    idle = (pci for pci in functions if not pci.attached_VMs and pci.scheduled_to_be_attached_to == NULL)
    return sorted(idle, key=lambda pci: pci.pci_id)


def logical(database: "Database", sriov: "rows.network_sriov") -> Logical:
    """What decides whether a host can use an SR-IOV network without being rebooted."""
    attached = database.tables["PIF"][sriov.logical_PIF].currently_attached
    needs_count = sriov.configuration_mode not in ("sysfs", "unknown") and not attached
    return Logical(sriov.configuration_mode, attached, len(idle_functions(database, sriov)) if needs_count else 0)


def unreserved_vifs(call: "Call", vm: "rows.VM", host: str) -> "list[tuple[rows.VIF, rows.network_sriov]]":
    """The VIFs of a VM that would need a virtual function on a host and hold none yet."""
    database = call.db
    if not vm.VIFs or not database.tables["network_sriov"].rows or not call.world.sight.knows_networks:
        return []
    links, pcis = call.world.sight.links(host), database.tables["PCI"]
    found = []
    for vif in vifs_of(database, vm):
        pif = links.get(vif.network)
        if vif.reserved_pci not in pcis and pif is not None:
            sriov = sriov_of(database, pif)
            if sriov is not None:
                found.append((vif, sriov))
    return found


def is_sriov(database: "Database", network: str) -> bool:
    """Whether a network is one of virtual functions, by the first of its PIFs.

    Raises
    ------
    Failure : HANDLE_INVALID, INTERNAL_ERROR
    """
    pif = next((database.tables["PIF"].rows.get(ref) for ref in database.network[network].PIFs), None)
    return pif is not None and sriov_of(database, pif) is not None


def has_sriov_vif(call: "Call", vm: "rows.VM", host: str) -> bool:
    """Whether a VIF of a VM is on an SR-IOV network of a host."""
    if not len(call.db.tables["network_sriov"]):
        return False
    links = call.world.sight.links(host)
    pifs = (links.get(vif.network) for vif in vifs_of(call.db, vm))
    return any(pif is not None and sriov_of(call.db, pif) is not None for pif in pifs)


def assert_functions_available(call: "Call", vm: "rows.VM", host: str) -> None:
    """NETWORK_SRIOV_INSUFFICIENT_CAPACITY [network] if a host has too few virtual functions for the VIFs of a VM."""
    needed: dict[str, int] = {}
    networks: dict[str, rows.network_sriov] = {}
    for vif, sriov in unreserved_vifs(call, vm, host):
        needed[vif.network] = needed.get(vif.network, 0) + 1
        networks[vif.network] = sriov
    if needed and call.world.sight.knows_functions:
        idle = {network: len(idle_functions(call.db, sriov)) for network, sriov in networks.items()}
        short = devices.short_of_functions(needed, idle)
        if short is not None:
            raise errors.NETWORK_SRIOV_INSUFFICIENT_CAPACITY(short)


# ------------------------------------------------------------------------------------------------ reserved and attached


def reserve(call: "Call", vm: "rows.VM", host: "rows.host") -> None:
    """Keep a GPU of a host for each vGPU of a VM, and a virtual function for each VIF that needs one.

    Raises
    ------
    Failure : FEATURE_REQUIRES_HVM, LICENCE_RESTRICTION, VM_REQUIRES_GPU, VM_REQUIRES_VGPU, INTERNAL_ERROR

    Notes
    -----
    Source: message_forwarding.ml: allocate_vm_to_host; vgpuops.ml: create_virtual_vgpu.
    """
    database = call.db
    if not vm.VGPUs and not (vm.VIFs and len(database.tables["network_sriov"])):
        return
    try:
        if vgpus := vgpus_of(database, vm):
            _reserve_gpus(call, vm, vgpus, host.ref)
        for vif, sriov in unreserved_vifs(call, vm, host.ref):
            if call.world.sight.knows_functions:
                database.write(vif, "reserved_pci", _take(database, vm, idle_functions(database, sriov)))
    except Failure:
        release(call, vm)
        raise


def _reserve_gpus(call: "Call", vm: "rows.VM", vgpus: "list[rows.VGPU]", host: str) -> None:
    database = call.db
    if vm.domain_type != "hvm":
        raise errors.FEATURE_REQUIRES_HVM("vGPU- and GPU-passthrough needs HVM")
    kinds = {vgpu.ref: gpu_type(database, vgpu) for vgpu in vgpus}
    for kind in kinds.values():
        if kind.implementation != devices.PASSTHROUGH:
            assert_enabled(database, Feature.VGPU)
    for ref, gpu in pick_gpus(database, vm, host).items():
        vgpu: rows.VGPU = database.tables["VGPU"].rows[ref]
        database.write(vgpu, "scheduled_to_be_resident_on", gpu)
        if devices.passes_virtual_function(kinds[ref].implementation) and call.world.sight.knows_functions:
            pgpu: rows.PGPU = database.tables["PGPU"].rows[gpu]
            function = database.tables["PCI"][pgpu.PCI]
            database.write(vgpu, "PCI", _take(database, vm, idle_functions_of(database, function)))


def _take(database: "Database", vm: "rows.VM", idle: "list[rows.PCI]") -> str:
    if not idle:
        raise errors.INTERNAL_ERROR("No free virtual function found")
    database.write(idle[0], "scheduled_to_be_attached_to", vm.ref)
    return idle[0].ref


def release(call: "Call", vm: "rows.VM") -> None:
    """Give back what `reserve` kept for a VM that does not come."""
    database = call.db
    if not vm.VGPUs and not (vm.VIFs and len(database.tables["network_sriov"])):
        return
    kept = {pci.ref for pci in database.tables["PCI"] if pci.scheduled_to_be_attached_to == vm.ref}
    for vgpu in vgpus_of(database, vm):
        lost = {"PCI": NULL} if vgpu.PCI in kept else {}
        database.update(vgpu, {"scheduled_to_be_resident_on": NULL, **lost})
    for vif in vifs_of(database, vm):
        if vif.reserved_pci in kept and vm.power_state == "Halted":
            database.write(vif, "reserved_pci", NULL)
    for ref in kept:
        database.write(database.tables["PCI"].rows[ref], "scheduled_to_be_attached_to", NULL)


def attach(call: "Call", vm: "rows.VM") -> None:
    """What becomes of the devices of a VM that has got a domain: all are attached, where they were reserved."""
    _set_attached(call.db, vm, True)
    if vm.VGPUs or call.db.tables["network_sriov"].rows:
        move(call, vm)


def move(call: "Call", vm: "rows.VM") -> None:
    """What becomes of those that are bound to a host once the VM has arrived on another."""
    database = call.db
    for vgpu in vgpus_of(database, vm) if vm.VGPUs else ():
        if vgpu.scheduled_to_be_resident_on == NULL:
            continue
        gpu = vgpu.scheduled_to_be_resident_on
        database.update(vgpu, {"resident_on": gpu, "scheduled_to_be_resident_on": NULL, "currently_attached": True})
        if gpu_type(database, vgpu).implementation == devices.PASSTHROUGH:
            _attach(database, vm, database.tables["PGPU"].rows[gpu].PCI)
        else:
            _attach(database, vm, vgpu.PCI)
    vifs = database.VIF.rows
    for ref in vm.VIFs:
        if ref in vifs and vifs[ref].reserved_pci != NULL and vifs[ref].currently_attached:
            _attach(database, vm, vifs[ref].reserved_pci)


def _set_attached(database: "Database", vm: "rows.VM", value: bool) -> None:
    if vm.VBDs:
        vbds = database.VBD.rows
        database.write_flag([vbds[ref] for ref in vm.VBDs if ref in vbds], "currently_attached", value)
    if vm.VIFs:
        vifs = database.VIF.rows
        database.write_flag([vifs[ref] for ref in vm.VIFs if ref in vifs], "currently_attached", value)
    if vm.VUSBs:
        vusbs: dict[str, rows.VUSB] = database.tables["VUSB"].rows
        database.write_flag([vusbs[ref] for ref in vm.VUSBs if ref in vusbs], "currently_attached", value)


def _attach(database: "Database", vm: "rows.VM", ref: str) -> None:
    pci: rows.PCI | None = database.tables["PCI"].rows.get(ref)
    if pci is not None:
        others = tuple(other for other in pci.attached_VMs if other != vm.ref)
        database.update(pci, {"attached_VMs": (vm.ref, *others), "scheduled_to_be_attached_to": NULL})


def detach(call: "Call", vm: "rows.VM", *, suspended: bool = False) -> None:
    """What becomes of the devices of a VM that has lost its domain; a suspended one keeps its disks and VIFs.

    Notes
    -----
    Source: xapi_vm_lifecycle.ml: force_state_reset_keep_current_operations.
    """
    database = call.db
    if not suspended:
        _set_attached(database, vm, False)
        for vif in vifs_of(database, vm):
            database.write(vif, "reserved_pci", NULL)
    for vgpu in vgpus_of(database, vm) if vm.VGPUs else ():
        left = {"resident_on": NULL, "scheduled_to_be_resident_on": NULL, "currently_attached": False}
        database.update(vgpu, {**left, **({} if suspended else {"compatibility_metadata": {}}), "PCI": NULL})
    for ref in vm.attached_PCIs:
        unplug(database, vm, ref)


def unplug(database: "Database", vm: "rows.VM", ref: str) -> None:
    """Take a PCI device from a VM."""
    pci: rows.PCI | None = database.tables["PCI"].rows.get(ref)
    if pci is not None and vm.ref in pci.attached_VMs:
        database.write(pci, "attached_VMs", tuple(other for other in pci.attached_VMs if other != vm.ref))


def give_back(call: "Call", ref: str) -> None:
    """Take from a VIF that is detached the virtual function that it has, if it has one."""
    database = call.db
    vif = database.VIF[ref]
    if vif.reserved_pci != NULL:
        unplug(database, database.VM[vif.VM], vif.reserved_pci)
        database.write(vif, "reserved_pci", NULL)
