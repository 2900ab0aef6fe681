"""What another version of xapi makes of a fleet: overheads, free memory, VMs that no longer start, overcommitted hosts.

Amounts are bytes. Three cases are compared: as stored now, recomputed by the pool's present model, and recomputed by
the target model. Only VM overheads change; host overheads, which the hypervisor samples at boot, are taken to stay.
"""

import numpy as np

from xenmem import kernel
from xenmem.answers.naming import (
    Amounts,
    Named,
    PoolHead,
    QuestionError,
    Result,
    at,
    at_hosts,
    boot_policy,
    identity,
    known_totals,
    overcommitted,
    pool_head,
    total,
)
from xenmem.fleet import POLICIES, Bytes, Fleet


class Case(Result, frozen=True):
    """A host, or a whole pool, with the overheads of one case.

    Attributes
    ----------
    memory_overhead : sum over the VMs that count there, control domains included
    free : what xapi would answer
    overcommitted : by how much more than there is the VMs may take
    """

    memory_overhead: int
    free: Amounts
    overcommitted: Amounts


class HostUpgrade(Result, frozen=True):
    """One host in the three cases."""

    ref: str
    uuid: str
    name_label: str
    stored: Case
    present: Case
    target: Case


class NoLongerStarts(Result, frozen=True):
    """A VM that would start on a host now, and would not once its overhead and all others are the target model's.

    Attributes
    ----------
    host : where it is resident, else scheduled, else its affinity
    needed_now, available_now : bytes, by the present model and the stored overheads
    needed, available : bytes, by the target model; the VM itself is not counted as being there
    """

    ref: str
    uuid: str
    name_label: str
    host: Named
    needed_now: int
    available_now: int
    needed: int
    available: int


class PoolUpgrade(Result, frozen=True):
    """One pool.

    Attributes
    ----------
    model, to_model : the pool's present model, and the target
    total : sums over the hosts
    no_longer_start : the VMs that would not start where they are
    newly_overcommitted : hosts that the target overcommits under static_max and that were not before
    """

    pool: PoolHead
    model: str
    to_model: str
    hosts: list[HostUpgrade]
    stored: Case
    present: Case
    target: Case
    no_longer_start: list[NoLongerStarts]
    newly_overcommitted: list[Named]


class UpgradeCheck(Result, frozen=True):
    """All pools of a fleet; ``to`` is the model or version that was asked for."""

    to: str
    to_model: str
    pools: list[PoolUpgrade]


def model_called(to: str) -> str:
    """The kernel model of this name, or of this xapi version.

    Raises
    ------
    QuestionError : it is neither
    """
    try:
        return to if to in kernel.MODELS else kernel.model_name_for(to)
    except ValueError:
        models = ", ".join(kernel.MODELS)
        raise QuestionError(f"{to!r} is neither a model ({models}) nor a xapi version such as 26.4.0") from None


def upgrade_check(fleet: Fleet, to: str) -> UpgradeCheck:
    """What another model does to a fleet.

    Parameters
    ----------
    to : name of a kernel model, or a xapi version such as ``26.4.0``

    Raises
    ------
    QuestionError : it is neither, or a host's VMs take more than any host has

    Notes
    -----
    A server rewrites all stored overheads only when its database schema changes with the upgrade; otherwise each VM
    keeps the old one until it is next started. The target is the state after that.
    """
    name = model_called(to)
    overheads = (fleet.vms.memory_overhead, fleet.overhead(), fleet.overhead(name))
    cases = [_cases(fleet, overhead) for overhead in overheads]
    blocked = _no_longer_start(fleet, overheads[2], name)
    hosts = [
        HostUpgrade(**identity(fleet.hosts, row), stored=cases[0][row], present=cases[1][row], target=cases[2][row])
        for row in range(len(fleet.hosts))
    ]
    pools = []
    for pool in range(len(fleet.pools)):
        there = [hosts[row] for row in np.flatnonzero(fleet.hosts.pool == pool)]
        pools.append(
            PoolUpgrade(
                pool=pool_head(fleet, pool),
                model=fleet.pools.model[pool],
                to_model=name,
                hosts=there,
                stored=_total([host.stored for host in there]),
                present=_total([host.present for host in there]),
                target=_total([host.target for host in there]),
                no_longer_start=[vm for row, vm in blocked if fleet.vms.pool[row] == pool],
                newly_overcommitted=[
                    Named(ref=host.ref, uuid=host.uuid, name_label=host.name_label)
                    for host in there
                    if host.target.overcommitted.static_max and not host.stored.overcommitted.static_max
                ],
            )
        )
    return UpgradeCheck(to=to, to_model=name, pools=pools)


def _cases(fleet: Fleet, overhead: Bytes) -> list[Case]:
    vms = fleet.vms
    used = at_hosts(fleet, overhead).tolist()
    free = {
        policy: kernel.free_memory(
            fleet.hosts.available, fleet.amount(policy), overhead, vms.resident_on, vms.scheduled_to_be_resident_on
        ).tolist()
        for policy in POLICIES
    }
    excess = {policy: overcommitted(fleet, policy, overhead).tolist() for policy in POLICIES}
    return [
        Case(memory_overhead=used[row], free=at(free, row), overcommitted=at(excess, row)) for row in range(len(used))
    ]


def _total(cases: list[Case]) -> Case:
    return Case(
        memory_overhead=sum(case.memory_overhead for case in cases),
        free=total(case.free for case in cases),
        overcommitted=total(case.overcommitted for case in cases),
    )


def _no_longer_start(fleet: Fleet, overhead: Bytes, model: str) -> list[tuple[int, NoLongerStarts]]:
    vms = fleet.vms
    host = np.where(vms.resident_on >= 0, vms.resident_on, vms.scheduled_to_be_resident_on)
    host = np.where(host >= 0, host, vms.affinity)
    rows = np.flatnonzero(vms.is_guest & (host >= 0))
    rows = rows[known_totals(fleet)[host[rows]]]
    at_static_max = np.array([boot_policy(kind) == "static_max" for kind in kernel.DomainType])[vms.domain_type]

    def needed(name: str | None) -> Bytes:
        return np.where(at_static_max, fleet.start_memory("static_max", name), fleet.start_memory("dynamic_min", name))

    def without_itself(overheads: Bytes) -> Bytes:
        """Free memory of each VM's host, the VM itself not counted there."""
        used = fleet.amount("dynamic_min") + overheads
        times = (vms.resident_on == host).astype(np.int64) + (vms.scheduled_to_be_resident_on == host)
        left: Bytes = (fleet.hosts.available - at_hosts(fleet, used))[host] + times * used
        return np.maximum(left, 0)

    now, then = needed(None), needed(model)
    room_now, room_then = without_itself(vms.memory_overhead), without_itself(overhead)
    blocked = rows[(now[rows] <= room_now[rows]) & (then[rows] > room_then[rows])]
    return [
        (
            row,
            NoLongerStarts(
                **identity(vms, row),
                host=Named(**identity(fleet.hosts, int(host[row]))),
                needed_now=int(now[row]),
                available_now=int(room_now[row]),
                needed=int(then[row]),
                available=int(room_then[row]),
            ),
        )
        for row in blocked.tolist()
    ]
