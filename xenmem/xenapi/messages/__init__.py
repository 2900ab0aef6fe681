"""The messages, one file per class or group of a class; importing this package declares them all."""

from collections.abc import Iterable

from xenmem.xenapi.calls.message import MESSAGES, Message
from xenmem.xenapi.messages import (
    devices,
    event,
    generic,
    hardware,
    host,
    neutral,
    pool,
    role,
    session,
    task,
    vm_copies,
    vm_group,
    vm_lifecycle,
    vm_memory,
    vm_motion,
    vm_records,
    vm_vcpus,
)

from xenmem.xenapi.messages import remaining  # isort: skip  (what is left when all others are declared)

__all__ = [
    "all_messages",
    "devices",
    "event",
    "generic",
    "hardware",
    "host",
    "neutral",
    "pool",
    "remaining",
    "role",
    "session",
    "task",
    "vm_copies",
    "vm_group",
    "vm_lifecycle",
    "vm_memory",
    "vm_motion",
    "vm_records",
    "vm_vcpus",
]


def all_messages() -> Iterable[Message]:
    """Every message there is."""
    return MESSAGES.values()
