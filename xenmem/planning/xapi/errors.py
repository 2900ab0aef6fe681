"""What the pool's own planners raise, one class for each of their failures.

`details` is what a XenAPI client would receive as Failure.details, where the failure leaves xapi under a code of its
own. Depends on nothing.
"""

from collections.abc import Sequence


class PlanningError(Exception):
    """A planner of the pool fails.

    Attributes
    ----------
    details : error code and parameters as XenAPI reports them; empty where the failure has no code of its own
    """

    def __init__(self, text: str, details: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.details = tuple(details)


class ConfigurationError(PlanningError):
    """The packing problem contradicts itself (binpack.ml: check_configuration, assoc); the text is the reference's."""


class DivisionByZeroError(PlanningError):
    """The approximation divides by the size of the largest VM, and that is 0 (binpack.ml)."""

    def __init__(self) -> None:
        super().__init__("Division_by_zero")


class EvacuationDataCorruptedError(PlanningError):
    """An evacuation is given up although a plan may exist: a defect of the reference (planning.md, 4.1)."""

    def __init__(self) -> None:
        text = "Data corrupted during host evacuation."
        super().__init__(text, ("INTERNAL_ERROR", text))


class FailoverPlanBrokenError(PlanningError):
    """After the change the pool would no longer survive the failures that it survives now."""

    def __init__(self) -> None:
        code = "HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN"
        super().__init__(code, (code,))


class RestartPriorityError(PlanningError):
    """A restart priority that does not exist."""

    def __init__(self, priority: str) -> None:
        super().__init__(
            f"ha_restart_priority: {priority!r} is none of restart, best-effort and the empty text",
            ("INVALID_VALUE", "ha_restart_priority", priority),
        )


class NoHostsAvailableError(PlanningError):
    """No host is valid for the VM, with or without the memory check."""

    def __init__(self) -> None:
        super().__init__("NO_HOSTS_AVAILABLE", ("NO_HOSTS_AVAILABLE",))


class CannotFreeError(PlanningError):
    """The squeezer can't free this much, even with every domain that balloons at its minimum.

    Attributes
    ----------
    needed_kib, free_kib : both with the slush fund included; clients see both reduced by it
    """

    def __init__(self, needed_kib: int, free_kib: int) -> None:
        super().__init__(f"cannot free {needed_kib} KiB: {free_kib} KiB are free")
        self.needed_kib = needed_kib
        self.free_kib = free_kib


class DomainsRefusedError(PlanningError):
    """These domains did not reach their targets.

    Attributes
    ----------
    domids : tuple of int, descending
    """

    def __init__(self, domids: Sequence[int]) -> None:
        super().__init__(f"domains refused to cooperate: {', '.join(map(str, domids))}")
        self.domids = tuple(domids)
