"""The three formats give one and the same fleet, however they are packed, and records of old servers read."""

import gzip
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, cast
from xml.etree import ElementTree

import captures
import numpy as np
import pytest
from dumps import DOM0, GUEST, HOST, dump, pool, vm
from measurements import STORED_OVERHEAD
from twins import reference

import xenmem
from xenmem import Fleet, InventoryError, kernel

SMALL = ("pool-small.statedb.xml", "pool-small.records.json", "pool-small.xe.txt")
NOT_IN_XE = {
    "ref",
    "memory_target",
    "HVM_shadow_multiplier",
    "scheduled_to_be_resident_on",
    "groups",
    "nested_virt",
} | {
    "tags"  # one with a comma is several there
}
NOT_LISTED = {"needed_srs", "needed_networks", "attached_srs", "networks", "enslaved_networks", "not_told"}
"""What comes of lists that the file has not."""
NOT_IN_RECORDS = {"boot_free_mem"}


def by_uuid(table: object, name: str) -> dict[str, object]:
    column = getattr(table, name)
    return {uuid: column[row] for row, uuid in enumerate(table.uuid)}  # type: ignore[attr-defined]


def columns(table: object) -> list[str]:
    return [name for name in table.__dataclass_fields__ if name != "ref"]  # type: ignore[attr-defined]


def named(fleet: Fleet, table: str, column: str) -> dict[str, object]:
    """A column by uuid, with references as uuids."""
    values = by_uuid(getattr(fleet, table), column)
    target = {
        "resident_on": fleet.hosts,
        "scheduled_to_be_resident_on": fleet.hosts,
        "affinity": fleet.hosts,
        "master": fleet.hosts,
        "control_domain": fleet.vms,
        "pool": fleet.pools,
    }.get(column)
    if target is None:
        return values
    return {uuid: target.uuid[value] if value >= 0 else None for uuid, value in values.items()}  # type: ignore[operator]


@pytest.fixture(scope="module")
def fleets(data: Path) -> dict[str, Fleet]:
    return {name: xenmem.read(data / "inventories" / name) for name in SMALL}


@pytest.mark.parametrize("name", SMALL[1:])
def test_the_formats_agree(fleets: dict[str, Fleet], name: str) -> None:
    dumped, other = fleets[SMALL[0]], fleets[name]
    untold = NOT_IN_RECORDS | (NOT_IN_XE | NOT_LISTED if name.endswith("xe.txt") else set())
    for table in ("vms", "hosts", "pools"):
        for column in columns(getattr(dumped, table)):
            if column in untold | {"source", "format", "schema", "accounted_shadow_multiplier"}:
                continue
            assert named(dumped, table, column) == named(other, table, column), (table, column)


def test_xe_joins_tags_by_commas(fleets: dict[str, Fleet]) -> None:
    texts = {name: by_uuid(fleet.vms, "tags") for name, fleet in fleets.items()}
    (xe,) = [tags for name, tags in texts.items() if name.endswith("xe.txt")]
    for name, tags in texts.items():
        for uuid, found in tags.items():
            assert ", ".join(found) == ", ".join(xe[uuid]), name  # type: ignore[arg-type, call-overload]
    assert ("prod", "eu", "backup's", "gold") in xe.values()


def test_xe_rounds_multipliers_to_three_decimals(fleets: dict[str, Fleet]) -> None:
    exact, rounded = (by_uuid(fleets[name].vms, "HVM_shadow_multiplier") for name in (SMALL[0], SMALL[2]))
    assert {uuid: float(f"{value:.3f}") for uuid, value in exact.items()} == rounded


@pytest.mark.parametrize("name", [*SMALL, "pool-65.statedb.xml"])
def test_the_answers_are_those_of_the_reference(data: Path, name: str) -> None:
    path = data / "inventories" / name
    fleet, inventory = xenmem.read(path), reference.read(path)
    expected = reference.report(inventory)
    refs = list(fleet.vms.ref)
    assert fleet.pools.model.tolist() == [expected.model]
    assert dict(zip(refs, fleet.vms.memory_overhead.tolist(), strict=True)) == expected.stored_overhead
    assert dict(zip(refs, fleet.overhead().tolist(), strict=True)) == expected.overhead
    types = [kernel.DomainType(code).name.lower() for code in fleet.vms.domain_type]
    assert dict(zip(refs, types, strict=True)) == expected.domain_type
    for policy in reference.POLICIES:
        free = dict(zip(fleet.hosts.ref, fleet.free_memory(policy).tolist(), strict=True))
        assert free == {host: amounts[policy] for host, amounts in expected.free.items()}
        start = dict(zip(refs, fleet.start_memory(policy).tolist(), strict=True))
        assert start == {ref: amounts[policy] for ref, amounts in expected.start_memory.items()}


