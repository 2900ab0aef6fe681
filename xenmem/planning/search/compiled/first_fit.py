"""The compiled greedy rules: first fit, best fit and worst fit, in an order that the caller chooses.

Arrays as in arrays, changed in place: `free` is what is left on each host, host_of stays -1 for what did not fit.
Nothing is checked here. First fit costs O(log hosts) per VM, the other two O(hosts).
"""

import numpy as np
from numpy.typing import NDArray

from xenmem.columns import Bytes, Rows
from xenmem.planning.search.compiled.arrays import Where, admits
from xenmem.planning.search.engine import jit


@jit
def first_fit(
    order: NDArray[np.int64],
    host_order: NDArray[np.int64],
    sizes: Bytes,
    where: Where,
    free: Bytes,
    host_of: Rows,
) -> None:
    """Each VM of `order` onto the first host of `host_order` that takes it; a tree of maxima finds it."""
    hosts = len(host_order)
    if hosts == 0:
        return
    leaves = 1
    while leaves < hosts:
        leaves *= 2
    most = np.full(2 * leaves, -1, np.int64)
    for place in range(hosts):
        most[leaves + place] = free[host_order[place]]
    for node in range(leaves - 1, 0, -1):
        most[node] = max(most[2 * node], most[2 * node + 1])
    for vm in order:
        size = sizes[vm]
        if most[1] < size:
            continue
        node = 1
        while node < leaves:
            node *= 2
            if most[node] < size:
                node += 1
        host = host_order[node - leaves]
        while not admits(vm, host, where):
            # up to the first turn to the right behind which a host has room, then down again
            while node > 1 and (node % 2 == 1 or most[node + 1] < size):
                node //= 2
            if node == 1:
                break
            node += 1
            while node < leaves:
                node *= 2
                if most[node] < size:
                    node += 1
            host = host_order[node - leaves]
        if node == 1 and leaves > 1:
            continue
        if leaves == 1 and not admits(vm, host, where):
            continue
        host_of[vm] = host
        for place in range(where.group_start[vm], where.group_start[vm + 1]):
            where.taken[where.group_of[place], host] += 1
        free[host] -= size
        most[node] -= size
        node //= 2
        while node >= 1:
            larger = max(most[2 * node], most[2 * node + 1])
            if most[node] == larger:
                break
            most[node] = larger
            node //= 2


@jit
def closest_fit(
    order: NDArray[np.int64],
    sizes: Bytes,
    where: Where,
    free: Bytes,
    host_of: Rows,
    widest: bool,
) -> None:
    """Each VM of `order` onto the host with the least room that takes it or, if `widest`, with the most."""
    for vm in order:
        best = -1
        for host in range(len(free)):
            room = free[host]
            if room < sizes[vm] or (best >= 0 and (room <= free[best] if widest else room >= free[best])):
                continue
            if admits(vm, host, where):
                best = host
        if best >= 0:
            host_of[vm] = best
            free[best] -= sizes[vm]
            for place in range(where.group_start[vm], where.group_start[vm + 1]):
                where.taken[where.group_of[place], best] += 1
