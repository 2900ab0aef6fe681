"""Fleets as columns: to Arrow and back, and from a data set of Parquet to the free memory of all hosts.

Read against the copy: what pyarrow itself takes for the same objects, and for reading the same columns.
"""

import dataclasses
import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds

import xenmem
from xenmem import DataSet, Fleet
from xenmem.arrow import from_array, to_array
from xenmem.columns import TABLE_TYPES, VMs

from . import fleets

AT = datetime(2026, 11, 28, tzinfo=UTC)


@cache
def made(vms: int, hosts: int, name: str = "columns") -> Fleet:
    """A pool of so many VMs, by repeating those of a small one under names of their own."""
    small = fleets.pool_of(20, 1_000, 0.8, name)
    columns: dict[str, Any] = {}
    for column, values in small.vms.columns().items():
        columns[column] = np.resize(values, vms)
    for column in ("ref", "uuid", "name_label"):
        columns[column] = np.array([f"{name}-{column}-{row:08}" for row in range(vms)], object)
    more: dict[str, Any] = {column: np.resize(values, hosts) for column, values in small.hosts.columns().items()}
    for column in ("ref", "uuid", "name_label"):
        more[column] = np.array([f"{name}-host-{row}" for row in range(hosts)], object)
    columns["resident_on"] = np.arange(vms, dtype=np.int32) % hosts
    return small.replace(vms=VMs(**columns), hosts=dataclasses.replace(small.hosts, **more))


class Arrow:
    """1,000,000 VMs: what does the way to Arrow and back take beside the columns of objects alone?"""

    timeout = 600
    rounds = 1

    def setup(self) -> None:
        self.fleet = made(1_000_000, 10_000)
        self.tables = self.fleet.to_arrow()
        held = VMs.held()
        self.objects = {name: held[name] for name in held if held[name].cell is not None}
        self.numbers = {name: held[name] for name in held if held[name].cell is None and held[name].dtype != bool}

    def time_there(self) -> None:
        self.fleet.to_arrow()

    def time_back(self) -> None:
        Fleet.from_arrow(self.tables)

    def time_objects_there(self) -> None:
        for name, held in self.objects.items():
            to_array(getattr(self.fleet.vms, name), held)

    def time_objects_back(self) -> None:
        for name, held in self.objects.items():
            from_array(self.tables["vms"].column(name), held)

    def time_numbers_there_and_back(self) -> None:
        for name, held in self.numbers.items():
            from_array(to_array(getattr(self.fleet.vms, name), held), held)


class FreeMemory:
    """Pools of 10,000 VMs and 20 hosts in Parquet: how far is the free memory of all hosts from reading the columns?"""

    params = ([10, 100],)
    param_names = ("pools",)
    timeout = 600

    def setup_cache(self) -> dict[int, str]:
        return {pools: data_set(pools, tempfile.mkdtemp()) for pools in self.params[0]}

    setup_cache.timeout = 600  # type: ignore[attr-defined]

    def time_free_memory(self, paths: dict[int, str], pools: int) -> None:
        DataSet(paths[pools]).fleet().free_memory()

    def peakmem_free_memory(self, paths: dict[int, str], pools: int) -> None:
        DataSet(paths[pools]).fleet().free_memory()

    def time_pyarrow_reads(self, paths: dict[int, str], pools: int) -> None:
        pyarrow_reads(paths[pools])


COLUMNS = {
    "vms": ["memory_dynamic_min", "memory_overhead", "resident_on", "scheduled_to_be_resident_on"],
    "hosts": ["memory_total", "memory_overhead"],
}
"""Those of which free memory is computed."""


def pyarrow_reads(path: str) -> int:
    """The same columns by pyarrow alone, from the same files: how many rows."""
    rows = 0
    for name, columns in COLUMNS.items():
        files = sorted(map(str, Path(path).glob(f"pool=*/date=*/{name}.parquet")))
        rows += ds.dataset(files).to_table(columns=columns).num_rows
    return rows


def data_set(pools: int, path: str) -> str:
    """A data set of so many pools of 10,000 VMs and 20 hosts each, written once and copied under other names."""
    import shutil

    DataSet(path).append(made(10_000, 20).replace(pools=_named("pool-0")), AT)
    (first,) = Path(path).glob("pool=*")
    for number in range(1, pools):
        shutil.copytree(first, Path(path) / f"pool=pool-{number}", copy_function=shutil.copyfile)
    if len(xenmem.read(path).free_memory()) != 20 * pools:
        raise AssertionError("hosts are missing")
    return path


def _named(uuid: str) -> Any:
    table = made(10_000, 20).pools
    return TABLE_TYPES["pools"](**{**table.columns(), "uuid": np.array([uuid], object)})
