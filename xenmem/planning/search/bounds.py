"""What no packing can beat: lower bounds on hosts, upper bounds on VMs placed and on the memory left free.

Sizes and amounts are any unit, the same everywhere. Relaxations only: none of them searches or knows a Fleet.
"""

from fractions import Fraction
from math import ceil

import numpy as np
from numpy.typing import NDArray

from xenmem.columns import Bools, Bytes

_DIFFERENT_SIZES = 600
_FACTORS = np.arange(1, 21)
_EDGES = 100
_DIGITS = 10**12
_UNIT_CLASSES = 16
_UNIT_PARTS = 64
_UNIT_CELLS = 1_000_000


def hosts_needed(sizes: Bytes, free: Bytes, in_use: Bools) -> int:
    """A lower bound on the hosts in use once all VMs are placed.

    Parameters
    ----------
    sizes : shape (vms,), > 0
    free : shape (hosts,), what is left on each host; negative counts as 0
    in_use : shape (hosts,), hosts that count as used whatever the plan

    Returns
    -------
    int, the hosts in use included; len(free) + 1 if not even all of them are enough

    Notes
    -----
    The largest of three: the roomiest hosts whose memory adds up to the VMs'; the same counted in whole units, where
    what is left over on a host below one unit is lost; and, for equal hosts, dual feasible functions (Fekete and
    Schepers 2001, u(k) after U(e)), which see that VMs over half a host do not share one.
    """
    room = np.maximum(free, 0)
    already = int(in_use.sum())
    short = int(sizes.sum()) - int(room[in_use].sum())
    idle = np.sort(room[~in_use])[::-1]
    more = 0 if short <= 0 else int(np.searchsorted(np.cumsum(idle), short)) + 1
    if len(sizes) and more <= len(idle):
        values, counts = np.unique(sizes, return_counts=True)
        more = max(more, _in_units(values, counts, room[in_use], idle))
        if len(room) and room.min() == room.max() and int(room[0]) > 0:
            more = max(more, _equal_hosts(values, counts, int(room[0])) - already)
    return min(already + more, len(free) + 1)


