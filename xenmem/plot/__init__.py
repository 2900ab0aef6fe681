"""Pictures of a fleet's memory and of plans, drawn by matplotlib (extra ``plot``): PNG, SVG and PDF.

Each function of the modules makes a figure of an answer; the same answer gives the same bytes. Readable in grey and by
the colour-blind. matplotlib is imported when a figure is made; no display is needed.
"""

from typing import TYPE_CHECKING

from xenmem._lazy import attach

if TYPE_CHECKING:
    from xenmem.plot.canvas import SUFFIXES, encoded
    from xenmem.plot.failures import failures
    from xenmem.plot.fleets import heat, hosts
    from xenmem.plot.overheads import overheads
    from xenmem.plot.plans import moves, timeline
    from xenmem.plot.runways import runway

__all__ = ["SUFFIXES", "encoded", "failures", "heat", "hosts", "moves", "overheads", "runway", "timeline"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "canvas": "SUFFIXES encoded",
        "failures": "failures",
        "fleets": "heat hosts",
        "overheads": "overheads",
        "plans": "moves timeline",
        "runways": "runway",
    },
)
