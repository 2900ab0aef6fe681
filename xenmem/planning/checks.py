"""What numbers the planners take: how large an amount may be, what is an integer, and arrays of them.

Each error names the argument, the first bad index and its value. Knows nothing of pools and plans.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from xenmem.columns import Bytes, Rows

LARGEST_AMOUNT: Final = 1 << 52
"""Bytes of one VM or host: what the kernel takes, the largest overhead on top."""
LARGEST_TOTAL: Final = 1 << 60
"""Bytes of a pool. No sum or difference of two totals leaves int64, and their MiB stay below search.problem.MOVE."""

_INT64: Final = np.iinfo(np.int64)
_ROWS: Final = np.iinfo(np.int32)


def integer(name: str, value: Any) -> int:
    """The value; raises TypeError with its name if it is no integer: 1.5 failures are not rounded to one."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: {value!r} is no integer")
    return int(value)


def check_range(name: str, values: NDArray[Any], low: int, high: int) -> None:
    """Raise ValueError with the name, the first index and the value, if one is outside low..high."""
    refuse(name, values, (values < low) | (values > high), f"is outside {low}..{high}")


def check_total(name: str, *values: Bytes) -> None:
    """Raise ValueError if the amounts, taken as positive, add up to more than a pool may have."""
    if sum(float(np.abs(part.astype(np.float64)).sum()) for part in values) > LARGEST_TOTAL:
        raise ValueError(f"{name}: more than {LARGEST_TOTAL} bytes in all")


def _integers(name: str, values: npt.ArrayLike, limits: "np.iinfo[Any]") -> NDArray[Any]:
    """A vector of whole numbers, of the dtype of `limits` and in the one layout that the walks are compiled for."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name}: shape {array.shape} has not one dimension")
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{name}: integers are needed, not {array.dtype}")
    if not np.can_cast(array.dtype, limits.dtype):
        refuse(name, array, (array < limits.min) | (array > limits.max), f"is outside {limits.min}..{limits.max}")
    return np.require(array, limits.dtype, ["C_CONTIGUOUS", "ALIGNED", "WRITEABLE"])


def refuse(name: str, array: NDArray[Any], bad: NDArray[np.bool_], why: str) -> None:
    """Raise ValueError with the argument, the first bad index and its value, if there is one."""
    if bad.any():
        index = int(np.argmax(bad))
        raise ValueError(f"{name}: {array[index]} at index {index} {why}")


def as_rows(name: str, values: npt.ArrayLike) -> Rows:
    """Row numbers as an int32 vector.

    Raises
    ------
    TypeError, ValueError : not a vector of integers that int32 holds; names the argument, the first index and the value
    """
    return _integers(name, values, _ROWS)


def as_amounts(name: str, values: npt.ArrayLike) -> Bytes:
    """Amounts as an int64 vector; errors as for as_rows."""
    return _integers(name, values, _INT64)


def as_sizes(name: str, values: npt.ArrayLike) -> Bytes:
    """Amounts >= 0 as an int64 vector; errors as for as_rows, and ValueError for a negative size."""
    sizes = as_amounts(name, values)
    refuse(name, sizes, sizes < 0, "is negative")
    return sizes
