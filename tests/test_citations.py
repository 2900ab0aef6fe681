"""No citation dangles: pages, sections, rows and steps that comments, docstrings and pages name stand here.

A citation in code is ``docs/reference/messages.md, 2.4 row 16``; a page by its bare name is one of docs/reference.
Pages cite each other by links, ``[planning.md](planning.md), 4.3``.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
SOURCES = sorted(
    path
    for folder in ("kernel", "xenmem", "csrc", "tests", "benchmarks")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".pyi", ".c", ".h") and "xenmem/kernel" not in path.as_posix()
)

NUMBER = r"\d+(?:\.\d+)*"
PLACES = rf"{NUMBER}(?:(?:,? (?:and|to) |, | rows? | steps? ){NUMBER})*"
IN_CODE = re.compile(rf"((?:[\w.-]+/)*[\w-]+\.md)\b(?:, ({PLACES}))?")
IN_PAGES = re.compile(rf"\]\(([^()#\s]*)(?:#([^()\s]+))?\)(?:, ({PLACES}))?")
HEADING = re.compile(rf"^#+ (({NUMBER}) .*|.*)$", re.MULTILINE)
ELSEWHERE = re.compile(r"\b[A-F]\.\d|\b[Ss]ections? [\dA-F]|\b[Ss]pec\b|\[inf\]|§|\b[a-z]+-(?:messages|formats)\b")
"""How one would cite what stands nowhere here: lettered sections, sections of no page, others' names of pages."""


@cache
def sections(page: Path) -> dict[str, str]:
    """Text up to the next heading, by number of the section."""
    text = page.read_text()
    found = list(HEADING.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    return {match[2]: text[match.end() : end] for match, end in zip(found, ends, strict=True) if match[2]}


@cache
def anchors(page: Path) -> set[str]:
    titles = (match[1].lower() for match in HEADING.finditer(page.read_text()))
    return {re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in titles}


def missing(page: Path, places: str) -> Iterator[str]:
    """The sections, rows and steps among ``2.3, 2.4 rows 4 and 16 to 19`` that the page lacks."""
    section, words = "", re.findall(rf"{NUMBER}|\w+", places)
    rows = False
    for at, word in enumerate(words):
        if not word[0].isdigit():
            rows = word in ("row", "rows", "step", "steps") or (rows and word in ("and", "to"))
        elif rows and "." not in word and words[at + 1 : at + 2] not in (["row"], ["rows"], ["step"], ["steps"]):
            if not re.search(rf"^(?:\| {word} \||\s*{word}\. )", sections(page).get(section, ""), re.MULTILINE):
                yield f"{section} row {word}"
        else:
            section, rows = word, False
            if section not in sections(page):
                yield section


def remarks(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text, in one line, of every comment and docstring; comments that follow each other are one."""
    text = path.read_text()
    flat = " ".join(text.split())
    if not IN_CODE.search(flat) and not ELSEWHERE.search(flat):
        return
    if path.suffix in (".c", ".h"):
        for match in re.finditer(r"/\*.*?\*/|//[^\n]*", text, re.DOTALL):
            yield text.count("\n", 0, match.start()) + 1, " ".join(re.sub(r"^\s*\*", "", match[0], flags=re.M).split())
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, " ".join(node.value.value.split())
    block, last = "", -1
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] != last + 1 and block:
                yield last, block
                block = ""
            block, last = f"{block} {token.string.lstrip('#').strip()}".strip(), token.start[0]
    if block:
        yield last, block


def complaints(text: str) -> Iterator[str]:
    for name, places in IN_CODE.findall(text):
        page = REFERENCE / name if "/" not in name and (REFERENCE / name).exists() else ROOT / name
        if not page.exists():
            yield f"no page {name}"
        elif places:
            yield from (f"no {place} in {name}" for place in missing(page, places))
    yield from (f"cites what is not here: {match[0]}" for match in ELSEWHERE.finditer(text))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_code_cites_stands_here(path: Path) -> None:
    found = [f"{path.relative_to(ROOT)}:{line}: {what}" for line, text in remarks(path) for what in complaints(text)]
    assert found == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_of_pages_lead_somewhere(page: Path) -> None:
    found = []
    for name, anchor, places in IN_PAGES.findall(page.read_text().replace("\n", " ")):
        if "://" in name or name.startswith("mailto:"):
            continue
        target = page.parent / name if name else page
        if not target.exists():
            found.append(f"no page {name}")
        elif anchor and anchor not in anchors(target):
            found.append(f"no #{anchor} in {name}")
        elif places:
            found += [f"no {place} in {name}" for place in missing(target, places)]
    assert found == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("docs/reference/messages.md, 2.4 row 16", []),
        ("messages.md, 1 row 11, 2.4 rows 4 and 16 to 19, 3.2 step 5", []),
        ("planning.md, 2 to 6; messages.md, 9.1 steps 5 to 8.", []),
        ("messages.md, 2.4 row 99", ["no 2.4 row 99 in messages.md"]),
        ("messages.md, 2.4 rows 4, 98 and 99", ["no 2.4 row 98 in messages.md", "no 2.4 row 99 in messages.md"]),
        ("planning.md, 2.3 and 2.99", ["no 2.99 in planning.md"]),
        ("docs/reference/absent.md, 1", ["no page docs/reference/absent.md"]),
        ("absent.md", ["no page absent.md"]),
        ("see B.2.4, row 16", ["cites what is not here: B.2"]),
        ("spec planning 4.1", ["cites what is not here: spec"]),
        ("as section 4 says", ["cites what is not here: section 4"]),
    ],
)
def test_a_citation_that_dangles_is_seen(text: str, expected: list[str]) -> None:
    assert list(complaints(text)) == expected
