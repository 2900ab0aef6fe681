"""The naive model against what is known to be true: golden vectors of xapi itself, measurements.

If one of these fails, reference.py is wrong, and with it every test that compares xenmem with it.
"""

import ast
import gzip
from pathlib import Path
from typing import Any

import measurements
import pytest
from golden import golden

from twins import reference
from twins.reference import MIB

Case = dict[str, Any]


def test_imports_nothing_that_it_checks() -> None:
    source = ast.parse(Path(reference.__file__).read_text())
    imported = {alias.name for node in ast.walk(source) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(source) if isinstance(node, ast.ImportFrom)}
    assert imported == {"collections.abc", "gzip", "json", "pathlib", "re", "typing", "xml.etree.ElementTree"}


# ------------------------------------------------------------------------------------------------ golden vectors


def test_golden_memory(data: Path) -> None:
    cases = golden("memory.jsonl")
    assert len(cases) == 2000
    for case in cases:
        kind, model = case["domain_type"], case["model"]
        static_max, vcpus, multiplier = case["memory_static_max"], case["vcpus_max"], case["shadow_multiplier"]
        assert reference.overhead(kind, static_max, vcpus, multiplier, model) == case["overhead"], case
        for policy in reference.POLICIES:
            target = case[f"memory_{policy}"]
            required = reference.required_memory(kind, static_max, target, vcpus, multiplier, model)
            assert list(required) == case[f"start_{policy}"], (policy, case)


def test_golden_maximise(data: Path) -> None:
    for case in golden("memory.jsonl"):
        arguments = (case["domain_type"], case["vcpus_max"], case["shadow_multiplier"], case["total"])
        exact = reference.maximise_memory(*arguments, model=case["model"])
        assert exact == case["maximise_exact"], case
        approximate = reference.maximise_memory(*arguments, approximate=True, model=case["model"])
        assert approximate == case["maximise_approximate"], case


def test_golden_build(data: Path) -> None:
    for case in golden("memory.jsonl"):
        kind, model, expected = case["domain_type"], case["model"], case["build"]
        static_max, target = case["memory_static_max"], case["memory_dynamic_min"]
        build = reference.build_memory(kind, static_max, target, expected["video_mib"] * MIB, model)
        assert reference.mib_used(static_max) == expected["static_max_mib"]
        assert reference.mib_used(target) == expected["target_mib"]
        assert build.build_max == expected["build_max_mib"] * MIB, case
        assert build.build_start == expected["build_start_mib"] * MIB, case
        assert build.xen_max == expected["xen_max_mib"] * MIB, case
        if expected["build_claim_pages"] is not None:
            assert build.claim_pages == expected["build_claim_pages"], case
        constants, multiplier = reference.MODELS[model], expected["shadow_multiplier"]
        size = (expected["static_max_mib"], case["vcpus_max"], multiplier)
        assert reference.shadow_mib(constants, kind, *size) == expected["shadow_mib"], case
        assert reference.overhead_mib(constants, kind, *size) == expected["overhead_mib"], case
        assert expected["target_mib"] + expected["overhead_mib"] == expected["required_host_free_mib"], case


def inventory_of(case: Case) -> reference.Inventory:
    vms = {}
    for record in case["vms"]:
        vms[record["ref"]] = dict(record)
        vms[record["ref"]]["VCPUs_max"] = record["vcpus_max"]
        vms[record["ref"]]["HVM_shadow_multiplier"] = record["shadow_multiplier"]
    return {
        "VM": vms,
        "host": {"h": {"metrics": "m", "memory_overhead": case["memory_overhead"]}},
        "host_metrics": {"m": {"memory_total": case["memory_total"]}},
        "pool": {},
    }


def test_golden_host_free(data: Path) -> None:
    cases = golden("host_free.jsonl")
    assert len(cases) == 500
    for case in cases:
        inventory = inventory_of(case)
        for policy in reference.POLICIES:
            used = [
                reference.used_memory(vm[f"memory_{policy}"], vm["memory_overhead"]) for vm in inventory["VM"].values()
            ]
            assert used == case[f"used_{policy}"], case
            assert reference.host_free_memory(inventory, "h", policy) == case[f"free_{policy}"], case
        compressed = reference.host_free_memory(inventory, "h")
        assert compressed == case["free_maximum_compression"], case
        without = reference.host_free_memory(inventory, "h", ignore_scheduled="cand")
        assert without == case["free_maximum_compression_ignoring_cand"], case


