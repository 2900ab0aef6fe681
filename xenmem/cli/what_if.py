"""The command `what-if`."""

import sys

import click

from xenmem import answers
from xenmem.answers.what_if import FailedMessage, FieldEffect, HostEffect, WhatIf
from xenmem.cli.arguments import command, format_option, inventory_argument, lenient_option
from xenmem.cli.page import POLICY_LINES, Page, name_of
from xenmem.cli.show import show
from xenmem.cli.streams import Output
from xenmem.fleet import POLICIES
from xenmem.text import counted
from xenmem.units import format_size


@command
@inventory_argument
@click.argument("script", metavar="SCRIPT")
@click.option("--fields", is_flag=True, help="With csv: the fields that change instead of the hosts.")
@lenient_option
@format_option("table", "json", "csv")
def what_if(inventory: str, script: str, fields: bool, lenient: bool, form: str) -> Output:
    """Send messages to a copy of the pool in memory: hosts before and after, fields that change, messages that fail.

    SCRIPT ends in .py, and is run with `session`, as of XenAPI.Session; or holds JSON lines such as
    {"method": "VM.set_memory", "params": [{"name_label": "web"}, 4294967296]}.
    """
    if inventory == script == "-":
        raise click.UsageError("standard input can be read only once", click.get_current_context())
    if "-" in (inventory, script) and sys.stdin is None:
        raise click.ClickException("<stdin>: is closed")
    result = answers.what_if(inventory, script, lenient=lenient)
    if fields:
        return show(result, form, _table, FieldEffect, [(result, result.fields)])
    return show(result, form, _table, HostEffect, [(result, result.hosts)])


def _table(page: Page, result: WhatIf) -> None:
    """What a script of messages would change."""
    uuid = f" ({result.uuid})" if result.uuid and result.name_label else ""
    page.line(f"Pool {name_of(result)}{uuid}", style="bold")
    failed = f", {len(result.failures)} failed" if result.failures else ""
    page.line(f"{result.script} on {result.source}: {counted(result.messages, 'message')}{failed}")
    page.bullets("Failures", map(_failure, result.failures), style="yellow")
    if result.stopped:
        page.bullets("The script ended early", [result.stopped], style="yellow")
    page.line()
    changed = [host for host in result.hosts if host.changes]
    if changed:
        page.table(
            (
                "host",
                "VMs\nbefore",
                "VMs\nafter",
                *(f"free\n{policy}\n{time}" for policy in POLICY_LINES for time in ("before", "after")),
            ),
            (
                (
                    name_of(host),
                    *(str(state.vms) for state in (host.before, host.after)),
                    *(
                        format_size(getattr(state.free, policy))
                        for policy in POLICIES
                        for state in (host.before, host.after)
                    ),
                )
                for host in changed
            ),
        )
        page.line()
    if result.fields:
        page.table(
            ("object", "<field", "before", "after"),
            (
                (
                    f"{field.class_name} {name_of(field)}",
                    field.field or "itself",
                    *(_field_value(field.field, value) for value in (field.before, field.after)),
                )
                for field in result.fields
            ),
        )
        page.line()
    same = len(result.hosts) - len(changed)
    page.line(
        f"{counted(len(changed), 'host')} and {counted(len(result.fields), 'field')} change; "
        f"{counted(same, 'host')} {'stays' if same == 1 else 'stay'} as before."
    )


def _failure(failure: FailedMessage) -> str:
    where = f"message {failure.number}" if failure.line is None else f"line {failure.line}"
    return f"{where}: {failure.message}: {failure.code} [{'; '.join(failure.parameters)}]"


def _field_value(field: str, value: str) -> str:
    return format_size(int(value)) if field.startswith("memory_") else value
