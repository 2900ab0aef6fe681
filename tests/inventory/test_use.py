"""Measurements of VMs: whatever form they have, the numbers are those of the naive reader; bad ones are refused."""

import gzip
import io
import math
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
from measured_use import NOW, saved, updates_json, updates_xml, vm_uuid
from servers import request, served, split
from twins import measured

from xenmem import InventoryError
from xenmem.inventory import rrd, use
from xenmem.inventory.use import Use, keep, read_use

A, B = vm_uuid(0xA001), vm_uuid(0xB002)
GIB = 1 << 30


def known(uses: list[Use]) -> measured.Found:
    """As the twin has it."""
    found: measured.Found = {}
    for vm, steps in uses:
        for step, rows in steps.items():
            for place, moment in enumerate(rows.times.tolist()):
                row = found.setdefault((vm, step), {}).setdefault(moment, {})
                for name, scale in use._SCALES.items():
                    value = float(getattr(rows, name)[place]) / scale
                    if not math.isnan(value):
                        row[name] = value
    return found


def series(random: Random, rows: int) -> dict[str, list[float]]:
    """Memory of a VM, now and then unknown, beside sources that are nobody's concern."""

    def values(most: float) -> list[float]:
        return [math.nan if random.random() < 0.1 else float(random.randrange(int(most))) for _ in range(rows)]

    return {
        "cpu_usage": [random.random() for _ in range(rows)],
        "memory": [*values(1 << 40)[:-1], 5.0],
        "memory_target": values(1 << 40),
        "vbd_xvda_write": values(1e9),
        "memory_internal_free": values(1 << 30),
    }


@pytest.mark.parametrize("seed", range(12))
def test_numbers_are_those_of_the_naive_reader(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    expected: measured.Found = {}
    for number in range(random.randrange(1, 6)):
        vms = {vm: series(random, rows := random.randrange(1, 9)) for vm in [random.choice([A, B])]}
        end = NOW + 60 * random.randrange(-9, 9)
        match random.choice(["xml", "text", "bare", "null", "saved"]):
            case "xml":
                text = updates_xml(vms, end=end)
                name = f"{number:02}.xml"
            case "saved":
                (vm,) = vms
                text = saved([(1, vms[vm]), (12, series(random, rows))], end + 7, other=["MAX", "MIN"])
                name = f"{number:02}-{vm}"
                measured.saved(text, vm, expected)
            case spelling:
                text = updates_json(vms, end=end, spelling=spelling)
                name = f"{number:02}.json"
        if "rrd>" not in text:
            measured.updates(text, expected)
        data = text.encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if random.random() < 0.3 else data)
    for rows in expected.values():
        for row in rows.values():
            for name in row.keys() - use._SCALES.keys():
                del row[name]
    assert known(list(read_use([tmp_path]))) == expected
    kept = tmp_path / "kept.parquet"
    once = list(keep(read_use(sorted(tmp_path.iterdir())), kept))
    assert known(list(read_use([kept]))) == known(once) == expected
    assert known(list(read_use([kept, kept]))) == expected


def test_a_name_may_hold_colons_and_an_entry_of_another_function_is_none() -> None:
    text = updates_xml({A: {"a:b:c": [1.0]}}).replace("AVERAGE:vm", "AVERAGE:vm", 1)
    (found,) = rrd.read(io.BufferedReader(io.BytesIO(text.encode())), lambda kind, name: True, source="x")  # type: ignore[arg-type]
    assert found.sources == (rrd.Source("vm", A, "a:b:c"),)
    text = updates_xml({A: {"memory": [1.0]}}, cf="MAX")
    (found,) = rrd.read(io.BufferedReader(io.BytesIO(text.encode())), lambda kind, name: True, source="x")  # type: ignore[arg-type]
    assert found.sources == ()


def test_cpus_stand_for_the_use_of_all() -> None:
    """Before cpu_usage there were the CPUs one by one."""
    assert use._is_cpu("cpu0")
    assert not use._is_cpu("cpu_usage")
    assert not use._is_cpu("cpu0-C1")


