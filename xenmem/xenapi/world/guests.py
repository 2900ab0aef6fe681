"""What a hypervisor would tell of the domains of running VMs: how much memory they have, and are told to have.

A host is squeezed as squeezed does it, at once, unless a VM on it says in its other_config how its guest balloons: then
in the pool's time. Amounts are bytes, in the squeezer KiB. Called with the database locked. Source:
docs/reference/planning.md, 6; docs/reference/messages.md, 3.4, 3.5 and 5 (xapi-project/xen-api, ocaml/squeezed,
ocaml/xenopsd/xc/xenops_server_xen.ml).
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from xenmem.datamodel.errors import HOST_NOT_ENOUGH_FREE_MEMORY, INVALID_VALUE, VMS_FAILED_TO_COOPERATE, Failure
from xenmem.datamodel.types import INT
from xenmem.planning.xapi import balloon
from xenmem.planning.xapi.balloon import Domain, Host
from xenmem.planning.xapi.errors import CannotFreeError, DomainsRefusedError
from xenmem.units import GIB, KIB, MIB
from xenmem.xenapi.store import accounting
from xenmem.xenapi.store.database import Origin

if TYPE_CHECKING:
    from xenmem.xenapi.store import rows
    from xenmem.xenapi.store.database import Database
    from xenmem.xenapi.world.clock import Clock

GUEST: Final = "xenmem:guest"
"""The key of VM.other_config that says how the guest balloons: a Behaviour. Without it, it is cooperative."""

RATE: Final = "xenmem:guest-rate"
"""The key of VM.other_config that says how fast, in bytes per second; it stands beside GUEST."""

BALANCE_SECONDS: Final = 10.0
"""After a change a host looks so much later whether its memory is to be shared anew (squeezed.ml)."""

BUILD_SECONDS: Final = 60.0
"""For so long a start tries again to get its memory, every BALANCE_SECONDS (xenopsd)."""

MIGRATION_SECONDS: Final = 120.0
"""For so long a migration waits for the guest to have its dynamic_min (xenopsd)."""

SQUEEZED: Final = "squeezed"
"""Who, as the journal says, writes what guests have and are told to have, where no message does."""


class Behaviour(StrEnum):
    """What a guest does with a new target.

    Attributes
    ----------
    COOPERATIVE : moves to it, 1 GiB per second unless RATE says otherwise
    SLOW : moves to it, 4 MiB per second unless RATE says otherwise
    STUCK : has a balloon driver that does nothing
    ABSENT : has no balloon driver, and keeps the memory that it was started with
    """

    COOPERATIVE = "cooperative"
    SLOW = "slow"
    STUCK = "stuck"
    ABSENT = "absent"


_RATES: Final = {
    Behaviour.COOPERATIVE: 1 * GIB,
    Behaviour.SLOW: 4 * MIB,
    Behaviour.STUCK: 0,
    Behaviour.ABSENT: 0,
}


def behaviour(vm: "rows.VM") -> tuple[Behaviour, int]:
    """How a VM's guest balloons, and how fast, in bytes per second.

    Raises
    ------
    Failure : INVALID_VALUE where other_config says something else
    """
    text = vm.other_config.get(GUEST, Behaviour.COOPERATIVE)
    try:
        kind = Behaviour(text)
    except ValueError:
        raise INVALID_VALUE(f"other_config:{GUEST}", text) from None
    rate = _RATES[kind]
    if rate and RATE in vm.other_config:
        text = vm.other_config[RATE]
        try:
            rate = INT.accept(text)
        except Failure:
            rate = 0
        if rate <= 0:
            raise INVALID_VALUE(f"other_config:{RATE}", text)
    return kind, rate


class Guests:
    """Guests that have what the inventory says, and reach a new target at once.

    Parameters
    ----------
    database : whose VMs they are

    Notes
    -----
    Where a host's memory is enough for every dynamic_max, whoever comes or changes gets that. Where it is not, or was
    not before, all are squeezed alike. Guests without a range and control domains are taken to have dynamic_min.
    """

    def __init__(self, database: "Database") -> None:
        self._database = database

    def live_memory(self, vm: "rows.VM") -> tuple[int, int]:
        """What a running VM has, and the target that it was told."""
        metrics = self._database.VM_metrics.get(vm.metrics)
        return (metrics.memory_actual if metrics is not None else 0), vm.memory_target

    def set_dynamic_range(self, vm: "rows.VM", before: int) -> None:
        """Tell a running VM's domain the range its record now has, and rebalance its host (messages.md, 3.4 step 3).

        Parameters
        ----------
        vm : the VM
        before : its dynamic_max until now
        """
        if vm.is_control_domain:
            self._has(vm, vm.memory_target)
        else:
            self._has(vm, self._share(self._database.host[vm.resident_on], vm, before - vm.memory_dynamic_max))

    def start(self, vm: "rows.VM", host: "rows.host") -> int | Generator[float, None, int]:
        """What the domain of a VM is built with that starts, resumes or arrives on a host; a generator if it must wait.

        Called with the VM's memory reserved on the host, before it is resident there; a VM that migrates is still
        resident where it comes from. Raises HOST_NOT_ENOUGH_FREE_MEMORY [needed; free] or VMS_FAILED_TO_COOPERATE [vm]
        (messages.md, 5.3 step 7).
        """
        return self._share(host, vm)

    def left(self, vm: "rows.VM", host: str) -> None:
        """The domain of a VM is gone from a host, where its row is resident no longer."""
        row = self._database.host.get(host)
        if row is not None:
            self._share(row, None, accounting.used_memory(vm, accounting.DYNAMIC_MAX))

    def _share(self, host: "rows.host", vm: "rows.VM | None", less: int = 0) -> int:
        """Balance a host if it is, or was, short of memory for every dynamic_max; what a VM gets there.

        Parameters
        ----------
        host : with all that is reserved on it
        vm : who comes or has another range
        less : by how much the dynamic_max were more before
        """
        metrics = self._database.host_metrics.get(host.metrics)
        room = (0 if metrics is None else metrics.memory_total) - host.memory_overhead
        if host.used_dynamic_max + max(0, less) > room:
            return self._balance(host, vm, room // KIB)
        return 0 if vm is None else max(vm.memory_dynamic_min, vm.memory_dynamic_max) // KIB * KIB

    def _balance(self, host: "rows.host", vm: "rows.VM | None", room: int) -> int:
        """Give all guests of a host, and who comes, their part of so many KiB; what the VM gets (planning.md, 6.7)."""
        database = self._database
        guests: list[rows.VM] = []
        domains: list[Domain] = []
        for ref in dict.fromkeys((*host.resident, *host.scheduled)):
            row = database.VM[ref]
            low, high = row.memory_dynamic_min // KIB, row.memory_dynamic_max // KIB
            room -= _kib_up(row.memory_overhead)
            if row.is_control_domain or low >= high or (ref not in host.resident and row is not vm):
                room -= low
                continue
            actual = low + 2 * balloon.INACCURACY_KIB  # where a host settles does not hang on where it begins
            room -= actual
            domains.append(Domain(len(guests), True, low, actual, high, actual, actual, balloon.INACCURACY_KIB))
            guests.append(row)
        given = 0 if vm is None else vm.memory_dynamic_min // KIB
        for domid, target in balloon.compute_target_adjustments(Host(domains, room), 0):
            if guests[domid] is vm:
                given = target
            else:
                self._has(guests[domid], target * KIB)
        return given * KIB

    def _has(self, vm: "rows.VM", amount: int) -> None:
        """Let a VM be told to have an amount, and have it."""
        self._database.write(vm, "memory_target", amount)
        metrics = self._database.VM_metrics.get(vm.metrics)
        if metrics is not None:
            self._database.write(metrics, "memory_actual", amount)


class BallooningGuests(Guests):
    """Guests of which some balloon as their other_config says: all guests on a host with such a VM are squeezed.

    Parameters
    ----------
    database : whose VMs they are
    clock : the pool's time, in which they move

    Notes
    -----
    What is simpler than on a host: a guest balloons as soon as it is built, and building takes no time; the overhead is
    the stored memory_overhead for every domain type; what a VM is resumed with is its memory_actual.
    """

    def __init__(self, database: "Database", clock: "Clock") -> None:
        super().__init__(database)
        self.database: Final = database
        self.clock: Final = clock
        self._squeezed: dict[str, _SqueezedHost] = {}
        self._marked: set[str] = set()
        self._seen = 0

    def live_memory(self, vm: "rows.VM") -> tuple[int, int]:
        squeezed = self.squeezed_host(vm.resident_on)
        if squeezed is None:
            return super().live_memory(vm)
        behaviour(vm)
        squeezed.look()
        return super().live_memory(vm)

    def set_dynamic_range(self, vm: "rows.VM", before: int) -> None:
        squeezed = self.squeezed_host(vm.resident_on)
        if squeezed is None:
            super().set_dynamic_range(vm, before)
        else:
            behaviour(vm)
            squeezed.balance()

    def start(self, vm: "rows.VM", host: "rows.host") -> int | Generator[float, None, int]:
        source, target = self.squeezed_host(vm.resident_on), self.squeezed_host(host.ref, vm)
        if source is None and target is None:
            return super().start(vm, host)
        behaviour(vm)
        return self._start(vm, host, source, target)

    def _start(
        self, vm: "rows.VM", host: "rows.host", source: "_SqueezedHost | None", target: "_SqueezedHost | None"
    ) -> Generator[float, None, int]:
        size = None if source is None else (yield from source.shrink(vm, is_leaving=source is not target))
        if target is not None:
            return (yield from target.build(vm, size))
        return self._share(host, vm)

    def left(self, vm: "rows.VM", host: str) -> None:
        squeezed = self.squeezed_host(host)
        if squeezed is None:
            super().left(vm, host)
        else:
            squeezed.look_later()

    def _is_marked(self, host: str) -> bool:
        """Whether a VM of a host says how its guest balloons."""
        database = self.database
        if self._seen < database.configured:
            self._marked.update(vm.ref for vm in database.VM.changed_since(self._seen) if GUEST in vm.other_config)
            self._seen = database.generation
        if not self._marked:
            return False
        self._marked = {ref for ref in self._marked if (vm := database.VM.get(ref)) and GUEST in vm.other_config}
        row = database.host.get(host)
        return row is not None and not self._marked.isdisjoint(row.resident)

    def squeezed_host(self, host: str, newcomer: "rows.VM | None" = None) -> "_SqueezedHost | None":
        """The host, if a VM on it or the newcomer says how its guest balloons, or one is being squeezed for."""
        if not self._is_marked(host) and (newcomer is None or GUEST not in newcomer.other_config):
            squeezed = self._squeezed.get(host)
            if squeezed is None or not squeezed.is_busy:
                self._squeezed.pop(host, None)
                return None
        if host not in self._squeezed:
            self._squeezed[host] = _SqueezedHost(self, host)
        return self._squeezed[host]


@dataclass(frozen=True, slots=True)
class _Squeezed:
    """The author of what one look of squeezed changes."""

    origin: Origin


@dataclass(slots=True)
class _Guest:
    """A domain that is squeezed: what it has and is told to have in KiB, since when it moves, and what was written."""

    domid: int
    actual: int
    target: int
    since: float
    shown: int = -1


class _SqueezedHost:
    """One host, as squeezed's Driver: its domains, its free memory, and the passing of time.

    Attributes
    ----------
    is_busy : somebody squeezes: squeezed does one thing at a time
    """

    def __init__(self, guests: BallooningGuests, host: str) -> None:
        self._guests = guests
        self._database = guests.database
        self._clock = guests.clock
        self._host = host
        self._domains: dict[str, _Guest] = {}
        self._reserved: dict[str, int] = {}
        self._leaving: set[str] = set()
        self._domids = 0
        self._again = False
        self._looks_later = False
        self._looked = guests.clock.now()
        self.is_busy = False

    # ------------------------------------------------------------------------------------------------------- requests

    def shrink(self, vm: "rows.VM", *, is_leaving: bool) -> Generator[float, None, int]:
        """Squeeze a VM that migrates to its dynamic_min, as far as its guest gets in time; the bytes that it has then.

        Parameters
        ----------
        vm : the VM
        is_leaving : if not, it stays on the host, and as large as it is
        """
        self._move()
        low = vm.memory_dynamic_min // KIB
        if is_leaving and low < vm.memory_dynamic_max // KIB and self._behaviour(vm.ref)[0] is not Behaviour.ABSENT:
            self._leaving.add(vm.ref)
            try:
                self.balance()
                give_up = self._clock.now() + MIGRATION_SECONDS
                while (guest := self._domains.get(vm.ref)) is not None and self._clock.now() < give_up:
                    if guest.actual - low <= balloon.INACCURACY_KIB:
                        break
                    yield balloon.BETWEEN_ITERATIONS
                    self._move()
            finally:
                self._leaving.discard(vm.ref)
                self.look_later()
        guest = self._domains.get(vm.ref)
        return vm.memory_dynamic_min if guest is None else guest.actual * KIB

    def build(self, vm: "rows.VM", size: int | None = None) -> Generator[float, None, int]:
        """Squeeze the others until there is memory for a VM; the bytes that it is built with.

        Parameters
        ----------
        vm : the VM
        size : what it has where it comes from, if it is squeezed there
        """
        low, high = self._range(vm) if size is None else (size // KIB, size // KIB)
        overhead = _kib_up(vm.memory_overhead)
        give_up = self._clock.now() + BUILD_SECONDS
        while True:
            while self.is_busy:
                yield balloon.BETWEEN_ITERATIONS
            failure: Failure
            self.is_busy = True
            try:
                granted = yield from balloon.freeing_memory_range(
                    self, max(0, low + overhead), max(0, high + overhead), slush_fund_kib=self._slush_fund
                )
                self._reserved[vm.ref] = granted
                return min(high, granted - overhead) * KIB
            except CannotFreeError as error:
                needed, free = (kib - self._slush_fund for kib in (error.needed_kib, error.free_kib))
                failure = HOST_NOT_ENOUGH_FREE_MEMORY(needed * KIB, free * KIB)
            except DomainsRefusedError as error:
                refused = [ref for ref, guest in self._domains.items() if guest.domid in error.domids]
                failure = VMS_FAILED_TO_COOPERATE(*refused)
            finally:
                self.is_busy = False
                self._show()
                self.look_later()
            if self._clock.now() >= give_up:
                raise failure
            yield BALANCE_SECONDS

    def balance(self) -> None:
        """Begin to share the memory anew, or do so again once who squeezes now is done."""
        if self.is_busy:
            self._again = True
            return
        self.is_busy = True
        self._go_on(balloon.balancing_memory(self, slush_fund_kib=self._slush_fund))

    def look(self) -> None:
        """Bring what the rows show up to date; share the memory anew if it is time to, and need be."""
        self._move()
        self._show()
        if not self.is_busy and self._clock.now() - self._looked >= BALANCE_SECONDS:
            self._looked = self._clock.now()
            if balloon.is_host_memory_unbalanced(self.snapshot(), slush_fund_kib=self._slush_fund):
                self.balance()

    def look_later(self) -> None:
        """Look when BALANCE_SECONDS have passed."""
        if not self._looks_later:
            self._looks_later = True
            self._looked = self._clock.now()
            self._clock.call_at(self._looked + BALANCE_SECONDS, self._look_now)

    def _look_now(self) -> None:
        with self._in_its_own_time():
            self._looks_later = False
            if self._guests.squeezed_host(self._host) is self:
                self.look()

    def _go_on(self, process: Generator[float, None, None]) -> None:
        try:
            seconds = next(process)
        except (StopIteration, CannotFreeError, DomainsRefusedError):
            self.is_busy = False
            self._looked = self._clock.now()
            if self._again:
                self._again = False
                self.balance()
        except BaseException:
            self.is_busy = False
            raise
        else:
            self._clock.call_at(self._clock.now() + seconds, lambda: self._go_on_later(process))
        self._show()

    def _go_on_later(self, process: Generator[float, None, None]) -> None:
        with self._in_its_own_time():
            self._go_on(process)

    @contextmanager
    def _in_its_own_time(self) -> Iterator[None]:
        """What no message does: the database is locked, and the journal says that it was squeezed.

        What happens while a message waits for time to pass is undone with the message.
        """
        database = self._database
        with database.lock:
            awaited = database.awaited
            began = database.journaled if awaited is None else awaited.origin.began
            outer, database.author = database.author, _Squeezed(Origin(SQUEEZED, self._clock.now(), "", began))
            try:
                yield
            finally:
                database.author = outer

    # --------------------------------------------------------------------------------------------------------- Driver

    def snapshot(self) -> Host:
        """The host as it is now."""
        self._move()
        return Host([self._domain(ref, guest) for ref, guest in self._domains.items()], self._free())

    def set_target(self, domid: int, kib: int) -> None:
        """Give a domain a new target; one without a driver does not hear it."""
        for ref, guest in self._domains.items():
            if guest.domid == domid and kib >= 0 and self._behaviour(ref)[0] is not Behaviour.ABSENT:
                guest.target = kib

    set_maxmem = set_target

    def now(self) -> float:
        """The time."""
        return self._clock.now()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._clock.wait(seconds)

    # ---------------------------------------------------------------------------------------------------------- state

    @property
    def _slush_fund(self) -> int:
        return self._database.model.host_reserve_mib << 10

    def _behaviour(self, ref: str) -> tuple[Behaviour, int]:
        """How a guest balloons; where its other_config says something else, it does not, and others need not fail."""
        try:
            return behaviour(self._database.VM[ref])
        except Failure:
            return Behaviour.STUCK, 0

    def _range(self, vm: "rows.VM") -> tuple[int, int]:
        """KiB between which a VM may be built (planning.md, 6.6): a start its range, a migration dynamic_min."""
        low, high = vm.memory_dynamic_min, vm.memory_dynamic_max
        if vm.power_state == "Suspended":
            metrics = self._database.VM_metrics.get(vm.metrics)
            low = high = (metrics.memory_actual if metrics is not None else 0) or low
        elif vm.power_state != "Halted":
            high = low
        return low // KIB, high // KIB

    def _domain(self, ref: str, guest: _Guest) -> Domain:
        vm = self._database.VM[ref]
        low, high, target = vm.memory_dynamic_min // KIB, vm.memory_dynamic_max // KIB, guest.target
        can_balloon = self._behaviour(ref)[0] is not Behaviour.ABSENT
        if not can_balloon:
            low = high = target = guest.actual
        elif ref in self._leaving:
            high = low
        return Domain(guest.domid, can_balloon, low, target, high, guest.actual, target, balloon.INACCURACY_KIB)

    def _free(self) -> int:
        """Free KiB: what the host has beside the hypervisor's, less all domains and what is promised to new ones."""
        host = self._database.host[self._host]
        total = (self._database.host_metrics[host.metrics].memory_total - host.memory_overhead) // KIB
        used = sum(self._reserved.values())
        for ref in host.resident:
            vm = self._database.VM[ref]
            used += _kib_up(vm.memory_overhead)
            used += vm.memory_dynamic_min // KIB if vm.is_control_domain else self._domains[ref].actual
        return total + self._slush_fund - used

    def _follow(self) -> None:
        """Take in who came, let go of who went, and believe the rows where something else wrote them."""
        database, host = self._database, self._database.host[self._host]
        now = self._clock.now()
        for ref in [ref for ref in self._domains if ref not in host.resident]:
            del self._domains[ref]
        for ref in [ref for ref in self._reserved if ref not in host.resident and ref not in host.scheduled]:
            del self._reserved[ref]
        for ref in host.resident:
            vm = database.VM[ref]
            if vm.is_control_domain:
                continue
            metrics = database.VM_metrics.get(vm.metrics)
            measured = metrics.memory_actual if metrics is not None else 0
            guest = self._domains.get(ref)
            if guest is None:
                target = (vm.memory_target or vm.memory_dynamic_min) // KIB
                actual = target
                if ref in self._reserved:
                    del self._reserved[ref]
                elif measured:
                    actual = measured // KIB
                self._domids += 1
                self._domains[ref] = _Guest(self._domids, actual, target, now, measured)
            elif measured != guest.shown and metrics is not None:
                guest.actual, guest.target, guest.since = measured // KIB, vm.memory_target // KIB, now
                guest.shown = measured

    def _move(self) -> None:
        """Let the guests go on towards their targets; those that shrink first, the others as far as memory is free."""
        self._follow()
        now = self._clock.now()
        for grows in (False, True):
            for ref, guest in self._domains.items():
                way = guest.target - guest.actual
                if (way > 0) != grows:
                    continue
                rate = self._behaviour(ref)[1] // KIB
                if not way or not rate:
                    guest.since = now
                    continue
                reach = int(rate * (now - guest.since))
                if reach < abs(way):
                    guest.since += reach / rate
                else:
                    guest.since = now
                step = min(reach, abs(way))
                guest.actual += min(step, max(0, self._free())) if grows else -step

    def _show(self) -> None:
        """Write what the guests have and are told to have to their rows."""
        self._follow()
        for ref, guest in self._domains.items():
            vm = self._database.VM[ref]
            self._database.write(vm, "memory_target", guest.target * KIB)
            metrics = self._database.VM_metrics.get(vm.metrics)
            if metrics is not None:
                guest.shown = guest.actual * KIB
                self._database.write(metrics, "memory_actual", guest.shown)


def _kib_up(amount: int) -> int:
    return -(-amount // KIB)
