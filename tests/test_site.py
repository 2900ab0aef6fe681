"""docs/ as a site: it builds without a warning, every link leads somewhere, nothing is asked for elsewhere."""

import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import xenmem
import xenmem.answers
import xenmem.planning.xapi
from xenmem.cli.app import COMMANDS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("source", "src"), ("iframe", "src"), ("video", "src")}
"""What a browser asks for by itself."""


class Page(HTMLParser):
    """The anchors of a page, its links, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name == "id" and value:
                self.anchors.add(value)
            elif (tag, name) in LOADED and value:
                self.loaded.append(value)
            elif (tag, name) == ("a", "href") and value:
                self.links.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "docs", ".", str(made)]
    done = subprocess.run(
        [*command, "-d", str(made / ".doctrees")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return made


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def _astray(pages: dict[Path, Page]) -> Iterator[str]:
    for path, page in pages.items():
        for link in page.links + page.loaded:
            to = urlsplit(link)
            if to.scheme or to.netloc:
                continue
            target = (path.parent / unquote(to.path)).resolve() if to.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                yield f"{path.name}: no {link}"
            elif to.fragment and target in pages and unquote(to.fragment) not in pages[target].anchors:
                yield f"{path.name}: no anchor {link}"


def test_every_link_leads_somewhere(pages: dict[Path, Page]) -> None:
    assert list(_astray(pages)) == []


def test_no_page_asks_for_anything_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    foreign = {link for page in pages.values() for link in page.loaded if urlsplit(link).netloc}
    assert foreign == set()
    styles = [path.read_text() for path in site.rglob("*.css")]
    assert styles
    assert [style for style in styles if "url(http" in style or "@import" in style or "url(//" in style] == []


def test_it_begins_with_the_readme(site: Path) -> None:
    assert (site / "index.html").read_bytes() == (site / "README.html").read_bytes()


def test_every_page_is_in_it(site: Path) -> None:
    written = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]
    written += (ROOT / "docs").rglob("*.md")
    assert [page for page in written if not (site / page.relative_to(ROOT)).with_suffix(".html").exists()] == []


def test_the_reference_is_whole(site: Path, pages: dict[Path, Page]) -> None:
    """Every command, every public function and class, and what the header declares has an anchor."""
    reference = site / "docs" / "reference"
    commands = pages[reference / "commands.html"].anchors
    assert [name for name in COMMANDS if f"xenmem-{name}" not in commands] == []
    python = pages[reference / "python.html"].anchors
    for room in (xenmem.kernel, xenmem.planning, xenmem.planning.xapi, xenmem.answers):
        public = [name for name in room.__all__ if callable(getattr(room, name))]
        assert [name for name in public if f"{room.__name__}.{name}" not in python] == []
    declared = {
        f"c.xenmem_{name}" for name in ("overhead", "free_memory", "simd_supported", "version", "model", "status")
    }
    assert declared <= pages[reference / "c.html"].anchors
