"""Each backend without the other, and numba without its compiler: three kinds of process of their own."""

import pytest
from programs import python

HIDE_C = """
import sys

class Others:
    finders = list(sys.meta_path)

    def find_spec(self, name, path=None, target=None):
        if name == "xenmem.kernel._ffi":
            return None
        return next(filter(None, (finder.find_spec(name, path, target) for finder in self.finders)), None)

sys.meta_path[:] = [Others()]
"""


def test_c_does_not_import_numba() -> None:
    process = python(
        """
import sys
from xenmem import kernel
kernel.backends(), kernel.simd_levels(), kernel.threads(), kernel.model_for("26.3")
assert kernel.overhead([0, 1], 1 << 30, 1, 1.0).tolist() == [12 << 20, 11 << 20]
kernel.required_memory(0, 1 << 30, 1 << 30, 1, 1.0)
kernel.maximise_memory(0, 1, 1.0, 1 << 34)
kernel.build_memory(0, 1 << 30, 1 << 30, 8 << 20)
kernel.free_memory([1], [1], [1], [0], [-1])
print(kernel.backends()[0], sorted({name.partition(".")[0] for name in sys.modules} & {"numba", "llvmlite"}))
"""
    )
    assert process.stdout == "c []\n", process.stderr


def test_without_c() -> None:
    """A machine that had no compiler: numba answers, and what needs C says what there is."""
    process = python(
        HIDE_C
        + """
from xenmem import kernel
print(kernel.backends(), kernel.simd_levels(), kernel.simd())
print(kernel.overhead([0, 1], 1 << 30, 1, 1.0).tolist())
print(kernel.free_memory([10], [1], [2], [0], [-1]).tolist())
try:
    kernel.overhead(0, 1 << 30, 1, 1.0, backend="c")
except ValueError as error:
    print(error)
try:
    kernel.set_simd("scalar")
except ValueError as error:
    print(error)
"""
    )
    lines = process.stdout.splitlines()
    assert lines[:3] == ["('numba',) () None", f"[{12 << 20}, {11 << 20}]", "[7]"], process.stderr
    assert "'c'" in lines[3]
    assert "numba" in lines[3]
    assert "no C backend" in lines[4]


@pytest.mark.parametrize("function", ["overhead", "required_memory", "maximise_memory", "build_memory"])
def test_without_jit(function: str) -> None:
    """The numba backend as plain Python: a wrong answer that only the compiler makes right would show here."""
    process = python(
        """
import sys, warnings
import arrays, numba, numpy as np
from xenmem import kernel
warnings.simplefilter("error")
assert numba.config.DISABLE_JIT
function = sys.argv[1]
for model in kernel.MODELS:
    few = {name: column[::41] for name, column in arrays.all_edges(function).items()}
    for given in (few, *(arrays.arguments(function, count, count) for count in (0, 1, 500))):
        wanted = arrays.expected_rows(function, given, model, {})
        answer = getattr(kernel, function)(**given, model=model, backend="numba")
        arrays.assert_equal(function, arrays.Case(-1, "without JIT", given), answer, wanted)
print("equal")
""",
        function,
        NUMBA_DISABLE_JIT="1",
    )
    assert process.stdout == "equal\n", process.stderr


def test_free_memory_without_jit() -> None:
    process = python(
        """
import warnings
import numpy as np
from twins import reference
from xenmem import kernel
warnings.simplefilter("error")
rng = np.random.default_rng(0)
given = [rng.integers(0, 1 << 50, 9), *rng.integers(0, 1 << 46, (2, 300)), *rng.integers(-1, 9, (2, 300))]
wanted = reference.free_memory(*(column.tolist() for column in given))
assert kernel.free_memory(*given, backend="numba").tolist() == wanted
print("equal")
""",
        NUMBA_DISABLE_JIT="1",
    )
    assert process.stdout == "equal\n", process.stderr
