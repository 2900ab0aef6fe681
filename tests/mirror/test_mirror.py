"""A mirror of pools: what it shows is what they are, whatever happens on the way."""

import random
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from live_pools import ONLY_IN_DUMPS, PoolServer, answering, differences, eventually, failure, http, success

import xenmem
from xenmem import Access, InventoryError, Mirror
from xenmem.inventory.error import OutOfReachError
from xenmem.inventory.live.reading import LivePool
from xenmem.mirror import Change, follower

ACCESS = Access("hunter2", timeout=10)
SMALL = Path(__file__).parents[1] / "data" / "inventories" / "pool-small.records.json"
FOUR = Path(__file__).parents[2] / "examples" / "four-hosts.json"


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(follower, "LOCKED_OUT_PAUSE", 0.05)


@pytest.fixture
def pool() -> PoolServer:
    return PoolServer(SMALL)


@pytest.fixture
def url(pool: PoolServer) -> Iterator[str]:
    with answering(pool) as (url, _):
        yield url
        pool.closing.set()


@pytest.fixture
def mirror(url: str) -> Iterator[Mirror]:
    with Mirror(url, access=ACCESS, wait=2.0) as made:
        yield made


def is_that_of(mirror: Mirror, pool: PoolServer) -> bool:
    return differences(mirror.fleet, pool.fleet) <= ONLY_IN_DUMPS


def guests(pool: PoolServer) -> list[str]:
    records = pool.send("VM.get_all_records")
    plain = {ref: one for ref, one in records.items() if not one["is_a_template"] and not one["is_control_domain"]}
    return sorted(plain, key=lambda ref: (plain[ref]["power_state"] != "Halted", ref))


def rename(pool: PoolServer, name: str) -> str:
    """Give some VM a new name; its reference."""
    vm = guests(pool)[0]
    pool.send("VM.set_name_label", vm, name)
    return vm


def shows(mirror: Mirror, vm: str, name: str) -> bool:
    return bool(mirror.fleet.vms.name_label[mirror.fleet.vm(vm)] == name)


def test_it_is_what_the_pool_is(pool: PoolServer, url: str, mirror: Mirror) -> None:
    read = xenmem.read(url, access=ACCESS)
    assert differences(mirror.fleet, read) == set()
    assert mirror.fleet.notes == read.notes
    assert is_that_of(mirror, pool)
    assert mirror.fleet.pools.source.tolist() == [url]
    (state,) = mirror.pools
    assert (state.name, state.uuid, state.readings, state.error) == (url, mirror.fleet.pools.uuid[0], 1, "")
    assert 0 <= mirror.age() < 5
    assert abs(time.time() - mirror.age() - mirror.read_at) < 1


def test_it_follows_changes(pool: PoolServer, mirror: Mirror) -> None:
    before = mirror.fleet
    assert mirror.fleet is before
    changes: list[Change] = []
    mirror.on_change(changes.append)
    vm = rename(pool, "new name")
    eventually(lambda: shows(mirror, vm, "new name"))
    assert before.vms.name_label[before.vm(vm)] != "new name"
    assert changes == [Change(mirror.fleet.pools.uuid[0], "VM", "mod", vm)]
    pool.send("VM.set_name_description", vm, "which nobody reads")
    copy = pool.send("VM.clone", vm, "copy")
    eventually(lambda: copy in mirror.fleet.vms.ref)
    assert is_that_of(mirror, pool)
    assert all(change.operation == "add" for change in changes if change.ref == copy)
    pool.send("VM.destroy", copy)
    eventually(lambda: copy not in mirror.fleet.vms.ref)
    assert is_that_of(mirror, pool)
    assert Change(mirror.fleet.pools.uuid[0], "VM", "del", copy) in changes
    assert {change.class_name for change in changes if change.ref == vm} == {"VM"}
    assert 0 < mirror.lag < 5
    assert mirror.pools[0].readings == 1


