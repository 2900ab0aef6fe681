"""The command `exporter`."""

import os
import sys

import click

from xenmem.cli.access import access
from xenmem.cli.arguments import command, lenient_option, seconds, sizes_option
from xenmem.cli.streams import Output


@command
@click.argument("inventories", metavar="POOL...", nargs=-1, required=True)
@click.option("--listen", metavar="ADDRESS:PORT", default="127.0.0.1:9813", show_default=True, help="Where.")
@sizes_option
@click.option("--per-vm", is_flag=True, help="Also series for each VM.")
@click.option(
    "--interval",
    metavar="SECONDS",
    type=float,
    callback=seconds,
    default=15.0,
    show_default=True,
    help="From the end of one computation to the next, if the pools have changed.",
)
@lenient_option
def exporter(
    inventories: tuple[str, ...],
    listen: str,
    sizes: tuple[tuple[int, int], ...],
    per_vm: bool,
    interval: float,
    lenient: bool,
) -> Output:
    """Metrics of pools that run, for Prometheus, until Ctrl-C.

    POOL is an address, such as https://root@pool.example, or a profile. Each is read once and followed; a scrape is
    given what was computed after the last changes, and asks no pool.
    """
    try:
        from xenmem.exporter.run import export
        from xenmem.server.run import Address
    except ModuleNotFoundError as error:
        raise click.ClickException(f"exporter needs {error.name}: pip install 'xenmem[server]'") from None
    from xenmem.exporter.metrics import Asked, Size
    from xenmem.exporter.worker import Worker
    from xenmem.mirror import Mirror
    from xenmem.server.logs import Log

    asked, address, log = (
        Asked(sizes=tuple(Size(*size) for size in sizes) or Asked().sizes, per_vm=per_vm),
        Address.of(listen),
        Log(),
    )
    with Mirror(*inventories, access=access(), lenient=lenient) as mirror:
        worker = Worker(mirror, asked, interval, lambda stage, error: log("failed", stage=stage, error=str(error)))
        export(mirror, worker, address, _tell, log)
    return Output(b"")


def _tell(line: str) -> None:
    try:
        print(f"xenmem: {line}", flush=True)
    except OSError:  # whoever started the exporter does not listen
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
