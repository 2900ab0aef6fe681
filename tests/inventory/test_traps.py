"""What trips a reader: one test for each of the fifteen traps of the inventory formats, in their order."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dumps import GUEST, HOST, NOTHING_OF_MOBILITY, NULL, dump, pool, protect_pairs, sexpr, vm
from twins import reference

import xenmem
from xenmem import Fleet, PowerState, kernel

GIB = 1 << 30
MIB = 1 << 20


def read(document: bytes) -> Fleet:
    return xenmem.read(io.BytesIO(document))


def guest(fleet: Fleet) -> int:
    return int(fleet.vms.find("guest")[0])


def test_trap_1_ints_are_text_or_numbers() -> None:
    for value in ("8589934592", 8589934592):
        fleet = Fleet.from_records(pool(memory_static_max=value, HVM_shadow_multiplier="1", VCPUs_max=2))
        assert fleet.vms.memory_static_max[guest(fleet)] == 8589934592
        assert fleet.vms.HVM_shadow_multiplier[guest(fleet)] == 1.0


def test_trap_2_templates_and_snapshots_use_no_memory(data: Path) -> None:
    vms = xenmem.read(data / "inventories" / "pool-small.statedb.xml").vms
    assert vms.is_a_template[vms.is_a_snapshot].all()
    assert (int(vms.is_guest.sum()), int(vms.is_a_snapshot.sum()), int(vms.is_control_domain.sum())) == (40, 7, 4)
    assert int((vms.is_a_template & ~vms.is_a_snapshot).sum()) == 10
    assert (vms.resident_on[vms.is_a_template] == -1).all()
    assert (vms.memory_overhead[vms.is_a_template] > 0).all()


def test_trap_3_control_domains_count_on_their_host() -> None:
    tables = pool()
    before = Fleet.from_records(tables).free_memory()[0]
    driver_domain = vm("driver", is_control_domain=True, resident_on=HOST, power_state="Running", domid="7")
    tables["VM"]["OpaqueRef:driver"] = driver_domain
    fleet = Fleet.from_records(tables)
    assert fleet.free_memory()[0] == before - 2 * GIB - 38 * MIB
    assert fleet.vms.uuid[fleet.hosts.control_domain[0]] == "dom0"


def test_trap_4_reservations_are_not_in_every_format(data: Path) -> None:
    tables = pool(scheduled_to_be_resident_on=HOST, resident_on=HOST, power_state="Running")
    both = Fleet.from_records(tables)
    for record in tables["VM"].values():
        del record["scheduled_to_be_resident_on"]
    without = Fleet.from_records(tables)
    used = int(both.vms.memory_dynamic_min[guest(both)] + both.vms.memory_overhead[guest(both)])
    assert without.free_memory()[0] == both.free_memory()[0] + used
    assert "no-reservations" not in {note.kind for note in both.notes}
    assert "no-reservations" in {note.kind for note in without.notes}
    xe = xenmem.read(data / "inventories" / "pool-small.xe.txt")
    assert [note.count for note in xe.notes if note.kind == "no-reservations"] == [61]


def test_trap_5_the_stored_overhead_decides_what_is_free() -> None:
    stale = 37 * MIB
    fleet = Fleet.from_records(pool(memory_overhead=str(stale), resident_on=HOST, power_state="Running"))
    row = guest(fleet)
    expected = reference.overhead("hvm", 4 * GIB, 2, 1.0, "26.3")
    assert (int(fleet.vms.memory_overhead[row]), int(fleet.overhead()[row])) == (stale, expected)
    rest = 64 * GIB - GIB - 2 * (2 * GIB) - int(fleet.vms.memory_overhead[0])
    assert fleet.free_memory()[0] == rest - stale
    older = reference.overhead("hvm", 4 * GIB, 2, 1.0, "pre-26.3")
    for stored, model in ((expected, "26.3"), (older, "pre-26.3"), (stale + 1, "")):
        fleet = Fleet.from_records(pool(memory_overhead=stored))
        assert fleet.stored_overhead_model()[guest(fleet)] == model


@pytest.mark.parametrize(
    ("software_version", "model"),
    [
        ({"xapi": "26.2", "xapi_build": "26.2.0"}, "pre-26.3"),
        ({"xapi": "26.3", "xapi_build": "26.3.0"}, "26.3"),
        ({"xapi": "1.20"}, "pre-26.3"),
        ({"xapi": "26.1", "xapi_build": "26.1.19"}, "pre-26.3"),
    ],
)
def test_trap_6_the_model_follows_the_coordinator_not_the_schema(software_version: Any, model: str) -> None:
    tables = pool()
    tables["host"]["OpaqueRef:member"] = tables["host"][HOST] | {"uuid": "member", "control_domain": NULL}
    tables["host"][HOST] = tables["host"][HOST] | {"software_version": software_version}
    fleet = read(dump(tables, schema=793))
    assert fleet.pools.model.tolist() == [model]
    assert fleet.hosts.model[fleet.pools.master[0]] == model
    assert fleet.hosts.model[fleet.hosts.find("member")[0]] == "26.3"
    expected = reference.overhead("hvm", 4 * GIB, 2, 1.0, model)
    assert fleet.overhead()[guest(fleet)] == expected


def test_trap_7_amounts_are_not_whole_mib() -> None:
    tables = pool(memory_static_max=str(4 * GIB - 1), memory_dynamic_min="1500000001", resident_on=HOST)
    tables["host_metrics"] = {ref: row | {"memory_total": "1073336321"} for ref, row in tables["host_metrics"].items()}
    tables["host"][HOST]["memory_overhead"] = "4097"
    tables["VM"] = {GUEST: tables["VM"][GUEST] | {"memory_dynamic_min": "1001", "memory_overhead": "3"}}
    fleet = Fleet.from_records(tables)
    assert fleet.free_memory().tolist() == [1073336321 - 4097 - 1001 - 3]
    normal, shadow = reference.required_memory("hvm", 4 * GIB - 1, 1001, 2, 1.0, "26.3")
    assert fleet.start_memory().tolist() == [normal + shadow]


def test_trap_8_the_name_of_a_pool_has_one_underscore() -> None:
    document = dump(pool())
    assert b' name_label="lab%.pool"' in document
    assert b' name__label="xen01"' in document
    fleet = read(document)
    assert (fleet.pools.name_label.tolist(), fleet.hosts.name_label.tolist()) == (["lab pool"], ["xen01"])


@pytest.mark.parametrize("protected", [None, protect_pairs])
def test_trap_9_entities_then_protection_then_expressions(protected: Any) -> None:
    tables = pool(name_label="100%_  of <a> & 'b'\t\"c\"\n")
    tables["host"][HOST]["software_version"] = {"it's": 'a "b" \\ %. c', "xapi": "26.17"}
    document = dump(tables, protected=protected) if protected else dump(tables)
    fleet = read(document)
    assert fleet.vms.name_label[guest(fleet)] == "100%_  of <a> & 'b'\t\"c\"\n"
    assert fleet.hosts.software_version[0] == {"it's": 'a "b" \\ %. c', "xapi": "26.17"}


def test_trap_10_texts_look_like_columns_and_records(data: Path) -> None:
    text = 'uuid ( RO)          : x\n   memory-static-max ( RW): 1\nmemory__static_max="1" OpaqueRef:NULL'
    metadata = sexpr([["memory__static_max", "1"], ["ref", GUEST]])
    fleet = read(dump(pool(name_label=text, snapshot_metadata=metadata, name_description='<row ref="x"/>')))
    assert (len(fleet.vms), fleet.vms.memory_static_max[guest(fleet)]) == (2, 4 * GIB)
    assert fleet.vms.name_label[guest(fleet)] == text
    path = data / "inventories" / "pool-small.xe.txt"
    lines = path.read_text().split("\n")
    at = next(number for number, line in enumerate(lines) if "name-description ( RW)" in line and number > 280)
    lines[at] += f"\n{text}\n\n\n name-label ( RW): no\nuuid ( RO) : no"
    assert xenmem.read(io.BytesIO("\n".join(lines).encode())).vms.uuid.tolist() == xenmem.read(path).vms.uuid.tolist()


@pytest.mark.parametrize("null", [NULL, ""])
def test_trap_11_nothing_is_spelled_in_three_ways(null: str, data: Path) -> None:
    fleet = read(dump(pool(resident_on=null, affinity=null, scheduled_to_be_resident_on=null)))
    row = guest(fleet)
    for name in ("resident_on", "affinity", "scheduled_to_be_resident_on"):
        assert getattr(fleet.vms, name)[row] == -1
    assert "<not in database>" in (data / "inventories" / "pool-small.xe.txt").read_text()


def test_trap_12_xe_text_does_not_tell_all(data: Path) -> None:
    xe, dumped = (xenmem.read(data / "inventories" / name) for name in ("pool-small.xe.txt", "pool-small.statedb.xml"))
    assert (xe.vms.memory_target == -1).all()
    assert set(xe.vms.name_label) == set(dumped.vms.name_label)
    assert "" in set(xe.vms.name_label)


def test_trap_13_floats_may_end_in_a_point() -> None:
    for text, value in (("1.", 1.0), ("0.944444444444444442", 0.944444444444444442), ("4", 4.0), ("1e0", 1.0)):
        fleet = Fleet.from_records(pool(HVM_shadow_multiplier=text))
        assert fleet.vms.HVM_shadow_multiplier[guest(fleet)] == value


def test_trap_14_dumps_without_rows_and_with_sorted_attributes() -> None:
    minimal = b'<database><manifest><pair key="schema_major_vsn" value="5"/><pair key="schema_minor_vsn" value="35"/>'
    minimal += b'<pair key="generation_count" value="103"/></manifest><table name="VM"/><table name="host"/></database>'
    with pytest.raises(xenmem.InventoryError, match=r"has no rows, .* rolling upgrade .* 5\.35"):
        read(minimal)
    tables = pool()
    document = dump(tables).replace(f'ref="{GUEST}" __ctime="1"'.encode(), b'__ctime="1"')
    document = document.replace(b'name__label="vm%.guest"', f'name__label="vm%.guest" ref="{GUEST}"'.encode())
    assert read(document).vms.ref.tolist() == list(tables["VM"])


def test_trap_15_read_first_complain_later() -> None:
    tables = pool(
        memory_static_max=GIB, memory_static_min=2 * GIB, affinity="OpaqueRef:gone", groups=["OpaqueRef:gone"]
    )
    tables["host_metrics"] = {
        ref: row | {"memory_total": "-1", "memory_free": "-1"} for ref, row in tables["host_metrics"].items()
    }
    tables["host"][HOST]["control_domain"] = "OpaqueRef:gone"
    tables["VM"][GUEST]["metrics"] = "OpaqueRef:metrics"
    tables["VM_metrics"] = {"OpaqueRef:metrics": {"memory_actual": "-1"}}
    fleet = Fleet.from_records(tables)
    assert fleet.hosts.memory_total.tolist() == fleet.hosts.memory_free.tolist() == [-1]
    assert fleet.free_memory().tolist() == [0]
    assert fleet.vms.affinity.tolist() == [-1, -1]
    assert fleet.vms.groups[guest(fleet)] == ()
    assert fleet.hosts.control_domain.tolist() == [-1]
    assert fleet.vms.memory_actual.tolist() == [0, 0]
    assert {note.kind for note in fleet.notes} - {"missing"} - NOTHING_OF_MOBILITY == {
        "dangling-affinity",
        "dangling-control-domain",
        "dangling-group",
    }


# ------------------------------------------------------------------------------ domain types and boot records


@pytest.mark.parametrize(
    ("schema", "fields", "expected"),
    [
        (909, {"domain_type": "unspecified"}, "HVM"),
        (909, {"domain_type": "unspecified", "HVM_boot_policy": ""}, "PV"),
        (909, {"domain_type": "unspecified", "is_control_domain": True, "resident_on": HOST}, "HVM"),
        (909, {"domain_type": "pv_in_pvh"}, "PV_IN_PVH"),
        (72, {"domain_type": None, "is_control_domain": True}, "PV"),
        (93, {"domain_type": None, "is_control_domain": True}, "PV"),
        (108, {"domain_type": None, "is_control_domain": True}, "HVM"),
        (108, {"domain_type": None}, "HVM"),
    ],
)
def test_domain_types_that_are_not_named(schema: int, fields: dict[str, Any], expected: str) -> None:
    tables = pool(**fields)
    for record in tables["VM"].values():
        if record["domain_type"] is None or schema < 134:
            del record["domain_type"]
    fleet = read(dump(tables, schema=schema))
    assert kernel.DomainType(fleet.vms.domain_type[guest(fleet)]).name == expected
    assert kernel.DomainType(fleet.vms.domain_type[0]).name == "PV"


@pytest.mark.parametrize(
    ("schema", "state", "expected"), [(133, "Running", "PV"), (133, "Halted", "HVM"), (120, "Running", "HVM")]
)
def test_7_3_asks_the_metrics_of_live_vms(schema: int, state: str, expected: str) -> None:
    tables = pool(power_state=state, metrics="OpaqueRef:metrics")
    tables["VM_metrics"]["OpaqueRef:metrics"] = {"hvm": False}
    for record in tables["VM"].values():
        del record["domain_type"]
    fleet = read(dump(tables, schema=schema))
    assert kernel.DomainType(fleet.vms.domain_type[guest(fleet)]).name == expected


def test_domain_zero_alone_is_pv_when_unspecified() -> None:
    tables = pool()
    tables["VM"][next(iter(tables["VM"]))] |= {"domain_type": "unspecified", "HVM_boot_policy": "BIOS order"}
    assert kernel.DomainType(read(dump(tables)).vms.domain_type[0]).name == "PV"
    del tables["host"], tables["host_metrics"]
    assert kernel.DomainType(Fleet.from_records(tables).vms.domain_type[0]).name == "PV"


def boot_record(**fields: Any) -> str:
    members = [
        [name, ["double", value] if name == "HVM_shadow_multiplier" else value] for name, value in fields.items()
    ]
    return sexpr(
        ["struct", ["uuid", "x"], ["is_a_template", ["boolean", "0"]], *members, ["tags", ["array", "a", "b"]]]
    )


XMLRPC_RECORD = (
    "<value><struct><member><name>memory_static_max</name><value>8589934592</value></member>"
    "<member><name>VCPUs_max</name><value>8</value></member>"
    "<member><name>HVM_shadow_multiplier</name><value><double>2</double></value></member>"
    "<member><name>HVM_boot_policy</name><value></value></member></struct></value>"
)
BOOTED = boot_record(memory_static_max="8589934592", VCPUs_max="8", HVM_shadow_multiplier="2", HVM_boot_policy="")


@pytest.mark.parametrize("record", [BOOTED, XMLRPC_RECORD])
@pytest.mark.parametrize(
    ("schema", "state", "counts"),
    [
        (72, "Running", True),
        (120, "Suspended", True),
        (72, "Paused", True),
        (72, "Halted", False),
        (133, "Running", False),
    ],
)
def test_what_a_live_vm_booted_with_counts_up_to_7_2(record: str, schema: int, state: str, counts: bool) -> None:
    tables = pool(power_state=state, last_booted_record=record)
    tables["host"][HOST]["software_version"] = {"xapi": "1.3"}
    tables["VM_metrics"]["OpaqueRef:metrics"] = {"hvm": True}
    for row in tables["VM"].values():
        del row["domain_type"]
        row["metrics"] = "OpaqueRef:metrics"
    fleet = read(dump(tables, schema=schema, protected=protect_pairs))
    row = guest(fleet)
    booted = ("pv", 8 * GIB, 8, 2.0) if counts else ("hvm", 4 * GIB, 2, 1.0)
    assert fleet.overhead()[row] == reference.overhead(*booted, "pre-26.3")
    assert fleet.amount("static_max")[row] == booted[1]
    assert fleet.amount("dynamic_max")[row] == 4 * GIB
    assert fleet.vms.memory_static_max[row] == 4 * GIB
    assert ("booted-record" in {note.kind for note in fleet.notes}) == counts
    assert fleet.vms.power_state[row] == PowerState[state.upper()]


def test_what_a_live_vm_booted_with_does_not_count_where_domain_types_are_known() -> None:
    tables = pool(power_state="Running", last_booted_record=BOOTED)
    fleet = Fleet.from_records(tables)
    assert fleet.vms.accounted_static_max is fleet.vms.memory_static_max


@pytest.mark.parametrize("record", ["", "{}", "('struct' ('VCPUs_max' ", "<value><int>1</int>", "('array' ('a' 'b'))"])
def test_a_boot_record_that_does_not_parse_does_not_count(record: str) -> None:
    tables = pool(power_state="Running", last_booted_record=record)
    for row in tables["VM"].values():
        del row["domain_type"]
    fleet = read(dump(tables, schema=72, protected=protect_pairs))
    assert fleet.vms.accounted_static_max is fleet.vms.memory_static_max
    assert np.array_equal(fleet.vms.accounted_VCPUs_max, fleet.vms.VCPUs_max)


def test_records_and_dumps_of_one_pool_agree() -> None:
    tables = pool(groups=["OpaqueRef:00000000-0000-4000-8000-000000000005"])
    fleets = [read(dump(tables)), read(json.dumps(tables).encode()), Fleet.from_records(tables)]
    assert [fleet.vms.groups[1] for fleet in fleets] == [(0,)] * 3
    assert [fleet.hosts.cpu_count.tolist() for fleet in fleets] == [[32]] * 3
    assert [fleet.vm_groups.placement.tolist() for fleet in fleets] == [["anti_affinity"]] * 3


DRIVERS = {"major": "9", "minor": "3", "micro": "3", "build": "20"}


@pytest.mark.parametrize(
    ("version", "other", "expected"),
    [
        (DRIVERS, {}, (True, False, False)),
        ({"major": "9", "minor": "3"}, {"feature-suspend": "1"}, (True, True, False)),
        (DRIVERS | {"build": "proto"}, {"feature-suspend": "0"}, (False, False, False)),
        ({"major": "9"}, {"data-cant-suspend-reason": ""}, (False, False, True)),
        ({}, {}, (False, False, False)),
    ],
)
def test_what_a_guest_says_of_its_drivers(version: dict[str, str], other: dict[str, str], expected: object) -> None:
    """xapi_vm_lifecycle.ml: has_feature wants "1"; xapi_pv_driver_version.ml wants integers."""
    tables = pool(guest_metrics="OpaqueRef:agent")
    tables["VM_guest_metrics"] = {"OpaqueRef:agent": {"uuid": "agent", "PV_drivers_version": version, "other": other}}
    for fleet in (read(dump(tables)), read(json.dumps(tables).encode())):
        vms, row = fleet.vms, guest(fleet)
        told = (vms.has_pv_drivers[row], vms.has_feature_suspend[row], vms.refuses_suspend[row])
        assert (told, vms.has_guest_metrics.tolist()) == (expected, [False, True])


@pytest.mark.parametrize(
    ("platform", "metrics", "expected"),
    [
        ({"nomigrate": "true"}, None, True),
        ({"nested-virt": "1"}, None, True),
        ({"nomigrate": "no"}, None, False),
        ({"nomigrate": "true"}, {}, False),
        ({}, {"nomigrate": True}, True),
        ({}, {"nested_virt": True}, True),
    ],
)
def test_what_pins_a_vm(platform: dict[str, str], metrics: dict[str, bool] | None, expected: bool) -> None:
    """Its metrics, or its platform where there are none (xapi_vm_lifecycle.ml: nested_virt, nomigrate)."""
    tables = pool(platform=platform, metrics="OpaqueRef:metrics")
    if metrics is not None:
        told = {"uuid": "metrics", "memory_actual": "0", "nomigrate": False, "nested_virt": False} | metrics
        tables["VM_metrics"]["OpaqueRef:metrics"] = told
    for fleet in (read(dump(tables)), read(json.dumps(tables).encode())):
        assert fleet.vms.is_immobile.tolist() == [False, expected]


def test_what_else_keeps_a_vm_where_it_is() -> None:
    devices = {"VUSBs": ["OpaqueRef:a", "OpaqueRef:b"], "VGPUs": ["OpaqueRef:c"], "attached_PCIs": ["OpaqueRef:d"]}
    tables = pool(
        **devices,
        power_state="Running",
        metrics="OpaqueRef:metrics",
        blocked_operations={"pool_migrate": "pinned"},
        current_operations={"OpaqueRef:t": "snapshot", "OpaqueRef:u": "clone"},
    )
    tables["VM_metrics"]["OpaqueRef:metrics"] = {"memory_actual": "0", "current_domain_type": "pv_in_pvh"}
    for fleet in (read(dump(tables)), read(json.dumps(tables).encode())):
        vms, row = fleet.vms, guest(fleet)
        assert (vms.VUSBs[row], vms.VGPUs[row], vms.attached_PCIs[row]) == (2, 1, 1)
        assert vms.is_migration_blocked.tolist() == [False, True]
        assert vms.current_operations.tolist() == [(), ("snapshot", "clone")]
        assert vms.current_domain_type.tolist() == [kernel.DomainType.PV, kernel.DomainType.PV_IN_PVH]
        assert vms.domain_type[row] == kernel.DomainType.HVM
