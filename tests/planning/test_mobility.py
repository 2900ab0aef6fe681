"""Planners take VMs only where storage, networks, CPUs and devices let them be, and say what they lack; MiB."""

import io
from typing import Any

import dumps
import numpy as np
import pytest
from mobility_examples import EXAMPLES, Example, tables_of
from pools import records, with_drivers

import xenmem
from xenmem import planning

NULL = dumps.NULL
Records = dict[str, dict[str, dict[str, Any]]]


def three_hosts() -> Records:
    """A VM on each of hosts 0 and 1, and one that is halted; all disks on an SR that every host sees."""
    tables = with_drivers(records([16000, 16000, 16000], [(4000, 0), (3000, 1), (2000, None)], cpus=8))
    tables["SR"] = {"s": {"uuid": "s", "name_label": "nfs-7", "shared": True, "type": "nfs"}}
    tables |= {"PBD": {}, "VDI": {}, "VBD": {}, "VIF": {}, "PIF": {}}
    tables["network"] = {"n": {"uuid": "n", "name_label": "lan", "managed": True, "PIFs": [], "VIFs": []}}
    for host in tables["host"]:
        tables["PBD"][f"s-{host}"] = {"SR": "s", "host": host, "currently_attached": True}
        tables["PIF"][f"n-{host}"] = {"network": "n", "host": host, "bond_slave_of": NULL, "physical": True}
    for vm, record in tables["VM"].items():
        tables["VDI"][f"{vm}-disk"] = {"SR": "s", "sm_config": {}}
        tables["VBD"][f"{vm}-vbd"] = {"VM": vm, "VDI": f"{vm}-disk", "empty": False}
        tables["VIF"][f"{vm}-vif"] = {"VM": vm, "network": "n"}
        record |= {"VBDs": [f"{vm}-vbd"], "VIFs": [f"{vm}-vif"], "hardware_platform_version": "0"}
    return tables


def evacuated(tables: Records) -> planning.Plan:
    return planning.evacuate(xenmem.Fleet.from_records(tables), 0)


def test_everybody_may_go_everywhere() -> None:
    plan = evacuated(three_hosts())
    assert (plan.status, plan.value, plan.stays) == ("optimal", 1, {})


def unplugged(tables: Records) -> None:
    tables["PBD"]["s-p-h1"]["currently_attached"] = False
    del tables["PBD"]["s-p-h2"]


def without_network(tables: Records) -> None:
    del tables["PIF"]["n-p-h1"], tables["PIF"]["n-p-h2"]


def bonded(tables: Records) -> None:
    tables["PIF"]["n-p-h1"]["bond_slave_of"] = tables["PIF"]["n-p-h2"]["bond_slave_of"] = "bond"


def internal(tables: Records) -> None:
    tables["PIF"].clear()


def new_hardware(tables: Records) -> None:
    tables["VM"]["p-v0"]["hardware_platform_version"] = "3"


def without_hvm(tables: Records) -> None:
    tables["host"]["p-h1"]["capabilities"] = tables["host"]["p-h2"]["capabilities"] = ["xen-3.0-x86_64"]


def old_cpus(tables: Records) -> None:
    for host, features in (("p-h0", "0000001f-00000003"), ("p-h1", "0000000f-00000003"), ("p-h2", "0000000f-00000003")):
        keys = {"vendor": "GenuineIntel", "features_hvm": features, "features_pv": features}
        tables["host"][host]["cpu_info"] |= keys
    flags = {"vendor": "GenuineIntel", "features": "0000001f-00000003"}
    tables["VM"]["p-v0"]["last_boot_CPU_flags"] = flags


def lost_disk(tables: Records) -> None:
    tables["VBD"]["p-v0-vbd"]["VDI"] = "gone"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (unplugged, "it needs SR nfs-7, which host p-h1 does not see (nor 1 more host)"),
        (without_network, "it needs network lan, which host p-h1 does not have (nor 1 more host)"),
        (bonded, "it needs network lan, whose PIF on host p-h1 belongs to a bond (nor 1 more host)"),
        (internal, "its network lan has no PIF, and is on no other host"),
        (new_hardware, "it needs virtual hardware of version 3, which host p-h1 lacks (nor 1 more host)"),
        (without_hvm, "it needs HVM, which host p-h1 lacks (nor 1 more host)"),
        (old_cpus, "it booted with the CPU features 00000010-00000000, which host p-h1 lacks (nor 1 more host)"),
        (lost_disk, "it is not known which hosts see its disks"),
    ],
)
def test_what_holds_a_vm_is_named(change: Any, why: str) -> None:
    tables = three_hosts()
    change(tables)
    plan = evacuated(tables)
    assert plan.status == "infeasible"
    assert plan.stays[0] == why
    assert why in plan.reason


def test_one_host_that_lacks_it_is_left_out() -> None:
    tables = three_hosts()
    tables["PBD"]["s-p-h1"]["currently_attached"] = False
    plan = evacuated(tables)
    assert (plan.status, [migration.target for migration in plan.migrations]) == ("optimal", [2])


def test_a_halted_vm_needs_no_cpu_features() -> None:
    tables = three_hosts()
    old_cpus(tables)
    tables["VM"]["p-v2"]["last_boot_CPU_flags"] = tables["VM"]["p-v0"]["last_boot_CPU_flags"]
    fleet = xenmem.Fleet.from_records(tables)
    assert planning.pack(fleet, [2], [1]).status == "optimal"
    plan = planning.pack(fleet, [0], [1, 2])
    assert plan.stays == {
        0: "it booted with the CPU features 00000010-00000000, which host p-h1 lacks (nor 1 more host)"
    }


