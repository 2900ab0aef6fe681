"""Evacuation: who moves aside, against enumeration and a solver library, and what is said where nothing goes."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest
from pools import pool
from twins import exhaustive, solver

from xenmem import planning
from xenmem.planning.effort import Effort, Progress
from xenmem.planning.question import question_of_sizes
from xenmem.planning.search.compiled.arrays import NEVER
from xenmem.planning.search.displaced import crowd_of, displaced_bound, fewest_displaced
from xenmem.planning.search.problem import problems


def fewest(sizes: list[int], free: list[int], origin: list[int], may: list[list[bool]] | None = None) -> int | None:
    """VMs that have to move aside for those on no host; `free` is with all others in place. By trying all sets."""
    residents = [vm for vm, host in enumerate(origin) if host >= 0]
    waiting = [vm for vm, host in enumerate(origin) if host < 0]
    for number in range(len(residents) + 1):
        for aside in combinations(residents, number):
            holes = list(free)
            for vm in aside:
                holes[origin[vm]] += sizes[vm]
            moving = sorted((*waiting, *aside), key=lambda vm: -sizes[vm])
            where = [
                [host != origin[vm] and (may is None or may[vm][host]) for host in range(len(free))] for vm in moving
            ]
            if exhaustive.fits([sizes[vm] for vm in moving], holes, where):
                return number
    return None


def random_pool(rng: np.random.Generator, hosts: int, vms: int, spare: int) -> tuple[list[int], list[int], list[int]]:
    """Sizes, room without any VM, and where they are; those on -1 wait."""
    sizes = rng.integers(1, 13, vms).tolist()
    origin = rng.integers(-1, hosts, vms).tolist()
    held = [sum(size for size, host in zip(sizes, origin, strict=True) if host == h) for h in range(hosts)]
    room = [load + int(rng.integers(0, spare)) for load in held]
    return sizes, room, origin


def test_who_moves_aside_equals_enumeration() -> None:
    """2,000 pools: never a bound above the fewest, never a way that is none, and mostly both meet."""
    rng = np.random.default_rng(11)
    outcomes = {"optimal": 0, "impossible": 0, "open": 0}
    for _ in range(2000):
        sizes, room, origin = random_pool(rng, int(rng.integers(1, 5)), int(rng.integers(2, 8)), 12)
        (problem,) = problems(question_of_sizes(sizes, room, origin, {}))
        crowd = crowd_of(problem, problem.origin)
        least = fewest(problem.sizes.tolist(), crowd.free.tolist(), problem.origin.tolist())
        found, bound = fewest_displaced(crowd, Effort(None, 0))
        if least is None:
            assert found is None
            outcomes["impossible" if bound >= NEVER else "open"] += 1
            continue
        assert displaced_bound(crowd) <= bound <= least
        if found is None:
            outcomes["open"] += 1
            continue
        left = problem.free.copy()
        np.subtract.at(left, found, problem.sizes)
        assert (left >= 0).all()
        value = int(((found != problem.origin) & (problem.origin >= 0)).sum())
        assert least <= value
        outcomes["optimal" if bound == value else "open"] += 1
    assert outcomes["optimal"] > 1000
    assert outcomes["impossible"] > 300
    assert outcomes["open"] < 150


def test_who_moves_aside_equals_a_solver_library() -> None:
    rng = np.random.default_rng(12)
    met = 0
    for _ in range(60):
        sizes, room, origin = random_pool(rng, 6, 22, 7)
        (problem,) = problems(question_of_sizes(sizes, room, origin, {}))
        crowd = crowd_of(problem, problem.origin)
        found, bound = fewest_displaced(crowd, Effort(None, 0))
        least = solver.best(sizes, room, "fewest-migrations", origin=origin)
        if least is None:
            assert found is None
            continue
        assert bound <= least
        if found is not None:
            value = int(((found != problem.origin) & (problem.origin >= 0)).sum())
            assert least <= value
            met += bound == value
    assert met > 15


def small_fleets(seed: int, count: int) -> Iterator[tuple[object, list[int], list[int], list[int]]]:
    """Fleets whose host 0 is to be emptied, and what enumeration needs of them."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        hosts, vms = int(rng.integers(2, 5)), int(rng.integers(2, 8))
        sizes = rng.integers(1, 13, vms).tolist()
        on = rng.integers(0, hosts, vms).tolist()
        held = [sum(size for size, host in zip(sizes, on, strict=True) if host == h) for h in range(hosts)]
        room = [load + int(rng.integers(0, 10)) for load in held]
        fleet = pool([max(1, 400 * r) for r in room], [(400 * s, h) for s, h in zip(sizes, on, strict=True)])
        free = [r - load for r, load in zip(room, held, strict=True)]
        yield fleet, sizes, free[1:], [host - 1 for host in on]


