"""What packs inventories: gzip, bzip2, xz, zstd, tar and zip; from a packed file to the bytes of the inventory in it.

Memory is bounded whatever the file says of itself: all is streams, and what has to be kept is a temporary file. Of an
archive the first member that looks like an inventory is taken; of a bug report the dump made for it.
"""

import bz2
import gzip
import io
import lzma
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import IO, Any, Final, NamedTuple

from xenmem.inventory.error import InventoryError, shown
from xenmem.inventory.head import HEAD_BYTES

MAX_UNPACKED_BYTES: Final = 1 << 30
MAX_RATIO: Final = 200
"""A file that unpacks to more bytes, and to so many times its own, is no inventory: those give 10 to 50 times."""

_MAX_DEPTH: Final = 4
_MEMORY: Final = 128 << 20
"""Most memory for a window into the past: xz and zstd may ask for gigabytes."""
_MAX_DIRECTORY: Final = 64 << 20
_PIECE: Final = 1 << 16
_BUFFER_BYTES: Final = 1 << 20
_BLOCK: Final = 512
_MAX_NAME: Final = 4096
_DUMP: Final = re.compile(rb"<database|<methodResponse|^uuid \( RO\) *: ", re.MULTILINE)
_FRESH: Final = re.compile(r"(^|/)xapi-db-dumped\.xml$")
_STALE: Final = re.compile(r"(^|/)(xapi-db\.xml|state\.db)$")
"""In a bug report: a dump made for it, and what the host had on disk, which may be old."""


class Unpacked(NamedTuple):
    """A stream of what was packed, and the member of an archive that it is; empty for a plain file."""

    stream: io.BufferedReader
    member: str


def unpacked(
    stream: io.BufferedReader, file: IO[bytes], name: str, read: Callable[[], int], closing: ExitStack
) -> Unpacked:
    """What is in a file, through all that packs it.

    Parameters
    ----------
    stream : of the file, from its beginning
    file : the file itself, of which a zip is read by places
    name : of the file, for errors
    read : how many bytes of the file were read
    closing : closes, when the stream is done with, what it stands on

    Raises
    ------
    InventoryError : what packs it is damaged, unpacks beyond measure, or holds no inventory
    """
    member = ""
    for depth in range(_MAX_DEPTH + 1):
        head = stream.peek(HEAD_BYTES)
        kind = _kind(head)
        if not kind:
            return Unpacked(stream, member)
        if depth == _MAX_DEPTH:
            raise InventoryError(name, "", f"is packed more than {_MAX_DEPTH} times: unpack it first")
        if kind in ("tar", "zip"):
            if kind == "tar":
                found = _tar_member(stream, name, closing)
            else:
                found = _zip_member(stream, file if depth == 0 else None, name, closing)
            member = f"{member}/{found.member}" if member else found.member
            stream = found.stream
        else:
            stream = io.BufferedReader(_Measured(_OPENED[kind](stream), name, read), _BUFFER_BYTES)
    raise AssertionError


def each_file(
    stream: io.BufferedReader, file: IO[bytes], name: str, read: Callable[[], int], closing: ExitStack
) -> Iterator[Unpacked]:
    """Every file that is in a file, one after the other, each through all that packs it; parameters as for `unpacked`.

    Raises
    ------
    InventoryError : what packs it is damaged, or unpacks beyond measure
    """
    return _each(stream, file, name, "", read, closing, 0)


def _each(
    stream: io.BufferedReader,
    file: IO[bytes] | None,
    name: str,
    member: str,
    read: Callable[[], int],
    closing: ExitStack,
    depth: int,
) -> Iterator[Unpacked]:
    kind = _kind(stream.peek(HEAD_BYTES))
    if kind and depth == _MAX_DEPTH:
        raise InventoryError(name, "", f"is packed more than {_MAX_DEPTH} times: unpack it first")

    def inner(piece: io.BufferedReader, own: str) -> Iterator[Unpacked]:
        return _each(piece, None, name, "/".join(filter(None, (member, own))), read, closing, depth + 1)

    if not kind:
        yield Unpacked(stream, member)
    elif kind == "tar":
        for own, size in _tar_headers(stream, name):
            piece: io.BufferedReader = io.BufferedReader(_Part(stream, size, name), _BUFFER_BYTES)
            yield from inner(piece, own)
            _pass_by(piece, stream, size)
    elif kind == "zip":
        for own, opened in _zip_entries(stream, file, name, closing):
            yield from inner(opened(), own)
    else:
        yield from inner(io.BufferedReader(_Measured(_OPENED[kind](stream), name, read), _BUFFER_BYTES), "")


def _pass_by(piece: io.BufferedReader, stream: io.BufferedReader, size: int) -> None:
    """Go to where the next header of a tar archive is, however much of a file was read."""
    while piece.read1(_BUFFER_BYTES):
        pass
    stream.read(-size % _BLOCK)