def test_a_halted_vm_that_can_run_nowhere_is_told_why() -> None:
    tables = three_hosts()
    for pbd in tables["PBD"].values():
        pbd["currently_attached"] = False
    plan = planning.pack(xenmem.Fleet.from_records(tables), [2])
    assert plan.status == "infeasible"
    assert "VM p-v2 can run on none of these hosts: it needs SR nfs-7, which host p-h0 does not see" in plan.reason


def test_a_vm_stays_where_nobody_would_let_it_come() -> None:
    """Its PBD was unplugged under it: that it runs there is a fact, and it may leave."""
    tables = three_hosts()
    tables["PBD"]["s-p-h0"]["currently_attached"] = False
    fleet = xenmem.Fleet.from_records(tables)
    assert planning.consolidate(fleet, [0, 2]).status == "optimal"
    assert evacuated(tables).status == "optimal"
    question = planning.question.question_of_fleet(fleet, None, None, "dynamic_min", {})
    assert question.allowed[question.kind_of].tolist() == [[True, True, True], [False, True, True], [False, True, True]]


def test_what_the_file_does_not_tell_is_no_obstacle() -> None:
    tables = three_hosts()
    for name in ("PBD", "PIF"):
        del tables[name]
    fleet = xenmem.Fleet.from_records(tables)
    assert planning.evacuate(fleet, 0).status == "optimal"
    assert {"no-storage", "no-networks"} <= {note.kind for note in fleet.notes}


@pytest.mark.parametrize(
    ("table", "field", "value", "error"),
    [
        ("VDI", "sm_config", {"on_boot": "reset", "caching": "true"}, "VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION"),
        ("VM", "attached_PCIs", ["pci"], "VM_HAS_PCI_ATTACHED"),
        ("VM", "VGPUs", ["vgpu"], "VM_HAS_VGPU"),
        ("VM", "VUSBs", ["vusb"], "VM_HAS_VUSBS"),
    ],
)
def test_devices_hold_a_vm(table: str, field: str, value: Any, error: str) -> None:
    tables = three_hosts()
    tables[table]["p-v0-disk" if table == "VDI" else "p-v0"][field] = value
    plan = evacuated(tables)
    assert plan.stays == {0: error}


def test_an_nvidia_vgpu_migrates_live() -> None:
    """To a host where there is room for it; the virtual function that it has counts as no device."""
    tables = three_hosts()
    kind = {"implementation": "nvidia_sriov", "size": "524288", "model_name": "half", "vendor_name": "N"}
    tables["VGPU_type"] = {"half": kind | {"compatible_types_on_pgpu": ["half"]}}
    tables["GPU_group"] = {"g": {"uuid": "g", "name_label": "GPUs", "allocation_algorithm": "depth_first"}}
    tables["GPU_group"]["g"]["PGPUs"] = ["gpu0", "gpu2"]
    types = {"supported_VGPU_types": ["half"], "enabled_VGPU_types": ["half"], "size": "1048576"}
    for number in (0, 2):
        gpu = types | {"host": f"p-h{number}", "GPU_group": "g", "PCI": f"pf{number}"}
        tables.setdefault("PGPU", {})[f"gpu{number}"] = gpu | {"compatibility_metadata": {"nvidia": "x"}}
    tables["VGPU"] = {"vgpu": {"VM": "p-v0", "GPU_group": "g", "type": "half", "resident_on": "gpu0", "PCI": "vf"}}
    tables["VM"]["p-v0"] |= {"VGPUs": ["vgpu"], "attached_PCIs": ["vf"]}
    for host in tables["host"].values():
        host["chipset_info"] = {"iommu": "true"}
    fleet = xenmem.Fleet.from_records(tables)
    plan = planning.evacuate(fleet, 0)
    assert (plan.status, [migration.target for migration in plan.migrations]) == ("optimal", [2])
    part = fleet.mobility.pool(0)
    assert part.reason(0, 1) == "needs the vGPU half of GPUs, for which host p-h1 has no room"
    tables["PGPU"]["gpu0"]["compatibility_metadata"] = {}
    assert evacuated(tables).stays == {0: "VM_HAS_VGPU"}
    assert np.array_equal(fleet.vms.needs_iommu, [True, False, False])


# ---------------------------------------------------------------------------------------------------- worked examples

OF_THE_MOMENT = {"HOST_NOT_ENOUGH_FREE_MEMORY", "OTHER_OPERATION_IN_PROGRESS"}
STRICTER = {"25", "29ab", "67a"}
"""Where the pool lets a VM go and a plan does not: Xen's own library may refuse, the host is older."""
MIGRATIONS = [
    example
    for example in EXAMPLES
    if example.question[0] == "mig"
    and not example.question[3]
    and example.question[2] != "h1"  # where it is
    and (example.answer is None or example.answer[0] not in OF_THE_MOMENT)
]


@pytest.mark.parametrize("example", MIGRATIONS, ids=lambda example: example.name)
def test_worked_examples_of_migrations(example: Example) -> None:
    """A plan may take a VM to a host where the pool lets it go, and nowhere else; where it stays the plan says why."""
    fleet = xenmem.read(io.BytesIO(dumps.dump(tables_of(example.changes))))
    vm, host = (int(t.find(ref)[0]) for t, ref in zip((fleet.vms, fleet.hosts), example.question[1:3], strict=True))
    question = planning.question.question_of_fleet(fleet, [vm], None, "dynamic_min", {})
    moves = vm in question.vms and bool(question.allowed[question.kind_of[0], question.hosts.tolist().index(host)])
    assert moves == (example.answer is None and example.name not in STRICTER)
