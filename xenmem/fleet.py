"""The Fleet: the pools, hosts and VMs of an inventory as columns, and the memory questions one asks of them.

A table is a structure of read-only arrays, one entry per row, named as the XenAPI fields. Amounts are bytes in int64;
a reference is the int32 row in the table it points into, -1 for none. The arithmetic is xenmem.kernel's; which server
computes what, and from which columns, is decided here. Knows no file format: xenmem.inventory fills the columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from xenmem import kernel
from xenmem.rules.upgrade import overhead_growth

if TYPE_CHECKING:
    from typing import Self

    import XenAPI

Bools = NDArray[np.bool_]
Codes = NDArray[np.uint8]
Rows = NDArray[np.int32]
Counts = NDArray[np.int32]
Bytes = NDArray[np.int64]
Floats = NDArray[np.float64]
Objects = NDArray[np.object_]

POLICIES: Final = ("static_max", "dynamic_max", "dynamic_min")
"""Accounting policies: which limit of a VM counts as its memory (memory_check.ml: accounting_policy)."""


class PowerState(IntEnum):
    """``VM.power_state``, by the value that the column holds."""

    HALTED = 0
    PAUSED = 1
    RUNNING = 2
    SUSPENDED = 3


@dataclass(frozen=True, slots=True)
class Note:
    """Something that was assumed, or skipped, while an inventory was read; once per kind and file.

    Attributes
    ----------
    source : the file
    kind : a short name of what happened, such as ``overhead-recomputed``
    text : what was assumed, for people
    count : how many rows it concerns
    example : the first of them, may be empty
    """

    source: str
    kind: str
    text: str
    count: int
    example: str

    def __str__(self) -> str:
        example = f" (first: {self.example})" if self.example else ""
        return f"{self.source}: {self.text}{example}"


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Table:
    """Columns of equal length. Every table has these three.

    Attributes
    ----------
    ref : object, str; the OpaqueRef, or the uuid where the inventory has no references (xe text, single records)
    uuid : object, str
    name_label : object, str
    """

    ref: Objects
    uuid: Objects
    name_label: Objects

    def __post_init__(self) -> None:
        for field in fields(self):
            column = getattr(self, field.name)
            if column.shape != self.ref.shape:
                raise ValueError(f"{field.name}: shape {column.shape} where ref has {self.ref.shape}")
            column.flags.writeable = False

    def __len__(self) -> int:
        return len(self.ref)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} rows>"

    def find(self, name: str) -> NDArray[np.int64]:
        """The rows whose ref or uuid is `name` or, if there is none, whose name_label is.

        Parameters
        ----------
        name : a reference, a uuid or a name_label, matched whole

        Returns
        -------
        int64 array, the rows in ascending order: empty if there is none, longer than one if the name is ambiguous
        """
        rows = np.flatnonzero((self.ref == name) | (self.uuid == name))
        return rows if len(rows) else np.flatnonzero(self.name_label == name)

    def label(self, row: int) -> str:
        """What messages call a row: its name, or its uuid or reference if it has none; printable."""
        text: str = self.name_label[row] or self.uuid[row] or self.ref[row]
        return text if text.isprintable() else repr(text)

    def _columns(self) -> dict[str, NDArray[Any]]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class VMs(Table):
    """Every row of the class VM: guests, templates, snapshots and control domains.

    Attributes
    ----------
    pool : row in pools
    power_state : PowerState
    domain_type : kernel.DomainType, derived where the inventory leaves it open
    is_control_domain, is_a_template, is_a_snapshot : a snapshot is a template, too
    memory_static_max, memory_dynamic_max, memory_dynamic_min, memory_static_min : bytes
    memory_target : bytes; -1 where the inventory cannot tell it (xe text)
    memory_overhead : bytes, as stored; recomputed where the inventory has none (before XenServer 5.6)
    memory_actual : bytes in use as last measured; 0 when not running or unknown
    VCPUs_max, VCPUs_at_startup : number of vCPUs
    HVM_shadow_multiplier : factor of the shadow memory
    video_ram : bytes, from platform:videoram; 0 if the record names none
    nested_virt : a live VM that was built with nested virtualisation
    vcpu_unrestricted : platform:vcpu-unrestricted, may have more vCPUs than its host has CPUs
    resident_on, scheduled_to_be_resident_on, affinity : row in hosts
    ha_always_run, ha_restart_priority, order, start_delay : protection by HA and order of start; seconds
    groups : tuples of rows in vm_groups
    accounted_static_max, accounted_VCPUs_max, accounted_shadow_multiplier, accounted_domain_type : what the server
        computes with. Up to XenServer 7.2 the values a live VM was booted with (its last_booted_record), else the
        columns above, as the same arrays (inventory-formats, section 4)
    """

    pool: Rows
    power_state: Codes
    domain_type: Codes
    is_control_domain: Bools
    is_a_template: Bools
    is_a_snapshot: Bools
    memory_static_max: Bytes
    memory_dynamic_max: Bytes
    memory_dynamic_min: Bytes
    memory_static_min: Bytes
    memory_target: Bytes
    memory_overhead: Bytes
    memory_actual: Bytes
    VCPUs_max: Counts
    VCPUs_at_startup: Counts
    HVM_shadow_multiplier: Floats
    video_ram: Bytes
    nested_virt: Bools
    vcpu_unrestricted: Bools
    resident_on: Rows
    scheduled_to_be_resident_on: Rows
    affinity: Rows
    ha_always_run: Bools
    ha_restart_priority: Objects
    order: Bytes
    start_delay: Bytes
    groups: Objects
    accounted_static_max: Bytes
    accounted_VCPUs_max: Counts  # noqa: N815  (the field's own name)
    accounted_shadow_multiplier: Floats
    accounted_domain_type: Codes

    @property
    def is_guest(self) -> Bools:
        """Neither template, nor snapshot, nor control domain."""
        return ~(self.is_a_template | self.is_a_snapshot | self.is_control_domain)


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Hosts(Table):
    """The rows of the class host, with their host_metrics.

    Attributes
    ----------
    pool : row in pools
    hostname, address : str
    memory_total, memory_free : bytes as last measured; -1 is unknown
    memory_overhead : bytes; sampled by the server when the host booted
    boot_free_mem : bytes free right after boot; 0 where the inventory cannot tell it (all but database dumps)
    enabled, live : takes VMs; its metrics are current
    is_coordinator : the pool's master
    software_version : dict of str
    xapi_version : software_version's xapi_build, else its xapi, else empty
    model : the kernel model that this xapi computes with; empty if unknown
    cpu_count : logical CPUs; 0 is unknown
    control_domain : row in vms of domain 0
    """

    pool: Rows
    hostname: Objects
    address: Objects
    memory_total: Bytes
    memory_free: Bytes
    memory_overhead: Bytes
    boot_free_mem: Bytes
    enabled: Bools
    live: Bools
    is_coordinator: Bools
    software_version: Objects
    xapi_version: Objects
    model: Objects
    cpu_count: Counts
    control_domain: Rows

    @property
    def available(self) -> Bytes:
        """Bytes of each host for its VMs, control domains included; an unknown memory_total counts as 0."""
        available: Bytes = np.maximum(self.memory_total, 0) - self.memory_overhead
        return available


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Pools(Table):
    """The rows of the class pool; one without ref stands for an inventory that has no pool record.

    Attributes
    ----------
    master : row in hosts of the coordinator
    model : the kernel model that the coordinator computes with
    ha_enabled, ha_host_failures_to_tolerate, ha_plan_exists_for, ha_allow_overcommit : high availability
    restrict_dmc : ballooning is not licensed
    source, format : where the pool was read from, and in which format
    schema : schema version of a database dump, such as ``5.909``; else empty
    """

    master: Rows
    model: Objects
    ha_enabled: Bools
    ha_host_failures_to_tolerate: Bytes
    ha_plan_exists_for: Bytes
    ha_allow_overcommit: Bools
    restrict_dmc: Bools
    source: Objects
    format: Objects
    schema: Objects


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class VMGroups(Table):
    """The rows of the class VM_group.

    Attributes
    ----------
    pool : row in pools
    placement : str, ``normal`` or ``anti_affinity``
    """

    pool: Rows
    placement: Objects


class Fleet:
    """The VMs, hosts, pools and VM groups of an inventory.

    Parameters
    ----------
    vms, hosts, pools, vm_groups : the tables; references between them are row numbers
    notes : what was assumed or skipped while reading

    Notes
    -----
    Made by `xenmem.read`, `Fleet.from_records`, `Fleet.from_session` or `Fleet.concatenate`.
    """

    __slots__ = ("hosts", "notes", "pools", "vm_groups", "vms")

    def __init__(self, vms: VMs, hosts: Hosts, pools: Pools, vm_groups: VMGroups, notes: Iterable[Note] = ()) -> None:
        self.vms = vms
        self.hosts = hosts
        self.pools = pools
        self.vm_groups = vm_groups
        self.notes = tuple(notes)

    def __repr__(self) -> str:
        return f"<Fleet: {len(self.pools)} pools, {len(self.hosts)} hosts, {len(self.vms)} VMs>"

    @classmethod
    def from_records(
        cls, records: Mapping[str, Mapping[str, Mapping[str, Any]]], *, source: str = "records", lenient: bool = False
    ) -> Self:
        """A Fleet from XenAPI records.

        Parameters
        ----------
        records : class name to reference to record, as the ``get_all_records`` calls answer; ints may be numbers or
            text. Read are ``VM``, ``VM_metrics``, ``host``, ``host_metrics``, ``pool`` and ``VM_group``
        source : what messages call the records
        lenient : skip bad rows and count them in notes

        Raises
        ------
        InventoryError : a record is bad; names class, reference, field and value
        """
        from xenmem.inventory.records import read_tables

        return cls.concatenate([read_tables(records, source=source, lenient=lenient)])

    @classmethod
    def from_session(cls, session: XenAPI.Session, *, lenient: bool = False) -> Self:
        """A Fleet from a live pool, through ``get_all_records`` calls: nothing is changed there.

        Parameters
        ----------
        session : a logged-in ``XenAPI.Session``
        lenient : skip bad rows and count them in notes

        Raises
        ------
        InventoryError : a record is bad; names class, reference, field and value
        XenAPI.Failure : the server refuses a call
        """
        from xenmem.inventory.session import read_session

        return cls.concatenate([read_session(session, lenient=lenient)])

    @classmethod
    def concatenate(cls, fleets: Sequence[Fleet]) -> Self:
        """One Fleet of the pools of several.

        Parameters
        ----------
        fleets : any number of them; their rows follow each other in this order

        Raises
        ------
        InventoryError : two of them hold the same pool or host
        """
        from xenmem.inventory.error import InventoryError

        if not fleets:
            raise ValueError("fleets: nothing to concatenate")
        seen: dict[tuple[str, str], str] = {}
        for fleet in fleets:
            sources = fleet.pools.source.tolist()
            named = [("pool", uuid, source) for uuid, source in zip(fleet.pools.uuid, sources, strict=True)]
            named += [
                ("host", uuid, sources[pool]) for uuid, pool in zip(fleet.hosts.uuid, fleet.hosts.pool, strict=True)
            ]
            for name, uuid, source in named:
                if uuid and (name, uuid) in seen:
                    raise InventoryError(source, "", f"{name} {uuid} was already read from {seen[name, uuid]}")
                seen[name, uuid] = source
        if len(fleets) == 1:
            (only,) = fleets
            return cls(only.vms, only.hosts, only.pools, only.vm_groups, only.notes)
        offsets = {"vms": 0, "hosts": 0, "pools": 0, "vm_groups": 0}
        parts: dict[str, list[dict[str, NDArray[Any]]]] = {name: [] for name in offsets}
        for fleet in fleets:
            for name in offsets:
                columns = getattr(fleet, name)._columns()
                for column, target in _REFERENCES[name].items():
                    columns[column] = _shift(columns[column], offsets[target])
                parts[name].append(columns)
            for name in offsets:
                offsets[name] += len(getattr(fleet, name))
        return cls(
            VMs(**_join(parts["vms"])),
            Hosts(**_join(parts["hosts"])),
            Pools(**_join(parts["pools"])),
            VMGroups(**_join(parts["vm_groups"])),
            (note for fleet in fleets for note in fleet.notes),
        )

    def amount(self, policy: str = "dynamic_min") -> Bytes:
        """The memory of each VM that counts under a policy, without overhead.

        Parameters
        ----------
        policy : ``static_max``, ``dynamic_max`` or ``dynamic_min``

        Returns
        -------
        int64 array, shape (vms,), bytes

        Raises
        ------
        ValueError : the policy does not exist
        """
        if policy not in POLICIES:
            raise ValueError(f"policy: {policy!r} is none of {', '.join(POLICIES)}")
        column: Bytes = (
            self.vms.accounted_static_max if policy == "static_max" else getattr(self.vms, f"memory_{policy}")
        )
        return column

    def free_memory(self, policy: str = "dynamic_min") -> Bytes:
        """The free memory of each host: what ``host.compute_free_memory`` answers under the default policy.

        Parameters
        ----------
        policy : ``static_max``, ``dynamic_max`` or ``dynamic_min``

        Returns
        -------
        int64 array, shape (hosts,), bytes; 0 where memory_total is unknown, as in xapi

        Raises
        ------
        ValueError : the policy does not exist

        Notes
        -----
        Counts the stored overhead, and both the VMs resident on a host and those scheduled there.
        Source: xapi-project/xen-api, ocaml/xapi/memory_check.ml, ``host_compute_free_memory_with_policy``.
        """
        return kernel.free_memory(
            self.hosts.available,
            self.amount(policy),
            self.vms.memory_overhead,
            self.vms.resident_on,
            self.vms.scheduled_to_be_resident_on,
        )

    def overhead(self, model: str | None = None) -> Bytes:
        """The overhead of each VM, recomputed: what ``VM.compute_memory_overhead`` answers.

        Parameters
        ----------
        model : name of a kernel model for all VMs; by default each VM's pool's own

        Returns
        -------
        int64 array, shape (vms,), bytes, whole MiB

        Raises
        ------
        ValueError : the model does not exist
        """
        vms = self.vms

        def compute(rows: NDArray[np.intp], name: str) -> Bytes:
            return kernel.overhead(
                vms.accounted_domain_type[rows],
                vms.accounted_static_max[rows],
                vms.accounted_VCPUs_max[rows],
                vms.accounted_shadow_multiplier[rows],
                model=name,
            )

        return self._by_model(compute, model)

    def host_overhead_growth(self, model: str) -> Bytes:
        """By how much the memory_overhead of each host grows once it runs a version that computes with a model.

        Parameters
        ----------
        model : name of a kernel model

        Returns
        -------
        int64 array, shape (hosts,), bytes; what Xen itself takes is taken to stay

        Raises
        ------
        ValueError : the model does not exist

        Notes
        -----
        Source: xapi-project/xen-api, ocaml/xapi/dbsync_slave.ml, ``record_host_memory_properties``.
        """
        _check_model(model)
        hosts = self.hosts
        present = np.where(hosts.model == "", self.pools.model[hosts.pool], hosts.model).tolist()
        return overhead_growth(hosts.memory_total, hosts.memory_overhead, hosts.boot_free_mem, present, model)

    def start_memory(self, policy: str = "dynamic_min", model: str | None = None) -> Bytes:
        """The memory that each VM requires to start, to resume or to be received: normal and shadow part together.

        Parameters
        ----------
        policy : which limit the VM is to be given: ``static_max``, ``dynamic_max`` or ``dynamic_min``
        model : name of a kernel model for all VMs; by default each VM's pool's own

        Returns
        -------
        int64 array, shape (vms,), bytes, whole MiB

        Raises
        ------
        ValueError : the policy or the model does not exist

        Notes
        -----
        Source: xapi-project/xen-api, ocaml/xapi/memory_check.ml, ``vm_compute_start_memory``.
        """
        vms = self.vms
        target = self.amount(policy)

        def compute(rows: NDArray[np.intp], name: str) -> Bytes:
            normal, shadow = kernel.required_memory(
                vms.accounted_domain_type[rows],
                vms.accounted_static_max[rows],
                target[rows],
                vms.accounted_VCPUs_max[rows],
                vms.accounted_shadow_multiplier[rows],
                model=name,
            )
            return normal + shadow

        return self._by_model(compute, model)

    def stored_overhead_model(self) -> Objects:
        """Which model each VM's stored overhead belongs to.

        Returns
        -------
        object array, shape (vms,), str: the pool's own model if that gives the stored overhead, else the name of
        another model that does, else empty. Compare with ``pools.model[vms.pool]``

        Notes
        -----
        A stored overhead legitimately stays behind the model until the VM is next started (inventory-formats, 4).
        """
        own = self.pools.model[self.vms.pool]
        answer = np.full(len(self.vms), "", dtype=object)
        for name in reversed(tuple(kernel.MODELS)):  # of several that give it, the newest
            answer[self.overhead(name) == self.vms.memory_overhead] = name
        matches_own = self.overhead() == self.vms.memory_overhead
        answer[matches_own] = own[matches_own]
        return answer

    def _by_model(self, compute: Callable[[NDArray[np.intp], str], Bytes], model: str | None) -> Bytes:
        if model is not None:
            _check_model(model)
        answer = np.empty(len(self.vms), dtype=np.int64)
        models = np.full(len(self.pools), model, dtype=object) if model is not None else self.pools.model
        for name in dict.fromkeys(models):
            rows = np.flatnonzero((models == name)[self.vms.pool])
            answer[rows] = compute(rows, name)
        return answer


def _check_model(model: str) -> None:
    if model not in kernel.MODELS:
        raise ValueError(f"model: {model!r} is none of {', '.join(kernel.MODELS)}")


_REFERENCES: Final[dict[str, dict[str, str]]] = {
    "vms": {
        "pool": "pools",
        "resident_on": "hosts",
        "scheduled_to_be_resident_on": "hosts",
        "affinity": "hosts",
        "groups": "vm_groups",
    },
    "hosts": {"pool": "pools", "control_domain": "vms"},
    "pools": {"master": "hosts"},
    "vm_groups": {"pool": "pools"},
}


def _shift(rows: NDArray[Any], offset: int) -> NDArray[Any]:
    if offset == 0:
        return rows
    if rows.dtype == object:
        return np.fromiter((tuple(row + offset for row in group) for group in rows), object, len(rows))
    return np.where(rows >= 0, rows + np.int32(offset), rows).astype(np.int32)


def _join(parts: list[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """One column per name; columns that are one array in every part stay one array."""
    joined: dict[tuple[int, ...], NDArray[Any]] = {}
    columns = {}
    for name in parts[0]:
        pieces = [part[name] for part in parts]
        key = tuple(map(id, pieces))
        if key not in joined:
            joined[key] = np.concatenate(pieces)
        columns[name] = joined[key]
    return columns