def _kind(head: bytes) -> str:
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    return "tar" if head[257:262] == b"ustar" else ""


_MAGIC: Final = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
)


class _Measured(io.RawIOBase):
    """A stream that is no longer than makes sense beside the file that it comes from."""

    def __init__(self, source: Any, name: str, read: Callable[[], int]) -> None:
        self._source = source
        self._name = name
        self._packed = read
        self._done = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer)
        wanted = min(HEAD_BYTES, len(view))
        count = 0
        while count < wanted:
            try:
                data = self._source.read1(min(len(view) - count, _PIECE))
            except zipfile.BadZipFile as error:
                raise InventoryError(self._name, "", f"the zip archive is damaged: {error}") from None
            if not data:
                break
            view[count : count + len(data)] = data
            count += len(data)
        self._done += count
        if self._done > MAX_UNPACKED_BYTES and self._done > MAX_RATIO * self._packed():
            problem = f"unpacks to more than {MAX_UNPACKED_BYTES >> 30} GiB and {MAX_RATIO} times its size"
            raise InventoryError(self._name, "", f"{problem}: unpack it first if it is an inventory")
        return count


class _Decompressed:
    """The bytes of one compressed stream after the other.

    Parameters
    ----------
    kind : for errors
    start : makes what decompresses a stream
    """

    def __init__(self, stream: io.BufferedReader, kind: str, start: Callable[[], Any]) -> None:
        self._stream = stream
        self._kind = kind
        self._start = start
        self._engine = start()
        self._has_begun = False

    def read1(self, size: int) -> bytes:
        while True:
            if self._engine.eof:
                rest = self._engine.unused_data or self._stream.read1(_PIECE)
                if not rest:
                    return b""
                self._engine, self._has_begun = self._start(), False
            else:
                rest = self._stream.read1(_PIECE) if self._engine.needs_input else b""
                if not rest and self._engine.needs_input:
                    raise EOFError(f"the {self._kind} file is cut short")
            try:
                data: bytes = self._engine.decompress(rest, size)
            except (OSError, lzma.LZMAError) as error:
                raise EOFError(f"the {self._kind} file is damaged or cut short: {error}") from None
            if data:
                return data


class _Zstd:
    """The bytes of a file packed by zstd.

    The library's own stream takes a file that is cut short for whole; its objects do not, and give all that a piece
    unpacks to: of so small a one that is 16 MiB at most.
    """

    _SMALL: Final = 512

    def __init__(self, stream: io.BufferedReader) -> None:
        import zstandard

        self._stream = stream
        self._error = zstandard.ZstdError
        self._context = zstandard.ZstdDecompressor(max_window_size=_MEMORY)
        self._engine = self._context.decompressobj()
        self._ready = b""

    def read1(self, size: int) -> bytes:
        while not self._ready:
            rest = self._engine.unused_data if self._engine.eof else b""
            rest = rest or self._stream.read(self._SMALL)
            if self._engine.eof:
                if not rest:
                    return b""
                self._engine = self._context.decompressobj()
            if not rest:
                raise EOFError("the zstd file is cut short")
            try:
                self._ready = self._engine.decompress(rest)
            except self._error as error:
                raise EOFError(f"the zstd file is damaged or cut short: {error}") from None
        data, self._ready = self._ready[:size], self._ready[size:]
        return data


_OPENED: Final[dict[str, Callable[[io.BufferedReader], Any]]] = {
    "gzip": lambda stream: gzip.GzipFile(fileobj=stream),
    "bzip2": lambda stream: _Decompressed(stream, "bzip2", bz2.BZ2Decompressor),
    "xz": lambda stream: _Decompressed(stream, "xz", lambda: lzma.LZMADecompressor(memlimit=_MEMORY)),
    "zstd": _Zstd,
}


# ------------------------------------------------------------------------------------------------------------ archives


