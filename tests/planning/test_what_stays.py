"""VMs that cannot migrate now, hosts that take no part: what a plan leaves alone, and what it says of it.

MiB where it says so; every plan is carried out on the pool in memory, and verified.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pools import MIB, in_memory, pool, records, with_drivers

import xenmem
from xenmem import planning
from xenmem.planning import Plan

Records = dict[str, dict[str, dict[str, Any]]]


def carried_out(inventory: Records, plan: Plan, folder: Path) -> None:
    """Have the pool in memory do the plan's migrations; it raises a Failure where it refuses."""
    session = in_memory(with_drivers(inventory), folder)
    vms, hosts = list(inventory["VM"]), list(inventory["host"])
    for migration in plan.migrations:
        session.xenapi.VM.pool_migrate(vms[migration.vm], hosts[migration.target], {})


def test_vms_of_another_disabled_host_stay(tmp_path: Path) -> None:
    """10 GiB leave host 1; two VMs of 4 and 5 GiB are on host 0; two more are on host 3, which is disabled."""
    vms = [(5000, 0), (4000, 0), (10000, 1), (1000, 2), (1000, 3), (12000, 3)]
    inventory = records([16000, 16000, 12000, 16000], vms, disabled=[3])
    fleet = xenmem.Fleet.from_records(inventory)
    plan = planning.evacuate(fleet, 1)
    planning.verify(plan, fleet, hosts=[0, 2], policy="dynamic_min")
    # the small VM of host 2 makes way, or nobody else does
    assert (plan.status, plan.value) == ("optimal", 1)
    carried_out(inventory, plan, tmp_path)
    assert not {4, 5} & {migration.vm for migration in plan.migrations}


def test_an_evacuation_beside_a_disabled_host_is_not_refused_for_its_vms(tmp_path: Path) -> None:
    """The VM of 12 GiB on the disabled host fits nowhere, and nobody asks it to."""
    vms = [(5000, 0), (4000, 0), (10000, 1), (1000, 2), (12000, 3)]
    inventory = records([16000, 16000, 10500, 16000], vms, disabled=[3])
    fleet = xenmem.Fleet.from_records(inventory)
    plan = planning.evacuate(fleet, 1)
    planning.verify(plan, fleet, hosts=[0, 2], policy="dynamic_min")
    assert (plan.status, plan.value) == ("optimal", 2)
    carried_out(inventory, plan, tmp_path)


def with_a_dead_host() -> Records:
    inventory = records([32000, 32000, 32000], [(4000, 0), (4000, 2), (4000, 1)])
    inventory["host_metrics"]["p-h2-m"]["live"] = False
    return inventory


def test_nobody_migrates_off_a_host_that_is_not_live() -> None:
    fleet = xenmem.Fleet.from_records(with_a_dead_host())
    evacuation = planning.evacuate(fleet, 2)
    assert evacuation.status == "infeasible"
    assert evacuation.reason == "1 VM of p-h2 cannot migrate: p-v1 (its host p-h2 is not live)"
    packed = planning.pack(fleet)
    assert packed.stays == {1: "its host p-h2 is not live"}
    assert packed.vms.tolist() == [0, 2]
    # the other two are what can be consolidated
    assert planning.consolidate(fleet).host.tolist() == [0, 0] or planning.consolidate(fleet).host.tolist() == [1, 1]


STILL = {
    "Paused": "it is Paused",
    "migrating": "it is migrating to p-h1",
}


def standing_still(how: str) -> xenmem.Fleet:
    """Three hosts of 8000 MiB with a VM of 3000 MiB each; that on host 0 cannot migrate."""
    inventory = records([8000, 8000, 8000], [(3000, 0), (3000, 1), (3000, 2)])
    vm = inventory["VM"]["p-v0"]
    if how == "Paused":
        vm["power_state"] = "Paused"
    else:
        vm["scheduled_to_be_resident_on"] = "p-h1"
    return xenmem.Fleet.from_records(inventory)


@pytest.mark.parametrize("how", STILL)
def test_an_evacuation_that_needs_an_immovable_vm_names_it(how: str) -> None:
    plan = planning.evacuate(standing_still(how), 0)
    assert (plan.status, plan.stays, plan.migrations) == ("infeasible", {0: STILL[how]}, [])
    assert plan.reason == f"1 VM of p-h0 cannot migrate: p-v0 ({STILL[how]})"
    assert plan.obstacle == planning.Obstacle((0,), (0,))


