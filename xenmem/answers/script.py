"""Plans as scripts: ordered actions as a shell script of xe commands, or as messages that `what_if` runs.

Commands and messages name objects by uuid alone; a name of an inventory reaches a shell as one quoted word, to be
shown, and in comments, without control characters. Amounts are bytes. Knows no plan and no Fleet.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from shlex import quote
from typing import Any, Final, NamedTuple

from xenmem.answers import xe_lines
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
    check : how the shell finds out whether the pool is as planned, or the change done already: words, the first of
        which is one of the functions below
    undo : the command that takes it back, where one does
    """

    what: str
    command: str
    method: str
    parameters: list[Any]
    check: str
    undo: str = ""


def migrate(vm: Named, host: Named, source: Named | None = None) -> Action:
    """A running VM goes to another host, from the source if that is known."""
    return Action(
        f"migrate VM {label(vm)} to {label(host)}",
        f"xe vm-migrate uuid={_uuid('VM', vm)} host-uuid={_uuid('host', host)} live=true",
        "VM.pool_migrate",
        [_reference("VM", vm), _reference("host", host), {"live": "true"}],
        f"moves {_uuid('VM', vm)} {_uuid('host', host)} {_uuid('host', source) if source else '-'}",
    )


def start(vm: Named, host: Named) -> Action:
    """A halted VM starts on a host."""
    return _begun(vm, host, "start", "halted")


def resume(vm: Named, host: Named) -> Action:
    """A suspended VM resumes on a host."""
    return _begun(vm, host, "resume", "suspended")


def _begun(vm: Named, host: Named, operation: str, power_state: str) -> Action:
    return Action(
        f"{operation} VM {label(vm)} on {label(host)}",
        f"xe vm-{operation} uuid={_uuid('VM', vm)} on={_uuid('host', host)}",
        f"VM.{operation}_on",
        [_reference("VM", vm), _reference("host", host), False, False],
        f"begins {_uuid('VM', vm)} {_uuid('host', host)} {power_state}",
    )


def shutdown(vm: Named) -> Action:
    """A VM is shut down: by its guest if that does it, else hard."""
    uuid = _uuid("VM", vm)
    return Action(
        f"shut down VM {label(vm)}",
        f"shutdown_vm {uuid}",
        "VM.shutdown",
        [_reference("VM", vm)],
        f"ends {uuid} halted",
    )


def suspend(vm: Named) -> Action:
    """A running VM is suspended."""
    uuid = _uuid("VM", vm)
    return Action(
        f"suspend VM {label(vm)}",
        f"xe vm-suspend uuid={uuid}",
        "VM.suspend",
        [_reference("VM", vm)],
        f"ends {uuid} suspended",
    )


def disable(host: Named) -> Action:
    """No VM starts on the host any more."""
    return Action(
        f"disable host {label(host)}",
        f"xe host-disable uuid={_uuid('host', host)}",
        "host.disable",
        [_reference("host", host)],
        f"disables {_uuid('host', host)}",
        f"xe host-enable uuid={_uuid('host', host)}",
    )


def restart(host: Named) -> Action:
    """A host that is disabled and empty is updated and restarts, which enables it again: all that messages tell."""
    return Action(
        f"update and restart host {label(host)}",
        f"restart_host {_uuid('host', host)}",
        "host.enable",
        [_reference("host", host)],
        f"restarts {_uuid('host', host)}",
    )


def disable_ha() -> Action:
    """High availability is switched off, and which storage it used is remembered."""
    undo = "xe pool-ha-enable heartbeat-sr-uuids=SR, of the SRs in the file beside that of the progress"
    return Action("switch high availability off", "disable_ha", "pool.disable_ha", [], "ha_is false", undo)


def enable_ha() -> Action:
    """High availability is switched on again, with the storage that it used."""
    return Action("switch high availability on again", "enable_ha", "pool.enable_ha", [[], {}], "ha_is true")


