"""The pool database dump: XML of any size, parsed as a stream by expat (docs/reference/inventories.md, 2).

Only the tables of the schema are looked at; of their rows, only the needed attributes are kept, a chunk of rows at a
time. No document type, no entities; a start tag has at most 64 MiB. Positions are byte offsets.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BufferedReader
from operator import itemgetter
from typing import Any, Final, Generic
from xml.parsers import expat

from xenmem.datamodel import sexpr
from xenmem.inventory.assemble import Origin, T, Target
from xenmem.inventory.boot_record import parse_boot_record
from xenmem.inventory.error import InventoryError, shown
from xenmem.inventory.schema import Column
from xenmem.inventory.table import CHUNK_ROWS, BootRecord, RawTable, check_count, check_size, integer_or_none

MAX_TAG_BYTES: Final = 64 << 20
"""Longest start tag; a row is one, and its longest attributes are sets of references, a few MB in the largest pools."""

MAX_NAMES: Final = 65536
"""Most different element and attribute names, and most attributes of a tag; a dump has about 1500 names."""

_READ_BYTES: Final = 1 << 20
_LONG_TAG_BYTES: Final = 1 << 16
_CHUNK_BYTES: Final = 8 << 20
_ATTRIBUTE: Final = re.compile(rb"=\s*[\"']")
_REFERENCES: Final = re.compile(r"\('[A-Za-z0-9:-]*'(?:(?: |%\.)'[A-Za-z0-9:-]*')*\)")
_NAME: Final = re.compile(r"[^\s/>]+")
_OF_EVERY_ROW: Final = frozenset(("ref", "_ref", "__ctime", "__mtime"))
_PARENTS: Final = {"database": "", "manifest": "database", "pair": "manifest", "table": "database", "row": "table"}


class StatedbCodec:
    """How the database spells values."""

    format = "statedb"

    def __init__(self) -> None:
        self._pairs: dict[str, re.Pattern[str]] = {}

    def place(self, position: int) -> str:
        """The byte where the row starts."""
        return f"byte {position}"

    def field(self, column: Column) -> str:
        """The name of the column."""
        return column.database

    def spell(self, member: str) -> str:
        """As in the schema."""
        return member

    def text(self, value: str) -> str:
        """Without whitespace protection."""
        return sexpr.unprotect(value)

    def mapping(self, value: str) -> Mapping[str, str]:
        """An s-expression of pairs."""
        return sexpr.parse_map(sexpr.unprotect(value))

    def entry(self, value: str, key: str) -> str | None:
        """One entry of a map, as far as possible without parsing the others.

        Where there is neither a backslash, nor a double quote, nor a comment, every apostrophe begins or ends an atom,
        so that a pair in xapi's own spelling can be searched for.
        """
        if "\\" not in value and key not in value:
            return None
        if "\\" not in value and '"' not in value and ";" not in value:
            pair = self._pairs.get(key)
            if pair is None:
                pair = self._pairs[key] = re.compile(rf"\('{re.escape(key)}'(?: |%\.)'([^']*)'\)")
            found = pair.search(value)
            if found:
                return sexpr.unprotect(found[1])
        return self.mapping(value).get(key)

    def items(self, value: str) -> Sequence[str]:
        """An s-expression of texts; of references in xapi's own spelling the apostrophes tell where they are."""
        if value == "()":
            return ()
        if _REFERENCES.fullmatch(value):
            return value.split("'")[1::2]
        return sexpr.parse_set(sexpr.unprotect(value))

    def operations(self, value: str) -> Iterable[str]:
        """The values of the map."""
        return () if value == "()" else self.mapping(value).values()

    def boot_record(self, value: str) -> BootRecord | None:
        """An s-expression or XML-RPC text."""
        return parse_boot_record(sexpr.unprotect(value))


def read(file: BufferedReader, target: Target[T], *, source: str, lenient: bool = False) -> list[T]:
    """The pool of a dump.

    Parameters
    ----------
    file : the dump; read once, from where it stands to its end
    target : what to read, and what to make of it
    source : the file's name for messages
    lenient : skip bad rows

    Raises
    ------
    InventoryError : not a dump, cut short, without rows, or a row is bad
    """
    return [_Reader(source, lenient, target).read(file)]


