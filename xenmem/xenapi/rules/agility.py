"""Whether HA could restart a VM on any enabled host: devices, disks and networks, over rows.

What an inventory does not tell is taken to be shared. Source: xapi-project/xen-api, ocaml/xapi/agility.ml
(caching_vm_t_assert_agile).
"""

from typing import TYPE_CHECKING

from xenmem.datamodel import errors
from xenmem.datamodel.errors import Failure
from xenmem.rules.mobility import networks, storage
from xenmem.rules.start import is_protected
from xenmem.xenapi.rules import devices
from xenmem.xenapi.rules.reach import needed_srs, vifs_of

if TYPE_CHECKING:
    from xenmem.xenapi.calls.call import Call
    from xenmem.xenapi.store import rows


class Agility:
    """Asks for any number of VMs, and each SR and network once.

    Parameters
    ----------
    call : the database must be locked, and nothing change, as long as this is used
    """

    def __init__(self, call: "Call") -> None:
        self._call = call
        self._enabled = [host.ref for host in call.db.host if host.enabled]
        self._srs: dict[str, bool] = {}
        self._networks: dict[str, bool] = {}

    def assert_agile(self, vm: "rows.VM") -> None:
        """Raise the first reason why not any enabled host could run a VM."""
        if vm.VGPUs:
            raise errors.VM_HAS_VGPU(vm.ref)
        if vm.VUSBs:
            raise errors.VM_HAS_VUSBS(vm.ref)
        sight = self._call.world.sight
        if vm.VBDs and sight.knows_storage:
            for sr in needed_srs(self._call.db, vm, image=False):
                if not self.is_sr_shared(sr):
                    raise errors.HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED(sr)
        if vm.VIFs and sight.knows_networks:
            for vif in vifs_of(self._call.db, vm):
                if not self.is_network_shared(vif.network):
                    raise errors.HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED(vif.network)
                if self._is_sriov(vif.network):
                    raise errors.VM_HAS_SRIOV_VIF(vm.ref)

    def is_agile(self, vm: "rows.VM") -> bool:
        """Whether any enabled host could run a VM; whatever goes wrong means no."""
        try:
            self.assert_agile(vm)
        except Failure:
            return False
        return True

    def is_sr_shared(self, ref: str) -> bool:
        """Whether every enabled host sees an SR that is marked as shared."""
        known = self._srs.get(ref)
        if known is None:
            sight, shared = self._call.world.sight, self._call.db.SR[ref].shared
            attached_on = {host for host in self._enabled if ref in sight.srs(host)} if shared else set()
            known = self._srs[ref] = storage.is_properly_shared(shared, attached_on, self._enabled)
        return known

    def is_network_shared(self, ref: str) -> bool:
        """Whether every enabled host has a good PIF on a network.

        Raises
        ------
        Failure : HANDLE_INVALID, INTERNAL_ERROR
        """
        known = self._networks.get(ref)
        if known is None:
            database = self._call.db
            pifs = (database.tables["PIF"].rows.get(pif) for pif in database.network[ref].PIFs)
            good_on = {pif.host for pif in pifs if pif is not None and self._is_good(pif)}
            known = self._networks[ref] = networks.is_properly_shared(good_on, self._enabled)
        return known

    def _is_good(self, pif: "rows.PIF") -> bool:
        database = self._call.db
        if pif.bond_slave_of in database.tables["Bond"]:
            return False
        sriov = devices.sriov_of(database, pif) if len(database.tables["network_sriov"]) else None
        return networks.is_good(False, None if sriov is None else devices.logical(database, sriov))

    def _is_sriov(self, ref: str) -> bool:
        database = self._call.db
        return len(database.tables["network_sriov"]) > 0 and devices.is_sriov(database, ref)


def is_kept_agile(call: "Call", vm: "rows.VM") -> bool:
    """Whether nothing may be done that would keep HA from restarting a VM anywhere: a plan is to hold for it."""
    pool = call.db.the_pool
    return pool.ha_enabled and not pool.ha_allow_overcommit and is_protected(vm.ha_always_run, vm.ha_restart_priority)


def assert_agile_with_disk(call: "Call", vm: "rows.VM", vdi: "rows.VDI") -> None:
    """HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED [SR] if a disk would keep HA from restarting a VM (xapi_vbd_helpers.ml)."""
    if is_kept_agile(call, vm) and not Agility(call).is_sr_shared(vdi.SR):
        raise errors.HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED(vdi.SR)


def assert_agile_with_network(call: "Call", vm: "rows.VM", network: str) -> None:
    """HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED [network] if a VIF would (xapi_vif_helpers.ml)."""
    if is_kept_agile(call, vm) and not Agility(call).is_network_shared(network):
        raise errors.HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED(network)