def test_random_changes(pool: PoolServer, mirror: Mirror) -> None:
    """Whatever a random series of messages makes of the pool, the mirror shows, mobility and all."""
    chance = random.Random(20)
    made: list[str] = []
    for step in range(150):
        vm = chance.choice(guests(pool))
        messages: list[tuple[Any, ...]] = [
            ("VM.set_name_label", vm, f"name {step}"),
            ("VM.set_memory_dynamic_range", vm, str(1 << 29), str(1 << chance.randrange(29, 32))),
            ("VM.clone", vm, f"copy {step}"),
            ("VM.start", vm, False, False),
            ("VM.hard_shutdown", vm),
            ("VM.destroy", chance.choice(made or [vm])),
            ("VM.add_tags", vm, f"tag {step}"),
            ("VM.set_affinity", vm, chance.choice(["OpaqueRef:NULL", *pool.send("host.get_all")])),
            ("host.disable", chance.choice(pool.send("host.get_all"))),
            ("host.enable", chance.choice(pool.send("host.get_all"))),
            ("VM.add_to_platform", vm, "nomigrate", "true"),
        ]
        message, *parameters = chance.choice(messages)
        try:
            answer = pool.send(message, *parameters)
            made += [answer] if message == "VM.clone" else []
        except xenmem.Failure:
            pass
        if step % 30 == 29:
            eventually(lambda: is_that_of(mirror, pool))
            fleet, true = mirror.fleet, pool.fleet
            for vm, host in product(range(len(true.vms)), range(len(true.hosts))):
                assert fleet.mobility.of(vm).step(vm, host) == true.mobility.of(vm).step(vm, host)
    assert mirror.pools[0].readings == 1


@pytest.mark.parametrize(
    ("broken", "readings"),
    [
        ([None], 1),
        ([lambda number: success({"events": [], "valid_ref_counts": {}, "token": "1,0"}, number)[:-20]], 1),
        ([lambda number: http(b"<html>", "text/html", "503 Service Unavailable")], 1),
        ([lambda number: http(b"{")], 1),
        ([lambda number: success("", number - 1)], 1),
        ([lambda number: success({"events": [{"class": "vm"}], "valid_ref_counts": {}, "token": ""}, number)], 1),
        ([lambda number: failure(number, "TOO_MANY_PENDING_TASKS")] * 3, 1),
        ([lambda number: failure(number, "EVENTS_LOST")], 2),
        ([lambda number: failure(number, "EVENT_FROM_TOKEN_PARSE_FAILURE", "x")], 2),
        ([lambda number: failure(number, "SESSION_INVALID", "OpaqueRef:x")], 2),
        ([lambda number: failure(number, "HOST_IS_SLAVE", "127.0.0.1")], 2),
    ],
    ids=[
        "ends", "stalls", "503", "half", "of another call", "no event", "too many", "lost", "token", "session", "moved",
    ],
)  # fmt: skip
def test_what_goes_wrong_is_gone_over(
    pool: PoolServer, url: str, broken: list[Any], readings: int, request: pytest.FixtureRequest
) -> None:
    with Mirror(url, access=Access("hunter2", timeout=2.0), wait=0.5, patient=True) as mirror:
        eventually(lambda: mirror.pools[0].uuid)
        pool.failures += broken
        vm = rename(pool, "while it was broken")
        eventually(lambda: not pool.failures and shows(mirror, vm, "while it was broken"))
        eventually(lambda: not mirror.pools[0].error)
        eventually(lambda: mirror.pools[0].readings == readings)
        assert is_that_of(mirror, pool)
    left = 1 if request.node.callspec.id in ("session", "moved") else 0  # which the pool itself has said to be gone
    assert len(pool.valid) == left


def test_a_connection_that_came_back_logs_out(pool: PoolServer, url: str) -> None:
    """It took the pool to be out of reach for ever after, and left its session behind."""
    connection = LivePool.of(url, ACCESS).connect()
    token = connection.events(["vm"], "", 0.0).token
    pool.failures.append(None)
    with pytest.raises(OutOfReachError):
        connection.events(["vm"], token, 0.0)
    connection.events(["vm"], token, 0.0)
    connection.close()
    assert not pool.valid


