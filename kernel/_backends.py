"""Which backends this installation has, and the SIMD level of the C backend."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any


@cache
def backends() -> tuple[str, ...]:
    """The backends of this installation, preferred first: "c" where a compiler was there, and "numba"."""
    return tuple(name for name, module in (("c", "_ffi"), ("numba", "_numba")) if find_spec(f".{module}", __package__))


@cache
def _backend(name: str | None) -> Any:
    chosen = backends()[0] if name is None else name
    if chosen not in backends():
        raise ValueError(f"backend: {chosen!r} is not here; there is {', '.join(backends())}")
    return import_module(f"._{chosen}", __package__)


@cache
def function_of(name: str | None, function: str) -> Callable[..., bool]:
    """A function of the backend of this name, the preferred one if None; ValueError if it is not here."""
    found: Callable[..., bool] = getattr(_backend(name), function)
    return found


@cache
def function_of_one(name: str | None, function: str) -> Callable[..., list[Any] | None] | None:
    """The backend's own way for one VM given as Python numbers, if it has one: see ``_c.OF_ONE``."""
    found: dict[str, Any] = getattr(_backend(name), "OF_ONE", {})
    return found.get(function)


def simd_levels() -> tuple[str, ...]:
    """The SIMD levels of this machine that the C backend can use, narrowest first; empty without the C backend."""
    if "c" not in backends():
        return ()
    c = _backend("c")
    return tuple(c.SIMD_LEVELS[: c.simd_supported() + 1])


def simd() -> str | None:
    """The SIMD level in force ("scalar", "avx2", "avx512"); None without the C backend."""
    if "c" not in backends():
        return None
    c = _backend("c")
    return str(c.SIMD_LEVELS[c.simd_in_force()])


def set_simd(level: str) -> None:
    """Make the C backend use this SIMD level from the next call on, in all threads.

    Raises
    ------
    ValueError : the level is unknown, or this machine or installation does not have it
    """
    if level not in simd_levels():
        raise ValueError(f"level: {level!r} is not here; there is {', '.join(simd_levels()) or 'no C backend'}")
    c = _backend("c")
    c.set_simd(c.SIMD_LEVELS.index(level))
