"""`convert` and the binary formats on the command line: files, folders, pipes, and what goes wrong with each."""

import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from xenmem.cli import main

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Answer = Callable[..., str]
ROWS = ("report", "report --vms", "matrix", "upgrade-check --to 26.3")


@pytest.fixture
def xenmem(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs the command in this process, which has what it needs in memory."""
    monkeypatch.setenv("XENMEM_CONFIG", os.devnull)

    def run(*arguments: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[str]":
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        status = main(arguments)
        printed = capsysbinary.readouterr()
        return subprocess.CompletedProcess(arguments, status, printed.out.decode(), printed.err.decode())

    return run


def test_every_command_answers_the_same_from_columns(
    answer: Answer, xenmem: Command, small: str, tmp_path: Path
) -> None:
    for name in ("pool.parquet", "pool.arrow", "pool.arrows", "snapshots/"):
        answer("convert", small, f"{tmp_path}/{name}")
        for command in ("report", "matrix", "upgrade-check --to 26.3"):
            words = command.split()
            of_records = xenmem(words[0], small, *words[1:], "--format", "json")
            of_columns = xenmem(words[0], f"{tmp_path}/{name}", *words[1:], "--format", "json")
            assert of_columns.stdout == of_records.stdout
            assert of_columns.returncode == of_records.returncode
    with (tmp_path / "pool.parquet").open("rb") as file:
        assert answer("report", "-", stdin=file.read()) == answer("report", str(tmp_path / "pool.parquet"))


@pytest.mark.parametrize("command", ROWS)
def test_rows_are_those_of_ndjson(xenmem: Command, small: str, tmp_path: Path, command: str) -> None:
    name, *options = command.split()
    lines = xenmem(name, small, *options, "--format", "ndjson").stdout.splitlines()
    for form, read in (("parquet", pl.read_parquet), ("arrow", pl.read_ipc_stream)):
        path = tmp_path / f"rows.{form}"
        xenmem(name, small, *options, "--format", form, "-o", str(path))
        table = read(path)
        assert len(table) == len(lines)
        for line, row in zip(map(json.loads, lines), table.iter_rows(named=True), strict=True):
            same = [key for key in row if isinstance(line.get(key), (int, str, bool))]
            assert "uuid" in same
            assert {key: row[key] for key in same} == {key: line[key] for key in same}


def test_binary_goes_through_a_pipe_and_not_to_a_terminal(
    environment: dict[str, str], small: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "xenmem", "report", small, "--format", "arrow"]
    piped = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert pa.ipc.open_stream(io.BytesIO(piped.stdout)).read_all().num_rows == 3
    main, terminal = pty.openpty()
    done = subprocess.run(command, env=environment, stdout=terminal, stderr=subprocess.PIPE, check=False)
    os.close(terminal)
    os.close(main)
    assert done.returncode == 2
    assert done.stderr.decode() == (
        "xenmem: error: <stdout>: is a terminal, and the answer is binary: write it to a file with -o, or into a pipe\n"
    )


def test_convert_tells_what_is_lost(answer: Answer, small: str, tmp_path: Path) -> None:
    text = answer("convert", small, "pool.parquet")
    assert text.startswith("pool.parquet holds 1 pool, 3 hosts, 61 VMs, and lacks what is listed.\n\nNot in it\n")
    result = json.loads(answer("convert", small, "snapshots/", "--at", "2026-11-28T12:00", "--format", "json"))
    assert (result["at"], result["format"], result["vms"]) == ("2026-11-28T12:00:00+00:00", "data-set", 61)
    answer("convert", small, "snapshots/", "--at", "2026-11-29T13:00:00+01:00")
    assert len(list(tmp_path.glob("snapshots/pool=*/date=*"))) == 2
    answer("convert", "snapshots", "then.parquet", "--at", "2026-11-28T18:00:00Z")
    assert "holds 1 pool" in answer("convert", "then.parquet", "pool.json")


def test_what_goes_wrong_is_one_line_and_leaves_nothing(
    xenmem: Command, answer: Answer, small: str, tmp_path: Path
) -> None:
    answer("convert", small, "good.parquet")
    Path("cut.parquet").write_bytes(Path("good.parquet").read_bytes()[:5000])
    Path("kept.parquet").write_bytes(b"old")
    answer("convert", small, "snapshots/", "--at", "2026-11-28")
    before = sorted(map(str, tmp_path.rglob("*")))
    for arguments, problem in (
        (("report", "cut.parquet"), "cut.parquet: the Parquet file is damaged or cut short: "),
        (("report", str(tmp_path)), "is a folder without snapshots of pools"),
        (("convert", "none.xml", "kept.parquet"), "none.xml: No such file or directory"),
        (("convert", "cut.parquet", "kept.parquet"), "cut.parquet: the Parquet file is damaged"),
        (("convert", small, "kept.doc"), "kept.doc: is no folder, and its name ends in none of "),
        (("convert", small, "no/such/kept.parquet"), "No such file or directory"),
        (("convert", small, "/dev/full", "--to", "parquet"), "/dev/full: is no regular file"),
        (("convert", small, "snapshots", "--at", "2026-11-28"), "there is a snapshot of this pool and time"),
        (("convert", small, "kept.parquet", "--at", "2026-11-28"), "--at is of data sets"),
        (("convert", small, "snapshots", "--at", "noon"), "'noon' is no time such as 2026-11-28T12:00:00Z"),
        (("convert", "snapshots", "kept.parquet", "--at", "2020-01-01"), "holds no snapshot of any pool at or before"),
    ):
        done = xenmem(*arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert problem in done.stderr
        assert done.stderr.count("\n") == 1
    assert sorted(map(str, tmp_path.rglob("*"))) == before
    assert Path("kept.parquet").read_bytes() == b"old"


@pytest.mark.parametrize("out", ["pool.parquet", "pool.arrow", "snapshots/", "pool.json"])
def test_a_full_disk_leaves_nothing(environment: dict[str, str], small: str, tmp_path: Path, out: str) -> None:
    """As a disk that is full once some of the file is on it: a file may not grow beyond 8 KiB."""
    program = (
        "import resource, signal, sys; from xenmem.cli import main; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)); sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, "convert", small, out]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("xenmem: error: ")
    assert done.stderr.endswith("File too large\n")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("out", ["/sys/pool.parquet", "/sys/snapshots/", "/proc/pool.json"])
def test_a_folder_that_cannot_be_written(xenmem: Command, small: str, out: str) -> None:
    """One in which not even root makes files."""
    done = xenmem("convert", small, out)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r"xenmem: error: /(sys|proc)/\S+: (Operation not permitted|Permission denied|No such .+)\n", done.stderr
    )
