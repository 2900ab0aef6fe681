"""Inventories in other formats: what is written answers the same, and what a format cannot hold is listed."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from fleets_alike import assert_alike

import xenmem
from xenmem import DataSet, Fleet, answers
from xenmem.answers import QuestionError

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def dump(data: Path) -> str:
    return str(data / "inventories" / "pool-small.statedb.xml")


@pytest.fixture(scope="module")
def fleet(dump: str) -> Fleet:
    return xenmem.read(dump)


@pytest.mark.parametrize("name", ["pool.parquet", "pool.arrow", "pool.arrows", "snapshots/"])
def test_columns_hold_all_that_a_fleet_answers(fleet: Fleet, dump: str, tmp_path: Path, name: str) -> None:
    path = f"{tmp_path}/{name}"
    result = answers.convert(fleet, dump, path, at=AT)
    assert_alike(xenmem.read(path), fleet)
    records = {lost.of: lost.rows for lost in result.lost}
    assert records["VDI"] > 0
    assert records["host_metrics"] == len(fleet.hosts)
    assert result.verdict.endswith(f"{'as of 2026-11-28 12:00:00Z, ' * name.endswith('/')}and lacks what is listed.")
    again = f"{tmp_path}/again.parquet"
    assert answers.convert(xenmem.read(path), path, again).lost == []
    assert_alike(xenmem.read(again), fleet)


@pytest.mark.parametrize("name", ["pool.json", "pool.xml"])
def test_records_keep_records(fleet: Fleet, dump: str, tmp_path: Path, name: str) -> None:
    path = str(tmp_path / name)
    result = answers.convert(fleet, dump, path)
    back = xenmem.read(path)
    assert back.free_memory().tolist() == fleet.free_memory().tolist()
    lost = {(lost.of, lost.column): lost.rows for lost in result.lost}
    busy = sum(bool(operations) for operations in fleet.vms.current_operations)
    assert lost.pop(("vms", "current_operations"), 0) == busy
    if name.endswith("json"):
        assert lost.pop(("hosts", "boot_free_mem")) == len(fleet.hosts)
    assert lost == {}


def test_columns_become_records_and_what_changes_is_listed(fleet: Fleet, tmp_path: Path) -> None:
    path = str(tmp_path / "pool.xml")
    result = answers.convert(fleet.with_vm("new", 1 << 30), "pool.parquet", path)
    back = xenmem.read(path)
    assert back.free_memory().tolist() == fleet.free_memory().tolist()
    assert len(back.vms) == len(fleet.vms) + 1
    told = {(lost.of, lost.column) for lost in result.lost}
    assert told
    for table, column in told:
        assert getattr(getattr(back, table), column).tolist() != getattr(getattr(fleet, table), column).tolist()


def test_what_cannot_be_written_is_named(fleet: Fleet, dump: str, data: Path, tmp_path: Path) -> None:
    two = Fleet.concatenate([fleet, xenmem.read(data / "inventories" / "pool-65.statedb.xml")])
    for name, message in (
        ("pool.xlsx", "is no folder, and its name ends in none of .parquet, .arrow, .arrows, .json, .xml"),
        ("pool.xml", "statedb holds one pool, and .* has 2: parquet and arrow hold several"),
    ):
        with pytest.raises(QuestionError, match=message):
            answers.convert(two, dump, str(tmp_path / name))
    with pytest.raises(QuestionError, match="a snapshot in a data set has a time"):
        answers.convert(fleet, dump, str(tmp_path))
    answers.convert(two, dump, str(tmp_path), at=AT)
    assert len(DataSet(tmp_path).pools()) == 2


def test_lists_of_an_answer_are_tables(fleet: Fleet) -> None:
    report = answers.report(fleet, vms=True)
    tables = report.to_arrow()
    hosts = pl.DataFrame(tables["hosts"])
    (pool,) = report.pools
    assert hosts["free_dynamic_min"].to_list() == [host.free.dynamic_min for host in pool.hosts]
    assert hosts["pool_uuid"].unique().to_list() == [fleet.pools.uuid[0]]
    assert len(tables["vms"]) == len(pool.vms)
    assert len(tables["pools"]) == 1
    assert "vms" not in answers.report(fleet).to_arrow()
    assert answers.matrix(fleet).to_arrow()["kinds"].num_rows == sum(
        len(part.kinds) for part in answers.matrix(fleet).pools
    )
