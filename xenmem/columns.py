"""What a table is: the pools, hosts, VMs, VM groups, SRs and networks of an inventory as columns.

A table is a structure of read-only arrays, one entry per row, named as the XenAPI fields. Amounts are bytes in int64;
a reference is the int32 row in the table it points into, -1 for none. Knows no file and no rule: xenmem.inventory fills
the columns, at once or when they are asked for, and xenmem.fleet asks them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum, IntFlag
from functools import cache
from typing import Annotated, Any, Final, NamedTuple, Self, overload

import numpy as np
from numpy.typing import NDArray

from xenmem import notebook
from xenmem.arrow import Cell, Held, Spelled, held, library, schema_of, to_array
from xenmem.kernel import DomainType

Bools = NDArray[np.bool_]
Codes = NDArray[np.uint8]
Signs = NDArray[np.int8]
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


Texts = Annotated[Objects, Cell.TEXT]
TextsOrNone = Annotated[Objects, Cell.TEXT, None]
TextTuples = Annotated[Objects, Cell.TEXTS]
TextTuplesOrNone = Annotated[Objects, Cell.TEXTS, None]
NumberTuples = Annotated[Objects, Cell.NUMBERS]
Maps = Annotated[Objects, Cell.MAP]
PowerStates = Annotated[Codes, Spelled(tuple(state.name.capitalize() for state in PowerState))]
DomainTypes = Annotated[Codes, Spelled(tuple(kind.name.lower() for kind in DomainType))]
"""What columns hold; one that holds rows of a table is annotated by its name, one of objects then by tuples of them."""

SCHEMA_VERSION: Final = 1
"""Of the tables in Arrow and Parquet: it grows when a column comes, goes away or changes its meaning."""


class Unknown(IntFlag):
    """What of a VM is not known: parts of what decides where it can run, and what its guest says of migrations."""

    STORAGE = 1
    NETWORKS = 2
    CPU = 4
    DEVICES = 8
    GUEST = 16


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


class _Deferred:
    """Columns that are read when they are first asked for: what stands in for a slot that is still empty."""

    __slots__ = ("_count", "_load")

    def __getattr__(self, name: str) -> Any:
        if name == "_count":
            return lambda: len(self.ref)
        if name == "_load" or name not in type(self).__dataclass_fields__:  # type: ignore[attr-defined]
            raise AttributeError(f"{type(self).__name__} has no column {name!r}")
        self.fetch(name)
        return object.__getattribute__(self, name)

    def fetch(self, *names: str) -> None:
        """Read these columns at once, which takes less time than one by one; of what was read nothing is to do."""
        missing = [name for name in names if not self.has(name)]
        if missing:
            for name, column in self._load(missing).items():
                column.flags.writeable = False
                object.__setattr__(self, name, column)

    def has(self, name: str) -> bool:
        """Whether a column is there, without reading it."""
        try:
            object.__getattribute__(self, name)
        except AttributeError:
            return False
        return True


_IN_NOTEBOOKS: Final = {
    "VMs": (
        "name_label",
        "power_state",
        "resident_on",
        "VCPUs_max",
        "memory_static_max",
        "memory_dynamic_max",
        "memory_dynamic_min",
        "memory_overhead",
    ),
    "Hosts": ("name_label", "enabled", "live", "memory_total", "memory_overhead", "memory_free", "xapi_version"),
    "Pools": ("name_label", "uuid", "model", "source", "format", "schema"),
}
"""Columns that notebooks show, by the name of the table's class."""