def test_golden_start_check(data: Path) -> None:
    """A VM starts with dynamic_min, one behind the shim with static_max; it does not compete with itself."""
    for case in golden("host_free.jsonl"):
        inventory = inventory_of(case)
        kind = inventory["VM"]["cand"]["domain_type"]
        required = reference.start_memory(
            inventory, "cand", "static_max" if kind == "pv_in_pvh" else "dynamic_min", "26.3"
        )
        available = reference.host_free_memory(inventory, "h", ignore_scheduled="cand")
        expected: Case = {"ok": True}
        if available < required:
            expected = {"ok": False, "error": "HOST_NOT_ENOUGH_FREE_MEMORY"}
            expected |= {"required": required, "available": available}
        assert case["start_check"] == expected, case
        assert case["ha_memory"] == reference.start_memory(inventory, "cand", "static_max", "26.3"), case


# -------------------------------------------------------------------------------------------------- measurements


@pytest.mark.parametrize(("memory_mib", "vcpus", "overhead_mib"), measurements.OBSERVED_OVERHEAD_MIB)
def test_public_cloud(memory_mib: float, vcpus: int, overhead_mib: int) -> None:
    """Every observed overhead is that of a PV or an HVM guest."""
    static_max = round(memory_mib * MIB)
    computed = [reference.overhead(kind, static_max, vcpus, 1.0, "pre-26.3") for kind in ("pv", "hvm")]
    assert computed.count(overhead_mib * MIB) == 1


def test_stored_overheads() -> None:
    for kind, memory_mib, vcpus, multiplier, stored, source in measurements.STORED_OVERHEAD:
        assert reference.overhead(kind, memory_mib * MIB, vcpus, multiplier, "pre-26.3") == stored, source


def test_measured_pages_per_vcpu() -> None:
    """What Xen took for its vCPUs is never more than 26.3 sets aside, and always more than was set aside before."""
    extra_mib = reference.overhead_mib(reference.MODELS["pre-26.3"], "hvm", 0, 0, 1.0) - 1
    for first, series in measurements.PAGES_OF_VCPUS.items():
        for vcpus, used in enumerate(series, first):
            pages = {
                name: (reference.overhead_mib(model, "hvm", 0, vcpus, 1.0) - extra_mib) * reference.PAGES_PER_MIB
                for name, model in reference.MODELS.items()
            }
            assert pages["26.3"] >= used, (vcpus, used)
            assert vcpus == 0 or pages["pre-26.3"] < used, (vcpus, used)


VECTORS = [
    # static_max, vCPUs, multiplier, MiB of HVM, PV in PVH, PV
    (1024 * MIB, 1, 1.0, 12, 46, 11),
    (4096 * MIB, 2, 1.0, 37, 105, 36),
    (4096 * MIB, 2, 1.5, 54, 122, 53),
    (16384 * MIB, 8, 1.0, 140, 345, 139),
    (65536 * MIB, 32, 4.0, 2183, 2934, 2182),
    (256 * MIB, 1, 1.0, 6, 31, 5),
    (1024 * MIB + 1, 1, 1.0, 13, 47, 12),
    (0, 1, 1.0, 4, 27, 3),
    (1048576 * MIB, 64, 1.0, 8268, 19941, 8267),
]


@pytest.mark.parametrize(("static_max", "vcpus", "multiplier", "hvm", "pv_in_pvh", "pv"), VECTORS)
def test_overhead_vectors(static_max: int, vcpus: int, multiplier: float, hvm: int, pv_in_pvh: int, pv: int) -> None:
    computed = {kind: reference.overhead(kind, static_max, vcpus, multiplier) for kind in reference.DOMAIN_TYPES}
    assert computed == {"hvm": hvm * MIB, "pvh": hvm * MIB, "pv_in_pvh": pv_in_pvh * MIB, "pv": pv * MIB}


