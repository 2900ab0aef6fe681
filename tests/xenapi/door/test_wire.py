"""XML-RPC and JSON-RPC: what is read and written, the real XenAPI client over a socket (messages.md, 9.7, 9.8, 11)."""

import json
import math
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from xmlrpc.client import DateTime, Fault, ServerProxy, dumps, loads

import pytest
import XenAPI
from hypothesis import given
from hypothesis import strategies as st

from xenmem.datamodel.types import BOOL, DATETIME, FLOAT, INT, INT32, STRING, MapType, SetType
from xenmem.inventory import xmlrpc
from xenmem.xenapi import Failure, Pool, Session
from xenmem.xenapi.door import wire
from xenmem.xenapi.door.wire import WireError
from xenmem.xenapi.rules import operations

AddVM = Callable[..., Any]


def call_xml(value: str) -> bytes:
    inner = f"<param>{value}</param>"
    return f"<methodCall><methodName>VM.start</methodName><params>{inner}</params></methodCall>".encode()


@pytest.mark.parametrize(
    ("value", "decoded"),
    [
        ("<value>text</value>", "text"),
        ("<value> text </value>", " text "),
        ("<value></value>", ""),
        ("<value/>", ""),
        ("<value><string>5</string></value>", "5"),
        ("<value><string/></value>", ""),
        ("<value><int>0x10</int></value>", 16),
        ("<value><i4>1_000</i4></value>", 1000),
        ("<value><i8>-9223372036854775808</i8></value>", -(2**63)),
        ("<value><boolean>1</boolean></value>", True),
        ("<value><boolean>true</boolean></value>", False),
        ("<value><boolean>0</boolean></value>", False),
        ("<value><double>0.1</double></value>", 0.1),
        ("<value><nil/></value>", None),
        ("<value><base64>aGk=</base64></value>", b"hi"),
        ("<value><dateTime.iso8601>20260821T02:00:23Z</dateTime.iso8601></value>", DateTime("20260821T02:00:23Z")),
        ("<value>\n<array>\n<data>\n<value>1</value>\n<value><int>2</int></value>\n</data></array></value>", ["1", 2]),
        ("<value><array><data/></array></value>", []),
        (
            "<value><struct><member><name>a&amp;b</name><value>&lt;&#233;</value></member></struct></value>",
            {"a&b": "<é"},
        ),
    ],
)
def test_what_is_read(value: str, decoded: Any) -> None:
    method, parameters = wire.decode_xml(call_xml(value))
    assert method == "VM.start"
    assert parameters == [decoded]
    assert type(parameters[0]) is type(decoded)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"<methodCall>",
        b"<methodCall></methodCall>",
        b"<methodResponse><params><param><value>1</value></param></params></methodResponse>",
        b"<methodCall><methodName>x</methodName><params><param></param></params></methodCall>",
        b"<methodCall><methodName>\xff</methodName></methodCall>",
        b"<!DOCTYPE x><methodCall><methodName>x</methodName></methodCall>",
        b'<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><methodCall><methodName>&b;</methodName></methodCall>',
        call_xml("<value><int>9223372036854775808</int></value>"),
        call_xml("<value><int> 1</int></value>"),
        call_xml("<value><int></int></value>"),
        call_xml("<value><double>one</double></value>"),
        call_xml("<value><base64>a</base64></value>"),
        call_xml("<value><float>1</float></value>"),
        call_xml("<int>1</int>"),
        call_xml("<value><struct><member><name>a</name></member></struct></value>"),
        call_xml("<value><array><data>" * 1000 + "</data></array></value>" * 1000),
        call_xml(f"<value>{'x' * wire.MAX_BODY}</value>"),
    ],
)
def test_what_is_not_read(body: bytes) -> None:
    with pytest.raises(WireError):
        wire.decode_xml(body)


