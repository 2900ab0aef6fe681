"""The first bytes of a file, by which formats are told apart. Knows no format."""

from io import BufferedReader
from typing import Final

HEAD_BYTES: Final = 4096
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def head_of(stream: BufferedReader) -> bytes:
    """Up to 4 KiB, without a byte order mark; the stream stays where it is."""
    return stream.peek(HEAD_BYTES)[:HEAD_BYTES].removeprefix(BYTE_ORDER_MARK)
