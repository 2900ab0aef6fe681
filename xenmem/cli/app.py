"""The command `xenmem` as a whole: its commands, each in the file of its name, and how each run ends.

A command's file is imported when it is asked for: start-up time counts.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NamedTuple

import click

from xenmem.cli.display import Display
from xenmem.cli.status import MEANINGS, Status
from xenmem.cli.streams import Output, announce_compilation, complain, deliver, give_up
from xenmem.text import documentation


class About(NamedTuple):
    """A command in the helps: its group, what it answers, and commands to try with what each is for."""

    group: str
    text: str
    examples: tuple[tuple[str, str], ...] = ()


COMMANDS: Final = {
    "report": About(
        "What there is",
        "Where memory is, what is free, what is amiss.",
        (
            ("what is free on every host", "report pool.xml"),
            ("the VMs, the largest first", "report pool.xml --vms --sort memory_static_max"),
            ("for a spreadsheet", "report pool.xml --format csv -o hosts.csv"),
        ),
    ),
    "check": About(
        "What there is",
        "What is amiss, will fail or wastes memory, and what to do.",
        (
            ("what is amiss", "check pool.xml"),
            ("one rule, object by object", "check pool.xml --rule M02"),
            ("in a pipeline", "check pool.xml --fail-on W --format ndjson"),
        ),
    ),
    "watch": About(
        "What there is",
        "The hosts of pools that run, as they change.",
        (
            ("a table that is kept current", "watch https://root@pool.example"),
            ("whoever gets full", "watch lab | jq 'select(.host.free.dynamic_min < 1e10)'"),
        ),
    ),
    "explain": About(
        "What there is",
        "One VM piece by piece, and where it could start.",
        (("what a VM really takes", "explain pool.xml web-1"),),
    ),
    "plot": About(
        "What there is",
        "A picture: hosts, failures, a plan, overheads.",
        (
            ("where the memory of each host is", "plot pool.xml hosts.svg"),
            ("before and after a plan", "plot pool.xml plan.png --kind evacuate --host host-3"),
        ),
    ),
    "info": About("xenmem itself", "Version, models, backends, SIMD level, threads, CPU.", (("", "info"),)),
    "completion": About(
        "xenmem itself",
        "Completion of bash, zsh or fish, with names of VMs and hosts.",
        (("for this shell", 'eval "$(xenmem completion bash)"'),),
    ),
    "man": About("xenmem itself", "The manual page.", (("read it", "man | man -l -"),)),
    "schema": About("xenmem itself", "The JSON Schema of a command's answer.", (("of fit", "schema fit"),)),
    "warm-up": About("xenmem itself", "Compile all searches ahead of time.", (("", "warm-up"),)),
    "messages": About(
        "What a change does",
        "The messages that a pool in memory answers.",
        (("all of a class", "messages VM"), ("one of them", "messages VM.start_on")),
    ),
    "fit": About(
        "What fits",
        "How many more VMs of a size fit, and where.",
        (
            ("is there room for a VM of 64 GiB", "fit pool.xml --memory 64GiB --vcpus 8"),
            ("for three of them", "fit pool.xml --memory 64GiB --vcpus 8 --count 3"),
        ),
    ),
    "maximise": About(
        "What fits",
        "The largest memory with which a VM still starts.",
        (
            ("how far a VM can grow, and where", "maximise pool.xml web-1"),
            ("within a total of its own", "maximise pool.xml web-1 --total 64GiB"),
        ),
    ),
    "capacity": About(
        "What fits",
        "How many more VMs fit while hosts may still fail.",
        (
            ("one host may fail", "capacity pool.xml --memory 16GiB --vcpus 4 --failures 1"),
            ("a mix, two small ones for each large one", "capacity pool.xml --shape 4GiB:2:2 --shape 64GiB:8:1"),
        ),
    ),
    "upgrade-check": About(
        "What a change does",
        "What another version of xapi changes.",
        (
            ("before an upgrade", "upgrade-check pool.xml --to 26.3"),
            ("a product", "upgrade-check pool.xml --to xcp-ng-9"),
        ),
    ),
    "what-if": About(
        "What a change does",
        "What a script of messages would change.",
        (
            ("try a plan before it runs", "what-if pool.xml plan.sh"),
            ("or a Python script", "what-if pool.xml change.py"),
        ),
    ),
    "balloon": About(
        "What a change does",
        "Where other VMs are squeezed to when one starts.",
        (("who gives memory for a VM", "balloon pool.xml web-1"),),
    ),
    "matrix": About(
        "Where VMs go",
        "Which VMs can run on which hosts, memory apart.",
        (
            ("who is bound to a host, and why", "matrix pool.xml"),
            ("every kind on every host", "matrix pool.xml --format csv -o matrix.csv"),
        ),
    ),
    "place": About(
        "Where VMs go",
        "Where a VM would start, by the pool's choice and by room.",
        (
            ("where it starts", "place pool.xml web-1"),
            ("start it there", "place pool.xml web-1 --emit xe -o start.sh"),
        ),
    ),
    "pack": About(
        "Where VMs go",
        "A place for every VM, by an objective.",
        (
            ("do all VMs fit", "pack pool.xml"),
            ("on as few hosts as possible", "pack pool.xml --objective fewest-hosts"),
        ),
    ),
    "evacuate": About(
        "Where VMs go",
        "How to empty a host.",
        (
            ("can this host be rebooted", "evacuate pool.xml host-3"),
            ("the plan as a script", "evacuate pool.xml host-3 --emit xe -o plan.sh"),
        ),
    ),
    "consolidate": About(
        "Where VMs go",
        "Which hosts can be emptied.",
        (("which hosts could be switched off", "consolidate pool.xml"),),
    ),
    "rebalance": About(
        "Where VMs go",
        "The best balance for a number of migrations.",
        (("with five migrations", "rebalance pool.xml --migrations 5"),),
    ),
    "rolling-update": About(
        "Where VMs go",
        "A rolling pool update, planned before it starts.",
        (("from the first restart to the last", "rolling-update pool.xml --to xcp-ng-9"),),
    ),
    "failover": About(
        "What survives",
        "Whether all VMs run again after host failures.",
        (
            ("any one host fails", "failover pool.xml --failures 1"),
            ("how many may fail, of all running VMs", "failover pool.xml --restart running"),
            ("what would make it survive", "failover pool.xml --failures 2 --remedy"),
        ),
    ),
    "history": About(
        "Over time",
        "What changed between two moments.",
        (
            ("in a folder of snapshots, in the last week", "history snapshots --from 7d"),
            ("between two inventories", "history old.xml new.xml"),
        ),
    ),
    "runway": About(
        "Over time",
        "How many days host failures are survived, or VMs fit.",
        (
            ("until N+1 is lost", "runway snapshots"),
            ("until a VM no longer fits", "runway snapshots --memory 16GiB --vcpus 4"),
        ),
    ),
    "rightsize": About(
        "Over time",
        "VMs that use far less or more than they have.",
        (
            ("by what a bug report tells", "rightsize pool.xml --use bug-report.tar.bz2"),
            ("by what was collected, and keep it", "rightsize pool.xml --use answers/ --keep use.parquet"),
        ),
    ),
    "convert": About(
        "Other programs",
        "An inventory in another format: Parquet, Arrow, JSON, XML.",
        (
            ("read once, ask often", "convert pool.xml pool.parquet"),
            ("a snapshot for a history, from cron", "convert pool.xml snapshots/"),
        ),
    ),
    "serve": About(
        "Other programs",
        "Pools in memory, for XenAPI clients on the network.",
        (("for clients of this machine", "serve pool.xml"),),
    ),
    "exporter": About(
        "Other programs",
        "Metrics of pools that run, for Prometheus.",
        (("of a pool, on this machine", "exporter https://root@pool.example"),),
    ),
    "password": About(
        "Other programs",
        "A line for the password file of serve.",
        (("users of an endpoint", "password root >> users"),),
    ),
}
"""By name; helps show them by group, the groups in the order below."""

GROUPS: Final = (
    "What there is",
    "What fits",
    "What survives",
    "Where VMs go",
    "What a change does",
    "Over time",
    "Other programs",
    "xenmem itself",
)


_FIRST_WORDS: Final = """\
xenmem answers the memory questions of Xen pools, and changes nothing. Try:

  xenmem report POOL                          where memory is, what is free
  xenmem check POOL                           what will fail, and what to do
  xenmem fit POOL --memory 16GiB --vcpus 4    how many more VMs fit, and where
  xenmem failover POOL --failures 1           whether any host may fail

