"""The arithmetic of the facade against the reference's own answers, and beyond the domain of the kernels."""

import json
from pathlib import Path
from typing import Any

import pytest
from small_pool import row, vm_row

from xenmem import kernel
from xenmem.units import GIB, MIB
from xenmem.xenapi import Database
from xenmem.xenapi.store import accounting
from xenmem.xenapi.store.accounting import DYNAMIC_MAX, DYNAMIC_MIN, STATIC_MAX

POLICIES = {"dynamic_min": DYNAMIC_MIN, "dynamic_max": DYNAMIC_MAX, "static_max": STATIC_MAX}


def golden(data: Path, file: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (data / "golden" / file).read_text().splitlines()]


def vm_of(database: Database, case: dict[str, Any], **more: Any) -> Any:
    same = ("domain_type", "memory_static_max", "memory_dynamic_max", "memory_dynamic_min")
    values = {name: case[name] for name in same}
    ref = case.get("ref", "vm")
    vcpus, multiplier = case["vcpus_max"], case["shadow_multiplier"]
    return vm_row(database, ref, VCPUs_max=vcpus, HVM_shadow_multiplier=multiplier, **values, **more)


def test_memory_of_a_vm(data: Path) -> None:
    database = Database(seed=1)
    for case in golden(data, "memory.jsonl"):
        vm, model = vm_of(database, case), kernel.MODELS[case["model"]]
        assert accounting.overhead(model, vm) == case["overhead"]
        for name, policy in POLICIES.items():
            assert accounting.start_memory(model, vm, policy) == sum(case[f"start_{name}"])
        for approximate, name in ((False, "maximise_exact"), (True, "maximise_approximate")):
            assert accounting.maximise_memory(model, vm, case["total"], approximate=approximate) == case[name]


def test_free_memory_of_a_host(data: Path) -> None:
    for case in golden(data, "host_free.jsonl"):
        database = Database(seed=1)
        null = "OpaqueRef:NULL"
        metrics = row(database, "host_metrics", "hm", memory_total=case["memory_total"])
        host = row(database, "host", "h", metrics="hm", memory_overhead=case["memory_overhead"])
        database.load("host", [host])
        for one in case["vms"]:
            places = {name: one[name] or null for name in ("resident_on", "scheduled_to_be_resident_on")}
            database.load("VM", [vm_of(database, one, memory_overhead=one["memory_overhead"], **places)])
        candidate = database.VM[case["vms"][-1]["ref"]]
        for name, policy in POLICIES.items():
            assert accounting.free_memory(host, metrics, policy) == case[f"free_{name}"]
        ignoring = case["free_maximum_compression_ignoring_cand"]
        assert accounting.free_memory(host, metrics, ignored=candidate) == ignoring


@pytest.mark.parametrize(
    ("static_max", "vcpus", "multiplier", "mib"),
    [
        (0, 1, 1.0, 4),
        (-5, 1, 1.0, 4),
        (-1 * MIB, 1, 1.0, 4),
        (-2 * GIB, 0, 1.0, 3),
        (GIB + 1, 1, 1.0, 13),
        (0, 1, float("nan"), 4),
        (0, 1, float("inf"), 4),
        (0, 1, -1e300, 4),
    ],
)
def test_outside_the_kernels_domain(static_max: int, vcpus: int, multiplier: float, mib: int) -> None:
    vm = vm_row(Database(seed=1), "vm", memory_static_max=static_max, VCPUs_max=vcpus, HVM_shadow_multiplier=multiplier)
    assert accounting.overhead(kernel.MODELS["26.3"], vm) == mib * MIB


@pytest.mark.parametrize("static_max", [2**63 - 1, -(2**63)])
@pytest.mark.parametrize("vcpus", [2**63 - 1, -(2**63)])
def test_the_ends_of_int64(static_max: int, vcpus: int) -> None:
    vm = vm_row(Database(seed=1), "vm", memory_static_max=static_max, VCPUs_max=vcpus, domain_type="pv_in_pvh")
    assert -(2**63) <= accounting.overhead(kernel.MODELS["26.3"], vm) < 2**63
    assert -(2**63) <= accounting.start_memory(kernel.MODELS["26.3"], vm) < 2**63


def test_sums_do_not_wrap() -> None:
    """A host of 64 GiB has no room for a VM of 8 EiB less a byte, nor has it any after such a VM, or two, are on it."""
    database = Database(seed=1)
    most = 2**63 - 1
    metrics = row(database, "host_metrics", "hm", memory_total=64 * GIB)
    host = row(database, "host", "h", metrics="hm", memory_overhead=GIB)
    database.load("host", [host])
    vm = vm_row(database, "vm", memory_static_max=most, memory_dynamic_max=most, memory_dynamic_min=most)
    assert accounting.start_memory(kernel.MODELS["26.3"], vm) > 64 * GIB
    for number in range(3):
        assert accounting.free_memory(host, metrics) == (0 if number else 63 * GIB)
        one = vm_row(database, f"vm{number}", memory_dynamic_min=most, resident_on="h", memory_overhead=GIB)
        database.load("VM", [one])
