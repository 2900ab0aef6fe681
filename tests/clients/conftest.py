"""Unmodified clients over real sockets. They are collected where tests/clients/install.sh has installed them.

At the end of a run a table says which client did what.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clients_at import CLIENTS, Node, Run
from servers import Served, served

collect_ignore_glob = [] if (CLIENTS / "complete").exists() else ["test_*.py"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The example pool, at loopback without TLS."""
    with served(tmp_path_factory.mktemp("server"), "--pace", "jump") as made:
        yield made


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a program in a folder of its own; gives what it printed."""

    def run(*arguments: str | Path, **environment: str) -> str:
        done = subprocess.run(
            [str(argument) for argument in arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | environment,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


@pytest.fixture
def node(run: Run, tmp_path: Path) -> Node:
    """Runs a script of this folder in node, with npm's clients; gives what the last line that it prints says."""
    (tmp_path / "node_modules").symlink_to(CLIENTS / "node_modules")

    def node(script: str, *arguments: str | Path) -> dict[str, Any]:
        here = tmp_path / script
        here.write_text((Path(__file__).parent / script).read_text())
        answer: dict[str, Any] = json.loads(run("node", here, *arguments).splitlines()[-1])
        return answer

    return node


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "client(name, version): which client a test runs")


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    marker = item.get_closest_marker("client")
    if marker is not None and call.when == "call":
        item.user_properties.append(("client", "fail" if call.excinfo else "pass"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = []
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            about = dict(getattr(report, "user_properties", ()))
            if "client" in about:
                rows.append(f"{about['client']}  {report.nodeid.rpartition('/')[2]}")
    if rows:
        terminalreporter.section("clients")
        for row in sorted(rows):
            terminalreporter.write_line(row)
