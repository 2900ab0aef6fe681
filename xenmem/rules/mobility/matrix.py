"""Where VMs can run, as matrices: VMs of equal needs are a kind, and of each kind and host the first check that fails.

Memory, the state of a host, and what is asked at the moment of an operation are apart. Takes the tables of a Fleet;
knows no question and no plan. The order of checks is that of assert_can_boot_here.
Source: xapi-project/xen-api, ocaml/xapi/xapi_vm_helpers.ml (assert_can_boot_here).
"""

from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from functools import partial
from itertools import chain
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from xenmem.columns import Bools, Codes, Objects, PowerState, Rows, Tables, Unknown
from xenmem.kernel import DomainType
from xenmem.rules.mobility import cpu
from xenmem.rules.mobility.platform import NEEDS_HVM

Value = TypeVar("Value")


class Step(IntEnum):
    """The first check of a start or a migration that fails: of several the least counts."""

    HARDWARE_PLATFORM = 1
    CPU = 2
    STORAGE = 3
    NETWORK = 4
    BOND = 5
    IOMMU = 6
    VGPU = 7
    USB = 8
    VIRTUAL_FUNCTIONS = 9
    HVM = 10
    PCPUS = 11
    UNDECIDED = 100
    """None fails, but some depend on what no inventory tells, or on records that contradict each other."""
    NOT_TOLD = 101
    """None fails, but some could not be made: the inventory has no records of what decides."""
    NONE = 255


ERRORS: Final = {
    Step.HARDWARE_PLATFORM: "VM_HOST_INCOMPATIBLE_VIRTUAL_HARDWARE_PLATFORM_VERSION",
    Step.CPU: "VM_INCOMPATIBLE_WITH_THIS_HOST",
    Step.STORAGE: "VM_REQUIRES_SR",
    Step.NETWORK: "VM_REQUIRES_NETWORK",
    Step.BOND: "HOST_CANNOT_ATTACH_NETWORK",
    Step.IOMMU: "VM_REQUIRES_IOMMU",
    Step.VGPU: "VM_REQUIRES_VGPU",
    Step.USB: "OPERATION_NOT_ALLOWED",
    Step.VIRTUAL_FUNCTIONS: "NETWORK_SRIOV_INSUFFICIENT_CAPACITY",
    Step.HVM: "VM_HVM_REQUIRED",
    Step.PCPUS: "HOST_NOT_ENOUGH_PCPUS",
}
"""What the pool answers where a check fails; of a GPU that is passed through VM_REQUIRES_GPU."""

_HVM: Final = [kind.value for kind in DomainType if kind.name.lower() in NEEDS_HVM]
_PLACES: Final = {
    Unknown.STORAGE: "which hosts see its disks",
    Unknown.NETWORKS: "which hosts have its networks",
    Unknown.CPU: "whether its CPU features are everywhere",
    Unknown.DEVICES: "where its devices are free",
}


def is_allowed(steps: Codes) -> Bools:
    """Where nothing fails that is known: what is not told counts as no obstacle, what is undecided does."""
    allowed: Bools = steps >= Step.NOT_TOLD
    return allowed


