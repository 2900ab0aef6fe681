"""The commands: each reads its arguments, asks one question of xenmem.answers, and returns the bytes to print.

Whatever is wrong with arguments or inventories becomes a click exception, hence one line and exit status 2.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from xenmem.cli.streams import Progress, complain, deliver, give_up
from xenmem.units import format_size, parse_size

if TYPE_CHECKING:
    from xenmem.fleet import Fleet
    from xenmem.kernel import DomainType


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
    return deliver(answer)


@contextmanager
def _reported(*also: type[Exception]) -> Iterator[None]:
    """Errors of readers and answers as click's."""
    from xenmem.answers import QuestionError
    from xenmem.inventory import InventoryError

    expected: tuple[type[Exception], ...] = (InventoryError, QuestionError, *also)
    try:
        yield
    except expected as error:
        raise click.ClickException(str(error)) from None


def _read(inventories: Sequence[str], lenient: bool) -> "Fleet":
    from xenmem import Fleet, kernel, read

    if inventories.count("-") > 1:
        raise click.UsageError("standard input can be read only once", click.get_current_context())
    if "-" in inventories and sys.stdin is None:
        raise click.ClickException("<stdin>: is closed")
    fleets = []
    with _reported(ValueError):
        kernel.threads()
    with _reported():
        for inventory in inventories:
            with Progress("<stdin>" if inventory == "-" else inventory) as progress:
                fleets.append(read(inventory, lenient=lenient, progress=progress))
        return Fleet.concatenate(fleets)


# ------------------------------------------------------------------------------------------------------------ arguments


