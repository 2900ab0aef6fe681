"""The picture of a pool: a bar for each host, in layers; of many hosts one picture of all and bars of the fullest.

HTML and SVG that scale with the page; colours and hatches are the style sheet's. Amounts are bytes.
"""

from collections.abc import Callable, Sequence
from html import escape
from typing import Final

from xenmem.answers.layers import LAYERS, Stack, fullness, stack
from xenmem.answers.naming import label
from xenmem.answers.report import HostReport, PoolReport
from xenmem.page.table import natural
from xenmem.text import counted
from xenmem.units import format_size

MOST_BARS: Final = 24
"""Hosts of a pool that have a bar each; of more, the fullest have one."""

_HEIGHT: Final = 1000
_FEW: Final = 10


def legend() -> str:
    """What each layer of a bar is."""
    items = "".join(
        f'<li><svg aria-hidden="true"><rect class="{layer.key}" width="100%" height="100%"/></svg> {layer.label}</li>'
        for layer in LAYERS
    )
    over = '<svg aria-hidden="true"><rect class="beyond" width="100%" height="100%"/></svg> beyond what there is'
    return f'<ul class="legend">{items}<li>{over}</li></ul>'


def patterns() -> str:
    """The hatches, once in a document."""
    return (
        '<svg class="patterns" aria-hidden="true" width="0" height="0"><defs>'
        + "".join(
            f'<pattern id="hatch-{name}" width="6" height="6" patternUnits="userSpaceOnUse" '
            f'patternTransform="rotate({angle})"><rect class="under-{name}" width="6" height="6"/>'
            f'<rect class="line-{name}" width="{width}" height="6"/></pattern>'
            for name, angle, width in (
                ("overhead", 45, 2),
                ("to-dynamic-max", -45, 3),
                ("to-static-max", -45, 1),
                ("beyond", 45, 3),
            )
        )
        + "</defs></svg>"
    )


def picture(pool: PoolReport) -> str:
    """The hosts of a pool."""
    hosts = sorted(pool.hosts, key=lambda host: natural(label(host)))
    if len(hosts) <= MOST_BARS:
        return _bars(hosts, "Memory of each host")
    fullest = sorted(hosts, key=lambda host: host.free.dynamic_min - host.overcommitted.static_max)[:_FEW]
    return _all_at_once(hosts) + _bars(fullest, f"The {_FEW} hosts with the least free")


def _bars(hosts: Sequence[HostReport], caption: str) -> str:
    stacks = [stack(host) for host in hosts]
    most = max((one.height for one in stacks), default=0) or 1
    items = "".join(_bar(host, one, most) for host, one in zip(hosts, stacks, strict=True))
    return f'<h4>{escape(caption)}</h4><ul class="bars">{items}</ul>'


def _bar(host: HostReport, layers: Stack, most: int) -> str:
    rects = []
    start = 0
    for layer, amount in zip(LAYERS, layers.amounts, strict=True):
        if amount:
            rects.append(_rect(layer.key, start, amount, most))
        start += amount
    beyond = layers.total is not None and layers.height > layers.total
    if layers.total is not None and beyond:
        rects.append(_rect("beyond", layers.total, layers.height - layers.total, most))
    total = "of unknown memory" if layers.total is None else f"of {format_size(layers.total)}"
    if not (host.enabled and host.live):
        what = "takes no VMs,"
    elif beyond:
        what = f"{format_size(host.overcommitted.static_max)} too little"
    else:
        what = f"{format_size(host.free.dynamic_min)} free"
    state = "" if host.enabled and host.live else " (disabled)" if host.live else " (not live)"
    name = escape(label(host) + state)
    mark = ' class="over"' if beyond else ""
    return (
        f'<li{mark}><span class="name">{name}</span>'
        f'<svg aria-hidden="true">{"".join(rects)}</svg><span class="free">{what} {total}</span></li>'
    )


def _rect(key: str, start: int, amount: int, most: int) -> str:
    return f'<rect class="{key}" x="{_percent(start, most)}%" width="{_percent(amount, most)}%" height="100%"/>'


def _percent(amount: int, most: int) -> str:
    return f"{100 * amount / most:.2f}".rstrip("0").rstrip(".")


def _all_at_once(hosts: Sequence[HostReport]) -> str:
    """Every host as a column as high as all others, the fullest first: its layers as shares of it."""
    stacks = sorted((stack(host) for host in hosts), key=fullness)
    tops = [[0] * len(stacks)]
    for number in range(len(LAYERS)):
        below = tops[-1]
        tops.append([low + one.amounts[number] for low, one in zip(below, stacks, strict=True)])
    heights = [max(one.height, 1) for one in stacks]
    paths = "".join(
        f'<path class="{layer.key}" d="{_steps(low, high, heights)}"/>'
        for layer, low, high in zip(LAYERS, tops[:-1], tops[1:], strict=True)
    )
    beyond = [one.height if one.total is None else min(one.height, one.total) for one in stacks]
    paths += f'<path class="beyond" d="{_steps(beyond, [one.height for one in stacks], heights)}"/>'
    crowded = sum(one.total is not None and one.height > one.total for one in stacks)
    tells = f"{counted(len(hosts), 'host')}, the fullest first; {crowded} may need more than they have."
    return (
        f'<h4>All hosts</h4><svg class="all" role="img" aria-label="{escape(tells)}" preserveAspectRatio="none" '
        f'viewBox="0 0 {len(stacks)} {_HEIGHT}">{paths}</svg><p class="note">{escape(tells)} '
        f"Each is a column, whatever its size.</p>"
    )


def _steps(low: Sequence[int], high: Sequence[int], heights: Sequence[int]) -> str:
    """The outline of a layer, from left to right along its top and back along its bottom."""

    def level(amounts: Sequence[int]) -> Callable[[int], int]:
        return lambda place: _HEIGHT - round(_HEIGHT * amounts[place] / heights[place])

    top, bottom = level(high), level(low)
    places = range(len(heights))
    along = [f"V{top(place)}H{place + 1}" for place in places]
    back = [f"V{bottom(place)}H{place}" for place in reversed(places)]
    return f"M0 {top(0)}{''.join(along)}{''.join(back)}Z"
