"""What the whole suite shares: where the data are, and a deadline that suits slow machines."""

import os
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
