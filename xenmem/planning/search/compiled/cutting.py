"""The compiled search for few hosts by patterns: the fractional packing, and dives from it to whole ones.

A pattern is one filling of a hole. The linear program over all patterns, which are generated as they are needed
(Gilmore and Gomory 1961), says how few holes would do if patterns could be used in part; its dual values prove how many
are needed at least. A dive takes what the program uses most, and asks it again of what is left. Sizes and holes are
any unit; arrays as in patterns. Nothing is checked here.
"""

import numpy as np
from numpy.typing import NDArray

from xenmem.columns import Bytes, Floats, Rows
from xenmem.planning.search.compiled.arrays import draw
from xenmem.planning.search.compiled.patterns import SMALL, WORTH, fill, pivot
from xenmem.planning.search.engine import jit

Random = NDArray[np.uint64]

TOO_MANY = 1.0
"""What a hole costs on top that is not there."""
CELLS = 1_000_000
"""Packets times units of a hole up to which the best filling is found by a table of all its fillings at once."""
MANY_CELLS = 40_000_000
"""The same where no better filling was found in another way."""
FILL_NODES = 1_000
AFRESH = 64
"""After so many exchanges of columns the dual values are computed afresh, so that errors do not add up."""
FIX_ABOVE = 0.8
"""A pattern is taken along with the one used most if the program uses so much of it."""


