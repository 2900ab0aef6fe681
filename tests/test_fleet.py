"""The Fleet by itself: tables, lookups, policies, models, and that nothing in it can be changed."""

import dataclasses
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dumps import GUEST, HOST, NOTHING_OF_MOBILITY, pool
from twins import reference

import xenmem
from xenmem import Fleet, InventoryError, kernel
from xenmem.columns import TABLE_TYPES


@pytest.fixture(scope="module")
def fleet(data: Path) -> Fleet:
    return xenmem.read(data / "inventories" / "pool-small.statedb.xml")


def test_importing_xenmem_is_light() -> None:
    script = (
        "import sys, xenmem; assert not {'numpy', 'numba'} & sys.modules.keys(); xenmem.Fleet; xenmem.read;"
        "assert 'numba' not in sys.modules and 'XenAPI' not in sys.modules; print(dir(xenmem))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "InventoryError" in done.stdout
    with pytest.raises(AttributeError, match="module 'xenmem' has no attribute 'nothing'"):
        _ = xenmem.nothing


def test_columns_have_their_types_and_cannot_be_written(fleet: Fleet) -> None:
    for table in (fleet.vms, fleet.hosts, fleet.pools, fleet.vm_groups):
        for field in dataclasses.fields(table):
            column = getattr(table, field.name)
            assert column.shape == (len(table),)
            assert not column.flags.writeable
            with pytest.raises(ValueError, match="read-only"):
                column[...] = column[0]
        with pytest.raises(dataclasses.FrozenInstanceError):
            table.ref = table.uuid  # type: ignore[misc]
    types = {"resident_on": np.int32, "memory_static_max": np.int64, "VCPUs_max": np.int32, "domain_type": np.uint8}
    assert {name: getattr(fleet.vms, name).dtype for name in types} == types
    empty = Fleet.from_records({"VM": pool()["VM"]}).hosts
    for field in dataclasses.fields(empty):
        assert getattr(empty, field.name).dtype == getattr(fleet.hosts, field.name).dtype, field.name


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [("vms", "resident_on", 3), ("vms", "pool", -1), ("hosts", "control_domain", -2), ("pools", "master", 3)],
)
def test_rows_lie_in_their_table(fleet: Fleet, table: str, column: str, value: int) -> None:
    """All planners rely on it."""
    tables = {name: getattr(fleet, name) for name in TABLE_TYPES}
    rows = getattr(tables[table], column).copy()
    rows[0] = value
    tables[table] = dataclasses.replace(tables[table], **{column: rows})
    with pytest.raises(ValueError, match=f"^{table}: {column}: row 0: {value} is no row of "):
        Fleet(**tables)
    groups = np.fromiter(((),) * len(fleet.vms), object, len(fleet.vms))
    groups[1] = (0, len(fleet.vm_groups))
    with pytest.raises(ValueError, match=r"^vms: groups: row 1: \(0, \d+\) is no row of vm_groups, which has"):
        fleet.replace(vms=dataclasses.replace(fleet.vms, groups=groups))


def test_find(fleet: Fleet) -> None:
    tables = pool(name_label="dom0")
    tables["VM"]["OpaqueRef:twin"] = tables["VM"][GUEST] | {"uuid": "twin"}
    vms = Fleet.from_records(tables).vms
    assert vms.find(GUEST).tolist() == vms.find("guest").tolist() == [1]
    assert vms.find("dom0").tolist() == [0]
    tables["VM"][GUEST]["name_label"] = tables["VM"]["OpaqueRef:twin"]["name_label"] = "same"
    vms = Fleet.from_records(tables).vms
    assert (vms.find("same").tolist(), vms.find("none").tolist()) == ([1, 2], [])
    assert fleet.hosts.find(fleet.hosts.uuid[2]).tolist() == [2]


