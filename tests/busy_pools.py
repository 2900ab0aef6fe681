"""Made-up pools whose VMs can be moved about, as XenAPI records: the pool in memory can carry out plans for them.

Sizes are GiB of memory_static_max unless a name says otherwise. Every host has 64 GiB, less what Xen and its control
domain take.
"""

import random
from collections.abc import Sequence
from typing import Any

from xenmem import kernel

GIB = 1 << 30
NULL = "OpaqueRef:NULL"
MODEL = "pre-26.3"
FEATURES = "17cbfbff-f7fa3223-2d93fbff-00000123"
Records = dict[str, dict[str, dict[str, Any]]]


def empty_pool(hosts: Sequence[str], name: str = "p", cpus: int = 32) -> Records:
    """A pool of these hosts, without guests."""
    records: Records = {
        "pool": {
            f"{name}-pool": {
                "uuid": f"{name}-pool-uuid",
                "name_label": name,
                "master": f"{name}-{hosts[0]}",
                "ha_enabled": False,
                "ha_host_failures_to_tolerate": "0",
                "ha_plan_exists_for": "0",
                "ha_allow_overcommit": False,
                "restrictions": {},
            }
        },
        "host": {},
        "host_metrics": {},
        "VM": {},
        "VM_metrics": {},
        "VM_guest_metrics": {},
        "VM_group": {},
        "SR": {f"{name}-sr": {"uuid": f"{name}-sr-uuid", "name_label": "nfs", "shared": True, "type": "nfs"}},
        "PBD": {},
        "VDI": {f"{name}-vdi": {"uuid": f"{name}-vdi-uuid", "SR": f"{name}-sr", "type": "suspend", "managed": True}},
        "VBD": {},
        "network": {f"{name}-lan": {"uuid": f"{name}-lan-uuid", "name_label": "lan", "managed": True}},
        "PIF": {},
        "VIF": {},
    }
    for host in hosts:
        ref = f"{name}-{host}"
        records["host"][ref] = {
            "uuid": f"{ref}-uuid",
            "name_label": host,
            "hostname": host,
            "address": "",
            "metrics": f"{ref}-metrics",
            "enabled": True,
            "memory_overhead": str(3 * GIB // 2),
            "cpu_info": {
                "cpu_count": str(cpus),
                "vendor": "GenuineIntel",
                **dict.fromkeys(("features_hvm", "features_pv", "features_hvm_host", "features_pv_host"), FEATURES),
            },
            "chipset_info": {"iommu": "true"},
            "capabilities": ["hvm-3.0-x86_64"],
            "software_version": {"product_version": "8.2.1", "platform_version": "3.2.1", "xapi_build": "24.19.2"},
            "virtual_hardware_platform_versions": ["0", "1", "2"],
            "control_domain": f"{name}-vm-dom0 {host}",
        }
        records["PBD"][f"{ref}-pbd"] = {
            "uuid": f"{ref}-pbd-uuid",
            "SR": f"{name}-sr",
            "host": ref,
            "currently_attached": True,
        }
        records["PIF"][f"{ref}-pif"] = {
            "uuid": f"{ref}-pif-uuid",
            "network": f"{name}-lan",
            "host": ref,
            "physical": True,
            "bond_slave_of": NULL,
            "VLAN_master_of": NULL,
        }
        records["host_metrics"][f"{ref}-metrics"] = {
            "uuid": f"{ref}-metrics-uuid",
            "memory_total": str(64 * GIB),
            "memory_free": "0",
            "live": True,
        }
        add_vm(records, f"dom0 {host}", 2, host, is_control_domain=True, domain_type="pv", VCPUs_max="8")
    return records


def add_vm(records: Records, vm: str, size: int, host: str | None = None, **fields: Any) -> str:
    """Add a VM, running on a host or halted; fields as in the record, memory_dynamic_min for one that balloons.

    Returns
    -------
    its reference
    """
    name = next(iter(records["pool"].values()))["name_label"]
    ref = f"{name}-vm-{vm}"
    domain_type = getattr(kernel.DomainType, fields.get("domain_type", "hvm").upper())
    vcpus = int(fields.get("VCPUs_max", 4))
    static_max = size * GIB
    records["VM"][ref] = {
        "uuid": f"{ref}-uuid".replace(" ", "-"),
        "name_label": vm,
        "power_state": "Running" if host else "Halted",
        "is_a_template": False,
        "is_a_snapshot": False,
        "is_control_domain": False,
        "resident_on": f"{name}-{host}" if host else NULL,
        "affinity": NULL,
        "scheduled_to_be_resident_on": NULL,
        "memory_static_max": str(static_max),
        "memory_dynamic_max": str(static_max),
        "memory_dynamic_min": str(static_max),
        "memory_static_min": str(GIB // 2),
        "memory_target": str(static_max if host else 0),
        "memory_overhead": str(int(kernel.overhead(domain_type, static_max, vcpus, 1.0, model=MODEL))),
        "VCPUs_max": str(vcpus),
        "VCPUs_at_startup": str(vcpus),
        "HVM_shadow_multiplier": 1.0,
        "HVM_boot_policy": "BIOS order",
        "domain_type": "hvm",
        "metrics": f"{ref}-metrics",
        "guest_metrics": f"{ref}-guest" if host else NULL,
        "ha_always_run": False,
        "ha_restart_priority": "",
        "order": "0",
        "start_delay": "0",
        "groups": [],
        "platform": {},
        "VBDs": [f"{ref}-vbd"],
        "VIFs": [f"{ref}-vif"],
        "last_boot_CPU_flags": {"vendor": "GenuineIntel", "features": FEATURES} if host else {},
        **fields,
    }
    disk = {"uuid": f"{ref}-disk-uuid", "SR": f"{name}-sr", "managed": True, "type": "user"}
    records["VDI"][f"{ref}-disk"] = disk
    records["VBD"][f"{ref}-vbd"] = {"uuid": f"{ref}-vbd-uuid", "VM": ref, "VDI": f"{ref}-disk", "empty": False}
    records["VIF"][f"{ref}-vif"] = {"uuid": f"{ref}-vif-uuid", "VM": ref, "network": f"{name}-lan"}
    live = fields.get("power_state", "Running" if host else "Halted") in ("Running", "Paused")
    records["VM_metrics"][f"{ref}-metrics"] = {
        "uuid": f"{ref}-metrics-uuid",
        "memory_actual": str(static_max if live else 0),
        "VCPUs_number": str(vcpus),
        "hvm": live and domain_type == kernel.DomainType.HVM,
        "current_domain_type": fields.get("domain_type", "hvm") if live else "unspecified",
    }
    if host:
        records["VM_guest_metrics"][f"{ref}-guest"] = {
            "uuid": f"{ref}-guest-uuid",
            "PV_drivers_version": {"major": "9", "minor": "4", "micro": "0", "build": "1"},
            "other": {"feature-suspend": "1", "feature-shutdown": "1", "feature-balloon": "1"},
        }
    return ref


def without_drivers(records: Records, ref: str) -> None:
    """What a guest without drivers reports: nothing. It cannot migrate."""
    records["VM_guest_metrics"][f"{ref}-guest"] |= {"PV_drivers_version": {}, "other": {}}


def four_hosts() -> Records:
    """The example: every host can be emptied, delta only if a VM of another host moves, too."""
    records = empty_pool(("alpha", "bravo", "charlie", "delta"))
    for host, vms in {
        "alpha": (("db-1", 16), ("web-1", 12), ("web-2", 8), ("mail", 8)),
        "bravo": (("db-2", 20), ("erp", 12), ("proxy", 8)),
        "charlie": (("build-1", 16), ("build-2", 12), ("web-3", 8), ("dns", 4)),
        "delta": (("files", 20), ("wiki", 10), ("git", 8)),
    }.items():
        for vm, size in vms:
            add_vm(records, vm, size, host)
    add_vm(records, "test-1", 12)
    add_vm(records, "test-2", 6)
    return records


def random_pool(seed: int) -> Records:
    """Three to five hosts with what trips plans: VMs that balloon, cannot migrate, are halted, suspended or paused."""
    draw = random.Random(seed)
    hosts = [f"h{number}" for number in range(draw.randint(3, 5))]
    records = empty_pool(hosts, cpus=draw.choice((8, 32)))
    sizes = (1, 2, 3, 4, 6, 8, 12, 16)
    number = 0
    for host in hosts:
        room = 60 * draw.uniform(0.3, 0.95)
        while (size := draw.choice(sizes)) + 1 < room:
            fields: dict[str, Any] = {"VCPUs_max": str(draw.choice((1, 2, 4, 8)))}
            fields["VCPUs_at_startup"] = fields["VCPUs_max"]
            if draw.random() < 0.3:
                fields["memory_dynamic_min"] = str(size * GIB // 2)
            if draw.random() < 0.15:
                fields["domain_type"] = draw.choice(("pv", "pvh", "pv_in_pvh"))
            if draw.random() < 0.04:
                fields["power_state"] = "Paused"
            ref = add_vm(records, f"v{number}", size, host, **fields)
            if draw.random() < 0.04:
                without_drivers(records, ref)
            if draw.random() < 0.03:
                records["VM"][ref]["scheduled_to_be_resident_on"] = f"p-{draw.choice(hosts)}"
            room -= size + 1
            number += 1
    for size in draw.choices(sizes, k=3):
        ref = add_vm(records, f"v{number}", size, HVM_shadow_multiplier=draw.choice((0.5, 1.0, 1.0, 1.0)))
        if draw.random() < 0.5:
            records["VM"][ref]["memory_overhead"] = "0"  # stale: it is computed anew when the VM starts
        number += 1
    add_vm(records, f"v{number}", 4, power_state="Suspended", suspend_VDI="p-vdi")
    if draw.random() < 0.5:
        records["VM_group"]["p-apart"] = {"uuid": "p-apart-uuid", "name_label": "apart", "placement": "anti_affinity"}
        for vm in draw.sample([vm for vm in records["VM"].values() if not vm["is_control_domain"]], 2):
            vm["groups"] = ["p-apart"]
    return records
