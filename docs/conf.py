"""docs/ as a site: the pages as they stand, joined by the tables of docs/README.md, and the generated reference.

The sources are all of the checkout's pages, so that links between them and to README, CHANGELOG and the others are the
same on the site and on a forge. Nothing is fetched, and no page asks for anything from elsewhere.
"""

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs"))

project = "xenmem"
version = release = re.search(r'#define XENMEM_VERSION "(.+)"', (ROOT / "csrc" / "xenmem.h").read_text())[1]  # type: ignore[index]
copyright = "the authors of xenmem, Apache License 2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click", "generated"]
root_doc = "README"
include_patterns = ["*.md", "docs/**.md"]
exclude_patterns = [".*", "build", "dist", "tests", "benchmarks", "xenmem", "kernel", "csrc", "examples", "*.egg-info"]
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*"), ("c:identifier", "u?int[0-9]+_t|size_t")]  # links to what is elsewhere
default_role = "literal"
smartquotes = False  # --model is an option

myst_heading_anchors = 6
myst_enable_extensions = []
autodoc_typehints = "signature"
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = f"xenmem {release}"
html_static_path = [str(ROOT / "docs" / "site.css")]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False


TABLE = re.compile(r"^\| ([^|]+) \| \|\n\| --- \| --- \|\n((?:\|.*\n)+)", re.MULTILINE)
ROW = re.compile(r"^\| \[.*?\]\(([^)#]+)\)", re.MULTILINE)


def _navigation(index: Path) -> str:
    """Trees of pages: the tables of docs/README.md, whose heading is the caption."""
    trees = ["```{toctree}\n:hidden:\n\ndocs/README\n```\n"]
    for caption, rows in TABLE.findall(index.read_text()):
        pages = [(index.parent / link).resolve().relative_to(ROOT).with_suffix("") for link in ROW.findall(rows)]
        names = "\n".join(page.as_posix() for page in pages if page.as_posix() != root_doc)
        trees.append(f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{names}\n```\n")
    return "\n".join(trees)


def _with_navigation(_: Sphinx, docname: str, source: list[str]) -> None:
    if docname == root_doc:
        source[0] += "\n" + _navigation(ROOT / "docs" / "README.md")


def _begin_at_the_readme(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        (app.outdir / "index.html").write_bytes((app.outdir / "README.html").read_bytes())


def setup(app: Sphinx) -> None:
    app.connect("source-read", _with_navigation)
    app.connect("build-finished", _begin_at_the_readme)
