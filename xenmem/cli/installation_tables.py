"""Text for people about the installation: what it is, and what was compiled ahead of time. Nothing is computed."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from xenmem.answers.naming import counted
from xenmem.cli.page import Page

if TYPE_CHECKING:
    from xenmem.answers.info import Installation, WarmUp


def installation(result: Installation) -> bytes:
    """The installation, one line for each fact."""
    page = Page()
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


def compilation(result: WarmUp) -> bytes:
    """What was compiled, module by module."""
    page = Page()
    if not result.compiled:
        page.line(f"Nothing was left to compile: all is in {result.folder}.")
        return page.bytes()
    seconds: dict[str, list[float]] = defaultdict(list)
    for one in result.compiled:
        seconds[one.function.rpartition(".")[0]].append(one.seconds)
    page.table(
        ("module", "functions", "seconds"),
        ((module, str(len(parts)), f"{sum(parts):.1f}") for module, parts in seconds.items()),
        last=("in all", str(len(result.compiled)), f"{sum(one.seconds for one in result.compiled):.1f}"),
    )
    page.line()
    page.line(f"{counted(len(result.compiled), 'function')} compiled, and kept in {result.folder}.")
    return page.bytes()
