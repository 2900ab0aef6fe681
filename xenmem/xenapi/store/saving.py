"""The pool database to an inventory file: records as JSON, or a dump of the database as XML; written atomically.

The file holds the classes of the database and no others: no disks, no networks. `Pool` reads back both forms whatever
they hold; `xenmem.read` does where amounts and multipliers are in the range of the kernels. Encodings:
inventory-formats, sections 2.3 to 2.6 and 6.
"""

import os
from collections.abc import Iterator
from typing import IO, Any, Final
from xml.sax.saxutils import escape

import msgspec

from xenmem.datamodel import ClassSchema
from xenmem.xenapi.store.database import Database
from xenmem.xenapi.store.encoding import QUOTE
from xenmem.xenapi.store.replacing import replacing
from xenmem.xenapi.store.rows import ROW_CLASSES, Row

FORMATS: Final = ("records", "statedb")

_SCHEMA_MAJOR: Final = 5
_SCHEMA_MINOR: Final = 909
_PROTECTED: Final = str.maketrans(
    {"%": "%%", " ": "%.", "\t": "%t", "\n": "%n", "\r": "%r"}
    | {chr(code): "\ufffd" for code in (*range(32), 0xFFFE, 0xFFFF) if chr(code) not in "\t\n\r"}
)


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
            record = {name: _json(type.give(getattr(row, name))) for name, type in gives}
            yield b"%s\n%s: %s" % (b"," if place else b"", encoder.encode(row.ref), encoder.encode(record))
        yield b"}"
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
    for schema in sorted(_persistent_classes(), key=lambda schema: schema.name):
        columns = [(field.database, field.name, field.type) for field in schema.fields.values()]
        yield f'<table name="{schema.name}">'.encode()
        for row in sorted(database.tables[schema.name], key=lambda row: row.ref):
            yield _row_xml(row, columns).encode()
        yield b"</table>"
    yield b"</database>"


def _row_xml(row: Row, columns: list[tuple[str, str, Any]]) -> str:
    attributes = [("ref", row.ref), ("__ctime", str(row.ctime)), ("__mtime", str(row.mtime))]
    values = [(column, type.database_text(getattr(row, name))) for column, name, type in columns]
    values.append(("_ref", row.ref))
    attributes += ((column, text.translate(_PROTECTED)) for column, text in sorted(values))
    written = (f'{name}="{escape(text, QUOTE)}"' for name, text in attributes)
    return f"<row {' '.join(written)}/>"
