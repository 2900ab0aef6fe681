"""Failover, capacity, ballooning and updates of a Fleet: which hosts and VMs count, and with how much memory."""

from pathlib import Path

import numpy as np
import pytest
from pools import pool, records
from twins import stepwise

import xenmem
from xenmem.fleet import PowerState
from xenmem.planning import RestartPool, balloon, capacity_of_pools, failover, failover_of_pools, max_failures
from xenmem.planning.updating.problem import UpdateProblem
from xenmem.planning.updating.rolling_update import rolling_update
from xenmem.planning.xapi import HAPool, plan_for_n_failures
from xenmem.planning.xapi.failover import Outcome
from xenmem.units import GIB


@pytest.fixture(scope="module")
def fleet(data: Path) -> xenmem.Fleet:
    return xenmem.read(data / "inventories" / "pool-65.statedb.xml")


def test_free_memory_is_the_pools_own_unless_overcommitted(fleet: xenmem.Fleet) -> None:
    for policy in ("static_max", "dynamic_min"):
        pool = RestartPool.from_fleet(fleet, policy=policy)
        assert np.maximum(0, pool.free).tolist() == fleet.free_memory(policy)[pool.hosts].tolist()
        assert pool.size.tolist() == fleet.start_memory(policy)[pool.vms].tolist()
        assert (fleet.hosts.enabled & fleet.hosts.live)[pool.hosts].all()


def test_survives_whatever_the_pool_says_it_survives(fleet: xenmem.Fleet) -> None:
    running = fleet.vms.is_guest & (fleet.vms.resident_on >= 0)
    for protected in (None, running):
        pool = RestartPool.from_fleet(fleet, protected=protected)
        ha = HAPool.from_fleet(fleet)
        if protected is not None:
            ha = ha.protecting(np.flatnonzero(running))
        for n in range(4):
            if plan_for_n_failures(ha, n) is Outcome.PLAN_EXISTS_FOR_ALL_VMS:
                assert failover(pool, n).survives
    assert max_failures(pool, time_limit=5).at_least >= 0


def test_pools_are_asked_together(fleet: xenmem.Fleet, data: Path) -> None:
    both = xenmem.Fleet.concatenate([fleet, xenmem.read(data / "inventories" / "pool-small.statedb.xml")])
    answers = failover_of_pools(both, 1)
    assert len(answers) == 2
    for row, answer in enumerate(answers):
        assert answer.answer == failover(RestartPool.from_fleet(both, row), 1).answer
        assert (both.hosts.pool[list(answer.failed_hosts)] == row).all()
    counts = capacity_of_pools(both, static_max=[4 * GIB], vcpus_max=2, num_failures=1)
    for row, answer in enumerate(counts):
        assert answer.count <= answer.bound
        assert (both.hosts.pool[answer.host] == row).all()
    with pytest.raises(ValueError, match="the fleet has 2 pools"):
        failover(both, 1)


def test_update_of_the_small_pool(data: Path) -> None:
    fleet = xenmem.read(data / "inventories" / "pool-small.statedb.xml")
    problem = UpdateProblem.from_fleet(fleet)
    plan = rolling_update(problem)
    assert plan.status in ("optimal", "feasible", "infeasible")
    if plan.steps:
        place = {int(row): k for k, row in enumerate(problem.hosts)}
        vm_place = {int(row): k for k, row in enumerate(problem.vms)} | {-1: -1}
        steps = [
            step._replace(vm=vm_place[step.vm], source=place.get(step.source, -1), host=place[step.host])
            for step in plan.steps
        ]
        order = tuple(place[row] for row in plan.order)
        stepwise.carry_out(problem, type(plan)(plan.status, tuple(steps), order, plan.copied, plan.bound, plan.reason))
        assert plan.order[0] == fleet.pools.master[0]


def test_update_needs_the_overhead_of_both_models(fleet: xenmem.Fleet) -> None:
    problem = UpdateProblem.from_fleet(fleet, model="26.3")
    amount = fleet.vms.memory_dynamic_min[problem.vms]
    assert (problem.need[:, 1] >= amount + fleet.overhead("26.3")[problem.vms]).all()
    assert (problem.need[:, 0] >= amount + fleet.vms.memory_overhead[problem.vms]).all()


def test_a_host_of_no_memory_is_one_of_unknown_memory() -> None:
    """A pool says 0 of a host that it has not measured."""
    tables = records([5000, 5000], [(1000, 0), (1000, None)])
    tables["host_metrics"][tables["host"]["p-h0"]["metrics"]]["memory_total"] = "0"
    with pytest.raises(ValueError, match="host p-h0: its memory_total is unknown"):
        balloon(xenmem.Fleet.from_records(tables), 1, 0)


def test_a_host_keeps_back_63_mib_more_after_its_update() -> None:
    """Hosts of 5000 MiB have 4937 then: too few for two VMs of 2469 to come home."""
    vms: list[tuple[int, int | None]] = [(2469, 0), (2469, 0), (1000, 1), (1000, 2)]
    before = pool([5000] * 3, vms, builds=["26.2.0"] * 3)
    problem = UpdateProblem.from_fleet(before, model="26.3")
    assert ((problem.capacity[:, 0] - problem.capacity[:, 1]) >> 20).tolist() == [63] * 3
    assert rolling_update(problem).status == "infeasible"
    assert rolling_update(UpdateProblem.from_fleet(before, model="pre-26.3")).steps
    after = pool([5000] * 3, vms, builds=["26.3.0"] * 3)
    assert rolling_update(UpdateProblem.from_fleet(after, model="26.3")).steps


def test_balloon_never_promises_more_than_there_is(fleet: xenmem.Fleet) -> None:
    halted = np.flatnonzero(fleet.vms.is_guest & (fleet.vms.power_state == PowerState.HALTED))
    host = int(RestartPool.from_fleet(fleet).hosts[0])
    answer = balloon(fleet, int(halted[0]), host)
    assert set(answer.vms) == set(np.flatnonzero((fleet.vms.resident_on == host) & fleet.vms.is_guest).tolist())
    low = fleet.vms.memory_dynamic_min[list(answer.vms)] // 1024
    high = fleet.vms.memory_dynamic_max[list(answer.vms)] // 1024
    for domid, kib in answer.fair.targets:
        assert low[domid] <= kib <= high[domid]
    running = np.flatnonzero(fleet.vms.is_guest & (fleet.vms.power_state == PowerState.RUNNING))
    with pytest.raises(ValueError, match="is running: it is there"):
        balloon(fleet, int(running[0]), host)
    with pytest.raises(ValueError, match="vm: -1 is outside"):
        balloon(fleet, -1, host)


def test_a_vm_is_restarted_where_its_storage_is(data: Path) -> None:
    """It said that the pool survives, whatever the other host sees."""
    fleet = xenmem.read(data / "plans" / "local-sr.json")
    running = fleet.vms.is_guest & (fleet.vms.power_state == PowerState.RUNNING)
    pool_ = RestartPool.from_fleet(fleet, protected=running)
    assert pool_.allowed is not None
    assert pool_.allowed.tolist() == [[True, False]]
    assert failover(pool_, 1).stays_down == (int(pool_.vms[0]),)
    forbidden = np.zeros((len(fleet.vms), len(fleet.hosts)), np.bool_)
    assert not RestartPool.from_fleet(fleet, protected=running, allowed=forbidden).allowed.any()
