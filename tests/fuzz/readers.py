"""Files that nobody should send: an InventoryError of one short line comes out, or a fleet that counts right."""

import io
from random import Random
from typing import Any

from fuzz import inventories

import xenmem
from xenmem import InventoryError
from xenmem.xenapi import Pool

LONGEST = 2000
"""Characters of a refusal."""


class Dribbling(io.RawIOBase):
    """A file that gives a few bytes at a time."""

    def __init__(self, text: bytes, random: Random) -> None:
        self.inner, self.random = io.BytesIO(text), random

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self.inner.read(min(len(buffer), self.random.randrange(1, 400)))
        buffer[: len(piece)] = piece
        return len(piece)


class Fuzzer:
    """Reads one file after the other, as a Fleet and now and then as a Pool."""

    def __init__(self) -> None:
        self.text = b""

    def run(self, random: Random) -> int:
        """Try one file; how many inputs that were."""
        tables = inventories.odd(random)
        inventories.spoil(random, tables)
        self.text = inventories.file(random, tables)
        lenient = random.random() < 0.3
        format = random.choice(("statedb", "records", "xe")) if random.random() < 0.03 else None
        source = Dribbling(self.text, random) if random.random() < 0.05 else io.BytesIO(self.text)
        fleet = refused(lambda: xenmem.read(source, format=format, lenient=lenient))  # type: ignore[arg-type]
        if fleet is not None:
            check(fleet)
        if random.random() < 0.02:
            pool = refused(lambda: Pool(io.BytesIO(self.text), lenient=lenient, seed=1))
            if pool is not None:
                read_back(pool, random)
        return 1

    def example(self) -> bytes:
        """The last file."""
        return self.text


def refused(read: Any) -> Any:
    """What is read; None if it is refused, as it may be."""
    try:
        return read()
    except InventoryError as error:
        text = str(error)
        assert text.isprintable(), text
        assert len(text) < LONGEST, len(text)
        return None


def check(fleet: Any) -> None:
    """Free memory is what it is by adding up, and every answer is in its range."""
    hosts, vms = fleet.hosts, fleet.vms
    for policy in ("static_max", "dynamic_max", "dynamic_min"):
        left = [
            max(total, 0) - own
            for total, own in zip(hosts.memory_total.tolist(), hosts.memory_overhead.tolist(), strict=True)
        ]
        amounts = fleet.amount(policy).tolist()
        for places in (vms.resident_on.tolist(), vms.scheduled_to_be_resident_on.tolist()):
            for place, amount, overhead in zip(places, amounts, vms.memory_overhead.tolist(), strict=True):
                if place >= 0:
                    left[place] -= amount + overhead
        assert fleet.free_memory(policy).tolist() == [max(0, amount) for amount in left]
        assert (fleet.start_memory(policy) > 0).all()
    assert (fleet.overhead() > 0).all()
    for name in ("memory_static_max", "memory_overhead", "VCPUs_max"):
        column = getattr(vms, name)
        assert ((column >= 0) & (column <= 1 << 50)).all(), name
    for place in (vms.resident_on, vms.scheduled_to_be_resident_on, vms.affinity):
        assert ((place >= -1) & (place < len(hosts))).all()
    assert len(fleet.stored_overhead_model()) == len(vms)


def read_back(pool: Pool, random: Random) -> None:
    """A pool that could be read can be saved and read again, and is the same."""
    from xenmem.xenapi.store import saving

    format = random.choice(saving.FORMATS)
    file = io.BytesIO()
    saving.write(pool.database, file, format)
    again = Pool(io.BytesIO(file.getvalue()), seed=1)
    for name, table in pool.database.tables.items():
        if table.schema.persistent:
            assert again.database.tables[name].rows.keys() == table.rows.keys(), name