def test_what_does_not_exist_is_named_with_what_does(fleet: Fleet) -> None:
    for method in (fleet.free_memory, fleet.amount, fleet.start_memory):
        with pytest.raises(ValueError, match="policy: 'max' is none of static_max, dynamic_max, dynamic_min"):
            method("max")
    for call in (lambda: fleet.overhead("27"), lambda: fleet.start_memory(model="27")):
        with pytest.raises(ValueError, match=r"model: '27' is none of 26\.3, pre-26\.3"):
            call()


@pytest.mark.parametrize("model", list(kernel.MODELS))
def test_another_model(data: Path, fleet: Fleet, model: str) -> None:
    expected = reference.report(reference.read(data / "inventories" / "pool-small.statedb.xml"), model)
    refs = fleet.vms.ref.tolist()
    assert dict(zip(refs, fleet.overhead(model).tolist(), strict=True)) == expected.overhead
    start = dict(zip(refs, fleet.start_memory("static_max", model).tolist(), strict=True))
    assert start == {ref: amounts["static_max"] for ref, amounts in expected.start_memory.items()}


def test_hosts_and_pools(fleet: Fleet) -> None:
    hosts, pools = fleet.hosts, fleet.pools
    assert hosts.is_coordinator.tolist() == (np.arange(3) == pools.master[0]).tolist()
    assert fleet.vms.is_control_domain[hosts.control_domain].all()
    assert (fleet.vms.resident_on[hosts.control_domain] == np.arange(3)).all()
    assert hosts.cpu_count.tolist() == [48, 64, 32]
    assert (hosts.boot_free_mem > 0).all()
    assert (pools.format.tolist(), pools.schema.tolist()) == (["statedb"], ["5.909"])
    assert hosts.software_version[0]["xapi_build"] == hosts.xapi_version[0] == "26.17.0"


def test_versions_that_are_unknown() -> None:
    tables = pool()
    tables["host"][HOST]["software_version"] = {"xapi": "devel"}
    fleet = Fleet.from_records(tables)
    assert (fleet.hosts.model.tolist(), fleet.pools.model.tolist()) == ([""], [kernel.DEFAULT_MODEL])
    assert "model-assumed" in {note.kind for note in fleet.notes}


def test_hosts_that_disagree_do_not_name_the_model() -> None:
    tables = pool()
    tables["host"]["OpaqueRef:old"] = tables["host"][HOST] | {"uuid": "old", "software_version": {"xapi": "1.20"}}
    del tables["pool"]
    fleet = Fleet.from_records(tables)
    assert (fleet.hosts.model.tolist(), fleet.pools.model.tolist()) == (["26.3", "pre-26.3"], ["26.3"])
    (note,) = [note for note in fleet.notes if note.kind == "model-assumed"]
    assert note.text.endswith("model 26.3 taken (the current one)")
    tables["host"][HOST]["software_version"] = {}
    fleet = Fleet.from_records(tables)
    assert fleet.pools.model.tolist() == ["pre-26.3"]
    (note,) = [note for note in fleet.notes if note.kind == "model-assumed"]
    assert note.text.endswith("(the version of the other hosts)")


def test_a_pool_of_unknown_version_has_one_model(tmp_path: Path) -> None:
    """Without a version anywhere, VMs that name no domain_type are of an old server, for messages as for reports."""
    tables = pool()
    tables["host"][HOST]["software_version"] = {}
    for vm in tables["VM"].values():
        vm.pop("domain_type", None)
    fleet = Fleet.from_records(tables)
    assert fleet.pools.model.tolist() == ["pre-26.3"]
    (guest,) = fleet.vms.ref[fleet.vms.is_guest]
    (tmp_path / "old.json").write_text(json.dumps(tables))
    for source in (fleet, tmp_path / "old.json"):
        answer = xenmem.connect(source).xenapi.VM.compute_memory_overhead(guest)
        assert int(answer) == reference.overhead("hvm", 4 << 30, 2, 1.0, "pre-26.3")


