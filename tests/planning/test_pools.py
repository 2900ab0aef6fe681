"""Fleets of many pools: searched side by side, and answered as each pool alone would be."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from pools import pool

import xenmem
from xenmem import kernel, planning
from xenmem.planning._pools import in_parallel


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = kernel.threads()
    kernel.set_threads(request.param)
    yield request.param
    kernel.set_threads(before)


def pools(count: int, vms: int = 12, seed: int = 4) -> list[xenmem.Fleet]:
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        guests = [(int(rng.integers(10, 60)) * 100, int(rng.integers(0, 4))) for _ in range(vms)]
        load = [sum(size for size, host in guests if host == h) for h in range(4)]
        hosts = [size + int(rng.integers(1, 25)) * 100 for size in load]
        found.append(pool(hosts, guests, name=f"p{number}", groups=[[0, 1], [2, 3]] if number % 3 == 0 else ()))
    return found


PLANNERS: dict[str, Callable[..., planning.Plan]] = {
    **{
        objective: lambda fleet, objective=objective, **options: planning.pack(
            fleet, objective=objective, vm_groups=False, **options
        )
        for objective in planning.OBJECTIVES
    },
    "consolidate": lambda fleet, **options: planning.consolidate(fleet, vm_groups=False, **options),
    "rebalance": lambda fleet, **options: planning.rebalance(fleet, 3, vm_groups=False, **options),
}


@pytest.mark.parametrize("planner", PLANNERS)
def test_a_fleet_is_answered_as_its_pools_alone(planner: str, threads: int) -> None:
    alone = pools(7)
    plan = PLANNERS[planner](xenmem.Fleet.concatenate(alone), seed=2)
    each = [PLANNERS[planner](fleet, seed=2) for fleet in alone]
    hosts = [np.where(one.host >= 0, one.host + 4 * number, -1) for number, one in enumerate(each)]
    assert plan.host.tolist() == np.concatenate(hosts).tolist()
    together = min if plan.objective == "even" else sum
    assert plan.value == together(one.value for one in each)
    assert plan.bound == together(one.bound for one in each)


@pytest.mark.parametrize("objective", planning.OBJECTIVES)
def test_one_pool_of_several_is_infeasible(objective: str, threads: int) -> None:
    fleet = xenmem.Fleet.concatenate([*pools(2), pool([2000], [(1500, None), (1600, None)], name="q")])
    plan = planning.pack(fleet, objective=objective, vm_groups=False)
    planning.verify(plan, fleet, vm_groups=False)
    assert (plan.status, plan.value, plan.bound) == ("infeasible", 25, 25)
    assert plan.obstacle == ((24, 25), (8,))


def hard(count: int) -> xenmem.Fleet:
    """Pools whose most even placement is not proved soon: three VMs to a host, and no two alike."""
    rng = np.random.default_rng(1)
    static_max = rng.choice(np.arange(1000, 9000), 36, replace=False) << 20
    sizes = (static_max + kernel.overhead(kernel.DomainType.HVM, static_max, 1, 1.0)) >> 20
    vms = [(int(size), None) for size in sizes]
    return xenmem.Fleet.concatenate([pool([60000] * 12, vms, name=f"p{number}") for number in range(count)])


def test_ctrl_c_ends_all_pools_with_the_best_so_far(threads: int) -> None:
    def stop(_: planning.Progress) -> None:
        raise KeyboardInterrupt

    fleet = hard(6)
    plan = planning.pack(fleet, objective="even", progress=stop)
    planning.verify(plan, fleet)
    assert plan.interrupted
    assert plan.status == "feasible"


def test_what_progress_raises_ends_all_pools(threads: int) -> None:
    def fail(_: planning.Progress) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        planning.pack(hard(6), objective="even", progress=fail, time_limit=20)


def test_the_time_limit_is_shared(threads: int) -> None:
    fleet = hard(8)
    seen: list[planning.Progress] = []
    plan = planning.pack(fleet, objective="even", time_limit=1, progress=seen.append)
    planning.verify(plan, fleet)
    assert (plan.status, plan.interrupted) == ("feasible", True)
    assert seen
    assert all(report.value <= report.bound for report in seen)
    for number in range(8):
        alone = planning.pack(fleet, np.flatnonzero(fleet.vms.pool == number))
        assert alone.status == "optimal"


def test_answers_come_in_order_and_the_first_failure_is_raised(threads: int) -> None:
    def ask(number: int) -> int:
        if number in (3, 5):
            raise ValueError(f"pool {number}")
        time.sleep(0.002 * (9 - number))
        return number * number

    assert in_parallel(ask, [0, 1, 2, 4]) == [0, 1, 4, 16]
    with pytest.raises(ValueError, match="pool 3"):
        in_parallel(ask, range(9))
    nothing: list[Any] = in_parallel(ask, [])
    assert nothing == []
