"""What every planner starts from: the hosts of a Fleet that take VMs, what they have left, and what VMs take there.

Amounts are bytes. Rows are those of the Fleet, which is only read; knows no question and no plan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xenmem import kernel
from xenmem.columns import Bools, Bytes, Rows
from xenmem.rules.hosts import able, is_known
from xenmem.rules.start import leaves_with_static_max, starts_with_static_max

if TYPE_CHECKING:
    from xenmem.fleet import Fleet


def able_hosts(fleet: Fleet, hosts: Rows) -> Rows:
    """Those of the hosts that take VMs: enabled, live, and of known memory.

    Raises
    ------
    ValueError : an enabled and live host has no known memory; names it
    """
    taking = hosts[able(fleet.hosts.enabled, fleet.hosts.live)[hosts]]
    unknown = taking[~is_known(fleet.hosts.memory_total)[taking]]
    if len(unknown):
        raise ValueError(f"host {fleet.hosts.label(unknown[0])}: its memory_total is unknown")
    return taking


def able_hosts_of_pool(fleet: Fleet, pool: int) -> tuple[Rows, Rows]:
    """The hosts of a pool that take VMs, and the rows of all its VM records.

    Raises
    ------
    ValueError : there is no such pool, no host of it takes VMs, or the memory of one is unknown
    """
    if not 0 <= pool < len(fleet.pools):
        raise ValueError(f"pool: {pool} is outside 0..{len(fleet.pools) - 1}")
    hosts = able_hosts(fleet, np.flatnonzero(fleet.hosts.pool == pool).astype(np.int32))
    if not len(hosts):
        raise ValueError(f"pool {fleet.pools.label(pool)}: has no host that is enabled and live")
    return hosts, np.flatnonzero(fleet.vms.pool == pool).astype(np.int32)


def room(fleet: Fleet, policy: str, without: Bools | None = None) -> Bytes:
    """What each host has left, below 0 where it is overcommitted: int64 array, shape (hosts of the fleet,).

    Parameters
    ----------
    fleet, policy : what counts of a VM under the policy, and its stored overhead, count where it is resident and where
        it is scheduled
    without : bool array, shape (vms,), VMs that are not counted; but what the migration of one of them has reserved
        is not free before that has ended
    """
    vms = fleet.vms
    resident, reserved = vms.resident_on, vms.scheduled_to_be_resident_on
    if without is not None:
        reserved = np.where(without & (resident < 0), -1, reserved).astype(np.int32)
        resident = np.where(without, -1, resident).astype(np.int32)
    # the kernel's free memory ends at 0, so it is asked of hosts so large that none is overcommitted
    everything = np.full(len(fleet.hosts), kernel.MAX_BYTES)
    taken = everything - kernel.free_memory(everything, fleet.amount(policy), vms.memory_overhead, resident, reserved)
    left: Bytes = fleet.hosts.available - taken
    return left


def memory_to_start(fleet: Fleet, policy: str = "dynamic_min", model: str | None = None) -> Bytes:
    """What must be free for each VM to start, to resume or to arrive: int64 array, shape (vms,), bytes.

    Parameters
    ----------
    fleet : any inventory
    policy : which limit counts of a VM that balloons; the pool itself asks for ``dynamic_min``
    model : name of a kernel model for all VMs; by default each VM's pool's own

    Raises
    ------
    ValueError : the policy or the model does not exist
    """
    return _at_static_max_where(starts_with_static_max(fleet.vms.accounted_domain_type), fleet, policy, model)


def memory_to_leave(fleet: Fleet) -> Bytes:
    """What the pool's own plan of an evacuation reserves for each VM: int64 array, shape (vms,), bytes."""
    return _at_static_max_where(leaves_with_static_max(fleet.vms.accounted_domain_type), fleet, "dynamic_min", None)


def _at_static_max_where(these: Bools, fleet: Fleet, policy: str, model: str | None) -> Bytes:
    needed = fleet.start_memory(policy, model)
    return np.where(these, fleet.start_memory("static_max", model), needed) if these.any() else needed


def place_in(rows: Rows, length: int) -> Rows:
    """Where each of `length` rows stands among these, -1 for nowhere; one entry more, so that row -1 is nowhere."""
    places = np.full(length + 1, -1, np.int32)
    places[rows] = np.arange(len(rows), dtype=np.int32)
    return places
