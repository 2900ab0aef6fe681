"""The compiled local search: a few hosts and the VMs that have no place are unpacked and packed again, until all fit.

Arrays as in arrays, changed in place; nothing is checked here. Amounts are any unit, the same everywhere.
"""

import numpy as np
from numpy.typing import NDArray

from xenmem.columns import Bytes, Rows
from xenmem.planning.search.compiled.arrays import Where, admits, draw
from xenmem.planning.search.engine import jit

Random = NDArray[np.uint64]

HOSTS_AT_ONCE = 3
FROM_A_HOST = 12
FROM_THE_UNPLACED = 12
FILL_NODES = 3000
AGAINST_THE_GRAIN = 16


@jit
def _mark(vm: int, host: int, change: int, where: Where) -> None:
    for place in range(where.group_start[vm], where.group_start[vm + 1]):
        where.taken[where.group_of[place], host] += change


@jit
def _fill(
    pool: Rows,
    count: int,
    host: int,
    room: int,
    sizes: Bytes,
    where: Where,
    best: Rows,
    stack: Rows,
    suffix: Bytes,
    work: Bytes,
) -> int:
    """The places in `pool` that fill the host best, as far as the search goes: their number, and in `best` which."""
    suffix[count] = 0
    for place in range(count - 1, -1, -1):
        suffix[place] = suffix[place + 1] + sizes[pool[place]]
    most = 0
    found = 0
    filled = 0
    depth = 0
    place = 0
    nodes = 0
    while True:
        while place < count and filled + suffix[place] > most:
            vm = pool[place]
            if filled + sizes[vm] <= room and admits(vm, host, where):
                _mark(vm, host, 1, where)
                stack[depth] = place
                depth += 1
                filled += sizes[vm]
                if filled > most:
                    most = filled
                    found = depth
                    for entry in range(depth):
                        best[entry] = stack[entry]
            place += 1
        nodes += 1
        if depth == 0:
            break
        depth -= 1
        vm = pool[stack[depth]]
        _mark(vm, host, -1, where)
        filled -= sizes[vm]
        place = stack[depth] + 1
        if most == room or nodes > FILL_NODES:
            place = count
    work[0] += nodes + count
    return found


@jit
def repack(
    sizes: Bytes,
    where: Where,
    free: Bytes,
    host_of: Rows,
    state: Random,
    nodes: int,
) -> int:
    """Unpack and pack again for about so many nodes, or until every VM has a host; the memory of those without one.

    `taken`, `free` (what is left on each host) and `host_of` (-1: none) are changed in place; a step is kept if no more
    memory is without a host than before.
    """
    count = len(sizes)
    hosts = len(free)
    first = np.full(hosts, -1, np.int32)
    after = np.full(count, -1, np.int32)
    unplaced = np.empty(count, np.int32)
    waiting = 0
    missing = 0
    for vm in range(count):
        if host_of[vm] < 0:
            unplaced[waiting] = vm
            waiting += 1
            missing += sizes[vm]
        else:
            after[vm] = first[host_of[vm]]
            first[host_of[vm]] = vm
    most = HOSTS_AT_ONCE * FROM_A_HOST + FROM_THE_UNPLACED
    pool = np.empty(most, np.int32)
    old = np.empty(most, np.int32)
    new = np.empty(most, np.int32)
    rest = np.empty(most, np.int32)
    spot = np.empty(most, np.int32)
    members = np.empty(count, np.int32)
    best = np.empty(most, np.int32)
    stack = np.empty(most, np.int32)
    suffix = np.empty(most + 1, np.int64)
    chosen = np.empty(HOSTS_AT_ONCE, np.int32)
    work = np.zeros(1, np.int64)
    while work[0] < nodes and waiting > 0 and hosts > 0:
        several = min(1 + draw(state, HOSTS_AT_ONCE), hosts)
        picked = 0
        while picked < several:
            host = draw(state, hosts)
            fresh = True
            for other in range(picked):
                if chosen[other] == host:
                    fresh = False
            if fresh:
                chosen[picked] = host
                picked += 1
        for place in range(min(waiting, FROM_THE_UNPLACED)):
            other = place + draw(state, waiting - place)
            unplaced[place], unplaced[other] = unplaced[other], unplaced[place]
        entries = min(waiting, FROM_THE_UNPLACED)
        drawn = entries
        outside = 0
        gain = 0.0
        for place in range(entries):
            pool[place] = unplaced[place]
            old[place] = -1
            outside += sizes[pool[place]]
        for pick in range(several):
            gain -= float(free[chosen[pick]]) ** 2
        for pick in range(several):
            host = chosen[pick]
            length = 0
            vm = first[host]
            while vm >= 0:
                members[length] = vm
                length += 1
                vm = after[vm]
            for place in range(min(length, FROM_A_HOST)):
                other = place + draw(state, length - place)
                members[place], members[other] = members[other], members[place]
                vm = members[place]
                pool[entries] = vm
                old[entries] = host
                entries += 1
                free[host] += sizes[vm]
                _mark(vm, host, -1, where)
        for place in range(entries):
            other = place + draw(state, entries - place)
            pool[place], pool[other] = pool[other], pool[place]
            old[place], old[other] = old[other], old[place]
        left = entries
        for place in range(entries):
            new[place] = -1
            rest[place] = pool[place]
            spot[place] = place
        for pick in range(several):
            host = chosen[pick]
            found = _fill(
                rest,
                left,
                host,
                free[host],
                sizes,
                where,
                best,
                stack,
                suffix,
                work,
            )
            for place in range(found):
                vm = rest[best[place]]
                new[spot[best[place]]] = host
                free[host] -= sizes[vm]
                _mark(vm, host, 1, where)
                rest[best[place]] = -1
            kept = 0
            for place in range(left):
                if rest[place] >= 0:
                    rest[kept] = rest[place]
                    spot[kept] = spot[place]
                    kept += 1
            left = kept
        leftover = 0
        for place in range(left):
            leftover += sizes[rest[place]]
        for pick in range(several):
            gain += float(free[chosen[pick]]) ** 2
        if leftover > outside or (leftover == outside and gain < 0.0 and draw(state, AGAINST_THE_GRAIN) > 0):
            for place in range(entries):
                if new[place] >= 0:
                    free[new[place]] += sizes[pool[place]]
                    _mark(pool[place], new[place], -1, where)
            for place in range(entries):
                if old[place] >= 0:
                    free[old[place]] -= sizes[pool[place]]
                    _mark(pool[place], old[place], 1, where)
            continue
        missing += leftover - outside
        for pick in range(several):
            host = chosen[pick]
            before = -1
            vm = first[host]
            while vm >= 0:
                following = after[vm]
                moved = False
                for place in range(entries):
                    if pool[place] == vm:
                        moved = True
                        break
                if moved:
                    if before < 0:
                        first[host] = following
                    else:
                        after[before] = following
                else:
                    before = vm
                vm = following
        for place in range(entries):
            vm = pool[place]
            host_of[vm] = new[place]
            if new[place] >= 0:
                after[vm] = first[new[place]]
                first[new[place]] = vm
        stay = waiting - drawn
        for place in range(min(drawn, stay)):
            unplaced[place] = unplaced[waiting - 1 - place]
        waiting = stay
        for place in range(left):
            unplaced[waiting] = rest[place]
            waiting += 1
    return missing
