"""The endpoint beside the standard library's SimpleXMLRPCServer, which serves the same in a process of its own."""

import asyncio
import json
import re
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xmlrpc.client import dumps

from xenmem.units import GIB
from xenmem.xenapi.store import saving

from . import databases

WAYS = ["json", "xml", "SimpleXMLRPCServer"]
REQUESTS = 400

_SIMPLE = """
import socketserver, sys
from xmlrpc.server import SimpleXMLRPCServer
import xenmem
session = xenmem.connect(sys.argv[1])
class Server(socketserver.ThreadingMixIn, SimpleXMLRPCServer):
    daemon_threads, request_queue_size = True, 128
def dispatch(method, parameters):
    return {"Status": "Success", "Value": session.xenapi_request(method, tuple(parameters)[1:])}
server = Server(("127.0.0.1", 0), logRequests=False, allow_none=True)
server.RequestHandlerClass.protocol_version = "HTTP/1.1"
server._dispatch = dispatch
print("at http://127.0.0.1:%d" % server.server_address[1], flush=True)
print("ready", flush=True)
server.serve_forever()
"""


@contextmanager
def process(*arguments: str) -> Iterator[tuple[str, list[str]]]:
    """A server in a process of its own: where it is, and what it told."""
    with subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as started:
        try:
            told: list[str] = []
            assert started.stdout is not None
            for line in started.stdout:
                told.append(line.strip())
                if told[-1].endswith("ready"):
                    break
            yield next(found[1] for line in told if (found := re.search(r"at (http://\S+)$", line))), told
        finally:
            started.kill()


class _Client(asyncio.Protocol):
    """Sends the same request again and again, each when the last is answered, until none are left to be sent."""

    def __init__(self, sent: bytes, left: list[int], done: "asyncio.Future[None]") -> None:
        self._sent, self._left, self._done = sent, left, done
        self._missing: int | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        if self._left[0]:
            self._left[0] -= 1
            self._missing = None
            self._transport.write(self._sent)

    def data_received(self, data: bytes) -> None:
        if self._missing is None:
            head, _, body = data.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head.lower())
            assert length is not None
            assert head.startswith(b"HTTP/1.1 200 OK"), data
            self._missing = int(length[1]) - len(body)
        else:
            self._missing -= len(data)
        if self._missing <= 0:
            self._left[1] -= 1
            if not self._left[1]:
                self._done.set_result(None)
            self._send()