@pytest.mark.parametrize("name", SMALL)
def test_gzip(data: Path, tmp_path: Path, fleets: dict[str, Fleet], name: str) -> None:
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress((data / "inventories" / name).read_bytes()))
    assert xenmem.read(packed).vms.memory_overhead.tolist() == fleets[name].vms.memory_overhead.tolist()


@pytest.mark.parametrize("name", SMALL)
def test_windows_line_ends_and_byte_order_mark(data: Path, fleets: dict[str, Fleet], name: str) -> None:
    content = (data / "inventories" / name).read_bytes()
    changed = b"\xef\xbb\xbf" + (content if name.endswith("json") else content.replace(b"\n", b"\r\n"))
    assert xenmem.read(io.BytesIO(changed)).vms.name_label.tolist() == fleets[name].vms.name_label.tolist()


def test_standard_input(data: Path) -> None:
    script = "import xenmem; print(len(xenmem.read('-').vms))"
    with (data / "inventories" / SMALL[0]).open("rb") as file:
        done = subprocess.run([sys.executable, "-c", script], stdin=file, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["61"]


def test_progress_counts_the_bytes_of_the_file(data: Path) -> None:
    path = data / "inventories" / SMALL[0]
    calls: list[tuple[int, int | None]] = []
    xenmem.read(path, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (path.stat().st_size, path.stat().st_size)
    calls.clear()
    xenmem.read(io.BytesIO(path.read_bytes()), progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (path.stat().st_size, None)


def test_the_format_can_be_named(data: Path) -> None:
    path = data / "inventories" / SMALL[0]
    assert xenmem.read(path, "statedb").pools.format.tolist() == ["statedb"]
    with pytest.raises(InventoryError, match="<database> within <> is not XML-RPC"):
        xenmem.read(path, "records")
    with pytest.raises(InventoryError, match="no text of xe: there each record begins with its uuid"):
        xenmem.read(path, "xe")
    with pytest.raises(ValueError, match="format: 'csv' is none of statedb, records, xe, parquet, arrow"):
        xenmem.read(path, "csv")
    with pytest.raises(InventoryError, match="the Parquet file is damaged or cut short"):
        xenmem.read(path, "parquet")


def test_several_files_make_one_fleet(data: Path, tmp_path: Path) -> None:
    paths = [data / "inventories" / name for name in ("pool-65.statedb.xml", "pool-small.statedb.xml")]
    fleet = xenmem.read(paths)
    parts = [xenmem.read(path) for path in paths]
    assert fleet.pools.model.tolist() == ["pre-26.3", "26.3"]
    for method in ("overhead", "start_memory", "free_memory"):
        expected = np.concatenate([getattr(part, method)() for part in parts])
        assert getattr(fleet, method)().tolist() == expected.tolist()
    offset = len(parts[0].hosts)
    assert fleet.pools.master[1] == parts[1].pools.master[0] + offset
    resident_on = fleet.vms.resident_on[len(parts[0].vms) :]
    assert resident_on.tolist() == [row + offset if row >= 0 else -1 for row in parts[1].vms.resident_on]
    groups = [tuple(fleet.vm_groups.uuid[row] for row in rows) for rows in fleet.vms.groups[len(parts[0].vms) :]]
    assert groups == [tuple(parts[1].vm_groups.uuid[row] for row in rows) for rows in parts[1].vms.groups]
    with pytest.raises(InventoryError, match="was already read from"):
        xenmem.read([paths[0], paths[0]])


@pytest.mark.parametrize("shape", [lambda pools: pools, lambda pools: {"pools": pools}])
def test_several_pools_in_one_file_of_records(shape: object) -> None:
    second = pool()
    second["pool"] = {"OpaqueRef:other": next(iter(second["pool"].values())) | {"uuid": "other"}}
    second["host"][HOST] = second["host"][HOST] | {"uuid": "other host"}
    document = json.dumps(shape([pool(), second])).encode()  # type: ignore[operator]
    fleet = xenmem.read(io.BytesIO(document))
    assert fleet.pools.uuid.tolist() == ["pool", "other"]
    assert fleet.vms.pool.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("as_numbers", [False, True])
def test_answers_of_the_api(as_numbers: bool) -> None:
    vms = pool()["VM"]
    if as_numbers:
        vms = {
            ref: {k: int(v) if isinstance(v, str) and v.lstrip("-").isdigit() else v for k, v in record.items()}
            for ref, record in vms.items()
        }
    for answer in (
        {"jsonrpc": "2.0", "result": vms, "id": 1},
        {"result": vms, "error": None, "id": 1},
        {"Status": "Success", "Value": vms},
        vms,
        list(vms.values()),
    ):
        fleet = xenmem.read(io.BytesIO(json.dumps(answer).encode()))
        assert fleet.vms.memory_static_max.tolist() == [4 << 30, 4 << 30]
    record = xenmem.read(io.BytesIO(json.dumps(vms[GUEST]).encode()))
    assert record.vms.ref.tolist() == record.vms.uuid.tolist() == ["guest"]


def xmlrpc(value: object) -> str:
    match value:
        case bool():
            return f"<value><boolean>{int(value)}</boolean></value>"
        case float():
            return f"<value><double>{value:.16g}</double></value>"
        case dict():
            members = "".join(f"<member><name>{k}</name>{xmlrpc(v)}</member>" for k, v in value.items())
            return f"<value><struct>{members}</struct></value>"
        case list():
            return f"<value><array><data>{''.join(map(xmlrpc, value))}</data></array></value>"
    return f"<value>{value}</value>"


def test_an_xmlrpc_answer() -> None:
    answer = xmlrpc({"Status": "Success", "Value": pool()["VM"]})
    document = f'<?xml version="1.0"?><methodResponse><params><param>{answer}</param></params></methodResponse>'
    fleet = xenmem.read(io.BytesIO(document.encode()))
    assert fleet.vms.ref.tolist() == [DOM0, GUEST]
    assert fleet.vms.video_ram.tolist() == [0, 8 << 20]


@pytest.mark.parametrize(
    ("flag", "expected"), [("true", True), ("TRUE", True), ("1", True), ("false", False), ("yes", False), ("", False)]
)
def test_vcpus_may_be_unrestricted(data: Path, flag: str, expected: bool) -> None:
    tables = pool(platform={"vga": "std", "vcpu-unrestricted": flag})
    assert Fleet.from_records(tables).vms.vcpu_unrestricted.tolist() == [False, expected]
    assert xenmem.read(io.BytesIO(dump(tables))).vms.vcpu_unrestricted.tolist() == [False, expected]
    text = (data / "inventories" / "pool-small.xe.txt").read_text()
    changed = re.sub(r"(\n +platform \(MRW\): )", rf"\1vcpu-unrestricted: {flag}; ", text, count=1)
    vms = xenmem.read(io.BytesIO(changed.encode())).vms
    assert (vms.vcpu_unrestricted.dtype, int(vms.vcpu_unrestricted.sum())) == (np.bool_, expected)


class Dribble(io.RawIOBase):
    """A file that gives a few bytes at a time, as a pipe may."""

    def __init__(self, content: bytes, most: int) -> None:
        self.rest = memoryview(content)
        self.most = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        count = min(self.most, len(buffer), len(self.rest))
        buffer[:count], self.rest = self.rest[:count], self.rest[count:]
        return count


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("most", [61, 4099])
def test_pieces_of_any_size_read_alike(data: Path, name: str, pack: Any, most: int) -> None:
    content = pack((data / "inventories" / name).read_bytes())
    fleet = xenmem.read(data / "inventories" / name)
    for file in (Dribble(content, most), io.BufferedReader(Dribble(content, most))):
        pieces = xenmem.read(cast(IO[bytes], file))
        assert pieces.pools.format.tolist() == fleet.pools.format.tolist()
        for column in columns(fleet.vms):
            assert getattr(pieces.vms, column).tolist() == getattr(fleet.vms, column).tolist()


@pytest.mark.parametrize("document", [b"dear diary " * 1000, b"<database><foo/>" + b" " * 9000])
@pytest.mark.parametrize("pack", [bytes, lambda content: gzip.compress(content, 0)])
def test_a_pipe_is_judged_by_what_has_come(document: bytes, pack: Any) -> None:
    """It used to wait for a whole MiB, or the end."""
    reader, writer = os.pipe()
    os.write(writer, pack(document * 2))
    with os.fdopen(reader, "rb") as file, pytest.raises(InventoryError, match=r"neither a database|<foo> within"):
        xenmem.read(file)
    os.close(writer)


def test_a_failure_as_answer_says_so() -> None:
    for answer in (
        {"Status": "Failure", "ErrorDescription": ["SESSION_INVALID", HOST]},
        {"jsonrpc": "2.0", "error": {"code": 1, "message": "SESSION_INVALID", "data": [HOST]}, "id": 1},
        {"result": None, "error": ["SESSION_INVALID", HOST], "id": 1},
    ):
        with pytest.raises(InventoryError, match=r"the answer is a failure: .*SESSION_INVALID"):
            xenmem.read(io.BytesIO(json.dumps(answer).encode()))


@pytest.mark.parametrize("change", ["pasted", "pasted, blanks collapsed", "prompt", "prompt in brackets", "blanks"])
def test_pasted_xe_text_reads_alike(data: Path, fleets: dict[str, Fleet], change: str) -> None:
    """Alignment was needed to find the parameters, and a bracket before the list made the text JSON."""
    text = (data / "inventories" / SMALL[2]).read_text()
    if change.startswith("pasted"):
        text = re.sub(
            r"(?m)^(?!uuid)\S+ \([ SM]R[OW]\) *: .*\n", "", text
        )  # what a description holds is told by alignment
        text = re.sub(r"(?m)^ +(?=\S+ \([ SM]R[OW]\))", "", text)
        text = re.sub(r"(?m) +$", "", re.sub(" +", " ", text)) if "collapsed" in change else text
    elif change == "blanks":
        text = " \n" * 5000 + text
    else:
        text = f"{'[17:00 host-a ~]#' if 'brackets' in change else 'host-a ~#'} xe vm-list params=all\n{text}"
    fleet, expected = xenmem.read(io.BytesIO(text.encode())), fleets[SMALL[2]]
    for name in ("vms", "hosts", "pools"):
        for column in columns(getattr(expected, name)):
            if column != "source" and not (column == "name_label" and "collapsed" in change):
                assert (
                    getattr(getattr(fleet, name), column).tolist() == getattr(getattr(expected, name), column).tolist()
                )


def test_blanks_before_a_document_change_no_place() -> None:
    """A file that began with more than 4 KiB of them was called empty."""
    tables = pool()
    assert len(xenmem.read(io.BytesIO(b" " * 9000 + json.dumps(tables).encode())).vms) == 2
    document = b" " * 9000 + dump(tables).partition(b"\n")[2]
    assert len(xenmem.read(io.BytesIO(document)).vms) == 2
    broken = document.replace(b'name__label="dom0"', b"")[:-400]
    with pytest.raises(InventoryError, match=rf"byte {len(broken)}: the dump is cut short"):
        xenmem.read(io.BytesIO(broken))


CHOSEN = """uuid ( RO)               : 6b8f3a35-0000-4000-8000-000000000001
          name-label ( RW): app
         power-state ( RO): halted
   memory-static-max ( RW): 1073741824
{}           VCPUs-max ( RW): 2


"""


def test_chosen_params_of_xe() -> None:
    """They were refused for limits that have no part in the overhead."""
    fleet = xenmem.read(io.BytesIO(CHOSEN.format("").encode()))
    assert fleet.overhead("pre-26.3").tolist() == [12 << 20]  # hvm, 1 GiB, 2 vCPUs: as xe printed it (12582912)
    assert fleet.vms.memory_dynamic_min.tolist() == fleet.vms.memory_dynamic_max.tolist() == [1 << 30]
    assert fleet.vms.VCPUs_at_startup.tolist() == [2]
    assert fleet.pools.model.tolist() == [kernel.DEFAULT_MODEL]
    notes = {note.kind: note.text for note in fleet.notes}
    assert "1 VM has no memory_dynamic_max, memory_dynamic_min: the limit above taken" in notes["limits-assumed"]
    assert "1 of them lack that, too, and are taken for hvm" in notes["domain-type-derived"]
    limits = "  memory-dynamic-max ( RW): 805306368\n      VCPUs-at-startup ( RW): 1\n"
    fleet = xenmem.read(io.BytesIO(CHOSEN.format(limits).encode()))
    assert fleet.vms.memory_dynamic_min.tolist() == fleet.vms.memory_dynamic_max.tolist() == [805306368]
    assert fleet.vms.VCPUs_at_startup.tolist() == [1]


XO = {"type": "VM", "id": "a", "uuid": "a", "$pool": "b", "power_state": "Running", "memory": {"static": [0, 1]}}


@pytest.mark.parametrize("document", [XO, [XO, XO], {"a": XO}])
def test_objects_of_xen_orchestra_are_called_so(document: object) -> None:
    with pytest.raises(
        InventoryError, match=r"objects of Xen Orchestra.*: read are XenAPI records as VM\.get_all_records"
    ):
        xenmem.read(io.BytesIO(json.dumps(document).encode()))


def test_records_of_2008(old_records: Path) -> None:
    fleet = xenmem.read(old_records)
    assert (len(fleet.vms), len(fleet.hosts), fleet.pools.model.tolist()) == (9, 0, ["pre-26.3"])
    assert fleet.free_memory().tolist() == []
    control_domain = int(np.flatnonzero(fleet.vms.is_control_domain)[0])
    assert fleet.vms.memory_static_min[control_domain] == 790102016
    assert fleet.vms.memory_dynamic_max[control_domain] == 219152384
    assert fleet.vms.memory_overhead.tolist() == fleet.overhead().tolist()
    assert {note.kind for note in fleet.notes} >= {"no-hosts", "overhead-recomputed", "model-assumed", "missing"}


def lone_snapshots() -> list[Any]:
    """Records of one snapshot each, and the overhead stored there: made up after measurements, and a captured one."""
    found = []
    for kind, memory_mib, vcpus, multiplier, stored, source in STORED_OVERHEAD:
        amounts = ("memory_static_max", "memory_dynamic_max", "memory_dynamic_min")
        record = vm(source, domain_type=kind, is_a_snapshot=True, is_a_template=True, HVM_shadow_multiplier=multiplier)
        record |= dict.fromkeys(amounts, str(memory_mib << 20)) | {"memory_overhead": str(stored)}
        record |= {"VCPUs_max": str(vcpus), "VCPUs_at_startup": str(vcpus)}
        found.append(pytest.param(json.dumps(record).encode(), stored, id=source))
    for path in (captures.FOLDER / "real").glob("xcp-ng-8.2.vm-record.json"):
        found.append(pytest.param(path.read_bytes(), 11_534_336, id="captured"))
    return found


@pytest.mark.parametrize(("text", "stored"), lone_snapshots())
def test_a_lone_record_of_a_snapshot(text: bytes, stored: int) -> None:
    fleet = xenmem.read(io.BytesIO(text))
    assert fleet.overhead("pre-26.3").tolist() == fleet.vms.memory_overhead.tolist() == [stored]
    assert fleet.stored_overhead_model().tolist() == ["pre-26.3"]
    assert fleet.vms.is_guest.tolist() == [False]


@pytest.mark.parametrize("short_empty_elements", [True, False])
def test_dumps_of_bug_reports_read_alike(data: Path, short_empty_elements: bool) -> None:
    """xen-bugtool parses a dump and writes it again, under old Pythons with the attributes sorted."""
    path = data / "inventories" / SMALL[0]
    tree = ElementTree.parse(path)
    for element in tree.iter("row"):
        attributes = sorted(element.items())
        element.attrib.clear()
        element.attrib.update(attributes)
    rewritten = io.BytesIO()
    tree.write(rewritten, encoding="UTF-8", xml_declaration=True, short_empty_elements=short_empty_elements)
    assert rewritten.getvalue().startswith(b"<?xml version='1.0' encoding='UTF-8'?>")
    fleet, other = xenmem.read(path), xenmem.read(io.BytesIO(rewritten.getvalue()))
    for name in ("vms", "hosts", "pools", "vm_groups"):
        table, again = getattr(fleet, name), getattr(other, name)
        for column in ("ref", *columns(table)):
            assert column == "source" or getattr(table, column).tolist() == getattr(again, column).tolist()
