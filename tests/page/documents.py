"""Pages as tests read them: their elements, and the columns of their tables."""

import base64
import json
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "rect", "path", "input"}


class Document(HTMLParser):
    """A document's elements: tags with their attributes, and the text of each kind of element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    def tables(self) -> dict[str, dict[str, list[Any]]]:
        """The columns of each table, decoded."""
        text = next(text for text in self.texts["script"] if text.startswith("["))
        return {one["name"]: {column["key"]: decoded(column) for column in one["columns"]} for one in json.loads(text)}


def decoded(column: dict[str, Any]) -> list[Any]:
    """The values of a column as the script reads them."""
    if "packed" in column:
        packed = base64.b64decode(column["packed"]).hex()
        return [packed[start : start + 32] for start in range(0, len(packed), 32)]
    if "values" in column:
        return [value * column["unit"] if value >= 0 else None for value in column["values"]]
    words = column["words"]
    if "unit" in column:
        words = [word * column["unit"] if word >= 0 else None for word in words]
    codes = column.get("codes", range(len(words)))
    return [words[ord(code) - ord("a") if isinstance(code, str) else code] for code in codes]
