"""Ansible's modules of community.general, unmodified: facts, power states, memory and vCPUs, a VM from a template."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from clients_at import CLIENTS, Run
from servers import PASSWORD, USER, Served, served

pytestmark = [pytest.mark.slow, pytest.mark.client("community.general", "11.4.2")]


@pytest.fixture
def ansible(server: Served, run: Run, tmp_path: Path) -> Any:
    """Runs a module; gives whether it changed anything, and what it told."""

    def module(of: str, **arguments: Any) -> dict[str, Any]:
        own = {"hostname": server.url, "username": USER, "password": PASSWORD}
        printed = run(
            *(CLIENTS / "venv/bin/ansible", "localhost", "-m", f"community.general.{of}"),
            *("-a", json.dumps(own | arguments), "-e", f"ansible_python_interpreter={CLIENTS}/venv/bin/python"),
            ANSIBLE_COLLECTIONS_PATH=str(CLIENTS / "collections"),
            ANSIBLE_LOCALHOST_WARNING="False",
            HOME=str(tmp_path),
        )
        found = re.search(r"(SUCCESS|CHANGED) => (\{.*\})", printed, re.DOTALL)
        assert found is not None, printed
        told: dict[str, Any] = json.loads(found[2])
        return told

    return module


@pytest.fixture
def halted(server: Served) -> tuple[str, dict[str, Any]]:
    """A halted VM of a unique name that fits on a host."""
    records = server.call("VM.get_all_records", server.log_in())
    names = [record["name_label"] for record in records.values()]
    return min(
        (
            (ref, record)
            for ref, record in records.items()
            if record["power_state"] == "Halted"
            and not record["is_a_template"]
            and not record["is_a_snapshot"]
            and names.count(record["name_label"]) == 1
        ),
        key=lambda item: int(item[1]["memory_static_max"]),
    )


def test_facts_and_power_states(ansible: Any, server: Served, halted: tuple[str, dict[str, Any]]) -> None:
    ref, record = halted
    name = record["name_label"]
    facts = ansible("xenserver_guest_info", name=name)["instance"]
    assert facts["uuid"] == record["uuid"]
    assert facts["hardware"]["num_cpus"] == int(record["VCPUs_max"])
    assert facts["hardware"]["memory_mb"] == int(record["memory_static_max"]) >> 20
    assert len(facts["disks"]) <= len(record["VBDs"])
    assert len(facts["networks"]) == len(record["VIFs"])
    assert facts["state"] == "poweredoff"

    def power(state: str, **more: Any) -> bool:
        return bool(ansible("xenserver_guest_powerstate", name=name, state=state, **more)["changed"])

    assert power("powered-on") is True
    assert server.call("VM.get_power_state", server.log_in(), ref) == "Running"
    assert power("powered-on") is False
    assert power("restarted") is True
    assert power("powered-off") is True
    assert power("powered-off") is False


def test_suspending(ansible: Any, server: Served) -> None:
    """A VM whose guest can be suspended, and back."""
    records = server.call("VM.get_all_records", server.log_in())
    names = [record["name_label"] for record in records.values()]
    name = next(
        record["name_label"]
        for record in records.values()
        if "suspend" in record["allowed_operations"]
        and record["power_state"] == "Running"
        and names.count(record["name_label"]) == 1
    )
    for state in ("suspended", "powered-on"):
        changed = [ansible("xenserver_guest_powerstate", name=name, state=state)["changed"] for _ in range(2)]
        assert changed == [True, False]


def test_memory_and_vcpus(ansible: Any, server: Served, halted: tuple[str, dict[str, Any]]) -> None:
    ref, record = halted
    hardware = {"num_cpus": 2, "memory_mb": 4096}
    wanted = {"name": record["name_label"], "hardware": hardware, "state": "present"}
    assert ansible("xenserver_guest", **wanted)["changed"] is True
    after = server.call("VM.get_record", server.log_in(), ref)
    assert (int(after["memory_static_max"]), int(after["VCPUs_max"])) == (4 << 30, 2)
    assert ansible("xenserver_guest", **wanted)["changed"] is False


def test_a_vm_from_a_template(ansible: Any, server: Served) -> None:
    session = server.log_in()
    templates = server.call("VM.get_all_records", session)
    names = [record["name_label"] for record in templates.values()]
    template = next(
        record["name_label"]
        for record in templates.values()
        if record["is_a_template"] and not record["is_a_snapshot"] and names.count(record["name_label"]) == 1
    )
    network = next(
        record["name_label"]
        for record in server.call("network.get_all_records", session).values()
        if record["name_label"]
    )
    repository = next(
        record["uuid"]
        for record in server.call("SR.get_all_records", session).values()
        if record["content_type"] not in ("iso", "disk")
    )
    wanted = {
        "name": "made by Ansible",
        "template": template,
        "hardware": {"num_cpus": 2, "memory_mb": 2048},
        "disks": [{"size_gb": 20, "name": "data", "sr_uuid": repository}],
        "networks": [{"name": network, "mac": "aa:bb:dd:aa:00:14"}],
        "state": "present",
    }
    made = ansible("xenserver_guest", **wanted)
    assert made["changed"] is True
    facts = ansible("xenserver_guest_info", name="made by Ansible")["instance"]
    assert facts["hardware"]["memory_mb"] == 2048
    assert facts["disks"][-1]["name"] == "data"
    assert facts["networks"][-1]["mac"] == "aa:bb:dd:aa:00:14"
    assert ansible("xenserver_guest", name="made by Ansible", state="absent", force=True)["changed"] is True
    assert server.call("VM.get_by_name_label", session, "made by Ansible") == []


def test_the_playbook_of_the_page(server: Served, run: Run, tmp_path: Path) -> None:
    """docs/how-to/ansible.md: the first run changes both, the second nothing; too much memory is refused."""
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "ansible.md").read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    book = tmp_path / "site.yml"

    def play(text: str) -> str:
        book.write_text(text.replace("http://127.0.0.1:8080", server.url))
        return run(
            *("bash", "-c", f"{CLIENTS}/venv/bin/ansible-playbook {book} 2>&1 || true"),
            ANSIBLE_COLLECTIONS_PATH=str(CLIENTS / "collections"),
            ANSIBLE_LOCALHOST_WARNING="False",
            ANSIBLE_PYTHON_INTERPRETER=f"{CLIENTS}/venv/bin/python",
            XENMEM_PASSWORD=PASSWORD,
            HOME=str(tmp_path),
        )

    recaps = [dict(re.findall(r"(\w+)=(\d+)", play(text))) for _ in range(2)]
    assert [(recap["ok"], recap["changed"], recap["failed"]) for recap in recaps] == [("2", "2", "0"), ("2", "0", "0")]
    server.call(
        "VM.hard_shutdown", session := server.log_in(), server.call("VM.get_by_name_label", session, "lab-erp-039")[0]
    )
    refused = play(text.replace("16384", "262144"))
    assert re.search(r"NO_HOSTS_AVAILABLE|HOST_NOT_ENOUGH_FREE_MEMORY", refused), refused


def test_facts_of_the_host_itself(run: Run, tmp_path: Path) -> None:
    """xenserver_facts asks at /var/lib/xcp/xapi, which a file system of the test's own has."""
    at = tmp_path / "xapi"
    facts = (CLIENTS / "venv/bin/ansible", "localhost", "-m", "community.general.xenserver_facts")
    python = ("-e", f"ansible_python_interpreter={CLIENTS}/venv/bin/python")
    mounted = 'mount -t tmpfs own /var/lib && mkdir /var/lib/xcp && ln -s "$0" /var/lib/xcp/xapi && exec "$@"'
    with served(tmp_path, "--socket", str(at)) as server:
        printed = run(
            *("unshare", "--map-root-user", "--mount", "sh", "-c", mounted, at, *facts, *python),
            ANSIBLE_COLLECTIONS_PATH=str(CLIENTS / "collections"),
            ANSIBLE_LOCALHOST_WARNING="False",
            HOME=str(tmp_path),
        )
        told = json.loads(printed.partition("=> ")[2])["ansible_facts"]
        session = server.log_in()
        known = {one["uuid"] for one in server.call("VM.get_all_records", session).values()}
        assert {one["uuid"] for one in told["xs_vms"].values()} <= known
        assert len(told["xs_vms"]) > 10
        storage = server.call("SR.get_all_records", session).values()
        assert set(told["xs_srs"]) == {one["name_label"] for one in storage}  # the last of each name
        assert len(told["xs_networks"]) > 0
