"""The valid domain of each argument, as documented in csrc/xenmem.h; usable in jitted code.

A test compares each number with that of the header, or with the one that it may not exceed.
"""

from typing import Final

MAX_BYTES: Final = 1 << 50
MAX_VCPUS: Final = 65535
MAX_SHADOW_MULTIPLIER: Final = 1024
MAX_MODEL_CONSTANT: Final = 65536
PROVED_SHADOW_PAGES_PER_MIB: Final = 2
"""Stricter than the header's MAX_SHADOW_PAGES_PER_MIB: scalar.maximise_memory multiplies by MiB per page, which is
exact for one page and for two, and relies on shadow steps of at least 128 MiB."""
PROVED_MIN_SHADOW_MIB: Final = 64
"""Where the header has MAX_MODEL_CONSTANT alone."""
MAX_USED_BYTES: Final = 4 * MAX_BYTES
DOMAIN_TYPES: Final = 4
NO_ROW: Final = -1
