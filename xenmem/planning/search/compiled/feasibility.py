"""Can these sizes go into these holes: an exact answer by search, compiled, for every planner that asks it.

Amounts are int64 in one unit (bytes), sizes >= 0 and in descending order. A hole below 0 takes nothing. An item may be
restricted to some holes by a rule: a row of `rules`; rule -1 means every hole. Nothing is checked here. A search is cut
off by a number of nodes, never by a clock, so the same input gives the same answer.
"""

import numpy as np

from xenmem.columns import Bools, Bytes, Rows
from xenmem.planning.search.engine import jit

NO: int = 0
YES: int = 1
UNDECIDED: int = 2

_TABLE = 1 << 12
_NODES_BEFORE_TABLE = 64


@jit
def best_fit(sizes: Bytes, rule: Rows, rules: Bools, left: Bytes, hole_of: Rows) -> int:
    """Each item into the smallest hole that takes it, -1 for those left out; `left` shrinks; how many are left out."""
    out = 0
    for item in range(len(sizes)):
        size, row = sizes[item], rule[item]
        best = -1
        for hole in range(len(left)):
            if left[hole] >= size and (best < 0 or left[hole] < left[best]) and (row < 0 or rules[row, hole]):
                best = hole
        hole_of[item] = best
        if best < 0:
            out += 1
        else:
            left[best] -= size
    return out


@jit
def worst_fit(sizes: Bytes, rule: Rows, rules: Bools, left: Bytes, hole_of: Rows) -> int:
    """Each item into the largest hole; otherwise as best_fit."""
    out = 0
    for item in range(len(sizes)):
        size, row = sizes[item], rule[item]
        best = -1
        for hole in range(len(left)):
            if left[hole] >= size and (best < 0 or left[hole] > left[best]) and (row < 0 or rules[row, hole]):
                best = hole
        hole_of[item] = best
        if best < 0:
            out += 1
        else:
            left[best] -= size
    return out


@jit
def fill_smallest(sizes: Bytes, rule: Rows, rules: Bools, left: Bytes, hole_of: Rows) -> int:
    """Hole after hole, the smallest first, each filled with the largest items that still fit; otherwise as best_fit."""
    hole_of[:] = -1
    out = len(sizes)
    for hole in np.argsort(left, kind="mergesort"):
        for item in range(len(sizes)):
            if hole_of[item] < 0 and sizes[item] <= left[hole] and (rule[item] < 0 or rules[rule[item], hole]):
                hole_of[item] = hole
                left[hole] -= sizes[item]
                out -= 1
    return out


@jit
def cannot_fit(sizes: Bytes, rule: Rows, rules: Bools, left: Bytes) -> bool:
    """A proof, cheap and not always found, that no packing exists: items of at least some size need too much.

    Of the holes that can take an item of size s, the sum is limited, and so is the number of items at least as large
    that they can hold: in each as many as the smallest of these fit. A restricted item without any hole is found, too.
    """
    count = len(sizes)
    total = np.zeros(count + 1, np.int64)
    for item in range(count):
        size = sizes[item]
        total[item + 1] = total[item] + size
        if rule[item] >= 0:
            alone = True
            for hole in range(len(left)):
                if left[hole] >= size and rules[rule[item], hole]:
                    alone = False
                    break
            if alone:
                return True
        if item < count - 1 and sizes[item + 1] == size:
            continue
        room, places = 0, 0
        for hole in range(len(left)):
            if left[hole] < size:
                continue
            room += left[hole]
            low, high = 1, item + 2
            while high - low > 1:
                middle = (low + high) // 2
                if total[item + 1] - total[item + 1 - middle] <= left[hole]:
                    low = middle
                else:
                    high = middle
            places += low
        if room < total[item + 1] or places < item + 1:
            return True
    return False


@jit
def _state(left: Bytes, smallest: int, interchangeable: bool, state: Bytes) -> int:
    """What the rest of a search depends on, into `state`, and its hash: holes too small for anything are all alike."""
    for hole in range(len(left)):
        state[hole] = left[hole] if left[hole] >= smallest else -1
    if interchangeable:
        state.sort()
    mixed = np.uint64(1469598103934665603)
    for hole in range(len(left)):
        mixed = (mixed ^ np.uint64(state[hole])) * np.uint64(1099511628211)
        mixed ^= mixed >> np.uint64(29)
    return int(mixed & np.uint64(0x7FFFFFFFFFFFFFFF))


