"""How much memory a VM must find free to come to a host, and which VMs always run: over scalars and columns alike.

Amounts are bytes. Knows the VM alone: not what a host has, nor which VMs may come to it.
"""

from typing import Final, overload

import numpy as np
from numpy.typing import NDArray

from xenmem.columns import Bools, Objects
from xenmem.kernel import DomainType

RESTART: Final = "restart"
"""The HA restart priority of VMs that HA keeps running (constants.ml: ha_restart)."""
RESTART_PRIORITIES: Final = (RESTART, "best-effort", "")


@overload
def is_protected(ha_always_run: bool, ha_restart_priority: str) -> bool: ...
@overload
def is_protected(ha_always_run: Bools, ha_restart_priority: Objects) -> Bools: ...
def is_protected(ha_always_run: bool | Bools, ha_restart_priority: str | Objects) -> bool | Bools:
    """Whether HA restarts a VM (helpers.ml: vm_should_always_run)."""
    return ha_always_run & (ha_restart_priority == RESTART)


@overload
def starts_with_static_max(domain_type: int) -> bool: ...
@overload
def starts_with_static_max(domain_type: NDArray[np.integer]) -> Bools: ...
def starts_with_static_max(domain_type: int | NDArray[np.integer]) -> bool | Bools:
    """Whether a start, a resume or a migration asks for memory_static_max, not memory_dynamic_min.

    A domain of type pv_in_pvh does not balloon while it is built; one of type pvh is asked for its minimum.
    Source: ocaml/xapi/xapi_vm_helpers.ml, ``assert_enough_memory_available``.
    """
    return domain_type == DomainType.PV_IN_PVH


@overload
def leaves_with_static_max(domain_type: int) -> bool: ...
@overload
def leaves_with_static_max(domain_type: NDArray[np.integer]) -> Bools: ...
def leaves_with_static_max(domain_type: int | NDArray[np.integer]) -> bool | Bools:
    """Whether the pool's own plan of an evacuation reserves memory_static_max; unlike a start, also for pvh.

    Source: ocaml/xapi/xapi_ha_vm_failover.ml, ``vm_memory``.
    """
    return (domain_type == DomainType.PV_IN_PVH) | (domain_type == DomainType.PVH)


def start_policy(domain_type: int) -> str:
    """The limit of a VM that it must find free to start: ``static_max`` or ``dynamic_min``."""
    return "static_max" if starts_with_static_max(domain_type) else "dynamic_min"
