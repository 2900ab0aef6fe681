"""A rolling pool update, planned as a whole before it starts: who waits where while which host restarts.

Amounts are bytes. Each host counts VMs by the model of the version it runs at the moment: [before, after] its restart.
A VM that migrates counts on both hosts until it has arrived; migrations come one after another. A VM does not go back
from an updated host to one that is not. Fleets are only read.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from xenmem import kernel
from xenmem.planning.feasibility import YES, pack
from xenmem.planning.xapi.failover import rows_of_pool
from xenmem.units import format_size

if TYPE_CHECKING:
    from xenmem.fleet import Fleet

Bytes = NDArray[np.int64]
Rows = NDArray[np.int32]
Bools = NDArray[np.bool_]

DEFAULT_TIME_LIMIT: Final = 30.0
MOST_BYTES: Final = 1 << 52

_NODES: Final = 20_000
_BRANCHES: Final = 400
_DEPTH: Final = 3
_STATES: Final = 400_000


@dataclass(frozen=True, eq=False)
class UpdateProblem:
    """Hosts to restart, and the VMs that run on them.

    Attributes
    ----------
    capacity : int64 array, shape (hosts, 2), bytes for VMs before and after the restart
    need : int64 array, shape (vms, 2), bytes that each VM takes on a host before and after the host's restart
    copied : int64 array, shape (vms,), bytes that one migration of it copies
    home : int32 array, shape (vms,), where each VM is to be in the end
    start : int32 array, shape (vms,), where each is now
    updated : bool array, shape (hosts,), hosts that need no restart any more
    first : the host that has to be restarted first; -1 for none
    allowed : bool array, shape (vms, hosts), where each VM can run; None: everywhere
    hosts, vms : int32 arrays, the row numbers under which answers name them
    host_names, vm_names : for sentences
    """

    capacity: Bytes
    need: Bytes
    copied: Bytes
    home: Rows
    start: Rows
    updated: Bools
    first: int
    allowed: Bools | None
    hosts: Rows
    vms: Rows
    host_names: tuple[str, ...]
    vm_names: tuple[str, ...]

    @classmethod
    def from_arrays(
        cls,
        capacity: npt.ArrayLike,
        need: npt.ArrayLike,
        home: npt.ArrayLike,
        *,
        copied: npt.ArrayLike | None = None,
        start: npt.ArrayLike | None = None,
        updated: npt.ArrayLike | None = None,
        first: int = -1,
        allowed: npt.ArrayLike | None = None,
    ) -> UpdateProblem:
        """A problem from bare arrays: see the attributes; hosts and VMs are named by their place.

        Parameters
        ----------
        capacity, need : with one column, the same before and after
        copied : None: what the VM needs before
        start : None: every VM is at home
        updated : None: all hosts are to be restarted

        Raises
        ------
        ValueError : there are no hosts, shapes differ, or a value is out of range; names argument, index and value
        """
        capacity_, need_ = (_two_columns(name, a) for name, a in (("capacity", capacity), ("need", need)))
        hosts, vms = len(capacity_), len(need_)
        if not hosts:
            raise ValueError("capacity: there are no hosts")
        home_ = _column("home", home, vms, 0, hosts - 1).astype(np.int32)
        start_ = home_ if start is None else _column("start", start, vms, 0, hosts - 1).astype(np.int32)
        copied_ = need_[:, 0] if copied is None else _column("copied", copied, vms, 0, MOST_BYTES)
        done = np.zeros(hosts, np.bool_) if updated is None else np.asarray(updated, np.bool_)
        if done.shape != (hosts,):
            raise ValueError(f"updated: shape {done.shape} where ({hosts},) is needed")
        if not -1 <= first < hosts:
            raise ValueError(f"first: {first} is outside -1..{hosts - 1}")
        where = None if allowed is None else np.asarray(allowed, np.bool_)
        if where is not None and where.shape != (vms, hosts):
            raise ValueError(f"allowed: shape {where.shape} where ({vms}, {hosts}) is needed")
        return cls(
            capacity_,
            need_,
            copied_.astype(np.int64),
            home_,
            start_,
            done,
            first,
            where,
            np.arange(hosts, dtype=np.int32),
            np.arange(vms, dtype=np.int32),
            tuple(f"host {row}" for row in range(hosts)),
            tuple(f"VM {row}" for row in range(vms)),
        )

    @classmethod
    def from_fleet(
        cls,
        fleet: Fleet,
        pool: int = 0,
        *,
        model: str = kernel.DEFAULT_MODEL,
        home: npt.ArrayLike | None = None,
        updated: npt.ArrayLike | None = None,
        allowed: npt.ArrayLike | None = None,
    ) -> UpdateProblem:
        """One pool of a Fleet: its enabled and live hosts, and the guests that run there.

        Parameters
        ----------
        pool : row of the pool; its coordinator is restarted first
        model : name of the kernel model that hosts compute with after their restart
        home : int32 array, shape (vms of the fleet,), rows of hosts, -1 for where the VM is; None: all are at home
        updated : bool array, shape (hosts of the fleet,); None: none is updated yet
        allowed : bool array, shape (vms of the fleet, hosts of the fleet); None: every VM can run on every host

        Raises
        ------
        ValueError : the fleet has no such pool, no host of it is enabled and live, the memory of one is unknown, or the
            model does not exist

        Notes
        -----
        A VM takes its memory_dynamic_min, to which it is ballooned before it migrates, and its overhead: the larger of
        stored and recomputed. A VM that is scheduled to start or to arrive somewhere is taken to be there already.
        Source: planning.md 1.1, 1.3, 4.2 and 6.6.
        """
        hosts, vms = rows_of_pool(fleet, pool)
        hosts = hosts[fleet.hosts.enabled[hosts] & fleet.hosts.live[hosts]]
        if not len(hosts):
            raise ValueError(f"pool: {pool} has no host that is enabled and live")
        unknown = hosts[fleet.hosts.memory_total[hosts] < 0]
        if len(unknown):
            raise ValueError(f"memory_total of host {fleet.hosts.name_label[unknown[0]]} is unknown")
        place = np.full(len(fleet.hosts) + 1, -1, np.int32)
        place[hosts] = np.arange(len(hosts), dtype=np.int32)
        scheduled = fleet.vms.scheduled_to_be_resident_on
        now = np.where(place[scheduled] >= 0, scheduled, fleet.vms.resident_on)
        here = place[now[vms]] >= 0
        guests = vms[here & fleet.vms.is_guest[vms]]
        others = vms[here & ~fleet.vms.is_guest[vms]]

        capacity = fleet.hosts.available[hosts]
        taken = fleet.vms.memory_dynamic_min[others] + fleet.vms.memory_overhead[others]
        np.subtract.at(capacity, place[now[others]], taken)
        stored = fleet.vms.memory_overhead

        def needed(name: str | None) -> Bytes:
            counted = fleet.vms.memory_dynamic_min + np.maximum(stored, fleet.overhead(name))
            return np.maximum(counted, fleet.start_memory("dynamic_min", name))[guests]

        need = np.column_stack([needed(None), needed(model)])
        target = now[guests]
        if home is not None:
            given = np.asarray(home)[guests]
            target = np.where(given >= 0, given, target)
        master = int(fleet.pools.master[pool])
        bare = cls.from_arrays(
            capacity,
            need,
            place[target],
            copied=fleet.vms.memory_dynamic_min[guests],
            start=place[now[guests]],
            updated=None if updated is None else np.asarray(updated, np.bool_)[hosts],
            first=int(place[master]) if master >= 0 else -1,
            allowed=None if allowed is None else np.asarray(allowed, np.bool_)[np.ix_(guests, hosts)],
        )
        return cls(
            **{
                **bare.__dict__,
                "hosts": hosts,
                "vms": guests,
                "host_names": tuple(map(str, fleet.hosts.name_label[hosts])),
                "vm_names": tuple(map(str, fleet.vms.name_label[guests])),
            }
        )


def _two_columns(name: str, values: npt.ArrayLike) -> Bytes:
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"{name}: {array.dtype} where integers are needed")
    if array.ndim == 1:
        array = np.column_stack([array, array])
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"{name}: shape {array.shape} where (rows,) or (rows, 2) is needed")
    bad = (array < (0 if name == "need" else -MOST_BYTES)) | (array > MOST_BYTES)
    if bad.any():
        row, column = (int(k) for k in np.argwhere(bad)[0])
        raise ValueError(f"{name}: {array[row, column]} at index {row} is out of range")
    return array.astype(np.int64)


def _column(name: str, values: npt.ArrayLike, rows: int, low: int, high: int) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.shape != (rows,):
        raise ValueError(f"{name}: shape {array.shape} where ({rows},) is needed")
    if rows and array.dtype.kind not in "iu":
        raise ValueError(f"{name}: {array.dtype} where integers are needed")
    bad = (array < low) | (array > high)
    if bad.any():
        index = int(np.argmax(bad))
        raise ValueError(f"{name}: {array[index]} at index {index} is outside {low}..{high}")
    return array.astype(np.int64)


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


class _Stuck(NamedTuple):
    """Why a walk ended: a host, the VMs that found no room, and how many bytes were missing."""

    host: int
    vms: tuple[int, ...]
    missing: int
    text: str


def rolling_update(
    problem: UpdateProblem | Fleet, order: Sequence[int] | None = None, *, time_limit: float = DEFAULT_TIME_LIMIT
) -> RollingUpdate:
    """Plan a whole rolling update: each host is emptied and restarted once, and every VM ends at home.

    Parameters
    ----------
    problem : the hosts and VMs, or a Fleet of one pool
    order : row numbers of the hosts to restart, in this order; None: the order that copies least among those tried
    time_limit : seconds

    Raises
    ------
    ValueError : the order names a host twice, or one that is not to be restarted, or leaves one out

    Notes
    -----
    First rules, with every VM brought home as early or as late as it helps and other VMs moved aside where nothing else
    makes room; then, where these fail, a complete search that ends with a plan, a proof or the limits of time and size.
    """
    if not isinstance(problem, UpdateProblem):
        if len(problem.pools) != 1:
            raise ValueError(f"the fleet has {len(problem.pools)} pools: use UpdateProblem.from_fleet")
        problem = UpdateProblem.from_fleet(problem)
    deadline = time.monotonic() + time_limit
    fixed = None if order is None else _places(problem, order)
    bound = _least_copied(problem)
    obstacle = _obstacle(problem, fixed)
    if obstacle is not None:
        return _no_plan(problem, "infeasible", bound, obstacle)

    best: _State | None = None
    stuck: _Stuck | None = None
    for candidate in [fixed] if fixed is not None else _orders(problem):
        walk = _Walk(problem, candidate, deadline)
        state = walk.run()
        if state is not None and (best is None or state.copied < best.copied):
            best = state
        stuck = stuck or walk.stuck
        if (best is not None and best.copied == bound) or time.monotonic() > deadline:
            break
    small = len(problem.vms) * math.log(len(problem.hosts)) <= math.log(_STATES)
    if best is None or (best.copied > bound and small):
        found, complete = _complete_search(problem, fixed, deadline)
        if found is not None:
            best, bound = found, found.copied
        elif best is None:
            stuck = stuck or _Stuck(int(problem.start[0]), (), 0, "no sequence of moves was found in time")
            return _no_plan(problem, "infeasible" if complete else "unknown", bound, stuck)
    return _plan(problem, best, bound)


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


def _least_copied(problem: UpdateProblem) -> int:
    """A VM at home leaves a host that restarts and comes back; one that is away comes home."""
    away = problem.start != problem.home
    restarts = ~problem.updated[problem.home]
    return int(problem.copied[away].sum() + 2 * problem.copied[~away & restarts].sum())


def _obstacle(problem: UpdateProblem, order: list[int] | None) -> _Stuck | None:
    """What makes every plan impossible, where it shows at once."""
    hosts, vms = len(problem.hosts), len(problem.vms)
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
            return _Stuck(host, there, missing, "its VMs do not fit there after the update")
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
            return _Stuck(host, there, missing, "all the other hosts together are too small while it restarts")
    for vm in range(vms):
        here = int(problem.home[vm])
        if problem.updated[here] or problem.start[vm] != here:
            continue
        may = np.ones(hosts, np.bool_) if problem.allowed is None else problem.allowed[vm].copy()
        may[here] = False
        others = most[may]
        missing = int(least[vm] - others.max()) if len(others) else int(least[vm])
        if missing > 0 or not len(others):
            return _Stuck(here, (vm,), missing, "no other host that it may run on can hold the VM, even empty")
    return None


def _no_plan(problem: UpdateProblem, status: str, bound: int, stuck: _Stuck) -> RollingUpdate:
    names = ", ".join(problem.vm_names[vm] for vm in stuck.vms[:5]) + (", ..." if len(stuck.vms) > 5 else "")
    where = f"{problem.host_names[stuck.host]}: {stuck.text}; {format_size(stuck.missing)} missing"
    sure = "there is no plan" if status == "infeasible" else "no plan was found, and none is excluded"
    return RollingUpdate(
        status=status,
        steps=(),
        order=(),
        copied=0,
        bound=bound,
        reason=f"{sure}: {where} ({names})" if names else f"{sure}: {where}",
        host=int(problem.hosts[stuck.host]),
        vms=tuple(problem.vms[list(stuck.vms)].tolist()),
        missing=stuck.missing,
    )


def _plan(problem: UpdateProblem, state: _State, bound: int) -> RollingUpdate:
    steps, order = [], []
    at = problem.start.copy()
    moves = state.moves()
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
    status = "optimal" if state.copied == bound else "feasible"
    aside = sum(step.temporary for step in steps)
    reason = f"{len(order)} hosts restart, {format_size(state.copied)} are copied"
    if aside:
        reason += f"; {aside} {'migration makes' if aside == 1 else 'migrations make'} room for others"
    return RollingUpdate(status, tuple(steps), tuple(order), state.copied, bound, reason)


class _State:
    """Where everybody is at a moment, and how that came about."""

    __slots__ = ("at", "copied", "free", "history", "on", "problem", "updated")

    def __init__(self, problem: UpdateProblem) -> None:
        hosts = len(problem.hosts)
        self.problem = problem
        self.at: list[int] = problem.start.tolist()
        self.updated: list[bool] = problem.updated.tolist()
        self.on: list[set[int]] = [set() for _ in range(hosts)]
        self.free: list[int] = [int(problem.capacity[host, int(problem.updated[host])]) for host in range(hosts)]
        self.copied = 0
        self.history: tuple[object, tuple[int, int]] | None = None
        for vm, host in enumerate(self.at):
            self.on[host].add(vm)
            self.free[host] -= self.need(vm, host)

    def copy(self) -> _State:
        """The same moment, to go on from differently."""
        other = object.__new__(_State)
        other.problem = self.problem
        other.at, other.updated, other.free = list(self.at), list(self.updated), list(self.free)
        other.on = [set(vms) for vms in self.on]
        other.copied, other.history = self.copied, self.history
        return other

    def need(self, vm: int, host: int) -> int:
        """Bytes that the VM takes on the host as that is now."""
        return int(self.problem.need[vm, int(self.updated[host])])

    def may_go(self, vm: int, host: int) -> bool:
        """Apart from memory."""
        allowed = self.problem.allowed
        source = self.at[vm]
        if host == source or (self.updated[source] and not self.updated[host]):
            return False
        return allowed is None or bool(allowed[vm, host])

    def fits(self, vm: int, host: int) -> bool:
        """The VM can migrate there now."""
        return self.need(vm, host) <= self.free[host] and self.may_go(vm, host)

    def migrate(self, vm: int, host: int) -> None:
        source = self.at[vm]
        self.free[source] += self.need(vm, source)
        self.free[host] -= self.need(vm, host)
        self.on[source].remove(vm)
        self.on[host].add(vm)
        self.at[vm] = host
        self.copied += int(self.problem.copied[vm])
        self.history = (self.history, (vm, host))

    def restart(self, host: int) -> None:
        self.updated[host] = True
        self.free[host] = int(self.problem.capacity[host, 1])
        self.history = (self.history, (-1, host))

    def moves(self) -> list[tuple[int, int]]:
        """(VM, host) for migrations and (-1, host) for restarts, in their order."""
        answer: list[tuple[int, int]] = []
        node: object = self.history
        while isinstance(node, tuple):
            node, move = node
            answer.append(move)
        return answer[::-1]

    def displaced(self) -> list[int]:
        """VMs that are not at home, those that copy most first."""
        home, copied = self.problem.home, self.problem.copied
        return sorted((vm for vm, host in enumerate(self.at) if host != home[vm]), key=lambda vm: (-copied[vm], vm))


class _Walk:
    """One order of restarts, carried out by rules, with a few returns where these lead nowhere."""

    def __init__(self, problem: UpdateProblem, order: list[int], deadline: float) -> None:
        self._problem = problem
        self._order = order
        self._deadline = deadline
        self._branches = 0
        self._deepest = -1
        self.stuck: _Stuck | None = None

    def run(self) -> _State | None:
        return self._from(_State(self._problem), 0)

    def _from(self, state: _State, step: int) -> _State | None:
        """Carry out the steps from this one on."""
        self._branches += 1
        if self._branches > _BRANCHES or time.monotonic() > self._deadline:
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

    def _before(self, state: _State, is_end: bool) -> Iterator[_State]:
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

    def _settle(self, state: _State) -> None:
        """Bring home whoever has room at home, if that host restarts no more."""
        home = self._problem.home
        again = True
        while again:
            again = False
            for vm in state.displaced():
                if state.updated[home[vm]] and state.fits(vm, int(home[vm])):
                    state.migrate(vm, int(home[vm]))
                    again = True

    def _untangle(self, state: _State) -> None:
        """Bring home everybody whose host restarts no more, moving others aside."""
        home = self._problem.home
        limit = 4 * len(state.at) + 16
        while limit:
            limit -= 1
            self._settle(state)
            waiting = [vm for vm in state.displaced() if state.updated[home[vm]]]
            best: _State | None = None
            for vm in waiting:
                target = int(home[vm])
                if not state.may_go(vm, target):
                    continue
                trial = state.copy()
                missing = state.need(vm, target) - state.free[target]
                if self._make_room(trial, target, missing, {vm}, set(), _DEPTH) and trial.fits(vm, target):
                    trial.migrate(vm, target)
                    self._settle(trial)
                    if len(trial.displaced()) < len(state.displaced()) and (best is None or trial.copied < best.copied):
                        best = trial
            if best is None:
                return
            _become(state, best)

    def _emptied(self, state: _State, host: int, step: int) -> Iterator[_State]:
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
            for rule in ("fullest", "emptiest"):
                made = self._with_room_made(state, host, vms, step, rule)
                if made is not None:
                    yield made

    def _packings(self, state: _State, host: int, vms: list[int]) -> Iterator[list[int]]:
        """Hosts for the VMs of a host, if nobody else moves."""
        for rule in ("homeward", "fullest", "emptiest"):
            free = list(state.free)
            free[host] = -1
            hosts_of = []
            for vm in vms:
                left = {
                    y: free[y] - state.need(vm, y)
                    for y in range(len(free))
                    if state.need(vm, y) <= free[y] and state.may_go(vm, y)
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
        sizes = np.array([int(self._problem.need[vm].max()) for vm in vms], np.int64)
        rules = np.array([[y == host or state.may_go(vm, y) for y in range(len(state.free))] for vm in vms], np.bool_)
        rule_of = np.where(rules.all(axis=1), -1, np.arange(len(vms))).astype(np.int32)
        holes = np.array(state.free, np.int64)
        holes[host] = -1
        found = np.empty(len(vms), np.int32)
        if pack(sizes, rule_of, rules, holes, found, _NODES) == YES:
            yield found.tolist()

    def _choose(self, state: _State, vm: int, left: dict[int, int], rule: str) -> int:
        """One of the hosts with room; homeward: home, if that restarts no more, else an updated host if any."""
        if rule == "homeward":
            home = int(self._problem.home[vm])
            if home in left and state.updated[home]:
                return home
            return min(left, key=lambda y: (not state.updated[y], left[y]))
        return min(left, key=lambda y: left[y] if rule == "fullest" else -left[y])

    def _with_room_made(self, state: _State, host: int, vms: list[int], step: int, rule: str) -> _State | None:
        """Empty the host, largest VM first, moving VMs of other hosts aside for those that find no room."""
        after = state.copy()
        missing: list[int] = []
        for vm in vms:
            left = {y: after.free[y] - after.need(vm, y) for y in range(len(after.free)) if after.fits(vm, y)}
            if left:
                after.migrate(vm, self._choose(after, vm, left, rule))
                continue
            best: _State | None = None
            for target in range(len(after.free)):
                if not after.may_go(vm, target):
                    continue
                trial = after.copy()
                lacking = after.need(vm, target) - after.free[target]
                if self._make_room(trial, target, lacking, {vm}, {host}, _DEPTH) and trial.fits(vm, target):
                    trial.migrate(vm, target)
                    if best is None or trial.copied < best.copied:
                        best = trial
            if best is None:
                missing.append(vm)
            else:
                after = best
        if missing:
            if step > self._deepest:
                room = max((after.free[y] for y in range(len(after.free)) if y != host), default=0)
                largest = max(int(after.problem.need[vm, 0]) for vm in missing)
                self._deepest = step
                self.stuck = _Stuck(host, tuple(missing), max(1, largest - room), "it cannot be emptied")
            return None
        return after

    def _make_room(self, state: _State, host: int, missing: int, fixed: set[int], closed: set[int], depth: int) -> bool:
        """Move VMs away from a host, the fewest bytes first, until so much more is free; the state is changed."""
        if missing <= 0:
            return True
        if depth == 0 or time.monotonic() > self._deadline:
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
                    _become(state, trial)
                    return True
        trial = state.copy()
        for vm in sorted(there, key=lambda vm: -trial.need(vm, host)):
            if trial.free[host] - state.free[host] >= missing:
                break
            self._move_aside(trial, vm, blocked)
        if trial.free[host] - state.free[host] >= missing:
            _become(state, trial)
            return True
        for vm in there:
            if state.need(vm, host) < missing:
                continue
            for target in range(len(state.free)):
                if target in blocked or not state.may_go(vm, target):
                    continue
                trial = state.copy()
                lacking = trial.need(vm, target) - trial.free[target]
                if self._make_room(trial, target, lacking, {*fixed, vm}, blocked, depth - 1) and trial.fits(vm, target):
                    trial.migrate(vm, target)
                    _become(state, trial)
                    return True
        return False

    def _move_aside(self, state: _State, vm: int, blocked: set[int]) -> bool:
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


def _become(state: _State, other: _State) -> None:
    """Make one moment the other, which is not used any more."""
    for name in _State.__slots__:
        setattr(state, name, getattr(other, name))


def _complete_search(problem: UpdateProblem, order: list[int] | None, deadline: float) -> tuple[_State | None, bool]:
    """A* over every sequence of migrations and restarts: a plan that copies least, and whether the search was complete.

    What must still be copied, at least: a VM that is away comes home; one at home on a host that is to restart leaves
    it and comes back.
    """
    hosts = range(len(problem.hosts))
    start = _State(problem)

    def still_to_copy(state: _State) -> int:
        total = 0
        for vm, host in enumerate(state.at):
            home = int(problem.home[vm])
            total += int(problem.copied[vm]) * (1 if host != home else 0 if state.updated[home] else 2)
        return total

    def key(state: _State) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        return tuple(state.at), tuple(state.updated)

    def following(state: _State) -> Iterator[_State]:
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
    queue: list[tuple[int, int, _State]] = [(still_to_copy(start), count, start)]
    while queue:
        _, _, state = heapq.heappop(queue)
        if state.copied > best[key(state)]:
            continue
        if all(state.updated) and not state.displaced():
            return state, True
        if len(best) > _STATES or time.monotonic() > deadline:
            return None, False
        for after in following(state):
            name = key(after)
            if name not in best or after.copied < best[name]:
                best[name] = after.copied
                count += 1
                heapq.heappush(queue, (after.copied + still_to_copy(after), -count, after))
    return None, True
