"""Scripts of plans: what they do to a pool and say meanwhile; whatever an object is called, its name is only shown."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenmem.answers import QuestionError, xe_lines
from xenmem.answers.naming import Named
from xenmem.answers.script import (
    Action,
    as_messages,
    as_xe,
    disable,
    migrate,
    restart,
    resume,
    set_dynamic_range,
    set_ha_restart_priority,
    set_memory,
    shutdown,
    start,
    suspend,
)
from xenmem.xenapi.calls.message import REQUIRED, find

VM = Named("vm-ref", "1b2c", "web")
HOST = Named("host-ref", "3d4e", "alpha")


def every_action(vm: Named, host: Named) -> list[Action]:
    return [
        migrate(vm, host),
        shutdown(vm),
        start(vm, host),
        suspend(vm),
        resume(vm, host),
        disable(host),
        restart(host),
        set_dynamic_range(vm, 1, 2),
        set_memory(vm, 3),
        set_ha_restart_priority(vm, "best-effort"),
        set_ha_restart_priority(vm, ""),
    ]


FAKE = """#!{python}
# an xe of a pool of one VM and hosts, in a file
import json, os, sys
folder = os.path.dirname(os.path.abspath(__file__))
with open(folder + "/state.json") as file:
    state = json.load(file)
command, words = sys.argv[1], dict(word.partition("=")[::2] for word in sys.argv[2:])
vm, host = state["vm"], state["host"]
if command in ("vm-param-get", "host-param-get"):
    print((vm if command.startswith("vm") else host)[words["param-name"]])
elif command == "vm-list":
    print(state["there"])
else:
    with open(folder + "/calls", "a") as file:
        file.write(chr(0).join(sys.argv[1:]) + chr(10))
    if command in state["failing"]:
        sys.exit("the server does not want to")
    if command in ("vm-migrate", "vm-start", "vm-resume"):
        vm.update({"power-state": "running", "resident-on": words.get("host-uuid") or words["on"]})
    vm.update({"power-state": {"vm-shutdown": "halted", "vm-suspend": "suspended"}.get(command, vm["power-state"])})
    if command in ("host-disable", "host-reboot"):
        host["enabled"] = {"host-disable": "false", "host-reboot": "true"}[command]
    if command == "vm-memory-dynamic-range-set":
        vm.update({"memory-dynamic-min": words["min"], "memory-dynamic-max": words["max"]})
    if command == "vm-memory-set":
        vm.update({"memory-static-max": words["memory"], "memory-dynamic-min": words["memory"]})
    with open(folder + "/state.json", "w") as file:
        json.dump(state, file)