@pytest.mark.parametrize("how", STILL)
def test_planners_leave_immovable_vms_where_they_are(how: str) -> None:
    fleet = standing_still(how)
    for plan, policy in (
        (planning.pack(fleet), "static_max"),
        (planning.consolidate(fleet), "dynamic_min"),
        (planning.rebalance(fleet, 3), "dynamic_min"),
    ):
        assert plan.stays == {0: STILL[how]}
        assert plan.vms.tolist() == [1, 2]
        planning.verify(plan, fleet, policy=policy)
    # of 8000 MiB two VMs fit on a host; one that is migrating keeps memory on both, and runs on one in the end
    assert planning.consolidate(fleet).value == 2
    update = planning.rolling_update(fleet)
    assert update.status == "infeasible"
    assert f"shut down or suspend first p-v0 on p-h0: {STILL[how]}" in update.reason


def test_who_is_said_to_be_immovable_is() -> None:
    fleet = pool([8000, 8000, 8000], [(3000, 0), (3000, 1), (3000, 2)])
    said = {0: "its disk is local"}
    assert planning.evacuate(fleet, 0, immovable=said).reason == "1 VM of p-h0 cannot migrate: p-v0 (its disk is local)"
    assert planning.consolidate(fleet, immovable=said).emptied in ((1,), (2,))
    problem = planning.UpdateProblem.from_fleet(fleet, immovable=said)
    assert "p-v0 on p-h0: its disk is local" in planning.rolling_update(problem).reason
    with pytest.raises(ValueError, match="same_host: VM p-v0 takes no part: it stays where it is, its disk is local"):
        planning.pack(fleet, same_host=[[0, 1]], immovable=said)
    # a pin to where it is asks for nothing
    assert planning.pack(fleet, pinned={0: 0}, immovable=said).status == "optimal"
    with pytest.raises(planning.Violation, match="immovable"):
        planning.verify(planning.evacuate(fleet, 0), fleet, hosts=[1, 2], policy="dynamic_min", immovable=said)
    with pytest.raises(ValueError, match="immovable: there is no VM 9"):
        planning.pack(fleet, immovable={9: "?"})


def holding_a_reservation() -> xenmem.Fleet:
    """Two hosts of 16000 MiB; a halted VM of 8000 has a reservation on host 0, where a VM of 2000 runs."""
    inventory = records([16000, 16000], [(8000, None), (2000, 0)])
    inventory["VM"]["p-v0"]["scheduled_to_be_resident_on"] = "p-h0"
    return xenmem.Fleet.from_records(inventory)


def test_a_reservation_that_a_halted_vm_holds_hinders_nobody_and_counts() -> None:
    fleet = holding_a_reservation()
    plan = planning.evacuate(fleet, 0)
    assert (plan.status, plan.vms.tolist(), plan.stays) == ("optimal", [1], {})
    planning.verify(plan, fleet, hosts=[1], policy="dynamic_min")
    assert planning.rolling_update(fleet).status == "optimal"
    assert planning.evacuate(pool_with_room_for_one(), 1).status == "infeasible"
    assert planning.consolidate(fleet).value == 1
    # whoever asks for the halted VM itself starts it anew, wherever it fits
    packed = planning.pack(fleet, [0], pinned={0: 1})
    assert (packed.status, packed.migrations) == ("optimal", [])
    planning.verify(packed, fleet, pinned={0: 1})


def pool_with_room_for_one() -> xenmem.Fleet:
    """Host 0 has 9000 MiB, of which a halted VM keeps 8000; the VM of 2000 on host 1 finds no room there."""
    inventory = records([9000, 16000], [(8000, None), (2000, 1)])
    inventory["VM"]["p-v0"]["scheduled_to_be_resident_on"] = "p-h0"
    return xenmem.Fleet.from_records(inventory)


def test_a_host_to_which_a_vm_is_migrating_is_in_use() -> None:
    """Host 1 is emptied of its own VM and still gets another one."""
    inventory = records([40000, 40000, 40000], [(4000, 0), (2000, 1), (6000, 2), (16000, 0)])
    inventory["VM"]["p-v0"]["scheduled_to_be_resident_on"] = "p-h1"
    plan = planning.consolidate(xenmem.Fleet.from_records(inventory))
    assert plan.value == 2
    assert plan.emptied == (2,)


def test_hosts_without_movable_guests_are_as_free_as_they_are() -> None:
    fleet = pool([32000, 64000], [(4000, None)])
    assert planning.rebalance(fleet, 3).value == 32000 * MIB
    planning.verify(planning.rebalance(fleet, 3), fleet, policy="dynamic_min")
    assert planning.pack(fleet, [], objective="even").value == 32000 * MIB


