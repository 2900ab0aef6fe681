"""The command `warm-up`."""

from collections import defaultdict

import click

from xenmem import answers
from xenmem.answers.info import WarmUpReport
from xenmem.cli.arguments import command, format_option
from xenmem.cli.page import Page
from xenmem.cli.show import show
from xenmem.cli.streams import Compilation, Output


@command
@format_option("table", "json")
def warm_up(form: str) -> Output:
    """Compile all searches ahead of time, so that no question has to wait for it.

    What is compiled is kept on disk: in the folder of the package, or else of the user, or in that which the variable
    NUMBA_CACHE_DIR names.
    """
    with Compilation() as compilation:
        try:
            result = answers.warm_up(compilation)
        except OSError as error:
            raise click.ClickException(f"writing: {error.strerror}") from None
    return show(result, form, _table)


def _table(page: Page, result: WarmUpReport) -> None:
    """What was compiled, module by module."""
    if not result.compiled:
        return
    seconds: dict[str, list[float]] = defaultdict(list)
    for one in result.compiled:
        seconds[one.function.rpartition(".")[0]].append(one.seconds)
    page.table(
        ("module", "functions", "seconds"),
        ((module, str(len(parts)), f"{sum(parts):.1f}") for module, parts in seconds.items()),
        last=("in all", str(len(result.compiled)), f"{sum(one.seconds for one in result.compiled):.1f}"),
    )
