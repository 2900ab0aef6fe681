"""Rolling updates: each plan is carried out step by step by a checker of its own; small pools against enumeration."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import records, with_drivers
from twins import stepwise

from xenmem import Fleet
from xenmem.planning.effort import Progress
from xenmem.planning.updating.problem import UpdateProblem
from xenmem.planning.updating.rolling_update import rolling_update
from xenmem.units import GIB, MIB


def busy_pool(hosts: int, vms: int, fill: float, seed: int) -> UpdateProblem:
    """VMs of 1 to 64 GiB, log-uniform; every VM takes 0.4 % more on an updated host."""
    random = np.random.default_rng(seed)
    size = np.exp(random.uniform(np.log(1024), np.log(65536), vms)).astype(np.int64) * MIB
    capacity = int(size.sum() / hosts / fill)
    home = np.zeros(vms, np.int32)
    free = [capacity] * hosts
    for vm in np.argsort(-size):
        fitting = [host for host in range(hosts) if free[host] >= size[vm] + capacity * (1 - fill) * 0.2]
        home[vm] = random.choice(fitting) if fitting else int(np.argmax(free))
        free[home[vm]] -= int(size[vm])
    after = size + size // 256 // MIB * MIB
    return UpdateProblem.from_arrays(np.full(hosts, capacity), np.column_stack([size, after]), home, copied=size)


@pytest.mark.parametrize("seed", range(3))
def test_sixteen_hosts(seed: int) -> None:
    problem = busy_pool(16, 300, 0.85, seed)
    plan = rolling_update(problem)
    stepwise.carry_out(problem, plan)
    assert plan.copied <= 1.2 * stepwise.plain_evacuations(problem, list(plan.order))
    assert plan.copied >= plan.bound


@pytest.mark.parametrize("fill", [0.5, 0.9])
def test_other_fills_and_a_given_order(fill: float) -> None:
    problem = busy_pool(12, 200, fill, 7)
    order = [5, 3, 11, 0, 1, 2, 4, 6, 7, 8, 9, 10]
    plan = rolling_update(problem, order)
    stepwise.carry_out(problem, plan)
    assert list(plan.order) == order


@pytest.mark.parametrize("fill", [0.92, 0.93])
def test_hardly_any_room_while_a_host_restarts(fill: float) -> None:
    """16 hosts without one are 93.75 % of them: what moves aside is little, and is brought back."""
    problem = busy_pool(16, 300, fill, 1)
    plan = rolling_update(problem)
    stepwise.carry_out(problem, plan)
    assert plan.copied <= 1.05 * plan.bound
    assert any(step.temporary for step in plan.steps)


def test_too_full_for_the_last_restart_is_proved() -> None:
    """All VMs fit on 15 of 16 hosts by the old model, and not by the new one."""
    plan = rolling_update(busy_pool(16, 300, 0.936, 1))
    assert (plan.status, plan.steps) == ("infeasible", ())
    assert "all updated, are too small while it restarts last" in plan.reason


@pytest.mark.parametrize("seed", range(20))
def test_hosts_of_different_sizes(seed: int) -> None:
    """Given orders and free ones, hosts of 50 to 150 units, some VMs kept from some hosts."""
    random = np.random.default_rng(seed)
    hosts = int(random.integers(4, 9))
    capacity = random.integers(50, 150, hosts)
    home = np.repeat(np.arange(hosts), [int(0.7 * room / 8) for room in capacity])
    need = random.integers(1, 15, len(home))
    for host in range(hosts):
        while need[home == host].sum() > 0.72 * capacity[host]:
            need[np.flatnonzero(home == host)[need[home == host].argmax()]] -= 1
    allowed = random.random((len(home), hosts)) < 0.9
    allowed[np.arange(len(home)), home] = True
    problem = UpdateProblem.from_arrays(capacity, need, home, allowed=allowed)
    for order in (None, random.permutation(hosts).tolist()):
        plan = rolling_update(problem, order, time_limit=5)
        if plan.steps:
            stepwise.carry_out(problem, plan)
        assert plan.status != "unknown"


def small_problem(random: np.random.Generator) -> UpdateProblem:
    hosts, vms = int(random.integers(2, 4)), int(random.integers(1, 6))
    before = random.integers(1, 6, vms)
    need = np.column_stack([before, before + random.integers(0, 2, vms)])
    home = random.integers(0, hosts, vms)
    updated = random.random(hosts) < 0.15
    start = np.where(random.random(vms) < 0.2, random.integers(0, hosts, vms), home)
    capacity = random.integers(4, 14, hosts)
    version = random.integers(0, 2, hosts) if random.random() < 0.3 else None
    asked = need + random.choice([0, 0, 3], vms)[:, np.newaxis]
    return UpdateProblem.from_arrays(capacity, need, home, asked=asked, start=start, updated=updated, version=version)


@pytest.mark.parametrize("seed", range(4))
def test_small_pools_equal_enumeration(seed: int) -> None:
    random = np.random.default_rng(seed)
    possible = []
    for _ in range(150):
        problem = small_problem(random)
        order = None
        if random.random() < 0.5:
            order = random.permutation(np.flatnonzero(~problem.updated)).tolist()
        plan = rolling_update(problem, order)
        least = stepwise.least_copied(problem, order)
        possible.append(least is not None)
        if least is None:
            assert plan.status == "infeasible"
            assert plan.steps == ()
        else:
            stepwise.carry_out(problem, plan)
            assert (plan.status, plan.copied) == ("optimal", least)
    assert 20 < sum(possible) < 130


@given(st.data())
@settings(max_examples=60)
def test_plans_are_valid_or_refused(data: st.DataObject) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 1 << 32)))
    problem = busy_pool(data.draw(st.integers(2, 6)), data.draw(st.integers(1, 25)), data.draw(st.floats(0.4, 0.8)), 1)
    problem = UpdateProblem.from_arrays(
        problem.capacity, problem.need, random.permutation(problem.home), start=problem.start, copied=problem.copied
    )
    plan = rolling_update(problem)
    if plan.steps:
        stepwise.carry_out(problem, plan)
    else:
        assert plan.status in ("infeasible", "unknown")
        assert plan.reason


def test_progress_ctrl_c_and_the_time_limit() -> None:
    problem = busy_pool(16, 300, 0.92, 1)
    seen: list[Progress] = []
    plan = rolling_update(problem, progress=seen.append)
    assert seen[-1][1:] == (plan.copied, plan.bound)

    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    stopped = rolling_update(problem, progress=stop)
    stepwise.carry_out(problem, stopped)
    assert (stopped.status, stopped.interrupted, plan.interrupted) == ("feasible", True, False)
    late = rolling_update(problem, time_limit=1e-9)
    assert (late.status, late.steps, late.interrupted) == ("unknown", (), True)
    assert late.reason.endswith("no sequence of moves was found in time")
    with pytest.raises(ValueError, match="time_limit: 0 is not positive"):
        rolling_update(problem, time_limit=0)


def field_case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four busy hosts of 64 GiB; every VM takes 16 MiB more after the update."""
    sizes = ([14, 12, 10, 8], [13, 12, 11, 9], [14, 11, 10, 9], [15, 12, 9, 8])
    size = np.array([vm * GIB for host in sizes for vm in host])
    home = np.repeat(np.arange(4), 4)
    return np.full(4, 64 * GIB), np.column_stack([size, size + 16 * MIB]), home