def test_an_event_that_never_came(pool: PoolServer, mirror: Mirror) -> None:
    """Rows that do not add up are read again."""
    copy = pool.send("VM.clone", guests(pool)[0], "copy")
    eventually(lambda: copy in mirror.fleet.vms.ref)

    def without(number: int) -> bytes:
        batch = pool.send("event.from", ["vm"], "", 0.0)
        return success(batch | {"events": []}, number)

    pool.failures.append(without)
    pool.send("VM.destroy", copy)
    eventually(lambda: copy not in mirror.fleet.vms.ref)
    assert mirror.pools[0].readings == 2


def test_counts_that_never_add_up_are_let_be(pool: PoolServer, url: str) -> None:
    real = pool.send

    def send(message: str, *parameters: Any) -> Any:
        answer = real(message, *parameters)
        if message == "event.from":
            answer["valid_ref_counts"]["vbd"] += 1
        return answer

    pool.send = send  # type: ignore[method-assign]
    with Mirror(url, access=ACCESS, wait=0.05) as mirror:
        eventually(lambda: mirror.pools[0].readings == 2)
        time.sleep(0.5)
        assert mirror.pools[0].readings == 2
        vm = rename(pool, "still followed")
        eventually(lambda: shows(mirror, vm, "still followed"))


def test_another_pool(pool: PoolServer, mirror: Mirror) -> None:
    before = mirror.fleet.pools.uuid[0]
    pool.load(FOUR)
    pool.valid.clear()
    eventually(lambda: "is the pool" in mirror.pools[0].error)
    after = pool.fleet.pools.uuid[0]
    problem = f"is the pool {after} now, and was {before}: nothing of it is followed any more"
    assert problem in mirror.pools[0].error
    with pytest.raises(InventoryError, match=problem):
        _ = mirror.fleet


def test_a_coordinator_that_is_another_one(pool: PoolServer) -> None:
    """The old one is gone; the pool's hosts are known by their addresses, and one of them leads on."""
    with answering(pool) as (url, _):
        port = int(url.rpartition(":")[2])
        host = pool.send("host.get_all")[0]
        pool.session.pool.database.write(pool.session.pool.database.host.get(host), "address", "127.0.0.2")
        mirror = Mirror(url, access=ACCESS, wait=0.2)
        pool.closing.set()
    with mirror:
        pool.closing.clear()
        eventually(lambda: mirror.pools[0].error)
        with answering(pool, host="127.0.0.2", port=port):
            vm = rename(pool, "elsewhere")
            eventually(lambda: shows(mirror, vm, "elsewhere"))
            pool.closing.set()


def test_while_nobody_answers(pool: PoolServer) -> None:
    with answering(pool) as (url, _):
        mirror = Mirror(url, access=ACCESS, wait=0.2)
        pool.closing.set()
    with mirror:
        fleet = mirror.fleet
        eventually(lambda: "cannot be reached" in mirror.pools[0].error)
        age = mirror.age()
        eventually(lambda: mirror.age() > age + 0.3)
        assert mirror.fleet is fleet
        assert abs(time.time() - mirror.age() - mirror.read_at) < 1


