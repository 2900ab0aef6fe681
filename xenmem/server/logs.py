"""What happens, a JSON object a line: for who operates a server. Passwords and sessions never come here."""

import json
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import IO, Any


class Log:
    """Writes lines.

    Parameters
    ----------
    file : where to; by default standard error
    """

    def __init__(self, file: IO[str] | None = None) -> None:
        self._file = file or sys.stderr

    def __call__(self, event: str, **values: Any) -> None:
        """One line: when, what, and what belongs to it; whoever reads no more is written to no more."""
        moment = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")
        with suppress(OSError, ValueError):
            print(json.dumps({"time": moment, "event": event, **values}, default=str), file=self._file, flush=True)