class PoolMobility:
    """Where the VMs of one pool can run.

    Parameters
    ----------
    tables : of a fleet
    pool : row in pools

    Attributes
    ----------
    vms, hosts : int32 arrays, rows of the fleet's tables: those of the pool, ascending
    kind_of : int32 array, shape (vms,), VMs of equal needs
    example : int32 array, shape (kinds,), place in `vms` of the first of each kind
    cpu : uint8 array, shape (kinds, hosts), Step of the comparison of CPUs alone, which is made of VMs with a domain
    rest : uint8 array, shape (kinds, hosts), Step of all others
    pinned : rows of the fleet's VMs that run on a network without PIFs, each with one such network
    """

    def __init__(self, tables: Tables, pool: int) -> None:
        self._tables = tables
        self._pool = pool
        self.hosts: Rows = np.flatnonzero(tables.hosts.pool == pool).astype(np.int32)
        self.vms: Rows = np.flatnonzero(tables.vms.pool == pool).astype(np.int32)
        self._pin_networks()
        needs = self._needs()
        self.kind_of, self.example = _kinds([ids for ids, *_ in needs.values()])
        shape = len(self.example), len(self.hosts)
        self.rest: Codes = np.full(shape, Step.NONE, np.uint8)
        self.cpu: Codes = np.full(shape, Step.NONE, np.uint8)
        for step, (ids, distinct, decide) in needs.items():
            plane = np.array([decide(value) for value in distinct], np.uint8).reshape(len(distinct), len(self.hosts))
            if (plane != Step.NONE).any():
                target = self.cpu if step == Step.CPU else self.rest
                np.minimum(target, plane[ids[self.example]], out=target)

    def first_step(self, *, with_cpu: bool = True) -> Codes:
        """The Step of each kind on each host: uint8 array, shape (kinds, hosts).

        Parameters
        ----------
        with_cpu : as a migration, a resume and an evacuation ask; VM.start_on and the restarts of HA do not
        """
        return np.minimum(self.cpu, self.rest) if with_cpu else self.rest

    # ------------------------------------------------------------------------------------------------------- needs

    def _needs(self) -> "dict[Step, tuple[NDArray[np.int64], list[Any], Callable[[Any], Any]]]":
        """Of each check: what VMs need as ids, what these stand for, and the Steps of one on all hosts."""
        table, hosts, rows = self._tables.vms, self._tables.hosts, self.vms
        everywhere = np.full(len(self.hosts), Step.NONE, np.uint8)

        def codes(fails: Any, step: Step) -> Codes:
            return np.where(fails, np.uint8(step), np.uint8(Step.NONE))

        def signs(needed: bool, column: NDArray[np.int8], step: Step) -> Codes:
            if not needed:
                return everywhere
            has = column[self.hosts]
            return np.minimum(codes(has == 0, step), codes(has < 0, Step.NOT_TOLD))

        def among(places: tuple[int, ...] | None, step: Step) -> Codes:
            return everywhere if places is None else codes(~np.isin(self.hosts, places), step)

        srs, networks = _membership(hosts.attached_srs[self.hosts]), _membership(hosts.networks[self.hosts])
        enslaved = _membership(hosts.enslaved_networks[self.hosts])

        def storage(needed: tuple[int, ...]) -> Codes:
            return codes(~_all(srs, needed, len(self.hosts)), Step.STORAGE)

        def attachable(needed: tuple[int, ...]) -> Codes:
            seen = np.ones(len(self.hosts), np.bool_)
            bonded = np.zeros(len(self.hosts), np.bool_)
            for network in needed:
                seen &= self._visible(network, networks)
                if network in enslaved:
                    bonded |= enslaved[network]
            return np.where(seen, codes(bonded, Step.BOND), np.uint8(Step.NETWORK))

        def cpus(vcpus: int) -> Codes:
            has = hosts.cpu_count[self.hosts]
            return np.minimum(
                codes((has > 0) & (vcpus > has), Step.PCPUS), codes((has == 0) & (vcpus > 0), Step.NOT_TOLD)
            )

        def platform(version: int) -> Codes:
            offered = hosts.virtual_hardware_platform_versions[self.hosts]
            return codes([version not in versions for versions in offered], Step.HARDWARE_PLATFORM)

        def unknown(flags: int) -> Codes:
            step = Step.UNDECIDED if flags >> 8 else Step.NOT_TOLD if flags else Step.NONE
            return np.full(len(self.hosts), step, np.uint8)

        needs_hvm = np.isin(table.current_domain_type[rows], _HVM)
        vcpus = np.where(table.vcpu_unrestricted, 0, table.VCPUs_max)[rows]
        flags = table.undecided[rows].astype(np.int64) << 8 | (table.not_told[rows] & sum(_PLACES))
        device_needs = {
            Step.VGPU: table.gpu_hosts,
            Step.USB: table.usb_hosts,
            Step.VIRTUAL_FUNCTIONS: table.vf_hosts,
        }
        return {
            Step.HARDWARE_PLATFORM: (*_numbered(table.hardware_platform_version[rows]), platform),
            Step.CPU: (*self._guest_cpus(), self._cpu_steps),
            Step.STORAGE: (*_distinct(table.needed_srs[rows]), storage),
            Step.NETWORK: (*_distinct(table.needed_networks[rows]), attachable),
            Step.IOMMU: (*_numbered(table.needs_iommu[rows]), lambda needed: signs(needed, hosts.iommu, Step.IOMMU)),
            **{step: (*_distinct(column[rows]), partial(among, step=step)) for step, column in device_needs.items()},
            Step.HVM: (*_numbered(needs_hvm), lambda needed: signs(needed, hosts.hvm, Step.HVM)),
            Step.PCPUS: (*_numbered(vcpus), cpus),
            Step.UNDECIDED: (*_numbered(flags), unknown),
        }

    def _pin_networks(self) -> None:
        """Where VMs run on networks without PIFs, which hold them and those that come."""
        vms, pinning = self._tables.vms, self._tables.networks.is_pinning
        self.pinned: dict[int, int] = {}
        self._running_on: dict[int, set[int]] = {}
        if not pinning.any():
            return
        needed = vms.needed_networks
        held = {nets: [net for net in nets if pinning[net]] for nets in set(needed[self.vms].tolist())}
        for row in self.vms[vms.power_state[self.vms] == PowerState.RUNNING].tolist():
            for net in held[needed[row]]:
                self.pinned[row] = net
                self._running_on.setdefault(net, set()).add(int(vms.resident_on[row]))

    def _visible(self, network: int, pifs: dict[int, Bools]) -> Bools:
        """Which hosts have a network."""
        table = self._tables.networks
        if table.has_pifs[network]:
            return pifs.get(network, np.zeros(len(self.hosts), np.bool_))
        on = self._running_on.get(network)
        return np.isin(self.hosts, list(on)) if on else np.ones(len(self.hosts), np.bool_)

    # --------------------------------------------------------------------------------------------------------- CPU

    def _guest_cpus(self) -> "tuple[NDArray[np.int64], list[tuple[cpu.CPU, bool] | None]]":
        """What each VM with a domain booted with, and whether as pv; None of others, or if no host tells its own."""
        vms, rows = self._tables.vms, self.vms
        compared = ((vms.power_state != PowerState.HALTED) & ((vms.not_told & Unknown.CPU) == 0))[rows]
        is_pv = (vms.current_domain_type == DomainType.PV)[rows]
        columns = [_distinct(column[rows])[0] for column in (vms.cpu_vendor, vms.cpu_features)]
        kind_of, example = _kinds([ids * compared for ids in (*columns, is_pv.astype(np.int64))] + [compared])
        guests = [
            (cpu.CPU(vms.cpu_vendor[row], vms.cpu_features[row]), bool(pv)) if there else None
            for row, pv, there in zip(rows[example], is_pv[example], compared[example], strict=True)
        ]
        return kind_of.astype(np.int64), guests

    def _verdict(self, guest: tuple[cpu.CPU, bool], host: int) -> cpu.Verdict:
        pools, hosts = self._tables.pools, self._tables.hosts
        master = int(pools.master[self._pool])
        server = cpu.levelling(hosts.software_version[master] if master >= 0 else {})
        offered = cpu.host_cpu(hosts.cpu_info[host], "pv" if guest[1] else "hvm", server)
        try:
            return cpu.compare(guest[0], offered, server, pools.cpuid_feature_mask[self._pool])
        except ValueError:  # no feature set: the server fails with an internal error
            return cpu.Verdict.UNDECIDED

    def _cpu_steps(self, guest: tuple[cpu.CPU, bool] | None) -> Codes:
        if guest is None:
            return np.full(len(self.hosts), Step.NONE, np.uint8)
        infos: Objects = self._tables.hosts.cpu_info
        known: dict[int, Step] = {}
        for host in self.hosts.tolist():
            if id(infos[host]) not in known:
                verdict = self._verdict(guest, host)
                known[id(infos[host])] = (
                    Step.NONE
                    if verdict == cpu.Verdict.COMPATIBLE
                    else Step.UNDECIDED
                    if verdict == cpu.Verdict.UNDECIDED
                    else Step.CPU
                )
        return np.array([known[id(infos[host])] for host in self.hosts.tolist()], np.uint8)

    # ----------------------------------------------------------------------------------------------------- reasons

    def step(self, vm: int, host: int, *, with_cpu: bool = True) -> Step:
        """The Step of one VM on one host, both rows of the fleet."""
        kind, place = self.kind_of[np.searchsorted(self.vms, vm)], np.searchsorted(self.hosts, host)
        own, rest = self.cpu[kind, place], self.rest[kind, place]
        return Step(int(min(own, rest) if with_cpu else rest))

    def reason(self, vm: int, host: int, *, with_cpu: bool = True) -> str:
        """Why a VM cannot run on a host, in words that follow its name; empty if nothing fails that is known."""
        step = self.step(vm, host, with_cpu=with_cpu)
        if step in (Step.NONE, Step.NOT_TOLD):
            return ""
        vms, hosts = self._tables.vms, self._tables.hosts
        name = f"host {hosts.label(host)}"
        match step:
            case Step.HARDWARE_PLATFORM:
                return f"needs virtual hardware of version {vms.hardware_platform_version[vm]}, which {name} lacks"
            case Step.CPU:
                return self._cpu_reason(vm, host, name)
            case Step.STORAGE:
                return f"needs SR {self._tables.srs.label(self._missing(vm, host, step))}, which {name} does not see"
            case Step.NETWORK:
                return self._network_reason(self._missing(vm, host, step), name)
            case Step.BOND:
                network = self._tables.networks.label(self._missing(vm, host, step))
                return f"needs network {network}, whose PIF on {name} belongs to a bond"
            case Step.IOMMU:
                return f"needs an IOMMU, which {name} lacks"
            case Step.VGPU:
                return f"needs {self._device(vm, 'the vGPU')}, for which {name} has no room"
            case Step.USB:
                return f"needs {self._device(vm, 'the USB')}, which is not on {name}"
            case Step.VIRTUAL_FUNCTIONS:
                return f"needs {self._device(vm, 'virtual')}, of which {name} has too few"
            case Step.HVM:
                return f"needs HVM, which {name} lacks"
            case Step.PCPUS:
                return f"has {vms.VCPUs_max[vm]} vCPUs, and {name} {hosts.cpu_count[host]} CPUs"
        return self.undecided(vm) or f"has CPU features of which nothing tells whether {name} has them"

    def reasons(self, vm: int, hosts: Rows, *, pcpus: bool = True) -> list[tuple[str, int]]:
        """Why a VM cannot run on some hosts of the pool, need by need.

        Parameters
        ----------
        vm, hosts : rows of the fleet
        pcpus : whether a VM needs as many CPUs as it has vCPUs

        Returns
        -------
        for each need the reason of the first host that lacks it, and on how many it is what fails first
        """
        kind = self.kind_of[np.searchsorted(self.vms, vm)]
        steps = np.minimum(self.cpu[kind], self.rest[kind])[np.searchsorted(self.hosts, hosts)]
        passed = is_allowed(steps) if pcpus else is_allowed(steps) | (steps == Step.PCPUS)
        lacking: dict[tuple[int, Any], list[int]] = {}
        for host, step in zip(hosts[~passed].tolist(), steps[~passed].tolist(), strict=True):
            lacking.setdefault((step, self._missing(vm, host, step)), []).append(host)
        found: dict[str, tuple[str, int]] = {}
        for where in lacking.values():
            reason = self.reason(vm, where[0])
            text, count = found.get(reason.partition(", ")[0], (reason, 0))
            found[reason.partition(", ")[0]] = text, count + len(where)
        return list(found.values())

    def _missing(self, vm: int, host: int, step: int) -> Any:
        """Which of the things that a VM needs of a kind a host lacks, where it can need several of the kind."""
        vms, hosts = self._tables.vms, self._tables.hosts
        match step:
            case Step.STORAGE:
                return next(sr for sr in vms.needed_srs[vm] if sr not in hosts.attached_srs[host])
            case Step.NETWORK:
                return next(net for net in vms.needed_networks[vm] if not self._has_network(host, net))
            case Step.BOND:
                return next(net for net in vms.needed_networks[vm] if net in hosts.enslaved_networks[host])
            case Step.CPU | Step.UNDECIDED:
                return self.reason(vm, host).partition(", ")[0]
        return None

    def _has_network(self, host: int, network: int) -> bool:
        table, on = self._tables.networks, self._running_on.get(network, {host})
        if table.has_pifs[network]:
            return network in self._tables.hosts.networks[host]
        return not table.is_pinning[network] or host in on

    def undecided(self, vm: int) -> str:
        """What of a VM's own records leaves open where it can run; empty if nothing."""
        flags = int(self._tables.vms.undecided[vm])
        return "; ".join(f"it is not known {what}" for flag, what in _PLACES.items() if flags & flag)

    def unknown(self, vm: int, host: int, *, with_cpu: bool = True) -> str:
        """What is not known of whether a VM can run on a host; empty if that is known."""
        step = self.step(vm, host, with_cpu=with_cpu)
        if step == Step.UNDECIDED:
            return self.undecided(vm).removeprefix("it is not known ") or "whether it has the CPU features"
        if step != Step.NOT_TOLD:
            return ""
        flags = int(self._tables.vms.not_told[vm])
        return ", ".join(what for flag, what in _PLACES.items() if flags & flag) or "what the host offers"

    def _device(self, vm: int, kind: str) -> str:
        names: Iterable[str] = self._tables.vms.device_names[vm] or ()
        return next((name for name in names if name.startswith(kind)), f"{kind} device")

    def _network_reason(self, network: int, name: str) -> str:
        table, hosts = self._tables.networks, self._tables.hosts
        if table.has_pifs[network]:
            return f"needs network {table.label(network)}, which {name} does not have"
        there = ", ".join(hosts.label(row) for row in sorted(self._running_on[network]) if row >= 0)
        return f"needs network {table.label(network)}, which has no PIF and holds its VMs on host {there}"

    def _cpu_reason(self, vm: int, host: int, name: str) -> str:
        vms, hosts = self._tables.vms, self._tables.hosts
        guest = cpu.CPU(vms.cpu_vendor[vm], vms.cpu_features[vm]), bool(vms.current_domain_type[vm] == DomainType.PV)
        verdict = self._verdict(guest, host)
        if verdict == cpu.Verdict.OTHER_VENDOR:
            return f"booted on a CPU of {guest[0].vendor}, which that of {name} is not"
        if verdict == cpu.Verdict.NO_KEYS:
            return f"booted with CPU features, of which {name} tells none"
        info = hosts.cpu_info[host]
        has = cpu.features_of(info.get("features_pv" if guest[1] else "features_hvm", info.get("features", "")))
        wanted = cpu.zero_extended(cpu.features_of(guest[0].features or ""), len(has))
        lacking = cpu.text_of(tuple(word & ~own for word, own in zip(wanted, has, strict=True)))
        return f"booted with the CPU features {lacking}, which {name} lacks"


