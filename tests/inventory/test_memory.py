"""Memory while reading stays small, whatever comes: each case reads from a pipe in a process of limited memory."""

import contextlib
import gzip
import re
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

pytestmark = pytest.mark.slow

GROWTH = """
import xenmem, xenmem.inventory, xenmem.inventory.source

def memory(name):
    return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1]) << 10

before = memory("VmRSS")
try:
    xenmem.read("-")
except xenmem.InventoryError as error:
    print(error)
print(memory("VmHWM") - before)
"""


def read(chunks: Iterable[bytes], program: str = READER) -> str:
    """What the reader says of a stream that ends when it stops listening."""
    command = [sys.executable, "-c", program]
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
    before, uuid, after = re.split(rb'(?<= uuid=")([^"]*)', row)
    rows = (
        b'<row ref="OpaqueRef:%d"' % number + before + uuid[:-12] + b"%012d" % (900 + number) + after + b"/>"
        for number in range(40)
    )
    vms, peak = read(chain([head], rows, [tail])).split()
    assert int(vms) == 41
    assert int(peak) < 250


@pytest.mark.parametrize("value", [b"'k' &quot;%b&quot;", b"'k' '\\\\%b'"], ids=["double quotes", "a backslash"])
def test_a_long_quoted_text(value: bytes) -> None:
    """It took some 200 bytes of memory for each character: possessive repetitions take none."""
    head, tail = b'<database><table name="host"><row ref="a" software_version="((', b'))"/></table></database>'
    answer = read(chain([head], [value % (b"a" * (60 * MIB))], [tail])).split()
    assert answer[0] == "0"
    assert int(answer[1]) < 500


@pytest.mark.parametrize("item", [b"('%d' 'b') ", b"'%d' ", b"('%d') "])
def test_an_expression_of_many_items(item: bytes) -> None:
    head, tail = b'<database><table name="host"><row ref="a" software_version="(', b')"/></table></database>'
    answer = read([head + b"".join(item % number for number in range(2_000_000)) + tail])
    assert "host a: software_version: s-expression has more than 262,144 atoms and brackets" in answer


@pytest.mark.parametrize(
    ("head", "items", "tail"),
    [
        (b"[", repeat(b"0,", 30_000_000), b"0]"),
        (b"[", repeat(b"{},", 20_000_000), b"{}]"),
        (b'{"VM":{', repeat(b'"a":0,', 10_000_000), b'"b":0}}'),
        (b'{"VM":{', (b'"%d":{},' % number for number in range(10**6, 6 * 10**6)), b'"b":{}}}'),
        (b"{", (b'"%d":0,' % number for number in range(10**6, 6 * 10**6)), b'"b":0}'),
        (b'{"VM":{"a":{"groups":[', repeat(b"{},", 20_000_000), b"{}]}}}"),
        (b'{"error":[', repeat(b"{},", 20_000_000), b"{}]}"),
        (b'{"VM_group":{', (b'"%0242d":{},' % number for number in range(400_000)), b'"b":{}},"host":{"h":{}}}'),
    ],
    ids=["numbers", "items", "one name", "members", "classes", "one record", "failure", "rows"],
)
def test_hostile_records_take_at_most_four_times_their_text(head: bytes, items: Iterable[bytes], tail: bytes) -> None:
    document = head + b"".join(items) + tail
    growth = int(read([document], GROWTH).splitlines()[-1])
    assert growth < max(4 * len(document), 200 * MIB)


MANY = range(10**6, 10**6 + 400_000)
ROW = b'<row ref="%d" uuid="%d" memory__static_max="1" VCPUs__max="1"/>'
RECORD = (
    b"uuid ( RO)           : 00000000-0000-4000-8000-00000%d\n"
    b"           name-label ( RW): a\n          power-state ( RO): halted\n"
    b"    memory-static-max ( RW): 1\n            VCPUs-max ( RW): 1\n"
)


@pytest.mark.parametrize(
    ("head", "items", "tail"),
    [
        (b'<table name="VM">', (ROW % (number, number) for number in MANY), b"</table>"),
        (b'<table name="unknown">', (b'<row ref="%d"/>' % number for number in MANY), b"</table>"),
    ],
    ids=["VMs", "unknown"],
)
def test_a_dump_of_short_rows_takes_at_most_four_times_its_text(
    head: bytes, items: Iterable[bytes], tail: bytes
) -> None:
    """The columns of a VM took 13 times the text of a row that has hardly any."""
    document = b"".join(
        (b'<database><manifest/><table name="host"><row ref="h"/></table>', head, *items, tail, b"</database>")
    )
    growth = int(read([document], GROWTH).splitlines()[-1])
    assert growth < max(4 * len(document), 200 * MIB)


def test_a_text_of_short_records_takes_at_most_four_times_itself() -> None:
    document = b"".join(RECORD % number for number in MANY)
    told, growth = read([document], GROWTH).splitlines()
    assert "more than 65,536 rows, and of less than 512 bytes on average" in told
    assert int(growth) < max(4 * len(document), 200 * MIB)


@pytest.mark.parametrize(
    ("item", "times"),
    [
        ("<value>\U00010000</value>", 2_500_000),
        ("<value><struct/></value>", 3_000_000),
        ("<value><array><data/></array></value>", 2_000_000),
        ("<value><struct><member><name>a</name><value/></member></struct></value>", 1_000_000),
    ],
    ids=["texts", "structs", "arrays", "members"],
)
def test_hostile_answers_take_at_most_four_times_their_text(item: str, times: int) -> None:
    """They took up to seven times."""
    array = item.encode() * times
    document = (
        b"<methodResponse><params><param><value><array><data>%b</data></array></value></param></params></methodResponse>"
    ) % array
    growth = int(read([document], GROWTH).splitlines()[-1])
    assert growth < max(4 * len(document), 200 * MIB)
