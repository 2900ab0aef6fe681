"""The valid domain of each argument, as documented in csrc/xenmem.h; usable in jitted code.

A test compares these numbers with those of the header.
"""

from typing import Final

MAX_BYTES: Final = 1 << 50
MAX_VCPUS: Final = 65535
MAX_SHADOW_MULTIPLIER: Final = 1024
MAX_MODEL_CONSTANT: Final = 65536
MAX_SHADOW_PAGES_PER_MIB: Final = 2
"""The closed form of maximise_memory relies on shadow steps of at least 128 MiB."""
MAX_MIN_SHADOW_MIB: Final = 64
MAX_USED_BYTES: Final = 4 * MAX_BYTES
DOMAIN_TYPES: Final = 4
NO_ROW: Final = -1
