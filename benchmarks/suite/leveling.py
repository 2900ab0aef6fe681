"""planning.consolidate and rebalance: hosts emptied, hosts levelled."""

from functools import cache

import xenmem
from xenmem import planning

from . import fleets


class Leveling:
    """How long does it take to empty as many of 64 hosts as possible, and how level are they after one second?"""

    params = ([0.5, 0.8],)
    param_names = ("fill",)
    timeout = 120

    def setup(self, fill: float) -> None:
        self.fleet, self.moves, self.gap = planned(fill)

    def time_consolidate(self, fill: float) -> None:
        planning.consolidate(self.fleet)

    def track_moves_of_consolidate(self, fill: float) -> float:
        """The share of migrations beyond their lower bound."""
        return self.moves

    def track_gap_of_rebalance(self, fill: float) -> float:
        """The share of the fullest host beyond its lower bound, after 20 migrations found in one second."""
        return self.gap


@cache
def planned(fill: float) -> tuple[xenmem.Fleet, float, float]:
    fleet = fleets.pool_of(64, 1_000, fill)
    plan = planning.consolidate(fleet)
    leveled = planning.rebalance(fleet, 20, time_limit=1.0)
    if len(leveled.migrations) > 20:
        raise AssertionError("rebalance moves more than it may")
    moves = sum(not move.temporary for move in plan.migrations)
    return fleet, moves / max(plan.fewest_moves, 1) - 1, float(leveled.gap)
