"""The host that VM.start and VM.resume take, out of the whole pool or by how many VMs of a group hosts have.

Amounts are bytes. Source: docs/reference/messages.md, 6; docs/reference/planning.md, 5 (xapi-project/xen-api,
ocaml/xapi/vm_placement.ml, xapi_vm_helpers.ml: choose_host_for_vm_no_wlb).
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from xenmem.datamodel import errors
from xenmem.datamodel.errors import Failure
from xenmem.planning.xapi import placement as planning
from xenmem.rules.mobility.devices import best_hosts, best_sriov_hosts
from xenmem.rules.mobility.networks import comes_up_without_reboot
from xenmem.xenapi.rules import boot, devices, reach
from xenmem.xenapi.world.features import Feature, is_enabled
from xenmem.xenapi.world.ranking import Draw, IsValid, Room, room_of, size_of, taken_by

if TYPE_CHECKING:
    from xenmem.xenapi.calls.call import Call
    from xenmem.xenapi.store import rows
    from xenmem.xenapi.store.database import Database


_MOST: Final = 2**52
"""Bytes beyond which one amount is as good as another; a thousand times the difference of two is an int64."""


def anti_affinity_group(database: "Database", vm: "rows.VM") -> "rows.VM_group | None":
    """A VM's first group that wants its VMs apart (xapi_vm_helpers.ml: vm_has_anti_affinity)."""
    if vm.groups and is_enabled(database, Feature.VM_GROUPS):
        for ref in vm.groups:
            group = database.VM_group.get(ref)
            if group is not None and group.placement == "anti_affinity":
                return group
    return None


def host_to_vm_count(database: "Database", group: "rows.VM_group") -> dict[str, int]:
    """How many VMs of a group each host has: where scheduled, else where they run; paused ones do not count."""
    count: dict[str, int] = {}
    for ref in group.members:
        vm = database.VM[ref]
        host = vm.scheduled_to_be_resident_on
        if host not in database.host and vm.power_state == "Running":
            host = vm.resident_on
        if host in database.host:
            count[host] = count.get(host, 0) + 1
    return count


def choose_host(call: "Call", vm: "rows.VM") -> str:
    """The host that a VM starts or resumes on.

    Parameters
    ----------
    call : the database must be locked
    vm : what is to be placed

    Returns
    -------
    str : the host's reference

    Raises
    ------
    Failure : NO_HOSTS_AVAILABLE, also where only memory is missing; NETWORK_SRIOV_INSUFFICIENT_CAPACITY [network]
    """
    database = call.db
    upgrading = boot.is_upgrading(database)
    bias = database.the_pool.coordinator_bias
    uniform = call.world.draw

    def draw() -> float:
        value = uniform()
        return value * value

    def can_run(ref: str, memory: bool = True) -> bool:
        host = database.host.rows[ref]
        if (
            not (host.enabled or vm.is_control_domain)
            or (upgrading and not boot.has_highest_version(database, host))
            or "evacuate" in host.current_operations.values()
        ):
            return False
        try:
            boot.assert_can_boot_here(call, vm, ref, memory=memory)
        except Failure:
            return False
        return True

    has_functions = vm.VIFs and database.tables["network_sriov"].rows
    lists = _host_lists(call, vm) if vm.groups or vm.VGPUs or has_functions else None
    if lists is None:
        ranking = call.world.ranking
        chosen = ranking.select(vm, bias=bias, is_valid=can_run, draw=draw)
        if chosen is None:
            chosen = ranking.select(vm, bias=bias, is_valid=partial(can_run, memory=False), draw=draw)
    else:
        everywhere = [ref for hosts in lists for ref in hosts]
        attempts: list[tuple[list[str], IsValid]] = [(hosts, can_run) for hosts in lists]
        attempts.append((everywhere, partial(can_run, memory=False)))
        chosen = None
        for hosts, is_valid in attempts:
            chosen = _select_from(database, vm, hosts, bias=bias, is_valid=is_valid, draw=draw)
            if chosen is not None:
                break
    if chosen is None:
        raise errors.NO_HOSTS_AVAILABLE()
    return chosen


