"""What memory was at each time since a pool is served, and that as xapi's statistics: updates, and whole archives.

Sources and their units: xapi-project/xen-api, ocaml/xcp-rrdd/bin/rrdp-squeezed/rrdp_squeezed.ml; archives and texts:
ocaml/libs/xapi-rrd/lib/rrd_updates.ml, rrd.ml. Before serving began the first values hold. Knows no HTTP.
"""

import json
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from xenmem.xenapi import Database
from xenmem.xenapi.store.encoding import text_xml

if TYPE_CHECKING:
    from xenmem.xenapi.store import rows
    from xenmem.xenapi.store.rows import Row

STEP: Final = 5
"""Seconds between two looks."""

MAX_CHANGES: Final = 4096
"""Values of one source that are kept; the older half goes when there are more."""

_ARCHIVES: Final = ((120, 1), (120, 12), (168, 720), (366, 17_280))
"""Rows and looks a row of each archive (rrd_shared.ml)."""

_OF_MEMORY: Final = frozenset(("VM", "VM_metrics", "host", "host_metrics"))
_KIB: Final = 1024


class Source(NamedTuple):
    """What is measured: of a ``host`` or ``vm`` of a uuid, by the source's name."""

    kind: str
    uuid: str
    name: str


def now_measured(database: Database) -> Iterator[tuple[Source, float]]:
    """Every source with its present value."""
    for host in database.host:
        metrics = database.host_metrics.get(host.metrics)
        residents = [database.VM[ref] for ref in host.resident]
        total = metrics.memory_total if metrics is not None else 0
        used = host.memory_overhead + sum(_actual(database, vm) + vm.memory_overhead for vm in residents)
        targets = [(vm, vm.memory_target or vm.memory_dynamic_max) for vm in residents]
        values = {
            "memory_total_kib": total // _KIB,
            "memory_free_kib": max(0, total - used) // _KIB,
            "memory_reclaimed": sum(max(0, vm.memory_dynamic_max - target) for vm, target in targets),
            "memory_reclaimed_max": sum(max(0, target - vm.memory_dynamic_min) for vm, target in targets),
        }
        for name, value in values.items():
            yield Source("host", host.uuid, name), value
        for vm, target in targets:
            yield Source("vm", vm.uuid, "memory"), _actual(database, vm)
            yield Source("vm", vm.uuid, "memory_target"), target


def _actual(database: Database, vm: "rows.VM") -> int:
    metrics = database.VM_metrics.get(vm.metrics)
    return metrics.memory_actual if metrics is not None else 0


