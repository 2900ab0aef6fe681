"""One pool of a Question in the terms of the compiled searches: VMs that share a host are one item.

Amounts are bytes. Items and hosts are numbered within the pool. Does not search.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xenmem.columns import Bools, Bytes, Rows
from xenmem.planning.question import Question
from xenmem.planning.search.compiled.arrays import MOVE, NEVER, Where


@dataclass(frozen=True, eq=False)
class Problem:
    """One pool in the terms of the compiled searches; items in descending order of size.

    Attributes
    ----------
    vms, hosts : int64 arrays, rows of the Question that belong to the pool
    item_of : int64 array, shape (vms,), the item that stands for the VM
    sizes, weight : int64 arrays, shape (items,): bytes; number of VMs
    rank : int64 array, shape (items,), what a placed item is worth: one of its VMs outweighs all of lower priority
    ranked : whether rank holds that (very many priorities would leave int64; then it is the weight)
    by_priority : int64 array, the items by descending priority, small ones first
    origin : int32 array, the host that the item is on, -1 for none (also for VMs that share a host from now on only)
    move_cost : int64 array, what it costs not to stay at origin, MOVE per VM
    scattered : int64 array, ascending, the items whose VMs are on several hosts now
    gathering : int64 array, shape (scattered, hosts), what it costs to bring all of its VMs to the host
    free, in_use : shape (hosts,)
    kind_of, allowed, group_start, group_of, taken : as in compiled.arrays; only the groups of the pool's own VMs
    """

    vms: NDArray[np.int64]
    hosts: NDArray[np.int64]
    item_of: NDArray[np.int64]
    sizes: Bytes
    weight: Bytes
    rank: Bytes
    ranked: bool
    by_priority: NDArray[np.int64]
    origin: Rows
    move_cost: Bytes
    scattered: NDArray[np.int64]
    gathering: Bytes
    free: Bytes
    in_use: Bools
    kind_of: Rows
    allowed: Bools
    group_start: Rows
    group_of: Rows
    taken: Rows

    @property
    def plain(self) -> bool:
        """Whether memory is all that decides."""
        return len(self.group_of) == 0 and bool(self.allowed[np.unique(self.kind_of)].all())

    def vm_hosts(self, host_of: Rows) -> NDArray[np.int64]:
        """For each of `vms` its host in the Question, -1 for none."""
        if not len(self.hosts):
            return np.full(len(self.vms), -1)
        places = np.where(host_of >= 0, self.hosts[np.maximum(host_of, 0)], -1)
        return places[self.item_of]

    def where(self, taken: Rows) -> Where:
        """Where items may go, for a search that begins with these group counts and changes them."""
        return Where(self.kind_of, self.allowed, self.group_start, self.group_of, taken)

    def occupied(self, host_of: Rows) -> tuple[Bytes, Rows]:
        """Room and group counts once the items are where host_of says."""
        free, taken = self.free.copy(), self.taken.copy()
        there = host_of >= 0
        np.subtract.at(free, host_of[there], self.sizes[there])
        for item in np.flatnonzero(there & (np.diff(self.group_start) > 0)):
            taken[self.group_of[self.group_start[item] : self.group_start[item + 1]], host_of[item]] += 1
        return free, taken

    def hosts_in_use(self, host_of: Rows) -> int:
        """Hosts that run a guest."""
        used = self.in_use.copy()
        used[host_of[host_of >= 0]] = True
        return int(used.sum())

    def least_free(self, host_of: Rows) -> int:
        """What the fullest host has left."""
        return int(self.occupied(host_of)[0].min())

    def cost_of_moves(self, host_of: Rows) -> int:
        """What the moves cost: their number in MOVE, and the MiB that they copy."""
        moved = int(self.move_cost[(host_of != self.origin) & (self.origin >= 0)].sum())
        there = np.flatnonzero(host_of[self.scattered] >= 0)
        return moved + int(self.gathering[there, host_of[self.scattered[there]]].sum())

    @property
    def least_cost(self) -> int:
        """What moves cost at least: scattered VMs have to come together somewhere."""
        return int(self.gathering.min(axis=1).sum()) if len(self.scattered) else 0

    def cost_at(self) -> Bytes:
        """int64 array, shape (items, hosts), what the moves of the item cost if it goes to the host."""
        cost = np.repeat(self.move_cost[:, np.newaxis], len(self.hosts), axis=1)
        there = np.flatnonzero(self.origin >= 0)
        cost[there, self.origin[there]] = 0
        cost[self.scattered] = self.gathering
        return cost

    def home(self, item: int) -> int:
        """The host where the item costs the least, -1 for any."""
        place = np.flatnonzero(self.scattered == item)
        return int(self.gathering[place[0]].argmin()) if len(place) else int(self.origin[item])

    def astray(self, host_of: Rows) -> NDArray[np.int64]:
        """The items that are not where they cost the least; all have a place."""
        away = (host_of != self.origin) & (self.origin >= 0)
        now = self.gathering[np.arange(len(self.scattered)), host_of[self.scattered]]
        away[self.scattered] = now > self.gathering.min(axis=1, initial=NEVER)
        return np.flatnonzero(away)

    def part(self, items: NDArray[np.int64], host_of: Rows) -> Problem:
        """The same pool with only these items to be placed, ascending, and the others where host_of says."""
        others = host_of.copy()
        others[items] = -1
        free, taken = self.occupied(others)
        lengths = np.diff(self.group_start)[items]
        start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        pieces = [self.group_of[self.group_start[item] : self.group_start[item + 1]] for item in items]
        in_use = self.in_use.copy()
        in_use[others[others >= 0]] = True
        scattered = np.isin(self.scattered, items)
        return replace(
            self,
            vms=items,
            item_of=np.arange(len(items)),
            sizes=self.sizes[items],
            weight=self.weight[items],
            rank=self.rank[items],
            by_priority=np.arange(len(items)),
            origin=self.origin[items],
            move_cost=self.move_cost[items],
            scattered=np.searchsorted(items, self.scattered[scattered]),
            gathering=self.gathering[scattered],
            free=free,
            in_use=in_use,
            kind_of=self.kind_of[items],
            group_start=start,
            group_of=np.concatenate(pieces).astype(np.int32) if pieces else self.group_of[:0],
            taken=taken,
        )


def problems(question: Question) -> list[Problem]:
    """One Problem for each pool that has VMs to be placed."""
    pools, vms_of = _by_pool(question.vm_pool)
    hosts_of = dict(zip(*_by_pool(question.host_pool), strict=True))
    leader = np.arange(len(question.vms))
    together: dict[int, list[Rows]] = {pool: [] for pool in pools}
    for members in question.same_host:
        leader[members] = members[0]
        together[int(question.vm_pool[members[0]])].append(members)
    apart = _groups(question)
    nowhere = np.empty(0, np.int64)
    return [
        _problem(question, vms, hosts_of.get(pool, nowhere), leader, together[pool], apart)
        for pool, vms in zip(pools, vms_of, strict=True)
    ]


def _by_pool(pool: Rows) -> tuple[list[int], list[NDArray[np.int64]]]:
    """The pools, and for each its rows in ascending order."""
    order = np.argsort(pool, kind="stable")
    pools, begins = np.unique(pool[order], return_index=True)
    return pools.tolist(), np.split(order, begins[1:]) if len(pools) else []


def _groups(question: Question) -> tuple[NDArray[np.int64], Rows]:
    """The anti-affinity groups of VM v are groups[start[v]:start[v + 1]], in ascending order."""
    if not question.groups:
        return np.zeros(len(question.vms) + 1, np.int64), np.empty(0, np.int32)
    vm = np.concatenate(question.groups)
    group = np.repeat(np.arange(len(question.groups), dtype=np.int32), [len(members) for members in question.groups])
    start = np.concatenate([[0], np.cumsum(np.bincount(vm, minlength=len(question.vms)))])
    return start, group[np.argsort(vm, kind="stable")]


def _problem(
    question: Question,
    vms: NDArray[np.int64],
    hosts: NDArray[np.int64],
    leader: NDArray[np.int64],
    together: list[Rows],
    apart: tuple[NDArray[np.int64], Rows],
) -> Problem:
    leaders, item_of = np.unique(leader[vms], return_inverse=True) if together else (vms, np.arange(len(vms)))
    total = len(leaders)
    sizes = np.zeros(total, np.int64)
    np.add.at(sizes, item_of, question.sizes[vms])
    order = np.argsort(-sizes, kind="stable")
    place = np.empty(total, np.int64)
    place[order] = np.arange(total)
    leaders, sizes, item_of = leaders[order], sizes[order], place[item_of]
    weight = np.bincount(item_of, minlength=total)
    copied_mib = np.zeros(total, np.int64)
    np.add.at(copied_mib, item_of, -(-question.copied[vms] >> 20))
    priority = np.full(total, np.iinfo(np.int64).min)
    np.maximum.at(priority, item_of, question.priority[vms])
    local = np.full(len(question.hosts) + 1, -1, np.int32)
    local[hosts] = np.arange(len(hosts))
    origin = local[question.origin[leaders]]
    kind_of = question.kind_of[leaders]
    masks = list(question.allowed[:, hosts])
    gathering = {}
    for members in together:
        item = item_of[np.searchsorted(vms, members[0])]
        masks.append(np.logical_and.reduce([question.allowed[question.kind_of[vm], hosts] for vm in members]))
        kind_of[item] = len(masks) - 1
        homes = local[question.origin[members]]
        if len(np.unique(homes)) > 1:
            origin[item] = -1
            costs = np.where(homes >= 0, MOVE - (-question.copied[members] >> 20), 0)
            gathering[int(item)] = costs.sum() - np.bincount(homes[homes >= 0], costs[homes >= 0], len(hosts))
    scattered = np.array(sorted(gathering), np.int64)
    ranks, ranked = _ranks(question.priority[vms])
    rank = np.zeros(total, np.int64)
    np.add.at(rank, item_of, ranks)
    first, groups = apart
    counts = np.diff(first)[vms]
    item_of_pair = np.repeat(item_of, counts)
    pairs = [groups[first[vm] : first[vm + 1]] for vm in vms[counts > 0]]
    known, group_of = np.unique(np.concatenate(pairs) if pairs else groups[:0], return_inverse=True)
    by_item = np.lexsort((group_of, item_of_pair))
    start = np.concatenate([[0], np.cumsum(np.bincount(item_of_pair, minlength=total))])
    return Problem(
        vms=vms,
        hosts=hosts,
        item_of=item_of,
        sizes=sizes,
        weight=weight,
        rank=rank,
        ranked=ranked,
        by_priority=np.lexsort((sizes, -priority)),
        origin=origin,
        move_cost=np.where(origin >= 0, weight * MOVE + copied_mib, 0),
        scattered=scattered,
        gathering=np.array([gathering[item] for item in scattered.tolist()], np.int64).reshape(
            len(scattered), len(hosts)
        ),
        free=question.free[hosts],
        in_use=question.in_use[hosts],
        kind_of=kind_of,
        allowed=np.array(masks, np.bool_).reshape(len(masks), len(hosts)),
        group_start=start.astype(np.int32),
        group_of=group_of[by_item].astype(np.int32),
        taken=np.ascontiguousarray(question.taken[known][:, hosts]),
    )


def _ranks(priority: Bytes) -> tuple[Bytes, bool]:
    """What each VM is worth, and whether one outweighs all of lower priority; if not, all are worth the same."""
    rank = np.ones(len(priority), np.int64)
    below = 0
    for value in np.unique(priority):
        members = priority == value
        rank[members] = below + 1
        below += (below + 1) * int(members.sum())
        if below >= NEVER:
            return np.ones(len(priority), np.int64), False
    return rank, True
