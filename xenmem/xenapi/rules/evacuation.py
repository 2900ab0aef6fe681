"""Where the VMs of a host go when it is emptied, or why they cannot: the questions to xenmem.planning.xapi.evacuation.

Amounts are bytes. Source: docs/reference/messages.md, 7.3; docs/reference/planning.md, 4 (xapi-project/xen-api,
ocaml/xapi/xapi_host.ml: compute_evacuation_plan_no_wlb; xapi_ha_vm_failover.ml: compute_evacuation_plan).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from xenmem.datamodel import errors
from xenmem.datamodel.errors import Failure
from xenmem.rules.hosts import names_unprotected
from xenmem.rules.start import leaves_with_static_max
from xenmem.xenapi.rules import boot, ha, operations, placement
from xenmem.xenapi.store import accounting
from xenmem.xenapi.world.features import Feature, is_enabled

if TYPE_CHECKING:
    from xenmem.xenapi.calls.call import Call
    from xenmem.xenapi.store import rows
    from xenmem.xenapi.store.database import Database


_NEVER: Final = (
    errors.HANDLE_INVALID,
    errors.HOST_DISABLED,
    errors.OPERATION_NOT_ALLOWED,
    errors.VGPU_TYPE_NO_LONGER_SUPPORTED,
    errors.VM_REQUIRES_GPU,
)
"""What no VM on a host is the reason of in the end: it is no reason, or the VM's devices are one that replaces it."""

REASONS: Final = (
    errors.NO_HOSTS_AVAILABLE,
    errors.HOST_EVACUATE_VM_NOT_HA_PROTECTED,
    *(code for code in boot.ERRORS if code not in _NEVER),
    errors.OPERATION_BLOCKED,
    errors.VM_BAD_POWER_STATE,
    errors.OTHER_OPERATION_IN_PROGRESS,
    errors.VM_IS_TEMPLATE,
    errors.VM_IS_SNAPSHOT,
    errors.VM_IS_IMMOBILE,
    errors.VM_NON_SUSPENDABLE,
    errors.VM_LACKS_FEATURE,
    errors.VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION,
    errors.VM_HAS_PCI_ATTACHED,
    errors.VM_HAS_VGPU,
    errors.VM_HAS_VUSBS,
)
"""Why a VM cannot go."""


NO_API_ERRORS: Final = frozenset((errors.HANDLE_INVALID.name, errors.INTERNAL_ERROR.name))
"""What the server sees as exceptions of its own, which end a message that records the errors of each VM."""


class Departures(NamedTuple):
    """What becomes of the VMs of a host.

    Attributes
    ----------
    migrations : VM to host, in the order of the plan
    failures : VM to the reason why it cannot go
    """

    migrations: dict[str, str]
    failures: dict[str, Failure]


def _size(database: "Database", vm: "rows.VM") -> int:
    """Memory that the planner reserves."""
    kind = accounting.domain_type(vm.domain_type)
    policy = accounting.STATIC_MAX if leaves_with_static_max(kind) else accounting.DYNAMIC_MIN
    return accounting.start_memory(database.model, vm, policy)


def pack(call: "Call", hosts: Sequence["rows.host"], vms: Sequence["rows.VM"]) -> dict[str, str]:
    """Which VM goes to which host, in the order of the plan; VMs that find no place are not in it.

    Parameters
    ----------
    call : the database must be locked
    hosts : the targets
    vms : what is to be placed

    Raises
    ------
    Failure : INTERNAL_ERROR, also where the server's own planner stumbles
    """
    from xenmem.planning.xapi import Evacuation, PlanningError, compute_evacuation_plan

    database = call.db
    groups = {vm.ref: placement.anti_affinity_group(database, vm) for vm in vms}
    distinct = list({group.ref: group for group in groups.values() if group is not None}.values())
    row_of = {group.ref: row for row, group in enumerate(distinct)}
    counts = [placement.host_to_vm_count(database, group) for group in distinct]
    try:
        plan = compute_evacuation_plan(
            Evacuation(
                total_hosts=len(database.host),
                host_refs=[host.ref for host in hosts],
                free=np.array(
                    [accounting.free_memory(host, database.host_metrics[host.metrics]) for host in hosts], np.int64
                ),
                sizes=np.array([_size(database, vm) for vm in vms], np.int64),
                group=np.array([row_of[group.ref] if group else -1 for group in groups.values()], np.int32),
                group_count=np.array(
                    [[count.get(host.ref, 0) for host in hosts] for count in counts], np.int64
                ).reshape(len(counts), len(hosts)),
                vm_groups_enabled=is_enabled(database, Feature.VM_GROUPS),
            )
        )
    except (PlanningError, ValueError) as error:
        raise errors.INTERNAL_ERROR(str(error)) from None
    return {vms[vm].ref: hosts[host].ref for vm, host in zip(plan.vms.tolist(), plan.hosts.tolist(), strict=True)}


def plan(call: "Call", host: "rows.host") -> Departures:
    """Where each VM of a host would go now, or why it cannot.

    Parameters
    ----------
    call : the database must be locked
    host : what is to be emptied

    Raises
    ------
    Failure : HANDLE_INVALID, INTERNAL_ERROR: one VM of which something is wrong ends the whole

    Notes
    -----
    Targets need not be live to be targets, but a VM must be able to boot on every one of them. The server asks the
    placed VMs a second time; within one state of the database the answer is the same.
    """
    database = call.db
    vms = [vm for ref in host.resident_VMs if not (vm := database.VM[ref]).is_control_domain]
    targets = [
        target
        for ref in database.host.refs()
        if ref != host.ref and (target := database.host[ref]).enabled and boot.is_not_older(database, target, than=host)
    ]
    if not targets:
        return Departures({}, {vm.ref: errors.NO_HOSTS_AVAILABLE(vm.ref) for vm in vms})
    failures: dict[str, Failure] = {}
    migratable = []
    named = names_unprotected(database.software_version)
    unprotected = errors.HOST_EVACUATE_VM_NOT_HA_PROTECTED if named else errors.HOST_NOT_ENOUGH_FREE_MEMORY
    for vm in vms:
        if database.the_pool.ha_enabled and not ha.is_protected(vm):
            failures[vm.ref] = unprotected(vm.ref)
            continue
        reasons = (boot.reason_against(call, vm, target.ref, memory=False) for target in targets)
        reason = next((reason for reason in reasons if reason is not None), None)
        if reason is None:
            migratable.append(vm)
        elif reason.details[0] in NO_API_ERRORS:
            raise reason
        else:
            failures[vm.ref] = reason
    for vm in vms:
        reason = operations.reason_against(call, vm, "pool_migrate")
        if reason is not None:
            failures[vm.ref] = reason
    placed = pack(call, targets, migratable) if migratable else {}
    for vm in migratable:
        if vm.ref not in placed:
            failures[vm.ref] = errors.HOST_NOT_ENOUGH_FREE_MEMORY(vm.ref)
    return Departures({vm: target for vm, target in placed.items() if vm not in failures}, failures)
