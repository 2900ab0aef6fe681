"""planning.evacuate: emptying one host."""

from functools import cache

import xenmem
from xenmem import planning

from . import fleets


class Evacuation:
    """Is one of 64 hosts with 1,000 VMs emptied in a tenth of a second, however full the pool is?"""

    params = ([0.5, 0.8, 0.9, 0.95, 0.97],)
    param_names = ("fill",)
    timeout = 120

    def setup(self, fill: float) -> None:
        self.fleet, self.plan = planned(fill)

    def time_evacuate(self, fill: float) -> None:
        planning.evacuate(self.fleet, 0)

    def track_migrations(self, fill: float) -> int:
        return self.plan.value

    def track_fewest_migrations(self, fill: float) -> int:
        """What is proved: no plan has fewer."""
        return self.plan.bound


@cache
def planned(fill: float) -> tuple[xenmem.Fleet, planning.Plan]:
    fleet = fleets.pool_of(64, 1_000, fill)
    plan = planning.evacuate(fleet, 0)
    if plan.blocked:
        raise AssertionError("no order of the migrations was found")
    return fleet, plan
