"""The compiled searches that move items off the fullest hosts: all ways with few moves, and small improvements.

Arrays as in arrays, `taken` changed in place; `origin` is where each item is before any move, `weight` the VMs that it
stands for. What is left on a host is its free memory. Nothing is checked here.
"""

import numpy as np

from xenmem.columns import Bytes, Rows
from xenmem.planning.search.compiled.arrays import Where, admits
from xenmem.planning.search.engine import jit


@jit
def _settle(item: int, host: int, change: int, sizes: Bytes, where: Where, free: Bytes) -> None:
    free[host] -= change * sizes[item]
    for place in range(where.group_start[item], where.group_start[item + 1]):
        where.taken[where.group_of[place], host] += change


@jit
def every_way(
    sizes: Bytes,
    weight: Bytes,
    where: Where,
    free: Bytes,
    origin: Rows,
    migrations: int,
    limit: int,
    best: Rows,
    nodes: int,
) -> bool:
    """Whether all ways were seen in which at most so many VMs leave the fullest host of their moment, one by one.

    `best` is where the items are, the best so far, and becomes better if it can: it leaves more on the fullest host.
    No way that leaves more exists where all were seen and there are no groups: somebody has to leave the fullest host.
    """
    items, hosts = len(sizes), len(free)
    on = origin.copy()
    received = np.zeros(hosts, np.int64)
    record = np.iinfo(np.int64).max
    now = free.copy()
    for item in range(items):
        now[best[item]] -= sizes[item]
    for host in range(hosts):
        record = min(record, now[host])
    now[:] = free
    for item in range(items):
        _settle(item, origin[item], 1, sizes, where, now)
    depth = 0
    from_host = np.zeros(migrations + 1, np.int64)
    next_item = np.zeros(migrations + 1, np.int64)
    next_host = np.zeros(migrations + 1, np.int64)
    left = np.full(migrations + 1, migrations)
    fresh = True
    while True:
        if fresh:
            fresh = False
            fullest = now.argmin()
            if now[fullest] > record:
                joins = False
                for host in range(hosts):
                    joins = joins or (received[host] > 0 and now[host] < 0)
                if not joins:
                    record = now[fullest]
                    best[:] = on
                    if record >= limit:
                        return True
            waiting = 0
            for host in range(hosts):
                if now[host] <= record:
                    waiting += 1
            from_host[depth] = fullest
            next_item[depth] = 0
            next_host[depth] = 0
            if waiting > left[depth]:
                next_item[depth] = items
        item, host = next_item[depth], next_host[depth]
        while item < items and (on[item] != from_host[depth] or on[item] != origin[item] or weight[item] > left[depth]):
            item += 1
            host = 0
        if item == items:
            if depth == 0:
                return True
            depth -= 1
            item, host = next_item[depth], next_host[depth] - 1
            _settle(item, host, -1, sizes, where, now)
            _settle(item, origin[item], 1, sizes, where, now)
            on[item] = origin[item]
            received[host] -= 1
            continue
        next_item[depth] = item
        while host < hosts and (
            host == from_host[depth]
            or not admits(item, host, where)
            or now[host] - sizes[item] <= record - _largest_moves(sizes, left[depth] - weight[item])
        ):
            host += 1
        if host == hosts:
            next_item[depth] = item + 1
            next_host[depth] = 0
            continue
        nodes -= 1
        if nodes < 0:
            return False
        next_host[depth] = host + 1
        _settle(item, origin[item], -1, sizes, where, now)
        _settle(item, host, 1, sizes, where, now)
        on[item] = host
        received[host] += 1
        left[depth + 1] = left[depth] - weight[item]
        depth += 1
        fresh = True


@jit
def _largest_moves(sizes: Bytes, moves: int) -> int:
    """What so many moves give back at most; sizes descend."""
    total = 0
    for item in range(min(moves, len(sizes))):
        total += sizes[item]
    return total


@jit
def _best_step(
    sizes: Bytes,
    weight: Bytes,
    where: Where,
    now: Bytes,
    origin: Rows,
    on: Rows,
    floor: int,
    left: int,
    emptiest: Bytes,
) -> tuple[float, int, int]:
    """How much the best single move evens out, of which item, to which host; 0 if none does."""
    gain, chosen, target = 0.0, -1, -1
    for item in range(len(sizes)):
        if on[item] == origin[item] and weight[item] > left:
            continue
        here, size = on[item], sizes[item]
        for host in emptiest:
            more = float(size) * float(now[host] - now[here] - size)
            if more <= gain:
                break
            if now[host] - size < floor or now[host] < size or host == here:
                continue
            if admits(item, host, where):
                gain, chosen, target = more, item, host
                break
    return gain, chosen, target


@jit
def even_out(
    sizes: Bytes,
    weight: Bytes,
    where: Where,
    free: Bytes,
    origin: Rows,
    migrations: int,
    floor: int,
    on: Rows,
    steps: int,
) -> None:
    """Bring what is left on the hosts nearer together, move by move, the one that gains most first; `on` changes.

    No host gets less than `floor` by a move, and at most so many VMs end elsewhere than at their origin. Where no move
    is left that gains, one that was made is taken back if another one gains more in its place.
    """
    now = free.copy()
    left = migrations
    for item in range(len(sizes)):
        _settle(item, on[item], 1, sizes, where, now)
        if on[item] != origin[item]:
            left -= weight[item]
    arrays = (sizes, weight, where, now, origin)
    tried = 0
    while steps > 0:
        steps -= 1
        gain, item, host = _best_step(*arrays, on, floor, left, np.argsort(-now))
        if item >= 0:
            left -= weight[item] if on[item] == origin[item] else 0
            left += weight[item] if host == origin[item] else 0
            _settle(item, on[item], -1, sizes, where, now)
            _settle(item, host, 1, sizes, where, now)
            on[item] = host
            tried = 0
            continue
        improved = False
        moved = np.flatnonzero(on != origin)
        while tried < len(moved) and not improved and steps > 0:
            steps -= 1
            item = moved[tried]
            tried += 1
            here, home, size = on[item], origin[item], sizes[item]
            loss = float(size) * float(now[here] - now[home] + size)
            if not admits(item, home, where):
                continue
            _settle(item, here, -1, sizes, where, now)
            _settle(item, home, 1, sizes, where, now)
            on[item] = home
            gain, other, host = _best_step(*arrays, on, floor, left + weight[item], np.argsort(-now))
            after = now[home] if other < 0 or on[other] != home else now[home] + sizes[other]
            if other >= 0 and other != item and gain > loss and after >= floor:
                left += weight[item]
                left -= weight[other] if on[other] == origin[other] else 0
                left += weight[other] if host == origin[other] else 0
                _settle(other, on[other], -1, sizes, where, now)
                _settle(other, host, 1, sizes, where, now)
                on[other] = host
                improved = True
            else:
                _settle(item, home, -1, sizes, where, now)
                _settle(item, here, 1, sizes, where, now)
                on[item] = here
        if not improved:
            return
        tried = 0
