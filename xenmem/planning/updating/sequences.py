"""Every sequence of migrations and restarts of a small rolling update, the cheapest first.

Amounts are bytes.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from typing import Final

from xenmem.planning.effort import Effort
from xenmem.planning.updating.moment import Moment
from xenmem.planning.updating.problem import UpdateProblem

STATES: Final = 400_000
"""Moments that are kept at most, and up to which a problem counts as small."""


def is_small(problem: UpdateProblem) -> bool:
    """Whether all the places where the VMs can be are few enough to be gone through."""
    return len(problem.vms) * math.log(len(problem.hosts)) <= math.log(STATES)


def cheapest_sequence(problem: UpdateProblem, order: list[int] | None, effort: Effort) -> tuple[Moment | None, bool]:
    """A* over every sequence of migrations and restarts: a plan that copies least, and whether the search was complete.

    What must still be copied, at least: a VM that is away comes home; one at home on a host that is to restart leaves
    it and comes back.
    """
    hosts = range(len(problem.hosts))
    start = Moment(problem)

    def still_to_copy(state: Moment) -> int:
        total = 0
        for vm, host in enumerate(state.at):
            home = int(problem.home[vm])
            total += int(problem.copied[vm]) * (1 if host != home else 0 if state.updated[home] else 2)
        return total

    def key(state: Moment) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        return tuple(state.at), tuple(state.updated)

    def following(state: Moment) -> Iterator[Moment]:
        done = sum(state.updated) - int(problem.updated.sum())
        if order is not None:
            to_restart: Iterable[int] = order[done : done + 1]
        elif done == 0 and problem.first >= 0 and not problem.updated[problem.first]:
            to_restart = (problem.first,)
        else:
            to_restart = (host for host in hosts if not state.updated[host])
        for host in to_restart:
            if not state.on[host]:
                after = state.copy()
                after.restart(host)
                yield after
        for vm in range(len(state.at)):
            for host in hosts:
                if state.fits(vm, host):
                    after = state.copy()
                    after.migrate(vm, host)
                    yield after

    count = 0
    best = {key(start): 0}
    queue: list[tuple[int, int, Moment]] = [(still_to_copy(start), count, start)]
    while queue:
        _, _, state = heapq.heappop(queue)
        if state.copied > best[key(state)]:
            continue
        if all(state.updated) and not state.displaced():
            return state, True
        if len(best) > STATES or effort.over():
            return None, False
        for after in following(state):
            name = key(after)
            if name not in best or after.copied < best[name]:
                best[name] = after.copied
                count += 1
                heapq.heappush(queue, (after.copied + still_to_copy(after), -count, after))
    return None, True
