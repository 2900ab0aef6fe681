"""A mirror over sockets and TLS while a proxy cuts, delays, repeats and truncates what travels, and sessions end.

Whenever the pool rests, the mirror's Fleet is that of the pool. A simulated hour is the load of a real one, in seconds:
XENMEM_MIRROR_HOURS says how many (24 take some minutes).
"""

import os
import random
import resource
import socket
import threading
import time
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from live_pools import ONLY_IN_DUMPS, Certificate, differences, eventually
from servers import PASSWORD, Served, served

import xenmem
from xenmem import Access, Mirror
from xenmem.mirror import follower

pytestmark = pytest.mark.slow

HOURS = int(os.environ.get("XENMEM_MIRROR_HOURS", "4"))
CHANGES = 150
"""In each hour: a busy pool's."""

SMALL = Path(__file__).parents[1] / "data" / "inventories" / "pool-small.records.json"


class Proxy:
    """Ends TLS, and hands on answers whole, late, twice, in part or not at all.

    Attributes
    ----------
    harm : the share of answers that it harms
    harmed : how often, by how
    """

    def __init__(self, target: tuple[str, int], certificate: Certificate, chance: random.Random) -> None:
        self.harm = 0.0
        self.harmed = dict.fromkeys(("cut", "delay", "repeat", "truncate", "stall", "refuse"), 0)
        self._target = target
        self._context = certificate.context
        self._chance = chance
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listening.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.harm = 0.0
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for one in tuple(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                if self._chance.random() < self.harm / 4:
                    self.harmed["refuse"] += 1
                    connection.close()
                    continue
                threading.Thread(target=self._hand_on, args=(connection,), daemon=True).start()

    def _hand_on(self, plain: socket.socket) -> None:
        with (
            suppress(OSError, ValueError),
            self._context.wrap_socket(plain, server_side=True) as client,
            socket.create_connection(self._target) as server,
            client.makefile("rb") as asked,
            server.makefile("rb") as answered,
        ):
            self._open |= {client, server}
            try:
                while request := _message(asked):
                    server.sendall(request)
                    answer = _message(answered)
                    if not answer or not self._answer(client, answer):
                        return
            finally:
                self._open -= {client, server}

    def _answer(self, client: socket.socket, answer: bytes) -> bool:
        """Send an answer, more or less; whether the connection lives on."""
        if self._chance.random() >= self.harm:
            client.sendall(answer)
            return True
        how = self._chance.choice(["cut", "delay", "repeat", "truncate", "stall"])
        self.harmed[how] += 1
        place = self._chance.randrange(len(answer))
        match how:
            case "cut":
                return False
            case "truncate":
                client.sendall(answer[:place])
                return False
            case "stall":
                client.sendall(answer[:place])
                time.sleep(3.5)
                return False
            case "delay":
                client.sendall(answer[:place])
                time.sleep(self._chance.uniform(0, 0.3))
                client.sendall(answer[place:])
            case "repeat":
                client.sendall(answer + answer)
        return True


def _message(file: Any) -> bytes:
    """A whole HTTP message, empty at the end."""
    head, length = b"", 0
    while line := file.readline():
        head += line
        if line.lower().startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
        if line == b"\r\n":
            return head + file.read(length)
    return b""


class Load:
    """Random messages to a pool, by a client of its own."""

    def __init__(self, server: Served, chance: random.Random) -> None:
        self._server = server
        self._chance = chance
        self._session = server.log_in()
        self._copies: list[str] = []
        records = server.call("VM.get_all_records", self._session)
        plain = {ref: one for ref, one in records.items() if not one["is_a_template"] and not one["is_control_domain"]}
        self._vms = sorted(plain)
        self.hosts = sorted(server.call("host.get_all", self._session))

    def change(self) -> None:
        """One message, which may fail."""
        chance = self._chance
        vm, host = chance.choice([*self._vms, *self._copies]), chance.choice(self.hosts)
        message, *parameters = chance.choice(
            [
                ("VM.set_name_label", vm, f"name {chance.random()}"),
                ("VM.set_memory_dynamic_range", vm, 1 << 29, 1 << chance.randrange(29, 33)),
                ("VM.clone", vm, "copy"),
                ("VM.destroy", chance.choice(self._copies or [vm])),
                ("VM.start", vm, False, False),
                ("VM.pool_migrate", vm, host, {"live": "true"}),
                ("VM.hard_shutdown", vm),
                ("VM.set_affinity", vm, host),
                ("host.disable", host),
                ("host.enable", host),
            ]
        )
        with suppress(xenmem.Failure):
            answer = self._server.call(message, self._session, *parameters)
            if message == "VM.clone":
                self._copies.append(answer)
            elif message == "VM.destroy" and parameters[0] in self._copies:
                self._copies.remove(parameters[0])

    def true(self) -> xenmem.Fleet:
        """The pool as it is, asked directly."""
        return xenmem.read(self._server.url, access=Access(PASSWORD))


def test_whatever_happens_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server ends half way, and comes back at its place, with its pool and without its sessions."""
    monkeypatch.setattr(follower, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(follower, "LONGEST_PAUSE", 1.0)
    monkeypatch.setattr(follower, "LOCKED_OUT_PAUSE", 0.5)
    seed = int(os.environ.get("XENMEM_MIRROR_SEED", "14"))
    chance = random.Random(seed)
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = free.getsockname()
    certificate = Certificate(tmp_path)
    proxy = Proxy(place, certificate, random.Random(seed + 1))
    access = Access(PASSWORD, fingerprints=(certificate.fingerprint,), timeout=3.0)
    options = ("--pace", "jump", "--state", str(tmp_path / "state"), "--listen", f"127.0.0.1:{place[1]}")
    resident: list[int] = []
    with ExitStack() as stack:
        stack.callback(proxy.close)
        mirror: Mirror | None = None
        for _ in range(2):
            with served(tmp_path, *options, inventories=(SMALL,)) as server:
                mirror = mirror or stack.enter_context(Mirror(proxy.url, access=access, wait=1.0))
                load = Load(server, chance)
                for _ in range(max(1, HOURS // 2)):
                    proxy.harm = 0.3
                    for _ in range(CHANGES):
                        load.change()
                        time.sleep(chance.uniform(0, 0.04))
                        assert len(mirror.fleet.hosts) == len(load.hosts)  # whoever asks in between gets a Fleet
                    proxy.harm = 0.0
                    true = load.true()
                    eventually(partial(_is_equal, mirror, true), 60)
                    eventually(lambda mirror=mirror: not mirror.pools[0].error, 60)
                    resident.append(_resident())
        assert mirror is not None
        assert mirror.pools[0].readings >= 2
    assert sum(proxy.harmed.values()) > HOURS, proxy.harmed
    assert resident[-1] - resident[len(resident) // 4] < 20 << 20


def _is_equal(mirror: Mirror, true: xenmem.Fleet) -> bool:
    return differences(mirror.fleet, true) <= ONLY_IN_DUMPS


def _resident() -> int:
    """Bytes of memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
