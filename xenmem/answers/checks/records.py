"""R01 to R06: records that count for nothing, or are inherited."""

from typing import Final

import numpy as np

from xenmem.answers.checks.memory import limits, too_large_now
from xenmem.answers.checks.rule import Found, Question, found, rule
from xenmem.columns import Bools, PowerState
from xenmem.units import TIB

LARGE_TEMPLATE: Final = TIB
MOTIONS: Final = frozenset(("pool_migrate", "migrate_send", "start", "start_on", "resume", "resume_on"))
"""Operations for whose sake a VM has a reservation."""


def _operating(question: Question, operations: frozenset[str] | None = None) -> Bools:
    """On which VMs one of some operations is under way, by default any."""
    return np.fromiter(
        (bool(own) if operations is None else not operations.isdisjoint(own) for own in _operations(question)),
        np.bool_,
        len(question.fleet.vms),
    )


def _operations(question: Question) -> list[tuple[str, ...]]:
    listed: list[tuple[str, ...]] = question.fleet.vms.current_operations.tolist()
    return listed


def _reserved(question: Question, which: Bools) -> Found:
    vms, hosts = question.fleet.vms, question.fleet.hosts
    rows = np.flatnonzero(which & (vms.scheduled_to_be_resident_on >= 0))
    return Found(
        rows.tolist(),
        {
            "host": [hosts.label(int(host)) for host in vms.scheduled_to_be_resident_on[rows]],
            "memory": (vms.memory_dynamic_min + vms.memory_overhead)[rows].tolist(),
        },
    )


@rule(
    "R01",
    "W",
    "vms",
    "runs nowhere, and is still counted",
    text="{memory:size} reserved on {host}",
    consequence="memory is reserved for nothing",
    remedy="restart the toolstack of the coordinator; from xapi 25.31.0 on that of VMs that arrived is cleared",
    source="xapi-project/xen-api, commit afe8e1b9f3",
    needs=("reservations",),
)
def _r01(question: Question) -> Found:
    resting = np.isin(question.fleet.vms.power_state, (PowerState.HALTED, PowerState.SUSPENDED))
    return _reserved(question, question.guest & resting & ~_operating(question))


@rule(
    "R02",
    "W",
    "vms",
    "runs, and is counted twice",
    text="{memory:size} reserved on {host}, and it does not migrate",
    consequence="it is counted on both hosts for ever",
    remedy="restart the toolstack of the coordinator",
    source="planning.md, 1",
    needs=("reservations",),
)
def _r02(question: Question) -> Found:
    return _reserved(question, question.running & ~_operating(question, MOTIONS))


@rule(
    "R03",
    "I",
    "vms",
    "suspended, and resumes nowhere now",
    text="needs {needed:size}; {host} has most free, {missing:size} too little",
    consequence="it cannot resume",
    remedy="plan for it: xenmem place",
    source="planning.md, 5",
    needs=("totals",),
)
def _r03(question: Question) -> Found:
    return too_large_now(question, question.guest & (question.fleet.vms.power_state == PowerState.SUSPENDED))


@rule(
    "R04",
    "I",
    "vms",
    "template with limits amiss",
    text="static {static_min:size} to {static_max:size}, dynamic {dynamic_min:size} to {dynamic_max:size}",
    consequence="VMs that are made of it inherit them",
    remedy="xe template-param-set uuid={uuid} memory-static-max=... ...",
    source="vatesfr/xen-orchestra issues 3496, 1949",
)
def _r04(question: Question) -> Found:
    vms = question.fleet.vms
    template = vms.is_a_template & ~vms.is_a_snapshot
    amiss = (vms.memory_static_max < vms.memory_static_min) | (vms.memory_dynamic_max > vms.memory_static_max)
    return limits(question, template & (amiss | (vms.memory_static_max >= LARGE_TEMPLATE)))


@rule(
    "R05",
    "I",
    "vms",
    "memory_target other than dynamic_min",
    text="target {target:size}, dynamic_min {dynamic_min:size}",
    consequence="none: no accounting uses it",
    remedy="none needed",
    source="memory-model.md",
    needs=("target",),
)
def _r05(question: Question) -> Found:
    vms = question.fleet.vms
    which = question.guest & (vms.memory_target >= 0) & (vms.memory_target != vms.memory_dynamic_min)
    return found(which, target=vms.memory_target, dynamic_min=vms.memory_dynamic_min)


@rule(
    "R06",
    "E",
    "vms",
    "snapshot that is on a host",
    text="{memory:size} on {host}",
    consequence="a snapshot counts as memory in use: the record is damaged",
    remedy="xe snapshot-reset-powerstate, or xe snapshot-uninstall uuid={uuid}",
    source="planning.md, 1",
)
def _r06(question: Question) -> Found:
    vms, hosts = question.fleet.vms, question.fleet.hosts
    rows = np.flatnonzero(vms.is_a_snapshot & (vms.resident_on >= 0))
    return Found(
        rows.tolist(),
        {
            "host": [hosts.label(int(host)) for host in vms.resident_on[rows]],
            "memory": (vms.memory_dynamic_min + vms.memory_overhead)[rows].tolist(),
        },
    )
