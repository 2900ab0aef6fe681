"""The messages, one file per class or group of a class; importing this package declares them all."""

from collections.abc import Iterable

from xenmem.xenapi.message import MESSAGES, Message
from xenmem.xenapi.messages import generic, host, session, vm_memory

__all__ = ["all_messages", "generic", "host", "session", "vm_memory"]


def all_messages() -> Iterable[Message]:
    """Every message there is."""
    return MESSAGES.values()
