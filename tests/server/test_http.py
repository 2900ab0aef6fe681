"""HTTP to the letter: paths, statuses, headers, limits, connections; over sockets."""

import gzip
import json
import socket
import time

import pytest
from servers import Served, read_all, request, split

pytestmark = pytest.mark.slow

LIST = b'{"id":0,"jsonrpc":"2.0","method":"system.listMethods"}'
LIST_XML = b"<methodCall><methodName>system.listMethods</methodName><params/></methodCall>"


@pytest.mark.parametrize(
    ("path", "body", "content_type"),
    [
        ("/jsonrpc", LIST, "application/json"),
        ("/jsonrpcX", LIST, "application/json"),
        ("/", LIST_XML, "text/xml"),
        ("/RPC2", LIST_XML, "text/xml"),
        ("/RPC2x", LIST_XML, "text/xml"),
        ("/json", LIST_XML, "text/xml"),
        ("/xmlrpc", LIST_XML, "text/xml"),
        ("/anything", LIST_XML, "text/xml"),
        ("/%52PC2?x=y", LIST_XML, "text/xml"),
        ("http://elsewhere/jsonrpc", LIST, "application/json"),
    ],
)
def test_the_longest_prefix_leads(server: Served, path: str, body: bytes, content_type: str) -> None:
    status, headers, answered = split(server.send(request("POST", path, body)))
    assert (status, headers["content-type"]) == (200, content_type)
    assert headers["access-control-allow-origin"] == "*"
    assert headers["access-control-allow-headers"] == "X-Requested-With"
    assert headers["cache-control"] == "no-cache, no-store"
    assert int(headers["content-length"]) == len(answered)
    assert b"VM.get_all_records" in answered


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/nonsense", b"", 403),
        ("GET", "/nonsense", None, 404),
        ("DELETE", "/", None, 501),
        ("HEAD", "/", None, 501),
        ("PATCH", "/", b"", 501),
        ("POST", "/nonsense", b"", 500),
        ("POST", "/jsonrpc", b"{", 500),
        ("POST", "/cli", b"", 501),
        ("POST", "/services/x", b"", 403),
        ("GET", "/", None, 200),
        ("GET", "/blob", None, 404),
        ("GET", "/export", None, 401),
        ("GET", "/pool/xmldbdump", None, 401),
        ("GET", "/rrd_updates?start=0", None, 401),
    ],
)
def test_statuses(server: Served, method: str, path: str, body: bytes | None, status: int) -> None:
    got, headers, _ = split(server.send(request(method, path, body)))
    assert got == status
    if status == 401:
        assert headers["www-authenticate"].startswith('Basic realm="')


def test_options_need_no_session(server: Served) -> None:
    status, headers, body = split(
        server.send(request("OPTIONS", "/jsonrpc", None, "access-control-request-headers: content-type"))
    )
    assert (status, body, headers["content-length"]) == (200, b"", "0")
    assert headers["access-control-allow-origin"] == "*"
    assert headers["access-control-allow-headers"] == "content-type, X-Requested-With"
    assert headers["access-control-allow-methods"] == "PUT"
    _, headers, _ = split(server.send(request("OPTIONS", "/")))
    assert headers["access-control-allow-headers"] == "X-Requested-With"


@pytest.mark.parametrize(
    ("lines", "length"),
    [((), None), (("transfer-encoding: chunked",), None), ((), 307_201), (("content-length: x",), None)],
)
def test_a_body_needs_a_length_that_is_read(server: Served, lines: tuple[str, ...], length: int | None) -> None:
    more = (*lines, f"content-length: {length}") if length else lines
    answer = server.send(request("POST", "/jsonrpc", None, *more, close=False) + b"0\r\n\r\n")
    status, headers, _ = split(answer)
    assert status in (400, 500) if "content-length: x" in lines else status == 500
    assert headers["connection"] == "close"


def test_a_body_of_300_kib_is_read(server: Served) -> None:
    call = LIST[:-1] + b',"params":["' + b"x" * (307_200 - len(LIST) - 14) + b'"]}'
    call += b" " * (307_200 - len(call))
    assert split(server.send(request("POST", "/jsonrpc", call)))[0] == 200


@pytest.mark.parametrize(
    ("version", "connection", "keeps"),
    [("1.1", "", True), ("1.1", "Close", False), ("1.0", "", False), ("1.0", "Keep-Alive", True)],
)
def test_versions_and_connections(server: Served, version: str, connection: str, keeps: bool) -> None:
    lines = f"connection: {connection}\r\n" if connection else ""
    one = f"GET /health HTTP/{version}\r\nhost: x\r\n{lines}\r\n".encode()
    with socket.create_connection(server.address, timeout=1) as client:
        client.sendall(one)
        time.sleep(0.1)
        client.sendall(one)
        answered = read_all(client)
    assert answered.count(f"HTTP/{version} 200 OK".encode()) == 1 + keeps
    assert (b"connection: keep-alive" in answered) is keeps


def test_pipelined_requests_are_answered_in_order(server: Served, session: str) -> None:
    calls = [
        json.dumps({"id": number, "jsonrpc": "2.0", "method": method, "params": [session, *more]}).encode()
        for number, (method, *more) in enumerate(
            [("pool.get_all",), ("event.from", [], "", 0.3), ("VM.get_all",), ("host.get_all",)]
        )
    ]
    sent = b"".join(request("POST", "/jsonrpc", call, close=False) for call in calls[:-1])
    answered = server.send(sent + request("POST", "/jsonrpc", calls[-1]))
    places = [answered.index(f'"id":{number}}}'.encode()) for number in range(4)]
    assert places == sorted(places)


def test_continue_is_sent_to_who_expects_it(server: Served) -> None:
    with socket.create_connection(server.address, timeout=3) as client:
        client.sendall(request("POST", "/jsonrpc", None, f"content-length: {len(LIST)}", "Expect: 100-continue"))
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(LIST)
        assert read_all(client).startswith(b"HTTP/1.1 200 OK")


def test_long_answers_are_compressed_for_who_offers_that(server: Served, session: str) -> None:
    call = json.dumps({"id": 0, "jsonrpc": "2.0", "method": "VM.get_all_records", "params": [session]}).encode()
    _, plain_headers, plain = split(server.send(request("POST", "/jsonrpc", call)))
    _, headers, packed = split(server.send(request("POST", "/jsonrpc", call, "accept-encoding: gzip, deflate")))
    assert "content-encoding" not in plain_headers
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed) == plain
    assert headers["content-length"] == str(len(packed))


def test_health_and_metrics(server: Served, session: str) -> None:
    assert json.loads(split(server.send(request("GET", "/health")))[2]) == {"status": "ok"}
    status, headers, body = split(server.send(request("GET", "/metrics")))
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4")
    assert b'message="session.login_with_password",result="Success"} ' in body
    assert session.encode() not in body
