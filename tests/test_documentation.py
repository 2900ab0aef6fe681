"""The documentation is true: its Python blocks run as written, and its commands print what it says they print.

A fenced block of language ``pycon`` is a session, ``console`` a shell session whose commands start with ``$ ``; a block
of another language (``text`` for what differs by machine) is not run. Commands run in the folder of the project.
"""

import dataclasses
import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import xenmem
import xenmem.inventory
from xenmem import kernel
from xenmem.columns import TABLE_TYPES

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COLUMN = re.compile(r"^\| `(\w+)` \| (\w+) \|", re.MULTILINE)
COMMAND = re.compile(r"^\$ (.*(?:\\\n.*)*)\n((?:(?!\$ ).*\n?)*)", re.MULTILINE)


def blocks(language: str) -> list[object]:
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in BLOCK.finditer(text):
            if match[1] == language:
                line = text.count("\n", 0, match.start()) + 2
                found.append(pytest.param(match[2], id=f"{page.name}:{line}"))
    return found


@pytest.mark.compiled
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_sessions(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sessions of a page are one: a later block knows the names of an earlier one."""
    monkeypatch.chdir(ROOT)
    sessions = "\n".join(match[2] for match in BLOCK.finditer(page.read_text()) if match[1] == "pycon")
    test = doctest.DocTestParser().get_doctest(sessions, {"__name__": "__main__"}, page.name, None, None)
    complaints: list[str] = []
    failed, _ = doctest.DocTestRunner(verbose=False).run(test, out=complaints.append)
    assert failed == 0, "".join(complaints)


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("block", blocks("console"))
def test_shell_session(block: str) -> None:
    commands = COMMAND.findall(block)
    assert commands, "a console block without a command"
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONIOENCODING": "utf-8",
        "XENMEM_CONFIG": os.devnull,
    }
    environment.pop("COLUMNS", None)
    for command, printed in commands:
        process = subprocess.run(
            ["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        shown = process.stdout + process.stderr
        assert [line.rstrip() for line in shown.rstrip().splitlines()] == [
            line.rstrip() for line in printed.rstrip().splitlines()
        ], command


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("picture", sorted((ROOT / "docs" / "pictures").iterdir()), ids=lambda path: path.name)
def test_pictures_are_what_is_drawn_now(picture: Path, tmp_path: Path) -> None:
    """As `make pictures` draws them."""
    makefile = (ROOT / "Makefile").read_text()
    (line,) = re.findall(rf"^\t\$\(BIN\)/(xenmem plot .* docs/pictures/{picture.name}.*)$", makefile, re.MULTILINE)
    drawn = tmp_path / picture.name
    command = line.replace(f"docs/pictures/{picture.name}", str(drawn)).split()
    subprocess.run([Path(sys.executable).parent / command[0], *command[1:]], cwd=ROOT, capture_output=True, check=True)
    assert drawn.read_text() == picture.read_text(), "make pictures"


def test_the_columns_of_a_fleet_are_documented() -> None:
    fleet = xenmem.read(ROOT / "examples" / "pool.xml.gz")
    sections = (ROOT / "docs" / "reference" / "fleet.md").read_text().split("\n### ")
    documented = {section.split("\n")[0]: dict(COLUMN.findall(section)) for section in sections}
    common = documented["Every table"]
    for name in TABLE_TYPES:
        table = getattr(fleet, name)
        assert common | documented[name] == {
            field.name: str(getattr(table, field.name).dtype) for field in dataclasses.fields(table)
        }


def test_the_notes_of_reading_are_documented() -> None:
    source = Path(xenmem.inventory.__file__ or "").parent
    code = "".join(path.read_text() for path in source.glob("*.py"))
    kinds = set(re.findall(r'(?:\.note\(|_not_told\(|Note\(\s*self\.source,)\s*"([a-z-]+)"', code))
    page = (ROOT / "docs" / "reference" / "fleet.md").read_text()
    assert "skipped" in kinds
    assert [kind for kind in sorted(kinds) if f"`{kind}`" not in page] == []


def test_the_rooms_of_a_pool_in_memory_hold_what_is_said() -> None:
    rooms = re.findall(
        r"^\| `(\w+/)` \| (.*) \|$", (ROOT / "docs" / "reference" / "xenapi.md").read_text(), re.MULTILINE
    )
    named = [folder + name for folder, text in rooms for name in re.findall(r"`(\w+\.py)`", text)]
    assert len(named) > 20
    assert [name for name in named if not (ROOT / "xenmem" / "xenapi" / name).exists()] == []


def test_the_numbers_of_the_memory_model() -> None:
    """The page's overheads are the kernel's, and it tells of every model that there is."""
    page = (ROOT / "docs" / "reference" / "memory-model.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (\d+) \| ([\d.]+) \| (\d+) \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    assert len(rows) == 9
    for static_max, vcpus, multiplier, *mib in rows:
        kinds = [kernel.DomainType.HVM, kernel.DomainType.PV_IN_PVH, kernel.DomainType.PV]
        overhead = kernel.overhead(kinds, int(static_max), int(vcpus), float(multiplier), model="26.3")
        assert (overhead >> 20).tolist() == list(map(int, mib))
    assert {name for name in kernel.MODELS if f"| `{name}` |" not in page} == set()


def test_first_two_commands_of_the_readme() -> None:
    """What opens the README is what sets everything up: the example, then the tests."""
    commands = COMMAND.findall((ROOT / "README.md").read_text())
    assert [command for command, _ in commands[:1]] == ["make demo"]
    assert "make test" in (ROOT / "README.md").read_text()