class _Reader(Generic[T]):
    """One dump while it is parsed.

    Expat calls into Python as little as possible: in tables that are not needed only at the end of each row, so that
    no attributes are made; in needed tables the handler is a closure that picks attributes by position.
    """

    def __init__(self, source: str, lenient: bool, target: Target[T]) -> None:
        self.source = source
        self.lenient = lenient
        self.target = target
        self.codec = StatedbCodec()
        self.origin = Origin(source, lenient=lenient)
        self.tables: dict[str, RawTable] | None = None
        self.manifest: dict[str, str] = {}
        self.has_rows = False
        self.kept = 0
        self.open: list[str] = []
        self.parser = expat.ParserCreate("utf-8")
        self.parser.ordered_attributes = True
        self.parser.StartDoctypeDeclHandler = self.refuse_doctype
        self.listen()

    def error(self, problem: str, position: int | None = None) -> InventoryError:
        place = self.codec.place(self.parser.CurrentByteIndex if position is None else position)
        return InventoryError(self.source, place, problem)

    def read(self, file: BufferedReader) -> T:
        fed = unparsed = attributes = 0
        complete = False
        try:
            # as it comes; but expat starts a tag anew with each piece, so that one that is long wants large pieces
            while data := file.read(_READ_BYTES) if unparsed > _LONG_TAG_BYTES else file.read1(_READ_BYTES):
                self.parser.Parse(data, False)
                fed += len(data)
                unparsed = fed - self.parser.CurrentByteIndex
                if unparsed > MAX_TAG_BYTES:
                    raise self.error(f"a tag or comment of more than {MAX_TAG_BYTES >> 20} MiB")
                # expat makes all attributes of a tag when it ends: of a long one they are counted before
                attributes = attributes + len(_ATTRIBUTE.findall(data)) if unparsed > _LONG_TAG_BYTES else 0
                if attributes > MAX_NAMES:
                    raise self.error(f"a tag of more than {MAX_NAMES} attributes")
                if len(self.parser.intern) > MAX_NAMES:
                    raise self.error(f"more than {MAX_NAMES} different names")
            complete = True
            self.parser.Parse(b"", True)
        except expat.ExpatError as error:
            if complete:
                raise self.error("the dump is cut short", fed) from None
            problem = f"not a pool database: {expat.ErrorString(error.code)}"
            raise self.error(problem, self.parser.ErrorByteIndex) from None
        if self.tables is None or not self.has_rows:
            raise InventoryError(
                self.source,
                "",
                "the dump has no rows, as when it is made while a rolling upgrade is in progress"
                f" (schema {self.schema or 'unknown'}): dump the database again after the upgrade",
            )
        return self.target.assemble(self.tables, self.codec, self.origin)

    @property
    def schema(self) -> str:
        parts = (self.manifest.get(f"schema_{part}_vsn") for part in ("major", "minor"))
        return ".".join(part for part in parts if part is not None)

    def listen(self) -> None:
        """Follow every element."""
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.DefaultHandler = None

    def start(self, name: str, attributes: list[str]) -> None:
        parent = self.open[-1] if self.open else ""
        if _PARENTS.get(name) != parent:
            inside = f"within <{parent}>" if parent else "at the top"
            raise self.error(f"not a pool database: <{name[:40]}> {inside}")
        self.open.append(name)
        if name == "pair":
            pair = dict(zip(attributes[::2], attributes[1::2], strict=True))
            self.manifest[pair.get("key", "")] = pair.get("value", "")
        elif name == "row":
            self.has_rows = True
        elif name == "table":
            tables = self.made_tables()
            table = next((v for k, v in zip(attributes[::2], attributes[1::2], strict=True) if k == "name"), None)
            if table in tables:
                self.read_rows(tables[table])
            elif table is not None and self.target.known is not None and table not in self.target.known:
                self.keep_rows(table)
            else:
                self.skip_rows()

    def end(self, name: str) -> None:
        self.open.pop()

    def made_tables(self) -> dict[str, RawTable]:
        """The tables to fill, made when the manifest is known."""
        if self.tables is None:
            minor = self.manifest.get("schema_minor_vsn")
            number = integer_or_none(minor)
            if minor is not None and number is None:
                raise self.error(f"manifest: schema_minor_vsn: {shown(minor)} is not an integer")
            self.origin = Origin(self.source, schema_minor=number, schema=self.schema, lenient=self.lenient)
            self.tables = self.target.raw_tables(self.codec, self.origin)
        return self.tables

    def skip_rows(self) -> None:
        """Until the table ends, be called at the end of elements, and at the start of those that are not empty."""
        self.parser.StartElementHandler = None
        self.parser.EndElementHandler = self.skipped
        self.parser.DefaultHandler = self.not_empty

    def skipped(self, name: str) -> None:
        if name == "row":
            self.has_rows = True
        elif name == "table":
            self.open.pop()
            self.listen()
        else:
            raise self.error(f"not a pool database: <{name[:40]}> within <table>")

    def not_empty(self, markup: str) -> None:
        """A row written as a pair of tags: from here on follow every element, lest something nests in it."""
        if markup.startswith("<") and not markup.startswith(("</", "<!", "<?")):
            name = _NAME.match(markup, 1)
            if name is None or name[0] != "row":
                raise self.error(f"not a pool database: <{markup[1:40].strip('>')}> within <table>")
            self.open.append("row")
            self.listen()

    def keep_rows(self, table: str) -> None:
        """Until the table ends, keep its rows as they are: the data model does not know it."""
        kept = self.origin.unknown.setdefault(table, {})

        def row(name: str, attributes: list[str]) -> None:
            if name != "row" or self.open[-1] != "table":
                raise self.error(f"not a pool database: <{name[:40]}> within <{self.open[-1]}>")
            self.open.append("row")
            self.keep(1)
            values = dict(zip(attributes[::2], attributes[1::2], strict=True))
            ref = values.get("ref") or values.get("_ref", "")
            kept[ref] = {name: sexpr.unprotect(text) for name, text in values.items() if name not in _OF_EVERY_ROW}
            check_count(self.source, self.codec.place(self.parser.CurrentByteIndex), table, len(kept))

        def end(name: str) -> None:
            self.open.pop()
            if name == "table":
                self.listen()

        self.parser.StartElementHandler = row
        self.parser.EndElementHandler = end

    def keep(self, rows: int) -> None:
        """Take so many rows more that are kept into account."""
        self.has_rows = True
        self.kept += rows
        position = self.parser.CurrentByteIndex
        check_size(self.source, self.codec.place(position), self.kept, position)

    def read_rows(self, table: RawTable) -> None:
        """Until the table ends, keep the needed attributes of its rows."""
        parser, opened = self.parser, self.open
        table.given = True
        wanted = ("ref", *table.fields)
        names: list[str] = []
        pick: Callable[[list[Any]], tuple[Any, ...]] = tuple
        classes = self.target.known
        known = classes[table.schema.name].by_column.keys() | _OF_EVERY_ROW if classes is not None else None
        others: list[str] = []
        rows: list[tuple[Any, ...]] = []
        positions: list[int] = []
        flushed = parser.CurrentByteIndex

        def row(name: str, attributes: list[Any]) -> None:
            nonlocal names, pick, flushed, others
            if name != "row" or opened[-1] != "table":
                raise self.error(f"not a pool database: <{name[:40]}> within <{opened[-1]}>")
            opened.append("row")
            if attributes[::2] != names:
                names = attributes[::2]
                places = {attribute: 2 * number + 1 for number, attribute in enumerate(names)}
                pick = itemgetter(*(places.get(attribute, -1) for attribute in wanted))
                others = [name for name in names if name not in known] if known is not None else []
            if others:
                keep(attributes)
            attributes.append(None)
            rows.append(pick(attributes))
            position = parser.CurrentByteIndex
            positions.append(position)
            if len(rows) == CHUNK_ROWS or position - flushed > _CHUNK_BYTES:
                flush()
                flushed = position

        def keep(attributes: list[str]) -> None:
            values = dict(zip(attributes[::2], attributes[1::2], strict=True))
            kept = self.origin.unknown.setdefault(table.schema.name, {})
            kept[values.get("ref", "")] = {name: sexpr.unprotect(values[name]) for name in others}

        def end(name: str) -> None:
            opened.pop()
            if name == "table":
                flush()
                self.listen()

        def flush() -> None:
            if rows:
                self.keep(len(rows))
                table.add(rows, positions)
                rows.clear()
                positions.clear()

        parser.StartElementHandler = row
        parser.EndElementHandler = end

    def refuse_doctype(self, *declaration: object) -> None:
        raise self.error("not a pool database: a document type declaration is refused")
