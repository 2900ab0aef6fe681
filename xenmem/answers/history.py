"""What changed between two moments: hosts, VMs, their memory, what is free, and how far a host failure is from a loss.

Objects are the same where their uuids are; names may change. Amounts are bytes. Knows no folder.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from xenmem import planning
from xenmem.answers.failover import restart_pool
from xenmem.answers.naming import (
    Amounts,
    Answer,
    Named,
    PoolHead,
    QuestionError,
    Result,
    at,
    identity,
    label,
    pool_head,
)
from xenmem.columns import PowerState
from xenmem.fleet import POLICIES, Fleet, Table
from xenmem.text import counted
from xenmem.units import format_size

TIME_LIMIT: Final = 10.0


class HostThen(Result, frozen=True):
    """A host at one moment.

    Attributes
    ----------
    memory_total : None is unknown
    free : under each policy, 0 at least
    vms : guests that run there
    """

    memory_total: int | None
    memory_overhead: int
    free: Amounts
    vms: int
    enabled: bool
    live: bool
    xapi_version: str


class VMThen(Result, frozen=True):
    """A VM at one moment.

    Attributes
    ----------
    host : where it runs; empty for nowhere
    """

    power_state: str
    host: str
    memory_static_max: int
    memory_dynamic_max: int
    memory_dynamic_min: int
    memory_overhead: int
    VCPUs_max: int


class HostChange(Named, frozen=True):
    """A host that is not as it was.

    Attributes
    ----------
    what : ``added``, ``removed``, ``resized``, ``overhead``, ``enabled``, ``disabled``, ``live``, ``not-live``,
        ``upgraded``, ``renamed``; several of them
    before, after : None where it was not there
    """

    what: list[str]
    before: HostThen | None
    after: HostThen | None


class VMChange(Named, frozen=True):
    """A guest that is not as it was.

    Attributes
    ----------
    what : ``added``, ``removed``, ``started``, ``stopped``, ``suspended``, ``moved``, ``resized``, ``ballooning``,
        ``vcpus``, ``overhead``, ``renamed``; several of them
    memory : by how much more it takes of its host, as static_max with overhead: 0 where it does not run
    before, after : None where it was not there
    """

    what: list[str]
    memory: int
    before: VMThen | None
    after: VMThen | None


class PoolThen(Result, frozen=True):
    """A pool at one moment.

    Attributes
    ----------
    at : when; None where that is not known
    hosts, vms, running : how many; VMs are guests
    memory_total : of the hosts of which it is known
    taken : by guests that run, with their overhead, under each policy
    free : on all hosts that are enabled and live
    margin : what every host could lose such that the failure of any one is still survived; below 0 what each lacks;
        None where that is not known
    """

    at: str | None
    hosts: int
    vms: int
    running: int
    memory_total: int
    taken: Amounts
    free: Amounts
    margin: int | None


class PoolChange(Result, frozen=True):
    """One pool.

    Attributes
    ----------
    pool : as it is afterwards, or was where it is gone
    before, after : None where it was not there
    hosts, vms : that are not as they were
    """

    pool: PoolHead
    before: PoolThen | None
    after: PoolThen | None
    hosts: list[HostChange]
    vms: list[VMChange]


class Changes(Answer, frozen=True):
    """What changed.

    Attributes
    ----------
    policy : as which the margin counts
    """

    policy: str
    pools: list[PoolChange]


def history(
    before: Fleet,
    after: Fleet,
    at_before: datetime | None = None,
    at_after: datetime | None = None,
    *,
    policy: str = "static_max",
    time_limit: float = TIME_LIMIT,
) -> Changes:
    """What is not in a fleet as it was.

    Parameters
    ----------
    before, after : the fleet at two moments
    at_before, at_after : these, if they are known
    policy : what counts as the memory of a VM where hosts fail
    time_limit : seconds for the margin of each pool

    Raises
    ------
    QuestionError : the two have no pool in common, or the second moment comes first
    """
    if at_before is not None and at_after is not None and at_before > at_after:
        raise QuestionError(f"{_moment(at_before)} is after {_moment(at_after)}")
    old, new = _rows(before.pools), _rows(after.pools)
    if not old.keys() & new.keys():
        raise QuestionError("no pool is in both: they are compared by uuid")
    sides = (_Side(before, at_before, policy, time_limit), _Side(after, at_after, policy, time_limit))
    pools = [_pool(sides, old.get(key), new.get(key)) for key in [*new, *(key for key in old if key not in new)]]
    return Changes(verdict=_verdict(pools), outcome="yes", policy=policy, pools=pools)


def _rows(table: Table, which: Any = None) -> dict[str, int]:
    """Rows by uuid, or by reference where there is none."""
    rows = range(len(table)) if which is None else np.flatnonzero(which).tolist()
    return {table.uuid[row] or table.ref[row]: row for row in rows}


def _moment(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Side:
    """A fleet at one moment."""

    def __init__(self, fleet: Fleet, when: datetime | None, policy: str, time_limit: float) -> None:
        self.fleet, self._policy, self._time_limit = fleet, policy, time_limit
        self._when = None if when is None else _moment(when)
        self._free = {policy: fleet.free_memory(policy).tolist() for policy in POLICIES}
        vms = fleet.vms
        self._guests = np.bincount(
            vms.resident_on[vms.is_guest & (vms.resident_on >= 0)], minlength=len(fleet.hosts)
        ).tolist()

    def hosts(self, pool: int | None) -> dict[str, int]:
        """Rows of the hosts of a pool by uuid."""
        return {} if pool is None else _rows(self.fleet.hosts, self.fleet.hosts.pool == pool)

    def vms(self, pool: int | None) -> dict[str, int]:
        """Rows of its guests by uuid."""
        return {} if pool is None else _rows(self.fleet.vms, self.fleet.vms.is_guest & (self.fleet.vms.pool == pool))

    def pool(self, pool: int) -> PoolThen:
        """The pool as it is then."""
        fleet = self.fleet
        hosts, vms = fleet.hosts, fleet.vms
        here = hosts.pool == pool
        able = np.flatnonzero(here & hosts.enabled & hosts.live).tolist()
        guests = vms.is_guest & (vms.pool == pool)
        runs = guests & (vms.resident_on >= 0)
        taken = {policy: int((fleet.amount(policy) + vms.memory_overhead)[runs].sum()) for policy in POLICIES}
        try:
            margin = planning.margin(restart_pool(fleet, pool, None, self._policy), 1, time_limit=self._time_limit)
        except QuestionError:
            margin = None
        return PoolThen(
            at=self._when,
            hosts=int(here.sum()),
            vms=int(guests.sum()),
            running=int(runs.sum()),
            memory_total=int(np.maximum(hosts.memory_total[here], 0).sum()),
            taken=Amounts(**taken),
            free=Amounts(**{policy: sum(self._free[policy][host] for host in able) for policy in POLICIES}),
            margin=margin,
        )

    def host(self, row: int) -> HostThen:
        """A host as it is then."""
        hosts = self.fleet.hosts
        total = int(hosts.memory_total[row])
        return HostThen(
            memory_total=total if total > 0 else None,
            memory_overhead=int(hosts.memory_overhead[row]),
            free=at(self._free, row),
            vms=self._guests[row],
            enabled=bool(hosts.enabled[row]),
            live=bool(hosts.live[row]),
            xapi_version=hosts.xapi_version[row],
        )

    def vm(self, row: int) -> VMThen:
        """A VM as it is then."""
        vms = self.fleet.vms
        host = int(vms.resident_on[row])
        return VMThen(
            power_state=PowerState(int(vms.power_state[row])).name.capitalize(),
            host=self.fleet.hosts.label(host) if host >= 0 else "",
            memory_static_max=int(vms.memory_static_max[row]),
            memory_dynamic_max=int(vms.memory_dynamic_max[row]),
            memory_dynamic_min=int(vms.memory_dynamic_min[row]),
            memory_overhead=int(vms.memory_overhead[row]),
            VCPUs_max=int(vms.VCPUs_max[row]),
        )

    def host_key(self, vm: int) -> str:
        """The uuid of the host where a VM runs; empty for nowhere."""
        host = int(self.fleet.vms.resident_on[vm])
        return "" if host < 0 else self.fleet.hosts.uuid[host] or self.fleet.hosts.ref[host]


def _pool(sides: tuple[_Side, _Side], old: int | None, new: int | None) -> PoolChange:
    before, after = sides
    head = pool_head(after.fleet, new) if new is not None else pool_head(before.fleet, old or 0)
    then = None if old is None else before.pool(old)
    return PoolChange(
        pool=head,
        before=then,
        after=None if new is None else after.pool(new),
        hosts=_hosts(sides, before.hosts(old), after.hosts(new)),
        vms=_vms(sides, before.vms(old), after.vms(new)),
    )


def _hosts(sides: tuple[_Side, _Side], old: dict[str, int], new: dict[str, int]) -> list[HostChange]:
    changes = []
    for key in [*new, *(key for key in old if key not in new)]:
        then = sides[0].host(old[key]) if key in old else None
        now = sides[1].host(new[key]) if key in new else None
        table, row = (sides[1].fleet.hosts, new[key]) if key in new else (sides[0].fleet.hosts, old[key])
        if then is None or now is None:
            what = ["removed" if now is None else "added"]
        else:
            what = [
                name
                for name, differs in (
                    ("resized", then.memory_total != now.memory_total),
                    ("overhead", then.memory_overhead != now.memory_overhead),
                    ("enabled", now.enabled and not then.enabled),
                    ("disabled", then.enabled and not now.enabled),
                    ("live", now.live and not then.live),
                    ("not-live", then.live and not now.live),
                    ("upgraded", then.xapi_version != now.xapi_version),
                    ("renamed", sides[0].fleet.hosts.name_label[old[key]] != table.name_label[row]),
                )
                if differs
            ]
        if what:
            changes.append(HostChange(**identity(table, row), what=what, before=then, after=now))
    return changes


def _vms(sides: tuple[_Side, _Side], old: dict[str, int], new: dict[str, int]) -> list[VMChange]:
    changes = []
    for key in [*new, *(key for key in old if key not in new)]:
        then = sides[0].vm(old[key]) if key in old else None
        now = sides[1].vm(new[key]) if key in new else None
        table, row = (sides[1].fleet.vms, new[key]) if key in new else (sides[0].fleet.vms, old[key])
        if then is None or now is None:
            what = ["removed" if now is None else "added"]
        else:
            what = _differences(then, now, sides[0].host_key(old[key]), sides[1].host_key(new[key]))
            if sides[0].fleet.vms.name_label[old[key]] != table.name_label[row]:
                what.append("renamed")
        if what:
            memory = _taken(now) - _taken(then)
            changes.append(VMChange(**identity(table, row), what=what, memory=memory, before=then, after=now))
    return sorted(changes, key=lambda change: -abs(change.memory))


def _differences(then: VMThen, now: VMThen, was_on: str, is_on: str) -> list[str]:
    ended = "suspended" if now.power_state == "Suspended" else "stopped"
    differences = (
        ("started", not was_on and bool(is_on)),
        (ended, bool(was_on) and not is_on),
        ("moved", bool(was_on) and bool(is_on) and was_on != is_on),
        ("resized", then.memory_static_max != now.memory_static_max),
        (
            "ballooning",
            (then.memory_dynamic_min, then.memory_dynamic_max) != (now.memory_dynamic_min, now.memory_dynamic_max)
            and then.memory_static_max == now.memory_static_max,
        ),
        ("vcpus", then.VCPUs_max != now.VCPUs_max),
        ("overhead", then.memory_overhead != now.memory_overhead and then.memory_static_max == now.memory_static_max),
    )
    return [name for name, differs in differences if differs]


def _taken(vm: VMThen | None) -> int:
    return vm.memory_static_max + vm.memory_overhead if vm is not None and vm.host else 0


def _verdict(pools: Sequence[PoolChange]) -> str:
    both = [pool for pool in pools if pool.before is not None and pool.after is not None]
    changed = [pool for pool in pools if pool.hosts or pool.vms or pool.before is None or pool.after is None]
    if not changed:
        return f"Nothing changed in {counted(len(pools), 'pool')}."
    hosts = sum(len(pool.hosts) for pool in pools)
    vms = sum(len(pool.vms) for pool in pools)
    what = [counted(hosts, "host")] if hosts else []
    what += [counted(vms, "VM")] if vms else []
    parts = [f"{' and '.join(what) or 'No host or VM'} changed"]
    free = [
        sum(side.free.static_max for pool in both if (side := getattr(pool, name)) is not None)
        for name in ("before", "after")
    ]
    parts.append(f"free memory went from {format_size(free[0])} to {format_size(free[1])}")
    lost = [pool for pool in both if _survives(pool.before) and _survives(pool.after) is False]
    won = [pool for pool in both if _survives(pool.before) is False and _survives(pool.after)]
    if lost:
        parts.append(f"not any one host of {label(lost[0].pool)} may fail any more")
    elif won:
        parts.append(f"any one host of {label(won[0].pool)} may fail again")
    where = "" if len(pools) == 1 else f" in {counted(len(changed), 'pool')}"
    return f"{parts[0]}{where}; {'; '.join(parts[1:])}."


def _survives(pool: PoolThen | None) -> bool | None:
    return None if pool is None or pool.margin is None else pool.margin >= 0
