"""Accounts: what is left on every host while VMs start, stop, move and are resized, each in the same short time.

For schedulers that keep a fleet placed. The amounts are the Fleet's and the rules those of the pool in memory; nothing
is checked here but memory. Amounts are bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from xenmem import kernel
from xenmem.columns import POLICIES, Bools, Bytes
from xenmem.planning.checks import integer
from xenmem.planning.pool_view import memory_to_start, room

if TYPE_CHECKING:
    from xenmem.fleet import Fleet
    from xenmem.kernel.accounts import Arrays

NOWHERE: Final = -1


class Accounts:
    """The memory of a fleet's hosts, kept.

    Parameters
    ----------
    fleet : is not changed, nor are its columns
    policy : what counts of a VM on a host: ``static_max``, ``dynamic_max`` or ``dynamic_min``

    Attributes
    ----------
    left : list of int, per host the bytes that are left, below 0 where it is overcommitted
    on : list of int, per VM the row of its host, -1 for none
    amount : list of int, per VM the bytes that it takes where it is, overhead included
    needed : list of int, per VM the bytes that a host must have left for it to start or to arrive

    Raises
    ------
    ValueError : the policy does not exist

    Notes
    -----
    Lists, as one entry at a time is read and written; `arrays` is what a jitted loop of one's own starts from. What a
    migration under way has reserved stays reserved. Rules: docs/reference/memory-model.md, 4 and 5.
    """

    __slots__ = ("_changes", "_fleet", "_next_amount", "amount", "left", "needed", "on")

    def __init__(self, fleet: Fleet, policy: str = "dynamic_min") -> None:
        if policy not in POLICIES:
            raise ValueError(f"policy: {policy!r} is none of {', '.join(POLICIES)}")
        vms = fleet.vms
        self._fleet = fleet
        self.left: list[int] = room(fleet, policy).tolist()
        self.on: list[int] = vms.resident_on.tolist()
        amount, overhead = fleet.amount(policy), fleet.overhead()
        self.amount: list[int] = (amount + np.where(vms.resident_on >= 0, vms.memory_overhead, overhead)).tolist()
        self._next_amount: list[int] = (amount + overhead).tolist()
        self.needed: list[int] = memory_to_start(fleet).tolist()
        self._changes: list[tuple[list[int], int, int]] = []

    def fits(self, vm: int, host: int) -> bool:
        """Whether the host has as much left as the VM must find free there.

        Parameters
        ----------
        vm, host : rows
        """
        return self.left[host] >= self.needed[vm]

    def hosts_that_fit(self, vm: int) -> Bools:
        """Which hosts have as much left: bool array, shape (hosts,).

        Parameters
        ----------
        vm : a row
        """
        fit: Bools = np.array(self.left) >= self.needed[vm]
        return fit

    def free_memory(self) -> Bytes:
        """As `Fleet.free_memory` of a fleet with the VMs where they are now: int64 array, shape (hosts,), bytes."""
        return np.maximum(np.array(self.left, np.int64), 0)

    def start(self, vm: int, host: int) -> None:
        """A VM that is nowhere runs on a host from now on; whether it fits is for the caller to ask.

        Parameters
        ----------
        vm, host : rows

        Raises
        ------
        ValueError, IndexError : the VM is on a host already, or there is no such row
        """
        if self.on[vm] != NOWHERE:
            raise ValueError(f"vm: {self._fleet.vms.label(vm)} is on {self._fleet.hosts.label(self.on[vm])} already")
        self._check(host)
        self._set(self.left, host, self.left[host] - self.amount[vm])
        self._set(self.on, vm, host)

    def stop(self, vm: int) -> None:
        """A VM is on no host any more: it has shut down or is suspended.

        Parameters
        ----------
        vm : a row

        Raises
        ------
        ValueError, IndexError : the VM is on no host, or there is no such row
        """
        host = self._host_of(vm)
        self._set(self.left, host, self.left[host] + self.amount[vm])
        self._set(self.on, vm, NOWHERE)
        self._set(self.amount, vm, self._next_amount[vm])

    def move(self, vm: int, host: int) -> None:
        """A VM has migrated: it is on another host, with the overhead that it had.

        Parameters
        ----------
        vm, host : rows

        Raises
        ------
        ValueError, IndexError : the VM is on no host, or there is no such row
        """
        source = self._host_of(vm)
        self._check(host)
        self._set(self.left, source, self.left[source] + self.amount[vm])
        self._set(self.left, host, self.left[host] - self.amount[vm])
        self._set(self.on, vm, host)

    def resize(self, vm: int, memory: int) -> None:
        """A VM on no host gets so much memory, as by VM.set_memory: all of its limits but static_min are that.

        Parameters
        ----------
        vm : a row
        memory : bytes, at least the VM's memory_static_min

        Raises
        ------
        ValueError, IndexError : the VM is on a host, the amount is out of range, or there is no such row
        """
        if self.on[vm] != NOWHERE:
            raise ValueError(f"vm: {self._fleet.vms.label(vm)} is on a host; its memory is set while it is on none")
        vms = self._fleet.vms
        least = max(1, int(vms.memory_static_min[vm]))
        if not least <= integer("memory", memory) <= kernel.MAX_BYTES:
            raise ValueError(f"memory: {memory} is outside {least}..{kernel.MAX_BYTES}")
        model = self._fleet.pools.model[vms.pool[vm]]
        kind, vcpus, multiplier = vms.domain_type[vm], vms.VCPUs_max[vm], vms.HVM_shadow_multiplier[vm]
        normal, shadow = kernel.required_memory(kind, memory, memory, vcpus, multiplier, model=model)
        taken = memory + int(kernel.overhead(kind, memory, vcpus, multiplier, model=model))
        self._set(self.amount, vm, taken)
        self._set(self._next_amount, vm, taken)
        self._set(self.needed, vm, int(normal + shadow))

    def snapshot(self) -> int:
        """What `rollback` leads back to."""
        return len(self._changes)

    def rollback(self, snapshot: int) -> None:
        """Undo all that was done since a snapshot, in the time that doing it took.

        Parameters
        ----------
        snapshot : of these accounts

        Raises
        ------
        ValueError : it has been undone itself
        """
        if not 0 <= snapshot <= len(self._changes):
            raise ValueError(f"snapshot: {snapshot} is outside 0..{len(self._changes)}")
        while len(self._changes) > snapshot:
            values, row, before = self._changes.pop()
            values[row] = before

    def forget(self) -> None:
        """Give up all snapshots: what was done until now is not undone any more, and takes no memory."""
        self._changes.clear()

    def arrays(self, changes: int) -> Arrays:
        """What is kept now, in arrays for the jitted functions of `kernel.accounts`, and in C; independent from now on.

        Parameters
        ----------
        changes : for how many there is room until the caller gives the earlier ones up
        """
        from xenmem.kernel.accounts import Arrays  # brings numba along

        bytes_ = (np.array(part, np.int64) for part in (self.left, self.amount, self._next_amount, self.needed))
        left, amount, next_amount, needed = bytes_
        journal = np.zeros((changes, 5), np.int64)
        return Arrays(left, np.array(self.on, np.int32), amount, next_amount, needed, journal, np.zeros(1, np.int64))

    def _set(self, values: list[int], row: int, value: int) -> None:
        self._changes.append((values, row, values[row]))
        values[row] = value

    def _check(self, host: int) -> None:
        if not 0 <= host < len(self.left):
            raise IndexError(f"host: there is no host {host}")

    def _host_of(self, vm: int) -> int:
        host = self.on[vm]
        if host == NOWHERE:
            raise ValueError(f"vm: {self._fleet.vms.label(vm)} is on no host")
        return host
