"""The search behind failover of hosts that fail together: as few sets of them as possible, each decided exactly.

A quick pass over all sets leaves the hard ones; these are then searched in turns, each with twice the effort of the
last, so that one which loses is found even if others resist. Hosts are places of the prepared pool, amounts bytes.
"""

from __future__ import annotations

from math import comb
from typing import Final, NamedTuple

import numpy as np

from xenmem.columns import Bytes, Rows
from xenmem.planning.effort import Effort
from xenmem.planning.failures.restart_pool import Prepared, RestartPool
from xenmem.planning.failures.restart_search import Restart
from xenmem.planning.failures.results import Failover, Verdict
from xenmem.planning.search.compiled import failure_sets
from xenmem.planning.search.compiled.failure_sets import LOSES, STOPPED, SURVIVES
from xenmem.planning.search.compiled.feasibility import NO, UNDECIDED

WALK_NODES: Final = 200
SLICE: Final = 6_000
HARD_SETS: Final = 200
HEAVIEST_SETS: Final = 24
MOST_WORK_BY_RULES: Final = 400_000
BOUNDS: Final = 256
BOUND_CELLS: Final = 4_000_000


class Bounds(NamedTuple):
    """What proves whole families of sets of failing hosts: see failure_sets.weights."""

    weight: Bytes
    heaviest: Bytes
    room: Bytes

    @property
    def prove_all(self) -> bool:
        """Every set is proved to be survived, wherever VMs find room."""
        return bool((self.heaviest[:, 0, -1] < self.room).all())


