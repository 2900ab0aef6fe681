"""The command `man`: the manual page, made of what the parser knows."""

import re
from collections.abc import Iterator
from importlib import import_module

import click

from xenmem.cli.app import COMMANDS, GROUPS, app
from xenmem.cli.arguments import command
from xenmem.cli.status import MEANINGS
from xenmem.cli.streams import Output


@command
def man() -> Output:
    """The manual page in roff: `xenmem man | man -l -`."""
    return Output("".join(f"{line}\n" for line in _page()).encode())


def _page() -> Iterator[str]:
    yield '.TH XENMEM 1 "" xenmem "User Commands"'
    yield from (".SH NAME", "xenmem \\- the memory of Xen pools: what VMs cost, what is free, what fits, what survives")
    yield from (".SH SYNOPSIS", ".B xenmem", ".I COMMAND INVENTORY", "[...]")
    yield from (".SH DESCRIPTION", *_prose(app.help or ""))
    for group in GROUPS:
        yield f".SH {_text(group).upper()}"
        for name, about in COMMANDS.items():
            if about.group == group:
                yield from _command(name)
    yield ".SH EXIT STATUS"
    for status, meaning in MEANINGS.items():
        yield from (".TP", f".B {status.value}", _text(meaning))
    yield ".SH ENVIRONMENT"
    for variable, meaning in _VARIABLES:
        yield from (".TP", f".B {variable}", _text(meaning))
    yield from (".SH FILES", ".TP", f".I {_text('~/.config/xenmem/config.toml')}", "The configuration file (TOML):")
    yield _text("inventory, and options of all commands; in tables named as commands the options of these.")
    yield from (".TP", f".I {_text('~/.config/xenmem/pools.toml')}", "Profiles of pools that run (TOML): tables, each")
    yield _text("with address, and user, password-file, password-env, ca, fingerprint or insecure.")
    yield from (".TP", f".I {_text('~/.config/xenmem/known_hosts')}", "Fingerprints of certificates that are trusted.")


_VARIABLES = (
    ("XENMEM_INVENTORY", "the inventory where the command line names none"),
    ("XENMEM_CONFIG", "the configuration file"),
    ("XENMEM_PASSWORD", "the password at pools that run"),
    ("XENMEM_THREADS, XENMEM_SIMD", "limits of threads and instruction set"),
    ("NUMBA_CACHE_DIR", "where compiled searches are kept"),
    ("COLUMNS", "the width of what is printed"),
    ("NO_COLOR", "no colour"),
)


def _command(name: str) -> Iterator[str]:
    stem = name.replace("-", "_")
    found: click.Command = getattr(import_module(f"xenmem.cli.{stem}"), stem)
    context = click.Context(found, info_name=name, parent=click.Context(app, info_name="xenmem"))
    usage = " ".join(["xenmem", name, *found.collect_usage_pieces(context)])
    yield f".SS {_text(usage)}"
    yield from _prose(found.help or "")
    for parameter in found.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1]:
            yield from (".TP", f".B {_text(record[0])}", _text(record[1]))
    for purpose, example in COMMANDS[name].examples:
        if purpose:
            yield from (
                ".PP",
                _text(purpose[0].upper() + purpose[1:] + ":"),
                ".RS",
                ".EX",
                _text(f"xenmem {example}"),
                ".EE",
                ".RE",
            )


def _prose(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text.replace("\b", "").strip()):
        yield from (".PP", _text(" ".join(paragraph.split())))


def _text(text: str) -> str:
    """As roff takes it: no escapes, and no line that begins as a request does."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
