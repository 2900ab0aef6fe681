"""How large an amount may be in the planners of failures and updates, in bytes; knows nothing of pools."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MOST_BYTES: Final = 1 << 52
MOST_BYTES_IN_ALL: Final = 1 << 60
"""Amounts beyond these are refused, so that no sum of a pool leaves int64."""


def check_range(name: str, values: NDArray[Any], low: int, high: int) -> None:
    """Raise ValueError with the name, the first index and the value, if one is outside low..high."""
    bad = (values < low) | (values > high)
    if bad.any():
        index = int(np.argmax(bad))
        raise ValueError(f"{name}: {values[index]} at index {index} is outside {low}..{high}")
