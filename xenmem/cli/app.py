"""The command `xenmem` as a whole: its group of commands, and how each run ends."""

import sys
from collections.abc import Sequence

import click

from xenmem.cli import accounting, failures, installation, moves
from xenmem.cli.streams import announce_compilation, complain, deliver, give_up
from xenmem.text import documentation


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
    except OSError as error:  # while --help or --version printed
        return give_up(error)
    except MemoryError:
        complain("there is not enough memory for this")
        return 2
    except (ValueError, OverflowError) as error:  # of an answer: no check before it has found what is wrong
        complain(str(error))
        return 2
    return deliver(answer)


def _begin() -> None:
    """The memory of Xen pools: what VMs cost, what is free, what fits, what an upgrade changes.

    INVENTORY is a pool database dump, XenAPI records as JSON, or the text of `xe ... params=all`, each also as gzip;
    `-` is standard input. Sizes are written as 16GiB, 1.5TiB, 4096MiB or bytes; all units are binary.
    """
    announce_compilation()


app = click.Group(
    "xenmem",
    [
        accounting.report,
        accounting.explain,
        accounting.maximise,
        accounting.fit,
        accounting.upgrade_check,
        moves.place,
        moves.pack,
        moves.evacuate,
        moves.consolidate,
        moves.rebalance,
        moves.rolling_update,
        failures.failover,
        failures.capacity,
        failures.balloon,
        accounting.what_if,
        accounting.messages,
        installation.info,
        installation.warm_up,
    ],
    callback=_begin,
    help=documentation(_begin),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=False,
)
click.version_option(package_name="xenmem", message="%(prog)s %(version)s")(app)
