"""A rolling pool update, planned as a whole before it starts: who waits where while which host restarts.

Amounts are bytes. A VM that migrates counts on both hosts until it has arrived; migrations come one after another. A
VM does not go to a host of an older version than it is on. Fleets are only read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from xenmem.planning.effort import Effort, Report
from xenmem.planning.updating.moment import Moment
from xenmem.planning.updating.obstacles import Stuck, least_copied, obstacle
from xenmem.planning.updating.problem import UpdateProblem
from xenmem.planning.updating.sequences import cheapest_sequence, is_small
from xenmem.planning.updating.walk import Walk
from xenmem.text import counted
from xenmem.units import format_size

if TYPE_CHECKING:
    from xenmem.fleet import Fleet

DEFAULT_TIME_LIMIT: Final = 30.0


class Step(NamedTuple):
    """One step of an update.

    Attributes
    ----------
    action : ``migrate`` or ``restart``
    vm : row number of the VM that migrates; -1 for a restart
    source : row number of the host that it leaves; -1 for a restart
    host : row number of the host that it goes to, or that is restarted
    copied : bytes
    temporary : the host is neither restarted next to the VM's leaving it nor its home: a move that only makes room
    """

    action: str
    vm: int
    source: int
    host: int
    copied: int
    temporary: bool


@dataclass(frozen=True, eq=False)
class RollingUpdate:
    """The plan of an update.

    Attributes
    ----------
    status : ``optimal`` or ``feasible``, a plan; ``infeasible``, proved; ``unknown``, neither was found
    steps : in their order; empty without a plan
    order : row numbers of the hosts in the order of their restarts
    copied, bound : bytes that the plan copies, and that every plan copies at least
    reason : in a sentence
    host, vms, missing : without a plan: the host that cannot be emptied or filled, VMs, and bytes missing there
    interrupted : the search ended at its time limit or by Ctrl-C
    """

    status: str
    steps: tuple[Step, ...]
    order: tuple[int, ...]
    copied: int
    bound: int
    reason: str
    host: int = -1
    vms: tuple[int, ...] = ()
    missing: int = 0
    interrupted: bool = False


def rolling_update(
    problem: UpdateProblem | Fleet,
    order: Sequence[int] | None = None,
    *,
    time_limit: float = DEFAULT_TIME_LIMIT,
    progress: Report | None = None,
) -> RollingUpdate:
    """Plan a whole rolling update: each host is emptied and restarted once, and every VM ends at home.

    Parameters
    ----------
    problem : the hosts and VMs, or a Fleet of one pool
    order : row numbers of the hosts to restart, in this order; None: the order that copies least among those tried
    time_limit : seconds, > 0
    progress : called now and then with the bytes that the best plan so far copies, 0 while there is none, and their
        bound; Ctrl-C ends the search with the best plan so far

    Raises
    ------
    ValueError : the order names a host twice, or one that is not to be restarted, or leaves one out; the time limit is
        not positive

    Notes
    -----
    First rules, with every VM brought home as early or as late as it helps and other VMs moved aside where nothing else
    makes room; then, where these fail, a complete search that ends with a plan, a proof or the limits of time and size.
    """
    effort = Effort(time_limit, 0, progress)
    if not isinstance(problem, UpdateProblem):
        if len(problem.pools) != 1:
            raise ValueError(f"the fleet has {len(problem.pools)} pools: use UpdateProblem.from_fleet")
        problem = UpdateProblem.from_fleet(problem)
    fixed = None if order is None else _places(problem, order)
    bound = least_copied(problem)
    excluded = obstacle(problem, fixed)
    if excluded is not None:
        return _no_plan(problem, "infeasible", bound, excluded, effort)

    best: Moment | None = None
    stuck: Stuck | None = None
    complete = False
    try:
        for candidate in [fixed] if fixed is not None else _orders(problem):
            walk = Walk(problem, candidate, effort)
            end = walk.run()
            if end is not None and (best is None or end.copied < best.copied):
                best = end
            stuck = stuck or walk.stuck
            effort.tell(0 if best is None else best.copied, bound)
            if (best is not None and best.copied == bound) or effort.over():
                break
        if is_small(problem) and (best is None or best.copied > bound):
            found, complete = cheapest_sequence(problem, fixed, effort)
            if found is not None:
                best, bound = found, found.copied
    except KeyboardInterrupt:
        effort.stop()
    if best is None:
        stuck = stuck or Stuck(int(problem.start[0]), (), 0, "no sequence of moves was found in time")
        return _no_plan(problem, "infeasible" if complete else "unknown", bound, stuck, effort)
    return _plan(problem, best, bound, effort)


def _places(problem: UpdateProblem, order: Sequence[int]) -> list[int]:
    place = {int(row): k for k, row in enumerate(problem.hosts)}
    for index, row in enumerate(order):
        if int(row) not in place:
            raise ValueError(f"order: {row} at index {index} is no host of the pool")
        if problem.updated[place[int(row)]]:
            raise ValueError(f"order: host {row} at index {index} is updated already")
    places = [place[int(row)] for row in order]
    if len(set(places)) < len(places):
        raise ValueError("order: a host comes twice")
    left_out = sorted(set(np.flatnonzero(~problem.updated).tolist()) - set(places))
    if left_out:
        raise ValueError(f"order: {problem.host_names[left_out[0]]} is left out")
    return places


def _orders(problem: UpdateProblem) -> list[list[int]]:
    """Orders to try: as given, the hosts with least on them first, with most first, with the largest VMs last."""
    todo = [host for host in range(len(problem.hosts)) if not problem.updated[host]]
    load = np.bincount(problem.start, weights=problem.need[:, 0], minlength=len(problem.hosts))
    largest = np.zeros(len(problem.hosts), np.int64)
    np.maximum.at(largest, problem.start, problem.need[:, 0])
    orders: list[list[int]] = []
    for candidate in (
        todo,
        sorted(todo, key=lambda host: load[host]),
        sorted(todo, key=lambda host: -load[host]),
        sorted(todo, key=lambda host: largest[host]),
    ):
        ordered = sorted(candidate, key=lambda host: host != problem.first)
        if ordered not in orders:
            orders.append(ordered)
    return orders


def _no_plan(problem: UpdateProblem, status: str, bound: int, stuck: Stuck, effort: Effort) -> RollingUpdate:
    names = ", ".join(problem.vm_names[vm] for vm in stuck.vms[:5]) + (", ..." if len(stuck.vms) > 5 else "")
    where = f"{problem.host_names[stuck.host]}: {stuck.text}"
    if stuck.missing > 0:
        where += f"; {format_size(stuck.missing)} missing"
    sure = "there is no plan" if status == "infeasible" else "no plan was found, and none is excluded"
    return RollingUpdate(
        status=status,
        steps=(),
        order=(),
        copied=0,
        bound=bound,
        reason=stuck.text if stuck.says_all else f"{sure}: {where} ({names})" if names else f"{sure}: {where}",
        host=int(problem.hosts[stuck.host]),
        vms=tuple(problem.vms[list(stuck.vms)].tolist()),
        missing=stuck.missing,
        interrupted=effort.interrupted,
    )


def _plan(problem: UpdateProblem, end: Moment, bound: int, effort: Effort) -> RollingUpdate:
    steps, order = [], []
    at = problem.start.copy()
    moves = end.moves()
    next_restart = [host for vm, host in moves if vm < 0]
    for vm, host in moves:
        row = int(problem.hosts[host])
        if vm < 0:
            next_restart.pop(0)
            order.append(row)
            steps.append(Step("restart", -1, -1, row, 0, False))
            continue
        leaves = int(at[vm])
        emptied = bool(next_restart) and leaves == next_restart[0]
        steps.append(
            Step(
                "migrate",
                int(problem.vms[vm]),
                int(problem.hosts[leaves]),
                row,
                int(problem.copied[vm]),
                not emptied and host != problem.home[vm],
            )
        )
        at[vm] = host
    status = "optimal" if end.copied == bound else "feasible"
    aside = sum(step.temporary for step in steps)
    reason = f"{counted(len(order), 'host restarts', 'hosts restart')}, {format_size(end.copied)} are copied"
    if aside:
        reason += f"; {aside} {'migration makes' if aside == 1 else 'migrations make'} room for others"
    return RollingUpdate(status, tuple(steps), tuple(order), end.copied, bound, reason, interrupted=effort.interrupted)
