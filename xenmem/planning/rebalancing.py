"""The best balance for at most k migrations: the fullest host is left with the most memory.

Amounts are bytes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Unpack

import numpy as np
import numpy.typing as npt

from xenmem.columns import Bytes, Rows
from xenmem.planning._pools import Placed, search_each
from xenmem.planning.checks import integer
from xenmem.planning.company import at_level, levels
from xenmem.planning.effort import Effort, Report
from xenmem.planning.evacuation import guests_on, hosts_that_take_part
from xenmem.planning.packing import plan_of
from xenmem.planning.plan import Plan, Status
from xenmem.planning.question import (
    Constraints,
    Question,
    admits,
    free_after,
    least_free,
    misplaced,
    question_of_fleet,
    staying_as_used,
)
from xenmem.planning.search import bounds, exact
from xenmem.planning.search.displaced import crowd_of, fewest_displaced
from xenmem.planning.search.fewest_moves import fewest_migrations
from xenmem.planning.search.leveling import levelled
from xenmem.planning.search.problem import Problem, problems
from xenmem.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xenmem.fleet import Fleet


DIVES: Final = 4
"""Tries, at each level of free memory, to find room for the VMs that leave the fullest hosts."""
THOROUGH_TRIES: Final = 3
"""Levels that are also tried by searches for any packing."""


def rebalance(
    fleet: Fleet,
    migrations: int,
    hosts: npt.ArrayLike | None = None,
    policy: str = "dynamic_min",
    *,
    time_limit: float | None = None,
    seed: int = 0,
    progress: Report | None = None,
    **constraints: Unpack[Constraints],
) -> Plan:
    """At most so many migrations in every pool, after which the fullest host has the most memory free.

    Among plans that leave as much there, the one that brings the hosts nearest together.

    Parameters
    ----------
    fleet : is not changed
    migrations : >= 0, the most VMs that may change their host in a pool; temporary moves come on top
    hosts : rows, by default every host that is enabled and live; guests on others stay where they are
    policy : ``static_max``, ``dynamic_max`` or ``dynamic_min``: what is to be balanced
    time_limit, seed, progress : as for pack

    Returns
    -------
    Plan : its objective is ``even``, its value the free memory of the fullest host of any pool

    Raises
    ------
    ValueError, TypeError : an argument is out of range or contradicts another, or the VMs as they are violate pinned,
        affinity, anti_affinity or same_host; names argument, index and value

    Notes
    -----
    What is only found, not asked for, may remain: VMs of a VM group that share a host, a VM with more vCPUs than its
    host has CPUs, and a host that is overcommitted; nobody is sent there.
    """
    if integer("migrations", migrations) < 0:
        raise ValueError(f"migrations: {migrations} is negative")
    effort = Effort(time_limit, seed, progress)
    taking = hosts_that_take_part(fleet, hosts)
    asked = question_of_fleet(fleet, guests_on(fleet, taking), taking, policy, constraints)
    question = at_level(asked, constraints, next(levels(constraints, True)), as_found=True)
    if any((problem.origin < 0).any() for problem in problems(question)):
        raise ValueError("same_host: VMs that are to share a host are on several; pack them first")
    wrong = misplaced(question, constraints)
    if wrong is not None:
        raise ValueError(f"{wrong}; pack them first")
    plan = _balanced(staying_as_used(question), question, migrations, effort)
    if plan is None:
        plan = _balanced(question, question, migrations, effort)
    assert plan is not None, "VMs counted as on arrival never overfill the host that they go to"
    return plan


def _balanced(counted: Question, question: Question, migrations: int, effort: Effort) -> Plan | None:
    """The plan, by the sizes with which VMs are counted; None if that lets somebody go where there is no room."""
    pools, pools_as_used = problems(counted), problems(replace(question, sizes=question.used))

    def search_pool(number: int, part: Effort) -> Placed:
        problem = pools[number]
        best, limit, seen = problem.origin.copy(), _most_free(pools_as_used[number], migrations), False
        try:
            for found in _levels(problem, migrations, limit, part):
                best = found
            best, seen = levelled(problem, best, migrations, limit, part)
        except KeyboardInterrupt:
            part.stop()
        placed = question.origin.astype(np.int64)
        placed[problem.vms] = problem.vm_hosts(best)
        value = int(free_after(question, placed)[problem.hosts].min())
        if seen and not (question.need > question.used)[problem.vms].any():
            limit = value
        return Placed(best, value, max(limit, value))

    answers = search_each(search_pool, range(len(pools)), effort, min)
    place = question.origin.astype(np.int64)
    for problem, answer in zip(pools, answers, strict=True):
        place[problem.vms] = problem.vm_hosts(answer.host_of)
    if not admits(question, place):
        return None
    as_it_is = least_free(question)
    worst = min((answer.value for answer in answers), default=as_it_is)
    limit = min((answer.bound for answer in answers), default=as_it_is)
    status: Status = "optimal" if worst == limit else "feasible"
    reason = "" if worst == limit else f"the fullest host is left with {worst}, and {limit} is not excluded"
    if worst < 0:
        excess = f"a host stays overcommitted by {format_size(-worst)}"
        reason = f"{reason}; {excess}" if reason else excess
    return plan_of(question, place, effort, "even", status, worst, limit, reason)


def _most_free(problem: Problem, migrations: int) -> int:
    """No plan leaves more on the fullest host: level hosts, or hosts that gave away their largest VMs."""
    now = int(problem.occupied(problem.origin)[0].min())
    low, high = now, max(now, bounds.least_free(problem.sizes, problem.free))
    while low < high:
        level = low + (high - low + 1) // 2
        if bounds.fewest_leaving(problem.sizes, problem.weight, problem.origin, problem.free - level) <= migrations:
            low = level
        else:
            high = level - 1
    return low


def _levels(problem: Problem, migrations: int, limit: int, effort: Effort) -> Iterator[Rows]:
    """Ever better placements: each leaves more on the fullest host."""
    low, high = int(problem.occupied(problem.origin)[0].min()), limit
    quiet = effort.part()
    thorough = THOROUGH_TRIES
    while low < high and not effort.over():
        effort.tell(low, limit)
        level = high if high == limit else low + (high - low + 1) // 2
        raised = replace(problem, free=_room(problem, level))
        found = _relieved(raised, migrations, quiet)
        if found is None and thorough:
            thorough -= 1
            found = _anew(raised, migrations, quiet)
        if found is None or _joins_overcommitted(problem, found):
            high = level - 1
        else:
            low = int(problem.occupied(found)[0].min())
            yield found


def _room(problem: Problem, level: int) -> Bytes:
    """What the hosts may hold if this is to be left; below 0 an overcommitted host may keep what it has, no more."""
    if level >= 0:
        return problem.free - level
    held = problem.free - problem.occupied(problem.origin)[0]
    room: Bytes = np.maximum(problem.free, np.minimum(problem.free - level, held))
    return room


def _joins_overcommitted(problem: Problem, host_of: Rows) -> bool:
    """Whether a VM goes to a host that holds too much then: no migration fits there."""
    over = problem.occupied(host_of)[0] < 0
    return bool((over[host_of] & (host_of != problem.origin)).any())


def _relieved(problem: Problem, migrations: int, effort: Effort) -> Rows | None:
    """From each host that holds too much the fewest VMs go, the smallest that do; None if they find no room."""
    stay = problem.origin.copy()
    over = -problem.occupied(stay)[0]
    for host in np.flatnonzero(over > 0).tolist():
        inside = np.flatnonzero(stay == host)
        for item in _fewest_that_give(problem.sizes[inside], int(over[host])):
            stay[inside[item]] = -1
    if int(problem.weight[stay < 0].sum()) > migrations:
        return None
    found = fewest_displaced(crowd_of(problem, stay), effort, DIVES).host_of
    if found is None or int(problem.weight[found != problem.origin].sum()) > migrations:
        return None
    return found


def _fewest_that_give(sizes: Bytes, amount: int) -> list[int]:
    """As few items as can be whose sizes, which descend, add up to the amount; each as small as the others allow."""
    number = int(np.searchsorted(np.cumsum(sizes), amount)) + 1
    if number > len(sizes):
        return list(range(len(sizes)))
    chosen: list[int] = []
    for left in range(number, 0, -1):
        # the smallest first one with which the largest of the others still do
        first = chosen[-1] + 1 if chosen else 0
        while first + left < len(sizes) and int(sizes[first + 1 : first + 1 + left].sum()) >= amount:
            first += 1
        chosen.append(first)
        amount -= int(sizes[first])
    return chosen


def _anew(problem: Problem, migrations: int, effort: Effort) -> Rows | None:
    """Any placement at all, from which as many VMs go back as possible; None if too many remain."""
    start, _ = exact.place_all(problem, effort, 0.02)
    if start is None:
        return None
    found, _ = fewest_migrations(problem, start, effort)
    moved = int(problem.weight[found != problem.origin].sum())
    return found if moved <= migrations else None
