"""What numba compiled, kept on disk: a file that is damaged or cannot be written is a miss, never an error.

Each file ends in a digest of what stands before it, since the files are pickles and machine code: what is damaged must
not be run. What is damaged is compiled and written anew. Knows how numba names and fills its files, not what compiles.
"""

import hashlib
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from numba.core.caching import FunctionCache, IndexDataCacheFile

LOG: Final = logging.getLogger("xenmem")
_DIGEST: Final = hashlib.sha256().digest_size


class _Misses:
    """What was said in this process of files that could not be used.

    Attributes
    ----------
    failure : the first file that could not be written
    """

    failure: OSError | None = None
    is_told = False


def failure() -> OSError | None:
    """Why something that this process compiled is not kept, if so."""
    return _Misses.failure


def _tell(problem: str) -> None:
    """Once: one line is enough, whatever is found later."""
    if not _Misses.is_told:
        _Misses.is_told = True
        LOG.warning(problem)


class _SealedFiles(IndexDataCacheFile):
    """The index of a function and the files of its signatures."""

    def _load_index(self) -> Any:
        return super()._load_index() if self._is_sound(self._index_path) else {}  # type: ignore[no-untyped-call]

    def _load_data(self, name: str) -> Any:
        path = self._data_path(name)  # type: ignore[no-untyped-call]
        if not self._is_sound(path):
            raise FileNotFoundError(path)  # a miss
        return super()._load_data(name)  # type: ignore[no-untyped-call]

    def _is_sound(self, path: str) -> bool:
        try:
            content = memoryview(Path(path).read_bytes())
        except FileNotFoundError:
            return False
        except OSError as error:
            _tell(f"compiling anew what cannot be read: {path}: {error.strerror}")
            return False
        is_sound = hashlib.sha256(content[:-_DIGEST]).digest() == content[-_DIGEST:]
        if not is_sound:
            _tell(f"compiling anew what is damaged: {path}")
        return is_sound

    @contextmanager
    def _open_for_write(self, path: str) -> Iterator[io.BytesIO]:
        content = io.BytesIO()
        yield content
        with super()._open_for_write(path) as file:
            file.write(content.getbuffer())
            file.write(hashlib.sha256(content.getbuffer()).digest())


class Cache(FunctionCache):
    """The compiled forms of a function.

    Raises
    ------
    RuntimeError : no folder can be written to
    """

    def __init__(self, function: Any) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        self._cache_file = _SealedFiles(  # type: ignore[no-untyped-call]
            cache_path=self._cache_path,
            filename_base=f"{self._impl.filename_base}.sealed",
            source_stamp=self._impl.locator.get_source_stamp(),
        )

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep a compiled form, if the disk can."""
        try:
            super().save_overload(signature, compiled)  # type: ignore[no-untyped-call]
        except OSError as error:
            _Misses.failure = _Misses.failure or error
            _tell(f"what was compiled is not kept: {self.cache_path}: {error.strerror}")
