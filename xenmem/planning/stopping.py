"""Which VMs to stop so that a plan exists: the least memory, then the fewest; and a Fleet in which they are stopped.

Amounts are bytes. Asks whatever planner it is given; knows none itself.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import numpy as np

from xenmem.columns import PowerState
from xenmem.planning.plan import Plan
from xenmem.planning.question import Constraints

if TYPE_CHECKING:
    from xenmem.fleet import Fleet

QUESTIONS: Final = 200
"""Sets of VMs that are asked about at most."""
SETS: Final = 20_000
"""Sets that are looked at at most, most of them too small to be asked about."""


class LeastStopped(NamedTuple):
    """VMs after whose stop there is a plan.

    Attributes
    ----------
    vms : rows
    memory : that they use
    bound : no set that uses less does, for all that is proved
    """

    vms: tuple[int, ...]
    memory: int
    bound: int

    @property
    def is_least(self) -> bool:
        """Whether that is proved of the memory."""
        return self.memory == self.bound


def stopped(fleet: Fleet, vms: Iterable[int], power_state: PowerState = PowerState.HALTED) -> Fleet:
    """The same fleet once these VMs are on no host.

    Parameters
    ----------
    fleet : is not changed
    vms : rows
    power_state : of them then
    """
    rows = np.fromiter(vms, np.int64)
    table = fleet.vms
    columns = {
        "resident_on": np.int32(-1),
        "scheduled_to_be_resident_on": np.int32(-1),
        "power_state": np.uint8(power_state),
        "ha_always_run": np.False_,
    }
    changed = {}
    for name, value in columns.items():
        column = getattr(table, name).copy()
        column[rows] = value
        changed[name] = column
    return fleet.replace(vms=replace(table, **changed))


def forgetting(constraints: Mapping[str, Any], vms: Container[int]) -> Constraints:
    """The constraints without what they say of these VMs, which are out of the question."""
    left = dict(constraints)
    for name in ("pinned", "affinity", "priority", "immovable"):
        if name in left:
            left[name] = {vm: value for vm, value in left[name].items() if vm not in vms}
    for name in ("anti_affinity", "same_host", "spread", "together"):
        if name in left:
            left[name] = [[vm for vm in group if vm not in vms] for group in left[name]]
    return cast(Constraints, left)


def least_stopped(
    fleet: Fleet,
    candidates: Sequence[int],
    ask: Callable[[Fleet], Plan],
    missing: int = 0,
    over: Callable[[], bool] = lambda: False,
) -> LeastStopped | None:
    """The least memory of these VMs that has to go before there is a plan; among sets of as much the fewest VMs.

    Parameters
    ----------
    fleet : for which there is no plan
    candidates : rows of VMs on hosts that may be stopped
    ask : the planner: of a fleet in which some are stopped
    missing : bytes; a set that uses less does not do
    over : whether to be content with what is found

    Returns
    -------
    None if even without all of them no plan is found
    """
    used = fleet.vms.memory_dynamic_min + fleet.vms.memory_overhead
    order = sorted(candidates, key=lambda vm: (int(used[vm]), vm))
    sizes = [int(used[vm]) for vm in order]
    proved = True

    def does(places: Sequence[int]) -> bool:
        nonlocal proved
        plan = ask(stopped(fleet, [order[place] for place in places]))
        proved &= plan.is_complete or plan.status == "infeasible"
        return plan.is_complete and not plan.blocked

    everybody = list(range(len(order)))
    if not order or not does(everybody):
        return None
    best = _few(everybody, does)
    total = sum(sizes[place] for place in best)
    asked, bound, proved = 0, 0, True
    for looked_at, places in enumerate(_ascending(sizes)):
        memory = sum(sizes[place] for place in places)
        bound = min(memory, total)
        if memory > total or (memory == total and len(places) >= len(best)):
            break
        if memory < missing:
            if looked_at == SETS:
                break
            continue
        if asked == QUESTIONS or looked_at >= SETS or over():
            break
        asked += 1
        if does(places):
            best, total = list(places), memory
            break
        if not proved:
            break
    return LeastStopped(tuple(sorted(order[place] for place in best)), total, max(bound, min(missing, total)))


def _few(everybody: list[int], does: Callable[[Sequence[int]], bool]) -> list[int]:
    """A small set that does: one VM alone, or some of the smallest that do together."""

    def first(sets: Callable[[int], list[int]]) -> int | None:
        """The least number for which the set does, as if all larger numbers then did; None if the last does not."""
        if not does(sets(len(everybody) - 1)):
            return None
        low, high = 0, len(everybody) - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if does(sets(middle)) else (middle + 1, high)
        return high

    alone = first(lambda place: [place])
    if alone is not None:
        return [alone]
    last = first(lambda place: everybody[: place + 1])
    assert last is not None, "all of them do"
    chosen = everybody[: last + 1]
    for place in reversed(chosen[:-1]):
        fewer = [other for other in chosen if other != place]
        if does(fewer):
            chosen = fewer
    return chosen


def _ascending(sizes: list[int]) -> Iterator[tuple[int, ...]]:
    """All sets of places in an ascending list of sizes, by their sum, then by their number; none is given twice."""
    heap: list[tuple[int, int, tuple[int, ...]]] = []
    if sizes:
        heappush(heap, (sizes[0], 1, (0,)))
    while heap:
        total, number, places = heappop(heap)
        yield places
        following = places[-1] + 1
        if following < len(sizes):
            more, other = sizes[following], sizes[places[-1]]
            heappush(heap, (total + more, number + 1, (*places, following)))
            heappush(heap, (total - other + more, number, (*places[:-1], following)))