def _size(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    from xenmem.kernel import MAX_BYTES

    if text is None:
        return None
    try:
        size = parse_size(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if size > MAX_BYTES:
        raise click.BadParameter(f"{text!r} is more than {format_size(MAX_BYTES)}")
    return size


def _model_name(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    from xenmem.kernel import MODELS

    if text is not None and text not in MODELS:
        raise click.BadParameter(f"{text!r} is none of {', '.join(MODELS)}")
    return text


def _domain_type(context: click.Context, parameter: click.Parameter, text: str) -> "DomainType":
    from xenmem.kernel import DomainType

    kinds = {kind.name.lower(): kind for kind in DomainType}
    kind = kinds.get(text.lower().replace("-", "_"))
    if kind is None:
        raise click.BadParameter(f"{text!r} is none of {', '.join(kinds)}")
    return kind


_Command = Callable[..., Any]
_Decorator = Callable[[_Command], _Command]

_inventories: _Decorator = click.argument("inventories", metavar="INVENTORY...", nargs=-1, required=True)
_inventory: _Decorator = click.argument("inventory", metavar="INVENTORY")
_vm: _Decorator = click.argument("vm", metavar="VM")
_lenient: _Decorator = click.option("--lenient", is_flag=True, help="Skip bad rows and report how many.")
_model: _Decorator = click.option(
    "--model",
    metavar="MODEL",
    callback=_model_name,
    help="Compute overheads by this model (26.3, pre-26.3) instead of the pool's own.",
)


def _format(*formats: str) -> _Decorator:
    return click.option(
        "--format",
        "form",
        type=click.Choice(formats),
        default="table",
        show_default=True,
        help="Tables are for people; the other formats give bytes.",
    )


# ------------------------------------------------------------------------------------------------------------- commands


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, no_args_is_help=False)
@click.version_option(package_name="xenmem", message="%(prog)s %(version)s")
def app() -> None:
    """The memory of Xen pools: what VMs cost, what is free, what fits, what an upgrade changes.

    INVENTORY is a pool database dump, XenAPI records as JSON, or the text of `xe ... params=all`, each also as gzip;
    `-` is standard input. Sizes are written as 16GiB, 1.5TiB, 4096MiB or bytes; all units are binary.
    """


@app.command(short_help="Where memory is, what is free, what is amiss.")
@_inventories
@click.option("--vms", is_flag=True, help="The table of VMs instead of the table of hosts.")
@click.option("--sort", metavar="COLUMN", help="Sort by a column of the csv format: amounts from the largest.")
@_model
@_lenient
@_format("table", "json", "csv")
def report(
    inventories: tuple[str, ...], vms: bool, sort: str | None, model: str | None, lenient: bool, form: str
) -> bytes:
    """Where the memory of each pool's hosts is, what is free under each policy, and what is amiss.

    Free memory counts the overheads that are stored in the inventory, as xapi does. With --model, what is computed
    anew changes: the VMs' overhead and start memory, and the warnings that compare stored overheads with these.
    """
    fleet = _read(inventories, lenient)
    from xenmem import answers
    from xenmem.answers.pool_report import HostReport, VMReport
    from xenmem.cli import flat

    with _reported():
        result = answers.report(fleet, model=model, vms=vms)
    row_type = VMReport if vms else HostReport
    rows = "vms" if vms else "hosts"
    if sort is not None:
        import msgspec

        known = flat.columns(row_type)
        if sort not in known:
            raise click.BadParameter(
                f"{sort!r} is none of {', '.join(known)}", click.get_current_context(), param_hint="'--sort'"
            )
        pools = [
            msgspec.structs.replace(pool, **{rows: flat.ordered(row_type, getattr(pool, rows), sort)})
            for pool in result.pools
        ]
        result = msgspec.structs.replace(result, pools=pools)
    if form == "json":
        return flat.to_json(result)
    if form == "csv":
        return flat.to_csv(row_type, ((pool.pool, getattr(pool, rows)) for pool in result.pools))
    from xenmem.cli import tables

    return tables.report(result)


@app.command(short_help="One VM piece by piece, and where it could start.")
@_inventory
@_vm
@_model
@_lenient
@_format("table", "json")
def explain(inventory: str, vm: str, model: str | None, lenient: bool, form: str) -> bytes:
    """One VM's memory piece by piece, what it needs to start, and on which hosts it could start now.

    VM is a name, a uuid or a reference.
    """
    fleet = _read([inventory], lenient)
    from xenmem import answers
    from xenmem.answers.accounts import find_vm
    from xenmem.cli import flat

    with _reported():
        result = answers.explain(fleet, find_vm(fleet, vm), model=model)
    if form == "json":
        return flat.to_json(result)
    from xenmem.cli import tables

    return tables.explanation(result)


@app.command(short_help="The largest memory with which a VM still starts.")
@_inventory
@_vm
@click.option("--host", metavar="HOST", help="Fill this host only.")
@click.option("--total", metavar="SIZE", callback=_size, help="Fill this amount instead of a host's free memory.")
@click.option("--approximate", is_flag=True, help="Take 64 vCPUs for the VM's own, as VM.maximise_memory can.")
@_model
@_lenient
@_format("table", "json", "csv")
def maximise(
    inventory: str,
    vm: str,
    host: str | None,
    total: int | None,
    approximate: bool,
    model: str | None,
    lenient: bool,
    form: str,
) -> bytes:
    """The largest memory_static_max with which a VM still starts, on each host of its pool.

    Filled is what is free now under dynamic_min; what the VM itself uses where it is resident stays in use.
    """
    if host is not None and total is not None:
        raise click.UsageError("--host and --total exclude each other", click.get_current_context())
    fleet = _read([inventory], lenient)
    from xenmem import answers
    from xenmem.answers.accounts import find_host, find_vm
    from xenmem.answers.capacity import MaximumThere
    from xenmem.cli import flat

    with _reported():
        result = answers.maximise(
            fleet,
            find_vm(fleet, vm),
            host=None if host is None else find_host(fleet, host),
            total=total,
            approximate=approximate,
            model=model,
        )
    if form == "json":
        return flat.to_json(result)
    if form == "csv":
        return flat.to_csv(MaximumThere, [(result.pool, result.hosts)])
    from xenmem.cli import tables

    return tables.maximum(result)


@app.command(short_help="How many more VMs of a size fit, and where.")
@_inventories
@click.option("--memory", metavar="SIZE", callback=_size, required=True, help="Memory of each VM.")
@click.option("--vcpus", metavar="N", type=click.IntRange(min=1), required=True, help="VCPUs_max of each VM.")
@click.option(
    "--domain-type",
    metavar="TYPE",
    callback=_domain_type,
    default="hvm",
    show_default=True,
    help="hvm, pv, pv_in_pvh or pvh.",
)
@click.option(
    "--shadow-multiplier", metavar="FACTOR", type=float, default=1.0, show_default=True, help="HVM_shadow_multiplier."
)
@click.option("--vcpu-unrestricted", is_flag=True, help="Also on hosts of fewer CPUs, by platform:vcpu-unrestricted.")
@click.option("--count", metavar="N", type=click.IntRange(min=1), help="How many are wanted: show where they go.")
@_model
@_lenient
@_format("table", "json", "csv")
def fit(
    inventories: tuple[str, ...],
    memory: int,
    vcpus: int,
    domain_type: "DomainType",
    shadow_multiplier: float,
    vcpu_unrestricted: bool,
    count: int | None,
    model: str | None,
    lenient: bool,
    form: str,
) -> bytes:
    """How many more VMs of a size fit on each enabled, live host.

    With --count, each VM in turn goes to the host with most free memory, which levels free memory as xapi does.
    """
    fleet = _read(inventories, lenient)
    from xenmem import answers
    from xenmem.answers.capacity import FitThere
    from xenmem.cli import flat

    with _reported(ValueError):
        result = answers.fit(
            fleet,
            memory,
            vcpus,
            domain_type=domain_type,
            shadow_multiplier=shadow_multiplier,
            vcpu_unrestricted=vcpu_unrestricted,
            count=count,
            model=model,
        )
    if form == "json":
        return flat.to_json(result)
    if form == "csv":
        return flat.to_csv(FitThere, ((pool.pool, pool.hosts) for pool in result.pools))
    from xenmem.cli import tables

    return tables.fit(result)


@app.command("upgrade-check", short_help="What another version of xapi changes.")
@_inventories
@click.option("--to", metavar="MODEL", required=True, help="A model (26.3, pre-26.3) or a xapi version (26.4.0).")
@_lenient
@_format("table", "json", "csv")
def upgrade_check(inventories: tuple[str, ...], to: str, lenient: bool, form: str) -> bytes:
    """What another version of xapi makes of overheads and free memory, and what no longer starts or fits."""
    fleet = _read(inventories, lenient)
    from xenmem import answers
    from xenmem.answers.upgrade import HostUpgrade
    from xenmem.cli import flat

    with _reported():
        result = answers.upgrade_check(fleet, to)
    if form == "json":
        return flat.to_json(result)
    if form == "csv":
        return flat.to_csv(HostUpgrade, ((pool.pool, pool.hosts) for pool in result.pools))
    from xenmem.cli import tables

    return tables.upgrade(result)


@app.command("what-if", short_help="What a script of messages would change.")
@_inventory
@click.argument("script", metavar="SCRIPT")
@click.option("--fields", is_flag=True, help="With csv: the fields that change instead of the hosts.")
@_lenient
@_format("table", "json", "csv")
def what_if(inventory: str, script: str, fields: bool, lenient: bool, form: str) -> bytes:
    """Send messages to a copy of the pool in memory: hosts before and after, fields that change, messages that fail.

    SCRIPT ends in .py, and is run with `session`, as of XenAPI.Session; or holds JSON lines such as
    {"method": "VM.set_memory", "params": [{"name_label": "web"}, 4294967296]}.
    """
    if inventory == script == "-":
        raise click.UsageError("standard input can be read only once", click.get_current_context())
    if "-" in (inventory, script) and sys.stdin is None:
        raise click.ClickException("<stdin>: is closed")
    from xenmem import answers
    from xenmem.answers.trial import FieldEffect, HostEffect
    from xenmem.cli import flat

    with _reported():
        result = answers.what_if(inventory, script, lenient=lenient)
    if form == "json":
        return flat.to_json(result)
    if form == "csv":
        return flat.to_csv(FieldEffect if fields else HostEffect, [(result, result.fields if fields else result.hosts)])
    from xenmem.cli import tables

    return tables.trial(result)


@app.command(short_help="The messages that a pool in memory answers.")
@click.argument("name", metavar="[NAME]", default="")
@click.option("--all", "generated", is_flag=True, help="Also those that read or set a field, or list records.")
@_format("table", "json")
def messages(name: str, generated: bool, form: str) -> bytes:
    """The messages that `what-if` and the library answer, as they are declared.

    NAME is a message (VM.set_memory) or a class (VM).
    """
    from xenmem import answers
    from xenmem.cli import flat

    with _reported():
        result = answers.declarations(name, generated=generated)
    if form == "json":
        return flat.to_json(result)
    from xenmem.cli import tables

    return tables.declarations(result)


@app.command()
@_format("table", "json")
def info(form: str) -> bytes:
    """Version, models, backends, SIMD level, threads, CPU."""
    from xenmem import answers
    from xenmem.cli import flat

    with _reported(ValueError):
        result = answers.info()
    if form == "json":
        return flat.to_json(result)
    from xenmem.cli import tables

    return tables.installation(result)
