"""Fixtures of the kernel tests: each engine in turn, and settings of the process put back after a test."""

from collections.abc import Iterator

import pytest
from engines import ENGINES, Engine

from xenmem import kernel


@pytest.fixture(params=ENGINES, ids=str, scope="module")
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    chosen: Engine = request.param
    if chosen.simd is None:
        yield chosen
        return
    before = kernel.simd()
    kernel.set_simd(chosen.simd)
    yield chosen
    kernel.set_simd(before)


@pytest.fixture
def threads() -> Iterator[None]:
    """Whatever number of threads a test sets, the next one starts with what was in force."""
    before = kernel.threads()
    yield
    kernel.set_threads(before)
