"""The benchmarks track: asv builds commit after commit, and a slower one shows. No time is asserted."""

import importlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ASV = Path(sys.executable).with_name("asv")
BENCHMARK = "overhead.OneVM.time_arrays"
SLOWER = """
_fast = overhead


def overhead(*arguments, **options):
    __import__("time").sleep(0.05)
    return _fast(*arguments, **options)
"""


def run(*command: object, cwd: Path) -> str:
    """What a program prints that must succeed; its home is the folder, for nothing of the user's is touched."""
    identity = {f"GIT_{role}_{key}": "x" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    environment = os.environ | identity | {"HOME": str(cwd)}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with three commits: a README, this tree, and this tree with a slower kernel."""
    root = tmp_path_factory.mktemp("clone")
    run("git", "init", "-q", "-b", "main", cwd=root)
    (root / "README").touch()
    files = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
    run("git", "add", "README", cwd=root)
    run("git", "commit", "-q", "-m", "Begin", cwd=root)
    there = "\n".join(name for name in files if os.path.lexists(ROOT / name))
    subprocess.run(["tar", "-cf", root / "tree.tar", "-T", "-"], cwd=ROOT, input=there, text=True, check=True)
    run("tar", "-xf", "tree.tar", cwd=root)
    (root / "tree.tar").unlink()
    run("git", "add", ".", cwd=root)
    run("git", "commit", "-q", "-m", "Compute", cwd=root)
    with (root / "kernel" / "__init__.py").open("a") as kernel:
        kernel.write(SLOWER)
    run("git", "commit", "-q", "-a", "-m", "Be slower", cwd=root)
    return root


@pytest.mark.slow
def test_a_planted_regression_shows(clone: Path) -> None:
    folder = clone / "benchmarks"
    run(ASV, "machine", "--yes", cwd=folder)
    quick = ("-a", "rounds=1", "-a", "repeat=3", "-a", "warmup_time=0")
    run(ASV, "run", "--bench", BENCHMARK, *quick, "HEAD~2..HEAD", cwd=folder)
    compared = run(ASV, "compare", "--only-changed", "--factor", "2", "HEAD~1", "HEAD", cwd=folder)
    assert [line.split()[1] for line in compared.splitlines() if BENCHMARK in line] == ["+"]
    run(ASV, "publish", cwd=folder)
    assert (folder / ".asv" / "html" / "index.html").exists()
    (graph,) = (folder / ".asv" / "html" / "graphs" / "summary").glob(f"{BENCHMARK}.json")
    assert len(json.loads(graph.read_text())) == 2
    table = run(sys.executable, "table.py", cwd=folder)
    assert "| overhead of one VM, arrays of one |" in table


def test_every_row_of_the_tables_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    suite, table = importlib.import_module("suite"), importlib.import_module("table")
    measured = set()
    for info in pkgutil.iter_modules(suite.__path__):
        for name, group in inspect.getmembers(importlib.import_module(f"suite.{info.name}"), inspect.isclass):
            for values in product(*getattr(group, "params", ())) if not inspect.isabstract(group) else ():
                measured |= {(f"{info.name}.{name}.{method}", *map(repr, values)) for method in dir(group)}

    class Asked(dict[tuple[str, ...], float]):
        def __missing__(self, key: tuple[str, ...]) -> float:
            assert key in measured
            return 1.0

    levels = [way.removeprefix("c-") for way in importlib.import_module("suite.elementwise").C_WAYS] or ["scalar"]
    monkeypatch.setattr(table, "LEVELS", levels)
    rows = [row.text(Asked()) for row in (*table.numbers(f"C {levels[-1]}"), *table.messages(), *table.plans())]
    assert len(rows) > 60
    assert all(row.count("|") == 6 for row in rows)