@given(st.binary(max_size=200) | st.text(alphabet="<>/methodCallNameparvu &;!\"'").map(str.encode))
def test_rubbish_is_refused(body: bytes) -> None:
    for decode in (wire.decode_xml, wire.decode_json):
        try:
            decode(body)
        except WireError:
            continue


_PARAMETERS = st.recursive(
    st.booleans()
    | st.integers(-(2**31), 2**31 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc_", min_size=1), inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(_PARAMETERS, max_size=3))
def test_whatever_the_client_writes_is_read(parameters: list[Any]) -> None:
    body = dumps(tuple(parameters), "VM.start", allow_none=True).encode()
    assert wire.decode_xml(body) == ("VM.start", parameters)


_CALL = "<methodCall><methodName>A.b</methodName><params>{}</params></methodCall>"


@pytest.mark.parametrize(
    "text", ["", "x", "a b", "&amp;", "&#65;", "\u00e9", "]]>", "a>b", "\t", "a\nb", "<!-- -->", "x\x01"]
)
@pytest.mark.parametrize("value", ["{}", "<string>{}</string>", " <string>{}</string>", "<i4>{}</i4>", "<string>{}"])
@pytest.mark.parametrize(
    "call",
    [
        _CALL,
        "<?xml version='1.0'?>\n" + _CALL.replace("><", ">\n<") + "\n",
        f'<?xml version="1.0"?>{_CALL}',
        f'<?xml version="1.0" encoding="utf-8"?>{_CALL}',
        _CALL.replace("A.b", " A.b"),
        f"\n<?xml version='1.0'?>{_CALL}",
        f"{_CALL}x",
        "<methodCall><params>{}</params><methodName>A.b</methodName></methodCall>",
    ],
)
def test_plain_calls_are_read_as_the_parser_reads_them(call: str, value: str, text: str) -> None:
    parameter = f"<param><value>{value.format(text)}</value></param>"
    for count in (0, 1, 2):
        document = call.format(parameter * count).encode()
        results = []
        for read in (xmlrpc.parse_call, xmlrpc._parsed_call):
            try:
                results.append(read(document, wire._xml_scalar))
            except (xmlrpc.XMLRPCError, WireError) as error:
                results.append(type(error))
        assert results[0] == results[1]


@pytest.mark.parametrize(
    ("type", "value", "text"),
    [
        (INT, 2**63 - 1, "<value>9223372036854775807</value>"),
        (INT32, 7, "<value><i4>7</i4></value>"),
        (BOOL, True, "<value><boolean>1</boolean></value>"),
        (FLOAT, 1.0, "<value><double>1</double></value>"),
        (FLOAT, 0.1, "<value><double>0.1</double></value>"),
        (STRING, 'a<b>&"\x00\x07\t\ufffe\uffff\ufffd', "<value>a&lt;b&gt;&amp;&quot;\t\ufffd</value>"),
        (DATETIME, "20260821T02:00:23Z", "<value><dateTime.iso8601>20260821T02:00:23Z</dateTime.iso8601></value>"),
        (SetType(INT), (1,), "<value><array><data><value>1</value></data></array></value>"),
        (
            MapType(INT, STRING),
            {3: "x"},
            "<value><struct><member><name>3</name><value>x</value></member></struct></value>",
        ),
    ],
)
def test_what_is_written(type: Any, value: Any, text: str) -> None:
    assert wire.value_xml(type, value) == text
    response = wire.encode_xml(type, value).decode()
    assert response == (
        '<?xml version="1.0"?><methodResponse><params><param><value><struct>'
        f"<member><name>Status</name><value>Success</value></member><member><name>Value</name>{text}</member>"
        "</struct></value></param></params></methodResponse>"
    )


def test_a_failure_as_written() -> None:
    (answer,), _ = loads(wire.encode_xml_failure(Failure(["HANDLE_INVALID", "VM", "<&>"])))
    assert answer == {"Status": "Failure", "ErrorDescription": ["HANDLE_INVALID", "VM", "<&>"]}


class TestJSON:
    def ask(self, pool: Pool, body: Any) -> Any:
        return json.loads(wire.answer_json(pool, json.dumps(body).encode()))

    def test_version_1(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm(memory_static_max=2**62)
        ask = {"method": "VM.get_memory_static_max", "params": [session.handle, "vm"], "id": "me"}
        assert self.ask(pool, ask) == {"result": 2**62, "error": None, "id": "me"}
        ask["params"] = [session.handle, "none"]
        assert self.ask(pool, ask) == {"result": None, "error": ["HANDLE_INVALID", "VM", "none"], "id": "me"}

    def test_version_2(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm()
        ask = {"jsonrpc": "2.0", "method": "VM.set_memory", "params": [session.handle, "vm", 2**31], "id": 5}
        assert self.ask(pool, ask) == {"jsonrpc": "2.0", "result": "", "id": 5}
        ask["params"] = [session.handle, "vm", str(2**30)]
        assert self.ask(pool, ask) == {"jsonrpc": "2.0", "result": "", "id": 5}
        ask["params"] = [session.handle, "vm", -1]
        answer = self.ask(pool, ask)
        assert answer == {
            "jsonrpc": "2.0",
            "error": {"code": 1, "message": "MEMORY_CONSTRAINT_VIOLATION_ORDER", "data": []},
            "id": 5,
        }
        for number in (1.5, 1e3):
            ask["params"] = [session.handle, "vm", number]
            assert self.ask(pool, ask)["error"]["message"] == "INTERNAL_ERROR"

    def test_params_of_version_2(self, pool: Pool) -> None:
        head = {"jsonrpc": "2.0", "method": "VM.get_all", "id": 1}
        for params in ({}, {"params": None}, {"params": []}):
            error = self.ask(pool, head | params)["error"]
            assert (error["message"], error["data"]) == ("MESSAGE_PARAMETER_COUNT_MISMATCH", ["VM.get_all", "0", "-1"])
        assert self.ask(pool, head | {"params": {"a": 1}})["error"]["message"] == "INTERNAL_ERROR"

    def test_records(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        vm = add_vm(tags=("a",), other_config={"k": "é"}, HVM_shadow_multiplier=1.5)
        ask = {"method": "VM.get_record", "params": [session.handle, "vm"], "id": 1}
        record = self.ask(pool, ask)["result"]
        assert record["memory_static_max"] == vm.memory_static_max
        assert (record["tags"], record["other_config"]) == (["a"], {"k": "é"})
        assert (record["HVM_shadow_multiplier"], record["snapshot_time"]) == (1.5, "19700101T00:00:00Z")

    @pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("head", [{}, {"jsonrpc": "2.0"}])
    def test_what_json_does_not_know(
        self, pool: Pool, session: Session, add_vm: AddVM, number: float, head: dict[str, str]
    ) -> None:
        """A number that is none is answered with a failure, and never written."""
        add_vm().HVM_shadow_multiplier = number
        ask = {"method": "VM.get_HVM_shadow_multiplier", "params": [session.handle, "vm"], "id": 1}
        answer = wire.answer_json(pool, json.dumps(ask | head).encode())
        assert b"INTERNAL_ERROR" in answer
        json.loads(answer, parse_constant=pytest.fail)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[]",
            b"{}",
            b'{"method": "x", "params": [], "id": null}',
            b'{"method": "x", "params": [], "id": true}',
            b'{"method": "x", "params": [], "id": 1.0}',
            b'{"method": "x", "params": []}',
            b'{"method": "x", "id": 1}',
            b'{"method": "x", "params": {}, "id": 1}',
            b'{"method": "x", "params": null, "id": 1}',
            b'{"params": [], "id": 1}',
            b'{"jsonrpc": "1.0", "method": "x", "params": [], "id": 1}',
            b'{"jsonrpc": 2.0, "method": "x", "params": [], "id": 1}',
            b'{"jsonrpc": "2.0", "method": "x", "params": "p", "id": 1}',
            b'{"method": "x", "params": [9223372036854775808], "id": 1}',
            b'{"method": "x", "params": [NaN], "id": 1}',
            b"[" * 200_000,
            b" " * (wire.MAX_BODY + 1),
        ],
    )
    def test_what_is_not_read(self, body: bytes) -> None:
        with pytest.raises(WireError):
            wire.decode_json(body)

    def test_text_that_is_no_utf_8(self, pool: Pool) -> None:
        body = b'{"method": "VM.\xff", "params": ["a", {"\xfe": ["b"]}], "id": 1}'
        error = json.loads(wire.answer_json(pool, body))["error"]
        assert error[:2] == ["INVALID_VALUE", "Invalid UTF-8 string in parameter"]
        body = b'{"method": "VM.\xff", "params": [], "id": 1}'
        error = json.loads(wire.answer_json(pool, body))["error"]
        assert error == ["MESSAGE_METHOD_UNKNOWN", "VM.\udcff"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    pool: Pool
    paths: list[str]

    def do_POST(self) -> None:
        self.paths.append(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_json = self.path == "/jsonrpc"
        try:
            answer = (wire.answer_json if is_json else wire.answer_xml)(self.pool, body)
        except WireError:
            self.send_error(500)
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json" if is_json else "text/xml")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def server(pool: Pool) -> Iterator[str]:
    handler = type("Handler", (_Handler,), {"pool": pool, "paths": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.fixture
def client(server: str) -> Iterator[Any]:
    with XenAPI.Session(server) as client:
        client.xenapi.login_with_password("root", "", "1.0", "test")
        yield client


class TestRealClient:
    def test_reads_as_the_session_in_process_does(
        self, pool: Pool, session: Session, client: Any, add_vm: AddVM
    ) -> None:
        add_vm("a", name_label="<Büro> & 'x' \"y\"", tags=("t",), blocked_operations={"start": "no"})
        for class_name in ("VM", "VM_metrics", "host", "host_metrics", "pool"):
            there = getattr(client.xenapi, class_name).get_all_records()
            here = getattr(session.xenapi, class_name).get_all_records()
            assert there == here
            assert list(there) == list(here)
        assert client.API_version == "2.23"

    def test_setters_and_failures(self, pool: Pool, client: Any, add_vm: AddVM) -> None:
        vm = add_vm()
        assert client.xenapi.VM.set_memory("vm", str(2**31)) == ""
        assert vm.memory_static_max == 2**31
        client.xenapi.VM.set_memory("vm", "0x40000000")
        assert vm.memory_static_max == 2**30
        with pytest.raises(OverflowError):
            client.xenapi.VM.set_memory("vm", 2**40)
        with pytest.raises(XenAPI.Failure) as raised:
            client.xenapi.VM.set_memory("none", "1")
        assert raised.value.details == ["HANDLE_INVALID", "VM", "none"]
        with pytest.raises(XenAPI.Failure) as raised:
            client.xenapi.Async.VM.set_memory_static_max("vm", "1")
        assert raised.value.details[0] == "Fault"

    def test_tasks_and_events(self, client: Any, add_vm: AddVM) -> None:
        add_vm()
        task = client.xenapi.Async.VM.maximise_memory("vm", "0", False)
        record = client.xenapi.task.get_record(task)
        assert (record["status"], record["result"], record["progress"]) == ("success", "<value>0</value>", 1.0)
        batch = client.xenapi.event_from(["vm/vm"], "", 0.0)
        assert batch["valid_ref_counts"]["vm"] == 3
        assert [event["ref"] for event in batch["events"]] == ["vm"]
        client.xenapi.VM.set_name_label("vm", "x")
        (event,) = getattr(client.xenapi.event, "from")(["VM"], batch["token"], 0.0)["events"]
        assert (event["operation"], event["snapshot"]["name_label"]) == ("mod", "x")

    def test_lost_session(self, pool: Pool, client: Any) -> None:
        pool.log_out(client.handle)
        assert len(client.xenapi.host.get_all()) == 2

    def test_session_that_is_never_valid(self, pool: Pool, client: Any) -> None:
        """Both clients send three times, log in after each, and give up."""
        calls: list[str] = []
        perform = pool.perform

        def refuse(message: Any, sent: Any) -> Any:
            calls.append(message.full_name)
            if message.full_name == "VM.get_all":
                raise Failure(["SESSION_INVALID", sent[0]])
            return perform(message, sent)

        pool.perform = refuse  # type: ignore[method-assign]
        session = Session(pool)
        session.login_with_password("root", "")
        for one in (client, session):
            calls.clear()
            with pytest.raises(Fault, match="Tried 3 times"):
                one.xenapi.VM.get_all()
            assert calls == ["VM.get_all", "session.login_with_password"] * 3

    @pytest.mark.parametrize(
        ("login", "logout"),
        [("login_with_password", "logout"), ("slave_local_login_with_password", "local_logout")],
    )
    def test_logs_out_as_it_logged_in(self, pool: Pool, server: str, login: str, logout: str) -> None:
        calls: list[str] = []
        dispatch = pool.dispatch

        def listen(method: str, sent: Any) -> Any:
            calls.append(method)
            return dispatch(method, sent)

        pool.dispatch = listen  # type: ignore[method-assign]
        with XenAPI.Session(server) as client:
            for one in (client, Session(pool)):
                calls.clear()
                getattr(one, login)("root", "")
                one.logout()
                assert calls == [f"session.{login}", f"session.{logout}"]

    def test_before_login(self, server: str) -> None:
        with XenAPI.Session(server) as client, pytest.raises(XenAPI.Failure) as raised:
            client.xenapi.VM.get_all()
        assert raised.value.details == ["INTERNAL_ERROR", """Failure("Expected string, got 'N'")"""]

    def test_logout(self, client: Any) -> None:
        client.xenapi.session.logout()
        with pytest.raises(AttributeError):
            client.logout()
        client.login_with_password("root", "")

    def test_direct_proxy_and_system(self, server: str, client: Any) -> None:
        assert client.VM.get_all(client.handle) == {"Status": "Success", "Value": ["h2dom0", "h1dom0"]}
        with ServerProxy(server) as proxy:
            methods = proxy.system.listMethods()
            assert isinstance(methods, list)
            assert {"VM.start", "event.from", "session.login_with_password"} <= set(methods)
            assert getattr(proxy, "system.isAlive:x")("hello") == {"Status": "Success", "Value": "hello"}


def test_order_of_failures_on_the_wire(pool: Pool) -> None:
    def ask(method: str, *parameters: Any) -> Any:
        (answer,), _ = loads(wire.answer_xml(pool, dumps(parameters, method).encode()))
        return answer["ErrorDescription"]

    assert ask("VM.nothing") == ["MESSAGE_METHOD_UNKNOWN", "VM.nothing"]
    assert ask("VM.nothing", "bad") == ["SESSION_INVALID", "bad"]
    assert ask("VM.get_all") == ["MESSAGE_PARAMETER_COUNT_MISMATCH", "VM.get_all", "0", "-1"]
    assert ask("VM.set_memory", "bad", "x", True)[0] == "INTERNAL_ERROR"


def test_a_body_that_raises_is_an_internal_error(pool: Pool, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("one")

    monkeypatch.setattr(operations, "begin", broken)
    body = dumps((session.handle, "h1dom0", "5"), "VM.set_memory").encode()
    (answer,), _ = loads(wire.answer_xml(pool, body))
    assert answer["ErrorDescription"] == ["INTERNAL_ERROR", "ZeroDivisionError: one"]
