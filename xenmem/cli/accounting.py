"""The commands about what is: each asks one question of xenmem.answers, and returns the bytes to print."""

import sys
from typing import TYPE_CHECKING

import click

from xenmem.cli.arguments import (
    command,
    domain_type_of,
    format_option,
    inventories_argument,
    inventory_argument,
    lenient_option,
    model_option,
    read_fleet,
    reported,
    size,
    vm_argument,
)

if TYPE_CHECKING:
    from xenmem.kernel import DomainType


@command("Where memory is, what is free, what is amiss.")
@inventories_argument
@click.option("--vms", is_flag=True, help="The table of VMs instead of the table of hosts.")
@click.option("--sort", metavar="COLUMN", help="Sort by a column of the csv format: amounts from the largest.")
@model_option
@lenient_option
@format_option("table", "json", "csv")
def report(
    inventories: tuple[str, ...], vms: bool, sort: str | None, model: str | None, lenient: bool, form: str
) -> bytes:
    """Where the memory of each pool's hosts is, what is free under each policy, and what is amiss.

    Free memory counts the overheads that are stored in the inventory, as xapi does. With --model, what is computed
    anew changes: the VMs' overhead and start memory, and the warnings that compare stored overheads with these.
    """
    fleet = read_fleet(inventories, lenient)
    from xenmem import answers
    from xenmem.answers.report import HostReport, VMReport
    from xenmem.cli import values

    with reported():
        result = answers.report(fleet, model=model, vms=vms)
    row_type = VMReport if vms else HostReport
    rows = "vms" if vms else "hosts"
    if sort is not None:
        import msgspec

        known = values.columns(row_type)
        if sort not in known:
            raise click.BadParameter(
                f"{sort!r} is none of {', '.join(known)}", click.get_current_context(), param_hint="'--sort'"
            )
        pools = [
            msgspec.structs.replace(pool, **{rows: values.ordered(row_type, getattr(pool, rows), sort)})
            for pool in result.pools
        ]
        result = msgspec.structs.replace(result, pools=pools)
    if form == "json":
        return values.to_json(result)
    if form == "csv":
        return values.to_csv(row_type, ((pool.pool, getattr(pool, rows)) for pool in result.pools))
    from xenmem.cli import tables

    return tables.report(result)


@command("One VM piece by piece, and where it could start.")
@inventory_argument
@vm_argument
@model_option
@lenient_option
@format_option("table", "json")
def explain(inventory: str, vm: str, model: str | None, lenient: bool, form: str) -> bytes:
    """One VM's memory piece by piece, what it needs to start, and on which hosts it could start now.

    VM is a name, a uuid or a reference.
    """
    fleet = read_fleet([inventory], lenient)
    from xenmem import answers
    from xenmem.answers.naming import find_vm
    from xenmem.cli import values

    with reported():
        result = answers.explain(fleet, find_vm(fleet, vm), model=model)
    if form == "json":
        return values.to_json(result)
    from xenmem.cli import tables

    return tables.explanation(result)


@command("The largest memory with which a VM still starts.")
@inventory_argument
@vm_argument
@click.option("--host", metavar="HOST", help="Fill this host only.")
@click.option("--total", metavar="SIZE", callback=size, help="Fill this amount instead of a host's free memory.")
@click.option("--approximate", is_flag=True, help="Take 64 vCPUs for the VM's own, as VM.maximise_memory can.")
@model_option
@lenient_option
@format_option("table", "json", "csv")
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
    fleet = read_fleet([inventory], lenient)
    from xenmem import answers
    from xenmem.answers.fit import MaximumThere
    from xenmem.answers.naming import find_host, find_vm
    from xenmem.cli import values

    with reported():
        result = answers.maximise(
            fleet,
            find_vm(fleet, vm),
            host=None if host is None else find_host(fleet, host),
            total=total,
            approximate=approximate,
            model=model,
        )
    if form == "json":
        return values.to_json(result)
    if form == "csv":
        return values.to_csv(MaximumThere, [(result.pool, result.hosts)])
    from xenmem.cli import tables

    return tables.maximum(result)


