"""No VM migrates to a host of an older version (helpers.ml: Checks): all planners keep to it, the checker sees it."""

from dataclasses import replace

import numpy as np
import pytest
from pools import pool, records

import xenmem
from xenmem import planning
from xenmem.planning.plan import Migration
from xenmem.planning.question import question_of_fleet
from xenmem.planning.search.migrations import in_order

OLD, NEW = "26.2.0", "26.10.0"


def test_a_newer_xapi_does_not_outweigh_an_older_xen() -> None:
    """The middle host is neither older nor newer than the others; no VM goes there, nor away from there."""
    tables = records([9000, 9000, 9000], [(3000, 0), (3000, 1)], builds=[OLD, NEW, OLD])
    for number, xen in enumerate(("4.17.6-2", "4.17.5-20", "4.17.6-2")):
        tables["host"][f"p-h{number}"]["software_version"]["xen"] = xen
    fleet = xenmem.Fleet.from_records(tables)
    assert planning.evacuate(fleet, 0).host.tolist() == [2]
    assert planning.evacuate(fleet, 0, hosts=[1]).status == "infeasible"
    assert planning.evacuate(fleet, 1).status == "infeasible"
    problem = planning.UpdateProblem.from_fleet(fleet)
    assert problem.may_follow.tolist() == [[True, False, True], [False, True, False], [True, False, True]]
    plan = planning.pack(fleet, pinned={0: 2, 1: 1}, objective="fewest-migrations")
    planning.verify(plan, fleet, pinned={0: 2, 1: 1})
    with pytest.raises(planning.Violation, match="version: "):
        planning.verify(replace(plan, host=np.array([1, 1], np.int32)), fleet)


def test_before_25_31_the_platform_counts_alone() -> None:
    fleet = pool([9000, 9000], [(3000, 0)], builds=["24.19.2", "24.19.1"])
    plan = planning.evacuate(fleet, 0)
    planning.verify(plan, fleet, policy="dynamic_min")
    assert plan.host.tolist() == [1]
    assert planning.evacuate(pool([9000, 9000], [(3000, 0)], builds=["25.31.1", "25.31.0"]), 0).status == "infeasible"


def test_evacuation_keeps_to_hosts_that_are_not_older() -> None:
    """Host 1 has more room, host 2 is the only one that is as new."""
    vms: list[tuple[int, int | None]] = [(3000, 0), (1000, 1)]
    plan = planning.evacuate(pool([9000, 9000, 4000], vms, builds=[NEW, OLD, NEW]), 0)
    assert (plan.status, plan.host.tolist()) == ("optimal", [2])
    refused = planning.evacuate(pool([9000, 9000, 2000], vms, builds=[NEW, OLD, NEW]), 0)
    assert refused.status == "infeasible"
    newer = planning.evacuate(pool([9000, 9000, 4000], vms, builds=[OLD, NEW, OLD]), 0)
    assert newer.status == "optimal"


def test_who_moves_aside_does_not_go_to_an_older_host_either() -> None:
    """6000 needs the room of the 3000 on host 1, which would fit on host 2, if that were not older."""
    sizes: list[tuple[int, int | None]] = [(6000, 0), (3000, 1), (1000, 2)]
    assert planning.evacuate(pool([9000, 8000, 5000], sizes), 0).value == 2
    plan = planning.evacuate(pool([9000, 8000, 5000], sizes, builds=[NEW, NEW, OLD]), 0)
    assert plan.status == "infeasible"


def test_a_temporary_move_does_not_go_there_either() -> None:
    """Two VMs change places over a third host, which may be newer for neither and older for none."""
    sizes: list[tuple[int, int | None]] = [(5000, 0), (4000, 1)]
    for builds, blocked in (([NEW] * 3, False), ([NEW, NEW, OLD], True), ([OLD, OLD, NEW], True)):
        fleet = pool([6000] * 3, sizes, builds=builds)
        question = question_of_fleet(fleet, [0, 1], None, "dynamic_min", {})
        moves, why = in_order(question, np.array([1, 0]), np.array([1], np.uint64))
        assert bool(why) == blocked
        assert [move.target for move in moves if move.temporary] == ([] if blocked else [2])


def test_packing_moves_a_running_vm_to_no_older_host_but_starts_one_anywhere() -> None:
    sizes: list[tuple[int, int | None]] = [(3000, 0), (3000, None)]
    fleet = pool([4000, 4000], sizes, builds=[NEW, OLD])
    plan = planning.pack(fleet, vms=[0], hosts=[1])
    assert plan.status == "infeasible"
    plan = planning.pack(fleet)
    planning.verify(plan, fleet)
    assert (plan.status, plan.host.tolist()) == ("optimal", [0, 1])


def test_consolidation_empties_the_older_host() -> None:
    """Host 1 holds less, but its VM cannot go to host 0."""
    fleet = pool([9000, 9000], [(3000, 0), (1000, 1)], builds=[OLD, NEW])
    plan = planning.consolidate(fleet)
    planning.verify(plan, fleet, policy="dynamic_min")
    assert (plan.status, plan.value, plan.emptied) == ("optimal", 1, (0,))


def test_rebalancing_leaves_what_could_only_go_to_an_older_host() -> None:
    sizes: list[tuple[int, int | None]] = [(1000, 0), (1000, 0), (1000, 0)]
    assert planning.rebalance(pool([5000, 5000], sizes), 2).migrations
    fleet = pool([5000, 5000], sizes, builds=[NEW, OLD])
    plan = planning.rebalance(fleet, 2)
    planning.verify(plan, fleet, policy="dynamic_min")
    assert plan.migrations == []


@pytest.mark.parametrize("over", [(), (2,)])
def test_the_checker_sees_it(over: tuple[int, ...]) -> None:
    """As the final host, and on the way there."""
    fleet = pool([5000] * 3, [(1000, 0)], builds=[NEW, NEW, OLD])
    plan = planning.pack(fleet, pinned={0: 1}, objective="fewest-migrations")
    planning.verify(plan, fleet, pinned={0: 1})
    if over:
        copied = int(fleet.vms.memory_dynamic_min[0])
        moves = [Migration(0, 0, 2, copied, True), Migration(0, 2, 1, copied, False)]
        broken = replace(plan, order=lambda: (moves, ""))
    else:
        broken = replace(plan, host=np.array([2], np.int32))
    with pytest.raises(planning.Violation, match="version: "):
        planning.verify(broken, fleet)


def test_a_rolling_update_keeps_to_it() -> None:
    """Host 2 is older than host 0 until it restarts: the VM waits on host 1, or the update begins with host 2."""
    problem = planning.UpdateProblem.from_arrays([5, 5, 9], [3, 3], [0, 1], version=[1, 1, 0])
    assert planning.rolling_update(problem, [0, 1, 2]).status == "infeasible"
    plan = planning.rolling_update(problem)
    assert (plan.status, plan.order[0]) == ("optimal", 2)
    fleet = pool([5000, 5000, 9000], [(3000, 0), (3000, 1)], builds=[NEW, NEW, OLD])
    may_follow = [[True, True, False], [True, True, False], [True, True, True]]
    assert planning.UpdateProblem.from_fleet(fleet).may_follow.tolist() == may_follow
