"""Small pools as XenAPI records: hosts and VMs from plain numbers, so that a test says only what it is about.

Amounts are MiB here, whole bytes in the records. The overhead is that of the model; nothing balloons unless said.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xenmem
from xenmem import kernel
from xenmem.xenapi import Session, connect

MIB = 1 << 20


def pool(hosts: Sequence[int], vms: Sequence[tuple[int, int | None]], **more: Any) -> xenmem.Fleet:
    """A fleet of one pool; parameters as for `records`."""
    return xenmem.Fleet.from_records(records(hosts, vms, **more))


def with_drivers(inventory: dict[str, dict[str, dict[str, Any]]]) -> dict[str, dict[str, dict[str, Any]]]:
    """The same records, all guests that run with drivers."""
    guests = {f"{ref}-guest": vm for ref, vm in inventory["VM"].items() if vm["power_state"] == "Running"}
    for ref, vm in guests.items():
        vm["guest_metrics"] = ref
    inventory["VM_guest_metrics"] = {
        ref: {"uuid": ref, "PV_drivers_version": {"major": "9", "minor": "4"}, "other": {"feature-suspend": "1"}}
        for ref in guests
    }
    return inventory


def in_memory(inventory: dict[str, dict[str, dict[str, Any]]], folder: Path) -> Session:
    """A session with a pool in memory of these records."""
    file = folder / "pool.json"
    file.write_text(json.dumps(inventory))
    return connect(str(file))


def records(
    hosts: Sequence[int],
    vms: Sequence[tuple[int, int | None]],
    *,
    cpus: int = 64,
    vcpus: int = 1,
    groups: Sequence[Sequence[int]] = (),
    disabled: Sequence[int] = (),
    builds: Sequence[str] = (),
    name: str = "p",
) -> dict[str, dict[str, dict[str, Any]]]:
    """The records of one pool.

    Parameters
    ----------
    hosts : MiB for guests on each
    vms : start memory in MiB, overhead included, and the host it runs on; None is halted
    cpus, vcpus : of every host, and of every VM
    groups : VMs in an anti-affinity group each
    disabled : hosts
    builds : xapi_build of each host, by default 26.3.0 everywhere
    name : starts every reference
    """
    overhead = int(kernel.overhead(kernel.DomainType.HVM, 1024 * MIB, vcpus, 1.0))
    tables: dict[str, dict[str, dict[str, Any]]] = {
        "pool": {f"{name}-pool": {"uuid": f"{name}-pool", "name_label": name, "master": f"{name}-h0"}},
        "host": {},
        "host_metrics": {},
        "VM": {},
        "VM_group": {},
    }
    for number, size in enumerate(hosts):
        ref = f"{name}-h{number}"
        tables["host"][ref] = {
            "uuid": ref,
            "name_label": ref,
            "metrics": f"{ref}-m",
            "enabled": number not in disabled,
            "memory_overhead": "0",
            "virtual_hardware_platform_versions": ["0", "1", "2"],
            "capabilities": ["hvm-3.0-x86_64"],
            "cpu_info": {"cpu_count": str(cpus)},
            "software_version": {"xapi_build": builds[number] if builds else "26.3.0"},
        }
        tables["host_metrics"][f"{ref}-m"] = {
            "uuid": f"{ref}-m",
            "memory_total": str(size * MIB),
            "memory_free": "0",
            "live": True,
        }
    for number, (size, host) in enumerate(vms):
        ref = f"{name}-v{number}"
        # the overhead depends on the size itself
        static_max = size * MIB
        for _ in range(4):
            overhead = int(kernel.overhead(kernel.DomainType.HVM, static_max, vcpus, 1.0))
            static_max = size * MIB - overhead
        assert static_max > 0
        assert static_max + int(kernel.overhead(kernel.DomainType.HVM, static_max, vcpus, 1.0)) == size * MIB
        tables["VM"][ref] = {
            "uuid": ref,
            "name_label": ref,
            "power_state": "Halted" if host is None else "Running",
            "resident_on": "OpaqueRef:NULL" if host is None else f"{name}-h{host}",
            "domain_type": "hvm",
            **{
                f"memory_{field}": str(static_max)
                for field in ("static_max", "dynamic_max", "dynamic_min", "static_min", "target")
            },
            "memory_overhead": str(overhead),
            "VCPUs_max": str(vcpus),
            "VCPUs_at_startup": str(vcpus),
            "HVM_shadow_multiplier": 1.0,
            "groups": [f"{name}-g{group}" for group, members in enumerate(groups) if number in members],
        }
    for group in range(len(groups)):
        ref = f"{name}-g{group}"
        tables["VM_group"][ref] = {"uuid": ref, "name_label": ref, "placement": "anti_affinity"}
    return tables