"""


class FakePool:
    """A folder with an `xe` that keeps the state of one VM and one host, and notes what it is told to change."""

    def __init__(self, folder: Path, power_state: str = "running", resident_on: str = "9999") -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        path = folder / "xe"
        path.write_text(FAKE.replace("{python}", sys.executable))
        path.chmod(0o755)
        (folder / "calls").touch()
        vm = dict.fromkeys(("memory-static-max", "memory-dynamic-min", "memory-dynamic-max"), "0")
        vm |= {"uuid": "1b2c", "power-state": power_state, "resident-on": resident_on}
        self.set(vm=vm, host={"enabled": "true"}, there="", failing=[])

    def set(self, **state: object) -> None:
        path = self.folder / "state.json"
        before = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(before | state))

    def run(self, script: bytes, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        path = self.folder / "plan.sh"
        path.write_bytes(script)
        subprocess.run(["sh", "-n", str(path)], check=True)
        environment = {"PATH": f"{self.folder}:/usr/bin:/bin", "HOME": str(self.folder)}
        done = subprocess.run(
            ["sh", str(path)], env=environment, input=stdin, capture_output=True, timeout=60, check=False
        )
        assert done.stdout == b""
        return subprocess.CompletedProcess(done.args, done.returncode, "", done.stderr.decode())

    @property
    def calls(self) -> list[list[str]]:
        return [line.split("\0") for line in (self.folder / "calls").read_text().splitlines()]


def test_what_xe_is_given(tmp_path: Path) -> None:
    pool = FakePool(tmp_path)
    script = as_xe(["what it is for"], every_action(VM, HOST))
    assert script.startswith(b"#!/bin/sh\n# what it is for\nset -eu\n")
    done = pool.run(script, b"\n")
    assert done.returncode == 0, done.stderr
    assert pool.calls == [
        ["vm-migrate", "uuid=1b2c", "host-uuid=3d4e", "live=true"],
        ["vm-shutdown", "uuid=1b2c"],
        ["vm-start", "uuid=1b2c", "on=3d4e"],
        ["vm-suspend", "uuid=1b2c"],
        ["vm-resume", "uuid=1b2c", "on=3d4e"],
        ["host-disable", "uuid=3d4e"],
        ["host-reboot", "uuid=3d4e"],
        ["vm-memory-dynamic-range-set", "uuid=1b2c", "min=1", "max=2"],
        ["vm-memory-set", "uuid=1b2c", "memory=3"],
        ["vm-param-set", "uuid=1b2c", "ha-restart-priority=best-effort"],
        ["vm-param-set", "uuid=1b2c", "ha-restart-priority="],
    ]


def test_each_step_is_told_with_its_time(tmp_path: Path) -> None:
    """F22: scripts were silent while they ran."""
    done = FakePool(tmp_path).run(as_xe([], [disable(HOST), migrate(VM, HOST)]))
    assert re.fullmatch(
        r"(..:..:..)  1/2  disable host alpha\n(..:..:..)  2/2  migrate VM web to alpha\n..:..:..  All is done\.\n",
        done.stderr,
    )


def test_what_is_so_already_is_skipped(tmp_path: Path) -> None:
    pool = FakePool(tmp_path, resident_on="3d4e")
    pool.set(host={"enabled": "false"})
    done = pool.run(as_xe([], [disable(HOST), migrate(VM, HOST), start(VM, HOST)]))
    assert (done.returncode, pool.calls) == (0, [])
    assert done.stderr.count("is so already") == 3


@pytest.mark.parametrize(
    ("action", "state", "why"),
    [
        (
            migrate(VM, HOST, Named("", "7777", "bravo")),
            ("running", "9999"),
            "on host 9999, and was planned to be on 7777",
        ),
        (migrate(VM, HOST), ("halted", "<not in database>"), "it is halted"),
        (start(VM, HOST), ("suspended", "<not in database>"), "it is suspended, and was planned to be halted"),
        (start(VM, HOST), ("running", "9999"), "it runs on another host"),
        (suspend(VM), ("halted", "<not in database>"), "it is halted"),
        (restart(HOST), ("running", "3d4e"), "it is enabled"),
    ],
)
def test_a_pool_that_is_not_as_planned_stops_the_script(
    tmp_path: Path, action: Action, state: tuple[str, str], why: str
) -> None:
    """F22: a VM that moved meanwhile stopped it half-way, with the host disabled and no word of it."""
    pool = FakePool(tmp_path, *state)
    done = pool.run(as_xe([], [action, set_memory(VM, 5)]))
    assert (done.returncode, pool.calls) == (1, [])
    assert f"the pool is not as planned: {why}" in done.stderr.replace("it is on host", "on host")
    assert "Stopped in step 1 of 2: " in done.stderr


def test_a_script_goes_on_after_a_failure(tmp_path: Path) -> None:
    """Also where a VM that was away is to go home again, which the state of the pool alone does not tell."""
    home = Named("home-ref", "9999", "home")
    pool = FakePool(tmp_path)
    script = as_xe([], [disable(HOST), migrate(VM, HOST, home), set_memory(VM, 5), migrate(VM, home, HOST)])
    pool.set(failing=["vm-memory-set"])
    done = pool.run(script)
    assert done.returncode == 1
    assert "the server does not want to" in done.stderr
    assert "Stopped in step 3 of 4: set the memory of VM web." in done.stderr
    assert "run this again, which goes on here" in done.stderr
    assert "To take back: xe host-enable uuid=3d4e" in done.stderr
    pool.set(failing=[])
    again = pool.run(script)
    assert again.returncode == 0, again.stderr
    assert "Going on after an earlier run" in again.stderr
    assert again.stderr.count("done before") == 2
    assert [call[0] for call in pool.calls] == [
        *("host-disable", "vm-migrate", "vm-memory-set"),
        *("vm-memory-set", "vm-migrate"),
    ]
    assert not list(tmp_path.glob(".xenmem-plan-*")), "a whole run leaves nothing behind"


def test_a_restart_waits_for_the_operator(tmp_path: Path) -> None:
    pool = FakePool(tmp_path)
    pool.set(host={"enabled": "false"})
    assert pool.run(as_xe([], [restart(HOST)])).returncode != 0
    assert pool.calls == []


def test_a_restart_of_a_host_with_vms_is_refused(tmp_path: Path) -> None:
    pool = FakePool(tmp_path)
    pool.set(host={"enabled": "false"}, there="1b2c")
    done = pool.run(as_xe([], [restart(HOST)]), b"\n")
    assert (done.returncode, pool.calls) == (1, [])
    assert "VMs are on it: 1b2c" in done.stderr


def test_a_script_ends_at_the_first_failure(tmp_path: Path) -> None:
    pool = FakePool(tmp_path)
    pool.set(failing=["host-disable"])
    assert pool.run(as_xe([], [disable(HOST), disable(HOST)])).returncode == 1
    assert pool.calls == [["host-disable", "uuid=3d4e"]]


def test_messages_exist_and_take_these_parameters() -> None:
    for line in as_messages(every_action(VM, HOST)).splitlines():
        sent = json.loads(line)
        message = find(sent["method"])[0]
        assert message is not None
        required = [parameter for parameter in message.parameters if parameter.default is REQUIRED]
        assert len(required) <= len(sent["params"]) <= len(message.parameters)


HOSTILE = [
    "$(touch pwned)",
    "`touch pwned`",
    "a\ntouch pwned",
    "a\rtouch pwned",
    "'; touch pwned; '",
    "\x1b[2J",
    "a\u2028touch pwned",
    "\u202etouch pwned",
    "\\\ntouch pwned",
    "\udc80",
    "",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_only_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    pool = FakePool(tmp_path / "pool")
    done = pool.run(as_xe([name], every_action(Named("vm", "1b2c", name), Named("host", "3d4e", name))), b"\n")
    assert done.returncode == 0
    assert len(pool.calls) == 11
    assert not list(tmp_path.rglob("*pwned*"))


@given(st.text(max_size=40))
def test_any_name_is_one_word(name: str) -> None:
    plain = as_xe(["x"], [disable(HOST)]).decode().splitlines()
    script = as_xe([name], [disable(Named("host", "3d4e", name))]).decode(errors="surrogateescape")
    assert all(line.isprintable() for line in script.split("\n"))
    lines = script.removesuffix("\n").split("\n")
    assert len(lines) == len(plain)
    different = [(one, other) for one, other in zip(lines, plain, strict=True) if one != other and one[:1] != "#"]
    for one, other in different:
        assert shlex.split(one)[:2] == ["step", "1"]
        assert shlex.split(one)[3:] == shlex.split(other)[3:]


@pytest.mark.parametrize("uuid", ["", *(name for name in HOSTILE if name), "-rf", "a b", "1b2c\n", "ünï"])
def test_only_uuids_are_written(uuid: str) -> None:
    bad = Named("vm-ref", uuid, "web")
    for make in (
        lambda: migrate(bad, HOST),
        lambda: migrate(VM, bad),
        lambda: start(bad, HOST),
        lambda: resume(VM, bad),
        lambda: disable(bad),
        lambda: restart(bad),
        lambda: set_dynamic_range(bad, 1, 2),
        lambda: set_memory(bad, 1),
        lambda: set_ha_restart_priority(bad, ""),
    ):
        with pytest.raises(QuestionError, match="scripts name objects by their uuid") as caught:
            make()
        assert str(caught.value).isprintable()


def test_values_are_one_word(tmp_path: Path) -> None:
    pool = FakePool(tmp_path)
    pool.run(as_xe([], [set_ha_restart_priority(VM, "a b; touch pwned")]))
    assert pool.calls == [["vm-param-set", "uuid=1b2c", "ha-restart-priority=a b; touch pwned"]]


def test_what_if_reads_what_is_written() -> None:
    """The messages of the lines of xe are those of --emit messages."""
    uuids = [f"{digit * 8}-1111-2222-3333-444444444444" for digit in "ab"]
    actions = every_action(Named("", uuids[0], "web"), Named("", uuids[1], "alpha"))
    lines = enumerate(as_xe(["any"], actions).splitlines(keepends=True), 1)
    read = list(xe_lines.messages_of(((number, line) for number, line in lines if line.strip()), "plan.sh"))
    for action, message in zip(actions, read, strict=True):
        sent = json.loads(json.dumps(action.parameters))
        assert message.method == action.method
        assert [str(one) for one in message.parameters] == [str(one) for one in sent]
