"""kernel.build_memory."""

from . import elementwise


class BuildMemory(elementwise.Elementwise):
    """How near is each way to the copy of the same bytes?"""

    function = "build_memory"
