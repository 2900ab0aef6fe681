"""What bad input gets: a one-line error that names file, place, field and value, and with lenient a counted skip."""

import gzip
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from dumps import DOM0, GUEST, HOST, METRICS, POOL, dump, pool, row, vm
from twins import reference

import xenmem
from xenmem import Fleet, InventoryError
from xenmem.inventory import packed as packing
from xenmem.inventory import records, table, xe

BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE database [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    b'<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><database><table name="VM"><row ref="&c;"/></table></database>'
)


def refused(document: bytes, *, lenient: bool = False) -> str:
    file = io.BytesIO(document)
    file.name = "pool.file"
    with pytest.raises(InventoryError) as caught:
        xenmem.read(file, lenient=lenient)
    text = str(caught.value)
    assert text.startswith("pool.file: ")
    assert "\n" not in text
    assert len(text) < 600
    return text


@pytest.mark.parametrize("document", [b"", b" \n\n", gzip.compress(b"", mtime=0)])
def test_an_empty_file(document: bytes) -> None:
    assert "the file is empty" in refused(document)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"hello world", "neither a database dump, nor records, nor the text of xe: starts with 'hello world'"),
        (b"\x00\x01\x02\xff", "neither a database dump"),
        (b"<html><body/></html>", "not a pool database: <html> at the top"),
        (b"<database><manifest></database>", "not a pool database: mismatched tag"),
        (BOMB, "a document type declaration is refused"),
        (b"<!DOCTYPE methodResponse [<!ENTITY a 'b'>]><methodResponse/>", "a document type declaration is refused"),
        (b"<methodResponse><params><param><foo/></param></params></methodResponse>", "<foo> within <param>"),
        (b"<methodResponse/>", "not an XML-RPC value"),
        (b"<database>" * 1000, "<database> within <database>"),
        (b'<database><table name="VM"><row ref="a"><row ref="b"/></row></table></database>', "<row> within <row>"),
        (b'<database><table name="VBD"><row ref="a"><row ref="b"/></row></table></database>', "<row> within <row>"),
        (b'<database><table name="VBD"><b/></table></database>', "<b> within <table>"),
        (b'<database><table name="VBD"><b></b></table></database>', "within <table>"),
        (b'<database><table name="VM"><row ref="a" ref="b"/></table></database>', "duplicate attribute"),
        (b"[" * 100_000, "nests too deep"),
        (b'{"VM": ' + b"[" * 100_000, "nests too deep"),
        (b"{", "not JSON"),
        (b"{}", "holds no records"),
        (b"[]", "holds neither VMs nor hosts"),
        (b'{"pools": []}', "holds no pools"),
        (b'{"a": 1}', "neither records nor an answer"),
        (b'{"VM": 1}', "VM: not a map of reference to record"),
        (b'{"VM": {"a": 1}}', "VM a: .*object"),
        (b'{"VM": {"a": {}, "a": {}}}', "VM 'a': duplicate ref"),
        (b'{"VM": {}, "VM": {}}', "'VM' is there twice"),
        (b'{"result": [], "result": [], "id": 1}', "'result' is there twice"),
        (b"[1]", "item 0: not a record"),
        ("uuid ( RO)".encode("utf-16"), "the text is UTF-16: convert it to UTF-8"),
        (b'{"VM": {"a": {"uuid": "\xff"}}}', "VM a: .*utf-8"),
    ],
)
def test_what_is_no_inventory(document: bytes, message: str) -> None:
    assert re.search(message, refused(document))


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_short(data: Path, part: float) -> None:
    for name, message in (
        ("pool-small.statedb.xml", "the dump is cut short"),
        ("pool-small.records.json", "not JSON: .*truncated"),
    ):
        content = (data / "inventories" / name).read_bytes()
        assert re.search(message, refused(content[: int(len(content) * part)]))
        packed = gzip.compress(content)
        assert "damaged or cut short" in refused(packed[: int(len(packed) * part)])


