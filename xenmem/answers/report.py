"""The report: where the memory of each pool's hosts is, what is free under each policy, and what is amiss.

Amounts are bytes. Free memory counts the stored overheads, as xapi does; a model given changes only what is computed
anew beside them: the VMs' computed overhead, their start memory, and the findings that compare with these.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from xenmem import kernel
from xenmem.answers import caveats
from xenmem.answers.naming import (
    Amounts,
    Answer,
    Finding,
    Named,
    PoolHead,
    Result,
    at,
    at_hosts,
    exact_sum,
    identity,
    known,
    known_totals,
    label,
    labels,
    listed,
    named,
    overcommitted,
    pool_head,
    refs,
    total,
)
from xenmem.columns import Bools, Bytes
from xenmem.fleet import POLICIES, Fleet, Note, PowerState
from xenmem.text import counted
from xenmem.units import format_size


class Usage(Result, frozen=True):
    """What the VMs resident on, or scheduled for, a host take of it.

    Attributes
    ----------
    count : VMs; one that is both resident and scheduled there is one
    memory, memory_overhead : bytes; one that is both resident and scheduled there counts twice, as in xapi
    """

    count: int
    memory: Amounts
    memory_overhead: int


class HostReport(Named, frozen=True):
    """The memory of a host.

    Attributes
    ----------
    memory_total, memory_free : as last measured; None is unknown
    memory_overhead : taken by the hypervisor, sampled when the host booted
    control_domains, vms : taken by the control domains there, and by all other VMs
    free : what xapi would answer; 0 where memory_total is unknown
    overcommitted : by how much more than there is the VMs may take
    """

    is_coordinator: bool
    enabled: bool
    live: bool
    memory_total: int | None
    memory_overhead: int
    control_domains: Usage
    vms: Usage
    free: Amounts
    overcommitted: Amounts
    memory_free: int | None


class Totals(Result, frozen=True):
    """Sums over the hosts of a pool; unknown amounts are left out.

    Attributes
    ----------
    free : on hosts that are enabled and live: elsewhere no VM starts
    """

    hosts: int
    memory_total: int
    memory_overhead: int
    control_domains: Usage
    vms: Usage
    free: Amounts
    overcommitted: Amounts
    memory_free: int


class VMReport(Named, frozen=True):
    """The memory of a VM.

    Attributes
    ----------
    kind : guest, control_domain, template or snapshot
    memory_target : None where the inventory cannot tell it
    memory_overhead : as stored; this is what its host's free memory counts
    compute_memory_overhead : recomputed from the record
    stored_overhead_model : which model the stored overhead belongs to; empty if none
    start_memory : required to start with the amount that each policy names
    """

    kind: str
    power_state: str
    domain_type: str
    resident_on: Named | None
    scheduled_to_be_resident_on: Named | None
    VCPUs_max: int
    VCPUs_at_startup: int
    HVM_shadow_multiplier: float
    memory_static_max: int
    memory_dynamic_max: int
    memory_dynamic_min: int
    memory_static_min: int
    memory_target: int | None
    memory_actual: int
    memory_overhead: int
    compute_memory_overhead: int
    stored_overhead_model: str
    start_memory: Amounts


class PoolReport(Result, frozen=True):
    """One pool; ``vms`` only where it was asked for."""

    pool: PoolHead
    hosts: list[HostReport]
    total: Totals
    warnings: list[Finding]
    vms: list[VMReport] | msgspec.UnsetType = msgspec.UNSET


class Report(Answer, frozen=True):
    """All pools of a fleet, and what was assumed or skipped while it was read."""

    pools: list[PoolReport]
    notes: list[Note]


def report(fleet: Fleet, *, model: str | None = None, vms: bool = False) -> Report:
    """Where the memory of a fleet is.

    Parameters
    ----------
    model : name of the kernel model for what is computed anew; by default each pool's own. Free memory counts stored
        overheads and does not change with it
    vms : report each VM, too: guests, control domains, and whatever else a host counts

    Raises
    ------
    ValueError : the model does not exist
    QuestionError : a host's VMs take more than any host has
    """
    hosts = _hosts(fleet)
    computed = fleet.overhead(model)
    belongs_to = fleet.stored_overhead_model()
    in_table = ~fleet.vms.is_a_template | (fleet.vms.resident_on >= 0) | (fleet.vms.scheduled_to_be_resident_on >= 0)
    pools = []
    for pool in range(len(fleet.pools)):
        host_rows = np.flatnonzero(fleet.hosts.pool == pool)
        vm_rows = np.flatnonzero(in_table & (fleet.vms.pool == pool))
        there = [hosts[row] for row in host_rows]
        pools.append(
            PoolReport(
                pool=pool_head(fleet, pool),
                hosts=there,
                total=_totals(there),
                warnings=[
                    *_host_findings(fleet, pool, host_rows),
                    *_overcommitments(there),
                    *caveats.measured_below(fleet, host_rows),
                    *_vm_findings(fleet, vm_rows),
                    *_overhead_findings(fleet, vm_rows, computed, belongs_to, model or fleet.pools.model[pool]),
                ],
                vms=_vms(fleet, vm_rows, computed, belongs_to, model) if vms else msgspec.UNSET,
            )
        )
    return _of_pools(pools, list(fleet.notes))


def joined(parts: Sequence[Report]) -> Report:
    """The report of all pools, from reports of some each."""
    notes = dict.fromkeys(note for part in parts for note in part.notes)
    return _of_pools([pool for part in parts for pool in part.pools], list(notes))


def _of_pools(pools: list[PoolReport], notes: list[Note]) -> Report:
    hosts = [host for pool in pools for host in pool.hosts]
    return Report(verdict=_verdict(hosts), outcome="yes", pools=pools, notes=notes)


def _verdict(hosts: list[HostReport]) -> str:
    if not hosts:
        return "No hosts are known: nothing can be said of what is free."
    free = _totals(hosts).free
    able = [host for host in hosts if host.enabled and host.live]
    where = counted(len(able), "host") + ("" if len(able) == len(hosts) else f" of {len(hosts)}")
    crowded = sorted(
        (host for host in hosts if host.overcommitted.static_max), key=lambda host: -host.overcommitted.static_max
    )
    if not crowded:
        amiss = "no host is overcommitted"
    elif len(crowded) == 1:
        amiss = f"{label(crowded[0])} is overcommitted by {format_size(crowded[0].overcommitted.static_max)}"
    else:
        most = f"{label(crowded[0])} most, by {format_size(crowded[0].overcommitted.static_max)}"
        amiss = f"{len(crowded)} hosts are overcommitted, {most}"
    most = "also" if free.static_max == free.dynamic_min else format_size(free.static_max)
    return (
        f"{where} {'has' if len(hosts) == 1 else 'have'} {format_size(free.dynamic_min)} free for new VMs "
        f"({most} if all VMs take their most); {amiss}."
    )


def _hosts(fleet: Fleet) -> list[HostReport]:
    hosts = fleet.hosts
    is_control_domain = fleet.vms.is_control_domain
    free = {policy: fleet.free_memory(policy).tolist() for policy in POLICIES}
    excess = {policy: overcommitted(fleet, policy).tolist() for policy in POLICIES}
    control_domains = _usage(fleet, is_control_domain)
    others = _usage(fleet, ~is_control_domain)
    has_total = known_totals(fleet)
    return [
        HostReport(
            **identity(hosts, row),
            is_coordinator=bool(hosts.is_coordinator[row]),
            enabled=bool(hosts.enabled[row]),
            live=bool(hosts.live[row]),
            memory_total=int(hosts.memory_total[row]) if has_total[row] else None,
            memory_overhead=int(hosts.memory_overhead[row]),
            control_domains=control_domains[row],
            vms=others[row],
            free=at(free, row),
            overcommitted=at(excess, row),
            memory_free=known(int(hosts.memory_free[row])),
        )
        for row in range(len(hosts))
    ]


def _usage(fleet: Fleet, which: Bools) -> list[Usage]:
    vms = fleet.vms
    memory = {policy: at_hosts(fleet, fleet.amount(policy), which).tolist() for policy in POLICIES}
    overhead = at_hosts(fleet, vms.memory_overhead, which).tolist()
    scheduled_elsewhere = vms.scheduled_to_be_resident_on != vms.resident_on
    count = np.zeros(len(fleet.hosts), dtype=np.int64)
    for rows, once in ((vms.resident_on, which), (vms.scheduled_to_be_resident_on, which & scheduled_elsewhere)):
        count += np.bincount(rows[once & (rows >= 0)], minlength=len(count))
    return [
        Usage(count=number, memory=at(memory, row), memory_overhead=overhead[row])
        for row, number in enumerate(count.tolist())
    ]


def _total_usage(usages: list[Usage]) -> Usage:
    return Usage(
        count=sum(usage.count for usage in usages),
        memory=total(usage.memory for usage in usages),
        memory_overhead=sum(usage.memory_overhead for usage in usages),
    )


def _totals(hosts: list[HostReport]) -> Totals:
    return Totals(
        hosts=len(hosts),
        memory_total=sum(host.memory_total or 0 for host in hosts),
        memory_overhead=sum(host.memory_overhead for host in hosts),
        control_domains=_total_usage([host.control_domains for host in hosts]),
        vms=_total_usage([host.vms for host in hosts]),
        free=total(host.free for host in hosts if host.enabled and host.live),
        overcommitted=total(host.overcommitted for host in hosts),
        memory_free=sum(host.memory_free or 0 for host in hosts),
    )


def _vms(
    fleet: Fleet, rows: NDArray[np.intp], computed: Bytes, belongs_to: NDArray[np.object_], model: str | None
) -> list[VMReport]:
    vms = fleet.vms
    start = {policy: fleet.start_memory(policy, model) for policy in POLICIES}
    return [
        VMReport(
            **identity(vms, row),
            kind=kind_of(fleet, row),
            power_state=PowerState(vms.power_state[row]).name.capitalize(),
            domain_type=kernel.DomainType(vms.domain_type[row]).name.lower(),
            resident_on=named(fleet.hosts, int(vms.resident_on[row])),
            scheduled_to_be_resident_on=named(fleet.hosts, int(vms.scheduled_to_be_resident_on[row])),
            VCPUs_max=int(vms.VCPUs_max[row]),
            VCPUs_at_startup=int(vms.VCPUs_at_startup[row]),
            HVM_shadow_multiplier=float(vms.HVM_shadow_multiplier[row]),
            memory_static_max=int(vms.memory_static_max[row]),
            memory_dynamic_max=int(vms.memory_dynamic_max[row]),
            memory_dynamic_min=int(vms.memory_dynamic_min[row]),
            memory_static_min=int(vms.memory_static_min[row]),
            memory_target=known(int(vms.memory_target[row])),
            memory_actual=int(vms.memory_actual[row]),
            memory_overhead=int(vms.memory_overhead[row]),
            compute_memory_overhead=int(computed[row]),
            stored_overhead_model=belongs_to[row],
            start_memory=Amounts(**{policy: int(start[policy][row]) for policy in POLICIES}),
        )
        for row in rows.tolist()
    ]


def kind_of(fleet: Fleet, vm: int) -> str:
    """What a row of the class VM is: snapshot, template, control_domain or guest."""
    if fleet.vms.is_a_snapshot[vm]:
        return "snapshot"
    if fleet.vms.is_a_template[vm]:
        return "template"
    return "control_domain" if fleet.vms.is_control_domain[vm] else "guest"


# ----------------------------------------------------------------------------------------------------------- findings


def _host_findings(fleet: Fleet, pool: int, rows: NDArray[np.intp]) -> list[Finding]:
    hosts = fleet.hosts
    findings = []
    for kind, which, text in (
        ("host-disabled", ~hosts.enabled, "disabled: no VM starts there"),
        ("host-not-live", ~hosts.live, "not live: its memory was last measured before it was lost"),
        ("memory-total-unknown", ~known_totals(fleet), "of unknown memory_total: nothing counts as free there"),
        (
            "model-differs",
            (hosts.model != fleet.pools.model[pool]) & (hosts.model != ""),
            f"of another model than the coordinator, which computes by {fleet.pools.model[pool]}",
        ),
    ):
        bad = rows[which[rows]].tolist()
        if bad:
            verb = "is" if len(bad) == 1 else "are"
            findings.append(
                Finding(
                    kind=kind,
                    text=f"{counted(len(bad), 'host')} {verb} {text} ({labels(hosts, bad)})",
                    hosts=refs(hosts, bad),
                )
            )
    return findings


def _overcommitments(hosts: list[HostReport]) -> list[Finding]:
    findings = []
    for policy in POLICIES:
        excess = {host.ref: getattr(host.overcommitted, policy) for host in hosts}
        bad = sorted((host for host in hosts if excess[host.ref]), key=lambda host: -excess[host.ref])
        if bad:
            verb = "is" if len(bad) == 1 else "are"
            shown = [f"{label(host)} by {format_size(excess[host.ref])}" for host in bad]
            findings.append(
                Finding(
                    kind="overcommitted",
                    text=f"{counted(len(bad), 'host')} {verb} overcommitted under {policy}: {listed(shown)}",
                    hosts=[host.ref for host in bad],
                    memory=sum(excess[host.ref] for host in bad),
                )
            )
    return findings


def _vm_findings(fleet: Fleet, rows: NDArray[np.intp]) -> list[Finding]:
    vms = fleet.vms
    resident, scheduled = vms.resident_on[rows], vms.scheduled_to_be_resident_on[rows]
    both = (resident >= 0) & (scheduled >= 0)
    out_of_order = (
        (vms.memory_static_min > vms.memory_dynamic_min)
        | (vms.memory_dynamic_min > vms.memory_dynamic_max)
        | (vms.memory_dynamic_max > vms.memory_static_max)
    )[rows]
    used = fleet.amount("dynamic_min") + vms.memory_overhead
    is_halted = (vms.power_state[rows] == PowerState.HALTED) & (scheduled >= 0)
    is_left_over = is_halted & np.fromiter((not vms.current_operations[row] for row in rows), np.bool_, len(rows))
    return [
        *_vm_finding(
            fleet,
            "counted-twice",
            rows[both & (resident == scheduled)],
            ("is", "are"),
            "resident and scheduled at once on one host, and counted twice there",
            used,
        ),
        *_vm_finding(
            fleet,
            "migrating",
            rows[both & (resident != scheduled)],
            ("is", "are"),
            "migrating, and counted on both hosts",
            used,
        ),
        *_vm_finding(
            fleet,
            "halted-reservation",
            rows[is_left_over],
            ("is", "are"),
            "halted, and still counted where memory was reserved for it",
            used,
        ),
        *_vm_finding(
            fleet,
            "constraints",
            rows[out_of_order],
            ("has", "have"),
            "memory limits out of order: static_min <= dynamic_min <= dynamic_max <= static_max is broken",
        ),
        *_vm_finding(
            fleet,
            "shadow-multiplier",
            rows[vms.HVM_shadow_multiplier[rows] < 1],
            ("has", "have"),
            "an HVM_shadow_multiplier below 1: such a VM does not start",
        ),
    ]


def _vm_finding(
    fleet: Fleet,
    kind: str,
    rows: NDArray[np.intp],
    verbs: tuple[str, str],
    text: str,
    memory: Bytes | None = None,
) -> list[Finding]:
    if not len(rows):
        return []
    bad: Sequence[int] = rows.tolist()
    amount = None if memory is None else exact_sum(memory[rows])
    shown = "" if amount is None else f", {format_size(amount)} each time"
    verb = verbs[len(bad) != 1]
    return [
        Finding(
            kind=kind,
            text=f"{counted(len(bad), 'VM')} {verb} {text}{shown} ({labels(fleet.vms, bad)})",
            vms=refs(fleet.vms, bad),
            memory=amount,
        )
    ]


def _overhead_findings(
    fleet: Fleet, rows: NDArray[np.intp], computed: Bytes, belongs_to: NDArray[np.object_], model: str
) -> list[Finding]:
    """Stored overheads that are not the model's; memory is what they lack, negative where they have too much."""
    missing = computed - fleet.vms.memory_overhead
    findings = []
    for name in (*kernel.MODELS, ""):
        bad = rows[(missing[rows] != 0) & (belongs_to[rows] == name)].tolist()
        if bad:
            amount = exact_sum(missing[bad])
            whose = f"of model {name}" if name else "of no known model"
            difference = f"{format_size(abs(amount))} {'below' if amount >= 0 else 'above'}"
            noun = "1 VM has the stored overhead" if len(bad) == 1 else f"{len(bad)} VMs have stored overheads"
            findings.append(
                Finding(
                    kind="stored-overhead",
                    text=f"{noun} {whose}, in all {difference} what model {model} computes ({labels(fleet.vms, bad)})",
                    vms=refs(fleet.vms, bad),
                    memory=amount,
                )
            )
    return findings
