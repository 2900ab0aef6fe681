"""What clients send that cannot be installed here, as they send it, and what they need of the answers: transcripts.

The requests are those of the .NET SDK and XenCenter (JSON-RPC 1.0, no Content-Type), the Go SDK (params null, id 0),
salt-cloud, and the exporter for Prometheus (Basic).
"""

import base64
import json
import re
import time
from typing import Any

import pytest
from servers import PASSWORD, USER, Served, request, split

pytestmark = pytest.mark.slow


class Client:
    """Posts calls as a client does, and checks each answer by that client's rules."""

    def __init__(self, server: Served, version: str) -> None:
        self.server, self.version, self.number = server, version, 0

    def __call__(self, method: str, *parameters: Any, null: bool = False) -> Any:
        dotnet = self.version == "1.0"
        self.number += dotnet
        call: dict[str, Any] = {"method": method, "params": None if null else list(parameters), "id": self.number}
        lines = [] if dotnet else ["Content-Type: application/json; charset=utf-8", "Accept: application/json"]
        if not dotnet:
            call["jsonrpc"] = "2.0"
        sent = request("POST", "/jsonrpc", json.dumps(call).encode(), *lines)
        status, headers, body = split(self.server.send(sent, seconds=60))
        assert (status, headers["content-type"]) == (200, "application/json")
        answer = json.loads(body, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
        assert answer["id"] == self.number
        if dotnet:
            assert answer.keys() == {"result", "error", "id"}
            assert (answer["error"] is None) is (answer["result"] is not None)
            assert answer["error"] is None, answer["error"]
        else:
            assert answer["jsonrpc"] == "2.0"
            assert ("result" in answer) is not ("error" in answer)
            assert "error" not in answer, answer
        return answer["result"]


def test_dotnet_and_xencenter(server: Served) -> None:
    send = Client(server, "1.0")
    session = send("session.login_with_password", USER, PASSWORD, "2.21", "XenCenter")
    pools = send("pool.get_all_records", session)
    ((_, pool),) = pools.items()
    host = send("host.get_record", session, pool["master"])
    assert isinstance(host["API_version_major"], int)
    assert host["software_version"]["product_version"].replace(".", "").isdigit()
    assert send("session.get_is_local_superuser", session, session) is True
    assert send("session.get_rbac_permissions", session, session) == []
    roles = send("role.get_all_records", session)
    names = {role["name_label"] for role in roles.values()}
    assert {"pool-admin", "pool-operator", "vm-power-admin", "vm-admin", "vm-operator", "read-only"} <= names
    everything = send("event.from", session, ["*"], "", 30.0)
    assert everything["valid_ref_counts"]["vm"] == sum(event["class"] == "vm" for event in everything["events"])
    for event in everything["events"]:
        assert event.keys() == {"id", "timestamp", "class", "operation", "ref", "snapshot"}
        assert event["id"].isdecimal()
    assert re.fullmatch(r"\d{8}T\d\d:\d\d:\d\dZ", send("host.get_servertime", session, pool["master"]))
    for _ in range(20):
        idle = send("event.from", session, ["message"], everything["token"], 0.01)
        assert idle["events"] == []
    assert send("session.logout", session) == ""


def test_go_and_terraform(server: Served) -> None:
    send = Client(server, "2.0")
    assert "VM.start" in send("system.listMethods", null=True)
    session = send("session.login_with_password", USER, PASSWORD, "1.0", "terraform provider")
    (pool,) = send("pool.get_all", session)
    record = send("pool.get_record", session, pool)
    host = send("host.get_record", session, record["master"])
    assert host["software_version"]["xapi"]
    vms = send("VM.get_all_records", session)
    for vm in vms.values():
        for name, value in vm.items():
            assert value is not None, name
        assert isinstance(vm["affinity"], str)
        assert isinstance(vm["memory_static_max"], int)
    template = min(ref for ref, vm in vms.items() if vm["is_a_template"] and not vm["is_a_snapshot"])
    made = send("VM.clone", session, template, "by Terraform")
    send("VM.provision", session, made)
    send("VM.set_is_a_template", session, made, False)
    send("VM.set_memory_limits", session, made, 1 << 30, 1 << 30, 1 << 30, 1 << 30)
    send("VM.set_VCPUs_max", session, made, 2)
    repository = next(iter(send("SR.get_all", session)))
    disk = {"SR": repository, "virtual_size": 1 << 30, "type": "user", "sharable": False, "read_only": False}
    image = send("VDI.create", session, {**disk, "other_config": {}, "name_label": "disk", "managed": True})
    qos = {"qos_algorithm_type": "", "qos_algorithm_params": {}, "other_config": {}}
    place = send("VM.get_allowed_VBD_devices", session, made)[0]
    drive = {"VM": made, "VDI": image, "userdevice": place, "bootable": False, "mode": "RW", "type": "Disk"}
    send("VBD.create", session, {**drive, "empty": False, **qos})
    network = next(iter(send("network.get_all", session)))
    place = send("VM.get_allowed_VIF_devices", session, made)[0]
    card = {"VM": made, "network": network, "device": place, "MAC": "", "MTU": 1500}
    send("VIF.create", session, {**card, **qos})
    assert image in [send("VBD.get_VDI", session, one) for one in send("VM.get_VBDs", session, made)]
    send("VM.destroy", session, made)


def test_salt_cloud(server: Served) -> None:
    send = Client(server, "2.0")
    session = send("session.login_with_password", USER, PASSWORD, "1.0", "salt")
    for name in ("pool", "host", "SR", "PIF"):
        for ref in send(f"{name}.get_all", session)[:3]:
            send(f"{name}.get_record", session, ref)
    vms = send("VM.get_all_records", session)
    vm = min(
        (ref for ref, record in vms.items() if record["power_state"] == "Running" and not record["is_control_domain"]),
        key=lambda ref: int(vms[ref]["memory_static_max"]),
    )

    def wait_for(task: str) -> str:
        while send("task.get_status", session, task) == "pending":
            assert 0 <= send("task.get_progress", session, task) <= 1
            time.sleep(0.1)
        status = send("task.get_status", session, task)
        assert send("task.get_name_label", session, task).startswith("Async.VM.")
        send("task.destroy", session, task)
        return str(status)

    assert wait_for(send("Async.VM.pause", session, vm)) == "success"
    assert wait_for(send("Async.VM.unpause", session, vm)) == "success"
    assert wait_for(send("Async.VM.hard_shutdown", session, vm)) == "success"
    assert wait_for(send("Async.VM.destroy", session, vm)) == "success"
    assert send("VM.get_by_name_label", session, "no such name") == []


def test_exporter(server: Served) -> None:
    """Two scrapes with Basic: rows, a legend that splits at colons, numbers as text; free memory follows the pool."""
    word = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    def scrape() -> dict[str, float]:
        path = f"/rrd_updates?start={int(time.time()) - 10}&json=true&host=true&cf=AVERAGE"
        status, headers, body = split(server.send(request("GET", path, None, f"Authorization: Basic {word}")))
        assert (status, headers["content-type"]) == (200, "application/json")
        told = json.loads(body)
        values = told["data"][0]["values"]
        assert len(values) == int(told["meta"]["columns"]) == len(told["meta"]["legend"])
        assert [int(row["t"]) for row in told["data"]] == sorted((int(row["t"]) for row in told["data"]), reverse=True)
        return {legend: float(value) for legend, value in zip(told["meta"]["legend"], values, strict=True)}

    first = scrape()
    assert {legend.split(":")[1] for legend in first} == {"host", "vm"}
    session = server.log_in()
    (host,) = {legend.split(":")[2] for legend in first if ":host:" in legend}
    vms = server.call("VM.get_all_records", session)
    ref = server.call("host.get_by_uuid", session, host)
    vm = max(
        (one for one in server.call("host.get_resident_VMs", session, ref) if not vms[one]["is_control_domain"]),
        key=lambda one: int(vms[one]["memory_static_max"]),
    )
    server.call("VM.hard_shutdown", session, vm)
    time.sleep(11)
    second = scrape()
    free = f"AVERAGE:host:{host}:memory_free_kib"
    assert second[free] > first[free]
    wrong = base64.b64encode(f"{USER}:wrong".encode()).decode()
    path = "/rrd_updates?start=0"
    assert split(server.send(request("GET", path, None, f"Authorization: Basic {wrong}")))[0] == 401


def test_whole_archives(server: Served) -> None:
    session = server.log_in().replace(":", "%3A")
    status, headers, body = split(server.send(request("GET", f"/host_rrd?session_id={session}")))
    assert (status, headers["content-type"], headers["connection"]) == (200, "text/xml", "close")
    assert "content-length" not in headers
    text = body.decode()
    assert text.count("<rra>") == 4
    assert text.count("<row>") == 120 + 120 + 168 + 366
    assert "<name>memory_free_kib</name><type>GAUGE</type>" in text
    answer = server.send(request("GET", f"/host_rrd?json&session_id={session}"))
    told = json.loads(split(answer)[2])
    assert [int(one["pdp_per_row"]) for one in told["rra"]] == [1, 12, 720, 17280]
    assert split(server.send(request("GET", f"/vm_rrd?session_id={session}")))[0] == 400
    assert split(server.send(request("GET", f"/vm_rrd?uuid=x&session_id={session}")))[0] == 500


def test_a_task_of_a_file_ends_with_it(server: Served) -> None:
    session = server.log_in()
    asked = f"session_id={session.replace(':', '%3A')}&task_id="
    for path, status, error in (
        ("/pool/xmldbdump", "success", []),
        ("/export", "failure", ["NOT_IMPLEMENTED", "http/get_export"]),
        ("/wlb_report", "failure", ["WLB_NOT_INITIALIZED"]),
    ):
        task = server.call("task.create", session, "a file", "")
        server.send(request("GET", f"{path}?{asked}{task.replace(':', '%3A')}"))
        record = server.call("task.get_record", session, task)
        assert (record["status"], record["error_info"]) == (status, error)


def test_a_dump_opens_again(server: Served, tmp_path: Any) -> None:
    import xenmem

    session = server.log_in()
    path = f"/pool/xmldbdump?session_id={session.replace(':', '%3A')}"
    _, headers, body = split(server.send(request("GET", path)))
    assert "content-length" not in headers
    file = tmp_path / "dump.xml"
    file.write_bytes(body)
    fleet = xenmem.read(file)
    assert len(fleet.vms) == len(server.call("VM.get_all", session))
    assert b'<table name="session">' not in body
