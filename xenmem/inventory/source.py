"""Files, standard input, pools that run, progress: what the readers get, and which of them.

Memory is bounded by the reader, never by the size of the file. Sizes are bytes. Knows no more of a format than its
first bytes (docs/reference/inventories.md, 1).
"""

import gzip
import io
import os
import re
import stat
import sys
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, TypeGuard, cast

from xenmem.columns import Note
from xenmem.inventory import arrow, parquet, records, snapshots, statedb, xe
from xenmem.inventory.assemble import T, Target
from xenmem.inventory.error import InventoryError, shown
from xenmem.inventory.head import HEAD_BYTES, head_of
from xenmem.inventory.packed import unpacked

if TYPE_CHECKING:
    from xenmem.inventory.live.access import Access


class Live(Protocol):
    """A pool that runs.

    Attributes
    ----------
    name : what messages call it
    notes : what is to be said of whatever is read there
    """

    @property
    def name(self) -> str: ...

    @property
    def notes(self) -> tuple[Note, ...]: ...

    def fetch(
        self, classes: Mapping[str, bool], progress: "Progress | None" = None
    ) -> tuple[Mapping[str, Mapping[str, Any]], tuple[Note, ...]]:
        """All records of some classes by class and reference, and what is to be noted; see live.reading."""


_File = str | os.PathLike[str] | IO[bytes]
Source = _File | Live
Progress = Callable[[int, int | None], None]

_READERS: Final = {"statedb": statedb.read, "records": records.read, "xe": xe.read}

_OF_COLUMNS: Final = {"parquet": parquet.read, "arrow": arrow.read}
"""Formats that hold tables as they are, not records that tables are made of."""
_MAGIC: Final = {parquet.MAGIC: "parquet", arrow.MAGIC: "arrow", arrow.STREAM_MAGIC: "arrow"}

FORMATS: Final = (*_READERS, *_OF_COLUMNS)

MAX_BLANK_BYTES: Final = 1 << 20
"""Most blanks before a document: they are kept, so that places are those of the file."""

_BUFFER_BYTES: Final = 1 << 20
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_XE_RECORD: Final = re.compile(rb"^uuid \( RO\) *: ", re.MULTILINE)
_XE_LABEL: Final = re.compile(rb"^[A-Za-z-]+ \([ SM]R[OW]\) *: ", re.MULTILINE)


def read_pools(
    source: Source | Iterable[Source],
    target: Target[T],
    format: str | None = None,
    *,
    lenient: bool = False,
    progress: Progress | None = None,
    access: "Access | None" = None,
) -> list[T]:
    """What a target makes of each pool of inventories.

    Parameters
    ----------
    source : a path, ``-`` for standard input, a binary file, the address or the profile of a pool that runs, or several
        of these
    target : what to read, and what to make of it
    format : ``statedb``, ``records``, ``xe``, ``parquet`` or ``arrow``; by default what the first bytes say. Any may
        be packed. A folder is a data set, or a part of one
    lenient : skip bad rows
    progress : called after each piece of a file, or of a pool's answer, with the bytes so far, and its size where that
        is known
    access : how to get in where a pool runs

    Raises
    ------
    InventoryError : an inventory cannot be read; names file, place and value
    ValueError : the format does not exist
    """
    if format is not None and format not in FORMATS:
        raise ValueError(f"format: {format!r} is none of {', '.join(FORMATS)}")
    sources = list(source) if _are_several(source) else [cast(Source, source)]
    if not sources:
        raise ValueError("source: nothing to read")
    pools: list[T] = []
    for one in sources:
        if (running := live(one, access)) is not None:
            classes = {name: schema.of_old for name, schema in target.schemas.items()}
            found, notes = running.fetch(classes, progress)
            pools.append(records.of_classes(found, target, source=running.name, lenient=lenient, notes=notes))
        else:
            pools += _read_one(cast(_File, one), target, format, lenient, progress)
    return pools


def live(source: Source, access: "Access | None" = None) -> Live | None:
    """The pool that runs there; None if it is a file.

    Raises
    ------
    InventoryError : it is an address or a profile, and a bad one
    """
    if _is_live(source):
        return source
    if isinstance(source, str):
        if source in ("", "-") or os.path.exists(source):  # noqa: PTH110 - a file, and nothing is imported for it
            return None
        from xenmem.inventory.live.reading import LivePool

        return LivePool.of(source, access)
    return None


def _is_live(source: object) -> TypeGuard[Live]:
    return hasattr(source, "fetch")


def _read_one(
    source: _File, target: Target[T], format: str | None, lenient: bool, progress: Progress | None
) -> list[T]:
    name = _name(source)
    try:
        if name != "<stdin>" and isinstance(source, (str, os.PathLike)) and os.path.isdir(source):  # noqa: PTH112
            return [target.of_tables(snapshots.read_path(Path(source)))]
        with ExitStack() as closing, _opened(source) as file:
            if (form := columns_format(source, format)) is not None:
                return [target.of_tables(_OF_COLUMNS[form](source, name))]
            pieces = _Pieces(file, progress)
            found = unpacked(io.BufferedReader(pieces, _BUFFER_BYTES), file, name, lambda: pieces.done, closing)
            label = f"{name}/{found.member}" if found.member else name
            stream, head = _looked_at(found.stream, label)
            form = _sniffed(head, label) if format is None else format
            if form in _OF_COLUMNS:
                return [target.of_tables(_OF_COLUMNS[form](io.BytesIO(stream.read()), label))]
            return _READERS[form](stream, target, source=label, lenient=lenient)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        text = str(error)
        kind = "" if text.startswith("the ") else "the gzip file is damaged or cut short: "
        raise InventoryError(name, "", f"{kind}{text}") from None
    except OSError as error:
        may_be_a_host = isinstance(error, FileNotFoundError) and re.fullmatch(r"[\w-]+|[\w-]+@[\w.:-]+", name)
        address = f"; a pool that runs is https://{name}" if may_be_a_host else ""
        raise InventoryError(name, "", (error.strerror or str(error)) + address) from None


