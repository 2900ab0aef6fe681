"""libxenmem by itself: `make lib` gives what a C program needs to compile, link and run against it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `make install-lib` has put the library."""
    prefix = tmp_path_factory.mktemp("prefix")
    tree = tmp_path_factory.mktemp("tree")
    shutil.copytree(ROOT / "csrc", tree / "csrc")
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


def test_header_alone(prefix: Path, tmp_path: Path) -> None:
    source = tmp_path / "alone.c"
    source.write_text('#include "xenmem.h"\n')
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
    ]


def test_only_public_names_leave_the_library(prefix: Path) -> None:
    library = next((prefix / "lib").glob("libxenmem.so.*.*"))
    listed = subprocess.run(["nm", "-D", "--defined-only", str(library)], capture_output=True, text=True, check=True)
    names = {line.split()[-1] for line in listed.stdout.splitlines()}
    declared = set(re.findall(r"\b(xenmem_\w+)\(", (ROOT / "csrc" / "xenmem.h").read_text()))
    assert names == declared
