"""A01 to A06, HA1 to HA5, N01 and P01 to P03: what can move, be emptied, fail and be upgraded; by the planners."""

from collections.abc import Callable, Sequence
from math import isinf
from typing import Final, NamedTuple

import numpy as np

from xenmem import kernel
from xenmem.answers.checks.memory import sriov
from xenmem.answers.checks.rule import Found, Question, found, listing, rule
from xenmem.answers.naming import listed, upgraded
from xenmem.answers.upgrade_check import upgrade_check
from xenmem.columns import Bools, PowerState
from xenmem.fleet import Fleet
from xenmem.planning.pool_view import memory_to_start
from xenmem.rules.migration import refusals
from xenmem.rules.mobility.guest import Agility, Obstacle
from xenmem.rules.mobility.matrix import ERRORS, Step, is_allowed
from xenmem.rules.start import RESTART, is_protected
from xenmem.text import counted

MOST_HOSTS: Final = 64
MOST_VMS: Final = 1000
"""Of a pool, and on a host: docs.xenserver.com, configuration limits."""
FAR_BELOW: Final = 2
"""A dynamic_min is far below static_max from this many times on."""
SLOW: Final = 10
"""So many times faster is another network than that of management, before it is worth a word."""
_LASTING: Final = frozenset(obstacle.name for obstacle in Obstacle if obstacle)


# ----------------------------------------------------------------------------------------------------------- mobility


@rule(
    "A01",
    "W",
    "vms",
    "fits no other host, even an empty one",
    text="needs {static_max:size}, at dynamic_min {dynamic_min:size}; the largest other host has {room:size}",
    consequence="its host can never fail safely, nor be emptied where dynamic_min does not fit either",
    remedy="a smaller VM, or a larger host",
    source="planning.md",
    needs=("totals",),
)
def _a01(question: Question) -> Found:
    vms, hosts = question.fleet.vms, question.fleet.hosts
    room = np.zeros(len(vms), np.int64)
    there = question.running & (vms.resident_on >= 0)
    for pool in range(len(question.fleet.pools)):
        rows = question.rows_of("hosts", pool)
        order = rows[np.argsort(-question.empty[rows], kind="stable")]
        own = there & (vms.pool == pool)
        largest = question.empty[order[0]] if len(order) else 0
        second = question.empty[order[1]] if len(order) > 1 else 0
        room[own] = np.where(vms.resident_on[own] == order[0], second, largest) if len(order) else 0
    needed = memory_to_start(question.fleet, "static_max")
    known = there & (hosts.memory_total[vms.resident_on] > 0) if len(hosts) else there
    return found(known & (needed > room), static_max=needed, dynamic_min=memory_to_start(question.fleet), room=room)


@rule(
    "A02",
    "W",
    "vms",
    "cannot migrate",
    text="{why}",
    consequence="the evacuation of its host fails as a whole",
    remedy="shut it down for the update, move its disks to shared storage, or free it of what holds it",
    source="xapi-project/xen-api, ocaml/xapi/xapi_vm_helpers.ml; vatesfr/xen-orchestra issue 6892",
    needs=("hosts", "storage", "networks", "devices", "drivers"),
)
def _a02(question: Question) -> Found:
    fleet = question.fleet
    running = question.guest & (fleet.vms.power_state == PowerState.RUNNING) & (fleet.vms.resident_on >= 0)
    reasons = {vm: why for vm, why in refusals(fleet.vms, fleet.hosts).items() if why in _LASTING and running[vm]}
    for vm in np.flatnonzero(running & sriov(question)).tolist():
        reasons.setdefault(vm, Agility.VM_HAS_SRIOV_VIF.name)
    for pool in range(len(fleet.pools)):
        part = fleet.mobility.pool(pool)
        able = (fleet.hosts.enabled & fleet.hosts.live)[part.hosts]
        allowed = is_allowed(part.first_step()) & able
        where = fleet.vms.resident_on[part.vms]
        place = np.searchsorted(part.hosts, where)
        elsewhere = allowed.sum(axis=1)[part.kind_of]
        on = running[part.vms]
        at_home = np.zeros(len(part.vms), np.bool_)
        at_home[on] = allowed[part.kind_of[on], place[on]]
        if able.sum() < 2:
            continue
        for at in np.flatnonzero(on & (elsewhere - at_home == 0)).tolist():
            vm = int(part.vms[at])
            other = next(host for host in part.hosts[able].tolist() if host != where[at])
            reasons.setdefault(vm, part.reason(vm, other) or part.unknown(vm, other))
    return listing([(vm, {"why": reasons[vm]}) for vm in sorted(reasons)])


