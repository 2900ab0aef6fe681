"""The state file: every acknowledged change of a pool in SQLite, so that a server that was killed goes on from it.

The file holds each row as it is. Changes of many messages go into one transaction (group commit), on a thread of its
own, with the database's write-ahead log flushed before anybody is answered. What a message that takes its time has
changed so far is kept with what it was before, and taken back where the message never came to its end.
"""

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from xenmem import kernel
from xenmem.datamodel.errors import INTERNAL_ERROR, Failure
from xenmem.datamodel.types import MapType, SetType, Type
from xenmem.rules.hosts import Model
from xenmem.xenapi import Database, Snapshot
from xenmem.xenapi.store.rows import ROW_CLASSES, Row, filler, stored_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xenmem.xenapi.calls.call import Call
    from xenmem.xenapi.store.database import Origin

VERSION: Final = 1
"""Of the file's form."""

_TABLES: Final = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE row (class TEXT, ref TEXT, content BLOB NOT NULL, PRIMARY KEY (class, ref)) WITHOUT ROWID;
CREATE TABLE undo (number INTEGER PRIMARY KEY, message INTEGER NOT NULL, content BLOB NOT NULL);
"""

_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder().decode

_Key = tuple[str, str]
_Undo = tuple[int, bytes]


class StateError(ValueError):
    """A state file cannot be used."""


class StateFile:
    """Keeps the changes of one pool.

    Parameters
    ----------
    path : the file; it is made if it does not exist, and nobody but its owner may read it

    Raises
    ------
    StateError : it is no state file, or another server uses it
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._writing = ThreadPoolExecutor(1, "xenmem state")
        try:
            with suppress(FileExistsError):
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            self._file = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
            self._file.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute("PRAGMA synchronous = FULL")
            self._file.execute("BEGIN IMMEDIATE")
            self._is_new = not self._file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if not self._is_new:
                self._facts = {name: _unpack(value) for name, value in self._file.execute("SELECT * FROM facts")}
            self._file.execute("COMMIT")
        except (sqlite3.Error, OSError, msgspec.DecodeError) as error:
            raise StateError(f"{path}: {_why(error)}") from None
        if not self._is_new and self._facts.get("version") != VERSION:
            raise StateError(f"{path}: is no state file of this version of xenmem")
        self._database: Database
        self._pool_calls: Callable[[], Iterator[Call]] = lambda: iter(())
        self._begun: set[Call] = set()
        self._dirty: dict[_Key, Row | None] = {}
        self._gone: dict[_Key, Row] = {}
        self._undoable: dict[int, Origin] = {}
        self._snapshot: Snapshot
        self._waiting: list[asyncio.Future[None]] = []
        self._under_way: asyncio.Task[None] | None = None
        self.commits = 0

    def open(self, make: Callable[[], Database]) -> Database:
        """The database as the file has it; of a new file that which is made, written to it.

        Raises
        ------
        StateError : the file cannot be read or written
        """
        try:
            if self._is_new:
                self._database = make()
                self._write_all()
            else:
                self._database = self._read_all()
        except (sqlite3.Error, msgspec.DecodeError, KeyError) as error:
            raise StateError(f"{self._path}: {_why(error)}") from None
        self._snapshot = self._database.snapshot()
        self._database.observers.append(self._observe)
        return self._database

    def watch(self, calls: Callable[[], Iterator["Call"]]) -> None:
        """Say which calls are under way, besides those that `begin` was told of."""
        self._pool_calls = calls

    # ----------------------------------------------------------------------------------------------------- the keeper

    @property
    def is_behind(self) -> bool:
        """Whether there are changes that are not in the file yet."""
        return bool(self._dirty) or self._under_way is not None

    def kept(self) -> Awaitable[None]:
        """Come back when all changes of now are in the file; a Failure if they could not be, and were undone."""
        made: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(made)
        self._go_on()
        return made

    def begin(self, call: "Call") -> None:
        """A call goes on over some time."""
        self._begun.add(call)

    def end(self, call: "Call") -> None:
        """It has ended."""
        self._begun.discard(call)

    async def close(self) -> None:
        """Keep what is not kept yet, and let go of the file."""
        while self.is_behind:
            with suppress(Failure):
                await self.kept()
        self._writing.shutdown()
        self._file.close()

    def _observe(self, operation: str, row: Row) -> None:
        if not row.schema.persistent:
            return
        key = row.table, row.ref
        if operation == "del":
            self._dirty[key] = None
            self._gone[key] = row
        else:
            self._dirty[key] = row
        if self._under_way is None:
            self._go_on()

    def _go_on(self) -> None:
        if self._under_way is None:
            self._under_way = asyncio.get_running_loop().create_task(self._commit())

    async def _commit(self) -> None:
        """Write what has changed; and again, as long as more did meanwhile."""
        loop = asyncio.get_running_loop()
        while self._dirty or self._waiting:
            waiting, self._waiting = self._waiting, []
            before, self._snapshot = self._snapshot, self._database.snapshot()
            rows = [(*key, row and _pack(_content(row))) for key, row in self._dirty.items()]
            ended, undo = self._undo_since(before)
            self._dirty, self._gone = {}, {}
            generation = self._database.generation
            failure: Failure | None = None
            if rows or ended:
                try:
                    await loop.run_in_executor(self._writing, self._write, rows, undo, ended, generation)
                    self.commits += 1
                except sqlite3.Error as error:
                    failure = INTERNAL_ERROR(f"the change was not kept, and is undone: {self._path}: {_why(error)}")
                    self._take_back(before)
                    waiting, self._waiting = waiting + self._waiting, []
            for one in waiting:
                if one.done():
                    continue
                if failure is None:
                    one.set_result(None)
                else:
                    one.set_exception(failure)
        self._under_way = None

    def _take_back(self, before: Snapshot) -> None:
        """Nothing since then is in the file: the database is as the file is."""
        self._database.restore(before)
        self._dirty, self._gone = {}, {}
        self._snapshot = self._database.snapshot()

    def _write(self, rows: list[Any], undo: list[_Undo], ended: list[int], generation: int) -> None:
        file = self._file
        file.execute("BEGIN IMMEDIATE")
        try:
            for class_name, ref, content in rows:
                if content is None:
                    file.execute("DELETE FROM row WHERE class = ? AND ref = ?", (class_name, ref))
                else:
                    file.execute("INSERT OR REPLACE INTO row VALUES (?, ?, ?)", (class_name, ref, content))
            file.executemany("DELETE FROM undo WHERE message = ?", [(number,) for number in ended])
            file.executemany("INSERT INTO undo (message, content) VALUES (?, ?)", undo)
            file.execute("INSERT OR REPLACE INTO facts VALUES ('generation', ?)", (_pack(generation),))
            file.execute("COMMIT")
        except sqlite3.Error:
            with suppress(sqlite3.Error):
                file.execute("ROLLBACK")
            raise

    # ------------------------------------------------------------------------------------ messages that take their time

    def _undo_since(self, before: Snapshot) -> tuple[list[int], list[_Undo]]:
        """Of messages that have ended their numbers; of those under way what takes back what they changed lately."""
        calls = [*self._begun, *self._pool_calls()]
        if not calls and not self._undoable:
            return [], []
        under_way = {id(call.origin): call.origin for call in calls}
        ended = [number for number in self._undoable if number not in under_way]
        undo: list[_Undo] = []
        for change in self._database.journal(before):
            number = id(change.origin)
            if number in under_way:
                old: Any = change.old
                if change.field is None and change.old:
                    gone = self._gone.get((change.class_name, change.ref))
                    old = _content(gone) if gone is not None else True
                undo.append((number, _pack((change.class_name, change.ref, change.field, old, change.new))))
        for number in ended:
            del self._undoable[number]
        self._undoable |= under_way
        return ended, undo

    # ---------------------------------------------------------------------------------------------------- all of it

    def _write_all(self) -> None:
        database, file = self._database, self._file
        file.execute("BEGIN IMMEDIATE")
        for statement in _TABLES.strip().splitlines():
            file.execute(statement)
        facts = {
            "version": VERSION,
            "generation": database.generation,
            "model": next(name for name, model in kernel.MODELS.items() if model == database.model),
            "unknown": database.unknown,
        }
        file.executemany("INSERT INTO facts VALUES (?, ?)", [(name, _pack(value)) for name, value in facts.items()])
        for table in database.tables.values():
            if table.schema.persistent:
                rows = [(table.schema.name, row.ref, _pack(_content(row))) for row in table]
                file.executemany("INSERT INTO row VALUES (?, ?, ?)", rows)
        file.execute("COMMIT")

    def _read_all(self) -> Database:
        contents: dict[_Key, dict[str, Any]] = {
            (class_name, ref): _unpack(content)
            for class_name, ref, content in self._file.execute("SELECT class, ref, content FROM row")
        }
        for (content,) in self._file.execute("SELECT content FROM undo ORDER BY number DESC").fetchall():
            _undo(contents, *_unpack(content))
        database = Database()
        database.generation = self._facts["generation"] + 1
        database.unknown = self._facts["unknown"]
        database.assume(Model(self._facts["model"]))
        loaded: dict[str, list[Row]] = {}
        for (class_name, ref), content in contents.items():
            loaded.setdefault(class_name, []).append(_row(class_name, ref, content))
        database.load_all({name: rows for name, rows in loaded.items() if name != "VM"})
        database.load("VM", loaded.get("VM", []))
        self._file.execute("BEGIN IMMEDIATE")
        self._file.execute("DELETE FROM undo")
        for key in {(row[0], row[1]) for row in self._file.execute("SELECT class, ref FROM row")} - contents.keys():
            self._file.execute("DELETE FROM row WHERE class = ? AND ref = ?", key)
        for (class_name, ref), content in contents.items():
            if content.pop("", None):
                packed = _pack(content)
                self._file.execute("INSERT OR REPLACE INTO row VALUES (?, ?, ?)", (class_name, ref, packed))
        self._file.execute("COMMIT")
        return database


