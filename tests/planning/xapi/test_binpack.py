"""Packing: what bad input gets, what is left unchanged, the edges of the numbers, and threads."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from golden import plan_pairs
from twins import naive

from xenmem.planning import xapi
from xenmem.planning.search.compiled import biggest_fit
from xenmem.planning.xapi import binpack
from xenmem.planning.xapi.errors import ConfigurationError

INT64 = np.iinfo(np.int64)


def test_public_names() -> None:
    assert xapi.biggest_fit_decreasing is binpack.biggest_fit_decreasing
    assert all(getattr(xapi, name) is not None for name in xapi.__all__)
    assert set(xapi.__all__) <= set(dir(xapi))
    with pytest.raises(AttributeError, match="has no attribute 'pack'"):
        _ = xapi.pack


def test_answer_is_two_int32_columns() -> None:
    vms, hosts = binpack.biggest_fit_decreasing([3, 4], [5, 5])
    assert (vms.dtype, hosts.dtype) == (np.int32, np.int32)
    assert (vms.tolist(), hosts.tolist()) == ([0, 1], [1, 0])


@pytest.mark.parametrize(("sizes", "free"), [([], []), ([1], []), ([], [1]), ([1], [0]), ([0], [-1])])
def test_nothing_to_assign(sizes: list[int], free: list[int]) -> None:
    assert plan_pairs(binpack.biggest_fit_decreasing(sizes, free)) == []


def test_ties() -> None:
    """Equal VMs in the order given; the host used last is used first among equals."""
    assert plan_pairs(binpack.biggest_fit_decreasing([0, 0, 0], [0, 0])) == [[2, 0], [1, 0], [0, 0]]
    assert plan_pairs(binpack.biggest_fit_decreasing([2, 1], [3, 1, 1])) == [[1, 0], [0, 0]]


def test_extreme_amounts() -> None:
    assert plan_pairs(binpack.biggest_fit_decreasing([INT64.max], [INT64.min, INT64.max])) == [[0, 1]]
    assert plan_pairs(binpack.biggest_fit_decreasing([1], [INT64.min])) == []
    config = binpack.Configuration([0, 1], [INT64.min + 5, 9], [0], [6], [], [], 2, 0)
    with pytest.raises(ValueError, match=r"free: -9223372036854775803 less 6 for the plan is below"):
        binpack.account(config, binpack.Plan(np.array([0], np.int32), np.array([0], np.int32)))


@pytest.mark.parametrize(
    ("sizes", "free", "message"),
    [
        ([1, -2], [3], "sizes: -2 at index 1 is negative"),
        ([2**63], [3], "sizes: 9223372036854775808 at index 0 is outside"),
        ([1], np.array([0, 2**64 - 1], np.uint64), "free: 18446744073709551615 at index 1 is outside"),
        ([[1]], [3], r"sizes: shape \(1, 1\) has not one dimension"),
    ],
)
def test_bad_values(sizes: Any, free: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        binpack.biggest_fit_decreasing(sizes, free)


@pytest.mark.parametrize("sizes", [[1.0], [True], ["1"]])
def test_bad_types(sizes: Any) -> None:
    with pytest.raises(TypeError, match="sizes: integers are needed"):
        binpack.biggest_fit_decreasing(sizes, [3])


def test_any_integer_array_is_taken_and_left_alone() -> None:
    sizes, free = np.array([3, 9, 4, 9], np.uint16)[::2], np.array([7, 0, 5], ">i4")
    free.flags.writeable = False
    assert plan_pairs(binpack.biggest_fit_decreasing(sizes, free)) == [[0, 2], [1, 0]]
    assert (sizes.tolist(), free.tolist()) == ([3, 4], [7, 0, 5])


def test_one_compiled_version_serves_every_layout() -> None:
    """Columns of a Fleet are read-only; that must not cost the time of another compilation."""
    read_only = np.arange(4)
    read_only.flags.writeable = False
    unaligned = np.zeros(33, np.uint8)[1:].view(np.int64)
    for column in (read_only, unaligned, np.arange(4)[::-1], np.arange(4, dtype=np.int8)):
        binpack.biggest_fit_decreasing(column, column)
    assert len(getattr(biggest_fit.assign, "signatures", [()])) == 1


def test_threads_do_not_disturb_each_other() -> None:
    rng = np.random.default_rng(3)
    questions = [(rng.integers(0, 50, 2000), rng.integers(0, 900, 80)) for _ in range(16)]
    alone = [plan_pairs(binpack.biggest_fit_decreasing(*question)) for question in questions]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda question: plan_pairs(binpack.biggest_fit_decreasing(*question)), questions))
    assert together == alone


def config(**changes: Any) -> binpack.Configuration:
    fields: dict[str, Any] = {
        "hosts": [4, 7],
        "free": [10, 10],
        "vms": [1],
        "sizes": [5],
        "placed_vms": [1],
        "placed_hosts": [4],
        "total_hosts": 2,
        "num_failures": 1,
    }
    return binpack.Configuration(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hosts": [4, 4]}, "hosts: 4 at index 1 is there twice"),
        ({"free": [1]}, "free: length 1 where hosts has 2"),
        ({"sizes": []}, "sizes: length 0 where vms has 1"),
        ({"placed_hosts": [4, 7]}, "placed_hosts: length 2 where placed_vms has 1"),
        ({"vms": [2**31]}, "vms: 2147483648 at index 0 is outside -2147483648..2147483647"),
        ({"sizes": [-1]}, "sizes: -1 at index 0 is negative"),
    ],
)
def test_malformed_configurations(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"placed_vms": [2], "placed_hosts": [9]}, "VM not found"),
        ({"placed_hosts": [9], "num_failures": 3}, "Host not found"),
        ({"num_failures": 3}, "num_failures > total_hosts"),
        ({"num_failures": -1}, "num_failures < 0"),
    ],
)
def test_contradictions(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{message}$"):
        binpack.plan_always_possible(config(**changes))


def test_unknown_sizes() -> None:
    with pytest.raises(ConfigurationError, match=r"^Not_found: get_specific_plan$"):
        binpack.get_specific_plan(config(), [1, 2])
    with pytest.raises(ConfigurationError, match=r"^Not_found: memory_needed_on_host$"):
        binpack.apply_plan(config(), binpack.Plan(np.array([2], np.int32), np.array([4], np.int32)))


@pytest.mark.parametrize(("hosts", "failures"), [(3, 4), (3, -1)])
def test_heuristic_of_impossible_numbers(hosts: int, failures: int) -> None:
    with pytest.raises(ConfigurationError):
        binpack.choose_heuristic(hosts, failures)


def test_a_vm_placed_twice_moves_from_both_places() -> None:
    """After host 0 has failed both entries are where the VM went, so the failure of host 1 moves nothing."""
    twice = config(hosts=[0, 1, 2], free=[9, 0, 9], placed_vms=[1, 1], placed_hosts=[0, 1], total_hosts=3)
    after = binpack.simulate_failure(twice, 0)
    assert after is not None
    assert after.placed_hosts.tolist() == [2, 2]
    assert after.free.tolist() == [0, 4]


@pytest.mark.parametrize(
    ("free", "sizes", "placement", "answer"),
    [
        # which of two hosts with equal free memory comes first: the one given first
        ([3, 5, 5, 5], [3, 4], [(0, 2), (1, 1)], True),
        ([1, 2, 2, 6], [2, 1], [(0, 2), (1, 3)], False),
        # a host that has just been used comes before its equals
        ([1, 2, 4, 1], [2, 1], [(0, 0), (1, 0)], True),
        ([6, 2, 8, 1], [2, 4, 1], [(0, 3), (1, 3), (2, 3)], False),
        # a VM that is placed twice moves from both places
        ([4, 7, 5], [2, 3], [(0, 0), (1, 0), (0, 1)], True),
        ([5, 4, 1], [1, 2], [(0, 0), (1, 2), (0, 2)], False),
    ],
)
def test_orders_that_decide_whether_two_failures_are_survived(
    free: list[int], sizes: list[int], placement: list[tuple[int, int]], answer: bool
) -> None:
    hosts, vms = list(range(len(free))), list(range(len(sizes)))
    twin = naive.Configuration(
        list(enumerate(free)), list(enumerate(sizes)), list(placement), total_hosts=len(free), num_failures=2
    )
    placed_vms, placed_hosts = zip(*placement, strict=True)
    asked = binpack.Configuration(hosts, free, vms, sizes, placed_vms, placed_hosts, len(free), 2)
    assert naive.exhaustive(twin) is answer
    assert binpack.exhaustive_plan_always_possible(asked) is answer
