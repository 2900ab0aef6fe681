"""VM.assert_can_boot_here, written from its rules step by step over plain tables, without caches, indexes or classes.

A table is a dict of records by reference, as a database holds them. Memory is what the records say, and a start takes
`dynamic_min` and the stored overhead: the pools that are asked about have whole MiB. Amounts are bytes.
Source: xapi-project/xen-api, ocaml/xapi/xapi_vm_helpers.ml and the files it calls.
"""

from typing import Any

NULL = "OpaqueRef:NULL"
Tables = dict[str, dict[str, dict[str, Any]]]


class RefusedError(Exception):
    """The first failure: its code and parameters."""


def boots(tables: Tables, vm: str, host: str) -> list[str] | None:
    """The failure of a VM that would boot on a host, None if it could."""
    try:
        _assert_boots(tables, vm, host)
    except RefusedError as refused:
        return list(refused.args)
    return None


def _row(tables: Tables, table: str, ref: str) -> dict[str, Any]:
    if ref not in tables[table]:
        raise RefusedError("HANDLE_INVALID", table, ref)
    return tables[table][ref]


def _assert_boots(tables: Tables, ref: str, host_ref: str) -> None:
    vm, host = tables["VM"][ref], tables["host"][host_ref]
    if not tables["host_metrics"][host["metrics"]]["live"]:
        raise RefusedError("HOST_NOT_LIVE")
    if not host["enabled"] and not (vm["power_state"] == "Running" and vm["resident_on"] == host_ref):
        raise RefusedError("HOST_DISABLED", host_ref)
    offered = host["virtual_hardware_platform_versions"]
    if vm["hardware_platform_version"] not in offered:
        wanted = vm["hardware_platform_version"]
        code = "VM_HOST_INCOMPATIBLE_VIRTUAL_HARDWARE_PLATFORM_VERSION"
        raise RefusedError(code, host_ref, f"[{'; '.join(offered)}]", ref, wanted)
    halted = vm["power_state"] == "Halted"
    kind = vm["domain_type"] if halted else tables["VM_metrics"][vm["metrics"]]["current_domain_type"]
    if not halted:
        _assert_cpu(vm, host, ref, host_ref, kind)
    _assert_storage(tables, vm, ref, host_ref)
    _assert_networks(tables, vm, ref, host_ref)
    _assert_gpus(tables, vm, ref, host_ref)
    for vusb in vm.get("VUSBs", []):
        group = tables["USB_group"][tables["VUSB"][vusb]["USB_group"]]
        if not group["PUSBs"] or tables["PUSB"][group["PUSBs"][0]]["host"] != host_ref:
            raise RefusedError("OPERATION_NOT_ALLOWED", f"VUSB {vusb} is not available on Host {host_ref}")
    _assert_functions(tables, vm, host_ref)
    if kind != "pv" and not any("hvm" in capability for capability in host["capabilities"]):
        raise RefusedError("VM_HVM_REQUIRED", ref)
    needed = int(vm["memory_dynamic_min"]) + int(vm["memory_overhead"])
    used = sum(
        int(other["memory_dynamic_min"]) + int(other["memory_overhead"])
        for other in tables["VM"].values()
        if other["resident_on"] == host_ref
    )
    free = int(tables["host_metrics"][host["metrics"]]["memory_total"]) - int(host["memory_overhead"]) - used
    if free < needed:
        raise RefusedError("HOST_NOT_ENOUGH_FREE_MEMORY", str(needed), str(max(0, free)))
    count = host["cpu_info"]["cpu_count"]
    if int(vm["VCPUs_max"]) > int(count):
        raise RefusedError("HOST_NOT_ENOUGH_PCPUS", vm["VCPUs_max"], count)


def _assert_cpu(vm: dict[str, Any], host: dict[str, Any], ref: str, host_ref: str, kind: str) -> None:
    flags, info = vm["last_boot_CPU_flags"], host["cpu_info"]
    key = "features_pv" if kind == "pv" else "features_hvm"
    reason = ""
    if "vendor" not in info or key not in info:
        reason = "Host does not have new leveling feature keys - not comparing VM's flags"
    elif "vendor" in flags and flags["vendor"] != info["vendor"]:
        reason = "VM last booted on a host which had a CPU from a different vendor."
    elif "features" in flags:
        own = [int(word, 16) for word in flags["features"].split("-") if word]
        for place, word in enumerate(int(word, 16) for word in info[key].split("-") if word):
            if place < len(own) and own[place] & ~word:
                reason = "VM last booted on a CPU with features this host's CPU does not have."
    if reason:
        raise RefusedError("VM_INCOMPATIBLE_WITH_THIS_HOST", ref, host_ref, reason)


def _assert_storage(tables: Tables, vm: dict[str, Any], ref: str, host_ref: str) -> None:
    needed = []
    for vbd_ref in vm.get("VBDs", []):
        vbd = tables["VBD"][vbd_ref]
        if not vbd["empty"]:
            sr = _row(tables, "VDI", vbd["VDI"])["SR"]
            _row(tables, "SR", sr)
            needed.append(sr)
    if vm["power_state"] == "Suspended" and vm.get("suspend_VDI", NULL) != NULL:
        needed.append(tables["VDI"][vm["suspend_VDI"]]["SR"])
    pbds = tables["PBD"].values()
    visible = [pbd["SR"] for pbd in pbds if pbd["host"] == host_ref and pbd["currently_attached"]]
    for sr in needed:
        if sr not in visible:
            raise RefusedError("VM_REQUIRES_SR", ref, sr)


