"""What no packing can beat: lower bounds on hosts, upper bounds on VMs placed and on the memory left free.

Sizes and amounts are any unit, the same everywhere. Relaxations only: none of them searches or knows a Fleet.
"""

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.int64]
Bools = NDArray[np.bool_]

_DIFFERENT_SIZES = 600
_FACTORS = range(1, 21)


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
    The larger of two: the roomiest hosts whose memory adds up to the VMs', and, for equal hosts, dual feasible
    functions (Fekete and Schepers 2001, u(k) after U(e)), which see that VMs over half a host do not share one.
    """
    room = np.maximum(free, 0)
    already = int(in_use.sum())
    short = int(sizes.sum()) - int(room[in_use].sum())
    idle = np.sort(room[~in_use])[::-1]
    more = 0 if short <= 0 else int(np.searchsorted(np.cumsum(idle), short)) + 1
    bound = already + more
    if len(room) and len(sizes) and room.min() == room.max() and int(room[0]) > 0:
        bound = max(bound, _equal_hosts(sizes, int(room[0])))
    return min(bound, len(free) + 1)


def _equal_hosts(sizes: Bytes, capacity: int) -> int:
    values, counts = np.unique(sizes, return_counts=True)
    total = sum(int(value) * int(count) for value, count in zip(values, counts, strict=True))
    best = -(-total // capacity)
    if len(values) > _DIFFERENT_SIZES:
        return best
    numbers = [(int(value), int(count)) for value, count in zip(values, counts, strict=True)]
    for edge in [0, *(value for value, _ in numbers if 2 * value <= capacity)]:
        # U(e): VMs that leave less than `edge` beside them count as a whole host, VMs below it as nothing
        seen = [(capacity if value > capacity - edge else value, count) for value, count in numbers if value >= edge]
        best = max(best, -(-sum(value * count for value, count in seen) // capacity))
        for factor in _FACTORS:
            weight = 0
            for value, count in seen:
                whole, rest = divmod((factor + 1) * value, capacity)
                weight += count * (value * factor if rest == 0 else whole * capacity)
            best = max(best, -(-weight // (factor * capacity)))
    return best


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
    """An upper bound on the memory that the fullest host can be left with: all hosts level, as water would be.

    Parameters
    ----------
    sizes : shape (vms,), > 0
    free : shape (hosts,), what is left on each host, at least one
    """
    return min(int(free.min()), (int(free.sum()) - int(sizes.sum())) // len(free))


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


def fewest_leaving(sizes: Bytes, origin: NDArray[np.int32], free: Bytes) -> int:
    """A lower bound on migrations: from each host that holds too much, the largest VMs first.

    Parameters
    ----------
    sizes : shape (vms,), > 0
    origin : shape (vms,), the host that each VM is on, -1 for none
    free : shape (hosts,), what each host takes of these VMs
    """
    here = origin >= 0
    held = np.bincount(origin[here], minlength=len(free))
    over = -free.astype(np.int64)
    np.add.at(over, origin[here], sizes[here])
    moves = 0
    for host in np.flatnonzero((over > 0) & (held > 0)):
        largest = np.cumsum(np.sort(sizes[origin == host])[::-1])
        moves += min(int(np.searchsorted(largest, over[host])) + 1, len(largest))
    return moves
