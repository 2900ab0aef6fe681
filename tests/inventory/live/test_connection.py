"""What is sent, what comes back, and what is said of answers that are none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from live_pools import answering, failure, http, success

import xenmem
from xenmem import Access, InventoryError
from xenmem.inventory.error import OutOfReachError
from xenmem.inventory.live import connection as wire
from xenmem.inventory.live.address import Address
from xenmem.inventory.live.connection import Connection, CutShortError, NoXapiError, RefusedError

ACCESS = Access("hunter2", timeout=5)
BATCH: dict[str, Any] = {"events": [], "valid_ref_counts": {}, "token": "7,0"}

Handler = Callable[[str, list[Any], int], bytes]


def xapi(message: str, parameters: list[Any], number: int) -> bytes:
    """A pool without rows."""
    if message == "session.login_with_password":
        if parameters[1] != "hunter2":
            return failure(number, "SESSION_AUTHENTICATION_FAILED", parameters[0], "Authentication failure")
        return success("OpaqueRef:session", number)
    return success("" if message == "session.logout" else BATCH, number)


def but(message: str, answer: Callable[[int], bytes]) -> Handler:
    """As `xapi`, but for one message."""
    return lambda name, parameters, number: answer(number) if name == message else xapi(name, parameters, number)


def ask(url: str, access: Access = ACCESS) -> Any:
    with Connection(Address.of(url), access) as connection:
        return connection.events(["VM"], "", 0.0)


def test_what_is_sent() -> None:
    seen: list[tuple[str, list[Any]]] = []

    def answer(message: str, parameters: list[Any], number: int) -> bytes:
        seen.append((message, parameters))
        return xapi(message, parameters, number)

    with answering(answer) as (url, _):
        assert ask(url.replace("://", "://eve@")).token == "7,0"
    assert seen == [
        ("session.login_with_password", ["eve", "hunter2", "1.0", "xenmem"]),
        ("event.from", ["OpaqueRef:session", ["VM"], "", 0.0]),
        ("session.logout", ["OpaqueRef:session"]),
    ]


def test_nothing_else_can_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one byte leaves for any of XenAPI's messages that is not on the list."""
    from xenmem.datamodel import CLASSES

    sent: list[object] = []
    monkeypatch.setattr(Connection, "_log_in", lambda *arguments: None)
    monkeypatch.setattr(Connection, "_exchange", lambda *arguments: sent.append(arguments))
    connection = Connection(Address.of("https://pool.example"), ACCESS)
    names = {f"{name}.{message}" for name, schema in CLASSES.items() for message in schema.messages}
    assert "VM.start" in names
    allowed = {"session.login_with_password", "session.logout", "event.from"}
    for name in [*names, *(f"Async.{name}" for name in names), "VM.get_all_records\r\n", "x y.get_all_records", ""]:
        if name in allowed or (name in names and name.endswith(".get_all_records")):
            continue
        with pytest.raises(ValueError, match="is none of the messages that read"):
            connection._call(name, ())
    assert sent == []


