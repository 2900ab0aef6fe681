"""The command `plot`."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

from xenmem import Fleet, answers, kernel, planning
from xenmem.answers.failover import restart_pools
from xenmem.answers.naming import HOLD_POLICY, QuestionError, find_host
from xenmem.answers.runway import chosen
from xenmem.cli.arguments import command, inventory_argument, lenient_option, policy_option, read_fleet, to_option
from xenmem.cli.dataset import dates_of, opened, snapshots
from xenmem.cli.display import display, write_to
from xenmem.cli.streams import Output, Search

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_FAILURES: Final = 6
_MARGIN_SECONDS: Final = 10.0


class _Options:
    """What the kinds of pictures are asked with."""

    def __init__(self, host: str | None, migrations: int, policy: str | None, search: Search) -> None:
        self.host = host
        self.migrations = migrations
        self.policy: dict[str, Any] = {} if policy is None else {"policy": policy}
        self.search = search


def _hosts(fleet: Fleet, options: _Options) -> "Figure":
    from xenmem.plot import hosts

    return hosts(answers.report(fleet))


def _heat(fleet: Fleet, options: _Options) -> "Figure":
    from xenmem.plot import heat

    return heat(answers.report(fleet))


def _failover(fleet: Fleet, options: _Options) -> "Figure":
    from xenmem.plot import failures

    if len(fleet.pools) != 1:
        raise QuestionError(f"the fleet has {len(fleet.pools)} pools: margins are drawn of one")
    (pool,) = restart_pools(fleet, None, **({"policy": HOLD_POLICY} | options.policy))
    numbers = range(1, max(2, min(len(pool.free), _MOST_FAILURES + 1)))
    return failures(
        [answers.failover(fleet, number, **options.policy) for number in numbers],
        [planning.margin(pool, number, time_limit=_MARGIN_SECONDS) for number in numbers],
    )


def _evacuate(fleet: Fleet, options: _Options) -> "Figure":
    from xenmem.plot import moves

    if options.host is None:
        raise click.UsageError("--kind evacuate needs --host", click.get_current_context())
    host = find_host(fleet, options.host)
    return moves(answers.evacuate(fleet, host, progress=options.search, **options.policy))


def _consolidate(fleet: Fleet, options: _Options) -> "Figure":
    from xenmem.plot import moves

    return moves(answers.consolidate(fleet, progress=options.search, **options.policy))


def _rebalance(fleet: Fleet, options: _Options) -> "Figure":
    from xenmem.plot import moves

    return moves(answers.rebalance(fleet, options.migrations, progress=options.search, **options.policy))


def _rolling_update(fleet: Fleet, options: _Options) -> "Figure":
    from xenmem.plot import timeline

    return timeline(answers.rolling_update(fleet, to=kernel.DEFAULT_MODEL, progress=options.search))


def _overhead(fleet: Fleet, options: _Options) -> "Figure":
    from xenmem.plot import overheads

    return overheads(fleet)


def _runway(folder: str, failures: int) -> "Figure":
    from xenmem.plot import runway

    data = opened(folder)
    dates = {uuid: chosen(moments) for uuid, moments in dates_of(data, ()).items()}
    return runway(answers.runway(snapshots(data, dates), None, failures))


_RUNWAY: Final = "runway"
"""The kind that is drawn of a folder of snapshots, not of one inventory."""

_KINDS: Final[dict[str, Callable[[Fleet, _Options], "Figure"]]] = {
    "hosts": _hosts,
    "fleet": _heat,
    "failover": _failover,
    "evacuate": _evacuate,
    "consolidate": _consolidate,
    "rebalance": _rebalance,
    "rolling-update": _rolling_update,
    "overhead": _overhead,
}


@command
@inventory_argument
@click.argument("file", metavar="FILE")
@click.option("--kind", type=click.Choice((*_KINDS, _RUNWAY)), default="hosts", show_default=True, help="Of what.")
@click.option("--host", metavar="HOST", help="The host to empty, of --kind evacuate.")
@click.option(
    "--migrations",
    metavar="N",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="At most so many, of --kind rebalance.",
)
@click.option(
    "--failures",
    metavar="N",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Hosts that may fail, of --kind runway.",
)
@policy_option(None, "as of the command that the kind is named after")
@to_option
@lenient_option
def plot(
    inventory: str,
    file: str,
    kind: str,
    host: str | None,
    migrations: int,
    failures: int,
    policy: str | None,
    lenient: bool,
) -> Output:
    """A picture of the fleet or of a plan, as PNG, SVG or PDF by the end of FILE's name.

    hosts: where the memory of each host is. fleet: every host as a cell. failover: what is left when hosts fail.
    evacuate, consolidate, rebalance: hosts before and after. rolling-update: what happens when. overhead: by memory,
    vCPUs and version. runway: of a folder of snapshots, until when host failures are survived.
    """
    context = click.get_current_context()
    if display().output is not None:
        raise click.UsageError("FILE is where the picture goes: --output is not for it", context)
    try:
        import matplotlib  # noqa: F401

        from xenmem.plot import SUFFIXES, encoded
    except ModuleNotFoundError as error:
        raise click.ClickException(f"plot needs {error.name}: pip install 'xenmem[plot]'") from None
    suffix = os.path.splitext(file)[1][1:].lower()  # noqa: PTH122
    if suffix not in SUFFIXES:
        raise click.BadParameter(f"{file!r} does not end in .{', .'.join(SUFFIXES)}", context, param_hint="'FILE'")
    if not os.path.isdir(os.path.dirname(file) or "."):  # noqa: PTH112, PTH120 - before the plan is searched for
        raise click.ClickException(f"{file}: there is no such folder")
    write_to(file)
    if kind == _RUNWAY:
        return Output(encoded(_runway(inventory, failures), suffix))
    fleet = read_fleet([inventory], lenient)
    with Search(lambda report: f"{report.seconds:.0f} s") as search:
        drawn = _KINDS[kind](fleet, _Options(host, migrations, policy, search))
    return search.answer(Output(encoded(drawn, suffix)))