def _are_several(source: Source | Iterable[Source]) -> TypeGuard[Iterable[Source]]:
    return not isinstance(source, (str, os.PathLike)) and not hasattr(source, "read") and not _is_live(source)


def _name(source: _File) -> str:
    if isinstance(source, (str, os.PathLike)):
        return "<stdin>" if source == "-" else os.fspath(source) or "''"
    return str(getattr(source, "name", "<stream>"))


def _opened(source: _File) -> AbstractContextManager[IO[bytes]]:
    if isinstance(source, (str, os.PathLike)):
        return nullcontext(sys.stdin.buffer) if source == "-" else open(source, "rb", buffering=0)  # noqa: PTH123 - the path '' is no folder
    return nullcontext(source)


def _looked_at(stream: io.BufferedReader, name: str) -> tuple[io.BufferedReader, bytes]:
    """The stream from its beginning, and the first bytes from the first on that is not blank."""
    head = head_of(stream)
    if head.strip():
        return stream, head.lstrip()
    blanks = bytearray()
    while not head.strip() and len(blanks) <= MAX_BLANK_BYTES and (data := stream.read1(_BUFFER_BYTES)):
        blanks += data
        head = data
    blanks += stream.read1(_BUFFER_BYTES)
    if len(blanks) > MAX_BLANK_BYTES:
        raise InventoryError(name, "", f"begins with more than {MAX_BLANK_BYTES >> 20} MiB of blanks")
    return io.BufferedReader(_Pieces(_Rejoined(blanks, stream)), _BUFFER_BYTES), bytes(blanks).lstrip()[:HEAD_BYTES]


def columns_format(source: Source, format: str | None = None) -> str | None:
    """The format of a file that is read by places, not from its beginning to its end; None of all others."""
    if source == "-" or not isinstance(source, (str, os.PathLike)) or not os.path.isfile(source):  # noqa: PTH113
        return None
    with open(source, "rb") as file:  # noqa: PTH123
        head = file.read(max(map(len, _MAGIC)))
    form = _by_magic(head) if format is None else format
    return form if form in _OF_COLUMNS and _by_magic(head) is not None else None


def _by_magic(head: bytes) -> str | None:
    return next((form for magic, form in _MAGIC.items() if head.startswith(magic)), None)


def _sniffed(start: bytes, name: str) -> str:
    if (form := _by_magic(start)) is not None:
        return form
    if not start:
        problem = "the file is empty"
        raise InventoryError(name, "", f"{problem}; a bug report holds an empty dump when its own parser failed")
    if start.startswith(b"<"):
        return "records" if b"<methodResponse" in start else "statedb"
    if _XE_RECORD.search(start):  # before JSON, since a prompt may begin with a bracket; JSON has no such line
        return "xe"
    if start.startswith((b"{", b"[")):
        return "records"
    if start.startswith(_UTF_16):
        raise InventoryError(name, "", "the text is UTF-16: convert it to UTF-8")
    if _XE_LABEL.search(start):
        raise InventoryError(name, "", "text of xe without uuids: list with params=all, or name uuid among the params")
    text = shown(start[:40].decode(errors="replace"))
    raise InventoryError(name, "", f"neither a database dump, nor records, nor the text of xe: starts with {text}")


class _Rejoined(io.RawIOBase):
    """What was taken from a stream, and the rest of it."""

    def __init__(self, taken: bytearray, rest: io.BufferedReader) -> None:
        self._taken = taken
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if not self._taken:
            return self._rest.readinto1(buffer)
        view = memoryview(buffer)
        count = min(len(view), len(self._taken))
        view[:count] = self._taken[:count]
        del self._taken[:count]
        return count


class _Pieces(io.RawIOBase):
    """A file in pieces as they come, each enough to tell the format, and how much of it was read."""

    def __init__(self, file: IO[bytes] | io.BufferedIOBase | io.RawIOBase, progress: Progress | None = None) -> None:
        self._file = file
        self._progress = progress
        self.done = 0
        self._total = _size(file) if progress else None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer)
        wanted = min(HEAD_BYTES, len(view))
        count = 0
        while count < wanted and (piece := self._read(view[count:])):
            count += piece
        self.done += count
        if self._progress is not None:
            self._progress(self.done, self._total)
        return count

    def _read(self, view: memoryview) -> int:
        if isinstance(self._file, io.BufferedIOBase):
            return self._file.readinto1(view)
        if isinstance(self._file, io.RawIOBase):
            return self._file.readinto(view) or 0
        data: object = self._file.read(len(view))
        if not isinstance(data, (bytes, bytearray)):
            raise TypeError("source: a file opened as text; open it as binary")
        view[: len(data)] = data
        return len(data)


def _size(file: IO[bytes] | io.BufferedIOBase | io.RawIOBase) -> int | None:
    try:
        status = os.fstat(file.fileno())
    except (AttributeError, OSError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
