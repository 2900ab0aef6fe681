"""The text encodings inside a database dump: whitespace protection and s-expressions (inventories.md, 2.5 and 2.6).

Both generations of protection are accepted, and everything that xapi's own reader accepts. Values are str; an
expression is a str or a list. Knows nothing of tables.
"""

import re
from typing import Final

Expression = str | list["Expression"]

_PROTECTED: Final = re.compile("%([._tnr%])")
_MEANS: Final = {".": " ", "_": "  ", "t": "\t", "n": "\n", "r": "\r", "%": "%"}
# possessive, since a repetition that may be taken back costs memory for each character of a long text
_TOKEN: Final = re.compile(r"""\s++|;[^\n]*+|([()])|'((?:[^'\\]++|\\.)*+)'|"((?:[^"\\]++|\\.)*+)\"""", re.DOTALL)
_PLAIN_MAP: Final = re.compile(r"\((?:\('[^'\\]*+' '[^'\\]*+'\)(?: (?=\())?)*+\)")
_PLAIN_PAIR: Final = re.compile(r"\('([^'\\]*)' '([^'\\]*)'\)")
_MAX_DEPTH: Final = 64

MAX_TOKENS: Final = 1 << 18
"""Most atoms and brackets of one expression: each costs some 60 bytes, however short it is written."""


def unprotect(text: str) -> str:
    """Undo the whitespace protection of one attribute.

    Parameters
    ----------
    text : an attribute's value, XML entities already decoded
    """
    escapes = text.count("%")
    if escapes == text.count("%."):
        return text.replace("%.", " ") if escapes else text
    return _PROTECTED.sub(lambda match: _MEANS[match[1]], text)


def parse(text: str) -> Expression:
    """The s-expression that a text is, whitespace protection already undone.

    Raises
    ------
    ValueError : the text is not one s-expression, nests deeper than 64 levels, or has more than MAX_TOKENS tokens
    """
    top: list[Expression] = []
    stack = [top]
    position = tokens = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"no s-expression: {text[position : position + 20]!r} at character {position}")
        position = match.end()
        kind = match.lastindex
        if kind is None:
            continue
        tokens += 1
        if tokens > MAX_TOKENS:
            raise ValueError(f"s-expression has more than {MAX_TOKENS:,} atoms and brackets")
        token = match[kind]
        if kind != 1:
            stack[-1].append(_unescaped(token) if "\\" in token else token)
        elif token == "(":
            if len(stack) > _MAX_DEPTH:
                raise ValueError("s-expression nests too deep")
            inner: list[Expression] = []
            stack[-1].append(inner)
            stack.append(inner)
        elif len(stack) == 1:
            raise ValueError("s-expression has a ) without (")
        else:
            stack.pop()
    if len(stack) != 1 or len(top) != 1:
        raise ValueError("s-expression is cut short" if len(stack) > 1 or not top else "more than one s-expression")
    return top[0]


def _unescaped(token: str) -> str:
    """Each backslash makes the next character literal: of two in a row one stays, any other goes."""
    return "\\".join(part.replace("\\", "") for part in token.split("\\\\"))


def parse_map(text: str) -> dict[str, str]:
    """The map that a text is: ``(('k' 'v') ('k2' 'v2'))``.

    Raises
    ------
    ValueError : the text is not a map of texts
    """
    if text == "()":
        return {}
    if text.count("'") <= MAX_TOKENS and _PLAIN_MAP.fullmatch(text):
        return dict(_PLAIN_PAIR.findall(text))
    answer = {}
    expression = parse(text)
    if isinstance(expression, str):
        raise ValueError("a text, where a map should be")
    for pair in expression:
        match pair:
            case [str() as key, str() as value]:
                answer[key] = value
            case _:
                raise ValueError(f"{pair!r:.60} is not a pair of texts")
    return answer


def parse_set(text: str) -> list[str]:
    """The set that a text is: ``('a' 'b')``.

    Raises
    ------
    ValueError : the text is not a set of texts
    """
    if text == "()":
        return []
    expression = parse(text)
    if isinstance(expression, str):
        raise ValueError("a text, where a set should be")
    items = [item for item in expression if isinstance(item, str)]
    if len(items) != len(expression):
        raise ValueError("a set should hold texts only")
    return items