def _undo(
    contents: "dict[_Key, dict[str, Any]]", class_name: str, ref: str, field: str | None, old: Any, new: Any
) -> None:
    """Take back one change of a message that never ended, unless another changed the same since."""
    key = class_name, ref
    if field is not None:
        content = contents.get(key)
        if content is not None and content.get(field) == new:
            content[field] = old
            content[""] = True
    elif new:
        contents.pop(key, None)
    elif isinstance(old, dict) and key not in contents:
        contents[key] = old | {"": True}


def _why(error: Exception) -> str:
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return "another server uses it"
    return getattr(error, "strerror", None) or str(error)


def _content(row: Row) -> dict[str, Any]:
    content = {name: getattr(row, name) for name in stored_fields(row.table)}
    if row.unknown:
        content["?"] = row.unknown
    return content


@cache
def _readers(class_name: str) -> tuple[tuple[str, Callable[[Any], Any] | None, Any], ...]:
    fields: Mapping[str, Any] = ROW_CLASSES[class_name].schema.fields
    return tuple((name, _reader(fields[name].type), fields[name].default) for name in stored_fields(class_name))


def _reader(type: Type[Any]) -> Callable[[Any], Any] | None:
    """What makes a value as rows hold it of what was unpacked; None where it is that."""
    if isinstance(type, SetType):
        return _tuple_of(_reader(type.of))
    if isinstance(type, MapType):
        return _dict_of(_reader(type.value))
    return None


def _tuple_of(read: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    return tuple if read is None else lambda values: tuple(map(read, values))


def _dict_of(read: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    return None if read is None else lambda values: {key: read(value) for key, value in values.items()}


def _row(class_name: str, ref: str, content: dict[str, Any]) -> Row:
    values = []
    for name, read, default in _readers(class_name):
        value = content.get(name, default)
        values.append(value if read is None else read(value))
    row = filler(class_name)(ref, *values)
    row.unknown = content.get("?")
    return row