def test_a_group_that_is_crowded_now_is_no_reason_to_reshuffle() -> None:
    """Four VMs of a group on three hosts: as it is, all hosts are in use, and none can be emptied without crowding."""
    vms = [(8000, 0), (4000, 0), (8000, 1), (4000, 1), (8000, 2), (4000, 2), (8000, 0)]
    fleet = pool([30000, 26000, 26000], vms, groups=[[0, 2, 4, 6]])
    plan = planning.consolidate(fleet)
    planning.verify(plan, fleet, policy="dynamic_min", vm_groups=False)
    assert plan.is_complete
    assert (plan.value, plan.migrations) == (3, [])


def test_a_host_of_a_group_as_large_as_the_pool_can_be_emptied(tmp_path: Path) -> None:
    """The pool keeps VM groups apart as far as it can; so a plan breaks one where nothing else is possible."""
    inventory = records([30000] * 3, [(8000, 0), (8000, 1), (8000, 2), (4000, 0)], groups=[[0, 1, 2]])
    fleet = xenmem.Fleet.from_records(inventory)
    plan = planning.evacuate(fleet, 0)
    assert (plan.status, plan.value) == ("optimal", 2)
    assert "share a host" in plan.reason
    assert "VM p-v0 needs 7.81GiB, and every host with that free has a VM of its anti-affinity group" in plan.reason
    planning.verify(plan, fleet, hosts=[1, 2], policy="dynamic_min", vm_groups=False)
    carried_out(inventory, plan, tmp_path)
    # two hosts do for two of the group, and then they are kept apart
    apart = planning.evacuate(pool([30000] * 3, [(8000, 0), (8000, 1), (4000, 2)], groups=[[0, 1]]), 0)
    assert (apart.status, apart.host.tolist()) == ("optimal", [2])


def stale() -> xenmem.Fleet:
    """Three hosts, VMs stored with 1 MiB less of overhead than they would get today; host 0 has 2 MiB left."""
    inventory = records([8000, 9000, 9000], [(1000, 0)] * 8 + [(2000, 1), (2000, 2)])
    for vm in inventory["VM"].values():
        vm["memory_overhead"] = str(int(vm["memory_overhead"]) - MIB)
    inventory["host"]["p-h0"]["memory_overhead"] = str(6 * MIB)
    return xenmem.Fleet.from_records(inventory)


def test_vms_that_stay_count_with_what_they_use() -> None:
    """Counted as if they arrived, host 0 would be overcommitted by 6 MiB."""
    fleet = stale()
    plan = planning.rebalance(fleet, 0)
    planning.verify(plan, fleet, policy="dynamic_min")
    assert (plan.status, plan.value, plan.migrations) == ("optimal", 2 * MIB, [])
    consolidated = planning.consolidate(fleet)
    planning.verify(consolidated, fleet, policy="dynamic_min")
    assert (consolidated.value, len(consolidated.migrations)) == (2, 1)


@pytest.mark.parametrize("seed", range(60))
def test_hosts_and_vms_of_every_kind(seed: int, tmp_path: Path) -> None:
    """Disabled and dead hosts, VMs that cannot move: whatever is planned is accepted by the pool in memory."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 5))
    vms = [(int(rng.integers(4, 40)) * 100, int(rng.integers(0, count))) for _ in range(int(rng.integers(2, 9)))]
    load = [sum(size for size, host in vms if host == h) for h in range(count)]
    inventory = records(
        [load[h] + int(rng.integers(0, 50)) * 100 + 100 for h in range(count)],
        vms,
        disabled=np.flatnonzero(rng.random(count) < 0.2).tolist(),
    )
    for host in range(count):
        inventory["host_metrics"][f"p-h{host}-m"]["live"] = bool(rng.random() < 0.9)
    for vm in inventory["VM"].values():
        if rng.random() < 0.1:
            vm["power_state"] = "Paused"
    fleet = xenmem.Fleet.from_records(inventory)
    able = np.flatnonzero(fleet.hosts.enabled & fleet.hosts.live).tolist()
    plans = [(planning.evacuate(fleet, 0), [host for host in able if host != 0])] if count else []
    plans += [(planning.consolidate(fleet), able), (planning.rebalance(fleet, 3), able)]
    for plan, hosts in plans:
        planning.verify(plan, fleet, hosts=hosts, policy="dynamic_min")
        if plan.is_complete and not plan.blocked:
            carried_out(inventory, plan, tmp_path)
