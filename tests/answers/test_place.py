"""Where a VM would start: as the pool itself starts it, and as planning.xapi draws."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from busy_pools import GIB, four_hosts, random_pool

import xenmem
from xenmem import answers
from xenmem.answers import QuestionError
from xenmem.answers.naming import find_host, find_vm
from xenmem.answers.place import Placement, actions, heading
from xenmem.answers.script import as_messages
from xenmem.planning import xapi
from xenmem.planning.xapi.placement import zero
from xenmem.xenapi import Pool, Session
from xenmem.xenapi.door.batch import Batch

pytestmark = pytest.mark.compiled


def asked(fleet: xenmem.Fleet, vm: str, **more: object) -> Placement:
    return answers.place(fleet, find_vm(fleet, vm), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(10))
def test_the_pool_starts_where_the_answer_says(tmp_path: Path, seed: int) -> None:
    """Ranks, fits and reasons agree with the choice that takes the best host, and with the pool's own check."""
    path = tmp_path / "pool.json"
    path.write_text(json.dumps(random_pool(seed)))
    fleet = xenmem.read(path)
    pool = Pool(path)
    session = Session(pool)
    session.login_with_password("root", "")
    batch = Batch(session)
    for row in range(len(fleet.vms)):
        if fleet.vms.resident_on[row] >= 0:
            continue
        result = answers.place(fleet, row)
        for host in result.hosts:
            reason = batch.reason("VM.assert_can_boot_here", result.ref, host.ref)
            assert host.fits is (reason is None), (host.name_label, reason)
        ranked = {host.rank: host for host in result.hosts if host.rank is not None}
        assert sorted(ranked) == list(range(1, len(ranked) + 1))
        assert round(sum(host.chance or 0 for host in result.hosts), 9) == (1 if ranked else 0)
        try:
            best = xapi.choose_host_for_vm(fleet, row, zero, can_boot=can_boot(fleet))
        except xapi.PlanningError:
            best = -1
        if result.obstacles:
            assert (result.category, ranked) == ("", {})
        elif best >= 0:
            # the pool refuses what does not fit, and draws again
            first = min(host.rank for host in ranked.values() if host.chance)  # type: ignore[type-var]
            assert ranked[first].ref == fleet.hosts.ref[best]


def can_boot(fleet: xenmem.Fleet) -> Callable[[int, int], bool]:
    return lambda vm, host: bool(fleet.vms.VCPUs_max[vm] <= fleet.hosts.cpu_count[host])


def test_ranks_rooms_and_chances() -> None:
    fleet = xenmem.Fleet.from_records(four_hosts())
    result = asked(fleet, "test-1")
    hosts = {host.name_label: host for host in result.hosts}
    assert {name: host.rank for name, host in hosts.items()} == {"delta": 1, "bravo": 2, "charlie": 3, "alpha": 4}
    assert hosts["delta"].chance == 0.5
    assert (result.category, result.memory_checked) == ("definite", True)
    assert result.most_room is not None
    assert result.most_room.name_label == "delta"
    overhead = int(fleet.vms.memory_overhead[find_vm(fleet, "test-1")])
    free = int(fleet.free_memory("static_max")[find_host(fleet, "delta")])
    assert asked(fleet, "test-1", policy="static_max").hosts[3].free_after == free - 12 * GIB - overhead


def test_a_script_starts_the_vm_where_it_was_chosen(tmp_path: Path) -> None:
    records = four_hosts()
    records["VM"]["p-vm-test-2"] |= {"power_state": "Suspended", "suspend_VDI": "p-vdi"}
    inventory, script = tmp_path / "pool.json", tmp_path / "start.jsonl"
    inventory.write_text(json.dumps(records))
    fleet = xenmem.read(inventory)
    first, second = asked(fleet, "test-1"), asked(fleet, "test-2", host=find_host(fleet, "alpha"))
    assert (first.operation, second.operation) == ("start", "resume")
    assert heading(second) == [f"Resume VM test-2 on alpha. p, {inventory}."]
    script.write_bytes(as_messages([*actions(first), *actions(second)]))
    result = answers.what_if(str(inventory), str(script))
    assert result.failures == []
    assert {field.name_label: field.after for field in result.fields if field.field == "resident_on"} == {
        "test-1": "p-delta",
        "test-2": "p-alpha",
    }


def test_a_vm_that_starts_nowhere() -> None:
    records = four_hosts()
    records["VM"]["p-vm-test-1"] |= {"memory_static_max": str(60 * GIB), "memory_dynamic_max": str(60 * GIB)}
    records["VM"]["p-vm-test-1"]["memory_dynamic_min"] = str(60 * GIB)
    fleet = xenmem.Fleet.from_records(records)
    result = asked(fleet, "test-1")
    assert (result.category, result.most_room, result.chosen) == ("", None, None)
    assert [host.chance for host in result.hosts] == [0.0] * 4
    assert "more memory" in result.hosts[0].reasons[0]
    with pytest.raises(QuestionError, match="VM test-1 starts nowhere: there is nothing to write"):
        actions(result)


@pytest.mark.parametrize(
    ("vm", "host", "problem"),
    [
        ("db-1", None, "VM db-1 is Running: it is on a host already"),
        ("dom0 alpha", None, "VM dom0 alpha is a control domain: it does not start"),
        ("test-1", "alpha", "VM test-1 does not start on host alpha: disabled"),
    ],
)
def test_bad_questions(vm: str, host: str | None, problem: str) -> None:
    records = four_hosts()
    records["host"]["p-alpha"]["enabled"] = False
    fleet = xenmem.Fleet.from_records(records)
    with pytest.raises(QuestionError, match=f"^{problem}$"):
        asked(fleet, vm, host=None if host is None else find_host(fleet, host))
