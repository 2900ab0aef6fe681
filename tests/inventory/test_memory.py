"""Memory while reading stays small, whatever comes: each case reads from a pipe in a process of limited memory."""

import contextlib
import gzip
import subprocess
import sys
from collections.abc import Iterable
from itertools import chain, repeat
from typing import Any

import pytest
from dumps import dump, pool

LIMIT = 1 << 30
MIB = 1 << 20

READER = f"""
import resource, sys
import xenmem, xenmem.inventory
resource.setrlimit(resource.RLIMIT_AS, ({LIMIT}, {LIMIT}))
try:
    fleet = xenmem.read("-")
except xenmem.InventoryError as error:
    print(error)
else:
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
    print(len(fleet.vms), int(peak.split()[1]) >> 10)
"""


def read(chunks: Iterable[bytes]) -> str:
    """What the reader says of a stream that ends when it stops listening."""
    command = [sys.executable, "-c", READER]
    with subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            for chunk in chunks:
                process.stdin.write(chunk)
        process.stdin.close()
        answer = process.stdout.read().decode()
    assert process.returncode == 0
    return answer


HEAD = b'<database><table name="VM"><row ref="a" name__label="'


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        (chain([HEAD], repeat(b"x" * MIB, 1000)), "a tag or comment of more than 64 MiB"),
        (chain([HEAD.replace(b"VM", b"VBD")], repeat(b"x" * MIB, 1000)), "a tag or comment of more than 64 MiB"),
        (chain([b"<database>"], repeat(b"<table>" * MIB, 100)), "<table> within <table>"),
        (chain([b'<database><table name="VBD">'], repeat(b"<row>" * MIB, 100)), "<row> within <row>"),
        (repeat(b"x" * MIB, 1000), "neither a database dump"),
        (
            chain([b"uuid ( RO)     : 00000000-0000-4000-8000-000000000000\n"], repeat(b"x" * MIB, 1000)),
            "longer than 16 MiB",
        ),
        (chain([b"<methodResponse><params><param><value>"], repeat(b"x" * MIB, 1000)), "more than 256 MiB"),
    ],
    ids=["attribute", "skipped attribute", "tables", "rows", "text", "line", "answer"],
)
def test_endless_input(chunks: Iterable[bytes], message: str) -> None:
    assert message in read(chunks)


def test_a_gzip_bomb() -> None:
    bomb = gzip.compress(HEAD + b"x" * (300 * MIB), compresslevel=1)
    assert len(bomb) < 4 * MIB
    assert "a tag or comment of more than 64 MiB" in read([bomb])


@pytest.mark.parametrize("field", [{"snapshot_metadata": "x" * (8 * MIB)}, {"platform": {"x": "y" * (8 * MIB)}}])
def test_memory_grows_with_the_columns_not_with_the_file(field: dict[str, Any]) -> None:
    document = dump(pool(**field))
    head, rest = document.split(b'<row ref="OpaqueRef:00000000-0000-4000-8000-000000000004"', 1)
    row, tail = rest.split(b"/>", 1)
    rows = (b'<row ref="OpaqueRef:%d"' % number + row + b"/>" for number in range(40))
    vms, peak = read(chain([head], rows, [tail])).split()
    assert int(vms) == 41
    assert int(peak) < 250
