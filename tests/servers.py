"""Servers that tests start: `xenmem serve` in a process of its own, and bytes sent to it over a socket."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from XenAPI import Failure

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "pool.xml.gz"
USER, PASSWORD = "root", "correct horse"

# `xenmem password` of PASSWORD, with a cost that tests can afford: scrypt of N = 2, r = 1, p = 1
LINE = "scrypt$1$1$1$MDEyMzQ1Njc4OWFiY2RlZg==$MDLAj8t5IJu9XD5dJ7dNSioSUnKEwZeY2mn120BSHM8="


@dataclass
class Served:
    """A server that runs.

    Attributes
    ----------
    process, told : it, and what it printed until it was ready
    url, address : of the first pool
    """

    process: "subprocess.Popen[bytes]"
    told: list[str]
    log_file: Path
    urls: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.urls[0]

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.rpartition("/")[2].rsplit(":", 1)
        return host.strip("[]"), int(port)

    def log(self) -> str:
        return self.log_file.read_text()

    def call(self, method: str, *parameters: Any, address: tuple[str, int] | None = None) -> Any:
        """The result of a message over JSON-RPC 2.0; a failure is raised as XenAPI.Failure."""
        call = {"id": 0, "jsonrpc": "2.0", "method": method, "params": parameters}
        sent = request("POST", "/jsonrpc", json.dumps(call).encode())
        status, _, body = split(self.send(sent, address=address, seconds=60))
        assert status == 200, body
        answer = json.loads(body)
        if "error" in answer:
            raise Failure([answer["error"]["message"], *answer["error"]["data"]])
        return answer["result"]

    def log_in(self, user: str = USER, password: str = PASSWORD) -> str:
        """A new session's reference."""
        return str(self.call("session.login_with_password", user, password))

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=40)

    def send(self, data: bytes, *, address: tuple[str, int] | None = None, seconds: float = 5.0) -> bytes:
        """What comes back on a connection of its own until the server closes it, or for so long."""
        with socket.create_connection(address or self.address, timeout=seconds) as connection:
            with suppress(BrokenPipeError, ConnectionResetError):  # it answered before all was sent
                connection.sendall(data)
            return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """Everything until the end, a reset, or the connection's timeout."""
    parts: list[bytes] = []
    try:
        while part := connection.recv(1 << 16):
            parts.append(part)
    except (TimeoutError, ConnectionResetError):
        pass
    return b"".join(parts)


def request(method: str, path: str, body: bytes | None = None, *lines: str, close: bool = True) -> bytes:
    """A request as it is sent."""
    length = [] if body is None else [f"content-length: {len(body)}"]
    head = [f"{method} {path} HTTP/1.1", "host: x", *length, *(["connection: close"] if close else []), *lines]
    return "\r\n".join([*head, "", ""]).encode() + (body or b"")


def split(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers by name in lower case, and body of an answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, body


@contextmanager
def served(
    folder: Path, *options: str, inventories: tuple[Path, ...] = (EXAMPLE,), users: str | None = None
) -> Iterator[Served]:
    """A server of some inventories, at loopback unless options say otherwise; it is ended with the context."""
    password_file = folder / "users"
    password_file.write_text(users if users is not None else f"{USER}:pool-admin:{LINE}\n")
    password_file.chmod(0o600)
    listen = () if "--listen" in options else ("--listen", "127.0.0.1:0") * len(inventories)
    log = folder / f"log-{time.monotonic_ns()}"
    arguments = [*map(str, inventories), *listen, "--password-file", str(password_file), *options]
    with log.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "xenmem", "serve", *arguments],
            stdout=subprocess.PIPE,
            stderr=written,
            cwd=folder,
            env={name: value for name, value in os.environ.items() if name != "XENMEM_CACHE"},
        )
    try:
        made = Served(process, [], log)
        assert process.stdout is not None
        for line in process.stdout:
            made.told.append(line.decode().removeprefix("xenmem: ").rstrip("\n"))
            if made.told[-1] == "ready":
                break
        else:
            raise AssertionError(f"the server ended: {log.read_text()}")
        made.urls = [found[1] for line in made.told if (found := re.search(r" at (https?://\S+)$", line)) is not None]
        yield made
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
