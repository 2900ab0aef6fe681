"""Can this host be emptied: its guests migrated to the other hosts of the pool, others moved only if it must be.

Amounts are bytes. What the pool itself would do is planning.xapi.evacuation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple, Unpack

import numpy as np
import numpy.typing as npt

from xenmem.columns import Bools, Rows
from xenmem.planning.checks import integer
from xenmem.planning.company import Level, as_apart_as_can_be, at_level
from xenmem.planning.effort import Effort, Report
from xenmem.planning.packing import plan_of, solve
from xenmem.planning.plan import Obstacle, Plan, Status, listed
from xenmem.planning.pool_view import able_hosts, place_in
from xenmem.planning.question import (
    Constraints,
    Question,
    admits,
    cannot_move,
    distinct_rows,
    question_of_fleet,
    soft_groups,
    staying_as_used,
)
from xenmem.planning.search import exact
from xenmem.planning.search.compiled.arrays import NEVER
from xenmem.planning.search.displaced import crowd_of, displaced_bound, fewest_displaced
from xenmem.planning.search.fewest_moves import fewest_migrations
from xenmem.planning.search.greedy import stay
from xenmem.planning.search.problem import Problem, problems
from xenmem.planning.stopping import forgetting, stopped
from xenmem.rules.migration import whereabouts

if TYPE_CHECKING:
    from xenmem.fleet import Fleet


SMALL: Final = 2000
"""VMs times hosts up to which what is not proved is left to the exact search of packing."""
PACKING_SHARE: Final = 0.1
"""Of the steps of a search for any packing at all, where no way of displacing VMs was found."""


def guests_on(fleet: Fleet, hosts: Rows) -> Rows:
    """Rows of the guests that are on one of these hosts."""
    place = place_in(hosts, len(fleet.hosts))
    return np.flatnonzero(fleet.vms.is_guest & (place[whereabouts(fleet.vms)] >= 0)).astype(np.int32)


def hosts_that_take_part(fleet: Fleet, hosts: npt.ArrayLike | None) -> Rows:
    """Those of the hosts, all by default, that are enabled and live: guests on others stay where they are."""
    count = len(fleet.hosts)
    return able_hosts(
        fleet, np.arange(count, dtype=np.int32) if hosts is None else distinct_rows("hosts", hosts, count)
    )


def evacuate(
    fleet: Fleet,
    host: int,
    hosts: npt.ArrayLike | None = None,
    policy: str = "dynamic_min",
    *,
    time_limit: float | None = None,
    seed: int = 0,
    progress: Report | None = None,
    **constraints: Unpack[Constraints],
) -> Plan:
    """Where the guests of a host go, and in which order, with the fewest migrations.

    Parameters
    ----------
    fleet : is not changed
    host : row of the host to be emptied; it may be disabled
    hosts : rows of hosts that may take VMs, by default all others of the pool that are enabled and live
    policy : ``dynamic_min`` is what the pool asks for when a VM migrates
    time_limit, seed, progress : as for pack

    Returns
    -------
    Plan : its objective is ``fewest-migrations``. First the other VMs stay where they are; if that is impossible, they
        move as well, and `vms` are then all guests of the pool. Where some of the host's VMs cannot move, the plan is
        infeasible, they are in `stays`, and it goes as far as the others can: the rest of a whole plan once they are
        shut down

    Raises
    ------
    ValueError, TypeError : an argument is out of range or contradicts another; names argument, index and value
    """
    if not 0 <= integer("host", host) < len(fleet.hosts):
        raise ValueError(f"host: there is no host {host}")
    effort = Effort(time_limit, seed, progress)
    wanted = hosts_that_take_part(fleet, hosts)
    if hosts is not None and (wanted == host).any():
        raise ValueError(f"hosts: {fleet.hosts.label(host)} is the host to be emptied")
    others = wanted[(wanted != host) & (fleet.hosts.pool[wanted] == fleet.hosts.pool[host])]
    running = guests_on(fleet, np.append(others, np.int32(host)))
    arriving = fleet.vms.is_guest & (fleet.vms.scheduled_to_be_resident_on == host) & (whereabouts(fleet.vms) >= 0)
    here = (whereabouts(fleet.vms)[running] == host) | arriving[running]
    still = cannot_move(fleet, constraints, place_in(others, len(fleet.hosts)), running[here])
    held = {vm: still[vm] for vm in running[here].tolist() if vm in still}
    if held:
        rest = evacuate(
            stopped(fleet, held),
            host,
            hosts,
            policy,
            time_limit=time_limit,
            seed=seed,
            progress=progress,
            **forgetting(constraints, held),
        )
        return _held(fleet, host, held, rest)
    grouped = bool(soft_groups(fleet, constraints))

    def ask(level: Level) -> Plan:
        return _emptied(fleet, running, here, others, policy, constraints, level, effort)

    return as_apart_as_can_be(ask, constraints, grouped)


def _held(fleet: Fleet, host: int, held: Mapping[int, str], rest: Plan) -> Plan:
    """The answer where VMs of the host to be emptied cannot migrate, with the plan for the others."""
    names = [f"{fleet.vms.label(vm)} ({why})" for vm, why in sorted(held.items())]
    count = f"{len(held)} VM{'' if len(held) == 1 else 's'}"
    reason = f"{count} of {fleet.hosts.label(host)} cannot migrate: {listed(names)}"
    if rest.reason and not rest.is_complete:
        reason = f"{reason}; of the others, {rest.reason}"
    everybody = np.append(rest.vms, np.array(sorted(held), np.int32))
    in_order = np.argsort(everybody, kind="stable")
    return replace(
        rest,
        status="infeasible",
        vms=everybody[in_order],
        host=np.append(rest.host, np.full(len(held), -1, np.int32))[in_order],
        reason=reason,
        obstacle=Obstacle(tuple(sorted(held)), (host,)),
        stays={**rest.stays, **held},
        emptied=(),
    )


def _emptied(
    fleet: Fleet,
    running: Rows,
    here: Bools,
    others: Rows,
    policy: str,
    constraints: Constraints,
    level: Level,
    effort: Effort,
) -> Plan:
    """The plan for the VMs of the host; where that fails, for all that run on the others as well."""
    own = _named(constraints, running[here])
    alone = None
    if own is not None:
        alone = at_level(question_of_fleet(fleet, running[here], others, policy, own), own, level)
    if alone is not None:
        if not len(alone.vms):
            return solve(alone, "fewest-migrations", effort)
        plan = _displacing(alone, effort).plan
        if plan is not None:
            return plan
    everybody = at_level(question_of_fleet(fleet, running, others, policy, constraints), constraints, level)
    plan, why_not, proved = _displacing(everybody, effort)
    if alone is None:
        return plan or solve(everybody, "fewest-migrations", effort)
    if plan is None and not why_not:
        plan = solve(everybody, "fewest-migrations", effort)
    if plan is not None:
        if plan.is_complete and not plan.blocked:
            return plan
        why_not = f"if others move as well, {plan.blocked if plan.is_complete else plan.reason}"
        proved = plan.status == "infeasible"
    plan = solve(alone, "fewest-migrations", effort)
    if plan.is_complete:
        return plan
    status: Status = "infeasible" if proved else "unknown"
    return replace(plan, status=status, reason=f"{plan.reason}; {why_not}", bound=len(plan.vms))


class _Found(NamedTuple):
    """A plan, or in a sentence why there is none, and whether that is proved; neither: that is for a wider search."""

    plan: Plan | None
    why_not: str = ""
    proved: bool = False


def _displacing(question: Question, effort: Effort) -> _Found:
    """All stay but those without a host and whom they displace."""
    pools = problems(staying_as_used(question))
    if len(pools) != 1 or not len(pools[0].hosts):
        return _Found(None)
    (problem,) = pools
    everything = np.arange(len(problem.sizes))
    at_home = stay(problem, everything)
    if ((at_home[problem.item_of] < 0) & (question.origin[problem.vms] >= 0)).any():
        return _Found(None)
    found, displaced = fewest_displaced(crowd_of(problem, at_home), effort)
    is_small = len(problem.sizes) * len(problem.hosts) <= SMALL
    if found is None and (is_small or (at_home < 0).all()):
        return _Found(None)
    if displaced >= NEVER:
        why = "others that move aside make no room: there is too little in the whole pool"
        return _Found(None, why, proved=not (question.need > question.used).any())
    if found is None:
        found = _anew(problem, effort)
    if found is None:
        return _Found(None, "no way to make room by moving others aside was found, and none is excluded")
    place = np.empty(len(question.vms), np.int64)
    place[problem.vms] = problem.vm_hosts(found)
    if not admits(question, place):
        return _Found(None)
    value = int((place != question.origin).sum())
    waiting = int(problem.weight[at_home < 0].sum())
    bound = waiting + displaced
    if (question.need > question.used).any():
        (lenient,) = problems(replace(question, sizes=question.used))
        bound = waiting + displaced_bound(crowd_of(lenient, stay(lenient, everything)))
    if value > bound and is_small:
        return _Found(None)
    status: Status = "optimal" if value == bound else "feasible"
    reason = "" if value == bound else f"the best known value is {value}, and {bound} is not excluded"
    return _Found(plan_of(question, place, effort, "fewest-migrations", status, value, bound, reason))


def _anew(problem: Problem, effort: Effort) -> Rows | None:
    """Any packing at all, from which as many VMs go back as possible."""
    quiet = effort.part()
    start, _ = exact.place_all(problem, quiet, PACKING_SHARE)
    return None if start is None else fewest_migrations(problem, start, quiet)[0]


def _named(constraints: Constraints, vms: Rows) -> Constraints | None:
    """The constraints of these VMs alone; None if they tie them to others."""
    known = set(vms.tolist())
    own = constraints.copy()
    if "pinned" in constraints:
        own["pinned"] = {vm: host for vm, host in constraints["pinned"].items() if vm in known}
    if "affinity" in constraints:
        own["affinity"] = {vm: hosts for vm, hosts in constraints["affinity"].items() if vm in known}
    if "priority" in constraints:
        own["priority"] = {vm: value for vm, value in constraints["priority"].items() if vm in known}
    apart, together = constraints.get("anti_affinity", ()), constraints.get("same_host", ())
    if any(len(known.intersection(group)) not in (0, len(set(group))) for group in (*apart, *together)):
        return None
    own["anti_affinity"] = [group for group in apart if known.intersection(group)]
    own["same_host"] = [group for group in together if known.intersection(group)]
    return own
