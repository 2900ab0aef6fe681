"""The engines under test: every backend, and the C backend once for each SIMD level that this machine has.

An engine asks xenmem.kernel and compares with twins/reference.py; nothing is said here of what an answer should be.
"""

from typing import Any, NamedTuple

import arrays
from twins import reference

from xenmem import kernel


def kernel_model(model: str | reference.Model) -> str | kernel.OverheadModel:
    return model if isinstance(model, str) else kernel.OverheadModel(*model)


class Engine(NamedTuple):
    backend: str
    simd: str | None

    def __str__(self) -> str:
        return f"{self.backend}-{self.simd}" if self.simd else self.backend

    def ask(self, function: str, /, *positional: Any, **named: Any) -> Any:
        return getattr(kernel, function)(*positional, backend=self.backend, **named)

    def check(
        self, function: str, model: str | reference.Model = kernel.DEFAULT_MODEL, only: str = "", **options: Any
    ) -> None:
        """All numbered cases of an element-wise function, or those with a word in their label."""
        for case in arrays.cases(function):
            if only in case.label:
                answer = self.ask(function, **case.arguments, **options, model=kernel_model(model))
                wanted = arrays.expected(function, case.number, model, **options)
                arrays.assert_equal(function, case, answer, wanted, f"{self} {model} {options or ''}")

    def check_rows(
        self, function: str, columns: dict[str, Any], model: str | reference.Model, label: str, **options: Any
    ) -> None:
        """One case that has no number, under any model."""
        wanted = arrays.expected_rows(function, columns, model, options)
        answer = self.ask(function, **columns, **options, model=kernel_model(model))
        arrays.assert_equal(function, arrays.Case(-1, label, columns), answer, wanted, f"{self} {model}")


SIMD_LEVELS = kernel.simd_levels() if "c" in kernel.backends() else ()
ENGINES = [Engine("c", level) for level in SIMD_LEVELS]
ENGINES += [Engine(backend, None) for backend in kernel.backends() if backend != "c"]
