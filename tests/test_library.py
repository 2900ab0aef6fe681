"""libxenmem by itself: `make lib` gives what a C program needs to compile, link and run against it."""

import ctypes
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pools import MIB, pool

from xenmem import kernel, planning
from xenmem.kernel import accounts as jitted

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `make install-lib` has put the library."""
    prefix = tmp_path_factory.mktemp("prefix")
    tree = tmp_path_factory.mktemp("tree")
    for folder in ("csrc", "kernel"):
        shutil.copytree(ROOT / folder, tree / folder)
    (tree / "xenmem").mkdir()
    (tree / "xenmem" / "kernel").symlink_to("../kernel")
    shutil.copy(ROOT / "Makefile", tree)
    subprocess.run(["make", "-s", "-C", str(tree), "install-lib", f"PREFIX={prefix}"], check=True)
    return prefix


def flags(prefix: Path) -> list[str]:
    """What pkg-config answers for `--cflags --libs xenmem`; it need not be installed."""
    text = (prefix / "lib" / "pkgconfig" / "xenmem.pc").read_text()
    for name, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        value = value.replace("${prefix}", str(prefix))
        text = text.replace(f"${{{name}}}", value)
    keywords = dict(re.findall(r"^(\w+): (.*)$", text, re.MULTILINE))
    return keywords["Cflags"].split() + keywords["Libs"].split()


def test_pkg_config_version(prefix: Path) -> None:
    header = (ROOT / "csrc" / "xenmem.h").read_text()
    version = re.search(r'#define XENMEM_VERSION "(.+)"', header)
    assert version is not None
    assert f"Version: {version[1]}\n" in (prefix / "lib" / "pkgconfig" / "xenmem.pc").read_text()
    assert (prefix / "include" / "xenmem.h").read_text() == header


@pytest.mark.parametrize("header", ["xenmem.h", "xenmem_inline.h"])
def test_header_alone(prefix: Path, tmp_path: Path, header: str) -> None:
    source = tmp_path / "alone.c"
    source.write_text(f'#include "{header}"\n')
    command = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{prefix}/include", "-c", str(source)]
    subprocess.run([*command, "-o", str(tmp_path / "alone.o")], check=True)


def test_example(prefix: Path, tmp_path: Path) -> None:
    program = tmp_path / "example"
    command = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", str(ROOT / "csrc" / "example.c"), *flags(prefix)]
    subprocess.run([*command, f"-Wl,-rpath,{prefix}/lib", "-o", str(program)], check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "host 0: 2567 MiB free; a VM of 8192 MiB needs 8263 MiB: does not fit; the largest: 2540 MiB",
        "host 1: 31805 MiB free; a VM of 8192 MiB needs 8263 MiB: fits; the largest: 31551 MiB",
        "host 2: 7311 MiB free; a VM of 8192 MiB needs 8263 MiB: does not fit; the largest: 7247 MiB",
        "started on host 1, which has 23542 MiB left",
        "taken back: host 1 has 31805 MiB left",
    ]


def test_example_in_rust(prefix: Path, tmp_path: Path) -> None:
    """Where its compiler is."""
    compiler = shutil.which("rustc")
    if compiler is None:
        return
    program = tmp_path / "place"
    search = ["-L", str(prefix / "lib"), "-l", "xenmem", "-C", f"link-arg=-Wl,-rpath,{prefix}/lib"]
    subprocess.run([compiler, "-O", str(ROOT / "examples" / "place.rs"), *search, "-o", str(program)], check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "VM 0 starts on host 0",
        "VM 1 starts on host 1",
        "VM 2 fits nowhere",
        "VM 3 fits nowhere",
        "with two VMs: 3963 and 3995 MiB left",
    ]


def test_only_public_names_leave_the_library(prefix: Path) -> None:
    library = next((prefix / "lib").glob("libxenmem.so.*.*"))
    listed = subprocess.run(["nm", "-D", "--defined-only", str(library)], capture_output=True, text=True, check=True)
    names = {line.split()[-1] for line in listed.stdout.splitlines()}
    headers = [(prefix / "include" / header).read_text() for header in ("xenmem.h", "xenmem_inline.h")]
    declared = set(re.findall(r"\b(xenmem_\w+)\(", headers[0]))
    declared |= set(re.findall(r"^XENMEM_INLINE .*?\b(xenmem_\w+)\(", headers[1], re.MULTILINE))
    assert names == declared


@pytest.fixture(scope="module")
def library(prefix: Path) -> ctypes.CDLL:
    return ctypes.CDLL(str(prefix / "lib" / "libxenmem.so"))


def test_models_are_those_of_the_package(library: ctypes.CDLL) -> None:
    library.xenmem_model_for.restype = ctypes.POINTER(ctypes.c_int64)
    versions = [f"{major}.{minor}{rest}" for major in (0, 1, 2, 20, 21, 26) for minor in (0, 2, 3, 77, 78, 213, 214)
                for rest in ("", ".1", "-rc1", "x")]  # fmt: skip
    for version in [
        *versions,
        *kernel.MODELS,
        *kernel.PRODUCTS,
        "",
        "26",
        "26.",
        "26.3 ",
        "x",
        "1234567890",
        "26.3.x y",
    ]:
        try:
            expected = kernel.model_for(version)
        except ValueError:
            expected = None
        if expected and not re.match(r"\d", version) and version not in [*kernel.MODELS, *kernel.PRODUCTS]:
            continue
        found = library.xenmem_model_for(version.encode())
        assert bool(found) == (expected is not None), version
        if expected:
            constants = [part for field in expected[:-1] for part in (field if isinstance(field, tuple) else (field,))]
            assert found[: len(constants)] == constants, version


def test_status_texts(library: ctypes.CDLL) -> None:
    library.xenmem_status_text.restype = ctypes.c_char_p
    texts = [library.xenmem_status_text(status) for status in (0, 3, 13, 14, -1)]
    assert texts[:3] == [b"", b"static_max: out of range", b"scheduled_on: out of range"]
    assert texts[3:] == [b"no status of this library"] * 2


class Column(ctypes.Structure):
    _fields_ = (("at", ctypes.c_void_p), ("n", ctypes.c_int64))


class Journal(ctypes.Structure):
    _fields_ = (("at", ctypes.c_void_p), ("n", ctypes.c_int64), ("m", ctypes.c_int64))


class Kept(ctypes.Structure):
    _fields_ = tuple((name, Journal if name == "journal" else Column) for name in jitted.Arrays._fields)


class InC:
    """The accounts of the library, called as the jitted ones."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._library, f"xenmem_accounts_{name}")
        function.restype = None if name == "rollback" else ctypes.c_bool

        def call(kept: jitted.Arrays, *rows: int) -> Any:
            columns = [(Journal if one.ndim == 2 else Column)(one.ctypes.data, *one.shape) for one in kept]
            return function(Kept(*columns), *map(ctypes.c_int64, rows))

        return call


