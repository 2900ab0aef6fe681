"""What a planner answers: where each VM goes, what is proved about it, and the moves that lead there.

Amounts are bytes. Rows are those of the fleet, or of the arrays that were given. Searches for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal, NamedTuple

from xenmem import notebook
from xenmem.columns import Rows
from xenmem.planning.effort import gap_between

OBJECTIVES: Final = ("all", "fewest-hosts", "even", "fewest-migrations")
"""What a placement can be best at. The values: VMs placed, hosts in use, bytes free on the fullest host, migrations."""

Status = Literal["optimal", "feasible", "infeasible", "unknown"]


NAMES_SHOWN: Final = 5


def listed(names: Sequence[str]) -> str:
    """The first few of the names, and how many there are beside them."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


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


@dataclass(frozen=True, eq=False)
class Plan:
    """Where VMs go.

    Attributes
    ----------
    objective : one of OBJECTIVES, or the name of the planner
    status : ``optimal``; ``feasible``, all VMs are placed but a better way is not excluded; ``infeasible``, not all
        are, and that is proved; ``unknown``, not all are, and a way is not excluded
    vms : int32 array, the rows of the VMs
    host : int32 array, shape (vms,), the row of the host that each goes to, -1 for not placed
    value : what the plan reaches, in the unit of the objective
    bound : no plan reaches more (``all``, ``even``) or less (the others)
    reason : a sentence: what limits the plan
    obstacle : for an infeasible plan, the smallest set of VMs and hosts found that already contradict each other
    interrupted : the search ended at its time limit or by Ctrl-C
    stays : rows of the VMs that were asked for and cannot move now, each with the reason; they are none of `vms`
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
    stays: Mapping[int, str] = field(default_factory=dict)
    emptied: tuple[int, ...] = ()
    fewest_moves: int = 0
    order: Callable[[], tuple[list[Migration], str]] = field(default=lambda: ([], ""), repr=False)

    def _repr_html_(self) -> str:
        """For notebooks: what is reached, and the first VMs with their hosts, each by its row."""
        head = f"{self.objective}: {self.status}, value {self.value}, bound {self.bound}"
        caption = f"{head}. {self.reason}" if self.reason else head
        rows = zip(self.vms.tolist(), self.host.tolist(), strict=True)
        return notebook.shown(caption, ("VM", "host"), rows, len(self.vms))

    @property
    def is_complete(self) -> bool:
        """Every VM has a place."""
        return self.status in ("optimal", "feasible")

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
