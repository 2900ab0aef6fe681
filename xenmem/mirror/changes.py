"""What a mirror tells those who listen."""

from typing import NamedTuple


class Change(NamedTuple):
    """A row that is another one than before.

    Attributes
    ----------
    pool : uuid
    class_name : such as ``VM``
    operation : ``add``, ``mod`` or ``del``
    ref : of the row
    """

    pool: str
    class_name: str
    operation: str
    ref: str
