"""npm's xen-api, its command line, and XO Lite's transport."""

from pathlib import Path

import pytest
from clients_at import CLIENTS, Node, Run
from servers import PASSWORD, USER, Served

pytestmark = pytest.mark.slow
MODULES = str(CLIENTS / "node_modules")


@pytest.mark.client("xen-api", "4.7.6")
@pytest.mark.parametrize("transport", ["json-rpc", "xml-rpc"])
def test_xen_api(server: Served, node: Node, transport: str) -> None:
    session = server.log_in()
    counts = server.call("event.from", session, ["*"], "", 0.0)["valid_ref_counts"]
    told = node("xen-api.mjs", server.url + "/", USER, PASSWORD, transport)
    assert told["warnings"] == []
    types = {name.lower(): count for name, count in told["types"].items()}  # type: ignore[attr-defined]
    for name in ("pool", "host", "vm", "sr", "vdi", "vbd", "vif", "network", "vm_guest_metrics"):
        assert types[name] == counts[name]
    assert told["seen"] == "was here"
    assert told["name"] == "copy by xen-api"
    assert told["failure"] == ["HANDLE_INVALID", "VM", "OpaqueRef:none"]
    assert told["legend"] > 4  # type: ignore[operator]
    assert told["rows"] > 0  # type: ignore[operator]
    assert "<database><manifest>" in str(told["dump"])
    assert told["again"] is True


@pytest.mark.client("xen-api's command line", "4.7.6")
def test_command_line(server: Served, run: Run, tmp_path: Path) -> None:
    script = tmp_path / "repl.sh"
    lines = r"xapi.pool.name_label\nxapi.call('VM.get_all').then(_=>_.length)\n"
    command = MODULES + "/.bin/xen-api"
    script.write_text(
        f'(printf "{lines}"; sleep 5; echo .exit) | {command} --au {server.url} {USER} "{PASSWORD}"; true'
    )
    printed = run("bash", script)
    session = server.log_in()
    assert str(len(server.call("VM.get_all", session))) in printed
    (pool,) = server.call("pool.get_all_records", session).values()
    assert pool["name_label"].split('"')[0] in printed


@pytest.mark.client("json-rpc-2.0", "1.8.1")
def test_xo_lite(server: Served, node: Node) -> None:
    told = node("xo-lite.mjs", server.url, USER, PASSWORD)
    assert told["subjects"] == []
    assert told["counts"]["VM"] == len(server.call("VM.get_all", server.log_in()))  # type: ignore[index]
    assert told["counts"]["message"] == 0  # type: ignore[index]
    assert told["events"] == ["pool"]
    assert isinstance(told["shadow"], (int, float))
    assert told["outOfSession"] == [1, "SESSION_INVALID", ["OpaqueRef:gone"]]
    assert told["nothing"] == ""