def test_overheads_of_old_shims_and_of_old_pv_guests() -> None:
    """A PV guest in PVH of 7.6 has 161 MiB for 8 GiB; a PV guest of 5.6 FP1 has 1 MiB."""
    for software, kind, memory, mib, model in (
        ({"xapi": "1.110", "product_version": "7.6.0"}, "pv_in_pvh", 8 << 30, 161, "pre-8.1"),
        ({"xapi": "1.3", "product_brand": "XenServer", "product_version": "5.6.100"}, "pv", 1 << 30, 1, "pre-6.0"),
    ):
        limits = dict.fromkeys(("memory_static_max", "memory_dynamic_max", "memory_dynamic_min"), str(memory))
        tables = pool(domain_type=kind, VCPUs_max="1", memory_overhead=str(mib << 20), **limits)
        tables["host"][HOST]["software_version"] = software
        fleet = Fleet.from_records(tables)
        assert fleet.pools.model.tolist() == [model]
        assert fleet.overhead()[1] == mib << 20
        assert fleet.stored_overhead_model()[1] == model


def test_an_error_of_reading_survives_its_way_between_processes() -> None:
    error = InventoryError("pool.xml", "byte 7", "odd")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.source, again.place, again.problem) == (
        "pool.xml: byte 7: odd",
        "pool.xml",
        "byte 7",
        "odd",
    )


def test_an_overhead_that_both_models_give_is_the_pools_own() -> None:
    tables = pool(VCPUs_max="0", memory_overhead=str(reference.overhead("hvm", 4 << 30, 0, 1.0, "26.3")))
    assert Fleet.from_records(tables).stored_overhead_model()[1] == "26.3"
    tables["host"][HOST]["software_version"] = {"xapi": "1.20"}
    assert Fleet.from_records(tables).stored_overhead_model()[1] == "pre-26.3"


def test_what_is_not_in_the_file_is_noted() -> None:
    """It counted as nothing, and nobody was told."""
    tables = pool()
    known = {"missing"} | NOTHING_OF_MOBILITY
    assert "missing" in {note.kind for note in Fleet.from_records(tables).notes} <= known
    tables["host"]["OpaqueRef:second"] = tables["host"][HOST] | {"uuid": "second", "control_domain": "OpaqueRef:NULL"}
    (note,) = [note for note in Fleet.from_records(tables).notes if note.kind not in known]
    assert note.text == "1 host has no control domain in the inventory: what it holds is not counted"
    assert (note.kind, note.count, note.example) == ("no-control-domain", 1, "host OpaqueRef:second")
    del tables["VM"]
    notes = {note.kind: note for note in Fleet.from_records(tables).notes}
    assert notes["no-vms"].text == "no VM records: what runs on the hosts is not counted, control domains included"
    assert "no-control-domain" not in notes


def test_notes_say_everything_once(old_records: Path) -> None:
    notes = xenmem.read(old_records).notes
    assert len({str(note) for note in notes}) == len(notes)
    (note,) = [note for note in notes if note.kind == "overhead-recomputed"]
    assert note.count == 9
    assert "9 VMs have no memory_overhead: recomputed with model pre-26.3 (first: VM OpaqueRef:" in str(note)


def test_concatenate() -> None:
    one = Fleet.from_records(pool())
    with pytest.raises(InventoryError, match="records: pool pool was already read from records"):
        Fleet.concatenate([one, one])
    with pytest.raises(ValueError, match="fleets: nothing to concatenate"):
        Fleet.concatenate([])
    nameless = pool()
    del nameless["pool"]
    with pytest.raises(InventoryError, match="again: host host was already read from records"):
        Fleet.concatenate([Fleet.from_records(nameless), Fleet.from_records(nameless, source="again")])
    second = Fleet.from_records({"VM": pool()["VM"]}, source="lone VMs")
    both = Fleet.concatenate([one, second])
    assert both.vms.pool.tolist() == [0, 0, 1, 1]
    assert both.vms.accounted_static_max is both.vms.memory_static_max
    assert both.vms.resident_on.tolist() == [0, -1, -1, -1]
    assert len(Fleet.concatenate([second, second]).pools) == 2  # pools without record may be any
    assert repr(both) == "<Fleet: 2 pools, 1 hosts, 4 VMs>"
    assert repr(both.vms) == "<VMs: 4 rows>"