def test_an_unknown_source_is_unknown(tmp_path: Path) -> None:
    """No memory_internal_free is not 0 free; cpu0 and cpu1 make cpu_usage."""
    path = tmp_path / "updates.xml"
    path.write_text(
        updates_xml({A: {"memory": [8.0 * GIB], "cpu0": [0.25], "cpu1": [0.75]}, B: {"memory_target": [1.0]}})
    )
    ((vm, steps),) = read_use([path])
    assert vm == A
    assert np.isnan(steps[60].memory_internal_free).all()
    assert steps[60].cpu_usage.tolist() == [0.5]
    assert steps[60].memory.tolist() == [8.0 * GIB]


def test_a_bug_report(tmp_path: Path) -> None:
    """RRDs are found in it whatever else is there, also gzipped one by one; so in a zip, and in a folder."""
    text = saved([(12, {"memory": [1.0 * GIB, 2.0 * GIB]})]).encode()
    members = {
        "bug-report/readme.txt": b"no <rrd> here",
        "bug-report/xapi-db.xml": b"<database><table name='VM'/></database>",
        f"bug-report/rrd/{A}.xml": text,
        f"bug-report/blobs/rrds/{B}.gz": gzip.compress(text),
        "bug-report/xapi_rrd-host.out": saved([(12, {"memory_total_kib": [1.0], "cpu0": [1.0]})]).encode(),
        "bug-report/empty": b"",
    }
    tar, archive, folder = io.BytesIO(), io.BytesIO(), tmp_path / "folder"
    with tarfile.open(fileobj=tar, mode="w:bz2") as written, zipfile.ZipFile(archive, "w") as zipped:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            written.addfile(entry, io.BytesIO(content))
            zipped.writestr(name, content)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    (tmp_path / "report.tar.bz2").write_bytes(tar.getvalue())
    (tmp_path / "report.zip").write_bytes(archive.getvalue())
    for path in (tmp_path / "report.tar.bz2", tmp_path / "report.zip", folder):
        uses = list(read_use([path]))
        assert [vm for vm, _ in uses] == [A, B]
        for _, steps in uses:
            assert steps[60].memory.tolist() == [1.0 * GIB, 2.0 * GIB]
            assert steps[60].times.tolist() == [NOW - 60, NOW]


@pytest.mark.slow
def test_what_serve_answers(tmp_path: Path) -> None:
    """Over a socket: updates as XML and JSON, and whole archives, of every VM that runs."""
    with served(tmp_path) as server:
        session = server.log_in()
        vms = server.call("VM.get_all_records", session)
        running = {
            vm["uuid"]: int(server.call("VM_metrics.get_memory_actual", session, vm["metrics"]))
            for vm in vms.values()
            if vm["power_state"] == "Running"
        }
        files = tmp_path / "files"
        files.mkdir()
        asked = [f"/rrd_updates?start={int(time.time()) - 600}&host=true&cf=AVERAGE&vm_uuid={vm}" for vm in running]
        for number, path in enumerate([*asked, *(f"{path}&json" for path in asked)]):
            status, _, body = split(server.send(request("GET", f"{path}&session_id={session}")))
            assert status == 200
            (files / f"updates-{number}").write_bytes(body)
        found = {vm: steps[min(steps)].memory[-1] for vm, steps in read_use([files])}
        assert found == running
        for vm in running:
            for form in ("", "&json"):
                answer = server.send(request("GET", f"/vm_rrd?uuid={vm}{form}&session_id={session}"))
                if split(answer)[0] != 200:
                    continue  # it is on another host, whose address is elsewhere
                path = files / f"{vm}{form}"
                path.write_bytes(split(answer)[2])
                ((uuid, steps),) = read_use([path])
                assert uuid == vm
                assert sorted(steps) == [5, 60, 3600, 86400]
                assert [len(rows.times) for _, rows in sorted(steps.items())] == [120, 120, 168, 366]
                assert all((rows.memory == running[vm]).all() for rows in steps.values())
        assert list(files.glob("*&json"))


# ------------------------------------------------------------------------------------------------------------- refused

