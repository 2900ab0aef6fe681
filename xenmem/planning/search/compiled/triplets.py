"""The compiled search for equal hosts of which none holds more than three VMs and hardly a byte may stay free.

Such packings defeat every rule that goes by size alone, yet a VM has few companions that fill a host: the search always
takes the VM with the fewest. Amounts are any unit, the same everywhere; nothing is checked here.
"""

import numpy as np
from numpy.typing import NDArray

from xenmem.columns import Bools, Bytes, Rows
from xenmem.planning.search.compiled.arrays import draw
from xenmem.planning.search.engine import jit

MOST_COMPANIONS = 400


@jit
def _companions(sizes: Bytes, alive: Bools, vm: int, capacity: int, slack: int, one: Rows, two: Rows, most: int) -> int:
    """Pairs that fill the rest of a host beside `vm` up to the slack; at most `most`, of equal sizes only the first."""
    count = len(sizes)
    found = 0
    rest = capacity - sizes[vm]
    last = -1
    for first in range(count):
        if not alive[first] or first == vm or (last >= 0 and sizes[first] == sizes[last]):
            continue
        if 2 * sizes[first] < rest - slack:
            break
        last = first
        room = rest - sizes[first]
        if room < 0:
            continue
        low = first + 1
        high = count
        while low < high:
            middle = (low + high) // 2
            if sizes[middle] <= room:
                high = middle
            else:
                low = middle + 1
        partner = -1
        for second in range(low, count):
            if sizes[second] < room - slack:
                break
            if alive[second] and second != vm and (partner < 0 or sizes[second] != sizes[partner]):
                one[found] = first
                two[found] = second
                found += 1
                partner = second
                if found == most:
                    return found
    return found


@jit
def triplets(sizes: Bytes, capacity: int, host_of: Rows, state: NDArray[np.uint64], nodes: int) -> int:
    """Three VMs onto each of len(sizes) / 3 hosts: 1 (host_of says how), 0 (there is no way) or -1 (too many nodes).

    The sizes come in descending order; VMs of size 0 stand for places that stay empty.
    """
    count = len(sizes)
    hosts = count // 3
    alive = np.ones(count, np.bool_)
    one = np.empty((hosts, MOST_COMPANIONS), np.int32)
    two = np.empty((hosts, MOST_COMPANIONS), np.int32)
    choices = np.zeros(hosts, np.int64)
    choice = np.zeros(hosts, np.int64)
    chosen = np.empty(hosts, np.int32)
    slack = np.empty(hosts + 1, np.int64)
    slack[0] = capacity * hosts
    for size in sizes:
        slack[0] -= size
    trial_one = np.empty(MOST_COMPANIONS, np.int32)
    trial_two = np.empty(MOST_COMPANIONS, np.int32)
    complete = True
    depth = 0
    visited = 0
    fresh = True
    while depth >= 0:
        if fresh:
            if depth == hosts:
                for host in range(hosts):
                    host_of[chosen[host]] = host
                    host_of[one[host, choice[host]]] = host
                    host_of[two[host, choice[host]]] = host
                return 1
            visited += 1
            if visited > nodes:
                return -1
            fewest = len(trial_one)
            last = -1
            picked = False
            for vm in range(count):
                if not alive[vm] or (last >= 0 and sizes[vm] == sizes[last]):
                    continue
                last = vm
                found = _companions(sizes, alive, vm, capacity, slack[depth], trial_one, trial_two, fewest)
                if found < fewest or not picked:
                    picked = True
                    fewest = found
                    chosen[depth] = vm
                    choices[depth] = found
                    for place in range(found):
                        one[depth, place] = trial_one[place]
                        two[depth, place] = trial_two[place]
                    if found == 0:
                        break
            if choices[depth] == MOST_COMPANIONS:
                complete = False
            for place in range(choices[depth]):
                other = place + draw(state, choices[depth] - place)
                one[depth, place], one[depth, other] = one[depth, other], one[depth, place]
                two[depth, place], two[depth, other] = two[depth, other], two[depth, place]
            choice[depth] = -1
        choice[depth] += 1
        vm = chosen[depth]
        if choice[depth] < choices[depth]:
            first = one[depth, choice[depth]]
            second = two[depth, choice[depth]]
            alive[vm] = alive[first] = alive[second] = False
            slack[depth + 1] = slack[depth] - (capacity - sizes[vm] - sizes[first] - sizes[second])
            depth += 1
            fresh = True
        else:
            depth -= 1
            fresh = False
            if depth >= 0:
                alive[chosen[depth]] = alive[one[depth, choice[depth]]] = alive[two[depth, choice[depth]]] = True
    return 0 if complete else -1
