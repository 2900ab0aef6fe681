"""Exact packing on thousands of random small pools with every kind of constraint: HiGHS and enumeration agree with it.

Each case is one pool and one objective; the answers are compared by value, and every plan is verified.
"""

from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
from pools import pool
from twins import enumeration, solver

import xenmem
from xenmem import planning

MIB = 1 << 20
CASES = 50
"""In each test."""


class Case(NamedTuple):
    """One question, for the planners and for those that check them."""

    sizes: list[int]
    free: list[int]
    origin: list[int]
    headroom: list[int]
    constraints: dict[str, Any]
    allowed: list[list[bool]]
    groups: list[list[int]]
    same_host: list[list[int]]
    weights: list[int]

    def best(self, check: Any, objective: str) -> int | None:
        """What the planner has to reach, by one of the modules that check it."""
        room = [free - kept for free, kept in zip(self.free, self.headroom, strict=True)]
        answer: int | None = check.best(
            self.sizes,
            room,
            objective,
            allowed=self.allowed,
            groups=self.groups,
            same_host=self.same_host,
            origin=self.origin,
            weights=self.weights,
            copied=self.sizes,
        )
        return answer


def case(rng: np.random.Generator, most_vms: int, most_hosts: int) -> Case:
    """A pool with or without each of the constraints, about as large as its VMs."""
    hosts, vms = int(rng.integers(1, most_hosts + 1)), int(rng.integers(1, most_vms + 1))
    sizes = rng.integers(1, rng.choice([4, 10, 30]), vms).tolist()
    shares = rng.dirichlet(np.full(hosts, 5)) * sum(sizes) / rng.uniform(0.5, 1.2)
    free = np.maximum(shares.astype(int), rng.integers(-2, 3)).tolist()
    origin = rng.integers(-1, hosts, vms).tolist()
    headroom = rng.integers(0, 3, hosts).tolist() if rng.random() < 0.2 else [0] * hosts
    allowed = np.ones((vms, hosts), np.bool_)
    constraints: dict[str, Any] = {}
    if rng.random() < 0.35:
        allowed &= rng.random((vms, hosts)) < np.where(rng.random((vms, 1)) < 0.4, 0.6, 1)
        allowed[~allowed.any(axis=1)] = True
        constraints["affinity"] = {vm: np.flatnonzero(row).tolist() for vm, row in enumerate(allowed) if not row.all()}
    if rng.random() < 0.25:
        vm = int(rng.integers(vms))
        host = int(rng.choice(np.flatnonzero(allowed[vm])))
        constraints["pinned"] = {vm: host}
        allowed[vm] = np.arange(hosts) == host
    together: list[list[int]] = []
    if rng.random() < 0.4 and vms > 3:
        members = rng.permutation(vms)[:4].tolist()
        together = [sorted(members[:2]), sorted(members[2:])] if rng.random() < 0.5 else [sorted(members[:3])]
        together = [group for group in together if allowed[group].all(axis=0).any()]
        constraints["same_host"] = together
    groups: list[list[int]] = []
    if rng.random() < 0.4:
        groups = [sorted(rng.choice(vms, size, replace=False).tolist()) for size in (2, 3) if size <= vms]
    groups = [group for group in groups if all(len(set(group) & set(tied)) < 2 for tied in together)]
    groups = [group for group in groups if not contradicts(allowed, group)]
    constraints["anti_affinity"] = groups
    priority = {vm: int(rng.integers(0, 3)) for vm in range(vms)} if rng.random() < 0.3 and not together else {}
    constraints["priority"] = priority
    weights = [1] * vms
    below = 0
    for level in sorted(set(priority.values())):
        # one VM outweighs all of lower priority
        weights = [below + 1 if priority[vm] == level else weights[vm] for vm in range(vms)]
        below += (below + 1) * sum(value == level for value in priority.values())
    return Case(sizes, free, origin, headroom, constraints, allowed.tolist(), groups, together, weights)


def contradicts(allowed: "np.ndarray[tuple[int, int], np.dtype[np.bool_]]", group: list[int]) -> bool:
    """More members are confined to some hosts than there are of these: that is refused, not answered."""
    confined = [allowed[vm] for vm in group if not allowed[vm].all()]
    return any(sum(not (one & ~other).any() for one in confined) > other.sum() for other in confined)