@pytest.mark.parametrize("engine", ["c", "numba"])
def test_accounts_are_those_of_the_package(library: ctypes.CDLL, engine: str) -> None:
    """Step by step; a step that the one refuses by an error the others refuse by giving false."""
    functions: Any = InC(library) if engine == "c" else jitted
    draw = random.Random(7)
    fleet = pool([6000, 8000, 5000], [(1000, 0), (1200, 1), (700, 1), (1500, None), (800, None), (600, 2)])
    accounts = planning.Accounts(fleet)
    kept = accounts.arrays(changes=300)
    marks = []
    for _ in range(400):
        vm, host = draw.randrange(6), draw.randrange(3)
        step, *rows = draw.choice([("start", vm, host), ("stop", vm), ("move", vm, host), ("mark",), ("rollback",)])
        if step == "mark":
            marks.append((accounts.snapshot(), int(kept.length[0])))
        elif step == "rollback":
            if marks:
                own, other = marks.pop()
                accounts.rollback(own)
                functions.rollback(kept, other)
        else:
            before = accounts.snapshot()
            try:
                getattr(accounts, step)(*rows)
            except ValueError:
                assert accounts.snapshot() == before
            assert functions.fits(kept, vm, host) == accounts.fits(vm, host)
            assert getattr(functions, step)(kept, *rows) == (accounts.snapshot() > before)
        assert (kept.left.tolist(), kept.on.tolist(), kept.amount.tolist()) == (
            accounts.left,
            accounts.on,
            accounts.amount,
        )


def test_jitted_accounts_resize_and_end_with_their_journal() -> None:
    accounts = planning.Accounts(pool([6000], [(1000, None)]))
    kept = accounts.arrays(changes=2)
    accounts.resize(0, 2000 * MIB + 1)
    assert jitted.resize(kept, 0, 2000 * MIB + 1, kernel.MODELS[kernel.DEFAULT_MODEL], kernel.DomainType.HVM, 1, 1.0)
    assert (kept.amount.tolist(), kept.needed.tolist()) == (accounts.amount, accounts.needed)
    assert jitted.start(kept, 0, 0)
    assert not jitted.stop(kept, 0)
    assert not jitted.resize(kept, 0, MIB, kernel.MODELS[kernel.DEFAULT_MODEL], kernel.DomainType.HVM, 1, 1.0)
    assert np.array_equal(kept.on, [0])