GOOD = updates_xml({A: {"memory": [1.0, 2.0]}})
GOOD_JSON = updates_json({A: {"memory": [1.0, 2.0]}})
RRD = saved([(12, {"memory": [1.0, 2.0]})])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the file is empty"),
        ("<html/>", "byte 0: neither an RRD nor an answer of rrd_updates: <html>"),
        ("PK, or so", "neither an RRD nor an answer of rrd_updates: starts with 'PK, or so'"),
        (GOOD[:-20], "the file is cut short"),
        (GOOD_JSON[:-20], "line 1: the JSON is cut short"),
        (GOOD.replace("<v>2</v>", "<v>2</v><v>3</v>"), "a row of 2 values where there are 1 sources"),
        (GOOD.replace("<v>2</v>", "<v>2_0</v>"), "'2_0' is not a number"),
        (GOOD.replace("<v>2</v>", "<v>0x10</v>"), "'0x10' is not a number"),
        (GOOD.replace("<v>2</v>", "<v>1e300</v>"), "1e+300 is beyond any amount"),
        (GOOD.replace("<v>2</v>", "<v>-2</v>"), f"memory of VM {A} at {NOW}: -2 is out of range"),
        (GOOD.replace("<v>2</v>", "<v><v>2</v></v>"), "<v> within <v>"),
        (GOOD.replace("<step>60</step>", ""), "<step> is missing"),
        (GOOD.replace("<step>60</step>", "<step>0</step>"), "<step>: '0' is outside 1..1099511627776"),
        (GOOD.replace("<step>60</step>", "<step>NaN</step>"), "<step>: 'NaN' is outside 1..1099511627776"),
        (GOOD.replace(f"<t>{NOW}</t>", ""), "None is outside"),
        (GOOD.replace("AVERAGE:vm", "AVERAGE-vm"), "is not FUNCTION:CLASS:UUID:NAME"),
        (GOOD.replace("<xport>", "<!DOCTYPE x [<!ENTITY a 'b'>]><xport>"), "a document type declaration is refused"),
        (GOOD.replace("<v>2</v>", "<v>&a;</v>"), "undefined entity"),
        (GOOD.replace("<v>2</v>", f"<v>{'1' * 5000}</v>"), "a text of more than 64 characters"),
        (GOOD.replace(":memory<", f":{'m' * 600}<"), "a text of more than 512 characters"),
        (
            RRD.replace("<cdp_prep>", "<cdp_prep>" + "".join(f"<n{n}/>" for n in range(70_000)), 1),
            "more than 65536 different names",
        ),
        ('{"meta": [' + "[]," * 140_000 + "0]}", "more than 131072 lists and objects of JSON"),
        (RRD.replace("<lastupdate>", "<updated>"), "<updated> within <rrd>"),
        (RRD.replace("<pdp_per_row>12</pdp_per_row>", ""), "<pdp_per_row> is missing"),
        (GOOD_JSON.replace('"60"', '"x"'), "'x' is not a number"),
        (GOOD_JSON.replace('"step"', '"stop"'), "not an answer of rrd_updates, nor an RRD: no 'step'"),
        (GOOD_JSON.replace('"data": [', '"data": [7, '), "a part is of another kind than it is"),
        (GOOD_JSON.replace('["2"]', '"2"'), "values: '2' is no list"),
        (GOOD_JSON.replace('["2"]', "[true]"), "True is not a number"),
        (GOOD_JSON.replace('["2"]', f"[{'9' * 5000}]"), "not JSON: Exceeds the limit"),
        ("{}", "JSON that is neither an answer of rrd_updates nor an RRD"),
        ('{"meta": ' + "[" * 100_000, "JSON nested beyond measure"),
        ('{"meta": {"step": 1, "legend": [1]}, "data": []}', "'1' is not FUNCTION:CLASS:UUID:NAME"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / f"{A}.rrd"
    path.write_text(text)
    with pytest.raises(InventoryError) as raised:
        list(read_use([path]))
    assert problem in str(raised.value)
    assert str(raised.value).startswith(str(path))
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 500


def test_other_refusals(tmp_path: Path) -> None:
    nameless = tmp_path / "saved.xml"
    nameless.write_text(RRD)
    with pytest.raises(InventoryError, match="does not say of which VM it is: have the uuid in the file's name"):
        list(read_use([nameless]))
    with pytest.raises(InventoryError, match="missing: No such file"):
        list(read_use([tmp_path / "missing"]))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "note").write_text("nothing")
    with pytest.raises(InventoryError, match="folder: holds neither RRDs nor answers of rrd_updates"):
        list(read_use([tmp_path / "folder"]))
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(GOOD.encode())[:-12])
    with pytest.raises(InventoryError, match=r"cut\.gz: is damaged or cut short"):
        list(read_use([cut]))


