"""Both dialects to the letter, and what every call goes through, over sockets."""

import json
from typing import Any

import pytest
from servers import Served, request, split
from XenAPI import Failure

pytestmark = pytest.mark.slow


def post_json(server: Served, **call: Any) -> bytes:
    status, headers, body = split(server.send(request("POST", "/jsonrpc", json.dumps(call).encode())))
    assert (status, headers["content-type"]) == (200, "application/json")
    return body


def post_xml(server: Served, method: str, *values: str) -> bytes:
    parameters = "".join(f"<param><value>{value}</value></param>" for value in values)
    call = f"<methodCall><methodName>{method}</methodName><params>{parameters}</params></methodCall>"
    status, headers, body = split(server.send(request("POST", "/", call.encode())))
    assert (status, headers["content-type"]) == (200, "text/xml")
    return body


def test_json_of_version_1(server: Served) -> None:
    login = post_json(server, id=7, method="session.login_with_password", params=["root", "correct horse"])
    assert login.startswith(b'{"result":"OpaqueRef:')
    assert login.endswith(b'","error":null,"id":7}')
    failed = post_json(server, id="0", method="pool.get_all", params=["OpaqueRef:x"])
    assert failed == b'{"result":null,"error":["SESSION_INVALID","OpaqueRef:x"],"id":"0"}'


def test_json_of_version_2(server: Served, session: str) -> None:
    answer = post_json(server, jsonrpc="2.0", id=0, method="VM.get_by_name_label", params=[session, "none"])
    assert answer == b'{"jsonrpc":"2.0","result":[],"id":0}'
    failed = post_json(server, jsonrpc="2.0", id=0, method="VMPP.get_all", params=[session])
    assert failed == b'{"jsonrpc":"2.0","error":{"code":1,"message":"MESSAGE_REMOVED","data":[]},"id":0}'
    void = post_json(server, jsonrpc="2.0", id=2**63 - 1, method="session.logout", params=[server.log_in()])
    assert void == b'{"jsonrpc":"2.0","result":"","id":9223372036854775807}'


def test_xml(server: Served) -> None:
    assert post_xml(server, "pool.get_all", "OpaqueRef:&lt;x") == (
        b'<?xml version="1.0"?><methodResponse><params><param><value><struct><member><name>Status</name><value>Failure'
        b"</value></member><member><name>ErrorDescription</name><value><array><data><value>SESSION_INVALID</value>"
        b"<value>OpaqueRef:&lt;x</value></data></array></value></member></struct></value></param></params>"
        b"</methodResponse>"
    )
    assert b"<struct>" not in post_xml(server, "system.listMethods")


def test_keys_survive_both_ways(server: Served, session: str) -> None:
    """Keys with & and < in maps."""
    (pool,) = server.call("pool.get_all", session)
    server.call("pool.add_to_other_config", session, pool, "a&b<c", 'x>"')
    assert b"<name>a&amp;b&lt;c</name><value>x&gt;&quot;</value>" in post_xml(
        server, "pool.get_other_config", session, pool
    )
    assert post_xml(server, "pool.remove_from_other_config", session, pool, "a&amp;b&lt;c").count(b"Success")
    assert "a&b<c" not in server.call("pool.get_other_config", session, pool)


def test_invalid_text_is_a_failure_of_the_call(server: Served) -> None:
    body = b'{"id":3,"jsonrpc":"2.0","method":"pool.get_all","params":["\xff"]}'
    status, _, answer = split(server.send(request("POST", "/jsonrpc", body)))
    assert (status, json.loads(answer)["error"]["message"]) == (200, "INVALID_VALUE")
    assert json.loads(answer)["id"] == 3


def test_valid_ref_counts_are_typed(server: Served, session: str) -> None:
    """xen-api compares them with numbers."""
    values = "<array><data><value>pool</value></data></array>"
    answer = post_xml(server, "event.from", session, values, "", "<double>0.1</double>")
    assert b"<name>vm</name><value><i4>" in answer


@pytest.mark.parametrize(
    ("login", "failure"),
    [
        (("root", "wrong"), ["SESSION_AUTHENTICATION_FAILED", "root", "Authentication failure"]),
        (("nobody", "correct horse"), ["SESSION_AUTHENTICATION_FAILED", "nobody", "Authentication failure"]),
        (("root",), ["MESSAGE_PARAMETER_COUNT_MISMATCH", "session.login_with_password", "2", "1"]),
    ],
)
def test_who_may_not_log_in(server: Served, login: tuple[str, ...], failure: list[str]) -> None:
    with pytest.raises(Failure) as raised:
        server.call("session.login_with_password", *login)
    assert raised.value.details == failure


def test_nothing_secret_is_logged(server: Served, session: str) -> None:
    with pytest.raises(Failure):
        server.log_in(password="a secret that is wrong")
    log = server.log()
    assert '"login failed", "user": "root", "peer": "127.0.0.1"' in log
    assert "correct horse" not in log
    assert "a secret" not in log
    assert session not in log
