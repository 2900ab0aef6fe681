"""Which hosts can be emptied: the fewest hosts for the guests that run, then the fewest and smallest migrations.

Amounts are bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final, NamedTuple, Unpack

import numpy as np
import numpy.typing as npt

from xenmem.columns import Rows
from xenmem.planning._pools import search_each
from xenmem.planning.company import at_level, levels
from xenmem.planning.effort import Effort, Report
from xenmem.planning.evacuation import guests_on, hosts_that_take_part
from xenmem.planning.packing import plan_of, solve
from xenmem.planning.plan import Plan, Status
from xenmem.planning.question import (
    Constraints,
    Question,
    admits,
    misplaced,
    question_of_fleet,
    staying_as_used,
)
from xenmem.planning.search import bounds, exact, greedy
from xenmem.planning.search.compiled.arrays import MOVE
from xenmem.planning.search.displaced import crowd_of, fewest_displaced
from xenmem.planning.search.fewest_moves import fewest_migrations
from xenmem.planning.search.problem import Problem, problems

if TYPE_CHECKING:
    from xenmem.fleet import Fleet


SETS: Final = 20_000
SET_WORK: Final = 2_000_000
"""Sets of hosts to be emptied that are looked at, fewer of large ones; and those for whose VMs hosts are searched."""
SETS_TRIED: Final = 24
DIVES: Final = 4
"""Tries for each set to find hosts for its VMs."""


def consolidate(
    fleet: Fleet,
    hosts: npt.ArrayLike | None = None,
    policy: str = "dynamic_min",
    *,
    time_limit: float | None = None,
    seed: int = 0,
    progress: Report | None = None,
    **constraints: Unpack[Constraints],
) -> Plan:
    """The plan after which the most hosts run no guest, found with few and small migrations.

    Parameters
    ----------
    fleet : is not changed
    hosts : rows, by default every host that is enabled and live; guests on others stay where they are
    policy : ``dynamic_min`` is what the pool asks for when a VM migrates
    time_limit, seed, progress : as for pack

    Returns
    -------
    Plan : its objective is ``fewest-hosts``, its value the hosts in use; `emptied` are the hosts that become free.
        Optimal says that no plan needs fewer hosts, and `fewest_moves` how many migrations it takes at least to leave
        no more hosts in use than this plan does

    Raises
    ------
    ValueError, TypeError : an argument is out of range or contradicts another; names argument, index and value
    """
    effort = Effort(time_limit, seed, progress)
    taking = hosts_that_take_part(fleet, hosts)
    asked = question_of_fleet(fleet, guests_on(fleet, taking), taking, policy, constraints)
    question = at_level(asked, constraints, next(levels(constraints, True)), as_found=True)
    plan = _consolidated(staying_as_used(question), question, constraints, effort)
    return plan or _consolidated(question, question, constraints, effort) or solve(question, "fewest-hosts", effort)


def _consolidated(counted: Question, question: Question, constraints: Constraints, effort: Effort) -> Plan | None:
    """The plan, by the sizes with which VMs are counted; None if that lets nobody begin or end where it must."""
    pools = problems(counted)
    pools_as_used = problems(replace(question, sizes=question.used))
    admission_decides = bool((question.need > question.used).any())
    starts = [_start(question, problem, constraints, effort) for problem in pools]

    def search_pool(number: int, part: Effort) -> _Emptied:
        problem, start = pools[number], starts[number]
        assert start is not None
        lenient = pools_as_used[number]
        least = bound = bounds.hosts_needed(lenient.sizes, lenient.free, lenient.in_use)
        best, moves_bound = start, 0
        try:
            best, bound = _fewest(problem, start, bound, part)
            if (start == problem.origin).all():
                best, moves_bound = _fewest_moves(problem, start, best, part)
        except KeyboardInterrupt:
            part.stop()
        if admission_decides or (greedy.stay(problem, np.arange(len(start))) < 0).any():
            # what the searches prove is of plans in which nobody breaks a rule, and everybody counts as on arrival
            emptied = problem.hosts_in_use(start) - problem.hosts_in_use(best)
            bound, moves_bound = least, _guests(problem, start, emptied)
        return _Emptied(best, problem.hosts_in_use(best), bound, moves_bound)

    if any(start is None for start in starts):
        return None
    answers = search_each(search_pool, range(len(pools)), effort, sum)
    place = np.full(len(question.vms), -1, np.int64)
    for problem, answer in zip(pools, answers, strict=True):
        place[problem.vms] = problem.vm_hosts(answer.host_of)
    if not admits(question, place):
        return None
    unused = ~np.isin(question.host_pool, question.vm_pool)
    idle = int(question.in_use[unused].sum())
    value, bound = sum(answer.value for answer in answers) + idle, sum(answer.bound for answer in answers) + idle
    status: Status = "optimal" if value == bound else "feasible"
    reason = "" if status == "optimal" else f"{value} hosts remain in use, and {bound} are not excluded"
    plan = plan_of(question, place, effort, "fewest-hosts", status, value, bound, reason)
    return replace(plan, fewest_moves=sum(answer.moves_bound for answer in answers))


def _start(question: Question, problem: Problem, constraints: Constraints, effort: Effort) -> Rows | None:
    """Where the VMs of a pool are, unless what the caller asks for forbids it; else what is nearest to that.

    What is only found may remain: VMs of a VM group that share a host, a host that is overcommitted. Nobody is sent
    there.
    """
    if (problem.origin >= 0).all() and misplaced(question, constraints, problem.vms) is None:
        return problem.origin
    found, _ = exact.place_all(problem, effort.part())
    return None if found is None else fewest_migrations(problem, found, effort.part())[0]


class _Emptied(NamedTuple):
    """What is found in a pool.

    Attributes
    ----------
    host_of : where the items go
    value, bound : the hosts in use, and that no plan leaves fewer
    moves_bound : no plan with so few migrates fewer VMs
    """

    host_of: Rows
    value: int
    bound: int
    moves_bound: int


def _fewest(problem: Problem, stay: Rows, bound: int, effort: Effort) -> tuple[Rows, int]:
    """A placement on few hosts, and a bound on how few do; no fewer than `bound` do."""
    best = stay
    try:
        for host in _light_first(problem, stay):
            if problem.hosts_in_use(best) <= bound or effort.over():
                break
            best = _without(problem, best, host, effort)
            effort.tell(problem.hosts_in_use(best), bound)
    except KeyboardInterrupt:  # what was found before is the answer
        effort.stop()
    if problem.hosts_in_use(best) > bound and not effort.over():
        anew, bound = exact.fewest_hosts(problem, best, effort)
        if problem.hosts_in_use(anew) < problem.hosts_in_use(best):
            best = anew
    return best, bound


def _fewest_moves(problem: Problem, stay: Rows, best: Rows, effort: Effort) -> tuple[Rows, int]:
    """A placement on as many hosts as `best` with the fewest migrations, and a bound on these."""
    now = problem.hosts_in_use(stay)
    number = now - problem.hosts_in_use(best)
    if number <= 0:
        return stay, 0
    cost = np.zeros(len(problem.hosts), np.int64)
    np.add.at(cost, stay, problem.move_cost)
    used = problem.in_use.copy()
    used[stay] = True
    free, _ = problem.occupied(stay)
    light = np.array(_light_first(problem, stay))
    # a plan that takes an idle host into use has to empty one more
    bound = int(cost[light[: number + 1]].sum()) // MOVE if not used.all() else sys.maxsize
    most = min(SETS, SET_WORK // number**2)
    quiet = effort.part()
    tried = 0
    for looked_at, places in enumerate(_lightest(cost[light].tolist(), number)):
        emptied = light[list(places)]
        price = int(cost[emptied].sum())
        moves = problem.cost_of_moves(best) // MOVE
        if price // MOVE >= moves or bound >= moves or tried == SETS_TRIED or looked_at == most or effort.over():
            bound = min(bound, price // MOVE)
            break
        open_to_them = used.copy()
        open_to_them[emptied] = False
        there = ~np.isin(stay, emptied)
        if problem.sizes[~there].sum() > np.maximum(free[open_to_them], 0).sum():
            continue
        tried += 1
        confined = replace(problem, allowed=problem.allowed & open_to_them)
        crowd = crowd_of(confined, np.where(there, stay, -1).astype(np.int32))
        found, displaced = fewest_displaced(crowd, quiet, DIVES)
        bound = min(bound, price // MOVE + displaced)
        if found is not None and problem.cost_of_moves(found) < problem.cost_of_moves(best):
            best = found
    if problem.cost_of_moves(best) // MOVE > bound and not effort.over():
        used[:] = problem.in_use
        used[best] = True
        best, _ = fewest_migrations(replace(problem, allowed=problem.allowed & used), best, quiet)
    return best, min(bound, problem.cost_of_moves(best) // MOVE)


def _lightest(cost: list[int], number: int) -> Iterator[tuple[int, ...]]:
    """Sets of so many places in an ascending list of costs, those that cost the least first."""
    first = tuple(range(number))
    heap = [(sum(cost[:number]), first)]
    seen = {first}
    while heap:
        total, places = heappop(heap)
        yield places
        for at, place in enumerate(places):
            following = (*places[:at], place + 1, *places[at + 1 :])
            if place + 1 < len(cost) and place + 1 not in places and following not in seen:
                seen.add(following)
                heappush(heap, (total - cost[place] + cost[place + 1], following))


def _light_first(problem: Problem, stay: Rows) -> list[int]:
    """Hosts that could be emptied, the ones that cost the least first."""
    cost = np.zeros(len(problem.hosts), np.int64)
    np.add.at(cost, stay, problem.move_cost)
    order = np.argsort(cost, kind="stable")
    return [int(host) for host in order if cost[host] > 0 and not problem.in_use[host]]


def _guests(problem: Problem, stay: Rows, hosts: int) -> int:
    """VMs on the so many hosts that hold the fewest of those that could be emptied."""
    guests = np.bincount(stay, weights=problem.weight, minlength=len(problem.hosts)).astype(np.int64)
    return int(np.sort(guests[(guests > 0) & ~problem.in_use])[:hosts].sum())


def _without(problem: Problem, host_of: Rows, host: int, effort: Effort) -> Rows:
    """The same with one host less, if its VMs fit on the others in use as they are."""
    items = np.flatnonzero(host_of == host)
    used = problem.in_use.copy()
    used[host_of] = True
    used[host] = False
    if not len(items) or not used.any():
        return host_of
    part = problem.part(items, host_of)
    part = replace(part, allowed=part.allowed & used, origin=np.full(len(items), -1, np.int32))
    found, _ = exact.place_all(part, effort, 0.02)
    if found is None:
        return host_of
    better = host_of.copy()
    better[items] = found
    return better
