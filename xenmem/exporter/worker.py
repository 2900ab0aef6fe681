"""What computes the metrics of pools that run: in a thread of its own, after changes, never while one scrapes.

Knows a Mirror and the stages of metrics.py; nothing of HTTP. A scrape is given what was computed last, with its age.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from xenmem import exposition
from xenmem.exporter.metrics import STAGES, Asked, Collection
from xenmem.exposition import Family, Sample
from xenmem.fleet import Fleet
from xenmem.mirror.mirror import PoolState

INTERVAL: Final = 15.0
"""Seconds from the end of a computation to the next, if there were changes."""


class Source(Protocol):
    """What of a Mirror is asked."""

    @property
    def fleet(self) -> Fleet: ...

    @property
    def pools(self) -> Sequence[PoolState]: ...

    def on_change(self, callback: Callable[[object], None], /) -> None: ...


class Computed(NamedTuple):
    """What one computation gave.

    Attributes
    ----------
    fleet : of which
    read_at : by uuid of the pool, in seconds since 1970
    texts : in the older format, and as OpenMetrics, both without when it was read
    """

    fleet: Fleet
    read_at: dict[str, float]
    texts: tuple[bytes, bytes]


class Worker:
    """Keeps the metrics of a mirror computed.

    Parameters
    ----------
    mirror : what is measured
    asked : what is asked of each pool
    interval : see INTERVAL
    tell : is given what went wrong: the stage, and the error
    """

    def __init__(self, mirror: Source, asked: Asked, interval: float, tell: Callable[[str, Exception], None]) -> None:
        self._mirror, self._asked, self._interval, self._tell = mirror, asked, interval, tell
        self._changed, self._ended = threading.Event(), threading.Event()
        self._changed.set()
        self._seconds: dict[str, float] = {}
        self._errors = dict.fromkeys(("read", *STAGES), 0)
        self.computed: Computed | None = None
        mirror.on_change(self._note)
        self._thread = threading.Thread(target=self._run, name="xenmem-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Compute no more; a computation under way is not waited for."""
        self._ended.set()
        self._changed.set()

    def text(self, *, openmetrics: bool) -> bytes:
        """What a scrape is given; empty until something has been computed."""
        computed = self.computed
        if computed is None:
            return b""
        own = [
            Family(
                "xenmem_scrape_duration_seconds",
                "How long the last computation took",
                [Sample({"stage": stage}, seconds) for stage, seconds in list(self._seconds.items())],
            ),
            Family(
                "xenmem_errors_total",
                "Computations that failed",
                [Sample({"stage": stage}, count) for stage, count in list(self._errors.items())],
                "counter",
            ),
        ]
        collection = Collection(computed.fleet, self._asked)
        collection.timestamps(self._read_at(computed))
        now = exposition.lines([*collection.families(), *own], openmetrics)
        return computed.texts[openmetrics] + (now + (exposition.END if openmetrics else "")).encode()

    def _read_at(self, computed: Computed) -> list[float]:
        """When what was computed was last known to be so: of pools without changes since, when they last answered."""
        known = computed.read_at if self._changed.is_set() else self._moments()
        uuids = computed.fleet.pools.uuid.tolist()
        return [known.get(uuid, computed.read_at.get(uuid, 0.0)) for uuid in uuids]

    def _moments(self) -> dict[str, float]:
        now = time.time()
        return {pool.uuid: now - pool.age for pool in self._mirror.pools if pool.uuid}

    def _note(self, change: object) -> None:
        self._changed.set()

    def _run(self) -> None:
        while True:
            self._changed.wait()
            if self._ended.is_set():
                return
            self._changed.clear()
            self._compute()
            self._ended.wait(self._interval)

    def _compute(self) -> None:
        began = time.perf_counter()
        try:
            read_at = self._moments()
            fleet = self._mirror.fleet
        except Exception as error:
            self._failed("read", error)
            self._changed.set()  # there was no answer to what may have changed
            return
        self._seconds["read"] = time.perf_counter() - began
        collection = Collection(fleet, self._asked)
        for name, stage in STAGES.items():
            began = time.perf_counter()
            try:
                stage(collection)
            except Exception as error:
                self._failed(name, error)
            self._seconds[name] = time.perf_counter() - began
        families = collection.families()
        older, text = (exposition.lines(families, openmetrics).encode() for openmetrics in (False, True))
        self.computed = Computed(fleet, read_at, (older, text))

    def _failed(self, stage: str, error: Exception) -> None:
        self._errors[stage] += 1
        self._tell(stage, error)
