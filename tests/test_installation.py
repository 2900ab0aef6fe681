"""Installing from wherever a checkout may lie: below a folder with blanks, where nobody may write, from an sdist; and
what Python finds when it is started at the root of the checkout."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git keeps, below a folder whose name has blanks."""
    root = tmp_path_factory.mktemp("a folder with blanks") / "the checkout"
    files = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                           cwd=ROOT, capture_output=True, check=True, text=True).stdout  # fmt: skip
    for name in filter(None, files.split("\0")):
        if not name.startswith(("tests/", "benchmarks/")) and os.path.lexists(ROOT / name):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name, follow_symlinks=False)
    return root


def _build(kind: str, source: Path, into: Path, *before: str) -> Path:
    command = [
        *before,
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        f"--{kind}",
        "--outdir",
        str(into),
        str(source),
    ]
    done = subprocess.run(command, cwd=into.parent, env=_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(into.iterdir())


def _assert_answers(wheel: Path, tmp_path: Path) -> None:
    """The wheel, unpacked, computes with both backends."""
    target = tmp_path / "unpacked"
    shutil.unpack_archive(wheel, target, "zip")
    program = "from xenmem import kernel; print(kernel.backends(), kernel.overhead(0, 1 << 30, 1, 1.0, backend='c'))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=target, env=_environment(), capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == (f"('c', 'numba') {12 << 20}\n", "")


def test_from_an_sdist_made_below_blanks(checkout: Path, tmp_path: Path) -> None:
    """F7: an sdist could not be installed. What `make man` has made goes along, to where man and shells look for it."""
    made = ["share/man/man1/xenmem.1", "share/bash-completion/completions/xenmem", "share/zsh/site-functions/_xenmem"]
    for name in made:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("made\n")
    (tmp_path / "sdist").mkdir()
    archive = _build("sdist", checkout, tmp_path / "sdist")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {"csrc/build_ffi.py", "csrc/lib.mk", "csrc/example.c", "xenmem/kernel/scalar.py", "Makefile"} <= names
    (tmp_path / "wheel").mkdir()
    shutil.unpack_archive(archive, tmp_path / "source", filter="data")
    wheel = _build("wheel", next((tmp_path / "source").iterdir()), tmp_path / "wheel")
    _assert_answers(wheel, tmp_path)
    with zipfile.ZipFile(wheel) as packed:
        assert [name.partition(".data/data/")[2] for name in packed.namelist() if ".data/" in name] == sorted(made)


def test_from_a_read_only_checkout(checkout: Path, tmp_path: Path) -> None:
    for path in [checkout, *checkout.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)
    before = sorted(checkout.rglob("*"))
    # root may write anywhere, unless it gives that up
    without = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    (tmp_path / "wheel").mkdir()
    try:
        wheel = _build("wheel", checkout, tmp_path / "wheel", *without)
    finally:
        for path in [checkout, *checkout.rglob("*")]:
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | 0o200)
    assert sorted(checkout.rglob("*")) == before
    _assert_answers(wheel, tmp_path)


def test_python_at_the_root_of_the_checkout_has_both_backends() -> None:
    """F6, as README's examples are run: the folder xenmem of the checkout is found before what is installed."""
    program = "from xenmem import kernel; print(kernel.backends(), kernel.__file__)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=_environment(), capture_output=True, text=True)
    assert done.stdout == f"('c', 'numba') {ROOT / 'xenmem' / 'kernel' / '__init__.py'}\n", done.stderr


def _make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env=_environment() | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_make_says_what_lacks(checkout: Path, tmp_path: Path) -> None:
    """F19: an old Python ended in a conflict of versions, and a folder that cannot be written to in one of pip's."""
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo Python 3.10.12 && exit\nexit 1\n')
    old.chmod(0o755)
    done = _make(checkout, "demo", f"PYTHON={old}", f"VENV={tmp_path}/venv")
    assert done.returncode == 2
    assert f"xenmem needs Python 3.11 or later, and {old} is Python 3.10.12: make PYTHON=python3.12 demo" in done.stderr
    done = _make(checkout, "demo", "VENV=/proc/nowhere")
    assert done.returncode == 2
    assert "/proc/nowhere cannot be made here: make VENV=/tmp/xenmem-venv demo" in done.stderr


def test_make_without_a_network(checkout: Path, tmp_path: Path) -> None:
    done = _make(checkout, f"VENV={tmp_path}/venv", "demo", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path))
    assert done.returncode == 2
    assert "Without a network: where there is one 'pip download -r requirements.lock -d wheels'" in done.stderr
