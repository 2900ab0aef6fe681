"""Measurements of VMs as pools write them, from plain numbers: saved RRDs and answers of rrd_updates, XML and JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

Series = Mapping[str, Sequence[float]]
"""By name of the source the value of each row, the oldest first."""

NOW = 1_790_000_040
"""A whole minute."""


def vm_uuid(number: int) -> str:
    return f"6f1e2c9a-0000-4000-8000-{number:012x}"


def spelt(value: float) -> str:
    """As rrd_utils.ml has it."""
    if math.isnan(value):
        return "NaN"
    return f"{value:.15g}"


def updates_xml(
    vms: Mapping[str, Series], step: int = 60, end: int = NOW, cf: str = "AVERAGE", kind: str = "vm"
) -> str:
    """An answer of rrd_updates, the latest row first."""
    legend = [f"{cf}:{kind}:{uuid}:{name}" for uuid, series in vms.items() for name in series]
    columns = [column for series in vms.values() for column in series.values()]
    rows = list(zip(*columns, strict=True))
    body = "".join(
        f"<row><t>{end - step * back}</t>{''.join(f'<v>{spelt(value)}</v>' for value in row)}</row>"
        for back, row in enumerate(reversed(rows))
    )
    meta = (
        f"<start>0</start><step>{step}</step><end>{end}</end><rows>{len(rows)}</rows><columns>{len(legend)}</columns>"
    )
    entries = "".join(f"<entry>{entry}</entry>" for entry in legend)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<xport><meta>{meta}<legend>{entries}</legend></meta><data>{body}</data></xport>"
    )


def updates_json(vms: Mapping[str, Series], step: int = 60, end: int = NOW, spelling: str = "text") -> str:
    """The same as JSON; the numbers as text, bare, or with null where one is unknown."""
    legend = [f"AVERAGE:vm:{uuid}:{name}" for uuid, series in vms.items() for name in series]
    rows = list(zip(*[column for series in vms.values() for column in series.values()], strict=True))

    def value(number: float) -> Any:
        if spelling == "text":
            return spelt(number)
        return None if spelling == "null" and math.isnan(number) else float(number)

    data = [
        {"t": end - step * back, "values": [value(number) for number in row]} for back, row in enumerate(reversed(rows))
    ]
    meta = {"start": 0, "step": step, "end": end, "rows": len(rows), "columns": len(legend), "legend": legend}
    if spelling == "text":
        meta, data = (
            {name: str(text) if isinstance(text, int) else text for name, text in meta.items()},
            [{"t": str(row["t"]), "values": row["values"]} for row in data],
        )
    return json.dumps({"meta": meta, "data": data})


def saved(archives: Sequence[tuple[int, Series]], last: int = NOW, other: Sequence[str] = ()) -> str:
    """A saved RRD of a VM.

    Parameters
    ----------
    archives : looks a row, and rows, of each archive; all have the same sources
    last : of the last update
    other : functions of more archives, with a row of zeros
    """
    names = list(archives[0][1])
    sources = "".join(
        f"<ds><name>{name}</name><type>GAUGE</type><minimal_heartbeat>300</minimal_heartbeat><min>0.0</min>"
        "<max>Infinity</max><last_ds>0</last_ds><value>0.0</value><unknown_sec>0</unknown_sec></ds>"
        for name in names
    )
    prepared = "<ds><primary_value>0.0</primary_value><value>0.0</value></ds>" * len(names)

    def archive(cf: str, looks: int, rows: Sequence[Sequence[float]]) -> str:
        body = "".join(f"<row>{''.join(f'<v>{spelt(value)}</v>' for value in row)}</row>" for row in rows)
        return (
            f"<rra><cf>{cf}</cf><pdp_per_row>{looks}</pdp_per_row><params><xff>0.5</xff></params>"
            f"<cdp_prep>{prepared}</cdp_prep><database>{body}</database></rra>"
        )

    parts = [archive(cf, 1, [[0.0] * len(names)]) for cf in other]
    parts += [archive("AVERAGE", looks, list(zip(*series.values(), strict=True))) for looks, series in archives]
    head = f"<version>0003</version><step>5</step><lastupdate>{last}.317</lastupdate>"
    return f'<?xml version="1.0"?><rrd>{head}{sources}{"".join(parts)}</rrd>'
