"""The compiled search for who has to move aside so that waiting VMs find room: branch and bound, largest VM first.

A waiting VM goes where there is room or where VMs that make it leave; these wait in turn. Arrays as in arrays, items
in descending order of size; `weight` is the VMs that an item stands for, `cost` what moving it aside costs: MOVE for
each of them and the MiB that it copies. Nothing is checked here.
"""

import numpy as np
from numpy.typing import NDArray

from xenmem.columns import Bytes, Floats, Rows
from xenmem.planning.search.compiled.arrays import MOVE, NEVER, Where, draw
from xenmem.planning.search.engine import jit

MOST_AT_ONCE = 4
"""VMs that may leave one host for one VM; each takes 15 bits of a way."""
SETS_OF_THREE = 60
SETS_OF_FOUR = 24
"""VMs on a host up to which sets of so many are looked at."""
WAYS = 1 << 16
"""Ways that a branch can hold which have not been tried."""


@jit
def _price(size: int, edge: int, grain: int) -> int:
    return max(0, (size - edge + grain - 1) // grain)


@jit
def is_valid(sizes: Bytes, edge: int, grain: int) -> bool:
    """Whether a pair proves something: edge >= grain > 0, and for every size s: ceil(s / grain) <= 1 + its price."""
    if grain > edge or grain <= 0:
        return False
    for size in sizes:  # noqa: SIM110  (compiled)
        if _price(size, 0, grain) > 1 + _price(size, edge, grain):
            return False
    return True


@jit
def displaced_at_least(
    sizes: Bytes, waiting: Rows, count: int, free: Bytes, edges: Bytes, grains: Bytes, which: Rows
) -> int:
    """A lower bound on the VMs that move aside, NEVER if there is not room enough; which[0]: the pair that proves it.

    The price of a VM of size s is ceil((s - edge) / grain). If the pair is valid, then whoever leaves makes room for no
    more than his own price and one; and prices of VMs that share a host add up to no more than that of their sum. What
    a host has free beyond the edge is worth ceil((free - edge) / grain) at most.
    """
    missing = 0
    for place in range(count):
        missing += sizes[waiting[place]]
    for host in range(len(free)):
        missing -= max(free[host], 0)
    if missing > 0:
        return NEVER
    best = 0
    for pair in range(len(edges)):
        edge, grain = edges[pair], grains[pair]
        value = 0
        for place in range(count):
            value += _price(sizes[waiting[place]], edge, grain)
        if value <= best:
            continue
        for host in range(len(free)):
            value -= _price(free[host], edge, grain)
        if value > best:
            best = value
            which[0] = pair
    return best


@jit
def _in_the_way(
    vm: int,
    host: int,
    where: Where,
    taken: Rows,
    here: Rows,
    inside: int,
    out: Rows,
) -> int:
    """Places in `here` of those who share a group with the VM, into `out`; -1 if more do than can leave."""
    found = 0
    for place in range(where.group_start[vm], where.group_start[vm + 1]):
        group = where.group_of[place]
        if taken[group, host] <= 0:
            continue
        members = 0
        for at in range(inside):
            other = here[at]
            for own in range(where.group_start[other], where.group_start[other + 1]):
                if where.group_of[own] != group:
                    continue
                members += 1
                known = False
                for earlier in range(found):
                    known |= out[earlier] == at
                if not known:
                    if found == MOST_AT_ONCE:
                        return -1
                    out[found] = at
                    found += 1
        if members < taken[group, host]:
            return -1
    return found


@jit
def _ways(
    short: int,
    forced: Rows,
    number: int,
    most: int,
    every: bool,
    sizes: Bytes,
    worth: Bytes,
    cost: Bytes,
    here: Rows,
    spots: Rows,
    inside: int,
    budget: int,
    limit: float,
    tune: Floats,
    state: NDArray[np.uint64],
    ways: Bytes,
    keys: Floats,
    begin: int,
) -> tuple[int, bool, int]:
    """The sets of VMs in `here` whose leaving gives `short` more, into `ways` from `begin` on.

    A way is the spots of the VMs plus one, 15 bits each: the forced ones, and so many more that there are `most` at
    most and nobody could stay. Unless `every`, only the best of them, and none whose key is above the limit. The key,
    less is better, is what the leaving are worth, then the room that is left over. Gives the end, whether these are all
    there are, and the steps that it took.
    """
    total = np.zeros(MOST_AT_ONCE + 1, np.int64)
    value = np.zeros(MOST_AT_ONCE + 1, np.int64)
    paid = np.zeros(MOST_AT_ONCE + 1, np.int64)
    least = np.full(MOST_AT_ONCE + 1, NEVER)
    at = np.empty(MOST_AT_ONCE + 1, np.int64)
    packed = 0
    for place in range(number):
        other = here[forced[place]]
        total[0] += sizes[other]
        value[0] += worth[other]
        paid[0] += cost[other]
        packed = (packed << 15) | (spots[forced[place]] + 1)
    end = begin
    enough = total[0] >= short
    deepest = 0 if enough else most - number
    if inside > SETS_OF_FOUR:
        deepest = min(deepest, 3)
    if inside > SETS_OF_THREE:
        deepest = min(deepest, 2)
    complete = not every or enough or deepest == most - number
    steps = 1
    for members in range(0 if enough else 1, deepest + 1):
        depth = 0
        at[0] = -1
        while depth >= 0:
            steps += 1
            if members > 0:
                at[depth] += 1
                # the VMs come in descending order of size: those that follow give no more
                if (
                    at[depth] > inside - (members - depth)
                    or total[depth] + (members - depth) * sizes[here[at[depth]]] < short
                ):
                    depth -= 1
                    continue
                fixed = False
                for place in range(number):
                    fixed |= forced[place] == at[depth]
                if fixed:
                    continue
                other = here[at[depth]]
                total[depth + 1] = total[depth] + sizes[other]
                value[depth + 1] = value[depth] + worth[other]
                paid[depth + 1] = paid[depth] + cost[other]
                least[depth + 1] = min(least[depth], sizes[other])
                if not every and value[depth + 1] > limit:
                    continue
                if depth + 1 < members:
                    if total[depth + 1] < short:
                        depth += 1
                        at[depth] = at[depth - 1]
                    continue
                if total[members] - least[members] >= short:
                    continue
            if paid[members] < budget:
                wasted = float(total[members] - short) / tune[0]
                if tune[1] > 0.0:
                    wasted *= 1.0 + tune[1] * float(draw(state, 1024)) / 1024.0
                key = float(value[members]) + 0.5 * wasted + float(paid[members] % MOVE) * tune[2]
                if every or (key <= limit and (end == begin or key < keys[begin])):
                    where = end if every else begin
                    if where == len(ways):
                        return end, False, steps
                    ways[where] = packed
                    for step in range(members):
                        ways[where] = (ways[where] << 15) | (spots[at[step]] + 1)
                    keys[where] = key
                    end = where + 1
            if members == 0:
                break
    return end, complete, steps


@jit
def displace(
    sizes: Bytes,
    weight: Bytes,
    cost: Bytes,
    where: Where,
    free: Bytes,
    host_of: Rows,
    edges: Bytes,
    grains: Bytes,
    every: bool,
    tune: Floats,
    state: NDArray[np.uint64],
    best_of: Rows,
    progress: Bytes,
    work: int,
) -> bool:
    """Look for a cheaper way than progress[0], so many steps long; true if there is none but what best_of then holds.

    `free` and `taken` are what is left with the items of host_of in place; those on -1 wait. `every`: try all ways;
    else only the best for each host, and hosts with room first. tune: what counts as one in the room left over,
    how much chance there is in it, and what a MiB weighs. Nobody goes back where he left from.
    """
    count, hosts = len(sizes), len(free)
    on, left, busy = host_of.copy(), free.copy(), where.taken.copy()
    settled = np.zeros(count, np.bool_)
    waiting = np.empty(count, np.int32)
    place_of = np.full(count, -1, np.int32)
    number = 0
    total = 0
    for vm in range(count):
        if on[vm] < 0:
            waiting[number] = vm
            place_of[vm] = number
            number += 1
    first = np.zeros(hosts + 1, np.int64)
    for vm in range(count):
        if on[vm] >= 0:
            first[on[vm] + 1] += 1
    for host in range(hosts):
        first[host + 1] += first[host]
    inmates = np.empty(max(first[hosts], 1), np.int32)
    filled = first[:hosts].copy()
    for vm in range(count):
        if on[vm] >= 0:
            inmates[filled[on[vm]]] = vm
            filled[on[vm]] += 1
    worth = np.empty(count, np.int64)
    here = np.empty(count, np.int32)
    spots = np.empty(count, np.int32)
    forced = np.empty(MOST_AT_ONCE, np.int32)
    which = np.zeros(1, np.int32)
    chosen = np.empty(count + 1, np.int32)
    begin = np.zeros(count + 2, np.int64)
    cursor = np.zeros(count + 1, np.int64)
    ways = np.empty(WAYS, np.int64)
    keys = np.empty(WAYS, np.float64)
    targets = np.empty(WAYS, np.int32)
    order = np.empty(WAYS, np.int64)
    complete = True
    depth = 0
    looked_at = 0
    fresh = True
    while depth >= 0:
        if fresh:
            looked_at += hosts * (len(edges) + 1)
            if looked_at > work:
                return False
            begin[depth + 1] = begin[depth]
            cursor[depth] = begin[depth] - 1
            chosen[depth] = -1
            if number == 0:
                if total < progress[0]:
                    progress[0] = total
                    best_of[:] = on
            else:
                lower = displaced_at_least(sizes, waiting, number, left, edges, grains, which)
                if lower < NEVER and total + lower * MOVE < progress[0]:
                    edge, grain = edges[which[0]], grains[which[0]]
                    vm = count
                    for place in range(number):
                        vm = min(vm, waiting[place])
                    chosen[depth] = vm
                    budget = progress[0] - total
                    most = min(MOST_AT_ONCE, (budget - 1) // MOVE)
                    if every and (budget - 1) // MOVE > MOST_AT_ONCE:
                        complete = False
                    end = begin[depth]
                    direct = False
                    limit = np.inf
                    for host in range(hosts):
                        if not where.allowed[where.kind_of[vm], host] or host_of[vm] == host:
                            continue
                        short = sizes[vm] - left[host]
                        blocked = False
                        for place in range(where.group_start[vm], where.group_start[vm + 1]):
                            blocked |= busy[where.group_of[place], host] > 0
                        inside, out = 0, 0
                        if short > 0 or blocked:
                            if most == 0 or (direct and not every):
                                continue
                            for place in range(first[host], first[host + 1]):
                                other = inmates[place]
                                if on[other] == host and not settled[other]:
                                    here[inside] = other
                                    spots[inside] = place - first[host]
                                    worth[other] = weight[other] + _price(sizes[other], edge, grain)
                                    inside += 1
                            out = _in_the_way(vm, host, where, busy, here, inside, forced)
                            if out < 0 or out > most:
                                continue
                        elif not direct and not every:
                            direct = True
                            end = begin[depth]
                        before = end
                        end, all_seen, steps = _ways(
                            short,
                            forced,
                            out,
                            most,
                            every,
                            sizes,
                            worth,
                            cost,
                            here,
                            spots,
                            inside,
                            budget,
                            limit,
                            tune,
                            state,
                            ways,
                            keys,
                            end,
                        )
                        complete &= all_seen
                        looked_at += steps
                        if end > before and keys[before] + 1.0 < limit:
                            limit = keys[before] + 1.0
                        targets[before:end] = host
                    begin[depth + 1] = end
                    by_key = np.argsort(keys[begin[depth] : end])
                    for place in range(end - begin[depth]):
                        order[begin[depth] + place] = begin[depth] + by_key[place]
        elif chosen[depth] >= 0:
            # what was tried last is taken back
            vm = chosen[depth]
            way = order[cursor[depth]]
            host = targets[way]
            on[vm] = -1
            settled[vm] = False
            left[host] += sizes[vm]
            for place in range(where.group_start[vm], where.group_start[vm + 1]):
                busy[where.group_of[place], host] -= 1
            place_of[vm] = number
            waiting[number] = vm
            number += 1
            rest = ways[way]
            while rest > 0:
                other = inmates[first[host] + (rest & 0x7FFF) - 1]
                rest >>= 15
                on[other] = host
                left[host] -= sizes[other]
                for place in range(where.group_start[other], where.group_start[other + 1]):
                    busy[where.group_of[place], host] += 1
                total -= cost[other]
                number -= 1
                last = waiting[number]
                waiting[place_of[other]] = last
                place_of[last] = place_of[other]
                place_of[other] = -1
        cursor[depth] += 1
        if cursor[depth] >= begin[depth + 1]:
            depth -= 1
            fresh = False
            continue
        vm = chosen[depth]
        way = order[cursor[depth]]
        host = targets[way]
        number -= 1
        last = waiting[number]
        waiting[place_of[vm]] = last
        place_of[last] = place_of[vm]
        place_of[vm] = -1
        rest = ways[way]
        while rest > 0:
            other = inmates[first[host] + (rest & 0x7FFF) - 1]
            rest >>= 15
            on[other] = -1
            left[host] += sizes[other]
            for place in range(where.group_start[other], where.group_start[other + 1]):
                busy[where.group_of[place], host] -= 1
            total += cost[other]
            place_of[other] = number
            waiting[number] = other
            number += 1
        on[vm] = host
        settled[vm] = True
        left[host] -= sizes[vm]
        for place in range(where.group_start[vm], where.group_start[vm + 1]):
            busy[where.group_of[place], host] += 1
        depth += 1
        fresh = True
    return complete
