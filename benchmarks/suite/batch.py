"""Batch: many questions to a pool as arrays, beside the same questions one by one."""

from functools import cache
from typing import Any

import numpy as np

from xenmem.kernel import checks
from xenmem.units import GIB
from xenmem.xenapi import Session
from xenmem.xenapi.door.batch import Batch

from . import arrays, databases

VMS, HOSTS, POOL = 10_000, 1_000, 100_000
PAIRS = [(vm, host) for vm in range(20) for host in range(100)]


class BootMatrix:
    """10,000 VMs x 1,000 hosts: what does a scheduler pay that asks for the first time, again, and pair by pair?

    `pair_by_pair` asks for 2,000 of the 10,000,000 pairs. The pool has 100,000 VMs.
    """

    rounds = 1
    timeout = 300

    def setup(self) -> None:
        self.session, self.batch, self.vms, self.hosts = asked()
        self.memory = 0

    def time_new(self) -> None:
        Batch(self.session).can_boot_here(self.vms, self.hosts)

    def time_kept(self) -> None:
        self.batch.can_boot_here(self.vms, self.hosts)

    def time_kept_after_a_message(self) -> None:
        self.memory = 4 + (self.memory + 1) % 4
        self.session.xenapi.VM.set_memory(databases.ref("VM", POOL - 1), str(self.memory * GIB))
        self.batch.can_boot_here(self.vms, self.hosts)

    def time_pair_by_pair(self) -> None:
        reason = self.batch.reason
        for vm, host in PAIRS:
            reason("VM.assert_can_boot_here", self.vms[vm], self.hosts[host])

    def time_free_memory(self) -> None:
        self.batch.free_memory()


@cache
def asked() -> tuple[Session, Batch, list[str], list[str]]:
    """The pool, and whom the questions are about; the matrix says what the messages say."""
    session = databases.session(HOSTS, POOL)
    batch = Batch(session)
    some, hosts = session.xenapi.VM.get_all()[:VMS], session.xenapi.host.get_all()
    matrix = batch.can_boot_here(some, hosts)
    for vm, host in ((0, 0), (1, HOSTS - 1), (VMS - 1, 500)):
        reason = batch.reason("VM.assert_can_boot_here", some[vm], hosts[host])
        if matrix[vm, host] != (reason is None):
            raise AssertionError(f"{some[vm]} on {hosts[host]}: {reason}")
    return session, batch, some, hosts


class Limits:
    """A million set_memory_limits: the bare kernel, 100 candidates for each of 10,000 VMs of a pool, plain Python.

    Plain Python looks at 10,000 of them.
    """

    def setup(self) -> None:
        self.columns, self.pinned, self.rows, self.batch, self.vms = limits()
        self.candidates = np.arange(1, 101)[None, :] * GIB

    def time_kernel(self) -> None:
        checks.limits_valid(*self.columns, self.pinned)

    def time_batch(self) -> None:
        self.batch.may_set_memory_limits(self.vms, 0, self.candidates, GIB, self.candidates)

    def time_plain_python(self) -> None:
        plain_limits_valid(self.rows)


def plain_limits_valid(rows: list[list[Any]]) -> list[bool]:
    return [
        0 <= low <= bottom <= top <= high and (not pinned or bottom == top == high)
        for low, high, bottom, top, pinned in rows
    ]


@cache
def limits() -> tuple[list[arrays.Array], arrays.Array, list[list[Any]], Batch, list[str]]:
    """static_min, static_max, dynamic_min, dynamic_max; who is pinned; 10,000 of them as rows; a pool, its VMs."""
    rng = np.random.default_rng(1)
    static_min, dynamic_min, dynamic_max, static_max = np.sort(rng.integers(0, 1 << 40, (4, 1_000_000)), axis=0)
    columns, pinned = [static_min, static_max, dynamic_min, dynamic_max], rng.random(1_000_000) < 0.1
    rows = [list(row) for row in zip(*(column[:10_000].tolist() for column in (*columns, pinned)), strict=True)]
    if np.asarray(checks.limits_valid(*columns, pinned))[:10_000].tolist() != plain_limits_valid(rows):
        raise AssertionError("the kernel finds other limits valid than plain Python")
    session = databases.session(100, 10_000)
    return columns, pinned, rows, Batch(session), session.xenapi.VM.get_all()


class Transaction:
    """What do a thousand messages cost as one transaction, and what does it cost to undo them?"""

    def setup(self) -> None:
        self.session, self.batch, self.messages, start = transaction()
        self.session.pool.database.restore(start)
        self.start = start

    def time_apply(self) -> None:
        self.batch.apply(self.messages)

    def time_apply_and_restore(self) -> None:
        self.batch.apply(self.messages)
        self.session.pool.database.restore(self.start)


@cache
def transaction() -> tuple[Session, Batch, list[Any], Any]:
    session = databases.session(100, 10_000)
    messages = [("VM.set_memory", (databases.ref("VM", number), str(4 * GIB))) for number in range(1, 2_000, 2)]
    return session, Batch(session), messages, session.pool.database.snapshot()
