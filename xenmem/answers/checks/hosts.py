"""M10 and H01 to H11: hosts, their control domains, and what is counted on them."""

from typing import Any, Final

import numpy as np

from xenmem.answers.checks.rule import Found, Question, found, listing, rule
from xenmem.answers.naming import listed, overcommitted
from xenmem.columns import Bytes, Rows
from xenmem.rules.hosts import MIGRATION_KEYS, versions_of
from xenmem.rules.mobility.cpu import FEATURES, VENDOR, features_of
from xenmem.rules.upgrade import host_reserve
from xenmem.units import GIB, MIB

LARGE_HOST: Final = 128 * GIB
SMALL_HOST: Final = 24 * GIB
LEAST_DOM0: Final = 2 * GIB
DOM0_OF_LARGE: Final = 8 * GIB
DOM0_OF_STORAGE: Final = 16 * GIB
MEMORY_IN_DOM0: Final = frozenset(("zfs", "zfs-vol", "linstor"))
"""Storage drivers that keep their caches, or run their servers, in the control domain."""
MAINTENANCE: Final = "MAINTENANCE_MODE"
"""How the keys begin that XenCenter leaves in other_config while a host is in maintenance."""


def control_domains(question: Question) -> Rows:
    """The row of each host's domain 0 in vms; -1 where it is not known."""
    hosts, vms = question.fleet.hosts, question.fleet.vms
    known: Rows = hosts.control_domain.copy()
    for vm in np.flatnonzero(vms.is_control_domain & (vms.resident_on >= 0)).tolist():
        if known[vms.resident_on[vm]] < 0:
            known[vms.resident_on[vm]] = vm
    return known


def _dom0(question: Question, column: Bytes) -> Bytes:
    """A column of the control domains by host; -1 where there is none."""
    rows = control_domains(question)
    return np.where(rows >= 0, column[rows], -1) if len(column) else np.full(len(rows), -1, np.int64)


@rule(
    "M10",
    "W",
    "hosts",
    "VMs that cannot all have their dynamic_max",
    text="{vms} VMs; under dynamic_max {missing:size} more than there is",
    consequence="guests run below their dynamic_max all the time",
    remedy="move VMs away (xenmem rebalance), or accept it",
    source="planning.md, 1",
    needs=("totals",),
)
def _m10(question: Question) -> Found:
    fleet = question.fleet
    missing = overcommitted(fleet, "dynamic_max")
    which = (missing > 0) & (overcommitted(fleet, "dynamic_min") == 0)
    resident = fleet.vms.resident_on[question.guest & (fleet.vms.resident_on >= 0)]
    return found(which, vms=np.bincount(resident, minlength=len(fleet.hosts)), missing=missing)


