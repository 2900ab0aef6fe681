"""Sizes as people write them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenmem.units import GIB, KIB, MIB, PIB, TIB, format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1073741824", GIB),
        ("16GiB", 16 * GIB),
        ("16gb", 16 * GIB),
        ("16 G", 16 * GIB),
        (" 512MIB ", 512 * MIB),
        ("1.5tib", 3 * TIB // 2),
        ("0.5k", 512),
        ("3bytes", 3),
        ("7B", 7),
        ("2p", 2 * PIB),
    ],
)
def test_parse(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1", "1e3", "1,5G", "0x10", "1GiBs", "nan", "٣", "1 0", ".5G", "1.G"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size such as 16GiB"):
        parse_size(text)


def test_part_of_a_byte() -> None:
    with pytest.raises(ValueError, match=r"'0\.3KiB' is not a whole number of bytes"):
        parse_size("0.3KiB")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (KIB, "1KiB"),
        (MIB - 1, "1MiB"),
        (MIB - 6 * KIB, "1018KiB"),
        (16 * GIB, "16GiB"),
        (274829934592, "255.96GiB"),
        (-3 * MIB // 2, "-1.5MiB"),
        (np.int64(1 << 50), "1PiB"),
        (5000 * PIB, "5000PiB"),
    ],
)
def test_format(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, 1 << 53))
def test_a_formatted_size_is_within_half_a_hundredth(size: int) -> None:
    text = format_size(size)
    number, unit = text.rstrip("BKMGTPi"), text.lstrip("0123456789.")
    factor = parse_size(f"1{unit}")
    whole, _, decimals = number.partition(".")
    hundredths = int(whole) * 100 + int(decimals.ljust(2, "0"))
    assert abs(200 * size - 2 * hundredths * factor) <= factor
    assert size < KIB or hundredths >= 100