class _Stuck(NamedTuple):
    """Why the pool's own plan does not empty a host.

    Attributes
    ----------
    error : the first VM and its error
    held : some VM can go to no other host, so no plan can empty it
    """

    error: str
    held: bool


def _evacuation_errors(part: Fleet, hosts: Sequence[int] | None = None) -> dict[int, _Stuck]:
    """Those of the hosts of a pool, by default of all, that the pool's own plan does not empty now."""
    from xenmem.planning import xapi

    mobility, why = part.mobility.pool(0), refusals(part.vms, part.hosts)
    steps = mobility.first_step()
    kind_of: list[int] = mobility.kind_of.tolist()
    error_of = {step.value: None if step >= Step.UNDECIDED else (ERRORS[step],) for step in Step}
    errors: list[list[tuple[str, ...] | None]] = [[error_of[step] for step in kind] for kind in steps.tolist()]

    def boot_error(vm: int, host: int) -> tuple[str, ...] | None:
        return errors[kind_of[vm]][host]

    def migrate_error(vm: int) -> tuple[str, ...] | None:
        return (why[vm],) if vm in why else None

    allowed = is_allowed(steps) & part.hosts.enabled & part.hosts.live

    def is_held(vm: int, host: int) -> bool:
        elsewhere = allowed[kind_of[vm]].copy()
        elsewhere[host] = False
        return vm in why or not elsewhere.any()

    found = {}
    occupied = set(part.vms.resident_on[part.vms.is_guest].tolist())
    able = part.hosts.enabled & part.hosts.live
    for host in range(len(part.hosts)) if hosts is None else hosts:
        if able[host] and host in occupied:
            try:
                plan = xapi.plan_host_evacuation(part, host, boot_error=boot_error, migrate_error=migrate_error)
            except xapi.PlanningError as error:
                found[host] = _Stuck(str(error), held=False)
                continue
            if plan.errors:
                vm, (code, *_) = next(iter(plan.errors.items()))
                more = f" and {len(plan.errors) - 1} more" if len(plan.errors) > 1 else ""
                held = any(is_held(vm, host) for vm in plan.errors)
                found[host] = _Stuck(f"{part.vms.label(vm)} ({code}){more}", held)
    return found


def _stuck(question: Question, pool: int) -> dict[int, _Stuck]:
    """The hosts of a pool that cannot be emptied as things are; looked at once."""
    if pool not in question.stuck:
        question.stuck[pool] = _evacuation_errors(question.parts[pool])
    return question.stuck[pool]


def _each_pool(question: Question, look: Callable[[int, Fleet], Found]) -> Found:
    """What is found in each pool alone, whose rows are then those of the fleet."""
    rows: list[int] = []
    values: dict[str, list[object]] = {}
    for pool, part in enumerate(question.parts):
        seen = look(pool, part)
        rows += seen.rows
        for name, column in seen.values.items():
            values.setdefault(name, []).extend(column)
    return Found(rows, values)


@rule(
    "A03",
    "W",
    "hosts",
    "cannot be emptied by the pool now",
    text="{error}; {better}",
    consequence="a rolling update stops there",
    remedy="xenmem evacuate shows a plan, xenmem rolling-update one of the whole update",
    source="planning.md, 4",
    needs=("hosts", "totals"),
)
def _a03(question: Question) -> Found:
    from xenmem.planning import evacuate

    def look(pool: int, part: Fleet) -> Found:
        rows = []
        own = question.rows_of("hosts", pool)
        for host, stuck in _stuck(question, pool).items():
            better = "no plan moves them all"
            if not stuck.held:
                plan = None
                if not question.effort.over():
                    try:
                        plan = evacuate(part, host, time_limit=_seconds(question))
                    except ValueError as error:  # the memory of another host is unknown
                        question.undecided.append(str(error))
                if plan is None or plan.status == "unknown":
                    better = "whether a better plan exists was not found out in time"
                elif plan.is_complete and not plan.blocked:
                    better = "a better plan exists"
            rows.append((int(own[host]), {"error": stuck.error, "better": better}))
        return listing(rows)

    return _each_pool(question, look)


def _seconds(question: Question) -> float | None:
    left = question.effort.seconds_left()
    return None if isinf(left) else max(left, 0.05)


