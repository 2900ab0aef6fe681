"""The command `schema`."""

import json

import click

from xenmem import answers
from xenmem.cli.arguments import command
from xenmem.cli.streams import Output


@command
@click.argument("name", metavar="COMMAND")
def schema(name: str) -> Output:
    """The JSON Schema of what a command prints with --format json."""
    return Output(f"{json.dumps(answers.schema(name), indent=2)}\n".encode())