def check(asked: Case, objective: str, best: int | None, scale: int = MIB) -> None:
    """The plan reaches the best and says so. In MiB, as what a migration copies decides by the MiB."""
    sizes, free, headroom = (np.array(values) * scale for values in (asked.sizes, asked.free, asked.headroom))
    rows = {"origin": asked.origin, "headroom": headroom, **asked.constraints}
    plan = planning.pack_sizes(sizes, free, objective, **rows)
    planning.verify(plan, sizes=sizes, free=free, **rows)
    if objective == "all":
        assert sum(weight for weight, host in zip(asked.weights, plan.host, strict=True) if host >= 0) == best
        assert plan.status == ("optimal" if best == sum(asked.weights) else "infeasible")
        assert plan.bound == plan.value or set(asked.weights) != {1}
    elif best is None:
        assert plan.status == "infeasible"
        assert plan.obstacle is not None
    elif objective == "fewest-migrations":
        moved = [vm for vm, host in enumerate(plan.host) if asked.origin[vm] not in (-1, host)]
        assert sum(1000 + asked.sizes[vm] for vm in moved) == best
        assert (plan.status, plan.value, plan.bound) == ("optimal", best // 1000, best // 1000)
    else:
        value = best * (scale if objective == "even" else 1)
        assert (plan.status, plan.value, plan.bound) == ("optimal", value, value)


@pytest.mark.parametrize("objective", planning.OBJECTIVES)
@pytest.mark.parametrize("block", range(11))
def test_pools_against_the_solver(block: int, objective: str) -> None:
    for number in range(CASES):
        asked = case(np.random.default_rng([block, number]), 12, 5)
        check(asked, objective, asked.best(solver, objective))


@pytest.mark.parametrize("objective", planning.OBJECTIVES)
@pytest.mark.parametrize("block", range(8))
def test_small_pools_against_enumeration(block: int, objective: str) -> None:
    for number in range(CASES):
        asked = case(np.random.default_rng([7, block, number]), 6, 3)
        check(asked, objective, asked.best(enumeration, objective), 1 if objective == "even" else MIB)


def test_the_solver_and_enumeration_agree() -> None:
    for number in range(CASES):
        asked = case(np.random.default_rng([8, number]), 6, 3)
        objective = planning.OBJECTIVES[number % 4]
        assert asked.best(solver, objective) == asked.best(enumeration, objective)


def test_claims_hold_where_admission_asks_for_more_or_less_than_is_used() -> None:
    """Stored overheads that are out of date: what a plan says is proved holds for every placement that is valid."""
    for seed in range(CASES):
        rng = np.random.default_rng(seed)
        hosts, vms = int(rng.integers(1, 4)), int(rng.integers(1, 6))
        guests = [
            (int(rng.integers(10, 40)) * 100, int(rng.integers(hosts)) if rng.random() < 0.6 else None)
            for _ in range(vms)
        ]
        share = sum(size for size, _ in guests) // hosts
        asked = pool([max(100, int(share * rng.uniform(0.8, 1.5))) for _ in range(hosts)], guests)
        drift = rng.integers(-200, 201, vms) * MIB * (rng.random(vms) < 0.7)
        stored = np.maximum(asked.vms.memory_overhead + drift, 0)
        fleet = asked.replace(vms=replace(asked.vms, memory_overhead=stored))
        valid = [place for place in product(range(hosts), repeat=vms) if is_valid(fleet, place)]
        now = fleet.vms.resident_on.tolist()
        for objective in planning.OBJECTIVES:
            plan = planning.pack(fleet, objective=objective)
            planning.verify(plan, fleet)
            if plan.status == "infeasible":
                assert not valid or "cannot all" not in plan.reason
                continue
            assert tuple(plan.host.tolist()) in valid
            if objective == "fewest-hosts":
                assert plan.bound <= min(len(set(place)) for place in valid) <= plan.value
            elif objective == "fewest-migrations":
                fewest = min(sum(a not in (-1, b) for a, b in zip(now, place, strict=True)) for place in valid)
                assert plan.bound <= fewest <= plan.value


def is_valid(fleet: xenmem.Fleet, place: tuple[int, ...]) -> bool:
    """VMs that run count as used; those that start are admitted after them, the most demanding first."""
    need, now = fleet.start_memory("static_max").tolist(), fleet.vms.resident_on.tolist()
    overhead = [
        int(fleet.vms.memory_overhead[vm] if now[vm] >= 0 else fleet.overhead()[vm]) for vm in range(len(place))
    ]
    used = [int(fleet.vms.memory_static_max[vm]) + overhead[vm] for vm in range(len(place))]
    for host in set(place):
        here = [vm for vm, on in enumerate(place) if on == host]
        left = int(fleet.hosts.memory_total[host]) - sum(used[vm] for vm in here if now[vm] >= 0)
        for vm in sorted((vm for vm in here if now[vm] < 0), key=lambda vm: used[vm] - need[vm]):
            if left < need[vm]:
                return False
            left -= used[vm]
        if left < 0:
            return False
    return True
