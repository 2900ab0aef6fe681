"""planning.pack over fleets of many pools, each searched by itself."""

from functools import cache

import xenmem
from xenmem import kernel, planning

from . import fleets


class ManyPools:
    """What do 40 pools of 8 hosts gain from being searched side by side?"""

    params = ([1, 2], list(planning.OBJECTIVES))
    param_names = ("threads", "objective")
    timeout = 120

    def setup(self, threads: int, objective: str) -> None:
        self.fleet = packed(objective)
        kernel.set_threads(threads)

    def time_pack(self, threads: int, objective: str) -> None:
        planning.pack(self.fleet, objective=objective, policy="dynamic_min")


@cache
def packed(objective: str) -> xenmem.Fleet:
    fleet = xenmem.Fleet.concatenate([fleets.pool_of(8, 120, 0.96, f"pool-{number}") for number in range(40)])
    planning.verify(planning.pack(fleet, objective=objective, policy="dynamic_min"), fleet, policy="dynamic_min")
    return fleet
