"""Questions of many pools on a cluster of Dask: each task asks some pools of a data set, and answers are put together.

Pools do not know each other, so the answer is that of one machine. Spreading tasks, and asking again what a lost worker
was asked, is Dask's. Workers open the data set by themselves: its path leads to it on every one of them. Knows no
command.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from xenmem.answers import capacity, check, failover, report, upgrade_check
from xenmem.answers.capacity import joined as joined_capacity
from xenmem.answers.check import joined as joined_check
from xenmem.answers.failover import joined as joined_failover
from xenmem.answers.naming import Answer
from xenmem.answers.report import joined as joined_report
from xenmem.answers.upgrade_check import joined as joined_upgrade_check
from xenmem.dataset import DataSet
from xenmem.inventory.error import OutOfReachError

LOCAL: Final = "local"
"""The address of a cluster of this machine, which is started for one question."""

_PATIENCE: Final = "10s"
_PACKAGE: Final = "xenmem"
_TASKS_PER_WORKER: Final = 8
"""So that a worker that is done early takes over from others, and no task is short beside what it costs to send."""


_Ask = Callable[..., Answer]

QUESTIONS: Final[Mapping[str, tuple[_Ask, Callable[..., Answer]]]] = {
    "report": (report, joined_report),
    "upgrade-check": (upgrade_check, joined_upgrade_check),
    "failover": (failover, joined_failover),
    "capacity": (capacity, joined_capacity),
    "check": (check, joined_check),
}
"""By command: what asks some pools, and what puts their answers together."""

_OF_JOINING: Final = {"failover": ("num_failures", "restart"), "check": ("fail_on",)}
"""The keywords of a question that putting its answers together takes, too."""


def ask(
    data: DataSet, question: str, cluster: str = LOCAL, *, at: datetime | None = None, workers: int = 0, **keywords: Any
) -> Any:
    """The answer about the latest snapshot of each pool.

    Parameters
    ----------
    data : its path leads to it on all workers
    question : one of QUESTIONS
    cluster : address of a scheduler of Dask, or ``local`` for worker processes on this machine
    at : the snapshots are not later than this
    workers : processes of a local cluster; by default as many as CPUs
    keywords : of the question, see `answers`

    Raises
    ------
    OutOfReachError : the cluster cannot be reached, its workers lack xenmem, or it lost them again and again
    ValueError : of the question, or of the data; or distributed is not installed
    """
    pools = data.pools()
    if at is None:  # all workers look at what is there now
        at = max((data.dates(pool)[-1] for pool in pools), default=None)
    asks, joined = QUESTIONS[question]
    with client_of(cluster, workers) as client:
        try:  # a worker that cannot read a task ends, and the question would wait for ever
            client.run(version, _PACKAGE)
        except PackageNotFoundError:
            raise OutOfReachError(cluster, "", "its workers have no xenmem: install it there as it is here") from None
        there = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        size = max(1, -(-len(pools) // (there * _TASKS_PER_WORKER)))
        parts = [pools[start : start + size] for start in range(0, len(pools), size)] or [[]]
        found = _gathered(client, partial(_answer, str(data.path.resolve()), asks, keywords, at), parts)
    of_joining = {name: keywords[name] for name in _OF_JOINING.get(question, ()) if name in keywords}
    return joined(found, **of_joining)


def _answer(path: str, asks: _Ask, keywords: Mapping[str, Any], at: datetime | None, pools: list[str]) -> Answer:
    """The answer about some pools; runs on a worker."""
    return asks(DataSet(path).fleet(pools or None, at), **keywords)


def _gathered(client: Any, task: Callable[[list[str]], Answer], parts: list[list[str]]) -> list[Answer]:
    from distributed import KilledWorker

    try:
        answers: list[Answer] = client.gather(client.map(task, parts, pure=False))
    except KilledWorker as error:
        raise OutOfReachError(
            "the cluster", "", f"a worker was lost again and again: {str(error).splitlines()[0]}"
        ) from None
    return answers


@contextmanager
def client_of(cluster: str, workers: int = 0) -> Iterator[Any]:
    """A client of a cluster, which ends when the context does.

    Parameters
    ----------
    cluster, workers : as for `ask`

    Raises
    ------
    OutOfReachError : it cannot be reached
    ValueError : distributed is not installed
    """
    try:
        dask: Any = import_module("dask")
        library: Any = import_module("distributed")
    except ImportError:
        raise ValueError(
            "a cluster: distributed is not installed: pip install 'xenmem[distributed]' brings it"
        ) from None

    quiet = {"distributed.logging.distributed": "critical", "distributed.comm.retry.count": 0}
    with dask.config.set(quiet):
        if cluster == LOCAL:
            count = workers or os.cpu_count() or 1
            with (
                library.LocalCluster(
                    n_workers=count, threads_per_worker=1, dashboard_address=None, silence_logs=50
                ) as local,
                library.Client(local) as client,
            ):
                yield client
            return
        try:
            client = library.Client(cluster, timeout=_PATIENCE)
        except (OSError, TimeoutError, ValueError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise OutOfReachError(cluster, "", f"the cluster cannot be reached: {why}") from None
        try:
            yield client
        finally:
            with suppress(OSError, TimeoutError):
                client.close()