@rule(
    "A04",
    "I",
    "vms",
    "no room for a live move of its disks",
    text="needs {needed:size} a second time on {host}, which has {free:size} free",
    consequence="VDI.pool_migrate fails",
    remedy="move the VM first",
    source="xapi-project/xen-api, issue 4955",
    needs=("storage", "totals"),
)
def _a04(question: Question) -> Found:
    vms, hosts = question.fleet.vms, question.fleet.hosts
    has_disks = np.fromiter(map(bool, vms.needed_srs), np.bool_, len(vms))
    running = question.guest & (vms.power_state == PowerState.RUNNING) & (vms.resident_on >= 0)
    if not len(hosts):
        return Found([], {})
    free = question.fleet.free_memory("dynamic_min")[vms.resident_on]
    needed = memory_to_start(question.fleet)
    rows = np.flatnonzero(running & has_disks & (needed > free))
    return Found(
        rows.tolist(),
        {
            "needed": needed[rows].tolist(),
            "free": free[rows].tolist(),
            "host": [hosts.label(int(host)) for host in vms.resident_on[rows]],
        },
    )


@rule(
    "A05",
    "W",
    "pools",
    "VMs that start by themselves take the room of an update",
    text="{vms} with auto_poweron are halted; once they run {hosts} cannot be emptied",
    consequence="a rolling update breaks, before Xen Orchestra 6.7",
    remedy="xe pool-param-set uuid={uuid} other-config:auto_poweron=false, during the update",
    source="vatesfr/xen-orchestra issue 10104",
    needs=("pool", "hosts", "totals"),
)
def _a05(question: Question) -> Found:
    fleet, rows = question.fleet, []
    for pool in np.flatnonzero(fleet.pools.auto_poweron).tolist():
        part = question.parts[pool]
        halted = part.vms.is_guest & part.vms.auto_poweron & (part.vms.power_state == PowerState.HALTED)
        waiting = np.flatnonzero(halted).tolist()
        if not waiting:
            continue
        after = _started(part, waiting)
        now = _stuck(question, pool)
        lost = _evacuation_errors(after, [host for host in range(len(part.hosts)) if host not in now])
        if lost:
            names = listed([part.hosts.label(host) for host in sorted(lost)])
            rows.append((pool, {"vms": counted(len(waiting), "VM"), "hosts": names}))
    return listing(rows)


def _started(part: Fleet, vms: list[int]) -> Fleet:
    """The pool once these VMs run, the largest first, each where most is free."""
    needed = memory_to_start(part)
    able = part.hosts.enabled & part.hosts.live
    left = np.where(able, part.free_memory("dynamic_min"), -1)
    places: dict[int | str, int | str | None] = {}
    for vm in sorted(vms, key=lambda vm: -int(needed[vm])):
        host = int(left.argmax())
        if left[host] >= needed[vm]:
            places[vm] = host
            left[host] -= needed[vm]
    return part.moved(places)


@rule(
    "A06",
    "W",
    "vm_groups",
    "anti-affinity that does not hold",
    text="{vms} run, {what}",
    consequence="the rule cannot be kept, or is broken: one failed host takes them all",
    remedy="more hosts, or migrate them apart: xenmem pack --apart",
    source="planning.md, 4.1",
    needs=("hosts",),
)
def _a06(question: Question) -> Found:
    fleet, vms = question.fleet, question.fleet.vms
    members: dict[int, list[int]] = {}
    for vm in np.flatnonzero(question.running & (vms.resident_on >= 0)).tolist():
        for group in vms.groups[vm]:
            members.setdefault(group, []).append(vm)
    rows = []
    for group, own in sorted(members.items()):
        if fleet.vm_groups.placement[group] != "anti_affinity":
            continue
        hosts = len(question.rows_of("hosts", int(fleet.vm_groups.pool[group])))
        on = {int(vms.resident_on[vm]) for vm in own}
        if len(own) > hosts:
            rows.append((group, {"vms": counted(len(own), "VM"), "what": f"more than the {counted(hosts, 'host')}"}))
        elif len(own) > 1 and len(on) == 1:
            rows.append((group, {"vms": counted(len(own), "VM"), "what": f"all on {fleet.hosts.label(on.pop())}"}))
    return listing(rows)


# -------------------------------------------------------------------------------------------------- high availability


def _under_ha(question: Question) -> Bools:
    enabled: Bools = question.fleet.pools.ha_enabled[question.fleet.vms.pool]
    return question.guest & enabled


def _protected(question: Question) -> Bools:
    return is_protected(question.fleet.vms.ha_always_run, question.fleet.vms.ha_restart_priority)


