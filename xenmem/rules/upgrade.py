"""What differs between versions of xapi: how records of old servers are read, and what a newer server changes.

Takes values of fields, or columns of them; amounts are bytes. Knows neither Fleet nor database.
Source: xapi-project/xen-api, ocaml/xapi/xapi_db_upgrade.ml, dbsync_slave.ml (record_host_memory_properties).
"""

from typing import Final, TypeVar

import numpy as np

from xenmem import kernel
from xenmem.columns import Bools, Bytes
from xenmem.units import MIB

Flags = TypeVar("Flags", bool, Bools)

LAST_SCHEMA_OF_7_0: Final = 93
SCHEMA_OF_7_3: Final = 133


# ---------------------------------------------------------------------------------------------------------- old records


def is_up_to_7_0(schema_minor: int | None, lacks_requires_reboot: Flags) -> Flags:
    """Whether a server was of 7.0 or older: by the schema of its dump, else by a field of VMs that came later."""
    if schema_minor is None:
        return lacks_requires_reboot
    return (lacks_requires_reboot & False) | (schema_minor <= LAST_SCHEMA_OF_7_0)


def derives_hvm(has_boot_policy: Flags, always_pv: Flags) -> Flags:
    """Whether a VM that names no domain type is HVM: by its HVM_boot_policy, but for what is PV anyhow."""
    return has_boot_policy & (always_pv ^ True)


def is_truthy(value: str | None) -> bool:
    """A flag of VM.platform: `true` or `1` in any case (vm_platform.ml: is_true with default false)."""
    return value is not None and value.lower() in ("true", "1")


# ------------------------------------------------------------------------------------------------------------- upgrades


def host_reserve(model: str) -> int:
    """Memory that squeezed keeps free on each host, which a toolstack adds to host.memory_overhead when it starts."""
    return kernel.MODELS[model].host_reserve_mib * MIB


_RESERVES: Final = tuple(sorted({0, *map(host_reserve, kernel.MODELS)}))


def reserve_told(memory_total: Bytes, memory_overhead: Bytes, boot_free_mem: Bytes) -> Bytes:
    """The reserve that is in each stored host.memory_overhead, which is what was not free at boot and that.

    Parameters
    ----------
    memory_total, memory_overhead : int64 arrays, shape (hosts,)
    boot_free_mem : int64 array, shape (hosts,); 0 where it is unknown

    Returns
    -------
    int64 array, shape (hosts,), bytes; -1 where the memory free at boot does not tell it
    """
    stored = memory_overhead - (memory_total - boot_free_mem)
    return np.where((boot_free_mem > 0) & np.isin(stored, _RESERVES), stored, -1)


def overhead_growth(
    memory_total: Bytes, memory_overhead: Bytes, boot_free_mem: Bytes, present: list[str], target: str
) -> Bytes:
    """By how much host.memory_overhead grows when hosts run another version; what Xen itself takes is taken to stay.

    Parameters
    ----------
    memory_total, memory_overhead : int64 arrays, shape (hosts,)
    boot_free_mem : int64 array, shape (hosts,); 0 where it is unknown
    present : names of the kernel models that the hosts compute with now
    target : name of the kernel model that they all compute with then

    Returns
    -------
    int64 array, shape (hosts,), bytes; negative for a step back

    Notes
    -----
    A stored overhead is what was not free at boot, and the reserve, or no reserve where squeezed did not answer. Where
    the memory free at boot does not tell which, the host is taken to keep back what its model says.
    """
    by_model = np.array([host_reserve(model) for model in present], np.int64)
    told = reserve_told(memory_total, memory_overhead, boot_free_mem)
    growth: Bytes = host_reserve(target) - np.where(told >= 0, told, by_model)
    return growth