# --------------------------------------------------------------------------------------------------- inventories


@pytest.fixture(scope="module")
def small() -> dict[str, reference.Inventory]:
    folder = Path(__file__).parents[1] / "data" / "inventories"
    return {path.name: reference.read(path) for path in folder.glob("pool-small.*")}


def test_formats_agree(small: dict[str, reference.Inventory]) -> None:
    """The three files are one pool, but for what xe does not print."""
    statedb, records, xe = (
        reference.by_uuid(small[f"pool-small.{name}"]) for name in ("statedb.xml", "records.json", "xe.txt")
    )
    assert len(statedb["VM"]) == 61
    assert len(statedb["host"]) == 3
    for host in statedb["host"].values():
        host.pop("boot_free_mem", None)  # no client ever sees it
        host["metrics"] = None
    for host in records["host"].values():
        host["metrics"] = None
    assert statedb == records
    hidden = ("memory_target", "scheduled_to_be_resident_on")
    for vm in records["VM"].values():
        for field in hidden:
            vm.pop(field)
        vm["HVM_shadow_multiplier"] = round(vm["HVM_shadow_multiplier"], 3)
        assert xe["VM"][vm["uuid"]] == vm
    for host in records["host"].values():
        printed = xe["host"][host["uuid"]]
        printed["metrics"] = None
        assert printed == host
    assert xe["pool"] == records["pool"]
    assert xe["host_metrics"] == records["host_metrics"]


def test_small_pool(small: dict[str, reference.Inventory]) -> None:
    """The generator stores what the model says; xe cannot tell the reservations of VMs that start or migrate."""
    reports = {name: reference.report(reference.by_uuid(inventory)) for name, inventory in small.items()}
    for report in reports.values():
        assert report.model == "26.3"
        assert report.stored_overhead == report.overhead
        assert all(free["static_max"] <= free["dynamic_max"] <= free["dynamic_min"] for free in report.free.values())
    assert reports["pool-small.statedb.xml"] == reports["pool-small.records.json"]
    complete, xe = reports["pool-small.records.json"], reports["pool-small.xe.txt"]
    assert xe._replace(free=complete.free) == complete
    reserved = [xe.free[host]["dynamic_min"] - complete.free[host]["dynamic_min"] for host in complete.free]
    assert min(reserved) >= 0
    assert max(reserved) > 0


def test_schema_72(data: Path) -> None:
    """No domain types: they follow from the boot policy, and control domains are PV."""
    inventory = reference.read(data / "inventories" / "pool-65.statedb.xml")
    report = reference.report(inventory)
    assert report.model == "pre-26.3"
    assert report.stored_overhead == report.overhead
    for ref, vm in inventory["VM"].items():
        assert "domain_type" not in vm
        if vm["is_control_domain"]:
            assert report.domain_type[ref] == "pv"


def test_records_of_2008(old_records: Path) -> None:
    """Records without overheads, targets, types and hosts: everything is computed, with the old model."""
    inventory = reference.read(old_records)
    report = reference.report(inventory)
    assert report.model == "pre-26.3"
    assert report.free == {}
    assert sorted(report.domain_type.values()) == ["hvm"] + ["pv"] * 8
    assert sorted(amount // MIB for amount in report.stored_overhead.values()) == [4] * 7 + [5, 11]


def test_gzip(data: Path, tmp_path: Path) -> None:
    plain = data / "inventories" / "pool-65.statedb.xml"
    packed = tmp_path / "dump"
    packed.write_bytes(gzip.compress(plain.read_bytes(), compresslevel=1))
    assert reference.read(packed) == reference.read(plain)


def test_escapes() -> None:
    assert reference.unprotect("a%.b%_c%%_%t%n%r%x%") == "a b  c%_\t\n\r%x%"


def test_s_expression() -> None:
    assert reference.s_expression("()") == []
    assert reference.s_expression(r"(('a' 'it\'s \\ (fine)') ( 'b' ''))") == [["a", r"it's \ (fine)"], ["b", ""]]
