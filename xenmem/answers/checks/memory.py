"""M01 to M20: the memory, vCPUs and shadow memory of VMs."""

from typing import Final

import numpy as np

from xenmem.answers.checks.rule import Found, Question, found, listing, rule
from xenmem.columns import Bools
from xenmem.kernel import DomainType
from xenmem.planning.pool_view import memory_to_start
from xenmem.rules.guest import lacks_balloon_driver
from xenmem.rules.mobility.matrix import Step
from xenmem.units import MIB

MANY_VCPUS: Final = 32
FEW_STARTED: Final = 4
"""As many times VCPUs_at_startup are far more than are used."""
USUAL_VIDEO_RAM: Final = 16 * MIB


def is_hvm(question: Question) -> Bools:
    """Which VMs are of type hvm."""
    hvm: Bools = question.fleet.vms.domain_type == DomainType.HVM
    return hvm


def ballooning(question: Question) -> Bools:
    """Which guests have a range."""
    vms = question.fleet.vms
    return question.guest & (vms.memory_dynamic_min < vms.memory_dynamic_max)


def out_of_order(question: Question) -> Bools:
    """Which VM records, of whatever kind, break the order of limits."""
    vms = question.fleet.vms
    broken: Bools = (
        (vms.memory_static_min > vms.memory_dynamic_min)
        | (vms.memory_dynamic_min > vms.memory_dynamic_max)
        | (vms.memory_dynamic_max > vms.memory_static_max)
    )
    return broken


def limits(question: Question, which: Bools) -> Found:
    """VMs with all their limits."""
    vms = question.fleet.vms
    return found(
        which,
        static_min=vms.memory_static_min,
        dynamic_min=vms.memory_dynamic_min,
        dynamic_max=vms.memory_dynamic_max,
        static_max=vms.memory_static_max,
    )


def _range(question: Question, which: Bools) -> Found:
    vms = question.fleet.vms
    return found(
        which,
        dynamic_min=vms.memory_dynamic_min,
        dynamic_max=vms.memory_dynamic_max,
        static_max=vms.memory_static_max,
    )


_RANGE: Final = "dynamic {dynamic_min:size} to {dynamic_max:size}, static_max {static_max:size}"
_FIX_RANGE: Final = "xe vm-memory-dynamic-range-set uuid={uuid} min={dynamic_max} max={dynamic_max}"
_POPULATE: Final = (
    "while it is halted xe vm-memory-static-range-set uuid={uuid} min={static_min} max={dynamic_max}, "
    "or xe vm-memory-dynamic-range-set uuid={uuid} min={dynamic_min} max={static_max}"
)


@rule(
    "M01",
    "E",
    "vms",
    "limits out of order",
    text="static {static_min:size} to {static_max:size}, dynamic {dynamic_min:size} to {dynamic_max:size}",
    consequence="the VM cannot start, and setters refuse (MEMORY_CONSTRAINT_VIOLATION_ORDER)",
    remedy="xe vm-memory-limits-set uuid={uuid} static-min=.. dynamic-min=.. dynamic-max=.. static-max=.., ascending",
    source="memory-model.md",
)
def _m01(question: Question) -> Found:
    return limits(question, question.guest & out_of_order(question))


@rule(
    "M02",
    "W",
    "vms",
    "hvm that starts with less than static_max",
    text=_RANGE,
    consequence="started by populate-on-demand: a guest whose driver is late or absent dies, and what lies between is "
    "unusable until dynamic_max grows",
    remedy=_POPULATE,
    source="vatesfr/xen-orchestra issues 10225, 4978, 2481; docs.xenserver.com, VM memory",
)
def _m02(question: Question) -> Found:
    return limits(question, _populated_on_demand(question))


def _populated_on_demand(question: Question) -> Bools:
    vms = question.fleet.vms
    live = question.halted | question.running
    return live & is_hvm(question) & (vms.memory_dynamic_max < vms.memory_static_max)


@rule(
    "M03",
    "E",
    "vms",
    "hvm that starts with too little",
    text=_RANGE + "; drivers detected: {drivers}",
    consequence="the guest likely crashes when it boots",
    remedy=_POPULATE,
    source="vatesfr/xen-orchestra issues 10225, 4978, 2481; docs.xenserver.com, VM memory",
    needs=("drivers",),
)
def _m03(question: Question) -> Found:
    vms = question.fleet.vms
    undetected = (vms.has_guest_metrics | question.running) & ~vms.pv_drivers_detected
    far = vms.memory_static_max > 2 * vms.memory_dynamic_max
    which = _populated_on_demand(question) & (undetected | far)
    answer = limits(question, which)
    told = np.where(vms.pv_drivers_detected, "yes", np.where(undetected, "no", "not known"))
    return Found(answer.rows, {**answer.values, "drivers": told[which].tolist()})


