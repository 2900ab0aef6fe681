"""Cold compilation: none for the searches in C; by numba announced once when it happens, and all of it by warm-up."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import xenmem
from xenmem.kernel import _cache
from xenmem.planning import compilation

pytestmark = pytest.mark.slow

PACKAGE = Path(xenmem.__file__).parent
ANNOUNCED = "xenmem: compiling, once: some seconds for each question; `xenmem warm-up` does all of it ahead of time\n"
ANNOUNCED_ALWAYS = (
    "xenmem: compiling, in every process anew: no folder can keep what is compiled (NUMBA_CACHE_DIR names one)\n"
)
COMPILES = (
    "import sys; from xenmem.cli.streams import announce_compilation; sys.argv[1:] and announce_compilation();"
    "from xenmem import kernel; kernel.free_memory([1], [1], [0], [0], [-1], backend='numba');"
    "from xenmem.kernel import checks; checks.limits_valid(0, 1, 1, 1)"
)
"""Compiles two functions of the package; with an argument as the command does."""


BY_NUMBA = {"XENMEM_SEARCHES": "numba"}


def run(*arguments: str, cache: Path, folder: Path | None = None, **more: str) -> "subprocess.CompletedProcess[str]":
    """Run Python with these arguments, in a folder; what it compiles is kept in another."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache)} | more,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder that was empty before a warm-up, and what that says."""
    cache = tmp_path_factory.mktemp("warm")
    done = run("-m", "xenmem", "warm-up", "--format", "json", cache=cache, **BY_NUMBA)
    assert (done.returncode, done.stderr) == (0, "")
    return cache, json.loads(done.stdout)


LISTING = """
import json
from importlib import import_module
from pkgutil import walk_packages
from numba.core.dispatcher import Dispatcher
import xenmem

found = set()
for info in walk_packages(xenmem.__path__, "xenmem."):
    if info.name.split(".")[1] in ("kernel", "planning") and info.name != "xenmem.kernel.accounts":
        for name, value in vars(import_module(info.name)).items():
            if isinstance(value, Dispatcher) and value.py_func.__module__ == info.name:
                found.add(f"{info.name}.{name}")
print(json.dumps(sorted(found)))
"""
"""Names every function that is compiled for itself, not only as a part of others, or of a user's loop."""


def test_warm_up_compiles_every_function(warm: tuple[Path, dict[str, Any]]) -> None:
    cache, result = warm
    every = json.loads(run("-c", LISTING, cache=cache, **BY_NUMBA).stdout)
    assert {one["function"] for one in result["compiled"]} == set(every)
    assert result["folder"] == str(cache)
    assert all(one["seconds"] >= 0 for one in result["compiled"])


def test_nothing_is_left_to_compile(warm: tuple[Path, dict[str, Any]]) -> None:
    cache, _ = warm
    assert (
        json.loads(run("-m", "xenmem", "warm-up", "--format", "json", cache=cache, **BY_NUMBA).stdout)["compiled"] == []
    )
    again = run("-m", "xenmem", "warm-up", cache=cache, **BY_NUMBA)
    assert (again.stdout.split(), again.stderr) == (f"Nothing was left to compile: all is in {cache}.".split(), "")


def test_no_planner_compiles_after_warm_up(warm: tuple[Path, dict[str, Any]], data: Path) -> None:
    cache, _ = warm
    inventory = data / "inventories" / "pool-small.records.json"
    done = run(str(Path(__file__).with_name("every_planner.py")), str(inventory), cache=cache, **BY_NUMBA)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["compiled"] == []


