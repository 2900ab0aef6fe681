"""The full restart after one set of host failures: found, or proved not to exist, in turns of growing effort.

Hosts and VMs are places of the prepared pool, amounts bytes. Nothing here knows of other sets.
"""

from __future__ import annotations

from time import monotonic
from typing import Final

import numpy as np

from xenmem.columns import Bytes, Rows
from xenmem.planning.effort import Effort
from xenmem.planning.failures.restart_pool import Prepared
from xenmem.planning.search.compiled import failure_sets, patterns
from xenmem.planning.search.compiled.arrays import Where
from xenmem.planning.search.compiled.feasibility import NO, UNDECIDED, YES, best_fit, pack
from xenmem.planning.search.compiled.repack import repack

FIRST_NODES: Final = 2_000
REPACK_STEPS: Final = 20_000
REPACK_GROWTH: Final = 3
MOST_REPACK_STEPS: Final = 5_000_000
"""In one turn, some 0.3 s. The complete search has no such limit, but ends where the next turn would be too long."""
MOST_SIZES: Final = 240
MOST_HOLES: Final = 120
"""More different ones share a row of the proof: the least of such sizes stands for all, and the largest of holes."""
PIVOT_WORK: Final = 150_000_000
"""Exchanges of columns times the size of the basis, some 0.2 s."""
PATTERNS: Final = 3_000


class Restart:
    """The search for one full restart.

    Parameters
    ----------
    prepared : the pool
    failing : places of the hosts that fail

    Attributes
    ----------
    failing : places of the hosts that fail
    answer : YES, NO or, so far, UNDECIDED
    vms : int32 array, places of the VMs to restart, largest first
    host_of : int32 array, shape (vms,), where they are started; only after YES
    """

    def __init__(self, prepared: Prepared, failing: Rows) -> None:
        vms = np.empty(len(prepared.size), np.int32)
        self.vms = vms[: failure_sets.failed_vms(prepared.size, prepared.first, failing, vms)]
        takes = prepared.free >= 0
        takes[failing] = False
        self._hosts = np.flatnonzero(takes).astype(np.int32)
        self._size, self._free = prepared.size[self.vms], prepared.free[takes]
        self._rule, self._rules = prepared.rule[self.vms], np.ascontiguousarray(prepared.rules[:, takes])
        self._steps, self._state = REPACK_STEPS, np.array([1], np.uint64)
        self._nodes, self._seconds = FIRST_NODES, 0.0
        self._place = np.empty(len(self.vms), np.int32)
        self.failing = failing
        self.answer = UNDECIDED

    @property
    def host_of(self) -> Rows:
        """See the attributes."""
        return self._hosts[self._place]

    def turn(self, effort: Effort) -> int:
        """Search on, with more effort than in the last turn if there is time for it; the answer so far."""
        if self.answer != UNDECIDED:
            return self.answer
        if self._repacked():
            self.answer = YES
        elif self._steps == REPACK_STEPS and self._is_disproved():
            self.answer = NO
        elif effort.affords(2 * self._seconds):
            began = monotonic()
            self.answer = pack(self._size, self._rule, self._rules, self._free, self._place, self._nodes)
            self._seconds = monotonic() - began
            self._nodes *= 2
        self._steps = min(REPACK_GROWTH * self._steps, MOST_REPACK_STEPS)
        return self.answer

    def decide(self, effort: Effort) -> int:
        """Search until there is an answer, or the time is over."""
        while self.turn(effort) == UNDECIDED and not effort.over():
            pass
        return self.answer

    def _repacked(self) -> bool:
        """Local search: it often finds a restart where a tight packing is lost among very many others."""
        free, everywhere = self._free.copy(), np.ones((1, len(self._free)), np.bool_)
        allowed = np.ascontiguousarray(np.concatenate([self._rules, everywhere]))
        kind = np.where(self._rule >= 0, self._rule, len(self._rules)).astype(np.int32)
        best_fit(self._size, kind, allowed, free, self._place)
        no_group = np.zeros(len(self.vms) + 1, np.int32)
        nobody = np.zeros((0, len(free)), np.int32)
        where = Where(kind, allowed, no_group, no_group[:0], nobody)
        left_out = repack(self._size, where, free, self._place, self._state, self._steps)
        # a VM of no size leaves out no bytes
        return left_out == 0 and bool((self._place >= 0).all())

    def _is_disproved(self) -> bool:
        """What all VMs need is more than every host can give, in some measure; see _patterns."""
        if not len(self._free) or int(self._size[-1]) == 0:
            return False
        allowed = np.concatenate([self._rules, np.ones((1, len(self._free)), np.bool_)])
        items, most = np.unique(
            np.column_stack([self._rule, _merged(self._size, MOST_SIZES)]), axis=0, return_counts=True
        )
        columns = np.vstack([_merged(self._free, MOST_HOLES, up=True), self._rules])
        holes, first, alike = np.unique(columns, axis=1, return_index=True, return_counts=True)
        may = np.ascontiguousarray(allowed[items[:, 0]][:, first])
        size, room = np.ascontiguousarray(items[:, 1]), np.ascontiguousarray(holes[0])
        pivots = PIVOT_WORK // (len(size) + len(room)) ** 2
        return bool(patterns.proves_none(size, most, may, room, alike, pivots, PATTERNS))


def _merged(amounts: Bytes, most: int, *, up: bool = False) -> Bytes:
    """The same amounts, so rounded that there are at most so many different ones."""
    different = np.unique(amounts)
    if len(different) <= most:
        return amounts
    parts = np.array_split(different, most)
    edges = np.array([part[-1 if up else 0] for part in parts])
    if up:
        return edges[np.searchsorted(edges, amounts)]
    return edges[np.searchsorted(edges, amounts, side="right") - 1]
