"""The installed package: what a user gets is what was tested, with one version number and its types."""

import ast
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import xenmem
from xenmem import kernel

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(xenmem.__file__).parent


def test_the_installed_package_is_tested() -> None:
    assert ROOT not in PACKAGE.parents or ".venv" in PACKAGE.parts


def test_one_version() -> None:
    header = re.search(r'#define XENMEM_VERSION "(.+)"', (ROOT / "csrc" / "xenmem.h").read_text())
    assert header is not None
    version = header[1]
    assert importlib.metadata.version("xenmem") == version
    assert xenmem.__version__ == version
    assert (ROOT / "CHANGELOG.md").read_text().split("## ")[1].startswith(version)
    if "c" in kernel.backends():
        from xenmem.kernel._ffi import ffi, lib

        assert ffi.string(lib.xenmem_version()).decode() == version


def test_types_are_shipped() -> None:
    assert (PACKAGE / "py.typed").exists()
    assert (PACKAGE / "kernel" / "_ffi.pyi").exists()


LAYERS = {
    "kernel": set(),
    "datamodel": {"_lazy"},
    "replacing": set(),
    "arrow": set(),
    "notebook": {"text", "units"},
    "columns": {"arrow", "kernel", "notebook"},
    "units": set(),
    "text": set(),
    "rules": {"columns", "kernel", "units"},
    "inventory": {"arrow", "columns", "datamodel", "kernel", "replacing", "rules", "text", "units"},
    "edits": {"columns", "inventory", "kernel", "rules"},
    "fleet": {"columns", "edits", "inventory", "kernel", "notebook", "rules"},
    "dataset": {"fleet", "inventory"},
    "planning": {"_lazy", "columns", "fleet", "kernel", "notebook", "rules", "text", "units"},
    "history": {"inventory", "units"},
    "xenapi": {
        "_lazy",
        "columns",
        "datamodel",
        "fleet",
        "inventory",
        "kernel",
        "planning",
        "replacing",
        "rules",
        "text",
        "units",
    },
    "answers": {
        "_lazy",
        "arrow",
        "columns",
        "datamodel",
        "dataset",
        "fleet",
        "history",
        "kernel",
        "notebook",
        "rules",
        "text",
        "units",
        "inventory",
        "planning",
        "xenapi",
    },
    "mirror": {"columns", "dataset", "fleet", "inventory", "replacing"},
    "page": {"_lazy", "answers", "columns", "fleet", "kernel", "planning", "rules", "text", "units"},
    "plot": {"_lazy", "answers", "columns", "fleet", "kernel", "text", "units"},
    "exposition": set(),
    "distributed": {"answers", "dataset", "inventory"},
    "server": {"datamodel", "exposition", "kernel", "page", "rules", "xenapi"},
    "exporter": {
        "answers",
        "columns",
        "exposition",
        "fleet",
        "kernel",
        "mirror",
        "page",
        "planning",
        "rules",
        "server",
        "units",
    },
}
"""What each room may import of xenmem."""


ROOMS_OF_XENAPI = ("store", "world", "calls", "rules", "messages", "door")
"""The rooms inside xenapi, each of which imports itself and those before it; api.pyi, the facade, is the door's."""


def imported(path: Path) -> Iterator[str]:
    """The modules of xenmem that a file imports, for its types as well."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [
                f"{node.module}.{alias.name}" if node.module in ("xenmem", "xenmem.xenapi") else node.module or ""
                for alias in node.names
            ]
        yield from (name for name in names if name.startswith("xenmem."))


def files_of(room: Path) -> list[Path]:
    """The files of a room, which may be one."""
    return [room.with_suffix(".py")] if room.with_suffix(".py").exists() else sorted(room.rglob("*.py"))


@pytest.mark.parametrize("room", LAYERS)
def test_imports_run_in_one_direction(room: str) -> None:
    files = files_of(PACKAGE / room)
    assert files
    for path in files:
        for name in imported(path):
            assert name.split(".")[1] in LAYERS[room] | {room}, f"{path.name} imports {name}"


@pytest.mark.parametrize("room", ROOMS_OF_XENAPI)
def test_imports_run_in_one_direction_inside_xenapi(room: str) -> None:
    files = files_of(PACKAGE / "xenapi" / room)
    assert files
    allowed = {*ROOMS_OF_XENAPI[: ROOMS_OF_XENAPI.index(room) + 1], *(("api",) if room == "door" else ())}
    for path in files:
        for name in imported(path):
            if name.startswith("xenmem.xenapi."):
                assert name.split(".")[2] in allowed, f"{path.name} imports {name}"


def test_import_is_light() -> None:
    """Importing xenmem brings neither numba nor NumPy; numba comes with neither the array API nor a pool in memory."""
    program = (
        "import sys, xenmem; assert not {'numba', 'numpy'} & set(sys.modules);"
        "from xenmem import kernel; kernel.overhead(0, 1 << 30, 1, 1.0, backend='c');"
        "from xenmem.xenapi import Database, Pool, connect; assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-P", "-c", program], check=True)
