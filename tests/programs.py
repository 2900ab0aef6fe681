"""Python programs that tests run in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path


def python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs ``code`` with the helpers of tests/ importable, and without the settings of this process's environment."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("XENMEM_")}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**inherited, "PYTHONPATH": str(Path(__file__).parent), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
