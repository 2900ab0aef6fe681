"""Messages to a pool in memory: what each costs, and whether that depends on the size of the pool."""

from collections.abc import Callable
from functools import cache
from typing import Any

from xenmem import Fleet
from xenmem.units import GIB
from xenmem.xenapi import Session

from . import databases

VMS = [1_600, 100_000]
CALLS = 400
"""Messages of one sample: too many to be timed one by one, and few enough that starts find halted VMs."""
MESSAGES = [
    "VM.get_memory_static_max",
    "VM.get_record",
    "host.compute_free_memory",
    "VM.set_memory",
    "VM.set_memory_dynamic_range",
    "VM.start",
    "VM.start_on",
    "VM.hard_shutdown",
    "VM.suspend",
    "VM.pool_migrate",
]


class Message:
    """Is a message's time independent of the size of the pool? 400 messages of one kind, to VMs or hosts in turn.

    Each sample starts from the same pool. 100 VMs on a host, half of them running.
    """

    params = (MESSAGES, VMS)
    param_names = ("message", "vms")
    rounds = 1
    repeat = (5, 20, 10.0)
    timeout = 300

    def setup(self, message: str, vms: int) -> None:
        session, start = pool(vms)
        session.pool.database.restore(start)
        self.send = sender(session, message, vms)

    def time_400(self, message: str, vms: int) -> None:
        send = self.send
        for number in range(CALLS):
            send(number)


@cache
def pool(vms: int) -> tuple[Session, Any]:
    """The pool, and the state that each sample starts from."""
    session = databases.session(vms // 100, vms)
    return session, session.pool.database.snapshot()


@cache
def sender(session: Session, message: str, vms: int) -> Callable[[int], Any]:
    """Sends the message to the VM or host of that number. Fails where a message has not the effect that it should."""
    class_name, _, name = message.partition(".")
    send = getattr(getattr(session.xenapi, class_name), name)
    rows = session.pool.database.VM.rows
    running = [databases.ref("VM", number) for number in range(0, vms, 2)]
    halted = [databases.ref("VM", number) for number in range(1, vms, 2)]
    hosts = [databases.ref("host", number) for number in range(vms // 100)]

    def of_static_max(vm: str, part: int) -> str:
        return str(rows[vm].memory_static_max // part)

    senders: dict[str, Callable[[int], Any]] = {
        "VM.get_memory_static_max": lambda n: send(running[n]),
        "VM.get_record": lambda n: send(running[n]),
        "host.compute_free_memory": lambda n: send(hosts[n % len(hosts)]),
        "VM.set_memory": lambda n: send(halted[n], str((4 + n % 2) * GIB)),
        "VM.set_memory_dynamic_range": lambda n: send(
            running[n], of_static_max(running[n], 2 + n % 2), of_static_max(running[n], 1)
        ),
        "VM.start": lambda n: send(halted[n], False, False),
        "VM.start_on": lambda n: send(halted[n], hosts[n % len(hosts)], False, False),
        "VM.hard_shutdown": lambda n: send(running[n]),
        "VM.suspend": lambda n: send(running[n]),
        "VM.pool_migrate": lambda n: send(running[n], hosts[(n + 1) % len(hosts)], {}),
    }
    effects: dict[str, Callable[[Any], bool]] = {
        "VM.get_memory_static_max": lambda answer: answer == of_static_max(running[0], 1),
        "VM.get_record": lambda answer: answer["memory_static_max"] == of_static_max(running[0], 1),
        "host.compute_free_memory": lambda answer: int(answer) > 0,
        "VM.set_memory": lambda _: rows[halted[0]].memory_static_max == 4 * GIB,
        "VM.set_memory_dynamic_range": lambda _: (
            rows[running[0]].memory_dynamic_max == int(of_static_max(running[0], 1))
        ),
        "VM.start": lambda _: rows[halted[0]].power_state == "Running",
        "VM.start_on": lambda _: rows[halted[0]].resident_on == hosts[0],
        "VM.hard_shutdown": lambda _: rows[running[0]].power_state == "Halted",
        "VM.suspend": lambda _: rows[running[0]].power_state == "Suspended",
        "VM.pool_migrate": lambda _: rows[running[0]].resident_on == hosts[1],
    }
    start = session.pool.database.snapshot()
    if not effects[message](senders[message](0)):
        raise AssertionError(f"{message} has not the effect that it should have")
    session.pool.database.restore(start)
    return senders[message]


class Recomputed:
    """What would a script pay that adds up one host's free memory from the records of all VMs?"""

    def setup(self) -> None:
        self.records = records()

    def time_free_memory(self) -> None:
        Fleet.from_records(self.records).free_memory("dynamic_min")


@cache
def records() -> dict[str, dict[str, dict[str, Any]]]:
    session, _ = pool(VMS[0])
    found = {name: getattr(session.xenapi, name).get_all_records() for name in ("host", "host_metrics", "VM", "pool")}
    fleet = Fleet.from_records(found)
    free = dict(zip(fleet.hosts.ref, fleet.free_memory("dynamic_min").tolist(), strict=True))
    if any(amount != int(session.xenapi.host.compute_free_memory(host)) for host, amount in free.items()):
        raise AssertionError("the records give another free memory than the message")
    return found


class Records:
    """VM.get_all_records as a client gets it."""

    params = ([1_000, 12_839],)
    param_names = ("vms",)

    def setup(self, vms: int) -> None:
        self.session, _ = pool(vms)

    def time_all_records(self, vms: int) -> None:
        self.session.xenapi.VM.get_all_records()
