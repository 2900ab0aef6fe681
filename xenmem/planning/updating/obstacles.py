"""What every rolling update copies at least, and what rules one out, where it shows without a search.

Amounts are bytes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xenmem.planning.plan import listed
from xenmem.planning.updating.problem import UpdateProblem


class Stuck(NamedTuple):
    """Why a walk ended: a host, the VMs that found no room, how many bytes were missing, and that in words.

    The words can say all there is to be said: which VMs of which hosts, too.
    """

    host: int
    vms: tuple[int, ...]
    missing: int
    text: str
    says_all: bool = False


def least_copied(problem: UpdateProblem) -> int:
    """A VM at home leaves a host that restarts and comes back; one that is away comes home."""
    away = problem.start != problem.home
    restarts = ~problem.updated[problem.home]
    return int(problem.copied[away].sum() + 2 * problem.copied[~away & restarts].sum())


def _has_to_move(problem: UpdateProblem, vm: int) -> bool:
    return bool(not problem.updated[problem.start[vm]] or problem.home[vm] != problem.start[vm])


def obstacle(problem: UpdateProblem, order: list[int] | None) -> Stuck | None:
    """What makes every plan impossible, where it shows at once."""
    hosts, vms = len(problem.hosts), len(problem.vms)
    fixed = [vm for vm in sorted(problem.held) if _has_to_move(problem, vm)]
    if fixed:
        on = [problem.host_names[host] for host in problem.start[fixed]]
        shown = listed(
            [f"{problem.vm_names[vm]} on {host}: {problem.held[vm]}" for vm, host in zip(fixed, on, strict=True)]
        )
        text = f"{len(fixed)} {'VM' if len(fixed) == 1 else 'VMs'} cannot make way and come home; shut down or suspend"
        return Stuck(int(problem.start[fixed[0]]), tuple(fixed), 0, f"{text} first {shown}", says_all=True)
    at_home = np.zeros(hosts, np.int64)
    np.add.at(at_home, problem.home, problem.need[:, 1])
    least = problem.need.min(axis=1)
    most = problem.capacity.max(axis=1)
    taken = np.where(problem.updated[problem.start], problem.need[:, 1], problem.need[:, 0])
    now = np.zeros(hosts, np.int64)
    np.add.at(now, problem.start, taken)
    for host in range(hosts):
        missing = int(at_home[host] - problem.capacity[host, 1])
        arrives = (problem.home == host) & (~problem.updated[host] | (problem.start != host))
        if missing > 0 and arrives.any():
            there = tuple(np.flatnonzero(problem.home == host).tolist())
            return Stuck(host, there, missing, "its VMs do not fit there after the update")
    todo = order if order is not None else np.flatnonzero(~problem.updated).tolist()
    for step, host in enumerate(todo):
        sides = np.ones(hosts, np.int64)
        if order is not None:
            sides[order[step + 1 :]] = 0
            room = problem.capacity[np.arange(hosts), sides]
        else:
            room = most
        # an overcommitted host may stay so, as long as nobody comes
        missing = int(least.sum() - np.delete(np.maximum(room, now), host).sum())
        if missing > 0:
            there = tuple(np.flatnonzero(problem.start == host).tolist())
            return Stuck(host, there, missing, "all the other hosts together are too small while it restarts")
    if len(todo):
        # while the last host restarts, all others run the new version; those updated before may still hold too much
        empty = np.maximum(problem.capacity[:, 1], 0)
        room = np.where(problem.updated, np.maximum(empty, now), empty)
        last = order[-1] if order is not None else min(todo, key=lambda host: int(room[host]))
        missing = int(problem.need[:, 1].sum() - np.delete(room, last).sum())
        if missing > 0:
            there = tuple(np.flatnonzero(problem.home == last).tolist())
            return Stuck(last, there, missing, "the other hosts, all updated, are too small while it restarts last")
    for vm in range(vms):
        here = int(problem.home[vm])
        if problem.updated[here] or problem.start[vm] != here:
            continue
        may = np.ones(hosts, np.bool_) if problem.allowed is None else problem.allowed[vm].copy()
        may[here] = False
        others = most[may]
        missing = int(problem.asked[vm].min()) - int(others.max(initial=0))
        if missing > 0 or not len(others):
            return Stuck(here, (vm,), missing, "no other host that it may run on can hold the VM, even empty")
    return None
