"""Whether HA can restart VMs on any enabled host of their pool, over the columns of a Fleet.

What an inventory does not tell is taken to be shared, as by the pool in memory. Columns tell less than rows: a PIF of a
missing bond is taken to belong to one, and of an SR-IOV network the error may be another, for the pool also asks
whether its PIFs come up without a reboot.
Source: xapi-project/xen-api, ocaml/xapi/agility.ml (vm_assert_agile).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from xenmem.rules.mobility import networks, storage
from xenmem.rules.mobility.guest import Agility

if TYPE_CHECKING:
    from xenmem.columns import Bools, Codes, Objects, Tables


def agile_errors(tables: "Tables") -> "Codes":
    """Why each VM is not agile: Agility, AGILE where it is; uint8 array, shape (vms,).

    Parameters
    ----------
    tables : of a fleet, of any number of pools
    """
    vms, hosts = tables.vms, tables.hosts
    enabled = [np.flatnonzero(hosts.enabled & (hosts.pool == pool)).tolist() for pool in range(len(tables.pools))]

    def shared_sr(sr: int) -> bool:
        there = enabled[tables.srs.pool[sr]]
        seen = {host for host in there if sr in hosts.attached_srs[host]}
        return storage.is_properly_shared(bool(tables.srs.shared[sr]), seen, there)

    def shared_network(network: int) -> bool:
        there = enabled[tables.networks.pool[network]]
        good = {
            host for host in there if network in hosts.networks[host] and network not in hosts.enslaved_networks[host]
        }
        return networks.is_properly_shared(good, there)

    bad_srs = _not(shared_sr, len(tables.srs))
    bad_networks = _not(shared_network, len(tables.networks))
    is_sriov = tables.networks.is_sriov
    answer = np.full(len(vms), Agility.AGILE, np.uint8)
    for error, fails in (
        (Agility.VM_HAS_SRIOV_VIF, _any(vms.needed_networks, is_sriov)),
        (Agility.HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED, _any(vms.needed_networks, bad_networks)),
        (Agility.HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED, _any(vms.needed_srs, bad_srs)),
        (Agility.VM_HAS_VUSBS, vms.VUSBs > 0),
        (Agility.VM_HAS_VGPU, vms.VGPUs > 0),
    ):  # the last one that holds is the first that is asked
        answer[fails] = error
    return answer


def _not(is_shared: Callable[[int], bool], count: int) -> "Bools":
    return ~np.fromiter(map(is_shared, range(count)), np.bool_, count)


def _any(needed: "Objects", bad: "Bools") -> "Bools":
    """Which VMs need one that is bad; equal needs are looked at once."""
    known = {rows: bool(bad[list(rows)].any()) if rows else False for rows in set(needed.tolist())}
    return np.fromiter(map(known.__getitem__, needed), np.bool_, len(needed))
