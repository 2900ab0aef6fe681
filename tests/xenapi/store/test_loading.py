"""Eight threads that start, stop and move VMs of one pool: nothing is lost, and the journal tells all of it."""

import random
import sys
import threading
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from small_pool import everything, row

from xenmem.units import GIB, MIB
from xenmem.xenapi import Change, Clock, Database, Failure, Pool, Session, Snapshot
from xenmem.xenapi.store.accounting import DYNAMIC_MAX, DYNAMIC_MIN, STATIC_MAX, used_memory

HOSTS = 64
VMS = 800
THREADS = 8
MESSAGES = 100_000
HOST_MEMORY = 24 * GIB
NULL = "OpaqueRef:NULL"
POLICIES = (STATIC_MAX, DYNAMIC_MAX, DYNAMIC_MIN)


def build_pool() -> Pool:
    """Room for about two thirds of the VMs at once."""
    database = Database(seed=1)
    for number in range(HOSTS):
        values = {"memory_total": HOST_MEMORY + GIB, "live": True}
        database.load("host_metrics", [row(database, "host_metrics", f"h{number}m", **values)])
        host = row(
            database,
            "host",
            f"h{number}",
            metrics=f"h{number}m",
            memory_overhead=GIB,
            enabled=True,
            cpu_info={"cpu_count": "16"},
            capabilities=("hvm",),
            software_version={"xapi_build": "26.17.0"},
        )
        database.load("host", [host])
    database.load("pool", [row(database, "pool", "p", master="h0", restrictions={"restrict_dmc": "false"})])
    for number in range(VMS):
        database.load("VM_metrics", [row(database, "VM_metrics", f"vm{number}m")])
        memory = (1 + number % 5) * GIB
        vm = row(
            database,
            "VM",
            f"vm{number}",
            metrics=f"vm{number}m",
            domain_type="pvh",
            VCPUs_max=1,
            VCPUs_at_startup=1,
            HVM_shadow_multiplier=1.0,
            memory_static_min=memory,
            memory_dynamic_min=memory,
            memory_dynamic_max=memory,
            memory_static_max=memory,
            memory_overhead=12 * MIB,
        )
        database.load("VM", [vm])
    return Pool(database, clock=Clock(0.0), seed=1)


def load(pool: Pool, count: int) -> Counter[tuple[str, str]]:
    """Send so many messages from all threads; answers how many of each name had which outcome."""
    outcomes: list[Counter[tuple[str, str]]] = [Counter() for _ in range(THREADS)]
    broken: list[BaseException] = []

    def work(number: int) -> None:
        session, dice = Session(pool), random.Random(number)
        session.login_with_password("root", "")
        vms = session.xenapi.VM
        for _ in range(count // THREADS):
            vm, host = f"vm{dice.randrange(VMS)}", f"h{dice.randrange(HOSTS)}"
            name, *more = dice.choice(
                (
                    ("start", False, False),
                    ("start", False, False),
                    ("start_on", host, False, False),
                    ("hard_shutdown",),
                    ("clean_shutdown",),
                    ("pool_migrate", host, {}),
                )
            )
            try:
                getattr(vms, name)(vm, *more)
                outcomes[number][name, "Success"] += 1
            except Failure as failure:
                outcomes[number][name, failure.details[0]] += 1

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            broken.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(THREADS)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # so that threads meet in the middle of messages
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert broken == []
    return sum(outcomes, Counter())


def replay(state: dict[Any, Any], journal: Iterable[Change]) -> None:
    """The journal, change by change, on what the rows were: each finds the value that it replaced.

    Between two messages no host has more VMs than memory.
    """
    used = Counter({key[1]: 0 for key in state if key[0] == "host"})
    origin: Any = None
    for change in journal:
        if change.origin is not origin:
            assert all(value <= HOST_MEMORY for value in used.values())
            origin = change.origin
        fields = state[change.class_name, change.ref]
        assert change.field is not None
        assert fields[change.field] == change.old
        if change.field in ("resident_on", "scheduled_to_be_resident_on"):
            memory = fields["memory_dynamic_min"] + fields["memory_overhead"]
            used[change.old] -= memory
            used[change.new] += memory
            used[NULL] = 0
        fields[change.field] = change.new


def check_load(count: int) -> Counter[tuple[str, str]]:
    pool = build_pool()
    state = everything(pool)
    start: Snapshot = pool.database.snapshot()
    outcomes = load(pool, count)
    assert outcomes.total() == count // THREADS * THREADS
    journal = pool.database.journal(start)
    replay(state, journal)
    ended = everything(pool)
    for key, fields in state.items():
        if key[0] == "host":
            fields["resident_VMs"] = tuple(sorted(vm.ref for vm in pool.database.VM if vm.resident_on == key[1]))
        if key[0] != "used":
            assert ended[key] == fields
    for host in pool.database.host:
        there = [vm for vm in pool.database.VM if vm.resident_on == host.ref]
        assert all(vm.scheduled_to_be_resident_on == NULL for vm in there)
        for policy in POLICIES:
            assert getattr(host, policy.used) == sum(used_memory(vm, policy) for vm in there)
    pool.database.restore(start)
    assert {key: fields for key, fields in everything(pool).items() if key[0] == "VM"} == {
        key: fields for key, fields in everything(build_pool()).items() if key[0] == "VM"
    }
    return outcomes


@pytest.mark.slow
def test_no_update_is_lost() -> None:
    outcomes = check_load(MESSAGES)
    succeeded = {name for name, outcome in outcomes if outcome == "Success"}
    assert succeeded == {"start", "start_on", "hard_shutdown", "clean_shutdown", "pool_migrate"}
    assert outcomes["start_on", "HOST_NOT_ENOUGH_FREE_MEMORY"]
