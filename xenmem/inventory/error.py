"""The one error of the inventory readers: which file, where in it, what is wrong."""

from xenmem.text import printable


class InventoryError(ValueError):
    """An inventory cannot be read. The text is one line.

    Parameters
    ----------
    source : the file or session
    place : byte, line or record; may be empty
    problem : what is wrong, with the offending value

    Attributes
    ----------
    source, place, problem : as given
    """

    __module__ = "xenmem"  # where users import it from

    def __init__(self, source: str, place: str, problem: str) -> None:
        super().__init__(printable(": ".join(part for part in (source, place, problem) if part)))
        self.source = source
        self.place = place
        self.problem = problem

    def __reduce__(self) -> tuple[type["InventoryError"], tuple[str, str, str]]:
        return type(self), (self.source, self.place, self.problem)


class OutOfReachError(InventoryError):
    """A pool that runs cannot be asked now; later it may be."""


def shown(value: object) -> str:
    """A value as messages show it: quoted, on one line, and cut when it is long."""
    text = repr(value[:200] if isinstance(value, str) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def named(class_name: str, ref: object) -> str:
    """A row as messages name it; a reference may be of any length."""
    text = str(ref)
    return f"{class_name} {text}" if len(text) <= 80 else f"{class_name} {text[:77]}..."
