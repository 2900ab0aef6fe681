"""The filter language of get_all_where and get_all_records_where.

    field "power_state" = "Running" and not field "is_a_template" = "true"

`and` and `or` bind alike and to the left, `not` looser than both. Values are compared as the database spells them.
Source: docs/reference/messages.md, 9.6 (xapi-project/xen-api, ocaml/database/db_filter_parse.mly). Nothing is evaluated
as code.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

from xenmem.datamodel import ClassSchema
from xenmem.datamodel.errors import INTERNAL_ERROR, INVALID_VALUE, Failure
from xenmem.xenapi.store.rows import Row

Predicate = Callable[[Row], bool]
_Value = Callable[[Row], str]

_NONE: Final[Mapping[str, Callable[[Any], Any]]] = {}

MAX_DEPTH: Final = 100
"""Deepest nesting of parentheses and negations."""

_TOKEN: Final = re.compile(r'\s*(?:"([^"]*)"|([A-Za-z]+)|([=()]))')


def parse(expression: str, schema: ClassSchema, computed: Mapping[str, Callable[[Any], Any]] = _NONE) -> Predicate:
    """The predicate that an expression is, over the rows of a class.

    Parameters
    ----------
    expression, schema : what to parse, and for which class
    computed : what gives the fields that no row holds, by name

    Raises
    ------
    Failure : INVALID_VALUE where it is no expression; a field that does not exist fails when a row is looked at
    """
    return _Parser(expression, schema, computed).parse()


class _Parser:
    def __init__(self, expression: str, schema: ClassSchema, computed: Mapping[str, Callable[[Any], Any]]) -> None:
        self.expression = expression
        self.computed = computed
        self.columns = schema.by_column
        self.tokens = self._tokens()
        self.place = 0

    def _tokens(self) -> list[tuple[str, str]]:
        tokens, place, text = [], 0, self.expression.rstrip()
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None or match.lastindex is None:
                raise self._error("lexing: empty token")
            tokens.append((("", "literal", "word", "mark")[match.lastindex], match[match.lastindex]))
            place = match.end()
        return tokens

    def _error(self, text: str) -> Failure:
        return INVALID_VALUE(self.expression, text)

    def parse(self) -> Predicate:
        predicate = self._expression(0)
        if self.place != len(self.tokens):
            raise self._error("Stdlib.Parsing.Parse_error")
        return predicate

    def _next(self) -> tuple[str, str]:
        if self.place == len(self.tokens):
            raise self._error("Stdlib.Parsing.Parse_error")
        self.place += 1
        return self.tokens[self.place - 1]

    def _accept(self, *token: tuple[str, str]) -> str:
        if self.place < len(self.tokens) and self.tokens[self.place] in token:
            self.place += 1
            return self.tokens[self.place - 1][1]
        return ""

    def _expression(self, depth: int) -> Predicate:
        """A negation of all that follows, or comparisons joined from left to right."""
        if depth > MAX_DEPTH:
            raise self._error("nests too deep")
        if self._accept(("word", "not")):
            negated = self._expression(depth + 1)
            return lambda row: not negated(row)
        first = self._operand(depth)
        others: list[tuple[bool, Predicate]] = []
        while joint := self._accept(("word", "and"), ("word", "or")):
            negates = self.place < len(self.tokens) and self.tokens[self.place] == ("word", "not")
            others.append((joint == "and", self._expression(depth + 1) if negates else self._operand(depth)))
        return _joined(first, others) if others else first

    def _operand(self, depth: int) -> Predicate:
        if self._accept(("mark", "(")):
            inner = self._expression(depth + 1)
            if not self._accept(("mark", ")")):
                raise self._error("Stdlib.Parsing.Parse_error")
            return inner
        if word := self._accept(("word", "true"), ("word", "false")):
            return lambda row: word == "true"
        left = self._value()
        if not self._accept(("mark", "=")):
            raise self._error("Stdlib.Parsing.Parse_error")
        right = self._value()
        return lambda row: left(row) == right(row)

    def _value(self) -> _Value:
        kind, text = self._next()
        if kind == "literal":
            return lambda row: text
        if (kind, text) != ("word", "field"):
            raise self._error("Stdlib.Parsing.Parse_error")
        kind, name = self._next()
        if kind != "literal":
            raise self._error("Stdlib.Parsing.Parse_error")
        return self._field(name)

    def _field(self, name: str) -> _Value:
        if name == "_ref":
            return lambda row: row.ref
        field = self.columns.get(name)
        if field is None:

            def missing(row: Row) -> str:
                raise INTERNAL_ERROR("missing field", name, "")

            return missing
        text: Callable[[Any], str] = field.type.database_text
        read = self.computed.get(field.name) or attrgetter(field.name)
        return lambda row: text(read(row))


def _joined(first: Predicate, others: Sequence[tuple[bool, Predicate]]) -> Predicate:
    """The first, joined with each of the others in turn by `and` where it says so, else by `or`."""

    def matches(row: Row) -> bool:
        value = first(row)
        for needs_both, other in others:
            if value == needs_both:
                value = other(row)
        return value

    return matches
