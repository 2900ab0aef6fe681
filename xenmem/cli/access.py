"""How the command gets in to a pool that runs: its options, and the terminal's part, which asks.

Found in the click context of the running command. Knows no command.
"""

import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from xenmem.inventory.live.access import Access
    from xenmem.inventory.source import Source

_KEY: Final = "xenmem.access"


class AccessOption(click.Option):
    """Of commands that take an inventory; helps show them apart."""


def access_options() -> list[AccessOption]:
    """The options that every command with an inventory has; they reach `access`, not the command."""
    common: dict[str, Any] = {"expose_value": False, "callback": _noted}
    return [
        AccessOption(
            ["--password-file", "access_password_file"],
            metavar="FILE",
            help="Its first line is the password; else XENMEM_PASSWORD, a keyring, or you are asked.",
            **common,
        ),
        AccessOption(
            ["--ca", "access_ca"], metavar="FILE", help="Authorities that sign certificates of pools, as PEM.", **common
        ),
        AccessOption(
            ["--fingerprint", "access_fingerprints"],
            metavar="SHA256",
            multiple=True,
            help="Of the pool's certificate: this one, or one of several, is accepted.",
            **common,
        ),
        AccessOption(
            ["--accept-new", "access_accept_new"],
            is_flag=True,
            help="Trust and remember the certificate of a host that is not known yet.",
            **common,
        ),
        AccessOption(
            ["--insecure", "access_insecure"],
            is_flag=True,
            help="Accept any certificate, and plain HTTP; the answer says so.",
            **common,
        ),
    ]


def _noted(context: click.Context, parameter: click.Parameter, given: Any) -> None:
    context.meta.setdefault(_KEY, {})[str(parameter.name).removeprefix("access_")] = given


def access() -> "Access":
    """What the running command was told; on a terminal, somebody can be asked."""
    from xenmem.inventory.live.access import Access

    context = click.get_current_context(silent=True)
    given = context.meta.get(_KEY, {}) if context else {}
    asks = sys.stdin is not None and sys.stdin.isatty() and sys.stderr is not None and sys.stderr.isatty()
    return Access(**given, ask=_ask if asks else None, confirm=_confirm if asks else None)


def source(inventory: str) -> "Source":
    """What is read of an inventory: a pool that runs, or the file itself."""
    from xenmem.inventory.source import live

    pool = live(inventory, access())
    for note in pool.notes if pool is not None else ():
        click.echo(f"xenmem: warning: {note}", err=True)
    return pool or inventory


@cache
def _ask(what: str) -> str:
    return str(click.prompt(what, hide_input=True, err=True))


def _confirm(what: str) -> bool:
    return click.confirm(f"{what}\nTrust it from now on?", err=True)
