"""The command as a process of its own: arguments in; status, standard output and standard error out."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

INVENTORIES = Path(__file__).parent.parent / "data" / "inventories"
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes start in a folder of their own, so that the installed package runs."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def small() -> str:
    """The small pool as records."""
    return str(INVENTORIES / "pool-small.records.json")


@pytest.fixture
def environment() -> dict[str, str]:
    """The environment of the process, without what changes the output."""
    changing = ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "XENMEM_INVENTORY")
    inherited = {name: value for name, value in os.environ.items() if name not in changing}
    return inherited | {"XENMEM_CONFIG": os.devnull}


@pytest.fixture
def xenmem(environment: dict[str, str], warm: None) -> Command:
    """Runs `python -m xenmem` with the arguments; more environment variables by name."""

    def run(*arguments: str, stdin: str | bytes = b"", **more: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, "-m", "xenmem", *arguments],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            env=environment | more,
            timeout=120,
            check=False,
        )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture
def answer(xenmem: Command) -> Callable[..., str]:
    """Runs the command, which must answer, by default yes, without a word on standard error; gives what it printed."""

    def run(*arguments: str, status: int = 0, **more: str) -> str:
        done = xenmem(*arguments, **more)
        assert (done.returncode, done.stderr) == (status, "")
        return done.stdout

    return run


@pytest.fixture
def complaint(xenmem: Command) -> Callable[..., str]:
    """Runs the command, which must fail as a user's mistake does; gives its one line without the prefix."""

    def run(*arguments: str, **more: str) -> str:
        done = xenmem(*arguments, **more)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("xenmem: error: ")
        assert done.stderr.endswith("\n")
        assert done.stderr.removesuffix("\n").isprintable()
        return done.stderr.removeprefix("xenmem: error: ").removesuffix("\n")

    return run