def _host_lists(call: "Call", vm: "rows.VM") -> list[list[str]] | None:
    """The hosts in the order in which a VM prefers them, by what it is; None if it does not care.

    Notes
    -----
    Source: xapi_vm_helpers.ml: get_group_key, choose_host_for_vm_no_wlb.
    """
    database = call.db
    group = anti_affinity_group(database, vm)
    if group is not None:
        return _by_group(database, vm, group)
    vgpus = devices.vgpus_of(database, vm)
    if vgpus:
        return _by_gpus(database, vm, vgpus[0])
    for vif in reach.vifs_of(database, vm) if len(database.tables["network_sriov"]) else ():
        if devices.is_sriov(database, vif.network):
            return _by_functions(database, vif.network)
    return None


def _by_gpus(database: "Database", vm: "rows.VM", first: "rows.VGPU") -> list[list[str]]:
    """By what the GPUs in the group of the first vGPU have left for its type (rank_hosts_by_best_vgpu)."""
    pgpus = [pgpu for pgpu in database.tables["PGPU"] if pgpu.GPU_group == first.GPU_group]
    capacities: dict[str, int] = {}
    for host in database.host.refs():
        with suppress(Failure):
            devices.pick_gpus(database, vm, host)
            there = (pgpu for pgpu in pgpus if pgpu.host == host)
            capacities[host] = sum(devices.remaining_capacity(database, pgpu, first.type) for pgpu in there)
    if not capacities:
        raise errors.NO_HOSTS_AVAILABLE()
    group: rows.GPU_group = database.tables["GPU_group"][first.GPU_group]
    return best_hosts(capacities, group.allocation_algorithm)


def _by_functions(database: "Database", network: str) -> list[list[str]]:
    """By idle virtual functions, then hosts that must plug the network first (group_hosts_by_best_sriov)."""
    idle: dict[str, int] = {}
    startable = []
    pifs = (database.tables["PIF"].rows.get(ref) for ref in database.network[network].PIFs)
    for pif in pifs:
        sriov = None if pif is None else devices.sriov_of(database, pif)
        if pif is None or sriov is None:
            continue
        if pif.currently_attached:
            idle[pif.host] = len(devices.idle_functions(database, sriov))
        elif comes_up_without_reboot(devices.logical(database, sriov)):
            startable.append(pif.host)
    groups = best_sriov_hosts(idle, startable)
    if not groups:
        raise errors.NETWORK_SRIOV_INSUFFICIENT_CAPACITY(network)
    return groups


def _by_group(database: "Database", vm: "rows.VM", group: "rows.VM_group") -> list[list[str]]:
    """The VM's affinity host, then the others by how many VMs of the group they have (planning.md, 5.4)."""
    count = host_to_vm_count(database, group)
    by_count: dict[int, list[str]] = {}
    for ref in reversed(database.host.refs()):
        if ref != vm.affinity:
            by_count.setdefault(count.get(ref, 0), []).append(ref)
    first = [[vm.affinity]] if vm.affinity in database.host else []
    return first + [by_count[number] for number in sorted(by_count)]


def _bounded(room: Room) -> Room:
    return Room._make(max(-_MOST, min(_MOST, amount)) for amount in room)


def _select_from(
    database: "Database", vm: "rows.VM", hosts: Sequence[str], *, bias: bool, is_valid: IsValid, draw: Draw
) -> str | None:
    """A host out of some, as `Ranking.select` would choose it if these were the pool."""
    sizes = {ref: size for ref in hosts if (size := size_of(database, database.host[ref])) is not None}
    there = list(sizes)
    rooms = [room_of(database.host[ref], size) for ref, size in sizes.items()]
    left = np.array([_bounded(room) for room in rooms], np.int64).reshape(-1, 3)
    taken = _bounded(taken_by(vm))
    summary = planning.HostSummary(
        static_min_sum=np.zeros(len(there), np.int64),
        dynamic_min_sum=taken.dynamic_min - left[:, 2],
        dynamic_max_sum=taken.dynamic_max - left[:, 1],
        static_max_sum=taken.static_max - left[:, 0],
        available=np.zeros(len(there), np.int64),
    )
    master = database.the_pool.master
    values = planning.category_values(
        summary,
        [place for place, ref in enumerate(there) if ref == vm.affinity],
        [place for place, ref in enumerate(there) if bias and ref == master],
    )
    chosen = planning.select_host(values, lambda place: is_valid(there[place]), draw)
    return None if chosen is None else there[chosen]
