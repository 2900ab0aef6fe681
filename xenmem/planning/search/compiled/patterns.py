"""The compiled proof that sizes do not go into holes, which counts what every single hole can hold at best.

Each size gets a worth. No packing exists if all items together are worth more than the holes can hold, each filled for
itself with the items worth most. The worths are the dual values of a linear program over patterns, the fillings of one
hole, which are generated as they are needed (Gilmore and Gomory 1961); the program runs in floating point, but what is
believed is only the comparison of integers at the end. Sizes and holes are any unit. Nothing is checked here.
"""

import numpy as np

from xenmem.columns import Bools, Bytes, Floats
from xenmem.planning.search.engine import jit

WORTH = 1 << 24
"""What the largest dual value is scaled to: a sum over all items stays far below 2**53, so that bounds are exact."""
FILL_NODES = 4_000
ROUNDED_WORTH = 1 << 11
FINELY_ROUNDED_WORTH = 1 << 15
"""The same where holes are filled by a table of all worths: it has some 10**4 or 10**6 entries."""
SMALL = 1e-9


@jit
def _best_rest(order: Bytes, first: int, worth: Bytes, size: Bytes, most: Bytes, room: int) -> int:
    """No less than what the items from place `first` of the order on are worth in this room, the last one in parts."""
    total = 0
    for place in range(first, len(order)):
        item = order[place]
        count = min(most[item], room // size[item])
        total += count * worth[item]
        room -= count * size[item]
        if count < most[item]:
            return int(total + int(worth[item] * (room / size[item]) + 1e-3))
    return int(total)


@jit
def fill(order: Bytes, worth: Bytes, size: Bytes, most: Bytes, room: int, nodes: int, best: Bytes) -> tuple[int, int]:
    """What the best filling found is worth, with the filling in `best`, and what none exceeds: equal if all were seen.

    `order` holds the items that come into question, those worth most for their size first; most[i] is how many there
    are. Depth first, as many of each as there is room for.
    """
    chosen = np.zeros(len(order), np.int64)
    best[:] = 0
    most_worth, now, place = 0, 0, 0
    limit = _best_rest(order, 0, worth, size, most, room)
    for _ in range(nodes):
        while place < len(order):
            item = order[place]
            chosen[place] = min(most[item], room // size[item])
            now += chosen[place] * worth[item]
            room -= chosen[place] * size[item]
            place += 1
        if now > most_worth:
            most_worth = now
            best[:] = 0
            for used in range(len(order)):
                best[order[used]] = chosen[used]
            if most_worth == limit:
                return most_worth, limit
        while True:
            place -= 1
            if place < 0:
                return most_worth, most_worth
            if chosen[place] == 0:
                continue
            item = order[place]
            chosen[place] -= 1
            now -= worth[item]
            room += size[item]
            if now + _best_rest(order, place + 1, worth, size, most, room) > most_worth:
                place += 1
                break
            now -= chosen[place] * worth[item]
            room += chosen[place] * size[item]
            chosen[place] = 0
    return most_worth, limit


@jit
def packets_of(
    worth: Bytes, size: Bytes, most: Bytes, may: Bools, hole: int, room: int, few: Bytes
) -> tuple[int, int, int]:
    """Of the items that may go into a hole and are worth anything, which, into `few`, those worth most for their size
    first: how many these are, in how many packets of 1, 2, 4 and so on they come, and what `room` holds at most."""
    packets, count = 0, 0
    for item in np.argsort(-(worth / size)):
        if worth[item] > 0 and may[item, hole] and size[item] <= room:
            few[count] = item
            count += 1
            left = min(most[item], room // size[item])
            while left > 0:
                packets += 1
                left //= 2
    return count, packets, _best_rest(few[:count], 0, worth, size, most, room)


@jit
def smallest_with(
    few: Bytes,
    worth: Bytes,
    size: Bytes,
    most: Bytes,
    room: int,
    smallest: Bytes,
    taken: Bools,
    packet_item: Bytes,
    packet_count: Bytes,
) -> None:
    """smallest[w]: the least room in which the few items are worth w or more; up to what `room` can hold.

    Of each packet the item, and how many of it; and taken[p, w], whether packet p is in that filling as far as packets
    up to p are: there is nothing in `taken` at first, and no row where that is not to be remembered.
    """
    limit = len(smallest) - 1
    smallest[:] = room + 1
    smallest[0] = 0
    reached, number = 0, 0
    for item in few:
        left, packet = min(most[item], room // size[item]), 1
        while left > 0:
            packet = min(packet, left)
            more, larger = packet * worth[item], packet * size[item]
            reached = min(limit, reached + more)
            for value in range(reached, 0, -1):
                with_it = smallest[max(0, value - more)] + larger
                if with_it < smallest[value]:
                    smallest[value] = with_it
                    if len(taken) > 0:
                        taken[number, value] = True
            packet_item[number], packet_count[number] = item, packet
            number += 1
            left -= packet
            packet *= 2


@jit
def compare(
    dual: Floats,
    largest_worth: int,
    size: Bytes,
    most: Bytes,
    may: Bools,
    room: Bytes,
    alike: Bytes,
    pattern: Bytes,
    its_hole: Bytes,
    known: int,
) -> tuple[bool, int]:
    """The comparison that counts: all items are worth more than the holes hold, in whole numbers.

    If they are not, fillings that are worth more than their holes have so far become patterns, as far as there is room
    for these; then it gives how many there are.
    """
    sizes, holes = len(size), len(room)
    worth = np.empty(sizes, np.int64)
    total, held = 0, 0
    for item in range(sizes):
        worth[item] = int(largest_worth * dual[item] + 0.5) if dual[item] > 0.0 else 0
        total += most[item] * worth[item]
    done = np.zeros(holes, np.bool_)
    few = np.empty(sizes, np.int64)
    remember = known < len(pattern)
    for hole in range(holes):
        if done[hole]:
            continue
        largest = room[hole]
        for other in range(hole, holes):
            if (may[:, other] == may[:, hole]).all():
                largest = max(largest, room[other])
        count, packets, limit = packets_of(worth, size, most, may, hole, largest, few)
        smallest = np.empty(limit + 1, np.int64)
        taken = np.zeros((packets if remember else 0, limit + 1), np.bool_)
        packet_item, packet_count = np.empty(packets, np.int64), np.empty(packets, np.int64)
        smallest_with(few[:count], worth, size, most, largest, smallest, taken, packet_item, packet_count)
        for other in range(hole, holes):
            if done[other] or not (may[:, other] == may[:, hole]).all():
                continue
            done[other] = True
            low, high = 0, len(smallest)
            while high - low > 1:
                middle = (low + high) // 2
                if smallest[middle] <= room[other]:
                    low = middle
                else:
                    high = middle
            held += alike[other] * low
            if remember and known < len(pattern):
                pattern[known] = 0
                gain = dual[sizes + other]
                for packet in range(len(taken) - 1, -1, -1):
                    if taken[packet, low]:
                        item = packet_item[packet]
                        pattern[known, item] += packet_count[packet]
                        gain += packet_count[packet] * dual[item]
                        low = max(0, low - packet_count[packet] * worth[item])
                if gain > SMALL:
                    its_hole[known] = other
                    known += 1
    return total > held, known


@jit
def pivot(inverse: Floats, basic: Floats, column: Floats, leaving: int) -> None:
    """Exchange one column of the basis: `column` is the entering one in terms of the old basis."""
    rows = len(basic)
    pivot = column[leaving]
    inverse[leaving] /= pivot
    basic[leaving] /= pivot
    for row in range(rows):
        factor = column[row]
        if row != leaving and factor != 0.0:
            for k in range(rows):
                inverse[row, k] -= factor * inverse[leaving, k]
            basic[row] -= factor * basic[leaving]


@jit
def proves_none(size: Bytes, most: Bytes, may: Bools, room: Bytes, alike: Bytes, pivots: int, patterns: int) -> bool:
    """True only if not all items fit; found by at most so many exchanges of columns and patterns.

    Parameters
    ----------
    size, most : int64 arrays, shape (sizes,), each size > 0 and how many items have it
    may : bool array, shape (sizes, holes), which may go where
    room, alike : int64 arrays, shape (holes,), how large a hole is and how many are like it

    Notes
    -----
    The program: every item is in a pattern or left out, every hole has one pattern; the least memory is left out. The
    columns of its basis are items left out, holes left empty, items packed too often, and patterns. The right side is
    disturbed a little, so that no exchange goes in circles.
    """
    sizes, holes = len(size), len(room)
    rows = sizes + holes
    cost = size / size.max()
    inverse = np.eye(rows)
    basic = np.empty(rows)
    basic[:sizes] = most
    basic[sizes:] = alike
    for row in range(rows):
        basic[row] += 1e-7 * (1.0 + (row * 7919) % 101)
    price = np.zeros(rows)
    price[:sizes] = cost
    pattern = np.zeros((patterns, sizes), np.int64)
    its_hole = np.zeros(patterns, np.int64)
    known = 0
    worth = np.empty(sizes, np.int64)
    order = np.empty(sizes, np.int64)
    best = np.zeros(sizes, np.int64)
    column = np.empty(rows)
    for _ in range(pivots):
        left_out = 0.0
        dual = np.zeros(rows)
        for row in range(rows):
            if price[row] != 0.0:
                left_out += price[row] * basic[row]
                for k in range(rows):
                    dual[k] += price[row] * inverse[row, k]
        if left_out < 1e-4:
            return False
        entering, kind, gain = -1, 0, SMALL
        for item in range(sizes):
            if dual[item] - cost[item] > gain:
                entering, kind, gain = item, 0, dual[item] - cost[item]
            if -dual[item] > gain:
                entering, kind, gain = item, 1, -dual[item]
        for hole in range(holes):
            if dual[sizes + hole] > gain:
                entering, kind, gain = sizes + hole, 0, dual[sizes + hole]
        for which in range(known):
            value = dual[sizes + its_hole[which]]
            for item in range(sizes):
                value += pattern[which, item] * dual[item]
            if value > gain:
                entering, kind, gain = which, 2, value
        if entering < 0:
            for item in range(sizes):
                worth[item] = int(WORTH * dual[item]) if dual[item] > 0.0 else 0
            by_worth = np.argsort(-(worth / size))
            total, held = 0, 0
            for item in range(sizes):
                total += most[item] * worth[item]
            before = known
            for hole in range(holes):
                count = 0
                for item in by_worth:
                    if worth[item] > 0 and size[item] <= room[hole] and may[item, hole]:
                        order[count] = item
                        count += 1
                value, limit = fill(order[:count], worth, size, most, room[hole], FILL_NODES, best)
                held += alike[hole] * limit
                if value / WORTH + dual[sizes + hole] > SMALL and known < patterns:
                    pattern[known] = best
                    its_hole[known] = hole
                    known += 1
            if total > held:
                return True
            if known == before:
                arrays = (size, most, may, room, alike)
                proved, known = compare(dual, ROUNDED_WORTH, *arrays, pattern, its_hole, known)
                if not proved and known == before:
                    proved, _ = compare(dual, FINELY_ROUNDED_WORTH, *arrays, pattern[:0], its_hole, 0)
                if proved or known == before:
                    return proved
            continue
        column[:] = 0.0
        if kind == 0:
            column[:] = inverse[:, entering]
        elif kind == 1:
            column[:] = -inverse[:, entering]
        else:
            for row in range(rows):
                value = inverse[row, sizes + its_hole[entering]]
                for item in range(sizes):
                    if pattern[entering, item] > 0:
                        value += pattern[entering, item] * inverse[row, item]
                column[row] = value
        leaving = -1
        for row in range(rows):
            if column[row] > SMALL and (leaving < 0 or basic[row] * column[leaving] < basic[leaving] * column[row]):
                leaving = row
        if leaving < 0:
            return False
        pivot(inverse, basic, column, leaving)
        price[leaving] = cost[entering] if kind == 0 and entering < sizes else 0.0
    return False
