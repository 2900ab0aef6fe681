"""Inventories into the database and out again: every field, every format, and the same free memory as a Fleet."""

import gc
import io
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import pytest
from dumps import HOST, pool

import xenmem
from xenmem.datamodel import CLASSES, ClassSchema
from xenmem.datamodel.sexpr import parse_map, parse_set, unprotect
from xenmem.inventory import InventoryError
from xenmem.xenapi import Database, Pool
from xenmem.xenapi.door import stubs
from xenmem.xenapi.store import loading, saving
from xenmem.xenapi.store.accounting import DYNAMIC_MAX, DYNAMIC_MIN, STATIC_MAX, free_memory, overhead, start_memory

FILES = ("pool-small.statedb.xml", "pool-small.records.json", "pool-small.xe.txt", "pool-65.statedb.xml")
POLICIES = {"static_max": STATIC_MAX, "dynamic_max": DYNAMIC_MAX, "dynamic_min": DYNAMIC_MIN}

Tables = dict[str, dict[str, dict[str, str]]]
"""Columns by table and reference."""


def rows(database: Database, *, internal: bool = True) -> dict[Any, Any]:
    return {
        (name, row.ref, field.name): getattr(row, field.name)
        for name, table in database.tables.items()
        for row in table
        for field in table.schema.fields.values()
        if internal or not field.internal
    }


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("through_fleet", [False, True])
def test_answers_as_a_fleet(data: Path, file: str, through_fleet: bool) -> None:
    path = data / "inventories" / file
    fleet = xenmem.read(path)
    database = Pool(fleet if through_fleet else path).database
    for name, policy in POLICIES.items():
        free = [
            free_memory(host := database.host[ref], database.host_metrics[host.metrics], policy)
            for ref in fleet.hosts.ref
        ]
        assert free == fleet.free_memory(name).tolist()
    for ref, overheads, needed in zip(fleet.vms.ref, fleet.overhead(), fleet.start_memory(), strict=True):
        vm = database.VM[ref]
        if vm.domain_type != "unspecified":
            assert overhead(database.model, vm) == overheads
            assert start_memory(database.model, vm) == needed


def test_formats_agree(data: Path) -> None:
    statedb, records = (loading.read(data / "inventories" / file) for file in FILES[:2])
    assert rows(statedb, internal=False) == rows(records, internal=False)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("format", saving.FORMATS)
def test_saved_and_read_back(data: Path, tmp_path: Path, file: str, format: str) -> None:
    database = loading.read(data / "inventories" / file)
    internal = format == "statedb"
    saving.save(database, tmp_path / "saved", format)
    assert rows(loading.read(tmp_path / "saved"), internal=internal) == rows(database, internal=internal)
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    assert len(xenmem.read(tmp_path / "saved").vms) == len(database.VM)


def test_odd_texts_are_saved(tmp_path: Path) -> None:
    database = Database(seed=1)
    odd = "a  b%._%%\t\n\r\"<&>'\\ ☃ %"
    pool = database.new_row("pool", name_label=odd, other_config={odd: odd, "": ""}, tags=(odd, "", "'", "\\"))
    database.load("pool", [pool])
    database.load("host", [database.new_row("host", name_label=odd)])
    for format in saving.FORMATS:
        saving.save(database, tmp_path / format, format)
        assert rows(loading.read(tmp_path / format), internal=False) == rows(database, internal=False)


@pytest.mark.parametrize("format", saving.FORMATS)
def test_odd_references_and_unknown_columns_are_saved(tmp_path: Path, format: str) -> None:
    """References may hold blanks; columns that no attribute can be called are kept in records alone."""
    tables = pool()
    odd = "a\n b\tc\r"
    tables["VM"][odd] = tables["VM"].pop("OpaqueRef:00000000-0000-4000-8000-000000000004")
    tables["VM"][odd] |= {"x y": "1", "]]>": "2", "ref": "3", "__ctime": "4", "_ref": "5", "": "6", "plain": "7"}
    database = loading.read(io.BytesIO(json.dumps(tables).encode()))
    saving.save(database, tmp_path / "saved", format)
    again = loading.read(tmp_path / "saved")
    assert again.VM.rows.keys() == database.VM.rows.keys()
    assert again.VM[odd].unknown["plain"] == "7"


def test_what_xml_cannot_hold_is_replaced_in_dumps(tmp_path: Path) -> None:
    database = Database(seed=1)
    odd = "a\x00\x07\x1f\ufffe\uffffb"
    database.load("pool", [database.new_row("pool", name_label=odd)])
    database.load("host", [database.new_row("host")])
    for format, label in zip(saving.FORMATS, (odd, "a" + 5 * "\ufffd" + "b"), strict=True):
        saving.save(database, tmp_path / format, format)
        assert loading.read(tmp_path / format).the_pool.name_label == label


