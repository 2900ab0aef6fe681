"""From where the VMs are to where they should be: the moves in an order in which each fits at its moment.

While a VM migrates it counts on both hosts: the target must have room before the source gets its memory back. Where
no final move fits, a VM waits on another host meanwhile. Amounts are bytes.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from xenmem.planning.plan import Migration
from xenmem.planning.question import Question
from xenmem.planning.search.compiled.arrays import draw

ATTEMPTS = 30
DETOURS = 200
PENDING = 50
"""Migrations that a temporary move is looked for, at a time."""
LOOKS = 50_000
"""VMs that are considered for temporary moves in all attempts together, some 10 us each."""
ARRANGEMENTS = 5000
ARRANGEMENT_LOOKS = 50_000_000
"""Rows of all the arrangements that the complete search looks at."""


def in_order(
    question: Question, place: NDArray[np.int64], state: NDArray[np.uint64], seconds: float = inf
) -> tuple[list[Migration], str]:
    """The migrations that a placement asks for, and why they stop short if they do.

    Parameters
    ----------
    question : the VMs, where they are and what they need
    place : int64 array, shape (vms,), the host of the Question that each VM is to be on, -1: it stays where it is
    state : of the random numbers
    seconds : that the search may take

    Returns
    -------
    the moves of the VMs that are on a host, in order; empty text, or what no order was found for
    """
    moving = np.flatnonzero((question.away >= 0) & (place >= 0) & (place != question.origin))
    if not len(moving):
        return [], ""
    end = monotonic() + seconds
    best: list[Migration] = []
    why = ""
    left = len(place) + 1
    looks = 0
    for attempt in range(ATTEMPTS):
        board = _Board(question, place, moving, state, by_size=attempt == 0)
        if board.play(LOOKS - looks, end):
            return board.done, ""
        looks += board.looks
        if len(board.pending) < left:
            best, left = board.done, len(board.pending)
            vm = min(board.pending, key=lambda vm: (int(question.need[vm]), vm))
            why = (
                f"no order was found for {len(moving)} migrations: {question.vm_name(vm)} finds no room on "
                f"{question.host_name(board.goal(vm))} at any moment, and nothing can be moved aside"
            )
        if looks >= LOOKS or monotonic() > end:
            break
    found, exhausted = _walk(question, place, end)
    if found is not None:
        return found, ""
    if monotonic() > end:
        return best, why.replace("no order was found", "no order was found in time")
    return best, why.replace("was found", "exists") if exhausted else why


def _walk(question: Question, place: NDArray[np.int64], end: float) -> tuple[list[Migration] | None, bool]:
    """Every arrangement that can be reached, the cheapest first, up to a limit, or to a point of time.

    Gives the order that copies the least, or none and whether all arrangements have been seen.
    """
    together = {vm for vms in question.same_host for vm in vms.tolist()}
    movable = [vm for vm in np.flatnonzero(question.away >= 0).tolist() if vm not in together]
    targets = {
        vm: np.flatnonzero(
            question.allowed[question.kind_of[vm]] & (question.host_pool == question.vm_pool[vm])
        ).tolist()
        for vm in movable
    }
    goal = np.where((place >= 0) & (question.away >= 0), place, question.origin)
    limit = min(ARRANGEMENTS, ARRANGEMENT_LOOKS // (1 + len(goal) * sum(map(len, targets.values()))))
    start = tuple(question.origin.tolist())
    came: dict[tuple[int, ...], tuple[tuple[int, ...], int] | None] = {start: None}
    heap = [(0, 0, start)]
    settled = set()
    cost = {start: 0}
    while heap:
        paid, _, on = heappop(heap)
        if on in settled:
            continue
        settled.add(on)
        if on == tuple(goal.tolist()):
            return _path(question, goal, came, on), True
        if len(settled) > limit or monotonic() > end:
            return None, False
        here = np.array(on)
        free, taken = question.free.copy(), question.taken.copy()
        np.subtract.at(free, here[here >= 0], question.used[here >= 0])
        member: dict[int, list[int]] = {}
        for group, vms in enumerate(question.groups):
            for vm in vms.tolist():
                member.setdefault(vm, []).append(group)
                if on[vm] >= 0:
                    taken[group, on[vm]] += 1
        for vm in movable:
            for host in targets[vm]:
                if host == on[vm] or free[host] < question.sizes[vm]:
                    continue
                if not _may_follow(question, vm, host, on[vm], int(goal[vm])):
                    continue
                if any(taken[group, host] > 0 for group in member.get(vm, ())):
                    continue
                after = (*on[:vm], host, *on[vm + 1 :])
                price = paid + int(question.copied[vm])
                if price < cost.get(after, price + 1):
                    cost[after] = price
                    came[after] = (on, vm)
                    heappush(heap, (price, len(came), after))
    return None, not together


def _path(
    question: Question,
    goal: NDArray[np.int64],
    came: dict[tuple[int, ...], tuple[tuple[int, ...], int] | None],
    on: tuple[int, ...],
) -> list[Migration]:
    moves: list[Migration] = []
    while (step := came[on]) is not None:
        before, vm = step
        source = int(question.hosts[before[vm]]) if before[vm] >= 0 else int(question.away[vm])
        moves.append(
            Migration(
                int(question.vms[vm]),
                source,
                int(question.hosts[on[vm]]),
                int(question.copied[vm]),
                on[vm] != int(goal[vm]),
            )
        )
        on = before
    return moves[::-1]


def _may_follow(question: Question, vm: int, host: int, source: int, goal: int) -> bool:
    """Whether the host is not older than where the VM is, nor newer than where it is to be; -1: it is to stay away."""
    if goal < 0:
        return False
    before = question.version[source] if source >= 0 else question.version_left[vm]
    there = question.version[host]
    leaves = before < 0 or question.may_follow[before, there]
    return bool(leaves and question.may_follow[there, question.version[goal]])


class _Board:
    """Where every VM is right now, and which moves are still to come.

    Hosts are those of the Question; a VM that comes from a host that takes no part is on -1.
    """

    def __init__(
        self,
        question: Question,
        place: NDArray[np.int64],
        moving: NDArray[np.int64],
        state: NDArray[np.uint64],
        *,
        by_size: bool,
    ) -> None:
        self.question = question
        self.place = place
        self.state = state
        self.by_size = by_size
        self.on = question.origin.astype(np.int64)
        self.free = question.free.copy()
        here = self.on >= 0
        np.subtract.at(self.free, self.on[here], question.used[here])
        self.pending = {int(vm) for vm in moving}
        self.done: list[Migration] = []
        self.detours = 0
        self.looks = 0
        self.members: list[set[int]] = [set() for _ in question.hosts]
        for vm in np.flatnonzero(here).tolist():
            self.members[self.on[vm]].add(vm)
        self.groups: dict[int, list[int]] = {}
        self.taken = question.taken.copy()
        for group, vms in enumerate(question.groups):
            for vm in vms.tolist():
                self.groups.setdefault(vm, []).append(group)
                if self.on[vm] >= 0:
                    self.taken[group, self.on[vm]] += 1
        self.arrivals: dict[int, set[int]] = {}
        for vm in self.pending:
            self.arrivals.setdefault(int(place[vm]), set()).add(vm)
        self.together = {vm for vms in question.same_host for vm in vms.tolist()}
        self.waits: set[tuple[int, int]] = set()

    def goal(self, vm: int) -> int:
        """Where the VM is to be in the end."""
        return int(self.place[vm] if self.place[vm] >= 0 else self.question.origin[vm])

    def fits(self, vm: int, host: int) -> bool:
        """Whether the VM can migrate there now."""
        need = max(int(self.question.need[vm]), int(self.question.used[vm]))
        if self.free[host] < need:
            return False
        if not _may_follow(self.question, vm, host, int(self.on[vm]), self.goal(vm)):
            return False
        return all(self.taken[group, host] <= 0 for group in self.groups.get(vm, ()))

    def move(self, vm: int, host: int, *, temporary: bool) -> int:
        """Migrate; gives the host that has been left."""
        source = int(self.on[vm])
        row = int(self.question.hosts[source]) if source >= 0 else int(self.question.away[vm])
        self.done.append(
            Migration(
                int(self.question.vms[vm]),
                row,
                int(self.question.hosts[host]),
                int(self.question.copied[vm]),
                temporary,
            )
        )
        self.free[host] -= self.question.used[vm]
        self.members[host].add(vm)
        if source >= 0:
            self.free[source] += self.question.used[vm]
            self.members[source].discard(vm)
        for group in self.groups.get(vm, ()):
            self.taken[group, host] += 1
            if source >= 0:
                self.taken[group, source] -= 1
        self.on[vm] = host
        target = self.goal(vm)
        if host == target:
            self.pending.discard(vm)
            self.arrivals.get(host, set()).discard(vm)
        else:
            self.pending.add(vm)
            self.arrivals.setdefault(target, set()).add(vm)
        return source

    def play(self, looks: int, end: float) -> bool:
        """Move until all are in place, nothing goes any more, so many VMs have been looked at, or the time is over."""
        self._settle(sorted(self.arrivals))
        while self.pending:
            if self.detours == DETOURS or self.looks > looks or monotonic() > end or not self._make_room():
                return False
        return True

    def _settle(self, hosts: list[int]) -> None:
        """Final moves as long as there are any: first those from hosts that others wait for."""
        waiting = list(hosts)
        while waiting:
            host = waiting.pop(0)
            ready = [vm for vm in self.arrivals.get(host, ()) if self.fits(vm, host)]
            while ready:
                vm = self._choose(ready)
                source = self.move(vm, host, temporary=False)
                if source >= 0 and source not in waiting and self.arrivals.get(source):
                    waiting.append(source)
                ready = [other for other in ready if other != vm and self.fits(other, host)]

    def _choose(self, ready: list[int]) -> int:
        if not self.by_size:
            needed = [vm for vm in sorted(ready) if self.arrivals.get(int(self.on[vm]))]
            among = needed or sorted(ready)
            return among[draw(self.state, len(among))]
        return max(
            ready,
            key=lambda vm: (bool(self.arrivals.get(int(self.on[vm]))), int(self.question.used[vm]), -vm),
        )

    def _make_room(self) -> bool:
        """One temporary move that lets a pending VM go where it belongs; the cheapest, if several do."""
        options: list[tuple[int, int, int, int, int]] = []
        for vm in sorted(self.pending, key=lambda vm: (int(self.question.sizes[vm]), vm))[:PENDING]:
            target = self.goal(vm)
            short = int(self.question.sizes[vm]) - int(self.free[target])
            for other in self.members[target]:
                if other == vm or other in self.together or self.question.used[other] < short:
                    continue
                self.looks += 1
                final = self.goal(other)
                cost = int(self.question.copied[other]) * (1 if other in self.pending else 2)
                for host in self._open(other):
                    if host not in (target, final) and (other, host) not in self.waits:
                        options.append((cost, int(self.free[host]), other, host, target))
        if not options:
            return self._step_aside()
        options.sort()
        _, _, other, host, target = options[0 if self.by_size else draw(self.state, min(len(options), 4))]
        self._detour(other, host)
        self._settle([target])
        return True

    def _step_aside(self) -> bool:
        """No single move helps: some VM makes a part of the room, off a host that others wait for."""
        options = []
        for target in sorted({int(self.place[vm]) for vm in self.pending if self.place[vm] >= 0}):
            for other in sorted(self.members[target] - self.together):
                self.looks += 1
                for host in self._open(other):
                    if host != target and (other, host) not in self.waits:
                        options.append((other, host))
        if not options:
            return False
        other, host = options[draw(self.state, len(options))]
        self._detour(other, host)
        return True

    def _open(self, vm: int) -> list[int]:
        """Hosts that the VM can migrate to now, wherever it is to be in the end."""
        question = self.question
        hosts = (self.free >= max(question.need[vm], question.used[vm])) & question.allowed[question.kind_of[vm]]
        hosts &= question.host_pool == question.vm_pool[vm]
        hosts &= question.may_follow[question.version, question.version[self.goal(vm)]]
        if self.on[vm] >= 0:
            hosts &= question.may_follow[question.version[self.on[vm]], question.version]
        for group in self.groups.get(vm, ()):
            hosts &= self.taken[group] <= 0
        found: list[int] = np.flatnonzero(hosts).tolist()
        return found

    def _detour(self, vm: int, host: int) -> None:
        self.waits.add((vm, host))
        self.detours += 1
        source = self.move(vm, host, temporary=True)
        self._settle([source] if source >= 0 else [])
