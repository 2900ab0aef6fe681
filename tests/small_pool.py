"""A pool of two hosts, small enough to know every number, and what tests ask of a pool."""

from collections.abc import Callable
from typing import Any

import pytest

from xenmem.units import GIB, MIB
from xenmem.xenapi import Database, Failure, Pool


def build_database() -> Database:
    """Hosts h1 (coordinator) and h2 with 64 GiB, 1 GiB of overhead and a domain 0 of 2 GiB each."""
    database = Database(seed=1)
    for name in ("h1", "h2"):
        database.load("host_metrics", [row(database, "host_metrics", f"{name}m", memory_total=64 * GIB, live=True)])
        host = row(
            database,
            "host",
            name,
            name_label=name,
            metrics=f"{name}m",
            memory_overhead=1 * GIB,
            control_domain=f"{name}dom0",
            cpu_info={"cpu_count": "16"},
            capabilities=("hvm-3.0-x86_64",),
            software_version={"xapi_build": "26.17.0", "xapi": "26.17"},
        )
        database.load("host", [host])
        dom0 = vm_row(
            database,
            f"{name}dom0",
            is_control_domain=True,
            power_state="Running",
            resident_on=name,
            domain_type="pv",
            memory_overhead=0,
            **limits(2 * GIB),
        )
        database.load("VM", [dom0])
    database.load("pool", [row(database, "pool", "p", master="h1", restrictions={"restrict_dmc": "false"})])
    return database


def row(database: Database, class_name: str, ref: str, **values: Any) -> Any:
    made = database.new_row(class_name, **values)
    made.ref = ref
    return made


def limits(value: int) -> dict[str, int]:
    names = ("memory_static_min", "memory_dynamic_min", "memory_dynamic_max", "memory_static_max")
    return dict.fromkeys(names, value)


def vm_row(database: Database, ref: str, **values: Any) -> Any:
    """A VM with metrics: hvm, 2 vCPUs, limits of 1, 2, 3 and 4 GiB, and the overhead that goes with them."""
    database.load("VM_metrics", [row(database, "VM_metrics", f"{ref}m")])
    defaults = {
        "name_label": ref,
        "metrics": f"{ref}m",
        "domain_type": "hvm",
        "VCPUs_max": 2,
        "VCPUs_at_startup": 2,
        "memory_static_min": 1 * GIB,
        "memory_dynamic_min": 2 * GIB,
        "memory_dynamic_max": 3 * GIB,
        "memory_static_max": 4 * GIB,
        "memory_overhead": 37 * MIB,
    }
    return row(database, "VM", ref, **defaults | values)


def everything(pool: Pool) -> dict[str, Any]:
    """Every field of every row that is part of the inventory, and every sum."""
    state: dict[str, Any] = {}
    for name, table in pool.database.tables.items():
        if table.schema.persistent:
            for one in table:
                state[name, one.ref] = {field: getattr(one, field) for field in table.schema.fields}
    for host in pool.database.host:
        state["used", host.ref] = (
            host.used_static_max,
            host.used_dynamic_max,
            host.used_dynamic_min,
            set(host.resident),
            set(host.scheduled),
        )
    return state


def refused(pool: Pool, send: Callable[[], Any]) -> list[str]:
    """The details of the failure that a call must raise, having changed nothing."""
    before = everything(pool)
    with pytest.raises(Failure) as raised:
        send()
    assert everything(pool) == before
    details = raised.value.details
    assert all(type(detail) is str for detail in details)
    return list(details)


# ------------------------------------------------------------------------------------------------------------- devices


def storage(database: Database, *hosts: str, ref: str = "sr", shared: bool = True) -> None:
    """An SR that some hosts see."""
    database.load("SR", [row(database, "SR", ref, shared=shared, type="nfs")])
    pbds = [row(database, "PBD", f"{ref}-{host}", SR=ref, host=host, currently_attached=True) for host in hosts]
    database.load("PBD", pbds)