def _in_units(values: Bytes, counts: Bytes, used: Bytes, idle: Bytes) -> int:
    """How many of the idle hosts, roomiest first, are needed when VMs and hosts count in units, rounded down.

    The units are parts of the VMs' sizes: memory is sold in steps, and a host has room for whole ones only.
    """
    most = max(1, _UNIT_CELLS // (len(values) + len(used) + len(idle)))
    classes = values[np.unique(np.linspace(0, len(values) - 1, min(len(values), _UNIT_CLASSES)).astype(int))]
    parts = np.minimum(-(-classes // values[0]), _UNIT_PARTS)
    size = np.repeat(classes, parts)[-most:, np.newaxis]
    part = np.concatenate([np.arange(1, number + 1) for number in parts])[-most:, np.newaxis]
    wanted = (values * part // size) @ counts - (used * part // size).sum(axis=1)
    reached = np.cumsum(idle * part // size, axis=1)
    return int(((reached < wanted[:, np.newaxis]).sum(axis=1) + (wanted > 0)).max())


def _equal_hosts(values: Bytes, counts: Bytes, capacity: int) -> int:
    best = -(-_weighed(values, counts) // capacity)
    if len(values) > _DIFFERENT_SIZES:
        return best
    multiples = np.multiply.outer(_FACTORS + 1, values)
    whole, rest = multiples // capacity, multiples % capacity
    small = values[2 * values <= capacity]
    for edge in [0, *small[:: 1 + len(small) // _EDGES].tolist()]:
        # U(e): VMs that leave less than `edge` beside them count as a whole host, VMs below it as nothing
        begin, end = np.searchsorted(values, [edge, capacity - edge + 1])
        alone = int(counts[end:].sum())
        best = max(best, alone - (-_weighed(values[begin:end], counts[begin:end]) // capacity))
        # u(k): what is not a multiple of a (k + 1)-th of a host counts as so many k-ths, rounded down
        equal = (rest[:, begin:end] == 0) * counts[begin:end]
        parts = (whole[:, begin:end] @ counts[begin:end]) - (whole[:, begin:end] * equal).sum(axis=1)
        best = max(best, alone + int((-(-parts // _FACTORS)).max()))
        for row in np.flatnonzero(equal.any(axis=1)).tolist():
            factor = row + 1
            weight = int(parts[row]) * capacity + _weighed(values[begin:end], equal[row]) * factor
            best = max(best, alone - (-weight // (factor * capacity)))
    return best


def _weighed(values: Bytes, counts: Bytes) -> int:
    """The sum of values · counts, which may leave int64."""
    return (int((values >> 20) @ counts) << 20) + int((values & ((1 << 20) - 1)) @ counts)


def vms_placed(sizes: Bytes, free: Bytes) -> int:
    """An upper bound on how many of the VMs fit: the smallest ones, by the total room and by size class.

    Parameters
    ----------
    sizes : shape (vms,), > 0
    free : shape (hosts,), what is left on each host; negative counts as 0
    """
    room = np.maximum(free, 0)
    small_first = np.sort(sizes)
    fitting = int(np.searchsorted(np.cumsum(small_first), int(room.sum()), side="right"))
    classes = np.unique(small_first)
    if len(classes) > _DIFFERENT_SIZES:
        classes = classes[:: len(classes) // _DIFFERENT_SIZES]
    for size in classes:
        below = int(np.searchsorted(small_first, size))
        fitting = min(fitting, below + int((room // size).sum()))
    return fitting


def least_free(sizes: Bytes, free: Bytes) -> int:
    """An upper bound on the memory that the fullest host can be left with.

    Parameters
    ----------
    sizes : shape (vms,), > 0
    free : shape (hosts,), what is left on each host, at least one

    Notes
    -----
    All hosts level, as water would be; and what is left on a host differs from `free` by a multiple of the greatest
    common divisor of the sizes.
    """
    water = (int(free.sum()) - int(sizes.sum())) // len(free)
    level = min(int(free.min()), water)
    if not len(sizes):
        return level
    divisor = int(np.gcd.reduce(sizes))
    return level - int(((level - free) % divisor).min())


def next_level(level: int, sizes: Bytes, free: Bytes) -> int:
    """The least above `level` that some host can be left with, as far as the divisor of the sizes tells.

    Parameters
    ----------
    level : bytes
    sizes : shape (vms,), > 0, at least one
    free : shape (hosts,), what is left on each host, at least one
    """
    divisor = int(np.gcd.reduce(sizes))
    return level + 1 + int(((free - level - 1) % divisor).min())


def oversized(sizes: Bytes, free: Bytes) -> tuple[int, int] | None:
    """A size of which there are more VMs than places, with the number of places: VMs at least as large need one each.

    Parameters
    ----------
    sizes : shape (vms,), > 0
    free : shape (hosts,), what is left on each host; negative counts as 0
    """
    room = np.maximum(free, 0)
    classes, counts = np.unique(sizes, return_counts=True)
    at_least = np.cumsum(counts[::-1])[::-1]
    if len(classes) > _DIFFERENT_SIZES:
        step = len(classes) // _DIFFERENT_SIZES
        classes, at_least = classes[::-step], at_least[::-step]
    else:
        classes, at_least = classes[::-1], at_least[::-1]
    for size, wanted in zip(classes, at_least, strict=True):
        places = int((room // size).sum())
        if places < wanted:
            return int(size), places
    return None


def fewest_leaving(sizes: Bytes, weight: Bytes, origin: NDArray[np.int32], free: Bytes) -> int:
    """A lower bound on migrations: each host that holds too much gives away what makes the most room for each VM moved.

    Parameters
    ----------
    sizes : shape (items,), > 0
    weight : shape (items,), VMs that move with the item
    origin : shape (items,), the host that each is on, -1 for none
    free : shape (hosts,), what each host takes of these items
    """
    here = origin >= 0
    held = np.bincount(origin[here], minlength=len(free))
    over = -free.astype(np.int64)
    np.add.at(over, origin[here], sizes[here])
    moves = 0
    for host in np.flatnonzero((over > 0) & (held > 0)):
        items = np.flatnonzero(origin == host)
        items = items[np.argsort(weight[items] / sizes[items], kind="stable")]
        room = np.cumsum(sizes[items])
        whole = int(np.searchsorted(room, over[host]))
        before = int(weight[items[:whole]].sum())
        if whole < len(items):
            # a part of the last item would do; the order may be wrong where two are equal to the last digit of a float
            missing = int(over[host]) - (int(room[whole - 1]) if whole else 0)
            last = int(weight[items[whole]])
            before += ceil(Fraction(last * missing, int(sizes[items[whole]])) - Fraction(before + last, _DIGITS))
        moves += before
    return moves