def _in_notebook(name: str, column: NDArray[Any]) -> list[Any]:
    """The values of a column as notebooks show them."""
    if name == "power_state":
        return [PowerState(value).name.lower() for value in column]
    return [notebook.Size(value) for value in column] if name.startswith("memory_") else column.tolist()


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Table(_Deferred):
    """Columns of equal length. Every table has these three.

    Attributes
    ----------
    ref : object, str; the OpaqueRef, or the uuid where the inventory has no references (xe text, single records)
    uuid : object, str
    name_label : object, str
    """

    ref: Texts
    uuid: Texts
    name_label: Texts

    def __post_init__(self) -> None:
        for name, column in self.columns().items():
            if column.shape != self.ref.shape:
                raise ValueError(f"{name}: shape {column.shape} where ref has {self.ref.shape}")
            column.flags.writeable = False

    @classmethod
    def deferred(cls, count: Callable[[], int], load: Callable[[Sequence[str]], Mapping[str, NDArray[Any]]]) -> Self:
        """A table whose columns are read when they are asked for.

        Parameters
        ----------
        count : tells how many rows it has
        load : reads the columns of these names
        """
        table = cls.__new__(cls)
        object.__setattr__(table, "_count", count)
        object.__setattr__(table, "_load", load)
        return table

    def __len__(self) -> int:
        count: int = self._count()
        return count

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} rows>"

    def _repr_html_(self) -> str:
        """For notebooks: the first rows of the columns that are asked for most."""
        names = _IN_NOTEBOOKS.get(type(self).__name__, ("name_label", "uuid"))
        columns = [_in_notebook(name, getattr(self, name)[: notebook.ROWS]) for name in names]
        return notebook.shown(repr(self), ("row", *names), zip(range(len(self)), *columns, strict=False), len(self))

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

    def columns(self) -> dict[str, NDArray[Any]]:
        """All columns by name."""
        return {column.name: getattr(self, column.name) for column in fields(self)}

    @classmethod
    @cache
    def held(cls) -> dict[str, Held]:
        """What each column holds."""
        return {column.name: held(column.type) for column in fields(cls)}

    @classmethod
    @cache
    def references(cls) -> dict[str, str]:
        """The columns that hold rows of a table, and the name of that one among the `Tables`."""
        return {name: column.target for name, column in cls.held().items() if column.target}

    def to_arrow(self) -> Any:
        """The table as a ``pyarrow.Table``: its columns, led by ``row``, which says their order.

        Raises
        ------
        ValueError : pyarrow is not installed, or a column holds what Arrow does not; names table and column
        """
        pa = library()
        name = next(name for name, kind in TABLE_TYPES.items() if isinstance(self, kind))
        arrays = [pa.array(np.arange(len(self), dtype=np.int32))]
        for column, values in self.columns().items():
            try:
                arrays.append(to_array(values, self.held()[column]))
            except ValueError as error:
                raise ValueError(f"{name}: {column}: {error}") from None
        return pa.Table.from_arrays(arrays, schema=arrow_schema(name, self.held()))

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.to_arrow().__arrow_c_stream__(requested_schema)


def arrow_schema(table: str, columns: Mapping[str, Held]) -> Any:
    """The Arrow schema of a table: its columns, led by their rows; its metadata tell the table and the version."""
    metadata = {"xenmem.schema": str(SCHEMA_VERSION), "xenmem.table": table}
    return schema_of({ROW: Held(np.dtype(np.int32)), **columns}, metadata)


