"""Times of contenders that take turns, and the rows of the tables of ratios. Times are seconds.

Each contender is represented by its best round: machines are noisy, and what counts is the ratio between times taken
side by side.
"""

import time
from collections.abc import Callable

Contender = Callable[[], object]


def heading() -> None:
    """Begin a table."""
    print("\n| what | measured | compared with | ratio | target |")
    print("| --- | --- | --- | --- | --- |")


def best_times(contenders: dict[str, Contender], rounds: int = 10, calls: int = 3) -> dict[str, float]:
    """Seconds of the best call of each; a round calls it several times, so that it finds its own data in the caches."""
    best = dict.fromkeys(contenders, float("inf"))
    for contender in contenders.values():
        contender()
    for _ in range(rounds):
        for name, contender in contenders.items():
            for _ in range(calls):
                start = time.perf_counter()
                contender()
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def row(what: str, measured: str, compared: str, ratio: float, target: str) -> None:
    print(f"| {what} | {measured} | {compared} | {ratio:.3g} | {target} |", flush=True)
