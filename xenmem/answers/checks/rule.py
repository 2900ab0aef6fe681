"""What a rule of advice is, what it is asked with, and what an inventory must tell before it can be asked.

A rule is data and one function that looks for it over columns of a whole fleet. Amounts are bytes. Knows no rule.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xenmem.columns import Bools, Bytes, PowerState, Unknown
from xenmem.fleet import Fleet
from xenmem.planning.effort import Effort
from xenmem.units import GIB

Severity = Literal["E", "W", "I"]
"""An error, which will fail or is inconsistent; a warning, of risk or waste; information."""
Table = Literal["vms", "hosts", "pools", "vm_groups"]


class Measured(NamedTuple):
    """What a VM was measured to use.

    Attributes
    ----------
    p95 : bytes, percentile 95 of what it used; None if it was not measured long enough
    always_full : its balloon target was its memory_dynamic_max all the time
    """

    p95: int | None
    always_full: bool


class Settings(NamedTuple):
    """What operators decide.

    Attributes
    ----------
    hvm_limit : most memory that the product supports for an HVM guest (M16)
    dom0_memory : least memory of a control domain on hosts of more than 24 GiB and less than 128 GiB (H01)
    upgrade_to : the version that an upgrade would lead to (P03)
    """

    hvm_limit: int = 1536 * GIB
    dom0_memory: int = 4 * GIB
    upgrade_to: str = "xcp-ng-9"


class Found(NamedTuple):
    """Objects that a rule is broken by.

    Attributes
    ----------
    rows : of the rule's table
    values : by name, what led to each finding, in the order of the rows
    """

    rows: Sequence[int]
    values: Mapping[str, Sequence[Any]]


def found(which: Bools, **columns: NDArray[Any]) -> Found:
    """The rows for which something holds, with what columns say of them."""
    rows = np.flatnonzero(which)
    return Found(rows.tolist(), {name: column[rows].tolist() for name, column in columns.items()})


def listing(rows: Sequence[tuple[int, Mapping[str, Any]]]) -> Found:
    """Rows with what is said of each, which has the same names for all."""
    names = rows[0][1] if rows else {}
    return Found([row for row, _ in rows], {name: [values[name] for _, values in rows] for name in names})


class Question:
    """What rules are asked of: a fleet, with what several of them compute of it.

    Parameters
    ----------
    fleet, settings : see there
    use : by uuid of the VM; None: nothing was measured
    effort : how long planners may take in all

    Attributes
    ----------
    undecided : what a rule could not decide, and why: whoever asks a rule takes it away
    stuck : of each pool that was looked at, the hosts that its own plan does not empty, and why
    """

    def __init__(self, fleet: Fleet, settings: Settings, use: Mapping[str, Measured] | None, effort: Effort) -> None:
        self.fleet, self.settings, self.use, self.effort = fleet, settings, use, effort
        self.undecided: list[str] = []
        self.stuck: dict[int, dict[int, Any]] = {}

    @cached_property
    def guest(self) -> Bools:
        """Which VMs are guests."""
        return self.fleet.vms.is_guest

    @cached_property
    def running(self) -> Bools:
        """Which guests are Running or Paused."""
        live: Bools = np.isin(self.fleet.vms.power_state, (PowerState.RUNNING, PowerState.PAUSED))
        return self.guest & live

    @cached_property
    def halted(self) -> Bools:
        """Which guests are Halted."""
        halted: Bools = self.fleet.vms.power_state == PowerState.HALTED
        return self.guest & halted

    @cached_property
    def free(self) -> Bytes:
        """Free memory of each host as a start asks for it: 0 where it takes no VMs."""
        hosts = self.fleet.hosts
        return np.where(hosts.enabled & hosts.live, self.fleet.free_memory("dynamic_min"), 0)

    @cached_property
    def empty(self) -> Bytes:
        """What each host has for guests when there are none: without its control domains; 0 where it is not known."""
        vms, hosts = self.fleet.vms, self.fleet.hosts
        held = np.where(vms.is_control_domain, vms.memory_dynamic_max + vms.memory_overhead, 0)
        there = vms.resident_on >= 0
        taken = np.zeros(len(hosts), np.int64)
        np.add.at(taken, vms.resident_on[there], held[there])
        return np.where(hosts.memory_total > 0, np.maximum(hosts.available - taken, 0), 0)

    @cached_property
    def parts(self) -> list[Fleet]:
        """Each pool as a fleet of its own; its rows are those of `rows_of`, in their order."""
        pools = len(self.fleet.pools)
        return [self.fleet] if pools == 1 else [self.fleet.of_pool(pool) for pool in range(pools)]

    def rows_of(self, table: str, pool: int) -> NDArray[np.intp]:
        """The rows of a table that are of a pool."""
        return np.flatnonzero(getattr(self.fleet, table).pool == pool)

    def most(self, amounts: Bytes) -> NDArray[np.intp]:
        """The host of each pool with the largest amount, -1 where the pool has none."""
        best = np.full(len(self.fleet.pools), -1, np.intp)
        for host in np.argsort(amounts, kind="stable").tolist():
            best[self.fleet.hosts.pool[host]] = host
        return best


class Rule(NamedTuple):
    """A rule of advice.

    Attributes
    ----------
    name : such as M04
    severity, about : how bad it is, and of which table its objects are
    title : what is amiss, in a few words
    text : the values that led to a finding, as a format; amounts have the format ``size``
    consequence, remedy : the latter with the values, too, and the object's uuid
    source : where it comes from
    needs : of `NEEDS`, what must be told
    find : looks for it
    """

    name: str
    severity: Severity
    about: Table
    title: str
    text: str
    consequence: str
    remedy: str
    source: str
    needs: tuple[str, ...]
    find: Callable[[Question], Found]


RULES: Final[dict[str, Rule]] = {}
"""By name, in their order."""


def rule(
    name: str,
    severity: Severity,
    about: Table,
    title: str,
    *,
    text: str,
    consequence: str,
    remedy: str,
    source: str,
    needs: tuple[str, ...] = (),
) -> Callable[[Callable[[Question], Found]], Callable[[Question], Found]]:
    """Declare the decorated function as a rule; see `Rule`."""

    def declare(find: Callable[[Question], Found]) -> Callable[[Question], Found]:
        RULES[name] = Rule(name, severity, about, title, text, consequence, remedy, source, needs, find)
        return find

    return declare


class Need(NamedTuple):
    """What an inventory may lack.

    Attributes
    ----------
    lacking : what is said where it does
    is_told : of each pool, whether it is there
    """

    lacking: str
    is_told: Callable[[Question], Bools]


def _by_vm(flag: Unknown) -> Callable[[Question], Bools]:
    def is_told(question: Question) -> Bools:
        vms = question.fleet.vms
        lacking = vms.is_guest & ((vms.not_told & flag) != 0)
        told: Bools = np.bincount(vms.pool[lacking], minlength=len(question.fleet.pools)) == 0
        return told

    return is_told


def _some(table: Table, holds: Callable[[Any], Bools]) -> Callable[[Question], Bools]:
    """That something holds of a row of the pool at least."""

    def is_told(question: Question) -> Bools:
        rows = getattr(question.fleet, table)
        return np.bincount(rows.pool[holds(rows)], minlength=len(question.fleet.pools)) > 0

    return is_told


def _no_note(kind: str) -> Callable[[Question], Bools]:
    def is_told(question: Question) -> Bools:
        lacking = {note.source for note in question.fleet.notes if note.kind == kind}
        return np.array([source not in lacking for source in question.fleet.pools.source], np.bool_)

    return is_told


def _is_measured(question: Question) -> Bools:
    return np.full(len(question.fleet.pools), question.use is not None)


def _speeds(question: Question) -> Bools:
    networks = question.fleet.networks
    known = networks.is_management & (networks.speed > 0)
    return np.bincount(networks.pool[known], minlength=len(question.fleet.pools)) > 0


def _has_record(question: Question) -> Bools:
    return np.fromiter(map(bool, question.fleet.pools.ref), np.bool_, len(question.fleet.pools))


def _levels(question: Question) -> Bools:
    return np.fromiter(map(bool, question.fleet.pools.cpu_info), np.bool_, len(question.fleet.pools))


NEEDS: Final[dict[str, Need]] = {
    "hosts": Need("no host records", _some("hosts", lambda hosts: np.ones(len(hosts), np.bool_))),
    "pool": Need("no pool record", _has_record),
    "totals": Need("no host whose memory_total is known", _some("hosts", lambda hosts: hosts.memory_total > 0)),
    "free": Need("no host_metrics.memory_free", _some("hosts", lambda hosts: hosts.memory_free >= 0)),
    "boot": Need("no host.boot_free_mem: only database dumps have it", _some("hosts", lambda h: h.boot_free_mem > 0)),
    "target": Need("no VM.memory_target", _some("vms", lambda vms: vms.memory_target >= 0)),
    "reservations": Need("no VM.scheduled_to_be_resident_on", _no_note("no-reservations")),
    "drivers": Need("no VM_guest_metrics records", _by_vm(Unknown.GUEST)),
    "storage": Need("no SR, PBD, VDI and VBD records", _by_vm(Unknown.STORAGE)),
    "networks": Need("no VIF, network and PIF records", _by_vm(Unknown.NETWORKS)),
    "devices": Need("no records of GPUs and USB devices", _by_vm(Unknown.DEVICES)),
    "level": Need("no pool.cpu_info", _levels),
    "speeds": Need("no PIF_metrics.speed of the management network", _speeds),
    "measured": Need("nothing was given of what VMs use (--use)", _is_measured),
}
"""By name."""
