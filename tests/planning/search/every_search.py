"""Ask the compiled searches random questions and print what each answers and changes, as one digest a search.

A program of its own, so that XENMEM_SEARCHES says which engine answers; see test_engines.py.
"""

import hashlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.random import Generator

from xenmem.planning.search.compiled import (
    arrays,
    biggest_fit,
    branch_and_bound,
    cutting,
    displace,
    failure_sets,
    feasibility,
    first_fit,
    leveling,
    patterns,
    repack,
    triplets,
)
from xenmem.planning.search.engine import engine

Question = tuple[Callable[..., Any], tuple[Any, ...]]
I32, I64, BOOL = np.int32, np.int64, np.bool_


def placed(random: Generator, vms: int, hosts: int) -> tuple[Any, arrays.Where]:
    """Sizes in descending order, and where VMs may go; some of these in groups."""
    sizes = np.sort(random.integers(1, 60, vms))[::-1].astype(I64)
    kinds = random.integers(0, 3, vms).astype(I32)
    allowed = random.random((3, hosts)) < 0.8
    start = np.concatenate([[0], np.cumsum(random.integers(0, 2, vms))]).astype(I32)
    groups = random.integers(0, 3, start[-1]).astype(I32)
    return sizes, arrays.Where(kinds, allowed, start, groups, np.zeros((3, hosts), I32))