def exchange(url: str, sent: bytes, requests: int, connections: int) -> None:
    """Send a request so many times over so many connections that are kept."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        left, done = [requests, requests], loop.create_future()
        host, port = urlsplit(url).hostname, urlsplit(url).port
        made = [await loop.create_connection(lambda: _Client(sent, left, done), host, port) for _ in range(connections)]
        await done
        for transport, _ in made:
            transport.abort()

    asyncio.run(run())


def call(way: str, method: str, *parameters: Any) -> bytes:
    """A call as it is sent."""
    if way == "json":
        path, body = "/jsonrpc", json.dumps({"id": 0, "jsonrpc": "2.0", "method": method, "params": parameters})
    else:
        path, body = "/RPC2", dumps(parameters, method)
    return f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


class _Served:
    """A pool of so many VMs, served by both."""

    vms = 2_000
    format = "records"

    def open(self, *options: str) -> None:
        self.stack = ExitStack()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        inventory = str(Path(folder) / "pool.json")
        saving.save(databases.database(20, self.vms, host_memory=256 * GIB), inventory, self.format)
        self.inventory, self.options = inventory, options
        self.started = time.perf_counter()
        arguments = ("-m", "xenmem", "serve", inventory, "--listen", "127.0.0.1:0", *options)
        self.url, told = self.stack.enter_context(process(*arguments))
        (password,) = [found[1] for line in told if (found := re.search(r"password (\S+) \(made now", line))]
        self.session = self.log_in(password)
        self.answered = time.perf_counter()

    def log_in(self, password: str) -> str:
        from xmlrpc.client import ServerProxy

        with ServerProxy(self.url) as server:
            answer: Any = server.session.login_with_password("root", password)
        return str(answer["Value"])

    def url_of(self, way: str) -> str:
        if way != "SimpleXMLRPCServer":
            return self.url
        program = textwrap.dedent(_SIMPLE)
        url, _ = self.stack.enter_context(process("-c", program, self.inventory))
        return url

    def teardown(self, *parameters: object) -> None:
        self.stack.close()


class Start(_Served):
    """How long from the command on a dump of 2,000 VMs to the first answer?"""

    format = "statedb"
    timeout = 120

    def setup(self) -> None:
        self.open()

    def track_first_answer(self) -> float:
        return self.answered - self.started

    track_first_answer.unit = "s"  # type: ignore[attr-defined]


class Getters(_Served):
    """How long do 400 getters take, over one connection and over 64?"""

    params = (WAYS, [1, 64])
    param_names = ("way", "connections")
    timeout = 120

    def setup(self, way: str, connections: int) -> None:
        self.open()
        self.there = self.url_of(way)
        self.sent = call(way, "VM.get_name_label", self.session, databases.ref("VM", 7))

    def time_getters(self, way: str, connections: int) -> None:
        exchange(self.there, self.sent, REQUESTS, connections)


class Records(_Served):
    """How long does VM.get_all_records of 10,000 VMs take?"""

    params = (WAYS,)
    param_names = ("way",)
    vms = 10_000
    timeout = 300

    def setup(self, way: str) -> None:
        self.open()
        self.there = self.url_of(way)
        self.sent = call(way, "VM.get_all_records", self.session)

    def time_records(self, way: str) -> None:
        exchange(self.there, self.sent, 1, 1)


class Events(_Served):
    """How long until a change has reached the last of 1,000 waiting clients?"""

    timeout = 120

    def setup(self) -> None:
        self.open()

    def track_thousand_clients(self) -> float:
        return asyncio.run(self._all())

    track_thousand_clients.unit = "s"  # type: ignore[attr-defined]

    def token(self) -> str:
        """Of all that has happened until now."""
        from xmlrpc.client import ServerProxy

        with ServerProxy(self.url) as server:
            answer: Any = getattr(server.event, "from")(self.session, ["pool"], "", 0.0)
        return str(answer["Value"]["token"])

    async def _all(self) -> float:
        loop = asyncio.get_running_loop()
        host, port = urlsplit(self.url).hostname, urlsplit(self.url).port
        pool = databases.ref("pool", 0)
        token = self.token()
        waits = call("json", "event.from", self.session, ["pool"], token, 60.0)
        waiting = [1000, 1000]
        done = loop.create_future()
        made = [await loop.create_connection(lambda: _Client(waits, waiting, done), host, port) for _ in range(1000)]
        await asyncio.sleep(0.3)
        change = call("json", "event.inject", self.session, "pool", pool)
        changed = loop.create_future()
        one = await loop.create_connection(lambda: _Client(change, [1, 1], changed), host, port)
        began = time.perf_counter()
        await done
        seconds = time.perf_counter() - began
        for transport, _ in [*made, one]:
            transport.abort()
        return seconds


class Durable(_Served):
    """How long do 400 changes take that are kept, over 64 connections?"""

    timeout = 120

    def setup(self) -> None:
        self.state = tempfile.TemporaryDirectory()
        self.open("--state", str(Path(self.state.name) / "state"))

    def time_changes(self) -> None:
        """event.inject lets a row count as changed: it is written again each time, as after a setter."""
        exchange(self.url, call("json", "event.inject", self.session, "VM", databases.ref("VM", 7)), REQUESTS, 64)

    def teardown(self) -> None:
        super().teardown()
        self.state.cleanup()
