"""The exit statuses of the command, in the one place that declares them: code and every help take them from here."""

from enum import IntEnum
from typing import Final


class Status(IntEnum):
    """What the exit status says."""

    YES = 0
    NO = 1
    MISTAKE = 2
    UNKNOWN = 3
    INTERRUPTED = 130


MEANINGS: Final = {
    Status.YES: "the answer is yes, or what was asked for",
    Status.NO: "the answer is no: it does not fit, start, survive or go through",
    Status.MISTAKE: "the question or the inventory is wrong, which one line says",
    Status.UNKNOWN: "not known: not found out in time, or out of reach",
    Status.INTERRUPTED: "Ctrl-C; what was found until then is printed",
}
"""For the helps and the manual page, in their order."""

OF_OUTCOME: Final = {"yes": Status.YES, "no": Status.NO, "unknown": Status.UNKNOWN}
"""What an answer's outcome becomes."""
