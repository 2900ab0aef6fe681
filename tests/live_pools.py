"""What tests of pools that run share: servers that misbehave, certificates, the columns in which two fleets differ."""

import hashlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import xenmem
from xenmem.columns import TABLE_TYPES
from xenmem.fleet import Fleet
from xenmem.inventory.schema import TABLES
from xenmem.server import certificates

Answer = Callable[[str, list[Any], int], bytes]
"""The bytes that answer a message: given its name, its parameters and the number of the call."""

ONLY_IN_DUMPS = {("hosts", "boot_free_mem"), *(("pools", name) for name in ("source", "format", "schema"))}
"""Columns that the API does not tell, or that say where the pool was read."""


def differences(one: Fleet, other: Fleet) -> set[tuple[str, str]]:
    """Table and column wherever two fleets are not the same."""
    return {
        (name, column)
        for name in TABLE_TYPES
        for column, values in getattr(one, name).columns().items()
        if values.tolist() != getattr(other, name).columns()[column].tolist()
    }


class Certificate:
    """A certificate for the loopback addresses, and a server's context with it."""

    def __init__(self, folder: Path) -> None:
        self.context, self.pem = certificates.for_a_trial(["127.0.0.1"])
        self.file = folder / f"certificate-{id(self)}"
        self.file.write_text(self.pem)
        self.fingerprint = "sha256:" + hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.pem)).hexdigest()


def http(body: bytes, kind: str = "application/json", status: str = "200 OK", length: int | None = None) -> bytes:
    """An answer as it travels; of a wrong length, if one is given."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body) if length is None else length}\r\n"
    return head.encode() + b"\r\n" + body


def success(value: Any, number: int) -> bytes:
    """A JSON-RPC answer."""
    return http(json.dumps({"jsonrpc": "2.0", "result": value, "id": number}, default=str).encode())


def failure(number: int, code: str, *parameters: str) -> bytes:
    """A JSON-RPC failure."""
    error = {"code": 1, "message": code, "data": list(parameters)}
    return http(json.dumps({"jsonrpc": "2.0", "error": error, "id": number}).encode())


@contextmanager
def answering(
    answer: Answer, context: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
) -> Iterator[tuple[str, list[str]]]:
    """A server that answers each message as a function says, until that gives nothing; and the messages it got.

    What is no JSON-RPC is given to the function as the message ``xml``.
    """
    messages: list[str] = []
    listening = socket.create_server((host, port))
    open_now: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        with suppress(OSError, ssl.SSLError, ValueError):
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
                open_now.append(connection)
            with connection, connection.makefile("rb") as file:
                while line := file.readline():
                    length = 0
                    while (header := file.readline().strip().lower()) != b"":
                        if header.startswith(b"content-length:"):
                            length = int(header.partition(b":")[2])
                    body = file.read(length)
                    call = (
                        json.loads(body) if line.startswith(b"POST /jsonrpc") else {"method": "xml", "params": [body]}
                    )
                    messages.append(call["method"])
                    sent = answer(call["method"], call["params"], call.get("id", 0))
                    if not sent:
                        return
                    connection.sendall(sent)
                    if b"content-length" not in sent:
                        return

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                open_now.append(connection)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    scheme = "https" if context is not None else "http"
    try:
        yield f"{scheme}://{host}:{listening.getsockname()[1]}", messages
    finally:
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for one in open_now:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


class PoolServer:
    """A pool in memory behind `answering`: it keeps sessions, waits for events, and fails as it is told.

    Attributes
    ----------
    session : of the test, which changes the pool
    valid : sessions of clients; those that are taken out have ended
    failures : answers that come before any of the pool's, each once; None ends the connection
    calls : names of messages, as they came
    """

    def __init__(self, inventory: str | Path) -> None:
        self.load(inventory)
        self.valid: set[str] = set()
        self.failures: list[Callable[[int], bytes] | None] = []
        self.calls: list[str] = []
        self.closing = threading.Event()

    def load(self, inventory: str | Path) -> None:
        """Be another pool from now on."""
        self.session = xenmem.connect(inventory)
        self._lock = threading.Lock()

    def __call__(self, message: str, parameters: list[Any], number: int) -> bytes:
        self.calls.append(message)
        if message == "session.login_with_password":
            ref = f"OpaqueRef:session-{number}-{len(self.calls)}"
            self.valid.add(ref)
            return success(ref, number)
        if message == "event.from" and self.failures:
            made = self.failures.pop(0)
            return made(number) if made is not None else b""
        if parameters[0] not in self.valid:
            return failure(number, "SESSION_INVALID", parameters[0])
        if message == "session.logout":
            self.valid.discard(parameters[0])
            return success("", number)
        assert message == "event.from"
        deadline = time.monotonic() + parameters[3]
        while True:
            try:
                batch = self.send("event.from", *parameters[1:3], 0.0)
            except xenmem.Failure as error:
                return failure(number, *error.details)
            if batch["events"] or time.monotonic() > deadline or self.closing.is_set():
                return success(batch, number)
            if parameters[0] not in self.valid:
                return failure(number, "SESSION_INVALID", parameters[0])
            time.sleep(0.01)

    def send(self, message: str, *parameters: Any) -> Any:
        """The pool's answer to a message."""
        with self._lock:
            return self.session.xenapi_request(message, parameters)

    @property
    def fleet(self) -> Fleet:
        """The pool as it is."""
        with self._lock:
            records = {name: getattr(self.session.xenapi, name).get_all_records() for name in TABLES}
            return Fleet.from_records({name: dict(sorted(rows.items())) for name, rows in records.items()})


def eventually(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come to hold"
        time.sleep(0.01)
