"""The commands about a folder of snapshots, and about measured use: what they print, and what they refuse."""

import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = str(ROOT / "examples" / "three-hosts.json")
USE = str(ROOT / "examples" / "three-hosts-use.json.gz")
POOL = "8f1e2912-3a0e-56b1-9a3b-c1e82f9bde7d"

Answer = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three weeks of a pool, one snapshot a day."""
    path = str(tmp_path_factory.mktemp("weeks") / "snapshots")
    subprocess.run([sys.executable, str(ROOT / "examples" / "three_weeks.py"), path], check=True, cwd=ROOT)
    return path


def test_runway(answer: Answer, folder: str) -> None:
    (pool,) = json.loads(answer("runway", folder, "--format", "json"))["pools"]
    assert (pool["first"], pool["last"], pool["days"]) == ("2026-11-01", "2026-11-21", 20)
    assert pool["trend"]["is_shrinking"]
    assert [point["date"] for point in pool["points"]][::20] == ["2026-11-01", "2026-11-21"]
    table = answer("runway", folder)
    assert "least if north fails" in table
    assert "\n2026-11-21 " in table
    rows = list(csv.DictReader(io.StringIO(answer("runway", folder, "--format", "csv"))))
    assert [float(row["value"]) for row in rows] == [point["value"] for point in pool["points"]]
    assert answer("runway", folder, "--pool", POOL[:6]) == table


def test_runway_of_a_shape(answer: Answer, folder: str) -> None:
    told = json.loads(answer("runway", folder, "--memory", "256MiB", "--vcpus", "1", "--format", "json"))
    assert (told["memory"], told["VCPUs_max"], told["unit"]) == (256 << 20, 1, "VMs")


def test_history_of_a_folder(answer: Answer, folder: str) -> None:
    told = json.loads(answer("history", folder, "--format", "json"))
    (pool,) = told["pools"]
    assert (pool["before"]["at"], pool["after"]["at"]) == ("2026-11-01T04:00:00Z", "2026-11-21T04:00:00Z")
    (vm,) = pool["vms"]
    assert (vm["name_label"], vm["what"]) == ("cache", ["resized"])
    assert vm["after"]["memory_static_max"] - vm["before"]["memory_static_max"] == 20 * (1 << 26)
    later = json.loads(
        answer("history", folder, "--from", "2026-11-05", "--to", "2026-11-07T04:00Z", "--format", "json")
    )
    assert [later["pools"][0][side]["at"] for side in ("before", "after")] == [
        "2026-11-04T04:00:00Z",
        "2026-11-07T04:00:00Z",
    ]
    assert "cache" in answer("history", folder)
    assert "cache" in answer("history", folder, "--format", "csv")
    assert answer("history", folder, "--format", "csv", "--hosts").count("\n") == 1


def test_history_of_two_inventories(answer: Answer, complaint: Answer, folder: str) -> None:
    assert answer("history", EXAMPLE, EXAMPLE).startswith("Nothing changed in 1 pool.\n")
    other = str(ROOT / "examples" / "four-hosts.json")
    assert complaint("history", EXAMPLE, other) == "no pool is in both: they are compared by uuid"


def test_rightsize_reads_what_it_kept(answer: Answer, tmp_path: Path) -> None:
    kept = tmp_path / "use.parquet"
    table = answer("rightsize", EXAMPLE, "--use", USE, "--keep", str(kept))
    assert answer("rightsize", EXAMPLE, "--use", str(kept)) == table
    copied = tmp_path / "folder" / "deep"
    copied.mkdir(parents=True)
    shutil.copy(USE, copied)
    assert answer("rightsize", EXAMPLE, "--use", str(tmp_path / "folder")) == table
    rows = list(csv.DictReader(io.StringIO(answer("rightsize", EXAMPLE, "--use", USE, "--format", "csv"))))
    assert {row["name_label"]: row["kind"] for row in rows} == {
        "app-1": "under",
        "db": "over",
        "cache": "over",
        "batch": "idle",
        "app-2": "right",
        "report": "unknown",
    }
    assert {row["measured_resolution"] for row in rows} == {"hourly", ""}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["runway", "FOLDER", "--memory", "1GiB"], "Missing option '--vcpus' (see xenmem runway --help)"),
        (["runway", "FOLDER", "--vcpus", "1"], "Missing option '--memory' (see xenmem runway --help)"),
        (
            ["runway", "FOLDER", "--failures", "0"],
            "without failures the question is of a shape of VMs: give memory and vCPUs",
        ),
        (["runway", EXAMPLE], f"{EXAMPLE}: is no folder of snapshots"),
        (["runway", "FOLDER", "--pool", "zz"], f"FOLDER: no pool begins with 'zz': {POOL}"),
        (["history", EXAMPLE], "one file is not compared with anything: give a folder, or two inventories"),
        (["history", EXAMPLE, EXAMPLE, "--from", "1d"], "--from, --to and --pool are of a folder of snapshots"),
        (["history", "FOLDER", "--from", "2026-10-01"], "FOLDER: there is no snapshot before 2026-10-01T00:00:00Z"),
        (
            ["history", "FOLDER", "--from", "2026-13-01"],
            "Invalid value for '--from': '2026-13-01' is not a time such as",
        ),
        (
            ["history", "FOLDER", "--from", "2026-11-09", "--to", "2026-11-03"],
            "2026-11-08T04:00:00Z is after 2026-11-02",
        ),
        (["rightsize", EXAMPLE], "Missing option '--use'"),
        (["rightsize", EXAMPLE, "--use", "nowhere"], "nowhere: No such file or directory"),
        (["rightsize", EXAMPLE, "--use", EXAMPLE], "JSON that is neither an answer of rrd_updates nor an RRD"),
        (["rightsize", EXAMPLE, "--use", USE, "--percentile", "1/0"], "'1/0' is not a number such as 99 or 99.5"),
        (["rightsize", EXAMPLE, "--use", USE, "--percentile", "101"], "'101' is outside 0..100"),
        (["rightsize", EXAMPLE, "--use", USE, "--keep", "/nowhere/x"], "/nowhere/x: No such file or directory"),
    ],
)
def test_mistakes(complaint: Answer, folder: str, arguments: list[str], problem: str) -> None:
    told = complaint(*(folder if word == "FOLDER" else word for word in arguments))
    assert problem.replace("FOLDER", folder) in told
