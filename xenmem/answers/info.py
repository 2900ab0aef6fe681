"""What this installation is and runs on, and what it compiles ahead of time: versions, backends, SIMD level, threads.

Versions come from the packages' metadata, so that nothing is imported for the answer. Knows no inventory.
"""

import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from xenmem import kernel
from xenmem.answers.naming import Answer, QuestionError, Result
from xenmem.planning.search.engine import engine
from xenmem.text import counted

_PACKAGES = ("numpy", "numba", "cffi", "click", "rich", "msgspec", "XenAPI")


class Installation(Answer, frozen=True):
    """The installation.

    Attributes
    ----------
    backends : preferred first
    searches : what runs those of the planners, "c" or "numba"
    simd : level in force; None without the C backend
    simd_supported : levels that this machine and installation have, narrowest first
    packages : versions; empty where a package is not installed
    """

    version: str
    default_model: str
    models: list[str]
    backends: list[str]
    searches: str
    simd: str | None
    simd_supported: list[str]
    threads: int
    cpu: str
    machine: str
    system: str
    python: str
    packages: dict[str, str]


def info() -> Installation:
    """The installation that answers.

    Raises
    ------
    ValueError : XENMEM_THREADS is no positive number
    """
    found = " and ".join(kernel.backends())
    level = kernel.simd()
    return Installation(
        verdict=f"xenmem {_version('xenmem')} computes with {found}{f' ({level})' if level else ''}.",
        outcome="yes",
        version=_version("xenmem"),
        default_model=kernel.DEFAULT_MODEL,
        models=list(kernel.MODELS),
        backends=list(kernel.backends()),
        searches=engine(),
        simd=level,
        simd_supported=list(kernel.simd_levels()),
        threads=kernel.threads(),
        cpu=_cpu(),
        machine=platform.machine(),
        system=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        packages={name: _version(name) for name in _PACKAGES},
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = [
        value.strip() for name, _, value in (line.partition(":") for line in lines) if name.strip() == "model name"
    ]
    return names[0] if names else platform.processor() or platform.machine()


class CompiledFunction(Result, frozen=True):
    """A function, and the seconds that its compilation took, without those of what it calls."""

    function: str
    seconds: float


class WarmUpReport(Answer, frozen=True):
    """What was compiled ahead of time.

    Attributes
    ----------
    compiled : in the order in which it was; empty if nothing was left to compile
    seconds : for all of it
    folder : where the results are kept
    """

    compiled: list[CompiledFunction]
    seconds: float
    folder: str


def warm_up(progress: Callable[[str, int], None] | None = None) -> WarmUpReport:
    """Compile what the numba backend has not compiled yet, and the searches where numba runs them.

    Parameters
    ----------
    progress : as for planning.compilation.warm_up

    Raises
    ------
    QuestionError : no folder can keep what is compiled
    OSError : the folder cannot keep all of it
    """
    from xenmem.planning import compilation  # brings numba along, which `info` does without

    try:
        done = compilation.warm_up(progress)
    except RuntimeError as error:
        raise QuestionError(str(error)) from None
    text = f"{counted(len(done.compiled), 'function')} compiled" if done.compiled else "Nothing was left to compile"
    return WarmUpReport(
        verdict=f"{text}: all is in {done.folder}.",
        outcome="yes",
        compiled=[CompiledFunction(function=one.function, seconds=round(one.seconds, 3)) for one in done.compiled],
        seconds=round(done.seconds, 3),
        folder=done.folder,
    )