def bounds_of(prepared: Prepared, n: int, *, whole_load: bool = False) -> Bounds:
    """The bounds for n failures; sizes that are close to each other share one if there are very many."""
    hosts = len(prepared.free)
    down = slice(prepared.first[hosts], prepared.first[hosts + 1])
    sizes = np.unique(prepared.size)
    groups = max(1, min(len(sizes), BOUNDS, BOUND_CELLS // ((hosts + 1) * (n + 1))))
    parts = np.array_split(sizes, groups)
    low, high = np.array([part[0] for part in parts]), np.array([part[-1] for part in parts])
    weight = np.empty((groups, hosts), np.int64)
    failure_sets.weights(prepared.size, prepared.rule, prepared.first, prepared.free, low, high, whole_load, weight)
    heaviest = np.empty((groups, hosts + 1, n + 1), np.int64)
    failure_sets.heaviest_after(weight, n, heaviest)
    spare = np.maximum(0, prepared.free[np.newaxis, :] - high[:, np.newaxis] + 1).sum(axis=1)
    waiting = prepared.size[down]
    load = np.array([waiting.sum() if whole_load else waiting[waiting >= limit].sum() for limit in low])
    room = low + spare - load
    if (prepared.rule[down] >= 0).any():
        room[:] = -1
    return Bounds(weight, heaviest, room)


class _Walk:
    """The quick pass over all sets of n hosts, slice by slice.

    Attributes
    ----------
    status : SURVIVES when it is done, LOSES at `losing`, else STOPPED
    undecided : searches of the sets that a short look did not decide, since the last slice
    looked : sets so far
    """

    def __init__(self, prepared: Prepared, n: int, bounds: Bounds, nodes: int, hard_sets: int) -> None:
        arrays = (prepared.size, prepared.rule, prepared.rules, prepared.first, prepared.free)
        hosts = len(prepared.free)
        earlier = np.zeros((hosts, (hosts + 31) // 32), np.int64)  # of pairs, a bit each: there may be 33,000 hosts
        failure_sets.dominators(*arrays, earlier)
        self._prepared, self._n, self._nodes = prepared, n, nodes
        self._arrays = (*arrays, earlier, *bounds)
        self._chosen = np.zeros(n, np.int32)
        self._hard = np.empty((hard_sets, n), np.int32)
        self._counts = np.zeros(4, np.int64)
        self.status = STOPPED

    @property
    def looked(self) -> int:
        """See the attributes."""
        return int(self._counts[0])

    def go_on(self, work: int) -> list[Rows]:
        """Another slice; the sets of hosts that it left undecided."""
        self._counts[2] = 0
        self.status = failure_sets.walk(*self._arrays, self._chosen, self._nodes, work, self._hard, self._counts)
        return [failing.copy() for failing in self._hard[: self._counts[2]]]

    @property
    def losing(self) -> Rows:
        """The set that it ended at."""
        return self._chosen.copy()

    @property
    def behind(self) -> int:
        """How many sets it has left behind: all that come before those with the prefix that is done, and those."""
        hosts, behind, start = len(self._prepared.free), 0, 0
        for level, host in enumerate(self._chosen[: self._counts[3]].tolist()):
            last = level + 1 == self._counts[3]
            rest = self._n - level - 1
            behind += sum(comb(hosts - 1 - other, rest) for other in range(start, host + last))
            start = host + 1
        return behind


def together(pool: RestartPool, n: int, effort: Effort) -> Failover:
    """Whether the pool survives any n hosts failing together."""
    prepared = pool.prepared
    total = comb(len(pool.free), n)
    verdict = Verdict(pool, n, total)
    if not len(pool.size):
        return verdict.survives("no VM is protected")
    if int(prepared.size.sum()) == 0 and not len(prepared.rules) and n < len(pool.free) and (pool.free >= 0).all():
        return verdict.survives("no VM needs memory")
    walk = _Walk(prepared, n, bounds_of(prepared, n), WALK_NODES, HARD_SETS)
    undecided: list[Restart] = []
    try:
        likely = heaviest_sets(prepared, n)
        losing = losing_at_once(prepared, likely)
        if losing is None and total > len(likely):
            losing = _loser_of([Restart(prepared, failing) for failing in likely], effort)
        while losing is None and walk.status == STOPPED and not effort.over():
            hard = walk.go_on(SLICE)
            if walk.status == LOSES:
                losing = walk.losing
                break
            new = [Restart(prepared, failing) for failing in hard]
            undecided += new
            losing = _loser_of(new, effort)
            undecided = [restart for restart in undecided if restart.answer == UNDECIDED]
            effort.tell(total if walk.status == SURVIVES else walk.behind, total)
        while losing is None and undecided and not effort.over():
            losing = _loser_of(undecided, effort)
            undecided = [restart for restart in undecided if restart.answer == UNDECIDED]
            effort.tell(total - len(undecided), total)
    except KeyboardInterrupt:
        effort.stop()
        undecided = [restart for restart in undecided if restart.answer == UNDECIDED]
        losing = None
    if losing is not None:
        return verdict.loses(losing, max(1, walk.looked))
    if undecided or walk.status == STOPPED:
        behind = total if walk.status == SURVIVES else walk.behind
        return verdict.unknown(
            f"{effort.why} with {behind} of {total} sets behind it; {len(undecided)} of them resisted, and none loses "
            "a VM for certain",
            walk.looked,
            len(undecided),
        )
    return verdict.survives("every set of them leaves room for a full restart", walk.looked)


def _loser_of(searches: list[Restart], effort: Effort) -> Rows | None:
    """One turn for each: the first set that loses."""
    for restart in searches:
        if effort.over():
            break
        if restart.turn(effort) == NO:
            return restart.failing
    return None


def heaviest_sets(prepared: Prepared, n: int) -> list[Rows]:
    """Sets that are likely to lose, the likeliest first: for some size of VM, their hosts are the heaviest."""
    bounds = bounds_of(prepared, n)
    spare = bounds.room - bounds.heaviest[:, 0, n]
    sets: dict[bytes, Rows] = {}
    for k in np.argsort(spare, kind="stable")[:HEAVIEST_SETS]:
        if spare[k] <= 0:
            failing = np.sort(np.argsort(-bounds.weight[k], kind="stable")[:n]).astype(np.int32)
            sets.setdefault(failing.tobytes(), failing)
    return list(sets.values())


def losing_at_once(prepared: Prepared, sets: list[Rows]) -> Rows | None:
    """The first of these sets that loses, if that is seen without a search."""
    vms, host_of = np.empty((2, len(prepared.size)), np.int32)
    arrays = (prepared.size, prepared.rule, prepared.rules, prepared.first, prepared.free)
    for failing in sets:
        if failure_sets.restart(*arrays, failing, 0, vms, host_of)[0] == NO:
            return failing
    return None


def surely_survives(pool: RestartPool, n: int) -> bool:
    """True only if the pool survives n hosts failing together; found by the rules of packing and bounds, quickly."""
    prepared = pool.prepared
    if not len(pool.size):
        return True
    hosts = len(prepared.free)
    if n <= 1:
        no_bound = np.full((1, hosts), failure_sets.ALWAYS_LOSING, np.int64)
        bounds = Bounds(no_bound, np.full((1, hosts + 1, n + 1), failure_sets.ALWAYS_LOSING), np.zeros(1, np.int64))
    else:
        bounds = bounds_of(prepared, n)
    walk = _Walk(prepared, n, bounds, 0, 1)
    return not walk.go_on(MOST_WORK_BY_RULES) and walk.status == SURVIVES
