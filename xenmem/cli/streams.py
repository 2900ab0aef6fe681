"""Standard input, output and error of the command: whole answers or none, one-line errors, progress on a terminal.

Sizes are bytes. Knows neither commands nor inventories.
"""

import os
import shutil
import sys
import time
from typing import Final

from xenmem.text import printable
from xenmem.units import format_size

_PATIENCE_S: Final = 0.5
_INTERVAL_S: Final = 0.1


def complain(problem: str) -> None:
    """Say on stderr, in one line, what is wrong."""
    if sys.stderr is not None:
        line = printable(" ".join(problem.split()))
        sys.stderr.write(f"xenmem: error: {line}\n")


def deliver(answer: bytes) -> int:
    """Write an answer to standard output.

    Returns
    -------
    exit status: 0, or 2 if it cannot be written
    """
    if sys.stdout is None:
        complain("<stdout>: is closed")
        return 2
    try:
        sys.stdout.buffer.write(answer)
        sys.stdout.buffer.flush()
    except OSError as error:
        return give_up(error)
    return 0


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


class Progress:
    """How far reading a file has come, on a terminal at stderr, once it takes long; silent elsewhere.

    Use as a context: the line is wiped at the end.
    """

    def __init__(self, name: str) -> None:
        self._name = printable(name)
        self._is_seen = sys.stderr is not None and sys.stderr.isatty()
        self._next = time.monotonic() + _PATIENCE_S
        self._length = 0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._length:
            sys.stderr.write("\r" + " " * self._length + "\r")
            sys.stderr.flush()

    def __call__(self, done: int, size: int | None) -> None:
        """Take note of ``done`` bytes of ``size``, if that is known."""
        now = time.monotonic()
        if not self._is_seen or now < self._next:
            return
        self._next = now + _INTERVAL_S
        share = f"{100 * done // size:3}% of {format_size(size)}" if size else format_size(done)
        room = max(10, shutil.get_terminal_size().columns - 1)
        line = f"reading {self._name}: {share}"
        line = line if len(line) <= room else f"reading: {share}"[:room]
        sys.stderr.write("\r" + line.ljust(self._length))
        sys.stderr.flush()
        self._length = max(self._length, len(line))