@jit
def best_filling(
    worth: Bytes, size: Bytes, most: Bytes, room: int, unit: int, cells: int, best: Bytes
) -> tuple[int, int]:
    """As `fill` of patterns, items in any order, by a table where that has no more cells; sizes are whole units."""
    best[:] = 0
    if room <= 0:
        return 0, 0
    packets = 0
    for item in range(len(size)):
        left = min(most[item], room // size[item]) if worth[item] > 0 else 0
        while left > 0:
            packets += 1
            left //= 2
    units = room // unit
    if packets * (units + 1) > cells:
        by_worth = np.argsort(-(worth / size))
        order = np.empty(len(size), np.int64)
        count = 0
        for item in by_worth:
            if worth[item] > 0 and size[item] <= room and most[item] > 0:
                order[count] = item
                count += 1
        return fill(order[:count], worth, size, most, room, FILL_NODES, best)
    table = np.zeros(units + 1, np.int64)
    taken = np.zeros((packets, units + 1), np.bool_)
    packet_item, packet_count = np.empty(packets, np.int64), np.empty(packets, np.int64)
    number = 0
    for item in range(len(size)):
        left = min(most[item], room // size[item]) if worth[item] > 0 else 0
        packet = 1
        while left > 0:
            packet = min(packet, left)
            gain, span = packet * worth[item], packet * (size[item] // unit)
            for place in range(units, span - 1, -1):
                with_it = table[place - span] + gain
                if with_it > table[place]:
                    table[place] = with_it
                    taken[number, place] = True
            packet_item[number], packet_count[number] = item, packet
            number += 1
            left -= packet
            packet *= 2
    place = units
    for packet in range(number - 1, -1, -1):
        if taken[packet, place]:
            item = packet_item[packet]
            best[item] += packet_count[packet]
            place -= packet_count[packet] * (size[item] // unit)
    return table[units], table[units]


@jit
def _compress(pattern: Bytes, nonzero: Rows, times: Rows, length: Bytes) -> None:
    """The sizes in a pattern, how many of each, and in length[0] how many sizes."""
    length[0] = 0
    for item in range(len(pattern)):
        if pattern[item] > 0:
            nonzero[length[0]] = item
            times[length[0]] = pattern[item]
            length[0] += 1


@jit
def fractional(
    size: Bytes,
    most: Bytes,
    room: Bytes,
    alike: Bytes,
    cost: Floats,
    unit: int,
    pattern: Bytes,
    its_hole: Bytes,
    known: int,
    work: int,
    dual: Floats,
    used: Floats,
) -> tuple[int, int]:
    """What is left of the work, 0 if the program did not come to its end, and how many patterns are known then.

    `dual` gets the dual values of sizes and holes, `used` how much of each pattern the program uses.

    Parameters
    ----------
    size, most : int64 arrays, shape (sizes,), each size > 0 and how many items have it
    room, alike : int64 arrays, shape (holes,), how large a hole is and how many are like it
    cost : float64 array, shape (holes,), from 0 to 1
    unit : a divisor of all sizes
    pattern, its_hole : int64 arrays, shapes (patterns, sizes), (patterns,); none holds more of a size than there is;
        there is room for as many patterns more as there are sizes
    work : entries of tables to be looked at, some ns each; the first `known` patterns are given
    dual, used : float64 arrays, shapes (sizes + holes,), (patterns,)
    """
    sizes, holes = len(size), len(room)
    rows = sizes + holes
    inverse = np.zeros((rows, rows))
    basic = np.zeros(rows)
    price = np.zeros(rows)
    column_of = np.full(rows, -1, np.int64)
    largest_hole = room.argmax()
    for row in range(rows):
        amount = 1e-7 * (1.0 + (row * 7919) % 101)
        if row >= sizes:
            basic[row] += alike[row - sizes] + amount
            inverse[row, row] = 1.0
            continue
        together = min(most[row], room[largest_hole] // size[row])
        inverse[row, row] = 1.0 / together
        basic[row] = (most[row] + amount) / together
        price[row] = cost[largest_hole]
        pattern[known] = 0
        pattern[known, row] = together
        its_hole[known] = largest_hole
        column_of[row] = known
        known += 1
        inverse[sizes + largest_hole, row] = -1.0 / together
        basic[sizes + largest_hole] -= basic[row]
    if basic[sizes + largest_hole] < 0.0:
        basic[sizes + largest_hole] *= -1.0
        inverse[sizes + largest_hole] *= -1.0
        price[sizes + largest_hole] = TOO_MANY
    worth = np.empty(sizes, np.int64)
    best = np.zeros(sizes, np.int64)
    column = np.empty(rows)
    left_over = 0
    width = min(sizes, int(room[largest_hole] // size.min()))
    nonzero = np.empty((len(pattern), width), np.int32)
    times = np.empty((len(pattern), width), np.int32)
    length = np.zeros(len(pattern) + 1, np.int64)
    for which in range(known):
        _compress(pattern[which], nonzero[which], times[which], length[which:])
    turn = -1
    while work > 0:
        turn += 1
        work -= rows * rows + 4 * known
        if turn % AFRESH == 0:
            dual[:] = 0.0
            for row in range(rows):
                if price[row] != 0.0:
                    for k in range(rows):
                        dual[k] += price[row] * inverse[row, k]
        entering, kind, gain = -1, 0, SMALL
        for item in range(sizes):
            if -dual[item] > gain:
                entering, kind, gain = item, 1, -dual[item]
        for hole in range(holes):
            if dual[sizes + hole] > gain:
                entering, kind, gain = sizes + hole, 0, dual[sizes + hole]
            if -dual[sizes + hole] - TOO_MANY > gain:
                entering, kind, gain = sizes + hole, 3, -dual[sizes + hole] - TOO_MANY
        for which in range(known):
            value = dual[sizes + its_hole[which]] - cost[its_hole[which]]
            for place in range(length[which]):
                value += times[which, place] * dual[nonzero[which, place]]
            if value > gain:
                entering, kind, gain = which, 2, value
        if entering < 0:
            largest = 0.0
            for item in range(sizes):
                largest = max(largest, dual[item])
            if largest <= 0.0:
                left_over = work
                break
            scale = WORTH / largest
            for item in range(sizes):
                worth[item] = int(scale * dual[item]) if dual[item] > 0.0 else 0
            before = known
            for hole in range(holes):
                if alike[hole] == 0:
                    continue
                for cells in (CELLS, MANY_CELLS):
                    work -= min(cells, sizes * (room[hole] // unit))
                    found, limit = best_filling(worth, size, most, room[hole], unit, cells, best)
                    value = dual[sizes + hole] - cost[hole]
                    for item in range(sizes):
                        value += best[item] * dual[item]
                    if value > 1e-6 and known < len(pattern):
                        pattern[known] = best
                        its_hole[known] = hole
                        _compress(best, nonzero[known], times[known], length[known:])
                        known += 1
                        break
                    if found == limit:
                        break
            if known == before:
                left_over = work
                break
            continue
        column[:] = 0.0
        if kind == 0:
            column[:] = inverse[:, entering]
        elif kind != 2:
            column[:] = -inverse[:, entering]
        else:
            for row in range(rows):
                value = inverse[row, sizes + its_hole[entering]]
                for place in range(length[entering]):
                    value += times[entering, place] * inverse[row, nonzero[entering, place]]
                column[row] = value
        leaving = -1
        for row in range(rows):
            if column[row] > SMALL and (leaving < 0 or basic[row] * column[leaving] < basic[leaving] * column[row]):
                leaving = row
        if leaving < 0:
            break
        pivot(inverse, basic, column, leaving)
        for k in range(rows):
            dual[k] -= gain * inverse[leaving, k]
        price[leaving] = 0.0
        column_of[leaving] = -1
        if kind == 2:
            price[leaving] = cost[its_hole[entering]]
            column_of[leaving] = entering
        elif kind == 3:
            price[leaving] = TOO_MANY
    used[:] = 0.0
    for row in range(rows):
        if column_of[row] >= 0:
            used[column_of[row]] = basic[row]
    return left_over, known


@jit
def holes_at_least(size: Bytes, most: Bytes, room: Bytes, alike: Bytes, cost: Floats, unit: int, dual: Floats) -> int:
    """So many holes that cost something are needed at least, by the dual values of `fractional`, in whole numbers."""
    sizes, holes = len(size), len(room)
    worth = np.zeros(sizes, np.int64)
    largest = SMALL
    for item in range(sizes):
        largest = max(largest, dual[item])
    missing = 0
    for item in range(sizes):
        worth[item] = int(WORTH * (dual[item] / largest)) if dual[item] > 0.0 else 0
        missing += worth[item] * most[item]
    best = np.zeros(sizes, np.int64)
    holds = np.empty(holes, np.int64)
    for hole in range(holes):
        holds[hole] = best_filling(worth, size, most, room[hole], unit, MANY_CELLS, best)[1]
        if cost[hole] == 0.0:
            missing -= alike[hole] * holds[hole]
    needed = 0
    for hole in np.argsort(-holds):
        if cost[hole] == 0.0 or missing <= 0:
            continue
        if holds[hole] == 0:
            return int(needed + 1)
        enough = -(-missing // holds[hole])
        number = min(alike[hole], enough)
        needed += number
        missing -= number * holds[hole]
    return int(needed + (1 if missing > 0 else 0))


@jit
def first_fillings(
    size: Bytes, most: Bytes, room: Bytes, alike: Bytes, cost: Floats, pattern: Bytes, its_hole: Bytes, known: int
) -> int:
    """Fill hole after hole, the cheapest and roomiest first, with the largest items that fit; how many are known then.

    Every filling becomes a pattern as often as it is used. Stops where there is no room for another pattern.
    """
    left = most.copy()
    for hole in np.argsort(cost * (2.0 * room.max()) - room):
        for _ in range(alike[hole]):
            free = room[hole]
            if known == len(pattern) or left.max() == 0:
                return known
            pattern[known] = 0
            for item in range(len(size) - 1, -1, -1):
                amount = min(left[item], free // size[item])
                pattern[known, item] = amount
                left[item] -= amount
                free -= amount * size[item]
            its_hole[known] = hole
            if free == room[hole]:
                break
            known += 1
    return known


@jit
def _take(pattern: Bytes, number: int, left: Bytes, size: Bytes, room: int, chosen: Bytes, count: int) -> int:
    """Use a pattern as often as asked, as far as items are left; what room remains takes the largest that fit."""
    for _ in range(number):
        if count == len(chosen):
            break
        free = room
        for item in range(len(size)):
            amount = min(pattern[item], left[item])
            chosen[count, item] = amount
            left[item] -= amount
            free -= amount * size[item]
        for item in range(len(size) - 1, -1, -1):
            amount = min(left[item], free // size[item])
            chosen[count, item] += amount
            left[item] -= amount
            free -= amount * size[item]
        if free == room:
            break
        count += 1
    return count


@jit
def dive(
    size: Bytes,
    most: Bytes,
    room: Bytes,
    alike: Bytes,
    cost: Floats,
    unit: int,
    pattern: Bytes,
    its_hole: Bytes,
    known: int,
    work: int,
    chance: float,
    state: Random,
    chosen: Bytes,
    chosen_hole: Bytes,
) -> tuple[int, int]:
    """Fillings of holes, in `chosen` and `chosen_hole`: their number; and how many patterns are known.

    All items are in them unless holes ran out.

    Parameters
    ----------
    size : int64 array, ascending; this and the rest up to work as for `fractional`
    chance : how far the choice may stray from what the program uses most; from 0
    state : of the random numbers
    chosen, chosen_hole : int64 arrays, shapes (all holes, sizes), (all holes,)
    """
    sizes, holes = len(size), len(room)
    left, idle = most.copy(), alike.copy()
    count = 0
    few = np.zeros((len(pattern) + len(chosen) + sizes, sizes), np.int64)
    few_hole = np.zeros(len(few), np.int64)
    full = np.zeros(sizes, np.int64)
    while left.max() > 0 and count < len(chosen) and work > 0:
        kept = np.flatnonzero(left > 0)
        those = 0
        for which in range(known):
            proper = idle[its_hole[which]] > 0
            something = False
            for item in range(sizes):
                if pattern[which, item] > left[item]:
                    proper = False
                    break
                something = something or pattern[which, item] > 0
            if proper and something:
                for place in range(len(kept)):
                    few[those, place] = pattern[which, kept[place]]
                few_hole[those] = its_hole[which]
                those += 1
        dual = np.zeros(len(kept) + holes)
        used = np.zeros(len(few))
        part = np.zeros((len(few), len(kept)), np.int64)
        for which in range(those):
            for place in range(len(kept)):
                part[which, place] = few[which, place]
        before = those
        those = first_fillings(size[kept], left[kept], room, idle, cost, part, few_hole, those)
        work, those = fractional(
            size[kept], left[kept], room, idle, cost, unit, part, few_hole, those, work, dual, used
        )
        for which in range(before, those):
            if known < len(pattern):
                pattern[known] = 0
                for place in range(len(kept)):
                    pattern[known, kept[place]] = part[which, place]
                its_hole[known] = few_hole[which]
                known += 1
        weight = used[:those].copy()
        for which in range(those):
            if weight[which] > SMALL and chance > 0.0:
                weight[which] += chance * draw(state, 1000) / 1000.0
        progressed = False
        for which in np.argsort(-weight):
            number = int(used[which] + 1e-4)
            hole = few_hole[which]
            if number == 0:
                if used[which] < SMALL or (progressed and used[which] < FIX_ABOVE):
                    continue
                number = 1
            number = min(number, idle[hole])
            full[:] = 0
            for place in range(len(kept)):
                full[kept[place]] = part[which, place]
                if part[which, place] > left[kept[place]]:
                    number = 0
            first = count
            count = _take(full, number, left, size, room[hole], chosen, count)
            chosen_hole[first:count] = hole
            idle[hole] -= count - first
            progressed = progressed or count > first
        if not progressed:
            break
    full[:] = 0
    for hole in np.argsort(-room):
        first = count
        count = _take(full, idle[hole], left, size, room[hole], chosen, count)
        chosen_hole[first:count] = hole
    return count, known
