"""Inventories of pools to columns: which format a file is in, and the reader for it.

Formats: the pool database dump, XenAPI records, the text of `xe ... params=all`; each also as gzip. A file is read
as a stream. Amounts are bytes. Knows no Fleet: xenmem.fleet is made of what is read here.
"""

from xenmem.inventory.error import InventoryError
from xenmem.inventory.source import FORMATS, read_pools

__all__ = ["FORMATS", "InventoryError", "read_pools"]
