"""Where the VMs of a host are squeezed to when another one starts there: as the pool does it, and fairly.

Amounts are bytes, whole KiB. Planning answers; here its rows become names. All VMs are taken to co-operate.
"""

from collections.abc import Iterable

import numpy as np

from xenmem import planning
from xenmem.answers import caveats, script
from xenmem.answers.naming import Answer, Named, PoolHead, QuestionError, as_question, identity, name_of, pool_head
from xenmem.fleet import Fleet, PowerState
from xenmem.planning import xapi
from xenmem.planning.ballooning import check_newcomer
from xenmem.planning.xapi.balloon import NEWCOMER, Target
from xenmem.units import KIB


class SqueezedVM(Named, frozen=True):
    """A VM on the host, or the one that is to start there.

    Attributes
    ----------
    memory_dynamic_min, memory_dynamic_max : its range
    target : now; memory_dynamic_max where that is unknown; None of the newcomer
    squeezed : the target that the pool sets to make room; None of the newcomer
    balanced : the target that the pool sets once the newcomer has started; None if it does not start
    fair : the target with which every VM has its minimum and the same share of its range; None if it does not start
    """

    memory_dynamic_min: int
    memory_dynamic_max: int
    target: int | None
    squeezed: int | None
    balanced: int | None
    fair: int | None


class BalloonReport(Answer, frozen=True):
    """What starting a VM does to those on a host.

    Attributes
    ----------
    ref, uuid, name_label : the VM that is to start
    host : where; chosen as the pool does if nobody named one
    memory_dynamic_min, memory_dynamic_max, memory_overhead : its range, and what comes on top
    granted : what it starts with as the pool does it, overhead included; None if it does not start
    granted_fairly : with fair targets; 0 if it does not start
    newcomer : its targets, which leave the overhead out
    missing : memory missing for the minimums of all; then it does not start
    reason : in a sentence
    vms : those that run on the host
    caveats : what makes the free memory doubtful
    """

    pool: PoolHead
    ref: str
    uuid: str
    name_label: str
    power_state: str
    host: Named
    memory_dynamic_min: int
    memory_dynamic_max: int
    memory_overhead: int
    granted: int | None
    granted_fairly: int
    missing: int
    reason: str
    newcomer: SqueezedVM
    vms: list[SqueezedVM]
    caveats: list[str]


def balloon(fleet: Fleet, vm: int, host: int | None = None) -> BalloonReport:
    """The targets of the VMs on a host once another one starts there.

    Parameters
    ----------
    vm : row of the VM
    host : row of the host; None: the one that the pool ranks first for a start now

    Raises
    ------
    QuestionError : see planning.balloon; or no host would take the VM and none is named
    """
    vms = fleet.vms
    with as_question():
        check_newcomer(fleet, vm)
        if host is None:
            host = _first_choice(fleet, vm)
        answer = planning.balloon(fleet, vm, host)
    least, most = int(vms.memory_dynamic_min[vm]), int(vms.memory_dynamic_max[vm])
    squeezed, fair = _by_place(answer.squeezed.targets), _by_place(answer.fair.targets)
    balanced = _by_place(answer.squeezed.balanced)
    targets = np.where(vms.memory_target > 0, vms.memory_target, vms.memory_dynamic_max)
    granted = answer.squeezed.granted_kib
    overhead = int(fleet.overhead()[vm])
    newcomer = dict(answer.squeezed.balanced).get(NEWCOMER)
    starts = "does not start" if answer.fair.missing_kib else "starts"
    return BalloonReport(
        verdict=f"VM {vms.label(vm)} {starts} on {fleet.hosts.label(host)}: {answer.reason}.",
        outcome="no" if answer.fair.missing_kib else "yes",
        pool=pool_head(fleet, int(vms.pool[vm])),
        **identity(vms, vm),
        power_state=PowerState(vms.power_state[vm]).name.capitalize(),
        host=Named(**identity(fleet.hosts, host)),
        memory_dynamic_min=least,
        memory_dynamic_max=most,
        memory_overhead=overhead,
        granted=None if granted is None else granted * KIB,
        granted_fairly=answer.fair.granted_kib * KIB,
        missing=answer.fair.missing_kib * KIB,
        reason=answer.reason,
        newcomer=SqueezedVM(
            **identity(vms, vm),
            memory_dynamic_min=least,
            memory_dynamic_max=most,
            target=None,
            squeezed=None,
            balanced=None if newcomer is None else newcomer * KIB - overhead,
            fair=None if answer.fair.missing_kib else answer.fair.granted_kib * KIB - overhead,
        ),
        vms=[
            SqueezedVM(
                **identity(vms, row),
                memory_dynamic_min=int(vms.memory_dynamic_min[row]),
                memory_dynamic_max=int(vms.memory_dynamic_max[row]),
                target=int(targets[row]),
                squeezed=squeezed[place],
                balanced=balanced.get(place),
                fair=fair[place],
            )
            for place, row in enumerate(answer.vms)
        ],
        caveats=caveats.of_hosts(fleet, np.array([host])),
    )


def _first_choice(fleet: Fleet, vm: int) -> int:
    try:
        return xapi.choose_host_for_vm(fleet, vm, xapi.placement.zero)
    except xapi.PlanningError:
        raise QuestionError(
            f"no host takes VM {fleet.vms.label(vm)} even with all others at dynamic_min: name a host to see why"
        ) from None


def _by_place(targets: Iterable[Target]) -> dict[int, int]:
    return {domid: kib * KIB for domid, kib in targets if domid != NEWCOMER}


def with_fair_targets(result: BalloonReport) -> list[script.Action]:
    """The changes that start the VM with fair targets: dynamic ranges that hold them, those that shrink first.

    Raises
    ------
    QuestionError : the VM does not start

    Notes
    -----
    A range of one amount keeps squeezed from balancing the host anew. Where all have their dynamic_max none is needed.
    """
    if result.missing:
        raise QuestionError(f"the VM does not start: {result.reason}")
    begin = script.start if result.power_state == "Halted" else script.resume
    held = [vm for vm in result.vms if vm.memory_dynamic_min < vm.memory_dynamic_max]
    if all(vm.fair == vm.memory_dynamic_max for vm in held):
        held = []
    held.sort(key=lambda vm: (vm.fair or 0) - (vm.target or 0))
    return [
        *(script.set_dynamic_range(name_of(vm), vm.fair or 0, vm.fair or 0) for vm in held),
        begin(name_of(result.newcomer), result.host),
    ]
