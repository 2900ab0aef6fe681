"""Sizes as people write them: `16GiB` to bytes and back.

All units are binary, as in xapi and xe: `16G`, `16GB` and `16GiB` are the same number of bytes.
Depends on nothing; arithmetic is on integers and fractions, never on floats.
"""

import re
from fractions import Fraction
from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30
TIB: Final = 1 << 40
PIB: Final = 1 << 50

_UNITS: Final = (("PiB", PIB), ("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB))
_FACTORS: Final = {"": 1, "b": 1, "bytes": 1} | {
    suffix: factor
    for name, factor in _UNITS
    for suffix in (name[0].lower(), f"{name[0].lower()}b", f"{name[0].lower()}ib")
}
_SIZE: Final = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?) ?([A-Za-z]*)")


def parse_size(text: str) -> int:
    """The bytes that a size such as ``16GiB``, ``1.5 tb`` or ``1073741824`` means.

    Parameters
    ----------
    text : a decimal number and a unit: none, ``b``, ``bytes``, or ``k`` ``m`` ``g`` ``t`` ``p`` alone, with ``b`` or
        with ``iB``, in any case

    Returns
    -------
    bytes, >= 0

    Raises
    ------
    ValueError : the text is no such size, or is not a whole number of bytes

    Notes
    -----
    Source: xapi-project/xen-api, ocaml/xapi-cli-server/record_util.ml, ``bytes_of_string``; fractions are new.
    """
    match = _SIZE.fullmatch(text.strip())
    factor = _FACTORS.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text!r} is not a size such as 16GiB, 512MiB or 1073741824")
    size = Fraction(match[1]) * factor
    if size.denominator != 1:
        raise ValueError(f"{text!r} is not a whole number of bytes")
    return size.numerator


def format_size(size: int) -> str:
    """A size for people to read: ``16GiB``, ``255.94GiB``, ``-1.5MiB``, ``0B``.

    Parameters
    ----------
    size : bytes; any integer, also of numpy

    Returns
    -------
    the largest unit that gives at least 1, with at most two decimals, rounded to nearest, halves away from zero
    """
    amount = abs(int(size))
    sign = "-" if size < 0 else ""
    larger: int | None = None
    for name, factor in reversed(_UNITS):
        hundredths = (200 * amount + factor) // (2 * factor)
        if amount < factor and (larger is None or larger < KIB * 100):
            break
        larger, unit = hundredths, name
    if larger is None:
        return f"{sign}{amount}B"
    whole, rest = divmod(larger, 100)
    decimals = f".{rest:02}".rstrip("0") if rest else ""
    return f"{sign}{whole}{decimals}{unit}"
