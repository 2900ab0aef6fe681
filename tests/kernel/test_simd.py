"""The choice of the SIMD level: by the machine, narrowed by the environment or by the process."""

import arrays
import numpy as np
import pytest
from programs import python

from xenmem import kernel

LEVELS = ("scalar", "avx2", "avx512")
CODE = """
import numpy as np
from xenmem import kernel
print(kernel.simd(), kernel.overhead([0, 1, 2, 3] * 5, 4096 << 20, 2, 1.5, backend="c").sum() >> 20)
"""
ANSWER = 5 * (54 + 53 + 122 + 54)


def test_levels() -> None:
    levels = kernel.simd_levels()
    assert levels == LEVELS[: len(levels)]
    assert kernel.simd() in levels


def test_widest_by_default() -> None:
    assert python(CODE).stdout.split() == [kernel.simd_levels()[-1], str(ANSWER)]


@pytest.mark.parametrize("level", LEVELS)
def test_environment(level: str) -> None:
    """A level that the machine lacks means the widest that it has."""
    in_force = level if level in kernel.simd_levels() else kernel.simd_levels()[-1]
    assert python(CODE, XENMEM_SIMD=level).stdout.split() == [in_force, str(ANSWER)]


def test_environment_does_not_bind_the_setter() -> None:
    widest = kernel.simd_levels()[-1]
    code = f"from xenmem import kernel; kernel.set_simd({widest!r})" + CODE
    assert python(code, XENMEM_SIMD="scalar").stdout.split() == [widest, str(ANSWER)]


def test_setter() -> None:
    before = kernel.simd()
    assert before is not None
    given = arrays.arguments("overhead", 1, 100)
    answers = []
    for level in kernel.simd_levels():
        kernel.set_simd(level)
        assert kernel.simd() == level
        answers.append(kernel.overhead(**given, backend="c"))
    kernel.set_simd(before)
    assert all(np.array_equal(answer, answers[0]) for answer in answers)


@pytest.mark.parametrize("level", ["", "AVX2", "sse", "avx-512", None])
def test_unknown_level(level: str) -> None:
    with pytest.raises(ValueError, match=r"scalar"):
        kernel.set_simd(level)
