"""Large arrays, split over threads: the same answers for any number of threads, from any number of callers."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import arrays
import numpy as np
import pytest
from engines import Engine
from programs import python

from xenmem import kernel
from xenmem.kernel import _threads

POOL = 997  # rows that are repeated: a prime, so that they meet every lane and every border between threads


def repeated(function: str, count: int) -> tuple[dict[str, Any], tuple[np.ndarray, ...]]:
    """Arguments of any length, and what the reference answers."""
    given = arrays.arguments(function, 21, POOL)
    wanted = arrays.expected_rows(function, given, kernel.DEFAULT_MODEL, {})
    return {k: np.resize(v, count) for k, v in given.items()}, tuple(np.resize(v, count) for v in wanted)


@pytest.mark.parametrize("function", arrays.ARGUMENTS)
def test_any_number_of_threads(engine: Engine, function: str, threads: None) -> None:
    for count in (262_143, 262_144, 700_001):
        given, wanted = repeated(function, count)
        for number in (1, 2, 3, 5):
            kernel.set_threads(number)
            assert kernel.threads() == number
            label = f"{count} rows, {number} threads"
            arrays.assert_equal(
                function, arrays.Case(-1, label, given), engine.ask(function, **given), wanted, str(engine)
            )


def test_concurrent_callers(engine: Engine, threads: None) -> None:
    """Callers with different sizes and models do not get each other's answers."""
    kernel.set_threads(2)
    requests = [(name, repeated(name, count)) for name in arrays.ARGUMENTS for count in (1, 1000, 300_000)]

    def call(request: tuple[str, tuple[dict[str, Any], tuple[np.ndarray, ...]]]) -> bool:
        function, (given, wanted) = request
        answer = engine.ask(function, **given)
        return all(map(np.array_equal, answer if isinstance(answer, tuple) else (answer,), wanted))

    with ThreadPoolExecutor(6) as callers:
        assert all(callers.map(call, requests * 3))


def test_environment() -> None:
    code = "from xenmem import kernel; print(kernel.threads())"
    assert python(code, XENMEM_THREADS="3").stdout == "3\n"
    assert python(code, XENMEM_THREADS="").stdout == f"{len(os.sched_getaffinity(0))}\n"


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
def test_environment_out_of_range(value: str) -> None:
    process = python("from xenmem import kernel; kernel.threads()", XENMEM_THREADS=value)
    assert process.returncode == 1
    assert f"XENMEM_THREADS: {value!r}" in process.stderr


def test_after_fork() -> None:
    """A child of a process whose threads are at work has none of them, and must not wait for their answers."""
    process = python(
        """
import os, signal
import numpy as np
from xenmem import kernel
from xenmem.kernel import _threads
kernel.set_threads(2)
static_max = np.arange(600_000)
answer = kernel.overhead(0, static_max, 1, 1.0)
child = os.fork()
if child == 0:
    signal.alarm(20)
    os._exit(0 if np.array_equal(kernel.overhead(0, static_max, 1, 1.0), answer) else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    )
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_nobody_writes_any_more_once_a_call_has_ended(threads: None, error: type[BaseException]) -> None:
    """An error in one part, or Ctrl-C, is told when the other parts are done."""
    kernel.set_threads(2)
    out = np.zeros(2 * _threads.ELEMENTS_PER_THREAD)
    begun = threading.Event()

    def write(column: np.ndarray) -> bool:
        if not np.shares_memory(column, out[:1]):
            begun.wait()
            time.sleep(0.2)
            column[:] = 1
            return True
        begun.set()
        raise error

    with pytest.raises(error):
        _threads.in_parts(write, [out])
    assert out.sum() == _threads.ELEMENTS_PER_THREAD
    out[:] = 0
    time.sleep(0.3)
    assert not out.any()
