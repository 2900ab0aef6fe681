"""Planning: where VMs go, which hosts can be emptied, what a pool survives; from a Fleet to plans, changing nothing.

Amounts are bytes. `planning.xapi` answers exactly as the pool itself would. The names below are imported when they are
first used, and the searches are compiled when they first run.
"""

from typing import TYPE_CHECKING

from xenmem._lazy import attach

if TYPE_CHECKING:
    from xenmem.planning import xapi
    from xenmem.planning.accounts import Accounts
    from xenmem.planning.ballooning import balloon, fair_targets, squeeze
    from xenmem.planning.consolidation import consolidate
    from xenmem.planning.effort import Progress
    from xenmem.planning.evacuation import evacuate
    from xenmem.planning.failures.capacity import Mix, capacity, capacity_of_pools
    from xenmem.planning.failures.host_failures import failover, failover_of_pools, restart_plan
    from xenmem.planning.failures.limits import max_failures
    from xenmem.planning.failures.margin import margin
    from xenmem.planning.failures.remedies import remedy
    from xenmem.planning.failures.restart_pool import RestartPool
    from xenmem.planning.packing import pack, pack_sizes
    from xenmem.planning.plan import OBJECTIVES, Migration, Obstacle, Plan
    from xenmem.planning.question import Constraints
    from xenmem.planning.rebalancing import rebalance
    from xenmem.planning.tags import TagRules, Tags, tag_rules
    from xenmem.planning.updating.problem import UpdateProblem
    from xenmem.planning.updating.rolling_update import rolling_update
    from xenmem.planning.verify import Violation, verify

__all__ = [
    "OBJECTIVES",
    "Accounts",
    "Constraints",
    "Migration",
    "Mix",
    "Obstacle",
    "Plan",
    "Progress",
    "RestartPool",
    "TagRules",
    "Tags",
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
    "margin",
    "max_failures",
    "pack",
    "pack_sizes",
    "rebalance",
    "remedy",
    "restart_plan",
    "rolling_update",
    "squeeze",
    "tag_rules",
    "verify",
    "xapi",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "accounts": "Accounts",
        "ballooning": "balloon fair_targets squeeze",
        "consolidation": "consolidate",
        "effort": "Progress",
        "evacuation": "evacuate",
        "failures.capacity": "Mix capacity capacity_of_pools",
        "failures.host_failures": "failover failover_of_pools restart_plan",
        "failures.limits": "max_failures",
        "failures.margin": "margin",
        "failures.remedies": "remedy",
        "failures.restart_pool": "RestartPool",
        "packing": "pack pack_sizes",
        "plan": "OBJECTIVES Migration Obstacle Plan",
        "question": "Constraints",
        "rebalancing": "rebalance",
        "tags": "TagRules Tags tag_rules",
        "updating.problem": "UpdateProblem",
        "updating.rolling_update": "rolling_update",
        "verify": "Violation verify",
        "xapi": "",
    },
)
