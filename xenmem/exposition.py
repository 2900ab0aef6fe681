"""The text that Prometheus reads: families of samples as OpenMetrics 1.0, or in the older format of Prometheus itself.

Knows no metric: names, labels and values come from whoever counts.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple

OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The content types of the two."""

END: Final = "# EOF\n"
"""Of OpenMetrics."""

_UNITS: Final = ("bytes", "seconds")


class Sample(NamedTuple):
    """A value and what it is of."""

    labels: Mapping[str, str]
    value: float


class Family(NamedTuple):
    """A metric.

    Attributes
    ----------
    name : ends with its unit, and that of a counter with ``_total``
    about : help, one line
    """

    name: str
    about: str
    samples: list[Sample]
    kind: Literal["gauge", "counter"] = "gauge"


def text(families: Iterable[Family], *, openmetrics: bool = True) -> str:
    """The families that have samples.

    Parameters
    ----------
    families : each once
    openmetrics : with units and an end; else what Prometheus reads where it was not asked for OpenMetrics
    """
    return lines(families, openmetrics) + (END if openmetrics else "")


def lines(families: Iterable[Family], openmetrics: bool) -> str:
    """As `text`, without the end: more families may follow."""
    return "".join(f"{line}\n" for family in families if family.samples for line in _lines(family, openmetrics))


def wants_openmetrics(accept: str) -> bool:
    """Whether a header Accept prefers OpenMetrics to plain text."""
    weights = {}
    for part in accept.split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        weights[kind.lower()] = _weight(parameters)
    openmetrics = weights.get("application/openmetrics-text", 0.0)
    return openmetrics > 0 and openmetrics >= weights.get("text/plain", 0.0)


def _weight(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _lines(family: Family, openmetrics: bool) -> Iterator[str]:
    name = family.name.removesuffix("_total") if openmetrics and family.kind == "counter" else family.name
    unit = name.rpartition("_")[2]
    yield f"# TYPE {name} {family.kind}"
    if openmetrics and unit in _UNITS:
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {family.about}"
    for labels, value in family.samples:
        shown = ",".join(f'{label}="{_escaped(of)}"' for label, of in labels.items())
        yield f"{family.name}{f'{{{shown}}}' if shown else ''} {_number(value)}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _escaped(label: str) -> str:
    whole = label.encode("utf-8", "replace").decode()  # half a surrogate pair is no text
    return whole.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
