"""Messages as clients send them: fitting, or wrong in one place or in all; and what holds of a pool after each.

A small pool in memory with VMs of every state. Knows no wire.
"""

from datetime import datetime
from random import Random
from typing import Any
from xmlrpc.client import DateTime

from fuzz.inventories import AMOUNTS, TEXTS
from small_pool import build_database, limits, row, vm_row

from xenmem.datamodel.types import (
    BoolType,
    DateTimeType,
    EnumType,
    FloatType,
    IntType,
    MapType,
    RecordType,
    RefType,
    SetType,
    Type,
)
from xenmem.units import GIB
from xenmem.xenapi import Clock, Pool
from xenmem.xenapi.calls.message import MESSAGES, Message

NULL = "OpaqueRef:NULL"
# fmt: off
WRONG: tuple[Any, ...] = (
    None, True, 0, 1, -1, 2**63, -(2**63) - 1, 10**30, 1.5, float("nan"), float("inf"), "", "\x00", "\ud800", "0x10",
    "9" * 5000, "OpaqueRef:gone", [], {}, [[]], {"a": 1}, ["a"], [None] * 3,
)
NO_VALUES = (b"x", object(), 1j, datetime(2026, 1, 1), DateTime("x"), {1: 2}, ("a",), "x" * 400_000)
"""What no JSON carries."""
WORDS = (
    "", "a", "vm", "web", 'field "power_state" = "Running"', 'field "is_a_template" = "false" or true', "restart",
    "start", "best-effort", "clean_shutdown", "slow", "stuck", "h1", "memory", "memory_free_kib", "folder", "pci",
    "true", "hvm",
)
MAPS: tuple[dict[str, str], ...] = (
    {}, {"xenmem:guest": "slow"}, {"xenmem:guest": "stuck"}, {"xenmem:guest": "absent"}, {"live": "true"}, {"a": "b"},
    {"force": "true"}, {"nested-virt": "true"}, {"firmware": "uefi"}, {"default_template": "true"},
)
# fmt: on
SECONDS = (0, 0, 1, 60, -1, 2**63 - 1)
GENERATED = [message for _, message in sorted(MESSAGES.items()) if message.generated]
ACTING = [
    message
    for _, message in sorted(MESSAGES.items())
    if not message.generated
    and message.full_name not in ("event.next", "event.from", "session.logout", "session.local_logout")
]


def pool(random: Random) -> Pool:
    """A pool of two hosts and some VMs."""
    database = build_database()
    database.load("VM_group", [row(database, "VM_group", "g", name_label="g", placement="anti_affinity")])
    for number in range(6):
        state = random.choice(("Halted", "Halted", "Running", "Running", "Paused", "Suspended"))
        size = random.choice((GIB, 2 * GIB, 20 * GIB, 30 * GIB))
        values: dict[str, Any] = limits(size) | {
            "power_state": state,
            "domain_type": random.choice(("hvm", "pv", "pvh", "pv_in_pvh")),
            "memory_dynamic_min": size // random.choice((1, 2)),
            "other_config": random.choice(MAPS[:4]) if random.random() < 0.2 else {},
        }
        if state in ("Running", "Paused"):
            values |= {"resident_on": random.choice(("h1", "h2")), "memory_target": size, "domid": number + 1}
        if state == "Suspended":
            values["suspend_VDI"] = "disk"
        database.load("VM", [vm_row(database, f"v{number}", **values)])
    database.load("VM", [vm_row(database, "t", is_a_template=True)])
    return Pool(database, clock=Clock(1_790_000_000.0), seed=1)


def fitting(random: Random, database: Any, type: Type[Any], name: str = "") -> Any:
    """A value that the API accepts for a type, as clients send it."""
    match type:
        case IntType():
            number = random.choice(AMOUNTS) if random.random() < 0.8 else random.randrange(-2, 70)
            if "delay" in name or "timeout" in name:
                number = random.choice(SECONDS)
            return random.choice((number, str(number)))
        case FloatType():
            return random.choice((0.0, 1.0, 0.5, 1024.0, 1e308, -1.0, float("nan")))
        case BoolType():
            return random.random() < 0.5
        case RefType():
            table = database.tables.get(type.target)
            refs = list(table.rows) if table is not None else []
            return random.choice(refs) if refs and random.random() < 0.95 else random.choice((NULL, "gone", ""))
        case EnumType():
            return random.choice(type.members)
        case DateTimeType():
            return "20260821T02:00:23Z"
        case SetType():
            return [fitting(random, database, type.of) for _ in range(random.randrange(3))]
        case MapType():
            if type.key.name == type.value.name == "string":
                return dict(random.choice(MAPS))
            return {
                fitting(random, database, type.key): fitting(random, database, type.value)
                for _ in range(random.randrange(3))
            }
        case RecordType():
            names = random.sample(("memory_static_max", "platform", "affinity", "name_label", "power_state"), 3)
            return {name: random.choice((*WRONG, "1", "hvm", "4294967296")) for name in names}
        case _:
            return random.choice(WORDS if random.random() < 0.9 else TEXTS)


def call(random: Random, database: Any) -> tuple[Message, str, list[Any]]:
    """A message, the name of a method for it, and its parameters without the session."""
    message = random.choice(ACTING) if random.random() < 0.7 else random.choice(GENERATED)
    prefix = random.choice(("", "", "", "", "Async.", "InternalAsync."))
    sent = [fitting(random, database, one.type, one.name) for one in message.parameters]
    drawn = random.random()
    if drawn < 0.06 and sent:
        sent[random.randrange(len(sent))] = random.choice(WRONG)
    elif drawn < 0.08:
        sent = [random.choice(WRONG) for _ in range(random.randrange(5))]
    elif drawn < 0.09:
        sent.append(random.choice(WRONG))
    return message, prefix + message.full_name, sent


def is_of(type: Type[Any], value: Any) -> bool:
    """Whether a value is what rows hold of a type."""
    match type:
        case IntType():
            return isinstance(value, int) and -(2**63) <= value < 2**63
        case FloatType():
            return isinstance(value, float)
        case BoolType():
            return isinstance(value, bool)
        case SetType():
            return isinstance(value, tuple) and all(is_of(type.of, item) for item in value)
        case MapType():
            return isinstance(value, dict) and all(
                is_of(type.key, key) and is_of(type.value, item) for key, item in value.items()
            )
        case RecordType():
            return isinstance(value, dict)
        case _:
            return type.name == "void" or isinstance(value, str)


def check_sums(database: Any) -> None:
    """What follows from the rows is what they say."""
    for host in database.host:
        resident = [vm for vm in database.VM if vm.resident_on == host.ref]
        scheduled = [vm for vm in database.VM if vm.scheduled_to_be_resident_on == host.ref]
        assert set(host.resident) == {vm.ref for vm in resident}
        assert set(host.scheduled) == {vm.ref for vm in scheduled}
        for policy in ("static_max", "dynamic_max", "dynamic_min"):
            used = sum(getattr(vm, f"memory_{policy}") + vm.memory_overhead for vm in (*resident, *scheduled))
            assert getattr(host, f"used_{policy}") == used, policy
    for group in database.VM_group:
        assert set(group.members) == {vm.ref for vm in database.VM if group.ref in vm.groups}
