"""A rolling pool update as an operator reads it: which host restarts when, and every migration in its order.

Amounts are bytes. The plan is planning.rolling_update's.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from xenmem import kernel, planning
from xenmem.answers import script
from xenmem.answers.explain import host_obstacles
from xenmem.answers.moves import BANDWIDTH, ha_refusals, overcommitments
from xenmem.answers.naming import (
    NOT_CHECKED,
    Finding,
    Named,
    NamedHost,
    NamedVM,
    PoolHead,
    QuestionError,
    Result,
    as_question,
    label,
    pool_head,
    written,
)
from xenmem.answers.upgrade_check import build_called, model_called
from xenmem.columns import Bools
from xenmem.fleet import Fleet
from xenmem.planning.updating.rolling_update import DEFAULT_TIME_LIMIT, RollingUpdate
from xenmem.text import counted
from xenmem.units import format_size

_POLICY: Final = "dynamic_min"


class UpdateStep(Result, frozen=True):
    """One step of an update.

    Attributes
    ----------
    number : from 1
    action : ``migrate`` or ``restart``
    vm, source : of a migration
    host : that the VM goes to, or that is restarted
    copied : bytes
    seconds : that the copy takes, without what the guest writes meanwhile
    temporary : the move only makes room
    """

    number: int
    action: str
    vm: NamedVM | None
    source: NamedHost | None
    host: NamedHost
    copied: int
    seconds: float
    temporary: bool


class RestartedHost(Named, frozen=True):
    """A host in the order of the restarts.

    Attributes
    ----------
    position : from 1
    step : the number of its restart among the steps
    migrations, copied : since the restart before
    """

    position: int
    step: int
    migrations: int
    copied: int


class Shortage(Result, frozen=True):
    """Where a plan fails: the host that cannot be emptied or filled, VMs that find no room, and the bytes missing."""

    host: NamedHost
    vms: list[NamedVM]
    missing: int


class RollingPlan(Result, frozen=True):
    """The plan of a rolling update.

    Attributes
    ----------
    to, to_build, to_model : that hosts run after their restart: as asked for, the xapi that stands for a product (else
        empty), and the model that they compute with then
    status : ``optimal``, ``feasible``, ``infeasible`` (proved) or ``unknown``
    verdict : the same in a sentence
    interrupted : the search ended early, at its time limit or by Ctrl-C
    hosts : in the order of their restarts; empty without a plan
    steps : in their order; empty without a plan
    homecoming : migrations after the last restart
    migrations, copied, seconds : in all; bound : bytes that every plan copies at least
    bandwidth : bytes a second, from which the seconds follow
    shortage : why there is no plan, where that is known
    warnings : what an operator should know beside
    not_checked : what the pool checks besides
    """

    pool: PoolHead
    to: str
    to_build: str
    to_model: str
    status: str
    verdict: str
    interrupted: bool
    hosts: list[RestartedHost]
    steps: list[UpdateStep]
    homecoming: int
    migrations: int
    copied: int
    bound: int
    seconds: float
    bandwidth: int
    shortage: Shortage | None
    warnings: list[Finding]
    not_checked: list[str]


def rolling_update(
    fleet: Fleet,
    order: Sequence[int] | None = None,
    *,
    to: str = kernel.DEFAULT_MODEL,
    bandwidth: int = BANDWIDTH,
    time_limit: float = DEFAULT_TIME_LIMIT,
    progress: Callable[[planning.Progress], None] | None = None,
) -> RollingPlan:
    """A whole rolling update of a pool, planned before it starts.

    Parameters
    ----------
    fleet : of one pool
    order : rows of the hosts in the order of their restarts; by default the order that copies least of those tried
    to : the model, the xapi version or the product that hosts run after their restart
    bandwidth : bytes that migrations copy in a second, > 0
    time_limit : seconds
    progress : called now and then with a planning.Progress, in bytes to copy

    Raises
    ------
    QuestionError : the order is not one of all hosts that take part, the model does not exist, there are several pools,
        or one host alone, or the memory of a host is unknown
    """
    if len(fleet.pools) != 1:
        raise QuestionError(f"the fleet has {len(fleet.pools)} pools: a rolling update is of one")
    model = model_called(to)
    able = np.flatnonzero(fleet.hosts.enabled & fleet.hosts.live).tolist()
    if len(able) < 2:
        raise QuestionError(
            f"{counted(len(able), 'host')} of {len(fleet.hosts)} can take VMs: a rolling update needs two"
        )
    if order is not None:
        _check_order(fleet, order, able)
    with as_question():
        problem = planning.UpdateProblem.from_fleet(fleet, model=model, allowed=_has_cpus(fleet))
    update = planning.rolling_update(problem, order, time_limit=time_limit, progress=progress)
    return _answer(fleet, update, to, bandwidth)


def actions(plan: RollingPlan) -> list[script.Action]:
    """What carries a plan out: each host is disabled when the last VM has gone there, and restarts when it is empty.

    Raises
    ------
    QuestionError : there is no plan, or a VM or host of it has no uuid
    """
    if not plan.steps:
        raise QuestionError(f"there is no plan to write: {plan.verdict}")
    disabled_before: dict[int, Named] = {}
    for number, step in enumerate(plan.steps):
        if step.action == "restart":
            ends = (k for k in range(number) if plan.steps[k].action == "restart" or plan.steps[k].host == step.host)
            disabled_before[max(ends, default=-1) + 1] = step.host
    carried: list[script.Action] = []
    for number, step in enumerate(plan.steps):
        if number in disabled_before:
            carried.append(script.disable(disabled_before[number]))
        carried.append(
            script.restart(step.host) if step.vm is None else script.migrate(step.vm, step.host, step.source)
        )
    return carried


def heading(plan: RollingPlan) -> list[str]:
    """What a script says of the update that it carries out."""
    order = ", ".join(label(host) for host in plan.hosts)
    return [f"Rolling update of pool {label(plan.pool)}, {plan.pool.source}: {order}.", plan.verdict]


def _has_cpus(fleet: Fleet) -> Bools:
    """Whether each host has the CPUs for each VM, shape (vms, hosts)."""
    cpus = fleet.hosts.cpu_count
    unlimited = (cpus == 0)[None, :] | fleet.vms.vcpu_unrestricted[:, None]
    allowed: Bools = unlimited | (fleet.vms.VCPUs_max[:, None] <= cpus[None, :])
    return allowed


def _check_order(fleet: Fleet, order: Sequence[int], able: Sequence[int]) -> None:
    for host in order:
        if host not in able:
            raise QuestionError(f"host {fleet.hosts.label(host)} takes no part: {host_obstacles(fleet, host, 0)[0]}")
        if order.count(host) > 1:
            raise QuestionError(f"host {fleet.hosts.label(host)} comes twice in the order")
    for host in able:
        if host not in order:
            raise QuestionError(f"host {fleet.hosts.label(host)} is missing from the order")


def _answer(fleet: Fleet, update: RollingUpdate, to: str, bandwidth: int) -> RollingPlan:
    steps = [
        written(UpdateStep, fleet, step, number=number, seconds=step.copied / bandwidth)
        for number, step in enumerate(update.steps, 1)
    ]
    hosts: list[RestartedHost] = []
    migrations = copied = 0
    for step in steps:
        if step.vm is not None:
            migrations, copied = migrations + 1, copied + step.copied
            continue
        host = step.host
        hosts.append(
            RestartedHost(host.ref, host.uuid, host.name_label, len(hosts) + 1, step.number, migrations, copied)
        )
        migrations = copied = 0
    out = [row for row in range(len(fleet.hosts)) if not (fleet.hosts.enabled[row] and fleet.hosts.live[row])]
    aside = [
        Finding(
            kind="host-takes-no-part",
            text=f"{fleet.hosts.label(row)} takes no part: {host_obstacles(fleet, row, 0)[0]}",
            hosts=[fleet.hosts.ref[row]],
        )
        for row in out
    ]
    return written(
        RollingPlan,
        fleet,
        update,
        pool=pool_head(fleet, 0),
        to=to,
        to_build=build_called(to),
        to_model=model_called(to),
        verdict=_verdict(update, len(hosts)),
        hosts=hosts,
        steps=steps,
        homecoming=migrations,
        migrations=len(steps) - len(hosts),
        seconds=update.copied / bandwidth,
        bandwidth=bandwidth,
        shortage=None if steps or update.host < 0 else written(Shortage, fleet, update),
        warnings=[*overcommitments(fleet, _POLICY), *ha_refusals(fleet, [0]), *aside],
        not_checked=list(NOT_CHECKED),
    )


def _verdict(update: RollingUpdate, hosts: int) -> str:
    if not update.steps:
        return f"{update.status.capitalize()}: {update.reason}."
    text = f"{counted(hosts, 'host')} restart, {format_size(update.copied)} are copied"
    if update.status == "optimal":
        return f"Optimal: {text}; no plan copies less."
    return f"Feasible: {text}; at least {format_size(update.bound)} is proved."