@rule(
    "HA1",
    "W",
    "vms",
    "runs under HA, and is not protected",
    text="ha_restart_priority {priority}",
    consequence="the evacuation of its host is refused",
    remedy="xe vm-param-set uuid={uuid} ha-restart-priority=restart, or HA off during the update",
    source="xapi-project/xen-api, commit 3b63bc07a7",
    needs=("pool",),
)
def _ha1(question: Question) -> Found:
    vms = question.fleet.vms
    running = vms.power_state == PowerState.RUNNING
    named = np.where(vms.ha_restart_priority == "", "none", vms.ha_restart_priority)
    return found(_under_ha(question) & running & ~_protected(question), priority=named)


@rule(
    "HA2",
    "E",
    "pools",
    "HA says other than its plan",
    text="ha_overcommitted {said}; for {failures} the planner finds {outcome}",
    consequence="the database is stale, or the plan is lost",
    remedy="xe pool-ha-compute-max-host-failures-to-tolerate; xenmem failover --remedy",
    source="planning.md, 3.8",
    needs=("pool", "hosts", "totals", "storage", "networks", "devices"),
)
def _ha2(question: Question) -> Found:
    from xenmem.planning import xapi

    pools = question.fleet.pools
    rows = []
    for pool in np.flatnonzero(pools.ha_enabled).tolist():
        part = question.parts[pool]
        failures = int(pools.ha_host_failures_to_tolerate[pool])
        planned = xapi.HAPool.from_fleet(part)
        outcome = xapi.plan_for_n_failures(planned, failures)
        said = bool(pools.ha_overcommitted[pool])
        if (outcome == xapi.Outcome.PLAN_EXISTS_FOR_ALL_VMS) == said:
            values = {"said": str(said).lower(), "failures": counted(failures, "failure"), "outcome": outcome.value}
            rows.append((pool, values))
    return listing(rows)


@rule(
    "HA3",
    "W",
    "vms",
    "protected, and not agile",
    text="{why}",
    consequence="the pool says that it tolerates no host failure",
    remedy="xe vm-param-set uuid={uuid} ha-restart-priority=best-effort, or give every host what it needs",
    source="planning.md, 8.2",
    needs=("storage", "networks", "devices"),
)
def _ha3(question: Question) -> Found:
    wanted = question.guest & (question.fleet.vms.ha_restart_priority == RESTART)
    errors = question.fleet.agile_errors()
    names = np.array([Agility(code).name for code in range(len(Agility))], object)
    return found(wanted & (errors != Agility.AGILE), why=names[errors])


@rule(
    "HA4",
    "I",
    "pools",
    "overcommitting is allowed",
    text="ha_allow_overcommit true",
    consequence="nothing is refused that breaks the plan",
    remedy="xe pool-param-set uuid={uuid} ha-allow-overcommit=false",
    source="planning.md, 3.8",
    needs=("pool",),
)
def _ha4(question: Question) -> Found:
    return found(question.fleet.pools.ha_allow_overcommit)


@rule(
    "HA5",
    "I",
    "vms",
    "under HA, and far below static_max",
    text="dynamic_min {dynamic_min:size}, static_max {static_max:size}",
    consequence="HA counts static_max: far fewer failures are tolerated than ballooning would allow",
    remedy="a smaller static_max",
    source="planning.md, 8.2",
    needs=("pool",),
)
def _ha5(question: Question) -> Found:
    vms = question.fleet.vms
    far = FAR_BELOW * vms.memory_dynamic_min < vms.memory_static_max
    which = _under_ha(question) & _protected(question) & far
    return found(which, dynamic_min=vms.memory_dynamic_min, static_max=vms.memory_static_max)


# ---------------------------------------------------------------------------------------------------- pools as a whole


def _survives(question: Question, part: Fleet, policy: str) -> tuple[str, list[str]]:
    """Whether all guests that run there run again after any host has failed: an answer, and hosts that may not fail."""
    from xenmem.planning import RestartPool, failover

    guests = part.vms.is_guest & np.isin(part.vms.power_state, (PowerState.RUNNING, PowerState.PAUSED))
    try:
        pool = RestartPool.from_fleet(part, policy=policy, protected=guests)
    except ValueError as error:  # no host takes VMs, or the memory of one is not known
        question.undecided.append(str(error))
        return "unknown", []
    if not len(pool.vms):
        return "survives", []
    answer = failover(pool, 1, time_limit=_seconds(question))
    if answer.answer == "unknown":
        question.undecided.append(f"pool {part.pools.label(0)}: not found out in time")
    return answer.answer, [part.hosts.label(host) for host in answer.failed_hosts]


