"""A package's face whose names are imported when they are first used.

A module may bear the name of the function in it (answers/report.py has `report`): importing the module would put it in
the function's place, so a face does not let it.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


class _Face(ModuleType):
    _homes: Mapping[str, str]

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in self._homes):
            super().__setattr__(name, value)


def attach(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a package.

    Parameters
    ----------
    package : its ``__name__``
    modules : by module below the package, the names that are taken from it, with blanks between
    """
    homes = {name: module for module, names in modules.items() for name in names.split()}
    face = sys.modules[package]
    face.__class__ = _Face
    face._homes = homes  # type: ignore[attr-defined]

    def find(name: str) -> Any:
        if name in homes:
            value = getattr(import_module(f"{package}.{homes[name]}"), name)
            setattr(face, name, value)
            return value
        if name in modules:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find, lambda: sorted({*vars(face), *face.__all__})
