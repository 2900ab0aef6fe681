"""The pool database to an inventory file: records as JSON, or a dump of the database as XML; written atomically.

The file holds every class that is kept, and what an inventory held beyond the data model, as it came. `Pool` reads back
both forms whatever they hold; `xenmem.read` does where amounts and multipliers are in the range of the kernels.
Encodings: docs/reference/inventories.md, 2.3 to 2.6 and 6.
"""

import os
import re
from collections.abc import Iterator
from typing import IO, Any, Final
from xml.sax.saxutils import escape, quoteattr

import msgspec

from xenmem.datamodel import ClassSchema
from xenmem.datamodel.types import BOOL, STRING_MAP, STRINGS
from xenmem.replacing import replacing
from xenmem.xenapi.store.database import Database
from xenmem.xenapi.store.encoding import QUOTE
from xenmem.xenapi.store.rows import ROW_CLASSES

FORMATS: Final = ("records", "statedb")

_SCHEMA_MAJOR: Final = 5
_SCHEMA_MINOR: Final = 909
_NOT_XML: Final = {chr(code): "\ufffd" for code in (*range(32), 0xFFFE, 0xFFFF) if chr(code) not in "\t\n\r"}
_PROTECTED: Final = str.maketrans({"%": "%%", " ": "%.", "\t": "%t", "\n": "%n", "\r": "%r"} | _NOT_XML)
_AS_XML: Final = str.maketrans(_NOT_XML)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_ATTRIBUTE: Final = QUOTE | {"\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
"""What an attribute spells out: a reference may hold blanks, which nothing protects."""


def save(database: Database, path: str | os.PathLike[str], format: str = "records") -> None:
    """Write an inventory file; whoever reads the path sees the old file or the whole new one.

    Parameters
    ----------
    database : what to write, in one state
    path : where to: a regular file or none yet, see `replacing`
    format : ``records`` or ``statedb``

    Raises
    ------
    ValueError : the format does not exist
    OSError : the file cannot be written; the old one is untouched
    """
    if format not in FORMATS:
        raise ValueError(f"format: {format!r} is none of {', '.join(FORMATS)}")
    with replacing(path) as file, database.lock:
        write(database, file, format)


def write(database: Database, file: IO[bytes], format: str) -> None:
    """Write an inventory into an open file.

    Parameters
    ----------
    database : locked, if others may change it
    file, format : where to, and as for `save`
    """
    for chunk in (_statedb if format == "statedb" else _records)(database):
        file.write(chunk)


def _persistent_classes() -> Iterator[ClassSchema]:
    return (row_class.schema for row_class in ROW_CLASSES.values() if row_class.schema.persistent)


def _records(database: Database) -> Iterator[bytes]:
    """A JSON object of classes; integers are text, as clients of XML-RPC have them."""
    encoder = msgspec.json.Encoder()
    yield b"{"
    for number, schema in enumerate(_persistent_classes()):
        gives = [(field.name, field.type) for field in schema.fields.values() if not field.internal]
        yield b"%s\n%s: {" % (b"," if number else b"", encoder.encode(schema.name))
        for place, row in enumerate(database.tables[schema.name]):
            record = {name: _json(type.give(getattr(row, name))) for name, type in gives} | (row.unknown or {})
            yield b"%s\n%s: %s" % (b"," if place else b"", encoder.encode(row.ref), encoder.encode(record))
        yield b"}"
    for name, rows in database.unknown.items():
        yield b",\n%s: %s" % (encoder.encode(name), encoder.encode(rows))
    yield b"\n}\n"


def _json(value: Any) -> Any:
    return str(value) if type(value).__name__ == "DateTime" else value


def _statedb(database: Database) -> Iterator[bytes]:
    """A dump; tables, rows and columns in byte order of their names, as the server writes them."""
    yield b'<?xml version="1.0" encoding="UTF-8"?>\n<database><manifest>'
    manifest = {
        "schema_major_vsn": _SCHEMA_MAJOR,
        "schema_minor_vsn": _SCHEMA_MINOR,
        "generation_count": database.generation,
    }
    for key, value in manifest.items():
        yield f'<pair key="{key}" value="{value}"/>'.encode()
    yield b"</manifest>"
    for name in sorted({schema.name for schema in _persistent_classes()} | database.unknown.keys()):
        yield f"<table name={quoteattr(name.translate(_AS_XML))}>".encode()
        for row in _rows_xml(database, name):
            yield row.encode()
        yield b"</table>"
    yield b"</database>"


def _rows_xml(database: Database, name: str) -> Iterator[str]:
    if name in database.unknown:
        for ref, values in sorted(database.unknown[name].items()):
            yield _row_xml(ref, 0, 0, {column: _text(value) for column, value in values.items()})
        return
    table = database.tables[name]
    columns = [(field.database, field.name, field.type.database_text) for field in table.schema.fields.values()]
    for row in sorted(table, key=lambda row: row.ref):
        values = {column: text(getattr(row, name)) for column, name, text in columns}
        values |= {column: _text(value) for column, value in (row.unknown or {}).items()}
        yield _row_xml(row.ref, row.ctime, row.mtime, values)


def _text(value: Any) -> str:
    """How the database would spell a value of unknown type that records had."""
    match value:
        case str():
            return value
        case bool():
            return BOOL.database_text(value)
        case list():
            return STRINGS.database_text(tuple(map(_text, value)))
        case dict():
            return STRING_MAP.database_text({key: _text(item) for key, item in value.items()})
        case _:
            return "" if value is None else str(value)


def _row_xml(ref: str, ctime: int, mtime: int, values: dict[str, str]) -> str:
    """A row as an element; a column of records whose name no attribute can have is left out."""
    attributes = {"ref": ref.translate(_AS_XML), "__ctime": str(ctime), "__mtime": str(mtime)}
    for column, text in sorted((values | {"_ref": ref}).items()):
        if column not in attributes and _NAME.fullmatch(column):
            attributes[column] = text.translate(_PROTECTED)
    written = (f'{name}="{escape(text, _ATTRIBUTE)}"' for name, text in attributes.items())
    return f"<row {' '.join(written)}/>"