def forbid_auto_poweron(pool: Named) -> Action:
    """VMs do not start with their hosts."""
    setting = f"xe pool-param-set uuid={_uuid('pool', pool)} other-config:auto_poweron"
    return Action(
        "let no VM start with a host",
        f"{setting}=false",
        "pool.remove_from_other_config",
        [_reference("pool", pool), "auto_poweron"],
        "always",
        f"{setting}=true",
    )


def allow_auto_poweron(pool: Named) -> Action:
    """VMs with auto_poweron start with their hosts again."""
    return Action(
        "let VMs start with a host again",
        f"xe pool-param-set uuid={_uuid('pool', pool)} other-config:auto_poweron=true",
        "pool.add_to_other_config",
        [_reference("pool", pool), "auto_poweron", "true"],
        "always",
    )


def set_dynamic_range(vm: Named, dynamic_min: int, dynamic_max: int) -> Action:
    """A VM gets other limits for its balloon."""
    return Action(
        f"set memory_dynamic_min and memory_dynamic_max of VM {label(vm)}",
        f"xe vm-memory-dynamic-range-set uuid={_uuid('VM', vm)} min={int(dynamic_min)} max={int(dynamic_max)}",
        "VM.set_memory_dynamic_range",
        [_reference("VM", vm), int(dynamic_min), int(dynamic_max)],
        f"has {_uuid('VM', vm)} memory-dynamic-min={int(dynamic_min)} memory-dynamic-max={int(dynamic_max)}",
    )


def set_memory(vm: Named, amount: int) -> Action:
    """A halted VM gets so much memory."""
    return Action(
        f"set the memory of VM {label(vm)}",
        f"xe vm-memory-set uuid={_uuid('VM', vm)} memory={int(amount)}",
        "VM.set_memory",
        [_reference("VM", vm), int(amount)],
        f"has {_uuid('VM', vm)} memory-static-max={int(amount)} memory-dynamic-min={int(amount)}",
    )


