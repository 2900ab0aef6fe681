"""What a mirror keeps on disk: the same Fleet when it is read, whole whenever somebody looks."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_pools import PoolServer, answering, differences, eventually

import xenmem
from xenmem import Access, DataSet, InventoryError, Mirror

ACCESS = Access("hunter2", timeout=10)
INVENTORIES = Path(__file__).parents[1] / "data" / "inventories"
ELSEWHERE = {("pools", "source"), ("pools", "format")}


@pytest.fixture
def pool() -> PoolServer:
    return PoolServer(INVENTORIES / "pool-small.records.json")


@pytest.fixture
def mirror(pool: PoolServer) -> Iterator[Mirror]:
    with answering(pool) as (url, _), Mirror(url, access=ACCESS, wait=1.0) as made:
        yield made
        pool.closing.set()


def rename(pool: PoolServer, name: str) -> None:
    vm = sorted(pool.send("VM.get_all"))[0]
    pool.send("VM.set_name_label", vm, name)


def test_records(pool: PoolServer, mirror: Mirror, tmp_path: Path) -> None:
    path = tmp_path / "pool.json"
    mirror.keep(path, 0.05)
    assert differences(xenmem.read(path), mirror.fleet) <= ELSEWHERE
    rename(pool, "kept")
    eventually(lambda: "kept" in xenmem.read(path).vms.name_label)
    assert differences(xenmem.read(path), mirror.fleet) <= ELSEWHERE
    mirror.close()
    assert [one.name for one in tmp_path.iterdir()] == ["pool.json"]


def test_records_of_several_pools(mirror: Mirror, tmp_path: Path) -> None:
    other = PoolServer(Path(__file__).parents[2] / "examples" / "four-hosts.json")
    with answering(other) as (second, _), Mirror(mirror.pools[0].name, second, access=ACCESS, wait=1.0) as both:
        both.keep(tmp_path / "pools.json", 60)
        other.closing.set()
        assert differences(xenmem.read(tmp_path / "pools.json"), both.fleet) <= ELSEWHERE


def test_snapshots(pool: PoolServer, mirror: Mirror, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    kept = DataSet(tmp_path / "snapshots")
    mirror.keep(kept.path, 0.2)
    uuid = mirror.pools[0].uuid
    assert kept.pools() == [uuid]
    assert len(kept.dates(uuid)) == 1
    assert abs(kept.dates(uuid)[0].timestamp() - mirror.read_at) < 60
    assert differences(kept.fleet(), mirror.fleet) == set()
    rename(pool, "kept")
    eventually(lambda: "kept" in kept.fleet().vms.name_label)
    assert len(kept.dates(uuid)) == 2
    mirror.close()


def test_what_cannot_be_kept(mirror: Mirror, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(OSError, match="No such file"):
        mirror.keep(tmp_path / "nowhere" / "pool.json", 1.0)
    for every in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="is no number of seconds"):
            mirror.keep(tmp_path / "pool.json", every)
    folder = tmp_path / "folder"
    folder.mkdir()
    with caplog.at_level(logging.WARNING, "xenmem"):
        mirror.keep(folder / "pool.json", 0.05)
        before = (folder / "pool.json").read_bytes()
        (folder / "pool.json").rename(tmp_path / "pool.json")
        folder.rmdir()
        eventually(lambda: "a snapshot was not kept" in caplog.text)
    assert (tmp_path / "pool.json").read_bytes() == before
    assert InventoryError.__name__ not in caplog.text
