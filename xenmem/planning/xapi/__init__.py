"""What the pool itself would do, exactly: packing, failover, evacuation, host choice and ballooning as xapi does them.

Equal to the reference plan for plan, order and defects included; xenmem.planning does better under other names. Amounts
are bytes (KiB in balloon). The names below are imported when they are first used: only packing needs compiled code.
Source: spec "planning" (xapi-project/xen-api, commit e2ee48d688).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

_HOME = {
    "Configuration": "binpack",
    "Evacuation": "evacuation",
    "HAPool": "failover",
    "Outcome": "failover",
    "Plan": "binpack",
    "PlanningError": "errors",
    "biggest_fit_decreasing": "binpack",
    "choose_host_for_vm": "placement",
    "compute_evacuation_plan": "evacuation",
    "compute_max_host_failures_to_tolerate": "failover",
    "compute_restart_plan": "failover",
    "plan_for_n_failures": "failover",
    "plan_host_evacuation": "evacuation",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(f"{__name__}.{_HOME.get(name, name)}")
    value = getattr(home, name) if name in _HOME else home
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
