"""What the whole suite shares: where the data are, a deadline for slow machines, and searches compiled before."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest
import records_of_2008

hypothesis.settings.register_profile("xenmem", deadline=None, print_blob=True)
hypothesis.settings.load_profile("xenmem")

PLANNERS = Path(__file__).parent / "planning"

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as below `nohup` and `&`: processes that tests interrupt inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["PYTHONSAFEPATH"] = "1"  # processes that tests start import the installed package, not this folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of the planners, and those that start commands (fixture `warm`), need the searches compiled."""
    for item in items:
        if PLANNERS in item.path.parents or "warm" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.compiled)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of golden vectors and made-up inventories."""
    return Path(__file__).parent / "data"


@pytest.fixture(scope="session", params=["made", *(["captured"] if records_of_2008.CAPTURED.exists() else [])])
def old_records(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of records of 2008: made up, and the captured one where it is."""
    return records_of_2008.paths(tmp_path_factory.mktemp("records"))[request.param]


@pytest.fixture(scope="session")
def warm() -> None:
    """All searches are compiled, so that no process that a test starts has to announce it."""
    subprocess.run([sys.executable, "-m", "xenmem", "warm-up"], stdout=subprocess.DEVNULL, check=True)
