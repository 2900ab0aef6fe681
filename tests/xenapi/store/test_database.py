"""The database against a recomputation: sums, indexes, journal, snapshots; and what a restart of reading would see."""

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from small_pool import build_database, everything, vm_row

from xenmem.units import GIB
from xenmem.xenapi import Database, Failure, Pool
from xenmem.xenapi.store.accounting import DYNAMIC_MAX, DYNAMIC_MIN, STATIC_MAX, used_memory
from xenmem.xenapi.store.database import Origin

AddVM = Callable[..., Any]
NULL = "OpaqueRef:NULL"
HOSTS = ("h1", "h2", "gone", NULL)
LIMITS = ("memory_static_max", "memory_dynamic_max", "memory_dynamic_min", "memory_overhead")


class Author:
    def __init__(self, message: str) -> None:
        self.origin = Origin("me", 0.0, message)


def check(database: Database) -> None:
    """Every sum and index equals what the rows say."""
    for host in database.host:
        resident = [vm for vm in database.VM if vm.resident_on == host.ref]
        scheduled = [vm for vm in database.VM if vm.scheduled_to_be_resident_on == host.ref]
        for policy in (STATIC_MAX, DYNAMIC_MAX, DYNAMIC_MIN):
            assert getattr(host, policy.used) == sum(used_memory(vm, policy) for vm in resident + scheduled)
        assert set(host.resident_VMs) == {vm.ref for vm in resident}
        assert set(host.scheduled) == {vm.ref for vm in scheduled}
    for group in database.VM_group:
        assert set(group.VMs) == {vm.ref for vm in database.VM if group.ref in vm.groups}
    for table in database.tables.values():
        assert list(table.refs()) == sorted(table.rows, reverse=True)
        for row in table:
            assert table.by_uuid(row.uuid) is row
            if "name_label" in table.schema.fields:
                same = [other.ref for other in table if other.name_label == row.name_label]
                assert table.by_name_label(row.name_label) == sorted(same, reverse=True)


def change_something(database: Database, dice: random.Random) -> None:
    vms = [vm for vm in database.VM if not vm.is_control_domain]
    kind = dice.randrange(10)
    if kind == 0 or not vms:
        vm = vm_row(database, f"vm{dice.randrange(10**9)}", resident_on=dice.choice(HOSTS))
        database.create(vm)
    elif kind == 1:
        database.destroy(dice.choice(vms))
    elif kind == 2:
        group = database.new_row("VM_group", placement="anti_affinity")
        database.create(group)
        database.write(dice.choice(vms), "groups", (group.ref,))
    elif kind == 3:
        database.write(dice.choice(vms), "name_label", dice.choice(("a", "b", "")))
    elif kind == 4:
        database.write(dice.choice(vms), dice.choice(LIMITS), dice.randrange(-4 * GIB, 9 * GIB))
    elif kind == 5:
        values = {"resident_on": dice.choice(HOSTS), "scheduled_to_be_resident_on": dice.choice(HOSTS)}
        amounts = {limit: dice.randrange(9 * GIB) for limit in dice.sample(LIMITS, 2)}
        database.update(dice.choice(vms), {**amounts, **values, "name_label": dice.choice(("a", "b"))})
    elif kind in (6, 7):
        vm, host = dice.choice(vms), dice.choice([*database.host])
        if kind == 6:
            database.write(vm, "scheduled_to_be_resident_on", host.ref)
        database.settle(vm, host, {dice.choice(LIMITS): dice.randrange(9 * GIB), "domid": dice.randrange(9)})
        assert (vm.resident_on, vm.scheduled_to_be_resident_on) == (host.ref, NULL)
    else:
        field = dice.choice(("resident_on", "scheduled_to_be_resident_on"))
        database.write(dice.choice(vms), field, dice.choice(HOSTS))


@pytest.mark.parametrize("seed", range(5))
def test_random_changes(seed: int) -> None:
    dice = random.Random(seed)
    pool = Pool(build_database())
    database = pool.database
    snapshots = [(database.snapshot(), everything(pool))]
    for number in range(300):
        change_something(database, dice)
        if number % 50 == 0:
            check(database)
            snapshots.append((database.snapshot(), everything(pool)))
    check(database)
    for snapshot, state in reversed(snapshots):
        database.restore(snapshot)
        for key, fields in state.items():
            assert everything(pool).get(key) == fields
        assert everything(pool).keys() - state.keys() <= {("VM_metrics", ref) for ref in database.VM_metrics.rows}
        check(database)


def test_a_snapshot_that_was_undone_past_is_refused(add_vm: AddVM, pool: Pool) -> None:
    vm = add_vm()
    database = pool.database
    first = database.snapshot()
    database.write(vm, "order", 1)
    second = database.snapshot()
    database.restore(first)
    database.write(vm, "order", 2)
    with pytest.raises(ValueError, match="does not lead back"):
        database.restore(second)
    database.restore(first)
    assert vm.order == 0


