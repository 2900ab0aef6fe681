"""What the whole suite shares: where the data are, a deadline for slow machines, and searches compiled before."""

import os
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("xenmem", deadline=None, print_blob=True)
hypothesis.settings.load_profile("xenmem")

os.environ["PYTHONSAFEPATH"] = "1"  # processes that tests start import the installed package, not this folder


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of golden vectors, captures and inventories."""
    return Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def warm() -> None:
    """All searches are compiled, so that no process that a test starts has to announce it."""
    subprocess.run([sys.executable, "-m", "xenmem", "warm-up"], stdout=subprocess.DEVNULL, check=True)
