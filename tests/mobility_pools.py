"""Pools whose VMs differ in what they need beside memory, drawn at random: tables by class, as API records spell them.

Internal columns are there, as in a database dump. Amounts are bytes.
"""

from random import Random
from typing import Any

import dumps

Tables = dict[str, dict[str, dict[str, Any]]]

NULL = dumps.NULL
FEATURES = ("0000000f-00000003", "0000001f-00000003", "0000000f", "0000000f-00000003-00000001", "", "xyz")
CLASSES = [
    "pool",
    "host",
    "host_metrics",
    "VM",
    "VM_metrics",
    "VM_guest_metrics",
    "VM_group",
    "SR",
    "PBD",
    "VDI",
    "VBD",
    "VIF",
    "network",
    "PIF",
    "Bond",
    "VLAN",
    "network_sriov",
    "PCI",
    "PGPU",
    "GPU_group",
    "VGPU",
    "VGPU_type",
    "PUSB",
    "VUSB",
    "USB_group",
]


def drawn(random: Random, hosts: int, vms: int) -> Tables:
    """A pool of so many hosts and VMs.

    SRs are shared or of one host, some unplugged; networks are bonded, internal, assumed to be shared, or SR-IOV; CPUs
    are of two vendors and several generations; some guests have USB devices, suspend images, or records that dangle.
    """
    tables: Tables = {name: {} for name in CLASSES}
    names = [f"h{number}" for number in range(hosts)]
    tables["pool"]["p"] = {"uuid": "p", "name_label": "p", "master": "h0"}
    for name in names:
        _host(tables, random, name)
    for number in range(4):
        sr = f"sr{number}"
        tables["SR"][sr] = {"uuid": sr, "name_label": f"SR {number}", "shared": number < 2, "type": "nfs"}
        seen = names if number < 2 else [random.choice(names)]
        for host in seen:
            attached = random.random() < 0.9
            tables["PBD"][f"{sr}-{host}"] = {"SR": sr, "host": host, "currently_attached": attached}
    _networks(tables, random, names)
    for number in range(vms):
        _vm(tables, random, f"v{number}", names)
    return tables


def _host(tables: Tables, random: Random, name: str) -> None:
    tables["host_metrics"][f"{name}m"] = {"memory_total": str(64 << 30), "memory_free": "0", "live": True}
    features = random.choice(FEATURES[:2])
    info = {"cpu_count": str(random.choice((4, 64))), "vendor": random.choice(("GenuineIntel", "GenuineIntel", "AMD"))}
    tables["host"][name] = {
        "uuid": name,
        "name_label": name,
        "metrics": f"{name}m",
        "enabled": True,
        "memory_overhead": "0",
        "software_version": {"xapi_build": "26.17.0", "xapi": "26.17"},
        "capabilities": random.choice((["xen-3.0-x86_64"], ["hvm-3.0-x86_64"], ["hvm-3.0-x86_64"])),
        "virtual_hardware_platform_versions": random.choice((["0", "1"], ["0", "1", "2"])),
        "chipset_info": {"iommu": "true"},
        "cpu_info": info | {"features_hvm": features, "features_pv": random.choice(FEATURES[:3])},
    }


def _networks(tables: Tables, random: Random, hosts: list[str]) -> None:
    for number in range(6):
        name = f"n{number}"
        config = {"assume_network_is_shared": "true"} if number == 4 else {}
        values = {"managed": True, "other_config": config, "PIFs": [], "VIFs": []}
        tables["network"][name] = {"uuid": name, "name_label": f"network {number}", **values}
        for host in hosts if number < 3 else []:
            if random.random() < 0.85:
                slave = random.choice((NULL, NULL, NULL, "bond", "gone")) if number == 1 else NULL
                pif = {"network": name, "host": host, "bond_slave_of": slave, "physical": True, "PCI": f"{host}-pf"}
                tables["PIF"][f"{name}-{host}"] = {"VLAN_master_of": NULL, **pif}
    tables["Bond"]["bond"] = {"master": "n0-h0", "slaves": []}
    for host in hosts:
        tables["PCI"][f"{host}-pf"] = _pci(NULL, [])
        if f"n2-{host}" in tables["PIF"] and random.random() < 0.5:
            logical = {"network": "n3", "host": host, "bond_slave_of": NULL, "physical": False, "PCI": NULL}
            tables["PIF"][f"n3-{host}"] = {"VLAN_master_of": NULL, **logical}
            tables["network_sriov"][f"sriov-{host}"] = {"physical_PIF": f"n2-{host}", "logical_PIF": f"n3-{host}"}
            for number in range(random.randrange(4)):
                taken = ["v0"] if random.random() < 0.3 else []
                tables["PCI"][f"{host}-vf{number}"] = _pci(f"{host}-pf", taken)


