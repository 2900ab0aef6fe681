"""The tables of the page as columns of JSON that its script sorts and filters: small, and exact. Amounts are bytes."""

import base64
import re
import string
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xenmem.text import printable
from xenmem.units import KIB, MIB

Kind = Literal["text", "size", "number", "uuid"]

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DIGITS: Final = re.compile(r"\d+")
_LONGEST_NUMBER: Final = 20
_LETTERS: Final = string.ascii_lowercase


class Column(NamedTuple):
    """A column.

    Attributes
    ----------
    key : by which a filter names it
    heading : what stands above it
    kind : ``size`` is bytes, ``number`` as it is, both -1 for unknown
    values : of each row
    """

    key: str
    heading: str
    kind: Kind
    values: Sequence[Any] | NDArray[Any]


def natural(text: str) -> str:
    """A key by which host-2 comes before host-10."""
    return _DIGITS.sub(lambda digits: digits[0].zfill(_LONGEST_NUMBER), text.casefold())


def by_name(names: Sequence[str]) -> NDArray[np.int64]:
    """The rows in the order of their names."""
    keys = [natural(name) for name in names]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)


def encoded(name: str, noun: str, columns: Sequence[Column]) -> dict[str, Any]:
    """A table for the script.

    Parameters
    ----------
    name, noun : its identifier in the page, and what a row is
    columns : of equal length, the first the name of a row

    Returns
    -------
    plain values. A text column is its words in order and for each row the number of its word: left out where row n has
    word n, and a letter from `a` on where there are few words. Numbers are so, too, or just themselves, sizes in the
    largest unit that divides all of them. Uuids are 16 bytes each, as base64
    """
    return {
        "name": name,
        "noun": noun,
        "rows": len(columns[0].values),
        "columns": [
            {"key": one.key, "heading": one.heading, "kind": one.kind, **_ENCODERS[one.kind](one.values)}
            for one in columns
        ],
    }


def _texts(values: Sequence[Any] | NDArray[Any]) -> dict[str, Any]:
    words = sorted(set(values), key=natural)
    codes = {word: number for number, word in enumerate(words)}
    found = [codes[value] for value in values]
    encoded: dict[str, Any] = {"words": [printable(word) for word in words]}
    return encoded if found == list(range(len(found))) else encoded | {"codes": _codes(found, len(words))}


def _numbers(values: Sequence[Any] | NDArray[Any]) -> dict[str, Any]:
    amounts = np.asarray(values, np.int64)
    known = amounts[amounts >= 0]
    unit = next(unit for unit in (MIB, KIB, 1) if not (known % unit).any())
    found = np.where(amounts >= 0, amounts // unit, -1)
    words, codes = np.unique(found, return_inverse=True)
    if len(words) * 4 > len(found):
        return {"unit": unit, "values": found.tolist()}
    return {"unit": unit, "words": words.tolist(), "codes": _codes(codes.tolist(), len(words))}


def _codes(codes: list[int], words: int) -> list[int] | str:
    """A letter for each row where letters do."""
    return "".join(map(_LETTERS.__getitem__, codes)) if words <= len(_LETTERS) else codes


def _uuids(values: Sequence[Any] | NDArray[Any]) -> dict[str, Any]:
    if not all(map(_UUID.fullmatch, values)):
        return _texts(values)
    return {"packed": base64.b64encode(bytes.fromhex("".join(values).replace("-", ""))).decode()}


_ENCODERS: Final[dict[Kind, Any]] = {"text": _texts, "size": _numbers, "number": _numbers, "uuid": _uuids}
