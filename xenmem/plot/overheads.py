"""Overhead as a function of memory and of vCPUs, by version, and the VMs of a fleet on it. Amounts are bytes."""

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xenmem import kernel
from xenmem.columns import Bytes
from xenmem.fleet import Fleet
from xenmem.plot.canvas import BLUE, GREEN, ORANGE, VERMILION, figure_of, styled
from xenmem.text import counted
from xenmem.units import GIB, MIB

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINES: Final = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (VERMILION, ":"))
_VCPUS: Final = 64
_MEMORY: Final = 16 * GIB
_POINTS: Final = 65


@styled
def overheads(fleet: Fleet) -> "Figure":
    """The overhead of an HVM guest by its memory and by its vCPUs, by each model; and HVM guests, as stored."""
    vms = fleet.vms
    shown = np.flatnonzero(vms.is_guest & (vms.domain_type == kernel.DomainType.HVM))
    most = max(_MEMORY, int(vms.memory_static_max[shown].max(initial=0)))
    memory = np.linspace(GIB, most, _POINTS).astype(np.int64) // MIB * MIB
    vcpus = np.arange(1, _VCPUS + 1)
    made, (left, right) = figure_of(2, 10, 4.2, "Overhead of HVM guests by version of xapi")
    curves: dict[bytes, list[str]] = {}
    for name in kernel.MODELS:
        both = np.append(_overhead(name, memory, 2), _overhead(name, _MEMORY, vcpus))
        curves.setdefault(both.tobytes(), []).append(name)
    for (values, names), (colour, dashes) in zip(curves.items(), _LINES, strict=False):
        mib = np.frombuffer(values, np.int64) / MIB
        left.plot(memory / GIB, mib[:_POINTS], dashes, color=colour)
        right.plot(vcpus, mib[_POINTS:], dashes, color=colour, label=", ".join(names))
    left.plot(
        vms.memory_static_max[shown] / GIB,
        vms.memory_overhead[shown] / MIB,
        "o",
        color="black",
        markersize=3,
        alpha=0.5,
        label=f"the {counted(len(shown), 'HVM guest')} of the fleet, as stored",
    )
    left.set_xlabel("memory_static_max, GiB; lines: 2 vCPUs")
    right.set_xlabel(f"VCPUs_max; memory_static_max {_MEMORY // GIB} GiB")
    left.set_ylabel("overhead, MiB")
    for axes in (left, right):
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.grid()
        axes.legend(loc="upper left" if axes is left else "lower right", title=None if axes is left else "model")
    return made


def _overhead(model: str, memory: Any, vcpus: Any) -> Bytes:
    return kernel.overhead(kernel.DomainType.HVM, memory, vcpus, 1.0, model=model)