def _pci(function: str, attached: list[str]) -> dict[str, Any]:
    values = {"class_id": "02", "pci_id": "0000:01:00.0", "scheduled_to_be_attached_to": NULL}
    return {"physical_function": function, "attached_VMs": attached, **values}


def _vm(tables: Tables, random: Random, name: str, hosts: list[str]) -> None:
    state = random.choice(("Halted", "Running", "Running", "Suspended"))
    domain_type = random.choice(("hvm", "hvm", "pv", "pvh"))
    tables["VM_metrics"][f"{name}m"] = {"current_domain_type": random.choice((domain_type, domain_type, "pv"))}
    flags = {"vendor": random.choice(("GenuineIntel", "GenuineIntel", "AMD")), "features": random.choice(FEATURES)}
    for key in ("vendor", "features"):
        if random.random() < 0.1:
            del flags[key]
    vcpus = random.choice(("2", "2", "8"))
    tables["VM"][name] = dumps.vm(
        name,
        power_state=state,
        domain_type=domain_type,
        resident_on=random.choice(hosts) if state == "Running" else NULL,
        metrics=f"{name}m",
        hardware_platform_version=random.choice(("0", "0", "2")),
        last_boot_CPU_flags=flags,
        suspend_VDI=f"{name}-image" if state == "Suspended" else NULL,
        platform={"vcpu-unrestricted": "true"} if random.random() < 0.2 else {},
        VCPUs_max=vcpus,
        VCPUs_at_startup=vcpus,
    )
    if state == "Suspended":
        tables["VDI"][f"{name}-image"] = {"SR": random.choice([*tables["SR"]]), "sm_config": {}}
    listed: dict[str, list[str]] = {"VBDs": [], "VIFs": [], "VUSBs": []}
    for number in range(random.randrange(3)):
        vdi = f"{name}-disk{number}"
        tables["VDI"][vdi] = {"SR": random.choice(["sr0", "sr0", *tables["SR"]]), "sm_config": {}}
        vdi = "gone" if random.random() < 0.05 else vdi
        tables["VBD"][f"{name}-vbd{number}"] = {"VM": name, "VDI": vdi, "empty": False}
        listed["VBDs"].insert(0, f"{name}-vbd{number}")
    if random.random() < 0.5:
        tables["VBD"][f"{name}-cd"] = {"VM": name, "VDI": NULL, "empty": True}
        listed["VBDs"].insert(0, f"{name}-cd")
    for number in range(random.randrange(3)):
        network = random.choice(["n0", "n0", *tables["network"]])
        tables["VIF"][f"{name}-vif{number}"] = {"VM": name, "network": network, "reserved_pci": NULL}
        listed["VIFs"].insert(0, f"{name}-vif{number}")
    if random.random() < 0.15:
        tables["VUSB"][f"{name}-vusb"] = {"VM": name, "USB_group": f"{name}-usb"}
        tables["PUSB"][f"{name}-pusb"] = {"USB_group": f"{name}-usb", "host": random.choice(hosts)}
        group = {"uuid": f"{name}-usb", "PUSBs": [f"{name}-pusb"], "VUSBs": []}
        tables["USB_group"][f"{name}-usb"] = {"name_label": f"stick of {name}", **group}
        listed["VUSBs"].append(f"{name}-vusb")
    tables["VM"][name].update(listed)
