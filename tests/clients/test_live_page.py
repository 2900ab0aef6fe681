"""The live page of `serve --web` in headless Chromium."""

from collections.abc import Iterator

import pytest
from clients_at import Node
from servers import PASSWORD, USER, Served, served

pytestmark = [pytest.mark.slow, pytest.mark.compiled, pytest.mark.client("Chromium, axe-core", "Debian's, 4.14.1")]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The example pool, with its page."""
    with served(tmp_path_factory.mktemp("web"), "--web", "--pace", "jump") as made:
        yield made


@pytest.mark.parametrize(("width", "scheme"), [("360", "dark"), ("1280", "light")])
def test_the_live_page(web: Served, node: Node, width: str, scheme: str) -> None:
    told = node("live.mjs", web.url, USER, PASSWORD, "", width, scheme)
    assert told["console"] == ["Failed to load resource: the server responded with a status of 400 (Bad Request)"]
    assert told["hosts"] == ["xen01.par.example", "xen02.stage.example", "xen03.lab.example", "xen04.lon.example"]
    assert told["nothing"] == "nothing is asked: choose hosts, or a VM to add"
    failed, added = told["verdicts"]
    assert failed.startswith("If xen01.par.example fails,")
    assert added.startswith("1 of 1 new VM of 1GiB and 2 vCPUs")
    assert {"restarts", "starts"} <= set(told["moves"])
    assert told["added"] == ["new VM 1"]
    assert told["renamed"]
    assert told["chosen"] == ["another name"]
    assert told["live"].startswith("live: as of ")
    assert told["violations"] == []
