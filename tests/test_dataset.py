"""Snapshots of pools in a folder: what was appended comes back, of the time and pools asked for; no more is read."""

import errno
import os
import re
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dumps import pool
from fleets_alike import assert_alike

import xenmem
from xenmem import DataSet, Fleet, InventoryError
from xenmem.inventory import snapshots

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def fleet(data: Path) -> Fleet:
    """Of two pools, in the order of their uuids, as a data set gives them."""
    folder = data / "inventories"
    pools = [xenmem.read(folder / name) for name in ("pool-small.statedb.xml", "pool-65.statedb.xml")]
    return Fleet.concatenate(sorted(pools, key=lambda one: str(one.pools.uuid[0])))


@pytest.fixture
def kept(fleet: Fleet, tmp_path: Path) -> DataSet:
    """A data set with both pools at noon, and the first of them an hour later, with a VM less."""
    made = DataSet(tmp_path / "snapshots")
    made.append(fleet, NOON)
    made.append(fleet.only([0]).without_vm(5), NOON + HOUR)
    return made


def test_what_was_appended_comes_back(fleet: Fleet, kept: DataSet) -> None:
    first, second = fleet.pools.uuid.tolist()
    assert kept.pools() == [first, second]
    assert (kept.dates(first), kept.dates(second)) == ([NOON, NOON + HOUR], [NOON])
    assert_alike(kept.fleet(at=NOON), fleet)
    assert_alike(kept.fleet(), Fleet.concatenate([fleet.only([0]).without_vm(5), fleet.only([1])]))
    assert_alike(kept.fleet([second]), fleet.only([1]))
    assert_alike(kept.fleet([second, first], NOON + HOUR / 2), fleet.only([1, 0]))
    assert_alike(xenmem.read(kept.path), kept.fleet())
    assert_alike(xenmem.read(kept.path / f"pool={second}"), fleet.only([1]))
    assert_alike(xenmem.read(kept.path / f"pool={first}" / "date=2026-11-28T120000Z"), fleet.only([0]))


def test_only_what_a_question_needs_is_read(kept: DataSet) -> None:
    fleet = kept.fleet()
    assert not any(fleet.vms.has(name) or fleet.hosts.has(name) for name in ("ref", "pool", "memory_overhead"))
    fleet.free_memory("dynamic_max")
    assert [name for name in fleet.vms.held() if fleet.vms.has(name)] == [
        "memory_dynamic_max",
        "memory_overhead",
        "resident_on",
        "scheduled_to_be_resident_on",
    ]
    assert [name for name in fleet.hosts.held() if fleet.hosts.has(name)] == ["memory_total", "memory_overhead"]
    assert not any(fleet.pools.has(name) for name in fleet.pools.held())


def test_times_are_those_of_any_zone(fleet: Fleet, tmp_path: Path) -> None:
    kept = DataSet(tmp_path)
    kept.append(fleet, NOON.astimezone(timezone(timedelta(hours=-8))) + timedelta(milliseconds=900))
    assert kept.dates(fleet.pools.uuid[0]) == [NOON]
    assert len(kept.fleet(at=NOON.astimezone(timezone(5 * HOUR))).pools) == 2


def test_what_is_not_there_is_named(fleet: Fleet, kept: DataSet, tmp_path: Path) -> None:
    first = fleet.pools.uuid[0]
    for ask, message in (
        (lambda: kept.fleet(at=NOON - HOUR), "holds no snapshot of any pool at or before 2026-11-28 11:00:00Z"),
        (lambda: kept.fleet([first], NOON - HOUR), f"holds no snapshot of pool {first} at or before 2026-11-28 11:"),
        (lambda: kept.fleet(["nowhere"]), "holds no snapshot of pool nowhere"),
        (lambda: kept.dates("../../etc"), "holds no snapshot of pool ../../etc"),
        (lambda: DataSet(tmp_path / "new").fleet(), "holds no snapshot of any pool"),
        (lambda: DataSet(tmp_path / "no" / "such").pools(), "No such file or directory"),
        (lambda: xenmem.read(tmp_path), "is a folder without snapshots of pools"),
    ):
        with pytest.raises(InventoryError, match=re.escape(message)):
            ask()
    assert DataSet(tmp_path / "new").pools() == []
    with pytest.raises(ValueError, match=r"^at: 2026-11-28 12:00:00 has no time zone$"):
        kept.fleet(at=NOON.replace(tzinfo=None))
    with pytest.raises(ValueError, match=r"^pools: one is named twice$"):
        kept.fleet([first, first])
    with pytest.raises(ValueError, match=r"^pools: a pool has no uuid, and a data set keeps pools by their uuids$"):
        kept.append(Fleet.from_records({"VM": pool()["VM"]}), NOON)


