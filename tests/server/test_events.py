"""Events over sockets: who waits, what wakes them, in time for all of them."""

import json
import socket
import threading
import time
from pathlib import Path

import pytest
from servers import Served, request, split
from XenAPI import Failure

pytestmark = pytest.mark.slow


class Waiter(threading.Thread):
    """A client that waits for events on a connection of its own."""

    def __init__(self, server: Served, session: str, classes: list[str], token: str, seconds: float) -> None:
        super().__init__()
        call = {"id": 0, "jsonrpc": "2.0", "method": "event.from", "params": [session, classes, token, seconds]}
        self._sent = request("POST", "/jsonrpc", json.dumps(call).encode())
        self._server = server
        self.answered: list[str] = []
        self.seconds = 0.0
        self.start()
        time.sleep(0.2)

    def run(self) -> None:
        began = time.monotonic()
        answer = json.loads(split(self._server.send(self._sent, seconds=30))[2])
        self.seconds = time.monotonic() - began
        self.failure = answer.get("error")
        self.answered = [event["class"] for event in answer["result"]["events"]] if "result" in answer else []


def test_everything_at_first(server: Served, session: str) -> None:
    """Each row of each class, but sessions, users, secrets and roles."""
    answer = server.call("event.from", session, ["*"], "", 0.0)
    assert {event["operation"] for event in answer["events"]} == {"add"}
    rows = {name: count for name, count in answer["valid_ref_counts"].items() if count}
    seen: dict[str, int] = {}
    for event in answer["events"]:
        seen[event["class"]] = seen.get(event["class"], 0) + 1
    assert seen == rows
    assert {"pool", "host", "vm", "sr", "vdi", "vbd", "vif", "network"} <= seen.keys()
    assert not {"session", "user", "secret", "role"} & seen.keys()


def test_a_change_is_delivered_after_inject(server: Served, session: str) -> None:
    (pool,) = server.call("pool.get_all", session)
    token = server.call("event.inject", session, "pool", pool)
    waiter = Waiter(server, session, ["pool", "vm"], server.call("event.from", session, ["*"], token, 0.1)["token"], 20)
    server.call("pool.add_to_other_config", session, pool, "xo:barrier:1", "x")
    waiter.join()
    assert waiter.answered == ["pool"]
    assert waiter.seconds < 2
    server.call("pool.remove_from_other_config", session, pool, "xo:barrier:1")


def test_filters_and_timeouts(server: Served, session: str) -> None:
    (pool,) = server.call("pool.get_all", session)
    vm = server.call("VM.get_all", session)[0]
    token = server.call("event.from", session, ["*"], "", 0.0)["token"]
    others = Waiter(server, session, ["host", "vm/OpaqueRef:other"], token, 1.0)
    mine = Waiter(server, session, [f"VM/{vm}"], token, 10.0)
    server.call("pool.set_name_description", session, pool, "changed")
    server.call("VM.set_name_description", session, vm, "changed")
    for waiter in (others, mine):
        waiter.join()
    assert (others.answered, mine.answered) == ([], ["vm"])
    assert 0.9 < others.seconds < 3


def test_the_end_of_a_session_wakes_its_waiters(server: Served) -> None:
    session = server.log_in()
    token = server.call("event.from", session, ["host"], "", 0.0)["token"]
    waiter = Waiter(server, session, ["host"], token, 20)
    server.call("session.logout", session)
    waiter.join()
    assert waiter.failure["message"] == "SESSION_INVALID"
    assert waiter.seconds < 2


def test_next_waits_for_what_was_registered(server: Served) -> None:
    session = server.log_in()
    with pytest.raises(Failure, match="SESSION_NOT_REGISTERED"):
        server.call("event.next", session)
    server.call("event.register", session, ["pool"])
    (pool,) = server.call("pool.get_all", session)
    later = threading.Timer(0.5, server.call, ("pool.set_name_description", session, pool, "next"))
    later.start()
    (event,) = server.call("event.next", session)
    later.join()
    assert (event["class"], event["operation"]) == ("pool", "mod")
    assert event["snapshot"]["name_description"] == "next"


def test_a_thousand_clients_wait_without_threads(server: Served, session: str) -> None:
    (pool,) = server.call("pool.get_all", session)
    token = server.call("event.from", session, ["pool"], "", 0.0)["token"]
    call = {"id": 0, "jsonrpc": "2.0", "method": "event.from", "params": [session, ["pool"], token, 60.0]}
    sent = request("POST", "/jsonrpc", json.dumps(call).encode(), close=False)
    clients = [socket.create_connection(server.address, timeout=20) for _ in range(1000)]
    try:
        for client in clients:
            client.sendall(sent)
        time.sleep(0.5)
        threads = len(list(Path(f"/proc/{server.process.pid}/task").iterdir()))
        server.call("pool.set_name_description", session, pool, f"told at {time.time()}")
        for client in clients:
            assert b"told at" in client.recv(1 << 16)
        assert threads < 20
    finally:
        for client in clients:
            client.close()


def test_a_client_that_goes_away_waits_no_longer(server: Served, session: str) -> None:
    token = server.call("event.from", session, ["host"], "", 0.0)["token"]
    call = {"id": 0, "jsonrpc": "2.0", "method": "event.from", "params": [session, ["host"], token, 60.0]}
    with socket.create_connection(server.address, timeout=5) as client:
        client.sendall(request("POST", "/jsonrpc", json.dumps(call).encode()))
        time.sleep(0.3)
        assert b"xenmem_waiting_clients" in server.send(request("GET", "/metrics"))
        assert b"} 1\n" in waiting(server)
    time.sleep(0.3)
    assert b"} 0\n" in waiting(server)


def waiting(server: Served) -> bytes:
    (line,) = [
        line
        for line in server.send(request("GET", "/metrics")).splitlines(keepends=True)
        if b"waiting_clients{" in line
    ]
    return line


def test_tasks_take_their_time_and_can_be_cancelled(server: Served, session: str) -> None:
    """A start delay passes in real time: a synchronous call waits, and others are answered meanwhile."""
    records = server.call("VM.get_all_records", session)
    vm = next(
        ref
        for ref, record in sorted(records.items(), key=lambda item: int(item[1]["memory_static_max"]))
        if record["power_state"] == "Halted" and not record["is_a_template"] and not record["is_a_snapshot"]
    )
    server.call("VM.set_start_delay", session, vm, 30)
    task = server.call("Async.VM.start", session, vm, False, False)
    deadline = time.monotonic() + 60
    while server.call("task.get_allowed_operations", session, task) != ["cancel"]:
        assert time.monotonic() < deadline, server.call("task.get_record", session, task)
        time.sleep(0.1)
    assert server.call("task.get_status", session, task) == "pending"
    server.call("task.cancel", session, task)
    server.call("VM.set_start_delay", session, vm, 0)
