"""The hosts of a pool kept sorted by what is left of them, and the weighted draw of one that suits a VM.

The sums, values and draws are those of xenmem.planning.xapi.placement, which answers for host lists that are not the
whole pool; for the whole pool the same choice is found in sorted lists, without looking at every host. Amounts are
bytes. Source: docs/reference/messages.md, 6; docs/reference/planning.md, 5 (xapi-project/xen-api,
ocaml/xapi/vm_placement.ml).
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from xenmem.planning.xapi import placement as planning

if TYPE_CHECKING:
    from xenmem.xenapi.store import rows
    from xenmem.xenapi.store.database import Database

IsValid = Callable[[str], bool]
Draw = Callable[[], float]

_COMPRESSION: Final = planning.COMPRESSION_RATIO_RESOLUTION


class Room(NamedTuple):
    """What is left of a host under each policy, or what a VM takes of it: bytes, overheads included."""

    static_max: int
    dynamic_max: int
    dynamic_min: int


KeyOf = Callable[["rows.host", int, int], int]


def size_of(database: "Database", host: "rows.host") -> int | None:
    """What a host has for VMs; None without metrics."""
    metrics = database.host_metrics.rows.get(host.metrics)
    return metrics.memory_total - host.memory_overhead if metrics is not None else None


def room_of(host: "rows.host", size: int) -> Room:
    """What is left of a host that has so much for VMs; negative where it is overcommitted."""
    return Room(size - host.used_static_max, size - host.used_dynamic_max, size - host.used_dynamic_min)


def taken_by(vm: "rows.VM") -> Room:
    """What a VM takes of a host."""
    overhead = vm.memory_overhead
    return Room(vm.memory_static_max + overhead, vm.memory_dynamic_max + overhead, vm.memory_dynamic_min + overhead)


def possible(room: Room, taken: Room) -> int:
    """How little guests must shrink, in thousandths; negative where that is not enough (VP: category possible)."""
    probable = room.dynamic_max - taken.dynamic_max
    if probable >= 0:
        return _COMPRESSION
    slack = room.dynamic_min - taken.dynamic_min
    return planning.OUTSIDE if slack < 0 else _COMPRESSION * slack // (slack - probable)


def disfavoured(value: int) -> int:
    """A value of the coordinator where the pool would rather start VMs elsewhere: (value - 1) / 2, toward zero."""
    return (value - 1) // 2 if value > 0 else -((1 - value) // 2)


class _Order:
    """Hosts in ascending order of a key, the last bits of which are the host's rank among the references.

    Parameters
    ----------
    database : its hosts are followed change by change, when the order is asked for
    key_of : of a host, what it has for VMs, and its rank
    """

    __slots__ = ("_database", "_key_of", "_keys_by_ref", "_seen", "keys")

    def __init__(self, database: "Database", key_of: "KeyOf") -> None:
        self._database = database
        self._key_of = key_of
        self._keys_by_ref: dict[str, int] = {}
        self._seen = 0
        self.keys: list[int] = []

    def rebuild(self, ranks: Mapping[str, int], left_out: str) -> None:
        """Begin anew with some hosts, all but one of them."""
        self._keys_by_ref = {}
        for ref, rank in ranks.items():
            host = self._database.host[ref]
            size = size_of(self._database, host)
            if size is not None and ref != left_out:
                self._keys_by_ref[ref] = self._key_of(host, size, rank)
        self.keys = sorted(self._keys_by_ref.values())
        self._seen = self._database.recounts

    def follow(self) -> None:
        """Take in what changed."""
        database, keys, keys_by_ref = self._database, self.keys, self._keys_by_ref
        if database.recounts != self._seen:
            for ref in database.recounted_since(self._seen):
                old = keys_by_ref.get(ref)
                if old is None:
                    continue
                host = database.host.rows[ref]
                size = size_of(database, host)
                if size is None:
                    continue
                new = self._key_of(host, size, old & _RANK)
                if new != old:
                    del keys[bisect_left(keys, old)]
                    insort(keys, new)
                    keys_by_ref[ref] = new
            self._seen = database.recounts


_RANK_BITS: Final = 20
_RANK: Final = (1 << _RANK_BITS) - 1
_AMOUNT_BITS: Final = 64
_HALF: Final = 1 << (_AMOUNT_BITS - 1)


def _key(amount: int, rank: int) -> int:
    """Sorts by an amount, the largest first, then by rank."""
    return (-amount << _RANK_BITS) + rank


def _key_of_two(first: int, second: int, rank: int) -> int:
    """Sorts by two amounts, the largest first, then by rank."""
    bounded = max(-_HALF + 1, min(_HALF, second))
    return (-first << (_RANK_BITS + _AMOUNT_BITS)) + ((_HALF - bounded) << _RANK_BITS) + rank


def _by_static_max(host: "rows.host", size: int, rank: int) -> int:
    return _key(size - host.used_static_max, rank)


def _by_dynamic_max(host: "rows.host", size: int, rank: int) -> int:
    return _key_of_two(size - host.used_dynamic_max, size - host.used_static_max, rank)


def _by_dynamic_min(host: "rows.host", size: int, rank: int) -> int:
    return _key(size - host.used_dynamic_min, rank)


class Ranking:
    """The hosts of a pool, all but the coordinator sorted by what is left of them.

    Parameters
    ----------
    database : its hosts are followed change by change

    Notes
    -----
    A start costs the logarithm of the number of hosts, as long as the first host that is drawn is valid. If the drawn
    one is not, the hosts of the category are listed; the category `possible` is sorted when it is needed.
    """

    def __init__(self, database: "Database") -> None:
        self._database = database
        self._seen = -1
        self._refs: tuple[str, ...] = ()
        self._ranks: dict[str, int] = {}
        self._coordinator = ""
        self._by_static_max = _Order(database, _by_static_max)
        self._by_dynamic_max = _Order(database, _by_dynamic_max)
        self._by_dynamic_min = _Order(database, _by_dynamic_min)

    def _follow(self) -> None:
        """Begin anew if there are other hosts or metrics, or another coordinator."""
        database = self._database
        if database.regroupings != self._seen:
            self._seen = database.regroupings
            self._refs, self._coordinator = database.host.refs(), database.the_pool.master
            self._ranks = {ref: rank for rank, ref in enumerate(self._refs)}
            for order in (self._by_static_max, self._by_dynamic_max, self._by_dynamic_min):
                order.rebuild(self._ranks, self._coordinator)

    def _room(self, ref: str) -> Room | None:
        host = self._database.host.rows.get(ref)
        size = size_of(self._database, host) if host is not None else None
        return room_of(host, size) if host is not None and size is not None else None

    def select(self, vm: "rows.VM", *, bias: bool, is_valid: IsValid, draw: Draw) -> str | None:
        """A host out of the whole pool, from the first category that has a valid one.

        Parameters
        ----------
        vm : what is to be placed
        bias : the coordinator is disfavoured
        is_valid : asked of hosts as they are drawn
        draw : gives numbers in [0, 1), as they are used

        Returns
        -------
        str : the host's reference; None if there is none
        """
        self._follow()
        gone: set[str] = set()
        affinity = self._room(vm.affinity) if vm.affinity in self._ranks else None
        if affinity is not None and possible(affinity, taken_by(vm)) >= 0:
            draw()
            if is_valid(vm.affinity):
                return vm.affinity
            gone.add(vm.affinity)

        database = self._database
        coordinator = database.host.rows.get(self._coordinator)
        size = size_of(database, coordinator) if coordinator is not None else None
        static_max = vm.memory_static_max + vm.memory_overhead
        definite = planning.OUTSIDE
        if coordinator is not None and size is not None:
            definite = size - coordinator.used_static_max - static_max
            if bias:
                definite = disfavoured(definite)

        self._by_static_max.follow()
        keys = self._by_static_max.keys
        inside = bisect_right(keys, _key(static_max, _RANK))
        place = None
        if definite >= 0:
            place = bisect_left(keys, _key(definite + static_max, self._ranks[self._coordinator]))
        chosen = self._draw_from(keys, inside, place, gone, is_valid, draw)
        if chosen is None:
            chosen = self._select_squeezed(vm, definite, gone, bias=bias, is_valid=is_valid, draw=draw)
        return chosen

    def _select_squeezed(
        self, vm: "rows.VM", definite: int, gone: set[str], *, bias: bool, is_valid: IsValid, draw: Draw
    ) -> str | None:
        """The same from the categories in which guests have to shrink."""
        taken, room = taken_by(vm), self._room(self._coordinator)
        rank = self._ranks.get(self._coordinator, 0)
        probable = planning.OUTSIDE
        if room is not None:
            probable = room.dynamic_max - taken.dynamic_max
            if bias:
                probable = disfavoured(probable)

        self._by_dynamic_max.follow()
        keys = self._by_dynamic_max.keys
        inside = bisect_right(keys, _key_of_two(taken.dynamic_max, -_HALF, _RANK))
        key = _key_of_two(probable + taken.dynamic_max, definite + taken.static_max, rank)
        place = bisect_left(keys, key) if probable >= 0 else None
        chosen = self._draw_from(keys, inside, place, gone, is_valid, draw)
        if chosen is not None:
            return chosen

        self._by_dynamic_min.follow()
        keys = self._by_dynamic_min.keys
        inside = bisect_right(keys, _key(taken.dynamic_min, _RANK))
        candidates = [self._refs[key & _RANK] for key in keys[:inside]]
        if room is not None and room.dynamic_min >= taken.dynamic_min:
            candidates.append(self._coordinator)
        ranked = []
        for ref in candidates:
            left = self._room(ref)
            if left is not None and ref not in gone:
                values = left.dynamic_max - taken.dynamic_max, left.static_max - taken.static_max
                if ref == self._coordinator:
                    values = probable, definite
                ranked.append((-possible(left, taken), -values[0], -values[1], self._ranks[ref]))
        return _draw_from_list([self._refs[entry[-1]] for entry in sorted(ranked)], gone, is_valid, draw)

    def _draw_from(
        self, keys: list[int], inside: int, place: int | None, gone: set[str], is_valid: IsValid, draw: Draw
    ) -> str | None:
        """Draw from the first `inside` of a sorted list, with the coordinator at its place among them."""
        if not gone:
            count = inside + (place is not None)
            if not count:
                return None
            index = int(float(count) * draw())
            if place is None or index < place:
                chosen = self._refs[keys[index] & _RANK]
            else:
                chosen = self._coordinator if index == place else self._refs[keys[index - 1] & _RANK]
            if is_valid(chosen):
                return chosen
            gone.add(chosen)
        left = [self._refs[key & _RANK] for key in keys[:inside]]
        if place is not None:
            left.insert(place, self._coordinator)
        return _draw_from_list([ref for ref in left if ref not in gone], gone, is_valid, draw)


def _draw_from_list(left: list[str], gone: set[str], is_valid: IsValid, draw: Draw) -> str | None:
    while left:
        chosen = left.pop(int(float(len(left)) * draw()))
        if is_valid(chosen):
            return chosen
        gone.add(chosen)
    return None
