"""The command `serve`."""

import os
import sys
from collections.abc import Callable
from functools import partial

import click

from xenmem.cli.access import source
from xenmem.cli.arguments import command, inventories_argument, lenient_option
from xenmem.cli.streams import Output


@command
@inventories_argument
@click.option(
    "--listen",
    metavar="ADDRESS:PORT",
    multiple=True,
    default=("127.0.0.1:8080",),
    show_default=True,
    help="Where, once for each pool. Other than loopback takes TLS and a password file.",
)
@click.option("--user", metavar="NAME", help="The one who may log in; by default root, or all of the password file.")
@click.option(
    "--password-file", metavar="FILE", help="Users, made by `xenmem password`. Without it a password is made."
)
@click.option("--tls", is_flag=True, help="Over TLS, with a certificate that is made now, for a trial.")
@click.option("--tls-cert", metavar="FILE", help="Over TLS, with this certificate.")
@click.option("--tls-key", metavar="FILE", help="The certificate's key.")
@click.option("--members", is_flag=True, help="An address for each host, from --listen's on; host.address says so.")
@click.option("--state", metavar="FILE", help="Keep every change; where the file exists, go on from it.")
@click.option("--socket", metavar="PATH", help="Also at a socket of the file system, without a password: your own.")
@click.option("--read-only", is_flag=True, help="Refuse every change.")
@click.option("--web", is_flag=True, help="Show the pool in a browser at /, live, with a panel to ask what if.")
@click.option(
    "--pace",
    type=click.Choice(("real", "jump")),
    default="real",
    show_default=True,
    help="Whether what takes time takes time.",
)
@lenient_option
def serve(
    inventories: tuple[str, ...],
    listen: tuple[str, ...],
    user: str | None,
    password_file: str | None,
    tls: bool,
    tls_cert: str | None,
    tls_key: str | None,
    members: bool,
    state: str | None,
    socket: str | None,
    read_only: bool,
    web: bool,
    pace: str,
    lenient: bool,
) -> Output:
    """Serve pools in memory to XenAPI clients, one from each INVENTORY, until Ctrl-C.

    What clients change is changed in the copy alone, never where the inventory came from.
    """
    try:
        from xenmem.server.run import Address, Configuration, serve
    except ModuleNotFoundError as error:
        raise click.ClickException(f"serve needs {error.name}: pip install 'xenmem[server]'") from None
    from xenmem.xenapi import Database, Pace
    from xenmem.xenapi.store import loading

    configuration = Configuration(
        [Address.of(one) for one in listen],
        user=user,
        password_file=password_file,
        certificate=tls_cert,
        key=tls_key,
        tls=tls or tls_cert is not None,
        pace=Pace[pace.upper()],
        read_only=read_only,
        members=members,
        state_file=state,
        web=web,
        socket=socket,
    )
    if inventories.count("-") > 1:
        raise click.UsageError("standard input can be read only once", click.get_current_context())
    makers: list[Callable[[], Database]] = [partial(loading.read, source(one), lenient=lenient) for one in inventories]
    serve(makers, configuration, _tell)
    return Output(b"")


def _tell(line: str) -> None:
    try:
        print(f"xenmem: {line}", flush=True)
    except OSError:  # whoever started the server does not listen
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
