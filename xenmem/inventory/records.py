"""XenAPI records: JSON files, answers of JSON-RPC and XML-RPC, mappings of a program (inventories.md, 6).

A JSON document is held in memory as text and decoded record by record, so what is kept grows with the columns.
Ints are accepted as numbers and as text everywhere. Knows no reference between tables.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from io import BufferedReader
from operator import itemgetter
from typing import Any, Final, Generic, cast

import msgspec

from xenmem.columns import Note, Tables
from xenmem.inventory import xmlrpc
from xenmem.inventory.assemble import COLUMNS, Origin, T, Target
from xenmem.inventory.boot_record import parse_boot_record
from xenmem.inventory.error import InventoryError, shown
from xenmem.inventory.head import BYTE_ORDER_MARK, HEAD_BYTES, head_of
from xenmem.inventory.schema import TABLES, Column, recognised
from xenmem.inventory.table import CHUNK_ROWS, BootRecord, RawTable, check_count

MAX_JSON_BYTES: Final = 2 << 30
"""Largest JSON document: it is held in memory while it is read. A dump of the database has no such limit."""

MAX_XMLRPC_BYTES: Final = 256 << 20
"""Largest XML-RPC answer: all of it becomes Python objects."""

MAX_RECORD_BYTES: Final = 4 << 20
"""Longest JSON record, and most text of records that is decoded at a time: that may take 25 times its size."""

FREE_MEMBERS: Final = 1 << 17
MEMBER_BYTES: Final = 256
"""Of the members of a map and the items of a list so many are free, the others have so much text on average: each costs
some 300 bytes, however short it is."""

MAX_ENVELOPES: Final = 4
"""Most answers within answers: each is looked through as a whole."""

Document = Any
"""A part of a document: msgspec.Raw where it is still JSON text, else what it was decoded to."""


class RecordsCodec:
    """How records spell values."""

    format = "records"

    def place(self, position: int) -> str:
        """Records are named by class and reference alone."""
        return ""

    def field(self, column: Column) -> str:
        """The API's name of the field."""
        return column.api

    def spell(self, member: str) -> str:
        """As in the schema."""
        return member

    def text(self, value: str) -> str:
        """As it is."""
        return value

    def mapping(self, value: Any) -> Mapping[str, Any]:
        """A map is a mapping."""
        if type(value) is dict or isinstance(value, Mapping):
            return value
        raise ValueError(f"{shown(value)} is not a map")

    def entry(self, value: Any, key: str) -> Any:
        """One entry of a map."""
        return self.mapping(value).get(key)

    def items(self, value: Any) -> Sequence[str]:
        """A set is a list of texts; JSON-RPC gives ints as numbers."""
        if isinstance(value, (list, tuple)):
            kinds = set(map(type, value))
            if kinds <= {str}:
                return value
            if kinds <= {str, int}:
                return list(map(str, value))
        raise ValueError(f"{shown(value)} is not a set of texts")

    def operations(self, value: Any) -> Iterable[str]:
        """The values of the map."""
        return map(str, self.mapping(value).values())

    def boot_record(self, value: str) -> BootRecord | None:
        """As text, like in the database."""
        return parse_boot_record(value)


class _Ref(str):
    """The type of a JSON object's keys while it is checked that none is there twice."""

    __slots__ = ()


_BY_REF: Final = dict[_Ref, msgspec.Raw]


class _DocumentError(Exception):
    """A part of the document above the records is none; no ValueError, since msgspec makes those its own."""


