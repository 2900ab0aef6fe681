"""Failover by plain enumeration, for small pools: it shares nothing with the planners, and knows lists only."""

from itertools import combinations

Pool = tuple[list[int], list[int], list[int]]
"""Free memory by host, size by VM, host by VM; -1 for a VM that runs nowhere."""


def fits(sizes: list[int], holes: list[int], may: list[list[bool]] | None = None) -> bool:
    """All sizes fit into the holes."""
    return any(True for _ in packings(sizes, holes, may))


def fits_by_states(sizes: list[int], holes: list[int]) -> bool:
    """The same, size after size: all that the holes can be left with, whichever hole is which."""
    states = {tuple(sorted(room for room in holes if room >= 0))}
    for size in sorted(sizes, reverse=True):
        states = {
            tuple(sorted((*left[:hole], room - size, *left[hole + 1 :])))
            for left in states
            for hole, room in enumerate(left)
            if room >= size
        }
    return bool(states)


def packings(sizes, holes, may=None):  # type: ignore[no-untyped-def]
    """Every way to put the sizes into the holes, as lists of holes."""
    if not sizes:
        yield []
        return
    for hole, room in enumerate(holes):
        if room >= sizes[0] and (may is None or may[0][hole]):
            left = [*holes[:hole], room - sizes[0], *holes[hole + 1 :]]
            for rest in packings(sizes[1:], left, None if may is None else may[1:]):
                yield [hole, *rest]


def survives_set(pool: Pool, failed: tuple[int, ...], may: list[list[bool]] | None = None) -> bool:
    """There is a full restart once these hosts have failed."""
    free, size, host = pool
    moving = sorted((vm for vm in range(len(size)) if host[vm] in failed or host[vm] < 0), key=lambda vm: -size[vm])
    holes = [-1 if h in failed else room for h, room in enumerate(free)]
    return fits([size[vm] for vm in moving], holes, None if may is None else [may[vm] for vm in moving])


def survives_together(pool: Pool, n: int, may: list[list[bool]] | None = None) -> bool:
    """There is one for every set of n hosts."""
    return all(survives_set(pool, failed, may) for failed in combinations(range(len(pool[0])), n))


def survives_one_by_one(pool: Pool, n: int, dead: frozenset[int] = frozenset()) -> bool:
    """Some policy survives every order of n failures, VMs that run nowhere being started at once."""
    free, size, host = pool
    waiting = [vm for vm in range(len(size)) if host[vm] < 0]
    holes = [-1 if h in dead else room for h, room in enumerate(free)]
    for found in packings([size[vm] for vm in waiting], holes):
        now_on, left = list(host), list(holes)
        for vm, h in zip(waiting, found, strict=True):
            now_on[vm] = h
            left[h] -= size[vm]
        if n == 0:
            return True
        for failing in set(range(len(free))) - dead:
            after = [-1 if h == failing else h for h in now_on]
            if not survives_one_by_one((left, size, after), n - 1, dead | {failing}):
                break
        else:
            return True
    return False
