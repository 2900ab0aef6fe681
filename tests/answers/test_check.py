"""Rules of advice: each fires where it is to fire and is silent next to it, by the numbers of the specification."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xenmem import Fleet, answers
from xenmem.answers.check import CheckFinding, Settings, rules
from xenmem.inventory.use import Rows, Use

MIB, GIB = 1 << 20, 1 << 30
Records = dict[str, dict[str, dict[str, Any]]]
Change = Callable[[Records], None]
NULL = "OpaqueRef:NULL"
FEATURES = "17cbfbff-f7fa3223"


def amounts(size: int) -> dict[str, str]:
    limits = ("static_max", "dynamic_max", "dynamic_min", "target")
    return {"memory_static_min": str(min(size, 512 * MIB)), **{f"memory_{name}": str(size) for name in limits}}


def vm(ref: str, host: str | None, *, size: int = 4 * GIB, overhead: int = 36, **more: Any) -> dict[str, Any]:
    return {
        "uuid": ref,
        "name_label": ref,
        "power_state": "Halted" if host is None else "Running",
        "resident_on": NULL if host is None else host,
        "scheduled_to_be_resident_on": NULL,
        "domain_type": "hvm",
        "memory_overhead": str(overhead * MIB),
        "VCPUs_max": "2",
        "VCPUs_at_startup": "2",
        "HVM_shadow_multiplier": 1.0,
        "guest_metrics": "guest",
        "metrics": "metrics",
        "platform": {},
        "tags": [],
        "VBDs": [],
        "VIFs": [],
        **amounts(size),
        **more,
    }


def world() -> Records:
    """Three hosts of 64 GiB of xapi 25.6 with a VM each, of which nothing is amiss."""
    tables: Records = {
        "pool": {"p": {"uuid": "p", "name_label": "p", "master": "h1", "cpu_info": {"vendor": "V"}}},
        "VM_metrics": {"metrics": {"uuid": "metrics"}},
        "VM_guest_metrics": {
            "guest": {"uuid": "guest", "PV_drivers_version": {"major": "9", "minor": "4"}, "PV_drivers_detected": True}
        },
        "VM_group": {"g": {"uuid": "g", "name_label": "g", "placement": "anti_affinity"}},
        "SR": {"s": {"uuid": "s", "name_label": "s", "shared": True, "type": "nfs"}},
        "PIF_metrics": {"m": {"uuid": "m", "speed": "1000"}, "s": {"uuid": "s", "speed": "9999"}},
        "network": {name: {"uuid": name, "name_label": name, "PIFs": [], "VIFs": []} for name in ("n", "fast")},
    }
    for name in ("host", "host_metrics", "VM", "PBD", "VDI", "VBD", "VIF", "PIF", "PCI", "PGPU", "GPU_group", "VGPU"):
        tables[name] = {}
    for name in ("VGPU_type", "PUSB", "USB_group", "VUSB", "network_sriov"):
        tables[name] = {}
    for host in ("h1", "h2", "h3"):
        tables["host"][host] = {
            "uuid": host,
            "name_label": host,
            "metrics": host,
            "control_domain": f"dom0-{host}",
            "enabled": True,
            "memory_overhead": str(GIB),
            "boot_free_mem": str(63 * GIB + 9 * MIB),
            "capabilities": ["hvm-3.0-x86_64"],
            "cpu_info": {"cpu_count": "32", "vendor": "V"},
            "software_version": {"xapi_build": "25.6.0", "platform_version": "3.4.0", "xen": "4.17.5"},
            "virtual_hardware_platform_versions": ["0", "1", "2"],
        }
        tables["host_metrics"][host] = {"uuid": host, "memory_total": str(64 * GIB), "memory_free": "-1", "live": True}
        tables["PBD"][f"s-{host}"] = {"SR": "s", "host": host, "currently_attached": True}
        for network, management in (("n", True), ("fast", False)):
            ref = f"{network}-{host}"
            pif = {"network": network, "host": host, "physical": True, "bond_slave_of": NULL, "management": management}
            tables["PIF"][ref] = {"uuid": ref, "metrics": "m" if management else "s", **pif}
            tables["network"][network]["PIFs"].append(ref)
        tables["VM"][f"dom0-{host}"] = vm(f"dom0-{host}", host, is_control_domain=True, domain_type="pv", overhead=23)
        tables["VM"][f"v-{host}"] = vm(f"v-{host}", host)
    return tables


def both(*changes: Change) -> Change:
    def change(tables: Records) -> None:
        for one in changes:
            one(tables)

    return change


def of(table: str, *refs: str, **values: Any) -> Change:
    """Set fields of rows, by default of v-h1; amounts as numbers."""

    def change(tables: Records) -> None:
        for ref in refs:
            tables[table][ref].update({name: str(v) if type(v) is int else v for name, v in values.items()})

    return change


def of_vm(**values: Any) -> Change:
    return of("VM", "v-h1", **values)


def limits(static_max: int, dynamic_max: int, dynamic_min: int, **more: Any) -> Change:
    values = {"memory_static_max": static_max, "memory_dynamic_max": dynamic_max, "memory_dynamic_min": dynamic_min}
    return of_vm(**values, memory_target=dynamic_min, **more)


def dom0(host: str, size: int) -> Change:
    return of("VM", f"dom0-{host}", **amounts(size))


def add(ref: str, host: str | None, **more: Any) -> Change:
    def change(tables: Records) -> None:
        tables["VM"][ref] = vm(ref, host, **more)

    return change


def guest(**values: Any) -> Change:
    """Guest metrics of its own for v-h1."""

    def change(tables: Records) -> None:
        tables["VM_guest_metrics"]["own"] = tables["VM_guest_metrics"]["guest"] | {"uuid": "own", **values}
        tables["VM"]["v-h1"]["guest_metrics"] = "own"

    return change


def row(table: str, ref: str, **values: Any) -> Change:
    def change(tables: Records) -> None:
        tables[table][ref] = {"uuid": ref, **values}

    return change


def disk(sr: str, owner: str = "v-h1") -> Change:
    return both(
        row("VDI", "vdi", SR=sr, sm_config={}),
        row("VBD", "vbd", VM=owner, VDI="vdi", empty=False),
        of("VM", owner, VBDs=["vbd"]),
    )


local = both(
    row("SR", "local", name_label="local", shared=False, type="ext"),
    row("PBD", "local-h1", SR="local", host="h1", currently_attached=True),
    disk("local"),
)
ranged = limits(4 * GIB, 4 * GIB, 2 * GIB)


def usb(tables: Records) -> None:
    tables["USB_group"]["ug"] = {"uuid": "ug", "PUSBs": ["pusb"], "VUSBs": ["vusb"]}
    tables["PUSB"]["pusb"] = {"uuid": "pusb", "host": "h1", "USB_group": "ug"}
    tables["VUSB"]["vusb"] = {"uuid": "vusb", "VM": "v-h1", "USB_group": "ug"}
    tables["VM"]["v-h1"]["VUSBs"] = ["vusb"]


def ha(tolerate: int = 1, *, overcommitted: bool = False, **more: Any) -> Change:
    return of(
        "pool",
        "p",
        ha_enabled=True,
        ha_host_failures_to_tolerate=tolerate,
        ha_overcommitted=overcommitted,
        **more,
    )


def protect(*refs: str) -> Change:
    return of("VM", *refs, ha_always_run=True, ha_restart_priority="restart")


every = ("v-h1", "v-h2", "v-h3")
hosts = ("h1", "h2", "h3")


def filled(size: int) -> Change:
    """The guest of each host of a size."""
    return of("VM", *every, memory_overhead=0, **amounts(size))


def many(number: int) -> Change:
    def change(tables: Records) -> None:
        for at in range(number):
            tables["VM"][f"w{at}"] = vm(f"w{at}", "h1", size=16 * MIB, overhead=0)

    return change


def sized(host: str, total: int, overhead: int = GIB) -> Change:
    return both(
        of("host_metrics", host, memory_total=total),
        of("host", host, memory_overhead=overhead, boot_free_mem=0),
    )


def nothing(tables: Records) -> None:
    """No change."""


# rule, what fires it, and what next to it does not
CASES: list[tuple[str, Change, Change]] = [
    ("M01", limits(4 * GIB, 2 * GIB, 2 * GIB + 1), limits(4 * GIB, 2 * GIB, 2 * GIB)),
    ("M01", limits(4 * GIB, 4 * GIB + 1, 4 * GIB), nothing),
    ("M02", limits(4 * GIB, 4 * GIB - 1, 2 * GIB), limits(4 * GIB, 4 * GIB, 2 * GIB)),
    ("M02", limits(4 * GIB, 2 * GIB, 2 * GIB), limits(4 * GIB, 2 * GIB, 2 * GIB, domain_type="pv")),
    ("M03", limits(8 * GIB, 4 * GIB - 1, 4 * GIB - 1), limits(8 * GIB, 4 * GIB, 4 * GIB)),
    (
        "M03",
        both(limits(8 * GIB, 4 * GIB, 4 * GIB), guest(PV_drivers_detected=False)),
        guest(PV_drivers_detected=False),
    ),
    ("M04", limits(8 * GIB, 8 * GIB, 2 * GIB - MIB), limits(8 * GIB, 8 * GIB, 2 * GIB)),
    (
        "M05",
        both(ranged, guest(os_version={"distro": "rocky", "major": "9"})),
        both(ranged, guest(os_version={"distro": "rocky", "major": "7"})),
    ),
    (
        "M05",
        both(ranged, guest(os_version={"distro": "rhel", "major": "8"})),
        guest(os_version={"distro": "rhel", "major": "8"}),
    ),
    ("M06", both(ranged, row("PCI", "pci", attached_VMs=["v-h1"]), of_vm(attached_PCIs=["pci"])), ranged),
    (
        "M06",
        both(ranged, row("PCI", "pci", attached_VMs=["v-h1"]), of_vm(attached_PCIs=["pci"])),
        of_vm(attached_PCIs=["x"]),
    ),
    ("M07", both(ranged, of_vm(platform={"exp-nested-hvm": "true"})), of_vm(platform={"exp-nested-hvm": "true"})),
    ("M07", both(ranged, of_vm(platform={"nested-virt": "1"})), both(ranged, of_vm(platform={"nested-virt": "false"}))),
    (
        "M10",
        both(filled(59 * GIB), limits(60 * GIB, 60 * GIB, 58 * GIB)),
        both(filled(58 * GIB), limits(58 * GIB, 58 * GIB, 50 * GIB)),
    ),
    ("M11", of_vm(HVM_shadow_multiplier=0.99), nothing),
    ("M12", of_vm(HVM_shadow_multiplier=1.01), nothing),
    ("M13", of_vm(domain_type="pv", HVM_shadow_multiplier=1.5), of_vm(HVM_shadow_multiplier=1.5)),
    ("M14", of_vm(memory_static_min=512 * MIB + 1), of_vm(memory_static_min=511 * MIB)),
    ("M15", of_vm(memory_overhead=37 * MIB), of_vm(memory_overhead=36 * MIB)),
    # 64 GiB, of which 1 GiB is the host's, 4 GiB and 23 MiB domain 0's
    ("M16", of_vm(**amounts(59 * GIB - 22 * MIB)), of_vm(**amounts(59 * GIB - 23 * MIB))),
    ("M17", both(of_vm(VCPUs_max=33), of("host", "h1", cpu_info={"cpu_count": "40"})), of_vm(VCPUs_max=32)),
    ("M18", of_vm(VCPUs_max=33, VCPUs_at_startup=33), of_vm(VCPUs_max=32, VCPUs_at_startup=32)),
    ("M18", of_vm(VCPUs_max=8), of_vm(VCPUs_max=7)),
    ("M19", of_vm(platform={"videoram": "17"}), of_vm(platform={"videoram": "16"})),
    (
        "M20",
        both(filled(30 * GIB), add("new", None, size=40 * GIB)),
        both(filled(30 * GIB), add("new", None, size=20 * GIB)),
    ),
    ("M20", both(filled(30 * GIB), add("new", None, size=40 * GIB)), add("new", None, size=60 * GIB)),
    ("H01", dom0("h1", 4 * GIB - 1), dom0("h1", 4 * GIB)),
    ("H01", both(sized("h1", 256 * GIB), dom0("h1", 8 * GIB - 1)), both(sized("h1", 256 * GIB), dom0("h1", 8 * GIB))),
    ("H01", both(sized("h1", 24 * GIB), dom0("h1", 2 * GIB - 1)), both(sized("h1", 24 * GIB), dom0("h1", 2 * GIB))),
    (
        "H02",
        of("SR", "s", type="linstor"),
        both(of("SR", "s", type="linstor"), *(dom0(host, 16 * GIB) for host in hosts)),
    ),
    ("H02", of("SR", "s", type="zfs"), of("SR", "s", type="lvmoiscsi")),
    ("H03", of("VM", "dom0-h1", memory_dynamic_min=3 * GIB), dom0("h1", 3 * GIB)),
    (
        "H04",
        of("host", "h1", boot_free_mem=63 * GIB),
        of("host", "h1", memory_overhead=GIB + 9 * MIB, boot_free_mem=63 * GIB),
    ),
    ("H05", of("host_metrics", "h1", memory_total=0), of("host_metrics", "h1", memory_total=1)),
    # accounted 64 - 1 - 4 GiB - 23 MiB - 4 GiB - 36 MiB = 54.94 GiB, and the reserve of 9 MiB; 5 % are 3.2 GiB
    ("H06", of("host_metrics", "h1", memory_free=51 * GIB), of("host_metrics", "h1", memory_free=52 * GIB)),
    ("H07", both(of_vm(**amounts(59 * GIB), memory_overhead=0)), both(of_vm(**amounts(58 * GIB), memory_overhead=0))),
    ("H08", sized("h1", 64 * GIB * 6 // 5 + 5), sized("h1", 64 * GIB * 6 // 5)),
    (
        "H09",
        both(
            of("pool", "p", cpu_info={"vendor": "V", "features_hvm": FEATURES}),
            of("host", "h1", cpu_info={"cpu_count": "32", "vendor": "V", "features_hvm": "17cbfbff-f7fa3227"}),
        ),
        both(
            of("pool", "p", cpu_info={"vendor": "V", "features_hvm": FEATURES}),
            of("host", "h1", cpu_info={"cpu_count": "32", "vendor": "V", "features_hvm": f"{FEATURES}-00000000"}),
        ),
    ),
    ("H09", of("host", "h2", cpu_info={"cpu_count": "32", "vendor": "W"}), nothing),
    (
        "H10",
        of("host", "h1", software_version={"xapi_build": "25.6.0", "platform_version": "3.4.0", "xen": "4.17.6"}),
        of(
            "host",
            "h1",
            software_version={"xapi_build": "25.6.0", "platform_version": "3.4.0", "xen": "4.17.5", "x": "y"},
        ),
    ),
    ("H11", of("host", "h1", enabled=False), nothing),
    (
        "H11",
        of("host", "h1", other_config={"MAINTENANCE_MODE_EVACUATED_VMS_MIGRATED": "x"}),
        of("host", "h1", other_config={"x": "y"}),
    ),
    ("R01", add("new", None, scheduled_to_be_resident_on="h1"), add("new", None)),
    (
        "R01",
        add("new", None, scheduled_to_be_resident_on="h1", power_state="Suspended"),
        add("new", None, scheduled_to_be_resident_on="h1", current_operations={"t": "start"}),
    ),
    (
        "R02",
        of_vm(scheduled_to_be_resident_on="h2"),
        of_vm(scheduled_to_be_resident_on="h2", current_operations={"t": "pool_migrate"}),
    ),
    (
        "R03",
        both(filled(30 * GIB), add("new", None, size=40 * GIB, power_state="Suspended")),
        both(filled(30 * GIB), add("new", None, size=20 * GIB, power_state="Suspended")),
    ),
    (
        "R04",
        add("new", None, is_a_template=True, size=1024 * GIB),
        add("new", None, is_a_template=True, size=1024 * GIB - 1),
    ),
    (
        "R04",
        add("new", None, is_a_template=True, memory_dynamic_max=str(4 * GIB + 1)),
        add("new", None, memory_dynamic_max=str(4 * GIB + 1)),
    ),
    ("R05", of_vm(memory_target=GIB), nothing),
    (
        "R06",
        add("new", "h1", is_a_template=True, is_a_snapshot=True, power_state="Suspended"),
        add("new", None, is_a_template=True, is_a_snapshot=True, power_state="Suspended"),
    ),
    # needs 48 GiB and 388 MiB; h2 and h3 have 32 - 1 - 4 GiB - 23 MiB when they are empty
    (
        "A01",
        both(sized("h2", 32 * GIB), sized("h3", 32 * GIB), of_vm(**amounts(48 * GIB))),
        both(sized("h2", 32 * GIB), of_vm(**amounts(48 * GIB))),
    ),
    ("A02", local, disk("s")),
    ("A02", usb, nothing),
    ("A02", of_vm(blocked_operations={"pool_migrate": "no"}), of_vm(blocked_operations={"start": "no"})),
    ("A02", guest(PV_drivers_version={}), guest(PV_drivers_version={}, other={"feature-suspend": "1"})),
    ("A02", of_vm(platform={"nomigrate": "true"}, metrics=NULL), of_vm(platform={"nomigrate": "false"}, metrics=NULL)),
    ("A03", filled(30 * GIB), filled(20 * GIB)),
    ("A03", local, disk("s")),
    ("A04", both(disk("s"), filled(30 * GIB)), both(disk("s"), filled(20 * GIB))),
    ("A04", both(disk("s"), filled(30 * GIB)), filled(30 * GIB)),
    (
        "A05",
        both(
            filled(25 * GIB),
            of("pool", "p", other_config={"auto_poweron": "true"}),
            *(add(f"a{n}", None, size=25 * GIB, other_config={"auto_poweron": "true"}) for n in range(3)),
        ),
        both(
            filled(25 * GIB),
            *(add(f"a{n}", None, size=25 * GIB, other_config={"auto_poweron": "true"}) for n in range(3)),
        ),
    ),
    (
        "A05",
        both(
            filled(25 * GIB),
            of("pool", "p", other_config={"auto_poweron": "true"}),
            *(add(f"a{n}", None, size=25 * GIB, other_config={"auto_poweron": "true"}) for n in range(3)),
        ),
        both(
            filled(25 * GIB),
            of("pool", "p", other_config={"auto_poweron": "true"}),
            add("a", None, size=2 * GIB, other_config={"auto_poweron": "true"}),
        ),
    ),
    (
        "A06",
        both(add("b", "h1", groups=["g"]), of_vm(groups=["g"])),
        both(add("b", "h2", groups=["g"]), of_vm(groups=["g"])),
    ),
    ("A06", both(of("VM", *every, groups=["g"]), add("b", "h1", groups=["g"])), of("VM", *every, groups=["g"])),
    ("HA1", both(ha(), protect("v-h2", "v-h3")), both(ha(), protect(*every))),
    ("HA1", both(ha(), protect("v-h2", "v-h3")), protect("v-h2", "v-h3")),
    # two failures: 3 x 30 GiB on one host of 59 GiB
    (
        "HA2",
        both(ha(2), protect(*every), filled(30 * GIB)),
        both(ha(2, overcommitted=True), protect(*every), filled(30 * GIB)),
    ),
    ("HA2", both(ha(1, overcommitted=True), protect(*every)), both(ha(1), protect(*every))),
    ("HA3", both(local, protect("v-h1")), both(disk("s"), protect("v-h1"))),
    ("HA3", both(local, protect("v-h1")), both(local, of_vm(ha_restart_priority="best-effort"))),
    ("HA4", of("pool", "p", ha_allow_overcommit=True), nothing),
    ("HA5", both(ha(), protect(*every), limits(4 * GIB, 4 * GIB, 2 * GIB - 1)), both(ha(), protect(*every), ranged)),
    # 40 GiB fit beside 40 GiB on none of 59 GiB; 29 GiB do
    ("N01", filled(40 * GIB), filled(29 * GIB)),
    ("N01", filled(40 * GIB), both(ha(), filled(40 * GIB))),
    ("P01", many(1000), many(999)),
    ("P02", of("PIF_metrics", "s", speed=10000), nothing),
    (
        "P02",
        of("PIF_metrics", "s", speed=10000),
        both(of("PIF_metrics", "s", speed=10000), of("pool", "p", other_config={"xo:migrationNetwork": "fast"})),
    ),
    # 59 GiB - 23 MiB for guests of 0 overhead; on 26.3 the host takes 63 MiB more, and each VM its overhead
    ("P03", filled(58 * GIB + 900 * MIB), filled(40 * GIB)),
    ("P03", filled(29 * GIB + 300 * MIB), filled(28 * GIB)),
]


def findings(change: Change, name: str, **more: Any) -> list[CheckFinding]:
    tables = world()
    change(tables)
    result = answers.check(Fleet.from_records(tables), only=[name], **more)
    assert not [one for one in result.not_run if one.rule not in ("M08", "M09", "H04", "H06")], result.not_run
    return [finding for pool in result.pools for finding in pool.findings]


def test_nothing_is_amiss_with_the_world_that_the_cases_change() -> None:
    result = answers.check(Fleet.from_records(world()))
    assert [(one.rule, one.text) for pool in result.pools for one in pool.findings] == []
    assert result.outcome == "yes"


@pytest.mark.parametrize(("name", "fires", "quiet"), CASES, ids=[f"{at}-{case[0]}" for at, case in enumerate(CASES)])
def test_a_rule_fires_where_it_is_to_and_not_next_to_it(name: str, fires: Change, quiet: Change) -> None:
    assert findings(fires, name)
    assert not findings(quiet, name)


def test_every_rule_has_a_case() -> None:
    assert len(rules()) == 52
    assert {rule.name for rule in rules()} - {name for name, *_ in CASES} == {"M08", "M09"}


def used(uuid: str, amount: int, target: int, *, days: int = 8) -> Use:
    """A VM of 4 GiB that uses always as much, at a target that never changes."""
    count = days * 1440
    times = 1_700_000_000 + 60 * np.arange(count, dtype=np.int64)
    memory, free = np.full(count, 4.0 * GIB), np.full(count, 4.0 * GIB - amount)
    return Use(uuid, {60: Rows(times, memory, np.full(count, float(target)), free, np.full(count, np.nan))})


def test_measured_use() -> None:
    (found,) = findings(ranged, "M08", use=[used("v-h1", 2 * GIB + 1, 4 * GIB), used("elsewhere", GIB, GIB)])
    # 1.1 times the use, in whole MiB
    assert (found.uuid, found.values["wanted"]) == ("v-h1", 2253 * MIB)
    assert not findings(ranged, "M08", use=[used("v-h1", 2 * GIB, 4 * GIB)])
    assert [one.uuid for one in findings(ranged, "M09", use=[used("v-h1", GIB, 4 * GIB)])] == ["v-h1"]
    assert not findings(ranged, "M09", use=[used("v-h1", GIB, 4 * GIB - 1)])
    assert not findings(nothing, "M09", use=[used("v-h1", GIB, 4 * GIB)])


def test_thresholds_are_settings() -> None:
    large = of_vm(**amounts(20 * GIB))
    assert findings(large, "M16", settings=Settings(hvm_limit=20 * GIB - 1))
    assert not findings(large, "M16", settings=Settings(hvm_limit=20 * GIB))
    assert findings(nothing, "H01", settings=Settings(dom0_memory=4 * GIB + 1))
    assert not findings(dom0("h1", 3 * GIB), "H01", settings=Settings(dom0_memory=3 * GIB))


@pytest.mark.parametrize(
    ("tag", "silent"),
    [("xenmem:ignore=M04", True), ("xenmem:ignore=M02,M04", True), ("xenmem:ignore=M02", False), ("M04", False)],
)
def test_a_tag_silences_rules_for_its_object(tag: str, silent: bool) -> None:
    tables = world()
    both(limits(8 * GIB, 8 * GIB, GIB), of_vm(tags=["other", tag]))(tables)
    result = answers.check(Fleet.from_records(tables), only=["M04"])
    (rule,) = result.rules
    assert (rule.findings, rule.ignored) == ((0, 1) if silent else (1, 0))


def test_hosts_and_pools_have_tags_too() -> None:
    tables = world()
    both(dom0("h1", GIB), of("host", "h1", tags=["xenmem:ignore=H01"]))(tables)
    both(of("pool", "p", ha_allow_overcommit=True, tags=["xenmem:ignore=HA4"]))(tables)
    result = answers.check(Fleet.from_records(tables), only=["H01", "HA4"])
    assert [(rule.rule, rule.findings, rule.ignored) for rule in result.rules] == [("H01", 0, 1), ("HA4", 0, 1)]


@pytest.mark.parametrize(
    ("lacking", "rules_not_run", "reason"),
    [
        (["VBD", "PBD", "SR", "VDI"], {"H02", "A02", "A04", "HA2", "HA3"}, "no SR, PBD, VDI and VBD records"),
        (["VM_guest_metrics"], {"M03", "M05", "A02"}, "no VM_guest_metrics records"),
        (["PIF_metrics"], {"P02"}, "no PIF_metrics.speed of the management network"),
    ],
)
def test_a_rule_is_not_run_without_what_it_needs(lacking: list[str], rules_not_run: set[str], reason: str) -> None:
    tables = world()
    disk("s")(tables)
    for name in lacking:
        del tables[name]
    result = answers.check(Fleet.from_records(tables))
    assert {one.rule for one in result.not_run if one.reason == reason} == rules_not_run
    assert not rules_not_run & {rule.rule for rule in result.rules}
    assert "not run" in result.verdict


def test_what_one_pool_lacks_is_asked_of_the_others() -> None:
    tables, other = world(), world()
    limits(8 * GIB, 4 * GIB - 1, 4 * GIB - 1)(tables)
    renamed = {
        name: {f"o-{ref}": row | {"uuid": f"o-{ref}"} for ref, row in rows.items()}
        for name, rows in other.items()
        if name in ("host", "pool", "VM")
    }
    renamed["pool"]["o-p"] |= {"name_label": "other", "master": "o-h1"}
    for host in renamed["host"].values():
        host["metrics"] = NULL
    for machine in renamed["VM"].values():
        machine["resident_on"] = f"o-{machine['resident_on']}"
    fleet = Fleet.concatenate(
        [Fleet.from_records(tables, source="one"), Fleet.from_records(renamed, source="two")]  # type: ignore[arg-type]
    )
    result = answers.check(fleet, only=["M03"])
    assert [one.pools for one in result.not_run] == [["other"]]
    assert [[one.uuid for one in pool.findings] for pool in result.pools] == [["v-h1"], []]


def test_the_outcome_is_what_was_asked_to_fail_on() -> None:
    tables = world()
    limits(8 * GIB, 8 * GIB, GIB)(tables)  # a warning
    fleet = Fleet.from_records(tables)
    outcomes = [answers.check(fleet, only=["M04"], fail_on=level).outcome for level in ("E", "W", "I", "never")]  # type: ignore[arg-type]
    assert outcomes == ["yes", "no", "no", "yes"]


def test_a_letter_stands_for_its_rules_and_a_wrong_name_is_refused() -> None:
    fleet = Fleet.from_records(world())
    assert [rule.rule for rule in answers.check(fleet, only=["h"], without=["H05"]).rules] == [
        f"H{number:02}" for number in range(1, 12) if number not in (5, 6)
    ]
    with pytest.raises(answers.QuestionError, match=r"rule: 'X9' is none of M01, .*, P03"):
        answers.check(fleet, only=["X9"])


def test_the_page_of_the_rules_names_all() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "advice.md").read_text()
    for rule in rules():
        assert f"| {rule.name} | {rule.severity} | {rule.title} | {rule.consequence} | {rule.source} |" in page
