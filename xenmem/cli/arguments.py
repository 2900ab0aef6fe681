"""The arguments that several commands share, and the reading of inventories.

Whatever is wrong with arguments becomes a click exception, hence one line and exit status 2.
"""

import os
import shlex
import sys
from collections.abc import Callable, Collection, Sequence
from math import isinf
from typing import Any, Final

import click

from xenmem import DataSet, Fleet, kernel, read
from xenmem.answers.naming import Outcome, upgraded
from xenmem.answers.script import WRITERS, Action
from xenmem.cli.access import access_options, source
from xenmem.cli.defaults import GIVEN, Asked
from xenmem.cli.display import display_options
from xenmem.cli.status import OF_OUTCOME
from xenmem.cli.streams import Output, Reading
from xenmem.kernel import MAX_BYTES, DomainType, model_name_for
from xenmem.text import documentation
from xenmem.units import MIB, format_size, parse_size

_TO: Final = "xenmem.to"


def read_fleet(inventories: Sequence[str], lenient: bool) -> Fleet:
    """The fleet of these inventories, with progress on a terminal."""
    if inventories.count("-") > 1:
        raise click.UsageError("standard input can be read only once", click.get_current_context())
    if "-" in inventories and sys.stdin is None:
        raise click.ClickException("<stdin>: is closed")
    to = click.get_current_context().meta.get(_TO)
    kernel.threads()  # a bad XENMEM_THREADS is told before anything is read
    fleets = []
    for inventory in inventories:
        with Reading("<stdin>" if inventory == "-" else inventory) as progress:
            fleets.append(read(source(inventory), lenient=lenient, progress=progress))
    fleet = Fleet.concatenate(fleets)
    return fleet if to is None else upgraded(fleet, to)


def spread(inventories: Sequence[str], cluster: str, question: str, **keywords: Any) -> Any:
    """The answer of a cluster, which reads the pools of a data set by itself."""
    context = click.get_current_context()
    if len(inventories) != 1 or not os.path.isdir(inventories[0]):  # noqa: PTH112 - `-` is no folder
        raise click.UsageError("--cluster is for one data set: a folder of snapshots", context)
    if context.meta.get(_TO) is not None or context.params.get("lenient"):
        raise click.UsageError("--cluster excludes --lenient, and --to where it is of the pool", context)
    from xenmem.distributed import ask

    return ask(DataSet(inventories[0]), question, cluster, **keywords)


# ------------------------------------------------------------------------------------------------------------ arguments


