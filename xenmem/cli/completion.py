"""The command `completion`, and what it completes: commands, options, and the VMs and hosts of the inventory.

Names are kept beside the user's other caches, by the inventory's path, size and time, as reading it may take seconds.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class, shell_complete

from xenmem.cli.arguments import command
from xenmem.cli.streams import Output

VARIABLE = "_XENMEM_COMPLETE"
"""By which the shell asks for completions."""


@command
@click.argument("shell", metavar="SHELL", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> Output:
    """The completion of a shell: of commands, options, and names of VMs and hosts.

    \b
    bash:  echo 'eval "$(xenmem completion bash)"' >> ~/.bashrc
    zsh:   echo 'eval "$(xenmem completion zsh)"' >> ~/.zshrc
    fish:  xenmem completion fish > ~/.config/fish/completions/xenmem.fish
    """
    from xenmem.cli.app import app

    found = get_completion_class(shell)
    assert found is not None
    made = found(app, {}, "xenmem", VARIABLE)
    return Output((made.source_template % made.source_vars()).encode())


def complete(app: click.Command, instruction: str) -> int:
    """Answer a shell that asks for completions; whatever is wrong, there are none."""
    with suppress(Exception):
        return shell_complete(app, {}, "xenmem", VARIABLE, instruction)
    return 1


def completions(table: str, context: click.Context, incomplete: str) -> list[CompletionItem]:
    """Files, which the shell knows, or names of the inventory on the command line, or of the default one.

    Parameters
    ----------
    table : ``files``, ``vms`` or ``hosts``
    incomplete : of several names with commas between them, the last is completed
    """
    if table == "files":
        return [CompletionItem(incomplete, type="file")]
    given: Any = context.params.get("inventories") or [context.params.get("inventory")]
    head, separator, last = incomplete.rpartition(",")
    names = (name for path in given if path for name in _names(str(path))[table])
    return [CompletionItem(head + separator + name) for name in sorted(set(names)) if name.startswith(last)]


def _names(path: str) -> dict[str, list[str]]:
    if not os.path.isfile(path):  # noqa: PTH113 - no pipe is read
        return {"vms": [], "hosts": []}
    status = os.stat(path)  # noqa: PTH116
    key = hashlib.sha256(f"{os.path.realpath(path)}:{status.st_mtime_ns}:{status.st_size}".encode()).hexdigest()
    folder = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "xenmem", "names")  # noqa: PTH111, PTH118
    kept = os.path.join(folder, f"{key}.json")  # noqa: PTH118
    with suppress(OSError, ValueError), open(kept, "rb") as file:  # noqa: PTH123
        found: dict[str, list[str]] = json.load(file)
        return found
    from xenmem import read

    fleet = read(path, lenient=True)
    shown = ~fleet.vms.is_a_template & ~fleet.vms.is_a_snapshot & ~fleet.vms.is_control_domain
    found = {"vms": _plain(fleet.vms.name_label[shown]), "hosts": _plain(fleet.hosts.name_label)}
    with suppress(OSError):
        os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103
        with open(kept, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            json.dump(found, file)
    return found


def _plain(names: Iterable[str]) -> list[str]:
    return [name for name in names if name and name.isprintable()]
