"""The compiled walk under failover: every set of n hosts that may fail, as few of them as need a look.

Arrays in, arrays out, amounts in bytes; hosts are positions here. Nothing is checked. The walk can be left after some
sets and taken up again, because `chosen` is all it remembers.
"""

import numpy as np

from xenmem.columns import Bools, Bytes, Rows
from xenmem.planning.search.compiled.feasibility import NO, UNDECIDED, pack
from xenmem.planning.search.engine import jit

SURVIVES: int = 0
LOSES: int = 1
STOPPED: int = 2

ALWAYS_LOSING = 1 << 61
"""A weight above every amount of memory (which stays below 2**56): it makes no bound hold."""

A_LOOK = 20
"""A look at one set, in steps of the walk."""


@jit
def dominators(size: Bytes, rule: Rows, rules: Bools, first: Rows, free: Bytes, earlier: Bytes) -> None:
    """Bit b of earlier[a]: whenever host a fails and b does not, letting b fail in its place is as bad, and b < a.

    32 bits of a word are used, the lowest first. So it is if b has at least as much free, and for every VM of a one of
    its own that is as large, and no rule tells them apart: the VMs of both may go everywhere, and whoever may go to a
    may go to b. first[h]:first[h + 1] are the VMs of host h, largest first. `earlier` is 0 everywhere at first.
    """
    hosts = len(free)
    bound = np.zeros(hosts, np.bool_)
    for host in range(hosts):
        for vm in range(first[host], first[host + 1]):
            bound[host] |= rule[vm] >= 0
    for a in range(hosts):
        count = first[a + 1] - first[a]
        for b in range(a):
            if bound[a] or bound[b] or free[b] < free[a] or first[b + 1] - first[b] < count:
                continue
            good = True
            for vm in range(count):
                if size[first[a] + vm] > size[first[b] + vm]:
                    good = False
                    break
            for row in range(len(rules)):
                if rules[row, a] and not rules[row, b]:
                    good = False
                    break
            if good:
                earlier[a, b >> 5] |= 1 << (b & 31)


@jit
def weights(
    size: Bytes, rule: Rows, first: Rows, free: Bytes, low: Bytes, high: Bytes, whole_load: bool, weight: Bytes
) -> None:
    """weight[k, h]: what the failure of host h takes from the room for VMs of sizes low[k]..high[k].

    While a VM of size s finds no room, every host left has less than s, so it has received more than free - s. Hence
    all VMs of size s find room, whatever fills the holes, if what must move, less s itself, stays below the sum of
    max(0, free - s + 1) over the hosts that are left. `whole_load` counts all VMs of a host and not only those at
    least as large: for restarts that do not come largest first.
    """
    for k in range(len(low)):
        for host in range(len(free)):
            total = max(0, free[host] - high[k] + 1)
            for vm in range(first[host], first[host + 1]):
                if rule[vm] >= 0:
                    total = ALWAYS_LOSING
                    break
                if whole_load or size[vm] >= low[k]:
                    total += size[vm]
            weight[k, host] = total


@jit
def heaviest_after(weight: Bytes, n: int, heaviest: Bytes) -> None:
    """heaviest[k, h, m]: the sum of the m largest weights of bound k among the hosts from h on."""
    hosts = weight.shape[1]
    top = np.empty(n, np.int64)
    for k in range(len(weight)):
        filled = 0
        heaviest[k, hosts, :] = ALWAYS_LOSING
        heaviest[k, hosts, 0] = 0
        for host in range(hosts - 1, -1, -1):
            value = weight[k, host]
            place = min(filled, n - 1) if n else 0
            if n and (filled < n or value > top[n - 1]):
                while place > 0 and top[place - 1] < value:
                    top[place] = top[place - 1]
                    place -= 1
                top[place] = value
                filled = min(filled + 1, n)
            total = 0
            heaviest[k, host, 0] = 0
            for m in range(n):
                total = min(ALWAYS_LOSING, total + top[m]) if m < filled else ALWAYS_LOSING
                heaviest[k, host, m + 1] = total


@jit
def failed_vms(size: Bytes, first: Rows, failing: Rows, vms: Rows) -> int:
    """The VMs of some hosts, and those of the last group, which run nowhere: merged, largest first; their number."""
    n = len(failing) + 1
    down = len(first) - 2
    head = np.empty(n, np.int64)
    for k in range(n):
        head[k] = first[failing[k]] if k < n - 1 else first[down]
    count = 0
    while True:
        best = -1
        for k in range(n):
            group = failing[k] if k < n - 1 else down
            if head[k] < first[group + 1] and (best < 0 or size[head[k]] > size[head[best]]):
                best = k
        if best < 0:
            return count
        vms[count] = head[best]
        head[best] += 1
        count += 1


@jit
def restart(
    size: Bytes, rule: Rows, rules: Bools, first: Rows, free: Bytes, failing: Rows, nodes: int, vms: Rows, host_of: Rows
) -> tuple[int, int]:
    """YES, NO or UNDECIDED for one set of failing hosts, the number of VMs to restart, which they are, and where."""
    count = failed_vms(size, first, failing, vms)
    left = free.copy()
    for host in failing:
        left[host] = -1
    moving = np.empty(count, np.int64)
    its_rule = np.empty(count, np.int32)
    for k in range(count):
        moving[k] = size[vms[k]]
        its_rule[k] = rule[vms[k]]
    return pack(moving, its_rule, rules, left, host_of[:count], nodes), count