@pytest.mark.parametrize(
    ("answer", "kind", "expected"),
    [
        (
            lambda n: http(b"<html>", "text/html", "404 Not Found"),
            NoXapiError,
            "is no xapi: a message is answered with",
        ),
        (lambda n: http(b"{"), NoXapiError, "the answer is no JSON-RPC"),
        (lambda n: http(b"[]"), NoXapiError, "the answer is no JSON-RPC"),
        (lambda n: success(["x"], n), NoXapiError, "the answer is no batch of events"),
        (lambda n: success(BATCH, n - 1), CutShortError, "the answer is that to call 1, and not 2"),
        (lambda n: success(BATCH, n)[:-9], OutOfReachError, "no answer within"),
        (lambda n: success(BATCH, n).replace(b"content-length", b"x"), NoXapiError, ""),
        (lambda n: b"", OutOfReachError, "ended the connection"),
        (lambda n: b"SSH-2.0-OpenSSH\r\n\r\n", NoXapiError, "no HTTP there"),
        (lambda n: failure(n, "RBAC_PERMISSION_DENIED", "event.from", "no"), RefusedError, "answers RBAC_PERMISSION_D"),
    ],
    ids=[
        "html",
        "half",
        "list",
        "other",
        "of another call",
        "stalls",
        "no length",
        "ends",
        "ssh",
        "refused",
    ],
)
def test_answers_that_are_none(answer: Callable[[int], bytes], kind: type[InventoryError], expected: str) -> None:
    if expected == "":
        with answering(but("event.from", answer)) as (url, _):
            assert ask(url).token == "7,0"  # it ends with the connection
        return
    with answering(but("event.from", answer)) as (url, messages):
        with pytest.raises(kind, match=expected) as raised:
            ask(url, Access("hunter2", timeout=0.7))
        assert url in str(raised.value)
        assert str(raised.value).isprintable()
        assert "session" not in str(raised.value)
    if kind in (NoXapiError, RefusedError):
        assert messages[-1] == "session.logout"  # over a connection of its own


def test_an_answer_that_is_cut_short() -> None:
    def answer(message: str, parameters: list[Any], number: int) -> bytes:
        whole = xapi(message, parameters, number)
        return whole if message.startswith("session.") else whole.replace(b"content-length", b"Content-Length")[:-9]

    with (
        answering(answer) as (url, _),
        pytest.raises(CutShortError, match=r"the answer was cut short after \d+ of \d+ bytes"),
    ):
        ask(url)


def test_an_answer_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_ANSWER_BYTES", 1 << 20)
    endless = success("x" * (2 << 20), 2)
    with (
        answering(but("event.from", lambda number: endless)) as (url, _),
        pytest.raises(InventoryError, match="an answer of more than 1 MiB"),
    ):
        ask(url)


def test_wrong_password() -> None:
    with (
        answering(xapi) as (url, messages),
        pytest.raises(InventoryError, match="the password, or the user root, is wrong") as raised,
    ):
        ask(url, Access("hunter3"))
    assert "hunter" not in str(raised.value)
    assert messages == ["session.login_with_password"]


def test_nobody_there() -> None:
    with answering(xapi) as (url, _):
        pass
    with pytest.raises(OutOfReachError, match="cannot be reached: Connection refused"):
        ask(url)
    with pytest.raises(OutOfReachError, match="cannot be reached"):
        ask("https://nobody.invalid")


def test_still_booting() -> None:
    with (
        answering(but("session.login_with_password", lambda n: failure(n, "HOST_STILL_BOOTING"))) as (url, _),
        pytest.raises(OutOfReachError, match=r"is not ready yet \(HOST_STILL_BOOTING\)"),
    ):
        ask(url)


def test_members_lead_to_the_coordinator() -> None:
    with answering(xapi) as (url, messages):
        port = int(url.rpartition(":")[2])

        def member(message: str, parameters: list[Any], number: int) -> bytes:
            return failure(number, "HOST_IS_SLAVE", "127.0.0.1")

        with answering(member, host="127.0.0.2", port=port) as (second, asked):
            assert ask(second).token == "7,0"
            assert asked == ["session.login_with_password"]
            assert messages == ["session.login_with_password", "event.from", "session.logout"]


def test_members_that_lead_in_circles() -> None:
    with (
        answering(lambda message, given, number: failure(number, "HOST_IS_SLAVE", "127.0.0.1")) as (url, messages),
        pytest.raises(InventoryError, match="no coordinator after 3 hosts"),
    ):
        ask(url)
    assert len(messages) == 3


def test_a_member_that_sends_nowhere() -> None:
    with (
        answering(lambda message, given, number: failure(number, "HOST_IS_SLAVE", "a/b")) as (url, _),
        pytest.raises(InventoryError, match="sends to 'a/b', which is no address"),
    ):
        ask(url)


