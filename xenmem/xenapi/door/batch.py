"""What a scheduler would ask message by message, asked over arrays; and lists of messages as one transaction.

Answers are those of the messages themselves, which give the reasons: the arrays only say where there is one. What a VM
needs is computed once and kept until its row, or its metrics', changes. Amounts are bytes. Source of the checks:
docs/reference/messages.md, 2 (xapi-project/xen-api, ocaml/xapi/xapi_vm_helpers.ml: assert_can_boot_here).
"""

from collections.abc import Callable, Iterable, Sequence, Set
from functools import partial
from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from xenmem.columns import Bools
from xenmem.datamodel.errors import Failure
from xenmem.datamodel.types import INT, INT64_MIN, NULL
from xenmem.kernel import checks
from xenmem.rules.mobility import platform
from xenmem.rules.mobility.cpu import CPU, guest_cpu
from xenmem.rules.upgrade import is_truthy
from xenmem.xenapi.calls.call import Call, World
from xenmem.xenapi.calls.message import MESSAGES, find
from xenmem.xenapi.door.session import Session
from xenmem.xenapi.rules import boot, operations, reach
from xenmem.xenapi.store import accounting, rows
from xenmem.xenapi.world.clock import Pace
from xenmem.xenapi.world.features import Feature, is_enabled

Integers = npt.NDArray[np.int64]

_ON_WHICH_ALL_NEEDS_DEPEND: Final = ("VDI", "SR", "network", "PIF", "VGPU", "VUSB", "network_sriov")
"""Classes of which a change makes all needs be computed anew; of VBDs and VIFs, only their VMs'."""


class TransactionError(Exception):
    """A message of a transaction failed, and nothing was changed.

    Attributes
    ----------
    index : of the message, from 0
    failure : what it answered
    """

    def __init__(self, index: int, failure: Failure) -> None:
        super().__init__(f"message {index}: {', '.join(failure.details)}")
        self.index = index
        self.failure = failure


class _Kind(NamedTuple):
    """What of a VM decides on hosts, beside memory and CPUs; the same for most VMs.

    Attributes
    ----------
    needs_hvm, hardware, takes_disabled : the domain's, and the version of its virtual hardware
    srs, networks : references, the latter of networks that have PIFs
    cpu : of a VM that has a domain, its type and what it booted with
    """

    needs_hvm: bool
    hardware: int
    takes_disabled: bool
    srs: frozenset[str]
    networks: frozenset[str]
    cpu: tuple[str, CPU] | None


class _Needs(NamedTuple):
    """What VMs ask of hosts, an element for each; memory and vcpus as checks.may_boot takes them.

    Attributes
    ----------
    kind : number of the _Kind; 0 for a VM that may boot nowhere
    memory, vcpus : bytes, and CPUs; the least integer but one for a VM that may have more than its host has
    tie : what makes some hosts others to the VM than the rest: _UNTIED, _RESIDENT, _TIED or _ODD
    """

    kind: Integers
    memory: Integers
    vcpus: Integers
    tie: Integers


_Need = tuple[int, int, int, int]
"""The same of one VM."""

_UNTIED: Final = 0
_RESIDENT: Final = 1
"""It is on a host, which may be disabled for others."""

_TIED: Final = 2
"""It is scheduled to be on a host, or has to stay on one."""

_ODD: Final = 3
"""It has a device, or a VIF on a network that pins: only the message knows."""

_NOWHERE: Final = (0, 0, 0, _UNTIED)