@jit
def search(sizes: Bytes, rule: Rows, rules: Bools, free: Bytes, hole_of: Rows, nodes: int) -> int:
    """Depth-first search, largest item first, fullest hole first; YES with hole_of, NO, or UNDECIDED after `nodes`.

    Cut are: a rest that is larger than the holes still of use; a hole that looks like one already tried; every other
    hole, where the item fills one exactly or no two items fit together into that one; a state that failed before.
    Failed states are compared in full, not by their hash alone.
    """
    count, holes = len(sizes), len(free)
    restricted = False
    for item in range(count):
        restricted |= rule[item] >= 0
    left = free.copy()
    rest = np.zeros(count + 1, np.int64)
    for item in range(count - 1, -1, -1):
        rest[item] = rest[item + 1] + sizes[item]
    smallest = sizes[count - 1] if count else 0
    smallest_pair = smallest + (sizes[count - 2] if count > 1 else 0)
    forced = np.zeros(count + 1, np.bool_)
    tried = np.full(count + 1, -1)
    hole_of[:] = -1

    failed = np.empty((0, 0), np.int64)
    failed_depth = np.empty(0, np.int32)
    state = np.empty(holes, np.int64)
    depth, visited = 0, 0
    while depth >= 0:
        if depth == count:
            return YES
        size, row = sizes[depth], rule[depth]
        if tried[depth] < 0:
            visited += 1
            if visited > nodes:
                return UNDECIDED
            room = 0
            for hole in range(holes):
                if left[hole] >= smallest:
                    room += left[hole]
            hopeless = room < rest[depth]
            if not hopeless and visited > _NODES_BEFORE_TABLE:
                if len(failed_depth) == 0:
                    failed = np.empty((_TABLE, holes), np.int64)
                    failed_depth = np.full(_TABLE, -1, np.int32)
                place = _state(left, smallest, not restricted, state) % _TABLE
                if failed_depth[place] == depth:
                    hopeless = True
                    for hole in range(holes):
                        if failed[place, hole] != state[hole]:
                            hopeless = False
                            break
            forced[depth] = hopeless
        previous = tried[depth]
        before = -1
        if previous >= 0:
            left[previous] += size
            before = left[previous]
        best = -1
        if not forced[depth]:
            for hole in range(holes):
                room = left[hole]
                if room < size or room < before or (row >= 0 and not rules[row, hole]):
                    continue
                if room == before and (not restricted or hole <= previous):
                    continue
                if best < 0 or room < left[best]:
                    best = hole
        if best < 0:
            if len(failed_depth) and previous >= 0:
                place = _state(left, smallest, not restricted, state) % _TABLE
                failed_depth[place] = depth
                failed[place] = state
            tried[depth] = -1
            hole_of[depth] = -1
            depth -= 1
            continue
        if not restricted and (left[best] == size or left[best] < smallest_pair):
            forced[depth] = True
        tried[depth] = best
        hole_of[depth] = best
        left[best] -= size
        depth += 1
        tried[depth] = -1
    return NO


@jit
def pack(sizes: Bytes, rule: Rows, rules: Bools, free: Bytes, hole_of: Rows, nodes: int) -> int:
    """Whether all items fit: fast rules first, then bounds, then the search; YES with hole_of, NO or UNDECIDED.

    Parameters
    ----------
    sizes : int64 array, shape (items,), descending, >= 0
    rule : int32 array, shape (items,), row of rules, -1 for every hole
    rules : bool array, shape (rules, holes)
    free : int64 array, shape (holes,)
    hole_of : int32 array, shape (items,), filled
    nodes : limit of the search; 0 for none of it
    """
    if best_fit(sizes, rule, rules, free.copy(), hole_of) == 0:
        return YES
    if cannot_fit(sizes, rule, rules, free):
        return NO
    if worst_fit(sizes, rule, rules, free.copy(), hole_of) == 0:
        return YES
    if fill_smallest(sizes, rule, rules, free.copy(), hole_of) == 0:
        return YES
    if nodes == 0:
        return UNDECIDED
    return search(sizes, rule, rules, free, hole_of, nodes)
