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
