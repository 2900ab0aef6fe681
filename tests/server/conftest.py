"""A server for the tests of a file that do not change it."""

from collections.abc import Iterator

import pytest
from servers import Served, served


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The example pool, in real time."""
    with served(tmp_path_factory.mktemp("server")) as made:
        yield made


@pytest.fixture(scope="module")
def session(server: Served) -> str:
    """Of pool-admin."""
    return server.log_in()
