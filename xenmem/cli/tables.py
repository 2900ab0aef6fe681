"""Results as tables for people, with rich: sizes as 16GiB, at most as wide as the terminal, plain text elsewhere.

Nothing is cut off: what does not fit is folded. The only module that imports rich.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.box import ASCII, SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xenmem.answers.accounts import counted
from xenmem.fleet import POLICIES
from xenmem.text import printable
from xenmem.units import format_size

if TYPE_CHECKING:
    from xenmem.answers.accounts import PoolHead
    from xenmem.answers.capacity import Fit, Maximum
    from xenmem.answers.declared import Declarations, MessageDeclaration
    from xenmem.answers.explanation import Explanation
    from xenmem.answers.installation import Installation
    from xenmem.answers.pool_report import PoolReport, Report, Usage
    from xenmem.answers.trial import FailedMessage, WhatIf
    from xenmem.answers.upgrade import UpgradeCheck

_UNBOUNDED: Final = 10_000
_HEIGHT: Final = 25  # of no effect, but without it rich takes 80 columns for any dumb terminal
_ROOMY: Final = 120
_FOLDED: Final = 8
_POLICY_LINES: Final = tuple(policy.replace("_", "\n") for policy in POLICIES)


class _Page:
    """What is to be printed, for the kind of standard output there is."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout is not None and sys.stdout.isatty()
        columns = os.environ.get("COLUMNS", "")
        if columns.isascii() and columns.isdigit() and int(columns) > 0:
            width = int(columns)
        else:
            width = os.get_terminal_size(sys.stdout.fileno()).columns if self._is_terminal else _UNBOUNDED
        self._encoding = (sys.stdout and sys.stdout.encoding) or "utf-8"
        self._box = SIMPLE_HEAD if self._encoding.lower().startswith("utf") else ASCII
        self._text = io.StringIO()
        self._width = width or _UNBOUNDED
        self._gap = int(self._width >= _ROOMY)
        self._console = Console(
            file=self._text,
            width=self._width,
            height=_HEIGHT,
            force_terminal=self._is_terminal,
            color_system="auto" if self._is_terminal else None,
            no_color=None if self._is_terminal else True,
            highlight=False,
            legacy_windows=False,
        )

    def line(self, text: str = "", style: str = "") -> None:
        self._console.print(Text(printable(text), style=style), soft_wrap=True)

    def bullets(self, heading: str, lines: Iterable[str], style: str = "") -> None:
        shown = list(lines)
        if shown:
            self.line()
            self.line(heading, style="bold")
            for text in shown:
                self.line(f"  {text}", style=style)

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str]], *, last: Sequence[str] = ()) -> None:
        """A table: its first column, and those whose heading begins with `<`, are text, others amounts.

        Text is folded where room lacks. Amounts never are: a terminal too narrow for them wraps the lines.
        """
        body = [[printable(value) for value in row] for row in [*rows, last] if row]
        table = Table(box=self._box, pad_edge=False, padding=(0, self._gap, 0, 0), show_edge=False)
        needed = 0
        for number, heading in enumerate(headings):
            is_text = number == 0 or heading.startswith("<")
            heading = heading.removeprefix("<")
            widest = max(map(cell_len, [*heading.split("\n"), *(row[number] for row in body)]))
            needed += self._gap + 1 + (min(widest, _FOLDED) if is_text else widest)
            table.add_column(
                Text(heading),
                justify="left" if is_text else "right",
                overflow="fold",
                no_wrap=not is_text,
                vertical="bottom",
            )
        for row in body:
            if last and row is body[-1]:
                table.add_section()
            table.add_row(*map(Text, row))
        self._console.width = max(needed, self._width)
        self._console.print(table)

    def bytes(self) -> bytes:
        lines = self._text.getvalue().removesuffix("\n").split("\n")
        shown = lines if self._is_terminal else [line.rstrip() for line in lines]
        return "".join(f"{line}\n" for line in shown).encode(self._encoding, errors="backslashreplace")


def _size(amount: int | None) -> str:
    return "unknown" if amount is None else format_size(amount)


def _name(item: Any) -> str:
    return item.name_label or item.uuid or item.ref if item is not None else ""


def _sizes(amounts: Any) -> list[str]:
    return [format_size(getattr(amounts, policy)) for policy in POLICIES]


