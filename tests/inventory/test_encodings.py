"""Whitespace protection, s-expressions and XML-RPC: what a simple encoder writes, the decoders read back."""

import pytest
from dumps import protect, protect_pairs, sexpr
from hypothesis import given
from hypothesis import strategies as st

from xenmem.datamodel.sexpr import parse, parse_map, parse_set, unprotect
from xenmem.inventory.statedb import StatedbCodec

TEXTS = st.text(st.sampled_from("ab ._tnr%\t\n\r'\"\\();é")) | st.text()
TREES = st.recursive(TEXTS, lambda inner: st.lists(inner, max_size=4), max_leaves=20)


@given(TEXTS)
def test_both_generations_of_protection(text: str) -> None:
    assert unprotect(protect(text)) == text
    assert unprotect(protect_pairs(text)) == text


@pytest.mark.parametrize(
    ("protected", "text"),
    [("%%_", "%_"), ("%%%_", "%  "), ("%x%", "%x%"), ("a%.b%_c", "a b  c"), ("%", "%"), ("%%.", "%."), ("%.%", " %")],
)
def test_protection_is_undone_left_to_right(protected: str, text: str) -> None:
    assert unprotect(protected) == text


@given(TREES)
def test_expressions(tree: object) -> None:
    assert parse(sexpr(tree)) == tree


@given(st.dictionaries(TEXTS, TEXTS, max_size=5))
def test_maps(values: dict[str, str]) -> None:
    assert parse_map(sexpr([[key, value] for key, value in values.items()])) == values


@given(st.dictionaries(st.sampled_from(["videoram", "video", "(", "'videoram' '9"]) | TEXTS, TEXTS, max_size=4), TEXTS)
def test_one_entry_of_a_map(values: dict[str, str], other: str) -> None:
    text = sexpr([[key, value] for key, value in values.items()])
    for protected in (protect(text), protect_pairs(text)):
        for key in ("videoram", "video", other):
            assert StatedbCodec().entry(protected, key) == values.get(key)


@given(st.lists(TEXTS, max_size=5))
def test_sets(values: list[str]) -> None:
    assert parse_set(sexpr(values)) == values


def test_what_xapi_reads_but_does_not_write() -> None:
    assert parse(" ( 'a'\n\t\"b'c\" ; a comment ' (\n 'd\\n' ) ; end") == ["a", "b'c", "dn"]
    assert parse_map("(('a' \"b\")('c' 'd'))") == {"a": "b", "c": "d"}


@pytest.mark.parametrize(
    "text", ["", "(", ")", "(a)", "('a", "'a' 'b'", "()()", "('a'))", "(" * 100 + ")" * 100, "('a\\"]
)
def test_what_is_no_expression(text: str) -> None:
    with pytest.raises(ValueError, match="s-expression"):
        parse(text)


@pytest.mark.parametrize("text", ["'a'", "('a' 'b')", "(('a'))", "(('a' 'b' 'c'))", "(('a' ('b')))"])
def test_what_is_no_map(text: str) -> None:
    with pytest.raises(ValueError, match=r"map|pair"):
        parse_map(text)


@pytest.mark.parametrize("text", ["'a'", "(('a'))"])
def test_what_is_no_set(text: str) -> None:
    with pytest.raises(ValueError, match="set"):
        parse_set(text)
