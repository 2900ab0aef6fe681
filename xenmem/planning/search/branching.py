"""The exact search over one pool, slice by slice, so that a clock, Ctrl-C and other searches have their turn.

Costs are integers of any kind. The search itself is compiled: _branch.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count as endless
from typing import Any, Final

import numpy as np

from xenmem.columns import Bytes, Rows
from xenmem.planning.effort import Effort
from xenmem.planning.search.compiled.arrays import NEVER
from xenmem.planning.search.compiled.branch_and_bound import branch
from xenmem.planning.search.problem import Problem

BRANCH_NODES: Final = 20_000
"""Nodes of the exact search between two looks at the clock for a small pool, and the slices without a clock."""
BRANCH_WORK: Final = 1_000_000
"""The same in rows looked at, which limits the nodes for a large one: some 5 ms."""
BRANCH_SLICES: Final = 60
BRANCH_CELLS: Final = 200_000
"""VMs times hosts up to which the exact search is tried at all."""


class Branching:
    """The exact search over a Problem, run slice by slice.

    Parameters
    ----------
    problem : its items are few enough
    skip_cost, open_cost : as in _branch
    below : a cost that has to be beaten
    moves : whether it costs something to move an item
    """

    def __init__(self, problem: Problem, skip_cost: Bytes, open_cost: Bytes, below: int, moves: bool = False) -> None:
        items, hosts = len(problem.sizes), len(problem.hosts)
        cost_at = problem.cost_at() if moves else np.zeros((items, hosts), np.int64)
        least = cost_at.min(axis=1)
        cost_at -= least[:, np.newaxis]
        home = np.where(cost_at.any(axis=1), cost_at.argmin(axis=1), -1).astype(np.int32)
        elsewhere = cost_at.copy()
        elsewhere[np.arange(items), home] = NEVER
        leave_cost = np.where((home >= 0) & (hosts > 1), elsewhere.min(axis=1), 0)
        taken_up = [problem.allowed, open_cost, problem.taken, problem.gathering]
        kind = np.unique(np.vstack(taken_up), axis=1, return_inverse=True)[1]
        kind = kind.reshape(-1).astype(np.int32)
        homes = home[leave_cost > 0]
        kind[homes] = hosts + homes
        columns = np.column_stack([problem.sizes, problem.kind_of, home, skip_cost, leave_cost])
        same = np.zeros(items, np.bool_)
        same[1:] = (columns[1:] == columns[:-1]).all(axis=1)
        same &= np.diff(problem.group_start) == 0
        same[1:] &= ~(np.diff(problem.group_start) > 0)[:-1]
        self.unavoidable = int(least.sum())
        self.best: Rows = np.full(items, -1, np.int32)
        self.progress = np.array([0, below - self.unavoidable])
        self.below = below
        self._arguments = (
            problem.sizes,
            problem.where(problem.taken.copy()),
            problem.free.copy(),
            skip_cost,
            open_cost,
            home,
            leave_cost,
            cost_at,
            same,
            kind,
            np.argsort(skip_cost / problem.sizes, kind="stable"),
            np.argsort(-problem.free, kind="stable"),
            np.concatenate([np.cumsum(problem.sizes[::-1])[::-1], [0]]),
            np.empty((items, hosts + 1), np.int32),
            np.zeros(items, np.int32),
            np.full(items, -1, np.int32),
            np.zeros(hosts, np.int32),
            np.zeros(items + 1, np.int64),
            self.progress,
            self.best,
        )

    @classmethod
    def of_places(cls, problem: Problem) -> Branching:
        """The search for a place for every item, which costs nothing."""
        items, hosts = len(problem.sizes), len(problem.hosts)
        return cls(problem, np.full(items, NEVER), np.zeros(hosts, np.int64), 1)

    @classmethod
    def of_moves(cls, problem: Problem, below: int) -> Branching:
        """The search for a place for every item that costs less in moves."""
        items, hosts = len(problem.sizes), len(problem.hosts)
        return cls(problem, np.full(items, NEVER), np.zeros(hosts, np.int64), below, moves=True)

    @property
    def found(self) -> bool:
        """Whether something cheaper than `below` was found."""
        return bool(self.cost < self.below)

    @property
    def cost(self) -> int:
        """Of the best placement found, here or elsewhere."""
        return int(self.progress[1]) + self.unavoidable

    def beat(self, cost: int) -> None:
        """Something that costs so much was found elsewhere."""
        self.progress[1] = min(self.progress[1], cost - self.unavoidable)

    def run(self, nodes: int, enough: int = -1) -> bool:
        """Go on; true when the search is over."""
        arguments: tuple[Any, ...] = (*self._arguments, enough, nodes)
        return branch(*arguments)


def slices(effort: Effort, most: int, share: float = 1.0) -> Iterator[int]:
    """As long as the effort lasts: a fixed number of slices, or as many as the time limit has room for.

    Parameters
    ----------
    effort : the whole
    most : slices without a time limit
    share : of the slices, at least one; under a time limit as many, or more within this share of the time left
    """
    enough = max(int(most * share), 1)
    until = 0.0 if effort.time_limit is None else effort.seconds_left() * (1 - share)
    for turn in endless():
        if effort.over() or (turn >= enough and (effort.time_limit is None or effort.seconds_left() < until)):
            return
        yield turn


def nodes_in_a_slice(problem: Problem) -> int:
    """Fewer, the more there is to look at in each."""
    return min(BRANCH_NODES, BRANCH_WORK // (len(problem.sizes) + len(problem.hosts)))


def exact_is_possible(problem: Problem) -> bool:
    """Whether the exact search is worth a try."""
    return 0 < len(problem.sizes) * len(problem.hosts) <= BRANCH_CELLS