def _assert_networks(tables: Tables, vm: dict[str, Any], ref: str, host_ref: str) -> None:
    networks = [tables["VIF"][vif]["network"] for vif in vm.get("VIFs", [])]
    for network in networks:
        if not _sees(tables, network, host_ref):
            raise RefusedError("VM_REQUIRES_NETWORK", ref, network)
    for network in networks:
        for pif in tables["PIF"].values():
            if (pif["network"], pif["host"]) == (network, host_ref) and pif["bond_slave_of"] != NULL:
                raise RefusedError("HOST_CANNOT_ATTACH_NETWORK", host_ref, network)


def _sees(tables: Tables, ref: str, host_ref: str) -> bool:
    network = tables["network"][ref]
    pifs = [pif for pif in tables["PIF"].values() if pif["network"] == ref]
    if pifs:
        return any(pif["host"] == host_ref for pif in pifs)
    if network["other_config"].get("assume_network_is_shared") == "true" or not network["managed"]:
        return True
    vms = [tables["VM"][vif["VM"]] for vif in tables["VIF"].values() if vif["network"] == ref]
    hosts = {vm["resident_on"] for vm in vms if vm["power_state"] == "Running"}
    return not hosts or host_ref in hosts


def _assert_gpus(tables: Tables, vm: dict[str, Any], ref: str, host_ref: str) -> None:
    vgpus = [tables["VGPU"][vgpu] for vgpu in vm.get("VGPUs", [])]
    kinds = [tables["VGPU_type"][vgpu["type"]]["implementation"] for vgpu in vgpus]
    if {"passthrough", "mxgpu", "nvidia_sriov"} & set(kinds):
        iommu = tables["host"][host_ref]["chipset_info"].get("iommu")
        if iommu is None:
            raise RefusedError("INTERNAL_ERROR", "Not_found")
        if iommu != "true":
            raise RefusedError("VM_REQUIRES_IOMMU", host_ref)
    picks: list[tuple[dict[str, Any], str]] = []
    for vgpu in vgpus:
        group = tables["GPU_group"][vgpu["GPU_group"]]
        rooms = [
            (_capacity(tables, gpu, vgpu["type"], picks), place, gpu)
            for place, gpu in enumerate(group["PGPUs"])
            if tables["PGPU"][gpu]["host"] == host_ref
        ]
        rooms = [room for room in rooms if room[0] > 0]
        if not rooms:
            if tables["VGPU_type"][vgpu["type"]]["implementation"] == "passthrough":
                raise RefusedError("VM_REQUIRES_GPU", ref, vgpu["GPU_group"])
            raise RefusedError("VM_REQUIRES_VGPU", ref, vgpu["GPU_group"], vgpu["type"])
        sign = -1 if group["allocation_algorithm"] == "breadth_first" else 1
        rooms.sort(key=lambda room: (sign * room[0], room[1]))
        picks.append((vgpu, rooms[0][2]))


def _capacity(tables: Tables, ref: str, kind_ref: str, picks: list[tuple[dict[str, Any], str]]) -> int:
    gpu, kind = tables["PGPU"][ref], tables["VGPU_type"][kind_ref]
    if kind_ref not in gpu["supported_VGPU_types"] or kind_ref not in gpu["enabled_VGPU_types"]:
        return 0
    allocated = [vgpu for vgpu in tables["VGPU"].values() if vgpu["resident_on"] == ref]
    scheduled = [vgpu for vgpu in tables["VGPU"].values() if vgpu["scheduled_to_be_resident_on"] == ref]
    types = tables["VGPU_type"]
    for vgpu in allocated + scheduled:
        if kind_ref not in types[vgpu["type"]]["compatible_types_on_pgpu"]:
            return 0
    mine = [vgpu for vgpu, picked in picks if picked == ref]
    if kind["implementation"] == "passthrough":
        return 0 if scheduled or tables["PCI"][gpu["PCI"]]["attached_VMs"] or mine else 1
    used = sum(int(types[vgpu["type"]]["size"]) for vgpu in allocated + scheduled + mine)
    return max(0, (int(gpu["size"]) - used) // int(kind["size"]))


def _assert_functions(tables: Tables, vm: dict[str, Any], host_ref: str) -> None:
    needed: dict[str, int] = {}
    idle: dict[str, int] = {}
    for vif_ref in vm.get("VIFs", []):
        vif = tables["VIF"][vif_ref]
        if vif.get("reserved_pci", NULL) in tables["PCI"]:
            continue
        for pif in tables["PIF"].values():
            sriov = pif.get("sriov_logical_PIF_of", [])
            if (pif["network"], pif["host"]) == (vif["network"], host_ref) and sriov:
                physical = tables["PIF"][tables["network_sriov"][sriov[0]]["physical_PIF"]]["PCI"]
                free = [
                    pci
                    for pci in tables["PCI"].values()
                    if pci["physical_function"] == physical
                    and not pci["attached_VMs"]
                    and pci["scheduled_to_be_attached_to"] == NULL
                ]
                needed[vif["network"]] = needed.get(vif["network"], 0) + 1
                idle[vif["network"]] = len(free)
    for network, count in needed.items():
        if idle[network] < count:
            raise RefusedError("NETWORK_SRIOV_INSUFFICIENT_CAPACITY", network)
