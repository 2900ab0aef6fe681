"""What is said of hosts that are watched: all at first, then those that are not as they were."""

from pathlib import Path

import pytest

import xenmem
from xenmem import answers


@pytest.fixture
def fleet() -> xenmem.Fleet:
    return xenmem.read(Path(__file__).parents[2] / "examples" / "four-hosts.json")


def test_hosts_as_they_change(fleet: xenmem.Fleet) -> None:
    first = answers.watch(fleet, 1.0)
    names = fleet.hosts.name_label.tolist()
    assert [(one.host.name_label, one.operation, one.read_at) for one in first] == [
        (name, "add", 1.0) for name in names
    ]
    assert all(set(one.changed) == set(one.host.__struct_fields__) for one in first)
    assert first[0].pool_uuid == fleet.pools.uuid[0]
    again = answers.watch(fleet, 2.0, first)
    assert [(one.operation, one.changed) for one in again] == [("mod", [])] * len(names)
    vm = int((fleet.vms.resident_on == 0).nonzero()[0][-1])
    moved = answers.watch(fleet.moved({vm: 1}), 3.0, again)
    assert [bool(one.changed) for one in moved] == [True, True, *[False] * (len(names) - 2)]
    assert set(moved[0].changed) <= {"vms", "free", "overcommitted"}
    assert moved[0].host.vms.count == again[0].host.vms.count - 1


def test_a_host_that_is_gone(fleet: xenmem.Fleet) -> None:
    first = answers.watch(fleet, 1.0)
    other = xenmem.Fleet.from_columns({"memory": [1 << 30]}, {"memory_total": [1 << 33]})
    now = answers.watch(other, 2.0, first)
    assert [one.operation for one in now] == ["add", *["del"] * len(first)]
    assert [one.host for one in now[1:]] == [one.host for one in first]
    assert [one.operation for one in answers.watch(other, 3.0, now)] == ["mod"]
