"""The game behind failover one by one: hosts fail in the worst order, and after each failure somebody restarts VMs.

Hosts and VMs are places in arrays, amounts bytes. A position is who runs where and which hosts are alive; it is won if
for every host that may fail next its VMs can be restarted so that the position reached is won with one failure less.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import perm
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xenmem.columns import Bools, Bytes, Rows
from xenmem.planning.effort import Effort, TimeOverError
from xenmem.planning.failures.restart_pool import Prepared, RestartPool
from xenmem.planning.failures.results import Failover, RestartPolicy, Verdict
from xenmem.planning.failures.together import bounds_of
from xenmem.planning.search.compiled import failure_sets
from xenmem.planning.search.compiled.biggest_fit import survives_every_order
from xenmem.planning.search.compiled.feasibility import NO, UNDECIDED, YES, best_fit, pack, worst_fit
from xenmem.planning.xapi.binpack import biggest_fit_decreasing

Key = tuple[object, ...]

_NODES: Final = 2_000
_MOST_PACKINGS_BY_RULE: Final = 20_000


def in_order(pool: RestartPool, n: int, effort: Effort) -> Failover:
    """Whether some restart policy survives n >= 1 failures one by one; that they are survived together is known."""
    prepared = pool.prepared
    hosts = len(pool.free)
    verdict = Verdict(pool, n, perm(hosts, n), one_by_one=True)
    if not len(pool.size):
        nobody = np.empty(0, np.int64)
        return verdict.survives("no VM is protected", policy=RestartPolicy(pool, lambda _: nobody))
    game = Game(prepared, n, effort, any_fit_wins=bounds_of(prepared, n, whole_load=True).prove_all)
    outcome = game.play()
    if outcome.wins:
        why = "restarting by a rule survives every order" if outcome.rule else "a restart policy survives every order"
        return verdict.survives(why, game.looked, RestartPolicy(pool, game.plan))
    if outcome.loses:
        if outcome.inevitable:
            why = "whatever is restarted where, some next failures find no room"
        else:
            why = "the VMs that run nowhere cannot be started so that every order is survived"
        return verdict.loses_in_order(why, game.looked, outcome.order, outcome.inevitable, outcome.down)
    text = f"{effort.why} with {game.decided} of {hosts} first failures decided"
    return verdict.unknown(text, game.looked, hosts - game.decided)


class Position(NamedTuple):
    """Who runs where.

    Attributes
    ----------
    host_of : int32 array, by VM, largest first; -1 for one that does not run
    alive : bool array, by host
    free : int64 array, by host
    """

    host_of: Rows
    alive: Bools
    free: Bytes


class Outcome(NamedTuple):
    """The end of the search.

    Attributes
    ----------
    wins, loses : neither if the time was over
    rule : it is enough to restart the largest VM first, each on the host with the most free memory
    order, inevitable : hosts whose failures, in this order, are not survived; so many of them for every policy
    down : VMs that stay down then
    """

    wins: bool
    loses: bool
    rule: bool = False
    order: tuple[int, ...] = ()
    inevitable: int = 0
    down: tuple[int, ...] = ()


class Game:
    """The search for a restart policy against `num_failures` failures.

    Parameters
    ----------
    prepared : the pool
    num_failures : at least 1
    effort : when the search has to end
    any_fit_wins : it is known that every policy wins that restarts a VM wherever there is room

    Attributes
    ----------
    decided : first failures that are known to be survived, or not
    looked : positions that were searched
    """

    def __init__(self, prepared: Prepared, num_failures: int, effort: Effort, *, any_fit_wins: bool) -> None:
        self._n = num_failures
        self._effort = effort
        self._any_fit_wins = any_fit_wins
        self._by_size = np.argsort(-prepared.size, kind="stable")
        self._size = prepared.size[self._by_size]
        self._rule = prepared.rule[self._by_size]
        self._rules = prepared.rules
        self._interchangeable = not len(prepared.rules)
        hosts = len(prepared.free)
        group = np.repeat(np.arange(hosts + 1, dtype=np.int32), np.diff(prepared.first))
        group[group == hosts] = -1
        self._start = Position(group[self._by_size], np.ones(hosts, np.bool_), prepared.free.copy())
        self._by_rule = False
        self._won: dict[Key, bool] = {}
        self._hopeless: set[Key] = set()
        self._root: Position | None = None
        self.decided = 0
        self.looked = 0

    def play(self) -> Outcome:
        """Decide it, or say that the time was over."""
        try:
            return self._play()
        except TimeOverError:
            return Outcome(wins=False, loses=False)
        except KeyboardInterrupt:
            self._effort.stop()
            return Outcome(wins=False, loses=False)

    def _play(self) -> Outcome:
        waiting = np.flatnonzero(self._start.host_of < 0)
        for start in self._fast_restarts(self._start, waiting):
            if self._any_fit_wins or self._rule_survives(start):
                self._by_rule, self._root = True, start
                return Outcome(wins=True, loses=False, rule=True)
        if not len(waiting):
            self._root = self._start
            for host in range(len(self._start.free)):
                if not self._survives_failure(self._start, host, self._n):
                    return Outcome(False, True, False, *self._line(self._start, self._n, host), self._down)
                self.decided += 1
                self._effort.tell(self.decided, len(self._start.free))
            return Outcome(wins=True, loses=False)
        self._root = self._restarted(self._start, waiting, self._n)
        if self._root is not None:
            return Outcome(wins=True, loses=False)
        start = self._some_restart(self._start, waiting)
        order, _ = self._line(start, self._n, self._losing_failure(start, self._n))
        return Outcome(False, True, False, order, 0, self._down)

    def plan(self, failed: tuple[int, ...]) -> NDArray[np.int64]:
        """The host of every VM of the prepared pool once these hosts have failed, in this order; only after a win."""
        assert self._root is not None
        self._effort = Effort()
        position = self._root
        for done, host in enumerate(failed):
            after, moving = self._without(position, host)
            if self._by_rule:
                position = self._biggest_fit(after, moving)
            else:
                restarted = self._restarted(after, moving, self._n - done - 1)
                assert restarted is not None
                position = restarted
        answer = np.empty(len(self._size), np.int64)
        answer[self._by_size] = position.host_of
        return answer

    def _rule_survives(self, start: Position) -> bool:
        """Largest first, to the host with the most free memory, is a policy that wins: what the pool itself does."""
        hosts = len(start.free)
        packings = 1
        for k in range(self._n):
            packings *= hosts - k
        if not self._interchangeable or packings > _MOST_PACKINGS_BY_RULE:
            return False
        each = np.arange(len(self._size))
        return bool(survives_every_order(self._size, start.host_of, each, start.free, self._n))

    def _biggest_fit(self, position: Position, moving: NDArray[np.intp]) -> Position:
        """The restart by the rule that _rule_survives tries, ties included."""
        alive = np.flatnonzero(position.alive)
        vms, hosts = biggest_fit_decreasing(self._size[moving], position.free[alive])
        return self._with(position, moving[vms], alive[hosts].astype(np.int32))

    # ------------------------------------------------------------------------------------------------------ positions

    def _without(self, position: Position, host: int) -> tuple[Position, NDArray[np.intp]]:
        """The position after a host has failed, and the VMs that it leaves to restart."""
        moving = np.flatnonzero(position.host_of == host)
        host_of, alive, free = position.host_of.copy(), position.alive.copy(), position.free.copy()
        host_of[moving] = -1
        alive[host] = False
        free[host] = -1
        return Position(host_of, alive, free), moving

    def _with(self, position: Position, vms: NDArray[np.intp], hosts: Rows) -> Position:
        host_of, free = position.host_of.copy(), position.free.copy()
        host_of[vms] = hosts
        np.subtract.at(free, hosts, self._size[vms])
        return Position(host_of, position.alive, free)

    def _fast_restarts(self, position: Position, moving: NDArray[np.intp]) -> Iterator[Position]:
        """Full restarts by the simple rules, most free memory first."""
        sizes, rule = self._size[moving], self._rule[moving]
        for fit in (worst_fit, best_fit):
            hosts = np.empty(len(moving), np.int32)
            if fit(sizes, rule, self._rules, position.free.copy(), hosts) == 0:
                yield self._with(position, moving, hosts)

    def _some_restart(self, position: Position, moving: NDArray[np.intp]) -> Position:
        """A full restart; there is one."""
        for found in self._fast_restarts(position, moving):
            return found
        hosts = np.empty(len(moving), np.int32)
        nodes = _NODES
        while pack(self._size[moving], self._rule[moving], self._rules, position.free, hosts, nodes) != YES:
            nodes *= 8
            self._check_time()
        return self._with(position, moving, hosts)

    def _key(self, position: Position, failures: int, remaining: tuple[int, ...] = ()) -> Key:
        """What a position is worth: hosts that look alike are the same, where no rule tells them apart."""
        if not self._interchangeable:
            return (position.host_of.tobytes(), position.alive.tobytes(), failures, remaining)
        hosts = sorted(self._look(position, int(host)) for host in np.flatnonzero(position.alive))
        return (tuple(hosts), failures, remaining)

    def _look(self, position: Position, host: int) -> tuple[int, bytes]:
        return (int(position.free[host]), self._size[position.host_of == host].tobytes())

    def _check_time(self) -> None:
        if self._effort.over():
            raise TimeOverError

    # --------------------------------------------------------------------------------------------------------- search

    def _is_safe(self, position: Position, failures: int) -> bool:
        """A necessary condition: with one failure it is the whole answer, with more it is asked for one only.

        Placing more VMs makes it no truer, so that it also cuts positions in which some do not run yet.
        """
        if failures == 0:
            return True
        nodes = _NODES
        while True:
            host, answer = failure_sets.first_unsafe(self._size, self._rule, self._rules, *position, nodes)
            if host < 0 or answer == NO:
                return bool(host < 0)
            assert answer == UNDECIDED
            self._check_time()
            nodes *= 8

    def _wins(self, position: Position, failures: int) -> bool:
        if failures == 0:
            return True
        self._check_time()
        self.looked += 1
        if failures == 1:
            return self._is_safe(position, 1)
        key = self._key(position, failures)
        known = self._won.get(key)
        if known is None:
            known = self._is_safe(position, 1) and all(
                self._survives_failure(position, int(host), failures) for host in np.flatnonzero(position.alive)
            )
            self._won[key] = known
        return known

    def _survives_failure(self, position: Position, host: int, failures: int) -> bool:
        after, moving = self._without(position, host)
        return self._restarted(after, moving, failures - 1) is not None

    def _restarted(self, position: Position, moving: NDArray[np.intp], failures: int) -> Position | None:
        """A full restart of these VMs after which so many failures are survived."""
        for found in self._fast_restarts(position, moving):
            if self._wins(found, failures):
                return found
        if failures == 0:
            try_hosts = np.empty(len(moving), np.int32)
            nodes = _NODES
            while True:
                answer = pack(self._size[moving], self._rule[moving], self._rules, position.free, try_hosts, nodes)
                if answer != UNDECIDED:
                    return self._with(position, moving, try_hosts) if answer == YES else None
                self._check_time()
                nodes *= 8
        return self._place(position, moving, 0, failures)

    def _place(self, position: Position, moving: NDArray[np.intp], at: int, failures: int) -> Position | None:
        if at == len(moving):
            return position if self._wins(position, failures) else None
        self._check_time()
        remaining = self._size[moving[at:]] if self._interchangeable else moving[at:]
        key = self._key(position, failures, tuple(remaining.tolist()))
        if key in self._hopeless:
            return None
        vm = moving[at : at + 1]
        size, rule = int(self._size[vm[0]]), int(self._rule[vm[0]])
        seen: set[tuple[int, bytes]] = set()
        for host in np.argsort(-position.free, kind="stable"):
            if not position.alive[host] or position.free[host] < size or (rule >= 0 and not self._rules[rule, host]):
                continue
            if self._interchangeable:
                look = self._look(position, int(host))
                if look in seen:
                    continue
                seen.add(look)
            placed = self._with(position, vm, np.array([host], np.int32))
            if self._is_safe(placed, failures):
                found = self._place(placed, moving, at + 1, failures)
                if found is not None:
                    return found
        self._hopeless.add(key)
        return None

    # ---------------------------------------------------------------------------------------------------- losing lines

    def _losing_failure(self, position: Position, failures: int) -> int:
        """A host whose failure loses a lost position."""
        return next(
            int(host)
            for host in np.flatnonzero(position.alive)
            if not self._survives_failure(position, int(host), failures)
        )

    def _line(self, position: Position, failures: int, host: int) -> tuple[tuple[int, ...], int]:
        """Failures that are not survived, beginning with this one, against restarts by the simple rules; and 1.

        The VMs that stay down at the end are left in self._down.
        """
        after, moving = self._without(position, host)
        sizes, rule = self._size[moving], self._rule[moving]
        hosts = np.empty(len(moving), np.int32)
        self._down: tuple[int, ...] = ()
        if failures == 1:
            best_fit(sizes, rule, self._rules, after.free.copy(), hosts)
            started = hosts >= 0
            for k in np.flatnonzero(~started)[::-1]:
                started[k] = True
                found = np.empty(int(started.sum()), np.int32)
                started[k] = pack(sizes[started], rule[started], self._rules, after.free, found, _NODES) == YES
            self._down = tuple(self._by_size[moving[~started]].tolist())
            return (host,), 1
        next_position = self._some_restart(after, moving)
        order, _ = self._line(next_position, failures - 1, self._losing_failure(next_position, failures - 1))
        return (host, *order), 1
