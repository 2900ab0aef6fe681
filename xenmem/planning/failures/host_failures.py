"""Does the pool survive n host failures: exactly, for every set of n hosts, or for every order in which they fail.

The questions are asked of a RestartPool, or of a Fleet; amounts are bytes. The pool's own, more cautious answer is
planning.xapi.failover's. Nothing is changed anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import comb
from typing import TYPE_CHECKING, Final

import numpy as np

from xenmem.columns import Rows
from xenmem.planning._pools import in_parallel
from xenmem.planning.checks import integer
from xenmem.planning.effort import Effort, Progress
from xenmem.planning.failures.one_by_one import in_order
from xenmem.planning.failures.restart_pool import RestartPool, check_failures, one_pool
from xenmem.planning.failures.restart_search import Restart
from xenmem.planning.failures.results import Failover, RestartedVM, Verdict
from xenmem.planning.failures.together import bounds_of, together
from xenmem.planning.search.compiled.feasibility import NO, UNDECIDED

if TYPE_CHECKING:
    from xenmem.fleet import Fleet


DEFAULT_TIME_LIMIT: Final = 60.0


def failover(
    pool: RestartPool | Fleet,
    num_failures: int,
    *,
    one_by_one: bool = False,
    time_limit: float | None = DEFAULT_TIME_LIMIT,
    progress: Callable[[Progress], None] | None = None,
) -> Failover:
    """Whether every protected VM can run again after any `num_failures` hosts have failed.

    Parameters
    ----------
    pool : a pool, or a Fleet of one pool
    num_failures : hosts that fail
    one_by_one : False: they fail together; then VMs of all of them, and those that run nowhere, are started on the
        free memory of the others; no running VM is moved. True: one after another, and after each failure VMs are
        restarted before the next, without knowing which that will be
    time_limit : seconds; None: none
    progress : called now and then: how many sets of hosts are behind the search (as value), and how many there are (as
        bound); one by one the same then follows for the hosts that may fail first

    Raises
    ------
    ValueError : num_failures is negative or larger than the pool, or see RestartPool.from_fleet

    Notes
    -----
    Exact: `survives` means that there is a full restart for every set (a policy for every order), `loses` that there is
    none for failed_hosts. A set is not looked at where another that is looked at is at least as hard, or where a bound
    shows that any packing, largest first, succeeds.
    """
    pool = one_pool(pool)
    n = check_failures(pool, num_failures)
    return failover_until(pool, n, Effort(time_limit, progress=progress), one_by_one=one_by_one)


def failover_until(pool: RestartPool, n: int, effort: Effort, *, one_by_one: bool = False) -> Failover:
    """failover, as one of several searches."""
    answer = together(pool, n, effort)
    if not one_by_one:
        return answer
    if answer.survives and n > 0:
        return in_order(pool, n, effort)
    return replace(answer, one_by_one=True, inevitable=n if answer.answer == "loses" else 0)


def survives_by_bounds(pool: RestartPool, n: int, *, one_by_one: bool = False) -> bool:
    """True only if the pool survives n failures, and a bound alone shows it."""
    return not len(pool.size) or bounds_of(pool.prepared, n, whole_load=one_by_one).prove_all


def loss_of(pool: RestartPool, n: int, failing: Rows, *, one_by_one: bool = False) -> Failover:
    """The answer if these n hosts, places of the prepared pool, are known to lose together."""
    answer = Verdict(pool, n, comb(len(pool.free), n)).loses(failing, 1)
    return replace(answer, one_by_one=one_by_one, inevitable=n if one_by_one else 0)


def failover_of_pools(
    fleet: Fleet,
    num_failures: int,
    *,
    one_by_one: bool = False,
    policy: str = "static_max",
    time_limit: float | None = DEFAULT_TIME_LIMIT,
) -> list[Failover]:
    """failover of each pool of a Fleet, in its order, pools in parallel; arguments as there, the time for each pool."""
    pools = [RestartPool.from_fleet(fleet, pool, policy=policy) for pool in range(len(fleet.pools))]
    for pool in pools:
        check_failures(pool, num_failures)

    whole = Effort(time_limit)

    def ask(pool: RestartPool) -> Failover:
        return failover_until(pool, int(num_failures), whole.limited(time_limit), one_by_one=one_by_one)

    return in_parallel(ask, pools, stop=whole.stop)


def restart_plan(
    pool: RestartPool, failed_hosts: Sequence[int], *, time_limit: float | None = DEFAULT_TIME_LIMIT
) -> list[RestartedVM] | None:
    """A full restart once these hosts have failed together.

    Parameters
    ----------
    failed_hosts : row numbers, in any order
    time_limit : seconds; None: none

    Returns
    -------
    every VM of theirs, and every VM that runs nowhere, with its host; None if there is no full restart

    Raises
    ------
    ValueError, TypeError : a row is not of the pool, stands there twice, or is no integer
    TimeoutError : the time limit ended the search
    """
    place = {int(pool.hosts[host]): k for k, host in enumerate(pool.prepared.order)}
    rows = [integer("failed_hosts", host) for host in failed_hosts]
    for index, host in enumerate(rows):
        if host not in place:
            raise ValueError(f"failed_hosts: {host} at index {index} is no host of the pool")
        if host in rows[:index]:
            raise ValueError(f"failed_hosts: {host} at index {index} stands there twice")
    failing = np.array([place[host] for host in rows], np.int32)
    restart = Restart(pool.prepared, failing)
    answer = restart.decide(Effort(time_limit))
    if answer == UNDECIDED:
        raise TimeoutError(f"no restart plan was found within {time_limit} seconds, and none was excluded")
    if answer == NO:
        return None
    vms, hosts = pool.vms[pool.prepared.vm[restart.vms]], pool.hosts[pool.prepared.order[restart.host_of]]
    return [RestartedVM(int(vm), int(host)) for vm, host in zip(vms, hosts, strict=True)]
