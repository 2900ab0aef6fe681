"""Ballooning as squeezed does it: targets in proportion, one iteration of its loop, the loop itself against a host.

All amounts are KiB, times are seconds. The host is whatever implements Driver: a simulation, or a real one. Only plain
Python: hosts have tens of domains, and every number must be the reference's.
Source: docs/reference/planning.md, 6 (xapi-project/xen-api, ocaml/squeezed/lib/squeeze.ml, "SQ").
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Protocol, TypeVar

from xenmem.kernel import DEFAULT_MODEL, MODELS
from xenmem.planning.xapi.errors import CannotFreeError, DomainsRefusedError

SLUSH_FUND_KIB: Final = MODELS[DEFAULT_MODEL].host_reserve_mib << 10
"""Kept free at all times; that of another model follows from its host_reserve_mib likewise."""
TOLERANCE_KIB: Final = 512
INACCURACY_KIB: Final = 4
STUCK_AFTER: Final = 5.0
BETWEEN_ITERATIONS: Final = 1.0
NEWCOMER: Final = -1
"""The domid of the domain for which a range of memory is reserved."""

T = TypeVar("T")


class Domain(NamedTuple):
    """One domain as the squeezer sees it (SQ: domain)."""

    domid: int
    can_balloon: bool
    dynamic_min_kib: int
    target_kib: int
    dynamic_max_kib: int
    memory_actual_kib: int
    memory_max_kib: int
    inaccuracy_kib: int

    def hits(self, target_kib: int) -> bool:
        """Whether the domain has as much memory as this target gives it, as exactly as its driver can."""
        return abs(self.memory_actual_kib - target_kib) <= self.inaccuracy_kib


class Target(NamedTuple):
    """The balloon target of a domain."""

    domid: int
    target_kib: int


class Host(NamedTuple):
    """A snapshot: the domains and the free memory of a host."""

    domains: Sequence[Domain]
    free_mem_kib: int


class Driver(Protocol):
    """The host that is squeezed (SQ: io)."""

    def snapshot(self) -> Host:
        """The host as it is now."""

    def set_maxmem(self, domid: int, kib: int) -> None:
        """Limit a domain; squeezed sets the target by this, too (planning.md, 6.3)."""

    def set_target(self, domid: int, kib: int) -> None:
        """Give a domain a new balloon target."""

    def wait(self, seconds: float) -> None:
        """Let time pass."""

    def now(self) -> float:
        """The time."""


def min_freeable(domain: Domain, *, compensate_inaccuracy: bool = True) -> int:
    """The memory that a domain surely frees when its target becomes dynamic_min (planning.md, 6.1; SQ)."""
    inaccuracy = 2 * domain.inaccuracy_kib if compensate_inaccuracy else 0
    return max(0, domain.memory_actual_kib - domain.dynamic_min_kib - inaccuracy)


def compute_target_adjustments(host: Host, host_target_kib: int, *, compensate_inaccuracy: bool = True) -> list[Target]:
    """The target of every domain, so that the host keeps `host_target_kib` free and all are squeezed alike.

    Parameters
    ----------
    host : only the domains that take part
    host_target_kib : free memory wanted
    compensate_inaccuracy : False is a test switch of the reference

    Returns
    -------
    list of Target, by descending domid

    Notes
    -----
    What remains above all minimums is given out in proportion to dynamic_max - dynamic_min, in doubles, truncated.
    Source: planning.md, 6.1; SQ, ``compute_target_adjustments``, ``allocate_memory_in_proportion``.
    """
    freeable = sum(min_freeable(domain, compensate_inaccuracy=compensate_inaccuracy) for domain in host.domains)
    surplus = max(0, host.free_mem_kib + freeable - host_target_kib)
    ranges = {domain.domid: max(0, domain.dynamic_max_kib - domain.dynamic_min_kib) for domain in host.domains}
    gamma = _gamma(float(surplus), float(sum(ranges.values())))
    return [
        Target(domain.domid, domain.dynamic_min_kib + int(gamma * float(ranges[domain.domid])))
        for domain in _descending(host.domains)
    ]


def _gamma(surplus: float, total_range: float) -> float:
    """The quotient of two doubles >= 0 in [0, 1], and 0 for 0/0."""
    if total_range == 0.0:
        return 1.0 if surplus > 0.0 else 0.0
    return min(1.0, surplus / total_range)


def _descending(domains: Iterable[Domain]) -> list[Domain]:
    return sorted(domains, key=lambda domain: domain.domid, reverse=True)


class Phase(StrEnum):
    """Targets are lowered first; nothing grows before the others have shrunk."""

    FREEING = "freeing"
    ALLOCATION = "allocation"


class Adjust(NamedTuple):
    """Set these targets, and look again."""

    targets: tuple[Target, ...]


class Success(NamedTuple):
    """All targets are reached, and the condition holds."""


class Failed(NamedTuple):
    """All targets are reached, and the condition does not hold; these domains could balloon, but are stuck."""

    domids: tuple[int, ...]


Action = Adjust | Success | Failed


class Iteration(NamedTuple):
    """What one iteration found.

    Attributes
    ----------
    action : what to do
    phase : which targets the action is about
    inactive : domids of the domains that do not take part, descending
    declared_active, declared_inactive : what changed since the iteration before, ascending
    """

    action: Action
    phase: Phase
    inactive: tuple[int, ...]
    declared_active: tuple[int, ...]
    declared_inactive: tuple[int, ...]


@dataclass
class _Progress:
    last_actual_kib: int
    last_time: float
    stuck: bool = False


class Squeezer:
    """What the squeezer remembers from one iteration to the next: who is stuck, and who did not take part."""

    def __init__(self) -> None:
        self._progress: dict[int, _Progress] = {}
        self._inactive: frozenset[int] = frozenset()

    def iterate(
        self, host: Host, host_target_kib: int, now: float, succeeds: Callable[[int], bool], *, two_phases: bool = True
    ) -> Iteration:
        """Look at the host once and decide what to do.

        Parameters
        ----------
        host : snapshot
        host_target_kib : free memory wanted
        now : time of the snapshot, seconds
        succeeds : whether an amount of free memory, KiB, is what was asked for
        two_phases : False is a test switch of the reference

        Notes
        -----
        Source: planning.md, 6.2; SQ, ``Squeezer.one_iteration``, ``Stuckness_monitor``.
        """
        self._follow(host.domains, now)
        active = [d for d in host.domains if d.can_balloon and not self._progress[d.domid].stuck]
        active_domids = {domain.domid for domain in active}
        inactive = frozenset(domain.domid for domain in host.domains) - active_domids
        before, self._inactive = self._inactive, inactive

        by_domid = {domain.domid: domain for domain in active}
        targets = compute_target_adjustments(Host(active, host.free_mem_kib), host_target_kib)
        freeing = [t for t in targets if _shrinks(by_domid[t.domid], t.target_kib)]
        phase = Phase.FREEING if freeing else Phase.ALLOCATION
        chosen = freeing if freeing and two_phases else targets
        action: Action
        if not all(d.hits(d.target_kib) for d in active) or any(by_domid[d].target_kib != kib for d, kib in chosen):
            action = Adjust(tuple(chosen))
        elif succeeds(host.free_mem_kib):
            action = Success()
        else:
            stuck = [d.domid for d in _descending(host.domains) if d.can_balloon and d.domid in inactive]
            action = Failed(tuple(stuck))
        return Iteration(
            action,
            phase,
            tuple(sorted(inactive, reverse=True)),
            tuple(sorted(before - inactive)),
            tuple(sorted(inactive - before)),
        )

    def _follow(self, domains: Sequence[Domain], now: float) -> None:
        """Find out who makes progress towards its target; only progress ends being stuck."""
        for domain in domains:
            progress = self._progress.setdefault(domain.domid, _Progress(domain.memory_actual_kib, now))
            wanted = 0 if domain.hits(domain.target_kib) else domain.target_kib - domain.memory_actual_kib
            gained = domain.memory_actual_kib - progress.last_actual_kib
            progress.last_actual_kib = domain.memory_actual_kib
            if gained * wanted > 0:
                progress.last_time = now
                progress.stuck = False
            if wanted and now - progress.last_time > STUCK_AFTER:
                progress.stuck = True
        self._progress = {domain.domid: self._progress[domain.domid] for domain in domains}


def _shrinks(domain: Domain, target_kib: int) -> bool:
    return not domain.hits(target_kib) and target_kib < domain.memory_actual_kib


def change_host_free_memory(
    driver: Driver,
    required_mem_kib: int,
    succeeds: Callable[[int], bool],
    *,
    slush_fund_kib: int = SLUSH_FUND_KIB,
    watch: Callable[[Host, Iteration], None] | None = None,
) -> None:
    """Set targets and wait until the host has the memory, or cannot get it.

    Parameters
    ----------
    driver : the host
    required_mem_kib : free memory wanted, the slush fund included
    succeeds : whether an amount of free memory, KiB, is what was asked for
    slush_fund_kib : kept free at all times
    watch : called with the snapshot and the result of every iteration

    Raises
    ------
    CannotFreeError : all domains that balloon are at their minimum
    DomainsRefusedError : domains are stuck

    Notes
    -----
    Source: planning.md, 6.3; SQ, ``change_host_free_memory``.
    """
    _wait_out(
        driver,
        changing_host_free_memory(driver, required_mem_kib, succeeds, slush_fund_kib=slush_fund_kib, watch=watch),
    )


def _wait_out(driver: Driver, process: Generator[float, None, T]) -> T:
    """Run a process to its end, the driver waiting where it does."""
    while True:
        try:
            seconds = next(process)
        except StopIteration as end:
            result: T = end.value
            return result
        driver.wait(seconds)


def changing_host_free_memory(
    driver: Driver,
    required_mem_kib: int,
    succeeds: Callable[[int], bool],
    *,
    slush_fund_kib: int = SLUSH_FUND_KIB,
    watch: Callable[[Host, Iteration], None] | None = None,
) -> Generator[float, None, None]:
    """As `change_host_free_memory`, for callers with a time of their own: yields the seconds to wait."""
    host = driver.snapshot()
    settled = all(domain.hits(domain.target_kib) for domain in host.domains if domain.can_balloon)
    if required_mem_kib != slush_fund_kib and required_mem_kib <= host.free_mem_kib and settled:
        return
    squeezer = Squeezer()
    while True:
        now = driver.now()
        host = driver.snapshot()
        iteration = squeezer.iterate(host, required_mem_kib, now, succeeds)
        if watch is not None:
            watch(host, iteration)
        action = iteration.action
        new_targets = dict(action.targets) if isinstance(action, Adjust) else {}
        for domain in sorted(host.domains, key=lambda domain: domain.domid):
            driver.set_maxmem(domain.domid, _maxmem(domain, domain.domid in iteration.declared_inactive, new_targets))
        match action:
            case Success():
                return
            case Failed(()) | Failed((0,)):
                raise CannotFreeError(required_mem_kib, host.free_mem_kib)
            case Failed(domids):
                raise DomainsRefusedError(domids)
            case Adjust(targets):
                for target in targets:
                    driver.set_target(target.domid, target.target_kib)
                yield BETWEEN_ITERATIONS


def _maxmem(domain: Domain, newly_inactive: bool, new_targets: dict[int, int]) -> int:
    """A domain that no longer takes part may free memory, but not take any."""
    if newly_inactive:
        kept = min(domain.target_kib, domain.memory_actual_kib)
        return min(domain.dynamic_max_kib, max(domain.dynamic_min_kib, kept))
    return new_targets.get(domain.domid, domain.target_kib)


def free_memory(
    driver: Driver,
    required_kib: int,
    *,
    slush_fund_kib: int = SLUSH_FUND_KIB,
    watch: Callable[[Host, Iteration], None] | None = None,
) -> None:
    """Make this much memory free, on top of the slush fund.

    Parameters
    ----------
    driver : the host
    required_kib : >= 0, the slush fund not included
    slush_fund_kib, watch : as for change_host_free_memory

    Raises
    ------
    CannotFreeError, DomainsRefusedError : as for change_host_free_memory
    ValueError : the amount is negative

    Notes
    -----
    Source: planning.md, 6.4; ocaml/squeezed/src/squeeze_xen.ml, ``free_memory``.
    """
    wanted = _not_negative("required_kib", required_kib) + slush_fund_kib
    change_host_free_memory(driver, wanted, lambda free: free >= wanted, slush_fund_kib=slush_fund_kib, watch=watch)


def _not_negative(name: str, kib: int) -> int:
    if kib < 0:
        raise ValueError(f"{name}: {kib} is negative")
    return kib


def ideal_kib(host: Host, min_kib: int, max_kib: int, *, slush_fund_kib: int = SLUSH_FUND_KIB) -> int:
    """What a new domain with this range would get if all domains were squeezed alike.

    Parameters
    ----------
    host : all domains that are there
    min_kib, max_kib : the range
    slush_fund_kib : kept free at all times

    Notes
    -----
    Source: planning.md, 6.4; SQ, ``free_memory_range``.
    """
    newcomer = Domain(NEWCOMER, True, min_kib, min_kib, max_kib, 0, 0, INACCURACY_KIB)
    everybody = Host([newcomer, *host.domains], host.free_mem_kib)
    return dict(compute_target_adjustments(everybody, slush_fund_kib))[NEWCOMER]


def free_memory_range(
    driver: Driver,
    min_kib: int,
    max_kib: int,
    *,
    slush_fund_kib: int = SLUSH_FUND_KIB,
    watch: Callable[[Host, Iteration], None] | None = None,
) -> int:
    """Make memory free for a domain that can do with anything in a range.

    Parameters
    ----------
    driver : the host
    min_kib, max_kib : the range
    slush_fund_kib, watch : as for change_host_free_memory

    Returns
    -------
    the amount granted, KiB

    Raises
    ------
    CannotFreeError, DomainsRefusedError : as for change_host_free_memory
    ValueError : an amount is negative

    Notes
    -----
    Source: planning.md, 6.4; SQ, ``free_memory_range``.
    """
    process = freeing_memory_range(driver, min_kib, max_kib, slush_fund_kib=slush_fund_kib, watch=watch)
    return _wait_out(driver, process)


def freeing_memory_range(
    driver: Driver,
    min_kib: int,
    max_kib: int,
    *,
    slush_fund_kib: int = SLUSH_FUND_KIB,
    watch: Callable[[Host, Iteration], None] | None = None,
) -> Generator[float, None, int]:
    """As `free_memory_range`, for callers with a time of their own: yields the seconds to wait."""
    _not_negative("min_kib", min_kib)
    _not_negative("max_kib", max_kib)
    wanted = ideal_kib(driver.snapshot(), min_kib, max_kib, slush_fund_kib=slush_fund_kib) + slush_fund_kib
    yield from changing_host_free_memory(
        driver, wanted, lambda free: free >= min_kib + slush_fund_kib, slush_fund_kib=slush_fund_kib, watch=watch
    )
    return max(min_kib, min(driver.snapshot().free_mem_kib - slush_fund_kib, max_kib))


def is_balanced(free_mem_kib: int, *, slush_fund_kib: int = SLUSH_FUND_KIB) -> bool:
    """Whether no more memory is free than the squeezer tolerates (SQ)."""
    return free_mem_kib - slush_fund_kib < TOLERANCE_KIB


def balance_memory(
    driver: Driver,
    *,
    slush_fund_kib: int = SLUSH_FUND_KIB,
    watch: Callable[[Host, Iteration], None] | None = None,
) -> None:
    """Give out what is free.

    Parameters
    ----------
    driver, slush_fund_kib, watch : as for change_host_free_memory

    Raises
    ------
    CannotFreeError, DomainsRefusedError : as for change_host_free_memory; squeezed swallows them here

    Notes
    -----
    Source: planning.md, 6.4; SQ, ``balance_memory``.
    """
    _wait_out(driver, balancing_memory(driver, slush_fund_kib=slush_fund_kib, watch=watch))


def balancing_memory(
    driver: Driver,
    *,
    slush_fund_kib: int = SLUSH_FUND_KIB,
    watch: Callable[[Host, Iteration], None] | None = None,
) -> Generator[float, None, None]:
    """As `balance_memory`, for callers with a time of their own: yields the seconds to wait."""
    yield from changing_host_free_memory(
        driver,
        slush_fund_kib,
        lambda free: is_balanced(free, slush_fund_kib=slush_fund_kib),
        slush_fund_kib=slush_fund_kib,
        watch=watch,
    )


def is_host_memory_unbalanced(host: Host, *, slush_fund_kib: int = SLUSH_FUND_KIB) -> bool:
    """Whether a rebalance would set a new target; squeezed asks every 10 s.

    Parameters
    ----------
    host : all domains
    slush_fund_kib : kept free at all times

    Notes
    -----
    Source: planning.md, 6.4; SQ, ``is_host_memory_unbalanced``.
    """
    iteration = Squeezer().iterate(
        host, slush_fund_kib, 0.0, lambda free: is_balanced(free, slush_fund_kib=slush_fund_kib)
    )
    current = {domain.domid: domain.target_kib for domain in host.domains}
    action = iteration.action
    return isinstance(action, Adjust) and any(current[target.domid] != target.target_kib for target in action.targets)