def test_a_login_of_few_parameters() -> None:
    seen: list[list[Any]] = []

    def old(message: str, parameters: list[Any], number: int) -> bytes:
        if message == "session.login_with_password":
            seen.append(parameters)
            if len(parameters) > 2:
                return failure(number, "MESSAGE_PARAMETER_COUNT_MISMATCH", message, "2", "4")
        return xapi(message, parameters, number)

    with answering(old) as (url, _):
        assert ask(url).token == "7,0"
    assert [len(one) for one in seen] == [4, 2]


def xml(value: str) -> bytes:
    body = (
        '<?xml version="1.0"?><methodResponse><params><param><value><struct><member><name>Status</name>'
        f"<value>Success</value></member><member><name>Value</name>{value}</member></struct></value></param></params>"
        "</methodResponse>"
    )
    return http(body.encode(), "text/xml")


def test_a_server_before_json() -> None:
    """It takes POSTs of unknown paths for XML-RPC, and answers those that are none with an error."""
    calls: list[bytes] = []

    def old(message: str, parameters: list[Any], number: int) -> bytes:
        if message != "xml":
            return http(b"<html>", "text/html", "500 Internal Error")
        calls.append(parameters[0])
        if b"login_with_password" in parameters[0]:
            return xml("<value>OpaqueRef:session</value>")
        if b"event.from" in parameters[0]:
            event = "".join(
                f"<member><name>{name}</name><value>{value}</value></member>"
                for name, value in {"class": "vm", "operation": "add", "ref": "OpaqueRef:1"}.items()
            )
            snapshot = (
                "<member><name>snapshot</name><value><struct><member><name>uuid</name><value>u</value></member>"
                "</struct></value></member>"
            )
            return xml(
                "<value><struct><member><name>events</name><value><array><data><value><struct>"
                f"{event}{snapshot}</struct></value></data></array></value></member><member><name>valid_ref_counts</name>"
                "<value><struct><member><name>vm</name><value><i4>1</i4></value></member></struct></value></member>"
                "<member><name>token</name><value>9,0</value></member></struct></value>"
            )
        return xml("<value></value>")

    with answering(old) as (url, _):
        batch = ask(url, Access("<&>"))
    assert (batch.token, batch.counts) == ("9,0", {"vm": 1})
    (event,) = batch.events
    assert (event.class_name, event.operation, event.ref, event.snapshot) == ("vm", "add", "OpaqueRef:1", {"uuid": "u"})
    assert b"<value><string>&lt;&amp;&gt;</string></value>" in calls[0]
    assert b"<value><double>0.0</double></value>" in calls[1]


@pytest.mark.parametrize("known", [True, False])
def test_a_server_of_json_rpc_1(known: bool) -> None:
    """Its answers are those of XML-RPC in JSON, or failures as lists: it is spoken to in XML-RPC."""

    def old(message: str, parameters: list[Any], number: int) -> bytes:
        if message == "xml":
            return xml("<value>OpaqueRef:session</value>" if b"login" in parameters[0] else "<value></value>")
        value = {"Status": "Success", "Value": "OpaqueRef:session"}
        answer = {"result": value, "error": None} if known else {"result": None, "error": ["SESSION_INVALID", "x"]}
        return http(json.dumps(answer | {"id": number}).encode())

    with answering(old) as (url, messages):
        Connection(Address.of(url), ACCESS).close()
    assert messages == ["session.login_with_password", "xml", "xml"]


def test_no_server_of_xenapi() -> None:
    with (
        answering(lambda *call: http(b"<html>", "text/html", "404 Not Found")) as (url, messages),
        pytest.raises(NoXapiError, match="is no xapi: a message is answered with 'status 404'"),
    ):
        ask(url)
    assert messages == ["session.login_with_password", "xml"]