class _KnownNeeds:
    """What VMs ask of hosts, computed when it is asked for and kept until a row changes on which it depends.

    Parameters
    ----------
    world : its database must be locked when this is used

    Attributes
    ----------
    kinds : number by kind; None stands for VMs that may boot nowhere
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._database = database = world.database
        self._seen = database.generation
        self._asked_under: tuple[object, ...] = ()
        self._known: dict[str, _Need] = {}
        self._vm_of_metrics: dict[str, str] = {}
        self.kinds: dict[_Kind | None, int] = {None: 0}

    def of(self, vms: Sequence[str]) -> _Needs:
        """What each VM asks of a host; one that does not exist may boot nowhere."""
        self._follow()
        known, table = self._known, self._database.VM.rows
        may_start = is_enabled(self._database, Feature.VM_START)
        for ref in vms:
            if ref not in known and ref in table:
                known[ref] = self._ask(table[ref], may_start)
        numbers = chain.from_iterable(known.get(ref, _NOWHERE) for ref in vms)
        return _Needs(*np.fromiter(numbers, np.int64, 4 * len(vms)).reshape(-1, 4).T)

    def _follow(self) -> None:
        """Forget what may have changed."""
        database, pool, seen = self._database, self._database.the_pool, self._seen
        versions = tuple(database.tables[name].version for name in _ON_WHICH_ALL_NEEDS_DEPEND)
        asked_under = (database.model, pool.restrictions, pool.other_config, versions)
        if asked_under != self._asked_under:
            self._asked_under = asked_under
            self._known.clear()
        elif seen < database.generation:
            gone: set[str] = set()
            for vm in database.VM.changed_since(seen):
                gone.add(vm.ref)
            gone.update(vbd.VM for vbd in database.VBD.changed_since(seen))
            gone.update(vif.VM for vif in database.VIF.changed_since(seen))
            for metrics in database.VM_metrics.changed_since(seen):
                gone.add(self._vm_of_metrics.get(metrics.ref, ""))
            if database.VM.destroyed_since(seen):
                gone |= self._known.keys() - database.VM.rows.keys()
            if database.VM_metrics.destroyed_since(seen):
                for ref in self._vm_of_metrics.keys() - database.VM_metrics.rows.keys():
                    gone.add(self._vm_of_metrics.pop(ref))
            for ref in gone & self._known.keys():
                del self._known[ref]
        self._seen = database.generation

    def _ask(self, vm: rows.VM, may_start: bool) -> _Need:
        """What a VM asks of a host, or that it may boot nowhere: the checks that look at the VM alone."""
        database = self._database
        if vm.power_state != "Halted":
            self._vm_of_metrics[vm.metrics] = vm.ref
        elif not may_start:
            return _NOWHERE
        try:
            boot.assert_record_bootable(database, vm)
            domain_type = boot.live_domain_type(database, vm)
            accounting.domain_type(domain_type)
            memory = boot.needed_memory(database, vm)
            srs = reach.needed_srs(database, vm) if self._world.sight.knows_storage else ()
            networks, is_odd = self._networks(vm)
        except Failure:
            return _NOWHERE
        kind = _Kind(
            domain_type in platform.NEEDS_HVM,
            vm.hardware_platform_version,
            vm.is_control_domain,
            frozenset(srs),
            networks,
            None if vm.power_state == "Halted" else (domain_type, guest_cpu(vm.last_boot_CPU_flags)),
        )
        vcpus = INT64_MIN + 1 if is_truthy(vm.platform.get("vcpu-unrestricted")) else vm.VCPUs_max
        tie = _UNTIED if vm.resident_on == NULL else _RESIDENT
        if vm.scheduled_to_be_resident_on != NULL or (vm.is_control_domain and vm.affinity != NULL):
            tie = _TIED
        if is_odd or vm.VGPUs or vm.VUSBs:
            tie = _ODD
        return self.kinds.setdefault(kind, len(self.kinds)), memory, vcpus, tie

    def _networks(self, vm: rows.VM) -> tuple[frozenset[str], bool]:
        """The networks of a VM that have PIFs, and whether one pins, or has virtual functions."""
        sight = self._world.sight
        if not vm.VIFs or not sight.knows_networks:
            return frozenset(), False
        needed = {vif.network for vif in reach.vifs_of(self._database, vm)}
        linked = frozenset(network for network in needed if sight.has_pifs(network))
        is_odd = any(reach.pins(self._world, network) for network in needed - linked)
        return linked, is_odd or len(self._database.tables["network_sriov"]) > 0


class _Offer(NamedTuple):
    """What a host offers, free memory in bytes; `cpus` is the least integer if unknown."""

    enabled: bool
    has_hvm: bool
    hardware: tuple[int, ...]
    free: int
    cpus: int
    srs: Set[str]
    networks: Set[str]
    cpu: Callable[[str, CPU], bool]

    def suits(self, kind: _Kind) -> bool:
        return (
            (self.enabled or kind.takes_disabled)
            and (self.has_hvm or not kind.needs_hvm)
            and platform.offers(self.hardware, kind.hardware)
            and kind.srs <= self.srs
            and kind.networks <= self.networks
            and (kind.cpu is None or self.cpu(*kind.cpu))
        )


class Batch:
    """Questions over arrays, and transactions, in a session.

    Parameters
    ----------
    session : logged in

    Attributes
    ----------
    session : as given
    """

    def __init__(self, session: Session) -> None:
        self.session: Final = session
        self._needs: Final = _KnownNeeds(session.pool)

    # ---------------------------------------------------------------------------------------------------- free memory

    def free_memory(self, hosts: Sequence[str] | None = None) -> Integers:
        """What host.compute_free_memory answers for each host.

        Parameters
        ----------
        hosts : references; by default all, in the order of host.get_all

        Returns
        -------
        int64[hosts], bytes

        Raises
        ------
        Failure : HANDLE_INVALID, of a host or its metrics
        """
        database = self.session.pool.database
        with database.lock:
            asked = database.host.refs() if hosts is None else hosts
            return np.fromiter((self._free(database.host[ref]) for ref in asked), np.int64, len(asked))

    def _free(self, host: rows.host, ignored: rows.VM | None = None) -> int:
        return accounting.free_memory(
            host, self.session.pool.database.host_metrics[host.metrics], accounting.DYNAMIC_MIN, ignored
        )

    # --------------------------------------------------------------------------------------------------------- limits

    def may_set_memory_limits(
        self, vms: Sequence[str], static_min: Any, static_max: Any, dynamic_min: Any, dynamic_max: Any
    ) -> Bools:
        """Whether VM.set_memory_limits would succeed, for one or many candidates of each VM.

        Parameters
        ----------
        vms : references
        static_min, static_max, dynamic_min, dynamic_max : integer arrays that broadcast to shape (vms,), or to
            (vms, candidates); bytes

        Returns
        -------
        bool array of that shape

        Raises
        ------
        ValueError : an argument holds something else than integers of 64 bits, or has another shape
        """
        database = self.session.pool.database
        with database.lock:
            call = self._call("VM.set_memory_limits")
            table = database.VM
            may, pinned = np.zeros(len(vms), np.bool_), np.zeros(len(vms), np.bool_)
            for place, ref in enumerate(vms):
                vm = table.get(ref)
                if vm is not None and operations.reason_against(call, vm, "changing_memory_limits") is None:
                    may[place] = accounting.has_overhead(vm)
                    pinned[place] = bool(operations.pin_reason(database, vm))
        limits = (static_min, static_max, dynamic_min, dynamic_max)
        shape = np.broadcast_shapes(*map(np.shape, limits), (len(vms),) if _depth(limits) < 2 else (len(vms), 1))
        if shape[0] != len(vms) or len(shape) > 2:
            raise ValueError(f"limits: of shape {shape}, and there are {len(vms)} VMs")
        column = (len(vms),) + (1,) * (len(shape) - 1)
        valid = checks.limits_valid(*limits, pinned.reshape(column))
        return valid & may.reshape(column)

    # ----------------------------------------------------------------------------------------------------------- boot

    def can_boot_here(self, vms: Sequence[str] | None = None, hosts: Sequence[str] | None = None) -> Bools:
        """For which VMs and hosts VM.assert_can_boot_here passes; `reason` says why it does not.

        Parameters
        ----------
        vms, hosts : references; by default all, in the order of get_all

        Returns
        -------
        bool array, shape (vms, hosts); False where either does not exist
        """
        database = self.session.pool.database
        with database.lock:
            asked = database.VM.refs() if vms is None else tuple(vms)
            there = database.host.refs() if hosts is None else tuple(hosts)
            needs = self._needs.of(asked)
            answer = self._matrix(needs, there)
            self._correct(answer, needs, asked, there)
        return answer

    def _matrix(self, needs: _Needs, hosts: Sequence[str]) -> Bools:
        """What the arrays say, each VM being taken to be neither here nor there."""
        there = [self._offer(ref) for ref in hosts]
        allowed = np.zeros((len(self._needs.kinds), len(hosts)), np.bool_)
        for kind, number in self._needs.kinds.items():
            if kind is not None:
                allowed[number] = [offer is not None and offer.suits(kind) for offer in there]
        return checks.may_boot(
            needs.memory,
            needs.vcpus,
            needs.kind.astype(np.int32),
            allowed,
            np.fromiter((0 if offer is None else offer.free for offer in there), np.int64, len(there)),
            np.fromiter((0 if offer is None else offer.cpus for offer in there), np.int64, len(there)),
        )

    def _offer(self, ref: str) -> "_Offer | None":
        """What a host offers; None if nothing boots there."""
        world = self.session.pool
        database = world.database
        host = database.host.get(ref)
        if host is None or not boot.is_live(database, host):
            return None
        if boot.is_upgrading(database) and not boot.is_as_new_as_coordinator(database, host):
            return None
        try:
            cpus = INT.accept(host.cpu_info["cpu_count"])
        except (KeyError, Failure):
            cpus = INT64_MIN
        return _Offer(
            host.enabled,
            platform.has_hvm(host.capabilities),
            host.virtual_hardware_platform_versions,
            self._free(host),
            cpus,
            world.sight.srs(ref),
            {network for network, pif in world.sight.links(ref).items() if pif.bond_slave_of == NULL},
            partial(reach.has_cpu, world, host),
        )

    def _correct(self, answer: Bools, needs: _Needs, vms: Sequence[str], hosts: Sequence[str]) -> None:
        """Ask the message itself of the pairs where a VM is not as any other."""
        pool = self.session.pool
        call = self._call("VM.assert_can_boot_here")
        column = {ref: number for number, ref in enumerate(hosts)}
        disabled = {host.ref for host in pool.database.host if not host.enabled}
        least = _RESIDENT if disabled else _TIED
        for number in np.flatnonzero((needs.kind != 0) & (needs.tie >= least)).tolist():
            vm = pool.database.VM.rows[vms[number]]
            there: Iterable[str] = ()
            if vm.is_control_domain and vm.affinity != NULL:
                there = hosts
            elif needs.tie[number] == _ODD:
                there = [hosts[place] for place in np.flatnonzero(answer[number]).tolist()]
            elif vm.scheduled_to_be_resident_on == NULL and vm.resident_on not in disabled:
                continue
            for ref in column.keys() & {*there, vm.scheduled_to_be_resident_on, vm.resident_on}:
                answer[number, column[ref]] = boot.reason_against(call, vm, ref, version=True) is None

    # ---------------------------------------------------------------------------------------------------- transactions

    def reason(self, method: str, *parameters: Any) -> list[str] | None:
        """What a message would fail with now; whatever it changes is undone.

        Parameters
        ----------
        method : such as `VM.assert_can_boot_here`
        parameters : without the session

        Returns
        -------
        list[str] : the failure's code and parameters; None if it would succeed
        """
        pool = self.session.pool
        with pool.database.lock:
            snapshot = pool.database.snapshot()
            try:
                pool.dispatch(method, (self.session.handle, *parameters))
            except Failure as failure:
                return list(failure.details)
            finally:
                pool.database.restore(snapshot)
        return None

    def apply(self, messages: Iterable[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Carry out messages as one transaction: all or nothing, and nobody sees what lies between.

        Parameters
        ----------
        messages : names and parameters without the session, such as ``("VM.set_memory", (vm, "1073741824"))``

        Returns
        -------
        list : what each answered, as `session.xenapi` gives it

        Raises
        ------
        TransactionError : a message failed; nothing is changed
        ValueError : a message is asynchronous, or the clock is driven from outside: nobody could end it

        Notes
        -----
        Undone are the rows of the database. Time that a message waited for has passed, and what a subclass of Hooks
        has done is done.
        """
        pool = self.session.pool
        if pool.clock.pace is Pace.DRIVEN:
            raise ValueError("messages: a transaction cannot wait for a clock that is driven from outside")
        answers: list[Any] = []
        with pool.database.lock:
            snapshot = pool.database.snapshot()
            try:
                for index, (method, parameters) in enumerate(messages):
                    if find(method)[1]:
                        raise ValueError(f"messages: {index}: {method} is asynchronous")
                    try:
                        message, _, value = pool.dispatch(method, (self.session.handle, *parameters))
                    except Failure as failure:
                        raise TransactionError(index, failure) from None
                    answers.append(message.result.give(value))
            except BaseException:
                pool.database.restore(snapshot)
                raise
        return answers

    def _call(self, name: str) -> Call:
        pool = self.session.pool
        return Call(pool, MESSAGES[name], pool.sessions.login(self.session.handle or NULL))


def _depth(limits: Iterable[Any]) -> int:
    return max(map(np.ndim, limits))