@jit
def _is_passed_over(earlier: Bytes, used: Bools, host: int) -> bool:
    """Some host that should fail before this one does not fail: the set with that one instead is looked at."""
    passed_over = False
    for other in range(host):
        passed_over |= (earlier[host, other >> 5] >> (other & 31)) & 1 != 0 and not used[other]
    return passed_over


@jit
def walk(
    size: Bytes,
    rule: Rows,
    rules: Bools,
    first: Rows,
    free: Bytes,
    earlier: Bytes,
    weight: Bytes,
    heaviest: Bytes,
    room: Bytes,
    chosen: Rows,
    nodes: int,
    max_work: int,
    hard: Rows,
    counts: Bytes,
) -> int:
    """Go on through the sets of failing hosts; SURVIVES when all are done, LOSES at `chosen`, STOPPED after max_work.

    room[k] is what bound k allows: a family of sets whose heaviest member stays below it for every k needs no look.
    Sets that `nodes` do not decide are kept in `hard`; STOPPED also when it is full. counts: sets looked at, families
    proved by a bound, sets in hard, and the length of the prefix of `chosen` that is done, 0 at the start.
    """
    hosts, n, bounds = len(free), len(chosen), len(weight)
    vms = np.empty(len(size), np.int32)
    host_of = np.empty(len(size), np.int32)
    used = np.zeros(hosts, np.bool_)
    prefix = np.zeros((n + 1, bounds), np.int64)
    open_bounds = np.zeros((n + 1, bounds), np.int32)
    open_count = np.zeros(n + 1, np.int64)
    for k in range(bounds):
        open_bounds[0, k] = k
    open_count[0] = bounds

    level, work = 0, 0
    entering = True
    if counts[3] > 0:
        level = counts[3] - 1
        for at in range(counts[3]):
            used[chosen[at]] = True
            for k in range(bounds):
                prefix[at + 1, k] = min(ALWAYS_LOSING, prefix[at, k] + weight[k, chosen[at]])
                open_bounds[at + 1, k] = k
            open_count[at + 1] = bounds
        entering = False
    while level >= 0:
        if entering:
            start = chosen[level - 1] + 1 if level else 0
            still = 0
            for place in range(open_count[level]):
                k = open_bounds[level, place]
                if prefix[level, k] + heaviest[k, start, n - level] >= room[k]:
                    open_bounds[level, still] = k
                    still += 1
            open_count[level] = still
            if still == 0:
                counts[1] += 1
                level -= 1
                entering = False
                continue
            if level == n:
                counts[0] += 1
                work += A_LOOK
                answer, _ = restart(size, rule, rules, first, free, chosen, nodes, vms, host_of)
                if answer == NO:
                    return LOSES
                if answer == UNDECIDED:
                    hard[counts[2], :] = chosen
                    counts[2] += 1
                level -= 1
                entering = False
                continue
            chosen[level] = start - 1
        else:
            if work >= max_work or counts[2] == len(hard):
                counts[3] = level + 1
                return STOPPED
            used[chosen[level]] = False
        work += 1
        host = chosen[level] + 1
        while host <= hosts - (n - level) and _is_passed_over(earlier, used, host):
            host += 1
        if host > hosts - (n - level):
            level -= 1
            entering = False
            continue
        chosen[level] = host
        used[host] = True
        for place in range(open_count[level]):
            k = open_bounds[level, place]
            prefix[level + 1, k] = min(ALWAYS_LOSING, prefix[level, k] + weight[k, host])
            open_bounds[level + 1, place] = k
        open_count[level + 1] = open_count[level]
        level += 1
        entering = True
    return SURVIVES


@jit
def first_unsafe(
    size: Bytes, rule: Rows, rules: Bools, host_of: Rows, alive: Bools, free: Bytes, nodes: int
) -> tuple[int, int]:
    """The first host whose failure alone leaves a VM without room, or that `nodes` do not decide, and which; -1: none.

    The VMs come largest first; host_of is -1 for those that are not placed yet, and do not count.
    """
    count = len(size)
    moving = np.empty(count, np.int64)
    its_rule = np.empty(count, np.int32)
    target = np.empty(count, np.int32)
    left = np.empty(len(free), np.int64)
    undecided = -1
    for host in range(len(free)):
        if not alive[host]:
            continue
        found = 0
        for vm in range(count):
            if host_of[vm] == host:
                moving[found] = size[vm]
                its_rule[found] = rule[vm]
                found += 1
        for other in range(len(free)):
            left[other] = free[other] if alive[other] and other != host else -1
        answer = pack(moving[:found], its_rule[:found], rules, left, target[:found], nodes)
        if answer == NO:
            return host, NO
        if answer == UNDECIDED and undecided < 0:
            undecided = host
    return undecided, UNDECIDED
