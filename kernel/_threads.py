"""How many threads the array functions use, and the split of an array over them.

Both backends release the GIL. The threshold is a measurement: below it, handing a part to another thread costs more
than the part itself (benchmarks/, class Threads).
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

ELEMENTS_PER_THREAD: Final = 1 << 17


class _Threads:
    count = 0  # 0: not yet asked for


def threads() -> int:
    """Threads that large arrays are split over: ``set_threads``, else XENMEM_THREADS, else the CPUs of this process."""
    if _Threads.count == 0:
        text = os.environ.get("XENMEM_THREADS", "")
        if text and not (text.isascii() and text.isdigit() and int(text) > 0):
            raise ValueError(f"XENMEM_THREADS: {text!r} is not a positive number")
        _Threads.count = int(text) if text else len(os.sched_getaffinity(0))
    return _Threads.count


def set_threads(count: int) -> None:
    """Use ``count`` threads from the next call on.

    Raises
    ------
    ValueError : count is below 1
    """
    if count < 1:
        raise ValueError(f"count: {count} is below 1")
    _Threads.count = count


@lru_cache(maxsize=1)
def _pool(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="xenmem")


os.register_at_fork(after_in_child=_pool.cache_clear)


def in_parts(kernel: Callable[..., bool], columns: Sequence[Any], *leading: object) -> bool:
    """Whether ``kernel(*leading, *columns)`` is true of columns of one length, whole or of every part of them.

    Long columns are split into as many parts as there are threads, which then run in parallel.
    """
    length = len(columns[0])
    if length < 2 * ELEMENTS_PER_THREAD or (count := min(threads(), length // ELEMENTS_PER_THREAD)) == 1:
        return kernel(*leading, *columns)
    bounds = [length * part // count for part in range(count + 1)]
    parts = [slice(start, stop) for start, stop in pairwise(bounds)]
    running: list[Future[bool]] = []
    try:
        for part in parts:
            running.append(_pool(threads()).submit(kernel, *leading, *(column[part] for column in columns)))
        return all(one.result() for one in running)
    finally:
        wait(running)  # who is interrupted, or told of an error, has arrays that nobody writes into any more
