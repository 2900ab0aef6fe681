"""A rolling update carried out host by host, by rules, with a few returns where these lead nowhere.

Amounts are bytes. Every VM comes home as early or as late as it helps; others move aside where nothing else makes room.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Final

import numpy as np

from xenmem.planning.effort import Effort
from xenmem.planning.search.compiled.arrays import MOVE, Where
from xenmem.planning.search.compiled.feasibility import YES, pack
from xenmem.planning.search.displaced import Crowd, fewest_displaced
from xenmem.planning.updating.moment import Moment
from xenmem.planning.updating.obstacles import Stuck
from xenmem.planning.updating.problem import UpdateProblem

NODES: Final = 20_000
"""Nodes of the search for hosts for the VMs of one host, if nobody else moves."""
BRANCHES: Final = 400
DIVES: Final = 6
"""Tries of the search for VMs that make room for those of one host by moving aside."""
DEPTH: Final = 3
"""VMs that move aside for one another, one after the other."""


class Walk:
    """One order of restarts, carried out.

    Parameters
    ----------
    problem, order : what is to be done
    effort : how long to try
    """

    def __init__(self, problem: UpdateProblem, order: list[int], effort: Effort) -> None:
        self._problem = problem
        self._order = order
        self._effort = effort
        self._tries = effort.part()
        self._branches = 0
        self._deepest = -1
        self.stuck: Stuck | None = None

    def run(self) -> Moment | None:
        return self._from(Moment(self._problem), 0)

    def _from(self, state: Moment, step: int) -> Moment | None:
        """Carry out the steps from this one on."""
        self._branches += 1
        if self._branches > BRANCHES or self._effort.over():
            return None
        for start in self._before(state, step == len(self._order)):
            if step == len(self._order):
                if not start.displaced():
                    return start
                continue
            host = self._order[step]
            for after in self._emptied(start, host, step):
                after.restart(host)
                found = self._from(after, step + 1)
                if found is not None:
                    return found
        return None

    def _before(self, state: Moment, is_end: bool) -> Iterator[Moment]:
        """Everybody at home who can be, at first; then as it is, which may leave larger holes."""
        settled = state.copy()
        self._settle(settled)
        if is_end:
            self._untangle(settled)
            yield settled
            return
        yield settled
        if settled.copied != state.copied:
            yield state.copy()
            untangled = state.copy()
            self._untangle(untangled)
            if untangled.copied != settled.copied:
                yield untangled

    def _settle(self, state: Moment) -> None:
        """Bring home whoever has room at home, if that host restarts no more."""
        home = self._problem.home
        again = True
        while again:
            again = False
            for vm in state.displaced():
                if state.updated[home[vm]] and state.fits(vm, int(home[vm])):
                    state.migrate(vm, int(home[vm]))
                    again = True

    def _untangle(self, state: Moment) -> None:
        """Bring home everybody whose host restarts no more, moving others aside."""
        home = self._problem.home
        limit = 4 * len(state.at) + 16
        while limit:
            limit -= 1
            self._settle(state)
            waiting = [vm for vm in state.displaced() if state.updated[home[vm]]]
            best: Moment | None = None
            for vm in waiting:
                target = int(home[vm])
                if not state.may_go(vm, target):
                    continue
                trial = state.copy()
                missing = state.lacking(vm, target)
                if self._make_room(trial, target, missing, {vm}, set(), DEPTH) and trial.fits(vm, target):
                    trial.migrate(vm, target)
                    self._settle(trial)
                    if len(trial.displaced()) < len(state.displaced()) and (best is None or trial.copied < best.copied):
                        best = trial
            if best is None:
                return
            state.become(best)

    def _emptied(self, state: Moment, host: int, step: int) -> Iterator[Moment]:
        """Ways to empty a host."""
        vms = sorted(state.on[host], key=lambda vm: -int(self._problem.need[vm].max()))
        seen: set[tuple[int, ...]] = set()
        plain = False
        for hosts_of in self._packings(state, host, vms):
            plain = True
            if tuple(hosts_of) not in seen:
                seen.add(tuple(hosts_of))
                after = state.copy()
                for vm, target in zip(vms, hosts_of, strict=True):
                    after.migrate(vm, target)
                yield after
        if not plain:
            made = self._with_room_made(state, host, vms, step)
            if made is not None:
                yield made

    def _packings(self, state: Moment, host: int, vms: list[int]) -> Iterator[list[int]]:
        """Hosts for the VMs of a host, if nobody else moves."""
        for rule in ("homeward", "fullest", "emptiest"):
            free = list(state.free)
            free[host] = -1
            hosts_of = []
            for vm in vms:
                left = {
                    y: free[y] - state.need(vm, y)
                    for y in range(len(free))
                    if state.lacking(vm, y) <= free[y] - state.free[y] and state.may_go(vm, y)
                }
                if not left:
                    break
                target = self._choose(state, vm, left, rule)
                free[target] = left[target]
                hosts_of.append(target)
            else:
                yield hosts_of
        if not vms:
            return
        sizes = self._problem.asked[vms].max(axis=1)
        rules = np.array([[y == host or state.may_go(vm, y) for y in range(len(state.free))] for vm in vms], np.bool_)
        rule_of = np.where(rules.all(axis=1), -1, np.arange(len(vms))).astype(np.int32)
        holes = np.array(state.free, np.int64)
        holes[host] = -1
        found = np.empty(len(vms), np.int32)
        if pack(sizes, rule_of, rules, holes, found, NODES) == YES:
            yield found.tolist()

    def _choose(self, state: Moment, vm: int, left: dict[int, int], rule: str) -> int:
        """One of the hosts with room; homeward: home, if that restarts no more, else an updated host if any."""
        if rule == "homeward":
            home = int(self._problem.home[vm])
            if home in left and state.updated[home]:
                return home
            return min(left, key=lambda y: (not state.updated[y], left[y]))
        return min(left, key=lambda y: left[y] if rule == "fullest" else -left[y])

    def _with_room_made(self, state: Moment, host: int, vms: list[int], step: int) -> Moment | None:
        """Empty the host, moving as few VMs of other hosts aside as can be."""
        goals = self._displaced(state, host)
        after = state.copy()
        if goals is not None and self._carried_out(after, goals):
            return after
        if step > self._deepest:
            self._deepest = step
            self.stuck = self._left_over(state, host, vms)
        return None

    def _left_over(self, state: Moment, host: int, vms: list[int]) -> Stuck:
        """The VMs of the host that find no room if nobody else moves, and what is missing to the largest of them."""
        after = state.copy()
        left = []
        for vm in vms:
            fitting = [y for y in range(len(after.free)) if after.fits(vm, y)]
            if fitting:
                after.migrate(vm, min(fitting, key=lambda y: after.free[y] - after.need(vm, y)))
            else:
                left.append(vm)
        if not left:
            return Stuck(host, tuple(vms), 0, "it can be emptied, but what follows then cannot be done")
        missing = min(
            (after.lacking(left[0], y) for y in range(len(after.free)) if after.may_go(left[0], y)),
            default=after.need(left[0], host),
        )
        return Stuck(host, tuple(left), missing, "it cannot be emptied")

    def _displaced(self, state: Moment, host: int) -> dict[int, int] | None:
        """Hosts for the VMs of a host, and for those on other hosts that make room for them."""
        problem = self._problem
        others = np.array([y for y in range(len(state.free)) if y != host], np.int64)
        updated = np.array(state.updated, np.bool_)[others]
        # one that leaves counts with what is asked for it; one that can be on either kind of host with the larger size
        at = np.array(state.at, np.int64)
        amount = np.where((at == host)[:, np.newaxis], problem.asked, problem.need)
        size = amount[:, 0] if not updated.any() else amount.max(axis=1)
        order = np.argsort(-size, kind="stable")
        place = np.full(len(state.free), -1, np.int32)
        place[others] = np.arange(len(others))
        stay = place[at[order]]
        older = np.array([[state.is_older(y, source) for y in others] for source in range(len(state.free))], np.bool_)
        allowed = ~older[at]
        if problem.allowed is not None:
            allowed &= problem.allowed[:, others]
        masks, kind_of = np.unique(allowed[order], axis=0, return_inverse=True)
        capacity = problem.capacity[others, updated.astype(np.int64)]
        free = capacity.copy()
        np.subtract.at(free, stay[stay >= 0], size[order][stay >= 0])
        no_group, nobody = np.zeros(len(order) + 1, np.int32), np.zeros((0, len(others)), np.int32)
        crowd = Crowd(
            stay,
            size[order],
            np.ones(len(order), np.int64),
            np.where(stay >= 0, MOVE + (problem.copied[order] >> 20), 0),
            capacity,
            free,
            Where(kind_of.reshape(-1).astype(np.int32), masks, no_group, no_group[:0], nobody),
        )
        found = fewest_displaced(crowd, self._tries, DIVES).host_of
        if found is None:
            return None
        return {int(vm): int(others[y]) for vm, y, was in zip(order, found, stay, strict=True) if y != was}

    def _carried_out(self, state: Moment, goals: dict[int, int]) -> bool:
        """Migrate each VM to its goal, in an order in which each fits at its moment; the state is changed."""
        waiting = dict(goals)
        while waiting:
            ready = [vm for vm, target in waiting.items() if state.fits(vm, target)]
            if not ready:
                return False
            for vm in ready:
                if state.fits(vm, waiting[vm]):
                    state.migrate(vm, waiting.pop(vm))
        return True

    def _make_room(self, state: Moment, host: int, missing: int, fixed: set[int], closed: set[int], depth: int) -> bool:
        """Move VMs away from a host, the fewest bytes first, until so much more is free; the state is changed."""
        if missing <= 0:
            return True
        if depth == 0 or self._effort.over():
            return False
        home = self._problem.home
        copied = self._problem.copied
        there = sorted(state.on[host] - fixed, key=lambda vm: (home[vm] == host, copied[vm]))
        blocked = {*closed, host}
        for size in (1, 2):
            options = [
                group for group in combinations(there, size) if sum(state.need(vm, host) for vm in group) >= missing
            ]
            options.sort(key=lambda group: sum(int(copied[vm]) for vm in group))
            for group in options[:200]:
                trial = state.copy()
                if all(self._move_aside(trial, vm, blocked) for vm in group):
                    state.become(trial)
                    return True
        trial = state.copy()
        for vm in sorted(there, key=lambda vm: -trial.need(vm, host)):
            if trial.free[host] - state.free[host] >= missing:
                break
            self._move_aside(trial, vm, blocked)
        if trial.free[host] - state.free[host] >= missing:
            state.become(trial)
            return True
        for vm in there:
            if state.need(vm, host) < missing:
                continue
            for target in range(len(state.free)):
                if target in blocked or not state.may_go(vm, target):
                    continue
                trial = state.copy()
                lacking = trial.lacking(vm, target)
                if self._make_room(trial, target, lacking, {*fixed, vm}, blocked, depth - 1) and trial.fits(vm, target):
                    trial.migrate(vm, target)
                    state.become(trial)
                    return True
        return False

    def _move_aside(self, state: Moment, vm: int, blocked: set[int]) -> bool:
        """To its home if that is possible, else to the fullest host that has room."""
        home = int(self._problem.home[vm])
        if home not in blocked and state.fits(vm, home):
            state.migrate(vm, home)
            return True
        fitting = [y for y in range(len(state.free)) if y not in blocked and state.fits(vm, y)]
        if not fitting:
            return False
        state.migrate(vm, min(fitting, key=lambda y: state.free[y] - state.need(vm, y)))
        return True
