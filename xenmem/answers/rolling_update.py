"""A rolling pool update as an operator reads it: which host restarts when, and every migration in its order.

Amounts are bytes. The plan is planning.rolling_update's.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, TypeVar

import numpy as np

from xenmem import kernel, notebook, planning
from xenmem.answers import script
from xenmem.answers.explain import host_obstacles
from xenmem.answers.failover import MOMENT
from xenmem.answers.move_attempts import Leave, stops_of
from xenmem.answers.move_plan import BANDWIDTH, HeldVM, in_words
from xenmem.answers.move_verdicts import checks, overcommitments
from xenmem.answers.naming import (
    Answer,
    Finding,
    Named,
    NamedHost,
    NamedVM,
    Outcome,
    PoolHead,
    QuestionError,
    Result,
    as_question,
    identity,
    label,
    listed,
    name_of,
    pool_head,
    refs,
    written,
)
from xenmem.answers.replay import Refusal, Replay, Step
from xenmem.answers.upgrade_check import build_called, model_called
from xenmem.fleet import Fleet
from xenmem.planning.pool_view import place_in
from xenmem.planning.question import cannot_move
from xenmem.planning.updating.rolling_update import DEFAULT_TIME_LIMIT, RollingUpdate
from xenmem.rules.migration import whereabouts
from xenmem.text import counted, titled
from xenmem.units import format_size

_POLICY: Final = "dynamic_min"


class UpdateStep(Result, frozen=True):
    """One step of an update.

    Attributes
    ----------
    number : from 1
    action : ``migrate`` or ``restart``; ``shutdown`` or ``suspend`` of a VM that cannot move, before its host restarts,
        and ``start`` or ``resume`` after it
    vm : None for a restart
    source : of a migration
    host : that the VM goes to or is on, or that is restarted
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


class RollingPlan(Answer, frozen=True):
    """The plan of a rolling update.

    Attributes
    ----------
    to, to_build, to_model : that hosts run after their restart: as asked for, the xapi that stands for a product (else
        empty), and the model that they compute with then
    status : ``optimal``, ``feasible``, ``infeasible`` (proved) or ``unknown``
    proof : what is proved of it, in a sentence
    interrupted : the search ended early, at its time limit or by Ctrl-C
    hosts : in the order of their restarts; empty without a plan
    steps : in their order; empty without a plan
    homecoming : migrations after the last restart
    migrations, copied, seconds : in all; bound : bytes that every plan copies at least
    bandwidth : bytes a second, from which the seconds follow
    held : VMs that cannot move and are in the way
    refusal : the step that the pool in memory refuses whatever is planned around it; there are then no steps
    switches : what is switched off meanwhile: ``ha``, ``auto_poweron``
    shortage : why there is no plan, where that is known
    warnings : what an operator should know beside
    checked, not_checked : what the plan was held against, and what the pool checks besides
    """

    pool: PoolHead
    to: str
    to_build: str
    to_model: str
    status: str
    proof: str
    interrupted: bool
    hosts: list[RestartedHost]
    steps: list[UpdateStep]
    homecoming: int
    migrations: int
    copied: int
    bound: int
    seconds: float
    bandwidth: int
    held: list[HeldVM]
    refusal: Refusal | None
    switches: list[str]
    shortage: Shortage | None
    warnings: list[Finding]
    checked: list[str]
    not_checked: list[str]

    def _repr_html_(self) -> str:
        """For notebooks: the sentence and the first steps."""
        rows = (
            (
                step.number,
                step.action,
                step.vm and label(step.vm),
                step.source and label(step.source),
                label(step.host),
                notebook.Size(step.copied),
            )
            for step in self.steps
        )
        return notebook.shown(self.verdict, ("", "what", "VM", "from", "host", "copied"), rows, len(self.steps))


