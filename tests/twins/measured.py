"""Naive twin of the readers of measurements: a whole document as a tree, and every number in a dict by VM and time."""

import json
import math
import xml.etree.ElementTree as ET

Found = dict[tuple[str, int], dict[int, dict[str, float]]]
"""By VM and step, then by time, the values that are known."""


def _number(text: object) -> float:
    if text is None:
        return math.nan
    value = float(str(text).strip())
    return value if math.isfinite(value) else math.nan


def _note(found: Found, vm: str, step: int, time: int, name: str, value: float) -> None:
    rows = found.setdefault((vm, step), {})
    row = rows.setdefault(time, {})
    if not math.isnan(value):
        row[name] = value


def updates(text: str, found: Found) -> None:
    """An answer of rrd_updates."""
    if text.startswith("{"):
        tree = json.loads(text)
        step, legend = int(tree["meta"]["step"]), tree["meta"]["legend"]
        rows = [(int(row["t"]), [_number(value) for value in row["values"]]) for row in tree["data"]]
    else:
        root = ET.fromstring(text)
        step = int(root.findtext("meta/step", ""))
        legend = [entry.text or "" for entry in root.findall("meta/legend/entry")]
        rows = [(int(row.findtext("t", "")), [_number(v.text) for v in row.findall("v")]) for row in root.iter("row")]
    for time, values in rows:
        for entry, value in zip(legend, values, strict=True):
            function, kind, uuid, name = entry.split(":", 3)
            if (function, kind) == ("AVERAGE", "vm"):
                _note(found, uuid, step, time, name, value)


def saved(text: str, vm: str, found: Found) -> None:
    """A saved RRD."""
    root = ET.fromstring(text)
    step, last = int(root.findtext("step", "")), int(float(root.findtext("lastupdate", "")))
    names = [ds.findtext("name", "") for ds in root.findall("ds")]
    for archive in root.findall("rra"):
        if archive.findtext("cf") != "AVERAGE":
            continue
        seconds = step * int(archive.findtext("pdp_per_row", ""))
        rows = archive.findall("database/row")
        time = last - last % seconds - seconds * (len(rows) - 1)
        for row in rows:
            for name, value in zip(names, row.findall("v"), strict=True):
                _note(found, vm, seconds, time, name, _number(value.text))
            time += seconds
