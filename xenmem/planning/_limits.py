"""What numbers the planners take: how large an amount may be, in bytes, and what counts as an integer.

Knows nothing of pools and plans.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MOST_BYTES: Final = 1 << 52
MOST_BYTES_IN_ALL: Final = 1 << 60
"""Amounts beyond these are refused, so that no sum of a pool leaves int64."""


def integer(name: str, value: Any) -> int:
    """The value; raises TypeError with its name if it is no integer: 1.5 failures are not rounded to one."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: {value!r} is no integer")
    return int(value)


def check_range(name: str, values: NDArray[Any], low: int, high: int) -> None:
    """Raise ValueError with the name, the first index and the value, if one is outside low..high."""
    bad = (values < low) | (values > high)
    if bad.any():
        index = int(np.argmax(bad))
        raise ValueError(f"{name}: {values[index]} at index {index} is outside {low}..{high}")
