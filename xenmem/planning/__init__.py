"""Planning: where VMs go, which hosts can be emptied, what a pool survives; from a Fleet to plans, changing nothing.

Amounts are bytes. `planning.xapi` answers exactly as the pool itself would. The names below are imported when they are
first used, and the searches are compiled when they first run.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xenmem.planning import xapi
    from xenmem.planning.consolidation import consolidate
    from xenmem.planning.constraints import Constraints
    from xenmem.planning.evacuation import evacuate
    from xenmem.planning.packing import pack, pack_sizes
    from xenmem.planning.plan import OBJECTIVES, Migration, Obstacle, Plan, Progress
    from xenmem.planning.rebalancing import rebalance
    from xenmem.planning.verification import Violation, verify

__all__ = [
    "OBJECTIVES",
    "Constraints",
    "Migration",
    "Obstacle",
    "Plan",
    "Progress",
    "Violation",
    "consolidate",
    "evacuate",
    "pack",
    "pack_sizes",
    "rebalance",
    "verify",
    "xapi",
]

_HOME = {
    "OBJECTIVES": "plan",
    "Constraints": "constraints",
    "Migration": "plan",
    "Obstacle": "plan",
    "Plan": "plan",
    "Progress": "plan",
    "Violation": "verification",
    "consolidate": "consolidation",
    "evacuate": "evacuation",
    "pack": "packing",
    "pack_sizes": "packing",
    "rebalance": "rebalancing",
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
