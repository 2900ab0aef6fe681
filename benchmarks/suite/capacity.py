"""planning.capacity: room for more VMs."""

from functools import cache

from xenmem import planning
from xenmem.units import GIB

from . import fleets


class Capacity:
    """How long does it take to count the VMs of 16 GiB that 200 hosts with 4,000 VMs have room for after failures?"""

    params = ([0, 1],)
    param_names = ("failures",)
    timeout = 300

    def setup(self, failures: int) -> None:
        self.pool = pool()

    def time_capacity(self, failures: int) -> None:
        planning.capacity(self.pool, [16 * GIB], num_failures=failures)


@cache
def pool() -> planning.RestartPool:
    made = fleets.restart_pool(200, 4_000)
    with_none, with_one = (_room(made, n) for n in (0, 1))
    if with_none < with_one:
        raise AssertionError("more VMs fit if a host fails")
    return made


def _room(made: planning.RestartPool, failures: int) -> int:
    """With time for the first compilation, which counts into the limit."""
    return planning.capacity(made, [16 * GIB], num_failures=failures, time_limit=600).count
