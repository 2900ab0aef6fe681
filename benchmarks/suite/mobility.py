"""Where VMs can run: what do all checks of all pairs cost beside memory and vCPUs alone?"""

from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np

from xenmem import Fleet
from xenmem.planning.pool_view import memory_to_start, room
from xenmem.rules.mobility.matrix import PoolMobility, is_allowed

HOSTS, VMS = 1000, 10_000
FEATURES = ("17cbfbff-f7fa3223-2d93fbff-00000123", "17cbfbff-f7fa3223-2d93fbff-00000523", "17cbfbff-f7fa3223")


def rows(prefix: str, count: int) -> Iterator[tuple[int, str]]:
    return ((number, f"{prefix}{number}") for number in range(count))


def pool() -> dict[str, dict[str, dict[str, Any]]]:
    """1,000 hosts with most of 40 SRs and 20 networks each, of two generations, and 10,000 VMs of some 700 kinds."""
    random = Random(1)
    tables: dict[str, dict[str, dict[str, Any]]] = {"pool": {"p": {"uuid": "p", "master": "h0"}}}
    for name in ("host", "host_metrics", "VM", "SR", "PBD", "VDI", "VBD", "network", "PIF", "VIF"):
        tables[name] = {}
    for _, sr in rows("s", 40):
        tables["SR"][sr] = {"uuid": sr, "name_label": sr, "shared": True, "type": "nfs"}
    for _, network in rows("n", 20):
        tables["network"][network] = {"uuid": network, "name_label": network, "managed": True}
    for number, host in rows("h", HOSTS):
        features = FEATURES[number % 2]
        tables["host_metrics"][f"{host}m"] = {"memory_total": str(512 << 30), "memory_free": "0", "live": True}
        tables["host"][host] = {
            "uuid": host,
            "metrics": f"{host}m",
            "enabled": True,
            "capabilities": ["hvm-3.0-x86_64"],
            "software_version": {"xapi_build": "26.17.0"},
            "cpu_info": {"cpu_count": "64", "vendor": "I", "features_hvm": features, "features_pv": features},
            "chipset_info": {"iommu": "true"},
        }
        for sr in random.sample([*tables["SR"]], 38):
            tables["PBD"][f"{sr}{host}"] = {"SR": sr, "host": host, "currently_attached": True}
        for network in random.sample([*tables["network"]], 19):
            tables["PIF"][f"{network}{host}"] = {"network": network, "host": host, "bond_slave_of": "OpaqueRef:NULL"}
    for _, vm in rows("v", VMS):
        memory = str(random.choice((4, 8, 16)) << 30)
        tables["VM"][vm] = {
            "uuid": vm,
            "power_state": "Running",
            "resident_on": f"h{random.randrange(HOSTS)}",
            "domain_type": "hvm",
            **{f"memory_{limit}": memory for limit in ("static_max", "dynamic_max", "dynamic_min", "static_min")},
            "VCPUs_max": random.choice(("2", "4", "8")),
            "last_boot_CPU_flags": {"vendor": "I", "features": random.choice(FEATURES)},
            "VBDs": [f"{vm}b"],
            "VIFs": [f"{vm}i"],
        }
        sr = random.randrange(40)
        tables["VDI"][f"{vm}d"] = {"SR": f"s{sr}"}
        tables["VBD"][f"{vm}b"] = {"VM": vm, "VDI": f"{vm}d", "empty": False}
        tables["VIF"][f"{vm}i"] = {"VM": vm, "network": f"n{sr // 4 * 2 + random.randrange(2)}"}
    return tables


class Matrix:
    """Which of 10,000 VMs could boot on which of 1,000 hosts, by memory and vCPUs, and by everything."""

    timeout = 300

    def setup_cache(self) -> Fleet:
        return Fleet.from_records(pool())

    setup_cache.timeout = 600  # type: ignore[attr-defined]

    def setup(self, fleet: Fleet) -> None:
        self.needed, self.free = memory_to_start(fleet), room(fleet, "dynamic_min")

    def memory_and_vcpus(self, fleet: Fleet) -> np.ndarray[Any, np.dtype[np.bool_]]:
        fits = self.needed[:, None] <= self.free
        fits &= fleet.vms.VCPUs_max[:, None] <= fleet.hosts.cpu_count
        return fits

    def everything(self, fleet: Fleet) -> np.ndarray[Any, np.dtype[np.bool_]]:
        part = PoolMobility(fleet.tables, 0)
        fits = self.needed[:, None] <= self.free
        fits &= is_allowed(part.first_step())[part.kind_of]
        return fits

    def time_memory_and_vcpus(self, fleet: Fleet) -> None:
        self.memory_and_vcpus(fleet)

    def time_everything(self, fleet: Fleet) -> None:
        self.everything(fleet)

    def track_kinds(self, fleet: Fleet) -> int:
        return len(PoolMobility(fleet.tables, 0).example)
