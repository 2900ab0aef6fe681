"""The fewest VMs that move aside so that others find room where they have to go; among equals the least to copy.

Amounts are bytes. For an evacuation: everybody stays where he is, except those without a host and whom they displace.
The search itself is compiled: compiled/displace.
"""

from __future__ import annotations

import sys
from itertools import count as endless
from typing import Final, NamedTuple

import numpy as np

from xenmem.columns import Bytes, Rows
from xenmem.planning.effort import Effort
from xenmem.planning.search.compiled.arrays import MOVE, NEVER, Where
from xenmem.planning.search.compiled.displace import displace, displaced_at_least, is_valid
from xenmem.planning.search.problem import Problem

DIVES: Final = 8
"""Tries without a clock, each by other chances; the first takes none."""
DIVES_FOR_LESS: Final = 4
"""Tries for fewer bytes once nobody can displace fewer VMs."""
DIVE_STEPS: Final = 1_000_000
LONG_DIVE_STEPS: Final = 10_000_000
"""Steps of one try, some ms; and of the later ones as long as no way was found, unless few tries are asked for."""
EXACT_STEPS: Final = 2_000_000
"""Steps of the complete search, some 30 ms; it is tried where few VMs move aside."""
EXACT_DISPLACED: Final = 4
EDGES: Final = 8
GRAINS: Final = 16
"""Prices that bounds are computed with: so many of the largest holes as edges, and the grains tried for each."""
UNITS: Final = 40
PARTS: Final = 128
"""Units of another bound: so many of the smallest sizes, and the largest divided by up to so much."""
A_LITTLE: Final = 1e-7
A_LOT: Final = 1e-3
"""What a MiB to copy weighs against a VM that moves aside, where that is not the point and where it is."""
MOST_ON_A_HOST: Final = (1 << 15) - 2
"""Items that one host may hold for the search."""


class Displacement(NamedTuple):
    """Who goes where.

    Attributes
    ----------
    host_of : int32 array, shape (items,), the host of each item; None: no way was found
    bound : so many VMs move aside at least; NEVER: there is no way
    """

    host_of: Rows | None
    bound: int


class Crowd(NamedTuple):
    """VMs that stay where they are if they can, and VMs that wait for a host; items in descending order of size.

    Attributes
    ----------
    stay : int32 array, shape (items,), the host of each item that need not move, -1 for those that wait
    sizes, weight : int64 arrays, shape (items,): bytes; number of VMs
    cost : int64 array, shape (items,), what it costs to move one that need not, MOVE per VM and the MiB copied
    capacity : int64 array, shape (hosts,), bytes without any of the items
    free : what is left on the hosts, with those in place that stay
    where : where items may go, with those in place that stay
    """

    stay: Rows
    sizes: Bytes
    weight: Bytes
    cost: Bytes
    capacity: Bytes
    free: Bytes
    where: Where


def crowd_of(problem: Problem, stay: Rows) -> Crowd:
    """The items of a pool.

    Parameters
    ----------
    problem : the pool
    stay : as in Crowd
    """
    free, taken = problem.occupied(stay)
    return Crowd(
        stay,
        problem.sizes,
        problem.weight,
        np.where(stay >= 0, problem.move_cost, 0),
        problem.free,
        free,
        problem.where(taken),
    )


def displaced_bound(crowd: Crowd) -> int:
    """VMs that move aside at least, NEVER if there is no way at all.

    Parameters
    ----------
    crowd : of any size
    """
    return NEVER if _without_room(crowd) else _Prices(crowd).bound


