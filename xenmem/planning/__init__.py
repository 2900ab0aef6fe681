"""Planning: where VMs go, which hosts can be emptied, what a pool survives; from a Fleet to plans, changing nothing.

Amounts are bytes. `planning.xapi` answers exactly as the pool itself would. The names below are imported when they are
first used, and the searches are compiled when they first run.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xenmem.planning import xapi
    from xenmem.planning.ballooning import balloon, fair_targets, squeeze
    from xenmem.planning.consolidation import consolidate
    from xenmem.planning.constraints import Constraints
    from xenmem.planning.evacuation import evacuate
    from xenmem.planning.failure_limits import max_failures
    from xenmem.planning.failure_remedies import remedy
    from xenmem.planning.host_failures import failover, failover_of_pools, restart_plan
    from xenmem.planning.packing import pack, pack_sizes
    from xenmem.planning.plan import OBJECTIVES, Migration, Obstacle, Plan, Progress
    from xenmem.planning.pool_capacity import Mix, capacity, capacity_of_pools
    from xenmem.planning.pool_update import rolling_update
    from xenmem.planning.rebalancing import rebalance
    from xenmem.planning.restart_pool import RestartPool
    from xenmem.planning.update_problem import UpdateProblem
    from xenmem.planning.verification import Violation, verify

__all__ = [
    "OBJECTIVES",
    "Constraints",
    "Migration",
    "Mix",
    "Obstacle",
    "Plan",
    "Progress",
    "RestartPool",
    "UpdateProblem",
    "Violation",
    "balloon",
    "capacity",
    "capacity_of_pools",
    "consolidate",
    "evacuate",
    "failover",
    "failover_of_pools",
    "fair_targets",
    "max_failures",
    "pack",
    "pack_sizes",
    "rebalance",
    "remedy",
    "restart_plan",
    "rolling_update",
    "squeeze",
    "verify",
    "xapi",
]

_HOME = {
    "OBJECTIVES": "plan",
    "Constraints": "constraints",
    "Migration": "plan",
    "Mix": "pool_capacity",
    "Obstacle": "plan",
    "Plan": "plan",
    "Progress": "plan",
    "RestartPool": "restart_pool",
    "UpdateProblem": "update_problem",
    "Violation": "verification",
    "balloon": "ballooning",
    "capacity": "pool_capacity",
    "capacity_of_pools": "pool_capacity",
    "consolidate": "consolidation",
    "evacuate": "evacuation",
    "failover": "host_failures",
    "failover_of_pools": "host_failures",
    "fair_targets": "ballooning",
    "max_failures": "failure_limits",
    "pack": "packing",
    "pack_sizes": "packing",
    "rebalance": "rebalancing",
    "remedy": "failure_remedies",
    "restart_plan": "host_failures",
    "rolling_update": "pool_update",
    "squeeze": "ballooning",
    "verify": "verification",
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
