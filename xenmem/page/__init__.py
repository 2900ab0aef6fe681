"""The page: what a fleet's memory looks like, in one HTML document that needs nothing beside itself.

Whatever comes from an inventory is escaped where it enters the document. Knows neither files nor sockets.
"""

from typing import TYPE_CHECKING

from xenmem._lazy import attach

if TYPE_CHECKING:
    from xenmem.page.document import report
    from xenmem.page.live import Live

__all__ = ["Live", "report"]

__getattr__, __dir__ = attach(__name__, {"document": "report", "live": "Live"})
