"""The command `watch`."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

from xenmem import Mirror, answers
from xenmem.answers.report import HostReport
from xenmem.answers.watch import WatchedHost
from xenmem.cli import values
from xenmem.cli.access import access
from xenmem.cli.arguments import command, inventories_argument, lenient_option, seconds
from xenmem.cli.display import display
from xenmem.cli.page import amount, duration, host_name
from xenmem.cli.streams import Output, give_up
from xenmem.text import counted, printable

if TYPE_CHECKING:
    from rich.console import Group

_MARKED_SECONDS: Final = 3.0
"""So long a change is marked."""

Marks = dict[tuple[str, str, str], float]
"""What is marked, by pool, host and field, and since when."""

_COLUMNS: Final[Mapping[str, tuple[tuple[str, ...], Callable[[HostReport], str]]]] = {
    "host": (("name_label", "enabled", "live"), host_name),
    "VMs": (("vms",), lambda host: str(host.vms.count)),
    "total": (("memory_total",), lambda host: amount(host.memory_total)),
    "free, static": (("free",), lambda host: amount(host.free.static_max)),
    "free, dynamic": (("free",), lambda host: amount(host.free.dynamic_min)),
    "overcommitted": (("overcommitted",), lambda host: amount(host.overcommitted.static_max)),
    "measured free": (("memory_free",), lambda host: amount(host.memory_free)),
}
"""Of the table: heading, the fields whose change is marked, and what is shown of a host."""


@command
@inventories_argument
@click.option(
    "--interval",
    metavar="SECONDS",
    type=float,
    callback=seconds,
    default=1.0,
    show_default=True,
    help="Show changes so often at most.",
)
@lenient_option
def watch(inventories: tuple[str, ...], interval: float, lenient: bool) -> Output:
    """The hosts of pools that run, as they change: a table that is kept current, until Ctrl-C.

    In a pipe it is lines of JSON: each host at first, then a host whenever it changes. INVENTORY is the address or the
    profile of a pool that runs.
    """
    if display().output not in (None, "-"):
        raise click.UsageError(
            "watch has no end to write a file at: let a shell redirect it", click.get_current_context()
        )
    if sys.stdout is None:
        raise click.ClickException("<stdout>: is closed")
    with Mirror(*inventories, access=access(), lenient=lenient) as mirror, _until_a_signal() as ended:
        follow = _on_terminal if sys.stdout.isatty() else _in_a_pipe
        try:
            follow(mirror, lambda: not ended.wait(interval))
        except BrokenPipeError as error:  # whoever read it has had enough
            give_up(error)
    return Output(b"")


@contextmanager
def _until_a_signal() -> Iterator[threading.Event]:
    """What is set once SIGINT or SIGTERM comes, neither of which is an error here."""
    ended = threading.Event()
    before = {number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_a_pipe(mirror: Mirror, go_on: Callable[[], bool]) -> None:
    hosts: list[WatchedHost] = []
    fleet: object = None
    said: set[str] = set()
    while True:
        if mirror.fleet is not fleet:
            fleet = mirror.fleet
            hosts = answers.watch(mirror.fleet, mirror.read_at, hosts)
            lines = b"".join(values.to_line(one, "watch") for one in hosts if one.changed)
            sys.stdout.buffer.write(lines)
            sys.stdout.buffer.flush()
        errors = {pool.error for pool in mirror.pools if pool.error}
        for error in errors - said:
            click.echo(f"xenmem: warning: {printable(error)}", err=True)
        said = errors
        if not go_on():
            return


def _on_terminal(mirror: Mirror, go_on: Callable[[], bool]) -> None:
    from rich.console import Console
    from rich.live import Live

    color = display().color
    console = Console(no_color=color == "never" or None, force_terminal=True if color == "always" else None)
    hosts: list[WatchedHost] = []
    marks: Marks = {}
    fleet: object = None
    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        while True:
            now = time.monotonic()
            if mirror.fleet is not fleet:
                is_first, fleet = fleet is None, mirror.fleet
                hosts = answers.watch(mirror.fleet, mirror.read_at, hosts)
                marks |= {
                    (one.pool_uuid, one.host.ref, name): now
                    for one in hosts
                    for name in ([] if is_first else one.changed)
                }
            marks = {mark: since for mark, since in marks.items() if now - since < _MARKED_SECONDS}
            live.update(_screen(mirror, hosts, marks), refresh=True)
            if not go_on():
                return


def _screen(mirror: Mirror, hosts: Sequence[WatchedHost], marks: Marks) -> "Group":
    """A line about each pool, and the table of hosts."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in _COLUMNS:
        table.add_column(heading, justify="left" if heading == "host" else "right", overflow="fold")
    there = [one for one in hosts if one.operation != "del"]
    for one in there:
        style = "red" if one.host.overcommitted.static_max else "" if one.host.enabled and one.host.live else "yellow"
        marked = {field for pool, host, field in marks if (pool, host) == (one.pool_uuid, one.host.ref)}
        cells = [
            Text(printable(shown(one.host)), "" if marked.isdisjoint(fields) else "reverse")
            for fields, shown in _COLUMNS.values()
        ]
        table.add_row(*cells, style=style)
    lines = []
    for pool in mirror.pools:
        mine = [one for one in there if one.pool_uuid == pool.uuid]
        name = mine[0].pool_name_label if mine else ""
        state = f"{pool.error} (as it was {duration(pool.age)} ago)" if pool.error else f"{duration(pool.age)} old"
        text = f"{name or pool.name}: {counted(len(mine), 'host')}, {state}"
        lines.append(Text(printable(text), "yellow" if pool.error else "bold"))
    return Group(*lines, Text(), table)
