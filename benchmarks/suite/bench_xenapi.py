"""xenmem.xenapi: what messages cost, whether that depends on the size of the pool, and what arrays save."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from xenmem.kernel import checks
from xenmem.xenapi import Pool
from xenmem.xenapi.door.batch import Batch
from xenmem.xenapi.store.saving import save

from . import pools

GIB = 1 << 30
POOLS = [(16, 1_600), (1_000, 100_000)]
MESSAGES = [
    "VM.get_memory_static_max",
    "VM.get_record",
    "host.compute_free_memory",
    "VM.set_memory",
    "VM.set_memory_dynamic_range",
    "VM.start",
    "VM.start_on",
    "VM.hard_shutdown",
    "VM.suspend",
    "VM.pool_migrate",
]


class Message:
    """Is a message's time independent of the size of the pool? One message, of running and of halted VMs in turn."""

    params = (MESSAGES, POOLS)
    param_names = ("message", "hosts and VMs")
    number = 100
    repeat = (3, 10, 20.0)
    timeout = 300

    def setup(self, message: str, size: tuple[int, int]) -> None:
        hosts, vms = size
        self.session = pools.session(hosts, vms)
        self.start = self.session.pool.database.snapshot()
        send = getattr(getattr(self.session.xenapi, message.partition(".")[0]), message.partition(".")[2])
        running = [pools.ref("VM", number) for number in range(0, vms, 2)]
        halted = [pools.ref("VM", number) for number in range(1, vms, 2)]
        some_hosts = [pools.ref("host", number) for number in range(hosts)]
        self.count = 0
        self.send = self._prepare(message, send, running, halted, some_hosts)

    def _prepare(
        self, message: str, send: Callable[..., Any], running: list[str], halted: list[str], hosts: list[str]
    ) -> Callable[[int], Any]:
        database = self.session.pool.database

        def of_static_max(vm: str, part: int) -> str:
            return str(database.VM.rows[vm].memory_static_max // part)

        ways: dict[str, Callable[[int], Any]] = {
            "VM.get_memory_static_max": lambda n: send(running[n % len(running)]),
            "VM.get_record": lambda n: send(running[n % len(running)]),
            "host.compute_free_memory": lambda n: send(hosts[n % len(hosts)]),
            "VM.set_memory": lambda n: send(halted[n % len(halted)], str((4 + n % 2) * GIB)),
            "VM.set_memory_dynamic_range": lambda n: send(
                vm := running[n % len(running)], of_static_max(vm, 2 + n // len(running) % 2), of_static_max(vm, 1)
            ),
            "VM.start": lambda n: send(halted[n], False, False),
            "VM.start_on": lambda n: send(halted[n], hosts[n % len(hosts)], False, False),
            "VM.hard_shutdown": lambda n: send(running[n]),
            "VM.suspend": lambda n: send(running[n]),
            "VM.pool_migrate": lambda n: send(running[n % len(running)], hosts[(n + 1) % len(hosts)], {}),
        }
        return ways[message]

    def time_message(self, message: str, size: tuple[int, int]) -> None:
        number = self.count
        self.count = number + 1
        if number % 500 == 499:  # starts and shutdowns use VMs up
            self.session.pool.database.restore(self.start)
            self.count = 0
        self.send(number)


class Boot:
    """10,000 VMs x 1,000 hosts: what the matrix costs a scheduler that asks for the first time, and again and again."""

    params = ([10_000, 100_000],)
    param_names = ("VMs of the pool",)
    timeout = 300

    def setup(self, size: int) -> None:
        self.session = pools.session(1_000, size)
        self.batch = Batch(self.session)
        self.vms, self.hosts = self.session.xenapi.VM.get_all()[:10_000], self.session.xenapi.host.get_all()
        self.count = 0
        matrix = self.batch.can_boot_here(self.vms, self.hosts)
        for vm, host in ((0, 0), (1, 999), (9_999, 500)):
            reason = self.batch.reason("VM.assert_can_boot_here", self.vms[vm], self.hosts[host])
            if matrix[vm, host] != (reason is None):
                raise AssertionError(f"{self.vms[vm]} on {self.hosts[host]}: {reason}")

    def time_anew(self, size: int) -> None:
        Batch(self.session).can_boot_here(self.vms, self.hosts)

    def time_known(self, size: int) -> None:
        self.batch.can_boot_here(self.vms, self.hosts)

    def time_after_a_message(self, size: int) -> None:
        self.count += 1
        self.session.xenapi.VM.set_memory(pools.ref("VM", size - 1), str((4 + self.count % 4) * GIB))
        self.batch.can_boot_here(self.vms, self.hosts)

    def time_free_memory(self, size: int) -> None:
        self.batch.free_memory()


class Limits:
    """A million set_memory_limits: the bare kernel, and 100 candidates for each of 10,000 VMs of a pool."""

    def setup(self) -> None:
        rng = np.random.default_rng(1)
        self.limits = np.sort(rng.integers(0, 1 << 40, (4, 1_000_000)), axis=0)
        self.pinned = rng.random(1_000_000) < 0.1
        self.session = pools.session(100, 10_000)
        self.vms = self.session.xenapi.VM.get_all()
        self.batch = Batch(self.session)
        self.candidates = np.arange(1, 101)[None, :] * GIB
        self.time_kernel()

    def time_kernel(self) -> None:
        static_min, dynamic_min, dynamic_max, static_max = self.limits
        checks.limits_valid(static_min, static_max, dynamic_min, dynamic_max, self.pinned)

    def time_batch(self) -> None:
        self.batch.may_set_memory_limits(self.vms, 0, self.candidates, GIB, self.candidates)


class Transaction:
    """A thousand messages as one transaction, kept or undone."""

    def setup(self) -> None:
        self.session = pools.session(100, 10_000)
        self.batch = Batch(self.session)
        halted = [pools.ref("VM", number) for number in range(1, 2_000, 2)]
        self.messages = [("VM.set_memory", (vm, str(4 * GIB))) for vm in halted]
        self.start = self.session.pool.database.snapshot()

    def time_apply_and_restore(self) -> None:
        self.batch.apply(self.messages)
        self.session.pool.database.restore(self.start)


class Load:
    """Records of a pool's VMs into the database, beside the bare decoding of the same bytes."""

    params = ([10_000, 100_000],)
    param_names = ("vms",)
    timeout = 600

    def setup(self, vms: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "pool.json"
        save(pools.database(vms // 100, vms), self.path)

    def teardown(self, vms: int) -> None:
        self.folder.cleanup()

    def time_load(self, vms: int) -> None:
        Pool(self.path)

    def time_bare_decoding(self, vms: int) -> None:
        msgspec.json.decode(self.path.read_bytes())


class Records:
    """VM.get_all_records as a client gets it."""

    params = ([1_000, 12_839],)
    param_names = ("vms",)

    def setup(self, vms: int) -> None:
        self.session = pools.session(max(1, vms // 100), vms)

    def time_all_records(self, vms: int) -> None:
        self.session.xenapi.VM.get_all_records()
