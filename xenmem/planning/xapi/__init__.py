"""What the pool itself would do, exactly: packing, failover, evacuation, host choice and ballooning as xapi does them.

Equal to the reference plan for plan, order and defects included; xenmem.planning does better under other names. Amounts
are bytes (KiB in balloon). The names below are imported when they are first used: only packing needs compiled code.
Source: docs/reference/planning.md (xapi-project/xen-api, commit e2ee48d688).
"""

from typing import TYPE_CHECKING

from xenmem._lazy import attach

if TYPE_CHECKING:
    from xenmem.planning.xapi import balloon, binpack, errors, evacuation, failover, placement
    from xenmem.planning.xapi.binpack import Configuration, Plan, biggest_fit_decreasing
    from xenmem.planning.xapi.errors import PlanningError
    from xenmem.planning.xapi.evacuation import Evacuation, compute_evacuation_plan, plan_host_evacuation
    from xenmem.planning.xapi.failover import (
        HAPool,
        Outcome,
        compute_max_host_failures_to_tolerate,
        compute_restart_plan,
        plan_for_n_failures,
    )
    from xenmem.planning.xapi.placement import choose_host_for_vm

__all__ = [
    "Configuration",
    "Evacuation",
    "HAPool",
    "Outcome",
    "Plan",
    "PlanningError",
    "balloon",
    "biggest_fit_decreasing",
    "binpack",
    "choose_host_for_vm",
    "compute_evacuation_plan",
    "compute_max_host_failures_to_tolerate",
    "compute_restart_plan",
    "errors",
    "evacuation",
    "failover",
    "placement",
    "plan_for_n_failures",
    "plan_host_evacuation",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "balloon": "",
        "binpack": "Configuration Plan biggest_fit_decreasing",
        "errors": "PlanningError",
        "evacuation": "Evacuation compute_evacuation_plan plan_host_evacuation",
        "failover": "HAPool Outcome compute_max_host_failures_to_tolerate compute_restart_plan plan_for_n_failures",
        "placement": "choose_host_for_vm",
    },
)