def test_field_case_from_the_start() -> None:
    capacity, need, home = field_case()
    problem = UpdateProblem.from_arrays(capacity, need, home)
    plan = rolling_update(problem, [0, 1, 2, 3])
    stepwise.carry_out(problem, plan)
    assert plan.copied <= 1.2 * stepwise.plain_evacuations(problem, [0, 1, 2, 3])


def evacuated_plainly() -> tuple[UpdateProblem, list[int]]:
    """The field case after all hosts were emptied and restarted in turn: where everybody is now."""
    capacity, need, home = field_case()
    at = home.copy()
    free = [int(capacity[h] - need[at == h, 0].sum()) for h in range(4)]
    for host in range(4):
        for vm in sorted(np.flatnonzero(at == host), key=lambda vm: -need[vm, 1]):
            target = max((h for h in range(4) if h != host), key=lambda h: free[h])
            assert free[target] >= need[vm, 1]
            free[target] -= int(need[vm, 1])
            at[vm] = target
        free[host] = int(capacity[host])
    return UpdateProblem.from_arrays(capacity, need, home, start=at, updated=[True] * 4), at.tolist()


def test_field_case_coming_home_host_by_host_fails_and_the_plan_does_not() -> None:
    problem, at = evacuated_plainly()
    refused = []
    for host in (3, 1, 2, 0):
        for vm in np.flatnonzero(problem.home == host).tolist():
            used = sum(int(problem.need[other, 1]) for other, there in enumerate(at) if there == host)
            if at[vm] != host and problem.capacity[host, 1] - used < problem.need[vm, 1]:
                refused.append(vm)
            else:
                at[vm] = host
    assert refused
    plan = rolling_update(problem)
    stepwise.carry_out(problem, plan)
    assert plan.order == ()


