"""maximise and fit against the naive model: bisection, and VMs placed one by one."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins import reference

import xenmem
from xenmem import answers, kernel
from xenmem.answers.fit import levelled
from xenmem.answers.naming import find_vm
from xenmem.units import GIB, MIB

Records = dict[str, dict[str, dict[str, Any]]]


@pytest.mark.parametrize("approximate", [False, True])
def test_maximise_equals_the_reference(inventory: Path, approximate: bool) -> None:
    naive = reference.read(inventory)
    fleet = xenmem.read(inventory)
    model = reference.pool_model(naive)
    for row in range(0, len(fleet.vms), 3):
        ref = fleet.vms.ref[row]
        vm, kind = naive["VM"][ref], reference.domain_type(naive, ref)
        answer = answers.maximise(fleet, row, approximate=approximate)
        assert [there.ref for there in answer.hosts] == fleet.hosts.ref.tolist()
        for there in answer.hosts:
            if vm["resident_on"] == there.ref:  # its own memory counts as free there
                without = {
                    **naive,
                    "VM": {**naive["VM"], ref: {**vm, "resident_on": "", "scheduled_to_be_resident_on": ""}},
                }
                assert there.total == reference.host_free_memory(without, there.ref)
            else:
                assert there.total == reference.host_free_memory(naive, there.ref, ignore_scheduled=ref)
            largest = reference.maximise_memory(
                kind, vm["VCPUs_max"], vm["HVM_shadow_multiplier"], there.total, approximate, model
            )
            assert there.memory_static_max == largest
            assert there.required == sum(
                reference.required_memory(kind, largest, largest, vm["VCPUs_max"], vm["HVM_shadow_multiplier"], model)
            )
            assert there.spare == there.total - there.required


def test_approximate_can_exceed_the_total(records: Records) -> None:
    ref = next(ref for ref, vm in records["VM"].items() if vm["domain_type"] == "hvm")
    records["VM"][ref].update(VCPUs_max="128", HVM_shadow_multiplier=1.0)
    fleet = xenmem.Fleet.from_records(records)
    (exact,) = answers.maximise(fleet, find_vm(fleet, ref), total=64 * GIB).hosts
    (rough,) = answers.maximise(fleet, find_vm(fleet, ref), total=64 * GIB, approximate=True).hosts
    assert (exact.memory_static_max, rough.memory_static_max) == (68_031_610_880, 68_107_108_352)
    assert exact.spare >= 0
    assert rough.spare == -76_546_048


def test_one_host_can_be_asked_about(small: xenmem.Fleet) -> None:
    (there,) = answers.maximise(small, 0, host=2).hosts
    assert there == answers.maximise(small, 0).hosts[2]


def test_host_and_total_exclude_each_other(small: xenmem.Fleet) -> None:
    with pytest.raises(answers.QuestionError, match="exclude"):
        answers.maximise(small, 0, host=0, total=GIB)


def test_host_of_another_pool_is_refused(data: Path) -> None:
    fleet = xenmem.read([data / "inventories" / name for name in ("pool-small.records.json", "pool-65.statedb.xml")])
    with pytest.raises(answers.QuestionError, match="not of the VM's pool"):
        answers.maximise(fleet, 0, host=len(fleet.hosts) - 1)


def test_without_hosts_a_total_is_needed(old_records: Path) -> None:
    fleet = xenmem.read(old_records)
    with pytest.raises(answers.QuestionError, match="no hosts"):
        answers.maximise(fleet, 0)
    assert answers.maximise(fleet, 0, total=GIB).hosts[0].memory_static_max > 0


@pytest.mark.parametrize("kind", reference.DOMAIN_TYPES)
@pytest.mark.parametrize(("memory", "vcpus", "multiplier"), [(16 * GIB, 4, 1.0), (8 * GIB + 5, 16, 4.0), (MIB, 1, 1.5)])
def test_fit_equals_starting_one_after_the_other(
    inventory: Path, kind: str, memory: int, vcpus: int, multiplier: float
) -> None:
    naive = reference.read(inventory)
    model = reference.pool_model(naive)
    fleet = xenmem.read(inventory)
    answer = answers.fit(
        fleet, memory, vcpus, domain_type=kernel.DomainType[kind.upper()], shadow_multiplier=multiplier
    )
    needed = sum(reference.required_memory(kind, memory, memory, vcpus, multiplier, model))
    used = memory + reference.overhead(kind, memory, vcpus, multiplier, model)
    (pool,) = answer.pools
    assert (pool.required, pool.used) == (needed, used)
    for host in pool.hosts:
        free, count = reference.host_free_memory(naive, host.ref), 0
        while not host.reasons and free >= needed:
            free, count = max(0, free - used), count + 1
        assert (host.count, host.free_after, host.placed) == (count, free, None)
    assert answer.count == pool.count == sum(host.count for host in pool.hosts)
    assert answer.fits == (answer.count > 0)


@pytest.mark.parametrize(
    ("table", "field", "value"),
    [
        ("host", "enabled", False),
        ("host_metrics", "live", False),
        ("host_metrics", "memory_total", "-1"),
        ("host", "cpu_info", {"cpu_count": "3"}),
    ],
)
def test_nothing_fits_on_a_host_that_takes_no_vms(records: Records, table: str, field: str, value: Any) -> None:
    ref, host = next(iter(records["host"].items()))
    records[table][ref if table == "host" else host["metrics"]][field] = value
    (pool,) = answers.fit(xenmem.Fleet.from_records(records), GIB, 4).pools
    for there in pool.hosts:
        assert (there.count == 0, there.reasons != []) == (there.ref == ref,) * 2


def test_unrestricted_vcpus_fit_on_hosts_of_few_cpus(records: Records) -> None:
    enough = answers.fit(xenmem.Fleet.from_records(records), GIB, 4)
    for host in records["host"].values():
        host["cpu_info"] = {"cpu_count": "3"}
    fleet = xenmem.Fleet.from_records(records)
    assert (answers.fit(fleet, GIB, 4).count, answers.fit(fleet, GIB, 4, vcpu_unrestricted=True)) == (0, enough)


@pytest.mark.parametrize(
    ("memory", "multiplier", "problem"),
    [(0, 1.0, "0 bytes make no VM"), (GIB, 0.999, "0.999 is below 1: such a VM does not start")],
)
def test_what_starts_nowhere_fits_nowhere(small: xenmem.Fleet, memory: int, multiplier: float, problem: str) -> None:
    with pytest.raises(answers.QuestionError, match=problem):
        answers.fit(small, memory, 1, shadow_multiplier=multiplier)


def test_count_is_placed_on_the_freest_host_each_time(small: xenmem.Fleet) -> None:
    for count in (1, 2, 15, 21, 22, 1000):
        answer = answers.fit(small, 16 * GIB, 4, count=count)
        (pool,) = answer.pools
        free = {host.ref: host.free for host in pool.hosts}
        placed = dict.fromkeys(free, 0)
        for _ in range(count):
            freest = max(free, key=free.__getitem__)
            if free[freest] >= pool.required:
                free[freest] -= pool.used
                placed[freest] += 1
        assert {host.ref: host.placed for host in pool.hosts} == placed
        assert {host.ref: host.free_after for host in pool.hosts} == free
        assert (answer.wanted, answer.placed) == (count, min(count, answer.count))
        assert answer.fits == (count <= answer.count)


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9), st.integers(0, 5)), min_size=1, max_size=6),
    st.integers(0, 40),
)
def test_levelled_is_the_walk_it_replaces(hosts: list[tuple[int, int, int]], count: int) -> None:
    free = [amount for amount, _, _ in hosts]
    used = [size for _, size, _ in hosts]
    room = [min(most, amount // size) for amount, size, most in hosts]
    expected = [0] * len(hosts)
    for _ in range(count):
        open_hosts = [h for h in range(len(hosts)) if expected[h] < room[h]]
        if open_hosts:
            expected[max(open_hosts, key=lambda h: free[h] - expected[h] * used[h])] += 1
    assert levelled(free, used, room, count) == expected


def test_levelled_needs_no_walk_for_huge_numbers() -> None:
    assert levelled([1 << 50, 1 << 50], [1, 1], [1 << 50, 1 << 50], 1 << 50) == [1 << 49, 1 << 49]
