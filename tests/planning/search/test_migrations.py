"""Consolidation, rebalancing and the order of moves: every plan verified move by move, the tight ones by hand."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import MIB, pool
from twins import solver

from xenmem import planning
from xenmem.planning.plan import Migration
from xenmem.planning.question import question_of_sizes
from xenmem.planning.search.migrations import in_order


@pytest.mark.parametrize("broken", ["swap", "missing", "twice", "temporary"])
def test_bad_orders_are_refused(broken: str) -> None:
    fleet = pool([8000, 5000, 9000], [(3000, 0), (1000, 1), (6000, 2)])
    plan = planning.evacuate(fleet, 2)
    first, second = plan.migrations
    moves = {
        "swap": [second, first],
        "missing": [first],
        "twice": [first, first, second],
        "temporary": [first._replace(temporary=True), second],
    }[broken]
    with pytest.raises(planning.Violation, match="migrations: "):
        planning.verify(replace(plan, order=lambda: (moves, "")), fleet, hosts=[0, 1], policy="dynamic_min")


def ordered(sizes: list[int], free: list[int], origin: list[int], target: list[int]) -> tuple[list[Migration], str]:
    """The moves from origin to target, checked; free is without the VMs."""
    question = question_of_sizes(sizes, free, origin, {})
    moves, why = in_order(question, np.array(target), np.array([1], np.uint64))
    left, on = list(free), list(origin)
    for vm, host in enumerate(origin):
        left[host] -= sizes[vm]
    for vm, source, host, _, temporary in moves:
        assert on[vm] == source
        assert left[host] >= sizes[vm]
        assert temporary == (host != target[vm])
        on[vm] = host
        left[host] -= sizes[vm]
        left[source] += sizes[vm]
    assert why or on == target
    return moves, why


def order_exists(sizes: list[int], free: list[int], origin: list[int], target: list[int]) -> bool:
    """By walking through every arrangement that can be reached."""
    seen = {tuple(origin)}
    waiting = [tuple(origin)]
    while waiting:
        on = waiting.pop()
        left = list(free)
        for vm, host in enumerate(on):
            left[host] -= sizes[vm]
        for vm, size in enumerate(sizes):
            for host in range(len(free)):
                after = (*on[:vm], host, *on[vm + 1 :])
                if host != on[vm] and left[host] >= size and after not in seen:
                    seen.add(after)
                    waiting.append(after)
    return tuple(target) in seen


def test_a_swap_needs_a_third_host() -> None:
    moves, why = ordered([5000, 4000], [6000, 6000, 6000], [0, 1], [1, 0])
    assert why == ""
    assert [(move.vm, move.target, move.temporary) for move in moves] == [(1, 2, True), (0, 1, False), (1, 0, False)]


@pytest.mark.parametrize("seed", range(300))
def test_an_order_is_found_where_there_is_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, vms = int(rng.integers(2, 4)), int(rng.integers(2, 7))
    sizes = rng.integers(1, 12, vms).tolist()
    origin, target = (rng.integers(0, count, vms).tolist() for _ in range(2))
    free = [
        max(sum(size for size, on in zip(sizes, ends, strict=True) if on == host) for ends in (origin, target))
        + int(rng.integers(0, 6))
        for host in range(count)
    ]
    _, why = ordered(sizes, free, origin, target)
    assert why == "" or "no order exists" in why
    assert (why == "") == order_exists(sizes, free, origin, target)


def test_a_swap_without_room_is_said_to_be_blocked() -> None:
    fleet = pool([6000, 6000], [(5000, 0), (4000, 1)])
    plan = planning.pack(fleet, objective="fewest-migrations", pinned={0: 1, 1: 0})
    planning.verify(plan, fleet, pinned={0: 1, 1: 0})
    assert plan.migrations == []
    assert "no order exists for 2 migrations" in plan.blocked


@pytest.mark.parametrize("seed", range(40))
def test_evacuate_random_pools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 6))
    vms = [(int(rng.integers(10, 60)) * 100, int(rng.integers(0, count))) for _ in range(int(rng.integers(4, 14)))]
    load = [sum(size for size, host in vms if host == h) for h in range(count)]
    fleet = pool([load[h] + int(rng.integers(0, 25)) * 100 + 100 for h in range(count)], vms)
    plan = planning.evacuate(fleet, 0)
    planning.verify(plan, fleet, hosts=list(range(1, count)), policy="dynamic_min")
    sizes = [size // 100 for size, _ in vms]
    room = [int(r) // (100 << 20) for r in fleet.hosts.memory_total][1:]
    origin = [host - 1 if host else count for _, host in vms]
    best = solver.best(sizes, room, "fewest-migrations", origin=origin)
    if best is None:
        assert plan.status == "infeasible"
    elif plan.status == "optimal":
        assert plan.value == best
    else:
        assert plan.status == "unknown" or plan.bound <= best <= plan.value


def busy_pool(seed: int = 3) -> tuple[object, int]:
    rng = np.random.default_rng(seed)
    vms = [(int(rng.choice([1024, 2048, 4096, 8192])), number % 12) for number in range(120)]
    load = max(sum(size for size, host in vms if host == h) for h in range(12))
    return pool([int(load * 1.2)] * 12, vms), 12


def test_consolidate() -> None:
    fleet, count = busy_pool()
    plan = planning.consolidate(fleet)
    planning.verify(plan, fleet, policy="dynamic_min")
    assert len(plan.emptied) == count - plan.value
    assert not set(plan.host.tolist()) & set(plan.emptied)
    assert plan.emptied
    assert plan.blocked == ""


def test_consolidate_needs_no_more_than_it_must() -> None:
    fleet = pool([10000, 10000, 10000], [(4000, 0), (3000, 1), (1000, 2)])
    plan = planning.consolidate(fleet)
    planning.verify(plan, fleet, policy="dynamic_min")
    assert (plan.status, plan.value, plan.emptied) == ("optimal", 1, (1, 2))
    assert len(plan.migrations) == 2


def fewest_hosts_and_moves(sizes: list[int], room: list[int], origin: list[int]) -> tuple[int, int]:
    """The fewest hosts that hold all, and the fewest moves to any arrangement on so few. By trying all."""
    best = (len(room) + 1, 0)
    for target in product(range(len(room)), repeat=len(sizes)):
        loads = [sum(size for size, on in zip(sizes, target, strict=True) if on == host) for host in range(len(room))]
        if all(load <= most for load, most in zip(loads, room, strict=True)):
            moves = sum(before != after for before, after in zip(origin, target, strict=True))
            best = min(best, (len(set(target)), moves))
    return best


def test_consolidation_equals_enumeration() -> None:
    rng = np.random.default_rng(4)
    proved = 0
    for _ in range(150):
        hosts, vms = int(rng.integers(2, 5)), int(rng.integers(1, 6))
        sizes, origin = rng.integers(1, 10, vms).tolist(), rng.integers(0, hosts, vms).tolist()
        held = [sum(size for size, on in zip(sizes, origin, strict=True) if on == host) for host in range(hosts)]
        room = [load + int(rng.integers(1, 12)) for load in held]
        fleet = pool([400 * most for most in room], [(400 * size, on) for size, on in zip(sizes, origin, strict=True)])
        plan = planning.consolidate(fleet)
        planning.verify(plan, fleet, policy="dynamic_min")
        fewest, moves = fewest_hosts_and_moves(sizes, room, origin)
        moved = sum(before != after for before, after in zip(origin, plan.host.tolist(), strict=True))
        assert (plan.status, plan.value) == ("optimal", fewest)
        assert plan.fewest_moves <= moves <= moved
        proved += plan.fewest_moves == moved
    assert proved > 135


@pytest.mark.parametrize("objective", ["even", "fewest-hosts"])
def test_ctrl_c_keeps_what_was_reported(objective: str) -> None:
    sizes = np.random.default_rng(5).integers(300, 3000, 24).tolist()
    fleet = pool([12000] * 6, [(int(size), vm % 5) for vm, size in enumerate(sizes)])
    values: list[int] = []

    def stop(report: planning.Progress) -> None:
        values.append(report.value)
        if report.value != values[0]:
            raise KeyboardInterrupt

    if objective == "even":
        plan = planning.pack(fleet, objective=objective, progress=stop)
    else:
        plan = planning.consolidate(fleet, progress=stop)
    assert plan.interrupted
    assert plan.value == values[-1] != values[0]


def test_ctrl_c_keeps_the_best_balance_so_far() -> None:
    fleet = pool([2000, 2000, 2000, 2000], [(size, 0) for size in (430, 370, 290, 230, 170, 130, 110, 70)])
    values: list[int] = []

    def stop(report: planning.Progress) -> None:
        values.append(report.value)
        if report.value > values[0]:
            raise KeyboardInterrupt

    plan = planning.rebalance(fleet, 4, progress=stop)
    assert plan.interrupted
    assert plan.value == values[-1] > values[0]


@pytest.mark.parametrize("migrations", [0, 1, 5, 40])
def test_rebalance(migrations: int) -> None:
    fleet = pool([20000] * 4, [(1000, 0)] * 12 + [(3000, 1), (2000, 2)])
    before = int(fleet.free_memory().min())
    plan = planning.rebalance(fleet, migrations)
    planning.verify(plan, fleet, policy="dynamic_min")
    assert sum(not move.temporary for move in plan.migrations) <= migrations
    assert plan.value >= before
    assert (plan.value > before) == (migrations > 0)
    assert plan.status == "optimal" or migrations == 40


def test_refusals() -> None:
    fleet = pool([2000, 2000], [(1000, 0)])
    with pytest.raises(ValueError, match="host: there is no host 2"):
        planning.evacuate(fleet, 2)
    with pytest.raises(ValueError, match="hosts: p-h0 is the host to be emptied"):
        planning.evacuate(fleet, 0, hosts=[0, 1])
    with pytest.raises(ValueError, match="migrations: -1 is negative"):
        planning.rebalance(fleet, -1)
    with pytest.raises(ValueError, match="bandwidth: 0 is not positive"):
        planning.evacuate(fleet, 0).seconds(0)


@given(st.data())
def test_orders_of_random_moves(data: st.DataObject) -> None:
    """Whatever is asked for: each move fits at its moment, or the plan says where it stops."""
    count = data.draw(st.integers(2, 4))
    places = st.tuples(st.integers(1, 30), st.integers(0, count - 1), st.integers(0, count - 1))
    vms = data.draw(st.lists(places, min_size=1, max_size=8))
    slack = data.draw(st.integers(0, 20))
    free = [max(sum(size for size, *at in vms if at[end] == host) for end in (0, 1)) + slack for host in range(count)]
    sizes, origin = [size for size, *_ in vms], [here for _, here, _ in vms]
    pinned = {vm: there for vm, (_, _, there) in enumerate(vms)}
    plan = planning.pack_sizes(sizes, free, "fewest-migrations", origin=origin, pinned=pinned)
    planning.verify(plan, sizes=sizes, free=free, origin=origin, pinned=pinned)
    assert plan.status == "optimal"


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ({"pinned": {0: 1}}, "VM p-v0 is on host p-h0, where pinned, affinity or vcpus forbid it; pack them first"),
        ({"affinity": {1: [1]}}, "VM p-v1 is on host p-h0, where pinned"),
        (
            {"anti_affinity": [[0, 1]]},
            "anti_affinity: VM p-v1 shares host p-h0 with a VM of its group; pack them first",
        ),
    ],
)
def test_rebalance_begins_where_the_vms_may_be(constraints: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        planning.rebalance(pool([3000, 3000], [(1000, 0), (500, 0)]), 1, **constraints)


def test_nobody_is_sent_to_a_host_that_stays_overcommitted() -> None:
    fleet = pool([1000, 1000], [(700, 0), (600, 0), (500, 1), (400, 1)])
    plan = planning.rebalance(fleet, 4)
    planning.verify(plan, fleet, policy="dynamic_min")
    assert (plan.host.tolist(), plan.value) == ([0, 0, 1, 1], -300 * MIB)
    assert "a host stays overcommitted by 300MiB" in plan.reason
    relieved = planning.rebalance(pool([1000, 1000], [(700, 0), (600, 0), (300, 1)]), 1)
    assert (relieved.host.tolist(), relieved.value) == ([0, 1, 1], 100 * MIB)


def test_what_is_found_may_remain_but_nobody_joins_it() -> None:
    fleet = pool([4000, 4000], [(1000, 0), (900, 0), (800, 1)], groups=[[0, 1, 2]])
    plan = planning.rebalance(fleet, 0)
    planning.verify(plan, fleet, policy="dynamic_min")
    assert plan.host.tolist() == [0, 0, 1]
    with pytest.raises(planning.Violation, match="anti_affinity"):
        planning.verify(replace(plan, host=np.array([0, 1, 1], np.int32)), fleet, policy="dynamic_min")


def test_nothing_is_to_be_done_where_no_guest_runs() -> None:
    plan = planning.evacuate(pool([1000, 1000], [(900, 1), (600, 1)]), 0)
    assert (plan.status, plan.value, plan.vms.tolist(), plan.migrations) == ("optimal", 0, [], [])
    assert plan.reason == "host p-h1 is overcommitted by 500MiB without these VMs"


@pytest.mark.parametrize("number", [1.5, True, "1"])
def test_counts_and_rows_are_not_rounded(number: Any) -> None:
    fleet = pool([1000], [])
    with pytest.raises(TypeError, match=f"migrations: {number!r} is no integer"):
        planning.rebalance(fleet, number)
    with pytest.raises(TypeError, match=f"host: {number!r} is no integer"):
        planning.evacuate(fleet, number)


def test_an_order_that_is_not_found_in_time_is_not_said_not_to_exist() -> None:
    """Two VMs that change places need a third host meanwhile, which takes a search."""
    sizes, free, origin, target = [60, 60], [100, 100, 100], [0, 1], [1, 0]
    assert ordered(sizes, free, origin, target)[1] == ""
    question = question_of_sizes(sizes, free, origin, {})
    moves, why = in_order(question, np.array(target), np.array([1], np.uint64), seconds=-1.0)
    assert (len(moves), why.split(" for ")[0]) == (0, "no order was found in time")
