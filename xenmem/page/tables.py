"""What tables the page has: pools where there are several, hosts and VMs, from a report and the Fleet itself."""

from typing import Any

import numpy as np

from xenmem import kernel
from xenmem.answers.naming import label
from xenmem.answers.report import HostReport, Report, kind_of
from xenmem.columns import PowerState
from xenmem.fleet import POLICIES, Fleet
from xenmem.page.table import Column, by_name, encoded

_FREE = {"static_max": "free, static_max", "dynamic_max": "free, dynamic_max", "dynamic_min": "free, dynamic_min"}


def tables(fleet: Fleet, report: Report, model: str | None) -> list[dict[str, Any]]:
    """The tables, as `table.encoded` gives them."""
    several = len(report.pools) > 1
    return [*([_pools(report)] if several else []), _hosts(report, several), _vms(fleet, model, several)]


def _pools(report: Report) -> dict[str, Any]:
    pools = [report.pools[row] for row in by_name([label(pool.pool) for pool in report.pools])]
    totals = [pool.total for pool in pools]
    return encoded(
        "pools",
        "pool",
        [
            Column("name", "pool", "text", [label(pool.pool) for pool in pools]),
            Column("hosts", "hosts", "number", [total.hosts for total in totals]),
            Column("vms", "VMs", "number", [total.vms.count for total in totals]),
            Column("total", "total", "size", [total.memory_total for total in totals]),
            *(
                Column(f"free_{policy}", _FREE[policy], "size", [getattr(total.free, policy) for total in totals])
                for policy in POLICIES
            ),
            Column("overcommitted", "overcommitted", "size", [total.overcommitted.static_max for total in totals]),
            Column("warnings", "warnings", "number", [len(pool.warnings) for pool in pools]),
            Column("version", "xapi", "text", [pool.pool.xapi_version or "unknown" for pool in pools]),
            Column("uuid", "uuid", "uuid", [pool.pool.uuid for pool in pools]),
        ],
    )


def _hosts(report: Report, several: bool) -> dict[str, Any]:
    rows = [(label(pool.pool), host) for pool in report.pools for host in pool.hosts]
    rows = [rows[row] for row in by_name([label(host) for _, host in rows])]
    hosts = [host for _, host in rows]
    return encoded(
        "hosts",
        "host",
        [
            Column("name", "host", "text", [label(host) for host in hosts]),
            *([Column("pool", "pool", "text", [pool for pool, _ in rows])] if several else []),
            Column("state", "state", "text", [state(host) for host in hosts]),
            Column("vms", "VMs", "number", [host.vms.count for host in hosts]),
            Column("total", "total", "size", [_or_unknown(host.memory_total) for host in hosts]),
            *(
                Column(f"free_{policy}", _FREE[policy], "size", [getattr(host.free, policy) for host in hosts])
                for policy in reversed(POLICIES)
            ),
            Column("overcommitted", "overcommitted", "size", [host.overcommitted.static_max for host in hosts]),
            Column("hypervisor", "hypervisor", "size", [host.memory_overhead for host in hosts]),
            Column(
                "control",
                "control domains",
                "size",
                [host.control_domains.memory.static_max + host.control_domains.memory_overhead for host in hosts],
            ),
            Column("static_max", "VMs, static_max", "size", [host.vms.memory.static_max for host in hosts]),
            Column("overhead", "VM overhead", "size", [host.vms.memory_overhead for host in hosts]),
            Column("measured", "free as measured", "size", [_or_unknown(host.memory_free) for host in hosts]),
            Column("uuid", "uuid", "uuid", [host.uuid for host in hosts]),
        ],
    )


def state(host: HostReport) -> str:
    """What keeps a host from taking VMs, or that it is the coordinator, or that it is there."""
    if not host.live:
        return "not live"
    if not host.enabled:
        return "disabled"
    return "coordinator" if host.is_coordinator else "enabled"


def _vms(fleet: Fleet, model: str | None, several: bool) -> dict[str, Any]:
    vms, hosts = fleet.vms, fleet.hosts
    places = np.maximum(vms.resident_on, vms.scheduled_to_be_resident_on)
    shown = np.flatnonzero(~vms.is_a_template | (places >= 0))
    names = [vms.label(row) for row in shown.tolist()]
    order = by_name(names)
    shown = shown[order]
    rows: list[int] = shown.tolist()
    host_labels = [*(hosts.label(row) for row in range(len(hosts))), ""]
    pool_labels = [fleet.pools.label(row) for row in range(len(fleet.pools))]

    def place(vm: int) -> str:
        here, there = int(vms.resident_on[vm]), int(vms.scheduled_to_be_resident_on[vm])
        if here < 0 or there < 0 or here == there:
            return host_labels[max(here, there)]
        return f"{host_labels[here]} \u2192 {host_labels[there]}"

    powers = [power.name.lower() for power in PowerState]
    kinds = [kind.name.lower() for kind in kernel.DomainType]
    types = vms.domain_type[shown].tolist()
    return encoded(
        "vms",
        "VM",
        [
            Column("name", "VM", "text", [names[place] for place in order]),
            *([Column("pool", "pool", "text", [pool_labels[row] for row in vms.pool[shown]])] if several else []),
            Column("state", "state", "text", [powers[power] for power in vms.power_state[shown]]),
            Column("host", "host", "text", [place(row) for row in rows]),
            Column("static_max", "static_max", "size", vms.memory_static_max[shown]),
            Column("dynamic_max", "dynamic_max", "size", vms.memory_dynamic_max[shown]),
            Column("dynamic_min", "dynamic_min", "size", vms.memory_dynamic_min[shown]),
            Column("overhead", "overhead, stored", "size", vms.memory_overhead[shown]),
            Column("computed", "overhead, computed", "size", fleet.overhead(model)[shown]),
            Column("to_start", "to start, dynamic_min", "size", fleet.start_memory("dynamic_min", model)[shown]),
            Column("vcpus", "vCPUs", "number", vms.VCPUs_max[shown]),
            Column("type", "type", "text", [kinds[kind] for kind in types]),
            Column("kind", "kind", "text", [kind_of(fleet, row).replace("_", " ") for row in rows]),
            Column("uuid", "uuid", "uuid", vms.uuid[shown].tolist()),
        ],
    )


def _or_unknown(amount: int | None) -> int:
    return -1 if amount is None else amount