class _Prices:
    """Pairs that prove how many have to move aside, see _displace, and the number."""

    def __init__(self, crowd: Crowd) -> None:
        holes = np.unique(crowd.free[crowd.free > 0])[::-1]
        spread = holes[:: max(1, len(holes) // EDGES)]
        pairs = []
        for edge in np.unique(np.concatenate([holes[:EDGES], spread]))[::-1].tolist():
            below = int(np.searchsorted(-crowd.sizes, -edge))
            least = int(crowd.sizes[below]) if below < len(crowd.sizes) else edge
            grains = np.linspace(least, edge, GRAINS).astype(np.int64).tolist()
            pairs.append((edge, next((grain for grain in grains if is_valid(crowd.sizes, edge, grain)), edge)))
        self.edges, self.grains = np.array(pairs or [(1, 1)], np.int64).T.copy()
        waiting = np.flatnonzero(crowd.stay < 0).astype(np.int32)
        self.bound = int(
            displaced_at_least(
                crowd.sizes, waiting, len(waiting), crowd.free, self.edges, self.grains, np.zeros(1, np.int32)
            )
        )


def _without_room(crowd: Crowd) -> bool:
    """Whether counting in units, each VM and each host rounded down, shows that not all VMs fit."""
    sizes, counts = np.unique(crowd.sizes, return_counts=True)
    room = crowd.capacity[crowd.capacity > 0]
    units = np.unique(np.concatenate([sizes[:UNITS], sizes[-1:] // np.arange(1, PARTS + 1)]))
    units = units[units > 0][:, np.newaxis]
    return bool(((sizes // units) @ counts > (room // units).sum(axis=1)).any())


def fewest_displaced(crowd: Crowd, effort: Effort, dives: int | None = None) -> Displacement:
    """A host for each item that waits, and for those that it displaces.

    Parameters
    ----------
    crowd : of any size; where a host holds more than MOST_ON_A_HOST items, only the bound is found
    effort : how long to search
    dives : tries at most; by default DIVES, or as many as the effort's time limit has room for
    """
    prices = _Prices(crowd)
    bound = prices.bound
    if bound >= NEVER or np.bincount(crowd.stay[crowd.stay >= 0]).max(initial=0) > MOST_ON_A_HOST:
        return Displacement(None, bound)
    best = np.full(len(crowd.stay), -1, np.int32)
    progress = np.array([NEVER])
    scale = float(max(crowd.free.max(initial=1), 1))
    waiting = int((crowd.stay < 0).sum())
    most = dives or (DIVES if effort.time_limit is None else sys.maxsize)

    def search(every: bool, chance: float, per_mib: float, steps: int) -> bool:
        return displace(
            crowd.sizes,
            crowd.weight,
            crowd.cost,
            crowd.where,
            crowd.free,
            crowd.stay,
            prices.edges,
            prices.grains,
            every,
            np.array([scale, chance, per_mib]),
            effort.state,
            best,
            progress,
            steps,
        )

    def displaced() -> int:
        return int(progress[0] // MOVE)

    try:
        for turn in endless(1):
            lost = dives is None and turn > DIVES // 2 and progress[0] == NEVER
            search(False, float(turn % 5), A_LITTLE, LONG_DIVE_STEPS if lost else DIVE_STEPS)
            if progress[0] < NEVER:
                effort.tell(waiting + displaced(), waiting + bound)
            elif turn == 1 and _without_room(crowd):
                return Displacement(None, NEVER)
            if displaced() <= bound or effort.over() or turn >= most or (progress[0] == NEVER and turn >= DIVES):
                break
            if turn > 1 and displaced() <= EXACT_DISPLACED:
                break
        if 0 < progress[0] < NEVER and not effort.over():
            for turn in range(DIVES_FOR_LESS):
                search(False, float(turn), A_LOT, DIVE_STEPS)
            # where a host may hold several of a group, ways in which only some of them leave are not looked at
            is_exact = not (crowd.where.taken < 0).any()
            if displaced() <= EXACT_DISPLACED and search(True, 0.0, A_LITTLE, EXACT_STEPS) and is_exact:
                bound = displaced()
    except KeyboardInterrupt:
        effort.stop()
    return Displacement(best if progress[0] < NEVER else None, bound)