def set_ha_restart_priority(vm: Named, priority: str) -> Action:
    """High availability restarts a VM, or does not: with the empty priority."""
    return Action(
        f"set ha_restart_priority of VM {label(vm)}",
        f"xe vm-param-set uuid={_uuid('VM', vm)} ha-restart-priority={quote(priority) if priority else ''}",
        "VM.set_ha_restart_priority",
        [_reference("VM", vm), priority],
        f"is_there {_uuid('VM', vm)}",
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


_SWITCH_HA: Final = """\
# Which storage high availability uses is known while it is on only.
disable_ha() {
    xe vdi-list name-label='Statefile for HA' params=sr-uuid --minimal >"$progress.heartbeat"
    xe pool-ha-disable
}

enable_ha() {
    xe pool-ha-enable heartbeat-sr-uuids="$(cat "$progress.heartbeat")"
    rm -f "$progress.heartbeat"
}

ha_is() { # true or false
    if [ "$(xe pool-list params=ha-enabled --minimal)" = "$1" ]; then echo done; else echo go; fi
}
"""


def as_messages(actions: Iterable[Action]) -> bytes:
    """The actions as JSON lines, each a message that `what_if` sends."""
    return "".join(
        json.dumps({"method": action.method, "params": action.parameters}) + "\n" for action in actions
    ).encode()


_STEPS: Final = """\
say() {
    printf '%s  %s\\n' "$(date +%H:%M:%S)" "$1" >&2
}

vm() {
    xe vm-param-get uuid="$1" param-name="$2"
}

# What follows says `go`, or `done` where nothing is left to do, or why the pool is not as planned.

moves() { # VM, to host, from host or -
    state=$(vm "$1" power-state) on=$(vm "$1" resident-on)
    if [ "$state" != running ]; then echo "it is $state"
    elif [ "$on" = "$2" ]; then echo done
    elif [ "$3" != - ] && [ "$on" != "$3" ]; then echo "it is on host $on, and was planned to be on $3"
    else echo go; fi
}

begins() { # VM, on host, from state
    state=$(vm "$1" power-state)
    if [ "$state" = "$3" ]; then echo go
    elif [ "$state" != running ]; then echo "it is $state, and was planned to be $3"
    elif [ "$(vm "$1" resident-on)" = "$2" ]; then echo done
    else echo "it runs on another host"; fi
}

ends() { # VM, in state
    state=$(vm "$1" power-state)
    if [ "$state" = "$2" ]; then echo done
    elif [ "$state" = suspended ] || [ "$state" = halted ]; then echo "it is $state"
    else echo go; fi
}

disables() { # host
    if [ "$(xe host-param-get uuid="$1" param-name=enabled)" = false ]; then echo done; else echo go; fi
}

restarts() { # host
    there=$(xe vm-list resident-on="$1" is-control-domain=false params=uuid --minimal)
    if [ -n "$there" ]; then echo "VMs are on it: $there"
    elif [ "$(xe host-param-get uuid="$1" param-name=enabled)" != false ]; then echo "it is enabled"
    else echo go; fi
}

has() { # VM, parameter=value...
    uuid=$1; shift
    for pair; do
        [ "$(vm "$uuid" "${pair%%=*}")" = "${pair#*=}" ] || { echo go; return; }
    done
    echo done
}

always() {
    echo go
}

is_there() { # VM
    vm "$1" uuid >/dev/null && echo go
}

shutdown_vm() { # VM: by its guest if that does it, else hard
    xe vm-shutdown uuid="$1" || xe vm-shutdown uuid="$1" force=true
}

was_done() {
    [ -e "$progress" ] && grep -qx "$1" "$progress"
}

step() { # number, in words, check, command...
    number=$1 what=$2 check=$3
    shift 3
    if was_done "$number"; then
        say "$number/$total  $what: done before"
        return
    fi
    # shellcheck disable=SC2086 # the check is words
    now=$($check)
    case $now in
    go) say "$number/$total  $what" && "$@" ;;
    done) say "$number/$total  $what: is so already" ;;
    *)
        say "$number/$total  $what: the pool is not as planned: $now"
        exit 1
        ;;
    esac
    echo "$number" >>"$progress"
}

at_end() {
    status=$?
    [ "$status" != 0 ] || return 0
    say "Stopped in step $number of $total: $what."
    say "What was done before stays. Mend it and run this again, which goes on here; or plan anew from a new dump."
    undo
}

number=0 what='nothing done yet'
trap at_end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if [ -e "$progress" ]; then say "Going on after an earlier run ($progress; without that file all begins anew)."; fi
"""
"""The functions of every script, in POSIX shell."""


def as_xe(heading: Sequence[str], actions: Sequence[Action]) -> bytes:
    """The actions as a POSIX shell script of xe commands, which ends at the first that fails.

    Each step says time and change, and first checks that the pool is as planned; what is so already is skipped, and
    what an earlier run has done. At a failure the script says how to go on, and what takes back what it did.

    Parameters
    ----------
    heading : lines of text for people: what the script does
    actions : in their order
    """
    steps = [
        f"step {number} {quote(printable(action.what))} {quote(action.check)} {action.command}"
        for number, action in enumerate(actions, 1)
    ]
    plan = sha256("\n".join(f"{action.check} {action.command}" for action in actions).encode()).hexdigest()[:16]
    undoing = [
        f"    if was_done {number}; then say {quote(f'To take back: {action.undo}')}; fi"
        for number, action in enumerate(actions, 1)
        if action.undo
    ]
    lines = ["#!/bin/sh", *(f"# {printable(text)}" for text in heading), "set -eu", ""]
    if any(action.command.startswith("restart_host ") for action in actions):
        lines.append(_RESTART_HOST)
    if any(action.command == "disable_ha" for action in actions):
        lines.append(_SWITCH_HA)
    lines += [f"total={len(actions)}", f'progress="${{HOME:-.}}/.xenmem-plan-{plan}"', ""]
    lines += ["undo() {", *(undoing or ["    :"]), "}", "", _STEPS, xe_lines.BEGIN, *steps, ""]
    lines += ['rm -f "$progress"', 'say "All is done."']
    return "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")


WRITERS: Final[dict[str, Callable[[Sequence[str], Sequence[Action]], bytes]]] = {
    "xe": as_xe,
    "messages": lambda _heading, actions: as_messages(actions),
}
"""What a plan can be written as, from a heading and its actions."""
