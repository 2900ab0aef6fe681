"""The command `info`."""

from xenmem import answers
from xenmem.answers.info import Installation
from xenmem.cli.arguments import command, format_option
from xenmem.cli.page import Page
from xenmem.cli.show import show
from xenmem.cli.streams import Output


@command
@format_option("table", "json")
def info(form: str) -> Output:
    """Version, models, backends, SIMD level, threads, CPU."""
    return show(answers.info(), form, _table)


def _table(page: Page, result: Installation) -> None:
    """The installation, one line for each fact."""
    simd = f"{result.simd} (supported: {', '.join(result.simd_supported)})" if result.simd else "none: no C backend"
    facts = [
        ("xenmem", result.version),
        ("model", f"{result.default_model} by default; there is {', '.join(result.models)}"),
        ("backends", ", ".join(result.backends)),
        ("searches", result.searches),
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
