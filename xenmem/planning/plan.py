"""What a planner answers: where each VM goes, what is proved about it, and the moves that lead there.

Amounts are bytes. Rows are those of the fleet, or of the arrays that were given. Searches for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from threading import Event
from time import monotonic
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xenmem.planning._limits import integer

Rows = NDArray[np.int32]

OBJECTIVES: Final = ("all", "fewest-hosts", "even", "fewest-migrations")
"""What a placement can be best at. The values: VMs placed, hosts in use, bytes free on the fullest host, migrations."""

Status = Literal["optimal", "feasible", "infeasible"]


class Migration(NamedTuple):
    """One live migration.

    Attributes
    ----------
    vm, source, target : rows
    copied : bytes to copy: the VM has been ballooned down to dynamic_min by then (planning.md, 6.6)
    temporary : the VM moves on later; nothing else made room
    """

    vm: int
    source: int
    target: int
    copied: int
    temporary: bool


class Obstacle(NamedTuple):
    """Why not all VMs fit: these VMs against these hosts, rows of the fleet."""

    vms: tuple[int, ...]
    hosts: tuple[int, ...]


class Progress(NamedTuple):
    """How far a search has come: seconds since it began, the best value so far and the bound on any."""

    seconds: float
    value: int
    bound: int

    @property
    def gap(self) -> float:
        """How far the value can be from the best, relative to the bound."""
        return gap_between(self.value, self.bound)


def gap_between(value: int, bound: int) -> float:
    """The distance of a value from the bound on any, relative to the bound."""
    return abs(value - bound) / max(abs(bound), 1)


@dataclass(frozen=True, eq=False)
class Plan:
    """Where VMs go.

    Attributes
    ----------
    objective : one of OBJECTIVES, or the name of the planner
    status : ``optimal``; ``feasible``, all VMs are placed but a better way is not excluded; ``infeasible``, not all
        are: `reason` says whether that is proved
    vms : int32 array, the rows of the VMs
    host : int32 array, shape (vms,), the row of the host that each goes to, -1 for not placed
    value : what the plan reaches, in the unit of the objective
    bound : no plan reaches more (``all``, ``even``) or less (the others)
    reason : a sentence: what limits the plan
    obstacle : for an infeasible plan, the smallest set of VMs and hosts found that already contradict each other
    interrupted : the search ended at its time limit or by Ctrl-C
    emptied : rows of the hosts that run guests now and none after the plan
    fewest_moves : of consolidate: no plan that leaves so few hosts in use changes the host of fewer VMs
    """

    objective: str
    status: Status
    vms: Rows
    host: Rows
    value: int
    bound: int
    reason: str
    obstacle: Obstacle | None = None
    interrupted: bool = False
    emptied: tuple[int, ...] = ()
    fewest_moves: int = 0
    order: Callable[[], tuple[list[Migration], str]] = field(default=lambda: ([], ""), repr=False)

    @property
    def gap(self) -> float:
        """How far the value can be from the best, relative to the bound; 0 if it is the best."""
        return gap_between(self.value, self.bound)

    @cached_property
    def _ordered(self) -> tuple[list[Migration], str]:
        return self.order()

    @property
    def migrations(self) -> list[Migration]:
        """The moves, in an order in which each fits at its moment; VMs that are on no host start after them."""
        return self._ordered[0]

    @property
    def blocked(self) -> str:
        """Empty, or why no order of the moves was found that fits at every moment; `migrations` is then cut short."""
        return self._ordered[1]

    @property
    def copied(self) -> int:
        """Bytes that the migrations copy."""
        return sum(migration.copied for migration in self.migrations)

    def seconds(self, bandwidth: int) -> float:
        """Time that the migrations take one after another, without the pages that the guests write meanwhile.

        Parameters
        ----------
        bandwidth : bytes a second, > 0

        Raises
        ------
        ValueError : the bandwidth is not positive
        """
        if bandwidth <= 0:
            raise ValueError(f"bandwidth: {bandwidth} is not positive")
        return self.copied / bandwidth


class Effort:
    """How long a search may go on, and who is told about it.

    Parameters
    ----------
    time_limit : seconds, > 0; None for a fixed number of steps, so that the answer depends on the input alone
    seed : of all random choices
    progress : called with a Progress every now and then; what it raises ends the search

    Raises
    ------
    ValueError, TypeError : the time limit is not positive, or the seed is negative or no integer
    """

    def __init__(self, time_limit: float | None, seed: int, progress: Callable[[Progress], None] | None = None) -> None:
        if time_limit is not None and not time_limit > 0:
            raise ValueError(f"time_limit: {time_limit} is not positive")
        if integer("seed", seed) < 0:
            raise ValueError(f"seed: {seed} is negative")
        self.began = monotonic()
        self.time_limit = time_limit
        self.state = np.array([(int(seed) + 1) * 0x9E3779B97F4A7C15 % (1 << 64) or 1], np.uint64)
        self.progress = progress
        self.interrupted = False
        self._stopped = Event()
        self._told: Callable[[int, int], None] | None = None

    def part(self, share: float, told: Callable[[int, int], None]) -> Effort:
        """The effort for one of several pools, beginning now.

        Parameters
        ----------
        share : of the time that is left
        told : called with value and bound instead of progress
        """
        part = copy(self)
        part.began = monotonic()
        if self.time_limit is not None:
            part.time_limit = self.seconds_left() * share
        part.state = self.state.copy()
        part._told = told
        return part

    def seconds_left(self) -> float:
        """Until the time limit; 0 once it is over, infinite without one."""
        return inf if self.time_limit is None else max(0.0, self.began + self.time_limit - monotonic())

    def stop(self) -> None:
        """End this search and those of all other pools: somebody pressed Ctrl-C."""
        self._stopped.set()
        self.interrupted = True

    def over(self) -> bool:
        """Whether the search has to end now."""
        late = self.time_limit is not None and monotonic() - self.began > self.time_limit
        if late or self._stopped.is_set():
            self.interrupted = True
        return self.interrupted

    def tell(self, value: int, bound: int) -> None:
        """Report the best value and the bound, if somebody wants to know."""
        if self._told is not None:
            self._told(value, bound)
        elif self.progress is not None:
            self.progress(Progress(monotonic() - self.began, value, bound))
