"""Evacuation plans with anti-affinity against the golden vectors, phase by phase."""

from typing import Any

import numpy as np
from golden import column, golden, plan_pairs

from xenmem.planning.xapi import evacuation
from xenmem.planning.xapi.errors import EvacuationDataCorruptedError


def question(case: dict[str, Any]) -> evacuation.Evacuation:
    hosts = column(case["hosts"], 0)
    groups = [group["ref"] for group in case["groups"] if group["placement"] == "anti_affinity"]
    count = np.zeros((len(groups), len(hosts)), np.int64)
    for member in case["other_group_members"]:
        running = member["resident_on"] if member["power_state"] == "Running" else None
        host = member["scheduled_to_be_resident_on"] or running
        if host in hosts and member["group"] in groups:
            count[groups.index(member["group"]), hosts.index(host)] += 1
    return evacuation.Evacuation(
        total_hosts=case["total_hosts"],
        host_refs=hosts,
        free=np.array(column(case["hosts"], 1), np.int64),
        sizes=np.array(column(case["vms"], 1), np.int64),
        group=np.array([groups.index(group) if group in groups else -1 for _, _, group in case["vms"]], np.int32),
        group_count=count,
        vm_groups_enabled=case["vm_groups_enabled"],
    )


def test_every_phase_and_the_whole() -> None:
    cases = golden("evacuation.jsonl")
    assert len(cases) == 900
    for case in cases:
        asked = question(case)
        vms, hosts = column(case["vms"], 0), column(case["hosts"], 0)

        def named(compute: Any) -> Any:
            try:
                return plan_pairs(compute(asked), vms, hosts)  # noqa: B023  (called at once)
            except EvacuationDataCorruptedError as error:
                return error.details[0]

        phase_2 = evacuation.no_breach_plan(asked)
        assert {
            "anti_affinity_vms": [vms[vm] for vm in asked.anti_affine()],
            "spread_evenly": named(evacuation.spread_evenly_plan),
            "no_breach": {
                "plan": plan_pairs(phase_2.plan, vms, hosts),
                "not_planned": [vms[vm] for vm in phase_2.not_planned],
            },
            "plan": named(evacuation.compute_evacuation_plan),
        } == {name: case[name] for name in ("anti_affinity_vms", "spread_evenly", "no_breach", "plan")}, case["id"]