def _head(page: _Page, pool: PoolHead, *more: str) -> None:
    uuid = f" ({pool.uuid})" if pool.uuid and pool.name_label else ""
    page.line(f"Pool {_name(pool) or '(no pool record)'}{uuid}", style="bold")
    version = f"xapi {pool.xapi_version}" if pool.xapi_version else "xapi version unknown"
    kind = f"{pool.format} {pool.schema}".strip()
    page.line(", ".join((version, f"model {pool.model}", f"{kind} from {pool.source}", *more)))
    page.line()


# --------------------------------------------------------------------------------------------------------------- report


def report(result: Report) -> bytes:
    """The report of every pool, and the notes of reading."""
    page = _Page()
    for number, pool in enumerate(result.pools):
        if number:
            page.line()
        coordinator = [f"coordinator {_name(host)}" for host in pool.hosts if host.is_coordinator]
        _head(page, pool.pool, *coordinator)
        if isinstance(pool.vms, list):
            _vm_table(page, pool.vms)
        else:
            _host_table(page, pool)
        page.bullets("Warnings", (warning.text for warning in pool.warnings), style="yellow")
    page.bullets("Notes on reading", map(str, result.notes))
    return page.bytes()


def _host_table(page: _Page, pool: PoolReport) -> None:
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
            *(f"free\n{policy}" for policy in _POLICY_LINES),
            "free\nas\nmeasured",
        ),
        (
            (
                _name(host),
                _size(host.memory_total),
                format_size(host.memory_overhead),
                *_usages(host.control_domains, host.vms),
                *_sizes(host.free),
                _size(host.memory_free),
            )
            for host in pool.hosts
        ),
        last=(
            counted(total.hosts, "host"),
            format_size(total.memory_total),
            format_size(total.memory_overhead),
            *_usages(total.control_domains, total.vms),
            *_sizes(total.free),
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


def _vm_table(page: _Page, vms: Iterable[Any]) -> None:
    page.table(
        (
            "VM",
            "<state",
            "<type",
            "<host",
            "vCPUs",
            *_POLICY_LINES,
            "overhead\nstored",
            "overhead\ncomputed",
            "to start\ndynamic\nmin",
        ),
        (
            (
                _name(vm),
                vm.power_state,
                vm.domain_type,
                " -> ".join(
                    dict.fromkeys(_name(host) for host in (vm.resident_on, vm.scheduled_to_be_resident_on) if host)
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
    page = _Page()
    where = f" on {_name(result.resident_on)}" if result.resident_on else ""
    page.line(f"VM {_name(result)} ({result.uuid or result.ref})", style="bold")
    page.line(
        f"{result.kind.replace('_', ' ')}, {result.power_state}{where}, {result.domain_type}, "
        f"{counted(result.VCPUs_max, 'vCPU')}, HVM_shadow_multiplier {result.HVM_shadow_multiplier:g}"
    )
    page.line()
    _head(page, result.pool)
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
                _name(host),
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
    page.line(f"Not checked: {', '.join(result.not_checked)}.")
    return page.bytes()


def _piece_table(page: _Page, result: Explanation) -> None:
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
    page = _Page()
    page.line(f"VM {_name(result)} ({result.uuid or result.ref})", style="bold")
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
                _name(there) or "any",
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
            f"{_name(there) or 'total'}: "
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
    page = _Page()
    for pool in result.pools:
        _head(page, pool.pool)
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
                    _name(host),
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
    page = _Page()
    for number, pool in enumerate(result.pools):
        if number:
            page.line()
        _head(page, pool.pool, f"to {pool.to_model}")
        total = [("in all", pool)]
        rows = [_upgrade_row(name, item) for name, item in [*((_name(host), host) for host in pool.hosts), *total]]
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
                f"{_name(vm)} on {_name(vm.host)}: needs {format_size(vm.needed)}, has {format_size(vm.available)}"
                f" (now {format_size(vm.needed_now)} of {format_size(vm.available_now)})"
                for vm in pool.no_longer_start
            ),
            style="yellow",
        )
        new = {host.ref for host in pool.newly_overcommitted}
        page.bullets(
            f"Hosts overcommitted under {pool.to_model}",
            (
                f"{_name(host)}: by {format_size(host.target.overcommitted.static_max)} under static_max"
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


# ------------------------------------------------------------------------------------------------------------ messages


def trial(result: WhatIf) -> bytes:
    """What a script of messages would change."""
    page = _Page()
    uuid = f" ({result.uuid})" if result.uuid and result.name_label else ""
    page.line(f"Pool {_name(result)}{uuid}", style="bold")
    failed = f", {len(result.failures)} failed" if result.failures else ""
    page.line(f"{result.script} on {result.source}: {counted(result.messages, 'message')}{failed}")
    page.bullets("Failures", map(_failure, result.failures), style="yellow")
    if result.stopped:
        page.bullets("The script ended early", [result.stopped], style="yellow")
    page.line()
    changed = [host for host in result.hosts if host.changes]
    if changed:
        page.table(
            (
                "host",
                "VMs\nbefore",
                "VMs\nafter",
                *(f"free\n{policy}\n{time}" for policy in _POLICY_LINES for time in ("before", "after")),
            ),
            (
                (
                    _name(host),
                    *(str(state.vms) for state in (host.before, host.after)),
                    *(
                        format_size(getattr(state.free, policy))
                        for policy in POLICIES
                        for state in (host.before, host.after)
                    ),
                )
                for host in changed
            ),
        )
        page.line()
    if result.fields:
        page.table(
            ("object", "<field", "before", "after"),
            (
                (
                    f"{field.class_name} {_name(field)}",
                    field.field or "itself",
                    *(_field_value(field.field, value) for value in (field.before, field.after)),
                )
                for field in result.fields
            ),
        )
        page.line()
    same = len(result.hosts) - len(changed)
    page.line(
        f"{counted(len(changed), 'host')} and {counted(len(result.fields), 'field')} change; "
        f"{counted(same, 'host')} {'stays' if same == 1 else 'stay'} as before."
    )
    return page.bytes()


def _failure(failure: FailedMessage) -> str:
    where = f"message {failure.number}" if failure.line is None else f"line {failure.line}"
    return f"{where}: {failure.message}: {failure.code} [{'; '.join(failure.parameters)}]"


def _field_value(field: str, value: str) -> str:
    return format_size(int(value)) if field.startswith("memory_") else value


def declarations(result: Declarations) -> bytes:
    """One line for each message; one alone in full."""
    page = _Page()
    if len(result.messages) == 1:
        (message,) = result.messages
        page.line(f"{_signature(message)} -> {message.result}", style="bold")
        page.line(_about(message))
        page.line()
        for line in message.doc.splitlines():
            page.line(line)
        page.bullets("Fails with", message.errors)
        return page.bytes()
    page.table(
        ("message", "<result", "<role", "<async", "<summary"),
        (
            (
                _signature(message),
                message.result,
                message.role,
                "yes" if message.has_async else "no",
                message.doc.partition("\n")[0],
            )
            for message in result.messages
        ),
    )
    return page.bytes()


def _signature(message: MessageDeclaration) -> str:
    parameters = (
        f"{parameter.name}: {parameter.type}" + ("" if parameter.default is None else f" = {parameter.default}")
        for parameter in message.parameters
    )
    return f"{message.name}({', '.join(parameters)})"


def _about(message: MessageDeclaration) -> str:
    since = [f"since {message.since}"] if message.since else []
    return ", ".join((f"role {message.role}", "sync and Async" if message.has_async else "no Async form", *since))


# ---------------------------------------------------------------------------------------------------------------- info


def installation(result: Installation) -> bytes:
    """The installation, one line for each fact."""
    page = _Page()
    simd = f"{result.simd} (supported: {', '.join(result.simd_supported)})" if result.simd else "none: no C backend"
    facts = [
        ("xenmem", result.version),
        ("model", f"{result.default_model} by default; there is {', '.join(result.models)}"),
        ("backends", ", ".join(result.backends)),
        ("SIMD", simd),
        ("threads", str(result.threads)),
        ("CPU", f"{result.cpu} ({result.machine})"),
        ("system", result.system),
        ("Python", result.python),
        *((name, version or "not installed") for name, version in result.packages.items()),
    ]
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        page.line(f"{name:<{width}}  {value}")
    return page.bytes()
