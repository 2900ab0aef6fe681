"""What a pool has measured: saved RRDs and answers of /rrd_updates, as XML or JSON, to rows of numbers.

XML is parsed as a stream, without document type and entities; JSON is at most 48 MiB. What is kept is bounded, too.
Knows neither Fleet nor what the numbers say. Source: xapi-project/xen-api, ocaml/libs/xapi-rrd/lib/rrd.ml
(``from_xml``, ``xml_to_output``), rrd_updates.ml.
"""

import json
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from io import BufferedReader
from typing import Any, Final, NamedTuple
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from xenmem.inventory.error import InventoryError, shown
from xenmem.inventory.head import HEAD_BYTES

MAX_JSON_BYTES: Final = 48 << 20
MAX_JSON_PARTS: Final = 1 << 17
"""Most lists and objects of JSON: an answer has two of each row, and they take many times their text."""
MAX_VALUES: Final = 1 << 26
"""Most numbers of one file that are kept: an answer of two hours at a minute has 120 of each source."""
MAX_SOURCES: Final = 1 << 18
MAX_ROWS: Final = 1 << 20
MAX_TEXT: Final = 64
MAX_NAME: Final = 512
"""Longest text of an element, and longest name of a source."""
MAX_NAMES: Final = 1 << 16
"""Most different names of elements and attributes."""

_READ_BYTES: Final = 1 << 18
_MOST_SECONDS: Final = 1 << 40
_LARGEST: Final = float(1 << 63)
_NUMBER: Final = re.compile(r"\s*[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\s*")
_UNKNOWN: Final = frozenset(("nan", "-nan", "inf", "-inf", "+inf", "infinity", "-infinity", "+infinity"))
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_MARKUP: Final = re.compile(rb"<(rrd|xport)[\s>]")
_KEYS: Final = re.compile(rb'"(meta|data|ds|rra|lastupdate|version|step)"\s*:')
_KINDS: Final = frozenset(("host", "vm", "sr"))

Wanted = Callable[[str, str], bool]
"""Whether a source is kept, by the kind of its object, which a saved RRD does not tell (empty), and its name."""


class Source(NamedTuple):
    """What was measured.

    Attributes
    ----------
    kind : ``vm``, ``host`` or ``sr``; empty where a file of one object does not say what it is
    uuid : of the object
    name : of the data source
    """

    kind: str
    uuid: str
    name: str


class Measured(NamedTuple):
    """Rows of one step.

    Attributes
    ----------
    step : seconds from one row to the next
    times : int64 array, shape (rows,), seconds since 1970 at which each row ends, in ascending order
    sources : of each column
    values : float64 array, shape (rows, sources); NaN is unknown
    """

    step: int
    times: NDArray[np.int64]
    sources: tuple[Source, ...]
    values: NDArray[np.float64]


def looks_measured(head: bytes) -> bool:
    """Whether a file that begins so may be one of these."""
    start = head.lstrip()[:HEAD_BYTES]
    if start.startswith(b"<"):
        return _MARKUP.search(start) is not None
    return start.startswith(b"{") and _KEYS.search(start) is not None


def read(file: BufferedReader, wanted: Wanted, *, source: str) -> list[Measured]:
    """What a file holds of the wanted averages, archive by archive.

    Parameters
    ----------
    file : read once, from where it stands to its end
    wanted : which sources to keep
    source : the file's name for messages; that of a saved RRD holds the uuid of its object

    Raises
    ------
    InventoryError : it is neither, is cut short, or a number or a row is bad; names file and place
    """
    head = file.peek(HEAD_BYTES)[:HEAD_BYTES].lstrip()
    if not head:
        raise InventoryError(source, "", "the file is empty")
    if head.startswith(b"<"):
        return _XML(source, wanted).read(file)
    if head.startswith(b"{"):
        return _from_json(file, wanted, source)
    raise InventoryError(source, "", f"neither an RRD nor an answer of rrd_updates: starts with {_start(head)}")


def _start(head: bytes) -> str:
    return shown(head[:40].decode(errors="replace"))


# ------------------------------------------------------------------------------------------------- values, both formats


def number(value: object) -> float:
    """A number as text or as JSON has it; NaN where it is not known, or not finite.

    Raises
    ------
    ValueError : it is none
    """
    if value is None:
        return np.nan
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            if value.strip().lower() in _UNKNOWN:
                return np.nan
            raise ValueError(f"{shown(value)} is not a number")
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{shown(value)} is not a number")
    if value in (np.inf, -np.inf):
        return np.nan
    if abs(value) >= _LARGEST:
        raise ValueError(f"{shown(value)} is beyond any amount")
    return float(value)


