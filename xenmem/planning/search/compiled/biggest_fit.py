"""The compiled walks under binpack: arrays in, arrays out; nothing is checked here and nothing is allocated per step.

Sizes are >= 0, so a host's free amount only shrinks and stays >= 0 once a VM is on it: no sum can leave int64, whatever
the free amounts are. A list of hosts "biggest first, the one inserted last before its equals" is kept as a 4-ary heap
with the key (free, stamp): the stamp is the number of the insertion, and the first hosts carry 0, -1, -2, ... in order.
"""

import numpy as np

from xenmem.columns import Bytes, Rows
from xenmem.planning.search.engine import jit


@jit
def _sift_down(heap_free: Bytes, heap_stamp: Bytes, heap_host: Rows, count: int, place: int) -> None:
    """Let the entry at `place` sink below every entry that is to be used before it."""
    free, stamp, host = heap_free[place], heap_stamp[place], heap_host[place]
    while True:
        child = 4 * place + 1
        if child >= count:
            break
        best = child
        best_free = heap_free[child]
        for other in range(child + 1, min(child + 4, count)):
            other_free = heap_free[other]
            if other_free > best_free or (other_free == best_free and heap_stamp[other] > heap_stamp[best]):
                best = other
                best_free = other_free
        if free > best_free or (free == best_free and stamp > heap_stamp[best]):
            break
        heap_free[place], heap_stamp[place], heap_host[place] = best_free, heap_stamp[best], heap_host[best]
        place = best
    heap_free[place], heap_stamp[place], heap_host[place] = free, stamp, host


@jit
def assign(order: Bytes, sizes: Bytes, free: Bytes, vms: Rows, hosts: Rows) -> int:
    """Biggest fit in the given order of VMs; fills `vms` and `hosts` from the back and returns the first place used."""
    count = len(free)
    first = len(order)
    heap_free = free.copy()
    heap_stamp = -np.arange(count)
    heap_host = np.arange(count).astype(np.int32)
    for place in range((count - 2) // 4, -1, -1):
        _sift_down(heap_free, heap_stamp, heap_host, count, place)
    if count == 0:
        return first
    for vm in order:
        size = sizes[vm]
        if heap_free[0] < size:
            continue
        first -= 1
        vms[first] = vm
        hosts[first] = heap_host[0]
        heap_free[0] -= size
        heap_stamp[0] = len(order) - first
        _sift_down(heap_free, heap_stamp, heap_host, count, 0)
    return first


@jit
def survives_every_order(sizes: Bytes, host_of: Rows, same_vm: Bytes, free: Bytes, num_failures: int) -> bool:
    """Whether every ordered choice of `num_failures` hosts leaves each failed VM a host, host after host.

    Entry k of the placement is a VM of sizes[k] on host_of[k]; the entries come biggest first, equals in the order of
    the placement, so that the failed ones are found in the order in which they are packed. same_vm[k] is the next entry
    of the same VM, around in a ring (k itself if there is one only): all of them move with it. The walk is depth-first;
    level d holds what d failures left behind, shared by all orders that begin with them.
    """
    count = len(free)
    entries = len(sizes)
    free_at = np.empty((num_failures, count), np.int64)
    host_at = np.empty((num_failures, entries), np.int32)
    chosen = np.full(num_failures, -1)
    dead = np.zeros(count, np.bool_)
    heap_free = np.empty(count, np.int64)
    heap_stamp = np.empty(count, np.int64)
    heap_host = np.empty(count, np.int32)
    free_at[0] = free
    host_at[0] = host_of
    level = 0
    while level >= 0:
        host = chosen[level]
        if host >= 0:
            dead[host] = False
        host += 1
        while host < count and dead[host]:
            host += 1
        if host == count:
            chosen[level] = -1
            level -= 1
            continue
        chosen[level] = host
        dead[host] = True
        deepest = level == num_failures - 1

        alive = 0
        for other in range(count):
            if not dead[other]:
                heap_free[alive] = free_at[level, other]
                heap_stamp[alive] = -other
                heap_host[alive] = other
                alive += 1
        for place in range((alive - 2) // 4, -1, -1):
            _sift_down(heap_free, heap_stamp, heap_host, alive, place)
        if not deepest:
            free_at[level + 1] = free_at[level]
            host_at[level + 1] = host_at[level]
        stamp = 0
        for entry in range(entries):
            if host_at[level, entry] != host:
                continue
            if alive == 0 or heap_free[0] < sizes[entry]:
                return False
            stamp += 1
            heap_free[0] -= sizes[entry]
            heap_stamp[0] = stamp
            if not deepest:
                target = heap_host[0]
                free_at[level + 1, target] = heap_free[0]
                host_at[level + 1, entry] = target
                twin = same_vm[entry]
                while twin != entry:
                    host_at[level + 1, twin] = target
                    twin = same_vm[twin]
            _sift_down(heap_free, heap_stamp, heap_host, alive, 0)
        if not deepest:
            level += 1
    return True