class Mobility:
    """Where the VMs of a fleet can run, pool by pool, each computed when it is first asked for.

    Parameters
    ----------
    tables : of the fleet
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._pools: dict[int, PoolMobility] = {}

    def pool(self, pool: int) -> PoolMobility:
        """Of one pool, by its row."""
        if pool not in self._pools:
            self._pools[pool] = PoolMobility(self._tables, pool)
        return self._pools[pool]

    def of(self, vm: int) -> PoolMobility:
        """Of the pool of a VM."""
        return self.pool(int(self._tables.vms.pool[vm]))

    def kinds(self, vms: Rows, hosts: Rows, *, pcpus: bool = True) -> tuple[Rows, list[Bools]]:
        """The kinds of some VMs among some hosts, told apart by where they may go as far as that is known.

        Parameters
        ----------
        vms, hosts : rows
        pcpus : whether a VM needs as many CPUs as it has vCPUs

        Returns
        -------
        (kind_of, masks) : int32 array, shape (vms,), and for each kind a bool array, shape (hosts,); of hosts in other
        pools nothing is said: they are True
        """
        kind_of = np.zeros(len(vms), np.int32)
        masks: dict[bytes, tuple[int, Bools]] = {}
        of_vm, of_host = self._tables.vms.pool[vms], self._tables.hosts.pool[hosts]
        for pool in np.unique(of_vm).tolist():
            part = self.pool(pool)
            own, here = np.flatnonzero(of_vm == pool), np.flatnonzero(of_host == pool)
            local = part.kind_of[np.searchsorted(part.vms, vms[own])]
            steps = part.first_step()[:, np.searchsorted(part.hosts, hosts[here])]
            may = is_allowed(steps) if pcpus else is_allowed(steps) | (steps == Step.PCPUS)
            used = np.unique(local)
            merged = np.zeros(len(may), np.int32)
            for kind in used.tolist():
                mask = np.ones(len(hosts), np.bool_)
                mask[here] = may[kind]
                merged[kind] = masks.setdefault(mask.tobytes(), (len(masks), mask))[0]
            kind_of[own] = merged[local]
        return kind_of, [mask for _, mask in masks.values()]


def _distinct(values: Iterable[Value]) -> "tuple[NDArray[np.int64], list[Value]]":
    """Values as ids, and what the ids stand for."""
    given = list(values)
    ids = {value: number for number, value in enumerate(dict.fromkeys(given))}
    return np.fromiter(map(ids.__getitem__, given), np.int64, len(given)), list(ids)


def _numbered(values: NDArray[Any]) -> "tuple[NDArray[np.int64], list[Any]]":
    distinct, ids = np.unique(values, return_inverse=True)
    return ids.reshape(-1).astype(np.int64), distinct.tolist()


def _kinds(columns: Sequence[NDArray[np.int64]]) -> tuple[Rows, Rows]:
    """Rows that are equal in all columns of ids as one kind, and the first row of each kind."""
    code = np.zeros(len(columns[0]), np.int64)
    for ids in columns:
        code = code * (int(ids.max(initial=0)) + 1) + ids
        if int(code.max(initial=0)) > 1 << 31:
            code = np.unique(code, return_inverse=True)[1].reshape(-1).astype(np.int64)
    _, first, kind_of = np.unique(code, return_index=True, return_inverse=True)
    return kind_of.reshape(-1).astype(np.int32), first.astype(np.int32)


def _membership(sets: Objects) -> dict[int, Bools]:
    """For each item, which hosts have it."""
    items = np.fromiter(chain.from_iterable(sets), np.int64)
    hosts = np.repeat(np.arange(len(sets)), np.fromiter(map(len, sets), np.int64, len(sets)))
    known, places = np.unique(items, return_inverse=True)
    has = np.zeros((len(known), len(sets)), np.bool_)
    has[places, hosts] = True
    return dict(zip(known.tolist(), has, strict=True))


def _all(have: dict[int, Bools], needed: Iterable[int], hosts: int) -> Bools:
    """Which hosts have all of some items."""
    all_of = np.ones(hosts, np.bool_)
    for item in needed:
        if item not in have:
            return np.zeros(hosts, np.bool_)
        all_of = all_of & have[item]
    return all_of