def _whole(value: object, least: int, most: int) -> int:
    """A whole number of seconds, rows or steps; what lies behind its point is left out, as of a time."""
    found = number(value)
    if not least <= found <= most:  # NaN is not, either
        raise ValueError(f"{shown(value)} is outside {least}..{most}")
    return int(found)


def _updates_source(entry: str) -> tuple[str, Source]:
    """Function and source of an entry of a legend; what a plugin is called may hold colons itself."""
    parts = entry.split(":", 3)
    if len(parts) != 4 or parts[1] not in _KINDS:
        raise ValueError(f"{shown(entry)} is not FUNCTION:CLASS:UUID:NAME")
    return parts[0], Source(parts[1], parts[2].lower(), parts[3])


class _Columns:
    """Which columns of rows are kept, and the rows so far."""

    def __init__(self, sources: Sequence[Source | None], kept: int) -> None:
        self.width = len(sources)
        self.sources = tuple(source for source in sources if source is not None)
        self.places = [place for place, source in enumerate(sources) if source is not None]
        self.rows = 0
        self.values = array("d")
        self.times: list[int] = []
        self.room = MAX_VALUES - kept

    def add(self, values: Sequence[object]) -> None:
        """A row, of which the wanted columns are kept."""
        if len(values) != self.width:
            raise ValueError(f"a row of {len(values)} values where there are {self.width} sources")
        self.room -= len(self.places)
        if self.room < 0 or self.rows == MAX_ROWS:
            raise ValueError(f"more than {MAX_VALUES} numbers or {MAX_ROWS} rows: give it in parts")
        self.rows += 1
        self.values.extend([number(values[place]) for place in self.places])

    def measured(self, step: int, times: NDArray[np.int64]) -> Measured:
        """The rows in the order of time."""
        values = (
            np.frombuffer(self.values).reshape(self.rows, len(self.sources))
            if self.values
            else np.empty((self.rows, 0))
        )
        order = np.argsort(times, kind="stable")
        return Measured(step, times[order], self.sources, values[order])


def _archive_times(lastupdate: int, step: int, rows: int) -> NDArray[np.int64]:
    """The times of an archive's rows, the oldest first: the last one ends at the last whole step."""
    last = lastupdate - lastupdate % step
    return last - step * np.arange(rows - 1, -1, -1, dtype=np.int64)


def _uuid_in(source: str) -> str:
    """The uuid of the object whose RRD a file is, by the file's name."""
    found = _UUID.findall(source)
    if not found:
        raise InventoryError(source, "", "an RRD does not say of which VM it is: have the uuid in the file's name")
    return str(found[-1]).lower()


def _sources_of_saved(names: Sequence[str], wanted: Wanted, source: str) -> list[Source | None]:
    """Of which none need be wanted, as of a host, whose file a bug report does not call by its uuid."""
    kind = "host" if "memory_total_kib" in names else ""
    kept = [wanted(kind, name) for name in names]
    uuid = _uuid_in(source) if any(kept) else ""
    return [Source(kind, uuid, name) if keep else None for name, keep in zip(names, kept, strict=True)]


# ----------------------------------------------------------------------------------------------------------------- JSON


def _from_json(file: BufferedReader, wanted: Wanted, source: str) -> list[Measured]:
    """Bare NaN and Infinity, which strict readers refuse, are numbers here; so are texts, and null is unknown."""
    data = file.read(MAX_JSON_BYTES + 1)
    if len(data) > MAX_JSON_BYTES:
        raise InventoryError(
            source, "", f"more than {MAX_JSON_BYTES >> 20} MiB of JSON: ask for it as XML, or in parts"
        )
    if data.count(b"[") + data.count(b"{") > MAX_JSON_PARTS:
        raise InventoryError(source, "", f"more than {MAX_JSON_PARTS} lists and objects of JSON")
    try:
        tree = json.loads(data)
    except RecursionError:
        raise InventoryError(source, "", "JSON nested beyond measure") from None
    except UnicodeDecodeError as error:
        raise InventoryError(source, f"byte {error.start}", "not UTF-8") from None
    except json.JSONDecodeError as error:
        what = "the JSON is cut short" if error.pos >= len(error.doc.rstrip()) else f"not JSON: {error.msg}"
        raise InventoryError(source, f"line {error.lineno}", what) from None
    except ValueError as error:  # a number of thousands of digits
        raise InventoryError(source, "", f"not JSON: {error}") from None
    try:
        if isinstance(tree.get("meta"), dict):
            return [_json_updates(tree["meta"], tree.get("data"), wanted)]
        if "rra" in tree:
            return list(_json_saved(tree, wanted, source))
    except InventoryError:
        raise
    except (KeyError, TypeError, AttributeError) as error:
        what = f"no {shown(error.args[0])}" if isinstance(error, KeyError) else "a part is of another kind than it is"
        raise InventoryError(source, "", f"not an answer of rrd_updates, nor an RRD: {what}") from None
    except ValueError as error:
        raise InventoryError(source, "", str(error)) from None
    raise InventoryError(source, "", "JSON that is neither an answer of rrd_updates nor an RRD")


