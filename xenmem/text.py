"""Text from elsewhere, fit to be shown: names and values of inventories may hold anything. Depends on nothing."""


def printable(text: str) -> str:
    """The text on one line, with whatever could steer a terminal spelt out."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
