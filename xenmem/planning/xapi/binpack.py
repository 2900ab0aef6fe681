"""Packing as the pool does it: biggest fit in decreasing order, and what it says about host failures.

A Configuration is the reference's: hosts and VMs are named by row numbers of whatever tables the caller has, amounts
are bytes (or any unit, it is the same everywhere). Orders are part of every answer. Knows neither Fleet nor records.
Source: docs/reference/planning.md, 2 (xapi-project/xen-api, ocaml/xapi/binpack.ml).
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from math import perm
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from xenmem.columns import Bytes, Rows
from xenmem.planning.checks import as_amounts, as_rows, as_sizes, refuse
from xenmem.planning.xapi.errors import ConfigurationError, DivisionByZeroError

LARGEST_POOL_TRIED_EXHAUSTIVELY: Final = 32
MANY_COMBINATIONS: Final = 3500


class Plan(NamedTuple):
    """Which VM goes to which host; of equal length, in the reference's order: the last assigned comes first."""

    vms: Rows
    hosts: Rows


class Heuristic(StrEnum):
    """How the pool finds out whether failures are survivable (binpack.ml: choose_heuristic)."""

    EXHAUSTIVE = "exhaustive"
    APPROXIMATE = "approximate"


def descending(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order that sorts from large to small and leaves equal elements as they come."""
    return np.argsort(~values, kind="stable")  # ~ turns the order round and, unlike -, overflows for no int64


def positions(table: Rows, wanted: Rows) -> NDArray[np.int64]:
    """For each wanted row number its first place in a table, -1 if it is not there."""
    if not len(table):
        return np.full(len(wanted), -1)
    order = np.argsort(table, kind="stable")
    place = np.searchsorted(table, wanted, sorter=order)
    found = order[np.minimum(place, len(table) - 1)]
    return np.where(table[found] == wanted, found, -1)


@dataclass(frozen=True, eq=False)
class Configuration:
    """A packing problem: live hosts, VMs, and where the VMs are.

    Attributes
    ----------
    hosts : int32 array, shape (hosts,), row numbers of the live hosts, none twice
    free : int64 array, shape (hosts,), free memory of each; may be negative
    vms : int32 array, shape (vms,), row numbers
    sizes : int64 array, shape (vms,), >= 0
    placed_vms, placed_hosts : int32 arrays of equal length, row numbers: the placement, in order
    total_hosts : number of all hosts of the pool, dead or alive
    num_failures : number of hosts that fail

    Raises
    ------
    TypeError, ValueError : an array has the wrong shape, type or a value out of range; names argument, index and value

    Notes
    -----
    Source: xapi-project/xen-api, ocaml/xapi/binpack.ml, ``configuration``.
    """

    hosts: Rows
    free: Bytes
    vms: Rows
    sizes: Bytes
    placed_vms: Rows
    placed_hosts: Rows
    total_hosts: int
    num_failures: int

    def __post_init__(self) -> None:
        for name in ("hosts", "vms", "placed_vms", "placed_hosts"):
            object.__setattr__(self, name, as_rows(name, getattr(self, name)))
        object.__setattr__(self, "free", as_amounts("free", self.free))
        object.__setattr__(self, "sizes", as_sizes("sizes", self.sizes))
        for one, other in (("hosts", "free"), ("vms", "sizes"), ("placed_vms", "placed_hosts")):
            if len(getattr(self, one)) != len(getattr(self, other)):
                raise ValueError(
                    f"{other}: length {len(getattr(self, other))} where {one} has {len(getattr(self, one))}"
                )
        first = positions(self.hosts, self.hosts)
        refuse("hosts", self.hosts, first != np.arange(len(self.hosts)), "is there twice")

    def check(self) -> None:
        """Refuse a configuration that contradicts itself, as the pool does.

        Raises
        ------
        ConfigurationError : ``VM not found``, ``Host not found``, ``num_failures > total_hosts``, ``num_failures < 0``

        Notes
        -----
        Source: planning.md, 2.2; binpack.ml, ``check_configuration``.
        """
        vm_known = positions(self.vms, self.placed_vms) >= 0
        known = vm_known & (positions(self.hosts, self.placed_hosts) >= 0)
        if not known.all():
            raise ConfigurationError("VM not found" if not vm_known[np.argmin(known)] else "Host not found")
        if self.num_failures > self.total_hosts:
            raise ConfigurationError("num_failures > total_hosts")
        if self.num_failures < 0:
            raise ConfigurationError("num_failures < 0")

    def sizes_of(self, vms: Rows, asked_by: str) -> Bytes:
        """The sizes of these VMs.

        Raises
        ------
        ConfigurationError : a VM has no size; the text names the function of the reference that asks
        """
        place = positions(self.vms, vms)
        if (place < 0).any():
            raise ConfigurationError(f"Not_found: {asked_by}")
        return self.sizes[place]

    def without_hosts(self, dead_hosts: npt.ArrayLike) -> "Configuration":
        """The same without some of its hosts; the placement stays as it is."""
        alive = ~np.isin(self.hosts, as_rows("dead_hosts", dead_hosts))
        return replace(self, hosts=self.hosts[alive], free=self.free[alive])


def biggest_fit_decreasing(sizes: npt.ArrayLike, free: npt.ArrayLike) -> Plan:
    """Each VM, biggest first, to the host that then has most free memory; left out if it does not fit there.

    Parameters
    ----------
    sizes : integer array, shape (vms,), >= 0
    free : integer array, shape (hosts,), any int64; a VM of size 0 fits a host with 0

    Returns
    -------
    Plan of rows of `sizes` and rows of `free`, the last assigned VM first; VMs that are left out are not in it

    Raises
    ------
    TypeError, ValueError : not a vector of integers, or a size is negative; names the argument, the index and the value

    Notes
    -----
    Equal VMs go in the order given; of equal hosts the one used last goes first, else the one given first. Sums cannot
    leave int64: a free amount only shrinks, and never below 0. O(VMs * log(VMs * hosts)); releases the GIL.

    Source: planning.md, 2.1; xapi-project/xen-api, ocaml/xapi/binpack.ml, ``biggest_fit_decreasing``.
    """
    sizes = as_sizes("sizes", sizes)
    free = as_amounts("free", free)
    most = np.iinfo(np.int32).max
    if max(len(sizes), len(free)) > most:
        raise ValueError(f"sizes, free: more than {most} rows")
    vms, hosts = np.empty(len(sizes), np.int32), np.empty(len(sizes), np.int32)
    from xenmem.planning.search.compiled import biggest_fit  # numba's import would delay those who do not pack

    first = biggest_fit.assign(descending(sizes), sizes, free, vms, hosts)
    return Plan(vms[first:], hosts[first:])


def account(configuration: Configuration, plan: Plan) -> Bytes:
    """The free memory of the configuration's hosts once a plan has been carried out.

    Parameters
    ----------
    configuration : of it the hosts, and the sizes of the VMs in the plan
    plan : row numbers; hosts that are not in the configuration change nothing

    Returns
    -------
    int64 array, shape (hosts,); may be negative, the plan need not fit

    Raises
    ------
    ConfigurationError : a planned VM has no size
    ValueError : the free memory of a host could leave the range of int64

    Notes
    -----
    Source: planning.md, 2.2; binpack.ml, ``account``.
    """
    host = positions(configuration.hosts, plan.hosts)
    here = host >= 0
    sizes = configuration.sizes_of(plan.vms[here], "memory_needed_on_host")
    total = (int(np.sum(sizes >> 32)) << 32) + int(np.sum(sizes & 0xFFFFFFFF))
    least = np.iinfo(np.int64).min
    if len(sizes) and int(configuration.free.min()) - total < least:
        raise ValueError(f"free: {configuration.free.min()} less {total} for the plan is below {least}")
    free = configuration.free.copy()
    np.subtract.at(free, host[here], sizes)
    return free


def apply_plan(configuration: Configuration, plan: Plan) -> Configuration:
    """The configuration after a plan: the planned VMs come first in its placement, in the order of the plan.

    Parameters
    ----------
    configuration : before
    plan : row numbers, as for account

    Raises
    ------
    ConfigurationError, ValueError : as for account

    Notes
    -----
    Source: planning.md, 2.2; binpack.ml, ``apply_plan``.
    """
    untouched = ~np.isin(configuration.placed_vms, plan.vms)
    return replace(
        configuration,
        free=account(configuration, plan),
        placed_vms=np.concatenate([plan.vms, configuration.placed_vms[untouched]]),
        placed_hosts=np.concatenate([plan.hosts, configuration.placed_hosts[untouched]]),
    )


def failed_vms(configuration: Configuration, dead_hosts: npt.ArrayLike) -> Rows:
    """The VMs placed on these hosts, in the order of the placement (binpack.ml: get_failed_vms).

    Parameters
    ----------
    configuration : before the failures
    dead_hosts : row numbers
    """
    return configuration.placed_vms[np.isin(configuration.placed_hosts, as_rows("dead_hosts", dead_hosts))]


def _pack(configuration: Configuration, vms: Rows, sizes: Bytes) -> Plan:
    places, hosts = biggest_fit_decreasing(sizes, configuration.free)
    return Plan(vms[places], configuration.hosts[hosts])


def simulate_failure(configuration: Configuration, dead_host: int) -> Configuration | None:
    """What one host failure leaves behind.

    Parameters
    ----------
    configuration : before the failure
    dead_host : row number of the host that fails

    Returns
    -------
    the configuration without the host, its VMs on others, one failure less to come; None if not every VM finds a host

    Raises
    ------
    ConfigurationError : a VM on that host has no size

    Notes
    -----
    Source: planning.md, 2.3; binpack.ml, ``simulate_failure``.
    """
    failed = failed_vms(configuration, [dead_host])
    rest = configuration.without_hosts([dead_host])
    plan = _pack(rest, failed, rest.sizes_of(failed, "pack_failed_vms_onto_live_hosts"))
    if len(plan.vms) != len(failed):
        return None
    moved = positions(plan.vms, rest.placed_vms)
    placed_hosts = rest.placed_hosts.copy()
    placed_hosts[moved >= 0] = plan.hosts[moved[moved >= 0]]
    return replace(
        rest, free=account(rest, plan), placed_hosts=placed_hosts, num_failures=configuration.num_failures - 1
    )


def trivially_impossible(configuration: Configuration) -> bool:
    """Whether too few hosts would be left for any plan, whatever the sizes.

    Parameters
    ----------
    configuration : its hosts, num_failures, and whether it has VMs

    Notes
    -----
    Source: planning.md, 2.4; binpack.ml, ``plan_trivially_never_possible``.
    """
    left = len(configuration.hosts) - configuration.num_failures
    return left < 0 or (left == 0 and len(configuration.vms) > 0)


def exhaustive_plan_always_possible(configuration: Configuration) -> bool:
    """Whether a plan exists for every choice of failing hosts, in every order, with biggest fit after each failure.

    Parameters
    ----------
    configuration : one that `Configuration.check` accepts

    Raises
    ------
    ConfigurationError : a placed VM has no size

    Notes
    -----
    Orders that begin alike are walked once, nothing is packed twice, and the first failure ends the walk. The time
    still grows as the number of ordered choices. Releases the GIL.

    Source: planning.md, 2.5; binpack.ml, ``plan_always_possible``.
    """
    if trivially_impossible(configuration):
        return False
    if configuration.num_failures <= 0:
        return True
    from xenmem.planning.search.compiled import biggest_fit

    sizes = configuration.sizes_of(configuration.placed_vms, "pack_failed_vms_onto_live_hosts")
    order = descending(sizes)
    return bool(
        biggest_fit.survives_every_order(
            sizes[order],
            positions(configuration.hosts, configuration.placed_hosts[order]).astype(np.int32),
            _rings(configuration.placed_vms[order]),
            configuration.free,
            configuration.num_failures,
        )
    )


def _rings(vms: Rows) -> NDArray[np.int64]:
    """For each entry the next one with the same VM, the first one after the last."""
    order = np.argsort(vms, kind="stable")
    place, grouped = np.arange(len(vms)), vms[order]
    first, after = np.searchsorted(grouped, grouped), np.searchsorted(grouped, grouped, side="right")
    ring = np.empty(len(vms), np.int64)
    ring[order] = order[np.where(place + 1 < after, place + 1, first)]
    return ring


def approximate_plan_always_possible(configuration: Configuration) -> bool:
    """The pool's cautious estimate: as if every VM were as large as the largest, and the best hosts failed.

    Parameters
    ----------
    configuration : one that `Configuration.check` accepts

    Raises
    ------
    DivisionByZeroError : there are VMs and all of them have size 0

    Notes
    -----
    Source: planning.md, 2.6; binpack.ml, ``approximate_bin_pack``, ``simulate_failure_approximation``.
    """
    if trivially_impossible(configuration):
        return False
    if not len(configuration.vms):
        return True
    largest = int(configuration.sizes.max())
    if largest == 0 and len(configuration.hosts):
        raise DivisionByZeroError
    num_failures = max(0, configuration.num_failures)
    quotients = np.abs(configuration.free.astype(object)) // largest
    capacity = sorted(np.where(configuration.free < 0, -quotients, quotients), reverse=True)
    host = positions(configuration.hosts, configuration.placed_hosts)
    placed = np.bincount(host[host >= 0], minlength=len(configuration.hosts))
    to_move = int(np.sort(placed)[::-1][:num_failures].sum())
    return bool(to_move <= sum(capacity[num_failures:]))


def choose_heuristic(total_hosts: int, num_failures: int) -> Heuristic:
    """Which of the two checks the pool makes: the exhaustive one where the ordered choices of hosts are few.

    Parameters
    ----------
    total_hosts : all hosts of the pool, dead or alive
    num_failures : 0..total_hosts

    Raises
    ------
    ConfigurationError : num_failures is negative or above total_hosts (the reference would then compute without end)

    Notes
    -----
    Source: planning.md, 2.7; binpack.ml, ``choose_heuristic``.
    """
    if num_failures > total_hosts:
        raise ConfigurationError("num_failures > total_hosts")
    if num_failures < 0:
        raise ConfigurationError("num_failures < 0")
    few = total_hosts <= LARGEST_POOL_TRIED_EXHAUSTIVELY and perm(total_hosts, num_failures) < MANY_COMBINATIONS
    return Heuristic.EXHAUSTIVE if few else Heuristic.APPROXIMATE


def plan_always_possible(configuration: Configuration) -> bool:
    """Whether the failures are survivable, by the check that the pool chooses.

    Parameters
    ----------
    configuration : checked first

    Raises
    ------
    ConfigurationError : the configuration contradicts itself
    DivisionByZeroError : the estimate is chosen, and all VMs have size 0

    Notes
    -----
    Source: planning.md, 2.2 to 2.7; binpack.ml, ``plan_for_n_failures``.
    """
    configuration.check()
    if choose_heuristic(configuration.total_hosts, configuration.num_failures) is Heuristic.EXHAUSTIVE:
        return exhaustive_plan_always_possible(configuration)
    return approximate_plan_always_possible(configuration)


def get_specific_plan(configuration: Configuration, failed: npt.ArrayLike) -> Plan:
    """Where these VMs go, by biggest fit onto the live hosts; the plan may leave VMs out.

    Parameters
    ----------
    configuration : the dead hosts are no longer in it
    failed : row numbers of VMs, in the order in which equal ones are placed

    Raises
    ------
    ConfigurationError : a VM has no size

    Notes
    -----
    Source: planning.md, 2.8; binpack.ml, ``get_specific_plan``.
    """
    vms = as_rows("failed", failed)
    return _pack(configuration, vms, configuration.sizes_of(vms, "get_specific_plan"))
