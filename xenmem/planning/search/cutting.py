"""Few hosts where memory is all that decides: what patterns prove, and packings that they lead to.

Worth it where many VMs have the same size, or few fit on a host. Amounts are bytes. The search itself is compiled:
compiled/cutting.
"""

from __future__ import annotations

from typing import Final, Self

import numpy as np

from xenmem.columns import Rows
from xenmem.planning.effort import Effort
from xenmem.planning.search.compiled.cutting import dive, first_fillings, fractional, holes_at_least
from xenmem.planning.search.problem import Problem

SIZES: Final = 400
HOLES: Final = 8
HOSTS: Final = 2_000
"""Different sizes, different amounts of room, and hosts, up to which patterns are tried."""
PATTERNS: Final = 4_000
WORK: Final = 1_000_000_000
"""What one program or one dive may look at, some seconds; under a clock no more than a share of what is left."""
WORK_IN_A_SECOND: Final = 300_000_000
SHARE: Final = 0.25
CHANCES: Final = 5
"""The first dive takes what the program uses most, the next ones stray ever farther, then again."""


class Cutting:
    """Packings of one pool by patterns.

    Parameters
    ----------
    problem : one that `of` found worth it
    effort : how long the program may take

    Attributes
    ----------
    bound : so many hosts are in use at least, one more than there are if not all items fit
    """

    def __init__(self, problem: Problem, effort: Effort) -> None:
        self._problem = problem
        self._size, self._most = np.unique(problem.sizes, return_counts=True)
        room = np.maximum(problem.free, 0)
        holes, self._hole_of, self._alike = np.unique(
            np.column_stack([~problem.in_use, room]), axis=0, return_inverse=True, return_counts=True
        )
        self._room = np.ascontiguousarray(holes[:, 1])
        self._cost = holes[:, 0].astype(np.float64)
        self._unit = int(np.gcd.reduce(self._size))
        rows = PATTERNS + len(self._size) + len(room)
        self._pattern = np.zeros((rows, len(self._size)), np.int64)
        self._its_hole = np.zeros(rows, np.int64)
        self._tries = 0
        program = (self._size, self._most, self._room, self._alike, self._cost)
        patterns = (self._pattern[: PATTERNS + len(room)], self._its_hole[: PATTERNS + len(room)])
        known = first_fillings(*program, *patterns, 0)
        dual, used = np.zeros(len(self._size) + len(holes)), np.zeros(rows)
        work = self._work(effort)
        _, self._known = fractional(*program, self._unit, self._pattern, self._its_hole, known, work, dual, used)
        self.bound = int(problem.in_use.sum()) + int(holes_at_least(*program, self._unit, dual))

    @classmethod
    def of(cls, problem: Problem, effort: Effort) -> Self | None:
        """The packings of a pool, None if they are not worth a try."""
        hosts = len(problem.hosts)
        if not problem.plain or not len(problem.sizes) or not 0 < hosts <= HOSTS:
            return None
        if len(np.unique(problem.sizes)) > SIZES or problem.free.max() < problem.sizes[0]:
            return None
        if len(np.unique(np.column_stack([problem.in_use, np.maximum(problem.free, 0)]), axis=0)) > HOLES:
            return None
        return cls(problem, effort)

    @staticmethod
    def _work(effort: Effort) -> int:
        return int(min(WORK, SHARE * effort.seconds_left() * WORK_IN_A_SECOND))

    def dive(self, effort: Effort) -> Rows:
        """Another packing, as good as any so far or worse: the host of each item, -1 where the hosts are full.

        Parameters
        ----------
        effort : how long it may take, and its random numbers
        """
        hosts = len(self._hole_of)
        chosen = np.zeros((hosts, len(self._size)), np.int64)
        chosen_hole = np.zeros(hosts, np.int64)
        chance = self._tries % CHANCES / CHANCES
        self._tries += 1
        count, self._known = dive(
            self._size,
            self._most,
            self._room,
            self._alike,
            self._cost,
            self._unit,
            self._pattern,
            self._its_hole,
            min(self._known, PATTERNS),
            self._work(effort),
            chance,
            effort.state,
            chosen,
            chosen_hole,
        )
        host_of = np.full(len(self._problem.sizes), -1, np.int32)
        items = np.argsort(self._problem.sizes, kind="stable")
        begins = np.concatenate([[0], np.cumsum(self._most)])
        taken = np.zeros(len(self._most), np.int64)
        idle = [np.flatnonzero(self._hole_of == hole).tolist() for hole in range(len(self._alike))]
        for filling, hole in zip(chosen[:count], chosen_hole[:count].tolist(), strict=True):
            host = idle[hole].pop()
            for size in np.flatnonzero(filling).tolist():
                begin = begins[size] + taken[size]
                host_of[items[begin : begin + filling[size]]] = host
                taken[size] += filling[size]
        return host_of
