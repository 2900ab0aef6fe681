"""Planning: where VMs go, which hosts can be emptied, what a pool survives; from a Fleet to plans, changing nothing.

Amounts are bytes. `planning.xapi` answers exactly as the pool itself would. The names below are imported when they are
first used, and the searches are compiled when they first run.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xenmem.planning import xapi
    from xenmem.planning.ballooning import balloon, fair_targets, squeeze
    from xenmem.planning.constraints import Constraints
    from xenmem.planning.failures.host_failures import failover, failover_of_pools, restart_plan
    from xenmem.planning.failures.limits import max_failures
    from xenmem.planning.failures.pool_capacity import Mix, capacity, capacity_of_pools
    from xenmem.planning.failures.remedies import remedy
    from xenmem.planning.failures.restart_pool import RestartPool
    from xenmem.planning.placing.consolidation import consolidate
    from xenmem.planning.placing.evacuation import evacuate
    from xenmem.planning.placing.packing import pack, pack_sizes
    from xenmem.planning.placing.rebalancing import rebalance
    from xenmem.planning.plan import OBJECTIVES, Migration, Obstacle, Plan, Progress
    from xenmem.planning.updating.pool_update import rolling_update
    from xenmem.planning.updating.problem import UpdateProblem
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
    "Mix": "failures.pool_capacity",
    "Obstacle": "plan",
    "Plan": "plan",
    "Progress": "plan",
    "RestartPool": "failures.restart_pool",
    "UpdateProblem": "updating.problem",
    "Violation": "verification",
    "balloon": "ballooning",
    "capacity": "failures.pool_capacity",
    "capacity_of_pools": "failures.pool_capacity",
    "consolidate": "placing.consolidation",
    "evacuate": "placing.evacuation",
    "failover": "failures.host_failures",
    "failover_of_pools": "failures.host_failures",
    "fair_targets": "ballooning",
    "max_failures": "failures.limits",
    "pack": "placing.packing",
    "pack_sizes": "placing.packing",
    "rebalance": "placing.rebalancing",
    "remedy": "failures.remedies",
    "restart_plan": "failures.host_failures",
    "rolling_update": "updating.pool_update",
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
