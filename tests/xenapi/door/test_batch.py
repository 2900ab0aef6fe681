"""Arrays against the messages one at a time, and transactions: all or nothing."""

import itertools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from small_pool import build_database, disk, everything, network, row, storage, usb, vif, vm_row

from xenmem.kernel import checks
from xenmem.units import GIB, MIB
from xenmem.xenapi import Clock, Database, Failure, Pace, Pool, Session
from xenmem.xenapi.door.batch import Batch, TransactionError

AddVM = Callable[..., Any]
NULL = "OpaqueRef:NULL"
HOSTS = ("h1", "h2", "off", "dead", "small", "gone")


def build_session(seed: int, *, devices: bool = False) -> Session:
    """A pool of hosts and VMs that differ in everything that a start asks for, also in devices if they have any."""
    dice = random.Random(seed)
    database = build_database()
    for name, values in {
        "off": {"enabled": False},
        "dead": {},
        "small": {"cpu_info": {}, "capabilities": (), "virtual_hardware_platform_versions": (0, 1)},
    }.items():
        memory = dice.choice((4, 8, 64)) * GIB
        database.load("host_metrics", [row(database, "host_metrics", f"{name}m", memory_total=memory)])
        database.host_metrics[f"{name}m"].live = name != "dead"
        host = {"cpu_info": {"cpu_count": "4"}, "capabilities": ("hvm",), "software_version": {"xapi": "1.3"}}
        database.load("host", [row(database, "host", name, metrics=f"{name}m", **host | values)])
    for number in range(60):
        vm = vm_row(
            database,
            f"vm{number}",
            power_state=dice.choice(("Halted", "Halted", "Running", "Suspended")),
            domain_type=dice.choice(("hvm", "hvm", "pv", "pvh", "pv_in_pvh", "unspecified")),
            memory_dynamic_min=dice.choice((1, 1, 2, 2, 3, 3, 3, 60, -1)) * GIB,
            memory_static_max=dice.choice((0, 4, 4, 4, 60)) * GIB,
            VCPUs_max=dice.choice((0, 1, 2, 4, 4, 8, 32)),
            VCPUs_at_startup=dice.choice((1, 1, 2)),
            HVM_shadow_multiplier=dice.choice((1.0, 1.0, 1.0, 1.0, 0.5, 4.0)),
            hardware_platform_version=dice.choice((0, 0, 0, 0, 2)),
            platform=dice.choice(({}, {"vcpu-unrestricted": "true"})),
            scheduled_to_be_resident_on=dice.choice((NULL,) * 6 + HOSTS),
            is_control_domain=dice.random() < 0.2,
            affinity=dice.choice((NULL, "h2", "off")),
            actions_after_crash=dice.choice(("restart",) * 6 + ("rename_restart", "coredump_and_restart")),
        )
        if vm.power_state == "Running":
            vm.resident_on = dice.choice(HOSTS[:5])
        database.load("VM", [vm])
        database.VM_metrics[vm.metrics].current_domain_type = dice.choice(("unspecified", "hvm", "pv"))
    for name in ("h1", "h2"):
        database.host_metrics[f"{name}m"].memory_total = 512 * GIB
    pool = dict(dice.choice(({}, {}, {"rolling_upgrade_in_progress": ""})))
    database.the_pool.other_config = pool
    database.the_pool.restrictions = dict(dice.choice(({"restrict_dmc": "false"}, {"restrict_vm_start": "true"})))
    if devices:
        give_devices(database, dice)
    session = Session(Pool(database, clock=Clock(0.0)))
    session.login_with_password("root", "")
    return session


def details(send: Callable[[], Any]) -> list[str] | None:
    try:
        send()
    except Failure as failure:
        return list(failure.details)
    return None