@rule(
    "H01",
    "W",
    "hosts",
    "small control domain",
    text="control domain {dom0:size}, at least {least:size} for a host of {total:size}",
    consequence="domain 0 swaps, and migrations fail",
    remedy="/opt/xensource/libexec/xen-cmdline --set-xen dom0_mem={mib}M,max:{mib}M on the host, then reboot it",
    source="xcp-ng/xcp-ng-org, guides/dom0-memory.md; docs.xenserver.com, memory usage",
    needs=("totals",),
)
def _h01(question: Question) -> Found:
    total = question.fleet.hosts.memory_total
    dom0 = _dom0(question, question.fleet.vms.memory_dynamic_max)
    middle = np.where(total <= SMALL_HOST, LEAST_DOM0, max(LEAST_DOM0, question.settings.dom0_memory))
    least = np.where(total >= LARGE_HOST, DOM0_OF_LARGE, middle)
    return found((dom0 >= 0) & (total > 0) & (dom0 < least), dom0=dom0, least=least, total=total, mib=least // MIB)


@rule(
    "H02",
    "W",
    "hosts",
    "control domain too small for its storage",
    text="control domain {dom0:size}, SRs {srs}",
    consequence="domain 0 runs out of memory",
    remedy="/opt/xensource/libexec/xen-cmdline --set-xen dom0_mem=16384M,max:16384M on the host, then reboot it",
    source="xcp-ng/xcp-ng-org, pull request 302",
    needs=("storage",),
)
def _h02(question: Question) -> Found:
    fleet = question.fleet
    dom0 = _dom0(question, fleet.vms.memory_dynamic_max)
    hungry = np.fromiter((kind.lower() in MEMORY_IN_DOM0 for kind in fleet.srs.type), np.bool_, len(fleet.srs))
    rows = []
    for host in np.flatnonzero((dom0 >= 0) & (dom0 < DOM0_OF_STORAGE)).tolist():
        srs = [sr for sr in fleet.hosts.attached_srs[host] if hungry[sr]]
        if srs:
            rows.append((host, {"dom0": int(dom0[host]), "srs": listed([fleet.srs.label(sr) for sr in srs])}))
    return listing(rows)


@rule(
    "H03",
    "I",
    "hosts",
    "control domain with a range",
    text="dynamic {dynamic_min:size} to {dynamic_max:size}, static_max {static_max:size}",
    consequence="it does not balloon, and HA counts its dynamic_max",
    remedy="set all limits of the control domain to one value",
    source="planning.md",
)
def _h03(question: Question) -> Found:
    vms = question.fleet.vms
    columns = {
        "dynamic_min": _dom0(question, vms.memory_dynamic_min),
        "dynamic_max": _dom0(question, vms.memory_dynamic_max),
        "static_max": _dom0(question, vms.memory_static_max),
    }
    least, most, static = columns.values()
    return found((least != most) | (least != static), **columns)


@rule(
    "H04",
    "W",
    "hosts",
    "overhead without the reserve",
    text="memory_overhead {overhead:size} is all that was not free at boot",
    consequence="squeezed did not answer when the toolstack started: the overhead is too small, VMs may fail in Xen",
    remedy="xe-toolstack-restart on the host",
    source="xapi-project/xen-api, ocaml/xapi/dbsync_slave.ml, record_host_memory_properties",
    needs=("boot", "totals"),
)
def _h04(question: Question) -> Found:
    hosts = question.fleet.hosts
    exact = hosts.memory_overhead == hosts.memory_total - hosts.boot_free_mem
    which = hosts.enabled & (hosts.boot_free_mem > 0) & (hosts.memory_total > 0) & exact
    return found(which, overhead=hosts.memory_overhead)


@rule(
    "H05",
    "E",
    "hosts",
    "memory unknown",
    text="host_metrics.memory_total {total}",
    consequence="its free memory is 0: nothing starts there",
    remedy="look at the host: is it up, and does its toolstack run",
    source="planning.md",
    needs=("hosts",),
)
def _h05(question: Question) -> Found:
    total = question.fleet.hosts.memory_total
    return found(total <= 0, total=np.where(total < 0, "missing", "0"))


def _reserves(question: Question) -> Bytes:
    """What squeezed keeps free on each host, by the model that it computes with."""
    hosts, pools = question.fleet.hosts, question.fleet.pools
    models = np.where(hosts.model == "", pools.model[hosts.pool], hosts.model).tolist()
    return np.array([host_reserve(model) for model in models], np.int64)


@rule(
    "H06",
    "W",
    "hosts",
    "less free than is accounted",
    text="accounted {accounted:size}, measured {measured:size} free; above their target: {above}",
    consequence="memory is lost, as by migrations within a host, or VMs do not balloon: starts pass and fail in Xen",
    remedy="restart or migrate the VMs that have more than their target",
    source="xapi-project/xen-api, ocaml/xcp-rrdd/bin/rrdp-squeezed",
    needs=("free", "totals"),
)
def _h06(question: Question) -> Found:
    fleet, hosts, vms = question.fleet, question.fleet.hosts, question.fleet.vms
    accounted = fleet.free_memory("dynamic_max")
    expected = accounted + _reserves(question)
    known = hosts.live & (hosts.memory_free >= 0) & (hosts.memory_total > 0)
    which = known & (hosts.memory_free < accounted) & (20 * (expected - hosts.memory_free) > hosts.memory_total)
    held = (vms.memory_target > 0) & (vms.memory_actual > vms.memory_target) & (vms.resident_on >= 0)
    rows: list[tuple[int, dict[str, Any]]] = []
    for host in np.flatnonzero(which).tolist():
        above = [vms.label(vm) for vm in np.flatnonzero(held & (vms.resident_on == host)).tolist()]
        values = {"accounted": int(accounted[host]), "measured": int(hosts.memory_free[host])}
        rows.append((host, {**values, "above": listed(above) if above else "none is known"}))
    return listing(rows)


@rule(
    "H07",
    "E",
    "hosts",
    "overcommitted",
    text="{missing:size} more than there is, even at dynamic_min",
    consequence="every start, migration and resume to it fails; ballooning cannot help",
    remedy="move VMs away: xenmem pack --objective fewest-migrations",
    source="planning.md, 1",
    needs=("totals",),
)
def _h07(question: Question) -> Found:
    missing = overcommitted(question.fleet, "dynamic_min")
    return found(missing > 0, missing=missing)


@rule(
    "H08",
    "W",
    "pools",
    "hosts of different sizes",
    text="{smallest} has {least:size}, {largest} has {most:size}",
    consequence="the largest host decides about N+1, and its VMs may fit nowhere else",
    remedy="see A01; memory in the smaller hosts",
    source="planning.md",
    needs=("totals",),
)
def _h08(question: Question) -> Found:
    hosts, rows = question.fleet.hosts, []
    for pool in range(len(question.fleet.pools)):
        there = question.rows_of("hosts", pool)
        there = there[hosts.memory_total[there] > 0]
        if len(there):
            low, high = (int(there[find(hosts.memory_total[there])]) for find in (np.argmin, np.argmax))
            least, most = int(hosts.memory_total[low]), int(hosts.memory_total[high])
            if 5 * most > 6 * least:
                names = {"smallest": hosts.label(low), "largest": hosts.label(high)}
                rows.append((pool, {**names, "least": least, "most": most}))
    return listing(rows)


@rule(
    "H09",
    "W",
    "hosts",
    "CPU other than the pool's",
    text="{what}",
    consequence="VMs that boot where more is offered cannot move to older hosts (VM_INCOMPATIBLE_WITH_THIS_HOST)",
    remedy="restart VMs that booted before, so that they get the pool's level",
    source="support.citrix.com, CTX231947",
    needs=("level",),
)
def _h09(question: Question) -> Found:
    fleet, rows = question.fleet, []
    for host in range(len(fleet.hosts)):
        own, level = fleet.hosts.cpu_info[host], fleet.pools.cpu_info[fleet.hosts.pool[host]]
        if own.get(VENDOR) and level.get(VENDOR) and own[VENDOR] != level[VENDOR]:
            rows.append((host, {"what": f"vendor {own[VENDOR]}, the pool's {level[VENDOR]}"}))
            continue
        for key in ("features_hvm", FEATURES):
            if own.get(key) and level.get(key):
                if _words(own[key]) != _words(level[key]):
                    rows.append((host, {"what": f"{key} {own[key]}, the pool's {level[key]}"}))
                break
    return listing(rows)


def _words(text: str) -> object:
    """A feature set without the words of zeros at its end; a text that is none, as it is."""
    try:
        words = list(features_of(text))
    except ValueError:
        return text
    while words and not words[-1]:
        words.pop()
    return tuple(words)


@rule(
    "H10",
    "W",
    "pools",
    "hosts of different versions",
    text="{key}: {versions}",
    consequence="VMs move towards newer hosts only, and some messages are refused during an upgrade",
    remedy="finish the update: xenmem rolling-update",
    source="xapi-project/xen-api, ocaml/xapi/helpers.ml, Checks",
    needs=("hosts",),
)
def _h10(question: Question) -> Found:
    software, rows = question.fleet.hosts.software_version, []
    for pool in range(len(question.fleet.pools)):
        told = [versions for versions in software[question.rows_of("hosts", pool)].tolist() if versions]
        different = [key for key in MIGRATION_KEYS if len({versions_of(versions, (key,)) for versions in told}) > 1]
        if different:
            key = different[0]
            texts = sorted({versions.get(key, "none") for versions in told})
            rows.append((pool, {"key": key, "versions": listed(texts)}))
    return listing(rows)


@rule(
    "H11",
    "W",
    "hosts",
    "disabled, or left in maintenance",
    text="{what}",
    consequence="people count its memory and the pool does not; VMs may be waiting to come back",
    remedy="xe host-enable uuid={uuid}, and remove what is left over in other-config",
    source="xenserver/xenadmin, HostPlanAction.cs",
    needs=("hosts",),
)
def _h11(question: Question) -> Found:
    hosts, rows = question.fleet.hosts, []
    for host in range(len(hosts)):
        keys = sorted(key for key in hosts.other_config[host] if key.startswith(MAINTENANCE))
        what = [] if hosts.enabled[host] else ["disabled, since when is not told"]
        what += [f"other_config has {listed(keys)}"] if keys else []
        if what:
            rows.append((host, {"what": "; ".join(what)}))
    return listing(rows)
