"""what-if and messages: what they print, against a session that does the same; and what is wrong with a script."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import xenmem as library
from xenmem.xenapi.calls.message import MESSAGES

Answer = Callable[..., str]
GIB = 1 << 30


def halted_vms(inventory: str) -> list[tuple[str, str]]:
    """Halted VMs that are no templates: reference and name."""
    session = library.connect(inventory)
    expression = (
        'field "power_state" = "Halted" and field "is_a_template" = "false" and field "is_a_snapshot" = "false"'
    )
    vms = session.xenapi.VM.get_all_where(expression)
    return [(vm, session.xenapi.VM.get_name_label(vm)) for vm in vms]


def script(folder: Path, *messages: dict[str, Any] | str) -> str:
    path = folder / "script.jsonl"
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in messages))
    return str(path)


def test_what_if_json_equals_a_session(xenmem: Callable[..., Any], small: str, tmp_path: Path) -> None:
    (vm, name), *_ = halted_vms(small)
    lines = script(
        tmp_path,
        {"method": "VM.set_memory", "params": [vm, str(8 * GIB)]},
        "",
        {"method": "VM.set_memory", "params": [{"name_label": name}, 8 * GIB - 1]},
        {"method": "VM.set_memory", "params": [vm, "17", "x"]},
        {"method": "Async.VM.set_memory", "params": ["nobody", "17"]},
        {"method": "VM_get_uuid", "params": [vm]},
        {"method": "VM.fly"},
    )
    done = xenmem("what-if", small, lines, "--format", "json")
    assert done.returncode == 1
    result = json.loads(done.stdout)
    session = library.connect(small)
    before = session.xenapi.VM.get_record(vm)
    session.xenapi.VM.set_memory(vm, str(8 * GIB - 1))
    after = session.xenapi.VM.get_record(vm)
    changed = {field: (before[field], after[field]) for field in before if before[field] != after[field]}
    assert {field["field"]: (field["before"], field["after"]) for field in result["fields"]} == changed
    assert {field["ref"] for field in result["fields"]} == {vm}
    assert (result["messages"], result["stopped"]) == (6, "")
    assert [
        (one["number"], one["line"], one["message"], one["code"], one["parameters"]) for one in result["failures"]
    ] == [
        (3, 4, "VM.set_memory", "MESSAGE_PARAMETER_COUNT_MISMATCH", ["VM.set_memory", "2", "3"]),
        (4, 5, "Async.VM.set_memory", "HANDLE_INVALID", ["VM", "nobody"]),
        (6, 7, "VM.fly", "MESSAGE_METHOD_UNKNOWN", ["VM.fly"]),
    ]
    for host in result["hosts"]:
        free = int(session.xenapi.host.compute_free_memory(host["ref"]))
        assert host["before"] == host["after"]
        assert host["after"]["free"]["dynamic_min"] == free


def test_what_if_runs_python(xenmem: Callable[..., Any], small: str, tmp_path: Path) -> None:
    (vm, _), *_ = halted_vms(small)
    path = tmp_path / "script.py"
    path.write_text(
        f"print('said')\nsession.api.VM.set_name_label({vm!r}, 'renamed')\nsession.xenapi.VM.set_memory({vm!r}, '-1')\n"
    )
    done = xenmem("what-if", small, str(path), "--format", "json")
    assert (done.returncode, done.stderr) == (1, "said\n")
    result = json.loads(done.stdout)
    assert [(one["field"], one["after"]) for one in result["fields"]] == [("name_label", "renamed")]
    assert result["stopped"] == "['MEMORY_CONSTRAINT_VIOLATION_ORDER']"
    assert [(one["line"], one["code"]) for one in result["failures"]] == [(None, "MEMORY_CONSTRAINT_VIOLATION_ORDER")]


def test_what_if_csv_equals_json(answer: Answer, small: str, tmp_path: Path) -> None:
    (vm, _), *_ = halted_vms(small)
    lines = script(tmp_path, {"method": "VM.set_memory", "params": [vm, str(8 * GIB)]})
    result = json.loads(answer("what-if", small, lines, "--format", "json"))

    def rows(*options: str) -> list[dict[str, str]]:
        text = answer("what-if", small, lines, "--format", "csv", *options)
        return list(csv.DictReader(io.StringIO(text, newline="")))

    for row, host in zip(rows(), result["hosts"], strict=True):
        assert row["ref"] == host["ref"]
        for time in ("before", "after"):
            assert int(row[f"{time}_free_static_max"]) == host[time]["free"]["static_max"]
    assert [(row["field"], row["after"]) for row in rows("--fields")] == [
        (field["field"], field["after"]) for field in result["fields"]
    ]


def test_what_if_table(xenmem: Callable[..., Any], small: str) -> None:
    (vm, name), *_ = halted_vms(small)
    lines = (
        f'{{"method": "VM.set_memory", "params": ["{vm}", "1"]}}\n{{"method": "VM.set_memory", "params": ["x", "1"]}}'
    )
    done = xenmem("what-if", small, "-", stdin=lines)
    assert done.stderr == ""
    assert done.stdout.startswith(f"2 of 2 messages fail, first VM.set_memory of VM {name}: ")
    assert f"line 1: VM.set_memory of VM {name}: MEMORY_CONSTRAINT_VIOLATION_ORDER\n" in done.stdout
    assert "line 2: VM.set_memory of x: HANDLE_INVALID (VM, x)\n" in done.stdout
    assert "0 hosts and 0 fields change" in done.stdout
    assert "3 hosts stay as they were." in done.stdout
    lines = f'{{"method": "VM.set_memory", "params": ["{vm}", {8 * GIB}]}}'
    assert f"VM {name}" in xenmem("what-if", small, "-", stdin=lines).stdout


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("1" * 5000, "is not JSON"),
        ("[]", "is not an object with a method"),
        ('{"params": []}', "is not an object with a method"),
        ('{"method": "VM.start", "params": {}}', "params is not an array"),
        ('{"method": "VM.start", "arguments": []}', "unknown key 'arguments'"),
        ('{"method": "VM.get_uuid", "params": [{"uuid": "x"}]}', "there is no VM 'x'"),
        ('{"method": "VM.get_uuid", "params": [{"name_label": "x"}]}', "there is no VM 'x'"),
        ('{"method": "VM.get_uuid", "params": [{"name": "x"}]}', "a VM is a reference, a uuid or a name_label"),
    ],
)
def test_lines_that_are_no_messages(complaint: Answer, small: str, tmp_path: Path, line: str, expected: str) -> None:
    path = script(tmp_path, '{"method": "VM.get_all"}', line)
    assert complaint("what-if", small, path) == f"{path}:2: {expected}"


def test_scripts_that_cannot_run(complaint: Answer, small: str, tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    missing = str(tmp_path / "missing")
    assert complaint("what-if", small, missing) == f"{missing}: No such file or directory"
    assert complaint("what-if", small, f"{missing}.py") == f"{missing}.py: cannot be read"
    path.write_text("1 +\n")
    assert complaint("what-if", small, str(path)).startswith(f"{path}:1: SyntaxError: ")
    path.write_text("def go():\n    1 / 0\n\ngo()\n")
    assert complaint("what-if", small, str(path)) == f"{path}:2: ZeroDivisionError: division by zero"
    path.write_text("raise SystemExit(3)")
    assert complaint("what-if", small, str(path)) == f"{path}: exited with 3"
    path.write_text("raise GeneratorExit")
    assert complaint("what-if", small, str(path)) == f"{path}:1: GeneratorExit:"
    assert complaint("what-if", "-", "-").startswith("standard input can be read only once")


def test_messages_are_all_declared(answer: Answer) -> None:
    every = json.loads(answer("messages", "--all", "--format", "json"))["messages"]
    assert sorted(one["name"] for one in every) == sorted(MESSAGES)
    some = json.loads(answer("messages", "--format", "json"))["messages"]
    assert {one["name"] for one in some} == {name for name, message in MESSAGES.items() if not message.generated}
    host = json.loads(answer("messages", "host", "--all", "--format", "json"))["messages"]
    assert {one["name"] for one in host} == {name for name in MESSAGES if name.startswith("host.")}
    table = answer("messages", "--wide")
    assert all(f"{one['name']}(" in table for one in some)


@pytest.mark.parametrize("name", ["VM.set_memory", "VM_set_memory"])
def test_one_message_in_full(answer: Answer, name: str) -> None:
    text = answer("messages", name)
    assert text.startswith("VM.set_memory: Set dynamic_min, ")
    assert "\nVM.set_memory(self: VM ref, value: int) -> void\nrole vm-power-admin, sync and Async" in text
    assert "  VM_BAD_POWER_STATE [vm; expected; actual]\n" in text


def test_no_such_message(complaint: Answer) -> None:
    assert complaint("messages", "VM.fly").startswith("there is no message or class 'VM.fly'; classes: Bond, ")


def test_what_if_never_reaches_a_real_pool(xenmem: Callable[..., Any], small: str, tmp_path: Path) -> None:
    """F9: a script made its own XenAPI.Session, and what-if connected to that server."""
    (_, name), *_ = halted_vms(small)
    path = tmp_path / "real.py"
    lines = [
        "import XenAPI",
        'session = XenAPI.Session("https://pool.example:443", ignore_ssl=True)',
        'session.login_with_password("root", "secret", "1.0", "script")',
        f"vm = session.xenapi.VM.get_by_name_label({name!r})[0]",
        f"session.xenapi.VM.set_memory(vm, {str(8 * GIB)!r})",
    ]
    path.write_text("\n".join(lines))
    done = xenmem("what-if", small, str(path))
    assert done.returncode == 0
    assert (
        done.stderr
        == "xenmem: XenAPI.Session('https://pool.example:443') is the copy in memory: no server is reached\n"
    )
    assert done.stdout.startswith("All of 3 messages go through: 0 hosts and ")


@pytest.mark.parametrize(
    "reaching",
    [
        "import socket; socket.create_connection(('127.0.0.1', 1))",
        "import socket; socket.socket(socket.AF_UNIX).connect('/nowhere')",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:1')",
        "import xmlrpc.client; xmlrpc.client.ServerProxy('http://127.0.0.1:1').x()",
        "import subprocess; subprocess.run(['xe', 'vm-list'])",
        "import os; os.system('xe vm-list')",
    ],
)
def test_what_if_refuses_other_ways_out(
    complaint: Answer, xenmem: Any, small: str, tmp_path: Path, reaching: str
) -> None:
    path = tmp_path / "out.py"
    path.write_text(reaching)
    assert complaint("what-if", small, str(path)).startswith(f"{path}:1: ")
    assert "is refused: what-if reaches nothing but the copy (--allow-network)" in complaint(
        "what-if", small, str(path)
    )
    allowed = xenmem("what-if", small, str(path), "--allow-network")
    assert "is refused" not in allowed.stderr


XE_LINES = """#!/bin/sh
set -eu
# comments do not count
xe vm-memory-set vm={name} memory=8GiB
xe vm-param-set uuid={uuid} name-label="two words" \\
    platform:pae=true
