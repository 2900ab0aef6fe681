"""Plans as scripts: ordered actions as a shell script of xe commands, or as messages that `what_if` runs.

Commands and messages name objects by uuid alone, so that no name of an inventory reaches a shell: names stand in
comments, without control characters. Amounts are bytes. Knows no plan and no Fleet.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from shlex import quote
from typing import Any, Final, NamedTuple

from xenmem.answers.naming import Named, QuestionError, label
from xenmem.text import printable

_UUID: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]*")


class Action(NamedTuple):
    """One change of a pool. The functions below make actions.

    Attributes
    ----------
    what : the change in words, for people, on one line
    command : in the language of the shell
    method, parameters : the message that does the same, as a line of a script for `what_if`
    """

    what: str
    command: str
    method: str
    parameters: list[Any]


def migrate(vm: Named, host: Named) -> Action:
    """A running VM goes to another host."""
    return Action(
        f"migrate VM {label(vm)} to {label(host)}",
        f"xe vm-migrate uuid={_uuid('VM', vm)} host-uuid={_uuid('host', host)} live=true",
        "VM.pool_migrate",
        [_reference("VM", vm), _reference("host", host), {"live": "true"}],
    )


def start(vm: Named, host: Named) -> Action:
    """A halted VM starts on a host."""
    return Action(
        f"start VM {label(vm)} on {label(host)}",
        f"xe vm-start uuid={_uuid('VM', vm)} on={_uuid('host', host)}",
        "VM.start_on",
        [_reference("VM", vm), _reference("host", host), False, False],
    )


def resume(vm: Named, host: Named) -> Action:
    """A suspended VM resumes on a host."""
    return Action(
        f"resume VM {label(vm)} on {label(host)}",
        f"xe vm-resume uuid={_uuid('VM', vm)} on={_uuid('host', host)}",
        "VM.resume_on",
        [_reference("VM", vm), _reference("host", host), False, False],
    )


def shutdown(vm: Named) -> Action:
    """A VM is shut down: by its guest if that does it, else hard."""
    uuid = _uuid("VM", vm)
    return Action(
        f"shut down VM {label(vm)}",
        f"xe vm-shutdown uuid={uuid} || xe vm-shutdown uuid={uuid} force=true",
        "VM.shutdown",
        [_reference("VM", vm)],
    )


def suspend(vm: Named) -> Action:
    """A running VM is suspended."""
    return Action(
        f"suspend VM {label(vm)}", f"xe vm-suspend uuid={_uuid('VM', vm)}", "VM.suspend", [_reference("VM", vm)]
    )


def disable(host: Named) -> Action:
    """No VM starts on the host any more."""
    return Action(
        f"disable host {label(host)}",
        f"xe host-disable uuid={_uuid('host', host)}",
        "host.disable",
        [_reference("host", host)],
    )


def restart(host: Named) -> Action:
    """A host that is disabled and empty is updated and restarts, which enables it again: all that messages tell."""
    return Action(
        f"update and restart host {label(host)}",
        f"restart_host {_uuid('host', host)}",
        "host.enable",
        [_reference("host", host)],
    )


def set_dynamic_range(vm: Named, dynamic_min: int, dynamic_max: int) -> Action:
    """A VM gets other limits for its balloon."""
    return Action(
        f"set memory_dynamic_min and memory_dynamic_max of VM {label(vm)}",
        f"xe vm-memory-dynamic-range-set uuid={_uuid('VM', vm)} min={int(dynamic_min)} max={int(dynamic_max)}",
        "VM.set_memory_dynamic_range",
        [_reference("VM", vm), int(dynamic_min), int(dynamic_max)],
    )


def set_memory(vm: Named, amount: int) -> Action:
    """A halted VM gets so much memory."""
    return Action(
        f"set the memory of VM {label(vm)}",
        f"xe vm-memory-set uuid={_uuid('VM', vm)} memory={int(amount)}",
        "VM.set_memory",
        [_reference("VM", vm), int(amount)],
    )


def set_ha_restart_priority(vm: Named, priority: str) -> Action:
    """High availability restarts a VM, or does not: with the empty priority."""
    return Action(
        f"set ha_restart_priority of VM {label(vm)}",
        f"xe vm-param-set uuid={_uuid('VM', vm)} ha-restart-priority={quote(priority) if priority else ''}",
        "VM.set_ha_restart_priority",
        [_reference("VM", vm), priority],
    )


def _uuid(class_name: str, named: Named) -> str:
    if not _UUID.fullmatch(named.uuid):
        problem = f"its uuid {printable(named.uuid)!r} is none" if named.uuid else "it has no uuid"
        raise QuestionError(f"{class_name} {label(named)}: {problem}, and scripts name objects by their uuid")
    return named.uuid


def _reference(class_name: str, named: Named) -> dict[str, str]:
    return {"uuid": _uuid(class_name, named)}


# ------------------------------------------------------------------------------------------------------------- scripts

_RESTART_HOST: Final = """\
# What is to be done to a host that is disabled and empty before it restarts, such as installing updates; $1: its uuid.
update_host() {
    printf 'Update host %s now. Enter restarts it: ' "$1" >&2
    read -r _
}

# A host that has booted is enabled. While the coordinator restarts, xe fails.
restart_host() {
    update_host "$1"
    xe host-reboot uuid="$1"
    until [ "$(xe host-param-get uuid="$1" param-name=enabled 2>/dev/null)" = true ]; do
        sleep 10
    done
}
"""


def as_messages(actions: Iterable[Action]) -> bytes:
    """The actions as JSON lines, each a message that `what_if` sends."""
    return "".join(
        json.dumps({"method": action.method, "params": action.parameters}) + "\n" for action in actions
    ).encode()


def as_xe(heading: Sequence[str], actions: Sequence[Action]) -> bytes:
    """The actions as a POSIX shell script of xe commands, which ends at the first that fails.

    Parameters
    ----------
    heading : lines of text for people: what the script does
    actions : in their order
    """
    lines = ["#!/bin/sh", *(f"# {printable(text)}" for text in heading), "set -eu", ""]
    if any(action.command.startswith("restart_host ") for action in actions):
        lines.append(_RESTART_HOST)
    for number, action in enumerate(actions, 1):
        lines += [f"# {number} of {len(actions)}: {action.what}", action.command]
    return "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")


WRITERS: Final[dict[str, Callable[[Sequence[str], Sequence[Action]], bytes]]] = {
    "xe": as_xe,
    "messages": lambda _heading, actions: as_messages(actions),
}
"""What a plan can be written as, from a heading and its actions."""
