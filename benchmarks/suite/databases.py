"""Pools of any size in memory, made from a fixed seed, for the benchmarks of the messages. Amounts are bytes."""

import random
from typing import Any

from xenmem.units import GIB, MIB
from xenmem.xenapi import Clock, Database, Pool, Session
from xenmem.xenapi.store.rows import ROW_CLASSES

START = 1_790_000_000.0
NULL = "OpaqueRef:NULL"


def database(hosts: int, vms: int, *, host_memory: int = 1 << 40, max_journal: int | None = None) -> Database:
    """Hosts with room left, and VMs of 1 to 8 GiB of which every second runs and can balloon to a half.

    Parameters
    ----------
    hosts, vms : how many
    host_memory : of each host
    max_journal : see Database
    """
    dice = random.Random(20_26)
    made = Database(seed=1) if max_journal is None else Database(seed=1, max_journal=max_journal)
    made.load("host_metrics", (row("host_metrics", n, memory_total=host_memory, live=True) for n in range(hosts)))
    made.load("host", (_host(n) for n in range(hosts)))
    made.load("pool", [row("pool", 0, master=ref("host", 0), restrictions={"restrict_dmc": "false"})])
    made.load("VM_metrics", (row("VM_metrics", n, current_domain_type="pvh", hvm=True) for n in range(vms)))
    made.load("VM", (_vm(n, n % hosts, dice) for n in range(vms)))
    return made


def _host(number: int) -> Any:
    return row(
        "host",
        number,
        metrics=ref("host_metrics", number),
        memory_overhead=1 * GIB,
        enabled=True,
        cpu_info={"cpu_count": "64"},
        capabilities=("hvm-3.0-x86_64",),
        software_version={"xapi_build": "26.17.0"},
    )


def _vm(number: int, host: int, dice: random.Random) -> Any:
    runs = number % 2 == 0
    static_max = dice.randrange(1, 9) * GIB
    return row(
        "VM",
        number,
        metrics=ref("VM_metrics", number),
        power_state="Running" if runs else "Halted",
        resident_on=ref("host", host) if runs else NULL,
        domain_type="pvh",
        HVM_boot_policy="BIOS order",
        HVM_shadow_multiplier=1.0,
        VCPUs_max=2,
        VCPUs_at_startup=2,
        memory_static_min=static_max // 4,
        memory_dynamic_min=static_max // 2,
        memory_dynamic_max=static_max,
        memory_static_max=static_max,
        memory_target=static_max // 2 if runs else 0,
        memory_overhead=(static_max // GIB * 8 + 5) * MIB,
        other_config={"folder": "/bench"},
        platform={"acpi": "1", "apic": "true"},
    )


def ref(class_name: str, number: int) -> str:
    """The reference of a row."""
    return f"OpaqueRef:{class_name}-{number:06}"


def row(class_name: str, number: int, **values: Any) -> Any:
    """A row of this number, not yet in a database."""
    made = ROW_CLASSES[class_name](ref(class_name, number))
    values["uuid"] = f"{class_name}-{number:06}"
    values["name_label"] = f"{class_name.lower()} {number:06}"
    for name, value in values.items():
        if name in made.schema.fields:
            setattr(made, name, value)
    return made


def session(hosts: int, vms: int, **options: Any) -> Session:
    """A session, logged in, with such a pool."""
    made = Session(Pool(database(hosts, vms, **options), clock=Clock(START), seed=1))
    made.login_with_password("root", "")
    return made