ROW: Final = "row"
"""The column, in Arrow and Parquet alone, of the number of a row: what references to the table hold."""


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
    asks_for_nested_virt : platform:nested-virt or exp-nested-hvm
    vcpu_unrestricted : platform:vcpu-unrestricted, may have more vCPUs than its host has CPUs
    current_domain_type : kernel.DomainType that a VM with a domain was built as; domain_type where that is not known
    current_operations : tuples of str, the operations that are under way on the VM
    is_migration_blocked : blocked_operations has pool_migrate
    is_immobile : nomigrate or nested virtualisation: by its metrics, or by its platform if it has none
    has_guest_metrics : the inventory has its VM_guest_metrics, without which the next seven are False, or None
    has_pv_drivers : its PV_drivers_version is one; the guest can then be migrated
    pv_drivers_detected : PV_drivers_detected, where the server has the field, which is since 7.0; else has_pv_drivers
    os_distro, os_major : str, of the os_version that the guest reports; None if it does not
    agent_build : str, of its PV_drivers_version; None if it does not report it
    has_feature_suspend : it announces feature-suspend with the value 1
    refuses_suspend : it has a data-cant-suspend-reason: VM_NON_SUSPENDABLE
    VUSBs, VGPUs, attached_PCIs : number of these devices; 0 where the inventory cannot tell it (xe text)
    has_foreign_pci : of the attached PCI devices one is no virtual function of an Nvidia vGPU
    has_pinned_vgpu : of the vGPUs one is none that migrates live
    has_reset_disk : of the disks one is reset at boot and cached on the host
    needed_srs : tuples of rows in srs: those of the disks, in the order in which they are asked for, and of the image
        of a suspended VM
    needed_networks : tuples of rows in networks: those of the VIFs, in the order in which they are asked for
    cpu_vendor, cpu_features : str, what the VM booted with; None if it does not say
    hardware_platform_version : of the virtual hardware
    needs_iommu : a vGPU passes a PCI function through
    usb_hosts, gpu_hosts, vf_hosts : tuples of rows in hosts: where its USB devices are, where there is room for its
        vGPUs, and enough idle virtual functions for its VIFs, as things are; None where it has no need of any
    device_names : tuples of what messages call the USB devices, the vGPUs and the SR-IOV networks; None without any
    not_told : Unknown, what the inventory has no records of: taken to be no obstacle, and said not to be known
    undecided : Unknown, what its records contradict, or leave to the server: such a VM is not moved
    resident_on, scheduled_to_be_resident_on, affinity : row in hosts
    ha_always_run, ha_restart_priority, order, start_delay : protection by HA and order of start; seconds
    groups : tuples of rows in vm_groups
    tags : tuples of str
    auto_poweron : other_config says that it is to start with a host, where that of the pool says so, too
    accounted_static_max, accounted_VCPUs_max, accounted_shadow_multiplier, accounted_domain_type : what the server
        computes with. Up to XenServer 7.2 the values a live VM was booted with (its last_booted_record), else the
        columns above, as the same arrays (inventories.md, 4.4)
    """

    pool: Annotated[Rows, "pools"]
    power_state: PowerStates
    domain_type: DomainTypes
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
    asks_for_nested_virt: Bools
    vcpu_unrestricted: Bools
    current_domain_type: DomainTypes
    current_operations: TextTuples
    is_migration_blocked: Bools
    is_immobile: Bools
    has_guest_metrics: Bools
    has_pv_drivers: Bools
    pv_drivers_detected: Bools
    os_distro: TextsOrNone
    os_major: TextsOrNone
    agent_build: TextsOrNone
    has_feature_suspend: Bools
    refuses_suspend: Bools
    VUSBs: Counts
    VGPUs: Counts
    attached_PCIs: Counts  # noqa: N815  (the field's own name)
    has_foreign_pci: Bools
    has_pinned_vgpu: Bools
    has_reset_disk: Bools
    needed_srs: Annotated[Objects, "srs"]
    needed_networks: Annotated[Objects, "networks"]
    cpu_vendor: TextsOrNone
    cpu_features: TextsOrNone
    hardware_platform_version: Bytes
    needs_iommu: Bools
    usb_hosts: Annotated[Objects, "hosts", None]
    gpu_hosts: Annotated[Objects, "hosts", None]
    vf_hosts: Annotated[Objects, "hosts", None]
    device_names: TextTuplesOrNone
    not_told: Codes
    undecided: Codes
    resident_on: Annotated[Rows, "hosts"]
    scheduled_to_be_resident_on: Annotated[Rows, "hosts"]
    affinity: Annotated[Rows, "hosts"]
    ha_always_run: Bools
    ha_restart_priority: Texts
    order: Bytes
    start_delay: Bytes
    groups: Annotated[Objects, "vm_groups"]
    tags: TextTuples
    auto_poweron: Bools
    accounted_static_max: Bytes
    accounted_VCPUs_max: Counts  # noqa: N815  (the field's own name)
    accounted_shadow_multiplier: Floats
    accounted_domain_type: DomainTypes

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
    cpu_info : dict of str, what of cpu_info decides where VMs can run
    attached_srs : tuples of rows in srs: those with an attached PBD here, in ascending order
    networks, enslaved_networks : tuples of rows in networks: those with a PIF here, and those whose PIF here belongs
        to a bond, in ascending order
    hvm, iommu : 1 if the host builds domains that need the CPU's own virtualisation, and passes PCI functions through;
        0 if it does not, -1 if it does not say
    virtual_hardware_platform_versions : tuples of int
    current_operations : tuples of str, the operations that are under way on the host
    control_domain : row in vms of domain 0
    tags : tuples of str
    other_config : dict of str
    """

    pool: Annotated[Rows, "pools"]
    hostname: Texts
    address: Texts
    memory_total: Bytes
    memory_free: Bytes
    memory_overhead: Bytes
    boot_free_mem: Bytes
    enabled: Bools
    live: Bools
    is_coordinator: Bools
    software_version: Maps
    xapi_version: Texts
    model: Texts
    cpu_count: Counts
    cpu_info: Maps
    attached_srs: Annotated[Objects, "srs"]
    networks: Annotated[Objects, "networks"]
    enslaved_networks: Annotated[Objects, "networks"]
    hvm: Signs
    iommu: Signs
    virtual_hardware_platform_versions: NumberTuples
    current_operations: TextTuples
    control_domain: Annotated[Rows, "vms"]
    tags: TextTuples
    other_config: Maps

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
    ha_enabled, ha_host_failures_to_tolerate, ha_plan_exists_for, ha_allow_overcommit, ha_overcommitted : high
        availability
    restrict_dmc : ballooning is not licensed
    cpuid_feature_mask : str, by which servers before 7.0 mask CPU features; may be empty
    auto_poweron : other_config says that VMs of auto_poweron start with a host
    migration_network : str, the uuid of the network that other_config:xo:migrationNetwork names; may be empty
    cpu_info : dict of str, what of cpu_info VMs boot with: what all hosts have
    tags : tuples of str
    source, format : where the pool was read from, and in which format
    schema : schema version of a database dump, such as ``5.909``; else empty
    """

    master: Annotated[Rows, "hosts"]
    model: Texts
    ha_enabled: Bools
    ha_host_failures_to_tolerate: Bytes
    ha_plan_exists_for: Bytes
    ha_allow_overcommit: Bools
    ha_overcommitted: Bools
    restrict_dmc: Bools
    cpuid_feature_mask: Texts
    auto_poweron: Bools
    migration_network: Texts
    cpu_info: Maps
    tags: TextTuples
    source: Texts
    format: Texts
    schema: Texts


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class VMGroups(Table):
    """The rows of the class VM_group.

    Attributes
    ----------
    pool : row in pools
    placement : str, ``normal`` or ``anti_affinity``
    """

    pool: Annotated[Rows, "pools"]
    placement: Texts


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class SRs(Table):
    """The rows of the class SR.

    Attributes
    ----------
    pool : row in pools
    shared : marked as shared by the hosts; what a host sees is in hosts.attached_srs
    type : str, the storage driver
    """

    pool: Annotated[Rows, "pools"]
    shared: Bools
    type: Texts


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Networks(Table):
    """The rows of the class network.

    Attributes
    ----------
    pool : row in pools
    has_pifs : some host has a PIF on it
    is_pinning : VMs that run on it hold each other on the host where they are: it has no PIF, and is not assumed to be
        shared
    is_sriov : some PIF on it gives virtual functions to VMs
    is_management : the hosts, or some of them, are managed through it
    speed : Mbit/s of the slowest of its PIFs as last measured; 0 is unknown
    """

    pool: Annotated[Rows, "pools"]
    has_pifs: Bools
    is_pinning: Bools
    is_sriov: Bools
    is_management: Bools
    speed: Bytes


class DeferredNotes(Sequence[Note]):
    """Notes that are read when they are asked for.

    Parameters
    ----------
    load : reads them
    """

    def __init__(self, load: Callable[[], tuple[Note, ...]]) -> None:
        self._load = cache(load)

    def __len__(self) -> int:
        return len(self._load())

    def __reduce__(self) -> tuple[type[tuple[Note, ...]], tuple[tuple[Note, ...]]]:
        return tuple, (self._load(),)

    @overload
    def __getitem__(self, place: int, /) -> Note: ...

    @overload
    def __getitem__(self, place: slice, /) -> tuple[Note, ...]: ...

    def __getitem__(self, place: int | slice, /) -> Note | tuple[Note, ...]:
        return self._load()[place]


class Tables(NamedTuple):
    """What is read of a pool, or of several: the tables, and notes of what was assumed or skipped."""

    vms: VMs
    hosts: Hosts
    pools: Pools
    vm_groups: VMGroups
    srs: SRs
    networks: Networks
    notes: Sequence[Note] = ()


TABLE_TYPES: Final[dict[str, type[Table]]] = {
    "vms": VMs,
    "hosts": Hosts,
    "pools": Pools,
    "vm_groups": VMGroups,
    "srs": SRs,
    "networks": Networks,
}
"""The tables of `Tables` by name."""


def check_references(tables: Tables) -> None:
    """Rows that lie in the table they are of: all that works on tables relies on it.

    Columns that are still to be read are looked at then.

    Raises
    ------
    ValueError : one does not; names table, column, row and value
    """
    for name in TABLE_TYPES:
        table: Table = getattr(tables, name)
        for column, target in table.references().items():
            if table.has(column):
                check_rows(name, column, getattr(table, column), len(getattr(tables, target)))


def check_rows(table: str, column: str, rows: NDArray[Any], count: int) -> None:
    """The rows that a column holds lie in a table of so many.

    Raises
    ------
    ValueError : one does not; names table, column, row and value
    """
    target = TABLE_TYPES[table].references()[column]
    if rows.dtype == object:
        wrong = {items for items in set(rows.tolist()) if items and not 0 <= min(items) <= max(items) < count}
        bad = [row for row, items in enumerate(rows) if items in wrong] if wrong else []
    else:
        least = 0 if column == "pool" else -1
        bad = np.flatnonzero((rows < least) | (rows >= count)).tolist()
    if bad:
        raise ValueError(f"{table}: {column}: row {bad[0]}: {rows[bad[0]]} is no row of {target}, which has {count}")
