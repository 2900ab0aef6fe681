"""The command `password`."""

import sys

import click

from xenmem.cli.arguments import command
from xenmem.cli.streams import Output


@command
@click.argument("name", metavar="NAME")
@click.option(
    "--role",
    type=click.Choice(("pool-admin", "pool-operator", "vm-power-admin", "vm-admin", "vm-operator", "read-only")),
    default="pool-admin",
    show_default=True,
    help="What they may do.",
)
def password(name: str, role: str) -> Output:
    """A line for the password file of `serve`: a user, and a hash of the password that is asked for or read."""
    from xenmem.datamodel import Role
    from xenmem.server import passwords

    if sys.stdin is None:
        raise click.ClickException("<stdin>: is closed")
    if sys.stdin.isatty():
        given = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    if not given:
        raise click.ClickException("the password is empty")
    return Output(f"{passwords.line(name, given, Role.named(role))}\n".encode())