def size(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        size = parse_size(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if 0 < size < MIB and text.strip().isdigit():
        hint = f"{text.strip()}GiB, or {text.strip()}B if bytes are meant"
        raise click.BadParameter(f"{text!r} has no unit and is less than 1MiB: write {hint}")
    if size > MAX_BYTES:
        raise click.BadParameter(f"{text!r} is more than {format_size(MAX_BYTES)}")
    return size


def model_name(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    try:
        return None if text is None else model_name_for(text)
    except ValueError as error:
        raise click.BadParameter(str(error).removeprefix("version: ")) from None


def domain_type_of(context: click.Context, parameter: click.Parameter, text: str) -> DomainType:
    kinds = {kind.name.lower(): kind for kind in DomainType}
    kind = kinds.get(text.lower().replace("-", "_"))
    if kind is None:
        raise click.BadParameter(f"{text!r} is none of {', '.join(kinds)}")
    return kind


def positive_size(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """As `size`, and more than nothing; a rate may be written as 1GiB/s."""
    amount = size(context, parameter, None if text is None else text.removesuffix("/s"))
    if amount == 0:
        raise click.BadParameter(f"{text!r} is nothing")
    return amount


def seconds(context: click.Context, parameter: click.Parameter, given: float | None) -> float | None:
    if given is not None and not given > 0:  # NaN is not, either
        raise click.BadParameter(f"{given:g} is not above 0 seconds")
    if given is not None and isinf(given):
        raise click.BadParameter(f"{given:g} is not a number of seconds")
    return given


def _one_kind(context: click.Context, parameter: click.Parameter, chosen: str | None) -> str | None:
    """Refuse a script together with a format; whichever of the two is looked at last sees the other."""
    form, writer = context.params.get("form", "table"), context.params.get("writer")
    if (parameter.name == "writer" and chosen and form != "table") or (
        parameter.name == "form" and chosen != "table" and writer
    ):
        raise click.UsageError("--emit and --format exclude each other", context)
    return chosen


def emitted(writer: str, heading: Sequence[str], actions: Sequence[Action], outcome: Outcome = "yes") -> Output:
    """A plan as a script, headed by what it is, with the status that its outcome comes to."""
    return Output(WRITERS[writer](heading, actions), OF_OUTCOME[outcome])


def again(*arguments: str, command: str | None = None, without: Collection[str] = ()) -> str:
    """The command that runs, to be pasted, with more arguments; or another one about the same inventory.

    Parameters
    ----------
    command : another one than that which runs: it gets the inventory alone
    without : options, each with a value, that are left out beside those that choose a form
    """
    context = click.get_current_context()
    if command is not None:
        given = context.params.get("inventories") or [context.params.get("inventory")]
        return shlex.join(["xenmem", command, *filter(None, given), *arguments])
    left_out = {"--format", "--emit", "-o", "--output", "--color", *without}
    words = []
    given = iter(context.meta.get(GIVEN, []))
    for word in given:
        if word in left_out:
            next(given, None)
        elif word.partition("=")[0] not in left_out:
            words.append(word)
    return shlex.join(["xenmem", context.info_name or "", *words, *arguments])


def is_given(*words: str) -> bool:
    """Whether the command that runs was given these words, one after the other."""
    given = list(click.get_current_context().meta.get(GIVEN, []))
    return any(given[at : at + len(words)] == list(words) for at in range(len(given)))


class _Named(click.ParamType[str]):
    """What a shell completes, where it asks: a file, or a name of the inventory."""

    name = "text"

    def __init__(self, table: str) -> None:
        self._table = table

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Completions; the module that knows them is imported for shells alone."""
        from xenmem.cli.completion import completions

        return completions(self._table, ctx, incomplete)


_NAMES: Final = {
    "INVENTORY": "files",
    "INVENTORY...": "files",
    "SCRIPT": "files",
    "VM": "vms",
    "VM,VM": "vms",
    "HOST": "hosts",
    "HOST,HOST...": "hosts",
}
"""What arguments and options of these names stand for."""

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]


def command(function: Command) -> click.Command:
    """Make the decorated function a command of its name, with its docstring as help and the common options."""
    made = click.command(cls=Asked, help=documentation(function))(function)
    known = {spelling for parameter in made.params for spelling in parameter.opts}
    for parameter in made.params:
        if parameter.metavar in _NAMES and type(parameter.type) is type(click.STRING):
            parameter.type = _Named(_NAMES[parameter.metavar])
    asks_pools = any(isinstance(one, click.Argument) and str(one.name).startswith("inventor") for one in made.params)
    more = [*display_options(), *(access_options() if asks_pools else ())]
    made.params += [option for option in more if not known & set(option.opts)]
    return made


inventories_argument: Decorator = click.argument("inventories", metavar="INVENTORY...", nargs=-1, required=True)
inventory_argument: Decorator = click.argument("inventory", metavar="INVENTORY")
vm_argument: Decorator = click.argument("vm", metavar="VM")
host_argument: Decorator = click.argument("host", metavar="HOST")
lenient_option: Decorator = click.option("--lenient", is_flag=True, help="Skip bad rows and report how many.")
model_option: Decorator = click.option(
    "--model",
    metavar="MODEL",
    callback=model_name,
    help="Compute overheads by this model (26.3, pre-26.3), xapi version or product (xcp-ng-9), not by the pool's own.",
)


def _noted(context: click.Context, parameter: click.Parameter, text: str | None) -> None:
    if model_name(context, parameter, text) is not None:
        context.meta[_TO] = text


to_option: Decorator = click.option(
    "--to",
    metavar="VERSION",
    callback=_noted,
    expose_value=False,
    help="Ask of the pool as an upgrade to this model, xapi version or product (xcp-ng-9) leaves it.",
)


domain_type_option: Decorator = click.option(
    "--domain-type",
    metavar="TYPE",
    callback=domain_type_of,
    default="hvm",
    show_default=True,
    help="hvm, pv, pv_in_pvh or pvh.",
)
shadow_multiplier_option: Decorator = click.option(
    "--shadow-multiplier", metavar="FACTOR", type=float, default=1.0, show_default=True, help="HVM_shadow_multiplier."
)


OF_ROWS: Final = ("csv", "ndjson", "parquet", "arrow")
"""The formats that are one table of rows."""


cluster_option: Decorator = click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Have a cluster of Dask ask the pools of a data set; local for worker processes here.",
)


def format_option(*formats: str) -> Decorator:
    if "csv" in formats:
        formats = (*formats, *(form for form in OF_ROWS if form != "csv"))
    return click.option(
        "--format",
        "form",
        type=click.Choice(formats),
        callback=_one_kind,
        default="table",
        show_default=True,
        help="Tables are for people; in the other formats amounts are bytes.",
    )


# --------------------------------------------------------------------------------------------- arguments about planning

time_limit_option: Decorator = click.option(
    "--time-limit",
    metavar="SECONDS",
    type=float,
    callback=seconds,
    help="Search for so long at most, and answer the best so far.",
)
seed_option: Decorator = click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of all random choices: the same input and seed give the same answer.",
)
emit_option: Decorator = click.option(
    "--emit",
    "writer",
    type=click.Choice(("xe", "messages")),
    callback=_one_kind,
    help="Write the plan as a shell script of xe commands, or as messages for what-if.",
)
bandwidth_option: Decorator = click.option(
    "--bandwidth",
    metavar="SIZE",
    callback=positive_size,
    default="1GiB",
    show_default=True,
    help="Copied each second, to estimate how long migrations take.",
)


def policy_option(default: str | None, shown: str | bool = True) -> Decorator:
    return click.option(
        "--policy",
        type=click.Choice(("static_max", "dynamic_max", "dynamic_min")),
        default=default,
        show_default=shown,
        help="What counts as the memory of a VM.",
    )


def rows_of_csv(context: click.Context, parameter: click.Parameter, chosen: bool) -> bool:
    """Refuse a choice of rows where there is no table of rows; whichever option is looked at last sees the other."""
    spelled = {*OF_ROWS, *(f"--format={form}" for form in OF_ROWS)}
    if chosen and not spelled & set(context.meta.get(GIVEN, [])):
        raise click.UsageError(f"{parameter.opts[0]} chooses the rows of --format {', '.join(OF_ROWS)}", context)
    return chosen


hosts_option: Decorator = click.option(
    "--hosts", "host_rows", is_flag=True, callback=rows_of_csv, help="With csv: hosts instead of moves."
)


class Count(click.ParamType[int]):
    """A whole number, such as of vCPUs, of 1 or more."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """As a number."""
        text = str(value)
        if not (text.isascii() and text.isdigit()):
            self.fail(f"{text!r} is not a whole number such as 4", param, ctx)
        if int(text) < 1:
            self.fail(f"{text} is not in the range x>=1", param, ctx)
        return int(text)


COUNT: Final = Count()


def _sizes(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """MEMORY:VCPUS, each once."""
    found = []
    for text in texts:
        memory, colon, vcpus = text.partition(":")
        if not colon:
            raise click.BadParameter(f"{text!r} is not MEMORY:VCPUS, such as 16GiB:4")
        amount = positive_size(context, parameter, memory)
        assert amount is not None
        found.append((amount, COUNT.convert(vcpus, parameter, context)))
    return tuple(dict.fromkeys(found))


sizes_option: Decorator = click.option(
    "--size",
    "sizes",
    metavar="SIZE",
    multiple=True,
    callback=_sizes,
    help="MEMORY:VCPUS of VMs that metrics count the room for; once for each size.  [default: 4GiB:2, 16GiB:4]",
)
restart_option: Decorator = click.option(
    "--restart",
    type=click.Choice(("protected", "running")),
    help="VMs that must run again: those that HA protects, by default if there are any, or all that run now.",
)