@rule(
    "M04",
    "W",
    "vms",
    "dynamic_min below a quarter of static_max",
    text="dynamic_min {dynamic_min:size}, static_max {static_max:size}",
    consequence="outside of the range that is supported, whatever the system",
    remedy="xe vm-memory-dynamic-range-set uuid={uuid} min={quarter} max={dynamic_max}",
    source="Citrix administrator's guide 6.x, memory constraints",
)
def _m04(question: Question) -> Found:
    vms = question.fleet.vms
    which = question.guest & (4 * vms.memory_dynamic_min < vms.memory_static_max)
    quarter = -(-vms.memory_static_max // (4 * MIB)) * MIB
    answer = _range(question, which)
    return Found(answer.rows, {**answer.values, "quarter": quarter[which].tolist()})


@rule(
    "M05",
    "W",
    "vms",
    "a range, and no balloon driver in its kernel",
    text="{distro} {major}, " + _RANGE,
    consequence="it will not shrink: migrations wait 120 s for it, and starts beside it fail as domains refuse",
    remedy=_FIX_RANGE,
    source="docs.citrix.com, XenCenter: about dynamic memory control",
    needs=("drivers",),
)
def _m05(question: Question) -> Found:
    vms = question.fleet.vms
    named = np.fromiter(map(lacks_balloon_driver, vms.os_distro, vms.os_major), np.bool_, len(vms))
    which = named & ballooning(question)
    answer = _range(question, which)
    return Found(
        answer.rows, {**answer.values, "distro": vms.os_distro[which].tolist(), "major": vms.os_major[which].tolist()}
    )


def sriov(question: Question) -> Bools:
    """Which VMs have a VIF on an SR-IOV network."""
    table = question.fleet.networks.is_sriov
    if not table.any():
        return np.zeros(len(question.fleet.vms), np.bool_)
    needed = question.fleet.vms.needed_networks
    known = {nets: any(table[net] for net in nets) for nets in set(needed.tolist())}
    return np.fromiter(map(known.__getitem__, needed), np.bool_, len(needed))


@rule(
    "M06",
    "E",
    "vms",
    "a range, and a device that is passed through",
    text="{devices}, " + _RANGE,
    consequence="not supported: the device writes into memory that the balloon has given away",
    remedy="xe vm-memory-dynamic-range-set uuid={uuid} min={static_max} max={static_max}",
    source="docs.xenserver.com, VM memory",
    needs=("devices",),
)
def _m06(question: Question) -> Found:
    vms = question.fleet.vms
    kinds = {"vGPU": vms.VGPUs > 0, "PCI device": vms.attached_PCIs > 0, "SR-IOV VIF": sriov(question)}
    which = ballooning(question) & np.logical_or.reduce(list(kinds.values()))
    answer = _range(question, which)
    devices = [" and ".join(name for name, has in kinds.items() if has[row]) for row in answer.rows]
    return Found(answer.rows, {**answer.values, "devices": devices})


@rule(
    "M07",
    "E",
    "vms",
    "a range, and nested virtualisation",
    text=_RANGE,
    consequence="changes of the range are refused (VM_IS_USING_NESTED_VIRT)",
    remedy=_FIX_RANGE,
    source="xapi-project/xen-api, ocaml/xapi/xapi_vm_lifecycle.ml",
)
def _m07(question: Question) -> Found:
    vms = question.fleet.vms
    return _range(question, ballooning(question) & (vms.nested_virt | vms.asks_for_nested_virt))


@rule(
    "M08",
    "W",
    "vms",
    "dynamic_min below what it uses",
    text="dynamic_min {dynamic_min:size}, uses {p95:size} (percentile 95)",
    consequence="at its migration, or a start beside it, the guest is squeezed below its use: it swaps or runs out",
    remedy="xe vm-memory-dynamic-range-set uuid={uuid} min={wanted} max={most}",
    source="xcp-ng/xcp-ng-org, vms/vms.md",
    needs=("measured",),
)
def _m08(question: Question) -> Found:
    vms, rows = question.fleet.vms, []
    for row in np.flatnonzero(question.running).tolist():
        use = (question.use or {}).get(vms.uuid[row])
        if use is not None and use.p95 is not None and vms.memory_dynamic_min[row] < use.p95:
            wanted = -(-use.p95 * 11 // (10 * MIB)) * MIB
            most = max(wanted, int(vms.memory_dynamic_max[row]))
            values = {"dynamic_min": int(vms.memory_dynamic_min[row]), "p95": use.p95, "wanted": wanted, "most": most}
            rows.append((row, values))
    return listing(rows)


@rule(
    "M09",
    "I",
    "vms",
    "a range that was never used",
    text=_RANGE + "; its target was dynamic_max all the time",
    consequence="HA counts static_max anyhow",
    remedy=_FIX_RANGE,
    source="xcp-ng/xcp-ng-org, vms/vms.md",
    needs=("measured",),
)
def _m09(question: Question) -> Found:
    vms = question.fleet.vms
    full = {uuid for uuid, use in (question.use or {}).items() if use.always_full}
    return _range(question, ballooning(question) & np.fromiter((uuid in full for uuid in vms.uuid), np.bool_, len(vms)))


@rule(
    "M11",
    "E",
    "vms",
    "shadow multiplier below 1",
    text="HVM_shadow_multiplier {multiplier}",
    consequence="the VM does not start",
    remedy="xe vm-param-set uuid={uuid} HVM-shadow-multiplier=1.0",
    source="xapi-project/xen-api, ocaml/xapi/xapi_vm_helpers.ml",
)
def _m11(question: Question) -> Found:
    multiplier = question.fleet.vms.HVM_shadow_multiplier
    return found(question.guest & (multiplier < 1) & (multiplier != -1), multiplier=multiplier)


@rule(
    "M12",
    "W",
    "vms",
    "shadow multiplier above 1",
    text="HVM_shadow_multiplier {multiplier}, overhead {overhead:size}",
    consequence="the shadow memory is taken so many times; it was for old application servers without HAP",
    remedy="xe vm-param-set uuid={uuid} HVM-shadow-multiplier=1.0, where the CPUs have HAP",
    source="memory-model.md",
)
def _m12(question: Question) -> Found:
    vms = question.fleet.vms
    multiplier = vms.HVM_shadow_multiplier
    return found(question.guest & (multiplier > 1), multiplier=multiplier, overhead=vms.memory_overhead)


@rule(
    "M13",
    "W",
    "vms",
    "shadow multiplier of a pv guest",
    text="HVM_shadow_multiplier {multiplier}",
    consequence="the stored overhead is not the one that its start asks for: numbers disagree",
    remedy="xe vm-param-set uuid={uuid} HVM-shadow-multiplier=1.0",
    source="memory-model.md",
)
def _m13(question: Question) -> Found:
    vms = question.fleet.vms
    multiplier = vms.HVM_shadow_multiplier
    return found(
        question.guest & (vms.domain_type == DomainType.PV) & (multiplier != 1) & (multiplier != -1),
        multiplier=multiplier,
    )


@rule(
    "M14",
    "I",
    "vms",
    "limits that are no whole MiB",
    text="static {static_min} to {static_max} B, dynamic {dynamic_min} to {dynamic_max} B",
    consequence="rounded up where they count: up to 1 MiB is lost, and other tools show odd numbers",
    remedy="round them to MiB: xe vm-memory-limits-set uuid={uuid} ...",
    source="memory-model.md",
)
def _m14(question: Question) -> Found:
    vms = question.fleet.vms
    columns = (vms.memory_static_min, vms.memory_dynamic_min, vms.memory_dynamic_max, vms.memory_static_max)
    return limits(question, question.guest & np.logical_or.reduce([column % MIB != 0 for column in columns]))


@rule(
    "M15",
    "W",
    "vms",
    "stored overhead that the pool's model does not give",
    text="stored {stored:size}, computed {computed:size}",
    consequence="free memory is computed from the stale figure until the VM is next started",
    remedy="restart the VM, or wait for the upgrade of the schema",
    source="inventory-formats.md",
)
def _m15(question: Question) -> Found:
    stored, computed = question.fleet.vms.memory_overhead, question.fleet.overhead()
    return found(question.guest & (stored != computed), stored=stored, computed=computed)


@rule(
    "M16",
    "E",
    "vms",
    "larger than supported, or than any host",
    text="static_max {static_max:size}; limit {limit:size}, largest host {largest:size}",
    consequence="it can start nowhere, or is not supported",
    remedy="make it smaller",
    source="docs.xenserver.com, configuration limits",
    needs=("totals",),
)
def _m16(question: Question) -> Found:
    vms, limit = question.fleet.vms, question.settings.hvm_limit
    largest = np.zeros(len(question.fleet.pools), np.int64)
    np.maximum.at(largest, question.fleet.hosts.pool, question.empty)
    above = is_hvm(question) & (vms.memory_static_max > limit)
    which = question.guest & (above | (vms.memory_static_max > largest[vms.pool]))
    return found(which, static_max=vms.memory_static_max, limit=np.full(len(vms), limit), largest=largest[vms.pool])


@rule(
    "M17",
    "W",
    "vms",
    "more vCPUs than hosts have CPUs",
    text="{vcpus} vCPUs; too few CPUs on {hosts}",
    consequence="it does not start there (HOST_NOT_ENOUGH_PCPUS)",
    remedy="xe vm-param-set uuid={uuid} VCPUs-max={most}, while it is halted",
    source="xapi-project/xen-api, ocaml/xapi/xapi_vm_helpers.ml, assert_enough_pcpus",
    needs=("hosts",),
)
def _m17(question: Question) -> Found:
    fleet, rows = question.fleet, []
    for pool in range(len(fleet.pools)):
        part = fleet.mobility.pool(pool)
        able = (fleet.hosts.enabled & fleet.hosts.live)[part.hosts]
        narrow = (part.first_step(with_cpu=False) == Step.PCPUS) & able
        for place in np.flatnonzero(narrow.any(axis=1)[part.kind_of] & question.guest[part.vms]).tolist():
            vm, on = int(part.vms[place]), part.hosts[narrow[part.kind_of[place]]].tolist()
            most = int(fleet.hosts.cpu_count[on].min())
            names = fleet.hosts.label(on[0]) if len(on) == 1 else f"{fleet.hosts.label(on[0])} and {len(on) - 1} more"
            rows.append((vm, {"vcpus": int(fleet.vms.VCPUs_max[vm]), "hosts": names, "most": most}))
    return listing(rows)


@rule(
    "M18",
    "W",
    "vms",
    "many vCPUs, or many that are not used",
    text="VCPUs_max {most}, VCPUs_at_startup {started}",
    consequence="each vCPU that is not used costs 1 MiB, and 38 pages more from xapi 26.3 on",
    remedy="xe vm-param-set uuid={uuid} VCPUs-max=.., as many as it uses, while it is halted",
    source="memory-model.md",
)
def _m18(question: Question) -> Found:
    most, started = question.fleet.vms.VCPUs_max, question.fleet.vms.VCPUs_at_startup
    which = question.guest & ((most > MANY_VCPUS) | ((most >= FEW_STARTED * started) & (most > started)))
    return found(which, most=most, started=started)


@rule(
    "M19",
    "I",
    "vms",
    "much video memory",
    text="platform:videoram {video_ram:size}",
    consequence="it is taken from the guest's own memory when the domain is built",
    remedy="none needed",
    source="memory-model.md",
)
def _m19(question: Question) -> Found:
    video_ram = question.fleet.vms.video_ram
    return found(question.running & (video_ram > USUAL_VIDEO_RAM), video_ram=video_ram)


@rule(
    "M20",
    "W",
    "vms",
    "halted, and starts nowhere now",
    text="needs {needed:size}; {host} has most free, {missing:size} too little",
    consequence="it does not start today, though it fits an empty host",
    remedy="xenmem evacuate, rebalance or pack show how to make room",
    source="planning.md, 5",
    needs=("totals",),
)
def _m20(question: Question) -> Found:
    return too_large_now(question, question.halted)


def too_large_now(question: Question, which: Bools) -> Found:
    """The VMs for which no host has room now, though one had if it were empty."""
    vms, hosts = question.fleet.vms, question.fleet.hosts
    needed = memory_to_start(question.fleet)
    freest = question.most(question.free)
    known = freest[vms.pool] >= 0
    room = np.where(known, question.free[freest[vms.pool]], 0) if len(hosts) else np.zeros(len(vms), np.int64)
    largest = np.zeros(len(question.fleet.pools), np.int64)
    np.maximum.at(largest, hosts.pool, question.empty)
    rows = np.flatnonzero(which & known & (needed > room) & (needed <= largest[vms.pool]))
    return Found(
        rows.tolist(),
        {
            "needed": needed[rows].tolist(),
            "host": [hosts.label(int(freest[vms.pool[row]])) for row in rows.tolist()],
            "missing": (needed - room)[rows].tolist(),
        },
    )