@pytest.mark.parametrize("before", ["OpaqueRef:NULL", "h1", "h2"])
def test_settling_is_one_change(add_vm: AddVM, pool: Pool, before: str) -> None:
    vm, database = add_vm(resident_on=before), pool.database
    database.write(vm, "scheduled_to_be_resident_on", "h1")
    start, generation, recounts = database.snapshot(), database.generation, database.recounts
    database.settle(vm, database.host["h1"], {"domid": 7, "order": vm.order})
    assert database.generation == vm.mtime == generation + 1
    expected = [("scheduled_to_be_resident_on", "h1", NULL), ("domid", -1, 7)]
    if before != "h1":
        expected.insert(0, ("resident_on", before, "h1"))
        assert database.host["h1"].mtime == generation + 1
    assert [(change.field, change.old, change.new) for change in database.journal(start)] == expected
    assert set(database.recounted_since(recounts)) == {before} - {NULL}, "h1 counts what it counted"
    check(database)
    database.restore(start)
    assert (vm.resident_on, vm.scheduled_to_be_resident_on, vm.domid) == (before, "h1", -1)
    check(database)


def test_setting_what_is_set_changes_nothing(add_vm: AddVM, pool: Pool) -> None:
    vm, database = add_vm(), pool.database
    before = database.generation, database.snapshot(), vm.mtime
    database.update(vm, {"order": vm.order, "name_label": vm.name_label})
    assert (database.generation, database.snapshot(), vm.mtime) == before


def test_the_journal_is_bounded() -> None:
    database = Database(max_journal=10)
    vm = vm_row(database, "vm")
    database.load("VM", [vm])
    snapshot = database.snapshot()
    for order in range(1, 30):
        database.write(vm, "order", order)
    assert len(database.journal()) <= 10
    with pytest.raises(ValueError, match="does not lead back"):
        database.restore(snapshot)
    recent = database.snapshot()
    database.write(vm, "order", -1)
    database.restore(recent)
    assert vm.order == 29


def test_journal_says_who_changed_what(add_vm: AddVM, pool: Pool) -> None:
    vm = add_vm()
    database = pool.database
    start = database.snapshot()
    database.author = Author("VM.first")
    database.write(vm, "order", 1)
    database.write(vm, "start_delay", 2)
    database.author = Author("VM.second")
    database.write(vm, "order", 3)
    database.write(vm, "order", 3)
    changes = database.journal(start)
    assert [(c.origin.message, c.class_name, c.ref, c.field, c.old, c.new) for c in changes] == [
        ("VM.first", "VM", "vm", "order", 0, 1),
        ("VM.first", "VM", "vm", "start_delay", 0, 2),
        ("VM.second", "VM", "vm", "order", 1, 3),
    ]
    database.undo()
    assert (vm.order, vm.start_delay) == (1, 2)
    database.undo()
    assert (vm.order, vm.start_delay) == (0, 0)
    with pytest.raises(ValueError, match="does not hold"):
        database.undo()


def test_changed_since(add_vm: AddVM, pool: Pool) -> None:
    first, second = add_vm("a"), add_vm("b")
    database = pool.database
    assert list(database.VM.changed_since(database.generation)) == []
    start = database.generation
    database.write(first, "order", 1)
    database.write(second, "order", 1)
    database.write(first, "order", 2)
    assert list(database.VM.changed_since(start)) == [first, second]
    assert list(database.VM.changed_since(database.generation - 1)) == [first]
    database.write(first, "resident_on", "h1")
    assert [host.ref for host in database.host.changed_since(start)] == ["h1"]


def test_tasks_and_sessions_survive_a_restore(pool: Pool, session: Any) -> None:
    snapshot = pool.database.snapshot()
    task = session.xenapi.Async.VM.get_cooperative("x")
    pool.database.restore(snapshot)
    assert session.xenapi.task.get_status(task) == "success"


def test_handles_and_uuids(pool: Pool) -> None:
    with pytest.raises(Failure) as raised:
        pool.database.VM_metrics["x"]
    assert raised.value.details == ["HANDLE_INVALID", "VM_metrics", "x"]
    with pytest.raises(Failure) as raised:
        pool.database.host.by_uuid("x")
    assert raised.value.details == ["UUID_INVALID", "host", "x"]


def test_no_update_is_lost_between_threads(pool: Pool, session: Any, add_vm: AddVM) -> None:
    """Single-value setters from several threads: sums stay right whatever the order."""
    for number in range(8):
        add_vm(f"vm{number}", power_state="Running")

    def work(number: int) -> None:
        for step in range(200):
            session.xenapi.VM.set_memory_dynamic_min(f"vm{number}", str(1 * GIB + step * 4096))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(pool.database)


@pytest.mark.parametrize("size", [100, 10_000])
def test_the_journal_is_bounded_by_what_its_values_take(size: int) -> None:
    database = Database(seed=1, max_journal_bytes=1_000_000)
    vm = vm_row(database, "vm")
    database.load("VM", [vm])
    recent = database.snapshot()
    for number in range(2_000):
        if number == 1_990:
            recent = database.snapshot()
        database.write(vm, "name_description", f"{number:5}" + "x" * size)
    kept = database.journal()
    assert sum(len(change.new) for change in kept) <= 1_000_000
    assert len(kept) >= min(2_000, 400_000 // size)
    database.restore(recent)
    assert vm.name_description.startswith(" 1989")


def test_rows_and_maps_weigh_in_the_journal() -> None:
    database = Database(seed=1, max_journal_bytes=100_000)
    vm = vm_row(database, "vm")
    database.load("VM", [vm])
    for number in range(200):
        database.write(vm, "other_config", {**vm.other_config, f"{number}": "x"})
    assert len(database.journal()) < 100
    for number in range(200):
        database.create(vm_row(database, f"vm{number}", name_description="x" * 5_000))
    assert len(database.journal()) < 40
