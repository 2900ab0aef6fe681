"""A folder of snapshots of pools in Parquet, from which only those columns and pools are read that a question needs.

Knows no command; how the folder is laid out is in xenmem.inventory.snapshots and docs/reference/columns.md.
"""

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from xenmem.fleet import Fleet
from xenmem.inventory import snapshots


class DataSet:
    """Snapshots of pools by pool and time: ``pool=UUID/date=YYYY-MM-DDTHHMMSSZ/TABLE.parquet``.

    Parameters
    ----------
    path : of the folder; it need not be there before something is appended

    Notes
    -----
    Needs pyarrow, the extra ``arrow``. Other programs may append at the same time, and read what is there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"<DataSet: {self.path}>"

    def pools(self) -> list[str]:
        """The uuids of the pools, in ascending order.

        Raises
        ------
        InventoryError : the folder cannot be read
        """
        return snapshots.pools_of(self.path)

    def dates(self, pool: str) -> list[datetime]:
        """The times of the snapshots of a pool, in UTC, in ascending order.

        Parameters
        ----------
        pool : uuid

        Raises
        ------
        InventoryError : there is no snapshot of it, or the folder cannot be read
        """
        return snapshots.dates_of(self.path, pool)

    def fleet(self, pools: Sequence[str] | None = None, at: datetime | None = None) -> Fleet:
        """The Fleet of the latest snapshot of each pool; its columns are read when they are asked for.

        Parameters
        ----------
        pools : uuids, each once; by default all of which there is a snapshot at that time
        at : with its time zone: of several snapshots of a pool the latest that is not later; by default the latest

        Raises
        ------
        InventoryError : there is no such snapshot, or a file is damaged; also when a column is asked for
        ValueError : a pool is named twice, the time has no zone, or pyarrow is not installed
        """
        return Fleet(*snapshots.read(self.path, pools, at))

    def append(self, fleet: Fleet, at: datetime) -> None:
        """Add a snapshot of each pool of a fleet: all of them, or none where one cannot be written.

        Parameters
        ----------
        fleet : its pools have uuids
        at : when the fleet was as it is, with its time zone; parts of a second are dropped

        Raises
        ------
        OSError : it cannot be written, or there is a snapshot of a pool at that time
        ValueError : a pool has no uuid, the time has no zone, or pyarrow is not installed
        """
        snapshots.write(fleet.tables, self.path, at)