@pytest.mark.parametrize("seed", range(40))
def test_spoilt_files_are_read_or_refused(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    data = bytearray(
        random.choice([GOOD, GOOD_JSON, RRD, updates_json({A: {"memory": [1.0]}}, spelling="bare")]).encode()
    )
    for _ in range(random.randrange(1, 5)):
        place = random.randrange(len(data))
        match random.randrange(4):
            case 0:
                data[place] = random.randrange(256)
            case 1:
                del data[place : place + random.randrange(30)]
            case 2:
                data[place:place] = random.choice(
                    [b"<", b"</row>", b"NaN", b"\0", b"{", b"]", b"1e999", b"&lt;", b"\xff"]
                )
            case _:
                other = random.randrange(len(data))
                data[place:place] = data[other : other + 40]
    path = tmp_path / f"{A}.rrd"
    path.write_bytes(data)
    uses, problem = [], ""
    try:
        uses = list(read_use([path]))
    except InventoryError as error:
        problem = str(error)
    assert problem.isprintable()
    assert len(problem) < 1000
    for _, steps in uses:
        for rows in steps.values():
            assert (np.diff(rows.times) > 0).all()
            assert np.nanmin(rows.memory) >= 0


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not wanted of a large file costs nothing; what is wanted is refused beyond a limit."""
    rows = 3000
    many = {vm_uuid(n): {"memory": [1.0] * rows, **{f"vif_{k}_rx": [0.0] * rows for k in range(20)}} for n in range(30)}
    path = tmp_path / "large.xml.gz"
    text = updates_xml(many)
    path.write_bytes(gzip.compress(text.encode()))
    size = len(text)
    del text, many
    tracemalloc.start()
    count = sum(1 for _ in read_use([path]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 30
    assert peak < size * 2 / 3
    monkeypatch.setattr(rrd, "MAX_VALUES", 89_999)
    with pytest.raises(InventoryError, match="more than 89999 numbers or 1048576 rows: give it in parts"):
        list(read_use([path]))
    monkeypatch.undo()
    monkeypatch.setattr(use, "MAX_NUMBERS", 449_999)
    with pytest.raises(InventoryError, match="more than 449999 numbers: keep them as Parquet in parts first"):
        list(read_use([path]))


# ------------------------------------------------------------------------------------------------------------- Parquet


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    (tmp_path / "in.xml").write_text(updates_xml({A: {"memory": [1.0, 2.0]}, B: {"memory": [3.0, 4.0]}}))
    path = tmp_path / "use.parquet"
    assert len(list(keep(read_use([tmp_path / "in.xml"]), path))) == 2
    return path


def spoil_rows(change: Callable[[object], object]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(path)
        pyarrow.parquet.write_table(change(table), path)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "the Parquet file cannot be read: "),
        (spoil_rows(lambda t: t.drop_columns(["memory"])), "has no column memory: no file that --keep wrote"),  # type: ignore[attr-defined]
        (
            spoil_rows(lambda t: t.replace_schema_metadata({"xenmem_use_version": "9"})),  # type: ignore[attr-defined]
            "is of version '9' where 1 is read: read its sources again",
        ),
        (spoil_rows(lambda t: t.take(list(range(t.num_rows))[::-1])), "is out of order: sort by vm_uuid, step, time"),  # type: ignore[attr-defined]
    ],
)
def test_parquet_that_is_refused(kept: Path, spoil: Callable[[Path], None], problem: str) -> None:
    spoil(kept)
    with pytest.raises(InventoryError) as raised:
        list(read_use([kept]))
    assert str(raised.value).startswith(f"{kept}: ")
    assert problem in str(raised.value)


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "in.xml").write_text(updates_xml({A: {"memory": [1.0]}, B: {"memory": [3.0]}}))
    passing = keep(read_use([tmp_path / "in.xml"]), tmp_path / "use.parquet")
    next(passing)
    passing.close()  # type: ignore[attr-defined]
    assert [path.name for path in tmp_path.iterdir()] == ["in.xml"]
    with pytest.raises(InventoryError, match=r"missing/use\.parquet: No such file or directory"):
        list(keep(read_use([tmp_path / "in.xml"]), tmp_path / "missing" / "use.parquet"))