def test_hosts_that_wait_for_each_other_are_untangled() -> None:
    """Each of two full hosts runs the other's VM; only a move to the third makes room."""
    problem = UpdateProblem.from_arrays([10, 10, 9], [9, 9], [1, 0], start=[0, 1], updated=[True, True, True])
    plan = rolling_update(problem)
    stepwise.carry_out(problem, plan)
    assert [step.temporary for step in plan.steps] == [True, False, False]
    stuck = rolling_update(UpdateProblem.from_arrays([10, 10, 8], [9, 9], [1, 0], start=[0, 1], updated=[True] * 3))
    assert stuck.status == "infeasible"


def test_the_new_model_is_charged_after_the_restart() -> None:
    """100 bytes hold ten VMs of 10; after the update they need 11 each."""
    plan = rolling_update(UpdateProblem.from_arrays([100, 200], np.full((10, 2), (10, 11)), [0] * 10))
    assert (plan.status, plan.host, plan.missing, len(plan.vms)) == ("infeasible", 0, 10, 10)
    assert "do not fit there after the update" in plan.reason


@pytest.mark.parametrize(
    ("capacity", "need", "home", "host", "vms", "missing"),
    [
        ([10, 10], [6, 6], [0, 1], 0, (0,), 2),
        ([10, 4, 4, 4], [6, 1], [0, 1], 0, (0,), 2),
        ([10], [6], [0], 0, (0,), 6),
    ],
)
def test_what_cannot_be_done_is_said_beforehand(
    capacity: list[int], need: list[int], home: list[int], host: int, vms: tuple[int, ...], missing: int
) -> None:
    plan = rolling_update(UpdateProblem.from_arrays(capacity, need, home))
    assert (plan.status, plan.host, plan.vms, plan.missing) == ("infeasible", host, vms, missing)


def test_an_empty_pool_just_restarts() -> None:
    plan = rolling_update(UpdateProblem.from_arrays([5, 5], [], [], first=1))
    assert (plan.order, plan.copied, plan.status) == ((1, 0), 0, "optimal")


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([0, 0], "order: a host comes twice"),
        ([0, 2], "order: 2 at index 1 is no host"),
        ([0], "order: host 1 is left out"),
    ],
)
def test_bad_order_is_named(order: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rolling_update(UpdateProblem.from_arrays([5, 5], [1], [0]), order)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [], []), "capacity: there are no hosts"),
        (([5], [-1], [0]), "need: -1 at index 0 is out of range"),
        (([5], [1], [1]), "home: 1 at index 0 is outside 0..0"),
        (([5.5], [1], [0]), "capacity: float64 where integers are needed"),
    ],
)
def test_bad_input_is_named(arguments: tuple[list[int], list[int], list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UpdateProblem.from_arrays(*arguments)


def test_a_host_without_room_does_not_lessen_that_of_others() -> None:
    problem = UpdateProblem.from_arrays([-1, 6, 5], [4], [1])
    plan = rolling_update(problem)
    stepwise.carry_out(problem, plan)
    assert (plan.status, plan.copied) == ("optimal", 8)


def test_sums_and_rows_that_are_out_of_range() -> None:
    with pytest.raises(ValueError, match="need: more than 1152921504606846976 bytes in all"):
        UpdateProblem.from_arrays([1 << 52], np.full(300, 1 << 52), np.zeros(300, int))
    with pytest.raises(TypeError, match=r"first: 0\.5 is no integer"):
        UpdateProblem.from_arrays([1], [1], [0], first=0.5)  # type: ignore[arg-type]


def test_vms_wait_only_where_they_can_run() -> None:
    """Of its own, without being told where: the third host has most room, and too few CPUs for the VM of the first."""
    tables = records([100, 100, 400], [(40, 0)], vcpus=2)
    tables["host"]["p-h2"]["cpu_info"]["cpu_count"] = "1"
    fleet = Fleet.from_records(with_drivers(tables))
    problem = UpdateProblem.from_fleet(fleet)
    assert problem.allowed is not None
    assert problem.allowed.tolist() == [[True, True, False]]
    assert {step.host for step in rolling_update(problem).steps if step.vm >= 0} == {0, 1}
    narrower = UpdateProblem.from_fleet(fleet, allowed=np.array([[True, False, True]]))
    assert rolling_update(narrower).status == "infeasible"