def test_damaged_gzip(data: Path) -> None:
    packed = bytearray(gzip.compress((data / "inventories" / "pool-small.statedb.xml").read_bytes()))
    packed[len(packed) // 2] ^= 0xFF
    refused(bytes(packed))


BAD_FIELDS: list[tuple[str, dict[str, Any], str]] = [
    ("VM", {"memory_static_max": "12x"}, "'12x' is not an integer"),
    ("VM", {"memory_static_max": "1_000"}, "'1_000' is not an integer"),
    ("VM", {"memory_static_max": ""}, "'' is not an integer"),
    ("VM", {"memory_static_max": "1\n"}, "is not an integer"),
    ("VM", {"memory_static_max": "\u0663"}, "is not an integer"),
    ("VM", {"memory_static_max": "-1"}, "-1 is outside 0..1125899906842624"),
    ("VM", {"memory_dynamic_min": str(2**50 + 1)}, f"{2**50 + 1} is outside"),
    ("VM", {"memory_dynamic_max": str(2**63)}, f"{2**63} does not fit 64 bits"),
    ("VM", {"memory_overhead": "9" * 30}, "is not an integer|does not fit"),
    ("VM", {"VCPUs_max": "65536"}, "65536 is outside 0..65535"),
    ("VM", {"VCPUs_at_startup": "-1"}, "-1 is outside"),
    ("VM", {"HVM_shadow_multiplier": "nan"}, "'nan' is not a number"),
    ("VM", {"HVM_shadow_multiplier": "inf"}, "'inf' is not a number"),
    ("VM", {"HVM_shadow_multiplier": "1e999"}, "'1e999' is not finite"),
    ("VM", {"HVM_shadow_multiplier": "-0.5"}, "-0.5 is outside 0..1024"),
    ("VM", {"HVM_shadow_multiplier": "1025"}, "1025.0 is outside 0..1024"),
    ("VM", {"domain_type": "hvmm"}, "'hvmm' is not one of hvm, pv, pv_in_pvh, pvh, unspecified"),
    ("VM", {"power_state": "halted"}, "'halted' is not one of Halted, Paused, Running, Suspended"),
    ("VM", {"is_a_template": "yes"}, "'yes' is not true or false"),
    ("VM", {"resident_on": "OpaqueRef:gone"}, "resident_on: 'OpaqueRef:gone' is not in the inventory"),
    ("VM", {"scheduled_to_be_resident_on": "OpaqueRef:gone"}, "'OpaqueRef:gone' is not in the inventory"),
    ("host", {"metrics": "OpaqueRef:gone"}, "metrics: 'OpaqueRef:gone' is not in the inventory"),
    ("host", {"memory_overhead": "-4096"}, "-4096 is outside"),
    ("host_metrics", {"memory_total": "-2"}, "-2 is outside -1.."),
    ("host_metrics", {"memory_free": "x"}, "'x' is not an integer"),
    ("pool", {"master": "OpaqueRef:gone"}, "master: 'OpaqueRef:gone' is not in the inventory"),
    ("pool", {"ha_host_failures_to_tolerate": "-1"}, "-1 is outside"),
]
ROWS = {"VM": GUEST, "host": HOST, "host_metrics": METRICS, "pool": POOL}


@pytest.mark.parametrize(("table", "fields", "message"), BAD_FIELDS)
def test_a_bad_value(table: str, fields: dict[str, Any], message: str) -> None:
    tables = pool()
    ref = ROWS[table]
    tables[table][ref] = tables[table][ref] | fields
    document = dump(tables)
    text = refused(document)
    assert re.search(message, text)
    assert f"{table} {ref}: " in text
    place = re.search(r"byte (\d+): ", text)
    assert place is not None
    assert document[int(place[1]) :].startswith(f'<row ref="{ref}"'.encode())
    text = refused(json.dumps(tables).encode())
    assert re.search(message, text)
    assert f"{table} {ref}: {next(iter(fields))}: " in text


@pytest.mark.parametrize(("table", "fields", "message"), [case for case in BAD_FIELDS if case[0] == "VM"])
def test_lenient_reading_skips_bad_rows_and_says_so(table: str, fields: dict[str, Any], message: str) -> None:
    for document in (dump(pool(**fields)), json.dumps(pool(**fields)).encode()):
        fleet = xenmem.read(io.BytesIO(document), lenient=True)
        assert fleet.vms.uuid.tolist() == ["dom0"]
        (note,) = [note for note in fleet.notes if note.kind == "skipped"]
        assert note.count == 1
        assert re.search(message, str(note))
        assert fleet.hosts.control_domain.tolist() == [0]


def test_lenient_reading_skips_a_host_and_the_vms_on_it() -> None:
    tables = pool()
    tables["host"][HOST] = tables["host"][HOST] | {"metrics": "OpaqueRef:gone"}
    tables["host"]["OpaqueRef:good"] = tables["host"][HOST] | {"uuid": "good", "metrics": METRICS}
    fleet = Fleet.from_records(tables, lenient=True)
    assert (fleet.hosts.uuid.tolist(), fleet.vms.uuid.tolist()) == (["good"], ["guest"])
    assert fleet.pools.master.tolist() == [-1]
    assert {note.text for note in fleet.notes if note.kind == "skipped"} == {
        "1 bad VM row was skipped",
        "1 bad host row was skipped",
    }


def test_rows_without_reference_and_with_that_of_another() -> None:
    good = dump(pool())
    lost = good.replace(f'ref="{GUEST}"'.encode(), b"")
    assert "VM row without ref" in refused(lost)
    twice = good.replace(b'<table name="VM">', f'<table name="VM">{row("VM", GUEST, vm("other"))}'.encode())
    assert f"VM {GUEST}: duplicate ref" in refused(twice)
    assert xenmem.read(io.BytesIO(lost), lenient=True).vms.ref.tolist() == [DOM0]
    assert xenmem.read(io.BytesIO(twice), lenient=True).vms.uuid.tolist() == ["other", "dom0"]
    lone = json.dumps([*pool()["VM"].values(), vm("dom0")]).encode()
    assert "VM dom0: duplicate ref" in refused(lone)


@pytest.mark.parametrize("name", ["VM", "host"])
def test_rows_with_the_uuid_of_another(name: str) -> None:
    """They passed, though scripts name objects by uuid."""
    tables = pool()
    ref = ROWS[name]
    tables[name]["OpaqueRef:twin"] = tables[name][ref] | {"name_label": "twin"}
    uuid = tables[name][ref]["uuid"]
    for document in (dump(tables), json.dumps(tables).encode()):
        assert f"{name} OpaqueRef:twin: uuid: '{uuid}' is that of another row" in refused(document)
        fleet = xenmem.read(io.BytesIO(document), lenient=True)
        assert fleet.vms.uuid.tolist() + fleet.hosts.uuid.tolist() == ["dom0", "guest", "host"]
    for nameless in (ref, "OpaqueRef:twin"):
        tables[name][nameless] = tables[name][nameless] | {"uuid": ""}
    assert len(Fleet.from_records(tables).vms) + len(Fleet.from_records(tables).hosts) == 4


@pytest.mark.parametrize("field", ["ref", "uuid", "name_label"])
def test_names_are_bounded_and_cut_in_errors(field: str) -> None:
    long = "OpaqueRef:" + "x" * 100_000
    tables = pool()
    if field == "ref":
        tables["VM"][long] = tables["VM"].pop(GUEST)
    else:
        tables["VM"][GUEST][field] = long
    database = "name__label" if field == "name_label" else field
    for document, name in ((dump(tables), database), (json.dumps(tables).encode(), field)):
        assert f"{name}: a text of 100,010 characters, more than 65,536" in refused(document)
        fleet = xenmem.read(io.BytesIO(document), lenient=True)
        assert max(map(len, map(str, fleet.notes))) < 600
    tables["VM"][long] = {"memory_static_max": 1}
    refused(json.dumps({"VM": {long: {"memory_static_max": 1}}}).encode())
    refused(json.dumps({"VM": {long: 1}}).encode())


def test_the_number_of_rows_and_of_entries_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = pool()
    tables["host"][HOST]["software_version"] = {str(number): "" for number in range(40)}
    documents = (dump(tables), json.dumps(tables).encode())
    monkeypatch.setattr(table, "MAX_ENTRIES", 39)
    for document in documents:
        assert "host: software_version: more than 39 entries in all" in refused(document, lenient=True)
    monkeypatch.setattr(table, "MAX_ROWS", 1)
    for document in documents:
        assert "more than 1 VM rows" in refused(document, lenient=True)


@pytest.mark.parametrize("value", [[], {}, None, True, [[[]]]])
def test_the_values_of_a_map_are_texts(value: Any) -> None:
    tables = pool()
    tables["host"][HOST]["software_version"] = {"xapi": 26.17, "build": 7}
    assert Fleet.from_records(tables).hosts.software_version.tolist() == [{"xapi": "26.17", "build": "7"}]
    tables["host"][HOST]["software_version"] = {"xapi": value}
    assert "is not a map of texts" in refused(json.dumps(tables).encode())


def test_answers_within_answers() -> None:
    """Each was looked through as a whole: size times depth."""
    answer = b'{"VM": ' + json.dumps(pool()["VM"]).encode() + b"}"
    for _ in range(records.MAX_ENVELOPES):
        answer = b'{"result": ' + answer + b', "id": 1}'
    assert len(xenmem.read(io.BytesIO(answer)).vms) == 2
    assert refused(b'{"result": ' + answer + b"}") == "pool.file: answers within answers"


@pytest.mark.parametrize("booted", [False, True])
def test_an_overhead_that_cannot_be_counted(booted: bool) -> None:
    """Each value was in its range, and most questions about the fleet failed."""
    large = {"memory_static_max": str(2**49), "HVM_shadow_multiplier": 1024.0}
    tables = pool()
    if booted:
        values = "".join(f" ('{name}' '{value}')" for name, value in large.items())
        tables["VM"][GUEST] |= {"last_booted_record": f"('struct'{values})", "power_state": "Running"}
        for record in tables["VM"].values():
            del record["domain_type"]
    else:
        tables["VM"][GUEST] |= large
    for document in (dump(tables, schema=72), json.dumps(tables).encode()):
        text = refused(document)
        assert f"VM {GUEST}: memory_static_max and HVM_shadow_multiplier give an overhead of more than 1 PiB" in text
        fleet = xenmem.read(io.BytesIO(document), lenient=True)
        assert fleet.vms.uuid.tolist() == ["dom0"]
        assert "1 bad VM row was skipped" in {note.text for note in fleet.notes}
    fleet = Fleet.from_records(pool(memory_static_max=str(2**49), HVM_shadow_multiplier=200.0))
    expected = reference.overhead("hvm", 2**49, 2, 200.0, "26.3")
    assert fleet.overhead("26.3").tolist()[1] == expected > 2**49


def test_a_column_without_which_nothing_can_be_computed() -> None:
    tables = pool()
    del tables["VM"][GUEST]["memory_static_max"]
    assert f"VM {GUEST}: memory__static_max: missing" in refused(dump(tables))


def test_several_pool_records() -> None:
    tables = pool()
    tables["pool"]["OpaqueRef:second"] = {"uuid": "second", "master": HOST}
    assert "holds 2 pools" in refused(dump(tables))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "memory-static-max ( RW): ",
            "memory-static-max ( RW): x",
            r"line \d+: VM \S+: memory-static-max: 'x\d+' is not",
        ),
        ("domain-type ( RW): hvm", "domain-type ( RW): hvn", r"line \d+: VM \S+: domain-type: 'hvn' is not one of"),
        ("memory-total ( RO): ", "memory-total ( RO): -", r"line \d+: host_metrics \S+: memory-total: -\d+ is outside"),
    ],
)
def test_a_bad_value_in_xe_text(data: Path, old: str, new: str, message: str) -> None:
    text = (data / "inventories" / "pool-small.xe.txt").read_text()
    assert old in text
    assert re.search(message, refused(text.replace(old, new, 1).encode()))


