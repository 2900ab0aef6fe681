"""Packing against the golden vectors: plans and their order, checks, heuristics, errors."""

from typing import Any

from golden import column, configuration, golden, pairs, plan_pairs

from xenmem.planning.xapi import binpack
from xenmem.planning.xapi.errors import ConfigurationError, DivisionByZeroError


def test_biggest_fit_decreasing() -> None:
    cases = golden("bfd.jsonl")
    assert len(cases) == 1200
    for case in cases:
        plan = binpack.biggest_fit_decreasing(column(case["vms"], 1), column(case["hosts"], 1))
        assert plan_pairs(plan, column(case["vms"], 0), column(case["hosts"], 0)) == case["plan"], case["id"]


def config_error(config: binpack.Configuration) -> str | None:
    try:
        config.check()
    except ConfigurationError as error:
        return str(error)
    return None


def approximate(config: binpack.Configuration) -> bool | str:
    try:
        return binpack.approximate_plan_always_possible(config)
    except DivisionByZeroError:
        return "division_by_zero"


def chosen(config: binpack.Configuration) -> bool | str:
    try:
        return binpack.plan_always_possible(config)
    except DivisionByZeroError:
        return "division_by_zero"


def test_plan_for_n_failures() -> None:
    cases = golden("plan_n_failures.jsonl")
    assert len(cases) == 1000
    for case in cases:
        config = configuration(case)
        assert config_error(config) == case["config_error"], case["id"]
        if case["config_error"] is not None:
            continue
        answer: dict[str, Any] = {
            "heuristic": str(binpack.choose_heuristic(config.total_hosts, config.num_failures)),
            "trivially_impossible": binpack.trivially_impossible(config),
            "result": chosen(config),
            "approximate_result": approximate(config),
        }
        if case["exhaustive_result"] is not None:
            answer["exhaustive_result"] = binpack.exhaustive_plan_always_possible(config)
        assert answer == {name: case[name] for name in answer}, case["id"]


def test_failover_plan() -> None:
    cases = golden("failover_plan.jsonl")
    assert len(cases) == 1000
    for case in cases:
        config = configuration(case)
        failed = binpack.failed_vms(config, case["dead_hosts"])
        rest = config.without_hosts(case["dead_hosts"])
        plan = binpack.get_specific_plan(rest, failed)
        after = binpack.apply_plan(rest, plan)
        answer = {
            "failed_vms": failed.tolist(),
            "plan": plan_pairs(plan),
            "complete": len(plan.vms) == len(failed),
            "hosts_after": pairs(after.hosts.tolist(), after.free.tolist()),
            "placement_after": pairs(after.placed_vms.tolist(), after.placed_hosts.tolist()),
            "simulate_failure": None,
        }
        if len(case["dead_hosts"]) == 1:
            left = binpack.simulate_failure(config, case["dead_hosts"][0])
            answer["simulate_failure"] = (
                "stop"
                if left is None
                else {
                    "hosts": pairs(left.hosts.tolist(), left.free.tolist()),
                    "placement": pairs(left.placed_vms.tolist(), left.placed_hosts.tolist()),
                    "num_failures": left.num_failures,
                }
            )
        assert answer == {name: case[name] for name in answer}, case["id"]
