"""Docstrings agree with signatures: a Parameters section names parameters that exist, in their order."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import xenmem

PACKAGE = Path(xenmem.__file__).parent
SECTION = re.compile(r"^Parameters\n-+\n(.*?)(?=^\w[\w ,]*\n-+$|\Z)", re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r"^(\w[\w, ]*) :", re.MULTILINE)


def documented() -> list[object]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and "Parameters\n" in (ast.get_docstring(node) or ""):
                found.append(pytest.param(node, id=f"{path.relative_to(PACKAGE)}:{node.name}"))
    return found


@pytest.mark.parametrize("function", documented())
def test_parameters(function: ast.FunctionDef) -> None:
    docstring = ast.get_docstring(function)
    assert docstring is not None
    section = SECTION.search(docstring)
    assert section is not None
    names = [name.strip() for entry in ENTRY.findall(section[1]) for name in entry.split(",")]
    arguments = function.args
    starred = [a for a in (arguments.vararg, arguments.kwarg) if a is not None]
    signature = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *starred)]
    assert names
    assert names == [name for name in signature if name in names]


@pytest.mark.parametrize("name", ["overhead", "required_memory", "maximise_memory", "build_memory", "free_memory"])
def test_kernel_functions_say_all(name: str) -> None:
    from xenmem import kernel

    docstring = getattr(kernel, name).__doc__
    documented_names = [
        name.strip() for entry in ENTRY.findall(inspect.cleandoc(docstring)) for name in entry.split(",")
    ]
    assert documented_names[: len(inspect.signature(getattr(kernel, name)).parameters)] == list(
        inspect.signature(getattr(kernel, name)).parameters
    )
    for section in ("Parameters", "Returns", "Raises", "Notes"):
        assert f"    {section}\n    ---" in docstring
    assert "Source: xapi-project/xen-api" in docstring
