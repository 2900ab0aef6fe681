"""Tables that fit a width: units, names, texts, columns that leave."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenmem.cli.layout import Column, cell_len, laid_out, shortened, sizes, without_common_suffix, wrapped
from xenmem.units import GIB, MIB, TIB


@pytest.mark.parametrize(
    ("amounts", "texts", "unit"),
    [
        ([GIB, 2 * GIB, 0], ["1", "2", "0"], "GiB"),
        ([GIB, 3 * GIB // 2, 0], ["1.00", "1.50", "0.00"], "GiB"),
        ([GIB, 91 * MIB], ["1.00", "0.09"], "GiB"),
        ([GIB, 1, -1], ["1.00", "<0.01", ">-0.01"], "GiB"),
        ([-5 * MIB, None, "any"], ["-5", "unknown", "any"], "MiB"),
        ([9 * TIB], ["9216"], "GiB"),
        ([10 * TIB], ["10"], "TiB"),
        ([0, 0], ["0", "0"], ""),
        ([], [], ""),
    ],
)
def test_one_unit_and_fixed_decimals(amounts: list[int], texts: list[str], unit: str) -> None:
    assert sizes(amounts) == (texts, unit)


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["a.lab.example", "b.lab.example"], ["a", "b"]),
        (["a.lab.example", "b.lon.example"], ["a.lab", "b.lon"]),
        (["a.lab.example"], ["a.lab.example"]),
        (["a.lab.example", "b"], ["a.lab.example", "b"]),
        (["a.lab.example", "b.lab.example", "2 hosts"], ["a", "b", "2 hosts"]),
        (["x.example", "x.y.example"], ["x", "x.y"]),
    ],
)
def test_what_all_names_end_in(names: list[str], shown: list[str]) -> None:
    assert without_common_suffix(names) == shown


def test_names_lose_their_middle() -> None:
    assert shortened("production-web-server-01", 12) == "produc\u2026er-01"
    assert shortened("short", 12) == "short"
    assert cell_len(shortened("\u6d4b\u8bd5" * 20, 11)) <= 11


CELLS = st.lists(
    st.tuples(
        st.text(alphabet=st.characters(exclude_categories=["C", "Z"]), max_size=60),
        st.integers(-(1 << 50), 1 << 50),
        st.text(alphabet="abc -", max_size=90),
        st.integers(0, 9999),
    ),
    max_size=8,
)


@given(CELLS, st.integers(60, 200))
def test_no_line_is_wider(rows: list[tuple[str, int, str, int]], width: int) -> None:
    columns = [Column("name", "name"), Column("much"), Column("why", "text", rank=2), Column("n", "number", rank=1)]
    table = laid_out(columns, rows, width)
    lines = [*table.heading, *(line for row in table.rows for line in row)]
    assert max(map(cell_len, lines)) <= width
    whole = laid_out(columns, rows, None)
    assert whole.left_out == []
    assert [len(row) for row in whole.rows] == [1] * len(rows)


def test_columns_leave_by_rank() -> None:
    columns = [Column("host", "name"), *(Column(f"free\n{n}", "number", rank=n) for n in range(12))]
    table = laid_out(columns, [["host-1", *[123456] * 12]], 60)
    assert table.left_out == [f"free {n}" for n in range(6, 12)]
    assert table.heading[0].split()[0] == "free"


def test_prose_is_folded_at_blanks() -> None:
    assert wrapped("one two three", 8) == ["one two", "three"]
    assert wrapped("one two three", 8, "  ") == ["one two", "  three"]
    assert wrapped("x" * 20, 8) == ["x" * 20]
    assert wrapped("one two", None) == ["one two"]
