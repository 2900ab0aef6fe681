"""The host that the pool chooses for VM.start and VM.resume: summaries, categories, and a weighted draw.

Summaries and values are columns over hosts, in bytes; a host is named by its position in them, and in the questions
about a Fleet by its row. Randomness comes in as a function, so that a choice can be repeated.
Source: docs/reference/planning.md, 5 (xapi-project/xen-api, ocaml/xapi/vm_placement.ml, "VP"; xapi_vm_placement.ml).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise, product
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from xenmem import kernel
from xenmem.columns import Bytes
from xenmem.fleet import Fleet
from xenmem.planning.checks import as_amounts, as_rows
from xenmem.planning.pool_view import memory_to_start
from xenmem.planning.xapi.binpack import descending
from xenmem.planning.xapi.errors import NoHostsAvailableError
from xenmem.planning.xapi.evacuation import anti_affinity_group, host_to_vm_count
from xenmem.planning.xapi.failover import rows_of_pool

RandomFunction = Callable[[], float]
"""Gives a number in [0, 1)."""

COMPRESSION_RATIO_RESOLUTION: Final = 1000
OUTSIDE: Final = -1
_MOST_STATES: Final = 4096

# ----------------------------------------------------------------------------------------------------- random functions


def uniform(seed: int | np.random.Generator) -> RandomFunction:
    """Evenly distributed numbers in [0, 1) (VP: uniform_random_fn).

    Parameters
    ----------
    seed : of a new generator, or the generator to draw from
    """
    return np.random.default_rng(seed).random


def biased(seed: int | np.random.Generator) -> RandomFunction:
    """Squares of evenly distributed numbers, which prefer the best hosts: what the pool uses (VP: biased_random_fn).

    Parameters
    ----------
    seed : of a new generator, or the generator to draw from
    """
    draw = uniform(seed)

    def squared() -> float:
        value = draw()
        return value * value

    return squared


def zero() -> float:
    """Always 0, which takes the best host first (VP: zero_fn)."""
    return 0.0


# ------------------------------------------------------------------------------------------------ summaries and values


class Guests(NamedTuple):
    """VMs as host choice sees them: int64 arrays of equal length, bytes; the overhead is the stored one."""

    memory_overhead: Bytes
    static_min: Bytes
    dynamic_min: Bytes
    dynamic_max: Bytes
    static_max: Bytes


class HostSummary(NamedTuple):
    """What the guests of each host add up to, the VM to be placed included: int64 arrays, shape (hosts,), bytes."""

    static_min_sum: Bytes
    dynamic_min_sum: Bytes
    dynamic_max_sum: Bytes
    static_max_sum: Bytes
    available: Bytes


def summarise(
    memory_total: npt.ArrayLike, memory_overhead: npt.ArrayLike, guests: Guests, on_host: npt.ArrayLike, extra: Guests
) -> HostSummary:
    """The sums over the guests of each host.

    Parameters
    ----------
    memory_total, memory_overhead : integer arrays, shape (hosts,), bytes
    guests : resident and scheduled VMs; one that is both is there twice
    on_host : integer array, the position of each guest's host
    extra : guests that are added to every host: the VM to be placed

    Raises
    ------
    TypeError, ValueError : a column is no vector of integers

    Notes
    -----
    Source: planning.md, 5.1; VP, ``summarise_host_snapshot``.
    """
    total = as_amounts("memory_total", memory_total)
    host = as_rows("on_host", on_host)

    def sum_of(name: str) -> Bytes:
        sums = np.full(len(total), as_amounts(name, getattr(extra, name)).sum())
        np.add.at(sums, host, as_amounts(name, getattr(guests, name)))
        return sums

    overhead = as_amounts("memory_overhead", memory_overhead) + sum_of("memory_overhead")
    return HostSummary(
        static_min_sum=sum_of("static_min"),
        dynamic_min_sum=sum_of("dynamic_min"),
        dynamic_max_sum=sum_of("dynamic_max"),
        static_max_sum=sum_of("static_max"),
        available=total - overhead,
    )


class CategoryValues(NamedTuple):
    """The value of each host in each category, in the order in which they are tried: int64 arrays, shape (hosts,).

    A host with a negative value is outside the category; a larger value is better.
    """

    affinity: Bytes
    definite: Bytes
    probable: Bytes
    possible: Bytes


def category_values(summary: HostSummary, affinity: npt.ArrayLike, disfavoured: npt.ArrayLike) -> CategoryValues:
    """How good each host is in each category.

    Parameters
    ----------
    summary : with the VM to be placed
    affinity : positions of the hosts that the VM prefers
    disfavoured : positions of the pool coordinator if ``pool.coordinator_bias`` is on, else empty

    Notes
    -----
    Source: planning.md, 5.2; VP, ``affinity_host_category``, ``definite_host_category`` and so on.
    """
    slack = summary.available - summary.dynamic_min_sum
    span = summary.dynamic_max_sum - summary.dynamic_min_sum
    compressed = COMPRESSION_RATIO_RESOLUTION * slack // np.maximum(span, 1)
    possible = np.where(
        summary.available >= summary.dynamic_max_sum,
        COMPRESSION_RATIO_RESOLUTION,
        np.where(slack < 0, OUTSIDE, compressed),
    )
    places = np.arange(len(possible))
    biased_against = np.isin(places, as_rows("disfavoured", disfavoured))

    def bias(value: Bytes) -> Bytes:
        less = value - 1
        return np.where(biased_against, np.sign(less) * (np.abs(less) // 2), value)  # truncates toward zero

    return CategoryValues(
        affinity=np.where(np.isin(places, as_rows("affinity", affinity)), possible, OUTSIDE),
        definite=bias(summary.available - summary.static_max_sum),
        probable=bias(summary.available - summary.dynamic_max_sum),
        possible=possible,
    )


def select_host(values: CategoryValues, is_valid: Callable[[int], bool], random: RandomFunction) -> int | None:
    """One host, from the first category that has a valid one.

    Parameters
    ----------
    values : category_values
    is_valid : asked of hosts, by position, as they are drawn
    random : draws; see uniform, biased and zero

    Returns
    -------
    the position of the host; None if no category has a valid one. A host that was refused in one category is not
    considered in the next

    Raises
    ------
    ValueError : `random` gives a number outside [0, 1)

    Notes
    -----
    Source: planning.md, 5.3; VP, ``select_host_from_summary``, ``select_host_from_category``.
    """
    for _, inside in _ranked(values):
        while inside:
            draw = random()
            if not 0.0 <= draw < 1.0:
                raise ValueError(f"random: {draw} is outside [0, 1)")
            host: int = inside.pop(int(float(len(inside)) * draw))
            if is_valid(host):
                return host
    return None


def _ranked(values: CategoryValues) -> Iterator[tuple[str, list[int]]]:
    """The categories in their order, each with the hosts that are in it and in none before, the best first."""
    outside = np.arange(len(values.possible))
    for name, category in zip(values._fields, values, strict=True):
        ranked = outside[descending(category[outside])]
        outside = ranked[category[ranked] < 0]
        yield name, ranked[category[ranked] >= 0].tolist()


def chances(is_valid: Sequence[bool]) -> list[float] | None:
    """How probable each host of a category is, if `biased` draws until a host is valid.

    Parameters
    ----------
    is_valid : of each host of the category, the best first; at least one is

    Returns
    -------
    the probabilities, which add up to 1; None if so many invalid hosts stand between valid ones that the orders in
    which they are drawn are too many
    """
    valid = [place for place, is_so in enumerate(is_valid) if is_so]
    gaps = tuple(after - before - 1 for before, after in pairwise([-1, *valid, len(is_valid)]))
    if math.prod(gap + 1 for gap in gaps) > _MOST_STATES:
        return None
    # the chances of the valid hosts, by how many invalid ones are left before, between and after them
    known: dict[tuple[int, ...], list[float]] = {}
    for left in product(*(range(gap + 1) for gap in gaps)):
        count = sum(left) + len(valid)
        found = [0.0] * len(valid)
        place = 0
        for gap, width in enumerate(left):
            if width:
                rest = known[(*left[:gap], width - 1, *left[gap + 1 :])]
                drawn = _drawn_below(place + width, count) - _drawn_below(place, count)
                found = [chance + drawn * then for chance, then in zip(found, rest, strict=True)]
            place += width
            if gap < len(valid):
                found[gap] += _drawn_below(place + 1, count) - _drawn_below(place, count)
                place += 1
        known[left] = found
    chance_of = dict(zip(valid, known[gaps], strict=True))
    return [chance_of.get(place, 0.0) for place in range(len(is_valid))]


def _drawn_below(place: int, count: int) -> float:
    """How probable it is that the square of an even draw takes one of the first hosts of so many."""
    return math.sqrt(place / count)


# --------------------------------------------------------------------------------------------- questions about a Fleet


def memory_error(fleet: Fleet, vm: int, host: int) -> tuple[str, str, str] | None:
    """HOST_NOT_ENOUGH_FREE_MEMORY with the required and the available bytes, if a VM does not fit a host; else None.

    Parameters
    ----------
    fleet : any inventory
    vm, host : rows

    Notes
    -----
    Source: planning.md, 1; xapi_vm_helpers.ml, ``assert_enough_memory_available``.
    """
    required, available = int(memory_to_start(fleet)[vm]), int(free_for(fleet, vm)[host])
    if available < required:
        return "HOST_NOT_ENOUGH_FREE_MEMORY", str(required), str(available)
    return None


def free_for(fleet: Fleet, vm: int) -> Bytes:
    """The free memory of each host under dynamic_min, the VM ignored among the scheduled: int64 array, bytes.

    Parameters
    ----------
    fleet : any inventory
    vm : row of the VM

    Notes
    -----
    Source: memory-model.md, 5; memory_check.ml, ``host_compute_free_memory_with_maximum_compression``.
    """
    scheduled_on = fleet.vms.scheduled_to_be_resident_on.copy()
    scheduled_on[vm] = -1
    return kernel.free_memory(
        fleet.hosts.available,
        fleet.amount("dynamic_min"),
        fleet.vms.memory_overhead,
        fleet.vms.resident_on,
        scheduled_on,
    )


def host_lists(fleet: Fleet, vm: int, *, vm_groups_enabled: bool = True) -> list[list[int]]:
    """The lists of hosts that are tried one after another for a VM, as rows.

    Parameters
    ----------
    fleet, vm : the VM, as a row
    vm_groups_enabled : the pool has the feature of VM groups

    Returns
    -------
    for a VM with anti-affinity its affinity host alone, then the other hosts by how many VMs of the group they have,
    ascending, each list in reverse order of the database; for others one list of all hosts

    Notes
    -----
    Source: planning.md, 5.4; xapi_vm_helpers.ml, ``choose_host_for_vm_no_wlb``; helpers.ml, ``group_by``.
    """
    hosts = rows_of_pool(fleet, int(fleet.vms.pool[vm]))[0].tolist()
    group = anti_affinity_group(fleet, vm) if vm_groups_enabled else -1
    if group < 0:
        return [hosts]
    affinity = int(fleet.vms.affinity[vm])
    count = host_to_vm_count(fleet, group)
    by_count: dict[int, list[int]] = {}
    for host in reversed(hosts):
        if host != affinity:
            by_count.setdefault(int(count[host]), []).append(host)
    return ([[affinity]] if affinity >= 0 else []) + [by_count[key] for key in sorted(by_count)]


class _Attempts:
    """The tries of a host choice: lists of hosts with the memory check, at last all hosts without it."""

    def __init__(
        self,
        fleet: Fleet,
        vm: int,
        coordinator_bias: bool,
        vm_groups_enabled: bool,
        lists: Sequence[Sequence[int]] | None,
        can_boot: Callable[[int, int], bool],
    ) -> None:
        self._fleet, self._vm, self._coordinator_bias, self._can_boot = fleet, vm, coordinator_bias, can_boot
        if lists is None:
            lists = host_lists(fleet, vm, vm_groups_enabled=vm_groups_enabled)
        self._lists = lists
        self._fits = free_for(fleet, vm) >= memory_to_start(fleet)[vm]

    def __iter__(self) -> Iterator[tuple[list[int], CategoryValues, bool]]:
        """Rows of the hosts, their values, and whether memory is checked."""
        everywhere = [host for hosts in self._lists for host in hosts]
        for hosts, with_memory in [*((hosts, True) for hosts in self._lists), (everywhere, False)]:
            rows = as_rows("lists", hosts)
            yield rows.tolist(), self._values(rows), with_memory

    def _values(self, rows: NDArray[np.int32]) -> CategoryValues:
        coordinator = np.flatnonzero(self._fleet.hosts.is_coordinator[rows]) if self._coordinator_bias else rows[:0]
        preferred = np.flatnonzero(rows == self._fleet.vms.affinity[self._vm])
        return category_values(_summary(self._fleet, self._vm, rows), preferred, coordinator)

    def is_valid(self, host: int, with_memory: bool) -> bool:
        hosts, vm = self._fleet.hosts, self._vm
        enabled = hosts.enabled[host] or self._fleet.vms.is_control_domain[vm]
        fits = self._fits[host] or not with_memory
        return bool(enabled and hosts.live[host] and self._can_boot(vm, host) and fits)


def choose_host_for_vm(
    fleet: Fleet,
    vm: int,
    random: RandomFunction,
    *,
    coordinator_bias: bool = True,
    vm_groups_enabled: bool = True,
    lists: Sequence[Sequence[int]] | None = None,
    can_boot: Callable[[int, int], bool] = lambda _vm, _host: True,
) -> int:
    """The host that VM.start or VM.resume takes.

    Parameters
    ----------
    fleet, vm : the VM, as a row
    random : `biased` is what the pool uses
    coordinator_bias : the field of the pool
    vm_groups_enabled : the pool has the feature of VM groups
    lists : the lists of hosts to try, as rows; for VMs with a vGPU or on an SR-IOV network, which an inventory cannot
        tell. None: host_lists
    can_boot : of a VM and a host, as rows: the host is not being evacuated, is up to date in a rolling upgrade, and
        every boot check passes, all but memory

    Returns
    -------
    row of the host

    Raises
    ------
    NoHostsAvailableError : not even without the memory check
    ValueError : `random` gives a number outside [0, 1)

    Notes
    -----
    Source: planning.md, 5.4; xapi_vm_helpers.ml, ``choose_host_for_vm_no_wlb``, ``vm_can_run_on_host``.
    """
    attempts = _Attempts(fleet, vm, coordinator_bias, vm_groups_enabled, lists, can_boot)
    for hosts, values, with_memory in attempts:
        place = select_host(values, partial(_is_valid_at, attempts, hosts, with_memory), random)
        if place is not None:
            return hosts[place]
    raise NoHostsAvailableError


def _is_valid_at(attempts: _Attempts, hosts: Sequence[int], with_memory: bool, place: int) -> bool:
    return attempts.is_valid(hosts[place], with_memory)


class Candidates(NamedTuple):
    """The category from which the host of a VM is drawn.

    Attributes
    ----------
    category : ``affinity``, ``definite``, ``probable`` or ``possible``
    hosts : rows of all hosts that are in it, the best first
    values : of these hosts in the category
    is_valid : whether each may be taken; those that may not are drawn as well, and discarded
    with_memory : whether the memory check was among what makes a host valid
    """

    category: str
    hosts: tuple[int, ...]
    values: tuple[int, ...]
    is_valid: tuple[bool, ...]
    with_memory: bool


def host_candidates(
    fleet: Fleet,
    vm: int,
    *,
    coordinator_bias: bool = True,
    vm_groups_enabled: bool = True,
    lists: Sequence[Sequence[int]] | None = None,
    can_boot: Callable[[int, int], bool] = lambda _vm, _host: True,
) -> Candidates:
    """The hosts among which choose_host_for_vm draws: which category that is depends on no draw.

    Parameters
    ----------
    fleet, vm, coordinator_bias, vm_groups_enabled, lists, can_boot : as for choose_host_for_vm

    Raises
    ------
    NoHostsAvailableError : not even without the memory check
    """
    attempts = _Attempts(fleet, vm, coordinator_bias, vm_groups_enabled, lists, can_boot)
    for hosts, values, with_memory in attempts:
        for (category, inside), value in zip(_ranked(values), values, strict=True):
            is_valid = tuple(attempts.is_valid(hosts[place], with_memory) for place in inside)
            if any(is_valid):
                rows = tuple(hosts[place] for place in inside)
                return Candidates(category, rows, tuple(value[inside].tolist()), is_valid, with_memory)
    raise NoHostsAvailableError


def _summary(fleet: Fleet, vm: int, rows: NDArray[np.int32]) -> HostSummary:
    place = np.full(len(fleet.hosts) + 1, -1, np.int32)  # the last one stands for "no host", which is row -1
    place[rows] = np.arange(len(rows))
    resident, scheduled = place[fleet.vms.resident_on], place[fleet.vms.scheduled_to_be_resident_on]
    guests = np.concatenate([np.flatnonzero(resident >= 0), np.flatnonzero(scheduled >= 0)])
    on_host = np.concatenate([resident[resident >= 0], scheduled[scheduled >= 0]])

    def columns(of: NDArray[np.int64]) -> Guests:
        return Guests(
            fleet.vms.memory_overhead[of],
            fleet.vms.memory_static_min[of],
            fleet.vms.memory_dynamic_min[of],
            fleet.vms.memory_dynamic_max[of],
            fleet.vms.memory_static_max[of],
        )

    hosts = fleet.hosts
    return summarise(
        hosts.memory_total[rows], hosts.memory_overhead[rows], columns(guests), on_host, columns(np.array([vm]))
    )
