"""planning.rolling_update: hosts emptied, updated and restarted one after another."""

from functools import cache

import numpy as np
from twins import stepwise

from xenmem import planning
from xenmem.planning.updating.rolling_update import RollingUpdate as Plan
from xenmem.units import GIB, MIB

from . import fleets


class RollingUpdate:
    """How long does it take to plan the update of 16 hosts with 300 VMs? At 93.75 % the other 15 would be full."""

    params = ([0.5, 0.85, 0.9, 0.93],)
    param_names = ("fill",)
    timeout = 120

    def setup(self, fill: float) -> None:
        self.problem, self.plan = planned(fill)

    def time_rolling_update(self, fill: float) -> None:
        planning.rolling_update(self.problem)

    def track_gib_copied(self, fill: float) -> float:
        return self.plan.copied / GIB

    def track_gib_of_plain_evacuations(self, fill: float) -> float:
        """What plain evacuations in the same order copy, were there room for them."""
        return stepwise.plain_evacuations(self.problem, list(self.plan.order)) / GIB

    def track_least_gib(self, fill: float) -> float:
        """What is proved: no plan copies less."""
        return self.plan.bound / GIB


@cache
def planned(fill: float) -> tuple[planning.UpdateProblem, Plan]:
    random = np.random.default_rng(1)
    size = np.exp(random.uniform(np.log(1024), np.log(65536), 300)).astype(np.int64) * MIB
    home, _ = fleets.level(size, 16)
    capacity = np.full(16, int(size.sum() / 16 / fill))
    need = np.column_stack([size, size + size // 256])
    problem = planning.UpdateProblem.from_arrays(capacity, need, home, copied=size)
    plan = planning.rolling_update(problem)
    stepwise.carry_out(problem, plan)
    return problem, plan
