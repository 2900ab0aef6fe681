"""The command among other processes: closed pipes, full disks, interrupts, progress on a terminal, start-up imports."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from terminals import drained, terminal

Environment = dict[str, str]
XENMEM = [sys.executable, "-m", "xenmem"]


@pytest.mark.parametrize("arguments", [["report", "SMALL"], ["report", "SMALL", "--format", "json"], ["fit", "--help"]])
def test_closed_pipe_ends_quietly(environment: Environment, small: str, arguments: list[str]) -> None:
    given = [small if argument == "SMALL" else argument for argument in arguments]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*XENMEM, *given], stdout=writer, stderr=subprocess.PIPE, env=environment, timeout=60, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (2, b"")


def test_head_gets_its_line(environment: Environment, small: str) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$0" -m xenmem report "$1" | head -n 1', sys.executable, small],
        capture_output=True,
        env=environment,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith(b"3 hosts have ")
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("redirection", "problem"),
    [
        ('report "$1" >&-', b"xenmem: error: <stdout>: is closed\n"),
        ('report "$1" >/dev/full', b"xenmem: error: <stdout>: No space left on device\n"),
        ("fit --help >/dev/full", b"xenmem: error: <stdout>: No space left on device\n"),
        ("report - <&-", b"xenmem: error: <stdin>: is closed\n"),
        ('report "$1" >&- 2>&-', b""),
        ("report missing 2>/dev/full", b""),
        ("nonsense 2>/dev/full", b""),
    ],
)
def test_streams_that_cannot_be_used(environment: Environment, small: str, redirection: str, problem: bytes) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"$0" -m xenmem {redirection}', sys.executable, small],
        capture_output=True,
        env=environment,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", problem)


def test_interrupt_is_one_line(environment: Environment) -> None:
    with subprocess.Popen(
        [*XENMEM, "report", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b'{"VM": {')
        process.stdin.flush()
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"xenmem: error: interrupted\n")


IMPORTS = """
import sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            raise KeyboardInterrupt

for name in ("typing", "re", "collections.abc", "contextlib"):
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Interrupting())
from xenmem.cli import main
sys.exit(main(["report", sys.argv[2]]))
"""
"""Ctrl-C while a module is imported."""


@pytest.mark.parametrize(
    "module",
    [
        "typing",
        "click",
        "xenmem.cli.app",
        "xenmem.cli.arguments",
        "xenmem.cli.streams",
        "numpy",
        "xenmem.answers.report",
    ],
)
def test_interrupts_within_imports(environment: Environment, small: str, module: str) -> None:
    """Nothing is imported before the command minds interrupts, and nothing in order to say that there was one."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, module, small], capture_output=True, env=environment, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"xenmem: error: interrupted\n")


@pytest.mark.parametrize("arguments", [["messages", "--all", "--format", "json"], ["--help"], ["balloon", "--help"]])
def test_texts_without_docstrings(environment: Environment, arguments: list[str]) -> None:
    plain, optimised = (
        subprocess.run(
            [*XENMEM, *arguments], capture_output=True, env=environment | more, timeout=60, check=True
        ).stdout
        for more in ({}, {"PYTHONOPTIMIZE": "2"})
    )
    assert plain == optimised


