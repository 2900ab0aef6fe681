"""The command `what-if`."""

import sys
from collections.abc import Mapping

import click

from xenmem import answers
from xenmem.answers.what_if import FailedMessage, FieldEffect, HostEffect, WhatIf
from xenmem.cli.access import source
from xenmem.cli.arguments import command, format_option, inventory_argument, lenient_option, rows_of_csv
from xenmem.cli.layout import Column
from xenmem.cli.page import POLICY_LINES, Page, name_of
from xenmem.cli.show import show
from xenmem.cli.streams import Output
from xenmem.fleet import POLICIES
from xenmem.text import counted
from xenmem.units import format_size


@command
@inventory_argument
@click.argument("script", metavar="SCRIPT")
@click.option("--allow-network", is_flag=True, help="Let a Python script reach the network and start programs.")
@click.option(
    "--fields", is_flag=True, callback=rows_of_csv, help="With csv: the fields that change instead of the hosts."
)
@lenient_option
@format_option("table", "json", "csv")
def what_if(inventory: str, script: str, allow_network: bool, fields: bool, lenient: bool, form: str) -> Output:
    """Send messages to a copy of the pool in memory: hosts before and after, fields that change, messages that fail.

    SCRIPT ends in .py, and is run with `session`, and XenAPI.Session is the copy too; or it holds lines of xe, such as
    --emit xe writes and operators type; or JSON lines such as
    {"method": "VM.set_memory", "params": [{"name_label": "web"}, 4294967296]}. No real pool is ever reached.
    """
    if inventory == script == "-":
        raise click.UsageError("standard input can be read only once", click.get_current_context())
    if "-" in (inventory, script) and sys.stdin is None:
        raise click.ClickException("<stdin>: is closed")
    result = answers.what_if(source(inventory), script, lenient=lenient, allow_network=allow_network)
    if fields:
        return show(result, form, _table, FieldEffect, [(result, result.fields)])
    return show(result, form, _table, HostEffect, [(result, result.hosts)])


def _table(page: Page, result: WhatIf) -> None:
    """What a script of messages would change."""
    uuid = f" ({result.uuid})" if result.uuid and result.name_label else ""
    page.line(f"{result.script} on a copy of {name_of(result)}{uuid}, {result.source}", style="bold")
    page.bullets("Failures", map(_failure, result.failures), style="red")
    if result.stopped:
        page.bullets("The script ended early", [result.stopped], style="red")
    page.line()
    changed = [host for host in result.hosts if host.changes]
    if changed:
        times = ("before", "after")
        page.table(
            (
                Column("host", "name"),
                *(Column(f"VMs\n{time}", "number") for time in times),
                *(
                    Column(f"free\n{policy}\n{time}", rank=rank)
                    for policy, rank in zip(POLICY_LINES, (1, 2, 0), strict=True)
                    for time in times
                ),
            ),
            [
                (
                    name_of(host),
                    *(state.vms for state in (host.before, host.after)),
                    *(getattr(state.free, policy) for policy in POLICIES for state in (host.before, host.after)),
                )
                for host in changed
            ],
            noun="host",
        )
        page.line()
    names = {host.ref: name_of(host) for host in result.hosts} | {"OpaqueRef:NULL": "none"}
    if result.fields:
        page.table(
            (Column("object", "name"), Column("field", "text"), Column("before", "name"), Column("after", "name")),
            [
                (
                    f"{field.class_name} {name_of(field)}",
                    field.field or "itself",
                    *(_field_value(field.field, value, names) for value in (field.before, field.after)),
                )
                for field in result.fields
            ],
            noun="field",
        )
        page.line()
    same = len(result.hosts) - len(changed)
    page.line(f"{counted(same, 'host')} {'stays as it was' if same == 1 else 'stay as they were'}.")


def _failure(failure: FailedMessage) -> str:
    where = f"message {failure.number}" if failure.line is None else f"line {failure.line}"
    about = f" of {failure.subject}" if failure.subject else ""
    return f"{where}: {failure.message}{about}: {failure.text}"


def _field_value(field: str, value: str, names: Mapping[str, str]) -> str:
    return format_size(int(value)) if field.startswith("memory_") else names.get(value, value)
