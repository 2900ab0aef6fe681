"""The command `explain`."""

from xenmem import answers
from xenmem.answers.explain import Explanation
from xenmem.answers.naming import find_vm
from xenmem.cli.arguments import (
    command,
    format_option,
    inventory_argument,
    lenient_option,
    model_option,
    read_fleet,
    vm_argument,
)
from xenmem.cli.layout import Column
from xenmem.cli.page import Page, head, name_of, not_checked, whether
from xenmem.cli.show import show
from xenmem.cli.streams import Output
from xenmem.fleet import POLICIES
from xenmem.text import counted
from xenmem.units import format_size


@command
@inventory_argument
@vm_argument
@model_option
@lenient_option
@format_option("table", "json")
def explain(inventory: str, vm: str, model: str | None, lenient: bool, form: str) -> Output:
    """One VM's memory piece by piece, what it needs to start, and on which hosts it could start now.

    VM is a name, a uuid or a reference.
    """
    fleet = read_fleet([inventory], lenient)
    return show(answers.explain(fleet, find_vm(fleet, vm), model=model), form, _table)


def _table(page: Page, result: Explanation) -> None:
    """One VM's memory and the hosts it could start on."""
    where = f" on {name_of(result.resident_on)}" if result.resident_on else ""
    page.line(f"VM {name_of(result)} ({result.uuid or result.ref})", style="bold")
    page.line(
        f"{result.kind.replace('_', ' ')}, {result.power_state}{where}, {result.domain_type}, "
        f"{counted(result.VCPUs_max, 'vCPU')}, HVM_shadow_multiplier {result.HVM_shadow_multiplier:g}"
    )
    page.line()
    head(page, result.pool)
    _piece_table(page, result)
    page.line()
    page.table(
        (Column("required to start", "name"), *map(Column, ("target", "normal", "shadow", "in all"))),
        [
            (policy, part.target, part.normal, part.shadow, part.total)
            for policy in POLICIES
            for part in [getattr(result.required, policy)]
        ],
    )
    page.bullets("It starts nowhere", result.obstacles, style="yellow")
    page.line()
    page.table(
        (
            Column(f"{result.operation} on", "name"),
            Column("required", rank=2),
            Column("available"),
            Column("spare", rank=1),
            Column(f"{result.operation}?", "text"),
        ),
        [
            (
                name_of(host),
                host.required,
                host.available,
                host.spare,
                whether(host, result.obstacles),
            )
            for host in result.hosts
        ],
        noun="host",
    )
    page.line()
    page.line(f"Required is what {result.boot_policy} requires; available is free under dynamic_min.")
    page.line(not_checked(result))
    page.bullets("But", result.caveats, style="yellow")


def _piece_table(page: Page, result: Explanation) -> None:
    overhead, shadow = result.overhead, result.overhead.shadow
    pages = f"{shadow.vcpu_pages} vCPU + {shadow.p2m_pages} p2m + {shadow.resident_pages} resident pages"
    difference = result.memory_overhead - overhead.total
    if difference:
        whose = f"model {result.stored_overhead_model}" if result.stored_overhead_model else "no known model"
        stored = f"of {whose}: {format_size(abs(difference))} {'below' if difference < 0 else 'above'}"
    else:
        stored = "as computed"
    page.table(
        (Column("memory", "text"), "amount", "<where from"),
        (
            ("domain RAM", format_size(result.memory_static_max), "memory_static_max"),
            ("  of which video RAM", format_size(result.video_ram), "platform:videoram"),
            (
                "shadow",
                format_size(shadow.memory),
                f"{pages} = {format_size(shadow.unscaled)}, times {shadow.HVM_shadow_multiplier:g}",
            ),
            ("vCPUs in Xen", format_size(overhead.xen_vcpu), f"{overhead.xen_vcpu_pages} pages"),
            ("shim", format_size(overhead.shim), "pv_in_pvh only"),
            ("extra internal", format_size(overhead.extra_internal), "within the domain's limit"),
            ("extra external", format_size(overhead.extra_external), "beside the domain"),
            ("overhead computed", format_size(overhead.total), f"by model {overhead.model}"),
            ("overhead stored", format_size(result.memory_overhead), stored),
        ),
    )
