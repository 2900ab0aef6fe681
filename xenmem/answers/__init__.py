"""The questions that an operator asks of a Fleet, each a pure function from a Fleet to a result of plain values.

Results are msgspec structs: amounts are int bytes, keys are the names of XenAPI fields where there is such a field.
What is unknown is None. Knows neither files nor how results are shown; the arithmetic is the Fleet's and the kernel's.
Names are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xenmem.answers.accounts import QuestionError
    from xenmem.answers.capacity import Fit, Maximum, fit, maximise
    from xenmem.answers.declared import Declarations, declarations
    from xenmem.answers.explanation import Explanation, explain
    from xenmem.answers.installation import Installation, info
    from xenmem.answers.pool_report import Report, report
    from xenmem.answers.trial import WhatIf, what_if
    from xenmem.answers.upgrade import UpgradeCheck, upgrade_check

__all__ = [
    "Declarations",
    "Explanation",
    "Fit",
    "Installation",
    "Maximum",
    "QuestionError",
    "Report",
    "UpgradeCheck",
    "WhatIf",
    "declarations",
    "explain",
    "fit",
    "info",
    "maximise",
    "report",
    "upgrade_check",
    "what_if",
]

_HOME = {
    "Declarations": "declared",
    "Explanation": "explanation",
    "Fit": "capacity",
    "Installation": "installation",
    "Maximum": "capacity",
    "QuestionError": "accounts",
    "Report": "pool_report",
    "UpgradeCheck": "upgrade",
    "WhatIf": "trial",
    "declarations": "declared",
    "explain": "explanation",
    "fit": "capacity",
    "info": "installation",
    "maximise": "capacity",
    "report": "pool_report",
    "upgrade_check": "upgrade",
    "what_if": "trial",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'xenmem.answers' has no attribute {name!r}")
    value = getattr(import_module(f"xenmem.answers.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