def give_devices(database: Database, dice: random.Random) -> None:
    """Storage, networks and CPUs that not all hosts have, and a USB device."""
    here = HOSTS[:5]
    for ref in ("sr", "other"):
        storage(database, *dice.sample(here, 4), ref=ref)
    network(database, *dice.sample(here, 4))
    network(database, ref="internal")
    for host in database.host:
        features = dice.choice(("f", "7", "ff"))
        host.cpu_info = {**host.cpu_info, "vendor": "v", "features_hvm": features, "features_pv": features}
    pif = dice.choice(list(database.tables["PIF"]))
    pif.bond_slave_of = dice.choice((NULL, "gone"))
    for vm in list(database.VM):
        vm.last_boot_CPU_flags = dice.choice(
            ({}, {"vendor": "v", "features": dice.choice(("3", "f", "f1"))}, {"vendor": "w"})
        )
        if dice.random() < 0.5:
            disk(database, vm.ref, dice.choice(("sr", "sr", "other", "gone" if dice.random() < 0.2 else "sr")))
        if dice.random() < 0.5:
            vif(database, vm.ref, dice.choice(("net", "net", "net", "internal")))
    usb(database, "vm0", "h1")


@pytest.mark.parametrize("devices", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_boot_matrix_equals_the_message(seed: int, devices: bool) -> None:
    session = build_session(seed, devices=devices)
    batch = Batch(session)
    vms = [*session.pool.database.VM.refs(), "nobody"]
    for _ in range(2):
        matrix = batch.can_boot_here(vms, HOSTS)
        for number, vm in enumerate(vms):
            for place, host in enumerate(HOSTS):
                reason = details(lambda vm=vm, host=host: session.xenapi.VM.assert_can_boot_here(vm, host))
                assert matrix[number, place] == (reason is None), (vm, host, reason)
                assert batch.reason("VM.assert_can_boot_here", vm, host) == reason
        change_everything(session, seed)
    assert 0 < matrix.sum() < matrix.size


def change_everything(session: Session, seed: int) -> None:
    """Changes that the kept needs of VMs must follow."""
    database, dice = session.pool.database, random.Random(seed)
    for vm in list(database.VM):
        match dice.randrange(5):
            case 0:
                database.write(vm, "memory_dynamic_min", dice.choice((1, 3, 50)) * GIB)
            case 1:
                database.write(database.VM_metrics[vm.metrics], "current_domain_type", dice.choice(("hvm", "pv")))
            case 2:
                database.write(vm, "power_state", "Halted")
    database.write(database.the_pool, "restrictions", {"restrict_dmc": "false"})
    database.write(database.host["h1"], "software_version", {"xapi_build": "24.1.0"})
    for table in ("VDI", "VIF", "PBD"):
        for changed in dice.sample(list(database.tables[table]), len(database.tables[table]) // 3):
            match table:
                case "VDI":
                    database.write(changed, "SR", dice.choice(("sr", "other")))
                case "VIF":
                    database.write(changed, "network", dice.choice(("net", "internal")))
                case _:
                    database.write(changed, "currently_attached", False)


def test_what_is_kept_follows_every_change() -> None:
    """A Batch that was asked before, after changes of all that a VM's needs depend on, against the message itself."""
    session = build_session(2)
    pool, database = session.pool, session.pool.database
    database.write(database.the_pool, "restrictions", {"restrict_dmc": "false"})
    database.write(database.the_pool, "other_config", {})
    for host in ("off", "small"):
        database.write(database.host_metrics[f"{host}m"], "memory_total", 512 * GIB)
    database.write(database.host["small"], "cpu_info", {"cpu_count": "16"})
    kept = Batch(session)
    vms = [*database.VM.refs(), "late"]
    seen = [kept.can_boot_here(vms, HOSTS)]
    start = database.snapshot()

    def change(*rows: Any, **values: Any) -> Callable[[], None]:
        return lambda: [database.update(one, values) for one in rows].clear()

    everybody, metrics = list(database.VM), list(database.VM_metrics)
    others = [vm for vm in everybody if not vm.is_control_domain]
    late = vm_row(database, "late", memory_static_min=0, memory_dynamic_min=1 * GIB, metrics="latem2")
    running = [vm for vm in everybody if vm.power_state == "Running"]
    steps = (
        change(*everybody, memory_dynamic_min=2 * GIB, memory_dynamic_max=2 * GIB),
        change(*everybody, memory_dynamic_min=100 * GIB, memory_dynamic_max=100 * GIB),
        change(*everybody, memory_dynamic_min=1 * GIB, memory_static_max=2 * GIB),
        change(*everybody, memory_static_min=0, VCPUs_max=2, VCPUs_at_startup=1, HVM_shadow_multiplier=1.0),
        change(*everybody, actions_after_crash="restart", hardware_platform_version=0),
        change(*metrics, current_domain_type="pv"),
        change(*metrics, current_domain_type="hvm"),
        change(*everybody, domain_type="unspecified"),
        change(*everybody, domain_type="pv"),
        lambda: [database.destroy(database.VM_metrics[vm.metrics]) for vm in running].clear(),
        change(database.host["off"], database.host["h2"], enabled=False),
        change(database.host["off"], enabled=True),
        change(*others, power_state="Running", resident_on="h2"),
        change(*others, power_state="Halted", resident_on=NULL),
        change(*others, scheduled_to_be_resident_on="small"),
        change(*others, scheduled_to_be_resident_on=NULL),
        change(database.the_pool, restrictions={"restrict_vm_start": "true"}),
        lambda: database.create(late),
        change(late, power_state="Suspended"),
        lambda: database.create(row(database, "VM_metrics", "latem2", current_domain_type="hvm")),
        lambda: database.destroy(late),
        lambda: database.create(vm_row(database, "late", memory_dynamic_min=100 * GIB)),
        lambda: database.restore(start),
    )
    for number, step in enumerate(steps):
        step()
        answer = kept.can_boot_here(vms, HOSTS)
        for vm, row_of_vm in zip(vms, answer, strict=True):
            for host, may in zip(HOSTS, row_of_vm.tolist(), strict=True):
                reason = details(lambda vm=vm, host=host: session.xenapi.VM.assert_can_boot_here(vm, host))
                assert may == (reason is None), (number, vm, host, reason)
        seen.append(answer)
    changed = sum((one != other).any() for one, other in itertools.pairwise(seen))
    assert changed >= 15
    assert (seen[0] == seen[-1]).all()
    assert pool.database.VM.get("late") is None


def test_boot_matrix_of_everything(session: Session, add_vm: AddVM) -> None:
    add_vm("a")
    add_vm("b", memory_dynamic_min=63 * GIB, memory_dynamic_max=63 * GIB, memory_static_max=63 * GIB)
    matrix = Batch(session).can_boot_here()
    assert session.xenapi.VM.get_all() == ["h2dom0", "h1dom0", "b", "a"]
    assert matrix.tolist() == [[True, True], [True, True], [False, False], [True, True]]


def test_free_memory_equals_the_message() -> None:
    session = build_session(3)
    batch = Batch(session)
    hosts = session.xenapi.host.get_all()
    assert batch.free_memory().tolist() == [int(session.xenapi.host.compute_free_memory(host)) for host in hosts]
    assert batch.free_memory(["h2", "h2"]).shape == (2,)
    with pytest.raises(Failure) as raised:
        batch.free_memory(["h1", "gone"])
    assert raised.value.details == ["HANDLE_INVALID", "host", "gone"]


@pytest.mark.parametrize("restrictions", [{"restrict_dmc": "false"}, {}])
def test_limits_equal_the_message(restrictions: dict[str, str]) -> None:
    session = build_session(5)
    database = session.pool.database
    database.write(database.the_pool, "restrictions", restrictions)
    dice = random.Random(5)
    vms = [*session.pool.database.VM.refs(), "nobody"]
    values = (-(2**63), -1, 0, 1, MIB, 2 * GIB, 2**63 - 1)
    candidates = [sorted(dice.choices(values, k=4)) for _ in range(40)] + [[value] * 4 for value in values]
    for candidate in candidates[:10]:
        dice.shuffle(candidate)
    static_min, dynamic_min, dynamic_max, static_max = np.array(candidates, np.int64).T
    batch = Batch(session)
    answer = batch.may_set_memory_limits(
        vms, static_min[None, :], static_max[None, :], dynamic_min[None, :], dynamic_max[None, :]
    )
    assert answer.shape == (len(vms), len(candidates))
    assert 0 < answer.sum() < answer.size
    for number, vm in enumerate(vms):
        for place, (low, dmin, dmax, high) in enumerate(candidates):
            reason = batch.reason("VM.set_memory_limits", vm, *map(str, (low, high, dmin, dmax)))
            assert answer[number, place] == (reason is None), (vm, candidates[place], reason)


def test_limits_of_each_vm_and_wrong_shapes(session: Session, add_vm: AddVM) -> None:
    add_vm("a")
    add_vm("b", power_state="Running")
    batch = Batch(session)
    assert batch.may_set_memory_limits(["a", "b"], 0, [4, 4], 1, 2).tolist() == [True, False]
    assert batch.may_set_memory_limits(["a"], 0, 4, 1, 5).tolist() == [False]
    with pytest.raises(ValueError, match=r"of shape \(3,\)|shape mismatch"):
        batch.may_set_memory_limits(["a", "b"], 0, [4, 4, 4], 1, 2)
    with pytest.raises(ValueError, match="static_max"):
        batch.may_set_memory_limits(["a"], 0, 4.0, 1, 2)
    with pytest.raises(ValueError, match="dynamic_min"):
        batch.may_set_memory_limits(["a"], 0, 4, np.array([2**63], np.uint64), 2)


def test_limits_kernel() -> None:
    """Every order of three amounts, pinned and not."""
    values = np.array([-(2**63), 0, 2**63 - 1])
    grid = [axis.ravel() for axis in np.meshgrid(values, values, values, values, [False, True])]
    low, high, dmin, dmax, pinned = grid
    expected = [
        a <= c <= d <= b and (not p or c == d == b)
        for a, b, c, d, p in zip(*(column.tolist() for column in grid), strict=True)
    ]
    assert checks.limits_valid(low, high, dmin, dmax, pinned.astype(bool)).tolist() == expected
    assert checks.limits_valid(0, 1, 0, 1).shape == ()


def test_a_transaction_answers_in_order(pool: Pool, session: Session, add_vm: AddVM) -> None:
    add_vm()
    answers = Batch(session).apply(
        [("VM.set_memory", ("vm", str(2 * GIB))), ("VM.get_memory_target", ("vm",)), ("VM_get_uuid", ("vm",))]
    )
    assert answers == ["", str(2 * GIB), pool.database.VM["vm"].uuid]


def test_a_failed_transaction_changes_nothing(pool: Pool, session: Session, add_vm: AddVM) -> None:
    add_vm()
    before = everything(pool)
    with pytest.raises(TransactionError) as raised:
        Batch(session).apply(
            [
                ("VM.set_memory", ("vm", str(2 * GIB))),
                ("VM.set_name_label", ("vm", "other")),
                ("VM.set_memory", ("vm", "1")),
                ("VM.set_memory", ("vm", "0")),
            ]
        )
    assert raised.value.index == 2
    assert raised.value.failure.details == ["MEMORY_CONSTRAINT_VIOLATION_ORDER"]
    assert str(raised.value) == "message 2: MEMORY_CONSTRAINT_VIOLATION_ORDER"
    assert everything(pool) == before


def test_what_is_no_message_changes_nothing_either(pool: Pool, session: Session, add_vm: AddVM) -> None:
    add_vm()
    before = everything(pool)
    first = ("VM.set_memory", ("vm", str(2 * GIB)))
    with pytest.raises(TransactionError) as raised:
        Batch(session).apply([first, ("VM.nothing", ())])
    assert raised.value.failure.details == ["MESSAGE_METHOD_UNKNOWN", "VM.nothing"]
    with pytest.raises(ValueError, match=r"1: Async\.VM\.set_memory is asynchronous"):
        Batch(session).apply([first, ("Async.VM.set_memory", ("vm", "1"))])
    with pytest.raises(TypeError):
        Batch(session).apply([first, None])  # type: ignore[list-item]
    assert everything(pool) == before


def test_no_transaction_on_a_clock_that_others_drive() -> None:
    session = Session(Pool(build_database(), clock=Clock(0.0, Pace.DRIVEN)))
    session.login_with_password("root", "")
    with pytest.raises(ValueError, match="driven from outside"):
        Batch(session).apply([])
