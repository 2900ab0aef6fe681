"""How the answer is to be shown, as every command's common options say: width, rows, colour, file.

Found in the click context of the running command; outside of one it is the default. Knows no command.
"""

from typing import Any, Final, NamedTuple

import click

_KEY: Final = "xenmem.display"


class Display(NamedTuple):
    """How to show it.

    Attributes
    ----------
    wide : all columns, at their full width
    all : every row
    color : auto, always or never
    output : path of the file to write; None and ``-`` are standard output
    """

    wide: bool = False
    all: bool = False
    color: str = "auto"
    output: str | None = None


def display() -> Display:
    """What the running command was told."""
    context = click.get_current_context(silent=True)
    found: Display = context.meta.get(_KEY, Display()) if context else Display()
    return found


def write_to(path: str) -> None:
    """Have the running command's answer written to this file."""
    click.get_current_context().meta[_KEY] = display()._replace(output=path)


def _noted(context: click.Context, parameter: click.Parameter, given: Any) -> None:
    context.meta[_KEY] = context.meta.get(_KEY, Display())._replace(
        **{str(parameter.name).removeprefix("show_"): given}
    )


def display_options() -> list[click.Option]:
    """The options that every command has; they reach the page, not the command."""
    common: dict[str, Any] = {"expose_value": False, "callback": _noted, "is_eager": True}
    return [
        click.Option(
            ["--wide", "show_wide"], is_flag=True, help="All columns and whole names, however wide.", **common
        ),
        click.Option(["--all", "show_all"], is_flag=True, help="All rows of long tables.", **common),
        click.Option(["-o", "--output", "show_output"], metavar="FILE", help="Write the answer to FILE.", **common),
        click.Option(
            ["--color", "show_color"],
            type=click.Choice(("auto", "always", "never")),
            default="auto",
            show_default=True,
            help="Colour; NO_COLOR is heeded.",
            **common,
        ),
    ]