def test_xe_text_with_other_trouble(data: Path) -> None:
    text = (data / "inventories" / "pool-small.xe.txt").read_bytes()
    assert "not UTF-8" in refused(text + b"\xff\xfe\n")
    minimal = b"uuid ( RO)           : 6f613b0e-0000-4000-8000-000000000000\n    power-state ( RO): halted\n"
    assert "none of its 1 records shows what tells VMs (memory-static-max, power-state) or hosts" in refused(minimal)
    nameless = b"name-label ( RW)    : web\n   power-state ( RO): halted\n"
    assert "text of xe without uuids: list with params=all, or name uuid among the params" in refused(nameless)
    merged = re.sub(rb"\nuuid( \( RO\) +: 7579109c)", rb"\nuvid\1", text)
    assert merged != text
    assert re.search(r"line \d+: name-label is there twice in one record", refused(merged))


@pytest.mark.parametrize("last", ["power-state ( RO): ru", "memory-static-max ( RW): 4", "memory-static-min ( RW)"])
def test_xe_text_that_is_cut_short(data: Path, last: str) -> None:
    text = (data / "inventories" / "pool-small.xe.txt").read_text()
    cut = text[: text.rindex(last) + len(last)]
    assert f"line {cut.count(chr(10)) + 1}: the text is cut short" in refused(cut.encode())


