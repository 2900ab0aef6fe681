"""Copies of a mirror on disk: records in a file of JSON, or snapshots in a data set; each all of it, or nothing."""

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from xenmem.dataset import DataSet
from xenmem.fleet import Fleet
from xenmem.inventory.error import InventoryError
from xenmem.replacing import replacing

Records = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Of one pool, by class and reference."""

_log = logging.getLogger("xenmem")


class Keeper:
    """Writes a mirror to a place.

    Parameters
    ----------
    path : of a file that ends in ``.json``, or of a data set's folder
    fleet, records, read_at : give the Fleet of now, the records of each pool, and the Unix time of the state
    """

    def __init__(
        self, path: Path, fleet: Callable[[], Fleet], records: Callable[[], list[Records]], read_at: Callable[[], float]
    ) -> None:
        self._path = path
        self._fleet, self._records, self._read_at = fleet, records, read_at
        self._kept: Fleet | None = None

    def keep(self) -> None:
        """Write it once."""
        if self._path.suffix == ".json":
            content = msgspec.json.encode(self._records())
            with replacing(self._path) as file:
                file.write(content)
            return
        fleet = self._fleet()
        if fleet is not self._kept:
            DataSet(self._path).append(fleet, datetime.fromtimestamp(self._read_at(), UTC))
            self._kept = fleet

    def run(self, every: float, ended: threading.Event) -> None:
        """Write it every so many seconds, until that is to end."""
        while not ended.wait(every):
            try:
                self.keep()
            except (OSError, InventoryError) as error:
                _log.warning("%s: a snapshot was not kept: %s", self._path, error)