class History:
    """The values of each source since it was first looked at.

    Parameters
    ----------
    database : what is measured
    now : seconds since 1970

    Attributes
    ----------
    last : when it was last looked
    """

    def __init__(self, database: Database, now: float) -> None:
        self._database = database
        self._times: dict[Source, list[float]] = {}
        self._values: dict[Source, list[float]] = {}
        self._has_changed = True
        self.last = now
        database.observers.append(self._observe)
        self.look(now)

    def _observe(self, operation: str, row: "Row") -> None:
        if row.table in _OF_MEMORY:
            self._has_changed = True

    def look(self, now: float) -> None:
        """Take note of what is now."""
        self.last = now
        if not self._has_changed:
            return
        self._has_changed = False
        measured = dict(now_measured(self._database))
        for source in self._values.keys() - measured.keys():
            measured[source] = math.nan
        for source, value in measured.items():
            times, values = self._times.setdefault(source, []), self._values.setdefault(source, [])
            if not values or not (values[-1] == value or (math.isnan(value) and math.isnan(values[-1]))):
                times.append(now if values else 0.0)
                values.append(value)
                if len(values) > MAX_CHANGES:
                    del times[: MAX_CHANGES // 2], values[: MAX_CHANGES // 2]

    def value(self, source: Source, moment: float) -> float:
        """What a source was at a time; NaN while it was not there."""
        times = self._times[source]
        return self._values[source][max(0, bisect_right(times, moment) - 1)]

    def sources(self, kind: str, uuids: Iterable[str]) -> list[Source]:
        """What is known of hosts or VMs."""
        wanted = set(uuids)
        return [source for source in self._values if source.kind == kind and source.uuid in wanted]


def archive_of(last: float, start: float, interval: int) -> tuple[int, int]:
    """Rows and step in seconds of the archive that tells of a time: the first that reaches back so far."""
    for rows, per_row in _ARCHIVES:
        step = per_row * STEP
        if step >= interval and last - rows * step <= start:
            return rows, step
    rows, per_row = _ARCHIVES[-1]
    return rows, per_row * STEP


def updates(history: History, sources: list[Source], start: float, interval: int, *, as_json: bool) -> bytes:
    """What was measured since a time, the latest first, as rrd_updates has it.

    Parameters
    ----------
    history, sources : what is told
    start : seconds since 1970; negative ones count from the last look
    interval : least seconds between two rows
    as_json : as JSON, not as XML
    """
    if start < 0:
        start += history.last
    rows, step = archive_of(history.last, start, interval)
    last = int(history.last // step) * step
    first = max(last - (rows - 1) * step, math.ceil(start / step) * step if start > 0 else 0)
    times = range(last, first - 1, -step)
    legend = [f"AVERAGE:{source.kind}:{source.uuid}:{source.name}" for source in sources]
    table = [(moment, [shown(history.value(source, moment)) for source in sources]) for moment in times]
    meta = {
        "start": str(math.floor(start / step) * step + step),
        "step": str(step),
        "end": str(last),
        "rows": str(len(table)),
        "columns": str(len(legend)),
    }
    if as_json:
        data = [{"t": str(moment), "values": values} for moment, values in table]
        return json.dumps({"meta": {**meta, "legend": legend}, "data": data}, separators=(",", ":")).encode()
    head = "".join(f"<{name}>{value}</{name}>" for name, value in meta.items())
    entries = "".join(f"<entry>{text_xml(entry)}</entry>" for entry in legend)
    body = "".join(
        f"<row><t>{moment}</t>{''.join(f'<v>{value}</v>' for value in values)}</row>" for moment, values in table
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<xport><meta>{head}<legend>{entries}</legend></meta><data>{body}</data></xport>"
    ).encode()


def whole(history: History, sources: list[Source], *, as_json: bool) -> bytes:
    """All archives of a host or a VM, the oldest rows first, as host_rrd and vm_rrd have them."""
    last = int(history.last // STEP) * STEP
    tree: dict[str, Any] = {
        "version": "0003",
        "step": str(STEP),
        "lastupdate": str(last),
        "ds": [
            {
                "name": source.name,
                "type": "GAUGE",
                "minimal_heartbeat": "300",
                "min": "0.0",
                "max": "Infinity",
                "last_ds": shown(history.value(source, last)),
                "value": "0.0",
                "unknown_sec": "0",
            }
            for source in sources
        ],
        "rra": [_archive(history, sources, rows, per_row) for rows, per_row in _ARCHIVES],
    }
    if as_json:
        return json.dumps(tree, separators=(",", ":")).encode()
    head = "".join(f"<{name}>{tree[name]}</{name}>" for name in ("version", "step", "lastupdate"))
    parts = [f"<ds>{_elements(one)}</ds>" for one in tree["ds"]]
    for one in tree["rra"]:
        prepared = "".join(f"<ds>{_elements(of)}</ds>" for of in one["cdp_prep"]["ds"])
        body = "".join(f"<row>{''.join(f'<v>{value}</v>' for value in values)}</row>" for values in one["database"])
        parts.append(
            f"<rra><cf>AVERAGE</cf><pdp_per_row>{one['pdp_per_row']}</pdp_per_row><params><xff>0.5</xff></params>"
            f"<cdp_prep>{prepared}</cdp_prep><database>{body}</database></rra>"
        )
    return f'<?xml version="1.0"?><rrd>{head}{"".join(parts)}</rrd>'.encode()


def _archive(history: History, sources: list[Source], rows: int, per_row: int) -> dict[str, Any]:
    step = per_row * STEP
    last = int(history.last // step) * step
    zeros = {"primary_value": "0.0", "secondary_value": "0.0", "value": "0.0", "unknown_datapoints": "0"}
    return {
        "cf": "AVERAGE",
        "pdp_per_row": str(per_row),
        "params": {"xff": "0.5"},
        "cdp_prep": {"ds": [zeros for _ in sources]},
        "database": [
            [shown(history.value(source, moment)) for source in sources]
            for moment in range(last - (rows - 1) * step, last + 1, step)
        ],
    }


def _elements(values: dict[str, str]) -> str:
    return "".join(f"<{name}>{text_xml(value)}</{name}>" for name, value in values.items())


def shown(value: float) -> str:
    """A number as the statistics have it (rrd_utils.ml: f_to_s)."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return f"{value:.15g}" if value else "0.0"
