"""What is measured of a fleet: every metric with its help, computed from the Fleet alone by the project's planners.

Amounts are bytes. What is not known has no sample. Knows neither files nor HTTP; docs/how-to/metrics.md tells what each
metric means.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np

from xenmem import kernel, planning
from xenmem.answers.check import check
from xenmem.answers.explain import host_obstacles
from xenmem.answers.fit import fit
from xenmem.answers.naming import HOLD_POLICY, START_POLICY, at_hosts, known_totals, overcommitted
from xenmem.answers.replay import Replay
from xenmem.columns import POLICIES, Bools, Bytes, PowerState, Rows
from xenmem.exposition import Family, Sample, text
from xenmem.fleet import Fleet
from xenmem.planning import xapi
from xenmem.planning.pool_view import memory_to_start
from xenmem.rules.hosts import able
from xenmem.rules.upgrade import reserve_told
from xenmem.units import GIB, format_size, parse_size

HELP: Final = {
    "xenmem_pool_info": "Version and overhead model of the pool, always 1",
    "xenmem_inventory_timestamp_seconds": "When the records were read",
    "xenmem_inventory_complete": "1 if the inventory has this class",
    "xenmem_host_memory_total_bytes": "Memory of the host",
    "xenmem_host_memory_reserved_bytes": "What is accounted, by kind; migrating is the second count of VMs under way",
    "xenmem_host_memory_free_bytes": "Accounted free memory, 0 at least",
    "xenmem_host_memory_overcommitted_bytes": "By how much the sum exceeds the host",
    "xenmem_host_memory_measured_free_bytes": "What Xen reports as free",
    "xenmem_host_largest_vm_bytes": "Largest static_max that starts here now",
    "xenmem_host_enabled": "1 if the host takes VMs",
    "xenmem_host_live": "1 if the host is up",
    "xenmem_host_evacuable": "1 if its VMs find places elsewhere",
    "xenmem_host_evacuation_missing_bytes": "What VMs need that find no place elsewhere",
    "xenmem_host_vms": "VMs resident",
    "xenmem_host_memory_reserve_bytes": "What squeezed keeps free, as the overhead stored at boot tells it",
    "xenmem_pool_memory_free_bytes": "Accounted free memory of enabled, live hosts",
    "xenmem_pool_failures_survivable": "Host failures survived with certainty; -1 if not all VMs can run even now",
    "xenmem_pool_ha_failures_to_tolerate": "The pool's own field",
    "xenmem_pool_ha_overcommitted": "The pool's own field",
    "xenmem_pool_margin_bytes": "Memory that each host could lose with so many failures still survived",
    "xenmem_pool_vms_fit": "VMs of this size that still fit",
    "xenmem_pool_stranded_bytes": "Free memory in pieces too small for this size",
    "xenmem_pool_empty_hosts": "Hosts without guests",
    "xenmem_check_findings": "Findings of xenmem check",
    "xenmem_vm_memory_accounted_bytes": "Amount plus stored overhead of a VM on a host",
    "xenmem_vm_memory_overhead_bytes": "Overhead of a VM on a host",
}
"""By name, in the order in which they are written."""

_CLASSES: Final = {
    "pool": "no-pool",
    "host": "no-hosts",
    "host_metrics": "no-host-metrics",
    "VM": "no-vms",
    "VM_guest_metrics": "no-guest-metrics",
    "SR": "no-storage",
    "network": "no-networks",
    "PGPU": "no-gpus",
    "PUSB": "no-usb",
}
"""Classes whose absence reading notes, each with the kind of that note."""


class Size(NamedTuple):
    """A size of VMs to ask about: bytes of memory, all limits alike, and VCPUs_max."""

    memory: int
    vcpus: int

    @property
    def label(self) -> str:
        """As it stands in the label ``size``: as people write it, where that is exact."""
        shown = format_size(self.memory)
        return shown if parse_size(shown) == self.memory else str(self.memory)


@dataclass(frozen=True)
class Asked:
    """What is asked of each pool.

    Attributes
    ----------
    sizes : of VMs that may come, each once
    failures : numbers of hosts that may fail
    per_vm : also the metrics that have a series for each VM
    time_limit : seconds for each search
    """

    sizes: Sequence[Size] = (Size(4 * GIB, 2), Size(16 * GIB, 4))
    failures: Sequence[int] = (0, 1)
    per_vm: bool = False
    time_limit: float = 10.0


def openmetrics(fleet: Fleet, read_at: float | Sequence[float], asked: Asked | None = None) -> str:
    """All metrics of a fleet as OpenMetrics.

    Parameters
    ----------
    fleet : of any number of pools
    read_at : when its records were read, in seconds since 1970; or those of each pool
    asked : what is asked of each pool
    """
    collection = Collection(fleet, asked or Asked())
    for stage in STAGES.values():
        stage(collection)
    collection.timestamps(read_at)
    return text(collection.families())


@dataclass
class Collection:
    """The samples of a fleet while they are computed; parameters as of `openmetrics`."""

    fleet: Fleet
    asked: Asked
    _samples: dict[str, list[Sample]] = field(default_factory=lambda: {name: [] for name in HELP})

    def families(self) -> list[Family]:
        """All that has been added."""
        return [Family(name, HELP[name], samples) for name, samples in self._samples.items()]

    def timestamps(self, read_at: float | Sequence[float]) -> None:
        """Add when each pool was read."""
        for pool in range(len(self.fleet.pools)):
            when = read_at[pool] if isinstance(read_at, Sequence) else read_at
            self.of_pool("xenmem_inventory_timestamp_seconds", pool, when)

    def of_pool(self, name: str, pool: int, value: float, **labels: str) -> None:
        """Add a sample of a pool, a row."""
        self._samples[name].append(Sample({**self._pools[pool], **labels}, value))

    def of_host(self, name: str, host: int, value: float, **labels: str) -> None:
        """Add a sample of a host, a row."""
        self._samples[name].append(Sample({**self._hosts[host], **labels}, value))

    def of_vm(self, name: str, vm: int, value: float, **labels: str) -> None:
        """Add a sample of a VM, a row."""
        vms = self.fleet.vms
        uuid = {"uuid": vms.uuid[vm] or vms.ref[vm]}
        self._samples[name].append(Sample({**self._pools[int(vms.pool[vm])], **uuid, **labels}, value))

    @cached_property
    def _pools(self) -> list[Mapping[str, str]]:
        pools = self.fleet.pools
        return [
            {"pool_uuid": pools.uuid[row] or pools.ref[row] or pools.source[row], "pool_name": pools.name_label[row]}
            for row in range(len(pools))
        ]

    @cached_property
    def _hosts(self) -> list[Mapping[str, str]]:
        hosts = self.fleet.hosts
        return [
            {**self._pools[pool], "uuid": hosts.uuid[row] or hosts.ref[row], "host_name": hosts.name_label[row]}
            for row, pool in enumerate(hosts.pool.tolist())
        ]

    # --------------------------------------------------------------------------------------- what several stages ask

    @cached_property
    def running(self) -> Bools:
        """The guests that are on a host."""
        return self.fleet.vms.is_guest & (self.fleet.vms.resident_on >= 0)

    @cached_property
    def able(self) -> Bools:
        """The hosts that take VMs."""
        return able(self.fleet.hosts.enabled, self.fleet.hosts.live)

    def to_restart(self, pool: int, policy: str, protected: Bools | None) -> planning.RestartPool | None:
        """What planning asks about host failures of; None where it cannot be asked, or no VM is to be restarted."""
        try:
            made = planning.RestartPool.from_fleet(self.fleet, pool, policy=policy, protected=protected)
        except ValueError:  # no host takes VMs, or the memory of one is unknown
            return None
        return made if len(made.vms) else None


# ---------------------------------------------------------------------------------------------------------- accounting


def _accounting(into: Collection) -> None:
    """What the records say, and sums of it."""
    _pool_records(into)
    _host_records(into)
    _free(into)
    _reserved(into)
    if into.asked.per_vm:
        _vms(into)


def _pool_records(into: Collection) -> None:
    fleet, pools, hosts = into.fleet, into.fleet.pools, into.fleet.hosts
    guests = np.bincount(fleet.vms.resident_on[into.running], minlength=len(hosts))
    for pool in range(len(pools)):
        master = int(pools.master[pool])
        software = hosts.software_version[master] if master >= 0 else {}
        product = f"{software.get('product_brand', '')} {software.get('product_version', '')}".strip()
        version = hosts.xapi_version[master] if master >= 0 else ""
        into.of_pool("xenmem_pool_info", pool, 1, xapi_version=version, model=pools.model[pool], product=product)
        absent = {note.kind for note in fleet.notes if note.source == pools.source[pool]}
        for name, kind in _CLASSES.items():
            into.of_pool("xenmem_inventory_complete", pool, kind not in absent, **{"class": name})
        into.of_pool("xenmem_pool_ha_failures_to_tolerate", pool, int(pools.ha_host_failures_to_tolerate[pool]))
        into.of_pool("xenmem_pool_ha_overcommitted", pool, bool(pools.ha_overcommitted[pool]))
        into.of_pool("xenmem_pool_empty_hosts", pool, int((guests[hosts.pool == pool] == 0).sum()))


def _host_records(into: Collection) -> None:
    fleet, hosts = into.fleet, into.fleet.hosts
    totals = known_totals(fleet)
    reserve = reserve_told(hosts.memory_total, hosts.memory_overhead, hosts.boot_free_mem)
    states = {state: np.bincount(_homes(into, state), minlength=len(hosts)) for state in PowerState}
    for host in range(len(hosts)):
        if totals[host]:
            into.of_host("xenmem_host_memory_total_bytes", host, int(hosts.memory_total[host]))
        if hosts.memory_free[host] > 0:  # 0 stands for what was never measured
            into.of_host("xenmem_host_memory_measured_free_bytes", host, int(hosts.memory_free[host]))
        if reserve[host] >= 0 and totals[host]:
            into.of_host("xenmem_host_memory_reserve_bytes", host, int(reserve[host]))
        into.of_host("xenmem_host_enabled", host, bool(hosts.enabled[host]))
        into.of_host("xenmem_host_live", host, bool(hosts.live[host]))
        for state, count in states.items():
            if count[host] or state in (PowerState.RUNNING, PowerState.PAUSED):
                into.of_host("xenmem_host_vms", host, int(count[host]), state=state.name.lower())


def _homes(into: Collection, state: PowerState) -> Rows:
    vms = into.fleet.vms
    homes: Rows = vms.resident_on[into.running & (vms.power_state == state)]
    return homes


def _free(into: Collection) -> None:
    fleet, hosts = into.fleet, into.fleet.hosts
    totals = known_totals(fleet)
    for policy in POLICIES:
        free, excess = fleet.free_memory(policy), overcommitted(fleet, policy)
        for host in np.flatnonzero(totals).tolist():
            into.of_host("xenmem_host_memory_free_bytes", host, int(free[host]), policy=policy)
            into.of_host("xenmem_host_memory_overcommitted_bytes", host, int(excess[host]), policy=policy)
        for pool in range(len(fleet.pools)):
            those = (hosts.pool == pool) & into.able & totals
            into.of_pool("xenmem_pool_memory_free_bytes", pool, int(free[those].sum()), policy=policy)


def _reserved(into: Collection) -> None:
    """What is accounted under dynamic_min; with what is free, less what is too much, it is the memory of the host."""
    fleet, vms = into.fleet, into.fleet.vms
    amount, overhead = fleet.amount("dynamic_min"), vms.memory_overhead
    counted_again = np.where(vms.resident_on >= 0, vms.scheduled_to_be_resident_on, -1)
    first = np.where(vms.resident_on >= 0, vms.resident_on, vms.scheduled_to_be_resident_on)

    def on_hosts(rows: Rows, amounts: Bytes, which: Bools) -> list[int]:
        sums = np.zeros(len(fleet.hosts), np.int64)
        there = which & (rows >= 0)
        np.add.at(sums, rows[there], amounts[there])
        return list(map(int, sums))

    at_hosts(fleet, amount + overhead)  # refuses sums beyond any host
    everybody = np.ones(len(vms), np.bool_)
    kinds = {
        "host_overhead": fleet.hosts.memory_overhead.tolist(),
        "control_domain": on_hosts(first, amount + overhead, vms.is_control_domain),
        "vm": on_hosts(first, amount, ~vms.is_control_domain),
        "vm_overhead": on_hosts(first, overhead, ~vms.is_control_domain),
        "migrating": on_hosts(counted_again, amount + overhead, everybody),
    }
    for host in range(len(fleet.hosts)):
        for kind, amounts in kinds.items():
            into.of_host("xenmem_host_memory_reserved_bytes", host, amounts[host], kind=kind)


def _vms(into: Collection) -> None:
    fleet, vms = into.fleet, into.fleet.vms
    computed = fleet.overhead()
    amounts = {policy: fleet.amount(policy) + vms.memory_overhead for policy in POLICIES}
    for vm in np.flatnonzero((vms.resident_on >= 0) | (vms.scheduled_to_be_resident_on >= 0)).tolist():
        for policy, amount in amounts.items():
            name = {"vm_name": vms.name_label[vm], "policy": policy}
            into.of_vm("xenmem_vm_memory_accounted_bytes", vm, int(amount[vm]), **name)
        for kind, overhead in (("stored", vms.memory_overhead), ("computed", computed)):
            into.of_vm("xenmem_vm_memory_overhead_bytes", vm, int(overhead[vm]), kind=kind)


# -------------------------------------------------------------------------------------------------------- what fits


def _capacity(into: Collection) -> None:
    """The largest VM of each host, and how many of each size fit."""
    fleet = into.fleet
    free, totals = fleet.free_memory(START_POLICY), known_totals(fleet)
    for vcpus in sorted({size.vcpus for size in into.asked.sizes}):
        for host in np.flatnonzero(totals).tolist():
            largest = _largest(fleet, host, int(free[host]), vcpus)
            into.of_host("xenmem_host_largest_vm_bytes", host, largest, vcpus=str(vcpus), domain_type="hvm")
    told = set[str]()
    for size in into.asked.sizes:
        for pool, found in enumerate(fit(fleet, size.memory, size.vcpus).pools):
            if size.label not in told:
                left = sum(host.free_after for host in found.hosts if not host.reasons)
                into.of_pool("xenmem_pool_stranded_bytes", pool, left, size=size.label)
            for failures in into.asked.failures:
                count = found.count if failures == 0 else _fits_beside(into, pool, found.required, failures)
                if count is not None:
                    labels = {"size": size.label, "vcpus": str(size.vcpus), "failures": str(failures)}
                    into.of_pool("xenmem_pool_vms_fit", pool, count, **labels)
        told.add(size.label)


def _largest(fleet: Fleet, host: int, free: int, vcpus: int) -> int:
    if host_obstacles(fleet, host, vcpus):
        return 0
    model = fleet.pools.model[fleet.hosts.pool[host]]
    largest = int(kernel.maximise_memory(kernel.DomainType.HVM, vcpus, 1.0, free, model=model))
    needed = sum(map(int, kernel.required_memory(kernel.DomainType.HVM, largest, largest, vcpus, 1.0, model=model)))
    return largest if needed <= free else 0


def _fits_beside(into: Collection, pool: int, required: int, failures: int) -> int | None:
    """How many more fit while all that run, and they, run again after host failures."""
    try:
        restart = planning.RestartPool.from_fleet(into.fleet, pool, policy=HOLD_POLICY, protected=into.running)
    except ValueError:  # no host takes VMs, or the memory of one is unknown
        return None
    if failures > len(restart.free):
        return None
    found = planning.capacity(restart, [required], num_failures=failures, time_limit=into.asked.time_limit)
    return None if found.now.answer == "unknown" else found.count


# ---------------------------------------------------------------------------------------------------- what survives


def _failover(into: Collection) -> None:
    """How many host failures each pool survives, and by how much."""
    fleet, seconds = into.fleet, into.asked.time_limit
    for pool in range(len(fleet.pools)):
        for name, protected in (("all", into.running), ("ha", None)):
            for policy in POLICIES:
                restart = into.to_restart(pool, policy, protected)
                if restart is None:
                    continue
                labels = {"protected": name, "policy": policy}
                survived = planning.max_failures(restart, time_limit=seconds).at_least
                into.of_pool("xenmem_pool_failures_survivable", pool, survived, **labels, planner="xenmem")
                if policy != HOLD_POLICY:
                    continue
                own = xapi.HAPool.from_fleet(fleet, pool)
                if protected is not None:
                    own = own.protecting(own.vms[protected[own.vms]])
                survived = xapi.compute_max_host_failures_to_tolerate(own)
                into.of_pool("xenmem_pool_failures_survivable", pool, survived, **labels, planner="xapi")
        restart = into.to_restart(pool, HOLD_POLICY, into.running)
        for failures in into.asked.failures if restart else ():
            if restart and 0 < failures <= len(restart.free):
                margin = planning.margin(restart, failures, time_limit=seconds)
                if margin is not None:
                    into.of_pool("xenmem_pool_margin_bytes", pool, margin, failures=str(failures))


# ------------------------------------------------------------------------------------------------------ evacuations


def _evacuation(into: Collection) -> None:
    """Which hosts can be emptied, by the pool itself and by a better plan."""
    fleet = into.fleet
    for pool in range(len(fleet.pools)):
        replay = Replay(fleet, pool)
        for host in np.flatnonzero(fleet.hosts.pool == pool).tolist():
            into.of_host("xenmem_host_evacuable", host, not replay.evacuate(host).refusals, planner="xapi")
    need = memory_to_start(fleet)
    for host in range(len(fleet.hosts)):
        try:
            plan = planning.evacuate(fleet, host, time_limit=into.asked.time_limit)
        except ValueError:  # the memory of a host is unknown
            continue
        if plan.status != "unknown":
            into.of_host("xenmem_host_evacuable", host, plan.is_complete, planner="xenmem")
            lost = [vm for vm in plan.vms[plan.host < 0].tolist() if vm not in plan.stays]
            into.of_host("xenmem_host_evacuation_missing_bytes", host, int(need[lost].sum()))


# ------------------------------------------------------------------------------------------------------------ advice


def _check(into: Collection) -> None:
    """How much is amiss in each pool, by the rules that could be run there."""
    fleet = into.fleet
    found = check(fleet, time_limit=into.asked.time_limit)
    not_run = {(one.rule, name) for one in found.not_run for name in one.pools}
    for row, pool in enumerate(found.pools):
        counts = Counter((finding.rule, finding.severity) for finding in pool.findings)
        name = fleet.pools.label(row) or fleet.pools.source[row]
        for rule in found.rules:
            if (rule.rule, name) not in not_run:
                counts.setdefault((rule.rule, rule.severity), 0)
        for (rule_name, severity), count in sorted(counts.items()):
            into.of_pool("xenmem_check_findings", row, count, rule=rule_name, severity=severity)


STAGES: Final[Mapping[str, Callable[[Collection], None]]] = {
    "accounting": _accounting,
    "capacity": _capacity,
    "failover": _failover,
    "evacuation": _evacuation,
    "check": _check,
}
"""What is computed one after the other, the quickest first."""