def test_searches_in_c_compile_nothing(tmp_path: Path, data: Path) -> None:
    """A first question waits for no compiler, nor for numba to be imported."""
    inventory = data / "inventories" / "pool-small.records.json"
    done = run(str(Path(__file__).with_name("every_planner.py")), str(inventory), cache=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    compiled = json.loads(done.stdout)["compiled"]
    assert [function for function in compiled if function.startswith("xenmem.planning")] == []
    asked = (
        "import sys; from xenmem import planning; planning.pack_sizes([4, 5, 6], [9, 9], 'fewest-hosts');"
        "print('numba' in sys.modules)"
    )
    assert run("-c", asked, cache=tmp_path).stdout == "False\n"


def test_both_engines_answer_the_same(warm: tuple[Path, dict[str, Any]]) -> None:
    cache, _ = warm
    program = str(Path(__file__).parent / "search" / "every_search.py")
    by_c, by_numba = (run(program, "200", cache=cache, **more) for more in ({}, BY_NUMBA))
    assert (by_c.stdout.split()[0], by_numba.stdout.split()[0]) == ("c", "numba"), by_c.stderr + by_numba.stderr
    assert by_c.stdout.splitlines()[1:] == by_numba.stdout.splitlines()[1:]


@pytest.mark.parametrize("shown", [False, True])
def test_compilation_is_announced_once(tmp_path: Path, shown: bool) -> None:
    """The command shows it; a program that uses the library sees it if it asks for the log."""
    arguments = ["-c", COMPILES, *(["show"] if shown else [])]
    first, second = run(*arguments, cache=tmp_path), run(*arguments, cache=tmp_path)
    assert (first.returncode, first.stderr) == (0, ANNOUNCED if shown else "")
    assert (second.returncode, second.stderr) == (0, "")


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str]:
    """The environment of a package in whose folders, and in the user's, nothing can be kept, whoever one is."""
    shutil.copytree(PACKAGE, tmp_path / "xenmem", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in {path.parent for path in (tmp_path / "xenmem").rglob("*.py")}:
        (folder / "__pycache__").write_text("")
    home = tmp_path / "home"
    home.write_text("")
    return {"PYTHONPATH": str(tmp_path), "HOME": str(home), "XDG_CACHE_HOME": str(home)}


def test_without_a_folder_every_process_compiles(nowhere: dict[str, str]) -> None:
    for _ in range(2):
        done = run("-c", COMPILES, "show", cache=Path(os.devnull) / "no", **nowhere)
        assert (done.returncode, done.stderr) == (0, ANNOUNCED_ALWAYS)


def test_warm_up_without_a_folder_is_refused(nowhere: dict[str, str]) -> None:
    done = run("-m", "xenmem", "warm-up", cache=Path(os.devnull) / "no", **nowhere)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "xenmem: error: no folder can keep what is compiled: make that of the package writable, or name one by "
        "NUMBA_CACHE_DIR\n"
    )


ANEW = "from xenmem.kernel._jit import jit\n\n\n@jit\ndef twice(x):\n    return 2 * x\n\n\nassert twice(21) == 42\n"


def halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def garbled(content: bytes) -> bytes:
    """Machine code and all: run, it would end the process."""
    return content[:200] + b"\x0b" * (len(content) - 400) + content[-200:]


@pytest.mark.parametrize("damage", [lambda _: b"", halved, garbled, lambda content: content + b"\0"])
@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_damaged_files_are_compiled_anew(tmp_path: Path, suffix: str, damage: Callable[[bytes], bytes]) -> None:
    (tmp_path / "anew.py").write_text(ANEW)
    cache = tmp_path / "cache"
    assert run("anew.py", cache=cache, folder=tmp_path).returncode == 0
    (kept,) = cache.rglob(f"*.{suffix}")
    kept.write_bytes(damage(kept.read_bytes()))
    done = run("anew.py", cache=cache, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, f"compiling anew what is damaged: {kept}\n")
    again = run("anew.py", cache=cache, folder=tmp_path)
    assert (again.returncode, again.stderr) == (0, "")


def test_files_that_are_folders(tmp_path: Path) -> None:
    """As good as any that cannot be read, whoever one is; nor can they be written."""
    (tmp_path / "anew.py").write_text(ANEW)
    cache = tmp_path / "cache"
    assert run("anew.py", cache=cache, folder=tmp_path).returncode == 0
    (kept,) = cache.rglob("*.nbi")
    kept.unlink()
    kept.mkdir()
    done = run("anew.py", cache=cache, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, f"compiling anew what cannot be read: {kept}: Is a directory\n")


def test_a_disk_without_room(tmp_path: Path) -> None:
    """Whatever was asked is answered all the same."""
    (tmp_path / "anew.py").write_text(ANEW)
    cache = tmp_path / "cache"
    for _ in range(2):
        done = subprocess.run(
            ["sh", "-c", 'ulimit -f 0 && exec "$0" anew.py', sys.executable],
            env=os.environ | {"NUMBA_CACHE_DIR": str(cache)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        (line,) = done.stderr.splitlines()
        assert done.returncode == 0
        assert line.startswith(f"what was compiled is not kept: {cache}")
        assert line.endswith(": File too large")


def test_a_warm_up_that_cannot_be_kept_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing else that it is for."""
    monkeypatch.setattr(compilation, "_questions", lambda: iter(()))
    monkeypatch.setattr(_cache, "failure", lambda: OSError(28, "No space left on device"))
    with pytest.raises(OSError, match="No space left on device"):
        compilation.warm_up()
