"""Text fit to be shown: what inventories hold, which may be anything, and the docstrings of the package itself."""

import sys
from collections.abc import Callable
from functools import cache
from inspect import cleandoc
from typing import Any


def printable(text: str) -> str:
    """The text on one line, with whatever could steer a terminal spelt out."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """``1 host``, ``2 hosts``."""
    return f"1 {noun}" if number == 1 else f"{number} {plural or f'{noun}s'}"


def titled(noun: str, name: str) -> str:
    """``pool east``, and ``Pool 7`` where the name says already what it is of."""
    return name if name.casefold().startswith(noun.casefold()) else f"{noun} {name}"


def documentation(function: Callable[..., Any]) -> str:
    """The docstring of a function; from its source where the interpreter leaves docstrings out (PYTHONOPTIMIZE=2)."""
    text = function.__doc__
    if text is None and sys.flags.optimize > 1:
        code = function.__code__
        text = _in_source(code.co_filename).get(code.co_firstlineno)
    return cleandoc(text or "")


@cache
def _in_source(path: str) -> dict[int, str | None]:
    """The docstrings of a file's functions, by the line where each begins, decorators included."""
    import ast

    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib would delay the command
            tree = ast.parse(file.read())
    except OSError:
        return {}
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            found[first] = ast.get_docstring(node, clean=False)
    return found
