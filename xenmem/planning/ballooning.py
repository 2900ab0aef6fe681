"""Where the VMs of a host are squeezed to when another one starts there: as the pool does it, and without its mistakes.

All amounts are KiB, as squeezed counts. A host is planning.xapi.balloon's: domains, and the free memory that is left.
docs/reference/planning.md, 7.5 lists what is mended here: nobody is promised memory that is not there, a domain below
its minimum is a debt, the newcomer's minimum is deducted before the rest is shared, and no KiB is lost to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from xenmem import kernel
from xenmem.fleet import PowerState
from xenmem.planning.xapi.balloon import (
    INACCURACY_KIB,
    NEWCOMER,
    SLUSH_FUND_KIB,
    Domain,
    Host,
    Target,
    balance_memory,
    free_memory_range,
)
from xenmem.planning.xapi.errors import CannotFreeError, DomainsRefusedError
from xenmem.rules.hosts import is_known
from xenmem.units import KIB, format_size

if TYPE_CHECKING:
    from xenmem.fleet import Fleet


_MOST_SECONDS: Final = 300.0


class Squeeze(NamedTuple):
    """What the pool does when a VM starts on a host, or a range is reserved.

    Attributes
    ----------
    granted_kib : what the newcomer gets; None if squeezed cannot free its minimum
    targets : of the domains that can balloon once the memory is free, or squeezed has given up, by descending domid
    balanced : of the same and of the newcomer, once its driver is up and squeezed has rebalanced the host
    """

    granted_kib: int | None
    targets: tuple[Target, ...]
    balanced: tuple[Target, ...]


def squeeze(host: Host, min_kib: int, max_kib: int, *, slush_fund_kib: int = SLUSH_FUND_KIB) -> Squeeze:
    """The targets that squeezed sets so that a domain with this range can start.

    Parameters
    ----------
    host : the domains, and the free memory with the slush fund in it
    min_kib, max_kib : the range of the newcomer, its overhead included
    slush_fund_kib : kept free at all times

    Raises
    ------
    ValueError : the range is negative or empty

    Notes
    -----
    Runs squeezed's own loop on a host whose domains do at once what they are told, as far as there is memory.
    Source: planning.md, 6.3 and 6.4 (ocaml/squeezed/lib/squeeze.ml).
    """
    _check_range(min_kib, max_kib)
    there = _PromptHost(host)
    try:
        granted = free_memory_range(there, min_kib, max_kib, slush_fund_kib=slush_fund_kib)
    except (CannotFreeError, DomainsRefusedError):
        return Squeeze(None, there.targets(), ())
    targets = there.targets()
    there.add(Domain(NEWCOMER, True, min_kib, granted, max_kib, granted, granted, INACCURACY_KIB))
    with suppress(CannotFreeError, DomainsRefusedError):
        balance_memory(there, slush_fund_kib=slush_fund_kib)
    return Squeeze(granted, targets, there.targets())


class _PromptHost:
    """A host whose domains reach their targets within one wait, as exactly as they can: those that shrink go first."""

    def __init__(self, host: Host) -> None:
        self._domains = {domain.domid: domain for domain in host.domains}
        self._free_kib = host.free_mem_kib
        self._now = 0.0

    def add(self, domain: Domain) -> None:
        """One more domain, which takes its memory."""
        self._domains[domain.domid] = domain
        self._free_kib -= domain.memory_actual_kib

    def targets(self) -> tuple[Target, ...]:
        """Those of the domains that can balloon, by descending domid."""
        return tuple(
            Target(domid, domain.target_kib)
            for domid, domain in sorted(self._domains.items(), reverse=True)
            if domain.can_balloon
        )

    def snapshot(self) -> Host:
        return Host(tuple(self._domains.values()), self._free_kib)

    def set_target(self, domid: int, kib: int) -> None:
        if kib >= 0 and self._domains[domid].can_balloon:
            self._domains[domid] = self._domains[domid]._replace(target_kib=kib)

    set_maxmem = set_target

    def wait(self, seconds: float) -> None:
        self._now += seconds
        if self._now > _MOST_SECONDS:
            raise CannotFreeError(0, self._free_kib)
        for grows in (False, True):
            for domid, domain in sorted(self._domains.items()):
                way = domain.target_kib - domain.memory_actual_kib
                if domain.can_balloon and (way > 0) == grows and not domain.hits(domain.target_kib):
                    step = way - domain.inaccuracy_kib if grows else way + domain.inaccuracy_kib
                    step = min(step, max(0, self._free_kib))
                    self._domains[domid] = domain._replace(memory_actual_kib=domain.memory_actual_kib + step)
                    self._free_kib -= step

    def now(self) -> float:
        return self._now


class Step(NamedTuple):
    """Targets to set at once; the next step waits until they are reached.

    Attributes
    ----------
    targets : by ascending domid; domains that need no new target are not in it
    free_kib : free memory once they are reached
    """

    targets: tuple[Target, ...]
    free_kib: int


@dataclass(frozen=True)
class FairTargets:
    """Targets that together never exceed the memory there is.

    Attributes
    ----------
    targets : of every domain that can balloon, by ascending domid
    granted_kib : of the newcomer; 0 if there is none, or it has no room
    missing_kib : how much memory is missing for the minimums of all; 0 where all have theirs. The newcomer is then left
        out, or, without one, domains stay below their minimum
    steps : first those that shrink, and no domain on its way up goes further than it will; then those that grow
    """

    targets: tuple[Target, ...]
    granted_kib: int
    missing_kib: int
    steps: tuple[Step, ...]


def fair_targets(
    host: Host, newcomer: tuple[int, int] | None = None, *, slush_fund_kib: int = SLUSH_FUND_KIB
) -> FairTargets:
    """Targets with which every domain has its minimum and the same share of its range, to the last KiB.

    Parameters
    ----------
    host : the domains, and the free memory with the slush fund in it
    newcomer : minimum and maximum of a domain that is to start, its overhead included
    slush_fund_kib : kept free at all times

    Returns
    -------
    FairTargets; the targets and the grant never exceed what the host has for them. The newcomer is refused only if the
    minimums of all do not fit

    Raises
    ------
    ValueError : the range of the newcomer is negative or empty

    Notes
    -----
    Where even the minimums do not fit, nobody keeps more than the minimum, and what is left over those that have less
    is shared in proportion to what each lacks. KiB that proportions leave over go one by one to the lowest domids.
    """
    domains = sorted((domain for domain in host.domains if domain.can_balloon), key=lambda domain: domain.domid)
    room = host.free_mem_kib - slush_fund_kib + sum(domain.memory_actual_kib for domain in domains)
    low = [domain.dynamic_min_kib for domain in domains]
    high = [max(domain.dynamic_min_kib, domain.dynamic_max_kib) for domain in domains]
    granted, missing = 0, 0
    if newcomer is not None:
        _check_range(*newcomer)
        missing = max(0, sum(low) + newcomer[0] - room)
        if not missing:
            low, high = [*low, newcomer[0]], [*high, newcomer[1]]
    if sum(low) <= room:
        amounts = [a + b for a, b in zip(low, _share(room - sum(low), _differences(low, high)), strict=True)]
    else:
        missing = max(missing, sum(low) - room)
        kept = [min(domain.dynamic_min_kib, domain.memory_actual_kib) for domain in domains]
        spare = room - sum(kept)
        if spare >= 0:
            amounts = [a + b for a, b in zip(kept, _share(spare, _differences(kept, low)), strict=True)]
        else:
            amounts = [a - b for a, b in zip(kept, _share(-spare, kept), strict=True)]
    if newcomer is not None and len(amounts) > len(domains):
        granted = amounts.pop()
    targets = tuple(Target(domain.domid, kib) for domain, kib in zip(domains, amounts, strict=True))
    return FairTargets(targets, granted, missing, _steps(domains, targets, host.free_mem_kib))


def _check_range(min_kib: int, max_kib: int) -> None:
    if not 0 <= min_kib <= max_kib:
        raise ValueError(f"range of the newcomer: {min_kib} to {max_kib} KiB is negative or empty")


def _differences(low: Sequence[int], high: Sequence[int]) -> list[int]:
    return [b - a for a, b in zip(low, high, strict=True)]


def _share(amount: int, ranges: Sequence[int]) -> list[int]:
    """The amount, or all of the ranges if that is less, in proportion to them."""
    total = sum(ranges)
    if amount >= total:
        return list(ranges)
    shares = [amount * each // total for each in ranges]
    left = amount - sum(shares)
    for place, each in enumerate(ranges):
        if left and shares[place] < each:
            shares[place] += 1
            left -= 1
    return shares


def _steps(domains: Sequence[Domain], targets: Sequence[Target], free_kib: int) -> tuple[Step, ...]:
    first, second = [], []
    free = free_kib
    for domain, (_, kib) in zip(domains, targets, strict=True):
        if kib < domain.memory_actual_kib or kib < domain.target_kib:
            first.append(Target(domain.domid, min(kib, domain.memory_actual_kib)))
            free += domain.memory_actual_kib - first[-1].target_kib
    held = dict(first)
    for domain, target in zip(domains, targets, strict=True):
        if held.get(domain.domid, domain.target_kib) != target.target_kib:
            second.append(target)
    after = free_kib + sum(domain.memory_actual_kib - kib for domain, (_, kib) in zip(domains, targets, strict=True))
    steps = [Step(tuple(first), free)] if first else []
    return (*steps, Step(tuple(second), after)) if second else tuple(steps)


@dataclass(frozen=True)
class VMBalloon:
    """What happens to the VMs of a host of a Fleet when one more starts there.

    Attributes
    ----------
    vms : row numbers of the VMs on the host; their place is the domid of the answers
    squeezed : as the pool does it
    fair : without its mistakes
    reason : in a sentence
    """

    vms: tuple[int, ...]
    squeezed: Squeeze
    fair: FairTargets
    reason: str


def balloon(fleet: Fleet, vm: int, host: int) -> VMBalloon:
    """The targets that the VMs of a host will be squeezed to when a VM starts there.

    Parameters
    ----------
    vm, host : rows of the fleet

    Raises
    ------
    ValueError : the rows do not exist, the VM does not start or has no range, or the host is of another pool or of
        unknown memory

    Notes
    -----
    An inventory does not tell free pages. All VMs are taken to co-operate and to be at their targets (at dynamic_max
    where those are unknown), and free is what targets, overheads and the host's own memory leave, its slush fund
    included. Source: planning.md, 6.5 to 6.7.
    """
    check_newcomer(fleet, vm)
    _check_row("host", host, len(fleet.hosts))
    vms = fleet.vms
    if fleet.hosts.pool[host] != vms.pool[vm]:
        raise ValueError(f"host {fleet.hosts.label(host)} is not of the VM's pool")
    if not is_known(fleet.hosts.memory_total)[host]:
        raise ValueError(f"host {fleet.hosts.label(host)}: its memory_total is unknown")
    slush = kernel.MODELS[fleet.hosts.model[host] or kernel.DEFAULT_MODEL].host_reserve_mib << 10
    rows = np.flatnonzero((vms.resident_on == host) & vms.is_guest)
    fixed = np.flatnonzero((vms.resident_on == host) & ~vms.is_guest)
    target = np.where(vms.memory_target > 0, vms.memory_target, vms.memory_dynamic_max)
    free = int(fleet.hosts.available[host])
    free -= sum((vms.memory_dynamic_max[fixed] + vms.memory_overhead[fixed]).tolist())  # more than int64 may hold
    free -= sum((target[rows] + vms.memory_overhead[rows]).tolist())
    domains = [
        Domain(
            domid=place,
            can_balloon=True,
            dynamic_min_kib=int(vms.memory_dynamic_min[row]) // KIB,
            target_kib=int(target[row]) // KIB,
            dynamic_max_kib=int(vms.memory_dynamic_max[row]) // KIB,
            memory_actual_kib=int(target[row]) // KIB,
            memory_max_kib=int(target[row]) // KIB,
            inaccuracy_kib=INACCURACY_KIB,
        )
        for place, row in enumerate(rows.tolist())
    ]
    overhead = int(fleet.overhead()[vm])
    low = -(-(int(vms.memory_dynamic_min[vm]) + overhead) // KIB)
    high = -(-(int(vms.memory_dynamic_max[vm]) + overhead) // KIB)
    there = Host(domains, free // KIB + slush)
    squeezed = squeeze(there, low, high, slush_fund_kib=slush)
    fair = fair_targets(there, (low, high), slush_fund_kib=slush)
    if fair.missing_kib:
        reason = f"{format_size(fair.missing_kib * KIB)} are missing even with every VM at its dynamic_min"
    elif squeezed.granted_kib is None:
        reason = "squeezed refuses it, because it does not count on the last 8KiB of each VM; it fits exactly"
    else:
        reason = f"it starts with {format_size(squeezed.granted_kib * KIB)}, its overhead included"
    return VMBalloon(tuple(rows.tolist()), squeezed, fair, reason)


def check_newcomer(fleet: Fleet, vm: int) -> None:
    """Raise ValueError, by name, if no host has to make room for a VM: it is there, or does not start."""
    _check_row("vm", vm, len(fleet.vms))
    vms = fleet.vms
    name, state = f"VM {vms.label(vm)}", PowerState(vms.power_state[vm])
    if not vms.is_guest[vm]:
        raise ValueError(f"{name} is a template, a snapshot or a control domain: it does not start")
    if state not in (PowerState.HALTED, PowerState.SUSPENDED):
        raise ValueError(f"{name} is {state.name.lower()}: it is there")
    least, most = int(vms.memory_dynamic_min[vm]), int(vms.memory_dynamic_max[vm])
    if least > most:
        limits = f"{format_size(least)}, exceeds its memory_dynamic_max, {format_size(most)}"
        raise ValueError(f"{name}: its memory_dynamic_min, {limits}")


def _check_row(name: str, row: int, rows: int) -> None:
    if not 0 <= row < rows:
        raise ValueError(f"{name}: {row} is outside 0..{rows - 1}")