class _Members:
    """What was looked at in an archive, to say so where nothing is found."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0
        self._empty = ""

    def rank(self, member: str, head: bytes) -> int:
        """How good a member is: 0 is no inventory, 2 the best there can be."""
        self._count += 1
        if not head and (_FRESH.search(member) or _STALE.search(member)):
            self._empty = member
        is_json = member.endswith(".json") and head.lstrip()[:1] in (b"{", b"[")
        return (
            2
            if head and _FRESH.search(member)
            else int(bool(_DUMP.search(head)) or is_json or bool(_kind(head) and _STALE.search(member)))
        )

    def lacking(self) -> InventoryError:
        if self._empty:
            problem = "is empty; a bug report holds an empty dump when its own parser failed"
            return InventoryError(self._name, "", f"{shown(self._empty)} in it {problem}")
        return InventoryError(self._name, "", f"the archive holds no inventory: none of its {self._count} files is one")


def _tar_member(stream: io.BufferedReader, name: str, closing: ExitStack) -> Unpacked:
    """The inventory in a tar archive, which is read on from here."""
    members = _Members(name)
    kept: Unpacked | None = None
    for member, size in _tar_headers(stream, name):
        piece: io.BufferedReader = io.BufferedReader(_Part(stream, size, name), _BUFFER_BYTES)
        rank = members.rank(member, piece.peek(HEAD_BYTES)[:HEAD_BYTES])
        if rank == 2:
            return Unpacked(piece, member)
        if rank and kept is None:  # a better one may follow, and there is no way back
            aside = closing.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack is the context
            shutil.copyfileobj(piece, aside, _BUFFER_BYTES)
            aside.seek(0)
            kept = Unpacked(closing.enter_context(io.BufferedReader(aside, _BUFFER_BYTES)), member)
        _pass_by(piece, stream, size)
    if kept is None:
        raise members.lacking()
    return kept


def _tar_headers(stream: io.BufferedReader, name: str) -> Iterator[tuple[str, int]]:
    """Name and size of each file of a tar archive; whoever takes one reads it, and its padding, before the next."""
    longer = ""
    while True:
        block = stream.read(_BLOCK)
        if not block.strip(b"\0"):
            return
        try:
            size = int.from_bytes(block[125:136]) if block[124] & 0x80 else int(block[124:136].strip(b" \0") or b"0", 8)
            expected = int(block[148:156].strip(b" \0") or b"0", 8)
        except (ValueError, IndexError):
            size = expected = -1
        if sum(block[:148]) + 8 * 32 + sum(block[156:]) != expected or size < 0:
            raise InventoryError(name, "", "the tar archive is damaged")
        kind = block[156:157]
        if kind in (b"0", b"\0", b"7"):
            prefix, last = (part.partition(b"\0")[0] for part in (block[345:500], block[:100]))
            own = b"/".join(filter(None, (prefix, last))).decode(errors="replace")
            yield longer or own, size
            longer = ""
            continue
        data = stream.read(min(size, _MAX_NAME))
        if kind == b"L":
            longer = data.rstrip(b"\0").decode(errors="replace")
        elif kind == b"x" and (found := re.search(rb"\d+ path=([^\n]*)\n", data)):
            longer = found[1].decode(errors="replace")
        rest = size - len(data) + -size % _BLOCK
        while rest > 0 and (data := stream.read1(min(rest, _BUFFER_BYTES))):
            rest -= len(data)


class _Part(io.RawIOBase):
    """The next bytes of a stream, so many."""

    def __init__(self, stream: io.BufferedReader, size: int, name: str) -> None:
        self._stream = stream
        self._left = size
        self._name = name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer)[: self._left]
        wanted = min(HEAD_BYTES, len(view))
        count = 0
        while count < wanted and (piece := self._stream.readinto1(view[count:])):
            count += piece
        self._left -= count
        if count < wanted:
            raise InventoryError(self._name, "", "the tar archive is cut short")
        return count


def _zip_member(stream: io.BufferedReader, file: IO[bytes] | None, name: str, closing: ExitStack) -> Unpacked:
    """The inventory in a zip archive."""
    members = _Members(name)
    best, found = 0, None
    for member, opened in _zip_entries(stream, file, name, closing):
        rank = members.rank(member, opened().peek(HEAD_BYTES)[:HEAD_BYTES])
        if rank > best:
            best, found = rank, Unpacked(opened(), member)
    if found is None:
        raise members.lacking()
    return found


def _zip_entries(
    stream: io.BufferedReader, file: IO[bytes] | None, name: str, closing: ExitStack
) -> Iterator[tuple[str, Callable[[], io.BufferedReader]]]:
    """Each file of a zip archive, and what opens it; one that is not read by places goes to a temporary file first."""
    if file is None or not (hasattr(file, "seekable") and file.seekable()):
        file = closing.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack is the context
        shutil.copyfileobj(stream, file, _BUFFER_BYTES)
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - (1 << 16) - 22))
    tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or int.from_bytes(tail[end + 12 : end + 16], "little") > _MAX_DIRECTORY:
        what = "is damaged or cut short" if end < 0 else "has too large a directory"
        raise InventoryError(name, "", f"the zip archive {what}")

    def unreadable(error: Exception) -> InventoryError:
        return InventoryError(name, "", f"the zip archive cannot be read: {str(error).rstrip('.')}")

    try:
        archive = closing.enter_context(zipfile.ZipFile(file))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise unreadable(error) from None

    def opened(entry: zipfile.ZipInfo) -> io.BufferedReader:
        try:
            return io.BufferedReader(_Measured(archive.open(entry), name, lambda: size), _BUFFER_BYTES)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise unreadable(error) from None

    for entry in archive.infolist():
        if not entry.is_dir():
            yield entry.filename, partial(opened, entry)
