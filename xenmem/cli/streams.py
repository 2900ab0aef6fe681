"""Standard input, output and error of the command: whole answers or none, one-line errors, progress on a terminal.

Sizes are bytes. Knows neither commands nor inventories nor planners.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Self

from xenmem.cli.status import Status
from xenmem.text import printable
from xenmem.units import format_size

_PATIENCE_S: Final = 0.5
_INTERVAL_S: Final = 0.1


def complain(problem: str) -> None:
    """Say on stderr, in one line, what is wrong."""
    if sys.stderr is not None:
        line = printable(" ".join(problem.split()))
        with suppress(OSError):  # there is nobody left to tell
            sys.stderr.write(f"xenmem: error: {line}\n")


class Output(bytes):
    """An answer as it is written, the exit status that says what it comes to, and whether people can read it."""

    status: Status
    is_text: bool

    def __new__(cls, content: bytes, status: Status = Status.YES, *, is_text: bool = True) -> Self:
        output = super().__new__(cls, content)
        output.status = status
        output.is_text = is_text and getattr(content, "is_text", True)
        return output


def deliver(answer: Output, path: str | None = None) -> int:
    """Write an answer to standard output, or to a file: all of it or nothing.

    Parameters
    ----------
    path : of the file; None and ``-`` are standard output

    Returns
    -------
    exit status: the answer's, or 2 if it cannot be written
    """
    if path not in (None, "-"):
        return _write(answer, path)
    if sys.stdout is None:
        complain("<stdout>: is closed")
        return 2
    if not answer.is_text and sys.stdout.isatty():
        complain("<stdout>: is a terminal, and the answer is binary: write it to a file with -o, or into a pipe")
        return Status.MISTAKE
    try:
        sys.stdout.buffer.write(answer)
        sys.stdout.buffer.flush()
    except OSError as error:
        return give_up(error)
    return answer.status


def _write(answer: Output, path: str) -> int:
    """A regular file is replaced when all of it is on disk; a pipe or a device is written to."""
    temporary = ""
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 - pathlib would delay the command
            with open(path, "wb") as file:  # noqa: PTH123
                file.write(answer)
            return answer.status
        real = os.path.realpath(path)
        temporary = f"{real}.{os.getpid()}.tmp"
        with open(temporary, "xb") as file:  # noqa: PTH123
            file.write(answer)
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(real):  # noqa: PTH110
            os.chmod(temporary, os.stat(real).st_mode & 0o7777)  # noqa: PTH101, PTH116
        os.replace(temporary, real)  # noqa: PTH105
    except OSError as error:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        complain(f"{path}: {error.strerror}")
        return Status.MISTAKE
    return answer.status


def give_up(error: OSError) -> int:
    """Write no more to standard output, since this happened; a closed pipe is no news to anyone and stays unmentioned.

    Returns
    -------
    exit status: 2
    """
    # the interpreter flushes once more at exit, and would complain then
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not isinstance(error, BrokenPipeError):
        complain(f"<stdout>: {error.strerror}")
    return 2


def announce_compilation() -> None:
    """Have the package's announcement that something is being compiled written to stderr, if there is one to make."""
    import logging  # which numpy brings along later

    logging.basicConfig(format="xenmem: %(message)s")
    logging.getLogger("xenmem").setLevel(logging.INFO)


class _StatusLine:
    """A line on a terminal at stderr that is written over, from when something takes long; silent elsewhere.

    Use as a context: the line is wiped at the end.
    """

    def __init__(self) -> None:
        self._is_seen = sys.stderr is not None and sys.stderr.isatty()
        self._next = time.monotonic() + _PATIENCE_S
        self._length = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._length:
            sys.stderr.write("\r" + " " * self._length + "\r")
            sys.stderr.flush()

    def _is_due(self) -> bool:
        now = time.monotonic()
        if not self._is_seen or now < self._next:
            return False
        self._next = now + _INTERVAL_S
        return True

    def _show(self, line: str, shorter: str) -> None:
        room = max(10, shutil.get_terminal_size().columns - 1)
        line = line if len(line) <= room else shorter[:room]
        self._length = max(self._length, len(line))  # before an interrupt can come in between
        sys.stderr.write("\r" + line.ljust(self._length))
        sys.stderr.flush()


class Reading(_StatusLine):
    """How far reading a file has come."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = printable(name)

    def __call__(self, done: int, size: int | None) -> None:
        """Take note of ``done`` bytes of ``size``, if that is known."""
        if self._is_due():
            share = f"{100 * done // size:3}% of {format_size(size)}" if size else format_size(done)
            self._show(f"reading {self._name}: {share}", f"reading: {share}")


class Compilation(_StatusLine):
    """How far compiling has come."""

    def __call__(self, function: str, done: int) -> None:
        """Take note of a function that begins to be compiled, after so many others."""
        if self._is_due():
            self._show(f"compiling, {done} functions done: {function}", f"compiling, {done} functions done")


class Search(_StatusLine):
    """How far a search has come, and whether Ctrl-C ended it.

    While the context is open, Ctrl-C raises KeyboardInterrupt as ever, which planners take as the end of their search.

    Parameters
    ----------
    describe : what is shown of a report that the planner makes

    Attributes
    ----------
    interrupted : by Ctrl-C
    """

    def __init__(self, describe: Callable[[Any], str]) -> None:
        super().__init__()
        self._describe = describe
        self.interrupted = False

    def __enter__(self) -> Self:
        self._before = signal.getsignal(signal.SIGINT)
        if self._before is signal.default_int_handler:  # else somebody has it ignored
            signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._before is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._before)
        super().__exit__(*exception)

    def _interrupt(self, number: int, frame: object) -> None:
        self.interrupted = True
        raise KeyboardInterrupt

    def __call__(self, report: Any) -> None:
        """Take note of a planner's report."""
        if self._is_due():
            line = f"searching: {self._describe(report)}"
            self._show(line, line)

    def answer(self, content: Output) -> Output:
        """The answer of the search, which is the best so far if Ctrl-C ended it."""
        return Output(content, Status.INTERRUPTED) if self.interrupted else content