def read(file: BufferedReader, target: Target[T], *, source: str, lenient: bool = False) -> list[T]:
    """The pools of a document of records.

    Parameters
    ----------
    file : JSON: a map of classes, one class, a list of records, one record, or an answer of JSON-RPC; of several pools
        a list of maps of classes, or such a list under the key ``pools``. Or an XML-RPC answer
    target : what to read, and what to make of it
    source : the file's name for messages
    lenient : skip bad rows

    Raises
    ------
    InventoryError : the document is no such thing, or a record is bad
    """
    reader = _Reader(source, lenient, target)
    is_xml = head_of(file).lstrip().startswith(b"<")
    document = _whole(file, MAX_XMLRPC_BYTES if is_xml else MAX_JSON_BYTES, source)
    try:
        if is_xml:
            return reader.pools(xmlrpc.parse_response(document))
        if document.startswith(BYTE_ORDER_MARK):
            del document[: len(BYTE_ORDER_MARK)]
        return reader.pools(msgspec.json.decode(document, type=msgspec.Raw))
    except _DocumentError as error:
        raise reader.error(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise reader.error(f"not JSON: {error}") from None
    except xmlrpc.XMLRPCError as error:
        raise reader.error(str(error)) from None
    except RecursionError:
        raise reader.error("JSON nests too deep") from None


def _whole(file: BufferedReader, limit: int, source: str) -> bytearray:
    document = bytearray()
    while data := file.read(1 << 20):
        document += data
        if len(document) > limit:
            raise InventoryError(
                source, "", f"records of more than {limit >> 20} MiB; a database dump has no such limit"
            )
    return document


def read_tables(
    records: Mapping[str, Mapping[str, Mapping[str, Any]]], *, source: str, lenient: bool = False
) -> Tables:
    """The pool of a map of classes; see Fleet.from_records."""
    return of_classes(records, COLUMNS, source=source, lenient=lenient)


def of_classes(
    records: Mapping[str, Mapping[str, Document]],
    target: Target[T],
    *,
    source: str,
    lenient: bool = False,
    notes: Iterable[Note] = (),
) -> T:
    """What a target makes of the records of one pool.

    Parameters
    ----------
    records : by class and reference, each a mapping or its JSON text
    target : what to read, and what to make of it
    source : what messages call the records
    lenient : skip bad rows
    notes : what is to be said of the records before all else

    Raises
    ------
    InventoryError : a record is bad
    """
    return _Reader(source, lenient, target, notes).classes(records)


class _Reader(Generic[T]):
    def __init__(self, source: str, lenient: bool, target: Target[T], notes: Iterable[Note] = ()) -> None:
        self.source = source
        self.lenient = lenient
        self.target = target
        self.notes = tuple(notes)

    def error(self, problem: str, place: str = "") -> InventoryError:
        return InventoryError(self.source, place, problem)

    def pools(self, document: Document, envelopes: int = 0) -> list[T]:
        """The pools of a document of any accepted shape."""
        items = _as_list(document)
        if items is not None:
            if items and all(_is_map_of_classes(_as_map(item)) for item in items):
                return [self._numbered(number).pool(item, _as_map(item)) for number, item in enumerate(items)]
            return [self.lone_records(items)]
        members = _as_map(document)
        if members is None:
            raise self.error(_NO_RECORDS)
        if "pools" in members and (several := _as_list(members["pools"])) is not None:
            return self.pools(several) if several else self._nothing()
        answer = self._answer(members)
        if answer is None:
            return [self.pool(document, members)]
        if envelopes == MAX_ENVELOPES:
            raise self.error("answers within answers")
        return self.pools(answer, envelopes + 1)

    def _nothing(self) -> list[T]:
        raise self.error("holds no pools")

    def _numbered(self, number: int) -> "_Reader[T]":
        return _Reader(f"{self.source}[{number}]", self.lenient, self.target)

    def _answer(self, members: Mapping[str, Document]) -> Document | None:
        """What an answer of the API carries; None if the members are not those of an answer."""
        if "Status" in members and members.keys() <= {"Status", "Value", "ErrorDescription"}:
            if _short(members["Status"]) == "Success" and "Value" in members:
                return members["Value"]
            raise self.error(f"the answer is a failure: {shown(_short(members.get('ErrorDescription')))}")
        if ("result" in members or "error" in members) and members.keys() <= {"jsonrpc", "result", "error", "id"}:
            if (failure := _short(members.get("error"))) is not None:
                raise self.error(f"the answer is a failure: {shown(failure)}")
            if "result" in members:
                return members["result"]
        return None

    def pool(self, document: Document, members: Mapping[str, Document] | None) -> T:
        """One pool: a map of classes, one class, or one record; given also by its members."""
        if not members:
            raise self.error("holds no records")
        if _is_map_of_classes(members):
            return self.classes(members)
        if "uuid" in members:
            return self.lone_records([document])
        name = self._class_of(_as_map(next(iter(members.values()))))
        if name is None:
            raise self.error(_of_xen_orchestra([members, _as_map(next(iter(members.values())))]) or _NO_RECORDS)
        return self.classes({name: document})

    def classes(self, classes: Mapping[str, Document]) -> T:
        """One pool: class name to reference to record."""
        codec = RecordsCodec()
        origin = Origin(self.source, lenient=self.lenient, notes=self.notes)
        tables = self.target.raw_tables(codec, origin)
        for name, table in tables.items():
            if name in classes:
                table.given = True
                self._fill(table, self._records(table, classes[name]), origin)
        if (known := self.target.known) is not None:
            self._keep({name: records for name, records in classes.items() if name not in known}, origin)
        return self.target.assemble(tables, codec, origin)

    def _keep(self, classes: Mapping[str, Document], origin: Origin) -> None:
        """Keep the records of classes that the data model does not know, as they are."""
        for name, document in classes.items():
            records = _as_map(document)
            kept = origin.unknown[str(name)] = {}
            check_count(self.source, "", name, len(records or ()))
            for ref, record in (records or {}).items():
                values = msgspec.json.decode(record) if isinstance(record, msgspec.Raw) else record
                if not isinstance(values, Mapping):
                    raise self.error(f"{name} {shown(ref)}: not a record")
                kept[str(ref)] = dict(values)

    def lone_records(self, items: Iterable[Document]) -> T:
        """One pool: records without references, which go by their uuid."""
        by_class: dict[str, list[tuple[str, Document]]] = {}
        record: Mapping[str, Document] | None = None
        for number, item in enumerate(items):
            record = _as_map(item)
            if record is None:
                raise self.error("not a record", f"item {number}")
            name = self._class_of(record)
            if name is not None:
                by_class.setdefault(name, []).append((_short(record.get("uuid")), item))
        if not by_class and record is not None:
            raise self.error(_of_xen_orchestra([record]) or f"none of its records is known for what it is: {_READ_ARE}")
        codec = RecordsCodec()
        origin = Origin(self.source, lenient=self.lenient)
        tables = self.target.raw_tables(codec, origin)
        for name, records in by_class.items():
            self._fill(tables[name], records, origin)
        return self.target.assemble(tables, codec, origin)

    def _class_of(self, record: Mapping[str, Document] | None) -> str | None:
        names = recognised(record.keys(), _SIGNATURES) if record is not None else []
        return names[0] if names else None

    def _records(self, table: RawTable, document: Document) -> Iterator[tuple[str, Document]]:
        """References and records of one class."""
        name = table.schema.name
        if isinstance(document, msgspec.Raw):
            try:
                records, repeated = _members(document)
            except msgspec.ValidationError:
                raise self.error(f"{name}: not a map of reference to record") from None
            for again in repeated:
                table.skip(self.error(f"{name} {shown(again)}: duplicate ref"))
            refs = [*reversed(records)]
            while refs:  # what has been read is let go
                ref = refs.pop()
                yield str(ref), records.pop(ref)
        elif isinstance(document, Mapping):
            yield from document.items()
        else:
            raise self.error(f"{name}: not a map of reference to record")

    def _fill(self, table: RawTable, records: Iterable[tuple[str, Document]], origin: Origin) -> None:
        fields = table.fields
        classes = self.target.known
        known = classes[table.schema.name].fields.keys() if classes is not None else None
        decode = _decoder(table, known)

        def keep(ref: str, record: Mapping[str, Any]) -> tuple[Any, ...]:
            others = {name: record[name] for name in record.keys() - known} if known is not None else {}
            if others:
                origin.unknown.setdefault(table.schema.name, {})[ref] = others
            return (ref, *map(record.get, fields))

        rows: list[tuple[Any, ...]] = []
        size = 0
        for ref, record in records:
            if isinstance(record, msgspec.Raw):
                size += len(record)
                try:
                    if len(record) > MAX_RECORD_BYTES:
                        raise ValueError(f"a record of more than {MAX_RECORD_BYTES >> 20} MiB")
                    values = decode(record)
                    rows.append(keep(ref, msgspec.json.decode(record)) if values is None else (ref, *values))
                except ValueError as error:
                    table.skip(self.error(f"{table.named(ref)}: {error}"))
            elif isinstance(record, Mapping):
                rows.append(keep(ref, record))
            else:
                table.skip(self.error(f"{table.named(ref)}: {shown(record)} is not a record"))
            if len(rows) == CHUNK_ROWS or size > MAX_RECORD_BYTES:
                table.add(rows, range(len(rows)))
                rows = []
                size = 0
        table.add(rows, range(len(rows)))


_SIGNATURES: Final = {name: schema.signature for name, schema in TABLES.items()}


def row_maker(table: RawTable) -> Callable[[str, Document], tuple[Any, ...]]:
    """A function from a reference and a record, as JSON text or a mapping, to a row for `RawTable.add`.

    It raises ValueError where the record is none; names the row.
    """
    decode, fields = _decoder(table, None), table.fields

    def row(ref: str, record: Document) -> tuple[Any, ...]:
        if isinstance(record, Mapping):
            return (ref, *map(record.get, fields))
        try:
            if len(record) > MAX_RECORD_BYTES:
                raise ValueError(f"a record of more than {MAX_RECORD_BYTES >> 20} MiB")
            return (ref, *(decode(record) or ()))
        except ValueError as error:
            raise ValueError(f"{table.named(ref)}: {error}") from None

    return row


def _decoder(table: RawTable, known: Collection[str] | None) -> Callable[[msgspec.Raw], tuple[Any, ...] | None]:
    """A function from the JSON text of a record to the values of a table's fields.

    Parameters
    ----------
    table : to fill
    known : the fields that a record may have; of one with others the function gives None. None: others are passed over
    """
    names = list(dict.fromkeys((*table.fields, *(known or ()))))
    attributes = [f"field{number}" for number in range(len(names))]
    record = msgspec.defstruct(
        "Record",
        [(name, Any, None) for name in attributes],
        rename=dict(zip(attributes, names, strict=True)),
        forbid_unknown_fields=known is not None,
    )
    decoder = msgspec.json.Decoder(record)
    order = [names.index(field) for field in table.fields]
    in_order = itemgetter(*order) if len(order) > 1 else tuple

    def decode(text: msgspec.Raw) -> tuple[Any, ...] | None:
        try:
            values: tuple[Any, ...] = in_order(msgspec.structs.astuple(decoder.decode(text)))
        except msgspec.ValidationError:
            if known is None or bytes(memoryview(text)[:1]) != b"{":
                raise
            return None
        return values

    return decode


def _members(document: msgspec.Raw) -> tuple[dict[_Ref, msgspec.Raw], list[str]]:
    """The members of a JSON object, of those named alike the last, and the names beyond the first of each."""
    made = 0
    most = _most(document)

    def count(kind: type, name: str) -> _Ref:
        nonlocal made
        made += 1
        if made > most:
            raise _DocumentError(_TOO_SMALL)
        return _Ref(name)

    members = msgspec.json.decode(document, type=_BY_REF, dec_hook=count)
    return members, [] if len(members) == made else _repeated(document)


def _repeated(document: msgspec.Raw) -> list[str]:
    """The names of members of a JSON object beyond the first of each."""
    names: Counter[str] = Counter()

    def remember(kind: type, name: str) -> _Ref:
        names[name] += 1
        return _Ref(name)

    msgspec.json.decode(document, type=_BY_REF, dec_hook=remember)
    return list((names - Counter(dict.fromkeys(names, 1))).elements())


def _most(document: msgspec.Raw) -> int:
    return FREE_MEMBERS + len(document) // MEMBER_BYTES


_TOO_SMALL: Final = f"more than {FREE_MEMBERS:,} items, and of less than {MEMBER_BYTES} bytes on average: no records"


def _as_map(document: Document) -> Mapping[str, Document] | None:
    if isinstance(document, msgspec.Raw):
        if bytes(memoryview(document)[:1]) != b"{":
            return None
        members, repeated = _members(document)
        if repeated:
            raise _DocumentError(f"{shown(repeated[0])} is there twice")
        return cast(dict[str, msgspec.Raw], members)
    return document if isinstance(document, Mapping) else None


def _as_list(document: Document) -> Sequence[Document] | None:
    """The items of a list, which must all be objects: that is looked at before there is anything for each."""
    if isinstance(document, msgspec.Raw):
        if bytes(memoryview(document)[:1]) != b"[":
            return None
        made = 0
        most = _most(document)

        class Item(msgspec.Struct, gc=False):
            def __post_init__(self) -> None:
                nonlocal made
                made += 1
                if made > most:
                    raise _DocumentError(_TOO_SMALL)

        try:
            msgspec.json.decode(document, type=list[Item])
        except msgspec.ValidationError:
            raise _DocumentError(f"item {made}: not a record") from None
        return msgspec.json.decode(document, type=list[msgspec.Raw])
    return document if isinstance(document, list) else None


def _short(document: Document) -> Any:
    """A value that is text or of a few items; of a long one its beginning as text."""
    if not isinstance(document, msgspec.Raw):
        return document
    if len(document) > HEAD_BYTES:
        return bytes(memoryview(document)[:HEAD_BYTES]).decode(errors="replace")
    return msgspec.json.decode(document)


_READ_ARE: Final = "read are XenAPI records as VM.get_all_records answers, by class or of one class"
_NO_RECORDS: Final = f"neither records nor an answer of the API: {_READ_ARE}"


def _of_xen_orchestra(candidates: Iterable[Mapping[str, Document] | None]) -> str:
    """What to say of objects of Xen Orchestra, which look like records; empty if they are none."""
    if any(
        members is not None and {"type", "id"} <= members.keys() and _POOL_OF_XO & members.keys()
        for members in candidates
    ):
        return f"objects of Xen Orchestra, and not of the pool: {_READ_ARE}"
    return ""


_POOL_OF_XO: Final = frozenset(("$pool", "$poolId"))


def _is_map_of_classes(members: Mapping[str, Document] | None) -> bool:
    return members is not None and not TABLES.keys().isdisjoint(members) and "uuid" not in members
