"""Where does this set of VMs go: to all hosts, to the fewest, most evenly, or with the fewest migrations.

The pools of a fleet are packed side by side: no VM leaves its pool. Amounts are bytes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Unpack

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from xenmem.columns import Rows
from xenmem.planning._pools import search_each
from xenmem.planning.checks import LARGEST_AMOUNT
from xenmem.planning.company import Level, as_apart_as_can_be, at_level
from xenmem.planning.effort import Effort, Report
from xenmem.planning.plan import OBJECTIVES, Obstacle, Plan, Status, listed
from xenmem.planning.question import Constraints, Question, free_after, least_free, question_of_fleet, question_of_sizes
from xenmem.planning.search import bounds, exact
from xenmem.planning.search.fewest_moves import at_home, fewest_at_least, fewest_migrations
from xenmem.planning.search.greedy import greedy
from xenmem.planning.search.migrations import in_order
from xenmem.planning.search.problem import Problem, problems
from xenmem.text import counted
from xenmem.units import format_size

if TYPE_CHECKING:
    from xenmem.fleet import Fleet


SHRUNK_VMS = 60
LEAST_ORDER_SECONDS: Final = 1.0
"""That the search for an order of the migrations has, however little of the time limit is left."""
CALMED: Final = 200_000
"""VMs times hosts of a question up to which fewer migrations are looked for that reach the same."""
RUNS: Final = 2 * LARGEST_AMOUNT + 1
"""What a VM on a host has of priority before all that are on none: it would have to be stopped."""


def pack(
    fleet: Fleet,
    vms: npt.ArrayLike | None = None,
    hosts: npt.ArrayLike | None = None,
    objective: str = "all",
    policy: str = "static_max",
    *,
    time_limit: float | None = None,
    seed: int = 0,
    progress: Report | None = None,
    **constraints: Unpack[Constraints],
) -> Plan:
    """A host for each of these VMs, wherever they are now.

    Parameters
    ----------
    fleet : is not changed
    vms : rows, by default every guest, halted ones included; all other VMs stay where they are
    hosts : rows, by default every host; only those that are enabled and live take part
    objective : ``all`` places all or, by priority, the most; ``fewest-hosts`` leaves the most hosts without guests;
        ``even`` leaves the most memory free on the fullest host; ``fewest-migrations`` moves the fewest VMs that are
        on a host, among equals those with the least to copy. The last three need a place for all VMs
    policy : ``static_max``, ``dynamic_max`` or ``dynamic_min``: what counts as a VM's memory
    time_limit : seconds; by default the search takes a fixed number of steps
    seed : of all random choices; the same input and seed give the same answer unless a time limit ends the search
    progress : called now and then with a Progress; Ctrl-C ends the search with the best plan so far

    Returns
    -------
    Plan : where not all fit, VMs that are on a host keep a place before others get one, whatever their priority. Among
        plans that reach the same it is one with few migrations, though not surely with the fewest

    Raises
    ------
    ValueError, TypeError : an argument is out of range or contradicts another; names argument, index and value

    Notes
    -----
    The constraints are the keywords of `Constraints`. The memory of a VM is the larger of what admission asks for and
    what it then uses (memory-model.md, 4 and 5); a plan is proved infeasible by the smaller of the two only.
    """
    effort = Effort(time_limit, seed, progress)
    _check_objective(objective)
    question = question_of_fleet(fleet, vms, hosts, policy, constraints)
    question = replace(question, priority=question.priority + np.where(question.away >= 0, RUNS, 0))

    def ask(level: Level) -> Plan:
        asked = at_level(question, constraints, level)
        return _calmer(asked, solve(asked, objective, effort), effort)

    return as_apart_as_can_be(ask, constraints, bool(question.groups))


def pack_sizes(
    sizes: npt.ArrayLike,
    free: npt.ArrayLike,
    objective: str = "all",
    *,
    origin: npt.ArrayLike | None = None,
    time_limit: float | None = None,
    seed: int = 0,
    progress: Report | None = None,
    **constraints: Unpack[Constraints],
) -> Plan:
    """A host for each of these sizes: `pack` on bare arrays, of one pool.

    Parameters
    ----------
    sizes : integers, shape (vms,), bytes or any other unit, > 0
    free : integers, shape (hosts,), free without these VMs; negative for an overcommitted host
    objective : as for pack
    origin : the host that each VM is on now, -1 for none; by default none is on any
    time_limit, seed, progress : as for pack

    Returns
    -------
    Plan

    Raises
    ------
    ValueError, TypeError : an argument is out of range or contradicts another; names argument, index and value
    """
    effort = Effort(time_limit, seed, progress)
    _check_objective(objective)
    return solve(question_of_sizes(sizes, free, origin, constraints), objective, effort)


def _calmer(question: Question, plan: Plan, effort: Effort) -> Plan:
    """A plan of the same value with fewer migrations, where one is found; of a question that is not large."""
    if not plan.is_complete or plan.objective == "fewest-migrations" or effort.interrupted:
        return plan
    if len(question.vms) * len(question.hosts) > CALMED or not len(question.hosts):
        return plan
    at = np.full(int(question.hosts.max()) + 2, -1, np.int64)  # one more, so that -1 is nowhere
    at[question.hosts] = np.arange(len(question.hosts))
    place = at[plan.host]
    if not ((question.away >= 0) & (place != question.origin)).any():
        return plan
    tight = question
    if plan.objective == "even":
        tight = replace(question, free=question.free - _least_free_of_its_pool(question, place))
    elif plan.objective == "fewest-hosts":
        used = question.in_use.copy()
        used[place] = True
        tight = replace(question, allowed=question.allowed & used)
    calm = at[solve(tight, "fewest-migrations", effort.part()).host]
    # each pool by itself, so that its answer does not depend on what else there is
    moving = (question.away >= 0) & (place != question.origin)
    less = np.bincount(question.vm_pool, moving) > np.bincount(
        question.vm_pool, (question.away >= 0) & (calm != question.origin)
    )
    placed = np.bincount(question.vm_pool, calm < 0) == 0
    better = np.where((less & placed)[question.vm_pool], calm, place)
    if (better == place).all():
        return plan
    value = int(free_after(question, better).min()) if plan.objective == "even" else plan.value
    status: Status = "optimal" if value == plan.bound else plan.status
    return plan_of(question, better, effort, plan.objective, status, value, plan.bound, plan.reason)


def _least_free_of_its_pool(question: Question, place: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each host what the fullest host of its pool has left once the VMs are where `place` says."""
    least = np.full(int(question.host_pool.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(least, question.host_pool, free_after(question, place))
    return least[question.host_pool]


def _check_objective(objective: str) -> None:
    if objective not in OBJECTIVES:
        raise ValueError(f"objective: {objective!r} is none of {', '.join(OBJECTIVES)}")


class _Answer(NamedTuple):
    """What one pool contributes: hosts of its VMs, value and bound, and whether all of them have a place."""

    hosts: NDArray[np.int64]
    value: int
    bound: int
    complete: bool
    proved_infeasible: bool


def solve(question: Question, objective: str, effort: Effort) -> Plan:
    """Answer a Question, its pools side by side.

    Parameters
    ----------
    question, objective, effort : what, for what, how long
    """
    pools = problems(question)
    place = np.full(len(question.vms), -1, np.int64)
    admission_decides = bool((question.need > question.used).any())
    used_only = replace(question, sizes=question.used)
    lenient = problems(used_only) if admission_decides else pools

    def answer_of(index: int, part: Effort) -> _Answer:
        answer = _solve_pool(question, pools[index], objective, part)
        return _weakened(answer, question, used_only, lenient[index], objective, part) if admission_decides else answer

    smallest = partial(min, default=least_free(question))
    answers = search_each(answer_of, range(len(pools)), effort, smallest if objective == "even" else sum)
    for problem, answer in zip(pools, answers, strict=True):
        place[problem.vms] = answer.hosts
    complete = all(answer.complete for answer in answers)
    together = smallest if objective == "even" and complete else sum
    alike = answers if complete else [_counting_vms(answer) for answer in answers]
    value = together(answer.value for answer in alike)
    bound = together(answer.bound for answer in alike)
    unpicked = np.setdiff1d(question.host_pool, question.vm_pool)
    if objective == "fewest-hosts" and complete:
        idle = int(question.in_use[np.isin(question.host_pool, unpicked)].sum())
        value, bound = value + idle, bound + idle
    proved = any(answer.proved_infeasible for answer in answers)
    status: Status = "infeasible" if proved else "unknown"
    if complete:
        status = "optimal" if value == bound else "feasible"
    reason, obstacle = "", None
    if not complete:
        index = next(i for i, answer in enumerate(answers) if not answer.complete)
        reason, obstacle = _why_not(question, pools[index], answers[index].proved_infeasible, effort)
        missing = int((place < 0).sum())
        sure = f"cannot {'all ' if len(place) > 1 else ''}be placed" if proved else "found no place"
        tight = f", at most {bound} can" if bound > value else ", which is the most" if bound == value else ""
        there, absent = counted(value, "is", "are"), counted(missing, "is", "are")
        reason = f"{counted(len(place), 'VM')} {sure}: {there} placed{tight}, {absent} not; {reason}"
    elif value != bound:
        reason = f"the best known value is {value}, and {bound} is not excluded"
    over = np.flatnonzero(question.free < 0)
    if len(over):
        excess = format_size(-int(question.free[over[0]]))
        others = len(over) - 1
        more = f", and so {'is 1 more host' if others == 1 else f'are {others} more hosts'}" if others else ""
        overcommitted = f"{question.host_name(over[0])} is overcommitted by {excess} without these VMs{more}"
        reason = f"{reason}; {overcommitted}" if reason else overcommitted
    return plan_of(question, place, effort, objective, status, value, bound, reason, obstacle)


def plan_of(
    question: Question,
    place: NDArray[np.int64],
    effort: Effort,
    objective: str,
    status: Status,
    value: int,
    bound: int,
    reason: str,
    obstacle: Obstacle | None = None,
) -> Plan:
    """The Plan that puts each VM of a Question on the host `place`, -1 for none.

    Parameters
    ----------
    question, place, effort : what was asked, what was found, how long that took
    objective, status, value, bound, reason, obstacle : as in Plan
    """
    hosts = np.where(place >= 0, question.hosts[np.maximum(place, 0)] if len(question.hosts) else -1, -1)
    before = np.zeros(len(question.hosts), np.bool_)
    before[question.origin[question.origin >= 0]] = True
    after = question.in_use.copy()
    after[place[place >= 0]] = True
    after[question.origin[(place < 0) & (question.origin >= 0)]] = True
    return Plan(
        objective=objective,
        status=status,
        vms=question.vms,
        host=hosts.astype(np.int32),
        value=value,
        bound=bound,
        reason=reason,
        obstacle=obstacle,
        interrupted=effort.interrupted,
        stays=question.stays,
        emptied=tuple(question.hosts[before & ~after].tolist()),
        order=partial(in_order, question, place, effort.state.copy(), max(effort.seconds_left(), LEAST_ORDER_SECONDS)),
    )


def _solve_pool(question: Question, problem: Problem, objective: str, effort: Effort) -> _Answer:
    best: Rows | None = None
    none = False
    try:
        if objective == "fewest-migrations":
            best, _ = at_home(problem, effort.part())
        if best is None:
            best, none = exact.place_all(problem, effort)
        if best is None:
            host_of, bound, proved = exact.place_most(problem, effort)
            value = int(problem.weight[host_of >= 0].sum())
            if value < len(problem.vms):
                return _Answer(problem.vm_hosts(host_of), value, bound, False, none or proved)
            best = host_of
    except KeyboardInterrupt:
        effort.stop()
        if best is None:
            best = greedy(problem)
            value = int(problem.weight[best >= 0].sum())
            if value < len(problem.vms):
                return _Answer(problem.vm_hosts(best), value, len(problem.vms), False, none)
    bound = _simple_bound(question, problem, objective)
    try:
        if objective == "fewest-hosts":
            best, bound = exact.fewest_hosts(problem, best, effort)
        elif objective == "even":
            best, bound = exact.most_even(problem, best, effort)
        elif objective == "fewest-migrations":
            best, moves = fewest_migrations(problem, best, effort)
            bound = max(bound, moves + _uprooted(question, problem))
    except KeyboardInterrupt:
        effort.stop()
    return _Answer(problem.vm_hosts(best), _value(question, problem, objective, best), bound, True, False)


def _counting_vms(answer: _Answer) -> _Answer:
    """Where another pool cannot place all of its VMs, how many are placed is what counts."""
    return answer._replace(value=len(answer.hosts), bound=len(answer.hosts)) if answer.complete else answer


def _uprooted(question: Question, problem: Problem) -> int:
    """VMs on a host that takes no part: each of them has to move."""
    return int(((question.away >= 0) & (question.origin < 0))[problem.vms].sum())


def _simple_bound(question: Question, problem: Problem, objective: str) -> int:
    if objective == "all":
        return len(problem.vms)
    if objective == "fewest-hosts":
        return bounds.hosts_needed(problem.sizes, problem.free, problem.in_use)
    if objective == "even":
        return bounds.least_free(problem.sizes, problem.free) if len(problem.hosts) else 0
    return _uprooted(question, problem) + fewest_at_least(problem)


def _asks_too_much(question: Question, problem: Problem) -> NDArray[np.bool_]:
    """The VMs of a pool that have to come to a host, none of which admits them even without all the others."""
    vms = problem.vms[question.origin[problem.vms] < 0]
    most = np.where(question.allowed[:, problem.hosts], question.free[problem.hosts], -1).max(axis=1, initial=-1)
    too_much: NDArray[np.bool_] = question.sizes[vms] > most[question.kind_of[vms]]
    return too_much


def _weakened(
    answer: _Answer, question: Question, used_only: Question, lenient: Problem, objective: str, effort: Effort
) -> _Answer:
    """Where admission asks for more than is used later: proved is only what holds of the memory used, too."""
    if answer.complete:
        bound = _simple_bound(used_only, lenient, objective)
        if objective == "even":
            bound = exact.level_not_excluded(lenient, answer.value, bound, effort)
        if answer.value == answer.bound != bound:
            bound = _solve_pool(used_only, lenient, objective, effort).bound
        return answer._replace(bound=bound)
    if _asks_too_much(question, lenient).any():
        return answer._replace(bound=min(answer.bound, len(answer.hosts) - 1), proved_infeasible=True)
    found = _solve_pool(used_only, lenient, objective, effort)
    most = len(answer.hosts) if found.complete else found.bound
    return answer._replace(bound=most, proved_infeasible=not found.complete and found.proved_infeasible)


def _value(question: Question, problem: Problem, objective: str, host_of: Rows) -> int:
    if objective == "all":
        return int(problem.weight[host_of >= 0].sum())
    if objective == "fewest-hosts":
        return problem.hosts_in_use(host_of)
    place = problem.vm_hosts(host_of)
    if objective == "even":
        everywhere = np.full(len(question.vms), -1)
        everywhere[problem.vms] = place
        return int(free_after(question, everywhere)[problem.hosts].min()) if len(problem.hosts) else 0
    return int(((question.away[problem.vms] >= 0) & (place != question.origin[problem.vms])).sum())


def _why_not(question: Question, problem: Problem, proved: bool, effort: Effort) -> tuple[str, Obstacle | None]:
    """A sentence and the smallest contradiction found."""
    hosts = tuple(question.hosts[problem.hosts].tolist())
    if not len(hosts):
        return "no host of the pool takes part", Obstacle(tuple(question.vms[problem.vms].tolist()), ())

    def vms_of(items: NDArray[np.int64]) -> NDArray[np.int64]:
        return problem.vms[np.isin(problem.item_of, items)]

    def obstacle(items: NDArray[np.int64]) -> Obstacle:
        return Obstacle(tuple(question.vms[vms_of(items)].tolist()), hosts)

    def named(items: NDArray[np.int64]) -> str:
        names = [question.vm_name(int(vm)) for vm in vms_of(items)]
        return listed(names)

    alone = exact.homeless(problem)
    if alone is not None:
        items = np.array([alone])
        reach = problem.free[problem.allowed[problem.kind_of[alone]]]
        most = format_size(max(int(reach.max()), 0)) if len(reach) else "none"
        size = format_size(int(problem.sizes[alone]))
        if len(reach) and reach.max() >= problem.sizes[alone]:
            text = f"{named(items)} needs {size}, and every host with that free has a VM of its anti-affinity group"
            return text, obstacle(items)
        bars = question.bars(int(vms_of(items)[0]))
        if not len(reach) and bars:
            return f"{named(items)} can run on none of these hosts: it {bars}", obstacle(items)
        text = f"{named(items)} needs {size}, and no host that it may be on has that free ({most} at most)"
        return f"{text}; it {bars}" if bars else text, obstacle(items)
    crowded = exact.crowded_group(problem)
    if crowded is not None:
        items, places = crowded
        several = counted(places, "host")
        text = f"{len(items)} VMs of an anti-affinity group ({named(items)}) have {several} to choose from"
        return text, obstacle(items)
    crowd = bounds.oversized(problem.sizes, problem.free)
    if crowd is not None:
        items = np.flatnonzero(problem.sizes >= crowd[0])[: crowd[1] + 1]
        fitting = counted(crowd[1], "VM")
        text = f"the hosts have room for {fitting} of at least {format_size(crowd[0])}, not for {named(items)}"
        return text, obstacle(items)
    room, needed = int(np.maximum(problem.free, 0).sum()), int(problem.sizes.sum())
    everything = np.arange(len(problem.sizes))
    if needed > room:
        text = f"together they need {format_size(needed)}, {format_size(needed - room)} more than is free"
        return text, obstacle(everything)
    if proved and len(everything) <= SHRUNK_VMS:
        kept = everything
        try:
            for item in everything[::-1]:
                fewer = kept[kept != item]
                part = problem.part(fewer, np.full(len(everything), -1, np.int32))
                if len(fewer) and exact.place_all(part, effort, 0.02)[1]:
                    kept = fewer
        except KeyboardInterrupt:
            effort.stop()
        return f"these VMs do not fit together on the hosts of the pool: {named(kept)}", obstacle(kept)
    if proved:
        return "no arrangement holds them all", obstacle(everything)
    return "neither a place for all nor a proof that there is none was found", None
