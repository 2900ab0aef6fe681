"""The tables of the accounting commands: what is, what fits, what an upgrade changes, and the installation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from xenmem.answers.naming import counted
from xenmem.cli.page import POLICY_LINES, Page, amount, by_policy, head, name_of, not_checked, target
from xenmem.fleet import POLICIES
from xenmem.units import format_size

if TYPE_CHECKING:
    from xenmem.answers.explain import Explanation
    from xenmem.answers.fit import Fit, Maximum
    from xenmem.answers.report import PoolReport, Report, Usage
    from xenmem.answers.upgrade_check import UpgradeCheck

# --------------------------------------------------------------------------------------------------------------- report


def report(result: Report) -> bytes:
    """The report of every pool, and the notes of reading."""
    page = Page()
    for number, pool in enumerate(result.pools):
        if number:
            page.line()
        coordinator = [f"coordinator {name_of(host)}" for host in pool.hosts if host.is_coordinator]
        head(page, pool.pool, *coordinator)
        if isinstance(pool.vms, list):
            _vm_table(page, pool.vms)
        else:
            _host_table(page, pool)
        page.bullets("Warnings", (warning.text for warning in pool.warnings), style="yellow")
    page.bullets("Notes on reading", map(str, result.notes))
    return page.bytes()


def _host_table(page: Page, pool: PoolReport) -> None:
    total = pool.total
    page.table(
        (
            "host",
            "total",
            "host\noverhead",
            "control\ndomain",
            "VMs",
            "VM\nmemory\n(static)",
            "VM\noverhead",
            *(f"free\n{policy}" for policy in POLICY_LINES),
            "free\nas\nmeasured",
        ),
        (
            (
                name_of(host),
                amount(host.memory_total),
                format_size(host.memory_overhead),
                *_usages(host.control_domains, host.vms),
                *by_policy(host.free),
                amount(host.memory_free),
            )
            for host in pool.hosts
        ),
        last=(
            counted(total.hosts, "host"),
            format_size(total.memory_total),
            format_size(total.memory_overhead),
            *_usages(total.control_domains, total.vms),
            *by_policy(total.free),
            format_size(total.memory_free),
        ),
    )


def _usages(control_domains: Usage, vms: Usage) -> tuple[str, ...]:
    return (
        format_size(control_domains.memory.static_max + control_domains.memory_overhead),
        str(vms.count),
        format_size(vms.memory.static_max),
        format_size(vms.memory_overhead),
    )


def _vm_table(page: Page, vms: Iterable[Any]) -> None:
    page.table(
        (
            "VM",
            "<state",
            "<type",
            "<host",
            "vCPUs",
            *POLICY_LINES,
            "overhead\nstored",
            "overhead\ncomputed",
            "to start\ndynamic\nmin",
        ),
        (
            (
                name_of(vm),
                vm.power_state,
                vm.domain_type,
                " -> ".join(
                    dict.fromkeys(name_of(host) for host in (vm.resident_on, vm.scheduled_to_be_resident_on) if host)
                ),
                str(vm.VCPUs_max),
                *(format_size(getattr(vm, f"memory_{policy}")) for policy in POLICIES),
                format_size(vm.memory_overhead),
                format_size(vm.compute_memory_overhead),
                format_size(vm.start_memory.dynamic_min),
            )
            for vm in vms
        ),
    )


# ------------------------------------------------------------------------------------------------------------- explain


def explanation(result: Explanation) -> bytes:
    """One VM's memory and the hosts it could start on."""
    page = Page()
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
        ("required to start", "target", "normal", "shadow", "in all"),
        (
            (policy, *(format_size(amount) for amount in (part.target, part.normal, part.shadow, part.total)))
            for policy in POLICIES
            for part in [getattr(result.required, policy)]
        ),
    )
    page.bullets("It starts nowhere", result.obstacles, style="yellow")
    page.line()
    page.table(
        (f"{result.operation} on", "needed", "available", "spare", f"<{result.operation}?"),
        (
            (
                name_of(host),
                format_size(host.needed),
                format_size(host.available),
                format_size(host.spare),
                "yes" if host.fits else "no: " + "; ".join(host.reasons or result.obstacles),
            )
            for host in result.hosts
        ),
    )
    page.line()
    page.line(f"Needed is what {result.boot_policy} requires; available is free under dynamic_min.")
    page.line(not_checked(result))
    return page.bytes()


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
        ("memory", "amount", "<where from"),
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


# ------------------------------------------------------------------------------------------------------------ capacity


