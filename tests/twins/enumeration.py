"""The packing questions by trying every placement, for a handful of VMs: the twin of solver.py, without a library.

Plain lists in, a number out, None if not all VMs can be placed. Imports nothing.
"""

from collections.abc import Iterator, Sequence


def best(
    sizes: Sequence[int],
    free: Sequence[int],
    objective: str,
    *,
    allowed: Sequence[Sequence[bool]] | None = None,
    groups: Sequence[Sequence[int]] = (),
    same_host: Sequence[Sequence[int]] = (),
    origin: Sequence[int] | None = None,
    weights: Sequence[int] | None = None,
    copied: Sequence[int] | None = None,
) -> int | None:
    """The best value: weight placed, hosts in use, memory left on the fullest host, or the price of the migrations."""
    found: int | None = None
    for place in placements(sizes, [max(room, 0) for room in free], allowed, objective == "all"):
        if any(len({place[vm] for vm in group}) > 1 for group in same_host):
            continue
        if any(place[a] == place[b] >= 0 for group in groups for a in group for b in group if a < b):
            continue
        if objective == "all":
            value = sum((weights or [1] * len(sizes))[vm] for vm, host in enumerate(place) if host >= 0)
        elif objective == "fewest-hosts":
            value = -len(set(place))
        elif objective == "even":
            value = min(room - sum(sizes[vm] for vm, on in enumerate(place) if on == h) for h, room in enumerate(free))
        else:
            assert origin is not None
            moved = [vm for vm, host in enumerate(place) if origin[vm] not in (-1, host)]
            value = -sum(1 if copied is None else 1000 + copied[vm] for vm in moved)
        found = value if found is None else max(found, value)
    return found if found is None or objective in ("all", "even") else -found


def placements(
    sizes: Sequence[int], room: list[int], allowed: Sequence[Sequence[bool]] | None, partly: bool
) -> Iterator[tuple[int, ...]]:
    """Every way to put the VMs onto hosts with so much room; if `partly`, also nowhere, -1."""
    if not sizes:
        yield ()
        return
    vm = len(sizes) - 1
    if partly:
        for rest in placements(sizes[:vm], room, allowed, partly):
            yield (*rest, -1)
    for host in range(len(room)):
        if room[host] >= sizes[vm] and (allowed is None or allowed[vm][host]):
            room[host] -= sizes[vm]
            for rest in placements(sizes[:vm], room, allowed, partly):
                yield (*rest, host)
            room[host] += sizes[vm]
