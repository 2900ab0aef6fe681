"""Why VMs cannot migrate: the rule over columns against what VM.pool_migrate is refused with on the pool in memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pools import in_memory, records, with_drivers

import xenmem
from xenmem.rules.migration import refusals, whereabouts

SPOKEN = {"it is Paused": "VM_BAD_POWER_STATE"}
"""What the rule says in words, and the pool by an error."""


def varied(inventory: dict[str, dict[str, dict[str, Any]]], rng: np.random.Generator) -> None:
    """Some guests without drivers or features, blocked, pinned, paused, or of other types."""
    for vm in inventory["VM"].values():
        vm["domain_type"] = str(rng.choice(["hvm", "hvm", "hvm", "pv", "pvh", "pv_in_pvh"]))
        if rng.random() < 0.2:
            vm["power_state"] = "Paused"
        if rng.random() < 0.2:
            vm["blocked_operations"] = {"pool_migrate": "no", "start": "no"}
        if rng.random() < 0.2:
            vm["platform"] = {"nomigrate": "true"}
        guest = inventory["VM_guest_metrics"][vm["guest_metrics"]]
        if rng.random() < 0.6:
            guest["PV_drivers_version"] = [
                {},
                {"major": "9"},
                {"major": "9", "minor": "x"},
                {"major": "0", "minor": "4", "build": "proto"},
            ][int(rng.integers(4))]
        guest["other"] = [{}, {"feature-suspend": "0"}, {"feature-suspend": "1"}][int(rng.integers(3))]
        if rng.random() < 0.2:
            guest["other"]["data-cant-suspend-reason"] = "busy"


@pytest.mark.parametrize("seed", range(20))
def test_the_rule_equals_the_messages(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    inventory = with_drivers(records([90000, 90000], [(1000, 0)] * 12))
    varied(inventory, rng)
    fleet = xenmem.Fleet.from_records(inventory)
    found = refusals(fleet.vms, fleet.hosts)
    session = in_memory(inventory, tmp_path)
    for row, ref in enumerate(fleet.vms.ref):
        if row not in found:
            session.xenapi.VM.pool_migrate(ref, "p-h1", {})
            continue
        with pytest.raises(xenmem.Failure, match=SPOKEN.get(found[row], found[row])):
            session.xenapi.VM.pool_migrate(ref, "p-h1", {})
    assert found


def test_a_reservation_is_a_place_only_while_somebody_is_coming() -> None:
    inventory = records([9000, 9000], [(1000, None), (1000, None), (1000, 0)])
    for vm in ("p-v0", "p-v1"):
        inventory["VM"][vm]["scheduled_to_be_resident_on"] = "p-h1"
    inventory["VM"]["p-v1"]["current_operations"] = {"OpaqueRef:task": "start"}
    fleet = xenmem.Fleet.from_records(inventory)
    assert whereabouts(fleet.vms).tolist() == [-1, 1, 0]
    assert refusals(fleet.vms, fleet.hosts) == {1: "it is to come to p-h1"}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"current_operations": {"OpaqueRef:task": "snapshot"}}, "OTHER_OPERATION_IN_PROGRESS"),
        ({"attached_PCIs": ["OpaqueRef:pci"]}, "VM_HAS_PCI_ATTACHED"),
        ({"VGPUs": ["OpaqueRef:vgpu"]}, "VM_HAS_VGPU"),
        ({"VUSBs": ["OpaqueRef:vusb"]}, "VM_HAS_VUSBS"),
    ],
)
def test_what_a_record_alone_tells(fields: dict[str, Any], why: str) -> None:
    inventory = records([9000, 9000], [(1000, 0)])
    inventory["VM"]["p-v0"] |= fields
    fleet = xenmem.Fleet.from_records(inventory)
    assert refusals(fleet.vms, fleet.hosts) == {0: why}
