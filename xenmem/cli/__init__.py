"""The command `xenmem`: reads arguments and inventories, asks xenmem.answers, and shows what it says. Computes nothing.

Modules are imported when a command needs them: start-up time counts, and only tables may cost the import of rich.
"""

import os
import sys

TYPE_CHECKING = False  # no import here: an interrupt within it would be a traceback

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: "Sequence[str] | None" = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : those of the process by default

    Returns
    -------
    exit status: 0, or 2 after an error of one line on stderr, or 130 after an interrupt
    """
    # nothing here uses BLAS, and numpy's import would wait for a thread of it on each CPU
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from xenmem.cli.app import run

        return run(arguments)
    except KeyboardInterrupt:
        try:
            if sys.stderr is not None:
                sys.stderr.write("xenmem: error: interrupted\n")
        except OSError:  # there is nobody left to tell
            pass
        return 130
