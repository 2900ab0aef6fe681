"""A file replaced as a whole: whoever reads its path sees the old one or the whole new one, also after a power failure.

Written is a file beside it, locked for as long, which then takes its place. What killed processes left of such files
is found unlocked, and removed by whoever next replaces a file of the same name.
"""

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_NAME_BYTES = 200
"""Bytes of a name that its temporary files share: the name itself may have 255."""


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file to write, which takes the place of the one at a path if nothing is raised.

    Parameters
    ----------
    path : of a regular file, or of none; symbolic links are followed. A new file has the permissions that the umask
        leaves; one that is replaced keeps its permissions, and its owner and group as far as the process may set them.
        Other hard links go on to name the old file

    Raises
    ------
    OSError : the file cannot be replaced, or is none that could be; the old one is untouched
    """
    target = Path(os.path.realpath(path))
    try:
        old = target.stat()
    except FileNotFoundError:
        old = None
    if old is not None and not stat.S_ISREG(old.st_mode):
        raise OSError(errno.EINVAL, "is no regular file", os.fspath(path))
    prefix = f".{target.name.encode(errors='surrogateescape')[:_NAME_BYTES].decode(errors='ignore')}.saving-"
    _sweep(target.parent, prefix)
    descriptor, name = _locked(target.parent, prefix, 0o666 if old is None else 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if old is not None:
                with suppress(PermissionError):
                    os.fchown(descriptor, old.st_uid, old.st_gid)
                os.fchmod(descriptor, old.st_mode & 0o777)
            os.fsync(descriptor)
            name.replace(target)
    except BaseException:
        name.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def _locked(folder: Path, prefix: str, mode: int) -> tuple[int, Path]:
    """A new file that nobody takes for one that was left behind."""
    while True:
        name = folder / f"{prefix}{secrets.token_hex(8)}"
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return descriptor, name
        except BlockingIOError:
            pass  # somebody sweeps, and removes it
        os.close(descriptor)


def _sweep(folder: Path, prefix: str) -> None:
    """Remove what nobody writes any more."""
    left = re.compile(re.escape(prefix) + "[0-9a-f]{16}")
    for entry in list(os.scandir(folder)):
        if left.fullmatch(entry.name) is None:
            continue
        with suppress(OSError):
            descriptor = os.open(entry.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                Path(entry.path).unlink()
            finally:
                os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
