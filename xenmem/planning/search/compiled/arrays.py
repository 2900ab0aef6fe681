"""The arrays that the compiled searches share, and what they all ask of them.

Random numbers come from a state that the caller owns, so an answer depends on the seed alone. Nothing is checked here.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xenmem.columns import Bools, Rows
from xenmem.planning.search.engine import jit

Random = NDArray[np.uint64]


class Where(NamedTuple):
    """Where VMs may go.

    Attributes
    ----------
    kind_of : int32 array, per VM a row of `allowed`
    allowed : bool array, shape (kinds, hosts)
    group_start, group_of : int32 arrays; VM i belongs to the groups group_of[group_start[i]:group_start[i + 1]]
    taken : int32 array, shape (groups, hosts), how many members a host holds, VMs outside the problem included
    """

    kind_of: Rows
    allowed: Bools
    group_start: Rows
    group_of: Rows
    taken: Rows


NEVER = 1 << 61
"""The cost of what must not happen; a sum of other costs stays below."""
MOVE = 1 << 40
"""One migration in the cost of a move; the MiB that it copies come on top and decide between equal numbers."""


@jit
def draw(state: Random, below: int) -> int:
    """The next number in 0..below - 1 (xorshift64*)."""
    x = state[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    state[0] = x
    return int((x * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(33)) % below


@jit
def admits(vm: int, host: int, where: Where) -> bool:
    """Whether everything but memory lets the VM onto the host."""
    if not where.allowed[where.kind_of[vm], host]:
        return False
    for place in range(where.group_start[vm], where.group_start[vm + 1]):
        if where.taken[where.group_of[place], host] > 0:
            return False
    return True