@pytest.mark.parametrize("format", ["records", "statedb"])
@pytest.mark.parametrize("value", [1.0, 1.1, 1e18, 1e19, 1.7976931348623157e308])
def test_what_messages_take_is_read_back(tmp_path: Path, format: str, value: float) -> None:
    most = 2**63 - 1
    session = xenmem.connect(io.BytesIO(json.dumps(pool()).encode()), seed=1)
    vm = session.xenapi.VM.clone(session.xenapi.VM.get_all()[0], "x")
    session.api.VM.set_HVM_shadow_multiplier(vm, value)
    session.api.VM.set_memory_limits(vm, -most - 1, most, most, most)
    saving.save(session.pool.database, tmp_path / "saved", format)
    again = xenmem.connect(tmp_path / "saved")
    assert again.xenapi.VM.get_record(vm) == session.xenapi.VM.get_record(vm)


def test_a_failure_leaves_the_old_file(data: Path, tmp_path: Path) -> None:
    database = loading.read(data / "inventories" / FILES[0])
    target = tmp_path / "saved"
    target.write_text("old")
    next(iter(database.VM)).name_label = "\ud800"
    with pytest.raises(UnicodeEncodeError):
        saving.save(database, target, "statedb")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    with pytest.raises(ValueError, match="format"):
        saving.save(database, target, "yaml")


def test_old_pools_are_upgraded(old_records: Path) -> None:
    database = loading.read(old_records)
    assert {vm.domain_type for vm in database.VM} <= {"hvm", "pv"}
    for vm in database.VM:
        assert vm.memory_overhead == overhead(database.model, vm)


def test_hosts_without_hardware_platform_versions_have_that_of_old_servers() -> None:
    """They had none, so that no VM could start there; datamodel_host.ml: the default is [0]."""
    database = loading.read(io.BytesIO(json.dumps(pool()).encode()))
    assert [host.virtual_hardware_platform_versions for host in database.host] == [(0,)]


@pytest.mark.parametrize("versions", [[0, 1, 2], ["0", "1", "2"]])
def test_sets_of_ints_are_numbers_in_json_rpc(versions: list[object]) -> None:
    tables = pool()
    tables["host"][HOST]["virtual_hardware_platform_versions"] = versions
    database = loading.read(io.BytesIO(json.dumps(tables).encode()))
    assert [host.virtual_hardware_platform_versions for host in database.host] == [(0, 1, 2)]


def test_operations_under_way_are_left_behind(data: Path) -> None:
    database = loading.read(data / "inventories" / FILES[0])
    assert not any(vm.current_operations for vm in database.VM)
    assert any(vm.scheduled_to_be_resident_on in database.host for vm in database.VM)


def test_not_an_inventory(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{}")
    with pytest.raises(InventoryError):
        Pool(path)


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_left_as_it_was(data: Path, tmp_path: Path, enabled: bool) -> None:
    (tmp_path / "x.json").write_text("{}")
    was_enabled = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        loading.read(data / "inventories" / FILES[1])
        assert gc.isenabled() == enabled
        with pytest.raises(InventoryError):
            loading.read(tmp_path / "x.json")
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if was_enabled else gc.disable)()


def test_stubs_are_current() -> None:
    folder = Path(stubs.__file__).parents[1]
    assert (folder / "store" / "rows.pyi").read_text() == stubs.rows_stub()
    assert (folder / "api.pyi").read_text() == stubs.api_stub()


def test_schema_has_every_column_of_a_current_dump(data: Path) -> None:
    read_schema = runpy.run_path(str(data / "make_pool_dump.py"))["read_schema"]
    for name, columns in read_schema(4).items():
        if name in CLASSES:
            assert {column.name for column in columns} == {field.database for field in CLASSES[name].fields.values()}


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    path = tmp_path_factory.mktemp("dump") / "pool.xml"
    make = [sys.executable, str(data / "make_pool_dump.py"), "--hosts", "3", "--vms", "40", "--out", str(path)]
    subprocess.run(make, check=True)
    text = re.sub(r'<table name="\w+"/>', "", path.read_text()).replace(
        ' VCPUs__max="', ' a__new__column="x%.y" VCPUs__max="'
    )
    row = '<row ref="OpaqueRef:1" __ctime="0" __mtime="1" _ref="OpaqueRef:1" a="1%.2"/>'
    extra = f'<table name="Brand_new">{row}</table>'
    has = {table.attrib["name"] for table in ElementTree.fromstring(text).iter("table") if len(table)}
    extra += "".join(one_row(schema) for name, schema in CLASSES.items() if name not in has and schema.persistent)
    path.write_text(text.replace('<table name="VM">', f'{extra}<table name="VM">'))
    return path


