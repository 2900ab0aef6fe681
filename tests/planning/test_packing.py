"""Packing: the known optima, what limits a plan, and what bad input gets."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import captures
import known_optima
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import MIB, pool

import xenmem
from xenmem import planning
from xenmem.planning.effort import Effort

GIB = 1 << 30


def instances() -> list[Any]:
    """Capacity, sizes and the number of hosts that is known to be enough: our own, and captured ones where they are."""
    found = [pytest.param(*instance[1:], id=instance.name) for instance in known_optima.made()]
    for instance in known_optima.captured(captures.FOLDER / "binpacking"):
        found.append(pytest.param(*instance[1:], id=f"captured-{instance.name}"))
    return found


def test_planted_packings_prove_their_optimum() -> None:
    for instance in known_optima.made():
        needed = -(-sum(instance.sizes) // instance.capacity)
        assert needed == instance.bins, instance.name
        assert 0 < min(instance.sizes) <= max(instance.sizes) < instance.capacity, instance.name


def test_both_layouts_of_captured_instances_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("2\n u3 \n 10 3 2\n5\n5\n7\n u2 \n 9 2 1\n4\n5\n")
    (tmp_path / "b.txt").write_text("3\n100\n50\n26\n24\n")
    assert [tuple(instance) for instance in known_optima.captured(tmp_path)] == [
        ("u3", 10, [5, 5, 7], 2),
        ("u2", 9, [4, 5], 1),
        ("b", 100, [50, 26, 24], 1),
    ]


@pytest.mark.parametrize(("capacity", "sizes", "hosts"), instances())
def test_known_optimum(capacity: int, sizes: list[int], hosts: int) -> None:
    free = np.full(hosts, capacity)
    plan = planning.pack_sizes(sizes, free)
    planning.verify(plan, sizes=sizes, free=free)
    assert (plan.status, plan.value) == ("optimal", len(sizes))
    placed, _ = planning.xapi.biggest_fit_decreasing(sizes, free)
    assert len(placed) < len(sizes)


@pytest.mark.parametrize(("capacity", "sizes", "hosts"), instances()[::6])
def test_fewest_hosts_of_instances(capacity: int, sizes: list[int], hosts: int) -> None:
    free = np.full(len(sizes), capacity)
    plan = planning.pack_sizes(sizes, free, "fewest-hosts")
    planning.verify(plan, sizes=sizes, free=free)
    assert plan.status == "optimal"
    assert plan.value <= hosts


@pytest.mark.parametrize(
    ("capacity", "sizes"),
    [
        make(items, seed)
        for make in (known_optima.narrow, known_optima.wide)
        for items in (120, 160)
        for seed in range(4)
    ],
)
def test_fewest_hosts_is_proved_where_rules_and_sums_do_not(capacity: int, sizes: list[int]) -> None:
    free = np.full(len(sizes), capacity)
    plan = planning.pack_sizes(sizes, free, "fewest-hosts")
    planning.verify(plan, sizes=sizes, free=free)
    assert plan.status == "optimal"


sizes_and_room = st.tuples(
    st.lists(st.integers(1, 1 << 50), min_size=0, max_size=40), st.lists(st.integers(-(1 << 50), 1 << 50), max_size=8)
)


@settings(max_examples=60)
@given(case=sizes_and_room, objective=st.sampled_from(planning.OBJECTIVES), seed=st.integers(0, 9))
def test_any_amounts(case: tuple[list[int], list[int]], objective: str, seed: int) -> None:
    sizes, free = case
    arrays = np.array(sizes, np.int64), np.array(free, np.int64)
    plan = planning.pack_sizes(*arrays, objective, seed=seed)
    planning.verify(plan, sizes=arrays[0], free=arrays[1])
    assert arrays[0].tolist() == sizes
    assert arrays[1].tolist() == free


def test_same_seed_same_answer() -> None:
    rng = np.random.default_rng(5)
    sizes, free = rng.integers(10, 60, 90), np.full(26, 150)
    first, second = (planning.pack_sizes(sizes, free, seed=3) for _ in range(2))
    assert first.host.tolist() == second.host.tolist()
    assert (first.status, first.reason) == (second.status, second.reason)


def test_time_limit_is_kept_and_said() -> None:
    rng = np.random.default_rng(1)
    sizes = rng.integers(10_000, 60_000, 400)
    free = np.full(100, int(sizes.sum()) // 100 + 1)
    seen: list[planning.Progress] = []
    plan = planning.pack_sizes(sizes, free * 2, "even", time_limit=0.5, progress=seen.append)
    planning.verify(plan, sizes=sizes, free=free * 2)
    assert plan.interrupted
    assert plan.status == "feasible"
    assert all(report.value <= report.bound for report in seen)
    assert seen


def test_ctrl_c_gives_the_best_so_far() -> None:
    def stop(_: planning.Progress) -> None:
        raise KeyboardInterrupt

    rng = np.random.default_rng(1)
    sizes, free = rng.integers(1, 1000, 60), np.full(9, 6000)
    plan = planning.pack_sizes(sizes, free, "even", progress=stop)
    planning.verify(plan, sizes=sizes, free=free)
    assert plan.interrupted
    assert plan.status == "feasible"
    assert plan.gap > 0


@pytest.mark.parametrize(
    ("sizes", "free", "constraints", "sentence", "obstacle"),
    [
        ([5, 1], [4, 4], {}, "VM 0 needs 5B, and no host that it may be on has that free (4B at most)", ((0,), (0, 1))),
        ([2, 2, 2], [3, 3], {}, "room for 2 VMs of at least 2B", ((0, 1, 2), (0, 1))),
        ([1, 1, 1], [9, 9], {"anti_affinity": [[0, 1, 2]]}, "3 VMs of an anti-affinity group", ((0, 1, 2), (0, 1))),
        ([1] * 9, [-2, 8], {}, "host 0 is overcommitted by 2B", None),
        # as much is free as is needed, but no sum of even sizes is odd
        ([6, 4, 2], [7, 5], {}, "do not fit together on the hosts of the pool: VM 0, VM 1, VM 2", None),
    ],
)
def test_obstacles(
    sizes: list[int], free: list[int], constraints: Any, sentence: str, obstacle: tuple[Any, Any] | None
) -> None:
    plan = planning.pack_sizes(sizes, free, **constraints)
    planning.verify(plan, sizes=sizes, free=free, **constraints)
    assert plan.status == "infeasible"
    assert sentence in plan.reason
    if obstacle is not None:
        assert plan.obstacle == obstacle


def test_bounds_hold_with_admission_above_use() -> None:
    fleet = pool([4000, 4000], [(1500, None), (1500, None), (1500, None), (1500, None)])
    plan = planning.pack(fleet, objective="fewest-hosts")
    planning.verify(plan, fleet)
    assert (plan.status, plan.value) == ("optimal", 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": [1, 0], "free": [5]}, "sizes: 0 at index 1 is outside 1.."),
        ({"sizes": [1, -4], "free": [5]}, "sizes: -4 at index 1 is outside 1.."),
        ({"sizes": [1], "free": [1 << 53]}, "free: 9007199254740992 at index 0 is outside"),
        ({"sizes": [1], "free": [5], "headroom": -1}, "headroom: -1 at index 0 is outside 0.."),
        ({"sizes": [1], "free": [5], "headroom": [1, 2]}, r"headroom: shape \(2,\) where there are 1 hosts"),
        ({"sizes": [1], "free": [5], "pinned": {1: 0}}, "pinned: there is no VM 1"),
        ({"sizes": [1], "free": [5], "pinned": {0: 1}}, "pinned: there is no host 1"),
        (
            {"sizes": [1], "free": [5, 5], "pinned": {0: 1}, "affinity": {0: [0]}},
            "pinned to host 1, which its affinity excl",
        ),
        ({"sizes": [1], "free": [5], "affinity": {0: []}}, "affinity: VM 0 may be on none of the hosts that take part"),
        (
            {"sizes": [1, 1], "free": [5], "same_host": [[0, 1]], "anti_affinity": [[1, 0]]},
            "VMs 0, 1 are to be together and apart",
        ),
        (
            {"sizes": [1, 1], "free": [5, 5], "same_host": [[0, 1]], "pinned": {0: 0, 1: 1}},
            "VMs 0, 1 cannot share a host: they are pinned to 0, 1",
        ),
        (
            {"sizes": [1, 1], "free": [5, 5], "anti_affinity": [[0, 1]], "pinned": {0: 1}, "affinity": {1: [1]}},
            "anti_affinity: VMs 0, 1 are to be apart, and are pinned to host 1",
        ),
        (
            {
                "sizes": [1] * 4,
                "free": [5] * 4,
                "anti_affinity": [range(4)],
                "affinity": {0: [1, 2], 1: [2, 1], 3: [1, 2]},
            },
            "anti_affinity: VMs 0, 1, 3 are to be apart, and may be on 2 hosts only",
        ),
        (
            {"sizes": [1], "free": [5], "priority": {0: 1 << 80}},
            "priority: 1208925819614629174706176 of VM 0 is outside",
        ),
        ({"sizes": [1], "free": [1 << 52] * 257}, "free: more than 1152921504606846976 bytes in all"),
        ({"sizes": [1], "free": [5], "origin": [1]}, "origin: 1 at index 0 is outside -1..0"),
        ({"sizes": [1], "free": [5], "objective": "least"}, "objective: 'least' is none of all, fewest-hosts"),
        ({"sizes": [1], "free": [5], "time_limit": 0}, "time_limit: 0 is not positive"),
        ({"sizes": [1], "free": [5], "seed": -1}, "seed: -1 is negative"),
    ],
)
def test_bad_input(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        planning.pack_sizes(**arguments)


def test_seeds_are_integers() -> None:
    with pytest.raises(TypeError, match=r"seed: 1\.5 is no integer"):
        planning.pack_sizes([1], [1], seed=1.5)  # type: ignore[arg-type]


def test_unknown_constraint() -> None:
    with pytest.raises(TypeError, match="colour: no such constraint"):
        planning.pack_sizes([1], [1], colour=1)  # type: ignore[call-arg]


def two_pools() -> xenmem.Fleet:
    return xenmem.Fleet.concatenate(
        [pool([8000, 8000], [(3000, 0), (3000, 1), (2000, None)]), pool([4000], [(5000, None)], name="q")]
    )


def test_pools_are_borders() -> None:
    fleet = two_pools()
    plan = planning.pack(fleet)
    planning.verify(plan, fleet)
    assert plan.status == "infeasible"
    assert plan.value == 3
    assert plan.obstacle == ((3,), (2,))
    assert "VM q-v0 needs" in plan.reason


def test_disabled_hosts_take_no_part() -> None:
    fleet = pool([8000, 8000], [(3000, None)], disabled=[0])
    assert planning.pack(fleet).host.tolist() == [1]
    with pytest.raises(
        ValueError, match="VM p-v0 cannot be pinned to host p-h0, which is not among the hosts that take VMs"
    ):
        planning.pack(fleet, pinned={0: 0})


def test_vcpus() -> None:
    fleet = pool([8000], [(3000, None)], cpus=2, vcpus=4)
    assert planning.pack(fleet).status == "infeasible"
    plan = planning.pack(fleet, vcpus=False)
    assert plan.status == "optimal"
    planning.verify(plan, fleet, vcpus=False)
    with pytest.raises(planning.Violation, match="vcpus: VM 0 has 4 vCPUs, host 0 2 CPUs"):
        planning.verify(plan, fleet)


def test_vm_groups_hold_against_vms_that_stay() -> None:
    fleet = pool([8000, 8000], [(1000, 0), (1000, None)], groups=[[0, 1]])
    plan = planning.pack(fleet, vms=[1])
    planning.verify(plan, fleet)
    assert plan.host.tolist() == [1]
    assert planning.pack(fleet, vms=[1], hosts=[0], vm_groups="strict").status == "infeasible"
    soft = planning.pack(fleet, vms=[1], hosts=[0])
    assert soft.status == "optimal"
    assert "VMs of a VM group share a host, spread evenly" in soft.reason
    assert planning.pack(fleet, vms=[1], hosts=[0], vm_groups=False).status == "optimal"


def test_overcommitted_pool_still_gets_an_answer() -> None:
    fleet = pool([4000, 4000], [(3000, 0), (3000, 0), (500, None)])
    plan = planning.pack(fleet, vms=[2])
    planning.verify(plan, fleet)
    assert (plan.status, plan.host.tolist()) == ("optimal", [1])
    assert "host p-h0 is overcommitted by 1.95GiB without these VMs" in plan.reason


def test_pack_of_bad_rows() -> None:
    fleet = two_pools()
    with pytest.raises(ValueError, match=r"vms: 9 at index 1 is outside 0\.\.3"):
        planning.pack(fleet, [0, 9])
    with pytest.raises(ValueError, match="vms: 1 at index 2 stands there twice"):
        planning.pack(fleet, [0, 1, 1])
    with pytest.raises(ValueError, match="host p-h0: its memory_total is unknown"):
        planning.pack(pool([0], []))
    fleet = pool([9000], [(3000, None), (2000, None)])
    vms = replace(fleet.vms, memory_static_max=fleet.vms.memory_static_max * [1, 0])
    nothing = fleet.replace(vms=vms)
    with pytest.raises(ValueError, match="vms: VM p-v1 has no memory: memory_static_max is 0"):
        planning.pack(nothing)


@pytest.mark.parametrize(
    "planner",
    [
        planning.pack,
        planning.consolidate,
        lambda fleet, **rest: planning.evacuate(fleet, 0, **rest),
        lambda fleet, **rest: planning.rebalance(fleet, 1, **rest),
    ],
    ids=["pack", "consolidate", "evacuate", "rebalance"],
)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hosts": [1, 7]}, r"hosts: 7 at index 1 is outside 0\.\.2"),
        ({"hosts": [1, 1]}, "hosts: 1 at index 1 stands there twice"),
        (
            {"hosts": [1], "pinned": {0: 0}},
            "pinned: VM p-v0 (cannot be pinned to host p-h0, which is not|takes no part)",
        ),
        ({"pinned": {0: 9}}, "pinned: there is no host 9"),
        ({"affinity": {0: [8]}}, "affinity: there is no host 8"),
        ({"headroom": -1}, "headroom: -1 at index 0 is outside"),
        ({"policy": "static"}, "policy: 'static' is none of"),
        ({"time_limit": -1}, "time_limit: -1 is not positive"),
    ],
)
def test_bad_input_to_every_planner(planner: Any, arguments: dict[str, Any], message: str) -> None:
    fleet = pool([9000, 9000, 9000], [(3000, 0), (2000, 1)])
    with pytest.raises(ValueError, match=message):
        planner(fleet, **arguments)


def test_templates_are_refused(data: Path) -> None:
    fleet = xenmem.read(data / "inventories" / "pool-small.statedb.xml")
    template = int(np.flatnonzero(fleet.vms.is_a_template)[0])
    with pytest.raises(ValueError, match=r"takes no part: it is a (template|snapshot)"):
        planning.pack(fleet, [template])


@pytest.mark.parametrize("objective", planning.OBJECTIVES)
@pytest.mark.parametrize("policy", ["static_max", "dynamic_max", "dynamic_min"])
def test_a_real_looking_pool(data: Path, objective: str, policy: str) -> None:
    fleet = xenmem.read(data / "inventories" / "pool-small.statedb.xml")
    plan = planning.pack(fleet, objective=objective, policy=policy)
    planning.verify(plan, fleet, policy=policy)
    assert (
        fleet.free_memory().tolist()
        == xenmem.read(data / "inventories" / "pool-small.statedb.xml").free_memory().tolist()
    )


def test_a_million_vms_on_the_fewest_hosts() -> None:
    rng = np.random.default_rng(1)
    guest = rng.choice([1, 2, 4, 8, 16, 32, 64, 128], 1_000_000, p=[0.1, 0.2, 0.25, 0.2, 0.12, 0.08, 0.04, 0.01])
    sizes = guest * GIB + (guest * 8 + np.maximum(1, guest // 4) * 3) * MIB
    free = rng.choice([512, 768, 1024, 1536], 25_000) * GIB - 8 * GIB
    plan = planning.pack_sizes(sizes, free, "fewest-hosts")
    load = np.zeros(len(free), np.int64)
    np.add.at(load, plan.host, sizes)
    assert (plan.host >= 0).all()
    assert (load <= free).all()
    assert int((load > 0).sum()) == plan.value
    assert plan.value <= plan.bound * 1.001


@pytest.mark.parametrize("field", ["host", "value", "bound", "status"])
def test_mutated_plans_are_refused(field: str) -> None:
    sizes, free = [6, 5, 4, 3], [9, 9]
    plan = planning.pack_sizes(sizes, free)
    planning.verify(plan, sizes=sizes, free=free)
    mutated: Any = {
        "host": plan.host[[1, 1, 1, 1]],
        "value": plan.value - 1,
        "bound": plan.bound - 1,
        "status": "infeasible",
    }[field]
    with pytest.raises(planning.Violation):
        planning.verify(replace(plan, **{field: mutated}), sizes=sizes, free=free)


def test_effort_is_checked() -> None:
    with pytest.raises(ValueError, match="time_limit: -1 is not positive"):
        Effort(-1, 0)


def test_by_priority_fewer_vms_are_placed_than_could_be() -> None:
    plan = planning.pack_sizes([2, 1, 1], [2], priority={0: 1})
    planning.verify(plan, sizes=[2, 1, 1], free=[2], priority={0: 1})
    assert (plan.host.tolist(), plan.value, plan.bound) == ([0, -1, -1], 1, 2)
    assert "1 is placed, at most 2 can" in plan.reason


def test_a_vm_does_not_lend_its_priority_to_those_with_which_it_shares_a_host() -> None:
    plan = planning.pack_sizes([1, 1, 1, 1], [2], same_host=[[0, 1]], priority={0: 9, 2: 9, 3: 5})
    assert plan.host.tolist() == [-1, -1, 0, 0]


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ({"pinned": {0: 0.5}}, r"pinned: 0\.5 is no integer"),
        ({"pinned": {True: 0}}, "pinned: True is no integer"),
        ({"affinity": {0: [0.5]}}, r"affinity: 0\.5 is no integer"),
        ({"anti_affinity": [[0, "1"]]}, "anti_affinity: '1' is no integer"),
        ({"same_host": [[None]]}, "same_host: None is no integer"),
        ({"priority": {0: "high"}}, "priority: 'high' is no integer"),
    ],
)
def test_rows_are_integers(constraints: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        planning.pack_sizes([1, 2], [3, 3], **constraints)


def test_an_affinity_for_one_host_is_a_pin() -> None:
    fleet = pool([2000, 2000], [(1000, 0)], cpus=1, vcpus=2)
    for constraints in ({"pinned": {0: 0}}, {"affinity": {0: [0]}}):
        plan = planning.pack(fleet, **constraints)
        planning.verify(plan, fleet, **constraints)
        assert plan.stays == {0: "2 vCPUs on 1 CPUs"}


def test_vms_that_run_keep_a_place_before_others_get_one() -> None:
    """Two halted VMs would fit in the room of the one that runs, which would have to be stopped for them."""
    fleet = pool([8000, 1000], [(6000, 0), (3000, None), (3000, None)])
    plan = planning.pack(fleet, priority={1: 5, 2: 5})
    planning.verify(plan, fleet, priority={1: 5, 2: 5})
    assert plan.host.tolist() == [0, -1, -1]
    assert plan.status == "infeasible"


def test_a_strict_group_is_a_rule() -> None:
    fleet = pool([8000, 8000], [(1000, 0), (1000, 1), (1000, None)], groups=[[0, 1, 2]])
    soft, strict = planning.pack(fleet), planning.pack(fleet, vm_groups="strict")
    assert (soft.status, strict.status) == ("optimal", "infeasible")
    assert "spread evenly" in soft.reason
    planning.verify(strict, fleet, vm_groups="strict")
    with pytest.raises(
        planning.Violation, match="3 VMs of a group share" if soft.host.std() == 0 else "VMs of a group"
    ):
        planning.verify(soft, fleet)