def rolling_update(
    fleet: Fleet,
    order: Sequence[int] | None = None,
    *,
    to: str = kernel.DEFAULT_MODEL,
    leave: Leave = Leave(),  # noqa: B008  (it never changes)
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
    leave : what may become of VMs that cannot move: they are stopped or suspended while their host restarts; the host
        of one that is ignored takes no part
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
    fleet, aside = _without_ignored(fleet, leave)
    able = np.flatnonzero(fleet.hosts.enabled & fleet.hosts.live).tolist()
    if len(able) < 2:
        raise QuestionError(
            f"{counted(len(able), 'host')} of {len(fleet.hosts)} can take VMs: a rolling update needs two"
        )
    if order is not None:
        _check_order(fleet, order, able)
    where = np.flatnonzero(fleet.vms.is_guest & np.isin(whereabouts(fleet.vms), able)).tolist()
    still = cannot_move(fleet, {}, place_in(np.array(able, np.int32), len(fleet.hosts)))
    held = {vm: still[vm] for vm in where if vm in still}
    down = dict(stops_of(fleet, held, held, leave))
    end = time.monotonic() + time_limit
    allowed = np.ones((len(fleet.vms), len(fleet.hosts)), np.bool_)
    replay = Replay(fleet, 0)
    for _ in range(REPLANS):
        with as_question():
            problem = planning.UpdateProblem.from_fleet(fleet, model=model, allowed=allowed, down=down)
        left = max(end - time.monotonic(), MOMENT)
        update = planning.rolling_update(problem, order, time_limit=left, progress=progress)
        steps = _with_stops(fleet, update, down)
        refusal = replay.refusal(_carried(fleet, steps)) if steps else None
        if refusal is None or refusal.vm is None or time.monotonic() > end:
            break
        vm, host = int(fleet.vms.find(refusal.vm.ref)[0]), fleet.hosts.ref.tolist().index(refusal.host.ref)  # type: ignore[union-attr]
        if refusal.action != "migrate":
            break
        allowed[vm, host] = False
    held = {vm: why for vm, why in held.items() if vm not in down}
    return _answer(fleet, update, steps, held, refusal, replay, to, bandwidth, aside)


REPLANS: Final = 20
"""Plans that are asked for in all where the pool in memory refuses migrations."""


def _without_ignored(fleet: Fleet, leave: Leave) -> tuple[Fleet, list[Finding]]:
    """The fleet in which the hosts of ignored VMs take no part."""
    here = whereabouts(fleet.vms)
    able = np.flatnonzero(fleet.hosts.enabled & fleet.hosts.live).astype(np.int32)
    still = cannot_move(fleet, {}, place_in(able, len(fleet.hosts)))
    left = [vm for vm in np.flatnonzero(fleet.vms.is_guest & (here >= 0)).tolist() if leave.ignore.has(vm, vm in still)]
    out = sorted({int(here[vm]) for vm in left})
    if not out:
        return fleet, []
    enabled = fleet.hosts.enabled.copy()
    enabled[out] = False
    names = listed([fleet.hosts.label(host) for host in out])
    text = f"{counted(len(out), 'host is', 'hosts are')} not updated for VMs that are ignored: {names}"
    return fleet.replace(hosts=replace(fleet.hosts, enabled=enabled)), [
        Finding(kind="ignored", text=text, hosts=refs(fleet.hosts, out), vms=refs(fleet.vms, left))
    ]


class _Step(NamedTuple):
    """As planning's, or what is done to a VM that waits for its host."""

    action: str
    vm: int
    source: int
    host: int
    copied: int
    temporary: bool


def _with_stops(fleet: Fleet, update: RollingUpdate, down: Mapping[int, str]) -> list[_Step]:
    """The steps, those before and after restarts of VMs that wait for their host among them."""
    here = whereabouts(fleet.vms)
    steps: list[_Step] = []
    for step in update.steps:
        waiting = [vm for vm in down if here[vm] == step.host] if step.action == "restart" else []
        steps += [_Step(down[vm], vm, -1, step.host, 0, False) for vm in waiting]
        steps.append(_Step(*step))
        steps += [_Step(_AGAIN[down[vm]], vm, -1, step.host, 0, False) for vm in waiting]
    return steps


_AGAIN: Final = {"shutdown": "start", "suspend": "resume"}


def _carried(fleet: Fleet, steps: Sequence[_Step]) -> list[Step]:
    """What the pool in memory is to do: hosts are disabled as late as `actions` does."""
    carried: list[Step] = [Step("disable-ha", -1, -1)] if fleet.pools.ha_enabled[0] else []
    disabled = _disabled_before([(step.action, step.host) for step in steps])
    for number, step in enumerate(steps):
        if number in disabled:
            carried.append(Step("disable", -1, disabled[number]))
        carried.append(Step(step.action, step.vm, step.host))  # type: ignore[arg-type]
    return carried


Host = TypeVar("Host")


def _disabled_before(steps: Sequence[tuple[str, Host]]) -> dict[int, Host]:
    """Before which step each host is disabled that restarts: once the last VM has gone there.

    Parameters
    ----------
    steps : what is done, and the host that a VM goes to or that restarts
    """
    disabled: dict[int, Host] = {}
    for number, (action, host) in enumerate(steps):
        if action == "restart":
            ends = (k for k in range(number) if steps[k][0] == "restart" or steps[k] == ("migrate", host))
            disabled[max(ends, default=-1) + 1] = host
    return disabled


def actions(plan: RollingPlan) -> list[script.Action]:
    """What carries a plan out: each host is disabled when the last VM has gone there, and restarts when it is empty.

    Raises
    ------
    QuestionError : there is no plan, or a VM or host of it has no uuid
    """
    if not plan.steps:
        raise QuestionError(f"there is no plan to write: {plan.verdict}")
    disabled = _disabled_before([(step.action, step.host) for step in plan.steps])
    pool = name_of(plan.pool)
    carried: list[script.Action] = []
    if "ha" in plan.switches:
        carried.append(script.disable_ha())
    if "auto_poweron" in plan.switches:
        carried.append(script.forbid_auto_poweron(pool))
    for number, step in enumerate(plan.steps):
        if number in disabled:
            carried.append(script.disable(disabled[number]))
        carried.append(_action(step))
    if "auto_poweron" in plan.switches:
        carried.append(script.allow_auto_poweron(pool))
    if "ha" in plan.switches:
        carried.append(script.enable_ha())
    return carried


def _action(step: UpdateStep) -> script.Action:
    match step.action, step.vm:
        case _, None:
            return script.restart(step.host)
        case "shutdown", vm:
            return script.shutdown(vm)
        case "suspend", vm:
            return script.suspend(vm)
        case "start", vm:
            return script.start(vm, step.host)
        case "resume", vm:
            return script.resume(vm, step.host)
        case _, vm:
            return script.migrate(vm, step.host, step.source)


def heading(plan: RollingPlan) -> list[str]:
    """What a script says of the update that it carries out."""
    order = ", ".join(label(host) for host in plan.hosts)
    return [f"Rolling update of pool {label(plan.pool)}, {plan.pool.source}: {order}.", plan.proof]


def _check_order(fleet: Fleet, order: Sequence[int], able: Sequence[int]) -> None:
    for host in order:
        if host not in able:
            raise QuestionError(f"host {fleet.hosts.label(host)} takes no part: {host_obstacles(fleet, host, 0)[0]}")
        if order.count(host) > 1:
            raise QuestionError(f"host {fleet.hosts.label(host)} comes twice in the order")
    for host in able:
        if host not in order:
            raise QuestionError(f"host {fleet.hosts.label(host)} is missing from the order")


def _answer(
    fleet: Fleet,
    update: RollingUpdate,
    planned: Sequence[_Step],
    held: Mapping[int, str],
    refusal: Refusal | None,
    replay: Replay,
    to: str,
    bandwidth: int,
    aside: Sequence[Finding],
) -> RollingPlan:
    shown = planned if refusal is None else ()
    steps = [
        written(UpdateStep, fleet, step, number=number, seconds=step.copied / bandwidth)
        for number, step in enumerate(shown, 1)
    ]
    hosts: list[RestartedHost] = []
    migrations = copied = 0
    for step in steps:
        if step.action == "migrate":
            migrations, copied = migrations + 1, copied + step.copied
        if step.action == "restart":
            host = step.host
            hosts.append(
                RestartedHost(host.ref, host.uuid, host.name_label, len(hosts) + 1, step.number, migrations, copied)
            )
            migrations = copied = 0
    out = [row for row in range(len(fleet.hosts)) if not (fleet.hosts.enabled[row] and fleet.hosts.live[row])]
    left_out = [
        Finding(
            kind="host-takes-no-part",
            text=f"{fleet.hosts.label(row)} takes no part: {host_obstacles(fleet, row, 0)[0]}",
            hosts=[fleet.hosts.ref[row]],
        )
        for row in out
    ]
    automatic = _automatic(fleet, planned, replay) if steps else []
    switches = [name for name, is_on in (("ha", fleet.pools.ha_enabled[0]), ("auto_poweron", automatic)) if is_on]
    every = sum(step.action == "migrate" for step in steps)
    checked, not_checked = checks(fleet, [0])
    verdict, outcome = _verdict(fleet, update, len(hosts), every, held, refusal)
    return written(
        RollingPlan,
        fleet,
        update,
        verdict=verdict,
        outcome=outcome,
        pool=pool_head(fleet, 0),
        to=to,
        to_build=build_called(to),
        to_model=model_called(to),
        status=update.status if refusal is None else "unknown",
        proof=_proof(update, len(hosts)) if refusal is None else f"{refusal.text[0].upper()}{refusal.text[1:]}.",
        hosts=hosts,
        steps=steps,
        homecoming=migrations,
        migrations=every,
        copied=sum(step.copied for step in steps),
        seconds=sum(step.copied for step in steps) / bandwidth,
        bandwidth=bandwidth,
        held=[HeldVM(**identity(fleet.vms, vm), why=in_words(why)) for vm, why in sorted(held.items())],
        refusal=refusal,
        switches=switches,
        shortage=None if update.steps or update.host < 0 else written(Shortage, fleet, update),
        warnings=[*overcommitments(fleet, _POLICY), *_switched(switches), *automatic, *aside, *left_out],
        checked=checked,
        not_checked=not_checked,
    )


def _switched(switches: Sequence[str]) -> list[Finding]:
    """What the script does around the update, and whoever carries it out otherwise has to."""
    names = {"ha": "high availability", "auto_poweron": "the pool's auto_poweron"}
    if not switches:
        return []
    what = " and ".join(names[switch] for switch in switches)
    return [Finding(kind="switched-off", text=f"{what} must be off meanwhile: the script switches off and on again")]


def _automatic(fleet: Fleet, steps: Sequence[_Step], replay: Replay) -> list[Finding]:
    """What VMs that start with a host would do to the plan, if nobody forbade it."""
    table = fleet.vms
    starting = np.flatnonzero(table.auto_poweron & table.is_guest & (whereabouts(table) < 0)).tolist()
    if not fleet.pools.auto_poweron[0] or not starting:
        return []
    refusal = replay.refusal(_carried(fleet, steps), auto_poweron=True)
    names = listed([f"{table.label(vm)} ({format_size(int(table.memory_static_max[vm]))})" for vm in starting])
    then = "the plan would hold all the same" if refusal is None else refusal.text
    text = f"{counted(len(starting), 'VM starts', 'VMs start')} with a host that restarts, {names}: if so, {then}"
    return [Finding(kind="auto-poweron", text=text, vms=refs(table, starting))]


def _verdict(
    fleet: Fleet, update: RollingUpdate, hosts: int, migrations: int, held: Mapping[int, str], refusal: Refusal | None
) -> tuple[str, Outcome]:
    label = fleet.pools.label(0)
    first, within = titled("Pool", label), titled("pool", label)
    if refusal is not None:
        return f"No way to update {within} was found: {refusal.text}.", "unknown"
    if update.steps:
        copied = f"{counted(migrations, 'migration')}, {format_size(update.copied)} to copy"
        return f"{first} can be updated, {counted(hosts, 'host')} one after another: {copied}.", "yes"
    if held:
        names = listed([fleet.vms.label(vm) for vm in sorted(held)])
        count = counted(len(held), "VM")
        return f"{first} cannot be updated: {count} cannot move; shut down first: {names}.", "no"
    if update.status == "infeasible":
        return f"{first} cannot be updated: {update.reason}.", "no"
    return f"Whether {within} can be updated is not known: {update.reason}.", "unknown"


def _proof(update: RollingUpdate, hosts: int) -> str:
    if not update.steps:
        return f"{update.status.capitalize()}: {update.reason}."
    text = f"{counted(hosts, 'host')} restart, {format_size(update.copied)} are copied"
    if update.status == "optimal":
        return f"Optimal: {text}; no plan copies less."
    return f"Feasible: {text}; at least {format_size(update.bound)} is proved."
