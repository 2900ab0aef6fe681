"""Squeezing: as planning says, in names and bytes; and the script that starts a VM with fair targets does so."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xenmem
from xenmem import planning
from xenmem.answers import QuestionError, balloon, script, what_if, with_fair_targets
from xenmem.planning import xapi
from xenmem.units import GIB, KIB, MIB

pytestmark = pytest.mark.compiled

Records = dict[str, dict[str, dict[str, Any]]]


@pytest.fixture
def ballooning(records: Records) -> Records:
    """The small pool with VMs that can give up half of their memory, and targets at the top of their range."""
    for vm in records["VM"].values():
        if vm["power_state"] == "Running" and not vm["is_control_domain"]:
            top = int(vm["memory_dynamic_max"])
            vm["memory_dynamic_min"] = str(max(int(vm["memory_static_min"]), top // 2 // KIB * KIB))
            vm["memory_target"] = str(top)
    return records


def needy(records: Records) -> tuple[xenmem.Fleet, int, int]:
    """A halted VM and a host that must squeeze its VMs to start it, but can: rows."""
    fleet = xenmem.Fleet.from_records(records)
    for host in range(len(fleet.hosts)):
        for vm in np.flatnonzero(fleet.vms.is_guest & (fleet.vms.resident_on < 0)).tolist():
            if fleet.vms.power_state[vm] == xenmem.fleet.PowerState.HALTED:
                found = planning.balloon(fleet, vm, host)
                if found.squeezed.granted_kib and any(
                    kib * KIB < fleet.vms.memory_target[found.vms[place]] for place, kib in found.fair.targets
                ):
                    return fleet, vm, host
    raise AssertionError("no VM needs others to be squeezed")


def test_equals_planning(ballooning: Records) -> None:
    fleet, vm, host = needy(ballooning)
    expected, result = planning.balloon(fleet, vm, host), balloon(fleet, vm, host)
    rows = [fleet.vms.ref.tolist().index(one.ref) for one in result.vms]
    assert rows == list(expected.vms)
    assert {place: one.squeezed // KIB for place, one in enumerate(result.vms)} == dict(expected.squeezed.targets)
    assert {place: one.fair // KIB for place, one in enumerate(result.vms)} == dict(expected.fair.targets)
    balanced = dict(expected.squeezed.balanced)
    assert all(one.balanced == balanced[place] * KIB for place, one in enumerate(result.vms))
    assert result.granted == (expected.squeezed.granted_kib or 0) * KIB
    assert (result.granted_fairly, result.missing) == (expected.fair.granted_kib * KIB, 0)
    assert result.host.ref == fleet.hosts.ref[host]
    assert any(one.fair < one.target for one in result.vms)


def test_the_host_is_the_pools_first_choice(small: xenmem.Fleet) -> None:
    halted = np.flatnonzero(small.vms.is_guest & (small.vms.resident_on < 0))
    answered = 0
    for vm in halted.tolist():
        try:
            first = xapi.choose_host_for_vm(small, vm, xapi.placement.zero)
        except xapi.PlanningError:
            with pytest.raises(QuestionError, match="no host takes VM"):
                balloon(small, vm)
            continue
        answered += 1
        assert balloon(small, vm).host.ref == small.hosts.ref[first]
    assert answered


def test_the_script_starts_the_vm_with_fair_targets(ballooning: Records, tmp_path: Path) -> None:
    fleet, vm, host = needy(ballooning)
    result = balloon(fleet, vm, host)
    actions = with_fair_targets(result)
    inventory, lines = tmp_path / "pool.json", tmp_path / "script.jsonl"
    inventory.write_text(json.dumps(ballooning))
    lines.write_bytes(script.as_messages(actions))
    trial = what_if(str(inventory), str(lines))
    assert (trial.messages, trial.failures) == (len(actions), [])
    after = {(field.ref, field.field): field.after for field in trial.fields}
    assert (after[result.ref, "power_state"], after[result.ref, "resident_on"]) == ("Running", result.host.ref)
    for one in result.vms:
        if one.memory_dynamic_min < one.memory_dynamic_max:
            assert int(after.get((one.ref, "memory_target"), one.target)) == one.fair
    assert [action.method for action in actions[:-1]] == ["VM.set_memory_dynamic_range"] * (len(actions) - 1)
    assert actions[-1].method == "VM.start_on"


def test_with_room_for_all_only_the_start_is_needed(small: xenmem.Fleet) -> None:
    for vm in np.flatnonzero(small.vms.is_guest & (small.vms.power_state == xenmem.fleet.PowerState.HALTED)).tolist():
        for host in range(len(small.hosts)):
            result = balloon(small, vm, host)
            if not result.missing and all(one.fair == one.memory_dynamic_max for one in result.vms):
                assert [action.method for action in with_fair_targets(result)] == ["VM.start_on"]
                return
    raise AssertionError("no VM has room")


def test_what_is_missing_is_said_and_emits_nothing(records: Records) -> None:
    for metrics in records["host_metrics"].values():
        metrics["memory_total"] = str(1 << 30)
    fleet = xenmem.Fleet.from_records(records)
    vm = int(np.flatnonzero(fleet.vms.is_guest & (fleet.vms.power_state == xenmem.fleet.PowerState.HALTED))[0])
    result = balloon(fleet, vm, 0)
    assert result.granted is None
    assert result.missing > 0
    assert "are missing even with every VM at its dynamic_min" in result.reason
    with pytest.raises(QuestionError, match=r"the VM does not start: .* are missing"):
        with_fair_targets(result)


@pytest.mark.parametrize(
    ("which", "message"),
    [
        (lambda vms: vms.is_guest & (vms.power_state == xenmem.fleet.PowerState.RUNNING), "is running: it is there"),
        (lambda vms: vms.is_a_template, "is a template, a snapshot or a control domain"),
        (lambda vms: vms.is_control_domain, "is a template, a snapshot or a control domain"),
    ],
)
def test_vms_that_do_not_start(
    small: xenmem.Fleet, which: Callable[[xenmem.fleet.VMs], np.ndarray[Any, np.dtype[np.bool_]]], message: str
) -> None:
    with pytest.raises(QuestionError, match=message):
        balloon(small, int(np.flatnonzero(which(small.vms))[0]))


def test_a_host_of_unknown_memory(records: Records) -> None:
    for metrics in records["host_metrics"].values():
        metrics["memory_total"] = "0"
    fleet = xenmem.Fleet.from_records(records)
    vm = int(np.flatnonzero(fleet.vms.is_guest & (fleet.vms.power_state == xenmem.fleet.PowerState.HALTED))[0])
    with pytest.raises(QuestionError, match="its memory_total is unknown"):
        balloon(fleet, vm, 0)


def test_a_newcomer_whose_range_is_empty(records: Records) -> None:
    """A report only warns of such limits; planning refuses them in numbers of rows."""
    ref = next(ref for ref, vm in records["VM"].items() if vm["power_state"] == "Halted" and not vm["is_a_template"])
    records["VM"][ref] |= {"name_label": "web", "memory_dynamic_min": "3221225472", "memory_dynamic_max": "1073741824"}
    fleet = xenmem.Fleet.from_records(records)
    with pytest.raises(
        QuestionError, match=r"^VM web: its memory_dynamic_min, 3GiB, exceeds its memory_dynamic_max, 1G"
    ):
        balloon(fleet, fleet.vms.ref.tolist().index(ref), 0)


def test_neighbours_whose_range_is_empty(records: Records) -> None:
    """Those that run already do not keep another from starting."""
    for vm in records["VM"].values():
        if vm["power_state"] == "Running" and not vm["is_control_domain"]:
            vm["memory_dynamic_max"] = str(int(vm["memory_dynamic_min"]) // 2)
    fleet = xenmem.Fleet.from_records(records)
    vm = int(np.flatnonzero(fleet.vms.is_guest & (fleet.vms.power_state == xenmem.fleet.PowerState.HALTED))[0])
    for host in range(len(fleet.hosts)):
        assert balloon(fleet, vm, host).missing >= 0


def test_the_newcomer_is_balanced_with_the_others() -> None:
    """What it was granted at its start and the others' balanced targets would be more than the host has."""
    shape = {
        **{"domain_type": "hvm", "VCPUs_max": 1, "VCPUs_at_startup": 1, "HVM_shadow_multiplier": 1.0},
        **{"memory_static_min": 128 * MIB, "memory_dynamic_min": 256 * MIB, "memory_overhead": 11 * MIB},
        **{"memory_dynamic_max": GIB, "memory_static_max": GIB},
    }
    runs = {"power_state": "Running", "resident_on": "h"}
    domain_0 = {**shape, **runs, "is_control_domain": True, "memory_dynamic_min": GIB, "memory_overhead": 13 * MIB}
    guests = {
        f"g{number}": {**shape, **runs, "memory_target": target * MIB} for number, target in enumerate(4 * [864, 265])
    }
    host = {"enabled": True, "memory_overhead": 300 * MIB, "metrics": "m", "software_version": {"xapi": "1.249"}}
    fleet = xenmem.Fleet.from_records(
        {
            "VM": {"n": {**shape, "power_state": "Halted"}, "d": domain_0, **guests},
            "host": {"h": host},
            "host_metrics": {"m": {"memory_total": 8 * GIB, "live": True}},
        }
    )
    result = balloon(fleet, fleet.vms.ref.tolist().index("n"), 0)
    assert {vm.balanced for vm in [*result.vms, result.newcomer]} == {(779938 - 11 * 1024) * KIB}


def test_a_host_whose_vms_take_more_than_64_bits_hold(records: Records) -> None:
    ref, vm = next((ref, vm) for ref, vm in records["VM"].items() if vm["power_state"] == "Running")
    host, many = vm["resident_on"], 9_000
    giant = vm | dict.fromkeys(("memory_static_max", "memory_dynamic_max", "memory_dynamic_min"), str(1 << 50))
    giant |= {"memory_target": str(1 << 50), "is_control_domain": False, "is_a_template": False}
    records["VM"] |= {f"{ref}.{number}": giant | {"uuid": f"giant-{number}"} for number in range(many)}
    fleet = xenmem.Fleet.from_records(records)
    halted = int(np.flatnonzero(fleet.vms.is_guest & (fleet.vms.power_state == xenmem.fleet.PowerState.HALTED))[0])
    assert balloon(fleet, halted, fleet.hosts.ref.tolist().index(host)).missing > (many - 1) << 50
