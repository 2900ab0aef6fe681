"""The pool's planners in plain Python: lists, dictionaries and loops, as the rules are written, one thing at a time.

What xenmem.planning.xapi is compared with, so it imports nothing of xenmem, nor numpy. Hosts and VMs are any values
that can be compared and hashed; sizes are plain numbers. A list of pairs is a list of tuples.
Source: docs/reference/planning.md, 2 to 6.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

Sizes = Sequence[tuple[Any, int]]
Pairs = list[tuple[Any, Any]]


class RefusedError(Exception):
    """A Failure of the reference, with its text."""


class DivisionError(Exception):
    """Division_by_zero."""


class CorruptedError(Exception):
    """INTERNAL_ERROR of an evacuation."""


# ------------------------------------------------------------------------------------------------------- packing (2)


def biggest_fit_decreasing(vms: Sizes, hosts: Sizes) -> Pairs:
    waiting = sorted(vms, key=lambda pair: -pair[1])
    left = sorted(hosts, key=lambda pair: -pair[1])
    plan: Pairs = []
    for vm, size in waiting:
        if not left or left[0][1] - size < 0:
            continue
        host, free = left.pop(0)
        plan.insert(0, (vm, host))
        place = 0
        while place < len(left) and left[place][1] > free - size:
            place += 1
        left.insert(place, (host, free - size))
    return plan


def lookup(pairs: Sizes, wanted: Any) -> int:
    for key, value in pairs:
        if key == wanted:
            return value
    raise RefusedError("Not_found")


class Configuration(NamedTuple):
    hosts: Sizes
    vms: Sizes
    placement: Pairs
    total_hosts: int
    num_failures: int


def check(config: Configuration) -> None:
    for vm, host in config.placement:
        if vm not in [known for known, _ in config.vms]:
            raise RefusedError("VM not found")
        if host not in [known for known, _ in config.hosts]:
            raise RefusedError("Host not found")
    if config.num_failures > config.total_hosts:
        raise RefusedError("num_failures > total_hosts")
    if config.num_failures < 0:
        raise RefusedError("num_failures < 0")


def account(hosts: Sizes, vms: Sizes, plan: Pairs) -> Sizes:
    return [
        (host, free - sum(lookup(vms, vm) for vm, planned_host in plan if planned_host == host)) for host, free in hosts
    ]


def apply_plan(config: Configuration, plan: Pairs) -> Configuration:
    planned = [vm for vm, _ in plan]
    untouched = [(vm, host) for vm, host in config.placement if vm not in planned]
    return config._replace(hosts=account(config.hosts, config.vms, plan), placement=plan + untouched)


def failed_vms(config: Configuration, dead_hosts: Iterable[Any]) -> list[Any]:
    dead = list(dead_hosts)
    return [vm for vm, host in config.placement if host in dead]


def simulate_failure(config: Configuration, dead_host: Any) -> Configuration | None:
    failed = failed_vms(config, [dead_host])
    hosts = [(host, free) for host, free in config.hosts if host != dead_host]
    plan = biggest_fit_decreasing([(vm, lookup(config.vms, vm)) for vm in failed], hosts)
    if len(plan) != len(failed):
        return None
    moved: dict[Any, Any] = {}
    for vm, host in plan:
        moved.setdefault(vm, host)
    return config._replace(
        hosts=account(hosts, config.vms, plan),
        placement=[(vm, moved.get(vm, host)) for vm, host in config.placement],
        num_failures=config.num_failures - 1,
    )


def trivially_impossible(config: Configuration) -> bool:
    if len(config.hosts) < config.num_failures:
        return True
    return len(config.hosts) == config.num_failures and len(config.vms) > 0


def exhaustive(config: Configuration) -> bool:
    if trivially_impossible(config):
        return False
    for order in itertools.permutations([host for host, _ in config.hosts], config.num_failures):
        state: Configuration | None = config
        for host in order:
            assert state is not None
            state = simulate_failure(state, host)
            if state is None:
                return False
    return True


def truncated(number: int, divisor: int) -> int:
    return number // divisor if number >= 0 else -(-number // divisor)


def approximate(config: Configuration) -> bool:
    if trivially_impossible(config):
        return False
    if not config.vms:
        return True
    largest = max(size for _, size in config.vms)
    if largest == 0 and config.hosts:
        raise DivisionError
    capacities = sorted((truncated(free, largest) for _, free in config.hosts), reverse=True)
    counts = sorted((sum(on == host for _, on in config.placement) for host, _ in config.hosts), reverse=True)
    return sum(counts[: config.num_failures]) <= sum(capacities[config.num_failures :])


def heuristic(total_hosts: int, num_failures: int) -> str:
    combinations = math.comb(total_hosts, num_failures) * math.factorial(num_failures)
    return "exhaustive" if total_hosts <= 32 and combinations < 3500 else "approximate"


def always_possible(config: Configuration) -> bool:
    check(config)
    return {"exhaustive": exhaustive, "approximate": approximate}[heuristic(config.total_hosts, config.num_failures)](
        config
    )


def specific_plan(config: Configuration, failed: Iterable[Any]) -> Pairs:
    return biggest_fit_decreasing([(vm, lookup(config.vms, vm)) for vm in failed], config.hosts)


# -------------------------------------------------------------------------------------------- high availability (3)


class HAHost(NamedTuple):
    ref: int
    uuid: str
    enabled: bool
    live: bool
    free: int  # under static_max, not below 0
    cluster_enabled: bool


class HAVM(NamedTuple):
    ref: int
    uuid: str
    protected: bool
    resident_on: int | None
    scheduled_on: int | None
    size: int
    agile: bool
    bootable_hosts: tuple[int, ...]


class Move(NamedTuple):
    host: int
    vm: int
    memory: int
    size: int


class Change(NamedTuple):
    leaving: tuple[Move, ...] = ()
    arriving: tuple[Move, ...] = ()
    hosts_to_disable: tuple[int, ...] = ()
    num_failures: int | None = None
    new_vms_to_protect: tuple[int, ...] = ()


class Restart(NamedTuple):
    plan: Pairs
    config: Configuration
    not_restarted: list[int]
    non_agile: bool


def live_set(hosts: Sequence[HAHost]) -> list[int]:
    return [host.ref for host in hosts if host.enabled and host.live]


def restart_plan(
    hosts: Sequence[HAHost], vms: Sequence[HAVM], alive: Sequence[int], change: Change, num_failures: int
) -> Restart:
    if change.num_failures is not None:
        num_failures = change.num_failures
    by_ref = {vm.ref: vm for vm in vms}
    ensured = [vm for vm in vms if vm.protected] + [by_ref[ref] for ref in change.new_vms_to_protect]
    for place, vm in enumerate(ensured):
        arrivals = [move for move in change.arriving if move.vm == vm.ref]
        departures = [move for move in change.leaving if move.vm == vm.ref]
        if arrivals:
            ensured[place] = vm._replace(resident_on=arrivals[0].host, size=arrivals[0].size)
        elif departures:
            ensured[place] = vm._replace(resident_on=None)

    hosts = sorted(hosts, key=lambda host: host.uuid)
    live = [
        host
        for host in hosts
        if host.enabled and host.live and host.ref not in change.hosts_to_disable and host.ref in alive
    ]
    live_refs = [host.ref for host in live]
    ensured.sort(key=lambda vm: vm.uuid)

    def accounted(vm: HAVM) -> int | None:
        for ref in (vm.resident_on, by_ref[vm.ref].scheduled_on):
            if ref in live_refs:
                return ref
        return None

    free: Sizes = [
        (
            host.ref,
            host.free
            + sum(move.memory for move in change.leaving if move.host == host.ref)
            - sum(move.memory for move in change.arriving if move.host == host.ref),
        )
        for host in live
    ]
    sizes = [(vm.ref, vm.size) for vm in ensured]
    pinned: Pairs = []
    for vm in ensured:
        if vm.agile or accounted(vm) is not None:
            continue
        bootable = [host.ref for host in hosts if host.ref in vm.bootable_hosts]
        pinned += [(vm.ref, ref) for ref in bootable[:1]]
    agile = [vm for vm in ensured if vm.agile]
    config = Configuration(
        hosts=account(free, sizes, pinned),
        vms=[(vm.ref, vm.size) for vm in agile],
        placement=[(vm.ref, accounted(vm)) for vm in agile if accounted(vm) is not None],
        total_hosts=len(hosts),
        num_failures=num_failures,
    )
    check(config)
    plan = specific_plan(config, [vm.ref for vm in agile if accounted(vm) is None])
    planned = [ref for ref, _ in plan]
    config = apply_plan(config, plan)
    check(config)
    return Restart(
        pinned + plan,
        config,
        [vm.ref for vm in ensured if accounted(vm) is None and vm.ref not in planned],
        any(not vm.agile for vm in ensured),
    )


def outcome(hosts: Sequence[HAHost], vms: Sequence[HAVM], change: Change, num_failures: int) -> str:
    try:
        restart = restart_plan(hosts, vms, live_set(hosts), change, num_failures)
        if restart.not_restarted or not always_possible(restart.config):
            return "no_plan_exists"
    except (RefusedError, DivisionError):
        return "no_plan_exists"
    return "plan_exists_excluding_non_agile_vms" if restart.non_agile else "plan_exists_for_all_vms"


def max_failures(hosts: Sequence[HAHost], vms: Sequence[HAVM], corosync: bool) -> int:
    def survives(failures: int) -> bool:
        return outcome(hosts, vms, Change(), failures) == "plan_exists_for_all_vms"

    up = len(hosts)
    if corosync:
        disabled = sum(not host.cluster_enabled for host in hosts)
        up = truncated(len(hosts) - disabled - 1, 2) + disabled
    lo = 0
    while up - lo >= 2:
        mid = (lo + up) // 2
        lo, up = (mid, up) if survives(mid) else (lo, mid)
    return up if survives(up) else lo


# -------------------------------------------------------------------------------------------------- evacuation (4)


class Leaver(NamedTuple):
    ref: int
    size: int
    group: int | None


class Target(NamedTuple):
    ref: str
    free: int


Counts = Mapping[tuple[int, str], int]


def first_host(queue: list[list[Any]], size: int) -> tuple[list[Any] | None, list[list[Any]]]:
    """Take [count, free, ref] entries from the queue, smallest first, until one has room; the rest of the queue."""
    rest = sorted(queue)
    while rest:
        entry = rest.pop(0)
        if size <= entry[1]:
            return entry, rest
    return None, rest


def ascending(vms: Sequence[Leaver]) -> list[Leaver]:
    return sorted((vm for vm in vms if vm.group is not None), key=lambda vm: vm.size)


def spread_evenly(vms: Sequence[Leaver], hosts: Sequence[Target], counts: Counts) -> Pairs:
    queues = {
        vm.group: [[counts.get((vm.group, host.ref), 0), host.free, host.ref] for host in hosts]
        for vm in vms
        if vm.group is not None
    }
    plan: Pairs = []
    failed = False
    for vm in ascending(vms):
        if failed:
            raise CorruptedError
        entry, rest = first_host(queues[vm.group], vm.size)
        if entry is None:
            plan, failed = [], True
            continue
        queues[vm.group] = [*rest, [entry[0] + 1, entry[1], entry[2]]]
        take(queues.values(), entry[2], vm.size)
        plan.insert(0, (vm.ref, entry[2]))
    return plan


def take(queues: Iterable[list[list[Any]]], host: str, size: int) -> None:
    for queue in queues:
        for entry in queue:
            if entry[2] == host:
                entry[1] -= size


def no_breach(vms: Sequence[Leaver], hosts: Sequence[Target], counts: Counts) -> tuple[Pairs, list[int]]:
    queues: dict[int, list[list[Any]]] = {}
    used: dict[int, int] = {}
    for group in {vm.group for vm in vms if vm.group is not None}:
        empty = [host for host in hosts if counts.get((group, host.ref), 0) == 0]
        queues[group] = [[0, host.free, host.ref] for host in empty]
        used[group] = len(hosts) - len(empty)
    plan: Pairs = []
    not_planned: list[int] = []
    for vm in ascending(vms):
        assert vm.group is not None
        entry, rest = first_host(queues[vm.group], vm.size)
        if used[vm.group] >= 2 or entry is None:
            not_planned.insert(0, vm.ref)
            continue
        queues[vm.group] = rest
        used[vm.group] += 1
        take(queues.values(), entry[2], vm.size)
        plan.insert(0, (vm.ref, entry[2]))
    return plan, not_planned


def evacuation_plan(
    total_hosts: int, vms: Sequence[Leaver], hosts: Sequence[Target], counts: Counts, groups_enabled: bool
) -> Pairs:
    if not groups_enabled:
        vms = [vm._replace(group=None) for vm in vms]
    config = Configuration(hosts, [(vm.ref, vm.size) for vm in vms], [], total_hosts, 1)
    check(config)
    everybody = [vm.ref for vm in vms]
    if total_hosts < 3 or not groups_enabled:
        return specific_plan(config, everybody)

    def complete(plan: Pairs, rest: list[int]) -> Pairs | None:
        packed = specific_plan(config._replace(hosts=account(hosts, config.vms, plan)), rest)
        return plan + packed if plan and len(packed) == len(rest) else None

    others = [vm.ref for vm in vms if vm.group is None]
    first = complete(spread_evenly(vms, hosts, counts), others)
    if first is not None:
        return first
    plan, not_planned = no_breach(vms, hosts, counts)
    second = complete(plan, others + not_planned)
    return second if second is not None else specific_plan(config, everybody)


# --------------------------------------------------------------------------------------------------- host choice (5)


class Sums(NamedTuple):
    dynamic_min: int
    dynamic_max: int
    static_max: int
    available: int


def category_value(category: str, host: Sums, affine: bool, disfavoured: bool) -> int:
    if category == "affinity" and not affine:
        return -1
    if category in ("affinity", "possible"):
        if host.available >= host.dynamic_max:
            return 1000
        if host.available < host.dynamic_min:
            return -1
        return 1000 * (host.available - host.dynamic_min) // (host.dynamic_max - host.dynamic_min)
    value = host.available - (host.static_max if category == "definite" else host.dynamic_max)
    return truncated(value - 1, 2) if disfavoured else value


def select_host(
    hosts: Sequence[Sums],
    affinity: Iterable[int],
    coordinator: Iterable[int],
    is_valid: Callable[[int], bool],
    random: Callable[[], float],
) -> int | None:
    affine, disfavoured = list(affinity), list(coordinator)
    left = list(range(len(hosts)))
    for category in ("affinity", "definite", "probable", "possible"):
        values = {
            place: category_value(category, hosts[place], place in affine, place in disfavoured) for place in left
        }
        left.sort(key=lambda place: -values[place])
        inside = [place for place in left if values[place] >= 0]
        left = [place for place in left if values[place] < 0]
        while inside:
            chosen = inside.pop(math.floor(len(inside) * random()))
            if is_valid(chosen):
                return chosen
    return None


# --------------------------------------------------------------------------------------------------- ballooning (6)


class Domain(NamedTuple):
    domid: int
    can_balloon: bool
    dynamic_min: int
    target: int
    dynamic_max: int
    actual: int
    max: int
    inaccuracy: int


def hit(domain: Domain, target: int) -> bool:
    return abs(domain.actual - target) <= domain.inaccuracy


def targets(domains: Sequence[Domain], free: int, wanted: int) -> Pairs:
    surplus = free - wanted
    ranges = 0
    for domain in domains:
        surplus += max(0, domain.actual - domain.dynamic_min - 2 * domain.inaccuracy)
        ranges += max(0, domain.dynamic_max - domain.dynamic_min)
    surplus = max(0, surplus)
    gamma = 0.0
    if surplus > 0:
        gamma = 1.0 if ranges == 0 else min(1.0, float(surplus) / float(ranges))
    answer = [
        (domain.domid, domain.dynamic_min + int(gamma * float(max(0, domain.dynamic_max - domain.dynamic_min))))
        for domain in domains
    ]
    return sorted(answer, reverse=True)


class Squeezer:
    """The state of the loop: by domid the last actual, the last time of progress, and whether it is stuck."""

    def __init__(self) -> None:
        self.state: dict[int, tuple[int, float, bool]] = {}
        self.non_active: list[int] = []

    def iterate(
        self, domains: Sequence[Domain], free: int, wanted: int, now: float, succeeds: Callable[[int], bool]
    ) -> dict[str, Any]:
        state: dict[int, tuple[int, float, bool]] = {}
        for domain in sorted(domains):
            last, since, stuck = self.state.get(domain.domid, (domain.actual, now, False))
            direction = 0 if hit(domain, domain.target) else 1 if domain.target > domain.actual else -1
            if (domain.actual > last and direction == 1) or (domain.actual < last and direction == -1):
                since, stuck = now, False
            if direction != 0 and now - since > 5:
                stuck = True
            state[domain.domid] = (domain.actual, since, stuck)
        self.state = state
        active = [domain for domain in domains if domain.can_balloon and not state[domain.domid][2]]
        before, self.non_active = self.non_active, [domain.domid for domain in domains if domain not in active]
        wanted_targets = targets(active, free, wanted)
        by_domid = {domain.domid: domain for domain in active}
        freeing = [
            (domid, target)
            for domid, target in wanted_targets
            if not hit(by_domid[domid], target) and target < by_domid[domid].actual
        ]
        chosen = freeing or wanted_targets
        if any(not hit(domain, domain.target) for domain in active) or any(
            by_domid[domid].target != target for domid, target in chosen
        ):
            action: tuple[str, Any] = ("adjust", chosen)
        elif succeeds(free):
            action = ("success", None)
        else:
            balloons = [domain.domid for domain in domains if domain.can_balloon]
            action = ("failed", sorted((domid for domid in self.non_active if domid in balloons), reverse=True))
        return {
            "phase": "freeing" if freeing else "allocation",
            "inactive": sorted(self.non_active, reverse=True),
            "declared_active": sorted(set(before) - set(self.non_active)),
            "declared_inactive": sorted(set(self.non_active) - set(before)),
            "action": action,
        }
