"""`Mirror`: pools that run as one Fleet that is always that of now; how old it is, what changed, and copies on disk."""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from xenmem.fleet import Fleet
from xenmem.inventory.error import InventoryError, OutOfReachError
from xenmem.inventory.live.access import Access
from xenmem.inventory.live.reading import LivePool
from xenmem.mirror.changes import Change
from xenmem.mirror.feeds import Feed, NetworkFeed, SessionFeed
from xenmem.mirror.follower import Follower, now
from xenmem.mirror.keeping import Keeper, Records

if TYPE_CHECKING:
    import XenAPI

PAUSE: Final = 0.04
"""Seconds between two questions to a server, which itself lets 50 ms pass before it answers."""

WAIT: Final = 30.0
"""Seconds that a question waits for changes."""

_log = logging.getLogger("xenmem")


class PoolState(NamedTuple):
    """How a pool of a mirror is.

    Attributes
    ----------
    name : its address
    uuid : empty if it could not be read yet
    age : seconds since it was last known to be as it is here; infinite if it could not be read yet
    lag : seconds by which its last changes came late, at most
    readings : how often all of it was read
    error : what is wrong; empty while all is well
    """

    name: str
    uuid: str
    age: float
    lag: float
    readings: int
    error: str


class Mirror:
    """Pools that run, held in memory and kept current.

    Parameters
    ----------
    pools : addresses, profiles, `LivePool`s, or sessions that are logged in
    access : how to get in where a pool is an address or a profile
    lenient : skip bad rows, and count them in Fleet.notes
    patient : go on without a pool that cannot be reached at first; it is in the Fleet once it can
    wait : seconds that a question waits for changes

    Raises
    ------
    OutOfReachError : a pool cannot be reached
    InventoryError : a pool lets nobody in, is no xapi, or is there twice

    Notes
    -----
    Each pool has a thread of its own. All of the methods may be called from any thread.
    """

    def __init__(
        self,
        *pools: "str | LivePool | XenAPI.Session",
        access: Access | None = None,
        lenient: bool = False,
        patient: bool = False,
        wait: float = WAIT,
    ) -> None:
        if not pools:
            raise ValueError("pools: nothing to mirror")
        self._listeners: list[Callable[[Change], None]] = []
        self._lock = threading.Lock()
        self._fleet: tuple[tuple[int, ...], Fleet] | None = None
        self._keepers: list[tuple[threading.Thread, threading.Event]] = []
        self._followers = [Follower(_feed(one, access), lenient=lenient, wait=wait, tell=self._tell) for one in pools]
        for follower in self._followers:
            follower.start()
        try:
            self._begin(patient)
        except BaseException:
            self.close()
            raise

    def _begin(self, patient: bool) -> None:
        for follower in self._followers:
            follower.ready.wait()
            error = follower.error
            if follower.seen_at is None and error is not None and not (patient and isinstance(error, OutOfReachError)):
                raise error
        if any(follower.uuid for follower in self._followers):
            _ = self.fleet

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Mirror of {', '.join(follower.feed.name for follower in self._followers)}>"

    @property
    def fleet(self) -> Fleet:
        """The Fleet of now; the same object as long as nothing changes.

        Raises
        ------
        OutOfReachError : no pool could be read yet
        InventoryError : where a pool was there is another one, or what it holds is bad
        """
        with self._lock:
            there = [follower for follower in self._followers if follower.uuid]
            for follower in self._followers:
                if follower.fatal and follower.error is not None:
                    raise follower.error
            if not there:
                raise self._followers[0].error or OutOfReachError(
                    self._followers[0].feed.name, "", "could not be read yet"
                )
            versions = tuple(follower.version if follower.uuid else 0 for follower in self._followers)
            if self._fleet is None or self._fleet[0] != versions:
                fleets = [Fleet(*follower.tables()) for follower in there]
                self._fleet = versions, fleets[0] if len(fleets) == 1 else Fleet.concatenate(fleets)
            return self._fleet[1]

    @property
    def pools(self) -> Sequence[PoolState]:
        """How each pool is, in the order in which they were given."""
        moment = now()
        return [
            PoolState(
                one.feed.name,
                one.uuid,
                float("inf") if one.seen_at is None else max(0.0, moment - one.seen_at),
                one.lag,
                one.readings,
                str(one.error or ""),
            )
            for one in self._followers
        ]

    def age(self) -> float:
        """Seconds since the Fleet was last known to be that of the pools; of several, of that longest ago.

        Notes
        -----
        A pool that does not change is known to be as it was as often as a question comes back, hence age grows up to
        `wait` while nothing happens; a change comes within `lag` all the same.
        """
        return max(pool.age for pool in self.pools)

    @property
    def read_at(self) -> float:
        """Unix time of the state that the Fleet shows, by this computer's clock of now."""
        return time.time() - self.age()

    @property
    def lag(self) -> float:
        """Seconds by which the last changes came late, at most; of several pools, the most."""
        return max(pool.lag for pool in self.pools)

    def on_change(self, callback: Callable[[Change], None]) -> None:
        """Have a function called with each change, once the Fleet shows it.

        Parameters
        ----------
        callback : called in a thread of the mirror; while it runs its pool is not followed
        """
        self._listeners.append(callback)

    def keep(self, path: "str | os.PathLike[str]", every: float) -> None:
        """Write what the Fleet is to disk, now and again and again: each time all of it, or nothing.

        Parameters
        ----------
        path : a file that ends in ``.json``, which is replaced by records that `xenmem.read` reads; or the folder of a
            `DataSet`, to which a snapshot is added, by the time of the state
        every : seconds

        Raises
        ------
        OSError : it cannot be written now; what fails later is a line of the log ``xenmem``
        ValueError : `every` is no time, or pyarrow, which a folder needs, is not installed

        Notes
        -----
        A state that was kept is not added again; the file is written anew all the same.
        """
        if not 0 < every < float("inf"):
            raise ValueError(f"every: {every} is no number of seconds")
        keeper = Keeper(Path(path), lambda: self.fleet, self._records, lambda: self.read_at)
        keeper.keep()
        ended = threading.Event()
        thread = threading.Thread(
            target=keeper.run, args=(every, ended), name=f"xenmem keeps a mirror in {path}", daemon=True
        )
        self._keepers.append((thread, ended))
        thread.start()

    def _records(self) -> list[Records]:
        return [follower.records() for follower in self._followers if follower.uuid]

    def close(self) -> None:
        """Follow no more, and log out."""
        for _, ended in self._keepers:
            ended.set()
        for follower in self._followers:
            follower.close()
        for thread, _ in self._keepers:
            thread.join()

    def _tell(self, changes: Sequence[Change]) -> None:
        for change in changes if self._listeners else ():
            for callback in tuple(self._listeners):
                try:
                    callback(change)
                except Exception:
                    _log.exception("a callback of a mirror failed")


def _feed(pool: "str | LivePool | XenAPI.Session", access: Access | None) -> Feed:
    if isinstance(pool, LivePool):
        return NetworkFeed(pool, PAUSE)
    if isinstance(pool, str):
        live = LivePool.of(pool, access)
        if live is None:
            problem = "is neither the address of a pool, such as https://root@pool.example, nor a profile"
            raise InventoryError(pool, "", problem)
        return NetworkFeed(live, PAUSE)
    return SessionFeed(pool)