def disk(database: Database, vm: str, sr: str = "sr", **values: Any) -> None:
    """A disk of a VM, and its VBD, both called after it."""
    database.load("VDI", [row(database, "VDI", f"{vm}-disk", SR=sr, managed=True)])
    vbd = {"VM": vm, "VDI": f"{vm}-disk", "type": "Disk", "mode": "RW", **values}
    database.load("VBD", [row(database, "VBD", f"{vm}-vbd", **vbd)])


def network(database: Database, *hosts: str, ref: str = "net") -> None:
    """A network on which some hosts have a PIF."""
    database.load("network", [row(database, "network", ref)])
    pifs = [row(database, "PIF", f"{ref}-{host}", network=ref, host=host, physical=True) for host in hosts]
    database.load("PIF", pifs)


def vif(database: Database, vm: str, of: str = "net") -> None:
    """A VIF of a VM, called after it."""
    database.load("VIF", [row(database, "VIF", f"{vm}-vif", VM=vm, network=of)])


def gpu(database: Database, host: str, kind: str = "passthrough", **values: Any) -> None:
    """A GPU of a host in the group `gpus`, of one type, called after its implementation."""
    fields = {"implementation": kind, "size": 1 << 20, "vendor_name": "V", "model_name": "M", **values}
    database.load("VGPU_type", [row(database, "VGPU_type", kind, **fields)])
    database.load("GPU_group", [row(database, "GPU_group", "gpus")])
    database.load("PCI", [row(database, "PCI", f"{host}-pci", host=host)])
    types = {"supported_VGPU_types": (kind,), "enabled_VGPU_types": (kind,)}
    placed = {"GPU_group": "gpus", "host": host, "PCI": f"{host}-pci"}
    database.load("PGPU", [row(database, "PGPU", f"{host}-gpu", **placed, **types)])


def vgpu(database: Database, vm: str, kind: str = "passthrough", **values: Any) -> None:
    """A vGPU of a VM, called after it."""
    database.load("VGPU", [row(database, "VGPU", f"{vm}-vgpu", VM=vm, GPU_group="gpus", type=kind, **values)])


def usb(database: Database, vm: str, host: str) -> None:
    """A USB device of a host, passed to a VM."""
    database.load("USB_group", [row(database, "USB_group", "usbs")])
    database.load("PUSB", [row(database, "PUSB", "pusb", host=host, USB_group="usbs")])
    database.load("VUSB", [row(database, "VUSB", f"{vm}-vusb", VM=vm, USB_group="usbs")])


def functions(database: Database, host: str, count: int, ref: str = "sriov") -> None:
    """An SR-IOV network on a host, with so many virtual functions."""
    database.load("network", [row(database, "network", name) for name in (ref, f"{ref}-below")])
    card = [row(database, "PCI", f"{ref}-pf", host=host)]
    names = [f"{ref}-vf{number}" for number in range(count)]
    database.load("PCI", card + [row(database, "PCI", name, physical_function=f"{ref}-pf") for name in names])
    physical = row(
        database, "PIF", f"{ref}-physical", network=f"{ref}-below", host=host, physical=True, PCI=f"{ref}-pf"
    )
    database.load("PIF", [physical, row(database, "PIF", f"{ref}-logical", network=ref, host=host)])
    pifs = {"physical_PIF": f"{ref}-physical", "logical_PIF": f"{ref}-logical"}
    database.load("network_sriov", [row(database, "network_sriov", f"{ref}-row", **pifs)])


OTHER_VENDOR = "VM last booted on a host which had a CPU from a different vendor."


def other_cpu(database: Database, vm: Any) -> None:
    """Let the hosts have a CPU of another vendor than the one on which a VM booted."""
    for host in database.host:
        database.write(
            host, "cpu_info", {**host.cpu_info, "vendor": "GenuineIntel", "features_hvm": "f", "features_pv": "f"}
        )
    vm.last_boot_CPU_flags = {"vendor": "AuthenticAMD", "features": "f"}
