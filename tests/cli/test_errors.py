"""What bad input gets: one line on standard error that says what is wrong, status 2, and nothing like a result."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from xenmem import answers
from xenmem.cli import main

Complaint = Callable[..., str]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nope"], "No such command 'nope'"),
        (["report"], "Missing argument 'INVENTORY...'"),
        (["report", "--nope", "SMALL"], "No such option '--nope'"),
        (["report", "SMALL", "--format", "yaml"], "'yaml' is not one of"),
        (["report", "SMALL", "--sort", "size"], "'size' is none of free, memory, name, vms, overcommitted"),
        (["report", "SMALL", "--sort", "free_static"], "near it are free_static_max"),
        (["fit", "SMALL", "--memory", "1GiB", "--vcpus", "1.5"], "'1.5' is not a whole number such as 4"),
        (["report", "https://root:hunter2@pool.example"], "https://: holds a password, which everybody could read"),
        (["report", "https://pool.example/x"], "https://pool.example: a pool's address has no path"),
        (["report", "http://192.0.2.1"], "plain HTTP shows the password to whoever listens"),
        (["consolidate", "SMALL", "--hosts"], "--hosts chooses the rows of --format csv, ndjson, parquet, arrow"),
        (
            ["what-if", "SMALL", "/dev/null", "--fields"],
            "--fields chooses the rows of --format csv, ndjson, parquet, arrow",
        ),
        (["report", "SMALL", "--model", "17"], "'17' is no version of xapi (such as 26.4.0), no model (26.3, pre-26.3"),
        (["report", "SMALL", "SMALL"], "was already read from"),
        (["report", "SMALL", "--html", "x", "--vms"], "--html and --vms exclude each other"),
        (["report", "SMALL", "--html", "x", "--format", "json"], "--html and --format exclude each other"),
        (["report", "SMALL", "--html", "x", "-o", "y"], "--html and --output exclude each other"),
        (["report", "SMALL", "--html", "no/such/folder.html"], "no/such/folder.html: No such file or directory"),
        (["report", "-", "-"], "standard input can be read only once"),
        (["explain", "SMALL"], "Missing argument 'VM'"),
        (["explain", "SMALL", "nobody"], "there is no VM 'nobody' in the inventory"),
        (["maximise", "SMALL", "nobody"], "there is no VM 'nobody' in the inventory"),
        (["maximise", "SMALL", "lab-git-011", "--host", "xen9"], "there is no host 'xen9' in the inventory"),
        (["maximise", "SMALL", "lab-git-011", "--host", "a", "--total", "1GiB"], "exclude each other"),
        (
            ["maximise", "SMALL", "lab-git-011", "--total", "64"],
            "'64' has no unit and is less than 1MiB: write 64GiB, or 64B",
        ),
        (["maximise", "SMALL", "lab-git-011", "--total", "64 bananas"], "'64 bananas' is not a size such as 16GiB"),
        (["maximise", "SMALL", "lab-git-011", "--total", "-1GiB"], "'-1GiB' is not a size"),
        (["maximise", "SMALL", "lab-git-011", "--total", "2PiB"], "'2PiB' is more than 1PiB"),
        (["fit", "SMALL", "--vcpus", "4"], "Missing option '--memory'"),
        (["fit", "SMALL", "--memory", "1GiB"], "Missing option '--vcpus'"),
        (["fit", "SMALL", "--memory", "1GiB", "--vcpus", "0"], "0 is not in the range"),
        (["fit", "SMALL", "--memory", "1GiB", "--vcpus", "65536"], "vcpus_max: 65536 is outside 0..65535"),
        (["fit", "SMALL", "--memory", "1GiB", "--vcpus", "4", "--domain-type", "xen"], "'xen' is none of hvm, pv"),
        (["fit", "SMALL", "--memory", "1GiB", "--vcpus", "4", "--count", "0"], "0 is not in the range"),
        (["fit", "SMALL", "--memory", "1GiB", "--vcpus", "4", "--shadow-multiplier", "nan"], "nan is outside 0..1024"),
        (["fit", "SMALL", "--memory", "1GiB", "--vcpus", "4", "--shadow-multiplier", "inf"], "inf is outside 0..1024"),
        (["fit", "SMALL", "--memory", "1GiB", "--vcpus", "4", "--shadow-multiplier", "0.5"], "0.5 is below 1"),
        (["fit", "SMALL", "--memory", "0", "--vcpus", "4"], "0 bytes make no VM"),
        (["upgrade-check", "SMALL"], "Missing option '--to'"),
        (["upgrade-check", "SMALL", "--to", "next"], "'next' is no version of xapi"),
        (["info", "more"], "unexpected extra argument"),
        (["plot", "SMALL", "x.gif"], "'x.gif' does not end in .png, .svg, .pdf"),
        (["plot", "SMALL", "no/such/folder.svg"], "no/such/folder.svg: there is no such folder"),
        (["plot", "SMALL", "x.svg", "--kind", "evacuate"], "--kind evacuate needs --host"),
        (["plot", "SMALL", "x.svg", "--kind", "evacuate", "--host", "none"], "there is no host 'none'"),
        (["plot", "SMALL", "x.svg", "-o", "y"], "--output is not for it"),
    ],
)
def test_bad_arguments(complaint: Complaint, small: str, arguments: list[str], expected: str) -> None:
    given = [small if argument == "SMALL" else argument for argument in arguments]
    assert expected in complaint(*given)


def test_ambiguous_name_lists_the_candidates(complaint: Complaint, small: str, tmp_path: Path) -> None:
    records = json.loads(Path(small).read_text())
    twins = [vm for vm in records["VM"].values() if not vm["is_a_template"]][:2]
    for vm in twins:
        vm["name_label"] = "twin"
    (tmp_path / "twins.json").write_text(json.dumps(records))
    line = complaint("explain", "twins.json", "twin")
    assert "VM 'twin' is ambiguous" in line
    assert all(vm["uuid"] in line for vm in twins)


def bad_files() -> list[tuple[str, bytes, str]]:
    """Name, content, and a word of the complaint."""
    statedb = (Path(__file__).parent.parent / "data" / "inventories" / "pool-small.statedb.xml").read_bytes()
    records = (Path(__file__).parent.parent / "data" / "inventories" / "pool-small.records.json").read_bytes()
    bomb = b'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "' + b"a" * 1000 + b'"><!ENTITY b "' + b"&a;" * 1000 + b'">]>'
    row = b'<row ref="OpaqueRef:1" memory__static_max="many"/>'
    return [
        ("empty", b"", "empty"),
        ("blank", b" \n\n ", "empty"),
        ("text", b"dear diary\n", "dear diary"),
        ("binary", bytes(range(256)) * 40, "neither"),
        ("cut.xml", statedb[: len(statedb) // 2], "cut short"),
        ("cut.json", records[: len(records) // 2], "truncated"),
        ("cut.gz", gzip.compress(statedb)[:5000], "cut short"),
        ("broken.gz", b"\x1f\x8b" + b"nonsense" * 9, "the gzip file is damaged"),
        ("bomb.xml", bomb + b'<database><manifest/><table name="VM">&b;</table></database>', "bomb.xml"),
        ("deep.json", b'{"VM": ' + b"[" * 100_000, "deep.json"),
        ("deep.xml", b"<database>" + b"<table>" * 100_000, "deep.xml"),
        ("number.xml", b'<database><manifest/><table name="VM">' + row + b"</table></database>", "many"),
        ("list.json", b"[1, 2]", "list.json"),
        ("true.json", b'{"VM": true}', "true.json"),
        ("nothing.json", b"{}", "nothing.json"),
    ]


@pytest.mark.parametrize(("name", "content", "word"), bad_files(), ids=[name for name, _, _ in bad_files()])
def test_bad_files_are_named(complaint: Complaint, tmp_path: Path, name: str, content: bytes, word: str) -> None:
    (tmp_path / name).write_bytes(content)
    line = complaint("report", name)
    assert line.startswith(f"{name}: ")
    assert word in line
    assert complaint("report", "-", stdin=content).startswith("<stdin>: ")


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("memory_static_max", "-1", "-1"),
        ("memory_static_max", str(1 << 63), str(1 << 63)),
        ("memory_static_max", "lots", "lots"),
        ("domain_type", "quantum", "quantum"),
        ("HVM_shadow_multiplier", "nan", "nan"),
        ("HVM_shadow_multiplier", "inf", "inf"),
        ("power_state", "Asleep", "Asleep"),
        ("resident_on", "OpaqueRef:nowhere", "OpaqueRef:nowhere"),
        ("VCPUs_max", "70000", "70000"),
    ],
)
def test_bad_values_are_named_with_their_record(
    complaint: Complaint, small: str, tmp_path: Path, field: str, value: str, word: str
) -> None:
    records = json.loads(Path(small).read_text())
    ref = next(ref for ref, vm in records["VM"].items() if not vm["is_a_template"])
    records["VM"][ref][field] = value
    (tmp_path / "bad.json").write_text(json.dumps(records))
    line = complaint("report", "bad.json", "--format", "json")
    assert line.startswith("bad.json: ")
    assert ref in line
    assert field in line
    assert word in line


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("missing", "No such file or directory"),
        (".", ".: is a folder without snapshots of pools (pool=UUID/date=...)"),
        ("a\nb\x1b[1m", "a\\nb\\x1b[1m: No such file"),
        ("", "'': No such file"),
    ],
)
def test_unreadable_paths(complaint: Complaint, path: str, problem: str) -> None:
    assert problem in complaint("report", path)


def test_one_bad_file_among_good_ones_prints_no_result(complaint: Complaint, small: str) -> None:
    assert complaint("report", small, "missing.xml") == "missing.xml: No such file or directory"


@pytest.mark.parametrize("arguments", [["info"], ["report", "SMALL"]])
def test_bad_environment(complaint: Complaint, small: str, arguments: list[str]) -> None:
    given = [small if argument == "SMALL" else argument for argument in arguments]
    assert complaint(*given, XENMEM_THREADS="many") == "XENMEM_THREADS: 'many' is not a positive number"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "there is not enough memory for this"),
        (ValueError("size: 7 is outside\n0..6"), "size: 7 is outside 0..6"),
        (OverflowError("Python int too large to convert to C long"), "Python int too large to convert to C long"),
    ],
)
def test_the_last_resort(
    small: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, line: str
) -> None:
    """Whatever no check has found is no traceback, either."""

    def fail(*arguments: object, **options: object) -> None:
        raise error

    for name in ("explain", "report"):
        monkeypatch.setattr(answers, name, fail)
    for arguments in (["report", small], ["explain", small, "lab-git-011", "--format", "json"]):
        assert main(arguments) == 2
        assert capsys.readouterr() == ("", f"xenmem: error: {line}\n")


def test_a_picture_without_matplotlib(complaint: Complaint, small: str, tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "matplotlib.py").write_text("raise ModuleNotFoundError('gone', name='matplotlib')")
    told = complaint("plot", small, "x.svg", PYTHONPATH=str(tmp_path / "without"))
    assert "plot needs matplotlib: pip install 'xenmem[plot]'" in told
    assert not (tmp_path / "x.svg").exists()
