"""Pools for the benchmarks of the planners, from fixed seeds. Amounts are bytes where no name says MiB."""

import numpy as np
import pools

import xenmem
from xenmem import kernel, planning
from xenmem.units import GIB, MIB

from .arrays import Array

SIZES = np.array([1, 2, 4, 8, 16, 32, 64])


def vm_sizes(vms: int, seed: int = 1) -> Array:
    """A mix with the overheads that make no two sizes quite alike."""
    rng = np.random.default_rng(seed)
    shares = np.array([8, 14, 23, 21, 14, 7, 3]) / 90
    return rng.choice(SIZES, vms, p=shares) * GIB + rng.integers(8, 600, vms) * MIB


def level(sizes: Array, hosts: int) -> tuple[Array, Array]:
    """Each VM, by falling size, on the host with the most room: the hosts, and what is on each."""
    resident, load = np.zeros(len(sizes), np.int32), np.zeros(hosts, np.int64)
    for vm in np.argsort(-sizes):
        resident[vm] = load.argmin()
        load[resident[vm]] += sizes[vm]
    return resident, load


def pool_of(hosts: int, vms: int, fill: float, name: str = "pool") -> xenmem.Fleet:
    """One pool, each VM started where xapi would, and hosts full to that share."""
    static_max = vm_sizes(vms)
    sizes = (static_max + kernel.overhead(kernel.DomainType.HVM, static_max, 2, 1.0)) // MIB
    resident, load = level(sizes, hosts)
    capacity = np.maximum(int(sizes.sum() / hosts / fill), load)
    guests = list(zip(sizes.tolist(), resident.tolist(), strict=True))
    return pools.pool(capacity.tolist(), guests, vcpus=2, cpus=1_000, name=name)


def restart_pool(hosts: int, vms: int) -> planning.RestartPool:
    """VMs anywhere, and hosts with a quarter more than the fullest has."""
    rng = np.random.default_rng(2)
    size, resident = vm_sizes(vms), rng.integers(0, hosts, vms)
    load = np.bincount(resident, weights=size, minlength=hosts).astype(np.int64)
    free = np.maximum(0, int(load.max() * 1.25) - load)
    return planning.RestartPool.from_arrays(free, size, resident)
