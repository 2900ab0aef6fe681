"""Fleets from plain columns and from other fleets: equal to those of records that say the same."""

import numpy as np
import pytest
from pools import MIB, pool, records

from xenmem import Fleet, kernel, planning
from xenmem.columns import Unknown

GIB = 1 << 30


def plain() -> Fleet:
    return Fleet.from_columns(
        {"name": ["a", "b", "c"], "memory": [4 * GIB, 2 * GIB, GIB], "vcpus": [2, 1, 4], "host": ["x", "", "y"]},
        {"name": ["x", "y"], "memory_total": [16 * GIB, 8 * GIB]},
    )


def test_plain_columns_are_a_fleet() -> None:
    """F14, F15: a Fleet could not be made from a table, nor changed."""
    fleet = plain()
    taken = kernel.overhead(kernel.DomainType.HVM, [4 * GIB, 2 * GIB, GIB], [2, 1, 4], 1.0)
    assert fleet.vms.memory_overhead.tolist() == taken.tolist()
    assert fleet.free_memory().tolist() == [12 * GIB - taken[0], 7 * GIB - taken[2]]
    assert fleet.vms.resident_on.tolist() == [0, -1, 1]
    assert [fleet.vms.label(row) for row in range(3)] == ["a", "b", "c"]
    assert (fleet.vm("b"), fleet.host("y")) == (1, 1)
    assert planning.pack(fleet).status == "optimal"
    old = Fleet.from_columns({"memory": [GIB], "domain_type": [2]}, {"memory_total": [GIB]}, version="7.6")
    assert old.vms.memory_overhead.tolist() == [kernel.overhead(2, GIB, 1, 1.0, model="pre-8.1")]


def test_the_callers_columns_stay_theirs() -> None:
    memory = np.array([GIB, 2 * GIB])
    fleet = Fleet.from_columns({"memory": memory}, {"memory_total": np.array([8 * GIB])})
    memory[0] = 1
    assert fleet.vms.memory_static_max.tolist() == [GIB, 2 * GIB]


def test_one_more_one_less_another_size() -> None:
    fleet = plain()
    more = fleet.with_vm("d", 3 * GIB, vcpus=2, host="y")
    assert len(more.vms) == 4
    assert len(fleet.vms) == 3
    assert more.free_memory()[1] == fleet.free_memory()[1] - 3 * GIB - more.vms.memory_overhead[3]
    assert more.vm("d") == 3
    assert more.without_vm("d").free_memory().tolist() == fleet.free_memory().tolist()
    larger = fleet.resized({"b": 8 * GIB})
    assert larger.vms.memory_overhead[1] == larger.overhead()[1]
    assert planning.Accounts(larger).needed[1] == 8 * GIB + larger.vms.memory_overhead[1]
    assert fleet.moved({"b": "x"}).vms.power_state.tolist() == [2, 2, 2]


def test_rows_close_up() -> None:
    fleet = pool([4000, 4000], [(500, 0), (600, 1), (700, None)])
    first = fleet.vms.label(0)
    less = fleet.without_vm(first)
    assert first not in less.vms.name_label
    assert less.free_memory()[0] - fleet.free_memory()[0] == 500 * MIB
    for host in range(2):
        row = int(fleet.hosts.control_domain[host])
        new = int(less.hosts.control_domain[host])
        assert (row < 0 and new < 0) or fleet.vms.label(row) == less.vms.label(new)


@pytest.mark.parametrize(
    ("vms", "hosts", "message"),
    [
        ({"memory": [1, 2], "vcpus": [1]}, {"memory_total": [1]}, "vms: columns of 1 and 2 rows"),
        ({"vcpus": [1]}, {"memory_total": [1]}, "vms: there is no column memory"),
        ({"memory": [1]}, {"name": ["x"]}, "hosts: there is no column memory_total"),
        ({"memory": [1], "colour": [1]}, {"memory_total": [1]}, "vms: there is no column colour"),
        ({"memory": [1], "host": ["z"]}, {"memory_total": [1]}, "host: no row named 'z'"),
        ({"memory": [1.5]}, {"memory_total": [1]}, "vms: memory_static_max: whole numbers are needed, not float64"),
        ({"memory": [1], "vcpus": [1 << 40]}, {"memory_total": [1]}, "vms: VCPUs_max: a value is outside"),
        ({"memory": [1], "host": [4]}, {"memory_total": [1]}, "vms: resident_on: row 0: 4 is no row of hosts"),
    ],
)
def test_bad_columns(vms: dict[str, list[object]], hosts: dict[str, list[object]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Fleet.from_columns(vms, hosts)


def test_bad_changes() -> None:
    fleet = plain()
    for message, change in (
        ("vm: no row named 'z'", lambda: fleet.moved({"z": "x"})),
        ("host: row 7 is outside 0..1", lambda: fleet.moved({"a": 7})),
        ("memory: 0 of a is outside", lambda: fleet.resized({"a": 0})),
        ("vm: row 9 is outside 0..2", lambda: fleet.without_vm(9)),
        ("vm: 2 rows named 'a'", lambda: fleet.with_vm("a", GIB).vm("a")),
        ("vm: no row named 'q'", lambda: fleet.vm("q")),
    ):
        with pytest.raises(ValueError, match=message):
            change()


def test_one_pool_of_several() -> None:
    """All that rows say of other rows stays true."""
    fleets = [pool([100, 200], [(10, 1), (20, None)], groups=[[0, 1]], name=name) for name in "ab"]
    both = Fleet.concatenate(fleets)
    for number, alone in enumerate(fleets):
        part = both.of_pool(number)
        assert part.vms.uuid.tolist() == alone.vms.uuid.tolist()
        for name in ("resident_on", "groups", "pool", "memory_static_max"):
            assert getattr(part.vms, name).tolist() == getattr(alone.vms, name).tolist()
        assert part.pools.master.tolist() == [0]
        assert part.free_memory().tolist() == alone.free_memory().tolist()
        assert part.vms.accounted_static_max is part.vms.memory_static_max
    with pytest.raises(ValueError, match=r"pool: 2 is outside 0\.\.1"):
        both.of_pool(2)


def test_a_vm_that_starts_boots_with_what_the_hosts_have_in_common() -> None:
    tables = records([100], [(10, None)])
    tables["pool"]["p-pool"]["cpu_info"] = {"vendor": "V", "features_hvm": "0000000f"}
    started = Fleet.from_records(tables).moved({"p-v0": "p-h0"}).vms
    assert (started.cpu_vendor[0], started.cpu_features[0]) == ("V", "0000000f")
    del tables["pool"]["p-pool"]["cpu_info"]
    assert Fleet.from_records(tables).moved({"p-v0": "p-h0"}).vms.not_told[0] & Unknown.CPU
