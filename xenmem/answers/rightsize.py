"""VMs that use far less or more memory than they have: what the record says, what is advised, and what that would do.

Amounts are bytes. Rules of advice: docs/reference/use.md, 5. What a change does is found by making it: in a fleet with
the VMs resized, free memory and host failures are asked of again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Literal

import numpy as np

from xenmem import kernel, planning
from xenmem.answers.failover import restart_pool
from xenmem.answers.naming import (
    Amounts,
    Answer,
    Named,
    PoolHead,
    QuestionError,
    Result,
    at,
    at_hosts,
    identity,
    named,
    pool_head,
)
from xenmem.columns import Bytes
from xenmem.fleet import POLICIES, Fleet
from xenmem.history.evidence import (
    HOUR,
    HOURLY_PERCENT,
    LEAST_DAYS,
    MINUTE,
    Evidence,
    Size,
    Terms,
    evidence,
    half_of,
    in_steps,
    size_of,
)
from xenmem.inventory.use import Use
from xenmem.planning.effort import Effort
from xenmem.rules.guest import lacks_balloon_driver, may_count_caches
from xenmem.text import counted
from xenmem.units import format_size

Kind = Literal["over", "under", "idle", "right", "unknown"]
TIME_LIMIT: Final = 60.0
_HOURLY: Final = "hourly"


class Measured(Result, frozen=True):
    """What the record says of a VM.

    Attributes
    ----------
    resolution : ``minutes``, ``hourly`` or ``daily`` means
    step : seconds from row to row
    first, last : when the first of the rows that count begins, and when the last one ends, in UTC
    days : between these
    rows, known : that there could be, and those that tell what was used
    memory : that the VM had in the last of them
    p50, p95, percentile, most : used
    low_free : share of rows with less than 5 % free
    cpu_p95 : share of its vCPUs that it used; None if it is not known
    """

    resolution: str
    step: int
    first: str
    last: str
    days: float
    rows: int
    known: int
    memory: int
    p50: int
    p95: int
    percentile: int
    most: int
    low_free: float
    cpu_p95: float | None


class Survives(Result, frozen=True):
    """Whether a pool survives a host failure, by what counts as the memory of a VM; None is not known."""

    static_max: bool | None
    dynamic_max: bool | None
    dynamic_min: bool | None


class Range(Result, frozen=True):
    """Limits between which a VM could balloon."""

    dynamic_min: int
    dynamic_max: int


class Sizing(Named, frozen=True):
    """A VM.

    Attributes
    ----------
    kind : ``over``, ``under``, ``idle``, ``right``, or ``unknown`` where the record does not tell
    quality : ``good``, ``preliminary`` or ``none``
    memory_static_max : what it has
    need : what it needs by the record
    recommended : memory_static_max that is advised; None where none is
    gains : what its host gains, overhead included; below 0 where it loses; None where nothing is advised
    host : where it runs
    host_free, host_free_after : of that host before and after; None where it runs nowhere
    survives, survives_after : the failure of any one host, before and after; None where nothing is advised
    range : in which it could balloon; None where that was not asked, or is not to be
    not_to_balloon : why it is not to
    caveats : what to read it with
    measured : None where nothing was
    """

    kind: Kind
    quality: str
    memory_static_max: int
    need: int | None
    recommended: int | None
    gains: Amounts | None
    host: Named | None
    host_free: Amounts | None
    host_free_after: Amounts | None
    survives: Survives | None
    survives_after: Survives | None
    range: Range | None
    not_to_balloon: list[str]
    caveats: list[str]
    measured: Measured | None


class PoolSizing(Result, frozen=True):
    """One pool.

    Attributes
    ----------
    vms : the guests, those by which most is gained first
    kinds : how many of each
    gains : what all hosts gain if all that is advised is done
    survives, survives_after : the failure of any one host, before all of it and after
    margin, margin_after : what every host could lose such that it still is, counted as static_max; below 0 what each
        lacks; None where that is not known
    """

    pool: PoolHead
    vms: list[Sizing]
    kinds: dict[str, int]
    gains: Amounts
    survives: Survives
    survives_after: Survives
    margin: int | None
    margin_after: int | None


class Rightsizing(Answer, frozen=True):
    """Sizes of VMs by what they use.

    Attributes
    ----------
    percentile, headroom, window : of use, percent above it, and days: the terms of advice
    strangers : VMs that were measured and are not in the inventory
    caveats : of all of it
    """

    percentile: float
    headroom: int
    window: int
    pools: list[PoolSizing]
    strangers: int
    caveats: list[str]


class _Found:
    """What is known of one guest."""

    def __init__(self, row: int) -> None:
        self.row = row
        self.evidence: Evidence | None = None
        self.size: Size | None = None
        self.counts_caches = False


def rightsize(
    fleet: Fleet,
    uses: Iterable[Use],
    *,
    terms: Terms = Terms(),  # noqa: B008 - it cannot change
    ranges: bool = False,
    time_limit: float = TIME_LIMIT,
) -> Rightsizing:
    """Which guests use far less or more than they have, and what another size would do.

    Parameters
    ----------
    fleet : as it is now
    uses : what was measured, as inventory.use gives it
    ranges : also in which range each could balloon
    time_limit : seconds for the questions about host failures of each pool

    Raises
    ------
    QuestionError : the terms contradict themselves, or nothing that was measured is in the inventory
    """
    if not 0 < terms.percentile <= 100:
        raise QuestionError(f"percentile: {float(terms.percentile):g} is outside 0..100")
    if not 0 <= terms.headroom <= 1000:
        raise QuestionError(f"headroom: {terms.headroom} is outside 0..1000 percent")
    if not 1 <= terms.days <= 3660:
        raise QuestionError(f"window: {terms.days} is outside 1..3660 days")
    vms = fleet.vms
    guests = np.flatnonzero(vms.is_guest).tolist()
    row_of = {vms.uuid[row].lower(): row for row in guests if vms.uuid[row]}
    found = {row: _Found(row) for row in guests}
    strangers = met = 0
    for use in uses:
        row = row_of.get(use.uuid)
        if row is None:
            strangers += 1
            continue
        met += 1
        _judge(fleet, found[row], use, terms)
    if not met:
        what = f"none of the {counted(strangers, 'VM')} that were measured is" if strangers else "no measured VM is"
        raise QuestionError(f"{what} in the inventory")
    pools = [
        _pool(fleet, pool, [found[row] for row in guests if vms.pool[row] == pool], ranges, time_limit)
        for pool in range(len(fleet.pools))
    ]
    every = [vm for pool in pools for vm in pool.vms]
    return Rightsizing(
        verdict=_verdict(pools, every),
        outcome="yes" if any(vm.kind != "unknown" for vm in every) else "unknown",
        percentile=float(terms.percentile),
        headroom=terms.headroom,
        window=terms.days,
        pools=pools,
        strangers=strangers,
        caveats=_caveats(every),
    )


def _judge(fleet: Fleet, one: _Found, use: Use, terms: Terms) -> None:
    vms, row = fleet.vms, one.row
    one.evidence = evidence(use, terms, int(vms.memory_dynamic_min[row]), int(vms.memory_dynamic_max[row]))
    if one.evidence is not None and not one.evidence.lacks:
        most, least = int(vms.memory_static_max[row]), int(vms.memory_static_min[row])
        one.counts_caches = may_count_caches(vms.agent_build[row])
        one.size = size_of(one.evidence, terms, most, least if least < most else 0, counts_caches=one.counts_caches)


def _advised(fleet: Fleet, one: _Found) -> int | None:
    """The size that is advised: of a VM that has too much less, of one that has too little more."""
    if one.size is None or one.size.kind not in ("over", "under"):
        return None
    has, to = int(fleet.vms.memory_static_max[one.row]), one.size.recommended
    return to if (to < has) == (one.size.kind == "over") and to != has else None


def resized(fleet: Fleet, sizes: Mapping[int, int]) -> Fleet:
    """The fleet once VMs have another memory_static_max, and have been started with it.

    Parameters
    ----------
    sizes : row of the VM to bytes. A dynamic limit that was the old static_max, or is above the new one, follows it
    """
    vms = fleet.vms
    rows = np.fromiter(sizes, np.int64, len(sizes))
    to = np.fromiter(sizes.values(), np.int64, len(sizes))
    had = vms.memory_static_max[rows]
    changed = {"memory_static_max": to, "accounted_static_max": to}
    for name in ("memory_dynamic_max", "memory_dynamic_min"):
        limit = getattr(vms, name)[rows]
        changed[name] = np.where(limit == had, to, np.minimum(limit, to))
    changed["memory_static_min"] = np.minimum(vms.memory_static_min[rows], changed["memory_dynamic_min"])
    for model in set(fleet.pools.model[vms.pool[rows]].tolist()):
        these = fleet.pools.model[vms.pool[rows]] == model
        of = rows[these]
        overhead = changed.setdefault("memory_overhead", vms.memory_overhead[rows])
        overhead[these] = kernel.overhead(
            vms.domain_type[of], to[these], vms.VCPUs_max[of], vms.HVM_shadow_multiplier[of], model=model
        )
    columns = {}
    for name, values in changed.items():
        column = getattr(vms, name).copy()
        column[rows] = values
        columns[name] = column
    return fleet.replace(vms=replace(vms, **columns))


class _Failures:
    """Whether a pool survives the failure of any one host, while the time lasts."""

    def __init__(self, pool: int, time_limit: float) -> None:
        self._pool, self._time_limit = pool, time_limit
        self._effort: Effort | None = None

    def survives(self, fleet: Fleet, policies: Sequence[str] = POLICIES) -> dict[str, bool | None]:
        """By policy, of those that are asked about."""
        return {policy: self._ask(fleet, policy) for policy in policies}

    def _ask(self, fleet: Fleet, policy: str) -> bool | None:
        seconds, pool = self._seconds(), self._restart_pool(fleet, policy)
        if pool is None or not seconds:
            return None
        answer = planning.failover(pool, 1, time_limit=seconds)
        return None if answer.answer == "unknown" else answer.survives

    def margin(self, fleet: Fleet) -> int | None:
        """Counted as static_max."""
        seconds, pool = self._seconds(), self._restart_pool(fleet, "static_max")
        return planning.margin(pool, 1, time_limit=seconds) if pool is not None and seconds else None

    def _restart_pool(self, fleet: Fleet, policy: str) -> planning.RestartPool | None:
        """None if no host takes VMs, or the memory of one is not known."""
        try:
            return restart_pool(fleet, self._pool, None, policy)
        except QuestionError:
            return None

    def _seconds(self) -> float:
        """That are left since the first question was answered, which may have had to be compiled; 0 if none are."""
        if self._effort is None:
            self._effort = Effort(None)
            return self._time_limit
        if self._effort.time_limit is None:
            self._effort = Effort(self._time_limit)
        return self._effort.seconds_left()


_ORDER: Final[tuple[Kind, ...]] = ("under", "over", "idle", "right", "unknown")


def _pool(fleet: Fleet, pool: int, found: Sequence[_Found], ranges: bool, time_limit: float) -> PoolSizing:
    sizes = {one.row: to for one in found if (to := _advised(fleet, one)) is not None}
    failures = _Failures(pool, time_limit)
    change = _Change(fleet, resized(fleet, sizes) if sizes else fleet, failures)
    margin = failures.margin(fleet)
    vms = [_sizing(change, one, sizes.get(one.row), ranges) for one in found]
    kinds = [vm.kind for vm in vms]
    here = fleet.hosts.pool == pool
    gains = {
        policy: int((change.left(change.after, policy) - change.left(fleet, policy))[here].sum()) for policy in POLICIES
    }
    return PoolSizing(
        pool=pool_head(fleet, pool),
        vms=sorted(vms, key=lambda vm: (_ORDER.index(vm.kind), -abs(vm.gains.static_max) if vm.gains else 0)),
        kinds={kind: kinds.count(kind) for kind in _ORDER},
        gains=Amounts(**gains),
        survives=Survives(**change.now),
        survives_after=Survives(**(failures.survives(change.after) if sizes else change.now)),
        margin=margin,
        margin_after=failures.margin(change.after) if sizes else margin,
    )


class _Change:
    """A fleet before all that is advised of a pool, and after.

    Attributes
    ----------
    before, after : the fleets
    failures : what a pool survives
    now : what it survives before, by policy
    free : what each host has left before, by policy
    gains : what each VM gives to its host, by policy
    """

    def __init__(self, before: Fleet, after: Fleet, failures: _Failures) -> None:
        self.before, self.after, self.failures = before, after, failures
        self.now = failures.survives(before)
        self.free = {policy: self.left(before, policy).tolist() for policy in POLICIES}
        self.gains = {
            policy: (
                before.amount(policy) + before.vms.memory_overhead - after.amount(policy) - after.vms.memory_overhead
            ).tolist()
            for policy in POLICIES
        }

    @staticmethod
    def left(fleet: Fleet, policy: str) -> Bytes:
        """What is left on each host, below 0 where it is overcommitted, so that differences are what they say."""
        return fleet.hosts.available - at_hosts(fleet, fleet.amount(policy) + fleet.vms.memory_overhead)


def _sizing(change: _Change, one: _Found, to: int | None, ranges: bool) -> Sizing:
    fleet, row = change.before, one.row
    vms, host = fleet.vms, int(fleet.vms.resident_on[row])
    gains = free = free_after = survives = survives_after = None
    if to is not None:
        gains = at(change.gains, row)
        survives = Survives(**change.now)
        # less memory never makes a failure worse, nor more of it one better
        open_to = [
            policy for policy in POLICIES if (gained := getattr(gains, policy)) and change.now[policy] is (gained < 0)
        ]
        found = change.failures.survives(resized(fleet, {row: to}), open_to) if open_to else {}
        survives_after = Survives(**(change.now | found))
        if host >= 0:
            free = at(change.free, host)
            free_after = Amounts(**{policy: getattr(free, policy) + getattr(gains, policy) for policy in POLICIES})
    balloons, obstacles = _range(fleet, one) if ranges else (None, [])
    return Sizing(
        **identity(vms, row),
        kind=one.size.kind if one.size is not None else "unknown",
        quality=_quality(one),
        memory_static_max=int(vms.memory_static_max[row]),
        need=one.size.need if one.size is not None else None,
        recommended=to,
        gains=gains,
        host=named(fleet.hosts, host),
        host_free=free,
        host_free_after=free_after,
        survives=survives,
        survives_after=survives_after,
        range=balloons,
        not_to_balloon=obstacles,
        caveats=_caveats_of(fleet, one, to),
        measured=_measured(one.evidence) if one.evidence is not None else None,
    )


def _quality(one: _Found) -> str:
    if one.size is None or one.evidence is None:
        return "none"
    return "preliminary" if one.evidence.is_preliminary else "good"


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _measured(found: Evidence) -> Measured:
    return Measured(
        resolution="minutes" if found.step <= MINUTE else _HOURLY if found.step <= HOUR else "daily",
        step=found.step,
        first=_moment(found.first - found.step),
        last=_moment(found.last),
        days=round(found.days, 3),
        rows=found.rows,
        known=found.known,
        memory=found.memory,
        p50=found.p50,
        p95=found.p95,
        percentile=found.percentile,
        most=found.most,
        low_free=round(found.low_free, 6),
        cpu_p95=found.cpu,
    )


def _caveats_of(fleet: Fleet, one: _Found, to: int | None) -> list[str]:
    found = one.evidence
    if found is None:
        return ["no row tells what it used: its guest does not say what is free, or it was not measured"]
    if found.lacks:
        return [f"not enough data: {found.lacks}"]
    caveats = []
    if found.is_preliminary:
        caveats.append(f"preliminary: {found.days:.1f} days, and {LEAST_DAYS} are needed")
    if not found.is_of_minutes:
        caveats.append(
            f"hourly means hide peaks that are shorter: the largest mean and {HOURLY_PERCENT - 100} % stand for the"
            " percentile"
        )
    if found.changed is not None:
        caveats.append(f"only what was measured since its memory changed, {_moment(found.changed)}, counts")
    assert one.size is not None
    half = in_steps(half_of(int(fleet.vms.memory_static_max[one.row])))
    if one.size.kind == "over" and one.size.wanted < half == to:
        caveats.append("half of what it has is as far as one step goes")
    if one.counts_caches and one.size.kind in ("over", "under"):
        caveats.append("upper bound of use: caches counted, for its agent may tell MemFree")
    if one.size.kind == "under" and to is None:
        caveats.append("its static_max would do, but it does not have all of it")
    return caveats


def _range(fleet: Fleet, one: _Found) -> tuple[Range | None, list[str]]:
    """In which range a VM could balloon, or why it is not to."""
    vms, row = fleet.vms, one.row
    if one.size is None:
        return None, []
    obstacles = []
    if fleet.pools.restrict_dmc[vms.pool[row]]:
        obstacles.append("ballooning is not licensed")
    if vms.VGPUs[row] or vms.attached_PCIs[row] or vms.vf_hosts[row] is not None:
        obstacles.append("a vGPU, a PCI device or a virtual function is attached")
    if lacks_balloon_driver(vms.os_distro[row], vms.os_major[row]):
        obstacles.append(f"the kernel of {vms.os_distro[row]} {vms.os_major[row]} has no balloon driver")
    if vms.nested_virt[row] or vms.asks_for_nested_virt[row]:
        obstacles.append("it runs with nested virtualisation")
    if one.size.dynamic_min >= vms.memory_static_max[row]:
        obstacles.append("it uses all that it has")
    if obstacles:
        return None, obstacles
    return Range(one.size.dynamic_min, int(vms.memory_static_max[row])), []


def _caveats(vms: Sequence[Sizing]) -> list[str]:
    judged = [vm for vm in vms if vm.kind != "unknown" and vm.measured is not None]
    caveats = []
    hourly = sum(vm.measured is not None and vm.measured.resolution == _HOURLY for vm in judged)
    if hourly:
        of = f"{counted(hourly, 'VM')} of {len(judged)}" if hourly < len(judged) else f"{counted(hourly, 'VM')}"
        caveats.append(f"of {of} there are hourly means alone, which hide shorter peaks: collect minutes every 2 hours")
    short = sum(vm.quality == "preliminary" for vm in judged)
    if short:
        caveats.append(f"of {counted(short, 'VM')} the record is shorter than {LEAST_DAYS} days: preliminary")
    if any(vm.range is not None for vm in vms):
        caveats.append("a migration takes a VM to its dynamic_min: it must be a size that the VM can work with")
    return caveats


def _verdict(pools: Sequence[PoolSizing], vms: Sequence[Sizing]) -> str:
    judged = [vm for vm in vms if vm.kind != "unknown"]
    if not judged:
        return f"The record is too short or too patchy to say anything of {counted(len(vms), 'VM')}."
    over = [vm for vm in vms if vm.kind == "over"]
    under = sum(vm.kind == "under" for vm in vms)
    freed = sum(vm.gains.static_max for vm in over if vm.gains is not None)
    parts = [
        f"{len(over)} of {counted(len(judged), 'VM')} {'has' if len(over) == 1 else 'have'} far more memory than"
        f" {'it uses' if len(over) == 1 else 'they use'}"
        + (f", {format_size(freed)} that could be freed" if freed else "")
    ]
    if under:
        parts.append(f"{under} {'has' if under == 1 else 'have'} too little")
    missing = len(vms) - len(judged)
    if missing:
        parts.append(f"of {missing} the record does not tell")
    gained = [pool for pool in pools if pool.survives.static_max is False and pool.survives_after.static_max]
    lost = [pool for pool in pools if pool.survives.static_max and pool.survives_after.static_max is False]
    if gained:
        parts.append("and then any one host may fail")
    if lost:
        parts.append("but then not any one host may fail")
    return f"{'; '.join(parts)}."
