"""kernel.required_memory."""

from . import elementwise


class RequiredMemory(elementwise.Elementwise):
    """How near is each way to the copy of the same bytes?"""

    function = "required_memory"