@rule(
    "N01",
    "W",
    "pools",
    "one host may not fail",
    text="the failure of {host} is not survived at static_max; at dynamic_min {ballooned}",
    consequence="VMs stay down after it",
    remedy="xenmem failover --failures 1 --restart running --remedy",
    source="docs.xenserver.com, reference architecture",
    needs=("hosts", "totals"),
)
def _n01(question: Question) -> Found:
    words = {"survives": "any host may fail", "loses": "it is not, either", "unknown": "it is not known"}

    def look(pool: int, part: Fleet) -> Found:
        if part.pools.ha_enabled[0]:
            return Found([], {})
        answer, failed = _survives(question, part, "static_max")
        if answer != "loses":
            return Found([], {})
        second, _ = _survives(question, part, "dynamic_min")
        return listing([(pool, {"host": listed(failed), "ballooned": words[second]})])

    return _each_pool(question, look)


@rule(
    "P01",
    "W",
    "pools",
    "larger than supported",
    text="{what}",
    consequence="beyond the product's limits",
    remedy="split the pool",
    source="docs.xenserver.com, configuration limits",
    needs=("hosts",),
)
def _p01(question: Question) -> Found:
    vms, hosts, rows = question.fleet.vms, question.fleet.hosts, []
    on = np.bincount(vms.resident_on[question.guest & (vms.resident_on >= 0)], minlength=len(hosts))
    for pool in range(len(question.fleet.pools)):
        own = question.rows_of("hosts", pool)
        what = [f"{len(own)} hosts, {MOST_HOSTS} are supported"] if len(own) > MOST_HOSTS else []
        full = [host for host in own.tolist() if on[host] > MOST_VMS]
        if full:
            what.append(
                f"{on[full[0]]} VMs on {listed([hosts.label(host) for host in full])}, {MOST_VMS} are supported"
            )
        if what:
            rows.append((pool, {"what": "; ".join(what)}))
    return listing(rows)


@rule(
    "P02",
    "I",
    "pools",
    "migrations take the slow network",
    text="{management} has {slow} Mbit/s, {other} {fast}",
    consequence="evacuations run over the slow link",
    remedy="xe pool-param-set uuid={uuid} other-config:xo:migrationNetwork={network}",
    source="vatesfr/xen-orchestra issue 6122",
    needs=("pool", "speeds"),
)
def _p02(question: Question) -> Found:
    fleet, networks, rows = question.fleet, question.fleet.networks, []
    for pool in range(len(fleet.pools)):
        own = question.rows_of("networks", pool)
        hosts = question.rows_of("hosts", pool)
        managed = own[networks.is_management[own] & (networks.speed[own] > 0)]
        shared = (
            set(own.tolist()).intersection(*(fleet.hosts.networks[host] for host in hosts)) if len(hosts) else set()
        )
        others = [net for net in sorted(shared) if not networks.is_management[net]]
        if fleet.pools.migration_network[pool] or not len(managed) or not others:
            continue
        slow = int(managed[networks.speed[managed].argmin()])
        fast = max(others, key=lambda net: int(networks.speed[net]))
        if networks.speed[fast] >= SLOW * networks.speed[slow]:
            names = {"management": networks.label(slow), "other": networks.label(fast), "network": networks.uuid[fast]}
            rows.append((pool, {**names, "slow": int(networks.speed[slow]), "fast": int(networks.speed[fast])}))
    return listing(rows)


@rule(
    "P03",
    "I",
    "pools",
    "an upgrade takes the room",
    text="to {to}: {what}",
    consequence="plan for it before the upgrade",
    remedy="free memory first: xenmem upgrade-check --to {to}",
    source="xapi-project/xen-api, commits ec3bd4a887, 4275f76a6c",
    needs=("hosts", "totals"),
)
def _p03(question: Question) -> Found:
    to = question.settings.upgrade_to
    model = kernel.model_name_for(to)

    def look(pool: int, part: Fleet) -> Found:
        if part.pools.model[0] == model:
            return Found([], {})
        hosts = upgrade_check(part, to).pools[0].newly_overcommitted
        what = [f"{listed([host.name_label or host.uuid for host in hosts])} would be overcommitted"] if hosts else []
        now, then = (_survives(question, fleet, "static_max")[0] for fleet in (part, upgraded(part, to)))
        if (now, then) == ("survives", "loses"):
            what.append("one host could not fail any more")
        return listing([(pool, {"to": to, "what": "; ".join(what)})] if what else [])

    return _each_pool(question, look)