@command("How many more VMs of a size fit, and where.")
@inventories_argument
@click.option("--memory", metavar="SIZE", callback=size, required=True, help="Memory of each VM.")
@click.option("--vcpus", metavar="N", type=click.IntRange(min=1), required=True, help="VCPUs_max of each VM.")
@click.option(
    "--domain-type",
    metavar="TYPE",
    callback=domain_type_of,
    default="hvm",
    show_default=True,
    help="hvm, pv, pv_in_pvh or pvh.",
)
@click.option(
    "--shadow-multiplier", metavar="FACTOR", type=float, default=1.0, show_default=True, help="HVM_shadow_multiplier."
)
@click.option("--vcpu-unrestricted", is_flag=True, help="Also on hosts of fewer CPUs, by platform:vcpu-unrestricted.")
@click.option("--count", metavar="N", type=click.IntRange(min=1), help="How many are wanted: show where they go.")
@model_option
@lenient_option
@format_option("table", "json", "csv")
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
    fleet = read_fleet(inventories, lenient)
    from xenmem import answers
    from xenmem.answers.fit import FitThere
    from xenmem.cli import values

    with reported(ValueError):
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
        return values.to_json(result)
    if form == "csv":
        return values.to_csv(FitThere, ((pool.pool, pool.hosts) for pool in result.pools))
    from xenmem.cli import tables

    return tables.fit(result)


@command("What another version of xapi changes.", "upgrade-check")
@inventories_argument
@click.option(
    "--to", metavar="MODEL", required=True, help="A model (26.3), a xapi version (26.4.0) or a product (xcp-ng-9)."
)
@lenient_option
@format_option("table", "json", "csv")
def upgrade_check(inventories: tuple[str, ...], to: str, lenient: bool, form: str) -> bytes:
    """What another version of xapi makes of overheads and free memory, and what no longer starts or fits."""
    fleet = read_fleet(inventories, lenient)
    from xenmem import answers
    from xenmem.answers.upgrade_check import HostUpgrade
    from xenmem.cli import values

    with reported():
        result = answers.upgrade_check(fleet, to)
    if form == "json":
        return values.to_json(result)
    if form == "csv":
        return values.to_csv(HostUpgrade, ((pool.pool, pool.hosts) for pool in result.pools))
    from xenmem.cli import tables

    return tables.upgrade(result)


@command("What a script of messages would change.", "what-if")
@inventory_argument
@click.argument("script", metavar="SCRIPT")
@click.option("--fields", is_flag=True, help="With csv: the fields that change instead of the hosts.")
@lenient_option
@format_option("table", "json", "csv")
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
    from xenmem.answers.what_if import FieldEffect, HostEffect
    from xenmem.cli import values

    with reported():
        result = answers.what_if(inventory, script, lenient=lenient)
    if form == "json":
        return values.to_json(result)
    if form == "csv":
        return values.to_csv(
            FieldEffect if fields else HostEffect, [(result, result.fields if fields else result.hosts)]
        )
    from xenmem.cli import message_tables

    return message_tables.trial(result)


@command("The messages that a pool in memory answers.")
@click.argument("name", metavar="[NAME]", default="")
@click.option("--all", "generated", is_flag=True, help="Also those that read or set a field, or list records.")
@format_option("table", "json")
def messages(name: str, generated: bool, form: str) -> bytes:
    """The messages that `what-if` and the library answer, as they are declared.

    NAME is a message (VM.set_memory) or a class (VM).
    """
    from xenmem import answers
    from xenmem.cli import values

    with reported():
        result = answers.declarations(name, generated=generated)
    if form == "json":
        return values.to_json(result)
    from xenmem.cli import message_tables

    return message_tables.declarations(result)
