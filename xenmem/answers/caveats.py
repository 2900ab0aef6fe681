"""What the records leave out or contradict, and an answer about hosts must be read with. Amounts are bytes."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from xenmem.answers.naming import Finding, exact_sum, known_totals, labels, listed, refs
from xenmem.fleet import Fleet
from xenmem.text import counted
from xenmem.units import MIB, format_size

Rows = NDArray[np.intp]

_LEFT_OUT: Final = ("no-vms", "no-control-domain")
"""Notes of reading that free memory is less than what is shown."""
_INEXACT: Final = 64 * MIB
"""What is measured may be so much below what the records leave, for amounts are rounded and domains come and go."""


def of_hosts(fleet: Fleet, rows: Rows) -> list[str]:
    """All that makes the free memory of some hosts doubtful, each in a sentence."""
    return [
        *(note.text for note in fleet.notes if note.kind in _LEFT_OUT),
        *(finding.text for finding in measured_below(fleet, rows)),
        *ballooning_control_domains(fleet, rows),
    ]


def measured_below(fleet: Fleet, rows: Rows) -> list[Finding]:
    """The hosts that have less than their records say even if every VM has its dynamic_max.

    Notes
    -----
    The pool lets VMs in by the records, and the hypervisor then fails to build them.
    """
    measured, expected = fleet.hosts.memory_free, fleet.free_memory("dynamic_max")
    is_short = (measured > 0) & (measured + _INEXACT < expected) & known_totals(fleet)
    bad = rows[is_short[rows]]
    if not len(bad):
        return []
    missing = exact_sum(expected[bad] - measured[bad])
    verb, own = ("has", "its records say") if len(bad) == 1 else ("have", "their records say")
    because = [
        f"control domain {fleet.vms.label(vm)} has {format_size(held)}, above its dynamic_max"
        for vm, held in _above_dynamic_max(fleet, bad)
    ]
    text = f"{counted(len(bad), 'host')} {verb} {format_size(missing)} less free than {own}"
    text = f"{text} ({labels(fleet.hosts, bad.tolist())})"
    return [
        Finding(
            kind="measured-below",
            text=f"{text}: {listed(because)}" if because else text,
            hosts=refs(fleet.hosts, bad.tolist()),
            memory=missing,
        )
    ]


def _above_dynamic_max(fleet: Fleet, hosts: Rows) -> list[tuple[int, int]]:
    vms = fleet.vms
    held = np.maximum(vms.memory_target, vms.memory_actual)
    which = vms.is_control_domain & np.isin(vms.resident_on, hosts) & (held > vms.memory_dynamic_max)
    return [(int(vm), int(held[vm])) for vm in np.flatnonzero(which)]


def ballooning_control_domains(fleet: Fleet, rows: Rows) -> list[str]:
    """Control domains whose memory has a range: whether it may shrink the records do not tell."""
    vms = fleet.vms
    ranged = vms.is_control_domain & np.isin(vms.resident_on, rows) & (vms.memory_dynamic_min < vms.memory_dynamic_max)
    return [
        f"control domain {vms.label(vm)} has a range, {format_size(int(vms.memory_dynamic_min[vm]))} to "
        f"{format_size(int(vms.memory_dynamic_max[vm]))}: xapi counts its dynamic_min, but squeezed leaves it as large "
        "as it is, unless it is configured to manage domain 0"
        for vm in np.flatnonzero(ranged).tolist()
    ]
