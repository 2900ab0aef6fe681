"""The compiled exact search: branch and bound over the VMs, biggest first, for the cheapest placement.

What costs: a VM left out (skip_cost), a host taken into use (open_cost), a VM put on a host (cost_at), which is nothing
at its origin, and at least leave_cost elsewhere.
One call runs a given number of nodes and can be continued, as all of its state lies in arrays of the caller. Arrays as
in _repack; `free` and `taken` are changed and restored. Nothing is checked here.
"""

import numpy as np
from numpy.typing import NDArray

from xenmem.columns import Bools, Bytes, Rows
from xenmem.planning.search.compiled.arrays import NEVER, Where, admits
from xenmem.planning.search.engine import jit


@jit
def _share(cost: int, part: int, whole: int) -> int:
    """A whole-numbered lower bound of cost · part / whole, at least 1 if cost and part are."""
    if cost == 0 or part <= 0:
        return 0
    return max(1, int(float(cost) * (float(part) / float(whole)) * (1.0 - 1e-12)))


@jit
def _still_to_pay(
    depth: int,
    sizes: Bytes,
    suffix: Bytes,
    free: Bytes,
    held: Rows,
    skip_cost: Bytes,
    cheap_first: NDArray[np.int64],
    open_cost: Bytes,
    roomy_first: NDArray[np.int64],
    origin: Rows,
    leave_cost: Bytes,
    leaving: Bytes,
    largest: Bytes,
    cheapest: Bytes,
) -> int:
    """What the VMs from `depth` on cost at least, each kind of cost by a relaxation of its own."""
    count = len(sizes)
    hosts = len(free)
    smallest = sizes[count - 1]
    usable = 0
    usable_now = 0
    opening = False
    for host in range(hosts):
        if free[host] >= smallest:
            usable += free[host]
            if held[host] > 0 or open_cost[host] == 0:
                usable_now += free[host]
        if open_cost[host] > 0:
            opening = True
    skipped = 0
    excess = suffix[depth] - usable
    if excess > 0:
        for vm in cheap_first:
            if vm < depth:
                continue
            if skip_cost[vm] >= NEVER:
                return NEVER
            if sizes[vm] >= excess:
                skipped += _share(skip_cost[vm], excess, sizes[vm])
                excess = 0
                break
            skipped += skip_cost[vm]
            excess -= sizes[vm]
        if excess > 0:
            return NEVER
    opened = 0
    if opening and skip_cost[cheap_first[0]] >= NEVER:
        short = suffix[depth] - usable_now
        for host in roomy_first:
            if short <= 0:
                break
            if held[host] == 0 and open_cost[host] > 0:
                opened += open_cost[host]
                short -= free[host]
        if short > 0:
            return NEVER
    moved = 0
    moving = False
    leaving[:] = 0
    largest[:] = 0
    cheapest[:] = NEVER
    for vm in range(depth, count):
        home = origin[vm]
        if leave_cost[vm] == 0:
            continue
        if sizes[vm] > free[home]:
            moved += min(leave_cost[vm], skip_cost[vm])
        else:
            moving = True
            leaving[home] += sizes[vm]
            largest[home] = max(largest[home], sizes[vm])
            cheapest[home] = min(cheapest[home], leave_cost[vm], skip_cost[vm])
    if moving:
        for host in range(hosts):
            over = leaving[host] - free[host]
            if over > 0:
                moved += (over + largest[host] - 1) // largest[host] * cheapest[host]
    return opened + max(skipped, moved)


@jit
def branch(
    sizes: Bytes,
    where: Where,
    free: Bytes,
    skip_cost: Bytes,
    open_cost: Bytes,
    origin: Rows,
    leave_cost: Bytes,
    cost_at: Bytes,
    same_as_before: Bools,
    kind_of_host: Rows,
    cheap_first: NDArray[np.int64],
    roomy_first: NDArray[np.int64],
    suffix: Bytes,
    candidates: Rows,
    how_many: Rows,
    at: Rows,
    held: Rows,
    paid: Bytes,
    progress: Bytes,
    best_of: Rows,
    enough: int,
    nodes: int,
) -> bool:
    """Go on for some nodes; true when the search is over: the best found, if any, is the best there is (or enough).

    progress holds the depth and the cost of the best placement so far (its value at first: a cost to be beaten);
    best_of is that placement. The VMs come in descending order of size.
    """
    count = len(sizes)
    hosts = len(free)
    leaving = np.empty(hosts, np.int64)
    largest = np.empty(hosts, np.int64)
    cheapest = np.empty(hosts, np.int64)
    conflicts = len(where.group_of) > 0
    depth = progress[0]
    for _ in range(nodes):
        if progress[1] <= enough:
            return True
        if at[depth] < 0:
            # a fresh node: bound it, then list the hosts
            how_many[depth] = 0
            left = _still_to_pay(
                depth,
                sizes,
                suffix,
                free,
                held,
                skip_cost,
                cheap_first,
                open_cost,
                roomy_first,
                origin,
                leave_cost,
                leaving,
                largest,
                cheapest,
            )
            if left < NEVER and paid[depth] + left < progress[1]:
                before = -1
                if same_as_before[depth]:
                    before = candidates[depth - 1, at[depth - 1]]
                    if before < 0:
                        before = hosts
                entries = 0
                for host in range(max(before, 0), hosts):
                    if free[host] < sizes[depth]:
                        continue
                    if not admits(depth, host, where):
                        continue
                    twin = False
                    for other in range(host):
                        if (
                            kind_of_host[other] == kind_of_host[host]
                            and free[other] == free[host]
                            and (held[other] > 0) == (held[host] > 0)
                            and (not conflicts or held[host] == 0)
                        ):
                            twin = True
                            break
                    if twin:
                        continue
                    # at home first, then the fullest host in use, then the others
                    place = entries
                    while place > 0:
                        rival = candidates[depth, place - 1]
                        if rival == origin[depth]:
                            break
                        if host != origin[depth]:
                            rival_idle = held[rival] == 0 and open_cost[rival] > 0
                            idle = held[host] == 0 and open_cost[host] > 0
                            if rival_idle == idle:
                                if free[rival] <= free[host]:
                                    break
                            elif idle:
                                break
                        candidates[depth, place] = rival
                        place -= 1
                    candidates[depth, place] = host
                    entries += 1
                if skip_cost[depth] < NEVER:
                    candidates[depth, entries] = -1
                    entries += 1
                how_many[depth] = entries
            at[depth] = 0
        else:
            # the candidate tried last comes off again
            host = candidates[depth, at[depth]]
            if host >= 0:
                free[host] += sizes[depth]
                held[host] -= 1
                for place in range(where.group_start[depth], where.group_start[depth + 1]):
                    where.taken[where.group_of[place], host] -= 1
            at[depth] += 1
        if at[depth] == how_many[depth]:
            at[depth] = -1
            depth -= 1
            progress[0] = depth
            if depth < 0:
                return True
            continue
        host = candidates[depth, at[depth]]
        paid[depth + 1] = paid[depth]
        if host < 0:
            paid[depth + 1] += skip_cost[depth]
        else:
            if held[host] == 0:
                paid[depth + 1] += open_cost[host]
            paid[depth + 1] += cost_at[depth, host]
            free[host] -= sizes[depth]
            held[host] += 1
            for place in range(where.group_start[depth], where.group_start[depth + 1]):
                where.taken[where.group_of[place], host] += 1
        if depth < count - 1:
            depth += 1
            progress[0] = depth
        elif paid[count] < progress[1]:
            progress[1] = paid[count]
            for vm in range(count):
                best_of[vm] = candidates[vm, at[vm]]
    return False