@pytest.fixture(scope="module")
def tables(dump: Path) -> Tables:
    return read_xml(dump)


def one_row(schema: ClassSchema) -> str:
    """A table of one row with every column of a class that is kept; of no other class anything."""
    if not schema.in_database:
        return ""
    values = {field.database: field.type.database_text(field.default) for field in schema.fields.values()}
    values |= {"uuid": schema.name, "_ref": f"OpaqueRef:{schema.name}"}
    columns = " ".join(f"{name}={quoteattr(text.replace(' ', '%.'))}" for name, text in sorted(values.items()))
    row = f'<row ref="OpaqueRef:{schema.name}" __ctime="0" __mtime="1" {columns}/>'
    return f'<table name="{schema.name}">{row}</table>'


class TestEveryTable:
    """A dump of a current pool, with disks, networks, devices and all else, through the database and out again."""

    def test_meaning_is_kept(self, tmp_path: Path, dump: Path, tables: Tables) -> None:
        saving.save(loading.read(dump), tmp_path / "pool.xml", "statedb")
        saved = read_xml(tmp_path / "pool.xml")
        kept = {name for name, rows in tables.items() if rows}
        assert len(kept) == 1 + sum(schema.persistent and schema.in_database for schema in CLASSES.values())
        for name in kept:
            assert saved[name].keys() == tables[name].keys()
            for ref, row in tables[name].items():
                assert saved[name][ref].keys() == row.keys()
                for column, text in row.items():
                    again = saved[name][ref][column]
                    assert meaning(name, column, again) == meaning(name, column, text), (name, ref, column)

    def test_what_is_unknown_is_kept_in_both_formats(self, tmp_path: Path, dump: Path) -> None:
        path, format = dump, "statedb"
        for number, format in enumerate(("records", "records", "statedb", "statedb")):
            database = loading.read(path)
            assert database.unknown == {"Brand_new": {"OpaqueRef:1": {"a": "1 2"}}}
            assert all(vm.unknown == {"a__new__column": "x y"} for vm in database.VM)
            saving.save(database, path := tmp_path / f"pool{number}", format)

    def test_records_hold_every_class(self, tmp_path: Path, dump: Path) -> None:
        first = loading.read(dump)
        saving.save(first, tmp_path / "pool.json")
        assert rows(loading.read(tmp_path / "pool.json"), internal=False) == rows(first, internal=False)


def read_xml(path: Path) -> Tables:
    """Rows by table and reference; attributes without whitespace protection."""
    return {
        table.attrib["name"]: {
            row.attrib["ref"]: {
                name: unprotect(text) for name, text in row.attrib.items() if name not in ("__ctime", "__mtime")
            }
            for row in table
        }
        for table in ElementTree.parse(path).getroot().iter("table")
    }


def meaning(table: str, column: str, text: str) -> Any:
    """What a column's text says: sets and maps have no order, none is spelled in several ways."""
    field = CLASSES[table].by_column.get(column) if table in CLASSES else None
    if field is None:
        return text
    if not field.persistent and column in ("allowed_operations", "current_operations"):
        return None
    if field.spelling.startswith("Set"):
        return sorted(parse_set(text))
    if field.spelling.startswith("Map"):
        return parse_map(text)
    if field.spelling.startswith("Ref"):
        return "OpaqueRef:NULL" if text == "" else text
    return float(text) if field.spelling == "Float" else text


@pytest.mark.parametrize("lacking", ["memory_dynamic_max", "memory_dynamic_min", "VCPUs_at_startup", "HVM_boot_policy"])
def test_what_a_file_lacks_is_read_as_a_fleet_reads_it(lacking: str) -> None:
    """Absent is not 0: a limit is the one above it, and a VM of which nothing is told is HVM."""
    tables = pool()
    guest = tables["VM"]["OpaqueRef:00000000-0000-4000-8000-000000000004"]
    del guest[lacking], guest["domain_type"], guest["memory_overhead"]
    text = json.dumps(tables).encode()
    vm = loading.read(io.BytesIO(text)).VM["OpaqueRef:00000000-0000-4000-8000-000000000004"]
    assert (vm.memory_dynamic_max, vm.VCPUs_at_startup, vm.domain_type) == (4 << 30, 2, "hvm")
    assert vm.memory_dynamic_min == (4 if lacking == "memory_dynamic_min" else 2) << 30
    assert vm.memory_overhead == 37 << 20
    fleet = xenmem.read(io.BytesIO(text)).vms
    row = fleet.name_label.tolist().index("vm guest")
    for name in ("memory_dynamic_max", "memory_dynamic_min", "VCPUs_at_startup", "memory_overhead"):
        assert getattr(fleet, name)[row] == getattr(vm, name), name
