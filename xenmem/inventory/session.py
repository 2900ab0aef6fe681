"""A live pool to columns, through a logged-in XenAPI session: get_all_records calls, which change nothing there.

The records pass the same checks as those of a file. A class that the server does not know yet has no rows.
"""

from typing import Any

import XenAPI

from xenmem.columns import Tables
from xenmem.inventory.records import read_tables
from xenmem.inventory.schema import TABLES

_UNKNOWN_CLASS = "MESSAGE_METHOD_UNKNOWN"


def read_session(session: XenAPI.Session, *, lenient: bool = False) -> Tables:
    """The pool that a session is logged in to; see Fleet.from_session."""
    records: dict[str, dict[str, dict[str, Any]]] = {}
    for name, schema in TABLES.items():
        try:
            records[name] = getattr(session.xenapi, name).get_all_records()
        except XenAPI.Failure as failure:
            if schema.of_old or failure.details[:1] != [_UNKNOWN_CLASS]:
                raise
    return read_tables(records, source="session", lenient=lenient)
