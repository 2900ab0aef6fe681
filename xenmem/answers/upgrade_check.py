"""What another version of xapi makes of a fleet: overheads, free memory, VMs that no longer start, overcommitted hosts.

Amounts are bytes. Three cases are compared: as stored now, recomputed by the pool's present model, and recomputed by
the target model. With the target, a host's own overhead changes by what its toolstack keeps back; what Xen itself takes
on a host is taken to stay.
"""

from collections.abc import Sequence

import numpy as np

from xenmem import kernel
from xenmem.answers.naming import (
    Amounts,
    Answer,
    Named,
    PoolHead,
    QuestionError,
    Result,
    at,
    at_hosts,
    identity,
    known_totals,
    label,
    name_of,
    overcommitted,
    pool_head,
    total,
)
from xenmem.columns import Bytes
from xenmem.fleet import POLICIES, Fleet
from xenmem.planning.pool_view import memory_to_start
from xenmem.text import counted
from xenmem.units import format_size


class Case(Result, frozen=True):
    """A host, or a whole pool, with the overheads of one case.

    Attributes
    ----------
    memory_overhead : sum over the VMs that count there, control domains included
    host_overhead : the host's own, its field memory_overhead
    free : what xapi would answer
    overcommitted : by how much more than there is the VMs may take
    """

    memory_overhead: int
    host_overhead: int
    free: Amounts
    overcommitted: Amounts


class HostUpgrade(Named, frozen=True):
    """One host in the three cases."""

    stored: Case
    present: Case
    target: Case


class NoLongerStarts(Named, frozen=True):
    """A VM that would start on a host now, and would not once its overhead and all others are the target model's.

    Attributes
    ----------
    host : where it is resident, else scheduled, else its affinity
    required_now, available_now : bytes, by the present model and the stored overheads
    required, available : bytes, by the target model and the host's overhead then; the VM itself is not counted as there
    """

    host: Named
    required_now: int
    available_now: int
    required: int
    available: int


class PoolUpgrade(Result, frozen=True):
    """One pool.

    Attributes
    ----------
    model, to_model : the pool's present model, and the target
    verdict : what changes, in a sentence
    total : sums over the hosts
    no_longer_start : the VMs that would not start where they are
    newly_overcommitted : hosts that the target overcommits under static_max and that were not before
    """

    pool: PoolHead
    model: str
    to_model: str
    verdict: str
    hosts: list[HostUpgrade]
    stored: Case
    present: Case
    target: Case
    no_longer_start: list[NoLongerStarts]
    newly_overcommitted: list[Named]


class UpgradeCheck(Answer, frozen=True):
    """All pools of a fleet.

    Attributes
    ----------
    to : the model, version or product that was asked for
    to_build : the version of xapi that stands for a product; else empty
    """

    to: str
    to_build: str
    to_model: str
    pools: list[PoolUpgrade]


def model_called(to: str) -> str:
    """The kernel model of this name, of this xapi version, or of this product.

    Raises
    ------
    QuestionError : it is none of these; lists what there is
    """
    try:
        return kernel.model_name_for(to)
    except ValueError as error:
        raise QuestionError(str(error).removeprefix("version: ")) from None


def build_called(to: str) -> str:
    """The version of xapi that stands for a product; empty for whatever else."""
    build = kernel.newest_build(to)
    return "" if build in kernel.MODELS else build


def upgrade_check(fleet: Fleet, to: str) -> UpgradeCheck:
    """What another model does to a fleet.

    Parameters
    ----------
    to : name of a kernel model, a xapi version such as ``26.4.0``, or a product such as ``xcp-ng-9``

    Raises
    ------
    QuestionError : it is none of these, or a host's VMs take more than any host has

    Notes
    -----
    A server rewrites all stored overheads only when its database schema changes with the upgrade; otherwise each VM
    keeps the old one until it is next started. The target is the state after that.
    """
    name = model_called(to)
    overheads = (fleet.vms.memory_overhead, fleet.overhead(), fleet.overhead(name))
    growth = fleet.host_overhead_growth(name)
    cases = [
        _cases(fleet, overhead, fleet.hosts.available - grown)
        for overhead, grown in zip(overheads, (0 * growth, 0 * growth, growth), strict=True)
    ]
    blocked = _no_longer_start(fleet, overheads[2], growth, name)
    hosts = [
        HostUpgrade(**identity(fleet.hosts, row), stored=cases[0][row], present=cases[1][row], target=cases[2][row])
        for row in range(len(fleet.hosts))
    ]
    pools = []
    for pool in range(len(fleet.pools)):
        there = [hosts[row] for row in np.flatnonzero(fleet.hosts.pool == pool)]
        no_longer_start = [vm for row, vm in blocked if fleet.vms.pool[row] == pool]
        newly_overcommitted = [
            name_of(host)
            for host in there
            if host.target.overcommitted.static_max and not host.stored.overcommitted.static_max
        ]
        stored, target_case = (_total([getattr(host, case) for host in there]) for case in ("stored", "target"))
        pools.append(
            PoolUpgrade(
                pool=pool_head(fleet, pool),
                model=fleet.pools.model[pool],
                to_model=name,
                verdict=_verdict(name, there, stored, target_case, len(no_longer_start)),
                hosts=there,
                stored=stored,
                present=_total([host.present for host in there]),
                target=target_case,
                no_longer_start=no_longer_start,
                newly_overcommitted=newly_overcommitted,
            )
        )
    return _of_pools(pools, to, name)


