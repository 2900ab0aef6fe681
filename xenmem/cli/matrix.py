"""The command `matrix`."""

from xenmem import answers
from xenmem.answers.matrix import Matrix, Pair
from xenmem.cli.arguments import command, format_option, inventories_argument, lenient_option, read_fleet
from xenmem.cli.layout import Column
from xenmem.cli.page import Page, head, name_of, not_checked
from xenmem.cli.show import show
from xenmem.cli.streams import Output


@command
@inventories_argument
@lenient_option
@format_option("table", "json", "csv")
def matrix(inventories: tuple[str, ...], lenient: bool, form: str) -> Output:
    """Which VMs can run on which hosts by storage, networks, CPU features and devices; memory is another question.

    VMs that can run on the same hosts are one line. Running VMs are asked of as if they migrated, others as if they
    started or resumed.
    """
    result = answers.matrix(read_fleet(list(inventories), lenient))
    rows = [(part.pool, [pair for kind in part.kinds for pair in kind.hosts]) for part in result.pools]
    return show(result, form, _table, Pair, rows)


def _table(page: Page, result: Matrix) -> None:
    """The kinds of VMs of each pool, and on how many hosts they can run."""
    for part in result.pools:
        head(page, part.pool)
        page.table(
            (
                Column("VMs", "number"),
                Column("such as", "name"),
                *(Column(heading, "number") for heading in ("yes", "no", "not\nknown")),
                Column("why not", "text"),
            ),
            [
                (
                    len(kind.vms),
                    name_of(kind.vms[0]),
                    kind.yes,
                    kind.no,
                    kind.not_known,
                    next((_why(pair) for pair in kind.hosts if not pair.may_run), ""),
                )
                for kind in part.kinds
            ],
            noun="kind",
        )
        page.bullets("These hosts take no VMs now", map(name_of, part.takes_none))
        page.line()
    page.line(not_checked(result))


def _why(pair: Pair) -> str:
    return f"it {pair.reason}" if pair.may_run is False else f"not known: {pair.reason}"
