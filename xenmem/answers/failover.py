"""Does a pool survive host failures: what is certain, what the pool's own planner says, and what would make it so.

Amounts are bytes. Planning answers; here its rows become names. Only memory counts: an inventory does not tell where
storage, networks and devices let a VM run.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from xenmem import planning
from xenmem.answers import script
from xenmem.answers.naming import (
    UNTOLD,
    Answer,
    Named,
    NamedHost,
    Outcome,
    PoolHead,
    QuestionError,
    Result,
    as_question,
    exact_sum,
    identity,
    label,
    listed,
    name_of,
    named,
    pool_head,
    together,
    untold,
    written,
)
from xenmem.columns import Bools
from xenmem.fleet import Fleet
from xenmem.planning import xapi
from xenmem.planning.failures.results import Failover
from xenmem.planning.failures.shrinking import largest_static_max, memory_at_minimum
from xenmem.rules.hosts import able
from xenmem.rules.start import is_protected
from xenmem.text import counted

COUNTED: Final = ("protected", "running")
"""Which VMs are to run again: those that HA protects, or all guests that run now."""
_SHARED: Final = "devices and networks without interfaces that several VMs would share"
TIME_LIMIT: Final = 60.0
MOMENT: Final = 0.01
"""Seconds for searches that are left once Ctrl-C has ended one."""


class HostShare(Named, frozen=True):
    """A host that may fail, or take VMs of others.

    Attributes
    ----------
    fails : it is one of those whose failure is not survived
    vms, memory : VMs there that are to run again, and what they need to start
    free : what its VMs leave; below 0 where it is overcommitted
    """

    fails: bool
    vms: int
    memory: int
    free: int


class VMToRun(Named, frozen=True):
    """A VM that is to run again.

    Attributes
    ----------
    host : where it runs; None for nowhere
    memory : that it needs to start
    """

    host: Named | None
    memory: int


class ShrunkVM(Named, frozen=True):
    """A VM with less memory.

    Attributes
    ----------
    memory_static_max, to : its limit now, and then
    """

    memory_static_max: int
    to: int


class OwnPlanner(Result, frozen=True):
    """What the pool's own planner says.

    Attributes
    ----------
    outcome : ``plan_exists_for_all_vms``, ``plan_exists_excluding_non_agile_vms`` or ``no_plan_exists``
    max_failures : what pool.ha_compute_max_host_failures_to_tolerate answers
    """

    outcome: str
    max_failures: int


class PoolVerdict(Result, frozen=True):
    """The answer for a pool.

    Attributes
    ----------
    counted : of COUNTED
    num_failures : hosts that fail
    one_by_one : one after another, with restarts in between, instead of together
    answer : ``survives``, ``loses``, or ``unknown`` where the search was ended before
    at_least, at_most : so many failures are survived for certain, and more are not; None where that was not asked. The
        answer is then that for one failure more than at_most; at_least is -1 if VMs cannot run even now
    vms, memory : that are to run again, and what they need to start
    failed_hosts : whose failure is not survived; one by one in their order, `inevitable` of them whatever is restarted
        where before
    stays_down : VMs that then stay down
    overcommitted : hosts that have too little memory for their VMs even now, and take no other
    left_out : hosts that are not enabled and live: they take no VM, and VMs there are to be started elsewhere
    tried, total, undecided : sets, or orders, of hosts that were looked at, that there are, and that are not decided
    reason : the answer in a sentence
    own : what the pool's own planner says
    """

    counted: str
    num_failures: int
    one_by_one: bool
    answer: str
    at_least: int | None
    at_most: int | None
    vms: int
    memory: int
    failed_hosts: list[NamedHost]
    inevitable: int
    stays_down: list[VMToRun]
    overcommitted: list[NamedHost]
    left_out: list[Named]
    tried: int
    total: int
    undecided: int
    reason: str
    own: OwnPlanner


class Addition(Named, frozen=True):
    """Memory to add to a host."""

    memory: int


class Remedies(Result, frozen=True):
    """What would make the pool survive the failures, each by itself.

    Attributes
    ----------
    memory : the additions with the least sum that was found, together enough; None if none was
    memory_bound : with a smaller sum no additions do
    memory_each_host : the least to add to every host; None if no amount does
    host, memory_one_host : the host to which the least is to be added if it is to be one alone; None if none does
    memory_new_host : the least free memory that one more host must bring; None if no amount does
    unprotect : the fewest VMs to protect no more
    unprotect_is_least : fewer surely do not do
    shrink : VMs that could have less memory_static_max, as little as their memory_dynamic_min; None if that does not do
    undecided : names of these for which the time was not enough
    """

    memory: list[Addition] | None
    memory_bound: int
    memory_each_host: int | None
    host: NamedHost | None
    memory_one_host: int | None
    memory_new_host: int | None
    unprotect: list[VMToRun]
    unprotect_is_least: bool
    shrink: list[ShrunkVM] | None
    undecided: list[str]


class PoolSurvival(Result, frozen=True):
    """One pool.

    Attributes
    ----------
    waiting : VMs that run nowhere, and are to be started together with those of the hosts that fail
    remedies : None where they were not asked
    """

    pool: PoolHead
    verdict: PoolVerdict
    hosts: list[HostShare]
    waiting: list[VMToRun]
    remedies: Remedies | None


class Survival(Answer, frozen=True):
    """What each pool of a fleet survives.

    Attributes
    ----------
    policy : which amount counts as the memory of a VM
    not_checked : what the pool checks besides before it starts a VM
    """

    policy: str
    pools: list[PoolSurvival]
    not_checked: list[str]


def failover(
    fleet: Fleet,
    num_failures: int | None = None,
    *,
    one_by_one: bool = False,
    restart: str | None = None,
    policy: str = "static_max",
    remedies: bool = False,
    time_limit: float = TIME_LIMIT,
    progress: Callable[[planning.Progress], None] | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Survival:
    """Whether all VMs run again after host failures, pool by pool.

    Parameters
    ----------
    num_failures : hosts that fail; None asks how many may
    one_by_one : one after another, with restarts in between, instead of together
    restart : one of COUNTED; None asks of those that HA protects, or of those that run where it protects none
    policy : which amount counts as the memory of a VM; HA plans with static_max
    remedies : also what would make the pool survive
    time_limit : seconds for each pool, and as many for its remedies
    progress : as for planning.failover
    interrupted : asked between searches: whether Ctrl-C ended one, so that the others are to be short

    Raises
    ------
    QuestionError : the question contradicts itself, or a pool has no hosts that could be asked about
    """
    if remedies and (num_failures is None or one_by_one):
        what = "hosts that fail one by one" if one_by_one else "no number of failures"
        raise QuestionError(f"remedies are found for a number of hosts that fail together, not for {what}")
    pools = restart_pools(fleet, restart, policy)
    if num_failures is not None:
        check_failures(fleet, pools, num_failures)
    found = []
    for row, pool in enumerate(pools):
        seconds = MOMENT if interrupted() else time_limit
        if num_failures is None:
            most = planning.max_failures(pool, one_by_one=one_by_one, time_limit=seconds, progress=progress)
            answer = most.losing or planning.failover(pool, len(pool.free), one_by_one=one_by_one, time_limit=MOMENT)
            limits: tuple[int | None, int | None] = most.at_least, most.at_most
        else:
            answer = planning.failover(pool, num_failures, one_by_one=one_by_one, time_limit=seconds, progress=progress)
            limits = None, None
        remedy = None
        if remedies:
            seconds = MOMENT if interrupted() else time_limit
            remedy = _remedies(fleet, pool, policy, answer.num_failures, seconds, progress)
        found.append(
            PoolSurvival(
                pool=pool_head(fleet, row),
                verdict=_verdict(fleet, row, pool, counted_in(fleet, row, restart), answer, *limits),
                hosts=_shares(fleet, pool, answer),
                waiting=_vms(fleet, pool, pool.vms[pool.resident_on < 0].tolist()),
                remedies=remedy,
            )
        )
    return _of_pools(found, num_failures, restart, policy, untold(fleet))


def joined(parts: Sequence[Survival], num_failures: int | None = None, *, restart: str | None = None) -> Survival:
    """What all pools survive, from what some each do, asked with these arguments."""
    told = {name for part in parts for name in part.not_checked}
    unknown = [name for name in UNTOLD if name in told]
    pools = [pool for part in parts for pool in part.pools]
    return _of_pools(pools, num_failures, restart, parts[0].policy, unknown)


def _of_pools(
    found: list[PoolSurvival], num_failures: int | None, restart: str | None, policy: str, unknown: list[str]
) -> Survival:
    outcomes = [_outcome(pool.verdict, num_failures) for pool in found]
    return Survival(
        verdict=_sentence(found, outcomes, num_failures, restart),
        outcome=together(outcomes),
        policy=policy,
        pools=found,
        not_checked=[*unknown, _SHARED],
    )


def _outcome(verdict: PoolVerdict, num_failures: int | None) -> Outcome:
    """Yes if the pool survives, or if it is told how many failures it survives, and it runs even now."""
    if num_failures is None:
        at_least, at_most = verdict.at_least or 0, verdict.at_most or 0
        return "yes" if at_least == at_most and at_least >= 0 else "no" if at_most < 0 else "unknown"
    outcomes: dict[str, Outcome] = {"survives": "yes", "loses": "no"}
    return outcomes.get(verdict.answer, "unknown")


def _sentence(
    pools: Sequence[PoolSurvival], outcomes: Sequence[Outcome], num_failures: int | None, restart: str | None
) -> str:
    """The answer in a sentence, of several pools that of the worst."""
    order: dict[Outcome, int] = {"no": 0, "unknown": 1, "yes": 2}
    worst = min(range(len(pools)), key=lambda row: (order[outcomes[row]], pools[row].verdict.at_most or 0))
    verdict, name = pools[worst].verdict, label(pools[worst].pool)
    text = _of_pool(verdict, num_failures is None)
    if restart is None and verdict.counted == "running":
        text = f"HA protects no VM, so the {counted(verdict.vms, 'VM')} that run are asked of: {text}"
    if len(pools) > 1:
        text = f"{outcomes.count(outcomes[worst])} of {len(pools)} pools, such as {name}: {text}"
    return f"{text[0].upper()}{text[1:]}."


def _of_pool(verdict: PoolVerdict, how_many: bool) -> str:
    if not verdict.vms:
        return "there is no VM to run again"
    if how_many:
        at_least, at_most = verdict.at_least or 0, verdict.at_most or 0
        if at_most < 0:
            return "not all can run even now"
        if at_least < at_most:
            return f"{max(at_least, 0)} to {counted(at_most, 'host')} may fail, more is not known"
        return f"{counted(at_most, 'host')} may fail, and no more" if at_most else "no host may fail"
    hosts = "any host" if verdict.num_failures == 1 else f"any {verdict.num_failures} hosts"
    if verdict.answer == "survives":
        return f"{hosts} may fail, and all run again" if verdict.num_failures else "all can run"
    if verdict.answer != "loses":
        return f"whether {hosts} may fail was not found out"
    if not verdict.num_failures:
        return "not all can run even now"
    failed = listed([label(host) for host in verdict.failed_hosts])
    down = f", and {counted(len(verdict.stays_down), 'VM stays', 'VMs stay')} down" if verdict.stays_down else ""
    return f"not {hosts} may fail: {failed} may not{down}"


def counted_in(fleet: Fleet, pool: int, restart: str | None) -> str:
    """Which VMs of a pool are to run again.

    Parameters
    ----------
    restart : one of COUNTED; None: those that HA protects, if there are any, else those that run

    Raises
    ------
    QuestionError : it is none of these
    """
    if restart is not None and restart not in COUNTED:
        raise QuestionError(f"{restart!r} is none of {', '.join(COUNTED)}")
    table = fleet.vms
    protected = is_protected(table.ha_always_run, table.ha_restart_priority) & table.is_guest & (table.pool == pool)
    return restart or ("protected" if protected.any() else "running")


def restart_pools(fleet: Fleet, restart: str | None, policy: str) -> list[planning.RestartPool]:
    """What planning asks about host failures of: each pool of the fleet.

    Parameters
    ----------
    restart, policy : as for failover

    Raises
    ------
    QuestionError : a pool has no host that is enabled and live, or the memory of one is unknown; names it
    """
    if not len(fleet.pools):
        raise QuestionError("the inventory has no pool")
    return [restart_pool(fleet, row, restart, policy) for row in range(len(fleet.pools))]


def restart_pool(fleet: Fleet, row: int, restart: str | None, policy: str) -> planning.RestartPool:
    """What planning asks about host failures of: one pool of the fleet; parameters and errors as for restart_pools."""
    protected = _protected(fleet, counted_in(fleet, row, restart))
    with as_question():
        return planning.RestartPool.from_fleet(fleet, row, policy=policy, protected=protected)


def check_failures(fleet: Fleet, pools: Sequence[planning.RestartPool], num_failures: int) -> None:
    """Refuse a number of failures that is negative, or larger than a pool.

    Parameters
    ----------
    pools : one for each row of the fleet's

    Raises
    ------
    QuestionError : names the pool
    """
    if num_failures < 0:
        raise QuestionError(f"{num_failures} hosts cannot fail")
    for row, pool in enumerate(pools):
        if num_failures > len(pool.free):
            there = f"{counted(len(pool.free), 'host')} that can"
            raise QuestionError(f"{num_failures} hosts cannot fail in pool {fleet.pools.label(row)}: it has {there}")


def _protected(fleet: Fleet, vms: str) -> Bools | None:
    """None stands for those that HA protects."""
    return None if vms == "protected" else fleet.vms.is_guest & (fleet.vms.resident_on >= 0)


def _verdict(
    fleet: Fleet,
    row: int,
    pool: planning.RestartPool,
    vms: str,
    answer: Failover,
    at_least: int | None,
    at_most: int | None,
) -> PoolVerdict:
    left_out = (fleet.hosts.pool == row) & ~able(fleet.hosts.enabled, fleet.hosts.live)
    return written(
        PoolVerdict,
        fleet,
        answer,
        counted=vms,
        at_least=at_least,
        at_most=at_most,
        vms=len(pool.vms),
        memory=exact_sum(pool.size),
        stays_down=_vms(fleet, pool, answer.stays_down),
        left_out=[Named(**identity(fleet.hosts, host)) for host in np.flatnonzero(left_out).tolist()],
        own=_own_planner(fleet, row, vms, answer.num_failures),
    )


def _own_planner(fleet: Fleet, row: int, vms: str, num_failures: int) -> OwnPlanner:
    pool = xapi.HAPool.from_fleet(fleet, row)
    protected = _protected(fleet, vms)
    if protected is not None:
        pool = pool.protecting(pool.vms[protected[pool.vms]])
    return OwnPlanner(
        outcome=xapi.plan_for_n_failures(pool, num_failures).value,
        max_failures=xapi.compute_max_host_failures_to_tolerate(pool),
    )


def _vms(fleet: Fleet, pool: planning.RestartPool, rows: Sequence[int]) -> list[VMToRun]:
    place = {int(row): at for at, row in enumerate(pool.vms)}
    return [
        VMToRun(
            **identity(fleet.vms, row),
            host=named(fleet.hosts, int(fleet.vms.resident_on[row])),
            memory=int(pool.size[place[row]]),
        )
        for row in rows
    ]


def _shares(fleet: Fleet, pool: planning.RestartPool, answer: Failover) -> list[HostShare]:
    return [
        HostShare(
            **identity(fleet.hosts, row),
            fails=row in answer.failed_hosts,
            vms=int((pool.resident_on == place).sum()),
            memory=exact_sum(pool.size[pool.resident_on == place]),
            free=int(pool.free[place]),
        )
        for place, row in enumerate(pool.hosts.tolist())
    ]


# ------------------------------------------------------------------------------------------------------------ remedies


def _remedies(
    fleet: Fleet,
    pool: planning.RestartPool,
    policy: str,
    num_failures: int,
    time_limit: float,
    progress: Callable[[planning.Progress], None] | None,
) -> Remedies:
    smallest = memory_at_minimum(fleet)[pool.vms] if policy == "static_max" else None
    found = planning.remedy(pool, num_failures, smallest=smallest, time_limit=time_limit, progress=progress)
    return written(
        Remedies,
        fleet,
        found,
        memory=None
        if found.memory is None
        else [Addition(**identity(fleet.hosts, host), memory=amount) for host, amount in found.memory],
        unprotect=_vms(fleet, pool, found.unprotect),
        shrink=None if found.shrink is None else [_shrunk(fleet, vm, size) for vm, size in found.shrink],
    )


def _shrunk(fleet: Fleet, vm: int, size: int) -> ShrunkVM:
    most = int(fleet.vms.memory_static_max[vm])
    return ShrunkVM(**identity(fleet.vms, vm), memory_static_max=most, to=largest_static_max(fleet, vm, size))


def unprotecting(result: Survival) -> list[script.Action]:
    """The changes after which the pool survives: VMs that HA protects no more.

    Raises
    ------
    QuestionError : VMs were counted that HA does not protect, there are several pools, or the time was not enough
    """
    if any(pool.verdict.counted != "protected" for pool in result.pools):
        raise QuestionError("only VMs that HA protects can be unprotected: ask about these")
    if len(result.pools) != 1:
        raise QuestionError(f"a script is for one pool, and the inventories hold {len(result.pools)}")
    (pool,) = result.pools
    if pool.remedies is None:
        raise QuestionError("no remedy was asked for")
    if "unprotect" in pool.remedies.undecided:
        raise QuestionError("which VMs to unprotect was not found in time")
    return [script.set_ha_restart_priority(name_of(vm), "") for vm in pool.remedies.unprotect]