@pytest.mark.parametrize("seed", range(4))
def test_evacuations_equal_enumeration(seed: int) -> None:
    statuses = []
    for fleet, sizes, free, origin in small_fleets(seed, 100):
        plan = planning.evacuate(fleet, 0)
        planning.verify(plan, fleet, hosts=list(range(1, len(fleet.hosts))), policy="dynamic_min")
        least = fewest(sizes, free, origin)
        statuses.append(plan.status)
        if least is None:
            assert plan.status == "infeasible"
            assert "no order" not in plan.reason
        elif plan.status == "unknown":
            assert "no order exists" in plan.reason
        else:
            assert (plan.status, plan.value, plan.blocked) == ("optimal", origin.count(-1) + least, "")
    assert 20 < statuses.count("infeasible") < 80


def test_evacuate_moves_others_only_if_it_must() -> None:
    # 6000 fits nowhere until the 3000 of host 0 goes to host 1
    fleet = pool([8000, 5000, 9000], [(3000, 0), (1000, 1), (6000, 2)])
    plan = planning.evacuate(fleet, 2)
    planning.verify(plan, fleet, hosts=[0, 1], policy="dynamic_min")
    assert (plan.status, plan.value) == ("optimal", 2)
    assert [(move.vm, move.source, move.target) for move in plan.migrations] == [(0, 0, 1), (2, 2, 0)]
    assert plan.copied == sum(int(fleet.vms.memory_dynamic_min[vm]) for vm in (0, 2))
    assert plan.seconds(plan.copied) == 1.0


def tight_pool(hosts: int, vms: int, fill: float, seed: int) -> object:
    """VMs of 1 to 64 GiB, log-uniform, each new one on the host with the most room."""
    rng = np.random.default_rng(seed)
    sizes = np.sort(np.exp(rng.uniform(np.log(1024), np.log(65536), vms)).astype(int))[::-1]
    capacity = int(sizes.sum() / hosts / fill)
    load = np.zeros(hosts, int)
    placed = []
    for size in sizes.tolist():
        host = int(load.argmin())
        load[host] += size
        placed.append((size, host))
    return pool(np.maximum(capacity, load).tolist(), placed)


@pytest.mark.parametrize("fill", [0.85, 0.9, 0.95])
def test_a_full_pool_is_emptied_with_the_fewest_migrations(fill: float) -> None:
    fleet = tight_pool(32, 400, fill, 5)
    plan = planning.evacuate(fleet, 3)
    planning.verify(plan, fleet, hosts=[host for host in range(32) if host != 3], policy="dynamic_min")
    assert (plan.status, plan.blocked) == ("optimal", "")
    assert plan.value > int((fleet.vms.resident_on == 3).sum())


def test_too_little_in_the_whole_pool_is_proved() -> None:
    fleet = tight_pool(32, 400, 0.99, 5)
    plan = planning.evacuate(fleet, 3)
    planning.verify(plan, fleet, hosts=[host for host in range(32) if host != 3], policy="dynamic_min")
    assert plan.status == "infeasible"
    assert "too little in the whole pool" in plan.reason


def test_rounded_down_to_units_there_is_too_little() -> None:
    """Room for 13.5 and 13.5 holds 26 units of 1, not 27, though 27 units would add up to just that."""
    sizes, room, origin = [1] * 27, [13500, 13500], [-1] * 7 + [0] * 10 + [1] * 10
    (problem,) = problems(question_of_sizes([1000 * size for size in sizes], room, origin, {}))
    assert displaced_bound(crowd_of(problem, problem.origin)) == NEVER


def test_members_of_a_group_make_way_for_each_other() -> None:
    """The VM of host 0 shares a group with one of host 1, and host 2 is full: the other member has to leave host 1."""
    fleet = pool([9000, 9000, 5000], [(4000, 0), (5000, 1), (4000, 1), (1000, 2)], groups=[[0, 2]])
    plan = planning.evacuate(fleet, 0)
    planning.verify(plan, fleet, hosts=[1, 2], policy="dynamic_min")
    assert (plan.status, plan.value) == ("optimal", 1)
    fleet = pool([9000, 13000, 5000], [(8000, 0), (5000, 1), (4000, 1), (1000, 2)], groups=[[0, 2]])
    plan = planning.evacuate(fleet, 0)
    planning.verify(plan, fleet, hosts=[1, 2], policy="dynamic_min")
    assert (plan.status, plan.value, plan.blocked) == ("optimal", 2, "")
    assert [(move.vm, move.target) for move in plan.migrations] == [(2, 2), (0, 1)]


def test_progress_and_time_limit() -> None:
    fleet = tight_pool(32, 400, 0.97, 5)
    seen: list[Progress] = []
    plan = planning.evacuate(fleet, 3, time_limit=0.2, progress=seen.append)
    assert seen
    assert all(progress.bound <= progress.value for progress in seen)
    assert plan.value == seen[-1].value
