"""Inventories as they come: packed by gzip, bzip2, xz, zstd, in tar and zip archives, from files and through pipes."""

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

import xenmem
from xenmem.inventory import packed

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor().compress,
}


@pytest.fixture
def dump(data: Path) -> bytes:
    return (data / "inventories" / "pool-small.statedb.xml").read_bytes()


def tar(mode: str = "w", **members: bytes) -> bytes:
    """An archive; the names of members have two underscores for a slash."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name.replace("__", "/"))
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bug-report/", b"")
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return stream.getvalue()


def vms(source: object) -> list[str]:
    found: list[str] = xenmem.read(source).vms.uuid.tolist()  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("kind", PACKERS)
def test_a_packed_dump(dump: bytes, kind: str) -> None:
    expected = vms(io.BytesIO(dump))
    content = PACKERS[kind](dump)
    assert vms(io.BytesIO(content)) == expected
    half = len(dump) // 2  # two streams in a row are one, as the programs have it
    assert vms(io.BytesIO(PACKERS[kind](dump[:half]) + PACKERS[kind](dump[half:]))) == expected


OTHER = {"report__readme.txt": b"of the pool", "report__inventory.xml": b"<inventory/>", "report__empty": b""}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz", "zst", "zip"])
def test_a_bug_report(dump: bytes, tmp_path: Path, mode: str) -> None:
    """F21: README said that bug reports are read, and the archive was neither a dump nor records nor text."""
    members = {**OTHER, "report__" + "long" * 40 + "__xapi-db.xml": dump}
    content = zipped(**members) if mode == "zip" else tar("w" if mode == "zst" else mode, **members)
    if mode == "zst":
        content = PACKERS["zst"](content)
    path = tmp_path / "report"
    path.write_bytes(content)
    fleet = xenmem.read(path)
    assert fleet.vms.uuid.tolist() == vms(io.BytesIO(dump))
    assert fleet.pools.source[0] == f"{path}/report/{'long' * 40}/xapi-db.xml"


@pytest.mark.parametrize("pack", [tar, zipped])
@pytest.mark.parametrize("order", [1, -1])
def test_the_dump_made_for_the_report_comes_before_the_one_on_disk(
    dump: bytes, pack: Callable[..., bytes], order: int
) -> None:
    stale = dump.replace(b"lab-git-011", b"old-git-011")
    members = dict([("report__xapi-db.xml", stale), ("report__xapi-db-dumped.xml", dump)][::order])
    assert "lab-git-011" in xenmem.read(io.BytesIO(pack(**members))).vms.name_label
    only = xenmem.read(io.BytesIO(pack(report__xapi_db=b"", **{"report__xapi-db.xml": stale})))
    assert "old-git-011" in only.vms.name_label


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zst", "tar", "zip", "tar.bz2"])
def test_pipes(dump: bytes, tmp_path: Path, kind: str) -> None:
    """A named pipe hung for ever, and process substitution found an empty file: each file is read once."""
    if kind == "zip":
        content = zipped(**{"xapi-db.xml": dump})
    elif kind.startswith("tar"):
        content = tar("w:bz2" if kind == "tar.bz2" else "w", **{"xapi-db.xml": dump})
    else:
        content = PACKERS[kind](dump)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    assert vms(path) == vms(io.BytesIO(dump))
    writer.join()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (tar(a=b"x", b=b"y"), "the archive holds no inventory: none of its 2 files is one"),
        (zipped(a=b"x"), "the archive holds no inventory: none of its 1 files is one"),
        (tar(**{"report__xapi-db.xml": b""}), "is empty; a bug report holds an empty dump when its own parser failed"),
        (zipped(a=os.urandom(1000))[:300], "the zip archive is damaged or cut short"),
        (tar(a=b"x")[:256] + b"\0ustar" + b"\7" * 600, "the tar archive is damaged"),
        (tar(**{"xapi-db.xml": b"<database>" + b" " * 9000})[:4096], "the tar archive is cut short"),
        (bz2.compress(b"<database/>" * 9)[:30], "the bzip2 file is cut short"),
        (lzma.compress(b"<database/>" * 9)[:40], "the xz file is"),
        (b"BZh91AY&SYnonsense", "the bzip2 file is damaged or cut short: "),
        (PACKERS["zst"](b"<database/>" * 9)[:12] + b"\7" * 9, "the zstd file is "),
        (
            gzip.compress(gzip.compress(gzip.compress(gzip.compress(gzip.compress(b"<database/>"))))),
            "more than 4 times",
        ),
    ],
)
def test_what_cannot_be_unpacked(content: bytes, expected: str) -> None:
    with pytest.raises(xenmem.InventoryError, match=expected):
        xenmem.read(io.BytesIO(content))


@pytest.mark.parametrize("kind", PACKERS)
def test_bombs(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(packed, "MAX_UNPACKED_BYTES", 1 << 20)
    with pytest.raises(xenmem.InventoryError, match="200 times its size"):
        xenmem.read(io.BytesIO(PACKERS[kind](tar(a=b"\0" * (20 << 20)))))


MEASURED = """
import resource, sys, xenmem
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    xenmem.read(sys.argv[1])
except xenmem.InventoryError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@pytest.mark.parametrize("kind", ["tar", "zip", "xz", "zst"])
def test_memory_is_bounded(tmp_path: Path, kind: str) -> None:
    """A large member that is none, and windows of hundreds of MiB: refused or skipped within little memory."""
    noise = os.urandom(1 << 20) * 300
    if kind == "xz":
        filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 512 << 20}]
        content = lzma.compress(b"<database>", filters=filters)
    elif kind == "zst":
        parameters = zstandard.ZstdCompressionParameters(window_log=29, compression_level=1)
        engine = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        content = engine.compress(noise) + engine.flush()
    else:
        content = (tar if kind == "tar" else zipped)(a=noise)
    path = tmp_path / "large"
    path.write_bytes(content)
    del content
    done = subprocess.run([sys.executable, "-c", MEASURED, str(path)], capture_output=True, text=True, check=True)
    *lines, grown = done.stdout.splitlines()
    assert lines
    assert int(grown) < 150