xe vm-start uuid={uuid} on=xen02.stage.example
"""


def test_xe_lines_are_a_script(xenmem: Callable[..., Any], small: str) -> None:
    """F9: xe is what operators write and what --emit xe writes, and was no JSON."""
    (vm, name), *_ = halted_vms(small)
    uuid = library.connect(small).xenapi.VM.get_uuid(vm)
    done = xenmem("what-if", small, "-", "--format", "json", stdin=XE_LINES.format(name=name, uuid=uuid))
    assert done.stderr == ""
    result = json.loads(done.stdout)
    changed = {field["field"]: field["after"] for field in result["fields"] if field["ref"] == vm}
    assert (changed["memory_static_max"], changed["name_label"]) == (str(8 * GIB), "two words")
    assert changed["power_state"] == "Running"
    assert [failure["code"] for failure in result["failures"]] == ["MAP_DUPLICATE_KEY"] * len(result["failures"])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("curl http://x", "'curl' is not xe: only lines of xe are tried, nothing is run"),
        ("xe vm-fly vm=x", "xe vm-fly: not known here; known are host-disable, "),
        ("xe vm-start", "vm-start lacks vm="),
        ("xe vm-start vm=$VM", "'vm=$VM' stands for something that only the shell knows"),
        ("xe vm-start web", "'web' is not key=value"),
        ("xe vm-start vm=nobody", "there is no VM 'nobody'"),
        ("xe vm-start vm=x color=red", "vm-start color= is not known here"),
        ("xe vm-memory-set vm=x memory=much", "memory: 'much' is not a size"),
        ("xe vm-start vm='x", "no closing quotation"),
    ],
)
def test_lines_that_are_no_xe(complaint: Answer, small: str, tmp_path: Path, line: str, expected: str) -> None:
    path = script(tmp_path, "#!/bin/sh", line)
    assert complaint("what-if", small, path).startswith(f"{path}:2: {expected}")


def test_hosts_whose_features_are_empty_refuse_no_migration() -> None:
    """Every plan for the README's example was refused: `features` is there, and says nothing of any CPU."""
    session = library.connect(str(Path(__file__).parents[2] / "examples" / "four-hosts.json"))
    (vm,), (host,) = session.xenapi.VM.get_by_name_label("git"), session.xenapi.host.get_by_name_label("bravo")
    session.xenapi.VM.pool_migrate(vm, host, {"live": "true"})
    assert session.xenapi.VM.get_resident_on(vm) == host
