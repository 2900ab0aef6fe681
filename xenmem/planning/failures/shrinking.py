"""VMs with less memory: what they need to start at their least, and the largest limit with which one starts.

Amounts are bytes. All is computed as the server computes what VMs need now (the columns ``accounted_*``), with which it
is compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xenmem import kernel
from xenmem.planning.pool_view import memory_to_start

if TYPE_CHECKING:
    from xenmem.columns import Bytes
    from xenmem.fleet import Fleet


def memory_at_minimum(fleet: Fleet) -> Bytes:
    """What each VM would need to start if its memory_static_max were what is promised to it, its memory_dynamic_min.

    Returns
    -------
    int64 array, shape (vms,); at most what it needs to start with its static_max
    """
    vms = fleet.vms
    needed = memory_to_start(fleet, "static_max")
    for pool, model in enumerate(fleet.pools.model):
        rows = np.flatnonzero(vms.pool == pool)
        low = vms.memory_dynamic_min[rows]
        normal, shadow = kernel.required_memory(
            vms.accounted_domain_type[rows],
            low,
            low,
            vms.accounted_VCPUs_max[rows],
            vms.accounted_shadow_multiplier[rows],
            model=model,
        )
        needed[rows] = np.minimum(normal + shadow, needed[rows])
    return needed


def largest_static_max(fleet: Fleet, vm: int, memory: int) -> int:
    """The largest memory_static_max with which a VM starts in so much memory: between its minimum and what it has.

    Parameters
    ----------
    vm : row of the VM
    """
    vms = fleet.vms
    most = kernel.maximise_memory(
        vms.accounted_domain_type[vm],
        vms.accounted_VCPUs_max[vm],
        vms.accounted_shadow_multiplier[vm],
        memory,
        model=fleet.pools.model[vms.pool[vm]],
    )
    return min(int(vms.memory_static_max[vm]), max(int(vms.memory_dynamic_min[vm]), int(most)))
