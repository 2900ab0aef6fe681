"""The pools of a fleet side by side, on as many threads as kernel.threads() says; the answers of one after another.

The compiled searches release the GIL. What a pool answers depends on the pool alone, so neither the number of threads
nor their turns show. Ctrl-C and reports stay with the thread that asks. Knows nothing of what is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Lock
from typing import Final, NamedTuple, Protocol, TypeVar

from xenmem.columns import Rows
from xenmem.kernel import threads
from xenmem.planning.effort import Effort


class Valued(Protocol):
    """An answer that says what it reaches and what is not excluded."""

    @property
    def value(self) -> int: ...

    @property
    def bound(self) -> int: ...


class Placed(NamedTuple):
    """Where the items of a pool go, what that reaches and what is not excluded."""

    host_of: Rows
    value: int
    bound: int


Pool = TypeVar("Pool")
Answer = TypeVar("Answer")
Found = TypeVar("Found", bound=Valued)

LOOK_SECONDS: Final = 0.1
"""Between two reports while other threads search; Ctrl-C is noticed at once."""


def in_parallel(
    ask: Callable[[Pool], Answer],
    pools: Sequence[Pool],
    watch: Callable[[], None] = lambda: None,
    stop: Callable[[], None] = lambda: None,
) -> list[Answer]:
    """ask(pool) for each pool, in their order.

    Parameters
    ----------
    ask : called on any thread; what it raises for the first pool that fails is raised here
    pools : what to ask of
    watch : called on this thread now and then while the others are at work
    stop : called after Ctrl-C: all that is asked should then come to an end soon, and counts. Ctrl-C that meets `ask`
        on this thread is for `ask` to deal with
    """
    workers = min(threads(), len(pools))
    if workers <= 1:
        return [ask(pool) for pool in pools]
    with ThreadPoolExecutor(workers, thread_name_prefix="xenmem-pool") as executor:
        asked = [executor.submit(ask, pool) for pool in pools]
        running = set(asked)
        while running:
            try:
                done, running = wait(running, LOOK_SECONDS)
                watch()
                if any(answer.exception() for answer in done):
                    stop()
            except KeyboardInterrupt:
                stop()
            except BaseException:
                stop()
                raise
        return [answer.result() for answer in asked]


def search_each(
    search: Callable[[Pool, Effort], Found],
    pools: Sequence[Pool],
    effort: Effort,
    together: Callable[[Sequence[int]], int],
) -> list[Found]:
    """search(pool, its part of the effort) for each pool, in their order.

    Parameters
    ----------
    search : gives the best it has once its effort is over
    pools : what to search in
    effort : for all of them. A pool that begins gets its share of the time that is left, so what easy pools do not
        need is for the others; each has the same random numbers as if it were alone
    together : what the values, and the bounds, of several pools are as one: what progress reports
    """
    if len(pools) == 1:
        return [search(pools[0], effort)]
    lock = Lock()
    parts: list[Effort] = []
    latest: dict[int, tuple[int, int]] = {}
    workers = min(threads(), len(pools))

    def report() -> None:
        if latest:
            values, bounds = zip(*list(latest.values()), strict=True)
            effort.tell(together(values), together(bounds))

    def ask(number: int) -> Found:
        def told(value: int, bound: int) -> None:
            latest[number] = value, bound
            if workers == 1:
                report()

        with lock:
            part = effort.part(min(1.0, workers / (len(pools) - len(parts))), told)
            parts.append(part)
        found = search(pools[number], part)
        latest[number] = found.value, found.bound
        return found

    answers = in_parallel(ask, range(len(pools)), report, effort.stop)
    effort.interrupted |= any(part.interrupted for part in parts)
    return answers
