"""The questions that an operator asks of a Fleet, each a pure function from a Fleet to a result of plain values.

Results are msgspec structs: amounts are int bytes, keys are the names of XenAPI fields where there is such a field.
What is unknown is None. Knows neither files nor how results are shown; the arithmetic is the Fleet's and the kernel's.
Names are imported when they are first used.
"""

from typing import TYPE_CHECKING

from xenmem._lazy import attach

if TYPE_CHECKING:
    from xenmem.answers.balloon import BalloonReport, balloon, with_fair_targets
    from xenmem.answers.capacity import CapacityReport, Wanted, capacity
    from xenmem.answers.check import Check, check
    from xenmem.answers.convert import Conversion, convert
    from xenmem.answers.explain import Explanation, explain
    from xenmem.answers.failover import Survival, failover, unprotecting
    from xenmem.answers.fit import Fit, Maximum, fit, maximise
    from xenmem.answers.history import Changes, history
    from xenmem.answers.info import Installation, WarmUpReport, info, warm_up
    from xenmem.answers.matrix import Matrix, matrix
    from xenmem.answers.messages import Declarations, declarations
    from xenmem.answers.move_plan import MovePlan
    from xenmem.answers.moves import consolidate, evacuate, pack, rebalance
    from xenmem.answers.naming import QuestionError
    from xenmem.answers.place import Placement, place
    from xenmem.answers.report import Report, report
    from xenmem.answers.rightsize import Rightsizing, rightsize
    from xenmem.answers.rolling_update import RollingPlan, rolling_update
    from xenmem.answers.runway import Runway, runway
    from xenmem.answers.schemas import schema
    from xenmem.answers.upgrade_check import UpgradeCheck, upgrade_check
    from xenmem.answers.watch import WatchedHost, watch
    from xenmem.answers.what_if import WhatIf, what_if

__all__ = [
    "BalloonReport",
    "CapacityReport",
    "Changes",
    "Check",
    "Conversion",
    "Declarations",
    "Explanation",
    "Fit",
    "Installation",
    "Matrix",
    "Maximum",
    "MovePlan",
    "Placement",
    "QuestionError",
    "Report",
    "Rightsizing",
    "RollingPlan",
    "Runway",
    "Survival",
    "UpgradeCheck",
    "Wanted",
    "WarmUpReport",
    "WatchedHost",
    "WhatIf",
    "balloon",
    "capacity",
    "check",
    "consolidate",
    "convert",
    "declarations",
    "evacuate",
    "explain",
    "failover",
    "fit",
    "history",
    "info",
    "matrix",
    "maximise",
    "pack",
    "place",
    "rebalance",
    "report",
    "rightsize",
    "rolling_update",
    "runway",
    "schema",
    "unprotecting",
    "upgrade_check",
    "warm_up",
    "watch",
    "what_if",
    "with_fair_targets",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "balloon": "BalloonReport balloon with_fair_targets",
        "capacity": "CapacityReport Wanted capacity",
        "check": "Check check",
        "convert": "Conversion convert",
        "explain": "Explanation explain",
        "failover": "Survival failover unprotecting",
        "fit": "Fit Maximum fit maximise",
        "history": "Changes history",
        "info": "Installation WarmUpReport info warm_up",
        "matrix": "Matrix matrix",
        "messages": "Declarations declarations",
        "moves": "MovePlan consolidate evacuate pack rebalance",
        "naming": "QuestionError",
        "place": "Placement place",
        "report": "Report report",
        "rightsize": "Rightsizing rightsize",
        "rolling_update": "RollingPlan rolling_update",
        "runway": "Runway runway",
        "schemas": "schema",
        "upgrade_check": "UpgradeCheck upgrade_check",
        "watch": "WatchedHost watch",
        "what_if": "WhatIf what_if",
    },
)