def joined(parts: Sequence[UpgradeCheck]) -> UpgradeCheck:
    """What the model does to all pools, from what it does to some each."""
    return _of_pools([pool for part in parts for pool in part.pools], parts[0].to, parts[0].to_model)


def _of_pools(pools: list[PoolUpgrade], to: str, name: str) -> UpgradeCheck:
    failing = [pool for pool in pools if pool.no_longer_start or pool.newly_overcommitted]
    if len(pools) == 1:
        verdict = pools[0].verdict
    else:
        bad = f"{len(failing)} {'has' if len(failing) == 1 else 'have'}" if failing else "none has"
        verdict = f"Of {len(pools)} pools {bad} VMs that no longer start where they are, or newly overcommitted hosts."
    return UpgradeCheck(
        verdict=verdict,
        outcome="no" if failing else "yes",
        to=to,
        to_build=build_called(to),
        to_model=name,
        pools=pools,
    )


def _verdict(to: str, hosts: list[HostUpgrade], stored: Case, target: Case, stuck: int) -> str:
    if not hosts:
        return "No hosts are known: nothing can be said of what is free."

    def change(after: int, before: int) -> str:
        return f"{format_size(abs(after - before))} {'more' if after >= before else 'less'}"

    def crowded(verb: str, new: bool) -> list[str]:
        found = sorted(
            (
                host
                for host in hosts
                if host.target.overcommitted.static_max and (not host.stored.overcommitted.static_max) == new
            ),
            key=lambda host: -host.target.overcommitted.static_max,
        )
        if not found:
            return []
        most = f"{label(found[0])} {{}}by {format_size(found[0].target.overcommitted.static_max)}"
        if len(found) == 1:
            return [most.format(f"{verb}s overcommitted ")]
        return [f"{len(found)} hosts {verb} overcommitted, {most.format('most, ')}"]

    stuck_text = f"{counted(stuck, 'VM')} no longer {'starts where it is' if stuck == 1 else 'start where they are'}"
    starts = stuck_text if stuck else "every VM still starts where it is"
    is_same = (target.memory_overhead, target.host_overhead) == (stored.memory_overhead, stored.host_overhead)
    first = f"With {to} nothing changes: {starts}" if is_same else f"After {to} {starts}"
    parts = [first, *crowded("become", True), *crowded("stay", False)]
    if is_same:
        return f"{'; '.join(parts)}."
    vms = change(target.memory_overhead, stored.memory_overhead)
    own = change(target.host_overhead, stored.host_overhead)
    return f"{'; '.join(parts)}. VMs take {vms}, hosts themselves {own}."


def _cases(fleet: Fleet, overhead: Bytes, available: Bytes) -> list[Case]:
    vms = fleet.vms
    own = (fleet.hosts.memory_overhead + fleet.hosts.available - available).tolist()
    used = at_hosts(fleet, overhead).tolist()
    free = {
        policy: kernel.free_memory(
            available, fleet.amount(policy), overhead, vms.resident_on, vms.scheduled_to_be_resident_on
        ).tolist()
        for policy in POLICIES
    }
    excess = {policy: overcommitted(fleet, policy, overhead, available).tolist() for policy in POLICIES}
    return [
        Case(memory_overhead=used[row], host_overhead=own[row], free=at(free, row), overcommitted=at(excess, row))
        for row in range(len(used))
    ]


def _total(cases: list[Case]) -> Case:
    return Case(
        memory_overhead=sum(case.memory_overhead for case in cases),
        host_overhead=sum(case.host_overhead for case in cases),
        free=total(case.free for case in cases),
        overcommitted=total(case.overcommitted for case in cases),
    )


def _no_longer_start(fleet: Fleet, overhead: Bytes, growth: Bytes, model: str) -> list[tuple[int, NoLongerStarts]]:
    vms = fleet.vms
    host = np.where(vms.resident_on >= 0, vms.resident_on, vms.scheduled_to_be_resident_on)
    host = np.where(host >= 0, host, vms.affinity)
    rows = np.flatnonzero(vms.is_guest & (host >= 0))
    rows = rows[known_totals(fleet)[host[rows]]]

    def without_itself(overheads: Bytes, growth: Bytes | int) -> Bytes:
        """Free memory of the hosts of these VMs, the VM itself not counted there."""
        used = fleet.amount("dynamic_min") + overheads
        times = (vms.resident_on == host).astype(np.int64) + (vms.scheduled_to_be_resident_on == host)
        there: Bytes = fleet.hosts.available - growth - at_hosts(fleet, used)
        left: Bytes = there[host[rows]] + (times * used)[rows]
        return np.maximum(left, 0)

    now, then = memory_to_start(fleet), memory_to_start(fleet, model=model)
    room_now, room_then = without_itself(vms.memory_overhead, 0), without_itself(overhead, growth)
    blocked = (now[rows] <= room_now) & (then[rows] > room_then)
    return [
        (
            row,
            NoLongerStarts(
                **identity(vms, row),
                host=Named(**identity(fleet.hosts, int(host[row]))),
                required_now=int(now[row]),
                available_now=available_now,
                required=int(then[row]),
                available=available,
            ),
        )
        for row, available_now, available in zip(
            rows[blocked].tolist(), room_now[blocked].tolist(), room_then[blocked].tolist(), strict=True
        )
    ]