def test_a_clock_that_jumps(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """Age is that of a clock that nobody sets; when the state was read is told by the clock of now."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 1e6)
    assert 0 <= mirror.age() < 5
    assert abs(real() - 1e6 - mirror.age() - mirror.read_at) < 1


def test_several_pools(pool: PoolServer, url: str, mirror: Mirror) -> None:
    other = PoolServer(FOUR)
    with answering(other) as (second, _), Mirror(url, second, access=ACCESS, wait=1.0) as both:
        assert len(both.fleet.pools) == 2
        assert both.fleet.pools.source.tolist() == [url, second]
        vm = rename(other, "in the second")
        eventually(lambda: shows(both, vm, "in the second"))
        expected = xenmem.Fleet.concatenate([mirror.fleet, xenmem.read(second, access=ACCESS)])
        assert differences(both.fleet, expected) == set()
        other.closing.set()
    with pytest.raises(InventoryError, match="was already read from"):
        Mirror(url, url, access=ACCESS)


def test_a_pool_that_comes_later(url: str) -> None:
    other = PoolServer(FOUR)
    with answering(other) as (second, _):
        pass
    with pytest.raises(OutOfReachError, match=f"{second}: cannot be reached"):
        Mirror(url, second, access=ACCESS)
    with Mirror(url, second, access=ACCESS, patient=True) as both:
        assert len(both.fleet.pools) == 1
        assert both.age() == float("inf")
        with answering(other, port=int(second.rpartition(":")[2])):
            eventually(lambda: len(both.fleet.pools) == 2)
            assert both.age() < 10
            other.closing.set()


@pytest.mark.parametrize(
    ("pools", "expected"),
    [(["nonsense"], "is neither the address of a pool"), (["https://x:y@z"], "holds a password")],
)
def test_what_is_no_pool(pools: list[str], expected: str) -> None:
    with pytest.raises(InventoryError, match=expected):
        Mirror(*pools)


def test_nothing_to_mirror() -> None:
    with pytest.raises(ValueError, match="nothing to mirror"):
        Mirror()


def test_a_wrong_password_at_first(pool: PoolServer) -> None:
    def answer(message: str, parameters: list[Any], number: int) -> bytes:
        return failure(number, "SESSION_AUTHENTICATION_FAILED", "root", "no")

    with (
        answering(answer) as (url, messages),
        pytest.raises(InventoryError, match="the password, or the user root, is wrong"),
    ):
        Mirror(url, access=ACCESS)
    assert len(messages) <= 2


@pytest.mark.parametrize("lenient", [False, True])
def test_a_bad_row(pool: PoolServer, url: str, lenient: bool) -> None:
    """It is named for as long as it is bad; where reading is lenient it is left out and counted."""
    vm = guests(pool)[0]
    record = pool.send("VM.get_record", vm) | {"VCPUs_max": "two"}
    bad = {"events": [{"class": "vm", "operation": "mod", "ref": vm, "snapshot": record}], "valid_ref_counts": {}}
    with Mirror(url, access=ACCESS, wait=0.3, lenient=lenient) as mirror:
        token = pool.send("event.from", ["vm"], "", 0.0)["token"]
        pool.failures.append(lambda number: success(bad | {"token": token}, number))
        if lenient:
            eventually(lambda: vm not in mirror.fleet.vms.ref)
            assert [note.count for note in mirror.fleet.notes if note.kind == "skipped"] == [1]
        else:
            with pytest.raises(InventoryError, match=rf"{url}: VM {vm}: VCPUs_max: 'two' is not an integer"):
                eventually(lambda: mirror.fleet is None)
            with pytest.raises(InventoryError, match="'two' is not an integer"):
                _ = mirror.fleet
        rename(pool, "good again")
        eventually(lambda: not mirror.pools[0].error and pool.calls[-1] == "event.from" and _is_good(mirror, vm))
        assert is_that_of(mirror, pool)
        assert not [note for note in mirror.fleet.notes if note.kind == "skipped"]


def _is_good(mirror: Mirror, vm: str) -> bool:
    try:
        return vm in mirror.fleet.vms.ref
    except InventoryError:
        return False


def test_a_callback_that_fails(pool: PoolServer, mirror: Mirror, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Change] = []

    def fails(change: Change) -> None:
        seen.append(change)
        raise RuntimeError("mine")

    mirror.on_change(fails)
    vm = rename(pool, "one")
    eventually(lambda: shows(mirror, vm, "one"))
    rename(pool, "two")
    eventually(lambda: len(seen) == 2)
    assert "a callback of a mirror failed" in caplog.text


def test_a_session_in_the_process() -> None:
    session = xenmem.connect(SMALL)
    with Mirror(session) as mirror:
        (vm,) = (ref for ref in session.xenapi.VM.get_by_name_label("lab-git-011"))
        session.xenapi.VM.set_name_label(vm, "renamed")
        eventually(lambda: shows(mirror, vm, "renamed"))
        assert mirror.pools[0].name == "session"
    assert session.xenapi.VM.get_name_label(vm) == "renamed"
