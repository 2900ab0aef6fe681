"""The command `xenmem` as a whole: its commands, each in the file of its name, and how each run ends.

A command's file is imported when it is asked for: start-up time counts.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

import click

from xenmem.cli.streams import announce_compilation, complain, deliver, give_up
from xenmem.text import documentation

COMMANDS: Final = {
    "report": "Where memory is, what is free, what is amiss.",
    "explain": "One VM piece by piece, and where it could start.",
    "maximise": "The largest memory with which a VM still starts.",
    "fit": "How many more VMs of a size fit, and where.",
    "upgrade-check": "What another version of xapi changes.",
    "place": "Where a VM would start, by the pool's choice and by room.",
    "pack": "A place for every VM, by an objective.",
    "evacuate": "How to empty a host.",
    "consolidate": "Which hosts can be emptied.",
    "rebalance": "The best balance for a number of migrations.",
    "rolling-update": "A rolling pool update, planned before it starts.",
    "failover": "Whether all VMs run again after host failures.",
    "capacity": "How many more VMs fit while hosts may still fail.",
    "balloon": "Where other VMs are squeezed to when one starts.",
    "what-if": "What a script of messages would change.",
    "messages": "The messages that a pool in memory answers.",
    "serve": "Pools in memory, for XenAPI clients on the network.",
    "password": "A line for the password file of serve.",
    "info": "Version, models, backends, SIMD level, threads, CPU.",
    "warm-up": "Compile all searches ahead of time.",
}


def run(arguments: Sequence[str] | None) -> int:
    """Run a command and print its answer; see ``xenmem.cli.main``."""
    try:
        with app.make_context("xenmem", list(sys.argv[1:] if arguments is None else arguments)) as context:
            answer: bytes = app.invoke(context)
    except click.exceptions.Exit as end:  # --help and --version have printed their answer
        return end.exit_code
    except click.UsageError as error:
        hint = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        complain(error.format_message().rstrip(".") + hint)
        return 2
    except click.ClickException as error:
        complain(error.format_message())
        return 2
    except OSError as error:
        if error.filename is None:  # while --help or --version printed
            return give_up(error)
        complain(f"{error.filename}: {error.strerror}")
        return 2
    except MemoryError:
        complain("there is not enough memory for this")
        return 2
    except (ValueError, OverflowError) as error:  # of a reader or an answer
        complain(str(error))
        return 2
    return deliver(answer)


class _Commands(click.Group):
    """Those that are named above, imported when they are to run."""

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(context, arguments)
        if name is not None:
            stem = name.replace("-", "_")
            command = getattr(import_module(f"xenmem.cli.{stem}"), stem)
        return name, command, rest


def _begin() -> None:
    """The memory of Xen pools: what VMs cost, what is free, what fits, what an upgrade changes.

    INVENTORY is a pool database dump, XenAPI records as JSON, or the text of `xe ... params=all`, each also as gzip;
    `-` is standard input. Sizes are written as 16GiB, 1.5TiB, 4096MiB or bytes; all units are binary.
    """
    announce_compilation()


app = _Commands(
    "xenmem",
    [click.Command(name, short_help=about) for name, about in COMMANDS.items()],
    callback=_begin,
    help=documentation(_begin),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=False,
)
click.version_option(package_name="xenmem", message="%(prog)s %(version)s")(app)