def files_below(folder: Path) -> list[str]:
    """All that is in a folder, of whatever name."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_snapshot_stays_as_it_is(fleet: Fleet, kept: DataSet) -> None:
    before = files_below(kept.path)
    with pytest.raises(FileExistsError, match="there is a snapshot of this pool and time"):
        kept.append(fleet, NOON)
    with pytest.raises(FileExistsError):
        kept.append(fleet, NOON + HOUR)  # of the second pool there is none
    assert files_below(kept.path) == before


def test_all_pools_or_none_are_written(fleet: Fleet, kept: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files_below(kept.path)
    write, calls = snapshots.write_table, []

    def full(tables: object, name: str, *more: object) -> None:
        calls.append(name)
        if calls.count("vms") == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(tables, name, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(snapshots, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        kept.append(fleet, NOON + 2 * HOUR)
    assert files_below(kept.path) == before


def test_nothing_is_left_where_a_snapshot_cannot_take_its_place(
    fleet: Fleet, kept: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_below(kept.path)
    rename, done = Path.rename, []

    def once(path: Path, target: Path) -> Path:
        done.append(target)
        if len(done) == 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", once)
    with pytest.raises(OSError, match="Input/output error"):
        kept.append(fleet, NOON + 2 * HOUR)
    assert len(done) == 2
    assert files_below(kept.path) == before


def test_a_writer_that_was_killed_leaves_nothing_that_counts(fleet: Fleet, kept: DataSet) -> None:
    left = kept.path / ".saving-0123456789abcdef"
    (left / "0").mkdir(parents=True)
    held = kept.path / ".saving-fedcba9876543210"
    held.mkdir()
    program = (
        "import fcntl, os, sys; d = os.open(sys.argv[1], os.O_RDONLY); fcntl.flock(d, fcntl.LOCK_EX);"
        "print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(held)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    try:
        assert len(kept.pools()) == 2
        kept.append(fleet, NOON + 2 * HOUR)
        assert (left.exists(), held.exists()) == (False, True)
    finally:
        other.communicate("")


def test_readers_and_writers_side_by_side(fleet: Fleet, kept: DataSet) -> None:
    errors: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                assert len(kept.fleet().free_memory()) == len(fleet.hosts)
        except BaseException as error:
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for minute in range(20):
        kept.append(fleet, NOON + 2 * HOUR + timedelta(minutes=minute))
    done.set()
    reader.join()
    assert errors == []


def rewritten(kept: DataSet, name: str, change: object) -> None:
    """Write a table of every snapshot at noon anew, as other programs do."""
    for path in kept.path.rglob(f"date=2026-11-28T120000Z/{name}.parquet"):
        pq.write_table(change(pq.read_table(path, partitioning=None)), path)  # type: ignore[operator]


def test_files_that_others_wrote_anew(fleet: Fleet, kept: DataSet) -> None:
    """Without word of the order, in another one, in small row groups, with columns of other whole numbers."""
    rewritten(kept, "vms", lambda table: table.sort_by([("row", "descending")]).replace_schema_metadata(None))
    rewritten(
        kept,
        "hosts",
        lambda table: table.set_column(
            table.column_names.index("cpu_count"), "cpu_count", table["cpu_count"].cast(pa.int64())
        ),
    )
    assert_alike(kept.fleet(at=NOON), fleet)


def test_damage_is_named(fleet: Fleet, kept: DataSet) -> None:
    first = fleet.pools.uuid[0]
    folder = kept.path / f"pool={first}" / "date=2026-11-28T120000Z"

    def problem(name: str, spoil: object, ask: object = lambda fleet: fleet.vms.columns()) -> str:
        path = folder / f"{name}.parquet"
        good = path.read_bytes()
        spoil(path)  # type: ignore[operator]
        with pytest.raises(InventoryError) as caught:
            ask(kept.fleet(at=NOON))  # type: ignore[operator]
        path.write_bytes(good)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "the Parquet file is damaged or cut short" in problem("vms", lambda p: p.write_bytes(p.read_bytes()[:-9]))
    assert "the Parquet file is damaged or cut short" in problem("vms", lambda p: p.write_bytes(b""))
    assert "vms.parquet" in problem("vms", lambda p: p.unlink())
    table = pq.read_table(folder / "vms.parquet", partitioning=None)
    for change, message in (
        (table.drop_columns("tags"), "vms: there is no column tags"),
        (table.drop_columns("cpu_vendor"), "vms: there is no column cpu_vendor"),
        (table.set_column(1, "ref", pa.nulls(len(table), pa.string())), "vms: ref: row 0 is null"),
        (table.replace_schema_metadata({"xenmem.schema": "2"}), "schema version 2, and this xenmem knows 1"),
    ):
        assert problem("vms", lambda p, change=change: pq.write_table(change, p)).endswith(message)
    hosts = len(fleet.only([0]).hosts)
    resident = np.full(len(table), hosts, np.int32)
    column = table.column_names.index("resident_on")
    astray = table.set_column(column, "resident_on", pa.array(resident))
    assert problem("vms", lambda p: pq.write_table(astray, p)).endswith(
        f"vms: resident_on: row 0: {hosts} is no row of hosts, which has {hosts}"
    )
    shutil.rmtree(folder)
    assert first in kept.pools()
