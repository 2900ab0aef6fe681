"""Inventories of pools to a Fleet: which format a file is in, and the reader for it.

Formats: the pool database dump, XenAPI records, the text of `xe ... params=all`; each also as gzip. A file is read
as a stream. Amounts are bytes.
"""

from __future__ import annotations

from xenmem.inventory.error import InventoryError
from xenmem.inventory.source import FORMATS, read

__all__ = ["FORMATS", "InventoryError", "read"]