def test_xe_values_do_not_grow_without_bound(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blank lines continue the value before them, too."""
    monkeypatch.setattr(xe, "MAX_LINE_BYTES", 1 << 16)
    text = (data / "inventories" / "pool-small.xe.txt").read_bytes()
    place = text.index(b"\n", text.rindex(b"name-label ( RW): "))
    assert xenmem.read(io.BytesIO(text[:place] + b"\n" * 30_000 + text[place:])).vms.ref.size == 61
    assert "a record of more than" in refused(text[:place] + b"\n" * 70_000 + text[place:])
    monkeypatch.setattr(xe, "MAX_VALUE_LINES", 1000)
    assert "a value of more than 1,000 lines" in refused(text[:place] + b"\n" * 2_000 + text[place:])


@pytest.mark.parametrize("damage", [{4: 0, -3: 255}, {2: 99}, {30: 0, 31: 0, 32: 0}])
def test_damage_in_gzip_is_called_so(damage: dict[int, int]) -> None:
    packed = bytearray(gzip.compress(dump(pool())))
    for place, value in damage.items():
        packed[place] = value
    assert "the gzip file is damaged or cut short: " in refused(bytes(packed))
    assert "the gzip file is damaged or cut short: " in refused(gzip.compress(dump(pool())) + b"more")


def test_an_unknown_total_below_the_largest_overhead() -> None:
    """It left the domain of the kernel, which counts from -2**50 on."""
    tables = pool(resident_on=HOST)
    tables["host"][HOST]["memory_overhead"] = str(1 << 50)
    tables["host_metrics"][METRICS]["memory_total"] = "-1"
    fleet = Fleet.from_records(tables)
    assert fleet.hosts.available.tolist() == [-(1 << 50)]
    assert fleet.free_memory().tolist() == [0]


def test_gzip_that_unpacks_beyond_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MAX_UNPACKED_BYTES", 1 << 20)
    document = dump(pool())
    assert "unpacks to more than 0 GiB and 200 times its size" in refused(gzip.compress(document + b" " * (4 << 20)))
    barely = gzip.compress(document + b" " * (4 << 20), 0)
    assert len(xenmem.read(io.BytesIO(barely)).vms) == 2


def test_a_tag_of_many_attributes() -> None:
    """All were made before they were counted."""
    attributes = b" ".join(b'a%d=""' % number for number in range(300_000))
    assert "a tag of more than 65536 attributes" in refused(b'<database><table name="VM"><row ref="a" ' + attributes)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "none", "No such file"), (tmp_path, "is a folder without snapshots")):
        with pytest.raises(InventoryError, match=message) as caught:
            xenmem.read(path)
        assert str(caught.value).startswith(str(path))
    with pytest.raises(InventoryError, match=r"^'': No such file"):
        xenmem.read("")
    with pytest.raises(TypeError, match="opened as text"):
        xenmem.read(io.StringIO("x"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="source: nothing to read"):
        xenmem.read([])
