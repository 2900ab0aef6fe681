"""A question to a cluster whose workers are killed over it: workers import it, as they cannot a module of tests."""

import os
import time
from pathlib import Path
from typing import Any

from xenmem import Fleet, answers
from xenmem.answers.naming import Answer


def slowly(fleet: Fleet, **keywords: Any) -> Answer:
    """A report that takes a second, over which the worker may be killed: it leaves word of which process asks."""
    mark = Path(keywords["folder"]) / f"{os.getpid()}"
    mark.touch()
    time.sleep(1)
    return answers.report(fleet)
