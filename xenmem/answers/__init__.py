"""The questions that an operator asks of a Fleet, each a pure function from a Fleet to a result of plain values.

Results are msgspec structs: amounts are int bytes, keys are the names of XenAPI fields where there is such a field.
What is unknown is None. Knows neither files nor how results are shown; the arithmetic is the Fleet's and the kernel's.
Names are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xenmem.answers.accounts import QuestionError
    from xenmem.answers.ballooning import Squeeze, balloon, with_fair_targets
    from xenmem.answers.capacity import Fit, Maximum, fit, maximise
    from xenmem.answers.declared import Declarations, declarations
    from xenmem.answers.explanation import Explanation, explain
    from xenmem.answers.installation import Installation, WarmUp, info, warm_up
    from xenmem.answers.move_plan import MovePlan
    from xenmem.answers.moves import consolidate, evacuate, pack, rebalance
    from xenmem.answers.placement import Placement, place
    from xenmem.answers.pool_report import Report, report
    from xenmem.answers.rolling import RollingPlan, rolling_update
    from xenmem.answers.room import Room, Wanted, room_for
    from xenmem.answers.survival import Survival, failover, unprotecting
    from xenmem.answers.trial import WhatIf, what_if
    from xenmem.answers.upgrade import UpgradeCheck, upgrade_check

__all__ = [
    "Declarations",
    "Explanation",
    "Fit",
    "Installation",
    "Maximum",
    "MovePlan",
    "Placement",
    "QuestionError",
    "Report",
    "RollingPlan",
    "Room",
    "Squeeze",
    "Survival",
    "UpgradeCheck",
    "Wanted",
    "WarmUp",
    "WhatIf",
    "balloon",
    "consolidate",
    "declarations",
    "evacuate",
    "explain",
    "failover",
    "fit",
    "info",
    "maximise",
    "pack",
    "place",
    "rebalance",
    "report",
    "rolling_update",
    "room_for",
    "unprotecting",
    "upgrade_check",
    "warm_up",
    "what_if",
    "with_fair_targets",
]

_HOME = {
    "Declarations": "declared",
    "Explanation": "explanation",
    "Fit": "capacity",
    "Installation": "installation",
    "Maximum": "capacity",
    "MovePlan": "move_plan",
    "Placement": "placement",
    "QuestionError": "accounts",
    "Report": "pool_report",
    "RollingPlan": "rolling",
    "Room": "room",
    "Squeeze": "ballooning",
    "Survival": "survival",
    "UpgradeCheck": "upgrade",
    "Wanted": "room",
    "WarmUp": "installation",
    "WhatIf": "trial",
    "balloon": "ballooning",
    "consolidate": "moves",
    "declarations": "declared",
    "evacuate": "moves",
    "explain": "explanation",
    "failover": "survival",
    "fit": "capacity",
    "info": "installation",
    "maximise": "capacity",
    "pack": "moves",
    "place": "placement",
    "rebalance": "moves",
    "report": "pool_report",
    "rolling_update": "rolling",
    "room_for": "room",
    "unprotecting": "survival",
    "upgrade_check": "upgrade",
    "warm_up": "installation",
    "what_if": "trial",
    "with_fair_targets": "ballooning",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'xenmem.answers' has no attribute {name!r}")
    value = getattr(import_module(f"xenmem.answers.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