def test_a_server_without_event_from(data: Path) -> None:
    """Before XenServer 6.0 it is read class by class, which is said; classes that it does not know have no rows."""
    records = json.loads((data / "inventories" / "pool-small.records.json").read_text())
    del records["VM_group"]
    for record in records["VM"].values():
        del record["groups"]

    def old(message: str, parameters: list[Any], number: int) -> bytes:
        if message.startswith("session."):
            return xapi(message, parameters, number)
        name, _, getter = message.partition(".")
        if getter == "get_all_records" and name in records:
            return success(records[name], number)
        return failure(number, "MESSAGE_METHOD_UNKNOWN", message)

    with answering(old) as (url, messages):
        fleet = xenmem.read(url, access=ACCESS)
        assert next(note.kind for note in fleet.notes) == "read-in-pieces"
        stored = xenmem.Fleet.from_records(records)
        assert sorted(fleet.vms.ref) == fleet.vms.ref.tolist()
        assert dict(zip(fleet.vms.ref, fleet.start_memory(), strict=True)) == dict(
            zip(stored.vms.ref, stored.start_memory(), strict=True)
        )
        assert messages[-1] == "session.logout"
        del records["host"]
        with pytest.raises(InventoryError, match="MESSAGE_METHOD_UNKNOWN"):
            xenmem.read(url, access=ACCESS)


def test_a_pool_that_changes_while_it_is_read(data: Path) -> None:
    """A read is of one moment once a batch is empty; what came in between counts; a pool that never rests is said."""
    records = json.loads((data / "inventories" / "pool-small.records.json").read_text())
    events = [
        {"class": name.lower(), "operation": "add", "ref": ref, "snapshot": record}
        for name, rows in records.items()
        for ref, record in rows.items()
    ]
    counts = {name.lower(): len(rows) for name, rows in records.items()}
    vm = next(ref for ref, record in records["VM"].items() if record["power_state"] == "Halted")
    later: list[list[dict[str, Any]]] = [
        [{"class": "vm", "operation": "mod", "ref": vm, "snapshot": records["VM"][vm] | {"name_label": "second"}}],
        [{"class": "vm", "operation": "del", "ref": vm}, {"class": "task", "operation": "del", "ref": "OpaqueRef:t"}],
    ]

    def answer(message: str, parameters: list[Any], number: int) -> bytes:
        if message.startswith("session."):
            return xapi(message, parameters, number)
        step = int(parameters[2] or 0)
        batch = events if step == 0 else later[step - 1] if step <= len(later) else []
        return success({"events": batch, "valid_ref_counts": counts, "token": str(step + 1)}, number)

    with answering(answer) as (url, messages):
        fleet = xenmem.read(url, access=ACCESS)
        assert messages.count("event.from") == 4
        assert vm not in fleet.vms.ref
        assert not [note for note in fleet.notes if note.kind == "changing-pool"]
        later[1:] = [later[0]] * 9
        fleet = xenmem.read(url, access=ACCESS)
        assert fleet.vms.name_label[fleet.vm(vm)] == "second"
        assert next(note.kind for note in fleet.notes) == "changing-pool"


def test_progress() -> None:
    event = {"class": "vm", "operation": "del", "ref": "x" * (1 << 20)}
    batch = {"events": [event], "valid_ref_counts": {"vm": 1}, "token": "1,0"}
    seen: list[tuple[int, int | None]] = []
    with (
        answering(but("event.from", lambda number: success(batch, number))) as (url, _),
        pytest.raises(InventoryError, match="holds neither VMs nor hosts"),
    ):
        xenmem.read(url, access=ACCESS, progress=lambda done, size: seen.append((done, size)))
    whole = max(done for done, _ in seen)
    assert whole > 1 << 20
    assert (whole, whole) in seen
    assert len({done for done, size in seen if size == whole}) > 1


def test_a_bad_record_names_the_pool() -> None:
    event = {"class": "vm", "operation": "add", "ref": "OpaqueRef:1", "snapshot": {"uuid": "u", "VCPUs_max": "two"}}
    batch = {"events": [event], "valid_ref_counts": {"vm": 1}, "token": "1,0"}
    with (
        answering(but("event.from", lambda number: success(batch, number))) as (url, _),
        pytest.raises(InventoryError, match=rf"{url}: VM OpaqueRef:1: "),
    ):
        xenmem.read(url, access=ACCESS)
