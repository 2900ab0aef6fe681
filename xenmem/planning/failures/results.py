"""What failover answers, and how it is put into words: Failover, with the VMs that stay down or the policy that wins.

Hosts and VMs are row numbers here; amounts are bytes. Decides nothing but which VMs stay down after a loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xenmem.columns import Rows
from xenmem.planning.failures.restart_pool import RestartPool
from xenmem.planning.search.compiled import failure_sets
from xenmem.planning.search.compiled.feasibility import YES, best_fit, pack
from xenmem.units import format_size

STAYS_DOWN_NODES: Final = 2_000


class RestartedVM(NamedTuple):
    """A VM, and the host on which it is started: row numbers."""

    vm: int
    host: int


@dataclass(frozen=True, eq=False)
class Failover:
    """Whether every protected VM runs again after host failures.

    Attributes
    ----------
    answer : ``survives``, ``loses``, or ``unknown`` where the time limit ended the search
    num_failures : how many hosts fail
    one_by_one : they fail one after another, with restarts in between, instead of together
    failed_hosts : row numbers of hosts whose failure the pool does not survive; empty unless it loses. One by one in
        the order in which they fail, `inevitable` of them whatever the restarts before, the rest after the best known
    inevitable : see failed_hosts
    stays_down : row numbers of VMs that then stay down: the others start in full, and beside them no room was found for
        any of these
    overcommitted : row numbers of hosts that already have too little memory for their VMs; they take no other
    tried, total : sets (or orders) of hosts that were looked at, and how many there are; those between follow from
        others, or from a bound
    undecided : sets or first failures that the search could not decide
    reason : the answer in a sentence
    policy : one by one, how to restart so that it survives; None otherwise
    """

    answer: str
    num_failures: int
    one_by_one: bool
    failed_hosts: tuple[int, ...]
    inevitable: int
    stays_down: tuple[int, ...]
    overcommitted: tuple[int, ...]
    tried: int
    total: int
    undecided: int
    reason: str
    policy: RestartPolicy | None = None

    @property
    def survives(self) -> bool:
        """The answer is ``survives``."""
        return self.answer == "survives"


class RestartPolicy:
    """Where to restart VMs, failure after failure, such that the pool survives them all.

    Parameters
    ----------
    pool : the pool
    plan : from the hosts that failed, in order and as places in the prepared pool, to the host of each of its VMs
    """

    def __init__(self, pool: RestartPool, plan: Callable[[tuple[int, ...]], NDArray[np.int64]]) -> None:
        self._pool = pool
        self._plan = plan

    def restart(self, failed_hosts: Sequence[int]) -> list[RestartedVM]:
        """What to restart, and where, once the last of these hosts has failed, after the others, in this order.

        Parameters
        ----------
        failed_hosts : row numbers, at most as many as the answer is about; none: what is started before any fails
        """
        prepared = self._pool.prepared
        place = {int(self._pool.hosts[host]): k for k, host in enumerate(prepared.order)}
        failed = tuple(place[int(host)] for host in failed_hosts)
        hosts = len(prepared.free)
        runs_on = np.repeat(np.arange(hosts + 1), np.diff(prepared.first))
        before = self._plan(failed[:-1]) if failed else np.where(runs_on < hosts, runs_on, -1)
        after = self._plan(failed)
        moved = np.flatnonzero(before != after)
        return [
            RestartedVM(int(self._pool.vms[prepared.vm[k]]), int(self._pool.hosts[prepared.order[after[k]]]))
            for k in moved
        ]


class Verdict:
    """How a search about n failures ends, as a Failover.

    Parameters
    ----------
    pool : the pool
    num_failures : how many hosts fail
    one_by_one : one after another
    total : sets (or orders) of hosts that there are
    """

    def __init__(self, pool: RestartPool, num_failures: int, total: int, *, one_by_one: bool = False) -> None:
        self._pool = pool
        self._one_by_one = one_by_one
        self._num_failures = num_failures
        self._total = total

    def survives(self, why: str, tried: int = 0, policy: RestartPolicy | None = None) -> Failover:
        """Every protected VM runs again."""
        return self._answer("survives", why, tried, policy=policy)

    def unknown(self, why: str, tried: int, undecided: int) -> Failover:
        """The search ended before it was done."""
        return self._answer("unknown", why, tried, undecided=undecided)

    def loses(self, failing: Rows, tried: int) -> Failover:
        """There is no full restart after the failure of these hosts, places of the prepared pool, together."""
        pool = self._pool
        down = stays_down(pool, failing)
        memory = int(pool.size[np.isin(pool.vms, down)].sum())
        return self._answer(
            "loses",
            f"{len(down)} {'VM stays' if len(down) == 1 else 'VMs stay'} down, {format_size(memory)} in all",
            tried,
            failed_hosts=tuple(sorted(pool.hosts[pool.prepared.order[failing]].tolist())),
            stays_down=down,
        )

    def loses_in_order(
        self, why: str, tried: int, order: Sequence[int], inevitable: int, down: Sequence[int]
    ) -> Failover:
        """Failures in this order are not survived; hosts and VMs are places of the prepared pool."""
        pool = self._pool
        return self._answer(
            "loses",
            why,
            tried,
            failed_hosts=tuple(pool.hosts[pool.prepared.order[list(order)]].tolist()),
            stays_down=tuple(sorted(pool.vms[pool.prepared.vm[list(down)]].tolist())),
            inevitable=inevitable,
        )

    def _answer(
        self,
        answer: str,
        why: str,
        tried: int,
        *,
        failed_hosts: tuple[int, ...] = (),
        inevitable: int = 0,
        stays_down: tuple[int, ...] = (),
        undecided: int = 0,
        policy: RestartPolicy | None = None,
    ) -> Failover:
        n = self._num_failures
        how = ", one by one" if self._one_by_one else ""
        reason = f"{n} host {'failure' if n == 1 else 'failures'}{how}: {why}"
        crowded = tuple(self._pool.overcommitted.tolist())
        if crowded:
            reason = f"{reason}; {len(crowded)} overcommitted {'host' if len(crowded) == 1 else 'hosts'} can take no VM"
        return Failover(
            answer=answer,
            num_failures=n,
            one_by_one=self._one_by_one,
            failed_hosts=failed_hosts,
            inevitable=inevitable,
            stays_down=stays_down,
            overcommitted=crowded,
            tried=tried,
            total=self._total,
            undecided=undecided,
            reason=reason,
            policy=policy,
        )


def stays_down(pool: RestartPool, failing: Rows) -> tuple[int, ...]:
    """VMs that cannot all run again, so few that no room is found for one of them beside the others: row numbers."""
    prepared = pool.prepared
    vms = np.empty(len(prepared.size), np.int32)
    count = failure_sets.failed_vms(prepared.size, prepared.first, failing, vms)
    vms = vms[:count]
    free = prepared.free.copy()
    free[failing] = -1
    host_of = np.empty(count, np.int32)
    best_fit(prepared.size[vms], prepared.rule[vms], prepared.rules, free.copy(), host_of)
    started = host_of >= 0
    for k in np.flatnonzero(~started)[::-1]:
        started[k] = True
        some = vms[started]
        rows = (prepared.size[some], prepared.rule[some], prepared.rules, free)
        started[k] = pack(*rows, np.empty(len(some), np.int32), STAYS_DOWN_NODES) == YES
        if not started[k] and not len(prepared.rules):
            break  # all that are left are as large
    return tuple(sorted(pool.vms[prepared.vm[vms[~started]]].tolist()))
