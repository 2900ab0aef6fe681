"""Which check fails first where a VM is to run on a host, pair by pair and row by row, as the page of rules has it.

Takes the tables of an inventory, by class and reference, fields as API records spell them. Nothing of xenmem. What no
inventory can tell is "undecided". Source: xapi-project/xen-api, ocaml/xapi/xapi_vm_helpers.ml (assert_can_boot_here).
"""

from typing import Any

Tables = dict[str, dict[str, dict[str, Any]]]

NULL = "OpaqueRef:NULL"


def first_failure(tables: Tables, vm: str, host: str, *, with_cpu: bool = True) -> str:
    """The name of the first check that fails, or undecided; empty if none does."""
    record, there = tables["VM"][vm], tables["host"][host]
    domain_type = record["domain_type"]
    if record["power_state"] != "Halted":
        domain_type = tables["VM_metrics"][record["metrics"]]["current_domain_type"]
    if str(record["hardware_platform_version"]) not in there["virtual_hardware_platform_versions"]:
        return "HARDWARE_PLATFORM"
    cpu = cpu_failure(record, there, domain_type) if with_cpu else ""
    if cpu == "CPU":
        return cpu
    undecided = cpu == "UNDECIDED"
    seen = {p["SR"] for p in tables["PBD"].values() if p["host"] == host and p["currently_attached"]}
    for sr in needed_srs(tables, vm):
        if sr is None:
            undecided = True
        elif sr not in seen:
            return "STORAGE"
    networks = [vif["network"] for vif in tables["VIF"].values() if vif["VM"] == vm]
    if not all(is_visible(tables, network, host) for network in networks):
        return "NETWORK"
    for network in networks:
        for pif in tables["PIF"].values():
            if pif["network"] == network and pif["host"] == host and pif["bond_slave_of"] != NULL:
                return "BOND"
    for vusb in tables["VUSB"].values():
        if vusb["VM"] == vm:
            pusbs = [p["host"] for p in tables["PUSB"].values() if p["USB_group"] == vusb["USB_group"]]
            if pusbs[:1] != [host]:
                return "USB"
    for network in networks:
        idle = idle_functions(tables, network, host)
        if idle is not None and idle < networks.count(network):
            return "VIRTUAL_FUNCTIONS"
    if domain_type != "pv" and not any("hvm" in capability for capability in there["capabilities"]):
        return "HVM"
    unrestricted = record["platform"].get("vcpu-unrestricted") == "true"
    if not unrestricted and int(record["VCPUs_max"]) > int(there["cpu_info"]["cpu_count"]):
        return "PCPUS"
    return "UNDECIDED" if undecided else ""


def cpu_failure(record: dict[str, Any], there: dict[str, Any], domain_type: str) -> str:
    if record["power_state"] == "Halted":
        return ""
    flags, info = record["last_boot_CPU_flags"], there["cpu_info"]
    key = "features_pv" if domain_type == "pv" else "features_hvm"
    if "vendor" not in info or key not in info or flags.get("vendor", info["vendor"]) != info["vendor"]:
        return "CPU"
    if "features" not in flags:
        return ""
    try:
        wanted, offered = (
            [int(word, 16) for word in text.split("-")] if text else [] for text in (flags["features"], info[key])
        )
    except ValueError:
        return "UNDECIDED"
    for place, word in enumerate(offered):
        if (wanted[place] if place < len(wanted) else 0) & ~word:
            return "CPU"
    return "UNDECIDED" if any(wanted[len(offered) :]) else ""


def needed_srs(tables: Tables, vm: str) -> list[str | None]:
    vdis = [vbd["VDI"] for vbd in tables["VBD"].values() if vbd["VM"] == vm and not vbd["empty"]]
    record = tables["VM"][vm]
    if record["power_state"] == "Suspended" and record["suspend_VDI"] != NULL:
        vdis.append(record["suspend_VDI"])
    return [tables["VDI"][vdi]["SR"] if vdi in tables["VDI"] else None for vdi in vdis]


def is_visible(tables: Tables, network: str, host: str) -> bool:
    hosts = [pif["host"] for pif in tables["PIF"].values() if pif["network"] == network]
    record = tables["network"][network]
    if hosts:
        return host in hosts
    if record["other_config"].get("assume_network_is_shared") == "true" or not record["managed"]:
        return True
    members = {vif["VM"] for vif in tables["VIF"].values() if vif["network"] == network}
    running = {tables["VM"][vm]["resident_on"] for vm in members if tables["VM"][vm]["power_state"] == "Running"}
    return not running or host in running


def idle_functions(tables: Tables, network: str, host: str) -> int | None:
    """None where the network is no SR-IOV one on the host."""
    for name, pif in tables["PIF"].items():
        if pif["network"] == network and pif["host"] == host:
            for sriov in tables["network_sriov"].values():
                if sriov["logical_PIF"] == name:
                    function = tables["PIF"][sriov["physical_PIF"]]["PCI"]
                    pcis = [pci for pci in tables["PCI"].values() if pci["physical_function"] == function]
                    free = [
                        pci for pci in pcis if not pci["attached_VMs"] and pci["scheduled_to_be_attached_to"] == NULL
                    ]
                    return len(free)
    return None
