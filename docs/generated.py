"""What the site generates: commands from their declarations, C from the comments of its header, docstrings as they are.

Directives and a reader of docstrings; each makes reStructuredText, which Sphinx checks as it checks the pages.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

QUOTED_PLURAL = re.compile(r"((?<!`)`[^`]+`)(?=\w)")
"""``Plan`` with an s behind it, which reStructuredText wants parted."""
HEADER = Path(__file__).resolve().parents[1] / "csrc" / "xenmem.h"


class _Generated(SphinxDirective):
    def lines(self) -> Iterable[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        text = "\n".join(["```{eval-rst}", *self.lines(), "```"])
        return self.parse_text_to_nodes(text, allow_section_headings=True)


class Commands(_Generated):
    """Every command by the groups of the help, with its examples."""

    def lines(self) -> Iterator[str]:
        from xenmem.cli.app import COMMANDS, GROUPS

        for group in GROUPS:
            yield from (group, "-" * len(group), "")
            for name, about in COMMANDS.items():
                if about.group != group:
                    continue
                stem = name.replace("-", "_")
                yield from (f".. click:: xenmem.cli.{stem}:{stem}", f"   :prog: xenmem {name}", "")
                yield from (".. rubric:: Examples", "", ".. code-block:: text", "")
                for purpose, example in about.examples:
                    line = example if "$" in example else f"xenmem {example}"
                    yield f"   {line}{f'  # {purpose}' if purpose else ''}"
                yield ""


class Header(_Generated):
    """Every constant, type and function of csrc/xenmem.h, each with the comment that stands before it."""

    def lines(self) -> Iterator[str]:
        text = HEADER.read_text()
        yield from _prose(text[: text.index("*/") + 2])
        declared = text[text.index("/* cdef: begin */") : text.index("/* cdef: end */")].partition("\n")[2]
        for block in re.split(r"\n\n+", declared.strip()):
            comment, _, rest = block.partition("*/\n") if block.startswith("/*") else ("", "", block)
            found = re.findall(r"^(?:#define [^\n]*|(?:[^#;{]|\{.*?\})*;)", rest, re.DOTALL | re.MULTILINE)
            above = len(found) > 1  # a comment on several stands before them, on one within it
            yield from _prose(comment) if above else ()
            for text in found:
                yield from _declaration(text.strip().rstrip(";"))
                yield from () if above else (f"   {line}" for line in _prose(comment))


def _declaration(text: str) -> Iterator[str]:
    if found := re.fullmatch(r"#define (\w+) (\S+)(?: */\* (.*) \*/)?", text):
        yield from (f".. c:macro:: {found[1]}", "", f"   {found[2]}{_escaped(f': {found[3]}') if found[3] else ''}", "")
    elif found := re.fullmatch(r"typedef (enum|struct) \w+ \{(.*)\} (\w+)", text, re.DOTALL):
        kind, body, name = found.groups()
        yield from (f".. c:{kind}:: {name}", "")
        if kind == "enum":
            for value, member in enumerate(body.split(",")):
                yield from (f"   .. c:enumerator:: {member.strip()}", "", f"      {value}", "")
        for member, remark in re.findall(r"(\w[^;]*);(?: */\* (.*) \*/)?", body):
            yield from (f"   .. c:member:: {member}", "", f"      {_escaped(remark)}", "")
    else:
        yield from (f".. c:{'function' if '(' in text else 'var'}:: {' '.join(text.split())}", "")


def _prose(comment: str) -> Iterator[str]:
    """Paragraphs, and lists of what is set off from its explanation by two blanks or more."""
    for line in re.sub(r"^/\*|^ \* ?|\s*\*/$", "", comment.strip(), flags=re.MULTILINE).strip("\n").split("\n"):
        if found := re.fullmatch(r" {2,4}(\S+(?:, \S+)*) {2,}(.*)", line):
            yield from ("", _escaped(found[1]), f"   {_escaped(found[2])}")
        elif line.startswith("    "):
            yield f"   {_escaped(line.strip())}"
        else:
            yield _escaped(line.strip())
    yield ""


def _escaped(text: str) -> str:
    return re.sub(r"([*`|\\]|_\b)", r"\\\1", text)


def _docstring(_: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Sections become headings of their own, and entries, ``name : what it is``, a list of definitions."""
    made: list[str] = []
    section = ""
    for line, below in zip(lines, [*lines[1:], ""], strict=False):
        if line and re.fullmatch("-{3,}", below):
            section = line
            made += ["", f".. rubric:: {section}", ""]
        elif section and re.fullmatch("-{3,}", line):
            continue
        elif section not in ("", "Notes", "Examples") and (found := re.fullmatch(r"([\w*][\w.,* ]*) : (.*)", line)):
            made += ["", f"``{found[1]}``", f"    {found[2]}"]
        else:
            made.append(line)
    lines[:] = [QUOTED_PLURAL.sub(r"\1\\ ", line) for line in made]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("xenmem-commands", Commands)
    app.add_directive("xenmem-header", Header)
    app.connect("autodoc-process-docstring", _docstring)
    return {"parallel_read_safe": True}
