"""The tables about messages: what a script of them would change, and which there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xenmem.answers.naming import counted
from xenmem.cli.page import POLICY_LINES, Page, name_of
from xenmem.fleet import POLICIES
from xenmem.units import format_size

if TYPE_CHECKING:
    from xenmem.answers.messages import Declarations, MessageDeclaration
    from xenmem.answers.what_if import FailedMessage, WhatIf


def trial(result: WhatIf) -> bytes:
    """What a script of messages would change."""
    page = Page()
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
    return page.bytes()


def _failure(failure: FailedMessage) -> str:
    where = f"message {failure.number}" if failure.line is None else f"line {failure.line}"
    return f"{where}: {failure.message}: {failure.code} [{'; '.join(failure.parameters)}]"


def _field_value(field: str, value: str) -> str:
    return format_size(int(value)) if field.startswith("memory_") else value


def declarations(result: Declarations) -> bytes:
    """One line for each message; one alone in full."""
    page = Page()
    if len(result.messages) == 1:
        (message,) = result.messages
        page.line(f"{_signature(message)} -> {message.result}", style="bold")
        page.line(_about(message))
        page.line()
        for line in message.doc.splitlines():
            page.line(line)
        page.bullets("Fails with", message.errors)
        return page.bytes()
    page.table(
        ("message", "<result", "<role", "<async", "<summary"),
        (
            (
                _signature(message),
                message.result,
                message.role,
                "yes" if message.has_async else "no",
                message.doc.partition("\n")[0],
            )
            for message in result.messages
        ),
    )
    return page.bytes()


def _signature(message: MessageDeclaration) -> str:
    parameters = (
        f"{parameter.name}: {parameter.type}" + ("" if parameter.default is None else f" = {parameter.default}")
        for parameter in message.parameters
    )
    return f"{message.name}({', '.join(parameters)})"


def _about(message: MessageDeclaration) -> str:
    since = [f"since {message.since}"] if message.since else []
    return ", ".join((f"role {message.role}", "sync and Async" if message.has_async else "no Async form", *since))
