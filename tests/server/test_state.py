"""The state file: nothing acknowledged is lost, no half of a message is kept, and who else wants the file is told."""

import json
import random
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from servers import EXAMPLE, Served, request, served, split

pytestmark = pytest.mark.slow

KILLS = 8


def test_a_restart_goes_on(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    with served(tmp_path, "--state", state) as server:
        session = server.log_in()
        (pool,) = server.call("pool.get_all", session)
        server.call("pool.set_name_label", session, pool, "kept")
        server.call("pool.add_to_other_config", session, pool, "a&b", "c")
        network = server.call("network.create", session, {"name_label": "made", "other_config": {}})
        gone = server.call("network.create", session, {"name_label": "gone", "other_config": {}})
        server.call("network.destroy", session, gone)
        before = {name: server.call(f"{name}.get_all_records", session) for name in ("VM", "host", "SR", "network")}
        token = server.call("event.from", session, ["*"], "", 0.0)["token"]
        assert server.stop() == 0
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0
    with served(tmp_path, "--state", state) as server:
        session = server.log_in()
        assert server.call("pool.get_name_label", session, pool) == "kept"
        assert server.call("pool.get_other_config", session, pool)["a&b"] == "c"
        assert server.call("network.get_by_name_label", session, "made") == [network]
        assert server.call("network.get_by_name_label", session, "gone") == []
        after = {name: server.call(f"{name}.get_all_records", session) for name in before}
        assert after == before
        assert server.call("event.from", session, ["*"], "", 0.0)["token"] > token


class Storm(threading.Thread):
    """A client that changes a key of its own as fast as it can, and knows what was acknowledged."""

    def __init__(self, server: Served, session: str, vm: str, name: str) -> None:
        super().__init__()
        self.server, self.session, self.vm, self.name = server, session, vm, name
        self.acknowledged: list[int] = []

    def run(self) -> None:
        try:
            with socket.create_connection(self.server.address, timeout=10) as client:
                for number in range(100_000):
                    # both keys in one message
                    value = {"number": str(number), "twice": str(2 * number)}
                    call = {"id": 0, "method": "VM.set_xenstore_data", "params": [self.session, self.vm, value]}
                    client.sendall(request("POST", "/jsonrpc", json.dumps(call).encode(), close=False))
                    answer = client.recv(1 << 16)
                    if b'"error":null' not in answer:
                        return
                    self.acknowledged.append(number)
        except OSError:
            pass


def test_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """kill -9 in a storm of changes, again and again."""
    state, chance, acknowledged = str(tmp_path / "state"), random.Random(12), 0
    for _ in range(KILLS):
        with served(tmp_path, "--state", state) as server:
            session = server.log_in()
            vms = sorted(server.call("VM.get_all", session))[:4]
            storms = [Storm(server, session, vm, f"storm {place}") for place, vm in enumerate(vms)]
            for storm in storms:
                storm.start()
            time.sleep(0.05 + 0.3 * chance.random())
            server.process.kill()
            server.process.wait()
            for storm in storms:
                storm.join()
        with served(tmp_path, "--state", state) as server:
            session = server.log_in()
            for storm in storms:
                kept = server.call("VM.get_xenstore_data", session, storm.vm)
                acknowledged += len(storm.acknowledged)
                if storm.acknowledged:
                    assert int(kept["number"]) in (storm.acknowledged[-1], storm.acknowledged[-1] + 1)
                    assert int(kept["twice"]) == 2 * int(kept["number"])
            server.process.kill()
    assert acknowledged > 10 * KILLS


def test_a_message_that_never_ended_leaves_nothing(tmp_path: Path) -> None:
    """A start that waits out its delay when the server is killed: the VM is halted afterwards, as it was."""
    state = str(tmp_path / "state")
    with served(tmp_path, "--state", state) as server:
        session = server.log_in()
        vm = min(
            (int(record["memory_static_max"]), ref)
            for ref, record in server.call("VM.get_all_records", session).items()
            if record["power_state"] == "Halted" and not record["is_a_template"] and not record["is_a_snapshot"]
        )[1]
        server.call("VM.set_start_delay", session, vm, 60)
        before = server.call("VM.get_record", session, vm)
        free = server.call("host.get_all_records", session)
        task = server.call("Async.VM.start", session, vm, False, False)
        while server.call("VM.get_record", session, vm) == before:
            assert server.call("task.get_status", session, task) == "pending"
            time.sleep(0.05)
        server.call("VM.set_name_description", session, vm, "while it starts")
        server.process.kill()
        server.process.wait()
    with served(tmp_path, "--state", state) as server:
        session = server.log_in()
        assert server.call("VM.get_record", session, vm) == before | {"name_description": "while it starts"}
        assert server.call("host.get_all_records", session) == free


def test_two_servers_and_other_files(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with served(tmp_path, "--state", str(state)):
        assert refused(tmp_path, state) == f"{state}: another server uses it"
    other = tmp_path / "other"
    other.write_text("no database of SQLite, but long enough to be looked at")
    assert refused(tmp_path, other) == f"{other}: file is not a database"
    with sqlite3.connect(tmp_path / "foreign") as made:
        made.execute("CREATE TABLE facts (name, value)")
    made.close()
    assert refused(tmp_path, tmp_path / "foreign").endswith("foreign: is no state file of this version of xenmem")
    assert refused(tmp_path, tmp_path / "no" / "folder") == f"{tmp_path}/no/folder: No such file or directory"


def refused(folder: Path, state: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "xenmem", "serve", str(EXAMPLE), "--listen", "127.0.0.1:0", "--state", str(state)],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    return done.stderr.removeprefix("xenmem: error: ").rstrip("\n")


def test_a_full_disk_refuses_and_loses_nothing(tmp_path: Path) -> None:
    """Files may not grow beyond a limit: the change is refused and undone, and what was kept is still served."""
    import resource

    state = str(tmp_path / "state")
    with served(tmp_path, "--state", state) as server:
        session = server.log_in()
        (pool,) = server.call("pool.get_all", session)
        server.call("pool.set_name_label", session, pool, "kept")
        size = max(path.stat().st_size for path in tmp_path.glob("state*")) + 100_000
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, size))
        answers = []
        for number in range(60):
            call = {
                "id": 0,
                "method": "pool.set_name_description",
                "params": [session, pool, f"{number} " + "x" * 9000],
            }
            answers.append(json.loads(split(server.send(request("POST", "/jsonrpc", json.dumps(call).encode())))[2]))
        failed = [answer["error"] for answer in answers if answer["error"]]
        assert failed
        assert {error[0] for error in failed} == {"INTERNAL_ERROR"}
        assert "was not kept, and is undone" in failed[0][1]
        last = [number for number, answer in enumerate(answers) if not answer["error"]][-1]
        assert server.call("pool.get_name_description", session, pool).startswith(f"{last} x")
        assert server.call("pool.get_name_label", session, pool) == "kept"
