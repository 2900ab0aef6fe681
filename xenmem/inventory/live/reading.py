"""One consistent read of a pool that runs, and what is found under the name that a user gives.

event.from answers all rows of all classes at once, with a token: whatever changed while the answer was made is in the
next, so a read is of one moment as soon as the next answer is empty. Reading class by class has no such sign, and is
left to servers that know no event.from (before XenServer 6.0).
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from xenmem.columns import Note
from xenmem.inventory.error import InventoryError, OutOfReachError
from xenmem.inventory.live.access import Access
from xenmem.inventory.live.address import Address, is_address, profile
from xenmem.inventory.live.connection import Batch, Connection, Progress, RefusedError

Records = dict[str, dict[str, Any]]
"""By class and reference a record, as JSON text or a mapping; of the classes that the server has."""

_MOST_BATCHES: Final = 4
_UNKNOWN: Final = "MESSAGE_METHOD_UNKNOWN"


@dataclass(frozen=True)
class LivePool:
    """A pool that runs: what `xenmem.read` takes as an inventory, and `xenmem.Mirror` as a pool.

    Parameters
    ----------
    addresses : of its hosts, tried in this order; any of them leads to the coordinator
    access : how to get in
    name : what messages, and Fleet.pools.source, call it
    """

    addresses: tuple[Address, ...]
    access: Access = field(default_factory=Access)
    name: str = ""

    @classmethod
    def of(cls, text: str, access: Access | None = None) -> "LivePool | None":
        """The pool of an address, or of a profile where there is no file of this name; None if it is neither.

        Raises
        ------
        InventoryError : the address, or the profile, is bad
        """
        access = access or Access()
        if is_address(text):
            address = Address.of(text)
            return cls((address,), access, str(address))
        if os.sep in text or os.path.exists(text) or (found := profile(text)) is None:  # noqa: PTH110
            return None
        merged = replace(
            access,
            password_file=access.password_file or found.password_file,
            password_env=found.password_env or access.password_env,
            ca=access.ca or found.ca,
            fingerprints=access.fingerprints or found.fingerprints,
            insecure=access.insecure or found.insecure,
        )
        return cls(found.addresses, merged, str(found.addresses[0]))

    def __str__(self) -> str:
        return self.name

    def connect(self, progress: Progress | None = None) -> Connection:
        """A session at the coordinator.

        Parameters
        ----------
        progress : called while answers come

        Raises
        ------
        OutOfReachError : none of the addresses answers
        InventoryError : the first that answers is no xapi, or lets nobody in
        """
        problem: OutOfReachError | None = None
        for address in self.addresses:
            try:
                return Connection(address, self.access, progress)
            except OutOfReachError as error:
                problem = problem or error
        raise problem or InventoryError(self.name, "", "has no address")

    def fetch(self, classes: Mapping[str, bool], progress: Progress | None = None) -> tuple[Records, tuple[Note, ...]]:
        """All records of some classes, and what is to be noted.

        Parameters
        ----------
        classes : by name, whether every server has it
        progress : called after each piece of an answer with the bytes so far, and its length

        Raises
        ------
        InventoryError : it cannot be had; of a pool that cannot be reached OutOfReachError
        """
        with self.connect(progress) as connection:
            try:
                reading = Reading(classes)
                for _ in range(_MOST_BATCHES):
                    if not reading.take(connection.events(reading.classes, reading.token, 0.0)):
                        return reading.records(), self.notes
                text = "the pool changed while it was read, up to the end: some rows are newer than others"
                return reading.records(), (*self.notes, Note(self.name, "changing-pool", text, 0, ""))
            except RefusedError as failure:
                if failure.code != _UNKNOWN:
                    raise
            text = "the server knows no event.from: read class by class, and so not of one moment"
            return _class_by_class(connection, classes), (*self.notes, Note(self.name, "read-in-pieces", text, 0, ""))

    @property
    def notes(self) -> tuple[Note, ...]:
        """What is to be said of whatever is read there."""
        if not self.access.insecure or self.access.fingerprints:
            return ()
        return (Note(self.name, "insecure", "read without a look at the server's certificate (--insecure)", 0, ""),)


class Reading:
    """The rows of a pool while batches of events bring them.

    Parameters
    ----------
    classes : names of those that are read

    Attributes
    ----------
    token : how far they are read
    """

    def __init__(self, classes: Collection[str]) -> None:
        self.classes = tuple(classes)
        self.token = ""
        self._by_name = {name.lower(): name for name in classes}
        self._rows: Records = {name: {} for name in classes}
        self._there: Collection[str] = ()

    def take(self, batch: Batch) -> bool:
        """Take in a batch; whether there was anything in it."""
        for event in batch.events:
            name = self._by_name.get(event.class_name.lower())
            if name is None:
                continue
            if event.operation == "del":
                self._rows[name].pop(event.ref, None)
            else:
                self._rows[name][event.ref] = event.snapshot
        self.token = batch.token
        self._there = batch.counts.keys()
        return bool(batch.events)

    def records(self) -> Records:
        """What there is, in the order of references, as a dump has it."""
        return {
            name: dict(sorted(rows.items())) for name, rows in self._rows.items() if rows or name.lower() in self._there
        }


def _class_by_class(connection: Connection, classes: Mapping[str, bool]) -> Records:
    found: Records = {}
    for name, of_old in classes.items():
        try:
            found[name] = dict(sorted(connection.records(name).items()))
        except RefusedError as failure:
            if of_old or failure.code != _UNKNOWN:
                raise
    return found
