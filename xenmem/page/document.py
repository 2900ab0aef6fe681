"""The document: what stands where, its policy of what may load (nothing), and its style and script, which are files.

The first part is plain HTML, so that it can be read without a script; the tables are made by the script from JSON.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any, Final, NamedTuple

import msgspec

from xenmem import answers
from xenmem.answers.check import Check, CheckFinding
from xenmem.answers.naming import PoolHead, label
from xenmem.answers.report import PoolReport, Report
from xenmem.fleet import Fleet
from xenmem.page.bars import legend, patterns, picture
from xenmem.page.tables import tables
from xenmem.text import counted, printable
from xenmem.units import format_size

_OPEN_POOLS: Final = 3
"""Of more pools each is folded."""

_SHOWN: Final = 100
"""Warnings of one pool that are shown at once; the others are folded."""

_MOST_CHECKED: Final = 5_000
"""VMs of a fleet for which advice is worked out beside, and the seconds that its planners may take."""
_CHECK_SECONDS: Final = 2.0

_SEVERITIES: Final = {"E": "error", "W": "warning", "I": "remark"}
_RANK: Final = {severity: rank for rank, severity in enumerate(_SEVERITIES)}

_MEANING: Final = (
    ("free", "what a host would still start, as xapi counts it: by default with every VM squeezed to dynamic_min"),
    ("static_max", "counts every VM with the most that it may ever take: what HA plans with"),
    ("overhead", "what the hypervisor takes for a VM beside the guest's own memory; free memory counts the stored one"),
    ("hypervisor", "what Xen itself takes of a host, sampled when it booted"),
)


class Content(NamedTuple):
    """What a page shows of a fleet.

    Attributes
    ----------
    summary : HTML
    tables : as `table.encoded` gives them
    """

    summary: str
    tables: list[dict[str, Any]]


def report(fleet: Fleet, model: str | None = None, made: datetime | None = None) -> str:
    """One HTML document on the memory of a fleet that loads nothing from anywhere.

    Parameters
    ----------
    model : by whose overheads are computed anew; by default each pool's own
    made : when; the page tells it

    Raises
    ------
    ValueError : the model does not exist
    QuestionError : a host's VMs take more than any host has
    """
    return document(content(fleet, model, made))


def content(fleet: Fleet, model: str | None = None, made: datetime | None = None) -> Content:
    """What the page of a fleet shows; parameters and errors as of `report`."""
    found = answers.report(fleet, model=model)
    advice = answers.check(fleet, time_limit=_CHECK_SECONDS) if len(fleet.vms) <= _MOST_CHECKED else None
    return Content(_summary(found, advice, made), tables(fleet, found, model))


def document(shown: Content, panel: str = "", script: str = "") -> str:
    """The whole page.

    Parameters
    ----------
    panel, script : HTML above the summary and a script after the page's own, of a page that is live: it may then ask
        where it came from
    """
    style, code = resource("page.css"), resource("page.js") + script
    connect = "connect-src 'self'; " if script else ""
    policy = (
        f"default-src 'none'; {connect}style-src '{_hash(style)}'; script-src '{_hash(code)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
        f"<title>Memory of the fleet - xenmem</title><style>{style}</style></head><body>\n"
        f'{patterns()}<main>{panel}<div id="summary">{shown.summary}</div>\n<div id="tables">'
        "<noscript><p>The tables of hosts and VMs need a script, which this viewer does not run.</p></noscript></div>\n"
        f"{_legend_of_words()}</main>\n"
        f'<script type="application/json" id="data">{as_json(shown.tables)}</script>\n'
        f"<script>{code}</script></body></html>\n"
    )


def as_json(values: Any) -> str:
    """JSON that may stand in a script element."""
    return msgspec.json.encode(values).decode().replace("<", "\\u003c")


@cache
def resource(name: str) -> str:
    """A file beside this one."""
    return files("xenmem.page").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


# ------------------------------------------------------------------------------------------------------------- summary


def _summary(found: Report, advice: Check | None, made: datetime | None) -> str:
    pools = found.pools
    when = "" if made is None else f", made {made.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    sources = dict.fromkeys(pool.pool.source for pool in pools)
    where = text(next(iter(sources), "nothing") if len(sources) < 2 else counted(len(sources), "file"))
    return (
        f'<header><h1>Memory of {_title(pools)}</h1><p class="verdict">{text(found.verdict)}</p>'
        f'<p class="note">From {where}{when}.</p></header>'
        f"{_warnings(pools)}{_pools(pools)}{_advice(advice)}{_notes(found)}"
    )


def _title(pools: Sequence[PoolReport]) -> str:
    return text(label(pools[0].pool)) if len(pools) == 1 else counted(len(pools), "pool")


def _warnings(pools: Sequence[PoolReport]) -> str:
    several = len(pools) > 1
    lines = [
        f"{f'<b>{text(label(pool.pool))}</b>: ' if several else ''}{text(warning.text)}"
        for pool in pools
        for warning in pool.warnings
    ]
    body = listed_html(lines) if lines else '<p class="good">Nothing is amiss.</p>'
    return f'<section aria-labelledby="warnings"><h2 id="warnings">Warnings</h2>{body}</section>'


def _pools(pools: Sequence[PoolReport]) -> str:
    opened = " open" if len(pools) <= _OPEN_POOLS else ""
    found = "".join(
        f"<details{opened}><summary><h3>{text(label(pool.pool))}</h3> "
        f"<span>{_short(pool)}</span></summary>{_about(pool.pool)}{picture(pool)}</details>"
        for pool in pools
    )
    return f'<section aria-labelledby="pools"><h2 id="pools">Pools</h2>{legend()}{found}</section>'


def _short(pool: PoolReport) -> str:
    total = pool.total
    over = total.overcommitted.static_max
    return text(
        f"{counted(total.hosts, 'host')}, {counted(total.vms.count, 'VM')} there, "
        f"{format_size(total.free.dynamic_min)} free of {format_size(total.memory_total)}"
        + (f", overcommitted by {format_size(over)}" if over else "")
    )


def _about(pool: PoolHead) -> str:
    version = f"xapi {pool.xapi_version}" if pool.xapi_version else "xapi version unknown"
    parts = (version, f"model {pool.model}", f"{pool.format} {pool.schema}".strip(), pool.uuid)
    return f'<p class="note">{text(", ".join(filter(None, parts)))}</p>'


def _advice(found: Check | None) -> str:
    """What `xenmem check` finds, rule by rule, the worst first."""
    if found is None:
        told = (
            f'<p class="note">Not looked for among more than {_MOST_CHECKED} VMs; <code>xenmem check</code> does.</p>'
        )
    else:
        by_rule: dict[str, list[CheckFinding]] = {}
        for one in sorted((one for pool in found.pools for one in pool.findings), key=lambda one: _RANK[one.severity]):
            by_rule.setdefault(one.rule, []).append(one)
        told = f"<p>{text(found.verdict)}</p>{''.join(map(_rule, by_rule.values()))}"
        if found.not_run:
            reasons = [f"{text(one.rule)}: {text(one.reason)}" for one in found.not_run]
            told += (
                f"<details><summary>{counted(len(reasons), 'rule')} not run</summary>{listed_html(reasons)}</details>"
            )
    return f'<section aria-labelledby="advice"><h2 id="advice">Advice</h2>{told}</section>'


def _rule(findings: Sequence[CheckFinding]) -> str:
    """What one rule finds."""
    first = findings[0]
    objects = listed_html(f"<b>{text(label(one))}</b>: {text(one.text)}" for one in findings)
    return (
        f'<details class="{_SEVERITIES[first.severity]}"><summary><b>{_SEVERITIES[first.severity]}</b> {first.rule}: '
        f"{text(first.title)} <span>({len(findings)})</span></summary><p>{text(first.consequence)}</p>{objects}"
        f'<p class="note">For {text(label(first))}: <code>{text(first.remedy)}</code></p></details>'
    )


def _notes(found: Report) -> str:
    if not found.notes:
        return ""
    lines = [text(str(note)) for note in found.notes]
    return f'<section aria-labelledby="assumed"><h2 id="assumed">What was assumed</h2>{listed_html(lines)}</section>'


def listed_html(lines: Iterable[str]) -> str:
    """A list of HTML lines, of which many are folded."""
    items = [f"<li>{line}</li>" for line in lines]
    shown = f"<ul>{''.join(items[:_SHOWN])}</ul>"
    if len(items) <= _SHOWN:
        return shown
    rest = f"{len(items) - _SHOWN} more"
    return f"{shown}<details><summary>{rest}</summary><ul>{''.join(items[_SHOWN:])}</ul></details>"


def _legend_of_words() -> str:
    words = "".join(f"<dt>{name}</dt><dd>{meaning}.</dd>" for name, meaning in _MEANING)
    return f'<section aria-labelledby="words"><h2 id="words">What the words mean</h2><dl>{words}</dl></section>'


def text(plain: str) -> str:
    """What comes from an inventory, or may hold something of it, as HTML."""
    return escape(printable(plain))
