"""Accounts as jitted functions over arrays, for a scheduling loop of one's own that is compiled.

What `planning.Accounts` keeps in lists stands in arrays here; `Accounts.arrays` of that gives them. The same functions
are in C, in xenmem_inline.h, translated from this file. A function that changes nothing gives false: the VM is on a
host already, or on none, or the journal is full. Rows are not checked. Amounts are bytes.

>>> import numba
>>> from xenmem.kernel import accounts
>>> @numba.njit
... def place(kept, vm):
...     for host in range(len(kept.left)):
...         if accounts.fits(kept, vm, host):
...             return accounts.start(kept, vm, host)
...     return False
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import scalar
from ._jit import inlined
from .model import OverheadModel

Bytes = NDArray[np.int64]
Rows = NDArray[np.int32]


class Arrays(NamedTuple):
    """What is kept.

    Attributes
    ----------
    left : per host the bytes that are left, below 0 where it is overcommitted
    on : per VM the row of its host, -1 for none
    amount : per VM the bytes that it takes where it is, overhead included
    next_amount : per VM those that it will take when it starts next
    needed : per VM the bytes that a host must have left for it to start or to arrive
    journal : shape (changes, 5), what a change began with: the VM, and its entries above
    length : shape (1,), how many changes the journal holds: what `rollback` leads back to
    """

    left: Bytes
    on: Rows
    amount: Bytes
    next_amount: Bytes
    needed: Bytes
    journal: Bytes
    length: Bytes


@inlined
def fits(kept: Arrays, vm: int, host: int) -> bool:
    """Whether the host has as much left as the VM must find free there."""
    return bool(kept.left[host] >= kept.needed[vm])


@inlined
def _note(kept: Arrays, vm: int) -> bool:
    """Write down what a VM has, if there is room."""
    place = kept.length[0]
    if place == len(kept.journal):
        return False
    kept.journal[place, 0] = vm
    kept.journal[place, 1] = kept.on[vm]
    kept.journal[place, 2] = kept.amount[vm]
    kept.journal[place, 3] = kept.next_amount[vm]
    kept.journal[place, 4] = kept.needed[vm]
    kept.length[0] = place + 1
    return True


@inlined
def start(kept: Arrays, vm: int, host: int) -> bool:
    """A VM that is nowhere runs on a host from now on; whether it fits is for the caller to ask."""
    if kept.on[vm] >= 0 or not _note(kept, vm):
        return False
    kept.left[host] -= kept.amount[vm]
    kept.on[vm] = host
    return True


@inlined
def stop(kept: Arrays, vm: int) -> bool:
    """A VM is on no host any more: it has shut down or is suspended."""
    if kept.on[vm] < 0 or not _note(kept, vm):
        return False
    kept.left[kept.on[vm]] += kept.amount[vm]
    kept.on[vm] = -1
    kept.amount[vm] = kept.next_amount[vm]
    return True


@inlined
def move(kept: Arrays, vm: int, host: int) -> bool:
    """A VM has migrated: it is on another host, with the overhead that it had."""
    if kept.on[vm] < 0 or not _note(kept, vm):
        return False
    kept.left[kept.on[vm]] += kept.amount[vm]
    kept.left[host] -= kept.amount[vm]
    kept.on[vm] = host
    return True


@inlined
def resize(
    kept: Arrays,
    vm: int,
    memory: int,
    model: OverheadModel,
    domain_type: int,
    vcpus_max: int,
    shadow_multiplier: float,
) -> bool:
    """A VM on no host gets so much memory, as by VM.set_memory: all of its limits but static_min are that."""
    if kept.on[vm] >= 0 or not _note(kept, vm):
        return False
    normal, shadow = scalar.required_memory(model, domain_type, memory, memory, vcpus_max, shadow_multiplier)
    kept.needed[vm] = normal + shadow
    kept.amount[vm] = memory + scalar.overhead(model, domain_type, memory, vcpus_max, shadow_multiplier)
    kept.next_amount[vm] = kept.amount[vm]
    return True


@inlined
def rollback(kept: Arrays, snapshot: int) -> None:
    """Undo all that was done since the journal had this length; a length of 0 set by the caller gives all of it up."""
    while kept.length[0] > snapshot:
        kept.length[0] -= 1
        place = kept.length[0]
        vm = kept.journal[place, 0]
        if kept.on[vm] >= 0:
            kept.left[kept.on[vm]] += kept.amount[vm]
        kept.on[vm] = kept.journal[place, 1]
        kept.amount[vm] = kept.journal[place, 2]
        kept.next_amount[vm] = kept.journal[place, 3]
        kept.needed[vm] = kept.journal[place, 4]
        if kept.on[vm] >= 0:
            kept.left[kept.on[vm]] -= kept.amount[vm]
