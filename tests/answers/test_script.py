"""Scripts of plans: whatever an object is called, a shell reads its uuid as one word, and its name as comment."""

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenmem.answers import QuestionError
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
    start,
)
from xenmem.xenapi.calls.message import REQUIRED, find

VM = Named("vm-ref", "1b2c", "web")
HOST = Named("host-ref", "3d4e", "alpha")


def every_action(vm: Named, host: Named) -> list[Action]:
    return [
        migrate(vm, host),
        start(vm, host),
        resume(vm, host),
        disable(host),
        restart(host),
        set_dynamic_range(vm, 1, 2),
        set_memory(vm, 3),
        set_ha_restart_priority(vm, "best-effort"),
        set_ha_restart_priority(vm, ""),
    ]


def run_with_fake_xe(folder: Path, script: bytes, stdin: bytes = b"") -> list[list[str]]:
    """Runs a script with an `xe` that notes its arguments; gives them, call by call."""
    calls = folder / "calls"
    calls.write_bytes(b"")
    fake = folder / "xe"
    fake.write_text(
        '#!/bin/sh\nfor word in "$@"; do printf "%s\\0" "$word"; done >> "$CALLS"; printf "\\n" >> "$CALLS"\n'
        'case "$1" in host-param-get) echo true;; esac\n'
    )
    fake.chmod(0o755)
    path = folder / "plan.sh"
    path.write_bytes(script)
    subprocess.run(["sh", "-n", str(path)], check=True)
    done = subprocess.run(
        ["sh", str(path)],
        env={"PATH": f"{folder}:/usr/bin:/bin", "CALLS": str(calls)},
        input=stdin,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == b""
    return [line.split("\0")[:-1] for line in calls.read_text().splitlines()]


def test_what_xe_is_given(tmp_path: Path) -> None:
    script = as_xe(["what it is for"], every_action(VM, HOST))
    assert script.startswith(b"#!/bin/sh\n# what it is for\nset -eu\n")
    assert b"\n# 1 of 9: migrate VM web to alpha\n" in script
    assert run_with_fake_xe(tmp_path, script, b"\n") == [
        ["vm-migrate", "uuid=1b2c", "host-uuid=3d4e", "live=true"],
        ["vm-start", "uuid=1b2c", "on=3d4e"],
        ["vm-resume", "uuid=1b2c", "on=3d4e"],
        ["host-disable", "uuid=3d4e"],
        ["host-reboot", "uuid=3d4e"],
        ["host-param-get", "uuid=3d4e", "param-name=enabled"],
        ["vm-memory-dynamic-range-set", "uuid=1b2c", "min=1", "max=2"],
        ["vm-memory-set", "uuid=1b2c", "memory=3"],
        ["vm-param-set", "uuid=1b2c", "ha-restart-priority=best-effort"],
        ["vm-param-set", "uuid=1b2c", "ha-restart-priority="],
    ]


def test_a_restart_waits_for_the_operator(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        run_with_fake_xe(tmp_path, as_xe([], [restart(HOST)]))
    assert (tmp_path / "calls").read_bytes() == b""


def test_a_script_ends_at_the_first_failure(tmp_path: Path) -> None:
    (tmp_path / "plan.sh").write_bytes(as_xe([], [disable(HOST), disable(HOST)]))
    (tmp_path / "xe").write_text('#!/bin/sh\necho "$1" >> "$CALLS"\nexit 1\n')
    (tmp_path / "xe").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "CALLS": str(tmp_path / "calls")}
    done = subprocess.run(["sh", str(tmp_path / "plan.sh")], env=environment, timeout=60, check=False)
    assert done.returncode == 1
    assert (tmp_path / "calls").read_text() == "host-disable\n"


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
def test_hostile_names_stay_comments(tmp_path: Path, name: str) -> None:
    script = as_xe([name], every_action(Named("vm", "1b2c", name), Named("host", "3d4e", name)))
    calls = run_with_fake_xe(tmp_path, script, b"\n")
    assert calls[0] == ["vm-migrate", "uuid=1b2c", "host-uuid=3d4e", "live=true"]
    assert len(calls) == 10
    assert not list(tmp_path.glob("*pwned*"))
    assert not Path("pwned").exists()


@given(st.text(max_size=40))
def test_any_name_is_one_line_of_comment(name: str) -> None:
    plain = as_xe(["x"], [disable(HOST)]).decode().splitlines()
    script = as_xe([name], [disable(Named("host", "3d4e", name))]).decode(errors="surrogateescape")
    assert all(line.isprintable() for line in script.split("\n"))
    lines = script.removesuffix("\n").split("\n")
    assert len(lines) == len(plain)
    assert [line for line in lines if not line.startswith("#")] == [line for line in plain if not line.startswith("#")]


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
    script = as_xe([], [set_ha_restart_priority(VM, "a b; touch pwned")])
    assert run_with_fake_xe(tmp_path, script) == [["vm-param-set", "uuid=1b2c", "ha-restart-priority=a b; touch pwned"]]
