"""Terminals for the processes that tests start, and what is written to them."""

import fcntl
import os
import pty
import struct
import termios


def terminal(columns: int) -> tuple[int, int]:
    """Both sides of a new terminal of that width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    return ours, theirs


def drained(terminal: int) -> str:
    """What a process wrote to the terminal until it closed it."""
    received = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux: the other side is closed
            part = b""
        if not part:
            return received.decode()
        received += part
