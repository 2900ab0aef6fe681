"""The command `messages`."""

import click

from xenmem import answers
from xenmem.answers.messages import Declarations, MessageDeclaration
from xenmem.cli.arguments import command, format_option
from xenmem.cli.layout import Column
from xenmem.cli.page import Page
from xenmem.cli.show import show
from xenmem.cli.streams import Output


@command
@click.argument("name", metavar="[NAME]", default="")
@click.option("--all", "generated", is_flag=True, help="Also those that read or set a field, or list records.")
@format_option("table", "json")
def messages(name: str, generated: bool, form: str) -> Output:
    """The messages that `what-if` and the library answer, as they are declared.

    NAME is a message (VM.set_memory) or a class (VM).
    """
    return show(answers.declarations(name, generated=generated), form, _table)


def _table(page: Page, result: Declarations) -> None:
    """One line for each message; one alone in full."""
    if len(result.messages) == 1:
        (message,) = result.messages
        page.line(f"{_signature(message)} -> {message.result}", style="bold")
        page.line(_about(message))
        page.line()
        for line in message.doc.splitlines()[1:]:
            page.line(line)
        page.bullets("Fails with", message.errors)
        return
    page.table(
        (
            Column("message", "text"),
            Column("result", "text", rank=3),
            Column("role", "text", rank=2),
            Column("async", "text", rank=4),
            Column("standing", "text", rank=1),
            Column("summary", "text"),
        ),
        (
            (
                _signature(message),
                message.result,
                message.role,
                "yes" if message.has_async else "no",
                message.standing,
                message.doc.partition("\n")[0],
            )
            for message in result.messages
        ),
        every=True,
    )


def _signature(message: MessageDeclaration) -> str:
    parameters = (
        f"{parameter.name}: {parameter.type}" + ("" if parameter.default is None else f" = {parameter.default}")
        for parameter in message.parameters
    )
    return f"{message.name}({', '.join(parameters)})"


def _about(message: MessageDeclaration) -> str:
    standing = [message.standing] if message.standing != "answered" else []
    since = [f"since {message.since}"] if message.since else []
    return ", ".join(
        (*standing, f"role {message.role}", "sync and Async" if message.has_async else "no Async form", *since)
    )