POOL is the file of `xe pool-dump-database file-name=FILE`, or an address such
as https://root@pool.example. `xenmem help` names all commands.
"""


def run(arguments: Sequence[str] | None) -> int:
    """Run a command and print its answer; see ``xenmem.cli.main``."""
    if "_XENMEM_COMPLETE" in os.environ:
        from xenmem.cli.completion import complete

        return complete(app, os.environ["_XENMEM_COMPLETE"])
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given:
        return deliver(Output(_FIRST_WORDS.encode()))
    try:
        with app.make_context("xenmem", given) as context:
            answer: Output = app.invoke(context)
            path = context.meta.get("xenmem.display", Display()).output
    except click.exceptions.Exit as end:  # --help and --version have printed their answer
        return end.exit_code
    except click.UsageError as error:
        lacks = error.param.name if isinstance(error, click.MissingParameter) and error.param else ""
        also = "or set XENMEM_INVENTORY; " if lacks in ("inventory", "inventories") else ""
        hint = f" ({also}see {error.ctx.command_path} --help)" if error.ctx else ""
        complain(error.format_message().rstrip(".") + hint)
        return Status.MISTAKE
    except click.ClickException as error:
        complain(error.format_message())
        return Status.MISTAKE
    except OSError as error:
        if error.filename is None:  # while --help or --version printed
            return give_up(error)
        complain(f"{error.filename}: {error.strerror}")
        return Status.MISTAKE
    except MemoryError:
        complain("there is not enough memory for this")
        return Status.MISTAKE
    except (ValueError, OverflowError) as error:  # of a reader or an answer
        complain(str(error))
        from xenmem.inventory.error import OutOfReachError

        return Status.UNKNOWN if isinstance(error, OutOfReachError) else Status.MISTAKE
    return deliver(answer, path)


class _Commands(click.Group):
    """Those that are named above, imported when they are to run."""

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if arguments[0] == "help":  # `xenmem help fit` is `xenmem fit --help`
            arguments = [*arguments[1:2], "--help"]
        if arguments[0] == "--help":
            click.echo(context.get_help())
            context.exit()
        name, command, rest = super().resolve_command(context, arguments)
        if name is not None:
            stem = name.replace("-", "_")
            command = getattr(import_module(f"xenmem.cli.{stem}"), stem)
            command.epilog = epilog(name)
        return name, command, rest

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        for group in GROUPS:
            with formatter.section(group):
                rows = [(name, about.text) for name, about in COMMANDS.items() if about.group == group]
                formatter.write_dl(rows, col_max=16)


def epilog(name: str) -> str:
    """What stands below the help of a command: examples, and what the exit status says."""
    examples = (
        [(text if "$" in text else f"xenmem {text}", purpose) for purpose, text in COMMANDS[name].examples]
        if name
        else []
    )
    blocks = [("Examples", [f"{text}{f'  # {purpose}' if purpose else ''}" for text, purpose in examples])]
    blocks.append(("Exit status", [f"{status.value}  {meaning}" for status, meaning in MEANINGS.items()]))
    return "\n\n".join(
        "\b\n" + "\n".join([f"{title}:", *(f"  {line}" for line in lines)]) for title, lines in blocks if lines
    )


def _begin() -> None:
    """The memory of Xen pools: what VMs cost, what is free, what fits, what an upgrade changes.

    INVENTORY is a pool database dump, XenAPI records as JSON, or the text of `xe ... params=all`, each also as gzip;
    `-` is standard input. Or a pool that runs, by its address (https://root@pool.example) or its profile: it is read,
    and never changed. Where none is given it is that of XENMEM_INVENTORY, or of the configuration file. Sizes are
    written as 16GiB, 1.5TiB, 4096MiB or bytes; all units are binary. For the name of a VM or host, its beginning does.
    """
    announce_compilation()


app = _Commands(
    "xenmem",
    [click.Command(name, short_help=about.text) for name, about in COMMANDS.items()],
    callback=_begin,
    help=documentation(_begin),
    epilog=epilog(""),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=False,
)
click.version_option(None, "-V", "--version", package_name="xenmem", message="%(prog)s %(version)s")(app)