def _json_updates(meta: dict[str, Any], rows: Any, wanted: Wanted) -> Measured:
    step = _whole(meta["step"], 1, _MOST_SECONDS)
    columns = _Columns(_legend([str(entry) for entry in meta["legend"]], wanted), 0)
    times = []
    for row in rows:
        if not isinstance(row["values"], list):
            raise ValueError(f"values: {shown(row['values'])} is no list")
        times.append(_whole(row["t"], 0, _MOST_SECONDS))
        columns.add(row["values"])
    return columns.measured(step, np.array(times, np.int64))


def _legend(entries: Sequence[str], wanted: Wanted) -> list[Source | None]:
    if len(entries) > MAX_SOURCES:
        raise ValueError(f"more than {MAX_SOURCES} sources")
    found = [_updates_source(entry) for entry in entries]
    return [of if function == "AVERAGE" and wanted(of.kind, of.name) else None for function, of in found]


def _json_saved(tree: dict[str, Any], wanted: Wanted, source: str) -> Iterator[Measured]:
    seconds, last = _whole(tree["step"], 1, _MOST_SECONDS), _whole(tree["lastupdate"], 0, _MOST_SECONDS)
    sources = _sources_of_saved([str(ds["name"]) for ds in tree["ds"]], wanted, source)
    kept = 0
    for archive in tree["rra"]:
        if archive["cf"] != "AVERAGE":
            continue
        columns = _Columns(sources, kept)
        for row in archive["database"]:
            if not isinstance(row, list):
                raise ValueError(f"database: {shown(row)} is no list")
            columns.add(row)
        step = seconds * _whole(archive["pdp_per_row"], 1, _MOST_SECONDS // seconds)
        kept += columns.rows * len(columns.places)
        yield columns.measured(step, _archive_times(last, step, columns.rows))


# ------------------------------------------------------------------------------------------------------------------ XML

_SAVED: Final = {
    "rrd": {"version", "step", "lastupdate", "ds", "rra"},
    "ds": {"name", "type", "minimal_heartbeat", "min", "max", "last_ds", "value", "unknown_sec"},
    "rra": {"cf", "pdp_per_row", "params", "cdp_prep", "database"},
    "database": {"row"},
    "row": {"v"},
}
_UPDATES: Final = {
    "xport": {"meta", "data"},
    "meta": {"start", "step", "end", "rows", "columns", "legend"},
    "legend": {"entry"},
    "data": {"row"},
    "row": {"t", "v"},
}
_READ_TEXT: Final = frozenset(("step", "lastupdate", "name", "cf", "pdp_per_row", "entry", "t", "v"))
_SKIPPED: Final = frozenset(("params", "cdp_prep"))
"""What an archive is computed on with."""


class _XML:
    """One document while it is parsed."""

    def __init__(self, source: str, wanted: Wanted) -> None:
        self.source = source
        self.wanted = wanted
        self.open: list[str] = []
        self.skipped = 0
        self.children: dict[str, set[str]] = {}
        self.text: list[str] | None = None
        self.length = 0
        self.values: list[str] = []
        self.fields: dict[str, str] = {}
        self.names: list[str] = []
        self.columns: _Columns | None = None
        self.kept = 0
        self.found: list[tuple[int, _Columns]] = []
        self.parser = expat.ParserCreate("utf-8")
        self.parser.StartDoctypeDeclHandler = self.refuse_doctype
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.characters

    def read(self, file: BufferedReader) -> list[Measured]:
        fed = 0
        complete = False
        try:
            while data := file.read1(_READ_BYTES):
                self.parser.Parse(data, False)
                fed += len(data)
                if fed - self.parser.CurrentByteIndex > _READ_BYTES * 2:
                    raise self.error("a tag or comment beyond measure")
                if len(self.parser.intern) > MAX_NAMES:
                    raise self.error(f"more than {MAX_NAMES} different names")
            complete = True
            self.parser.Parse(b"", True)
            if "xport" in self.children:
                step = self.field("step", 1, _MOST_SECONDS)
                columns = self.made_columns()
                return [columns.measured(step, np.array(columns.times, np.int64))]
            last = self.field("lastupdate", 0, _MOST_SECONDS)
            return [c.measured(step, _archive_times(last, step, c.rows)) for step, c in self.found]
        except expat.ExpatError as error:
            if complete:
                raise self.error("the file is cut short", fed) from None
            what = f"neither an RRD nor an answer of rrd_updates: {expat.ErrorString(error.code)}"
            raise self.error(what, self.parser.ErrorByteIndex) from None

    def error(self, problem: str, position: int | None = None) -> InventoryError:
        place = self.parser.CurrentByteIndex if position is None else position
        return InventoryError(self.source, f"byte {place}", problem)

    def field(self, name: str, least: int, most: int) -> int:
        """A number that the document has to tell."""
        if name not in self.fields:
            raise self.error(f"<{name}> is missing")
        try:
            return _whole(self.fields[name], least, most)
        except ValueError as error:
            raise self.error(f"<{name}>: {error}") from None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self.skipped or name in _SKIPPED:
            self.skipped += 1
            return
        if not self.open:
            if name not in ("rrd", "xport"):
                raise self.error(f"neither an RRD nor an answer of rrd_updates: <{name[:40]}>")
            self.children = _SAVED if name == "rrd" else _UPDATES
        elif name not in self.children.get(self.open[-1], ()):
            raise self.error(f"<{name[:40]}> within <{self.open[-1]}>")
        self.open.append(name)
        if name in _READ_TEXT:
            self.text, self.length = [], 0
        elif name == "row":
            self.values = []
        elif name == "rra":
            self.fields.pop("cf", None)
            self.fields.pop("pdp_per_row", None)
        elif name in ("database", "data"):
            self.columns = self.made_columns()

    def made_columns(self) -> _Columns:
        if self.columns is None:
            try:
                if "xport" in self.children:
                    sources = _legend(self.names, self.wanted)
                else:
                    sources = _sources_of_saved(self.names, self.wanted, self.source)
            except ValueError as error:
                raise self.error(str(error)) from None
            self.columns = _Columns(sources, self.kept)
        return self.columns

    def characters(self, data: str) -> None:
        if self.text is not None and not self.skipped:
            self.length += len(data)
            most = MAX_NAME if self.open[-1] in ("name", "entry") else MAX_TEXT
            if self.length > most:
                raise self.error(f"a text of more than {most} characters")
            self.text.append(data)

    def end(self, name: str) -> None:
        if self.skipped:
            self.skipped -= 1
            return
        self.open.pop()
        text = "".join(self.text) if self.text is not None else ""
        self.text = None
        if name == "v":
            if len(self.values) == MAX_SOURCES:
                raise self.error(f"more than {MAX_SOURCES} values in a row")
            self.values.append(text)
        elif name == "row":
            self.add_row()
        elif name in ("name", "entry"):
            if len(self.names) == MAX_SOURCES:
                raise self.error(f"more than {MAX_SOURCES} sources")
            self.names.append(text)
        elif name == "rra":
            self.add_archive()
        elif name in _READ_TEXT:
            self.fields[name] = text

    def add_row(self) -> None:
        if self.columns is None or self.open[-1] not in ("database", "data"):
            raise self.error("a row before its sources")
        try:
            if "xport" in self.children:
                self.columns.times.append(_whole(self.fields.pop("t", None), 0, _MOST_SECONDS))
            elif self.fields.get("cf") != "AVERAGE":
                return
            self.columns.add(self.values)
        except ValueError as error:
            raise self.error(str(error)) from None

    def add_archive(self) -> None:
        if self.columns is not None and self.fields.get("cf") == "AVERAGE":
            seconds = self.field("step", 1, _MOST_SECONDS)
            step = seconds * self.field("pdp_per_row", 1, _MOST_SECONDS // seconds)
            self.kept += self.columns.rows * len(self.columns.places)
            self.found.append((step, self.columns))
        self.columns = None

    def refuse_doctype(self, *declaration: object) -> None:
        raise self.error("a document type declaration is refused")
