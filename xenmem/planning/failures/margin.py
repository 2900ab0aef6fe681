"""How far a pool is from losing VMs when hosts fail: the memory that every host could do without; bytes.

Less memory never helps, so bisection finds the margin; failover decides each amount.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from xenmem.planning.effort import Effort, TimeOverError
from xenmem.planning.failures.host_failures import failover_until
from xenmem.planning.failures.remedies import least
from xenmem.planning.failures.restart_pool import RestartPool, check_failures, one_pool
from xenmem.units import MIB

if TYPE_CHECKING:
    from xenmem.fleet import Fleet


DEFAULT_TIME_LIMIT: Final = 60.0


def margin(
    pool: RestartPool | Fleet, num_failures: int, *, time_limit: float | None = DEFAULT_TIME_LIMIT
) -> int | None:
    """The most that every host could lose such that the pool still survives any `num_failures` hosts failing together.

    Parameters
    ----------
    pool, num_failures : as for failover
    time_limit : seconds; None: none

    Returns
    -------
    bytes, whole MiB, rounded down. Below 0 where the failures are not survived: so much would have to be added to every
    host. None where no amount decides it (no VM is to be restarted, or none helps), or the time was not enough

    Raises
    ------
    ValueError : as for failover
    """
    one = one_pool(pool)
    n = check_failures(one, num_failures)
    effort = Effort(time_limit)

    def survives(more: int) -> bool:
        answer = failover_until(replace(one, free=one.free + more), n, effort)
        if answer.answer == "unknown":
            raise TimeOverError
        return answer.survives

    try:
        too_much = least(lambda less: not survives(-less), max(0, int(one.free.max())) + MIB)
        if too_much != 0:
            return None if too_much is None else too_much - MIB
        missing = least(survives, int(one.size.sum()) + max(0, -int(one.free.min())))
        return None if missing is None else -missing
    except TimeOverError:
        return None
