"""Traffic that means no good is answered or cut off, and a client beside it is served."""

import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers import PASSWORD, USER, Served, read_all, request, served, split

pytestmark = pytest.mark.slow

BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE m [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    b'<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><methodCall><methodName>&c;</methodName><params/></methodCall>'
)
OUTSIDE = (
    b'<?xml version="1.0"?><!DOCTYPE m [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    b"<methodCall><methodName>&a;</methodName><params/></methodCall>"
)
DEEP = 20_000
LOGIN = json.dumps(
    {"id": 0, "jsonrpc": "2.0", "method": "session.login_with_password", "params": [USER, PASSWORD]}
).encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("hostile")) as made:
        yield made


@pytest.fixture(autouse=True)
def is_served_beside(server: Served) -> Iterator[None]:
    """A client beside the hostile ones is served, soon, all the time, and afterwards; memory stays bounded."""
    session = server.log_in()
    call = json.dumps({"id": 0, "jsonrpc": "2.0", "method": "pool.get_all", "params": [session]}).encode()
    slowest, ended = [0.0], threading.Event()

    def go_on() -> None:
        while not ended.is_set():
            began = time.monotonic()
            assert split(server.send(request("POST", "/jsonrpc", call)))[0] == 200
            slowest.append(time.monotonic() - began)
            ended.wait(0.05)

    beside = threading.Thread(target=go_on)
    beside.start()
    while len(slowest) == 1:
        time.sleep(0.01)
    yield
    ended.set()
    beside.join()
    assert len(slowest) > 1
    assert max(slowest) < 5
    memory = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
    assert int(memory) * resource.getpagesize() < 600 << 20
    assert server.process.poll() is None


@pytest.mark.parametrize("body", [BOMB, OUTSIDE], ids=["bomb", "outside"])
def test_entities_are_refused(server: Served, body: bytes) -> None:
    status, _, answer = split(server.send(request("POST", "/RPC2", body)))
    assert status == 500
    assert b"root:" not in answer


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/jsonrpc", b"[" * DEEP),
        ("/jsonrpc", b'{"id":0,"method":"m","params":' + b"[" * DEEP + b"]" * DEEP + b"}"),
        ("/jsonrpc", b'{"id":0,"method":"m","params":[' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"]}"),
        ("/RPC2", b"<methodCall><methodName>m</methodName><params><param>" + b"<value><array><data>" * DEEP),
        ("/jsonrpc", b'{"id":0,"method":"m","params":[NaN]}'),
        ("/jsonrpc", b'{"id":0,"method":"m","params":[' + b"9" * 5000 + b"]}"),
        ("/jsonrpc", b'[{"id":0,"method":"m","params":[]}]'),
        ("/jsonrpc", b'{"id":null,"method":"m","params":[]}'),
        ("/jsonrpc", b"\xff\xfe\x00"),
        ("/RPC2", b"\xff\xfe<\x00"),
        ("/RPC2", b'<?xml version="1.0" encoding="EBCDIC-CP-US"?><methodCall/>'),
    ],
)
def test_bodies_that_are_no_calls(server: Served, path: str, body: bytes) -> None:
    assert split(server.send(request("POST", path, body)))[0] == 500


def test_a_body_of_a_gigabyte_is_not_read(server: Served) -> None:
    with socket.create_connection(server.address, timeout=10) as client:
        client.sendall(request("POST", "/jsonrpc", None, f"content-length: {1 << 30}", close=False))
        sent = 0
        try:
            while sent < 1 << 26:
                sent += client.send(b"x" * (1 << 16))
        except OSError:
            pass
        assert sent < 1 << 26


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nx: " + b"y" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"a%d: b\r\n" % number for number in range(3000)) + b"\r\n",
    ],
)
def test_long_headers(server: Served, sent: bytes) -> None:
    assert split(server.send(sent))[0] == 431


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 100,
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 50\r\n\r\nhello",
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
        b"GET /health HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -5\r\n\r\nGET /health HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: +5\r\n\r\nGET /health HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\n content-length: 5\r\n\r\nGET /health HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: xchunked\r\n\r\nGET /health HTTP/1.1\r\n\r\n",
    ],
    ids=lambda sent: sent[:40].hex(),
)
def test_what_is_no_request_ends_the_connection(server: Served, sent: bytes) -> None:
    """Nothing behind it is taken for a request of its own."""
    answer = server.send(sent)
    assert split(answer)[0] in (400, 500)
    assert answer.count(b"HTTP/1.") == 1
    assert b'"status":"ok"' not in answer


def test_slow_ones_are_cut_off(server: Served) -> None:
    """Headers and bodies that come a byte at a time, many at once."""
    with ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(server.address, timeout=30)) for _ in range(100)]
        half = [stack.enter_context(socket.create_connection(server.address, timeout=30)) for _ in range(100)]
        for client in slow:
            client.sendall(b"GET /health HTT")
        for client in half:
            client.sendall(request("POST", "/jsonrpc", None, "content-length: 100", close=False) + b"{")
        time.sleep(12)
        for client in slow + half:
            assert read_all(client).startswith(b"HTTP/1.1 408 ")


def test_pipelined_without_end(server: Served) -> None:
    answer = server.send(request("GET", "/health", close=False) * 2000)
    assert answer.count(b"HTTP/1.1 200 OK") <= 2000


def test_a_client_that_does_not_read(server: Served) -> None:
    session = server.log_in()
    call = json.dumps({"id": 0, "jsonrpc": "2.0", "method": "VM.get_all_records", "params": [session]}).encode()
    with socket.create_connection(server.address, timeout=5) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(1)
        try:
            for _ in range(500):
                client.sendall(request("POST", "/jsonrpc", call, close=False))
        except TimeoutError:
            pass


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_any_bytes(server: Served, data: Any) -> None:
    """A good request of which some bytes are others, in pieces: it is answered, or the connection ends."""
    good = request("POST", data.draw(st.sampled_from(["/jsonrpc", "/RPC2"])), LOGIN)
    place = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.binary(max_size=20))
    sent = good[:place] + other + good[place + len(other) :]
    with socket.create_connection(server.address, timeout=0.3) as client:
        client.sendall(sent[: len(sent) // 2])
        client.sendall(sent[len(sent) // 2 :])
        answer = read_all(client)
    assert not answer or answer.startswith((b"HTTP/1.1 ", b"HTTP/1.0 "))