def slow_report(small: str, environment: Environment, stderr: int) -> "subprocess.Popen[bytes]":
    """A report whose inventory comes in parts of a MiB, with pauses."""
    content = Path(small).read_bytes()
    blanks = b" " * (1 << 20)
    process = subprocess.Popen(
        [*XENMEM, "report", "-", "--format", "csv"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=environment,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for part, pause in ((content[:1] + blanks, 3.0), (blanks, 0.5), (content[1:], 0.0)):
        process.stdin.write(part)
        process.stdin.flush()
        time.sleep(pause)
    process.stdin.close()
    return process


def test_long_read_shows_progress_on_a_terminal(environment: Environment, small: str) -> None:
    ours, theirs = terminal(80)
    process = slow_report(small, environment, theirs)
    os.close(theirs)
    assert process.stdout is not None
    with process.stdout:
        report = process.stdout.read()
    shown = drained(ours)
    assert process.wait(60) == 0
    assert "\rreading <stdin>: " in shown
    assert shown.endswith("\r")
    assert shown.rstrip("\r").endswith(" ")
    assert b"reading" not in report


def test_no_progress_in_a_pipe(environment: Environment, small: str) -> None:
    process = slow_report(small, environment, subprocess.PIPE)
    assert process.stderr is not None
    assert process.stdout is not None
    with process.stdout, process.stderr:
        report = process.stdout.read()
        assert process.stderr.read() == b""
    assert process.wait(60) == 0
    assert report.startswith(b"pool_uuid,")


@pytest.mark.parametrize("columns", [80, 100, 140])
@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_table_on_a_terminal_is_no_wider_than_it(environment: Environment, small: str, columns: int, term: str) -> None:
    ours, theirs = terminal(columns)
    with subprocess.Popen(
        [*XENMEM, "report", small], stdout=theirs, stderr=theirs, env=environment | {"TERM": term}
    ) as process:
        os.close(theirs)
        shown = re.sub(r"\x1b\[[0-9;]*m", "", drained(ours))
    assert process.returncode == 0
    lines = shown.replace("\r", "").splitlines()
    assert max(map(len, lines)) <= columns
    assert any("114.52" in line for line in lines)


@pytest.mark.parametrize(
    ("term", "encoding", "bars"), [("xterm", "utf-8", 4), ("dumb", "utf-8", 0), ("xterm", "ascii", 0)]
)
def test_shares_are_bars_on_a_terminal(
    environment: Environment, small: str, term: str, encoding: str, bars: int
) -> None:
    """One for each of three hosts, and one for all; no colour without need, and none with NO_COLOR."""
    ours, theirs = terminal(120)
    given = environment | {"TERM": term, "PYTHONIOENCODING": encoding, "NO_COLOR": "1"}
    with subprocess.Popen([*XENMEM, "report", small], stdout=theirs, stderr=theirs, env=given) as process:
        os.close(theirs)
        shown = drained(ours)
    assert process.returncode == 0
    assert len(re.findall(r"[\u2588\u2591]{10}", shown)) == bars
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", shown)


def test_start_up_imports_no_more_than_is_needed(environment: Environment, small: str) -> None:
    from xenmem import kernel

    def imported(*arguments: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "xenmem", *arguments],
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
            check=True,
        )
        return {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}

    assert not {"numpy", "numba", "rich", "msgspec"} & imported("--help")
    assert "rich" not in imported("report", small, "--format", "json")
    assert "rich" not in imported("explain", small, "lab-git-011", "--format", "json")
    needed = set() if "c" in kernel.backends() else {"numba"}
    for arguments in (
        ["report", small],
        ["explain", small, "lab-git-011"],
        ["maximise", small, "lab-git-011"],
        ["fit", small, "--memory", "1GiB", "--vcpus", "1"],
        ["upgrade-check", small, "--to", "pre-26.3"],
        ["place", small, "stage-mail-018"],
        ["info"],
    ):
        assert {"numba"} & imported(*arguments) <= needed


def test_interrupt_leaves_no_progress_behind(environment: Environment) -> None:
    ours, theirs = terminal(80)
    with subprocess.Popen(
        [*XENMEM, "report", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        assert process.stdin is not None
        for part, pause in ((b"{" + b" " * (1 << 20), 3), (b" " * (1 << 20), 1)):
            process.stdin.write(part)
            process.stdin.flush()
            time.sleep(pause)
        process.send_signal(signal.SIGINT)
        process.stdin.close()
        shown = drained(ours)
    assert process.returncode == 130
    assert "reading <stdin>: " in shown
    assert shown.endswith(" \rxenmem: error: interrupted\r\n")
