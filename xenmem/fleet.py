"""The Fleet: the pools, hosts and VMs of an inventory, and the memory questions one asks of them.

The arithmetic is xenmem.kernel's; which server computes what, and from which columns, is decided here. Amounts are
bytes in int64. Knows no file format: xenmem.inventory fills the columns.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from xenmem import kernel, notebook
from xenmem.columns import (
    POLICIES,
    Bytes,
    Codes,
    Hosts,
    Networks,
    Note,
    Objects,
    Pools,
    PowerState,
    SRs,
    Table,
    Tables,
    VMGroups,
    VMs,
    check_references,
)
from xenmem.edits import from_columns, moved, resized, row_of, with_vms, without
from xenmem.inventory.arrow import from_arrow, reader, to_arrow
from xenmem.inventory.assemble import COLUMNS
from xenmem.inventory.joining import concatenated, separated
from xenmem.inventory.records import read_tables
from xenmem.inventory.source import Progress, Source, read_pools
from xenmem.rules.mobility.agility import agile_errors
from xenmem.rules.mobility.matrix import Mobility
from xenmem.rules.upgrade import overhead_growth

if TYPE_CHECKING:
    import XenAPI

    from xenmem.inventory.live.access import Access

__all__ = [
    "POLICIES",
    "Fleet",
    "Hosts",
    "Networks",
    "Note",
    "Pools",
    "PowerState",
    "SRs",
    "Table",
    "VMGroups",
    "VMs",
    "read",
]


def read(
    source: Source | Iterable[Source],
    format: str | None = None,
    *,
    lenient: bool = False,
    progress: Progress | None = None,
    access: "Access | None" = None,
) -> "Fleet":
    """A Fleet from inventories.

    Parameters
    ----------
    source : a path, ``-`` for standard input, a binary file, the address or the profile of a pool that runs, such as
        ``https://root@pool.example``; or several of these for one fleet of several pools
    format : ``statedb``, ``records``, ``xe``, ``parquet`` or ``arrow``; by default what its first bytes say. Each may
        be packed. A folder is a `DataSet`, of which the latest snapshots are read
    lenient : skip bad rows and count them in ``Fleet.notes``
    progress : called after each piece of a file, or of a pool's answer, with the bytes so far, and its size where that
        is known
    access : how to get in where a pool runs; by default the password is that of the environment or of a keyring

    Raises
    ------
    InventoryError : an inventory cannot be read; names file, place and value
    ValueError : the format does not exist
    """
    pools = read_pools(source, COLUMNS, format, lenient=lenient, progress=progress, access=access)
    return Fleet(*concatenated(pools))


class Fleet:
    """The VMs, hosts, pools, VM groups, SRs and networks of an inventory.

    Parameters
    ----------
    vms, hosts, pools, vm_groups, srs, networks : the tables; references between them are row numbers
    notes : what was assumed or skipped while reading

    Raises
    ------
    ValueError : a reference is no row of its table

    Notes
    -----
    Made by `xenmem.read`, `Fleet.from_records`, `Fleet.from_session` or `Fleet.concatenate`.
    """

    __slots__ = ("_mobility", "_notes", "_rows", "hosts", "networks", "pools", "srs", "vm_groups", "vms")

    def __init__(
        self,
        vms: VMs,
        hosts: Hosts,
        pools: Pools,
        vm_groups: VMGroups,
        srs: SRs,
        networks: Networks,
        notes: Iterable[Note] = (),
    ) -> None:
        self.vms = vms
        self.hosts = hosts
        self.pools = pools
        self.vm_groups = vm_groups
        self.srs = srs
        self.networks = networks
        self._notes: Sequence[Note] = notes if isinstance(notes, Sequence) else tuple(notes)
        self._mobility: Mobility | None = None
        self._rows: dict[str, dict[str, int]] = {}
        check_references(self.tables)

    @property
    def notes(self) -> tuple[Note, ...]:
        """What was assumed or skipped while reading."""
        return tuple(self._notes)

    def __repr__(self) -> str:
        return f"<Fleet: {len(self.pools)} pools, {len(self.hosts)} hosts, {len(self.vms)} VMs>"

    def _repr_html_(self) -> str:
        """For notebooks: the first hosts, and what is free there under each policy."""
        hosts, pools = self.hosts, self.pools
        free = {policy: self.free_memory(policy) for policy in POLICIES}
        rows = (
            (
                pools.label(int(hosts.pool[row])),
                hosts.label(row),
                notebook.Size(hosts.memory_total[row]),
                *(notebook.Size(free[policy][row]) for policy in POLICIES),
            )
            for row in range(len(hosts))
        )
        headings = ("pool", "host", "total", *(f"free, {policy}" for policy in POLICIES))
        return notebook.shown(repr(self), headings, rows, len(hosts))

    @classmethod
    def from_records(
        cls, records: Mapping[str, Mapping[str, Mapping[str, Any]]], *, source: str = "records", lenient: bool = False
    ) -> Self:
        """A Fleet from XenAPI records.

        Parameters
        ----------
        records : class name to reference to record, as the ``get_all_records`` calls answer; ints may be numbers or
            text. Read are ``VM``, ``VM_metrics``, ``VM_guest_metrics``, ``host``, ``host_metrics``, ``pool`` and
            ``VM_group``; and for where VMs can run storage, networks and devices (docs/reference/inventories.md, 3)
        source : what messages call the records
        lenient : skip bad rows and count them in notes

        Raises
        ------
        InventoryError : a record is bad; names class, reference, field and value
        """
        return cls(*read_tables(records, source=source, lenient=lenient))

    @classmethod
    def from_session(cls, session: "XenAPI.Session", *, lenient: bool = False) -> Self:
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

        return cls(*read_session(session, lenient=lenient))

    @classmethod
    def concatenate(cls, fleets: "Sequence[Fleet]") -> Self:
        """One Fleet of the pools of several.

        Parameters
        ----------
        fleets : any number of them; their rows follow each other in this order

        Raises
        ------
        InventoryError : two of them hold the same pool or host
        """
        if not fleets:
            raise ValueError("fleets: nothing to concatenate")
        return cls(*concatenated([fleet.tables for fleet in fleets]))

    @classmethod
    def from_arrow(cls, source: object) -> Self:
        """A Fleet from tables in Arrow, as `to_arrow` makes them: of pyarrow, polars, DuckDB, pandas.

        Parameters
        ----------
        source : by name (``vms``, ``hosts``, ``pools``, ``vm_groups``, ``srs``, ``networks``; ``notes`` may be missing)
            what has ``__arrow_c_stream__``; or one such stream of all tables, as Arrow and Parquet files hold it.
            Columns that are none of the table's are left alone (docs/reference/columns.md)

        Raises
        ------
        InventoryError : a table or a column is missing, of another type or schema version, has nulls where none may
            be, or holds what no inventory may; names table, column, row and value
        ValueError : pyarrow is not installed
        """
        return cls(*from_arrow(source))

    def to_arrow(self) -> dict[str, Any]:
        """The tables and the notes, each a ``pyarrow.Table``, from which `from_arrow` makes the same Fleet.

        Returns
        -------
        dict of table name to ``pyarrow.Table``; numbers share the memory of the Fleet's columns. A Fleet itself has
        ``__arrow_c_stream__``, too, which gives all tables in one stream

        Raises
        ------
        ValueError : pyarrow is not installed, or a column holds what Arrow does not, such as half of a character
        """
        return to_arrow(self.tables)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return reader(self.tables).__arrow_c_stream__(requested_schema)

    def only(self, pools: "Sequence[int | str]") -> Self:
        """The fleet of some of its pools.

        Parameters
        ----------
        pools : rows or names, each once; their order is that of the result

        Raises
        ------
        ValueError : there is no such pool, or several are called so
        """
        rows = [row_of(self.pools, pool, "pool") for pool in pools]
        return type(self)(*separated(self.tables, rows))

    @classmethod
    def from_columns(cls, vms: Mapping[str, Any], hosts: Mapping[str, Any], *, version: str = "26.3.0") -> Self:
        """A Fleet of one pool from plain columns, such as dicts of arrays or data frames.

        Parameters
        ----------
        vms : by name columns of equal length: ``memory`` in bytes, which all of its limits are, or memory_static_max;
            and any others of `columns.VMs`. ``name``, ``vcpus`` and ``host`` are short for name_label, VCPUs_max and
            resident_on; hosts may be named, and an empty one is none. A VM on a host runs; by default one is of type
            hvm, has one vCPU and the overhead that the version computes
        hosts : ``memory_total`` in bytes, and any others of `columns.Hosts`; by default enabled, live, without overhead
        version : of xapi or a product, which computes

        Raises
        ------
        ValueError : a column is missing, unknown, of another length or out of range, or a host is not there
        """
        return cls(*from_columns(vms, hosts, version))

    def vm(self, name: str) -> int:
        """The row of the VM with this reference, uuid or name.

        Parameters
        ----------
        name : matched whole

        Raises
        ------
        ValueError : there is none, or several
        """
        return self._row("vms", name)

    def host(self, name: str) -> int:
        """The row of the host with this reference, uuid or name.

        Parameters
        ----------
        name : matched whole

        Raises
        ------
        ValueError : there is none, or several
        """
        return self._row("hosts", name)

    def moved(self, places: Mapping[int | str, int | str | None]) -> Self:
        """The fleet once VMs are on other hosts.

        Parameters
        ----------
        places : VM to its host, each a row or a name; None for none. On a host it runs, on none it is halted

        Raises
        ------
        ValueError : there is no such VM or host, or it is in another pool

        Notes
        -----
        A VM that starts gets the overhead that its pool computes; one that migrates keeps its own.
        """
        return self.replace(vms=moved(self.tables, places))

    def resized(self, sizes: Mapping[int | str, int]) -> Self:
        """The fleet once VMs have other memory: memory_static_max and both dynamic limits, and the overhead for it.

        Parameters
        ----------
        sizes : VM, a row or a name, to bytes

        Raises
        ------
        ValueError : there is no such VM, or an amount is out of range
        """
        return self.replace(vms=resized(self.tables, sizes))

    def with_vm(self, name: str, memory: int, **columns: Any) -> Self:
        """The fleet with one VM more, in its last row.

        Parameters
        ----------
        name : its name_label
        memory : bytes
        columns : as for `from_columns`, each one value

        Raises
        ------
        ValueError : as of `from_columns`
        """
        return self.replace(vms=with_vms(self.tables, {"name": name, "memory": memory, **columns}))

    def without_vm(self, *vms: int | str) -> Self:
        """The fleet without some VMs; the rows of the others close up.

        Parameters
        ----------
        vms : rows or names

        Raises
        ------
        ValueError : there is no such VM
        """
        return self.replace(**without(self.tables, vms))

    def of_pool(self, pool: int) -> Self:
        """The fleet of one pool alone, its rows in their order.

        Parameters
        ----------
        pool : row of the pool

        Raises
        ------
        ValueError : there is no such pool
        """
        if not 0 <= pool < len(self.pools):
            raise ValueError(f"pool: {pool} is outside 0..{len(self.pools) - 1}")
        return type(self)(*separated(self.tables, [pool]))

    def _row(self, table: str, name: str) -> int:
        if table not in self._rows:
            rows: dict[str, int] = {}
            columns: Table = getattr(self, table)
            for column in (columns.name_label, columns.uuid, columns.ref):  # the last one counts
                for row, text in enumerate(column.tolist()):
                    rows[text] = row if column is not columns.name_label or text not in rows else -1
            self._rows[table] = rows
        row = self._rows[table].get(name, -1)
        return row if row >= 0 else row_of(getattr(self, table), name, table[:-1])

    @property
    def tables(self) -> Tables:
        """All tables and notes."""
        return Tables(self.vms, self.hosts, self.pools, self.vm_groups, self.srs, self.networks, self._notes)

    def replace(self, **tables: Table) -> Self:
        """The same with other tables in place of some, by name."""
        return type(self)(**(self.tables._asdict() | tables))

    @property
    def mobility(self) -> Mobility:
        """Where each VM can run, memory apart."""
        if self._mobility is None:
            self._mobility = Mobility(self.tables)
        return self._mobility

    def agile_errors(self) -> Codes:
        """Why HA could not restart each VM on every enabled host: uint8 array, shape (vms,), of rules' `Agility`.

        Notes
        -----
        Source: xapi-project/xen-api, ocaml/xapi/agility.ml, ``vm_assert_agile``.
        """
        return agile_errors(self.tables)

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
        column: Bytes = getattr(self.vms, _column_of(policy))
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
        self.vms.fetch(_column_of(policy), "memory_overhead", "resident_on", "scheduled_to_be_resident_on")
        self.hosts.fetch("memory_total", "memory_overhead")
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
        A stored overhead legitimately stays behind the model until the VM is next started (inventories.md, 4.3).
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


def _column_of(policy: str) -> str:
    """The column of a VM's memory that counts under a policy."""
    if policy not in POLICIES:
        raise ValueError(f"policy: {policy!r} is none of {', '.join(POLICIES)}")
    return "accounted_static_max" if policy == "static_max" else f"memory_{policy}"


def _check_model(model: str) -> None:
    if model not in kernel.MODELS:
        raise ValueError(f"model: {model!r} is none of {', '.join(kernel.MODELS)}")