def maximum(result: Maximum) -> bytes:
    """The largest VM on each host."""
    page = Page()
    page.line(f"VM {name_of(result)} ({result.uuid or result.ref})", style="bold")
    page.line(
        f"{result.domain_type}, {counted(result.VCPUs_max, 'vCPU')}, "
        f"HVM_shadow_multiplier {result.HVM_shadow_multiplier:g}, model {result.model}"
        + (", approximate: as if it had 64 vCPUs" if result.approximate else "")
    )
    page.line()
    but = ["<but"] if any(there.reasons for there in result.hosts) else []
    page.table(
        ("host", "total", "memory_static_max", "needed", "spare", *but),
        (
            (
                name_of(there) or "any",
                format_size(there.total),
                format_size(there.memory_static_max),
                format_size(there.required),
                format_size(there.spare),
                *("; ".join(there.reasons) for _ in but),
            )
            for there in result.hosts
        ),
    )
    page.bullets(
        "Warnings",
        (
            f"{name_of(there) or 'total'}: "
            + (
                f"this does not fit: it needs {format_size(-there.spare)} more than {format_size(there.total)}"
                if there.memory_static_max
                else "nothing fits"
            )
            for there in result.hosts
            if there.spare < 0
        ),
        style="yellow",
    )
    return page.bytes()


def fit(result: Fit) -> bytes:
    """How many more VMs fit, pool by pool."""
    page = Page()
    for pool in result.pools:
        head(page, pool.pool)
        page.line(
            f"Each needs {format_size(pool.required)} to start and takes {format_size(pool.used)}, model {pool.model}."
        )
        page.line()
        placed = ["placed"] if result.wanted is not None else []
        but = ["<but"] if any(host.reasons for host in pool.hosts) else []
        page.table(
            ("host", "free", "more fit", *placed, "free after", *but),
            (
                (
                    name_of(host),
                    format_size(host.free),
                    str(host.count),
                    *(str(host.placed) for _ in placed),
                    format_size(host.free_after),
                    *("; ".join(host.reasons) for _ in but),
                )
                for host in pool.hosts
            ),
            last=(
                "in all",
                "",
                str(pool.count),
                *(str(sum(host.placed or 0 for host in pool.hosts)) for _ in placed),
                "",
                *("" for _ in but),
            ),
        )
        page.line()
    size = f"{result.domain_type} VMs of {format_size(result.memory)} and {counted(result.VCPUs_max, 'vCPU')}"
    if result.wanted is None:
        page.line(f"{result.count} more {size} fit.")
    else:
        verdict = "all fit" if result.fits else f"{result.wanted - (result.placed or 0)} do not fit"
        page.line(
            f"{result.placed} of {result.wanted} {size} placed, on the host with most free memory each time: {verdict}."
        )
    return page.bytes()


# ------------------------------------------------------------------------------------------------------------- upgrade


def upgrade(result: UpgradeCheck) -> bytes:
    """What the target model changes, pool by pool."""
    page = Page()
    for number, pool in enumerate(result.pools):
        if number:
            page.line()
        head(page, pool.pool, target(result.to, result.to_build, result.to_model))
        page.line(pool.verdict)
        if not pool.hosts:
            continue
        page.line()
        total = [("in all", pool)]
        rows = [_upgrade_row(name, item) for name, item in [*((name_of(host), host) for host in pool.hosts), *total]]
        cases = ("as\nstored", f"now\n{pool.model}", f"to\n{pool.to_model}")
        page.table(
            (
                "host",
                *(f"overhead\n{case}" for case in cases),
                *(f"free\ndynamic\nmin\n{case}" for case in cases),
                *(f"free\nstatic\nmax\n{case}" for case in cases),
            ),
            rows[:-1],
            last=rows[-1],
        )
        page.bullets(
            f"VMs that no longer start where they are under {pool.to_model}",
            (
                f"{name_of(vm)} on {name_of(vm.host)}: needs {format_size(vm.needed)}, has {format_size(vm.available)}"
                f" (now {format_size(vm.needed_now)} of {format_size(vm.available_now)})"
                for vm in pool.no_longer_start
            ),
            style="yellow",
        )
        new = {host.ref for host in pool.newly_overcommitted}
        page.bullets(
            f"Hosts overcommitted under {pool.to_model}",
            (
                f"{name_of(host)}: by {format_size(host.target.overcommitted.static_max)} under static_max"
                + (
                    f", by {format_size(host.target.overcommitted.dynamic_min)} under dynamic_min"
                    if host.target.overcommitted.dynamic_min
                    else ""
                )
                + (" (new)" if host.ref in new else "")
                for host in pool.hosts
                if host.target.overcommitted.static_max or host.target.overcommitted.dynamic_min
            ),
            style="yellow",
        )
    return page.bytes()


def _upgrade_row(name: str, item: Any) -> list[str]:
    cases = (item.stored, item.present, item.target)
    return [
        name,
        *(format_size(case.memory_overhead) for case in cases),
        *(format_size(case.free.dynamic_min) for case in cases),
        *(format_size(case.free.static_max) for case in cases),
    ]