def packings(random: Generator) -> Iterator[Question]:
    """First fit, local search, branch and bound, moving aside, evening out."""
    vms, hosts = int(random.integers(3, 40)), int(random.integers(2, 9))
    sizes, where = placed(random, vms, hosts)
    free = random.integers(0, 2 * sizes.sum() // hosts, hosts)
    state = np.array([random.integers(1, 1 << 62)], np.uint64)
    order, host_order = random.permutation(vms), random.permutation(hosts)
    host_of = np.full(vms, -1, I32)
    yield first_fit.first_fit, (order, host_order, sizes, where, free, host_of)
    yield first_fit.closest_fit, (order, *placed(random, vms, hosts), free, np.full(vms, -1, I32), bool(vms % 2))
    first_fit.first_fit(order, host_order, sizes, where, free, host_of)
    yield repack.repack, (sizes, where, free, host_of, state, 20_000)
    weight = random.integers(1, 3, vms)
    cost = weight * arrays.MOVE + sizes
    edges, grains = np.array([30, 20, 40]), np.array([10, 20, 7])
    best, progress = np.full(vms, -1, I32), np.array([20 * arrays.MOVE])
    tune = np.array([30.0, float(random.random()), 0.001])
    every = bool(random.integers(2))
    aside = (where, free, host_of, edges, grains, every, tune, state, best, progress, 20_000)
    yield displace.displace, (sizes, weight, cost, *aside)
    waiting = np.flatnonzero(host_of < 0).astype(I32)
    yield displace.displaced_at_least, (sizes, waiting, len(waiting), free, edges, grains, np.zeros(1, I32))
    everywhere = (sizes, weight, where._replace(allowed=np.ones((3, hosts), bool)))
    room = random.integers(sizes.sum() // hosts, 2 * sizes.sum(), hosts)
    origin = random.integers(0, hosts, vms).astype(I32)
    yield leveling.even_out, (*everywhere, room, origin, 6, 0, origin.copy(), 300)
    few = everywhere[2]._replace(kind_of=where.kind_of[:8], group_start=where.group_start[:9])
    ways = (sizes[:8], weight[:8], few, room, origin[:8])
    yield leveling.every_way, (*ways, 3, int(room.max()), origin[:8].copy(), 5_000)


def branching(random: Generator) -> Iterator[Question]:
    vms, hosts = int(random.integers(2, 10)), int(random.integers(2, 5))
    sizes, where = placed(random, vms, hosts)
    free = random.integers(0, 2 * sizes.sum() // hosts, hosts)
    skip = np.where(random.random(vms) < 0.5, arrays.NEVER, random.integers(1, 90, vms))
    origin = random.integers(0, hosts, vms).astype(I32)
    yield (
        branch_and_bound.branch,
        (
            sizes,
            where,
            free,
            skip,
            random.integers(0, 20, hosts),
            origin,
            random.integers(0, 9, vms),
            random.integers(9, 12, (vms, hosts)) * (np.arange(hosts) != origin[:, np.newaxis]),
            np.zeros(vms, bool),
            np.arange(hosts, dtype=I32),
            np.argsort(skip / sizes),
            np.argsort(-free),
            np.concatenate([np.cumsum(sizes[::-1])[::-1], [0]]),
            np.zeros((vms, hosts + 1), I32),
            np.zeros(vms, I32),
            np.full(vms, -1, I32),
            np.zeros(hosts, I32),
            np.zeros(vms + 1, I64),
            np.array([0, arrays.NEVER]),
            np.full(vms, -1, I32),
            0,
            20_000,
        ),
    )


def holes(random: Generator) -> Iterator[Question]:
    """Whether sizes go into holes, and proofs that they do not."""
    items, count = int(random.integers(1, 30)), int(random.integers(1, 8))
    sizes = np.sort(random.integers(5, 60, items))[::-1].astype(I64)
    rule = random.integers(-1, 2, items).astype(I32) * (random.random() < 0.5)
    rules = random.random((2, count)) < 0.7
    free = random.integers(0, 2 * sizes.sum() // count + 1, count)
    for function in (feasibility.best_fit, feasibility.worst_fit, feasibility.fill_smallest):
        yield function, (sizes, rule, rules, free.copy(), np.zeros(items, I32))
    yield feasibility.pack, (sizes, rule, rules, free, np.zeros(items, I32), 3_000)
    different, most = np.unique(sizes, return_counts=True)
    may, alike = random.random((len(different), count)) < 0.8, random.integers(1, 4, count)
    yield patterns.proves_none, (different, most, may, free, alike, 200, 100)
    size = np.sort(random.choice(np.arange(150, 380), 9, replace=False)).astype(I64)
    most, room, alike = random.integers(1, 9, 9), np.array([1000, 900]), np.array([12, 10])
    cost, known = np.array([1.0, 0.8]), 0
    pattern, its_hole = np.zeros((300, 9), I64), np.zeros(300, I64)
    dual, used = np.zeros(11), np.zeros(300)
    solved = (size, most, room, alike, cost, 1, pattern, its_hole, known, 5_000_000, dual, used)
    yield cutting.fractional, solved
    cutting.fractional(*solved)
    yield cutting.holes_at_least, (size, most, room, alike, cost, 1, dual)
    state = np.array([random.integers(1, 1 << 62)], np.uint64)
    chosen = (np.zeros((22, 9), I64), np.zeros(22, I64))
    yield cutting.dive, (size, most, room, alike, cost, 1, pattern, its_hole, 9, 5_000_000, 0.2, state, *chosen)
    three = np.sort(np.concatenate([(cuts := random.integers(30, 36, (6, 2))).ravel(), 100 - cuts.sum(axis=1)]))
    yield triplets.triplets, (three[::-1].astype(I64), 100, np.zeros(18, I32), state, 3_000)


def failures(random: Generator) -> Iterator[Question]:
    hosts, n = int(random.integers(2, 8)), 2
    count = random.integers(0, 5, hosts + 1)
    first = np.concatenate([[0], np.cumsum(count)]).astype(I32)
    size = np.concatenate([np.sort(random.integers(1, 40, k))[::-1] for k in count]).astype(I64)
    rule = np.where(random.random(len(size)) < 0.8, -1, 0).astype(I32)
    rules, free = random.random((1, hosts)) < 0.7, random.integers(0, 90, hosts)
    earlier = np.zeros((hosts, 1), I64)
    yield failure_sets.dominators, (size, rule, rules, first, free, earlier)
    failure_sets.dominators(size, rule, rules, first, free, earlier)
    weight, heaviest = np.zeros((2, hosts), I64), np.zeros((2, hosts + 1, n + 1), I64)
    bounds = (np.array([1, 20]), np.array([19, 40]))
    yield failure_sets.weights, (size, rule, first, free, *bounds, False, weight)
    failure_sets.weights(size, rule, first, free, *bounds, False, weight)
    failure_sets.heaviest_after(weight, n, heaviest)
    walk = (size, rule, rules, first, free, earlier, weight, heaviest, np.array([90, 120]), np.zeros(n, I32))
    yield failure_sets.walk, (*walk, 300, 500, np.zeros((9, n), I32), np.zeros(4, I64))
    alive, home = np.ones(hosts, bool), random.integers(-1, hosts, len(size)).astype(I32)
    yield failure_sets.first_unsafe, (np.sort(size)[::-1].copy(), rule, rules, home, alive, free, 300)
    order = np.argsort(-size).astype(I64)
    vms, to = np.zeros(len(size), I32), np.zeros(len(size), I32)
    yield biggest_fit.assign, (order, size, free, vms, to)
    ring = np.arange(len(size))
    yield biggest_fit.survives_every_order, (size, np.maximum(home, 0), ring, free, n)


def copied(argument: Any) -> Any:
    if isinstance(argument, arrays.Where):
        return arrays.Where(*(part.copy() for part in argument))
    return argument.copy() if isinstance(argument, np.ndarray) else argument


def main() -> None:
    random = np.random.default_rng(20)
    digests: dict[str, Any] = {}
    for _ in range(int(sys.argv[1])):
        for function, arguments in (
            question for family in (packings, branching, holes, failures) for question in family(random)
        ):
            own = [copied(one) for one in arguments]
            answer = function(*own)
            digest = digests.setdefault(function.__name__, hashlib.sha256())
            digest.update(repr(answer).encode())
            for one in own:
                for part in one if isinstance(one, tuple) else (one,):
                    digest.update(part.tobytes() if isinstance(part, np.ndarray) else b"")
    print(engine())
    for name, digest in sorted(digests.items()):
        print(name, digest.hexdigest())


if __name__ == "__main__":
    main()
